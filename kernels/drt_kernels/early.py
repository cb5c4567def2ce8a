"""Other processes that begin to compile the kernels of a first inversion while this one still imports.

Imports take a second, in which the other processors would be idle. numba is not known here yet, so that it is told by
file names whether anything has been compiled.
"""

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

__all__ = ["MOST", "Helpers", "begin", "helpers"]

MOST = 4
"""Processes that compile at most: more would wait for the longest of the tasks that come one after the other."""


class Helpers:
    """Processes that compile, and the folder by which they share what there is to do.

    Parameters
    ----------
    count : int
        How many to start.
    names : sequence of str
        Of the tasks that they take part in; all without any.
    folder : str, optional
        Where compiled copies are kept, if this process was told otherwise than by its surroundings.
    """

    def __init__(self, count: int, names: tuple[str, ...] = (), folder: str | None = None) -> None:
        # Only where they are needed, which is once on a machine.
        import subprocess
        from tempfile import mkdtemp

        self._owner = os.getpid()
        self.folder = Path(mkdtemp(prefix="drt-kernels-"))
        self.processes: list[subprocess.Popen[bytes]] = []
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        if folder is not None:
            environment["NUMBA_CACHE_DIR"] = folder
        command = [sys.executable, "-m", "drt_kernels.ahead", str(self.folder), *names]
        none = subprocess.DEVNULL
        # Where no process can be started, this one compiles alone, as it would without.
        with suppress(OSError):
            for _ in range(count if _may_start() else 0):
                self.processes.append(subprocess.Popen(command, stdin=none, stdout=none, stderr=none, env=environment))

    def ended(self) -> bool:
        """Whether all have."""
        return all(one.poll() is not None for one in self.processes)

    @property
    def own(self) -> bool:
        """Whether this process has started them, and not one that it is a copy of."""
        return self._owner == os.getpid()

    def end(self) -> None:
        """End them, and remove the folder; left to the process that has started them."""
        if not self.own:
            return
        from shutil import rmtree

        for one in self.processes:
            one.terminate()
            one.wait()
        rmtree(self.folder, ignore_errors=True)


_LOCK = Lock()
_begun: list[Helpers] = []
_asked: list[bool] = []


def begin() -> None:
    """Start processes that compile if nothing has been compiled yet and there are processors for them; only once."""
    with _LOCK:
        if _asked:
            return
        _asked.append(True)
        count = min(_processors(), MOST) - 1
        if count > 0 and _is_first(os.environ.get("NUMBA_CACHE_DIR", "")):
            _begun.append(Helpers(count))
            atexit.register(_end)


def _end() -> None:
    while _begun:
        _begun.pop().end()


@contextmanager
def helpers(make: Callable[[], Helpers]) -> Iterator[Helpers]:
    """Take over the processes that have begun, or make some; they end with the context."""
    with _LOCK:
        found = _begun.pop() if _begun and _begun[0].own else make()
    try:
        yield found
    finally:
        found.end()


def _processors() -> int:
    """How many an inversion may take, as :func:`drt_engine.threads.thread_count` tells."""
    wanted = os.environ.get("DRT_ENGINE_THREADS", "").strip()
    if wanted:
        return int(wanted) if wanted.isdecimal() else 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_first(folder: str) -> bool:
    """Whether nothing has been compiled yet where numba would keep it, so far as that is known."""
    name = "log_gaussian.maximise-*.nbi"
    multiprocessing = sys.modules.get("multiprocessing.process")
    others = multiprocessing is not None and multiprocessing.parent_process() is not None
    if others or Path(".numba_config.yaml").exists() or any(key.startswith("NUMBA_DISABLE") for key in os.environ):
        return False
    if folder:
        return os.access(folder, os.W_OK) and not any(Path(folder).glob(f"*/{name}"))
    beside = Path(__file__).parent
    return os.access(beside, os.W_OK) and not any((beside / "__pycache__").glob(name))


def _may_start() -> bool:
    """Whether `sys.executable` is Python, not a program that has Python in it."""
    return bool(sys.executable) and Path(sys.executable).name.startswith("python") and not hasattr(sys, "frozen")
