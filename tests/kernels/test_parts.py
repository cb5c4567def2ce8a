import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import least_squares

from drt_engine.simulate.closed_forms import zarc_impedance
from drt_kernels import parts

OMEGA = 2 * np.pi * np.logspace(5, -2, 36)
X = np.log(OMEGA)
SERIES = np.array([np.r_[np.ones(36), np.zeros(36)], np.r_[np.zeros(36), OMEGA]])
CASES = {
    "zarc": (parts.ZARC, [20.0, np.log(3e-3), 0.83]),
    "ideal": (parts.ZARC, [5.0, np.log(0.2), 0.999]),
    "havriliak-negami": (parts.HAVRILIAK_NEGAMI, [20.0, np.log(3e-3), 0.83, 0.6]),
    "narrow gaussian": (parts.GAUSSIAN, [20.0, np.log(3e-3), np.log(0.06)]),
    "gaussian": (parts.GAUSSIAN, [20.0, np.log(3e-3), np.log(0.9)]),
    "broad gaussian": (parts.GAUSSIAN, [20.0, np.log(3e-3), np.log(2.9)]),
}


def stacked(z):
    return np.concatenate([z.real, z.imag])


def model(theta, kind, data=None, weights=None):
    """Residual and derivatives."""
    jac, res = np.empty((len(theta), 72)), np.empty(72)
    data = np.zeros(72) if data is None else data
    weights = np.ones(72) if weights is None else weights
    cost = parts.evaluate(np.array(theta), (kind, SERIES), (X, data, weights), jac, res)
    assert cost == pytest.approx(res @ res, rel=1e-12)
    return res, jac


def truth(kind, theta):
    r, y = theta[:2]
    if kind == parts.ZARC:
        return zarc_impedance(OMEGA, r, np.exp(y), theta[2])
    if kind == parts.HAVRILIAK_NEGAMI:
        return r / (1 + (1j * OMEGA * np.exp(y)) ** theta[2]) ** theta[3]
    s = np.exp(theta[2])

    def entry(omega, part):
        def integrand(u):
            kernel = 1 / (1 + 1j * omega * np.exp(y + u))
            return np.exp(-0.5 * (u / s) ** 2) / (s * np.sqrt(2 * np.pi)) * getattr(kernel, part)

        return quad(integrand, -8 * s, 8 * s, epsabs=1e-12, limit=300)[0]

    return r * np.array([entry(omega, "real") + 1j * entry(omega, "imag") for omega in OMEGA])


@pytest.mark.parametrize("case", CASES)
def test_impedance_is_the_formula_or_the_integral(case):
    kind, theta = CASES[case]
    res, _ = model([3.0, 1e-6, *theta], kind)
    expected = 3.0 + 1e-6j * OMEGA + truth(kind, theta)
    np.testing.assert_allclose(res, stacked(expected), atol=3e-8 * theta[0])


@pytest.mark.parametrize("case", CASES)
def test_derivatives_are_those_by_finite_differences(case):
    kind, theta = CASES[case]
    theta = [3.0, 1e-6, *theta]
    weights = np.linspace(0.5, 2.0, 72)
    _, jac = model(theta, kind, weights=weights)
    for p, value in enumerate(theta):
        step = 1e-5 * max(abs(value), 1e-6)
        if case == "ideal" and p == 4:
            step = 1e-5
        ends = [
            model(np.where(np.arange(len(theta)) == p, value + h, theta), kind, weights=weights)[0]
            for h in (-step, step)
        ]
        slope = (ends[1] - ends[0]) / (2 * step)
        np.testing.assert_allclose(jac[p], slope, atol=2e-7 * np.abs(slope).max())


def bounds(count):
    low = np.array([0.0, 0.0] + count * [0.0, np.log(1e-7), 0.3])
    return low, np.array([np.inf, np.inf] + count * [np.inf, np.log(1e3), 0.999])


def work(size):
    square, line = np.zeros((size, size)), np.zeros(size)
    return (
        np.zeros((size, 72)), np.zeros(72), square, line, square.copy(), line.copy(), line.copy(),
        np.zeros(size, np.int64),
    )  # fmt: skip


def noisy(parameters, seed, noise=0.003):
    z = 5 + 1e-6j * OMEGA + sum(zarc_impedance(OMEGA, *one) for one in parameters)
    rng = np.random.default_rng(seed)
    z = z * (1 + noise * (rng.standard_normal(36) + 1j * rng.standard_normal(36)))
    return stacked(z), np.tile(1 / np.abs(z), 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("phi", [0.8, 0.998], ids=["inside", "near a bound"])
def test_the_fit_is_that_of_scipy(seed, phi):
    data, weights = noisy([(20, 1e-4, 0.85), (30, 3e-2, phi)], seed)
    start = np.array([1.0, 0.0, 10.0, np.log(3e-5), 0.7, 10.0, np.log(1e-1), 0.7])
    low, high = bounds(2)
    theta = start.copy()
    cost, converged = parts.fit(theta, (parts.ZARC, SERIES), (X, data, weights), (low, high), work(8), 100)
    slow = least_squares(
        lambda t: model(t, parts.ZARC, data, weights)[0],
        np.clip(start, low + 1e-9, high - 1e-9),
        bounds=(low, high),
        x_scale=[1, 1e-6, 1, 1, 0.1, 1, 1, 0.1],
        xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=2000,
    )  # fmt: skip
    assert converged
    assert cost <= 2 * slow.cost * (1 + 1e-6)
    parts._order(theta, 2, 3)
    parts._order(slow.x, 2, 3)
    np.testing.assert_allclose(theta, slow.x, rtol=1e-3)


def test_exact_data_are_fitted_exactly():
    data, weights = noisy([(20, 1e-4, 0.85), (30, 3e-2, 0.75)], 0, noise=0.0)
    theta = np.array([1.0, 0.0, 10.0, np.log(1e-3), 0.7, 10.0, np.log(1e-1), 0.7])
    _, converged = parts.fit(theta, (parts.ZARC, SERIES), (X, data, weights), bounds(2), work(8), 200)
    assert converged
    np.testing.assert_allclose(theta, [5, 1e-6, 20, np.log(1e-4), 0.85, 30, np.log(3e-2), 0.75], rtol=1e-7)


def test_a_fit_that_is_cut_off_says_so():
    data, weights = noisy([(20, 1e-4, 0.85), (30, 3e-2, 0.75)], 0)
    theta = np.array([1.0, 0.0, 1.0, np.log(1e-6), 0.5, 1.0, np.log(1e1), 0.5])
    assert not parts.fit(theta, (parts.ZARC, SERIES), (X, data, weights), bounds(2), work(8), 2)[1]


def test_correlation_of_residuals_is_that_of_neighbours_within_each_part():
    rng = np.random.default_rng(1)
    white = rng.standard_normal(4000)
    assert parts.correlation(white) < 0.05
    smooth = np.convolve(rng.standard_normal(4001), [1, 1], mode="valid")
    assert parts.correlation(smooth) == pytest.approx(0.5, abs=0.05)
    assert parts.correlation(np.array([1.0, -1.0, 1.0, -1.0])) == 0.0
