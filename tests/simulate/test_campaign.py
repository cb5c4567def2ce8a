"""The campaign: its states, its voltage curves, its truth."""

from dataclasses import replace

import numpy as np
import pytest

from drt_engine.errors import InputError
from drt_engine.simulate import (
    BARE,
    COATED,
    PROCESSES,
    CampaignDesign,
    Cell,
    ConstantNoise,
    ProportionalNoise,
    campaign,
)

HALF = ["cell", "cycle", "direction"]


@pytest.fixture(scope="module")
def default():
    return campaign()


@pytest.fixture(scope="module")
def exact():
    return campaign(CampaignDesign(noise=None))


def columns(result, name):
    return result.r[:, PROCESSES.index(name)], result.tau[:, PROCESSES.index(name)]


def test_default_is_the_campaign_of_two_cells(default):
    states = default.spectra.states
    assert default.spectra.impedance.shape == (1056, 61)
    assert len(default.design) == 1056
    assert list(states["cell"].unique()) == ["B", "C"]
    assert list(states["cycle"].unique()) == [1, 50, 100, 150, 200, 250, 300, 350, 400, 450, 500]
    assert default.spectra.frequency[[0, -1]] == pytest.approx([1e6, 1e-2], rel=1e-12)
    np.testing.assert_allclose(np.diff(np.log(default.spectra.frequency)), -np.log(1e8) / 60, rtol=1e-10)
    assert set(states.columns) == {*HALF, "voltage", "time", "current", "charge", "temperature", "area"}
    for (_, _, direction), half in states.groupby(HALF):
        expected = 2.2 + 2.5 / 23 * np.arange(24)
        np.testing.assert_allclose(half["voltage"], expected if direction == "charge" else expected[::-1])
        assert np.all(half["current"] == (1e-3 if direction == "charge" else -1e-3))


def test_the_charge_comes_before_the_discharge_and_time_goes_on(default):
    states = default.spectra.states
    for _, cell in states.groupby("cell"):
        assert np.all(np.diff(cell["time"]) >= 0)
        assert list(cell["direction"][:48]) == ["charge"] * 24 + ["discharge"] * 24
        # a charge ends when its discharge begins
        assert cell["time"].iloc[23] == cell["time"].iloc[24] > cell["time"].iloc[22]


def test_time_counts_the_cycles_between_those_that_are_looked_at():
    every = campaign(CampaignDesign(cycles=tuple(range(1, 31)), voltages=2)).spectra.states
    some = campaign(CampaignDesign(cycles=(1, 30), voltages=2)).spectra.states
    for cell in "BC":
        passed = every[every["cell"] == cell].groupby(["cycle", "direction"])["charge"].max().sum() / 1e-3
        assert some.loc[some["cell"] == cell, "time"].max() == pytest.approx(passed, rel=1e-12)


def test_eis_points_lie_on_the_profile(default):
    states, profile = default.spectra.states, default.profile
    both = states.merge(profile, on=[*HALF, "voltage"], suffixes=("", "_profile"))
    assert len(both) == len(states)
    for name in ("time", "charge", "current"):
        np.testing.assert_array_equal(both[name], both[f"{name}_profile"])


def test_profile_is_galvanostatic_and_monotone(default):
    profile = default.profile
    assert list(profile.columns) == [*HALF, "time", "current", "charge", "capacity_mAh", "voltage"]
    np.testing.assert_allclose(profile["capacity_mAh"] * 3.6, profile["charge"], rtol=1e-14)
    halves = profile.groupby(HALF)
    assert len(halves) == 44
    for (_, _, direction), half in halves:
        assert len(half) > 250
        assert np.all(np.diff(half["charge"]) > 0)
        assert np.all(np.diff(half["voltage"]) * (1 if direction == "charge" else -1) > 0)
        np.testing.assert_allclose(np.diff(half["time"]) * 1e-3, np.diff(half["charge"]), rtol=0, atol=1e-11)
        assert half["charge"].iloc[0] == 0
        assert sorted(half["voltage"].iloc[[0, -1]]) == [2.2, 4.7]


