"""Which processes stay, their order, and what they are called."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.tracking.matching import Matched
from drt_engine.tracking.observations import Observations
from drt_engine.tracking.options import Known, TrackingOptions

__all__ = ["named_processes"]

Ints = NDArray[np.intp]

_NEAR = np.log(3.0)  # a name holds within a factor of three of its τ
_TINY = -50.0  # ln R of a process that is named but not seen


def named_processes(
    observed: Observations, matched: Matched, known: tuple[Known, ...], options: TrackingOptions
) -> tuple[Matched, list[str]]:
    """Unite and name what is known, drop what was seen too rarely, and put the rest in the order of τ.

    Parameters
    ----------
    observed : Observations
        The peaks.
    matched : Matched
        Their processes.
    known : tuple of Known
        Processes that are known.
    options : TrackingOptions
        How often a process has to be seen.

    Returns
    -------
    matched : Matched
        With processes that count from 0.
    names : list of str
        Their names.
    """
    process, trajectories = matched.process.copy(), matched.trajectories.copy()
    named = dict(matched.pinned)
    for one in known:
        if one.range is None:
            _name_process(one, _process_of_seed(observed, process, one), process, trajectories, named)
    # _ranges gives those that have a range.
    for p, (low, high) in {p: one.range for p, one in zip(matched.pinned, _ranges(known), strict=True)}.items():  # type: ignore[misc]
        if not (process == p).any():
            trajectories[:, p] = 0.5 * np.log(low * high), _TINY
    count = np.bincount(process[process >= 0], minlength=trajectories.shape[1])
    least = max(options.min_length, options.min_presence * observed.series.size)
    least = min(least, int(count.max(initial=0)))
    kept = np.array([p for p in range(count.size) if count[p] >= max(least, 1) or p in named], dtype=np.intp)
    middle = [np.median(observed.x[process == p, 0]) if count[p] else trajectories[0, p, 0, 0] for p in kept]
    kept = kept[np.argsort(middle, kind="stable")]
    new = np.full(count.size + 1, -1, dtype=np.intp)
    new[kept] = np.arange(kept.size)
    names = _named([named.get(int(p)) for p in kept])
    pinned = {int(new[p]): name for p, name in named.items()}
    return replace(matched, process=new[process], trajectories=trajectories[:, kept], pinned=pinned), names


def _ranges(known: tuple[Known, ...]) -> list[Known]:
    return [one for one in known if one.range is not None]


def _named(given: list[str | None]) -> list[str]:
    """Fill the names that are not given with P1, P2 and so on."""
    return [f"P{k + 1}" if name is None else name for k, name in enumerate(given)]


def _process_of_seed(observed: Observations, process: Ints, seed: Known) -> int:
    """Return the process that most peaks nearest to a seed belong to."""
    frames = np.flatnonzero(_chosen(observed, seed))
    inside = np.flatnonzero(np.isin(observed.frame, frames))
    # A seed is what has one tau and no range.
    apart = np.abs(observed.x[inside, 0] - np.log(float(seed.tau)))  # type: ignore[arg-type]
    order = np.lexsort((apart, observed.frame[inside]))
    first = np.unique(observed.frame[inside[order]], return_index=True)[1]
    nearest = order[first]
    nearest = nearest[apart[nearest] < _NEAR]
    found = process[inside[nearest]]
    if not (found >= 0).any():
        raise InputError(
            f"the Known process {seed.name!r} must have a peak of a process within a factor 3 of tau = {seed.tau:g} s "
            f"at {dict(seed.at) or 'some state'}; found no such peak. Correct tau, or look at the peaks at that state."
        )
    return int(np.bincount(found[found >= 0]).argmax())


def _chosen(observed: Observations, seed: Known) -> NDArray[np.bool_]:
    """Frames that the states of a seed choose; of numbers, the nearest value that was measured."""
    states = observed.keys.iloc[observed.series].reset_index(drop=True)
    states[observed.along] = observed.place
    chosen = np.ones(len(states), dtype=bool)
    for name, wanted in seed.at.items():
        if name not in states.columns:
            raise UnknownNameError("state", name, map(str, states.columns))
        column = states[name]
        if pd.api.types.is_numeric_dtype(column):
            apart = np.abs(column.to_numpy(dtype=float) - float(wanted))
            chosen &= apart <= apart[chosen].min(initial=np.inf) if chosen.any() else False
        else:
            chosen &= (column == wanted).to_numpy()
    return chosen


def _name_process(
    one: Known, found: int, process: Ints, trajectories: NDArray[np.float64], named: dict[int, str]
) -> None:
    """Give a process a name, and merge it with the one that already has it."""
    if named.get(found, one.name) != one.name:
        raise InputError(
            f"{named[found]!r} and {one.name!r} are Known with peaks of the same process. Correct one tau."
        )
    same = [p for p, name in named.items() if name == one.name and p != found]
    for p in same:
        process[process == found] = p
        trajectories[:, p] = np.where(np.isfinite(trajectories[:, p]), trajectories[:, p], trajectories[:, found])
        found = p
    named[found] = one.name
