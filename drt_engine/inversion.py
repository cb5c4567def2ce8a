"""invert(): from spectra to a result, one status for each."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.methods import LogGaussian, Method
from drt_engine.methods.base import SharesRegularisation, Solution, misfits, sharing, sharpest_peak, slow_flank
from drt_engine.methods.joint import Across, SeparateSolutions
from drt_engine.methods.placing import Sweeps, sweeps_of
from drt_engine.methods.uniqueness import not_unique
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Parameters, row_by_row
from drt_engine.progress import shown
from drt_engine.regularisation import GRID, Series, Totals, best_of_series, series_of
from drt_engine.result import Inversion
from drt_engine.result_fields import PER_SPECTRUM
from drt_engine.series import OrderedSeries, Sheet, seconds_of, series_along, series_columns, sheets_of
from drt_engine.spectra import MIN_POINTS, Spectra
from drt_engine.status import Status, failures
from drt_engine.steps import WHOLE, Kept, Steps
from drt_engine.threads import run_tiles, thread_count
from drt_engine.uncertainty.intervals import SHARE_OF_INTERVALS, Tile, tiles
from drt_engine.uncertainty.posterior import areas_between, still_rises
from drt_kernels import certificate

__all__ = ["invert", "invert_block", "series_in", "series_totals", "states_needed", "with_series"]

_TILE = 512
"""Spectra that are worked on at once: few enough for their matrices to stay in a core's cache."""

_TILE_KEPT, _LEAST_TILE = 64, 32
"""The same where it is kept how far the work is, and the fewest that are given to a thread, below which starting it
costs more than it does; neither changes a number."""

_STAGES = {1: (0.0, 0.2, 1.0), 2: (0.0, 0.1, 0.5, 1.0)}
"""Share of the work that is done where spectra were inverted alone, along a series and across, by how many columns."""

_MOST_BEYOND = 0.1
"""Share of R_pol beyond the window of the data that is passed over."""

_FLANK_SEEN, _LOOP_SEEN = 2.0, 3.0
"""Score, in standard deviations, from which the flank of a process slower than the window is told, of which R_pol does
not know, and from which one of the other sign, an inductive loop, is a misfit. The first is low, since the remark costs
nothing: 0 to 2.5 % of spectra without such a process have it."""

_LEAST_LOOP = 0.003
"""Modulus of the flank of such a loop at the lowest frequency, as a share of the resistance of the sharpest peak, that
counts: peaks that are narrower than the spacing of relaxation times, as those of finite diffusion, leave up to that."""

_BREAKS_ALL = 0.25
"""Share of the places at which series break across that makes all of them break."""

_FEWEST, _OVERLAP = 4, 4
"""Fewest spectra of a part of a series that is inverted together where the whole has no certified solution, and how
many on either side help it at most."""

_LEAST_ALIKE = 1.0
"""Strength of the coupling below which neighbours are taken as unrelated: the slope of ln γ then changes by 1 within an
e-fold of τ, as much as in a spectrum alone. It was 0.01 for 15 cells of different circuits, and 15 or more in series in
which processes cross."""

# As numbers: numpy takes long to find out what a flag is.
_OK, _POINTS_MISSING, _WRONG_SIGN, _NOT_SOLVED = (
    np.uint32(flag) for flag in (Status.OK, Status.POINTS_MISSING, Status.WRONG_SIGN, Status.NOT_SOLVED)
)

