"""The commands that bring measured data in, and say whether it can be trusted."""

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine import cli


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process: its exit code, and what it prints."""
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["drt-engine", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return command


def sweep(path, cycles=(1, 2), size=1.0, last=None):
    """A table of cycle, f, Re and −Im, the last sweep cut short if so wished."""
    f = np.logspace(4, -1, 26)
    rows = []
    for cycle in cycles:
        z = size * (5 + 20 / (1 + (2j * np.pi * f * 1e-2) ** 0.9)) * (1 + 0.01 * cycle)
        points = last if last and cycle == cycles[-1] else f.size
        rows += [(cycle, *row) for row in zip(f[:points], z.real[:points], -z.imag[:points], strict=True)]
    header = "cycle number\tfreq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm"
    np.savetxt(path, rows, delimiter="\t", header=header, comments="")
    return path


def test_a_folder_becomes_a_campaign(tmp_path, run):
    folder = tmp_path / "measured"
    folder.mkdir()
    sweep(folder / "EIS_A_25.txt")
    sweep(folder / "EIS_B_35.txt", cycles=(1, 2, 3), size=2.0, last=20)
    (folder / "notes.txt").write_text("not a measurement")
    out = tmp_path / "campaign.h5"
    report = tmp_path / "report.csv"
    options = ("--name", "EIS_{cell}_{temperature}.txt", "--area", 1.5, "--report", report)
    code, printed, _ = run("import", folder, "-o", out, *options)
    assert code == 0
    assert "4 spectra imported (4 on 26 frequencies); 4 in the campaign." in printed
    assert "1 unfinished sweep left out" in printed
    spectra = drt.read_spectra(out)
    assert spectra.states["cell"].tolist() == ["A", "A", "B", "B"]
    assert spectra.states["temperature"].tolist() == [25, 25, 35, 35]
    assert spectra.states["cycle"].tolist() == [1, 2, 1, 2]
    assert (spectra.states["area"] == 1.5).all()
    assert np.all(spectra.impedance.imag < 0)
    assert pd.read_csv(report)["status"].tolist() == ["read", "read", "left out"]


def test_a_campaign_grows_and_takes_no_file_twice(tmp_path, run):
    first, second = sweep(tmp_path / "first.txt"), sweep(tmp_path / "second.txt", cycles=(5,), size=3.0)
    out = tmp_path / "campaign.h5"
    assert run("import", first, "-o", out, "--cell", "A")[0] == 0
    before = drt.read_spectra(out)
    code, _, error = run("import", second, "-o", out)
    assert code == 2
    assert "exists already" in error
    code, printed, _ = run("import", second, first, "-o", out, "--append", "--temperature", 40)
    assert code == 0
    assert "1 spectrum imported (1 on 26 frequencies); 3 in the campaign." in printed
    assert "the same content as" in printed
    after = drt.read_spectra(out)
    np.testing.assert_array_equal(after.impedance[:2], before.impedance)
    assert after.states["cycle"].tolist() == [1, 2, 5]
    assert after.states["cell"].isna().tolist() == [False, False, True]
    assert after.states["temperature"].isna().tolist() == [True, True, False]
    content = out.read_bytes()
    code, printed, _ = run("import", first, "-o", out, "--append")
    assert code == 0
    assert "0 spectra imported (none new); 3 in the campaign." in printed
    assert out.read_bytes() == content
    assert len(drt.read_spectra(out)) == 3


def test_what_is_refused_is_said_and_counts_if_strict(tmp_path, run):
    good, bad = sweep(tmp_path / "good.txt"), tmp_path / "bad.txt"
    bad.write_text("freq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm\n1e3\tx\t2\n")
    code, printed, error = run("import", good, bad, "-o", tmp_path / "a.h5", "--strict")
    assert code == 1
    assert "refused: bad.txt" in printed
    assert "1 file was refused" in error
    assert run("import", good, bad, "-o", tmp_path / "b.h5")[0] == 0
    code, _, error = run("import", bad, "-o", tmp_path / "c.h5")
    assert code == 2
    assert "Traceback" not in error
    assert not (tmp_path / "c.h5").exists()


def test_many_files_are_not_all_listed(tmp_path, run):
    folder = tmp_path / "many"
    folder.mkdir()
    for k in range(45):
        sweep(folder / f"{k}.txt", cycles=(1,), size=1 + k)
    states = tmp_path / "states.csv"
    pd.DataFrame({"source": ["0.txt", "elsewhere.txt"], "coating": ["LNO", "none"]}).to_csv(states, index=False)
    code, printed, _ = run("import", folder, "-o", tmp_path / "many.h5", "--states", states)
    assert code == 0
    assert "1 row of the table of states fits no sweep" in printed
    assert drt.read_spectra(tmp_path / "many.h5").states["coating"].notna().sum() == 1
    code, printed, _ = run("import", folder, "-o", tmp_path / "plain.h5")
    assert "45 files: 45 read." in printed
    assert "cycle: 1" in printed


@pytest.fixture
def campaign(tmp_path):
    """Eight spectra, of which one drifts, on two grids."""
    spectra = drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=(1,), voltages=2)).spectra
    z = spectra.impedance.copy()
    z[2] *= 1 + 0.1 * np.linspace(0, 1, z.shape[1])
    path = tmp_path / "campaign.h5"
    every = drt.Spectra(spectra.frequency, z, spectra.states)
    drt.write_spectra(path, {"all": every, "some": drt.Spectra(spectra.frequency[::2], z[:1, ::2], spectra.states[:1])})
    return path


@pytest.mark.slow
def test_validate_finds_tells_and_draws(campaign, tmp_path, run):
    table, figure = tmp_path / "validity.csv", tmp_path / "validity.png"
    code, printed, _ = run("validate", campaign, "-o", table, "--by", "cell,direction")
    assert code == 0
    assert "all: 8 spectra, 7 valid" in printed
    assert "some: 1 spectrum, 1 valid" in printed
    frame = pd.read_csv(table)
    assert len(frame) == 9
    assert "DRIFT" in frame["flag"][2].upper()
    one = ("--grid", "all", "--where", "cell == 'B' and direction == 'discharge'")
    code, _, error = run("validate", campaign, "--strict", *one, "--figure", figure, "--state", "voltage")
    assert code == 1
    assert "1 spectrum is not valid" in error
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert run("validate", campaign, "--grid", "all", "--figure", tmp_path / "rows.pdf")[0] == 0
    assert run("validate", campaign, "--strict", "--where", "cell == 'B' and voltage > 4")[0] in (0, 1)
    assert run("validate", campaign, "--test", "z-hit")[0] == 0
    assert run("validate", campaign, "--admittance", "--grid", "some")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--by", "colour"), "'colour' is not a state"),
        (("--test", "z-hit", "--admittance"), "modulus and phase"),
    ],
)
def test_validate_says_what_is_wrong(campaign, run, options, message):
    code, _, error = run("validate", campaign, *options)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
