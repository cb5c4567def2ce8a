"""Newton's method on a series of spectra, and what its matrix says about each and about changes.

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
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk, ssyrk
from scipy.sparse import csr_array

from drt_engine.solvers.blocks import BlockMatrix
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

_OLD, _OLD_TURNS = 0.1, 12
"""Below this residual a factor serves for further steps, as long as so many turns of conjugate gradients are enough."""

_SHORT, _LEAST_FLOOR, _STIFFER = 0.3, 0.2, 3.0
"""Far from the solution, a term counts at least by a share of the curvature of its parabola, at first by all of it: by
more where a step had to be made shorter than the first of these, and by less, down to the second, where it had not. Of
a series, the one term that a step is too long for makes it short for all."""

_CLOSE = 1e-8
"""What is below this and no longer halves has met rounding."""

_SHARE, _LEAST_SHARE, _TURNS = 0.01, 1e-6, 400
"""Steps by conjugate gradients are solved to this share, less near the solution, in at most so many turns."""

_OFTEN = 20
"""After so many of these it is told how far it is."""

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


class _Coupling:
    """Which states differences combine, as sparse matrices."""

    def __init__(self, terms: Terms, states: int, chosen: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(chosen)
        state, coefficient = terms.state[rows], terms.coefficient[rows] * (terms.state[rows] >= 0)
        shape = (len(terms.kind), states)
        at = np.maximum(state, 0)
        self.along = _sparse(np.repeat(rows, 3), at.ravel(), coefficient.ravel(), shape)
        # Of products: those of a state with itself, with the next one, with the one after it.
        self.pairs: list[Any] = [_sparse(at.ravel(), np.repeat(rows, 3), coefficient.ravel() ** 2, shape[::-1])]
        near = state.max(axis=1) - state[:, 0] if rows.size else np.zeros(1, dtype=int)
        for distance in range(1, int(near.max()) + 1):
            found = [
                (at[:, p], rows, coefficient[:, p] * coefficient[:, n] * (state[:, n] - state[:, p] == distance))
                for p in range(3)
                for n in range(p + 1, 3)
            ]
            number, column, value = (np.concatenate(each) for each in zip(*found, strict=True))
            self.pairs.append(_sparse(number, column, value, shape[::-1]))


def _sparse(rows: Any, columns: Any, values: Any, shape: tuple[int, int]) -> Any:
    kept = values != 0.0
    return csr_array((values[kept], (rows[kept], columns[kept])), shape=shape)


class Chain:
    """A series and what is known about it so far.

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
    """

    def __init__(self, b: Array, grid: Grid, terms: Terms, width: Array, courses: Array) -> None:
        states, logs, size = len(b), grid.logs, grid.size
        self.b, self.grid, self.terms, self.width, self.courses = b, grid, terms, width, courses
        self._columns = np.ascontiguousarray(grid.columns[:size])  # (j,q)
        self._squares = self._columns**2
        near = terms.kind == 0
        self._near, self._far = _Coupling(terms, states, near), _Coupling(terms, states, ~near)
        self._across = bool((~near).any())
        self._along = self._near.along + self._far.along
        self._square = self._along.power(2).T.tocsr()
        lines = courses.shape[1] if len(courses) else 1
        shape = states + len(courses) * (states // lines), len(self._near.pairs) - 1, size
        self.matrix = self._whole = BlockMatrix(*shape)
        self._rough = self._whole.in_single_precision()
        self.precision = np.zeros((states, b.shape[1] // 2))
        self.y = np.zeros((states, size))
        self.known = np.zeros((states, logs - 2))  # variance of the bends, where it is to count
        self.spread = np.zeros((len(terms.kind), logs - 1))  # variance of g, where it is to count
        self.floor = self.length = 1.0  # least share of a parabola's curvature, and of the last step that was gone
        self.looser = 1.0  # how much weaker the coupling is taken to be in the matrix of parabolas

    def work_roughly(self, rough: bool) -> None:
        """Take Newton's matrix in single precision, which halves the time, or no longer."""
        self.matrix = self._rough if rough else self._whole

    def tell(self, tick: Callable[[float], None]) -> None:
        """Have it told how far the matrix is factored or inverted, from 0 to 1, each time that this is done."""
        self._whole.tick = self._rough.tick = tick

    # ---- objective

    def curves(self, gamma: Array) -> Array:
        """Compute the part of γ in the data, shape (K, 2 F)."""
        return np.asarray(gamma @ self._columns[: self.grid.logs])

    def evaluate(self, y: Array, model: Model) -> float:
        """Value of the objective; leaves what derivatives are made from."""
        grid, logs, lam, tail = self.grid, self.grid.logs, model.lam, self.grid.tail
        points = self.precision.shape[1]
        self.value = y.copy()
        u = y[:, :logs]
        with np.errstate(over="ignore", invalid="ignore"):
            np.exp(u, out=self.value[:, :logs])
            self.residual = self.value @ self._columns - self.b
            self.distance = self.precision * (self.residual[:, :points] ** 2 + self.residual[:, points:] ** 2)
        total = float(
            0.5 * self.distance.sum() if tail == 0.0 else (0.5 / tail + 1.0) * np.log1p(tail * self.distance).sum()
        )
        self._lean = u[:, 1:] - u[:, :-1] - grid.lean
        total += 0.5 * lam * model.share * float((grid.slope * self._lean**2).sum())
        self.bends = bends(u, grid)
        self._ratio = math.sqrt(lam) / grid.knee[: logs - 2] * self.bends
        self._root = np.sqrt(1.0 + self._ratio**2)
        # √(1 + r) − 1 without the loss of digits.
        total += model.share * grid.rate * float((grid.knee[: logs - 2] * self._ratio**2 / (1.0 + self._root)).sum())
        return total + self._couple(u, model)

    def changes(self, y: Array) -> tuple[Array, Array]:
        """Differences e of ln γ along the states, shape (R, M), and g, shape (R, M − 1), at some point."""
        e = self._along @ y[:, : self.grid.logs]
        # `slope` holds 1/h.
        return e, np.diff(e, axis=1) * np.sqrt(self.grid.slope)

    def _couple(self, u: Array, model: Model) -> float:
        """Value of the coupling; leaves g and the curvature of a parabola that touches from above."""
        self._e, self.share = self.changes(u)
        weight = model.strength[self.terms.kind, None] * self.terms.relative
        self._q = weight * self.share**2
        if model.normal:
            total, self._firm = 0.5 * float(self._q.sum()), weight
        else:
            total = 0.5 * (1.0 + NU) * float(np.log1p(self._q / NU).sum())
            self._firm = weight * (1.0 + NU) / (NU + self._q)
        #: Curvature of the parabola, or as the mixture of normal distributions has it, with g as wide as it is known.
        self.firm = self._firm if model.normal else weight * (1.0 + NU) / (NU + self._q + weight * self.spread)
        return total + 0.5 * LEVEL * float((self.width * self._e**2).sum())

    def differentiate(self, model: Model) -> float:
        """Gradient at the point evaluated last, which elements are free; return the largest |g_j / d_j|."""
        grid, logs, lam, tail, y = self.grid, self.grid.logs, model.lam, self.grid.tail, self.y
        self.weight = self.precision * (1.0 + 2.0 * tail) / (1.0 + tail * self.distance)
        both = np.hstack([self.weight, self.weight])
        self.gradient = (both * self.residual) @ self._columns.T
        self.scale = both @ self._squares.T
        values, inner = self.value[:, :logs], self.gradient[:, :logs]
        inner *= values
        self.pressure = inner.copy()
        slope_term = model.share * lam * grid.slope * self._lean
        inner[:, :-1] -= slope_term
        inner[:, 1:] += slope_term
        knee = grid.knee[: logs - 2]
        bent = model.share * grid.rate * math.sqrt(lam) * self._ratio / self._root
        for n in range(3):
            inner[:, n : logs - 2 + n] += bent * grid.bend[:, n]
        force = self._firm * self.share * np.sqrt(grid.slope)
        step = LEVEL * self.width * self._e
        step[:, 1:] += force
        step[:, :-1] -= force
        inner += self._along.T @ step
        stiffness = model.share * grid.rate * lam / (knee * self._root)
        firm = self._firm * grid.slope
        held = np.broadcast_to(LEVEL * self.width, step.shape).copy()
        held[:, 1:] += firm
        held[:, :-1] += firm
        scale = self.scale[:, :logs]
        scale *= values**2
        scale += self._band(model, stiffness)[0] + self._square @ held
        self.free = np.ones(y.shape)
        elements = slice(logs, None)
        self.free[:, elements] = (y[:, elements] > 0.0) | (self.gradient[:, elements] < 0.0)
        unit = np.sqrt(self.scale)
        # A state without data does not show R_inf, L and 1/C: there is nothing to be fulfilled.
        here = np.divide(self.gradient, unit, out=np.zeros_like(unit), where=unit > 0.0)
        here[:, elements] = np.minimum(y[:, elements] * unit[:, elements], here[:, elements])
        worst = float(np.abs(here).max())
        return math.inf if math.isnan(worst) else worst

    def _band(self, model: Model, stiffness: Array) -> Array:
        """Diagonals of the second derivative of the single priors, shape (3, K, M)."""
        grid, logs = self.grid, self.grid.logs
        band = np.zeros((3, len(self.y), logs))
        slope = model.share * model.lam * grid.slope
        band[0, :, :-1] += slope
        band[0, :, 1:] += slope
        band[1, :, :-1] -= slope
        one, two, three = grid.bend[: logs - 2].T
        for n, each in enumerate((one, two, three)):
            band[0, :, n : logs - 2 + n] += stiffness * each**2
        band[1, :, :-2] += stiffness * (one * two)
        band[1, :, 1:-1] += stiffness * (two * three)
        band[2, :, :-2] += stiffness * (one * three)
        return band

    # ---- Newton's matrix

    def build(self, mode: int, model: Model) -> None:
        """Make the second derivative of the objective."""
        self._derive(mode, model)
        self._fill_blocks()

    def _derive(self, mode: int, model: Model) -> None:
        """Find what the second derivative consists of."""
        grid, logs, lam = self.grid, self.grid.logs, model.lam
        self._turn_weights(mode)
        knee = grid.knee[: logs - 2]
        stiffness = grid.rate * lam / (knee * self._root) * (1.0 - self.dual * self._ratio / self._root)
        as_known = grid.rate * lam / np.sqrt(knee**2 + lam * (self.bends**2 + self.known))
        self._bands = self._band(model, model.share * np.where(self.known > 0.0, as_known, stiffness))
        force = np.maximum(self.pressure, 0.0) if mode > _TRUE else self.pressure
        self._bands[0] += _RIDGE * self._bands[0] + force
        # Without data nothing holds what is no part of γ, and it stays where it is.
        self._held = (self.free == 0.0) | (self.scale == 0.0)
        self._held[:, :logs] = False
        self._factors = np.where(self._held, 0.0, 1.0)
        self._factors[:, :logs] = self.value[:, :logs]
        curved = self._firm if mode < _TOUCHING else self.firm / self.looser
        if mode < _TOUCHING:
            curvature = (NU - self._q) / (NU + self._q)
            curved = curved * (curvature if mode == _TRUE else np.maximum(curvature, self.floor))
        self._curved = curved * grid.slope

    def _turn_weights(self, mode: int) -> None:
        """Weights of each pair of a real and an imaginary part, and between them, shape (3, K, F)."""
        points, weight = self.weight.shape[1], self.weight
        self._pair = np.stack([weight, np.zeros_like(weight), weight])
        if mode == _TOUCHING:
            return
        re, im = self.residual[:, :points], self.residual[:, points:]
        size = np.hypot(re, im)
        there = size > 0.0
        cosine = np.divide(re, size, out=np.ones_like(re), where=there)
        sine = np.divide(im, size, out=np.zeros_like(im), where=there)
        d = self.grid.tail * self.distance
        curvature = (1.0 - d) / (1.0 + d)
        along = np.where(there, weight * (curvature if mode == _TRUE else np.maximum(curvature, self.floor)), weight)
        self._pair[0] = cosine**2 * along + sine**2 * weight
        self._pair[1] = cosine * sine * (along - weight)
        self._pair[2] = sine**2 * along + cosine**2 * weight

    def _fill_blocks(self) -> None:
        """Put the blocks together."""
        states, logs, matrix = len(self.y), self.grid.logs, self.matrix
        self._fill_data(matrix.own[:states])
        matrix.off[:] = 0.0
        near, far = self._products(self._near), self._products(self._far) if self._across else []
        bands = self._bands
        _add_diagonal(matrix.own[:states], 0, bands[0] + near[0][0])
        _add_diagonal(matrix.own[:states], 1, bands[1][:, :-1] + near[0][1])
        _add_diagonal(matrix.own[:states], 2, bands[2][:, :-2])
        at = np.arange(logs, self.y.shape[1])
        matrix.own[:states, at, at] += self._held[:, logs:]
        for distance, (diagonal, beside) in enumerate(near[1:]):
            block = matrix.off[:states, distance]
            _add_diagonal(block, 0, diagonal)
            _add_diagonal(block, 1, beside)
            _add_diagonal(block, -1, beside)
        if self._across:
            self._fill_courses(far[0])

    def _fill_data(self, own: Array) -> None:
        """Put the part of the data into the blocks of the states, of which the lower half counts."""
        kind, points = own.dtype, self.weight.shape[1]
        rows = self._columns.astype(kind, copy=False)  # (j,q)
        one, between, other = self._pair
        real, imaginary = rows[:, :points], rows[:, points:]
        factors = self._factors.astype(kind, copy=False)[:, :, None]
        product = dsyrk if kind == np.float64 else ssyrk
        if (one >= 0.0).all() and (one * other >= between**2).all():
            # Weights of pairs have a Cholesky factor, and a product of a matrix with its own transpose takes half the
            # time of another one.
            root = np.sqrt(one)
            mixed = np.divide(between, root, out=np.zeros_like(root), where=root > 0.0)
            roots = np.hstack([root, np.sqrt(np.maximum(other - mixed**2, 0.0))]).astype(kind, copy=False)
            twisted, mixed = mixed.any(axis=1), mixed.astype(kind, copy=False)
            weighted = np.empty_like(rows)
            for k in range(len(own)):
                # By states, so that what is worked on stays near the processor.
                np.multiply(rows, roots[k], out=weighted)
                if twisted[k]:
                    weighted[:, :points] += imaginary * mixed[k]
                weighted *= factors[k]
                # What is lower here is upper in Fortran's order.
                product(1.0, weighted.T, beta=0.0, c=own[k].T, trans=1, overwrite_c=1)
            return
        one, between, other = (each.astype(kind, copy=False) for each in self._pair)
        for k in range(len(own)):
            weighted = np.hstack([one[k] * real + between[k] * imaginary, between[k] * real + other[k] * imaginary])
            np.matmul(rows, weighted.T, out=own[k])
            own[k] *= factors[k]
            own[k] *= factors[k].T

    def _products(self, coupling: _Coupling) -> list[tuple[Array, Array]]:
        """Diagonals of the coupling of each state with itself and with the following ones."""
        diagonal = np.broadcast_to(LEVEL * self.width, (len(self._curved), self.width.size)).copy()
        diagonal[:, 1:] += self._curved
        diagonal[:, :-1] += self._curved
        return [(pair @ diagonal, -(pair @ self._curved)) for pair in coupling.pairs]

    def _fill_courses(self, far: tuple[Array, Array]) -> None:
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
            blocks[states:] = ((self.courses**2) @ flat).reshape(blocks[states:].shape)
        _add_diagonal(matrix.own[:states], 0, far[0])
        _add_diagonal(matrix.own[:states], 1, far[1])
        rows = np.flatnonzero(self.terms.kind > 0)
        place = self.terms.state[rows, 0] % length
        number = np.maximum(self.terms.state[rows], 0) // length
        coefficient = self.terms.coefficient[rows] * (self.terms.state[rows] >= 0)
        for i in range(courses):
            total = (coefficient * self.courses[i][number]).sum(axis=1) ** 2
            diagonal, beside = np.zeros((length, self.width.size)), np.zeros((length, self.width.size - 1))
            curved = total[:, None] * self._curved[rows]
            np.add.at(diagonal, place, total[:, None] * LEVEL * self.width)
            np.add.at(beside, place, curved)
            diagonal[:, 1:] += beside
            diagonal[:, :-1] += beside
            block = matrix.own[states + i * length : states + (i + 1) * length]
            _add_diagonal(block, 0, diagonal)
            _add_diagonal(block, 1, -beside)

    def multiply(self, v: Array) -> Array:
        """Multiply the whole matrix that was built last by v, shape (K, N)."""
        points, logs = self.weight.shape[1], self.grid.logs
        image = (v * self._factors) @ self._columns
        one, between, other = self._pair
        re, im = image[:, :points], image[:, points:]
        out = np.asarray(np.hstack([one * re + between * im, between * re + other * im]) @ self._columns.T)
        out *= self._factors
        out += self._held * v
        u, inner = v[:, :logs], out[:, :logs]
        bands = self._bands
        inner += bands[0] * u
        for n in (1, 2):
            inner[:, n:] += bands[n][:, :-n] * u[:, :-n]
            inner[:, :-n] += bands[n][:, :-n] * u[:, n:]
        e = self._along @ u
        step = LEVEL * self.width * e
        force = self._curved * np.diff(e, axis=1)
        step[:, 1:] += force
        step[:, :-1] -= force
        inner += self._along.T @ step
        return out

    def _factor_from(self, mode: int, model: Model) -> int:
        """Factor in the first mode that goes, from one on; return it, or `_NONE`."""
        while mode < _NONE:
            self.build(mode, model)
            if self.matrix.factor():
                return mode
            mode += 1
        return mode

    def solve(self, right: Array, share: float = _LEAST_SHARE) -> Array:
        """Solve with what was factored last, right = H x, shape (n, K, N); across lines to a share of the error."""
        right = np.where(self._held, 0.0, right)
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
        out[self._held] = 0.0
        return np.asarray(out)

    def _conjugate(self, right: Array, tolerance: float, turns: int = _TURNS) -> tuple[Array, bool]:
        """Solve with the whole matrix by conjugate gradients preconditioned by the factor; and whether that was done.

        The factor leaves out how states of different lines are coupled, or is that of an earlier step. Where the matrix
        is not positive definite, what is returned is a direction in which the objective falls. `tolerance` is that of
        the error in the norm of the preconditioner, of what it is at first.
        """
        out, left = np.zeros_like(right), right.copy()
        way = at = self._precondition(left)
        first = size = float((left * at).sum())
        for n in range(turns):
            if n % _OFTEN == 0:
                self.matrix.tick(n / turns)
            if size <= tolerance * tolerance * first:
                return out, True
            image = self.multiply(way)
            curvature = float((way * image).sum())
            if not curvature > 0.0:
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
        residual = self.differentiate(model)
        self.dual = self._ratio / self._root
        mode, before, free, self.floor = _NONE, math.inf, self.free, 1.0
        for _ in range(limit):
            if not residual > tolerance:
                break
            step = None
            if mode < _NONE and residual < _OLD and not self._across and (self.free == free).all():
                step = self._step_from_old(residual, model)
            if step is None:
                # Newton's matrix near the solution and once it has been positive definite.
                first = _TOUCHING if model.normal else (_TRUE if mode == _TRUE or residual < _NEAR else _TAMED)
                mode, free = self._factor_from(first, model), self.free
                if mode == _NONE and self.matrix is self._rough:
                    self.work_roughly(False)
                    mode = self._factor_from(_TAMED, model)
                if mode == _NONE:
                    break
                step = -self.solve(self.gradient[None], max(_SHARE * min(residual, 1.0), _LEAST_SHARE))[0]
            phi = self._walk(step, phi, model)
            if self.length < _SHORT:
                self.floor = min(_STIFFER * self.floor, 1.0)
            elif self.length == 1.0:
                self.floor = max(self.floor / _STIFFER, _LEAST_FLOOR)
            before, residual = residual, self.differentiate(model)
            if residual <= _CLOSE and residual > 0.5 * before:
                break
        return residual

    def _step_from_old(self, residual: float, model: Model) -> Array | None:
        """Newton's step by conjugate gradients with the factor of a step before; None where that is of no use."""
        self._derive(_TOUCHING if model.normal else _TRUE, model)
        right = np.where(self._held, 0.0, self.gradient)
        found, done = self._conjugate(right, max(_SHARE * min(10.0 * residual, 1.0), _LEAST_SHARE), _OLD_TURNS)
        return -found if done else None

    def _walk(self, step: Array, before: float, model: Model) -> float:
        """Go along the step as far as the objective falls, from its value `before` on; return what it is then."""
        logs, points = self.grid.logs, self.weight.shape[1]
        step[:, logs:] *= self.free[:, logs:]
        longest = float(np.abs(step[:, :logs]).max())
        fall = float((step * self.gradient).sum())
        size = np.abs(self.residual[:, :points]) + np.abs(self.residual[:, points:])
        slack = _ROUNDING * abs(before) + _RESIDUAL_ROUNDING * float((self.weight * size).sum())
        length = _LONGEST / longest if longest > _LONGEST else 1.0
        ratio, root = self._ratio, self._root
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
        self.y[:], self.length = trial, length
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
        self._walk(step, phi, model)
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
        self.differentiate(model)
        self.dual = self._ratio / self._root
        return phi

    def change_variances(self) -> Array:
        """Variances of g of each difference from the blocks of the inverse, shape (R, M − 1)."""
        logs, blocks = self.grid.logs, [self.matrix.own[: len(self.y)]]
        blocks += [self.matrix.off[: len(self.y), d] for d in range(self.matrix.off.shape[1])]
        out = np.zeros((len(self.terms.kind), logs - 1))
        for number, (block, pair) in enumerate(zip(blocks, self._near.pairs, strict=True)):
            inner = np.diagonal(block, axis1=1, axis2=2)[:, :logs]
            above = np.diagonal(block, 1, axis1=1, axis2=2)[:, : logs - 1]
            below = np.diagonal(block, -1, axis1=1, axis2=2)[:, : logs - 1]
            out += (2.0 if number else 1.0) * (pair.T @ (inner[:, 1:] + inner[:, :-1] - above - below))
        return np.maximum(out * self.grid.slope, 0.0)


def bends(u: Array, grid: Grid) -> Array:
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