def share_between(half, low, high):
    """Share of the charge of a curve that passes between two voltages."""
    inside = half["voltage"].between(low, high)
    return np.ptp(half["charge"][inside]) / np.ptp(half["charge"])


def test_only_the_first_charge_has_the_plateau(default):
    profile = default.profile
    for cell in "BC":
        charges = profile[(profile["cell"] == cell) & (profile["direction"] == "charge")]
        shares = {cycle: share_between(half, 4.44, 4.6) for cycle, half in charges.groupby("cycle")}
        assert shares.pop(1) > 0.4
        assert max(shares.values()) < 0.2


def test_capacity_and_voltage_fade_less_with_the_coating(default):
    capacity = default.profile.groupby(HALF)["capacity_mAh"].max()
    halfway = default.profile.groupby(HALF)[["charge", "voltage"]].apply(
        lambda h: np.interp(h["charge"].max() / 2, h["charge"], h["voltage"])
    )
    kept, sunk = {}, {}
    for cell in "BC":
        series = capacity[cell].xs("discharge", level="direction")
        assert np.all(np.diff(series) < 0)
        kept[cell] = series[500] / series[1]
        sunk[cell] = halfway[cell, 1, "discharge"] - halfway[cell, 500, "discharge"]
        # more goes in than comes out, most of all the first time
        ratio = series / capacity[cell].xs("charge", level="direction")
        assert ratio[1] == pytest.approx(0.8, abs=1e-9)
        assert np.all((ratio[1:] > 0.99) & (ratio[1:] < 1))
    assert kept["B"] == pytest.approx(np.exp(-0.5))
    assert kept["C"] > 0.8 > kept["B"]
    assert 0.15 < sunk["B"] < 0.5
    assert 0 < sunk["C"] < sunk["B"] / 2


def test_impedance_is_that_of_the_circuit(exact):
    f = exact.spectra.frequency
    for row in (0, 23, 24, 511, 512, 700, 1055):
        circuit = exact.circuit(row)
        np.testing.assert_allclose(exact.spectra.impedance[row], circuit.impedance(f), rtol=1e-13)
        assert circuit.r_inf == exact.r_inf[row]
        assert circuit.inductance == exact.inductance[row]
        tau = np.geomspace(1e-8, 1e3, 99)
        np.testing.assert_allclose(exact.gamma(tau, [row])[0], circuit.gamma(tau), rtol=1e-12)


