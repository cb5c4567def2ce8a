"""invert(): from spectra to a result, one status for each."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.inversion.stages import Stages
from drt_engine.inversion.storing import can_be_solved, measured_of, status_of_points, store, without_solutions
from drt_engine.inversion.together import invert_together, lines_of, with_series
from drt_engine.methods import LogGaussian, Method
from drt_engine.methods.base import SharesRegularisation, Solution, sharing
from drt_engine.model.basis import Expansion
from drt_engine.progress import shown
from drt_engine.regularisation import GRID, Series, Totals, best_of_series
from drt_engine.result import Inversion
from drt_engine.series import seconds_of
from drt_engine.spectra import Spectra, series_of
from drt_engine.status import Status
from drt_engine.steps import Kept
from drt_engine.threads import run_tiles, thread_count
from drt_engine.uncertainty.intervals import SHARE_OF_INTERVALS, Tile, tiles

__all__ = ["invert", "invert_block", "series_totals"]

logger = logging.getLogger(__name__)

_TILE = 512
"""Spectra that are worked on at once: few enough for their matrices to stay in a core's cache."""

_TILE_KEPT, _LEAST_TILE = 64, 32
"""The same where it is kept how far the work is, and the fewest that are given to a thread, below which starting it
costs more than it does; neither changes a number."""

_STAGES = {1: (0.0, 0.2, 1.0), 2: (0.0, 0.1, 0.5, 1.0)}
"""Share of the work that is done where spectra were inverted alone, along a series and across, by how many columns."""


def invert(
    spectra: Spectra,
    method: Method | None = None,
    *,
    level: float | None = None,
    chosen: Mapping[Series, int] | None = None,
) -> Inversion:
    """Invert spectra into distributions of relaxation times.

    A spectrum that cannot be inverted gets a status and NaN; the others get what they would have got alone. Points that
    are NaN or infinite are left out. In a notebook and on a terminal a bar shows how far it is, after two seconds.

    Parameters
    ----------
    spectra : Spectra
        K spectra.
    method : Method, optional
        Inversion method; ``LogGaussian()`` by default.
    level : float, optional
        Probability of the intervals of γ, R_pol and R_inf that the result is to have; by default it has none.
    chosen : mapping, optional
        Which λ of the grid each series has, if the method shares λ over series and `spectra` are only a part of them:
        :func:`drt_engine.regularisation.best_of_series` of the :func:`series_totals` of all parts. By default it is
        chosen from `spectra`.

    Returns
    -------
    Inversion
        The result, frozen, each solution with its certificate.

    Raises
    ------
    InputError
        If `spectra` is not a Spectra or `method` not a method, for a level that is not between 0 and 1 or with a method
        that has no intervals, and if `chosen` lacks a series.
    UnknownNameError
        If the method shares λ by a state column that the spectra do not have.
    """
    method = _checked(spectra, method)
    with shown(len(spectra)) as tick:
        result = invert_block(spectra, method, chosen, level, tick)
    if not result.solved.all():
        failed = np.count_nonzero(~result.solved)
        logger.warning("%d of %d spectra have no solution: %s", failed, len(result), result.counts())
    return result


