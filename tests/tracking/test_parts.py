"""Parts with standard errors: a simulated campaign followed, what errors are for, and what is no process."""

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.simulate import CampaignDesign, campaign
from drt_engine.tracking import Known, TrackingOptions, track

from .made import VOLTAGE, linked, made
from .test_series import AGEING, campaign_of

SERIES = ("cell", "cycle", "direction")


@pytest.fixture(scope="module")
def followed():
    """Truth and tracks of a campaign whose spectra were taken apart, by default settings and nothing known."""
    truth = campaign(CampaignDesign(cycles=(1, 50, 150, 300, 500), voltages=16, seed=42))
    result = drt.invert(truth.spectra, drt.Tikhonov(shared="cell"))
    parts = result.deconvolve(truth.spectra, series=SERIES, along="voltage").elements
    return truth, track(parts[parts["r"] > 0.0], states=truth.spectra.states)


def by_process(truth, tracks):
    """τ, R and the merged names of each process at each spectrum, tracks in the order of τ beside the true ones."""
    table = tracks.table
    code = table["process"].cat.codes.to_numpy()
    tau, r = (np.full(truth.tau.shape, np.nan) for _ in range(2))
    tau[table["spectrum"], code], r[table["spectrum"], code] = table["tau"], table["r"]
    return np.log(tau / truth.tau), np.log(r / truth.r)


def test_each_process_of_the_campaign_is_one_track(followed):
    truth, tracks = followed
    assert len(tracks.names) == len(truth.process_names)
    assert len(tracks.unassigned) < 0.02 * (len(tracks.table) + len(tracks.unassigned))


def test_what_is_apart_is_found_and_linked_and_right(followed):
    truth, tracks = followed
    off_tau, off_r = by_process(truth, tracks)
    y = np.log(truth.tau)
    apart = (np.abs(y[:, :, None] - y[:, None, :]) + np.where(np.eye(5), np.inf, 0.0)).min(axis=2) > np.log(5.0)
    right = (np.abs(off_tau) < np.log(2.5)) & (np.abs(off_r) < np.log(2.0))
    assert right[apart].mean() >= 0.95
    for process in range(5):
        assert right[:, process][apart[:, process]].mean() >= 0.9, truth.process_names[process]
    assert np.median(np.abs(off_r[apart & right])) < 0.05
    assert np.median(np.abs(off_tau[apart & right])) < 0.10


def test_what_is_merged_is_reported_as_merged(followed):
    truth, tracks = followed
    names = dict(zip(truth.process_names, tracks.names, strict=True))
    table = tracks.table
    charge_transfer = table[table["process"] == names["charge transfer"]]
    alone = ~charge_transfer["spectrum"].isin(table.loc[table["process"] == names["anode"], "spectrum"])
    assert alone.sum() > 20
    assert (charge_transfer["merged_with"][alone] == names["anode"]).mean() > 0.95
    assert (charge_transfer["merged_with"][~alone] == "").all()
    others = table[table["process"].isin([names["grain boundary"], names["interphase"]])]
    assert (others["merged_with"] == "").all()


def test_what_is_not_determined_does_not_break_a_track():
    """Every third peak scatters by a factor of three and says so, beside another process that is well known."""
    rng = np.random.default_rng(2)
    peaks = made({"vague": (1e-3, 10.0), "other": (1.2e-2, 14.0)}, noise=0.02).assign(tau_error=0.0, r_error=0.0)
    peaks[["tau_error", "r_error"]] = 0.02 * peaks[["tau", "r"]].to_numpy()
    wild = (peaks["true"] == "vague") & (peaks["spectrum"] % 3 == 1)
    peaks.loc[wild, ["tau", "r"]] *= np.exp(rng.choice([-1.1, 1.1], (int(wild.sum()), 2)))
    without = track(peaks.drop(columns=["tau_error", "r_error"]))
    peaks.loc[wild, ["tau_error", "r_error"]] = 0.9 * peaks.loc[wild, ["tau", "r"]].to_numpy()
    tracks = track(peaks)
    assert {frozenset(true) for true in linked(tracks).values()} == {frozenset({"vague"}), frozenset({"other"})}
    assert len(tracks.table) == len(peaks)
    assert len(without.unassigned) > 0


