"""The result of an inversion: frozen arrays, a status for each spectrum, and the model evaluated anywhere."""

import enum
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from drt_engine.basis import Expansion
from drt_engine.errors import InputError
from drt_engine.methods import Method
from drt_engine.problem import Unknowns, row_by_row
from drt_engine.spectra import STATE_UNITS

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["RESULT_UNITS", "Inversion", "Status", "count_status", "failures", "status_attributes"]

Array = NDArray[np.float64]

RESULT_UNITS = {
    "tau": "s",
    "gamma": "ohm",
    "coefficients": "ohm",
    "r_inf": "ohm",
    "inductance": "H",
    "capacitance": "F",
    "r_pol": "ohm",
    "regularisation": "1",
    "residual": "1",
    "kkt": "1",
}
"""Units of the arrays of a result."""


_PER_SPECTRUM = ("coefficients", "r_inf", "inductance", "capacitance", "regularisation", "residual", "kkt", "status")


class Status(enum.IntFlag):
    """What became of a spectrum; 0 is all well, and remarks may come together.

    ``LAMBDA_AT_EDGE``, ``POINTS_MISSING`` and ``SOLVED_BY_CVXPY`` are remarks on a good answer. With any other there
    is no answer and its row is NaN.
    """

    OK = 0
    LAMBDA_AT_EDGE = 1
    POINTS_MISSING = 2
    SOLVED_BY_CVXPY = 4
    NOT_FINITE = 16
    TOO_FEW_POINTS = 32
    WRONG_SIGN = 64
    NOT_SOLVED = 128

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return bool(self & _FAILURES)

    @property
    def message(self) -> str:
        """What was found, what was expected and what to do, in a sentence a flag."""
        return " ".join(text for flag, text in _MESSAGES.items() if flag in self) or "Solved."


_FAILURES = Status.NOT_FINITE | Status.TOO_FEW_POINTS | Status.WRONG_SIGN | Status.NOT_SOLVED
_MESSAGES = {
    Status.LAMBDA_AT_EDGE: "The criterion is smallest at an edge of the grid of λ: the data do not bound the "
    "regularisation. Compare with neighbouring spectra, or give a number.",
    Status.POINTS_MISSING: "Some impedances are NaN or infinite; expected finite ones. They were left out.",
    Status.SOLVED_BY_CVXPY: "The fast solver could not certify its answer; cvxpy could, which is slower and as good.",
    Status.NOT_FINITE: "Every impedance is NaN or infinite; expected finite ones. Measure again, or drop the row.",
    Status.TOO_FEW_POINTS: "Fewer than 5 finite impedances are left; expected 5 or more. Drop the row.",
    Status.WRONG_SIGN: "Im Z is positive throughout, or wherever the resistance rises; expected negative where the "
    "response is capacitive. If the file holds -Im Z, pass impedance.conj().",
    Status.NOT_SOLVED: "The optimality residual stayed above 1e-8; expected below. Try a larger regularisation, "
    "fewer relaxation times, or constraints that do not contradict each other.",
}


