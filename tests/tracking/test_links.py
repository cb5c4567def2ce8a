"""Links within one series: crossing, gap, merger and split, each with the links and events that are expected."""

import numpy as np
import pandas as pd
import pytest

from drt_engine.tracking import TrackingOptions, track

from .made import VOLTAGE, each_is_one, happened, linked, made, steady

SEEDS = range(8)


def rising(v):
    return 1e-4 * np.exp(3.0 * (v - 2.2))


def falling(v):
    return 0.1 * np.exp(-3.0 * (v - 2.2))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("r", [20.0, 40.0])
def test_two_time_constants_cross(seed, r):
    peaks = made({"up": (rising, 20.0), "down": (falling, r), "other": (1e-6, 5.0)}, seed=seed)
    tracks = track(peaks)
    each_is_one(tracks, peaks)
    crossing = happened(tracks, "crossing")
    assert len(crossing) == 1
    ((at, until),) = crossing[["voltage", "until"]].to_numpy()
    assert at <= 2.2 + np.log(1e3) / 6.0 <= until
    assert until - at < 0.45
    assert set(tracks.events["event"]) == {"crossing"}


@pytest.mark.parametrize("seed", SEEDS)
def test_processes_cross_while_one_peak_holds_both(seed):
    near = np.abs(np.log(rising(VOLTAGE) / falling(VOLTAGE))) < 1.0
    both = np.where(near, 60.0, 40.0)
    peaks = made({"up": (rising, np.where(near, np.nan, 20.0)), "down": (falling, both)}, seed=seed)
    tracks = track(peaks)
    each_is_one(tracks, peaks)
    up, down = (tracks.table.loc[tracks.table["true"] == name] for name in ("up", "down"))
    held = np.isin(down["voltage"], VOLTAGE[near])
    assert (down["merged_with"][held] == up["process"].iloc[0]).all()
    assert (down["merged_with"][~held] == "").all()
    (merge,), (split,) = (happened(tracks, kind)[["voltage", "process"]].to_numpy() for kind in ("merge", "split"))
    assert (merge[0], split[0]) == (VOLTAGE[near][0], VOLTAGE[np.flatnonzero(near)[-1] + 1])
    assert len(happened(tracks, "crossing")) == 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [1, 3])
def test_a_gap_is_bridged(seed, missing):
    tau = np.where((np.arange(26) >= 11) & (np.arange(26) < 11 + missing), np.nan, 1e-3 * np.exp(VOLTAGE))
    peaks = made({"gap": (tau, 10.0), "far": (1e-6, 30.0), "slow": (10.0, 30.0)}, seed=seed)
    tracks = track(peaks)
    each_is_one(tracks, peaks)
    assert tracks.events["event"].tolist() == ["gap"]
    row = tracks.events.iloc[0]
    assert (row["voltage"], row["until"]) == (VOLTAGE[11], VOLTAGE[10 + missing])
    assert (tracks.table["merged_with"] == "").all()


def test_a_gap_that_is_too_long_is_not_bridged_within_a_series():
    tau = np.where((np.arange(26) >= 9) & (np.arange(26) < 12), np.nan, 1e-3)
    peaks = made({"gap": (tau, 10.0), "far": (1e-6, 30.0)})
    short = track(peaks, options=TrackingOptions(max_gap=2))
    after = short.table[(short.table["true"] == "gap") & (short.table["voltage"] == VOLTAGE[12])]
    bridged = track(peaks, options=TrackingOptions(max_gap=3))
    same = bridged.table[(bridged.table["true"] == "gap") & (bridged.table["voltage"] == VOLTAGE[12])]
    assert linked(bridged) == linked(short)
    # both find one process, the one by a link and the other by the likeness of its two pieces
    assert same["confidence"].item() < 1.0
    assert after["confidence"].item() != same["confidence"].item()


def apart(v):
    """Two processes within one peak up to 3.4 V."""
    return np.clip(v - 3.4, 0.0, None)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("turned", [False, True])
def test_a_peak_splits_or_two_merge(seed, turned):
    where = VOLTAGE[::-1] if turned else VOLTAGE
    one = where < 3.45
    large = (2e-3 * np.exp(1.5 * apart(where)), np.where(one, 50.0, 30.0))
    small = (np.where(one, np.nan, 2e-3 * np.exp(-1.5 * apart(where) - 1.0)), 20.0)
    peaks = made({"large": large, "small": small, "far": (1e-6, 10.0)}, seed=seed)
    tracks = track(peaks)
    each_is_one(tracks, peaks)
    table = tracks.table
    small_name = table.loc[table["true"] == "small", "process"].iloc[0]
    large_name = table.loc[table["true"] == "large", "process"].iloc[0]
    holds = table[table["merged_with"] != ""]
    assert set(holds["process"]) == {large_name}
    assert set(holds["merged_with"]) == {small_name}
    assert sorted(holds["voltage"]) == sorted(VOLTAGE[one])
    (event,) = tracks.events[["event", "process", "other", "voltage"]].to_numpy().tolist()
    kind, at = ("merge", VOLTAGE[one][0]) if turned else ("split", VOLTAGE[~one][0])
    assert event == [kind, small_name, large_name, at]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_that_ends_beside_a_steady_one_is_dead_and_not_merged(seed):
    tau = np.where(VOLTAGE > 3.4, np.nan, 3e-4)
    peaks = made({"dies": (tau, 20.0), "stays": (1e-3, 30.0), "far": (1.0, 20.0)}, seed=seed)
    tracks = track(peaks)
    each_is_one(tracks, peaks)
    assert tracks.events["event"].tolist() == ["death"]
    assert (tracks.table["merged_with"] == "").all()


