"""Options of a job other than its method, checked before the work begins."""

from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from drt_engine.errors import InputError
from drt_engine.hdf5.grid_writer import DEFAULT_NAME, Compression, Layout, Precision
from drt_engine.hdf5.schema import check_name
from drt_engine.methods import Method
from drt_engine.selection import Condition
from drt_engine.uncertainty.base import check_level

__all__ = ["JobOptions", "Plan"]


class JobOptions(TypedDict, total=False):
    """Options of a job: which spectra it takes, its blocks, its workers and its output.

    Attributes
    ----------
    level : float or None
        Probability of the intervals that are computed and stored; none by default.
    where : str or None
        Condition on the states; only spectra for which it holds are inverted: ``"cell == 'C' and cycle <= 100"``.
    name : str
        What the inversion is called in the file; ``"default"`` by default.
    scheduler : str, distributed.Client or None
        ``"inline"``: this process and one thread, for looking for mistakes; ``"threads"``: this process with all
        threads, the default for one worker; ``"processes"``, the default for several; the address of a Dask scheduler,
        such as ``"tcp://node1:8786"``, or a client of one.
    block : int or None
        Spectra that are read, inverted and committed at once. By default as many as take about a second, up to
        8192; the first ones are small. From a chunk of the file on it is rounded down to whole chunks. A series that is
        inverted together is never divided, so that a block is longer where a series is.
    compression : {"gzip"} or None
        What the arrays are compressed with; by default nothing.
    dtype : {"float64", "float32"}
        How results are stored; they are computed in double precision in any case.
    restart : bool
        Whether blocks that another, unfinished job left are thrown away.
    """

    level: float | None
    where: str | None
    name: str
    scheduler: Any
    block: int | None
    compression: Compression
    dtype: Precision
    restart: bool


@dataclass(frozen=True)
class Plan:
    """A method and :class:`JobOptions`, checked.

    Raises
    ------
    InputError
        For numbers out of range, names that cannot be and conditions that cannot be read.
    """

    method: Method
    workers: int = 1
    level: float | None = None
    where: str | None = None
    name: str = DEFAULT_NAME
    scheduler: Any = None
    block: int | None = None
    compression: Compression = None
    dtype: Precision = "float64"
    restart: bool = False

    def __post_init__(self) -> None:
        """Check."""
        _require_count("workers", self.workers)
        if self.block is not None:
            _require_count("block", self.block)
        if self.level is not None:
            check_level(self.level)
        if self.where is not None:
            _require_text("where", self.where)
            Condition(self.where)
        check_name("name", self.name)
        Layout(compression=self.compression, dtype=self.dtype)


def _require_count(what: str, value: object) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InputError(f"{what} must be a whole number from 1; got {value!r}.")


def _require_text(what: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{what} must be text; got {value!r}.")
