"""The search of the hyperparameters of a series: its noise, λ, κ and s."""

import math

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.joint.prior import Variances, coupled_freedom
from drt_engine.methods.joint.problem import COARSE, LEAST_VARIANCE, SeriesProblem
from drt_engine.methods.joint.solutions import SeparateSolutions, SeriesHyperparameters
from drt_engine.threads import single_threaded_blas
from drt_kernels import chain as kernel

__all__ = [
    "BEGUN",
    "FOUND",
    "LARGE_SHIFT",
    "NEARER_STEPS",
    "START_STRENGTH",
    "USUAL_SHIFT",
    "common_residual",
    "find_hyperparameters",
    "first_hyperparameters",
    "reduce_lambda",
]

Array = NDArray[np.float64]

START_STRENGTH = 300.0
"""Strength of the coupling that the search begins with: that of the simulated campaigns within a factor of five."""

_START_SHIFT = 0.6
"""The shift that the search begins with: large, so that what moves is not held back before it is seen to move."""

_LEAST, _MOST = 1e-2, 3e3
"""Smallest strength, at which states are as good as independent, and largest: straight lines between relaxation times
are not right to less than the changes of the slope of ln γ that it allows, 0.02, and a jump would cost too much."""

_MOST_OF_FEW, _LEAST_NUMBER = 30.0, 3
"""The same for few differences, times the square of their number, which is taken to be the latter at least: a course
through five states is smooth by chance, and with more than 300 their error is 15 % higher."""

_USUAL, _STEEPER = 24, 4
"""A course that is measured in more steps than this has second differences that fall with the square of their number,
and the largest strength goes with the fourth power."""

USUAL_SHIFT, _LEAST_SHIFT, _SHIFT_WEIGHT = 0.03, 1e-4, 0.02
"""How far processes move in ln τ from state to state before the data are seen; the least; and the weight of that as a
normal distribution of the logarithm of its square has it."""

LARGE_SHIFT = 0.1
"""s above which something may be mistaken for motion: s is 0.001 to 0.1 in smooth series of the benchmark, 0.3 where
processes cross, and 0.2 to 0.6 where a jump was taken for it."""

_SHIFTED = 0.3
"""How much of a change of the logarithm of s counts for that where s is no longer large, and less where it is so small
that it does not matter. A large s is what the search begins with: it must have come to rest by itself."""

_ROUNDS, _SETTLED, _LONGEST = 16, 0.1, 1.5
"""Most rounds of bringing hyperparameters and solution into agreement; change of their logarithms that ends them; and
largest change in a round."""

_LEAST_ROUNDS = 3
"""Rounds that are made in any case."""

_LONG, _LENGTHENED = 12, 2.0
"""From more states on, changes of hyperparameters count by this where two follow each other in one direction: there κ
has a longer way to go."""

_FIRST_STEPS, _STEPS = 5, 2
"""Most steps of the descent in a round of the search, far from the solution and near it, beside the step from where
hyperparameters are found: these need no solution, and what is left of the way is gone in the next round. With one far
from it, processes that cross could be held back for good, and with one near it, 3 of 28 jumps of a resistance by a
factor of two were smeared."""

_AT_REST = 1.0
"""Residual of the solution above which hyperparameters that no longer change have not come to rest, and a round makes
as many steps as the first: at the end of a search it is 0.05 to 0.5. Where the noise is given far too large it was 6,
and s stayed at 0.1 instead of below 0.01."""

NEARER_STEPS = 10
"""Most steps towards the solution before it is looked at for breaks or for whether λ is too large: farther from it, a
jump is in several differences."""

BEGUN, FOUND = 0.1, 0.6
"""Shares of the work until hyperparameters are looked for, and until they are found."""

_TOO_MUCH, _AS_NOISE = 3.0, 1.5
"""How much residuals of all states have in common, in standard deviations of what noise would give, above which λ is
taken to be too large, and to which it is then brought."""

_BY_LAMBDA, _AT_LEAST = 1.4, 0.2
"""Power of λ over that of what residuals have in common: where processes are log-normal or of diffusion, that goes
with the power 0.4 to 0.9 of λ; and below the second of these, λ is not to blame: where peaks are narrower than the
spacing of relaxation times, or the instrument is wrong in all states alike, it is 0.01 to 0.03."""

_REDUCTIONS, _LEAST_STEP, _LEAST_LAMBDA = 6, 0.1, 0.01
"""How often λ is reduced at most, the smallest factor each time, and in all."""

_OUTLYING = 3.0
"""Residuals beyond this many scales of the noise count as this many where they are added over states."""


