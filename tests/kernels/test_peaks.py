"""The parts of the search that can be told by hand; what is significant is held against a slow twin in tests/peaks."""

import numpy as np
import pytest

from drt_kernels import peaks


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.3])
def test_the_refined_maximum_of_a_polynomial_of_degree_six_is_exact(shift):
    s = np.arange(-8.0, 9.0) - shift
    curve = 2.0 - s**2 / 10 + s**4 / 5000 - s**6 / 1e7
    at, value = peaks._refined(curve, 8)
    assert at == pytest.approx(shift, abs=1e-12)
    assert value == pytest.approx(2.0, rel=1e-14)


def test_the_taylor_coefficients_are_those_of_monomials():
    s = np.arange(-3.0, 4.0)
    powers = np.array([peaks._TAYLOR @ s**n for n in range(7)])
    np.testing.assert_allclose(powers[1:], np.eye(6), atol=1e-10)
    np.testing.assert_allclose(powers[0], 0.0, atol=1e-12)


def test_maxima_and_lowest():
    curve = np.array([0.0, 0, 0, 1, 3, 2, 2, 1, 4, 1, 0, 5, 0, 0, 0, 0])
    found = np.zeros(10, np.int64)
    count = peaks._maxima(curve, 3.5, found)
    assert list(found[:count]) == [8, 11]
    assert peaks._lowest(curve, 4, 8) == 7


def test_half_width_by_interpolation_and_where_a_neighbour_hides_it():
    curve = np.array([0.0, 0, 0, 0, 2, 4, 3, 1, 0, 0, 0, 0])
    assert peaks._width(curve, 5, 0.0, 4.0, (0, 11)) == pytest.approx(1.0 + 1.5)
    assert peaks._width(curve, 5, 0.0, 4.0, (0, 6)) == pytest.approx(2.0)
    hidden = 2 * np.sqrt(2 * np.log(2)) * np.sqrt(4.0 / 3.0)
    assert peaks._width(curve, 5, 0.0, 4.0, (5, 6)) == pytest.approx(hidden)


def test_features_are_merged_in_order():
    order, which = np.zeros((2, 6), np.int64)
    kinds = np.array([peaks.SHOULDER, peaks.MAXIMUM, peaks.SHOULDER])
    count = peaks._merge(np.array([5, 20]), np.array([2, 6, 9]), kinds, order, which)
    assert list(order[:count]) == [2, 5, 9, 20]
    assert list(which[:count]) == [-1, 0, -3, 1]


def test_a_functional_has_the_value_and_variance_of_its_definition():
    rng = np.random.default_rng(4)
    inverse = rng.standard_normal((6, 6))
    inverse = inverse @ inverse.T
    answer, x, sigma, lost = rng.standard_normal((6, 9)), rng.random(6), rng.random(9), rng.random(6)
    q = np.zeros(6)
    q[1:5] = rng.standard_normal(4)
    tables = (np.zeros((1, 6)), np.zeros((1, 6)), np.zeros((1, 2), np.int64), 10 * inverse, answer)
    value, noise, rest, bias = peaks._deviations((1, 5), tables, (x, sigma, lost), (q, np.zeros(9)))
    assert value == pytest.approx(q @ x)
    assert noise == pytest.approx(q @ answer @ np.diag(sigma**2) @ answer.T @ q)
    assert rest == pytest.approx(max(np.mean(sigma**2) * (10 * q @ inverse @ q - np.sum((answer.T @ q) ** 2)), 0.0))
    assert bias == pytest.approx(q @ lost)
