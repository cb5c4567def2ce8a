"""Series of a result that were inverted together: changes along them, and γ between their states."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drt_engine.checks import checked_row
from drt_engine.errors import InputError
from drt_engine.methods import LogGaussian
from drt_engine.methods.joint.changes import Change, change_between
from drt_engine.methods.joint.posterior import JointSeries
from drt_engine.methods.placing import Sweeps, sweeps_of
from drt_engine.series import OrderedSeries, seconds_of, series_along, sheets_of
from drt_engine.status import Status
from drt_engine.uncertainty.base import check_level
from drt_engine.uncertainty.intervals import posterior_of

if TYPE_CHECKING:
    from drt_engine.result.inversion import Inversion

__all__ = ["change_of", "gamma_between", "series_along_first", "series_along_second"]

Array = NDArray[np.float64]


def series_along_first(result: "Inversion") -> JointSeries | None:
    """Series that were inverted together, if any were and their spectra are known."""
    if not isinstance(result.method, LogGaussian) or result.method.along is None or result.impedance is None:
        return None
    one, *two = result.method.columns
    lines = series_along(result.states, one, (*(result.method.series or ()), *two))
    return _joint_series(result, lines, result.coupling, result.shift, Status.BREAK)


def series_along_second(result: "Inversion") -> JointSeries | None:
    """Series along the second state, if there is one, and their spectra are known."""
    if not isinstance(result.method, LogGaussian) or len(result.method.columns) < 2 or result.impedance is None:
        return None
    one, two = result.method.columns
    value = result.states[two].to_numpy()
    lines = []
    for sheet in sheets_of(result.states, (one, two), result.method.series):
        for rows in sheet.rows.T:
            here = rows >= 0
            lines.append(OrderedSeries(rows[here], value[rows[here]].astype(float), sheet.position[1][here]))
    return _joint_series(result, lines, result.coupling_across, result.shift_across, Status.BREAK_ACROSS)


def _joint_series(
    result: "Inversion", lines: Sequence[OrderedSeries], coupling: Array, shift: Array, flag: Status
) -> JointSeries:
    """Make the series whose spectra have hyperparameters and a solution."""
    assert isinstance(result.method, LogGaussian)
    assert result.impedance is not None
    kept, series = [], []
    for number, line in enumerate(lines):
        there = np.flatnonzero(np.isfinite(coupling[line.rows]) & result.solved[line.rows])
        known = np.stack([each[line.rows[there]] for each in (result.regularisation, coupling, shift)])
        # Where the whole has no certified solution, parts that do have hyperparameters of their own.
        parts = np.split(there, np.flatnonzero((np.diff(known, axis=1) != 0.0).any(axis=0)) + 1)
        kept += [OrderedSeries(line.rows[k], line.value[k], line.position[k]) for k in parts if k.size >= 2]
        series += [number for k in parts if k.size >= 2]
    hyper = np.stack([result.regularisation, result.noise_floor, result.noise_relative, coupling, shift], axis=1)
    breaks = (result.status & np.uint32(flag)) != 0
    across = np.isfinite(result.coupling_across)
    z = result._at_middle(result.impedance)
    of_all = result.method, result.frequency, z, result.expansion, result._parameters, hyper, breaks
    return JointSeries(
        *of_all, kept, np.unique(series, return_inverse=True)[1], across, [_sweeps(result, line.rows) for line in kept]
    )


def _sweeps(result: "Inversion", rows: NDArray[np.intp]) -> Sweeps | None:
    """When the points of a series were measured, if its cell changes meanwhile."""
    start = seconds_of(result.states)
    if result.moved is None or result.point_time is None or start is None or not result.moved[rows].any():
        return None
    assert result.impedance is not None
    return sweeps_of(start[rows], result.point_time[rows], np.isfinite(result.impedance[rows]))


def gamma_between(
    result: "Inversion", tau: Array, state: Mapping[str, float], level: float | None
) -> tuple[Array, Array, Array]:
    """γ of each series between its states, with its interval; see :meth:`Inversion.gamma_at`.

    Parameters
    ----------
    result : Inversion
        The solutions.
    tau : ndarray, shape (T,)
        Relaxation times, s.
    state : mapping of str to float
        Value of one state.
    level : float, optional
        Probability of the interval; without one, it is NaN.

    Returns
    -------
    gamma, low, high : ndarray, shape (S, T)
        Ohm, one row a series.

    Raises
    ------
    InputError
        If nothing was inverted together along that state, and without spectra.
    """
    columns = result.method.columns if isinstance(result.method, LogGaussian) else ()
    (name, value), *others = state.items()
    if others or name not in columns or result.impedance is None:
        raise InputError(
            f"γ at {', '.join(f'{name}={value!r}' for name, value in state.items())} needs spectra that were "
            f"inverted together along that state, and their impedances; this result is along "
            f"{' and '.join(columns) or 'none'}. Name one of its states, invert with LogGaussian(along={name!r}), "
            f"or attach the spectra: result.with_spectra(spectra)."
        )
    joined = result._joined if name == columns[0] else result._joined_across
    if joined is None:
        empty = np.full((0, np.size(tau)), np.nan)
        return empty, empty, empty
    gamma, low, high = joined.at(float(value), tau, level)
    for number, rows in joined.beside(float(value)):
        if (result.status[rows] & Status.MISFIT).any():
            low[number] = high[number] = np.nan
    return gamma, low, high


def change_of(result: "Inversion", one: int, other: int, level: float) -> Change:
    """Return how γ and R_pol change from one spectrum to another; see :meth:`Inversion.change`."""
    found = _change(result, one, other, level)
    return found.without_intervals() if (result.status[[one, other]] & Status.MISFIT).any() else found


def _change(result: "Inversion", one: int, other: int, level: float) -> Change:
    check_level(level)
    one, other = (checked_row(row, len(result)) for row in (one, other))
    for row in (one, other):
        if not result.solved[row]:
            raise InputError(f"row {row} has no solution: {Status(int(result.status[row])).message}")
    if result.impedance is None or result.method.linear:
        raise InputError(
            "changes need the measured spectra and a method with a prior on ln γ: attach them by "
            "result.with_spectra(spectra), and invert with LogGaussian."
        )
    for joined in (result._joined, result._joined_across):
        if joined is not None and joined.line_of(one) is not None and joined.line_of(one) == joined.line_of(other):
            return joined.change(one, other, level)
    posterior = posterior_of(
        result.method, result._fitted_spectra(result.impedance), np.array([one, other]), result._joined
    )
    logs, gamma = result.tau.size, result.coefficients[[one, other]]
    covariance, parts = posterior.covariance[:, :logs, :logs], gamma * result.expansion.areas
    variance = (gamma**2 * posterior.deviation**2).sum(axis=0)
    of_r_pol = float(np.einsum("km,kmn,kn->", parts, covariance, parts))
    return change_between(level, posterior, variance, of_r_pol, in_common=False)
