"""Cleaning: points are taken out of a copy of the spectra, and a table says which and why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError
from drt_engine.spectra import MASK_REASONS, Spectra
from drt_engine.text import count_of
from drt_engine.validation.base import ValidityTest
from drt_engine.validation.bulk import validate
from drt_engine.validation.kramers_kronig import LinearKramersKronig

__all__ = ["Cleaned", "Cleaning", "clean"]

Band = tuple[float, float]


@dataclass(frozen=True)
class Cleaning:
    """What is taken out, step by step in this order; a point taken out is not looked at by the steps after.

    Parameters
    ----------
    frequency_range : pair of float or None, optional
        Lowest and highest frequency that stay, Hz, both included; None for no end.
    bands : sequence of pairs of float
        Ranges of frequency that go, Hz, both ends included; for example around the mains.
    inductive_tail : bool
        Whether points with Im Z ≥ 0 go, from the highest frequency down to the first with Im Z < 0.
    outliers : bool
        Whether points go that the test finds to be off.
    method : LinearKramersKronig
        That test.

    Raises
    ------
    InputError
        For ranges that are empty or no numbers, and for a method that is none.
    """

    frequency_range: tuple[float | None, float | None] | None = None
    bands: Sequence[Band] = ()
    inductive_tail: bool = False
    outliers: bool = True
    method: ValidityTest = field(default_factory=LinearKramersKronig)

    def __post_init__(self) -> None:
        """Check every field, so that a mistake shows before the work begins."""
        if self.frequency_range is not None:
            low, high = _pair("frequency_range", self.frequency_range)
            _band("frequency_range", (0.0 if low is None else low, math.inf if high is None else high))
            object.__setattr__(self, "frequency_range", (low, high))
        try:
            bands = tuple(_band("bands", _pair("bands", band)) for band in self.bands)
        except TypeError as error:
            raise InputError(f"bands must be pairs of frequencies in Hz; got {self.bands!r}.") from error
        object.__setattr__(self, "bands", bands)
        for name in ("inductive_tail", "outliers"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be True or False; got {getattr(self, name)!r}.")
        if isinstance(self.method, type) or not isinstance(self.method, ValidityTest):
            raise InputError(f"method must be a test such as LinearKramersKronig(); got {self.method!r}.")

    def settings(self) -> dict[str, Any]:
        """Return the fields, in types that JSON has."""
        return {
            "frequency_range": None if self.frequency_range is None else list(self.frequency_range),
            "bands": [list(band) for band in self.bands],
            "inductive_tail": self.inductive_tail,
            "outliers": self.outliers,
            "method": self.method.settings(),
        }


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Spectra with points taken out, and the record of it.

    Attributes
    ----------
    spectra : Spectra
        The same spectra, states and frequencies; what was taken out is NaN.
    record : DataFrame
        A row for each point taken out: ``spectrum`` (row number), ``point`` (column number), ``frequency`` (Hz),
        ``reason`` (one of `MASK_REASONS`), and the impedance that was measured there, ``real`` and ``imag`` (ohm).
    settings : dict
        What was done, in types that JSON has; ``mask`` is how many points a mask named.
    """

    spectra: Spectra
    record: pd.DataFrame
    settings: dict[str, Any]

    def mask(self) -> NDArray[np.uint8]:
        """Return 0 for points that stay and n for those taken out for the n-th of `MASK_REASONS`, shape (K, F)."""
        mask = np.zeros(self.spectra.impedance.shape, dtype=np.uint8)
        number = self.record["reason"].map({reason: n for n, reason in enumerate(MASK_REASONS, start=1)})
        mask[self.record["spectrum"], self.record["point"]] = number.to_numpy(dtype=np.uint8)
        return mask

    def counts(self) -> dict[str, int]:
        """Count the points taken out, by reason, in the order of the steps."""
        found = self.record["reason"].value_counts()
        return {reason: int(found.get(reason, 0)) for reason in MASK_REASONS}

    def __repr__(self) -> str:
        """Say how many points were taken out and why."""
        counts = ", ".join(f"{count} {reason}" for reason, count in self.counts().items() if count) or "none"
        touched = self.record["spectrum"].nunique()
        return (
            f"Cleaned({count_of(len(self.spectra), 'spectrum')}, {touched} of them changed; points taken out: {counts})"
        )


