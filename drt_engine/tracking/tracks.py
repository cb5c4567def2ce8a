"""Processes followed across states, cycles and cells."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.text import count_of
from drt_engine.tracking.events import ProcessEvents, process_events
from drt_engine.tracking.linking import Chains, Motion, link
from drt_engine.tracking.matching import Matched, match
from drt_engine.tracking.naming import named_processes
from drt_engine.tracking.observations import Observations, observe
from drt_engine.tracking.options import Known, TrackingOptions

__all__ = ["EVENTS", "Tracks", "track"]

SERIES = ("cell", "channel", "electrode", "cycle", "direction")
EVENTS = ("birth", "death", "gap", "merge", "split", "crossing")
"""What can happen to a process along a series."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Processes that were followed.

    Attributes
    ----------
    table : DataFrame
        One row an observation, in the order of process, series and state: ``process``; the series columns and the
        state along them; ``spectrum``; ``tau`` (s), ``r`` (ohm) and ``c`` = τ/R (F); ``confidence``, the probability of
        the link to the observation before it in its series, or, at the first of a chain, that the chain belongs to the
        process; ``merged_with``, names of the processes whose resistance is within this one, joined by `` + `` and
        empty for none; then all other columns of the peaks, such as errors.
    events : DataFrame
        ``event``, one of `EVENTS`; ``process``; ``other``, the process merged with, split from or crossed, or empty;
        the series columns; the state along them where it happens, or begins, and ``until``, where it ends: the last
        state of a gap or a merger, and the first after a crossing; ``spectrum`` at its beginning.
    unassigned : DataFrame
        Peaks that belong to no process.
    along : str
        State that the series are ordered by.
    series : tuple of str
        States that distinguish the series.
    spectra : int
        How many spectra were looked at.
    motion : Motion
        How processes move, as estimated.
    options : TrackingOptions
        What was asked for.
    """

    table: pd.DataFrame
    events: pd.DataFrame
    unassigned: pd.DataFrame
    along: str
    series: tuple[str, ...]
    spectra: int
    motion: Motion = field(repr=False)
    options: TrackingOptions = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the processes, in the order of their median relaxation times."""
        return tuple(self.table["process"].cat.categories)

    @property
    def processes(self) -> pd.DataFrame:
        """One row a process.

        Its columns are ``process``, ``observations``, ``presence`` (share of the spectra), ``tau``, ``r`` and ``c``
        (medians; s, ohm, F), ``tau_low``, ``tau_high``, ``r_low`` and ``r_high`` (extremes), ``confidence`` (mean) and
        ``merged`` (how many of its observations hold other processes too).
        """
        grouped = self.table.groupby("process", observed=False, sort=True)
        summary = grouped.agg(
            observations=("tau", "size"),
            tau=("tau", "median"),
            r=("r", "median"),
            c=("c", "median"),
            tau_low=("tau", "min"),
            tau_high=("tau", "max"),
            r_low=("r", "min"),
            r_high=("r", "max"),
            confidence=("confidence", "mean"),
            merged=("merged_with", lambda names: int((names != "").sum())),
        )
        summary.insert(1, "presence", summary["observations"] / self.spectra)
        return summary.reset_index()

    def __repr__(self) -> str:
        """Summarise the trajectories in one line."""
        counts = ", ".join(
            f"{name} ({count})" for name, count in self.table["process"].value_counts(sort=False).items()
        )
        left = count_of(len(self.unassigned), "peak")
        return f"Tracks(along {self.along}, {count_of(self.spectra, 'spectrum')}: {counts}; {left} left over)"

    def rename(self, names: Mapping[str, str]) -> "Tracks":
        """Give processes other names.

        Parameters
        ----------
        names : mapping of str to str
            New names by old ones.

        Returns
        -------
        Tracks
            The same with these names, everywhere.

        Raises
        ------
        UnknownNameError
            For a process that does not exist.
        InputError
            If two would have the same name.
        """
        for old in names:
            if old not in self.names:
                raise UnknownNameError("process", old, self.names)
        new = [names.get(old, old) for old in self.names]
        if len(set(new)) < len(new):
            raise InputError(f"names of processes must be distinct; got {new}.")
        table = self.table.assign(
            process=self.table["process"].cat.rename_categories(dict(names)),
            merged_with=_renamed(self.table["merged_with"], names),
        )
        events = self.events.assign(
            **{column: self.events[column].replace(dict(names)) for column in ("process", "other")}
        )
        return replace(self, table=table, events=events)

    def only(self, processes: Iterable[str]) -> "Tracks":
        """Keep some processes; the peaks of the others become unassigned.

        Parameters
        ----------
        processes : iterable of str
            Names of those to keep.

        Raises
        ------
        UnknownNameError
            For a process that does not exist.
        """
        kept = [processes] if isinstance(processes, str) else list(processes)
        for name in kept:
            if name not in self.names:
                raise UnknownNameError("process", name, self.names)
        there = self.table["process"].isin(kept)
        table = self.table[there].reset_index(drop=True)
        table["process"] = table["process"].cat.remove_unused_categories()
        merged = [" + ".join(n for n in text.split(" + ") if n in kept) for text in table["merged_with"]]
        events = self.events[self.events["process"].isin(kept) & self.events["other"].isin([*kept, ""])]
        freed = self.table[~there].drop(columns=["process", "confidence", "merged_with"])
        unassigned = pd.concat([self.unassigned, freed], ignore_index=True)[list(self.unassigned.columns)]
        return replace(
            self, table=table.assign(merged_with=merged), events=events.reset_index(drop=True), unassigned=unassigned
        )


