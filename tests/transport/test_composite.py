"""Rails of composite electrodes: coverage, what is not determined, and direct current beside."""

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.simulate import ZARC, ConstantPhase, Inductor, ProportionalNoise, Resistor, TransmissionLine
from drt_engine.transport.flags import Flag

FREQUENCY = np.logspace(5, -2, 40)
GEOMETRY = {"thickness": 0.047, "area": 0.785}


def electrodes(line, count=1, noise=0.005, seed=0, frequency=FREQUENCY, **states):
    z = ProportionalNoise(noise).add(np.tile(line.impedance(frequency), (count, 1)), seed)
    given = GEOMETRY | states
    return drt.Spectra(frequency, z, {name: [value] * count for name, value in given.items() if value is not None})


def line(r_ion, r_e, connection="ee", **more):
    return TransmissionLine(r_ion, r_e, 1e-3, 0.85, connection, **more)


def covers(table, name, truth):
    known = table[table[name].notna()]
    return np.mean((known[f"{name}_low"] < truth) & (known[f"{name}_high"] > truth))


@pytest.mark.slow
def test_intervals_of_the_rails_cover_in_400_draws():
    table = drt.composite(electrodes(line(360.0, 107.0), 400), "ee").table
    assert table["r_ion"].notna().mean() > 0.95
    assert 0.93 <= covers(table, "r_ion", 360.0) <= 0.97
    assert 0.93 <= covers(table, "r_e", 107.0) <= 0.97


@pytest.mark.parametrize("connection", ["ee", "ii"])
def test_rails_are_found_in_their_units(connection):
    spectra = electrodes(line(360.0, 107.0, connection), noise=1e-3)
    row = drt.composite(spectra, connection, phases={"ion": (1e-3, 0.4)}).table.iloc[0]
    assert row["r_ion"] == pytest.approx(360, rel=0.02)
    assert row["r_e"] == pytest.approx(107, rel=0.02)
    assert row["sigma_e"] == pytest.approx(0.56e-3, rel=0.02)
    assert row["sigma_ion"] == pytest.approx(0.166e-3, rel=0.02)
    assert row["kappa_ion"] == pytest.approx(0.4 * 1e-3 / row["sigma_ion"])
    assert row["n"] == pytest.approx(0.85, abs=0.02)
    assert row["r_ct"] == np.inf
    assert row["remarks"] == "ok"


@pytest.mark.slow
def test_the_interval_of_ions_between_metals_widens_with_their_resistance():
    widths = {}
    for ratio in (0.1, 10.0):
        table = drt.composite(electrodes(line(100 * ratio, 100.0), 20, noise=2e-3), "ee").table
        widths[ratio] = np.nanmedian(np.log(table["r_ion_high"] / table["r_ion"]))
    of_e = np.nanmedian(np.log(table["r_e_high"] / table["r_e"]))
    assert widths[10.0] / of_e > 8
    assert widths[10.0] > widths[0.1]


@pytest.mark.slow
def test_no_ratio_of_rails_gives_a_confident_wrong_value():
    rng = np.random.default_rng(7)
    ratios = np.exp(rng.uniform(np.log(0.03), np.log(30), 200))
    z = np.stack([line(100 * ratio, 100.0).impedance(FREQUENCY) for ratio in ratios])
    spectra = drt.Spectra(FREQUENCY, ProportionalNoise(0.005).add(z, 8))
    table = drt.composite(spectra, "ee").table
    for name, truth in (("r_ion", 100 * ratios), ("r_e", np.full(200, 100.0))):
        half = np.log(table[f"{name}_high"] / table[name])
        off = np.abs(np.log(table[name] / truth))
        assert not (off > 2.5 * half).any()
        assert np.mean(off[off.notna()] > half[off.notna()]) < 0.07


