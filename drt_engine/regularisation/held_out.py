"""Criteria that fit a part of the data with x ≥ 0, at every λ, and look at how well the other part is predicted."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.model.gsvd import GSVD, factorise
from drt_engine.model.problem import Problem, row_by_row
from drt_engine.regularisation.observed import Observed
from drt_engine.solvers import solver_for

__all__ = ["FOLDS", "KFold", "RealImaginary"]

Array = NDArray[np.float64]
Ints = NDArray[np.intp]

FOLDS = 5
"""Into how many folds ``"k-fold"`` parts the frequencies."""

_SPECTRA_AT_ONCE = 32
"""Their fits at every λ stay in a core's cache, and the inverse of a λ is read once for all of them."""


class _Fits:
    """Fits of some rows of a problem in some of its columns, at every λ, and what they leave of the other rows."""

    def __init__(self, problem: Problem, fitted: Ints, columns: Ints, held_out: Ints, regularisation: Array) -> None:
        part = replace(
            problem,
            series_elements=tuple(
                name for k, name in enumerate(problem.series_elements) if problem.penalised + k in columns
            ),
            matrix=np.ascontiguousarray(problem.matrix[np.ix_(fitted, columns)]),
            scale=problem.scale[columns],
            penalty=np.ascontiguousarray(problem.penalty[np.ix_(columns, columns)]),
            penalty_factor=np.ascontiguousarray(problem.penalty_factor[:, columns]),
        )
        self._solve = solver_for("auto", factorise(part), regularisation)
        self._fitted, self._held_out = fitted, held_out
        self._prediction = np.ascontiguousarray(problem.matrix[np.ix_(held_out, columns)].T)
        self._values = regularisation.size

    def left(self, b: Array) -> Array:
        """Held-out data less their prediction, shape (G·K, rows held out); all spectra of the first λ come first."""
        which = np.repeat(np.arange(self._values), len(b))
        x = self._solve(np.tile(b[:, self._fitted], (self._values, 1)), which)
        return np.tile(b[:, self._held_out], (self._values, 1)) - row_by_row(x, self._prediction)


class KFold:
    """Cross-validation by folds of frequencies, the mean squared error of what was left out [1]_.

    Fold j of 5 leaves out the frequencies j, j + 5, j + 10, …, each with its real and its imaginary part where both are
    fitted. The others are fitted with x ≥ 0. Each value is left out once, and the mean is over all n.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        λ.

    References
    ----------
    .. [1] A. Maradesa, B. Py, T. H. Wan, M. B. Effat, F. Ciucci, J. Electrochem. Soc. 170 (2023) 030502.
    """

    additive: ClassVar[bool] = False

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        problem = factors.problem
        fold = np.arange(len(problem.matrix)) % problem.discretisation.frequency.size % FOLDS
        columns = np.arange(problem.scale.size)
        self._data = len(problem.matrix)
        self._folds = [
            _Fits(problem, np.flatnonzero(fold != k), columns, np.flatnonzero(fold == k), regularisation)
            for k in range(FOLDS)
        ]
        self._values = regularisation.size

    def __call__(self, observed: Observed) -> Array:
        """Score, shape (K, G)."""
        scores = np.zeros((len(observed.b), self._values))
        for rows in _portions(len(scores)):
            for fold in self._folds:
                scores[rows] += _squares(fold.left(observed.b[rows]), self._values)
        scores /= self._data
        return scores


class RealImaginary:
    r"""Real–imaginary cross-validation, each part predicted by the fit of the other [1]_.

    .. math:: |b_{re} - R_∞ - A_{re} x_{im}|^2 + |b_{im} - ωL + (ωC)^{-1} - A_{im} x_{re}|^2

    with :math:`x_{im} \ge 0` fitted to the imaginary part (together with L and 1/C) and :math:`x_{re} \ge 0` to the
    real part (together with R_inf). The R_inf, L and 1/C of the formula are those that the fitted part does not show;
    they are non-negative and the best for the prediction.

    Parameters
    ----------
    factors : GSVD
        Of the problem, which has to have both parts.
    regularisation : ndarray, shape (G,)
        λ.

    Raises
    ------
    InputError
        If the problem has one part only.

    References
    ----------
    .. [1] M. Saccoccio, T. H. Wan, C. Chen, F. Ciucci, Electrochim. Acta 147 (2014) 470.
    """

    additive: ClassVar[bool] = False

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        problem = factors.problem
        if problem.part != "complex":
            raise InputError(f"the criterion 're-im' needs both parts of the data; got part {problem.part!r}.")
        real, imaginary = np.split(np.arange(len(problem.matrix)), 2)
        gamma = np.arange(problem.penalised)
        others = np.arange(problem.penalised, problem.scale.size)
        shows_real = np.array([name == "r_inf" for name in problem.series_elements])
        self._parts = []
        for fitted, held_out, shown in ((imaginary, real, ~shows_real), (real, imaginary, shows_real)):
            fits = _Fits(problem, fitted, np.concatenate([gamma, others[shown]]), held_out, regularisation)
            self._parts.append((fits, _Columns(problem.matrix[np.ix_(held_out, others[~shown])])))
        self._values = regularisation.size

    def __call__(self, observed: Observed) -> Array:
        """Score, shape (K, G)."""
        scores = np.zeros((len(observed.b), self._values))
        for rows in _portions(len(scores)):
            for fits, unseen in self._parts:
                scores[rows] += _squares(unseen.left(fits.left(observed.b[rows])), self._values)
        return scores


class _Columns:
    """Non-negative least squares in at most two columns."""

    def __init__(self, matrix: Array) -> None:
        self._columns = np.ascontiguousarray((matrix / np.linalg.norm(matrix, axis=0)).T)
        self._inverse = np.linalg.inv(self._columns @ self._columns.T)

    def left(self, rest: Array) -> Array:
        """Take the best non-negative combination away; the shape is that of `rest`."""
        if not len(self._columns):
            return rest
        projection = row_by_row(rest, self._columns.T)
        x = row_by_row(projection, self._inverse)
        # Where the free solution has a negative part, the better one of the columns alone.
        best = projection.argmax(axis=1)[:, None] == np.arange(len(self._columns))
        alone = np.where(best, projection.clip(min=0.0), 0.0)
        x = np.where(np.any(x < 0.0, axis=1)[:, None], alone, x)
        return rest - row_by_row(x, self._columns)


def _portions(rows: int) -> Iterator[slice]:
    for first in range(0, rows, _SPECTRA_AT_ONCE):
        yield slice(first, min(first + _SPECTRA_AT_ONCE, rows))


def _squares(left: Array, values: int) -> Array:
    return np.asarray(np.sum(left**2, axis=1).reshape(values, -1).T)
