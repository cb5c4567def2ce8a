"""From the spectra of a series, each inverted by itself, to their joint solution."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.joint.breaks import add_breaks, breaks_at_solution, with_breaks
from drt_engine.methods.joint.problem import COARSE, EXACT, EXACT_STEPS, CoarserProblem, SeriesProblem
from drt_engine.methods.joint.search import (
    BEGUN,
    FOUND,
    NEARER_STEPS,
    find_hyperparameters,
    first_hyperparameters,
    reduce_lambda,
)
from drt_engine.methods.joint.solutions import Across, JointSolution, SeparateSolutions, SeriesHyperparameters
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian
from drt_engine.model.problem import Parameters
from drt_engine.steps import Steps

__all__ = ["noise_ratios", "solve_across", "solve_series"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_NORMAL_STEPS = 3
"""Most steps of the descent that begins, with a quadratic coupling."""

_COARSE_STEPS = 30
"""Most steps of each of the two descents of several series that lead near their solution."""

_NEAR = 0.8
"""Share of the work until the solution is near."""

_GRAIN = 2.0**-10
"""Logarithms of hyperparameters are rounded to multiples of this, so that how they were found leaves no trace."""

_START_GRAIN = 2.0**-16
"""Parameters that the search begins with are multiples of this."""

_SEARCHES = 4
"""How often hyperparameters are looked for again, with the breaks that were found."""

_BY_NO_CHANCE, _OTHERS = 4.0, 31
"""Difference of the logarithm of the noise of a spectrum from what is usual, times the root of twice the number of its
points, that is no chance; and most spectra that say what is usual."""


def solve_series(
    prepared: PreparedLogGaussian,
    impedance: ComplexArray,
    position: Array,
    start: SeparateSolutions,
    regularisation: float | None,
    steps: Steps | None = None,
    exponents: tuple[Array, Array] | None = None,
) -> tuple[JointSolution, NDArray[np.bool_]]:
    """Invert a series together.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        What single spectra on the grid share.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm, in order; NaN where there is none.
    position : ndarray, shape (K,)
        Where each stands along the series.
    start : SeparateSolutions
        What was found for the spectra alone.
    regularisation : float or None
        λ, or None for the geometric mean of those of the spectra alone.
    steps : Steps, optional
        Where progress is kept.
    exponents : tuple of ndarray, shape (K,), optional
        n of the tails, as :class:`~drt_engine.methods.joint.problem.SeriesProblem` takes them.

    Returns
    -------
    solution : JointSolution
        That of the series.
    breaks : ndarray of bool, shape (K,)
        Before which spectra the series breaks.
    """
    ratios = noise_ratios(impedance, start)
    problem = SeriesProblem(prepared, impedance, position, exponents=exponents, noise_ratio=ratios)
    lam = _rounded(np.exp(np.log(start.regularisation).mean())) if regularisation is None else regularisation
    found, residual = _find_solution(problem, start, lam, steps or Steps(), given=regularisation is not None)
    return problem.solution(found, problem.noise_of_each(found), residual), problem.breaks


def _find_solution(
    problem: SeriesProblem, start: SeparateSolutions, lam: float, steps: Steps, *, given: bool
) -> tuple[SeriesHyperparameters, float]:
    """Find hyperparameters and solution from those of the single spectra; return them and the residual.

    λ is what the search begins with, or, if it is `given`, what it stays.
    """
    problem.begin(start.parameters)
    # The way is not smooth: the last bits of the start, as units of the impedance leave them, must not decide it.
    problem.chain.y[:] = _START_GRAIN * np.round(problem.chain.y / _START_GRAIN)
    coarser = problem.prepared.coarser
    rough = problem if coarser is None else CoarserProblem(problem, coarser)
    rough_start = rough.chain.y.copy()
    # Without a coarser grid, both are the same.
    steps.on(**(problem.state() | rough.state()))
    for one in (problem, rough):
        one.keep_progress_in(steps)
    several = len(problem.position) > 2
    found = _rounded_but_given(problem, first_hyperparameters(problem, start, lam))
    rough.minimise(found, COARSE, _NORMAL_STEPS, (0.0, BEGUN), normal=True)
    found = find_hyperparameters(rough, found)
    for n in range(_SEARCHES if several else 0):
        rough.update_coupling(found)
        rough.minimise(found, COARSE, NEARER_STEPS, (FOUND, FOUND))
        again = with_breaks(rough, found, rough_start, first=n == 0)
        if again is None:
            break
        found = find_hyperparameters(rough, again)
    found = _rounded_but_given(problem, found if given else reduce_lambda(rough, found))
    problem.set_breaks(rough.breaks)
    problem.set_prior_share(found)
    rough.copy_to_finer()
    problem.update_coupling(found)
    residual = problem.minimise(found, EXACT, EXACT_STEPS, (FOUND, _NEAR))
    # A jump may be sharp on these relaxation times alone.
    if several and rough is not problem and add_breaks(problem, breaks_at_solution(problem, found, _NEAR)[0]):
        problem.update_coupling(found)
        residual = problem.minimise(found, EXACT, EXACT_STEPS, (_NEAR, 1.0))
    return found, residual


def solve_across(
    prepared: PreparedLogGaussian,
    impedance: ComplexArray,
    across: Across,
    start: SeparateSolutions,
    steps: Steps | None = None,
) -> JointSolution:
    """Invert series together that are neighbours in a second state, with known hyperparameters.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        What single spectra on the grid share.
    impedance : ndarray of complex, shape (K, F)
        Impedances of the K = C V states, ohm; NaN where there is none.
    across : Across
        How they are coupled.
    start : SeparateSolutions
        What was found for each line alone. Where there is no impedance, γ of a neighbour.
    steps : Steps, optional
        Where progress is kept.

    Returns
    -------
    JointSolution
        With κ and s along and across.
    """
    problem = SeriesProblem(prepared, impedance, *across.position)
    noise = prepared.normal * np.stack([start.noise_floor / problem.size, start.noise_relative], axis=1) ** 2
    noise = np.where(np.isfinite(problem.given_noise), problem.given_noise, noise)
    lam = float(np.exp(np.log(start.regularisation).mean()))
    residual = _solve_across(problem, start.parameters, (noise, lam), across, steps or Steps())
    found = SeriesHyperparameters(noise[0], lam, float(across.strength[0]), float(across.shift[0]))
    solution = problem.solution(found, noise, residual)
    rows = len(impedance)
    return replace(
        solution,
        coupling_across=np.full(rows, across.strength[1]),
        shift_across=np.full(rows, across.shift[1]),
    )


def _solve_across(
    problem: SeriesProblem, start: Parameters, known: tuple[Array, float], across: Across, steps: Steps
) -> float:
    """Find the solution of several series from solutions of each alone, noise (K, 2) and λ; return the residual."""
    problem.begin(start)
    steps.on(**problem.state())
    problem.keep_progress_in(steps)
    problem.set_breaks_across(across.breaks)
    own = *known, across.strength
    problem.set_coupling(across.strength, across.shift)
    problem.minimise_in_steps(own, COARSE, _COARSE_STEPS, (0.5, 0.6), normal=True)
    problem.minimise_in_steps(own, COARSE, _COARSE_STEPS, (0.6, 0.7))
    # Changes of slope as they are in the solution of all together.
    problem.set_coupling(across.strength, across.shift)
    return problem.minimise_in_steps(own, EXACT, EXACT_STEPS, (0.7, 1.0))


def noise_ratios(impedance: ComplexArray, start: SeparateSolutions) -> Array:
    """Say by how much the noise of each spectrum is larger or smaller than is usual in its series, shape (K,).

    Compared are geometric means of √(a² + b²|Z|²) over the points of the spectrum, with a and b of its own and with
    those of up to 31 others, of which the median counts. It is 1 where the two differ by no more than chance may make
    of so many points, or where the noise is known.

    Parameters
    ----------
    impedance : ndarray of complex, shape (K, F)
        The series, ohm; NaN where there is none.
    start : SeparateSolutions
        What was found for each spectrum alone.
    """
    floor, share, rows = start.noise_floor, start.noise_relative, len(impedance)
    out, size = np.ones(rows), np.abs(impedance)
    if not np.isfinite(floor + share).all():
        return out
    others = np.unique(np.linspace(0, rows - 1, min(rows, _OTHERS)).round().astype(int))
    means = np.empty((rows, others.size + 1))
    for k, z in enumerate(size):
        by = np.append(others, k)
        variance = floor[by, None] ** 2 + (share[by, None] * z[np.isfinite(z)]) ** 2
        means[k] = 0.5 * np.log(variance).mean(axis=1)
    apart = means[:, -1] - np.median(means[:, :-1], axis=1)
    for row in np.flatnonzero(np.abs(apart) > _BY_NO_CHANCE / np.sqrt(2.0 * np.isfinite(size).sum(axis=1))):
        out[row] = _rounded(float(np.exp(apart[row])))
    return out


def _rounded_but_given(problem: SeriesProblem, found: SeriesHyperparameters) -> SeriesHyperparameters:
    """Round the logarithms of hyperparameters; noise that is given stays as it is."""
    noise = np.array([_rounded(value) for value in found.noise])
    noise = np.where(np.isfinite(problem.given_noise), found.noise, noise)
    return found._replace(noise=noise, strength=_rounded(found.strength), shift=_rounded(found.shift))


def _rounded(value: float) -> float:
    """Round the logarithm of a hyperparameter."""
    return float(np.exp(_GRAIN * np.round(np.log(value) / _GRAIN))) if value > 0.0 else value