@pytest.mark.slow
@pytest.mark.parametrize(("r_ion", "r_e"), [(300.0, 100.0), (100.0, 300.0)])
def test_across_the_electrode_rails_are_not_told_apart_without_direct_current(r_ion, r_e):
    spectra = electrodes(line(r_ion, r_e, "ie"), noise=2e-3)
    row = drt.composite(spectra, "ie").table.iloc[0]
    assert row["remarks"] == "exchange"
    assert np.isnan(row["r_ion"])
    assert np.isnan(row["sigma_e"])
    assert row["rail_large"] == pytest.approx(300, rel=0.03)
    assert row["rail_small"] == pytest.approx(100, rel=0.03)
    told = drt.composite(spectra, "ie", dc=measured(r_ion, r_e)).table.iloc[0]
    assert told["remarks"] == "ok"
    assert told["r_e"] == pytest.approx(r_e, rel=0.03)
    assert told["r_ion"] == pytest.approx(r_ion, rel=0.03)


def test_equal_rails_across_the_electrode_are_not_determined():
    row = drt.composite(electrodes(line(100.0, 100.0, "ie")), "ie").table.iloc[0]
    assert row["status"] & Flag.NOT_DETERMINED
    assert np.isnan(row["rail_large"])
    assert row["r_sum"] == pytest.approx(200, rel=0.02)


def measured(r_ion, r_e, **states):
    """Direct current between metals."""
    dc = TransmissionLine(r_ion, r_e, 1e-3, 1.0, "ee")
    time = np.linspace(0.01, 3.0, 100)
    steps = [0.01, -0.01, 0.02, -0.02]
    current = np.concatenate([dc.step_current(time, v) for v in steps])
    current += 1e-8 * np.random.default_rng(0).standard_normal(current.size)
    clock = np.arange(1, current.size + 1) * 0.03
    return drt.polarisation(drt.Trace(clock, np.repeat(steps, time.size), current, GEOMETRY | states))


@pytest.mark.slow
def test_direct_current_stands_beside():
    spectra = electrodes(line(360.0, 107.0), 2).with_states(sample=["a", "b"])
    table = drt.composite(spectra, "ee", dc=measured(360.0, 107.0, sample="b")).table
    assert np.isnan(table["r_dc"][0])
    assert table["r_dc"][1] == pytest.approx(107, rel=0.02)
    assert table["sigma_dc"][1] == pytest.approx(table["sigma_e"][1], rel=0.05)
    with pytest.raises(drt.InputError, match="dc must have one row a spectrum"):
        drt.composite(spectra.with_states(sample=[1, 2])[[0, 1]], "ee", dc=measured(360.0, 107.0))


@pytest.mark.slow
def test_a_charge_transfer_is_found_and_may_be_said():
    spectra = electrodes(line(360.0, 107.0, "ie", r_ct=200.0), 4, noise=2e-3)
    table = drt.composite(spectra, "ie").table
    assert table["r_ct"].to_numpy() == pytest.approx([200] * 4, rel=0.1)
    assert np.isinf(drt.composite(spectra, "ie", charge_transfer=False).table["r_ct"]).all()
    forced = drt.composite(electrodes(line(360.0, 107.0)), "ee", charge_transfer=True).table
    assert np.isfinite(forced["r_ct"]).all()


@pytest.mark.slow
def test_separators_and_contacts_are_subtracted_with_their_errors():
    between = Resistor(30) + ZARC(20, 1e-4, 0.9)
    whole = between + Resistor(5) + line(360.0, 107.0, "ii")
    spectra = electrodes(whole, noise=1e-3)
    separator = drt.Spectra(FREQUENCY, between.impedance(FREQUENCY)[None])
    plain = drt.composite(spectra, "ii", separator=separator, contact=5.0).table.iloc[0]
    assert plain["r_ion"] == pytest.approx(360, rel=0.03)
    assert plain["r_e"] == pytest.approx(107, rel=0.05)
    unsure = drt.composite(spectra, "ii", separator=(separator, 0.05), contact=(5.0, 2.0)).table.iloc[0]
    assert unsure["r_e"] == plain["r_e"]
    assert unsure["r_e_high"] / unsure["r_e_low"] > 1.05 * plain["r_e_high"] / plain["r_e_low"]
    by_number = drt.composite(electrodes(Resistor(30) + line(360.0, 107.0, "ii"), noise=1e-3), "ii", separator=30.0)
    assert by_number.table["r_ion"][0] == pytest.approx(360, rel=0.03)
    with pytest.raises(drt.InputError, match="separator must have the 40 frequencies"):
        drt.composite(spectra, "ii", separator=drt.Spectra(FREQUENCY[1:], separator.impedance[:, 1:]))


