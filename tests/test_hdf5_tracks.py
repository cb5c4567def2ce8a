"""Tables of processes in files: they come back, other programs read them, and damage is noticed."""

import random
import subprocess
import sys
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import drt_engine as drt
from drt_engine.errors import FileFormatError, FileWriteError, InputError, OutputExistsError, UnknownNameError
from drt_engine.hdf5 import digest, read_tracks, scan, write_tracks
from drt_engine.peaks import PEAK_UNITS
from drt_engine.tracking import Known, TrackingOptions, track

from .test_hdf5_damage import _cut, _flip, _overwrite, _zero_sector

PARTS = ("table", "events", "unassigned")


def made_peaks():
    """Peaks of two cells at twelve voltages: three processes, one of which is lost for a while, and a stray peak."""
    rows = []
    for k, cell in enumerate("BC"):
        for n, v in enumerate(np.linspace(2.2, 4.7, 12)):
            for p, (tau, r) in enumerate([(1e-5, 5.0), (1e-3 * (1 + n / 9), 20.0 + n), (0.5, 8.0)]):
                if p == 2 and 3 <= n <= 5:
                    continue
                row = {"spectrum": 12 * k + n, "cell": f"{cell} µ", "voltage": v, "tau": tau, "r": r * (1 + k)}
                rows.append(row | {"r_error": 0.1 * r, "kind": "maximum", "inside": p < 2, "number": p})
    stray = {"spectrum": 4, "cell": "B µ", "voltage": rows[-1]["voltage"], "tau": 900.0, "r": 1.0, "number": 9}
    rows.append(stray | {"r_error": np.nan, "kind": "shoulder", "inside": False})
    frame = pd.DataFrame(rows)
    frame.loc[frame["number"] == 9, "voltage"] = frame.loc[frame["spectrum"] == 4, "voltage"].iloc[0]
    return frame


@pytest.fixture(scope="module")
def tracks():
    found = track(made_peaks(), "voltage", options=TrackingOptions(max_gap=5), known=[Known("Äther", (1e-6, 1e-4))])
    assert len(found.names) == 3
    assert len(found.unassigned) == 1
    assert "gap" in set(found.events["event"])
    return found


@pytest.fixture
def stored(tmp_path, tracks):
    path = tmp_path / "processes.h5"
    write_tracks(path, tracks)
    return path


def assert_same(found, expected):
    for part in PARTS:
        # text is of the type that pandas gives it now, categories but for the process are text
        pd.testing.assert_frame_equal(
            getattr(found, part), getattr(expected, part), check_dtype=False, check_categorical=False
        )
    assert found.names == expected.names
    assert (found.along, found.series, found.spectra) == (expected.along, expected.series, expected.spectra)
    assert found.options == expected.options
    for name in ("scale", "steadiness", "birth", "missed"):
        np.testing.assert_array_equal(getattr(found.motion, name), getattr(expected.motion, name))


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_processes_come_back(tmp_path, tracks, compression):
    path = tmp_path / "a.h5"
    write_tracks(path, tracks, compression=compression)
    found = read_tracks(path)
    assert_same(found, tracks)
    pd.testing.assert_frame_equal(found.processes, tracks.processes, check_dtype=False)
    assert found.rename({"P2": "other"}).names == ("Äther", "other", "P3")
    for name in ("spectrum", "tau", "r", "r_error", "confidence", "inside", "number"):
        assert found.table[name].dtype == tracks.table[name].dtype, name


def test_tables_without_rows_come_back(tmp_path, tracks):
    empty = replace(tracks, events=tracks.events.iloc[:0], unassigned=tracks.unassigned.iloc[:0])
    write_tracks(tmp_path / "a.h5", empty)
    assert_same(read_tracks(tmp_path / "a.h5"), empty)
    write_tracks(tmp_path / "b.h5", replace(empty, table=tracks.table.iloc[:0]))
    assert read_tracks(tmp_path / "b.h5").names == tracks.names


def test_several_tables_have_names(tmp_path, tracks):
    path = tmp_path / "a.h5"
    write_tracks(path, {"all": tracks, "one": tracks.only("P2")})
    assert_same(read_tracks(path, "all"), tracks)
    assert read_tracks(path, "one").names == ("P2",)
    with pytest.raises(InputError, match="more than one table of processes; name one of 'all', 'one'"):
        read_tracks(path)
    with pytest.raises(UnknownNameError, match="'two' is not known"):
        read_tracks(path, "two")
    assert [info.name for info in scan(path).processes] == ["all", "one"]


