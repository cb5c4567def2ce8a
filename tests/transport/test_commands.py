"""Commands of conductivity: tables and figures of simulated samples."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.simulate import ZARC, ConstantPhase, ProportionalNoise, TransmissionLine

LINE = TransmissionLine(300.0, 100.0, 1e-3, 1.0, "ee")


def run(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.fixture
def pellets(tmp_path):
    frequency, celsius = np.logspace(6, -1, 40), np.array([0.0, 20.0, 40.0])
    r = 500 * np.exp(0.3 / 8.617e-5 * (1 / (celsius + 273.15) - 1 / 298.15))
    z = [(ZARC(one, one * 1e-9, 0.95) + ConstantPhase(2e-6, 0.9)).impedance(frequency) for one in r]
    path = tmp_path / "pellets.h5"
    states = {"temperature": celsius, "sample": ["a"] * 3}
    drt.write_spectra(path, drt.Spectra(frequency, ProportionalNoise(0.002).add(z, 0), states))
    return path


@pytest.mark.slow
@pytest.mark.recorded
def test_conductivity_writes_its_tables_and_figure(pellets, tmp_path):
    tables = [tmp_path / name for name in ("sigma.csv", "arcs.csv", "ea.csv")]
    figure = tmp_path / "ea.png"
    text = run(
        *("conductivity", pellets, "--thickness", 0.05, "--area", 0.785, "-o", tables[0], "--arcs", tables[1]),
        *("--arrhenius", tables[2], "--figure", figure),
    )
    assert "ea" in text
    sigma, arcs, ea = map(pd.read_csv, tables)
    assert sigma["sigma"][1] == pytest.approx(0.05 / 0.785 / sigma["r_total"][1])
    assert len(arcs) >= 3
    assert ea["ea"][0] == pytest.approx(0.325, abs=0.005)
    assert figure.exists()
    run("conductivity", pellets, "--where", "temperature > 30", "--figure", tmp_path / "z.png")


@pytest.mark.slow
@pytest.mark.recorded
def test_polarisation_and_composite_stand_side_by_side(tmp_path):
    time, volts = np.linspace(0.01, 3.0, 80), [0.01, -0.01, 0.02]
    current = np.concatenate([LINE.step_current(time, v) for v in volts])
    current += 1e-8 * np.random.default_rng(0).standard_normal(current.size)
    trace = tmp_path / "steps.csv"
    columns = {"time/s": np.arange(1, 241) * 0.04, "voltage/V": np.repeat(volts, 80), "current/A": current}
    pd.DataFrame(columns).to_csv(trace, index=False, float_format="%.12f")
    dc, steps, figure = (tmp_path / name for name in ("dc.csv", "steps_found.csv", "dc.png"))
    geometry = ("--thickness", 0.05, "--area", 0.785)
    run("polarisation", trace, *geometry, "-o", dc, "--steps", steps, "--figure", figure)
    assert pd.read_csv(dc)["resistance"][0] == pytest.approx(100, rel=0.01)
    assert len(pd.read_csv(steps)) == 3
    frequency = np.logspace(5, -2, 40)
    path, rails = tmp_path / "cathodes.h5", tmp_path / "rails.csv"
    z = ProportionalNoise(0.002).add(LINE.impedance(frequency)[None], 0)
    drt.write_spectra(path, drt.Spectra(frequency, z))
    bars = tmp_path / "s.png"
    run("composite", path, "--connection", "ee", "--dc", trace, *geometry, "-o", rails, "--figure", bars)
    row = pd.read_csv(rails).iloc[0]
    assert row["sigma_e"] == pytest.approx(row["sigma_dc"], rel=0.02)
    assert bars.exists()


def test_outputs_are_not_replaced_unasked(pellets, tmp_path):
    output = tmp_path / "a.csv"
    output.write_text("mine")
    done = CliRunner().invoke(app, ["conductivity", str(pellets), "-o", str(output)])
    assert isinstance(done.exception, drt.DRTError)
    assert output.read_text() == "mine"
    table = ("conductivity", pellets, "--where", "temperature > 30", "-o", tmp_path / "a.h5")
    run(*table)
    run(*table, "--overwrite")
    assert len(drt.read_conductivity(tmp_path / "a.h5")) == 1
