import dataclasses

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import drt_engine as drt
from drt_engine.errors import UnknownNameError
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian
from drt_engine.result_fields import INTERVAL_UNITS
from drt_engine.threads import single_threaded_blas
from drt_engine.uncertainty.base import HasPosterior

from .conftest import zarc

Status = drt.Status
METHODS = {
    "log-gaussian": drt.LogGaussian(),
    "log-gaussian, proportional": drt.LogGaussian(noise="proportional", capacitance=True),
    "log-gaussian, normal": drt.LogGaussian(robust=False, regularisation=0.5, inductance=False),
    "log-gaussian, tail": drt.LogGaussian(tail="cpe"),
    "log-gaussian, diffusion": drt.LogGaussian(kernel="transmissive-planar"),
    "log-gaussian, spheres": drt.LogGaussian(kernel="transmissive-spherical"),
    "log-gaussian, blocking": drt.LogGaussian(kernel="blocking-planar"),
    "log-gaussian, any tail": drt.LogGaussian(tail="auto"),
    "log-gaussian, signs": drt.LogGaussian(sign="both", representation="auto"),
    "blocking": drt.Tikhonov(kernel="blocking-spherical", regularisation=1e-3),
    "default": drt.Tikhonov(),
    "fixed": drt.Tikhonov(regularisation=1e-3),
    "re": drt.Tikhonov(part="re"),
    "im": drt.Tikhonov(part="im", capacitance=True),
    "piecewise": drt.Tikhonov(basis="piecewise-linear", order=2),
    "modulus": drt.Tikhonov(weighting="modulus", regularisation=1e-3),
    "iterated": drt.Tikhonov(weighting="iterated", regularisation=1e-2, basis="piecewise-linear"),
    "deviations": drt.Tikhonov(weighting=((1.0, 0.2), (1e5, 0.1))),
    "custom tau": drt.Tikhonov(tau=tuple(np.logspace(-6, 2, 30) * np.linspace(1, 2, 30))),
    "huber": drt.Convex(loss="huber"),
    "elastic net": drt.Convex(regularisation=1e-3, l1=1e-3, l2=1e-4),
}
RESULTS = ("gamma", "coefficients", "r_inf", "inductance", "capacitance", "r_pol", "regularisation", "residual")


@pytest.fixture(params=METHODS.values(), ids=METHODS, scope="module")
def method(request):
    return request.param


@pytest.fixture(scope="module")
def answer(noisy, method):
    """What the method says of the six spectra, with which several tests compare."""
    return drt.invert(noisy, method)


@pytest.fixture(scope="module")
def with_intervals(noisy, method, answer):
    """The same with those that the method has, at 90 %."""
    return drt.invert(noisy, method, level=0.9) if isinstance(method, HasPosterior) else answer


def circuit(frequency, size=1.0, elastance=0.0):
    omega = 2 * np.pi * frequency
    arcs = zarc(frequency, 50, 1e-3, 0.85) + zarc(frequency, 20, 0.05, 0.95)
    return size * (10 + 1j * (omega * 1e-7 - elastance / omega) + arcs)


@pytest.mark.parametrize(("part", "size"), [("complex", 1.0), ("re", 1e-3), ("im", 1e-3)])
@pytest.mark.parametrize("capacitance", [False, True])
def test_recovers_noise_free_circuits(part, capacitance, size):
    frequency = np.logspace(6, -2, 61)
    elastance = 0.5 if capacitance else 0.0
    spectra = drt.Spectra(frequency, circuit(frequency, size, elastance))
    result = drt.invert(spectra, drt.Tikhonov(part=part, capacitance=capacitance))
    assert result.solved.all()
    assert result.r_inf[0] == pytest.approx(10 * size, rel=5e-3)
    assert result.inductance[0] == pytest.approx(1e-7 * size, rel=5e-3)
    assert result.r_pol[0] == pytest.approx(70 * size, rel=5e-3)
    assert 1 / result.capacitance[0] == pytest.approx(elastance * size, rel=5e-3)


