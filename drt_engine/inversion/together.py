"""Spectra that are inverted together: which they are, along their series, and across series."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.inversion.stages import Stages
from drt_engine.inversion.storing import replace_solutions, separate_solutions
from drt_engine.methods import LogGaussian, Method
from drt_engine.methods.base import Solution, sharing
from drt_engine.methods.joint import Across
from drt_engine.methods.placing import Sweeps, sweeps_of
from drt_engine.model.problem import OPTIMALITY_TOLERANCE
from drt_engine.series import OrderedSeries, Sheet, seconds_of, series_along, series_columns, sheets_of
from drt_engine.spectra import Spectra
from drt_engine.status import Status, failures
from drt_engine.steps import Steps
from drt_engine.threads import run_tiles

__all__ = ["invert_together", "lines_of", "series_in", "states_needed", "with_series"]

_BREAKS_ALL = 0.25
"""Share of the places at which series break across that makes all of them break."""

_FEWEST, _OVERLAP = 4, 4
"""Fewest spectra of a part of a series that is inverted together where the whole has no certified solution, and how
many on either side help it at most."""

_LEAST_ALIKE = 1.0
"""Strength of the coupling below which neighbours are taken as unrelated: the slope of ln γ then changes by 1 within an
e-fold of τ, as much as in a spectrum alone. It was 0.01 for 15 cells of different circuits, and 15 or more in series in
which processes cross."""

logger = logging.getLogger(__name__)


def with_series(method: Method, states: pd.DataFrame) -> Method:
    """Return a method that names the state columns which distinguish series, if it inverts series together.

    Parameters
    ----------
    method : Method
        Inversion method.
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
        Inversion method.

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


def lines_of(spectra: Spectra, method: Method) -> list[OrderedSeries]:
    """Series along the first state that the method inverts spectra together along; none if each is alone."""
    if not isinstance(method, LogGaussian) or not method.columns:
        return []
    first, *others = method.columns
    return series_along(spectra.states, first, (*(method.series or ()), *others))


def invert_together(spectra: Spectra, method: LogGaussian, stages: "Stages", lines: list[OrderedSeries]) -> None:
    """Invert spectra together along their series, and series across if the method names a second state."""
    out = stages.out
    run_tiles(lambda line: _invert_line(spectra, method, stages, line), lines)
    if len(method.columns) > 1:
        sheets = sheets_of(spectra.states, (method.columns[0], method.columns[1]), method.series)
        run_tiles(lambda sheet: _invert_across(spectra, method, stages, sheet), sheets)
    alone = np.setdiff1d(np.flatnonzero(np.isnan(out["coupling"])), np.flatnonzero(failures(out["status"])))
    out["status"][alone] |= np.uint32(Status.ALONE)


def _invert_line(spectra: Spectra, method: LogGaussian, stages: Stages, line: OrderedSeries) -> None:
    """Invert a series together, and put its solutions in place of those of the spectra alone."""
    out = stages.out
    member = np.isfinite(out["residual"][line.rows]) & out["coefficients"][line.rows].any(axis=1)
    if stages.is_past(2, line.rows) or member.sum() < 2:
        return
    rows, position = line.rows[member], line.position[member]
    expansion = method.expansion(spectra.frequency)
    names: list[str] = []
    sweeps = _sweeps(spectra, method, rows)

    def steps(turn: int | None = None) -> Steps:
        found, name = stages.steps(2, rows, turn)
        names.append(name)
        return found

    def solve(part: slice, steps: Steps | None = None) -> Part:
        start = separate_solutions(out, rows[part])
        of_part = spectra.frequency, spectra.impedance[rows[part]], expansion, position[part], start, steps
        return Part(part, *method.solve_series(*of_part))

    moved: Any = None
    unplaced = np.full(rows.size, method.drift != "none")
    if sweeps is None:
        parts = [solve(slice(0, rows.size), steps())]
    else:
        given = spectra.frequency, spectra.impedance[rows], expansion
        placed = method.solve_placed(*given, (position, sweeps), separate_solutions(out, rows), steps)
        parts, moved = [Part(slice(0, rows.size), placed.solution, placed.breaks)], placed.moved
        unplaced = ~np.isfinite(sweeps.middle) | (not placed.settled)
        if not placed.settled:
            logger.warning(
                "the %d spectra of a series are inverted without drift: placing their points by time does not converge",
                rows.size,
            )
    if not parts[0].certified:
        # What changes within sweeps is known from neighbours on both sides, which a part does not have.
        moved, parts = None, _in_parts(solve, 0, rows.size)
        unplaced[:] = method.drift != "none"
        logger.warning(
            "%d spectra along %s have no joint solution that is certified optimal; these parts of them have one%s: %s",
            rows.size, method.columns[0], "" if sweeps is None else ", without drift", _named(parts),
        )  # fmt: skip

    def replace_all() -> None:
        for part in parts:
            _store_part(spectra, method, out, rows[part.where], part)
        if moved is not None:
            out["moved"][rows] = moved
        out["status"][rows[unplaced]] |= np.uint32(Status.NOT_PLACED)

    stages.put(2, line.rows, replace_all, names[-1])
    stages.finish(names[:-1])


