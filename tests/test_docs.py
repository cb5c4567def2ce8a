"""What the documentation says is so: its code runs and prints what it shows, its tables are those of the code."""

import contextlib
import io
import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
import tomllib
import types
import warnings
from functools import cache
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
from .watch import instrument

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
COMMANDS = (  # pages without Python that prepares what their commands need
    "CONTRIBUTING.md",
    "docs/benchmarks.md",
    "docs/cluster.md",
    "docs/explore.md",
    "docs/report.md",
    "docs/watch.md",
)
RECIPES = ("docs/add-method.md", "docs/add-reader.md", "docs/add-criterion.md")  # tests/test_recipes.py follows them
MADE = {"docs/architecture.md": "text"}  # tests/test_package.py holds the picture against the layers
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHECKED = {  # what is not run as it stands, and why
    "pip": "packages come from a network: the extra is one of the project",
    "make": "makes an environment, which takes minutes: the target is one of the Makefile, which make -n understands",
    "demo": "a campaign of 1056 spectra: tests/test_cli.py runs it with fewer voltages; its options are read",
    "explore": "serves until it is stopped: it is made ready to answer, and ends there",
    "watch": "follows until it is stopped: --once is added",
    "benchmarks": "take minutes to hours: run with fewer seeds and spectra, and without other tools",
}
SMALLER = {"docs/gallery.md": ("voltages=14", "voltages=7")}  # prints nothing; its pictures are of all voltages
REDUCED = {"accuracy.py": {"--seeds": "1", "--set": "task"}, "third_party.py": {"--every": "1000"}}


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
    """Run each line of a block, or check it where `CHECKED` says why, and return the output; others are errors."""
    said = ""
    for words in filter(None, (shlex.split(line, comments=True) for line in code.splitlines())):
        if words[0] == "drt-engine":
            said += run_engine(words[1:])
        elif words[:3] == ["python", "-m", "pip"] or words[0] == "pip":
            (what,) = words[words.index("install") + 1 :]
            extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
            assert set(re.fullmatch(r"\.\[([\w,]+)\]", what)[1].split(",")) <= {*extras}, what
        elif words[0] == "make":
            (target,) = words[1:]
            subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
        elif words[0] == "python" and words[1].startswith("benchmarks/"):
            run_benchmark(*words[1:])
        elif words[0] == "dask":
            run_dask(words[1:])
        else:
            raise AssertionError(f"no way is known to run {shlex.join(words)!r} or to check it")
    return said


def run_engine(words):
    from drt_engine.cli import app

    if words[0] == "demo":
        import typer

        typer.main.get_command(app).commands["demo"].make_context("demo", words[1:])  # parses, and runs nothing
        return ""
    words = [sys.executable + word.removeprefix("python") if word.startswith("python ") else word for word in words]
    words = [HERE if word == NODE else word for word in words]
    outcome = CliRunner().invoke(app, [*words, *(["--once"] if words[0] == "watch" else [])])
    assert outcome.exit_code == 0, f"{shlex.join(words)}\n{outcome.output}\n{outcome.exception!r}"
    return outcome.output


def run_benchmark(script, *options):
    """Run a script of benchmarks with other numbers, after its own have been read."""
    reduced = REDUCED[Path(script).name]
    assert all(f'"{option}"' in read(script) for option in options if option.startswith("--")), script
    pairs = zip(*2 * [iter(word for word in options if word != "--peers")], strict=True)
    words = [word for pair in (dict(pairs) | reduced).items() for word in pair]
    if "DRT_ENGINE_DATA" not in os.environ and "third_party" in script:
        return
    assert len(benchmark(script, *words).splitlines()) > 5


@cache
def benchmark(*words):
    """What a script prints, in this process; with its numbers reduced, lines of a page may be the same."""
    script, printed, before = ROOT / words[0], io.StringIO(), {*sys.modules}
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("default")
        patched.setattr("sys.argv", [str(script), *words[1:]])
        patched.syspath_prepend(script.parent)  # where Python looks first for what a script imports
        try:
            runpy.run_path(str(script), run_name="__main__")
        finally:
            for name in {*sys.modules} - before:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(str(script.parent)):
                    del sys.modules[name]
    return printed.getvalue()


