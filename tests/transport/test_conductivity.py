"""Conductivity of pellets: bias, coverage, what is flagged, and activation energies."""

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.simulate import (
    ZARC,
    Circuit,
    ConstantPhase,
    HavriliakNegami,
    Inductor,
    ProportionalNoise,
    Resistor,
)
from drt_engine.transport.arrhenius import BOLTZMANN, arrhenius_of
from drt_engine.transport.flags import Flag

FREQUENCY = np.logspace(6.85, -1, 60)
ARCS = Resistor(20) + ZARC(400, 4e-7, 0.95) + ZARC(600, 4e-5, 0.85)
GEOMETRY = {"thickness": 0.05, "area": 0.785, "temperature": 25.0}


def pellets(circuit, count=1, noise=0.005, seed=0, frequency=FREQUENCY, **states):
    z = ProportionalNoise(noise).add(np.tile(circuit.impedance(frequency), (count, 1)), seed)
    given = {name: [value] * count for name, value in (GEOMETRY | states).items() if value is not None}
    return drt.Spectra(frequency, z, given)


@pytest.mark.parametrize("n", [0.6, 0.7, 0.8, 0.9, 1.0])
@pytest.mark.parametrize(("arcs", "r"), [(Resistor(20) + ZARC(400, 4e-7, 0.85), 420.0), (ARCS, 1020.0)])
def test_total_is_not_biased_beside_a_constant_phase(n, arcs, r):
    q = 2e-6 * 5 ** ((1 - n) * 10)  # the tail is no larger than the arcs at their frequencies
    found = drt.conductivity(pellets(arcs + ConstantPhase(q, n), 8)).table
    assert abs(found["r_total"].median() / r - 1) < 0.01
    assert found["tail_n"].median() == pytest.approx(n, abs=0.02)
    assert found["optimality"].max() < 0.01  # what is left to gain in χ² is its square times the number of data
    assert found["sigma"].notna().all()


@pytest.mark.slow
def test_intervals_of_the_total_cover_in_400_draws():
    found = drt.conductivity(pellets(ARCS + ConstantPhase(2e-6, 0.85), 400, seed=3)).table
    covered = (found["r_total_low"] < 1020) & (found["r_total_high"] > 1020)
    assert 0.93 <= covered.mean() <= 0.97
    assert (found["remarks"] == "ok").mean() > 0.95


def test_bulk_and_grain_boundary_are_told_apart_by_capacitance():
    circuit = Resistor(0) + ZARC(400, 1.6e-9, 0.97) + ZARC(900, 4e-6, 0.9) + ConstantPhase(4e-6, 0.9)
    result = drt.conductivity(pellets(circuit, 3, noise=0.002, frequency=np.logspace(9, 0, 80)))
    assert result.table["r_bulk"].to_numpy() == pytest.approx([400] * 3, rel=0.05)
    assert result.table["r_grain_boundary"].to_numpy() == pytest.approx([900] * 3, rel=0.05)
    assert result.table["sigma_bulk"].to_numpy() == pytest.approx([0.05 / 0.785 / 400] * 3, rel=0.05)
    assert result.arcs["class"].tolist() == ["bulk", "grain boundary"] * 3
    assert result.arcs["c"].to_numpy()[:2] == pytest.approx([4e-12, 4.4e-9], rel=0.1)
    one = drt.conductivity(pellets(circuit, 1, frequency=np.logspace(5.5, -1, 60))).table.iloc[0]
    assert np.isnan(one["r_bulk"])  # the arc of the bulk is above this window, and part of the total
    assert one["r_total"] == pytest.approx(1300, rel=0.02)


def test_an_arc_above_the_window_leaves_the_intercept_and_no_bulk():
    row = drt.conductivity(pellets(Resistor(5) + ZARC(50, 1e-10, 0.95) + ConstantPhase(5e-6, 0.9))).table.iloc[0]
    assert row["status"] & Flag.ABOVE_WINDOW
    assert row["r_total"] == pytest.approx(55, rel=0.01)
    assert np.isnan(row["r_bulk"])


