"""Voltage and current over time, as potentiostats record them."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError

__all__ = ["Trace"]

Array = NDArray[np.float64]

_JUMP = 0.02
"""Share of the range by which what was controlled jumps where a step begins: potentiostats hold a value far better."""
_NOISE = 12.0
"""The same in medians of the change from point to point: of Gaussian noise, one change in 10¹⁵ is as large."""
_FEWEST = 5
"""Points of a step: fewer are a transition between two."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Voltage and current over time: a chronoamperometry, a chronopotentiometry, or a rest.

    Parameters
    ----------
    time : array_like, shape (N,)
        Times, s, ascending.
    voltage : array_like, shape (N,)
        Voltage, V.
    current : array_like, shape (N,)
        Current, A; NaN where it was not measured.
    states : mapping of str to object, optional
        What it was measured at, under the names and in the units of :class:`Spectra`: ``cell``, ``sample``,
        ``temperature`` (°C), ``thickness`` (cm), ``area`` (cm²), ``source``, …

    Raises
    ------
    InputError
        For shapes that differ, fewer than two points, and times that do not ascend.
    """

    time: Array
    voltage: Array
    current: Array
    states: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check once and freeze."""
        for name in ("time", "voltage", "current"):
            try:
                values = np.array(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"{name} of a trace must be numbers; got {error}.") from error
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        if self.time.ndim != 1 or not self.time.shape == self.voltage.shape == self.current.shape:
            raise InputError(
                "a trace needs one voltage and one current for each time; got shapes "
                f"{self.time.shape}, {self.voltage.shape} and {self.current.shape}."
            )
        if self.time.size < 2:
            raise InputError(f"a trace needs at least two points; got {self.time.size}.")
        back = np.flatnonzero(~(np.diff(self.time) >= 0))
        if back.size:
            raise InputError(
                f"times of a trace must ascend, in s; got {self.time[back[0] + 1]:g} at index {back[0] + 1}."
            )
        object.__setattr__(self, "states", MappingProxyType(dict(self.states)))

    def __len__(self) -> int:
        """N, the number of points."""
        return int(self.time.size)

    def __repr__(self) -> str:
        """Say what it holds, on one line."""
        return (
            f"Trace({len(self)} points, {self.time[0]:.4g} to {self.time[-1]:.4g} s, states: {', '.join(self.states)})"
        )

    def __getitem__(self, rows: slice) -> "Trace":
        """Return a part of it."""
        return Trace(self.time[rows], self.voltage[rows], self.current[rows], self.states)

    def with_states(self, **states: Any) -> "Trace":
        """Give it more states, or other values of those that it has: ``trace.with_states(thickness=0.047)``."""
        return Trace(self.time, self.voltage, self.current, {**self.states, **states})

    def to_frame(self) -> pd.DataFrame:
        """Return time, voltage, current and states as a table, as figures take a voltage profile."""
        columns = {"time": self.time, "voltage": self.voltage, "current": self.current}
        return pd.DataFrame({**columns, **{name: value for name, value in self.states.items() if name not in columns}})

    @property
    def controlled(self) -> str:
        """What was held constant from step to step: ``"voltage"`` or ``"current"``."""
        return "current" if _spread(self.current) < _spread(self.voltage) else "voltage"

    def steps(self) -> Iterator["Trace"]:
        """Return the parts during which what was controlled was constant, of five points or more.

        A step begins where it jumps by more than 2 % of its range and 12 times its noise.
        """
        ends = [0, *_jumps(getattr(self, self.controlled)).tolist(), len(self)]
        for start, end in itertools.pairwise(ends):
            if end - start >= _FEWEST:
                yield self[start:end]


def _jumps(values: Array) -> NDArray[np.intp]:
    """Return where steps begin, beside the first one."""
    change = np.abs(np.diff(values))
    if not np.isfinite(change).any():
        return np.empty(0, dtype=np.intp)
    known = np.isfinite(values)
    least = max(_JUMP * float(np.ptp(values[known])), _NOISE * float(np.nanmedian(change)))
    # a range that is noise alone has no jumps
    return np.flatnonzero((change > least) & (change > 1e-9 * np.max(np.abs(values[known])))) + 1


def _spread(values: Array) -> float:
    """Return the scatter within steps, relative to the range of all values; infinite where nothing was measured."""
    known = values[np.isfinite(values)]
    if known.size < values.size or not np.any(known):
        return np.inf
    starts = _jumps(values)
    parts = np.split(values, starts)
    inside = np.concatenate([part - np.median(part) for part in parts])
    return float(np.sqrt(np.mean(inside**2)) / np.max(np.abs(values)))
