"""Intervals of γ, R_pol and R_inf: made tile by tile, since the covariances of all spectra would be large."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.basis import Expansion
from drt_engine.methods.posterior import check_level
from drt_engine.problem import Unknowns
from drt_engine.threads import run_tiles

if TYPE_CHECKING:
    from drt_engine.methods import Method
    from drt_engine.methods.posterior import LogPosterior, Posterior

__all__ = ["INTERVAL_UNITS", "Answered", "Intervals", "Tile", "frozen", "intervals_of", "joint_posterior", "tiles"]

Array = NDArray[np.float64]

Tile = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Numbers of some rows that can be worked on together, and of the points that they have."""

INTERVAL_UNITS = dict.fromkeys(("gamma_low", "gamma_high", "r_pol_low", "r_pol_high", "r_inf_low", "r_inf_high"), "ohm")
"""Units of the arrays of intervals."""

_TILE = 64


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of K spectra; NaN where there is no answer.

    Attributes
    ----------
    level : float
        Probability that each covers its value.
    gamma_low, gamma_high : ndarray, shape (K, M)
        γ at the relaxation times, ohm.
    r_pol_low, r_pol_high : ndarray, shape (K,)
        Polarisation resistance, ohm.
    r_inf_low, r_inf_high : ndarray, shape (K,)
        R_inf, ohm; NaN where the data that were fitted do not show it.
    """

    level: float
    gamma_low: Array
    gamma_high: Array
    r_pol_low: Array
    r_pol_high: Array
    r_inf_low: Array
    r_inf_high: Array

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        for name in INTERVAL_UNITS:
            array = getattr(self, name).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Freeze the arrays of pickled ones again."""
        frozen(self, state)

    def without(self, rows: NDArray[np.bool_]) -> "Intervals":
        """Return them with NaN for some spectra."""
        kept: dict[str, Any] = {name: getattr(self, name).copy() for name in INTERVAL_UNITS}
        for array in kept.values():
            array[rows] = np.nan
        return replace(self, **kept)

    def __getitem__(self, rows: Any) -> "Intervals":
        """Return those of the chosen spectra."""
        return replace(self, **{name: getattr(self, name)[rows] for name in INTERVAL_UNITS})


@dataclass(frozen=True, eq=False)
class Answered:
    """Spectra and what was found for them, K rows.

    Attributes
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm; points that are not finite were left out.
    expansion : Expansion
        Basis functions.
    unknowns : Unknowns
        The answers; NaN where there is none.
    regularisation : ndarray, shape (K,)
        λ of each.
    noise : ndarray, shape (K, 2), or None
        a, ohm, and b of the noise that was found, if one was.
    """

    frequency: Array
    impedance: NDArray[np.complex128]
    expansion: Expansion
    unknowns: Unknowns
    regularisation: Array
    noise: Array | None = None

    def rows(self, rows: NDArray[np.intp]) -> "Answered":
        """Return the chosen spectra."""
        unknowns, lam = self.unknowns.rows(rows), self.regularisation[rows]
        noise = None if self.noise is None else self.noise[rows]
        return replace(self, impedance=self.impedance[rows], unknowns=unknowns, regularisation=lam, noise=noise)

    def posterior(self, method: "Method", tile: Tile) -> "Posterior":
        """How sure the answers of a tile are."""
        rows, points = tile
        some = self.rows(rows)
        noise = None if some.noise is None else (some.noise[:, 0], some.noise[:, 1])
        answers = some.unknowns, some.regularisation
        return method.posterior(self.frequency[points], some.impedance[:, points], self.expansion, answers, noise)


def intervals_of(method: "Method", given: Answered, level: float, tau: ArrayLike | None = None) -> Intervals:
    """Intervals of answers.

    Parameters
    ----------
    method : Method
        What found them.
    given : Answered
        The spectra and their answers.
    level : float
        Probability that an interval covers its value, between 0 and 1.
    tau : array_like, shape (T,), optional
        Where γ is wanted, s; by default at the relaxation times.

    Raises
    ------
    InputError
        For a level that is no probability, and a method that does not know how sure its answers are.
    """
    check_level(level)
    count = len(given.impedance)
    size = given.expansion.tau.size if tau is None else np.size(tau)
    out = {name: np.full((count, size) if name.startswith("gamma") else count, np.nan) for name in INTERVAL_UNITS}

    def work(tile: Tile) -> None:
        rows, found = tile[0], given.posterior(method, tile)
        out["gamma_low"][rows], out["gamma_high"][rows] = found.gamma_interval(level, tau)
        out["r_pol_low"][rows], out["r_pol_high"][rows] = found.r_pol_interval(level)
        if "r_inf" in found.extras:
            out["r_inf_low"][rows], out["r_inf_high"][rows] = found.extra_interval("r_inf", level)

    run_tiles(work, _tiles_of(given))
    return Intervals(level, **out)


def joint_posterior(method: "Method", given: Answered) -> "LogPosterior":
    """Posterior of answers whose spectra may have different points; of few, since covariances are large.

    Parameters
    ----------
    method : Method
        What found them; one that has a posterior of ln γ.
    given : Answered
        The spectra and their answers.
    """
    parts: list[tuple[NDArray[np.intp], Any]] = [(tile[0], given.posterior(method, tile)) for tile in _tiles_of(given)]
    _, first = parts[0]
    found = {"covariance": first.covariance, "noise": first.noise, "shift": first.shift, "uncut": first.uncut}
    joined = {name: np.full((len(given.impedance), *one.shape[1:]), np.nan) for name, one in found.items()}
    for rows, part in parts:
        for name, whole in joined.items():
            whole[rows] = getattr(part, name)
    joint: LogPosterior = replace(first, unknowns=given.unknowns, **joined)
    return joint


def frozen(target: object, state: dict[str, Any]) -> None:
    """Set what a frozen object was pickled with; arrays come back from a pickle as ones that may be written to."""
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
        object.__setattr__(target, name, value)


def tiles(usable: NDArray[np.bool_], which: NDArray[np.intp], most: int) -> list[Tile]:
    """Divide rows into tiles of rows that have the same points.

    Parameters
    ----------
    usable : ndarray of bool, shape (K, F)
        Which points each row has.
    which : ndarray of int
        Numbers of the rows.
    most : int
        Rows of a tile.
    """
    packed = np.packbits(usable[which], axis=1)
    _, first, member = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_inverse=True)
    groups: Iterable[Tile] = ((which[member == k], np.flatnonzero(usable[which[at]])) for k, at in enumerate(first))
    return [(rows[k : k + most], points) for rows, points in groups for k in range(0, rows.size, most)]


def _tiles_of(given: Answered) -> list[Tile]:
    solved = np.isfinite(given.unknowns.coefficients).all(axis=1)
    return tiles(np.isfinite(given.impedance), np.flatnonzero(solved), _TILE)
