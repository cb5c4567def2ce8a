"""Peaks of many distributions at once: what noise and the penalty do not make by themselves."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from drt_engine.basis import BASES, BasisName, Expansion, is_positive
from drt_engine.errors import InputError
from drt_engine.problem import Problem, Unknowns, row_by_row
from drt_engine.spectral import SpectralFactors, factorise
from drt_engine.threads import run_tiles
from drt_kernels import peaks as kernels
from drt_kernels.radial import tail

__all__ = ["PEAK_UNITS", "PeakOptions", "find_peaks"]

Array = NDArray[np.float64]

PEAK_UNITS = {
    "tau": "s",
    "r": "ohm",
    "c": "F",
    "height": "ohm",
    "width": "decades",
    "prominence": "ohm",
    "tau_error": "s",
    "r_error": "ohm",
    "lower": "s",
    "upper": "s",
}
"""Units of the columns that have one."""

KINDS = ("maximum", "shoulder")
"""Kinds of peaks."""

_PER_SPACING = 6
_BEYOND = 3
_MOST_SAMPLES = 4000
_MOST_FEATURES = 40
_NEGLIGIBLE = 1e-9
_SMOOTHING = 0.3
"""Standard deviation, in decades, of the Gaussian that γ is averaged with where λ is too small for single maxima."""

_LEAST_NOISE = 1e-5
"""Least noise, as a share of |Z|: below it are rounding, and the limits of the expansion."""

_TILE = 128
_KINKED = ("c0-matern", "cauchy", "piecewise-linear")
"""Bases whose γ has kinks, so that its second derivative means nothing; of the first two only the average of γ has
maxima that mean anything."""


@dataclass(frozen=True)
class PeakOptions:
    """What counts as a peak.

    Parameters
    ----------
    significance : float
        How many standard deviations a maximum must be above its valleys: of what noise does to the answer, what λ
        leaves open and what λ takes away. With the default, about one in a hundred spectra, or less, shows a peak too
        many.
    shoulder_significance : float
        The same for a shoulder above the straight line through its boundaries; infinity for no shoulders.

    Raises
    ------
    InputError
        For numbers that are not positive.
    """

    significance: float = 3.0
    shoulder_significance: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what is no number of deviations."""
        for name in ("significance", "shoulder_significance"):
            value = getattr(self, name)
            if not (is_positive(value) or value == math.inf):
                raise InputError(f"{name} must be a positive number of standard deviations; got {value!r}.")


def find_peaks(
    problem: Problem,
    unknowns: Unknowns,
    regularisation: Array,
    residual: Array,
    options: PeakOptions | None = None,
    sigma: Array | None = None,
) -> pd.DataFrame:
    """Find maxima and shoulders of γ(ln τ).

    Where λ was chosen so small that γ breaks up into spikes of which none is significant, γ averaged over 0.3 decades
    is looked at instead: it is taken where it shows more peaks than γ itself.

    Parameters
    ----------
    problem : Problem
        The matrices that the spectra were inverted with; with weights if they have weights in common.
    unknowns : Unknowns
        The answers for K spectra. Rows with NaN have no peaks.
    regularisation : ndarray, shape (K,)
        λ of each.
    residual : ndarray, shape (K,)
        Root mean square of |Z_fit − Z| / |Z| of each, from which the noise is estimated.
    options : PeakOptions, optional
        What counts as a peak.
    sigma : ndarray, shape (K, F), optional
        Standard deviation of the real and of the imaginary part at each frequency, ohm, where it is known better than
        by `residual`, which stands for noise in proportion to |Z|.

    Returns
    -------
    DataFrame
        One row a peak, ordered by spectrum and τ.

        ``spectrum``
            Row number among the K.
        ``tau``, ``r``, ``c``
            Position, s; ∫γ d ln τ between the boundaries, ohm; τ/R, F. The areas of a spectrum add up to its
            polarisation resistance.
        ``height``, ``width``
            γ at the peak, ohm; full width at half of that, decades of τ. A side that a neighbour hides is taken as wide
            as the other; where both are hidden the width is that of a Gaussian of the same curvature.
        ``prominence``
            Height above the higher one of the two valleys, ohm; 0 for a shoulder.
        ``significance``
            Drop to the valley, or of a shoulder the height above the line through its boundaries, in deviations.
        ``tau_error``, ``r_error``
            Standard deviations that the noise alone gives, at this λ and these boundaries; NaN for τ of a shoulder.
            What λ and neighbours displace is not in them; a deconvolution tells that.
        ``lower``, ``upper``
            Boundaries, s: the valleys, or where γ bends up most between two peaks without a valley.
        ``kind``
            ``"maximum"`` or ``"shoulder"``.
        ``inside``
            Whether τ is between 1/ω_max and 1/ω_min.
        ``averaged``
            Whether the peak was found in, and its position, height, width and prominence are of, the average.

    Raises
    ------
    InputError
        For arrays whose shapes do not go together.
    """
    chosen = PeakOptions() if options is None else options
    rows = len(unknowns.coefficients)
    _check_shapes(rows, problem.discretisation.frequency.size, regularisation, residual, sigma)
    x = _scaled(problem, unknowns)
    good = np.flatnonzero(np.isfinite(x).all(axis=1) & np.isfinite(regularisation) & np.isfinite(residual))
    fine, coarse = _tables(problem.discretisation.expansion)
    out = np.zeros((rows, _MOST_FEATURES, kernels.COLUMNS))
    count = np.zeros(rows, dtype=np.int64)
    factors = factorise(problem)
    limits = (chosen.significance, chosen.shoulder_significance)
    averaged = np.zeros(rows, dtype=bool)

    def work(tile: NDArray[np.intp]) -> None:
        lam = float(regularisation[tile[0]])
        inverse, answer = _response(factors, lam)
        noise = _noise(problem, unknowns, residual, sigma, tile) / math.sqrt(_share_left(problem, answer))
        lost = x[tile] - row_by_row(row_by_row(x[tile], problem.transposed), answer.T)
        given = (x[tile], noise, np.ascontiguousarray(lost))
        found, number = np.zeros((tile.size, *out.shape[1:])), np.full(tile.size, -1)
        coefficients, response = unknowns.coefficients[tile], (inverse, answer)
        if not fine.cusps:
            _find(fine, coefficients, response, given, limits, (found, number))
        before = number.copy()
        _find(coarse, coefficients, response, given, limits, (found, number))
        out[tile], count[tile], averaged[tile] = found, number, number > before

    run_tiles(work, _tiles(regularisation, good))
    table = _table(problem.discretisation.frequency, fine, out, count)
    return table.assign(averaged=np.repeat(averaged, count))


