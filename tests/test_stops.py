"""Where people were stopped on the way from their folder to a figure: what they get now, or are told."""

import re

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine import hdf5
from drt_engine.cli.plot import _likely_state
from drt_engine.cli.summary import quality

from .readers.made import mpt, points
from .test_lab_folder import F, impedance, plain, table


def spectrum(headings, z=None, sign=",", decimal="."):
    z = impedance("bare", 1, 3.8) if z is None else z
    return table(headings, (F, z.real, -z.imag), sign, decimal)


def spectra_of(path):
    """All spectra of a file, by their source."""
    parts = [drt.read_spectra(path, grid.grid) for grid in hdf5.scan(path).spectra]
    return {
        row["source"]: (row, z)
        for one in parts
        for row, z in zip(one.states.to_dict("records"), one.impedance, strict=True)
    }


def test_states_stand_in_folders_and_names_as_people_write_them(tmp_path, run):
    for place, headings, sign, decimal, code in (
        ("-25C/1st/电池A_3V80.txt", ("频率/Hz", "阻抗实部/欧姆", "-阻抗虚部/欧姆"), "\t", ".", "gb18030"),
        (
            "25C/50th/电池A_4V20_x2.csv",
            ("Fréquence (Hz)", "Partie réelle (Ohm)", "-Partie imaginaire (Ohm)"),
            ";",
            ",",
            "cp1252",
        ),
    ):
        (tmp_path / "lab" / place).parent.mkdir(parents=True)
        (tmp_path / "lab" / place).write_bytes(spectrum(headings, None, sign, decimal).encode(code))
    pattern = "{temperature}/{cycle}/电池{cell}_{voltage}[_x{repeat}].{_}"
    code, said = run("import", tmp_path / "lab", "-o", tmp_path / "c.h5", "--name", pattern, "--set", "batch=7")
    assert code == 0, said
    found = {
        source: [row[name] for name in ("temperature", "cycle", "cell", "voltage", "batch")]
        for source, (row, _) in spectra_of(tmp_path / "c.h5").items()
    }
    assert found == {
        "-25C/1st/电池A_3V80.txt": [-25.0, 1, "A", 3.8, 7],
        "25C/50th/电池A_4V20_x2.csv": [25.0, 50, "A", 4.2, 7],
    }


def test_a_table_of_states_names_files_in_any_way(tmp_path, run):
    raw = tmp_path / "lab" / "raw"
    raw.mkdir(parents=True)
    for k in range(5):
        plain(raw / f"run{k}.csv", impedance("bare", 1, 3.0 + k))
    named = (".\\raw\\run0.csv", "raw/run1", "lab/raw/run2.csv", "run3", "run4.csv")
    rows = [f"{name},{cycle},C{k}" for k, (name, cycle) in enumerate(zip(named, (1, 1, 2, 2, 3), strict=True))]
    (tmp_path / "states.csv").write_text("\n".join(["File,cycle,cell", *rows]) + "\n")
    code, said = run("import", tmp_path / "lab", "-o", tmp_path / "c.h5", "--states", tmp_path / "states.csv")
    assert code == 0, said
    assert "without a row" not in said
    assert "fit no sweep" not in said
    found = {source: (row["cycle"], row["cell"]) for source, (row, _) in spectra_of(tmp_path / "c.h5").items()}
    assert found == {f"raw/run{k}.csv": (cycle, f"C{k}") for k, cycle in enumerate((1, 1, 2, 2, 3))}


def test_the_user_overrules_headings(tmp_path, run):
    wrong = tmp_path / "a.csv"
    wrong.write_text(spectrum(("Frequency(Hz)", "Z'(a)", "Z''(b)")))
    for options in (
        ("--flip-im",),
        ("--columns", "frequency=1,re=2,-im=3"),
        ("--columns", "frequency=1,re=Z'(a),-im=Z''(b)"),
    ):
        code, said = run("import", wrong, "-o", tmp_path / "c.h5", "--overwrite", *options)
        assert code == 0, said
        np.testing.assert_allclose(
            drt.read_spectra(tmp_path / "c.h5").impedance[0], impedance("bare", 1, 3.8), rtol=1e-6
        )


