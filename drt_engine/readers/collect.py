"""From many instrument files to one campaign: spectra by frequency grid, with states, and a report of every file."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import DRTError, InputError, UnknownNameError
from drt_engine.readers import READERS, read_file
from drt_engine.readers.base import NoMeasurementError, ReadOptions, Recording, Sweep
from drt_engine.readers.file_states import (
    TEXTS,
    NamePattern,
    SideTable,
    as_numbers,
    numbers_in_path,
    read_side_table,
    suggested_pattern,
    temperature_in,
)
from drt_engine.readers.named import parse_columns
from drt_engine.spectra import MIN_POINTS, STATE_UNITS, Spectra
from drt_engine.text import count_of, storable

__all__ = ["CollectOptions", "Collected", "FileReport", "checked", "collect"]

SAME_GRID = 1e-6
"""Two grids are one if their frequencies differ by no more, relative."""

MOST_MISSING = 0.1
"""Largest share of the points of a grid that a spectrum on it may lack."""

_ARCHIVES = {".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz"}
_ORDER = ("cell", "cycle", "sweep", "voltage", "direction", "current", "charge", "time", "temperature", "area")


@dataclass(frozen=True)
class CollectOptions:
    """How files become a campaign.

    Parameters
    ----------
    reading : ReadOptions, optional
        What the files do not say of themselves.
    name : str, optional
        Pattern of the file names, as ``"EIS_state_{state}_{cell}.txt"``, or of the ends of their paths, as
        ``"{cell}/cycle {cycle}/EIS_{voltage}[_{repeat}].txt"``, of which what is in square brackets may be missing;
        files that do not fit it are left out.
    states : path or DataFrame, optional
        Table of further states, with a column ``file`` (or ``source``) to join on, or else ``cell``, ``cycle`` or
        ``sweep``; all other columns are states.
    constants : mapping of str to object, optional
        States of all spectra, for example ``{"area": 0.785, "cell": "A"}``.
    unfinished : bool, optional
        Whether unfinished sweeps are taken as well.
    known : mapping of str to str, optional
        Source by digest of the files that the campaign has already; they are refused.
    grids : mapping of str to ndarray, optional
        Frequencies by grid name that the campaign has already; equal grids get the same name.
    root : path, optional
        Folder that files are named from, for files of it that are given one by one.
    """

    reading: ReadOptions = field(default_factory=ReadOptions)
    name: str | None = None
    states: "Path | str | pd.DataFrame | None" = None
    constants: Mapping[str, object] = field(default_factory=dict)
    unfinished: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    grids: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    root: "Path | str | None" = None


@dataclass(frozen=True)
class FileReport:
    """The outcome of reading one file.

    Parameters
    ----------
    source : str
        Its name, as in the column ``source`` of the states.
    status : {"read", "left out", "no measurement", "refused"}
        Whether spectra of it were taken; ``"no measurement"`` for a file of a folder that holds no impedance, as notes
        and voltage profiles; ``"refused"`` for an error.
    format : str
        Name of the reader, empty if none read it.
    sweeps, taken : int
        How many sweeps it holds, and how many of them became spectra.
    remarks : tuple of str
        What was left out or decided, and why.
    error : str
        Why it was refused or is no measurement, empty otherwise.
    digest : str
        First 32 digits of the SHA-256 of its content.
    tells_end : bool
        Whether it tells that its last sweep is finished, as :class:`drt_engine.readers.Recording` has it.
    unfinished : bool
        Whether it tells that its last sweep is not finished.
    """

    source: str
    status: str
    format: str = ""
    sweeps: int = 0
    taken: int = 0
    remarks: tuple[str, ...] = ()
    error: str = ""
    digest: str = ""
    tells_end: bool = False
    unfinished: bool = False


@dataclass(frozen=True)
class Collected:
    """A campaign from files.

    Parameters
    ----------
    spectra : mapping of str to Spectra
        By name of the frequency grid: ``"grid-0"``, ``"grid-1"``, ... in the order in which they were met.
    files : tuple of FileReport
        What became of every file.
    remarks : tuple of str
        What concerns no single file, for example rows of the table of states that no sweep fits.
    """

    spectra: Mapping[str, Spectra]
    files: tuple[FileReport, ...]
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Freeze the mapping."""
        object.__setattr__(self, "spectra", MappingProxyType(dict(self.spectra)))

    def __len__(self) -> int:
        """Return the number of spectra in all grids."""
        return sum(map(len, self.spectra.values()))

    def report(self) -> pd.DataFrame:
        """Return the report as a table, one row a file."""
        rows = [
            {
                "source": one.source,
                "status": one.status,
                "format": one.format,
                "sweeps": one.sweeps,
                "taken": one.taken,
                "remarks": "; ".join(one.remarks) or one.error,
            }
            for one in self.files
        ]
        return pd.DataFrame(rows, columns=["source", "status", "format", "sweeps", "taken", "remarks"])


