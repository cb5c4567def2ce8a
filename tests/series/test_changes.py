"""What only a joint posterior tells: how sure a change is, and γ at states that were not measured."""

from dataclasses import replace

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.methods.joint import uncertainty as uncertainty_module
from drt_engine.methods.joint.posterior import slower_in_common
from drt_engine.uncertainty import posterior as posterior_module
from drt_engine.uncertainty.base import quantile
from drt_engine.uncertainty.cut_off import cut_at_zero

from ..conftest import zarc
from .conftest import FREQUENCY, SHARE, VOLTAGE, measured, r_pol, truth

WINDOW = np.geomspace(0.5 / np.pi / FREQUENCY[0], 0.5 / np.pi / FREQUENCY[-1], 101)
BETWEEN = 3.34


@pytest.fixture(scope="module")
def two_series(spectra):
    """The series, and another of two states."""
    states = {"cell": np.repeat(["B", "C"], [8, 2]), "voltage": np.append(VOLTAGE, VOLTAGE[2:4])}
    z = np.vstack([spectra.impedance, 2.0 * measured(VOLTAGE[2:4], seed=3)])
    return drt.invert(drt.Spectra(FREQUENCY, z, states), drt.LogGaussian(along="voltage"))


def apart_of(result, rows):
    """Covariances of ln γ of some spectra if each were alone."""
    logs = result.coefficients.shape[1]
    return result._joined.separate_posterior(np.array(rows)).covariance[:, :logs, :logs]


def outside(result, one, other):
    """How much smaller and larger a change may be for what is beyond the window, in proportion to γ at its end."""
    less, more = result._joined.separate_posterior(np.array([one, other])).outside(0.95)
    end = result.coefficients[[one, other], -1]
    if end[1] >= end[0]:
        return less[1] * (1.0 - end[0] / end[1]), more[1] * (1.0 - end[0] / end[1])
    return more[0] * (1.0 - end[1] / end[0]), less[0] * (1.0 - end[1] / end[0])


@pytest.mark.parametrize(("one", "other"), [(0, 7), (2, 4), (6, 5)])
def test_the_interval_of_a_change_holds_the_true_one(joint, one, other):
    change = joint.change(one, other)
    exact = r_pol(VOLTAGE[other]) - r_pol(VOLTAGE[one])
    assert change.r_pol_low < exact < change.r_pol_high
    inside = (change.tau > WINDOW[0]) & (change.tau < WINDOW[-1])
    exact = truth(change.tau, VOLTAGE[other]) - truth(change.tau, VOLTAGE[one])
    covered = (change.gamma_low <= exact) & (exact <= change.gamma_high)
    assert covered[inside].mean() > 0.85
    np.testing.assert_array_equal(change.gamma, joint.gamma[other] - joint.gamma[one])
    assert change.r_pol == pytest.approx(joint.r_pol[other] - joint.r_pol[one], rel=1e-9)


def test_a_change_is_known_better_than_from_single_spectra(single, joint):
    apart, together = single.change(3, 4), joint.change(3, 4)
    # Of this noise; the ratio is 0.33 to 0.52 for other seeds.
    assert together.r_pol_high - together.r_pol_low < 0.5 * (apart.r_pol_high - apart.r_pol_low)
    # From one end to the other it shows; single spectra add their uncertainties.
    assert joint.change(0, 7).r_pol_low > 0.0


@pytest.mark.parametrize("pair", [(0, 4), (0, 7), (2, 6)])
def test_a_far_change_is_known_no_less_than_from_the_two_spectra_alone(joint, pair):
    change, apart = joint.change(*pair), apart_of(joint, pair)
    parts = joint.coefficients[list(pair)] * joint.expansion.areas
    alone = quantile(0.95) * np.sqrt(np.einsum("km,kmn,kn->", parts, apart, parts))
    alone = np.hypot(alone, outside(joint, *pair)[1])
    assert change.r_pol_high - change.r_pol <= alone * (1.0 + 1e-12)
    deviation = joint._joined.separate_posterior(np.array(pair)).deviation
    wide = quantile(0.95) * np.sqrt((joint.coefficients[list(pair)] ** 2 * deviation**2).sum(axis=0))
    assert np.all(change.gamma_high - change.gamma <= wide * (1.0 + 1e-12))


