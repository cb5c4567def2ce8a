"""What a user meets before anything is computed."""

import ast
import importlib
import io
import pickle
import re
import subprocess
import sys
import tokenize
import tomllib
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

import drt_engine as drt
from drt_engine.text import count_of

ROOT = Path(__file__).parents[1]


ROOMS = "cli.invert, jobs, peaks, plotting, result, series, tracking, transport, validation"
LISTING = ("hdf5", "tables", "readers.collect", "explore.open")
LIGHT_TO_HEAVY = {
    "package": "import drt_engine",
    **{module: f"import drt_engine.{module}" for module in LISTING},
    "info": "from drt_engine.cli import app; app(['info', 'campaign.h5'], standalone_mode=False)",
    "spectra": "import drt_engine as drt; drt.Spectra([1, 2, 3, 4, 5], [1] * 5); drt.Tikhonov()",
    "result": "import drt_engine.result; drt_engine.result.Inversion",
    "rooms": "import " + ", ".join(f"drt_engine.{room}" for room in ROOMS.split(", ")),
    "computing": "from drt_kernels import peaks; peaks.find",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, noisy):
    """Modules of one process after each step: as each loads more, what a step must not load, none before it may."""
    folder = tmp_path_factory.mktemp("loaded")
    drt.write_spectra(folder / "campaign.h5", noisy)
    steps = LIGHT_TO_HEAVY | ({} if find_spec("panel") else {"explore.open": ""})
    lines = ("import sys", *(f"{code}\nprint(*sys.modules, file=open({name!r}, 'w'))" for name, code in steps.items()))
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=folder, capture_output=True, check=True)
    return {name: set((folder / name).read_text().split()) for name in steps}


INVERTING = {"cvxpy", "numba", "matplotlib", "scipy", "xarray", "drt_kernels", "drt_engine.methods"}


def test_importing_is_light(loaded):
    assert "drt_engine" in loaded["package"]
    assert not loaded["package"] & {"cvxpy", "numba", "matplotlib", "scipy", "pandas", "h5py"}


@pytest.mark.parametrize("module", LISTING)
def test_what_lists_files_and_serves_pages_does_not_load_what_inverts(loaded, module):
    if module == "explore.open" and not find_spec("panel"):
        pytest.skip("panel is missing")
    assert f"drt_engine.{module}" in loaded[module]
    assert not loaded[module] & INVERTING


def test_looking_into_a_file_does_not_load_what_inverts(loaded):
    assert {"h5py", "drt_engine.cli.info"} <= loaded["info"]
    assert not loaded["info"] & INVERTING


def test_reading_a_result_does_not_load_what_computes(loaded):
    assert {"drt_engine.result.inversion", "drt_engine.methods.log_gaussian"} <= loaded["result"]
    assert not loaded["result"] & {"numba", "scipy.special", "scipy.linalg", "scipy.optimize"}


def test_numba_is_loaded_when_something_is_computed(loaded):
    assert {"drt_kernels", "drt_engine.methods.log_gaussian", "drt_engine.validation.single"} <= loaded["rooms"]
    assert "numba" not in loaded["rooms"]
    assert "numba" in loaded["computing"]


def test_spectra_and_methods_need_no_solver(loaded):
    assert {"drt_engine.spectra", "drt_engine.methods.tikhonov"} <= loaded["spectra"]
    assert not loaded["spectra"] & {"cvxpy", "matplotlib"}