def test_birth_is_told_with_its_place():
    tau = np.where(VOLTAGE < 3.4, np.nan, 1e-3)
    tracks = track(made({"new": (tau, 20.0), "far": (10.0, 20.0)}))
    (event,) = tracks.events[["event", "process", "other", "voltage", "spectrum"]].to_numpy().tolist()
    assert event == ["birth", "P1", "", VOLTAGE[12], 12]


def test_stray_peaks_belong_to_nothing():
    peaks = made({"a": (1e-3, 20.0), "b": (1.0, 20.0)})
    strays = peaks.iloc[:2].assign(tau=[1e-6, 3e-2], r=[1.0, 100.0], true="stray")
    tracks = track(pd.concat([peaks, strays], ignore_index=True))
    assert set(tracks.unassigned["true"]) == {"stray"}
    assert set(tracks.table["true"]) == {"a", "b"}


def test_confidence_is_low_where_links_are_ambiguous():
    """Two processes that are the same in everything from 3.4 to 3.6 V may have been swapped there."""
    inside = (VOLTAGE > 3.4) & (VOLTAGE < 3.65)

    def bend(sign):
        return lambda v: 1e-3 * np.exp(sign * 6.0 * np.clip(np.abs(v - 3.5) - 0.15, 0.0, None))

    tracks = track(made({"low": (bend(-1), 20.0), "high": (bend(1), 20.0)}, noise=0.05))
    confidence = tracks.table.groupby("voltage")["confidence"].min()
    assert confidence[inside].min() < 0.75
    assert confidence[VOLTAGE < 3.0].min() > 0.95
    assert tracks.table["confidence"].between(0.0, 1.0).all()


def test_order_and_place_of_rows_change_nothing():
    peaks = made({"up": (rising, 20.0), "down": (falling, 40.0)}).assign(c_error=1.0)
    one, other = (track(p).table for p in (peaks, peaks.sample(frac=1.0, random_state=5).set_index("tau", drop=False)))
    np.testing.assert_array_equal(one[["tau", "r", "confidence"]], other[["tau", "r", "confidence"]])
    assert one["c"].to_numpy() == pytest.approx((one["tau"] / one["r"]).to_numpy())
    assert "c_error" in one.columns


@pytest.mark.parametrize(("ohm", "second"), [(1e-6, 1.0), (1e6, 1e3)])
def test_units_change_nothing(ohm, second):
    peaks = made({"up": (rising, 20.0), "down": (falling, 40.0), "x": (np.where(VOLTAGE < 3, np.nan, 1.0), 3.0)})
    one = track(peaks)
    other = track(peaks.assign(tau=peaks["tau"] * second, r=peaks["r"] * ohm, voltage=1e3 * peaks["voltage"]))
    assert one.table["process"].tolist() == other.table["process"].tolist()
    np.testing.assert_allclose(one.table["confidence"], other.table["confidence"], atol=1e-6)
    assert one.events["event"].tolist() == other.events["event"].tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_states_need_not_be_evenly_spaced(seed):
    where = np.sort(np.random.default_rng(seed).uniform(2.2, 4.7, 26))
    where[[0, -1]] = 2.2, 4.7
    peaks = made({"up": (rising, 20.0), "down": (falling, 40.0)}, where, seed)
    each_is_one(track(peaks), peaks)


def test_states_without_any_peak_count_as_a_gap():
    peaks = made(steady())
    peaks = peaks[~peaks["spectrum"].isin([10, 11])]
    states = pd.DataFrame({"voltage": VOLTAGE})
    assert track(peaks).events.empty
    (event,) = track(peaks, states=states).events[["event", "voltage", "until"]].to_numpy().tolist()
    assert event == ["gap", VOLTAGE[10], VOLTAGE[11]]


def test_one_spectrum_alone():
    peaks = made({"a": (1e-3, 20.0), "b": (1.0, 20.0)}, VOLTAGE[:1])
    tracks = track(peaks, options=TrackingOptions(min_length=1))
    assert tracks.names == ("P1", "P2")
    assert len(tracks.table) == 2
    assert track(peaks).table.empty