def test_a_change_of_gamma_allows_for_what_no_relaxation_time_resolves(joint, monkeypatch):
    """The edge of a process is known no better in a difference than in γ, as far as γ is not the same."""
    change, gamma = joint.change(2, 4), joint.coefficients[[2, 4]]
    alone = joint._joined.separate_posterior(np.array([2, 4]))
    wide = quantile(0.95) * np.abs(gamma[1] - gamma[0]) * alone.unresolved.max(axis=0)
    for name in ("_BETWEEN", "_STEEP"):
        monkeypatch.setattr(posterior_module, name, 0.0)
    without = joint.change(2, 4)
    found, without = change.gamma_high - change.gamma, without.gamma_high - without.gamma
    expected = np.hypot(without, wide)
    # Nowhere is it known less than from the two spectra alone.
    own = np.diagonal(alone.covariance, axis1=1, axis2=2)[:, : wide.size]
    limit, least = (
        quantile(0.95) * np.sqrt((gamma**2 * each).sum(axis=0)) for each in (own + alone.unresolved**2, own)
    )
    free = (without < least * (1.0 - 1e-9)) & (expected < limit)
    np.testing.assert_allclose(found[free], expected[free], rtol=1e-6)
    assert np.all(found <= limit * (1.0 + 1e-9))
    assert np.any(expected[free] > 1.02 * without[free])


def test_a_change_back_is_the_opposite(joint):
    there, back = joint.change(1, 5, 0.9), joint.change(5, 1, 0.9)
    np.testing.assert_array_equal(there.gamma, -back.gamma)
    np.testing.assert_allclose(there.gamma_low, -back.gamma_high, rtol=1e-6, atol=1e-9)
    assert there.r_pol_low == pytest.approx(-back.r_pol_high, rel=1e-6)


def test_nothing_changes_from_a_state_to_itself(joint):
    change = joint.change(2, 2)
    assert np.all(change.gamma == 0.0)
    assert change.r_pol_high == pytest.approx(0.0, abs=1e-3)


def test_rows_may_be_counted_from_the_end(joint):
    assert joint.change(-2, -1).r_pol_low == joint.change(6, 7).r_pol_low


@pytest.fixture(scope="module")
def unbounded(spectra):
    """Without L, which is zero: nothing is cut off at zero."""
    return drt.invert(spectra, drt.LogGaussian(along="voltage", inductance=False))


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 3), (0, 7)])
def test_near_and_far_pairs_have_the_covariance_of_the_whole_matrix(unbounded, one, other):
    """By all columns of the inverse of the series' matrix, instead of blocks and a few right-hand sides."""
    joint = unbounded
    uncertainty = joint._joined._uncertainty(0)
    logs, size = joint.tau.size, uncertainty.problem.chain.y.shape[1]
    right = -np.eye(8 * size).reshape(8 * size, 8, size)
    whole = uncertainty.solved(right).reshape(8 * size, 8 * size)
    moved = uncertainty.solved(uncertainty.forces()).reshape(2, -1)
    whole = whole + moved.T @ moved
    contrast = np.zeros((8, size))
    weights = joint.coefficients * joint.expansion.areas
    contrast[other, :logs], contrast[one, :logs] = weights[other], -weights[one]
    variance = contrast.ravel() @ whole @ contrast.ravel()
    change = joint.change(one, other)
    parts, apart = weights[[one, other]], apart_of(joint, (one, other))
    own = np.einsum("km,kmn,kn->k", parts, apart, parts)
    # What is wrong of R_pol in both alike, as a share of it, is left in the difference by as much as they differ.
    size = parts.sum(axis=1)
    common = 0.7 * (size[1] - size[0]) ** 2 * np.mean(own / size**2)
    half = quantile(0.95) * np.sqrt(min(variance + common, own.sum()))
    less, more = np.hypot(half, outside(joint, one, other))
    assert change.r_pol_high - change.r_pol == pytest.approx(more, rel=1e-3)
    assert change.r_pol - change.r_pol_low == pytest.approx(less, rel=1e-3)


