"""Convex problems: each option against another way to the same optimum, and the certificate against its definition."""

import dataclasses
import json
import pickle
import warnings

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import lsq_linear, minimize, nnls

import drt_engine as drt
from drt_engine import simulate
from drt_engine.methods import method_from_settings
from drt_engine.model.discretisation import discretise
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, assemble
from drt_engine.solvers.cones import Cones
from drt_engine.solvers.convex import Case, ConvexProblem
from drt_engine.solvers.cvxpy_convex import ConvexSolver, cones_of
from drt_engine.solvers.descent import descend

LAM = 1e-4
FREQUENCY = np.logspace(5, -2, 36)
PLAIN = drt.Tikhonov(regularisation=LAM)


class Stacked:
    """The problem of one spectrum as dense matrices: ½|Sx − d|², x ≥ 0."""

    def __init__(self, spectra, row, method=PLAIN, lam=LAM):
        expansion = method.expansion(spectra.frequency)
        self.problem = assemble(
            discretise(spectra.frequency, expansion, method.order),
            method.part,
            inductance=method.inductance,
            capacitance=method.capacitance,
        )
        b, size = self.problem.data(spectra.impedance[row : row + 1])
        self.b, self.size, self.lam = b[0], size[0], lam
        self.data = len(self.b)
        self.matrix = np.vstack([self.problem.matrix, np.sqrt(lam) * self.problem.penalty_factor])
        self.target = np.concatenate([self.b, np.zeros(len(self.matrix) - self.data)])
        self.gamma = np.arange(self.problem.penalised)
        self.areas = np.pad(expansion.areas, (0, len(self.problem.series_elements)))

    def solve(self, price=None, ridge=0.0, weights=None):
        """Non-negative least squares with a linear term pᵀx, a ridge on γ and weights of the data, by scipy.

        The linear term is part of the squares: ½|Sx − (d − e)|² = ½|Sx − d|² + eᵀSx + …, where Sᵀe = p.
        """
        matrix, target = self.matrix.copy(), self.target.copy()
        if weights is not None:
            matrix[: self.data] *= weights[:, None]
            target[: self.data] *= weights
        matrix = np.vstack([matrix, np.sqrt(ridge) * np.eye(matrix.shape[1])[self.gamma]])
        target = np.concatenate([target, np.zeros(self.gamma.size)])
        if price is not None:
            target = target - np.linalg.lstsq(matrix.T, price)[0]
        return nnls(matrix, target, maxiter=10_000)[0]

    def coefficients(self, x):
        return (x / self.problem.scale)[self.gamma] * self.size

    def r_inf(self, x):
        return (x / self.problem.scale)[self.gamma.size] * self.size


def bisect(function, low, high):
    """Where an increasing function of a positive number is zero."""
    assert function(low) < 0 < function(high)
    for _ in range(50):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return np.sqrt(low * high)


def assert_same(got, expected, tolerance=1e-8):
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def invert(spectra, **options):
    result = drt.invert(spectra, drt.Convex(**{"regularisation": LAM} | options))
    assert result.solved.all(), result
    assert np.all(result.optimality <= OPTIMALITY_TOLERANCE)
    return result


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"regularisation": LAM, "part": "re", "basis": "piecewise-linear", "order": 2},
        {"regularisation": "l-curve", "part": "im", "basis": "cauchy", "capacitance": True, "shape": 0.7},
        {"shared": True, "inductance": False, "shape": 2.0, "shape_type": "factor"},
        {"regularisation": "discrepancy", "noise": 0.003, "tau": tuple(np.logspace(-6, 2, 30))},
    ],
)
def test_squares_with_nothing_else_are_tikhonov(noisy, settings):
    plain, result = drt.invert(noisy, drt.Tikhonov(**settings)), drt.invert(noisy, drt.Convex(**settings))
    assert result.status.tolist() == plain.status.tolist()
    np.testing.assert_array_equal(result.regularisation, plain.regularisation)
    assert_same(result.gamma, plain.gamma, 1e-7)
    for name in ("r_inf", "inductance", "residual"):
        assert_same(getattr(result, name), getattr(plain, name), 1e-7)


