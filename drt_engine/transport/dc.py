"""Direct-current polarisation: steady states of steps, and the resistance of the line through them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from drt_engine.checks import is_real
from drt_engine.errors import InputError
from drt_engine.traces import Trace
from drt_engine.transport.fitting import Array
from drt_engine.transport.flags import Flag, remarks
from drt_engine.transport.geometry import geometry_of, temperatures_of
from drt_engine.transport.lines import Line, line
from drt_engine.transport.relaxing import Relaxation, relax, response

__all__ = ["Polarisation", "polarisation"]

_UNLIKELY = 0.01
"""Probability of a test below which a line is said to be curved, or not to fit."""
_ROUNDING = 1e-12
"""Share of the largest steady state of a sample below which an error is one of arithmetic: no instrument is so good."""
_WORST = 0.3
"""Half the interval of the slope, as a share of it, from which it is not determined."""


@dataclass(frozen=True, eq=False)
class Polarisation:
    """Resistances to direct current, and the steps that they come from.

    Attributes
    ----------
    table : DataFrame
        One row a sample: its states, and

        ``resistance``, ``resistance_low``, ``resistance_high``
            Ohm, with an interval by Student's t; NaN where it is not determined.
        ``offset``
            Current at zero voltage, A, or voltage at zero current, V.
        ``curvature``
            Probability of so large a curvature by chance; below 0.01 it is a flag.
        ``sigma``, ``sigma_low``, ``sigma_high``
            Conductivity L/(A R), S/cm.
        ``steps``, ``status``, ``remarks``
            Number of steady steps; a :class:`Flag`, and the same in words.
    steps : DataFrame
        One row a step: ``sample``, the row of `table`; ``controlled``, what was held, and ``level``, its value in V or
        A; ``steady``, ``steady_low``, ``steady_high``: the response in the steady state, A or V, by extrapolation, or,
        where the step is not steady, its last value as a bound, without an interval; ``initial``: the response at the
        beginning; ``ratio``, ``ratio_low``, ``ratio_high``: steady over initial, which is R_ion/(R_ion + R_e) of a
        composite between metals; ``hold`` and ``slowest``, s: how long it was held, and the slowest time constant;
        ``status``, ``remarks``.
    level : float
        Probability of the intervals.
    """

    table: pd.DataFrame
    steps: pd.DataFrame
    level: float
    traces: tuple[Trace, ...]
    curves: tuple[Array, ...]
    lines: tuple[Line | None, ...]

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.table)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, a copy."""
        return self.table.copy()

    def response_at(self, step: int, time: Any) -> Array:
        """Response of a step by its fit, A or V, at times since it began, s."""
        t = np.atleast_1d(np.asarray(time, dtype=float))
        return response(self.curves[step], t)


