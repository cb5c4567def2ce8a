"""Kernels of a first inversion are compiled by several processes, or by one where no other can be started."""

import os
import subprocess
import sys
import time

import pytest

import drt_engine as drt
from drt_kernels import ahead, early, log_gaussian
from drt_kernels.ahead import Task, compile_together

TOGETHER = """
import time
from drt_kernels import ahead, certificate, piecewise

some = [task for task in ahead.tasks() if task.name in {"misfit", "piecewise_impedance"}]

def wait():
    # What this process has begun, while the other does the rest.
    for _ in range(6000):
        if piecewise.piecewise_impedance._cache._cache_file._load_index():
            return
        time.sleep(0.01)

(left,) = (task for task in some if task.name != "misfit")
ahead.compile_together([ahead.Task("misfit", wait), left], 2)
left.compile()
print(left.name, sum(piecewise.piecewise_impedance.stats.cache_hits.values()), certificate.misfit.signatures)
"""


@pytest.mark.parametrize("kind", ["is missing", "is no Python", "takes one and dies"])
def test_alone_where_no_process_helps(kind, tmp_path, monkeypatch):
    executable = tmp_path / ("program" if kind == "is no Python" else "python3")
    if kind != "is missing":
        executable.write_text(f"#!/bin/sh\ntouch $3/first {tmp_path}/ran\n", encoding="utf-8")
        executable.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(executable))
    done = []

    def fail():
        while kind == "takes one and dies" and not (tmp_path / "ran").exists():
            time.sleep(0.01)
        raise ValueError

    some = (
        Task("last", lambda: done.append("last"), after=("first", "bad")),
        Task("bad", fail),
        Task("first", lambda: done.append("first")),
    )
    compile_together(some, 2)
    assert (tmp_path / "ran").exists() == (kind == "takes one and dies")
    # What a process has taken and not done is left to the calls.
    assert done == (["last"] if kind == "takes one and dies" else ["first", "last"])


@pytest.mark.compiled
def test_types_are_those_that_are_called(noisy):
    assert drt.invert(noisy[:1]).gamma.size
    for task in ahead.tasks():
        if task.name in {one.name for one in log_gaussian.LEAVES}:
            continue
        function, kinds = task.compile.func.__self__, task.compile.args[0]
        # What only kernels call is not loaded when what calls it is.
        assert kinds in function.signatures or task.name.startswith("_"), task.name
        assert any(kinds == key[0] for key in function._cache._cache_file._load_index()), task.name


@pytest.mark.slow
@pytest.mark.compiled
def test_another_process_compiles_what_this_one_then_loads(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "piecewise_impedance 1 []\n"


@pytest.fixture
def not_begun(tmp_path, monkeypatch):
    """Nothing has been compiled, and no process has begun to; what Python is writes down what it is called with."""
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\nsleep 60\n', encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(early, "_begun", [])
    monkeypatch.setattr(early, "_asked", [])
    for name in [name for name in os.environ if name.startswith("NUMBA_")]:
        monkeypatch.delenv(name)
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(kept))
    monkeypatch.setenv("DRT_ENGINE_THREADS", "3")
    yield tmp_path
    early._end()


def calls(folder, count):
    for _ in range(1000):
        if (folder / "called").exists() and (folder / "called").read_text(encoding="utf-8").count("\n") >= count:
            break
        time.sleep(0.01)
    return (folder / "called").read_text(encoding="utf-8").split("\n")[:-1] if (folder / "called").exists() else []


def test_processes_begin_before_the_first_inversion_and_go_on_with_it(not_begun):
    early.begin()
    early.begin()
    (begun,) = early._begun
    assert calls(not_begun, 2) == [f"-m drt_kernels.ahead {begun.folder}"] * 2
    assert not begun.ended()
    done = []

    def end_others():
        done.append("one")
        for process in begun.processes:
            process.kill()

    compile_together((Task("one", end_others), Task("two", lambda: done.append("two"))), 2)
    assert done == ["one", "two"]
    assert begun.ended()
    assert not early._begun
    assert not begun.folder.exists()
    assert len(calls(not_begun, 2)) == 2


def test_a_copy_of_the_process_leaves_them_to_it(not_begun, monkeypatch):
    early.begin()
    (begun,) = early._begun
    calls(not_begun, 2)
    own = os.getpid()
    with monkeypatch.context() as copy:
        copy.setattr(os, "getpid", lambda: own + 1)
        with early.helpers(lambda: early.Helpers(0)) as others:
            assert others is not begun
            assert not others.processes
        assert not others.folder.exists()
        begun.end()
    assert begun.folder.exists()
    assert not begun.ended()
    early._end()
    assert begun.ended()
    assert not begun.folder.exists()


@pytest.mark.parametrize(
    "why",
    ["there are copies", "one thread", "one that is wrong", "told elsewhere", "not compiled", "a worker", "no folder"],
)
def test_none_begin_where_they_would_be_of_no_use(why, not_begun, monkeypatch):
    kept = not_begun / "kept"
    if why == "there are copies":
        (kept / "drt_kernels_1").mkdir()
        (kept / "drt_kernels_1" / "log_gaussian.maximise-862.py311.nbi").touch()
    elif why == "told elsewhere":
        monkeypatch.chdir(not_begun)
        (not_begun / ".numba_config.yaml").touch()
    elif why == "a worker":
        monkeypatch.setattr("multiprocessing.process.parent_process", lambda: "parent")
    elif why == "no folder":
        kept.rmdir()
    else:
        name = "NUMBA_DISABLE_JIT" if why == "not compiled" else "DRT_ENGINE_THREADS"
        monkeypatch.setenv(name, "two" if why == "one that is wrong" else "1")
    early.begin()
    assert early._asked
    assert not early._begun


def test_copies_are_looked_for_beside_the_kernels(not_begun, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(early, "__file__", str(not_begun / "kept" / "early.py"))
    assert early._is_first("")
    (not_begun / "kept" / "__pycache__").mkdir()
    (not_begun / "kept" / "__pycache__" / "log_gaussian.maximise-862.py311.1.nbi").touch()
    assert not early._is_first("")


def test_what_is_inverted_next_is_compiled_from_the_first_name_on(not_begun, monkeypatch):
    names = []
    monkeypatch.setattr(early, "begin", lambda: names.append("begun"))
    assert drt.__getattr__("Status")
    assert names == []
    for name in ("Spectra", "LogGaussian", "invert"):
        assert drt.__getattr__(name)
    assert names == ["begun"] * 3