def test_where_a_process_lies_beyond_the_window_its_resistance_may_change_by_as_much_as_it_may_be():
    """An open diffusion element: γ rises to the end of the window as τ^½, and R_pol grows with what is beyond."""
    size = np.linspace(30.0, 60.0, 6)
    z = np.array([10.0 + 20.0 / (1.0 + (2j * np.pi * FREQUENCY * 1e-4) ** 0.9) + 0j] * 6)
    jw = np.sqrt(2j * np.pi * FREQUENCY * 500.0)
    z += size[:, None] * np.tanh(jw) / jw
    rng = np.random.default_rng(2)
    z *= 1.0 + SHARE * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"time": np.arange(6.0)}), drt.LogGaussian(along="time"))
    for one, other in ((0, 1), (0, 5), (4, 2)):
        change, exact = result.change(one, other), size[other] - size[one]
        assert change.r_pol_low < exact < change.r_pol_high
        # It is not in what is found: without what may lie beyond, nothing of it would be allowed for.
        assert abs(change.r_pol) < 0.7 * abs(exact)
        assert change.r_pol_high - change.r_pol_low > abs(exact)


@pytest.fixture(scope="module")
def unlike():
    """States of which two are noisier than is given, and one lacks points; nothing is cut off at zero."""
    z = measured(VOLTAGE, seed=4)
    z[[2, 5]] = measured(VOLTAGE[[2, 5]], seed=5, share=4.0 * SHARE)
    z[6, :2] = np.nan
    method = drt.LogGaussian(along="voltage", inductance=False, noise=(0.0, SHARE))
    return drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE}), method)


def test_noise_that_one_state_has_makes_its_changes_less_sure(unlike):
    """By a covariance of all data at once: noise of each point, carried to the solution by H⁻¹ and the columns."""
    uncertainty = unlike._joined._uncertainty(0)
    problem = uncertainty.problem
    more = uncertainty.excess_noise()
    np.testing.assert_array_equal(more > 0.0, np.isin(np.arange(8), [2, 5]))
    # 15 by the noise that was put in.
    assert np.all((more[[2, 5]] > 8.0) & (more[[2, 5]] < 25.0))
    logs, size = unlike.tau.size, problem.chain.y.shape[1]
    whole = uncertainty.solved(-np.eye(8 * size).reshape(8 * size, 8, size)).reshape(8 * size, 8 * size)
    columns = np.zeros((8, 2 * FREQUENCY.size, 8, size))
    for k, x in enumerate(problem.values()):
        root = np.sqrt(np.tile(problem.chain.weight[k], 2))
        columns[k, :, k] = problem.problem.matrix * np.append(x[:logs], np.ones(size - logs)) * root[:, None]
    carried = whole @ columns.reshape(-1, 8 * size).T
    whole = whole + carried * np.repeat(more, 2 * FREQUENCY.size) @ carried.T
    moved = uncertainty.solved(uncertainty.forces()).reshape(2, -1)
    whole = whole + moved.T @ moved
    contrast, weights = np.zeros((8, size)), unlike.coefficients * unlike.expansion.areas
    contrast[3, :logs], contrast[2, :logs] = weights[3], -weights[2]
    parts = np.concatenate([-weights[2], weights[3]])
    assert parts @ uncertainty.pair_covariance(2, 3) @ parts == pytest.approx(
        contrast.ravel() @ whole @ contrast.ravel(), rel=1e-3
    )


def test_states_stay_as_uncertain_as_the_prior_that_is_common_to_all_makes_them(unlike):
    """By the inverse of the whole matrix and each spectrum by itself, on the points that it has."""
    joined = unlike._joined
    uncertainty = joined._uncertainty(0)
    logs, size = unlike.tau.size, uncertainty.problem.chain.y.shape[1]
    whole = uncertainty.solved(-np.eye(8 * size).reshape(8 * size, 8, size)).reshape(8 * size, 8 * size)
    moved = uncertainty.solved(uncertainty.forces()).reshape(2, -1)
    whole = (whole + moved.T @ moved).reshape(8, size, 8, size)
    times, posterior = np.sqrt(1.0 + uncertainty.excess_noise()), joined.posterior(0)
    for k in (1, 2, 6):
        here = np.isfinite(unlike.impedance[k])
        prepared = joined.method.prepared(FREQUENCY[here], unlike.expansion)
        lam, floor, share = joined.hyper[[k], :3].T
        alone = prepared.posterior(
            unlike.impedance[[k]][:, here], joined.parameters.rows([k]), lam, (floor * times[k], share * times[k])
        ).covariance[0]
        weights = unlike.coefficients[k] * unlike.expansion.areas
        own, together, kept = (
            weights @ each[:logs, :logs] @ weights for each in (alone, whole[k, :, k], posterior.covariance[k])
        )
        doubts = [joined._mean_variance(each[None], np.array([k]))[0] for each in (alone, whole[k, :, k])]
        share = 1.0 if doubts[0] < doubts[1] else 0.7
        assert kept == pytest.approx((1.0 - share) * together + share * own, rel=1e-3)
        assert kept > 0.69 * own


