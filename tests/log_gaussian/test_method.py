"""The log-Gaussian method as a user meets it: what it finds, what becomes of bad spectra, and that units do nothing."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.inversion import series_totals
from drt_engine.methods.log_gaussian import LogGaussian

from ..conftest import zarc

Status = drt.Status
METHODS = {
    "default": LogGaussian(),
    "fixed": LogGaussian(regularisation=1.0, noise="constant"),
    "proportional": LogGaussian(noise="proportional"),
    "normal": LogGaussian(robust=False),
    "capacitance": LogGaussian(capacitance=True, inductance=False),
    "custom tau": LogGaussian(tau=tuple(np.logspace(-7, 3, 50) * np.linspace(1, 2, 50))),
}
RESULTS = (
    *(
        "gamma",
        "coefficients",
        "r_inf",
        "inductance",
        "capacitance",
        "r_pol",
        "regularisation",
        "residual",
        "optimality",
    ),
    *("noise_floor", "noise_relative"),
)


@pytest.fixture(params=METHODS.values(), ids=METHODS, scope="module")
def method(request):
    return request.param


def cole_cole(tau, r, tau_0, phi):
    # R/2π sin((1−φ)π) / (cosh(φ ln(τ/τ0)) − cos((1−φ)π)), the closed form.
    angle = (1 - phi) * np.pi
    return r / (2 * np.pi) * np.sin(angle) / (np.cosh(phi * np.log(tau / tau_0)) - np.cos(angle))


def error(result, truth):
    f = result.frequency
    tau = np.geomspace(0.5 / np.pi / f.max(), 0.5 / np.pi / f.min(), 801)
    exact = truth(tau)
    wrong = np.abs(result.gamma_at(tau) - exact)
    return np.trapezoid(wrong, np.log(tau), axis=1) / np.trapezoid(exact, np.log(tau))


def noise(rng, shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@pytest.mark.parametrize("tail", ["none", "cpe"])
def test_a_loop_is_not_looked_for_with_few_relaxation_times(tail):
    frequency = np.logspace(4, -1, 31)
    z = np.array([3 + zarc(frequency, 5, 1e-2, 0.9), 3 + zarc(frequency, 5, 1e-2, 0.9) - zarc(frequency, 1, 1, 0.9)])
    method = LogGaussian(sign="both", tail=tail, tau=np.logspace(-4, 1, 5))
    result = drt.invert(drt.Spectra(frequency, z), method)
    assert result.solved.all()
    assert (result.gamma >= 0.0).all()


@pytest.fixture(scope="module")
def two_arcs():
    """Twelve spectra of two arcs with 0.5 % of R_pol as noise, and their γ."""
    frequency = np.logspace(5, -3, 81)
    z = 10 + zarc(frequency, 50, 1e-3, 0.85) + zarc(frequency, 50, 1.0, 0.85)
    z = z + 0.5 * noise(np.random.default_rng(11), (12, 81))

    def truth(tau):
        return cole_cole(tau, 50, 1e-3, 0.85) + cole_cole(tau, 50, 1.0, 0.85)

    return drt.Spectra(frequency, z), truth


def test_finds_the_distribution_better_than_tikhonov(two_arcs):
    spectra, truth = two_arcs
    result = drt.invert(spectra, LogGaussian())
    assert result.solved.all()
    assert np.median(error(result, truth)) < 0.1
    assert np.median(error(result, truth)) < 0.5 * np.median(error(drt.invert(spectra, drt.Tikhonov()), truth))


def test_every_answer_is_certified_positive_and_fits(noisy, method):
    result = drt.invert(noisy, method)
    assert result.solved.all()
    assert result.optimality.max() < 1e-8
    assert (result.coefficients > 0).all()
    assert (result.r_inf >= 0).all()
    assert (result.inductance >= 0).all()
    assert result.residual.max() < 0.01
    fit = result.impedance_at(noisy.frequency)
    misfit = np.sqrt(np.mean(np.abs(fit / noisy.impedance - 1) ** 2, axis=1))
    np.testing.assert_allclose(result.residual, misfit, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-6, 3.3e-3, 1e6])
def test_units_do_not_matter(noisy, method, size):
    one, other = drt.invert(noisy, method), drt.invert(drt.Spectra(noisy.frequency, size * noisy.impedance), method)
    np.testing.assert_allclose(other.gamma / size, one.gamma, rtol=0, atol=1e-9 * one.gamma.max())
    np.testing.assert_allclose(other.r_inf / size, one.r_inf, rtol=1e-9)
    np.testing.assert_allclose(other.regularisation, one.regularisation, rtol=1e-9)


@pytest.mark.parametrize(("points", "deviation"), [(71, 1e-5), (71, 1e-7), (9, 1e-3), (6, 1e-2)])
def test_units_do_not_matter_where_little_is_left_to_tell_the_noise(points, deviation):
    frequency = np.geomspace(1e5, 1e-2, points)
    z = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, 0.05, 0.85)
    z = z * (1 + deviation * noise(np.random.default_rng(8), (12, points)))
    one = drt.invert(drt.Spectra(frequency, z), level=0.95)
    for unit in (3.3e-3, 7.0, 1e6 / 3):
        other = drt.invert(drt.Spectra(frequency, unit * z), level=0.95)
        np.testing.assert_allclose(other.gamma / unit, one.gamma, rtol=0, atol=1e-9 * one.gamma.max())
        np.testing.assert_allclose(other.intervals.r_pol_high / unit, one.intervals.r_pol_high, rtol=1e-6)


def test_a_pickled_result_stays_read_only(noisy):
    result = pickle.loads(pickle.dumps(drt.invert(noisy, level=0.95)))
    for array in (result.coefficients, result.status, result.noise_floor, result.intervals.gamma_low):
        assert not array.flags.writeable
    assert result.counts() == {"ok": 6}


def test_what_shows_no_relaxation_has_finite_intervals():
    frequency = np.geomspace(1e5, 1e-2, 31)
    rng = np.random.default_rng(0)
    z = np.concatenate([5 + 1e-3 * noise(rng, (40, 31)), 1e-9 + 5e-10 * noise(rng, (20, 31)), np.full((1, 31), 3 + 0j)])
    result = drt.invert(drt.Spectra(frequency, z), level=0.95)
    some = result.solved & ((result.status & Status.MISFIT) == 0)
    assert some.sum() > 50
    assert np.isfinite(result.intervals.r_pol_high[some]).all()
    assert np.isfinite(result.intervals.gamma_high[some]).all()


def test_the_order_of_frequencies_does_not_matter(noisy):
    turn = np.random.default_rng(2).permutation(noisy.frequency.size)
    shuffled = drt.Spectra(noisy.frequency[turn], noisy.impedance[:, turn])
    np.testing.assert_array_equal(drt.invert(shuffled, LogGaussian()).gamma, drt.invert(noisy, LogGaussian()).gamma)


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_neighbours_and_threads_change_no_bit(noisy, method, threads, monkeypatch):
    many = drt.Spectra(noisy.frequency, np.tile(noisy.impedance, (100, 1)))
    monkeypatch.setenv("DRT_ENGINE_THREADS", threads)
    together = drt.invert(many, method)
    for k in (0, 4):
        alone = drt.invert(noisy[[k]], method)
        for name in RESULTS:
            np.testing.assert_array_equal(getattr(together, name)[k::6], np.repeat(getattr(alone, name), 100, axis=0))


def test_bad_spectra_get_a_status_and_change_nobody(noisy, method):
    z = np.concatenate([noisy.impedance, noisy.impedance[:4]])
    z[6] = np.nan
    z[7, 4:] = np.nan
    z[8] = z[8].conj()
    z[9, 7] = np.nan
    result, alone = drt.invert(drt.Spectra(noisy.frequency, z), method), drt.invert(noisy, method)
    expected = [0] * 6 + [Status.NOT_FINITE, Status.TOO_FEW_POINTS, Status.WRONG_SIGN, Status.POINTS_MISSING]
    assert result.status.tolist() == expected
    for name in RESULTS:
        np.testing.assert_array_equal(getattr(result, name)[:6], getattr(alone, name))
        assert np.isnan(getattr(result, name)[6:9]).all()
    np.testing.assert_allclose(result.r_pol[9], result.r_pol[3], rtol=0.05)


def test_zeros_resistors_and_nonsense_do_not_break_it():
    frequency = np.logspace(5, -1, 41)
    rng = np.random.default_rng(0)
    z = np.zeros((5, 41), dtype=complex)
    z[1] = 5.0
    z[2] = 5.0 + 1e-3 * noise(rng, 41)
    z[3] = noise(rng, 41)
    z[4] = np.where(np.arange(41) == 20, 1.0 - 1j, 1e-9)
    result = drt.invert(drt.Spectra(frequency, z), LogGaussian())
    assert result.solved.all()
    assert not result.gamma[0].any()
    np.testing.assert_allclose(result.r_inf[:3], [0, 5, 5], rtol=1e-3)
    assert result.r_pol[1:3].max() < 1e-3


def test_one_ideal_rc_element():
    frequency = np.logspace(5, -2, 71)
    z = 10 + 50 / (1 + 2j * np.pi * frequency * 1e-2) + 0.05 * noise(np.random.default_rng(1), (4, 71))
    result = drt.invert(drt.Spectra(frequency, z), LogGaussian())
    assert result.solved.all()
    np.testing.assert_allclose(result.r_pol, 50, rtol=0.01)
    peak = result.tau[result.gamma.argmax(axis=1)]
    np.testing.assert_allclose(np.log10(peak), -2, atol=0.1)
    near = np.abs(np.log10(result.tau) + 2) < 0.3
    assert (result.coefficients[:, near] @ result.expansion.areas[near] > 0.95 * 50).all()


def test_without_noise():
    frequency = np.logspace(4, -3, 71)
    result = drt.invert(drt.Spectra(frequency, 10 + zarc(frequency, 50, 0.1, 0.8)), LogGaussian())
    assert result.solved.all()
    assert result.residual[0] < 1e-5
    assert error(result, lambda tau: cole_cole(tau, 50, 0.1, 0.8))[0] < 0.01


def test_outliers_have_little_say(two_arcs):
    spectra, truth = two_arcs
    z = spectra.impedance.copy()
    rng = np.random.default_rng(4)
    for row in z:
        row[rng.choice(81, 3, replace=False)] += 10 * np.exp(2j * np.pi * rng.random(3))
    moved = drt.Spectra(spectra.frequency, z)
    clean = np.median(error(drt.invert(spectra, LogGaussian()), truth))
    robust = np.median(error(drt.invert(moved, LogGaussian()), truth))
    plain = np.median(error(drt.invert(moved, LogGaussian(robust=False)), truth))
    assert robust < 1.3 * clean
    assert plain > 1.3 * robust


def test_lambda_follows_what_is_there():
    frequency = np.logspace(5, -2, 71)
    rng = np.random.default_rng(7)
    broad = zarc(frequency, 50, 1e-2, 0.7) + 0.2 * noise(rng, (6, 71))
    narrow = zarc(frequency, 50, 1e-2, 0.97) + 0.2 * noise(rng, (6, 71))
    found = drt.invert(drt.Spectra(frequency, 10 + np.concatenate([broad, narrow])), LogGaussian()).regularisation
    assert found[:6].min() > 1.0 > found[6:].max()


def test_a_small_peak_keeps_its_resistance_with_proportional_noise():
    frequency = np.logspace(6, -2, 81)
    z = 1 + zarc(frequency, 1.0, 1e-5, 0.9) + zarc(frequency, 1000.0, 1.0, 0.9)
    z = z * (1 + 0.005 * noise(np.random.default_rng(3), (6, 81)))
    spectra = drt.Spectra(frequency, z)
    y = np.linspace(np.log(1e-12), np.log(1e-3), 20001)
    exact = np.trapezoid(cole_cole(np.exp(y), 1.0, 1e-5, 0.9) + cole_cole(np.exp(y), 1000.0, 1.0, 0.9), y)
    small = {}
    for name in ("constant", "proportional"):
        result = drt.invert(spectra, LogGaussian(noise=name))
        part = result.tau < 1e-3
        small[name] = np.abs(result.coefficients[:, part] @ result.expansion.areas[part] - exact)
    assert np.median(small["proportional"]) < 0.1
    assert np.median(small["proportional"]) < np.median(small["constant"])


def test_settings_make_it_again(method):
    settings = json.loads(json.dumps(method.settings()))
    assert settings.pop("name") == "LogGaussian"
    assert LogGaussian(**settings) == method
    assert dataclasses.replace(method, regularisation=2).regularisation == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inductance": 1}, "inductance must be True or False"),
        ({"robust": "yes"}, "robust must be True or False"),
        ({"regularisation": -1.0}, "positive number or 'evidence'"),
        ({"regularisation": True}, "positive number or 'evidence'"),
        ({"tau": (1.0, 2.0)}, "at least 3"),
        ({"noise": (0.0, 0.0)}, "not negative and not both 0"),
        ({"noise": (-1.0, 0.01)}, "not negative and not both 0"),
        ({"noise": 0.01}, "pairs of frequency and standard deviation"),
        ({"noise": (0.01,)}, "pairs of frequency and standard deviation"),
        ({"noise": ((1.0, 0.1), (1.0, 0.2))}, "each frequency once"),
    ],
)
def test_mistakes_show_before_the_work(settings, message):
    with pytest.raises(InputError, match=message):
        LogGaussian(**settings)


@pytest.mark.parametrize("settings", [{"regularisation": "gcv"}, {"noise": "pink"}, {"noise": None}])
def test_unknown_names_list_the_known(settings):
    with pytest.raises(UnknownNameError, match="expected one of"):
        LogGaussian(**settings)


def test_there_is_no_series(noisy):
    with pytest.raises(InputError, match="shares no λ"):
        series_totals(noisy, LogGaussian())


def test_its_problem_is_that_of_its_model(noisy):
    method = LogGaussian(capacitance=True)
    problem = method.problem(noisy.frequency, method.expansion(noisy.frequency))
    assert problem.series_elements == ("r_inf", "inductance", "elastance")
    result = drt.invert(noisy, method)
    x = np.hstack([result.coefficients, np.array([result.r_inf, result.inductance, 1 / result.capacitance]).T])
    re, im = np.split(problem.fitted(x * problem.scale), 2, axis=1)
    fit = result.impedance_at(noisy.frequency)
    np.testing.assert_allclose(re + 1j * im, fit, rtol=0, atol=1e-9 * np.abs(fit).max())
