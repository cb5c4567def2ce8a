import re

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

import drt_engine as drt
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.peaks import ELEMENT_UNITS, DeconvolutionOptions, deconvolve
from drt_engine.simulate import (
    ZARC,
    CampaignDesign,
    ConstantNoise,
    HavriliakNegami,
    ProportionalNoise,
    campaign,
)
from drt_engine.simulate.closed_forms import havriliak_negami_gamma, zarc_gamma, zarc_impedance
from drt_engine.threads import limited_threads

from .made import FREQUENCY, peaks_of, spectra

TWO = [ZARC(20, 1e-3, 0.85), ZARC(30, 0.02, 0.8)]
NO_PEAKS = pd.DataFrame({"spectrum": [], "tau": [], "r": [], "width": []})


def taken_apart(some, options=None, **settings):
    peaks = peaks_of(drt.invert(some, drt.Tikhonov())) if settings.pop("start", True) else NO_PEAKS
    return deconvolve(some.frequency, some.impedance, peaks, options, **settings)


def table(parts, name, count):
    return parts[name].to_numpy().reshape(-1, count)


@pytest.mark.parametrize("noise", [ProportionalNoise(0.002), ConstantNoise(0.05)], ids=["proportional", "constant"])
@pytest.mark.parametrize("known", [False, True], ids=["estimated", "known"])
def test_standard_errors_are_the_spread_over_noise(noise, known):
    some = spectra(TWO, 500, noise, seed=7)
    exact = spectra(TWO, 1, ConstantNoise(0.0)).impedance
    size = np.abs(exact) * 0.002 if isinstance(noise, ProportionalNoise) else np.full(exact.shape, 0.05)
    sigma = np.repeat(size, 500, axis=0) if known else None
    found = taken_apart(some, sigma=sigma)
    assert np.mean(found.count == 2) > 0.97
    parts = found.elements[np.isin(found.elements["spectrum"], np.flatnonzero(found.count == 2))]
    for name in ("r", "tau", "c", "phi"):
        values, errors = table(parts, name, 2), table(parts, f"{name}_error", 2)
        spread = values.std(axis=0)
        assert np.all(np.abs(spread / np.median(errors, axis=0) - 1) < 0.2), name
        truth = [getattr(one, name) if name != "c" else one.tau / one.r for one in TWO]
        assert np.all(np.abs(values.mean(axis=0) - truth) < 0.15 * spread), name


@pytest.mark.slow
def test_errors_from_the_impedance_of_the_model_are_honest_too():
    some = spectra(TWO, 250, seed=8)
    result = drt.invert(some, drt.Tikhonov())
    model = result.impedance_at(FREQUENCY)
    sigma = result.residual[:, None] * np.abs(model) / np.sqrt(2)
    found = deconvolve(FREQUENCY, model, peaks_of(result), sigma=sigma)
    assert np.mean(found.count == 2) > 0.95
    parts = found.elements[np.isin(found.elements["spectrum"], np.flatnonzero(found.count == 2))]
    for name in ("r", "tau"):
        ratio = table(parts, name, 2).std(axis=0) / np.median(table(parts, f"{name}_error", 2), axis=0)
        assert np.all(np.abs(ratio - 1) < 0.3), name


def test_is_what_curve_fit_finds_for_a_known_deviation():
    some = spectra(TWO, 1, seed=9)
    sigma = 0.002 * np.abs(some.impedance)
    found = taken_apart(some, DeconvolutionOptions(elements=2), sigma=sigma)
    omega = 2 * np.pi * FREQUENCY

    def model(_, r_inf, log_l, r1, y1, phi1, r2, y2, phi2):
        z = r_inf + 1j * omega * np.exp(log_l)
        z = z + zarc_impedance(omega, r1, np.exp(y1), phi1) + zarc_impedance(omega, r2, np.exp(y2), phi2)
        return np.concatenate([z.real, z.imag])

    start = [10, np.log(2e-7), 20, np.log(1e-3), 0.85, 30, np.log(0.02), 0.8]
    data = np.concatenate([some.impedance[0].real, some.impedance[0].imag])
    deviation = np.tile(sigma[0], 2)
    best, covariance = curve_fit(model, None, data, start, deviation, absolute_sigma=True, xtol=1e-12)
    errors = np.sqrt(np.diag(covariance))
    # The errors grow with a sum of squares above its expectation and never shrink.
    chi = np.sum(((model(None, *best) - data) / deviation) ** 2) / (data.size - 8)
    assert found.r_inf[0] == pytest.approx(best[0], abs=0.01 * errors[0])
    assert found.inductance[0] == pytest.approx(np.exp(best[1]), rel=0.01 * errors[1])
    assert np.all(np.abs(found.parameters[0, 2:] - best[2:]) < 0.01 * errors[2:])
    np.testing.assert_allclose(found.errors[0, 2:], errors[2:] * max(1.0, np.sqrt(chi)), rtol=2e-3)
    r, tau = found.elements["r"].to_numpy(), found.elements["tau"].to_numpy()
    gradient = np.array([-tau / r**2, tau / r])
    for k, first in enumerate((2, 5)):
        own = covariance[first : first + 2, first : first + 2] * max(1.0, chi)
        assert found.elements["c_error"][k] == pytest.approx(np.sqrt(gradient[:, k] @ own @ gradient[:, k]), rel=2e-3)


