"""Solutions put into the arrays of a result, with the status of each spectrum."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.base import Solution, misfits, slow_flank
from drt_engine.methods.joint import SeparateSolutions
from drt_engine.methods.uniqueness import not_unique
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Parameters, row_by_row
from drt_engine.result_fields import PER_SPECTRUM
from drt_engine.spectra import MIN_POINTS, Spectra
from drt_engine.status import Status
from drt_engine.uncertainty.base import areas_between
from drt_engine.uncertainty.intervals import Tile, tiles
from drt_engine.uncertainty.posterior import still_rises
from drt_kernels import certificate

__all__ = [
    "can_be_solved",
    "measured_of",
    "replace_solutions",
    "separate_solutions",
    "status_of_points",
    "store",
    "without_solutions",
]

_MOST_BEYOND = 0.1
"""Share of R_pol beyond the window of the data that is passed over."""

_MOST_OPEN = 0.1
"""−Im Z of the relaxations at the highest frequency as a share of R_pol that is passed over. With more of it, a process
is cut through there, and what of it belongs to R_inf goes by the prior: a finite diffusion element of 60 ohm with a
relaxation time of ten times 1/ω_max, which has 0.23, has 53 with a noise of 1 %, and R_inf the rest."""

_FLANK_SEEN, _LOOP_SEEN = 2.0, 3.0
"""Score, in standard deviations, from which the flank of a process slower than the window is reported, which R_pol
lacks, and from which one of the other sign, an inductive loop, is a misfit. The first is low, since the remark costs
nothing: 0 to 2.5 % of spectra without such a process have it."""

_LEAST_LOOP = 0.003
"""Modulus of the flank of such a loop at the lowest frequency, as a share of the resistance of the sharpest peak, that
counts: peaks that are narrower than the spacing of relaxation times, as those of finite diffusion, leave up to that."""

# As numbers: numpy takes long to find out what a flag is.
_OK, _POINTS_MISSING, _WRONG_SIGN, _NOT_SOLVED = (
    np.uint32(flag) for flag in (Status.OK, Status.POINTS_MISSING, Status.WRONG_SIGN, Status.NOT_SOLVED)
)


def without_solutions(spectra: Spectra, expansion: Expansion, usable: NDArray[np.bool_]) -> dict[str, Any]:
    """Make the arrays of a result by name, NaN so far, with a status for spectra that cannot be inverted.

    Parameters
    ----------
    spectra : Spectra
        K spectra.
    expansion : Expansion
        Basis functions of γ.
    usable : ndarray of bool, shape (K, F)
        Which points are finite.
    """
    names = [name for name in PER_SPECTRUM if name not in ("coefficients", "status")]
    out: dict[str, Any] = dict(zip(names, np.full((len(names), len(spectra)), np.nan), strict=True))
    out["coefficients"] = np.empty((len(spectra), expansion.tau.size))
    out["status"] = status_of_points(spectra.impedance, usable)
    return out


def can_be_solved(status: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether spectra can be inverted, by the status of their points, shape (K,)."""
    return np.asarray((status == _OK) | (status == _POINTS_MISSING))


