"""Peaks of many distributions at once: what noise and the penalty do not make by themselves, and what lies beyond."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.model.basis import BasisName, Expansion
from drt_engine.model.gsvd import GSVD, factorise
from drt_engine.model.problem import Parameters, Problem, row_by_row
from drt_engine.peaks.logarithmic import features
from drt_engine.peaks.noise import LEAST_NOISE
from drt_engine.peaks.options import PeakOptions
from drt_engine.threads import run_tiles
from drt_engine.uncertainty.posterior import TAIL_SLOPE
from drt_kernels import peaks as kernels

if TYPE_CHECKING:
    from drt_engine.uncertainty.posterior import LogPosterior

__all__ = ["EDGE", "find_peaks", "without_edges"]

Array = NDArray[np.float64]

EDGE = "edge"
"""Kind of a row that is no peak but what lies beyond the first or the last one."""

KINDS = ("maximum", "shoulder", EDGE)
"""Kinds of rows; an edge is no peak but what lies beyond the first or the last one."""

_PER_SPACING = 6  # samples between two relaxation times
_BEYOND = 3  # spacings outside the grid, where basis functions end
_MOST_SAMPLES = 4000  # samples of γ, however wide the grid
_MOST_ROWS = 42  # of a spectrum: forty features and its two edges
_PLACES, _LENGTHS = (0, 8, 9), (3, 6)
"""Columns of the kernel that are places and distances in ln τ."""

_NEGLIGIBLE = 1e-9  # share of the largest γ below which its sign is rounding
_SMOOTHING = 0.3
"""Standard deviation, in decades, of the Gaussian that γ is averaged with where λ is too small for single maxima."""

_LEAST_LAMBDA = 1e-5
"""Least λ whose response to noise is that of a solution within the sign constraint, for solutions that show no peak."""

_TILE = 128
"""Spectra whose peaks are found at once by a thread: their γ on the fine grid fit a core's cache."""
_KINKED = ("c0-matern", "cauchy", "piecewise-linear")
"""Bases whose γ has kinks, so that its second derivative means nothing; of the first two only the average of γ has
maxima that mean anything."""


