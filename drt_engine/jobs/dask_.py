"""A Dask cluster as workers; the only import of distributed."""

import secrets
from collections.abc import Iterator
from typing import Any

from drt_engine.errors import DRTError, InputError, SolverError
from drt_engine.jobs.work import Done, Task, run_on_one_thread

__all__ = ["DaskWorkers"]

_SECONDS_TO_ANSWER = 20  # after which the address of a scheduler is taken for a wrong one


class DaskWorkers:
    """The workers of a Dask cluster, each of their threads with one block at a time.

    When a worker dies, Dask gives its blocks to others. Workers may come and go meanwhile.

    Parameters
    ----------
    cluster : str or distributed.Client
        Address of the scheduler, or a client, which stays open.

    Raises
    ------
    InputError
        If distributed is not installed, `cluster` is neither, or no scheduler answers.
    """

    def __init__(self, cluster: Any) -> None:
        try:
            import distributed
        except ImportError as error:
            raise InputError(
                "a Dask cluster needs the package distributed. Install it: pip install 'dask>=2024.8' distributed."
            ) from error
        if not isinstance(cluster, str | distributed.Client):
            raise InputError(
                "scheduler must be a name, the address of a Dask scheduler or a distributed.Client; got "
                f"{type(cluster).__name__}."
            )
        self._distributed = distributed
        self._cluster = cluster
        self._client: Any = None

    def __enter__(self) -> "DaskWorkers":
        """Connect."""
        if isinstance(self._cluster, str):
            try:
                self._client = self._distributed.Client(self._cluster, timeout=_SECONDS_TO_ANSWER, set_as_default=False)
            except (OSError, ValueError) as error:
                raise InputError(
                    f"no Dask scheduler answers at {self._cluster}. Start one with dask scheduler, and give the "
                    "address that it prints."
                ) from error
        else:
            self._client = self._cluster
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect, unless the client is the user's."""
        if self._client is not self._cluster:
            self._client.close()

    @property
    def number(self) -> int:
        """How many threads the workers have now; 1 if there are none yet."""
        return max(1, int(sum(self._client.nthreads().values())))

    def run(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Done]]:
        """Do the tasks.

        Raises
        ------
        SolverError
            If blocks kill every worker they come to, or the scheduler is lost.
        """
        pending: dict[Any, Task] = {}
        completed = self._distributed.as_completed(loop=self._client.loop)

        def fill() -> None:
            most = self.number + 1
            while len(pending) < most and (task := next(tasks, None)) is not None:
                # Never looked up by content: blocks are told apart by where their results go.
                key = f"drt-engine-{task.target.name}-{secrets.token_hex(8)}"
                future = self._client.submit(run_on_one_thread, task, key=key, pure=False)
                pending[future] = task
                completed.add(future)

        try:
            fill()
            for future in completed:
                task, done = pending.pop(future), future.result()
                future.release()
                yield task, done
                fill()
        except DRTError:
            raise
        except (
            self._distributed.scheduler.KilledWorker,
            OSError,
            self._distributed.client.FutureCancelledError,
        ) as error:
            raise SolverError(f"the Dask cluster failed: {' '.join(str(error).split())}") from error
        finally:
            self._client.cancel(list(pending))
