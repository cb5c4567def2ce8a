"""Activation energies of series of temperatures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.transport.fitting import Array
from drt_engine.transport.flags import Flag, remarks
from drt_engine.transport.geometry import temperatures_of
from drt_engine.transport.lines import Line, line

__all__ = ["BOLTZMANN", "Arrhenius", "Convention", "arrhenius_of"]

Convention = Literal["ln(sigma T)", "ln(sigma)"]
"""What is linear in 1/T: ln(σT), as hopping has it, or ln σ."""

BOLTZMANN = 8.617333262e-5
"""Boltzmann's constant, eV/K (CODATA 2018, exact)."""

_ROOM = 298.15
"""Temperature at which the conductivity is stated, K: 25 °C."""
_UNLIKELY = 0.01
"""Probability of a test below which a line is said to be curved, or not to fit."""
_QUANTITIES = {"total": "sigma", "bulk": "sigma_bulk", "grain boundary": "sigma_grain_boundary"}


@dataclass(frozen=True, eq=False)
class Arrhenius:
    """Activation energies, one row a series and a quantity.

    Attributes
    ----------
    table : DataFrame
        States of the series; ``quantity``: total, bulk or grain boundary; ``convention``;

        ``ea``, ``ea_low``, ``ea_high``
            Activation energy, eV, with an interval by Student's t. Errors of geometry are shared by all temperatures:
            they do not enter.
        ``ln_sigma0``, ``ln_sigma0_error``, ``ln_sigma0_geometry_error``
            Natural logarithm of σ₀, in S K/cm or S/cm by the convention, and its standard deviations by the fit and by
            geometry.
        ``sigma_25``, ``sigma_25_low``, ``sigma_25_high``
            σ at 25 °C on the line, S/cm, and its interval of all errors.
        ``points``, ``t_low``, ``t_high``
            How many temperatures, and their ends, °C.
        ``lack_of_fit``, ``curvature``
            Probabilities of so large a scatter and curvature by chance; below 0.01 they are flags.
        ``status``, ``remarks``
            A :class:`Flag`, and the same in words.
    points : DataFrame
        The points of the lines: ``line``, the row of `table`, ``temperature``, °C, ``sigma``, ``sigma_error``, S/cm.
    convention : str
        What is linear in 1/T.
    level : float
        Probability of the intervals.
    """

    table: pd.DataFrame
    points: pd.DataFrame
    convention: Convention
    level: float
    lines: tuple[Line | None, ...]

    def __len__(self) -> int:
        """Return how many lines there are."""
        return len(self.table)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, a copy."""
        return self.table.copy()

    def sigma_at(self, row: int, celsius: Any) -> tuple[Array, Array, Array]:
        """σ on a line with its interval by the fit, S/cm, at temperatures in °C."""
        found = self.lines[row]
        kelvin = np.atleast_1d(np.asarray(celsius, dtype=float)) + 273.15
        if found is None:
            return (np.full(kelvin.shape, np.nan),) * 3
        x = 1 / (BOLTZMANN * kelvin)
        y = found.a + found.b * x - (np.log(kelvin) if self.convention == "ln(sigma T)" else 0.0)
        half = found.quantile * np.array([found.deviation(one) for one in x])
        return np.exp(y), np.exp(y - half), np.exp(y + half)


def arrhenius_of(table: pd.DataFrame, series: str | Sequence[str], convention: Convention, level: float) -> Arrhenius:
    """Fit lines to a table of conductivities; see :meth:`drt_engine.transport.pellet.Conductivity.arrhenius`."""
    if convention not in get_args(Convention):
        raise UnknownNameError("convention", convention, get_args(Convention))
    if "temperature" not in table.columns:
        raise InputError(
            "an Arrhenius fit needs the state 'temperature', °C, which the spectra do not have. Give it: "
            "spectra.with_states(temperature=[...])."
        )
    keys = [name for name in ([series] if isinstance(series, str) else list(series)) if name in table.columns]
    kelvin = temperatures_of(table)
    values = {column: (table[column].to_numpy(dtype=float), _errors(table, column)) for column in _QUANTITIES.values()}
    geometry = (table["sigma_geometry_error"] / table["sigma"]).to_numpy(dtype=float)
    groups = table.groupby(keys, dropna=False, sort=False).indices if keys else {(): np.arange(len(table))}
    found: list[dict[str, Any]] = []
    points: list[Array] = []
    lines: list[Line | None] = []
    for key, group in groups.items():
        rows = np.asarray(group)
        names = dict(zip(keys, key if isinstance(key, tuple) else (key,), strict=True))
        for quantity, column in _QUANTITIES.items():
            sigma, error = values[column]
            use = rows[np.isfinite(sigma[rows]) & np.isfinite(kelvin[rows])]
            if quantity != "total" and use.size < 3:
                continue
            one, row = _fitted((sigma[use], error[use], kelvin[use]), _largest(geometry[use]), convention, level)
            found.append(names | {"quantity": quantity, "convention": convention} | row)
            points.append(np.stack([np.full(use.size, len(lines)), kelvin[use] - 273.15, sigma[use], error[use]]))
            lines.append(one)
    frame = pd.DataFrame(np.hstack(points).T, columns=["line", "temperature", "sigma", "sigma_error"])
    return Arrhenius(pd.DataFrame(found), frame.astype({"line": int}), convention, level, tuple(lines))


def _errors(table: pd.DataFrame, column: str) -> Array:
    """Return standard deviations of σ by the fit alone, S/cm."""
    if column == "sigma":
        return table["sigma_fit_error"].to_numpy(dtype=float)
    r = column.replace("sigma", "r")
    relative = np.log(table[f"{r}_high"] / table[f"{r}_low"]) / (2 * 1.96)
    return np.asarray((relative * table[column]).to_numpy(dtype=float))


def _largest(relative: Array) -> float:
    """Relative error of the geometry, which all points of a series share; the largest of them."""
    return float(np.nanmax(relative)) if np.isfinite(relative).any() else 0.0


def _fitted(
    points: tuple[Array, Array, Array], geometry: float, convention: Convention, level: float
) -> tuple[Line | None, dict[str, Any]]:
    sigma, error, kelvin = points
    with_t = convention == "ln(sigma T)"
    relative = np.maximum(error / sigma, 1e-12)
    found = line(1 / (BOLTZMANN * kelvin), np.log(sigma * kelvin if with_t else sigma), relative, level)
    status = Flag.NOT_DETERMINED
    row: dict[str, Any] = dict.fromkeys(
        (
            *("ea", "ea_low", "ea_high", "ln_sigma0", "ln_sigma0_error", "ln_sigma0_geometry_error"),
            *("sigma_25", "sigma_25_low", "sigma_25_high"),
        ),
        np.nan,
    )
    if found is not None:
        half = found.quantile * float(np.sqrt(found.covariance[1, 1]))
        x = 1 / (BOLTZMANN * _ROOM)
        room = found.a + found.b * x - (np.log(_ROOM) if with_t else 0.0)
        width = np.hypot(found.quantile * found.deviation(x), 1.96 * geometry)
        row |= {"ea": -found.b, "ea_low": -found.b - half, "ea_high": -found.b + half}
        row |= {"ln_sigma0": found.a, "ln_sigma0_error": float(np.sqrt(found.covariance[0, 0]))}
        row |= {"ln_sigma0_geometry_error": geometry}
        row |= {"sigma_25": np.exp(room), "sigma_25_low": np.exp(room - width), "sigma_25_high": np.exp(room + width)}
        status = Flag.FEW if sigma.size < 3 else Flag.OK
        status |= Flag.LACK_OF_FIT if found.lack < _UNLIKELY else Flag.OK
        status |= Flag.CURVED if found.curvature < _UNLIKELY else Flag.OK
    ends = (kelvin.min() - 273.15, kelvin.max() - 273.15) if kelvin.size else (np.nan, np.nan)
    row |= {"points": sigma.size, "t_low": ends[0], "t_high": ends[1]}
    row |= {"lack_of_fit": np.nan if found is None else found.lack}
    row |= {"curvature": np.nan if found is None else found.curvature}
    return found, row | {"status": int(status), "remarks": remarks(np.array([int(status)]))[0]}