def track(
    peaks: pd.DataFrame,
    along: str = "voltage",
    series: Sequence[str] = SERIES,
    *,
    states: pd.DataFrame | None = None,
    known: Sequence[Known] = (),
    options: TrackingOptions | None = None,
) -> Tracks:
    """Link the peaks of neighbouring states into processes.

    Along each series, links are chosen by a global assignment in (ln τ, ln R) with birth, death and gaps, and with a
    motion that is estimated from the peaks. Chains of different series are then matched, so that a process has one name
    in all cycles and cells; what comes and goes by chance belongs to none. Where a process has no peak of its own, the
    peak that holds it says so. Nothing is put in the place of a peak that was not found.

    Parameters
    ----------
    peaks : DataFrame
        One row a peak, or a part of a deconvolution: ``spectrum``, ``tau`` (s), ``r`` (ohm), if known ``c`` (F), the
        states, and any other columns, which are kept. Standard errors, ``tau_error`` and ``r_error``, say how far a
        peak may lie from its process: where they are large, as of two parts of which only the sum is determined, it
        does not break a track. Rows with ``kind`` ``"edge"``, what lies beyond the data, are no processes.
    along : str
        State of numbers that each series is ordered by, such as ``"voltage"``, ``"cycle"``, ``"time"`` or
        ``"temperature"``; each value once a series.
    series : sequence of str
        States that distinguish the series. Those that the peaks do not have, and `along`, are left out. Along
        ``"cycle"`` add the states at which each cycle was measured, for example ``("cell", "direction", "voltage")``.
    states : DataFrame, optional
        States of all spectra, one row each, so that spectra without any peak count as gaps.
    known : sequence of Known, optional
        Processes that are known, pinned to a range of τ or by a seed. A pinned process without a peak in its range is
        looked for within the peaks of others.
    options : TrackingOptions, optional
        How processes may behave.

    Returns
    -------
    Tracks
        The processes, named P1, P2, … by their median relaxation times unless they are known.

    Raises
    ------
    InputError
        For peaks without the columns above, for values that are not positive, for a state that occurs twice in a
        series, and for known processes that contradict each other or are nowhere near a peak.
    UnknownNameError
        For a state that does not exist.
    """
    options = TrackingOptions() if options is None else options
    if not isinstance(options, TrackingOptions):
        raise InputError(f"options must be TrackingOptions; got {type(options).__name__}.")
    pins = tuple(known)
    for one in pins:
        if not isinstance(one, Known):
            raise InputError(f"known must hold Known processes; got {one!r}.")
    observed = observe(peaks, along, series, states)
    chains = link(observed, options)
    matched = match(observed, chains, options, pins)
    settled, names = named_processes(observed, matched, pins, options)
    found = process_events(observed, settled, chains.motion.scale, options.resolution)
    return _assembled(observed, chains, settled, (found, names), options)


