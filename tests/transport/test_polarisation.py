"""Steady states by extrapolation, what is not steady, and the resistance over steps."""

import numpy as np
import pytest
from scipy.optimize import brentq

import drt_engine as drt
from drt_engine.simulate import TransmissionLine
from drt_engine.transport.flags import Flag
from drt_engine.transport.relaxing import _relaxed, relax

R_I, R_E, Q = 300.0, 100.0, 1e-2
LINE = TransmissionLine(R_I, R_E, Q, 1.0, "ee")


def slowest(line=LINE):
    ratio = line.r_ion / line.r_e
    theta = brentq(lambda x: np.sin(x) + ratio * x * np.cos(x), np.pi / 2 + 1e-9, np.pi - 1e-12)
    return (line.r_ion + line.r_e) * line.q / (4 * theta**2)


def held(multiple, count, noise, line=LINE, points=400, seed=0):
    hold = multiple * slowest(line)
    time = np.linspace(hold / points, hold, points)
    current = line.step_current(time, 0.01)
    noisy = current + noise * current[-1] * np.random.default_rng(seed).standard_normal((count, points))
    return [(time, one) for one in noisy]


def trace(voltages=(0.005, 0.01, -0.005, -0.01), multiple=12, noise=1e-3, offset=2e-6, seed=0, **states):
    rng = np.random.default_rng(seed)
    hold = multiple * slowest()
    time = np.linspace(hold / 300, hold, 300)
    one = LINE.step_current(time)
    current = np.concatenate([v * one + offset for v in voltages])
    current += noise * 1e-4 * rng.standard_normal(current.size)
    voltage = np.repeat(voltages, time.size) + 1e-6 * rng.standard_normal(current.size)
    clock = np.concatenate([time + k * hold for k in range(len(voltages))])
    return drt.Trace(clock, voltage, current, states)


@pytest.mark.slow
def test_steady_current_covers_in_200_draws():
    found = relax(held(10, 200, 1e-3), 0.95)
    assert found.steady.mean() > 0.9
    covered = np.abs(found.end - 0.01 / R_E) < found.quantile * found.end_error
    assert 0.93 <= covered.mean() <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_a_hold_of_a_third_of_the_slowest_time_constant_is_not_steady(noise):
    found = relax(held(1 / 3, 20, noise, points=150), 0.95)
    assert np.mean(~found.steady) >= 0.95
    # the value given is a bound
    assert np.all(found.end > 0.01 / R_E)


@pytest.mark.parametrize("phi", [0.7, 0.85])
def test_a_constant_phase_coupling_that_goes_on_is_not_steady(phi):
    line = TransmissionLine(100.0, 300.0, Q, phi, "ee")
    found = relax(held(30, 10, 1e-3, line), 0.95)
    covered = np.abs(found.end - 0.01 / 300.0) < found.quantile * found.end_error
    assert np.mean(found.steady & ~covered) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("multiple", [30, 100])
def test_the_interval_holds_what_a_constant_phase_would_change(multiple):
    line = TransmissionLine(100.0, 100.0, Q, 0.95, "ee")
    found = relax(held(multiple, 20, 1e-2, line), 0.95)
    wrong = found.steady & (np.abs(found.end - 1e-4) > found.quantile * found.end_error)
    assert found.steady.sum() >= 10
    assert wrong.sum() <= 2


@pytest.mark.parametrize("n", [0.5, 0.77, 0.95, 0.999])
def test_terms_are_functions_of_mittag_leffler(n):
    x = np.logspace(-4, 4, 50)
    # E_n(-x^n) = ∫ γ(τ) exp(-x/τ) d ln τ, with γ of a ZARC element of 1 ohm
    y = np.concatenate([-np.geomspace(300, 1e-6, 12000), [0.0], np.geomspace(1e-6, 300, 12000)])
    gamma = np.sin(n * np.pi) / (2 * np.pi * (np.cosh(n * y) + np.cos(n * np.pi)))
    expected = np.trapezoid(gamma * np.exp(-x[:, None] * np.exp(-y)), y, axis=1)
    found, _, by_x = _relaxed(np.array([n]), np.log(x)[None])
    np.testing.assert_allclose(found[0], expected, atol=3e-6)
    step = 1e-5
    up, down = (_relaxed(np.array([n]), np.log(x)[None] + sign * step)[0] for sign in (1, -1))
    np.testing.assert_allclose(by_x, (up - down) / (2 * step), atol=1e-8)


