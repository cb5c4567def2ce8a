"""The arrays of a result, each declared once: results, jobs, files, tables and pages follow these declarations.

Beside them are units of what is derived from a result. Who only reads or writes them needs no more than this file.
"""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ELEMENT_UNITS",
    "GAMMA_UNITS",
    "INTERVAL_UNITS",
    "LATER_INTERVALS",
    "OF_GAMMA",
    "OF_POINTS",
    "PEAK_UNITS",
    "PER_SPECTRUM",
    "RESULT_FIELDS",
    "RESULT_UNITS",
    "ResultArrays",
    "ResultField",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ResultField:
    """Name, symbol, unit, shape and meaning of an array of a result.

    Attributes
    ----------
    name : str
        Its name everywhere.
    units : str or None
        Its units; None for flags.
    symbol : str
        How the page on theory writes it.
    long_name : str
        What it is, in a few words, as files say it.
    by_tau : bool
        Whether it has a value for each relaxation time, and not one for each spectrum.
    missing : float or None
        What stands in a result whose method does not find it, or in one from an older file; None if it is always there.
    former : str or None
        Its name in older files.
    """

    name: str
    units: str | None
    symbol: str
    long_name: str
    by_tau: bool = False
    missing: float | None = None
    former: str | None = None


def _of(units: str | None, symbol: str, long_name: str, **more: Any) -> dict[str, Any]:
    return {"units": units, "symbol": symbol, "long_name": long_name} | more


def _later(units: str, symbol: str, long_name: str, missing: float = np.nan) -> dict[str, Any]:
    """Describe an array that not every method finds and that older files lack."""
    return _of(units, symbol, long_name, missing=missing)


_ABSENT: Any = None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ResultArrays:
    """The arrays that make up a result of K spectra, with a row for each.

    A new one is one declaration here: a method's `Solution` or its `Parameters` hand it over under the same name.
    """

    coefficients: Array = field(
        metadata=_of("ohm", "$x_m$", "coefficients of the basis functions", by_tau=True),
    )
    r_inf: Array = field(metadata=_of("ohm", r"$R_\infty$", "resistance at infinite frequency"))
    inductance: Array = field(metadata=_of("H", "$L$", "series inductance"))
    capacitance: Array = field(
        metadata=_of("F", "$C$, infinite where there is none", "series capacitance, infinite where there is none")
    )
    regularisation: Array = field(metadata=_of("1", r"$\lambda$", "factor of the roughness penalty"))
    residual: Array = field(
        metadata=_of(
            "1",
            r"root mean square of $\lvert Z_\text{fit} - Z\rvert / \lvert Z\rvert$",
            "root mean square of the relative residual",
        )
    )
    optimality: Array = field(
        metadata=_of("1", "scaled optimality residual", "scaled optimality residual", former="kkt")
    )
    noise_floor: Array = field(
        default=_ABSENT,
        metadata=_later(
            "ohm",
            r"$a$ of $\sigma = \sqrt{a^2 + b^2\lvert Z\rvert^2}$, if the method finds it",
            "constant part of the standard deviation of the noise",
        ),
    )
    noise_relative: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1",
            "$b$, if the method finds it",
            "part of the standard deviation of the noise in proportion to the modulus",
        ),
    )
    coupling: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1",
            r"$\kappa$ of the series, if spectra were inverted together",
            "strength of the coupling between neighbouring spectra of a series",
        ),
    )
    shift: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1",
            r"$s$ of the series, a distance in $\ln\tau$",
            "distance in ln(tau) that processes move from one spectrum to the next",
        ),
    )
    coupling_across: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1",
            r"$\kappa$ between series, along the second of two states",
            "strength of the coupling between neighbouring series",
        ),
    )
    shift_across: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1", "$s$ between series", "distance in ln(tau) that processes move from one series to the next"
        ),
    )
    r_pol_beyond: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1",
            r"share of `r_pol` at $\tau < 1/\omega_\text{max}$ or $\tau > 1/\omega_\text{min}$",
            "share of r_pol at relaxation times outside the window of the data",
        ),
    )
    tail_q: Array = field(
        default=_ABSENT,
        metadata=_later(
            "S s^n",
            r"$Q$ of the tail $1/(Q(\mathrm{j}\omega)^n)$",
            "Q of the constant-phase tail, infinite where there is none",
            np.inf,
        ),
    )
    tail_exponent: Array = field(
        default=_ABSENT, metadata=_later("1", "$n$ of the tail", "exponent of the constant-phase tail")
    )
    tail_tau: Array = field(
        default=_ABSENT,
        metadata=_later(
            "s",
            "$T$ of diffusion in a finite space",
            "time constant of diffusion in a finite space, infinite where there is none",
            np.inf,
        ),
    )
    inductance_exponent: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1", r"$m$ of $L(\mathrm{j}\omega)^m$", "exponent of the series inductance, 1 without losses", 1.0
        ),
    )
    parallel_capacitance: Array = field(
        default=_ABSENT,
        metadata=_later(
            "F",
            "$C$ in parallel, where γ is in the admittance",
            "capacitance in parallel, where gamma is in the admittance",
            0.0,
        ),
    )
    drift_fast: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1",
            r"change of $\ln\gamma$ over the sweep at $\tau = 1/\omega_\text{max}$",
            "change of ln(gamma) over the sweep at the shortest relaxation time of the data",
            0.0,
        ),
    )
    drift_slow: Array = field(
        default=_ABSENT,
        metadata=_later(
            "1",
            r"the same at $\tau = 1/\omega_\text{min}$",
            "change of ln(gamma) over the sweep at the longest relaxation time of the data",
            0.0,
        ),
    )
    status: NDArray[np.uint32] = field(metadata=_of(None, "flags", "status flags, 0 is all well"))

    def __post_init__(self) -> None:
        """Fill in what the method does not find."""
        for name, missing in _MISSING:
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(len(self.status), missing))


