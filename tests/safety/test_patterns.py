"""Regular expressions against texts that are made for them: time grows with the text, and no faster."""

import ast
import re
import time
from pathlib import Path

import pytest
from rich.highlighter import ReprHighlighter

import drt_engine
from drt_engine.cli.app import _text, spelled
from drt_engine.errors import DRTError
from drt_engine.hdf5 import schema
from drt_engine.jobs import journal
from drt_engine.readers import (  # fmt: skip
    autolab,
    biologic_mpt,
    ch_instruments,
    gamry,
    header,
    headings,
    named,
    parstat,
    point_checks,
    powersuite,
    relaxis,
    text,
    versastudio,
    zplot,
)
from drt_engine.readers.file_states import NamePattern, as_numbers
from drt_engine.selection import Condition
from drt_engine.text import is_number

SMALL, LARGE, MOST = 2_500, 40_000, 1_000_000
# Sixteen times as long may take sixteen times as long; what is quadratic takes 256 times as long.
MOST_GROWTH = 64.0
FLOOR = 2e-5
MOST_SECONDS_OF_A_MILLION = 4.0


def series_along(content):
    return text._split_lines(content)


def cells_between(delimiter):
    return lambda line: text.split_cells(line, delimiter)


def states_in(pattern):
    return lambda name: NamePattern(pattern).states_of(name)


def refused(work):
    def run(content):
        try:
            work(content)
        except DRTError:
            return

    return run


def shape(cell):
    return text._shape(cell)


def in_a_tree(name):
    """What `info` prints of a grid or a setting, with colours."""
    return ReprHighlighter()(_text(name))


def mpt_fields(line):
    return biologic_mpt._metadata(("", "", line), None)


def mpt_frequency(line):
    return biologic_mpt._stated_frequency((line, "unit ff  Hz"), "ff")


PAIRS = {
    "digits and a letter": (is_number, lambda n: "1" * n + "x"),
    "digits, a point, digits and a letter": (is_number, lambda n: "1" * n + "." + "1" * n + "x"),
    "digits, a comma, digits and a letter": (is_number, lambda n: "1" * n + "," + "1" * n + "x"),
    "a long exponent": (is_number, lambda n: "1e" + "1" * n),
    "many points": (is_number, lambda n: "1." * n),
    "a header's digits": (header.header_number, lambda n: "1" * n + "!"),
    "a header's blanks": (header.header_number, lambda n: "1" + " " * n + "!"),
    "a header's unit": (header.header_number, lambda n: "1 " + "k" * n + "!"),
    "a header's blanks in front": (header.header_number, lambda n: " " * n + "x"),
    "a heading of blanks": (headings.meaning_of, lambda n: "a" + " " * n + "a"),
    "a heading of blanks and a stroke": (headings.meaning_of, lambda n: "a /" + " " * n + "/"),
    "a heading of strokes": (headings.meaning_of, lambda n: "a" + " /" * n),
    "a heading of brackets": (headings.meaning_of, lambda n: "a" + "(" * n),
    "a heading of brackets and blanks": (headings.meaning_of, lambda n: "a" + " (" * n + ")"),
    "a heading of commas": (headings.meaning_of, lambda n: "a" + " ," * n),
    "a heading of underscores": (headings.meaning_of, lambda n: "a" + "_" * n + "a b"),
    "a heading of words": (headings.meaning_of, lambda n: "a_ " * n + "b"),
    "a heading of data:": (headings.meaning_of, lambda n: " " * n + "data:" + " " * n),
    "returns": (series_along, lambda n: "\r" * n),
    "returns and a letter": (series_along, lambda n: "\r" * n + "a"),
    "returns and line feeds": (series_along, lambda n: "\r\r\n" * n),
    "a quotation mark and tabs": (cells_between("\t"), lambda n: 'a"' + "\t" * n + "b"),
    "a quotation mark, commas and blanks": (cells_between(","), lambda n: 'a"' + ", " * n + "b"),
    "quotation marks": (cells_between(";"), lambda n: '"' * n),
    "a shape of digits": (shape, lambda n: "1" * n + "-" * n),
    "EC-Lab's title and returns": (biologic_mpt._MAGIC.match, lambda n: "EC-Lab ASCII FILE" + "\r" * n + "a"),
    "EC-Lab's title and line feeds": (biologic_mpt._MAGIC.match, lambda n: "EC-Lab ASCII FILE" + " \r\n" * n + "a"),
    "EC-Lab's technique in front of blanks": (mpt_fields, lambda n: "Impedance" + " " * n + "a"),
    "EC-Lab's technique after blanks": (mpt_fields, lambda n: " " * n + "a"),
    "EC-Lab's techniques": (mpt_fields, lambda n: "Impedance " * n + "a"),
    "EC-Lab's device": (mpt_fields, lambda n: "Device : " + " a" * n),
    "EC-Lab's comments": (mpt_fields, lambda n: "Comments : " + " " * n + "a" + " " * n + "b"),
    "EC-Lab's mass": (mpt_fields, lambda n: "Mass" + " : 1" * n + " mg"),
    "EC-Lab's frequency": (mpt_frequency, lambda n: "ff  " + " " * n + "1" + " " * n + "x"),
    "PowerSuite's tabs": (powersuite._HEADINGS.match, lambda n: "Frequency" + "\t" * n + "x"),
    "PowerSuite's tabs twice": (powersuite._HEADINGS.match, lambda n: f"Frequency{chr(9) * n}Zre{chr(9) * n}x"),
    "Nova's headings": (autolab._NOVA.match, lambda n: "Index," + "Frequency (Hz)" * n + "Z'" * n),
    "Nova's delimiters": (autolab._NOVA.match, lambda n: "Index" + "\t" * n + "Frequency (Hz)"),
    "Autolab's first line": (autolab._Z60W.match, lambda n: "-" * n + "Z60"),
    "ZPlot's headings": (zplot._HEADINGS.match, lambda n: "freq (H" * n + "Z'(" * n),
    "ZPlot's first line": (zplot._QUOTED.match, lambda n: 'ZView"' + "Data Fil" * n),
    "Gamry's field": (gamry._FIELD.match, lambda n: "A" * n + "\t" + "A" * n + "!"),
    "Gamry's curve": (gamry._CURVE.match, lambda n: "ZCURVE" + "1" * n + "\tTABLE" + "\t" * n + "x"),
    "CH Instruments' technique": (ch_instruments._TECHNIQUE.match, lambda n: "IMP" + "a" * n + " " * n + "!"),
    "CH Instruments' headings": (ch_instruments._HEADINGS.match, lambda n: "Freq/Hz " * n),
    "PARSTAT's headings": (parstat._HEADINGS.match, lambda n: "Frequency (Hz)Zre (ohms)" * n),
    "VersaStudio's element": (versastudio._OPEN.match, lambda n: "<" + "a" * n + ">" + " " * n + "x"),
    "RelaxIS' first line": (relaxis._FIRST.match, lambda n: "RelaxIS " + "a" * n + " Spectrum expor"),
    "a damaged exponent": (
        lambda cell: re.search(_pattern_in(point_checks, r"[eEdD]"), cell),
        lambda n: "1e" + "0" * n + "x",
    ),
    "columns of the user": (refused(named.parse_columns), lambda n: "re=" + "1" * n),
    "a file name of dashes": (states_in("{a}-{b}-{c}-{d}-{e}-{f}.txt"), lambda n: "-" * n),
    "a file name of letters": (refused(states_in("{a}x{b}x{c}x{d}")), lambda n: "x" * n + "y"),
    "a state of digits": (lambda cell: as_numbers([cell]), lambda n: "1" * n + "x"),
    "a name in a file": (schema._LEGAL.fullmatch, lambda n: "a" + " " * n),
    "a block's name": (journal._OWN.fullmatch, lambda n: "results-" + "1" * n + "-" + "1" * n),
    "a name in a tree": (in_a_tree, lambda n: "x" * n),
    "a number in a tree": (in_a_tree, lambda n: "1" * n),
    "a path in a tree": (in_a_tree, lambda n: "/a" * n),
    "columns of a message": (spelled, lambda n: "columns='" + "'" * n + "="),
    "columns of a message and letters": (spelled, lambda n: "columns='" + "a'b" * n + "="),
    "columns of a message again": (spelled, lambda n: "columns='" * n),
    "a condition of quotation marks": (refused(Condition), lambda n: "cell == '" + "\\'" * n),
    "a condition of backticks": (refused(Condition), lambda n: "`" * n),
}


