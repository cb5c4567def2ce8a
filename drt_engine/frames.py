"""Results as tables of pandas, and impedances times the area of the electrode."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.result_fields import INTERVAL_UNITS, RESULT_FIELDS
from drt_engine.spectra import Spectra, first_and_last, with_states
from drt_engine.status import Status
from drt_engine.text import as_html

if TYPE_CHECKING:
    from drt_engine.result import Inversion

__all__ = [
    "Form",
    "areas",
    "gamma_frame",
    "impedance_frame",
    "measured_frame",
    "per_area",
    "result_frame",
    "result_html",
    "spectra_per_area",
    "titles",
]

Array = NDArray[np.float64]

Form = Literal["long", "rows", "columns"]
"""One row a point; one row a spectrum; or one column a spectrum, as plotting programs want it."""

_FIRST = ("r_inf", "r_pol", "inductance", "capacitance")
_REST = tuple(told.name for told in RESULT_FIELDS if not (told.by_tau or told.name in (*_FIRST, "status")))
# The states that name a spectrum, the plainest first; others follow in the order of the table.
_TELLING = ("cell", "cycle", "direction", "voltage", "temperature")


def result_frame(result: "Inversion") -> pd.DataFrame:
    """One row a spectrum; see :meth:`drt_engine.Inversion.to_frame`."""
    found: dict[str, Any] = {"spectrum": np.arange(len(result))}
    found |= {name: getattr(result, name) for name in _FIRST}
    if result.intervals is not None:
        found |= {name: getattr(result.intervals, name) for name in INTERVAL_UNITS if not name.startswith("gamma")}
    found |= {name: getattr(result, name) for name in _REST}
    words = {value: _remarks(value) for value in np.unique(result.status).tolist()}
    found |= {"status": result.status, "remarks": [words[value] for value in result.status.tolist()]}
    return with_states(pd.DataFrame(found), result.states)


def result_html(result: "Inversion") -> str:
    """Write a result for a notebook."""
    rows = first_and_last(len(result))
    few = result_frame(result[rows]).assign(spectrum=rows)
    columns = ["spectrum", *map(str, result.states.columns), "r_inf", "r_pol", "residual", "remarks"]
    few = few[[name for name in dict.fromkeys(columns) if name in few.columns]]
    return as_html(repr(result), few.rename(columns={"r_inf": "r_inf / ohm", "r_pol": "r_pol / ohm"}), len(result))


def gamma_frame(result: "Inversion", tau: Any = None, form: Form = "long") -> pd.DataFrame:
    """γ over τ; see :meth:`drt_engine.Inversion.gamma_frame`."""
    at = result.tau if tau is None else np.atleast_1d(np.asarray(tau, dtype=float))
    gamma = result.gamma if tau is None else result.gamma_at(at)
    found: dict[str, Array] = {"gamma": gamma}
    if result.intervals is not None and tau is None:
        found |= {"gamma_low": result.intervals.gamma_low, "gamma_high": result.intervals.gamma_high}
    return _formed(("tau", at), found, result.states, form)


def impedance_frame(result: "Inversion", spectra: Spectra | None = None, form: Form = "long") -> pd.DataFrame:
    """Fitted Z, and measured Z where it is known; see :meth:`drt_engine.Inversion.impedance_frame`."""
    measured = result.impedance if spectra is None else result.with_spectra(spectra).impedance
    found: dict[str, Array] = {}
    if measured is not None:
        found |= {"z_real": measured.real, "z_imag": measured.imag}
    fit = result.impedance_at(result.frequency)
    found |= {"fit_real": fit.real, "fit_imag": fit.imag}
    return _formed(("frequency", result.frequency), found, result.states, form)


def measured_frame(spectra: Spectra, form: Form = "long") -> pd.DataFrame:
    """Measured Z alone, in the form of :func:`impedance_frame`."""
    z = spectra.impedance
    return _formed(("frequency", spectra.frequency), {"z_real": z.real, "z_imag": z.imag}, spectra.states, form)


def areas(states: pd.DataFrame, area: bool | float) -> Array | None:
    """Electrode areas for impedances per area, cm², shape (K,); None for impedances of whole cells.

    Parameters
    ----------
    states : DataFrame
        What each of K spectra was measured at.
    area : bool or float
        Whether impedances are per area, by the state ``area``; or one area for all, cm².

    Raises
    ------
    InputError
        If there is no such state, and for areas that are not positive.
    """
    if area is False or area is None:
        return None
    if area is True and "area" not in states.columns:
        raise InputError(
            "impedances per area need the state 'area', cm², which the spectra do not have. Give it: "
            "spectra.with_states(area=1.13), or one number for all: per_area=1.13, --area 1.13."
        )
    try:
        values = states["area"].to_numpy(dtype=float) if area is True else np.full(len(states), float(area))
    except (TypeError, ValueError) as error:
        raise InputError(f"area must be numbers in cm²; got {error}.") from error
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        raise InputError(
            f"area must be positive, in cm²; got {values[bad[0]]:g} in row {bad[0]}, and {bad.size} like it. Give it "
            "for every spectrum: spectra.with_states(area=1.13)."
        )
    return values


def spectra_per_area(spectra: Spectra, area: Array | None) -> Spectra:
    """Multiply impedances by areas, cm²: they are in Ω cm² then."""
    if area is None:
        return spectra
    return Spectra(spectra.frequency, spectra.impedance * area[:, None], spectra.states, spectra.point_time)


def per_area(result: "Inversion", area: Array | None) -> "Inversion":
    """Multiply what is in ohm or henry by areas, cm², and divide what is in farad by them.

    A model of c·Z is c times that of Z, so nothing is inverted again.
    """
    if area is None:
        return result
    column = area[:, None]
    gamma = np.where((result.representation == "admittance")[:, None], 1.0 / column, column)
    found = result.intervals
    if found is not None:
        scaled: dict[str, Any] = {
            name: getattr(found, name) * (gamma if name.startswith("gamma") else area) for name in INTERVAL_UNITS
        }
        found = replace(found, **scaled)
    return replace(
        result,
        coefficients=result.coefficients * gamma,
        r_inf=result.r_inf * area,
        inductance=result.inductance * area,
        capacitance=result.capacitance / area,
        parallel_capacitance=result.parallel_capacitance / area,
        noise_floor=result.noise_floor * area,
        impedance=None if result.impedance is None else result.impedance * column,
        intervals=found,
    )


def titles(states: pd.DataFrame) -> list[str]:
    """Name each spectrum by the states that tell it from the others, and by its number where none do.

    Parameters
    ----------
    states : DataFrame
        What each of K spectra was measured at.
    """
    known = list(map(str, states.columns))
    ordered = [name for name in _TELLING if name in known] + [name for name in known if name not in _TELLING]
    parts: list[list[str]] = []
    for name in ordered:
        column = states[name]
        if column.nunique(dropna=False) < 2:
            continue
        parts.append([_titled(name, value) for value in column.tolist()])
        if len(set(zip(*parts, strict=True))) == len(states):
            break
    names = [", ".join(words) for words in zip(*parts, strict=True)] if parts else [""] * len(states)
    seen = pd.Series(names).duplicated(keep=False).to_numpy()
    return [
        f"{name} #{row}".strip() if again or not name else name
        for row, (name, again) in enumerate(zip(names, seen, strict=True))
    ]


def _titled(name: str, value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    unit = {"voltage": " V", "temperature": " degC"}.get(name)
    if unit is not None:
        return f"{text}{unit}"
    return text if name == "direction" else f"{name} {text}"


def _formed(axis: tuple[str, Array], found: dict[str, Array], states: pd.DataFrame, form: Form) -> pd.DataFrame:
    """Put matrices of K rows over an axis into one of the forms."""
    if form not in get_args(Form):
        raise UnknownNameError("form", form, get_args(Form))
    name, at = axis
    if form == "long":
        rows = np.repeat(np.arange(len(states)), at.size)
        long = {name: np.tile(at, len(states))} | {key: matrix.ravel() for key, matrix in found.items()}
        return with_states(pd.DataFrame({"spectrum": rows} | long), states)
    if form == "rows":
        columns = {(key, value): matrix[:, k] for key, matrix in found.items() for k, value in enumerate(at.tolist())}
        wide = pd.DataFrame({"spectrum": np.arange(len(states))} | columns)
        wide.columns = pd.Index(["spectrum", *columns], tupleize_cols=False, dtype=object)
        return with_states(wide, states)
    by_spectrum: dict[Any, Array] = {name: at}
    for k, title in enumerate(titles(states)):
        by_spectrum |= {(key, title): matrix[k] for key, matrix in found.items()}
    out = pd.DataFrame(by_spectrum)
    out.columns = pd.Index(list(by_spectrum), tupleize_cols=False, dtype=object)
    return out


def _remarks(value: int) -> str:
    return ", ".join(str(flag.name).lower().replace("_", " ") for flag in Status if flag & value) or "ok"