def test_one_sheet_a_state_and_spectra_beside_each_other_with_cells_that_are_no_numbers(tmp_path, run):
    openpyxl = pytest.importorskip("openpyxl")
    book, rows = openpyxl.Workbook(), []
    book.remove(book.active)
    for k, voltage in enumerate((3.8, 4.0)):
        z = impedance("bare", 1, voltage)
        sheet = book.create_sheet(f"{voltage} V")
        sheet.append(["f / Hz", "Z' / Ω·cm²", "-Z'' / Ω·cm²"])
        for one in zip(F.tolist(), z.real.tolist(), (-z.imag).tolist(), strict=True):
            sheet.append(one)
        rows.append(np.stack([F, z.real, -z.imag], axis=1))
        if not k:
            sheet.cell(5, 2).value = "OVLD"
    (tmp_path / "lab").mkdir()
    book.save(tmp_path / "lab" / "B.xlsx")
    cells = [[f"{value:.8g}" for value in row] for row in np.concatenate(rows, axis=1)]
    cells[3][1] = "nan"
    above, headings = ["3,8 V", "", "", "4,0 V", "", ""], ["freq/Hz", "Z'/Ohm cm2", "-Z''/Ohm cm2"] * 2
    (tmp_path / "lab" / "C.txt").write_text("\n".join("\t".join(row) for row in (above, headings, *cells)) + "\n")
    code, said = run("import", tmp_path / "lab", "-o", tmp_path / "c.h5", "--name", "{cell}.{_}", "--area", 0.5)
    assert code == 0, said
    assert "1 row without frequency or impedance left out (first at row 5: 'OVLD')" in said
    assert "ohm cm2 divided by the area of 0.5 cm2" in said
    parts = [drt.read_spectra(tmp_path / "c.h5", grid.grid) for grid in hdf5.scan(tmp_path / "c.h5").spectra]
    states = pd.concat([one.states for one in parts])
    assert sorted(zip(states["cell"], states["voltage"], strict=True)) == [
        ("B", 3.8),
        ("B", 4.0),
        ("C", 3.8),
        ("C", 4.0),
    ]
    for one in parts:
        for row, z in zip(one.states.to_dict("records"), one.impedance, strict=True):
            there = np.isfinite(z)
            assert (~there).sum() == (row["voltage"] == 3.8)
            true = impedance("bare", 1, row["voltage"]) / 0.5
            np.testing.assert_allclose(z[there], true[there], rtol=1e-6)


def test_a_row_may_hold_a_spectrum_as_lists(tmp_path, run):
    rows = []
    for voltage in (3.6, 3.8):
        z = impedance("bare", 1, voltage)
        rows.append(
            {"omega": (2 * np.pi * F).tolist(), "Z": z.tolist(), "Circuit": "R-RQ", "voltage/mV": 1000 * voltage}
        )
    frame = pd.DataFrame(rows)
    frame["Z"] = [str(one).replace("(", "").replace(")", "") for one in frame["Z"]]
    frame.to_csv(tmp_path / "a.csv")
    frame.rename(columns={"omega": "freq"}).to_csv(tmp_path / "freq.csv")
    code, said = run("import", tmp_path / "freq.csv", "-o", tmp_path / "c.h5")
    assert "if it is the angular frequency ω, say so: --columns 'omega=1,re=2,im=3'" in " ".join(said.split())
    columns = ("--columns", "omega=1,re=2,im=3")
    assert run("import", tmp_path / "freq.csv", "-o", tmp_path / "c.h5", "--overwrite", *columns)[0] == 0
    np.testing.assert_allclose(drt.read_spectra(tmp_path / "c.h5").frequency, F, rtol=1e-12)
    frame.loc[1, "Z"] = frame.loc[1, "Z"][:200] + ", ..., 1+1j]"
    frame.to_csv(tmp_path / "b.csv")
    assert run("import", tmp_path / "a.csv", "-o", tmp_path / "c.h5", "--overwrite")[0] == 0
    spectra = drt.read_spectra(tmp_path / "c.h5")
    np.testing.assert_allclose(spectra.frequency, F, rtol=1e-12)
    np.testing.assert_allclose(spectra.impedance, [impedance("bare", 1, v) for v in (3.6, 3.8)], rtol=1e-12)
    assert spectra.states["voltage"].tolist() == [3.6, 3.8]
    assert spectra.states["circuit"].tolist() == ["R-RQ"] * 2
    code, said = run("import", tmp_path / "b.csv", "-o", tmp_path / "d.h5")
    assert code == 0
    said = " ".join(said.split())
    assert "1 row left out, first:" in said
    assert "the list of 'Z' was shortened by numpy, to '...'. Write the file again" in said


