"""The compiled solver against scipy's non-negative least squares on problems as different as users make them.

DRT_ENGINE_PROBLEMS says how many; the suite's own number is a sample.
"""

import os

import numpy as np
import pytest
from scipy.optimize import nnls

from drt_engine.model.basis import BASES, Expansion, shape_factor
from drt_engine.model.discretisation import discretise
from drt_engine.model.gsvd import factorise
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, assemble
from drt_engine.solvers import solver_for
from drt_engine.threads import single_threaded_blas

PROBLEMS = int(os.environ.get("DRT_ENGINE_PROBLEMS", "100"))
PER_MATRIX = 10
EPSILON = np.finfo(float).eps


def matrices(rng):
    """A grid, a basis, an order, a part and extras; tau dense, coarse, extended or as the frequencies are."""
    frequency = np.geomspace(10 ** rng.uniform(3, 7), 10 ** rng.uniform(-3, 1), rng.integers(21, 242))
    low, high = np.log10(1 / (2 * np.pi * frequency[[0, -1]]))
    beyond = rng.choice([0.0, 0.5, 3.0])
    tau = np.logspace(low - beyond, high + beyond, int(frequency.size * rng.choice([0.4, 1.0, 1.5])))
    if rng.random() < 0.3:
        spacing = np.log(tau[1] / tau[0])
        tau = tau * np.exp(0.4 * spacing * rng.uniform(-1, 1, tau.size))
    name = rng.choice(list(BASES))
    order = int(rng.integers(0, BASES[name].highest_order + 1))
    expansion = Expansion(tau, name, shape_factor(BASES[name], tau, rng.choice([0.35, 0.5, 1.0])))
    inductance, capacitance = rng.random(2) < 0.5
    part = rng.choice(["complex", "complex", "re", "im"])
    return assemble(
        discretise(frequency, expansion, order), part, inductance=bool(inductance), capacitance=bool(capacitance)
    )


def spectrum(rng, frequency, processes, noise):
    omega = 2 * np.pi * frequency
    z = np.zeros(frequency.size, dtype=complex)
    if processes:
        z += rng.uniform(0, 20) + 1j * omega * 10 ** rng.uniform(-9, -6) + 1 / (1j * omega * 10 ** rng.uniform(-1, 3))
    for _ in range(processes):
        tau = 1 / np.exp(rng.uniform(*np.log(omega[[-1, 0]])))
        z += 10 ** rng.uniform(-1, 2) / (1 + (1j * omega * tau) ** rng.uniform(0.6, 1.0))
    draw = rng.standard_normal((2, z.size))
    return z + noise * np.abs(z) * (draw[0] + 1j * draw[1])


@pytest.fixture(autouse=True)
def one_thread():
    with single_threaded_blas():
        yield


@pytest.mark.slow
def test_agrees_on_varied_problems():
    rng = np.random.default_rng(2024)
    uncertified, vague, total = 0, 0, 0
    while total < PROBLEMS:
        problem = matrices(rng)
        lam = 10 ** rng.uniform(-12, 2, PER_MATRIX)
        noise = rng.choice([0.0, 1e-4, 2e-3, 0.01, 0.05, 0.2], PER_MATRIX)
        processes = rng.choice([0, 1, 1, 2, 3, 5], PER_MATRIX)
        frequency = problem.discretisation.frequency
        z = [spectrum(rng, frequency, count, level) for count, level in zip(processes, noise, strict=True)]
        b, _ = problem.data(np.array(z))
        factors = factorise(problem)
        which = np.arange(PER_MATRIX)
        x = solver_for("pivoting", factors, lam)(b, which)
        left = ~(problem.optimality(x, b, lam) <= OPTIMALITY_TOLERANCE)
        if left.any():
            x[left] = solver_for("cvxpy", factors, lam)(b[left], which[left])
        uncertified += int(left.sum())
        assert np.all(problem.optimality(x, b, lam) <= OPTIMALITY_TOLERANCE)
        vague += sum(check(problem, x[k], b[k], lam[k]) for k in which)
        total += PER_MATRIX
    print(f"{total} problems: {uncertified} solved by cvxpy, {vague} known to Wedin's bound only")  # noqa: T201
    assert uncertified <= 0.01 * total
    assert vague <= 0.01 * total


def check(problem, x, b, lam):
    """Whether a solution is within 1e-8 or 10κε of the reference; returns whether that took Wedin's bound."""
    stacked = np.vstack([problem.matrix, np.sqrt(lam) * problem.penalty_factor])
    data = np.concatenate([b, np.zeros(len(problem.penalty_factor))])
    expected, _ = nnls(stacked, data, maxiter=100_000)
    # Its last digits are those of many updates; which unknowns are positive is what is taken from it.
    positive = expected > 0
    expected[positive] = np.linalg.lstsq(stacked[:, positive], data, rcond=0)[0]
    singular = np.linalg.svd(stacked, compute_uv=False)
    condition = singular[0] / max(singular[-1], 1e-300)
    tolerance = max(1e-8, 10 * condition * EPSILON) * expected.max()
    error = np.abs(x - expected).max()
    if error <= tolerance:
        return False
    # Least squares that leave a residual have a second condition number, κ²|r|/|Sx|, for every algorithm (P.-Å. Wedin,
    # BIT 13 (1973) 217): the reference is no better known than that.
    assert np.array_equal(x > 0, positive)
    columns = stacked[:, positive]
    inner = np.linalg.cond(columns / np.linalg.norm(columns, axis=0))
    fitted = columns @ expected[positive]
    bound = 10 * EPSILON * inner**2 * np.linalg.norm(fitted - data) / np.linalg.norm(fitted)
    assert error <= tolerance + bound * expected.max(), (
        f"off by {error / expected.max():.1e} instead of {tolerance / expected.max() + bound:.1e} for λ = {lam:.1e}, "
        f"{problem.part}, {problem.series_elements}, {problem.discretisation.expansion.basis}, "
        f"order {problem.discretisation.order}, {problem.matrix.shape}, κ = {condition:.1e}"
    )
    return True
