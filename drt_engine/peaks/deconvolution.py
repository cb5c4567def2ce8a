"""Spectra as sums of processes of known form: resistance, time constant and shape of each, with their errors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.peaks.elements import Deconvolution, ln_tau_bounds, series_element_columns
from drt_engine.peaks.finding import without_edges
from drt_engine.peaks.paths import LEAST_STATES, PathData, fit_paths
from drt_engine.peaks.shapes import SHAPES, ElementShape, Shape
from drt_engine.series import OrderedSeries
from drt_engine.threads import run_tiles
from drt_kernels import deconvolution as kernels

__all__ = ["DeconvolutionOptions", "deconvolve"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Chains = Sequence[NDArray[np.intp] | OrderedSeries]

_LINKS = 32
"""Spectra of a chain that start from each other, one after the other; chains are cut there, and are worked on at once,
so that the solution does not depend on the number of threads."""

_STEPS = 30  # of Levenberg and Marquardt for one set of elements, at most
_LEAST_POINTS = 5  # points of a spectrum, at least
_WIDTH = 0.5
"""Standard deviation, in decades of frequency, of the Gaussian that squared residuals are averaged with."""


@dataclass(frozen=True)
class DeconvolutionOptions:
    """What a spectrum is taken to be made of.

    Parameters
    ----------
    shape : {"zarc", "havriliak-negami", "gaussian"}
        Form of the elements: R/(1 + (jωτ)^φ) [1]_, R/(1 + (jωτ)^φ)^ψ [2]_, or a normal distribution of ln τ.
    elements : int, optional
        How many beside inductive loops; fewer are returned where one would have no resistance, and where there would be
        more parameters than data. By default as many as lower the Bayesian information criterion [3]_, for as many data
        as are independent by the correlation of neighbouring residuals, and no more than one parameter for two data.
    most : int
        Most elements that are tried when their number is not given.
    inductance, capacitance : bool, optional
        Whether the model has jωL and 1/(jωC). By default as in the inversion that the elements start from; without one,
        the first and not the second.
    robust : bool
        Whether outliers count less, by Student's distribution with four degrees of freedom [4]_; of noise of known size
        only what is beyond four deviations.

    Raises
    ------
    UnknownNameError
        For another shape.
    InputError
        For numbers of elements that are not from 1 to 20.

    References
    ----------
    .. [1] K. S. Cole, R. H. Cole, J. Chem. Phys. 9 (1941) 341.
    .. [2] S. Havriliak, S. Negami, Polymer 8 (1967) 161.
    .. [3] G. Schwarz, Ann. Stat. 6 (1978) 461.
    .. [4] K. L. Lange, R. J. A. Little, J. M. G. Taylor, J. Am. Stat. Assoc. 84 (1989) 881.
    """

    shape: ElementShape = "zarc"
    elements: int | None = None
    most: int = 8
    inductance: bool | None = None
    capacitance: bool | None = None
    robust: bool = True

    def __post_init__(self) -> None:
        """Check every field."""
        if self.shape not in get_args(ElementShape):
            raise UnknownNameError("shape", self.shape, get_args(ElementShape))
        for name in ("elements", "most"):
            value = getattr(self, name)
            if name == "elements" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= 20:
                raise InputError(f"{name} must be a whole number from 1 to 20; got {value!r}.")
        for name in ("inductance", "capacitance", "robust"):
            value = getattr(self, name)
            if not isinstance(value, bool) and (name == "robust" or value is not None):
                raise InputError(f"{name} must be True or False; got {value!r}.")

    def inheriting(self, inductance: bool, capacitance: bool) -> "DeconvolutionOptions":
        """Return the options with the series terms of an inversion where there are none of their own.

        Parameters
        ----------
        inductance, capacitance : bool
            Whether the model of the inversion has jωL and 1/(jωC).
        """
        return replace(
            self,
            inductance=inductance if self.inductance is None else self.inductance,
            capacitance=capacitance if self.capacitance is None else self.capacitance,
        )


def deconvolve(
    frequency: Array,
    impedance: ComplexArray,
    peaks: pd.DataFrame,
    options: DeconvolutionOptions | None = None,
    sigma: Array | None = None,
    chains: Chains | None = None,
    *,
    known: bool = True,
    model: ComplexArray | None = None,
) -> Deconvolution:
    """Fit sums of elements to impedances, starting from the peaks of γ and from what was found for the spectrum before.

    Negative peaks are elements whose resistance is negative, inductive loops: one for each range of negative γ, or as
    many as it has peaks, if the information criterion is lower then. A spectrum with loops starts from its own peaks
    alone.

    The impedance is fitted and not γ: its noise is known or can be estimated, and is not correlated, so that the errors
    of the elements follow from it; and R_inf and the elements add up to the low-frequency limit of the model. The data
    are weighted by 1/|Z| or 1/σ, and outliers count less. Errors follow from the residuals around each frequency,
    whatever the weights, and are enlarged where neighbouring residuals are correlated; they do not know of a wrong
    choice of the form or number of the elements beyond that. There are never more parameters than data; where there are
    as many, nothing tells the noise and errors are NaN.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    impedance : ndarray of complex, shape (K, F)
        Ohm: the measured spectra, or where they are not at hand the impedance of the inverted model, with `sigma`.
        Points that are not finite are left out; a row with fewer than 5 has no elements.
    peaks : DataFrame
        Of the same spectra: ``spectrum`` (row number), ``tau`` (s), ``r`` (ohm, below zero for loops) and ``width``
        (decades).
    options : DeconvolutionOptions, optional
        What the spectra are made of.
    sigma : ndarray, shape (K, F), optional
        Standard deviation of the real and of the imaginary part, ohm, where it is known. Must be given if `impedance`
        is not measured but the model's, which has no noise of its own to tell.
    chains : sequence of ndarray of int or OrderedSeries, optional
        Row numbers of the spectra of each series, in the order of their state; a spectrum starts from the one before.
        By default all spectra are one series in their order. Rows that no chain names have no elements. Those of an
        `OrderedSeries` of five spectra or more are then fitted together, with each part on a smooth path along the
        state, but for spectra that do not go with their neighbours; see ``joint`` of the result.
    known : bool
        Whether `sigma` is known as it stands; if not, only its course over the frequencies is, and its size follows
        from the residuals.
    model : ndarray of complex, shape (K, F), optional
        Impedance of an inversion of the same spectra, ohm: its modulus is what the noise is in proportion to where
        there is no `sigma`, and what lies far from it is an outlier to begin with.

    Returns
    -------
    Deconvolution
        The elements with their errors.

    Raises
    ------
    InputError
        For arrays whose shapes do not go together, and a table of peaks without the columns above.
    """
    chosen = (DeconvolutionOptions() if options is None else options).inheriting(inductance=True, capacitance=False)
    data = _Data.of(frequency, impedance, (sigma, known), model)
    tiles = _tiles(len(data.weights), chains)
    shape = SHAPES[chosen.shape]
    names = tuple(
        name
        for name, on in (("r_inf", True), ("inductance", chosen.inductance), ("elastance", chosen.capacitance))
        if on
    )
    settings = shape, chosen, names
    fitted = _fitted(data, _with_whole_loops(peaks), settings, tiles)
    loops = peaks.loc[peaks["r"] < 0.0, "spectrum"]
    several = np.intersect1d(loops[loops.duplicated()], np.concatenate([[], *tiles])).astype(np.intp)
    if several.size:
        each = [several[k : k + 1] for k in range(several.size)]
        fitted = fitted.better_of(_fitted(data, peaks, settings, each), data)
    lines = [chain for chain in chains or () if isinstance(chain, OrderedSeries)]
    _fit_together(data, fitted, shape, chosen, names, lines)
    return fitted.result(data, chosen.shape, names)


def _fitted(
    data: "_Data",
    peaks: pd.DataFrame,
    settings: tuple[Shape, DeconvolutionOptions, tuple[str, ...]],
    tiles: list[NDArray[np.intp]],
) -> "_Fitted":
    """Fit the spectra of some tiles alone, from their peaks."""
    shape, options, names = settings
    if shape.start is None:
        starts = _by_peaks(data, peaks, shape, options, len(names))
    else:
        # An asymmetric part finds its minimum from the symmetric one, and hardly from afar.
        simple = SHAPES[shape.start]
        first = _by_peaks(data, peaks, simple, options, len(names))
        starts = _extended(_fit(data, first, simple, options, names, tiles), first.loops, simple, shape, len(names))
    return _fit(data, starts, shape, options, names, tiles).ordered(starts.loops, shape, len(names))


@dataclass(frozen=True, eq=False)
class _Data:
    """Spectra ready to be fitted, each divided by a power of two near its size, so that no unit is too small.

    Real, then imaginary parts (K, 2F), their weights, 0 for what is missing, the weighted residuals of the inversion,
    and what was divided by (K,).
    """

    frequency: Array
    stacked: Array
    weights: Array
    away: Array
    size: Array
    known: bool

    @classmethod
    def of(
        cls, frequency: Array, impedance: ComplexArray, noise: tuple[Array | None, bool], model: ComplexArray | None
    ) -> "_Data":
        f, z = np.asarray(frequency, dtype=float), np.asarray(impedance, dtype=complex)
        sigma, known = noise
        if f.ndim != 1 or z.ndim != 2 or z.shape[1] != f.size or not np.all(np.isfinite(f) & (f > 0.0)):
            raise InputError(
                "frequency must be one-dimensional, positive and finite, in Hz, and impedance must have one row a "
                f"spectrum and one column a frequency; got shapes {f.shape} and {z.shape}."
            )
        for name, array in (("sigma", sigma), ("model", model)):
            if array is not None and np.shape(array) != z.shape:
                raise InputError(f"{name} must have the shape of impedance, {z.shape}; got {np.shape(array)}.")
        largest = np.where(np.isfinite(z), np.abs(z), 0.0).max(axis=1, initial=0.0)
        size = np.exp2(np.floor(np.log2(largest, where=largest > 0.0, out=np.zeros(largest.size))))[:, None]
        z = z / size
        fit = z if model is None else np.where(np.isfinite(model), model, impedance) / size
        deviation = np.abs(fit) if sigma is None else np.asarray(sigma, dtype=float) / size
        usable = np.isfinite(z) & np.isfinite(deviation) & (deviation > 0.0)
        usable &= usable.sum(axis=1, keepdims=True) >= _LEAST_POINTS
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = np.where(usable, 1.0 / deviation, 0.0)
            away = np.where(usable, z - fit, 0.0) * weights
        z = np.where(usable, z, 0.0)
        stacked = np.hstack([z.real, z.imag])
        return cls(
            f, stacked, np.tile(weights, 2), np.hstack([away.real, away.imag]), size[:, 0], known and sigma is not None
        )


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What the kernel writes, with K rows each; see there. A fifth column of the state: fitted with its neighbours."""

    parameters: Array
    errors: Array
    together: Array
    state: Array

    @classmethod
    def blank(cls, rows: int, size: int, most: int) -> "_Fitted":
        return cls(
            np.zeros((rows, size)), np.full((rows, size), np.nan), np.full((rows, most, 2), np.nan), np.zeros((rows, 5))
        )

    def ordered(self, loops: NDArray[np.int64], shape: Shape, series: int) -> "_Fitted":
        """Put loops, which come first, where their ln τ belongs; those that ended with no resistance are left out."""
        for k in np.flatnonzero((loops > 0) & (self.state[:, 0] > 0.0)):
            size = int(self.state[k, 0])
            found, errors = (each[k, series:size].reshape(-1, shape.size) for each in (self.parameters, self.errors))
            order = np.argsort(found[:, 1])
            order = order[found[order, 0] != 0.0]
            together, left = self.together[k, order], series + order.size * shape.size
            for each, some in ((self.parameters, found), (self.errors, errors)):
                each[k, series:left], each[k, left:] = some[order].ravel(), 0.0 if some is found else np.nan
            self.together[k], self.together[k, : order.size] = np.nan, together
            self.state[k, 0] = left
        return self

    def better_of(self, other: "_Fitted", data: _Data) -> "_Fitted":
        """Return what is better by the information criterion, of the rows that the other has with more loops."""
        count = np.count_nonzero(data.weights, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            own, more = (count * np.log(each.state[:, 1]) + each.state[:, 0] * np.log(count) for each in (self, other))
        better, arrays = np.flatnonzero((other.state[:, 0] > 0.0) & (more < own)), []
        for field in fields(self):
            here, there = getattr(self, field.name), getattr(other, field.name)
            blank = 0.0 if field.name == "parameters" else np.nan
            wide = np.full((len(here), max(here.shape[1], there.shape[1]), *here.shape[2:]), blank)
            wide[:, : here.shape[1]] = here
            wide[better] = blank
            wide[better, : there.shape[1]] = there[better]
            arrays.append(wide)
        return _Fitted(*arrays)

    def result(self, data: _Data, shape: ElementShape, names: tuple[str, ...]) -> Deconvolution:
        size, cost, rho, converged, joint = self.state.T
        done = size > 0
        # Back to ohm: the series terms and, of each part, the resistance.
        units = np.ones_like(self.parameters)
        units[:, _in_ohm(units.shape[1], len(names), SHAPES[shape].size)] = data.size[:, None]
        place = np.arange(units.shape[1])
        parameters = np.where(place < size[:, None], self.parameters * units, np.nan)
        found = Deconvolution(
            data.frequency,
            shape,
            names,
            parameters,
            self.errors * units,
            self.together,
            np.where(done, cost, np.nan),
            np.where(done, rho, np.nan),
            converged > 0,
            joint=joint > 0,
        )
        f = data.frequency.size
        used = data.weights[:, :f] > 0.0
        z = (data.stacked[:, :f] + 1j * data.stacked[:, f:]) * data.size[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = np.where(used, np.abs(found.impedance_at(data.frequency) - z) / np.abs(z), 0.0) ** 2
            misfit = np.sqrt(squares.sum(axis=1) / used.sum(axis=1))
        return replace(found, misfit=np.where(done, misfit, np.nan))


class _Starts(NamedTuple):
    """Parameters to start from, shape (K, P), how many of them, and how many elements are loops, first."""

    parameters: Array
    size: NDArray[np.int64]
    loops: NDArray[np.int64]


def _fit(
    data: _Data,
    starts: _Starts,
    shape: Shape,
    options: DeconvolutionOptions,
    names: tuple[str, ...],
    tiles: list[NDArray[np.intp]],
) -> _Fitted:
    series, most = len(names), (options.elements or options.most) + int(starts.loops.max(initial=0))
    rows, size = len(data.weights), series + most * shape.size
    out = _Fitted.blank(rows, size, most)
    x = np.log(2.0 * np.pi * data.frequency)
    distance = (x[:, None] - x) / (_WIDTH * math.log(10.0))
    near = np.exp(-0.5 * distance**2)
    free = 0 if shape.start is None else -1
    unit = np.array([1.0, 0.0, *shape.unit])
    model = (shape.kind, series_element_columns(names, data.frequency))
    # Of spectra of zeros there is nothing to fit, and no noise.
    usable = np.asarray(data.weights.any(axis=1) & data.stacked.any(axis=1))

    def work(tile: NDArray[np.intp]) -> None:
        rows = tile[usable[tile]]
        loops = int(starts.loops[rows].max(initial=0))
        wanted = free if options.elements is None else series + (loops + options.elements) * shape.size
        part = _Fitted.blank(rows.size, size, most)
        kernels.deconvolve(
            (x, data.stacked[rows], data.weights[rows], near, data.away[rows]),
            (starts.parameters[rows], starts.size[rows]),
            model,
            _bounds(data.frequency, shape, series, most, loops),
            unit,
            (wanted, _STEPS, options.elements or options.most, data.known),
            options.robust,
            (part.parameters, part.errors, part.together, part.state),
        )
        for field in fields(part):
            getattr(out, field.name)[rows] = getattr(part, field.name)

    alone = starts.loops > 0
    plain = [tile[~alone[tile]] for tile in tiles]
    run_tiles(
        work,
        [
            *(tile for tile in plain if tile.size),
            *(tile[k : k + 1] for tile in tiles for k in np.flatnonzero(alone[tile])),
        ],
    )
    return out


def _fit_together(
    data: _Data,
    out: _Fitted,
    shape: Shape,
    options: DeconvolutionOptions,
    names: tuple[str, ...],
    lines: Sequence[OrderedSeries],
) -> None:
    """Fit the spectra of each series together, from what was found for each; what is found so takes its place."""
    most = (out.parameters.shape[1] - len(names)) // shape.size
    x, model = np.log(2.0 * np.pi * data.frequency), (shape.kind, series_element_columns(names, data.frequency))
    bounds = _bounds(data.frequency, shape, len(names), most)

    first = len(names)
    looped = np.asarray((out.parameters[:, first :: shape.size] < 0.0).any(axis=1))

    def work(line: OrderedSeries) -> None:
        # Loops are no part of a smooth path of ln R.
        here = (out.state[line.rows, 0] > 0.0) & ~looped[line.rows]
        rows = line.rows[here]
        if rows.size < LEAST_STATES:
            return
        # One size for all: what belongs to a series is compared with each other.
        ratio = data.size[rows] / data.size[rows].max()
        units = _in_ohm(out.parameters.shape[1], len(names), shape.size)
        own = np.where(units, ratio[:, None], 1.0)
        part = PathData(
            x,
            data.stacked[rows] * ratio[:, None],
            data.weights[rows] / ratio[:, None],
            model,
            bounds,
            shape.size,
            data.known,
            options.robust,
        )
        found = fit_paths(part, line.position[here], (out.parameters[rows] * own, out.state[rows, 0].astype(np.int64)))
        if found is None:
            return
        kept, size = rows[found.fitted], found.parameters.shape[1]
        number = found.together.shape[1]
        out.parameters[kept], out.errors[kept], out.together[kept] = 0.0, np.nan, np.nan
        out.parameters[kept, :size] = (found.parameters / own[:, :size])[found.fitted]
        out.errors[kept, :size] = (found.errors / own[:, :size])[found.fitted]
        out.together[kept, :number] = found.together[found.fitted]
        rest = np.full(kept.size, size), found.squares[found.fitted], found.correlation[found.fitted]
        out.state[kept] = np.stack([*rest, np.full(kept.size, found.converged), np.ones(kept.size)], axis=1)

    run_tiles(work, lines)


def _in_ohm(size: int, first: int, each: int) -> NDArray[np.bool_]:
    """Which parameters are in proportion to the impedance: series elements and resistances."""
    place = np.arange(size)
    return np.asarray((place < first) | ((place - first) % each == 0))


def _bounds(frequency: Array, shape: Shape, series: int, most: int, loops: int = 0) -> tuple[Array, Array]:
    low, high = ln_tau_bounds(frequency)
    lowest = np.concatenate([np.zeros(series), np.tile([0.0, low, *shape.low], most)])
    highest = np.concatenate([np.full(series, np.inf), np.tile([np.inf, high, *shape.high], most)])
    resistances = series + shape.size * np.arange(loops)
    lowest[resistances], highest[resistances] = -np.inf, 0.0
    return lowest, highest


def _by_peaks(data: _Data, peaks: pd.DataFrame, shape: Shape, options: DeconvolutionOptions, series: int) -> _Starts:
    """Parameters to start from."""
    peaks = pd.concat([without_edges(peaks[peaks["r"] >= 0.0]), peaks[peaks["r"] < 0.0]])
    rows, most = len(data.weights), options.elements or options.most
    spectrum = peaks["spectrum"].to_numpy(dtype=np.int64)
    if spectrum.size and not 0 <= spectrum.min() <= spectrum.max() < rows:
        raise InputError(
            f"spectrum of peaks must be row numbers below {rows}; got {spectrum.min()} to {spectrum.max()}."
        )
    loops = np.bincount(spectrum[peaks["r"] < 0.0], minlength=rows)
    start = np.zeros((rows, series + (most + int(loops.max(initial=0))) * shape.size))
    f = data.frequency.size
    with np.errstate(invalid="ignore"):
        start[:, 0] = np.where(data.weights[:, :f] > 0.0, data.stacked[:, :f], np.inf).min(axis=1).clip(min=0.0)
    r, tau, width = (peaks[name].to_numpy(dtype=float) for name in ("r", "tau", "width"))
    r = r / data.size[spectrum]
    width = np.where(np.isfinite(width), width, 1.0) * math.log(10.0)
    # Loops, then the largest ones where there are too many; then each gets a place in the row of its spectrum.
    order = np.lexsort((-r, r >= 0.0, spectrum))
    place = np.arange(order.size) - np.searchsorted(spectrum[order], spectrum[order])
    kept = place < most + loops[spectrum[order]]
    order, place = order[kept], place[kept]
    at = series + place * shape.size
    values = np.column_stack([r, np.log(tau), shape.by_width(width)])[order]
    for q in range(shape.size):
        start[spectrum[order], at + q] = values[:, q]
    return _Starts(start, series + np.bincount(spectrum[order], minlength=rows) * shape.size, loops)


def _with_whole_loops(peaks: pd.DataFrame) -> pd.DataFrame:
    """Make one row of those of a range of negative γ, where it has several."""
    _check_columns(peaks)
    loop, first = peaks["r"] < 0.0, peaks["spectrum"].diff() != 0.0
    if not loop.any():
        return peaks
    part = (first | ~(loop & loop.shift(fill_value=False))).cumsum().to_numpy()
    largest = np.lexsort((-peaks["r"].abs(), part))[np.unique(part, return_index=True)[1]]
    return peaks.assign(r=peaks["r"].groupby(part).transform("sum")).iloc[largest]


def _check_columns(peaks: pd.DataFrame) -> None:
    missing = [name for name in ("spectrum", "tau", "r", "width") if name not in peaks.columns]
    if missing:
        raise InputError(f"peaks must have the columns 'spectrum', 'tau', 'r' and 'width'; {missing} are missing.")


def _extended(found: _Fitted, loops: NDArray[np.int64], simple: Shape, shape: Shape, series: int) -> _Starts:
    """Parameters of one form as those of another that has more of them."""
    rows, most = found.together.shape[:2]
    elements = found.parameters[:, series:].reshape(rows, most, simple.size)
    more = np.broadcast_to(np.array(shape.unit[simple.size - 2 :]), (rows, most, shape.size - simple.size))
    start = np.hstack([found.parameters[:, :series], np.concatenate([elements, more], axis=2).reshape(rows, -1)])
    count = np.maximum(found.state[:, 0].astype(np.int64) - series, 0) // simple.size
    return _Starts(start, series + count * shape.size, loops)


def _tiles(rows: int, chains: Chains | None) -> list[NDArray[np.intp]]:
    given = [np.arange(rows)] if chains is None else chains
    series = [np.asarray(getattr(chain, "rows", chain), dtype=np.intp) for chain in given]
    named = np.concatenate(series) if series else np.empty(0, dtype=np.intp)
    if named.size and (named.min() < 0 or named.max() >= rows or np.unique(named).size < named.size):
        raise InputError(f"chains must name rows from 0 to {rows - 1}, each at most once; got {named!r}.")
    return [chain[k : k + _LINKS] for chain in series for k in range(0, chain.size, _LINKS)]