@pytest.mark.parametrize("lam", [1e-8, 1e-4, 1.0])
def test_upper_bounds_are_those_of_bounded_least_squares(noisy, lam):
    free = invert(noisy, regularisation=lam)
    upper = 0.4 * free.coefficients[0].max()
    result = invert(noisy, regularisation=lam, upper=upper)
    assert result.coefficients.max() <= upper * (1 + 1e-15)
    for row in (0, 3):
        stacked = Stacked(noisy, row, lam=lam)
        bound = np.full(stacked.matrix.shape[1], np.inf)
        bound[stacked.gamma] = upper / stacked.size
        expected = lsq_linear(stacked.matrix, stacked.target, (0, bound), method="bvls", tol=1e-15, max_iter=1000)
        assert expected.success
        x = np.clip(expected.x, 0, bound)
        assert np.count_nonzero(np.isclose(x, bound)) > 1
        tolerance = max(1e-8, 10 * np.linalg.cond(stacked.matrix) * np.finfo(float).eps)
        assert_same(result.coefficients[row], stacked.coefficients(x), tolerance)


def test_each_relaxation_time_can_have_its_own_bound(noisy):
    free = invert(noisy)
    upper = [np.inf if tau < 1e-2 else 0.0 for tau in free.tau]
    result = invert(noisy, upper=upper, tau=free.tau)
    assert not result.coefficients[:, free.tau >= 1e-2].any()
    stacked = Stacked(noisy, 0)
    stacked.matrix[:, np.flatnonzero(free.tau >= 1e-2)] = 0.0
    assert_same(result.coefficients[0], stacked.coefficients(stacked.solve()))


@pytest.mark.parametrize(("l1", "l2"), [(1e-2, 0.0), (0.0, 1e-3), (3e-2, 1e-2)])
@pytest.mark.parametrize("basis", ["gaussian", "piecewise-linear"])
def test_the_elastic_net_is_non_negative_least_squares_with_a_linear_term(noisy, basis, l1, l2):
    result = invert(noisy, basis=basis, l1=l1, l2=l2)
    plain = invert(noisy, basis=basis)
    for row in (0, 5):
        stacked = Stacked(noisy, row, drt.Tikhonov(basis=basis))
        assert_same(result.coefficients[row], stacked.coefficients(stacked.solve(l1 * stacked.areas, l2)))
    assert np.abs(result.gamma - plain.gamma).max() > 1e-3 * plain.gamma.max()


def test_the_l1_price_makes_gamma_sparse(noisy):
    method = {"basis": "piecewise-linear", "regularisation": 1e-9}
    free, priced = invert(noisy, **method), invert(noisy, **method, l1=0.3)
    assert np.all(np.count_nonzero(priced.coefficients, axis=1) < np.count_nonzero(free.coefficients, axis=1))
    assert np.all(priced.r_pol < free.r_pol)


@pytest.mark.parametrize("r_inf", [0.0, 8.0, 11.0])
def test_a_fixed_r_inf_is_subtracted(noisy, r_inf):
    result = invert(noisy, r_inf=r_inf)
    np.testing.assert_allclose(result.r_inf, r_inf, rtol=1e-14)
    for row in (0, 3):
        stacked = Stacked(noisy, row)
        column = stacked.matrix[:, stacked.gamma.size] * stacked.problem.scale[stacked.gamma.size]
        stacked.target = stacked.target - column * r_inf / stacked.size
        stacked.matrix[:, stacked.gamma.size] = 0.0
        assert_same(result.coefficients[row], stacked.coefficients(stacked.solve()))


def with_outliers(spectra):
    z = spectra.impedance.copy()
    z[:, [5, 17, 29]] *= 1.2
    return drt.Spectra(spectra.frequency, z)


def reweighted(stacked, threshold):
    """The Huber problem by least squares with weights min(1, t/|r|), until these stay as they are."""
    weights = np.ones(stacked.data)
    for _ in range(20_000):
        x = stacked.solve(weights=np.sqrt(weights))
        residual = np.abs(stacked.problem.matrix @ x - stacked.b)
        before, weights = weights, np.minimum(1.0, threshold / np.maximum(residual, threshold))
        if np.abs(weights - before).max() < 1e-12:
            break
    return x, residual


@pytest.fixture
def cases(monkeypatch):
    """The problems that are handed to cvxpy."""
    import drt_engine.solvers.cvxpy_convex as module

    seen = []
    real = module.ConvexSolver.__call__
    monkeypatch.setattr(module.ConvexSolver, "__call__", lambda self, case: (seen.append(case), real(self, case))[1])
    return seen


