"""From measured points to sweeps: where one ends, what it was measured at, and whether it is complete."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import Recording, Sweep, format_error
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import plausible, plausible_values
from drt_engine.text import count_of

__all__ = ["DIRECTIONS", "recording", "split_rows", "state_of"]

KEYS = ("cycle", "z_cycle", "sequence")
"""Counters whose change begins a new sweep, unless the frequency goes on in step."""

NEAR = 1e-3
"""Two sweeps end at the same frequency if they do within this relative difference; instruments round."""

_AGAIN = 0.05
"""A frequency is measured again if it differs by less than this share of the usual step, and by less than `NEAR`."""

IN_STEP = 2.0
"""The frequency goes on in step if its step is no more than so many times the one beside it."""

DIRECTIONS = {1.0: "charge", -1.0: "discharge", 0.0: "rest"}
"""What the numbers of the state ``direction`` stand for."""

_AT_START = frozenset({"time", "charge", "specific_capacity", "capacity", "direction"})
_COUNTS = frozenset({"cycle", "z_cycle", "sequence", "channel"})


def split_rows(rows: Rows) -> tuple[list[NDArray[np.intp]], list[str]]:
    """Return which points make up each sweep.

    A sweep ends where the frequency turns back, and where a counter (cycle, loop, sequence) changes, unless the
    frequency goes on in step there. A frequency that is measured again before the next is the same point once more: the
    later one is kept and a remark made, as an instrument repeats a point that it had to discard. Where the frequency
    turns and goes on from there, the extreme point belongs to both branches, and a short branch that a longer one
    measures again is left out.

    Parameters
    ----------
    rows : Rows
        Points in measured order.

    Returns
    -------
    sweeps : list of ndarray of int
        Indices into the points.
    remarks : list of str
        Repeated points, counters that were passed over, and branches left out.

    Raises
    ------
    FileFormatError
        If the frequencies are in no order at all.
    """
    f = rows.frequency
    change = np.zeros(f.size, dtype=bool)
    for key in KEYS:
        if key in rows.states:
            change |= _changes(rows.states[key])
    passed = np.flatnonzero(change & _in_step(np.log(f)))
    change[passed] = False
    if "channel" in rows.states:
        change |= _changes(rows.states["channel"])
    bounds, repeated = _turns(np.log(f), change)
    sweeps = [np.arange(a, b) for a, b in zip(bounds, [*bounds[1:], f.size], strict=True)]
    if f.size >= 6 and np.median([s.size for s in sweeps]) < 3 and _ordered(f, sweeps) is None:
        raise rows.error(
            int(sweeps[1][0]),
            f"the frequencies are in no order: {f.size} points make {len(sweeps)} sweeps. Sort the rows of each sweep "
            "by frequency, or add a column of the cycle.",
        )
    remarks = []
    if passed.size:
        remarks.append(
            f"a counter changes {count_of(passed.size, 'time')} while the frequency goes on in step, which begins no "
            f"sweep (first at {rows.unit} {rows.lines[passed[0]]})"
        )
    if repeated:
        again = set(repeated)
        sweeps = [np.array([i for i in s if i not in again], dtype=np.intp) for s in sweeps]
        remarks.append(
            f"{count_of(len(repeated), 'point')} measured again at the same frequency; the later one kept "
            f"(first at {rows.unit} {rows.lines[repeated[0] + 1]})"
        )
    return _branches(rows, sweeps, change, remarks)


def _changes(column: NDArray[np.float64]) -> NDArray[np.bool_]:
    change = np.zeros(column.size, dtype=bool)
    change[1:] = (column[1:] != column[:-1]) & ~(np.isnan(column[1:]) & np.isnan(column[:-1]))
    return change


def _in_step(log_f: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say at which points the frequency goes on in the direction of the step before, or else after, as far as that."""
    steps = np.diff(log_f, prepend=log_f[:1])
    before = np.concatenate([[0.0], steps[:-1]])
    after = np.concatenate([steps[1:], [0.0]])
    here = np.abs(steps)
    like_before = (steps * before > 0) & (here <= IN_STEP * np.abs(before))
    turned = (steps * before <= 0) & (np.arange(steps.size) > 1)
    # After a turn the step before is the jump to the first frequency of the sweep, and says nothing.
    jumped = np.concatenate([[False], turned[:-1]])
    jumped[1:2] = True  # nor is there one before the second point
    like_after = (steps * after > 0) & (here <= IN_STEP * np.abs(after))
    return np.asarray((like_before | (jumped & like_after)) & (here > 1e-9))


