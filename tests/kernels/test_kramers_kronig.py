"""Normal equations in blocks and orthogonalisation of single spectra, against numpy."""

import numpy as np
import pytest
from scipy import optimize

from drt_kernels import kramers_kronig, violations

RNG = np.random.default_rng(2)
BLOCKS, SIZE, BATCH, DATA = 2, 5, 3, 12
A = RNG.standard_normal((BLOCKS, BATCH, DATA, SIZE))
NORMAL = np.swapaxes(A, 2, 3) @ A
ROW, COLUMN = np.tril_indices(SIZE)


def packed(matrices):
    return np.ascontiguousarray(matrices[:, :, ROW, COLUMN].transpose(0, 2, 1))


def factored(matrices):
    """Factors of packed matrices; the table that takes the sums as they are is the plain one."""
    sums = packed(matrices)
    every = np.arange(ROW.size)
    table = every, every[::-1].copy(), np.full(every.size, 1.0), np.zeros(every.size)
    factor, weakest = np.empty_like(sums), np.empty((len(sums), sums.shape[2]))
    kramers_kronig.factorise(sums, table, factor, weakest)
    return factor, weakest


def test_factors_are_those_of_cholesky():
    factor, weakest = factored(NORMAL)
    lower = np.linalg.cholesky(NORMAL)
    expected = lower[:, :, ROW, COLUMN].transpose(0, 2, 1).copy()
    expected[:, ROW == COLUMN] = 1 / expected[:, ROW == COLUMN]
    np.testing.assert_allclose(factor, expected, rtol=1e-10)
    share = np.einsum("bkii->bki", lower) ** 2 / np.einsum("bkii->bki", NORMAL)
    np.testing.assert_allclose(weakest, share.min(axis=2), rtol=1e-10)


def test_a_dependent_column_is_seen_and_harms_no_neighbour():
    spoilt = NORMAL.copy()
    b = A[0, 1].copy()
    b[:, 3] = b[:, 0] + b[:, 1]
    spoilt[0, 1] = b.T @ b
    factor, weakest = factored(spoilt)
    assert weakest[0, 1] < 1e-13
    clean, strong = factored(NORMAL)
    np.testing.assert_array_equal(factor[0, :, [0, 2]], clean[0, :, [0, 2]])
    np.testing.assert_array_equal(weakest[0, [0, 2]], strong[0, [0, 2]])


def test_sums_are_combined():
    sums = RNG.standard_normal((BLOCKS, 4, BATCH)) + 5
    table = np.array([0, 1, 2]), np.array([3, 0, 1]), np.array([2.0, 0.1, 3.0]), np.array([0.5, 0.01, 2.0])
    factor, weakest = np.empty((BLOCKS, 3, BATCH)), np.empty((BLOCKS, BATCH))
    kramers_kronig.factorise(sums, table, factor, weakest)
    first = 2 * sums[:, 0] + 0.5 * sums[:, 3]
    np.testing.assert_allclose(factor[:, 0], first**-0.5)
    np.testing.assert_allclose(factor[:, 1], (0.1 * sums[:, 1] + 0.01 * sums[:, 0]) * first**-0.5)


def test_answers_solve_the_equations():
    factor, _ = factored(NORMAL)
    right = RNG.standard_normal((BLOCKS, SIZE, BATCH))
    x = right.copy()
    kramers_kronig.solve_normal_equations(factor, x)
    np.testing.assert_allclose(np.einsum("bkij,bjk->bik", NORMAL, x), right, atol=1e-10)
    columns = RNG.standard_normal((BLOCKS, 2, SIZE, BATCH))
    y = columns.copy()
    kramers_kronig.forward(factor, y)
    np.testing.assert_allclose(np.einsum("bkij,bcjk->bcik", np.linalg.cholesky(NORMAL), y), columns, atol=1e-10)


def test_balance_counts_what_has_mass():
    sums, every = packed(NORMAL), np.arange(ROW.size)
    table = every, every, np.ones(every.size), np.zeros(every.size)
    right = RNG.standard_normal((BLOCKS, SIZE, BATCH))
    mass = np.array([0.0, 1.0, -2.0, 1.0, 0.0])
    x, mu, weakest = right.copy(), np.empty((BLOCKS, BATCH)), np.empty((BLOCKS, BATCH))
    kramers_kronig.try_elements(sums, table, mass, x, mu, weakest)
    expected = np.linalg.solve(NORMAL, right.transpose(0, 2, 1)[..., None])[..., 0]
    np.testing.assert_allclose(x, expected.transpose(0, 2, 1), rtol=1e-8)
    terms = expected * mass
    with np.errstate(divide="ignore"):
        balance = 1 - np.where(terms < 0, -terms, 0).sum(axis=2) / np.where(terms > 0, terms, 0).sum(axis=2)
    np.testing.assert_allclose(mu, balance, rtol=1e-8)
    kramers_kronig.try_elements(sums, table, np.zeros(SIZE), right.copy(), mu, weakest)
    assert (mu == -np.inf).all()


