"""The batch job: a file of spectra goes in, a file of inversions comes out, block by block."""

import logging
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError, InputError, SolverError, UnknownNameError
from drt_engine.hdf5.files import NewFile, PathLike, check_target, digest
from drt_engine.hdf5.grid import DEFAULT_NAME, Compression, GridWriter, Layout, put_root
from drt_engine.hdf5.inversions import inversion_attributes, inversion_group, per_spectrum
from drt_engine.hdf5.reader import opened_grid, spectra_of
from drt_engine.hdf5.scan import SpectraInfo, scan
from drt_engine.hdf5.schema import SPECTRA_PATH, check_name
from drt_engine.inversion import invert, series_totals
from drt_engine.methods import Method, Tikhonov
from drt_engine.regularisation import Series, Totals, add_totals, best_of_series
from drt_engine.result import count_status
from drt_engine.spectra import Spectra
from drt_engine.threads import thread_count

__all__ = ["JobOptions", "JobSummary", "Progress", "invert_file"]

Array = NDArray[Any]
T = TypeVar("T")
Progress = Callable[[int, int, Mapping[str, int]], None]
"""Called with how many spectra are done, how many there are, and the done ones by status."""

_SMALLEST_BLOCK, _LARGEST_BLOCK = 32, 4096
_BLOCKS_A_WORKER = 16

logger = logging.getLogger(__name__)


class JobOptions(TypedDict, total=False):
    """What a job can be told about its blocks and its output.

    Attributes
    ----------
    name : str
        What the inversion is called in the file; ``"default"`` by default.
    block : int
        Spectra that are read, inverted and written at once. By default a sixteenth of a worker's share, from 32 to
        4096. From a chunk of the file on it is rounded down to whole chunks.
    compression : {"gzip"} or None
        What the arrays are compressed with; by default nothing.
    """

    name: str
    block: int | None
    compression: Compression


@dataclass(frozen=True)
class JobSummary:
    """What a job did.

    Attributes
    ----------
    path : Path
        The file that it made.
    spectra : int
        How many spectra there were.
    seconds : float
        How long it took.
    counts : mapping of str to int
        Spectra by status, as :meth:`drt_engine.Inversion.counts` has them.
    """

    path: Path
    spectra: int
    seconds: float
    counts: Mapping[str, int]


