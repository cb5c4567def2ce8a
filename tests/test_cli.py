import ctypes
import hashlib
import importlib.metadata
import io
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial

import h5py
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app, main, running
from drt_engine.cli.app import Once
from drt_engine.plotting import nyquist

COMMANDS = ("demo", "export", "import", "info", "invert", "peaks", "plot", "validate")
CYCLES = (1, 100, 500)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def demo(folder, *options):
    """Run the demo with three of its eleven cycles."""
    design = partial(drt.simulate.CampaignDesign, cycles=CYCLES)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(drt.simulate, "CampaignDesign", design)
        return run("demo", "--output", folder, *options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What the demo makes, of fewer cycles and voltages."""
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder, "--voltages", "3")
    assert done.exit_code == 0, done.output
    return folder, done.output


@pytest.fixture(scope="module")
def fewer(files, tmp_path_factory):
    """Some spectra of the demo, to invert again."""
    path = tmp_path_factory.mktemp("fewer") / "few.h5"
    spectra = drt.read_spectra(files[0] / "campaign.h5")
    drt.write_spectra(path, spectra[:5])
    return path


def test_demo_is_right_about_the_resistance(files):
    folder, _ = files
    result = drt.read_inversion(folder / "campaign.drt.h5")
    assert result.solved.all()
    truth = drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=CYCLES, voltages=3)).r_pol
    assert np.median(np.abs(result.r_pol / truth - 1)) < 0.02


@pytest.mark.slow
def test_demo_leaves_its_files_and_says_where(files):
    folder, output = files
    for name in ("campaign.h5", "campaign.drt.h5", "evolution.png", "evolution.pdf", "profile.csv"):
        assert (folder / name).stat().st_size > 1000
        assert name in output.replace("\n", "")
    assert "36 spectra" in output
    assert "true R_pol" in output


@pytest.mark.slow
def test_demo_may_be_repeated(files, tmp_path, monkeypatch):
    folder = shutil.copytree(files[0], tmp_path / "demo")
    monkeypatch.setattr("drt_engine.plotting.composite", lambda spectra, *_, **__: nyquist(spectra, rows=[0]))
    again = demo(folder, "--voltages", "2")
    assert "exists already" in str(again.exception)
    assert demo(folder, "--voltages", "2", "--overwrite").exit_code == 0
    assert len(drt.read_inversion(folder / "campaign.drt.h5")) == 24
    for name in ("evolution.png", "evolution.pdf"):
        assert (folder / name).read_bytes() != (files[0] / name).read_bytes()


def test_info_tells_what_is_in_a_file(files):
    folder, _ = files
    spectra, inversions = run("info", folder / "campaign.h5").output, run("info", folder / "campaign.drt.h5").output
    assert "61" in spectra
    assert "voltage" in spectra
    assert "ok" in inversions
    assert "evidence" in inversions


def test_info_for_programs(files):
    folder, _ = files
    told = json.loads(run("info", folder / "campaign.drt.h5", "--json").output)
    assert told["file"] == "campaign.drt.h5"
    (inversion,) = told["inversions"]
    assert inversion["spectra"] == 36
    assert inversion["settings"]["regularisation"] == "evidence"
    assert inversion["source"] == "campaign.h5"


@pytest.mark.slow
def test_invert_does_what_the_function_does(fewer, tmp_path):
    out = tmp_path / "out.h5"
    done = run(
        "invert",
        fewer,
        "-o",
        out,
        "--method",
        "tikhonov",
        "--regularisation",
        "1e-3",
        "--basis",
        "piecewise-linear",
        "--part",
        "im",
    )
    assert done.exit_code == 0, done.output
    assert "5 spectra" in done.output
    method = drt.Tikhonov(regularisation=1e-3, basis="piecewise-linear", part="im")
    result = drt.read_inversion(out)
    assert result.method == method
    np.testing.assert_allclose(result.gamma, drt.invert(drt.read_spectra(fewer), method).gamma, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_invert_shares_and_weights(fewer, tmp_path):
    out = tmp_path / "out.h5"
    options = (
        "--method",
        "tikhonov",
        "--shared",
        "cell,cycle",
        "--weighting",
        "modulus",
        "--regularisation",
        "discrepancy",
        "--noise",
        "0.002",
    )
    assert run("invert", fewer, "-o", out, *options).exit_code == 0
    result = drt.read_inversion(out)
    assert result.method == drt.Tikhonov(
        shared=("cell", "cycle"), weighting="modulus", regularisation="discrepancy", noise=0.002
    )
    one = result.states.groupby(["cell", "cycle"]).ngroups
    assert len(set(result.regularisation)) <= one
    assert run("invert", fewer, "-o", out, "--method", "tikhonov", "--shared", "all", "--overwrite").exit_code == 0
    assert drt.read_inversion(out).method.shared is True


@pytest.mark.slow
def test_invert_names_its_output_and_does_not_overwrite(fewer):
    assert run("invert", fewer).exit_code == 0
    assert fewer.with_name("few.drt.h5").exists()
    assert isinstance(run("invert", fewer).exception, drt.OutputExistsError)
    assert run("invert", fewer, "--overwrite").exit_code == 0


@pytest.mark.slow
def test_info_says_where_an_inversion_is_from(fewer, tmp_path):
    where = "cycle >= 0"
    assert run("invert", fewer, "-o", tmp_path / "out.h5", "--where", where, "--name", "some").exit_code == 0
    told = " ".join(run("info", tmp_path / "out.h5").output.split()).lower()
    for word in ("drt-engine", "numpy", "cvxpy", "hdf5", "sha256:", "created: 20", "started: 20", "few.h5", where):
        assert word in told, word
    (found,) = json.loads(run("info", tmp_path / "out.h5", "--json").output)["inversions"]
    assert (found["name"], found["where"], found["source"]) == ("some", where, "few.h5")
    assert found["input_digest"] == f"sha256:{hashlib.sha256(fewer.read_bytes()).hexdigest()}"
    assert found["counts"]["ok"] + found["counts"].get("lambda at edge", 0) == 5
    versions = {name.lower(): version for name, version in found["versions"].items()}
    assert "drt-engine" in versions
    assert versions["numpy"] == np.__version__
    assert versions["cvxpy"] == importlib.metadata.version("cvxpy")
    assert versions["hdf5"] == h5py.version.hdf5_version
    begin, end = (datetime.fromisoformat(found[key]) for key in ("started", "created"))
    assert begin <= end
    assert (begin.tzinfo, end.tzinfo) == (UTC, UTC)
    # Nothing tells the machine.
    assert str(tmp_path) not in json.dumps(found)


def test_info_of_what_is_no_file_of_ours(tmp_path):
    (tmp_path / "a.h5").write_text("no")
    for options in ((), ("--json",)):
        done = run("info", tmp_path / "a.h5", *options)
        assert isinstance(done.exception, drt.FileFormatError)
        assert done.output == ""


def test_lines_where_nobody_looks_on(fewer, tmp_path, monkeypatch):
    monkeypatch.setattr("drt_engine.cli.running._SECONDS_A_LINE", 0.0)
    done = run("invert", fewer, "-o", tmp_path / "out.h5", "--block", "2", "--scheduler", "inline")
    assert done.exit_code == 0
    lines = done.stderr.splitlines()
    line = re.compile(r"(\d) of 5 spectra, (?:0/s, nothing done yet|(.+)/s, \d+ s left): \d ok(, .*)?")
    found = [line.fullmatch(text) for text in lines]
    assert all(found), lines
    assert [match[1] for match in found] == ["0", "2", "4", "5"]
    assert all(float(match[2]) > 0 for match in found[1:])
    assert "\x1b" not in done.output
    assert "5 spectra in" in done.stdout


def test_lines_of_a_job_that_goes_on_tell_the_rate_of_now(fewer, tmp_path, monkeypatch):
    calls = iter(())
    monkeypatch.setattr("drt_engine.cli.running.time.monotonic", lambda: next(calls))
    calls = iter((0.0, 1.0, 20.0))
    lines = running._Lines()
    lines(800, 1000, {"ok": 800})
    told = []
    monkeypatch.setattr("drt_engine.cli.running.say", lambda text, **_: told.append(text))
    lines(900, 1000, {"ok": 899, "not finite": 1})
    assert told == ["900 of 1000 spectra, 5/s, 20 s left: 899 ok, 1 not finite"]


def test_lines_come_soon_and_then_seldom(monkeypatch):
    seconds = [*np.arange(0.0, 60.0, 0.5)]
    times = iter([0.0, *seconds])
    monkeypatch.setattr("drt_engine.cli.running.time.monotonic", lambda: next(times))
    told = []
    monkeypatch.setattr("drt_engine.cli.running.say", lambda text, **_: told.append(text))
    lines = running._Lines()
    for k in range(len(seconds)):
        lines(k, 1000, {"ok": k})
    assert [int(text.split()[0]) / 2 for text in told] == [1, 3, 7, 15, 25, 35, 45, 55]


def test_a_bar_on_a_terminal(fewer, tmp_path, monkeypatch):
    shown = io.StringIO()

    def terminal(*, stderr=False):
        assert stderr
        return Console(file=shown, force_terminal=True, width=120)

    monkeypatch.setattr("drt_engine.cli.running.console", terminal)
    done = run("invert", fewer, "-o", tmp_path / "out.h5", "--block", "1")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "inverting" in shown.getvalue()
    assert "5/5" in shown.getvalue()
    assert " ok" in shown.getvalue()
    # Gone in the end: what stays is the summary.
    assert "inverting" not in done.output


def test_a_bar_that_is_interrupted(fewer, tmp_path, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(
        "drt_engine.cli.running.console", lambda **_: Console(file=shown, force_terminal=True, width=120)
    )
    monkeypatch.setattr("drt_engine.cli.running.counted", pressed_at("2 ok"))
    method = ("--method", "tikhonov", "--regularisation", "1e-3", "--block", "1", "--scheduler", "inline")
    done = run("invert", fewer, "-o", tmp_path / "out.h5", *method)
    assert done.exit_code == 130
    assert "drt-engine: interrupted; 2 of 5 spectra are done and kept. The same job goes on from there." in done.stderr
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.undo()
    assert "2 of them done before" in run("invert", fewer, "-o", tmp_path / "out.h5", *method).output


def pressed_at(text):
    """Write counts, and press Ctrl-C at some."""

    def counted(counts):
        written = ", ".join(f"{count} {name}" for name, count in counts.items())
        if written == text:
            signal.raise_signal(signal.SIGINT)
        return written

    return counted


def test_ctrl_c_that_c_code_drops_stops_at_the_next_block(fewer, tmp_path, monkeypatch):
    from drt_engine.jobs import work

    invert_block, calls = work.invert_block, []

    @ctypes.CFUNCTYPE(None)
    def press():
        signal.raise_signal(signal.SIGINT)

    def dropping(*arguments, **named):
        calls.append(1)
        if len(calls) == 2:
            press()
        return invert_block(*arguments, **named)

    monkeypatch.setattr(work, "invert_block", dropping)
    done = run("invert", fewer, "-o", tmp_path / "out.h5", "--block", "1", "--scheduler", "inline")
    assert done.exit_code == 130
    assert done.stderr.startswith("drt-engine: interrupted; 2 of 5 spectra are done and kept.")
    assert done.stderr.count("\n") == 1


@pytest.mark.recorded
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["composite", "nyquist", "bode", "residuals", "gamma", "waterfall", "heat-map"])
def test_plot_draws_each_kind(files, tmp_path, kind):
    folder, _ = files
    figure = tmp_path / f"{kind}.png"
    done = run(
        *("plot", folder / "campaign.drt.h5", "--kind", kind, "--spectra", folder / "campaign.h5", "-o", figure),
        *("--where", "cell == 'C' and cycle == 100 and direction == 'charge'", "--profile", folder / "profile.csv"),
        *("--dpi", "100"),
    )
    assert done.exit_code == 0, done.output
    assert "3 spectra drawn" in done.output
    assert figure.stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "cel == 'C'"], "is not a condition on the states .*cell, cycle"),
        (["--state", "volts"], "'volts' is not known"),
        (["--spectra", "FEWER"], "has 5 spectra and .* has 36"),
    ],
)
def test_plot_says_what_is_wrong(files, fewer, arguments, message, tmp_path):
    arguments = [fewer if argument == "FEWER" else argument for argument in arguments]
    done = run("plot", files[0] / "campaign.drt.h5", "-o", tmp_path / "x.png", *arguments)
    assert isinstance(done.exception, drt.InputError)
    with pytest.raises(drt.InputError, match=message):
        raise done.exception
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    assert f"drt-engine {command}" in run(command, "--help").output.split("Example:")[1]


def test_an_error_is_one_line_and_code_2(tmp_path, monkeypatch, capsys):
    missing = tmp_path / "missing.h5"
    monkeypatch.setattr(sys, "argv", ["drt-engine", "invert", str(missing)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("drt-engine: ")
    assert "missing.h5" in told
    assert len(told.splitlines()) == 1


def test_python_runs_the_package_as_the_command():
    command = [sys.executable, "-m", "drt_engine", "info", "missing.h5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("drt-engine: missing.h5: does not exist")


def test_help_is_quick_to_import():
    listing = "import sys; import drt_engine.cli; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "typer" in loaded
    assert not loaded & {"cvxpy", "numba", "matplotlib", "pandas", "numpy"}


def test_several_figures_say_the_same_once():
    once = Once()
    said = [
        once.filter(logging.LogRecord(name, logging.WARNING, "", 0, "%d are flat", (count,), None))
        for name, count in (("drt_engine.plotting.cells", 3), ("drt_engine.plotting.look", 3), ("drt_engine.jobs", 3),
                            ("drt_engine.jobs", 3), ("drt_engine.plotting.cells", 4))
    ]  # fmt: skip
    assert said == [True, False, True, True, True]


def test_a_column_of_numbers_selects_numbers(files):
    states = drt.read_inversion(files[0] / "campaign.drt.h5").states
    assert pd.api.types.is_integer_dtype(states["cycle"])
