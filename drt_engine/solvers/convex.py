r"""Problems beyond the plain quadratic programme, and the certificate of their solutions.

.. math:: \min_x \sum_i ρ(a_i^T x - b_i) + \tfrac12 λ x^T M x + p^T x + \tfrac12 x^T Q x
    \quad\text{with}\quad l \le x \le u, \quad h - Gx - Hw \in K

with ρ the half square or the Huber function, p and Q the elastic net, l and u bounds, and K the user's own constraints,
which may bring other variables w with them.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.problem import Problem
from drt_engine.solvers.cones import Cones

__all__ = ["Case", "ConvexProblem", "Point"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ConvexProblem:
    """What the spectra of a grid share.

    Attributes
    ----------
    problem : Problem
        The matrices.
    price, ridge : ndarray, shape (N,)
        p, and the diagonal of Q.
    lower, upper : ndarray, shape (N,)
        Bounds of the scaled unknowns of a spectrum whose largest component is 1 ohm. Equal ones fix an unknown.
    cones : Cones
        Constraints for such a spectrum; for another, h is divided by its largest component.
    """

    problem: Problem
    price: Array
    ridge: Array
    lower: Array
    upper: Array
    cones: Cones

    @property
    def fixed(self) -> Flags:
        """Which unknowns have one possible value."""
        return np.asarray(self.lower == self.upper)


class Point(NamedTuple):
    """A solution of a :class:`Case` and the multipliers that prove it optimal.

    Attributes
    ----------
    y : ndarray, shape (N + W,)
        The unknowns x times the norms of their columns, then w.
    multiplier : ndarray, shape (R,)
        Multipliers of the rows of the constraints.
    """

    y: Array
    multiplier: Array


@dataclass(frozen=True, eq=False)
class Case:
    """The problem of one spectrum, in unknowns y that count as much as their columns.

    Attributes
    ----------
    shared : ConvexProblem
        What it has in common with others.
    b : ndarray, shape (n,)
        Data, divided by `size`.
    size : float
        Largest component of the spectrum, ohm.
    regularisation : float
        λ.
    threshold : float
        Where the Huber function becomes linear; infinite for squares.
    """

    shared: ConvexProblem
    b: Array
    size: float
    regularisation: float
    threshold: float

    @cached_property
    def norms(self) -> Array:
        """Norms of the columns of [A; √λL; √Q], shape (N,)."""
        data, penalty = self.shared.problem.column_squares
        return np.asarray(np.sqrt(data + self.regularisation * penalty + self.shared.ridge))

    @cached_property
    def length(self) -> float:
        """Norm of b, the unit of y and of the slacks."""
        return float(np.linalg.norm(self.b)) or 1.0

    @cached_property
    def force(self) -> float:
        """Largest force that the data can exert on y, the unit of gradients and multipliers."""
        return min(self.length, self.threshold * math.sqrt(self.b.size))

    @cached_property
    def data(self) -> Array:
        """A in y, shape (n, N + W)."""
        return self._extended(self.shared.problem.matrix / self.norms)

    @cached_property
    def smooth(self) -> Array:
        """The factor [√λL; √Q] of both penalties in y, shape (…, N + W)."""
        shared = self.shared
        ridge = np.flatnonzero(shared.ridge)
        root = np.sqrt(shared.ridge[ridge, None]) * np.eye(self.norms.size)[ridge]
        rough = math.sqrt(self.regularisation) * shared.problem.penalty_factor
        return self._extended(np.vstack([rough, root]) / self.norms)

    @cached_property
    def price(self) -> Array:
        """Linear term p in y, shape (N + W,)."""
        return self._extended(self.shared.price / self.norms)

    @cached_property
    def rows(self) -> Array:
        """The constraints' G and H in y, shape (R, N + W)."""
        return np.hstack([self.shared.cones.matrix / self.norms, self.shared.cones.others])

    @cached_property
    def lower(self) -> Array:
        """Lower bounds of y, shape (N + W,)."""
        return self._extended(self.shared.lower / self.size * self.norms, -np.inf)

    @cached_property
    def upper(self) -> Array:
        """Upper bounds of y, shape (N + W,)."""
        return self._extended(self.shared.upper / self.size * self.norms, np.inf)

    @cached_property
    def right(self) -> Array:
        """Right-hand side h of the constraints, shape (R,)."""
        return self.shared.cones.right / self.size

    def _extended(self, array: Array, by: float = 0.0) -> Array:
        others = self.shared.cones.others.shape[1]
        return np.concatenate([array, np.full((*array.shape[:-1], others), by)], axis=-1)

    def point(self, x: Array, others: Array, multiplier: Array) -> Point:
        """Move a solution that a solver returned inside the bounds.

        Parameters
        ----------
        x, others : ndarray, shapes (N,) and (W,)
            The unknowns and w.
        multiplier : ndarray, shape (R,)
            Multipliers of the constraints.
        """
        y = np.concatenate([x * self.norms, others])
        return Point(np.clip(y, self.lower, self.upper), multiplier)

    def parameters(self, point: Point) -> Array:
        """Parameters x of a point, shape (N,)."""
        bounds = self.shared.lower / self.size, self.shared.upper / self.size
        return np.clip(point.y[: self.norms.size] / self.norms, *bounds)

    def slack(self, y: Array) -> Array:
        """Slack s = h − Gx − Hw, shape (R,)."""
        return np.asarray(self.right - self.rows @ y)

    def gradient(self, point: Point) -> Array:
        """Gradient of the Lagrange function by y without that of the bounds, from the residual, shape (N + W,)."""
        misfit = np.clip(self.data @ point.y - self.b, -self.threshold, self.threshold)
        gradient = self.data.T @ misfit + self.smooth.T @ (self.smooth @ point.y)
        return np.asarray(gradient + self.price + self.rows.T @ point.multiplier)

    def optimality(self, point: Point) -> float:
        r"""Scaled optimality residual of a solution; the certificate.

        With g the gradient by x of the Lagrange function, computed from the residual, :math:`d_j` the norm of column j
        of :math:`[A; \sqrt{λ}L; \sqrt{Q}]` and :math:`f = \min(|b|, t\sqrt{n})` the largest force that the data can
        exert, the scaled unknowns are :math:`v_j = x_j d_j / |b|` and the scaled gradients
        :math:`h_j = g_j / (d_j f)`. The residual is the largest of :math:`|v - P(v - h)|`, with P the projection onto
        the bounds, of the products of h with the distance to the bound that it points away from, of the gradient by w,
        and of what :meth:`Cones.residual` says of slacks and multipliers in the same units.

        Parameters
        ----------
        point : Point
            The solution.

        Returns
        -------
        float
            NaN where the solution is not finite.
        """
        v, h = point.y / self.length, self.gradient(point) / self.force
        lower, upper = self.lower / self.length, self.upper / self.length
        natural = float(np.abs(v - np.clip(v - h, lower, upper)).max())
        if not np.isfinite(natural):
            return math.nan
        bounded = np.flatnonzero(~self.shared.fixed)
        above = np.where(np.isfinite(upper), upper - v, v)
        products = np.where(h > 0.0, v - lower, above)[bounded] * h[bounded]
        slack, multiplier = self.slack(point.y) / self.length, point.multiplier / self.force
        return max(natural, float(np.abs(products).max(initial=0.0)), self.shared.cones.residual(slack, multiplier))