def test_elements_of_both_states_are_cut_off_at_zero_together(joint, monkeypatch):
    """By draws: L is zero here, and what that tells of the two states falls out of their difference."""
    uncertainty = joint._joined._uncertainty(0)
    normal = []

    def kept(mean, covariance, first):
        normal.extend([mean[0].copy(), covariance[0].copy()])
        return cut_at_zero(mean, covariance, first)

    monkeypatch.setattr(uncertainty_module, "cut_at_zero", kept)
    covariance = uncertainty.pair_covariance(3, 4)
    mean, whole = normal
    draws = np.random.default_rng(1).multivariate_normal(mean, whole, 40_000, method="eigh")
    logs = joint.tau.size
    draws = draws[(draws[:, 2 * logs :] >= 0.0).all(axis=1), : 2 * logs]
    assert 1000 < len(draws) < 30_000
    weights = (joint.coefficients * joint.expansion.areas)[[3, 4]]
    along = np.concatenate([-weights[0], weights[1]])
    assert along @ covariance @ along == pytest.approx(np.var(draws @ along), rel=0.1)
    change = joint.change(3, 4)
    expected = np.hypot(1.96 * np.std(draws @ along), outside(joint, 3, 4)[1])
    assert change.r_pol_high - change.r_pol == pytest.approx(expected, rel=0.1)


def test_rows_of_different_series_add_their_variances(two_series):
    change = two_series.change(2, 8, 0.8)
    wide, beyond = 0.0, []
    for row in (2, 8):
        posterior = replace(two_series._joined.posterior(two_series._joined.line_of(row)), end=None)
        covariance, place = posterior.covariance, row if row < 8 else row - 8
        beyond.append([each[place] for each in posterior.outside(0.8)])
        parts = two_series.coefficients[row] * two_series.expansion.areas
        logs = parts.size
        wide += parts @ covariance[place][:logs, :logs] @ parts
    # What may lie beyond the window makes the one larger or the other.
    (less, more), (less_after, more_after) = beyond
    wide = quantile(0.8) * np.sqrt(wide)
    assert change.r_pol_high - change.r_pol == pytest.approx(np.hypot(wide, np.hypot(more_after, less)), rel=1e-6)
    assert change.r_pol - change.r_pol_low == pytest.approx(np.hypot(wide, np.hypot(less_after, more)), rel=1e-6)


@pytest.mark.parametrize("along", ["voltage", None])
def test_where_a_state_is_a_misfit_neither_changes_nor_what_is_beside_it_have_intervals(along):
    z, s = measured(VOLTAGE), 2j * np.pi * FREQUENCY
    z[4:] += 0.2 * r_pol(VOLTAGE[0]) * 3 * s / (1 + 3 * s)  # an inductive loop
    states = {"cell": ["A"] * 8, "voltage": VOLTAGE}
    result = drt.invert(drt.Spectra(FREQUENCY, z, states), drt.LogGaussian(along=along))
    np.testing.assert_array_equal((result.status & drt.Status.MISFIT) > 0, np.arange(8) >= 4)
    for one, other, known in ((0, 3, True), (0, 6, False), (-1, 2, False), (5, 6, False)):
        change = result.change(one, other)
        assert np.isfinite([change.r_pol_low, change.r_pol_high, *change.gamma_low, *change.gamma_high]).all() == known
        assert np.isnan([change.r_pol_low, change.r_pol_high, *change.gamma_low, *change.gamma_high]).all() != known
        assert change.r_pol == pytest.approx(result.r_pol[other] - result.r_pol[one])
    if along is None:
        return
    middle = 0.5 * (VOLTAGE[1:] + VOLTAGE[:-1])
    for voltage, known in ((middle[1], True), (VOLTAGE[3], True), (middle[3], False), (VOLTAGE[4], False)):
        low, high = result.gamma_interval(0.95, WINDOW, voltage=voltage)
        assert np.isfinite(low).all() == np.isfinite(high).all() == known
        assert np.isfinite(result.gamma_at(WINDOW, voltage=voltage)).all()


