"""The close look at single spectra in which the test of all at once finds something."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from drt_engine.validation.base import Findings
from drt_engine.validation.batches import Weighted
from drt_engine.validation.noise import Shapes
from drt_engine.validation.passive import Passive
from drt_engine.validation.rc_model import RCModel
from drt_engine.validation.result import Validity
from drt_engine.validation.significance import LEAST_LEFT, Trials, chances, critical_values
from drt_kernels import violations

__all__ = ["SingleSpectrumTest"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LACKING = 1e-3
"""Chance below which the larger model is taken if the smaller one does as well."""

_SUSPECT = 0.5
"""Share of its critical value above which a point is left out until the others foretell it."""

_CONJUGATE = 40.0
"""By how much twice the logarithm of the likelihood has to be better with the other sign of Im."""

_ACTIVE = 0.1
"""Share of |Z| by which its real part has to be negative, and of points where it is, for a negative resistance."""

_MOSTLY = 0.5
"""Share of points with a positive Im above which a wrong sign is plausible where neither sign obeys the relations."""

_MANY = 3
"""Outliers beyond which the other sign of Im Z is tried: a few are taken for outliers."""

_MISFIT = 2.0 * math.log(100.0)
"""What smooth misfit costs beside its critical values: one spectrum in a hundred has it. Its columns are many, and bend
to what is noise of another kind where |Z| is small."""

_AS_WELL = 1.2
"""By which factor the variance that passive relaxations leave may exceed that of the model of the test, if they are to
have a say: what they cannot follow, as an inductive loop, is not theirs to judge."""

_FAR_OFF = 4.0
"""How many times its critical value the misfit of a suspect point has to be for an outlier without doubt."""

_BESIDE, _NOISIER = 12, 1.75
"""Points beside those that are out, and how many times the variance elsewhere is left of them, for noise that is larger
at one end of the frequencies to be tried. A point that is off alone says nothing of noise: with 1.5, a capacitance that
is not admitted is taken for noise in one of three blocking cells."""

_OTHER = 0.7
"""Logarithm of a ratio of variances by which another noise is tried."""


_GONE = 0.05
"""Weight of a point that is out, beside one of the others. It moves a fit that these determine by a four-hundredth of
what it is off; where they say nothing about it, as at the end of the range, none would let the model go anywhere."""


class _Explained(NamedTuple):
    """One explanation of a spectrum: its cost, what joined the model, the points that are out, and the noise."""

    cost: float
    found: "violations.Found"
    gone: Flags
    shape: Shapes


@dataclass(frozen=True, eq=False)
class SingleSpectrumTest:
    """The search for the violations of one spectrum, one after the other; see :func:`drt_kernels.violations.examine`.

    It is made for every noise that is plausible, from the fit to all points and from a robust one without those that
    are far from it. What costs least is taken: minus twice the logarithm of the likelihood, plus the critical value of
    everything that has joined, so that a violation is only called where no other noise explains as much.
    """

    rc_models: tuple[RCModel, RCModel]
    trials: Trials
    add_capacitance: bool
    false_alarms: float
    resolution: float

    @property
    def critical(self) -> Array:
        """Critical values of F by the degrees of freedom."""
        points = self.rc_models[0].omega.size
        return critical_values(points, self.trials.smooth, self.false_alarms)

    def look(self, one: Weighted, modulus: Array, noise: Shapes, *, known: bool, row: int, out: Findings) -> None:
        """Put what is found in one spectrum into `out`, unless nothing is and the score there is below one, too.

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
        if not _flag(best) and out.score[row] <= 1.0:
            return
        if not self.rc_models[0].model.admittance:
            best = self._judged(best, self._passive(one, best), search.trials(best.shape))
        flag = _flag(best)
        if flag & Validity.INCONSISTENT or flag & Validity.DRIFT or np.count_nonzero(best.gone) > _MANY:
            points = modulus.size
            other = np.concatenate([data[:points], -data[points:]])
            turned = _Search.of(self, one, other, modulus, noise, known=known).explain()
            if turned.cost < best.cost - _CONJUGATE:
                # A negative resistance obeys the relations with the other sign, too, but not for being turned; and of
                # what obeys them with neither sign, such as a cell under current, one sign is a little nearer.
                passive = np.mean(data[:points] < -_ACTIVE) < _ACTIVE
                obeys = not _flag(turned) & Validity.INCONSISTENT or np.mean(data[points:] > 0.0) > _MOSTLY
                flag |= Validity.WRONG_SIGN if passive and obeys else Validity.INCONSISTENT
        found = best.found
        out.score[row], out.drift[row], out.drift_error[row] = math.sqrt(found.score), found.drift, found.drift_error
        out.noise[row] = math.sqrt(found.squares / max(found.freedom, 1))
        out.noise_proportional[row], constant = out.noise[row] * np.sqrt(best.shape.alpha_beta[0])
        out.noise_constant[row] = constant * modulus.min()
        out.outlier[row] = best.gone
        out.flag[row] = flag
        left, points = search.left(best), modulus.size
        out.full_residual[row] = left[:points] + 1j * left[points:]
        shape = np.sqrt(best.shape.variance[0].reshape(2, points).mean(axis=0))
        out.deviation[row] = math.hypot(out.noise[row], self.resolution) * shape

    @property
    def _chances(self) -> tuple[float, float, float]:
        return chances(self.rc_models[0].omega.size, self.false_alarms)

    def _passive(self, one: Weighted, best: _Explained) -> Passive:
        rc_model = self.rc_models[0]
        model = rc_model.model
        weights = np.tile(one.weights[0], 2) / np.sqrt(best.shape.variance[0])
        return Passive(
            rc_model.omega,
            weights,
            one.data[0] * weights,
            self.resolution**2,
            model.inductance,
            model.capacitance or self.add_capacitance,
            np.empty((0, weights.size)),
        )

    def _judged(self, best: _Explained, passive: Passive, trials: Array) -> _Explained:
        """Take back what passive relaxations explain, and call the drift that they do not where nothing was found."""
        found, gone, drifts = best.found, best.gone, violations.DRIFTS
        drift = trials[: drifts * found.drifts]
        smooth = trials[drifts:] if found.inconsistent else trials[:0]
        if not (found.drifts or found.inconsistent or gone.any()):
            more = passive.drifting(self._chances[0], self.trials.times)
            if more.strict <= 1.0 or not self._fits(passive.with_columns(trials[:drifts]), found):
                return best
            found = found._replace(score=more.strict, drift=more.drift, drift_error=more.error, drifts=True)
            return best._replace(found=found._replace(extended=False, capacitance=False))
        if found.capacitance:  # the search is made again, with a capacitance in the model
            return best
        kept = passive.without(gone)
        whole = kept.with_columns(np.vstack([drift, smooth]))
        if not self._fits(whole, found):
            return best
        ratios = [0.0]
        if found.inconsistent:
            ratios.append(kept.with_columns(drift).ratio(whole, len(smooth), self._chances[2]))
            found = found._replace(inconsistent=ratios[-1] > 1.0)
        if found.drifts:
            # Smooth misfit bends as a drift does: beside one that is not needed, no drift is.
            beside = kept.with_columns(smooth if found.inconsistent else smooth[:0])
            ratios.append(beside.drifting(self._chances[0], self.trials.times).ratio)
            found = found._replace(drifts=ratios[-1] > 1.0)
        off = gone.copy()
        for point in np.flatnonzero(gone):
            others = gone.copy()
            others[point] = False
            with_it = passive.without(others).with_columns(np.vstack([drift, smooth]))
            ratios.append(with_it.ratio(whole, 2, self._chances[1]))
            off[point] = ratios[-1] > 1.0
        if found.drifts == best.found.drifts and found.inconsistent == best.found.inconsistent and np.all(off == gone):
            return best
        # Of two that explain the same, each is dispensable beside the other.
        remain = np.vstack([drift[: len(drift) * found.drifts], smooth[: len(smooth) * found.inconsistent]])
        if not self._fits(passive.without(off).with_columns(remain), best.found):
            return best
        right = not (found.drifts or found.inconsistent or off.any())
        return best._replace(found=found._replace(score=max(ratios), extended=found.extended or right), gone=off)

    def _fits(self, passive: Passive, found: "violations.Found") -> bool:
        """Whether passive relaxations, with what was found, explain a spectrum as well as the model of the test."""
        floor = passive.floor
        return passive.variance + floor < _AS_WELL * (found.squares / max(found.freedom, 1) + floor)


