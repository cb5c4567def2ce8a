"""γ in the admittance, for cells that are stable at a held voltage only."""

import numpy as np
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine import tables
from drt_engine.cli import app
from drt_engine.errors import InputError, UnknownNameError

FREQUENCY = np.logspace(4, -0.5, 46)
S = 2j * np.pi * FREQUENCY
Status = drt.Status


def element(r, q, n, s=S):
    return r / (1 + r * q * s**n)


# Mock circuits 8 and 14 of pyimpspec (V. Yrjänä, J. Bobacka, Electrochim. Acta 504 (2024) 144951).
NEGATIVE = 25 + element(125, 1e-6, 0.97) + element(-250, 5e-5, 0.95)
ORDINARY = 25 + element(125, 1e-6, 0.97) + element(50, 5e-4, 0.95)


def noisy(z, noise=1e-3, seeds=2):
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(2, seeds, z.size))
    return z + noise * np.abs(z) * (parts[0] + 1j * parts[1])


@pytest.fixture(scope="module")
def mixed():
    """Two spectra with a pole in the right half plane, then two ordinary ones."""
    spectra = drt.Spectra(FREQUENCY, np.concatenate([noisy(NEGATIVE), noisy(ORDINARY)]), {"cycle": [1, 2, 3, 4]})
    return drt.invert(spectra, drt.LogGaussian(representation="auto"), level=0.95)


def test_auto_takes_the_admittance_where_the_impedance_does_not_do(mixed):
    assert mixed.representation.tolist() == ["admittance"] * 2 + ["impedance"] * 2
    assert mixed.counts()["admittance"] == 2
    assert not (mixed.status & Status.MISFIT).any()
    np.testing.assert_allclose(mixed.residual, 1e-3 * np.sqrt(2), rtol=0.3)
    plain = drt.invert(mixed.spectra[2:], drt.LogGaussian())
    np.testing.assert_array_equal(mixed.gamma[2:], plain.gamma)


def test_resistances_are_net_and_in_ohm(mixed):
    np.testing.assert_allclose(mixed.r_inf[:2], 25, rtol=0.01)
    np.testing.assert_allclose(mixed.r_pol[:2], -125, rtol=0.01)
    given = mixed.intervals
    assert ((given.r_pol_low < -125) & (given.r_pol_high > -125))[:2].all()
    assert (given.r_inf_low < mixed.r_inf).all()
    assert (given.r_inf_high > mixed.r_inf).all()
    # What flows besides at frequency zero.
    conductance = (mixed.coefficients * mixed.expansion.areas).sum(axis=1)[:2]
    np.testing.assert_allclose(1 / mixed.r_inf[:2] - conductance, -1 / 100, rtol=0.02)


def test_the_model_is_evaluated_as_an_impedance(mixed):
    z = mixed.impedance_at(FREQUENCY)
    rms = np.sqrt(np.mean(np.abs(z / mixed.impedance - 1) ** 2, axis=1))
    np.testing.assert_allclose(rms, mixed.residual, rtol=0.01)
    np.testing.assert_allclose(z[:2], [NEGATIVE] * 2, rtol=0.01)


def test_units_are_siemens_everywhere(mixed, tmp_path):
    whole = mixed[:2]
    assert (whole.gamma_units, mixed[2:].gamma_units, mixed.gamma_units) == ("S", "ohm", "ohm or S")
    assert whole.to_xarray()["gamma"].attrs["units"] == "S"
    assert "gamma / S" in tables.gather(whole, which=["gamma"])["gamma"].columns
    assert drt.plotting.gamma(whole).axes[0].get_ylabel().endswith("S")
    with pytest.raises(InputError, match="cannot share an axis"):
        drt.plotting.gamma(mixed)
    drt.write_inversion(tmp_path / "a.h5", mixed)
    stored = drt.read_inversion(tmp_path / "a.h5")
    np.testing.assert_array_equal(stored.r_pol, mixed.r_pol)
    assert stored.representation.tolist() == mixed.representation.tolist()


