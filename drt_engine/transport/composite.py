"""Ionic and electronic conductivity of composite electrodes, from impedance and beside direct current."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from drt_engine.checks import is_real
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.simulate.transmission_line import Connection
from drt_engine.spectra import Spectra, with_states
from drt_engine.threads import run_tiles
from drt_engine.transport.arcs import Complex, there
from drt_engine.transport.choosing import grids_of, structure
from drt_engine.transport.dc import Polarisation
from drt_engine.transport.fitting import Array
from drt_engine.transport.flags import Flag, remarks
from drt_engine.transport.geometry import geometry_of, temperatures_of
from drt_engine.transport.rails import ELECTRON, INDUCTANCE, ION, LEAK, N, Q, fit_rails, line_at

__all__ = ["Composite", "composite"]

_TILE = 64
"""Spectra that a thread fits at once."""
_KNOWN = np.log(2.0)
"""Half width of the interval of ln R up to which a rail is determined: a factor of two."""

_APART = 4.0
"""Standard deviations by which rails of ie must differ."""

_LIKELY = 4.0
"""Difference of the information criterion up to which the other coupling counts: less than its penalty."""

_PARTS = ("r_ion", "r_e", "r_sum", "r_parallel")


@dataclass(frozen=True, eq=False)
class Composite:
    """Rails of K composite electrodes.

    Attributes
    ----------
    table : DataFrame
        One row a spectrum: its states, and

        ``r_ion``, ``r_e`` and their ``_low``, ``_high``
            Resistances of the ionic and the electronic conductor over the electrode, ohm; NaN where the data do not
            determine them to a factor of two, or, between electrolyte and metal, do not tell which is which.
        ``r_sum``, ``r_parallel`` and their ``_low``, ``_high``
            R_ion + R_e and R_ion R_e/(R_ion + R_e), ohm.
        ``rail_large``, ``rail_small`` and their ``_low``, ``_high``
            The larger and the smaller of both, ohm, whichever is which.
        ``q``, ``n``, ``r_ct``, ``inductance``
            Q, S sⁿ, and n of the coupling, its resistance, ohm, infinite where it blocks; L, H.
        ``correlation``
            Correlation of ln R_ion and ln R_e.
        ``sigma_ion``, ``sigma_e`` and their ``_low``, ``_high``
            L/(A R), S/cm; NaN without geometry.
        ``kappa_ion``, ``kappa_e``
            Tortuosity factor φ σ₀/σ of a phase, where σ₀ and φ are given; ``phi_ion``, ``phi_e`` state φ.
        ``r_dc``, ``r_dc_low``, ``r_dc_high``, ``sigma_dc``
            The same conductor by direct current, beside.
        ``residual``, ``optimality``, ``status``, ``remarks``
            As of :class:`Conductivity`.
    covariance : ndarray, shape (K, 2, 2)
        Of ln R_ion and ln R_e.
    connection : str
        What is at the faces.
    level : float
        Probability of the intervals.
    """

    table: pd.DataFrame
    covariance: Array
    connection: Connection
    level: float
    parameters: tuple[Array, ...]
    subtracted: tuple[tuple[Array, Complex], ...]

    def __len__(self) -> int:
        """K, the number of spectra."""
        return len(self.table)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, a copy."""
        return self.table.copy()

    def impedance_at(self, frequency: ArrayLike) -> Complex:
        """Impedance of the fit of the line alone, ohm, shape (K, F), at frequencies in Hz."""
        omega = 2 * np.pi * np.atleast_1d(np.asarray(frequency, dtype=float))
        rows = [line_at(omega, x[None], self.connection)[0] for x in self.parameters]
        return np.asarray(rows).reshape(len(rows), omega.size)


