"""What the explorer shows, without a browser."""

import ast
import html
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run
from threading import Event

import h5py
import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.cli.explore import _served
from drt_engine.explore.drawing import validity_image
from drt_engine.explore.exporting import FIGURES, View, drawn, numbers, python_lines
from drt_engine.explore.figures import Views
from drt_engine.explore.importing import Imported, Told
from drt_engine.explore.page import Explorer
from drt_engine.explore.session import MOST_OF_LINE, Session
from drt_engine.explore.source import Series, Source, campaigns_in, related_files
from drt_engine.simulate import CampaignDesign, campaign


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign")
    made = campaign(CampaignDesign(cycles=(1, 500), voltages=4, frequencies=31))
    drt.write_spectra(folder / "x.h5", made.spectra)
    drt.invert_file(folder / "x.h5", folder / "x.drt.h5", method=drt.Tikhonov())
    return folder


@pytest.fixture
def session(folder):
    return Session(Source(related_files(folder / "x.h5")))


def test_an_old_panel_is_told(monkeypatch):
    monkeypatch.setattr("panel.__version__", "1.8.10")
    with pytest.raises(drt.InputError, match=r"Panel 1\.9 or newer, and here is 1\.8\.10: pip install"):
        _served(None, None, None, None, 0)


def test_files_that_belong_together_are_found(folder, tmp_path):
    for name in ("x.h5", "x.drt.h5"):
        files = related_files(folder / name)
        assert (files.spectra, files.results) == (folder / "x.h5", folder / "x.drt.h5")
    assert campaigns_in(folder) == [folder / "x.drt.h5"]
    assert campaigns_in(tmp_path) == []


def test_what_was_measured_is_shown_before_what_inverts_is_loaded(folder):
    page = """
import sys
from pathlib import Path
from drt_engine.explore.page import Explorer
from drt_engine.explore.session import Session
from drt_engine.explore.source import Source, related_files
source = Source(related_files(Path(sys.argv[1])))
explorer = Explorer(source, session=Session(source, True))
explorer.panel()
print(len(explorer.views._sources["points"].data["x"]), len(explorer.views._sources["gammas"].data["x"]))
print(explorer.message.object, explorer._heading.object)
print(sorted({"numba", "drt_engine.result", "drt_engine.methods"} & {*sys.modules}))
"""
    command = [sys.executable, "-W", "error", "-c", page, str(folder / "x.drt.h5")]
    counts, said, loaded = run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert (counts, loaded) == ("31 0", "[]")
    assert "Reading the solutions …" in said
    assert "Tikhonov" in said


def test_solutions_come_after_what_was_measured(folder, session):
    begun = Session(Source(related_files(folder / "x.h5")), measured=True)
    explorer = Explorer(begun.source, session=begun)
    for row in range(len(begun.source)):
        assert begun.one(row).result is None
        assert np.array_equal(begun.one(row).spectra.impedance, session.one(row).spectra.impedance)
        assert begun.one(row).spectra.states.equals(begun.source.states.iloc[[row]].reset_index(drop=True))
    explorer._read_solutions()
    explorer.background._newest["solutions"].result(30)
    assert begun.one(0).result.intervals is not None
    explorer.show()
    drawn = explorer.views._sources
    assert np.array_equal(drawn["gammas"].data["y"][0], session.one(0).result.gamma[0])
    assert drawn["map a"].data["image"]
    assert not explorer.message.object


def test_the_nearest_spectrum_keeps_what_is_not_changed(session):
    states = session.source.states
    row = session.nearest(2, "cycle", 500)
    assert states.loc[row, ["cell", "cycle", "direction", "voltage"]].tolist() == [
        *states.loc[2, ["cell"]],
        500,
        *states.loc[2, ["direction", "voltage"]],
    ]
    assert session.nearest(0, "voltage", 3.0) == 1
    with pytest.raises(drt.InputError, match="no spectrum has cycle = 7"):
        session.nearest(0, "cycle", 7)


def test_a_change_without_a_common_posterior_adds_variances(session):
    session.choose(3)
    session.choose(0, "b")
    found = session.difference()
    one, other = (session.one(row).result for row in (3, 0))
    assert np.array_equal(found.gamma, other.gamma[0] - one.gamma[0])
    down = np.hypot(other.r_pol[0] - other.intervals.r_pol_low[0], one.intervals.r_pol_high[0] - one.r_pol[0])
    assert found.r_pol_low == pytest.approx(found.r_pol - down)
    assert found.r_pol_low < found.r_pol < found.r_pol_high
    session.b = 3
    assert session.difference() is None


