import itertools

import numpy as np
import pytest
from scipy.integrate import quad

from drt_kernels import piecewise

from . import truth


def test_impedance_matches_quadrature(grid):
    omega, tau = grid
    re, im = np.empty((2, omega.size, tau.size))
    piecewise.piecewise_impedance(omega, tau, re, im)
    expected = np.array([[truth.piecewise_impedance(tau, m, w) for m in range(tau.size)] for w in omega])
    assert np.abs(re - expected.real).max() <= 1e-9 * np.abs(expected.real).max()
    assert np.abs(im - expected.imag).max() <= 1e-9 * np.abs(expected.imag).max()


@pytest.mark.parametrize("order", [0, 1])
def test_gram_matches_quadrature(order, grid):
    tau = grid[1]
    y = np.log(tau)
    out = np.empty((tau.size, tau.size))
    piecewise.piecewise_gram(order, tau, out)

    def value(m, at):
        if order == 0:
            return float(truth.hat(tau, m, at))
        k = np.clip(np.searchsorted(y, at) - 1, 0, tau.size - 2)
        rise = np.eye(tau.size)[m]
        return (rise[k + 1] - rise[k]) / (y[k + 1] - y[k])

    for m in range(tau.size):
        for n in range(tau.size):
            expected = sum(
                quad(lambda at, m=m, n=n: value(m, at) * value(n, at), a, b)[0] for a, b in itertools.pairwise(y)
            )
            assert out[m, n] == pytest.approx(expected, abs=1e-8 * out.max())
    assert np.linalg.eigvalsh(out)[0] >= -1e-14 * out.max()


def test_gram_of_order_two_is_the_weighted_second_difference(grid):
    tau = grid[1]
    y = np.log(tau)
    out = np.empty((tau.size, tau.size))
    piecewise.piecewise_gram(2, tau, out)
    gamma = np.random.default_rng(3).standard_normal(tau.size)
    slopes = np.diff(gamma) / np.diff(y)
    spacing = 0.5 * (y[2:] - y[:-2])
    assert gamma @ out @ gamma == pytest.approx(np.sum(np.diff(slopes) ** 2 / spacing), rel=1e-12)
    line = 3.0 - 0.2 * y
    assert line @ out @ line == pytest.approx(0.0, abs=1e-12 * out.max())


def test_gram_of_order_two_tends_to_the_integral():
    y = np.linspace(-3.0, 3.0, 601)
    out = np.empty((y.size, y.size))
    piecewise.piecewise_gram(2, np.exp(y), out)
    gamma = np.exp(-(y**2))
    expected = quad(lambda x: ((4 * x**2 - 2) * np.exp(-(x**2))) ** 2, -3, 3)[0]
    assert gamma @ out @ gamma == pytest.approx(expected, rel=1e-3)


def test_values_are_linear_between_nodes_and_zero_outside(grid):
    tau = grid[1]
    at = np.concatenate([tau, np.sqrt(tau[1:] * tau[:-1]), [0.5 * tau[0], 2.0 * tau[-1]]])
    out = np.empty((at.size, tau.size))
    piecewise.piecewise_values(at, tau, out)
    expected = np.stack([truth.hat(tau, m, np.log(at)) for m in range(tau.size)], axis=1)
    np.testing.assert_allclose(out, expected, atol=1e-12)
