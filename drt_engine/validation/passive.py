"""What passive relaxations explain of a spectrum: R, L, C and relaxations, all positive, at any relaxation time.

The model of the test has resistances of any sign within the range of frequencies, so that it follows inductive loops,
and few terms outside. At the ends it follows too little of what most cells do, and too much of a drift: resistances
with alternating signs bend as drift does. Positive relaxations far beyond both ends do neither.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

__all__ = ["Drifting", "Passive"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_EACH = 12
"""Relaxation times a decade: an RC element between two of them is followed to 0.1 % of itself."""

_BEYOND = 100.0
"""How far they go beyond both ends. What is farther is a resistance or a capacitance, to 1 % of what is seen of it."""

_BEYOND_WITHOUT = 10.0
"""The same at the slow end where no capacitance is wanted, which slower ones would be: as far as the model of the test
goes."""

_STEPS = 10
"""Steps of the search for positive coefficients at most, as a multiple of their number."""


class Drifting(NamedTuple):
    """What the best drift explains beside passive relaxations."""

    ratio: float  # F over its critical value
    strict: float  # the same where coefficients that become positive beside it count as unknowns, too
    drift: float  # change of the modulus during the sweep
    error: float  # its standard error


class _Fitted(NamedTuple):
    """A fit with positive coefficients."""

    squares: float
    freedom: int
    x: Array


@dataclass(frozen=True, eq=False)
class Passive:
    """Positive relaxations, R, L and C for one spectrum, and how much better others explain it.

    Attributes
    ----------
    omega : ndarray, shape (F,)
        Angular frequencies, rad/s.
    weights : ndarray, shape (2F,)
        What real, then imaginary parts are multiplied by: one over the noise, zero for points that are out.
    data : ndarray, shape (2F,)
        These parts, in the unit of the noise.
    floor : float
        Variance in that unit below which no misfit counts.
    inductance, capacitance : bool
        Whether there is L, and C.
    beside : ndarray, shape (q, 2F)
        Columns in the unit of the noise whose coefficients may have any sign.
    """

    omega: Array
    weights: Array
    data: Array
    floor: float
    inductance: bool
    capacitance: bool
    beside: Array

    def without(self, gone: Flags) -> "Passive":
        """Leave points out."""
        kept = np.where(np.tile(gone, 2), 0.0, 1.0)
        return replace(self, weights=self.weights * kept, data=self.data * kept, beside=self.beside * kept)

    def with_columns(self, columns: Array) -> "Passive":
        """Add columns of any sign, shape (q, 2F), in the unit of the noise."""
        return replace(self, beside=np.vstack([self.beside, columns * (self.weights != 0.0)]))

    @property
    def variance(self) -> float:
        """Variance that is left, infinite where no fit was found."""
        return self._fitted.squares / self._fitted.freedom

    def ratio(self, larger: "Passive", count: int, chance: float) -> float:
        """Return F of a model with `count` unknowns more over the value that it exceeds by such a chance."""
        return self._ratios(larger._fitted, count, chance)[0]

    def drifting(self, chance: float, courses: Array) -> Drifting:
        """Find the drift that explains most.

        Parameters
        ----------
        chance : float
            By which a drift of one kind may be found where there is none.
        courses : ndarray, shape (C, F)
            Course of each kind of drift in time.
        """
        drifts = np.tile(courses, 2) * (self._fitted.x[: len(self._columns)] @ self._columns)
        together = self._positive(np.vstack([drifts, -drifts]))
        ratio, strict, _ = self._ratios(together, 1, chance)
        if not ratio > 1.0:
            return Drifting(ratio, strict, 0.0, np.inf)
        best = min((self._positive(np.vstack([one, -one])) for one in drifts), key=lambda one: one.squares)
        ratio, strict, gained = self._ratios(best, 1, chance)
        slope = float(best.x[-2] - best.x[-1])
        error = abs(slope) / float(np.sqrt(max(gained, 1e-9)))
        return Drifting(ratio, strict, slope, error)

    def _ratios(self, larger: _Fitted, count: int, chance: float) -> tuple[float, float, float]:
        """F over its critical value in two ways, and what is gained in units of the variance that is left.

        A further column may make other coefficients positive. In the second ratio these are unknowns, too: of a fit
        with positive coefficients the degrees of freedom are the number of those that are not zero (M. Meyer,
        M. Woodroofe, Ann. Stat. 28 (2000) 1083).
        """
        gained = max(self._fitted.squares - larger.squares, 0.0) / (larger.squares / larger.freedom + self.floor)
        if not gained < np.inf:
            return 0.0, 0.0, 0.0
        left, unknowns = float(larger.freedom), np.array([count, max(count, self._fitted.freedom - larger.freedom)])
        plain, strict = gained / unknowns / fdtri(unknowns.astype(float), left, 1.0 - chance)
        return float(plain), float(strict), float(gained)

    @cached_property
    def _fitted(self) -> _Fitted:
        return self._positive(np.empty((0, self.data.size)))

    def _positive(self, more: Array) -> _Fitted:
        """Fit with further columns whose coefficients are positive, too."""
        from scipy.optimize import nnls  # takes as long to import as all else of these tests

        columns = np.vstack([self._columns, self.beside, -self.beside, more])
        size = np.linalg.norm(columns, axis=1) + np.finfo(float).tiny
        try:
            x, left = nnls((columns / size[:, None]).T, self.data, maxiter=_STEPS * len(columns))
        except RuntimeError:  # no solution within so many steps
            return _Fitted(np.inf, 1, np.zeros(len(columns)))
        freedom = np.count_nonzero(self.weights) - np.count_nonzero(x)
        return _Fitted(float(left**2), max(int(freedom), 1), x / size)

    @cached_property
    def _columns(self) -> Array:
        return _relaxations(self.omega.tobytes(), self.inductance, self.capacitance) * self.weights


@lru_cache(maxsize=8)
def _relaxations(omega_bytes: bytes, inductance: bool, capacitance: bool) -> Array:
    """Columns of R, relaxations, L and C without weights: many spectra have the same, and each is fitted often."""
    omega = np.frombuffer(omega_bytes)
    low = 1.0 / (omega.max() * _BEYOND)
    high = (_BEYOND if capacitance else _BEYOND_WITHOUT) / omega.min()
    tau = np.geomspace(low, high, int(_EACH * np.log10(high / low)) + 1)
    columns = [np.ones((omega.size, 1)), 1.0 / (1.0 + 1j * omega[:, None] * tau)]
    columns += [1j * omega[:, None]] * inductance + [-1j / omega[:, None]] * capacitance
    rows = np.hstack(columns).T
    return np.hstack([rows.real, rows.imag])
