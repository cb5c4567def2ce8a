"""Changes between spectra inverted together, with uncertainty, and γ at states where none was measured."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache, wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri

from drt_engine.elements import tail_column
from drt_engine.methods import LogGaussian
from drt_engine.methods.joint import SeparateSolutions, SeriesHyperparameters, SeriesProblem
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian
from drt_engine.methods.placing import Sweeps, allowing_for_course
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters
from drt_engine.series import OrderedSeries, differences
from drt_engine.steps import Steps
from drt_engine.uncertainty.ceilings import JoinedCeilings
from drt_engine.uncertainty.intervals import tiles
from drt_engine.uncertainty.posterior import LogPosterior, quantile, still_rises

__all__ = ["Change", "JointSeries", "Prediction", "change_between"]

Array = NDArray[np.float64]
P = ParamSpec("P")
T = TypeVar("T")

_KEPT = 4
"""Series whose covariances are kept at once: those of 24 spectra take 6 MB."""

_OF_EXPONENT = 0.5
"""Share of the doubt about the exponent of a tail alone that all states of a series have in common: how it goes along
with the slowest relaxation times is the same in all, so that it does not become less with their number."""

_APART = 4
"""Every so many states are left out at once when they are predicted: three on either side stay."""

_CLOSE = 0.05
"""How exact solutions without some states are, in posterior standard deviations."""

_BY_NOISE, _BY_CHANGES, _AROUND = 1e-4, 6.0, 4
"""Chance of noise at which a prediction may miss by so much, and how many times what is missed by in the median of so
many spectra on either side. On simulated campaigns the largest of 264 scores is 0.6."""


_COMMON = 0.7
"""Share of its variance alone that each state of a series keeps, beside what remains of the joint variance: where the
prior is wrong, it is wrong in all states alike, and that does not become less with their number. With 0.5, 95 %
intervals of R_pol cover 78 % in 120 states of log-normal processes, with 0.7 94 %."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """How well K spectra are predicted by the others of their series.

    Attributes
    ----------
    impedance : ndarray of complex, shape (K, F)
        What the others predict, with R_inf, L and 1/C as they suit the spectrum itself, ohm; NaN for a spectrum that
        belongs to no series.
    error : ndarray, shape (K,)
        Root mean square of what that misses, in standard deviations of the noise; 1 is as good as can be.
    score : ndarray, shape (K,)
        That over the largest that is expected of noise and of changes as they are in this part of the series: above 1,
        the others do not predict it.
    """

    impedance: NDArray[np.complex128]
    error: Array
    score: Array


@dataclass(frozen=True, eq=False)
class Change:
    """How γ and R_pol change from one spectrum to another.

    Attributes
    ----------
    level : float
        Probability that an interval covers its value.
    tau : ndarray, shape (M,)
        Relaxation times, s.
    gamma, gamma_low, gamma_high : ndarray, shape (M,)
        Change of γ and its interval, ohm.
    r_pol, r_pol_low, r_pol_high : float
        Change of R_pol and its interval, ohm. A change is shown by the data where its interval does not hold zero.
    """

    level: float
    tau: Array
    gamma: Array
    gamma_low: Array
    gamma_high: Array
    r_pol: float
    r_pol_low: float
    r_pol_high: float


def _in_turn(work: "Callable[Concatenate[JointSeries, P], T]") -> "Callable[Concatenate[JointSeries, P], T]":
    """Let one thread after the other do it: the problem of a series is kept, and worked on in place."""

    @wraps(work)
    def alone(self: "JointSeries", /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._working:
            return work(self, *args, **kwargs)

    return alone


@dataclass(frozen=True, eq=False)
class JointSeries:
    """Series of a result.

    Attributes
    ----------
    method : LogGaussian
        What they were inverted with.
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    impedance : ndarray of complex, shape (K, F)
        The spectra, ohm.
    expansion : Expansion
        Basis functions.
    parameters : Parameters
        The solutions.
    hyper : ndarray, shape (K, 5)
        λ, a (ohm) and b of the noise, κ and s of each.
    breaks : ndarray of bool, shape (K,)
        Whether a series breaks before a spectrum.
    lines : list of OrderedSeries
        The series, each of spectra with a solution; or parts of one that were inverted each by itself.
    series : ndarray of int, shape (len(lines),)
        Which series each belongs to, counted from zero.
    held : ndarray of bool, shape (K,)
        Whether a solution is held by other series as well: it then stays as it is where a state is put beside it.
    sweeps : list of Sweeps or None
        When the points of each series were measured, if what the change of the cell adds to them was taken off.
    """

    method: LogGaussian
    frequency: Array
    impedance: NDArray[np.complex128]
    expansion: Expansion
    parameters: Parameters
    hyper: Array
    breaks: NDArray[np.bool_]
    lines: list[OrderedSeries]
    series: NDArray[np.intp]
    held: NDArray[np.bool_]
    sweeps: list[Sweeps | None]
    _of: dict[int, tuple[int, int]] = field(init=False)
    posterior: Callable[..., LogPosterior] = field(init=False)
    _steps: Steps | None = field(init=False, default=None)
    _kept: Callable[[int], LogPosterior] = field(init=False)
    _working: RLock = field(init=False)
    _settled: Callable[[int], tuple[SeriesProblem, SeriesHyperparameters]] = field(init=False)

    def __post_init__(self) -> None:
        """Note where each spectrum is, and keep the posteriors that were worked on last."""
        where = {int(row): (n, k) for n, line in enumerate(self.lines) for k, row in enumerate(line.rows)}
        object.__setattr__(self, "_of", where)
        object.__setattr__(self, "_working", RLock())
        object.__setattr__(self, "_kept", lru_cache(_KEPT)(self._posterior))
        object.__setattr__(self, "posterior", self._found_once)
        object.__setattr__(self, "_settled", lru_cache(1)(self._settle))

    def line_of(self, row: int) -> int | None:
        """Which series a spectrum belongs to."""
        found = self._of.get(row)
        return None if found is None else found[0]

    def _prepared(
        self, line: OrderedSeries, exponent: Array | None = None
    ) -> tuple[PreparedLogGaussian, tuple[Array, Array] | None]:
        """Collect what spectra of a series share, and exponents of tails with a standard deviation in common."""
        method, found = self.method.of_series(self.parameters.rows(line.rows))
        prepared = method.prepared(self.frequency, self.expansion)
        if found is None:
            return prepared, None
        if exponent is not None:
            found = np.where(np.isfinite(exponent), exponent, np.median(found))
        return prepared, (found, np.full(found.size, self._doubt_of_exponents(line)))

    def _doubt_of_exponents(self, line: OrderedSeries) -> float:
        """Estimate the error of the exponents that all states of a series share, as a standard deviation."""
        lam, floor, share = self.hyper[line.rows, :3].T
        alone = SeparateSolutions(self.parameters.rows(line.rows), lam, floor, share)
        z = self.impedance[line.rows]
        deviation = self.method.exponent_deviations(self.frequency, z, self.expansion, alone)
        known = np.isfinite(deviation)
        # Those of a Warburg element are known.
        return _OF_EXPONENT * float(np.median(deviation[known])) if known.any() else 0.0

    def _problem(
        self,
        line: OrderedSeries,
        position: Array,
        impedance: NDArray[np.complex128],
        breaks: NDArray[np.bool_],
        exponent: Array | None = None,
    ) -> tuple[SeriesProblem, SeriesHyperparameters]:
        prepared, exponents = self._prepared(line, exponent)
        lam, floor, share, strength, shift = self.hyper[line.rows[0]]
        louder = np.interp(position, line.position, self._louder(line.rows))
        problem = SeriesProblem(prepared, impedance, position, exponents=exponents, louder=louder)
        problem.cut(breaks)
        return problem, SeriesHyperparameters(problem.variance(floor, share), lam, strength, shift)

    def _louder(self, rows: NDArray[np.intp]) -> Array:
        """By how much the noise of some spectra is larger than that of the first of them."""
        noise = np.hypot(*self.hyper[rows, 1:3].T)
        # Both parts are larger by the same factor. Where the noise is given by frequency, it is the same in all.
        return np.asarray(noise / noise[0]) if np.isfinite(noise).all() else np.ones(rows.size)

    def _settle(self, number: int) -> tuple[SeriesProblem, SeriesHyperparameters]:
        line = self.lines[number]
        problem, found = self._problem(line, line.position, self.impedance[line.rows], self.breaks[line.rows])
        problem.settle(found, self.parameters.rows(line.rows), self._steps)
        return problem, found

    @_in_turn
    def _found_once(self, number: int, steps: Steps | None = None) -> LogPosterior:
        object.__setattr__(self, "_steps", steps)
        try:
            return self._kept(number)
        finally:
            object.__setattr__(self, "_steps", None)

    def _posterior(self, number: int) -> LogPosterior:
        line = self.lines[number]
        problem, found = self._settled(number)
        joint, sweeps = problem.posterior(found, self.parameters.rows(line.rows), self._steps), self.sweeps[number]
        joint = self._with_own_doubt(joint, line.rows, better=sweeps is None)
        if sweeps is not None:
            shares, sigma = sweeps.shares(self.breaks[line.rows]), self._deviations(number)
            sigma = np.where(np.isfinite(self.impedance[line.rows]), sigma, np.nan)
            columns = self.frequency, self.expansion.impedance(self.frequency)
            return allowing_for_course(joint, shares, sigma, columns)
        return joint if problem.exponents is None else replace(joint, exponent=np.stack(problem.exponents, axis=1))

    def _with_own_doubt(self, joint: LogPosterior, rows: NDArray[np.intp], *, better: bool) -> LogPosterior:
        """Let each state of a series be nearly as uncertain as alone, since the error of the prior is common to all.

        With `better`, what a spectrum says alone is known as well: where processes cross, its neighbours add doubt and
        no more. The largest γ that the data allow is that of each spectrum alone.
        """
        alone = self._alone(rows)
        share = np.full(rows.size, _COMMON)
        if better:
            share[self._doubt(alone.covariance, rows) < self._doubt(joint.covariance, rows)] = 1.0
        share[~np.isfinite(alone.covariance).all(axis=(1, 2))] = 0.0
        joint.uncut[:, 1] **= 2
        for name in ("covariance", "shift", "uncut"):
            whole, own = getattr(joint, name), getattr(alone, name)
            for k in np.flatnonzero(share):
                other = np.stack([own[k, 0], own[k, 1] ** 2]) if name == "uncut" else own[k]
                whole[k] += share[k] * (other - whole[k])
        np.sqrt(joint.uncut[:, 1], out=joint.uncut[:, 1])
        return replace(joint, allowed=alone.allowed)

    def _doubt(self, covariance: Array, rows: NDArray[np.intp]) -> Array:
        """Mean variance of ln γ of some spectra, weighted by γ, shape (K,)."""
        weight = self.parameters.coefficients[rows] * self.expansion.areas
        variance = np.diagonal(covariance, axis1=1, axis2=2)[:, : weight.shape[1]]
        return np.asarray((variance * weight).sum(axis=1) / weight.sum(axis=1))

    @_in_turn
    def change(self, one: int, other: int, level: float) -> Change:
        """Change from one spectrum to another of the same series.

        Parameters
        ----------
        one, other : int
            Row numbers.
        level : float
            Probability that an interval covers the change.
        """
        gamma, areas = self.parameters.coefficients[[one, other]], self.expansion.areas
        if one == other:
            still = np.zeros(areas.size)
            return Change(level, self.expansion.tau, still, still.copy(), still.copy(), 0.0, 0.0, 0.0)
        number, i = self._of[one]
        _, j = self._of[other]
        problem, found = self._settled(number)
        covariance = problem.pair(found, i, j)
        by = np.concatenate([-gamma[0], gamma[1]])
        own, cross = np.diag(covariance).reshape(2, -1), np.diag(covariance, areas.size)
        variance = (gamma**2 * own).sum(axis=0) - 2.0 * gamma[0] * gamma[1] * cross
        along = by * np.tile(areas, 2)
        of_r_pol = along @ covariance @ along
        alone, parts = self._alone(np.array([one, other])), gamma * areas
        apart = alone.covariance[:, : areas.size, : areas.size]
        own_of_r_pol = np.einsum("km,kmn,kn->k", parts, apart, parts)
        # A common error of γ and R_pol, as a share of them, falls out only as far as they are the same.
        known, r_pol = np.isfinite(own_of_r_pol), parts.sum(axis=1)
        times = _COMMON / max(known.sum(), 1)
        more, own_of_gamma = alone.unresolved**2, np.einsum("kmm->km", apart)
        variance += np.diff(gamma, axis=0)[0] ** 2 * (times * own_of_gamma[known].sum(axis=0) + more.max(axis=0))
        of_r_pol += times * np.diff(r_pol)[0] ** 2 * (own_of_r_pol / r_pol**2)[known].sum()
        # What each spectrum says alone is known as well.
        variance = np.fmin(variance, (gamma**2 * (own_of_gamma + more)).sum(axis=0))
        of_r_pol = np.fmin(of_r_pol, own_of_r_pol.sum())
        return change_between(level, alone, variance, float(of_r_pol), in_common=True)

    def _alone(self, rows: NDArray[np.intp]) -> LogPosterior:
        """How sure the solutions of some spectra of a series were if each were alone, with its own noise if larger."""
        number, places = self._of[int(rows[0])][0], [self._of[int(row)][1] for row in rows]
        more = self._settled(number)[0].noisier()[places]
        known, (lam, floor, share) = self.parameters.rows(rows), self.hyper[rows, :3].T
        method, _ = self.method.of_series(self.parameters.rows(self.lines[number].rows))
        elements = method.prepared(self.frequency, self.expansion).problem.series_elements
        wider, usable = np.sqrt(1.0 + more), np.isfinite(self.impedance[rows])
        names = ("covariance", "shift", "uncut")
        allowed = JoinedCeilings(rows.size, [])
        out: LogPosterior | None = None
        for here, points in tiles(usable, np.arange(rows.size), rows.size):
            noise = floor[here] * wider[here], share[here] * wider[here]
            z = self.impedance[np.ix_(rows[here], points)]
            # With an exponent that is not known, that is found for each.
            solutions = known.rows(here), lam[here]
            found = self.method.posterior(self.frequency[points], z, self.expansion, solutions, noise)
            found = found.with_elements(elements)
            if here.size == rows.size:
                return found
            if found.allowed is not None:
                allowed.parts.append((here, found.allowed))
            if out is None:
                whole: dict[str, Any] = {
                    name: np.full((rows.size, *getattr(found, name).shape[1:]), np.nan) for name in names
                }
                out = replace(found, parameters=known, allowed=allowed, **whole)
            for name in names:
                getattr(out, name)[here] = getattr(found, name)
        assert out is not None
        return out

    @_in_turn
    def predictions(self) -> Prediction:
        """Predict each spectrum from the others of its series, as if it had not been measured.

        κ, s, λ and the noise stay. Every fourth spectrum of a series is left out at once, and the solution found anew
        from where it is, so that a series takes four short descents, however long it is. A spectrum that differs from
        its neighbours has let go of them in the joint solution; here, that plays no part. Where one is not predicted,
        it is left out for good, and the others are predicted again.
        """
        rows, points = self.impedance.shape
        out = Prediction(np.full((rows, points), complex(np.nan, np.nan)), *np.full((2, rows), np.nan))
        for number, line in enumerate(self.lines):
            sigma = self._deviations(number)
            strange = np.zeros(line.rows.size, dtype=bool)
            for _ in range(2):
                self._predict(line, sigma, strange, out)
                before, strange = strange, self._strange(line, sigma, out)
                if (strange == before).all():
                    break
        return out

    def _predict(self, line: OrderedSeries, sigma: Array, strange: NDArray[np.bool_], out: Prediction) -> None:
        """Predict the spectra of a series without those that are not predicted, and return the error."""
        for first in range(min(_APART, line.rows.size)):
            left = np.zeros(line.rows.size, dtype=bool)
            left[first::_APART] = True
            if (~(left | strange)).sum() < 2:
                continue
            gamma = self._without(line, left | strange)
            for k in np.flatnonzero(left):
                self._compare(int(line.rows[k]), gamma[k], sigma[k], out)

    def _left(self, line: OrderedSeries, sigma: Array) -> float:
        """Mean square of what the solutions leave, in variances of the noise, 1 at most: it may be given too large."""
        fit = self.parameters.rows(line.rows).impedance(self.frequency, self.expansion.impedance(self.frequency))
        left = np.nanmean(np.abs((self.impedance[line.rows] - fit) / sigma) ** 2, axis=1)
        return min(0.5 * float(np.median(left)), 1.0)

    def _strange(self, line: OrderedSeries, sigma: Array, out: Prediction) -> NDArray[np.bool_]:
        """Score the spectra of a series; return which are not predicted, of neighbours the one that is worst."""
        error, number = out.error[line.rows], line.rows.size
        # A state has as much freedom as the differences that it is in leave it: more at the ends.
        state, coefficient = differences(line.position)
        here = state >= 0
        free = 1.0 / np.sqrt(np.bincount(state[here], coefficient[here] ** 2, number))
        changed = np.sqrt(np.maximum(error**2 - self._left(line, sigma), 0.0)) / free
        usual = np.array([np.nanmedian(changed[max(k - _AROUND, 0) : k + _AROUND + 1]) for k in range(number)])
        freedom = np.maximum(2.0 * np.isfinite(self.impedance[line.rows]).sum(axis=1) - 3.0, 1.0)
        noise = np.sqrt(chdtri(freedom, _BY_NOISE) / freedom)
        score = error / np.hypot(noise, _BY_CHANGES * free * usual)
        out.score[line.rows] = score
        highest = np.array([score[k] >= np.nanmax(score[max(k - 2, 0) : k + 3]) for k in range(number)])
        return np.asarray((score > 1.0) & highest)

    def _deviations(self, number: int) -> Array:
        """Return standard deviations of the noise of a series, ohm, shape (K, F)."""
        rows = self.lines[number].rows
        floor, share = self.hyper[rows, 1:3].T
        fit = self.parameters.rows(rows).impedance(self.frequency, self.expansion.impedance(self.frequency))
        return self.method.deviations(self.frequency, fit, (floor, share))

    def _without(self, line: OrderedSeries, left: NDArray[np.bool_]) -> Array:
        """γ of the states of a series without the data of some, shape (K, M)."""
        z = self.impedance[line.rows].copy()
        z[left] = np.nan
        known = self.parameters.rows(line.rows)
        u, at = np.log(known.coefficients), line.position
        u[left] = np.stack([np.interp(at[left], at[~left], column) for column in u[~left].T], axis=1)
        problem, found = self._problem(line, line.position, z, self.breaks[line.rows])
        return problem.refine(found, replace(known, coefficients=np.exp(u)), _CLOSE)

    def _compare(self, row: int, gamma: Array, sigma: Array, out: Prediction) -> None:
        """Compare a spectrum with what γ predicts; R_inf, L and 1/C are its own, for the others do not know them."""
        omega, unit = 2.0 * np.pi * self.frequency, self.expansion.impedance(self.frequency)
        own = self.parameters.rows(np.array([row]))
        beside = own.impedance(self.frequency, unit)[0] - unit @ own.coefficients[0]
        free = [np.ones_like(omega) + 0j]
        free += [1j * omega] if self.method.inductance else []
        free += [1.0 / (1j * omega)] if own.elastance[0] > 0.0 else []
        free += [tail_column(omega, float(own.tail_exponent[0]), np.inf)] if own.tail[0] > 0.0 else []
        here = np.isfinite(self.impedance[row])

        def weighted(values: NDArray[Any]) -> Array:
            scaled = values[here] / sigma[here]
            return np.concatenate([scaled.real, scaled.imag])

        off = weighted(self.impedance[row] - beside - unit @ gamma)
        held = np.stack([weighted(column) for column in free], axis=1)
        size = np.linalg.norm(held, axis=0)
        fitted = np.linalg.lstsq(held / size, off, rcond=None)[0] / size
        out.impedance[row] = beside + unit @ gamma + np.stack(free, axis=1) @ fitted
        out.error[row] = np.linalg.norm(off - held @ fitted) / np.sqrt(off.size - fitted.size)

    @_in_turn
    def at(self, value: float, tau: ArrayLike, level: float | None) -> tuple[Array, Array, Array]:
        """γ of each series at a state that was not measured.

        Parameters
        ----------
        value : float
            Of the state along which the series run.
        tau : array_like, shape (T,)
            Relaxation times, s.
        level : float, optional
            Probability of the interval; without one, it is NaN.

        Returns
        -------
        gamma, low, high : ndarray, shape (S, T)
            Ohm, one row a series; NaN for a series that does not reach that far.
        """
        out = np.full((3, self.series.max(initial=-1) + 1, np.size(tau)), np.nan)
        for number, line in zip(self.series, self.lines, strict=True):
            if line.value[0] <= value <= line.value[-1]:
                self._between(line, value, tau, level, out[:, number])
        return out[0], out[1], out[2]

    def _between(self, line: OrderedSeries, value: float, tau: ArrayLike, level: float | None, out: Array) -> None:
        at = int(np.searchsorted(line.value, value))
        known = self.parameters.rows(line.rows)
        if at < line.value.size and line.value[at] == value:
            out[0] = self.expansion.curve(known.coefficients[[at]], np.asarray(tau, dtype=float))[0]
            if level is not None:
                low, high = self.posterior(self._of[int(line.rows[at])][0]).gamma_interval(level, tau)
                out[1], out[2] = low[at], high[at]
            return
        share = (value - line.value[at - 1]) / (line.value[at] - line.value[at - 1])
        position = np.insert(line.position, at, np.interp(value, line.value, line.position))
        z = np.insert(self.impedance[line.rows], at, np.nan, axis=0)
        # Within a break the state belongs to what is before.
        parameters = _inserted(known, at, share)
        breaks = np.insert(self.breaks[line.rows], at, False)
        problem, found = self._problem(line, position, z, breaks, parameters.tail_exponent)
        held = self.held[line.rows].any()
        coefficients = parameters.coefficients if held else problem.refine(found, parameters)
        out[0] = self.expansion.curve(coefficients[[at]], np.asarray(tau, dtype=float))[0]
        if level is not None:
            parameters = replace(parameters, coefficients=coefficients)
            number = self._of[int(line.rows[0])][0]
            # Data decide on common factors of γ where there are some. Here, they are expected to go on as they do.
            problem.expect(self._settled(number)[0].bent_by())
            problem.settle(found, parameters)
            own = np.log([each[at] for each in problem.posterior(found, parameters).gamma_interval(level, tau)])
            measured = self.posterior(number)
            beside = np.log([each[at - 1 : at + 1] for each in measured.gamma_interval(level, tau)])
            beside -= np.log(self.expansion.curve(known.coefficients[at - 1 : at + 1], np.asarray(tau, dtype=float)))
            # It is known no better than the states beside it.
            low, high = np.log(out[0]) + beside[:, 0] + share * (beside[:, 1] - beside[:, 0])
            out[1:] = np.exp([np.minimum(own[0], low), np.maximum(own[1], high)])


def change_between(
    level: float, posterior: LogPosterior, variance: Array, of_r_pol: float, *, in_common: bool
) -> Change:
    """Make a change of γ and R_pol from one spectrum to another.

    Parameters
    ----------
    level : float
        Probability that its intervals cover it.
    posterior : LogPosterior
        Of the two spectra, one after the other.
    variance : ndarray, shape (M,)
        That of the change of γ, ohm².
    of_r_pol : float
        That of the change of R_pol within the relaxation times, ohm².
    in_common : bool
        Whether what they have in common falls out.
    """
    expansion, gamma = posterior.expansion, posterior.parameters.coefficients
    step = gamma[1] - gamma[0]
    half = quantile(level) * np.sqrt(np.maximum(variance, 0.0))
    r_pol, wide = float(step @ expansion.areas), quantile(level) * float(np.sqrt(max(of_r_pol, 0.0)))
    less, more = _outside(posterior, level, in_common=in_common)
    return Change(
        *(level, expansion.tau, step, step - half, step + half),
        *(r_pol, r_pol - float(np.hypot(wide, less)), r_pol + float(np.hypot(wide, more))),
    )


def _outside(posterior: LogPosterior, level: float, *, in_common: bool) -> tuple[float, float]:
    """By how much a change of R_pol may be smaller or larger for what γ is beyond the window of the data, ohm.

    Where γ falls at the end of the window, it is expected to go on alike in states that have much in common: in
    proportion to where it ends. Where it still rises, a process lies beyond whose resistance the data do not show, and
    both may be anything: if diffusion takes a longer way, its resistance grows and what is seen of it stays the same.
    """
    less, more = posterior.outside(level)
    gamma, end = posterior.parameters.coefficients, posterior.window_end
    if not in_common or (end is not None and still_rises(posterior.expansion, gamma, end).any()):
        return float(np.hypot(less[1], more[0])), float(np.hypot(more[1], less[0]))
    # How far γ is known at its end, by the one that has more of it: that goes with the noise of each.
    last = np.abs(gamma[:, -1])
    most = int(last[1] >= last[0])
    share = 1.0 - last[1 - most] / last[most]
    parts = share * float(less[most]), share * float(more[most])
    return parts if most else parts[::-1]


def _inserted(known: Parameters, at: int, share: float) -> Parameters:
    """Put a state between two, as far along ln γ and the elements as it is along the series."""

    def put(values: Array, *, log: bool = False) -> Array:
        with np.errstate(divide="ignore"):
            ends = np.log(values[at - 1 : at + 1]) if log else values[at - 1 : at + 1]
        middle = (1.0 - share) * ends[0] + share * ends[1]
        return np.insert(values, at, np.exp(middle) if log else middle, axis=0)

    return Parameters(
        *(put(known.coefficients, log=True), put(known.r_inf), put(known.inductance), put(known.elastance)),
        *(put(known.tail), put(known.tail_exponent)),
    )