BACKGROUND = []  # scheduler and workers, which run until the page is done
NODE = "tcp://node1:8786"


def run_dask(words):
    """Start a scheduler or workers, as few as do, in the background."""
    words = [{"16": "1", NODE: HERE, "8786": str(PORT)}.get(word, word) for word in words]
    quiet = (
        ["--no-dashboard", "--dashboard-address", ":0"]
        if words[0] == "scheduler"
        else ["--no-dashboard", "--no-nanny", "--death-timeout", "60"]
    )
    command = [sys.executable, "-W", "ignore", "-m", "dask", *words, *quiet]
    BACKGROUND.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


PORT = free_port()
HERE = f"tcp://127.0.0.1:{PORT}"


@contextlib.contextmanager
def nothing_left_behind():
    """End what a page has started."""
    try:
        yield
    finally:
        while BACKGROUND:
            process = BACKGROUND.pop()
            process.terminate()
            process.wait(30)


def same_text(printed, shown):
    return [line.rstrip() for line in printed.rstrip().splitlines()] == [
        line.rstrip() for line in shown.rstrip().splitlines()
    ]


def saved_empty(figure, path, **options):
    """Make the file of a figure: to draw it, and to place its parts, takes longer than all else, and has tests."""
    figure.canvas.get_supported_filetypes()[options["format"]]
    Path(path).touch()


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_code_runs_and_prints_what_the_page_shows(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", saved_empty)
    for module in ("canvas", "equal_axes"):
        monkeypatch.setattr(f"drt_engine.plotting.{module}.arrange", lambda _: None)
    namespace = {"__name__": "page"}
    printed = ""
    large, small = SMALLER.get(name, ("", ""))
    assert large in read(name)
    for language, shown, line in code_blocks(name):
        code = shown.replace(large, small)
        if language == "python":
            # Empty lines before it, so that a traceback has the line numbers of the page.
            exec(compile("\n" * (line - 1) + code, name, "exec"), namespace)
            printed = capsys.readouterr().out
        elif language == "sh":
            run_commands(code)
        elif language == "console":  # on files of the reader's own, here beside what the page has made
            place = tmp_path / "elsewhere"
            (place / "measured").mkdir(parents=True)
            (place / "measured" / "A_1.mpt").write_bytes(instrument.mpt(0))
            monkeypatch.chdir(place)
            run_commands(code)
            monkeypatch.chdir(tmp_path)
        elif language == "toml":
            (tmp_path / "job.toml").write_text(code, encoding="utf-8")
            run_commands("drt-engine invert job.toml --overwrite --workers 1")  # tests/jobs has several
        elif language == "text":
            assert same_text(printed, code), f"{name}, line {line}, printed:\n{printed}"
    assert "drt" in namespace


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_of_a_page_run(name, tmp_path, monkeypatch):
    """On a small campaign that is inverted, and on files of an instrument."""
    spectra = simulate.campaign(simulate.CampaignDesign(cycles=(1, 3), voltages=4)).spectra
    drt.write_spectra(tmp_path / "campaign.h5", spectra)
    drt.invert_file(tmp_path / "campaign.h5", tmp_path / "campaign.drt.h5")
    monkeypatch.chdir(tmp_path)
    said = ""
    with nothing_left_behind(), PREPARED.get(name, contextlib.nullcontext)(monkeypatch):
        for language, code, line in code_blocks(name):
            if language in ("sh", "console"):
                if "watch" in code:
                    measure(Path("measurements"))
                said += run_commands(code)
            elif language == "python":  # makes the file that the commands before it have made
                (tmp_path / "campaign.drt.h5").unlink()
                exec(compile("\n" * (line - 1) + code, name, "exec"), {"__name__": "__main__"})
            else:
                # Lines as they are printed, but for numbers and names.
                assert language == "text"
                shape = re.sub(r"[\d.+-]+", "#", code[code.index("sweep") :].strip())
                assert shape in {re.sub(r"[\d.+-]+", "#", one[one.find("sweep") :]) for one in said.splitlines()}, said
    for file in LEFT.get(name, ()):
        assert (tmp_path / file).stat().st_size > 0


def measure(folder):
    """Add two files of an instrument, with R_pol that grows by 20 % of the first from each to the next."""
    there = len([*folder.iterdir()])
    for number in (there, there + 1):
        (folder / f"A_{number}.mpt").write_bytes(instrument.mpt(100 * number))


@contextlib.contextmanager
def watched(monkeypatch):
    """A folder that an instrument writes into, and a program for alarms."""
    Path("measurements").mkdir()
    Path("mail.py").write_text("import os\nopen('mailed', 'a').write(os.environ['DRT_ALARM'])\n")
    Path("campaign.h5").unlink()
    Path("campaign.drt.h5").unlink()
    yield


@contextlib.contextmanager
def served(monkeypatch):
    pytest.importorskip("panel")
    found = []
    monkeypatch.setattr("drt_engine.cli.explore._run", lambda served, *, browser: found.append((served, browser)))
    yield
    ((ready, browser),) = found
    assert browser
    assert ready.address.startswith("http://127.0.0.1")


@contextlib.contextmanager
def on_few_processors(monkeypatch):
    """A batch system that gives this machine alone."""
    Path("campaign.drt.h5").unlink()
    distributed = pytest.importorskip("distributed")
    begun = []

    class Batch(distributed.LocalCluster):
        def __init__(self, cores, processes, memory, walltime, queue):
            assert (cores, walltime, queue, memory) == (processes, "02:00:00", "short", "8GB")
            few = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
            super().__init__(**few, dashboard_address=":0", silence_logs=50)
            begun.append(self)

        def adapt(self, minimum_jobs, maximum_jobs):
            assert minimum_jobs < maximum_jobs

    module = types.ModuleType("dask_jobqueue")
    module.SLURMCluster = Batch
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    try:
        yield
    finally:
        for cluster in begun:  # as the end of the script does
            cluster.close()


PREPARED = {"docs/watch.md": watched, "docs/explore.md": served, "docs/cluster.md": on_few_processors}
LEFT = {
    "docs/watch.md": ("campaign.h5", "campaign.drt.h5", "mailed"),
    "docs/report.md": ("report.html",),
    "docs/cluster.md": ("campaign.drt.h5",),
}


def test_every_block_of_every_page_is_run_or_checked():
    known = {
        **{name: {"python", "sh", "console", "toml", "text"} for name in PAGES},
        **{name: {"sh", "console", "python", "text"} for name in COMMANDS},
        **{name: {"diff", "none", "python", "sh"} for name in RECIPES},
        **{name: {language} for name, language in MADE.items()},
    }
    for path in (*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        blocks = code_blocks(name)
        assert {language for language, _, _ in blocks} <= known.get(name, set()), name
        # No fence that `code_blocks` does not find has code in it.
        fences = re.findall(r"^[ \t]*(?:```|~~~)(.*)\n((?:.*\n)??)", text, re.MULTILINE)[::2]
        assert len([of for of, _ in fences if of]) == len(blocks) + text.count("```{toctree}"), name
        assert not [code for of, code in fences if not of and re.match(r"drt-engine|pip|python|make|import|from", code)]


def test_commands_that_nobody_knows_fail():
    for code in ("rm -rf x", "drt-engine inverts a.h5", "pip install '.[bio]'", "pip install 'drt-engine[report]'"):
        with pytest.raises((AssertionError, TypeError)):
            run_commands(code)
    with pytest.raises(subprocess.CalledProcessError):
        run_commands("make everythings")


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
    # Without the index of words, which looks at nothing that the pages do not show.
    lines = (
        "import sys, sphinx.builders.html as html, sphinx.cmd.build as build",
        "html.StandaloneHTMLBuilder.search = False",
        "sys.exit(build.main(sys.argv[1:]))",
    )
    options = ["-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", tmp_path / "html"]
    command = [sys.executable, "-c", "; ".join(lines), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
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
