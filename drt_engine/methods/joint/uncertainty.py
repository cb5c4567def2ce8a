"""The posterior of a series at its solution: of each state, of two together, and the noise of each."""

import numpy as np
import scipy
from numpy.typing import NDArray

from drt_engine.methods.joint.prior import Variances, share_of_single_priors
from drt_engine.methods.joint.problem import LEAST_VARIANCE, SeriesProblem, tail_columns
from drt_engine.methods.joint.solutions import SeriesHyperparameters
from drt_engine.model.problem import Parameters
from drt_engine.solvers.chain import NU
from drt_engine.steps import Steps
from drt_engine.threads import single_threaded_blas
from drt_engine.uncertainty.cut_off import cut_at_zero
from drt_engine.uncertainty.posterior import LogPosterior

__all__ = ["SeriesUncertainty"]

Array = NDArray[np.float64]

_LAMBDA_DEVIATION = 1.6
"""Standard deviation of ln λ that intervals allow for, as those of single spectra do."""

_COUPLING_DEVIATION = 1.6
"""Standard deviation of ln κ that intervals allow for."""

_PASSES = 3
"""Rounds of finding how well changes of slope and differences are known."""

_VARIANCES_FOUND = 0.6
"""Share of finding a posterior that is done when that is known."""

_LOOSER = 16.0
"""By how much less neighbours are coupled where intervals are found. At the solution each difference has the weight of
one normal distribution; in truth any of a hundred relaxation times may be where something changes, and which one
the noise picks is not known. With 1, 95 % intervals of changes of R_pol between neighbours cover 90 %, with 4 94 %."""

_BY_CHANCE, _SCALINGS = 1e-4, 40
"""Chance at which the noise of one state is as large as that of the series, though its residuals are larger, and rounds
of finding how large it is."""


