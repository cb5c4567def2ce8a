"""The noise that is found with the solution: spectra that a wrong model of it spoils, and what of it can be told."""

from dataclasses import replace

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.methods import log_gaussian_prepared
from drt_engine.methods.base import louder, noisier_than
from drt_engine.methods.joint import posterior as joint_posterior
from drt_engine.methods.log_gaussian import LogGaussian

from ..conftest import zarc
from .test_method import noise

WIDE = np.geomspace(1e6, 1e-2, 81)
SEVEN = np.geomspace(1e5, 1e-2, 71)
UNEVEN = np.concatenate([np.geomspace(1e5, 30, 36), np.geomspace(30, 1e-2, 8)[1:]])


def arcs(frequency, r_inf, *parameters):
    return r_inf + sum(zarc(frequency, *each) for each in parameters)


CASES = {
    "three arcs": (WIDE, (100, (1e3, 1e-5, 0.9), (1e5, 1e-3, 0.9), (1e7, 0.1, 0.9))),
    "coating": (SEVEN, (100, (500, 1e-4, 0.9), (1e6, 1.0, 0.9))),
    "few points at low frequencies": (UNEVEN, (10, (20, 2e-4, 0.9), (50, 0.05, 0.85))),
}


@pytest.mark.parametrize("name", CASES)
def test_small_arcs_beside_large_ones(name):
    frequency, (r_inf, *parameters) = CASES[name]
    z = arcs(frequency, r_inf, *parameters)
    spectra = drt.Spectra(frequency, z * (1 + 0.005 * noise(np.random.default_rng(1), (30, z.size))))
    result = drt.invert(spectra, level=0.95)
    assert result.counts() == {"ok": 30}
    # Root of two of the noise of each part, less what was fitted.
    assert 0.0055 < np.median(result.residual) < 0.0075
    assert result.residual.max() < 0.009
    assert np.median(result.noise_relative) == pytest.approx(0.005, rel=0.05)
    r_pol = sum(r for r, _, _ in parameters)
    np.testing.assert_allclose(np.median(result.r_pol), r_pol, rtol=0.005)
    found = result.intervals
    assert np.mean((found.r_pol_low <= r_pol) & (r_pol <= found.r_pol_high)) >= 0.9
    # The fast arc, which is up to a thousandth of the whole.
    _, tau, _ = parameters[0]
    part = result.tau < tau * np.sqrt(10)
    y = np.linspace(np.log(1e-12), np.log(tau * np.sqrt(10)), 20001)
    exact = sum(np.trapezoid(_cole_cole(y, *each), y) for each in parameters)
    np.testing.assert_allclose(np.median(result.coefficients[:, part] @ result.expansion.areas[part]), exact, rtol=0.1)


def _cole_cole(y, r, tau, phi):
    angle = (1 - phi) * np.pi
    return r / (2 * np.pi) * np.sin(angle) / (np.cosh(phi * (y - np.log(tau))) - np.cos(angle))


@pytest.mark.parametrize(("floor", "share"), [(0.2, 0.0), (0.0, 0.004), (0.05, 0.004)])
def test_the_deviation_of_each_point_is_found(floor, share):
    z = arcs(SEVEN, 1, (20, 2e-4, 0.9), (80, 0.05, 0.85))
    deviation = np.hypot(floor, share * np.abs(z))
    result = drt.invert(drt.Spectra(SEVEN, z + deviation * noise(np.random.default_rng(3), (40, z.size))))
    found = np.hypot(result.noise_floor[:, None], result.noise_relative[:, None] * np.abs(z))
    np.testing.assert_allclose(np.median(found / deviation, axis=0), 1.0, atol=0.2)
    np.testing.assert_allclose(
        np.median(found, axis=0)[0 if floor == 0 else -1], deviation[0 if floor == 0 else -1], rtol=0.15
    )