def test_finds_the_distribution():
    # The truth by the closed form of the Cole-Cole element, R/2π sin((1−φ)π) / (cosh(φ ln(τ/τ0)) − cos((1−φ)π)).
    frequency = np.logspace(5, -3, 81)
    rng = np.random.default_rng(0)
    z = 10 + zarc(frequency, 50, 1e-2, 0.8)
    z = z + 0.02 * (rng.standard_normal((9, z.size)) + 1j * rng.standard_normal((9, z.size)))
    result = drt.invert(drt.Spectra(frequency, z), drt.Tikhonov(regularisation=3e-4))
    tau = np.logspace(-5, 2, 500)
    turn = 0.2 * np.pi
    truth = 50 / (2 * np.pi) * np.sin(turn) / (np.cosh(0.8 * np.log(tau / 1e-2)) - np.cos(turn))
    error = np.trapezoid(np.abs(result.gamma_at(tau) - truth), np.log(tau), axis=1) / 50
    assert np.median(error) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("factor", [7e-6, 3e6])
def test_is_equivariant(noisy, method, with_intervals, factor):
    result = with_intervals
    level = 0.9 if isinstance(method, HasPosterior) else None
    scaled = drt.invert(drt.Spectra(noisy.frequency, factor * noisy.impedance), method, level=level)
    np.testing.assert_allclose(scaled.gamma, factor * result.gamma, rtol=0, atol=1e-9 * factor * result.gamma.max())
    np.testing.assert_array_equal(scaled.regularisation, result.regularisation)
    np.testing.assert_allclose(scaled.residual, result.residual, rtol=1e-9)
    for one, other in (
        (scaled.r_inf, result.r_inf),
        (scaled.inductance, result.inductance),
        (1 / scaled.capacitance, 1 / result.capacitance),
    ):
        np.testing.assert_allclose(one, factor * other, rtol=1e-9, atol=1e-9 * factor * other.max())
    for name in INTERVAL_UNITS if level else ():
        power = {"tail_q": -1, "tail_exponent": 0}.get(name.rsplit("_", 1)[0], 1)
        one, other = getattr(scaled.intervals, name), factor**power * getattr(result.intervals, name)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.nanmax(other, initial=0.0), err_msg=name)


@pytest.mark.slow
def test_the_order_of_frequencies_and_spectra_does_not_matter(noisy, method, answer):
    result = answer
    rng = np.random.default_rng(1)
    columns, rows = rng.permutation(noisy.frequency.size), rng.permutation(len(noisy))
    again = drt.invert(drt.Spectra(noisy.frequency[columns], noisy.impedance[rows][:, columns]), method)
    for name in RESULTS:
        expected = getattr(result, name)[rows]
        scale = np.nanmax(np.abs(expected[np.isfinite(expected)]), initial=0.0)
        np.testing.assert_allclose(getattr(again, name), expected, rtol=1e-9, atol=1e-9 * scale, err_msg=name)


@pytest.mark.slow
def test_bad_spectra_get_a_status_and_change_nothing_in_the_others(noisy, method, answer):
    good = answer
    z = np.repeat(noisy.impedance, 2, axis=0)
    z[0] = np.nan
    z[2] = np.inf
    z[4, 4:] = np.nan
    z[6] = z[6].conj()
    z[8] = np.abs(z[8]) * 1j
    result = drt.invert(drt.Spectra(noisy.frequency, z), method)
    assert result.status[:10:2].tolist() == [
        Status.NOT_FINITE,
        Status.NOT_FINITE,
        Status.TOO_FEW_POINTS,
        Status.WRONG_SIGN,
        Status.WRONG_SIGN,
    ]
    assert not result.solved[:10:2].any()
    assert np.isnan(result.gamma[:10:2]).all()
    assert np.isnan(result.r_pol[:10:2]).all()
    for name in RESULTS:
        np.testing.assert_allclose(getattr(result, name)[1::2], getattr(good, name), rtol=1e-12, atol=0, err_msg=name)
    assert np.array_equal(result.status[1::2], good.status)