def composite(
    spectra: Spectra | Mapping[str, Spectra] | Iterable[Spectra],
    connection: Connection,
    *,
    separator: Any = None,
    contact: float | tuple[float, float] = 0.0,
    dc: Polarisation | None = None,
    charge_transfer: bool | None = None,
    phases: Mapping[str, tuple[float, float]] | None = None,
    level: float = 0.95,
) -> Composite:
    """Fit the two-rail transmission line to composite electrodes.

    Parameters
    ----------
    spectra : Spectra, mapping or iterable of them
        Electrodes, with the states ``thickness`` (cm) and ``area`` (cm²) or ``diameter`` (cm), and their errors.
    connection : {"ee", "ii", "ie"}
        ``ee``: metal, composite, metal; ``ii``: electrolyte on both sides; ``ie``: electrolyte and current collector.
    separator : Spectra, float, or tuple of one and its relative error, optional
        What is in series and was measured on its own, as separators and lithium electrodes of ii, scaled by thickness:
        a spectrum with the same frequencies, or a resistance, ohm. It is subtracted.
    contact : float or tuple of two
        Resistance of contacts and leads, ohm, and its standard deviation. It is subtracted; it enters both rails.
    dc : Polarisation, optional
        Direct-current polarisation of the same electrodes, by the state ``sample`` or ``cell`` if they have it, else in
        the same order: of the electrons between metals, for ee and ie; of the ions between electrolytes, for ii. It
        stands beside, and tells which rail is which for ie.
    charge_transfer : bool, optional
        Whether the coupling has a resistance R_ct; by default the data decide.
    phases : mapping, optional
        ``{"ion": (sigma_0, phi), "e": (sigma_0, phi)}``: conductivity of the pure phase, S/cm, and its volume fraction,
        for the tortuosity factor φ σ₀/σ.
    level : float
        Probability of the intervals.

    Returns
    -------
    Composite
        One row a spectrum.

    Raises
    ------
    InputError
        For a separator of other frequencies, impossible geometry, and other bad arguments.
    UnknownNameError
        For another connection.
    """
    if connection not in get_args(Connection):
        raise UnknownNameError("connection", connection, get_args(Connection))
    if not (is_real(level) and 0 < level < 1):
        raise InputError(f"level must be between 0 and 1; got {level!r}. Give 0.95.")
    if dc is not None and not isinstance(dc, Polarisation):
        raise InputError(f"dc must be of type Polarisation; got {type(dc).__name__}. Call polarisation(traces) first.")
    resistance, spread = _pair("contact", contact)
    part, relative = separator if isinstance(separator, tuple) else (separator, 0.0)
    if not (is_real(relative) and relative >= 0):
        raise InputError(f"the relative error of separator must be a number, not negative; got {relative!r}.")
    wanted = _checked_phases(phases)
    grids = grids_of(spectra)
    tables, covariances, parameters, subtracted = [], [], [], []
    for grid in grids:
        taken = _subtracted(grid, part)
        errors = [spread * np.ones_like(taken)] if spread else []
        errors += [relative * taken] if relative else []
        found = _Fitted.of(grid, taken + resistance, errors, connection, charge_transfer)
        tables.append(with_states(_table(found, grid.states, connection, level), grid.states))
        covariances.append(found.covariance[:, ION : ELECTRON + 1, ION : ELECTRON + 1])
        parameters += found.x
        subtracted += [(grid.frequency, row + resistance) for row in taken]
    table = pd.concat(tables, ignore_index=True)
    table["spectrum"] = np.arange(len(table))
    table = _with_tortuosity(_with_sigma(_with_dc(table, dc, connection), level), wanted)
    table["remarks"] = remarks(table["status"].to_numpy())
    return Composite(table, np.concatenate(covariances), connection, level, tuple(parameters), tuple(subtracted))