def find_peaks(
    problem: Problem,
    parameters: Parameters,
    regularisation: Array,
    residual: Array,
    options: PeakOptions | None = None,
    sigma: Array | None = None,
    posterior: "Callable[[NDArray[np.intp]], LogPosterior] | None" = None,
    weights: Array | None = None,
) -> pd.DataFrame:
    """Find maxima and shoulders of γ(ln τ), and the resistance beyond the first and the last of them.

    The first and the last peak end in the valley on their outer side, the lowest place of γ between the peak and the
    end of the measured frequencies. If γ rises again beyond it, as it does where a slower or faster process, a Warburg
    tail or a series capacitance lies at or outside of the window, that is a row of its own with kind ``"edge"``; and
    so is a maximum outside of the measured frequencies, and the whole of a γ that shows no peak. The rows of a spectrum
    add up to its polarisation resistance. A row between two valleys has no more than γ integrates to between its lowest
    places there.

    With a posterior of ln γ, significance and errors are told by its covariance, and positions, heights and widths are
    those of parabolas through three values of ln γ. Without one they are told by the response of the solution to noise
    and λ, the factor of the penalty of `problem`. Then, where λ was chosen so small that γ breaks up into spikes of
    which none is significant, γ averaged over 0.3 decades is looked at instead: it is taken where it shows more peaks
    than γ itself.

    Parameters
    ----------
    problem : Problem
        The matrices that the spectra were inverted with; with weights if they have weights in common.
    parameters : Parameters
        The solutions for K spectra. Rows with NaN have no peaks.
    regularisation : ndarray, shape (K,)
        λ of each.
    residual : ndarray, shape (K,)
        Root mean square of |Z_fit − Z| / |Z| of each, from which the noise is estimated.
    options : PeakOptions, optional
        What counts as a peak.
    sigma : ndarray, shape (K, F), optional
        Standard deviation of the real and of the imaginary part at each frequency, ohm, where it is known better than
        by `residual`, which stands for noise in proportion to |Z|. A posterior has a noise of its own.
    posterior : callable, optional
        Posterior of ln γ of some rows, for γ that is piecewise linear; called from several threads at once, for at most
        128 rows. Rows where it is NaN have no peaks.
    weights : ndarray, shape (K, F), optional
        What the data of each spectrum were multiplied by at each frequency, where that differs between spectra.

    Returns
    -------
    DataFrame
        One row a peak or edge, ordered by spectrum and τ.

        ``spectrum``
            Row number among the K.
        ``tau``, ``r``, ``c``
            Position, s, between the relaxation times of the basis functions too; ∫γ d ln τ between the boundaries, ohm;
            τ/R, F. The areas of a spectrum add up to its polarisation resistance. For an edge τ is where γ is largest.
            Where γ is negative, as for an inductive loop, so are R, C, height and prominence; its ranges of one sign
            are looked at one by one.
        ``height``, ``width``
            γ at the peak, ohm; full width at half of that, decades of τ. A side that a neighbour hides is taken as wide
            as the other; where both are hidden the width is that of a Gaussian of the same curvature.
        ``prominence``
            Height above the higher one of the two valleys, ohm; 0 for a shoulder, NaN for an edge.
        ``significance``
            Drop to the valley, or of a shoulder the height above the line through its boundaries, in deviations; NaN
            for an edge, as is the width.
        ``tau_error``, ``r_error``
            Standard deviations by the posterior; that of R with the resistance that each valley may move towards the
            smaller one of the peaks beside it, and with what may lie beyond the last relaxation time. Without one they
            are those that the noise alone gives, at this λ and these boundaries, without what λ and neighbours
            displace; a deconvolution tells that. NaN for τ of a shoulder and of an edge.
        ``lower``, ``upper``
            Boundaries, s: the valleys, or where γ bends up most between two peaks without a valley.
        ``kind``
            ``"maximum"``, ``"shoulder"`` or ``"edge"``; :func:`without_edges` leaves the last ones out.
        ``inside``
            Whether τ is between 1/ω_max and 1/ω_min; of an edge, whether γ is largest there.
        ``averaged``
            Whether the peak was found in, and its position, height, width and prominence are of, the average.
        ``shared``
            How much of R may be that of the rows beside it, or of theirs its own, at most, ohm: areas end at the
            boundaries, and flanks do not. It is no part of ``r_error``; where it is larger than that, deconvolve.

    Raises
    ------
    InputError
        For arrays whose shapes do not go together.
    """
    chosen = PeakOptions() if options is None else options
    rows, frequency = len(parameters.coefficients), problem.discretisation.frequency
    _check_shapes(
        rows,
        frequency.size,
        {"regularisation": regularisation, "residual": residual},
        {"sigma": sigma, "weights": weights},
    )
    limits = chosen.limits(posterior is not None)
    seen = problem.discretisation.expansion.window(frequency)
    if posterior is not None:
        found, number = features(seen, parameters.coefficients, posterior, limits, _MOST_ROWS)
        return _shared(_table(seen, found, number).assign(averaged=False), problem, parameters)
    solutions = _Solutions(parameters, regularisation, residual, sigma)
    found, number, averaged = _by_response(problem, solutions, weights, limits)
    return _shared(_table(seen, found, number).assign(averaged=np.repeat(averaged, number)), problem, parameters)


def _shared(table: pd.DataFrame, problem: Problem, parameters: Parameters) -> pd.DataFrame:
    """Add how much of the resistance of a row may be that of the rows beside it.

    At most all of γ at a boundary is a neighbour's, which goes on with the slope that tails of processes have.
    """
    expansion, spectrum = problem.discretisation.expansion, table["spectrum"].to_numpy()
    shared = np.zeros(len(table))
    beside = {"lower": np.diff(spectrum, prepend=-1) == 0, "upper": np.diff(spectrum, append=-1) == 0}
    for name, here in beside.items():
        if not here.any():
            continue
        values = expansion.values(table[name].to_numpy()[here])
        at = np.einsum("tm,tm->t", values, parameters.coefficients[spectrum[here]])
        shared[here] += np.abs(at) / TAIL_SLOPE
    return table.assign(shared=shared)


def without_edges(peaks: pd.DataFrame) -> pd.DataFrame:
    """Leave out what is no peak but lies beyond the first or the last one.

    Parameters
    ----------
    peaks : DataFrame
        A table of peaks, with a column ``kind``; another table is returned as it is.
    """
    return peaks[peaks["kind"] != EDGE] if "kind" in peaks.columns else peaks


@dataclass(frozen=True, eq=False)
class _Solutions:
    """The solutions for K spectra, their λ and residuals, and σ (K, F) where it is known."""

    parameters: Parameters
    regularisation: Array
    residual: Array
    sigma: Array | None

    def good(self) -> NDArray[np.intp]:
        """Rows that have a solution."""
        known = np.isfinite(self.regularisation) & np.isfinite(self.residual)
        for name in ("coefficients", "r_inf", "inductance", "elastance"):
            finite = np.isfinite(getattr(self.parameters, name))
            known &= finite if finite.ndim == 1 else finite.all(axis=1)
        return np.flatnonzero(known)


