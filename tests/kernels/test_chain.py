"""The joint search against slow twins: objective and matrix dense in numpy, scipy's minimiser, numpy's inverse."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from drt_engine.solvers.blocks import BlockMatrix
from drt_engine.solvers.chain import LEVEL, NU, Chain, Model, Terms, _few_forces
from drt_kernels.chain import Mixture, components, determinants
from drt_kernels.log_gaussian import Grid

POINTS, LOGS, EXTRAS = 6, 9, 2
SIZE = LOGS + EXTRAS
TRUE = 0


def evaluated(chain, model):
    value = chain.evaluate(chain.y, model)
    return value, chain.differentiate()


def second_differences(states):
    """Differences of three neighbours with uneven steps, or the one of two states."""
    rng = np.random.default_rng(7)
    if states == 2:
        state, coefficient = [[0, 1, -1]], [[-1.25, 1.25, 0.0]]
    else:
        state = [[k, k + 1, k + 2] for k in range(states - 2)]
        coefficient = np.array([1.0, -2.0, 1.0]) * rng.uniform(0.7, 1.4, (states - 2, 1))
        coefficient[:, 1:] += [[0.1, -0.1]]
    return Terms(
        np.array(state),
        np.array(coefficient, dtype=float),
        np.zeros(len(state), dtype=np.int64),
        rng.uniform(0.3, 1.0, (len(state), LOGS - 1)),
    )


def two_lines(states):
    """Second differences along each half of the states, and the first ones across with a strength of their own."""
    length = states // 2
    near = second_differences(length)
    across = np.array([[k, k + length, -1] for k in range(length)])
    return Terms(
        np.vstack([near.state, near.state + length, across]),
        np.vstack([near.coefficient, near.coefficient, np.tile([-0.8, 0.8, 0.0], (length, 1))]),
        np.concatenate([near.kind, near.kind, np.ones(length, dtype=np.int64)]),
        np.vstack([near.relative, near.relative[::-1], np.full((length, LOGS - 1), 0.9)]),
    )


def with_own_tails(states):
    """Second differences, of states that have a last column of their own each."""
    return second_differences(states)


def problem(states=5, terms=second_differences, tail=0.25, normal=False):
    """A process that grows and moves, on a jittered grid, R_inf and L; a point of the second state is missing."""
    rng = np.random.default_rng(1)
    omega = np.logspace(3, -1, POINTS)
    log_tau = np.sort(np.log(np.logspace(-4, 2, LOGS)) + 0.1 * rng.standard_normal(LOGS))
    h = np.diff(log_tau)
    width = 0.5 * (np.append(h, 0.0) + np.append(0.0, h))
    z = width / (1 + 1j * np.outer(omega, np.exp(log_tau)))
    extra = np.array([np.ones(POINTS), 1j * omega]).T
    z = np.hstack([z, extra / np.linalg.norm(extra, axis=0)])
    columns = np.zeros((12, 2 * POINTS))
    columns[:SIZE] = np.vstack([z.real, z.imag]).T
    grid = Grid(
        columns=columns,
        logs=LOGS,
        size=SIZE,
        slope=1.0 / h,
        lean=0.1 * rng.standard_normal(LOGS - 1),
        bend=np.stack([1 / h[:-1], -1 / h[:-1] - 1 / h[1:], 1 / h[1:]], axis=1),
        knee=0.125 * (h[1:] + h[:-1]),
        rate=0.7,
        tail=tail,
        width=0.3,
        noise=np.zeros((2, 2)),
    )
    u = np.array([-3.0 - 0.4 * np.abs(log_tau + 1.0 - 0.5 * k) + 0.15 * k for k in range(states)])
    x = np.hstack([np.exp(u), np.tile([0.5, 0.05], (states, 1))])
    b = x @ columns[:SIZE] + 0.003 * rng.standard_normal((states, 2 * POINTS))
    last = rng.standard_normal((states if terms is with_own_tails else 0, 2 * POINTS))
    b[0, 2] += 0.05
    some = terms(states)
    courses = np.array([[1.0, 1.0]]) / np.sqrt(2) if terms is two_lines else np.zeros((0, 1))
    chain = Chain(b, grid, some, width, courses, last)
    chain.precision[:] = rng.uniform(0.5, 2.0, (states, POINTS)) / 0.004**2
    chain.precision[1, 3] = 0.0
    chain.y[:] = np.hstack([u, x[:, LOGS:]]) + 0.3 * rng.uniform(0.0, 1.0, (states, SIZE))
    model = Model(np.array([40.0, 5.0]), 1.7, 0.8, normal)
    known = {"terms": some, "grid": grid, "tail": tail, "normal": normal, "width": width, "last": last}
    return SimpleNamespace(chain=chain, model=model, **known)


def descend(at, tolerance, limit):
    return at.chain.descend(at.model, tolerance, limit)


class Dense:
    """The formula of the module's docstring, written with whole matrices; y is flat, states one after another."""

    def __init__(self, at):
        self.at, self.states = at, len(at.chain.b)
        h = 1.0 / at.grid.slope
        self.slopes = np.diff(np.eye(LOGS), axis=0)
        self.bends = np.diff(self.slopes / h[:, None], axis=0)
        # (k,q,j)
        self.matrix = np.tile(at.grid.columns[:SIZE].T, (self.states, 1, 1))
        if len(at.last):
            self.matrix[:, :, -1] = at.last
        # Of each difference e, as a matrix from u of all states, (r,k).
        self.along = np.zeros((len(at.terms.state), self.states))
        for r, (state, coefficient) in enumerate(zip(at.terms.state, at.terms.coefficient, strict=True)):
            for k, c in zip(state, coefficient, strict=True):
                if k >= 0:
                    self.along[r, k] += c
        self.across = self.slopes / np.sqrt(h)[:, None]
        self.strength = at.model.strength[at.terms.kind][:, None] * at.terms.relative
        # With the share of the single priors that counts.
        self.prior = at.grid._replace(slope=at.model.share * at.grid.slope, rate=at.model.share * at.grid.rate)

    def parts(self, y):
        y = y.reshape(self.states, SIZE)
        value = np.hstack([np.exp(y[:, :LOGS]), y[:, LOGS:]])
        residual = np.einsum("kqj,kj->kq", self.matrix, value) - self.at.chain.b
        distance = self.at.chain.precision * (residual[:, :POINTS] ** 2 + residual[:, POINTS:] ** 2)
        e = self.along @ y[:, :LOGS]
        return y[:, :LOGS], value, residual, distance, e, e @ self.across.T

    def objective(self, y):
        at, lam, prior, t = self.at, self.at.model.lam, self.prior, self.at.tail
        u, _, _, d, e, g = self.parts(y)
        misfit = 0.5 * d.sum() if t == 0 else (1 + 2 * t) / (2 * t) * np.log(1 + t * d).sum()
        slopes = 0.5 * lam * (prior.slope * (u @ self.slopes.T - prior.lean) ** 2).sum()
        bends = prior.rate * (prior.knee * (np.sqrt(1 + lam * (u @ self.bends.T / prior.knee) ** 2) - 1)).sum()
        nu, q = NU, self.strength * g**2
        coupling = 0.5 * q.sum() if at.normal else 0.5 * (1 + nu) * np.log(1 + q / nu).sum()
        return misfit + slopes + bends + coupling + 0.5 * LEVEL * (at.width * e**2).sum()

    def weights(self, d):
        t = self.at.tail
        return np.tile(self.at.chain.precision * (1 + 2 * t) / (1 + t * d), 2)

    def gradient(self, y):
        lam, prior = self.at.model.lam, self.prior
        u, value, residual, d, e, g = self.parts(y)
        out = np.einsum("kq,kqj->kj", self.weights(d) * residual, self.matrix)
        out[:, :LOGS] *= value[:, :LOGS]
        out[:, :LOGS] += lam * (prior.slope * (u @ self.slopes.T - prior.lean)) @ self.slopes
        bends = u @ self.bends.T / prior.knee
        out[:, :LOGS] += prior.rate * lam * (bends / np.sqrt(1 + lam * bends**2)) @ self.bends
        firm = self.strength if self.at.normal else self.touching(g)
        out[:, :LOGS] += self.along.T @ ((firm * g) @ self.across + LEVEL * self.at.width * e)
        return out.ravel()

    def touching(self, g, spread=0.0):
        """Curvature of the parabola that touches the coupling from above, with g as wide as it is known."""
        return self.strength * (1 + NU) / (NU + self.strength * (g**2 + spread))

    def touched(self, y, known=0.0, spread=0.0):
        """Second derivative of what lies above the objective and touches it; bends as known, or by their own."""
        lam, prior = self.at.model.lam, self.prior
        u, value, residual, d, _, g = self.parts(y)
        weights = self.weights(d)
        whole = np.zeros((self.states, SIZE, self.states, SIZE))
        for k in range(self.states):
            scale = np.append(value[k, :LOGS], np.ones(EXTRAS))
            columns = self.matrix[k] * scale
            whole[k, :, k] += columns.T @ (weights[k][:, None] * columns)
            force = columns[:, :LOGS].T @ (weights[k] * residual[k])
            whole[k, :LOGS, k, :LOGS] += np.diag(np.maximum(force, 0.0))
            bends = self.bends @ u[k]
            if np.ndim(known):
                stiff = prior.rate * lam / np.sqrt(prior.knee**2 + lam * (bends**2 + known[k]))
            else:
                stiff = prior.rate * lam / prior.knee * (1 + lam * (bends / prior.knee) ** 2) ** -1.5
            whole[k, :LOGS, k, :LOGS] += lam * self.slopes.T @ (prior.slope[:, None] * self.slopes)
            whole[k, :LOGS, k, :LOGS] += self.bends.T @ (stiff[:, None] * self.bends)
        firm = self.touching(g, spread)
        for r, c in enumerate(self.along):
            one = self.across.T @ (firm[r][:, None] * self.across) + np.diag(LEVEL * self.at.width)
            whole[:, :LOGS, :, :LOGS] += np.einsum("i,k,mn->imkn", c, c, one)
        return whole.reshape(self.states * SIZE, self.states * SIZE)