logger = logging.getLogger(__name__)


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
        How; ``LogGaussian()`` by default.
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
        If `spectra` is not a Spectra or `method` not a method, for a level that is no probability or with a method
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
    out = _without_solutions(spectra, expansion, usable)
    # Blocks of jobs may be small, and each thread is to have some of one.
    of_thread = max(-(-len(spectra) // thread_count()), _LEAST_TILE)
    parts = _tiles(usable, out["status"], min(_TILE if kept is None else _TILE_KEPT, of_thread))
    shared = sharing(method)
    which = None if shared is None else _shared_lambda(spectra, shared, parts, chosen)
    times = _times(spectra, method)
    columns = method.columns if isinstance(method, LogGaussian) else ()
    lines = _lines(spectra, method)
    in_series = np.zeros(len(spectra), dtype=bool)
    if times is not None and columns:
        # Points are placed between the states of a series; what belongs to none drifts by itself.
        in_series[[row for line in lines for row in line.rows]] = True
        parts = [part for which_rows in (in_series, ~in_series) for part in _of_those(parts, which_rows)]
        out["moved"] = np.zeros(spectra.impedance.shape, dtype=complex)
    before = 1.0 if level is None else 1.0 - SHARE_OF_INTERVALS
    course = _Course(out, kept or Kept(), [before * share for share in _STAGES.get(len(columns), (0.0, 1.0))])
    separate = _Separate(spectra, method, expansion, which, times, in_series)

    def work(tile: Tile) -> None:
        rows = tile[0]
        if course.is_past(1, rows):
            return
        solution = separate.solution(tile)
        course.put(1, rows, lambda: _keep(out, tile, solution, spectra, expansion))
        tick(rows.size)

    run_tiles(work, parts)
    if isinstance(method, LogGaussian) and columns:
        _together(spectra, method, course, lines)
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


def _without_solutions(spectra: Spectra, expansion: Expansion, usable: NDArray[np.bool_]) -> dict[str, Any]:
    """Arrays for the results of all spectra, by name, with a status for those that cannot be inverted."""
    names = [name for name in PER_SPECTRUM if name not in ("coefficients", "status")]
    out: dict[str, Any] = dict(zip(names, np.full((len(names), len(spectra)), np.nan), strict=True))
    out["coefficients"] = np.empty((len(spectra), expansion.tau.size))
    out["status"] = _status_of_points(spectra.impedance, usable)
    return out


def _lines(spectra: Spectra, method: Method) -> list[OrderedSeries]:
    """Series along the first state that the method inverts spectra together along; none if each is alone."""
    if not isinstance(method, LogGaussian) or not method.columns:
        return []
    first, *others = method.columns
    return series_along(spectra.states, first, (*(method.series or ()), *others))


class _Separate(NamedTuple):
    """What spectra are inverted with, each separately.

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
        frequency, z = _measured(self.spectra, tile)
        if self.times is not None and isinstance(self.method, LogGaussian) and not self.in_series[rows[0]]:
            own = np.take(self.times[rows], points, axis=1)
            return self.method.solve_drifting(frequency, z, self.expansion, own)
        shared = sharing(self.method)
        if shared is None or self.which is None:
            return self.method.solve(frequency, z, self.expansion)
        return shared.solve(frequency, z, self.expansion, self.which[rows])


def _together(spectra: Spectra, method: LogGaussian, course: "_Course", lines: list[OrderedSeries]) -> None:
    """Invert spectra together along their series, and series across if the method names a second state."""
    out = course.out
    run_tiles(lambda line: _join(spectra, method, course, line), lines)
    if len(method.columns) > 1:
        sheets = sheets_of(spectra.states, (method.columns[0], method.columns[1]), method.series)
        run_tiles(lambda sheet: _join_across(spectra, method, course, sheet), sheets)
    alone = np.setdiff1d(np.flatnonzero(np.isnan(out["coupling"])), np.flatnonzero(failures(out["status"])))
    out["status"][alone] |= np.uint32(Status.ALONE)


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


def _of_those(parts: list[Tile], those: NDArray[np.bool_]) -> list[Tile]:
    return [(rows[those[rows]], points) for rows, points in parts if those[rows].any()]


def with_series(method: Method, states: pd.DataFrame) -> Method:
    """Return a method that names the state columns which tell series apart, if it inverts series together.

    Parameters
    ----------
    method : Method
        How.
    states : DataFrame
        All spectra's states; the columns may be others for a part of them.

    Raises
    ------
    UnknownNameError
        For a column that does not exist.
    """
    if not isinstance(method, LogGaussian) or method.along is None:
        return method
    return replace(method, series=series_columns(states, method.columns, method.series))


def states_needed(method: Method) -> tuple[str, ...]:
    """State columns that the solutions of a method depend on, after :func:`with_series`."""
    if isinstance(method, LogGaussian) and method.along is not None:
        clock = () if method.drift == "none" or "time" in method.columns else ("time",)
        return *method.columns, *clock, *(name for name in method.series or () if name not in clock)
    shared = sharing(method)
    return () if shared is None else shared.shared_states or ()


def series_in(states: pd.DataFrame, method: Method) -> list[OrderedSeries]:
    """Spectra whose solutions depend on each other; none if a method inverts each spectrum alone.

    Parameters
    ----------
    states : DataFrame
        What each spectrum was measured at.
    method : Method
        How.

    Raises
    ------
    UnknownNameError
        For a column that does not exist.
    InputError
        If the column along which series run holds no numbers.
    """
    if not isinstance(method, LogGaussian) or method.along is None:
        return []
    return series_along(states, method.columns[0], method.series)


def _measured(spectra: Spectra, tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Frequencies and impedances of a tile."""
    rows, points = tile
    if points.size == spectra.frequency.size:
        return spectra.frequency, spectra.impedance[rows]
    return spectra.frequency[points], np.take(spectra.impedance[rows], points, axis=1)


def _keep(out: dict[str, Any], tile: Tile, solution: Solution, spectra: Spectra, expansion: Expansion) -> None:
    """Put the solutions of a tile where they belong, in place of what is there."""
    rows, found = tile[0], solution.parameters
    frequency, z = _measured(spectra, tile)
    solved = solution.optimality <= OPTIMALITY_TOLERANCE
    beyond = _share_beyond(frequency, expansion, found.coefficients)
    status = _remarks(solution, beyond, frequency, z, expansion)
    status[~solved] = _NOT_SOLVED
    out["status"][rows] |= status
    residual = np.empty(len(z))
    certificate.misfit(solution.fit, z, residual)
    with np.errstate(divide="ignore"):
        named = {"capacitance": 1.0 / found.elastance, "tail_q": 1.0 / found.tail}
    named |= {"residual": residual, "r_pol_beyond": beyond}
    whole = bool(solved.all())
    good = rows if whole else rows[solved]
    for name in PER_SPECTRUM:
        values = named.get(name)
        if values is None:
            values = getattr(solution, name, None)
        if values is None:
            values = getattr(found, name, None)
        if values is not None:
            out[name][good] = values if whole else values[solved]
    # These two of a failure as well: they tell why.
    out["regularisation"][rows] = solution.regularisation
    out["optimality"][rows] = solution.optimality


def _remarks(
    solution: Solution,
    beyond: NDArray[np.float64],
    frequency: NDArray[np.float64],
    z: NDArray[np.complex128],
    expansion: Expansion,
) -> NDArray[np.uint32]:
    """Say what is to be known of solutions, as flags of :class:`Status`; `beyond` is the share of R_pol outside."""
    found = solution.parameters
    flank, error = slow_flank(solution, z, frequency, expansion)
    open_end = still_rises(expansion, found.coefficients, expansion.window(frequency)[1])
    open_end |= (beyond > _MOST_BEYOND) | (flank > _FLANK_SEEN)
    loop = ~open_end & (flank < -_LOOP_SEEN)
    if loop.any():
        loop &= -flank * error > _LEAST_LOOP * sharpest_peak(found, expansion.areas)
    wrong = misfits(solution, z, expansion.areas) | loop
    out = np.zeros(len(z), dtype=np.uint32)
    for flag, those in (
        (Status.LAMBDA_AT_EDGE, solution.at_edge),
        (Status.SOLVED_BY_CVXPY, solution.by_cvxpy),
        (Status.EXTRAPOLATED, open_end),
        (Status.TAIL_UNCERTAIN, solution.tail_uncertain),
        (Status.ADMITTANCE, found.admittance),
        (Status.DRIFT, (found.drift_fast != 0.0) | (found.drift_slow != 0.0)),
        (Status.NOT_UNIQUE, ~wrong & not_unique(solution, z, frequency, expansion)),
        (Status.MISFIT, wrong),
    ):
        if np.count_nonzero(those):
            out[those] |= np.uint32(flag)
    return out


class _Course:
    """How far the work on a block is: alone, 1, along a series, 2, or across, 3.

    Parameters
    ----------
    out : dict of str to ndarray
        What was found so far; what was kept is put there.
    kept : Kept
        Where it is kept.
    stages : sequence of float
        Share of the work that is done after each.
    """

    def __init__(self, out: dict[str, Any], kept: Kept, stages: Sequence[float]) -> None:
        self.out, self._kept, self._stages = out, kept, np.array(stages)
        self._done = np.zeros(len(out["status"]), dtype=np.uint8)
        kept.restore(WHOLE, self._arrays())

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self.out | {"done": self._done}

    def is_past(self, stage: int, rows: NDArray[np.intp]) -> bool:
        """Whether spectra are done as far as that."""
        return bool((self._done[rows] >= stage).all())

    def put(self, stage: int, rows: NDArray[np.intp], work: Callable[[], None] = lambda: None, name: str = "") -> None:
        """Take note that spectra are done as far as that, by work that is short; `name` is the part that led there."""
        # Without anything that is kept, threads need not wait for each other.
        with nullcontext() if type(self._kept) is Kept else self._kept.lock:
            work()
            self._done[rows] = stage
        self._kept.finish(name)
        if type(self._kept) is Kept:
            return
        share = float(self._stages[self._done].mean())
        self._kept.offer(WHOLE, share, lambda: {name: one.copy() for name, one in self._arrays().items()})

    def steps(self, stage: int, rows: NDArray[np.intp], turn: int | None = None) -> tuple[Steps, str]:
        """Return steps by which spectra get as far as that, in one or in several turns, and their name."""
        name = f"{stage}-{rows[0]}" if turn is None else f"{stage}-{rows[0]}-{turn}"
        weight = (self._stages[stage] - self._stages[stage - 1]) * rows.size / self._done.size
        return Steps(self._kept, name, float(weight) * (1.0 if turn is None else 0.5 ** (turn + 1))), name

    def finish(self, names: Sequence[str]) -> None:
        """Take note that parts are done whose outcome is there."""
        for name in names:
            self._kept.finish(name)


def _join(spectra: Spectra, method: LogGaussian, course: _Course, line: OrderedSeries) -> None:
    """Invert a series together, and put its solutions in place of those of the spectra alone."""
    out = course.out
    member = np.isfinite(out["residual"][line.rows]) & out["coefficients"][line.rows].any(axis=1)
    if course.is_past(2, line.rows) or member.sum() < 2:
        return
    rows, position = line.rows[member], line.position[member]
    expansion = method.expansion(spectra.frequency)
    names: list[str] = []
    sweeps = _sweeps(spectra, method, rows)

    def steps(turn: int | None = None) -> Steps:
        found, name = course.steps(2, rows, turn)
        names.append(name)
        return found

    def solve(part: slice, steps: Steps | None = None) -> Part:
        start = _found(out, rows[part])
        of_part = spectra.frequency, spectra.impedance[rows[part]], expansion, position[part], start, steps
        return Part(part, *method.solve_series(*of_part))

    moved: Any = None
    unplaced = np.full(rows.size, method.drift != "none")
    if sweeps is None:
        parts = [solve(slice(0, rows.size), steps())]
    else:
        given = spectra.frequency, spectra.impedance[rows], expansion
        placed = method.solve_placed(*given, (position, sweeps), _found(out, rows), steps)
        parts, moved = [Part(slice(0, rows.size), placed.solution, placed.breaks)], placed.moved
        unplaced = ~np.isfinite(sweeps.middle) | (not placed.settled)
        if not placed.settled:
            logger.warning("the %d spectra of a series are inverted without drift: it does not settle", rows.size)
    if not parts[0].certified:
        # What changes within sweeps is known from neighbours on both sides, which a part does not have.
        moved, parts = None, _in_parts(solve, 0, rows.size)
        unplaced[:] = method.drift != "none"
        logger.warning(
            "the joint solution of %d spectra along %s has no certificate; of parts of it, these have one%s: %s",
            rows.size, method.columns[0], "" if sweeps is None else ", without drift", _said(parts),
        )  # fmt: skip

    def replace_all() -> None:
        for part in parts:
            _take(spectra, method, out, rows[part.where], part)
        if moved is not None:
            out["moved"][rows] = moved
        out["status"][rows[unplaced]] |= np.uint32(Status.NOT_PLACED)

    course.put(2, line.rows, replace_all, names[-1])
    course.finish(names[:-1])


def _take(spectra: Spectra, method: LogGaussian, out: dict[str, Any], rows: NDArray[np.intp], part: "Part") -> None:
    """Store what was found for spectra that were inverted together, and warn where they are hardly coupled."""
    _replace(spectra, out, method.expansion(spectra.frequency), rows, part.solution)
    out["status"][rows[part.breaks]] |= np.uint32(Status.BREAK)
    strength = float(out["coupling"][rows[0]])
    if strength < _LEAST_ALIKE:
        out["status"][rows] |= np.uint32(Status.UNRELATED)
        logger.warning(
            "the %d spectra of a series along %s are no more alike than those of different cells: inverting them "
            "together changes little (coupling %.2g). Is %s what orders them?%s",
            rows.size, method.columns[0], strength, method.columns[0],
            " Some have the same value: a state that tells these apart would make series of their own."
            if spectra.states[method.columns[0]].iloc[rows].duplicated().any() else "",
        )  # fmt: skip


def _sweeps(spectra: Spectra, method: LogGaussian, rows: NDArray[np.intp]) -> Sweeps | None:
    """When the points of a series were measured, if they are to be placed by it and can be."""
    start = None if method.drift == "none" else seconds_of(spectra.states)
    if start is None or spectra.point_time is None:
        return None
    found = sweeps_of(start[rows], spectra.point_time[rows], np.isfinite(spectra.impedance[rows]))
    if found is None:
        logger.warning(
            "the %d spectra of a series are inverted without drift: fewer than two have times of their points, or "
            "their sweeps overlap. The state 'time' is when a sweep began, in s; point_time is since then", rows.size,
        )  # fmt: skip
    return found


class Part(NamedTuple):
    """Spectra of a series that were inverted together, and what was found for them."""

    where: slice
    solution: Solution
    breaks: NDArray[np.bool_]

    @property
    def certified(self) -> bool:
        """Whether it is a solution."""
        return bool(self.solution.optimality[0] <= OPTIMALITY_TOLERANCE)

    def within(self, where: slice) -> "Part":
        """Return that of some of the spectra."""
        own = np.arange(where.start, where.stop) - self.where.start
        return Part(where, self.solution.part(own, np.arange(self.solution.fit.shape[1])), self.breaks[own])


def _said(parts: Sequence[Part]) -> str:
    """Say which spectra parts hold."""
    return ", ".join(f"{part.where.start + 1} to {part.where.stop}" for part in parts) or "none"


def _in_parts(solve: Callable[[slice], Part], first: int, last: int) -> list[Part]:
    """Invert the halves of a series together that has no certified solution as a whole, or halves of these.

    Each is solved with some spectra on either side, whose own solutions come from the other half: what is on either
    side of the middle was made from nearly the same data.
    """
    middle, parts = (first + last) // 2, []
    for begin, end in ((first, middle), (middle, last)):
        if end - begin < _FEWEST:
            continue
        beside = min(_OVERLAP, (end - begin) // 2)
        found = solve(slice(max(begin - beside, first), min(end + beside, last)))
        parts += [found.within(slice(begin, end))] if found.certified else _in_parts(solve, begin, end)
    return parts


def _join_across(spectra: Spectra, method: LogGaussian, course: _Course, sheet: Sheet) -> None:
    """Invert series together that are neighbours in a second state, from the solutions along each."""
    out = course.out
    if course.is_past(3, sheet.rows[sheet.rows >= 0]):
        return
    measured = np.where(sheet.rows >= 0, np.isfinite(out["coupling"][sheet.rows]), False)
    lines, places = (np.flatnonzero(measured.any(axis=axis)) for axis in (1, 0))
    if lines.size < 2 or places.size < 2:
        return
    rows, measured = sheet.rows[np.ix_(lines, places)], measured[np.ix_(lines, places)]
    position = sheet.position[0][places], sheet.position[1][lines]
    expansion = method.expansion(spectra.frequency)
    steps, name = course.steps(3, rows[measured])
    along = ((out["status"][rows] & np.uint32(Status.BREAK)) != 0) & measured
    strengths, shifts, across_breaks = _at_places(spectra, method, out, (rows, measured, position[1]), steps)
    breaks = along, across_breaks
    if not strengths:
        return
    # What happens to a cell between two series happens to it at every place.
    breaks[1][breaks[1].mean(axis=1) > _BREAKS_ALL] = True
    breaks[1][~measured] = False
    # Where nothing was measured: the solution of the nearest place of the same series.
    away = np.abs(np.arange(places.size)[:, None] - np.arange(places.size))
    near = np.where(measured[:, None, :], away, 2 * places.size).argmin(axis=2)
    filled = np.take_along_axis(rows, near, axis=1).ravel()
    mine = rows[measured]

    def middle(values: Any) -> float:
        return float(np.exp(np.median(np.log(values))))

    across = Across(
        position,
        (breaks[0].ravel(), breaks[1].ravel()),
        np.array([middle(out["coupling"][mine]), middle(strengths)]),
        np.array([middle(out["shift"][mine]), middle(shifts)]),
    )
    z = np.where(measured.ravel()[:, None], spectra.impedance[filled], np.nan)
    solution = method.solve_across(spectra.frequency, z, expansion, across, _found(out, filled), steps)
    at = np.flatnonzero(measured)

    def replace_all() -> None:
        if solution.optimality[0] > OPTIMALITY_TOLERANCE:
            # Those along each series stay.
            return
        _replace(spectra, out, expansion, mine, solution.part(at, np.arange(z.shape[1])))
        out["status"][rows[breaks[1]]] |= np.uint32(Status.BREAK_ACROSS)

    course.put(3, sheet.rows[sheet.rows >= 0], replace_all, name)


def _at_places(
    spectra: Spectra,
    method: LogGaussian,
    out: dict[str, Any],
    sheet: tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.float64]],
    steps: Steps,
) -> tuple[list[float], list[float], NDArray[np.bool_]]:
    """Find how strongly series are coupled, and where the coupling breaks, shape (C, V), at each place separately.

    `sheet` has the rows, shape (C, V), which of them were measured, and where series stand across, shape (C,).
    """
    rows, measured, position = sheet
    strengths, shifts, breaks = [], [], np.zeros(rows.shape, dtype=bool)
    for v, here in enumerate(measured.T):
        if here.sum() < 2:
            continue

        def told(mine: NDArray[np.intp] = rows[here, v], position: NDArray[np.float64] = position[here]) -> Any:
            found, broken = method.solve_series(
                spectra.frequency,
                spectra.impedance[mine],
                method.expansion(spectra.frequency),
                position,
                _found(out, mine),
            )
            return np.array([found.optimality[0], found.coupling[0], found.shift[0], *broken])

        optimality, strength, shift, *broken = steps.do(told, 0.5 * (v + 1) / len(measured.T)).tolist()
        if optimality <= OPTIMALITY_TOLERANCE:
            strengths.append(strength)
            shifts.append(shift)
            breaks[np.flatnonzero(here)[np.array(broken) > 0.0], v] = True
    return strengths, shifts, breaks


def _found(out: dict[str, Any], rows: NDArray[np.intp]) -> SeparateSolutions:
    """Take what was found so far for some spectra as a start."""
    with np.errstate(divide="ignore"):
        elastance, tail = (1.0 / out[name][rows] for name in ("capacitance", "tail_q"))
    start = Parameters(
        *(out["coefficients"][rows], out["r_inf"][rows], out["inductance"][rows], elastance),
        *(tail, out["tail_exponent"][rows], out["tail_tau"][rows]),
    )
    return SeparateSolutions(start, out["regularisation"][rows], out["noise_floor"][rows], out["noise_relative"][rows])


def _replace(
    spectra: Spectra, out: dict[str, Any], expansion: Expansion, rows: NDArray[np.intp], solution: Solution
) -> None:
    """Put joint solutions in place of those that are there."""
    out["status"][rows] &= ~np.array(Status.MISFIT | Status.EXTRAPOLATED | Status.NOT_UNIQUE, dtype=out["status"].dtype)
    for which, points in tiles(np.isfinite(spectra.impedance[rows]), np.arange(rows.size), rows.size):
        _keep(out, (rows[which], points), solution.part(which, points), spectra, expansion)


def _share_beyond(frequency: NDArray[np.float64], expansion: Expansion, coefficients: NDArray[np.float64]) -> Any:
    """Share of R_pol at relaxation times outside the window of the data, shape (K,); 0 without any."""
    # Where γ has both signs, parts that cancel are beyond the window none the less.
    coefficients = np.abs(coefficients)
    whole, inside = row_by_row(coefficients, _areas(expansion, frequency.tobytes())).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0.0, np.minimum(np.maximum(1.0 - inside / whole, 0.0), 1.0), 0.0)