def test_missing_points_are_left_out(noisy, method):
    z = noisy.impedance[:3].copy()
    z[1, [3, 17]] = np.nan
    z[2, 5] = np.inf
    result = drt.invert(drt.Spectra(noisy.frequency, z), method)
    assert (result.status & Status.POINTS_MISSING != 0).tolist() == [False, True, True]
    kept = np.delete(np.arange(noisy.frequency.size), [3, 17])
    same_tau = dataclasses.replace(method, tau=tuple(result.tau))
    alone = drt.invert(drt.Spectra(noisy.frequency[kept], noisy.impedance[1, kept]), same_tau)
    np.testing.assert_allclose(result.gamma[1], alone.gamma[0], rtol=0, atol=1e-9 * alone.gamma.max())
    assert result.residual[1] == pytest.approx(alone.residual[0], rel=1e-6)


def test_every_answer_is_certified(answer):
    assert np.all(answer.optimality <= 1e-8)
    assert np.all(answer.coefficients >= 0)


def test_zeros_are_fitted_by_zeros(noisy, method):
    result = drt.invert(drt.Spectra(noisy.frequency, 0 * noisy.impedance[:1]), method)
    assert result.solved.all()
    assert not result.gamma.any()
    assert result.residual[0] == 0


@pytest.mark.slow
def test_what_no_cell_has_ends_no_inversion_of_others(noisy, method):
    z = noisy.impedance[0]
    strange = np.array([0 * z, -z.conj(), z.conj(), -z, 1 / z, np.ones(z.size), 1j * z.real])
    level = 0.9 if isinstance(method, HasPosterior) else None
    result = drt.invert(drt.Spectra(noisy.frequency, np.vstack([noisy.impedance[:2], strange])), method, level=level)
    assert result.solved[:2].all()
    if level is not None:
        known = result.intervals
        withheld = np.isnan(known.r_pol_low) & np.isnan(known.r_pol_high)
        assert (withheld | ((known.r_pol_low <= result.r_pol) & (result.r_pol <= known.r_pol_high))).all()
        assert result.status[:2].any() or not withheld[:2].any()


@pytest.mark.parametrize("name", ["fixed", "log-gaussian"])
@pytest.mark.parametrize("size", [1e-30, 1e30, 1e-300, 1e300])
def test_any_scale_of_numbers_is_fitted(noisy, name, size):
    method = METHODS[name]
    expected = drt.invert(noisy, method)
    result = drt.invert(drt.Spectra(noisy.frequency, size * noisy.impedance), method)
    np.testing.assert_allclose(result.gamma / size, expected.gamma, rtol=0, atol=1e-9 * expected.gamma.max())


def test_no_spectra_give_an_empty_result(noisy):
    result = drt.invert(noisy[:0])
    assert len(result) == 0
    assert result.gamma.shape == (0, result.tau.size)


@pytest.fixture
def careless(monkeypatch):
    """Solvers of these names return anything."""
    import drt_engine.methods.tikhonov_prepared as module
    from drt_engine.methods.tikhonov import _prepared

    names = set()
    real = module.solver_for

    def solver_for(name, factors, regularisation):
        if name in names:
            return lambda b, which: np.full((len(b), factors.problem.scale.size), 0.01)
        return real(name, factors, regularisation)

    monkeypatch.setattr(module, "solver_for", solver_for)
    _prepared.cache_clear()
    yield names
    _prepared.cache_clear()


def test_what_is_not_optimal_is_not_called_solved(noisy, careless, caplog):
    careless |= {"auto", "cvxpy"}
    caplog.set_level("WARNING", "drt_engine.inversion")
    result = drt.invert(noisy, drt.Tikhonov())
    assert np.all(result.status & Status.NOT_SOLVED)
    assert np.isnan(result.gamma).all()
    assert np.all(result.optimality > 1e-8)
    assert "6 of 6 spectra have no solution" in caplog.text


def test_what_the_fast_solver_cannot_certify_goes_to_cvxpy(noisy, careless):
    expected = drt.invert(noisy, drt.Tikhonov())
    careless.add("pivoting")
    result = drt.invert(noisy, drt.Tikhonov(solver="pivoting"))
    assert np.all(result.status & Status.SOLVED_BY_CVXPY)
    assert result.solved.all()
    np.testing.assert_allclose(result.gamma, expected.gamma, rtol=0, atol=1e-7 * expected.gamma.max())


