"""Walls of γ at the ends of the data: they are no part of a peak, and what there is adds up."""

import dataclasses

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.peaks import without_edges
from drt_engine.simulate import ProportionalNoise

FREQUENCY = np.logspace(5, -2, 71)
S = 2j * np.pi * FREQUENCY


def zarc(r, tau, phi):
    return r / (1 + (S * tau) ** phi)


BASE = 10 + zarc(20, 2e-4, 0.9) + zarc(50, 0.05, 0.85)
WALLS = {
    "warburg": BASE + 5 / np.sqrt(S),
    "capacitor": BASE + 1 / (0.5 * S),
    "slow arc": BASE + zarc(50, 160, 0.9),
    "both ends": BASE + zarc(50, 160, 0.9) + zarc(30, 3e-8, 0.9),
}
METHODS = {"LogGaussian": drt.LogGaussian(noise="proportional"), "Tikhonov": drt.Tikhonov()}


def noisy(z, noise=0.003, seed=1):
    return drt.Spectra(FREQUENCY, ProportionalNoise(noise).add(np.atleast_2d(z), np.random.default_rng(seed)))


def valleys(result, row, tau):
    """Lowest places of γ on both sides of a peak, up to the next peak or the end of the data, and γ between them."""
    omega = 2 * np.pi * FREQUENCY
    at = np.geomspace(1 / omega.max(), 1 / omega.min(), 6001)
    # As resistances have it: straight lines between relaxation times.
    gamma = result.expansion.values(at) @ result.coefficients[row]
    # A straight line between relaxation times has its top at one of them.
    near = (np.flatnonzero(np.abs(np.log(at / one)) < 0.24) for one in tau)
    others = [0, *(int(some[np.argmax(gamma[some])]) for some in near), at.size - 1]
    for left, own, right in zip(others[:-2], others[1:-1], others[2:], strict=True):
        first, last = left + int(np.argmin(gamma[left : own + 1])), own + int(np.argmin(gamma[own : right + 1]))
        yield np.trapezoid(gamma[first : last + 1], np.log(at[first : last + 1])), first, last, at.size - 1


@pytest.mark.parametrize("name", METHODS)
def test_a_wall_is_a_row_of_its_own_and_no_part_of_a_peak(name):
    result = drt.invert(noisy(np.array(list(WALLS.values()))), METHODS[name])
    rows = result.peaks()
    np.testing.assert_allclose(rows.groupby("spectrum")["r"].sum(), result.r_pol, rtol=1e-9)
    for spectrum, case in enumerate(WALLS):
        own = rows[rows["spectrum"] == spectrum]
        peaks = without_edges(own)
        assert len(peaks) == 2, case
        # The valley takes some of the Warburg tail: 5/√(jω) has 2.5 ohm a decade there, and rises.
        np.testing.assert_allclose(peaks["r"], [20, 50], rtol=0.1, err_msg=case)
        # Half of the distance of relaxation times.
        np.testing.assert_allclose(peaks["tau"], [2e-4, 0.05], rtol=0.115, err_msg=case)
        assert (peaks["upper"] <= 1.6e1).all()
        last = own.iloc[-1]
        assert last["kind"] == "edge"
        assert last["r"] > 10
        assert np.isnan(last[["width", "significance", "tau_error"]].astype(float)).all()
        assert (own["lower"].to_numpy()[1:] == own["upper"].to_numpy()[:-1]).all()
        if case == "both ends":
            assert own.iloc[0]["kind"] == "edge"


def random_circuits(rng, count, arcs):
    """Impedances of up to so many arcs, half of them with a constant-phase element in series."""
    z = np.empty((count, FREQUENCY.size), complex)
    for k in range(count):
        z[k] = 10 ** rng.uniform(-1, 1)
        for _ in range(rng.integers(1, arcs + 1)):
            z[k] += zarc(10 ** rng.uniform(0, 2), 10 ** rng.uniform(-7, 3), rng.uniform(0.6, 1.0))
        z[k] += rng.integers(2) * 10 ** rng.uniform(-1, 1) / S ** rng.uniform(0.3, 1.0)
    return z


@pytest.mark.slow
def test_no_peak_is_more_than_gamma_between_its_valleys_and_rows_add_up_on_random_spectra():
    z = random_circuits(np.random.default_rng(6), 60, 3)
    for method in METHODS.values():
        result = drt.invert(noisy(z, 0.005), method)
        rows = result.peaks()
        np.testing.assert_allclose(rows.groupby("spectrum")["r"].sum(), result.r_pol[result.solved], rtol=1e-6)
        peaks = without_edges(rows)
        assert peaks["inside"].mean() > 0.99
        for spectrum, own in list(peaks.groupby("spectrum"))[:40]:
            for peak, (area, first, last, end) in zip(
                own.itertuples(), valleys(result, spectrum, own["tau"]), strict=True
            ):
                # Where γ falls up to the end of the data, the peak goes on behind it.
                if peak.kind == "maximum" and first > 0 and last < end and not peak.averaged:
                    assert peak.r <= area * 1.01 + 1e-3 * result.r_pol[spectrum]