@pytest.mark.parametrize("phi", [1.0, 0.85])
def test_a_loop_is_what_curve_fit_finds_for_a_known_deviation(phi):
    omega = 2 * np.pi * FREQUENCY

    def model(theta):
        z = theta[0] + 1j * omega * theta[1]
        return z + sum(zarc_impedance(omega, r, np.exp(y), n) for r, y, n in np.reshape(theta[2:], (-1, 3)))

    truth = np.array([10, 2e-7, 20, np.log(1e-3), 0.85, -6, np.log(0.02), phi, 5, np.log(0.3), 0.9])
    sigma, rng = 0.002 * np.abs(model(truth)), np.random.default_rng(6)
    z = model(truth) + sigma * (rng.normal(size=sigma.size) + 1j * rng.normal(size=sigma.size))
    peaks = pd.DataFrame({"spectrum": 0, "tau": [1.4e-3, 0.014, 0.4], "r": [15.0, -4.0, 3.0], "width": [1.3, 0.3, 1.0]})
    options = DeconvolutionOptions(elements=2, robust=False)
    found = deconvolve(FREQUENCY, z[None], peaks, options, sigma=sigma[None])
    free = np.setdiff1d(np.arange(11), [7]) if phi == 1.0 else np.arange(11)

    def at(_, *values):
        theta = truth.copy()
        theta[free] = values
        return np.concatenate([model(theta).real, model(theta).imag])

    data, deviation, scale = np.concatenate([z.real, z.imag]), np.tile(sigma, 2), np.abs(truth[free])
    best, covariance = curve_fit(
        lambda _, *x: at(_, *(x * scale)), None, data, truth[free] / scale, deviation, absolute_sigma=True, xtol=1e-12
    )
    errors = np.sqrt(np.diag(covariance)) * scale
    chi = np.sum(((at(None, *(best * scale)) - data) / deviation) ** 2) / (data.size - free.size)
    assert np.all(np.abs(found.parameters[0, free] - best * scale) < 0.01 * errors)
    np.testing.assert_allclose(found.errors[0, free], errors * max(1.0, np.sqrt(chi)), rtol=2e-3)
    parts = found.elements
    assert list(parts["r"] < 0) == [False, True, False]
    assert list(parts["at_bound"]) == [False, phi == 1.0, False]
    # Of each resistance with that of the next larger relaxation time, whichever sign it has.
    place = [int(np.flatnonzero(free == one)[0]) for one in (2, 5, 8)]
    for k in (0, 1):
        own = covariance[place[k], place[k + 1]] / np.sqrt(
            covariance[place[k], place[k]] * covariance[place[k + 1], place[k + 1]]
        )
        assert parts["correlation"][k] == pytest.approx(own, abs=2e-3)
    # A spectrum with two rows of one range has one loop.
    split = pd.DataFrame({"spectrum": 0, "tau": [1.4e-3, 0.014, 0.05, 0.4], "r": [15.0, -4.0, -0.5, 3.0], "width": 1.0})
    again = deconvolve(FREQUENCY, z[None], split, options, sigma=sigma[None])
    np.testing.assert_allclose(again.parameters[0, :11], found.parameters[0], rtol=1e-3)


@pytest.mark.parametrize("start", [True, False], ids=["from peaks", "from nothing"])
def test_exact_data_give_back_their_circuit(start):
    four = [ZARC(5, 1e-5, 0.9), ZARC(20, 1e-3, 0.85), ZARC(10, 0.05, 0.8), ZARC(30, 1.0, 0.75)]
    found = taken_apart(spectra(four, 1, ConstantNoise(0.0)), start=start)
    assert found.count[0] == 4
    for name, rel in (("r", 1e-5), ("tau", 1e-5), ("phi", 1e-6)):
        np.testing.assert_allclose(found.elements[name], [getattr(one, name) for one in four], rtol=rel)
    assert found.misfit[0] < 1e-7
    assert found.r_inf[0] == pytest.approx(10, rel=1e-6)