def _pattern_in(module, beginning):
    return next(pattern for pattern in patterns_of(Path(module.__file__)) if pattern.startswith(beginning))


def patterns_of(path):
    """Every pattern that is written in a file as it is, of the calls of ``re``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if called and isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def seconds(work, content, times=3):
    """CPU time of this thread, the least of some runs: what else the machine does is not in it."""
    taken = []
    for _ in range(times):
        begin = time.thread_time()
        work(content)
        taken.append(time.thread_time() - begin)
    return max(min(taken), FLOOR)


@pytest.mark.parametrize("name", PAIRS)
def test_time_grows_with_the_text(name):
    work, made = PAIRS[name]
    each = len(made(1000)) / 1000
    work(made(1000))
    small = seconds(work, made(int(SMALL / each)))
    assert small < 1.0
    assert seconds(work, made(int(LARGE / each))) / small < MOST_GROWTH
    assert seconds(work, made(int(MOST / each)), times=1) < MOST_SECONDS_OF_A_MILLION


RUNS = ("1", " ", "\t", "\r", "a", "_", ",", "/", ".", "-", "(", "'", '"', "1.", "a ", " \t", ",1", "e1", "A\t", "<a")


def every_pattern():
    folder = Path(drt_engine.__file__).parent
    return sorted({pattern for path in folder.rglob("*.py") for pattern in patterns_of(path)})


@pytest.mark.slow
def test_every_pattern_against_long_runs():
    """Twenty thousand characters: what is quadratic takes seconds."""
    patterns = every_pattern()
    assert len(patterns) > 45
    for pattern in patterns:
        expression = re.compile(pattern, re.IGNORECASE | re.DOTALL)
        # How a pattern begins, so that the text is not refused at its first character.
        lead = re.match(r"\^?([\w <:-]*)", pattern)[1]
        for run in RUNS:
            for first in {"", lead}:
                content = first + run * (20_000 // len(run)) + "!"
                for work in (expression.match, expression.fullmatch):
                    begin = time.thread_time()
                    work(content)
                    assert time.thread_time() - begin < 0.5, (pattern, first, run)


def test_number_of_pairs():
    assert len(PAIRS) >= 40