SHAPES = {
    "two states": (2, second_differences),
    "three states": (3, second_differences),
    "five states": (5, second_differences),
    "two lines": (6, two_lines),
    "own tails": (4, with_own_tails),
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def shape(request):
    return request.param


def flat(chain):
    return chain.y.ravel().copy()


@pytest.mark.parametrize("tail", [0.0, 0.25])
@pytest.mark.parametrize("normal", [False, True])
def test_value_and_gradient_are_those_of_the_formula(shape, tail, normal):
    at = problem(*shape, tail, normal)
    dense, y = Dense(at), flat(at.chain)
    value, _ = evaluated(at.chain, at.model)
    assert value == pytest.approx(dense.objective(y), rel=1e-12)
    gradient = at.chain.gradient.ravel()
    np.testing.assert_allclose(gradient, dense.gradient(y), rtol=1e-9, atol=1e-9 * np.abs(gradient).max())
    numeric = approx_fprime(y, dense.objective, 1e-6)
    np.testing.assert_allclose(gradient, numeric, rtol=2e-4, atol=2e-5 * np.abs(numeric).max())


def test_the_residual_is_in_units_of_the_gauss_newton_matrix():
    at = problem()
    dense, y = Dense(at), flat(at.chain)
    _, residual = evaluated(at.chain, at.model)
    # The diagonal has bends by the parabola that touches, and no pressure of the data.
    u, value, misfit, d, _, _ = dense.parts(y)
    scale = np.diag(dense.touched(y, known=np.zeros((dense.states, LOGS - 2)))).reshape(dense.states, SIZE).copy()
    pressure = (dense.weights(d) * misfit) @ at.grid.columns[:LOGS].T
    scale[:, :LOGS] -= np.maximum(value[:, :LOGS] * pressure, 0.0)
    units = dense.gradient(y).reshape(scale.shape) / np.sqrt(scale)
    held = np.minimum(at.chain.y[:, LOGS:SIZE] * np.sqrt(scale[:, LOGS:]), units[:, LOGS:])
    assert residual == pytest.approx(max(np.abs(units[:, :LOGS]).max(), np.abs(held).max()), rel=1e-9)
    assert u.shape == (5, LOGS)


def test_newtons_matrix_is_the_second_derivative(shape):
    at = problem(*shape)
    dense, y = Dense(at), flat(at.chain)
    evaluated(at.chain, at.model)
    at.chain.dual = at.chain._here.ratio / at.chain._here.root
    at.chain.build(TRUE, at.model)
    steps = 1e-5 * np.eye(y.size)
    exact = np.array([(dense.gradient(y + step) - dense.gradient(y - step)) / 2e-5 for step in steps])
    scale = np.abs(exact).max()
    columns = np.eye(y.size).reshape(y.size, dense.states, SIZE)
    product = [at.chain.multiply(v).ravel() for v in columns]
    np.testing.assert_allclose(product, exact, atol=2e-6 * scale)
    exact = exact.reshape(dense.states, SIZE, dense.states, SIZE)
    line = dense.states // (2 if len(at.chain.courses) else 1)
    for k in range(dense.states):
        lower = np.tril(at.chain.matrix.own[k])
        np.testing.assert_allclose(lower, np.tril(exact[k, :, k]), atol=2e-6 * scale)
        for i in range(k + 1, (k // line + 1) * line):
            beside = i - k - 1 < at.chain.matrix.off.shape[1]
            block = at.chain.matrix.off[k, i - k - 1] if beside else 0.0
            np.testing.assert_allclose(exact[i, :, k] - block, 0.0, atol=2e-6 * scale)


def test_differences_of_two_reach_one_state_far_and_those_of_three_two():
    assert problem(2).chain.matrix.off.shape[1] == 1
    assert problem(3).chain.matrix.off.shape[1] == problem(5).chain.matrix.off.shape[1] == 2


@pytest.mark.parametrize("as_known", [False, True])
def test_blocks_of_the_inverse_are_those_of_the_dense_inverse(shape, as_known):
    at = problem(*shape)
    dense, y = Dense(at), flat(at.chain)
    known, spread = 0.0, 0.0
    if as_known:
        rng = np.random.default_rng(4)
        known, spread = rng.uniform(0.01, 1.0, (dense.states, LOGS - 2)), rng.uniform(0.01, 1.0, dense.strength.shape)
        at.chain.known[:], at.chain.spread[:] = known, spread
    assert at.chain.factor_touching(at.model, invert=True)
    # Of several lines each is given what the others are.
    line = dense.states // (2 if len(at.chain.courses) else 1)
    touched = dense.touched(y, known, spread).reshape(dense.states, SIZE, dense.states, SIZE)
    apart = np.arange(dense.states)[:, None] // line != np.arange(dense.states) // line
    touched.transpose(0, 2, 1, 3)[apart] = 0.0
    inverse = np.linalg.inv(touched.reshape(y.size, y.size)).reshape(touched.shape)
    scale = np.sqrt(np.einsum("kjkj->kj", inverse))
    for k in range(dense.states):
        for i in range(k, min(k + 1 + at.chain.matrix.off.shape[1], (k // line + 1) * line)):
            block = at.chain.matrix.own[k] if i == k else at.chain.matrix.off[k, i - k - 1].T
            wrong = (block - inverse[k, :, i]) / np.outer(scale[k], scale[i])
            assert np.abs(wrong).max() < 1e-8


def test_blocks_of_the_inverse_stay_exact_along_a_long_series():
    """Rounding errors of one state must not grow in those before it."""
    states, size = 200, 6
    rng, matrix = np.random.default_rng(0), BlockMatrix(200, 2, size)
    data = rng.standard_normal((states, 2, size))
    matrix.own += 100.0 * data.transpose(0, 2, 1) @ data + 1e-3 * np.eye(size)
    slopes = np.diff(np.eye(size), axis=0)
    held, t = 1e4 * slopes.T @ slopes + 0.1 * np.eye(size), (1.0, -2.0, 1.0)
    for i in range(3):
        matrix.own[i : states - 2 + i] += t[i] ** 2 * held
        for j in range(i + 1, 3):
            matrix.off[i : states - 2 + i, j - i - 1] += t[i] * t[j] * held
    assert matrix.factor()
    right = np.zeros((size, states, size))
    right[np.arange(size), 0, np.arange(size)] = 1.0
    first = matrix.solve(right)[:, 0]
    matrix.invert(states)
    np.testing.assert_allclose(matrix.own[0], first, rtol=1e-9, atol=1e-9 * np.abs(first).max())


@pytest.mark.parametrize("reach", [1, 2, 3])
@pytest.mark.parametrize("size", [5, 12, 43])
@pytest.mark.parametrize("banded", [True, False])
def test_the_factor_is_that_of_the_dense_matrix(reach, size, banded):
    rng, states = np.random.default_rng(size + reach), 6
    matrix = BlockMatrix(states, reach, size)
    dense = np.zeros((states * size, states * size))
    for k in range(states):
        for n in range(min(reach, states - 1 - k)):
            block = rng.standard_normal((size, size))
            if banded:
                # Elements that are not coupled are the last ones.
                block = np.triu(np.tril(block, 1), -1)
                block[-2:] = block[:, -2:] = 0.0
            matrix.off[k, n] = block
            i = k + 1 + n
            dense[i * size : (i + 1) * size, k * size : (k + 1) * size] = block
        own = rng.standard_normal((size, size))
        matrix.own[k] = own @ own.T + (4.0 if banded else 8.0) * size * np.eye(size)
        dense[k * size : (k + 1) * size, k * size : (k + 1) * size] = np.tril(matrix.own[k])
    expected = np.linalg.cholesky(np.tril(dense) + np.tril(dense, -1).T)
    assert matrix.factor()
    for k in range(states):
        for n in range(min(reach, states - 1 - k)):
            i = k + 1 + n
            block = expected[i * size : (i + 1) * size, k * size : (k + 1) * size]
            np.testing.assert_allclose(matrix.off[k, n], block, rtol=0.0, atol=1e-13 * size)
        own = expected[k * size : (k + 1) * size, k * size : (k + 1) * size]
        np.testing.assert_allclose(np.tril(matrix.own[k]), own, rtol=0.0, atol=1e-13 * size)


def test_a_column_held_at_zero_is_free_in_the_blocks_of_the_inverse():
    at = problem()
    at.chain.y[2, LOGS + 1] = 0.0
    at.chain.b[2] += 0.1 * at.grid.columns[LOGS + 1] * -1.0
    dense, y = Dense(at), flat(at.chain)
    evaluated(at.chain, at.model)
    assert at.chain.free[2, LOGS + 1] == 0.0
    at.chain.factor_touching(at.model, invert=True)
    inverse = np.linalg.inv(dense.touched(y)).reshape(5, SIZE, 5, SIZE)
    np.testing.assert_allclose(np.diag(at.chain.matrix.own[2]), np.diag(inverse[2, :, 2]), rtol=1e-8)


def test_solutions_are_those_of_the_dense_matrix(shape):
    at = problem(*shape)
    dense, y = Dense(at), flat(at.chain)
    rng = np.random.default_rng(8)
    right = rng.standard_normal((3, dense.states, SIZE))
    at.chain.factor_touching(at.model, invert=False)
    out = at.chain.solve(right)
    exact = np.linalg.solve(dense.touched(y), right.reshape(3, -1).T).T.reshape(right.shape)
    iterated = len(at.chain.courses) > 0
    np.testing.assert_allclose(out, exact, atol=(1e-4 if iterated else 1e-8) * np.abs(exact).max())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "normal"), [("two states", True), ("two lines", False)])
def test_a_descent_ends_where_scipys_minimiser_does(name, normal):
    at = problem(*SHAPES[name], normal=normal)
    dense, y = Dense(at), flat(at.chain)
    assert descend(at, 1e-10, 200) <= 1e-8
    found = flat(at.chain)
    bounds = ([(None, None)] * LOGS + [(0.0, None)] * EXTRAS) * dense.states
    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-8}
    slow = minimize(dense.objective, y, jac=dense.gradient, method="L-BFGS-B", bounds=bounds, options=options)
    assert dense.objective(found) <= slow.fun + 1e-9 * abs(slow.fun)
    # Where the two minima are the same one: by the curvature, in standard deviations.
    apart = found - slow.x
    assert apart @ dense.touched(found) @ apart < 1e-4
    gradient, scale = dense.gradient(found), np.sqrt(np.diag(dense.touched(found)))
    held = np.where(np.arange(found.size) % SIZE < LOGS, gradient / scale, np.minimum(found * scale, gradient / scale))
    assert np.abs(held).max() < 1e-7


def test_a_state_without_data_lies_where_its_neighbours_put_it():
    at = problem(3)
    at.chain.precision[1] = 0.0
    dense, elements = Dense(at), at.chain.y[1, LOGS:].copy()
    assert descend(at, 1e-10, 200) <= 1e-8
    gradient = dense.gradient(flat(at.chain)).reshape(3, SIZE)
    np.testing.assert_allclose(gradient[1, :LOGS], 0.0, atol=1e-6)
    np.testing.assert_array_equal(at.chain.y[1, LOGS:], elements)
    assert at.chain.factor_touching(at.model, invert=True)
    middle, ends = np.diag(at.chain.matrix.own[1])[:LOGS], np.diag(at.chain.matrix.own[0])[:LOGS]
    assert np.all(np.isfinite(middle))
    inside = slice(2, LOGS - 2)  # where the data reach
    assert np.all(middle[inside] > ends[inside])


def test_what_is_not_positive_definite_is_told():
    at = problem()
    # Of nothing but NaN no factor can be made.
    at.chain.precision[3] = np.nan
    assert not at.chain.factor_touching(at.model, invert=True)


def indefinite():
    """A point where the coupling bends down: its differences are far beyond what is usual."""
    at = problem(5)
    at.chain.y[:, :LOGS] += 2.0 * np.random.default_rng(3).standard_normal((5, LOGS))
    at.chain.precision[:] *= 1e-6
    evaluated(at.chain, at.model)
    at.chain.dual = at.chain._here.ratio / at.chain._here.root
    return at


def test_from_a_saddle_the_objective_falls_along_negative_curvature():
    at = indefinite()
    chain = at.chain
    start = chain.evaluate(chain.y, at.model)
    chain.build(TRUE, at.model)
    assert not chain.matrix.factor()
    columns = np.eye(chain.y.size).reshape(-1, *chain.y.shape)
    least, ways = np.linalg.eigh(np.array([chain.multiply(v).ravel() for v in columns]))
    assert least[0] < 0.0
    way = ways[:, 0].reshape(chain.y.shape)
    step = chain._step_from_saddle(-np.sign((way * chain.gradient).sum()) * way, start, at.model)
    assert Dense(at).objective((chain.y + step).ravel()) < start - 1e-3
    # What belongs to the point that it starts from is there again.
    assert chain._here.total == start
    # Conjugate gradients meet such a direction where the gradient has a part of it.
    assert chain._factor_from(TRUE, at.model) == 1
    chain._derive(TRUE, at.model)
    assert not chain._conjugate(way, 1e-9, 60)[1]
    assert (chain._falling * chain.multiply(chain._falling)).sum() < 0.0


def test_a_few_differences_go_where_their_own_problem_has_its_least_value():
    rng = np.random.default_rng(5)
    root = rng.standard_normal((4, 4))
    change, share, weight = rng.standard_normal(4), 3.0 * rng.standard_normal(4), rng.uniform(1.0, 9.0, 4)
    firm = weight * (1.0 + NU) / (NU + weight * share**2)
    # What else holds the differences, and what parabolas of these add to it.
    moved = np.linalg.inv(root @ root.T + 0.2 * np.diag(firm))

    def value(forces):
        d = change + moved @ forces
        coupling = 0.5 * (1.0 + NU) * np.log((NU + weight * (share + d) ** 2) / (NU + weight * share**2))
        return 0.5 * forces @ moved @ forces + (coupling - firm * share * d - 0.5 * 0.2 * firm * d**2).sum()

    found = _few_forces(moved, change, share, weight, firm * share, 0.2 * firm)
    exact = minimize(value, found)
    assert value(found) <= value(np.zeros(4))
    assert value(found) == pytest.approx(exact.fun, abs=5e-3)


def test_components_of_a_variance_are_those_of_scipys_minimiser():
    rng = np.random.default_rng(6)
    parts = np.stack([np.ones(50), rng.uniform(0.0, 9.0, 50)])
    counts, square = np.full(50, 2.0), 2.0 * (np.array([0.3, 0.05]) @ parts) * rng.chisquare(2, 50) / 2.0
    expected, precision = np.array([0.0, 1.0]), np.array([0.0, 0.02])

    def cost(log):
        variance = np.exp(log) @ parts
        prior = 0.5 * (precision * (log - expected) ** 2).sum()
        return (counts * np.log(variance) + square / variance).sum() + prior

    found = components(Mixture(counts, square, parts, expected, precision), np.array([3.0, -8.0]))
    np.testing.assert_allclose(found, minimize(cost, np.array([-1.0, -3.0])).x, atol=5e-3)


def test_determinants_are_those_of_the_whole_matrices():
    rng = np.random.default_rng(7)
    bands = rng.uniform(-1.0, 1.0, (3, 2, 7))
    bands[0] += 5.0
    for j, found in enumerate(determinants(bands)):
        whole = sum(np.diag(bands[n, j, : 7 - n], n) for n in range(3))
        whole = whole + np.triu(whole, 1).T
        assert found == pytest.approx(np.linalg.slogdet(whole)[1], rel=1e-12)
