"""The close look at single spectra in which the test of all at once finds something."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from drt_engine.validation.base import Findings
from drt_engine.validation.ladder import Ladder
from drt_engine.validation.lanes import Weighted
from drt_engine.validation.noise import Shapes
from drt_engine.validation.result import Validity
from drt_engine.validation.significance import LEAST_LEFT, Trials, critical_values
from drt_kernels import faults

__all__ = ["CloseLook"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LACKING = 1e-3
"""Chance below which the larger model is taken if the smaller one does as well."""

_SUSPECT = 0.5
"""Share of its critical value above which a point is left out until the others foretell it."""

_CONJUGATE = 40.0
"""By how much twice the logarithm of the likelihood has to be better with the other sign of Im."""

_MANY = 3


class _Explained(NamedTuple):
    """One explanation of a spectrum: its cost, what joined the model, the points that are out, and the noise."""

    cost: float
    found: Array
    gone: Flags
    shape: Shapes


@dataclass(frozen=True, eq=False)
class CloseLook:
    """The search for the faults of one spectrum, one after the other; see :func:`drt_kernels.faults.examine`.

    It is made for every noise that is plausible, from the fit to all points and from a robust one without those that
    are far from it. What costs least is taken: minus twice the logarithm of the likelihood, plus the critical value of
    everything that has joined, so that a fault is only called where no other noise explains as much.
    """

    ladders: tuple[Ladder, Ladder]
    trials: Trials
    add_capacitance: bool
    false_alarms: float
    resolution: float

    @property
    def critical(self) -> Array:
        points = self.ladders[0].omega.size
        return critical_values(points, self.trials.smooth, self.false_alarms)

    def look(self, one: Weighted, modulus: Array, noise: Shapes, *, known: bool, row: int, out: Findings) -> None:
        """Put what is found in one spectrum into `out`.

        Parameters
        ----------
        one : Weighted
            The spectrum, with weights that are one over its modulus.
        modulus : ndarray, shape (F,)
            |Z|, ohm.
        noise : Shapes
            One shape of the noise.
        known : bool
            Whether that is the noise; otherwise it is where the search for it starts.
        row : int
            Where to.
        out : Findings
            What is filled in.
        """
        data = one.relative(one.data)[0]
        search = _Search.of(self, one, data, modulus, noise, known=known)
        best = search.explain()
        flag = _flag(best)
        if flag & Validity.INCONSISTENT or flag & Validity.DRIFT or np.count_nonzero(best.gone) > _MANY:
            points = modulus.size
            other = np.concatenate([data[:points], -data[points:]])
            turned = _Search.of(self, one, other, modulus, noise, known=known).explain()
            flag |= Validity.WRONG_SIGN * (turned.cost < best.cost - _CONJUGATE)
        most, drift, error, squares, left = best.found[[0, 1, 2, 5, 6]]
        out.score[row], out.drift[row], out.drift_error[row] = math.sqrt(most), drift, error
        out.noise[row] = math.sqrt(squares / left)
        out.noise_proportional[row], constant = out.noise[row] * np.sqrt(best.shape.alpha_beta[0])
        out.noise_constant[row] = constant * modulus.min()
        out.outlier[row] = best.gone
        out.flag[row] = flag


def _flag(best: _Explained) -> Validity:
    found = best.found
    if found[7]:
        return Validity.CAPACITANCE_ADDED
    flag = Validity.DRIFT * bool(found[3]) | Validity.INCONSISTENT * bool(found[4])
    return Validity(flag | Validity.OUTLIER * bool(best.gone.any()) | Validity.RANGE_EXTENDED * bool(found[8]))


@dataclass(frozen=True, eq=False)
class _Search:
    """Columns and data of one spectrum, all relative to |Z|, and the noise that is plausible."""

    look: CloseLook
    columns: Array
    data: Array
    fitted: Array
    allowed: Array
    allows_negative: bool
    capacitances: int
    shapes: Shapes
    suspects: Flags

    @classmethod
    def of(cls, look: CloseLook, one: Weighted, data: Array, modulus: Array, noise: Shapes, *, known: bool) -> "_Search":
        few, many = look.ladders
        added = few.capacitive[: int(look.add_capacitance)]
        allowed = one.relative(np.vstack([added, few.beyond]))
        noise_now = np.sqrt(noise.variance[0])
        sets = [one.relative(ladder.rows) for ladder in (few, many)]
        sets = [columns / np.linalg.norm(columns / noise_now, axis=1)[:, None] for columns in sets]
        columns = sets[_lacking([np.vstack([s, allowed]) / noise_now for s in sets], data / noise_now, look.resolution)]
        model = few.model
        search = cls(
            look, columns, data, data, allowed,
            allows_negative=model.falling or model.rising and model.admittance and model.capacitance,
            capacitances=len(added), shapes=noise, suspects=np.zeros(modulus.size, dtype=bool),
        )  # fmt: skip
        for _ in range(1 if known else 2):
            search = search._with_noise(modulus, known=known)
        return search

    def _with_noise(self, modulus: Array, *, known: bool) -> "_Search":
        """Fit robustly; the noise that is plausible beside that fit, and the points that are far from it."""
        points = modulus.size
        noise = np.sqrt(self.shapes.variance[0])
        residual, share = np.empty((2, self.data.size))
        columns = np.vstack([self.columns, self.allowed]) / noise
        scale = faults.robust(columns, self.data / noise, residual, share)
        scale += self.look.resolution**2
        squares = 0.5 * (residual[:points] ** 2 + residual[points:] ** 2)
        left = max(self.data.size - len(columns) - 2, 1)
        far = squares / scale / self.look.critical[1, left]
        suspects = np.zeros(points, dtype=bool)
        suspects[np.argsort(-far, kind="stable")[: points // 5]] = True
        suspects &= far > _SUSPECT
        fitted = self.data - residual * noise
        shapes = self.shapes
        if not known:
            kept = np.tile(~suspects, 2)
            value = (fitted[:points] + 1j * fitted[points:]) * modulus
            raised = (residual * noise) ** 2 / np.maximum(share, 0.05)
            shapes = Shapes.every(value).plausible(raised + 1e-2 * self.look.resolution**2, kept)
        return replace(self, fitted=fitted, shapes=shapes, suspects=suspects)

    def explain(self) -> _Explained:
        """Return the explanation that costs least; one that asks for a capacitance at once."""
        best: _Explained | None = None
        for k in range(len(self.shapes.variance)):
            for start in (np.zeros_like(self.suspects), self.suspects)[: 1 + bool(self.suspects.any())]:
                one = self._examine(self.shapes[k : k + 1], start.copy())
                if best is None or one.cost < best.cost:
                    best = one
        assert best is not None  # noqa: S101 - there is one shape at least
        return best

    def _examine(self, shape: Shapes, gone: Flags) -> _Explained:
        look, points = self.look, self.suspects.size
        noise = np.sqrt(shape.variance[0])
        columns, allowed, data = self.columns / noise, self.allowed / noise, self.data / noise
        floor = look.resolution**2
        most = faults.settle(np.vstack([columns, allowed]), data, look.critical[1], floor, gone)
        value = self.fitted[:points] + 1j * self.fitted[points:]
        trials = look.trials.columns(np.asarray(value / np.maximum(np.abs(value), 1e-30))) / noise
        limits = np.array([floor, LEAST_LEFT, points // 5, self.capacitances, self.allows_negative])
        found = np.empty(12)
        faults.examine(columns, data, trials, allowed, look.critical, limits, gone, found)
        found[0] = max(found[0], most)
        spread = found[5] / found[6] + floor
        cost = found[10] * math.log(spread) + float(np.log(shape.variance[0]).sum()) + found[9] + found[11]
        return _Explained(cost, found, gone, shape)


def _lacking(sets: list[Array], data: Array, resolution: float) -> bool:
    """Whether F says that the data need the second, larger set of columns."""
    few, many = sets
    more, left = len(many) - len(few), data.size - len(many)
    if more <= 0 or left <= 0:
        return False
    squares = []
    for columns in sets:
        x = np.empty(len(columns))
        faults.solve_dense(columns / np.linalg.norm(columns, axis=1)[:, None], data, x)
        squares.append(float(np.sum((data - x @ (columns / np.linalg.norm(columns, axis=1)[:, None])) ** 2)))
    gained = (squares[0] - squares[1]) / more / (squares[1] / left + resolution**2)
    return bool(gained > fdtri(float(more), float(left), 1.0 - _LACKING))