def test_the_huber_loss_is_that_of_reweighted_least_squares(noisy, cases):
    spectra = with_outliers(noisy)[:2]
    result = invert(spectra, loss="huber", threshold=1.5)
    fit = result.impedance_at(spectra.frequency)
    for row in range(2):
        stacked = Stacked(spectra, row)
        threshold = cases[row].threshold
        x, residual = reweighted(stacked, threshold)
        assert 3 < np.count_nonzero(residual > threshold) < 36
        assert_same(result.coefficients[row], stacked.coefficients(x), 1e-9)
        # The threshold is 1.5 deviations of the residuals of that solution, which is reached by iteration.
        rest = (fit[row] - spectra.impedance[row]) / stacked.size
        deviation = 1.4826 * np.median(np.abs(np.concatenate([rest.real, rest.imag])))
        assert threshold == pytest.approx(1.5 * deviation, rel=2e-3)


def test_without_noise_the_huber_loss_is_that_of_squares(cases):
    # Data that the basis fits to rounding, so that the residuals have no deviation to speak of.
    method = {"basis": "piecewise-linear", "tau": np.logspace(-6, 2, 17), "regularisation": 1e-12}
    expansion = drt.Convex(**method).expansion(FREQUENCY)
    triangle = np.maximum(0.0, 20.0 - 6.0 * np.abs(np.arange(17) - 8))
    cell = drt.Spectra(FREQUENCY, 10 + expansion.impedance(FREQUENCY) @ triangle)
    result = invert(cell, loss="huber", **method)
    root_mean_square = np.linalg.norm(cases[0].b) / np.sqrt(cases[0].b.size)
    assert cases[0].threshold == pytest.approx(1e-6 * root_mean_square, rel=1e-12)
    assert_same(result.gamma, invert(cell, **method).gamma)
    assert_same(result.gamma[0], triangle, 1e-4)


@pytest.mark.slow
def test_outliers_hardly_matter_to_the_huber_loss():
    frequency, tau = np.logspace(6, -2, 61), np.logspace(-6.8, 1.2, 801)
    cell = simulate.Resistor(10) + simulate.ZARC(50, 1e-4, 0.85) + simulate.ZARC(20, 0.5, 0.8)
    truth = cell.gamma(tau)

    def error(noise, method):
        z = noise.add(np.tile(cell.impedance(frequency), (6, 1)), 1)
        result = drt.invert(drt.Spectra(frequency, z), method)
        assert result.solved.all()
        return np.median(np.trapezoid(np.abs(result.gamma_at(tau) - truth), np.log(tau))) / 70

    clean, soiled = simulate.ProportionalNoise(0.002), simulate.Outliers(0.05, 0.3)
    squares, huber = error(soiled, drt.Tikhonov()), error(soiled, drt.Convex(loss="huber"))
    least = error(clean, drt.Tikhonov())
    assert huber < 0.6 * squares
    assert huber < 1.15 * least
    assert error(clean, drt.Convex(loss="huber")) < 1.1 * least


def test_r_pol_can_be_fixed(noisy):
    result = invert(noisy, constraints=lambda variables: [variables.r_pol == 80.0])
    np.testing.assert_allclose(result.r_pol, 80.0, rtol=1e-12)
    stacked = Stacked(noisy, 0)
    # Its multiplier is a price of the polarisation resistance, here a negative one.
    sign = np.sign(invert(noisy).r_pol[0] - 80.0)

    def missing(multiplier):
        x = stacked.solve(sign * multiplier * stacked.areas)
        return sign * (80.0 - stacked.size * stacked.areas @ x)

    x = stacked.solve(sign * bisect(missing, 1e-6, 10.0) * stacked.areas)
    assert_same(result.coefficients[0], stacked.coefficients(x), 1e-7)


def test_a_bound_of_the_norm_is_a_ridge(noisy):
    free = invert(noisy)
    bound = 0.8 * np.linalg.norm(free.coefficients[0])
    result = invert(noisy[:1], constraints=lambda variables: [cp.norm(variables.coefficients, 2) <= bound])
    stacked = Stacked(noisy, 0)
    ridge = bisect(lambda l2: bound - np.linalg.norm(stacked.coefficients(stacked.solve(ridge=l2))), 1e-8, 10.0)
    assert_same(result.coefficients[0], stacked.coefficients(stacked.solve(ridge=ridge)), 1e-7)
    assert np.linalg.norm(result.coefficients[0]) == pytest.approx(bound, rel=1e-9)


def rising(variables):
    return [cp.diff(variables.gamma_at(np.logspace(-4, -1, 25))) >= 0]


