"""Newton's method for the joint problem of a series of spectra, and variances from its matrix.

Axes in the comments: k = states of a series in order, f = frequencies, q = data (real parts, then imaginary ones),
j = unknowns of a state (ln γ at m relaxation times, then R_inf, L and 1/C), r = differences between states.

What is minimised over all y_k = (u_k, x_k), x_k ≥ 0, is the sum of the objectives of the single spectra, as
:mod:`drt_kernels.log_gaussian` has them with the prior times ω, and for differences e = Σ_k t_k u_k of first and second
order along the series

    Σ_r Σ_m (1 + ν)/2 ln(1 + κ g_rm² / ν) + ½ κ₀ ∫ e_r² d ln τ,    g_rm = (e_{m+1} − e_m) / √h_m,

a distribution of Student for how e changes with ln τ: most of it is zero, and where a process moves or jumps it is not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from drt_engine.solvers.blocks import BlockMatrix
from drt_kernels import blas
from drt_kernels import chain as kernel

if TYPE_CHECKING:
    from drt_kernels.log_gaussian import Grid

__all__ = ["LEVEL", "NU", "Chain", "Model", "Terms"]

Array = NDArray[np.float64]

NU, LEVEL = 1.0, 0.1
"""Degrees of freedom of how e changes with ln τ, and κ₀, which holds e itself where no data do."""

_NEAR = 0.3
"""Below this residual Newton's matrix is tried first."""

_LONGEST = 3.0
"""Largest change of ln γ in a step."""

_RIDGE = 1e-11
"""Share of the prior's curvature that is added to it: where γ vanishes, nothing else holds a common factor of it."""

_HALVINGS, _ROUNDING, _RESIDUAL_ROUNDING = 40, 1e-13, 1e-15
"""A step may be halved this often; a decrease below this share of the objective is rounding; and rounding errors of a
component of a residual: data are divided by their size, so it is a sum of numbers below 1."""

_OLD, _OLD_TURNS = 0.01, 12
"""Below this residual a factor serves for further steps, as long as so many turns of conjugate gradients are enough."""

_SHORT, _LEAST_FLOOR, _STIFFER = 0.3, 0.2, 3.0
"""Far from the solution, a term counts at least by a share of the curvature of its parabola, at first by all of it: by
more where a step had to be made shorter than the first of these, and by less, down to the second, where it had not. Of
a series, the one term that a step is too long for makes it short for all."""

_FEW, _LITTLE, _LEAST_HEIGHT = 32, 0.02, 1e-9
"""How many differences are looked at by themselves in a step, at most, those that are off by more than this share of
what the objective is to fall by: two or three of a few thousand would shorten ten steps."""

_FEW_ROUNDS, _FEW_SETTLED = 60, 1e-3
"""Most rounds of that, and what the objective falls by in the last."""

_FIRST_LENGTH, _DOUBLINGS = 1e-3, 11
"""Change of ln γ that a step from a saddle begins with, and how often it is doubled at most."""

_CLOSE = 1e-8
"""What is below this and no longer halves has met rounding."""

_SHARE, _LEAST_SHARE, _TURNS = 0.2, 1e-6, 400
"""Steps by conjugate gradients are solved to this share of the error, less near the solution, in at most so many turns:
to a hundredth, two columns took twice as long, for solutions as good."""

_OFTEN = 20
"""After so many of these progress is reported."""

_TRUE, _TAMED, _TOUCHING, _NONE = range(4)
"""Which second derivative is factored: the true one; with what may make it indefinite held up, term by term; that of
parabolas that touch from above; and that none of them is positive definite."""


class Terms(NamedTuple):
    """Differences between states that are expected to be small."""

    state: NDArray[np.int64]  # (r,3) which states; the last is -1 for a difference of two
    coefficient: Array  # (r,3)
    kind: NDArray[np.int64]  # (r) which strength it has; states of those of kind 0 are neighbours in the chain
    relative: Array  # (r,m-1) share of the strength


