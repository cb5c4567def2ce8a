import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app, main

COMMANDS = ("demo", "info", "invert", "plot")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What the demo makes, of fewer voltages."""
    folder = tmp_path_factory.mktemp("demo")
    done = run("demo", "--output", folder, "--voltages", "3")
    assert done.exit_code == 0, done.output
    return folder, done.output


@pytest.fixture(scope="module")
def fewer(files, tmp_path_factory):
    """Some spectra of the demo, to invert again."""
    path = tmp_path_factory.mktemp("fewer") / "few.h5"
    spectra = drt.read_spectra(files[0] / "campaign.h5")
    drt.write_spectra(path, spectra[:5])
    return path


def test_demo_leaves_its_files_and_says_where(files):
    folder, output = files
    for name in ("campaign.h5", "campaign.drt.h5", "evolution.png", "evolution.pdf", "profile.csv"):
        assert (folder / name).stat().st_size > 1000
        assert name in output.replace("\n", "")
    assert "132 spectra" in output
    assert "true R_pol" in output


def test_demo_is_right_about_the_resistance(files):
    folder, _ = files
    result = drt.read_inversion(folder / "campaign.drt.h5")
    assert result.solved.all()
    truth = drt.simulate.campaign(drt.simulate.CampaignDesign(voltages=3)).r_pol
    assert np.median(np.abs(result.r_pol / truth - 1)) < 0.02


def test_demo_may_be_repeated(files):
    folder, _ = files
    assert run("demo", "--output", folder, "--voltages", "2").exit_code == 0
    assert run("demo", "--output", folder, "--voltages", "3").exit_code == 0


def test_info_tells_what_is_in_a_file(files):
    folder, _ = files
    spectra, inversions = run("info", folder / "campaign.h5").output, run("info", folder / "campaign.drt.h5").output
    assert "61" in spectra
    assert "voltage" in spectra
    assert "ok" in inversions
    assert "gcv" in inversions


def test_info_for_programs(files):
    folder, _ = files
    told = json.loads(run("info", folder / "campaign.drt.h5", "--json").output)
    assert told["file"] == "campaign.drt.h5"
    (inversion,) = told["inversions"]
    assert inversion["spectra"] == 132
    assert inversion["settings"]["regularisation"] == "gcv"
    assert inversion["source"] == "campaign.h5"


def test_invert_does_what_the_function_does(fewer, tmp_path):
    out = tmp_path / "out.h5"
    done = run("invert", fewer, "-o", out, "--regularisation", "1e-3", "--basis", "piecewise-linear", "--part", "im")
    assert done.exit_code == 0, done.output
    assert "5 spectra" in done.output
    method = drt.Tikhonov(regularisation=1e-3, basis="piecewise-linear", part="im")
    result = drt.read_inversion(out)
    assert result.method == method
    np.testing.assert_allclose(result.gamma, drt.invert(drt.read_spectra(fewer), method).gamma, rtol=1e-9, atol=1e-9)


def test_invert_shares_and_weights(fewer, tmp_path):
    out = tmp_path / "out.h5"
    options = (
        "--shared",
        "cell,cycle",
        "--weighting",
        "modulus",
        "--regularisation",
        "discrepancy",
        "--noise",
        "0.002",
    )
    assert run("invert", fewer, "-o", out, *options).exit_code == 0
    result = drt.read_inversion(out)
    assert result.method == drt.Tikhonov(
        shared=("cell", "cycle"), weighting="modulus", regularisation="discrepancy", noise=0.002
    )
    one = result.states.groupby(["cell", "cycle"]).ngroups
    assert len(set(result.regularisation)) <= one
    assert run("invert", fewer, "-o", out, "--shared", "all", "--overwrite").exit_code == 0
    assert drt.read_inversion(out).method.shared is True


def test_invert_names_its_output_and_does_not_overwrite(fewer):
    assert run("invert", fewer).exit_code == 0
    assert fewer.with_name("few.drt.h5").exists()
    assert isinstance(run("invert", fewer).exception, drt.OutputExistsError)
    assert run("invert", fewer, "--overwrite").exit_code == 0


@pytest.mark.parametrize("kind", ["composite", "nyquist", "bode", "residuals", "gamma", "waterfall", "heat-map"])
def test_plot_draws_each_kind(files, tmp_path, kind):
    folder, _ = files
    figure = tmp_path / f"{kind}.png"
    done = run(
        *("plot", folder / "campaign.drt.h5", "--kind", kind, "--spectra", folder / "campaign.h5", "-o", figure),
        *("--where", "cell == 'C' and cycle == 100 and direction == 'charge'", "--profile", folder / "profile.csv"),
    )
    assert done.exit_code == 0, done.output
    assert "3 spectra drawn" in done.output
    assert figure.stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "nyquist"], "shows measured spectra. Name their file: --spectra"),
        (["--where", "cel == 'C'"], "is no condition on the states .*cell, cycle"),
        (["--where", "cycle > 1e9"], "holds for none of the 132 spectra"),
        (["--state", "volts"], "'volts' is not known"),
        (["--spectra", "FEWER"], "has 5 spectra and .* has 132"),
    ],
)
def test_plot_says_what_is_wrong(files, fewer, arguments, message, tmp_path):
    arguments = [fewer if argument == "FEWER" else argument for argument in arguments]
    done = run("plot", files[0] / "campaign.drt.h5", "-o", tmp_path / "x.png", *arguments)
    assert isinstance(done.exception, drt.InputError)
    with pytest.raises(drt.InputError, match=message):
        raise done.exception
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    assert f"drt-engine {command}" in run(command, "--help").output.split("Example:")[1]


def test_an_error_is_one_line_and_code_2(tmp_path, monkeypatch, capsys):
    missing = tmp_path / "missing.h5"
    monkeypatch.setattr(sys, "argv", ["drt-engine", "invert", str(missing)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("drt-engine: ")
    assert "missing.h5" in told
    assert len(told.splitlines()) == 1


def test_help_is_quick_to_import():
    listing = "import sys; import drt_engine.cli; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "typer" in loaded
    assert not loaded & {"cvxpy", "numba", "matplotlib", "pandas", "numpy"}


def test_a_column_of_numbers_selects_numbers(files):
    states = drt.read_inversion(files[0] / "campaign.drt.h5").states
    assert pd.api.types.is_integer_dtype(states["cycle"])
