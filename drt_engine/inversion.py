"""invert(): from spectra to a result, one status for each."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.methods import LogGaussian, Method
from drt_engine.methods.base import Solution, misfits
from drt_engine.methods.joint import SeparateSolutions
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Parameters, row_by_row
from drt_engine.regularisation import GRID, Series, Totals, best_of_series, series_of
from drt_engine.result import PER_SPECTRUM, Inversion
from drt_engine.series import OrderedSeries, series_along, series_columns
from drt_engine.spectra import MIN_POINTS, Spectra
from drt_engine.status import Status, failures
from drt_engine.threads import run_tiles
from drt_engine.uncertainty.intervals import Tile, tiles
from drt_engine.uncertainty.posterior import areas_between
from drt_kernels import certificate

__all__ = ["invert", "invert_block", "series_in", "series_totals", "states_needed", "with_series"]

_TILE = 512
"""Spectra that are worked on at once: few enough for their matrices to stay in a core's cache."""

_MOST_BEYOND = 0.1
"""Share of R_pol beyond the window of the data that is passed over."""

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
    are NaN or infinite are left out.

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
    result = invert_block(spectra, _checked(spectra, method), chosen, level)
    if not result.solved.all():
        failed = np.count_nonzero(~result.solved)
        logger.warning("%d of %d spectra have no solution: %s", failed, len(result), result.counts())
    return result


def invert_block(
    spectra: Spectra, method: Method, chosen: Mapping[Series, int] | None = None, level: float | None = None
) -> Inversion:
    """Do what :func:`invert` does for spectra that are a block of more, and leave it to the caller to say what failed.

    Parameters
    ----------
    spectra, method, chosen, level
        As :func:`invert` takes them.
    """
    method = with_series(method, spectra.states)
    expansion = method.expansion(spectra.frequency)
    rows, size = len(spectra), expansion.tau.size
    names = [name for name in PER_SPECTRUM if name not in ("coefficients", "status")]
    out: dict[str, Any] = {name: np.full(rows, np.nan) for name in names}
    out["coefficients"] = np.empty((rows, size))
    usable = np.isfinite(spectra.impedance)
    out["status"] = status = _triage(spectra.impedance, usable)
    parts = _tiles(usable, status)
    which = None if method.shared_states is None else _shared_lambda(spectra, method, parts, chosen)

    def work(tile: Tile) -> None:
        rows, points = tile
        z = np.take(spectra.impedance[rows], points, axis=1)
        solution = method.solve(spectra.frequency[points], z, expansion, None if which is None else which[rows])
        _keep(out, tile, solution, spectra, expansion)

    run_tiles(work, parts)
    if isinstance(method, LogGaussian) and method.along is not None:
        run_tiles(lambda line: _join(spectra, method, out, line), series_in(spectra.states, method))
        alone = np.setdiff1d(np.flatnonzero(np.isnan(out["coupling"])), np.flatnonzero(failures(status)))
        status[alone] |= np.uint16(Status.ALONE)
    # Not before: the largest array is then first touched by the threads, which share that work as well.
    out["coefficients"][np.isnan(out["residual"])] = np.nan
    result = Inversion(
        spectra.frequency, expansion, **out, states=spectra.states, method=method, impedance=spectra.impedance
    )
    return result if level is None else result.with_intervals(level)


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
    return replace(method, series=series_columns(states, method.along, method.series))


def states_needed(method: Method) -> tuple[str, ...]:
    """State columns that the solutions of a method depend on, after :func:`with_series`."""
    if isinstance(method, LogGaussian) and method.along is not None:
        return method.along, *(method.series or ())
    return method.shared_states or ()


