"""Number of threads of an inversion; linear algebra takes no further ones meanwhile."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from drt_engine.errors import InputError

__all__ = ["limited_threads", "run_tiles", "single_threaded_blas", "thread_count"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_LIMIT: ContextVar[int | None] = ContextVar("limit", default=None)


def thread_count() -> int:
    """Return how many threads an inversion takes.

    It is the environment variable ``DRT_ENGINE_THREADS`` where that is set, else the number of processors that this
    process may run on.

    Raises
    ------
    InputError
        If the variable is no whole number from 1.
    """
    limit = _LIMIT.get()
    if limit is not None:
        return limit
    wanted = os.environ.get("DRT_ENGINE_THREADS", "").strip()
    if not wanted:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not wanted.isdecimal() or int(wanted) < 1:
        raise InputError(f"DRT_ENGINE_THREADS must be a whole number from 1; got {wanted!r}. Set it to 1, or unset it.")
    return int(wanted)


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let inversions that this thread calls take so many threads, while the context lasts.

    Parameters
    ----------
    threads : int
        Number of threads.
    """
    token = _LIMIT.set(threads)
    try:
        yield
    finally:
        _LIMIT.reset(token)


class _SingleThreaded:
    """Keeps linear algebra to one thread as long as anyone in the process needs it.

    The number of threads of a BLAS library is one for the whole process; if each caller set it back to what it found,
    one that ends would do so under the hands of another.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._before: list[tuple[Any, int]] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                # What threadpoolctl does as well, which also asks each library for all else that it knows of it.
                numbers = [(library, library.get_num_threads()) for library in _libraries()]
                self._before = [(library, number) for library, number in numbers if number not in (None, 1)]
                for library, _ in self._before:
                    library.set_num_threads(1)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    for library, number in self._before:
                        library.set_num_threads(number)


_single_threaded = _SingleThreaded()


def single_threaded_blas() -> AbstractContextManager[None]:
    """Keep linear algebra to the calling thread while the context lasts.

    Matrices are small here: threads inside a product wait for each other longer than they work, they would multiply
    with those of the engine, and they would make sums depend on their number.
    """
    return _single_threaded()


@lru_cache(maxsize=1)
def _announce_compiling() -> None:
    """Log it when kernels begin to be compiled: it takes so long that one would think that nothing is done."""
    from numba.core import event

    class Listener(event.Listener):
        def __init__(self) -> None:
            self._said = False

        def on_start(self, _: Any) -> None:
            if not self._said:
                self._said = True
                logger.warning(
                    "Compiling the numerical kernels for this machine, once after installation: a minute or two."
                )

        def on_end(self, _: Any) -> None:
            pass

    event.register("numba:compile", Listener())  # type: ignore[no-untyped-call]


def run_tiles(work: Callable[[T], None], tiles: Sequence[T]) -> None:
    """Do the work of every tile, on as many threads as the engine takes.

    Parameters
    ----------
    work : callable
        What to do with a tile; it has to write to places of its own.
    tiles : sequence
        The tiles.
    """
    _announce_compiling()
    threads = min(thread_count(), len(tiles)) if len(tiles) > 1 else 1
    with single_threaded_blas():
        if threads <= 1:
            for tile in tiles:
                work(tile)
            return
        with ThreadPoolExecutor(threads, thread_name_prefix="drt-engine") as pool:
            for _ in pool.map(work, tiles):
                pass


@lru_cache(maxsize=1)
def _libraries() -> list[Any]:
    """Return what sets the number of threads of each BLAS of this process."""
    # scipy brings a BLAS of its own, which is found only if it is loaded by now.
    import_module("scipy.linalg")
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