def test_a_change_has_an_interval_unless_one_of_the_two_is_a_misfit(tmp_path):
    frequency = np.geomspace(1e5, 1e-2, 71)
    s = 2j * np.pi * frequency
    cell = 10 + 20 / (1 + (2e-4 * s) ** 0.9) + 50 / (1 + (0.05 * s) ** 0.85)
    z = np.array([cell, 1.02 * cell, cell - 15 / (1 + 3 * s)])
    noise = np.random.default_rng(0).normal(size=(2, *z.shape))
    spectra = drt.Spectra(frequency, z * (1 + 0.002 * (noise[0] + 1j * noise[1])), {"cell": ["A", "B", "C"]})
    drt.write_spectra(tmp_path / "x.h5", spectra)
    drt.invert_file(tmp_path / "x.h5", tmp_path / "x.drt.h5", method=drt.LogGaussian())
    explorer = Explorer(Source(related_files(tmp_path / "x.h5")))
    said = []
    for explorer.session.b in (1, 2):
        explorer._show_legend(explorer.session.difference())
        said.append(explorer._legend.object.partition("From A to B")[2])
    assert f'title="{html.escape(drt.Status.MISFIT.message)}' in explorer._legend.object
    assert "Ω, 95%), of spectra inverted each alone" in said[0]
    assert "without an interval: one of the two, or both, has none." in said[1]


def test_a_long_series_is_thinned_and_all_of_it_is_reached(tmp_path):
    count = 2 * MOST_OF_LINE + 1
    f = np.logspace(4, 0, 9)
    z = np.outer(1 + np.arange(count), 1 / (1 + 2j * np.pi * f * 1e-2))
    drt.write_spectra(tmp_path / "long.h5", drt.Spectra(f, z, {"time": np.arange(count, dtype=float)[::-1]}))
    session = Session(Source(related_files(tmp_path / "long.h5")))
    line = session.line(7)
    assert line.rows.size == MOST_OF_LINE
    assert line.total == count
    assert np.all(np.diff(line.value) > 0)
    assert {line.rows[0], line.rows[-1]} == {0, count - 1}
    for row in (0, 1, 300, count - 1):
        assert np.array_equal(session.one(row).spectra.impedance[0], z[row])


def test_the_selection_stays_on_its_spectrum_when_the_file_grows(tmp_path):
    made = campaign(CampaignDesign(cycles=(1,), voltages=3, frequencies=21)).spectra
    drt.write_spectra(tmp_path / "x.h5", made[2:])
    session = Session(Source(related_files(tmp_path / "x.h5")))
    session.choose(4)
    session.pin(0)
    assert not session.reopened()
    drt.write_spectra(tmp_path / "x.h5", made, overwrite=True)
    assert session.reopened()
    assert (session.a, session.pins) == (6, [2])
    drt.invert_file(tmp_path / "x.h5", tmp_path / "x.drt.h5", method=drt.Tikhonov())
    assert session.reopened()
    assert session.source.files.results == tmp_path / "x.drt.h5"
    assert not session.reopened()


@pytest.mark.slow
@pytest.mark.recorded
@pytest.mark.parametrize("figure", sorted({*FIGURES} - {"nyquist", "residuals", "waterfall"}))
def test_every_figure_is_drawn(session, figure):
    assert drawn(session, View(figure, "series"), "svg").read().startswith(b"<?xml")


@pytest.mark.slow
@pytest.mark.recorded
def test_numbers_and_lines_are_those_of_what_was_inverted_again(session, folder):
    method = drt.Tikhonov(weighting="modulus")
    again = session.invert_again(method, "series")
    assert again.table()["r_pol new"].tolist() == again.new.r_pol.tolist()
    view = View("nyquist", "selection", again=True)
    table = pd.read_csv(numbers(session, view, ("gamma",), "csv"))
    ran = {}
    exec(python_lines(session, view).replace("nyquist.pdf", str(folder / "nyquist.pdf")), ran)
    assert np.allclose(ran["result"].gamma.ravel(), table["gamma / ohm"], rtol=1e-9)
    assert np.array_equal(ran["result"].gamma, again.new.gamma)


EVIL = "a'); open('canary', 'w'); ('\"\"\"{1/0}\\\u202e"


def test_names_are_text_in_the_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    f, states = (
        np.logspace(4, 0, 15),
        pd.DataFrame({EVIL.replace("/", ":"): [1.0, 2.0, 3.0], "cell": [EVIL, "\n", "x"]}),
    )
    name = EVIL.replace("/", ":")
    z = 10 + 20 / (1 + 0.06j * f) * np.arange(1, 4)[:, None]
    drt.write_spectra(f"{name}.h5", {name: drt.Spectra(f, z, states)})
    drt.invert_file(f"{name}.h5", f"{name}.drt.h5", method=drt.Tikhonov(regularisation=1e-2), name=name)
    session = Session(Source(related_files(tmp_path / f"{name}.h5")))
    session.along(name)
    session.invert_again(drt.Tikhonov(shared="cell"), "series")
    for view in (View("nyquist"), View("heat_map"), View("processes", again=True), View("validity_map")):
        lines = python_lines(session, view)
        assert lines.replace("\n", "").isprintable()
        calls = [ast.unparse(one.func) for one in ast.walk(ast.parse(lines)) if isinstance(one, ast.Call)]
        assert {one.split(".")[0] for one in calls} <= {"drt", "result", "print"}
    ran = {}
    exec(python_lines(session, View("nyquist")).partition("figure")[0], ran)
    assert ran["result"].states[name].tolist() == [1.0]
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.h5", f"{name}.drt.h5"}