def test_known_noise_is_kept_and_outliers_do_not_change_it():
    z = arcs(SEVEN, 10, (20, 2e-4, 0.9), (50, 0.05, 0.85))
    spectra = drt.Spectra(SEVEN, z + 0.1 * noise(np.random.default_rng(4), (4, z.size)))
    result = drt.invert(spectra, LogGaussian(noise=(0.1, 0.002)))
    np.testing.assert_allclose(result.noise_floor, 0.1, rtol=1e-12)
    np.testing.assert_allclose(result.noise_relative, 0.002, rtol=1e-12)
    # The same deviation by frequency gives the same solution.
    by_frequency = drt.invert(spectra, LogGaussian(noise=((1e-2, 0.1), (1e5, 0.1))))
    np.testing.assert_allclose(by_frequency.gamma, drt.invert(spectra, LogGaussian(noise=(0.1, 0))).gamma, rtol=1e-6)
    assert np.isnan(by_frequency.noise_floor).all()


@pytest.mark.parametrize("given", ["pair", "by frequency"])
@pytest.mark.parametrize("along", [None, "voltage"])
def test_noise_that_was_given_too_small_is_told(given, along):
    z = arcs(SEVEN, 10, (20, 2e-4, 0.9), (50, 0.05, 0.85))
    rng, states = np.random.default_rng(2), {"voltage": np.arange(12.0)}

    def told(share, times, method=drt.LogGaussian):
        spectra = drt.Spectra(SEVEN, z * (1 + share * noise(rng, (12, z.size))), states)
        known = (0.0, share / times) if given == "pair" else tuple(zip(SEVEN, share / times * np.abs(z), strict=True))
        result = drt.invert(spectra, method(noise=known, along=along), level=0.95)
        misfit = (result.status & drt.Status.MISFIT) != 0
        assert (np.isnan(result.intervals.r_pol_low) == misfit).all()
        peaks = result.peaks()
        peaks = peaks[peaks["kind"] == "maximum"]
        for name in ("tau_error", "r_error"):
            assert (peaks[name].isna() == misfit[peaks["spectrum"]]).all()
        return misfit.mean()

    for share in (0.001, 0.05):
        assert told(share, 1.0) == 0.0
        assert told(share, 3.0) == 1.0


def test_noise_is_too_small_for_a_third_of_the_points_or_by_chance():
    rng = np.random.default_rng(3)
    rest = noise(rng, (2000, 60)) * np.ones(60)
    assert noisier_than(rest, np.ones(60)).mean() < 0.001
    rest[:, :20] *= 3.0
    assert noisier_than(rest, np.ones(60)).mean() > 0.95
    rest[:, :20] = np.nan
    assert noisier_than(rest, np.ones(60)).mean() < 0.001
    # Outliers, a tenth of a third of the points.
    rest[:, 20:22] = 1e3
    assert noisier_than(rest, np.ones(60)).mean() < 0.01
    assert not noisier_than(np.full((1, 60), np.nan + 0j), np.ones(60)).any()


def test_a_sum_of_positive_resistances_is_not_negative():
    frequency = np.geomspace(1e5, 0.1, 41)
    z = np.array([arcs(frequency, 5.0, (1, 1e-6, 1.0)), np.full(41, 5.0 + 0j)]).repeat(10, axis=0)
    spectra = drt.Spectra(frequency, z * (1 + 0.01 * noise(np.random.default_rng(4), z.shape)))
    least, _ = drt.invert(spectra).r_pol_interval()
    assert (least >= 0.0).all()
    # A loop that was not found but may be there is negative.
    assert (drt.invert(spectra, LogGaussian(sign="both")).r_pol_interval()[0] < 0.0).mean() > 0.7


