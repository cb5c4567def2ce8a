"""The same process has the same name in every cycle, direction and cell; known processes; what users do with tracks."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from drt_engine.errors import InputError
from drt_engine.simulate import CampaignDesign, campaign
from drt_engine.tracking import Known, TrackingOptions, change, track

from .made import VOLTAGE, each_is_one, happened, linked, made


def campaign_of(courses, cells=("B", "C"), cycles=(1, 10, 20, 50, 100), noise=0.03, directions=("discharge",)):
    """Peaks of several series; courses get the cycle as well."""
    parts = []
    for cell in cells:
        for cycle in cycles:
            for direction in directions:
                one = {
                    name: tuple((lambda v, f=f, n=cycle: f(v, n)) if callable(f) else f for f in pair)
                    for name, pair in courses.items()
                }
                seed = len(parts)
                peaks = made(one, VOLTAGE, seed, noise, cell=cell, cycle=cycle, direction=direction)
                parts.append(peaks.assign(spectrum=peaks["spectrum"] + len(parts) * VOLTAGE.size))
    return pd.concat(parts, ignore_index=True)


AGEING = {
    "fast": (1e-6, 10.0),
    "grows": (lambda v, n: 3e-5 * (1 + n / 100) + 0 * v, lambda v, n: 5.0 + 0.4 * n + 0 * v),
    "slow": (lambda v, n: 2.0 * np.exp(v - 2.2), lambda v, n: np.where(v > 4.0, np.nan, 50.0)),
}


def test_names_are_the_same_everywhere():
    peaks = campaign_of(AGEING, directions=("charge", "discharge"))
    tracks = track(peaks)
    each_is_one(tracks, peaks)
    assert tracks.names == ("P1", "P2", "P3")
    assert [linked(tracks)[name] for name in tracks.names] == [{"fast"}, {"grows"}, {"slow"}]
    assert len(happened(tracks, "death")) == 20
    assert (happened(tracks, "death")["voltage"] == VOLTAGE[VOLTAGE > 4.0][0]).all()
    assert tracks.table["confidence"].min() > 0.5


def test_a_process_that_is_seen_in_two_pieces_is_one():
    courses = AGEING | {"hidden": (1e-2, lambda v, n: np.where((v > 2.75) & (v < 4.25), np.nan, 8.0))}
    peaks = campaign_of(courses)
    each_is_one(track(peaks), peaks)


def test_a_process_that_appears_with_age_gets_its_own_name():
    courses = AGEING | {"late": (1e-2, lambda v, n: np.where(n < 20, np.nan, 8.0) + 0 * v)}
    peaks = campaign_of(courses)
    tracks = track(peaks)
    each_is_one(tracks, peaks)
    assert (tracks.table["merged_with"] == "").all()


def test_one_peak_a_series_is_a_process_if_it_comes_back():
    courses = AGEING | {"rare": (2e-3, lambda v, n: np.where(v > 2.25, np.nan, 8.0))}
    peaks = campaign_of(courses)
    tracks = track(peaks)
    each_is_one(tracks, peaks)
    dropped = track(peaks, options=TrackingOptions(min_presence=0.1))
    assert set(dropped.unassigned["true"]) == {"rare"}
    assert len(dropped.unassigned) == 10


def test_along_cycles():
    peaks = campaign_of(AGEING, cycles=range(1, 26, 3))
    tracks = track(peaks, "cycle", ("cell", "direction", "voltage"))
    each_is_one(tracks, peaks)
    assert tracks.series == ("cell", "direction", "voltage")
    assert tracks.along == "cycle"


def test_known_processes_get_their_names():
    peaks = campaign_of(AGEING)
    known = [
        Known("grain boundary", (1e-7, 1e-5)),
        Known("interphase", 6e-5, {"cell": "B", "cycle": 100, "voltage": 3.77}),
        Known("diffusion", 2.0, {"voltage": 2.2}),
    ]
    tracks = track(peaks, known=known)
    assert tracks.names == ("grain boundary", "interphase", "diffusion")
    each_is_one(tracks, peaks)
    assert linked(tracks)["interphase"] == {"grows"}


def test_two_seeds_of_one_name_make_one_process():
    def jumping(v, n):
        return np.where(v < 3.4, 1e-3, 2e-2)

    peaks = made({"jumps": (lambda v: jumping(v, 1), 10.0), "far": (10.0, 50.0)})
    assert len(track(peaks).names) == 3
    seeds = [Known("jumps", 1e-3, {"voltage": 2.5}), Known("jumps", 2e-2, {"voltage": 4.5})]
    tracks = track(peaks, known=seeds)
    each_is_one(tracks, peaks)
    assert "jumps" in tracks.names


def test_a_pinned_process_without_a_peak_is_reported_and_not_invented():
    peaks = campaign_of(AGEING | {"large": (1e-2, 60.0)})
    tracks = track(peaks, known=[Known("anode", (2e-3, 5e-3))])
    assert "anode" in tracks.names
    assert not (tracks.table["process"] == "anode").any()
    assert len(tracks.table) == len(peaks)
    held = tracks.table[tracks.table["true"] == "large"]
    assert (held["merged_with"] == "anode").all()
    assert (tracks.table.loc[tracks.table["true"] != "large", "merged_with"] == "").all()


def test_tables_have_what_is_promised():
    peaks = campaign_of(AGEING).assign(r_error=0.1)
    tracks = track(peaks)
    first = ["process", "cell", "cycle", "direction", "voltage", "spectrum", "tau", "r", "c", "confidence"]
    assert list(tracks.table.columns) == [*first, "merged_with", "true", "r_error"]
    summary = tracks.processes
    assert summary["observations"].sum() == len(peaks)
    np.testing.assert_allclose(summary["presence"], summary["observations"] / 260)
    assert "P1 (260)" in repr(tracks)
    renamed = tracks.rename({"P2": "interphase"})
    assert renamed.names == ("P1", "interphase", "P3")
    kept = tracks.only(["P1", "P3"])
    assert len(kept.table) + len(kept.unassigned) == len(peaks)
    assert kept.names == ("P1", "P3")
    assert kept.only("P1").names == ("P1",)


def test_names_within_mergers_and_events_follow():
    peaks = campaign_of(AGEING | {"large": (1e-2, 60.0)})
    tracks = track(peaks, known=[Known("anode", (2e-3, 5e-3))]).rename({"anode": "Li"})
    assert set(tracks.table["merged_with"]) == {"", "Li"}
    assert set(tracks.only(["P2", "P4"]).table["merged_with"]) == {""}


def test_change_is_the_median_over_states_of_what_was_made():
    tracks = track(campaign_of(AGEING, noise=0.0)).rename({"P2": "grows"})
    table = change(tracks)
    grown = table[table["process"] == "grows"]
    assert grown["cell"].tolist() == ["B", "C"]
    np.testing.assert_allclose(grown["r"], 100 * (45.0 / 5.4 - 1), rtol=1e-6)
    np.testing.assert_allclose(grown["tau"], 100 * (2.0 / 1.01 - 1), rtol=1e-6)
    assert grown["states"].tolist() == [26, 26]
    np.testing.assert_allclose(change(tracks, between=(1, 10)).set_index("process").loc["grows", "r"], 100 * 3.6 / 5.4)
    without = change(tracks.only("P3"), between=(1, 100))
    assert without["states"].tolist() == [19, 19]


def test_change_compares_only_what_holds_the_same():
    tracks = track(campaign_of(AGEING, noise=0.0))
    table = tracks.table.copy()
    late = table["cycle"].eq(100) & table["process"].eq("P2") & table["cell"].eq("B")
    table.loc[late, "merged_with"] = "P1"
    found = change(replace(tracks, table=table)).set_index(["process", "cell"])
    assert found.loc[("P2", "B"), "states"] == 0
    assert np.isnan(found.loc[("P2", "B"), "r"])
    assert found.loc[("P2", "C"), "states"] == 26


def test_the_simulated_campaign_is_followed():
    """True processes with scatter and dropouts; those within a factor 5 have one peak, with the sum of resistances."""
    truth = campaign(CampaignDesign(cycles=(1, 100, 200, 300, 400, 500)))
    rng = np.random.default_rng(4)
    rows = []
    for spectrum, (r, tau) in enumerate(zip(truth.r, truth.tau, strict=True)):
        merged = tau[3] / tau[2] < 5.0
        for p in range(5):
            if rng.random() < 0.03 or (merged and p == 2):
                continue
            more = r[2] if merged and p == 3 else 0.0
            rows.append((spectrum, tau[p], r[p] + more, truth.process_names[p]))
    peaks = pd.DataFrame(rows, columns=["spectrum", "tau", "r", "true"])
    peaks[["tau", "r"]] *= np.exp(0.05 * rng.standard_normal((len(peaks), 2)))
    peaks = peaks.join(truth.spectra.states, on="spectrum")
    tracks = track(peaks, states=truth.spectra.states)
    table = tracks.table
    main = table.groupby("true")["process"].agg(lambda names: names.mode()[0])
    right = (table["process"] == table["true"].map(main)).sum() / len(peaks)
    assert main.nunique() == 5
    assert right > 0.99
    is_merged = (truth.tau[:, 3] / truth.tau[:, 2] < 5.0)[table["spectrum"]]
    holds = table["merged_with"].str.contains(main["anode"]) & (table["true"] == "charge transfer")
    assert holds[(table["true"] == "charge transfer") & is_merged].mean() > 0.9
    assert not table["merged_with"].str.contains(main["grain boundary"]).any()


PEAKS = campaign_of(AGEING, cells=("B",), cycles=(1, 2))
MISTAKES = {
    "no frame": (lambda: track([1, 2]), "peaks must be a DataFrame"),
    "no columns": (lambda: track(PEAKS.drop(columns="r")), "['r'] are missing"),
    "no such state": (lambda: track(PEAKS, "charge"), "state 'charge' is not known"),
    "a name": (lambda: track(PEAKS, "direction"), "along must name a state of numbers; 'direction' holds 'discharge'"),
    "no peak": (lambda: track(PEAKS[:0]), "at least one row"),
    "no resistance": (lambda: track(PEAKS.assign(r=0.0)), "r of peaks must be positive and finite, in ohm; got"),
    "twice": (
        lambda: track(PEAKS, series=("cell",)),
        "each value of 'voltage' must occur once in a series; 2.2 occurs",
    ),
    "no states": (lambda: track(PEAKS, states=pd.DataFrame({"cell": ["B"]})), "state 'voltage' is not known"),
    "few states": (lambda: track(PEAKS, states=PEAKS[["cell", "cycle", "voltage", "direction"]][:3]), "there are 3"),
    "missing": (lambda: track(PEAKS.assign(cell=None)), "must have values in every spectrum; missing in 52"),
    "options": (lambda: track(PEAKS, options=3), "options must be TrackingOptions; got int"),
    "known": (lambda: track(PEAKS, known=["anode"]), "known must hold Known processes; got 'anode'"),
    "gap": (lambda: TrackingOptions(max_gap=-1), "max_gap must be a whole number, at least 0; got -1"),
    "presence": (lambda: TrackingOptions(min_presence=2.0), "between 0 and 1; got 2.0"),
    "resolution": (lambda: TrackingOptions(resolution=0.5), "at least 1; got 0.5"),
    "nameless": (lambda: Known("", 1.0), "name of a Known process"),
    "turned": (lambda: Known("a", (2.0, 1.0)), "a range (low, high); got (2.0, 1.0)"),
    "range at": (lambda: Known("a", (1.0, 2.0), {"cycle": 1}), "a range of tau holds for all states"),
    "nowhere": (lambda: track(PEAKS, known=[Known("a", 1e-3)]), "a factor 3 of tau = 0.001 s"),
    "same": (
        lambda: track(PEAKS, known=[Known("a", 1e-6), Known("b", 1.1e-6)]),
        "'a' and 'b' are Known with peaks of the same process",
    ),
    "at volt": (lambda: track(PEAKS, known=[Known("a", 1e-6, {"volt": 3})]), "state 'volt' is not known"),
    "rename": (lambda: track(PEAKS).rename({"P9": "a"}), "process 'P9' is not known; expected one of 'P1'"),
    "same name": (lambda: track(PEAKS).rename({"P1": "P2"}), "must be distinct"),
    "only": (lambda: track(PEAKS).only(["P9"]), "process 'P9' is not known"),
    "change": (lambda: change(track(PEAKS), "voltage"), "state 'voltage' is not known"),
    "between": (lambda: change(track(PEAKS), between=(1, 7)), "values of 'cycle' that occur; got 7"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    mistake, message = MISTAKES[name]
    with pytest.raises(InputError, match=re.escape(message)):
        mistake()
