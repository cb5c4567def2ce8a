"""Names that terminals, markup, spreadsheets and figures obey, through every command on a file that holds them."""

import html
import json
import logging
import re
import sys
import unicodedata
from pathlib import Path

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pytest

import drt_engine as drt
import drt_engine.cli as cli_package
from drt_engine.cli.app import PlainFormatter, for_spreadsheets, say, show_uncaught
from drt_engine.text import drawn, is_number, visible, without_formula
from tests.safety.hostile import NAMES
from tests.watch import instrument

GRID = "grid\u202e\x9b31m[red][link]"
INVERSION = "inversion[bold]\u202e"


def harmless(text):
    """Whether a terminal only shows it: tables and lines have no character of control but the line end."""
    return all(unicodedata.category(one) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} or one == "\n" for one in text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, noisy):
    """A campaign of which every cell has a hostile name, with three voltages each, its result and its processes."""
    folder = tmp_path_factory.mktemp("hostile")
    cells = [name for name in NAMES for _ in range(2)]
    voltage = np.tile([3.5, 3.6], len(NAMES))
    states = {"cell": cells, "voltage": voltage, "time": 1e3 * voltage, "\uff1d1+1[red]\u202e": cells}
    z = np.tile(noisy.impedance[:2], (len(NAMES), 1))
    drt.write_spectra(folder / "c.h5", {GRID: drt.Spectra(noisy.frequency, z, states)})
    drt.invert_file(folder / "c.h5", folder / "c.drt.h5", method=drt.Tikhonov(), name=INVERSION)
    return folder


def shown(ran):
    assert ran.code == 0, ran.err
    assert harmless(ran.out)
    assert harmless(ran.err)
    return re.sub(r"\s", "", ran.out)


@pytest.fixture
def wide(monkeypatch):
    """Wide enough for a name to stand on one line."""
    monkeypatch.setenv("COLUMNS", "200")


def test_info(folder, cli, wide):
    assert "\uff1d1+1[red]\\u202e" in shown(cli("info", folder / "c.h5"))
    told = shown(cli("info", folder / "c.drt.h5"))
    assert "inversions/inversion[bold]\\u202e/grid\\u202e\\x9b31m[red][link]" in told
    for path in ("c.h5", "c.drt.h5"):
        text = cli("info", folder / path, "--json").out
        assert harmless(text)
        assert json.loads(text)["spectra" if path == "c.h5" else "inversions"][0]["grid"] == GRID


def test_validate(folder, cli, wide):
    told = shown(cli("validate", folder / "c.h5", "--by", "cell", "-o", folder / "v.csv"))
    for name in NAMES:
        assert re.sub(r"\s", "", visible(name)) in told, name
    check_csv(folder / "v.csv", "cell")


def test_invert(folder, cli):
    chosen = ("--where", "cell in ['[/x]', '=1+1']", "--name", "a[red]\x9b", "--method", "tikhonov")
    shown(cli("invert", folder / "c.h5", "-o", folder / "again.h5", *chosen))
    shown(cli("invert", folder / "c.h5", "-o", folder / "[red]\x1b[31m\n.h5", "--where", "cell == '\x1b[31m'"))
    refused = cli("invert", folder / "c.h5", "-o", folder / "none.h5", "--where", "cell = '\x1b[31m'")
    assert refused.code == 2
    assert harmless(refused.err)