def _find(
    tables: "_Tables",
    coefficients: Array,
    response: tuple[Array, Array],
    rows: tuple[Array, Array, Array],
    limits: tuple[float, float],
    out: tuple[Array, NDArray[np.int64]],
) -> None:
    """Write the features of the spectra of a tile that have more than are written already, and how many."""
    gamma = row_by_row(coefficients, tables.functions.T)
    bend = -row_by_row(coefficients, tables.curvature.T)
    extra = ((0, 0), (0, rows[0].shape[1] - coefficients.shape[1]))
    given = (np.pad(tables.functions, extra), np.pad(tables.areas, extra), tables.bounds, *response)
    kernels.find(gamma, bend, given, rows, (*limits, tables.smooth, tables.step), *out)


def _check_shapes(rows: int, points: int, regularisation: Array, residual: Array, sigma: Array | None) -> None:
    for name, array, expected in (
        ("regularisation", regularisation, (rows,)),
        ("residual", residual, (rows,)),
        ("sigma", sigma, (rows, points)),
    ):
        if array is not None and np.shape(array) != expected:
            raise InputError(f"{name} must have shape {expected}, as the unknowns have; got {np.shape(array)}.")


@dataclass(frozen=True, eq=False)
class _Tables:
    """What there is to know about the basis functions at the samples; S samples, M functions.

    Attributes
    ----------
    first, step : float
        ln τ of the first sample, and their distance.
    functions, curvature : ndarray, shape (S, M)
        φ and φ″.
    areas : ndarray, shape (S + 1, M)
        ∫φ dy up to each sample, and the whole.
    bounds : ndarray of int, shape (S, 2)
        First and one after the last function that is not negligible.
    smooth : bool
        Whether γ has no kinks.
    cusps : bool
        Whether it has one upwards at every relaxation time of the grid.
    """

    first: float
    step: float
    functions: Array
    curvature: Array
    areas: Array
    bounds: NDArray[np.int64]
    smooth: bool
    cusps: bool = False


def _tables(expansion: Expansion) -> tuple[_Tables, _Tables]:
    """Tables of γ, and of γ averaged."""
    return _cached_tables(expansion.tau.tobytes(), expansion.basis, expansion.mu)


@lru_cache(maxsize=8)
def _cached_tables(tau: bytes, basis: BasisName, mu: float) -> tuple[_Tables, _Tables]:
    expansion = Expansion(np.frombuffer(tau), basis, mu)
    y = np.log(expansion.tau)
    spacing = float(np.median(np.diff(y)))
    beyond = _BEYOND * spacing
    step = max(spacing / _PER_SPACING, (y[-1] - y[0] + 2.0 * beyond) / _MOST_SAMPLES)
    side = kernels.SIDE
    places = y[0] - beyond + step * np.arange(-side, math.ceil((y[-1] - y[0] + 2.0 * beyond) / step) + 1 + side)
    wide = expansion.values(np.exp(places))
    # Central differences of seventh order; the samples resolve a basis function many times over.
    stencil = np.array([1 / 90, -3 / 20, 3 / 2, -49 / 18, 3 / 2, -3 / 20, 1 / 90]) / step**2
    size = places.size - 2 * side
    curvature = np.sum([weight * wide[k : k + size] for k, weight in enumerate(stencil)], axis=0)
    values, at = wide[side:-side], places[side:-side]
    areas = np.vstack([_cumulative(expansion, at), expansion.areas])
    single = _Tables(at[0], step, values, curvature, areas, _bands(values), basis not in _KINKED, basis in _KINKED[:2])
    width = _SMOOTHING * math.log(10.0) / step
    values, curvature = (gaussian_filter1d(table, width, axis=0, mode="nearest") for table in (values, curvature))
    return single, _Tables(at[0], step, values, curvature, areas, _bands(values), True)