CONSTRAINTS = {
    "rising": rising,
    "one hump": lambda variables: [
        cp.diff(variables.coefficients[:30]) >= 0,
        cp.diff(variables.coefficients[30:]) <= 0,
    ],
    "direct current": lambda variables: [variables.r_inf + variables.r_pol == 85.0],
    "inductance": lambda variables: [cp.abs(1e7 * variables.inductance - 2) <= 0.01],
    "total variation": lambda variables: [cp.norm1(cp.diff(variables.coefficients)) <= 20.0],
    "curvature": lambda variables: [cp.sum_squares(cp.diff(variables.coefficients, 2)) <= 0.05],
    "logarithm": lambda variables: [cp.sum(cp.log(1 + variables.coefficients[10:30])) >= 25],
    "everything": lambda variables: [
        *rising(variables),
        cp.norm(variables.coefficients, 2) <= 22,
        variables.r_pol == 70,
        cp.sum(cp.log(1 + variables.coefficients[10:30])) >= 20,
    ],
}


@pytest.fixture(
    scope="module", params=[{}, {"loss": "huber", "l1": 1e-3, "upper": 30.0, "r_inf": 9.0}], ids=["", "more"]
)
def unconstrained(noisy, request):
    """Options, and two spectra inverted with them alone."""
    return request.param, invert(noisy[:2], **request.param)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_hold_and_are_certified(noisy, name, unconstrained):
    (options, plain), function = unconstrained, CONSTRAINTS[name]
    result = invert(noisy[:2], constraints=function, **options)
    for row in range(2):
        assert violation(function, result, row) <= 1e-9 * np.abs(result.coefficients[row]).max()
        assert violation(function, plain, row) > 1e-6  # or it would say nothing


def violation(function, result, row):
    """How far the solution is from what the function states, evaluated by cvxpy on plain numbers."""

    class Found:
        coefficients = cp.Constant(result.coefficients[row])
        r_inf = cp.Constant(result.r_inf[row])
        inductance = cp.Constant(result.inductance[row])
        r_pol = cp.Constant(result.r_pol[row])

        def gamma_at(self, tau):
            return cp.Constant(result.gamma_at(tau)[row])

    return max(np.max(constraint.violation()) for constraint in function(Found()))


def test_a_rising_gamma_is_a_sum_of_steps(noisy):
    """With γ = Σ of non-negative steps up to some τ, the constraint is a change of variables."""
    rising_to = 45
    method = {"basis": "piecewise-linear"}
    result = invert(noisy, **method, constraints=lambda variables: [cp.diff(variables.coefficients[:rising_to]) >= 0])
    for row in (0, 3):
        stacked = Stacked(noisy, row, drt.Tikhonov(**method))
        steps = np.eye(stacked.matrix.shape[1])
        steps[:rising_to, :rising_to] = np.tril(np.ones((rising_to, rising_to)))
        stacked.matrix = stacked.matrix @ steps
        x = steps @ stacked.solve()
        assert np.count_nonzero(np.diff(x[:rising_to]) == 0) > 5
        assert_same(result.coefficients[row], stacked.coefficients(x))


@pytest.mark.parametrize("factor", [7e-6, 3e6])
def test_bounds_and_constraints_scale_with_the_data(noisy, factor):
    def options(c):
        return {
            "loss": "huber",
            "l1": 1e-3,
            "l2": 1e-5,
            "upper": 12.0 * c,
            "r_inf": 9.5 * c,
            "regularisation": "gcv",
            "constraints": lambda variables: [variables.r_pol == 75 * c, cp.norm(variables.coefficients) <= 40 * c],
        }

    result = invert(noisy[:2], **options(1.0))
    scaled = invert(drt.Spectra(noisy.frequency, factor * noisy.impedance[:2]), **options(factor))
    assert result.coefficients.max() == pytest.approx(12.0, rel=1e-12)
    assert_same(scaled.gamma, factor * result.gamma, 1e-9)
    np.testing.assert_array_equal(scaled.regularisation, result.regularisation)


def test_contradicting_constraints_have_no_answer(noisy):
    def limits(variables):
        return [variables.r_pol <= 90.0, variables.r_inf + variables.r_pol >= 95.0, variables.r_inf <= 4.0]

    result = drt.invert(noisy[:2], drt.Convex(regularisation=LAM, constraints=limits))
    assert np.all(result.status & drt.Status.NOT_SOLVED)
    assert np.isnan(result.gamma).all()
    assert not np.any(result.optimality <= OPTIMALITY_TOLERANCE)