def collect(
    paths: "str | PathLike[str] | Iterable[str | PathLike[str]]", options: CollectOptions | None = None
) -> Collected:
    """Read files and put their finished sweeps together as spectra.

    Parameters
    ----------
    paths : path or iterable of path
        Files, and folders whose files are all read, those in their folders too, but none whose name begins with a dot.
    options : CollectOptions, optional
        What else is known.

    Returns
    -------
    Collected
        A file that cannot be read is refused in the report, and the others are read all the same.

    Raises
    ------
    InputError
        For options that make no sense, for states that are not numbers where a unit belongs to them, and for a table of
        states of which no row fits a sweep.
    """
    options = options or CollectOptions()
    pattern, side = checked(options)
    digests = dict(options.known)
    rows: list[tuple[Sweep, dict[str, Any]]] = []
    files = []
    for path, source, named in _files(paths, options.root):
        report, sweeps = _read(path, source, pattern, digests, options)
        if report.status == "no measurement" and named:
            report = replace(report, status="refused")
        files.append(report)
        if "/" in source and pattern is None and side is None:
            # Often a folder for each cell or cycle; a pattern or a table says what they are.
            for _, state in sweeps:
                state["folder"] = source.rpartition("/")[0]
        rows += sweeps
    _make_numbers(rows, pattern.columns if pattern else ())
    given = {*options.constants, *(side.columns if side else ())}
    warm = _temperatures(rows) if pattern is None and "temperature" not in given else {}
    used = _join(rows, side)
    replaced = _set_constants(rows, options.constants)
    remarks = _untaken(rows) if pattern is None and side is None else [] if side is None else _unused(side, used, rows)
    reports = tuple(
        replace(
            one,
            remarks=(
                *one.remarks,
                *warm.get(one.source, ()),
                *used.missing.get(one.source, ()),
                *replaced.get(one.source, ()),
            ),
        )
        for one in files
    )
    return Collected(_by_grid(rows, options.grids), reports, tuple(remarks))


def checked(options: CollectOptions) -> tuple[NamePattern | None, SideTable | None]:
    """Return the pattern of names and the table of states of options, having checked all of them.

    Raises
    ------
    DRTError
        For options that make no sense, and a table that cannot be read.
    """
    if options.reading.columns:
        parse_columns(options.reading.columns)
    if options.reading.reader is not None and options.reading.reader not in READERS:
        raise UnknownNameError("reader", options.reading.reader, READERS)
    pattern = NamePattern(options.name) if options.name else None
    side = None if options.states is None else read_side_table(options.states, pattern.columns if pattern else ())
    return pattern, side


def _files(
    paths: "str | PathLike[str] | Iterable[str | PathLike[str]]", root: "Path | str | None"
) -> list[tuple[Path, str, bool]]:
    """Return every file with the name that it gets in the campaign, and whether it was named by itself."""
    several = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    found: list[tuple[Path, str, bool]] = []
    for path in map(Path, several):
        if root is not None:
            found.append((path, path.relative_to(root).as_posix(), False))
        elif path.is_dir():
            below = [p.relative_to(path) for p in path.rglob("*") if p.is_file()]
            found += [
                (path / p, p.as_posix(), False)
                for p in sorted(below, key=_natural)
                if not any(part.startswith((".", "~$")) for part in p.parts)  # "~$": of an open workbook
            ]
        else:
            found.append((path, path.name, True))
    # Named alike: with their folders, all of them, which then tell them apart.
    alike = len({name for _, name, _ in found}) < len(found)
    return [(path, storable(path.as_posix() if alike else name), own) for path, name, own in found]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts file 2 before file 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.as_posix())]