def test_a_change_needs_answers_levels_and_spectra(joint):
    with pytest.raises(InputError, match="level"):
        joint.change(0, 1, 1.5)
    assert joint.change(-8, -1).r_pol == joint.change(0, 7).r_pol
    with pytest.raises(InputError, match="row 8 is not in the result: they are numbered from 0 to 7"):
        joint.change(0, 8)
    with pytest.raises(InputError, match=r"by the number of its row; got 0\.5"):
        joint.change(0, 0.5)
    z = measured(VOLTAGE[:3])
    z[1] = np.nan
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE[:3]}), drt.LogGaussian(along="voltage"))
    with pytest.raises(InputError, match="row 1 has no solution"):
        result.change(0, 1)
    ridge = drt.invert(drt.Spectra(FREQUENCY, measured(VOLTAGE[:2])), drt.Tikhonov())
    with pytest.raises(InputError, match="LogGaussian"):
        ridge.change(0, 1)


def test_at_a_measured_state_gamma_is_that_of_the_row(joint):
    np.testing.assert_array_equal(joint.gamma_at(WINDOW, voltage=VOLTAGE[3]), joint.gamma_at(WINDOW)[[3]])
    low, high = joint.gamma_interval(0.9, WINDOW, voltage=VOLTAGE[3])
    np.testing.assert_array_equal((low[0], high[0]), [each[3] for each in joint.gamma_interval(0.9, WINDOW)])


def test_between_two_states_gamma_lies_between_them_and_its_interval_holds_the_truth(joint):
    found = joint.gamma_at(WINDOW, voltage=BETWEEN)
    assert found.shape == (1, WINDOW.size)
    beside = joint.gamma_at(WINDOW)[[3, 4]]
    apart = np.abs(np.log(beside[1] / beside[0])) + 0.02
    assert np.all(np.log(found[0]) > np.log(beside.min(axis=0)) - apart)
    assert np.all(np.log(found[0]) < np.log(beside.max(axis=0)) + apart)
    exact = truth(WINDOW, BETWEEN)
    wrong = np.trapezoid(np.abs(found[0] - exact), np.log(WINDOW)) / np.trapezoid(exact, np.log(WINDOW))
    assert wrong < 0.1
    low, high = joint.gamma_interval(0.95, WINDOW, voltage=BETWEEN)
    assert np.all((low < found) & (found < high))
    shown = exact > 0.02 * exact.max()
    assert ((low[0] <= exact) & (exact <= high[0]))[shown].mean() > 0.85


def test_a_state_that_was_not_measured_is_known_less_well(joint):
    low, high = joint.gamma_interval(0.95, WINDOW)
    beside = np.log(high / low)[[3, 4]].mean(axis=0)
    low, high = joint.gamma_interval(0.95, WINDOW, voltage=BETWEEN)
    ratio = np.log(high / low)[0] / beside
    assert 0.95 < np.median(ratio) < 3.0


def test_a_state_left_out_is_predicted_by_its_neighbours(spectra):
    there = np.arange(8) != 4
    result = drt.invert(spectra[there], drt.LogGaussian(along="voltage"))
    found, exact = result.gamma_at(WINDOW, voltage=VOLTAGE[4])[0], truth(WINDOW, VOLTAGE[4])
    assert np.trapezoid(np.abs(found - exact), np.log(WINDOW)) < 0.12 * np.trapezoid(exact, np.log(WINDOW))


def test_each_series_has_a_row_and_one_that_does_not_reach_is_nan(two_series):
    found = two_series.gamma_at(WINDOW, voltage=BETWEEN)
    assert found.shape == (2, WINDOW.size)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    assert np.isnan(two_series.gamma_at(WINDOW, voltage=9.0)).all()


def test_a_state_along_which_nothing_was_inverted_is_refused(single, joint):
    with pytest.raises(InputError, match=r"this result is along voltage.*LogGaussian\(along='cycle'\)"):
        joint.gamma_at(WINDOW, cycle=3)
    with pytest.raises(InputError, match="this result is along none"):
        single.gamma_at(WINDOW, voltage=BETWEEN)
    with pytest.raises(InputError, match="this result is along voltage"):
        joint.gamma_interval(0.95, WINDOW, voltage=BETWEEN, cycle=2)
    with pytest.raises(InputError, match="level"):
        joint.gamma_interval(2.0, WINDOW, voltage=BETWEEN)


