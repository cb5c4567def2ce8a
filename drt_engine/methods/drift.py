"""A cell that changes while it is measured: γ times exp(d θ), with θ from −½ to ½ the time within the sweep.

The drift d of ln γ over the sweep is linear in ln τ, between a value at the shortest and one at the longest relaxation
time that the data show. The model is made linear around it, and both are unknowns beside γ (Gauss and Newton), so they
take part in the noise, in the covariances, and in the certificate. Before the data they are normal around zero. What is
found is γ in the middle of the sweep.
"""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.base import Solution
from drt_engine.methods.evidence import log_evidence, log_normaliser
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian
from drt_engine.methods.nearby import plain_tables, with_columns
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Parameters
from drt_engine.uncertainty.posterior import LogPosterior
from drt_kernels import log_gaussian

if TYPE_CHECKING:
    from drt_kernels.held import Handle

__all__ = [
    "DriftFit",
    "DriftModel",
    "drifting_impedance",
    "ends_of_window",
    "posterior_with_drift",
    "sweep_time",
    "with_drift",
]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_DRIFTS = 2
"""Numbers that describe the drift of a spectrum."""

_LIKELY = float(np.log(20.0))
"""Difference of logarithms of evidence from which on a drift is taken to be there."""

_EXPECTED = 0.1
"""Standard deviation of both before the data: a tenth of γ over a sweep."""

_EXPECTED_SERIES = 0.05
"""The same of R_inf, as a share of it. It is not found, but the interval of R_pol allows for it: what R_inf changes by
over a sweep is read as R_pol, as the lowest frequencies alone are measured late."""

_SHIFT = 2.0
"""What is added to a drift, since unknowns beside γ are not negative."""

_LONGEST = 0.3
"""Largest change in a step."""

_SHORTEST = 0.1
"""Smallest share of a step that is made."""

_ROUNDS, _SETTLED = 20, 3e-3
"""Steps with noise and λ that are found again, and the change, in standard deviations, that ends them."""

_FINAL_ROUNDS, _FINAL = 60, 1e-9
"""Further steps with noise and λ that stay, and the change, in standard deviations, that ends them: below the tolerance
of the optimality residual, which a solution has to meet."""


@dataclass(frozen=True, eq=False)
class DriftFit:
    """What was found for one spectrum, in the units of the problem."""

    y: Array
    """ln γ in the middle of the sweep, and linear unknowns."""
    drift: Array
    """At the shortest and at the longest relaxation time."""
    hyper: Array
    """Components of the variance, and λ."""
    residual: float
    """By how many standard deviations an unknown is not where it should be, at most."""
    evidence: float
    """Logarithm of the marginal likelihood."""

    def values(self, logs: int) -> Array:
        """Return γ and linear parameters; the first `logs` of `y` are ln γ."""
        return np.concatenate([np.exp(self.y[:logs]), self.y[logs:]])


def sweep_time(point_time: Array) -> Array | None:
    """Time within a sweep, from −½ to ½, shape (F,); None where points have no time, or the same.

    Parameters
    ----------
    point_time : ndarray, shape (F,)
        When each point was measured, s.
    """
    if not np.isfinite(point_time).all() or np.ptp(point_time) <= 0.0:
        return None
    return np.asarray((point_time - point_time.min()) / np.ptp(point_time) - 0.5)


def ends_of_window(tau: Array, window: tuple[float, float]) -> Array:
    """Weights that interpolate a drift between the two ends of the window to each relaxation time, shape (2, M).

    Parameters
    ----------
    tau : ndarray, shape (M,)
        Relaxation times, s.
    window : pair of float
        The shortest and the longest that the data show, s.
    """
    late = np.clip((np.log(tau) - np.log(window[0])) / np.log(window[1] / window[0]), 0.0, 1.0)
    return np.stack([1.0 - late, late])


