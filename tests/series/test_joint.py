"""The joint inversion as a user meets it: what it gains, what it leaves as it is, what solutions do not depend on."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import drt_engine as drt
from drt_engine import series as series_module
from drt_engine.methods.joint import SeparateSolutions
from drt_engine.methods.joint.search import common_residual
from drt_engine.methods.joint.solve import noise_ratios
from drt_engine.result_fields import PER_SPECTRUM
from drt_engine.series import differences, eigenvalues
from drt_engine.simulate import ZARC
from drt_engine.threads import limited_threads

from ..conftest import zarc
from .conftest import FREQUENCY, SHARE, VOLTAGE, measured, r_pol, truth

METHOD = drt.LogGaussian(along="voltage")
SHARED = ("coupling", "shift", "regularisation", "noise_floor", "noise_relative")
WINDOW = np.geomspace(0.5 / np.pi / FREQUENCY[0], 0.5 / np.pi / FREQUENCY[-1], 201)


def errors(result, voltage=VOLTAGE):
    """Median error of γ, and of its change from each state to the next."""
    exact = np.array([truth(WINDOW, each) for each in voltage])
    wrong, log_tau = result.gamma_at(WINDOW) - exact, np.log(WINDOW)
    own = np.trapezoid(np.abs(wrong), log_tau) / np.trapezoid(exact, log_tau)
    change = np.trapezoid(np.abs(np.diff(wrong, axis=0)), log_tau)
    return np.median(own), np.median(change / np.trapezoid(np.abs(np.diff(exact, axis=0)), log_tau))


def assert_same(one, other):
    for name in PER_SPECTRUM:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_a_smooth_series_is_found_better_and_its_changes_much_better(single, joint):
    (error, change), (error_alone, change_alone) = errors(joint), errors(single)
    # Of this noise; the ratio of the errors of γ is 0.65 to 0.94 for other seeds, that of changes 0.29 to 0.66.
    assert error < 0.9 * error_alone
    assert change < 0.4 * change_alone


def test_every_answer_is_certified_and_a_series_has_one_noise_and_one_coupling(joint):
    assert joint.solved.all()
    assert joint.optimality.max() <= 1e-8
    for name in SHARED:
        values = getattr(joint, name)
        assert np.ptp(values) == 0.0
        assert values[0] > 0.0
    assert joint.noise_relative[0] == pytest.approx(SHARE, rel=0.35)
    assert not joint.status.any()


def test_alone_there_is_no_coupling(single):
    assert np.isnan(single.coupling).all()
    assert np.isnan(single.shift).all()


def test_a_series_of_one_is_what_it_is_alone(spectra, single):
    some = drt.Spectra(FREQUENCY, spectra.impedance[:2], {"voltage": VOLTAGE[:2], "cell": ["B", "C"]})
    result = drt.invert(some, drt.LogGaussian(along="voltage", series=["cell"]))
    for name in set(PER_SPECTRUM) - {"status"}:
        np.testing.assert_array_equal(getattr(result, name), getattr(single, name)[:2], err_msg=name)
    assert np.all(result.status == drt.Status.ALONE)


@pytest.mark.slow
def test_answers_depend_on_no_other_series_no_order_of_rows_and_no_threads(spectra, joint):
    other = measured(VOLTAGE[:4], seed=9)
    order = np.random.default_rng(2).permutation(12)
    both = drt.Spectra(
        FREQUENCY,
        np.vstack([spectra.impedance, 2.0 * other])[order],
        {"cell": np.repeat(["B", "C"], [8, 4])[order], "voltage": np.append(VOLTAGE, VOLTAGE[:4])[order]},
    )
    for threads in (1, 2):
        with limited_threads(threads):
            result = drt.invert(both, METHOD)
        assert_same(result[np.argsort(order)[:8]], joint)


def test_the_number_of_threads_may_be_set_by_the_environment(spectra, joint, monkeypatch):
    monkeypatch.setenv("DRT_ENGINE_THREADS", "1")
    assert_same(drt.invert(spectra, METHOD), joint)


def test_a_spectrum_that_failed_is_a_gap_and_not_an_end(spectra):
    z = spectra.impedance.copy()
    z[3] = np.nan
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE}), METHOD)
    assert drt.Status(int(result.status[3])) == drt.Status.NOT_FINITE
    assert np.isnan(result.gamma[3]).all()
    there = np.arange(8) != 3
    assert result.solved[there].all()
    # One series: all have the coupling, and it is that of the seven without the row.
    assert np.ptp(result.coupling[there]) == 0.0
    without = drt.Spectra(FREQUENCY, z[there], {"voltage": VOLTAGE[there]})
    np.testing.assert_allclose(drt.invert(without, METHOD).gamma, result.gamma[there], rtol=0.05)


def test_missing_points_are_left_out_of_a_series(spectra, joint):
    z = spectra.impedance.copy()
    z[2, 5], z[4, :3] = np.nan, np.inf
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE}), METHOD)
    missing = np.isin(np.arange(8), [2, 4])
    np.testing.assert_array_equal((result.status & drt.Status.POINTS_MISSING) != 0, missing)
    assert result.solved.all()
    assert result.optimality.max() <= 1e-8
    assert np.ptp(result.coupling) == 0.0
    assert errors(result)[0] < 1.5 * errors(joint)[0]


def test_a_row_without_its_state_is_inverted_alone_and_says_so(spectra, single):
    voltage = np.append(VOLTAGE[:7], np.nan)
    result = drt.invert(drt.Spectra(FREQUENCY, spectra.impedance, {"voltage": voltage}), METHOD)
    assert drt.Status(int(result.status[7])) == drt.Status.ALONE
    np.testing.assert_array_equal(result.gamma[7], single.gamma[7])
    assert np.isnan(result.coupling[7])
    assert not (result.status[:7] & drt.Status.ALONE).any()


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_impedances_in_another_unit_give_the_same_in_it(spectra, joint, factor):
    scaled = drt.Spectra(FREQUENCY, factor * spectra.impedance, {"voltage": VOLTAGE})
    result = drt.invert(scaled, METHOD)
    np.testing.assert_allclose(result.gamma / factor, joint.gamma, rtol=1e-9)
    np.testing.assert_allclose(result.r_inf / factor, joint.r_inf, rtol=1e-9)
    np.testing.assert_allclose(result.coupling, joint.coupling, rtol=1e-9)
    np.testing.assert_allclose(result.noise_floor / factor, joint.noise_floor, rtol=1e-9)


NOISE = {
    "constant": "constant",
    "known": (0.02, SHARE),
    "pairs": ((1e5, 0.06), (1e2, 0.15), (0.1, 0.4)),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_noise_is_kept_where_it_is_given_and_found_where_it_is_not(spectra, single, noise):
    result = drt.invert(spectra, drt.LogGaussian(along="voltage", noise=noise))
    assert result.optimality.max() <= 1e-8
    assert errors(result)[1] < 0.6 * errors(single)[1]
    if noise == "constant":
        assert np.all(result.noise_relative == 0.0)
        assert 0.05 < result.noise_floor[0] < 0.5
    elif isinstance(noise[0], float):
        np.testing.assert_allclose(result.noise_floor, noise[0], rtol=1e-9)
        np.testing.assert_allclose(result.noise_relative, noise[1], rtol=1e-9)
    else:
        assert np.isnan(result.noise_floor).all()


def test_a_given_regularisation_is_kept(spectra):
    result = drt.invert(spectra[:4], drt.LogGaussian(along="voltage", regularisation=2.0))
    np.testing.assert_allclose(result.regularisation, 2.0)


def test_two_states_are_a_series():
    rows = VOLTAGE[:2]
    result = drt.invert(drt.Spectra(FREQUENCY, measured(rows), {"voltage": rows}), METHOD)
    assert result.optimality.max() <= 1e-8
    assert np.isfinite(result.coupling).all()
    assert np.isfinite(result.change(0, 1).r_pol_low)


@pytest.mark.parametrize("states", [10, pytest.param(24, marks=pytest.mark.slow)])
def test_a_series_that_breaks_says_where(states):
    """One resistance doubles in the middle; of few states, this could be taken for motion."""
    voltage, middle = np.linspace(3.0, 3.2, states), states // 2
    z = measured(voltage)
    z[middle:] += zarc(FREQUENCY, 30.0, 1e-4, 0.9)
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": voltage}), METHOD)
    np.testing.assert_array_equal((result.status & drt.Status.BREAK) != 0, np.arange(states) == middle)
    change = result.change(middle - 1, middle)
    assert change.r_pol_low < 30.0 + r_pol(voltage[middle]) - r_pol(voltage[middle - 1]) < change.r_pol_high


@pytest.mark.slow
def test_a_break_does_not_hide_another():
    """A time constant becomes twice as long, and later a resistance half as large again."""
    voltage = np.linspace(3.0, 3.2, 24)
    z = measured(voltage)
    z[7:] += zarc(FREQUENCY, 30.0, 2e-4, 0.9) - zarc(FREQUENCY, 30.0, 1e-4, 0.9)
    z[15:] += zarc(FREQUENCY, 15.0, 2e-4, 0.9)
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": voltage}), METHOD)
    np.testing.assert_array_equal(np.flatnonzero(result.status & np.uint16(drt.Status.BREAK)), [7, 15])


def test_where_a_whole_series_has_no_certificate_its_parts_may(spectra, single, monkeypatch, caplog):
    solve = drt.LogGaussian.solve_series

    def without_the_first(*args):
        found, breaks = solve(*args)
        whole = args[4][0] == 0.0
        return (replace(found, optimality=np.ones_like(found.optimality)) if whole else found), breaks

    monkeypatch.setattr(drt.LogGaussian, "solve_series", without_the_first)
    result = drt.invert(spectra, METHOD)
    monkeypatch.undo()
    np.testing.assert_array_equal((result.status & drt.Status.ALONE) != 0, VOLTAGE[4] > VOLTAGE)
    np.testing.assert_array_equal(result.coefficients[:4], single.coefficients[:4])
    assert np.isfinite(result.coupling[4:]).all()
    assert "5 to 8" in caplog.text
    change = result.change(4, 7)
    assert change.r_pol_low < r_pol(VOLTAGE[7]) - r_pol(VOLTAGE[4]) < change.r_pol_high
    assert np.isfinite(result.gamma_at(WINDOW, voltage=0.5 * (VOLTAGE[5] + VOLTAGE[6]))).all()
    assert result.gamma_at(WINDOW, voltage=VOLTAGE[1]).shape == (1, WINDOW.size)


def test_spectra_of_different_cells_are_said_to_be_no_series(caplog):
    rng = np.random.default_rng(5)
    z = np.array(
        [
            rng.uniform(1.0, 20.0) + sum(zarc(FREQUENCY, 10 ** rng.uniform(0.5, 1.8), 10 ** rng.uniform(-4, 0), 0.85)
            for _ in range(3))
            for _ in range(8)
        ]
    )  # fmt: skip
    z *= 1.0 + SHARE * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE}), METHOD)
    assert ((result.status & drt.Status.UNRELATED) != 0).all()
    assert "no more alike" in caplog.text
    # The joint solution does no harm.
    np.testing.assert_allclose(result.r_pol, drt.invert(drt.Spectra(FREQUENCY, z)).r_pol, rtol=0.03)


def test_states_that_were_measured_twice_are_a_series(caplog):
    voltage = np.repeat(VOLTAGE, 2)
    spectra = drt.Spectra(FREQUENCY, measured(voltage), {"voltage": voltage})
    result = drt.invert(spectra, METHOD)
    assert not (result.status & drt.Status.UNRELATED).any()
    assert "no more alike" not in caplog.text
    # Both are of the same cell in the same state, and the solutions say so.
    alone, together = (each.gamma_at(WINDOW) for each in (drt.invert(spectra), result))
    assert np.abs(np.diff(together, axis=0))[::2].mean() < 0.4 * np.abs(np.diff(alone, axis=0))[::2].mean()
    exact = np.array([truth(WINDOW, each) for each in voltage])
    assert np.abs(together - exact).mean() < 0.9 * np.abs(alone - exact).mean()


def test_states_of_one_value_are_in_the_order_of_the_rows():
    spectra = drt.Spectra(FREQUENCY, measured(VOLTAGE), {"voltage": np.full(8, 3.0), "place": np.arange(8.0)})
    method = drt.LogGaussian(along="place", series=())
    assert_same(drt.invert(spectra, replace(method, along="voltage")), drt.invert(spectra, method))


def test_equal_values_of_spectra_that_differ_are_said(caplog):
    voltage = np.repeat(VOLTAGE, 2)
    z = measured(voltage)
    # On the way back, another cell by all appearances.
    z[1::2] = measured(4.5 - 2.0 * voltage[1::2])
    result = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": voltage}), METHOD)
    assert ((result.status & drt.Status.UNRELATED) != 0).all()
    assert "Some have the same value" in caplog.text


@pytest.mark.parametrize("distance", [np.ones(1), np.ones(7), np.array([0.2, 1.0, 1.0, 3.0, 0.2]), np.full(140, 0.5)])
def test_eigenvalues_of_differences_at_any_distances(distance):
    position = np.append(0.0, np.cumsum(distance))
    state, coefficient = differences(position)
    matrix = np.zeros((len(state), position.size))
    for part in range(3):
        here = np.flatnonzero(state[:, part] >= 0)
        matrix[here, state[here, part]] += coefficient[here, part]
    exact = np.linalg.eigvalsh(matrix.T @ matrix)
    found = series_module._squares(position.tobytes())
    np.testing.assert_allclose(found, exact, atol=1e-9 * exact[-1])
    # On equal distances the ends are left out, which is little in long series.
    few = eigenvalues(position)
    assert few.size == min(position.size, 128)
    assert few.mean() == pytest.approx(exact.mean(), rel=1.5 / position.size + 0.5 * (position.size < 9))


def test_a_result_survives_pickling(joint):
    assert np.isfinite(joint.change(1, 4).r_pol)
    again = pickle.loads(pickle.dumps(joint))
    assert_same(again, joint)
    assert again.method == joint.method
    assert again.change(1, 4).r_pol_high == joint.change(1, 4).r_pol_high
    with pytest.raises(ValueError, match="read-only"):
        again.coupling[0] = 1.0


def test_chosen_rows_keep_their_answers(joint):
    some = joint[[5, 1]]
    for name in PER_SPECTRUM:
        np.testing.assert_array_equal(getattr(some, name), getattr(joint, name)[[5, 1]], err_msg=name)
    assert some.states["voltage"].tolist() == VOLTAGE[[5, 1]].tolist()
    assert np.isfinite(some.change(0, 1).gamma_low).all()


def test_peaks_of_a_series_follow_the_process_that_moves(joint):
    peaks, apart = joint.peaks(), []
    for row, voltage in enumerate(VOLTAGE):
        here = peaks[(peaks["spectrum"] == row) & (peaks["r"] > 5.0)]
        assert here["voltage"].tolist() == [voltage] * 2
        moving = here.sort_values("tau").iloc[1]
        apart.append(abs(np.log10(moving["tau"]) + 1.5 - 0.4 * (voltage - 3.0)))
        assert moving["r"] == pytest.approx(20.0 * np.exp(1.2 * (voltage - 3.0)), rel=0.1)
    assert np.median(apart) < 0.04
    assert max(apart) < 0.08  # within the spacing of relaxation times, 0.1, by which tops of flat peaks move


@pytest.mark.parametrize("count", [12, 25])
def test_few_relaxation_times_need_no_coarser_grid(count):
    tau = np.logspace(-6, 1, count)
    voltage = np.linspace(3.0, 3.2, 6)
    spectra = drt.Spectra(FREQUENCY, measured(voltage), {"voltage": voltage})
    result = drt.invert(spectra, drt.LogGaussian(along="voltage", tau=tau))
    assert np.isfinite(result.coupling).all()
    assert result.optimality.max() <= 1e-8
    np.testing.assert_allclose(result.r_pol, r_pol(voltage), rtol=0.1)


def test_the_search_does_not_end_while_all_is_still_taken_for_motion():
    frequency, rng = np.logspace(5, -2, 50), np.random.default_rng(0)
    # Davidson and Cole's elements, steep on one side.
    jw = 2j * np.pi * frequency
    z = np.array([1.0 + 20.0 / (1.0 + 1e-4 * jw) ** 0.9 + (50.0 + k) / (1.0 + 0.05 * jw) ** 0.85 for k in range(8)])
    z *= 1.0 + 2e-3 * rng.standard_normal(z.shape)
    noise = [(float(f), 0.1 + 0.01 * np.log10(f)) for f in frequency]
    spectra = drt.Spectra(frequency, z, {"voltage": np.linspace(3.0, 3.7, 8)})
    result = drt.invert(spectra, drt.LogGaussian(along="voltage", noise=noise))
    assert result.shift.max() < 0.05
    # What neighbours predict is within the noise that is given, which is more than there is; the ends have one side.
    found = result.predictions()
    assert found.error[1:-1].max() < 1.5
    assert found.score.max() < 1.0


def log_normal(voltage, seed=1, share=SHARE):
    """Spectra with two log-normal processes of which one grows, shape (K, F), and their γ at WINDOW."""
    y, x = np.linspace(np.log(1e-9), np.log(1e3), 4001), voltage[:, None] - 3.0

    def gamma(y):
        parts = ((30.0, 1e-4), (20.0 * np.exp(1.2 * x), 0.02))
        return sum(r / np.sqrt(2.0 * np.pi) * np.exp(-0.5 * (y - np.log(tau)) ** 2) for r, tau in parts)

    response = 1.0 / (1.0 + 2j * np.pi * FREQUENCY[:, None] * np.exp(y))
    z = 10.0 + (gamma(y) * (y[1] - y[0])) @ response.T
    rng = np.random.default_rng(seed)
    noise = share * np.abs(z) * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    return z + noise, gamma(np.log(WINDOW))


def test_what_residuals_have_in_common_is_counted(joint, spectra):
    uncertainty = joint._joined._uncertainty(0)
    rest = spectra.impedance - joint.impedance_at(FREQUENCY)
    # Student's distribution of four degrees of freedom that is found for normal noise has 0.7267 of its variance.
    sigma = np.hypot(joint.noise_floor[:, None], joint.noise_relative[:, None] * np.abs(spectra.impedance))
    parts = np.stack([rest.real, rest.imag]) / (np.sqrt(0.7267475952571825) * sigma)
    parts = parts.clip(-3.0, 3.0)
    mean = parts.mean(axis=1)
    expected = 8.0 * np.mean(mean[:, 1:] * mean[:, :-1]) / np.mean(parts**2) * np.sqrt(48.0)
    assert common_residual(uncertainty.problem, uncertainty.found) == pytest.approx(expected, rel=1e-3)
    assert abs(expected) < 3.0


@pytest.mark.slow
def test_the_prior_lets_go_where_all_states_show_that_it_holds_the_solution_back():
    voltage = np.linspace(3.0, 3.7, 24)
    z, exact = log_normal(voltage, seed=2, share=0.02)
    spectra = drt.Spectra(FREQUENCY, z, {"voltage": voltage})
    alone, found = (drt.invert(spectra, each) for each in (drt.LogGaussian(), METHOD))
    before = float(np.exp(np.log(alone.regularisation).mean()))
    held = drt.invert(spectra, replace(METHOD, regularisation=before))
    assert found.optimality.max() <= 1e-8
    assert 0.01 * before <= found.regularisation[0] < 0.3 * before
    wrong, wrong_held = (np.abs(each.gamma_at(WINDOW) - exact).mean() for each in (found, held))
    # Of this noise; it is 0.67 to 0.9 for others, but for those in which it is not seen.
    assert wrong < 0.8 * wrong_held
    low, high = found.gamma_interval(0.95, WINDOW)
    above = exact > 0.02 * exact.max()
    assert ((low <= exact) & (exact <= high))[above].mean() > 0.93


def test_where_no_smaller_factor_of_the_prior_helps_it_stays():
    # Ideal RC elements are narrower than relaxation times are apart: what that leaves is alike in all states.
    jw = 2j * np.pi * FREQUENCY
    z = np.array([10.0 + 20.0 / (1.0 + 1e-4 * jw) + r / (1.0 + 0.01 * jw) for r in np.linspace(30.0, 50.0, 8)])
    rng = np.random.default_rng(4)
    z *= 1.0 + 1e-3 * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    spectra = drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE})
    before = np.exp(np.log(drt.invert(spectra).regularisation).mean())
    found = drt.invert(spectra, METHOD)
    assert found.regularisation[0] == pytest.approx(before, rel=2.0**-9)
    assert found.solved.all()


@pytest.fixture(scope="module")
def growing():
    """A series whose noise grows from 0.1 to 3 %, and that of each."""
    share = np.geomspace(1e-3, 3e-2, 12)
    voltage = np.linspace(3.0, 3.7, 12)
    z = np.array(
        [measured([each], seed=n, share=one)[0] for n, (each, one) in enumerate(zip(voltage, share, strict=True))]
    )
    return share, drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": voltage}), METHOD)


def test_noise_that_grows_along_a_series_is_that_of_each(growing):
    share, result = growing
    assert not (result.status & drt.Status.MISFIT).any()
    assert result.optimality.max() <= 1e-8
    np.testing.assert_allclose(np.log(result.noise_relative / share), 0.0, atol=0.6)
    wide = np.diff(result.r_pol_interval(), axis=0)[0] / result.r_pol
    assert np.isfinite(wide).all()
    assert wide[-3:].mean() > 1.5 * wide[:3].mean()
    # Where a spectrum tells little, its neighbours do; and those are not held by one level of noise for all.
    voltage = result.states["voltage"].to_numpy()
    assert errors(result, voltage)[0] < 0.75 * errors(drt.invert(result.spectra), voltage)[0]


def test_what_follows_from_a_series_has_the_noise_of_each(growing):
    _, result = growing
    line = result._joined.lines[0]
    uncertainty = result._joined._uncertainty(0)
    problem, found = uncertainty.problem, uncertainty.found
    sizes = np.full(12, problem.size)
    floor, share = problem.prepared.deviations(problem.noise_of_each(found), sizes)
    np.testing.assert_allclose(floor, result.noise_floor, rtol=1e-9)
    np.testing.assert_allclose(share, result.noise_relative, rtol=1e-9)
    # The problem that intervals are found from has its optimum near the solution, whose bends it takes.
    again, known = result._joined.problem_of(line, line.position, result.spectra.impedance, result._joined.breaks)
    np.testing.assert_allclose(again.refine(known, result._joined.parameters), result.coefficients, rtol=0.01)
    low, high = result.gamma_interval(0.95, WINDOW, voltage=3.33)
    assert np.all(low < high)
    assert np.isfinite(result.predictions().error).all()


def test_noise_that_differs_by_chance_is_one():
    rng = np.random.default_rng(5)
    rows, z = 400, np.ones((400, 60)) * (1.0 + 1j)
    share = 0.01 * np.exp(rng.standard_normal(rows) / np.sqrt(120.0))
    share[7] = 0.03
    start = SeparateSolutions(None, None, np.zeros(rows), share)
    ratio = noise_ratios(z, start)
    assert np.flatnonzero(ratio != 1.0).tolist() == [7]
    assert ratio[7] == pytest.approx(3.0, rel=0.05)
    unknown = start._replace(noise_floor=np.full(rows, np.nan))
    assert (noise_ratios(z, unknown) == 1.0).all()


@pytest.mark.slow
def test_spectra_that_are_not_alike_are_found_no_worse_than_alone():
    voltage = np.linspace(3.0, 3.7, 16)
    state = np.random.default_rng(3).permutation(voltage)
    exact = np.array([truth(WINDOW, each) for each in state])
    # The first arc too is another one in every other cell.
    z = measured(state, seed=6)
    other = np.arange(16) % 2 == 1
    z[other] += zarc(FREQUENCY, 40.0, 3e-3, 0.8) - zarc(FREQUENCY, 30.0, 1e-4, 0.9)
    exact[other] += ZARC(40.0, 3e-3, 0.8).gamma(WINDOW) - ZARC(30.0, 1e-4, 0.9).gamma(WINDOW)
    spectra = drt.Spectra(FREQUENCY, z, {"voltage": voltage})
    found, alone = drt.invert(spectra, METHOD), drt.invert(spectra)
    assert ((found.status & drt.Status.UNRELATED) != 0).all()
    wrong, wrong_alone = (np.abs(each.gamma_at(WINDOW) - exact).mean(axis=1) for each in (found, alone))
    assert np.median(wrong) < np.median(wrong_alone)
    # It is 0.18 to 0.23 of that, and 0.34 to 0.47 with half of the prior.
    apart = np.abs(found.gamma_at(WINDOW) - alone.gamma_at(WINDOW)).mean(axis=1)
    assert np.median(apart) < 0.28 * np.median(wrong_alone)
    # With known κ and s, too, the prior counts as a whole: the solution is that of the problem that others come from.
    line = found._joined.lines[0]
    problem, known = found._joined.problem_of(line, line.position, z, found._joined.breaks)
    np.testing.assert_allclose(problem.refine(known, found._joined.parameters), found.coefficients, rtol=0.01)