def test_series_terms_and_parts_add_up_to_the_low_frequency_limit_and_to_gamma():
    some = spectra(TWO, 20)
    found = taken_apart(some)
    limit = found.impedance_at([1e-9])[:, 0]
    total = found.r_inf + found.elements.groupby("spectrum")["r"].sum().to_numpy()
    np.testing.assert_allclose(limit.real, total, rtol=1e-5)
    tau = np.geomspace(1e-12, 1e9, 20001)
    np.testing.assert_allclose(np.trapezoid(found.gamma_at(tau), np.log(tau), axis=1) + found.r_inf, total, rtol=1e-3)
    z = found.impedance_at(FREQUENCY)
    misfit = np.sqrt(np.mean(np.abs(z - some.impedance) ** 2 / np.abs(some.impedance) ** 2, axis=1))
    np.testing.assert_allclose(found.misfit, misfit, rtol=1e-10)
    at = np.geomspace(1e-6, 10, 400)
    truth = sum(one.gamma(at) for one in TWO)
    assert np.all(found.distance(at, np.tile(truth, (20, 1))) < 0.05)
    own = found.gamma_at(at)
    np.testing.assert_allclose(found.distance(at, 2 * own), 0.5, rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "element"),
    [("zarc", ZARC(20, 1e-3, 0.85)), ("havriliak-negami", HavriliakNegami(20, 1e-3, 0.85, 0.6))],
)
def test_gamma_of_a_part_is_the_closed_form(shape, element):
    found = taken_apart(spectra([element], 1, ConstantNoise(0.0)), DeconvolutionOptions(shape, elements=1))
    tau = np.geomspace(1e-9, 1e3, 300)
    (part,) = found.elements.itertuples()
    if shape == "zarc":
        expected = zarc_gamma(tau, part.r, part.tau, part.phi)
    else:
        expected = havriliak_negami_gamma(tau, part.r, part.tau, part.phi, part.psi)
        assert part.psi == pytest.approx(0.6, rel=1e-4)
    np.testing.assert_allclose(found.gamma_at(tau)[0], expected, rtol=1e-9)
    assert part.r == pytest.approx(20, rel=1e-4)
    assert part.tau == pytest.approx(1e-3, rel=1e-3)


def test_gaussians_are_found_with_their_width():
    y = np.linspace(-25, 15, 8001)
    truth = [(20, np.log(1e-4), 0.7), (30, np.log(3e-2), 1.1)]
    gamma = sum(r / (s * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((y - at) / s) ** 2) for r, at, s in truth)
    omega = 2 * np.pi * FREQUENCY
    z = 10 + np.trapezoid(gamma / (1 + 1j * omega[:, None] * np.exp(y)), y, axis=1)
    z = ProportionalNoise(0.001).add(np.tile(z, (30, 1)), 1)
    some = drt.Spectra(FREQUENCY, z)
    found = taken_apart(some, DeconvolutionOptions("gaussian"))
    assert np.mean(found.count == 2) > 0.9
    parts = found.elements[np.isin(found.elements["spectrum"], np.flatnonzero(found.count == 2))]
    np.testing.assert_allclose(table(parts, "r", 2).mean(axis=0), [20, 30], rtol=3e-3)
    np.testing.assert_allclose(table(parts, "tau", 2).mean(axis=0), [1e-4, 3e-2], rtol=5e-3)
    fwhm = 2 * np.sqrt(2 * np.log(2)) / np.log(10) * np.array([0.7, 1.1])
    np.testing.assert_allclose(table(parts, "width", 2).mean(axis=0), fwhm, rtol=1e-2)
    ratio = table(parts, "width", 2).std(axis=0) / np.median(table(parts, "width_error", 2), axis=0)
    assert np.all((ratio > 0.6) & (ratio < 1.5))
    assert parts["phi"].isna().all()
    tau = np.exp(y[::10])
    np.testing.assert_allclose(found.gamma_at(tau).mean(axis=0), gamma[::10], atol=0.02 * gamma.max())