def test_points_left_out_keep_their_deviation():
    z = arcs(SEVEN, 10, (20, 2e-4, 0.9), (50, 0.05, 0.85)) + 0.1 * noise(np.random.default_rng(4), 71)
    method = LogGaussian(noise=((1e-2, 1.0), (1e5, 0.01)))
    some = np.arange(71) % 5 != 3
    holes = drt.invert(drt.Spectra(SEVEN, np.where(some, z, np.nan)), method)
    tau = tuple(method.expansion(SEVEN).tau.tolist())
    less = drt.invert(drt.Spectra(SEVEN[some], z[some]), LogGaussian(noise=method.noise, tau=tau))
    np.testing.assert_allclose(holes.gamma, less.gamma, rtol=1e-9)


def test_a_spectrum_of_one_modulus_cannot_tell_and_need_not():
    # |Z| changes by 3 %.
    z = arcs(SEVEN, 1000, (30, 1e-2, 0.85))
    spectra = drt.Spectra(SEVEN, z + 0.1 * noise(np.random.default_rng(5), (10, z.size)))
    results = {name: drt.invert(spectra, LogGaussian(noise=name)) for name in ("auto", "constant", "proportional")}
    for name in ("constant", "proportional"):
        np.testing.assert_allclose(results["auto"].r_pol, results[name].r_pol, rtol=2e-3)
    total = np.hypot(results["auto"].noise_floor, 1000 * results["auto"].noise_relative)
    np.testing.assert_allclose(np.median(total), 0.1, rtol=0.1)


def test_intervals_of_a_result_with_and_without_its_noise():
    z = arcs(SEVEN, 10, (20, 2e-4, 0.9), (50, 0.05, 0.85))
    spectra = drt.Spectra(SEVEN, z * (1 + 0.003 * noise(np.random.default_rng(6), (6, z.size))))
    method = LogGaussian()
    result = drt.invert(spectra, method)
    solutions = result._parameters, result.regularisation
    found = method.posterior(SEVEN, spectra.impedance, result.expansion, solutions)
    given = method.posterior(
        SEVEN, spectra.impedance, result.expansion, solutions, (result.noise_floor, result.noise_relative)
    )
    np.testing.assert_allclose(given.noise[:, 0], result.noise_floor, rtol=1e-9)
    total = [np.hypot(one.noise[:, :1], one.noise[:, 1:] * np.abs(z)) for one in (found, given)]
    np.testing.assert_allclose(total[0], total[1], rtol=0.25)
    np.testing.assert_allclose(found.r_pol_interval(), given.r_pol_interval(), rtol=2e-3)


def test_the_slowest_decade_is_as_loud_as_neighbouring_residuals_differ():
    rng = np.random.default_rng(7)
    frequency = np.geomspace(100, 0.01, 25)
    rest, sigma = noise(rng, (3, 25)), rng.uniform(0.5, 2, (3, 25))
    rest[1:, 18:] *= [[6.0], [0.1]]
    rest[0, 20] = np.nan
    apart = [
        [
            abs(row[k] / scale[k] - 0.5 * (row[k - 1] / scale[k - 1] + row[k + 1] / scale[k + 1])) ** 2
            for k in range(18, 24)
        ]
        for row, scale in zip(rest, sigma, strict=True)
    ]
    # An exponential distribution with a mean of 3/2 of both parts.
    larger = np.nanmedian(apart, axis=1) / (3 * np.log(2))
    found = louder(rest, sigma, frequency)
    assert larger[1] > 2.5 > larger[2]
    np.testing.assert_array_equal(found[:, frequency > 0.1001], 1)
    np.testing.assert_allclose(found[1, frequency <= 0.1001], np.sqrt(larger[1]))
    np.testing.assert_array_equal(found[2], 1)
    # What is smooth is no noise, and what all have in common is judged together.
    np.testing.assert_allclose(louder(rest + 9 * sigma, sigma, frequency), found)
    rest[0, 18:] *= 6
    apart[0] = [36 * each for each in apart[0]]
    together = louder(rest, sigma, frequency, alike=True)
    assert np.nanmedian(apart) > 2.5 * 3 * np.log(2)
    np.testing.assert_allclose(together[:, -1], np.sqrt(np.nanmedian(apart) / (3 * np.log(2))))
    assert (louder(rest[:, :20], sigma[:, :20], frequency[:20]) == 1)[0].all()


