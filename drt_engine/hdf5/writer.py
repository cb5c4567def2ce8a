"""Campaigns of spectra into files."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.columns import fit
from drt_engine.hdf5.files import NewFile, PathLike
from drt_engine.hdf5.grid_writer import (
    DEFAULT_NAME,
    Compression,
    GridWriter,
    Layout,
    chunk_rows,
    encoded,
    put_root,
    require_grids,
)
from drt_engine.spectra import Spectra

__all__ = ["SpectraWriter", "write_spectra"]

Array = NDArray[Any]


class SpectraWriter:
    """Write a campaign to a file block by block, so that it need not fit into memory.

    Use it in a ``with`` statement. The file appears under its name when the block ends, whole; if it ends with an
    exception, nothing appears. Rows are held back until they fill a chunk of the file.

    Parameters
    ----------
    path : path
        The file.
    overwrite : bool
        Whether a file of that name is replaced.
    compression : {"gzip"}, optional
        What the arrays are compressed with; by default nothing, which is almost 20 times as
        fast and a fifth larger.

    Raises
    ------
    OutputExistsError
        If the file exists and is not to be replaced.
    FileWriteError
        If the file cannot be written.

    Examples
    --------
    >>> with SpectraWriter("campaign.h5") as writer:  # doctest: +SKIP
    ...     for spectra in sweeps:
    ...         writer.append(spectra)
    """

    def __init__(self, path: PathLike, *, overwrite: bool = False, compression: Compression = None) -> None:
        self._layout = Layout(compression=compression)
        self._output = NewFile(path, overwrite=overwrite)
        self._grids: dict[str, _Grid] = {}

    def __enter__(self) -> "SpectraWriter":
        """Begin the file."""
        self._output.__enter__()
        with self._output.writing():
            put_root(self._output.file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or remove it."""
        try:
            if kind is None:
                for grid in self._grids.values():
                    grid.finish()
        except BaseException as failure:
            self._output.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._output.__exit__(kind, error, trace)

    def append(self, spectra: Spectra, grid: str = DEFAULT_NAME) -> None:
        """Write further spectra.

        Parameters
        ----------
        spectra : Spectra
            K spectra, K from 0.
        grid : str
            Name of their frequency grid; spectra on another grid need another name.

        Raises
        ------
        InputError
            For frequencies or state columns that differ from those of the grid's first block, for columns that cannot
            be stored, and for a name that cannot be one.
        FileWriteError
            If the file cannot be written.
        """
        if self._output.file is None:
            raise InputError("a SpectraWriter writes inside of a with statement: with SpectraWriter(path) as writer: …")
        require_grids({grid: spectra}, Spectra, "spectra")
        if grid not in self._grids:
            schema.check_name("grid", grid)
            self._grids[grid] = _Grid(self._output, grid, spectra.frequency, self._layout)
        self._grids[grid].append(spectra)


