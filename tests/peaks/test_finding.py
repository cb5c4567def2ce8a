import re

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.peaks import PEAK_UNITS, PeakOptions, find_peaks
from drt_engine.simulate import ZARC, CampaignDesign, ConstantNoise, campaign

from .made import FREQUENCY, SlowTwin, inverted, one_zarc, peaks_of, rows_of, spectra


@pytest.fixture(scope="module")
def cells():
    made = campaign(CampaignDesign(cycles=(1, 300), voltages=12))
    result = drt.invert(made.spectra, drt.Tikhonov(shared=True))
    return made, result, rows_of(result)


def gamma(result, row, y):
    return float(result.gamma_at(np.exp([y]))[row, 0])


def test_is_what_the_slow_twin_finds(cells):
    _, result, peaks = cells
    compared = 0
    for row in range(0, len(result), 7):
        own = peaks[(peaks["spectrum"] == row) & (peaks["kind"] == "maximum")]
        if own["averaged"].any():
            continue
        y, score = SlowTwin(result, row).maxima(3.0)
        np.testing.assert_allclose(np.log(own["tau"]), y, atol=0.05)
        # The twin samples elsewhere, so its valleys and tops are not the same to the last digit.
        np.testing.assert_allclose(own["significance"], score, rtol=0.03)
        compared += len(own)
    assert compared > 25


def test_position_and_height_are_those_of_the_expansion(cells):
    _, result, peaks = cells
    some = peaks[(peaks["kind"] == "maximum") & ~peaks["averaged"]].iloc[::9]
    assert len(some) > 15
    for peak in some.itertuples():
        y = np.log(peak.tau)
        best = minimize_scalar(
            lambda y, row=peak.spectrum: -gamma(result, row, y), bounds=(y - 0.05, y + 0.05), method="bounded",
            options={"xatol": 1e-9},
        )  # fmt: skip
        assert y == pytest.approx(best.x, abs=2e-5)
        assert peak.height == pytest.approx(-best.fun, rel=1e-7)


def test_areas_are_integrals_and_add_up_to_the_polarisation_resistance(cells):
    _, result, peaks = cells
    total = peaks.groupby("spectrum")["r"].sum()
    np.testing.assert_allclose(total, result.r_pol[total.index], rtol=1e-12)
    np.testing.assert_allclose(peaks["c"], peaks["tau"] / peaks["r"], rtol=1e-14)
    inner = peaks[(peaks["spectrum"].diff() == 0) & (peaks["spectrum"].diff(-1) == 0)].iloc[::11]
    assert len(inner) > 3
    for peak in inner.itertuples():
        area = quad(lambda y, row=peak.spectrum: gamma(result, row, y), *np.log([peak.lower, peak.upper]), limit=200)[0]
        assert peak.r == pytest.approx(area, rel=1e-7)


def test_boundaries_are_shared_and_at_the_valleys(cells):
    _, result, peaks = cells
    for row in (0, 10, 20):
        own = peaks[(peaks["spectrum"] == row) & ~peaks["averaged"]]
        np.testing.assert_array_equal(own["lower"].to_numpy()[1:], own["upper"].to_numpy()[:-1])
        for boundary in own["upper"].to_numpy()[:-1]:
            y = np.log(boundary)
            assert gamma(result, row, y) <= min(gamma(result, row, y - 0.05), gamma(result, row, y + 0.05))


