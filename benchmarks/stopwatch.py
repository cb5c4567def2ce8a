"""Time of each stage of a job, without a profiler: a few functions are wrapped that are called once a block or tile.

A wrapper costs about a microsecond and is called some ten times for 512 spectra, so it does not show in the total.
"""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from threading import Lock, get_ident, local, main_thread
from typing import Any

__all__ = ["STAGES", "Stopwatch", "watched"]

STAGES = (
    "digest",
    "read",
    "choice of λ",
    "solve",
    "certificate",
    "rest of invert",
    "commit",
    "evaluate",
    "write",
    "sync",
    "other",
)
"""In the order of the work. "Rest of invert" is scaling, the fit and its residual; "commit" is what makes blocks
durable and reads them back; "evaluate" is γ at `tau` and R_pol; "write" copies the states and fills the output;
"sync" is closing the output and waiting for the disk; "other" is what no wrapped function did."""

_TILES = "tiles"
_WRAPPED = (
    ("other", "drt_engine.jobs.job", "_Job.run"),
    ("digest", "drt_engine.jobs.source", "digest"),
    ("read", "drt_engine.jobs.work", "_read"),
    ("rest of invert", "drt_engine.jobs.work", "invert_block"),
    ("commit", "drt_engine.jobs.work", "save_part"),
    ("commit", "drt_engine.jobs.assemble", "_read"),
    ("evaluate", "drt_engine.jobs.assemble", "per_spectrum"),
    ("write", "drt_engine.jobs.job", "assemble"),
    ("choice of λ", "drt_engine.regularisation.modal", "GeneralisedCrossValidation.__call__"),
    ("solve", "drt_engine.solvers.pivoting", "PivotingSolver.__call__"),
    ("certificate", "drt_engine.model.problem", "Problem.optimality"),
    ("write", "drt_engine.hdf5.grid_writer", "GridWriter.write"),
    ("sync", "drt_engine.hdf5.files", "NewFile.__exit__"),
)


class Stopwatch:
    """Adds up the time that threads spend in stages; a stage inside of another one counts for itself only."""

    def __init__(self) -> None:
        self._main: dict[str, float] = defaultdict(float)
        self._others: dict[str, float] = defaultdict(float)
        self._lock = Lock()
        self._local = local()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time counts for a stage."""

        @functools.wraps(function)
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            inner: list[float] = self._local.__dict__.setdefault("inner", [])
            inner.append(0.0)
            begin = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                passed = time.perf_counter() - begin
                own = passed - inner.pop()
                if inner:
                    inner[-1] += passed
                times = self._main if get_ident() == main_thread().ident else self._others
                with self._lock:
                    times[stage] += own

        return wrapper

    def shares(self, total: float) -> dict[str, float]:
        """Share of each stage in the whole time.

        While the main thread waits for the others, that time is parted as theirs is.

        Parameters
        ----------
        total : float
            The whole time, s.
        """
        times = dict(self._main)
        waited = times.pop(_TILES, 0.0)
        busy = sum(self._others.values())
        for stage, seconds in self._others.items():
            times[stage] = times.get(stage, 0.0) + waited * seconds / busy
        if not busy:
            times["rest of invert"] = times.get("rest of invert", 0.0) + waited
        times["other"] = times.get("other", 0.0) + max(total - sum(times.values()), 0.0)
        return {stage: times.get(stage, 0.0) / total for stage in STAGES}


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """Wrap the stages of a job as long as the context lasts; only what runs in this process is seen.

    Raises
    ------
    AttributeError
        If a stage is not where the table above has it.
    """
    watch = Stopwatch()
    places = [(stage, *_place(module, name)) for stage, module, name in _WRAPPED]
    inversions = [import_module(f"drt_engine.inversion.{name}") for name in ("blocks", "together")]
    run_tiles = inversions[0].run_tiles

    def run(work: Callable[[Any], None], tiles: Sequence[Any]) -> None:
        run_tiles(watch.timed("rest of invert", work), tiles)

    before: list[tuple[Any, str, Any]] = [(one, "run_tiles", run_tiles) for one in inversions]
    before += [(owner, name, getattr(owner, name)) for _, owner, name in places]
    try:
        for one in inversions:
            one.__dict__["run_tiles"] = watch.timed(_TILES, run)
        for stage, owner, name in places:
            setattr(owner, name, watch.timed(stage, getattr(owner, name)))
        yield watch
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _place(module: str, name: str) -> tuple[Any, str]:
    owner: Any = import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    getattr(owner, last)
    return owner, last