class _Grid:
    """Spectra of one grid on their way to the file."""

    def __init__(self, output: NewFile, name: str, frequency: Array, layout: Layout) -> None:
        self._output, self._name, self._frequency, self._layout = output, name, frequency, layout
        self._chunk = chunk_rows(frequency.nbytes)
        self._waiting: list[Spectra] = []
        self._names: tuple[str, ...] | None = None
        self._timed = False
        self._writer: GridWriter | None = None

    def append(self, spectra: Spectra) -> None:
        if not np.array_equal(spectra.frequency, self._frequency):
            raise InputError(
                f"grid {self._name!r} has other frequencies than these spectra. Append them under another grid name."
            )
        if not len(spectra) and self._names is not None:
            return
        names = tuple(spectra.states.columns)
        if self._writer is None and not any(map(len, self._waiting)):
            # What was appended without a row says nothing of the types of those that come.
            self._names, self._waiting = None, []
        if self._names is None:
            # Now, so that a column that cannot be stored is refused where it comes.
            encoded(spectra.states)
            self._names, self._timed = names, spectra.point_time is not None
        if set(names) != set(self._names):
            raise InputError(
                f"grid {self._name!r} began with the state columns {', '.join(self._names) or 'none'}; got "
                f"{', '.join(names) or 'none'}. Give every block the same, with NaN or None for what is missing."
            )
        if self._timed != (spectra.point_time is not None):
            raise InputError(
                f"grid {self._name!r} began {'with' if self._timed else 'without'} point_time. Give it for every "
                "block, with NaN where it is not known, or for none."
            )
        self._waiting.append(spectra)
        if sum(map(len, self._waiting)) >= self._chunk:
            self._flush(everything=False)

    def finish(self) -> None:
        self._flush(everything=True)

    def _flush(self, *, everything: bool) -> None:
        if not self._waiting and self._writer is not None:
            return
        z, states, times = self._impedance(), self._states(), self._times()
        rows = len(z) if everything else len(z) - len(z) % self._chunk
        stored = encoded(states)
        if self._writer is None:
            layout = Layout(rows if everything else None, self._layout.compression)
            columns = {name: column for name, (column, _) in stored.items()}
            coordinates = {"frequency": self._frequency}
            optional = ("point_time",) if self._timed else ()
            self._writer = GridWriter(
                self._output, schema.SPECTRA, (self._name,), coordinates, columns, layout, optional
            )
            first = 0
        else:
            first = self._writer.rows
        values = {}
        for name, (column, raw) in stored.items():
            known = self._writer.columns[name]
            values[name] = fit(name, raw, column, known)[:rows]
            if column.kind == "text" and known.missing is None and column.missing is not None:
                self._writer.mark_missing(name, column)
        values |= {"impedance_real": z.real[:rows], "impedance_imag": z.imag[:rows]}
        if times is not None:
            values["point_time"] = times[:rows]
        self._writer.write(first, values)
        rest = None if times is None else times[rows:]
        self._waiting = [Spectra(self._frequency, z[rows:], states.iloc[rows:], rest)] if rows < len(z) else []

    def _impedance(self) -> Array:
        blocks = [spectra.impedance for spectra in self._waiting]
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate([np.empty((0, self._frequency.size), dtype=complex), *blocks])

    def _times(self) -> Array | None:
        times = [spectra.point_time for spectra in self._waiting if spectra.point_time is not None]
        return np.concatenate(times) if times else None

    def _states(self) -> pd.DataFrame:
        blocks = [spectra.states for spectra in self._waiting]
        rows = pd.RangeIndex(sum(map(len, blocks)))
        # Column by column: whole frames would be joined by other rules for columns that are empty in one.
        return pd.DataFrame(
            {name: pd.concat([block[name] for block in blocks], ignore_index=True) for name in self._names or ()},
            index=rows,
        )


def write_spectra(
    path: PathLike,
    spectra: Spectra | Mapping[str, Spectra],
    *,
    overwrite: bool = False,
    compression: Compression = None,
) -> None:
    """Write spectra to a file; it appears whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    spectra : Spectra or mapping of str to Spectra
        Spectra, which get the grid name ``"default"``, or several by grid name.
    overwrite : bool
        Whether a file of that name is replaced.
    compression : {"gzip"}, optional
        What the arrays are compressed with; by default nothing, which is almost 20 times as
        fast and a fifth larger.

    Raises
    ------
    InputError
        For something else than spectra, and for states and names that cannot be stored.
    OutputExistsError
        If the file exists and is not to be replaced.
    FileWriteError
        If the file cannot be written.
    """
    grids = spectra if isinstance(spectra, Mapping) else {DEFAULT_NAME: spectra}
    require_grids(grids, Spectra, "spectra")
    with SpectraWriter(path, overwrite=overwrite, compression=compression) as writer:
        for grid, some in grids.items():
            writer.append(some, grid)