def test_a_spectrum_beyond_all_numbers_fails_alone(noisy):
    z = noisy.impedance[:3].copy()
    z[1] *= 1e-306
    result = drt.invert(drt.Spectra(noisy.frequency, z), drt.Convex(regularisation=LAM, upper=1e5))
    assert result.solved.tolist() == [True, False, True]
    assert_same(result.gamma[2], invert(noisy[2:3], upper=1e5).gamma[0])


@pytest.mark.slow
def test_threads_and_neighbours_change_no_bit(noisy, monkeypatch):
    import drt_engine.inversion.blocks as module

    method = drt.Convex(loss="huber", constraints=rising)
    z = np.concatenate([noisy.impedance[:4], 1.1 * noisy.impedance[:4]])
    expected = drt.invert(drt.Spectra(noisy.frequency, z), method)
    assert expected.solved.all()
    monkeypatch.setattr(module, "_TILE", 2)
    rows = np.random.default_rng(3).permutation(8)
    for threads in ("1", "3"):
        monkeypatch.setenv("DRT_ENGINE_THREADS", threads)
        result = drt.invert(drt.Spectra(noisy.frequency, z[rows]), method)
        for name in ("gamma", "r_inf", "inductance", "regularisation", "optimality", "status"):
            np.testing.assert_array_equal(getattr(result, name), getattr(expected, name)[rows], err_msg=name)


@pytest.mark.slow
def test_threads_with_problems_of_their_own_share_the_filters_of_warnings(noisy):
    """Each group of points has its statement and its lock; the solver's remarks must not get past any of them."""
    z = noisy.impedance.copy()
    z[np.arange(6), np.arange(6) + 3] = np.nan
    before = list(warnings.filters)
    assert drt.invert(drt.Spectra(noisy.frequency, z), drt.Convex(loss="huber")).solved.all()
    assert list(warnings.filters) == before


def small_case(function=None, threshold=np.inf, **bounds):
    rng = np.random.default_rng(7)
    method = drt.Tikhonov(tau=np.logspace(-4, 0, 9))
    frequency = np.logspace(4, -1, 11)
    cell = simulate.Resistor(10) + simulate.ZARC(50, 1e-2, 0.8)
    z = simulate.ProportionalNoise(0.02).add(cell.impedance(frequency), rng)
    stacked = Stacked(drt.Spectra(frequency, z), 0, method, 1e-3)
    size = stacked.problem.scale.size
    shared = ConvexProblem(
        problem=stacked.problem,
        price=bounds.get("price", np.zeros(size)),
        ridge=bounds.get("ridge", np.zeros(size)),
        lower=np.zeros(size),
        upper=bounds.get("upper", np.full(size, np.inf)),
        cones=cones_of(stacked.problem, function),
    )
    return Case(shared, stacked.b, stacked.size, 1e-3, threshold), stacked


def solved(case, huber=False):
    point = ConvexSolver(case.shared, huber=huber)._statement.solve("CLARABEL", {}, case)
    return descend(case, point)


def certificate_by_hand(case, point):
    """The definition, term by term, in the unknowns x, for linear constraints."""
    shared, problem = case.shared, case.shared.problem
    size = problem.scale.size
    root = np.sqrt(case.regularisation)
    d = [np.linalg.norm(np.r_[problem.matrix[:, j], root * problem.penalty_factor[:, j]]) for j in range(size)]
    d = np.sqrt(np.square(d) + shared.ridge)
    x, w, z = point.y[:size] / d, point.y[size:], point.multiplier
    misfit = problem.matrix @ x - case.b
    pull = np.where(np.abs(misfit) <= case.threshold, misfit, case.threshold * np.sign(misfit))
    gradient = problem.matrix.T @ pull + case.regularisation * problem.penalty @ x + shared.price + shared.ridge * x
    gradient = gradient + shared.cones.matrix.T @ z
    length = np.linalg.norm(case.b)
    force = min(length, case.threshold * np.sqrt(case.b.size))
    worst = np.abs(shared.cones.others.T @ z / force).max(initial=0.0)
    for j in range(size):
        v, h, top = x[j] * d[j] / length, gradient[j] / d[j] / force, shared.upper[j] / case.size * d[j] / length
        worst = max(worst, abs(v - min(max(v - h, 0.0), top)))
        worst = max(worst, abs(h) * (v if h > 0 else (top - v if np.isfinite(top) else abs(v))))
    slack = (shared.cones.right / case.size - shared.cones.matrix @ x - shared.cones.others @ w) / length
    for k, s in enumerate(slack):
        m = z[k] / force
        worst = max(worst, abs(s)) if k < shared.cones.zero else max(worst, abs(min(s, m)), abs(s * m))
    return worst


