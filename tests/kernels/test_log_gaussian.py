"""The compiled search against slow twins: the objective in plain numpy, scipy's minimisers, dense inverses."""

from typing import NamedTuple

import numpy as np
import pytest
from numba import njit, typeof
from scipy.optimize import approx_fprime, minimize

import drt_engine as drt
from drt_kernels import curvature
from drt_kernels import dense as dense_kernels
from drt_kernels import log_gaussian as kernel
from drt_kernels.held import handle, hold

POINTS, LOGS, EXTRAS = 21, 18, 2


# What only compiled functions may call, called by one.
@njit
def begin(lam, some, given):
    work = hold(given)
    kernel._duals_at_solution(work.y, lam, some, work.dual)
    value = kernel._evaluate(work.y, lam, some, work)
    return value, kernel._differentiate(lam, some, work)


def begun_at(y, b, precision, lam, some):
    work = kernel.new_work(some, tables(some))
    work.y[: some.size], work.data[: b.size], work.precision[:] = y, b, precision
    return work, *begin(lam, some, work)


def tables(some):
    """Those of a grid that is not uniform, so that there are no coefficients of neighbours."""
    columns = np.zeros((len(some.columns), curvature.DATA * -(-some.columns.shape[1] // curvature.DATA)))
    columns[:, : some.columns.shape[1]] = some.columns
    across = np.zeros((some.columns.shape[1], curvature.NODES * -(-some.size // curvature.NODES)))
    across[:, : some.size] = some.columns[: some.size].T
    none = np.zeros((4, 4))
    squares = across[:POINTS] ** 2 + across[POINTS:] ** 2
    return curvature.Tables(columns, across, squares, np.arange(some.size), none, none, none, np.full(4, -1), 0.0, 0.0)


@njit
def assemble(lam, some, given):
    work = hold(given)
    kernel._prior_weights(work.y, lam, some, 1.0, work.dual, work.stiffness)
    kernel._prior_band(lam, some, work.stiffness, work.band)
    kernel._assemble(kernel._NO, kernel._YES, some, work)


@njit
def inverted(matrix, leaves, factor, part, inverse, out):
    good = leaves.factorise(matrix, factor)
    if good:
        leaves.invert(factor, part, inverse, out)
    return good


@njit
def solved(leaves, factor, right, out):
    leaves.solve(factor, right, out)


@njit
def needs_exact(some, work):
    return kernel._needs_exact(some, hold(work))


@njit
def set_matrix(some, given):
    work = hold(given)
    kernel._assemble(kernel._NO, kernel._needs_exact(some, work), some, work)


@njit
def gram(left, right, outer, out):
    kernel._gram(left, right, outer, out)


def grid(tail=0.25, seed=0):
    """A model of relaxations on a jittered grid, R_inf and L; R_inf and L are columns of norm one."""
    rng = np.random.default_rng(seed)
    omega = np.logspace(4, -1, POINTS)
    y = np.sort(np.log(np.logspace(-5, 2, LOGS)) + 0.1 * rng.standard_normal(LOGS))
    h = np.diff(y)
    z = np.append(h, h[-1]) / (1 + 1j * np.outer(omega, np.exp(y)))
    extra = np.array([np.ones(POINTS), 1j * omega]).T
    z = np.hstack([z, extra / np.linalg.norm(extra, axis=0)])
    columns = np.vstack([z.real, z.imag]).T
    padded = np.zeros((-(-len(columns) // 4) * 4, columns.shape[1]))
    padded[: len(columns)] = columns
    return kernel.Grid(
        columns=padded,
        logs=LOGS,
        size=LOGS + EXTRAS,
        slope=1.0 / h,
        lean=0.1 * rng.standard_normal(LOGS - 1),
        bend=np.stack([1 / h[:-1], -1 / h[:-1] - 1 / h[1:], 1 / h[1:]], axis=1),
        knee=0.125 * (h[1:] + h[:-1]),
        rate=0.7,
        tail=tail,
        width=0.3,
        noise=np.array([[np.log(1e-8), np.log(1e-5)], [6.0, 3.0]]),
    )


def data(some, seed=0, noise=0.003):
    """Two peaks, noise, and one outlier."""
    rng = np.random.default_rng(seed)
    m = np.arange(LOGS)
    u = np.log(np.exp(-0.5 * (m - 5) ** 2) + 0.6 * np.exp(-0.3 * (m - 12) ** 2) + 1e-3) - 2.5
    x = np.concatenate([np.exp(u), [0.5, 0.05]])
    b = x @ some.columns[: some.size] + noise * rng.standard_normal(2 * POINTS)
    b[4] += 0.1
    return b, rng.uniform(0.5, 2.0, POINTS)


def bends_of(y, some):
    return some.bend[:, 0] * y[: LOGS - 2] + some.bend[:, 1] * y[1 : LOGS - 1] + some.bend[:, 2] * y[2:LOGS]


def numpy_prior(u, lam, some):
    slopes = 0.5 * lam * np.sum(some.slope * (np.diff(u) - some.lean) ** 2)
    bends = bends_of(u, some)
    return slopes + some.rate * np.sum(some.knee * (np.sqrt(1 + lam * (bends / some.knee) ** 2) - 1))


def numpy_objective(y, b, precision, variance, lam, some):
    residual = np.concatenate([np.exp(y[:LOGS]), y[LOGS:]]) @ some.columns[: some.size] - b
    d = precision * (residual[:POINTS] ** 2 + residual[POINTS:] ** 2) / variance
    t = some.tail
    misfit = 0.5 * d.sum() if t == 0 else (1 + 2 * t) / (2 * t) * np.log1p(t * d).sum()
    return misfit + numpy_prior(y[:LOGS], lam, some)


def numpy_gradient(y, b, precision, variance, lam, some):
    value = np.concatenate([np.exp(y[:LOGS]), y[LOGS:]])
    residual = value @ some.columns[: some.size] - b
    d = precision * (residual[:POINTS] ** 2 + residual[POINTS:] ** 2) / variance
    weight = np.tile(precision / variance * (1 + 2 * some.tail) / (1 + some.tail * d), 2)
    gradient = some.columns[: some.size] @ (weight * residual)
    gradient[:LOGS] *= value[:LOGS]
    force = lam * some.slope * (np.diff(y[:LOGS]) - some.lean)
    gradient[: LOGS - 1] -= force
    gradient[1:LOGS] += force
    bends = bends_of(y, some)
    force = some.rate * lam * bends / some.knee / np.sqrt(1 + lam * (bends / some.knee) ** 2)
    for place in range(3):
        gradient[place : LOGS - 2 + place] += force * some.bend[:, place]
    return gradient


def somewhere(some, seed=3):
    rng = np.random.default_rng(seed)
    return np.concatenate([-2.5 + rng.standard_normal(LOGS), [0.4, 0.02]])


def begun(some, y, b, precision, variance, lam):
    return begun_at(np.ascontiguousarray(y), b, precision / variance, lam, some)


@pytest.mark.parametrize("tail", [0.0, 0.25])
@pytest.mark.parametrize("lam", [0.3, 4.0])
def test_value_and_gradient_are_those_of_the_formula(tail, lam):
    some = grid(tail)
    b, precision = data(some)
    y = somewhere(some)
    work, value, _ = begun(some, y, b, precision, 1e-4, lam)
    assert value == pytest.approx(numpy_objective(y, b, precision, 1e-4, lam, some), rel=1e-12)
    arguments = b, precision, 1e-4, lam, some
    exact = approx_fprime(y, lambda at: numpy_objective(at, *arguments), 1e-6)
    np.testing.assert_allclose(work.gradient[: some.size], exact, rtol=2e-4, atol=2e-5 * np.abs(exact).max())
    np.testing.assert_allclose(work.gradient[: some.size], numpy_gradient(y, *arguments), rtol=1e-9)


@pytest.mark.parametrize("tail", [0.0, 0.25])
def test_the_newton_matrix_is_the_second_derivative(tail):
    some = grid(tail)
    b, precision = data(some)
    y = somewhere(some)
    work, _, _ = begun(some, y, b, precision, 1e-3, 2.0)
    assemble(2.0, some, work)
    upper = np.triu(work.matrix[: some.size, : some.size])
    matrix = upper + np.triu(upper, 1).T

    def gradient(at):
        return begun(some, at, b, precision, 1e-3, 2.0)[0].gradient[: some.size].copy()

    step = 1e-6
    exact = np.array([(gradient(y + e) - gradient(y - e)) / (2 * step) for e in step * np.eye(some.size)])
    np.testing.assert_allclose(matrix, exact, rtol=1e-5, atol=1e-6 * np.abs(exact).max())


def solve(some, b, precision, given=np.nan, start=None, noise=(np.nan, 0.0)):
    """Solutions, the two components of the variance and λ, and the residual."""
    rows = len(b)
    start = np.tile(np.concatenate([np.full(LOGS, -3.0), [0.5, 0.05]]), (rows, 1)) if start is None else start
    out, hyper, residual = np.empty((rows, some.size)), np.empty((rows, 3)), np.empty(rows)
    kernel.maximise(
        b,
        parts(b, precision),
        start,
        np.tile([*noise, given], (rows, 1)),
        kernel.new_work(some, tables(some)),
        out,
        hyper,
        residual,
    )
    return out, hyper, residual


def parts(b, precision):
    """What the variance is made of: relative variances that are known, and |Z|²."""
    return np.stack([1 / precision, b[:, :POINTS] ** 2 + b[:, POINTS:] ** 2], axis=1)


def campaign(some, rows=5):
    each = [data(some, seed) for seed in range(rows)]
    return np.array([b for b, _ in each]), np.array([precision for _, precision in each])


@pytest.mark.compiled
@pytest.mark.parametrize("tail", [0.0, 0.25])
@pytest.mark.parametrize("given", [np.nan, 0.5])
def test_answers_are_those_of_scipy(tail, given):
    some = grid(tail)
    b, precision = campaign(some, 1)
    out, hyper, residual = solve(some, b, precision, given)
    assert residual.max() < 1e-9
    assert np.isnan(given) or (hyper[:, 2] == given).all()
    bounds = [(None, None)] * LOGS + [(0, None)] * EXTRAS
    for k in range(len(b)):
        arguments = (b[k], precision[k], hyper[k, 0], hyper[k, 2], some)
        here = numpy_objective(out[k], *arguments)
        found = minimize(
            lambda y, a: (numpy_objective(y, *a), numpy_gradient(y, *a)),
            out[k] + np.concatenate([0.3 * np.sin(np.arange(LOGS)), [0.1, 0.02]]),
            args=(arguments,),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-8},
        )
        assert here <= found.fun + 1e-8 * abs(found.fun)
        np.testing.assert_allclose(found.x[:LOGS], out[k, :LOGS], atol=2e-3)
        np.testing.assert_allclose(found.x[LOGS:], out[k, LOGS:], atol=1e-4)


def test_an_extra_that_wants_to_be_negative_is_zero():
    some = grid()
    b, precision = data(some)
    b = b - 0.3 * some.columns[LOGS + 1]
    out, _, residual = solve(some, b[None], precision[None])
    assert out[0, LOGS + 1] == 0.0
    assert residual[0] < 1e-9
    work, _, _ = begun(some, out[0], b, precision, 1e-4, 1.0)
    assert work.gradient[LOGS + 1] > 0.0


def dense(some, y, b, precision, variance, lam):
    """Laplace's second derivative by the formula: data by Gauss and Newton, the prior by finite differences."""
    value = np.concatenate([np.exp(y[:LOGS]), np.ones(EXTRAS)])
    columns = some.columns[: some.size] * value[:, None]
    residual = np.concatenate([np.exp(y[:LOGS]), y[LOGS:]]) @ some.columns[: some.size] - b
    d = precision * (residual[:POINTS] ** 2 + residual[POINTS:] ** 2) / variance
    weight = np.tile(precision / variance * (1 + 2 * some.tail) / (1 + some.tail * d), 2)
    gauss = (columns * weight) @ columns.T
    bends = bends_of(y, some)
    stencil = np.zeros((LOGS - 2, some.size))
    for i in range(LOGS - 2):
        stencil[i, i : i + 3] = some.bend[i]
    curvature = some.rate * lam / some.knee / (1 + lam * (bends / some.knee) ** 2) ** 1.5
    difference = np.diff(np.eye(some.size), axis=0)[: LOGS - 1]
    prior = lam * difference.T @ (some.slope[:, None] * difference) + stencil.T @ (curvature[:, None] * stencil)
    pressure = np.concatenate([(columns @ (weight * residual))[:LOGS].clip(min=0), np.zeros(EXTRAS)])
    return gauss, prior + np.diag(pressure), weight * variance * np.tile(1 / precision, 2), d


def test_hyperparameters_are_where_the_evidence_is_largest():
    some = grid()
    b, precision = campaign(some, 3)
    out, hyper, _ = solve(some, b, precision)
    for k in range(len(b)):
        variance, _, lam = hyper[k]
        gauss, rest, weight, d = dense(some, out[k], b[k], precision[k], variance, lam)
        freedom = np.trace(np.linalg.solve(gauss + rest, gauss))
        expected = variance * np.sum(weight[:POINTS] * d) / (2 * POINTS - freedom)
        assert variance == pytest.approx(expected, rel=0.05)

        def evidence(log_lam, y, *rest):
            g, r, _, _ = dense(some, y, *rest, np.exp(log_lam))
            determinant = np.linalg.slogdet(g + r)[1]
            belief = -0.5 * (0.5 * log_lam / some.width) ** 2
            prior = numpy_prior(y[:LOGS], np.exp(log_lam), some)
            return -prior - 0.5 * determinant + 0.5 * (LOGS - 1) * log_lam + belief

        at = np.log(lam)
        low, here, high = (evidence(at + e, out[k], b[k], precision[k], variance) for e in (-0.01, 0.0, 0.01))
        slope, bend = (high - low) / 0.02, (high - 2 * here + low) / 1e-4
        assert abs(slope) < 0.1 * abs(bend)


@njit
def curve(lam, some, work):
    return kernel._curve(lam, kernel._NO, kernel._NO, kernel._WHOLE, some, hold(work))


def levered_at(y, b, precision, lam, some):
    work, _, _ = begun_at(y, b, precision, lam, some)
    return curve(lam, some, work), work


def test_leverages_are_those_of_the_dense_matrix():
    some = grid()
    b, precision = data(some)
    y = somewhere(some)
    good, work = levered_at(y, b, precision / 1e-4, 2.0, some)
    assert good
    gauss, rest, weight, _ = dense(some, y, b, precision, 1e-4, 2.0)
    value = np.concatenate([np.exp(y[:LOGS]), np.ones(EXTRAS)])
    columns = some.columns[: some.size] * value[:, None]
    each = np.sum(columns * np.linalg.solve(gauss + rest, columns), axis=0) * weight * np.tile(precision, 2) / 1e-4
    np.testing.assert_allclose(work.leverage, each[:POINTS] + each[POINTS:], rtol=1e-8)


@njit
def find_noise(given, both, some, work, noise):
    kernel._noise(given, both, some, hold(work), noise)


def noise_at(y, b, both, given, start, lam, some):
    _, work = levered_at(y, b, 1.0 / (start[0] * both[0] + start[1] * both[1]), lam, some)
    noise = start.copy()
    find_noise(given, both, some, work, noise)
    return work, noise


@pytest.mark.parametrize("tail", [0.0, 0.25])
@pytest.mark.parametrize("given", [(np.nan, 0.0), (0.0, np.nan), (np.nan, np.nan)])
def test_the_noise_is_the_most_probable_one_with_the_leverages_held(tail, given):
    some = grid(tail)
    b, precision = data(some)
    both = parts(b[None], precision[None])[0]
    start = np.array([0.0 if g == 0.0 else s for g, s in zip(given, (1e-5, 1e-4), strict=True)])
    work, noise = noise_at(somewhere(some), b, both, np.array([*given, np.nan]), start, 2.0, some)
    square = work.residual[:POINTS] ** 2 + work.residual[POINTS : 2 * POINTS] ** 2
    free = np.flatnonzero(np.isnan(given))

    def against(logs):
        some_noise = noise.copy()
        some_noise[free] = np.exp(logs)
        variance = some_noise @ both
        loss = 0.5 * square / variance if tail == 0 else (0.5 / tail + 1) * np.log1p(tail * square / variance)
        belief = 0.5 * ((logs - some.noise[0, free]) / some.noise[1, free]) ** 2 if len(free) == 2 else 0.0
        return np.sum((1 - 0.5 * work.leverage) * np.log(variance) + loss) + np.sum(belief)

    at = np.log(noise[free])
    expected = minimize(against, at, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12, "maxiter": 4000})
    np.testing.assert_allclose(at, expected.x, atol=1e-3)


@pytest.mark.compiled
def test_both_parts_of_the_noise_are_found():
    some = grid()
    rng = np.random.default_rng(5)
    exact = np.array([data(some, seed, 0.0)[0] for seed in range(60)])
    exact[:, 4] -= 0.1
    size = np.sqrt(exact[:, :POINTS] ** 2 + exact[:, POINTS:] ** 2)
    for floor, share in ((2e-3, 0.0), (0.0, 0.02)):
        deviation = np.tile(np.hypot(floor, share * size), 2)
        b = exact + deviation * rng.standard_normal(exact.shape)
        hyper = solve(grid(0.0), b, np.ones((60, POINTS)), noise=(np.nan, np.nan))[1]
        found = np.sqrt(hyper[:, :1] + hyper[:, 1:2] * size**2)
        # At the largest and at the smallest |Z| of each.
        for at in (size.argmax(axis=1), size.argmin(axis=1)):
            ratio = found[np.arange(60), at] / deviation[np.arange(60), at]
            assert 0.85 < np.median(ratio) < 1.2


def test_given_lambda_is_kept_and_wins_over_the_search():
    some = grid()
    b, precision = campaign(some, 1)
    assert np.all(solve(some, b, precision, 0.123)[1][:, 2] == 0.123)


@pytest.mark.parametrize("noise", [(np.nan, 0.0), (np.nan, np.nan), (1e-5, 1e-6)])
def test_neighbours_change_nothing(noise):
    some = grid()
    b, precision = campaign(some, 2)
    together = solve(some, b, precision, noise=noise)
    order = [1]
    apart = solve(some, b[order], precision[order], noise=noise)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one[order], other)


def test_the_start_does_not_matter():
    some = grid()
    b, precision = campaign(some, 2)
    rng = np.random.default_rng(0)
    starts = np.hstack([-4 + 2 * rng.standard_normal((2, LOGS)), np.full((2, EXTRAS), 0.1)])
    one, other = solve(some, b, precision), solve(some, b, precision, start=starts)
    # The rounds of the hyperparameters end where they change by less than one per cent.
    np.testing.assert_allclose(other[1][:, [0, 2]], one[1][:, [0, 2]], rtol=0.1)
    np.testing.assert_allclose(other[0], one[0], atol=0.05)


def test_outliers_lose_their_say():
    some = grid()
    b, _ = data(some)
    moved = b.copy()
    moved[4] += 3.0
    both = np.array([b, moved])
    robust = solve(some, both, np.ones((2, POINTS)))[0]
    plain = solve(grid(0.0), both, np.ones((2, POINTS)))[0]
    assert np.abs(robust[1, 3:15] - robust[0, 3:15]).max() < 0.2
    assert np.abs(plain[1, 3:15] - plain[0, 3:15]).max() > 0.5


def known(some, y, b, precision, variance, lam, doubt=1.6):
    """Rounds of a covariance whose bends are as wide as they are known, by dense inverses."""
    gauss, rest, _, _ = dense(some, y, b, precision, variance, lam)
    covariance = np.linalg.inv(gauss + rest)
    stencil = np.zeros((LOGS - 2, some.size))
    for i in range(LOGS - 2):
        stencil[i, i : i + 3] = some.bend[i]
    bends = stencil @ y
    sharp = some.rate * lam / some.knee / (1 + lam * (bends / some.knee) ** 2) ** 1.5
    others = gauss + rest - stencil.T @ (sharp[:, None] * stencil)
    for _ in range(30):
        square = bends**2 + np.diag(stencil @ covariance @ stencil.T)
        stiffness = some.rate * lam / np.sqrt(some.knee**2 + lam * square)
        covariance = np.linalg.inv(others + stencil.T @ (stiffness[:, None] * stencil))
    # How the solution moves with ln λ, by the derivative of the prior's gradient.
    moved = np.zeros(some.size)
    for sign in (1, -1):
        step = 1e-4
        moved[:LOGS] += sign * approx_fprime(y[:LOGS], numpy_prior, 1e-6, lam * np.exp(sign * step), some) / (2 * step)
    along = doubt * covariance @ moved
    return covariance + np.outer(along, along)


def test_covariances_are_those_of_dense_inverses():
    some = grid()
    b, precision = campaign(some, 2)
    out, hyper, _ = solve(some, b, precision)
    mean, covariance, found = np.empty((2, some.size)), np.empty((2, some.size, some.size)), np.empty((2, 3))
    given = np.column_stack([np.full(2, np.nan), np.zeros(2), hyper[:, 2]])
    kernel.posteriors(b, parts(b, precision), out, given, kernel.new_work(some, tables(some)), mean, covariance, found)
    variance = found[:, 0]
    np.testing.assert_array_equal(mean, out)
    for k in range(2):
        np.testing.assert_array_equal(covariance[k], covariance[k].T)
        # The variance that the rounds ended on is not more than theirs away from the one that they began with.
        expected = known(some, out[k], b[k], precision[k], variance[k], hyper[k, 2])
        spread, other = np.sqrt(np.diag(covariance[k])), np.sqrt(np.diag(expected))
        np.testing.assert_allclose(spread, other, rtol=0.02)


@pytest.mark.parametrize("lam", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("knee", [0.02, 0.125, 5.0])
def test_bends_are_as_wide_as_the_covariance_says(lam, knee):
    some = grid()._replace(knee=knee * 8.0 * grid().knee)
    b, precision = data(some)
    given = np.array([[1e-5, 0.0, lam]])
    out, _, _ = solve(some, b[None], precision[None], lam, noise=(1e-5, 0.0))
    mean, covariance, found = np.empty((1, some.size)), np.empty((1, some.size, some.size)), np.empty((1, 3))
    work = kernel.new_work(some, tables(some))
    kernel.posteriors(b[None], parts(b[None], precision[None]), out, given, work, mean, covariance, found)
    expected = known(some, out[0], b, precision, 1e-5, lam)
    np.testing.assert_allclose(np.diag(covariance[0]), np.diag(expected), rtol=0.02)
    # All of the inverse, not only the diagonals that the rounds need.
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(covariance[0] / np.outer(size, size), expected / np.outer(size, size), atol=0.02)


def test_the_mean_beside_a_bound_is_that_of_newtons_step():
    some = grid()
    b, precision = data(some)
    b = (b - 0.3 * some.columns[LOGS + 1])[None]
    out, hyper, _ = solve(some, b, precision[None])
    mean, covariance, found = np.empty((1, some.size)), np.empty((1, some.size, some.size)), np.empty((1, 3))
    kernel.posteriors(
        b, parts(b, precision[None]), out, hyper, kernel.new_work(some, tables(some)), mean, covariance, found
    )
    gradient = numpy_gradient(out[0], b[0], precision, hyper[0, 0], hyper[0, 2], some)
    assert out[0, -1] == 0.0 < gradient[-1]
    np.testing.assert_array_equal(found, hyper)
    # λ moves no mean, so its part of the covariance has to be taken off.
    expected = known(some, out[0], b[0], precision, hyper[0, 0], hyper[0, 2], doubt=0.0)
    moved = mean[0] - out[0]
    data_driven = np.where(out[0, LOGS:] == 0.0, gradient[LOGS:], 0.0)
    np.testing.assert_allclose(moved, -expected[:, LOGS:] @ data_driven, rtol=0.03, atol=0.03 * np.abs(moved).max())
    assert moved[-1] < 0.0


@pytest.mark.parametrize("rows", [4, 20, 32, 72])
def test_factors_solutions_and_inverses(rows):
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((rows, rows))
    matrix = matrix @ matrix.T + np.eye(rows)
    stored, factor, inverse, out = np.zeros((4, rows, rows + dense_kernels.BESIDE))
    stored[:, :rows] = np.triu(matrix)
    leaves = kernel.Leaves(*(one.found() for one in kernel.LEAVES))
    assert inverted(stored, leaves, factor, kernel._WHOLE, inverse, out)
    upper = np.linalg.cholesky(matrix).T
    np.testing.assert_allclose(np.triu(factor[:, :rows], 1), np.triu(upper, 1), atol=1e-12)
    np.testing.assert_allclose(1 / np.diag(factor), np.diag(upper), rtol=1e-12)
    np.testing.assert_allclose(np.tril(inverse[:, :rows]), np.linalg.inv(upper.T), atol=1e-10)
    np.testing.assert_allclose(np.triu(out[:, :rows]), np.triu(np.linalg.inv(matrix)), atol=1e-10)
    right, x = rng.standard_normal(rows), np.zeros(rows + dense_kernels.BESIDE)
    solved(leaves, factor, right, x)
    np.testing.assert_allclose(matrix @ x[:rows], -right, atol=1e-10)
    band, at = np.zeros_like(out), np.arange(rows)
    near = (at >= at[:, None]) & (at <= at[:, None] + 2)
    assert inverted(stored, leaves, factor, kernel._BAND, inverse, band)
    np.testing.assert_array_equal(band[:, :rows][near], out[:, :rows][near])
    assert inverted(stored, leaves, factor, kernel._REST, inverse, band)
    np.testing.assert_array_equal(np.triu(band[:, :rows]), np.triu(out[:, :rows]))
    assert not inverted(-stored, leaves, factor, kernel._WHOLE, inverse, out)


def test_the_blocked_product():
    rng = np.random.default_rng(2)
    left, right = rng.standard_normal((2, 12, 48))
    outer, out = rng.standard_normal(12), np.zeros((12, 20))
    gram(left, right @ right.T @ right, outer, out)
    expected = outer[:, None] * (left @ (right @ right.T @ right).T) * outer
    np.testing.assert_allclose(np.triu(out[:, :12]), np.triu(expected.T), rtol=1e-12)


@pytest.mark.parametrize("capacitance", [False, True])
def test_neighbours_give_the_second_derivative_and_leverages(capacitance):
    # Against the products of matrices, for weights over four decades and both with a direction and without.
    frequency = np.geomspace(1e5, 1e-1, 46)
    method = drt.LogGaussian(capacitance=capacitance)
    prepared = method.prepared(frequency, method.expansion(frequency))
    some, exact_tables = prepared.grid, prepared.tables._replace(good=0.0)
    rng = np.random.default_rng(3)
    y = np.full(len(some.columns), -3.0)
    y[: some.size] = np.concatenate([-3 + np.sin(np.arange(some.logs) / 7), np.full(some.size - some.logs, 0.3)])
    found = {}
    for name, other in (("near", prepared.tables), ("exact", exact_tables)):
        work = kernel.new_work(some, other)
        work.y[:] = y
        work.data[: 2 * frequency.size] = rng.standard_normal(2 * frequency.size) if name == "near" else found["b"]
        found.setdefault("b", work.data[: 2 * frequency.size].copy())
        work.precision[:] = 10.0 ** np.linspace(6, 2, frequency.size)
        begin(1.0, some, work)
        assert needs_exact(some, work) == (name == "exact")
        work.band[:] = 0.0
        set_matrix(some, work)
        matrix = work.matrix.copy()
        assert curve(1.0, some, work)
        found[name] = matrix, work.leverage.copy()
    scale = np.sqrt(np.abs(np.diag(found["exact"][0])))
    error = np.abs(np.triu(found["near"][0][:, : len(scale)] - found["exact"][0][:, : len(scale)]))
    assert (error / np.outer(scale, scale)).max() < 2e-6
    np.testing.assert_allclose(found["near"][1], found["exact"][1], atol=1e-4)


class Inner(NamedTuple):
    share: float
    count: int
    flags: np.ndarray


class Outer(NamedTuple):
    table: np.ndarray
    inner: Inner
    leaves: kernel.Leaves
    numbers: np.ndarray


@njit
def looked_up(given):
    held = hold(given)
    inner = held.inner
    held.table[1, -1] += inner.share
    held.numbers[inner.count] = held.table.shape[0] * 10 + held.table.shape[1]
    inner.flags[0] = not inner.flags[0]
    held.leaves.solve(held.table, held.table[0], held.table[2])
    return inner.share * inner.count, held.numbers.size, inner.flags[1]


@pytest.mark.compiled
def test_compiled_code_finds_a_tuple_at_its_address():
    table = np.zeros((4, 12))
    table[:, :4], table[0, 4:] = np.eye(4), 0.0
    leaves = kernel.Leaves(*(one.found() for one in kernel.LEAVES))
    numbers, flags = np.arange(5), np.array([True, False])
    given = handle(Outer(table, Inner(0.25, 3, flags), leaves, numbers))
    assert given.table is table
    assert given.inner.count == 3
    assert looked_up(given) == (0.75, 5, False)
    assert table[1, -1] == 0.25
    assert numbers.tolist() == [0, 1, 2, 4 * 10 + 12, 4]
    assert flags.tolist() == [False, False]
    # The factor is one, so what solves it is its right side, with the other sign.
    np.testing.assert_array_equal(table[2, :4], [-1.0, 0.0, 0.0, 0.0])
    other = handle(Outer(np.zeros((4, 12)), Inner(0.5, 1, flags), leaves, numbers))
    assert typeof(other) is typeof(given)
    assert looked_up(other)[0] == 0.5


@pytest.mark.compiled
def test_what_compiled_code_would_misread_is_refused():
    inner = Inner(0.25, 3, np.zeros(2))
    for wrong, said in (
        (inner._replace(flags=np.zeros((2, 3)).T), "must be contiguous"),
        (inner._replace(count="3"), "no held tuple holds a str"),
        (inner._replace(share=None), "no held tuple holds a NoneType"),
    ):
        with pytest.raises(TypeError, match=said):
            handle(wrong)
    # Whole numbers and others are told apart, as numba does, and arrays by what they hold.
    kinds = {typeof(handle(inner._replace(flags=np.zeros(2, dtype=kind)))) for kind in (float, int, bool)}
    assert len(kinds) == 3
    assert typeof(handle(inner)) != typeof(handle(inner._replace(count=3.0)))
