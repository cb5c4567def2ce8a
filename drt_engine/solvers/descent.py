"""The last step to the optimum of a convex problem, by least squares on the constraints that hold with equality."""

import logging

import numpy as np
import scipy
from numpy.typing import NDArray

from drt_engine.solvers.cones import Face
from drt_engine.solvers.convex import Case, Point

__all__ = ["descend"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

logger = logging.getLogger(__name__)

_ROUNDING = 1e-15  # of a product of vectors of length one: what is below has no sign
_GOOD = 1e-13  # optimality at which one need not go on
_TIGHT = 1e-11  # slack, over the length of a row, at which an inequality holds with equality
_DEPENDENT = 1e-10  # pivot over the largest one, of a row that is a sum of others
_ROUNDS_AN_UNKNOWN = 3  # a bound: each may enter and leave again
_ROUNDS_OF_BENDING = 30  # steps along curved faces, at most


def descend(case: Case, point: Point) -> tuple[Point, float]:
    """Move a solution that is near the optimum onto it.

    An iterative solver stops near the optimum. Which bounds and constraints hold with equality there is right but for a
    few. With these as equalities least squares gives the rest to rounding; a step ends where it meets another bound,
    constraint or kink of the loss, and a constraint whose multiplier has the wrong sign is released (primal active-set
    method; J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., 2006, section 16.5; for the Huber function K.
    Madsen, H. B. Nielsen, BIT 30 (1990) 682). Curved constraints are linearised anew in each step, with their
    curvature (section 18.1 there). The best solution on the way is kept.

    Parameters
    ----------
    case : Case
        The problem.
    point : Point
        The solution.

    Returns
    -------
    Point, float
        The better one, and its residual.
    """
    least = case.optimality(point)
    if np.isnan(least):
        return point, least
    return _Walk(case, point, least).best()


class _Walk:
    def __init__(self, case: Case, point: Point, least: float) -> None:
        self._case, self._best, self._least = case, point, least
        cones = case.shared.cones
        self._linear = cones.zero + cones.nonneg
        wish = point.y / case.length - case.gradient(point) / case.force
        self._low = wish <= case.lower / case.length
        self._high = (wish >= case.upper / case.length) & ~self._low
        self._y = np.where(self._low, case.lower, np.where(self._high, case.upper, point.y))
        self._multiplier = point.multiplier
        active = case.slack(self._y) / case.length <= point.multiplier / case.force
        active[: cones.zero] = True
        active[self._linear :] = False
        self._active = self._independent(active)
        self._released = -1
        self._refused: set[int] = set()

    def _independent(self, active: Flags) -> Flags:
        """Leave out rows that depend on others; a step meets them again if they matter."""
        chosen = np.flatnonzero(active)
        if not chosen.size:
            return active
        triangle, order = scipy.linalg.qr(self._case.rows[chosen][:, self._free].T, mode="r", pivoting=True)
        size = np.abs(np.diag(triangle))
        kept = np.zeros_like(active)
        kept[chosen[order[: size.size][size > _DEPENDENT * size.max(initial=0.0)]]] = True
        return kept

    @property
    def _free(self) -> Flags:
        return ~(self._low | self._high)

    def best(self) -> tuple[Point, float]:
        bends = 0
        for _ in range(_ROUNDS_AN_UNKNOWN * self._y.size):
            piece = self._piece(self._y)
            move, multiplier, faces = self._step(piece == 0.0)
            share, met = self._obstacle(move)
            turned = not np.array_equal(piece, self._piece(self._y + share * move))
            turn = self._turn(move, share) if turned else share
            self._y = self._y + turn * move
            if turn == share and met >= 0:
                self._stop_at(met, move)
            if turned or met >= 0:
                continue
            before = self._least
            self._keep(multiplier)
            if self._least > _GOOD and multiplier.size:
                found = self._multipliers(faces)
                self._keep(found)
                if self._least <= _GOOD and not faces:
                    break
                multiplier = found if faces else multiplier
            self._multiplier = multiplier
            bends += 1
            if not self._release() and (not faces or self._least == before or bends > _ROUNDS_OF_BENDING):
                break
        return self._best, self._least

    def _piece(self, y: Array) -> Array:
        """Return the derivative of the Huber function at the residuals beyond the threshold, 0 for the others."""
        misfit = self._case.data @ y - self._case.b
        beyond = np.abs(misfit) > self._case.threshold
        return np.where(beyond, np.copysign(self._case.threshold, misfit), 0.0)

    def _step(self, near: Flags) -> tuple[Array, Array, list[Face]]:
        """Step to the optimum if nothing changes sides, with the multipliers of the rows and the curved faces there."""
        case, y, free = self._case, self._y, self._free
        slack = case.slack(y)
        faces = case.shared.cones.faces(slack, self._multiplier, case.length / case.force)
        stacked = np.vstack([case.data[near], case.smooth, *(face.bend @ case.rows[face.rows] for face in faces)])
        misfit = np.zeros(len(stacked))
        count = np.count_nonzero(near)
        misfit[:count] = case.b[near] - case.data[near] @ y
        misfit[count : count + len(case.smooth)] = -case.smooth @ y
        force = case.price + case.data.T @ self._piece(y)
        equal = np.vstack([case.rows[self._active], *(-face.normal @ case.rows[face.rows] for face in faces)])
        right = np.concatenate([slack[self._active], [-face.excess for face in faces]])
        move = np.zeros_like(y)
        move[free], multipliers = _least_squares(stacked[:, free], misfit, force[free], equal[:, free], right)
        multiplier = np.zeros_like(slack)
        multiplier[self._active] = multipliers[: np.count_nonzero(self._active)]
        return move, multiplier, faces

    def _obstacle(self, move: Array) -> tuple[float, int]:
        """Share of a step, up to 1, before the first constraint, and which that is: a bound, a row, or -1 for none."""
        case, y = self._case, self._y
        bound = np.where(move < 0.0, case.lower, case.upper)
        room = np.divide(bound - y, move, out=np.full_like(y, np.inf), where=move != 0.0)
        rate = case.rows @ move
        closing = rate > _ROUNDING * np.linalg.norm(move) * np.linalg.norm(case.rows, axis=1)
        closing &= ~self._active
        closing[self._linear :] = False
        slack = np.maximum(case.slack(y), 0.0)
        room = np.concatenate([room, np.divide(slack, rate, out=np.full_like(rate, np.inf), where=closing)])
        met = int(room.argmin())
        return (float(room[met]), met) if room[met] < 1.0 else (1.0, -1)

    def _turn(self, move: Array, share: float) -> float:
        """Share of a step where the loss is smallest: the zero of its slope, which is piecewise linear."""
        case = self._case
        misfit, change = case.data @ self._y - case.b, case.data @ move
        smooth, bent = case.smooth @ self._y, case.smooth @ move

        def slope(shares: Array) -> Array:
            forces = np.clip(misfit + shares[:, None] * change, -case.threshold, case.threshold)
            return np.asarray(forces @ change + case.price @ move + bent @ smooth + shares * (bent @ bent))

        with np.errstate(divide="ignore", invalid="ignore"):
            kinks = np.concatenate([(side * case.threshold - misfit) / change for side in (-1.0, 1.0)])
        shares = np.concatenate([[0.0], np.sort(kinks[(kinks > 0.0) & (kinks < share)]), [share]])
        slopes = slope(shares)
        after = int(np.argmax(slopes > 0.0))
        if slopes[0] >= 0.0 or slopes[-1] <= 0.0:
            return share
        low, high = slopes[after - 1], slopes[after]
        return float(shares[after - 1] - low * (shares[after] - shares[after - 1]) / (high - low))

    def _stop_at(self, met: int, move: Array) -> None:
        size = self._y.size
        if met >= size:
            self._active[met - size] = True
        elif move[met] < 0.0:
            self._low[met], self._y[met] = True, self._case.lower[met]
        else:
            self._high[met], self._y[met] = True, self._case.upper[met]
        if met == self._released:
            self._refused.add(met)  # its step was backwards: the sign that released it was rounding
        self._released = -1

    def _multipliers(self, faces: list[Face]) -> Array:
        """Multipliers of the right signs, shared out over all bounds, rows and curved faces that meet here."""
        case, cones = self._case, self._case.shared.cones
        slack = case.slack(self._y)
        tight = np.flatnonzero(slack[: self._linear] <= _TIGHT * case.length)
        curved = [face for face in (cones.face(slack, face.rows) for face in faces) if face is not None]
        bounds = np.eye(self._y.size)
        curves = [-face.normal @ case.rows[face.rows] for face in curved]
        columns = [case.rows[tight], -case.rows[: cones.zero], *curves, -bounds[self._low], bounds[self._high]]
        gradient = case.gradient(Point(self._y, np.zeros_like(slack)))
        multiplier = np.zeros_like(slack)
        try:
            found, _ = scipy.optimize.nnls(np.vstack(columns).T, -gradient / case.force)
        except RuntimeError as error:
            logger.info("no multipliers: %s", error)
            return multiplier
        found *= case.force
        multiplier[tight] = found[: tight.size]
        multiplier[: cones.zero] -= found[tight.size : tight.size + cones.zero]
        for face, multipliers in zip(curved, found[tight.size + cones.zero :], strict=False):
            multiplier[face.rows] = -multipliers * face.normal
        return multiplier

    def _keep(self, multiplier: Array) -> None:
        point = Point(np.clip(self._y, self._case.lower, self._case.upper), multiplier)
        residual = self._case.optimality(point)
        if residual < self._least:
            self._best, self._least = point, residual

    def _release(self) -> bool:
        """Release the bound or row whose multiplier has most of the wrong sign; False if there is none."""
        case, size = self._case, self._y.size
        if self._released >= 0:
            self._refused.clear()
        gradient = case.gradient(Point(self._y, self._multiplier)) / case.force
        wrong = np.concatenate(
            [np.where(self._low, -gradient, np.where(self._high, gradient, 0.0)), -self._multiplier / case.force]
        )
        wrong[: case.norms.size][case.shared.fixed] = 0.0
        wrong[size : size + case.shared.cones.zero] = 0.0
        wrong[size + self._linear :] = 0.0
        wrong[list(self._refused)] = 0.0
        worst = int(wrong.argmax())
        if wrong[worst] <= _ROUNDING:
            return False
        if worst >= size:
            self._active[worst - size] = False
        else:
            self._low[worst] = self._high[worst] = False
        self._released = worst
        return True


def _least_squares(a: Array, b: Array, force: Array, equal: Array, right: Array) -> tuple[Array, Array]:
    """Least squares min ½|ay − b|² + forceᵀy with equal·y = right: the smallest solution, and its multipliers.

    By singular values of the equalities, then of a on what they leave open, so that no condition number is squared
    but that of the force (Å. Björck, Numerical Methods for Least Squares Problems, SIAM, 1996, section 5.1).
    """
    u, s, v = np.linalg.svd(equal)
    rank = _rank(s, max(equal.shape))
    y = v[:rank].T @ (u[:, :rank].T @ right / s[:rank])
    left = v[rank:].T
    p, q, t = np.linalg.svd(a @ left, full_matrices=False)
    kept = _rank(q, max(a.shape))
    p, q, t = p[:, :kept], q[:kept], t[:kept]
    y = y + left @ (t.T @ ((p.T @ (b - a @ y) - t @ (left.T @ force) / q) / q))
    gradient = a.T @ (a @ y - b) + force
    return y, -u[:, :rank] @ (v[:rank] @ gradient / s[:rank])


def _rank(singular: Array, size: int) -> int:
    return int(np.count_nonzero(singular > singular.max(initial=0.0) * size * np.finfo(float).eps))