def test_a_number_that_is_given_is_kept():
    some = spectra(TWO, 5)
    for parts in (1, 2):
        found = taken_apart(some, DeconvolutionOptions(elements=parts))
        assert (found.count == parts).all()
    # A third one may end without a resistance.
    assert set(taken_apart(some, DeconvolutionOptions(elements=3)).count) <= {2, 3}
    one = taken_apart(some, DeconvolutionOptions(elements=1))
    assert (one.correlation > 0.3).all()
    assert (one.misfit > 3 * taken_apart(some).misfit).all()


def test_followed_processes_of_two_cells_are_found_where_they_are_apart():
    made = campaign(CampaignDesign(cycles=(1, 250, 500), voltages=16))
    peaks = peaks_of(drt.invert(made.spectra, drt.Tikhonov()))
    groups = made.spectra.states.groupby(["cell", "cycle", "direction"], sort=False)
    chains = [group.index.to_numpy() for _, group in groups]
    found = deconvolve(made.spectra.frequency, made.spectra.impedance, peaks, chains=chains)
    assert found.converged.mean() > 0.99
    hit, r_error, tau_error = [], [], []
    for k, own in found.elements.groupby("spectrum"):
        y, at = np.log(made.tau[k]), np.log(own["tau"].to_numpy())
        apart = np.abs(y[:, None] - y) + np.where(np.eye(5), np.inf, 0.0)
        for p in np.flatnonzero(apart.min(axis=1) > np.log(5)):
            near = int(np.argmin(np.abs(at - y[p])))
            hit.append(abs(at[near] - y[p]) < 0.5 * np.log(5))
            r_error.append(abs(own["r"].iloc[near] / made.r[k, p] - 1))
            tau_error.append(abs(np.exp(at[near] - y[p]) - 1))
    assert len(hit) > 500
    assert np.mean(hit) > 0.98
    assert np.median(r_error) < 0.03
    assert np.median(tau_error) < 0.03


def test_every_part_has_a_resistance_and_all_have_errors_also_where_more_are_wanted_than_there_are():
    some = spectra([ZARC(20, 1e-3, 0.85)], 30)
    found = taken_apart(some, DeconvolutionOptions(elements=3))
    assert (found.count <= 3).all()
    assert (found.elements["r"] > 0.0).all()
    assert len(found.elements) == found.count.sum() <= 90
    assert np.isfinite(found.elements[["r_error", "c"]]).all(axis=None)
    total = found.r_inf + found.elements.groupby("spectrum")["r"].sum().to_numpy()
    np.testing.assert_allclose(found.impedance_at([1e-9])[:, 0].real, total, rtol=1e-4)


def test_parts_that_only_their_sum_is_known_of_are_called_merged():
    close = [ZARC(20, 1e-3, 0.9), ZARC(20, 2.5e-3, 0.9)]
    found = taken_apart(spectra(close, 20), DeconvolutionOptions(elements=2))
    assert found.elements["merged"].mean() > 0.9
    apart = taken_apart(spectra([ZARC(20, 1e-4, 0.9), ZARC(20, 1e-1, 0.9)], 20))
    assert not apart.elements["merged"].any()


def test_an_ideal_capacitor_is_at_a_bound():
    parts = taken_apart(spectra([ZARC(20, 1e-3, 1.0)], 20)).elements
    ideal = parts["phi"] == 1.0
    assert 0.2 < ideal.mean() < 0.8
    assert (parts["at_bound"] == ideal).all()
    assert parts.loc[ideal, "phi_error"].isna().all()
    assert (1 - parts["phi"] < 4 * parts["phi_error"])[~ideal].all()
    inner = taken_apart(spectra(TWO, 3))
    assert not inner.elements["at_bound"].any()


def test_missing_points_are_left_out_and_bad_rows_have_no_parts():
    some = spectra(TWO, 40)
    z = some.impedance.copy()
    z[::2, 5:25] = np.nan
    z[7] = np.nan
    peaks = peaks_of(drt.invert(some, drt.Tikhonov()))
    found = deconvolve(FREQUENCY, z, peaks)
    assert found.count[7] == 0
    assert np.isnan(
        [found.misfit[7], found.r_inf[7], found.gamma_at([1.0])[7, 0], found.impedance_at([1.0])[7, 0]]
    ).all()
    assert not found.converged[7]
    others = np.delete(np.arange(40), 7)
    assert (found.count[others] == 2).mean() > 0.9
    parts = found.elements
    missing = parts["spectrum"] % 2 == 0
    for rows in (missing, ~missing):
        own = parts[rows & np.isin(parts["spectrum"], np.flatnonzero(found.count == 2))]
        pull = (table(own, "r", 2) - [20, 30]) / table(own, "r_error", 2)
        assert np.all(np.abs(pull.std(axis=0) - 1) < 0.7)


