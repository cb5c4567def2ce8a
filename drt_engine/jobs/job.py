"""The batch job: a file of spectra goes in, a file of inversions comes out, block by block."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Unpack, get_args

from drt_engine.errors import FileFormatError, FileWriteError, JobInterrupted
from drt_engine.hdf5.disk import uninterrupted
from drt_engine.hdf5.files import NewFile, PathLike, check_target
from drt_engine.hdf5.inversions import versions
from drt_engine.hdf5.reader import opened_grid
from drt_engine.hdf5.scan import scan
from drt_engine.inversion import states_needed
from drt_engine.jobs.assemble import assemble
from drt_engine.jobs.blocks import Block, BlockSize, gaps, next_block
from drt_engine.jobs.journal import DamagedBlock, Journal, load_part
from drt_engine.jobs.options import JobOptions, Plan
from drt_engine.jobs.source import Source
from drt_engine.jobs.work import SHARE, Done, Kind, Task
from drt_engine.jobs.workers import Workers, workers_for
from drt_engine.methods import LogGaussian, Method
from drt_engine.methods.base import sharing
from drt_engine.regularisation import GRID, Series, Totals, add_totals, best_of_series
from drt_engine.spectra import series_of
from drt_engine.status import count_status, in_order

__all__ = ["JobSummary", "Progress", "invert_file"]

Progress = Callable[[int, int, Mapping[str, int]], None]
"""Called with how many spectra are done, how many there are, and the done ones by status."""

_MOST_ROUNDS = 3  # of making damaged blocks again; a disk that damages them every time would never end
_SECONDS_A_LOOK = 0.5  # between two, since each reads a file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobSummary:
    """What a job did.

    Attributes
    ----------
    path : Path
        The file that it made.
    spectra : int
        How many spectra there were.
    kept : int
        How many of them were done already, by a job that was not finished.
    seconds : float
        How long it took.
    counts : mapping of str to int
        Spectra by status, as :meth:`drt_engine.Inversion.counts` has them.
    failed : int
        How many spectra have no solution.
    """

    path: Path
    spectra: int
    kept: int
    seconds: float
    counts: Mapping[str, int]
    failed: int


def invert_file(
    path: PathLike,
    out: PathLike,
    *,
    method: Method | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Unpack[JobOptions],
) -> JobSummary:
    """Invert a file of spectra, all of its grids, into a file of inversions.

    Memory does not grow with the file: at most ``workers + 1`` blocks are in it. The input is opened for reading only.
    Each block that is done is kept in a folder beside the output, ``.NAME.job``, and the output appears under its name
    when it is whole. A job that was stopped, by whatever, and is started again goes on from the blocks that are there.
    The numbers are the same to the last bit for any blocks, workers and interruptions. A method that shares λ over a
    series does so within a grid, from all of its blocks; they are read twice then. Spectra that are inverted together,
    by ``LogGaussian(along=…)``, are in one block, within a grid as well.

    Parameters
    ----------
    path : path
        File of spectra.
    out : path
        File of inversions, another one.
    method : Method, optional
        Inversion method; ``LogGaussian()`` by default.
    workers : int
        Processes that invert, each with its share of the threads; 1 is this one, with all threads, and starts none. A
        script that asks for more has to keep its work under ``if __name__ == "__main__":``, as with every use of
        processes.
    overwrite : bool
        Whether `out` is replaced if it exists.
    progress : callable, optional
        Called with (done, total, counts by status) at the beginning and after every block. Where series are inverted
        together it is called in between as well, from another thread: so many spectra then count as done as are the
        same share of their block.
    **options
        ``level``, ``where``, ``name``, ``scheduler``, ``block``, ``compression``, ``dtype`` and ``restart`` of
        :class:`JobOptions`.

    Returns
    -------
    JobSummary
        How many spectra were inverted, how long it took, and how many have each status.

    Raises
    ------
    InputError
        If `out` is `path`, and for options that cannot be.
    FileFormatError
        If the input is not as its format says, or changes during the job.
    OutputExistsError
        If `out` exists and is not to be replaced.
    OutputBusyError
        If another job is making `out`.
    JobMismatchError
        If an unfinished job left blocks that this one cannot go on from: of another input, or with other settings.
    FileWriteError
        If the output cannot be written.
    SolverError
        If worker processes die again and again.
    JobInterrupted
        A KeyboardInterrupt that says how many spectra are done.
    """
    begin = time.perf_counter()
    plan = Plan(LogGaussian() if method is None else method, workers, **options)
    # Made before anything is read: it refuses what cannot be.
    pool = workers_for(plan.scheduler, plan.workers)
    journal = _journal_beside(out, path, overwrite=overwrite)
    source = Source(path, plan.method, plan.where)
    with journal.held():
        job = _Job(source, plan, journal, progress or (lambda *_: None))
        kept, counts, failed = job.run(pool, overwrite=overwrite)
    summary = JobSummary(Path(out), source.spectra, kept, time.perf_counter() - begin, counts, failed)
    level = logging.WARNING if failed else logging.INFO
    logger.log(level, "%d spectra of %s in %.1f s: %s", summary.spectra, path, summary.seconds, summary.counts)
    return summary


def _journal_beside(out: PathLike, path: PathLike, *, overwrite: bool) -> Journal:
    """Refuse an output that cannot be written, before the input is read."""
    if os.path.isdir(out):
        check_target(out, overwrite=overwrite)
    journal = Journal(Path(out))
    with journal.errors_with_path():
        # A file that the job of this folder may have made is looked at later.
        check_target(out, overwrite=overwrite or journal.finished(), inputs=(path,), hdf5=True)
    return journal


class _Job:
    """A job that holds its output."""

    def __init__(self, source: Source, plan: Plan, journal: Journal, progress: Progress) -> None:
        self._source, self._plan, self._journal, self._progress = source, plan, journal, progress
        self._started = datetime.now(UTC)
        # Frequencies and what is done to them tell how long a spectrum takes.
        self._sizes: dict[tuple[Kind, int], BlockSize] = {}
        self._done = 0
        self._counts: Counter[str] = Counter(ok=0)
        self._blocks: dict[Kind, set[Block]] = {}
        self._joint = any(extent.ends is not None for extent in source.extents)
        self._shown, self._turn = 0, Lock()
        self._stopped: BaseException | None = None

    def run(self, pool: Workers, *, overwrite: bool) -> tuple[int, dict[str, int], int]:
        """Invert what is left; return how many spectra were done, counts by status, and how many have no solution."""
        out, identity = self._journal.out, self._journal.begin(self._identity(), restart=self._plan.restart)
        if self._is_published(identity):
            # Killed between the last two steps: the file is there, its blocks are still to be removed.
            self._journal.remove()
            return self._source.spectra, *self._published()
        check_target(out, overwrite=overwrite, inputs=(self._source.path,), hdf5=True)
        kept = None
        try:
            for _ in range(_MOST_ROUNDS):
                self._take_up()
                kept = self._done if kept is None else kept
                self._show()
                try:
                    self._invert(pool)
                    counts, failed = self._assemble(overwrite=overwrite)
                    break
                except DamagedBlock as damaged:
                    self._journal.discard(damaged.path)
            else:
                raise FileWriteError(
                    f"{out}: cannot be written: blocks in {self._journal.folder.name} are damaged each time that they "
                    "are made. Have the disk checked."
                )
        except FileFormatError:
            # Nobody knows which blocks are of which content.
            if self._source.is_changed():
                self._journal.discard_all()
            raise
        except KeyboardInterrupt as error:
            raise JobInterrupted(self._done, self._source.spectra) from error
        # Too late to stop: the file is there.
        with suppress(KeyboardInterrupt), uninterrupted():
            self._journal.remove()
        return kept or 0, counts, failed

    def _identity(self) -> dict[str, Any]:
        """All that the numbers depend on."""
        return {
            "input": self._source.digest,
            "method": self._plan.method.settings(),
            "level": self._plan.level,
            "where": self._plan.where,
            "versions": versions(),
        }

    def _provenance(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "source": self._source.path.name,
            "input_digest": self._source.digest,
            "started": self._journal.plan["started"],
            "job": self._journal.plan["id"],
        }
        return found if self._plan.where is None else found | {"where": self._plan.where}

    def _is_published(self, identity: str) -> bool:
        if not self._journal.out.is_file():
            return False
        # Whatever else is there under that name is to be replaced, or in the way.
        with suppress(FileFormatError):
            return any(found.job == identity for found in scan(self._journal.out).inversions)
        return False

    def _published(self) -> tuple[dict[str, int], int]:
        counts: Counter[str] = Counter()
        failed = 0
        for found in scan(self._journal.out).inversions:
            counts.update(found.counts)
            failed += found.failed
        return in_order(counts), failed

    def _take_up(self) -> None:
        """Find the blocks that are there, and remove those that are damaged."""
        self._blocks = {kind: set() for kind in get_args(Kind)}
        self._counts, self._done = Counter(ok=0), 0
        for kind, blocks in self._blocks.items():
            for block in self._journal.done(kind):
                known = load_part(self._journal.path(kind, block), ("status",) if kind == "results" else ())
                if known is None:
                    self._journal.discard(self._journal.path(kind, block))
                    continue
                blocks.add(block)
                if kind == "results":
                    self._done += len(block)
                    self._counts.update(count_status(known["status"]))
        if self._done:
            logger.info("%d of %d spectra were done before", self._done, self._source.spectra)

    def _invert(self, pool: Workers) -> None:
        """Make every block that is not there."""
        if self._done == self._source.spectra:
            return
        with self._shown_meanwhile(), pool:
            chosen = self._shared_lambda(pool)
            for task, done in self._run("results", pool, chosen):
                with self._turn:
                    self._counts.update(done.counts)
                    self._done += len(task.block)
                self._show()

    def _show(self) -> None:
        """Show how far the job is, with what is done of blocks that are under way."""
        if self._stopped is not None:
            raise self._stopped
        with self._turn:
            part = self._part()
            self._shown = self._done + part
            self._progress(self._shown, self._source.spectra, in_order(self._counts))

    def _part(self) -> int:
        """Return how many spectra of the blocks under way count as done; never all of a block."""
        if not self._joint:
            return 0
        finished = {(block.grid, block.first) for block in self._blocks.get("results", ())}
        part = 0
        for block in self._journal.done("unfinished"):
            known = load_part(self._journal.path("unfinished", block), (SHARE,))
            if known is not None and (block.grid, block.first) not in finished and known[SHARE].shape == ():
                part += int(min(max(float(known[SHARE]), 0.0), 1.0) * (len(block) - 1))
        return part

    @contextmanager
    def _shown_meanwhile(self) -> Iterator[None]:
        """Show how far the job is in between, where a block may take long."""
        if not self._joint:
            yield
            return
        end = Event()

        def look() -> None:
            try:
                while not end.wait(_SECONDS_A_LOOK):
                    with self._turn:
                        part = self._part()
                        if self._done + part > self._shown:
                            self._shown = self._done + part
                            self._progress(self._shown, self._source.spectra, in_order(self._counts))
            except BaseException as error:
                # Raised at the next block, in the thread of the job.
                self._stopped = error

        thread = Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _run(
        self, kind: Kind, pool: Workers, chosen: Mapping[int, Mapping[Series, int]]
    ) -> Iterator[tuple[Task, Done]]:
        for task, done in pool.run(self._tasks(kind, pool, chosen)):
            self._source.check_unchanged()
            self._size(kind, task.block.grid).learn(len(task.block), done.seconds)
            with self._turn:
                self._blocks[kind].add(task.block)
            yield task, done

    def _size(self, kind: Kind, grid: int) -> BlockSize:
        return self._sizes.setdefault((kind, grid), BlockSize(self._plan.block))

    def _assemble(self, *, overwrite: bool) -> tuple[dict[str, int], int]:
        parts = {block: self._journal.path("results", block) for block in self._blocks["results"]}
        provisional = self._journal.folder / "output.partial"
        inputs = (self._source.path,)
        with NewFile(self._journal.out, overwrite=overwrite, inputs=inputs, provisional=provisional) as output:
            written = assemble(output, self._source, self._plan, parts, self._provenance())
            self._source.check_unchanged()
        return written

    def _shared_lambda(self, pool: Workers) -> dict[int, Mapping[Series, int]]:
        """Choose λ of each series from all blocks of a grid, if the method shares λ; this reads the spectra twice."""
        if sharing(self._plan.method) is None:
            return {}
        totals: dict[int, Totals] = {}
        for _ in self._run("scores", pool, {}):
            pass
        for block in sorted(self._blocks["scores"]):
            add_totals(totals.setdefault(block.grid, {}), self._totals(block))
        return {grid: best_of_series(of_grid) for grid, of_grid in totals.items()}

    def _totals(self, block: Block) -> Totals:
        path, columns = self._journal.path("scores", block), states_needed(self._plan.method)
        extent = self._source.extents[block.grid]
        with opened_grid(self._source.path, extent.name) as reader:
            states = reader.states(extent.rows_of(block), columns)
        _, series = series_of(states, columns)
        sums = (load_part(path) or {}).get("sums")
        if sums is None or sums.shape != (len(series), GRID.size):
            raise DamagedBlock(path)
        return dict(zip(series, sums, strict=True))

    def _tasks(self, kind: Kind, pool: Workers, chosen: Mapping[int, Mapping[Series, int]]) -> Iterator[Task]:
        """Yield blocks that are not inverted yet; the size of each is decided when a worker is free for it."""
        there = set(self._blocks[kind])
        begun = {(block.grid, block.first): block for block in self._journal.done("unfinished") if self._joint}
        left = self._source.spectra - sum(map(len, there))
        for grid, extent in enumerate(self._source.extents):
            covered = {block.first: block.last for block in there if block.grid == grid}
            for start, stop in gaps(extent.spectra, covered):
                first = start
                while first < stop:
                    rows = self._size(kind, grid).rows(extent.chunk, left, pool.number)
                    block = begun.get((grid, first))
                    if block is None or block.last > stop:
                        before = min((at for of, at in begun if of == grid and first < at < stop), default=stop)
                        block = next_block(grid, first, before, rows, extent.ends)
                    yield self._task(kind, block, chosen.get(grid))
                    first = block.last
                    left -= len(block)

    def _task(self, kind: Kind, block: Block, chosen: Mapping[Series, int] | None) -> Task:
        extent = self._source.extents[block.grid]
        return Task(
            kind=kind,
            source=str(self._source.path.absolute()),
            grid=extent.name,
            bytes=self._source.bytes,
            block=block,
            rows=None if extent.rows is None else extent.rows_of(block),
            method=self._source.methods[block.grid],
            chosen=chosen,
            target=self._journal.path(kind, block).absolute(),
            kept=self._journal.path("unfinished", block).absolute() if kind == "results" and self._joint else None,
            level=self._plan.level,
        )
