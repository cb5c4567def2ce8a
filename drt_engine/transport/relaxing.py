r"""Steady states of many relaxing signals at once.

.. math:: y(t) = y_\infty + s \sum_k a_k E_n(-(t/\tau_k)^n), \quad a_k \ge 0

with s the sign of the relaxation. For n = 1 the terms are exponentials, as a passive system with a step at its
terminals has them [1]_. A line that is coupled by a constant-phase element has an admittance that depends on (jω)^n
alone; its terms are functions of Mittag-Leffler with that n [2]_, which end as a power of time. How many terms there
are, and whether n is 1, is decided by the Bayesian information criterion and averaged over, so that what a coupling of
constant phase would change is in the interval. Points are put together in bins of ln t, over which terms are averaged.

.. [1] O. Brune, J. Math. Phys. 10 (1931) 191: a network of resistors and capacitors has real negative poles.
.. [2] R. Gorenflo, F. Mainardi, in Fractals and Fractional Calculus in Continuum Mechanics, Springer (1997) 223.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from drt_engine.transport.fitting import Array, Fits, Slopes, fit_best

__all__ = ["Relaxation", "relax", "response"]

_BINS = 90
"""Bins in ln t that a signal is averaged in: about 15 in a decade of six, finer than any term of the model changes."""
_MOST, _MOST_FRACTIONAL = 4, 3
"""Terms with n = 1, and with another n."""

_STEADY = 5.0
"""Holds of less than so many of the slowest time constant are not steady."""

_ORDERS = (0.5, 1.0)
"""Range of n."""

_PLACES, _TABLE = (-20.0, 18.0), (41, 381)
"""Range of ln x of a table of terms, and how many values it has by n and by ln x."""

_GAUSS = 3**-0.5
"""Places of two points in a bin, in half widths, over which a mean is exact to the third power (Gauss)."""

_DOUBT = 0.05
"""Share of the likelihood below which a model takes no part, and from which a doubt whether the signal is steady is
reported."""
_NOT_EXCLUDED = 0.2
"""Likelihood of n < 1, by the criterion and as a share of the best one, from which it is not excluded."""


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Steady states of K signals.

    Attributes
    ----------
    end, end_error : ndarray, shape (K,)
        y_∞ and its standard deviation; where the signal is not steady, the last value of the fit.
    begin, begin_low, begin_high : ndarray, shape (K,)
        y at t = 0, and its interval: below from the exponentials, above from a line in √t through the first points.
    slowest : ndarray, shape (K,)
        Largest time constant, s; NaN without one.
    steady : ndarray of bool, shape (K,)
        Whether the signal was held for five times the slowest time constant, and what is left is within the noise.
    power_of_time : ndarray of bool, shape (K,)
        Whether terms with n < 1, which are not excluded, would end outside the interval of a steady signal.
    quantile : ndarray, shape (K,)
        Of Student's t.
    parameters : tuple of ndarray
        y_∞, s a and τ of each term, and n where it is not 1, of the most probable model.
    """

    end: Array
    end_error: Array
    begin: Array
    begin_low: Array
    begin_high: Array
    slowest: Array
    steady: NDArray[np.bool_]
    power_of_time: NDArray[np.bool_]
    quantile: Array
    parameters: tuple[Array, ...]