def test_errors_that_are_missing_are_large_ones():
    peaks = made({"a": (1e-3, 10.0), "b": (1.0, 14.0)}).assign(tau_error=lambda t: 0.03 * t["tau"])
    peaks.loc[::5, "tau_error"] = np.nan
    assert len(track(peaks).table) == len(peaks)
    none = peaks.assign(tau_error=np.nan)
    pd.testing.assert_frame_equal(
        track(none).table.drop(columns="tau_error"), track(peaks.drop(columns="tau_error")).table
    )


def test_what_comes_and_goes_is_no_process():
    """Artefacts at nearly one place, in a tenth of all spectra by chance."""
    rng = np.random.default_rng(9)
    peaks = campaign_of(AGEING, directions=("charge", "discharge"))
    spectra = peaks.drop_duplicates("spectrum")
    strays = spectra[rng.random(len(spectra)) < 0.1].assign(true="stray")
    off = np.exp(0.2 * rng.standard_normal((2, len(strays))))
    strays = strays.assign(tau=1e-3 * off[0], r=4.0 * off[1])
    both = pd.concat([peaks, strays], ignore_index=True)
    tracks = track(both)
    assert len(tracks.names) == 3
    assert set(tracks.unassigned["true"]) == {"stray"}
    loose = track(both, options=TrackingOptions(persistence=0.0, min_length=1))
    assert len(loose.names) > 3
    pinned = track(both, known=[Known("faint", (3e-4, 3e-3))])
    assert linked(pinned)["faint"] == {"stray"}


def test_what_goes_astray_in_one_series_is_no_process_of_its_own():
    """In some series the two peaks become one in between, with the resistance of both, and come apart again."""
    low, high = (1.5e-3, 10.0), (8e-3, 30.0)
    parts = []
    for k, cycle in enumerate((1, 10, 20, 50, 100, 200, 300, 400)):
        one = (VOLTAGE > 2.7) & (VOLTAGE < 4.1) if k % 2 else np.zeros(VOLTAGE.size, dtype=bool)
        peaks = made(
            {
                "low": (low[0], np.where(one, np.nan, low[1])),
                "high": (np.where(one, 6e-3, high[0]), np.where(one, 40.0, high[1])),
                "far": (1.0, 50.0),
            },
            seed=k,
            cell="B",
            cycle=cycle,
        )
        parts.append(peaks.assign(spectrum=peaks["spectrum"] + k * VOLTAGE.size))
    tracks = track(pd.concat(parts, ignore_index=True))
    assert list(linked(tracks).values()) == [{"low"}, {"high"}, {"far"}]
    assert len(tracks.unassigned) == 0
    high_ones = tracks.table[tracks.table["process"] == "P2"]
    assert (high_ones["merged_with"] == "P1").sum() == 4 * int(((VOLTAGE > 2.7) & (VOLTAGE < 4.1)).sum())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True])
def test_persistence_is_a_share(share):
    with pytest.raises(InputError, match="persistence must be a share between 0 and 1; got"):
        TrackingOptions(persistence=share)


def test_peaks_that_no_series_repeats_are_left_over():
    peaks = pd.DataFrame(
        {
            "spectrum": range(5),
            "tau": [0.018, 1.1e-3, 9e-4, 9e-4, 1e-3],
            "r": [52.0, 4.7e9, 5.2e9, 5.1e9, 5.7e9],
            "voltage": [3.0, 3.25, 3.5, 3.75, 4.0],
            "cell": [*"AABBA"],
            "cycle": [1, 1, 1, 2, 2],
        }
    )
    tracks = track(peaks)
    assert len(tracks.names) == 0
    assert len(tracks.unassigned) == 5
