"""What instrument formats with a header share: its numbers, several tables of one file, and the recording of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import Recording
from drt_engine.readers.point_checks import check_points
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import plausible
from drt_engine.readers.sweeps import recording, split_rows
from drt_engine.readers.text import TextFile

__all__ = [
    "add_drift",
    "header_number",
    "join_rows",
    "mark_unfinished",
    "positive_number",
    "refuse_second",
    "steady_time",
    "sweep_recording",
    "unit_in_name",
]

_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9, "p": 1e-12}
_NUMBER = re.compile(r"\s*+([+-]?(?:\d++(?:[.,]\d*+)?|[.,]\d++)(?:[eE][+-]?\d++)?)\s*+([kmuµnp]?)[A-Za-zΩ]*+\s*")


def header_number(text: str | None) -> float | None:
    """Return a number of a header, such as ``"2,00000E+005"`` or ``"6.404 mV"``, in the unit without prefix.

    Parameters
    ----------
    text : str or None
        What stands there. None, and anything that is not a number, gives None.
    """
    match = _NUMBER.fullmatch(text or "")
    number = float(match[1].replace(",", ".")) * _PREFIXES[match[2]] if match else np.nan
    return number if np.isfinite(number) else None


def positive_number(text: str | None) -> float | None:
    """Return a number of a header that is an area or a frequency; None for 0, which says that none was entered."""
    number = header_number(text)
    return number if number is not None and number > 0 else None


def refuse_second(text: TextFile, first_line: re.Pattern[str]) -> None:
    """Refuse a file in which the first line of the format stands more than once.

    Parameters
    ----------
    text : TextFile
        The file.
    first_line : compiled pattern
        What every file of the format begins with.

    Raises
    ------
    FileFormatError
        At the second header.
    """
    found = [n for n, line in enumerate(text.lines, start=1) if first_line.match(line)]
    if len(found) > 1:
        raise text.error(
            found[1],
            f"a second header begins here, after the one in line {found[0]}: files were joined or a header was copied "
            "twice. Split the file, or export it again.",
        )


def join_rows(parts: Sequence[Rows], numbers: Sequence[int] | None = None) -> Rows:
    """Return the points of several tables of one file as one, with the number of the table as ``sequence``.

    Parameters
    ----------
    parts : sequence of Rows
        In the order of the file, at least one.
    numbers : sequence of int, optional
        Number of each table; counted from 0 if not given.
    """
    names = list(dict.fromkeys(name for part in parts for name in part.states if name != "sequence"))
    sizes = [part.frequency.size for part in parts]
    states = {
        name: np.concatenate([part.states.get(name, np.full(n, np.nan)) for part, n in zip(parts, sizes, strict=True)])
        for name in names
    }
    if len(parts) > 1:
        states["sequence"] = np.repeat(np.asarray(numbers or range(len(parts)), dtype=float), sizes)
    return replace(
        parts[0],
        frequency=np.concatenate([part.frequency for part in parts]),
        impedance=np.concatenate([part.impedance for part in parts]),
        states=states,
        lines=np.concatenate([part.lines for part in parts]),
        remarks=tuple(dict.fromkeys(remark for part in parts for remark in part.remarks)),
        per_area=any(part.per_area for part in parts),
    )


def sweep_recording(
    rows: Rows,
    format: str,  # noqa: A002 (the name of the field)
    *,
    states: Mapping[str, object] | None = None,
    metadata: Mapping[str, object] | None = None,
    remarks: Sequence[str] = (),
    last: float | None = None,
    points: int | None = None,
) -> Recording:
    """Return the recording after the checks of `check_points`; arguments as of `drt_engine.readers.sweeps.recording`.

    Values that a header does not have (None) are left out, as is a column of time that says 0 throughout.

    Raises
    ------
    FileFormatError
        From `check_points`, `steady_time` and `recording`.
    """
    if "time" in rows.states and not np.any(rows.states["time"]):
        rows = replace(rows, states={name: column for name, column in rows.states.items() if name != "time"})
    notes = [*remarks, *check_points(rows)]
    return recording(
        steady_time(rows, split_rows(rows)[0]),
        format,
        states={name: value for name, value in (states or {}).items() if value is not None},
        metadata={name: value for name, value in (metadata or {}).items() if value not in (None, "")},
        remarks=notes,
        last=last,
        points=points,
    )


def steady_time(rows: Rows, pieces: Sequence[NDArray[np.intp]]) -> Rows:
    """Return the points without their time, and with a remark, if time runs back somewhere in a sweep.

    Parameters
    ----------
    rows : Rows
        The points.
    pieces : sequence of ndarray of int
        The points of each sweep.

    Raises
    ------
    FileFormatError
        If time runs back along most of a sweep: another column stands in its place, perhaps the frequency.
    """
    time = rows.states.get("time")
    if time is None:
        return rows
    first: int | None = None
    for piece in pieces:
        known = piece[~np.isnan(time[piece])]
        back = np.flatnonzero(np.diff(time[known]) < -1e-3)
        if 2 * back.size > max(known.size - 1, 4):
            i, before = int(known[back[0] + 1]), int(known[back[0]])
            raise rows.error(
                i,
                f"time runs back from {time[before]:g} s to {time[i]:g} s and at most points of the sweep: columns "
                "were exchanged, or lines were turned round. Export the file again.",
            )
        if back.size and first is None:
            first = int(known[back[0] + 1])
    if first is None:
        return rows
    remark = f"time runs back ({rows.unit} {rows.lines[first]}): a cell is damaged or files were joined, time left out"
    kept = {name: column for name, column in rows.states.items() if name != "time"}
    return replace(rows, states=kept, remarks=(*rows.remarks, remark))


def unit_in_name(fields: Mapping[str, str], name: str) -> tuple[str | None, str | None]:
    """Return what a field says and the unit that stands in brackets behind its name; None for what is not there.

    Parameters
    ----------
    fields : mapping of str to str
        Names and values, as ``{"Init E (V)": "0.1"}``.
    name : str
        Name of the field without its unit, as ``"Init E"``.
    """
    for key, value in fields.items():
        match = re.fullmatch(rf"{re.escape(name)}\s*(?:[(\[](.*)[)\]])?", key)
        if match:
            return value, match[1]
    return None, None


def add_drift(done: Recording, rows: Rows) -> Recording:
    """Return the recording with ``voltage_drift`` and ``current_drift``: last less first value of each sweep, V and A.

    Parameters
    ----------
    done : Recording
        Made from the same points.
    rows : Rows
        The points.
    """
    sweeps, rows = [], plausible(rows)
    for sweep, piece in zip(done.sweeps, split_rows(rows)[0], strict=True):
        drift = {
            f"{name}_drift": float(rows.states[name][piece[-1]] - rows.states[name][piece[0]])
            for name in ("voltage", "current")
            if name in rows.states
        }
        known = {name: value for name, value in drift.items() if np.isfinite(value)}
        sweeps.append(replace(sweep, state={**sweep.state, **known}))
    return replace(done, sweeps=tuple(sweeps))


def mark_unfinished(done: Recording, number: int, reason: str) -> Recording:
    """Return the recording with one sweep marked as unfinished and a remark that says why.

    Parameters
    ----------
    done : Recording
        As read.
    number : int
        Which sweep, from 0; negative from the end.
    reason : str
        Why, continuing "sweep 3 is unfinished: ".
    """
    number %= len(done.sweeps)
    sweeps = [replace(s, finished=s.finished and i != number) for i, s in enumerate(done.sweeps)]
    remark = f"sweep {number + 1} is unfinished: {reason}"
    return replace(done, sweeps=tuple(sweeps), remarks=(*done.remarks, remark))