class SeriesUncertainty:
    """How well the solution of a series is known; the variances that it needs are found at once.

    Where differences and changes of slope are zero, the second derivatives of their distributions say that they are
    known far better than they are; the expected precisions of the mixtures of normal distributions that these are do
    not.

    Parameters
    ----------
    problem : SeriesProblem
        The series with its breaks; it is changed, and serves nothing else meanwhile.
    found : SeriesHyperparameters
        Its hyperparameters.
    parameters : Parameters
        Its solutions.
    steps : Steps, optional
        Where progress is kept.
    """

    def __init__(
        self, problem: SeriesProblem, found: SeriesHyperparameters, parameters: Parameters, steps: Steps | None = None
    ) -> None:
        self.problem, self.found, self._parameters = problem, found, parameters
        problem.begin(parameters)
        problem.update_coupling(found)
        chain, steps = problem.chain, steps or Steps()
        chain.report_to(steps.within)
        steps.on(known=chain.known, spread=chain.spread)
        chain.coupling_divisor = 1.0

        def updated() -> Array:
            problem.factor(found, invert=True)
            known = Variances.of(problem)
            chain.known[:], chain.spread[:] = known.slope, known.change
            return np.array([share_of_single_priors(problem, found, known)])

        for n in range(_PASSES):
            (problem.prior_share,) = steps.do(updated, _VARIANCES_FOUND * (n + 1) / _PASSES, 2).tolist()
        chain.coupling_divisor = _LOOSER

    def posterior(self, steps: Steps | None = None) -> LogPosterior:
        """Estimate the uncertainty of each state by itself; `steps` are the same as before."""
        problem, chain = self.problem, self.problem.chain

        def moments() -> tuple[Array, Array]:
            problem.factor(self.found, invert=True)
            covariance = chain.matrix.own[: len(chain.y)].copy()
            moved = self.solved(np.concatenate([self.forces(), self._gradient_at_zero()[None]]))
            covariance += np.einsum("nki,nkj->kij", moved[:-1], moved[:-1])
            return covariance, chain.y + moved[-1]

        steps = steps or Steps()
        chain.report_to(steps.within)
        covariance, mean = steps.end(moments, 3)
        rows = len(covariance)
        sizes = np.full(rows, problem.size)
        noise = np.stack(problem.prepared.deviations(problem.noise_of_each(self.found), sizes), axis=1)
        return problem.prepared.as_posterior(self._parameters, sizes, (mean, covariance), noise)

    def solved(self, right: Array) -> Array:
        """Minus the inverse of the second derivative times right-hand sides, shape (n, K, N)."""
        self.problem.factor(self.found)
        with single_threaded_blas():
            return -self.problem.chain.solve(right)

    def forces(self) -> Array:
        """Differentiate the gradient by ln λ, ln κ and exponents, each times how wrong they may be, shape (n, K, N)."""
        problem, chain, lam = self.problem, self.problem.chain, self.found.lam
        grid, logs = problem.grid, problem.grid.logs
        u, out = chain.y[:, :logs], np.zeros((2, *chain.y.shape))
        own, coupled = out[0, :, :logs], out[1, :, :logs]
        slope_term = lam * grid.slope * (np.diff(u, axis=1) - grid.lean)
        own[:, :-1] -= slope_term
        own[:, 1:] += slope_term
        bent = problem.slope_changes()
        knee = grid.knee[: bent.shape[1]]
        ratio = lam * (bent / knee) ** 2
        bent = grid.rate * lam * bent / (knee * np.sqrt(1.0 + ratio)) * (1.0 - 0.5 * ratio / (1.0 + ratio))
        for n in range(3):
            own[:, n : n + bent.shape[1]] += bent * grid.bend[:, n]
        own *= problem.prior_share * _LAMBDA_DEVIATION
        firm, share = chain.coupling_curvature, chain.difference_slopes
        weight = self.found.strength / problem.spacing_ratio * problem.terms.relative
        slope_term = _COUPLING_DEVIATION * firm * share * firm / ((1.0 + NU) * weight) / np.sqrt(problem.spacing)
        step = np.zeros((len(slope_term), logs))
        step[:, :-1] -= slope_term
        step[:, 1:] += slope_term
        for state, coefficient in zip(problem.terms.state.T, problem.terms.coefficient.T, strict=True):
            np.add.at(coupled, np.maximum(state, 0), coefficient[:, None] * step)
        if problem.exponents is None:
            return out
        # ∂(jω)⁻ⁿ/∂n = −ln(jω) (jω)⁻ⁿ
        exponent, deviation = problem.exponents
        change = -chain.y[:, -1:] * deviation[:, None] * tail_columns(problem.problem, exponent, slope=True)
        return np.concatenate([out, chain.forces(change)[None]])

    def _gradient_at_zero(self) -> Array:
        """Gradient of the elements, which is left where one is held at zero, shape (K, N)."""
        chain = self.problem.chain
        out = np.where(chain.y == 0.0, chain.gradient, 0.0)
        out[:, : self.problem.grid.logs] = 0.0
        return out

    def pair_covariance(self, one: int, other: int) -> Array:
        """Covariance of ln γ of two states, shape (2 M, 2 M).

        R_inf, L and 1/C of both are cut off at zero together: if each state were cut off by itself, what that tells
        of the two would not fall out of their difference. States that are noisier than the series add what their data
        move the two by, beyond what the noise of the series does.
        """
        chain, logs, size = self.problem.chain, self.problem.grid.logs, self.problem.grid.size
        right = np.zeros((2 * size, *chain.y.shape))
        for place, state in enumerate((one, other)):
            right[place * size + np.arange(size), state, np.arange(size)] -= 1.0
        # Forces are those at what was evaluated last.
        self.problem.factor(self.found)
        with single_threaded_blas():
            solved = -chain.solve(np.concatenate([right, self.forces(), self._gradient_at_zero()[None]]))
        moved, shift = solved[2 * size : -1], solved[-1]
        covariance = np.concatenate([solved[: 2 * size, state] for state in (one, other)], axis=1)
        covariance += self._covariance_by_excess_noise(solved[: 2 * size])
        forces = np.concatenate([moved[:, state] for state in (one, other)], axis=1)
        covariance += forces.T @ forces
        mean = np.concatenate([chain.y[state] + shift[state] for state in (one, other)])
        if size > logs:
            at = np.arange(2 * size).reshape(2, size)
            order = np.concatenate([at[:, :logs].ravel(), at[:, logs:].ravel()])
            mean, covariance = mean[None, order], covariance[None][:, order][:, :, order]
            _, covariance, _ = cut_at_zero(mean, covariance, 2 * logs)
            covariance = covariance[0]
        return np.asarray(covariance[: 2 * logs, : 2 * logs])

    def excess_noise(self) -> Array:
        """Estimate by how much the variance of the noise of each state exceeds that of the series, shape (K,).

        In units of the latter, with Student's distribution of the residuals where the method has it; zero where it may
        be chance.
        """
        chain, tail = self.problem.chain, self.problem.grid.tail
        measured = self.problem.measured
        number = 2.0 * measured.sum(axis=1).clip(min=1)
        real, imag = np.hsplit(chain.residual, 2)
        square, times = np.where(measured, chain.precision * (real**2 + imag**2), 0.0), np.ones(len(number))
        for _ in range(_SCALINGS):
            times = (square * (1.0 + 2.0 * tail) / (1.0 + tail * square / times[:, None])).sum(axis=1) / number
            times = np.maximum(times, LEAST_VARIANCE)
        return np.where(times > scipy.special.chdtri(number, _BY_CHANCE) / number, times - 1.0, 0.0)

    def _covariance_by_excess_noise(self, solved: Array) -> Array:
        """Covariance that noisier states add to contrasts, of which H⁻¹ times each is given, shape (n, K, N)."""
        problem, more, logs = self.problem, self.excess_noise(), self.problem.grid.logs
        out, values = np.zeros((len(solved), len(solved))), problem.values()
        for k in np.flatnonzero(more):
            columns = problem.problem.matrix * np.append(values[k, :logs], np.ones(problem.grid.size - logs))
            moved = solved[:, k] @ (np.tile(np.sqrt(problem.chain.weight[k]), 2)[:, None] * columns).T
            out += more[k] * (moved @ moved.T)
        return out