def _bands(values: Array) -> NDArray[np.int64]:
    """First and one after the last entry of each row that is not negligible, shape (S, 2)."""
    seen = np.abs(values) > _NEGLIGIBLE * np.abs(values).max()
    last = seen.shape[1] - seen[:, ::-1].argmax(axis=1)
    some = seen.any(axis=1)
    return np.stack([np.where(some, seen.argmax(axis=1), 0), np.where(some, last, 0)], axis=1).astype(np.int64)


def _cumulative(expansion: Expansion, at: Array) -> Array:
    """∫ φ_m dy from −∞ to each place, shape (S, M)."""
    y, kind = np.log(expansion.tau), BASES[expansion.basis].radial
    if kind is None:
        position = np.clip(at, y[0], y[-1])
        # The integral of a piecewise linear function by its values at the nodes and at the end: trapezia.
        edges = np.union1d(y, position)
        nodes = expansion.values(np.exp(edges).clip(expansion.tau[0], expansion.tau[-1]))
        pieces = 0.5 * (nodes[1:] + nodes[:-1]) * np.diff(edges)[:, None]
        sums = np.vstack([np.zeros(y.size), np.cumsum(pieces, axis=0)])
        return np.asarray(sums[np.searchsorted(edges, position)])
    mu, whole = expansion.mu, 2.0 * tail(int(kind), 0.0)
    distance = mu * (at[:, None] - y)
    tails = np.array([tail(int(kind), value) for value in np.abs(distance).ravel()]).reshape(distance.shape)
    return np.asarray(np.where(distance > 0.0, whole - tails, tails) / mu)


def _scaled(problem: Problem, unknowns: Unknowns) -> Array:
    """Unknowns in the scale of the problem's columns, shape (K, N)."""
    extras = [getattr(unknowns, name) for name in problem.extras]
    return np.ascontiguousarray(np.column_stack([unknowns.coefficients, *extras]) * problem.scale)


def _response(factors: SpectralFactors, lam: float) -> tuple[Array, Array]:
    """H⁻¹, and E with x = E b the answer without the sign constraint."""
    filters = factors.filters(np.array([lam]))[0]
    inverse = (factors.modes * filters) @ factors.modes.T
    answer = (factors.modes * (filters * np.sqrt(factors.data_part))) @ factors.data_modes.T
    return np.ascontiguousarray(inverse), np.ascontiguousarray(answer)


def _share_left(problem: Problem, answer: Array) -> float:
    """Share of the freedom of the data that the fit leaves to the noise, at least a tenth."""
    trace = float(np.sum(problem.matrix * answer.T))
    return max(1.0 - trace / len(problem.matrix), 0.1)


def _noise(problem: Problem, unknowns: Unknowns, residual: Array, sigma: Array | None, rows: NDArray[np.intp]) -> Array:
    """Return the standard deviations of the weighted data of some rows, shape (k, n)."""
    found = problem.discretisation
    if sigma is None:
        names = ("coefficients", "r_inf", "inductance", "elastance")
        part = Unknowns(*(getattr(unknowns, name)[rows] for name in names))
        deviation = (
            residual[rows, None].clip(min=_LEAST_NOISE)
            * np.abs(part.impedance(found.frequency, found.impedance))
            / math.sqrt(2.0)
        )
    else:
        deviation = sigma[rows]
    if problem.weights is not None:
        deviation = deviation * problem.weights
    return np.tile(deviation, len(problem.matrix) // found.frequency.size)


def _tiles(regularisation: Array, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Rows that share a λ, some at a time."""
    order = rows[np.argsort(regularisation[rows], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(regularisation[order])) + 1)
    return [group[k : k + _TILE] for group in groups for k in range(0, group.size, _TILE)]


def _table(frequency: Array, tables: _Tables, out: Array, count: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of the answer in physical units."""
    spectrum = np.repeat(np.arange(count.size), count)
    rows = out[np.arange(out.shape[1]) < count[:, None]]
    y, r, height, width, prominence, significance, y_error, r_error, lower, upper, kind = rows.T
    tau = np.exp(tables.first + tables.step * y)
    omega = 2.0 * np.pi * frequency
    return pd.DataFrame(
        {
            "spectrum": spectrum,
            "tau": tau,
            "r": r,
            "c": tau / r,
            "height": height,
            "width": width * tables.step / math.log(10.0),
            "prominence": prominence,
            "significance": significance,
            "tau_error": tau * y_error * tables.step,
            "r_error": r_error,
            "lower": np.exp(tables.first + tables.step * lower),
            "upper": np.exp(tables.first + tables.step * upper),
            "kind": pd.Categorical(np.array(KINDS)[kind.astype(np.int64) - 1], categories=KINDS),
            "inside": (tau >= 1.0 / omega.max()) & (tau <= 1.0 / omega.min()),
        }
    )
