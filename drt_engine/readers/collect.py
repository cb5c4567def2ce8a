"""From many instrument files to one campaign: spectra by frequency grid, with states, and a report of every file."""

import hashlib
import re
from collections import Counter
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
from drt_engine.readers.base import ReadOptions, Recording, Sweep
from drt_engine.readers.file_states import TEXTS, NamePattern, SideTable, as_numbers, read_side_table
from drt_engine.readers.named import parse_columns
from drt_engine.spectra import MIN_POINTS, STATE_UNITS, Spectra

__all__ = ["CollectOptions", "Collected", "FileReport", "collect"]

SAME_GRID = 1e-6
"""Two grids are one if their frequencies differ by no more, relative."""

_ORDER = ("cell", "cycle", "sweep", "voltage", "direction", "current", "charge", "time", "temperature", "area")


@dataclass(frozen=True)
class CollectOptions:
    """How files become a campaign.

    Parameters
    ----------
    reading : ReadOptions, optional
        What the files do not say of themselves.
    name : str, optional
        Pattern of the file names, as ``"EIS_state_{state}_{cell}.txt"``; files that do not fit it are left out.
    states : path or DataFrame, optional
        Table of further states, with a column ``source`` (or ``file``), ``cell``, ``cycle`` or ``sweep`` to join on.
    constants : mapping of str to object, optional
        States of all spectra, for example ``{"area": 0.785, "cell": "A"}``.
    unfinished : bool, optional
        Whether unfinished sweeps are taken as well.
    known : mapping of str to str, optional
        Source by digest of the files that the campaign has already; they are refused.
    grids : mapping of str to ndarray, optional
        Frequencies by grid name that the campaign has already; equal grids get the same name.
    """

    reading: ReadOptions = field(default_factory=ReadOptions)
    name: str | None = None
    states: "Path | str | pd.DataFrame | None" = None
    constants: Mapping[str, object] = field(default_factory=dict)
    unfinished: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    grids: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class FileReport:
    """What became of one file.

    Parameters
    ----------
    source : str
        Its name, as in the column ``source`` of the states.
    status : {"read", "left out", "refused"}
        Whether spectra of it were taken; ``"refused"`` for an error.
    format : str
        Name of the reader, empty if none read it.
    sweeps, taken : int
        How many sweeps it holds, and how many of them became spectra.
    remarks : tuple of str
        What was left out or decided, and why.
    error : str
        Why it was refused, empty if it was not.
    digest : str
        First 32 digits of the SHA-256 of its content.
    """

    source: str
    status: str
    format: str = ""
    sweeps: int = 0
    taken: int = 0
    remarks: tuple[str, ...] = ()
    error: str = ""
    digest: str = ""


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
        For options that make no sense, and for states that are no numbers where a unit belongs to them.
    """
    options = options or CollectOptions()
    if options.reading.columns:
        parse_columns(options.reading.columns)
    if options.reading.reader is not None and options.reading.reader not in READERS:
        raise UnknownNameError("reader", options.reading.reader, READERS)
    pattern = NamePattern(options.name) if options.name else None
    side = None if options.states is None else read_side_table(options.states, pattern.columns if pattern else ())
    digests = dict(options.known)
    rows: list[tuple[Sweep, dict[str, Any]]] = []
    files = []
    for path, source in _files(paths):
        report, sweeps = _read(path, source, pattern, digests, options)
        files.append(report)
        rows += sweeps
    _make_numbers(rows, pattern.columns if pattern else ())
    used = _join(rows, side)
    replaced = _set_constants(rows, options.constants)
    remarks = [] if side is None else _unused(side, used)
    reports = tuple(
        replace(one, remarks=(*one.remarks, *used.missing.get(one.source, ()), *replaced.get(one.source, ())))
        for one in files
    )
    return Collected(_by_grid(rows, options.grids), reports, tuple(remarks))


def _files(paths: "str | PathLike[str] | Iterable[str | PathLike[str]]") -> list[tuple[Path, str]]:
    """Return every file with the name that it gets in the campaign."""
    several = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    found: list[tuple[Path, str]] = []
    for path in map(Path, several):
        if path.is_dir():
            below = [p.relative_to(path) for p in path.rglob("*") if p.is_file()]
            found += [
                (path / p, p.as_posix())
                for p in sorted(below, key=_natural)
                if not any(part.startswith(".") for part in p.parts)
            ]
        else:
            found.append((path, path.name))
    counted = Counter(name for _, name in found)
    return [(path, name if counted[name] == 1 else path.as_posix()) for path, name in found]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts file 2 before file 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.as_posix())]


def _read(
    path: Path, source: str, pattern: NamePattern | None, digests: dict[str, str], options: CollectOptions
) -> tuple[FileReport, list[tuple[Sweep, dict[str, Any]]]]:
    """Return the report of one file and its sweeps with the states that file and name give."""
    report = FileReport(source, "refused")
    try:
        from_name = pattern.states_of(path.name) if pattern else {}
        if from_name is None:
            return replace(report, status="left out", remarks=(f"its name does not fit {options.name!r}",)), []
        recorded = read_file(path, options=options.reading)
        digest = _digest(path)
        if digest in digests:
            raise InputError(f"the same content as {digests[digest]!r}, which is in the campaign. Leave one out.")
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
    )
    rows = []
    for number, sweep in kept:
        state: dict[str, Any] = {"source": source, "digest": digest, "sweep": number, **sweep.state, **from_name}
        if options.unfinished:
            state["finished"] = sweep.finished
        rows.append((sweep, state))
    return report, rows


def _kept(recorded: Recording, unfinished: bool) -> tuple[list[tuple[int, Sweep]], list[str]]:
    """Return the sweeps that become spectra, by number from 1, and why others do not."""
    kept, short, open_ = [], 0, 0
    for number, sweep in enumerate(recorded.sweeps, start=1):
        if len(sweep) < MIN_POINTS:
            short += 1
        elif not (sweep.finished or unfinished):
            open_ += 1
        else:
            kept.append((number, sweep))
    remarks = []
    if open_:
        remarks.append(f"{open_} unfinished sweeps left out")
    if short:
        remarks.append(f"{short} sweeps of fewer than {MIN_POINTS} points left out")
    return kept, remarks


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _make_numbers(rows: Sequence[tuple[Sweep, dict[str, Any]]], columns: Sequence[str]) -> None:
    """Turn what the file names hold into numbers where all are."""
    for column in columns:
        values = [state[column] for _, state in rows]
        if column not in TEXTS:
            for (_, state), value in zip(rows, as_numbers(values), strict=True):
                state[column] = value


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
    joined.missing = {source: (f"{n} sweeps without a row in the table of states",) for source, n in without.items()}
    return joined


def _unused(side: SideTable, used: _Joined) -> list[str]:
    idle = [key for key in side.rows if key not in used.keys]
    if not idle:
        return []
    first = ", ".join(f"{name} {value}" for name, value in zip(side.keys, idle[0], strict=True))
    return [f"{len(idle)} rows of the table of states fit no sweep (first: {first})"]


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
    """Return the spectra of each frequency grid."""
    grids = {name: np.sort(np.asarray(f, dtype=float))[::-1] for name, f in known.items()}
    members: dict[str, list[tuple[NDArray[np.complex128], NDArray[np.float64] | None, dict[str, Any]]]] = {}
    for sweep, state in rows:
        order = np.argsort(-sweep.frequency)
        f, z = sweep.frequency[order], sweep.impedance[order]
        name = next((n for n, g in grids.items() if g.size == f.size and np.all(np.abs(f - g) <= SAME_GRID * g)), None)
        if name is None:
            name = next(n for i in range(len(grids) + 1) if (n := f"grid-{i}") not in grids)
            grids[name] = f
        times = None if sweep.point_time is None else sweep.point_time[order]
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
