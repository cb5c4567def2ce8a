"""Each criterion against its dense formula, without any factorisation that it shares."""

import mpmath
import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.optimize import nnls

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.model.gsvd import factorise
from drt_engine.regularisation import GRID, Observed, criterion_for

from .conftest import zarc
from .small_problems import CASES, FREQUENCY, observed_of, one_thread, over_cases, problem_of, scores_of, spectra_of

__all__ = ["one_thread"]


def influence_by_hand(problem, lam):
    """A (AᵀA + λM)⁻¹ Aᵀ from the least-squares problem that it stands for, column by column."""
    stacked = np.vstack([problem.matrix, np.sqrt(lam) * problem.penalty_factor])
    n = len(problem.matrix)
    unit = np.vstack([np.eye(n), np.zeros((len(problem.penalty_factor), n))])
    return problem.matrix @ np.linalg.lstsq(stacked, unit)[0]


def gcv_by_hand(problem, b, lam, noise_square=None):
    n = len(problem.matrix)
    rest = np.eye(n) - influence_by_hand(problem, lam)
    return n * np.sum((rest @ b) ** 2) / np.trace(rest) ** 2


def mgcv_by_hand(problem, b, lam, noise_square=None):
    n = len(problem.matrix)
    influence = influence_by_hand(problem, lam)
    trace = np.trace(np.eye(n) - (1.3 if n < 50 else 2) * influence)
    return n * np.sum((b - influence @ b) ** 2) / trace**2 if trace > 0 else np.inf


def rgcv_by_hand(problem, b, lam, noise_square=None):
    n = len(problem.matrix)
    influence = influence_by_hand(problem, lam)
    xi = 0.2 if n < 100 else 0.3
    return (xi + (1 - xi) * np.trace(influence.T @ influence) / n) * gcv_by_hand(problem, b, lam)


def discrepancy_by_hand(problem, b, lam, noise_square):
    return np.log(np.sum((b - influence_by_hand(problem, lam) @ b) ** 2) / noise_square) ** 2


def evidence_by_hand(problem, b, lam, noise_square=None):
    """−2 ln of the restricted Gaussian likelihood, σ² at its best; covariance σ²(I + A M⁺ Aᵀ/λ) beside flat columns."""
    a, factor = problem.matrix[:, : problem.penalised], problem.penalty_factor[:, : problem.penalised]
    flat = np.hstack([problem.matrix[:, problem.penalised :], a @ null_space(factor)])
    beside = null_space(flat.T) if flat.shape[1] else np.eye(len(b))
    spread = beside.T @ a @ np.linalg.pinv(factor)
    covariance = np.eye(beside.shape[1]) + spread @ spread.T / lam
    data = beside.T @ b
    stacked = np.vstack([spread, np.sqrt(lam) * np.eye(spread.shape[1])])
    padded = np.concatenate([data, np.zeros(spread.shape[1])])
    misfit = np.sum((padded - stacked @ np.linalg.lstsq(stacked, padded)[0]) ** 2)
    return data.size * np.log(misfit / data.size) + np.linalg.slogdet(covariance)[1]


BY_HAND = {
    "gcv": gcv_by_hand,
    "mgcv": mgcv_by_hand,
    "rgcv": rgcv_by_hand,
    "discrepancy": discrepancy_by_hand,
    "evidence": evidence_by_hand,
}


@over_cases
@pytest.mark.parametrize("name", BY_HAND)
def test_equals_the_dense_formula(name, case):
    problem = problem_of(**case)
    observed = observed_of(problem, spectra_of())
    scores = scores_of(name, problem, observed)
    # In double precision the dense formulas lose their digits for a small λ: with more unknowns than data tr(I − K)
    # drowns in rounding, and det(I + A M⁺ Aᵀ/λ) does before. Fifty digits are for there, below.
    smallest = {"evidence": 1e-6}.get(name, 1e-8 if "tau" in case else GRID[0])
    for k in range(len(scores)):
        exact = np.flatnonzero(smallest <= GRID)[k::3]
        expected = [BY_HAND[name](problem, observed.b[k], GRID[g], observed.noise_square[k]) for g in exact]
        np.testing.assert_allclose(scores[k, exact], expected, rtol=1e-6)