@pytest.mark.parametrize("missing", [(), (3, 20)])
def test_bands_of_a_series_end_where_the_data_say_so(missing):
    # Of ideal RC elements next to nothing is left at the end of the window, and its logarithm may be anything.
    jw = 2j * np.pi * FREQUENCY
    z = np.array([10.0 + 20.0 / (1.0 + 1e-4 * jw) + r / (1.0 + 0.01 * jw) for r in np.linspace(30.0, 50.0, 8)])
    rng = np.random.default_rng(4)
    z *= 1.0 + 1e-3 * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    if missing:
        z[2, list(missing)] = np.nan
    spectra = drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE})
    result = drt.invert(spectra, drt.LogGaussian(along="voltage"))
    high = result.gamma_interval()[1]
    assert high[:, -1].max() < result.r_pol.max()
    assert result.r_pol_interval()[1].max() < 2.5 * result.r_pol.max()
    kept = result._joined.posterior(0)
    assert np.isfinite(kept.allowed.below(np.full((8, result.tau.size), np.inf))).all()
    # Without these limits, it says that more than all may lie there.
    assert replace(kept, allowed=None).gamma_interval()[1][:, -1].max() > 10.0 * result.r_pol.max()


def bands(result, level):
    """γ and R_pol by the definition, one state after another: K pairs of ends each."""
    joined, rows = result._joined, np.arange(len(result))
    joint, alone = joined.posterior(0), joined.separate_posterior(rows)
    logs, z, y = result.tau.size, quantile(level), np.log(result.tau)
    # There are fewer states than it is averaged over.
    single = drt.invert(drt.Spectra(result.frequency, result.impedance), drt.LogGaussian())
    departure = np.log(result.coefficients / single.coefficients).mean(axis=0)
    share_departure = 1.0 - (single.coefficients / result.coefficients).mean(axis=0)
    out = []
    for k in rows:
        gamma = result.coefficients[k]
        variance = np.diag(joint.covariance[k])[:logs] + joint.unresolved[k] ** 2
        step, doubt = alone.pull[k][:, :logs]
        rest = np.sqrt(np.maximum(variance - doubt**2, 0.01 * variance))
        shift, half = joint.shift[k, :logs], np.sqrt(variance)
        wide = min(np.sqrt(0.15**2 + 2.0 * alone.strain[k]), 2.5)
        # By how much the series departs from its spectra alone, within 0.6 in ln τ, and what a level γ may hide.
        near = np.exp(-0.5 * ((y[:, None] - y) / 0.6) ** 2)
        departed = np.sqrt(near @ departure**2 / near.sum(axis=1))
        common = z * np.hypot(0.1 / (1.0 + np.gradient(np.log(gamma), y) ** 2), 0.5 * departed)
        low = np.minimum(shift, 0) - np.hypot(wide * np.minimum(-z * half, step - z * rest), common)
        high = np.maximum(shift, 0) + np.hypot(wide * np.maximum(z * half, step + z * rest), common)
        share = gamma * joint.expansion.areas
        share, size = share / share.sum(), share.sum()
        deviation = np.sqrt(share @ joint.covariance[k, :logs, :logs] @ share)
        wide = min(np.sqrt(0.4**2 + 2.0 * alone.strain[k]), 2.5)
        led, sure = share @ step, wide * np.sqrt(max(deviation**2 - (share @ doubt) ** 2, 0.01 * deviation**2))
        shift = share @ shift
        least = min(min(shift, 0) - z * wide * deviation, min(shift, 0) + led - z * sure)
        most = max(max(shift, 0) + z * wide * deviation, max(shift, 0) + led + z * sure)
        further = 0.3 * z * share @ share_departure
        least, most = -np.hypot(least, min(further, 0.0)), np.hypot(most, max(further, 0.0))
        out.append((gamma * np.exp(low), gamma * np.exp(high), size * np.exp(least), size * np.exp(most)))
    return [np.array(each) for each in zip(*out, strict=True)]


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_intervals_of_a_series_are_those_of_the_definition(joint, level):
    low, high, least, most = bands(joint, level)
    found = replace(joint._joined.posterior(0), allowed=None)
    for one, other in zip(found.gamma_interval(level), (low, high), strict=True):
        np.testing.assert_allclose(np.log(one), np.log(other), atol=1e-6)
    ends = found.resistance_interval(float(joint.tau[0]), float(joint.tau[-1]), level)
    # Half a spacing at each boundary, where there is next to no γ, is all that is left out.
    np.testing.assert_allclose(ends, [least, most], rtol=1e-3)