def clean(spectra: Spectra, cleaning: Cleaning | None = None, *, mask: ArrayLike | None = None) -> Cleaned:
    """Take bad points out of a copy of spectra.

    Points that are missing already stay missing and are not recorded.

    Parameters
    ----------
    spectra : Spectra
        K spectra; they stay as they are.
    cleaning : Cleaning, optional
        What is taken out; ``Cleaning()``, outliers by the linear Kramers-Kronig test, by default.
    mask : array_like of bool, shape (F,) or (K, F), optional
        Further points to take out, True, in the order of ``spectra.frequency``.

    Returns
    -------
    Cleaned
        The spectra with NaN in place of these points, and the record.

    Raises
    ------
    InputError
        If `spectra` is not a Spectra, `cleaning` no Cleaning, or `mask` of another shape or type.

    Examples
    --------
    >>> import drt_engine as drt
    >>> cleaned = clean(drt.Spectra([1e3, 1e2, 10, 1, 0.1], [[1 + 1j, 2 - 1j, 3 - 1j, 3 - 0.5j, 3 - 0.1j]]),
    ...                 Cleaning(inductive_tail=True, outliers=False))
    >>> cleaned.counts()["inductive tail"]
    1
    """
    if not isinstance(spectra, Spectra):
        raise InputError(
            f"spectra must be a Spectra; got {type(spectra).__name__}. Make one: Spectra(frequency, impedance)."
        )
    cleaning = Cleaning() if cleaning is None else cleaning
    if not isinstance(cleaning, Cleaning):
        raise InputError(f"cleaning must be a Cleaning; got {cleaning!r}. Give for example Cleaning(outliers=True).")
    named = _mask(mask, spectra.impedance.shape)
    left = spectra.impedance.copy()
    parts = []
    for reason in MASK_REASONS:
        gone = _step(reason, cleaning, spectra, left, named) & ~np.isnan(left)
        row, point = np.nonzero(gone)
        parts.append(_entries(spectra, row, point, reason))
        left[gone] = complex(np.nan, np.nan)
    record = pd.concat(parts).sort_values(["spectrum", "point"], ignore_index=True)
    settings = cleaning.settings() | {"mask": int(np.count_nonzero(named))}
    return Cleaned(Spectra(spectra.frequency, left, spectra.states, spectra.point_time), record, settings)


def _step(
    reason: str, cleaning: Cleaning, spectra: Spectra, left: NDArray[np.complex128], named: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Points that a step takes out of what is left, shape (K, F)."""
    f = spectra.frequency
    gone = np.zeros(left.shape, dtype=bool)
    if reason == "frequency range" and cleaning.frequency_range is not None:
        low, high = cleaning.frequency_range
        gone[:, (f < (low or 0.0)) | (f > (math.inf if high is None else high))] = True
    elif reason == "band":
        for low, high in cleaning.bands:
            gone[:, (f >= low) & (f <= high)] = True
    elif reason == "mask":
        gone |= named
    elif reason == "inductive tail" and cleaning.inductive_tail:
        with np.errstate(invalid="ignore"):
            gone = np.logical_and.accumulate((left.imag >= 0.0) | np.isnan(left), axis=1)
    elif reason == "outlier" and cleaning.outliers:
        gone = validate(Spectra(f, left, spectra.states), cleaning.method).outlier
    return gone


def _entries(spectra: Spectra, row: NDArray[np.intp], point: NDArray[np.intp], reason: str) -> pd.DataFrame:
    z = spectra.impedance[row, point]
    return pd.DataFrame(
        {
            "spectrum": row,
            "point": point,
            "frequency": spectra.frequency[point],
            "reason": np.full(row.size, reason, dtype=object),
            "real": z.real,
            "imag": z.imag,
        }
    )


def _mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask is None:
        return np.zeros(shape, dtype=bool)
    named = np.asarray(mask)
    if named.dtype != np.bool_ or named.shape not in (shape, shape[1:]):
        raise InputError(
            f"mask must be booleans of shape {shape} or {shape[1:]}; got {named.dtype} of shape {named.shape}."
        )
    return np.broadcast_to(named, shape)


def _pair(name: str, values: Any) -> tuple[Any, Any]:
    try:
        low, high = values
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be pairs of a lower and a higher frequency in Hz; got {values!r}.") from error
    return low, high


def _band(name: str, band: tuple[Any, Any]) -> Band:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in band)
    if not numbers or not 0.0 <= band[0] <= band[1]:
        raise InputError(f"{name} must be frequencies in Hz, not negative, the lower one first; got {band!r}.")
    return float(band[0]), float(band[1])