@lru_cache(maxsize=16)
def _areas(expansion: Expansion, frequency: bytes) -> NDArray[np.float64]:
    """Integrals of the basis functions over ln τ, and over the window of the data, shape (M, 2)."""
    inside = areas_between(expansion, *expansion.window(np.frombuffer(frequency)))
    return np.stack([expansion.areas, inside], axis=1)


def series_totals(spectra: Spectra, method: Method) -> Totals:
    """Sum the scores of each λ over each series, for a method that shares λ over series.

    A job that reads its spectra in blocks adds the totals of all blocks by
    :func:`drt_engine.regularisation.add_totals`, chooses by :func:`drt_engine.regularisation.best_of_series` and
    inverts each block with what was chosen. The sums are of whole numbers, so they are the same however the spectra are
    divided into blocks. Spectra that cannot be inverted take no part.

    Parameters
    ----------
    spectra : Spectra
        K spectra, with the state columns that tell the series of the method apart.
    method : Method
        How; one that shares λ.

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
    return _totals(spectra, shared, _tiles(usable, _status_of_points(spectra.impedance, usable)), member, series)


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
    """Divide the rows that can be solved."""
    return tiles(usable, np.flatnonzero((status == _OK) | (status == _POINTS_MISSING)), size)


def _status_of_points(z: NDArray[np.complex128], usable: NDArray[np.bool_]) -> NDArray[np.uint32]:
    wrong_sign = _wrong_sign(z, usable)
    if usable.all() and z.shape[1] >= MIN_POINTS:
        return wrong_sign * _WRONG_SIGN
    points = usable.sum(axis=1)
    status = np.where(points < usable.shape[1], Status.POINTS_MISSING, Status.OK)
    status = np.where(wrong_sign, Status.WRONG_SIGN, status)
    status = np.where(points < MIN_POINTS, Status.TOO_FEW_POINTS, status)
    return np.where(points == 0, Status.NOT_FINITE, status).astype(np.uint32)


def _wrong_sign(z: NDArray[np.complex128], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that look capacitive once Im Z is negated.

    Im Z is positive throughout; or, since a negated inductive tail is negative, throughout the lower half of the
    frequencies while Re Z rises there, which Kramers and Kronig do not allow.
    """
    half = z.shape[1] // 2
    with np.errstate(invalid="ignore"):
        positive = (z.imag > 0.0) | ~usable
        lower = positive[:, half:].all(axis=1)
        if not lower.any():
            return np.asarray(lower)
        first = half + usable[:, half:].argmax(axis=1)
        last = z.shape[1] - 1 - usable[:, ::-1].argmax(axis=1)
        rows = np.arange(len(z))
        rises = z.real[rows, last] > z.real[rows, first]
    return np.asarray(positive.all(axis=1) | (lower & rises))
