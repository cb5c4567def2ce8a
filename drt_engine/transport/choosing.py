"""How many arcs a pellet has, and what may be wrong with its resistance."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.progress import shown
from drt_engine.spectra import Spectra
from drt_engine.threads import run_tiles
from drt_engine.transport.arcs import FIXED, Complex, PelletFits, fit_arcs, pellet_impedance, tail_at
from drt_engine.transport.fitting import Array, gradient_deviation
from drt_engine.transport.flags import Flag

__all__ = ["Chosen", "fitted", "grids_of", "structure"]

_TILE = 128
"""Spectra that a thread fits at once."""
_MOST_ARCS = 3
"""Arcs that are tried at most: bulk, grain boundary and one of an interface."""
_BETTER = 10.0
"""Difference of the information criterion from which one more arc is better beyond doubt, R. E. Kass, A. E. Raftery, J.
Am. Stat. Assoc. 90 (1995) 773."""
_STRUCTURE = 4.0
"""Standard deviations by which neighbouring residuals are alike from which they are no noise."""
_APART = 20.0
"""Ratio of time constants below which two arcs may be one of another shape."""
_LOOSE = 5.0
"""Factor by which one more arc may widen the error of the resistance and still be taken as determined."""


@dataclass
class Chosen:
    """Results for the K spectra of a grid.

    Attributes
    ----------
    x, covariance : list of ndarray, shapes (N,) and (N, N)
        Parameters with the most probable number of arcs, and their covariance.
    total, deviation, other : ndarray, shape (K,)
        R_total, ohm, its standard deviation, and what it may be as well.
    arcs : ndarray of int, shape (K,)
        How many arcs are the most probable.
    freedom, residual, optimality : ndarray, shape (K,)
        Degrees of freedom, relative residual, and how far the fit is from its minimum.
    status : ndarray of int, shape (K,)
        Flags.
    """

    x: list[Array]
    covariance: list[Array]
    total: Array
    deviation: Array
    other: Array
    arcs: NDArray[np.intp]
    freedom: Array
    residual: Array
    optimality: Array
    status: NDArray[np.int64]


def grids_of(spectra: Spectra | Mapping[str, Spectra] | Iterable[Spectra]) -> list[Spectra]:
    """Return spectra as a list of those of each frequency grid.

    Raises
    ------
    InputError
        For something else, and for none.
    """
    try:
        own = [spectra] if isinstance(spectra, Spectra) else spectra
        parts = list(own.values() if isinstance(own, Mapping) else own)
    except TypeError as error:
        raise InputError(f"spectra must be Spectra, or several of them; got {type(spectra).__name__}.") from error
    if not parts or not all(isinstance(part, Spectra) for part in parts):
        raise InputError("spectra must be Spectra, or several of them; got something else, or none.")
    if not any(map(len, parts)):
        raise InputError("there is no spectrum; expected one at least. Was a choice made that none fits?")
    return [part for part in parts if len(part)]


def fitted(spectra: Spectra, most: int, factor: Array) -> Chosen:
    """Fit K pellets with up to so many arcs; `factor` (K,) is thickness over area, 1/cm, NaN where it is not known."""
    count = len(spectra)
    omega, z = 2 * np.pi * spectra.frequency, spectra.impedance
    nan = np.full(count, np.nan)
    empty = np.full(FIXED, np.nan)
    out = Chosen(
        x=[empty] * count,
        covariance=[np.full((FIXED, FIXED), np.nan)] * count,
        total=nan.copy(),
        deviation=nan.copy(),
        other=nan.copy(),
        arcs=np.zeros(count, dtype=np.intp),
        freedom=nan.copy(),
        residual=nan.copy(),
        optimality=nan.copy(),
        status=np.full(count, int(Flag.NO_DATA), dtype=np.int64),
    )
    enough = np.sum(np.isfinite(z) & (np.abs(z) > 0), axis=1) >= FIXED + 3 * _MOST_ARCS
    good = np.flatnonzero(enough)

    with shown(good.size, "fitting") as more:

        def work(tile: NDArray[np.intp]) -> None:
            _fit_tile((omega, z[tile], factor[tile]), most, tile, out)
            more(tile.size)

        run_tiles(work, [good[start : start + _TILE] for start in range(0, good.size, _TILE)])
    return out


def _fit_tile(given: tuple[Array, Complex, Array], most: int, tile: NDArray[np.intp], out: Chosen) -> None:
    """Fit every number of arcs, choose, and say what may be wrong."""
    omega, z, factor = given
    steps = [fit_arcs(omega, z, 0, None)]
    for m in range(1, most + 1):
        steps.append(fit_arcs(omega, z, m, steps[-1]))
    data = 2.0 * np.sum(np.isfinite(z) & (np.abs(z) > 0), axis=1).astype(float)
    score = np.stack([_score(step, data) for step in steps])
    best = np.argmin(score, axis=0)
    counted = [step.counted(factor) for step in steps]
    pairs = [step.total(own) for step, (own, _) in zip(steps, counted, strict=True)]
    totals = np.stack([one for one, _ in pairs])
    deviations = np.stack([_deviation(step, gradient) for step, (_, gradient) in zip(steps, pairs, strict=True)])
    total, spread = _averaged(score, totals, deviations)
    flags = np.zeros(tile.size, dtype=np.int64)
    widening = np.ones(tile.size)
    for m, step in enumerate(steps):
        rows = np.flatnonzero(best == m)
        structured, wider = structure(pellet_impedance(omega, step.fits.x[rows]), z[rows])
        flags[rows] |= np.where(structured, int(Flag.MISFIT), 0)
        widening[rows] = np.where(structured, wider, 1.0)
        one = PelletFits(step.fits.take(rows), m)
        own, near = (array[rows] for array in counted[m])
        flags[rows] |= _flags(omega, one, total[rows], (own, near))
        # an arc that may be the electrode's, or the pellet's, is left out, or added
        r = np.where(near, np.exp(one.part("r")), 0.0) * np.where(own, -1, 1)
        out.other[tile[rows]] = total[rows] + r.sum(axis=1)
        for k, row in zip(rows, tile[rows], strict=True):
            out.x[row] = step.fits.x[k]
            out.covariance[row] = step.fits.covariance[k] * step.fits.chi2[k] / step.fits.freedom[k] * widening[k] ** 2
        out.freedom[tile[rows]] = step.fits.freedom[rows]
        out.residual[tile[rows]] = np.sqrt(2 * step.fits.chi2[rows] / data[rows])
        out.optimality[tile[rows]] = step.fits.optimality[rows]
    out.arcs[tile], out.total[tile], out.deviation[tile] = best, total, np.sqrt(spread) * widening
    misfit = np.flatnonzero((flags & int(Flag.MISFIT)) != 0)
    if misfit.size:
        more = fit_arcs(omega, z[misfit], most + 1, PelletFits(steps[-1].fits.take(misfit), most))
        wins = _score(more, data[misfit]) < score.min(axis=0)[misfit] - _BETTER
        other = more.total(more.counted(factor[misfit])[0])[0]
        out.other[tile[misfit]] = np.where(wins, other, out.other[tile[misfit]])
    flags |= _shapes((omega, z, factor), (steps[-1], best == most, totals[-1], deviations[-1]), tile, out)
    out.status[tile] = flags


def _shapes(
    given: tuple[Array, Complex, Array],
    chosen: tuple[PelletFits, NDArray[np.bool_], Array, Array],
    tile: NDArray[np.intp],
    out: Chosen,
) -> NDArray[np.int64]:
    """Flag arcs that overlap, and let intervals reach what they would be as one arc of another shape.

    Depressed semicircles approach such an arc in steps that grow smaller: what is still missing is about as much as one
    more arc brings, as for the arcs of Havriliak and Negami [1]_.

    .. [1] S. Havriliak, S. Negami, Polymer 8 (1967) 161.
    """
    (omega, z, factor), (step, best, totals, deviations) = given, chosen
    flags = np.zeros(tile.size, dtype=np.int64)
    if step.part("tau").shape[1] < 2:
        return flags
    gaps = np.diff(np.sort(step.part("tau"), axis=1), axis=1)
    rows = np.flatnonzero(best & np.any(gaps < np.log(_APART), axis=1) & step.counted(factor)[0].all(axis=1))
    if not rows.size:
        return flags
    count = step.part("tau").shape[1]
    more = fit_arcs(omega, z[rows], count + 1, PelletFits(step.fits.take(rows), count))
    total, gradient = more.total(more.counted(factor[rows])[0])
    # one more arc that is not determined says nothing
    known = _deviation(more, gradient) < _LOOSE * deviations[rows]
    reach = 2.0 * (total - totals[rows])
    # what is reached has an error of its own
    reach = np.where(known, reach + np.sign(reach) * deviations[rows], 0.0)
    further = np.abs(reach) > np.abs(out.other[tile[rows]] - out.total[tile[rows]])
    out.other[tile[rows]] = np.where(further, out.total[tile[rows]] + reach, out.other[tile[rows]])
    flags[rows] = np.where(known, int(Flag.SHAPE), 0)
    return flags


def _averaged(score: Array, totals: Array, deviations: Array) -> tuple[Array, Array]:
    """Average totals over numbers of arcs by their probability; variances with the spread between them [1]_.

    A number of arcs that is twenty times less probable than the best, or that does not determine the total although
    the best does, is left out.

    .. [1] A. E. Raftery, Sociol. Methodol. 25 (1995) 111.
    """
    best = np.argmin(score, axis=0)[None]
    weight = np.exp(-0.5 * (score - score.min(axis=0)))
    loose = deviations > np.maximum(0.1 * totals, 3 * np.take_along_axis(deviations, best, axis=0))
    weight = np.where((weight < 0.05) | loose, 0.0, weight)
    np.put_along_axis(weight, best, 1.0, axis=0)
    weight /= weight.sum(axis=0)
    deviations = np.where(weight > 0, deviations, 0.0)
    total = np.sum(weight * totals, axis=0)
    return total, np.sum(weight * (deviations**2 + (totals - total) ** 2), axis=0)


def _score(step: PelletFits, data: Array) -> Array:
    """Bayesian information criterion, with unknown variance of the noise."""
    return np.asarray(data * np.log(step.fits.chi2 / data) + step.fits.x.shape[1] * np.log(data))


def _deviation(step: PelletFits, gradient: Array) -> Array:
    scale = np.sqrt(step.fits.chi2 / np.maximum(step.fits.freedom, 1))
    return gradient_deviation(gradient, step.fits.covariance) * scale


def structure(fitted: Complex, z: Complex) -> tuple[NDArray[np.bool_], Array]:
    """Whether residuals of neighbouring frequencies are correlated, and the factor by which errors grow for that."""
    known = np.isfinite(z) & (np.abs(z) > 0)
    measured = np.where(known, z, 1.0)
    off = np.where(known, (fitted - measured) / np.abs(measured), 0.0)
    both = known[:, 1:] & known[:, :-1]
    product = np.sum((off[:, 1:] * off[:, :-1].conj()).real * both, axis=1)
    square = np.maximum(np.sum(np.abs(off) ** 2, axis=1), np.finfo(float).tiny)
    correlation = product / square
    structured = correlation * np.sqrt(2 * np.maximum(both.sum(axis=1), 1)) > _STRUCTURE
    bounded = np.clip(correlation, 0.0, 0.9)
    return structured, np.sqrt((1 + bounded) / (1 - bounded))


def _flags(
    omega: Array, step: PelletFits, total: Array, arcs: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> NDArray[np.int64]:
    fits, flags = step.fits, np.zeros(len(total), dtype=np.int64)
    high, _ = tail_at(fits, omega[0])
    low, loose = tail_at(fits, omega[-1])
    counted, near = arcs
    tau, r = np.exp(step.part("tau")), np.exp(step.part("r"))
    large = r > 0.01 * total[:, None]
    inside = counted & large & (tau > 1 / omega[0])
    slow = np.any(counted & large & (tau > 0.3 / omega[-1]), axis=1)
    inductance, n = fits.x[:, 0], fits.x[:, 3]
    with np.errstate(divide="ignore", over="ignore"):
        # where the reactances of tail and inductance are the same, and how large they are there
        crossing = np.exp((fits.x[:, 2] - np.log(inductance)) / (1 + n))
    rules = {
        Flag.ABOVE_WINDOW: ~np.any(inside, axis=1),
        Flag.BELOW_WINDOW: slow,
        Flag.NO_TAIL: (loose > 0.25) | (low < 0.05 * total),
        Flag.ONLY_TAIL: high > total,
        Flag.INDUCTANCE: (inductance > 0) & (inductance * np.minimum(crossing, omega[0]) > total),
        Flag.LOOSE_TAIL: np.any(large & near, axis=1),
    }
    for flag, rule in rules.items():
        flags |= np.where(rule, int(flag), 0)
    return flags
