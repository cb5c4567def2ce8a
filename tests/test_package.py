"""What a user meets before anything is computed."""

import ast
import importlib
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import drt_engine as drt

ROOT = Path(__file__).parents[1]


def modules_after(code):
    listing = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listing.stdout.split())


def test_importing_is_light():
    loaded = modules_after("import drt_engine")
    assert not loaded & {"cvxpy", "numba", "matplotlib", "scipy", "pandas", "h5py"}


def test_spectra_and_methods_need_no_solver():
    loaded = modules_after("import drt_engine as drt; drt.Spectra([1, 2, 3, 4, 5], [1] * 5); drt.Tikhonov()")
    assert not loaded & {"cvxpy", "matplotlib"}


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


def functions():
    """Every function of the product with its name, its lines without docstring, and how many parameters it names."""
    for path in (file for folder in ("drt_engine", "kernels") for file in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
    # One loop over one state each, compiled; and two that work in memory which their caller hands them.
    assert {name for name, lines, _ in found if lines > 60} <= {"violations.examine"}
    assert {name for name, _, parameters in found if parameters > 8} <= {"curvature.assemble", "curvature.leverages"}