def invert_block(
    spectra: Spectra,
    method: Method,
    chosen: Mapping[Series, int] | None = None,
    level: float | None = None,
    tick: Callable[[int], None] = lambda _: None,
    kept: Kept | None = None,
) -> Inversion:
    """Do what :func:`invert` does for spectra that are a block of more, and leave it to the caller to say what failed.

    Parameters
    ----------
    spectra, method, chosen, level
        As :func:`invert` takes them.
    tick : callable
        Called with the number of spectra that were inverted since the last call, each alone.
    kept : Kept, optional
        Where it is kept how far spectra are that are inverted together; it goes on from what is there.
    """
    states = spectra.states
    method = with_series(method, states)
    expansion = method.expansion(spectra.frequency)
    usable = np.isfinite(spectra.impedance)
    out = without_solutions(spectra, expansion, usable)
    # Blocks of jobs may be small, and each thread is to have some of one.
    of_thread = max(-(-len(spectra) // thread_count()), _LEAST_TILE)
    parts = _tiles(usable, out["status"], min(_TILE if kept is None else _TILE_KEPT, of_thread))
    shared = sharing(method)
    which = None if shared is None else _shared_lambda(spectra, shared, parts, chosen)
    times = _times(spectra, method)
    columns = method.columns if isinstance(method, LogGaussian) else ()
    lines = lines_of(spectra, method)
    in_series = np.zeros(len(spectra), dtype=bool)
    if times is not None and columns:
        # Points are placed between the states of a series; what belongs to none drifts by itself.
        in_series[[row for line in lines for row in line.rows]] = True
        parts = [part for which_rows in (in_series, ~in_series) for part in _of_those(parts, which_rows)]
        out["moved"] = np.zeros(spectra.impedance.shape, dtype=complex)
    before = 1.0 if level is None else 1.0 - SHARE_OF_INTERVALS
    stages = Stages(out, kept or Kept(), [before * share for share in _STAGES.get(len(columns), (0.0, 1.0))])
    separate = SeparateInversion(spectra, method, expansion, which, times, in_series)

    def work(tile: Tile) -> None:
        rows = tile[0]
        if stages.is_past(1, rows):
            return
        solution = separate.solution(tile)
        stages.put(1, rows, lambda: store(out, tile, solution, spectra, expansion))
        tick(rows.size)

    run_tiles(work, parts)
    if isinstance(method, LogGaussian) and columns:
        invert_together(spectra, method, stages, lines)
    if times is not None:
        alone = ~in_series & np.isfinite(out["residual"])
        out["status"][alone & _untimed(times, usable)] |= np.uint32(Status.NOT_PLACED)
    # Not before: the largest array is then first touched by the threads, which share that work as well.
    out["coefficients"][np.isnan(out["residual"])] = np.nan
    result = Inversion(
        spectra.frequency,
        expansion,
        **out,
        states=states,
        method=method,
        impedance=spectra.impedance,
        point_time=times,
    )
    return result if level is None else replace(result, intervals=result._intervals(level, kept=kept))


class SeparateInversion(NamedTuple):
    """What spectra are inverted with, each by itself.

    Attributes
    ----------
    spectra, method, expansion
        As in :func:`invert_block`.
    which : ndarray of int, shape (K,), or None
        Which λ of the grid each spectrum has, where the method shares it.
    times : ndarray, shape (K, F), or None
        When each point was measured, where the method asks for it.
    in_series : ndarray of bool, shape (K,)
        Spectra whose points are placed later, between the states of their series.
    """

    spectra: Spectra
    method: Method
    expansion: Expansion
    which: NDArray[np.intp] | None
    times: NDArray[np.float64] | None
    in_series: NDArray[np.bool_]

    def solution(self, tile: Tile) -> Solution:
        """Solve for the spectra of a tile."""
        rows, points = tile
        frequency, z = measured_of(self.spectra, tile)
        if self.times is not None and isinstance(self.method, LogGaussian) and not self.in_series[rows[0]]:
            own = np.take(self.times[rows], points, axis=1)
            return self.method.solve_drifting(frequency, z, self.expansion, own)
        shared = sharing(self.method)
        if shared is None or self.which is None:
            return self.method.solve(frequency, z, self.expansion)
        return shared.solve(frequency, z, self.expansion, self.which[rows])


def _times(spectra: Spectra, method: Method) -> NDArray[np.float64] | None:
    """When each point was measured, where the method asks for it."""
    drift = getattr(method, "drift", "none")
    if drift == "none":
        return None
    if spectra.point_time is None:
        raise InputError(
            f"drift={drift!r} needs the time of each point, and these spectra have none. Give it: "
            "Spectra(frequency, impedance, states, point_time), or import files that have it; or leave out drift."
        )
    if isinstance(method, LogGaussian) and method.along is not None and seconds_of(spectra.states) is None:
        raise InputError(
            f"drift={drift!r} with along={method.along!r} needs the state 'time', when each sweep began, in s or as "
            f"dates; got the states {', '.join(map(str, spectra.states.columns)) or 'none'}. Without it the sweeps "
            "cannot be put on one clock: add it, or leave out drift or along."
        )
    return spectra.point_time


def _untimed(times: NDArray[np.float64], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether points of spectra have no time, or all the same, shape (K,)."""
    measured = np.where(usable, times, np.inf), np.where(usable, times, -np.inf)
    same = measured[0].min(axis=1) >= measured[1].max(axis=1)
    return np.asarray((usable & ~np.isfinite(times)).any(axis=1) | same)


def _of_those(parts: list[Tile], those: NDArray[np.bool_]) -> list[Tile]:
    return [(rows[those[rows]], points) for rows, points in parts if those[rows].any()]


def series_totals(spectra: Spectra, method: Method) -> Totals:
    """Sum the scores of each λ over each series, for a method that shares λ over series.

    A job that reads its spectra in blocks adds the totals of all blocks by
    :func:`drt_engine.regularisation.add_totals`, chooses by :func:`drt_engine.regularisation.best_of_series` and
    inverts each block with what was chosen. The sums are of whole numbers, so they are the same however the spectra are
    divided into blocks. Spectra that cannot be inverted take no part.

    Parameters
    ----------
    spectra : Spectra
        K spectra, with the state columns that distinguish the series of the method.
    method : Method
        Inversion method that shares λ over series.

    Returns
    -------
    dict
        Sums, shape (G,), by series.

    Raises
    ------
    InputError
        If `spectra` is not a Spectra or `method` not a method that shares λ.
    UnknownNameError
        For a state column that the spectra do not have.
    """
    shared = sharing(_checked(spectra, method))
    if shared is None:
        raise InputError(f"the method shares no λ; got {method!r}. Set shared to True or to a state column.")
    usable = np.isfinite(spectra.impedance)
    member, series = series_of(spectra.states, shared.shared_states or ())
    return _totals(spectra, shared, _tiles(usable, status_of_points(spectra.impedance, usable)), member, series)


def _checked(spectra: Spectra, method: Method | None) -> Method:
    if not isinstance(spectra, Spectra):
        raise InputError(
            f"spectra must be a Spectra; got {type(spectra).__name__}. Make one: Spectra(frequency, impedance)."
        )
    method = LogGaussian() if method is None else method
    if isinstance(method, type) or not hasattr(method, "solve"):
        raise InputError(f"method must be a method such as LogGaussian(); got {method!r}.")
    return method


def _shared_lambda(
    spectra: Spectra, method: SharesRegularisation, parts: list[Tile], chosen: Mapping[Series, int] | None
) -> NDArray[np.intp]:
    """Which λ of the grid each spectrum has by its series, shape (K,)."""
    member, series = series_of(spectra.states, method.shared_states or ())
    if chosen is None:
        chosen = best_of_series(_totals(spectra, method, parts, member, series))
    lacking = [one for one in series if one not in chosen]
    if lacking:
        raise InputError(f"chosen has no λ for the series {lacking[0]}. Add its totals before choosing.")
    return np.array([chosen[one] for one in series], dtype=np.intp)[member]


def _totals(
    spectra: Spectra, method: SharesRegularisation, parts: list[Tile], member: NDArray[np.intp], series: list[Series]
) -> Totals:
    expansion = method.expansion(spectra.frequency)
    sums = np.zeros((len(series), GRID.size), dtype=np.int64)
    turn = Lock()

    def work(tile: Tile) -> None:
        rows, points = tile
        tallies = method.tallies(spectra.frequency[points], np.take(spectra.impedance[rows], points, axis=1), expansion)
        with turn:
            np.add.at(sums, member[rows], tallies)

    run_tiles(work, parts)
    return dict(zip(series, sums, strict=True))


def _tiles(usable: NDArray[np.bool_], status: NDArray[np.uint32], size: int = _TILE) -> list[Tile]:
    """Divide the spectra that can be inverted into tiles."""
    return tiles(usable, np.flatnonzero(can_be_solved(status)), size)
