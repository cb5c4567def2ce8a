"""Intervals: that they cover what they should, follow from the covariance, and refuse what makes no sense."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq, nnls
from scipy.special import ndtr
from scipy.stats import truncnorm

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.methods.base import misfits, slow_flank
from drt_engine.methods.log_gaussian import LogGaussian
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters
from drt_engine.simulate import ZARC, Circuit, PiecewiseConstant, Resistor
from drt_engine.uncertainty import posterior as posterior_module
from drt_engine.uncertainty.base import areas_between
from drt_engine.uncertainty.cut_off import cut_at_zero, most_probable
from drt_engine.uncertainty.posterior import LogPosterior

from ..conftest import zarc
from .test_method import cole_cole, noise


def posterior_of(spectra, method):
    result = drt.invert(spectra, method)
    with np.errstate(divide="ignore"):
        parameters = Parameters(result.coefficients, result.r_inf, result.inductance, 1.0 / result.capacitance)
    solutions = parameters, result.regularisation
    return result, method.posterior(spectra.frequency, spectra.impedance, result.expansion, solutions)


@pytest.fixture(scope="module")
def forty():
    """Forty spectra of two arcs and an inductance, their result and how sure it is."""
    frequency = np.logspace(5, -2, 71)
    z = 10 + 2j * np.pi * frequency * 2e-6 + zarc(frequency, 30, 1e-3, 0.85) + zarc(frequency, 60, 0.3, 0.8)
    spectra = drt.Spectra(frequency, z + 0.3 * noise(np.random.default_rng(5), (40, 71)))
    return spectra, *posterior_of(spectra, LogGaussian())


def test_models_with_a_tail_are_as_sure_of_what_has_none():
    frequency = np.geomspace(1e5, 1e-2, 71)
    z = 10 + zarc(frequency, 20, 2e-4, 1) + zarc(frequency, 50, 0.05, 1)
    spectra = drt.Spectra(frequency, z * (1 + 0.003 * noise(np.random.default_rng(2), (4, 71))))
    plain, free = (drt.invert(spectra, method, level=0.95) for method in (LogGaussian(), LogGaussian(tail="auto")))
    np.testing.assert_allclose(free.intervals.r_pol_low, plain.intervals.r_pol_low, rtol=1e-6)
    np.testing.assert_allclose(free.intervals.r_inf_high, plain.intervals.r_inf_high, rtol=1e-6)


def share(low, high, truth):
    return np.mean((low <= truth) & (truth <= high))


def test_intervals_cover_the_truth(forty):
    _, result, posterior = forty
    tau = np.geomspace(3e-5, 5.0, 200)
    truth = cole_cole(tau, 30, 1e-3, 0.85) + cole_cole(tau, 60, 0.3, 0.8)
    there = truth > 0.02 * truth.max()
    low, high = posterior.gamma_interval(0.95, tau[there])
    assert (low > 0).all()
    assert 0.9 <= share(low, high, truth[there]) <= 1.0
    assert 0.85 <= share(*posterior.r_pol_interval(0.95), 90.0) <= 1.0
    assert 0.85 <= share(*posterior.element_interval("r_inf", 0.95), 10.0) <= 1.0
    assert 0.85 <= share(*posterior.element_interval("inductance", 0.95), 2e-6) <= 1.0
    valley = float(tau[np.argmin(np.where((tau > 1e-3) & (tau < 0.3), truth, np.inf))])
    y = np.linspace(np.log(result.tau[0]), np.log(valley), 4001)
    first = np.trapezoid(cole_cole(np.exp(y), 30, 1e-3, 0.85) + cole_cole(np.exp(y), 60, 0.3, 0.8), y)
    assert 0.85 <= share(*posterior.resistance_interval(float(result.tau[0]), valley), first) <= 1.0
    # Not by being wide: within a factor at the peaks, and percents for resistances.
    middle = np.argmin(np.abs(tau[there] - 0.3))
    assert np.median(high[:, middle] / low[:, middle]) < 2.0
    lowest, highest = posterior.r_pol_interval()
    assert np.median(highest / lowest) < 1.05


def test_the_noise_is_found(forty):
    spectra, result, posterior = forty
    total = np.hypot(posterior.noise[:, :1], posterior.noise[:, 1:] * np.abs(spectra.impedance))
    assert np.median(total) == pytest.approx(0.3, rel=0.05)
    relative = drt.Spectra(
        spectra.frequency,
        result.impedance_at(spectra.frequency) * (1 + 0.01 * noise(np.random.default_rng(8), (40, 71))),
    )
    _, proportional = posterior_of(relative, LogGaussian(noise="proportional", robust=False))
    assert np.median(proportional.noise[:, 1]) == pytest.approx(0.01, rel=0.05)
    assert (proportional.noise[:, 0] == 0.0).all()


def test_levels_and_resistances_follow_from_the_covariance(forty):
    _, result, posterior = forty
    # Without what the data allow at most and where they lead, which have no level.
    posterior = replace(posterior, pull=None)
    plain = replace(posterior, allowed=None)
    one, other = plain.gamma_interval(0.6827), plain.gamma_interval(0.9545)
    shift = np.abs(posterior.shift[:, : result.tau.size])
    width = [np.log(high / low) - shift for low, high in (one, other)]
    np.testing.assert_allclose(width[1], 2 * width[0], rtol=1e-3)
    # A small move of ln γ along each of its directions, and what it does to the logarithm of the resistance.
    values, vectors = np.linalg.eigh(posterior.covariance[3, : result.tau.size, : result.tau.size])
    moved = result.coefficients[3] * np.exp(1e-6 * np.sqrt(values.clip(min=0)) * vectors).T
    each = np.log(moved @ result.expansion.areas / result.r_pol[3]) / 1e-6
    ends = float(result.tau[0]), float(result.tau[-1])
    low, high = posterior.resistance_interval(*ends, 0.6826894921)
    shift = np.abs(posterior.shift[3, : result.tau.size] @ (result.coefficients[3] * result.expansion.areas))
    width = np.log(high[3] / low[3]) - shift / result.r_pol[3]
    assert width / 2 == pytest.approx(np.sqrt(np.sum(each**2)), rel=1e-4)
    whole, r_pol = posterior.resistance_interval(*ends), posterior.r_pol_interval()
    outside = areas_between(result.expansion, posterior.window_end, ends[1]) @ result.coefficients.T
    less = np.hypot(result.r_pol - whole[0], 1.959964 * np.hypot(0.14 * outside, 0.6 * posterior.rises_before))
    np.testing.assert_allclose(r_pol[0], result.r_pol - less, rtol=1e-6)
    assert (less < 1.1 * (result.r_pol - whole[0])).all()
    assert (r_pol[1] > whole[1]).all()
    assert (whole[0] < result.r_pol).all()
    assert (result.r_pol < whole[1]).all()


def straight(result, tau):
    """Return γ as resistances have it: straight lines between relaxation times."""
    return result.coefficients @ result.expansion.values(tau).T


def test_parts_of_the_resistance_are_integrals_of_gamma(forty):
    _, result, posterior = forty
    low, high = replace(posterior, pull=None).resistance_interval(2.3e-4, 0.071)
    tau = np.sort(np.concatenate([np.geomspace(2.3e-4, 0.071, 20001), result.tau]))
    tau = tau[(tau >= 2.3e-4) & (tau <= 0.071)]
    exact = np.trapezoid(straight(result, tau), np.log(tau), axis=1)
    shift = np.sum(posterior.shift[:, : result.tau.size] * _shares(result), axis=1)
    np.testing.assert_allclose(np.sqrt(low * high) / np.exp(0.5 * shift), exact, rtol=1e-6)


def test_boundaries_are_no_better_known_than_the_grid_resolves_them(forty):
    _, result, posterior = forty
    posterior = replace(posterior, pull=None)
    low, high = 2.3e-4, 0.071
    spacing = np.log(result.tau[1] / result.tau[0])
    logs = result.tau.size
    for ends, blurred in (((low, high), 0.5 * spacing), ((low, low * 1.2), np.log(1.2) / 8)):
        parts = result.coefficients * areas_between(result.expansion, *ends)
        share = parts / parts.sum(axis=1, keepdims=True)
        plain = np.einsum("ki,kij,kj->k", share, posterior.covariance[:, :logs, :logs], share)
        there = straight(result, np.array(ends)) * blurred / parts.sum(axis=1, keepdims=True)
        least, most = posterior.resistance_interval(*ends, 0.6826894921)
        shift = np.abs(np.sum(share * posterior.shift[:, :logs], axis=1))
        half = 0.5 * (np.log(most / least) - shift)
        np.testing.assert_allclose(half, np.sqrt(plain + np.sum(there**2, axis=1)), rtol=1e-6)
    # An end of the grid is no boundary within γ.
    first = float(result.tau[0])
    assert posterior._blur(first, high) == pytest.approx(0.5 * spacing * straight(result, np.array([high]))[:, 0])
    assert (posterior._blur(first, float(result.tau[-1])) == 0.0).all()


def _prior(u, lam, tau, window):
    """Last two lines of the objective, as docs/log-gaussian.md states them."""
    y = np.log(tau)
    h, middle = np.diff(y), 0.5 * (y[1:] + y[:-1])
    lean = 0.8 * h * ((middle < np.log(window[0])) * 1.0 - (middle > np.log(window[1])))
    slopes = np.diff(u) / h
    bend, knee = np.diff(slopes), 0.25 * 0.5 * (h[1:] + h[:-1])
    smooth = 0.5 * lam * np.sum((np.diff(u) - lean) ** 2 / h)
    return smooth + 0.7 * np.sum(knee * (np.sqrt(1.0 + lam * (bend / knee) ** 2) - 1.0))


def _by_differences(function, u):
    steps = 1e-5 * np.eye(u.size)
    return np.array([(function(u + step) - function(u - step)) / 2e-5 for step in steps])


def test_where_the_data_lead_if_the_prior_lets_go():
    frequency = np.logspace(5, -2, 71)
    z = [
        10 + 2j * np.pi * frequency * 2e-6 + zarc(frequency, 30, 1e-3, p) + zarc(frequency, 60, 0.3, p)
        for p in (0.8, 1)
    ]
    exact = np.repeat(z, 2, axis=0)
    spectra = drt.Spectra(frequency, exact * (1 + 0.003 * noise(np.random.default_rng(5), exact.shape)))
    result, posterior = posterior_of(spectra, LogGaussian())
    tau, logs = result.tau, result.tau.size
    window = result.expansion.window(spectra.frequency)
    shares = []
    for k in range(4):
        u, lam, covariance = np.log(result.coefficients[k]), result.regularisation[k], posterior.covariance[k]
        force = _by_differences(lambda u, lam=lam: _prior(u, lam, tau, window), u)
        along = covariance[:, :logs] @ (force * ((tau >= window[0]) & (tau <= window[1])))
        # What γ, R_inf and L do to the impedance for a small step that way, in standard deviations of the noise.
        z = result.expansion.impedance(spectra.frequency) @ (result.coefficients[k] * along[:logs])
        z = z + along[logs] + 2j * np.pi * spectra.frequency * along[logs + 1]
        sigma = np.hypot(posterior.noise[k, 0], posterior.noise[k, 1] * np.abs(spectra.impedance[k]))
        inside = force * ((tau >= window[0]) & (tau <= window[1]))
        shares.append(min((inside @ along[:logs]) / np.sum(np.abs(z / sigma) ** 2), 1.0))
        np.testing.assert_allclose(posterior.strain[k], inside @ along[:logs] / 71, rtol=1e-3)
        step = shares[k] * along
        np.testing.assert_allclose(posterior.pull[k, 0], step, rtol=1e-3, atol=1e-6 * np.abs(step).max())
        # Without the doubt about λ, the covariance times the derivative by ln λ is that doubt, but for its factor.
        more, less = (
            _by_differences(lambda u, lam=lam, f=f: _prior(u, lam * f, tau, window), u) for f in (1.001, 0.999)
        )
        doubt = posterior.pull[k, 1]
        rest = covariance - np.outer(doubt, doubt)
        assert np.linalg.eigvalsh(rest / np.sqrt(np.outer(np.diag(rest), np.diag(rest)))).min() > -1e-6
        moved = 1.6 * rest[:, :logs] @ (more - less) / 2e-3
        np.testing.assert_allclose(moved, doubt, rtol=1e-3, atol=3e-4 * np.abs(doubt).max())
    # Of arcs all of the step, of ideal RC elements as far as the data want it.
    assert max(shares) == 1.0
    assert min(shares) < 0.6


def test_ends_are_the_farther_ones_of_both(forty):
    _, result, posterior = forty
    logs, ends = result.tau.size, (float(result.tau[0]), float(result.tau[-1]))
    plain, found = replace(posterior, pull=None), posterior.resistance_interval(*ends)
    share = result.coefficients * result.expansion.areas / result.r_pol[:, None]
    step, doubt = np.einsum("km,knm->nk", share, posterior.pull[:, :, :logs])
    whole = np.sqrt(np.einsum("ki,kij,kj->k", share, posterior.covariance[:, :logs, :logs], share))
    shift = np.sum(share * posterior.shift[:, :logs], axis=1)
    rest = 1.959964 * np.sqrt(whole**2 - doubt**2)
    for own, of_plain, side in zip(found, plain.resistance_interval(*ends), (-1.0, 1.0), strict=True):
        other = result.r_pol * np.exp(np.maximum(side * shift, 0.0) * side + step + side * rest)
        np.testing.assert_allclose(own, np.maximum(side * of_plain, side * other) * side, rtol=1e-6)
    low, high = posterior.element_interval("r_inf")
    less, more = plain.element_interval("r_inf")
    assert (low <= less).all()
    assert (high >= more).all()
    assert (high > more).any()


def test_bands_reach_to_where_the_data_lead(forty):
    _, result, posterior = forty
    logs, free = result.tau.size, replace(posterior, allowed=None)
    whole, step, doubt = posterior.deviation, 1.5 * posterior.pull[:, 0, :logs], posterior.pull[:, 1, :logs]
    half, rest = 1.959964 * whole, 1.959964 * np.sqrt(whole**2 - doubt**2)
    shift = posterior.shift[:, :logs]
    for strain in (posterior.strain, np.full(40, 0.3), np.full(40, 9.0)):
        wide = np.sqrt(0.25 + 12 * np.maximum(strain - 0.057, 0))[:, None]
        # Where nothing is determined, bands are not less wide than the covariance says.
        wide = np.where(wide > 1, np.minimum(wide, 2.5), 1 - (1 - wide) / (1 + 4 * whole**2))
        low, high = (np.log(end / result.coefficients) for end in replace(free, strain=strain).gamma_interval(0.95))
        np.testing.assert_allclose(low, np.minimum(shift, 0) + wide * np.minimum(-half, step - rest), rtol=1e-6)
        np.testing.assert_allclose(high, np.maximum(shift, 0) + wide * np.maximum(half, step + rest), rtol=1e-6)


@pytest.mark.parametrize("kind", ["three sharp ones", "box", "arcs"])
def test_bands_are_wider_where_the_data_strain_against_the_prior(kind):
    # Sharp peaks that come out as one, and a γ with edges; of arcs all is as the prior expects.
    frequency = np.geomspace(1e7, 1e2, 31) if kind == "three sharp ones" else np.geomspace(1e5, 1e-2, 71)
    scenario = {
        "three sharp ones": (ZARC(14, 5e-5, 0.82), ZARC(6, 1.6e-4, 0.96), ZARC(25, 1e-5, 0.65), ZARC(15, 6e-4, 0.94)),
        "box": (PiecewiseConstant([1e-3, 3e-2], [12.0]),),
        "arcs": (ZARC(20, 2e-4, 0.85), ZARC(50, 0.05, 0.8)),
    }[kind]
    circuit = Circuit((Resistor(10.0), *scenario))
    size = 0.005 * 50 if kind == "box" else 0.1
    z = circuit.impedance(frequency) + size * noise(np.random.default_rng(51), (20, frequency.size))
    tau = np.geomspace(0.5 / (np.pi * frequency.max()), 0.5 / (np.pi * frequency.min()), 401)
    truth = circuit.gamma(tau)
    there = truth > 0.02 * truth.max()
    low, high = drt.invert(drt.Spectra(frequency, z)).gamma_interval(0.95, tau[there])
    # With one width for all it is 0.74 and 0.87, and 1.00 of arcs with bands half as wide again.
    assert share(low, high, truth[there]) >= (0.83 if kind == "three sharp ones" else 0.95)
    if kind == "arcs":
        assert np.median((high - low) / truth[there]) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("size", "points"), [(3e-4, 71), (3e-4, 141), (1e-3, 281), (3e-3, 71), (1e-2, 71)])
def test_intervals_of_ideal_rc_elements_cover_what_they_should(size, points):
    rng, frequency = np.random.default_rng(77), np.geomspace(1e5, 1e-2, points)
    taus = 10.0 ** (np.array([-3.6, -1.1]) + rng.uniform(-0.5, 0.5, (100, 2)))
    r = 10.0 ** rng.uniform(0.7, 2.0, (100, 2))
    one, other = (r[:, n, None] / (1.0 + 2j * np.pi * frequency * taus[:, n, None]) for n in (0, 1))
    z = np.concatenate([10.0 + other, 10.0 + one + other])
    truth = np.concatenate([r[:, 1], r.sum(axis=1)])
    result = drt.invert(drt.Spectra(frequency, z * (1 + size * noise(rng, z.shape))), level=0.95)
    found = result.intervals
    assert share(found.r_pol_low, found.r_pol_high, truth) >= 0.93
    assert share(found.r_inf_low, found.r_inf_high, 10.0) >= 0.93
    # Not by being wide.
    assert np.nanmedian((found.r_pol_high - result.r_pol) / truth) < 0.03 + 50 * size
    assert np.nanmedian((result.r_pol - found.r_pol_low) / truth) < max(2 * size, 0.0015)
    assert np.mean((result.status & drt.Status.EXTRAPOLATED) > 0) <= 0.025
    peaks = result[100:].peaks()
    two = peaks[peaks["kind"] == "maximum"].groupby("spectrum").filter(lambda own: len(own) == 2)
    off = two["r"].to_numpy().reshape(-1, 2) - r[two["spectrum"].to_numpy()[::2]]
    assert len(off) >= 80
    assert np.mean(np.abs(off) < 1.96 * two["r_error"].to_numpy().reshape(-1, 2)) >= 0.93


def _shares(result):
    parts = result.coefficients * areas_between(result.expansion, 2.3e-4, 0.071)
    return parts / parts.sum(axis=1, keepdims=True)


def test_units_do_not_matter(forty):
    spectra, _, posterior = forty
    few = drt.Spectra(spectra.frequency, 1e-4 * spectra.impedance[:4])
    _, small = posterior_of(few, LogGaussian())
    np.testing.assert_allclose(small.deviation, posterior.deviation[:4], rtol=1e-5)
    np.testing.assert_allclose(small.noise, [1e-4, 1.0] * posterior.noise[:4], rtol=1e-5)
    for name in ("r_inf", "inductance"):
        np.testing.assert_allclose(
            small.element_interval(name),
            1e-4 * np.array(posterior.element_interval(name))[:, :4],
            rtol=1e-5,
            atol=1e-16,
        )


def test_sharp_peaks_are_as_wide_as_the_grid():
    frequency = np.logspace(5, -2, 71)
    z = 10 + 50 / (1 + 2j * np.pi * frequency * 1e-2) + 0.05 * noise(np.random.default_rng(1), (3, 71))
    result, posterior = posterior_of(drt.Spectra(frequency, z), LogGaussian())
    top = result.gamma.argmax(axis=1)
    assert (posterior.deviation[np.arange(3), top] > 0.5).all()
    np.testing.assert_allclose(result.r_pol, 50.0, rtol=2e-3)


@pytest.mark.parametrize("arc", [0.0, 20.0])
def test_no_upper_end_is_far_above_what_the_data_allow(arc):
    # An ideal RC element: γ is nothing at all beside it, and what it may be there is what noise can hide.
    frequency, noise_of = np.logspace(4, -2, 61), 0.1
    z = 10 + 50 / (1 + 2j * np.pi * frequency * 1e-2) + noise_of * noise(np.random.default_rng(1), (1, 61))
    z = z + zarc(frequency, arc, 0.3, 0.8)
    result, posterior = posterior_of(drt.Spectra(frequency, z), LogGaussian(noise=(noise_of, 0.0)))
    _, high = posterior.gamma_interval(0.95)
    problem = LogGaussian().problem(frequency, result.expansion)
    b, size = problem.data(z)
    a, data = problem.matrix * (size[0] / noise_of), b[0] * (size[0] / noise_of)
    own = np.hstack([result.coefficients[0], result.r_inf, result.inductance]) / size[0] * problem.scale
    most = np.sum((a @ own - data) ** 2) + 3.84
    for node in np.delete(np.arange(12, 66), result.gamma[0].argmax() - 12):
        # Twice the largest that leaves no more than the solution, whatever the others are.
        half = 0.5 * high[0, node] / size[0] * problem.scale[node]
        assert nnls(np.delete(a, node, axis=1), data - half * a[:, node], maxiter=10000)[1] ** 2 < most, node
        more = 8.0 if arc == 0.0 else 16.0
        assert nnls(np.delete(a, node, axis=1), data - more * half * a[:, node], maxiter=10000)[1] ** 2 > most, node
    # Without it the band says nothing there.
    assert arc or replace(posterior, allowed=None).gamma_interval(0.95)[1][0, 62] > 5 * high[0, 62]


def test_limits_end_bands_as_if_they_were_known_everywhere(forty):
    _, result, posterior = forty
    every = np.full(result.coefficients.shape, np.inf)
    allowed = posterior.allowed.below(every)
    ended = []
    for level in (0.5, 0.95, 0.9999):
        high = posterior.gamma_interval(level)[1]
        free = replace(posterior, allowed=None).gamma_interval(level)[1]
        expected = np.minimum(free, np.maximum(1.25 * allowed, result.coefficients))
        np.testing.assert_allclose(high, expected, rtol=1e-12)
        ended.append(np.mean(high < free))
    assert 0.0 <= ended[0] < ended[1] < ended[2] < 1.0


def test_bands_are_wider_where_gamma_is_steep():
    frequency = np.logspace(5, -2, 71)
    y = np.linspace(np.log(1e-3), np.log(3e-2), 2001)
    weight = np.full(y.size, y[1] - y[0])
    weight[[0, -1]] *= 0.5
    box = 10 + (1 / (1 + 2j * np.pi * frequency[:, None] * np.exp(y))) @ (12 * weight)
    arc = 10 + zarc(frequency, 40, 5e-3, 0.75)
    z = np.concatenate([one + 0.2 * noise(np.random.default_rng(3), (4, 71)) for one in (box, arc)])
    result, posterior = posterior_of(drt.Spectra(frequency, z), LogGaussian())
    tau = np.geomspace(1e-3, 3e-2, 60)[1:-1]
    low, high = posterior.gamma_interval(0.95, tau)
    assert share(low[:4], high[:4], 12.0) > 0.8
    edges, middle = np.abs(np.log(result.tau / 1e-3)) < 0.3, np.abs(np.log(result.tau / 5e-3)) < 0.5
    wide = posterior.deviation[:4]
    assert np.median(wide[:, edges]) > 2 * np.median(wide[:, middle])
    straight = posterior.deviation[4:][:, np.abs(np.log(result.tau / 5e-3)) < 3]
    assert np.median(wide[:, edges]) > 2 * np.median(straight)


def test_what_has_no_answer_has_no_interval(forty):
    spectra, _, _ = forty
    z = spectra.impedance[:2].copy()
    z[0] = 0.0
    _, posterior = posterior_of(drt.Spectra(spectra.frequency, z), LogGaussian())
    low, high = posterior.gamma_interval()
    assert np.isnan(low[0]).all()
    assert np.isfinite(high[1]).all()


def test_refuses_what_makes_no_sense(forty):
    _, _, posterior = forty
    for level in (0.0, 1.0, 95, True, "0.95"):
        with pytest.raises(InputError, match="probability between 0 and 1"):
            posterior.gamma_interval(level)
    with pytest.raises(InputError, match="ascend"):
        posterior.resistance_interval(1.0, 0.1)
    with pytest.raises(InputError, match="not an unknown of the model"):
        posterior.element_interval("elastance")


def test_cutting_off_is_that_of_sampling():
    rng = np.random.default_rng(3)
    root = rng.standard_normal((5, 5))
    covariance = root @ root.T + np.eye(5)
    mean = np.array([1.0, -2.0, 0.5, -1.5, 0.8])
    moved, left, _uncut = (one[0] for one in cut_at_zero(mean[None], covariance[None].copy(), 3))
    drawn = rng.multivariate_normal(mean, covariance, 2_000_000)
    drawn = drawn[(drawn[:, 3:] > 0).all(axis=1)]
    np.testing.assert_allclose(moved, drawn.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(left, np.cov(drawn.T), atol=0.1)
    # A single one is exact, and one far from zero is as it was.
    alone, spread, before = (one[0] for one in cut_at_zero(np.array([[0.0, -1.0]]), np.eye(2)[None], 1))
    exact = truncnorm(1.0, np.inf, loc=-1.0)
    np.testing.assert_allclose(alone, [0.0, exact.mean()], atol=1e-8)
    np.testing.assert_allclose(spread[1, 1], exact.var(), atol=1e-8)
    np.testing.assert_allclose(before, [[-1.0], [1.0]], atol=1e-8)
    far = cut_at_zero(np.array([[0.0, 30.0]]), np.eye(2)[None], 1)
    np.testing.assert_allclose(far[0], [[0.0, 30.0]], atol=1e-12)
    np.testing.assert_allclose(far[1], np.eye(2)[None], atol=1e-12)


def test_most_probable_values_hold_what_they_should():
    z = np.array([-40.0, -3.0, 0.0, 1.0, 1.6, 1.7, 3.0, 10.0])
    low, high = most_probable(z, np.ones_like(z), 0.95)
    assert (low[:5] == 0.0).all()
    assert (low[5:] > 0.0).all()
    below, above = ndtr(-(high - z)), ndtr(z - low)
    inside = (above - below)[1:] / ndtr(z[1:])
    np.testing.assert_allclose(inside, 0.95, rtol=1e-6)
    np.testing.assert_allclose(high[0], 0.0748, rtol=0.01)
    np.testing.assert_allclose(high[-1] - 10.0, 1.959964, rtol=1e-5)


@pytest.mark.parametrize("r_inf", [0.0, 0.5, 1.0, 3.0])
def test_a_resistance_near_zero_is_covered(r_inf):
    frequency = np.geomspace(1e5, 1e-2, 71)
    exact = r_inf + zarc(frequency, 100, 3e-6, 0.9) + zarc(frequency, 50, 0.05, 0.85)
    z = exact * (1 + 0.003 * noise(np.random.default_rng(9), (40, 71)))
    found = drt.invert(drt.Spectra(frequency, z), level=0.95).intervals
    assert share(found.r_inf_low, found.r_inf_high, r_inf) >= 0.925
    assert share(found.r_pol_low, found.r_pol_high, 150.0) >= 0.925
    assert np.median(found.r_inf_high - found.r_inf_low) < 5.5
    assert np.median(found.r_pol_high - found.r_pol_low) < 8.5


@pytest.mark.parametrize("n", [0.3, 0.35, 0.8])
def test_flanks_of_broad_arcs_that_go_on_beyond_the_window_are_allowed_for(n, monkeypatch):
    frequency = np.geomspace(1e5, 1e-2, 71)
    exact = 3 + zarc(frequency, 1, 2e-4, 0.8) + zarc(frequency, 2, 0.05, n)
    z = exact * (1 + 0.001 * noise(np.random.default_rng(5), (20, 71)))
    result = drt.invert(drt.Spectra(frequency, z), level=0.95)
    found = result.intervals
    assert share(found.r_pol_low, found.r_pol_high, 3.0) >= 0.9
    assert share(found.r_inf_low, found.r_inf_high, 3.0) >= 0.7
    # 4 to 7 % of R_pol are missing in these, and next to nothing where the slope is that of the prior.
    assert np.median(found.r_pol_high - found.r_pol_low) < (0.05 if n == 0.8 else 0.8)
    rows = result.peaks()
    monkeypatch.setattr("drt_engine.uncertainty.posterior._GOES_ON", 0.0)
    without = drt.invert(drt.Spectra(frequency, z), level=0.95)
    share_without = share(without.intervals.r_pol_low, without.intervals.r_pol_high, 3.0)
    assert share_without < 0.5 or n == 0.8
    change = rows["r_error"] / without.peaks()["r_error"]
    # The same is not known of the first and of the last peak.
    assert (change >= 1.0).all()
    assert (change.groupby(rows["spectrum"]).last() > 1.0).all() or n == 0.8


@pytest.mark.parametrize(("times", "widest"), [(0.01, 0.03), (0.1, 0.06), (1.0, 0.5), (10.0, 10.0), (100.0, 10.0)])
def test_what_lies_beyond_the_window_is_not_known(times, widest):
    frequency = np.geomspace(1e5, 1e-2, 71)
    z = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, times / (2e-2 * np.pi), 0.85)
    z = z * (1 + 0.003 * noise(np.random.default_rng(1), (40, 71)))
    result = drt.invert(drt.Spectra(frequency, z), level=0.95)
    found = result.intervals
    assert share(found.r_pol_low, found.r_pol_high, 70.0) >= 0.925
    assert np.median(found.r_pol_high / found.r_pol_low) < 1 + widest
    told = np.count_nonzero(result.status & drt.Status.EXTRAPOLATED)
    assert told == 40 if times >= 1 else told <= 1  # as chance has it
    assert not (result.status & ~np.uint32(drt.Status.EXTRAPOLATED)).any()
    omega = 2 * np.pi * frequency
    tau = np.geomspace(1 / omega.max(), 1 / omega.min(), 20001)
    inside = np.trapezoid(straight(result, tau), np.log(tau), axis=1)
    np.testing.assert_allclose(result.r_pol_beyond, 1 - inside / result.r_pol, atol=1e-4)


@pytest.mark.parametrize(("phi", "times", "size"), [(0.95, 3.0, 0.003), (0.9, 3.0, 0.01), (0.95, 1.0, 0.01)])
def test_a_sharp_process_beyond_the_window_may_end_sooner_than_is_expected(phi, times, size):
    frequency = np.geomspace(1e5, 1e-2, 71)
    z = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, times / (2e-2 * np.pi), phi)
    z = z * (1 + size * noise(np.random.default_rng(21), (40, 71)))
    result = drt.invert(drt.Spectra(frequency, z), level=0.95)
    found = result.intervals
    assert share(found.r_pol_low, found.r_pol_high, 70.0) >= 0.93
    # Not because nothing is known any more.
    assert np.median(found.r_pol_low) > 50
    assert result.counts() == {"ok": 0, "extrapolated": 40}


@pytest.mark.parametrize("size", [3e-3, 1e-2])
def test_no_more_lies_beyond_the_window_than_the_data_admit(size, monkeypatch):
    # By the profile likelihood: γ ≥ 0 up to the end of the window, and after the last relaxation time a tail ~ τ^−0.8,
    # which processes that are slower yet do not have.
    monkeypatch.setattr(posterior_module, "_SLOWER", 0.0)
    frequency = np.geomspace(1e5, 1e-2, 71)
    s, exact = 2j * np.pi * frequency[:, None], 10 + zarc(frequency, 20, 2e-4, 1) + zarc(frequency, 50, 0.05, 1)
    z = exact * (1 + size * noise(np.random.default_rng(3), (12, 71)))
    result = drt.invert(drt.Spectra(frequency, z), level=0.95)
    last = result.tau[-1]
    tau, late = np.geomspace(result.tau[0], 0.1 * last, 181), np.geomspace(last, 1e6 * last, 2001)
    tail = np.trapezoid((late / last) ** -0.8 / (1 + s * late), np.log(late), axis=1) / 1.25
    sigma = size * np.tile(np.abs(exact), 2)

    def parts(values):
        return np.concatenate([values.real, values.imag]) / sigma

    columns = np.stack([parts(one) for one in np.vstack([np.ones((1, 71)), 1 / (1 + s * tau).T])], axis=1)

    def misfit(resistance, data):
        return nnls(columns, data - resistance * parts(tail))[1] ** 2

    most = []
    for data in map(parts, z):
        best = nnls(np.column_stack([columns, parts(tail)]), data)[1] ** 2
        most.append(brentq(lambda r, data=data, best=best: misfit(r, data) - best - 1.959964**2, 0.0, 1e3, rtol=1e-3))
    more = result.intervals.r_pol_high - result.r_pol
    assert np.median(most) < np.median(more) < 2 * np.median(most)
    assert (more > 0.75 * np.array(most)).all()


@pytest.mark.parametrize("size", [3e-4, 3e-3])
@pytest.mark.parametrize("kind", ["arc of 0.5", "arc of 0.55", "two of 0.6", "fractal Gerischer", "Gerischer"])
def test_tails_that_fall_more_slowly_than_expected_are_covered(kind, size):
    # They go on outside: of the arc of 0.5, 0.13 ohm before the first relaxation time and 0.25 after the last.
    frequency = np.geomspace(1e5, 1e-2, 71)
    s = 2j * np.pi * frequency
    exact, r_pol = {
        "arc of 0.5": (zarc(frequency, 50, 0.01, 0.5), 50.0),
        "arc of 0.55": (zarc(frequency, 50, 0.01, 0.55), 50.0),
        "two of 0.6": (zarc(frequency, 50, 0.03, 0.6) + zarc(frequency, 20, 1e-3, 0.6), 70.0),
        "fractal Gerischer": (50 / np.sqrt(1 + (0.05 * s) ** 0.8), 50.0),
        "Gerischer": (50 / np.sqrt(1 + 0.05 * s), 50.0),
    }[kind]
    z = (10 + exact) * (1 + size * noise(np.random.default_rng(41), (40, 71)))
    result = drt.invert(drt.Spectra(frequency, z), level=0.95)
    found = result.intervals
    assert share(found.r_pol_low, found.r_pol_high, r_pol) >= 0.9
    assert share(found.r_inf_low, found.r_inf_high, 10.0) >= 0.9
    # Not by being wide.
    assert np.median((found.r_pol_high - found.r_pol_low) / r_pol) < 0.03


@pytest.mark.parametrize("size", [5e-4, 3e-3])
@pytest.mark.parametrize("farad", [0.0, 1e-9, 3e-9, 1e-8])
def test_a_capacitance_beside_the_whole_cell_is_in_the_intervals(farad, size):
    frequency = np.geomspace(1e5, 1e-2, 71)
    cell = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, 0.05, 0.85)
    z = 1 / (1 / cell + 2j * np.pi * frequency * farad)
    z = z * (1 + size * noise(np.random.default_rng(61), (40, 71)))
    found = drt.invert(drt.Spectra(frequency, z), level=0.95).intervals
    assert share(found.r_inf_low, found.r_inf_high, 10.0) >= 0.95
    assert share(found.r_pol_low, found.r_pol_high, 70.0) >= 0.95
    if not farad:
        # Without it nothing is wider.
        assert np.median(found.r_inf_high - found.r_inf_low) < 0.05 + 60 * size


def test_what_rises_before_the_window_is_what_is_above_the_flank():
    tau = np.geomspace(1e-6, 1e2, 81)
    y = np.log(tau)
    for slope, own in ((0.5, 0.5), (1.4, 0.8), (-0.3, 0.0)):
        # From 1e-5 s on are the data; the flank is that of 1e-4 s.
        flank = 7.0 * (tau / 1e-4) ** slope
        gamma = flank + 3.0 * (tau / 1e-6) ** -1.0
        expansion = Expansion(tau, "piecewise-linear", np.nan)
        parameters = Parameters(gamma[None], *(np.zeros(1) for _ in range(3)))
        blank = np.zeros((1, 82)), np.zeros((1, 2, 1))
        known = LogPosterior(
            expansion, parameters, ("r_inf",), np.zeros((1, 82, 82)), np.zeros((1, 2)), *blank, 1e1, window_begin=1e-5
        )
        dense = np.linspace(y[0], np.log(1e-4), 20001)
        curve = np.interp(dense, y, np.maximum(gamma - gamma[20] * (tau / 1e-4) ** own, 0.0))
        expected = np.trapezoid(curve, dense)
        np.testing.assert_allclose(known.rises_before, expected, rtol=0.1)
        assert not replace(known, window_begin=None).rises_before.any()
        # A peak within the first decade of the window is one of the window.
        peaked = replace(
            known, parameters=Parameters(gamma[None] + 50 * np.exp(-((y + 10.5) ** 2) / 0.1), *[np.zeros(1)] * 3)
        )
        assert 1.5 < peaked.rises_before[0] < 3.5 or slope < 0.0


def test_what_flanks_have_more_outside_is_half_of_their_integral():
    tau = np.geomspace(1e-6, 1e2, 81)
    for slope, more in (
        (0.5, 1 / 0.5 - 1 / 0.8),
        (0.9, 0.0),
        (0.25, 1 / 0.25 - 1 / 0.8),
        (0.05, 10 - 1 / 0.8),
        (-0.5, 0.0),
    ):
        gamma = 7.0 * np.where(tau < 1e-2, (tau / 1e-2) ** slope, (tau / 1e-2) ** -slope)
        expansion = Expansion(tau, "piecewise-linear", np.nan)
        parameters = Parameters(gamma[None], *(np.zeros(1) for _ in range(3)))
        blank = np.zeros((1, 82)), np.zeros((1, 2, 1))
        known = LogPosterior(
            expansion, parameters, ("r_inf",), np.zeros((1, 82, 82)), np.zeros((1, 2)), *blank, 1e1, window_begin=1e-5
        )
        expected = 0.5 * 7.0 * 1e-3**slope * more
        np.testing.assert_allclose(known.goes_on, [[expected], [expected]], rtol=2e-2, atol=1e-12)
        assert not replace(known, window_begin=None).goes_on[0].any()


def test_a_slow_arc_of_which_little_is_seen_is_told():
    frequency = np.geomspace(1e5, 1e-2, 71)
    slow = zarc(frequency, 15, 100 / (2e-2 * np.pi), 0.8)
    z = 10 + zarc(frequency, 20, 2e-4, 0.9) + np.array([0.0 * slow, slow])[:, None]
    z = z * (1 + 0.001 * noise(np.random.default_rng(5), (2, 20, 71)))
    for method in (LogGaussian(), drt.Tikhonov()):
        result = drt.invert(drt.Spectra(frequency, z.reshape(40, 71)), method)
        told = (result.status & drt.Status.EXTRAPOLATED) > 0
        assert not told[:20].any()
        # Tikhonov's γ rings there anyway.
        assert told[20:].all() or isinstance(method, drt.Tikhonov)
    assert np.median(drt.invert(drt.Spectra(frequency, z[1])).r_pol_beyond) < 0.1


def test_a_process_that_is_cut_through_at_the_highest_frequency_is_told():
    frequency = np.geomspace(1e5, 1e-2, 71)
    omega = 2j * np.pi * frequency
    root = np.sqrt(omega * 10 / (2e5 * np.pi))
    arcs = 10 + zarc(frequency, 40, 0.05, 0.9) + zarc(frequency, 20, 30 / (2e5 * np.pi), 0.9)
    # An inductance does not hide it: that Im Z is positive there says nothing of the relaxations.
    z = np.array([10 + 60 * np.tanh(root) / root, 10 + 60 * np.tanh(root) / root + 1e-4 * omega, arcs])
    z = np.repeat(z, 20, axis=0) * (1 + 0.01 * noise(np.random.default_rng(45), (60, 71)))
    result = drt.invert(drt.Spectra(frequency, z))
    told = np.mean((result.status.reshape(3, 20) & drt.Status.EXTRAPOLATED) > 0, axis=1)
    np.testing.assert_array_equal(told, [1.0, 1.0, 0.0])
    # Neither γ beyond the window nor the intervals tell of it.
    assert np.median(result.r_pol_beyond[:20]) < 0.1
    assert np.median(result.r_inf[:20]) > 15.0


def test_a_faint_flank_beside_broad_arcs_is_told():
    frequency = np.geomspace(1e5, 1e-2, 71)
    rng = np.random.default_rng(43)
    arcs = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, 0.05, 0.85)
    broad = [10 + zarc(frequency, 50, 0.05, n) for n in (0.5, 0.55, 0.6)]
    # γ at the end of the window takes half of the flank, unless it goes on there with nearly its own slope.
    z = np.array([arcs + zarc(frequency, 15, 100 / (2e-2 * np.pi), 0.9), arcs, *broad])
    z = z[:, None] * (1 + 0.001 * noise(rng, (5, 100, 71)))
    status = drt.invert(drt.Spectra(frequency, z.reshape(500, 71))).status.reshape(5, 100)
    told = np.mean((status & drt.Status.EXTRAPOLATED) > 0, axis=1)
    assert told[0] >= 0.85
    assert (told[1:] <= 0.02).all()


def test_a_slow_process_is_told_beside_one_at_the_end_of_the_window():
    frequency = np.geomspace(1e5, 1e-2, 71)
    slower = np.array([0.0, 1.0])[:, None] * zarc(frequency, 50, 30 / (2e-2 * np.pi), 0.9)
    # The second one has its peak within the last decade of the window.
    late = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, 1.0, 0.9) + slower
    latest = 10 + zarc(frequency, 50, 0.1, 0.8) + zarc(frequency, 10, 2.0, 0.9) + slower
    z = np.concatenate([late, latest])[:, None] * (1 + 0.003 * noise(np.random.default_rng(44), (4, 50, 71)))
    status = drt.invert(drt.Spectra(frequency, z.reshape(200, 71))).status.reshape(4, 50)
    told = np.mean((status & drt.Status.EXTRAPOLATED) > 0, axis=1)
    assert (told[[0, 2]] <= 0.02).all()
    assert (told[[1, 3]] >= 0.85).all()


def test_a_faint_flank_of_a_process_beyond_the_window_is_told_whichever_its_sign():
    frequency = np.geomspace(1e5, 1e-2, 71)
    fast = 10 + zarc(frequency, 20, 2e-4, 0.9)
    slow = zarc(frequency, 20, 100 / (2e-2 * np.pi), 0.9)
    s = 2j * np.pi * frequency
    z = np.array([fast, fast + slow, fast + 10 * 100 * s / (1 + 100 * s), fast + zarc(frequency, 50, 5.0, 0.7)])
    z = z[:, None] * (1 + 0.003 * noise(np.random.default_rng(6), (4, 50, 71)))
    status = drt.invert(drt.Spectra(frequency, z.reshape(200, 71))).status.reshape(4, 50)
    # R_pol of what is not there, 20 ohm or 10 ohm of a loop cannot be known; the arc of 5 s is within the window.
    told = np.mean((status & [[drt.Status.EXTRAPOLATED], [drt.Status.EXTRAPOLATED], [drt.Status.MISFIT], [0]]) > 0, 1)
    assert told[0] <= 0.04
    assert told[1] >= 0.9
    assert told[2] >= 0.98
    assert not (status[[0, 3]] & drt.Status.MISFIT).any()


def test_finite_diffusion_is_no_loop_at_low_noise():
    # Its slowest relaxation is ideal, and so narrower than the grid.
    frequency = np.geomspace(1e5, 1e-2, 200)
    s = 2j * np.pi * frequency
    root = np.sqrt(np.outer([0.5, 1.0, 2.4, 4.8], s))
    z = 10 + zarc(frequency, 20, 2e-4, 0.9) + 50 * np.tanh(root) / root
    loop = 10 + zarc(frequency, 20, 2e-4, 0.9) + 50 / (1 + 0.05 * s) + 30 * s / (1 + 30 * s)
    z = np.concatenate([z, [loop]])[:, None] * (1 + 2e-4 * noise(np.random.default_rng(71), (5, 5, 200)))
    status = drt.invert(drt.Spectra(frequency, z.reshape(25, 200))).status.reshape(5, 5)
    assert not (status[:4] & drt.Status.MISFIT).any()
    assert (status[4] & drt.Status.MISFIT).all()


@pytest.mark.parametrize("last", [1e3, 4.0])
def test_the_score_of_a_flank_is_that_of_least_squares(last):
    # With relaxation times up to beyond the window, and to within it only.
    frequency = np.geomspace(1e5, 1e-2, 71)
    z = 10 + zarc(frequency, 20, 2e-4, 0.9) + np.array([0.0, 20.0])[:, None] * zarc(frequency, 1, 1600.0, 0.9)
    z = z * (1 + 0.003 * noise(np.random.default_rng(8), (2, 71)))
    method = LogGaussian(tau=np.geomspace(1e-7, last, 61))
    expansion = method.expansion(frequency)
    solution = method.solve(frequency, z, expansion)
    found, error = slow_flank(solution, z, frequency, expansion)
    end, tau = 100 / (2 * np.pi), expansion.tau
    s, first = 2j * np.pi * frequency[:, None] * tau, int(np.argmax(tau >= 0.1 * end))
    unit, share = expansion.impedance(frequency), 1 / (1 + s)
    for k in range(2):
        gamma = solution.parameters.coefficients[k]
        earlier = int(np.argmax(tau >= 0.1 * end / np.sqrt(10)))
        slope = -np.log(gamma[first] / gamma[earlier]) / np.log(tau[first] / tau[earlier])
        slope = np.clip(0.7 * slope, 0.4, 0.6)
        tail = gamma.copy()
        for m in range(first + 1, tau.size):
            # Flatter by no more than that from the first one on, and than 0.35 from any.
            most = [gamma[first] * (tau[m] / tau[first]) ** -slope]
            most += [tail[n] * (tau[m] / tau[n]) ** -0.35 for n in range(first, m)]
            tail[m] = min(gamma[m], *most)
        above = gamma - tail
        bands = np.searchsorted([1e-4, 1e-3, 1e-2], tau / end, side="right")
        rest = [unit @ np.where(bands == band, tail, 0.0) for band in range(4)] + [np.ones(71)]
        rest.append((share * (1 - share) * (1 - 2 * share) * expansion.areas) @ tail)
        sigma = np.hypot(solution.noise_floor[k], solution.noise_relative[k] * np.abs(z[k]))
        left, flank, over = z[k] - solution.fit[k], (1j * frequency / frequency[-1]) ** -0.8, unit @ above
        rest, left, flank, over = (
            np.concatenate([one.real / sigma, one.imag / sigma], axis=-1) for one in (np.array(rest), left, flank, over)
        )
        left = np.clip(left, -4.0, 4.0) + over
        scale = np.linalg.norm(rest, axis=1, keepdims=True)
        flank = flank - (rest / scale).T @ np.linalg.lstsq((rest / scale).T, flank, rcond=None)[0]
        at_end = np.exp(np.interp(np.log(end), np.log(tau), np.log(gamma))) if end < tau[-1] else 0.0
        score = flank @ left / np.linalg.norm(flank)
        if at_end > 0.5 * sigma[-1]:
            # Here γ rises up to the end of the window.
            score = max(score, 0.0)
        np.testing.assert_allclose(found[k], score, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(error[k], 1.0 / np.linalg.norm(flank), rtol=1e-7)
        # Alone to the same bits.
        alone = solution.part(np.array([k]), np.arange(71))
        np.testing.assert_array_equal(
            slow_flank(alone, z[k : k + 1], frequency, expansion), ([found[k]], [error[k]]), strict=False
        )
    assert found[0] != 0.0
    assert found[1] > 5.0


@pytest.mark.parametrize(("slow", "times"), [(2.0, 10.0), (5.0, 30.0), (15.0, 100.0)])
def test_a_slow_process_that_is_hardly_seen_is_told_or_within_the_interval(slow, times, monkeypatch):
    # γ at the end of the window is above the noise, and falls nearly as without it.
    frequency = np.geomspace(1e5, 1e-2, 71)
    plain = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, 0.05, 0.85)
    z = plain + np.array([0.0, 1.0])[:, None] * zarc(frequency, slow, times / (2e-2 * np.pi), 0.8)
    z = (z[:, None] * (1 + 1e-3 * noise(np.random.default_rng(31), (2, 60, 71)))).reshape(120, 71)
    method = LogGaussian()
    result = drt.invert(drt.Spectra(frequency, z), method, level=0.95)
    found, told = result.intervals, (result.status & drt.Status.EXTRAPOLATED) > 0
    assert np.mean(told[:60]) <= 0.02
    assert np.mean(told[60:] | (found.r_pol_high >= 70 + slow)[60:]) >= 0.95
    assert share(found.r_pol_low[:60], found.r_pol_high[:60], 70.0) >= 0.93
    # Without such a process most upper ends are as near as they were.
    monkeypatch.setattr(posterior_module, "_SLOWER", 0.0)
    without = drt.invert(drt.Spectra(frequency, z), level=0.95)
    assert np.mean(found.r_pol_high[:60] < 1.01 * without.intervals.r_pol_high[:60]) > 0.6
    # Outward by what the data allow of a flank, from a score of 0.4 on.
    score, error = slow_flank(method.solve(frequency, z, result.expansion), z, frequency, result.expansion)
    more = np.clip((score - 0.4) / 0.6, 0.0, 1.0) * (np.clip(score, 0.0, 2.0) + 1.959964) * 100**0.8 * error
    np.testing.assert_allclose(
        found.r_pol_high - result.r_pol, np.hypot(without.intervals.r_pol_high - result.r_pol, more), rtol=1e-6
    )


def test_steep_flanks_widen_what_is_near_them(spectra_of_sharp):
    result, posterior = spectra_of_sharp
    y = np.log(result.tau)
    slope = np.abs(np.diff(np.log(result.coefficients), axis=1) / np.diff(y))
    expected = np.zeros_like(result.coefficients)
    for m, at in enumerate(y):
        for k, (before, after) in enumerate(pairwise(y)):
            apart = max(before - at, at - after, 0.0)
            excess = np.maximum(slope[:, k] - posterior_module._STEEP_SLOPE, 0.0)
            expected[:, m] = np.maximum(expected[:, m], excess * np.exp(-apart / posterior_module._STEEP_REACH))
    assert (expected > 0.0).any()
    np.testing.assert_allclose(posterior._steep(), expected, rtol=1e-12, atol=1e-300)


@pytest.fixture(scope="module")
def spectra_of_sharp():
    frequency = np.geomspace(1e5, 1e-2, 71)
    z = 10 + zarc(frequency, 20, 2e-4, 1.0) + zarc(frequency, 50, 0.05, 0.7)
    z = z * (1 + 0.001 * noise(np.random.default_rng(4), (3, 71)))
    return posterior_of(drt.Spectra(frequency, z), LogGaussian())


def test_what_cancels_beyond_the_window_is_beyond_it():
    frequency = np.geomspace(1e5, 1e-2, 71)
    s = 2j * np.pi * frequency
    z = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, 0.05, 0.85) + 20 * 30 * s / (1 + 30 * s)
    z = z * (1 + 0.003 * noise(np.random.default_rng(3), (4, 71)))
    result = drt.invert(drt.Spectra(frequency, z), LogGaussian(sign="both"))
    assert (result.status & drt.Status.EXTRAPOLATED).all()
    # 20 of 90 ohm are in the loop, nearly all of it slower than 16 s.
    assert ((result.r_pol_beyond > 0.1) & (result.r_pol_beyond < 0.3)).all()


B = 10.0, (20, 2e-4, 0.9), (50, 0.05, 0.85)


def _wrong(frequency, name):
    s = 2j * np.pi * frequency
    z = B[0] + sum(zarc(frequency, *each) for each in B[1:])
    return {
        "inductive loop": z + 20 * 3 * s / (1 + 3 * s),
        "negative resistance": z - zarc(frequency, 20, 3.0, 0.9),
        "wrong sign": z.conj() - 3e-6 * s,
    }[name]


@pytest.mark.parametrize("method", [LogGaussian(), drt.Tikhonov()], ids=["log", "Tikhonov"])
@pytest.mark.parametrize("name", ["inductive loop", "negative resistance", "wrong sign"])
def test_a_misfit_is_named_and_has_no_interval(name, method):
    frequency = np.geomspace(1e5, 1e-2, 71)
    z = _wrong(frequency, name) * (1 + 0.003 * noise(np.random.default_rng(2), (20, 71)))
    # Whether the sign is wrong is asked before, where nothing hides it.
    expansion = method.expansion(frequency)
    assert misfits(method.solve(frequency, z, expansion), z, frequency, expansion).all()
    if name != "wrong sign":
        result = drt.invert(drt.Spectra(frequency, z), method, level=0.95)
        assert result.counts()["misfit"] == 20
        assert result.residual.min() > 5 * 0.003
        assert np.isnan(result.intervals.gamma_high).all()
        assert np.isnan(result.intervals.r_pol_low).all()
        assert np.isfinite(result.gamma).all()


@pytest.mark.parametrize("method", [LogGaussian(), drt.Tikhonov(), drt.Convex()], ids=["log", "Tikhonov", "Convex"])
def test_a_spectrum_of_which_gamma_has_nothing_is_a_misfit(method):
    frequency = np.geomspace(1e5, 1e-2, 71)
    z = 100 - zarc(frequency, 30, 0.01, 0.9)
    result = drt.invert(drt.Spectra(frequency, z * (1 + 0.002 * noise(np.random.default_rng(0), (5, 71)))), method)
    assert result.gamma.max() < 1e-6
    assert ((result.status & drt.Status.MISFIT) > 0).all()


def test_points_that_are_met_exactly_hide_no_misfit():
    frequency, z = _wrong_at_an_end("capacitor")
    z = z * (1 + 5e-4 * noise(np.random.default_rng(5), (2, z.size)))
    method, expansion = LogGaussian(), LogGaussian().expansion(frequency)
    found = method.solve(frequency, z, expansion)
    fit = found.fit.copy()
    fit[:, [3, 30]] = z[:, [3, 30]]
    for factor in (1.0, 1e-140):
        parameters = found.parameters.rows(slice(None))
        parameters = replace(parameters, coefficients=factor * parameters.coefficients)
        scaled = replace(found, fit=factor * fit, parameters=parameters, noise_floor=factor * found.noise_floor)
        assert misfits(scaled, factor * z, frequency, expansion).all()


def _wrong_at_an_end(name):
    """Spectra whose ends no relaxations follow: circuits 4, 6 and 11 of pyimpspec's mock data, and blocked pores."""
    ends = {"lossy inductance": (3.5, -2, 56), "drift": (4, -1, 51), "capacitor": (5, -1, 61), "pores": (5, -2, 71)}
    frequency = np.logspace(*ends[name])
    s = 2j * np.pi * frequency
    if name == "pores":
        return frequency, 0.05 + 0.3 / np.tanh(np.sqrt(0.5 * s)) / np.sqrt(0.5 * s)
    if name == "capacitor":
        return frequency, 1 + 10 / s
    if name == "lossy inductance":
        return frequency, 2e-6 * s**0.88 + 0.02 + 1 / (10 + 530 * s**0.78) + 1 / (100 + 4.1 * s**0.47)
    falling = 830.1 - np.cumsum(1 / frequency)
    arcs = (
        1 / (1 / 221 + 8.57e-8 * s**0.93)
        + 1 / (1 / falling + 1.025e-5 * s**0.88)
        + 1 / (1 / 490.3 + 4.862e-3 * s**0.98)
    )
    return frequency, 144 + arcs


