"""What several test modules share."""

import gc
import importlib
import logging
import os
import pkgutil
import signal
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, wait
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import coverage
import numpy as np
import pytest
import typer.main

import drt_engine as drt


def pytest_terminal_summary(terminalreporter):
    """Say for how long made-up input was tried; the processes of xdist keep it to themselves."""
    # Where no test of it runs, hypothesis is not needed, which takes a second and a half of each process.
    done = vars(sys.modules["tests.fuzzing"])["DONE"] if "tests.fuzzing" in sys.modules else None
    if done:
        spent = sum(seconds for _, seconds in done.values())
        each = ", ".join(f"{name} {number:,}" for name, (number, _) in done.items())
        terminalreporter.write_line(f"fuzzed for {spent:.0f} s of processor time; examples: {each}")


def pytest_collection_modifyitems(items):
    """Begin with what takes longest: at the end, one process would do it and the others would have nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Look for no garbage while all is imported and collected: among ever more objects this takes a second or two."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


_CASES = 4
"""So many cases of a test are recorded: others run the same lines, but where each is a file of another instrument."""

_EACH_ITS_OWN = "readers"
"""Folder of tests in which it is."""

_RUN_BY_OTHERS = {
    "jobs": {"test_job.py"},
    "log_gaussian": {"test_hard.py", "test_posterior.py"},
    "peaks": {"test_finding.py", "test_inherited.py", "test_logarithmic.py"},
    "plotting": {"test_layout.py"},
    "readers": {"test_side_columns.py"},
    "tests": {"test_package.py", "test_real.py"},
    "validation": {"test_faults.py"},
}
"""Files by folder whose tests take long, and run hardly a line that no other test runs: forty of 35,000 in all."""

_UNRECORDED = pytest.StashKey[bool]()


def pytest_collection_finish(session):
    """Choose what is recorded, and record what runs when a module is imported, which the first test may not.

    No lines are recorded in slow tests and in those whose lines others run, and in the rest in the first cases alone:
    this takes half of their time again, and what is left runs nearly all lines. A test that alone runs some is marked
    as recorded, in all its cases.

    Afterwards no garbage is looked for among what was imported and collected: half a million objects, 0.3 s each time.
    """
    cases = Counter()
    for item in session.items:
        name = item.nodeid.partition("[")[0]
        cases[name] += 1
        folder = item.path.parent.name
        slow, many = item.get_closest_marker("slow"), cases[name] > _CASES and folder != _EACH_ITS_OWN
        others = item.path.name in _RUN_BY_OTHERS.get(folder, ())
        item.stash[_UNRECORDED] = bool(slow or many or others) and not item.get_closest_marker("recorded")
    if coverage.Coverage.current() is not None:
        for module in pkgutil.walk_packages(drt.__path__, "drt_engine."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Record lines, or none."""
    measured = coverage.Coverage.current() if item.stash[_UNRECORDED] else None
    if measured is None:
        return (yield)
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of measured spectra; tests that need it are skipped without."""
    folder = os.environ.get("DRT_ENGINE_DATA")
    if not folder:
        pytest.skip("DRT_ENGINE_DATA does not name a folder of measured spectra")
    return Path(folder)


@pytest.fixture(scope="session")
def frequency():
    return np.logspace(5, -2, 36)


def zarc(frequency, r, tau, phi):
    return r / (1 + (2j * np.pi * frequency * tau) ** phi)


@pytest.fixture(scope="session", autouse=True)
def compiling():
    """Say nothing of kernels that are compiled: whether they are depends on what ran before."""
    logger = logging.getLogger("drt_engine.threads")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


@pytest.fixture(scope="session", autouse=True)
def commands():
    """Make the commands of the command line once: where one is refused, this takes three quarters of the time."""
    made = cache(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patched:
        for place in ("typer.main.get_command", "typer.testing._get_command"):
            patched.setattr(place, made)
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """Let Ctrl-C do what it does at a terminal: a shell that starts the tests in the background switches it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def noisy(frequency):
    """Six spectra of two arcs with 0.3 % noise; R_inf 10 ohm, L 100 nH."""
    rng = np.random.default_rng(5)
    rows = []
    for k in range(6):
        z = 10 + 2j * np.pi * frequency * 1e-7 + zarc(frequency, 50, 1e-3, 0.85) + zarc(frequency, 20 + 5 * k, 0.3, 0.8)
        rows.append(z + 0.003 * np.abs(z) * (rng.standard_normal(z.size) + 1j * rng.standard_normal(z.size)))
    return drt.Spectra(frequency, np.array(rows), {"cycle": np.arange(6)})


@pytest.fixture(scope="session")
def two_processes():
    """Two processes that do the work of jobs, begun once: each takes a second and more to load all that it needs."""
    from drt_engine.jobs.work import begin_process

    with ProcessPoolExecutor(2, get_context("spawn"), initializer=begin_process, initargs=(1,)) as pool:
        yield pool


class _Lent:
    """Those processes for one job: it ends with its work, and they go on."""

    def __init__(self, pool):
        self._pool, self._given = pool, []

    def submit(self, *work):
        self._given.append(self._pool.submit(*work))
        return self._given[-1]

    def shutdown(self, **options):
        assert options == {"wait": True, "cancel_futures": True}
        for one in self._given:
            one.cancel()
        wait(self._given)


@pytest.fixture
def lent_processes(monkeypatch, two_processes):
    """Let jobs with two workers take processes that are there; that they can begin some is tested with other jobs."""
    from drt_engine.jobs.work import begin_process

    def lent(number, context, *, initializer, initargs):
        assert (number, context.get_start_method(), initializer, len(initargs)) == (2, "spawn", begin_process, 1)
        return _Lent(two_processes)

    monkeypatch.setattr("drt_engine.jobs.workers.ProcessPoolExecutor", lent)
    return two_processes


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process: its exit code, and all that it prints."""
    monkeypatch.setenv("COLUMNS", "200")

    from drt_engine import cli

    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["drt-engine", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out + captured.err

    return command