@pytest.mark.parametrize("huber", [False, True])
def test_the_certificate_is_its_definition_and_sees_every_kind_of_fault(huber):
    upper = np.full(11, np.inf)
    upper[:9] = 15.0
    case, _ = small_case(
        lambda variables: [
            variables.r_pol == 40.0,
            cp.diff(variables.coefficients[:5]) >= 0,
            cp.abs(variables.r_inf - 12) <= 1,
        ],
        0.01 if huber else np.inf,
        price=np.full(11, 1e-3),
        ridge=np.full(11, 1e-4),
        upper=upper,
    )
    point, residual = solved(case, huber)
    assert residual < 1e-12
    assert point.multiplier.size == case.shared.cones.zero + case.shared.cones.nonneg
    # Not every change is a fault: where more constraints meet than needed, multipliers are free within limits.
    violations = 0
    for change in 1e-3 * np.vstack([np.eye(point.y.size), -np.eye(point.y.size)]):
        wrong = point._replace(y=point.y + change)
        violations += case.optimality(wrong) > OPTIMALITY_TOLERANCE
        assert case.optimality(wrong) == pytest.approx(certificate_by_hand(case, wrong), rel=1e-6, abs=1e-14)
    assert violations >= 2 * point.y.size - 2
    for change in 1e-3 * np.vstack([np.eye(point.multiplier.size), -np.eye(point.multiplier.size)]):
        wrong = point._replace(multiplier=point.multiplier + change)
        violations += case.optimality(wrong) > OPTIMALITY_TOLERANCE
        assert case.optimality(wrong) == pytest.approx(certificate_by_hand(case, wrong), rel=1e-6, abs=1e-14)
    assert violations >= 2 * (point.y.size + point.multiplier.size) - 10
    assert np.isnan(case.optimality(point._replace(y=np.full_like(point.y, np.nan))))


def test_the_certificate_sees_curved_constraints():
    def curved(variables):
        return [cp.norm(variables.coefficients, 2) <= 20, cp.sum(cp.log(1 + variables.coefficients)) >= 18]

    case, _ = small_case(curved)
    point, residual = solved(case)
    assert residual < 1e-12
    cones = case.shared.cones
    assert cones.second_order
    assert cones.exponential == 9
    seen = [
        case.optimality(point._replace(multiplier=point.multiplier + 1e-3 * row)) for row in np.eye(len(cones.right))
    ]
    assert min(seen) > OPTIMALITY_TOLERANCE
    loose = dataclasses.replace(case.shared, cones=dataclasses.replace(cones, right=1.01 * cones.right))
    assert dataclasses.replace(case, shared=loose).optimality(point) > 1e-5


@pytest.mark.slow
def test_distances_from_cones():
    rng = np.random.default_rng(1)
    second = Cones(np.zeros((3, 1)), np.zeros((3, 0)), np.zeros(3), second_order=(3,))
    exponential = Cones(np.zeros((3, 1)), np.zeros((3, 0)), np.zeros(3), exponential=1)
    for _ in range(20):
        s = rng.standard_normal(3)
        # The nearest point of a second-order cone, by scipy.
        found = minimize(
            lambda p, s=s: np.sum((p - s) ** 2),
            [3.0, 0.1, 0.1],
            constraints={"type": "ineq", "fun": lambda p: p[0] - np.sqrt(p[1] ** 2 + p[2] ** 2 + 1e-18)},
            options={"ftol": 1e-14, "maxiter": 300},
        )
        assert second.residual(s, np.zeros(3)) == pytest.approx(np.sqrt(found.fun), abs=2e-5)
        # For exponential cones an upper bound: there is a member that far away.
        bound = exponential.residual(s, np.zeros(3))
        raised, flat = s + np.array([0.0, 0.0, bound]), np.array([min(s[0], 0.0), 0.0, max(s[2], 0.0)])
        inside = s[1] > 0 and s[1] * np.exp(s[0] / s[1]) <= raised[2] * (1 + 1e-12)
        assert inside or np.linalg.norm(flat - s) <= bound * (1 + 1e-12)
        assert (bound == 0) == (s[1] > 0 and s[1] * np.exp(s[0] / s[1]) <= s[2])
    # Members of the cone and of its dual have no distance and non-negative products.
    for _ in range(40):
        x, y, u, v = rng.standard_normal(), rng.random() + 0.1, -rng.random() - 0.1, rng.standard_normal()
        s = np.array([x, y, y * np.exp(x / y) * (1 + rng.random())])
        z = np.array([u, v, -u * np.exp(v / u - 1) * (1 + rng.random())])
        assert s @ z >= 0
        assert exponential.residual(s, np.zeros(3)) == 0
        assert exponential.residual(np.array([-1.0, 0.0, 0.0]), z) == pytest.approx(abs(z[0]))
        assert exponential.residual(s, -z) > 0