def test_the_report_says_each_thing_once(tmp_path, run):
    lab = tmp_path / "lab"
    lab.mkdir()
    for k in range(6):
        z = impedance("bare", 1, 3.0 + k)
        (lab / f"a{k}.csv").write_text(
            spectrum(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), z)
            .replace(f"{z.real[k]:.8g}", "OVLD", 1)
            .replace(f"{z.real[9]:.8g}", "OVLD", k % 2)  # one row or two are the same remark
        )
        (lab / f"n{k}.txt").write_text("nothing\n")
        (lab / f"m{k}.mpt").write_bytes(mpt(points(k + 1), ff=1).encode("cp1252"))
    code, said = run("import", lab, "-o", tmp_path / "c.h5")
    assert code == 0
    assert "18 files: 6 read, 6 left out, 6 no measurement." in said
    assert said.count("no measurement:") == 1
    assert "no measurement: n0.txt, n1.txt, n2.txt and 3 more" in said
    assert said.count("row without frequency or impedance left out") == 1
    assert "a0.csv, a1.csv, a2.csv and 3 more" in said
    assert said.count("--unfinished takes them") == 1
    assert "unfinished=True" not in said
    assert len(said.splitlines()) < 25


@pytest.fixture
def tested(tmp_path, run):
    """Inversions of two cells at two temperatures, on two grids, and one that blocks."""
    f = np.logspace(5, -1, 19)
    for name, frequency, temperature in (("a", F, 25.0), ("b", f, 40.0)):
        states = {"cell": ["A", "A", "B", "B"], "voltage": [3.6, 3.8, 3.6, 3.8], "temperature": temperature}
        z = [impedance("bare", 1, v, frequency) for v in states["voltage"]]
        frame = pd.DataFrame(states).assign(source=[f"{name}{k}" for k in range(4)])
        grids = {name: drt.Spectra(frequency, z, frame)}
        hdf5.add_spectra(tmp_path / "c.h5", grids, keep=name == "b")
    assert run("invert", tmp_path / "c.h5", "--method", "tikhonov")[0] == 0
    return tmp_path / "c.drt.h5"


@pytest.mark.slow
def test_figures_without_options_choose_a_series_and_say_which(tested, tmp_path, run):
    code, said = run("plot", tested, "-o", tmp_path / "w.svg")
    assert code == 0, said
    assert "drawn is the series of cell A, temperature 25.0, 2 of 8 spectra. --where chooses others." in said
    assert "2 spectra drawn." in said
    code, said = run("plot", tested, "--kind", "composite", "--kind", "gamma", "-o", tmp_path / "f.svg")
    assert code == 0, said
    assert "drawn is the series of temperature 25.0, 4 of 8 spectra" in said
    assert {path.name for path in tmp_path.glob("f*.svg")} == {"f-composite.svg", "f-gamma.svg"}
    drawn = (tmp_path / "f-composite.svg").read_text(encoding="utf-8")
    assert ">Cell A</text>" in drawn
    assert ">Cell B</text>" in drawn


