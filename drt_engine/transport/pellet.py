"""Conductivity of pellets between blocking electrodes, from impedance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from drt_engine.checks import is_real
from drt_engine.errors import InputError
from drt_engine.spectra import Spectra, with_states
from drt_engine.transport.arcs import FIXED, pellet_impedance
from drt_engine.transport.arrhenius import Arrhenius, Convention, arrhenius_of
from drt_engine.transport.choosing import Chosen, fitted, grids_of
from drt_engine.transport.fitting import Array
from drt_engine.transport.flags import Flag, remarks
from drt_engine.transport.geometry import Geometry, geometry_of, temperatures_of

__all__ = ["CLASSES", "Conductivity", "classes_of", "conductivity"]

CLASSES = (
    (3e-12, "bulk"),
    (3e-11, "second phase"),
    (1e-8, "grain boundary"),
    (1e-7, "surface layer"),
    (1e-5, "electrode interface"),
)
"""Upper ends of C·L/A, F/cm, and what an arc of such a capacitance usually is [1]_.

.. [1] After J. T. S. Irvine, D. C. Sinclair, A. R. West, Adv. Mater. 2 (1990) 132.
"""

_BLOCKING = 1e-7
"""F/cm², below which no electrode blocks: its double layer has 1e-6 to 1e-5."""
_LOST = (
    Flag.NO_DATA
    | Flag.GEOMETRY
    | Flag.BELOW_WINDOW
    | Flag.NO_TAIL
    | Flag.ONLY_TAIL
    | Flag.INDUCTANCE
    | Flag.NOT_DETERMINED
    | Flag.CONTACT
)
_WIDE = 0.3
"""Half the interval of a resistance, as a share of it, from which it is not determined."""


@dataclass(frozen=True, eq=False)
class Conductivity:
    """Resistances and conductivities of K pellets.

    Attributes
    ----------
    table : DataFrame
        One row a spectrum: its states, and

        ``r_total``, ``r_total_low``, ``r_total_high``
            Resistance of the pellet without contacts, ohm, and its interval. Where arcs lie above the window this is
            the intercept.
        ``r_contact``, ``inductance``, ``tail_q``, ``tail_n``
            Contact resistance that was subtracted, ohm; L, H; Q, S sⁿ, and n of the tail.
        ``r_bulk``, ``r_grain_boundary`` and their ``_low``, ``_high``
            Ohm, where two arcs are determined separately and their capacitances tell which is which; else NaN.
        ``sigma``, ``sigma_low``, ``sigma_high``
            Total conductivity, S/cm, with an interval of all errors; NaN with a flag that says why.
        ``sigma_fit_error``, ``sigma_geometry_error``
            Standard deviations, S/cm, of the fit and of thickness and area, apart.
        ``sigma_bulk``, ``sigma_grain_boundary``
            S/cm, L/(A R) of the parts.
        ``arcs``, ``residual``, ``optimality``
            Number of arcs; root mean square of ``|Z_fit − Z| / |Z|``; largest cosine between the residual and a
            derivative of the fit, 0 is exact.
        ``status``, ``remarks``
            A :class:`Flag`, and the same in words.
    arcs : DataFrame
        One row an arc: ``spectrum``, ``r`` with its interval, ``tau``, ``phi``; ``c`` = τ/R [1]_ and ``c_surface``, F,
        for a distribution of time constants through the thickness and along the surface [2]_; ``c_normalised`` = c·L/A,
        F/cm, and ``class`` by it, which is no certainty; ``electrode`` where the arc is not the pellet's.
    level : float
        Probability of the intervals.

    References
    ----------
    .. [1] C. H. Hsu, F. Mansfeld, Corrosion 57 (2001) 747.
    .. [2] G. J. Brug, A. L. G. van den Eeden, M. Sluyters-Rehbach, J. H. Sluyters, J. Electroanal. Chem. 176 (1984)
       275.
    """

    table: pd.DataFrame
    arcs: pd.DataFrame
    level: float
    parameters: tuple[Array, ...]

    def __len__(self) -> int:
        """K, the number of spectra."""
        return len(self.table)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, a copy."""
        return self.table.copy()

    def impedance_at(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance of the fit, ohm, shape (K, F), at frequencies in Hz."""
        omega = 2 * np.pi * np.atleast_1d(np.asarray(frequency, dtype=float))
        rows = [pellet_impedance(omega, x[None])[0] for x in self.parameters]
        return np.asarray(rows).reshape(len(rows), omega.size)

    def arrhenius(self, series: str | Sequence[str] = ("sample",), convention: Convention = "ln(sigma T)") -> Arrhenius:
        """Fit the Arrhenius law to each series of temperatures.

        Parameters
        ----------
        series : str or sequence of str
            States that are the same within a series; those that do not exist are left out.
        convention : {"ln(sigma T)", "ln(sigma)"}
            What is linear in 1/T. Activation energies differ by k times the mean temperature.

        Returns
        -------
        Arrhenius
            Activation energies of total, bulk and grain boundary.

        Raises
        ------
        InputError
            If there is no temperature.
        UnknownNameError
            For another convention.
        """
        return arrhenius_of(self.table, series, convention, self.level)


def conductivity(
    spectra: Spectra | Mapping[str, Spectra] | Iterable[Spectra],
    *,
    contact: float = 0.0,
    arcs: int = 2,
    level: float = 0.95,
) -> Conductivity:
    """Find resistance and conductivity of pellets between blocking electrodes.

    Each spectrum is described by R, jωL, up to two arcs and a tail 1/(Q(jω)^n). The number of arcs is found by the
    Bayesian information criterion, and what the data do not decide enters the interval. An arc is the pellet's if its
    resistance is larger than the tail at its frequency, or its capacitance that of a grain boundary. R_total is R and
    those arcs, less the contacts.

    Geometry comes from the states ``thickness`` (cm) and ``area`` (cm²) or ``diameter`` (cm), with ``thickness_error``,
    ``area_error``, ``diameter_error``; temperatures from ``temperature`` (°C). σ = L/(A R).

    Parameters
    ----------
    spectra : Spectra, mapping or iterable of them
        Pellets, of one frequency grid or several, as :func:`collect` gives.
    contact : float
        Resistance of contacts and leads, ohm, which is subtracted. A state ``contact_resistance`` comes before it.
    arcs : int
        Most arcs, 1 to 3.
    level : float
        Probability of the intervals.

    Returns
    -------
    Conductivity
        Tables, which can be fitted with :meth:`Conductivity.arrhenius`.

    Raises
    ------
    InputError
        For thickness, area or temperature that cannot be or are in other units, and other bad arguments.
    """
    if not (is_real(level) and 0 < level < 1):
        raise InputError(f"level must be between 0 and 1; got {level!r}. Give 0.95.")
    if arcs not in (1, 2, 3):
        raise InputError(f"arcs, the largest number of them, must be 1, 2 or 3; got {arcs!r}.")
    if not (is_real(contact) and contact >= 0):
        raise InputError(f"contact must be a resistance in ohm, not negative; got {contact!r}.")
    parts = grids_of(spectra)
    found = [_of_grid(part, contact, arcs, level) for part in parts]
    tables, all_arcs, offset = [], [], 0
    for table, own, _ in found:
        tables.append(table.assign(spectrum=table["spectrum"] + offset))
        all_arcs.append(own.assign(spectrum=own["spectrum"] + offset))
        offset += len(table)
    return Conductivity(
        pd.concat(tables, ignore_index=True),
        pd.concat(all_arcs, ignore_index=True),
        level,
        tuple(x for _, _, rows in found for x in rows),
    )


def classes_of(capacitance: Array) -> list[str]:
    """Name what arcs of these C·L/A, F/cm, usually are; empty where it is not known."""
    ends = np.array([end for end, _ in CLASSES])
    names = [name for _, name in CLASSES] + ["beyond an electrode interface"]
    return [names[int(np.searchsorted(ends, c))] if np.isfinite(c) else "" for c in capacitance]


def _of_grid(
    spectra: Spectra, contact: float, most: int, level: float
) -> tuple[pd.DataFrame, pd.DataFrame, list[Array]]:
    states = spectra.states
    geometry = geometry_of(states)
    temperatures_of(states)
    rows = fitted(spectra, most, geometry.factor)
    resistance = np.full(len(spectra), contact)
    if "contact_resistance" in states.columns:
        own = states["contact_resistance"].to_numpy(dtype=float)
        resistance = np.where(np.isfinite(own), own, resistance)
    quantile = stdtrit(np.maximum(rows.freedom, 1), 0.5 + level / 2)
    arcs = _arc_table(rows, geometry, quantile)
    rows.status |= np.where(_is_no_tail(rows, geometry, 2 * np.pi * spectra.frequency[-1]), int(Flag.NO_TAIL), 0)
    table = _table(rows, geometry, resistance, quantile, arcs)
    return with_states(table, states), arcs, rows.x


def _is_no_tail(rows: Chosen, geometry: Geometry, omega: float) -> NDArray[np.bool_]:
    """Tell where the tail has the capacitance of a grain boundary at the lowest frequency, and of no electrode.

    It is then the flank of an arc that does not close, and what was found is the resistance before it.
    """
    elastance, n = np.array([one[2:4] for one in rows.x]).T
    tail = np.exp(-elastance) * omega ** (n - 1)
    return np.asarray((tail * geometry.factor < CLASSES[2][0]) & (tail < _BLOCKING * geometry.area))


def _arc_table(rows: Chosen, geometry: Geometry, quantile: Array) -> pd.DataFrame:
    """One row an arc of every spectrum."""
    found: list[dict[str, Any]] = []
    for k, (x, covariance) in enumerate(zip(rows.x, rows.covariance, strict=True)):
        elastance, n = x[2], x[3]
        for i in range(FIXED, x.size, 3):
            r, tau, phi = np.exp(x[i]), np.exp(x[i + 1]), x[i + 2]
            width = np.exp(min(float(quantile[k] * np.sqrt(max(covariance[i, i], 0.0))), 50.0))
            c = tau / r
            found.append(
                {
                    "spectrum": k,
                    "r": r,
                    "r_low": r / width,
                    "r_high": r * width,
                    "tau": tau,
                    "phi": phi,
                    "c": c,
                    "c_surface": _along_surface(r, tau, phi, x[1]),
                    "c_normalised": c * geometry.factor[k],
                    "electrode": bool(
                        c >= np.exp(-elastance + (1 - n) * x[i + 1]) and not c * geometry.factor[k] < CLASSES[2][0]
                    ),
                }
            )
    names = ["spectrum", "r", "r_low", "r_high", "tau", "phi", "c", "c_surface", "c_normalised", "electrode"]
    frame = pd.DataFrame(found, columns=names)
    return frame.assign(**{"class": classes_of(frame["c_normalised"].to_numpy(dtype=float))})


def _along_surface(r: float, tau: float, phi: float, r_series: float) -> float:
    """Capacitance of an arc whose time constants are distributed along the surface [2]."""
    if not r_series > 0:
        return float("nan")
    q = tau**phi / r
    return float(q ** (1 / phi) * (1 / r_series + 1 / r) ** ((phi - 1) / phi))


def _table(rows: Chosen, geometry: Geometry, contact: Array, quantile: Array, arcs: pd.DataFrame) -> pd.DataFrame:
    count = len(rows.x)
    too_much = (contact > 0) & (rows.total <= contact)
    total = np.where(too_much, np.nan, rows.total - contact)
    half = quantile * rows.deviation
    # The other resistance that may be meant has about the same error.
    other_total = rows.other - contact
    low, high = np.minimum(total, other_total) - half, np.maximum(total, other_total) + half
    other = (np.abs(rows.other - rows.total) > half) & ((rows.status & int(Flag.LOOSE_TAIL)) == 0)
    status = rows.status | np.where(other, int(Flag.MODEL), 0)
    status |= np.where(too_much, int(Flag.CONTACT), 0)
    known = np.isfinite(total)
    # the square of the optimality, times the number of data, is what χ² may still fall by
    lost = (total <= 0) | (half > _WIDE * total) | (rows.optimality > 0.03)
    status |= np.where(known & lost, int(Flag.NOT_DETERMINED), 0)
    status |= np.where(known & ~np.isfinite(geometry.factor), int(Flag.GEOMETRY), 0)
    good = (status & int(_LOST)) == 0
    sigma = np.where(good, geometry.factor / np.where(total > 0, total, np.nan), np.nan)
    deviation = np.maximum(half, np.maximum(high - total, total - low)) / quantile
    fit_error, geometry_error = sigma * deviation / total, sigma * geometry.error
    spread = np.exp(np.hypot(quantile * fit_error, 1.96 * geometry_error) / np.where(good, sigma, 1.0))
    x = np.stack([one[:FIXED] for one in rows.x])
    found: dict[str, Any] = {"spectrum": np.arange(count)}
    found |= {"r_total": total, "r_total_low": low, "r_total_high": high, "r_contact": contact}
    found |= {"inductance": x[:, 0], "tail_q": np.exp(-x[:, 2]), "tail_n": x[:, 3]}
    found |= _bulk_and_boundary(rows, arcs, geometry, good)
    found |= {"sigma": sigma, "sigma_low": sigma / spread, "sigma_high": sigma * spread}
    found |= {"sigma_fit_error": fit_error, "sigma_geometry_error": geometry_error}
    found |= {"arcs": rows.arcs, "residual": rows.residual, "optimality": rows.optimality}
    found |= {"status": status, "remarks": remarks(status)}
    return pd.DataFrame(found)


def _bulk_and_boundary(
    rows: Chosen, arcs: pd.DataFrame, geometry: Geometry, good: NDArray[np.bool_]
) -> dict[str, Array]:
    """Resistances of bulk and grain boundary, where two arcs are determined and tell which they are."""
    count = len(rows.x)
    names = [f"{part}{end}" for part in ("r_bulk", "r_grain_boundary") for end in ("", "_low", "_high")]
    out = {name: np.full(count, np.nan) for name in names}
    parts = arcs[~arcs["electrode"].astype(bool)]
    for k in np.unique(parts["spectrum"].to_numpy(dtype=int)).tolist():
        own = parts[parts["spectrum"] == k]
        if len(own) != 2 or not good[k] or np.any(own["r_high"] > 2 * own["r"]):
            continue
        kinds = own["class"].tolist()
        if kinds[0] not in ("bulk", "second phase") or kinds[1] not in ("second phase", "grain boundary"):
            continue
        if own["c"].iloc[1] < 2 * own["c"].iloc[0]:
            continue
        for part, (_, arc) in zip(("r_bulk", "r_grain_boundary"), own.iterrows(), strict=True):
            for end in ("", "_low", "_high"):
                out[f"{part}{end}"][k] = arc[f"r{end}"]
    return out | {f"sigma_{part}": geometry.factor / out[f"r_{part}"] for part in ("bulk", "grain_boundary")}