def no_tracks(peaks: pd.DataFrame, along: str, series: Sequence[str], spectra: int) -> Tracks:
    """Return the processes of a table without peaks: none.

    Parameters
    ----------
    peaks : DataFrame
        Peaks without a row, for their columns.
    along, series
        As :func:`track` takes them.
    spectra : int
        How many spectra were looked at.
    """
    rows = peaks.iloc[:0].assign(process=pd.Categorical([], []), confidence=np.empty(0), merged_with="")
    rows = rows if "c" in rows.columns else rows.assign(c=np.empty(0))
    own = ["process", *series, along, "spectrum", "tau", "r", "c", "confidence", "merged_with"]
    table = rows[[*dict.fromkeys(own), *(name for name in rows.columns if name not in own)]]
    texts = {name: np.empty(0, dtype=object) for name in ("event", "process", "other")}
    places = {name: np.empty(0) for name in (along, "until")}
    events = pd.DataFrame(texts | {name: table[name] for name in series} | places)
    unknown = Motion(np.full(2, np.nan), np.full(2, np.nan), 0.0, 0.0)
    return Tracks(
        table.astype({"merged_with": object}),
        events.assign(spectrum=np.empty(0, dtype=np.int64)),
        table.drop(columns=["process", "confidence", "merged_with"]),
        along,
        tuple(series),
        spectra,
        unknown,
        TrackingOptions(),
    )


def _assembled(
    observed: Observations,
    chains: Chains,
    matched: Matched,
    found: tuple[ProcessEvents, list[str]],
    options: TrackingOptions,
) -> Tracks:
    """Put what was found into tables."""
    happened, names = found
    series = tuple(map(str, observed.keys.columns))
    merged = _merged(observed, matched.process, happened, names)
    # a link that joins two processes, or what belongs to none, is none
    linked = chains.previous >= 0
    linked &= matched.process == matched.process[chains.previous]
    rows = observed.table.assign(
        process=pd.Categorical.from_codes(matched.process, dtype=pd.CategoricalDtype(names)),
        confidence=np.where(linked, chains.confidence, matched.confidence),
        merged_with=merged,
    )
    own = ["process", *series, observed.along, "spectrum", "tau", "r", "c", "confidence", "merged_with"]
    columns = [*dict.fromkeys(own), *(name for name in observed.table if name not in own)]
    order = np.lexsort((observed.frame, matched.process))
    order = order[matched.process[order] >= 0]
    return Tracks(
        rows.iloc[order][columns].reset_index(drop=True),
        _events(observed, happened, names),
        observed.table[matched.process < 0].reset_index(drop=True),
        observed.along,
        series,
        observed.series.size,
        chains.motion,
        options,
    )


def _merged(
    observed: Observations, process: NDArray[np.intp], happened: ProcessEvents, names: list[str]
) -> NDArray[Any]:
    """Names of the processes that each peak holds besides its own, shape (N,)."""
    merged = np.full(len(observed), "", dtype=object)
    where = {(int(f), int(p)): n for n, (f, p) in enumerate(zip(observed.frame, process, strict=True)) if p >= 0}
    for frame, guest in np.argwhere(happened.host >= 0):
        n = where[int(frame), int(happened.host[frame, guest])]
        merged[n] = f"{merged[n]} + {names[guest]}" if merged[n] else names[guest]
    return merged


def _events(observed: Observations, happened: ProcessEvents, names: list[str]) -> pd.DataFrame:
    first = np.array([event.first for event in happened.events], dtype=np.intp)
    last = np.array([event.last for event in happened.events], dtype=np.intp)
    frame = pd.DataFrame(
        {
            "event": pd.Series([event.kind for event in happened.events], dtype=object),
            "process": pd.Series([names[event.process] for event in happened.events], dtype=object),
            "other": pd.Series([names[e.other] if e.other >= 0 else "" for e in happened.events], dtype=object),
        }
    )
    for name in observed.keys.columns:
        frame[name] = observed.keys[name].to_numpy()[observed.series[first]]
    frame[observed.along] = observed.place[first]
    frame["until"] = observed.place[last]
    frame["spectrum"] = observed.spectrum[first]
    order = np.lexsort((first, observed.series[first]))
    return frame.iloc[order].reset_index(drop=True)


def _renamed(merged: pd.Series, names: Mapping[str, str]) -> pd.Series:
    return merged.map(lambda text: " + ".join(names.get(name, name) for name in text.split(" + ")))
