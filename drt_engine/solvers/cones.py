"""Convex constraints in conic form, and how far a solution is from keeping them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cones", "Face"]

Array = NDArray[np.float64]

_STEEPEST = 500.0
"""Largest exponent whose power is far from overflow."""


class Face(NamedTuple):
    """The boundary of a curved cone near a slack s, as φ(s) ≤ 0 with φ convex.

    Attributes
    ----------
    rows : slice
        Rows of the cone.
    excess : float
        φ(s).
    normal : ndarray, shape (r,)
        Gradient of φ.
    bend : ndarray, shape (c, r)
        A factor W of the second derivative WᵀW of φ; times the root of a multiplier, where there is one.
    """

    rows: slice
    excess: float
    normal: Array
    bend: Array


@dataclass(frozen=True, eq=False)
class Cones:
    """Constraints s = h − Gx − Hw ∈ K, with K a product of cones and w whatever other variables they need.

    The rows are those of equalities, of inequalities, of second-order cones |(s₂, …)| ≤ s₁ and, in threes, of
    exponential cones s₂ exp(s₁/s₂) ≤ s₃, in this order.

    Attributes
    ----------
    matrix, others : ndarray, shapes (R, N) and (R, W)
        G and H.
    right : ndarray, shape (R,)
        h.
    zero, nonneg : int
        Number of equalities and of inequalities.
    second_order : tuple of int
        Rows of each second-order cone.
    exponential : int
        Number of exponential cones.
    """

    matrix: Array
    others: Array
    right: Array
    zero: int = 0
    nonneg: int = 0
    second_order: tuple[int, ...] = ()
    exponential: int = 0

    @property
    def linear(self) -> bool:
        """Whether there are equalities and inequalities only."""
        return not self.second_order and not self.exponential

    def blocks(self) -> Iterator[tuple[str, slice]]:
        """Kind and rows of each cone; each equality and each inequality is one."""
        kinds = ["zero"] * self.zero + ["nonneg"] * self.nonneg
        sizes = [1] * len(kinds) + [*self.second_order] + [3] * self.exponential
        kinds += ["second-order"] * len(self.second_order) + ["exponential"] * self.exponential
        end = 0
        for kind, size in zip(kinds, sizes, strict=True):
            end += size
            yield kind, slice(end - size, end)

    def balanced(self, units: Array) -> "Cones":
        """Scale rows and other variables, so that what is constrained counts in the units of the unknowns.

        Parameters count in the given units. A cone counts in the unit of its largest term, and another variable in the
        unit of the cones that it first occurs in, beginning with those that the unknowns occur in. A cone stays one,
        because its rows are divided by one number.

        Parameters
        ----------
        units : ndarray, shape (N,)
            Units of the unknowns.
        """
        blocks = [rows for _, rows in self.blocks()]
        known = np.abs(self.matrix) * units
        row = np.zeros(len(self.right))
        column = np.zeros(self.others.shape[1])
        size = np.abs(self.others)
        for _ in range(len(blocks) + 1):
            terms = np.hstack([known, size * column])
            for rows in blocks:
                if not row[rows].any():
                    row[rows] = terms[rows].max(initial=0.0)
            reached = (row > 0.0)[:, None] & (size > 0.0)
            unit = np.where(reached, row[:, None] / np.where(reached, size, 1.0), np.inf).min(axis=0, initial=np.inf)
            fresh = (column == 0.0) & np.isfinite(unit)
            if not fresh.any():
                break
            column[fresh] = unit[fresh]
        row[row == 0.0] = 1.0
        column[column == 0.0] = 1.0
        return replace(
            self,
            matrix=self.matrix / row[:, None],
            others=self.others * column / row[:, None],
            right=self.right / row,
        )

    def residual(self, slack: Array, multiplier: Array) -> float:
        """Largest violation of slack ∈ K, multiplier ∈ K* and slack ⊥ multiplier.

        Parameters
        ----------
        slack, multiplier : ndarray, shape (R,)
            s and the multipliers, in units that make them comparable.

        Returns
        -------
        float
            For an inequality the larger of |min(s, z)| and |sz|. For a second-order cone the distance from it, for an
            exponential cone an upper bound of the distance, and for both |sᵀz|.
        """
        worst = 0.0
        for kind, rows in self.blocks():
            s, z = slack[rows], multiplier[rows]
            if kind == "zero":
                parts = [abs(s[0])]
            elif kind == "nonneg":
                parts = [abs(min(s[0], z[0])), abs(s[0] * z[0])]
            elif kind == "second-order":
                parts = [_from_second_order(s), _from_second_order(z), abs(s @ z)]
            else:
                parts = [_from_exponential(*s), _from_dual_exponential(*z), abs(s @ z)]
            worst = float(np.max([worst, *parts]))
        return worst

    def face(self, slack: Array, rows: slice) -> Face | None:
        """Boundary of a curved cone; None at its tip or on a flat face, where it is not smooth.

        Parameters
        ----------
        slack : ndarray, shape (R,)
            s.
        rows : slice
            Rows of the cone.
        """
        s = slack[rows]
        if rows.stop > len(slack) - 3 * self.exponential:
            if s[1] <= 0.0 or s[0] > _STEEPEST * s[1]:
                return None
            ratio = s[0] / s[1]
            growth = math.exp(ratio)
            normal = np.array([growth, growth * (1.0 - ratio), -1.0])
            return Face(rows, s[1] * growth - s[2], normal, math.sqrt(growth / s[1]) * np.array([[1.0, -ratio, 0.0]]))
        length = float(np.linalg.norm(s[1:]))
        if length == 0.0:
            return None
        direction = s[1:] / length
        bend = (np.eye(direction.size) - np.outer(direction, direction)) / math.sqrt(length)
        return Face(rows, length - s[0], np.concatenate([[-1.0], direction]), np.pad(bend, ((0, 0), (1, 0))))

    def faces(self, slack: Array, multiplier: Array, ratio: float) -> list[Face]:
        """Boundaries of the curved cones that hold with equality, their bends times the roots of the multipliers.

        Parameters
        ----------
        slack, multiplier : ndarray, shape (R,)
            s and the multipliers.
        ratio : float
            Unit of s over that of the multipliers.
        """
        found = []
        for kind, rows in self.blocks():
            if kind in ("second-order", "exponential"):
                face = self.face(slack, rows)
                # The component of s that φ is minus one in.
                weight = multiplier[rows.start if kind == "second-order" else rows.stop - 1]
                if face is not None and -face.excess <= ratio * weight:
                    found.append(face._replace(bend=math.sqrt(max(weight, 0.0)) * face.bend))
        return found


def _from_second_order(s: Array) -> float:
    length = float(np.linalg.norm(s[1:]))
    if length <= -s[0]:
        return float(np.linalg.norm(s))
    return max(0.0, length - float(s[0])) / math.sqrt(2.0)


def _from_exponential(x: float, y: float, z: float) -> float:
    """Bound the distance from the cone y exp(x/y) ≤ z by that along z, or by that from its face y = 0, x ≤ 0 ≤ z."""
    face = float(np.linalg.norm([max(x, 0.0), y, min(z, 0.0)]))
    if y <= 0.0:
        return face
    with np.errstate(over="ignore"):
        return min(face, max(0.0, float(y * np.exp(x / y)) - z))


def _from_dual_exponential(u: float, v: float, w: float) -> float:
    """Bound the distance from the dual cone −u exp(v/u) ≤ ew by that along w, or by that from its face u = 0 ≤ v, w."""
    face = float(np.linalg.norm([u, min(v, 0.0), min(w, 0.0)]))
    if u >= 0.0:
        return face
    with np.errstate(over="ignore"):
        return min(face, max(0.0, float(-u * np.exp(v / u - 1.0)) - w))