def normal_equations(problem):
    """A, AᵀA and the matrix of the penalty M in as many digits as mpmath works with."""
    a, factor = mpmath.matrix(problem.matrix), mpmath.matrix(problem.penalty_factor)
    return a, a.T * a, factor.T * factor


def unexplained(problem, lam):
    """I − K in as many digits as mpmath works with."""
    a, square, m = normal_equations(problem)
    return mpmath.eye(a.rows) - a * mpmath.inverse(square + lam * m) * a.T


def curvature_by_differences(problem, b, lam):
    """Curvature of (ln |Ax − b|², ln xᵀMx) by finite differences in ln λ, which with fifty digits are exact enough."""
    a, square, m = normal_equations(problem)
    b, step = mpmath.matrix(b), mpmath.mpf(10) ** -12
    points = []
    for offset in (-step, 0, step):
        x = mpmath.lu_solve(square + mpmath.mpf(lam) * mpmath.exp(offset) * m, a.T * b)
        points.append((mpmath.log(mpmath.norm(b - a * x) ** 2), mpmath.log((x.T * m * x)[0])))
    (p0, e0), (p1, e1), (p2, e2) = points
    p, e = (p2 - p0) / (2 * step), (e2 - e0) / (2 * step)
    return (p * (e0 - 2 * e1 + e2) - e * (p0 - 2 * p1 + p2)) / step**2 / (p**2 + e**2) ** mpmath.mpf(1.5)


@pytest.mark.slow
@pytest.mark.parametrize("case", [name for name in CASES if name not in ("many", "many-im")])
def test_the_l_curve_has_the_curvature_of_finite_differences_in_fifty_digits(case):
    problem = problem_of(**CASES[case])
    observed = observed_of(problem, spectra_of())
    scores = scores_of("l-curve", problem, observed)
    # A small λ in every other case and a large one in the rest.
    g = 30 if "tau" in CASES[case] else (16, 38)[list(CASES).index(case) % 2]
    with mpmath.workdps(50):
        expected = float(curvature_by_differences(problem, observed.b[1], GRID[g]))
    assert scores[1, g] == pytest.approx(-expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["default", "many-re"])
def test_equals_the_dense_formula_in_fifty_digits(case):
    problem = problem_of(**CASES[case])
    observed = observed_of(problem, spectra_of(rows=1))
    scores = {name: scores_of(name, problem, observed)[0] for name in ("gcv", "evidence", "l-curve")}
    free = len(problem.series_elements)
    n = len(problem.matrix)
    for g in (0, 24) if case == "default" else (0,):
        with mpmath.workdps(50):
            data = mpmath.matrix(observed.b[0])
            rest = unexplained(problem, mpmath.mpf(GRID[g]))
            gcv = n * mpmath.norm(rest * data) ** 2 / sum(rest[i, i] for i in range(n)) ** 2
            # I − K is zero in the directions of R_inf and L; filled up with ones there, its determinant is that of
            # the others.
            q = mpmath.qr(mpmath.matrix(problem.matrix[:, problem.penalised :]))[0][:, :free]
            determinant = mpmath.det(rest + q * q.T)
            evidence = (n - free) * mpmath.log((data.T * rest * data)[0] / (n - free)) - mpmath.log(determinant)
            curvature = curvature_by_differences(problem, data, GRID[g]) if case == "default" else None
        assert scores["gcv"][g] == pytest.approx(float(gcv), rel=1e-6)
        assert scores["evidence"][g] == pytest.approx(float(evidence), rel=1e-6)
        if curvature is not None:
            assert scores["l-curve"][g] == pytest.approx(-float(curvature), rel=1e-6)