def first_hyperparameters(problem: SeriesProblem, start: SeparateSolutions, lam: float) -> SeriesHyperparameters:
    """Return what the search begins with: given noise or the median of single spectra, the usual κ, and a large s."""
    floor, share = start.noise_floor / problem.noise_ratio, start.noise_relative / problem.noise_ratio
    found = problem.prepared.normal * np.array([np.median(floor) / problem.size, np.median(share)]) ** 2
    known = np.isfinite(problem.given_noise)
    least = np.where(known, 0.0, LEAST_VARIANCE)
    noise = np.where(known, problem.given_noise, np.maximum(np.nan_to_num(found), least))
    return SeriesHyperparameters(np.asarray(noise), lam, START_STRENGTH, _START_SHIFT)


def find_hyperparameters(problem: SeriesProblem, found: SeriesHyperparameters) -> SeriesHyperparameters:
    """Bring noise, κ and s into agreement with the solution, at the same λ.

    Parameters
    ----------
    problem : SeriesProblem
        The series, with a solution to begin from; it has the new one afterwards.
    found : SeriesHyperparameters
        What the search begins with.
    """
    before, residual = np.zeros(2), np.inf
    length = np.full(2, _LONGEST)
    most = _largest_strength(len(problem.position))
    for n in range(_ROUNDS):
        problem.update_coupling(found)
        problem.update_data()
        progress = BEGUN + (FOUND - BEGUN) * np.array([n, n + 1]) / _ROUNDS
        limit = _FIRST_STEPS if residual > _AT_REST else _STEPS
        if limit > problem.steps_at_once:
            residual = problem.minimise(found, COARSE, limit, (progress[0], progress[1]))
            limit = 0
        estimates = problem.steps.do(
            lambda: _estimates(problem, found, limit),  # noqa: B023 - called at once
            progress[1],
            0 if limit else 2,
        )
        if estimates.size == 1:
            break
        residual = estimates[0] if limit else residual
        noise, wanted = estimates[1:-2], estimates[-2:]
        change = np.log(wanted / [found.strength, found.shift])
        # Halved where it turns round, since the two depend on each other, and doubled again where it goes on.
        length = np.minimum(length * 2.0 ** np.sign(change * before), _LONGEST)
        if len(problem.chain.y) > _LONG:
            change = np.where(change * before > 0.0, _LENGTHENED * change, change)
        before = change.clip(-length, length)
        settled = np.abs(np.log(noise[noise > 0.0] / found.noise[noise > 0.0])).max(initial=0.0)
        strength = min(max(found.strength * np.exp(before[0]), _LEAST), most)
        moved = abs(np.log(strength / found.strength))
        found = found._replace(noise=noise, strength=strength, shift=max(found.shift * np.exp(before[1]), _LEAST_SHIFT))
        # All of what it should change by: a step that was shortened has not come to rest.
        shifted = abs(change[1])
        if found.shift <= LARGE_SHIFT:
            shifted *= _SHIFTED * min(found.shift / USUAL_SHIFT, 1.0)
        if n + 1 >= _LEAST_ROUNDS and residual <= _AT_REST and max(moved, settled, shifted) <= _SETTLED:
            break
    return found


def _largest_strength(states: int) -> float:
    """Return the largest κ of a series of so many states."""
    of_few = _MOST_OF_FEW * max(states - 2, _LEAST_NUMBER) ** 2
    return min(of_few, _MOST * max(states / _USUAL, 1.0) ** _STEEPER)


def _estimates(problem: SeriesProblem, found: SeriesHyperparameters, limit: int) -> Array:
    """Return the residual of the solution, and the noise, strength and shift from it unless that is impossible.

    The factor that these need serves for a step as well.
    """
    residual = problem.descend(found, COARSE, limit) if limit else np.nan

    def estimate() -> Array:
        known = Variances.of(problem)
        return np.array([*_noise_variance(problem, found, known), *_strength_and_shift(problem, found, known)])

    problem.set_noise(found.noise[None])
    problem.chain.use_single_precision(False)
    with single_threaded_blas():
        shown = problem.chain.step_touching(problem.model(found), estimate)
    return np.append(residual, shown)