def status_of_points(z: NDArray[np.complex128], usable: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return the status that spectra have by their points alone, shape (K,).

    Parameters
    ----------
    z : ndarray of complex, shape (K, F)
        Impedances, ohm.
    usable : ndarray of bool, shape (K, F)
        Which of them are finite.
    """
    wrong_sign = _wrong_sign(z, usable)
    if usable.all() and z.shape[1] >= MIN_POINTS:
        return wrong_sign * _WRONG_SIGN
    points = usable.sum(axis=1)
    status = np.where(points < usable.shape[1], Status.POINTS_MISSING, Status.OK)
    status = np.where(wrong_sign, Status.WRONG_SIGN, status)
    status = np.where(points < MIN_POINTS, Status.TOO_FEW_POINTS, status)
    return np.where(points == 0, Status.NOT_FINITE, status).astype(np.uint32)


def _wrong_sign(z: NDArray[np.complex128], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that look capacitive once Im Z is negated.

    Im Z is positive throughout; or, since a negated inductive tail is negative, throughout the lower half of the
    frequencies while Re Z rises there, which Kramers and Kronig do not allow.
    """
    half = z.shape[1] // 2
    with np.errstate(invalid="ignore"):
        positive = (z.imag > 0.0) | ~usable
        lower = positive[:, half:].all(axis=1)
        if not lower.any():
            return np.asarray(lower)
        first = half + usable[:, half:].argmax(axis=1)
        last = z.shape[1] - 1 - usable[:, ::-1].argmax(axis=1)
        rows = np.arange(len(z))
        rises = z.real[rows, last] > z.real[rows, first]
    return np.asarray(positive.all(axis=1) | (lower & rises))


def measured_of(spectra: Spectra, tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Frequencies, Hz, and impedances, ohm, of the spectra and points of a tile."""
    rows, points = tile
    if points.size == spectra.frequency.size:
        return spectra.frequency, spectra.impedance[rows]
    return spectra.frequency[points], np.take(spectra.impedance[rows], points, axis=1)


def store(out: dict[str, Any], tile: Tile, solution: Solution, spectra: Spectra, expansion: Expansion) -> None:
    """Put the solutions of a tile into the arrays of the result `out`, in place of what is there."""
    rows, found = tile[0], solution.parameters
    frequency, z = measured_of(spectra, tile)
    solved = solution.optimality <= OPTIMALITY_TOLERANCE
    beyond = share_beyond(frequency, expansion, found.coefficients)
    status = _remarks(solution, beyond, frequency, z, expansion)
    status[~solved] = _NOT_SOLVED
    out["status"][rows] |= status
    residual = np.empty(len(z))
    certificate.misfit(solution.fit, z, residual)
    with np.errstate(divide="ignore"):
        named = {"capacitance": 1.0 / found.elastance, "tail_q": 1.0 / found.tail}
    named |= {"residual": residual, "r_pol_beyond": beyond}
    whole = bool(solved.all())
    good = rows if whole else rows[solved]
    for name in PER_SPECTRUM:
        values = named.get(name)
        if values is None:
            values = getattr(solution, name, None)
        if values is None:
            values = getattr(found, name, None)
        if values is not None:
            out[name][good] = values if whole else values[solved]
    # These two of a failure as well: they tell why.
    out["regularisation"][rows] = solution.regularisation
    out["optimality"][rows] = solution.optimality


def _remarks(
    solution: Solution,
    beyond: NDArray[np.float64],
    frequency: NDArray[np.float64],
    z: NDArray[np.complex128],
    expansion: Expansion,
) -> NDArray[np.uint32]:
    """Set the flags of :class:`Status` for solutions; `beyond` is the share of R_pol outside the window of the data."""
    found = solution.parameters
    flank, error = slow_flank(solution, z, frequency, expansion)
    open_end = still_rises(expansion, found.coefficients, expansion.window(frequency)[1])
    open_end |= (beyond > _MOST_BEYOND) | (flank > _FLANK_SEEN)
    loop = ~open_end & (flank < -_LOOP_SEEN)
    open_end |= _cut_through(frequency, expansion, found.coefficients)
    if loop.any():
        loop &= -flank * error > _LEAST_LOOP * _sharpest_peak(found, expansion.areas)
    wrong = misfits(solution, z, frequency, expansion) | loop
    out = np.zeros(len(z), dtype=np.uint32)
    for flag, those in (
        (Status.LAMBDA_AT_EDGE, solution.at_edge),
        (Status.SOLVED_BY_CVXPY, solution.by_cvxpy),
        (Status.EXTRAPOLATED, open_end),
        (Status.TAIL_UNCERTAIN, solution.tail_uncertain),
        (Status.ADMITTANCE, found.admittance),
        (Status.DRIFT, (found.drift_fast != 0.0) | (found.drift_slow != 0.0)),
        (Status.NOT_UNIQUE, ~wrong & not_unique(solution, z, frequency, expansion)),
        (Status.MISFIT, wrong),
    ):
        if np.count_nonzero(those):
            out[those] |= np.uint32(flag)
    return out


def _sharpest_peak(parameters: Parameters, areas: NDArray[np.float64]) -> Any:
    """Return the largest resistance that two neighbouring relaxation times have, ohm, shape (K,)."""
    parts = parameters.coefficients * areas
    return (parts[:, 1:] + parts[:, :-1]).max(axis=1)


def share_beyond(frequency: NDArray[np.float64], expansion: Expansion, coefficients: NDArray[np.float64]) -> Any:
    """Share of R_pol at relaxation times outside the window of the data, shape (K,); 0 without any."""
    # Where γ has both signs, parts that cancel are beyond the window none the less.
    coefficients = np.abs(coefficients)
    whole, inside = row_by_row(coefficients, _areas(expansion, frequency.tobytes())).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0.0, np.minimum(np.maximum(1.0 - inside / whole, 0.0), 1.0), 0.0)


def _cut_through(frequency: NDArray[np.float64], expansion: Expansion, coefficients: NDArray[np.float64]) -> Any:
    """Whether the highest frequency is within a process, shape (K,); False for kernels but relaxation."""
    if expansion.kernel != "relaxation":
        return np.zeros(len(coefficients), dtype=bool)
    open_, whole = row_by_row(coefficients, _at_fast_end(expansion, float(frequency.max()))).T
    return (whole > 0.0) & (open_ > _MOST_OPEN * whole)


@lru_cache(maxsize=16)
def _at_fast_end(expansion: Expansion, frequency: float) -> NDArray[np.float64]:
    """−Im Z of the basis functions at a frequency, and their integrals over ln τ, shape (M, 2)."""
    return np.stack([-expansion.impedance(frequency)[0].imag, expansion.areas], axis=1)


@lru_cache(maxsize=16)
def _areas(expansion: Expansion, frequency: bytes) -> NDArray[np.float64]:
    """Integrals of the basis functions over ln τ, and over the window of the data, shape (M, 2)."""
    inside = areas_between(expansion, *expansion.window(np.frombuffer(frequency)))
    return np.stack([expansion.areas, inside], axis=1)


def separate_solutions(out: dict[str, Any], rows: NDArray[np.intp]) -> SeparateSolutions:
    """Return the solutions of some spectra that are in the arrays of the result `out` so far."""
    with np.errstate(divide="ignore"):
        elastance, tail = (1.0 / out[name][rows] for name in ("capacitance", "tail_q"))
    start = Parameters(
        *(out["coefficients"][rows], out["r_inf"][rows], out["inductance"][rows], elastance),
        *(tail, out["tail_exponent"][rows], out["tail_tau"][rows]),
    )
    return SeparateSolutions(start, out["regularisation"][rows], out["noise_floor"][rows], out["noise_relative"][rows])


def replace_solutions(
    spectra: Spectra, out: dict[str, Any], expansion: Expansion, rows: NDArray[np.intp], solution: Solution
) -> None:
    """Put joint solutions of some spectra into the arrays of the result `out`, in place of those of each alone."""
    out["status"][rows] &= ~np.array(Status.MISFIT | Status.EXTRAPOLATED | Status.NOT_UNIQUE, dtype=out["status"].dtype)
    for which, points in tiles(np.isfinite(spectra.impedance[rows]), np.arange(rows.size), rows.size):
        store(out, (rows[which], points), solution.part(which, points), spectra, expansion)
