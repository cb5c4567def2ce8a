import numpy as np
import pytest
from scipy.optimize import nnls

from drt_kernels import pivoting


def problem(seed, data=14, size=9, condition=1e3):
    """A matrix of smooth, nearly dependent columns as DRT problems have, a penalty, and data that want zeros."""
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.standard_normal((data, size)))
    v, _ = np.linalg.qr(rng.standard_normal((size, size)))
    a = u * np.geomspace(1.0, 1.0 / condition, size) @ v.T
    difference = np.diff(np.eye(size), axis=0)
    b = a @ np.maximum(rng.standard_normal((6, size)), 0.0).T + 0.01 * rng.standard_normal((data, 6))
    return a, difference.T @ difference, difference, np.ascontiguousarray(b.T)


def reference(a, difference, b, lam):
    stacked = np.vstack([a, np.sqrt(lam) * difference])
    return np.array([nnls(stacked, np.concatenate([row, np.zeros(len(difference))]))[0] for row in b])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lam", [1e-8, 1e-4, 1.0])
def test_both_roads_lead_to_non_negative_least_squares(seed, lam):
    a, penalty, difference, b = problem(seed)
    expected = reference(a, difference, b, lam)
    x, solved = np.empty_like(expected), np.empty(len(b), dtype=bool)
    pivoting.grow_passive(
        b, np.vstack([a, difference]).T.copy(), a.T @ a, penalty, np.full(len(b), lam), 200, x, solved
    )
    assert solved.all()
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-9 * expected.max())

    # κ² of the stacked matrix bounds what the inverse is good for.
    inverse = np.linalg.inv(a.T @ a + lam * penalty)
    x = np.empty_like(expected)
    start = b @ a @ inverse
    pivoting.exchange_active(start, inverse[None], np.zeros(len(b), np.int64), 50, x, solved)
    assert solved.any()
    tolerance = 1e-15 * np.linalg.cond(np.vstack([a, np.sqrt(lam) * difference])) ** 2
    np.testing.assert_allclose(x[solved], expected[solved], rtol=0, atol=max(1e-9, tolerance) * expected.max())


def test_each_row_has_its_own_lambda():
    a, penalty, difference, b = problem(3)
    lam = np.array([1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    expected = np.array([reference(a, difference, row[None], value)[0] for row, value in zip(b, lam, strict=True)])
    x, solved = np.empty_like(expected), np.empty(len(b), dtype=bool)
    pivoting.grow_passive(b, np.vstack([a, difference]).T.copy(), a.T @ a, penalty, lam, 200, x, solved)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-9 * expected.max())
    inverse = np.array([np.linalg.inv(a.T @ a + value * penalty) for value in lam])
    start = np.array([row @ a @ g for row, g in zip(b, inverse, strict=True)])
    pivoting.exchange_active(start, inverse, np.arange(6), 50, x, solved)
    np.testing.assert_allclose(x[solved], expected[solved], rtol=0, atol=1e-7 * expected.max())


def test_zeros_stay_zeros_and_no_rounds_leave_nothing_solved():
    a, penalty, difference, b = problem(1)
    x, solved = np.empty((6, 9)), np.empty(6, dtype=bool)
    arguments = (np.vstack([a, difference]).T.copy(), a.T @ a, penalty, np.full(6, 1e-3))
    pivoting.grow_passive(0.0 * b, *arguments, 200, x, solved)
    assert solved.all()
    assert not x.any()
    pivoting.grow_passive(b, *arguments, 2, x, solved)
    assert not solved.any()
    inverse = np.linalg.inv(a.T @ a + 1e-3 * penalty)
    pivoting.exchange_active(b @ a @ inverse, inverse[None], np.zeros(6, np.int64), 1, x, solved)
    assert not solved.all()


def test_dependent_columns_are_refused_and_the_answer_is_still_one():
    rng = np.random.default_rng(5)
    a = np.abs(rng.standard_normal((8, 3)))
    a = np.hstack([a, a[:, :1] + a[:, 1:2], a[:, 2:]])
    b = np.abs(rng.standard_normal((4, 8)))
    x, solved = np.empty((4, 5)), np.empty(4, dtype=bool)
    pivoting.grow_passive(b, a.T.copy(), a.T @ a, np.zeros((5, 5)), np.full(4, 1e-3), 200, x, solved)
    assert not solved.any()  # the gradient of a column that depends on others is zero: its sign is open
    for row, solution in zip(b, x, strict=True):
        _, norm = nnls(a, row)
        assert np.linalg.norm(a @ solution - row) == pytest.approx(norm, rel=1e-9)
    # The same columns as an inverse that is none: the exchange gives up instead of dividing by rounding.
    singular = np.ones((3, 3))
    x = np.empty((1, 3))
    pivoting.exchange_active(np.array([[-1.0, -2.0, 1.0]]), singular[None], np.zeros(1, np.int64), 20, x, solved[:1])
    assert not solved[0]


def test_single_exchanges_end_what_exchanging_all_at_once_does_not():
    # Inverses of smooth kernels, as ill-conditioned as DRT problems: the violations stop to become fewer.
    slow = 0
    y = np.linspace(0.0, 4.0, 24)
    hessian = np.exp(-((y[:, None] - y) ** 2)) + 1e-4 * np.eye(y.size)
    inverse = np.linalg.inv(hessian)
    # κ once for the inverse, once more for the unconstrained solution that it makes.
    rounding = np.finfo(float).eps * np.linalg.cond(hessian) ** 2
    for seed in range(20):
        start = inverse @ np.random.default_rng(seed).standard_normal(y.size)
        x, few, many = np.empty((1, y.size)), np.empty(1, dtype=bool), np.empty(1, dtype=bool)
        pivoting.exchange_active(start[None], inverse[None], np.zeros(1, np.int64), 8, x, few)
        pivoting.exchange_active(start[None], inverse[None], np.zeros(1, np.int64), 2000, x, many)
        assert many[0]
        gradient = hessian @ (x[0] - start)
        assert np.all(x >= 0.0)
        assert np.all(gradient >= -rounding * np.abs(gradient).max())
        assert np.all(np.abs(gradient * x[0]) <= rounding * np.abs(gradient).max() * x.max())
        slow += not few[0]
    assert slow > 0