def _read(
    path: Path, source: str, pattern: NamePattern | None, digests: dict[str, str], options: CollectOptions
) -> tuple[FileReport, list[tuple[Sweep, dict[str, Any]]]]:
    """Return the report of one file and its sweeps with the states that file and name give."""
    report = FileReport(source, "refused")
    if path.suffix.lower() in _ARCHIVES:
        return replace(report, error="archives are not opened. Unpack it, if there are measurements in it."), []
    try:
        place = Path(os.path.abspath(path)).as_posix()
        texts = pattern.states_of(place) if pattern else {}
        if texts is None:
            ended = f"{options.name}{path.suffix}"
            fits = path.suffix[1:].isalnum() and NamePattern(ended).states_of(place) is not None
            cure = f"; {ended!r} would" if fits else ""
            remark = f"its name does not fit {options.name!r}{cure}"
            return replace(report, status="left out", remarks=(remark,)), []
        from_name = numbers_in_path({name: storable(text) for name, text in texts.items()})
        recorded = read_file(path, options=options.reading)
        digest = _digest(path)
        if digest in digests:
            raise InputError(f"the same content as {digests[digest]!r}, which is in the campaign. Leave one out.")
    except NoMeasurementError as error:
        return replace(report, status="no measurement", error=str(error)), []
    except DRTError as error:
        return replace(report, error=str(error)), []
    digests[digest] = source
    kept, remarks = _kept(recorded, options.unfinished)
    status = "read" if kept else "left out"
    report = FileReport(
        source,
        status,
        recorded.format,
        len(recorded.sweeps),
        len(kept),
        (*recorded.remarks, *remarks),
        "",
        digest,
        recorded.tells_end,
        bool(recorded.sweeps) and not recorded.sweeps[-1].finished,
    )
    rows = []
    area = options.constants.get("area") if recorded.metadata.get("per_area") else None
    if isinstance(area, (int, float)) and area > 0:
        report = replace(report, remarks=(*report.remarks, f"ohm cm2 divided by the area of {area:g} cm2"))
    for number, measured in kept:
        sweep = measured
        if isinstance(area, (int, float)) and area > 0:
            own = {name: value for name, value in sweep.state.items() if name != "area"}
            sweep = replace(sweep, impedance=sweep.impedance / area, state=own)
        state: dict[str, Any] = {"source": source, "digest": digest, "sweep": number, **sweep.state, **from_name}
        if options.unfinished:
            state["finished"] = sweep.finished
        rows.append((sweep, state))
    return report, rows


def _kept(recorded: Recording, unfinished: bool) -> tuple[list[tuple[int, Sweep]], list[str]]:
    """Return the sweeps that become spectra, by number from 1, and why others do not."""
    kept, short, points, open_ = [], 0, 0, 0
    for number, sweep in enumerate(recorded.sweeps, start=1):
        if len(sweep) < MIN_POINTS:
            short, points = short + 1, points if short else len(sweep)
        elif not (sweep.finished or unfinished):
            open_ += 1
        else:
            kept.append((number, sweep))
    remarks = []
    if open_:
        remarks.append(f"{count_of(open_, 'unfinished sweep')} left out; unfinished=True takes them")
    if short:
        remarks.append(
            f"{count_of(short, 'sweep')} of fewer than {MIN_POINTS} points left out (the first has {points}), of "
            "which no distribution is found; export or measure more frequencies"
        )
    return kept, remarks


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _make_numbers(rows: Sequence[tuple[Sweep, dict[str, Any]]], columns: Sequence[str]) -> None:
    """Turn what the file names hold into numbers where all are."""
    for column in columns:
        values = [state.get(column) for _, state in rows]
        if column not in {*TEXTS, *STATE_UNITS}:
            for (_, state), value in zip(rows, as_numbers(values, column), strict=True):
                if value is not None:
                    state[column] = value


def _temperatures(rows: Sequence[tuple[Sweep, dict[str, Any]]]) -> dict[str, tuple[str, ...]]:
    """Give sweeps that have no temperature the one in the name of their file, and return by source what was taken."""
    said: dict[str, tuple[str, ...]] = {}
    for _, state in rows:
        if state.get("temperature") is not None:
            continue
        value, remark = temperature_in(state["source"])
        if value is not None:
            state["temperature"] = value
        if remark:
            said[state["source"]] = (remark,)
    return said