TAIL = ConstantPhase(2e-6, 0.9)
BAD = [
    ("no tail", ARCS, Flag.NO_TAIL, FREQUENCY),
    ("only a tail", Resistor(0.1) + ConstantPhase(1e-6, 0.8), Flag.ONLY_TAIL, np.logspace(4, -1, 50)),
    ("inductance", Resistor(0.2) + Inductor(5e-6) + ConstantPhase(2e-5, 0.95), Flag.INDUCTANCE, np.logspace(6, 2, 50)),
    ("arc that goes on", Resistor(20) + ZARC(1e5, 3.0, 0.9), Flag.BELOW_WINDOW | Flag.NO_TAIL, np.logspace(6, -1, 60)),
]


@pytest.mark.parametrize(("name", "circuit", "flag", "frequency"), BAD, ids=[one[0] for one in BAD])
def test_what_is_not_determined_is_flagged_and_has_no_conductivity(name, circuit, flag, frequency):
    found = drt.conductivity(pellets(circuit, 10, frequency=frequency)).table
    assert np.all(found["status"].to_numpy() & int(flag))
    assert found["sigma"].isna().all()


def test_without_geometry_there_is_a_resistance_and_a_remark():
    spectra = pellets(ARCS + TAIL, thickness=None)
    row = drt.conductivity(spectra).table.iloc[0]
    assert row["r_total"] == pytest.approx(1020, rel=0.02)
    assert np.isnan(row["sigma"])
    assert row["remarks"] == "geometry"


def test_a_row_of_nothing_and_missing_points_do_not_harm_the_others():
    spectra = pellets(ARCS + TAIL, 3)
    z = spectra.impedance.copy()
    z[1], z[2, 5:8] = np.nan, np.nan
    found = drt.conductivity(drt.Spectra(spectra.frequency, z, spectra.states)).table
    alone = drt.conductivity(spectra[[0]]).table
    assert found["remarks"].tolist() == ["ok", "no data", "ok"]
    assert found["r_total"][0] == pytest.approx(alone["r_total"][0], rel=1e-9)
    assert found["r_total"][2] == pytest.approx(1020, rel=0.02)
    assert np.isnan(found["r_total"][1])


def test_an_arc_that_is_no_zarc_has_nearly_the_right_resistance():
    circuit = Resistor(20) + HavriliakNegami(400, 4e-7, 0.9, 0.6) + TAIL
    found = drt.conductivity(pellets(circuit, 20, noise=0.003)).table
    assert found["r_total"].median() == pytest.approx(420, rel=0.005)


def test_errors_of_fit_and_of_geometry_are_kept_apart():
    plain = drt.conductivity(pellets(ARCS + TAIL)).table.iloc[0]
    row = drt.conductivity(pellets(ARCS + TAIL, thickness_error=0.0025, area_error=0.785 * 0.03)).table.iloc[0]
    assert row["sigma"] == plain["sigma"] == pytest.approx(0.05 / 0.785 / row["r_total"])
    assert row["sigma_fit_error"] == plain["sigma_fit_error"]
    assert plain["sigma_geometry_error"] == 0
    assert row["sigma_geometry_error"] / row["sigma"] == pytest.approx(np.hypot(0.05, 0.03))
    assert row["sigma_high"] / row["sigma_low"] > plain["sigma_high"] / plain["sigma_low"]
    round_ = drt.conductivity(pellets(ARCS + TAIL, area=None, diameter=1.0, diameter_error=0.01)).table.iloc[0]
    assert round_["sigma_geometry_error"] / round_["sigma"] == pytest.approx(0.02)


def test_an_arc_with_the_capacitance_of_an_interface_may_be_the_electrodes():
    # 2 µF for 0.05 cm and 0.785 cm²: larger than the tail at its frequency, and no grain boundary.
    circuit = ZARC(79e3, 5.5e-6, 0.99) + ZARC(13e3, 0.026, 0.96) + ConstantPhase(2.1e-5, 0.86)
    table = drt.conductivity(pellets(circuit, 20, 0.003, frequency=np.logspace(6.2, -1.6, 79))).table
    assert np.all(table["status"].to_numpy() & int(Flag.LOOSE_TAIL))
    assert np.mean((table["r_total_low"] < 79e3) & (table["r_total_high"] > 92e3)) >= 0.9