def test_peaks_are_branches_with_a_resistor_and_a_capacitor(mixed):
    peaks = mixed[:2].peaks()
    conductance = (mixed.coefficients * mixed.expansion.areas).sum(axis=1)[:2]
    np.testing.assert_allclose((1 / peaks["r"]).groupby(peaks["spectrum"]).sum(), conductance, rtol=1e-9)
    np.testing.assert_allclose(peaks["tau"], peaks["r"] * peaks["c"], rtol=1e-12)
    with pytest.raises(InputError, match="needs γ of impedances"):
        mixed.deconvolve()


def test_circuits_of_admittances_are_branches_in_parallel(mixed):
    circuit = mixed.circuit(0)
    assert circuit.string.startswith("p(R0,")
    values = dict(zip(circuit.names, circuit.initial, strict=True))
    # At frequency zero all but R0 is open, at infinite frequency none is.
    assert values["R0"] == pytest.approx(-100, rel=0.02)
    whole = sum(1 / value for name, value in values.items() if name.startswith("R"))
    assert whole == pytest.approx(1 / mixed.r_inf[0], rel=1e-9)


def test_a_change_of_unit_changes_nothing_else(mixed):
    scaled = drt.invert(drt.Spectra(FREQUENCY, 1e-4 * mixed.impedance), drt.LogGaussian(representation="auto"))
    np.testing.assert_array_equal(scaled.status, mixed.status)
    np.testing.assert_allclose(scaled.r_pol, 1e-4 * mixed.r_pol, rtol=1e-9)
    np.testing.assert_allclose(scaled.gamma[:2], 1e4 * mixed.gamma[:2], rtol=1e-6, atol=1e-9 * mixed.gamma[0].max())


def test_the_noise_is_that_of_the_impedance():
    rng = np.random.default_rng(1)
    z = NEGATIVE + 0.05 * (rng.normal(size=(2, S.size)) + 1j * rng.normal(size=(2, S.size)))
    result = drt.invert(drt.Spectra(FREQUENCY, z), drt.LogGaussian(representation="admittance", noise="constant"))
    np.testing.assert_allclose(result.noise_floor, 0.05, rtol=0.3)


def test_inductive_loops_are_negative_in_the_admittance():
    f = np.logspace(2, -2, 41)
    s = 2j * np.pi * f
    z = 70 + element(200, 2.5e-3, 0.9, s) + element(100, 1e-4, 0.85, s) + 1 / (1 / 50 + 1 / (300 * s**0.95))
    rng = np.random.default_rng(1)
    z = z + 3e-3 * np.abs(z) * (rng.normal(size=z.size) + 1j * rng.normal(size=z.size))
    result = drt.invert(drt.Spectra(f, z), drt.LogGaussian(representation="admittance", sign="both"))
    assert result.gamma.min() < 0
    assert result.residual[0] < 1.2 * 3e-3 * np.sqrt(2)
    assert result.r_pol[0] == pytest.approx(250, rel=0.03)


def test_an_inductor_beside_capacitors_and_a_negative_resistance():
    # Mock circuit 9: a resonance; its inductor and resistor are one time, 1.2e-5 s, of the admittance.
    f = np.logspace(5, 1.5, 36)
    s = 2j * np.pi * f
    z = 9.272 + 1 / (1 / 214.4 + 1.024e-6 * s**0.96 + 1 / (2.213e-4 * s + 18.44)) + element(-50, 1.496e-5, 0.86, s)
    result = drt.invert(drt.Spectra(f, noisy(z)), drt.LogGaussian(representation="auto", sign="both"))
    assert result.representation.tolist() == ["admittance"] * 2
    assert not (result.status & Status.MISFIT).any()
    np.testing.assert_allclose(result.residual, 1e-3 * np.sqrt(2), rtol=0.2)
    np.testing.assert_allclose(result.r_pol, 214.4 * 18.44 / (214.4 + 18.44) - 50, rtol=0.01)