def relax(signals: Sequence[tuple[Array, Array]], level: float) -> Relaxation:
    """Find the steady states of signals.

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
    steps, score = _models(data)
    best = np.argmin(score, axis=0)
    weight = np.exp(-0.5 * (score - score.min(axis=0)))
    weight[weight < _DOUBT] = 0.0
    weight /= weight.sum(axis=0)
    slowest = np.stack([_slowest(step) for step in steps])
    goes_on = np.stack([_goes_on(data, *pair) for pair in zip(steps, slowest, strict=True)])
    unsteady = np.sum(weight * goes_on, axis=0) > _DOUBT
    ends = np.stack([step.x[:, 0] for step in steps])
    errors = np.stack([np.sqrt(step.covariance[:, 0, 0] * step.chi2 / np.maximum(step.freedom, 1)) for step in steps])
    end = np.sum(weight * ends, axis=0)
    error = np.sqrt(np.sum(weight * (errors**2 + (ends - end) ** 2), axis=0))
    rows = np.arange(len(signals))
    chosen = [steps[m].x[k] for k, m in zip(rows, best, strict=True)]
    freedom = np.array([steps[m].freedom[k] for k, m in zip(rows, best, strict=True)])
    quantile = stdtrit(np.maximum(freedom, 1), 0.5 + level / 2)
    chance = np.exp(-0.5 * np.maximum(score[_MOST + 1 :] - score.min(axis=0), 0.0))
    elsewhere = ends[_MOST + 1 :]
    beyond = np.any((chance > _NOT_EXCLUDED) & (np.abs(elsewhere - end) > quantile * error), axis=0)
    last = np.array([_value(x, data.hold[k]) for k, x in zip(rows, chosen, strict=True)])
    scatter = np.array(
        [np.sqrt(steps[m].chi2[k] / max(steps[m].freedom[k], 1)) for k, m in zip(rows, best, strict=True)]
    )
    last_bin = data.weight[rows, data.used.sum(axis=1) - 1]
    last_error = scatter / np.sqrt(np.maximum(last_bin, 1.0))
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
        power_of_time=beyond & ~unsteady,
        quantile=quantile,
        parameters=tuple(_plain(x, sign[k] * scale[k]) for k, x in zip(rows, chosen, strict=True)),
    )


def _models(data: "_Data") -> tuple[list[Fits], Array]:
    """Fit terms with n = 1 and with another n, and how good they are by the criterion, shape (models, K)."""
    steps = [_fit(data, 0, None)]
    for m in range(1, _MOST + 1):
        steps.append(_fit(data, m, steps[-1]))
    count = data.used.sum(axis=1)
    scores = [count * np.log(step.chi2 / count) + step.x.shape[1] * np.log(count) for step in steps]
    needed, slower = np.argmin(scores, axis=0), None
    for m in range(1, _MOST_FRACTIONAL + 1):
        # with another n no more terms are needed than without
        rows = np.flatnonzero(needed >= m)
        step, score = _with_exponent(steps[m]), np.full(count.size, np.inf)
        if rows.size:
            found = _fit(data.take(rows), m, steps[m].take(rows), True, slower and slower.take(rows))
            step = step.replaced(rows, found)
            # n costs nothing in the criterion: couplings of constant phase are the rule
            score[rows] = count[rows] * np.log(found.chi2 / count[rows]) + (2 * m + 1) * np.log(count[rows])
        steps.append(step)
        scores.append(score)
        slower = step
    return steps, np.stack(scores)


def _with_exponent(step: Fits) -> Fits:
    """Return the same with n = 1 as a parameter."""
    x = np.column_stack([step.x, np.ones(len(step.x))])
    covariance = np.pad(step.covariance, ((0, 0), (0, 1), (0, 1)))
    return Fits(x, step.chi2, covariance, step.optimality, step.freedom)


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

    def take(self, rows: NDArray[np.intp]) -> "_Data":
        """Return some of them."""
        return _Data(*(getattr(self, field.name)[rows] for field in fields(self)))

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


def _fit(data: _Data, terms: int, before: Fits | None, fractional: bool = False, slower: Fits | None = None) -> Fits:
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
    if fractional:
        lower = np.column_stack([lower, np.full(rows, _ORDERS[0])])
        upper = np.column_stack([upper, np.full(rows, 1.0)])
    root = np.sqrt(data.weight)

    def model(x: Array, chosen: NDArray[np.intp]) -> tuple[Array, Slopes]:
        value, derivative = _evaluate(x, data.time[chosen], data.half[chosen], fractional)
        size = root[chosen]
        return size * (value - data.value[chosen]), lambda kept: size[kept][:, :, None] * derivative[kept]

    if fractional and before is not None:
        orders = (0.97, 0.85) if slower is None else (0.95,)
        starts = [np.column_stack([before.x, np.full(rows, n)]) for n in orders]
        if slower is not None:
            x, fastest = slower.x, slower.x[:, 2::2].min(axis=1)
            starts += [np.column_stack([x[:, :-1], x[:, -3] - 1, fastest - by, x[:, -1]]) for by in (1.5, 3.0)]
    elif terms == 0:
        starts = [last[:, None]]
    elif before is None or terms == 1:
        starts = [np.column_stack([last, np.log(height), np.log(data.hold * part)]) for part in (0.03, 0.2, 1.0)]
    else:
        x = before.x
        starts = [np.column_stack([x, x[:, 1] - 1, x[:, 2] + shift]) for shift in (-2.0, 1.5)]
        starts.append(np.column_stack([x, x[:, -2] - 1, x[:, -1] - 2.0]))
    best = fit_best(model, starts, lower, upper)
    chi2 = np.maximum(best.chi2, 1e-28)
    unused = data.value.shape[1] - data.used.sum(axis=1)
    return Fits(best.x, chi2, best.covariance, best.optimality, best.freedom - unused)


def _evaluate(x: Array, time: Array, half: Array, fractional: bool = False) -> tuple[Array, Array]:
    """Means over bins (K, B) and their derivatives (K, B, N)."""
    value = np.repeat(x[:, :1], time.shape[1], axis=1)
    derivative = np.ones((*time.shape, x.shape[1]))
    if fractional:
        derivative[:, :, -1] = 0.0
        order = x[:, -1]
        for k in range(1, x.shape[1] - 1, 2):
            for offset in (-_GAUSS, _GAUSS):
                place = np.log(np.maximum(time + offset * half, 1e-300)) - x[:, k + 1 : k + 2]
                height = 0.5 * np.exp(np.minimum(x[:, k : k + 1], 50.0))
                term, by_order, by_time = (height * one for one in _relaxed(order, place))
                value = value + term
                derivative[:, :, k] = term if offset < 0 else derivative[:, :, k] + term
                derivative[:, :, k + 1] = -by_time if offset < 0 else derivative[:, :, k + 1] - by_time
                derivative[:, :, -1] += by_order
        return value, derivative
    for k in range(1, x.shape[1], 2):
        rate = np.exp(-x[:, k + 1 : k + 2])
        u = half * rate
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # the mean of an exponential over a bin: its middle, times sinh(u)/u
            wide, square = u > 1e-4, u**2
            log_mean = np.where(wide, u + np.log(-np.expm1(-2 * u)) - np.log(2 * u), square / 6)
            slope = np.where(wide, u / np.tanh(u) - 1, square / 3)
        past = time * rate
        term = np.exp(np.minimum(x[:, k : k + 1] - past + log_mean, 50.0))
        value = value + term
        derivative[:, :, k], derivative[:, :, k + 1] = term, term * (past - slope)
    return value, derivative


@lru_cache(maxsize=1)
def _table() -> Array:
    """E_n(-x^n) and its derivative by ln x, over n and ln x, shape (2, N, X), by the distribution of its rates [2]_.

    That is the distribution of relaxation times of a ZARC element, whose quantiles have a closed form.
    """
    orders = np.linspace(_ORDERS[0], 1.0, _TABLE[0])
    x = np.exp(np.linspace(*_PLACES, _TABLE[1]))[:, None]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    out = np.empty((2, *_TABLE))
    for i, n in enumerate(orders[:-1]):
        rates = np.tan(0.5 * n * np.pi * nodes) / np.tan(0.5 * n * np.pi)
        rates = np.exp(np.minimum(2 / n * np.arctanh(rates), 600.0))
        falls = np.exp(-x * rates)
        out[0, i], out[1, i] = falls @ weights / 2, -x[:, 0] * (falls @ (weights * rates)) / 2
    out[0, -1], out[1, -1] = np.exp(-x[:, 0]), -x[:, 0] * np.exp(-x[:, 0])
    return out


def _relaxed(order: Array, place: Array) -> tuple[Array, Array, Array]:
    """E_n(-x^n) and its derivatives by n and ln x, at n (K,) and ln x (K, B); cubic between the values of a table."""
    u = (order - _ORDERS[0]) / (1.0 - _ORDERS[0]) * (_TABLE[0] - 1)
    low = np.clip(u.astype(int) - 1, 0, _TABLE[0] - 4)
    near = _table()[:, low[:, None] + np.arange(4)]
    share, slope = _lagrange(u - low)
    value, by_x = np.einsum("km,akmx->akx", share, near)
    by_order, by_both = np.einsum("km,akmx->akx", slope * (_TABLE[0] - 1) / (1.0 - _ORDERS[0]), near)
    step = (_PLACES[1] - _PLACES[0]) / (_TABLE[1] - 1)
    v = np.clip((place - _PLACES[0]) / step, 0.0, _TABLE[1] - 1.000001)
    at = v.astype(int)
    v = v - at
    # Places in the values of all rows one after another: numbers are taken from there in half the time.
    at += np.arange(len(order))[:, None] * _TABLE[1]
    rise, fall = v * v * (3.0 - 2.0 * v), step * v * (1.0 - v)
    sides = [(one.take(at), one.take(at + 1)) for one in (value, by_x, by_order, by_both)]
    (f, g), (df, dg), (fn, gn), (dfn, dgn) = sides
    found = f + rise * (g - f) + fall * ((1.0 - v) * df - v * dg)
    by_n = fn + rise * (gn - fn) + fall * ((1.0 - v) * dfn - v * dgn)
    by_place = 6.0 * v * (1.0 - v) * (g - f) / step + (1.0 - v) * (1.0 - 3.0 * v) * df + v * (3.0 * v - 2.0) * dg
    return found, by_n, by_place


def _lagrange(u: Array) -> tuple[Array, Array]:
    """Shares of values at 0 to 3 in the cubic through them at u, shape (K, 4), and their derivatives."""
    a, b, c, d = u, u - 1, u - 2, u - 3
    share = [b * c * d / -6, a * c * d / 2, a * b * d / -2, a * b * c / 6]
    slope = [(b * c + b * d + c * d) / -6, (a * c + a * d + c * d) / 2]
    slope += [(a * b + a * d + b * d) / -2, (a * b + a * c + b * c) / 6]
    return np.stack(share, axis=1), np.stack(slope, axis=1)


def _is_fractional(x: Array) -> bool:
    """Whether the last parameter is an exponent of all terms."""
    return x.size % 2 == 0


def _slowest(step: Fits) -> Array:
    if step.x.shape[1] == 1:
        return np.full(len(step.x), np.nan)
    return np.asarray(np.exp(step.x[:, 2::2].max(axis=1)))


def _goes_on(data: _Data, step: Fits, slowest: Array) -> NDArray[np.bool_]:
    """Whether what is left at the end of the hold is more than its error."""
    if not _is_fractional(step.x[0]):
        return np.asarray(slowest > data.hold / _STEADY)
    place = np.log(data.hold)[:, None] - step.x[:, 2::2]
    rest = np.sum(np.exp(step.x[:, 1:-1:2]) * _relaxed(step.x[:, -1], place)[0], axis=1)
    error = np.sqrt(step.chi2 / np.maximum(step.freedom, 1) / np.max(data.weight, axis=1))
    return np.asarray((rest > 2 * error) | (slowest > data.hold / _STEADY))


def _value(x: Array, time: float) -> float:
    return float(_evaluate(x[None], np.full((1, 1), time), np.zeros((1, 1)), _is_fractional(x))[0][0, 0])


def response(parameters: Array, time: Array) -> Array:
    """Evaluate a fit.

    Parameters
    ----------
    parameters : ndarray
        As :class:`Relaxation` has them.
    time : ndarray, shape (T,)
        Times since the step, s.
    """
    fractional = _is_fractional(parameters)
    end = parameters.size - fractional
    place = np.log(np.maximum(time, 1e-300)) - np.log(parameters[2::2])[:, None]
    order = np.full(len(place), parameters[-1] if fractional else 1.0)
    terms = _relaxed(order, place)[0] if fractional else np.exp(-np.exp(place))
    return np.asarray(parameters[0] + parameters[1:end:2] @ terms)


def _begin(data: _Data, steps: Sequence[Fits], best: NDArray[np.intp], quantile: Array) -> tuple[Array, Array, Array]:
    """Return y at t = 0 of the most probable number of terms, and its ends."""
    out = np.empty((3, len(best)))
    for k, m in enumerate(best.tolist()):
        x, covariance = steps[m].x[k], steps[m].covariance[k] * steps[m].chi2[k] / max(steps[m].freedom[k], 1)
        gradient = np.zeros_like(x)
        gradient[0] = 1.0
        end = x.size - _is_fractional(x)
        gradient[1:end:2] = np.exp(x[1:end:2])
        half = quantile[k] * np.sqrt(max(gradient @ covariance @ gradient, 0.0))
        value = _value(x, 0.0)
        root, y = np.sqrt(data.time[k, :2]), data.value[k, :2]
        line = y[0] + (y[0] - y[1]) * root[0] / max(root[1] - root[0], 1e-300)
        out[:, k] = value, value - half, max(value, line) + half
    return out[0], out[1], out[2]


def _plain(x: Array, factor: float) -> Array:
    out = x.copy()
    out[0] *= factor
    end = x.size - _is_fractional(x)
    out[1:end:2] = factor * np.exp(x[1:end:2])
    out[2::2] = np.exp(x[2::2])
    return out