def test_a_grain_boundary_that_does_not_close_is_no_tail():
    circuit = ZARC(2.03e5, 1.8e-5, 0.96) + ZARC(8.51e5, 9.4e-3, 0.94) + ConstantPhase(2.1e-5, 0.84)
    frequency = np.logspace(6.46, 1.18, 43)
    table = drt.conductivity(pellets(circuit, 20, 0.0015, frequency=frequency, thickness=0.1)).table
    wrong = table[(table["r_total_high"] < 1.054e6) | (table["r_total_low"] > 1.054e6)]
    assert len(wrong) > 3
    assert wrong["sigma"].isna().all()
    assert np.all(wrong["status"].to_numpy() & int(Flag.NO_TAIL | Flag.BELOW_WINDOW | Flag.NOT_DETERMINED))
    # Without geometry nothing is known of capacitances.
    assert drt.conductivity(pellets(circuit, frequency=frequency, area=None)).table["sigma"].isna().all()


def test_no_spectrum_at_all_is_refused_and_a_grid_without_any_is_left_out():
    one = pellets(ARCS + TAIL)
    for find in (drt.conductivity, lambda none: drt.composite(none, "ee")):
        with pytest.raises(drt.InputError, match="there is no spectrum"):
            find(one[:0])
    assert drt.conductivity([one[:0], one]).table["spectrum"].tolist() == [0]


def test_contacts_of_more_than_all_that_was_measured_are_flagged():
    table = drt.conductivity(pellets(ARCS + TAIL, 2).with_states(contact_resistance=[1e4, 5.0])).table
    assert table["remarks"].tolist() == ["contact", "ok"]
    assert table.loc[0, ["r_total", "r_total_low", "r_total_high", "sigma", "sigma_low"]].isna().all()
    assert "give it in ohm" in Flag.CONTACT.message


def test_contacts_are_subtracted():
    found = [
        drt.conductivity(pellets(ARCS + TAIL, contact_resistance=own), contact=20).table.iloc[0] for own in (None, 5.0)
    ]
    assert found[1]["r_total"] - found[0]["r_total"] == pytest.approx(15)
    assert found[0]["r_total"] == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"thickness": 0.0}, "thickness must be positive, in cm; got 0 in row 0"),
        ({"thickness": 500.0}, "another unit"),
        ({"temperature": -300.0}, "above -273.15 °C; got -300"),
        ({"temperature": 298.15}, "looks like kelvin"),
        ({"thickness_mm": 0.5}, "'thickness_mm' is in mm; expected 'thickness' in cm"),
        ({"temperature [K]": 300.0}, "expected 'temperature' in °C"),
        ({"diameter": 10.0}, "area and diameter must agree"),
        ({"thickness": "0.5 mm"}, "thickness must be numbers in cm"),
        ({"thickness_error": -1.0}, "thickness_error must not be negative"),
    ],
)
def test_impossible_and_mixed_units_are_refused(states, words):
    with pytest.raises(drt.InputError, match=words.replace("[", r"\[")):
        drt.conductivity(pellets(ARCS + TAIL, **states))


def test_one_sample_in_two_units_is_refused():
    spectra = pellets(ARCS + TAIL, 2, sample="a").with_states(thickness=[0.05, 0.5])
    with pytest.raises(drt.InputError, match="thickness of one sample must be in one unit"):
        drt.conductivity(spectra)
    drt.conductivity(spectra.with_states(sample=["a", "b"]))


@pytest.mark.parametrize("options", [{"level": 2}, {"arcs": 4}, {"contact": -1.0}])
def test_bad_arguments_are_refused(options):
    with pytest.raises(drt.InputError, match=next(iter(options))):
        drt.conductivity(pellets(ARCS + TAIL), **options)


CELSIUS = np.arange(0.0, 61.0, 10.0)


def series(celsius=CELSIUS, ea=0.3, seed=0, noise=0.005, **states):
    """Pellets whose arc and total follow ln(σT) = ln σ₀ − E_a/kT."""
    kelvin = celsius + 273.15
    r = 500 * kelvin / 298.15 * np.exp(ea / BOLTZMANN * (1 / kelvin - 1 / 298.15))
    z = [Circuit([ZARC(one, one * 1e-10, 0.95), ConstantPhase(2e-6, 0.9)]).impedance(FREQUENCY) for one in r]
    given = GEOMETRY | {"temperature": celsius, "sample": "a"} | states
    frame = pd.DataFrame({name: np.broadcast_to(value, celsius.shape) for name, value in given.items()})
    return drt.Spectra(FREQUENCY, ProportionalNoise(noise).add(z, seed), frame)


