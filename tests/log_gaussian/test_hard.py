"""Spectra that are fitted far below the noise of ordinary ones, and with the solution at the end of a narrow valley."""

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.methods.log_gaussian import LogGaussian
from drt_engine.simulate import RC, ZARC, Circuit, Gerischer, HavriliakNegami, PiecewiseConstant, Resistor
from drt_kernels import log_gaussian as kernel

FREQUENCY = np.geomspace(1e4, 1e-2, 61)
TEN = Resistor(10.0)
# What it is, Hz from and to, points a decade, and the residual that straight lines between relaxation times leave of
# the spectrum's size when γ is not among them.
EXACT = {
    "plateau": ((TEN, PiecewiseConstant([1e-2, 1.0], [50.0 / np.log(100.0)])), 1e4, 1e-3, 10, 1e-5),
    "box": ((TEN, PiecewiseConstant([1e-3, 3e-2], [12.0])), 1e5, 1e-2, 10, 1e-5),
    "two steps": ((TEN, PiecewiseConstant([1e-4, 1e-2, 1e-1], [6.0, 15.0])), 1e5, 1e-2, 10, 1e-5),
    "two nearly ideal": ((TEN, ZARC(30, 1e-4, 0.98), ZARC(30, 0.1, 0.98)), 1e6, 1e-2, 10, 1e-5),
    "sharp": ((Resistor(1.0), ZARC(50, 3e-3, 0.96)), 1e4, 1e-2, 10, 1e-5),
    "infinite at its end": ((TEN, Gerischer(40, 0.1)), 1e4, 1e-2, 10, 5e-5),
    "Davidson": ((TEN, HavriliakNegami(60, 0.03, 0.95, 0.5)), 1e5, 1e-2, 10, 1e-5),
    "broad": ((TEN, ZARC(50, 0.1, 0.8)), 1e4, 1e-3, 10, 1e-5),
}


def residual(frequency, z, result, k):
    """Root mean square of what the solution leaves, as a share of the size."""
    return float(np.sqrt(np.mean(np.abs(result.impedance_at(frequency)[k] - z) ** 2)) / np.abs(z).max())


@pytest.mark.parametrize("noise", ["auto", "constant", "proportional"])
@pytest.mark.parametrize("name", EXACT)
def test_data_without_noise(name, noise):
    elements, highest, lowest, per_decade, most = EXACT[name]
    frequency = np.geomspace(highest, lowest, round(np.log10(highest / lowest) * per_decade) + 1)
    z = Circuit(elements).impedance(frequency)
    result = drt.invert(drt.Spectra(frequency, z[None]), LogGaussian(noise=noise))
    assert result.status[0] == drt.Status.OK
    assert result.optimality[0] <= 1e-8
    assert residual(frequency, z, result, 0) < most


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("r_inf", [0.0, 10.0])
def test_one_ideal_rc_element_anywhere(r_inf, noise):
    tau = np.geomspace(0.5 / np.pi / 1e4 / 30, 0.5 / np.pi / 1e-2 * 30, 41)
    exact = np.array([Circuit((Resistor(r_inf), RC(50, one))).impedance(FREQUENCY) for one in tau])
    rng = np.random.default_rng(7)
    z = exact + 50 * noise * (rng.standard_normal(exact.shape) + 1j * rng.standard_normal(exact.shape))
    # Whether data without a sign are impedances is not asked here.
    method = LogGaussian()
    solution = method.solve(FREQUENCY, z, method.expansion(FREQUENCY))
    assert solution.optimality.max() <= 1e-8
    left = np.sqrt(np.mean(np.abs(solution.fit - z) ** 2, axis=1))
    inside = (tau > 0.5 / np.pi / 1e4 * 10) & (tau < 0.5 / np.pi / 1e-2 / 10)
    # What the grid of relaxation times leaves of a peak without a width. At the edge of the window there are several
    # minima, and which one is found is up to rounding.
    share = np.where(inside, 0.007, 0.02)
    most = share * np.abs(z).max(axis=1) + 1.5 * np.sqrt(2) * 50 * noise
    assert (left <= most)[tau < 0.5 / np.pi / 1e-2].all()
    r_pol = solution.parameters.coefficients @ _areas(method.expansion(FREQUENCY).tau)
    np.testing.assert_allclose(r_pol[inside], 50, rtol=0.01 + 5 * noise)


def _areas(tau):
    half = 0.5 * np.diff(np.log(tau))
    return np.append(half, 0) + np.append(0, half)


