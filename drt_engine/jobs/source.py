"""The file of spectra that a job reads: what is in it, which of it is taken, and whether it is still the same."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from drt_engine.errors import FileFormatError, UnknownNameError
from drt_engine.hdf5.files import PathLike, digest
from drt_engine.hdf5.reader import opened_grid
from drt_engine.hdf5.scan import SpectraInfo, scan
from drt_engine.hdf5.schema import SPECTRA_PATH
from drt_engine.inversion import series_in, with_series
from drt_engine.jobs.blocks import Extent
from drt_engine.methods import LogGaussian, Method
from drt_engine.methods.base import sharing
from drt_engine.selection import rows_where
from drt_engine.series import in_series_order

__all__ = ["Source"]


class Source:
    """The input of a job.

    Parameters
    ----------
    path : path
        The file.
    method : Method
        What its spectra are inverted with.
    where : str, optional
        Condition on the states of the spectra that are taken.

    Attributes
    ----------
    path : Path
        The file.
    bytes : int
        Its size.
    digest : str
        Of its content.
    grids : tuple of SpectraInfo
        What is in it.
    extents : tuple of Extent
        What is taken of each grid.
    methods : tuple of Method
        The method for each grid: with the columns that distinguish its series, the same for all of its blocks.

    Raises
    ------
    FileFormatError
        If it cannot be read or holds no spectra.
    InputError
        For text that is not a condition, and for series along a state that is not a number.
    UnknownNameError
        If the method needs states that a grid does not have, with those that there are.
    """

    def __init__(self, path: PathLike, method: Method, where: str | None = None) -> None:
        self.path = Path(path)
        # Before the digest, which takes a while: a wrong file is refused at once.
        self.grids: tuple[SpectraInfo, ...] = scan(path).spectra
        if not self.grids:
            raise FileFormatError(f"{path}: holds no spectra: there is no group /{SPECTRA_PATH}.")
        self.bytes, self._changed = self._stamp()
        self.digest = digest(path)
        self._check_shared(method)
        found = [self._extent(info, method, where) for info in self.grids]
        self.extents, self.methods = tuple(extent for extent, _ in found), tuple(of_grid for _, of_grid in found)
        self.spectra = sum(extent.spectra for extent in self.extents)

    def _check_shared(self, method: Method) -> None:
        for info in self.grids:
            for name in () if (shared := sharing(method)) is None else shared.shared_states or ():
                if name not in info.columns:
                    raise UnknownNameError("the state column of shared", name, info.columns)

    def check_unchanged(self) -> None:
        """Raise if the file was changed, so that the result would be of two files.

        Raises
        ------
        FileFormatError
            If the file was changed.
        """
        if self._stamp() != (self.bytes, self._changed):
            raise FileFormatError(f"{self.path}: was changed while it was read. Run the job again.")

    def is_changed(self) -> bool:
        """Whether the file is there and is not the same any more."""
        with suppress(FileFormatError):
            return self._stamp() != (self.bytes, self._changed)
        return False

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise FileFormatError(f"{self.path}: cannot be read: {error.strerror or error}.") from error
        return found.st_size, found.st_mtime_ns

    def _extent(self, info: SpectraInfo, method: Method, where: str | None) -> tuple[Extent, Method]:
        joint = isinstance(method, LogGaussian) and method.along is not None
        if where is None and not joint:
            return Extent(info.grid, info.spectra, info.chunk), method
        rows = np.arange(info.spectra)
        with opened_grid(self.path, info.grid) as reader:
            states = reader.states(rows)
        if where is not None:
            rows = rows_where(states, where)
            states = states.iloc[rows].reset_index(drop=True)
        if not joint:
            return Extent(info.grid, rows.size, info.chunk, rows), method
        method = with_series(method, states)
        order, ends = in_series_order(series_in(states, method), rows.size)
        return Extent(info.grid, rows.size, info.chunk, rows[order], ends), method