def polarisation(
    traces: Trace | Iterable[Trace],
    *,
    series: str | Sequence[str] = ("sample", "cell"),
    floor: float = 0.0,
    level: float = 0.95,
) -> Polarisation:
    """Find the steady state of each step of voltage or current, and the resistance over the steps.

    The response to a step is I_∞ + Σ a_k exp(−t/τ_k) with a_k of one sign, or I_∞ + Σ a_k E_n(−(t/τ_k)^n), with the
    function of Mittag-Leffler, where the coupling may be one of constant phase; the interval holds both. Where it was
    held for less than five times the slowest time constant, or what is left at the end of the hold is larger than the
    noise, it is ``not steady``, and the resistance is not given: a falling current taken at its last point is the usual
    mistake. I_∞ is then fitted against V, with an offset; so at
    least three voltages are wanted, of both signs. Steps of a controlled current are fitted as V_∞ against I.

    Parameters
    ----------
    traces : Trace or iterable of Trace
        Each of one step or several; see :func:`read_traces`.
    series : str or sequence of str
        States by which samples are distinguished; those that do not exist are left out.
    floor : float
        Smallest current that the instrument resolves, A. A steady current below it is flagged.
    level : float
        Probability of the intervals.

    Returns
    -------
    Polarisation
        One row a sample, and one a step.

    Raises
    ------
    InputError
        For something else than traces, for a trace without current, and for other bad arguments.
    """
    given = [traces] if isinstance(traces, Trace) else list(traces)
    if not given or not all(isinstance(one, Trace) for one in given):
        raise InputError("traces must be of type Trace, at least one. Read them with read_traces(paths).")
    if not (is_real(level) and 0 < level < 1):
        raise InputError(f"level must be between 0 and 1; got {level!r}. Give 0.95.")
    if not (is_real(floor) and floor >= 0):
        raise InputError(f"floor must be a current in A, not negative; got {floor!r}.")
    keys = (series,) if isinstance(series, str) else tuple(series)
    groups: dict[tuple[Any, ...], list[Trace]] = {}
    for number, trace in enumerate(given):
        if not np.isfinite(trace.current).all():
            raise InputError(f"current of trace {number} is missing; expected one for each time. Export it as well.")
        groups.setdefault(tuple(trace.states.get(key) for key in keys), []).append(trace)
    parts = [(sample, step) for sample, own in enumerate(groups.values()) for trace in own for step in trace.steps()]
    if not parts:
        raise InputError(
            "no step of constant voltage or current with five points or more was found. Give traces of a polarisation."
        )
    steps, relaxed = _steps(parts, floor, level)
    rows, lines = [], []
    states = [dict(own[0].states) for own in groups.values()]
    geometry = geometry_of(pd.DataFrame(states))
    temperatures_of(pd.DataFrame(states))
    for sample, known in enumerate(states):
        shape = (float(geometry.factor[sample]), float(geometry.error[sample]))
        row, found = _sample(steps[steps["sample"] == sample], shape, level)
        rows.append({key: value for key, value in known.items() if key not in row} | row)
        lines.append(found)
    return Polarisation(
        pd.DataFrame(rows), steps, level, tuple(step for _, step in parts), relaxed.parameters, tuple(lines)
    )


def _steps(parts: Sequence[tuple[int, Trace]], floor: float, level: float) -> tuple[pd.DataFrame, Relaxation]:
    controls = _controls(parts)
    signals = []
    for (_, step), control in zip(parts, controls, strict=True):
        response = step.current if control == "voltage" else step.voltage
        signals.append((since_step(step.time), np.asarray(response)))
    relaxed = relax(signals, level)
    rounded = np.array([_rounding(response) for _, response in signals])
    relaxed = replace(relaxed, end_error=np.hypot(relaxed.end_error, rounded))
    half = relaxed.quantile * relaxed.end_error
    status = np.where(relaxed.steady, 0, int(Flag.NOT_STEADY))
    status |= np.where(relaxed.power_of_time, int(Flag.POWER_OF_TIME), 0)
    current = np.array([np.abs(step.current).max() for _, step in parts])
    by_voltage = np.array([control == "voltage" for control in controls])
    low = np.where(by_voltage, np.abs(relaxed.end), current) < floor
    status |= np.where(low, int(Flag.BELOW_FLOOR), 0)
    bounds = [_ratios(relaxed, half, k) if relaxed.steady[k] else (np.nan,) * 3 for k in range(len(parts))]
    steps = pd.DataFrame(
        {
            "sample": [sample for sample, _ in parts],
            "controlled": controls,
            "level": [
                float(np.median(step.voltage if control == "voltage" else step.current))
                for (_, step), control in zip(parts, controls, strict=True)
            ],
            "steady": relaxed.end,
            "steady_low": np.where(relaxed.steady, relaxed.end - half, np.nan),
            "steady_high": np.where(relaxed.steady, relaxed.end + half, np.nan),
            "steady_error": relaxed.end_error,
            "initial": relaxed.begin,
            "ratio": [one[0] for one in bounds],
            "ratio_low": [one[1] for one in bounds],
            "ratio_high": [one[2] for one in bounds],
            "hold": [float(time[-1]) for time, _ in signals],
            "slowest": relaxed.slowest,
            "status": status,
            "remarks": remarks(status),
        }
    )
    return steps, relaxed


def since_step(time: Array) -> Array:
    """Return times since a step began, s: one sampling interval before its first point, at the latest."""
    apart = np.diff(time)
    return np.asarray(time - time[0] + float(np.min(apart[apart > 0], initial=np.inf)))


