"""How many threads the engine takes, and that linear algebra takes none beside them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from drt_engine.errors import InputError

__all__ = ["run_tiles", "single_threaded_blas", "thread_count"]

T = TypeVar("T")


def thread_count() -> int:
    """Return how many threads an inversion takes.

    It is the environment variable ``DRT_ENGINE_THREADS`` where that is set, else the number of processors that this
    process may run on.

    Raises
    ------
    InputError
        If the variable is no whole number from 1.
    """
    wanted = os.environ.get("DRT_ENGINE_THREADS", "").strip()
    if not wanted:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not wanted.isdecimal() or int(wanted) < 1:
        raise InputError(f"DRT_ENGINE_THREADS must be a whole number from 1; got {wanted!r}. Set it to 1, or unset it.")
    return int(wanted)


def single_threaded_blas() -> AbstractContextManager[Any]:
    """Keep linear algebra to the calling thread while the context lasts.

    Matrices are small here: threads inside a product wait for each other longer than they work, they would multiply
    with those of the engine, and they would make sums depend on their number.
    """
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


def run_tiles(work: Callable[[T], None], tiles: Sequence[T]) -> None:
    """Do the work of every tile, on as many threads as the engine takes.

    Parameters
    ----------
    work : callable
        What to do with a tile; it has to write to places of its own.
    tiles : sequence
        The tiles.
    """
    threads = min(thread_count(), len(tiles))
    with single_threaded_blas():
        if threads <= 1:
            for tile in tiles:
                work(tile)
            return
        with ThreadPoolExecutor(threads, thread_name_prefix="drt-engine") as pool:
            for _ in pool.map(work, tiles):
                pass


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    # scipy brings a BLAS of its own, which is found only if it is loaded by now.
    import_module("scipy.linalg")
    return ThreadpoolController()
