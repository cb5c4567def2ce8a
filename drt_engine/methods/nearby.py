"""Products of the impedances of two hat functions as sums of those of their neighbours; see `drt_kernels.curvature`."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.basis import Expansion
from drt_engine.model.discretisation import discretise
from drt_engine.model.problem import Problem
from drt_kernels import curvature, log_gaussian

if TYPE_CHECKING:
    from drt_kernels.held import Handle

__all__ = ["lent", "plain_tables", "tables", "with_columns"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_UNIFORM = 1e-9
"""Largest share by which spacings of ln τ may differ on a uniform grid."""

_DECAY = 12.0
"""ln ωτ at which a Debye element is at the end of its relaxation, for the fit."""

_GOOD = 1e10
"""Largest sum of weights times the square of γ for which Newton's steps by the fitted products are as good as exact."""

_KINDS, _EACH = 16, 8
"""Of how many sizes arrays of searches are kept, and how many of each: a megabyte, for as many threads."""


def tables(problem: Problem) -> "curvature.Tables":
    """Collect what the second derivative by γ is made from.

    Parameters
    ----------
    problem : Problem
        The matrices, of piecewise linear basis functions.
    """
    found = problem.discretisation
    y = np.log(found.expansion.tau)
    logs, points = y.size, found.frequency.size
    spacing = np.diff(y)
    even = logs > curvature.FROM_FAR and bool(np.ptp(spacing) <= _UNIFORM * spacing[0])
    plain = plain_tables(problem.transposed, problem.scale.size)
    if not even or problem.series_elements[:1] != ("r_inf",) or found.expansion.kernel != "relaxation":
        return plain
    others = np.r_[0, logs - 1, np.arange(logs, problem.scale.size)]
    whole = _whole(found.frequency, y)
    nodes = np.zeros((2 * points, -(-(whole.shape[1] + others.size) // curvature.NODES) * curvature.NODES))
    nodes[:points, : whole.shape[1]], nodes[points:, : whole.shape[1]] = whole.real, whole.imag
    place = np.arange(problem.scale.size) + curvature.GHOSTS
    place[others] = whole.shape[1] + np.arange(others.size)
    nodes[:, place] = problem.matrix
    special = np.full(curvature.SPECIAL, -1)
    rest = others[others != logs]
    special[: rest.size] = rest
    return curvature.Tables(
        plain.columns,
        nodes,
        nodes[:points] ** 2 + nodes[points:] ** 2,
        place,
        *_coefficients(float(spacing.mean()), logs),
        special,
        float(problem.matrix[0, logs]),
        _GOOD,
    )


def with_columns(grid: "log_gaussian.Grid", columns: Array) -> "log_gaussian.Grid":
    """Return a grid with other columns of the problem, shape (J, n); the kernel takes a multiple of four of them."""
    missing = -len(columns) % 4
    whole = np.concatenate([columns, np.zeros((missing, columns.shape[1]))])
    return grid._replace(columns=np.ascontiguousarray(whole), size=len(columns))


def plain_tables(columns: Array, size: int) -> "curvature.Tables":
    """Collect what the second derivative is made from where nothing is known of the columns: all of it exactly.

    Parameters
    ----------
    columns : ndarray, shape (J, n)
        Those of the unknowns, and zeros after them if there are more.
    size : int
        How many unknowns there are.
    """
    data = columns.shape[1]
    padded = np.zeros((-(-len(columns) // 4) * 4, -(-data // curvature.DATA) * curvature.DATA))
    padded[: len(columns), :data] = columns
    across = np.zeros((data, -(-size // curvature.NODES) * curvature.NODES))
    across[:, :size] = columns[:size].T
    squares = across[: data // 2] ** 2 + across[data // 2 :] ** 2
    none = np.zeros((0, 0))
    return curvature.Tables(
        padded, across, squares, np.arange(size), none, none, none, np.full(curvature.SPECIAL, -1), 0.0, 0.0
    )


_idle: "OrderedDict[tuple[object, ...], list[Handle]]" = OrderedDict()
_turn = Lock()


@contextmanager
def lent(grid: "log_gaussian.Grid", tables: "curvature.Tables") -> "Iterator[Handle]":
    """Lend the arrays of a search, which keep nothing from one to the next: to make them takes as long as a short one.

    Parameters
    ----------
    grid : Grid
        What the kernel knows of the problem; copied.
    tables : Tables
        What the second derivative is made from; copied.
    """
    given = *grid, *tables
    key = tuple(one.shape if isinstance(one, np.ndarray) else one for one in given)
    with _turn:
        some = _idle.get(key)
        work = some.pop() if some else None
    if work is None:
        own: list[Any] = [one.copy() if isinstance(one, np.ndarray) else one for one in given]
        made = log_gaussian.Grid(*own[: len(grid)]), curvature.Tables(*own[len(grid) :])
        work = log_gaussian.new_work(*made)
    else:
        for one, other in zip((*work.grid, *work.tables), given, strict=True):
            if isinstance(one, np.ndarray):
                one[...] = other
    yield work
    with _turn:
        kept = _idle.setdefault(key, [])
        _idle.move_to_end(key)
        if len(kept) < _EACH:
            kept.append(work)
        if len(_idle) > _KINDS:
            _idle.popitem(last=False)


def _whole(frequency: Array, y: Array) -> ComplexArray:
    """Impedances of hats at the relaxation times and beyond, shape (F, M + 2 ghosts)."""
    ghosts = curvature.GHOSTS + 1
    step = (y[-1] - y[0]) / (y.size - 1)
    longer = np.exp(y[0] + step * np.arange(-ghosts, y.size + ghosts))
    return discretise(frequency, Expansion(longer, "piecewise-linear", np.nan), 1).impedance[:, 1:-1]


@lru_cache(maxsize=8)
def _coefficients(spacing: float, logs: int) -> tuple[Array, Array, Array]:
    """Coefficients of neighbours for all distances, in the zones of the kernel."""
    steps = int(_DECAY / spacing) + 1
    reach = curvature.NEAR
    # Distances of ln ωτ; h at n is the impedance of a hat there.
    x = spacing * np.arange(-steps - logs - reach, steps + logs + reach + 1)
    three = np.exp(spacing * np.arange(-1, 2))
    falling = np.exp(x[::-1]) / (2.0 * np.pi)
    hat = discretise(falling, Expansion(three, "piecewise-linear", np.nan), 1).impedance[::-1, 1]
    zones = (
        (curvature.NEAR, 0, curvature.FROM_MIDDLE),
        (curvature.MIDDLE, curvature.FROM_MIDDLE, curvature.FROM_FAR),
        (curvature.FAR, curvature.FROM_FAR, max(logs, curvature.FROM_FAR + 1)),
    )
    return tuple(_zone(hat, -x[0], spacing, zone, steps) for zone in zones)  # type: ignore[return-value]  # there are three


def _zone(hat: ComplexArray, zero: float, spacing: float, zone: tuple[int, int, int], steps: int) -> Array:
    reach, first, last = zone
    zero = round(zero / spacing)
    out = np.zeros((4 * (2 * reach + 1), -(-(last - first) // 4) * 4 + 4))
    k = np.arange(-reach, reach + 1)
    for d in range(first, last):
        # i at n, j at n + d.
        n = np.arange(-steps - d, steps + 1)[:, None] + zero
        i, j = hat[n + k], hat[n + d + k]
        one, two = hat[n[:, 0]], hat[n[:, 0] + d]
        for row, basis, product in ((0, _real, one * two.conj()), (2, _both, one * two)):
            target = product.real[:, None] if row == 0 else _both(product[:, None])
            fitted = np.linalg.lstsq(basis(np.hstack([i, j])), target, rcond=1e-13)[0]
            out[row::4, d - first], out[row + 1 :: 4, d - first] = fitted[: k.size, 0], fitted[k.size :, 0]
    return out


def _real(values: ComplexArray) -> Array:
    return np.ascontiguousarray(values.real)


def _both(values: ComplexArray) -> Array:
    return np.concatenate([values.real, values.imag])