def series_in(states: pd.DataFrame, method: Method) -> list[OrderedSeries]:
    """Series that a method inverts together; none if it inverts each spectrum alone.

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
    return series_along(states, method.along, method.series)


def _keep(out: dict[str, Any], tile: Tile, solution: Solution, spectra: Spectra, expansion: Expansion) -> None:
    """Put the solutions of a tile where they belong, in place of what is there."""
    rows, points = tile
    z = np.take(spectra.impedance[rows], points, axis=1)
    solved = solution.optimality <= OPTIMALITY_TOLERANCE
    remarks = solution.at_edge * Status.LAMBDA_AT_EDGE + solution.by_cvxpy * Status.SOLVED_BY_CVXPY
    beyond = _share_beyond(spectra.frequency[points], expansion, solution.parameters.coefficients)
    remarks = remarks + (beyond > _MOST_BEYOND) * Status.EXTRAPOLATED
    remarks = remarks + misfits(solution, z, expansion.areas) * Status.MISFIT
    out["status"][rows] |= np.where(solved, remarks, Status.NOT_SOLVED).astype(np.uint16)
    good, found = rows[solved], solution.parameters
    out["r_pol_beyond"][good] = beyond[solved]
    out["coefficients"][good] = found.coefficients[solved]
    out["r_inf"][good] = found.r_inf[solved]
    out["inductance"][good] = found.inductance[solved]
    for name in ("noise_floor", "noise_relative", "coupling", "shift"):
        if (given := getattr(solution, name, None)) is not None:
            out[name][good] = given[solved]
    with np.errstate(divide="ignore"):
        out["capacitance"][good] = 1.0 / found.elastance[solved]
    residual = np.empty(len(z))
    certificate.misfit(solution.fit, z, residual)
    out["residual"][good] = residual[solved]
    # These two of a failure as well: they tell why.
    out["regularisation"][rows] = solution.regularisation
    out["optimality"][rows] = solution.optimality


def _join(spectra: Spectra, method: LogGaussian, out: dict[str, Any], line: OrderedSeries) -> None:
    """Invert a series together, and put its solutions in place of those of the spectra alone."""
    member = np.isfinite(out["residual"][line.rows]) & out["coefficients"][line.rows].any(axis=1)
    if member.sum() < 2:
        return
    rows, position = line.rows[member], line.position[member]
    with np.errstate(divide="ignore"):
        elastance = 1.0 / out["capacitance"][rows]
    start = Parameters(out["coefficients"][rows], out["r_inf"][rows], out["inductance"][rows], elastance)
    expansion = method.expansion(spectra.frequency)
    solution, breaks = method.solve_series(
        spectra.frequency,
        spectra.impedance[rows],
        expansion,
        position,
        SeparateSolutions(start, out["regularisation"][rows], out["noise_floor"][rows], out["noise_relative"][rows]),
    )
    if solution.optimality[0] > OPTIMALITY_TOLERANCE:
        # Those of the spectra alone stay.
        return
    out["status"][rows] &= ~np.array(Status.MISFIT | Status.EXTRAPOLATED, dtype=out["status"].dtype)
    for which, points in tiles(np.isfinite(spectra.impedance[rows]), np.arange(rows.size), rows.size):
        _keep(out, (rows[which], points), solution.part(which, points), spectra, expansion)
    out["status"][rows[breaks]] |= np.uint16(Status.BREAK)


def _share_beyond(frequency: NDArray[np.float64], expansion: Expansion, coefficients: NDArray[np.float64]) -> Any:
    """Share of R_pol at relaxation times outside the window of the data, shape (K,); 0 without any."""
    omega = 2.0 * np.pi * frequency
    whole = row_by_row(coefficients, expansion.areas[:, None])[:, 0]
    inside = row_by_row(coefficients, areas_between(expansion, 1.0 / omega.max(), 1.0 / omega.min())[:, None])[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0.0, np.clip(1.0 - inside / whole, 0.0, 1.0), 0.0)


def series_totals(spectra: Spectra, method: Method) -> Totals:
    """Sum the scores of each λ over each series, for a method that shares λ over series.

    A job that reads its spectra in blocks adds the totals of all blocks by
    :func:`drt_engine.regularisation.add_totals`, chooses by :func:`drt_engine.regularisation.best_of_series` and
    inverts each block with what was chosen. The sums are of whole numbers, so they are the same however the spectra are
    divided into blocks. Spectra that cannot be inverted take no part.

    Parameters
    ----------
    spectra : Spectra
        K spectra, with the state columns that `method.shared_states` names.
    method : Method
        How; `method.shared_states` is not None.

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
    method = _checked(spectra, method)
    usable = np.isfinite(spectra.impedance)
    member, series = _series(spectra, method)
    return _totals(spectra, method, _tiles(usable, _triage(spectra.impedance, usable)), member, series)


def _checked(spectra: Spectra, method: Method | None) -> Method:
    if not isinstance(spectra, Spectra):
        raise InputError(
            f"spectra must be a Spectra; got {type(spectra).__name__}. Make one: Spectra(frequency, impedance)."
        )
    method = LogGaussian() if method is None else method
    if isinstance(method, type) or not hasattr(method, "solve"):
        raise InputError(f"method must be a method such as LogGaussian(); got {method!r}.")
    return method


def _series(spectra: Spectra, method: Method) -> tuple[NDArray[np.intp], list[Series]]:
    if method.shared_states is None:
        raise InputError(f"the method shares no λ; got {method!r}. Set shared to True or to a state column.")
    return series_of(spectra.states, method.shared_states)


def _shared_lambda(
    spectra: Spectra, method: Method, parts: list[Tile], chosen: Mapping[Series, int] | None
) -> NDArray[np.intp]:
    """Which λ of the grid each spectrum has by its series, shape (K,)."""
    member, series = _series(spectra, method)
    if chosen is None:
        chosen = best_of_series(_totals(spectra, method, parts, member, series))
    lacking = [one for one in series if one not in chosen]
    if lacking:
        raise InputError(f"chosen has no λ for the series {lacking[0]}. Add its totals before choosing.")
    return np.array([chosen[one] for one in series], dtype=np.intp)[member]


def _totals(
    spectra: Spectra, method: Method, parts: list[Tile], member: NDArray[np.intp], series: list[Series]
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


def _tiles(usable: NDArray[np.bool_], status: NDArray[np.uint16]) -> list[Tile]:
    """Divide the rows that can be solved."""
    return tiles(usable, np.flatnonzero((status == Status.OK) | (status == Status.POINTS_MISSING)), _TILE)


def _triage(z: NDArray[np.complex128], usable: NDArray[np.bool_]) -> NDArray[np.uint16]:
    points = usable.sum(axis=1)
    wrong_sign = _wrong_sign(z, usable)
    status = np.where(points < usable.shape[1], Status.POINTS_MISSING, Status.OK)
    status = np.where(wrong_sign, Status.WRONG_SIGN, status)
    status = np.where(points < MIN_POINTS, Status.TOO_FEW_POINTS, status)
    return np.where(points == 0, Status.NOT_FINITE, status).astype(np.uint16)


def _wrong_sign(z: NDArray[np.complex128], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that look capacitive once Im Z is negated.

    Im Z is positive throughout; or, since a negated inductive tail is negative, throughout the lower half of the
    frequencies while Re Z rises there, which Kramers and Kronig do not allow.
    """
    half = z.shape[1] // 2
    with np.errstate(invalid="ignore"):
        positive = (z.imag > 0.0) | ~usable
        first = half + usable[:, half:].argmax(axis=1)
        last = z.shape[1] - 1 - usable[:, ::-1].argmax(axis=1)
        rows = np.arange(len(z))
        rises = z.real[rows, last] > z.real[rows, first]
    return np.asarray(positive.all(axis=1) | (positive[:, half:].all(axis=1) & rises))