def test_steady_over_initial_current_is_the_share_of_ions():
    result = drt.polarisation(trace(offset=0.0))
    steps = result.steps
    assert np.all((steps["ratio_low"] < 0.75) & (steps["ratio_high"] > 0.75))
    assert steps["ratio"].to_numpy() == pytest.approx([0.75] * 4, rel=0.05)
    assert result.response_at(0, [1e9])[0] == pytest.approx(0.005 / R_E, rel=0.01)


def test_resistance_over_steps_with_an_offset():
    result = drt.polarisation(trace(sample="a", thickness=0.047, area=0.785))
    row = result.table.iloc[0]
    assert row["resistance_low"] < R_E < row["resistance_high"]
    assert row["resistance"] == pytest.approx(R_E, rel=0.005)
    assert row["offset"] == pytest.approx(2e-6, rel=0.05)
    assert row["sigma"] == pytest.approx(0.047 / 0.785 / row["resistance"])
    assert row["remarks"] == "ok"
    assert result.steps["level"].to_numpy() == pytest.approx([0.005, 0.01, -0.005, -0.01], rel=1e-3)
    assert set(result.steps["controlled"]) == {"voltage"}
    assert result.to_frame().equals(result.table)


def test_a_controlled_current_gives_the_same():
    base = trace()
    time = base.time
    current = np.repeat([1e-5, -1e-5, 2e-5], 400)
    clock = np.arange(1, 1201) * 0.2
    voltage = np.concatenate([i * (100 - 25 * np.exp(-np.arange(1, 401) * 0.2 / 5)) for i in (1e-5, -1e-5, 2e-5)])
    voltage += 1e-7 * np.random.default_rng(0).standard_normal(voltage.size)
    result = drt.polarisation(drt.Trace(clock, voltage, current))
    assert time.size
    assert set(result.steps["controlled"]) == {"current"}
    assert result.table["resistance"][0] == pytest.approx(100, rel=0.01)
    assert result.table["resistance_low"][0] < 100 < result.table["resistance_high"][0]


def test_steps_that_are_not_steady_give_no_resistance():
    result = drt.polarisation(trace(multiple=1 / 3))
    row = result.table.iloc[0]
    assert row["status"] & Flag.NOT_STEADY
    assert np.isnan(row["resistance"])
    assert result.steps["steady_low"].isna().all()
    assert (result.steps["steady"].abs() > result.steps["level"].abs() / R_E).all()


@pytest.mark.slow
def test_curvature_floor_and_too_few_steps_are_flagged():
    volts = np.array([-0.02, -0.015, -0.01, -0.005, 0.005, 0.01, 0.015, 0.02])
    rng = np.random.default_rng(1)
    time = np.tile(np.arange(1, 101.0), volts.size) + np.repeat(np.arange(volts.size), 100) * 100
    current = np.repeat(volts / 100 + 30 * volts**3, 100) * (1 + 1e-4 * rng.standard_normal(800))
    bent = drt.Trace(time, np.repeat(volts, 100), current)
    assert drt.polarisation(bent).table["status"][0] & Flag.CURVED
    assert drt.polarisation(bent, floor=1.0).table["status"][0] & Flag.BELOW_FLOOR
    two = drt.polarisation(trace(voltages=(0.005, -0.005))).table.iloc[0]
    assert two["status"] & Flag.FEW
    one = drt.polarisation(trace(voltages=(0.005,))).table.iloc[0]
    assert one["status"] & Flag.NOT_DETERMINED
    assert np.isnan(one["resistance"])


