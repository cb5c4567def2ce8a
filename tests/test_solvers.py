"""Each solver against scipy's non-negative least squares on the stacked problem."""

import itertools

import numpy as np
import pytest
from scipy.optimize import nnls

from drt_engine.model.basis import BASES, Expansion, shape_factor
from drt_engine.model.discretisation import discretise
from drt_engine.model.gsvd import factorise
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, assemble
from drt_engine.solvers import solver_for

FREQUENCY = np.logspace(5, -2, 29)
TAU = np.logspace(-7, 1.5, 33)


def spectrum(rng):
    w = 2j * np.pi * FREQUENCY
    z = 10 + 2e-6 * w + 1 / (3.0 * w) + 50 / (1 + (w * 1e-3) ** 0.85) + 30 / (1 + (w * 0.2) ** 0.8)
    return z * (1 + 0.005 * (rng.standard_normal(w.size) + 1j * rng.standard_normal(w.size)))


def solve(solver, problem, b, regularisation):
    return solver_for(solver, factorise(problem), regularisation)(b, np.arange(len(b)))


def reference(problem, b, regularisation):
    stacked = np.vstack([problem.matrix, np.sqrt(regularisation) * problem.penalty_factor])
    x, _ = nnls(stacked, np.concatenate([b, np.zeros(len(problem.penalty_factor))]), maxiter=10_000)
    return x, np.linalg.cond(stacked)


@pytest.mark.parametrize("solver", ["cvxpy", "pivoting"])
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("part", ["complex", "re", "im"])
def test_agrees_with_non_negative_least_squares(solver, basis, part):
    rng = np.random.default_rng(sum(map(ord, basis + part)))
    expansion = Expansion(TAU, basis, shape_factor(BASES[basis], TAU, 0.5))
    for inductance, capacitance in itertools.product([False, True], repeat=2):
        problem = assemble(discretise(FREQUENCY, expansion, 1), part, inductance=inductance, capacitance=capacitance)
        regularisation = np.array([1e-8, 1e-5, 1e-3, 1.0])
        b, _ = problem.data(np.stack([spectrum(rng) for _ in regularisation]))
        x = solve(solver, problem, b, regularisation)
        assert np.all(problem.optimality(x, b, regularisation) <= OPTIMALITY_TOLERANCE)
        for k, lam in enumerate(regularisation):
            expected, condition = reference(problem, b[k], lam)
            tolerance = max(1e-8, 10 * condition * np.finfo(float).eps)
            assert np.abs(x[k] - expected).max() <= tolerance * expected.max()


@pytest.mark.parametrize("solver", ["cvxpy", "pivoting"])
def test_answers_do_not_depend_on_the_neighbours(solver):
    rng = np.random.default_rng(2)
    expansion = Expansion(TAU, "gaussian", shape_factor(BASES["gaussian"], TAU, 0.5))
    problem = assemble(discretise(FREQUENCY, expansion, 1), "complex", inductance=True, capacitance=False)
    b, _ = problem.data(np.stack([spectrum(rng) for _ in range(5)]))
    regularisation = np.logspace(-6, -2, 5)
    together = solve(solver, problem, b, regularisation)
    for k in range(5):
        alone = solve(solver, problem, b[k : k + 1], regularisation[k : k + 1])
        np.testing.assert_allclose(alone[0], together[k], rtol=0, atol=1e-12 * together[k].max())


def certificate_by_hand(problem, x, b, lam):
    """The definition, term by term."""
    stacked = np.vstack([problem.matrix, np.sqrt(lam) * problem.penalty_factor])
    gradient = stacked.T @ (stacked @ x - np.concatenate([b, np.zeros(len(problem.penalty_factor))]))
    worst = 0.0
    for j in range(x.size):
        d = np.linalg.norm(stacked[:, j])
        u, h = x[j] * d / np.linalg.norm(b), gradient[j] / d / np.linalg.norm(b)
        worst = max(worst, abs(min(u, h)), abs(u * h))
    return worst


def test_the_certificate_is_its_definition_and_sees_every_kind_of_fault():
    rng = np.random.default_rng(4)
    expansion = Expansion(TAU, "gaussian", shape_factor(BASES["gaussian"], TAU, 0.5))
    problem = assemble(discretise(FREQUENCY, expansion, 1), "complex", inductance=True, capacitance=True)
    b, _ = problem.data(spectrum(rng)[None])
    lam = np.array([1e-3])
    x = solve("cvxpy", problem, b, lam)
    assert problem.optimality(x, b, lam)[0] < 1e-12
    active, passive = int(np.argmin(x[0])), int(np.argmax(x[0]))
    for index, change in ((active, 1e-3), (passive, -1e-3 * x[0, passive]), (active, -1e-3), (passive, -x[0, passive])):
        wrong = x.copy()
        wrong[0, index] += change
        residual = problem.optimality(wrong, b, lam)[0]
        assert residual > OPTIMALITY_TOLERANCE
        assert residual == pytest.approx(certificate_by_hand(problem, wrong[0], b[0], lam[0]), rel=1e-9)
    assert np.isnan(problem.optimality(np.full_like(x, np.nan), b, lam)[0])


def test_a_failing_solver_hands_on_to_the_next(monkeypatch):
    import cvxpy as cp

    rng = np.random.default_rng(4)
    expansion = Expansion(TAU, "gaussian", shape_factor(BASES["gaussian"], TAU, 0.5))
    problem = assemble(discretise(FREQUENCY, expansion, 1), "complex", inductance=True, capacitance=False)
    b, _ = problem.data(spectrum(rng)[None])
    lam = np.array([1e-4])
    expected = solve("cvxpy", problem, b, lam)
    real = cp.Problem.solve
    tried = []

    def without_daqp(self, *args, **options):
        tried.append(options["solver"])
        if options["solver"] == "DAQP":
            raise cp.SolverError("gave up")
        return real(self, *args, **options)

    monkeypatch.setattr(cp.Problem, "solve", without_daqp)
    x = solve("cvxpy", problem, b, lam)
    assert tried == ["DAQP", "CLARABEL"]
    assert problem.optimality(x, b, lam)[0] <= OPTIMALITY_TOLERANCE
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-8 * expected.max())

    def without_any(self, *args, **options):
        raise cp.SolverError("gave up")

    monkeypatch.setattr(cp.Problem, "solve", without_any)
    assert np.all(np.isnan(solve("cvxpy", problem, b, lam)))