@dataclass
class _Joined:
    keys: set[tuple[Any, ...]] = field(default_factory=set)
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _join(rows: Sequence[tuple[Sweep, dict[str, Any]]], side: SideTable | None) -> _Joined:
    """Add the states of the side table to the sweeps, and return which of its rows were used."""
    joined = _Joined()
    if side is None:
        return joined
    without: dict[str, int] = {}
    for _, state in rows:
        key = side.key_of(state)
        if key is None:
            without[state["source"]] = without.get(state["source"], 0) + 1
        else:
            joined.keys.add(key)
            state.update(side.rows[key])
    joined.missing = {
        source: (f"{count_of(n, 'sweep')} without a row in the table of states",) for source, n in without.items()
    }
    return joined


def _untaken(rows: Sequence[tuple[Sweep, dict[str, Any]]]) -> list[str]:
    """Say how voltages and cycles in the names of files are taken, where the files themselves say none."""
    bare = [state["source"] for _, state in rows if "voltage" not in state or "cycle" not in state]
    found = suggested_pattern(bare)
    if found is None:
        return _folders(rows)
    pattern, count = found
    states = [name for name in ("cell", "cycle", "voltage") if f"{{{name}}}" in pattern]
    if all(name in state for name in states for _, state in rows):
        return _folders(rows)
    every = count_of(len({state["source"] for _, state in rows}), "file")
    return [
        f"names of files have what looks like {' and '.join(states[-2:])}, and it is not taken; name={pattern!r} would "
        f"take {', '.join(states)} from {count} of {every}"
    ]


def _folders(rows: Sequence[tuple[Sweep, dict[str, Any]]]) -> list[str]:
    """Say how folders become cells, where nothing else says which cells there are."""
    parts = [state["source"].split("/") for _, state in rows]
    tops, depths = {one[0] for one in parts}, {len(one) for one in parts}
    if len(depths) > 1 or depths == {1} or len(tops) < 2 or any("cell" in state for _, state in rows):
        return []
    pattern = "/".join(["{cell}", *["{_}"] * (depths.pop() - 1)])
    return [f"{len(tops)} folders are the state 'folder'; if each is of one cell, name={pattern!r} says so"]


def _unused(side: SideTable, used: _Joined, rows: Sequence[tuple[Sweep, dict[str, Any]]]) -> list[str]:
    idle = [key for key in side.rows if key not in used.keys]
    if not idle:
        return []
    first = ", ".join(f"{name} {value}" for name, value in zip(side.keys, idle[0], strict=True))
    if rows and len(idle) == len(side.rows):
        here = ", ".join(f"{name} {rows[0][1].get(name)}" for name in side.keys)
        raise InputError(
            f"no row of the table of states fits a sweep: its first is for {first}, and the first sweep has {here}. "
            "Correct the table, or join it by a column 'file' with the names of the files, which always fits."
        )
    fit = count_of(len(idle), "row of the table of states fits", "rows of the table of states fit")
    return [f"{fit} no sweep (first: {first})"]


def _set_constants(
    rows: Sequence[tuple[Sweep, dict[str, Any]]], constants: Mapping[str, object]
) -> dict[str, tuple[str, ...]]:
    """Set what holds for all, and return by source what it took the place of."""
    replaced: dict[str, dict[str, str]] = {}
    for _, state in rows:
        for name, value in constants.items():
            if name in state and state[name] != value:
                replaced.setdefault(state["source"], {})[name] = f"{name} {state[name]} replaced by {value}"
            state[name] = value
    return {source: tuple(texts.values()) for source, texts in replaced.items()}


def _by_grid(
    rows: Sequence[tuple[Sweep, dict[str, Any]]], known: Mapping[str, NDArray[np.float64]]
) -> dict[str, Spectra]:
    """Return the spectra of each frequency grid; a point that is missing from a sweep is NaN on the grid of others."""
    grids = {name: np.sort(np.asarray(f, dtype=float))[::-1] for name, f in known.items()}
    own: list[NDArray[np.float64]] = []
    sorted_ = [np.sort(sweep.frequency)[::-1] for sweep, _ in rows]
    which = [_number_of_grid(f, own) for f in sorted_]
    places = _places(own, grids)
    members: dict[str, list[tuple[NDArray[np.complex128], NDArray[np.float64] | None, dict[str, Any]]]] = {}
    for (sweep, state), number in zip(rows, which, strict=True):
        name, at = places[number]
        order = np.argsort(-sweep.frequency)
        z = np.full(grids[name].size, complex(np.nan, np.nan))
        z[at] = sweep.impedance[order]
        times = None
        if sweep.point_time is not None:
            times = np.full(grids[name].size, np.nan)
            times[at] = sweep.point_time[order]
        members.setdefault(name, []).append((z, times, state))
    columns = _column_order([state for _, state in rows])
    return {
        name: Spectra(
            grids[name],
            np.array([z for z, _, _ in some]),
            _states([state for _, _, state in some], columns),
            _times([times for _, times, _ in some], grids[name].size),
        )
        for name, some in members.items()
    }


