"""Zero spectra are a solution: every command gives what it gives for more, with no row in it."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.hdf5 import SpectraWriter

STATES = {"cell": str, "voltage": float, "cycle": int, "direction": str}
FREQUENCY = np.logspace(5, -2, 36)
KINDS = ("gamma", "waterfall", "heat-map", "nyquist", "bode", "residuals", "composite", "ageing", "processes")


def none():
    states = {name: pd.Series([], dtype=kind) for name, kind in STATES.items()}
    return drt.Spectra(FREQUENCY, np.ones((0, 36)), states)


def done(*arguments):
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert outcome.exit_code == 0, f"{outcome.output}\n{outcome.exception!r}"
    return outcome.stdout


@pytest.fixture(params=["nobody measured", "chosen none"])
def case(request, tmp_path, noisy):
    """A file, what chooses none of it, and a method."""
    path = tmp_path / "campaign.h5"
    if request.param == "nobody measured":
        drt.write_spectra(path, none())
        return path, (), "log-gaussian"
    states = {"cell": list("AABBCC"), "cycle": np.arange(6), "voltage": np.linspace(3, 4, 6), "direction": ["rest"] * 6}
    drt.write_spectra(path, drt.Spectra(noisy.frequency, noisy.impedance, states))
    return path, ("--where", "cycle > 99"), "tikhonov"


def test_zero_spectra_are_an_answer_of_every_command(case, tmp_path):
    path, where, method = case
    out, store, table, figure = (tmp_path / name for name in ("out.h5", "p.h5", "a.csv", "a.png"))
    assert "spectra" in done("info", path)
    assert "0 spectra in" in done("invert", path, "-o", out, "--method", method, *where)
    (told,) = json.loads(done("info", out, "--json"))["inversions"]
    assert (told["spectra"], told["counts"], told["states"]) == (0, {"ok": 0}, [*drt.read_spectra(path).states])
    assert "0 spectra, 0 valid" in done("validate", path, "-o", table, "--figure", figure, *where)
    tested = pd.read_csv(table)
    assert len(tested) == 0
    assert {"cell", "cycle", "valid", "flag"} <= set(tested.columns)
    followed = ("--along", "voltage", "--store", store, "--tracks", tmp_path / "t.csv", "--tables", tmp_path / "tables")
    options = ("-o", table, "--figure", figure, "--overwrite")
    assert "0 peaks in 0 spectra" in done("peaks", out, *followed, *options)
    assert "0 processes" in done("peaks", out, *followed, *options, "--spectra", path)
    assert {"tau", "r", "spectrum"} <= set(pd.read_csv(table).columns)
    assert drt.read_tracks(store).names == ()
    assert done("info", store)
    for kind in KINDS:
        figure.unlink(missing_ok=True)
        printed = done(
            "plot", out, "--kind", kind, "--spectra", path, *(("--tracks", store) * (kind in TRACED)), "-o", figure
        )
        assert "0 spectra drawn" in printed or "0 observations drawn" in printed
        assert figure.read_bytes()[:4] == b"\x89PNG"


TRACED = ("composite", "ageing", "processes", "waterfall", "heat-map")


def test_zero_spectra_keep_their_states(tmp_path):
    drt.write_spectra(tmp_path / "a.h5", none())
    states = drt.read_spectra(tmp_path / "a.h5").states
    assert [*states.columns] == [*STATES]
    assert states["cycle"].dtype == np.int64
    some = drt.Spectra(FREQUENCY, np.ones((2, 36)), {"note": ["a", "b"], "cycle": [1, 2]})
    with SpectraWriter(tmp_path / "b.h5") as writer:
        for spectra in (none(), some[:0], some, none()):
            writer.append(spectra)
    found = drt.read_spectra(tmp_path / "b.h5").states
    pd.testing.assert_frame_equal(found, some.states)
