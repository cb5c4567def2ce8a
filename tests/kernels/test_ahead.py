"""Kernels of a first inversion are compiled by several processes, or by one where no other can be started."""

import os
import subprocess
import sys
import time

import pytest

import drt_engine as drt
from drt_kernels import ahead, log_gaussian
from drt_kernels.ahead import Task, compile_together

TOGETHER = """
import time
from drt_kernels import ahead, certificate, piecewise

some = [task for task in ahead.tasks() if task.name in {"misfit", "piecewise_gram"}]

def wait():
    # What this process has begun, while the other does the rest.
    for _ in range(6000):
        if piecewise.piecewise_gram._cache._cache_file._load_index():
            return
        time.sleep(0.01)

ahead.compile_together([ahead.Task("misfit", wait), *some[1:]], 2)
some[1].compile()
print(some[1].name, sum(piecewise.piecewise_gram.stats.cache_hits.values()), certificate.misfit.signatures)
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
    assert done.stdout == "piecewise_gram 1 []\n"
