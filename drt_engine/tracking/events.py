"""Events of processes: one appears, ends, is missing, merges into the peak of another, splits off it, or crosses it."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drt_engine.tracking.matching import Matched
from drt_engine.tracking.observations import Observations
from drt_engine.tracking.trajectories import at_frames

__all__ = ["Event", "ProcessEvents", "process_events"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

_HOLDS = 0.7  # share of two resistances that a merged peak has to show
_CLEAR = 2.0  # usual steps from state to state that count as no evidence
_OFTEN = 0.5  # share of states from which a process counts as one that is usually seen
_LARGEST = 3.0  # logarithm of a ratio of resistances from which on a larger peak hides no more beside it
_SEVERAL = 4  # series; a rate of fewer says little
_RECENT = 4  # states beside an event in which a process has to be seen, but for one


@dataclass(frozen=True)
class Event:
    """Something that happens to a process: what, to which, with which other (-1 for none), and from frame to frame."""

    kind: str
    process: int
    other: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class ProcessEvents:
    """Events, and which process's peak holds which others.

    Attributes
    ----------
    events : list of Event
        In the order of processes and frames.
    host : ndarray of int, shape (F, P)
        Process whose peak holds a process that has none of its own; -1 for none.
    """

    events: list[Event]
    host: Ints


@dataclass(frozen=True, eq=False)
class _Scene:
    """Dense tables: peak of each process at each frame (-1 for none), ln τ and ln R that are seen or expected."""

    peak: Ints
    value: Floats
    first: Ints
    scale: Floats
    reach: float
    pinned: NDArray[np.bool_]
    usual: NDArray[np.bool_]
    steady: NDArray[np.bool_]


def process_events(observed: Observations, matched: Matched, scale: Floats, resolution: float) -> ProcessEvents:
    """Find the events of each process in each series.

    Where a process has no peak, its ln τ and ln R are expected to lie between its neighbours in the series, and beyond
    its ends where its trajectory in this series and those before it says. It is merged into the peak of another process
    if that lies within the resolution, is large enough to hold its resistance, and does not clearly stay what it was
    where the process ends or begins; else it is missing. For that it must be known, or have been steady there, or at
    least half of the series must have it there. In a series without any peak of it, it is looked for if it is known or
    if at some state at least half of the series have it.

    Parameters
    ----------
    observed : Observations
        The peaks.
    matched : Matched
        Their processes.
    scale : ndarray, shape (2,)
        Scale of ln τ and ln R from state to state.
    resolution : float
        Largest ratio of relaxation times within one peak.
    """
    scene = _scene(observed, matched, scale, resolution)
    host = np.full(scene.peak.shape, -1, dtype=np.intp)
    events: list[Event] = []
    candidate = _candidates(scene)
    for process in range(scene.peak.shape[1]):
        for start, stop in _absences(scene, process):
            events += _absence(scene, process, (start, stop), candidate[:, process], host)
    return ProcessEvents(events + _crossings(scene), host)


def _scene(observed: Observations, matched: Matched, scale: Floats, resolution: float) -> _Scene:
    count = matched.trajectories.shape[1]
    frames = observed.series.size
    peak = np.full((frames, count), -1, dtype=np.intp)
    with_process = np.flatnonzero(matched.process >= 0)
    peak[observed.frame[with_process], matched.process[with_process]] = with_process
    first = observed.first
    seen = peak >= 0
    number = np.arange(frames)[:, None]
    series_first, series_last = first[observed.series][:, None], first[observed.series + 1][:, None] - 1
    before = np.maximum.accumulate(np.where(seen, number, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, number, frames)[::-1], axis=0)[::-1]
    inside = (before >= series_first) & (after <= series_last)
    value = at_frames(observed, matched.trajectories, matched.grid)[0]
    columns = np.arange(count)
    low, high = np.where(inside, before, 0), np.where(inside, after, 0)
    span = observed.place[high] - observed.place[low]
    share = (observed.place[:, None] - observed.place[low]) / np.where(span > 0, span, 1.0)
    ends = observed.x[peak[low, columns]], observed.x[peak[high, columns]]
    between = ends[0] + share[..., None] * (ends[1] - ends[0])
    value = np.where(inside[..., None], between, value)
    rate = _rates(observed, seen, matched.grid)
    pinned = np.isin(np.arange(count), list(matched.pinned))
    usual = pinned | (rate.max(axis=0, initial=0.0) >= _OFTEN)
    return _Scene(peak, value, first, scale, float(np.log(resolution)), pinned, usual, rate >= _OFTEN)


def _rates(observed: Observations, seen: NDArray[np.bool_], grid: Floats) -> Floats:
    """Share of the series that have a peak of each process near the state of each frame, shape (F, P)."""
    place = np.abs(np.subtract.outer(observed.place, grid)).argmin(axis=1)
    total = np.zeros((grid.size, seen.shape[1]))
    np.add.at(total, place, seen.astype(float))
    share = total / np.maximum(np.bincount(place, minlength=grid.size), 1)[:, None]
    return np.asarray(share[place] if len(observed.keys) >= _SEVERAL else np.zeros(seen.shape))


def _candidates(scene: _Scene) -> Ints:
    """For each process without a peak, the process with the nearest peak that may hold it, shape (F, P)."""
    frames, count = scene.peak.shape
    seen = scene.peak >= 0
    best = np.full((frames, count), -1, dtype=np.intp)
    least = np.full((frames, count), np.inf)
    for other in range(count):
        apart = np.abs(scene.value[..., 0] - scene.value[:, other, 0][:, None])
        larger = scene.value[:, other, 1][:, None] - scene.value[..., 1]
        # of two Gaussians, the smaller has no maximum of its own within two widths, and further beside a larger one
        reach = scene.reach * np.sqrt(1.0 + 0.5 * np.clip(larger, 0.0, _LARGEST))
        nearer = ~seen & seen[:, [other]] & (larger >= np.log(_HOLDS)) & (apart <= reach) & (apart < least)
        best[nearer], least[nearer] = other, apart[nearer]
    return best


def _absences(scene: _Scene, process: int) -> list[tuple[int, int]]:
    """Return runs of frames without a peak: the first and the one after the last, none beyond its series."""
    absent = (scene.peak[:, process] < 0) & np.isfinite(scene.value[:, process, 0])
    borders = np.zeros(absent.size + 1, dtype=bool)
    borders[scene.first] = True
    change = borders.copy()
    change[1:-1] |= absent[1:] != absent[:-1]
    edges = np.flatnonzero(change)
    return [(int(a), int(b)) for a, b in pairwise(edges) if absent[a]]


def _absence(scene: _Scene, process: int, run: tuple[int, int], candidate: Ints, host: Ints) -> list[Event]:
    start, stop = run
    begins, ends = start in scene.first, stop in scene.first
    before = -1 if begins or scene.peak[start - 1, process] < 0 else start - 1
    after = -1 if ends or scene.peak[stop, process] < 0 else stop
    if before < 0 and after < 0:
        if scene.usual[process]:
            host[start:stop, process] = candidate[start:stop]
        return []
    held = start + np.flatnonzero(candidate[start:stop] >= 0)
    first, last = (int(held[0]), int(held[-1])) if held.size else (start, stop - 1)
    into = _was_there(scene, process, before, -1) and _takes_over(scene, process, before, first, int(candidate[first]))
    out = _was_there(scene, process, after, 1) and _takes_over(scene, process, after, last, int(candidate[last]))
    events = []
    if into or out:
        host[start:stop, process] = candidate[start:stop]
    if into:
        events.append(Event("merge", process, int(candidate[first]), first, last))
    if out:
        events.append(Event("split", process, int(candidate[last]), stop, stop))
    if before >= 0 and after >= 0 and not (into or out):
        events.append(Event("gap", process, -1, start, stop - 1))
    elif before >= 0 and after < 0 and not into:
        events.append(Event("death", process, -1, start, start))
    elif after >= 0 and before < 0 and not out:
        events.append(Event("birth", process, -1, stop, stop))
    return events


def _was_there(scene: _Scene, process: int, frame: int, way: int) -> bool:
    """Whether a process that ends or begins at a frame was no chance: other series have it there, or it was steady."""
    if frame < 0:
        return False
    if scene.pinned[process] or scene.steady[frame, process]:
        return True
    start = int(np.searchsorted(scene.first, frame, side="right")) - 1
    low, high = int(scene.first[start]), int(scene.first[start + 1]) - 1
    ends = sorted((frame, min(max(frame + way * (_RECENT - 1), low), high)))
    return bool((scene.peak[ends[0] : ends[1] + 1, process] >= 0).sum() >= _RECENT - 1)


def _takes_over(scene: _Scene, process: int, alone: int, merged: int, other: int) -> bool:
    """Whether the other's peak may have the resistance of both at the frame where the process has no peak of its own.

    A process that vanishes just where another would hide it is less likely than one that is hidden, so it takes clear
    evidence against it: that the other's resistance stays, to within what it changes by anyway from state to state.
    """
    if other < 0 or scene.peak[alone, other] < 0:
        return False
    own, others = scene.value[alone, process, 1], scene.value[alone, other, 1]
    together, now = float(np.logaddexp(own, others)), scene.value[merged, other, 1]
    usual = [float(scene.scale[1])]
    for near, far in ((alone, 2 * alone - merged), (merged, 2 * merged - alone)):
        same = np.searchsorted(scene.first, near, side="right") == np.searchsorted(scene.first, far, side="right")
        if same and 0 <= far < len(scene.peak) and scene.peak[far, other] >= 0:
            usual.append(abs(float(scene.value[near, other, 1] - scene.value[far, other, 1])))
    return bool(abs(now - together) - abs(now - others) < _CLEAR * max(usual))


def _crossings(scene: _Scene) -> list[Event]:
    """Pairs of processes whose relaxation times change their order, each by more than the scale of ln τ."""
    events = []
    count = scene.peak.shape[1]
    tau = np.where(_spanned(scene), scene.value[..., 0], np.nan)
    for one in range(count):
        for other in range(one + 1, count):
            apart = tau[:, one] - tau[:, other]
            clear = np.flatnonzero(np.abs(apart) > scene.scale[0])
            turned = np.flatnonzero(np.diff(np.sign(apart[clear])) != 0)
            for k in turned:
                first, last = int(clear[k]), int(clear[k + 1])
                same = np.searchsorted(scene.first, first, side="right") == np.searchsorted(
                    scene.first, last, side="right"
                )
                if same and np.isfinite(apart[first : last + 1]).all():
                    events.append(Event("crossing", one, other, first, last))
    return events


def _spanned(scene: _Scene) -> NDArray[np.bool_]:
    """Frames between the first and the last peak of a process in each series."""
    seen = scene.peak >= 0
    spanned = np.zeros_like(seen)
    for a, b in pairwise(scene.first):
        part = seen[a:b]
        spanned[a:b] = np.logical_or.accumulate(part) & np.logical_or.accumulate(part[::-1])[::-1]
    return spanned
