"""Normal distributions cut off at zero, against closed forms, quadrature and draws."""

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtri_exp
from scipy.stats import truncnorm

from drt_kernels import truncated


def cut_off(precision, shift, scale=1.0):
    size = len(shift)
    mean, covariance = np.empty(size), np.empty((size, size))
    moved = truncated.cut_off(
        np.array(precision, dtype=float), np.array(shift, dtype=float), np.full(size, scale), mean, covariance
    )
    return mean, covariance, moved


@pytest.mark.parametrize("z", [-1e4, -300.0, -31.0, -29.0, -5.0, 0.0, 2.0, 40.0])
def test_one_dimension_is_exact(z):
    deviation = 0.3
    mean, variance = truncated._cut(z * deviation, deviation)
    if z > -300:
        exact = truncnorm(-z, np.inf, loc=z * deviation, scale=deviation)
        expected = exact.mean(), exact.var()
    else:
        # An exponential distribution with rate |z|/σ, to 2/z² relative.
        expected = -deviation / z, (deviation / z) ** 2
    assert mean == pytest.approx(expected[0], rel=1e-4)
    assert variance == pytest.approx(expected[1], rel=2e-4)


def test_independent_dimensions_are_exact():
    deviation, centre = np.array([0.5, 2.0, 1e-3]), np.array([-0.4, 1.0, 2e-3])
    mean, covariance, moved = cut_off(np.diag(deviation**-2.0), centre * deviation**-2.0)
    exact = truncnorm(-centre / deviation, np.inf, loc=centre, scale=deviation)
    np.testing.assert_allclose(mean, exact.mean(), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.diag(exact.var()), rtol=1e-5, atol=1e-15)
    assert moved < 1e-6


PRECISION = np.array([[2.0, 1.2, 0.3], [1.2, 1.5, -0.4], [0.3, -0.4, 1.0]])
SHIFT = np.array([0.5, -1.0, 0.2])


def test_three_dimensions_are_near_to_quadrature():
    middle = (np.arange(120) + 0.5) * 0.06
    x = np.stack(np.meshgrid(middle, middle, middle, indexing="ij"), axis=-1).reshape(-1, 3)
    weight = np.exp(-0.5 * np.einsum("ki,ij,kj->k", x, PRECISION, x) + x @ SHIFT)
    weight /= weight.sum()
    exact = weight @ x
    spread = (x - exact).T @ ((x - exact) * weight[:, None])
    mean, covariance, _ = cut_off(PRECISION, SHIFT)
    # Expectation propagation is not exact; this is how near it is.
    deviation = np.sqrt(np.diag(spread))
    np.testing.assert_allclose(mean, exact, atol=0.005 * deviation.min())
    np.testing.assert_allclose(
        covariance / np.outer(deviation, deviation), spread / np.outer(deviation, deviation), atol=0.03
    )


def gibbs(precision, shift, draws, rng):
    """Draw from the distribution, one dimension after the other."""
    size = len(shift)
    x, out = np.ones((200, size)), []
    for step in range(draws):
        for i in range(size):
            rest = x @ precision[i] - precision[i, i] * x[:, i]
            centre, deviation = (shift[i] - rest) / precision[i, i], precision[i, i] ** -0.5
            # By the inverse of the distribution function; -ndtri(exp(.)) is how far above the centre.
            above = np.log1p(-rng.random(len(x))) + log_ndtr(centre / deviation)
            x[:, i] = np.maximum(centre - deviation * ndtri_exp(above), 0.0)
        if step > draws // 5:
            out.append(x.copy())
    return np.concatenate(out)


@pytest.mark.slow
def test_ten_dimensions_of_a_smooth_sum_are_near_to_draws():
    # Neighbours tell the data the same, as basis functions do.
    rng = np.random.default_rng(3)
    y = np.linspace(-3, 3, 10)
    matrix = np.exp(-0.5 * (np.linspace(-3, 3, 15)[:, None] - y) ** 2)
    truth = np.exp(-2.0 * (y - 0.5) ** 2)
    data = matrix @ truth + 0.03 * rng.standard_normal(15)
    roughness = np.diff(np.eye(10), axis=0)
    precision = (matrix.T @ matrix + 3e-3 * roughness.T @ roughness) / 0.03**2
    shift = matrix.T @ data / 0.03**2
    draws = gibbs(precision, shift, 600, rng)
    mean, covariance, moved = cut_off(precision, shift, 0.5)
    assert moved < 1e-6
    deviation = draws.std(axis=0)
    np.testing.assert_allclose(mean, draws.mean(axis=0), atol=0.12 * deviation.max())
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), deviation, rtol=0.12)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_where_it_starts_does_not_matter(scale):
    for one, other in zip(cut_off(PRECISION, SHIFT, scale)[:2], cut_off(PRECISION, SHIFT)[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_what_is_not_positive_definite_is_nan():
    mean, covariance, moved = cut_off([[1.0, 0.0], [0.0, -2.0]], [0.0, 0.0])
    assert np.isnan(mean).all()
    assert np.isnan(covariance).all()
    assert np.isnan(moved)


def test_noise_and_freedom_of_answers():
    rng = np.random.default_rng(2)
    matrix, penalty = rng.standard_normal((12, 4)) + 1.0, np.diag([1.0, 2.0, 0.0, 1.0])
    x = np.array([[0.7, 0.0, 1.1, 0.2], [0.1, 0.4, 0.0, 0.0]])
    b = x @ matrix.T + 0.1 * rng.standard_normal((2, 12))
    lam = np.array([0.3, 2.0])
    misfit = np.sum((x @ matrix.T - b) ** 2, axis=1)
    out = np.empty((2, 4)), np.empty((2, 4, 4)), np.empty(2)
    truncated.posteriors((matrix.T @ matrix, penalty), (b @ matrix, misfit, x, lam), 12.0, *out)
    for k in range(2):
        some = x[k] > 0
        part = matrix[:, some]
        hat = part @ np.linalg.solve(part.T @ part + lam[k] * penalty[np.ix_(some, some)], part.T)
        variance = misfit[k] / (12 - np.trace(hat))
        assert out[2][k] == pytest.approx(variance, rel=1e-9)
        hessian = (matrix.T @ matrix + lam[k] * penalty) / variance
        mean, covariance, _ = cut_off(hessian, matrix.T @ b[k] / variance, 0.5)
        np.testing.assert_allclose(out[0][k], mean, rtol=1e-5)
        np.testing.assert_allclose(out[1][k], covariance, rtol=1e-4, atol=1e-6 * covariance.max())
