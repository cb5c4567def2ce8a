"""What the documentation says is so: its code runs and prints what it shows, its tables are those of the code."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine import errors, hdf5, jobs, peaks, plotting, readers, simulate, tracking, validation
from drt_engine.errors import InputError
from drt_engine.model.basis import BASES
from drt_engine.readers.states import states_table
from drt_engine.result_fields import RESULT_FIELDS
from drt_engine.spectra import STATE_UNITS

from .kernels import truth

ROOT = Path(__file__).parents[1]
PAGES = (
    "docs/tutorial.md",
    "docs/convex.md",
    "docs/import.md",
    "docs/validation.md",
    "docs/processes.md",
    "docs/gallery.md",
    "docs/series.md",
    "docs/jobs.md",
    "docs/tails.md",
    "docs/diffusion.md",
    "docs/drift.md",
    "docs/transport.md",
    "docs/export.md",
    "docs/wrong.md",
    "docs/cite.md",
    "docs/format.md",
    "docs/index.md",
    "README.md",
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOO_LONG = "drt-engine demo"


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def table(name, heading):
    """Cells of the rows of the table whose first heading is given."""
    rows = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", read(name), re.MULTILINE)[1]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows.splitlines()]


def code_blocks(name):
    """Language, code and first line number of each fenced block."""
    text = read(name)
    return [(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in BLOCK.finditer(text)]


def run_commands(code):
    from drt_engine.cli import app

    commands = [line for line in code.splitlines() if line.startswith("drt-engine ") and not line.startswith(TOO_LONG)]
    for command in commands:
        outcome = CliRunner().invoke(app, shlex.split(command)[1:])
        assert outcome.exit_code == 0, f"{command}\n{outcome.output}\n{outcome.exception!r}"


def same_text(printed, shown):
    return [line.rstrip() for line in printed.rstrip().splitlines()] == [
        line.rstrip() for line in shown.rstrip().splitlines()
    ]


def saved_empty(figure, path, **options):
    """Make the file of a figure: drawing it into the file takes longer than all else on a page, and has tests."""
    figure.canvas.get_supported_filetypes()[options["format"]]
    Path(path).touch()


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_code_runs_and_prints_what_the_page_shows(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", saved_empty)
    namespace = {"__name__": "page"}
    printed = ""
    for language, code, line in code_blocks(name):
        if language == "python":
            # Empty lines before it, so that a traceback has the line numbers of the page.
            exec(compile("\n" * (line - 1) + code, name, "exec"), namespace)
            printed = capsys.readouterr().out
        elif language == "sh":
            run_commands(code)
        elif language == "toml":
            (tmp_path / "job.toml").write_text(code, encoding="utf-8")
            run_commands("drt-engine invert job.toml --overwrite")
        elif language == "text":
            assert same_text(printed, code), f"{name}, line {line}, printed:\n{printed}"
    assert "drt" in namespace


def test_every_page_with_code_is_run_or_followed():
    recipes = {f"docs/add-{what}.md" for what in ("method", "reader", "criterion")}  # by tests of their own
    with_code = {
        path.relative_to(ROOT).as_posix()
        for path in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md")
        if re.search(r"^```python$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert with_code == {*PAGES} | recipes


def test_commands_on_pages_that_are_not_run_have_options_that_exist():
    import typer

    from drt_engine.cli import app

    commands = typer.main.get_command(app).commands
    checked = 0
    for path in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md"):
        name = path.relative_to(ROOT).as_posix()
        unrun = ("console",) if name in PAGES else ("console", "sh")
        for _, code, line in (block for block in code_blocks(name) if block[0] in unrun):
            for words in (shlex.split(one, comments=True) for one in code.splitlines()):
                if words[:1] == ["drt-engine"]:
                    commands[words[1]].make_context(words[1], words[2:])  # parses, and runs nothing
                elif words[:1] == ["python"] and words[1] != "-m":
                    script = read(words[1])
                    assert all(f'"{word}"' in script for word in words if word.startswith("--")), f"{name}, line {line}"
                else:
                    continue
                checked += 1
    assert checked > 5


def test_the_gallery_has_its_pictures():
    page = read("docs/gallery.md")
    named = re.findall(r"!\[.+\]\((gallery/[\w-]+\.png)\)", page)
    there = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / "gallery").iterdir())
    assert sorted(named) == there
    assert all((ROOT / "docs" / name).stat().st_size < 150_000 for name in named)
    # each picture follows a block that makes a figure
    assert len(re.findall(r"^figure = plotting\.", page, re.MULTILINE)) == len(named)


def test_every_formula_is_drawn_without_network():
    from latex2mathml.converter import convert

    formulas = []
    for path in (ROOT / "docs").glob("*.md"):
        text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        formulas += re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL)
        formulas += re.findall(r"(?<![\\$])\$([^$\n]+)\$", re.sub(r"\$\$.+?\$\$", "", text, flags=re.DOTALL))
    assert len(formulas) > 50
    for formula in formulas:
        written = convert(formula)
        assert "\\" not in written, formula
        assert "<mi>&</mi>" not in written, formula
    assert "mathjax" not in read("docs/conf.py")


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning_and_need_no_network(tmp_path):
    for needed in ("sphinx", "myst_parser", "furo", "numpydoc"):
        pytest.importorskip(needed)
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", tmp_path / "html"]
    done = subprocess.run(build, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for path in (tmp_path / "html").glob("*.html"):
        page = path.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"([^\"]*)|<link\b[^>]*\bhref=\"([^\"]*)", page)
        assert not [one for pair in fetched for one in pair if one.startswith(("http:", "https:", "//"))], path.name
        source = ROOT / "docs" / f"{path.stem}.md"
        if source.exists() and "$$" in source.read_text(encoding="utf-8"):
            assert "<math" in page, path.name
    assert (tmp_path / "html" / "theory.html").read_text(encoding="utf-8").count("<math") > 100


def test_every_footnote_is_there():
    for path in (ROOT / "docs").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        told = r"^\[\^([\w-]+)\]:"
        named = re.findall(r"\[\^([\w-]+)\]", re.sub(told, "", text, flags=re.MULTILINE))
        assert set(named) == set(re.findall(told, text, re.MULTILINE)), path.name


def test_the_pictures_of_what_goes_wrong_are_there():
    named = re.findall(r"!\[.+\]\(wrong/([\w-]+)\.png\)", read("docs/wrong.md"))
    there = {path.stem for path in (ROOT / "docs" / "wrong").iterdir()}
    assert set(named) == there
    assert len(named) == 10


def test_the_table_of_basis_functions_is_right():
    rows = {row[0].strip("`"): row[2:] for row in table("docs/theory.md", "`basis`")}
    assert set(rows) == set(BASES)
    for name, (fwhm, area, support, orders) in rows.items():
        assert [int(order) for order in orders.split(",")] == _orders(name)
        if name == "piecewise-linear":
            continue
        kind = name.replace("-", "_").upper()
        end = truth.SUPPORT.get(kind, np.inf)
        half = brentq(lambda x, kind=kind: truth.phi(kind, x) - 0.5, 0.1, 9.0)
        assert float(fwhm) == pytest.approx(2 * half, abs=6e-5)
        assert float(area) == pytest.approx(2 * quad(truth.RADIAL[kind], 0, end)[0], abs=6e-5)
        assert support == ("∞" if np.isinf(end) else f"{end:g}")


def _orders(basis):
    allowed = []
    for order in range(3):
        try:
            drt.Tikhonov(basis=basis, order=order)
        except InputError:
            continue
        allowed.append(order)
    return allowed


def test_the_table_of_statuses_is_complete():
    rows = {row[0].strip("`"): int(row[1]) for row in table("docs/theory.md", "flag")}
    assert rows == {flag.name: int(flag) for flag in drt.Status if flag}
    stored = {row[1].strip("`"): int(row[0]) for row in table("docs/format.md", "bit of `status`")}
    assert stored == {flag.name.lower(): int(flag) for flag in drt.Status if flag}


def test_the_table_of_symbols_has_the_units_of_the_code():
    rows = {row[0].strip("`"): row[1:] for row in table("docs/theory.md", "word in code")}
    assert rows["tau"][-1] == "s"
    for told in RESULT_FIELDS:
        shape = "(K, M)" if told.by_tau else "(K,)"
        assert rows[told.name] == [told.symbol, shape, (told.units or "").replace("ohm", "Ω")]
    fixed = re.search(r"have fixed units: (.*?)\. `cell`", read("docs/theory.md"), re.DOTALL)[1]
    units = dict(re.findall(r"`(\w+)`\s+([^,\s]+)", fixed))
    assert {name: unit.replace("°C", "degC").replace("²", "2") for name, unit in units.items()} == STATE_UNITS


def test_the_api_page_has_every_public_name():
    page = read("docs/api.rst")
    documented = set(re.findall(r"^\.\. auto\w+:: (?:[\w.]+\.)?(\w+)$", page, re.MULTILINE))
    packages = (drt, simulate, plotting, hdf5, jobs, readers, validation, tracking, peaks, errors)
    public = {name for package in packages for name in package.__all__}
    assert public - documented == set()


def test_the_states_of_each_format_are_those_that_the_readers_declare():
    declared = {name: reader.states for name, reader in readers.READERS.items()}
    assert read("docs/states.md").endswith("\n\n" + states_table(declared))
    named = {row[0].strip("`") for row in table("docs/import.md", "reader")}
    assert named == set(readers.READERS)