@pytest.mark.parametrize("kind", ["second_order", "exponential"])
def test_faces_are_the_boundary_with_its_derivatives(kind):
    rows = 4 if kind == "second_order" else 3
    shape = {"second_order": (4,)} if kind == "second_order" else {"exponential": 1}
    cones = Cones(np.zeros((rows, 1)), np.zeros((rows, 0)), np.zeros(rows), **shape)
    s = np.array([1.2, 0.8, -0.5, 0.3])[:rows]
    face = cones.face(s, slice(0, rows))

    def excess(s):
        return np.linalg.norm(s[1:]) - s[0] if kind == "second_order" else s[1] * np.exp(s[0] / s[1]) - s[2]

    assert face.excess == pytest.approx(excess(s), rel=1e-14)
    step = 1e-5 * np.eye(rows)
    slope = [(excess(s + e) - excess(s - e)) / 2e-5 for e in step]
    np.testing.assert_allclose(face.normal, slope, atol=1e-8)
    bend = [
        [(excess(s + e + f) - excess(s + e - f) - excess(s - e + f) + excess(s - e - f)) / 4e-10 for e in step]
        for f in step
    ]
    np.testing.assert_allclose(face.bend.T @ face.bend, bend, atol=1e-4)
    flat = np.array([1.0, 0.0, 0.0, 0.0]) if kind == "second_order" else np.array([-1.0, 0.0, 1.0])
    assert cones.face(flat, slice(0, rows)) is None


REFUSED = {
    "not a list": (lambda variables: variables.r_pol == 1, r"must return a list of cvxpy constraints; got Equality"),
    "no constraint": (lambda variables: [variables.r_pol == 1, True], r"got True at index 1. Compare expressions"),
    "not convex": (
        lambda variables: [cp.norm(variables.coefficients) >= 1],
        r"constraint 0, 1.0 <= .*not convex .*\(DCP\)",
    ),
    "not affine": (
        lambda variables: [cp.square(variables.r_inf) == 4],
        r"constraint 0, .*not convex .*affine == affine",
    ),
    "integer": (
        lambda variables: [variables.r_inf == cp.Variable(integer=True)],
        r"must be convex; got an integer variable",
    ),
    "matrices": (
        lambda variables: [cp.bmat([[variables.r_inf, 1], [1, 1]]) >> 0],
        r"semidefinite matrices .*Formulate it",
    ),
    "no unknown": (
        lambda variables: [variables.elastance <= 1],
        r"ask for elastance, which this model does not have.*inductance\.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_constraints_that_are_not_convex(noisy, name):
    function, message = REFUSED[name]
    with pytest.raises(drt.InputError, match=message):
        drt.invert(noisy, drt.Convex(constraints=function))


def test_no_constraints_are_none(noisy):
    assert_same(invert(noisy, constraints=lambda variables: []).gamma, invert(noisy).gamma)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"loss": "hubert"}, drt.UnknownNameError, r"loss 'hubert' is not known; expected one of 'squares', 'huber'"),
        ({"threshold": 0}, drt.InputError, r"threshold must be a positive number of standard deviations; got 0"),
        ({"threshold": "1"}, drt.InputError, r"threshold must be a positive number"),
        ({"l1": -1}, drt.InputError, r"l1 must be a number from 0; got -1"),
        ({"l2": np.nan}, drt.InputError, r"l2 must be a number from 0; got nan"),
        ({"upper": -1.0}, drt.InputError, r"upper must be a number of ohm or a sequence of them, not negative; got -1"),
        ({"upper": "much"}, drt.InputError, r"upper must be a number"),
        ({"upper": [[1.0]]}, drt.InputError, r"upper must be a number"),
        ({"r_inf": -1.0}, drt.InputError, r"r_inf must be a number of ohm, not negative; got -1"),
        ({"r_inf": 1.0, "part": "im"}, drt.InputError, r"cannot be fixed with part='im'.*Leave it out"),
        ({"constraints": 3}, drt.InputError, r"constraints must be a function, and hashable; got 3"),
        ({"basis": "gauss"}, drt.UnknownNameError, r"basis 'gauss' is not known"),
        ({"order": 2, "basis": "cauchy"}, drt.InputError, r"order 2 does not exist"),
        ({"regularisation": -1}, drt.InputError, r"regularisation must be a positive number"),
        ({"tau": [1.0, 1.0, 2.0]}, drt.InputError, r"must not repeat"),
    ],
)
def test_refuses_unusable_settings(settings, error, message):
    with pytest.raises(error, match=message):
        drt.Convex(**settings)