def _flag(best: _Explained) -> Validity:
    found = best.found
    if found.capacitance:
        return Validity.CAPACITANCE_ADDED
    flag = Validity.DRIFT * found.drifts | Validity.INCONSISTENT * found.inconsistent
    return Validity(flag | Validity.OUTLIER * bool(best.gone.any()) | Validity.RANGE_EXTENDED * found.extended)


@dataclass(frozen=True, eq=False)
class _Search:
    """Columns and data of one spectrum, all relative to |Z|, and the noise that is plausible.

    `free` are squares of a robust residual over the share of its freedom that the fit leaves; None for a known noise.
    """

    look: SingleSpectrumTest
    columns: Array
    data: Array
    fitted: Array
    allowed: Array
    has_capacitance: bool
    capacitances: int
    shapes: Shapes
    suspects: Flags
    free: Array | None = None
    outlying: bool = False

    @classmethod
    def of(
        cls, look: SingleSpectrumTest, one: Weighted, data: Array, modulus: Array, noise: Shapes, *, known: bool
    ) -> "_Search":
        few, many = look.rc_models
        added = few.capacitive[: int(look.add_capacitance)]
        allowed = one.relative(np.vstack([added, few.beyond]))
        sets = [one.relative(rc_model.rows) for rc_model in (few, many)]
        sets = [columns / np.linalg.norm(columns, axis=1)[:, None] for columns in sets]
        model = few.model
        search = cls(
            look, sets[int(3 * len(sets[1]) <= data.size)], data, data, allowed,
            has_capacitance=model.capacitance, capacitances=len(added), shapes=noise,
            suspects=np.zeros(modulus.size, dtype=bool),
        )  # fmt: skip
        # The larger model first, where it leaves freedom enough: what the smaller one lacks would be taken for noise.
        began = noise.variance[0]
        search = search._with_noise(modulus, known=known)
        if np.ptp(np.log(search.shapes.variance[0] / began)) > _OTHER:
            search = search._with_noise(modulus, known=known)
        return replace(search, columns=sets[int(search._lacking(sets))])

    def _with_noise(self, modulus: Array, *, known: bool) -> "_Search":
        """Fit robustly; the noise that is plausible beside that fit, and the points that are far from it."""
        points = modulus.size
        noise = np.sqrt(self.shapes.variance[0])
        residual, share = np.empty((2, self.data.size))
        columns = np.vstack([self.columns, self.allowed]) / noise
        violations.robust(columns, self.data / noise, residual, share)
        fitted = self.data - residual * noise
        shapes, free = self.shapes, self.free
        squares = (residual * noise) ** 2
        if not known:
            value = (fitted[:points] + 1j * fitted[points:]) * modulus
            floor = self.look.resolution**2
            free = squares / np.maximum(share, 0.05) + 0.01 * floor
            shapes = Shapes.every(value).plausible(free, floor)
        scaled = 0.5 * (squares / shapes.variance[0]).reshape(2, points).sum(axis=0)
        left = max(self.data.size - len(columns) - 2, 1)
        scale = float(np.median(scaled)) / math.log(2.0) * self.data.size / max(self.data.size - len(columns), 1)
        far = scaled / (scale + self.look.resolution**2) / self.look.critical[1, left]
        suspects = np.zeros(points, dtype=bool)
        suspects[np.argsort(-far, kind="stable")[: points // 5]] = True
        suspects &= far > _SUSPECT
        outlying = bool((far[suspects] > _FAR_OFF).any())
        return replace(self, fitted=fitted, shapes=shapes, free=free, suspects=suspects, outlying=outlying)

    def _lacking(self, sets: list[Array]) -> bool:
        """Whether F says that the points which are not suspect need the second, larger set of columns."""
        weights = np.where(np.tile(self.suspects, 2), 0.0, 1.0) / np.sqrt(self.shapes.variance[0])
        # Drift is no lack of elements.
        drift = self.trials(self.shapes[:1])[: violations.DRIFTS] * np.sqrt(self.shapes.variance[0])
        few, many = (np.vstack([columns, drift]) * weights for columns in sets)
        more, left = len(many) - len(few), np.count_nonzero(weights) - len(many) - len(self.allowed)
        if more <= 0 or left <= 0:
            return False
        # With positive coefficients, as they will join: with any signs they follow what few elements do not. Beside
        # points that are far off, of which some may not be suspect, these would ask for elements to follow them.
        allowed = np.vstack([self.allowed, -self.allowed] if self.outlying else [self.allowed]) * weights
        less, least = (float(np.sum(_beside(columns, allowed, self.data * weights)[1] ** 2)) for columns in (few, many))
        gained = (less - least) / more / (least / left + self.look.resolution**2)
        return bool(gained > fdtri(float(more), float(left), 1.0 - _LACKING))

    def left(self, best: _Explained) -> Array:
        """Return what the model leaves, relative to |Z|, so that what is wrong shows.

        What lies outside the range of frequencies is part of the model if it joined; drift and smooth misfit are not,
        and points that are out hardly count.
        """
        weights = np.where(np.tile(best.gone, 2), _GONE, 1.0) / np.sqrt(best.shape.variance[0])
        columns, allowed, data = (a * weights for a in (self.columns, self.allowed, self.data))
        more, x = np.zeros(len(allowed)), np.empty(len(columns))
        if best.found.extended:
            more = _beside(columns, allowed, data)[0]
        violations.solve_dense(columns, data - more @ allowed, x)
        return np.asarray(self.data - more @ self.allowed - x @ self.columns)

    def trials(self, shape: Shapes) -> Array:
        """Return drift of each kind and smooth courses, in the unit of a noise."""
        points = self.suspects.size
        value = self.fitted[:points] + 1j * self.fitted[points:]
        columns = self.look.trials.columns(np.asarray(value / np.maximum(np.abs(value), 1e-30)))
        return np.asarray(columns / np.sqrt(shape.variance[0]))

    def explain(self) -> _Explained:
        """Return the explanation that costs least."""
        every = self._explained(self.shapes)
        first = next(every)
        if not self.suspects.any() and not _flag(first) & ~Validity.RANGE_EXTENDED:
            return first
        best = min([first, *every], key=lambda one: one.cost)
        if self.free is None or not self._noisier_beside(best):
            return best
        larger = Shapes.larger_at_ends(self.look.rc_models[0].omega)
        ends = larger.plausible(self.free, self.look.resolution**2)
        # Of what is left over with such noise, it is no better an explanation.
        whole = [one for one in self._explained(ends) if not _flag(one) & ~Validity.RANGE_EXTENDED]
        return min([best, *whole], key=lambda one: one.cost)

    def _noisier_beside(self, best: _Explained) -> bool:
        """Whether what is left is larger beside the points that are out than elsewhere."""
        if not best.gone.any():
            return False
        squares = (self.left(best) ** 2 / best.shape.variance[0]).reshape(2, -1).sum(axis=0)
        kept = np.flatnonzero(~best.gone)
        apart = np.abs(kept[:, None] - np.flatnonzero(best.gone)).min(axis=1)
        near = apart <= np.sort(apart)[min(_BESIDE, kept.size) - 1]
        return not near.all() and bool(squares[kept[near]].mean() > _NOISIER * squares[kept[~near]].mean())

    def _explained(self, shapes: Shapes) -> Iterator[_Explained]:
        """Examine a spectrum with each noise, from all points and from those that are not suspect."""
        for k in range(len(shapes.variance)):
            for start in (np.zeros_like(self.suspects), self.suspects)[: 1 + bool(self.suspects.any())]:
                yield self._examine(shapes[k : k + 1], start.copy())

    def _examine(self, shape: Shapes, gone: Flags) -> _Explained:
        look, points = self.look, self.suspects.size
        noise = np.sqrt(shape.variance[0])
        columns, allowed, data = self.columns / noise, self.allowed / noise, self.data / noise
        floor = look.resolution**2
        most = violations.settle(np.vstack([columns, allowed]), data, look.critical[1], floor, gone)
        trials = self.trials(shape)
        limits = violations.Limits(floor, LEAST_LEFT, points // 5, self.capacitances, self.has_capacitance)
        question = violations.Question(columns, data, trials, allowed, look.critical, limits)
        found = violations.examine(question, gone)
        found = found._replace(score=max(found.score, most))
        spread = found.squares / max(found.freedom, 1) + floor
        cost = found.model_freedom * math.log(spread) + float(np.log(shape.variance[0]).sum()) + found.log_determinant
        cost += 2.0 * float(shape.rare[0]) + found.price + _MISFIT * found.inconsistent
        return _Explained(cost, found, gone, shape)


def _beside(columns: Array, allowed: Array, data: Array) -> tuple[Array, Array]:
    """Positive coefficients of allowed columns beside those of a model, and what both leave of the data."""
    from scipy.optimize import nnls  # takes as long to import as all else of these tests

    basis = np.linalg.qr((columns / np.linalg.norm(columns, axis=1)[:, None]).T)[0]
    beside, rest = (a - (a @ basis) @ basis.T for a in (allowed, data))
    try:
        x = nnls(beside.T, rest)[0]
    except RuntimeError:  # no solution within as many steps as it takes: they explain nothing
        x = np.zeros(len(beside))
    return np.asarray(x), np.asarray(rest - x @ beside)