@dataclass
class _Fitted:
    """Fits of the K spectra of a grid; the covariance is that of noise and of what was subtracted."""

    x: list[Array]
    covariance: Array
    quantile: Array
    residual: Array
    optimality: Array
    status: NDArray[np.int64]

    @classmethod
    def of(
        cls, spectra: Spectra, taken: Complex, errors: Sequence[Complex], connection: Connection, leak: bool | None
    ) -> "_Fitted":
        """Fit all, tile by tile."""
        count = len(spectra)
        out = cls(
            x=[np.full(LEAK, np.nan)] * count,
            covariance=np.full((count, LEAK + 1, LEAK + 1), np.nan),
            quantile=np.full(count, np.nan),
            residual=np.full(count, np.nan),
            optimality=np.full(count, np.nan),
            status=np.full(count, int(Flag.NO_DATA), dtype=np.int64),
        )
        omega, z = 2 * np.pi * spectra.frequency, spectra.impedance - taken
        good = np.flatnonzero(np.sum(there(z), axis=1) >= LEAK + 3)

        def work(tile: NDArray[np.intp]) -> None:
            out.tile(omega, (z[tile], [error[tile] for error in errors]), tile, (connection, leak))

        run_tiles(work, [good[start : start + _TILE] for start in range(0, good.size, _TILE)])
        return out

    def tile(
        self,
        omega: Array,
        given: tuple[Complex, Sequence[Complex]],
        tile: NDArray[np.intp],
        model: tuple[Connection, bool | None],
    ) -> None:
        """Fit some, with a coupling that blocks and one that does not, and take the more probable one."""
        (z, errors), (connection, leak) = given, model
        blocking = fit_rails(omega, z, connection)
        choices = [blocking] if leak is False else [blocking, fit_rails(omega, z, connection, blocking)]
        data = 2.0 * np.sum(there(z), axis=1)
        score = np.stack([data * np.log(one.fits.chi2 / data) + one.fits.x.shape[1] * np.log(data) for one in choices])
        if leak is True:
            score[0] = np.inf
        best = np.argmin(score, axis=0)
        for k, row in enumerate(tile.tolist()):
            one = choices[best[k]]
            fits, size = one.fits, one.fits.x.shape[1]
            x, freedom = fits.x[k], max(int(fits.freedom[k]), 1)
            fit_z = line_at(omega, x[None], connection)
            structured, wider = structure(fit_z, z[[k]])
            widening = float(wider[0]) ** 2 if structured[0] else 1.0
            covariance = fits.covariance[k] * fits.chi2[k] / freedom * widening
            # two couplings that are as good, with other rails: the interval has to hold both
            rest = np.flatnonzero(score[:, k] < score[:, k].min() + _LIKELY)
            for other in rest[rest != best[k]]:
                difference = choices[other].fits.x[k, : N + 1] - x[: N + 1]
                share = 1 / (1 + np.exp(0.5 * (score[other, k] - score[best[k], k])))
                covariance[: N + 1, : N + 1] += share * np.outer(difference, difference)
            if errors:
                covariance = covariance + self._shifts(omega, z[[k]], [error[[k]] for error in errors], x, connection)
            self.x[row] = x
            self.covariance[row, :size, :size] = covariance
            self.quantile[row] = stdtrit(freedom, 0.975)
            self.residual[row] = np.sqrt(2 * fits.chi2[k] / data[k])
            self.optimality[row] = fits.optimality[k]
            status = Flag.MISFIT if structured[0] else Flag.OK
            status |= Flag.NOT_DETERMINED if one.at_bound[k] or fits.optimality[k] > 0.03 else Flag.OK
            self.status[row] = int(status)

    @staticmethod
    def _shifts(omega: Array, z: Complex, errors: Sequence[Complex], x: Array, connection: Connection) -> Array:
        """Covariance by what was subtracted: parameters are moved as a fit to a spectrum without it would be."""
        size = x.size
        known = there(z[0])
        jacobian = np.empty((omega.size, size), dtype=complex)
        for k in range(size):
            change = np.zeros(size)
            # the inductance is no logarithm
            change[k] = 1e-5 if k != INDUCTANCE else 1e-5 * np.abs(z[0][known]).max() / omega[0]
            up, down = (line_at(omega, (x + sign * change)[None], connection)[0] for sign in (1, -1))
            jacobian[:, k] = (up - down) / (2 * change[k])
        weight = np.where(known, 1 / np.where(known, np.abs(z[0]), 1.0), 0.0)
        scaled = np.concatenate([(jacobian * weight[:, None]).real, (jacobian * weight[:, None]).imag])
        held = [] if x[INDUCTANCE] > 0 else [INDUCTANCE]
        held += [N] if x[N] >= 1 else []
        # A parameter that is not seen at any frequency is not moved.
        lengths = np.linalg.norm(scaled, axis=0)
        free = np.setdiff1d(np.flatnonzero(lengths > 0), held)
        total = np.zeros((size, size))
        for error in errors:
            off = np.concatenate([(error[0] * weight).real, (error[0] * weight).imag])
            move = np.zeros(size)
            scale = lengths[free]
            move[free] = np.linalg.lstsq(scaled[:, free] / scale, off, rcond=None)[0] / scale
            total += np.outer(move, move)
        return total


def _pair(name: str, value: Any) -> tuple[float, float]:
    pair = value if isinstance(value, tuple) else (value, 0.0)
    if len(pair) != 2 or not all(is_real(one) and one >= 0 for one in pair):
        raise InputError(f"{name} must be a resistance in ohm, or it and its standard deviation; got {value!r}.")
    return float(pair[0]), float(pair[1])