class DriftModel:
    """The model with drift for spectra whose points are measured at certain times.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        The problem without drift.
    time : ndarray, shape (F,)
        Time within the sweep, from −½ to ½.
    """

    def __init__(self, prepared: PreparedLogGaussian, time: Array) -> None:
        self.prepared = prepared
        found = prepared.problem.discretisation
        self.shares = ends_of_window(found.expansion.tau, found.expansion.window(found.frequency))
        self._time = np.tile(time, 2)
        self.logs, self.linear = prepared.grid.logs, prepared.problem.scale.size
        self._normaliser = log_normaliser(prepared.grid)

    def columns(self, y: Array, drift: Array) -> Array:
        """Columns of γ, of the linear unknowns and of the drifts around a solution, shape (N, n + 2).

        The last datum of each part is the drift itself, for what is expected of it.
        """
        plain = self.prepared.problem.transposed
        data = self._time.size // 2
        moved = plain[: self.logs] * np.exp(np.outer(drift @ self.shares, self._time))
        changes = (self.shares * np.exp(y[: self.logs])) @ (moved * self._time)
        whole = np.vstack([moved, plain[self.logs :], changes])
        out = np.zeros((len(whole), 2 * data + 2))
        out[:, :data], out[:, data + 1 : -1] = whole[:, :data], whole[:, data:]
        out[-2, data], out[-1, -1] = 1.0, 1.0
        return out

    def _shifted(self, b: Array, columns: Array, drift: Array) -> Array:
        data = b.size // 2
        out = np.zeros(b.size + 2)
        out[:data], out[data + 1 : -1] = b[:data], b[data:]
        whole = (drift + _SHIFT) @ columns[self.linear :]
        # What is expected of a drift is zero, not what it is.
        whole[[data, -1]] = _SHIFT
        return np.asarray(out + whole)

    def _parts(self, parts: Array, hyper: Array) -> Array:
        """Return the components of the variance, with a further column by which drifts have the expected variance."""
        some = hyper[:2] > 0.0
        last = np.where(some, _EXPECTED**2 / np.maximum(hyper[:2], 1e-300) / some.sum(), 1.0)
        return np.hstack([parts, last[:, None]])

    def _grid(self, columns: Array) -> "log_gaussian.Grid":
        return with_columns(self.prepared.grid, columns)

    def _work(self, grid: "log_gaussian.Grid") -> "Handle":
        return log_gaussian.new_work(grid, plain_tables(grid.columns, grid.size))

    def without(self, b: Array, parts: Array, given: Array, y: Array, hyper: Array) -> float:
        """Logarithm of the marginal likelihood of a solution without drift."""
        grid = self.prepared.grid
        return log_evidence(grid, b, parts, y, hyper, given, (-self._normaliser, np.zeros((0, y.size))))

    def fit(self, b: Array, parts: Array, given: Array, y: Array, hyper: Array) -> DriftFit | None:
        """Find the solution with drift for one spectrum, from that without.

        Parameters
        ----------
        b : ndarray, shape (n,)
            Scaled data.
        parts, given : ndarray, shapes (2, F) and (3,)
            As the kernel takes them.
        y, hyper : ndarray
            The solution without drift.
        """
        drift, change, asked, final = np.zeros(_DRIFTS), np.zeros(_DRIFTS), given, 0
        length = share = 1.0
        for n in range(_ROUNDS + _FINAL_ROUNDS):
            columns = self.columns(y, drift)
            grid, extended = self._grid(columns), self._parts(parts, hyper)
            data = self._shifted(b, columns, drift)
            out, found, residual = np.empty((1, len(columns))), np.empty((1, 3)), np.empty(1)
            start = np.concatenate([y, drift + _SHIFT])
            log_gaussian.maximise(
                data[None], extended[None], start[None], asked[None], self._work(grid), out, found, residual
            )
            hyper, wanted = found[0], out[0, self.linear :] - _SHIFT
            weights = 1.0 / np.tile(hyper[0] * extended[0] + hyper[1] * extended[1], 2)
            deviation = 1.0 / np.sqrt((columns[self.linear :] ** 2) @ weights)
            jump = float(np.max(np.abs(wanted - drift) / deviation))
            # The two drifts may be known by their sum alone, and whole steps go to and fro then; what the last step
            # has left of the change tells how much of it to make (B. M. Irons, R. C. Tuck, Int. J. Numer. Methods Eng.
            # 1 (1969) 275).
            turn = wanted - drift - change
            if n > 0 and turn @ turn > 0.0:
                length = float(np.clip(-share * (change @ turn) / (turn @ turn), _SHORTEST, 1.0))
            change = wanted - drift
            share = min(length, _LONGEST / max(float(np.abs(wanted - drift).max()), 1e-300))
            y = y + share * (out[0, : self.linear] - y)
            drift = drift + share * (wanted - drift)
            if np.abs(drift).max() >= _SHIFT:
                return None
            if final == 0 and (n == _ROUNDS - 1 or jump <= _SETTLED):
                final, asked = 1, hyper.copy()
            elif final > 0:
                final += 1
            if final > 1 and jump <= _FINAL:
                break
        if max(float(residual[0]), jump) > OPTIMALITY_TOLERANCE:
            return None
        return self._finished(b, parts, given, (y, drift, hyper, max(float(residual[0]), jump)))

    def _finished(self, b: Array, parts: Array, given: Array, found: tuple[Array, Array, Array, float]) -> DriftFit:
        y, drift, hyper, residual = found
        columns = self.columns(y, drift)
        whole = np.concatenate([y, drift + _SHIFT])
        prior = -self._normaliser - np.log(2.0 * np.pi), np.zeros((0, whole.size))
        extended, data = self._parts(parts, hyper), self._shifted(b, columns, drift)
        evidence = log_evidence(self._grid(columns), data, extended, whole, hyper, given, prior)
        return DriftFit(y, drift, hyper, residual, evidence)

    def posterior(self, b: Array, parts: Array, y: Array, drift: Array, given: Array) -> tuple[Array, Array, Array]:
        """Mean, covariance and hyperparameters of ln γ and the linear unknowns around a solution, shapes (N,), (N, N).

        Parameters
        ----------
        b, parts, y, drift
            As :meth:`fit` takes and finds them.
        given : ndarray, shape (3,)
            The noise and λ.
        """
        columns = self.columns(y, drift)
        grid, whole = self._grid(columns), np.concatenate([y, drift + _SHIFT])
        mean, covariance, hyper = np.empty((1, whole.size)), np.empty((1, whole.size, whole.size)), np.empty((1, 3))
        data, extended = self._shifted(b, columns, drift), self._parts(parts, given)
        log_gaussian.posteriors(
            data[None], extended[None], whole[None], given[None], self._work(grid), mean, covariance, hyper
        )
        some = slice(0, self.linear)
        value = np.concatenate([np.exp(whole[: self.logs]), whole[self.logs :]])
        left = data - value @ columns
        weights = self.prepared.root_weights(left, hyper[0, :2] @ extended)
        moves, most_probable, deviation = self._with_series(left * weights, columns * weights, value, covariance[0])
        shifted = mean[0, some] + most_probable * moves[some]
        return shifted, covariance[0, some, some] + deviation**2 * np.outer(moves[some], moves[some]), hyper[0]

    def _with_series(self, left: Array, columns: Array, value: Array, covariance: Array) -> tuple[Array, float, float]:
        """Say how unknowns move with a drift of R_inf, which the model does not have, and how large it may be.

        Changes of the unknowns for a change of R_inf by all of itself, shape (N,); its most probable value and its
        standard deviation, with what is expected of it. The model is linear around the solution.
        """
        own, half = columns.copy(), self._time.size // 2
        own[: self.logs] *= value[: self.logs, None]
        at, time = self.logs + self.prepared.problem.series_elements.index("r_inf"), np.zeros(left.size)
        time[:half], time[half + 1 : -1] = self._time[:half], self._time[half:]
        change = value[at] * columns[at] * time
        moves = -covariance @ (own @ change)
        precision = max(float(change @ change + (own @ change) @ moves), 0.0) + _EXPECTED_SERIES**-2
        return moves, float(change @ left) / precision, precision**-0.5


