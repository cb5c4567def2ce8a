"""The command watch: lines, exit codes, the screen of a terminal, and how it ends."""

import io
import os
import signal
import sys
import time
from contextlib import redirect_stdout

import pytest
from rich.console import Console
from typer.testing import CliRunner

from drt_engine.cli import app, dashboard
from drt_engine.cli import watch as command
from drt_engine.watch import Alarm, Problem
from drt_engine.watch.folder import Waiting

from ..forking import fork
from . import instrument

QUICK = ("--method", "tikhonov", "--settle", "0")


def run(folder, *arguments):
    place = folder.parent / "campaign.h5"
    return CliRunner().invoke(app, ["watch", str(folder), "-o", str(place), *QUICK, *arguments])


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "measured"
    path.mkdir()
    (path / "A_1.mpt").write_bytes(instrument.mpt(0))
    (path / "A_2.mpt").write_bytes(instrument.mpt(100))
    return path


def test_it_says_what_was_taken_and_raises_alarms(folder):
    told = folder.parent / "told"
    script = folder.parent / "hook.py"
    script.write_text("import os, sys\nopen(sys.argv[1], 'a').write(os.environ['DRT_SOURCE'] + '\\n')\n")
    alert = ("--alert", "r_pol > 1.1 * first", "--on-alert", f"{sys.executable} {script} {told}")
    done = run(folder, "--once", "--name", "{cell}_{cycle}.mpt", *alert)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert "A_1.mpt sweep 1 (cell A, cycle 1, voltage 3.5125): R_inf 10.0" in lines[0]
    assert "% of the first), residual" in lines[1]
    assert "ALARM A_2.mpt" in lines[2]
    assert "2 sweeps taken, 2 spectra in the campaign; 0 files refused, 0 without a measurement; 1 alarm." in lines
    assert told.read_text() == "A_2.mpt\n"
    (folder / "evil \x1b[2J.mpr").write_bytes(instrument.mpr(0)[:-100])
    done = run(folder, "--once", "--strict")
    assert done.exit_code == 1
    assert "evil \\x1b[2J.mpr: damaged" in done.output
    assert "\x1b" not in done.output
    assert "0 sweeps taken" in done.output


def test_wrong_use_is_refused(folder):
    assert run(folder, "--once", "--alert", "r_pol >").exit_code == 1
    for arguments in (["--alert", "first > 1"], ["--on-alert", ""], ["--tail", "cpe"], ["--states", "none.csv"],
                      ["--name", "{cell"], ["--columns", "x"], ["--reader", "none"]):  # fmt: skip
        done = run(folder, "--once", *arguments)
        assert done.exit_code != 0
        assert not (folder.parent / "campaign.h5").exists()


def begun(program, log):
    """Number of a new process that runs a command."""
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", "from drt_engine.cli import main; main()", *program],
        os.environ | {"PYTHONPATH": ":".join(sys.path), "PYTHONUNBUFFERED": "1"},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY, 0)],
    )


def begun_as_copy(program, log):
    """Number of a copy of this process that runs a command: what that takes is loaded."""

    def work():
        with open(log, "w", buffering=1) as opened, redirect_stdout(opened):
            app(program, standalone_mode=False)

    return fork(work)


@pytest.mark.slow
@pytest.mark.parametrize("poll", [False, True])
def test_what_comes_is_taken_until_it_is_ended(folder, poll):
    campaign = folder.parent / "campaign.h5"
    program, log = ["watch", str(folder), "-o", str(campaign), *QUICK, *["--poll"] * poll], folder.parent / "log"
    log.touch()
    child = begun_as_copy(program, log) if poll else begun(program, log)
    end = time.monotonic() + 400.0  # of a machine with other work
    for number, name in enumerate(("sub/B_3.mpr", "C_4.DTA")):
        while log.read_text().count("after its last byte") < 2 + number:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(instrument.mpr(3) if name.endswith("mpr") else instrument.dta(4))
    while "C_4.DTA" not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "4 sweeps taken, 4 spectra in the campaign" in log.read_text()