def _noise_variance(problem: SeriesProblem, found: SeriesHyperparameters, known: Variances) -> Array:
    """Estimate components of the variance of the noise from residuals and the variance of the model."""
    free = ~np.isfinite(problem.given_noise)
    if not free.any():
        return found.noise
    points, chain, grid = problem.chain.precision.shape[1], problem.chain, problem.grid
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(problem.measured, chain.weight / chain.precision, 0.0)
    square = weight * (chain.residual[:, :points] ** 2 + chain.residual[:, points:] ** 2) + known.fit
    parts = problem.variance_parts.transpose(1, 0, 2)[:, problem.measured][free]
    expected, width = grid.noise[0][free], grid.noise[1][free]
    counts, parts = np.full(parts.shape[1], 2.0), np.ascontiguousarray(parts)
    mixture = kernel.Mixture(counts, square[problem.measured], parts, expected, width**-2)
    out = found.noise.copy()
    out[free] = np.maximum(np.exp(kernel.components(mixture, np.log(found.noise[free]))), LEAST_VARIANCE)
    return out


def _strength_and_shift(problem: SeriesProblem, found: SeriesHyperparameters, known: Variances) -> tuple[float, float]:
    """Estimate κ and s from how differences between states change with ln τ.

    By the derivative of the marginal likelihood with the solution held (D. J. C. MacKay, Neural Comput. 4 (1992)
    415): each change counts as far as the data determine it.
    """
    number, chain, ratio = problem.spacing.size, problem.chain, problem.spacing_ratio
    firm, change = chain.coupling_curvature, chain.difference_slopes
    expected = coupled_freedom(problem, found, known) / firm.size
    counts = (expected - firm * known.change).clip(min=1e-3)
    square = firm / (found.strength / ratio * problem.terms.relative) * change**2
    parts = np.stack([np.full(firm.size, ratio), problem.largest_slope_changes().ravel() ** 2])
    start = np.log([1.0 / found.strength, found.shift**2])
    about = np.array([0.0, np.log(USUAL_SHIFT**2)]), np.array([0.0, _SHIFT_WEIGHT])
    kept = ~np.repeat(problem.crosses_break, number)
    parts = np.ascontiguousarray(parts[:, kept])
    log = kernel.components(kernel.Mixture(counts.ravel()[kept], square.ravel()[kept], parts, *about), start)
    return float(np.exp(-log[0])), float(np.exp(0.5 * log[1]))


def reduce_lambda(problem: SeriesProblem, found: SeriesHyperparameters) -> SeriesHyperparameters:
    """Reduce λ as long as residuals that all states have in common show that it holds γ back.

    Parameters
    ----------
    problem : SeriesProblem
        The series, with a solution to begin from; it has the new one afterwards.
    found : SeriesHyperparameters
        What was found with the λ so far.
    """
    least, before, last = _LEAST_LAMBDA * found.lam, found, math.inf
    for _ in range(_REDUCTIONS):
        problem.update_coupling(found)
        problem.minimise(found, COARSE, NEARER_STEPS, (FOUND, FOUND))
        (common,) = problem.steps.do(
            lambda: np.array([common_residual(problem, found)]),  # noqa: B023 - called at once
            FOUND,
        ).tolist()
        if common > last * (found.lam / before.lam) ** _AT_LEAST:
            # It is not λ, but what no γ describes.
            problem.chain.y[:] = problem.fallback
            return before
        if common <= _TOO_MUCH or found.lam <= least:
            break
        before, last = found, common
        problem.fallback[:] = problem.chain.y
        less = max((_AS_NOISE / common) ** _BY_LAMBDA, _LEAST_STEP)
        found = find_hyperparameters(problem, found._replace(lam=max(found.lam * less, least)))
    return found


def common_residual(problem: SeriesProblem, found: SeriesHyperparameters) -> float:
    """Say how much the residuals of all states have in common, in standard deviations of what noise would give.

    What is wrong in all states alike, such as a peak that the prior holds too low, is in each hidden by the noise.
    In the sum over the states it is not. It is the same at neighbouring frequencies, as noise is not: what is
    summed is the product of those, over the mean square of all residuals.
    """
    chain = problem.chain
    problem.set_noise(found.noise[None])
    chain.evaluate(chain.y, problem.model(found))
    parts = chain.residual.reshape(len(chain.y), 2, -1) * np.sqrt(chain.precision)[:, None]
    parts *= np.minimum(1.0, _OUTLYING / np.maximum(np.abs(parts), _OUTLYING))
    number = problem.measured.sum(axis=0)
    mean = parts.sum(axis=0)[:, number > 0] / np.sqrt(number[number > 0])
    square = (parts**2).sum() / max(2 * number.sum(), 1)
    products = mean[:, 1:] * mean[:, :-1]
    return float(products.sum() / np.sqrt(products.size) / square) if square > 0.0 and products.size else 0.0