@dataclass(frozen=True, eq=False, repr=False)
class Inversion:
    """Distributions of relaxation times of K spectra on one frequency grid.

    Attributes
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    expansion : Expansion
        Basis functions that the coefficients belong to.
    coefficients : ndarray, shape (K, M)
        Coefficients of γ, ohm. For piecewise linear γ they are its values.
    r_inf, inductance, capacitance : ndarray, shape (K,)
        R_inf, ohm; L, H; C, F, infinite where the model or the answer has no series capacitance.
    regularisation : ndarray, shape (K,)
        λ, the factor of the roughness penalty, for impedances divided by any common factor.
    residual : ndarray, shape (K,)
        Root mean square of |Z_fit − Z| / |Z| over the points used.
    kkt : ndarray, shape (K,)
        Scaled optimality residual, at most 1e-8 for an answer.
    status : ndarray of uint8, shape (K,)
        Flags of :class:`Status`.
    states : DataFrame
        What each spectrum was measured at, K rows.
    method : Method
        What it was inverted with.
    """

    frequency: Array
    expansion: Expansion
    coefficients: Array
    r_inf: Array
    inductance: Array
    capacitance: Array
    regularisation: Array
    residual: Array
    kkt: Array
    status: NDArray[np.uint8]
    states: pd.DataFrame
    method: Method

    def __post_init__(self) -> None:
        """Check the shapes and freeze the arrays."""
        rows, columns = self.status.size, self.expansion.tau.size
        for field in fields(self):
            array = getattr(self, field.name)
            if not isinstance(array, np.ndarray):
                continue
            expected = {"coefficients": (rows, columns), "frequency": self.frequency.shape}.get(field.name, (rows,))
            if array.shape != expected:
                raise InputError(f"{field.name} must have shape {expected}; got {array.shape}.")
            array = array.view()
            array.flags.writeable = False
            object.__setattr__(self, field.name, array)
        if len(self.states) != rows:
            raise InputError(f"states must have one row for each of the {rows} spectra; got {len(self.states)}.")

    def __len__(self) -> int:
        """K, the number of spectra."""
        return int(self.status.size)

    def __getitem__(self, rows: Any) -> "Inversion":
        """Return the chosen spectra.

        Parameters
        ----------
        rows : int, slice, or array_like of int or bool
            Which, in numpy's terms; a boolean column of `states` will do.
        """
        chosen = np.atleast_1d(np.arange(len(self))[np.asarray(rows) if isinstance(rows, pd.Series) else rows])
        arrays = {name: getattr(self, name)[chosen] for name in _PER_SPECTRUM}
        return replace(self, **arrays, states=self.states.iloc[chosen].reset_index(drop=True))

    def __repr__(self) -> str:
        """Say what it holds, and what to do about what failed."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        failed = Status(int(np.bitwise_or.reduce(self.status[~self.solved], initial=0)))
        hint = f"\n{failed.message}" if failed else ""
        return f"Inversion({len(self)} spectra, {self.tau.size} relaxation times: {counts}){hint}"

    @property
    def tau(self) -> Array:
        """Relaxation times of the basis functions, s, ascending, shape (M,)."""
        return self.expansion.tau

    @cached_property
    def gamma(self) -> Array:
        """γ(ln τ) at `tau`, ohm per unit of natural logarithm, shape (K, M)."""
        return self.gamma_at(self.tau)

    @cached_property
    def r_pol(self) -> Array:
        """Polarisation resistance ∫ γ d ln τ, ohm, shape (K,)."""
        return np.asarray((self.coefficients * self.expansion.areas).sum(axis=1))

    @property
    def solved(self) -> NDArray[np.bool_]:
        """Whether there is an answer, shape (K,)."""
        return ~failures(self.status)

    def counts(self) -> dict[str, int]:
        """Count the spectra by status.

        Returns
        -------
        dict
            ``ok`` first, then each flag that occurs; a spectrum with two flags counts under both.
        """
        return count_status(self.status)

    def gamma_at(self, tau: ArrayLike) -> Array:
        """γ(ln τ) anywhere.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s.

        Returns
        -------
        ndarray, shape (K, T)
            Ohm per unit of natural logarithm.

        Raises
        ------
        InputError
            For relaxation times that are not positive and finite.
        """
        return row_by_row(self.coefficients, self.expansion.values(_positive("tau", "s", tau)).T)

    def impedance_at(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance of the fitted model anywhere.

        Parameters
        ----------
        frequency : array_like, shape (F',)
            Frequencies, Hz.

        Returns
        -------
        ndarray of complex, shape (K, F')
            Ohm.

        Raises
        ------
        InputError
            For frequencies that are not positive and finite.
        """
        f = _positive("frequency", "Hz", frequency)
        model = Unknowns(self.coefficients, self.r_inf, self.inductance, 1.0 / self.capacitance)
        return model.impedance(f, self.expansion.impedance(f))

    def to_xarray(self) -> "xr.Dataset":
        """Return it all as a dataset.

        Returns
        -------
        xarray.Dataset
            Dimensions ``spectrum`` and ``tau``; the states are coordinates along ``spectrum``; units and the method's
            settings as attributes.
        """
        import xarray as xr

        data = {
            name: (("spectrum", "tau") if name in ("gamma", "coefficients") else "spectrum", getattr(self, name))
            for name in RESULT_UNITS
            if name != "tau"
        }
        data["status"] = ("spectrum", self.status)
        dataset = xr.Dataset(
            data,
            coords={"tau": self.tau} | {str(name): ("spectrum", column) for name, column in self.states.items()},
            attrs={"basis": self.expansion.basis, "mu": self.expansion.mu} | _flat(self.method.settings()),
        )
        for name, unit in (RESULT_UNITS | dict(STATE_UNITS)).items():
            if name in dataset.variables:
                dataset[name].attrs["units"] = unit
        dataset["status"].attrs |= status_attributes()
        return dataset


def count_status(status: NDArray[np.uint8]) -> dict[str, int]:
    """Count spectra by status; ``ok`` first, then each flag that occurs.

    Parameters
    ----------
    status : ndarray of uint8, shape (K,)
        Flags of :class:`Status`.
    """
    counts = {"ok": int(np.count_nonzero(status == 0))}
    for flag in Status:
        count = int(np.count_nonzero(status & np.uint8(flag)))
        if count:
            counts[str(flag.name).lower().replace("_", " ")] = count
    return counts


def failures(status: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a status says that there is no answer, shape (K,).

    Parameters
    ----------
    status : ndarray of uint8, shape (K,)
        Flags of :class:`Status`.
    """
    return np.asarray((status & np.uint8(_FAILURES)) != 0)


def status_attributes() -> dict[str, Any]:
    """Attributes that make the status readable by the netCDF climate and forecast conventions."""
    flags = [flag for flag in Status if flag]
    return {
        "flag_masks": np.array(flags, dtype=np.uint8),
        "flag_meanings": " ".join(str(flag.name).lower() for flag in flags),
    }


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        f"method_{name}": str(value) if value is None or isinstance(value, bool) else value
        for name, value in settings.items()
    }


def _positive(name: str, unit: str, values: ArrayLike) -> Array:
    try:
        array = np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers in {unit}; got {error}.") from error
    if array.ndim != 1 or not np.all(np.isfinite(array) & (array > 0)):
        raise InputError(f"{name} must be one-dimensional, positive and finite, in {unit}; got {values!r}.")
    return array