def test_provenance_and_contents(tmp_path, tracks):
    source = tmp_path / "campaign.drt.h5"
    source.write_bytes(b"measured")
    write_tracks(tmp_path / "a.h5", tracks, name="aged", source=source)
    contents = scan(tmp_path / "a.h5")
    assert (contents.spectra, contents.inversions) == ((), ())
    (info,) = contents.processes
    assert (info.name, info.source, info.input_digest) == ("aged", "campaign.drt.h5", digest(source))
    assert (info.observations, info.events, info.unassigned) == tuple(len(getattr(tracks, part)) for part in PARTS)
    assert info.processes == tracks.names
    assert (info.along, info.series, info.spectra) == ("voltage", ("cell",), 24)
    assert info.columns == tuple(tracks.table.columns)
    assert info.options["max_gap"] == 5
    assert "numpy" in info.versions
    assert source.read_bytes() == b"measured"


def test_xarray_opens_every_group(stored, tracks):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_dataset(stored, engine="h5netcdf", group="/processes/default") as dataset:
            assert dict(dataset.sizes) == {"observation": len(tracks.table)}
            frame = dataset.to_dataframe()
            units = {name: variable.attrs.get("units") for name, variable in dataset.variables.items()}
        for part, rows in (("events", "occurrence"), ("unassigned", "peak")):
            with xr.open_dataset(stored, engine="h5netcdf", group=f"/processes/default/{part}") as dataset:
                assert dict(dataset.sizes) == {rows: len(getattr(tracks, part))}
                assert set(dataset.variables) == set(getattr(tracks, part).columns)
    for name in tracks.table:
        assert frame[name].tolist() == tracks.table[name].tolist(), name
    assert {name: units[name] for name in ("tau", "r", "c", "r_error")} == {
        name: PEAK_UNITS[name] for name in ("tau", "r", "c", "r_error")
    }
    assert (units["voltage"], units["confidence"], units["number"]) == ("V", "1", None)


# Whole or not at all


def test_existing_files_are_refused(tmp_path, tracks):
    path = tmp_path / "a.h5"
    path.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        write_tracks(path, tracks)
    assert path.read_bytes() == b"mine"
    write_tracks(path, tracks, overwrite=True)
    assert_same(read_tracks(path), tracks)


@pytest.mark.parametrize("room", [100, 3_000, 12_000])
def test_full_disk_is_one_line(tmp_path, tracks, room):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(FileWriteError, match=r"^[^\n]*a\.h5: cannot be written: File too large\.$"):
            write_tracks(tmp_path / "a.h5", tracks)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