def test_what_shows_nothing_of_some_parameters_does_not_harm_the_others():
    frequency = np.logspace(6, -2, 40)
    circuits = (Resistor(1e-3) + Inductor(1e-6), line(360.0, 107.0, "ii"))
    z = [electrodes(one, noise=1e-3, frequency=frequency).impedance[0] for one in circuits]
    states = {name: [value] * 2 for name, value in GEOMETRY.items()}
    table = drt.composite(drt.Spectra(frequency, np.stack(z), states), "ii", contact=(1e-4, 1e-5)).table
    assert table["remarks"][0] == "not determined"
    assert table["r_ion"][1] == pytest.approx(360, rel=0.03)


@pytest.mark.parametrize("connection", ["ee", "ii"])
def test_a_rail_that_has_no_effect_at_all_is_not_known(connection):
    frequency = np.logspace(6, -2, 40)
    alone = electrodes(Resistor(1e-3) + Inductor(1e-6), 12, noise=1e-3, frequency=frequency)
    for contact in (0.0, (1e-4, 1e-5)):
        table = drt.composite(alone, connection, contact=contact).table
        assert np.all(table["status"].to_numpy() & int(Flag.NOT_DETERMINED))
        assert table["rail_large"].isna().all()


@pytest.mark.slow
def test_what_is_no_line_is_flagged():
    strange = Resistor(10) + ZARC(50, 1e-4, 0.95) + ZARC(50, 1.0, 0.95) + Inductor(1e-6)
    table = drt.composite(electrodes(strange, 3), "ee").table
    assert np.all(table["status"].to_numpy() & int(Flag.MISFIT | Flag.NOT_DETERMINED))
    flat = drt.composite(electrodes(Resistor(50), 3), "ee").table
    assert flat["r_ion"].isna().all()
    tail = drt.composite(electrodes(Resistor(50) + ConstantPhase(1e-3, 0.9), 3), "ie").table
    assert tail["rail_large"].isna().all() or np.all(tail["status"].to_numpy() & int(Flag.NOT_DETERMINED))


@pytest.mark.slow
def test_missing_points_geometry_and_rows():
    spectra = electrodes(line(360.0, 107.0), 3, noise=1e-3, thickness=None)
    z = spectra.impedance.copy()
    z[1], z[2, 3:6] = np.nan, np.nan
    table = drt.composite({"a": drt.Spectra(FREQUENCY, z, spectra.states)}, "ee").table
    assert table["remarks"].tolist() == ["geometry", "no data", "geometry"]
    assert table["r_ion"].to_numpy()[[0, 2]] == pytest.approx([360, 360], rel=0.03)
    assert table["sigma_ion"].isna().all()
    result = drt.composite(spectra, "ee")
    np.testing.assert_allclose(result.impedance_at(FREQUENCY)[0], line(360.0, 107.0).impedance(FREQUENCY), rtol=0.01)
    assert result.to_frame().equals(result.table)
    assert result.covariance.shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": 0}, "level"),
        ({"contact": -1.0}, "contact"),
        ({"separator": -1.0}, "separator"),
        ({"separator": (1.0, -1.0)}, "relative error of separator"),
        ({"dc": 3}, "dc must be of type Polarisation"),
        ({"phases": {"ion": (1e-3, 2.0)}}, "volume fraction"),
    ],
)
def test_bad_arguments_are_refused(options, words):
    with pytest.raises(drt.InputError, match=words):
        drt.composite(electrodes(line(360.0, 107.0)), "ee", **options)


def test_unknown_names_are_refused():
    with pytest.raises(drt.UnknownNameError, match="connection"):
        drt.composite(electrodes(line(360.0, 107.0)), "ei")
    with pytest.raises(drt.UnknownNameError, match="phase"):
        drt.composite(electrodes(line(360.0, 107.0)), "ee", phases={"li": (1, 0.5)})