def test_intervals_know_that_r_inf_is_not_known_exactly():
    # A double layer, and a charge transfer whose resistance is negative at low frequencies (a passive film). R_pol is
    # 1/Y(0) - R_inf, so that what is not known of R_inf is not known of R_pol either.
    rng = np.random.default_rng(11)
    count, f = 30, np.logspace(4.5, -1.5, 49)
    s = 2j * np.pi * f
    transfer = np.exp(rng.normal(3.0, 1.0, count))
    slow, fast = 10.0 ** rng.uniform(-2.0, 0.0, count), 10.0 ** rng.uniform(-4.5, -3.0, count)
    more, exponent = rng.uniform(1.2, 2.0, count), rng.uniform(0.8, 1.0, count)
    r_pol = transfer / (1.0 - more)
    first = rng.uniform(0.02, 0.5, count) * np.abs(r_pol)
    columns = (each[:, None] for each in (transfer, slow, fast, more, exponent, first))
    transfer, slow, fast, more, exponent, resistor = columns
    faradaic = (1.0 - more / (1.0 + s * slow)) / transfer
    z = resistor + 1.0 / (faradaic + (s * fast) ** exponent / transfer)
    parts = rng.normal(size=(2, *z.shape))
    z = z + 2e-3 * np.abs(z) * (parts[0] + 1j * parts[1])
    result = drt.invert(drt.Spectra(f, z), drt.LogGaussian(representation="admittance", sign="both"), level=0.95)
    given = result.intervals
    covered = (given.r_pol_low <= r_pol) & (r_pol <= given.r_pol_high)
    assert covered.mean() >= 0.9
    covered = (given.r_inf_low <= first) & (first <= given.r_inf_high)
    assert covered.mean() >= 0.9
    # And are still worth something.
    assert np.nanmedian((given.r_pol_high - given.r_pol_low) / np.abs(result.r_pol)) < 0.03


def test_a_branch_between_relaxation_times_has_no_branch_of_the_other_sign_beside_it():
    f = np.logspace(4, -3, 71)
    s = 2j * np.pi * f
    rng = np.random.default_rng(3)
    for tau in 0.02 * 10.0 ** np.linspace(0.0, 0.1, 5):
        # Y = 1/2 - (1/2.5)/(1 + s tau) is stable both ways, so that what it is inverted as is a choice.
        z = 1.0 / (0.5 - 0.4 / (1.0 + s * tau))
        z = z * (1.0 + 3e-4 * (rng.normal(size=f.size) + 1j * rng.normal(size=f.size)))
        result = drt.invert(drt.Spectra(f, z), drt.LogGaussian(representation="admittance", sign="both"))
        assert result.gamma.min() >= 0.0
        rows = result.peaks().nlargest(1, "c")
        assert rows["r"].iloc[0] == pytest.approx(2.5, rel=0.01)


def test_jobs_and_the_command_line(mixed, tmp_path):
    drt.write_spectra(tmp_path / "a.h5", mixed.spectra)
    given = ["invert", str(tmp_path / "a.h5"), "--representation", "auto", "--level", "0.95"]
    ran = CliRunner().invoke(app, given)
    assert ran.exit_code == 0, ran.output
    stored = drt.read_inversion(tmp_path / "a.drt.h5")
    np.testing.assert_array_equal(stored.gamma, mixed.gamma)
    np.testing.assert_array_equal(stored.intervals.r_pol_low, mixed.intervals.r_pol_low)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"representation": "both"}, UnknownNameError, "admittance"),
        ({"representation": "auto", "tail": "cpe"}, InputError, "does not go with tail"),
        ({"representation": "admittance", "along": "cycle"}, InputError, "does not go with along"),
    ],
)
def test_mistakes_are_told(settings, error, text):
    with pytest.raises(error, match=text):
        drt.LogGaussian(**settings)
