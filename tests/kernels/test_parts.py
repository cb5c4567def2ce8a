import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import least_squares

from drt_engine.simulate.closed_forms import zarc_impedance
from drt_kernels import deconvolution

OMEGA = 2 * np.pi * np.logspace(5, -2, 36)
X = np.log(OMEGA)
SERIES = np.array([np.r_[np.ones(36), np.zeros(36)], np.r_[np.zeros(36), OMEGA]])
CASES = {
    "zarc": (deconvolution.ZARC, [20.0, np.log(3e-3), 0.83]),
    "ideal": (deconvolution.ZARC, [5.0, np.log(0.2), 0.999]),
    "havriliak-negami": (deconvolution.HAVRILIAK_NEGAMI, [20.0, np.log(3e-3), 0.83, 0.6]),
    "narrow gaussian": (deconvolution.GAUSSIAN, [20.0, np.log(3e-3), np.log(0.06)]),
    "gaussian": (deconvolution.GAUSSIAN, [20.0, np.log(3e-3), np.log(0.9)]),
    "broad gaussian": (deconvolution.GAUSSIAN, [20.0, np.log(3e-3), np.log(2.9)]),
}


def stacked(z):
    return np.concatenate([z.real, z.imag])


def model(theta, kind, data=None, weights=None):
    """Residual and derivatives."""
    jac, res = np.empty((len(theta), 72)), np.empty(72)
    data = np.zeros(72) if data is None else data
    weights = np.ones(72) if weights is None else weights
    cost = deconvolution.evaluate(np.array(theta), (kind, SERIES), (X, data, weights), jac, res)
    assert cost == pytest.approx(res @ res, rel=1e-12)
    return res, jac


def truth(kind, theta):
    r, y = theta[:2]
    if kind == deconvolution.ZARC:
        return zarc_impedance(OMEGA, r, np.exp(y), theta[2])
    if kind == deconvolution.HAVRILIAK_NEGAMI:
        return r / (1 + (1j * OMEGA * np.exp(y)) ** theta[2]) ** theta[3]
    s = np.exp(theta[2])

    def entry(omega, part):
        def integrand(u):
            kernel = 1 / (1 + 1j * omega * np.exp(y + u))
            return np.exp(-0.5 * (u / s) ** 2) / (s * np.sqrt(2 * np.pi)) * getattr(kernel, part)

        return quad(integrand, -8 * s, 8 * s, epsabs=1e-12, limit=300)[0]

    return r * np.array([entry(omega, "real") + 1j * entry(omega, "imag") for omega in OMEGA])


@pytest.mark.parametrize("case", CASES)
def test_impedance_is_the_formula_or_the_integral(case):
    kind, theta = CASES[case]
    res, _ = model([3.0, 1e-6, *theta], kind)
    expected = 3.0 + 1e-6j * OMEGA + truth(kind, theta)
    np.testing.assert_allclose(res, stacked(expected), atol=3e-8 * theta[0])


@pytest.mark.parametrize("case", CASES)
def test_derivatives_are_those_by_finite_differences(case):
    kind, theta = CASES[case]
    theta = [3.0, 1e-6, *theta]
    weights = np.linspace(0.5, 2.0, 72)
    _, jac = model(theta, kind, weights=weights)
    for p, value in enumerate(theta):
        step = 1e-5 * max(abs(value), 1e-6)
        if case == "ideal" and p == 4:
            step = 1e-5
        ends = [
            model(np.where(np.arange(len(theta)) == p, value + h, theta), kind, weights=weights)[0]
            for h in (-step, step)
        ]
        slope = (ends[1] - ends[0]) / (2 * step)
        np.testing.assert_allclose(jac[p], slope, atol=2e-7 * np.abs(slope).max())


def bounds(count):
    low = np.array([0.0, 0.0] + count * [0.0, np.log(1e-7), 0.3])
    return low, np.array([np.inf, np.inf] + count * [np.inf, np.log(1e3), 0.999])


def work(size):
    square, line = np.zeros((size, size)), np.zeros(size)
    return (
        np.zeros((size, 72)), np.zeros(72), square, line, square.copy(), line.copy(), line.copy(),
        np.zeros(size, np.int64),
    )  # fmt: skip