def _store_part(
    spectra: Spectra, method: LogGaussian, out: dict[str, Any], rows: NDArray[np.intp], part: "Part"
) -> None:
    """Store what was found for spectra that were inverted together, and warn where they are hardly coupled."""
    replace_solutions(spectra, out, method.expansion(spectra.frequency), rows, part.solution)
    out["status"][rows[part.breaks]] |= np.uint32(Status.BREAK)
    strength = float(out["coupling"][rows[0]])
    if strength < _LEAST_ALIKE:
        out["status"][rows] |= np.uint32(Status.UNRELATED)
        logger.warning(
            "the %d spectra of a series along %s are no more alike than those of different cells: inverting them "
            "together changes little (coupling %.2g). Is %s what orders them?%s",
            rows.size, method.columns[0], strength, method.columns[0],
            " Some have the same value: a state that distinguishes these would make separate series."
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
            "the %d spectra of a series are inverted without drift: fewer than two have times of their points, their "
            "sweeps overlap, or both times are of one clock. The state 'time' is when a sweep began, in s; "
            "point_time is since then", rows.size,
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


def _named(parts: Sequence[Part]) -> str:
    """Write which spectra some parts hold, for a message."""
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


def _invert_across(spectra: Spectra, method: LogGaussian, stages: Stages, sheet: Sheet) -> None:
    """Invert series together that are neighbours in a second state, from the solutions along each."""
    out = stages.out
    if stages.is_past(3, sheet.rows[sheet.rows >= 0]):
        return
    measured = np.where(sheet.rows >= 0, np.isfinite(out["coupling"][sheet.rows]), False)
    lines, places = (np.flatnonzero(measured.any(axis=axis)) for axis in (1, 0))
    if lines.size < 2 or places.size < 2:
        return
    rows, measured = sheet.rows[np.ix_(lines, places)], measured[np.ix_(lines, places)]
    position = sheet.position[0][places], sheet.position[1][lines]
    expansion = method.expansion(spectra.frequency)
    steps, name = stages.steps(3, rows[measured])
    along = ((out["status"][rows] & np.uint32(Status.BREAK)) != 0) & measured
    strengths, shifts, across_breaks = _coupling_across(spectra, method, out, (rows, measured, position[1]), steps)
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
    solution = method.solve_across(spectra.frequency, z, expansion, across, separate_solutions(out, filled), steps)
    at = np.flatnonzero(measured)

    def replace_all() -> None:
        if solution.optimality[0] > OPTIMALITY_TOLERANCE:
            # Those along each series stay.
            return
        replace_solutions(spectra, out, expansion, mine, solution.part(at, np.arange(z.shape[1])))
        out["status"][rows[breaks[1]]] |= np.uint32(Status.BREAK_ACROSS)

    stages.put(3, sheet.rows[sheet.rows >= 0], replace_all, name)


def _coupling_across(
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
                separate_solutions(out, mine),
            )
            return np.array([found.optimality[0], found.coupling[0], found.shift[0], *broken])

        optimality, strength, shift, *broken = steps.do(told, 0.5 * (v + 1) / len(measured.T)).tolist()
        if optimality <= OPTIMALITY_TOLERANCE:
            strengths.append(strength)
            shifts.append(shift)
            breaks[np.flatnonzero(here)[np.array(broken) > 0.0], v] = True
    return strengths, shifts, breaks