@pytest.mark.parametrize(
    ("name", "size"),
    [("lossy inductance", 5e-4), ("drift", 5e-4), ("capacitor", 5e-4), ("pores", 5e-4), ("pores", 1e-4)],
)
def test_a_misfit_at_an_end_is_seen_beside_a_larger_resistance_elsewhere(name, size):
    frequency, z = _wrong_at_an_end(name)
    z = z * (1 + size * noise(np.random.default_rng(5), (10, z.size)))
    result = drt.invert(drt.Spectra(frequency, z), LogGaussian(), level=0.95)
    assert result.counts()["misfit"] == 10
    assert result.residual.min() > 5 * size
    assert np.isnan(result.intervals.r_pol_low).all()


@pytest.mark.parametrize("method", [LogGaussian(), drt.Tikhonov()], ids=["log", "Tikhonov"])
def test_what_relaxes_is_no_misfit(method):
    frequency = np.geomspace(1e5, 1e-2, 71)
    rng = np.random.default_rng(4)
    z = np.array([10 + zarc(frequency, 50, tau, phi) for tau in (1e-3, 1.13e-2, 0.3) for phi in (0.7, 0.9, 1.0)])
    z = np.repeat(z, 20, axis=0)
    z[::2] *= 1 + 0.003 * noise(rng, z[::2].shape)
    z[1::2] += 0.1 * noise(rng, z[1::2].shape)
    if isinstance(method, LogGaussian):
        # Outliers are none either; Tikhonov bends γ to them.
        z[np.arange(0, 180, 3), rng.integers(0, 71, 60)] *= 1.3
    assert "misfit" not in drt.invert(drt.Spectra(frequency, z), method).counts()