def test_zeros_have_no_parts_whatever_the_model_is():
    z = spectra([ZARC(20, 1e-3, 0.85)], 1).impedance[0]
    starts = pd.DataFrame({"spectrum": [0, 1], "tau": 1e-3, "r": 20.0, "width": 2.0})
    found = deconvolve(FREQUENCY, np.stack([z, np.zeros(z.size)]), starts, model=np.stack([z, np.ones(z.size)]))
    assert found.count.tolist() == [1, 0]


def test_threads_and_unit_change_nothing_and_chains_are_kept_apart():
    some = spectra(TWO, 70)
    peaks = peaks_of(drt.invert(some, drt.Tikhonov()))
    with limited_threads(1):
        one = deconvolve(FREQUENCY, some.impedance, peaks)
    two = deconvolve(FREQUENCY, some.impedance, peaks)
    np.testing.assert_array_equal(one.parameters, two.parameters)
    milli = deconvolve(FREQUENCY, 1e-3 * some.impedance, peaks.assign(r=1e-3 * peaks["r"]))
    np.testing.assert_allclose(milli.elements["r"], 1e-3 * one.elements["r"], rtol=1e-4)
    np.testing.assert_allclose(milli.elements["tau"], one.elements["tau"], rtol=1e-4)
    rows = np.array([3, 4, 5])
    some_rows = deconvolve(FREQUENCY, some.impedance, peaks, chains=[rows])
    assert list(np.flatnonzero(some_rows.count)) == [3, 4, 5]


def test_a_series_capacitance_is_a_term_of_the_model():
    z = spectra(TWO, 4).impedance + 1 / (2j * np.pi * FREQUENCY * 5.0)
    peaks = peaks_of(drt.invert(drt.Spectra(FREQUENCY, z), drt.Tikhonov(capacitance=True)))
    found = deconvolve(FREQUENCY, z, peaks, DeconvolutionOptions(capacitance=True, inductance=False))
    assert found.series == ("r_inf", "elastance")
    np.testing.assert_allclose(found.capacitance, 5.0, rtol=0.1)
    assert (found.inductance == 0).all()


def test_every_column_is_there_also_without_a_part():
    empty = deconvolve(FREQUENCY, np.full((2, 61), np.nan + 0j), NO_PEAKS)
    assert len(empty.elements) == 0
    one = taken_apart(spectra(TWO, 1))
    assert list(empty.elements.columns) == list(one.elements.columns)
    assert set(ELEMENT_UNITS) < set(one.elements.columns)
    assert repr(one) == "Deconvolution(1 spectrum, 2 elements, shape 'zarc')"
    with pytest.raises(ValueError, match="read-only"):
        one.parameters[0, 0] = 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"elements": 0}, "elements must be a whole number from 1 to 20; got 0"),
        ({"elements": True}, "elements must be a whole number"),
        ({"most": 21}, "most must be a whole number from 1 to 20; got 21"),
        ({"inductance": 1}, "inductance must be True or False; got 1"),
    ],
)
def test_options_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        DeconvolutionOptions(**settings)


def test_other_mistakes_are_told():
    with pytest.raises(UnknownNameError, match="shape 'lorentzian' is not known"):
        DeconvolutionOptions("lorentzian")
    z = spectra(TWO, 2).impedance
    with pytest.raises(InputError, match=re.escape("got shapes (61,) and (2, 60)")):
        deconvolve(FREQUENCY, z[:, 1:], NO_PEAKS)
    with pytest.raises(InputError, match="sigma must have the shape of impedance"):
        deconvolve(FREQUENCY, z, NO_PEAKS, sigma=np.ones(61))
    with pytest.raises(InputError, match=re.escape("['width'] are missing")):
        deconvolve(FREQUENCY, z, NO_PEAKS.drop(columns="width"))
    with pytest.raises(InputError, match="row numbers below 2; got 2 to 2"):
        deconvolve(FREQUENCY, z, pd.DataFrame({"spectrum": [2], "tau": [1.0], "r": [1.0], "width": [1.0]}))
    with pytest.raises(InputError, match="each at most once"):
        deconvolve(FREQUENCY, z, NO_PEAKS, chains=[np.array([0, 1, 1])])
    found = deconvolve(FREQUENCY, z, NO_PEAKS)
    with pytest.raises(InputError, match="tau must be one-dimensional"):
        found.gamma_at([-1.0])
    with pytest.raises(InputError, match=re.escape("gamma must have shape (2, 1)")):
        found.distance([1.0], np.ones(3))