@pytest.mark.slow
def test_export(folder, cli, wide):
    chosen = ("export", folder / "c.drt.h5", "--spectra", folder / "c.h5")
    shown(cli(*chosen, "-o", folder / "e.csv"))
    for name in ("results", "gamma", "impedance", "peaks"):
        check_csv(folder / f"e-{name}.csv", "cell")
    shown(cli(*chosen, "-o", folder / "e.xlsx", "--tables", "results,peaks"))
    book = openpyxl.load_workbook(folder / "e.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [cell.value for cell in cells if cell.data_type == "f"]
    assert {"'=1+1", "[/x]"} <= {cell.value for cell in cells}


@pytest.mark.slow
def test_report(folder, cli, wide):
    shown(cli("report", folder / "c.drt.h5", "-o", folder / "r.html", "--title", "[/x]\x1b<script>"))
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert harmless(page)
    assert "<h1>[/x]\\x1b&lt;script&gt;</h1>" in page
    for name in NAMES:
        assert html.escape(visible(name)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in page, name


@pytest.mark.slow
def test_clean(folder, cli, wide):
    some = ("--drop", "49:120", "--record", folder / "left.csv", "--where", "cell in ['=1+1', '[/x]']")
    told = shown(cli("clean", folder / "c.h5", "-o", folder / "clean[red]\x1b.h5", *some))
    assert "clean[red]\\x1b.h5" in told
    assert harmless((folder / "left.csv").read_text(encoding="utf-8"))
    assert pd.read_csv(folder / "left.csv")["grid"].eq(visible(GRID)).all()


@pytest.mark.slow
def test_conductivity_and_composite(folder, cli, wide):
    few = "cell in ['=1+1', '[/x]', '$x^{2}$', '\x1b[31mred\x1b[0m']"
    given = ("--where", few, "--thickness", 0.05, "--area", 0.8)
    shown(cli("conductivity", folder / "c.h5", *given, "-o", folder / "s.csv", "--arcs", folder / "a.csv"))
    check_csv(folder / "s.csv", "cell")
    told = shown(cli("composite", folder / "c.h5", "--connection", "ee", *given, "-o", folder / "k.csv"))
    check_csv(folder / "k.csv", "cell")
    assert "[/x]" in told
    shown(cli("conductivity", folder / "c.h5", *given, "-o", folder / "s.h5"))
    shown(cli("info", folder / "s.h5"))


@pytest.mark.slow
def test_polarisation(folder, cli, wide):
    time = np.linspace(0.04, 3.2, 80)
    frame = pd.DataFrame({"time/s": time, "voltage/V": 0.01, "current/A": 1e-4 * (1 + np.exp(-3 * time))})
    paths = [folder / f"{name.replace('/', '-')[:60]}.csv" for name in NAMES[::12]]
    for path in paths:
        frame.to_csv(path, index=False)
        shown(cli("polarisation", path, "-o", folder / "dc.csv", "--steps", folder / "st.csv", "--overwrite"))
        assert harmless((folder / "st.csv").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_watch(tmp_path, cli, wide):
    measured = tmp_path / "measured"
    measured.mkdir()
    for number, name in enumerate(NAMES):
        content = instrument.mpt(number) if number % 3 else instrument.mpr(0)[:-100]
        (measured / f"{name.replace('/', '-')[:60]} _{number}.x").write_bytes(content)
    made = ("-o", tmp_path / "w.h5", "--name", "{cell} _{cycle}.x", "--method", "tikhonov", "--settle", 0, "--once")
    told = shown(cli("watch", measured, *made, "--alert", "r_pol > first"))
    for name in ("\\x1b[31mred\\x1b[0m", "[-x]", "[red]red[-red]", "$\\frac{$"):
        assert name.replace(" ", "") in told, name
    cells = drt.read_spectra(tmp_path / "w.h5").states["cell"].tolist()
    assert {"=1+1", "\u202egnp.exe\u202c"} <= set(cells)


@pytest.mark.slow
def test_peaks_and_plot(folder, cli, wide):
    outputs = {"-o": "p.csv", "--store": "p.h5", "--tracks": "t.csv", "--tables": "s"}
    options = [part for option, name in outputs.items() for part in (option, folder / name)]
    course = ("--along", "voltage", "--series", "cell", "--known", "[/x]\x1b=1e-5:1")
    shown(cli("peaks", folder / "c.drt.h5", *course, *options))
    for path in ("p.csv", "t.csv"):
        check_csv(folder / path, "cell")
    # One table for each series, and none in another folder.
    assert len(list((folder / "s").iterdir())) == len(NAMES)
    assert not (folder.parent / "up.csv").exists()
    names = ("$\\frac{$", "_hidden", "[/x]", "$x^{2}$")
    for kind, (most, *options) in {
        "composite": (1, "--spectra", folder / "c.h5", "--tracks", folder / "p.h5"),
        "processes": (4,),
        "gamma": (4, "--state", "cell"),
    }.items():
        file = folder / ("p.h5" if kind == "processes" else "c.drt.h5")
        some = f"cell in {list(names[:most])}"
        shown(cli("plot", file, "--kind", kind, *options, "--where", some, "-o", folder / f"{kind}.svg"))
    text = (folder / "gamma.svg").read_text(encoding="utf-8")
    for name in ("$\\frac{$", "$x^{2}$", "_hidden", "[/x]"):
        assert name in text


def test_import(tmp_path, cli, noisy, wide):
    for number, name in enumerate(NAMES):
        points = zip(noisy.frequency, noisy.impedance[0], strict=True)
        rows = "\n".join(f"{f:g},{(number + 1) * z.real:g},{(number + 1) * z.imag:g}" for f, z in points)
        content = "frequency,re,im\n" + (rows if number % 3 else "no numbers\x1b[31m[/x],=1,2\n")
        (tmp_path / f"{name.replace('/', '-')[:60]}.csv").write_text(content, encoding="utf-8")
    # On Linux, the name of a file may be any bytes.
    (tmp_path / "caf\udce9\udcff.csv").write_text(f"frequency,re,im\n{rows}")
    told = cli("import", tmp_path, "-o", tmp_path / "c.h5", "--report", tmp_path / "r.txt", "--cell", "[/x]\x1b[31m")
    shown(told)
    # Of files with the same remark the terminal has some, and the report all.
    for name in ("[/x]\\x1b[31m", "\\x1b[31mred"):
        assert name in re.sub(r"\s", "", told.out)
    report = (tmp_path / "r.txt").read_text(encoding="utf-8")
    assert "[-x].csv" in report
    assert "[red]red[-red].csv" in report
    check_csv(tmp_path / "r.txt", "source")
    assert "caf\\udce9\\udcff.csv" in drt.read_spectra(tmp_path / "c.h5").states["source"].tolist()
    (tmp_path / "c.h5").rename(tmp_path / "c\udcff.h5")
    again = ("--method", "tikhonov", "--where", "sweep == 1 and source == '-2+3.csv'")
    shown(cli("invert", tmp_path / "c\udcff.h5", "-o", tmp_path / "r\udcff.h5", *again))
    assert cli("invert", tmp_path / "c\udcff.h5", "-o", tmp_path / "n.h5", "--name", "a\udcff").code == 2


def check_csv(path, column):
    """Whether a spreadsheet computes nothing of it, and a terminal only shows it."""
    text = path.read_bytes().decode("utf-8")
    assert harmless(text)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    cells = [*frame.columns, *frame.to_numpy().ravel()]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\uff1d\uff0b\uff0d\uff20") and not is_number(cell)]
    assert any(cell.startswith("'=") for cell in frame[column])


@pytest.mark.parametrize("name", NAMES)
def test_text_is_shown_as_it_is_written(name):
    assert harmless(visible(name))
    assert "\n" not in visible(name)
    # Nothing is lost: what is escaped can be told.
    escapes = re.sub(r"\\(x..|u....|[ntr])", lambda match: match[0].encode().decode("unicode_escape"), visible(name))
    assert escapes == name
    assert without_formula(name).lstrip("'") == visible(name)


def test_what_is_a_formula():
    numbers = ("-5", "+3.2", "-1e5", "-1,5", "+.5")
    assert [without_formula(text) for text in (*numbers, "a=b", "", "µ Ω é")] == [*numbers, "a=b", "", "µ Ω é"]
    for text in ("=1", "-2+3", "--5", "@a", "+", "-", "-inf", "\uff1d1"):
        assert without_formula(text) == f"'{text}"
    frame = pd.DataFrame({"=a": ["=1", None, "x"], "n": [-1.0, np.nan, 2.0], "c": pd.Categorical(["-x", "-x", "y"])})
    frame["mixed"] = pd.Series([-1, "=2", None], dtype=object)
    out = for_spreadsheets(frame)
    assert list(out.columns) == ["'=a", "n", "c", "mixed"]
    assert out["'=a"].tolist()[::2] == ["'=1", "x"]
    assert out["'=a"].isna().tolist() == [False, True, False]
    assert out["c"].astype(str).tolist() == ["'-x", "'-x", "y"]
    assert out["mixed"].tolist()[:2] == [-1, "'=2"]
    pd.testing.assert_series_equal(out["n"], frame["n"])
    assert frame["=a"].tolist()[0] == "=1"


def test_figures_show_text(tmp_path):
    assert drawn("$x^{2}$") == r"\$x^{2}\$"
    assert drawn("_a\x1b") == " _a\\x1b"


def test_logs_errors_and_warnings_are_shown_as_they_are_written(capsys):
    say("a\nb\x1b", "c")
    assert capsys.readouterr().out == "a\\nb\\x1b\nc\n"
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s\x1b[31m\n", ("\u202e",), None)
    assert PlainFormatter("%(message)s").format(record) == "\\u202e\\x1b[31m\\n"
    try:
        raise ValueError("owned\x1b]0;x\x07")
    except ValueError:
        caught = sys.exc_info()
        record.exc_info = caught
        assert harmless(PlainFormatter("%(message)s").format(record))
        show_uncaught(*caught)
    told = capsys.readouterr().err
    assert told.endswith("ValueError: owned\\x1b]0;x\\x07\n")
    assert harmless(told)


def test_wrong_use_shows_what_a_star_stood_for(cli, tmp_path):
    ran = cli("info", tmp_path, "\x1b]0;owned\x07.h5")
    assert ran.code == 2
    assert "\\x1b]0;owned\\x07" in ran.err
    ran = cli("\x9b31m")
    assert ran.code == 2
    assert "\\x9b31m" in ran.err


def test_one_place_prints():
    for path in Path(cli_package.__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        # The screen of a watch is drawn again and again; what it says goes through `visible`, as its own test shows.
        if path.name not in ("app.py", "dashboard.py"):
            assert not re.search(r"\becho\(|\bprint\(|\.write\(|import Table|import Tree|import Console", text), path


def test_a_result_that_was_written_by_others(folder, cli, tmp_path, wide):
    path = tmp_path / "r.h5"
    path.write_bytes((folder / "c.drt.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        attributes = file[f"inversions/{INVERSION}/{GRID}"].attrs
        for name in ("source", "created", "started", "where"):
            attributes[name] = np.bytes_("\x1b]0;owned\x07[/x]\u202e".encode())
    told = shown(cli("info", path))
    assert told.count("\\x1b]0;owned\\x07[/x]\\u202e") >= 3
