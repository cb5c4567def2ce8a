"""Workers that invert blocks: this process, processes of this machine, or a Dask cluster."""

import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Protocol

from drt_engine.errors import InputError, SolverError, UnknownNameError
from drt_engine.hdf5.disk import uninterrupted
from drt_engine.jobs.work import Done, Task, begin_process, run, run_interruptible, run_on_one_thread
from drt_engine.threads import thread_count

__all__ = ["SCHEDULERS", "Workers", "workers_for"]

SCHEDULERS = ("inline", "threads", "processes")
"""Schedulers that have a name; others are addresses of Dask clusters."""

_MOST_LOST_WORKERS = 3  # in a row: one or two may die of something else than their work


class Workers(Protocol):
    """Workers that invert blocks, as long as the context lasts."""

    @property
    def number(self) -> int:
        """Number of workers that share the work."""
        ...

    def run(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Done]]:
        """Do the tasks; each comes back when it is done, in any order.

        A task is taken from the iterator when there is a worker for it, one ahead.

        Raises
        ------
        DRTError
            What went wrong with a task; and SolverError where workers die again and again.
        """
        ...

    def __enter__(self) -> "Workers":
        """Start the workers."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers, when they have finished what they work on."""
        ...


def workers_for(scheduler: Any, number: int) -> Workers:
    """Return the workers that the user asks for.

    Parameters
    ----------
    scheduler : str, distributed.Client or None
        ``"inline"``, ``"threads"``, ``"processes"``, the address of a Dask scheduler such as ``"tcp://node1:8786"``, or
        a client of one; None for threads, or for processes if there are to be several.
    number : int
        Processes.

    Raises
    ------
    InputError
        For a number of processes that the scheduler has no use for.
    UnknownNameError
        For a scheduler that is neither known nor an address.
    """
    if scheduler is None:
        scheduler = "processes" if number > 1 else "threads"
    if scheduler == "processes":
        return _Processes(number)
    if number != 1:
        raise InputError(
            f"workers={number} is for processes of this machine; with scheduler={scheduler!r} it has no effect. "
            "Leave it out."
        )
    if scheduler in ("inline", "threads"):
        return _ThisProcess(run_on_one_thread if scheduler == "inline" else run)
    if isinstance(scheduler, str) and "://" not in scheduler:
        raise UnknownNameError("scheduler", scheduler, (*SCHEDULERS, "tcp://HOST:PORT"))
    from drt_engine.jobs.dask_ import DaskWorkers

    return DaskWorkers(scheduler)


class _ThisProcess:
    """The process itself, with all its threads or with one; one block after the other."""

    number = 1

    def __init__(self, work: Callable[[Task], Done]) -> None:
        self._work = work

    def __enter__(self) -> "_ThisProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Done]]:
        for task in tasks:
            yield task, self._work(task)


class _Processes:
    """Processes of this machine that share its threads; those that die are replaced."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "_Processes":
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        self.__exit__()
        threads = max(1, thread_count() // self.number)
        self._pool = ProcessPoolExecutor(
            self.number, get_context("spawn"), initializer=begin_process, initargs=(threads,)
        )
        return self._pool

    def run(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Done]]:
        pool = self._pool or self._start()
        again: deque[Task] = deque()
        pending: dict[Future[Done], Task] = {}
        deaths = 0
        # Where Ctrl-C is not for this process, as in the background of a script, it is not for those either.
        work = run if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else run_interruptible
        while True:
            try:
                while len(pending) <= self.number and (task := again.popleft() if again else next(tasks, None)):
                    # Before it is handed over: that may be what fails.
                    again.appendleft(task)
                    with _without_interrupts():
                        future = pool.submit(work, task)
                    pending[future] = task
                    again.popleft()
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    done = future.result()
                    deaths = 0
                    yield pending.pop(future), done
            except BrokenProcessPool as error:
                deaths += 1
                if deaths == _MOST_LOST_WORKERS:
                    raise SolverError(
                        f"worker processes died {deaths} times and finished nothing in between. If memory ran out, "
                        'take fewer workers or a smaller block; a script needs if __name__ == "__main__": around its '
                        "work."
                    ) from error
                again.extend(pending.values())
                pending.clear()
                pool = self._start()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes in which Ctrl-C is ignored until they have installed their own handler."""
    # Another thread may get the signal, so that to block it in this one, for children to inherit, is not enough.
    with uninterrupted():
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