def test_samples_are_told_apart():
    result = drt.polarisation([trace(sample="a"), trace(sample="b"), trace(sample="a")])
    assert result.table["sample"].tolist() == ["a", "b"]
    assert result.steps["sample"].tolist() == [0] * 8 + [1] * 4


def test_bad_input_is_refused():
    with pytest.raises(drt.InputError, match="must be of type Trace"):
        drt.polarisation([])
    with pytest.raises(drt.InputError, match="current of trace 0 is missing"):
        drt.polarisation(drt.Trace([0, 1, 2], [1, 1, 1], [np.nan] * 3))
    with pytest.raises(drt.InputError, match="level"):
        drt.polarisation(trace(), level=1.5)
    with pytest.raises(drt.InputError, match="floor"):
        drt.polarisation(trace(), floor=-1.0)
    with pytest.raises(drt.InputError, match="with five points or more was found"):
        drt.polarisation(drt.Trace([0, 1], [1, 1], [1, 1]))
    with pytest.raises(drt.InputError, match="thickness must be positive"):
        drt.polarisation(trace(thickness=0.0, area=1.0))


@pytest.mark.parametrize(
    ("time", "voltage", "words"),
    [
        ([0, 1, 0.5], [1, 1, 1], "must ascend, in s; got 0.5 at index 2"),
        ([0, 1], [1, 1, 1], "one voltage"),
        ([0], [1], "two"),
    ],
)
def test_impossible_traces_are_refused(time, voltage, words):
    with pytest.raises(drt.InputError, match=words):
        drt.Trace(time, voltage, voltage)


def rounded(voltage, digit, noise, rng, cell="A", r=987.0):
    """A step whose current was written with a last digit, in A."""
    time = np.arange(60.0)
    current = voltage / r * (1 + 0.5 * np.exp(-time / 3)) + noise * rng.standard_normal(time.size)
    return drt.Trace(time, np.full(time.size, voltage), np.round(current / digit) * digit, {"cell": cell})


@pytest.mark.parametrize(
    ("digits", "noise"),
    [((1e-6, 1e-6, 1e-12, 1e-12), (1e-8, 1e-8, 1e-6, 1e-6)), ((1e-6,) * 4, (1e-8,) * 4)],
    ids=["two of four", "all"],
)
def test_a_current_that_was_rounded_is_not_exact(digits, noise):
    traces = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        voltages = rng.uniform(0.9, 1.1, 4) * (-0.1, 0.1, 0.05, -0.05)
        traces += [rounded(*each, rng, f"{seed}") for each in zip(voltages, digits, noise, strict=True)]
    table = drt.polarisation(traces).table
    known = table[table["resistance_low"].notna()]
    assert len(known) > 50
    assert np.mean((known["resistance_low"] <= 987) & (known["resistance_high"] >= 987)) > 0.85


def test_a_step_of_no_current_at_all_does_not_harm_the_others():
    rng = np.random.default_rng(0)
    steps = [rounded(voltage, 1e-12, 1e-6, rng) for voltage in (-0.1, 0.1, 0.05, -0.05)]
    still = drt.Trace(np.arange(60.0), np.zeros(60), np.zeros(60), {"cell": "A"})
    row = drt.polarisation([*steps, still]).table.iloc[0]
    assert row["resistance"] == pytest.approx(987, rel=0.01)
    assert row["resistance_low"] < 987 < row["resistance_high"]
    # Steps that are all exact have no error to weigh them by.
    exact = [drt.Trace(np.arange(60.0), np.full(60, v), np.full(60, v / 987), {"cell": "A"}) for v in (0.1, -0.1, 0.05)]
    assert drt.polarisation([*exact, still]).table["resistance"][0] == pytest.approx(987, rel=1e-9)