def test_bounds_have_to_fit_the_relaxation_times(noisy):
    with pytest.raises(drt.InputError, match=r"one for each of the \d+ relaxation times; got 3. Give tau"):
        drt.invert(noisy, drt.Convex(upper=[1.0, 2.0, 3.0]))


def test_methods_survive_their_settings():
    method = drt.Convex(loss="huber", l1=1e-3, upper=[1.0, np.inf, 2.0], tau=[3.0, 1.0, 2.0], r_inf=1.0, shared="cell")
    settings = json.loads(json.dumps(method.settings(), allow_nan=False))
    assert settings["upper"] == [1.0, None, 2.0]
    assert method_from_settings(settings) == method
    assert pickle.loads(pickle.dumps(drt.Convex(constraints=rising))) == drt.Convex(constraints=rising)


def test_a_file_keeps_the_name_of_a_function(noisy, tmp_path):
    method = drt.Convex(regularisation=LAM, constraints=rising)
    drt.write_inversion(tmp_path / "out.h5", drt.invert(noisy, method))
    read = drt.read_inversion(tmp_path / "out.h5")
    assert read.method.constraints == f"{__name__}.rising"
    with pytest.raises(drt.InputError, match=r"is the name .*rising', .*Give it again: dataclasses.replace"):
        drt.invert(noisy, read.method)
    again = dataclasses.replace(read.method, constraints=rising)
    assert again == method


def test_a_function_is_asked_once_for_a_grid(noisy):
    calls = []

    def counted(variables):
        calls.append(variables.expansion.tau.size)
        return [variables.r_pol <= 1e3]

    method = drt.Convex(regularisation=LAM, constraints=counted)
    drt.invert(noisy, method)
    drt.invert(noisy[:2], method)
    assert calls == [noisy_tau_size(noisy)]


def noisy_tau_size(spectra):
    return drt.Convex().expansion(spectra.frequency).tau.size


def test_a_failing_solver_is_no_answer(noisy, monkeypatch):
    def without(self, *args, **options):
        raise cp.SolverError("gave up")

    monkeypatch.setattr(cp.Problem, "solve", without)
    result = drt.invert(noisy, drt.Convex(regularisation=LAM, l1=1e-3))
    assert np.all(result.status == drt.Status.NOT_SOLVED)
    assert np.isnan(result.optimality).all()


def test_a_shared_lambda_does_not_see_outliers_either(noisy):
    soiled = with_outliers(noisy)
    clean = drt.invert(noisy, drt.Tikhonov(shared=True)).regularisation[0]
    misled = drt.invert(soiled, drt.Tikhonov(shared=True)).regularisation[0]
    found = invert(soiled, regularisation="gcv", shared=True, loss="huber").regularisation
    assert np.ptp(found) == 0
    assert abs(np.log10(found[0] / clean)) <= 0.75
    assert abs(np.log10(misled / clean)) > 1.5


@pytest.mark.parametrize("multiplier", [0.0, 1.0])
@pytest.mark.parametrize("huber", [False, True])
@pytest.mark.parametrize("upper", [np.inf, 12.0])
@pytest.mark.parametrize(
    "function", [None, lambda variables: [cp.diff(variables.coefficients[:6]) >= 0]], ids=["", "rising"]
)
def test_answers_are_moved_onto_the_optimum_from_far(function, upper, huber, multiplier):
    """A poor start, no more than feasible, with all constraints taken for equalities or none."""
    bounds = np.full(11, np.inf)
    bounds[:9] = upper
    case, _ = small_case(function, 0.02 if huber else np.inf, upper=bounds)
    expected, _ = solved(case, huber)
    start = case.point(np.full(11, 0.05), np.zeros(0), np.full(len(case.right), multiplier))
    assert case.optimality(start) > 1e-3
    point, residual = descend(case, start)
    assert residual < 1e-12
    assert_same(case.parameters(point), case.parameters(expected), 1e-9)


def test_an_answer_that_is_none_stays_none():
    case, _ = small_case()
    point, residual = descend(case, case.point(np.full(11, np.nan), np.zeros(0), np.zeros(0)))
    assert np.isnan(residual)
    assert np.isnan(point.y).all()
