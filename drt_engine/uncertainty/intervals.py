"""Intervals of γ, R_pol and R_inf: made tile by tile, since the covariances of all spectra would be large."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.elements import EXPONENTS
from drt_engine.errors import InputError
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters
from drt_engine.result_fields import INTERVAL_UNITS
from drt_engine.spectra import freeze_arrays
from drt_engine.steps import Kept, Steps
from drt_engine.threads import run_tiles
from drt_engine.uncertainty.base import HasPosterior, check_level, quantile
from drt_engine.uncertainty.ceilings import JoinedCeilings

if TYPE_CHECKING:
    from drt_engine.methods import Method
    from drt_engine.methods.joint.posterior import JointSeries
    from drt_engine.uncertainty.base import Posterior
    from drt_engine.uncertainty.posterior import LogPosterior

__all__ = [
    "FittedSpectra",
    "Intervals",
    "Tile",
    "frozen",
    "intervals_of",
    "posterior_of",
    "tiles",
]

Array = NDArray[np.float64]

Tile = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Numbers of some rows that can be worked on together, and of the points that they have."""

LEVEL = "intervals"
"""The part of the work in which they are found."""

SHARE_OF_INTERVALS = 0.2
"""Share of the work on a block that it is to find them."""

_TO_POSTERIOR = 0.8
"""Share of that until the posterior is known that they are made from."""

_TILE, _PART = 64, 256
"""Spectra whose intervals are found at once: of those that were inverted alone, and of a series."""

_DRIFTS = 2
"""Kind of spectra that drift."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of K spectra; NaN where there is no solution.

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
    tail_q_low, tail_q_high, tail_exponent_low, tail_exponent_high : ndarray, shape (K,)
        Q, S s^n, and n of the tail; NaN where it has none that is to be found.
    """

    level: float
    gamma_low: Array
    gamma_high: Array
    r_pol_low: Array
    r_pol_high: Array
    r_inf_low: Array
    r_inf_high: Array
    tail_q_low: Array = None  # type: ignore[assignment]  # NaN, below
    tail_q_high: Array = None  # type: ignore[assignment]
    tail_exponent_low: Array = None  # type: ignore[assignment]
    tail_exponent_high: Array = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        for name in INTERVAL_UNITS:
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(self.r_pol_low.shape, np.nan))
        freeze_arrays(self)

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
class FittedSpectra:
    """Spectra and what was found for them, K rows.

    Attributes
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm; points that are not finite were left out.
    expansion : Expansion
        Basis functions.
    parameters : Parameters
        The solutions; NaN where there is none.
    regularisation : ndarray, shape (K,)
        λ of each.
    noise : ndarray, shape (K, 2), or None
        a, ohm, and b of the noise that was found, if one was.
    point_time : ndarray, shape (K, F), or None
        When each point was measured, s, if that is known.
    """

    frequency: Array
    impedance: NDArray[np.complex128]
    expansion: Expansion
    parameters: Parameters
    regularisation: Array
    noise: Array | None = None
    point_time: Array | None = None

    def rows(self, rows: NDArray[np.intp]) -> "FittedSpectra":
        """Return the chosen spectra."""
        parameters, lam = self.parameters.rows(rows), self.regularisation[rows]
        noise = None if self.noise is None else self.noise[rows]
        times = None if self.point_time is None else self.point_time[rows]
        return replace(
            self,
            impedance=self.impedance[rows],
            parameters=parameters,
            regularisation=lam,
            noise=noise,
            point_time=times,
        )

    @property
    def kinds(self) -> NDArray[np.int64]:
        """Label spectra that cannot be worked on together, shape (K,): by representation and drift."""
        drifts = (self.parameters.drift_fast != 0.0) | (self.parameters.drift_slow != 0.0)
        return np.asarray(self.parameters.admittance + _DRIFTS * drifts, dtype=np.int64)

    def posterior(self, method: "Method", tile: Tile) -> "Posterior":
        """Return the posterior of the solutions of a tile."""
        rows, points = tile
        some = self.rows(rows)
        noise = None if some.noise is None else (some.noise[:, 0], some.noise[:, 1])
        solutions = some.parameters, some.regularisation
        if not isinstance(method, HasPosterior):
            name = type(method).__name__
            raise InputError(f"{name} has no intervals. Invert with LogGaussian() or Tikhonov() for them.")
        if (some.kinds == _DRIFTS).all():
            if some.point_time is None:
                raise InputError(
                    "intervals and peaks of spectra that drifted need the time of each point. Attach the spectra: "
                    "result.with_spectra(spectra)."
                )
            known = noise, some.point_time[:, points]
            found: Posterior = method.posterior_drifting(  # type: ignore[attr-defined]  # only its solutions drift
                self.frequency[points], some.impedance[:, points], self.expansion, solutions, known
            )
            return found
        return method.posterior(self.frequency[points], some.impedance[:, points], self.expansion, solutions, noise)


