"""The largest coefficients that data allow, against a Cholesky factor of the whole matrix."""

import numpy as np
import pytest
from scipy.optimize import brentq, lsq_linear

from drt_engine.uncertainty.ceilings import Ceilings, largest_allowed

QUANTILE = 1.96


def growth(columns, room, i, j):
    """By how much coefficient j may grow at the expense of the first i, which have that much room: by bisection."""
    if i == 0 or np.isinf(room[:i]).all():
        return np.inf
    bounds = -room[:i], np.full(i, np.inf)

    def distance(t):
        left = lsq_linear(columns[:, :i], -t * columns[:, j], bounds, method="bvls", tol=1e-14)
        return np.sqrt(2.0 * left.cost) - QUANTILE

    top = 1e-6
    while distance(top) < 0.0:
        top *= 2.0
    return brentq(distance, 0.0, top, rtol=1e-9)


def by_whole_factor(matrix, weights, solution, logs):
    """One spectrum: how much of each column the first k of the larger ones leave, for every k."""
    room = np.abs(solution)
    room[logs:] = np.inf
    order = np.argsort(-room, kind="stable")
    columns, room = (matrix * weights[:, None])[:, order], room[order]
    factor = np.linalg.qr(columns, mode="r").T
    limits = np.empty(room.size)
    for j, place in enumerate(order):
        for i in range(j + 1):
            more = QUANTILE / np.sqrt((columns[:, j] ** 2).sum() - (factor[j, :i] ** 2).sum())
            gap = room[i] - room[j] if room[j] < room[i] else 0.0
            if more >= gap and 2.0 * room[j] < more:
                more = min(more, max(2.0 * room[j], growth(columns, room, i, j)))
            if more >= gap:
                limits[place] = min(room[j] + more, room[i - 1] if i > 0 else np.inf)
                break
    return limits[:logs]


@pytest.mark.parametrize("size", [5, 16, 19])
def test_limits_are_those_of_the_whole_factor(size):
    rng = np.random.default_rng(size)
    matrix = rng.normal(size=(40, size))
    weights = rng.uniform(10.0, 1e3, size=(3, 40))
    solution = rng.exponential(size=(3, size)) * 10.0 ** rng.uniform(-6, 0, size=(3, size))
    # A row of zeros: the plain limit of detection beside the series elements.
    solution[2] = 0.0
    found = largest_allowed(matrix, weights, solution, size - 2)
    expected = [by_whole_factor(matrix, *one, size - 2) for one in zip(weights, solution, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("fall", [1.0, 2.0, 4.0])
def test_beside_a_sharp_peak_none_gives_more_than_it_has(fall):
    omega, tau = np.logspace(-3, 3, 31), 10.0 ** (0.1 * np.arange(-12, 13))
    kernel = 1 / (1 + 1j * omega[:, None] * tau)
    matrix = np.hstack([np.vstack([kernel.real, kernel.imag]), np.repeat([[1.0, 0.0], [0.0, 1.0]], 31, axis=0)])
    solution = np.append(100.0 * np.exp(-fall * np.abs(np.arange(25) - 11.7)), [10.0, 1.0])
    weights = np.full(62, 30.0)
    found = largest_allowed(matrix, weights[None], solution[None], 25)[0]
    np.testing.assert_allclose(found, by_whole_factor(matrix, weights, solution, 25), rtol=1e-4)
    # Nothing that is not negative fits better and has more: by the whole problem, at twice the distance.
    data = weights * (matrix @ solution)
    columns = matrix * weights[:, None]
    for m in range(25):
        at = found[m] + 1e-3
        left = lsq_linear(
            np.delete(columns, m, axis=1),
            data - at * columns[:, m],
            (np.append(np.zeros(24), [-np.inf, -np.inf]), np.inf),
        )
        assert np.sqrt(2.0 * left.cost) < 2.0 * QUANTILE


def problem(size=19, rows=5):
    """Columns, weights and solutions whose coefficients are of many sizes."""
    rng = np.random.default_rng(size)
    solution = rng.exponential(size=(rows, size)) * 10.0 ** rng.uniform(-6, 0, size=(rows, size))
    return rng.normal(size=(40, size)), rng.uniform(10.0, 1e3, size=(rows, 40)), solution


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, 1.01, 3.0, np.inf])
def test_limits_are_exact_below_what_is_enough(share):
    matrix, weights, solution = problem()
    whole = largest_allowed(matrix, weights, solution, 17)
    # Some that are below what is enough, some that are above, and those that would not do without any room.
    enough = np.where(np.arange(17) % 3, share * whole, 0.5 * solution[:, :17])
    found = largest_allowed(matrix, weights, solution, 17, enough)
    below = whole < enough
    assert below.any() == (share > 1.0)
    np.testing.assert_array_equal(found[below], whole[below])
    assert (found[~below] >= enough[~below]).all()


def test_limits_of_spectra_without_a_solution_are_infinite():
    matrix, weights, solution = problem()
    solution[1], weights[3] = np.nan, np.nan
    unit = np.linspace(1.0, 2.0, 5 * 17).reshape(5, 17)
    ceilings, known = Ceilings(matrix, weights, solution, unit), [0, 2, 4]
    found = ceilings.below(np.full((5, 17), np.inf))
    assert (found[[1, 3]] == np.inf).all()
    expected = unit[known] * largest_allowed(matrix, weights[known], solution[known], 17)
    np.testing.assert_array_equal(found[known], expected)
    np.testing.assert_array_equal(ceilings[2:].below(np.full((3, 17), np.inf)), found[2:])
    assert (ceilings[1:2].below(np.ones((1, 17))) == np.inf).all()


def test_columns_that_are_alike_make_room_for_each_other_but_not_without_end():
    matrix = np.ones((6, 3)) + 1e-7 * np.arange(18).reshape(6, 3)
    found = largest_allowed(matrix, np.full((1, 6), 1e3), np.array([[2.0, 1.0, 0.0]]), 3)
    assert np.isfinite(found).all()
    assert found[0, 2] >= 1.0
