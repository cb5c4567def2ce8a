"""From a result to the processes in it: peaks, parts, tracks, circuits, and the command that does it."""

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine import cli
from drt_engine.errors import UnknownNameError


@pytest.fixture(scope="module")
def simulated():
    return drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=(1, 500), voltages=8))


@pytest.fixture(scope="module")
def result(simulated):
    return drt.invert(simulated.spectra, drt.Tikhonov(shared="cell"))


def test_peaks_have_their_states_and_add_up(result):
    peaks = result.peaks()
    assert list(peaks.columns[:4]) == ["spectrum", "cell", "cycle", "voltage"]
    states = result.states.iloc[peaks["spectrum"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(peaks[states.columns], states)
    total = peaks.groupby("spectrum")["r"].sum()
    np.testing.assert_allclose(total, result.r_pol[total.index], rtol=1e-9)
    fewer = result.peaks(drt.PeakOptions(significance=30.0))
    assert len(fewer) < len(peaks)


@pytest.mark.parametrize("measured", [True, False], ids=["spectra", "model"])
def test_parts_are_the_processes_that_were_simulated(simulated, result, measured):
    rows = ((result.states["cell"] == "C") & (result.states["cycle"] == 1)).to_numpy()
    spectra = simulated.spectra[rows] if measured else None
    found = result[rows].deconvolve(spectra, series=["direction"], along="voltage")
    assert found.converged.all()
    parts = found.elements
    assert {"cell", "voltage", "r", "r_error", "tau", "tau_error"} <= set(parts.columns)
    total = parts.groupby("spectrum")["r"].sum().to_numpy()
    np.testing.assert_allclose(total, simulated.r_pol[rows], rtol=0.05)
    assert (parts["r_error"].dropna() > 0).all()


def test_a_circuit_is_one_that_impedance_fits_from(simulated, result):
    circuits = pytest.importorskip("impedance.models.circuits")
    circuit = result.circuit(3, simulated.spectra)
    custom = circuits.CustomCircuit(circuit.string, initial_guess=list(circuit.initial))
    with pytest.warns(UserWarning, match="initial parameters"):
        z = custom.predict(simulated.spectra.frequency, use_initial=True)
    assert np.max(np.abs(z - simulated.spectra.impedance[3]) / np.abs(z)) < 0.02


def test_what_does_not_go_together_is_refused(simulated, result):
    with pytest.raises(drt.InputError, match="the same rows"):
        result.deconvolve(simulated.spectra[:3])
    with pytest.raises(UnknownNameError, match="along"):
        result.deconvolve(along="colour")
    with pytest.raises(UnknownNameError, match="shared"):
        result.deconvolve(series=["colour"])


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["drt-engine", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return command


@pytest.mark.slow
@pytest.mark.recorded
def test_the_command_writes_tables_and_a_figure(simulated, result, tmp_path, run):
    campaign, inversions = tmp_path / "campaign.h5", tmp_path / "campaign.drt.h5"
    drt.write_spectra(campaign, simulated.spectra)
    drt.write_inversion(inversions, result)
    peaks = tmp_path / "peaks.csv"
    code, printed, _ = run("peaks", inversions, "-o", peaks)
    assert code == 0
    assert f"peaks in {len(result)} spectra" in printed
    assert len(pd.read_csv(peaks)) == len(result.peaks())
    parts, tracks, figure = (tmp_path / name for name in ("parts.csv", "tracks.csv", "processes.png"))
    options = ("--along", "voltage", "--tracks", tracks, "--figure", figure, "--where", "cycle == 1")
    code, printed, _ = run("peaks", inversions, "--spectra", campaign, "-o", parts, *options)
    assert code == 0
    assert "processes: " in printed
    assert {"r_error", "cell"} <= set(pd.read_csv(parts).columns)
    assert {"process", "tau", "r", "confidence"} <= set(pd.read_csv(tracks).columns)
    assert figure.read_bytes().startswith(b"\x89PNG")
    code, _, error = run("peaks", inversions, "--figure", figure)
    assert code == 2
    assert "--along voltage" in error