@pytest.mark.parametrize("factor", [np.sqrt(1 + 1 / SEVEN), np.where(SEVEN < 1, 5.0, 1.0)], ids=["1/f", "step"])
def test_noise_that_is_larger_at_low_frequencies_is_no_loop_and_widens_intervals(factor):
    z = arcs(SEVEN, 10, (20, 2e-4, 0.9), (50, 0.05, 0.85))
    z = z * (1 + 0.002 * factor * noise(np.random.default_rng(11), (100, z.size)))
    result = drt.invert(drt.Spectra(SEVEN, z), level=0.95)
    assert result.counts().get("misfit", 0) <= 4
    found = result.intervals
    known = np.isfinite(found.r_pol_low)
    # 0.83 and 0.85 where the noise of all frequencies is taken for that of the lowest.
    assert np.mean(((found.r_pol_low <= 70) & (found.r_pol_high >= 70))[known]) >= 0.91


def test_a_spectrum_that_is_louder_at_low_frequencies_changes_nothing_for_others(monkeypatch):
    z = arcs(SEVEN, 10, (20, 2e-4, 0.9), (50, 0.05, 0.85))
    z = z + 0.002 * np.abs(z) * noise(np.random.default_rng(11), (4, z.size))
    z[2] += 0.008 * np.where(SEVEN < 1, np.abs(z[2]), 0.0) * noise(np.random.default_rng(2), z.shape[1:])
    method, expansion = LogGaussian(), LogGaussian().expansion(SEVEN)
    result = drt.invert(drt.Spectra(SEVEN, z), method)

    def ends(rows, noise):
        solutions = result._parameters.rows(rows), result.regularisation[rows]
        return np.array(method.posterior(SEVEN, z[rows], expansion, solutions, noise).r_pol_interval())

    for known in (None, (result.noise_floor, result.noise_relative)):
        every = ends(np.arange(4), known)
        alone = [ends(np.array([k]), None if known is None else tuple(each[[k]] for each in known)) for k in range(4)]
        np.testing.assert_array_equal(every, np.hstack(alone))
        # Which one is seen by what it has when it is not asked for.
        with monkeypatch.context() as patched:
            patched.setattr(log_gaussian_prepared, "louder", lambda rest, *_, **__: np.ones(rest.shape))
            without = ends(np.arange(4), known)
        np.testing.assert_array_equal((every == without).all(axis=0), [True, True, False, True])
        assert np.diff(every[:, 2]) > np.diff(without[:, 2])


def test_a_series_has_the_noise_of_its_low_frequencies(monkeypatch):
    z = np.array([arcs(SEVEN, 10, (20, 2e-4, 0.9), (r, 0.05, 0.85)) for r in np.linspace(50, 60, 8)])
    z = z * (1 + 0.002 * np.where(SEVEN < 1, 5.0, 1.0) * noise(np.random.default_rng(3), z.shape))
    spectra = drt.Spectra(SEVEN, z, {"cell": ["A"] * 8, "voltage": np.linspace(3, 4, 8)})
    result = drt.invert(spectra, LogGaussian(along="voltage"))
    low, high = result.r_pol_interval()
    truth = np.linspace(70, 80, 8)
    assert ((low <= truth) & (truth <= high)).mean() > 0.8
    monkeypatch.setattr(joint_posterior, "louder", lambda rest, *_, **__: np.ones(rest.shape))
    ratio = (high - low) / np.diff(replace(result).r_pol_interval(), axis=0)
    # The same where they are those of the spectrum alone.
    assert ratio.min() >= 1
    assert np.median(ratio) > 1.1