REFUSED = {
    "no tracks": (lambda t: t.table, "tracks must be of type Tracks; got DataFrame"),
    "none": (lambda t: {}, "tracks must hold at least one table"),
    "a name": (lambda t: {"a/b": t}, "name 'a/b' cannot be a name in a file"),
    "a dimension": (
        lambda t: replace(t, table=t.table.assign(observation=1)),
        "name of a dimension of the file format",
    ),
    "a slash": (lambda t: replace(t, table=t.table.assign(**{"r/tau": 1.0})), "column 'r/tau' cannot be a name"),
    "no column": (lambda t: replace(t, table=t.table.drop(columns="c")), "must have the column 'c'; got process"),
    "text": (lambda t: replace(t, table=t.table.assign(tau="a")), "column 'tau' must hold numbers of type float64"),
    "missing": (lambda t: replace(t, table=t.table.assign(merged_with=None)), "'merged_with' must hold text, none"),
    "twice": (lambda t: replace(t, table=t.table[["tau", *t.table.columns]]), "columns must have distinct names"),
    "mixed": (lambda t: replace(t, table=t.table.assign(x=[1, "a"] * (len(t.table) // 2))), "all of one kind"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stored_is_refused(tmp_path, tracks, name):
    change, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        write_tracks(tmp_path / "a.h5", change(tracks))
    assert not list(tmp_path.iterdir())


# Damage


def at(path, change):
    return lambda file: change(file[f"processes/default{path}"])


def replaced(name, values, **attributes):
    def change(group):
        del group[name]
        group[name] = values
        group[name].attrs.update(attributes)

    return at("", change)


def attribute(name, value):
    return at("", lambda group: group.attrs.modify(name, value))


SIZE = len(made_peaks()) - 1
BROKEN = {
    "no processes": (lambda file: file.pop("processes"), "holds no processes"),
    "nothing in it": (lambda file: file["processes"].pop("default"), "holds no processes"),
    "newer": (lambda file: file.attrs.modify("format_version", 2), "version 2; .*up to 1"),
    "no column": (at("", lambda group: group.pop("tau")), "/processes/default/tau is missing"),
    "no other column": (at("", lambda group: group.pop("number")), "/processes/default/number is missing"),
    "no state": (attribute("along", "speed"), "/speed is missing, a state"),
    "no events": (at("", lambda group: group.pop("events")), "/processes/default/events is missing"),
    "no event": (at("/events", lambda group: group.pop("event")), "/events/event is missing"),
    "no unassigned": (at("", lambda group: group.pop("unassigned")), "/processes/default/unassigned is missing"),
    "unit": (at("/tau", lambda data: data.attrs.modify("units", "ms")), "has the unit 'm'; expected 's'"),
    "unit of a peak": (at("/unassigned/r", lambda data: data.attrs.modify("units", "kohm")), "expected 'ohm'"),
    "rows": (replaced("r", np.ones(5), units="ohm"), r"shape \(5,\); expected \(\d+,\)"),
    "rows of another": (replaced("number", np.ones(5)), r"shape \(5,\); expected \(\d+,\), one value"),
    "real": (replaced("spectrum", np.ones(SIZE)), "float64; expected whole numbers"),
    "numbers for names": (replaced("process", np.ones(SIZE)), "process holds numbers; expected text"),
    "another process": (attribute("processes", '["P1"]'), "process holds '.*'; expected one of P1"),
    "no names": (attribute("processes", "{}"), "attribute processes, a JSON list of the names of the processes"),
    "columns": (attribute("columns", '["tau", "r"]'), "spectrum is not among the columns that the group lists"),
    "column": (attribute("columns", '["observation"]'), "invalid attribute columns"),
    "motion": (attribute("motion", '{"scale": "wide"}'), "attribute motion without scale"),
    "motion no JSON": (attribute("motion", "{"), "attribute motion that is not JSON"),
    "options": (attribute("options", '{"max_gap": -1}'), "max_gap must be a whole number"),
    "other options": (attribute("options", '{"colour": 1}'), "invalid attribute options"),
    "no count": (at("", lambda group: group.attrs.pop("spectra")), "attribute spectra, how many"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_line(stored, name):
    damage, cause = BROKEN[name]
    with h5py.File(stored, "a") as file:
        damage(file)
    with pytest.raises(FileFormatError, match=rf"^[^\n]*processes\.h5: [^\n]*{cause}[^\n]*$"):
        read_tracks(stored)


def test_a_campaign_holds_no_processes(tmp_path, noisy):
    drt.write_spectra(tmp_path / "a.h5", noisy)
    with pytest.raises(FileFormatError, match="holds no processes"):
        read_tracks(tmp_path / "a.h5")
    assert scan(tmp_path / "a.h5").processes == ()


READER = """
import sys, warnings
warnings.simplefilter("error")
from drt_engine.errors import FileFormatError
from drt_engine.hdf5 import read_tracks
original = None
for line in sys.stdin:
    path = line.rstrip("\\n")
    try:
        found = read_tracks(path)
    except FileFormatError as error:
        one_line = str(error).startswith(path + ": ") and len(str(error).splitlines()) == 1
        print("error" if one_line else repr(error), flush=True)
        continue
    original = original or found
    same = all(getattr(found, part).equals(getattr(original, part)) for part in ("table", "events", "unassigned"))
    print("same" if same and found.names == original.names else "altered", flush=True)
"""


@pytest.mark.slow
def test_damage_is_noticed_or_does_no_harm(tmp_path, stored):
    rng, paths = random.Random(11), [stored]
    for number in range(120):
        change = (_flip, _zero_sector, _overwrite, _zero_sector, _flip, _cut)[number % 6]
        paths.append(tmp_path / f"{number}.h5")
        paths[-1].write_bytes(change(bytearray(stored.read_bytes()), rng))
    lines = "".join(f"{path}\n" for path in paths)
    # in a process of its own: HDF5 may crash on damage, or never return
    done = subprocess.run(
        [sys.executable, "-c", READER], input=lines, capture_output=True, text=True, timeout=60, check=False
    )
    found = done.stdout.splitlines()
    assert done.returncode == 0, f"{paths[len(found)]}: {done.stderr}"
    assert found[0] == "same"
    assert set(found) == {"same", "error"}, [paths[k] for k, what in enumerate(found) if what not in ("same", "error")]
    assert found.count("error") > 30
    assert found.count("same") > 10