@pytest.mark.parametrize("method", [drt.Tikhonov(), drt.LogGaussian()], ids=["tikhonov", "log-gaussian"])
@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_threads_tiles_and_neighbours_change_no_bit(noisy, method, threads, monkeypatch):
    import drt_engine.inversion.blocks as module

    rng = np.random.default_rng(3)
    z = np.repeat(noisy.impedance, 20, axis=0) * (1 + 0.002 * rng.standard_normal((120, noisy.frequency.size)))
    expected = drt.invert(drt.Spectra(noisy.frequency, z), method)
    monkeypatch.setenv("DRT_ENGINE_THREADS", threads)
    monkeypatch.setattr(module, "_TILE", 7)
    rows = rng.permutation(120)
    result = drt.invert(drt.Spectra(noisy.frequency, z[rows]), method)
    alone = drt.invert(drt.Spectra(noisy.frequency, z[5]), method)
    for name in (*RESULTS, "optimality", "status"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name)[rows], err_msg=name)
        np.testing.assert_array_equal(getattr(alone, name)[0], getattr(expected, name)[5], err_msg=name)


@pytest.mark.slow
def test_threads_of_linear_algebra_change_no_answer(noisy, method, answer):
    # The last digit of the frequencies is another, so that the problem is prepared again.
    spectra = drt.Spectra(np.nextafter(noisy.frequency, np.inf), noisy.impedance[:2])
    with threadpool_limits(limits=2, user_api="blas"):
        result = drt.invert(spectra, method)
    for name in RESULTS:
        expected = getattr(answer, name)[:2]
        scale = np.nanmax(np.abs(expected[np.isfinite(expected)]), initial=0.0)
        np.testing.assert_allclose(getattr(result, name), expected, rtol=1e-9, atol=1e-9 * scale, err_msg=name)


def test_a_number_of_threads_has_to_be_one(noisy, monkeypatch):
    monkeypatch.setenv("DRT_ENGINE_THREADS", "two")
    with pytest.raises(drt.InputError, match=r"DRT_ENGINE_THREADS must be a whole number from 1; got 'two'"):
        drt.invert(noisy)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"basis": "gauss"}, UnknownNameError, r"basis 'gauss' is not known; expected one of 'gaussian', 'c0-matern'"),
        ({"regularisation": "gvc"}, UnknownNameError, r"regularisation 'gvc' is not known; expected one of 'gcv'"),
        ({"part": "real"}, UnknownNameError, r"part 'real' is not known; expected one of 'complex', 're', 'im'"),
        ({"solver": "osqp"}, UnknownNameError, r"solver 'osqp' is not known"),
        ({"shape_type": "width"}, UnknownNameError, r"shape_type 'width'"),
        ({"regularisation": 0}, drt.InputError, r"positive number.*got 0"),
        ({"regularisation": float("nan")}, drt.InputError, r"got nan"),
        ({"regularisation": None}, drt.InputError, r"got None"),
        ({"regularisation": True}, drt.InputError, r"got True"),
        ({"inductance": "no"}, drt.InputError, r"inductance must be True or False; got 'no'"),
        ({"basis": ["gaussian"]}, UnknownNameError, r"basis \['gaussian'\]"),
        ({"order": True}, drt.InputError, r"got True"),
        ({"shape": "a"}, drt.InputError, r"positive number; got 'a'"),
        ({"order": 3}, drt.InputError, r"order must be 0, 1 or 2.*got 3"),
        ({"basis": "cauchy", "order": 2}, drt.InputError, r"order 2 does not exist for the cauchy basis: .*kink"),
        ({"basis": "c0-matern", "order": 2}, drt.InputError, r"not square-integrable. Use order 1"),
        ({"shape": -1}, drt.InputError, r"shape must be a positive number; got -1"),
        ({"tau": [1.0, 2.0]}, drt.InputError, r"at least 3"),
        ({"tau": [1.0, 0.0, 2.0]}, drt.InputError, r"positive"),
        ({"tau": [1.0, 1.0, 2.0]}, drt.InputError, r"must not repeat; got 1 s"),
        ({"tau": ["a", "b", "c"]}, drt.InputError, r"numbers in s"),
    ],
)
def test_refuses_unusable_settings(settings, error, message):
    with pytest.raises(error, match=message):
        drt.Tikhonov(**settings)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"regularisation": "gcv"}, UnknownNameError, r"regularisation 'gcv' is not known; expected one of 'evidence'"),
        ({"noise": 0.01}, drt.InputError, r"noise must be one of auto, constant, proportional"),
        ({"robust": 4}, drt.InputError, r"robust must be True or False; got 4"),
        ({"capacitance": None}, drt.InputError, r"capacitance must be True or False; got None"),
        ({"regularisation": 0}, drt.InputError, r"a positive number or 'evidence'; got 0"),
        ({"regularisation": float("inf")}, drt.InputError, r"got inf"),
        ({"tau": [1.0, 1.0, 2.0]}, drt.InputError, r"must not repeat; got 1 s"),
    ],
)
def test_refuses_unusable_settings_of_the_prior_on_ln_gamma(settings, error, message):
    with pytest.raises(error, match=message):
        drt.LogGaussian(**settings)


