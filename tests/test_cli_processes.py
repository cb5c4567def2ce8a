"""Processes on the command line: followed, stored, exported and drawn."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.hdf5 import digest, read_tracks, write_tracks

CHARGE = "direction == 'charge'"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments):
    outcome = run(*arguments)
    assert outcome.exit_code == 0, f"{outcome.output}\n{outcome.exception!r}"
    return outcome.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A campaign, its inversion, its processes at charge and their tables."""
    folder = tmp_path_factory.mktemp("processes")
    simulated = drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=(1, 500), voltages=8))
    drt.write_spectra(folder / "campaign.h5", simulated.spectra)
    simulated.profile.to_csv(folder / "profile.csv", index=False)
    drt.write_inversion(folder / "campaign.drt.h5", drt.invert(simulated.spectra, drt.Tikhonov(shared="cell")))
    options = ("--along", "voltage", "--where", CHARGE, "--known", "boundary=1e-7:2e-5", "-o", folder / "peaks.csv")
    files = ("--store", folder / "p.h5", "--tracks", folder / "t.csv", "--tables", folder / "by series")
    printed = done("peaks", folder / "campaign.drt.h5", *options, *files)
    assert "processes: boundary, P2" in printed
    for name in ("p.h5", "t.csv", "by series"):
        assert name in printed.replace("\n", "")
    return folder


def test_spectra_have_the_numbers_of_the_file(folder):
    states = drt.read_inversion(folder / "campaign.drt.h5").states
    stored = read_tracks(folder / "p.h5")
    tables = [stored.table, pd.read_csv(folder / "t.csv"), pd.read_csv(folder / "peaks.csv"), stored.events]
    for table in tables:
        own = states.iloc[table["spectrum"]]
        assert (own["direction"] == "charge").all()
        for name in ("cell", "cycle", "voltage"):
            assert own[name].tolist() == pytest.approx(table[name].tolist()), name
    assert stored.spectra == (states["direction"] == "charge").sum()
    columns = [name for name in stored.table if name not in ("process", "merged_with")]
    pd.testing.assert_frame_equal(stored.table[columns], tables[1][columns], check_dtype=False)
    assert stored.table["process"].tolist() == tables[1]["process"].tolist()


def test_each_series_has_a_table_of_its_own(folder):
    stored = read_tracks(folder / "p.h5").table
    found = {path.stem: pd.read_csv(path) for path in sorted((folder / "by series").iterdir())}
    assert list(found) == [f"cell-{cell}_cycle-{cycle}_direction-charge" for cell in "BC" for cycle in (1, 500)]
    for (cell, cycle), part in stored.groupby(["cell", "cycle"]):
        wide = found[f"cell-{cell}_cycle-{cycle}_direction-charge"]
        assert list(wide.columns[:4]) == ["voltage", "spectrum", "boundary r", "boundary r_error"]
        assert wide["voltage"].is_monotonic_increasing
        for name, own in part.groupby("process", observed=True):
            for value in ("r", "tau", "c", "tau_error"):
                there = wide.set_index("voltage")[f"{name} {value}"].dropna()
                expected = own.set_index("voltage")[value].dropna().sort_index()
                np.testing.assert_allclose(there, expected, rtol=1e-12)
                np.testing.assert_allclose(there.index, expected.index, rtol=1e-12)


def test_the_number_of_parts_can_be_given(folder, tmp_path):
    some = ("--where", f"cell == 'C' and cycle == 1 and {CHARGE}", "--spectra", folder / "campaign.h5")
    done("peaks", folder / "campaign.drt.h5", *some, "--elements", "3", "--capacitance", "-o", tmp_path / "parts.csv")
    parts = pd.read_csv(tmp_path / "parts.csv")
    assert set(parts.groupby("spectrum").size()) == {3}
    assert parts["r_error"].notna().any()


def test_info_tells_of_processes(folder):
    printed = done("info", folder / "p.h5")
    assert "processes/default" in printed
    assert "boundary, P2" in printed
    told = json.loads(done("info", folder / "p.h5", "--json"))
    assert told["spectra"] == told["inversions"] == []
    (table,) = told["processes"]
    assert table["along"] == "voltage"
    assert table["observations"] == len(read_tracks(folder / "p.h5").table)
    assert (table["source"], table["input_digest"]) == ("campaign.drt.h5", digest(folder / "campaign.drt.h5"))


DRAWN = {
    "processes": ("p.h5", "--kind", "processes", "--where", "cycle == 1"),
    "processes beside": ("campaign.drt.h5", "--kind", "processes", "--tracks", "TRACKS", "--state", "cycle"),
    "waterfall": ("campaign.drt.h5", "--tracks", "TRACKS", "--where", f"cell == 'C' and cycle == 500 and {CHARGE}"),
    "map": (
        *("campaign.drt.h5", "--kind", "heat-map", "--tracks", "TRACKS"),
        *("--where", f"cell == 'B' and cycle == 1 and {CHARGE}"),
    ),
    "composite": (
        *("campaign.drt.h5", "--kind", "composite", "--spectra", "SPECTRA", "--tracks", "TRACKS"),
        *("--where", CHARGE, "--view", "heat-map", "--profile", "PROFILE"),
    ),
    "ageing": (
        *("campaign.drt.h5", "--kind", "ageing", "--spectra", "SPECTRA", "--tracks", "TRACKS"),
        *("--where", CHARGE, "--cycles", "1,500"),
    ),
}
NAMES = {"TRACKS": "p.h5", "SPECTRA": "campaign.h5", "PROFILE": "profile.csv"}


def filled(folder, arguments):
    first, *rest = arguments
    return (folder / first, *(folder / NAMES[part] if part in NAMES else part for part in rest))


