"""Series of a result: posteriors of their spectra, changes between these, and γ at states that were not measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.methods import LogGaussian
from drt_engine.methods.base import louder
from drt_engine.methods.joint.changes import Change, change_between
from drt_engine.methods.joint.predictions import Prediction, predict
from drt_engine.methods.joint.problem import RELATED, SeriesProblem
from drt_engine.methods.joint.solutions import SeparateSolutions, SeriesHyperparameters
from drt_engine.methods.joint.uncertainty import SeriesUncertainty
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian
from drt_engine.methods.placing import Sweeps, allowing_for_course
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters
from drt_engine.series import OrderedSeries
from drt_engine.steps import Steps
from drt_engine.uncertainty.ceilings import JoinedCeilings
from drt_engine.uncertainty.intervals import tiles
from drt_engine.uncertainty.posterior import LogPosterior

__all__ = ["JointSeries", "slower_in_common"]

Array = NDArray[np.float64]
P = ParamSpec("P")
T = TypeVar("T")

_KEPT = 4
"""Series whose covariances are kept at once: those of 24 spectra take 6 MB."""

_EXPONENT_SHARE = 0.5
"""Share of the doubt about the exponent of a tail alone that all states of a series have in common: how it goes along
with the slowest relaxation times is the same in all, so that it does not become less with their number."""

_COMMON = 0.7
"""Share of its variance alone that each state of a series keeps, beside what remains of the joint variance: where the
prior is wrong, it is wrong in all states alike, and that does not become less with their number. With 0.5, 95 %
intervals of R_pol cover 78 % in 120 states of log-normal processes, with 0.7 94 %."""

_AROUND = 12
"""States on either side of one, over which it is averaged by how much a series departs from its spectra alone: in the
mean of 25, the noise of these is a fifth."""

_OF_STATES = ("covariance", "shift", "uncut", "pull", "strain", "slower")
"""What a posterior has for each state."""

_CLEAR = 2.0
"""Score of a process slower than the window from which on a single state counts for itself, in standard deviations."""


def _one_at_a_time(work: "Callable[Concatenate[JointSeries, P], T]") -> "Callable[Concatenate[JointSeries, P], T]":
    """Let one thread at a time call a method: the problem of a series is kept, and changed in place."""

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
    coupled_across : ndarray of bool, shape (K,)
        Whether a solution is coupled to other series as well: it then stays as it is where a state is put beside it.
    sweeps : list of Sweeps or None
        When the points of each series were measured, if what the change of the cell adds to them was subtracted.
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
    coupled_across: NDArray[np.bool_]
    sweeps: list[Sweeps | None]
    _places: dict[int, tuple[int, int]] = field(init=False)
    posterior: Callable[..., LogPosterior] = field(init=False)
    _steps: Steps | None = field(init=False, default=None)
    _kept: Callable[[int], LogPosterior] = field(init=False)
    _working: RLock = field(init=False)
    _uncertainty: Callable[[int], SeriesUncertainty] = field(init=False)

    def __post_init__(self) -> None:
        """Note where each spectrum is, and keep the posteriors that were worked on last."""
        where = {int(row): (n, k) for n, line in enumerate(self.lines) for k, row in enumerate(line.rows)}
        object.__setattr__(self, "_places", where)
        object.__setattr__(self, "_working", RLock())
        object.__setattr__(self, "_kept", lru_cache(_KEPT)(self._posterior))
        object.__setattr__(self, "posterior", self._kept_posterior)
        object.__setattr__(self, "_uncertainty", lru_cache(1)(self._uncertainty_of))

    def line_of(self, row: int) -> int | None:
        """Which series a spectrum belongs to."""
        found = self._places.get(row)
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
        return prepared, (found, np.full(found.size, self._exponent_deviation(line)))

    def _exponent_deviation(self, line: OrderedSeries) -> float:
        """Estimate the error of the exponents that all states of a series share, as a standard deviation."""
        lam, floor, share = self.hyper[line.rows, :3].T
        alone = SeparateSolutions(self.parameters.rows(line.rows), lam, floor, share)
        z = self.impedance[line.rows]
        deviation = self.method.exponent_deviations(self.frequency, z, self.expansion, alone)
        known = np.isfinite(deviation)
        # Those of a Warburg element are known.
        return _EXPONENT_SHARE * float(np.median(deviation[known])) if known.any() else 0.0

    def problem_of(
        self,
        line: OrderedSeries,
        position: Array,
        impedance: NDArray[np.complex128],
        breaks: NDArray[np.bool_],
        exponent: Array | None = None,
    ) -> tuple[SeriesProblem, SeriesHyperparameters]:
        """Make the joint problem of a series, or of one with other states, with the hyperparameters that were found.

        Parameters
        ----------
        line : OrderedSeries
            The series.
        position : ndarray, shape (V,)
            Where the states stand along it.
        impedance : ndarray of complex, shape (V, F)
            Their spectra, ohm; NaN where there is none.
        breaks : ndarray of bool, shape (V,)
            Before which states it breaks.
        exponent : ndarray, shape (V,), optional
            n of their tails, where these are not those that were found for the series.
        """
        prepared, exponents = self._prepared(line, exponent)
        lam, floor, share, strength, shift = self.hyper[line.rows[0]]
        ratio = np.interp(position, line.position, self._noise_ratio(line.rows))
        problem = SeriesProblem(prepared, impedance, position, exponents=exponents, noise_ratio=ratio)
        problem.set_breaks(breaks)
        if isinstance(self.method.noise, str):
            problem.variance_parts *= self._louder(prepared, line)[:, None] ** 2
        return problem, SeriesHyperparameters(problem.noise_variance(floor, share), lam, strength, shift)

    def _louder(self, prepared: PreparedLogGaussian, line: OrderedSeries) -> Array:
        """By which factor the noise of a series is larger at low frequencies, shape (1, F)."""
        discretisation, z = prepared.problem.discretisation, self.impedance[line.rows]
        known = self.parameters.rows(line.rows)
        rest = z - known.impedance(discretisation.frequency, discretisation.impedance)
        floor, share = self.hyper[line.rows, 1:3].T[:, :, None]
        return louder(rest, np.hypot(floor, share * np.abs(z)), discretisation.frequency, alike=True)[:1]

    def _noise_ratio(self, rows: NDArray[np.intp]) -> Array:
        """By how much the noise of some spectra is larger than that of the first of them."""
        noise = np.hypot(*self.hyper[rows, 1:3].T)
        # Both parts are larger by the same factor. Where the noise is given by frequency, it is the same in all.
        return np.asarray(noise / noise[0]) if np.isfinite(noise).all() else np.ones(rows.size)

    def _uncertainty_of(self, number: int) -> SeriesUncertainty:
        line = self.lines[number]
        problem, found = self.problem_of(line, line.position, self.impedance[line.rows], self.breaks[line.rows])
        return SeriesUncertainty(problem, found, self.parameters.rows(line.rows), self._steps)

    @_one_at_a_time
    def _kept_posterior(self, number: int, steps: Steps | None = None) -> LogPosterior:
        object.__setattr__(self, "_steps", steps)
        try:
            return self._kept(number)
        finally:
            object.__setattr__(self, "_steps", None)

    def _posterior(self, number: int) -> LogPosterior:
        line = self.lines[number]
        uncertainty = self._uncertainty(number)
        joint, sweeps = uncertainty.posterior(self._steps), self.sweeps[number]
        joint = self._with_separate_posterior(joint, line.rows, better=sweeps is None)
        if sweeps is not None:
            shares, sigma = sweeps.shares(self.breaks[line.rows]), self.deviations(number)
            sigma = np.where(np.isfinite(self.impedance[line.rows]), sigma, np.nan)
            columns = self.frequency, self.expansion.impedance(self.frequency)
            return allowing_for_course(joint, shares, sigma, columns)
        exponents = uncertainty.problem.exponents
        return joint if exponents is None else replace(joint, exponent=np.stack(exponents, axis=1))

    def _with_separate_posterior(self, joint: LogPosterior, rows: NDArray[np.intp], *, better: bool) -> LogPosterior:
        """Let each state of a series be nearly as uncertain as alone, since the error of the prior is common to all.

        With `better`, what a spectrum says alone is known as well: where processes cross, its neighbours add doubt and
        no more; and how far the prior holds γ is seen by it. States that have nothing in common are as uncertain as
        alone. The largest γ that the data allow is that of each spectrum alone.
        """
        alone = self.separate_posterior(rows)
        share = np.full(rows.size, _COMMON)
        related = bool(self.hyper[rows[0], 3] >= RELATED)
        if better:
            less = self._mean_variance(alone.covariance, rows) < self._mean_variance(joint.covariance, rows)
            share[less | (not related)] = 1.0
        known = np.isfinite(alone.covariance).all(axis=(1, 2))
        share[~known] = 0.0
        last = self.expansion.tau.size - 1
        end = joint.covariance[:, last, last].copy()
        joint.uncut[:, 1] **= 2
        for name in ("covariance", "shift", "uncut"):
            whole, own = getattr(joint, name), getattr(alone, name)
            for k in np.flatnonzero(share):
                other = np.stack([own[k, 0], own[k, 1] ** 2]) if name == "uncut" else own[k]
                # So written, a share of one gives the other to the bit.
                whole[k] = (1.0 - share[k]) * whole[k] + share[k] * other
        np.sqrt(joint.uncut[:, 1], out=joint.uncut[:, 1])
        found = replace(joint, allowed=alone.allowed)
        if not better or alone.pull is None or alone.strain is None:
            return found
        # With a tail, how well R_pol is known goes with its exponent.
        said = known & (self.parameters.tail[rows] == 0.0)
        found = replace(
            found,
            pull=np.where(said[:, None, None], alone.pull, 0.0),
            strain=np.where(said, alone.strain, 0.0),
            slower=None if alone.slower is None else np.where(said[:, None], alone.slower, 0.0),
        )
        if not related:
            return found
        slower = None if found.slower is None else slower_in_common(found.slower)
        mixed = found.covariance[:, last, last]
        end = np.sqrt(np.where(said, np.minimum(end, mixed), mixed))
        departure = np.where(said[:, None, None], self._departure(rows), 0.0)
        return replace(found, slower=slower, together=True, end=end, departure=departure)

    def _departure(self, rows: NDArray[np.intp]) -> Array:
        """By how much states of a series are above each spectrum alone, shape (K, 2, M): in ln γ, and in γ as a share.

        In the mean over the states around each, since the noise of one spectrum is in its own solution.
        """
        of_series = self.lines[self._places[int(rows[0])][0]].rows
        method, _ = self.method.of_series(self.parameters.rows(of_series))
        z, gamma = self.impedance[rows], self.parameters.coefficients[rows]
        alone = np.full_like(gamma, np.nan)
        for here, points in tiles(np.isfinite(z), np.arange(rows.size), rows.size):
            found = method.solve(self.frequency[points], z[np.ix_(here, points)], self.expansion)
            alone[here] = found.parameters.coefficients
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.log(gamma / alone)
        known = np.isfinite(apart)
        apart = np.where(known, apart, 0.0)
        sums = np.cumsum(np.pad([apart, -np.expm1(-apart), known], ((0, 0), (1, 0), (0, 0))), axis=1)
        state = np.arange(rows.size)
        first, last = np.maximum(state - _AROUND, 0), np.minimum(state + _AROUND + 1, rows.size)
        *total, number = sums[:, last] - sums[:, first]
        return np.stack(total / np.maximum(number, 1.0), axis=1)

    def _mean_variance(self, covariance: Array, rows: NDArray[np.intp]) -> Array:
        """Mean variance of ln γ of some spectra, weighted by γ, shape (K,)."""
        weight = self.parameters.coefficients[rows] * self.expansion.areas
        variance = np.diagonal(covariance, axis1=1, axis2=2)[:, : weight.shape[1]]
        return np.asarray((variance * weight).sum(axis=1) / weight.sum(axis=1))

    @_one_at_a_time
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
        number, i = self._places[one]
        _, j = self._places[other]
        covariance = self._uncertainty(number).pair_covariance(i, j)
        by = np.concatenate([-gamma[0], gamma[1]])
        own, cross = np.diag(covariance).reshape(2, -1), np.diag(covariance, areas.size)
        variance = (gamma**2 * own).sum(axis=0) - 2.0 * gamma[0] * gamma[1] * cross
        along = by * np.tile(areas, 2)
        of_r_pol = along @ covariance @ along
        alone, parts = self.separate_posterior(np.array([one, other])), gamma * areas
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

    def separate_posterior(self, rows: NDArray[np.intp]) -> LogPosterior:
        """Find the posterior of spectra of a series if each is inverted by itself, with its own noise if larger."""
        number, places = self._places[int(rows[0])][0], [self._places[int(row)][1] for row in rows]
        more = self._uncertainty(number).excess_noise()[places]
        known, (lam, floor, share) = self.parameters.rows(rows), self.hyper[rows, :3].T
        method, _ = self.method.of_series(self.parameters.rows(self.lines[number].rows))
        elements = method.prepared(self.frequency, self.expansion).problem.series_elements
        wider, usable = np.sqrt(1.0 + more), np.isfinite(self.impedance[rows])
        names: list[str] = []
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
                names = [name for name in _OF_STATES if getattr(found, name) is not None]
                whole: dict[str, Any] = {
                    name: np.full((rows.size, *getattr(found, name).shape[1:]), np.nan) for name in names
                }
                out = replace(found, parameters=known, allowed=allowed, hidden=None, **whole)
            for name in names:
                getattr(out, name)[here] = getattr(found, name)
        assert out is not None
        return out

    @_one_at_a_time
    def predictions(self) -> Prediction:
        """Predict each spectrum from the others of its series; see :func:`predict`."""
        return predict(self)

    def deviations(self, number: int) -> Array:
        """Return standard deviations of the noise of a series, by its number, ohm, shape (K, F)."""
        rows = self.lines[number].rows
        floor, share = self.hyper[rows, 1:3].T
        fit = self.parameters.rows(rows).impedance(self.frequency, self.expansion.impedance(self.frequency))
        return self.method.deviations(self.frequency, fit, (floor, share))

    @_one_at_a_time
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
                self._at_one_state(line, value, tau, level, out[:, number])
        return out[0], out[1], out[2]

    def beside(self, value: float) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Yield the number of each series that reaches a state, and the rows that are there or on either side of it."""
        for number, line in zip(self.series, self.lines, strict=True):
            if line.value[0] <= value <= line.value[-1]:
                first, last = sorted((line.value.searchsorted(value, side="right") - 1, line.value.searchsorted(value)))
                yield int(number), line.rows[first : last + 1]

    def _at_one_state(self, line: OrderedSeries, value: float, tau: ArrayLike, level: float | None, out: Array) -> None:
        at = int(np.searchsorted(line.value, value))
        known = self.parameters.rows(line.rows)
        if at < line.value.size and line.value[at] == value:
            out[0] = self.expansion.curve(known.coefficients[[at]], np.asarray(tau, dtype=float))[0]
            if level is not None:
                low, high = self.posterior(self._places[int(line.rows[at])][0]).gamma_interval(level, tau)
                out[1], out[2] = low[at], high[at]
            return
        share = (value - line.value[at - 1]) / (line.value[at] - line.value[at - 1])
        position = np.insert(line.position, at, np.interp(value, line.value, line.position))
        z = np.insert(self.impedance[line.rows], at, np.nan, axis=0)
        # Within a break the state belongs to what is before.
        parameters = _inserted(known, at, share)
        breaks = np.insert(self.breaks[line.rows], at, False)
        problem, found = self.problem_of(line, position, z, breaks, parameters.tail_exponent)
        fixed = self.coupled_across[line.rows].any()
        coefficients = parameters.coefficients if fixed else problem.refine(found, parameters)
        out[0] = self.expansion.curve(coefficients[[at]], np.asarray(tau, dtype=float))[0]
        if level is not None:
            parameters = replace(parameters, coefficients=coefficients)
            number = self._places[int(line.rows[0])][0]
            # Data decide on common factors of γ where there are some. Here, they are expected to go on as they do.
            problem.expect_differences(self._uncertainty(number).problem.mean_square_difference())
            posterior = SeriesUncertainty(problem, found, parameters).posterior()
            own = np.log([each[at] for each in posterior.gamma_interval(level, tau)])
            measured = self.posterior(number)
            beside = np.log([each[at - 1 : at + 1] for each in measured.gamma_interval(level, tau)])
            beside -= np.log(self.expansion.curve(known.coefficients[at - 1 : at + 1], np.asarray(tau, dtype=float)))
            # It is known no better than the states beside it.
            low, high = np.log(out[0]) + beside[:, 0] + share * (beside[:, 1] - beside[:, 0])
            out[1:] = np.exp([np.minimum(own[0], low), np.maximum(own[1], high)])


def slower_in_common(slower: Array) -> Array:
    """Let scores of a process slower than the window be what is usual in a series, where they are not clear.

    Alone, chance gives a quarter of spectra without such a process a score that makes R_pol less certain, and one that
    is there is seen in some of the spectra only.

    Parameters
    ----------
    slower : ndarray, shape (K, 2)
        Score and standard deviation of each state, as :class:`LogPosterior` has them.
    """
    score, deviation = slower.T
    said = deviation > 0.0
    usual = np.median(score[said]) if said.any() else 0.0
    return np.stack([np.where(said & (score < _CLEAR), usual, score), deviation], axis=1)


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