def test_inverse_and_products():
    factor, _ = factored(NORMAL)
    out = np.empty_like(factor)
    kramers_kronig.invert(factor, out)
    times = np.where(ROW == COLUMN, 1, 2)[:, None]
    np.testing.assert_allclose(out, packed(np.linalg.inv(NORMAL)) * times, rtol=1e-8)
    columns = RNG.standard_normal((BLOCKS, 3, SIZE, BATCH))
    found = np.empty((BLOCKS, 6, BATCH))
    kramers_kronig.products(columns, found)
    i, j = np.tril_indices(3)
    np.testing.assert_allclose(found, np.einsum("bcnk,bdnk->bcdk", columns, columns)[:, i, j], rtol=1e-12)


def squares_left(a, b):
    return np.sum((b - a @ np.linalg.lstsq(a, b, rcond=None)[0]) ** 2)


def test_the_largest_point_is_that_which_helps_most_when_left_out():
    points = DATA // 2
    weights = RNG.uniform(0.5, 2, (BLOCKS, points, BATCH))
    twice = np.concatenate([weights, weights], axis=1)
    data = RNG.standard_normal((BLOCKS, BATCH, DATA))
    hat, residual, expected = (
        np.empty((BLOCKS, 3 * points, BATCH)),
        np.empty((BLOCKS, DATA, BATCH)),
        np.empty((BLOCKS, BATCH)),
    )
    for b in range(BLOCKS):
        for k in range(BATCH):
            w = twice[b, :, k]
            a = A[b, k] * w[:, None]
            inner = A[b, k] @ np.linalg.inv(a.T @ a) @ A[b, k].T
            near = np.arange(points)
            hat[b, :, k] = np.concatenate(
                [inner[near, near], inner[near + points, near + points], inner[near, near + points]]
            )
            y = data[b, k] * w
            residual[b, :, k] = y - a @ np.linalg.lstsq(a, y, rcond=None)[0]
            falls = [
                squares_left(a, y) - squares_left(np.delete(a, [p, p + points], 0), np.delete(y, [p, p + points]))
                for p in near
            ]
            expected[b, k] = max(falls)
    out = np.empty((BLOCKS, BATCH))
    kramers_kronig.largest_point(hat, weights, residual, 1e-9, out)
    np.testing.assert_allclose(out, expected, rtol=1e-8)


def test_gain_is_the_fall_of_the_sum_of_squares_and_skips_what_the_model_holds():
    model, y = A[0, 0], RNG.standard_normal(DATA)
    trials = RNG.standard_normal((DATA, 4))
    trials[:, 1] = model @ RNG.standard_normal(SIZE)
    project = np.eye(DATA) - model @ np.linalg.pinv(model)
    normal = (trials.T @ project @ trials)[np.tril_indices(4)][None]
    out, rank = np.empty(1), np.empty(1, np.int64)
    own = np.sum(trials**2, axis=0)
    kramers_kronig.gain(normal, (trials.T @ project @ y)[None], own[None], 1e-6, out, rank)
    assert rank[0] == 3
    assert out[0] == pytest.approx(squares_left(model, y) - squares_left(np.hstack([model, trials]), y))


def test_orthogonalisation_solves_least_squares_where_normal_equations_cannot():
    a = np.vander(np.linspace(0, 1, 30), 12)
    a /= np.linalg.norm(a, axis=0)
    x, y = np.empty(12), RNG.standard_normal(30)
    violations.solve_dense(np.ascontiguousarray(a.T), y, x)
    expected = np.linalg.lstsq(a, y, rcond=1e-15)[0]
    np.testing.assert_allclose(a @ x, a @ expected, atol=1e-9)
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_a_dependent_column_gets_zero():
    a = np.ascontiguousarray(A[0, 0].T)
    doubled = np.vstack([a, 2 * a[:1], np.zeros((1, DATA))])
    x, y = np.empty(SIZE + 2), RNG.standard_normal(DATA)
    violations.solve_dense(doubled, y, x)
    assert x[SIZE:].tolist() == [0, 0]
    np.testing.assert_allclose(x[:SIZE], np.linalg.lstsq(a.T, y, rcond=None)[0], rtol=1e-9)