def _branches(
    rows: Rows, sweeps: list[NDArray[np.intp]], change: NDArray[np.bool_], remarks: list[str]
) -> tuple[list[NDArray[np.intp]], list[str]]:
    """Give the extreme point of a turn to both branches, and leave out short ones that a longer one measures again."""
    f, log_f = rows.frequency, np.log(rows.frequency)
    joined = list(sweeps)
    for k in range(1, len(sweeps)):
        before, piece = sweeps[k - 1], sweeps[k]
        if change[piece[0]] or before.size < 2 or piece.size < 2 or piece[0] != before[-1] + 1:
            continue
        into, turn, onward = np.diff(log_f[[before[-2], before[-1], piece[0], piece[1]]])
        beside = [max(abs(turn), abs(onward)), max(abs(into), abs(onward))]
        in_step = abs(into) <= IN_STEP * beside[0] and abs(turn) <= IN_STEP * beside[1]
        if before.size == 2:  # a single point, and the jump from there to where the sweep begins
            in_step |= abs(turn) <= IN_STEP * abs(onward)
        if into * turn < 0 < turn * onward and in_step:
            joined[k] = np.concatenate([before[-1:], piece])
    kept = []
    for k, piece in enumerate(joined):
        longer = joined[k + 1] if k + 1 < len(joined) and joined[k + 1][0] == piece[-1] else None
        span = abs(log_f[piece[-1]] - log_f[piece[0]])
        if longer is not None and 1.5 * span < abs(log_f[longer[-1]] - log_f[longer[0]]):
            remarks.append(
                f"{count_of(piece.size - 1, 'point')} before the turn at {f[longer[0]]:.6g} Hz left out ({rows.unit} "
                f"{rows.lines[piece[0]]}): the longer branch measures their frequencies again"
            )
            continue
        kept.append(piece)
    whole = _ordered(f, kept)
    if whole is not None and not change.any():
        remarks.append(f"the frequencies are not in order, and each stands once: taken as one sweep of {f.size} points")
        return [whole], remarks
    return kept, remarks


def _ordered(f: NDArray[np.float64], pieces: Sequence[NDArray[np.intp]]) -> NDArray[np.intp] | None:
    """Return all points by descending frequency if two pieces cover ranges beside each other."""
    if len(pieces) != 2 or _one_stands_out(f, pieces):
        return None
    ends = [(float(np.min(f[piece])), float(np.max(f[piece]))) for piece in pieces]
    (_, top), (bottom, _) = sorted(ends)
    every = np.concatenate(list(pieces))
    return every[np.argsort(-f[every], kind="stable")] if top * (1 + NEAR) < bottom else None


def _one_stands_out(f: NDArray[np.float64], pieces: Sequence[NDArray[np.intp]]) -> bool:
    """Say whether the frequencies are in order but for one, as a damaged digit makes them."""
    every = np.concatenate(list(pieces))
    for before, piece in pairwise(pieces):
        for odd in (before[-1], piece[0]):
            steps = np.diff(f[every[every != odd]])
            if np.all(steps > 0) or np.all(steps < 0):
                return True
    return False


