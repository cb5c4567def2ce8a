r"""Steady states of many relaxing signals at once.

.. math:: y(t) = y_\infty + s \sum_k a_k e^{-t/\tau_k}, \quad a_k \ge 0

with s the sign of the relaxation, as a passive system with a step at its terminals has it [1]_. The number of terms is
chosen by the Bayesian information criterion, and averaged over. Points are put together in bins of ln t, over which the
exponentials are averaged exactly. A constant-phase coupling relaxes as a power of time, which sums of exponentials
follow within the hold and not beyond it: a :math:`(1 + t/\tau)^{-\beta}` beside the exponentials is tried as well, and
where that is as good and has not ended, the signal is not steady.

.. [1] O. Brune, J. Math. Phys. 10 (1931) 191: a network of resistors and capacitors has real negative poles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from drt_engine.transport.fitting import Array, Fits, fit

__all__ = ["Relaxation", "relax"]

_BINS = 90
_MOST = 4
_STEADY = 5.0
"""Holds of less than so many of the slowest time constant are not steady."""

_STEEPEST = (1.0, 2.0)
"""Largest β of a power of time: of a constant-phase element, which has n, and of one that ends with exponentials."""

_DOUBT = 0.05
_AS_GOOD = 2.0
"""Difference of the information criterion below which another model counts as as good."""

_NOT_EXCLUDED = 0.2
"""Likelihood of a power of time, by the criterion and as a share of the best one, from which it is not excluded."""


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What is found of K signals.

    Attributes
    ----------
    end, end_error : ndarray, shape (K,)
        y_∞ and its standard deviation; where the signal is not steady, the last value of the fit.
    begin, begin_low, begin_high : ndarray, shape (K,)
        y at t = 0, and its interval: below from the exponentials, above from a line in √t through the first points.
    slowest : ndarray, shape (K,)
        Largest time constant, s; NaN without one.
    steady : ndarray of bool, shape (K,)
        Whether the signal was held for five times the slowest time constant.
    doubtful : ndarray of bool, shape (K,)
        Whether a power of time, which is not excluded, would end outside the interval of a steady signal.
    quantile : ndarray, shape (K,)
        Of Student's t.
    parameters : tuple of ndarray
        y_∞, and s a and τ of each term, of the most probable number of terms.
    """

    end: Array
    end_error: Array
    begin: Array
    begin_low: Array
    begin_high: Array
    slowest: Array
    steady: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]
    quantile: Array
    parameters: tuple[Array, ...]


def relax(signals: Sequence[tuple[Array, Array]], level: float) -> Relaxation:
    """Find where signals go.

    Parameters
    ----------
    signals : sequence of pairs of ndarray, shape (n,)
        Time since the step, s, and signal.
    level : float
        Probability of intervals.

    Returns
    -------
    Relaxation
        One entry a signal.
    """
    data = _binned(signals)
    steps = [_fit(data, 0, None)]
    for m in range(1, _MOST + 1):
        steps.append(_fit(data, m, steps[-1]))
    count = data.used.sum(axis=1)
    score = np.stack([count * np.log(step.chi2 / count) + step.x.shape[1] * np.log(count) for step in steps])
    best = np.argmin(score, axis=0)
    weight = np.exp(-0.5 * (score - score.min(axis=0)))
    weight[weight < _DOUBT] = 0.0
    weight /= weight.sum(axis=0)
    slowest = np.stack([_slowest(step) for step in steps])
    unsteady = np.sum(weight * (slowest > data.hold / _STEADY), axis=0) > _DOUBT
    goes_on, elsewhere, chance = _power(data, steps, score.min(axis=0))
    unsteady |= goes_on
    ends = np.stack([step.x[:, 0] for step in steps])
    errors = np.stack([np.sqrt(step.covariance[:, 0, 0] * step.chi2 / np.maximum(step.freedom, 1)) for step in steps])
    end = np.sum(weight * ends, axis=0)
    error = np.sqrt(np.sum(weight * (errors**2 + (ends - end) ** 2), axis=0))
    rows = np.arange(len(signals))
    chosen = [steps[m].x[k] for k, m in zip(rows, best, strict=True)]
    freedom = np.array([steps[m].freedom[k] for k, m in zip(rows, best, strict=True)])
    quantile = stdtrit(np.maximum(freedom, 1), 0.5 + level / 2)
    beyond = np.any((chance > _NOT_EXCLUDED) & (np.abs(elsewhere - end) > quantile * error), axis=0)
    last = np.array([_value(x, data.hold[k]) for k, x in zip(rows, chosen, strict=True)])
    scatter = np.array(
        [np.sqrt(steps[m].chi2[k] / max(steps[m].freedom[k], 1)) for k, m in zip(rows, best, strict=True)]
    )
    last_error = scatter / np.sqrt(np.maximum(data.weight[rows, count.astype(int) - 1], 1.0))
    begin = _begin(data, steps, best, quantile)
    sign, scale = data.sign, data.scale
    return Relaxation(
        end=sign * scale * np.where(unsteady, last, end),
        end_error=scale * np.where(unsteady, last_error, error),
        begin=sign * scale * begin[0],
        begin_low=scale * np.minimum(sign * begin[1], sign * begin[2]),
        begin_high=scale * np.maximum(sign * begin[1], sign * begin[2]),
        slowest=slowest[best, rows],
        steady=~unsteady,
        doubtful=beyond & ~unsteady,
        quantile=quantile,
        parameters=tuple(_plain(x, sign[k] * scale[k]) for k, x in zip(rows, chosen, strict=True)),
    )