def test_strain_makes_intervals_of_a_series_wider(joint):
    found = joint._joined.posterior(0)
    more = replace(found, strain=found.strain + 0.5)
    (low, high), (low_more, high_more) = found.gamma_interval(), more.gamma_interval()
    assert (low_more < low).all()
    assert (high_more >= high).all()
    assert (np.subtract(*more.r_pol_interval()) < np.subtract(*found.r_pol_interval())).all()


def departing(seed):
    """Twenty-eight spectra with log-normal processes and a noise of 3 %, and their γ and R_pol."""
    y = np.linspace(np.log(1e-9), np.log(1e3), 4001)
    at = np.log(WINDOW)

    def gamma(y):
        parts = ((30.0, 1e-4, 0.9), (np.linspace(10.0, 30.0, 28)[:, None], 0.01, 1.1))
        return sum(r / (w * np.sqrt(2.0 * np.pi)) * np.exp(-0.5 * ((y - np.log(t)) / w) ** 2) for r, t, w in parts)

    z = 10.0 + (gamma(y) * (y[1] - y[0])) @ (1.0 / (1.0 + 2j * np.pi * FREQUENCY[:, None] * np.exp(y))).T
    rng = np.random.default_rng(seed)
    z += 0.03 * 40.0 * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    return drt.Spectra(FREQUENCY, z, {"voltage": np.arange(28.0)}), gamma(at), 30.0 + np.linspace(10.0, 30.0, 28)


def test_a_series_that_departs_from_its_spectra_alone_is_less_certain():
    spectra, gamma, r_pol = departing(seed=3)
    result = drt.invert(spectra, drt.LogGaussian(along="voltage"))
    found = result._joined.posterior(0)
    apart = np.log(result.coefficients / drt.invert(spectra, drt.LogGaussian()).coefficients)
    for k in (0, 5, 14, 27):
        around = apart[max(k - 12, 0) : k + 13]
        np.testing.assert_allclose(found.departure[k], [around.mean(0), 1.0 - np.exp(-around).mean(0)], rtol=1e-6)
    without = replace(found, departure=np.zeros_like(found.departure))
    assert (found.gamma_interval()[1] >= without.gamma_interval()[1]).all()
    # Spectra alone have too much resistance, and so has the series still.
    assert (found.r_pol_interval()[0] < without.r_pol_interval()[0]).all()
    np.testing.assert_array_equal(found.r_pol_interval()[1], without.r_pol_interval()[1])
    assert (found.r_pol_interval()[0] <= r_pol).mean() > 0.94
    assert (without.r_pol_interval()[0] <= r_pol).mean() < 0.85
    above = gamma > 0.02 * gamma.max()
    covered = [
        ((low <= gamma) & (gamma <= high))[above].mean()
        for low, high in (each.gamma_interval(0.95, WINDOW) for each in (found, without))
    ]
    assert covered[0] > 0.98
    assert covered[1] < 0.9


def test_where_gamma_is_level_peaks_may_have_merged(joint):
    found = joint._joined.posterior(0)
    # Only that is left where nothing else is uncertain.
    sure = replace(
        found, covariance=np.zeros_like(found.covariance), shift=np.zeros_like(found.shift), pull=1e-12 * found.pull
    )
    sure = replace(sure, departure=np.zeros_like(found.departure), allowed=None, strain=np.zeros_like(found.strain))
    object.__setattr__(sure, "unresolved", np.zeros_like(joint.coefficients))
    wide = np.log(sure.gamma_interval()[1] / joint.coefficients)
    slope = np.gradient(np.log(joint.coefficients), np.log(joint.tau), axis=1)
    np.testing.assert_allclose(wide, quantile(0.95) * 0.1 / (1.0 + slope**2), rtol=1e-6)