@pytest.mark.slow
def test_what_nothing_tells_apart_is_drawn_by_its_number(tmp_path, run):
    z = [impedance("bare", 1, 3 + k) for k in range(4)]
    states = {"cycle": [1, 2, 1, 2], "source": ["a", "a", "b", "b"]}
    drt.write_spectra(tmp_path / "b.h5", drt.Spectra(F, z, states))
    assert run("invert", tmp_path / "b.h5", "--method", "tikhonov")[0] == 0
    _, said = run("plot", tmp_path / "b.drt.h5", "-o", tmp_path / "b.svg")
    assert "drawn is the series of source a, 2 of 4 spectra. --where chooses others." in said
    # A file for each spectrum is no series.
    drt.write_spectra(tmp_path / "d.h5", drt.Spectra(F, z, {"cycle": [1, 2, 1, 2], "source": ["a", "b", "c", "d"]}))
    assert run("invert", tmp_path / "d.h5", "--method", "tikhonov")[0] == 0
    assert "4 spectra drawn." in run("plot", tmp_path / "d.drt.h5", "-o", tmp_path / "d.svg")[1]
    drt.write_spectra(tmp_path / "c.h5", drt.Spectra(F, z, {"source": ["a"] * 4}))
    assert run("invert", tmp_path / "c.h5", "--method", "tikhonov")[0] == 0
    code, said = run("plot", tmp_path / "c.drt.h5", "-o", tmp_path / "w.svg")
    assert code == 0, said
    assert "4 spectra drawn." in said
    assert ">Spectrum</text>" in (tmp_path / "w.svg").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.recorded
def test_unlike_spectra_stand_by_their_files_and_none_is_missing(tmp_path, run):
    f = np.logspace(5, -1, 19)
    grids = {
        "a": drt.Spectra(F, [impedance("bare", 1, 3.8)], {"source": ["mine.csv"], "voltage": [1.4], "cycle": [1.0]}),
        "b": drt.Spectra(f, [1e-3 * impedance("bare", 1, 3.8, f)], {"source": ["yours.dta"], "voltage": [3.0]}),
    }
    hdf5.add_spectra(tmp_path / "c.h5", grids, keep=False)
    assert run("invert", tmp_path / "c.h5", "--method", "tikhonov")[0] == 0
    kinds = ("--kind", "composite", "--kind", "waterfall", "--kind", "nyquist")
    code, said = run("plot", tmp_path / "c.drt.h5", *kinds, "-o", tmp_path / "f.svg")
    assert code == 0, said
    assert "2 spectra drawn." in said
    for kind in ("composite", "waterfall", "nyquist"):
        drawn = (tmp_path / f"f-{kind}.svg").read_text(encoding="utf-8")
        assert ">0: mine.csv</text>" in drawn
        assert ">1: yours.dta</text>" in drawn
        assert "Voltage" not in drawn
    code, said = run("plot", tmp_path / "c.drt.h5", "--kind", "processes", "-o", tmp_path / "p.svg")
    assert code == 2
    assert "no state of numbers orders these spectra" in said


@pytest.mark.slow
def test_spectra_whose_voltages_differ_are_all_drawn_though_their_cycles_do(tmp_path, run, monkeypatch):
    z = [impedance("bare", 1, 3.0 + k / 10) for k in range(4)]
    states = {"voltage": [3.0, 3.1, 3.2, 3.3], "cycle": [1, 2, 3, 4]}
    drt.write_spectra(tmp_path / "c.h5", drt.Spectra(F, z, states))
    assert run("invert", tmp_path / "c.h5", "--method", "tikhonov")[0] == 0
    kept = []
    monkeypatch.setattr("drt_engine.plotting.save", lambda figure, *_, **__: kept.append(figure))
    code, said = run("plot", tmp_path / "c.drt.h5", "--kind", "composite", "-o", tmp_path / "f.svg")
    assert code == 0, said
    assert "4 spectra drawn." in said
    (figure,) = kept
    assert [line.get_marker() for line in figure.axes[1].get_lines()].count("o") == 4
    assert "cycle" not in figure.axes[0].get_title()


@pytest.mark.slow
def test_processes_of_several_grids_are_stored_drawn_and_exported(tested, tmp_path, run):
    store, out = tmp_path / "p.h5", tmp_path / "n.csv"
    followed = ("--along", "voltage", "--series", "cell,temperature", "--store", store)
    code, said = run("peaks", tested, "-o", tmp_path / "peaks.csv", *followed)
    assert code == 0, said
    table = hdf5.read_tracks(store).table
    assert set(zip(table["grid"], table["temperature"], strict=True)) == {("a", 25.0), ("b", 40.0)}
    assert set(table["spectrum"]) == {0, 1, 2, 3}
    code, said = run(
        "plot", tested, "--tracks", store, "--where", "cell == 'B' and temperature == 40", "-o", tmp_path / "w.svg"
    )
    assert code == 0, said
    assert ">P1</text>" in (tmp_path / "w.svg").read_text(encoding="utf-8")
    assert run("export", tested, "--tracks", store, "--tables", "processes", "-o", out)[0] == 0
    found = pd.read_csv(out)
    own = table.sort_values(["grid", "spectrum", "tau"])
    np.testing.assert_allclose(found.sort_values(["grid", "spectrum", "tau / s"])["r / ohm"], own["r"])


