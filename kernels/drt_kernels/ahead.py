"""Compile what a first inversion needs in several processes at once, where it has not been compiled before.

numba compiles in one thread, and a function when it is first called. Here the parts of the search of `log_gaussian` and
the other kernels that the engine calls for one spectrum are compiled by this process and by others that it starts; each
keeps them on disk, where the others find them. What is left out, or could not be compiled here, is compiled when it is
called.
"""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core import config as _config

from drt_kernels import certificate, log_gaussian, piecewise, pivoting
from drt_kernels.compiling import KNOWN, NOT_COMPILED
from drt_kernels.curvature import Tables
from drt_kernels.early import MOST, Helpers, helpers
from drt_kernels.held import Held, kind_of
from drt_kernels.log_gaussian import LEAVES, Grid, new_arrays

__all__ = ["compile_first"]

# How often a process looks whether what it waits for has been done, and how long it waits at most, s: another process
# may have been stopped, and what it was to compile is compiled when it is called.
_PAUSE, _PATIENCE = 0.02, 120.0

_STARTING = Lock()


class Task(NamedTuple):
    """Something to compile."""

    name: str
    compile: Callable[[], Any]
    after: tuple[str, ...] = ()  # what has to be on disk before, so that it is not compiled twice


def _array(dimensions: int, kind: Any = types.float64, *, readonly: bool = False) -> Any:
    return types.Array(kind, dimensions, "C", readonly=readonly)


def work_kind() -> Any:
    """Type that numba has for the arrays of the search."""
    matrix, row, some = np.zeros((4, 4)), np.zeros(4), np.zeros(4, dtype=np.intp)
    grid = Grid(matrix, 1, 1, row, row, matrix, row, 0.0, 0.0, 0.0, matrix)
    tables = Tables(matrix, matrix, matrix, some, matrix, matrix, matrix, some, 0.0, 0.0)
    return kind_of(new_arrays(grid, tables, LEAVES))


@lru_cache(maxsize=1)
def tasks() -> tuple[Task, ...]:
    """Return what the first inversion of a spectrum needs, in the order in which it is best begun."""
    work = work_kind()
    grid, held = Held(work.types[0]), Held(work)
    number, whole, yes = types.float64, types.intp, types.boolean
    row, matrix, stack = (_array(n) for n in (1, 2, 3))
    tau = _array(1, readonly=True)

    def task(function: Any, *kinds: Any, after: tuple[str, ...] = ()) -> Task:
        return Task(function.py_func.__name__, partial(function.compile, kinds), after)

    # The largest parts of `maximise`, which do not share much; it takes as long once it has them.
    parts = (
        task(log_gaussian._find_step, number, whole, grid, held),
        task(log_gaussian._begin, matrix, row, grid, held, row),
        task(log_gaussian._differentiate, number, grid, held),
        task(log_gaussian._curve, number, yes, yes, whole, grid, held, after=("_find_step",)),
    )
    search = matrix, stack, matrix, matrix, held, matrix, matrix, row
    return (
        *parts,
        task(log_gaussian.maximise, *search, after=tuple(part.name for part in parts)),
        *(Task(one.name, one.found) for one in LEAVES),
        task(pivoting.exchange_active, matrix, stack, _array(1, whole), whole, matrix, _array(1, yes)),
        task(piecewise.piecewise_impedance, row, tau, matrix, matrix),
        task(certificate.misfit, _array(2, types.complex128), _array(2, types.complex128), row),
    )


class _Board:
    """A folder of files by which processes share which tasks are begun and which are done."""

    def __init__(self, folder: Path, some: Sequence[Task]) -> None:
        self._folder, self._left = folder, list(some)

    def _done(self, names: Sequence[str]) -> bool:
        return all((self._folder / f"{name}.done").exists() for name in names)

    def _taken(self, task: Task) -> bool:
        """Whether the task is now this process's own."""
        try:
            (self._folder / task.name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def work(self, alone: Callable[[], bool]) -> None:
        """Do tasks until all have been begun by some process; in any order once this process is `alone`."""
        until = time.monotonic() + _PATIENCE
        while self._left and time.monotonic() < until:
            ready = [task for task in self._left if self._done(task.after)] or (self._left if alone() else [])
            if not ready:
                time.sleep(_PAUSE)
                continue
            task = ready[0]
            self._left.remove(task)
            if self._taken(task):
                # What cannot be compiled says so to the user when it is called.
                with suppress(Exception):
                    task.compile()
                (self._folder / f"{task.name}.done").touch()
                until = time.monotonic() + _PATIENCE

    def wait(self, some: Sequence[Task], alone: Callable[[], bool]) -> None:
        """Wait until all of some tasks are done, or nobody is there to do them."""
        names, until = [task.name for task in some], time.monotonic() + _PATIENCE
        while not self._done(names) and not alone() and time.monotonic() < until:
            time.sleep(_PAUSE)


def compile_together(some: Sequence[Task], processes: int) -> None:
    """Compile by this process and others that it starts, or that have begun."""

    def start() -> Helpers:
        # As numba was told in this process, perhaps by Python and not by its surroundings.
        folder = str(getattr(_config, "CACHE_DIR", ""))
        return Helpers(min(processes, MOST) - 1, tuple(task.name for task in some), folder)

    with helpers(start) as others:
        board = _Board(others.folder, some)
        board.work(others.ended)
        board.wait(some, others.ended)


def compile_first(processes: Callable[[], int]) -> None:
    """Compile what the first inversion of a spectrum needs, if it has not been done before.

    Parameters
    ----------
    processes : callable
        Tells how many processes may do so, this one among them; with one, it is left to the calls.
    """
    if not _COMPILED:
        with _STARTING:
            if (count := processes()) > 1:
                _compile_once(count)
                _COMPILED.append(True)


_COMPILED: list[bool] = []
"""Whether this process has seen to it: it is asked with every spectrum."""


def _compile_once(processes: int) -> None:
    kept = getattr(getattr(log_gaussian.maximise, "_cache", None), "_cache_file", None)
    if not NOT_COMPILED and KNOWN and kept is not None and not kept._load_index():
        compile_together(tasks(), processes)


if __name__ == "__main__":
    # The process that has started this one ends it.
    _, where, *names = sys.argv
    _Board(Path(where), [task for task in tasks() if not names or task.name in names]).work(lambda: False)