def test_gamma_integrates_to_the_sum_of_r(default):
    y = np.linspace(np.log(1e-25), np.log(1e21), 12_001)
    rows = [0, 300, 777, 1055]
    # the trapezoidal rule converges exponentially for a function that is smooth and vanishes at both ends
    area = np.trapezoid(default.gamma(np.exp(y), rows), y, axis=1)
    np.testing.assert_allclose(area, default.r[rows].sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(default.r_pol, default.r.sum(axis=1))
    assert default.gamma([1e-3, 1.0]).shape == (1056, 2)
    assert default.gamma([1e-3, 1.0], 5).shape == (1, 2)
    assert default.gamma([1.0], default.spectra.states["cell"].to_numpy() == "B").shape == (528, 1)


def test_processes_is_the_same_truth_as_a_table(default):
    table = default.processes
    assert list(table.columns) == ["spectrum", "process", "r", "tau", "phi"]
    assert len(table) == 5 * 1056
    for name in ("r", "tau", "phi"):
        wide = table.pivot_table(index="spectrum", columns="process", values=name, observed=True)
        np.testing.assert_array_equal(wide[list(PROCESSES)], getattr(default, name))
    assert default.process_names == PROCESSES


def test_interphase_grows_with_the_root_of_the_cycle_and_the_coating_suppresses_it(default):
    states = default.spectra.states
    r, _ = columns(default, "interphase")
    growth = {}
    for cell, rows in states.groupby("cell").groups.items():
        slope, intercept = np.polyfit(np.sqrt(states["cycle"][rows]), r[rows], 1)
        np.testing.assert_allclose(r[rows], intercept + slope * np.sqrt(states["cycle"][rows]), rtol=1e-12)
        growth[cell] = r[rows].max() - r[rows].min()
    assert growth["B"] > 40
    assert growth["C"] < growth["B"] / 5


def test_charge_transfer_has_a_u_shape_that_is_steep_at_low_voltage(default):
    states = default.spectra.states
    r, _ = columns(default, "charge transfer")
    for rows in states.groupby(HALF).groups.values():
        order = np.argsort(states["voltage"][rows].to_numpy())
        series = r[rows][order]
        lowest = series.argmin()
        assert 3.5 < states["voltage"][rows].to_numpy()[order][lowest] < 4.3
        assert np.all(np.diff(series[: lowest + 1]) < 0)
        assert np.all(np.diff(series[lowest:]) > 0)
        assert series[0] > series[-1] > 1.5 * series[lowest]
        assert series[0] > 5 * series[lowest]


def test_anode_and_charge_transfer_overlap(default):
    ratio = columns(default, "charge transfer")[1] / columns(default, "anode")[1]
    assert ratio.min() > 1.5
    assert np.mean(ratio < 5) > 0.85
    assert ratio.max() < 8


def test_diffusion_vanishes_at_high_voltage(default):
    states = default.spectra.states
    r, _ = columns(default, "diffusion")
    assert r[states["voltage"] > 4.6].max() < 2
    assert r[states["voltage"] < 3.0].min() > 50


def test_truth_is_that_of_a_cell_and_within_the_window(default):
    assert np.all((default.tau > 1e-6) & (default.tau < 5))
    assert np.all(np.diff(default.tau, axis=1) > 0)
    assert np.all((default.phi > 0.7) & (default.phi < 1))
    assert np.all((default.r > 1) & (default.r < 400))
    assert np.all((default.r_inf > 10) & (default.r_inf < 20))
    assert np.all((default.inductance >= 1e-7) & (default.inductance <= 1e-6))


def test_noise_is_as_stated_and_the_only_thing_that_is_random(default, exact):
    error = (default.spectra.impedance - exact.spectra.impedance) / np.abs(exact.spectra.impedance)
    n = error.size
    for part in (error.real, error.imag):
        assert np.sqrt((part**2).mean()) == pytest.approx(0.002, rel=4.5 / np.sqrt(2 * n))
    # no two blocks of spectra share their noise
    assert abs(np.corrcoef(error[:512].real.ravel(), error[512:1024].real.ravel())[0, 1]) < 4.5 / np.sqrt(n / 2)
    for name in ("r", "tau", "phi", "r_inf", "inductance"):
        np.testing.assert_array_equal(getattr(default, name), getattr(exact, name))
    assert default.spectra.states.equals(exact.spectra.states)


def test_a_seed_makes_the_same_campaign(default):
    np.testing.assert_array_equal(campaign().spectra.impedance, default.spectra.impedance)
    other = campaign(CampaignDesign(seed=1)).spectra.impedance
    assert not np.any(other == default.spectra.impedance)


def test_the_design_decides_the_shape():
    design = CampaignDesign(
        cells=(replace(BARE, name="x"), COATED, Cell("y", interphase=0.0)),
        cycles=[2, 7],
        voltages=26,
        window=(2.5, 4.5),
        frequencies=9,
        frequency_range=(1e5, 1.0),
        noise=ConstantNoise(0.1),
        current=2e-3,
        temperature=60,
        area=1.3,
    )
    result = campaign(design)
    states, profile = result.spectra.states, result.profile
    assert result.spectra.impedance.shape == (3 * 2 * 2 * 26, 9) == (len(design), 9)
    assert list(states["cell"].unique()) == ["x", "C", "y"]
    assert (states["voltage"].min(), states["voltage"].max()) == (2.5, 4.5)
    assert np.all(states["temperature"] == 60)
    assert np.all(states["area"] == 1.3)
    assert np.all(np.abs(states["current"]) == 2e-3)
    # its voltages meet the grid of the curve but for rounding: no point may come twice
    assert np.all(profile.groupby(HALF)["time"].apply(lambda t: np.diff(t).min()) > 1e-3)
    assert len(states.merge(profile, on=[*HALF, "voltage", "time", "charge"])) == len(states)


def test_a_model_stays_sound_at_the_ends_of_its_range():
    cells = (
        BARE,
        COATED,
        Cell("worst", interphase=0.0, interphase_growth=20.0, ageing=30.0, fade=3.0, voltage_fade=1.0),
    )
    result = campaign(CampaignDesign(cells=cells, cycles=(1, 5000), voltages=30, window=(2.0, 4.8)))
    assert np.all(np.isfinite(result.spectra.impedance))
    assert np.all((result.r > 0) & (result.tau > 0))
    assert np.all((result.phi >= 0.5) & (result.phi < 1))
    for _, half in result.profile.groupby(HALF):
        assert np.all(np.diff(half["charge"]) > 0)


def test_truth_is_read_only(default):
    for name in ("r", "tau", "phi", "r_inf", "inductance"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(default, name)[0] = 1
    for name, column in (("profile", "time"), ("processes", "r")):
        table = getattr(default, name)
        table[column] = 0
        assert getattr(default, name)[column].max() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CampaignDesign(cells=()), "cells must be one or more Cell"),
        (lambda: CampaignDesign(cells=("B",)), "cells must be one or more Cell"),
        (lambda: CampaignDesign(cells=(BARE, BARE)), "cells must have distinct names; got .'B', 'B'."),
        (lambda: CampaignDesign(cycles=500), "cycles must be a sequence; got 500"),
        (lambda: CampaignDesign(cycles=(0, 1)), "cycles must be within 1 to 5000"),
        (lambda: CampaignDesign(cycles=(1, 5001)), "cycles must be within 1 to 5000"),
        (lambda: CampaignDesign(cycles=(1, 1)), "cycles must be whole numbers that ascend"),
        (lambda: CampaignDesign(cycles=(1.5,)), "cycles must be whole numbers that ascend"),
        (lambda: CampaignDesign(cycles=()), "cycles must be whole numbers that ascend"),
        (lambda: CampaignDesign(voltages=1), "voltages must be a number, at least 2; got 1"),
        (lambda: CampaignDesign(frequencies=4), "frequencies must be a number, at least 5; got 4"),
        (lambda: CampaignDesign(window=(4.7, 2.2)), "window must ascend within 2.0 to 4.8 V"),
        (lambda: CampaignDesign(window=(2.2,)), "window must be two finite numbers"),
        (lambda: CampaignDesign(frequency_range=(1, 10)), "frequency_range must be the highest and the lowest"),
        (lambda: CampaignDesign(noise=0.002), "noise must be a noise model or None; got 0.002"),
        (lambda: CampaignDesign(seed=-1), "seed must be a whole number, not negative"),
        (lambda: CampaignDesign(current=0), "current must be positive"),
        (lambda: CampaignDesign(area=np.nan), "area must be positive"),
        (lambda: CampaignDesign(temperature="warm"), "temperature must be a number"),
        (lambda: campaign(5), "design must be a CampaignDesign; got 5"),
        (lambda: Cell(""), "name of a Cell must be a string that is not empty"),
        (lambda: Cell(5), "name of a Cell must be a string"),
        (lambda: Cell("B", fade=-1), "fade of cell 'B' must be finite and not negative; got -1"),
        (lambda: Cell("B", capacity=0), "capacity of cell 'B' must be positive"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_default_noise_is_a_fifth_of_a_per_cent_of_the_modulus():
    assert CampaignDesign().noise == ProportionalNoise(0.002)