def intervals_of(
    method: "Method",
    given: FittedSpectra,
    level: float,
    tau: ArrayLike | None = None,
    joined: "JointSeries | None" = None,
    kept: Kept | None = None,
) -> Intervals:
    """Intervals of solutions.

    Parameters
    ----------
    method : Method
        Method that found them.
    given : FittedSpectra
        The spectra and their solutions.
    level : float
        Probability that an interval covers its value, between 0 and 1.
    tau : array_like, shape (T,), optional
        Where γ is wanted, s; by default at the relaxation times.
    joined : JointSeries, optional
        Series among them that were inverted together.
    kept : Kept, optional
        Where it is kept how far they are; it goes on from what is there.

    Raises
    ------
    InputError
        For a level that is not between 0 and 1, and a method that does not estimate uncertainties.
    """
    check_level(level)
    count = len(given.impedance)
    size = given.expansion.tau.size if tau is None else np.size(tau)
    out = {name: np.full((count, size) if name.startswith("gamma") else count, np.nan) for name in INTERVAL_UNITS}

    kept, done = kept or Kept(), np.zeros(count, dtype=bool)
    arrays: dict[str, NDArray[Any]] = out | {"done": done}
    kept.restore(LEVEL, arrays)
    ended = done.copy()

    def work(piece: Piece) -> None:
        rows, find = piece
        if done[rows].all():
            return
        name = f"{LEVEL}-{rows[0]}"
        found = find(Steps(kept, name, SHARE_OF_INTERVALS * _TO_POSTERIOR * rows.size / count))
        for k in range(0, rows.size, _PART):
            some = rows[k : k + _PART]
            with kept.lock:
                of_some = found.part(slice(k, k + _PART)) if rows.size > _PART else found
                _put(out, some, of_some, level, tau)
                done[some] = True
                # What led there is kept until all of it is here.
                ended[rows] = done[rows].all()
            if ended[rows[0]]:
                kept.finish(name)
            share = _TO_POSTERIOR * ended.mean() + (1.0 - _TO_POSTERIOR) * done.mean()
            kept.offer(LEVEL, SHARE_OF_INTERVALS * float(share), lambda: {n: one.copy() for n, one in arrays.items()})

    run_tiles(work, _pieces(method, given, joined))
    return Intervals(level, **out)


def _put(out: dict[str, Array], rows: NDArray[np.intp], posterior: Any, level: float, tau: ArrayLike | None) -> None:
    """Store the intervals that follow from the posterior of some rows."""
    out["gamma_low"][rows], out["gamma_high"][rows] = posterior.gamma_interval(level, tau)
    out["r_pol_low"][rows], out["r_pol_high"][rows] = posterior.r_pol_interval(level)
    if "r_inf" in posterior.series_elements:
        out["r_inf_low"][rows], out["r_inf_high"][rows] = posterior.element_interval("r_inf", level)
    if "tail" in posterior.series_elements:
        low, high = posterior.element_interval("tail", level)
        with np.errstate(divide="ignore"):
            out["tail_q_low"][rows], out["tail_q_high"][rows] = 1.0 / high, 1.0 / low
    if "exponent" in posterior.series_elements:
        low, high = posterior.element_interval("exponent", level)
        out["tail_exponent_low"][rows] = np.maximum(1.0 - high, EXPONENTS[0])
        out["tail_exponent_high"][rows] = 1.0 - low
    if getattr(posterior, "exponent", None) is not None:
        middle, deviation = posterior.exponent.T
        half = np.where(deviation > 0.0, quantile(level) * deviation, np.nan)
        out["tail_exponent_low"][rows] = np.maximum(middle - half, EXPONENTS[0])
        out["tail_exponent_high"][rows] = np.minimum(middle + half, EXPONENTS[1])