def test_where_gamma_falls_what_is_beyond_goes_by_the_series(joint):
    found = joint._joined.posterior(0)
    last = np.sqrt(found.covariance[:, joint.tau.size - 1, joint.tau.size - 1])
    # At the ends of a series one spectrum alone may know more.
    assert (found.end <= last).all()
    assert (found.end[2:5] < last[2:5]).all()
    assert (found.beyond()[2:5] < replace(found, end=None).beyond()[2:5]).all()
    np.testing.assert_allclose(replace(found, end=last).beyond(), replace(found, end=None).beyond(), rtol=1e-12)


def test_states_with_nothing_in_common_have_the_intervals_that_each_has_alone():
    order = np.arange(8)
    z = np.where(order[:, None] % 2, 1.0, 3.0) * measured(np.tile([3.0, 3.7], 4), seed=5)
    z[order % 2 == 0] = measured(np.full(4, 3.0), seed=6) + 30.0 / (1.0 + 2j * np.pi * FREQUENCY * 3e-3) ** 0.8
    spectra = drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE})
    result = drt.invert(spectra, drt.LogGaussian(along="voltage"))
    assert (result.status & drt.Status.UNRELATED).all()
    found, alone = result._joined.posterior(0), result._joined.separate_posterior(order)
    assert not found.together
    for name in ("covariance", "shift", "pull", "strain"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
    # Arrays lie in memory in another order, and so sums are rounded otherwise.
    np.testing.assert_allclose(found.gamma_interval(), alone.gamma_interval(), rtol=1e-14)
    np.testing.assert_allclose(found.r_pol_interval(), alone.r_pol_interval(), rtol=1e-14)


def test_scores_of_slower_processes_are_those_of_the_series():
    deviation = np.array([1.0, 2.0, 0.0, 1.0, 1.0])
    score = np.array([0.2, 0.8, 0.0, 3.0, -1.0])
    found = slower_in_common(np.stack([score, deviation], axis=1))
    np.testing.assert_array_equal(found[:, 1], deviation)
    # The median of those that say something, but for what is clear by itself.
    np.testing.assert_allclose(found[:, 0], [0.5, 0.5, 0.0, 3.0, 0.5])
    nothing = np.zeros((4, 2))
    np.testing.assert_array_equal(slower_in_common(nothing), nothing)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_slow_process_that_each_state_hardly_shows_is_in_the_interval_of_the_series(share):
    jw = 2j * np.pi * FREQUENCY
    exact = np.array([10.0 + zarc(FREQUENCY, 30.0 + k, 1e-3, 0.85) for k in range(12)])
    slow = share * 30.0
    exact += slow / (1.0 + 40.0 * jw)
    rng = np.random.default_rng(8)
    z = exact * (1.0 + 5e-3 * (rng.standard_normal(exact.shape) + 1j * rng.standard_normal(exact.shape)))
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": np.arange(12.0)}), drt.LogGaussian(along="voltage"))
    low, high = result.r_pol_interval()
    whole = 30.0 + np.arange(12) + slow
    # Of some states alone nothing can be said: γ has something in the last decade by chance.
    assert ((low <= whole) & (whole <= high)).mean() > 0.8
    wide = (high - result.r_pol) / result.r_pol
    assert np.median(wide) > 0.1 if share else np.median(wide) < 0.05


@pytest.mark.parametrize("seed", [1, 2])
def test_tops_of_almost_ideal_elements_are_in_the_bands_of_a_series(seed):
    rng = np.random.default_rng(seed)
    places = np.arange(12.0)
    z = np.array([10.0 + zarc(FREQUENCY, 20.0 * 1.02**k, 1e-3, 0.98) for k in places])
    z *= 1.0 + 3e-3 * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": places}), drt.LogGaussian(along="voltage"))
    tau = np.geomspace(0.8e-3, 1.25e-3, 21)
    exact = np.array([drt.simulate.ZARC(20.0 * 1.02**k, 1e-3, 0.98).gamma(tau) for k in places])
    low, high = result.gamma_interval(0.95, tau)
    top = exact.argmax(axis=1)[:, None]
    assert (np.take_along_axis(high, top, 1) > np.take_along_axis(exact, top, 1)).all()
    assert ((low <= exact) & (exact <= high)).mean() > 0.85