def test_names_of_received_files_lead_nowhere(tmp_path):
    imported = Imported()
    (path,) = imported.received({"../../../evil.csv": "µ"})
    assert path.name == "evil.csv"
    assert path.parent.name == "received"
    assert path.read_text(encoding="utf-8") == "µ"
    for name in ("..", "", "a/", "x" * 300):
        with pytest.raises(drt.InputError, match="not a file name"):
            imported.received({name: b""})
    with pytest.raises(drt.InputError, match="there is no such file"):
        imported.read([Path("nowhere")], Told())
    with pytest.raises(drt.InputError, match=r"ends in \.h5"):
        imported.save(tmp_path / "x.txt")
    imported.close()


def test_another_grid_and_another_inversion_are_chosen(tmp_path):
    f = np.logspace(4, 0, 20)
    grids = {
        name: drt.Spectra(part, 5 + 20 / (1 + 2j * np.pi * part * 1e-2) * np.ones((2, 1)), {"voltage": [3.0, 3.5]})
        for name, part in (("wide", f), ("narrow", f[:15]))
    }
    path, other = tmp_path / "x.h5", tmp_path / "y.h5"
    for target, name, method in ((path, "one", drt.Tikhonov()), (other, "two", drt.Tikhonov(regularisation="gcv"))):
        drt.write_inversion(target, {grid: drt.invert(some, method) for grid, some in grids.items()}, name=name)
    with h5py.File(path, "a") as file, h5py.File(other) as more:
        more.copy("inversions/two", file["inversions"])
    session = Session(Source(related_files(path)))
    session.choose(1)
    assert (session.source.names, set(session.source.grids)) == (("one", "two"), {"wide", "narrow"})
    session.of("two", "narrow")
    assert (session.source.name, session.source.grid, session.a) == ("two", "narrow", 1)
    assert session.method == drt.Tikhonov(regularisation="gcv")
    assert session.one(1).spectra.frequency.size == 15


def test_peaks_of_a_single_spectrum_are_processes_of_their_own(tmp_path):
    f = np.logspace(6, -1, 57)
    tau, r = np.array([1e-4, 1e-1]), np.array([10.0, 20.0])
    z = 5 + (r / (1 + 2j * np.pi * f[:, None] * tau)).sum(axis=1)
    drt.write_inversion(tmp_path / "x.drt.h5", drt.invert(drt.Spectra(f, z), drt.Tikhonov(regularisation=1e-4)))
    session = Session(Source(related_files(tmp_path / "x.drt.h5")))
    found = session.processes(0)
    assert found["process"].tolist() == ["P1", "P2"]
    assert np.allclose(found["tau"], tau, rtol=0.1)
    assert np.allclose(found["r"], r, rtol=0.1)


def test_spectra_are_of_one_series_where_all_that_tells_series_apart_is_equal():
    rng = np.random.default_rng(0)
    for _ in range(40):
        count = int(rng.integers(2, 60))
        states = pd.DataFrame(
            {
                "cell": pd.Categorical(rng.choice(["x", "y", None], count)),
                "cycle": pd.array([None if n == 0 else int(n) for n in rng.integers(0, 3, count)], dtype="Int64"),
                "direction": rng.choice(["charge", "discharge"], count),
                "temperature": rng.choice([30.0, np.nan, -0.0, 0.0], count),
                "same": np.ones(count),
                "voltage": np.arange(count, dtype=float),
            }
        )
        found = Series.of(states, "voltage")
        groups = states.groupby(list(found.columns), dropna=False, observed=True, sort=False).ngroup()
        assert np.array_equal(pd.factorize(found.member)[0], groups if found.columns else np.zeros(count))