def _checked_phases(phases: Mapping[str, tuple[float, float]] | None) -> dict[str, tuple[float, float]]:
    found = dict(phases or {})
    for name, pair in found.items():
        if name not in ("ion", "e"):
            raise UnknownNameError("phase", name, ("ion", "e"))
        sigma, phi = pair
        if not (is_real(sigma) and sigma > 0 and is_real(phi) and 0 < phi <= 1):
            raise InputError(
                f"phases[{name!r}] must be a conductivity in S/cm and a volume fraction from 0 to 1; got {pair!r}."
            )
    return found


def _subtracted(spectra: Spectra, part: Any) -> Complex:
    """Impedance of what is in series, (K, F), ohm."""
    if part is None:
        return np.zeros(spectra.impedance.shape, dtype=complex)
    if isinstance(part, Spectra):
        same = part.frequency.shape == spectra.frequency.shape and np.allclose(
            part.frequency, spectra.frequency, rtol=1e-6
        )
        if not same or len(part) not in (1, len(spectra)):
            raise InputError(
                f"separator must have the {spectra.frequency.size} frequencies of the spectra, and one spectrum or "
                f"{len(spectra)}; got {part.frequency.size} and {len(part)}. Measure it at the same frequencies."
            )
        return np.asarray(np.broadcast_to(part.impedance, spectra.impedance.shape))
    if not (is_real(part) and part >= 0):
        raise InputError(f"separator must be Spectra or a resistance in ohm, not negative; got {part!r}.")
    return np.full(spectra.impedance.shape, part, dtype=complex)


def _table(found: _Fitted, states: pd.DataFrame, connection: Connection, level: float) -> pd.DataFrame:
    geometry = geometry_of(states)
    temperatures_of(states)
    x = np.stack([np.append(row, [-np.inf] * (LEAK + 1 - row.size)) for row in found.x])
    log_i, log_e = x[:, ION], x[:, ELECTRON]
    covariance = found.covariance[:, ION : ELECTRON + 1, ION : ELECTRON + 1]
    quantile = found.quantile * ndtri(0.5 + level / 2) / ndtri(0.975)
    r_ion, r_e = np.exp(log_i), np.exp(log_e)
    share = r_ion / (r_ion + r_e)
    # gradients of the logarithms of R_ion, R_e, their sum, and both in parallel
    gradients = ((1 + 0 * share, 0 * share), (0 * share, 1 + 0 * share), (share, 1 - share), (1 - share, share))
    both = np.log(r_ion + r_e)
    logs = (log_i, log_e, both, log_i + log_e - both)
    columns: dict[str, Any] = {"spectrum": np.arange(len(x))}
    halves = []
    for name, log, gradient in zip(_PARTS, logs, gradients, strict=True):
        vector = np.stack(gradient, axis=1)
        half = quantile * np.sqrt(np.maximum(np.einsum("ki,kij,kj->k", vector, covariance, vector), 0.0))
        lost = ~(half < _KNOWN)
        half = np.where(lost, np.nan, half)
        columns |= {name: np.where(lost, np.nan, np.exp(log))}
        columns |= {f"{name}_low": np.exp(log - half), f"{name}_high": np.exp(log + half)}
        halves.append(half)
    status = found.status.copy()
    failed = (status & int(Flag.NOT_DETERMINED)) != 0
    lost = ~np.isfinite(halves[0]) | ~np.isfinite(halves[1])
    if connection == "ie":
        difference = np.array([1.0, -1.0])
        spread = np.sqrt(np.maximum(np.einsum("i,kij,j->k", difference, covariance, difference), 0.0))
        lost |= ~(np.abs(log_i - log_e) > _APART * spread)
        status |= np.where(np.isfinite(log_i), int(Flag.EXCHANGE), 0)
    status |= np.where(np.isfinite(log_i) & lost, int(Flag.NOT_DETERMINED), 0)
    status |= np.where(np.isfinite(log_i) & ~np.isfinite(geometry.factor), int(Flag.GEOMETRY), 0)
    larger = r_ion >= r_e
    for end in ("", "_low", "_high"):
        pair = (columns[f"r_ion{end}"], columns[f"r_e{end}"])
        for name, value in zip(("rail_large", "rail_small"), (pair, pair[::-1]), strict=True):
            columns[f"{name}{end}"] = np.where(larger, *value)
    # Of two rails of which one is not known, nobody knows which is larger.
    for name in ("r_ion", "r_e", "rail_large", "rail_small"):
        for end in ("", "_low", "_high"):
            hidden = failed | (connection == "ie") if name in ("r_ion", "r_e") else failed | lost
            columns[f"{name}{end}"] = np.where(hidden, np.nan, columns[f"{name}{end}"])
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(covariance[:, 0, 0] * covariance[:, 1, 1])
        correlation = np.where(root > 0, covariance[:, 0, 1] / root, np.nan)
    columns |= {"q": np.exp(x[:, Q]), "n": x[:, N], "r_ct": np.exp(-x[:, LEAK]), "inductance": x[:, INDUCTANCE]}
    columns |= {"correlation": correlation, "factor": geometry.factor, "geometry_error": geometry.error}
    columns |= {"residual": found.residual, "optimality": found.optimality, "status": status}
    return pd.DataFrame(columns)


