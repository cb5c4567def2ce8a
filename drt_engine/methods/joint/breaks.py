"""Where a series breaks: jumps from one state to the next, told from processes that move."""

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.joint.problem import COARSE, SeriesProblem
from drt_engine.methods.joint.search import FOUND, LARGE_SHIFT, START_STRENGTH, USUAL_SHIFT
from drt_engine.methods.joint.solutions import SeriesHyperparameters

__all__ = ["add_breaks", "breaks_at_solution", "with_breaks"]

Array = NDArray[np.float64]

_OPPOSITE, _HIGH, _HIGHER, _TWICE = 0.9, 3.0, 4.0, 2.0
"""How alike, but for their sign, neighbouring differences are at a break, and how large both are at least: the sum over
relaxation times of ln(1 + q), itself, against the median of the others, and against the next ones. It is 7 in both
where a resistance doubles, and between smooth states the likeness is below 0.7."""

_CALM = 3.0
"""Median size of the differences, in the same measure, below which nothing moves far once they are held together: it is
0.3 to 1 then, and 10 to 40 where processes cross and along temperature."""

_MANY = 12
"""Fewest states of which the search begins again: of ten that drift fast, it then ended with s of 0.01 to 0.05 instead
of 0.1 and an error 15 % higher."""

_HELD_STEPS = 60
"""Most steps of the descent that tells motion from breaks."""


def with_breaks(
    problem: SeriesProblem, found: SeriesHyperparameters, start: Array, *, first: bool
) -> SeriesHyperparameters | None:
    """Let the series break at jumps; return what the search is to begin with again, None if it is done.

    A jump that is held makes κ small or s large, and others are not seen beside it.

    Parameters
    ----------
    problem : SeriesProblem
        The series at its solution.
    found : SeriesHyperparameters
        What was found with the breaks so far.
    start : ndarray, shape (K, N)
        What the search began with, as `problem.chain.y` has it.
    first : bool
        Whether this is the first time.
    """
    broken, high = breaks_at_solution(problem, found, FOUND)
    if add_breaks(problem, broken):
        return found
    moving = found.shift > LARGE_SHIFT
    if not (moving or high):
        return None
    held = found._replace(strength=START_STRENGTH, shift=USUAL_SHIFT)
    *also, usual = problem.steps.do(lambda: _breaks_without_motion(problem, held, found, start), FOUND).tolist()
    if add_breaks(problem, np.array(also)):
        return found
    return held if first and moving and usual < _CALM and len(problem.chain.b) >= _MANY else None


def breaks_at_solution(problem: SeriesProblem, found: SeriesHyperparameters, progress: float) -> tuple[Array, bool]:
    """Find where the series breaks at the solution, and whether two neighbouring differences are far above the others.

    Where κ is large and s small already, a jump may have been drawn apart over several states.

    Parameters
    ----------
    problem : SeriesProblem
        The series at its solution.
    found : SeriesHyperparameters
        Its hyperparameters.
    progress : float
        How much of the whole work is done then.

    Returns
    -------
    broken : ndarray, shape (K − 3,)
        1 where it breaks before a state, from the third one on; 0 elsewhere.
    high : bool
        Whether two differences are.
    """

    def look() -> Array:
        broken, height = _breaks(problem, found)
        lower = np.minimum(height[1:], height[:-1])
        return np.append(broken, lower.max(initial=0.0) > max(_HIGH, _HIGHER * float(np.median(height))))

    *broken, high = problem.steps.do(look, progress).tolist()
    return np.array(broken), high > 0.0


def add_breaks(problem: SeriesProblem, broken: Array) -> bool:
    """Let the series break at more places, as :func:`breaks_at_solution` has them; return whether any is new."""
    breaks = problem.breaks.copy()
    breaks[2:-1] |= broken > 0.0
    if (breaks == problem.breaks).all():
        return False
    problem.set_breaks(breaks)
    return True


def _breaks_without_motion(
    problem: SeriesProblem, held: SeriesHyperparameters, found: SeriesHyperparameters, start: Array
) -> Array:
    """Find where the series breaks if little is expected to move, and how large differences usually are then.

    In a short series, or if a resistance is many times larger after it, a jump is taken for processes that move
    far in each step. Held together, it remains in one place, and processes that move are drawn apart in all.
    """
    y = problem.chain.y.copy()
    if found.shift <= LARGE_SHIFT:
        # What was drawn apart does not come together again.
        problem.chain.y[:] = start
    problem.update_coupling(held)
    residual = problem.descend(held, COARSE, _HELD_STEPS)
    broken, height = _breaks(problem, held)
    problem.chain.y[:] = y
    problem.update_coupling(found)
    # On the way, what is still to be moved looks like breaks.
    return np.append(broken, np.median(height)) if residual <= COARSE else np.append(broken & False, np.inf)


def _breaks(problem: SeriesProblem, found: SeriesHyperparameters) -> tuple[NDArray[np.bool_], Array]:
    """Whether the series breaks between the middle states of neighbouring differences, (R − 1,); sizes of these, (R,).

    A jump appears in both with opposite sign, and far above what Student's distribution expects; a course that
    bends quickly appears in several with either sign.
    """
    weight = found.strength / problem.spacing_ratio * problem.terms.relative
    changes = np.sqrt(weight) * problem.chain.changes(problem.chain.y)[1]
    height = problem.spacing_ratio * np.log1p(changes**2).sum(axis=1)
    length = np.sqrt((changes**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        opposite = -np.sum(changes[1:] * changes[:-1], axis=1) / (length[1:] * length[:-1])
    lower = np.minimum(height[1:], height[:-1])
    broken = (lower > _HIGH) & (opposite > _OPPOSITE)
    for r in np.flatnonzero(broken):
        # Of few differences, the two across a break are a large part.
        others = np.delete(height, [r, r + 1])
        broken[r] = others.size > 0 and lower[r] > _HIGHER * np.median(others)
        # One spectrum that is off by itself shows in three differences, twice as far in the middle one.
        beside = height[[n for n in (r - 1, r + 2) if 0 <= n < height.size]].max(initial=0.0)
        broken[r] &= lower[r] > _TWICE * beside
    return np.asarray(broken), height