@pytest.mark.recorded
@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_of_processes_is_drawn(folder, tmp_path, name):
    figure = tmp_path / "figure.svg"
    printed = done("plot", *filled(folder, DRAWN[name]), "-o", figure)
    assert re.search(r"\d+ (spectra|observations) drawn", printed)
    text = figure.read_text(encoding="utf-8")
    assert ">boundary</text>" in text
    assert ">P2</text>" in text


WRONG = {
    "no state": (("peaks", "campaign.drt.h5", "--store", "x.h5"), "--store, --tracks, .* Name it: --along voltage"),
    "a known one": (("peaks", "campaign.drt.h5", "--known", "P=1"), "--known must be NAME=LOW:HIGH .* got 'P=1'"),
    "stored before": (
        ("peaks", "campaign.drt.h5", "--along", "voltage", "--store", "TRACKS"),
        "exists already",
    ),
    "no course": (
        ("plot", "campaign.drt.h5", "--kind", "ageing", "--state", "spectrum"),
        "a state that processes are followed along",
    ),
    "shows none": (("plot", "campaign.drt.h5", "--kind", "bode", "--tracks", "TRACKS"), "shows no processes"),
    "cycles": (
        ("plot", "campaign.drt.h5", "--kind", "ageing", "--spectra", "SPECTRA", "--tracks", "TRACKS", "--cycles", "1"),
        "--cycles must be .* got '1'",
    ),
    "another table": (("plot", "p.h5", "--kind", "processes", "--table", "x"), "'x' is not known"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_explained(folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (command, *arguments), message = WRONG[name]
    outcome = run(command, *filled(folder, arguments), "-o", "figure.png")
    assert isinstance(outcome.exception, drt.DRTError)
    with pytest.raises(drt.DRTError, match=message):
        raise outcome.exception
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_processes_of_another_inversion_are_refused(folder, tmp_path):
    other = tmp_path / "other.drt.h5"
    result = drt.read_inversion(folder / "campaign.drt.h5")
    drt.write_inversion(other, result)
    outcome = run("plot", other, "--tracks", folder / "p.h5", "--where", f"cycle == 1 and cell == 'B' and {CHARGE}")
    with pytest.raises(drt.InputError, match="were followed in another file"):
        raise outcome.exception
    # without a source nobody can tell
    write_tracks(tmp_path / "free.h5", read_tracks(folder / "p.h5"))
    some = ("--where", f"cycle == 1 and cell == 'B' and {CHARGE}", "-o", tmp_path / "a.png")
    done("plot", other, "--tracks", tmp_path / "free.h5", *some)


@pytest.mark.slow
def test_a_figure_is_as_a_journal_asks_for_it(folder, tmp_path):
    file, measured = folder / "campaign.drt.h5", folder / "campaign.h5"
    where = "cell == 'C' and cycle == 1 and direction == 'discharge'"
    options = ("--area", 1.13, "--tau", "1e-6,", "--gamma", ",80", "--size", "3.3,2.5", "--font-size", 7, "--dpi", 100)
    done = run("plot", file, "--where", where, "-o", tmp_path / "a.png", *options)
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (330, 250)
    done = run(
        *("plot", file, "--kind", "composite", "--spectra", measured, "-o", tmp_path / "b.svg", "--per-area"),
        *("--cells", "C,B", "--cell-names", "C=coated,B=bare"),
    )
    assert done.exit_code == 0, done.output
    text = (tmp_path / "b.svg").read_text()
    assert text.index(">coated<") < text.index(">bare<")
    assert "Ω cm²" in text
    for option, value, message in (
        ("--tau", "1e-6", "--tau must be the lowest and the highest value"),
        ("--size", "1,2,3", "--size must be a width, or width and height"),
        ("--cell-names", "B", "--cell-names must be CELL=NAME"),
    ):
        done = run("plot", file, "-o", tmp_path / "c.png", option, value)
        assert message in str(done.exception)


@pytest.mark.slow
def test_plot_draws_over_a_state_that_the_file_has(tmp_path):
    f = np.geomspace(1e4, 1, 21)
    z = np.array([1 + k / (1 + 2j * np.pi * f * 1e-2) for k in (1, 2, 3)])
    drt.write_spectra(tmp_path / "s.h5", drt.Spectra(f, z, {"source": ["a", "b", "c"], "batch": [3, 1, 2]}))
    drt.invert_file(tmp_path / "s.h5", tmp_path / "s.drt.h5", method=drt.Tikhonov(regularisation=1e-3))
    done = run("plot", tmp_path / "s.drt.h5", "-o", tmp_path / "s.svg")
    assert done.exit_code == 0, done.output
    assert ">batch<" in (tmp_path / "s.svg").read_text()


def test_a_grid_without_a_peak_may_have_other_states(tmp_path):
    frequency = np.logspace(4, 0, 31)
    z = np.stack([np.full(31, np.nan), 5 + 30 / (2j * np.pi * frequency) ** 0.5])
    voltage = {"voltage": [3.0]}
    grids = {
        "a": drt.Spectra(frequency, z[:1], voltage | {"cell": ["A"]}),
        "b": drt.Spectra(frequency + 1, z[1:], voltage),
    }
    drt.write_spectra(tmp_path / "c.h5", grids)
    drt.invert_file(tmp_path / "c.h5", tmp_path / "r.h5", method=drt.Tikhonov())
    done("peaks", tmp_path / "r.h5", "-o", tmp_path / "p.csv", "--along", "voltage", "--store", tmp_path / "t.h5")
    assert len(read_tracks(tmp_path / "t.h5").names) == 0