def noisy(parameters, seed, noise=0.003):
    z = 5 + 1e-6j * OMEGA + sum(zarc_impedance(OMEGA, *one) for one in parameters)
    rng = np.random.default_rng(seed)
    z = z * (1 + noise * (rng.standard_normal(36) + 1j * rng.standard_normal(36)))
    return stacked(z), np.tile(1 / np.abs(z), 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("phi", [0.8, 0.998], ids=["inside", "near a bound"])
def test_the_fit_is_that_of_scipy(seed, phi):
    data, weights = noisy([(20, 1e-4, 0.85), (30, 3e-2, phi)], seed)
    start = np.array([1.0, 0.0, 10.0, np.log(3e-5), 0.7, 10.0, np.log(1e-1), 0.7])
    low, high = bounds(2)
    theta = start.copy()
    cost, converged = deconvolution.fit(
        theta, (deconvolution.ZARC, SERIES), (X, data, weights), (low, high), work(8), 100
    )
    slow = least_squares(
        lambda t: model(t, deconvolution.ZARC, data, weights)[0],
        np.clip(start, low + 1e-9, high - 1e-9),
        bounds=(low, high),
        x_scale=[1, 1e-6, 1, 1, 0.1, 1, 1, 0.1],
        xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=2000,
    )  # fmt: skip
    assert converged
    assert cost <= 2 * slow.cost * (1 + 1e-6)
    deconvolution._order(theta, 2, 3)
    deconvolution._order(slow.x, 2, 3)
    np.testing.assert_allclose(theta, slow.x, rtol=1e-3)


def test_exact_data_are_fitted_exactly():
    data, weights = noisy([(20, 1e-4, 0.85), (30, 3e-2, 0.75)], 0, noise=0.0)
    theta = np.array([1.0, 0.0, 10.0, np.log(1e-3), 0.7, 10.0, np.log(1e-1), 0.7])
    _, converged = deconvolution.fit(theta, (deconvolution.ZARC, SERIES), (X, data, weights), bounds(2), work(8), 200)
    assert converged
    np.testing.assert_allclose(theta, [5, 1e-6, 20, np.log(1e-4), 0.85, 30, np.log(3e-2), 0.75], rtol=1e-7)


def test_a_fit_that_is_cut_off_says_so():
    data, weights = noisy([(20, 1e-4, 0.85), (30, 3e-2, 0.75)], 0)
    theta = np.array([1.0, 0.0, 1.0, np.log(1e-6), 0.5, 1.0, np.log(1e1), 0.5])
    assert not deconvolution.fit(theta, (deconvolution.ZARC, SERIES), (X, data, weights), bounds(2), work(8), 2)[1]


def test_correlation_of_residuals_is_that_of_neighbours_within_each_part():
    rng = np.random.default_rng(1)
    white = rng.standard_normal(4000)
    assert deconvolution.correlation(white) < 0.05
    smooth = np.convolve(rng.standard_normal(4001), [1, 1], mode="valid")
    assert deconvolution.correlation(smooth) == pytest.approx(0.5, abs=0.05)
    assert deconvolution.correlation(np.array([1.0, -1.0, 1.0, -1.0])) == 0.0


# A coarser grid for what fits many times; everything below runs uncompiled as well.
FEW = 2 * np.pi * np.logspace(4, -2, 19)
COARSE = np.log(FEW)
TERMS = np.array([np.r_[np.ones(19), np.zeros(19)]])
NEAR = np.exp(-0.5 * ((COARSE[:, None] - COARSE) / (0.5 * np.log(10))) ** 2)
UNIT = {
    deconvolution.ZARC: [1.0, 0.0, 0.85],
    deconvolution.HAVRILIAK_NEGAMI: [1.0, 0.0, 0.85, 1.0],
    deconvolution.GAUSSIAN: [1.0, 0.0, -0.3],
}
RANGE = {
    deconvolution.ZARC: ([0.0, np.log(1e-6), 0.3], [np.inf, np.log(1e3), 0.999]),
    deconvolution.HAVRILIAK_NEGAMI: ([0.0, np.log(1e-6), 0.3, 0.3], [np.inf, np.log(1e3), 0.999, 1.0]),
    deconvolution.GAUSSIAN: ([0.0, np.log(1e-6), np.log(0.05)], [np.inf, np.log(1e3), np.log(3.0)]),
}
PAIR = [(20.0, 1e-3, 0.85), (30.0, 1.0, 0.8)]


def few(elements, noise=0.002, seed=0, rows=1, kind=deconvolution.ZARC):
    """Spectra of 5 ohm and some elements, and their weights."""
    z = np.full(19, 5.0, dtype=complex)
    for r, tau, *shape in elements:
        w = (1j * FEW * tau) ** shape[0]
        z += r / (1 + w) ** (shape[1] if kind == deconvolution.HAVRILIAK_NEGAMI else 1.0)
    rng = np.random.default_rng(seed)
    noisy = z * (1 + noise * (rng.standard_normal((rows, 19)) + 1j * rng.standard_normal((rows, 19))))
    return np.hstack([noisy.real, noisy.imag]), np.tile(1 / np.abs(z), (rows, 2))


def taken_apart(
    data, weights, starts=None, kind=deconvolution.ZARC, wanted=0, most=4, known=False, steps=30, robust=False
):
    """Parameters, deviations, correlations and states as the engine asks for them."""
    each, rows = len(UNIT[kind]), len(data)
    size = 1 + most * each
    start, count = np.zeros((rows, size)), np.zeros(rows, np.int64)
    for k, one in enumerate([[4.0]] * rows if starts is None else starts):
        start[k, : len(one)], count[k] = one, len(one)
    low, high = (np.concatenate([[edge[0]], np.tile(edge, most)]) for edge in RANGE[kind])
    out = np.zeros((rows, size)), np.full((rows, size), np.nan), np.full((rows, most, 2), np.nan), np.zeros((rows, 4))
    deconvolution.deconvolve(
        (COARSE, data, weights, NEAR, np.zeros(data.shape)), (start, count), (kind, TERMS), (low, high),
        np.array(UNIT[kind]), (wanted, steps, most, known), robust, out,
    )  # fmt: skip
    return out


def residuals(theta, data, weights, kind=deconvolution.ZARC):
    z = theta[0] + np.zeros(19, dtype=complex)
    for part in theta[1:].reshape(-1, len(UNIT[kind])):
        w = (1j * FEW * np.exp(part[1])) ** part[2]
        z = z + part[0] / (1 + w) ** (part[3] if kind == deconvolution.HAVRILIAK_NEGAMI else 1.0)
    return (np.concatenate([z.real, z.imag]) - data) * weights


def by_scipy(start, data, weights, kind=deconvolution.ZARC):
    """The least sum of squares, without bounds."""
    return least_squares(
        residuals, start, x_scale=np.maximum(np.abs(start), 0.1), args=(data, weights, kind),
        method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15,
    )  # fmt: skip


@pytest.mark.parametrize("wanted", [0, 7], ids=["by the criterion", "as told"])
@pytest.mark.parametrize("begin", ["nothing", "one", "three"])
def test_two_parts_are_found_from_nothing_too_few_or_too_many(begin, wanted):
    data, weights = few(PAIR)
    starts = {
        "nothing": None,
        "one": [[4.0, 40.0, np.log(0.05), 0.7]],
        "three": [[4.0, 20.0, np.log(1e-3), 0.8, 2.0, np.log(0.03), 0.8, 30.0, np.log(2.0), 0.8]],
    }[begin]
    theta, _, _, state = taken_apart(data, weights, starts, wanted=wanted)
    assert (state[0, 0], state[0, 3]) == (7, 1)
    truth = np.array([5.0, 20.0, np.log(1e-3), 0.85, 30.0, 0.0, 0.8])
    best = by_scipy(truth, data[0], weights[0])
    assert state[0, 1] == pytest.approx(2 * best.cost, rel=1e-6)
    np.testing.assert_allclose(theta[0, :7], best.x, rtol=1e-3, atol=1e-3)
    assert not theta[0, 7:].any()


def test_the_number_is_that_of_the_least_criterion():
    data, weights = few(PAIR, noise=0.01)
    theta, _, _, state = taken_apart(data, weights)
    assert state[0, 0] == 7
    # Residuals of the right model are not correlated, so each datum counts in Schwarz's criterion.
    assert state[0, 2] == pytest.approx(
        deconvolution.correlation(residuals(theta[0, :7], data[0], weights[0])), abs=1e-6
    )
    one = taken_apart(data, weights, wanted=4)[3][0]
    three = taken_apart(data, weights, wanted=10)[3][0]
    criterion = {size: 38 * np.log(one_state[1]) + size * np.log(38)
                 for size, one_state in ((4, one), (7, state[0]), (10, three))}  # fmt: skip
    assert min(criterion, key=criterion.get) == 7
    assert one[1] > state[0, 1] > three[1]


def test_noise_of_known_size_decides_by_the_sum_of_squares():
    data, weights = few([PAIR[0], (0.25, 1.0, 0.8)], noise=0.01)
    sure = taken_apart(data, weights / 0.002, known=True)[3]
    unsure = taken_apart(data, weights / 0.02, known=True)[3]
    assert sure[0, 0] > unsure[0, 0] == 4


def test_deviations_of_known_noise_are_those_of_the_inverse_of_the_normal_matrix():
    data, weights = few(PAIR, noise=0.002)
    theta, deviation, together, state = taken_apart(data, weights / 0.01, known=True)
    best = by_scipy(theta[0, :7], data[0], weights[0] / 0.01)
    covariance = np.linalg.inv(best.jac.T @ best.jac)
    assert state[0, 1] < 38 - 7
    np.testing.assert_allclose(deviation[0, :7], np.sqrt(np.diag(covariance)), rtol=1e-3)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(together[0, 0], [(covariance / scale)[1, 4], (covariance / scale)[1, 2]], atol=2e-3)
    assert np.isnan(together[0, 1, 0])
    assert together[0, 1, 1] == pytest.approx((covariance / scale)[4, 5], abs=2e-3)
    assert np.isnan(deviation[0, 7:]).all()


def test_deviations_of_unknown_noise_are_white_s_with_squares_averaged_over_neighbours():
    data, weights = few(PAIR, noise=0.005, seed=3)
    theta, deviation, _, state = taken_apart(data, weights)
    best = by_scipy(theta[0, :7], data[0], weights[0])
    response = np.linalg.inv(best.jac.T @ best.jac) @ best.jac.T
    squares = best.fun[:19] ** 2 + best.fun[19:] ** 2
    rho = state[0, 2]
    local = 0.5 * (NEAR @ squares) / NEAR.sum(axis=1) * 38 / (38 - 7) * (1 + rho) / (1 - rho)
    expected = np.sqrt(np.sum(response**2 * np.tile(local, 2), axis=1))
    np.testing.assert_allclose(deviation[0, :7], expected, rtol=2e-3)


def test_a_parameter_at_its_bound_has_no_deviation_and_the_others_are_known_better():
    data, weights = few([(20.0, 0.05, 1.0)])
    theta, deviation, _, _ = taken_apart(data, weights)
    assert theta[0, 3] == 0.999
    assert np.isnan(deviation[0, 3])
    assert (deviation[0, :3] > 0).all()


def test_each_spectrum_of_a_chain_begins_also_where_the_one_before_ended():
    data, weights = few(PAIR, rows=3)
    chain = taken_apart(data, weights, most=2, wanted=-1, starts=[[5.0, 15.0, np.log(3e-3), 0.8, 20.0, 0.5, 0.8]])
    assert list(chain[3][:, 0]) == [7, 7, 7]
    for k in range(3):
        best = by_scipy(chain[0][k, :7], data[k], weights[k])
        assert chain[3][k, 1] == pytest.approx(2 * best.cost, rel=1e-6)
    alone = taken_apart(data, weights, most=2, wanted=-1)
    assert list(alone[3][:, 0]) == [1, 1, 1]


def test_data_without_weight_change_nothing():
    data, weights = few(PAIR)
    weights[0, [4, 23]] = 0.0
    other = data.copy()
    other[0, [4, 23]] = 1e3
    for one, two in zip(taken_apart(data, weights), taken_apart(other, weights), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9)


@pytest.mark.parametrize(
    "kind", [deconvolution.HAVRILIAK_NEGAMI, deconvolution.GAUSSIAN], ids=["havriliak-negami", "gaussian"]
)
def test_other_forms_are_found_too(kind):
    if kind == deconvolution.HAVRILIAK_NEGAMI:
        data, weights = few([(20.0, 0.05, 0.9, 0.6)], kind=kind)
        theta, _, _, state = taken_apart(data, weights, kind=kind, most=1)
        best = by_scipy(np.array([5.0, 20.0, np.log(0.05), 0.9, 0.6]), data[0], weights[0], kind)
        assert state[0, 1] == pytest.approx(2 * best.cost, rel=1e-5)
        np.testing.assert_allclose(theta[0], best.x, rtol=1e-2)
        return
    u, z = np.linspace(-12, 12, 2401), 5.0
    for r, tau, s in ((20, 1e-3, 0.8), (30, 1.0, 1.2)):
        density = r * np.exp(-0.5 * (u / s) ** 2) / (s * np.sqrt(2 * np.pi))
        z = z + np.trapezoid(density / (1 + 1j * np.outer(FEW * tau, np.exp(u))), u)
    theta, _, _, state = taken_apart(stacked(z)[None], np.tile(1 / np.abs(z), 2)[None], kind=kind, most=3)
    assert state[0, 0] == 7
    np.testing.assert_allclose(theta[0, [1, 4]], [20, 30], rtol=1e-4)
    np.testing.assert_allclose(np.exp(theta[0, [2, 3, 5, 6]]), [1e-3, 0.8, 1.0, 1.2], rtol=1e-3)


@pytest.mark.parametrize("kind", RANGE)
def test_where_a_part_is_lacking_is_where_one_more_helps_most(kind):
    each = len(UNIT[kind])
    missing = [8.0, np.log(1e-2), *UNIT[kind][2:]]
    model_of, data_of = (kind, TERMS), (COARSE, np.zeros(38), np.linspace(0.5, 1.5, 38))
    jac, res = np.zeros((1 + each, 38)), np.zeros(38)
    deconvolution.evaluate(np.array([5.0, *missing]), model_of, data_of, jac, res)
    before = np.array([5.0])
    response = np.zeros((1, 38))
    response[0] = jac[0] / (jac[0] @ jac[0])
    work_of = (jac,) + (np.zeros(0),) * 7
    part = res - 5.0 * jac[0]
    best = (before, np.zeros(5), -part + jac[0] * (response[0] @ part))
    r, y = deconvolution._lacking(1, best, model_of, data_of, np.array(UNIT[kind]), response, work_of)
    spacing = (COARSE[0] - COARSE[-1]) / 31
    assert abs(y - missing[1]) <= spacing / 2 + 1e-9
    assert r == pytest.approx(8.0, rel=0.05)


@pytest.mark.parametrize("kind", [deconvolution.ZARC, deconvolution.GAUSSIAN])
def test_the_broadest_of_the_large_parts_is_cut_in_two_of_the_same_sum(kind):
    shapes = ([0.9], [0.7]) if kind == deconvolution.ZARC else ([-0.5], [0.3])
    theta = np.array([5.0, 10.0, -3.0, *shapes[0], 12.0, 2.0, *shapes[1]])
    out = np.zeros(10)
    deconvolution._halved(theta, 1, kind, out)
    np.testing.assert_array_equal(out[:4], theta[:4])
    assert out[4] == out[7] == 6.0
    assert (out[5] + out[8]) / 2 == pytest.approx(2.0)
    assert out[5] < 2.0 < out[8]
    assert out[6] == out[9]
    narrower = out[6] > shapes[1][0] if kind == deconvolution.ZARC else out[6] < shapes[1][0]
    assert narrower


def test_a_matrix_without_a_factor_is_refused_and_damping_gives_it_one():
    normal, factor = np.ones((2, 2)), np.zeros((2, 2))
    both = np.arange(2)
    assert not deconvolution._cholesky(normal, both, 0.0, factor)
    assert deconvolution._cholesky(normal, both, 0.1, factor)
    column = np.array([1.0, 2.0])
    deconvolution._back_solve(factor, 2, column)
    np.testing.assert_allclose(column, np.linalg.solve([[1.1, 1.0], [1.0, 1.1]], [1.0, 2.0]))


def test_responses_are_the_pseudoinverse_also_where_parameters_say_the_same():
    rng = np.random.default_rng(0)
    jac = rng.standard_normal((3, 20))
    jac[2] = jac[1]
    work_of = (jac, None, jac @ jac.T, None, np.zeros((3, 3)), np.zeros(3), None, np.zeros(3, np.int64))
    out = np.ones((3, 20))
    theta, bounds_of = np.array([0.5, 0.5, 0.5]), (np.zeros(3), np.ones(3))
    free = deconvolution._responses(3, theta, bounds_of, tuple(np.zeros(1) if a is None else a for a in work_of), out)
    assert free == 3
    np.testing.assert_allclose(out, np.linalg.pinv(jac.T), atol=1e-4)


def test_parts_without_resistance_are_left_out():
    theta = np.array([5.0, 0.0, -3.0, 0.8, 7.0, -2.0, 0.7, 0.0, 1.0, 0.6, 2.0, 3.0, 0.5])
    assert deconvolution._occupied(theta, 13, 1, 3) == 7
    np.testing.assert_array_equal(theta[:7], [5.0, 7.0, -2.0, 0.7, 2.0, 3.0, 0.5])
    assert deconvolution._occupied(theta, 1, 1, 3) == 1


def test_a_part_that_the_data_want_to_be_negative_is_none_and_the_others_are_as_without_it():
    data, weights = few([(20.0, 1e-2, 0.8)], noise=0.0)
    # Inductive at low frequencies: one process more would have a resistance below zero.
    w = 1j * FEW * 5.0
    data -= stacked(1.0 / (1 + w))
    weights[:] = 1 / np.tile(np.abs(data[0, :19] + 1j * data[0, 19:]), 2)
    start = [[5.0, 20.0, np.log(1e-2), 0.8, 1.0, np.log(5.0), 0.9]]
    theta, deviation, together, state = taken_apart(data, weights, start, wanted=7, most=2)
    alone = taken_apart(data, weights, [start[0][:4]], wanted=4, most=2)
    assert state[0, 0] == 4
    assert (deviation[0, 1:4] > 0).all()
    assert not theta[0, 4:].any()
    assert np.isnan(deviation[0, 4:]).all()
    assert np.isnan(together[0, 0, 0])
    np.testing.assert_allclose(theta, alone[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(deviation[0, 1:4], alone[1][0, 1:4], rtol=1e-3)


def test_students_weights_are_those_of_the_most_likely_scale():
    rng = np.random.default_rng(2)
    res = rng.standard_normal(400)
    res[[10, 210]] = 300.0
    share = np.ones(200)
    moved, other = deconvolution._student(res, np.ones(400), 400.0, 0.0, False, share)
    assert moved > 0.9
    assert other
    square = res[:200] ** 2 + res[200:] ** 2
    scale = np.median(6.0 / share - 4.0) ** -1 * np.median(square)
    np.testing.assert_allclose(share, 6 / (4 + square / scale), rtol=1e-4)
    assert np.sum(share * square) / scale == pytest.approx(400, rel=1e-4)
    assert share[10] < 1e-3
    # From weighted residuals the same come out again, and nothing moves.
    again = share.copy()
    moved, other = deconvolution._student(res * np.sqrt(np.tile(share, 2)), np.ones(400), 400.0, 0.0, False, again)
    assert moved < 1e-3
    assert not other
    np.testing.assert_allclose(again, share, rtol=1e-3)


def test_weights_of_known_noise_are_one_up_to_four_deviations_and_those_of_nothing_stay():
    res = np.array([0.0, 2.0, 3.9, 12.0, 0.0, 0.0, 0.0, 16.0])
    share = np.ones(4)
    deconvolution._student(res, np.ones(8), 8.0, 0.0, True, share)
    np.testing.assert_allclose(share, [1, 1, 1, 20 / 404])
    share[:] = 1.0
    assert deconvolution._student(np.zeros(8), np.ones(8), 8.0, 0.0, False, share) == (0.0, False)
    assert (share == 1).all()


def test_an_outlier_is_left_out_of_the_fit_and_of_the_number_of_parts():
    data, weights = few(PAIR, noise=0.002, rows=2)
    data[1] = data[0]
    data[1, [7, 26]] *= 2
    theta, deviation, _, state = taken_apart(data, weights, robust=True)
    assert list(state[:, 0]) == [7, 7]
    assert np.abs(theta[1, [1, 4]] - theta[0, [1, 4]]).max() < 0.5 * deviation[0, [1, 4]].max()
    plain = taken_apart(data, weights, wanted=7)[0]
    assert np.abs(plain[1, [1, 4]] - plain[0, [1, 4]]).max() > 5 * deviation[0, [1, 4]].max()


def test_two_asymmetric_parts_are_joined_to_one_of_their_sum():
    theta = np.array([5.0, 10.0, -3.0, 0.8, 1.0, 30.0, 1.0, 0.9, 0.7, 2.0, 4.0, 0.6, 0.5])
    out = np.zeros(9)
    deconvolution._joined(theta, 1, False, out)
    np.testing.assert_allclose(out, [5, 40, 1, 0.9, 0.6, 2, 4, 0.6, 0.5])
    deconvolution._joined(theta, 1, True, out)
    np.testing.assert_allclose(out, [5, 40, 0, 0.8, 1, 2, 4, 0.6, 0.5])


def test_parameters_are_no_more_than_data_and_half_as_many_where_they_are_chosen():
    assert deconvolution._allowed((0, 30, 8, False), 2, 3, 10.0) == (0, 30, 1, False)
    assert deconvolution._allowed((-1, 30, 8, True), 2, 3, 142.0) == (-1, 30, 8, True)
    assert deconvolution._allowed((2 + 18, 30, 6, False), 2, 3, 10.0) == (8, 30, 2, False)
    assert deconvolution._allowed((4, 30, 1, False), 3, 4, 3.0) == (3, 30, 0, False)