def posterior_of(
    method: "Method", given: FittedSpectra, rows: NDArray[np.intp], joined: "JointSeries | None" = None
) -> "LogPosterior":
    """Posterior of some solutions, whose spectra may have different points; of few, since covariances are large.

    Parameters
    ----------
    method : Method
        Method that found them, which has a posterior of ln γ.
    given : FittedSpectra
        The spectra and their solutions.
    rows : ndarray of int
        Row numbers.
    joined : JointSeries, optional
        Series among them that were inverted together.
    """
    place = np.full(len(given.impedance), -1)
    place[rows] = np.arange(rows.size)
    wanted = place >= 0
    names = ("covariance", "noise", "shift", "uncut", "pull")
    whole: dict[str, Any] = {}
    allowed = JoinedCeilings(rows.size, [])
    found: list[tuple[NDArray[np.intp], LogPosterior]] = []
    for members, find in _pieces(method, given, joined, wanted):
        some = wanted[members]
        found.append((place[members[some]], find(None).part(some)))
    # Series have different elements where each has the tail that is probable for it: all have R_inf.
    common = tuple(name for name in found[0][1].series_elements if all(name in one.series_elements for _, one in found))
    for at, one in found:
        last = one if one.series_elements == common else one.with_elements(common)
        if last.allowed is not None:
            allowed.parts.append((at, last.allowed))
        for name in names:
            part = getattr(last, name)
            if name == "pull" and (part is None or last.together):
                # Peaks of a series and changes to another one go by its covariance alone.
                part = np.zeros((len(last.shift), 2, last.shift.shape[1]))
            whole.setdefault(name, np.full((rows.size, *part.shape[1:]), np.nan))[at] = part
    posterior: LogPosterior = replace(
        last,
        parameters=given.parameters.rows(rows),
        allowed=allowed,
        exponent=None,
        hidden=None,
        slower=None,
        strain=None,
        together=False,
        end=None,
        departure=None,
        **whole,
    )
    return posterior


Piece = tuple[NDArray[np.intp], Callable[[Steps | None], Any]]
"""Numbers of some rows, and what finds their posterior, which may keep how far it is."""


def _pieces(
    method: "Method", given: FittedSpectra, joined: "JointSeries | None", wanted: NDArray[np.bool_] | None = None
) -> list[Piece]:
    """Divide what has a solution into what is worked on together; of it what holds any of the wanted rows."""
    solved: NDArray[np.bool_] = np.asarray(np.isfinite(given.parameters.coefficients).all(axis=1))
    pieces: list[Piece] = []
    for number, line in enumerate([] if joined is None else joined.lines):
        solved[line.rows] = False
        if wanted is None or wanted[line.rows].any():
            pieces.append((line.rows, partial(joined.posterior, number)))  # type: ignore[union-attr]  # it has lines
    alone = np.flatnonzero(solved if wanted is None else solved & wanted)
    usable, kinds = np.isfinite(given.impedance), given.kinds
    parts = [tile for kind in np.unique(kinds[alone]) for tile in tiles(usable, alone[kinds[alone] == kind], _TILE)]
    return pieces + [(tile[0], lambda _, tile=tile: given.posterior(method, tile)) for tile in parts]


def frozen(target: object, state: dict[str, Any]) -> None:
    """Restore a pickled frozen object, and make its arrays read-only again, as a pickle does not."""
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
    whole = usable[which]
    if which.size and whole.all():
        points = np.arange(usable.shape[1])
        return [(which[k : k + most], points) for k in range(0, which.size, most)]
    packed = np.packbits(whole, axis=1)
    _, first, member = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_inverse=True)
    groups: Iterable[Tile] = ((which[member == k], np.flatnonzero(usable[which[at]])) for k, at in enumerate(first))
    return [(rows[k : k + most], points) for rows, points in groups for k in range(0, rows.size, most)]
