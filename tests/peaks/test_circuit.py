from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.model.responses import RESPONSES
from drt_engine.peaks import Deconvolution, DeconvolutionOptions, deconvolve, equivalent_circuit
from drt_engine.peaks.circuit import SeriesTerms, admittance_circuit, diffusion_circuit
from drt_engine.simulate import ZARC

from .made import FREQUENCY, peaks_of, spectra

THREE = [ZARC(8, 2e-5, 0.9), ZARC(20, 1e-3, 0.85), ZARC(30, 0.1, 0.8)]


def custom_circuit(string, initial_guess):
    # Not while tests are collected: it takes a second of each process, most of it for what draws it.
    from impedance.models.circuits import CustomCircuit

    return CustomCircuit(string, initial_guess=initial_guess)


@pytest.fixture(scope="module")
def apart():
    some = spectra(THREE, 3)
    # By least squares, as impedance.py fits.
    options = DeconvolutionOptions(robust=False)
    return some, deconvolve(FREQUENCY, some.impedance, peaks_of(drt.invert(some, drt.Tikhonov())), options)


def test_a_custom_circuit_takes_it_and_fits_from_it(apart):
    some, found = apart
    circuit = equivalent_circuit(found, 1)
    assert circuit.string == "R0-L0-p(R1,CPE1)-p(R2,CPE2)-p(R3,CPE3)"
    model = custom_circuit(circuit.string, initial_guess=list(circuit.initial))
    assert tuple(model.get_param_names()[0]) == circuit.names
    with pytest.warns(UserWarning, match="initial parameters"):
        start = model.predict(FREQUENCY, use_initial=True)
    np.testing.assert_allclose(start, found.impedance_at(FREQUENCY)[1], rtol=1e-9)
    model.fit(FREQUENCY, some.impedance[1], weight_by_modulus=True)
    fitted = model.predict(FREQUENCY)
    misfit = np.sqrt(np.mean(np.abs(fitted - some.impedance[1]) ** 2 / np.abs(some.impedance[1]) ** 2))
    assert misfit <= found.misfit[1] * 1.001
    # It starts at a minimum of the same sum of squares, so it stays there.
    np.testing.assert_allclose(model.parameters_, circuit.initial, rtol=2e-3)


def test_a_fit_of_another_spectrum_starts_from_it(apart):
    some, found = apart
    circuit = equivalent_circuit(found, 0)
    model = custom_circuit(circuit.string, initial_guess=list(circuit.initial))
    model.fit(FREQUENCY, some.impedance[2], weight_by_modulus=True)
    values = dict(zip(circuit.names, model.parameters_, strict=True))
    for number, one in enumerate(THREE, start=1):
        assert values[f"R{number}"] == pytest.approx(one.r, rel=0.05)
        assert values[f"CPE{number}_1"] == pytest.approx(one.phi, abs=0.02)
        tau = (values[f"R{number}"] * values[f"CPE{number}_0"]) ** (1 / values[f"CPE{number}_1"])
        assert tau == pytest.approx(one.tau, rel=0.05)


def test_terms_that_are_zero_do_not_stop_a_fit_and_a_capacitance_is_an_element():
    z = sum(one.impedance(FREQUENCY) for one in THREE) + 1 / (2j * np.pi * FREQUENCY * 3.0)
    rng = np.random.default_rng(0)
    z = z * (1 + 0.002 * (rng.standard_normal(61) + 1j * rng.standard_normal(61)))
    some = drt.Spectra(FREQUENCY, z)
    peaks = peaks_of(drt.invert(some, drt.Tikhonov(capacitance=True)))
    found = deconvolve(FREQUENCY, some.impedance, peaks, DeconvolutionOptions(capacitance=True))
    circuit = equivalent_circuit(found, 0)
    assert circuit.string.startswith("R0-L0-C0-p(R1,CPE1)")
    assert all(value > 0 for value in circuit.initial)
    model = custom_circuit(circuit.string, initial_guess=list(circuit.initial))
    model.fit(FREQUENCY, some.impedance[0], weight_by_modulus=True)
    assert dict(zip(circuit.names, model.parameters_, strict=True))["C0"] == pytest.approx(3.0, rel=0.2)
    plain = DeconvolutionOptions(inductance=False)
    without = equivalent_circuit(deconvolve(FREQUENCY, spectra(THREE, 1).impedance, peaks.head(0), plain), 0)
    assert without.string.startswith("R0-p(R1,CPE1)")
    assert len(without.initial) == len(without.names) == len(without.units)