def _turns(log_f: NDArray[np.float64], change: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Return the first index of each sweep, and the points that the next one repeats."""
    steps = np.diff(log_f)
    # A frequency that is measured again may come out a little different.
    least = max(1e-9, min(NEAR, _AGAIN * float(np.median(np.abs(steps))))) if steps.size else 0.0
    steps = np.sign(np.where(np.abs(steps) < least, 0.0, steps))
    bounds, repeated, direction, pending = [0], list[int](), 0.0, list[int]()
    for i, step in enumerate(steps, start=1):
        if change[i]:
            bounds.append(i)
            repeated.extend(pending)
            direction, pending = 0.0, []
        elif step == 0:
            pending.append(i - 1)
        elif direction in (0.0, step):
            repeated.extend(pending)
            direction, pending = step, []
        elif pending:  # down and up again, with the lowest frequency measured twice: one for each sweep
            bounds.append(i - 1)
            repeated.extend(pending[:-1])
            direction, pending = step, []
        else:
            bounds.append(i)
            direction = 0.0
    return bounds, repeated + pending


def state_of(states: Mapping[str, NDArray[np.float64]], rows: NDArray[np.intp]) -> dict[str, object]:
    """Return what a sweep was measured at: its commonest count, starting values, and means of the others.

    Parameters
    ----------
    states : mapping of str to ndarray, shape (N,)
        As in `Rows`.
    rows : ndarray of int
        The points of the sweep.
    """
    state: dict[str, object] = {}
    for name, column in states.items():
        known = column[rows][~np.isnan(column[rows])]
        if not known.size:
            continue
        if name in _COUNTS:  # an instrument may change its counter a point late
            numbers, often = np.unique(known, return_counts=True)
            value = float(numbers[np.argmax(often)])
        else:
            first = name in _AT_START or np.all(known == known[0])  # a set point keeps its digits
            value = float(known[0] if first else known.mean())
        if name == "direction":
            state[name] = DIRECTIONS[value]
            continue
        state[name] = int(value) if name in _COUNTS and value == int(value) else value
    return state


def _times(states: Mapping[str, NDArray[np.float64]], rows: NDArray[np.intp]) -> NDArray[np.float64] | None:
    """Return the time of each point of a sweep since the first one, s; None if the file does not say it."""
    time = states["time"][rows] if "time" in states else np.full(rows.size, np.nan)
    return None if np.isnan(time).all() else np.asarray(time - np.nanmin(time))


def unfinished(
    frequencies: Sequence[NDArray[np.float64]], last: float | None = None, points: int | None = None
) -> list[str | None]:
    """Return why each sweep is unfinished, or None.

    A sweep is checked against the others of the file: one that begins at another frequency than most, does not reach
    the last frequency of most, or has fewer points is unfinished. Where no frequency is the commonest, the widest range
    is expected. A single sweep counts as finished unless the header says how far it should have gone.

    Parameters
    ----------
    frequencies : sequence of ndarray
        Of each sweep, Hz, in measured order.
    last : float, optional
        Last frequency by the header, Hz.
    points : int, optional
        Number of points by the header.
    """
    highest = _usual([float(max(f[0], f[-1])) for f in frequencies], highest=True)
    lowest = _usual([float(min(f[0], f[-1])) for f in frequencies], highest=False)
    down = sum(float(np.sign(f[0] - f[-1])) for f in frequencies) >= 0
    counted = Counter(f.size for f in frequencies)
    size = max(counted, key=lambda n: (counted[n], n))
    reasons = []
    for f in frequencies:
        falls = down if f.size == 1 else f[0] > f[-1]
        norm = (highest, lowest, size) if falls else (lowest, highest, size)
        reasons.append(_shortcoming(f, norm, last, points))
    return reasons


def _usual(values: Sequence[float], *, highest: bool) -> float:
    """Return the commonest of the frequencies, of equally common ones the highest or lowest."""
    bins = Counter(round(float(np.log(value)) / NEAR) for value in values)
    most = max(bins.values())
    common = [value for value in values if bins[round(float(np.log(value)) / NEAR)] == most]
    return max(common) if highest else min(common)


def _shortcoming(
    f: NDArray[np.float64], norm: tuple[float, float, int], last: float | None, points: int | None
) -> str | None:
    first, end, size = norm
    if last is not None and abs(np.log(f[-1] / last)) > 0.05:
        return f"it ends at {f[-1]:.4g} Hz and the header says {last:.4g} Hz"
    if points is not None and f.size < points:
        return f"it has {count_of(f.size, 'point')} and the header says {points}"
    if abs(np.log(f[0] / first)) > 2 * NEAR:
        return f"it begins at {f[0]:.4g} Hz and others at {first:.4g} Hz"
    if abs(np.log(f[-1] / end)) > 2 * NEAR:
        return f"it ends at {f[-1]:.4g} Hz and others at {end:.4g} Hz"
    if f.size < size:
        return f"it has {count_of(f.size, 'point')} and others {size}"
    return None


def _refuse_odd_frequency(rows: Rows, sweeps: Sequence[NDArray[np.intp]]) -> None:
    """Refuse a sweep that has another frequency than most sweeps of the file at one or few of its points.

    Nothing else shows that the digit of a frequency is damaged. Sweeps whose frequencies differ all along are taken to
    be meant so.
    """
    size = Counter(piece.size for piece in sweeps).most_common(1)[0][0]
    alike = [piece for piece in sweeps if piece.size == size]
    f = rows.frequency[np.array(alike)]
    usual = np.median(f, axis=0)
    off = np.abs(f - usual) > 1e-4 * usual
    if len(alike) < 3 or 2 * np.sum(~off.any(axis=1)) <= len(alike):
        return
    few = np.flatnonzero(off.any(axis=1) & (off.sum(axis=1) <= max(1, size // 20)))
    if few.size:
        i = int(few[0])
        j = int(np.argmax(off[i]))
        raise rows.error(
            int(alike[i][j]),
            f"the frequency is {f[i, j]:g} Hz, where other sweeps of the file have {usual[j]:g} Hz. The row is "
            "damaged: export or copy the file again.",
        )


def recording(
    rows: Rows,
    format: str,  # noqa: A002 (the name of the field)
    *,
    states: Mapping[str, object] | None = None,
    metadata: Mapping[str, object] | None = None,
    remarks: Sequence[str] = (),
    last: float | None = None,
    points: int | None = None,
) -> Recording:
    """Return the recording of one table of points.

    Parameters
    ----------
    rows : Rows
        Points in measured order.
    format : str
        Name of the reader.
    states : mapping of str to object, optional
        What the header says of every sweep, for example the electrode area.
    metadata : mapping of str to object, optional
        What else the header says.
    remarks : sequence of str, optional
        What the reader decided.
    last : float, optional
        Last frequency of a sweep by the header, Hz.
    points : int, optional
        Number of points of a sweep by the header.

    Raises
    ------
    FileFormatError
        If there is no point, if the frequencies are in no order, or if a sweep has a frequency that no other has.
    """
    if not rows.frequency.size:
        raise format_error(rows.source, None, "no point of a spectrum. The measurement holds no impedance.")
    rows, (known, odd) = plausible(rows), plausible_values(states or {})
    pieces, more = split_rows(rows)
    _refuse_odd_frequency(rows, pieces)
    why = unfinished([rows.frequency[piece] for piece in pieces], last, points)
    if all(why) and last is None and points is None and not _one_stands_out(rows.frequency, pieces):
        spans = [abs(float(np.log(f[0] / f[-1]))) for f in (rows.frequency[piece] for piece in pieces)]
        why = [None if span > max(spans) - NEAR else reason for span, reason in zip(spans, why, strict=True)]
    notes = [*remarks, *odd, *rows.remarks, *more]
    sweeps = []
    for number, (piece, reason) in enumerate(zip(pieces, why, strict=True), start=1):
        state = {**known, **state_of(rows.states, piece)}
        sweeps.append(
            Sweep(rows.frequency[piece], rows.impedance[piece], state, reason is None, _times(rows.states, piece))
        )
        if reason is not None:
            notes.append(f"sweep {number} ({rows.unit} {rows.lines[piece[0]]}) is unfinished: {reason}")
    per_area = {"per_area": True} if rows.per_area else {}
    told = last is not None or points is not None
    return Recording(
        Path(rows.source).name, format, tuple(sweeps), tuple(notes), {**(metadata or {}), **per_area}, told
    )