@dataclass(frozen=True, eq=False)
class Model:
    """What the objective depends on beside the data.

    Attributes
    ----------
    strength : ndarray, shape (2,) or (1,)
        κ of each kind of difference.
    lam : float
        λ.
    share : float
        ω, what share of the single priors counts.
    normal : bool
        Whether the coupling is quadratic.
    """

    strength: Array
    lam: float
    share: float
    normal: bool = False


class Chain:
    """The data of a series, its solution so far, and Newton's matrix there.

    Parameters
    ----------
    b : ndarray, shape (K, 2 F)
        Data of K states, divided by their size; line after line where lines are held together.
    grid : Grid
        What spectra on the grid share.
    terms : Terms
        Differences.
    width : ndarray, shape (M,)
        Of the relaxation times in ln τ.
    courses : ndarray, shape (I, C)
        Courses across C lines, of which each is orthogonal to the others; none for one line.
    last : ndarray, shape (K, 2 F) or (0, 2 F)
        Columns of the last unknown where each state has its own.
    """

    def __init__(self, b: Array, grid: "Grid", terms: Terms, width: Array, courses: Array, last: Array) -> None:
        states, logs, size = len(b), grid.logs, grid.size
        self.b, self.grid, self.terms, self.width, self.courses = b, grid, terms, width, courses
        columns = np.ascontiguousarray(grid.columns[:size])  # (j,q)
        if len(last):
            columns = columns.copy()
            columns[-1] = 0.0
        self._rows = {kind: columns.astype(kind) for kind in (np.float64, np.float32)}
        near = terms.kind == 0
        self._across = bool((~near).any())
        self._differences = kernel.Differences(
            np.ascontiguousarray(terms.state, dtype=np.int64),
            np.ascontiguousarray(terms.coefficient),
            near,
            np.ones((len(near), logs - 1)),
            np.zeros(logs),
            NU,
            False,
        )
        lines = courses.shape[1] if len(courses) else 1
        reach = int((terms.state[near].max(axis=1) - terms.state[near, 0]).max(initial=0))
        shape = states + len(courses) * (states // lines), reach, size
        self.matrix = self._whole = BlockMatrix(*shape)
        self._rough = self._whole.in_single_precision()
        self.precision = np.zeros((states, b.shape[1] // 2))
        self._given = kernel.Given(blas.routines("d"), b, columns, columns**2, last, self.precision, 0.0, 0.0)
        self.y = np.zeros((states, size))
        self.known = np.zeros((states, logs - 2))  # variance of the bends, where it is to count
        self.spread = np.zeros((len(terms.kind), logs - 1))  # variance of g, where it is to count
        self.floor = 1.0  # least share of a parabola's curvature
        self._falling: Array | None = None  # direction of negative curvature that conjugate gradients have met
        self.coupling_divisor = 1.0  # how much weaker the coupling is taken to be in the matrix of parabolas

    def use_single_precision(self, single: bool) -> None:
        """Choose whether Newton's matrix is in single precision, which halves the time."""
        self.matrix = self._rough if single else self._whole

    def report_to(self, tick: Callable[[float], None]) -> None:
        """Call a function with the progress of factoring or inverting the matrix, from 0 to 1."""
        self._whole.tick = self._rough.tick = tick

    # ---- objective

    def curves(self, gamma: Array) -> Array:
        """Compute the part of γ in the data, shape (K, 2 F)."""
        return np.asarray(gamma @ self._given.columns[: self.grid.logs])

    def forces(self, change: Array) -> Array:
        """Compute what a change of the model in the data, shape (K, 2 F), changes the gradient by, shape (K, N)."""
        weighted = np.tile(self.weight, 2) * change
        out = weighted @ self._given.columns.T
        if len(self._given.last):
            out[:, -1] = (weighted * self._given.last).sum(axis=1)
        out[:, : self.grid.logs] *= self.value[:, : self.grid.logs]
        return np.asarray(out)

    def evaluate(self, y: Array, model: Model) -> float:
        """Value of the objective; leaves what derivatives are made from."""
        self._differences = self._differences._replace(
            weight=model.strength[self.terms.kind, None] * self.terms.relative,
            level=LEVEL * self.width,
            normal=model.normal,
        )
        self._given = self._given._replace(lam=model.lam, share=model.share)
        self._here = kernel.evaluate(self._given, self.grid, self._differences, y)
        return float(self._here.total)

    @property
    def value(self) -> Array:
        """γ and the elements, shape (K, N)."""
        return np.asarray(self._here.value)

    @property
    def residual(self) -> Array:
        """Of the data, shape (K, 2 F)."""
        return np.asarray(self._here.residual)

    @property
    def difference_slopes(self) -> Array:
        """How the differences change with ln τ, g, shape (R, M − 1)."""
        return np.asarray(self._here.share)

    @property
    def coupling_curvature(self) -> Array:
        """Curvature of parabolas that touch the term of each g in the objective from above, shape (R, M − 1).

        With the variance of g, where `spread` has it, it is the expected precision of the mixture of normal
        distributions that Student's distribution is.
        """
        d, q = self._differences, self._here.q
        return np.asarray(d.weight if d.normal else d.weight * (1.0 + NU) / (NU + q + d.weight * self.spread))

    def changes(self, y: Array) -> tuple[Array, Array]:
        """Differences e of ln γ along the states, shape (R, M), and g, shape (R, M − 1), at some point."""
        e = kernel.differ(y, self.grid.logs, self._differences)
        # `slope` holds 1/h.
        return e, np.diff(e, axis=1) * np.sqrt(self.grid.slope)

    def differentiate(self) -> float:
        """Gradient at the point evaluated last, which elements are free; return the largest |g_j / d_j|."""
        self._slope = kernel.differentiate(self._given, self.grid, self._differences, self.y, self._here)
        return float(self._slope.worst)

    @property
    def gradient(self) -> Array:
        """Of the objective, shape (K, N)."""
        return np.asarray(self._slope.gradient)

    @property
    def weight(self) -> Array:
        """Of the data, shape (K, F)."""
        return np.asarray(self._slope.weight)

    @property
    def free(self) -> Array:
        """1 where an unknown may move, 0 where it is held at zero, shape (K, N)."""
        return np.asarray(self._slope.free)

    # ---- Newton's matrix

    def build(self, mode: int, model: Model) -> None:
        """Make the second derivative of the objective."""
        self._derive(mode, model)
        matrix = self.matrix
        kernel.fill(
            *(matrix.routines, matrix.own, matrix.off, self._rows[matrix.own.dtype.type]),
            *(self._given.last, self._curvature, self._differences),
        )
        if self._across:
            self._fill_courses()

    def _derive(self, mode: int, model: Model) -> None:
        """Find what the second derivative consists of."""
        least = {_TRUE: -math.inf, _TAMED: self.floor, _TOUCHING: 1.0}[mode]
        curved = self._here.firm if mode < _TOUCHING else self.coupling_curvature / self.coupling_divisor
        if mode < _TOUCHING and not model.normal:
            curved = curved * np.maximum((NU - self._here.q) / (NU + self._here.q), least)
        self._curvature = kernel.derive(
            *(self._given, self.grid, self._here, self._slope, least, self.known, self.dual, curved),
        )

    def _fill_courses(self) -> None:
        """Blocks of courses across lines, from the blocks of all lines.

        A course φ_i has, at each place along the lines, one state for all lines: lines are coupled so strongly that
        what changes slowly across them could not be found by moving one at a time. How courses are coupled by the data
        is left out.
        """
        states, matrix = len(self.y), self.matrix
        courses, lines = self.courses.shape
        length = states // lines
        for blocks in (matrix.own, matrix.off):
            flat = blocks[:states].reshape(lines, -1)
            # The upper half does not count and holds what was left in memory: in other digits, that may be anything.
            with np.errstate(invalid="ignore", over="ignore"):
                blocks[states:] = ((self.courses**2) @ flat).reshape(blocks[states:].shape)
        rows = np.flatnonzero(self.terms.kind > 0)
        state, curved = self._differences.state[rows], self._curvature.curved[rows]
        place, number = state[:, 0] % length, np.maximum(state, 0) // length
        coefficient = self.terms.coefficient[rows] * (state >= 0)
        # What differences across lines add to the blocks of each state.
        diagonal, beside = np.zeros((states, self.width.size)), np.zeros((states, self.width.size - 1))
        for p in range(3):
            share = coefficient[:, p, None] ** 2
            np.add.at(diagonal, np.maximum(state[:, p], 0), share * LEVEL * self.width)
            np.add.at(beside, np.maximum(state[:, p], 0), share * curved)
        diagonal[:, 1:] += beside
        diagonal[:, :-1] += beside
        _add_diagonal(matrix.own[:states], 0, diagonal)
        _add_diagonal(matrix.own[:states], 1, -beside)
        for i in range(courses):
            total = (coefficient * self.courses[i][number]).sum(axis=1) ** 2
            diagonal, beside = np.zeros((length, self.width.size)), np.zeros((length, self.width.size - 1))
            np.add.at(diagonal, place, total[:, None] * LEVEL * self.width)
            np.add.at(beside, place, total[:, None] * curved)
            diagonal[:, 1:] += beside
            diagonal[:, :-1] += beside
            block = matrix.own[states + i * length : states + (i + 1) * length]
            _add_diagonal(block, 0, diagonal)
            _add_diagonal(block, 1, -beside)

    def multiply(self, v: Array) -> Array:
        """Multiply the whole matrix that was built last by v, shape (K, N)."""
        return np.asarray(kernel.multiply(self._given, self._curvature, self._differences, v))

    def _factor_from(self, mode: int, model: Model) -> int:
        """Factor in the first mode, from a given one on, whose matrix is positive definite; return it, or `_NONE`."""
        while mode < _NONE:
            self.build(mode, model)
            if self.matrix.factor():
                return mode
            mode += 1
        return mode

    def _is_indefinite(self, model: Model) -> bool:
        """Tell whether the true second derivative is seen not to be positive definite.

        By how the solution, with the factor of a step before, would answer a force at the difference whose term is the
        most concave: that tells three of four, and none wrongly, and takes a tenth of a factor that cannot be made.
        """
        self._derive(_TRUE, model)
        curved = self._curvature.curved / self.grid.slope
        r, m = np.unravel_index(int(curved.argmin()), curved.shape)
        if curved[r, m] >= 0.0:
            return False
        right = np.where(self._curvature.held > 0.0, 0.0, self._forces_at(np.array([r]), np.array([m]))[0])
        way = self.matrix.solve(right[None])[0]
        return float((way * self.multiply(way)).sum()) < 0.0

    def _forces_at(self, r: NDArray[np.intp], m: NDArray[np.intp]) -> Array:
        """Return forces at some g, of difference r and interval m, shape (J, K, N)."""
        out, number = np.zeros((len(r), *self.y.shape)), np.arange(len(r))
        for state, coefficient in zip(self.terms.state[r].T, self.terms.coefficient[r].T, strict=True):
            each = np.where(state >= 0, coefficient * np.sqrt(self.grid.slope[m]), 0.0)
            out[number, state, m + 1] += each
            out[number, state, m] -= each
        return out

    def solve(self, right: Array, share: float = _LEAST_SHARE) -> Array:
        """Solve with what was factored last, right = H x, shape (n, K, N); across lines to a share of the error."""
        right = np.where(self._curvature.held > 0.0, 0.0, right)
        if self._across:
            return np.stack([self._conjugate(each, share)[0] for each in right])
        return self.matrix.solve(right)

    def _precondition(self, left: Array) -> Array:
        """Add the solutions within lines and along courses."""
        if not self._across:
            return np.asarray(self.matrix.solve(left[None])[0])
        lines = self.courses.shape[1]
        across = left.reshape(lines, -1)
        whole = np.vstack([left, (self.courses @ across).reshape(-1, left.shape[1])])
        found = self.matrix.solve(whole[None])[0]
        out = found[: len(left)] + (self.courses.T @ found[len(left) :].reshape(len(self.courses), -1)).reshape(
            left.shape
        )
        # A row of the identity has nothing to be moved.
        out[self._curvature.held > 0.0] = 0.0
        return np.asarray(out)

    def _conjugate(self, right: Array, tolerance: float, turns: int = _TURNS) -> tuple[Array, bool]:
        """Solve with the whole matrix by conjugate gradients preconditioned by the factor; and whether that was done.

        The factor leaves out how states of different lines are coupled, or is that of an earlier step. Where the matrix
        is not positive definite, what is returned is a direction in which the objective falls. `tolerance` is that of
        the error in the norm of the preconditioner, of what it is at first.
        """
        out, left, self._falling = np.zeros_like(right), right.copy(), None
        way = at = self._precondition(left)
        first = size = float((left * at).sum())
        for n in range(turns):
            if n % _OFTEN == 0:
                self.matrix.tick(n / turns)
            if size <= tolerance * tolerance * first:
                return out, True
            image = self.multiply(way)
            with np.errstate(over="ignore", invalid="ignore"):
                curvature = float((way * image).sum())
            if not 0.0 < curvature < math.inf:
                self._falling = way
                # What was found so far goes downhill, and so does the first direction.
                return (way if n == 0 else out), False
            length = size / curvature
            out += length * way
            left -= length * image
            at = self._precondition(left)
            before, size = size, float((left * at).sum())
            way = at + size / before * way
        return out, size <= tolerance * tolerance * first

    # ---- the way down

    def descend(self, model: Model, tolerance: float, limit: int) -> float:
        """Minimise from `y` on; return the stationarity residual.

        It is the largest |g_j / d_j| over all states, with d_j² the diagonal of the Gauss-Newton matrix.
        """
        phi = self.evaluate(self.y, model)
        residual = self.differentiate()
        self.dual = self._here.ratio / self._here.root
        mode, before, free, self.floor = _NONE, math.inf, self.free, 1.0
        for _ in range(limit):
            if not residual > tolerance:
                break
            step = None
            if mode < _NONE and residual < _OLD and not self._across and (self.free == free).all():
                step = self._step_from_old(residual, phi, model)
            if step is None:
                # Newton's matrix near the solution and once it has been positive definite.
                first = _TOUCHING if model.normal else (_TRUE if mode == _TRUE or residual < _NEAR else _TAMED)
                hopeless = first == _TRUE and mode == _TAMED and not self._across and self._is_indefinite(model)
                mode, free = self._factor_from(_TAMED if hopeless else first, model), self.free
                # With few digits it may seem to be indefinite.
                if self.matrix is self._rough and (mode == _NONE or (mode > first == _TRUE and residual < _OLD)):
                    self.use_single_precision(False)
                    mode = self._factor_from(_TAMED if mode == _NONE else _TRUE, model)
                if mode == _NONE:
                    break
                step = -self.solve(self.gradient[None], max(_SHARE * min(residual, 1.0), _LEAST_SHARE))[0]
                if not (model.normal or self._across):
                    step = self._corrected(step)
            phi = self._line_search(step, phi, model)
            before, residual = residual, self.differentiate()
            if residual <= _CLOSE and residual > 0.5 * before:
                break
        return residual

    def _step_from_old(self, residual: float, phi: float, model: Model) -> Array | None:
        """Newton's step by conjugate gradients with the factor of a step before; None where that is of no use."""
        self._derive(_TOUCHING if model.normal else _TRUE, model)
        right = np.where(self._curvature.held > 0.0, 0.0, self.gradient)
        found, done = self._conjugate(right, max(_SHARE * min(10.0 * residual, 1.0), _LEAST_SHARE), _OLD_TURNS)
        if done:
            return -found
        return None if self._falling is None else self._step_from_saddle(-self._falling, phi, model)

    def _step_from_saddle(self, way: Array, before: float, model: Model) -> Array:
        """Step along a direction of negative curvature as long as the objective falls; return the step.

        Newton's steps grow slowly there, by a share of their length.
        """
        logs = self.grid.logs
        way[:, logs:] *= self.free[:, logs:]
        length = _FIRST_LENGTH / float(np.abs(way).max())
        for _ in range(_DOUBLINGS):
            trial = self.y + 2.0 * length * way
            trial[:, logs:] = np.maximum(trial[:, logs:], 0.0)
            phi = self.evaluate(trial, model)
            if not phi < before:
                break
            before, length = phi, 2.0 * length
        self.evaluate(self.y, model)
        return length * way

    def _corrected(self, step: Array) -> Array:
        """Correct the few differences that a step changes by more than its parabolas hold for.

        What they are changed by, and the rest with them, is a combination of the solutions for a force at each; that is
        a problem of their number alone.
        """
        here, slope, weight = self._here, self.grid.slope, self._differences.weight
        curved, change = self._curvature.curved / slope, self.changes(step)[1]
        force = here.firm * here.share
        q = weight * (here.share + change) ** 2
        above = 0.5 * (1.0 + NU) * np.log((NU + q) / (NU + here.q)) - change * (force + 0.5 * curved * change)
        height = np.abs(above).ravel()
        chosen = np.flatnonzero(height > max(-_LITTLE * float((step * self.gradient).sum()), _LEAST_HEIGHT))
        chosen = chosen[np.argsort(-height[chosen], kind="stable")[:_FEW]]
        if not chosen.size:
            return step
        r, m = np.unravel_index(chosen, change.shape)
        way = self.solve(self._forces_at(r, m))
        moved = np.stack([self.changes(one)[1][r, m] for one in way], axis=1)
        some = (each[r, m] for each in (change, here.share, weight, force, curved))
        amended = step + np.tensordot(_few_forces(0.5 * (moved + moved.T), *some), way, axes=1)
        # Where the rest is not held by anything, nothing ends how far these go.
        falls = float((amended * self.gradient).sum()) < _LITTLE * float((step * self.gradient).sum())
        return np.asarray(amended if falls else step)

    def _line_search(self, step: Array, before: float, model: Model) -> float:
        """Go along the step as far as the objective falls, from its value `before` on; return what it is then."""
        logs, points = self.grid.logs, self.weight.shape[1]
        step[:, logs:] *= self.free[:, logs:]
        longest = float(np.abs(step[:, :logs]).max())
        fall = float((step * self.gradient).sum())
        size = np.abs(self.residual[:, :points]) + np.abs(self.residual[:, points:])
        slack = _ROUNDING * abs(before) + _RESIDUAL_ROUNDING * float((self.weight * size).sum())
        length = _LONGEST / longest if longest > _LONGEST else 1.0
        ratio, root = self._here.ratio, self._here.root
        for _ in range(_HALVINGS):
            trial = self.y + length * step
            trial[:, logs:] = np.maximum(trial[:, logs:], 0.0)
            phi = self.evaluate(trial, model)
            if phi <= before + 1e-4 * length * fall + slack:
                break
            length *= 0.5
        # Forces of the bends are unknowns of their own (T. F. Chan, G. H. Golub, P. Mulet, SIAM J. Sci. Comput. 20
        # (1999) 1964).
        change = math.sqrt(model.lam) / self.grid.knee[: logs - 2] * bends(step, self.grid)
        wanted = (ratio + change * (1.0 - self.dual * ratio / root)) / root
        self.dual = (self.dual + length * (wanted - self.dual)).clip(-1.0, 1.0)
        self.y[:] = trial
        if length < _SHORT:
            self.floor = min(_STIFFER * self.floor, 1.0)
        elif length == 1.0:
            self.floor = max(self.floor / _STIFFER, _LEAST_FLOOR)
        return phi

    def step_touching(self, model: Model, look: Callable[[], Array]) -> Array:
        """Go a step of the parabolas that touch from above.

        Returns what `look` tells before the step, while blocks of the inverse are there; nothing if there is no step.
        """
        phi = self._touch(model)
        self.build(_TOUCHING, model)
        if not self.matrix.factor():
            return np.zeros(0)
        step = -self.solve(self.gradient[None])[0]
        self.matrix.invert(len(self.y))
        told = look()
        self._line_search(step, phi, model)
        return told

    def factor_touching(self, model: Model, *, invert: bool) -> bool:
        """Factor the matrix of parabolas that touch from above at `y`, or leave blocks of its inverse.

        Elements that are held at zero are taken as free. Returns whether it is positive definite.
        """
        self._touch(model)
        self.free[:] = 1.0
        self.build(_TOUCHING, model)
        if not self.matrix.factor():
            return False
        if invert:
            self.matrix.invert(len(self.y))
        return True

    def _touch(self, model: Model) -> float:
        """Evaluate and differentiate at `y`; return the value."""
        phi = self.evaluate(self.y, model)
        self.differentiate()
        self.dual = self._here.ratio / self._here.root
        return phi

    def variances(self) -> tuple[Array, Array, Array]:
        """Variances from the blocks of the inverse: of g (R, M − 1), bends (K, M − 2) and the model (K, F)."""
        matrix, logs = self.matrix, self.grid.logs
        scale = self.free.copy()
        scale[:, :logs] = self.value[:, :logs]
        found: tuple[Array, Array, Array] = kernel.variances(
            *(matrix.routines, matrix.own, matrix.off, self._rows[matrix.own.dtype.type]),
            *(self._given.last, scale, self.grid, self._differences),
        )
        return found


def _few_forces(moved: Array, change: Array, share: Array, weight: Array, force: Array, curved: Array) -> Array:
    """Find the forces at a few differences with the least value of the objective, shape (J,).

    By parabolas that touch the coupling from above, until it no longer falls.
    """
    out = np.zeros(len(change))

    def value(out: Array) -> float:
        d = change + moved @ out
        q = (NU + weight * (share + d) ** 2) / (NU + weight * share**2)
        return float(0.5 * out @ moved @ out + (0.5 * (1.0 + NU) * np.log(q) - d * (force + 0.5 * curved * d)).sum())

    before = value(out)
    for _ in range(_FEW_ROUNDS):
        d = change + moved @ out
        firm = weight * (1.0 + NU) / (NU + weight * (share + d) ** 2)
        left = out + firm * (share + d) - force - curved * d
        trial = out - np.linalg.solve(np.eye(len(out)) + (firm - curved)[:, None] * moved, left)
        after = value(trial)
        if not after < before - _FEW_SETTLED:
            break
        out, before = trial, after
    return out


def bends(u: Array, grid: "Grid") -> Array:
    """Compute changes of the slope of ln γ, shape (K, M − 2)."""
    inner = grid.logs - 2
    bend = grid.bend[:inner]
    return u[:, :inner] * bend[:, 0] + u[:, 1 : inner + 1] * bend[:, 1] + u[:, 2 : inner + 2] * bend[:, 2]


def _add_diagonal(blocks: Array, number: int, values: Array) -> None:
    """Add values, shape (K, n), to a diagonal of blocks; a negative one lies above the main one."""
    count, size = values.shape[1], blocks.shape[-1]
    first = number * size if number >= 0 else -number
    rows = blocks.strides[0], (size + 1) * blocks.itemsize
    as_strided(blocks[:, first // size, first % size :], (len(blocks), count), rows)[:] += values
