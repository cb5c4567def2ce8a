"""What a worker does with a block: it reads the spectra, inverts them and writes down what came of them.

Workers get paths and row numbers, never open files, and give back a few numbers; so they may be anywhere where the
paths lead to the same files.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.hdf5.reader import opened_grid, spectra_of
from drt_engine.inversion import invert_block, series_totals, states_needed
from drt_engine.jobs.blocks import Block
from drt_engine.jobs.journal import load_part, save_part
from drt_engine.methods import Method
from drt_engine.regularisation import Series
from drt_engine.result_fields import INTERVAL_UNITS, PER_SPECTRUM
from drt_engine.spectra import Spectra
from drt_engine.status import count_status
from drt_engine.steps import WHOLE, Kept
from drt_engine.threads import limited_threads
from drt_engine.uncertainty.intervals import LEVEL

__all__ = ["PART", "SHARE", "Done", "Kind", "Task", "begin_process", "run", "run_interruptible", "run_on_one_thread"]

Kind = Literal["scores", "results"]

PART = PER_SPECTRUM
"""What is kept of a block of results, beside intervals where they are wanted; the rest follows from it."""

SHARE = "share"
"""Share of a block that is done, in the file that keeps its progress."""

_SECONDS_TO_FIRST, _SECONDS_BETWEEN, _TIMES_LONGER = 0.5, 2.0, 20.0
"""How far a block is, is kept after half a second, then every two, or less often where that itself takes long."""


@dataclass(frozen=True, eq=False)
class Task:
    """A block of work.

    Attributes
    ----------
    kind : {"scores", "results"}
        Whether scores are to be summed over series, for a λ that they share, or spectra inverted.
    source, grid : str
        File and group of the spectra.
    bytes : int
        Size of the file.
    block : Block
        Which of the spectra that are taken.
    rows : ndarray of int, or None
        Row numbers in the file, if they are not those of the block.
    method : Method
        Inversion method.
    chosen : mapping, or None
        Which λ each series has, where they share it.
    target : Path
        Where the result goes.
    kept : Path, or None
        Where it is kept how far a block is whose spectra are inverted together.
    level : float, optional
        Probability of the intervals that are wanted as well.
    """

    kind: Kind
    source: str
    grid: str
    bytes: int
    block: Block
    rows: NDArray[np.int64] | None
    method: Method
    chosen: Mapping[Series, int] | None
    target: Path
    kept: Path | None = None
    level: float | None = None


@dataclass(frozen=True)
class Done:
    """What a worker reports of a block.

    Attributes
    ----------
    seconds : float
        How long it took.
    counts : mapping of str to int
        Spectra by status; empty for scores.
    """

    seconds: float
    counts: Mapping[str, int]


def run(task: Task) -> Done:
    """Do the work of a block, unless it is done already.

    Raises
    ------
    FileFormatError
        If the input cannot be read, or is not the file that the job began with.
    FileWriteError
        If the result cannot be written.
    """
    begin = time.perf_counter()
    if task.kind == "scores":
        if load_part(task.target) is None:
            totals = series_totals(_read(task), task.method)
            save_part(task.target, {"sums": np.array(list(totals.values()), dtype=np.int64)})
        return Done(time.perf_counter() - begin, {})
    known = load_part(task.target, ("status",))
    if known is None:
        kept = None if task.kept is None else _KeptInFile(task.kept)
        result = invert_block(_read(task), task.method, task.chosen, task.level, kept=kept)
        known = {name: getattr(result, name) for name in PART}
        if result.moved is not None:
            known["moved"] = result.moved
        if result.intervals is not None:
            known |= {name: getattr(result.intervals, name) for name in INTERVAL_UNITS}
        save_part(task.target, known)
    if task.kept is not None:
        with suppress(OSError):
            task.kept.unlink(missing_ok=True)
    return Done(time.perf_counter() - begin, count_status(known["status"]))


class _KeptInFile(Kept):
    """Progress of a block, written to a file of the job's folder every few seconds; called from several threads.

    Parameters
    ----------
    path : Path
        The file; what is not whole counts as nothing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(load_part(path))
        self._path = path
        self._parts: dict[str, dict[str, NDArray[Any]]] = {}
        for key in self._found:
            name, _, rest = key.partition("/")
            if rest:
                self._parts.setdefault(name, {})[rest] = self._found[key]
        self._shares: dict[str, float] = {}
        self._finished: set[str] = set()
        self._next = time.monotonic() + _SECONDS_TO_FIRST

    def finish(self, name: str) -> None:
        with self.lock:
            self._finished.add(name)
            self._shares.pop(name, None)

    def offer(self, name: str, share: float, state: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
        with self.lock:
            self._shares[name] = share
            begin = time.monotonic()
            if begin < self._next:
                return
            self._parts[name] = dict(state())
            if name in (WHOLE, LEVEL):
                # What came of finished parts is kept only now.
                for one in self._finished:
                    self._parts.pop(one, None)
            whole = {f"{part}/{key}": one for part, arrays in self._parts.items() for key, one in arrays.items()}
            save_part(self._path, {SHARE: np.array(sum(self._shares.values()))} | whole)
            now = time.monotonic()
            self._next = now + max(_SECONDS_BETWEEN, _TIMES_LONGER * (now - begin))


def run_on_one_thread(task: Task) -> Done:
    """Do the work of a block on this thread alone."""
    with limited_threads(1):
        return run(task)


def run_interruptible(task: Task) -> Done:
    """Do the work of a block in a process of a pool.

    Ctrl-C reaches every process of a terminal: at work it stops the block, between blocks it is the parent's to obey.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(task)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def begin_process(threads: int) -> None:
    """Prepare a process of a pool."""
    os.environ["DRT_ENGINE_THREADS"] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.unraisablehook = _unraisable
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The parent's progress and summary say what failed; lines of several processes would only mix.
    logging.getLogger("drt_engine").addHandler(logging.NullHandler())


def _unraisable(dropped: Any) -> None:
    """Report no Ctrl-C where C code called Python, which drops it: the parent stops the job."""
    if dropped.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(dropped)


def _end_with_parent() -> None:
    """End this process when its parent has ended: after a kill its pool would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(task: Task) -> Spectra:
    """Spectra of a block, with those of their states that the work depends on."""
    rows = np.arange(task.block.first, task.block.last) if task.rows is None else task.rows
    states = states_needed(task.method)
    with opened_grid(task.source, task.grid, states) as reader:
        if os.path.getsize(task.source) != task.bytes:
            raise FileFormatError(f"{task.source}: was changed while it was read. Run the job again.")
        # When sweeps began is not known of all.
        there = [name for name in states if name in reader.columns]
        return spectra_of(reader, rows, reader.states(rows, there))