def test_what_piles_up_at_the_edge_is_said_with_the_cure(tmp_path, run):
    z = 5 + 10 / (1 + 2j * np.pi * F * 1e-3) + 1 / (2j * np.pi * F * 1e-3)
    drt.write_spectra(tmp_path / "c.h5", drt.Spectra(F, z))
    code, said = run("invert", tmp_path / "c.h5", "--method", "tikhonov")
    assert code == 0
    assert "unbounded at low frequency: -Im Z still rises" in " ".join(said.split())
    assert "Try --capacitance, or --tail auto." in " ".join(said.split())


def test_the_residual_of_arcs_far_apart_is_their_noise(tmp_path, run):
    z = [impedance("bare", 1, v) for v in (3.6, 3.8, 4.0)]
    drt.write_spectra(tmp_path / "c.h5", drt.Spectra(F, z, {"voltage": [3.6, 3.8, 4.0]}))
    code, said = run("validate", tmp_path / "c.h5")
    assert code == 0
    valid, noise, residual = re.search(r"(\d) valid, median noise (\S+) % .* median residual (\S+) %", said).groups()
    assert valid == "3"
    assert float(noise) == pytest.approx(0.1, rel=0.3)  # what was made, of 50 numbers each
    found = drt.validate(drt.read_spectra(tmp_path / "c.h5"))
    assert float(residual) == pytest.approx(np.median(found.rms), rel=1e-2)
    # Where few elements, at which μ stops, leave fifty times as much.
    assert float(residual) == pytest.approx(np.sqrt(2) * float(noise), rel=0.3)
    assert 100 * np.sqrt(np.median(found.chi_square) / F.size) > 50 * float(noise)


def test_the_package_completes_to_its_public_names():
    assert {name for name in dir(drt) if not name.startswith("_")} == set(drt.__all__) - {"__version__"}


def test_a_summary_says_where_distributions_do_not_describe_the_data(tmp_path):
    frequency = np.logspace(4, -2, 49)
    z = np.tile(8.0 + drt.simulate.ZARC(12.0, 1e-3, 0.9).impedance(frequency), (12, 1))
    z *= 1.0 + 1e-3 * np.random.default_rng(2).standard_normal((*z.shape, 2)) @ np.array((1.0, 1j))
    z[8:] += 1j * np.exp(-10.0 * frequency)
    spectra = drt.Spectra(frequency, z, states=pd.DataFrame({"cell": ["rest"] * 8 + ["current"] * 4}))
    drt.write_inversion(tmp_path / "r.h5", drt.invert(spectra))
    said = quality(tmp_path / "r.h5", "default", ["default"])
    assert said[1].startswith("8 of 12 solutions describe their spectra, residual median 0.1")
    assert "4 do not (misfit): their residual is below 1 % in 0, 1 to 5 % in 4, more in 0" in said[1]
    assert "nearly all of cell current, and few of the others; what they leave lies mostly at 0.01 to 0.1" in said[2]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"cycle": [1, 1, 2, 2], "soc": [10.0, 20.0, 10.0, 20.0]}, "soc"),
        ({"cycle": [1, 1, 2, 2], "soc": [10.0, 20.0, 10.0, 20.0], "voltage": [3.0, 3.1, 3.0, 3.1]}, "voltage"),
        ({"cycle": [1, 2, 3, 4], "soc": [50.0] * 4}, "cycle"),
    ],
)
def test_figures_and_explorer_run_along_the_charge_before_the_cycle(states, expected):
    from drt_engine.explore.source import Series

    assert _likely_state(pd.DataFrame(states)) == expected
    assert Series.of(pd.DataFrame(states)).along == expected