def test_noise_in_proportion_on_steps():
    elements, highest, lowest, per_decade, _ = EXACT["two steps"]
    frequency = np.geomspace(highest, lowest, round(np.log10(highest / lowest) * per_decade) + 1)
    exact = Circuit(elements).impedance(frequency)
    rng = np.random.default_rng(5)
    noise = 0.002 * 75 * (rng.standard_normal((20, exact.size)) + 1j * rng.standard_normal((20, exact.size)))
    result = drt.invert(drt.Spectra(frequency, exact + noise), LogGaussian(noise="proportional"))
    assert result.solved.all()
    assert result.optimality.max() <= 1e-8


@pytest.mark.real
@pytest.mark.parametrize("method", [LogGaussian(), LogGaussian(noise="proportional"), LogGaussian(capacitance=True)])
def test_a_blocking_electrode(method, real_data):
    recording = drt.read_file(real_data / "solid_state" / "PEIS_LPSCl_IonBlocking_-25C.mpr")
    for sweep in recording.finished:
        result = drt.invert(drt.Spectra(sweep.frequency, sweep.impedance[None]), method)
        assert result.solved.all()
        assert result.optimality[0] <= 1e-8
        assert residual(sweep.frequency, sweep.impedance, result, 0) < 5e-3


def test_the_certificate_holds_in_more_digits():
    # The gradient at a variance of 1e-10 once more, in plain numpy with 64 bits of mantissa.
    elements, highest, lowest, per_decade, _ = EXACT["plateau"]
    frequency = np.geomspace(highest, lowest, round(np.log10(highest / lowest) * per_decade) + 1)
    method = LogGaussian(noise="constant")
    prepared = method.prepared(frequency, method.expansion(frequency))
    grid, z = prepared.grid, Circuit(elements).impedance(frequency)[None]
    b, _ = prepared.problem.data(z)
    out, hyper, optimality = np.empty((1, grid.size)), np.empty((1, 3)), np.empty(1)
    parts, given = np.ones((1, 2, z.size)), np.array([[np.nan, 0.0, np.nan]])
    kernel.maximise(b, parts, prepared.beginning(b), given, prepared.work(), out, hyper, optimality)
    assert hyper[0, 0] < 1.01e-10
    gradient, scale = _derivatives(out[0], b[0], hyper[0], grid)
    logs = np.abs(gradient[: grid.logs] / scale[: grid.logs])
    series_elements = np.abs(
        np.minimum(out[0, grid.logs :] * scale[grid.logs :], gradient[grid.logs :] / scale[grid.logs :])
    )
    assert max(logs.max(), series_elements.max()) <= 1e-8


def _derivatives(solution, b, hyper, grid):
    """Gradient, and the root of the diagonal of the Gauss-Newton matrix."""
    variance, _, lam = (np.longdouble(one) for one in hyper)
    y, a = solution.astype(np.longdouble), grid.columns[: grid.size].astype(np.longdouble)
    slope, lean, bend, knee = (np.asarray(one, np.longdouble) for one in (grid.slope, grid.lean, grid.bend, grid.knee))
    u, x = y[: grid.logs], np.concatenate([np.exp(y[: grid.logs]), y[grid.logs :]])
    z = x @ a - b
    points = z.size // 2
    distance = np.tile((z[:points] ** 2 + z[points:] ** 2) / variance, 2)
    weight = (1 + 2 * grid.tail) / (1 + grid.tail * distance) / variance
    outer = np.concatenate([x[: grid.logs], np.ones(grid.size - grid.logs)])
    gradient, square = outer * (a @ (weight * z)), outer**2 * (a**2 @ weight)
    force = lam * slope * (np.diff(u) - lean)
    gradient[: grid.logs] += np.append(0, force) - np.append(force, 0)
    square[: grid.logs] += lam * (np.append(0, slope) + np.append(slope, 0))
    for i in range(grid.logs - 2):
        ratio = np.sqrt(lam) * (bend[i] @ u[i : i + 3]) / knee[i]
        stiff = grid.rate * lam / knee[i] / np.sqrt(1 + ratio**2)
        gradient[i : i + 3] += stiff * (bend[i] @ u[i : i + 3]) * bend[i]
        square[i : i + 3] += stiff * bend[i] ** 2
    return gradient, np.sqrt(square)


def test_neighbours_change_no_bit_after_a_hard_spectrum():
    easy = Circuit((TEN, ZARC(50, 0.1, 0.8))).impedance(FREQUENCY)
    easy = easy + 0.25 * np.random.default_rng(1).standard_normal(easy.size)
    hard = Circuit((TEN, RC(50, 3e-5))).impedance(FREQUENCY)
    method = LogGaussian()
    expansion = method.expansion(FREQUENCY)
    alone = method.solve(FREQUENCY, easy[None], expansion)
    beside = method.solve(FREQUENCY, np.array([hard, easy, hard]), expansion)
    np.testing.assert_array_equal(beside.parameters.coefficients[1], alone.parameters.coefficients[0])
    np.testing.assert_array_equal(beside.parameters.coefficients[0], beside.parameters.coefficients[2])
