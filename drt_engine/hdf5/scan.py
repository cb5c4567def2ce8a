"""What is in a file, without reading its large arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.hdf5 import schema
from drt_engine.hdf5.columns import StoredColumn
from drt_engine.hdf5.files import PathLike, reading
from drt_engine.hdf5.grid_reader import GridReader, check_root, members
from drt_engine.hdf5.tables import opened_tables
from drt_engine.spectra import MASK_REASONS
from drt_engine.status import count_status, failures

__all__ = ["Contents", "InversionInfo", "ProcessesInfo", "SpectraInfo", "scan"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class SpectraInfo:
    """What a file says of the spectra of a grid.

    Attributes
    ----------
    grid : str
        Name of the grid.
    spectra : int
        K.
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    columns : mapping of str to StoredColumn
        The state columns, as they are stored.
    chunk : int
        Rows that lie together in the file.
    masked : mapping of str to int
        Points that are left out, by reason.
    """

    grid: str
    spectra: int
    frequency: Array = field(repr=False)
    columns: Mapping[str, StoredColumn] = field(repr=False)
    chunk: int
    masked: Mapping[str, int] = field(default_factory=dict)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state columns."""
        return tuple(self.columns)


@dataclass(frozen=True, eq=False)
class InversionInfo:
    """What a file says of an inversion of a grid.

    Attributes
    ----------
    name, grid : str
        Names of the inversion and of the grid.
    spectra : int
        K.
    tau : ndarray, shape (M,)
        Relaxation times, s.
    states : tuple of str
        Names of the state columns.
    counts : mapping of str to int
        Spectra by status, as :meth:`Inversion.counts` has them.
    failed : int
        How many have no solution.
    coupling : tuple of float, or None
        Smallest and largest strength of the coupling between neighbouring spectra of a series; None if all were
        inverted alone.
    settings, versions : mapping
        The method; and what it was computed with.
    created : str
        When, in UTC, ISO 8601.
    source, input_digest : str or None
        Name and digest of the file that the spectra came from.
    where : str or None
        Condition on the states of the spectra that were taken.
    started, job : str or None
        When the job began, in UTC, ISO 8601, and what tells it from all others.
    older_campaign : str or None
        Digest that the file had before spectra were added to it that are not in the inversion.
    """

    name: str
    grid: str
    spectra: int
    tau: Array = field(repr=False)
    states: tuple[str, ...]
    counts: Mapping[str, int]
    failed: int
    coupling: tuple[float, float] | None
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    created: str
    source: str | None
    input_digest: str | None
    where: str | None
    started: str | None
    job: str | None
    older_campaign: str | None = None


@dataclass(frozen=True, eq=False)
class ProcessesInfo:
    """What a file says of processes that were followed.

    Attributes
    ----------
    name : str
        Name of the table.
    observations, events, unassigned : int
        How many observations and events there are, and peaks that belong to no process.
    processes : tuple of str
        Names of the processes, in the order of τ.
    along : str
        State that they were followed along.
    series : tuple of str
        States that distinguish series.
    columns : tuple of str
        Names of the columns of the observations.
    spectra : int
        How many spectra were looked at.
    options, versions : mapping
        Options of the tracking, and versions of what it was computed with.
    created : str
        When, in UTC, ISO 8601.
    source, input_digest : str or None
        Name and digest of the file of inversions whose rows are counted.
    older_campaign : str or None
        As that of :class:`InversionInfo`.
    """

    name: str
    observations: int
    events: int
    unassigned: int
    processes: tuple[str, ...]
    along: str
    series: tuple[str, ...]
    columns: tuple[str, ...]
    spectra: int
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    created: str
    source: str | None
    input_digest: str | None
    older_campaign: str | None = None


@dataclass(frozen=True, eq=False)
class Contents:
    """What is in a file.

    Attributes
    ----------
    format_version : int
        Version of the format.
    spectra : tuple of SpectraInfo
        One for each grid.
    inversions : tuple of InversionInfo
        One for each inversion and grid.
    processes : tuple of ProcessesInfo
        One for each table of processes.
    """

    format_version: int
    spectra: tuple[SpectraInfo, ...]
    inversions: tuple[InversionInfo, ...]
    processes: tuple[ProcessesInfo, ...] = ()


def scan(path: PathLike) -> Contents:
    """Find out what is in a file, without reading its large arrays.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Contents
        Grids, inversions and processes; there may be none of either.

    Raises
    ------
    FileFormatError
        One line that names the file and the cause, if the file is not there or not as its format says.
    """
    with reading(path) as file:
        version = check_root(path, file)
        spectra = members(path, file, schema.SPECTRA_PATH, required=False)
        names = members(path, file, schema.INVERSIONS_PATH, required=False)
        tables = members(path, file, schema.PROCESSES_PATH, required=False)
        return Contents(
            version,
            tuple(_spectra_info(grid, GridReader(path, group, schema.SPECTRA)) for grid, group in spectra.items()),
            tuple(
                _inversion_info(name, grid, GridReader(path, group, schema.INVERSION))
                for name in names
                for grid, group in members(path, file, f"{schema.INVERSIONS_PATH}/{name}").items()
            ),
            tuple(_processes_info(path, name, group) for name, group in tables.items()),
        )


def _spectra_info(grid: str, reader: GridReader) -> SpectraInfo:
    masked: dict[str, int] = {}
    if reader.has("point_mask"):
        ends = 1 + len(MASK_REASONS)
        often = np.bincount(reader.read("point_mask").ravel(), minlength=ends)[1:ends]
        masked = {reason: int(count) for reason, count in zip(MASK_REASONS, often, strict=True) if count}
    return SpectraInfo(grid, reader.spectra, reader.read("frequency"), reader.columns, reader.chunk, masked)


def _inversion_info(name: str, grid: str, reader: GridReader) -> InversionInfo:
    found, status = reader.attributes, reader.read("status")
    coupling = reader.read("coupling") if reader.has("coupling") else np.empty(0)
    coupling = coupling[np.isfinite(coupling)]
    return InversionInfo(
        name=name,
        grid=grid,
        spectra=reader.spectra,
        tau=reader.read("tau"),
        states=tuple(reader.columns),
        counts=count_status(status),
        failed=int(np.count_nonzero(failures(status))),
        coupling=(float(coupling.min()), float(coupling.max())) if coupling.size else None,
        settings=reader.json_object("settings"),
        versions=reader.json_object("versions"),
        created=found["created"],
        source=found["source"],
        input_digest=found["input_digest"],
        where=found["where"],
        started=found["started"],
        job=found["job"],
        older_campaign=found[schema.OLDER_CAMPAIGN],
    )


def _processes_info(path: PathLike, name: str, group: Any) -> ProcessesInfo:
    tables = opened_tables(path, group)
    reader, rows = tables["table"], {part: table.spectra for part, table in tables.items()}
    found = reader.attributes
    return ProcessesInfo(
        name=name,
        observations=rows["table"],
        events=rows["events"],
        unassigned=rows["unassigned"],
        processes=tuple(reader.json_names("processes")),
        along=found["along"],
        series=tuple(reader.json_names("series")),
        columns=tuple(reader.columns),
        spectra=found["spectra"],
        options=reader.json_object("options"),
        versions=reader.json_object("versions"),
        created=found["created"],
        source=found["source"],
        input_digest=found["input_digest"],
        older_campaign=found[schema.OLDER_CAMPAIGN],
    )