def _power(data: "_Data", steps: Sequence[Fits], best: Array) -> tuple[NDArray[np.bool_], Array, Array]:
    """Whether a power of time describes the signals as well as exponentials do, and is not at its end.

    Beside it the y_∞ of powers of time, shape (6, K), and how plausible these are, 1 where they are as good.
    """
    count = data.used.sum(axis=1)
    found, ends, chances = np.zeros(count.size, dtype=bool), [], []
    for steepest in _STEEPEST:
        for step in steps[:3]:
            power = _fit(data, (step.x.shape[1] - 1) // 2, step, steepest)
            score = count * np.log(power.chi2 / count) + power.x.shape[1] * np.log(count)
            rest = np.exp(power.x[:, -3] - power.x[:, -1] * np.log1p(data.hold * np.exp(-power.x[:, -2])))
            error = np.sqrt(power.chi2 / np.maximum(power.freedom, 1) / np.max(data.weight, axis=1))
            found |= (score < best + _AS_GOOD) & (rest > 2 * error)
            ends.append(power.x[:, 0])
            chances.append(np.exp(-0.5 * np.maximum(score - best - _AS_GOOD, 0.0)))
    return found, np.stack(ends), np.stack(chances)


@dataclass(frozen=True)
class _Data:
    """Bins of K signals, which fall and are of size one; B bins, unused ones with weight zero."""

    time: Array
    half: Array
    value: Array
    weight: Array
    hold: Array
    sign: Array
    scale: Array

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which bins there are, shape (K, B)."""
        return np.asarray(self.weight > 0)


def _binned(signals: Sequence[tuple[Array, Array]]) -> _Data:
    shape = (len(signals), max(min(_BINS, t.size) for t, _ in signals))
    time, half, value, weight = np.ones(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    hold, sign, scale = np.empty(shape[0]), np.empty(shape[0]), np.empty(shape[0])
    for k, (t, y) in enumerate(signals):
        edges = _edges(t)
        number = np.diff(edges)
        mean_t, mean_y = (np.add.reduceat(one, edges[:-1]) / number for one in (t, y))
        width = (t[edges[1:] - 1] - t[edges[:-1]]) * np.where(number > 1, number / np.maximum(number - 1, 1), 0.0)
        few = max(1, number.size // 20)
        fall = mean_y[:few].mean() - mean_y[-few:].mean()
        sign[k] = -1.0 if fall < 0 else 1.0
        scale[k] = max(np.max(np.abs(y)), np.finfo(float).tiny)
        place = slice(0, number.size)
        time[k, place], half[k, place], weight[k, place] = mean_t, width / 2, number
        value[k, place] = sign[k] * mean_y / scale[k]
        hold[k] = t[-1]
    return _Data(time, half, value, weight, hold, sign, scale)


def _edges(t: Array) -> NDArray[np.intp]:
    """Return where bins begin, and the end: each of one point at first, then even in ln t."""
    if t.size <= _BINS:
        return np.arange(t.size + 1)
    positive = np.maximum(t, t[t > 0].min())
    wanted = np.searchsorted(positive, np.geomspace(positive[0], positive[-1], _BINS))
    return np.unique(np.concatenate([[0], wanted[1:-1], [t.size]]))


def _fit(data: _Data, terms: int, before: Fits | None, steepest: float = 0.0) -> Fits:
    last = np.array(
        [row[:n][-max(1, n // 10) :].mean() for row, n in zip(data.value, data.used.sum(axis=1), strict=True)]
    )
    height = np.maximum(data.value[:, 0] - last, 1e-6)
    rows = len(last)
    first = np.maximum(data.time[:, 0], data.hold * 1e-6)
    low, high = np.full((rows, 1), -np.inf), np.full((rows, 1), np.inf)
    term_low = np.column_stack([np.full(rows, -18.0), np.log(first)])
    term_high = np.column_stack([np.full(rows, 7.0), np.log(data.hold) + 3])
    lower, upper = np.hstack([low, *[term_low] * terms]), np.hstack([high, *[term_high] * terms])
    power = steepest > 0.0
    if power:
        lower = np.column_stack([lower, term_low, np.full(rows, 0.3)])
        upper = np.column_stack([upper, term_high, np.full(rows, steepest)])
    root = np.sqrt(data.weight)

    def model(x: Array, chosen: NDArray[np.intp]) -> tuple[Array, Array]:
        value, derivative = _evaluate(x, data.time[chosen], data.half[chosen], power)
        return root[chosen] * (value - data.value[chosen]), root[chosen][:, :, None] * derivative

    if power and before is not None:
        starts = [
            np.column_stack([before.x, np.log(height) - 1, np.log(data.hold * part), np.ones(rows)])
            for part in (0.003, 0.1)
        ]
    elif terms == 0:
        starts = [last[:, None]]
    elif before is None or terms == 1:
        starts = [np.column_stack([last, np.log(height), np.log(data.hold * part)]) for part in (0.03, 0.2, 1.0)]
    else:
        x = before.x
        starts = [np.column_stack([x, x[:, 1] - 1, x[:, 2] + shift]) for shift in (-2.0, 1.5)]
        starts.append(np.column_stack([x, x[:, -2] - 1, x[:, -1] - 2.0]))
    best: Fits | None = None
    for start in starts:
        found = fit(model, start, lower, upper, 15 if len(starts) > 1 else None)
        if best is None:
            best = found
        else:
            better = np.flatnonzero(~(found.chi2 >= best.chi2))
            best = best.replaced(better, found.take(better))
    assert best is not None  # there is one start at least
    if len(starts) > 1:
        best = fit(model, best.x, lower, upper)
    chi2 = np.maximum(best.chi2, 1e-28)
    unused = data.value.shape[1] - data.used.sum(axis=1)
    return Fits(best.x, chi2, best.covariance, best.optimality, best.freedom - unused)


def _evaluate(x: Array, time: Array, half: Array, power: bool = False) -> tuple[Array, Array]:
    """Means over bins (K, B) and their derivatives (K, B, N); of a power of time, the value in the middle."""
    value = np.repeat(x[:, :1], time.shape[1], axis=1)
    derivative = np.ones((*time.shape, x.shape[1]))
    if power:
        log_a, log_tau, beta = (x[:, [k]] for k in (-3, -2, -1))
        u = time * np.exp(-log_tau)
        term = np.exp(log_a - beta * np.log1p(u))
        value = value + term
        derivative[:, :, -3], derivative[:, :, -2] = term, term * beta * u / (1 + u)
        derivative[:, :, -1] = -term * np.log1p(u)
    for k in range(1, x.shape[1] - 3 * power, 2):
        rate = np.exp(-x[:, k + 1 : k + 2])
        u = half * rate
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # the mean of an exponential over a bin: its middle, times sinh(u)/u
            log_mean = np.where(u > 1e-4, u + np.log(-np.expm1(-2 * u)) - np.log(2 * u), u**2 / 6)
            slope = np.where(u > 1e-4, u / np.tanh(u) - 1, u**2 / 3)
        term = np.exp(np.minimum(x[:, k : k + 1] - time * rate + log_mean, 50.0))
        value = value + term
        derivative[:, :, k], derivative[:, :, k + 1] = term, term * (time * rate - slope)
    return value, derivative


def _slowest(step: Fits) -> Array:
    if step.x.shape[1] == 1:
        return np.full(len(step.x), np.nan)
    return np.asarray(np.exp(step.x[:, 2::2].max(axis=1)))


def _value(x: Array, time: float) -> float:
    return float(x[0] + np.sum(np.exp(x[1::2] - time * np.exp(-x[2::2]))))


def _begin(data: _Data, steps: Sequence[Fits], best: NDArray[np.intp], quantile: Array) -> tuple[Array, Array, Array]:
    """Return y at t = 0 of the most probable number of terms, and its ends."""
    out = np.empty((3, len(best)))
    for k, m in enumerate(best.tolist()):
        x, covariance = steps[m].x[k], steps[m].covariance[k] * steps[m].chi2[k] / max(steps[m].freedom[k], 1)
        gradient = np.zeros_like(x)
        gradient[0] = 1.0
        gradient[1::2] = np.exp(x[1::2])
        half = quantile[k] * np.sqrt(max(gradient @ covariance @ gradient, 0.0))
        value = _value(x, 0.0)
        root, y = np.sqrt(data.time[k, :2]), data.value[k, :2]
        line = y[0] + (y[0] - y[1]) * root[0] / max(root[1] - root[0], 1e-300)
        out[:, k] = value, value - half, max(value, line) + half
    return out[0], out[1], out[2]


def _plain(x: Array, factor: float) -> Array:
    out = x.copy()
    out[0] *= factor
    out[1::2] = factor * np.exp(x[1::2])
    out[2::2] = np.exp(x[2::2])
    return out
