r"""Criteria that are sums over the modes of the problem: all λ and all spectra by a few products of matrices.

In the directions that make A and M diagonal (:class:`drt_engine.model.gsvd.GSVD`), the data have amplitudes a,
the influence matrix :math:`K = A(A^TA + λM)^{-1}A^T` has eigenvalues :math:`f = c^2/(c^2 + λs^2)` and I − K has
:math:`w = 1 - f`. Of the unconstrained solution, then,

.. math:: |Ax - b|^2 = \sum a^2 w^2, \qquad x^T M x = λ^{-1} \sum a^2 f w, \qquad \operatorname{tr}(I - K) = \sum w .

What no solution can fit takes part as modes with w = 1, of which only the sum of a² is needed. R_inf, L and 1/C are
fitted whatever λ is: f = 1, w = 0.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.model.gsvd import GSVD
from drt_engine.model.problem import row_by_row
from drt_engine.regularisation.observed import TINY, Observed

__all__ = [
    "Discrepancy",
    "Evidence",
    "GeneralisedCrossValidation",
    "LCurve",
    "ModifiedCrossValidation",
    "RobustCrossValidation",
]

Array = NDArray[np.float64]


class _Modes:
    """The modes that λ affects and those that no solution can fit, for every λ of a grid.

    Attributes
    ----------
    data : int
        n.
    beyond : int
        How many modes no solution can fit; they share the last column of what follows.
    fitted, rest : ndarray, shape (G, p)
        f and w.
    """

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        seen = factors.seen
        self._directions = factors.data_modes[:, factors.data_part > 0.0]
        self.data = len(factors.problem.matrix)
        self.beyond = self.data - self._directions.shape[1]
        self.fitted = np.pad(factors.filters(regularisation)[:, :seen] * factors.data_part[:seen], ((0, 0), (0, 1)))
        self.rest = np.pad(factors.complement(regularisation), ((0, 0), (0, 1)), constant_values=min(self.beyond, 1))

    @property
    def trace(self) -> Array:
        """tr(I − K), shape (G,)."""
        return np.asarray(self.rest[:, :-1].sum(axis=1) + self.beyond)

    def squares(self, b: Array) -> Array:
        """Squared amplitudes of data, shape (K, p)."""
        amplitudes = row_by_row(b, self._directions)
        left = b - row_by_row(amplitudes, self._directions.T)
        out = np.empty((len(b), self.rest.shape[1]))
        np.square(amplitudes[:, : out.shape[1] - 1], out=out[:, :-1])
        np.sum(np.square(left, out=left), axis=1, out=out[:, -1])
        return out


class GeneralisedCrossValidation:
    r"""Generalised cross-validation, :math:`n^{-1}|(I - K)b|^2 / (n^{-1}\operatorname{tr}(I - K))^2` [1]_.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        λ.

    References
    ----------
    .. [1] G. Wahba, Ann. Statist. 13 (1985) 1378.
    """

    additive: ClassVar[bool] = False

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        self._modes = _Modes(factors, regularisation)
        self._weights = np.ascontiguousarray((self._modes.rest**2).T)
        factor = self._factor(self._modes)
        self._impossible = np.flatnonzero(np.isinf(factor))
        self._factor_or_one = np.where(np.isinf(factor), 1.0, factor)

    def __call__(self, observed: Observed) -> Array:
        """Score, shape (K, G)."""
        scores = row_by_row(self._modes.squares(observed.b), self._weights)
        scores *= self._factor_or_one
        if self._impossible.size:
            scores[:, self._impossible] = np.inf
        return scores

    @staticmethod
    def _factor(modes: _Modes) -> Array:
        """Return what the squared residual is multiplied by for each λ, shape (G,)."""
        return np.asarray(modes.data / modes.trace**2)


class ModifiedCrossValidation(GeneralisedCrossValidation):
    r"""Modified cross-validation, :math:`n^{-1}|(I - K)b|^2 / (n^{-1}\operatorname{tr}(I - ρK))^2` [1]_ [2]_.

    Each degree of freedom that the fit takes counts ρ > 1 times, against the small λ that generalised cross-validation
    now and then falls for: ρ = 1.3 for n < 50, else 2. Where the trace is not positive the score is infinite.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        λ.

    References
    ----------
    .. [1] Y.-J. Kim, C. Gu, J. R. Stat. Soc. B 66 (2004) 337.
    .. [2] A. Maradesa, B. Py, T. H. Wan, M. B. Effat, F. Ciucci, J. Electrochem. Soc. 170 (2023) 030502.
    """

    @staticmethod
    def _factor(modes: _Modes) -> Array:
        rho = 1.3 if modes.data < 50 else 2.0
        trace = modes.data - rho * (modes.data - modes.trace)
        return np.where(trace > 0.0, modes.data / np.where(trace > 0.0, trace, 1.0) ** 2, np.inf)


class RobustCrossValidation(GeneralisedCrossValidation):
    r"""Robust cross-validation, :math:`ξ + (1 - ξ)\,n^{-1}\operatorname{tr}(K^TK)` times the generalised score [1]_.

    The factor grows with how much the fit follows the noise: ξ = 0.2 for n < 100, else 0.3 [2]_.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        λ.

    References
    ----------
    .. [1] M. A. Lukas, F. R. de Hoog, R. S. Anderssen, Comput. Stat. 31 (2016) 269.
    .. [2] A. Maradesa, B. Py, T. H. Wan, M. B. Effat, F. Ciucci, J. Electrochem. Soc. 170 (2023) 030502.
    """

    @staticmethod
    def _factor(modes: _Modes) -> Array:
        xi = 0.2 if modes.data < 100 else 0.3
        always_fitted = modes.data - modes.beyond - (modes.rest.shape[1] - 1)
        influence = (always_fitted + np.sum(modes.fitted**2, axis=1)) / modes.data
        return np.asarray((xi + (1.0 - xi) * influence) * GeneralisedCrossValidation._factor(modes))


class LCurve:
    r"""The corner of the L-curve: largest curvature of :math:`(\ln|Ax - b|^2, \ln x^TMx)` along ln λ [1]_.

    With dots for derivatives by ln λ, P the first and E the second of the two logarithms, the score is

    .. math:: -\frac{\dot P \ddot E - \ddot P \dot E}{(\dot P^2 + \dot E^2)^{3/2}} ,

    negative where the curve turns as an L does. The derivatives are exact, from :math:`\dot w = fw`:

    .. math:: \dot ρ = 2\sum a^2fw^2, \quad \ddot ρ = 2\sum a^2fw^2(2 - 3w), \quad
        \dot η = -\dot ρ/λ, \quad \ddot η = -\frac{2}{λ}\sum a^2fw^2(1 - 3w)

    for :math:`ρ = |Ax - b|^2` and :math:`η = x^TMx` of the unconstrained solution.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        λ.

    References
    ----------
    .. [1] P. C. Hansen, D. P. O'Leary, SIAM J. Sci. Comput. 14 (1993) 1487.
    """

    additive: ClassVar[bool] = True

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        self._modes = _Modes(factors, regularisation)
        f, w = self._modes.fitted, self._modes.rest
        # As λη, whose derivatives need no division by λ.
        weights = np.stack([w**2, f * w, f * w**2, f * w**3])
        self._weights = np.ascontiguousarray(weights.transpose(0, 2, 1))

    def __call__(self, observed: Observed) -> Array:
        """Score, shape (K, G)."""
        squares = self._modes.squares(observed.b)
        residual, roughness, first, beside = (row_by_row(squares, weights) for weights in self._weights)
        residual, roughness = np.maximum(residual, TINY), np.maximum(roughness, TINY)
        p, e = 2.0 * first / residual, -2.0 * first / roughness
        p_dot = 2.0 * (2.0 * first - 3.0 * beside) / residual - p**2
        e_dot = -2.0 * (first - 3.0 * beside) / roughness - e**2
        speed = np.hypot(p, e)
        turn = p_dot * e - p * e_dot
        return np.asarray(np.divide(turn, speed**3, out=np.zeros_like(turn), where=speed > 0.0))


class Evidence:
    r"""Marginal likelihood of λ and the noise variance, −2 ln of it [1]_ [2]_.

    The noise is Gaussian with the same unknown variance σ² in every value. A priori x is Gaussian with the precision
    :math:`(λ/σ^2)M`; in the directions that M does not see (R_inf, L, 1/C, and for some penalties constant or linear γ)
    it may be anything, and these q directions are integrated out with a flat prior, which makes the likelihood the
    restricted one. The amplitudes a then have the variances σ²/w, and with the best σ² for each λ

    .. math:: (n - q) \ln\frac{\sum a^2 w}{n - q} - \sum \ln w

    is left, but for a constant. A mode counts as unseen by M if s² is zero to rounding. The constraint x ≥ 0 has no
    part in it.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        λ.

    References
    ----------
    .. [1] D. J. C. MacKay, Neural Comput. 4 (1992) 415.
    .. [2] G. Wahba, Ann. Statist. 13 (1985) 1378.
    """

    additive: ClassVar[bool] = True

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        self._modes = _Modes(factors, regularisation)
        seen = factors.seen
        proper = np.ones(self._modes.rest.shape[1], dtype=bool)
        # c² + (balanced s²) = 1: what is one to rounding leaves no penalty.
        proper[:seen] = 1.0 - factors.data_part[:seen] > 4.0 * len(factors.modes) * np.finfo(float).eps
        proper[seen] = self._modes.beyond > 0
        self._freedom = int(np.count_nonzero(proper[:seen])) + self._modes.beyond
        self._weights = np.ascontiguousarray(np.where(proper, self._modes.rest, 0.0).T)
        self._log_determinant = np.log(self._modes.rest[:, proper]).sum(axis=1)

    def __call__(self, observed: Observed) -> Array:
        """Score, shape (K, G)."""
        power = row_by_row(self._modes.squares(observed.b), self._weights) / self._freedom
        return np.asarray(self._freedom * np.log(np.maximum(power, TINY)) - self._log_determinant)


class Discrepancy:
    r"""Discrepancy principle, :math:`|Ax - b|^2` equal to the noise that the user states [1]_.

    The score is the square of the difference of the two logarithms. If no λ gives that residual, the one that comes
    nearest is at an edge of the grid.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        λ.

    References
    ----------
    .. [1] V. A. Morozov, USSR Comput. Math. Math. Phys. 6 (1966) 242.
    """

    additive: ClassVar[bool] = True

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        self._modes = _Modes(factors, regularisation)
        self._weights = np.ascontiguousarray((self._modes.rest**2).T)

    def __call__(self, observed: Observed) -> Array:
        """Score, shape (K, G).

        Raises
        ------
        InputError
            If the noise is not known.
        """
        if observed.noise_square is None:
            raise InputError("the criterion 'discrepancy' needs the noise; got None. State it.")
        residual = row_by_row(self._modes.squares(observed.b), self._weights)
        noise = np.maximum(observed.noise_square, TINY)[:, None]
        return np.asarray((np.log(np.maximum(residual, TINY)) - np.log(noise)) ** 2)