def _number_of_grid(f: NDArray[np.float64], met: list[NDArray[np.float64]]) -> int:
    """Return which of the grids that were met has these frequencies; a new one is added to them."""
    for number, grid in enumerate(met):
        if grid.size == f.size and np.all(np.abs(f - grid) <= SAME_GRID * grid):
            return number
    met.append(f)
    return len(met) - 1


def _places(
    own: Sequence[NDArray[np.float64]], grids: dict[str, NDArray[np.float64]]
) -> list[tuple[str, NDArray[np.intp]]]:
    """Return the name of the grid of each and its points there; grids that are new are added under a name.

    A grid of which few points are missing from another, as where an instrument could not measure them, is no other.
    """
    found = {number: place for number, f in enumerate(own) if (place := _within(f, grids)) is not None}
    hosts: dict[str, NDArray[np.float64]] = {}
    guests: dict[int, tuple[str, NDArray[np.intp]]] = {}
    for number in sorted({*range(len(own))} - {*found}, key=lambda one: (-own[one].size, one)):
        place = _within(own[number], hosts)
        if place is None:
            hosts[str(number)] = own[number]
        else:
            guests[number] = place
    names: dict[str, str] = {}
    for number in sorted(map(int, hosts)):
        name = next(n for i in range(len(grids) + 1) if (n := f"grid-{i}") not in grids)
        grids[name], names[str(number)] = own[number], name
        found[number] = name, np.arange(own[number].size)
    found |= {number: (names[host], at) for number, (host, at) in guests.items()}
    return [found[number] for number in range(len(own))]


def _within(f: NDArray[np.float64], grids: Mapping[str, NDArray[np.float64]]) -> tuple[str, NDArray[np.intp]] | None:
    """Return the grid that has these frequencies and few more, the one of the fewest, and where they are in it."""
    for name in sorted(grids, key=lambda one: grids[one].size):
        grid = grids[name]
        if not f.size <= grid.size <= f.size / (1.0 - MOST_MISSING):
            continue
        at = np.searchsorted(-grid, -f * (1.0 + SAME_GRID))
        if at[-1] < grid.size and np.all(np.diff(at) > 0) and np.all(np.abs(f - grid[at]) <= SAME_GRID * grid[at]):
            return name, at
    return None


def _times(times: Sequence[NDArray[np.float64] | None], size: int) -> NDArray[np.float64] | None:
    """Return the times of the points of all spectra of a grid, NaN for those that have none."""
    if all(one is None for one in times):
        return None
    return np.array([np.full(size, np.nan) if one is None else one for one in times])


def _column_order(states: Sequence[Mapping[str, Any]]) -> list[str]:
    met = list(dict.fromkeys(name for state in states for name in state))
    first = [name for name in _ORDER if name in met]
    last = [name for name in ("source", "digest") if name in met]
    return [*first, *(name for name in met if name not in {*first, *last}), *last]


def _states(states: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({name: [state.get(name) for state in states] for name in columns})
    frame = frame.dropna(axis="columns", how="all")
    for name in frame.columns:
        kinds = set(map(type, frame[name].dropna()))
        if name not in STATE_UNITS and str in kinds and len(kinds) > 1:
            # Some files say it in numbers, and others in words.
            frame[name] = frame[name].map(str, na_action="ignore")
    for name in STATE_UNITS:
        if name in frame and not pd.api.types.is_numeric_dtype(frame[name]):
            try:
                frame[name] = pd.to_numeric(frame[name])
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"the state {name!r} must be numbers in {STATE_UNITS[name]}; got {error}. Correct the pattern of "
                    "file names or the table of states, or rename the column."
                ) from error
    return frame