def non_negative(matrix, data):
    return nnls(matrix, data, maxiter=10_000)[0]


def fitted_by_hand(columns, factor, data, lam):
    """Non-negative coefficients of γ, and of the unpenalised columns that follow them."""
    beside = np.zeros((len(factor), columns.shape[1] - factor.shape[1]))
    stacked = np.vstack([columns, np.sqrt(lam) * np.hstack([factor, beside])])
    return non_negative(stacked, np.concatenate([data, np.zeros(len(factor))]))


def columns_by_hand(problem):
    """A_re with the column of R_inf, and A_im with those of L and 1/C, as far as the model has them."""
    omega = 2 * np.pi * problem.discretisation.frequency
    shown = {"r_inf": np.ones_like(omega), "inductance": omega / omega.max(), "elastance": -omega.min() / omega}
    model = problem.series_elements + problem.unseen
    a = problem.discretisation.impedance
    reactance = [shown[name] for name in ("inductance", "elastance") if name in model]
    return (a.real, shown["r_inf"][:, None]), (a.imag, np.reshape(reactance, (-1, omega.size)).T)


def re_im_by_hand(problem, z, lam):
    """‖b_re − R − A_re x_im‖² + ‖b_im − ωL + 1/ωC − A_im x_re‖², every fit by scipy."""
    size = max(np.abs(z.real).max(), np.abs(z.imag).max())
    data = (z.real / size, z.imag / size)
    parts = columns_by_hand(problem)
    factor = problem.discretisation.roughness_factor
    score = 0.0
    for this in (0, 1):
        (a, own), (other_a, other_own) = parts[this], parts[1 - this]
        x = fitted_by_hand(np.hstack([a, own]), factor, data[this], lam)[: a.shape[1]]
        rest = data[1 - this] - other_a @ x
        if other_own.shape[1]:
            rest = rest - other_own @ non_negative(other_own, rest)
        score += rest @ rest
    return score


def k_fold_by_hand(problem, z, lam):
    """Mean squared error of what five interleaved folds of frequencies leave out, every fit by scipy."""
    size = max(np.abs(z.real).max(), np.abs(z.imag).max())
    (a_re, r), (a_im, l_c) = columns_by_hand(problem)
    blank = np.zeros((len(r), l_c.shape[1])), np.zeros((len(l_c), r.shape[1]))
    rows = {
        "complex": lambda f: (
            np.vstack([np.hstack([a_re, r, blank[0]])[f], np.hstack([a_im, blank[1], l_c])[f]]),
            np.concatenate([z.real[f], z.imag[f]]) / size,
        ),
        "re": lambda f: (np.hstack([a_re, r])[f], z.real[f] / size),
        "im": lambda f: (np.hstack([a_im, l_c])[f], z.imag[f] / size),
    }[problem.part]
    squares, count = 0.0, 0
    for fold in range(5):
        held_out = np.arange(z.size) % 5 == fold
        matrix, data = rows(~held_out)
        x = fitted_by_hand(matrix, problem.discretisation.roughness_factor, data, lam)
        matrix, data = rows(held_out)
        squares += np.sum((data - matrix @ x) ** 2)
        count += data.size
    return squares / count


HELD_OUT = {"re-im": re_im_by_hand, "k-fold": k_fold_by_hand}


@pytest.mark.parametrize(
    ("name", "case"),
    [("k-fold", case) for case in CASES] + [("re-im", case) for case in CASES if "part" not in CASES[case]],
)
def test_prediction_of_what_was_left_out_equals_fits_by_scipy(name, case):
    problem = problem_of(**CASES[case])
    z = spectra_of()
    scores = scores_of(name, problem, observed_of(problem, z))
    for k, g in ((0, 0), (0, 20), (1, 28), (1, 36), (2, 44), (2, 56)):
        assert scores[k, g] == pytest.approx(HELD_OUT[name](problem, z[k], GRID[g]), rel=1e-6)