@pytest.mark.parametrize("name", drt.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert len(getattr(drt, name).__doc__) > 20
    assert name in dir(drt)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'Tichonov'"):
        drt.Tichonov  # noqa: B018 - the access is what is tested


def test_errors_cross_process_boundaries():
    error = drt.UnknownNameError("basis", "gauss", ["gaussian", "cauchy"])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "basis 'gauss' is not known; expected one of 'gaussian', 'cauchy'."
    assert isinstance(again, drt.UnknownNameError)


def test_the_picture_of_the_layers_is_current(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs"))
    architecture = importlib.import_module("architecture")
    assert architecture.PAGE.read_text(encoding="utf-8") == architecture.page()


def test_what_is_said_beside_the_code_fits_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    workflow = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    versions = re.findall(r'"(3\.\d+)"', workflow.partition("python: [")[2].partition("]")[0])
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert named
    assert set(named) <= set(versions)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for target in {*re.findall(r"\bmake (\w+) PYTHON", workflow), *re.findall(r"^make (\w+)", page, re.MULTILINE)}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_who_drops_files_into_the_explorer_has_what_reads_them():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {*extras["biologic"], *extras["excel"]} <= set(extras["explore"])


def product_files():
    return (file for folder in ("drt_engine", "kernels") for file in sorted((ROOT / folder).rglob("*.py")))


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(node):
    """Every statement within, without the expressions, which are far more."""
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for one in getattr(node, block, ()):
            yield one
            yield from statements(one)


def functions():
    """Every function of the product with its name, its lines without docstring, and how many parameters it names."""
    for path in product_files():
        for node in statements(parsed(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first = node.body[0]
            # A command lists its options one by one, with their help, before its docstring: these are no statements.
            begin = first.lineno if "cli" in path.parts and ast.get_docstring(node) else node.lineno
            docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
            named = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            parameters = 0 if "cli" in path.parts else len({*named} - {"self", "cls"})
            yield f"{path.stem}.{node.name}", node.end_lineno - begin + 1 - docstring, parameters


def test_functions_are_short_and_take_few_parameters():
    found = list(functions())
    assert len(found) > 2000
    assert [name for name, lines, _ in found if lines > 60] == []
    assert [name for name, _, parameters in found if parameters > 8] == []


def is_number(node):
    """Whether an expression is a number, an array or tuple of numbers, or computed from them by numpy or math."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float | complex) and not isinstance(node.value, bool)
    if isinstance(node, ast.UnaryOp):
        return is_number(node.operand)
    if isinstance(node, ast.BinOp):
        return is_number(node.left) or is_number(node.right)
    if isinstance(node, ast.Tuple | ast.List):
        return bool(node.elts) and all(map(is_number, node.elts))
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).partition(".")[0] in ("np", "math", "range") and any(map(is_number, node.args))
    return False


def constants(text, tree):
    """Numbers with names in capitals that a file begins with, and whether something is said of each.

    That is a comment on its lines or directly above, or a string directly below.
    """
    lines, body = text.splitlines(keepends=True), tree.body
    numbers = [
        (node, after)
        for node, after in pairwise([*body, None])
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and is_number(node.value)
    ]
    head = io.StringIO("".join(lines[: max((node.end_lineno for node, _ in numbers), default=0)]))
    comments = {t.start[0] for t in tokenize.generate_tokens(head.readline) if t.type == tokenize.COMMENT}
    for node, after in numbers:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = re.findall(r"\w+", " ".join(map(ast.unparse, targets)))
        if not all(re.fullmatch("_?[A-Z][A-Z0-9_]*", name) for name in names):
            continue
        above = node.lineno - 1 in comments and lines[node.lineno - 2].startswith("#")
        below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        within = not comments.isdisjoint(range(node.lineno, node.end_lineno + 1))
        yield ", ".join(names), above or below or within


def test_numbers_at_the_head_of_a_file_have_a_reason():
    text = "A = 1\n_B: float = -2e-3\n\n# why\nC = 2\nD, E = 1, np.sqrt(2)  # why\nF = 3\n'why'\ng = 1\nH = f(1)\n"
    assert [*constants(text, ast.parse(text))] == [
        ("A", False),
        ("_B", False),
        ("C", True),
        ("D, E", True),
        ("F", True),
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in product_files()}
    found = [(path.stem, *one) for path, text in texts.items() for one in constants(text, parsed(path))]
    assert len(found) > 400
    assert [(stem, name) for stem, name, said in found if not said] == []


NOUNS = (
    "alarms cells columns elements files headings inversions lines measurements observations peaks points processes "
    "rows spectra states sweeps values"
).replace(" ", "|")
ALWAYS_SEVERAL = {
    "beside",  # a table of several spectra beside each other
    "columns over rows",  # more columns than rows have cells, which are three at least
    "columns\"",  # none and one are said before
    "make",  # points out of order: more than five
    "Trace(",  # two points at least
    "positive at all",  # the points of a sweep: more than four
    "values)",  # more values than are listed
    "Fitting",  # more than some
    "observations.py",  # more rows than there are spectra
    "inverted together",  # more than intervals are computed of on a click
    "all {len(found)} cells",  # more than are told apart by colours
}  # fmt: skip


def test_what_is_counted_in_messages_has_a_singular():
    assert count_of(1, "row") == "1 row"
    assert [count_of(n, "DC row") for n in (0, 2.0)] == ["0 DC rows", "2 DC rows"]
    assert [count_of(3, one) for one in ("valid spectrum", "process", "frequency")] == [
        "3 valid spectra", "3 processes", "3 frequencies"
    ]  # fmt: skip
    assert [count_of(n, "file was", "files were") for n in (1, 2)] == ["1 file was", "2 files were"]
    assert [count_of(n, "spectrum", thousands=",") for n in (1, 10**6)] == ["1 spectrum", "1,000,000 spectra"]
    counts = r"(?:len\([^{}]*\)|[^{}]*\.size|[^{}]*\.sum\(\)|[^{}]*count_nonzero\([^{}]*\)|n|count|short|lost|left)"
    told = re.compile(rf"(?<! of )\{{{counts}(?::,)?\}} (?:{NOUNS})\b")
    page = (ROOT / "drt_engine" / "report" / "page.html").read_text(encoding="utf-8")
    assert re.findall(rf"[^{{}}]*\}}\}} (?:{NOUNS})\b", page) == []
    assert re.findall(r"\|counted\('spectrum'\)", page) != []
    for path in product_files():
        if not {"simulate", "transport"} & {*path.parts}:
            for line in filter(told.search, path.read_text(encoding="utf-8").splitlines()):
                assert any(words in line or words == path.name for words in ALWAYS_SEVERAL), (path.name, line.strip())