def with_drift(
    prepared: PreparedLogGaussian,
    solution: Solution,
    given: Array,
    measured: tuple[ComplexArray, Array],
    *,
    surely: bool,
) -> Solution:
    """Replace solutions by those with drift where that is more probable.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        The problem without drift.
    solution : Solution
        The solutions without, K rows.
    given : ndarray, shape (K,)
        λ, NaN where it is to be found.
    measured : tuple
        The spectra, ohm, and when each point was measured, s, shape (K, F) each; spectra with a NaN among their times
        are left as they are.
    surely : bool
        Whether the cell is taken to drift; if not, it is where that is 20 times more probable.
    """
    impedance, times = measured
    b, size = prepared.data(impedance)
    parts, asked = prepared.variance(b, size)
    asked[:, 2] = given
    y, hyper = _as_unknowns(prepared, solution.parameters, size), _hyper(prepared, solution, size)
    rows: dict[int, DriftFit] = {}
    out = {name: getattr(solution, name).copy() for name in ("fit", "regularisation", "optimality")}
    models: dict[bytes, DriftModel] = {}
    for k in np.flatnonzero((solution.optimality <= OPTIMALITY_TOLERANCE) & np.isfinite(y).all(axis=1)).tolist():
        time = sweep_time(times[k])
        if time is None:
            continue
        model = models.setdefault(time.tobytes(), DriftModel(prepared, time))
        found = model.fit(b[k], parts[k], asked[k], y[k], hyper[k])
        if found is None:
            continue
        if surely or found.evidence > model.without(b[k], parts[k], asked[k], y[k], hyper[k]) + _LIKELY:
            rows[k] = found
            columns = model.columns(found.y, found.drift)[: model.linear]
            whole = np.delete(found.values(model.logs) @ columns, [time.size, -1])
            out["fit"][k] = (whole[: time.size] + 1j * whole[time.size :]) * size[k]
            out["regularisation"][k], out["optimality"][k] = found.hyper[2], found.residual
    return _replaced(prepared, replace(solution, **out), rows, size)


