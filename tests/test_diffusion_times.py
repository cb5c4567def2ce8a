"""Distributions of diffusion times: the integrals of each kernel, and round trips from made distributions."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.model.basis import BASES, Expansion, shape_factor
from drt_engine.model.responses import RESPONSES, radial_impedance

FREQUENCY = np.logspace(5, -3, 65)
OMEGA = 2 * np.pi * FREQUENCY
Y = np.linspace(np.log(1e-7), np.log(1e6), 3001)
DIFFUSION = [name for name in RESPONSES if name.startswith(("transmissive", "blocking"))]
MODES = {"unimodal": [(50, 1.0, 0.8)], "bimodal": [(30, 0.03, 0.6), (50, 10.0, 0.6)]}


def made(modes):
    """Sum of normal distributions of ln τ: resistance, centre and width."""
    return sum(r / (s * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((Y - np.log(t)) / s) ** 2) for r, t, s in modes)


def measured(kernel, modes, seeds=5, noise=0.0025):
    z = 10 + RESPONSES[kernel].value(1j * np.outer(OMEGA, np.exp(Y))) @ (made(modes) * (Y[1] - Y[0]))
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(2, seeds, z.size))
    return drt.Spectra(FREQUENCY, z + noise * np.abs(z) * (parts[0] + 1j * parts[1]))


def errors(result, modes):
    tau = np.geomspace(1 / OMEGA[0], 1 / OMEGA[-1], 801)
    truth = np.interp(np.log(tau), Y, made(modes))
    return np.trapezoid(np.abs(result.gamma_at(tau) - truth), np.log(tau), axis=1) / np.trapezoid(truth, np.log(tau))


def by_quadrature(expansion, m, omega, reach):
    centre = np.log(expansion.tau[m])
    low, high = centre - reach, centre + reach
    if np.isnan(expansion.mu):
        low, high = np.log(expansion.tau[max(m - 1, 0)]), np.log(expansion.tau[min(m + 1, expansion.tau.size - 1)])
    ends = np.unique(
        np.clip([low, centre - 5, centre - 1, centre, centre + 1, centre + 5, -np.log(omega), high], low, high)
    )

    def at(y, part):
        value = expansion.response.value(np.array([1j * omega * np.exp(y)]))[0]
        return part(value) * expansion.values([np.exp(y)])[0, m]

    settings = {"epsrel": 1e-11, "limit": 400}
    whole = [sum(quad(at, *pair, (part,), **settings)[0] for pair in pairwise(ends)) for part in (np.real, np.imag)]
    return complex(*whole)


@pytest.mark.parametrize("kernel", DIFFUSION)
@pytest.mark.parametrize(("basis", "reach"), [("gaussian", 40), ("c6-matern", 60), ("piecewise-linear", 0)])
def test_impedances_of_basis_functions_are_their_integrals(kernel, basis, reach):
    tau = np.array([1e-3, 4e-3, 0.1, 0.15, 3.0])
    expansion = Expansion(tau, basis, shape_factor(BASES[basis], tau, 1.0), kernel)
    omega = np.array([1e4, 3.0, 0.05])
    found = expansion.impedance(omega / (2 * np.pi))
    for m in (0, 2, 4):
        exact = [by_quadrature(expansion, m, w, reach) for w in omega]
        np.testing.assert_allclose(found[:, m], exact, rtol=1e-9)


@pytest.mark.parametrize("basis", [name for name, one in BASES.items() if one.radial is not None])
def test_the_quadrature_of_all_kernels_gives_what_is_compiled_for_relaxation(basis):
    tau = np.logspace(-4, 2, 9)
    expansion = Expansion(tau, basis, shape_factor(BASES[basis], tau, 0.5))
    found = radial_impedance(expansion.response, int(BASES[basis].radial), expansion.mu, OMEGA, tau)
    np.testing.assert_allclose(found, expansion.impedance(FREQUENCY), rtol=0, atol=1e-12 * np.abs(found).max())


def test_kernels_have_their_limits():
    low, high = np.array([1e-7j]), np.array([1e9j])
    for name, (slope, resistance) in {"blocking-planar": (1, 1 / 3), "blocking-spherical": (3, 1 / 5)}.items():
        value = RESPONSES[name].value(low)[0]
        assert value.imag == pytest.approx(-slope / 1e-7, rel=1e-9)
        assert value.real == pytest.approx(resistance, rel=1e-4)
    for name in ("transmissive-planar", "transmissive-spherical"):
        assert RESPONSES[name].value(low)[0] == pytest.approx(1, abs=1e-3)
    for name in DIFFUSION:
        assert RESPONSES[name].value(high)[0] == pytest.approx(1 / np.sqrt(high[0]), rel=1e-4)
    # The series for small s joins the function.
    below, above = RESPONSES["blocking-spherical"].value(np.array([0.4999999j, 0.5000001j]))
    assert above == pytest.approx(below, rel=1e-6)


@pytest.mark.parametrize("kernel", ["transmissive-planar", "transmissive-spherical"])
@pytest.mark.parametrize("modes", MODES.values(), ids=MODES)
def test_diffusion_times_come_back(kernel, modes):
    result = drt.invert(measured(kernel, modes, seeds=12), drt.LogGaussian(kernel=kernel), level=0.95)
    wrong = errors(result, modes) > 0.15
    assert np.median(errors(result, modes)) < 0.15
    np.testing.assert_allclose(result.r_pol, sum(r for r, _, _ in modes), rtol=0.03)
    told = (result.status & drt.Status.NOT_UNIQUE) != 0
    assert told[wrong].all()
    if kernel == "transmissive-planar":
        assert (result.status == drt.Status.OK).all()
    # The bands of γ hold the truth where it is more than a hundredth of its largest value.
    truth = np.interp(np.log(result.tau), Y, made(modes))
    there = truth > 0.01 * truth.max()
    low, high = result.intervals.gamma_low[:, there], result.intervals.gamma_high[:, there]
    assert ((low <= truth[there]) & (high >= truth[there])).mean() > 0.93


@pytest.mark.parametrize("modes", MODES.values(), ids=MODES)
def test_diffusion_times_come_back_by_tikhonov(modes):
    spectra = measured("transmissive-planar", modes)
    result = drt.invert(spectra, drt.Tikhonov(kernel="transmissive-planar"))
    assert np.median(errors(result, modes)) < 0.15
    np.testing.assert_allclose(result.r_pol, sum(r for r, _, _ in modes), rtol=0.02)
    assert (result.status == drt.Status.OK).all()


def test_other_distributions_that_fit_as_well_are_told():
    # Two blocking elements, and sizes that are all but equal.
    for kernel, modes in (("blocking-planar", MODES["bimodal"]), ("transmissive-spherical", [(50, 1.0, 0.15)])):
        for method in (drt.LogGaussian(kernel=kernel), drt.Tikhonov(kernel=kernel, weighting="modulus")):
            wrong = drt.invert(measured(kernel, modes, seeds=3), method)
            assert (errors(wrong, modes) > 0.15).all()
            assert (wrong.status & drt.Status.NOT_UNIQUE).all()
            assert not (wrong.status & drt.Status.MISFIT).any()


def test_blocking_elements_come_back():
    spectra = measured("blocking-planar", MODES["unimodal"])
    for method in (
        drt.LogGaussian(kernel="blocking-planar"),
        drt.Tikhonov(kernel="blocking-planar", weighting="modulus"),
    ):
        assert np.median(errors(drt.invert(spectra, method), MODES["unimodal"])) < 0.15


def test_files_jobs_figures_and_the_command_line(tmp_path):
    spectra = measured("transmissive-planar", MODES["bimodal"], seeds=2)
    method = drt.LogGaussian(kernel="transmissive-planar")
    expected = drt.invert(spectra, method, level=0.9)
    assert (expected.intervals.gamma_low < expected.intervals.gamma_high).all()
    peaks = expected.peaks()
    np.testing.assert_allclose(peaks["r"].groupby(peaks["spectrum"]).sum(), expected.r_pol, rtol=1e-9)
    drt.write_spectra(tmp_path / "a.h5", spectra)
    ran = CliRunner().invoke(
        app, ["invert", str(tmp_path / "a.h5"), "--kernel", "transmissive-planar", "--level", "0.9"]
    )
    assert ran.exit_code == 0, ran.output
    stored = drt.read_inversion(tmp_path / "a.drt.h5")
    np.testing.assert_array_equal(stored.gamma, expected.gamma)
    np.testing.assert_array_equal(stored.intervals.gamma_low, expected.intervals.gamma_low)
    np.testing.assert_array_equal(stored.impedance_at(FREQUENCY), expected.impedance_at(FREQUENCY))
    assert drt.plotting.gamma(stored).axes[0].get_xlabel() == r"diffusion time $\tau$ / s"
    with pytest.raises(InputError, match="elements with relaxation times"):
        stored.deconvolve()
    circuit = stored.circuit(0)
    assert circuit.string == ("R0-L0-Ws1-Ws2" if stored.inductance[0] > 0 else "R0-Ws1-Ws2")
    values = dict(zip(circuit.names, circuit.initial, strict=True))
    rows = stored.peaks()[stored.peaks()["spectrum"] == 0]
    np.testing.assert_allclose([values["Ws1_0"], values["Ws2_0"]], [30, 50], rtol=0.05)
    np.testing.assert_array_equal([values["Ws1_1"], values["Ws2_1"]], rows["tau"])


def test_series_of_diffusion_times_are_inverted_together():
    spectra = measured("transmissive-planar", MODES["unimodal"]).with_states(voltage=np.linspace(3, 4, 5))
    result = drt.invert(spectra, drt.LogGaussian(kernel="transmissive-planar", along="voltage"))
    assert (result.coupling > 0).all()
    assert np.median(errors(result, MODES["unimodal"])) < 0.1


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"kernel": "warburg"}, UnknownNameError, "transmissive-planar"),
        ({"kernel": "blocking-planar", "tail": "cpe"}, InputError, "Leave out one"),
    ],
)
def test_mistakes_are_told(settings, error, text):
    with pytest.raises(error, match=text):
        drt.LogGaussian(**settings)


def test_a_basis_that_falls_too_slowly_is_refused():
    with pytest.raises(InputError, match="falls too slowly"):
        drt.invert(
            measured("blocking-planar", MODES["unimodal"], 1),
            drt.Tikhonov(kernel="blocking-planar", basis="inverse-quadratic"),
        )
