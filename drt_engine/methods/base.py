"""What every method has in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters, Problem, row_by_row

__all__ = ["Method", "SharesRegularisation", "Solution", "misfits", "sharing", "slow_flank"]


@dataclass(frozen=True, eq=False)
class Solution:
    """What a method found for K spectra.

    Attributes
    ----------
    parameters : Parameters
        Coefficients of γ, R_inf, L and 1/C.
    fit : ndarray of complex, shape (K, F)
        Impedance of the model, ohm.
    regularisation, optimality : ndarray, shape (K,)
        λ, and the scaled optimality residual.
    at_edge, by_cvxpy : ndarray of bool, shape (K,)
        Whether λ was chosen at an edge of its grid, and whether the fast solver left the spectrum to cvxpy.
    noise_floor, noise_relative : ndarray, shape (K,)
        a, ohm, and b of the standard deviation √(a² + b²|Z|²) of the noise; NaN for a method that does not find it.
    tail_uncertain : ndarray of bool, shape (K,)
        Whether another description of the low frequencies, with another R_pol, is about as probable.
    noisier : ndarray of bool, shape (K,)
        Whether residuals are larger than the noise that was given; not where the noise was found.
    """

    parameters: Parameters
    fit: NDArray[np.complex128]
    regularisation: NDArray[np.float64]
    optimality: NDArray[np.float64]
    at_edge: NDArray[np.bool_]
    by_cvxpy: NDArray[np.bool_]
    noise_floor: NDArray[np.float64] = field(default_factory=lambda: np.array(np.nan))
    noise_relative: NDArray[np.float64] = field(default_factory=lambda: np.array(np.nan))
    tail_uncertain: NDArray[np.bool_] = field(default_factory=lambda: np.array(False))
    noisier: NDArray[np.bool_] = field(default_factory=lambda: np.array(False))

    def __post_init__(self) -> None:
        """Repeat the default of what the method does not find for each spectrum."""
        for name in ("noise_floor", "noise_relative", "tail_uncertain", "noisier"):
            if getattr(self, name).ndim == 0:
                object.__setattr__(self, name, np.full(self.optimality.shape, getattr(self, name)))

    def first(self, rows: int) -> "Solution":
        """Return the first rows."""
        cut = {each.name: getattr(self, each.name)[:rows] for each in fields(self) if each.name != "parameters"}
        return Solution(self.parameters.rows(slice(rows)), **cut)

    def part(self, rows: NDArray[np.intp], points: NDArray[np.intp]) -> "Solution":
        """Return some rows, with the fit at some of the points."""
        cut = {each.name: getattr(self, each.name)[rows] for each in fields(self) if each.name != "parameters"}
        return replace(self, parameters=self.parameters.rows(rows), **cut | {"fit": self.fit[np.ix_(rows, points)]})

    @classmethod
    def joined(cls, solutions: "Sequence[Solution]") -> "Solution":
        """Put solutions one below the other; there is at least one."""

        def column(parts: Sequence[Any], name: str) -> Any:
            return np.concatenate([getattr(part, name) for part in parts])

        parameters = [solution.parameters for solution in solutions]
        rest = {each.name: column(solutions, each.name) for each in fields(cls) if each.name != "parameters"}
        return cls(Parameters(*(column(parameters, each.name) for each in fields(Parameters))), **rest)


_ABOVE_GIVEN, _SURELY = 1.3, 5.0
"""How many times as large as the noise that was given residuals must be, and how many standard deviations above it.
With a noise that is 1.3 times as large, 95 % intervals cover 87 %."""

_CLIPPED = 5.0
"""Residuals beyond this many standard deviations count as this many: an outlier or two are no structure."""

_SIGNIFICANT, _LEAST_STRUCTURE = 4.0, 1e-3
"""Correlation of neighbouring residuals that no noise has, times the root of the number of data; and the smallest root
mean square of what is correlated, as a share of |Z|, that is called a misfit: instruments are not more exact."""


_SHARP, _LEVEL = 0.012, 0.3
"""What a peak that is narrower than the spacing of relaxation times leaves at its own frequency, at most, as a share of
its resistance, and at other frequencies by as much less as an RC element depends less on its relaxation time there; and
the share of this that it leaves at all frequencies, since R_inf and R_pol are off with it: of peaks beyond the window
by as much less again as they are seen less. It is right but for its width. RC elements between two relaxation times
leave up to 0.009, and a third of it."""

_TINY = float(np.finfo(float).tiny)
"""Stands in for zero as a divisor: γ may be zero, and a residual."""

_OF_LARGEST = 4
"""Power at which these are summed over relaxation times: the largest counts, and wide peaks have many small ones."""


def noisier_than(rest: NDArray[np.complex128], sigma: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find residuals that are larger than the noise that was given.

    By the median of all, or of a third of the frequencies, which a few outliers do not change. That of |e|²/σ², of
    noise in both parts, is 2 ln 2, with a standard deviation of 2/√F.

    Parameters
    ----------
    rest : ndarray of complex, shape (K, F)
        Residuals, ohm; NaN where there is no point.
    sigma : ndarray, shape (K, F)
        Standard deviation of the real and of the imaginary part, ohm.

    Returns
    -------
    ndarray of bool, shape (K,)
    """
    out = np.zeros(len(rest), dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        square = np.abs(rest / sigma) ** 2
    for part in (square, *np.array_split(square, 3, axis=1)):
        points = np.sum(~np.isnan(part), axis=1)
        rows = np.flatnonzero(points)
        least = np.maximum(_ABOVE_GIVEN**2, 1.0 + _SURELY / (np.log(2.0) * np.sqrt(points[rows])))
        out[rows] |= np.nanmedian(part[rows], axis=1) > 2.0 * np.log(2.0) * least
    return out


def misfits(
    solution: Solution, impedance: NDArray[np.complex128], frequency: NDArray[np.float64], expansion: Expansion
) -> NDArray[np.bool_]:
    """Find solutions whose residuals have a structure, or are larger than the noise that was given.

    With a structure, neighbouring ones are alike, as no noise is.

    Residuals are divided by the standard deviation of the noise, or by their own where none was found. The product of
    neighbouring ones is, in the mean, the variance of what is smooth in them; noise gives zero.

    Parameters
    ----------
    solution, impedance, frequency, expansion
        As :func:`drt_engine.methods.uniqueness.not_unique` takes them.

    Returns
    -------
    ndarray of bool, shape (K,)
    """
    out = solution.noisier.copy()
    size = np.abs(impedance)
    rest = impedance - solution.fit
    # Values near the largest and smallest that there are give no solution, or one that is not called a misfit.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        rows = np.flatnonzero(np.mean(_shared(rest / size), axis=1) > _LEAST_STRUCTURE**2)
        if not rows.size:
            return out
        rest, size = rest[rows], size[rows]
        floor, share = solution.noise_floor[rows, None], solution.noise_relative[rows, None]
        own = np.sqrt(np.mean(np.abs(rest) ** 2, axis=1, keepdims=True) / 2.0)
        sigma = np.where(np.isfinite(floor + share), np.hypot(floor, share * size), own)
        scaled = rest * (np.minimum(1.0, _CLIPPED * sigma / np.abs(rest)) / sigma)
        limit = _SIGNIFICANT * np.mean(np.abs(scaled) ** 2, axis=1) / np.sqrt(2.0 * size.shape[1])
        shared = _shared(scaled)
        alike = np.mean(shared, axis=1) > limit
        rows, rest, size, shared, limit = (each[alike] for each in (rows, rest, size, shared, limit))
        if not rows.size:
            return out
        excused = _of_width(solution.parameters.rows(rows), size, frequency, expansion)
        left = _shared(rest / size)
        counts = np.maximum(np.abs(left) - _shared(excused / size), 0.0) / np.maximum(np.abs(left), _TINY)
        # What is excused, where neighbours are alike as well, must not raise what the rest has to reach.
        part = np.mean(counts * np.abs(shared), axis=1) / np.maximum(np.mean(np.abs(shared), axis=1), _TINY)
        alike = np.mean(counts * shared, axis=1) > limit * np.sqrt(part)
        out[rows] |= alike & (np.mean(counts * left, axis=1) > _LEAST_STRUCTURE**2)
    return out


def _of_width(
    parameters: Parameters, size: NDArray[np.float64], frequency: NDArray[np.float64], expansion: Expansion
) -> NDArray[np.float64]:
    """Return what peaks that are narrower than γ can be leave of impedances of a size, at most, shape (K, F), ohm."""
    parts = np.abs(parameters.coefficients * expansion.areas)
    # What two relaxation times have more than those beside them: a wide peak is followed.
    pairs = np.pad(parts[:, 1:] + parts[:, :-1], ((0, 0), (2, 2)))
    peaks = np.maximum(pairs[:, 2:-2] - 0.5 * (pairs[:, :-4] + pairs[:, 4:]), 0.0)
    largest = np.maximum(peaks.max(axis=1, keepdims=True), _TINY)
    power = row_by_row((peaks / largest) ** _OF_LARGEST, _by_width(expansion, frequency.tobytes()))
    left = _SHARP * largest * power ** (1.0 / _OF_LARGEST)
    # Of γ that is one of admittances it is an admittance.
    return np.asarray(np.where(parameters.admittance[:, None], left * size**2, left))


@lru_cache(maxsize=16)
def _by_width(expansion: Expansion, frequency: bytes) -> NDArray[np.float64]:
    """Share of `_SHARP` that a peak at each relaxation time leaves, to the power of `_OF_LARGEST`, shape (M-1, F)."""
    each = expansion.impedance(np.frombuffer(frequency)) / expansion.areas
    # An RC element changes by half of its resistance at most.
    change = np.minimum(2.0 * np.abs(np.diff(each, axis=1)) / np.diff(np.log(expansion.tau)), 1.0)
    return np.asarray(((change + _LEVEL * change.max(axis=0) ** 2) ** _OF_LARGEST).T)


_FLANK = 0.8
"""Exponent of (jω)^−φ, as which the fast flank of a process beyond the window is seen; between those of arcs."""

_FLATTEST, _LESS, _STEEPEST = 0.4, 0.7, 0.6
"""Slopes of ln γ against ln τ, downward: of the flattest tails of processes within the window; with how much of its own
slope γ is taken to go on in the last decade, and with which at most. With that of the flattest for all, γ keeps half of
the flank of a slower process beside ZARC elements. With 0.8 and 0.65 arcs with exponents of 0.5 to 0.6 have a score
above 2 in up to 5 % of spectra without such a process, with all of its own slope in up to 60 %."""

_FLAT = 0.35
"""The same slope at any place of that end: where γ falls less, it has what the data have of a flank."""

_STARTS = (0.1, 0.1 * 10.0**0.5)
"""From where on γ is looked at, as shares of the longest relaxation time that the data show: its last decade, or half
of it where a process is in the last decade."""

_CLEARLY = 1.05
"""By which factor γ is above a tail there, if half of the decade is looked at: few spectra are, and the score takes as
long as a tenth of their inversion."""

_BANDS = (1e-4, 1e-3, 1e-2)
"""Where γ is parted, as shares of the longest relaxation time that the data show; each part has a factor of its own."""

_FAINT = 0.5
"""γ at the end of the window as a share of the standard deviation of the noise there, up to which any process within
the last decade is hidden."""

_HEAVIEST = 4.0
"""Residuals beyond this many standard deviations count as this many: the last point of a sweep may be an outlier."""


def slow_flank(
    solution: Solution, impedance: NDArray[np.complex128], frequency: NDArray[np.float64], expansion: Expansion
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score how significant a process slower than the window is in the data.

    It is a score test: the flank (jω)^−0.8 that such a process has in the window is held against what the rest leaves
    of the data. The rest is R_inf and γ, but for what γ has in the last decade, or in half of it where a process is in
    the last decade, above a tail that is flatter than γ is before it. As R_inf and four parts of γ may each be wrong by
    a factor, the flank counts so far as they do not explain it.

    Parameters
    ----------
    solution, impedance, frequency, expansion
        As :func:`drt_engine.methods.uniqueness.not_unique` takes them.

    Returns
    -------
    score : ndarray, shape (K,)
        In standard deviations; negative for a flank with the sign of an inductive loop. Zero where nothing is said: for
        a noise that is not known, a γ that is not positive, a process in the last half decade of the window, a tail in
        the model, a capacitor included, and without relaxation times in that decade.
    deviation : ndarray, shape (K,)
        Standard deviation of the modulus of the flank at the lowest frequency, ohm; zero where nothing is said.
    """
    score, deviation = np.zeros((2, len(impedance)))
    found = solution.parameters
    sigma = np.hypot(solution.noise_floor[:, None], solution.noise_relative[:, None] * np.abs(impedance))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        sigma = sigma * louder(impedance - solution.fit, sigma, frequency)
    open_ones = (found.elastance == 0.0) & (found.tail == 0.0) & (found.coefficients > 0.0).all(axis=1)
    open_ones &= ((sigma > 0.0) & (sigma < np.inf)).all(axis=1) & np.isfinite(solution.fit).all(axis=1)
    for start in _STARTS:
        of_grid = _flank_of(expansion, frequency.tobytes(), start)
        if of_grid is None or not open_ones.any():
            break
        for_loops, clear = _seen_at_end(found.coefficients, sigma[:, of_grid.slowest], of_grid)
        said = open_ones & clear
        open_ones &= ~clear
        if start > _STARTS[0]:
            # A γ that falls there as the tail of a process, as most do, has no flank.
            said[said] = _flattens(found.coefficients[said], of_grid)
        if said.any():
            gamma, left = found.coefficients[said], (impedance - solution.fit)[said]
            along, error = _score(gamma, left, sigma[said], of_grid)
            # A γ that ends sooner than tails do leaves what looks like a loop.
            score[said] = np.where(for_loops[said], along, np.maximum(along, 0.0))
            deviation[said] = error
    return score, deviation


def _score(
    gamma: NDArray[np.float64], left: NDArray[np.complex128], sigma: NDArray[np.float64], of_grid: "_Flank"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score the flank in the residuals `left` of solutions, and its standard deviation, ohm; zeros if that fails."""
    first, tail = of_grid.first, _with_tail(gamma, of_grid)
    above, sigma = gamma - tail, np.concatenate([sigma, sigma], axis=1)
    seen = row_by_row(above[:, first:], of_grid.columns[first:])
    seen = np.minimum(np.maximum(np.concatenate([left.real, left.imag], axis=1) / sigma, -_HEAVIEST), _HEAVIEST) + (
        seen / sigma
    )
    rest = [row_by_row(tail[:, part], of_grid.columns[part]) for part in of_grid.parts]
    basis = np.stack(
        [*rest, np.broadcast_to(of_grid.resistor, sigma.shape), row_by_row(tail, of_grid.narrower)], axis=1
    )
    basis /= sigma[:, None]
    # γ may be so small that it vanishes beside the noise in the numbers of the machine: nothing is said then.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        basis /= np.sqrt(np.sum(basis**2, axis=2, keepdims=True))
        whole = np.concatenate([basis, (of_grid.flank / sigma)[:, None], seen[:, None]], axis=1)
        # Of the triangle of QR the last two columns are what the others leave of the flank, and of the data along that.
        triangle: NDArray[np.float64] = np.asarray(np.linalg.qr(whole.transpose(0, 2, 1), mode="r"))
        along, size = triangle[:, -2, -1] * np.sign(triangle[:, -2, -2]), np.abs(triangle[:, -2, -2])
        known = np.isfinite(along) & (size != 0.0)
        score, deviation = np.where(known, [along, 1.0 / size], 0.0)
    return score, deviation


def _with_tail(gamma: NDArray[np.float64], of_grid: "_Flank") -> NDArray[np.float64]:
    """Find what of γ may be of processes within the window, shape (K, M): at its end it falls as tails do."""
    first, later = of_grid.first, of_grid.later
    out = gamma.copy()
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        slope = np.log(gamma[:, of_grid.earlier] / gamma[:, first]) / of_grid.apart
        slope = np.clip(_LESS * slope, _FLATTEST, _STEEPEST)[:, None]
        most = np.minimum(gamma[:, first:], gamma[:, first, None] * np.exp(-slope * later))
        # Not flatter anywhere: a γ that falls first and no more later has what the data have of the flank.
        level = np.minimum.accumulate(np.log(most) + _FLAT * later, axis=1)
        out[:, first:] = np.minimum(np.exp(level - _FLAT * later), gamma[:, first:])
    return out


def _flattens(gamma: NDArray[np.float64], of_grid: "_Flank") -> NDArray[np.bool_]:
    """Return whether γ, shape (K, M), falls clearly less at its end than tails do, shape (K,)."""
    most = _CLEARLY * _with_tail(gamma, of_grid)
    return np.asarray((most < gamma)[:, of_grid.first :].any(axis=1))


def _seen_at_end(
    gamma: NDArray[np.float64], sigma: NDArray[np.float64], of_grid: "_Flank"
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find for which γ the flank of a loop counts, and for which that of a process, shape (K,) each.

    Of a process it counts where none is within the last decade: γ falls as a tail before it, rises up to its end, or is
    hidden by the noise there. Of a loop, where it is hidden and falls so, or is hidden in all of that decade.
    """
    if of_grid.beyond is None:
        every = np.ones(len(gamma), dtype=bool)
        return every, every
    # ln γ is a straight line between relaxation times; beyond the last of them γ is zero.
    at, share, first = of_grid.beyond, of_grid.share, of_grid.first
    with np.errstate(invalid="ignore", divide="ignore"):
        before, after = np.log(gamma[:, at - 1]), np.log(gamma[:, at])
        faint = np.exp(before + share * (after - before)) < _FAINT * sigma
    falls = gamma[:, of_grid.earlier] > gamma[:, first] * of_grid.fall
    for_loops = faint & (falls | (gamma[:, first] < _FAINT * sigma))
    return for_loops, faint | falls | (gamma[:, at - 1] > gamma[:, at - 2])


class _Flank(NamedTuple):
    """Arrays of :func:`slow_flank` that the spectra of a grid share."""

    beyond: int | None  # which relaxation time is the first beyond the window, if one is
    share: float  # where the window ends between that and the one before, by logarithms
    earlier: int  # which relaxation time is half a decade before the next
    first: int  # which relaxation time is the first within the last decade of the window
    apart: float  # how far these two are apart in ln τ
    fall: float  # by which factor γ falls at least from the one to the other, if that is the tail of a process
    slowest: int  # which frequency is the lowest
    later: NDArray[np.float64]  # how far relaxation times from `first` on are after it in ln τ
    parts: tuple[slice, ...]  # of γ that may each be wrong by a factor
    columns: NDArray[np.float64]  # (M,2F) real, then imaginary parts of the impedance of the basis functions
    narrower: NDArray[np.float64]  # (M,2F) how that changes where a peak has another width
    resistor: NDArray[np.float64]  # (2F)
    flank: NDArray[np.float64]  # (2F)


@lru_cache(maxsize=8)
def _flank_of(expansion: Expansion, frequency_bytes: bytes, start: float) -> _Flank | None:
    """Make the arrays that the spectra of a grid share; None for a grid on which no flank is looked for."""
    frequency = np.frombuffer(frequency_bytes)
    end, tau = expansion.window(frequency)[1], expansion.tau
    first, slowest = int(tau.searchsorted(start * end)), int(frequency.argmin())
    known = expansion.kernel == "relaxation" and expansion.basis == "piecewise-linear"
    if not known or not 0 < first < tau.size - 1:
        return None
    beyond = int(tau.searchsorted(end, side="right"))
    inside = beyond < tau.size
    share = float(np.log(end / tau[beyond - 1]) / np.log(tau[beyond] / tau[beyond - 1])) if inside else 0.0
    unit = expansion.impedance(frequency)
    # A peak that is narrower than the grid has another width in γ.
    debye = 1.0 / (1.0 + 2j * np.pi * frequency[:, None] * tau)
    narrower = debye * (1.0 - debye) * (1.0 - 2.0 * debye) * expansion.areas
    earlier = int(tau.searchsorted(start * end / np.sqrt(10.0)))
    part, exact = np.digitize(tau / end, _BANDS), (1j * frequency / frequency[slowest]) ** -_FLANK
    return _Flank(
        beyond if inside else None,
        share,
        earlier,
        first,
        float(np.log(tau[first] / tau[earlier])),
        float((tau[first] / tau[earlier]) ** _FLATTEST),
        slowest,
        np.log(tau[first:] / tau[first]),
        tuple(slice(*part.searchsorted([which, which + 1])) for which in np.unique(part)),
        np.hstack([unit.real.T, unit.imag.T]),
        np.hstack([narrower.real.T, narrower.imag.T]),
        np.repeat([1.0, 0.0], frequency.size),
        np.concatenate([exact.real, exact.imag]),
    )


_SLOWEST, _LEAST_POINTS = 10.0, 6
"""Part of the frequencies above the lowest whose noise is looked at, and points that it takes at least."""

_LOUDER = 2.5
"""By which factor the variance of the slowest decade may be larger than expected by chance. It has ten points or so: of
spectra whose noise is as expected there, one or two in a hundred are above it."""


def louder(
    rest: NDArray[np.complex128], sigma: NDArray[np.float64], frequency: NDArray[np.float64], *, alike: bool = False
) -> NDArray[np.float64]:
    """By which factor the noise of the slowest decade is larger than that of all, shape (K, F); 1 elsewhere.

    Potentials and temperatures wander: at low frequencies the noise of a cell is often larger than √(a² + b²|Z|²). It
    is told by how far each residual is from the mean of those beside it, in which nothing is left of what is smooth.

    Parameters
    ----------
    rest : ndarray of complex, shape (K, F)
        What solutions leave of the data; NaN for points that are missing.
    sigma : ndarray, shape (K, F)
        Standard deviations of the real and of the imaginary part that are expected.
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    alike : bool
        Whether it is the same for all spectra.
    """
    out = np.ones(rest.shape)
    first = int(np.count_nonzero(frequency > _SLOWEST * frequency.min()))
    if frequency.size - first < _LEAST_POINTS:
        return out
    # Nothing is said where no noise is expected, and of numbers near the largest that there are.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        scaled = (rest / sigma)[:, max(first - 1, 0) :]
        square = np.abs(scaled[:, 1:-1] - 0.5 * (scaled[:, 2:] + scaled[:, :-2])) ** 2
    square[~np.isfinite(square)] = np.nan
    known = np.flatnonzero(np.isfinite(square).any(axis=1))
    if known.size:
        # The difference has 3/2 of the variance of each of two parts. In its median a point or two that are off hardly
        # count; that of an exponential distribution is ln 2 of its mean.
        middle = np.nanmedian(square[known], axis=None if alike else 1, keepdims=True)
        larger = middle / (3.0 * np.log(2.0))
        out[slice(None) if alike else known, first:] = np.sqrt(np.where(larger > _LOUDER, larger, 1.0))
    return out


def _shared(rest: NDArray[Any]) -> NDArray[np.float64]:
    """Products of neighbouring residuals, shape (K, F-1): their mean is the mean square of what is smooth in them."""
    return np.asarray((rest[:, 1:] * rest[:, :-1].conj()).real)


class Method(Protocol):
    """A way to invert spectra: a frozen dataclass with defaults."""

    def settings(self) -> dict[str, Any]:
        """Return its name and fields, in types that JSON has."""
        ...

    def expansion(self, frequency: NDArray[np.float64]) -> Expansion:
        """Basis functions for a frequency grid.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz.
        """
        ...

    def problem(self, frequency: NDArray[np.float64], expansion: Expansion) -> Problem:
        """Return the least-squares problem of a grid, which solutions nearly solve if the method is `linear`.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        expansion : Expansion
            Basis functions.
        """
        ...

    @property
    def linear(self) -> bool:
        """Whether solutions respond to noise as those of `problem` with their λ do, by which peaks are judged then."""
        ...

    def solve(
        self,
        frequency: NDArray[np.float64],
        impedance: NDArray[np.complex128],
        expansion: Expansion,
    ) -> Solution:
        """Invert spectra that are known to be finite; called from several threads at once.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        expansion : Expansion
            Basis functions; made for a grid that `frequency` may be a part of.
        """
        ...


@runtime_checkable
class SharesRegularisation(Method, Protocol):
    """A method that can choose one λ for a series of spectra."""

    @property
    def shared_states(self) -> tuple[str, ...] | None:
        """State columns whose equal values share one λ; none for all spectra, None if each has its own."""
        ...

    def tallies(
        self, frequency: NDArray[np.float64], impedance: NDArray[np.complex128], expansion: Expansion
    ) -> NDArray[np.int64]:
        """Scores of each λ of the grid, to be summed over a series; called from several threads at once.

        Parameters
        ----------
        frequency, impedance, expansion
            As :meth:`solve` takes them.

        Returns
        -------
        ndarray of int64, shape (K, G)
            As :func:`drt_engine.regularisation.tally` makes them. Only called where there are `shared_states`.
        """
        ...

    def solve(
        self,
        frequency: NDArray[np.float64],
        impedance: NDArray[np.complex128],
        expansion: Expansion,
        which: NDArray[np.intp] | None = None,
    ) -> Solution:
        """Invert spectra as :meth:`Method.solve` does, with λ that was chosen for series if it is given.

        Parameters
        ----------
        frequency, impedance, expansion
            As :meth:`Method.solve` takes them.
        which : ndarray of int, shape (K,), optional
            Which λ of :data:`drt_engine.regularisation.GRID` each spectrum has.
        """
        ...


def sharing(method: Method) -> SharesRegularisation | None:
    """Return the method if it shares λ over series, None if each spectrum has its own."""
    if getattr(method, "shared_states", None) is None:
        return None
    return method if isinstance(method, SharesRegularisation) else None