def test_activation_energy_and_conductivity_at_25_degrees():
    result = drt.conductivity(series())
    row = result.arrhenius().table.iloc[0]
    assert row["ea_low"] < 0.3 < row["ea_high"]
    assert row["ea"] == pytest.approx(0.3, rel=0.01)
    assert row["sigma_25"] == pytest.approx(0.05 / 0.785 / 500, rel=0.01)
    assert row["sigma_25_low"] < 0.05 / 0.785 / 500 < row["sigma_25_high"]
    assert row["remarks"] == "ok"
    other = result.arrhenius(convention="ln(sigma)").table.iloc[0]
    mean = BOLTZMANN * (CELSIUS.mean() + 273.15)
    assert row["ea"] - other["ea"] == pytest.approx(mean, rel=0.02)
    assert other["convention"] == "ln(sigma)"
    sigma, low, high = result.arrhenius().sigma_at(0, [25.0])
    assert low < sigma < high
    assert sigma[0] == pytest.approx(row["sigma_25"])


# At a hundredth the tail would have 25 nF/cm², which no electrode has.
@pytest.mark.parametrize("factor", [1e-1, 7.0])
def test_activation_energy_does_not_move_with_geometry(factor):
    one, other = (
        drt.conductivity(series(thickness=0.05 * a, area=0.785 * b)).arrhenius().table.iloc[0]
        for a, b in ((1, 1), (factor, 1 / factor))
    )
    for name in ("ea", "ea_low", "ea_high", "ln_sigma0_error"):
        assert other[name] == pytest.approx(one[name], rel=1e-9)
    assert other["ln_sigma0"] - one["ln_sigma0"] == pytest.approx(2 * np.log(factor))
    wide = drt.conductivity(series(thickness_error=0.005)).arrhenius().table.iloc[0]
    assert wide["ea_high"] == one["ea_high"]
    assert wide["ln_sigma0_geometry_error"] == pytest.approx(0.1)
    assert wide["sigma_25_high"] > 1.1 * one["sigma_25_high"]


@pytest.mark.slow
def test_intervals_of_activation_energies_cover_in_1000_draws():
    rng = np.random.default_rng(5)
    kelvin = CELSIUS + 273.15
    error = np.linspace(0.01, 0.03, CELSIUS.size)
    truth = np.exp(9 - 0.3 / (BOLTZMANN * kelvin)) / kelvin
    count = 1000
    sigma = truth * np.exp(error * rng.standard_normal((count, CELSIUS.size)))
    table = pd.DataFrame(
        {
            "sample": np.repeat(np.arange(count), CELSIUS.size),
            "temperature": np.tile(CELSIUS, count),
            "sigma": sigma.ravel(),
            "sigma_fit_error": (error * sigma).ravel(),
            "sigma_geometry_error": 0.0,
            **dict.fromkeys(("sigma_bulk", "sigma_grain_boundary"), np.nan),
            **{f"r_{part}_{end}": np.nan for part in ("bulk", "grain_boundary") for end in ("low", "high")},
        }
    )
    found = arrhenius_of(table, "sample", "ln(sigma T)", 0.95).table
    assert len(found) == count
    assert 0.93 <= np.mean((found["ea_low"] < 0.3) & (found["ea_high"] > 0.3)) <= 0.97
    flagged = found["status"].to_numpy() & int(Flag.LACK_OF_FIT | Flag.CURVED)
    assert np.mean(flagged != 0) < 0.05


def test_a_bend_and_a_scatter_are_flagged():
    spectra = series()
    kelvin = CELSIUS + 273.15
    bend = np.exp(-3e-4 * (kelvin - kelvin.mean()) ** 2)
    bent = drt.Spectra(spectra.frequency, spectra.impedance * bend[:, None], spectra.states)
    assert drt.conductivity(bent).arrhenius().table["status"][0] & Flag.CURVED
    scatter = np.exp(0.1 * np.array([1, -1, 1, -1, -1, 1, -1]))
    rough = drt.Spectra(spectra.frequency, spectra.impedance * scatter[:, None], spectra.states)
    assert drt.conductivity(rough).arrhenius().table["status"][0] & Flag.LACK_OF_FIT