S = 2j * np.pi * FREQUENCY
ROOT = np.sqrt(S * 0.7)
TERMS = {
    "cpe": (SeriesTerms(tail=(0.3, 0.8, np.inf)), 1 / (0.3 * S**0.8)),
    "capacitor": (SeriesTerms(tail=(0.3, 1.0, np.inf)), 1 / (0.3 * S)),
    "warburg": (SeriesTerms(tail=(0.3, 0.5, np.inf)), 1 / (0.3 * S**0.5)),
    "warburg-open": (SeriesTerms(tail=(0.3, 0.5, 0.7)), 1 / (0.3 * S**0.5 * np.tanh(ROOT))),
    "lossy inductance": (SeriesTerms(inductance=(2e-5, 0.8)), 2e-5 * S**0.8),
}


def evaluated(circuit):
    """What impedance.py makes of a circuit; its names of parameters are the same."""
    model = custom_circuit(circuit.string, initial_guess=list(circuit.initial))
    assert tuple(model.get_param_names()[0]) == circuit.names
    with pytest.warns(UserWarning, match="initial parameters"):
        return model.predict(FREQUENCY, use_initial=True)


@pytest.mark.parametrize("name", TERMS)
def test_elements_in_series_are_those_of_impedance_py(apart, name):
    _, found = apart
    terms, added = TERMS[name]
    expected = found.impedance_at(FREQUENCY)[1] + added
    if terms.inductance is not None:
        expected = expected - S * found.inductance[1]
    np.testing.assert_allclose(evaluated(equivalent_circuit(found, 1, terms)), expected, rtol=1e-9)


def test_loops_are_inductances_with_and_without_losses():
    theta = np.array([[10, 1e-6, -0.2, np.log(1e-3), 0.8, 20, np.log(0.01), 0.9, -0.5, np.log(3), 1.0]])
    nothing = np.full(theta.shape, np.nan), np.full((1, 3, 2), np.nan)
    found = Deconvolution(
        FREQUENCY, "zarc", ("r_inf", "inductance"), theta, *nothing, np.ones(1), np.zeros(1), np.ones(1, dtype=bool)
    )
    circuit = equivalent_circuit(found, 0)
    assert circuit.string == "R0-L0-p(R1,CPE1)-p(R2,La2)-p(R3,L3)"
    assert circuit.initial[0] == pytest.approx(9.3)
    np.testing.assert_allclose(evaluated(circuit), found.impedance_at(FREQUENCY)[0], rtol=1e-9)
    theta[0, 0] = 0.5
    with pytest.raises(InputError, match=r"the loops of spectrum 0 exceed R_inf by 0\.2 ohm"):
        equivalent_circuit(replace(found, parameters=theta), 0)


@pytest.mark.parametrize("kernel", ["transmissive-planar", "blocking-planar"])
def test_diffusion_elements_are_those_of_impedance_py(kernel):
    peaks = pd.DataFrame({"r": [30.0, 50.0], "tau": [1e-3, 2.0]})
    expected = 10 + 1e-6 * S + sum(r * RESPONSES[kernel].value(S * tau) for r, tau in peaks.to_numpy())
    np.testing.assert_allclose(evaluated(diffusion_circuit(10.0, 1e-6, peaks, kernel)), expected, rtol=1e-9)


def test_branches_of_an_admittance_are_those_of_impedance_py():
    peaks = pd.DataFrame({"r": [30.0, -50.0, 400.0], "tau": [1e-3, 2.0, 0.1]})
    expected = 1 / (1 / 8 + 1e-7 * S - sum(1 / r / (1 + S * tau) for r, tau in peaks.to_numpy()))
    np.testing.assert_allclose(evaluated(admittance_circuit(1 / 8, 1e-7, peaks)), expected, rtol=1e-9)


def test_mistakes_are_told(apart):
    some, found = apart
    with pytest.raises(InputError, match="row must be a whole number from 0 to 2; got 3"):
        equivalent_circuit(found, 3)
    other = deconvolve(
        FREQUENCY, some.impedance, peaks_of(drt.invert(some, drt.Tikhonov())), DeconvolutionOptions("gaussian")
    )
    with pytest.raises(InputError, match="made of ZARC elements; got shape 'gaussian'"):
        equivalent_circuit(other, 0)
    with pytest.raises(InputError, match="row 0 is not in the result: it has no spectra"):
        drt.invert(drt.Spectra(FREQUENCY, some.impedance[:0]), drt.Tikhonov()).circuit(0)
    z = some.impedance.copy()
    z[0] = np.nan
    with pytest.raises(InputError, match="spectrum 0 has no solution"):
        equivalent_circuit(deconvolve(FREQUENCY, z, peaks_of(drt.invert(some, drt.Tikhonov()))), 0)
