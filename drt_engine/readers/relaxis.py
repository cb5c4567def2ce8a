"""rhd instruments RelaxIS 3 text export.

The first line says ``RelaxIS 3.0 Spectrum export``. Spectra stand side by side or one below the other; each has a line
of headings (``Data: Frequency``, ``Data: Z'``, ``Data: Z''``, ``Data: |Z|``, ``Data: Theta (Z)``) and a line that holds
what it was measured at (``DC=-0.080042, TM=33.741076, J=-5E-6, FV2=1``), the model and the name of the spectrum.
Z'' is Im Z, negative for a capacitor, as Theta confirms; every row is checked against |Z| and Theta.

DC is the mean potential (V) and becomes ``voltage``; TM is the mean time of the sweep (s) and becomes ``time``: both
were checked against an EC-Lab original, of which J is the mean current as the original has it, in mA. RelaxIS writes no
units, so J and all others keep their names and numbers.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from drt_engine.readers.base import ReadOptions, Recording, Sweep
from drt_engine.readers.header import header_number, refuse_second, sweep_recording
from drt_engine.readers.point_checks import points_of
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import State, stated
from drt_engine.readers.text import TextFile, TextTable, head_text, is_number, read_text, table_below

__all__ = ["READER", "RelaxIS"]

_FIRST = re.compile(r"RelaxIS \S+ Spectrum export", re.IGNORECASE)
_FREQUENCY = "Data: Frequency"
_NAMES = {"DC": "voltage", "TM": "time"}


@dataclass(frozen=True)
class _Block:
    """Where spectra that stand side by side are: lines of headings and of what they were measured at, rows."""

    heading: int
    info: int | None
    first: int
    stop: int


@dataclass(frozen=True)
class RelaxIS:
    """Reader of RelaxIS text exports."""

    name: str = "relaxis"
    title: str = "RelaxIS 3 text export (.txt)"
    suffixes: tuple[str, ...] = (".txt",)
    states: tuple[State, ...] = (
        State("voltage", "DC, mean of the sweep"),
        State("time", "TM, mean of the sweep"),
        State("temperature", "column of that name", "heading"),
        State("name", "cell behind the model", ""),
        State("J, FV2, ...", "other pairs of key and value, under their own names", ""),
    )

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (part of the protocol)
        """Say whether the file begins as RelaxIS exports do."""
        return any(_FIRST.match(line) for line in head_text(head).splitlines()[:3])

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read all spectra.

        Raises
        ------
        FileFormatError
            For a file without spectra, and damage.
        """
        text = read_text(path, options)
        refuse_second(text, _FIRST)
        sweeps, remarks = list[Sweep](), list[str]()
        for block in _blocks(text):
            for rows, cells in _spectra(text, block, options):  # each a measurement of its own, on a grid of its own
                info, notes = _info(cells)
                done = sweep_recording(rows, self.name, states=info, remarks=notes)
                sweeps += done.sweeps
                remarks += [f"spectrum in line {rows.lines[0]}: {remark}" for remark in done.remarks]
        if not sweeps:
            raise text.error(
                len(text.lines),
                "no line of headings with 'Data: Frequency': the export holds no spectra, or is cut before them.",
            )
        date = next((line.partition(":")[2].strip() for line in text.lines[:5] if line.startswith("Date:")), "")
        metadata = {"software": text.lines[0].partition(" Spectrum")[0], "exported": date}
        return Recording(path.name, self.name, tuple(sweeps), tuple(remarks), metadata, True)


READER = RelaxIS()


def _blocks(text: TextFile) -> Iterator[_Block]:
    starts = [n for n, line in enumerate(text.lines, start=1) if line.strip().startswith(_FREQUENCY)]
    infos = [n for n, line in enumerate(text.lines, start=1) if re.match(r"\s*\w+=\S", line) or "\tModel:" in line]
    for heading, end in pairwise([*starts, len(text.lines) + 1]):
        own = infos[bisect_left(infos, heading) : bisect_left(infos, end)]
        if not own or own[0] != heading + 1:
            own.insert(0, 0)
        for info, stop in zip(own, [*own[1:], end], strict=True):  # one line of headings may serve several spectra
            yield _Block(heading, info or None, (info or heading) + 1, stop)


def _spectra(text: TextFile, block: _Block, options: ReadOptions) -> Iterator[tuple[Rows, list[str]]]:
    headings = [cell.strip() for cell in text.lines[block.heading - 1].rstrip("\t ").split("\t")]
    begins = [i for i, name in enumerate(headings) if name == _FREQUENCY]
    if not begins:
        raise text.error(block.heading, f"a line of headings without {_FREQUENCY!r} as a cell: the line is damaged.")
    cells = [cell.strip() for cell in text.lines[block.info - 1].split("\t")] if block.info else []
    table = table_below(
        text, block.heading, headings=headings, skip=block.first - block.heading - 1, stop=block.stop, options=options
    )
    if len(begins) == 1:
        yield points_of(table, block.heading), cells
        return
    grid = [table.cells(row) for row in range(len(table))]
    for begin, end in zip(begins, [*begins[1:], len(headings)], strict=True):
        yield points_of(_columns(table, grid, begin, end), block.heading), cells[begin:end]


def _columns(table: TextTable, grid: list[list[str]], begin: int, end: int) -> TextTable:
    """Return some columns as a table of their own; shorter spectra are filled up with empty cells at their end."""
    filled = [n for n, row in enumerate(grid, start=1) if any(row[begin:end])]
    size = filled[-1] if filled else len(grid)
    lines = list(table.text.lines)
    for line, row in zip(table.lines[:size], grid, strict=False):
        lines[line - 1] = "\t".join(row[begin:end])
    text = replace(table.text, lines=tuple(lines))
    return replace(table, text=text, headings=table.headings[begin:end], lines=table.lines[:size], delimiter="\t")


def _info(cells: list[str]) -> tuple[dict[str, object], list[str]]:
    """Return what the line above a spectrum says of it, and remarks."""
    info, remarks = dict[str, object](), list[str]()
    for pair in re.split(r",\s+", cells[0] if cells else ""):
        key, sign, value = (part.strip() for part in pair.partition("="))
        if sign and key in _NAMES:
            info[_NAMES[key]], notes = stated(_NAMES[key], value)
            remarks += notes
        elif sign and key:
            number = header_number(value) if is_number(value) else None
            info[key] = value if number is None else number
    others = [cell for cell in cells[1:] if cell]
    names = [cell for cell in others if not cell.startswith("Model:")]
    return info | ({"name": names[0]} if names else {}), remarks