def _by_response(
    problem: Problem, solutions: _Solutions, weights: Array | None, limits: tuple[float, float]
) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_]]:
    """Rows of what stands out of what noise and λ do, as the kernels write them with y = ln τ, and how many.

    The last array says which spectra were averaged.
    """
    rows = len(solutions.regularisation)
    tables = _tables(problem.discretisation.expansion)
    out = np.zeros((rows, _MOST_ROWS, kernels.COLUMNS))
    count, averaged = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=bool)
    alike = None if weights is not None else factorise(problem)

    def work(tile: NDArray[np.intp]) -> None:
        if alike is not None:
            found = _of_alike(problem, alike, solutions, tables, tile, limits)
        else:
            own = problem.weighted(weights[tile[0]])  # type: ignore[index]  # weights are given where none are alike
            found = _of_alike(own, factorise(own), solutions, tables, tile, limits)
        out[tile], count[tile], averaged[tile] = found

    good = solutions.good()
    run_tiles(
        work,
        _tiles(solutions.regularisation, good) if alike is not None else [good[k : k + 1] for k in range(good.size)],
    )
    # From numbers of samples to ln τ.
    fine = tables[0]
    out[..., _PLACES] = fine.first + fine.step * out[..., _PLACES]
    out[..., _LENGTHS] *= fine.step
    return out, count, averaged


def _of_alike(
    problem: Problem,
    factors: GSVD,
    solutions: _Solutions,
    tables: "tuple[_Tables, _Tables]",
    tile: NDArray[np.intp],
    limits: tuple[float, float],
) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_]]:
    """Rows, how many, and whether averaged, of spectra that share their λ and weights."""
    found = np.zeros((tile.size, _MOST_ROWS, kernels.COLUMNS))
    number = np.tile(np.array([0, -1]), (tile.size, 1))
    averaged = np.zeros(tile.size, dtype=bool)
    lam = float(solutions.regularisation[tile[0]])
    for assumed in (lam, _LEAST_LAMBDA):
        # Below the least λ the sign constraint regularises and not the penalty, so that its response tells nothing.
        left = np.flatnonzero(number[:, 1] <= 0) if assumed > lam else np.arange(tile.size)
        if left.size and assumed >= lam:
            out = found[left], number[left]
            averaged[left] = _judged(problem, _response(factors, assumed), solutions, tables, tile[left], limits, out)
            found[left], number[left] = out
    return found, number[:, 0], averaged


def _judged(
    problem: Problem,
    response: tuple[Array, Array],
    solutions: _Solutions,
    tables: "tuple[_Tables, _Tables]",
    rows: NDArray[np.intp],
    limits: tuple[float, float],
    out: tuple[Array, NDArray[np.int64]],
) -> NDArray[np.bool_]:
    """Write rows and their number by a response to noise; whether they are of the average."""
    parameters = solutions.parameters.rows(rows)
    x = _scaled(problem, parameters)
    noise = _noise(problem, solutions, rows) / math.sqrt(_share_left(problem, response[1]))
    lost = x - row_by_row(row_by_row(x, problem.transposed), response[1].T)
    row = (x, noise, np.ascontiguousarray(lost))
    seen = problem.discretisation.expansion.window(problem.discretisation.frequency)
    fine, coarse = tables
    if not fine.cusps:
        _find(fine, seen, parameters.coefficients, response, row, limits, out)
    before = out[1][:, 1].copy()
    _find(coarse, seen, parameters.coefficients, response, row, limits, out)
    return np.asarray(out[1][:, 1] > before)


def _find(
    tables: "_Tables",
    seen: tuple[float, float],
    coefficients: Array,
    response: tuple[Array, Array],
    rows: tuple[Array, Array, Array],
    limits: tuple[float, float],
    out: tuple[Array, NDArray[np.int64]],
) -> None:
    """Write what the spectra of a tile show if it is more than is written already, and how many."""
    gamma = row_by_row(coefficients, tables.functions.T)
    bend = -row_by_row(coefficients, tables.curvature.T)
    extra = ((0, 0), (0, rows[0].shape[1] - coefficients.shape[1]))
    given = (np.pad(tables.functions, extra), np.pad(tables.areas, extra), tables.bounds, *response)
    shape = (tables.grain, tables.step, *tables.window(seen))
    kernels.find(gamma, bend, given, rows, limits, shape, *out)