@pytest.mark.parametrize("arcs", [0, 2])
def test_no_resistance_is_more_than_the_data_allow(arcs):
    # Of a resistor, and at the slow end of RC elements, next to nothing is found, and its logarithm may be anything.
    frequency = np.logspace(5, -2, 71)
    z = 10.0 + sum(zarc(frequency, *each, 1.0) for each in ((20.0, 2e-4), (40.0, 0.05))[:arcs])
    z = z + 1e-3 * np.abs(z) * noise(np.random.default_rng(6), (12, 71))
    result = drt.invert(drt.Spectra(frequency, z), level=0.95)
    low, high = result.r_pol_interval()
    assert (low <= 30.0 * arcs + 0.05).all()
    assert (high >= 30.0 * arcs - 0.1).all()
    assert high.max() < 2.0 * z.real.max()


def test_zeros_beside_a_loop_at_the_end_of_the_window_change_nothing():
    f = np.logspace(5, -2, 36)
    z = 1 + zarc(f, 1, 0.01, 0.9) - zarc(f, 0.2, 3, 1)
    method = drt.LogGaussian(sign="both")
    alone, both = (drt.invert(drt.Spectra(f, rows), method, level=0.95) for rows in ([z], [z, 0 * z]))
    assert alone.gamma[0, -1] < 0.0
    for end in ("r_pol_low", "r_pol_high"):
        assert getattr(both.intervals, end)[0] == getattr(alone.intervals, end)[0]
