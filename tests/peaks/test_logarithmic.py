"""Peaks of solutions whose logarithm has a posterior."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.methods.log_gaussian import LogGaussian
from drt_engine.model.basis import Expansion
from drt_engine.peaks import PeakOptions, find_peaks, without_edges
from drt_engine.peaks.logarithmic import _without_ends
from drt_engine.simulate import ZARC, CampaignDesign, ConstantNoise, campaign
from drt_engine.threads import limited_threads

from ..conftest import zarc
from .made import FREQUENCY, inverted_unknowns, one_zarc, peaks_by_posterior, posterior_of, spectra

TWO = [ZARC(20, 1e-4, 0.85), ZARC(30, 1e-2, 0.8)]


def found(some, options=None):
    return without_edges(peaks_by_posterior(some, drt.invert(some, LogGaussian()), options))


def counts(peaks, rows):
    return np.bincount(without_edges(peaks)["spectrum"], minlength=rows)


@pytest.fixture(scope="module")
def two():
    some = spectra(TWO, 200, ConstantNoise(0.05))
    result = drt.invert(some, LogGaussian())
    return some, result, peaks_by_posterior(some, result)


@pytest.mark.slow
@pytest.mark.parametrize("phi", [(0.6, 0.9), (0.9, 1.0)], ids=["broad", "sharp"])
@pytest.mark.parametrize("noise", [0.0003, 0.002, 0.01])
def test_one_process_hardly_ever_shows_two_peaks_and_always_one(phi, noise):
    number = counts(found(one_zarc(300, phi, noise, seed=21)), 300)
    assert np.mean(number > 1) < 0.01
    assert np.mean(number == 0) < 0.01


def test_noise_alone_shows_nothing():
    assert len(found(spectra([], 200))) < 2


def test_processes_that_overlap_are_told_apart():
    assert (counts(found(spectra([ZARC(50, 1e-2, 0.85), ZARC(50, 0.15, 0.85)], 60)), 60) == 2).all()
    four = [ZARC(8, 2e-6, 0.95), ZARC(15, 2e-4, 0.85), ZARC(30, 1e-2, 0.8), ZARC(20, 2, 0.9)]
    assert (counts(found(spectra(four, 60)), 60) == 4).all()


def pairs_of_arcs(seed, count):
    """Spectra of two arcs, one up to a hundred times the other, and R of each between valleys of their γ."""
    rng = np.random.default_rng(seed)
    frequency = np.logspace(5, -2, 71)
    y = np.linspace(np.log(1e-16), np.log(1e12), 40001)
    z, exact = np.full((count, 71), 10 + 0j), np.empty((count, 2))
    for k in range(count):
        resistances = np.array([100.0, 10 ** rng.uniform(0, 1)])[:: rng.choice([1, -1])]
        middle, apart, phi = rng.uniform(-3, -0.5), rng.uniform(2.5, 4), rng.uniform(0.7, 0.95, 2)
        places = np.clip(middle + np.array([-0.5, 0.5]) * apart, -4.8, 0.4)
        gamma = np.zeros(y.size)
        for r, tau, p in zip(resistances, 10**places, phi, strict=True):
            z[k] += zarc(frequency, r, tau, p)
            gamma += ZARC(r, tau, p).gamma(np.exp(y))
        between = np.flatnonzero((y > np.log(10) * places[0]) & (y < np.log(10) * places[1]))
        valley = between[np.argmin(gamma[between])]
        exact[k] = [np.trapezoid(gamma[some], y[some]) for some in (slice(0, valley + 1), slice(valley, None))]
    noise = rng.standard_normal((2, count, 71))
    return drt.Spectra(frequency, z * (1 + 0.003 * (noise[0] + 1j * noise[1]))), exact


def test_resistances_of_small_and_of_large_peaks_are_covered():
    some, exact = pairs_of_arcs(401, 300)
    result = drt.invert(some)
    peaks = result.peaks()
    kinds = peaks.groupby("spectrum")["kind"]
    of_both = peaks[(kinds.transform("size") == 2) & kinds.transform(lambda own: (own == "maximum").all())]
    rows = of_both["spectrum"].to_numpy()[::2]
    off = of_both["r"].to_numpy().reshape(-1, 2) - exact[rows]
    inside = np.abs(off) < 1.96 * of_both["r_error"].to_numpy().reshape(-1, 2)
    small = exact[rows].argmin(axis=1)
    at = np.arange(rows.size)
    assert rows.size > 150
    assert inside[at, small].mean() >= 0.93
    assert inside[at, 1 - small].mean() >= 0.93


def test_what_may_lie_beyond_the_last_relaxation_time_is_not_known_of_the_last_peak():
    frequency = np.logspace(5, -2, 71)
    z = 10 + zarc(frequency, 20, 1e-4, 0.85) + zarc(frequency, 90, 3.0, 0.6)
    noise = np.random.default_rng(12).standard_normal((2, 100, 71))
    some = drt.Spectra(frequency, z * (1 + 0.003 * (noise[0] + 1j * noise[1])))
    result = drt.invert(some)
    last = result.peaks().groupby("spectrum").last()
    beyond = posterior_of(some, result)(np.arange(100)).beyond(0.6827)
    assert (last["r_error"] > beyond).all()
    assert (beyond > 0.5).all()
    # γ of the arc of 3 s from the valley on: nearly all of the 90 ohm, 9 of which are slower than the window.
    y = np.linspace(np.log(1e-16), np.log(1e16), 60001)
    gamma = ZARC(20, 1e-4, 0.85).gamma(np.exp(y)) + ZARC(90, 3.0, 0.6).gamma(np.exp(y))
    between = np.flatnonzero((y > np.log(1e-4)) & (y < np.log(3.0)))
    valley = between[np.argmin(gamma[between])]
    exact = np.trapezoid(gamma[valley:], y[valley:])
    assert np.mean(np.abs(last["r"] - exact) < 1.96 * last["r_error"]) >= 0.93


def test_a_small_process_beside_a_large_one_is_a_shoulder():
    some = spectra([ZARC(60, 1e-3, 0.75), ZARC(8, 3e-2, 0.8)], 60)
    peaks = found(some)
    assert (counts(peaks, 60) == 2).mean() > 0.9
    shoulders = peaks[peaks["kind"] == "shoulder"]
    assert len(shoulders) > 50
    # Where ln γ bends most is on the far side of the process.
    assert 3e-2 < shoulders["tau"].median() < 4.5e-2
    assert (shoulders["significance"] >= 2.2).all()
    fewer = found(some, PeakOptions(shoulder_significance=np.inf))
    assert (fewer["kind"] == "maximum").all()
    assert len(found(some, PeakOptions(significance=1e3))) == 0


def test_values_are_near_the_truth_and_errors_are_the_spread(two):
    _, _, peaks = two
    assert (counts(peaks, 200) == 2).all()
    for name, truth in (("tau", [1e-4, 1e-2]), ("r", [20, 30])):
        values, errors = (without_edges(peaks)[n].to_numpy().reshape(-1, 2) for n in (name, f"{name}_error"))
        np.testing.assert_allclose(values.mean(axis=0), truth, rtol=0.04)
        # A posterior also doubts what noise does not change, so it may state more.
        ratio = values.std(axis=0) / np.median(errors, axis=0)
        assert np.all((ratio > 0.3) & (ratio < 1.3))


def test_areas_are_those_of_the_piecewise_linear_answer_and_add_up(two):
    _, result, peaks = two
    np.testing.assert_allclose(peaks.groupby("spectrum")["r"].sum(), result.r_pol, rtol=1e-12)
    np.testing.assert_allclose(peaks["c"], peaks["tau"] / peaks["r"], rtol=1e-14)
    assert not peaks["averaged"].any()
    # Only boundaries that rows have in common are shared.
    alone = peaks.groupby("spectrum")["r"].transform("size") == 1
    assert (peaks["shared"][alone] == 0.0).all()
    assert (peaks["shared"][~alone] > 0.0).all()
    for peak in peaks.iloc[:4].itertuples():
        tau = np.geomspace(peak.lower, peak.upper, 20001)
        gamma = result.expansion.values(tau) @ result.coefficients[peak.spectrum]
        area = np.trapezoid(gamma, np.log(tau))
        assert peak.r == pytest.approx(area, rel=1e-5)


def test_a_spectrum_gets_what_it_would_get_alone_on_any_number_of_threads(two):
    some, result, peaks = two
    rows = np.array([3, 150])
    alone = peaks_by_posterior(some[rows], result[rows])
    with limited_threads(1):
        single = peaks_by_posterior(some, result)
    assert single.equals(peaks)
    own = peaks[np.isin(peaks["spectrum"], rows)]
    np.testing.assert_array_equal(alone[["tau", "r", "significance"]], own[["tau", "r", "significance"]])


def test_rows_are_asked_for_some_at_a_time(two):
    some, result, peaks = two
    problem = result.method.problem(result.frequency, result.expansion)
    asked, inner = [], posterior_of(some, result)

    def posterior(rows):
        asked.append(rows)
        return inner(rows)

    again = find_peaks(problem, inverted_unknowns(result), result.regularisation, result.residual, posterior=posterior)
    assert again.equals(peaks)
    assert max(map(len, asked)) <= 128
    assert sorted(np.concatenate(asked)) == list(range(200))


def test_failed_spectra_zeros_and_unknown_posteriors_have_no_peaks(two):
    some, _, _ = two
    z = some.impedance[:4].copy()
    z[1], z[2] = np.nan, 0.0
    bad = drt.Spectra(some.frequency, z)
    assert sorted(set(found(bad)["spectrum"])) == [0, 3]
    result = drt.invert(some[:4], LogGaussian())
    problem = result.method.problem(result.frequency, result.expansion)
    inner = posterior_of(some[:4], result)

    def posterior(rows):
        known = inner(rows)
        covariance = known.covariance.copy()
        covariance[rows == 1] = np.nan
        return dataclasses.replace(known, covariance=covariance)

    given = problem, inverted_unknowns(result), result.regularisation, result.residual
    rows = find_peaks(*given, posterior=posterior)
    assert sorted(set(without_edges(rows)["spectrum"])) == [0, 2, 3]
    # Where nothing is known of significance the whole of γ is no peak, and is there.
    (whole,) = rows[rows["spectrum"] == 1].itertuples()
    assert whole.kind == "edge"
    assert whole.r == pytest.approx(result.r_pol[1], rel=1e-12)
    assert np.isnan(whole.r_error)


def test_a_posterior_of_another_basis_is_refused(two):
    _, result, _ = two
    problem = result.method.problem(result.frequency, result.expansion)
    other = SimpleNamespace(expansion=Expansion(result.tau, "gaussian", 1.0), covariance=np.ones((1, 1, 1)))
    given = problem, inverted_unknowns(result), result.regularisation, result.residual
    with pytest.raises(InputError, match="posterior must be of a piecewise linear γ; got gaussian"):
        find_peaks(*given, posterior=lambda rows: other)


def test_no_spectrum_has_an_empty_table_with_all_columns(two):
    some, result, peaks = two
    empty = peaks_by_posterior(some[[]], result[[]])
    assert len(empty) == 0
    assert list(empty.columns) == list(peaks.columns)


def test_more_processes_of_two_cells_are_found_than_with_ridge_regression():
    made = campaign(CampaignDesign(cycles=(1, 300), voltages=12))
    tikhonov = without_edges(drt.invert(made.spectra, drt.Tikhonov()).peaks())
    y = np.log(made.tau)
    apart = np.abs(y[:, :, None] - y[:, None, :]) + np.where(np.eye(5), np.inf, 0.0)

    def share(peaks):
        by = {k: np.log(own["tau"].to_numpy()) for k, own in peaks.groupby("spectrum")}
        hits = [
            np.abs(by.get(k, np.array([np.inf])) - y[k, p]).min() < 0.5 * np.log(5)
            for k, p in zip(*np.nonzero(apart.min(axis=2) > np.log(5)), strict=True)
        ]
        return np.mean(hits)

    # Tops outside of the measured frequencies are edges and count for neither.
    assert share(found(made.spectra)) > max(0.92, share(tikhonov) + 0.03)


def test_the_frequency_grid_need_not_be_that_of_the_others():
    few = drt.Spectra(FREQUENCY[::3], spectra(TWO, 5).impedance[:, ::3])
    assert (counts(found(few), 5) == 2).all()


def test_what_a_small_peak_shares_with_a_large_one_is_told():
    arcs = zarc(FREQUENCY, 2, 2e-4, 0.9) + zarc(FREQUENCY, 50, 0.05, 0.85)
    parts = np.random.default_rng(0).normal(size=(2, 20, FREQUENCY.size))
    z = (8 + arcs) * (1 + 3e-3 * (parts[0] + 1j * parts[1]))
    peaks = drt.invert(drt.Spectra(FREQUENCY, z), drt.LogGaussian()).peaks()
    small = peaks[(peaks["tau"] > 1e-4) & (peaks["tau"] < 4e-4)]
    assert len(small) == 20
    wrong = (small["r"] - 2).abs()
    assert (wrong > 1.96 * small["r_error"]).mean() > 0.5
    assert (small["shared"] > small["r_error"]).all()
    assert (wrong <= 1.96 * small["r_error"] + small["shared"]).mean() > 0.85


def test_a_shoulder_where_the_sign_changes_is_no_peak():
    # y, r, height, width, prominence, significance, errors of y and r, lower and upper y, kind
    rows = np.zeros((3, 11))
    rows[:, 0], rows[:, 1] = [-4.0, -1.0, 2.0], [0.1, 1.0, 0.2]
    rows[:, 8], rows[:, 9], rows[:, 10] = [-5.0, -3.0, 1.0], [-3.0, 1.0, 2.0], [2, 1, 2]
    left = _without_ends(rows.copy(), (-4.02, 2.02))
    assert left[:, [0, 1, 8, 9]].tolist() == [[-1.0, pytest.approx(1.3), -5.0, 2.0]]
    # Shoulders elsewhere, maxima and single features stay.
    assert len(_without_ends(rows.copy(), (-6.0, 4.0))) == 3
    assert len(_without_ends(rows[:1].copy(), (-4.0, 4.0))) == 1