def test_a_newcomer_gets_the_most_accurate_method(noisy):
    assert drt.invert(noisy).method == drt.LogGaussian()


def test_refuses_what_is_not_spectra():
    with pytest.raises(drt.InputError, match=r"must be a Spectra; got ndarray. Make one"):
        drt.invert(np.ones(5))


@pytest.mark.parametrize("method", [drt.Tikhonov, "tikhonov"])
def test_refuses_what_is_no_method(noisy, method):
    with pytest.raises(drt.InputError, match=r"method must be a method such as LogGaussian\(\); got"):
        drt.invert(noisy, method)


@pytest.mark.parametrize("missing", [[35], [18], [18, 35]])
def test_the_wrong_sign_is_seen_with_points_missing(noisy, missing):
    z = noisy.impedance.conj().copy()
    z[:, missing] = np.nan
    assert np.all(drt.invert(drt.Spectra(noisy.frequency, z)).status == Status.WRONG_SIGN)


def test_fitting_leaves_its_input_alone(noisy):
    before = noisy.impedance.copy(), noisy.states
    drt.invert(noisy)
    assert np.array_equal(noisy.impedance, before[0])
    assert noisy.states.equals(before[1])


@pytest.mark.parametrize(
    ("rows", "threads", "expected"), [(100, 2, [50, 50]), (40, 2, [32, 8]), (1100, 2, [512, 512, 76])]
)
def test_each_thread_has_some_of_a_block(monkeypatch, rows, threads, expected):
    import drt_engine.inversion.blocks as module

    found = []
    monkeypatch.setenv("DRT_ENGINE_THREADS", str(threads))
    monkeypatch.setattr(module, "run_tiles", lambda work, tiles: found.extend(len(tile[0]) for tile in tiles))
    frequency = np.logspace(4, -1, 11)
    z = np.tile(5.0 + zarc(frequency, 20.0, 1e-2, 0.9), (rows, 1))
    module.invert_block(drt.Spectra(frequency, z), drt.Tikhonov(regularisation=1e-2))
    assert found == expected


def test_linear_algebra_gets_its_threads_back():
    def counted():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = counted()
        with single_threaded_blas():
            with single_threaded_blas():
                assert set(counted()) == {1}
            assert set(counted()) == {1}
        assert counted() == before


def test_what_one_search_leaves_changes_no_bit_of_the_next(noisy):
    # Without noise, the search takes its other ways, and leaves other things in the arrays that it works on.
    clean = drt.Spectra(noisy.frequency, 10.0 + zarc(noisy.frequency, 50.0, 1e-2, 0.9))
    method = drt.LogGaussian(inductance=False, robust=False)
    alone = method.prepared(noisy.frequency, method.expansion(noisy.frequency))
    first = PreparedLogGaussian(alone.problem, "auto", robust=False).solve(noisy.impedance[:1], None)
    again = PreparedLogGaussian(alone.problem, "auto", robust=False)
    for z in (clean.impedance, noisy.impedance[:1], clean.impedance):
        again.solve(z, None)
    last = again.solve(noisy.impedance[:1], None)
    np.testing.assert_array_equal(first.parameters.coefficients, last.parameters.coefficients)
    np.testing.assert_array_equal(first.fit, last.fit)
