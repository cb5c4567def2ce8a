import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from drt_kernels import radial
from drt_kernels.radial import Radial

from . import truth

# Each kind of function runs lines of its own.
pytestmark = pytest.mark.recorded

MU = {"narrow": 12.0, "usual": 2.5, "wide": 0.3}
CASES = [(kind, order) for kind in Radial for order in range(3) if order < 2 or kind.name not in truth.NO_ORDER_2]


@pytest.mark.parametrize("kind", Radial, ids=lambda kind: kind.name)
@pytest.mark.parametrize("mu", MU.values(), ids=MU)
def test_impedance_matches_quadrature(kind, mu, grid):
    omega, tau = grid
    if mu != MU["usual"]:
        omega, tau = omega[:2], tau[::2]
    re, im = np.empty((2, omega.size, tau.size))
    radial.radial_impedance(int(kind), mu, omega, tau, re, im)
    expected = np.array([[truth.radial_impedance(kind.name, mu, w, t) for t in tau] for w in omega])
    assert np.abs(re - expected.real).max() <= 1e-9 * np.abs(expected.real).max()
    assert np.abs(im - expected.imag).max() <= 1e-9 * np.abs(expected.imag).max()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "order"), CASES, ids=lambda case: getattr(case, "name", case))
def test_gram_matches_quadrature(kind, order):
    tau = np.array([1e-6, 1.3e-6, 4e-6, 0.1])
    out = np.empty((tau.size, tau.size))
    radial.radial_gram(int(kind), order, MU["usual"], tau, out)
    # All functions have the same width, so that the diagonal is one number.
    expected = np.full((tau.size, tau.size), truth.radial_gram(kind.name, order, MU["usual"], 0.0))
    for i, j in zip(*np.triu_indices(tau.size, 1), strict=True):
        apart = abs(math.log(tau[i] / tau[j]))
        expected[i, j] = expected[j, i] = truth.radial_gram(kind.name, order, MU["usual"], apart)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-8 * out.max())
    assert np.array_equal(out, out.T)


@pytest.mark.parametrize(("kind", "order"), CASES, ids=lambda case: getattr(case, "name", case))
def test_gram_is_positive_semidefinite(kind, order):
    tau = np.concatenate([np.logspace(-6, -3, 10), [2e-3, 0.5]])
    out = np.empty((tau.size, tau.size))
    radial.radial_gram(int(kind), order, MU["wide"], tau, out)
    values = np.linalg.eigvalsh(out)
    assert values[0] >= -1e-14 * tau.size * values[-1]


@pytest.mark.parametrize("kind", Radial, ids=lambda kind: kind.name)
def test_tail_is_the_integral_of_the_function(kind):
    end = truth.SUPPORT.get(kind.name, np.inf)
    for x in (0.0, 0.4, 3.0, 9.5):
        expected = quad(truth.RADIAL[kind.name], x, end, epsabs=1e-14, epsrel=1e-12)[0]
        assert radial.tail(int(kind), x) == pytest.approx(expected, rel=1e-9, abs=1e-15)
    if np.isfinite(end):
        assert radial.tail(int(kind), end + 1.0) == 0.0


@pytest.mark.parametrize("kind", Radial, ids=lambda kind: kind.name)
def test_values_are_the_function(kind):
    tau = np.array([1e-5, 1e-2, 3.0])
    at = np.array([1e-5, 2e-5, 1e-3, 40.0])
    out = np.empty((at.size, tau.size))
    radial.radial_values(int(kind), 0.9, at, tau, out)
    x = 0.9 * np.log(at[:, None] / tau)
    np.testing.assert_allclose(out, truth.phi(kind.name, x), rtol=1e-12, atol=1e-300)


def test_truth_has_the_right_derivatives():
    # The reference itself: a gaussian's derivatives are known.
    x = np.array([-1.2, 0.0, 0.7])
    np.testing.assert_allclose(truth.derivative("GAUSSIAN", 1, x), -2 * x * np.exp(-(x**2)), atol=1e-12)
    np.testing.assert_allclose(truth.derivative("GAUSSIAN", 2, x), (4 * x**2 - 2) * np.exp(-(x**2)), atol=1e-11)


@pytest.mark.parametrize("kind", Radial, ids=lambda kind: kind.name)
def test_full_width_at_half_maximum(kind):
    from drt_engine.model.basis import BASES

    basis = next(basis for basis in BASES.values() if basis.radial == kind)
    half = brentq(lambda x: truth.phi(kind.name, x) - 0.5, 0.1, 9.0, xtol=1e-15)
    assert basis.fwhm == pytest.approx(2.0 * half, rel=1e-12)
    assert radial.SUPPORT[kind] == truth.SUPPORT.get(kind.name, np.inf)