def lowest_and_more(result, rows):
    """R of maxima between two rows that are no shoulders, and areas of γ between the lowest places beside them."""
    y, pairs = np.log(result.tau), []
    for spectrum, own in rows.groupby("spectrum"):
        gamma, kinds, resistances = result.coefficients[spectrum], list(own["kind"]), own["r"].to_numpy()
        tops = []
        for at, kind in zip(np.log(own["tau"]), kinds, strict=True):
            m = int(np.argmin(np.abs(y - at)))
            near = np.arange(max(m - 1, 0), min(m + 2, y.size))
            tops.append(m if kind != "maximum" else int(near[np.argmax(gamma[near])]))
        for c in range(1, len(own) - 1):
            if "shoulder" not in kinds[c - 1 : c + 2]:
                left, m, right = tops[c - 1 : c + 2]
                first, last = left + int(np.argmin(gamma[left : m + 1])), m + int(np.argmin(gamma[m : right + 1]))
                pairs.append((resistances[c], np.trapezoid(gamma[first : last + 1], y[first : last + 1])))
    return np.array(pairs)


def test_no_peak_between_two_rows_is_above_the_integral_between_the_lowest_places():
    z = random_circuits(np.random.default_rng(301), 300, 4)
    result = drt.invert(noisy(z, 0.005))
    rows = result.peaks()
    np.testing.assert_allclose(rows.groupby("spectrum")["r"].sum(), result.r_pol, rtol=1e-9)
    found, area = lowest_and_more(result, rows).T
    assert len(found) > 40
    assert (found <= area * (1 + 1e-9)).all()
    # Valleys are between relaxation times where that takes nothing from a neighbour that it may not have.
    assert np.mean(found < area * (1 - 1e-6)) > 0.3
    np.testing.assert_allclose(found, area, rtol=0.05)


@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_an_ideal_capacitor_beside_a_resistor_is_a_peak_for_tikhonov(noise):
    result = drt.invert(noisy(1 / (1 / 200 + 1e-3 * S), noise), drt.Tikhonov())
    (peak,) = without_edges(result.peaks()).itertuples()
    assert peak.r == pytest.approx(200, rel=0.01)
    assert peak.tau == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize("weighting", ["modulus", "iterated", tuple((float(f), 1.0) for f in FREQUENCY)])
def test_weights_are_those_that_the_data_had(weighting):
    z = 100 + zarc(1e3, 1e-4, 0.9) + zarc(3e3, 1e-2, 0.9) + zarc(1e4, 1, 0.9)
    count = 30 if weighting == "modulus" else 3
    result = drt.invert(noisy(np.tile(z, (count, 1)), 0.005), drt.Tikhonov(weighting=weighting))
    peaks = without_edges(result.peaks())
    assert (np.bincount(peaks["spectrum"], minlength=count) == 3).all()
    np.testing.assert_allclose(peaks["r"].to_numpy().reshape(-1, 3).mean(axis=0), [1e3, 3e3, 1e4], rtol=0.05)
    # Without the spectra the noise is taken from the residual, and weights from the model.
    if weighting == "modulus":
        stored = dataclasses.replace(result[:1], impedance=None)
        assert len(without_edges(stored.peaks())) == 3


@pytest.mark.parametrize("name", METHODS)
def test_a_tail_alone_is_no_peak_and_all_of_it_is_there(name):
    result = drt.invert(noisy(1 + 5 / np.sqrt(S)), METHODS[name])
    rows = result.peaks()
    assert len(without_edges(rows)) == 0
    assert rows["r"].sum() == pytest.approx(result.r_pol[0], rel=1e-9)


def test_edges_are_no_processes():
    z = np.repeat(WALLS["capacitor"][None], 5, axis=0)
    spectra = drt.Spectra(FREQUENCY, noisy(z).impedance, {"voltage": np.linspace(3, 4, 5)})
    rows = drt.invert(spectra, METHODS["LogGaussian"]).peaks()
    assert (rows["kind"] == "edge").sum() == 5
    tracks = drt.track(rows, "voltage")
    assert len(tracks.names) == 2
    assert (tracks.table["kind"] != "edge").all()
    assert len(tracks.unassigned) == 0
    with pytest.raises(drt.InputError, match="got 5 rows of what lies beyond the data"):
        drt.track(rows[rows["kind"] == "edge"], "voltage")


@pytest.mark.real
@pytest.mark.parametrize("name", ["LIB_data.txt", "LIB_data_2.txt", "data_1.csv", "negami_data.txt", "zarc_data.txt"])
@pytest.mark.parametrize("method", METHODS)
def test_no_peak_of_a_published_spectrum_is_larger_than_its_real_part(real_data, name, method):
    text = (real_data / "drttools" / name).read_text().replace(",", " ")
    frequency, re_z, im_z = np.loadtxt(text.splitlines()).T
    result = drt.invert(drt.Spectra(frequency, re_z + 1j * im_z), METHODS[method])
    rows = result.peaks()
    assert rows["r"].sum() == pytest.approx(result.r_pol[0], rel=1e-9)
    assert without_edges(rows)["r"].between(0.0, 1.01 * np.ptp(re_z)).all()
    if name in {"negami_data.txt", "zarc_data.txt"}:
        (peak,) = without_edges(rows).itertuples()
        assert peak.r == pytest.approx(np.ptp(re_z), rel=0.01)


@pytest.mark.real
@pytest.mark.parametrize("capacitance", [False, True])
def test_what_blocks_a_pellet_is_no_part_of_its_arc(real_data, capacitance):
    sweep = drt.read_file(real_data / "solid_state" / "PEIS_LPSCl_IonBlocking_-25C.mpr").finished[0]
    method = drt.LogGaussian(capacitance=capacitance)
    rows = drt.invert(drt.Spectra(sweep.frequency, sweep.impedance[None]), method).peaks()
    arc, beyond = rows.iloc[0], rows.iloc[-1]
    assert arc["kind"] == "maximum"
    assert arc["r"] == pytest.approx(1440, rel=0.05)
    # Megaohms of what blocks it, of which the data show a flank.
    assert beyond["kind"] == "edge"
    assert beyond["r"] > 1e6
