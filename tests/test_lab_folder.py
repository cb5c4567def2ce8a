"""A folder as a laboratory keeps it goes by commands to the composite figure and to the comparison of cycles."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine import plotting, readers, tables

from .readers.made import mpt, points

F = np.logspace(5, -1, 25)
F_MPT = np.logspace(5, -1, 24)


def impedance(cell, cycle, voltage, frequency=None):
    """Two arcs, of which that of the cathode grows from cycle 1 to 500 and towards low voltage."""
    growth = (1 + (cycle > 1) * (1.0 if cell == "bare" else 0.2)) * (1 + 0.2 * (4.4 - voltage))
    frequency = F if frequency is None else frequency
    s = 2j * np.pi * frequency
    z = 5 + 10 / (1 + (s * 1e-4) ** 0.9) + 20 * growth / (1 + (s * 2e-2) ** 0.9)
    noise = np.random.default_rng(int(1000 * voltage) + cycle + len(cell)).normal(scale=1e-3, size=(2, frequency.size))
    return z * (1 + noise[0] + 1j * noise[1])


def table(headings, columns, sign=";", decimal=","):
    rows = [sign.join(f"{cell:.8g}".replace(".", decimal) for cell in row) for row in zip(*columns, strict=True)]
    return "\n".join([sign.join(headings), *rows]) + "\n"


def german(path, z):
    headings = ("Frequenz (Hz)", "Realteil (Ohm)", "-Imaginärteil (Ohm)")
    path.write_bytes(table(headings, (F, z.real, -z.imag)).encode("cp1252"))


def workbook(path, z):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "EIS"
    for row in [("f/Hz", "Z' / Ohm", "-Z'' / Ohm"), *zip(F.tolist(), z.real.tolist(), (-z.imag).tolist(), strict=True)]:
        book.active.append(row)
    book.save(path)


def plain(path, z):
    path.write_text(table(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F, z.real, -z.imag), ",", "."))


def ec_lab(path, z):
    """A file of EC-Lab, on frequencies of its own."""
    rows = [
        {"f": f, "z": value, "t": 60.0 + k, "v": 3.6, "i": 0.0, "q": 1.0, "n": 1}
        for k, (f, value) in enumerate(zip(F_MPT, z, strict=True))
    ]
    path.write_bytes(mpt(rows, fi=100).encode("cp1252"))


@pytest.fixture
def lab(tmp_path):
    """Two cells, cycles in folders, voltages in names; four kinds of files; a profile, a table of states and junk."""
    folder = tmp_path / "lab"
    makers = {4.4: (german, "csv"), 3.8: (workbook, "xlsx"), 3.6: (ec_lab, "mpt"), 3.2: (plain, "csv")}
    curves, states = [], []
    for cell in ("bare", "coated"):
        for cycle in (1, 500):
            place = folder / cell / f"cycle {cycle}"
            place.mkdir(parents=True)
            for voltage, (make, suffix) in makers.items():
                name = f"EIS_{voltage:.1f} V.{suffix}".replace(".", ",", 1)
                make(place / name, impedance(cell, cycle, voltage, F_MPT if make is ec_lab else F))
                states.append((f"{cell}\\cycle {cycle}\\{name}", f"{cell} Li-rich", f"{voltage:.1f}".replace(".", ",")))
            capacity = np.linspace(0, 2, 30)
            volts = 4.6 - 0.8 * capacity
            curves += [
                f"{cell} Li-rich;{cycle};{c:.5f};{v:.5f}".replace(".", ",")
                for c, v in zip(capacity, volts, strict=True)
            ]
    (folder / "profile.csv").write_text("\n".join(["cell;cycle;capacity (mAh);voltage/V", *curves]) + "\n")
    (tmp_path / "states.csv").write_text("\n".join(["file;cell;voltage", *map(";".join, states)]) + "\n")
    (folder / "notes.txt").write_text("Cell bare was assembled on Monday.\n")
    (folder / "bare" / "Thumbs.db").write_bytes(b"\x00\x01junk\x00" * 20)
    (folder / "coated" / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    return folder


PATTERN = "cycle {cycle}/EIS_{voltage}.{_}"
COMMANDS = """
import lab -o c.h5 --name "cycle {cycle}/EIS_{voltage}.{_}" --states states.csv --area 0.785
invert c.h5
plot c.drt.h5 --kind composite --kind ageing --profile lab/profile.csv --per-area --dpi 60 -o figure.png
export c.drt.h5 --per-area -o numbers.xlsx
"""


def on_one_grid(lab):
    """Those files of the first cell and cycle that are on the same frequencies."""
    return [path for path in sorted((lab / "bare" / "cycle 1").iterdir()) if path.suffix != ".mpt"]


def ends_of_axes(figure, word):
    return {axes.get_ylabel() for axes in figure.axes if axes.get_ylabel().startswith(word)}


def check_growth(results):
    """What grew from cycle 1 to 500 is what was made to grow."""
    r_pol = pd.concat([pd.DataFrame({"r": one.r_pol, **one.states[["cell", "cycle"]]}) for one in results])
    r_pol = r_pol.groupby(["cell", "cycle"])["r"].mean()
    assert r_pol["bare Li-rich", 500] / r_pol["bare Li-rich", 1] == pytest.approx(5 / 3, rel=0.1)
    assert r_pol["coated Li-rich", 500] / r_pol["coated Li-rich", 1] == pytest.approx(1.13, rel=0.1)


@pytest.mark.long
@pytest.mark.slow
def test_four_commands_from_the_folder_to_figures_and_workbook(lab, tmp_path, run, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    monkeypatch.chdir(tmp_path)
    said = []
    for line in COMMANDS.strip().splitlines():
        code, words = run(*shlex.split(line))
        assert code == 0, words
        said.append(words)
    imported, inverted, drawn, _ = said
    assert "16 spectra imported (12 on 25 frequencies, 4 on 24 frequencies)" in imported
    assert "left out: bare/Thumbs.db, coated/photo.png, notes.txt and 1 more" in imported
    assert "cell: bare Li-rich, coated Li-rich" in imported
    assert "voltage: 3.2, 3.6, 3.8, 4.4" in imported
    for grid in ("grid-0", "grid-1"):
        spectra = drt.read_spectra("c.h5", grid)
        for row, here in enumerate(spectra.states.to_dict("records")):
            true = impedance(here["cell"].split()[0], here["cycle"], here["voltage"], spectra.frequency)
            np.testing.assert_allclose(spectra.impedance[row], true, rtol=1e-6)
    assert re.search(r"residual: median .* worst .* \(grid-\d row \d+: cell (bare|coated) Li-rich, cycle", inverted)
    assert "processes followed along voltage" in drawn
    for name in ("figure-composite.png", "figure-ageing.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    check_growth([drt.read_inversion("c.drt.h5", grid=grid) for grid in ("grid-0", "grid-1")])
    book = openpyxl.load_workbook("numbers.xlsx")
    assert book.sheetnames == ["results", "gamma", "impedance", "peaks"]
    for sheet, heading in (("results", "r_pol / ohm cm2"), ("impedance", "z_real / ohm cm2"), ("peaks", "r / ohm cm2")):
        headings, *rows = book[sheet].iter_rows(values_only=True)
        assert {heading, "grid"} <= set(headings)
        assert {row[headings.index("grid")] for row in rows} == {"grid-0", "grid-1"}
    headings, *rows = book["results"].iter_rows(values_only=True)
    table = pd.DataFrame(rows, columns=headings)
    bare = table[(table["cell"] == "bare Li-rich") & (table["cycle"] == 1) & (table["voltage / V"] == 4.4)]
    assert bare["r_pol / ohm cm2"].item() == pytest.approx(30 * 0.785, rel=0.03)


@pytest.mark.long
@pytest.mark.slow
def test_the_same_in_a_few_lines_of_python(lab, tmp_path):
    pytest.importorskip("openpyxl")
    # fmt: off
    options = drt.CollectOptions(name=PATTERN, states=tmp_path / "states.csv", constants={"area": 0.785})
    spectra = list(drt.collect(lab, options).spectra.values())
    results = [drt.invert(one, drt.Tikhonov()) for one in spectra]
    profile = readers.read_profile(lab / "profile.csv")
    composite = plotting.composite(spectra, results, profile, per_area=True)
    ageing = plotting.ageing(spectra, results, profile=profile, per_area=True)
    plotting.save(composite, tmp_path / "composite.png", dpi=60)
    plotting.save(ageing, tmp_path / "ageing.png", dpi=60)
    tables.write_tables(tmp_path / "numbers.xlsx", tables.gather(results, area=True))
    # fmt: on
    check_growth(results)
    for figure in (composite, ageing):
        assert ends_of_axes(figure, "−Im") == {"−Im $Z$ / Ω cm²"}
        assert any("Ω cm²" in text.get_text() for axes in figure.axes for text in axes.texts)  # scale bar
    # all spectra of cycle 1 stand in the composite, whichever frequencies they have
    nyquist = composite.axes[2]
    points = [line for line in nyquist.get_lines() if line.get_marker() == "o"]
    assert [np.isfinite(line.get_xdata()).sum() for line in points] == [25, 25, 25, 24]
    np.testing.assert_allclose(
        points[-1].get_xdata()[np.isfinite(points[-1].get_xdata())],
        impedance("bare", 1, 3.6, F_MPT).real * 0.785,
        rtol=1e-6,
    )


def test_an_instrument_file_stands_beside_them(lab, tmp_path, run):
    (lab / "bare" / "cycle 1" / "EIS_4,2 V.mpt").write_bytes(mpt(points(1)).encode("cp1252"))
    code, said = run("import", lab / "bare", "-o", tmp_path / "c.h5", "--name", "cycle {cycle}/EIS_{voltage}.{_}")
    assert code == 0
    assert "biologic-mpt" not in said or "refused" not in said
    assert "3.2, 3.6, 3.8, 4.2, 4.4" in said


@pytest.mark.slow
def test_a_file_with_a_mask_is_inverted_without_what_is_masked(lab, tmp_path, run):
    campaign, out = tmp_path / "c.h5", tmp_path / "c.drt.h5"
    assert run("import", *on_one_grid(lab), "-o", campaign, "--set", "cycle=1", "--cell", "bare")[0] == 0
    content = drt.read_spectra(campaign).impedance
    code, said = run("clean", campaign, "--frequency-range", "1:", "--drop", "90:110", "--where", "sheet == 'EIS'")
    assert code == 0
    assert "5 points left out now (4 frequency range, 1 band); 5 in all" in said
    masked = drt.read_spectra(campaign)
    assert np.isnan(masked.impedance).sum() == 5
    np.testing.assert_array_equal(drt.read_spectra(campaign, masked=False).impedance, content)
    assert "points left out: 4 frequency range, 1 band" in run("info", campaign)[1]
    assert run("invert", campaign, "-o", out, "--method", "tikhonov")[0] == 0
    np.testing.assert_array_equal(drt.read_inversion(out).impedance, masked.impedance)
    extra = tmp_path / "more.csv"
    plain(extra, impedance("bare", 1, 3.0))
    assert run("import", extra, "-o", campaign, "--append")[0] == 0
    assert np.isnan(drt.read_spectra(campaign).impedance).sum() == 5
    assert "5 points taken in again; 0 are left out" in run("clean", campaign, "--undo")[1]
    np.testing.assert_array_equal(drt.read_spectra(campaign).impedance[:3], content)


@pytest.mark.parametrize("method", ["log-gaussian", "tikhonov"])
def test_a_file_has_the_peaks_of_memory(lab, tmp_path, run, method):
    campaign, out = tmp_path / "c.h5", tmp_path / "c.drt.h5"
    assert run("import", *on_one_grid(lab), "-o", campaign)[0] == 0
    assert run("invert", campaign, "-o", out, "--method", method)[0] == 0
    assert run("peaks", out, "-o", tmp_path / "peaks.csv")[0] == 0
    known = drt.LogGaussian() if method == "log-gaussian" else drt.Tikhonov()
    expected = drt.invert(drt.read_spectra(campaign), known).peaks()
    found = pd.read_csv(tmp_path / "peaks.csv")
    np.testing.assert_allclose(found[["tau", "r"]], expected[["tau", "r"]], rtol=1e-9)


def mistakes(tmp_path):
    """The ten likeliest first mistakes: files or options, exit code, and what the solution has to say."""
    z = impedance("bare", 1, 3.8)
    put = {
        "wrong sign": table(("freq/Hz", "Re(Z)/Ohm", "Im(Z)/Ohm"), (F, z.real, -z.imag), ",", "."),
        "ascending": table(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F[::-1], z.real[::-1], -z.imag[::-1]), ",", "."),
        "kHz": table(("freq/kHz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F / 1e3, z.real, -z.imag), ",", "."),
        "comma": table(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F, z.real, -z.imag), ";", ","),
        "no units": table(("f", "A", "B"), (F, z.real, -z.imag), ",", "."),
        "bad cell": table(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F, z.real, -z.imag), ",", ".").replace(
            f"{z.real[4]:.8g}", "OVLD", 1
        ),
        "comma twice": table(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F, z.real, -z.imag), ",", ","),
        "no unit": table(("Frequency", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F / 1e3, z.real, -z.imag), ",", "."),
        "few": table(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F[:4], z.real[:4], -z.imag[:4]), ",", "."),
        "other grid": table(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), (F[:18], z.real[:18], -z.imag[:18]), ",", "."),
    }
    put["bad word"] = put["bad cell"].replace("OVLD", "abc")
    for name, content in put.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text(content)
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.csv").write_text(put["ascending"])
    (tmp_path / "mixed" / "b.csv").write_text(put["other grid"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing here\n")
    return {
        "wrong sign": (
            2,
            r"'Im\(Z\)/Ohm' is positive at all 25 points.*--flip-im or --columns 'frequency=1,re=2,-im=3'",
        ),
        "ascending": (0, "1 spectrum imported"),
        "kHz": (0, "1 spectrum imported"),
        "comma": (0, "1 spectrum imported"),
        "no units": (2, "'f', 'A', 'B', are not known .*--columns 'frequency,re,im'"),
        "bad cell": (0, "1 row without frequency or impedance left out .first at line 6: 'OVLD'"),
        "bad word": (2, r"line 6: column 2 .* has 'abc', where a number was expected. Correct or remove the line"),
        "comma twice": (2, "5 cells, where the headings name 3 .* decimal commas, export them with semicolons"),
        "no unit": (0, "has no unit: taken as Hz; if it is kHz, say so with --columns 'frequency/kHz=1,re=2,-im=3'"),
        "few": (2, "1 sweep of fewer than 5 points left out"),
        "mixed": (0, "1 on 25 frequencies, 1 on 18 frequencies"),
        "empty": (2, "none of the files of .* is a measurement; expected are .* potentiostat.* Is it the right folder"),
        "nowhere": (2, "there is no such file or folder in .*Check its name"),
    }


@pytest.mark.slow
def test_the_first_mistakes_are_answered(tmp_path, run):
    for name, (expected, words) in mistakes(tmp_path).items():
        code, said = run("import", tmp_path / name, "-o", tmp_path / f"{name}.h5")
        assert code == expected, (name, said)
        assert re.search(words, " ".join(said.split())), (name, said)
    z = impedance("bare", 1, 3.8)
    for name in ("ascending", "kHz", "comma"):
        np.testing.assert_allclose(drt.read_spectra(tmp_path / f"{name}.h5").frequency, F, rtol=1e-6)
        np.testing.assert_allclose(drt.read_spectra(tmp_path / f"{name}.h5").impedance[0], z, rtol=1e-6)
    code, said = run("import", tmp_path / "comma", "-o", tmp_path / "comma.h5")
    assert code == 2
    assert "exists already. Give another name, or say --overwrite. With --append, import adds to it." in said
    code, said = run("invert", tmp_path / "comma" / "a.csv")
    assert code == 2
    assert "a.csv: is not an HDF5 file. If it is a measurement, make a campaign of it first: drt-engine import." in said
    code, said = run("plot", tmp_path / "comma.h5")
    assert code == 2
    assert "holds no inversions" in said
    assert "Invert it first, with drt-engine invert" in said
    out = tmp_path / "mixed.drt.h5"
    assert run("invert", tmp_path / "mixed.h5", "-o", out, "--method", "tikhonov")[0] == 0
    code, said = run("peaks", out, "-o", tmp_path / "mixed.csv")
    assert code == 0, said
    assert "in 2 spectra on 2 grids" in said
    found = pd.read_csv(tmp_path / "mixed.csv")
    assert set(found["grid"]) == {"grid-0", "grid-1"}
    assert set(found["spectrum"]) == {0}
    (tmp_path / "mixed" / "a.csv").rename(tmp_path / "mixed" / "3,8 V.csv")
    (tmp_path / "mixed" / "b.csv").rename(tmp_path / "mixed" / "3,6 V.csv")
    plain(tmp_path / "mixed" / "3,4 V.csv", impedance("bare", 1, 3.4))
    again = ("-o", tmp_path / "mixed.h5", "--overwrite", "--name", "{voltage}.csv")
    assert run("import", tmp_path / "mixed", *again)[0] == 0
    assert run("invert", tmp_path / "mixed.h5", "-o", out, "--method", "tikhonov", "--overwrite")[0] == 0
    followed = ("--along", "voltage", "--tracks", tmp_path / "t.csv", "--tables", tmp_path / "tables", "--overwrite")
    code, said = run("peaks", out, "-o", tmp_path / "mixed.csv", *followed)
    assert code == 0, said
    assert set(pd.read_csv(tmp_path / "t.csv")["grid"]) == {"grid-0", "grid-1"}
    assert pd.read_csv(tmp_path / "tables" / "all.csv")["grid"].tolist() == ["grid-0", "grid-1", "grid-0"]


def test_what_is_said_of_clean_without_a_wish_and_of_a_wrong_one(tmp_path, run):
    spectra = drt.Spectra(F, [impedance("bare", 1, 3.8)])
    drt.write_spectra(tmp_path / "c.h5", spectra)
    for options, words in (
        ((), "say what is to be left out, by --frequency-range"),
        (("--undo", "--outliers"), "say what is to be left out, by --frequency-range"),
        (("--frequency-range", "5"), "two frequencies in Hz with a colon"),
        (("--drop", "mains"), "--drop must be a frequency in Hz"),
    ):
        code, said = run("clean", tmp_path / "c.h5", *options)
        assert code == 2
        assert words in said
    code, said = run("clean", tmp_path / "c.h5", "--drop", "51", "-o", tmp_path / "d.h5")
    assert code == 0
    assert "no frequency between 50.49 and 51.51 Hz was measured" in said


def test_the_version(run):
    code, said = run("--version")
    assert code == 0
    assert re.fullmatch(r"drt-engine \d+\.\d+\S*\n", said)