def test_few_temperatures_and_none():
    few = drt.conductivity(series(np.array([20.0, 60.0]))).arrhenius().table.iloc[0]
    assert few["remarks"] == "few"
    assert np.isnan(few["ea_low"])
    assert few["ea"] == pytest.approx(0.3, rel=0.02)
    one = drt.conductivity(series(np.array([20.0]))).arrhenius().table.iloc[0]
    assert one["remarks"] == "not determined"
    with pytest.raises(drt.InputError, match="needs the state 'temperature'"):
        drt.conductivity(pellets(ARCS + TAIL, temperature=None)).arrhenius()
    with pytest.raises(drt.UnknownNameError, match="convention"):
        drt.conductivity(series()).arrhenius(convention="log10")


def test_several_grids_are_one_table():
    spectra = {"a": pellets(ARCS + TAIL, 2), "b": pellets(ARCS + TAIL, 1, frequency=FREQUENCY[5:])}
    result = drt.conductivity(spectra)
    assert result.table["spectrum"].tolist() == [0, 1, 2]
    assert sorted(set(result.arcs["spectrum"])) == [0, 1, 2]
    z = result.impedance_at(FREQUENCY)
    assert z.shape == (3, FREQUENCY.size)
    np.testing.assert_allclose(z[2], (ARCS + TAIL).impedance(FREQUENCY), rtol=0.02)
    assert result.to_frame().equals(result.table)
    with pytest.raises(drt.InputError, match="must be Spectra"):
        drt.conductivity([])


@pytest.mark.real
def test_a_ceramic_pellet_has_the_published_conductivity(real_data):
    # σ_total(140 °C) and E_a of the circuit fit that was published with the data
    collected = drt.collect(sorted((real_data / "electrolyte").glob("*.txt")))
    spectra = [
        part.with_states(
            temperature=[float(source.partition("deg")[0][-3:]) for source in part.states["source"]],
            thickness=0.21,
            diameter=0.8,
        )
        for part in collected.spectra.values()
    ]
    result = drt.conductivity(spectra)
    table = result.table.sort_values("temperature")
    assert table["temperature"].tolist() == [140, 150, 160, 170, 180, 190, 200]
    kelvin = table["temperature"].to_numpy() + 273.15
    published = 1.936e-7 * 413.15 / kelvin * np.exp(-0.8555 / BOLTZMANN * (1 / kelvin - 1 / 413.15))
    np.testing.assert_allclose(table["sigma"], published, rtol=0.03)
    lines = result.arrhenius().table.set_index("quantity")
    assert lines.loc["total", "ea"] == pytest.approx(0.855, abs=0.01)
    assert lines.loc["bulk", "ea_low"] < 0.587 < lines.loc["bulk", "ea_high"]
    assert lines.loc["grain boundary", "ea"] == pytest.approx(0.892, abs=0.01)
    other = result.arrhenius(convention="ln(sigma)").table
    assert other["ea"][0] == pytest.approx(0.817, abs=0.005)


@pytest.mark.real
@pytest.mark.parametrize("name", [".mpr", ".txt", "_RelaxIS.txt"])
def test_a_sulphide_pellet_is_read_alike_from_every_format(real_data, name):
    path = real_data / "solid_state" / f"PEIS_LPSCl_IonBlocking_-25C{name}"
    row = drt.conductivity(drt.collect([path]).spectra).table.iloc[0]
    assert 1430 < row["r_total"] < 1500
    assert 0.88 < row["tail_n"] < 0.90
    assert row["r_total"] == pytest.approx(1453.05, abs=0.1)
    assert np.isnan(row["sigma"])  # the file has no geometry
    arcs = drt.conductivity(drt.collect([path]).spectra, arcs=1).arcs
    assert arcs["c"][0] == pytest.approx(84e-12, rel=0.05)


def test_overlapping_arcs_may_be_one_of_another_shape():
    arc = HavriliakNegami(500.0, 5e-6, 0.9, 0.8) + ConstantPhase(2e-6, 0.9)
    table = drt.conductivity(pellets(arc, 40, 0.003, frequency=np.logspace(6, -1, 50))).table
    assert ((table["status"] & int(Flag.SHAPE)) != 0).all()
    assert ((table["r_total_low"] <= 500) & (table["r_total_high"] >= 500)).mean() >= 0.85
