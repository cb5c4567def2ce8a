"""The result of a test of validity: frozen arrays, a flag for each spectrum and each point."""

import enum
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.spectra import chosen_rows, freeze_arrays
from drt_engine.text import count_of
from drt_engine.validation.base import ValidityTest

__all__ = ["MOST_IN_NOISE", "Validation", "Validity"]

Array = NDArray[np.float64]


class Validity(enum.IntFlag):
    """What is wrong with a spectrum; 0 is nothing.

    ``POINTS_MISSING``, ``ELEMENTS_AT_LIMIT``, ``CAPACITANCE_ADDED`` and ``RANGE_EXTENDED`` are remarks. With
    ``NOT_FINITE`` and ``TOO_FEW_POINTS`` there was nothing to test, and the row is NaN.
    """

    VALID = 0
    DRIFT = 1
    OUTLIER = 2
    INCONSISTENT = 4
    NOISY = 8
    POINTS_MISSING = 16
    ELEMENTS_AT_LIMIT = 32
    CAPACITANCE_ADDED = 64
    RANGE_EXTENDED = 128
    NOT_FINITE = 256
    TOO_FEW_POINTS = 512
    WRONG_SIGN = 1024
    UNPREDICTED = 2048

    @property
    def message(self) -> str:
        """What was found and what to do, in a sentence a flag."""
        return " ".join(text for flag, text in _MESSAGES.items() if flag in self) or "Valid."


_MESSAGES = {
    Validity.DRIFT: "The impedance changed while it was measured. Wait longer before the sweep, or raise the lowest "
    "frequency.",
    Validity.OUTLIER: "Single points are off by more than the noise. Clean them.",
    Validity.INCONSISTENT: "Modulus and phase do not belong together over a range of frequencies: the response was "
    "not linear, not stationary, or is outside the model. Look at the residuals; try a smaller amplitude, or the "
    "admittance.",
    Validity.WRONG_SIGN: "The imaginary part has the wrong sign: the spectrum obeys Kramers and Kronig with the other "
    "one. Capacitive means Im Z < 0; take the complex conjugate.",
    Validity.NOISY: "The noise is above the limit. Average longer, or raise the amplitude.",
    Validity.UNPREDICTED: "The other spectra of its series do not predict this one, by far more than neighbours "
    "differ here: something was different while it was measured, or its recorded state is wrong. Compare it "
    "with its neighbours; leave it out of the series if it does not belong to it.",
    Validity.POINTS_MISSING: "Some impedances are NaN, infinite or zero. They were left out.",
    Validity.ELEMENTS_AT_LIMIT: "μ stayed above its threshold up to the largest number of elements. If that is below "
    "2.5 a decade, for want of points, the residual is what these do not follow, and says nothing of the noise.",
    Validity.CAPACITANCE_ADDED: "The model has a capacitance, which explains the data better than any violation.",
    Validity.RANGE_EXTENDED: "A relaxation outside the range of frequencies explains the data better than any violation"
    ". A modulus that fell during the sweep by a few per cent would look alike: see whether a repeated sweep agrees.",
    Validity.NOT_FINITE: "Every impedance is NaN, infinite or zero. Measure again, or drop the row.",
    Validity.TOO_FEW_POINTS: "Fewer than 5 points are left. Drop the row.",
}

_FAULTS = (
    Validity.DRIFT
    | Validity.OUTLIER
    | Validity.INCONSISTENT
    | Validity.NOISY
    | Validity.WRONG_SIGN
    | Validity.UNPREDICTED
)
_FAILURES = Validity.NOT_FINITE | Validity.TOO_FEW_POINTS
MOST_IN_NOISE = 5.0
"""Residual, in standard deviations of the noise, of the last colour of maps: in 1,300 valid spectra, measured and
simulated, no point had more than 2.9."""

_MATRICES = ("residual", "full_residual", "deviation", "outlier")


