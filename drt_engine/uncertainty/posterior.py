"""How sure solutions are: a normal distribution of ln γ and of R_inf, L and 1/C around them."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters, row_by_row
from drt_engine.uncertainty.base import areas_between, quantile
from drt_engine.uncertainty.ceilings import Ceilings, JoinedCeilings
from drt_engine.uncertainty.cut_off import most_probable

__all__ = ["FLANK", "TAIL_SLOPE", "LogPosterior", "share_until", "still_rises"]

Array = NDArray[np.float64]

_BETWEEN = 0.25
"""Standard deviation of ln γ between relaxation times, as a share of the largest change of its slope beside them times
their spacing; the error of a straight line is at most an eighth of that."""

_STEEP, _STEEP_SLOPE, _STEEP_REACH = 0.2, 1.0, 0.45
"""Standard deviation of ln γ for each unit by which its slope exceeds the first one that tails of processes have, and
how far in ln τ that reaches, falling as an exponential function: γ with edges has such slopes, and where an edge is, is
only known as well as the kernel lets see it."""

_FARTHER, _DETERMINED = 1.5, 0.5
"""How much farther than by one step the data may lead γ, by how often bands cover it; and the standard deviation of
ln γ up to which bands may be less wide than the covariance says."""

_EASY, _STRAINED, _STRAIN, _MOST_STRAINED, _OF_OTHERS = 0.5, 12.0, 0.057, 2.5, 0.8
"""Factor of the width of bands where prior and data agree; its square grows by the second for each unit of strain above
the third, and it is the fourth at most; the last is that of kernels but relaxation, whose prior is another. By how
often bands cover γ: with one factor for all, those of ZARC elements cover 0.99 to 1.00 of it, and those of boxes, steps
and processes that the data hardly tell apart 0.70 to 0.89."""

_EASY_TOGETHER, _SURE_TOGETHER, _STRAINED_TOGETHER = 0.15, 0.4, 2.0
"""The same of series: factors without strain, of bands of γ and of what is known of R_pol within the window, and growth
of their squares from there on. Strain counts at the solution of all, where other states hold γ as well as the prior.
With a factor of one, intervals of γ and of R_pol cover 0.99 and 1.00 over the series of the benchmark, with these 0.98
and 0.99; with 0.35 for R_pol it is covered in 0.86 instead of 0.91 of the lowest of 40 series drawn at random."""

_MERGED = 0.1
"""Standard deviation of ln γ in series where γ is level: peaks nearer than the kernel resolves look like a level γ to
all states alike, and on a flank they do not. It falls with the square of the slope of ln γ. With it and the factors
above, bands that are 0.03 narrower in the series of the benchmark than with a factor of 0.3 alone cover as much there,
and γ in 0.94 instead of 0.93 of 40 series drawn at random, of the lowest of these 0.80 instead of 0.74."""

_DEPARTED, _DEPARTED_SUM, _DEPARTED_REACH = 0.5, 0.3, 0.6
"""Standard deviations of what the prior still does to γ and to R_pol of all states of a series alike, as shares of by
how much the series departs from its spectra alone in the mean, and width in ln τ over which that is averaged. Priors
count by half in series, so that what is left is of the size of what has gone. Without it, intervals of R_pol cover 0.83
to 0.88 of 24 states of log-normal processes with a noise of 3 %, and bands of triangles and boxes 0.90 to 0.94."""

_ALLOWED = 1.25
"""How many times as large as the data allow, by an estimate, the upper end of a band may be."""

_UNRESOLVED = 1.0
"""Standard deviation of ln γ between relaxation times above which that end does not count for series: a peak that is
narrower than they are apart is higher than the one that the data allow, which is as wide as they are apart. With it,
bands of nearly ideal elements cover 0.83, and miss their tops."""

_UNSEEN = 2.5
"""Logarithm of an upper end over what was found, from which on the data hardly see that."""

_MORE = 1.0 + 1e-9
"""How many times the upper end has to be allowed for a limit to make no difference, rounding errors included."""

TAIL_SLOPE = 0.8
"""Slope of ln γ against ln τ that is expected outside the window of the data: upward before it, downward after it."""

_RISE, _LEAST_END = 2.0, 1e-3
"""By which factor γ rises in the last decade of the window, and its value at the end as a share of R_pol, from which a
process beyond the window is seen: how large it is, the data do not say."""

_BEGINS = 0.015
"""The same share below which so little of that process is seen that its tail may be any that the prior admits."""

_SLOWER, _SPEAKS, _SURELY, _CLEAR = 100.0**0.8, 0.4, 1.0, 2.0
"""Resistance of a process 100 times slower than the window, in units of the modulus of its flank (jω)^−0.8 at the
lowest frequency; scores, in standard deviations, from which on some and all of what the data allow of it counts, and
above which γ itself shows it. With 0 and 1, half of all spectra without such a process have farther ends, with 0.4 and
1 a quarter; from 0.5 on, few more of those with one are missed."""

_WIDEST = 40.0
"""Largest distance of the end of an interval from the solution, in its logarithm: beyond, nothing is known."""

_WIDER = 2.0
"""By how much resistances are less known than their covariance says where γ has both signs: where the sign changes is
not known exactly. Without it 95 % intervals of R_pol cover 56 to 80 % on a loop of an RL element at the edge of the
window. Of admittances the same: without it R_pol and R_inf of 285 passive films are covered 0.79 and 0.92."""

_GOES_ON, _FLATTEST = 0.5, 0.1
"""Standard deviation of the resistance that a flank has beyond the window, as a share of what it has more if it goes on
with the slope that γ has there than with the one that is expected; and the least slope. Arcs with an exponent of 0.3
to 0.5, 1 to 6 % of whose resistance is beyond the window, had a covered R_pol in 0.63 at 0.1 % noise without it."""

_AS_SERIES = 0.6
"""Standard deviation of the resistance of a γ that rises again towards its fast end, as a share of it, upward of R_inf
and downward of R_pol: a capacitance in parallel with the whole cell makes such a process of R_inf. Without it,
intervals of R_inf of 10 ohm with 1 to 10 nF beside the cell, up to 1e5 Hz, cover 0.0 to 0.3."""

_SOONER = 0.14
"""Standard deviation of the resistance beyond the window of the data, as a share of it, downward: γ may end sooner
there than the prior expects, as it does for an RC element, of which the data show one flank."""

_NARROW, _NARROW_SERIES = 0.0125, 0.007
"""Standard deviations of R_pol, downward, and of R_inf, upward, as shares of the resistance of peaks that is within two
neighbouring relaxation times, for each squared unit of their distance in ln τ: where a peak is narrower, γ gives it a
width, and what that does to the fit is made up for by tails. No noise of the data tells of that."""

FLANK = 1.0 / np.sqrt(3.0)
"""Standard deviation of what is hidden of the flank of a positive peak below a negative one, as a share of it: anything
from none of it to all of it is alike probable. Without it intervals of the resistance of loops that overlap with an arc
cover 0.1 to 0.9 where they should cover 0.95."""

_FLANK_ROUNDS, _TURN = 8, 2.0 * np.pi
"""Of finding how much of a flank is hidden; and the factor of a height over a resistance in what they go by."""

_CANCEL = float(np.log(10.0))
"""Distance in ln τ of a change of the sign of γ up to which parts of both signs may cancel each other unseen."""

_BLUR, _WIDEST_BLUR = 0.5, 0.125
"""Standard deviation of the place of a boundary, as a share of the distance of relaxation times and at most of the
distance of both boundaries: on which side of it γ is, is known no better than the grid resolves it. Without it
intervals of the resistance between two valleys cover 0.93 on scenarios where those of γ cover 0.97."""

_LEAST_REST = 0.1
"""Share of a standard deviation that is left of it at least without the doubt about λ."""


@dataclass(frozen=True, eq=False)
class LogPosterior:
    r"""Laplace's approximation of the posterior of K solutions whose γ is piecewise linear.

    Attributes
    ----------
    expansion : Expansion
        Basis functions of γ.
    parameters : Parameters
        The solutions, its median.
    series_elements : tuple of str
        Which of R_inf, L and 1/C are unknowns.
    covariance : ndarray, shape (K, N, N)
        Of ln γ at the M relaxation times, then of the series elements in ohm, H and 1/F; NaN where it is not known.
    noise : ndarray, shape (K, 2)
        a, ohm, and b of the standard deviation √(a² + b²|Z|²) of the real and of the imaginary part; NaN where it is
        given by frequency.
    shift : ndarray, shape (K, N)
        Mean of ln γ less that of the result, then means of the series elements in ohm, H and 1/F. Where a series
        element is at or near zero, its mean is above the solution, and γ makes room for it.
    uncut : ndarray, shape (K, 2, N - M)
        Mean and standard deviation that the normal distribution of a series element has before it is cut off at zero.
    window_end : float, optional
        Longest relaxation time that the data show, s, if the last one is beyond it, so that γ may go on after it.
    window_begin : float, optional
        Shortest relaxation time that the data show, s, if the first one is before it.
    allowed : Ceilings, optional
        What finds the largest |γ| that the data allow.
    reciprocal : bool
        Whether it is of admittances, whose 1/R_inf stands in place of R_inf and C in place of L.
    exponent : ndarray, shape (K, 2), optional
        n of the tails of spectra of a series, and standard deviations.
    pull : ndarray, shape (K, 2, N), optional
        How far the data would move the mean, in the units of `shift`, if the prior did not hold it; and the part of the
        standard deviations that the doubt about λ has, which is a doubt about the same, with the signs of one mode.
    hidden : ndarray, shape (K, 3, P), optional
        Of loops that were not found but may be there: the most probable resistance of each, its standard deviation,
        both in ohm, and what R_pol changes by for each ohm of it. Zeros where no loop may be.
    slower : ndarray, shape (K, 2), optional
        Score of the flank of a process slower than the window, and standard deviation of its modulus at the lowest
        frequency, ohm, as :func:`drt_engine.methods.base.slow_flank` finds them.
    strain : ndarray, shape (K,), optional
        Squared standard deviations by which the data would move γ if the prior did not hold it, for each frequency.
    together : bool
        Whether the solutions are those of a series; `pull`, `slower` and `strain` are what each spectrum says of them.
    end : ndarray, shape (K,), optional
        Standard deviation of ln γ at the last relaxation time by which a γ that falls there goes on beyond it, where
        that is less than by `covariance`.
    departure : ndarray, shape (K, 2, M), optional
        By how much ln γ of a series is above that of its spectra alone, and γ as a share of it, in the mean over the
        states around each.
    """

    expansion: Expansion
    parameters: Parameters
    series_elements: tuple[str, ...]
    covariance: Array
    noise: Array
    shift: Array
    uncut: Array
    window_end: float | None = None
    window_begin: float | None = None
    allowed: Ceilings | JoinedCeilings | None = None
    reciprocal: bool = False
    exponent: Array | None = None
    pull: Array | None = None
    hidden: Array | None = None
    slower: Array | None = None
    strain: Array | None = None
    together: bool = False
    end: Array | None = None
    departure: Array | None = None

    def with_elements(self, names: tuple[str, ...]) -> "LogPosterior":
        """Return that of γ and some of the series elements, in their order."""
        at = np.array([self.series_elements.index(name) for name in names], dtype=int)
        place = np.concatenate([np.arange(self.expansion.tau.size), self.expansion.tau.size + at])
        covariance = self.covariance[:, place[:, None], place]
        found = replace(
            self, series_elements=names, covariance=covariance, shift=self.shift[:, place], uncut=self.uncut[:, :, at]
        )
        return found if self.pull is None else replace(found, pull=self.pull[:, :, place])

    def part(self, rows: slice | NDArray[np.bool_]) -> "LogPosterior":
        """Return that of some of the solutions."""
        names = ("covariance", "noise", "shift", "uncut")
        arrays = {name: getattr(self, name)[rows] for name in names}
        for name in ("allowed", "exponent", "pull", "hidden", "slower", "strain", "end", "departure"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)[rows]
        return replace(self, parameters=self.parameters.rows(np.arange(len(self.shift))[rows]), **arrays)

    @cached_property
    def deviation(self) -> Array:
        """Standard deviation of ln γ, shape (K, M), by which bands are drawn.

        That of the covariance, with the width that γ may have between relaxation times and what is not known of edges.
        """
        variance = np.diagonal(self.covariance, axis1=1, axis2=2)[:, : self.expansion.tau.size]
        return np.asarray(np.sqrt(variance + self.unresolved**2))

    @cached_property
    def unresolved(self) -> Array:
        """Standard deviation of ln γ, shape (K, M), for what no relaxation time resolves: between them and at edges."""
        return np.asarray(np.hypot(_BETWEEN * self._bends(), _STEEP * self._steep()))

    def gamma_interval(self, level: float = 0.95, tau: ArrayLike | None = None) -> tuple[Array, Array]:
        """Interval of γ at each relaxation time, positive by itself.

        Parameters
        ----------
        level : float
            Probability that it covers γ, between 0 and 1.
        tau : array_like, shape (T,), optional
            Relaxation times, s; by default those of the expansion.

        Returns
        -------
        low, high : ndarray, shape (K, T)
            Ohm.

        Raises
        ------
        InputError
            For a level that is no probability.
        """
        below, above = self._ends(level)
        shift = self.shift[:, : self.expansion.tau.size]
        gamma = self.parameters.coefficients
        above = np.maximum(shift, 0.0) + above
        low, high = np.minimum(shift, 0.0) + below, self._cut_off(above)
        if self.together:
            high = np.where(self.unresolved > _UNRESOLVED, above, high)
        if tau is not None:
            values = self.expansion.values(tau).T
            low, high, gamma = row_by_row(low, values), row_by_row(high, values), self.expansion.curve(gamma, tau)
        one, other = gamma * _times(low), gamma * _times(high)
        # Where γ is negative, the larger modulus is the lower end.
        return np.minimum(one, other), np.maximum(one, other)

    def _ends(self, level: float) -> tuple[Array, Array]:
        """Find the ends of the band, as distances of ln |γ| from its mean, shape (K, M) each.

        Around the mean, or around where the data lead if the prior does not hold it, whichever is farther off; and by
        the strain between both.
        """
        whole, logs = self.deviation, self.expansion.tau.size
        if self.pull is None:
            return -quantile(level) * whole, quantile(level) * whole
        step, doubt = self.pull[:, :, :logs].transpose(1, 0, 2)
        half, rest = quantile(level) * whole, quantile(level) * _without(whole, doubt)
        wide = self._strained(_EASY_TOGETHER if self.together else _EASY)[:, None]
        if not self.together:
            step = _FARTHER * step
            wide = np.maximum(wide, 1.0) - np.maximum(1.0 - wide, 0.0) / (1.0 + (whole / _DETERMINED) ** 2)
        below, above = wide * np.minimum(-half, step - rest), wide * np.maximum(half, step + rest)
        common = quantile(level) * self._in_common
        return -np.hypot(below, common), np.hypot(above, common)

    @cached_property
    def _in_common(self) -> Array:
        """Standard deviation of ln γ that all states of a series have alike, shape (K, M); zeros without a series."""
        if not self.together or self.departure is None:
            return np.zeros_like(self.parameters.coefficients)
        y = np.log(self.expansion.tau)
        near = np.exp(-0.5 * ((y[:, None] - y) / _DEPARTED_REACH) ** 2)
        departed = np.sqrt(row_by_row(self.departure[:, 0] ** 2, near / near.sum(axis=0)))
        level = 1.0 + np.gradient(np.log(np.abs(self.parameters.coefficients)), y, axis=1) ** 2
        return np.hypot(_MERGED / level, _DEPARTED * departed) * self._led[:, None]

    def _strained(self, least: float) -> Array:
        """Factor of widths, by how strongly the data pull at what the prior holds, shape (K,); the least is given."""
        if self.strain is None:
            return np.ones(len(self.shift))
        by, start = (_STRAINED_TOGETHER, 0.0) if self.together else (_STRAINED, _STRAIN)
        wide = np.minimum(np.sqrt(least**2 + by * np.maximum(self.strain - start, 0.0)), _MOST_STRAINED)
        if self.expansion.kernel != "relaxation":
            wide = np.full_like(wide, _OF_OTHERS)
        return np.where(self._led, wide, 1.0)

    def _cut_off(self, above: Array, seen: float = 1.0) -> Array:
        """Cut distances of ln |γ| above the solution, shape (K, M), where γ would be larger than the data allow.

        What is more than the solution has `seen` times the response of a single basis function.
        """
        if self.allowed is None:
            return above
        size = np.abs(self.parameters.coefficients)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            enough = _MORE / _ALLOWED * size * (1.0 + seen * np.expm1(above))
            most = np.log1p((_ALLOWED * self.allowed.below(enough) / size - 1.0) / seen)
        most[self._near_change] = np.inf
        return np.asarray(np.minimum(above, np.maximum(most, 0.0)))

    @cached_property
    def _near_change(self) -> NDArray[np.bool_]:
        """Where γ changes its sign nearby, shape (K, M): both parts may grow there without an end that the data see."""
        near = np.zeros(self.parameters.coefficients.shape, dtype=bool)
        y = np.log(self.expansion.tau)
        for k, at in np.argwhere(np.diff(np.sign(self.parameters.coefficients), axis=1) != 0.0):
            near[k] |= np.abs(y - y[at]) < _CANCEL
        return near

    def r_pol_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of the polarisation resistance, ohm, shape (K,) each; see :meth:`resistance_interval`.

        It is wider upward by what may lie beyond the last relaxation time, where that is beyond the window of the data:
        ln γ is expected to go on as a random walk with the slope that the prior expects, whose integral is a reciprocal
        gamma variable [1]_. Its median is taken, for the largest γ that the last relaxation time may have if a tail
        follows it; and its upper end, too, by their distances from the medians in the logarithm, where γ just begins to
        rise at the end of the window. It is wider downward by a share of what lies beyond the window, which may end
        sooner, by what the width that γ gives to peaks narrower than the grid may do, and by what rises again before
        the window, which may be of R_inf; but not below zero where γ has no negative part and may have none. What lies
        before the first relaxation time is R_inf for the data; see :attr:`goes_on`. As far as the data speak for a
        process slower than the window, the upper end knows of one that is 100 times slower.

        References
        ----------
        .. [1] D. Dufresne, Scand. Actuar. J. (1990) 39.
        """
        if self.reciprocal:
            return self._net_interval(level)
        tau = self.expansion.tau
        low, high = self.resistance_interval(float(tau[0]), float(tau[-1]), level)
        (less, more), r_pol = self.outside(level), self._r_pol
        less = np.hypot(less, quantile(level) * _NARROW * self._narrow)
        less = np.hypot(less, self._less_with_loops(level))
        less = np.hypot(less, quantile(level) * _AS_SERIES * self.rises_before)
        more = np.hypot(more, quantile(level) * self._behind_loops())
        for beyond in self.goes_on:
            more = np.hypot(more, quantile(level) * beyond)
        more = np.hypot(np.hypot(high - r_pol, more), self._slower(level))
        low = r_pol - np.hypot(r_pol - low, less)
        positive = (self.parameters.coefficients >= 0.0).all(axis=1)
        if self.hidden is not None:
            positive &= ~self.hidden.any(axis=(1, 2))
        return np.where(positive, np.maximum(low, 0.0), low), r_pol + more

    def outside(self, level: float = 0.95) -> tuple[Array, Array]:
        """By how much R_pol may be smaller or larger for what γ is beyond the window of the data, ohm, shape (K,) each.

        See :meth:`r_pol_interval`.
        """
        beyond = self.beyond(level)
        return np.hypot(np.minimum(beyond, 0.0), self._sooner(level)), np.maximum(beyond, 0.0)

    def _sooner(self, level: float) -> Array:
        """By how much less resistance there may be beyond the window of the data, ohm, shape (K,)."""
        tau = self.expansion.tau
        if self.window_end is None:
            return np.zeros(len(self.shift))
        beyond = self.parameters.coefficients @ areas_between(self.expansion, self.window_end, float(tau[-1]))
        return np.asarray(quantile(level) * _SOONER * np.abs(beyond))

    @cached_property
    def goes_on(self) -> tuple[Array, Array]:
        """Find the deviation of what γ has before and after the window, ohm, shape (K,) each.

        The flank of a broad process is flatter than the prior expects, and goes on as at the end of the window. That it
        is a flank is seen from a slope that is about the same a decade before: it gets as much steeper from there on.
        """
        gamma, out = self.parameters.coefficients, []
        for end, inner in ((self.window_begin, 10.0), (self.window_end, 0.1)):
            if end is None or self.reciprocal or self.expansion.kernel != "relaxation":
                out.append(np.zeros(len(self.shift)))
                continue
            places = end * inner ** np.array([0.0, 0.3, 1.0])
            with np.errstate(invalid="ignore", divide="ignore"):
                logs = np.log(self.expansion.curve(gamma, places).T)
                last, whole = (logs[1] - logs[0]) / np.log(10.0**0.3), (logs[2] - logs[0]) / np.log(10.0)
                slope = np.clip(last**2 / whole, _FLATTEST, TAIL_SLOPE)
                more = _GOES_ON * np.exp(logs[0]) * (1.0 / slope - 1.0 / TAIL_SLOPE)
            out.append(np.where((last > 0.0) & (whole > 0.0), more, 0.0))
        return out[0], out[1]

    @cached_property
    def rises_before(self) -> Array:
        """Resistance at the fast end that is more than the flank of what is in the window, ohm, shape (K,).

        The flank is that of γ a decade into the window, as it falls there towards shorter relaxation times, but not
        steeper than expected before the window. Where a process has its peak in that decade, it is the expected one
        from the window on.
        """
        gamma, tau, begin = self.parameters.coefficients, self.expansion.tau, self.window_begin
        if begin is None or self.reciprocal or self.expansion.kernel != "relaxation":
            return np.zeros(len(self.shift))
        inner = 10.0 * begin
        with np.errstate(invalid="ignore", divide="ignore"):
            first, middle, last = self.expansion.curve(gamma, np.array([begin, inner, 10.0**0.5 * inner])).T
            slope = np.clip(np.log(last / middle) / np.log(10.0**0.5), 0.0, TAIL_SLOPE)
        # Not those at the ends, with which γ there would be compared but for rounding errors.
        within = (tau > 1.01 * begin) & (tau < inner / 1.01)
        peak = gamma[:, within].max(axis=1, initial=0.0) > np.maximum(first, middle)
        start, slope = np.where(peak, begin, inner), np.where(peak, TAIL_SLOPE, slope)
        flank = np.where(peak, first, middle)[:, None] * (tau / start[:, None]) ** slope[:, None]
        more = np.maximum(gamma - flank, 0.0)
        until = [more @ areas_between(self.expansion, float(tau[0]), end) for end in (begin, inner)]
        return np.asarray(np.where((gamma > 0.0).all(axis=1), np.where(peak, *until), 0.0))

    def _less_with_loops(self, level: float) -> Array:
        """By how much R_pol may be smaller for a loop that was not found, ohm, shape (K,)."""
        if self.hidden is None or not self.hidden.size:
            return np.zeros(len(self.shift))
        resistance, deviation, by = self.hidden.transpose(1, 0, 2)
        shown = deviation > 0.0
        most = np.where(shown, most_probable(resistance, np.where(shown, deviation, 1.0), level)[1], 0.0)
        return np.asarray(np.max(-most * by, axis=1, initial=0.0))

    def _slower(self, level: float) -> Array:
        """By how much R_pol may be larger for a process 100 times slower than the window, ohm, shape (K,).

        What the data allow of it counts the more, the more they speak for it: without a sign of it, there is none.
        """
        if self.slower is None:
            return np.zeros(len(self.shift))
        score, deviation = self.slower.T
        most = np.clip(score, 0.0, _CLEAR) + quantile(level)
        return np.asarray(np.clip((score - _SPEAKS) / (_SURELY - _SPEAKS), 0.0, 1.0) * most * _SLOWER * deviation)

    def _behind_loops(self) -> Array:
        """Find the deviation that the flank of γ > 0 has beyond the window, below the γ < 0 there, ohm, shape (K,).

        The data show neither there. The flank is that of a ZARC element with the height of a peak and the resistance
        that is on the slow side of it; of the peak where it is largest.
        """
        out, gamma, tau = np.zeros(len(self.shift)), self.parameters.coefficients, self.expansion.tau
        if self.window_end is None or self.reciprocal:
            return out
        for k in np.flatnonzero((gamma[:, -1] < 0.0) & (gamma > 0.0).any(axis=1)):
            change = int(np.flatnonzero(gamma[k] > 0.0)[-1]) + 1
            first = int(np.flatnonzero(np.append(0.0, gamma[k, :change]) <= 0.0)[-1])
            row = np.pad(gamma[k, first:change], 1)
            peak = np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] >= row[2:]))
            height, x = row[peak + 1], np.log(np.array([tau[change], self.window_end])[:, None] / tau[first + peak])
            slow = np.cumsum((row[1:-1] * self.expansion.areas[first:change])[::-1])[::-1][peak]
            whole = 2.0 * slow
            for _ in range(_FLANK_ROUNDS):
                # γ > 0 ends at the change of sign, and the flank does not.
                whole = slow / share_until(x[0], _TURN * height / whole)
            beyond = whole * (0.5 - share_until(np.maximum(x[1], 0.0), _TURN * height / whole))
            out[k] = FLANK * float(beyond.max())
        return out

    @cached_property
    def _narrow(self) -> Array:
        """Resistance of peaks within two relaxation times, by the squared distance of these, ohm, shape (K,)."""
        parts = np.abs(self.parameters.coefficients) * self.expansion.areas
        pairs = np.pad(parts[:, 1:] + parts[:, :-1], ((0, 0), (1, 1)))
        highest = (pairs[:, 1:-1] >= pairs[:, :-2]) & (pairs[:, 1:-1] > pairs[:, 2:])
        apart = float(np.median(np.diff(np.log(self.expansion.tau))))
        return np.asarray(np.where(highest, pairs[:, 1:-1], 0.0).sum(axis=1) * apart**2 * self._led)

    @property
    def _led(self) -> NDArray[np.bool_]:
        """Of which solutions it is known where the data lead, shape (K,)."""
        if self.pull is None:
            return np.zeros(len(self.shift), dtype=bool)
        return np.asarray(self.pull.any(axis=(1, 2)))

    def _net_interval(self, level: float) -> tuple[Array, Array]:
        """Interval of 1/Y(0) − R_inf, with Y(0) = 1/R_inf − ∫ γ d ln τ normal; NaN where that may be zero.

        It is wider by what R_inf is not known, by the derivatives of both by γ and 1/R_inf.
        """
        logs, at = self.expansion.tau.size, self.series_elements.index("r_inf")
        first = self.parameters.r_inf
        conductance, half = first - self._r_pol, _WIDER * quantile(level)
        by = np.zeros(self.shift.shape)
        by[:, :logs] = -self.parameters.coefficients * self.expansion.areas
        by[:, logs + at] = 1.0
        wide = half * _deviation_along(by, self.covariance)
        low, high = conductance - wide, conductance + wide
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = 1.0 / conductance
            net = -by * whole[:, None] ** 2
            net[:, logs + at] += first**-2.0
            rest = (half * _deviation_along(net, self.covariance)) ** 2 - (wide * whole**2) ** 2
            rest = np.sqrt(np.maximum(rest, 0.0))
            ends = np.sort([1.0 / low, 1.0 / high], axis=0)
            ends = whole - 1.0 / first + np.array([[-1.0], [1.0]]) * np.hypot(ends - whole, rest)
            return tuple(np.where(low * high > 0.0, ends, np.nan))

    @property
    def _r_pol(self) -> Array:
        return np.asarray((self.parameters.coefficients * self.expansion.areas).sum(axis=1))

    def beyond(self, level: float = 0.95) -> Array:
        """Upper end of the resistance beyond the last relaxation time, ohm, shape (K,); see :meth:`r_pol_interval`.

        Zero where the last relaxation time is within the window of the data.

        Parameters
        ----------
        level : float
            Probability that it is within as many deviations of its median.
        """
        last = self.expansion.tau.size - 1
        if self.window_end is None:
            return np.zeros(len(self.shift))
        gamma = self.parameters.coefficients
        median, upper = (
            2.0 / float(scipy.special.gammaincinv(2.0 * TAIL_SLOPE, share)) for share in (0.5, 0.5 - 0.5 * level)
        )
        rises = still_rises(self.expansion, gamma, self.window_end)
        begins = rises & (self.expansion.curve(gamma, np.array([self.window_end]))[:, 0] < _BEGINS * self._r_pol)
        deviation = np.sqrt(self.covariance[:, last, last])
        if self.end is not None:
            deviation = np.where(rises, deviation, self.end)
        shift, above = self.shift[:, last], quantile(level) * deviation
        wanted = np.zeros_like(gamma)
        wanted[:, last] = shift + above
        # At the slow end 1/(1 + jωτ) falls as 1/τ: what the data see of the last basis function and of a tail after it.
        spacing = float(np.log(self.expansion.tau[last] / self.expansion.tau[last - 1]))
        alone = np.expm1(spacing) / spacing - 1.0
        most = self._cut_off(wanted, 1.0 + 1.0 / ((1.0 + TAIL_SLOPE) * alone))[:, last]
        most = np.minimum(most, self._going_on(level))
        # Of a γ that rises, the data see what is beyond; of one that falls, they see how little there is at the end.
        above = np.where(rises & (most < _UNSEEN), above, np.maximum(most - shift, 0.0))
        above = np.hypot(above, begins * np.log(upper / median))
        return np.asarray(gamma[:, last] * median * _times(shift + above))

    def _going_on(self, level: float) -> Array:
        """Find the distance of ln |γ| above the solution that a γ < 0 has at the last relaxation time at most, (K,).

        γ < 0 is held by little, and the data hold γ at the end of the window alone: what they allow there goes on as
        the prior says.
        """
        out: Array = np.full(len(self.shift), np.inf)
        gamma = self.parameters.coefficients
        if self.allowed is None or self.window_end is None:
            return out
        y = np.log(self.expansion.tau)
        end = min(int(np.searchsorted(y, np.log(self.window_end))), y.size - 1)
        # Others, spectra of zeros among them, have nothing that this holds.
        falls = (gamma[:, -1] < 0.0) & (gamma[:, end] != 0.0)
        if not falls.any():
            return out
        apart = y[-1] - y[end]
        wanted = np.zeros_like(gamma)
        wanted[:, end] = _WIDEST
        most = self._cut_off(wanted)[falls, end] + np.log(np.abs(gamma[falls, end] / gamma[falls, -1]))
        out[falls] = most - TAIL_SLOPE * apart + quantile(level) * np.sqrt(apart)
        return out

    def resistance_interval(self, low: float, high: float, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of the resistance ∫ γ d ln τ between two relaxation times, for example those beside a peak.

        Parameters
        ----------
        low, high : float
            Relaxation times, s.
        level : float
            Probability that it covers the resistance.

        Returns
        -------
        low, high : ndarray, shape (K,)
            Ohm. The logarithm of a resistance is taken as normal, with the derivative by ln γ at the solution; where γ
            has both signs, the resistance itself. The interval is from that around the solution to that around the
            mean, which differ where R_inf, L or 1/C is near zero; and to that around where the data would lead if the
            prior did not hold γ, which takes the place of the doubt about λ, where it is farther off. Half of the
            distance of relaxation times is taken for the standard deviation of each boundary within them.

        Raises
        ------
        InputError
            For a level that is no probability, and for relaxation times that do not ascend.
        """
        logs = self.expansion.tau.size
        areas = areas_between(self.expansion, low, high)
        parts = self.parameters.coefficients * areas
        resistance = parts.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = parts / resistance[:, None]
        blur = self._blur(low, high)
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation = np.hypot(_deviation_along(share, self.covariance[:, :logs, :logs]), blur / np.abs(resistance))
        times = quantile(level) * (self._strained(_SURE_TOGETHER) if self.together else np.ones_like(deviation))
        half = times * deviation
        shift = np.sum(share * self.shift[:, :logs], axis=1)
        down, up = np.minimum(shift, 0.0) - half, np.maximum(shift, 0.0) + half
        if self.pull is not None:
            step, doubt = (share[:, None] * self.pull[:, :, :logs]).sum(axis=2).T
            rest = times * _without(deviation, doubt)
            # An exponent goes along with what γ has too much.
            led = np.where(self.parameters.tail_exponent > 0.0, _FARTHER, 1.0) * np.minimum(step, 0.0)
            down = np.minimum(down, np.minimum(shift, 0.0) + led + np.maximum(step, 0.0) - rest)
            up = np.maximum(up, np.maximum(shift, 0.0) + step + rest)
        if self.departure is not None:
            # A series goes on in the direction in which it departs from its spectra alone.
            further = quantile(level) * _DEPARTED_SUM * np.sum(share * self.departure[:, 1], axis=1)
            down, up = -np.hypot(down, np.minimum(further, 0.0)), np.hypot(up, np.maximum(further, 0.0))
        mixed = (parts < 0.0).any(axis=1)
        wide = _WIDER * _deviation_along(parts[mixed], self.covariance[mixed, :logs, :logs])
        wide = quantile(level) * np.hypot(wide, blur[mixed])
        moved = np.sum(parts[mixed] * self.shift[mixed, :logs], axis=1)
        least, most = resistance * _times(down), resistance * _times(up)
        if self.allowed is not None and np.any(up > _UNSEEN):
            # Next to nothing was found: no more than the largest γ everywhere.
            all_of_it = row_by_row(self.gamma_interval(level)[1], areas[:, None])[:, 0]
            most = np.where(up > _UNSEEN, np.maximum(np.minimum(most, all_of_it), resistance), most)
        least[mixed] = resistance[mixed] + np.minimum(moved, 0.0) - wide
        most[mixed] = resistance[mixed] + np.maximum(moved, 0.0) + wide
        return least, most

    def _blur(self, low: float, high: float) -> Array:
        """Find the deviation that two boundaries give the resistance between them, ohm, shape (K,)."""
        tau, ends = self.expansion.tau, np.array([low, high])
        spacing = float(np.median(np.diff(np.log(tau))))
        wide = min(_BLUR * spacing, _WIDEST_BLUR * float(np.log(high / low)))
        values = self.expansion.values(ends) * ((ends > tau[0]) & (ends < tau[-1]))[:, None]
        return wide * np.asarray(np.hypot(*(values @ self.parameters.coefficients.T)))

    def element_interval(self, name: str, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of R_inf, L or 1/C.

        Parameters
        ----------
        name : {"r_inf", "inductance", "elastance"}
            Which.
        level : float
            Probability that it covers the value.

        Returns
        -------
        low, high : ndarray, shape (K,)
            Ohm, H or 1/F: the most probable values of a normal distribution that is cut off at zero.

        Raises
        ------
        InputError
            For a name that is not an unknown of the model, and for a level that is not a probability.
        """
        if name not in self.series_elements:
            raise InputError(f"{name!r} is not an unknown of the model; it has {', '.join(self.series_elements)}.")
        at = self.series_elements.index(name)
        mean, deviation = self.uncut[:, 0, at], self.uncut[:, 1, at] * (_WIDER if self.reciprocal else 1.0)
        low, high = most_probable(mean, deviation, level)
        if self.pull is not None:
            step, doubt = self.pull[:, :, self.expansion.tau.size + at].T
            ends = most_probable(mean + step, _without(deviation, doubt), level)
            low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
        if name == "r_inf" and not self.reciprocal:
            high = mean + np.hypot(high - mean, quantile(level) * _NARROW_SERIES * self._narrow)
            low = np.maximum(mean - np.hypot(mean - low, quantile(level) * self.goes_on[0]), 0.0)
            found = self.parameters.r_inf
            as_series = quantile(level) * _AS_SERIES * self.rises_before
            high = found + np.hypot(np.maximum(high - found, 0.0), as_series)
        # Shapes are no unknowns of the linear model; see `drt_engine.elements.Terms`.
        value = getattr(self.parameters, name, low)
        low, high = np.minimum(low, value), np.maximum(high, value)
        if self.reciprocal and name == "r_inf":
            with np.errstate(divide="ignore"):
                return 1.0 / high, 1.0 / low
        return low, high

    def _bends(self) -> Array:
        """Largest change of the slope of ln γ at a relaxation time and beside it, times the spacing, shape (K, M)."""
        y, slope = np.log(self.expansion.tau), self._slopes()
        change = np.zeros_like(self.parameters.coefficients)
        change[:, 1:-1] = np.abs(np.diff(slope, axis=1)) * 0.5 * (y[2:] - y[:-2])
        widest = change.copy()
        widest[:, 1:] = np.maximum(widest[:, 1:], change[:, :-1])
        widest[:, :-1] = np.maximum(widest[:, :-1], change[:, 1:])
        return widest

    def _steep(self) -> Array:
        """By how much slopes of ln γ near each relaxation time are above those of tails, shape (K, M)."""
        y = np.log(self.expansion.tau)
        excess = np.maximum(np.abs(self._slopes()) - _STEEP_SLOPE, 0.0)
        steep = np.zeros_like(self.parameters.coefficients)
        steep[:, 1:] = excess
        steep[:, :-1] = np.maximum(excess, steep[:, :-1])
        # Farther off it is less by the distance: of what is on one side, as much as the neighbour there knows of.
        less = np.exp(-np.diff(y) / _STEEP_REACH)
        rows = np.ascontiguousarray(steep.T)
        for m in range(1, y.size):
            np.maximum(rows[m], less[m - 1] * rows[m - 1], out=rows[m])
        for m in range(y.size - 2, -1, -1):
            np.maximum(rows[m], less[m] * rows[m + 1], out=rows[m])
        return np.ascontiguousarray(rows.T)

    def _slopes(self) -> Array:
        """Slopes of ln |γ| between relaxation times, shape (K, M - 1)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.log(np.abs(self.parameters.coefficients))
            return np.asarray(np.diff(u, axis=1) / np.diff(np.log(self.expansion.tau)))


def still_rises(expansion: Expansion, coefficients: Array, end: float) -> NDArray[np.bool_]:
    """Return whether γ rises up to the longest relaxation time that the data show, shape (K,).

    False for a γ that has zeros or both signs: such a one rings, and rises at the end of the data without a reason.

    Parameters
    ----------
    expansion : Expansion
        Basis functions of γ.
    coefficients : ndarray, shape (K, M)
        Of them, ohm.
    end : float
        The longest relaxation time that the data show, s.
    """
    gamma = row_by_row(coefficients, _values_at_end(expansion, end))
    last, late = gamma[:, -1], gamma[:, -5:-1].max(axis=1)
    rises = (last > late) & (last > _RISE * gamma.min(axis=1))
    if not rises.any():
        return np.asarray(rises)
    whole = row_by_row(coefficients, expansion.areas[:, None])[:, 0]
    return np.asarray(rises & (last > _LEAST_END * whole) & (coefficients > 0.0).all(axis=1))


@lru_cache(maxsize=16)
def _values_at_end(expansion: Expansion, end: float) -> Array:
    """Values of the basis functions over the last decade before a relaxation time, shape (M, 11)."""
    return np.ascontiguousarray(expansion.values(np.geomspace(0.1 * end, end, 11)).T)


def share_until(x: Array, steep: Array) -> Array:
    """Share of the resistance of ZARC elements that is from their relaxation time to x later in ln τ.

    γ = R sin(π − nπ) / 2π (cosh nx − cos(π − nπ)), and 2πγ(0)/R = tan(nπ/2).

    Parameters
    ----------
    x : ndarray
        ln(τ/τ_0).
    steep : ndarray
        2πγ(0)/R.
    """
    n = 2.0 / np.pi * np.arctan(steep)
    return np.asarray(np.arctan(steep * np.tanh(0.5 * n * x)) / (np.pi * n))


def _times(exponent: Array | float) -> Array:
    return np.asarray(np.exp(np.clip(exponent, -_WIDEST, _WIDEST)))


def _without(deviation: Array, part: Array) -> Array:
    """Take a part of a standard deviation off; a tenth of it is left at least."""
    return np.asarray(np.sqrt(np.maximum(deviation**2 - part**2, (_LEAST_REST * deviation) ** 2)))


def _deviation_along(share: Array, covariance: Array) -> Array:
    return np.asarray(np.sqrt(np.sum((share[:, None] @ covariance)[:, 0] * share, axis=1)))
