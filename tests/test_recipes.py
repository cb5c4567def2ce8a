"""The recipes of the documentation, followed to the letter in a copy of the project."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEP = re.compile(
    r"(?:^(?P<how>A new file,|At the end of|In) `(?P<path>[^`\n]+)`:\n\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def copy(tmp_path):
    """What a change is made in; kernels are those of the project all the same, so that nothing is compiled again.

    Nor are other files, of which what Python has compiled is copied as well.
    """
    for folder, without in (("drt_engine", ()), ("kernels", ("__pycache__",)), ("tests", ()), ("docs", ("_build",))):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns(*without))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def changed(text, diff):
    """Put lines with + in the place of those with -, where both and the lines between them stand in the text once."""
    lines = diff.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] in marks) for marks in (" -", " +"))
    assert before != after
    assert text.count(before) == 1, f"{text.count(before)} places for:\n{before}"
    return text.replace(before, after)


def run(folder, *command):
    path = os.pathsep.join(str(place) for place in (folder, ROOT / "kernels"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=clean | {"PYTHONPATH": path},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def follow(page, folder):
    """Do each step of a page; return how many there are, what its tests said, and which files of code it changed."""
    steps, told, code_of = 0, [], {}
    for step in STEP.finditer((ROOT / "docs" / page).read_text(encoding="utf-8")):
        how, language, code = step["how"], step["language"], step["code"]
        place = folder / (step["path"] or "")
        if language == "none":
            continue
        steps += 1
        if place.suffix == ".py":
            code_of[step["path"]] = None
        if how == "A new file,":
            assert not place.exists()
            place.write_text(code, encoding="utf-8")
        elif how == "At the end of":
            place.write_text(f"{place.read_text(encoding='utf-8')}\n\n{code}", encoding="utf-8")
        elif how == "In":
            assert language == "diff"
            place.write_text(changed(place.read_text(encoding="utf-8"), code), encoding="utf-8")
        elif language == "python":
            run(folder, "-c", code)
        else:
            assert language == "sh"
            for line in code.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "pytest"
                told.append(run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments))
    return steps, told, [*code_of]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "steps", "tests"),
    [("add-method.md", 7, (3, 9)), ("add-reader.md", 7, (6, 3)), ("add-criterion.md", 8, (11,))],
)
def test_a_recipe_can_be_followed(copy, page, steps, tests):
    done, told, files = follow(page, copy)
    assert done == steps
    for output, least in zip(told, tests, strict=True):
        passed = re.search(r"(\d+) passed", output)
        assert int(passed[1]) >= least, output
        assert "failed" not in output
    assert len(files) > 2
    assert "All checks passed" in run(copy, "-m", "ruff", "check", "--no-cache", *files)
    run(copy, "-m", "ruff", "format", "--no-cache", "--check", *files)


def test_a_step_that_does_not_fit_the_code_fails():
    assert changed("a\nb\nc\n", " a\n-b\n+d\n") == "a\nd\nc\n"
    with pytest.raises(AssertionError, match="0 places for"):
        changed("a\nb\n", " b\n+c\n a\n")
    with pytest.raises(AssertionError, match="2 places for"):
        changed("a\na\n", " a\n+b\n")
