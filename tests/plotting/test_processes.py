"""Figures of tracked processes: what they show against the tables, and that nothing covers anything."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from drt_engine import plotting
from drt_engine.errors import InputError
from drt_engine.plotting.traces import look
from drt_engine.tracking import Known, change, track

from .made import ONE, PROFILE, RESULT, SPECTRA, STATES, VOLTAGES, campaign_of, made
from .test_layout import check_layout, drawn_at_print_size, overlapping


def peaks_of(states):
    """Peaks of the processes that `made` makes, and one that is lost below 3.5 V, all with errors."""
    v, age = states["voltage"].to_numpy(), states["cycle"].to_numpy() / 50
    tau = np.stack([np.full(v.size, 1e-5), 1e-3 * (1 + age), 0.1 * 3 ** (3.5 - v), np.where(v < 3.5, np.nan, 10.0)], 1)
    r = np.stack([np.full(v.size, 5.0), 7 + 6 * age, 6 + 50 * np.exp(-(v - 2.2)), np.full(v.size, 3.0)], axis=1)
    frame = pd.DataFrame({"spectrum": np.repeat(np.arange(v.size), 4), "tau": tau.ravel(), "r": r.ravel()}).dropna()
    return frame.assign(r_error=0.1 * frame["r"], tau_error=0.2 * frame["tau"]).join(states, on="spectrum")


PEAKS = peaks_of(STATES)
TRACKS = track(PEAKS, known=[Known("hidden", (3e-3, 8e-3))])
NAMES = ("P1", "P2", "hidden", "P4", "P5")
FIGURES = {
    "waterfall": lambda: plotting.waterfall(RESULT, rows=ONE, tracks=TRACKS).figure,
    "heat map": lambda: plotting.heat_map(RESULT, rows=ONE, tracks=TRACKS).figure,
    "composite": lambda: plotting.composite(SPECTRA, RESULT, PROFILE, tracks=TRACKS),
    "over voltage": lambda: plotting.processes(TRACKS),
    "over cycle": lambda: plotting.processes(TRACKS, "cycle", at={"cell": "B", "voltage": 3.3}, names=["P2", "P4"]),
    "one": lambda: plotting.processes(TRACKS, names=["P2"], quantities=["r"], colour="cell"),
    "ageing": lambda: plotting.ageing(SPECTRA, RESULT, TRACKS, PROFILE),
    "ageing as map": lambda: plotting.ageing(SPECTRA, RESULT, TRACKS, view="heat map"),
    "ageing of one": lambda: plotting.ageing(SPECTRA, RESULT, TRACKS, at={"cell": "C", "direction": "charge"}),
}


@cache
def drawn(name):
    """A figure, made once."""
    return FIGURES[name]()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_covers_anything_or_is_cut_off(name, monkeypatch):
    figure = drawn(name)
    check_layout(figure, monkeypatch)
    assert figure.get_figheight() < 9.5
    for axes in figure.axes:
        if len(axes.get_yticks()):
            low, high = sorted(axes.get_ylim())
            assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 2, axes.get_ylabel()


def marks(axes, process, tracks=TRACKS):
    """Points of a process: filled and open markers."""
    style = look(tracks, process)
    of = [line for line in axes.get_lines() if line.get_marker() == style["marker"] and line.get_linestyle() == "None"]
    of = [line for line in of if to_rgba(line.get_markeredgecolor()) == to_rgba(style["color"])]
    return [np.column_stack(line.get_data()) for line in of]


def test_markers_stand_on_the_curves_of_a_waterfall():
    axes = plotting.waterfall(RESULT, rows=ONE, scale=0.01, tracks=TRACKS).axes[0]
    for name in ("P1", "P2", "P4", "P5"):
        part = TRACKS.table[(TRACKS.table["process"] == name) & TRACKS.table["spectrum"].isin(ONE)]
        filled, held = marks(axes, name)
        open_ = (part["merged_with"] != "").to_numpy()
        assert (len(filled), len(held)) == ((~open_).sum(), open_.sum())
        drawn = np.concatenate([filled, held])
        for row, tau, v in zip(part["spectrum"], part["tau"], part["voltage"], strict=True):
            expected = v + 0.01 * RESULT.gamma_at([tau])[row, 0]
            assert np.abs(drawn - [tau, expected]).max(axis=1).min() < 1e-9
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["P1", "P2", "P4", "P5", "holds another"]


def test_markers_stand_at_the_states_of_a_heat_map():
    axes = plotting.heat_map(RESULT, "time", rows=ONE, tracks=TRACKS).axes[0]
    hours = np.sort(STATES["time"][ONE]) / 3600
    np.testing.assert_allclose(np.sort(np.concatenate(marks(axes, "P1"))[:, 1]), hours)
    lost = np.concatenate(marks(axes, "P5"))
    assert len(lost) == (VOLTAGES >= 3.5).sum()


def test_a_line_is_broken_where_the_process_is_missing():
    gone = PEAKS["spectrum"].isin(ONE[2:4]) & np.isclose(PEAKS["tau"], 1e-5)
    tracks = track(PEAKS[~gone])
    axes = plotting.heat_map(RESULT, rows=ONE, tracks=tracks).axes[0]
    (line,) = (
        line
        for line in axes.get_lines()
        if line.get_linestyle() == "-" and to_rgba(line.get_color()) == to_rgba(look(tracks, "P1")["color"])
    )
    assert np.isnan(line.get_ydata()).sum() == 1
    assert np.isfinite(line.get_ydata()).sum() == VOLTAGES.size - 2


def test_axes_that_are_given_get_no_legend():
    axes = Figure().add_subplot()
    assert plotting.waterfall(RESULT, rows=ONE, tracks=TRACKS, ax=axes) is axes.figure
    assert not axes.figure.legends
    assert axes.get_legend() is None


@pytest.mark.slow
def test_each_cell_of_the_composite_has_its_own_processes():
    figure = drawn("composite")
    for axes, cell in zip(figure.axes[4:6], "BC", strict=True):
        rows = STATES.index[(STATES["cell"] == cell) & (STATES["cycle"] == 1) & (STATES["direction"] == "discharge")]
        own = TRACKS.table[(TRACKS.table["process"] == "P4") & TRACKS.table["spectrum"].isin(rows)]
        found = np.concatenate(marks(axes, "P4"))
        np.testing.assert_allclose(np.sort(found[:, 0]), np.sort(own["tau"]))


def test_small_multiples_show_the_table():
    figure = plotting.processes(TRACKS, at={"cell": "C", "cycle": 50, "direction": "discharge"})
    shown = ["P1", "P2", "P4", "P5"]
    panels = np.array(figure.axes[:12]).reshape(3, 4)
    assert [axes.get_title() for axes in panels[0]] == shown
    assert [row[0].get_ylabel() for row in panels] == ["$R$ / Ω", r"$\tau$ / s", "$C$ / F"]
    assert {axes.get_xlabel() for axes in panels[-1]} == {"Voltage / V"}
    table = TRACKS.table.query("cell == 'C' and cycle == 50 and direction == 'discharge'")
    for k, name in enumerate(shown):
        own = table[table["process"] == name].sort_values("voltage")
        for axes, quantity in zip(panels[:, k], ("r", "tau", "c"), strict=True):
            line = next(line for line in axes.get_lines() if line.get_linestyle() == "-")
            np.testing.assert_allclose(line.get_data(), own[["voltage", quantity]].to_numpy().T)
        (bars,) = panels[0, k].collections
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, np.stack([0.9 * own["r"], 1.1 * own["r"]], axis=1))
        assert not panels[2, k].collections
    assert panels[1, 0].get_yscale() == "log"


@pytest.mark.slow
def test_cells_of_one_colour_have_markers_of_their_own():
    figure = plotting.processes(TRACKS, at={"direction": "discharge"}, names=["P4"], quantities=["r"])
    axes, (legend,) = figure.axes[0], figure.legends
    keys = dict(zip([text.get_text() for text in legend.get_texts()], legend.legend_handles, strict=True))
    assert list(keys)[:4] == ["Cycle 1", "Cycle 50", "Cell B", "Cell C"]
    for cell in "BC":
        key = keys[f"Cell {cell}"]
        rows = TRACKS.table["process"].eq("P4") & TRACKS.table["direction"].eq("discharge")
        own = TRACKS.table[rows & TRACKS.table["cell"].eq(cell)]
        shown = [line for line in axes.get_lines() if line.get_marker() == key.get_marker()]
        found = np.concatenate([line.get_ydata() for line in shown])
        np.testing.assert_allclose(np.sort(found), np.sort(own["r"]))
    for told in ({"colour": "cell"}, {"at": {"cell": "B"}}):
        figure = plotting.processes(TRACKS, names=["P4"], quantities=["r"], **told)
        assert {line.get_marker() for line in figure.axes[0].get_lines()} <= {"o", "None"}


def test_many_states_get_a_band_and_small_markers():
    cycles = np.arange(100)
    peaks = pd.DataFrame({"spectrum": cycles, "cycle": cycles, "tau": 1e-3, "r": 10.0 + 0.1 * cycles, "r_error": 1.0})
    axes = plotting.processes(track(peaks, "cycle"), quantities=["r"]).figure.axes[0]
    (band,) = axes.collections
    low, high = band.get_paths()[0].get_extents().intervaly
    assert (low, high) == pytest.approx((9.0, 20.9))
    assert max(line.get_markersize() for line in axes.get_lines() if line.get_marker() == "o") == 1.0


@pytest.mark.slow
def test_ticks_are_at_few_states_and_do_not_touch_where_there_are_many(monkeypatch):
    few = plotting.processes(TRACKS, "cycle", names=["P2"], quantities=["r"])
    np.testing.assert_array_equal(few.axes[0].get_xticks(), [1, 50])
    cycles = np.repeat(np.arange(1, 160), 6)
    tau = np.tile(10.0 ** np.arange(-6, 0), 159)
    peaks = pd.DataFrame({"spectrum": cycles - 1, "cycle": cycles, "tau": tau, "r": 1.0 + 0.01 * cycles})
    figure = plotting.processes(track(peaks, "cycle"))
    assert len(figure.axes[0].get_xticks()) >= 2
    renderer, texts = drawn_at_print_size(figure, monkeypatch)
    apart = 0.5 * 7.0 / 72.0 * figure.dpi  # half a letter
    wider = [text.get_window_extent(renderer).padded(0.5 * apart, 0.0) for text in texts]
    over = np.triu(overlapping(wider, wider), 1)
    assert not over.any(), [texts[k] for k in np.flatnonzero(over.any(axis=1))]


def test_courses_are_told_apart_by_everything_but_the_state():
    figure = plotting.processes(TRACKS, "cycle", names=["P2"], quantities=["r"])
    lines = [line for line in figure.axes[0].get_lines() if line.get_linestyle() in ("-", "--")]
    assert len(lines) == 2 * 2 * VOLTAGES.size
    assert {tuple(line.get_xdata()) for line in lines} == {(1.0, 50.0)}
    assert sum(line.get_linestyle() == "--" for line in lines) == 2 * VOLTAGES.size


@pytest.mark.slow
@pytest.mark.recorded
def test_ageing_shows_the_changes_of_both_cells():
    figure = drawn("ageing")
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["Cell B\ncycle 1", "Cell C\ncycle 1", "Cell B\ncycle 50", "Cell C\ncycle 50"]
    resistance, times = (
        next(axes for axes in figure.axes if axes.get_ylabel() == label)
        for label in ("Change of $R$ / %", r"Change of $\tau$ / %")
    )
    expected = change(replace(TRACKS, table=TRACKS.table.query("direction == 'discharge'")))
    for axes, quantity in ((resistance, "r"), (times, "tau")):
        for bars, cell in zip(axes.containers[::2], "BC", strict=True):
            own = expected[expected["cell"] == cell].set_index("process").loc[["P1", "P2", "P4", "P5"], quantity]
            np.testing.assert_allclose([bar.get_height() for bar in bars], own, atol=1e-9)
        assert [text.get_text() for text in axes.get_xticklabels()] == ["P1", "P2", "P4", "P5"]
    grown = 100 * ((7 + 6) / (7 + 6 / 50) - 1)
    assert resistance.containers[0][1].get_height() == pytest.approx(grown)
    assert f"+{round(grown)}" in [text.get_text() for text in resistance.texts]


@pytest.mark.slow
def test_vector_files_keep_text(tmp_path):
    figure = drawn("over cycle")
    assert "Cycle</text>" in plotting.save(figure, tmp_path / "cycle.svg").read_text()
    assert b"/Type3" not in plotting.save(figure, tmp_path / "cycle.pdf").read_bytes()


THREE = made(campaign_of(["one", "two", "three"]))
MISTAKES = {
    "no tracks": (lambda: plotting.waterfall(RESULT, rows=ONE, tracks=PEAKS), "tracks must be of type Tracks; got"),
    "no tracks at all": (lambda: plotting.processes(PEAKS), "Track the peaks first"),
    "no state": (lambda: plotting.processes(TRACKS, "volt"), "state 'volt' is not known; expected one of 'cell'"),
    "a name": (lambda: plotting.processes(TRACKS, "cell"), "one of numbers; 'cell' holds 'B'"),
    "no process": (lambda: plotting.processes(TRACKS, names=["x"]), "process 'x' is not known; expected one of 'P1'"),
    "no quantity": (lambda: plotting.processes(TRACKS, quantities=["z"]), "quantity 'z' is not known"),
    "nothing": (lambda: plotting.processes(TRACKS, at={"cycle": 3}), "an observation to draw; got none"),
    "at volt": (lambda: plotting.processes(TRACKS, at={"volt": 3}), "state 'volt' is not known"),
    "no cycle": (
        lambda: plotting.ageing(*made(STATES.drop(columns="cycle")), TRACKS),
        "column 'cycle' to compare before and after",
    ),
    "one cycle": (
        lambda: plotting.ageing(*made(STATES.assign(cycle=STATES["cycle"].where(STATES["cell"] != "B", 1))), TRACKS),
        "needs two that all its cells have; got 1 of cell B; 1, 50 of cell C.",
    ),
    "three": (
        lambda: plotting.ageing(*THREE, track(peaks_of(THREE[0].states)), at={"cell": ["one", "two", "three"]}),
        "cells must be one to 2",
    ),
    "cycles": (
        lambda: plotting.ageing(SPECTRA, RESULT, TRACKS, cycles=(1,)),
        "the earlier and the later one; got (1,)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    mistake, message = MISTAKES[name]
    with pytest.raises(InputError, match=re.escape(message)):
        mistake()


def test_what_is_not_determined_is_grey_or_hidden_and_counts_for_no_scale():
    table = TRACKS.table.assign(r_error=0.1 * TRACKS.table["r"])
    first = table.index[table["process"] == "P2"][0]
    table.loc[first, ["r", "r_error"]] = 1e4, 9e3
    tracks = replace(TRACKS, table=table)
    panel = {"names": ["P2"], "quantities": ["r"]}
    grey = plotting.processes(tracks, **panel)
    assert "not determined" in [text.get_text() for text in grey.legends[0].get_texts()]
    lines = [line for line in grey.axes[0].get_lines() if 1e4 in line.get_ydata()]
    assert [line.get_markerfacecolor() for line in lines] == ["0.8"]
    assert grey.axes[0].get_ylim()[1] < 1e3
    hidden = plotting.processes(tracks, **panel, undetermined="hide")
    assert not any(1e4 in line.get_ydata() for line in hidden.axes[0].get_lines())
    shown = plotting.processes(tracks, **panel, undetermined="show")
    assert shown.axes[0].get_ylim()[1] > 1e4
    area = plotting.processes(tracks, **panel, undetermined="hide", per_area=2.0)
    assert area.axes[0].get_ylabel() == "$R$ / Ω cm²"
    assert area.axes[0].get_ylim()[1] == pytest.approx(2.0 * hidden.axes[0].get_ylim()[1])
    with pytest.raises(InputError, match="no observation of a process is determined"):
        plotting.processes(replace(TRACKS, table=table.assign(r_error=table["r"])), undetermined="hide")