def _replaced(prepared: PreparedLogGaussian, solution: Solution, rows: dict[int, DriftFit], size: Array) -> Solution:
    at = np.array([*rows], dtype=int)
    if not at.size:
        return solution
    x = np.array([one.values(prepared.grid.logs) for one in rows.values()]) / prepared.problem.scale * size[at, None]
    known, logs = solution.parameters, prepared.grid.logs
    changed = {field.name: getattr(known, field.name).copy() for field in fields(known)}
    changed["coefficients"][at] = x[:, :logs]
    for number, name in enumerate(prepared.problem.series_elements, start=logs):
        changed[name][at] = x[:, number]
    changed["drift_fast"][at], changed["drift_slow"][at] = np.array([one.drift for one in rows.values()]).T
    floor, share = prepared.deviations(np.array([one.hyper for one in rows.values()]), size[at])
    noise = solution.noise_floor.copy(), solution.noise_relative.copy()
    noise[0][at], noise[1][at] = floor, share
    return replace(solution, parameters=Parameters(**changed), noise_floor=noise[0], noise_relative=noise[1])


def posterior_with_drift(
    prepared: PreparedLogGaussian,
    impedance: ComplexArray,
    solutions: tuple[Parameters, Array],
    noise: tuple[Array, Array] | None,
    times: Array,
) -> LogPosterior:
    """Estimate the uncertainty of solutions with drift; as :meth:`PreparedLogGaussian.posterior`."""
    parameters, regularisation = solutions
    b, size = prepared.data(impedance)
    parts, given = prepared.variance(b, size, noise)
    given[:, 2] = regularisation
    y, number = _as_unknowns(prepared, parameters, size), prepared.problem.scale.size
    mean, covariance = np.full((len(b), number), np.nan), np.full((len(b), number, number), np.nan)
    hyper = np.full((len(b), 3), np.nan)
    for k in np.flatnonzero(np.isfinite(y).all(axis=1)).tolist():
        time = sweep_time(times[k])
        if time is not None:
            drift = np.array([parameters.drift_fast[k], parameters.drift_slow[k]])
            found = DriftModel(prepared, time).posterior(b[k], parts[k], y[k], drift, given[k])
            mean[k], covariance[k], hyper[k] = found
    return prepared.as_posterior(
        parameters, size, (mean, covariance), np.stack(prepared.deviations(hyper, size), axis=1)
    )


def drifting_impedance(parameters: Parameters, frequency: Array, expansion: Expansion, times: Array) -> ComplexArray:
    """Impedance of solutions as it is measured, each point at its time, shape (K, F), ohm; without drift where none is.

    Parameters
    ----------
    parameters : Parameters
        The solutions.
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    expansion : Expansion
        Basis functions.
    times : ndarray, shape (K, F)
        When each point was measured, s.
    """
    basis = expansion.impedance(frequency)
    z = parameters.impedance(frequency, basis)
    shares = ends_of_window(expansion.tau, expansion.window(frequency))
    for k in np.flatnonzero((parameters.drift_fast != 0.0) | (parameters.drift_slow != 0.0)).tolist():
        points = np.isfinite(times[k])
        time = sweep_time(times[k][points])
        if time is not None:
            growth = (
                np.exp(np.outer(time, np.array([parameters.drift_fast[k], parameters.drift_slow[k]]) @ shares)) - 1.0
            )
            z[k, points] += (basis[points] * growth) @ parameters.coefficients[k]
    return z


def _as_unknowns(prepared: PreparedLogGaussian, parameters: Parameters, size: Array) -> Array:
    names = prepared.problem.series_elements
    values = np.hstack([parameters.coefficients, *(getattr(parameters, name)[:, None] for name in names)])
    scaled = values / size[:, None] * prepared.problem.scale
    with np.errstate(divide="ignore"):
        scaled[:, : prepared.grid.logs] = np.log(scaled[:, : prepared.grid.logs])
    return scaled


def _hyper(prepared: PreparedLogGaussian, solution: Solution, size: Array) -> Array:
    """Components of the variance and λ of solutions, in the units of the problem, shape (K, 3)."""
    _, known = prepared.variance(np.ones((len(size), 2)), size, (solution.noise_floor, solution.noise_relative))
    known[:, 2] = solution.regularisation
    return known