def _with_dc(table: pd.DataFrame, dc: Polarisation | None, connection: Connection) -> pd.DataFrame:
    """Add the results of direct current, and let them tell the ionic from the electronic rail."""
    names = ("resistance", "resistance_low", "resistance_high")
    values = np.full((3, len(table)), np.nan)
    if dc is not None:
        rows = _matched(table, dc.table)
        values = np.stack([np.append(dc.table[name].to_numpy(dtype=float), np.nan)[rows] for name in names])
    out = table.assign(r_dc=values[0], r_dc_low=values[1], r_dc_high=values[2])
    if connection != "ie":
        return out

    def overlaps(rail: str) -> NDArray[np.bool_]:
        low, high = out[f"{rail}_low"].to_numpy(dtype=float), out[f"{rail}_high"].to_numpy(dtype=float)
        return np.asarray((low <= 1.05 * values[2]) & (high >= 0.95 * values[1]))

    large, small = overlaps("rail_large"), overlaps("rail_small")
    told = large != small
    for name, first, second in (("r_e", "rail_large", "rail_small"), ("r_ion", "rail_small", "rail_large")):
        for end in ("", "_low", "_high"):
            chosen = np.where(large, out[f"{first}{end}"], out[f"{second}{end}"])
            out[f"{name}{end}"] = np.where(told, chosen, np.nan)
    out["status"] = out["status"].to_numpy() & np.where(told, ~int(Flag.EXCHANGE), -1)
    return out


def _matched(table: pd.DataFrame, other: pd.DataFrame) -> NDArray[np.intp]:
    """Rows of another table that belong to those of this one, and the number behind its last where none does."""
    for key in ("sample", "cell"):
        if key in table.columns and key in other.columns:
            place = {value: row for row, value in enumerate(other[key].tolist())}
            return np.array([place.get(value, len(other)) for value in table[key].tolist()], dtype=np.intp)
    if len(table) != len(other):
        raise InputError(
            f"dc must have one row a spectrum, or the state 'sample' as the spectra have it; got {len(other)} rows "
            f"for {len(table)} spectra."
        )
    return np.arange(len(table))


def _with_sigma(table: pd.DataFrame, level: float) -> pd.DataFrame:
    factor, error = table["factor"].to_numpy(dtype=float), table["geometry_error"].to_numpy(dtype=float)
    geometry = ndtri(0.5 + level / 2) * error
    out = table.drop(columns=["factor", "geometry_error"])
    for rail in ("ion", "e"):
        r = out[f"r_{rail}"].to_numpy(dtype=float)
        half = np.hypot(np.log(out[f"r_{rail}_high"].to_numpy(dtype=float) / r), geometry)
        out[f"sigma_{rail}"] = factor / r
        out[f"sigma_{rail}_low"], out[f"sigma_{rail}_high"] = factor / r / np.exp(half), factor / r * np.exp(half)
    out["sigma_dc"] = factor / out["r_dc"]
    out["sigma_dc_low"] = factor / out["r_dc_high"] / np.exp(geometry)
    out["sigma_dc_high"] = factor / out["r_dc_low"] * np.exp(geometry)
    return out


def _with_tortuosity(table: pd.DataFrame, phases: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    out = table.copy()
    for rail, (sigma, phi) in phases.items():
        out[f"kappa_{rail}"], out[f"phi_{rail}"] = phi * sigma / out[f"sigma_{rail}"], phi
    return out