def test_what_tells_series_apart_may_have_more_combinations_than_a_number_can_hold():
    count = 5000
    states = pd.DataFrame({f"n{k}": np.arange(count) // 2 for k in range(7)} | {"voltage": np.arange(count) % 2 * 1.0})
    found = Series.of(states, "voltage")
    assert found.columns == tuple(f"n{k}" for k in range(7))
    assert (count // 2) ** 7 > np.iinfo(np.intp).max
    assert np.array_equal(pd.factorize(found.member)[0], np.arange(count) // 2)


def test_what_one_thread_is_at_another_waits_for(session):
    made, begun, go = [], Event(), Event()

    def slowly():
        made.append(1)
        begun.set()
        assert go.wait(30)
        return "found"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(session._remembered, "key", slowly)
        assert begun.wait(30)
        second = pool.submit(session._remembered, "key", slowly)
        # What is something else is not held up.
        assert session._remembered("other", lambda: 7) == 7
        with pytest.raises(TimeoutError):
            second.result(0.1)
        go.set()
        assert (first.result(30), second.result(30)) == ("found", "found")
    assert made == [1]


def test_what_fails_in_one_thread_is_tried_again_by_who_waited(session):
    begun, go = Event(), Event()

    def fails():
        begun.set()
        assert go.wait(30)
        raise drt.InputError("no")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(session._remembered, "key", fails)
        assert begun.wait(30)
        second = pool.submit(session._remembered, "key", lambda: "found")
        go.set()
        with pytest.raises(drt.InputError):
            first.result(30)
        assert second.result(30) == "found"


def test_the_map_of_kramers_and_kronig_shows_noise_and_marks_what_is_not_valid(tmp_path):
    made = campaign(CampaignDesign(cycles=(1,), voltages=6)).spectra[:6]
    z = made.impedance.copy()
    z[3] *= 1 + 0.05 * np.cumsum(1 / made.frequency) / np.sum(1 / made.frequency)
    drt.write_spectra(tmp_path / "x.h5", drt.Spectra(made.frequency, z, made.states))
    session = Session(Source(related_files(tmp_path / "x.h5")))
    found = session.validity(0)
    assert found.flag.tolist() == [0, 0, 0, drt.Validity.DRIFT, 0, 0]
    image, (left, right), (low, high) = validity_image(found, session.line(0).value, 300)
    log_frequency = np.log10(made.frequency)
    assert (left, right) == pytest.approx((log_frequency[-1], log_frequency[0]))
    at = np.round(299 * (log_frequency - left) / (right - left)).astype(int)
    for row, value in enumerate(session.line(0).value):
        stripe = image[int(300 * (value - low) / (high - low))]
        np.testing.assert_array_equal(stripe[at], found.in_noise[row])
        assert (stripe.max() > 3.5) == (row == 3)
    views = Views(lambda _: None)
    views.show_validity(session, found)
    marks = views._sources["not valid"].data
    assert list(marks["y"]) == [made.states["voltage"][3]]
    assert marks["label"] == [f"{session.named(3)}: drift"]
    views.show_validity(session, None)
    assert len(views._sources["not valid"].data["y"]) == 0


def test_a_selection_that_is_not_among_the_points_drawn_is_marked_between_its_neighbours(tmp_path):
    count = MOST_OF_LINE + 20
    charge = np.arange(count, dtype=float)
    # Two voltages only: which of the points is meant, the order in the series says and not the voltage.
    states = {"voltage": np.repeat([3.0, 3.5], count // 2), "charge": charge}
    z = np.tile(10.0 + 5.0 / (1.0 + 1j * np.array([1e-2, 1e-1, 1.0, 1e1, 1e2])), (count, 1))
    drt.write_spectra(tmp_path / "x.h5", drt.Spectra(np.array([0.1, 1.0, 10.0, 100.0, 1e3])[::-1], z[:, ::-1], states))
    session = Session(Source(related_files(tmp_path / "x.h5")))
    session.along("voltage")
    views = Views(lambda _: None)
    left_out = set(range(count)) - set(session.line(0).rows.tolist())
    for row in sorted(left_out):
        session.choose(row)
        views.show_series(session)
        chosen = views._sources["chosen"].data
        assert abs(chosen["x"][0] - charge[row]) <= 1.0


def test_views_of_a_series_are_drawn_once_and_again_when_they_change(folder):
    session = Session(Source(related_files(folder / "x.h5")))
    views, sent = Views(lambda _: None), []
    views.figure("r")  # figures of what takes longer, and their sources, are made when they are asked for
    for name in ("observed", "validity"):
        views._sources[name].on_change("data", lambda attr, old, new, name=name: sent.append(name))

    def show():
        views.show_series(session)
        views.show_validity(session, session.validity(session.a))
        views.show_processes(session, {"a": session.processes(session.a)})

    show()
    assert sorted(sent) == ["observed", "validity"]
    session.choose(2)
    show()
    assert len(sent) == 2
    assert views._marks["validity"].location == session.series.value[2]
    assert views._marks["r a"].location == session.series.value[2]
    drawn = dict(views._sources["observed"].data)
    session.choose(20)
    show()
    assert len(sent) == 4
    assert {*views._sources["observed"].data["x"]} <= {*session.line(20).value}
    session.choose(2)
    show()
    for name, column in views._sources["observed"].data.items():
        np.testing.assert_array_equal(column, drawn[name])