@dataclass(frozen=True, eq=False, repr=False)
class Validation:
    """What a test of validity found in K spectra on one frequency grid.

    Attributes
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    residual : ndarray of complex, shape (K, F)
        (Z − Z_model) / |Z|, or the same of the admittance where that was tested; NaN at missing points. Of the model
        with M elements.
    full_residual : ndarray of complex64, shape (K, F)
        The same of the model by which a spectrum is judged: of as many elements as its tests have, fitted with the
        weights of the noise to the points that are no outliers, without drift and smooth misfit. Of a valid spectrum
        this is its noise.
    deviation : ndarray of float32, shape (K, F)
        What the residual of a point is held against: the standard deviation of its noise as a share of |Z|, the root
        mean square of that of its real and imaginary part, and the resolution of the test, added as squares.
    elements : ndarray of int, shape (K,)
        Number M of RC elements; 0 where there are none.
    mu : ndarray, shape (K,)
        μ of the fit, 1 where no element is negative.
    noise : ndarray, shape (K,)
        Standard deviation of the real and of the imaginary part as a share of |Z|, at a point of which half of the
        points have more, estimated from what neither the model nor drift, outliers and smooth misfit explain.
    noise_constant, noise_proportional : ndarray, shape (K,)
        a, ohm, and b of this noise, σ² = a² + b²|Z|²; NaN where another noise is given or much likelier.
    drift, drift_error : ndarray, shape (K,)
        Change of the modulus from the first to the last point as a share of it, and its standard error.
    score : ndarray, shape (K,)
        How much the largest misfit exceeds chance: the root of its F statistic over its critical value, so that a
        spectrum is faulty above 1, and twice the violation has about twice the score.
    flag : ndarray of uint16, shape (K,)
        Flags of :class:`Validity`.
    outlier : ndarray of bool, shape (K, F)
        Points that are off by more than the noise.
    states : DataFrame
        What each spectrum was measured at, K rows.
    method : ValidityTest
        What it was tested with.
    prediction, prediction_error : ndarray, shape (K,)
        Score of how far the other spectra of its series miss a spectrum, above 1 where they do not predict it, and by
        how many standard deviations of the noise; NaN where no inversion was tested. See
        :meth:`~drt_engine.Inversion.predictions`.
    """

    frequency: Array
    residual: NDArray[np.complex128]
    full_residual: NDArray[np.complex64]
    deviation: NDArray[np.float32]
    elements: NDArray[np.int64]
    mu: Array
    noise: Array
    noise_constant: Array
    noise_proportional: Array
    drift: Array
    drift_error: Array
    score: Array
    flag: NDArray[np.uint16]
    outlier: NDArray[np.bool_]
    states: pd.DataFrame
    method: ValidityTest
    prediction: Array = None  # type: ignore[assignment]  # NaN, below
    prediction_error: Array = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Check the shapes and freeze the arrays."""
        for name in ("prediction", "prediction_error"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(self.flag.size, np.nan))
        rows, points = self.flag.size, self.frequency.size
        freeze_arrays(
            self, lambda name: (points,) if name == "frequency" else (rows, points)[: 1 + (name in _MATRICES)]
        )
        if len(self.states) != rows:
            raise InputError(
                f"states must have one row for each of the {count_of(rows, 'spectrum')}; got {len(self.states)}."
            )

    def __len__(self) -> int:
        """K, the number of spectra."""
        return int(self.flag.size)

    def __getitem__(self, rows: Any) -> "Validation":
        """Return the chosen spectra.

        Parameters
        ----------
        rows : int, slice, or array_like of int or bool
            Which, in numpy's terms; a boolean column of `states` will do.
        """
        chosen = chosen_rows(len(self), rows)
        arrays = {
            field.name: getattr(self, field.name)[chosen]
            for field in fields(self)
            if field.name not in ("frequency", "states", "method")
        }
        return replace(self, **arrays, states=self.states.iloc[chosen].reset_index(drop=True))

    def __repr__(self) -> str:
        """Say what it holds, and what to do about what was found."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        found = Validity(int(np.bitwise_or.reduce(self.flag, initial=0)))
        hint = f"\n{found.message}" if found else ""
        return f"Validation({count_of(len(self), 'spectrum')}, {self.frequency.size} frequencies: {counts}){hint}"

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Whether a spectrum was tested and no violation found, shape (K,)."""
        return np.asarray((self.flag & np.uint16(_FAULTS | _FAILURES)) == 0)

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Whether a spectrum had enough points to be tested, shape (K,)."""
        return np.asarray((self.flag & np.uint16(_FAILURES)) == 0)

    @property
    def in_noise(self) -> NDArray[np.float32]:
        """Residual of the model by which spectra are judged, in standard deviations of the noise, shape (K, F).

        The root mean square of real and imaginary part: about 1 at all points of a valid spectrum.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.abs(self.full_residual) / (np.sqrt(np.float32(2.0)) * self.deviation))

    @property
    def words(self) -> list[str]:
        """Names of the flags of each spectrum, joined by ``|``; ``valid`` where there are none."""
        names = {value: _name(value) for value in np.unique(self.flag).tolist()}
        return [names[value] for value in self.flag.tolist()]

    @cached_property
    def chi_square(self) -> Array:
        """Pseudo χ², the sum of |residual|² over the points, shape (K,).

        Eq. (14) of B. A. Boukamp, J. Electrochem. Soc. 142 (1995) 1885.
        """
        square = np.nansum(np.abs(self.residual) ** 2, axis=1)
        return np.where(self.tested, square, np.nan)

    @cached_property
    def rms(self) -> Array:
        """Root mean square of |full_residual| over the points, per cent, shape (K,).

        Of a valid spectrum this is its noise: √2 times that of each part.
        """
        square = np.abs(self.full_residual) ** 2
        points = np.count_nonzero(~np.isnan(square), axis=1)
        mean = np.nansum(square, axis=1, dtype=float) / np.maximum(points, 1)
        return np.where(self.tested, 100.0 * np.sqrt(mean), np.nan)

    def counts(self) -> dict[str, int]:
        """Count the spectra by what was found.

        Returns
        -------
        dict
            ``valid`` first, then each flag that occurs; a spectrum with two flags counts under both.
        """
        counts = {"valid": int(np.count_nonzero(self.valid))}
        for flag in Validity:
            count = int(np.count_nonzero(self.flag & np.uint16(flag)))
            if count:
                counts[str(flag.name).lower().replace("_", " ")] = count
        return counts

    def to_frame(self) -> pd.DataFrame:
        """Return one row a spectrum: its states, then what was found.

        Returns
        -------
        DataFrame
            The columns ``valid``, ``flag`` (names, joined by ``|``), ``score``, ``rms`` (%), ``chi_square``,
            ``elements``, ``mu``, ``noise`` (%), ``noise_constant`` (ohm), ``noise_proportional`` (%), ``drift`` (%),
            ``drift_error`` (%), ``outliers`` (how many), ``prediction`` and ``prediction_error`` follow the states; one
            that the states have already gets ``_kk`` at its end.
        """
        found = pd.DataFrame(
            {
                "valid": self.valid,
                "flag": self.words,
                "score": self.score,
                "rms": self.rms,
                "chi_square": self.chi_square,
                "elements": self.elements,
                "mu": self.mu,
                "noise": 100.0 * self.noise,
                "noise_constant": self.noise_constant,
                "noise_proportional": 100.0 * self.noise_proportional,
                "drift": 100.0 * self.drift,
                "drift_error": 100.0 * self.drift_error,
                "outliers": self.outlier.sum(axis=1),
                "prediction": self.prediction,
                "prediction_error": self.prediction_error,
            }
        )
        taken = set(map(str, self.states.columns))
        found.columns = pd.Index([f"{name}_kk" if name in taken else name for name in found.columns])
        return pd.concat([self.states.reset_index(drop=True), found], axis=1)


def _name(value: int) -> str:
    return "|".join(str(flag.name).lower() for flag in Validity if value & flag) or "valid"
