"""Thickness, area and temperature of samples, from states, in units that are checked.

States and their units: ``thickness`` (cm), ``area`` (cm²) or ``diameter`` (cm), their standard deviations
``thickness_error``, ``area_error`` and ``diameter_error`` in the same units, ``temperature`` (°C).
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from drt_engine.errors import InputError
from drt_engine.transport.fitting import Array

__all__ = ["Geometry", "geometry_of", "temperatures_of"]

_UNITS = {
    "thickness": ("cm", 1e-5, 50.0),
    "diameter": ("cm", 1e-3, 100.0),
    "area": ("cm²", 1e-6, 1e4),
}
"""Unit of each length of a sample, and the range outside which it was given in another unit by mistake."""
_ZERO_CELSIUS = 273.15
"""0 °C in K."""
_SUSPECT = re.compile(
    r"(thickness|diameter|area|temperature|length|height)[ _/(\[]+"
    r"(mm|um|µm|μm|m|nm|mm2|mm²|mm\^2|m2|m²|K|kelvin|F|degF)\W*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Geometry:
    """Geometry of K samples.

    Attributes
    ----------
    factor : ndarray, shape (K,)
        Thickness over area, 1/cm; NaN where one is missing.
    error : ndarray, shape (K,)
        Standard deviation of the factor over the factor; zero where no errors are given.
    area : ndarray, shape (K,)
        cm²; NaN where it is missing.
    """

    factor: Array
    error: Array
    area: Array


def geometry_of(states: pd.DataFrame) -> Geometry:
    """Find thickness over area of each row.

    Parameters
    ----------
    states : DataFrame
        K rows.

    Raises
    ------
    InputError
        For values that are not positive or that no sample has, for columns in other units, for an area that is not that
        of the diameter, and for values of one sample that differ as different units do.
    """
    _refuse_other_units(states)
    values = {name: _column(states, name) for name in _UNITS}
    for name, (unit, low, high) in _UNITS.items():
        _check(name, values[name], unit, (low, high))
        _refuse_mixed(states, name, values[name], unit)
    errors = {name: _error(states, name) for name in _UNITS}
    round_area = np.pi * values["diameter"] ** 2 / 4
    both = np.isfinite(values["area"]) & np.isfinite(round_area)
    off = np.flatnonzero(both & (np.abs(np.log(values["area"] / round_area)) > 0.1))
    if off.size:
        raise InputError(
            f"area and diameter must agree; got {values['area'][off[0]]:g} cm² and {values['diameter'][off[0]]:g} cm, "
            f"which is {round_area[off[0]]:.3g} cm², in row {off[0]}. Give one of them, in cm² or cm."
        )
    area = np.where(np.isfinite(values["area"]), values["area"], round_area)
    of_area = errors["area"] / area
    of_area = np.where(np.isfinite(values["area"]), of_area, 2 * errors["diameter"] / values["diameter"])
    of_thickness = errors["thickness"] / values["thickness"]
    error = np.hypot(np.nan_to_num(of_area), np.nan_to_num(of_thickness))
    return Geometry(values["thickness"] / area, error, area)


def temperatures_of(states: pd.DataFrame) -> Array:
    """Temperature of each row, K; NaN where it is not known.

    Raises
    ------
    InputError
        For temperatures below −273.15 °C, and for those that are given in kelvin.
    """
    _refuse_other_units(states)
    celsius = _column(states, "temperature")
    bad = np.flatnonzero(celsius <= -_ZERO_CELSIUS)
    if bad.size:
        raise InputError(
            f"temperature must be above -273.15 °C; got {celsius[bad[0]]:g} in row {bad[0]}. Give it in °C."
        )
    # 298.15 is 25 °C; no thermostat is set to 298.15 °C
    kelvin = np.flatnonzero((celsius > 150) & (np.abs((celsius - 0.15) % 1) < 1e-6))
    if kelvin.size:
        raise InputError(
            f"temperature must be in °C; got {celsius[kelvin[0]]:g} in row {kelvin[0]}, which looks like kelvin. "
            "Subtract 273.15."
        )
    return celsius + _ZERO_CELSIUS


def _column(states: pd.DataFrame, name: str) -> Array:
    if name not in states.columns:
        return np.full(len(states), np.nan)
    try:
        return np.asarray(states[name].to_numpy(dtype=float))
    except (TypeError, ValueError) as error:
        unit = _UNITS.get(name, ("°C",))[0]
        raise InputError(f"{name} must be numbers in {unit}, without a unit beside them; got {error}.") from error


def _error(states: pd.DataFrame, name: str) -> Array:
    column = _column(states, f"{name}_error")
    bad = np.flatnonzero(column < 0)
    if bad.size:
        raise InputError(f"{name}_error must not be negative; got {column[bad[0]]:g} in row {bad[0]}.")
    return column


def _check(name: str, values: Array, unit: str, bounds: tuple[float, float]) -> None:
    bad = np.flatnonzero(values <= 0)
    if bad.size:
        raise InputError(f"{name} must be positive, in {unit}; got {values[bad[0]]:g} in row {bad[0]}.")
    far = np.flatnonzero((values < bounds[0]) | (values > bounds[1]))
    if far.size:
        raise InputError(
            f"{name} must be from {bounds[0]:g} to {bounds[1]:g} {unit}; got {values[far[0]]:g} in row {far[0]}. "
            "It is probably in another unit: convert it."
        )


def _refuse_mixed(states: pd.DataFrame, name: str, values: Array, unit: str) -> None:
    """Refuse values of one sample that differ tenfold or more."""
    keys = [key for key in ("sample", "cell") if key in states.columns]
    groups = states[keys[0]].astype(str).to_numpy() if keys else np.full(len(values), "")
    for key in dict.fromkeys(groups.tolist()) if keys else ():
        own = values[(groups == key) & np.isfinite(values)]
        if own.size and own.max() >= 8 * own.min():
            raise InputError(
                f"{name} of one sample must be in one unit, {unit}; got {own.min():g} and {own.max():g} for {key!r}. "
                "Convert them, or give the samples names of their own."
            )


def _refuse_other_units(states: pd.DataFrame) -> None:
    for column in map(str, states.columns):
        found = _SUSPECT.search(column)
        if found:
            name = found[1].lower()
            unit = {"temperature": "°C"}.get(name, _UNITS.get(name, ("cm",))[0])
            raise InputError(
                f"the state {column!r} is in {found[2]}; expected {name!r} in {unit}. Convert it and name it {name!r}, "
                "so that units are not mixed."
            )