_STORED = tuple(ResultField(declared.name, **declared.metadata) for declared in fields(ResultArrays))

_MISSING = tuple((each.name, each.missing) for each in _STORED if each.missing is not None)

RESULT_FIELDS = (
    ResultField(
        "gamma",
        "ohm",
        r"$\gamma(\ln\tau)$, per unit of natural logarithm",
        "distribution of relaxation times, per unit of natural logarithm",
        by_tau=True,
    ),
    ResultField("r_pol", "ohm", r"$\int \gamma \, \mathrm{d}\ln\tau$", "polarisation resistance"),
    *_STORED,
)
"""What a result tells of each spectrum: what follows from its arrays, then the arrays."""

RESULT_UNITS = {"tau": "s"} | {each.name: each.units for each in RESULT_FIELDS if each.units is not None}
"""Units of the arrays of a result."""

OF_POINTS = ("impedance", "point_time", "moved")
"""Arrays of a result with a value for each point of a spectrum, which it may lack."""

OF_GAMMA = ("coefficients", "gamma", "gamma_low", "gamma_high")
"""Arrays with the units of γ, which are siemens where it is in the admittance."""

GAMMA_UNITS = {"impedance": "ohm", "admittance": "S", "auto": "ohm, or S where the status has ADMITTANCE"}
"""Units of γ by the representation of a method."""

PER_SPECTRUM = tuple(each.name for each in _STORED)
"""Arrays of a result that make it up."""

LATER_INTERVALS = ("tail_q_low", "tail_q_high", "tail_exponent_low", "tail_exponent_high")
"""Arrays of intervals that an older file does not have."""

INTERVAL_UNITS = {
    **dict.fromkeys(("gamma_low", "gamma_high", "r_pol_low", "r_pol_high", "r_inf_low", "r_inf_high"), "ohm"),
    **dict(zip(LATER_INTERVALS, ("S s^n", "S s^n", "1", "1"), strict=True)),
}
"""Units of the arrays of intervals."""

PEAK_UNITS = {
    "tau": "s",
    "r": "ohm",
    "c": "F",
    "height": "ohm",
    "width": "decades",
    "prominence": "ohm",
    "tau_error": "s",
    "r_error": "ohm",
    "shared": "ohm",
    "lower": "s",
    "upper": "s",
}
"""Units of the columns of peaks that have one."""

ELEMENT_UNITS = {"tau": "s", "r": "ohm", "c": "F", "phi": "1", "psi": "1", "width": "decades"}
"""Units of the columns of fitted elements; errors have those of what they belong to."""