def _controls(parts: Sequence[tuple[int, Trace]]) -> list[str]:
    """Say what was controlled in each step: of a sample always the same, what scatters least within its steps."""
    chosen: dict[int, str] = {}
    for sample in dict.fromkeys(sample for sample, _ in parts):
        own = [step for one, step in parts if one == sample]
        scatter = {}
        for name in ("voltage", "current"):
            size = max(float(np.max(np.abs(getattr(step, name)))) for step in own)
            scatter[name] = max(float(np.std(getattr(step, name))) for step in own) / max(size, 1e-300)
        chosen[sample] = min(scatter, key=scatter.__getitem__)
    return [chosen[sample] for sample, _ in parts]


def _ratios(relaxed: Relaxation, half: Array, k: int) -> tuple[float, float, float]:
    """Steady over initial response, and its ends."""
    end, ends = relaxed.end[k], (relaxed.end[k] - half[k], relaxed.end[k] + half[k])
    begins = (relaxed.begin_low[k], relaxed.begin_high[k])
    if not begins[0] * begins[1] > 0:
        return np.nan, np.nan, np.nan
    every = [a / b for a in ends for b in begins]
    return float(end / relaxed.begin[k]), float(min(every)), float(max(every))


def _rounding(signal: Array) -> float:
    """Find the standard deviation that rounding adds: noise of less than the last digit does not average it out."""
    gaps = np.diff(np.unique(signal))
    gaps = gaps[gaps > _ROUNDING * np.max(np.abs(signal))]
    digit = float(gaps.min()) if gaps.size else 0.0
    return digit / math.sqrt(12) if np.std(signal[-(signal.size // 3) :]) < digit / 2 else 0.0


def _errors(steady: Array, error: Array) -> Array | None:
    """Return standard deviations of steady states of a sample; None if they are not known.

    A signal that stays at one value to the last digit is one that was rounded, and its scatter says nothing of its
    error: it is taken for that of the step whose error is largest.
    """
    constant = error <= max(_ROUNDING * np.max(np.abs(steady), initial=0.0), math.sqrt(np.finfo(float).tiny))
    return None if constant.all() else np.where(constant, error[~constant].max(), error)


def _sample(steps: pd.DataFrame, shape: tuple[float, float], level: float) -> tuple[dict[str, Any], Line | None]:
    factor, geometry_error = shape
    steady = steps[(steps["status"] & int(Flag.NOT_STEADY)) == 0]
    status = Flag.OK if len(steady) == len(steps) else Flag.NOT_STEADY
    status |= Flag.BELOW_FLOOR if np.any(steps["status"] & int(Flag.BELOW_FLOOR)) else Flag.OK
    # All steps of a sample relax alike: by chance, a few of them do not exclude a constant phase.
    powers = (steps["status"] & int(Flag.POWER_OF_TIME)) != 0
    status |= Flag.POWER_OF_TIME if 2 * powers.sum() > len(steps) else Flag.OK
    names = ("resistance", "resistance_low", "resistance_high", "offset", "curvature")
    row: dict[str, Any] = dict.fromkeys((*names, "sigma", "sigma_low", "sigma_high"), np.nan)
    x, y = steady["level"].to_numpy(dtype=float), steady["steady"].to_numpy(dtype=float)
    found = line(x, y, _errors(y, steady["steady_error"].to_numpy(dtype=float)), level, (2, 3))
    if found is None:
        status |= Flag.NOT_DETERMINED
    else:
        half = found.quantile * float(np.sqrt(found.covariance[1, 1]))
        known = found.b > 0 and not half > _WORST * found.b
        status |= Flag.OK if known else Flag.NOT_DETERMINED
        status |= Flag.FEW if len(steady) < 3 else Flag.OK
        status |= Flag.CURVED if found.curvature < _UNLIKELY else Flag.OK
        status |= Flag.LACK_OF_FIT if found.lack < _UNLIKELY else Flag.OK
        row |= {"offset": found.a, "curvature": found.curvature}
        if known:
            ends = np.array([found.b, found.b - half, found.b + half])
            by_voltage = steps["controlled"].iloc[0] == "voltage"
            r = (1 / ends)[[0, 2, 1]] if by_voltage else ends
            row |= dict(zip(names, r.tolist(), strict=False))
            width = np.exp(ndtri(0.5 + level / 2) * geometry_error)
            row |= {"sigma": factor / r[0], "sigma_low": factor / r[2] / width, "sigma_high": factor / r[1] * width}
            status |= Flag.OK if np.isfinite(factor) else Flag.GEOMETRY
    return row | {"steps": len(steady), "status": int(status), "remarks": remarks(np.array([int(status)]))[0]}, found
