"""Each spectrum of a series predicted from the others, as if it had not been measured."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from drt_engine.elements import tail_column
from drt_engine.series import OrderedSeries, differences

if TYPE_CHECKING:
    from drt_engine.methods.joint.posterior import JointSeries

__all__ = ["Prediction", "compare", "predict"]

Array = NDArray[np.float64]

_APART = 4
"""Every so many states are left out at once when they are predicted: three on either side stay."""

_CLOSE = 0.05
"""How exact solutions without some states are, in posterior standard deviations."""

_BY_NOISE, _BY_CHANGES, _AROUND = 1e-4, 6.0, 4
"""Chance of noise at which a prediction may miss by so much, and how many times what is missed by in the median of so
many spectra on either side. On simulated campaigns the largest of 264 scores is 0.6."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """How well K spectra are predicted by the others of their series.

    Attributes
    ----------
    impedance : ndarray of complex, shape (K, F)
        What the others predict, with R_inf, L and 1/C as they suit the spectrum itself, ohm; NaN for a spectrum that
        belongs to no series.
    error : ndarray, shape (K,)
        Root mean square of the difference from the spectrum, in standard deviations of the noise; 1 is as good as can
        be.
    score : ndarray, shape (K,)
        `error` over the largest that is expected of noise and of changes as they are in this part of the series: above
        1, the others do not predict it.
    """

    impedance: NDArray[np.complex128]
    error: Array
    score: Array


def predict(series: "JointSeries") -> Prediction:
    """Predict each spectrum from the others of its series, as if it had not been measured.

    κ, s, λ and the noise stay. Every fourth spectrum of a series is left out at once, and the solution found anew from
    where it is, so that a series takes four short descents, however long it is. A spectrum that differs from its
    neighbours is hardly coupled to them in the joint solution; here, that plays no part. Where one is not predicted, it
    is left out for good, and the others are predicted again.

    Parameters
    ----------
    series : JointSeries
        The spectra, with their joint solutions.
    """
    rows, points = series.impedance.shape
    out = Prediction(np.full((rows, points), complex(np.nan, np.nan)), *np.full((2, rows), np.nan))
    for number, line in enumerate(series.lines):
        sigma = series.deviations(number)
        unlike = np.zeros(line.rows.size, dtype=bool)
        for _ in range(2):
            _predict_line(series, line, sigma, unlike, out)
            before, unlike = unlike, _not_predicted(series, line, sigma, out)
            if (unlike == before).all():
                break
    return out


def _predict_line(
    series: "JointSeries", line: OrderedSeries, sigma: Array, unlike: NDArray[np.bool_], out: Prediction
) -> None:
    """Predict the spectra of one series, without those that were not predicted before."""
    for first in range(min(_APART, line.rows.size)):
        left_out = np.zeros(line.rows.size, dtype=bool)
        left_out[first::_APART] = True
        if (~(left_out | unlike)).sum() < 2:
            continue
        gamma = _gamma_without(series, line, left_out | unlike)
        for k in np.flatnonzero(left_out):
            compare(series, int(line.rows[k]), gamma[k], sigma[k], out)


def _not_predicted(series: "JointSeries", line: OrderedSeries, sigma: Array, out: Prediction) -> NDArray[np.bool_]:
    """Score the spectra of a series; return which are not predicted, of neighbours the one that is worst."""
    error, number = out.error[line.rows], line.rows.size
    if np.isnan(error).all():
        return np.zeros(number, dtype=bool)  # of two spectra, none is predicted by others
    # A state has as much freedom as the differences that it is in leave it: more at the ends.
    state, coefficient = differences(line.position)
    here = state >= 0
    free = 1.0 / np.sqrt(np.bincount(state[here], coefficient[here] ** 2, number))
    changed = np.sqrt(np.maximum(error**2 - _residual_variance(series, line, sigma), 0.0)) / free
    usual = np.array([np.nanmedian(changed[max(k - _AROUND, 0) : k + _AROUND + 1]) for k in range(number)])
    freedom = np.maximum(2.0 * np.isfinite(series.impedance[line.rows]).sum(axis=1) - 3.0, 1.0)
    noise = np.sqrt(scipy.special.chdtri(freedom, _BY_NOISE) / freedom)
    score = error / np.hypot(noise, _BY_CHANGES * free * usual)
    out.score[line.rows] = score
    highest = np.array([score[k] >= np.nanmax(score[max(k - 2, 0) : k + 3]) for k in range(number)])
    return np.asarray((score > 1.0) & highest)


def _residual_variance(series: "JointSeries", line: OrderedSeries, sigma: Array) -> float:
    """Mean square of the residuals, in variances of the noise, 1 at most: the noise may be given too large."""
    fit = series.parameters.rows(line.rows).impedance(series.frequency, series.expansion.impedance(series.frequency))
    square = np.nanmean(np.abs((series.impedance[line.rows] - fit) / sigma) ** 2, axis=1)
    return min(0.5 * float(np.median(square)), 1.0)


def _gamma_without(series: "JointSeries", line: OrderedSeries, left_out: NDArray[np.bool_]) -> Array:
    """γ of the states of a series without the data of some, shape (K, M)."""
    z = series.impedance[line.rows].copy()
    z[left_out] = np.nan
    known = series.parameters.rows(line.rows)
    u, at = np.log(known.coefficients), line.position
    u[left_out] = np.stack([np.interp(at[left_out], at[~left_out], column) for column in u[~left_out].T], axis=1)
    problem, found = series.problem_of(line, line.position, z, series.breaks[line.rows])
    return problem.refine(found, replace(known, coefficients=np.exp(u)), _CLOSE)


def compare(series: "JointSeries", row: int, gamma: Array, sigma: Array, out: Prediction) -> None:
    """Compare a spectrum with what γ predicts; R_inf, L and 1/C are its own, for the others do not know them.

    Parameters
    ----------
    series : JointSeries
        The spectra, with their joint solutions.
    row : int
        Row number of the spectrum.
    gamma : ndarray, shape (M,)
        What the others predict, ohm.
    sigma : ndarray, shape (F,)
        Standard deviations of the noise, ohm; NaN where nothing was measured.
    out : Prediction
        Where impedance and error are put.
    """
    omega, unit = 2.0 * np.pi * series.frequency, series.expansion.impedance(series.frequency)
    own = series.parameters.rows(np.array([row]))
    beside = own.impedance(series.frequency, unit)[0] - unit @ own.coefficients[0]
    free = [np.ones_like(omega) + 0j]
    free += [1j * omega] if series.method.inductance else []
    free += [1.0 / (1j * omega)] if own.elastance[0] > 0.0 else []
    free += [tail_column(omega, float(own.tail_exponent[0]), np.inf)] if own.tail[0] > 0.0 else []
    here = np.isfinite(series.impedance[row])

    def weighted(values: NDArray[Any]) -> Array:
        scaled = values[here] / sigma[here]
        return np.concatenate([scaled.real, scaled.imag])

    residual = weighted(series.impedance[row] - beside - unit @ gamma)
    columns = np.stack([weighted(column) for column in free], axis=1)
    size = np.linalg.norm(columns, axis=0)
    fitted = np.linalg.lstsq(columns / size, residual, rcond=None)[0] / size
    out.impedance[row] = beside + unit @ gamma + np.stack(free, axis=1) @ fitted
    out.error[row] = np.linalg.norm(residual - columns @ fitted) / np.sqrt(residual.size - fitted.size)