@dataclass(frozen=True)
class _Block:
    """What a worker gets: where to read, never an open file."""

    path: str
    grid: str
    first: int
    last: int
    method: Method
    chosen: Mapping[Series, int] | None = None


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
    The output appears under its name when it is whole; if anything goes wrong or the user interrupts, nothing appears.
    Numbers agree to 1e-12 for any `block` and `workers`. A method that shares λ over a series does so within a grid,
    from all of its blocks; they are read twice then.

    Parameters
    ----------
    path : path
        File of spectra.
    out : path
        File of inversions, another one.
    method : Method, optional
        How; ``Tikhonov()`` by default.
    workers : int
        Processes that invert, each with its share of the threads; 1 is this one, with all threads, and starts none. A
        script that asks for more has to keep its work under ``if __name__ == "__main__":``, as with every use of
        processes.
    overwrite : bool
        Whether `out` is replaced if it exists.
    progress : callable, optional
        Called with (done, total, counts by status) at the beginning and after every block.
    **options
        ``name``, ``block`` and ``compression`` of :class:`JobOptions`.

    Returns
    -------
    JobSummary
        How many, how long, and what became of them.

    Raises
    ------
    InputError
        If `out` is `path`, and for numbers out of range.
    FileFormatError
        If the input is not as its format says, or changes during the job.
    OutputExistsError
        If `out` exists and is not to be replaced.
    FileWriteError
        If the output cannot be written.
    SolverError
        If a worker process dies.
    """
    begin = time.perf_counter()
    plan = _Plan(Tikhonov() if method is None else method, workers, **options)
    if os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out):
        raise InputError(f"out must be another file than the spectra, which are never written to; got {out} for both.")
    check_target(out, overwrite=overwrite)
    source = _Source(path)
    with NewFile(out, overwrite=overwrite) as output:
        counts = _run(source, output, plan, progress or (lambda *_: None))
        source.check_unchanged()
    summary = JobSummary(Path(out), source.spectra, time.perf_counter() - begin, counts)
    logger.info("%d spectra of %s in %.1f s: %s", summary.spectra, path, summary.seconds, summary.counts)
    return summary


def _run(source: "_Source", output: NewFile, plan: "_Plan", progress: Progress) -> dict[str, int]:
    """Read, invert and commit every block; the counts by status."""
    with output.writing():
        put_root(output.file)
    writers = _Writers(output, source, plan)
    counts: Counter[str] = Counter(ok=0)
    done = 0
    progress(done, source.spectra, dict(counts))
    with _Workers(plan.workers) as workers:
        chosen = _shared_lambda(source, plan, workers)
        for block, arrays in workers.map(_inverted, _blocks(source, plan, chosen)):
            _commit(writers.of(block.grid), block, arrays)
            counts.update(count_status(arrays["status"]))
            done += block.last - block.first
            progress(done, source.spectra, dict(counts))
    writers.finish()
    return dict(counts)


def _shared_lambda(source: "_Source", plan: "_Plan", workers: "_Workers") -> dict[str, Mapping[Series, int]]:
    """Choose λ for every series by grid, from all blocks, where the method shares λ; that takes a first pass."""
    if plan.method.series is None:
        return {}
    for info in source.grids:
        for name in plan.method.series:
            if name not in info.columns:
                raise UnknownNameError("the state column of shared", name, info.columns)
    totals: dict[str, Totals] = {info.grid: {} for info in source.grids}
    for block, more in workers.map(_tallied, _blocks(source, plan, {})):
        add_totals(totals[block.grid], more)
    return {grid: best_of_series(of_grid) for grid, of_grid in totals.items()}


@dataclass(frozen=True)
class _Plan:
    """What the user asked for, checked before the work begins."""

    method: Method
    workers: int = 1
    name: str = DEFAULT_NAME
    block: int | None = None
    compression: Compression = None

    def __post_init__(self) -> None:
        _require_count("workers", self.workers)
        if self.block is not None:
            _require_count("block", self.block)
        check_name("name", self.name)
        Layout(compression=self.compression)


class _Source:
    """The file of spectra: what is in it, and whether it is still the same."""

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.grids: tuple[SpectraInfo, ...] = scan(path).spectra
        if not self.grids:
            raise FileFormatError(f"{path}: holds no spectra: there is no group /{SPECTRA_PATH}.")
        self.spectra = sum(grid.spectra for grid in self.grids)
        self._stamp = self._now()
        self.attributes = {"source": self.path.name, "input_digest": digest(path)}

    def check_unchanged(self) -> None:
        """Refuse a result that part of another file went into."""
        if self._now() != self._stamp:
            raise FileFormatError(f"{self.path}: was changed while it was read. Run the job again.")

    def _now(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise FileFormatError(f"{self.path}: cannot be read: {error.strerror or error}.") from error
        return found.st_size, found.st_mtime_ns


class _Writers:
    """The groups of the output, one after another."""

    def __init__(self, output: NewFile, source: _Source, plan: _Plan) -> None:
        self._output, self._source, self._plan = output, source, plan
        self._left = {info.grid: info for info in source.grids}
        self._grid: str | None = None
        self._writer: GridWriter | None = None

    def of(self, grid: str) -> GridWriter:
        """Return the writer of a grid; that of the grid before is let go, and its buffers with it."""
        if self._writer is None or self._grid != grid:
            self._grid, self._writer = grid, self._begin(self._left.pop(grid))
        return self._writer

    def finish(self) -> None:
        """Make the groups of grids that have no spectra."""
        for grid in list(self._left):
            self.of(grid)

    def _begin(self, info: SpectraInfo) -> GridWriter:
        frequency = np.sort(info.frequency)[::-1]
        expansion = self._plan.method.expansion(frequency)
        layout = Layout(info.spectra, self._plan.compression)
        names = self._plan.name, info.grid
        writer = inversion_group(self._output, names, frequency, expansion, info.columns, layout)
        writer.put_attributes(inversion_attributes(self._plan.method, expansion) | self._source.attributes)
        return writer


def _blocks(source: _Source, plan: _Plan, chosen: Mapping[str, Mapping[Series, int]]) -> Iterator[_Block]:
    share = -(-source.spectra // (_BLOCKS_A_WORKER * plan.workers))
    path = str(source.path)
    for info in source.grids:
        rows = _block_rows(plan.block, info.chunk, share)
        for first in range(0, info.spectra, rows):
            last = min(first + rows, info.spectra)
            yield _Block(path, info.grid, first, last, plan.method, chosen.get(info.grid))


def _block_rows(block: int | None, chunk: int, share: int) -> int:
    if block is None:
        # A power of two, as the chunks are that this package writes: blocks then end where chunks do, or divide them.
        block = 1 << (min(max(share, _SMALLEST_BLOCK), _LARGEST_BLOCK) - 1).bit_length()
    return block - block % chunk if block > chunk else block


class _Workers:
    """Those who do the work of blocks: this process, or processes that are started for it.

    Parameters
    ----------
    number : int
        How many; 1 is this process.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "_Workers":
        if self._number > 1:
            threads = max(1, thread_count() // self._number)
            self._pool = ProcessPoolExecutor(
                self._number, get_context("spawn"), initializer=_begin_worker, initargs=(threads,)
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, work: Callable[[_Block], T], blocks: Iterator[_Block]) -> Iterator[tuple[_Block, T]]:
        """Blocks in order with what came of them; one more is under way than there are processes."""
        if self._pool is None:
            for block in blocks:
                yield block, work(block)
            return
        pending: deque[tuple[_Block, Future[T]]] = deque()
        try:
            for block in blocks:
                pending.append((block, self._pool.submit(_interruptible, work, block)))
                if len(pending) > self._number:
                    oldest, future = pending.popleft()
                    yield oldest, future.result()
            while pending:
                oldest, future = pending.popleft()
                yield oldest, future.result()
        except BrokenProcessPool as error:
            raise SolverError(
                "a worker process died. If memory ran out, take fewer workers or a smaller block; a script needs "
                'if __name__ == "__main__": around its work.'
            ) from error


def _inverted(block: _Block) -> dict[str, Array]:
    return per_spectrum(invert(_read(block), block.method, chosen=block.chosen))


def _tallied(block: _Block) -> Totals:
    return series_totals(_read(block), block.method)


def _read(block: _Block) -> Spectra:
    """Spectra of a block, with those of their states that the work depends on."""
    rows = np.arange(block.first, block.last)
    with opened_grid(block.path, block.grid) as reader:
        return spectra_of(reader, rows, reader.states(rows, block.method.series or ()))


def _interruptible(work: Callable[[_Block], T], block: _Block) -> T:
    # Ctrl-C reaches every process of a terminal: at work it stops the block, between blocks it is the parent's to obey.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return work(block)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _begin_worker(threads: int) -> None:
    os.environ["DRT_ENGINE_THREADS"] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent's progress and summary say what failed; lines of several processes would only mix.
    logging.getLogger("drt_engine").addHandler(logging.NullHandler())


def _commit(writer: GridWriter, block: _Block, arrays: Mapping[str, Array]) -> None:
    """Write the answers of a block and the states that go with them, the latter as they are stored."""
    with opened_grid(block.path, block.grid) as reader:
        rows = np.arange(block.first, block.last)
        states = {name: reader.read(name, rows) for name in writer.columns}
    writer.write(block.first, {**arrays, **states})


def _require_count(what: str, value: object) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{what} must be a whole number from 1; got {value!r}.")
