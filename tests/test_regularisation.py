import mpmath
import numpy as np
import pytest

from drt_engine.basis import BASES, Expansion, shape_factor
from drt_engine.discretisation import discretise
from drt_engine.problem import assemble
from drt_engine.regularisation import CRITERIA, GRID, choose
from drt_engine.spectral import factorise

from .conftest import zarc

FREQUENCY = np.logspace(4, -1, 16)
TAU = np.logspace(-6, 2, 14)
MANY = np.logspace(-6, 2, 41)


def problem_of(basis="gaussian", order=1, part="complex", tau=TAU, **extras):
    expansion = Expansion(tau, basis, shape_factor(BASES[basis], tau, 0.5))
    return assemble(
        discretise(FREQUENCY, expansion, order), part, **({"inductance": True, "capacitance": False} | extras)
    )


def data_of(problem, noise=0.01, rows=3):
    rng = np.random.default_rng(8)
    z = 5 + zarc(FREQUENCY, 20, 1e-2, 0.9) + 1e-5j * FREQUENCY
    z = z * (1 + noise * (rng.standard_normal((rows, z.size)) + 1j * rng.standard_normal((rows, z.size))))
    return problem.data(z)[0]


def influence_by_hand(problem, lam):
    """A (AᵀA + λM)⁻¹ Aᵀ from the least-squares problem that it stands for, column by column."""
    stacked = np.vstack([problem.matrix, np.sqrt(lam) * problem.penalty_factor])
    n = len(problem.matrix)
    unit = np.vstack([np.eye(n), np.zeros((len(problem.penalty_factor), n))])
    return problem.matrix @ np.linalg.lstsq(stacked, unit)[0]


def gcv_by_hand(problem, b, lam):
    n = len(problem.matrix)
    rest = np.eye(n) - influence_by_hand(problem, lam)
    return n * np.sum((rest @ b) ** 2) / np.trace(rest) ** 2


CASES = {
    "default": {},
    "re": {"part": "re"},
    "im": {"part": "im", "capacitance": True},
    "piecewise": {"basis": "piecewise-linear", "order": 1},
    "piecewise-2": {"basis": "piecewise-linear", "order": 2, "inductance": False},
    "c2-0": {"basis": "c2-matern", "order": 0, "capacitance": True},
    "cauchy": {"basis": "cauchy"},
    "many": {"tau": MANY},
    "many-re": {"tau": MANY, "part": "re"},
    "many-im": {"tau": MANY, "part": "im", "capacitance": True},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gcv_equals_the_dense_formula(case):
    problem = problem_of(**case)
    b = data_of(problem)
    choice = choose("gcv", factorise(problem), b)
    # With more unknowns than data, tr(I − K) drowns in rounding for a small λ, in double precision and this formula.
    exact = (1e-8 if "tau" in case else GRID[0]) <= GRID
    for k in range(len(b)):
        expected = np.array([gcv_by_hand(problem, b[k], lam) for lam in GRID[exact]])
        np.testing.assert_allclose(choice.scores[k, exact], expected, rtol=1e-6)
        if exact.all():
            assert choice.regularisation[k] == GRID[expected.argmin()]


@pytest.mark.parametrize("case", ["default", "many-re"])
def test_gcv_equals_the_dense_formula_in_fifty_digits(case):
    problem = problem_of(**CASES[case])
    b = data_of(problem, rows=1)
    chosen = [0, 8, 24, 48]
    with mpmath.workdps(50):
        a, m, data = mpmath.matrix(problem.matrix), mpmath.matrix(problem.penalty), mpmath.matrix(b[0])
        for g in chosen:
            rest = mpmath.eye(a.rows) - a * mpmath.inverse(a.T * a + mpmath.mpf(GRID[g]) * m) * a.T
            trace = sum(rest[i, i] for i in range(a.rows))
            score = a.rows * mpmath.norm(rest * data) ** 2 / trace**2
            assert choose("gcv", factorise(problem), b).scores[0, g] == pytest.approx(float(score), rel=1e-6)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_lambda_does_not_depend_on_the_unit(criterion, factor):
    problem = problem_of()
    z = 5 + zarc(FREQUENCY, 20, 1e-2, 0.9)[None] * (1 + 0.01 * np.random.default_rng(1).standard_normal((8, 16)))
    b, _ = problem.data(z)
    scaled, _ = problem.data(factor * z)
    chosen = choose(criterion, factorise(problem), b)
    assert np.array_equal(chosen.regularisation, choose(criterion, factorise(problem), scaled).regularisation)
    assert len(set(chosen.regularisation)) > 1


def test_finds_the_global_minimum_where_a_local_search_would_not():
    problem = problem_of()
    choice = choose("gcv", factorise(problem), data_of(problem, rows=200))
    minima = [np.flatnonzero((s[1:-1] < s[:-2]) & (s[1:-1] < s[2:])).size for s in choice.scores]
    assert max(minima) > 1
    assert np.array_equal(choice.regularisation, GRID[choice.scores.argmin(axis=1)])


def test_an_edge_is_reported():
    problem = problem_of()
    rough = np.random.default_rng(0).standard_normal((1, len(problem.matrix)))
    smooth = data_of(problem, noise=0.0, rows=1)
    for b, edge in ((rough, GRID[-1]), (smooth, GRID[0])):
        choice = choose("gcv", factorise(problem), b)
        if choice.regularisation[0] == edge:
            assert choice.at_edge[0]
    b = data_of(problem, noise=0.02)
    choice = choose("gcv", factorise(problem), b)
    assert np.array_equal(choice.at_edge, np.isin(choice.regularisation, GRID[[0, -1]]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_factors_make_both_matrices_diagonal(case):
    problem = problem_of(**case)
    factors = factorise(problem)
    a, m, x, u = problem.matrix, problem.penalty, factors.modes, factors.data_modes
    np.testing.assert_allclose(a @ x, u * np.sqrt(factors.data_part), atol=1e-12)
    np.testing.assert_allclose(x.T @ m @ x, np.diag(factors.penalty_part), atol=1e-10 * factors.penalty_part.max())
    both = np.hstack([u[:, factors.data_part > 0], factors.remainder])
    np.testing.assert_allclose(both.T @ both, np.eye(len(a)), atol=1e-12)
    b = data_of(problem)
    lam = np.array([1e-3, 1e-1, 1.0])
    expected = [np.linalg.solve(a.T @ a + lam[k] * m, a.T @ b[k]) for k in range(3)]
    np.testing.assert_allclose(factors.unconstrained(b, factors.filters(lam)), expected, rtol=1e-6, atol=1e-8)
