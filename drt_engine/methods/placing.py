"""Series of a cell that changes during its sweeps: each point is placed at its own time between the states.

ln γ, R_inf, L and 1/C of neighbouring states are taken along parabolas in time. What these give at the time of a point,
less what they give in the middle of its sweep, is subtracted from the measured impedance, and the series is inverted
again, until both agree.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.drift import ends_of_window
from drt_engine.methods.joint import JointSolution
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Parameters
from drt_engine.threads import single_threaded_blas
from drt_engine.uncertainty.posterior import LogPosterior

__all__ = ["Placed", "Sweeps", "allowing_for_course", "solve_placed", "sweeps_of"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Solve = Callable[[ComplexArray, int], tuple[JointSolution, NDArray[np.bool_]]]
Shares = tuple[NDArray[np.intp], Array]
_Step = tuple[ComplexArray, ComplexArray]

_LIKELY = float(np.log(20.0))
"""Difference of logarithms of likelihoods from which on a series is taken to change within its sweeps."""

_ROUNDS = 12
"""Most inversions of a series."""

_SETTLED = 0.05
"""Root mean square change of what is subtracted, in standard deviations of the noise, that ends them."""

_MIXED = 3.0
"""Largest share of the last round that is mixed with a round: with it, what falls to three quarters in each of a few
rounds is at its end in the next."""

_OVERLAP = 0.01
"""Share of a sweep by which the next may begin before its end: clocks are rounded."""

_SAME_CLOCK = 0.1
"""Share of a sweep up to which first points may differ from starts of sweeps for both to be times of one clock, as they
are where the times of points were not counted from the first of each sweep: drift would seem half as fast."""

_LOOSE = 1e-3
"""Weight of no drift, beside that of all of γ, where γ is at one relaxation time and tells one of two numbers."""

_ELEMENTS = ("r_inf", "inductance", "elastance")


class Sweeps(NamedTuple):
    """Times of K sweeps in the order of their series.

    Attributes
    ----------
    offset : ndarray, shape (K, F)
        Time of each point since the middle of its sweep, s; NaN where a point was not measured.
    middle : ndarray, shape (K,)
        When that is, s; NaN for a sweep whose points have no time.
    """

    offset: Array
    middle: Array

    def shares(self, breaks: NDArray[np.bool_]) -> Shares:
        """States beside each, shape (K, 3), and their shares at each point's time less those in the middle, (K, 3, F).

        Parameters
        ----------
        breaks : ndarray of bool, shape (K,)
            Before which states the series breaks: no course goes across.
        """
        rows, points = self.offset.shape
        beside, share = np.tile(np.arange(rows)[:, None], (1, 3)), np.zeros((rows, 3, points))
        order = np.argsort(self.middle, kind="stable")[: np.count_nonzero(np.isfinite(self.middle))]
        piece = np.cumsum(breaks)[order]
        for run in np.split(order, np.flatnonzero(np.diff(piece)) + 1):
            for n, k in enumerate(run.tolist()):
                first = min(max(n - 1, 0), max(run.size - 3, 0))
                near = run[first : first + 3]
                beside[k, : near.size] = near
                found = _lagrange(self.middle[near] - self.middle[k], self.offset[k])
                found[near == k] -= 1.0
                share[k, : near.size] = np.nan_to_num(found)
        return beside, share


def _lagrange(at: Array, time: Array) -> Array:
    """Shares of values at n times in the polynomial through them, shape (n, F)."""
    out = np.ones((at.size, time.size))
    for i in range(at.size):
        for j in range(at.size):
            if j != i:
                out[i] *= (time - at[j]) / (at[i] - at[j])
    return out + 0.0 * time


def sweeps_of(start: Array, point_time: Array, measured: NDArray[np.bool_]) -> Sweeps | None:
    """Place sweeps on one clock; None where fewer than two have times, where they overlap, or where it is one already.

    Parameters
    ----------
    start : ndarray, shape (K,)
        When each begins, s.
    point_time : ndarray, shape (K, F)
        Time of each point since then, s.
    measured : ndarray of bool, shape (K, F)
        Which points were measured.
    """
    timed = np.isfinite(start) & (np.isfinite(point_time) | ~measured).all(axis=1) & measured.any(axis=1)
    times = np.where(measured & timed[:, None], point_time, np.nan)
    first, last = np.full((2, len(times)), np.nan)
    first[timed], last[timed] = np.nanmin(times[timed], axis=1), np.nanmax(times[timed], axis=1)
    centre, length = 0.5 * (first + last), last - first
    order = np.argsort(start + centre, kind="stable")[: np.count_nonzero(timed)]
    gap = np.diff((start + first)[order]) - length[order][:-1]
    if order.size < 2 or not (length[order] > 0.0).all() or (gap < -_OVERLAP * length[order][:-1]).any():
        return None
    longest = length[order].max()
    if np.ptp(start[order]) > longest and np.ptp((first - start)[order]) < _SAME_CLOCK * longest:
        return None
    return Sweeps(times - centre[:, None], start + centre)


@dataclass(frozen=True, eq=False)
class Placed:
    """What was found for a series of K spectra.

    Attributes
    ----------
    solution : JointSolution
        That in the middle of each sweep; its fit is of the points as they are measured.
    breaks : ndarray of bool, shape (K,)
        Before which spectra the series breaks.
    moved : ndarray of complex, shape (K, F)
        What the change of the cell adds at each point, ohm.
    settled : bool
        Whether the rounds came to an end.
    """

    solution: JointSolution
    breaks: NDArray[np.bool_]
    moved: ComplexArray
    settled: bool


def solve_placed(
    solve: Solve,
    impedance: ComplexArray,
    sweeps: Sweeps,
    model: tuple[Array, Expansion],
    likelihood: Callable[[JointSolution], tuple[Array, float]],
    *,
    surely: bool,
) -> Placed:
    """Invert a series whose cell may change while its sweeps are measured.

    Each round subtracts what the change of the cell adds by the solution before, mixed with what the one before that
    gave. Alone, a round leaves up to six tenths of what the one before has left, where sweeps follow each other without
    a pause, and a tenth to a third where states are coupled.

    Parameters
    ----------
    solve : callable
        Inverts the series, with the number of the round; says where it breaks.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm, in order; NaN where there is none.
    sweeps : Sweeps
        When the points were measured.
    model : tuple
        Frequencies, Hz, and basis functions.
    likelihood : callable
        Returns for a solution whose fit is of the measured points the standard deviation of the noise, ohm, shape
        (K, F), and the logarithm of the likelihood.
    surely : bool
        Whether the cell is taken to change; if not, it is where that is 20 times more probable.

    Returns
    -------
    Placed
        Without a change of the cell where that is not more probable, or where the rounds do not converge.
    """
    frequency, expansion = model
    basis = expansion.impedance(frequency)
    found, breaks = solve(impedance, 0)
    plain = Placed(found, breaks, np.zeros(impedance.shape, dtype=complex), False)
    sigma, before = likelihood(found)
    after = before
    moved, last = plain.moved, None
    for rounds in range(1, _ROUNDS):
        if not found.optimality[0] <= OPTIMALITY_TOLERANCE:
            return plain
        shares = sweeps.shares(breaks)
        wanted = _added(found.parameters, shares, frequency, basis)
        with np.errstate(invalid="ignore"):  # of points that were not measured
            left = float(np.sqrt(np.nanmean(np.abs((wanted - moved) / sigma) ** 2)))
        step = wanted, wanted - moved
        if rounds > 1 and left <= _SETTLED:
            if not (surely or after > before + _LIKELY):
                return replace(plain, settled=True)
            found = _with_drifts(found, shares, sweeps, expansion, expansion.window(frequency))
            return Placed(found, breaks, moved, True)
        moved, last = _mixed(step, last, sigma), step
        found, breaks = solve(impedance - moved, rounds)
        found = replace(found, fit=found.fit + moved)
        sigma, after = likelihood(found)
    return plain


def _mixed(step: _Step, last: _Step | None, sigma: Array) -> ComplexArray:
    """Mix what two rounds want so that what they leave would be least, if it were linear in what is subtracted.

    That is the mixing of the last two iterates of D. G. Anderson, J. ACM 12 (1965) 547.
    """
    if last is None:
        return step[0]
    left, change = (np.nan_to_num(each / sigma) for each in (step[1], step[1] - last[1]))
    size = float(np.vdot(change, change).real)
    share = float(np.vdot(change, left).real) / size if size > 0.0 else 0.0
    return step[0] - min(max(share, -_MIXED), _MIXED) * (step[0] - last[0])


def _added(parameters: Parameters, shares: Shares, frequency: Array, basis: ComplexArray) -> ComplexArray:
    """Compute what the change of the cell adds at each point, shape (K, F), ohm."""
    omega = 2.0 * np.pi * frequency
    with np.errstate(divide="ignore"):
        logs = np.log(parameters.coefficients).clip(min=-700.0)
    out = np.zeros((len(logs), omega.size), dtype=complex)
    for k, (beside, share) in enumerate(zip(*shares, strict=True)):
        change = np.expm1(np.einsum("nf,nm->fm", share, logs[beside]))
        out[k] = np.einsum("fm,fm,m->f", basis, change, parameters.coefficients[k])
        r_inf, inductance, elastance = (getattr(parameters, name)[beside] @ share for name in _ELEMENTS)
        out[k] += r_inf + 1j * (omega * inductance - elastance / omega)
    return out


def _with_drifts(found: JointSolution, shares: Shares, sweeps: Sweeps, expansion: Expansion, window: Any) -> Any:
    """Estimate by how much ln γ changes over each sweep, as a straight line in ln τ that is closest where γ is."""
    known = found.parameters
    gamma, ends = known.coefficients * expansion.areas, ends_of_window(expansion.tau, window)
    logs = np.log(known.coefficients.clip(min=1e-300))
    drifts = np.zeros((2, len(gamma)))
    for k, (beside, share) in enumerate(zip(*shares, strict=True)):
        if share.any():
            at = sweeps.offset[k]
            change = (share[:, np.nanargmax(at)] - share[:, np.nanargmin(at)]) @ logs[beside]
            weight = gamma[k] / gamma[k].sum()
            drifts[:, k] = np.linalg.solve((ends * weight) @ ends.T + _LOOSE * np.eye(2), (ends * weight) @ change)
    return replace(found, parameters=replace(known, drift_fast=drifts[0], drift_slow=drifts[1]))


def allowing_for_course(
    posterior: LogPosterior, shares: Shares, sigma: Array, model: tuple[Array, ComplexArray]
) -> LogPosterior:
    """Widen a posterior by the uncertainty of the change within sweeps, which was subtracted from the data.

    States beside each other are taken as independent of each other, so that it is rather too much than too little.

    Parameters
    ----------
    posterior : LogPosterior
        That of the series after the change of the cell was subtracted, K states.
    shares : tuple
        As :meth:`Sweeps.shares` has them.
    sigma : ndarray, shape (K, F)
        Standard deviation of the noise, ohm.
    model : tuple
        Frequencies, Hz, and impedance of unit basis functions, shape (F, M).
    """
    frequency, basis = model
    omega, covariance = 2.0 * np.pi * frequency, posterior.covariance
    unit = dict(zip(_ELEMENTS, (np.ones_like(omega) + 0j, 1j * omega, 1.0 / (1j * omega)), strict=True))
    elements = np.stack([unit[name] for name in posterior.series_elements], axis=1).reshape(omega.size, -1)
    out = covariance.copy()
    with single_threaded_blas():
        for k, (beside, share) in enumerate(zip(*shares, strict=True)):
            here = np.isfinite(sigma[k])
            columns = np.hstack([basis * posterior.parameters.coefficients[k], elements])[here] / sigma[k, here, None]
            columns = np.vstack([columns.real, columns.imag])
            for other, part in zip(beside, share, strict=True):
                if part.any():
                    moves = covariance[k] @ (columns.T @ (np.tile(part[here], 2)[:, None] * columns))
                    out[k] += moves @ covariance[other] @ moves.T
    return replace(posterior, covariance=out)