def examined(y, trials, allowed=None, ends=0, points=20, most=3, capacitance=False):
    """What is found in data of `points` points with a constant and a slope as the model."""
    t = np.linspace(-1, 1, 2 * points)
    columns = np.vstack([np.ones_like(t), t])
    critical = np.full((8, 2 * points), 15.0)
    gone = np.zeros(points, dtype=bool)
    none = np.empty((0, 2 * points))
    limits = violations.Limits(1e-12, 1e-6, most, ends, capacitance)
    question = violations.Question(columns, y, trials, none if allowed is None else allowed, critical, limits)
    found = violations.examine(question, gone)
    return np.flatnonzero(gone).tolist(), found


def test_faults_join_one_after_the_other():
    t = np.linspace(-1, 1, 40)
    trials = np.array([t**2, np.exp(3 * t), np.sin(3 * t), np.cos(5 * t), np.sin(7 * t)])
    noise = 1e-3 * np.random.default_rng(0).standard_normal(40)
    noise -= np.polyval(np.polyfit(t, noise, 1), t)
    y = 3 + t + noise
    gone, found = examined(y + 0.5 * trials[0], trials)
    assert (gone, found.drifts, found.inconsistent) == ([], 1, 0)
    assert found.drift == pytest.approx(0.5, abs=5 * found.drift_error)
    assert found.freedom == 37
    y[4] += 1
    y[31] -= 0.3
    gone, found = examined(y, trials)
    assert (gone, found.drifts, found.inconsistent, found.freedom) == ([4, 11], 0, 0, 34)
    assert examined(y, trials, most=1)[0] == [4]
    gone, found = examined(3 + t + noise + 0.2 * trials[3] - 0.1 * trials[4], trials)
    assert (found.inconsistent, gone) == (1, [])
    assert found.squares < 40e-6
    y = 3 + t + noise + 0.2 * np.cos(5 * t)
    gone, found = examined(y, trials, trials[[3]], ends=1)
    assert (found.capacitance, found.inconsistent, found.extended, gone) == (1, 0, 1, [])
    gone, found = examined(y, trials, trials[[4, 3]])
    assert (found.capacitance, found.inconsistent, found.extended, gone) == (0, 0, 1, [])
    assert found.score < 1
    gone, found = examined(3 + t + noise - 0.2 * np.cos(5 * t), trials, trials[[3]])
    assert found.extended == 0
    assert found.score > 1


def test_drift_beside_a_capacitance_has_to_be_clear():
    t = np.linspace(-1, 1, 40)
    trials = np.array([t**2, t**2, t**2, np.sin(7 * t)])
    basis = np.linalg.qr(np.vander(t, 2))[0]
    noise = np.random.default_rng(3).standard_normal(40)
    for column in (*basis.T, *np.linalg.qr(np.column_stack([basis, t**2]))[0].T[2:]):
        noise -= column * (column @ noise)
    left = t**2 - basis @ (basis.T @ t**2)
    for f, alone, beside in ((14.0, 0, 0), (17.0, 1, 0), (22.0, 1, 0), (24.0, 1, 1)):
        y = noise + left * np.sqrt(f * (noise @ noise) / 37 / (left @ left))
        for capacitance, expected in ((False, alone), (True, beside)):
            found = examined(y, trials, capacitance=capacitance, most=0)[1]
            assert (found.drifts, found.score > 1) == (expected, expected)


def test_allowed_columns_join_with_positive_coefficients():
    rng = np.random.default_rng(6)
    for _ in range(50):
        columns, residual = rng.standard_normal((2, 30)), rng.standard_normal(30)
        basis = np.zeros((10, 30))
        basis[:2] = np.linalg.qr(columns.T)[0].T
        residual -= basis[:2].T @ (basis[:2] @ residual)
        allowed = rng.standard_normal((4, 30)) + 2 * rng.standard_normal(30)
        left = allowed - (allowed @ basis[:2].T) @ basis[:2]
        x, rest = optimize.nnls(left.T, residual)
        squares = residual @ residual
        gained, chosen, _ = violations._positive(basis, 2, allowed, np.ones(4, dtype=bool), residual, squares, 0.0)
        assert chosen == sum(1 << t for t in range(4) if x[t] > 0)
        spread = rest**2 / (28 - np.count_nonzero(x))
        assert gained == pytest.approx((squares - rest**2) / spread, rel=1e-9, abs=1e-9)