def _check_shapes(rows: int, points: int, by_row: dict[str, Array], by_point: dict[str, Array | None]) -> None:
    for given, expected in ((by_row, (rows,)), (by_point, (rows, points))):
        for name, array in given.items():
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
    grain : int
        Samples from one kink of γ to the next; 1 where it has none.
    cusps : bool
        Whether it has one upwards at every relaxation time of the grid.
    """

    first: float
    step: float
    functions: Array
    curvature: Array
    areas: Array
    bounds: NDArray[np.int64]
    grain: int
    cusps: bool = False

    def window(self, seen: tuple[float, float]) -> tuple[int, int]:
        """First and last sample between the relaxation times that data show, and within the table."""
        low, high = (np.log(seen) - self.first) / self.step
        last = len(self.functions) - 1
        return min(max(math.ceil(low), 0), last), min(max(math.floor(high), 0), last)


def _tables(expansion: Expansion) -> tuple[_Tables, _Tables]:
    """Return tables of the basis functions at samples, for γ itself and for γ smoothed over its grid."""
    return _cached_tables(expansion.tau.tobytes(), expansion.basis, expansion.mu)


@lru_cache(maxsize=8)
def _cached_tables(tau: bytes, basis: BasisName, mu: float) -> tuple[_Tables, _Tables]:
    from scipy.ndimage import gaussian_filter1d

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
    areas = np.vstack([expansion.cumulative(np.exp(at)), expansion.areas])
    grain = max(round(spacing / step), 2) if basis in _KINKED else 1
    single = _Tables(at[0], step, values, curvature, areas, _bands(values), grain, basis in _KINKED[:2])
    width = _SMOOTHING * math.log(10.0) / step
    values, curvature = (gaussian_filter1d(table, width, axis=0, mode="nearest") for table in (values, curvature))
    return single, _Tables(at[0], step, values, curvature, areas, _bands(values), 1)


def _bands(values: Array) -> NDArray[np.int64]:
    """First and one after the last entry of each row that is not negligible, shape (S, 2)."""
    seen = np.abs(values) > _NEGLIGIBLE * np.abs(values).max()
    last = seen.shape[1] - seen[:, ::-1].argmax(axis=1)
    some = seen.any(axis=1)
    return np.stack([np.where(some, seen.argmax(axis=1), 0), np.where(some, last, 0)], axis=1).astype(np.int64)


def _scaled(problem: Problem, parameters: Parameters) -> Array:
    """Parameters in the scale of the problem's columns, shape (K, N)."""
    series_elements = [getattr(parameters, name) for name in problem.series_elements]
    return np.ascontiguousarray(np.column_stack([parameters.coefficients, *series_elements]) * problem.scale)


def _response(factors: GSVD, lam: float) -> tuple[Array, Array]:
    """H⁻¹, and E with x = E b the solution without the sign constraint."""
    filters = factors.filters(np.array([lam]))[0]
    inverse = (factors.modes * filters) @ factors.modes.T
    solution = (factors.modes * (filters * np.sqrt(factors.data_part))) @ factors.data_modes.T
    return np.ascontiguousarray(inverse), np.ascontiguousarray(solution)


def _share_left(problem: Problem, solution: Array) -> float:
    """Share of the freedom of the data that the fit leaves to the noise, at least a tenth."""
    trace = float(np.sum(problem.matrix * solution.T))
    return max(1.0 - trace / len(problem.matrix), 0.1)


def _noise(problem: Problem, solutions: _Solutions, rows: NDArray[np.intp]) -> Array:
    """Return the standard deviations of the weighted data of some rows, shape (k, n)."""
    found = problem.discretisation
    if solutions.sigma is None:
        modulus = np.abs(solutions.parameters.rows(rows).impedance(found.frequency, found.impedance))
        deviation = solutions.residual[rows, None].clip(min=LEAST_NOISE) * modulus / math.sqrt(2.0)
    else:
        deviation = solutions.sigma[rows]
    if problem.weights is not None:
        deviation = deviation * problem.weights
    return np.tile(deviation, len(problem.matrix) // found.frequency.size)


def _tiles(regularisation: Array, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Rows that share a λ, some at a time."""
    order = rows[np.argsort(regularisation[rows], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(regularisation[order])) + 1)
    return [group[k : k + _TILE] for group in groups for k in range(0, group.size, _TILE)]


def _table(seen: tuple[float, float], out: Array, count: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of the solution in physical units."""
    spectrum = np.repeat(np.arange(count.size), count)
    rows = out[np.arange(out.shape[1]) < count[:, None]]
    y, r, height, width, prominence, significance, y_error, r_error, lower, upper, kind = rows.T
    tau = np.exp(y)
    return pd.DataFrame(
        {
            "spectrum": spectrum,
            "tau": tau,
            "r": r,
            "c": tau / r,
            "height": height,
            "width": width / math.log(10.0),
            "prominence": prominence,
            "significance": significance,
            "tau_error": tau * y_error,
            "r_error": r_error,
            "lower": np.exp(lower),
            "upper": np.exp(upper),
            "kind": pd.Categorical(np.array(KINDS)[kind.astype(np.int64) - 1], categories=KINDS),
            "inside": (tau >= seen[0]) & (tau <= seen[1]),
        }
    )