def test_the_screen_shows_the_last_sweep_processes_alarms_and_problems(folder, monkeypatch):
    from drt_engine.methods import Tikhonov
    from drt_engine.watch import Options, Watch

    screen = Console(record=True, force_terminal=True, width=150, file=io.StringIO())
    monkeypatch.setattr(dashboard, "console", lambda: screen)
    place = folder.parent
    (folder / "A_2.mpt").rename(folder / "A_2\nforged\x1b[2J\u202e.mpt")
    options = Options(method=Tikhonov(regularisation=1e-3), settle=0.0, alerts=["r_pol > first"])
    watch = Watch(folder, place / "campaign.h5", place / "campaign.drt.h5", options)
    with dashboard.Dashboard(watch) as shown:
        shown.show(watch.begin())
        while watch.taken < 2:
            time.sleep(min(watch.wait(), 0.05))
            shown.show(watch.step())
        alarm = Alarm("alert", "a [red]b[/red]", {"source": "x\nforged", "cell": "c" * 9999})
        shown.show([Problem("evil\x1b[2J\nforged.mpr", "cut", refused=True), alarm])
    text = screen.export_text()
    for said in (
        "A_2\\nforged\\x1b[2J\\u202e.mpt sweep 1",
        "R_pol",
        "Kramers-Kronig: valid",
        "processes over the last 2 sweeps",
        "▁█",
    ):
        assert said in text
    assert "evil\\x1b[2J\\nforged.mpr: damaged" in text
    assert not [line for line in text.splitlines() if line.strip("│ ").startswith("forged")]
    assert "c" * 61 not in text
    assert "a [red]b[/red]" in text
    assert "alarms: 2" in text


def test_files_that_wait_are_shown_and_logged(tmp_path, monkeypatch, capsys):
    class Waits:
        spectra = taken = refused = without = 0
        folder, campaign, results = tmp_path, tmp_path / "c.h5", tmp_path / "c.drt.h5"
        files = ()

        def waiting(self):
            return [Waiting(name, *rest) for name, *rest in self.files]

    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = Waits()
    lines = dashboard.Lines(watch)

    def logged(seconds, *files):
        now[0] += seconds
        watch.files = files
        lines.idle()
        return [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]

    quick = ("quick.mpt", "growing", 3.0, 0.5, 0.5)
    assert logged(2.0, quick) == []  # as most files, it is finished at once
    slow = ("slow\nforged.mpt", "growing", 240.0, 35.0, float("inf"))
    half = ("half.mpr", "partly written", 11.0, 4.0, 6.2)
    assert logged(2.0, half, slow, quick) == [
        "2 files wait: 1 partly written, 1 growing: half.mpr partly written, waits for 11 s, last written 4 s ago, "
        "called damaged in 6 s if it stays so; slow\\nforged.mpt growing, waits for 4 min, last written 35 s ago"
    ]
    assert logged(60.0, slow, quick) == []
    assert logged(0.5, ("too soon.mpt", "growing", 99.0, 1.0, 1.0)) == []
    assert len(logged(600.0, slow)) == 1
    given_up = ("slow\nforged.mpt", "growing", 3e5, 2e5, float("inf"))
    assert logged(700.0, given_up) == []
    (line,) = logged(2.0, given_up, *((f"{n}.csv", "perhaps unfinished", 7200.0, 90.0, 600.0) for n in range(9)))
    assert line.startswith("10 files wait: 1 growing, 9 perhaps unfinished: ")
    assert line.endswith(
        "2.csv perhaps unfinished, waits for 2 h, last written 90 s ago, taken in 10 min if it stays so; and 6 more"
    )

    screen = Console(record=True, force_terminal=True, width=150, file=io.StringIO())
    monkeypatch.setattr(dashboard, "console", lambda: screen)
    with dashboard.Dashboard(watch) as shown:
        shown.idle()
        watch.files = [slow]
        now[0] += 2.0
        shown.idle()
        assert "1 file waits: 1 growing" in screen.export_text(clear=False)
        watch.files = []
        now[0] += 2.0
        shown.idle()
        assert "waits" not in screen.export_text(clear=False).rpartition("drt-engine watch")[2]
    text = screen.export_text()
    assert "10 files wait: 1 growing, 9 perhaps unfinished" in text
    assert "slow\\nforged.mpt growing, waits for 4 min, last written 35 s ago" in text
    assert "and 6 more" in text


def test_without_watchfiles_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(Exception, match=r"drt-engine\[watch\]"):
        next(command._changes(folder, None, poll=False))
