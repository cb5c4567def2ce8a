"""A command that is interrupted or killed: what it says, what it leaves, and that it goes on."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

import drt_engine as drt
from drt_engine.hdf5 import scan

from .killing import arrays, make

COUNT = 5_000
OPTIONS = ("--method", "tikhonov", "--shared", "cell")
# Another process does the work; each takes a second and more to begin.
ONE = ("--scheduler", "processes", "--workers", "1", "--block", "125")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals to groups of processes")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A campaign that takes a while."""
    path = tmp_path_factory.mktemp("large") / "campaign.h5"
    make(path, COUNT)
    return path


@pytest.fixture(scope="module")
def expected(large):
    out = large.with_name("expected.h5")
    drt.invert_file(large, out, method=drt.Tikhonov(shared="cell"))
    return arrays(out)


def started(path, out, *options):
    """``drt-engine invert`` in a group of its own, as a terminal gives it one."""
    command = "from drt_engine.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, "invert", str(path), "-o", str(out), *OPTIONS, *options],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "DRT_ENGINE_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(there, process, seconds=60):
    end = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def ended(process):
    """What a command wrote to its output, and beside it but for lines on how far it is."""
    told, error = process.communicate(timeout=60)
    # What llvmlite says where the process ends while one of its threads loads a kernel.
    error = re.sub(r"^Exception ignored on calling ctypes callback.*?no longer exists\n", "", error, flags=re.DOTALL)
    return told, re.sub(r"^(\d+ of \d+ spectra, .*: |Compiling ).*\n", "", error, flags=re.MULTILINE)


def goes_on(cli, path, out):
    """What the same command writes to its output; it is the same job in this process, which has loaded everything."""
    ran = cli("invert", path, "-o", out, *OPTIONS)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def blocks(out, kind):
    return list(out.with_name(f".{out.name}.job").glob(f"{kind}-*.part"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_stops_and_the_same_command_goes_on(large, expected, out, cli, workers):
    process = started(large, out, "--workers", workers, "--block", "125")
    until(lambda: len(blocks(out, "results")) >= 3, process)
    os.killpg(process.pid, signal.SIGINT)
    told, error = ended(process)
    assert (process.returncode, told) == (130, "")
    assert error.startswith("drt-engine: interrupted; ")
    assert error.endswith(f" of {COUNT} spectra are done and kept. The same job goes on from there.\n")
    assert error.count("\n") == 1
    assert not out.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in blocks(out, "results")}
    assert len(kept) >= 3
    before = int(goes_on(cli, large, out).split(" of them done before")[0].split()[-1])
    assert before == sum(int(name.split("-")[3]) - int(name.split("-")[2]) for name in kept)
    assert arrays(out) == expected
    assert [path.name for path in out.parent.iterdir()] == ["out.h5"]


@pytest.mark.slow
def test_ctrl_c_while_processes_begin(large, out):
    process = started(large, out, "--workers", "2")
    until(out.with_name(f".{out.name}.job").joinpath("plan.json").exists, process)
    os.killpg(process.pid, signal.SIGINT)
    told, error = ended(process)
    assert (process.returncode, told) == (130, "")
    assert error in (
        "drt-engine: interrupted before a block was done; nothing is lost.\n",
        f"drt-engine: interrupted; 0 of {COUNT} spectra are done and kept. The same job goes on from there.\n",
    )
    assert not out.exists()


@pytest.mark.slow
def test_ctrl_c_is_not_for_a_job_in_the_background(large, expected, out):
    # As a shell without job control starts what ends with an ampersand.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started(large, out, *ONE)
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: len(blocks(out, "results")) >= 3, process)
    os.killpg(process.pid, signal.SIGINT)
    told, error = ended(process)
    assert (process.returncode, error) == (0, "")
    assert f"{COUNT} spectra in" in told
    assert arrays(out) == expected


def test_ctrl_c_before_the_first_block(campaign, out, cli, monkeypatch):
    def press(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("drt_engine.jobs.source.digest", press)
    ran = cli("invert", campaign, "-o", out)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err == "drt-engine: interrupted before a block was done; nothing is lost.\n"
    assert [path.name for path in out.parent.iterdir()] == ["campaign.h5"]


def test_ctrl_c_when_the_file_is_there_comes_too_late(campaign, out, cli, monkeypatch):
    from drt_engine.jobs.journal import Journal

    remove = Journal.remove

    def pressed(self):
        if self.folder.exists():
            signal.raise_signal(signal.SIGINT)
        remove(self)

    monkeypatch.setattr(Journal, "remove", pressed)
    ran = cli("invert", campaign, "-o", out)
    assert (ran.code, ran.err) == (0, "")
    assert sorted(path.name for path in out.parent.iterdir()) == ["campaign.h5", "out.h5"]


@pytest.mark.slow
def test_killed_between_the_file_and_the_end_of_its_blocks(campaign, out, cli, monkeypatch):
    from drt_engine.jobs.journal import Journal

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", lambda _: None)
        assert cli("invert", campaign, "-o", out).code == 0
    (info, _) = scan(out).inversions
    before = out.stat().st_mtime_ns
    ran = cli("invert", campaign, "-o", out)
    assert (ran.code, "23 of them done before" in ran.out) == (0, True)
    assert out.stat().st_mtime_ns == before
    assert scan(out).inversions[0].job == info.job
    assert sorted(path.name for path in out.parent.iterdir()) == ["campaign.h5", "out.h5"]


@pytest.mark.slow
def test_processes_do_not_outlive_a_job_that_is_killed(large, expected, out, cli):
    process = started(large, out, *ONE)
    until(lambda: len(blocks(out, "results")) >= 3, process)
    process.kill()
    # They hold the pipes as well: this returns when the last of them has ended.
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert "done before" in goes_on(cli, large, out)
    assert arrays(out) == expected
