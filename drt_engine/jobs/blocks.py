"""Which rows of which grid are worked on together."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "BlockSize", "Extent", "apart", "gaps", "next_block"]

# The first block is so small that slow spectra do not make it long; the largest is that of a chunk of the file.
_FIRST, _LARGEST = 4, 8192
# A first block may be short by chance; so much larger at most is the next one.
_GROWTH = 8
# Below these, what each block costs would count.
_FEWEST_SHARED = 32
# What a block takes: usually, where longer blocks take less time a spectrum, and at most, since it is what is lost
# when a job is killed.
# To read and to commit one takes about 10 ms, during which all threads but one have nothing to do.
_WANTED_SECONDS, _LONG_SECONDS, _MOST_SECONDS = 1.0, 2.0, 5.0
# Blocks of twice the length pay if a spectrum takes less than this share of its time in them.
_PAYS = 0.75
# So many blocks of each worker are left when blocks become smaller.
_BLOCKS_LEFT_A_WORKER = 4


@dataclass(frozen=True, order=True)
class Block:
    """Consecutive spectra among those that a job takes from a grid.

    Attributes
    ----------
    grid : int
        Number of the grid.
    first, last : int
        Which, counted among those that are taken; `last` is not one of them.
    """

    grid: int
    first: int
    last: int

    def __len__(self) -> int:
        """Return the number of spectra."""
        return self.last - self.first


@dataclass(frozen=True, eq=False)
class Extent:
    """What a job takes from a grid.

    Attributes
    ----------
    name : str
        The grid.
    spectra : int
        How many spectra are taken.
    chunk : int
        Rows that lie together in the file.
    rows : ndarray of int, or None
        Row numbers in the file, series by series where spectra are inverted together; None for all as they are.
    ends : ndarray of int, or None
        Where blocks may end, so that none divides a series, by :func:`drt_engine.series.in_series_order`. None for
        anywhere.
    """

    name: str
    spectra: int
    chunk: int
    rows: NDArray[np.int64] | None = None
    ends: NDArray[np.int64] | None = None

    @property
    def ascending(self) -> bool:
        """Whether rows come in the order of the file."""
        return self.rows is None or bool((np.diff(self.rows) > 0).all())

    def rows_of(self, block: Block) -> NDArray[np.int64]:
        """Row numbers in the file of the spectra of a block."""
        return np.arange(block.first, block.last) if self.rows is None else self.rows[block.first : block.last]


class BlockSize:
    """How many spectra a block has: the number that was given, or as many as take about a second.

    It begins with few, whatever the method: how long one takes is not known, and until a block is done there is nothing
    to see and all of it to lose. It changes no number in the results, which are the same for any blocks.

    Parameters
    ----------
    fixed : int or None
        What the user asks for.
    """

    def __init__(self, fixed: int | None) -> None:
        self._fixed = fixed
        self._size = fixed or _FIRST
        self._seconds: dict[int, float] = {}
        self._tried = False

    def rows(self, chunk: int, left: int, workers: int) -> int:
        """Return the size of the next block.

        Parameters
        ----------
        chunk : int
            Rows that lie together in the file.
        left : int
            Spectra that are left.
        workers : int
            Among how many workers.
        """
        if self._fixed is not None:
            return self._fixed - self._fixed % chunk if self._fixed > chunk else self._fixed
        if workers == 1:
            return self._size
        # Towards the end smaller ones, so that no worker waits long for the last of another.
        fair = max(left // (_BLOCKS_LEFT_A_WORKER * workers), _FEWEST_SHARED)
        return min(self._size, 1 << (fair.bit_length() - 1))

    def learn(self, spectra: int, seconds: float) -> None:
        """Take note of how long a block took.

        Where half as many take almost as long, as with work to be done for each block, blocks become longer.
        """
        if spectra < self._size // 4 and seconds < _WANTED_SECONDS:
            # The rest of a grid: what it took is not so many times what a spectrum takes.
            return
        each, order = max(seconds, 1e-6) / spectra, spectra.bit_length()
        pays = each < _PAYS * self._seconds.get(order - 1, 0.0)
        self._seconds[order] = each
        affordable = int((_LONG_SECONDS if pays else _WANTED_SECONDS) / each)
        if not self._tried and affordable < 2 * self._size and 2.0 * seconds < _MOST_SECONDS:
            self._tried, affordable = True, 2 * self._size
        wanted = min(max(affordable, 1), _LARGEST, _GROWTH * self._size)
        # A power of two, as the chunks are that this package writes: blocks then end where chunks do, or divide them.
        self._size = 1 << (wanted.bit_length() - 1)


def apart(blocks: Iterable[Block]) -> list[Block]:
    """Choose blocks of which no two overlap, in order; of those that do, one that begins first, then the longest.

    Parameters
    ----------
    blocks : iterable of Block
        Blocks in any order.
    """
    chosen: list[Block] = []
    for block in sorted(blocks, key=lambda block: (block.grid, block.first, -block.last)):
        if not chosen or block.grid != chosen[-1].grid or block.first >= chosen[-1].last:
            chosen.append(block)
    return chosen


def gaps(total: int, done: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Find the rows that no block covers.

    Parameters
    ----------
    total : int
        How many spectra there are.
    done : mapping of int to int
        Beginnings and ends of what is covered, without overlap.

    Yields
    ------
    tuple of int
        Beginning and end of each gap.
    """
    at = 0
    for first in sorted(done):
        if first > at:
            yield at, first
        at = done[first]
    if at < total:
        yield at, total


def next_block(grid: int, first: int, stop: int, rows: int, ends: NDArray[np.int64] | None = None) -> Block:
    """Return the block that begins at `first`: to the next multiple of its size, so that it ends where a chunk does.

    A series that reaches beyond that is taken whole.

    Parameters
    ----------
    grid : int
        Number of the grid.
    first, stop : int
        Where it begins, and where the gap ends.
    rows : int
        Its size.
    ends : ndarray of int, optional
        Where it may end, as :class:`Extent` has them; `stop` is one of them.
    """
    last = min(stop, first - first % rows + rows)
    return Block(grid, first, last if ends is None else int(ends[np.searchsorted(ends, last)]))