@pytest.mark.parametrize("unlike", ["inductive", "no-arc"])
def test_re_im_fits_what_a_part_does_not_show_without_negative_values(unlike):
    problem = problem_of(capacitance=True)
    omega = 2 * np.pi * FREQUENCY
    z = {
        "inductive": 5 + zarc(FREQUENCY, 20, 1e-2, 0.9) - 1e-6j * omega + 3j / omega,
        "no-arc": -1 + zarc(FREQUENCY, 20, 1e-2, 0.9) - 30j / omega,
    }[unlike][None]
    scores = scores_of("re-im", problem, observed_of(problem, z))
    for g in (20, 36, 48):
        assert scores[0, g] == pytest.approx(re_im_by_hand(problem, z[0], GRID[g]), rel=1e-6)


def test_re_im_needs_both_parts():
    with pytest.raises(InputError, match=r"re-im.*needs both parts.*got part 'im'"):
        criterion_for("re-im", factorise(problem_of(part="im")))
    with pytest.raises(InputError, match=r"needs part='complex'; got part='re'. Choose another"):
        drt.Tikhonov(part="re", regularisation="re-im")


LONG = np.logspace(5, -2, 61)


@pytest.mark.parametrize(("name", "points"), [("mgcv", 61), ("mgcv", 30), ("mgcv", 24), ("rgcv", 61), ("rgcv", 30)])
def test_the_factors_of_robust_and_modified_cross_validation_follow_the_number_of_data(name, points):
    frequency = LONG[:points]
    problem = problem_of(tau=np.logspace(-7, 2, 60), frequency=frequency)
    observed = observed_of(problem, spectra_of(rows=1, frequency=frequency))
    scores = scores_of(name, problem, observed)[0]
    for g in range(20, 57, 9):
        assert scores[g] == pytest.approx(BY_HAND[name](problem, observed.b[0], GRID[g]), rel=1e-6)


def test_what_leaves_no_freedom_is_not_chosen_by_modified_cross_validation():
    problem = problem_of(tau=np.logspace(-6, 2, 60))
    scores = scores_of("mgcv", problem, observed_of(problem, spectra_of()))
    influence = np.array([np.trace(influence_by_hand(problem, lam)) for lam in GRID[16:]])
    impossible = 1.3 * influence >= len(problem.matrix)
    assert 0 < np.count_nonzero(impossible) < impossible.size
    assert np.array_equal(np.isinf(scores[:, 16:]), np.tile(impossible, (3, 1)))


def test_the_l_curve_turns_at_its_corner():
    # Bodily an L: of (ln |Ax − b|², ln xᵀMx), scaled to a square, the corner is the point nearest to the lower left.
    frequency = np.logspace(5, -2, 41)
    problem = problem_of(tau=np.logspace(-7, 2, 40), frequency=frequency)
    b = problem.data(spectra_of(0.005, 1, frequency))[0][0]
    curve = []
    for lam in GRID:
        stacked = np.vstack([problem.matrix, np.sqrt(lam) * problem.penalty_factor])
        x = np.linalg.lstsq(stacked, np.concatenate([b, np.zeros(len(problem.penalty_factor))]))[0]
        roughness = np.sum((problem.penalty_factor @ x) ** 2)
        curve.append((np.log(np.sum((problem.matrix @ x - b) ** 2)), np.log(roughness)))
    p, e = np.array(curve).T
    inside = (GRID >= 1e-8) & (GRID <= 1e1)
    p, e = p[inside], e[inside]
    nearest = np.hypot((p - p.min()) / np.ptp(p), (e - e.min()) / np.ptp(e)).argmin()
    chosen = scores_of("l-curve", problem, Observed(b[None]))[0].argmin()
    assert abs(chosen - np.flatnonzero(inside)[nearest]) <= 4
