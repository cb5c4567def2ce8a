"""The largest coefficients that data allow, against a Cholesky factor of the whole matrix."""

import numpy as np
import pytest

from drt_engine.uncertainty.ceilings import largest_allowed

QUANTILE = 1.96


def by_whole_factor(matrix, weights, solution, logs):
    """One spectrum: how much of each column the first k of the larger ones leave, for every k."""
    room = np.abs(solution)
    room[logs:] = np.inf
    order = np.argsort(-room, kind="stable")
    columns = (matrix * weights[:, None])[:, order]
    factor = np.linalg.qr(columns, mode="r").T
    limits = np.empty(room.size)
    for i, j in enumerate(order):
        left = (columns[:, i] ** 2).sum() - np.append(0.0, np.cumsum(factor[i, :i] ** 2))
        value = room[j] + QUANTILE / np.sqrt(left)
        limits[j] = value[np.argmax(value >= room[order[: i + 1]])]
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


def test_columns_that_are_alike_make_room_for_each_other_but_not_without_end():
    matrix = np.ones((6, 3)) + 1e-7 * np.arange(18).reshape(6, 3)
    found = largest_allowed(matrix, np.full((1, 6), 1e3), np.array([[2.0, 1.0, 0.0]]), 3)
    assert np.isfinite(found).all()
    assert found[0, 2] >= 1.0