@pytest.mark.parametrize("basis", ["gaussian", "c4-matern", "inverse-quadratic"])
def test_width_and_prominence_of_a_single_peak_are_those_of_its_curve(basis):
    result = drt.invert(spectra([ZARC(30, 1e-3, 0.8)], 1), drt.Tikhonov(basis=basis, regularisation=1e-3))
    rows = rows_of(result)
    assert rows["r"].sum() == pytest.approx(result.r_pol[0], rel=1e-12)
    (peak,) = rows[rows["kind"] != "edge"].itertuples()
    y = np.log(peak.tau)
    sides = [brentq(lambda x: gamma(result, 0, x) - peak.height / 2, y, y + far) for far in (-3.0, 3.0)]
    assert peak.width == pytest.approx((sides[1] - sides[0]) / np.log(10), rel=2e-3)
    assert peak.prominence == pytest.approx(peak.height, rel=0.02)
    assert peak.tau == pytest.approx(1e-3, rel=0.05)
    assert peak.r == pytest.approx(30, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("phi", [(0.65, 0.9), (0.9, 1.0)], ids=["broad", "sharp"])
@pytest.mark.parametrize("noise", [0.0003, 0.002, 0.01])
def test_one_process_hardly_ever_shows_two_peaks(phi, noise):
    count = 1000
    result = drt.invert(one_zarc(count, phi, noise, seed=11), drt.Tikhonov())
    found = np.bincount(peaks_of(result)["spectrum"], minlength=count)
    assert np.mean(found > 1) < 0.01
    assert np.mean(found == 0) < 0.05


def test_noise_alone_shows_nothing():
    result = drt.invert(spectra([], 1000), drt.Tikhonov())
    assert peaks_of(result)["spectrum"].nunique() < 10


def test_two_processes_a_decade_and_a_half_apart_are_two_peaks():
    result = drt.invert(spectra([ZARC(20, 1e-4, 0.85), ZARC(15, 3e-3, 0.85)], 200), drt.Tikhonov())
    peaks = peaks_of(result)
    found = np.bincount(peaks["spectrum"], minlength=200)
    assert np.mean(found == 2) > 0.95
    two = peaks[np.isin(peaks["spectrum"], np.flatnonzero(found == 2))]
    np.testing.assert_allclose(two["tau"].to_numpy().reshape(-1, 2).mean(axis=0), [1e-4, 3e-3], rtol=0.06)
    np.testing.assert_allclose(two["r"].to_numpy().reshape(-1, 2).mean(axis=0), [20, 15], rtol=0.06)


def test_a_shoulder_is_found_where_there_is_one():
    result = drt.invert(spectra([ZARC(60, 1e-3, 0.75), ZARC(12, 1.3e-2, 0.95)], 40), drt.Tikhonov(shared=True))
    peaks = peaks_of(result)
    shoulders = peaks[peaks["kind"] == "shoulder"]
    assert np.bincount(peaks["spectrum"], minlength=40).max() == 2
    assert len(shoulders) > 30
    np.testing.assert_allclose(shoulders["tau"].median(), 1.3e-2, rtol=0.1)
    assert (shoulders["prominence"] == 0).all()
    assert (shoulders["significance"] >= 5).all()
    assert shoulders["tau_error"].isna().all()
    without = peaks_of(result, PeakOptions(shoulder_significance=np.inf))
    assert (without["kind"] == "maximum").all()


@pytest.mark.parametrize("regularisation", [1e-2, 1e-3, 1e-5])
def test_too_large_or_too_small_a_regularisation_makes_no_peaks(regularisation):
    result = drt.invert(one_zarc(300, (0.65, 0.99), seed=3), drt.Tikhonov(regularisation=regularisation))
    assert np.mean(np.bincount(peaks_of(result)["spectrum"], minlength=300) > 1) <= 0.01


def test_errors_are_the_spread_by_noise_at_one_regularisation():
    noise = ConstantNoise(0.02)
    result = drt.invert(
        spectra([ZARC(20, 1e-4, 0.8), ZARC(15, 1e-2, 0.8)], 400, noise), drt.Tikhonov(regularisation=1e-3)
    )
    peaks = peaks_of(result, PeakOptions(shoulder_significance=np.inf), np.full((400, FREQUENCY.size), 0.02))
    found = np.bincount(peaks["spectrum"], minlength=400)
    two = peaks[np.isin(peaks["spectrum"], np.flatnonzero(found == 2))]
    for name in ("r", "tau"):
        spread = two[name].to_numpy().reshape(-1, 2).std(axis=0)
        stated = np.median(two[f"{name}_error"].to_numpy().reshape(-1, 2), axis=0)
        assert np.all(np.abs(spread / stated - 1) < 0.3)


def test_a_spectrum_gets_what_it_would_get_alone_and_in_any_unit(cells):
    _, result, peaks = cells
    rows = np.array([5, 17, 30])
    few = rows_of(result[rows])
    numbers = ["tau", "r", "height", "width", "significance"]
    for place, row in enumerate(rows):
        own = few.loc[few["spectrum"] == place, numbers].to_numpy()
        np.testing.assert_array_equal(own, peaks.loc[peaks["spectrum"] == row, numbers].to_numpy())
    problem, parameters, lam, residual = inverted(result[rows])
    names = ("coefficients", "r_inf", "inductance", "elastance")
    milli = type(parameters)(*(1e-3 * getattr(parameters, name) for name in names))
    scaled = find_peaks(problem, milli, lam, residual)
    np.testing.assert_allclose(scaled["r"], 1e-3 * few["r"], rtol=1e-9)
    np.testing.assert_allclose(
        scaled[["tau", "width", "significance"]], few[["tau", "width", "significance"]], rtol=1e-6
    )


@pytest.mark.parametrize("basis", ["piecewise-linear", "c0-matern", "cauchy", "inverse-quadric"])
def test_every_basis_has_peaks(basis):
    result = drt.invert(spectra([ZARC(20, 1e-4, 0.85), ZARC(15, 1e-2, 0.85)], 3), drt.Tikhonov(basis=basis))
    peaks = peaks_of(result)
    np.testing.assert_allclose(rows_of(result).groupby("spectrum")["r"].sum(), result.r_pol, rtol=1e-12)
    if basis in ("piecewise-linear", "c0-matern"):
        np.testing.assert_allclose(peaks["tau"].to_numpy().reshape(-1, 2), np.tile([1e-4, 1e-2], (3, 1)), rtol=0.25)


def test_failed_spectra_have_no_peaks_and_do_not_stop_the_others():
    good = spectra([ZARC(20, 1e-3, 0.85)], 3)
    z = good.impedance.copy()
    z[1] = np.nan
    peaks = peaks_of(drt.invert(drt.Spectra(FREQUENCY, z), drt.Tikhonov()))
    assert sorted(set(peaks["spectrum"])) == [0, 2]


def test_no_spectrum_has_an_empty_table_with_all_columns():
    result = drt.invert(spectra([ZARC(20, 1e-3, 0.85)], 1), drt.Tikhonov())
    empty, one = rows_of(result[[]]), rows_of(result)
    assert len(empty) == 0
    assert list(empty.columns) == list(one.columns)
    assert set(PEAK_UNITS) < set(one.columns)


def test_mistakes_are_told():
    with pytest.raises(InputError, match="positive number of standard deviations; got -1"):
        PeakOptions(significance=-1)
    result = drt.invert(spectra([ZARC(20, 1e-3, 0.85)], 2), drt.Tikhonov())
    problem, parameters, lam, residual = inverted(result)
    with pytest.raises(InputError, match=re.escape("residual must have shape (2,), as the unknowns have; got (1,)")):
        find_peaks(problem, parameters, lam, residual[:1])
    with pytest.raises(InputError, match="sigma must have shape"):
        find_peaks(problem, parameters, lam, residual, sigma=np.ones(2))
