"""BioLogic EC-Lab and BT-Lab text exports, .mpt or .txt."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.biologic import (
    STATES,
    Spectrum,
    joined,
    spectra_of,
    stated_area,
    with_loops,
    with_stated_start,
)
from drt_engine.readers.columns import NEEDED
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.states import State, stated, untaken_fields
from drt_engine.readers.sweeps import recording
from drt_engine.readers.text import TextFile, TextTable, head_text, is_number, read_text, split_cells, table_below
from drt_engine.text import count_of

__all__ = ["READER", "header_field", "heading_line"]

_MAGIC = re.compile(r"(?:EC|BT)-Lab ASCII FILE\s*\n")
_MISSING = frozenset({"XXX"})
_HERTZ = {"MHz": 1e6, "kHz": 1e3, "Hz": 1.0, "mHz": 1e-3, "µHz": 1e-6}
_FIELDS = {
    "technique": r"^\s*+(.*(?:Impedance|Spectroscopy).*)$",
    "instrument": r"^Device : (.*)$",
    "software": r"^(E[Cc]-L(?:AB|ab) for .*)$",
    "started": r"^(?:Technique|Acquisition) started on : (.*)$",
    "channel": r"^Run on channel : (.*)$",
    "electrode material": r"^Electrode material : *(\S.*)$",
    "electrolyte": r"^Electrolyte : *(\S.*)$",
    "comments": r"^Comments : *(\S.*)$",
}


@dataclass(frozen=True)
class BiologicText:
    """Reader of the text exports of EC-Lab and BT-Lab: PEIS, GEIS and staircase techniques, looped or not."""

    name: str = "biologic-mpt"
    title: str = "BioLogic EC-Lab or BT-Lab text (.mpt, .txt)"
    suffixes: tuple[str, ...] = (".mpt", ".txt")
    states: tuple[State, ...] = STATES

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (the content says all)
        """Say whether the file begins as EC-Lab begins its text files."""
        return bool(_MAGIC.match(head_text(head)))

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read every sweep, with the state that EC-Lab wrote in each row.

        Raises
        ------
        FileFormatError
            For a damaged file and for a technique without impedances.
        """
        text = read_text(path, options)
        heading = heading_line(text)
        header = text.lines[: heading - 1]
        table, spectra, remarks = _table(text, heading, options)
        written = header_field(header, "Electrode surface area")
        area, more = stated("area", written)
        if area and not re.search(r"\d\s*[^\d\s.,]", written or ""):
            more = (*more, f"area of {(written or '')[:40]!r} has no unit: taken as cm²")
        states, placeholder = stated_area(area)
        taken = {*_FIELDS, "Electrode surface area", "Run on channel"}
        known = {*spectra[0].rows.states, "area"}
        notes = [*more, *placeholder, *remarks, *untaken_fields(_fields(header), taken, known)]
        parts = []
        for electrode, rows in spectra:
            done = recording(
                with_loops(table, rows, _loop_starts(header)),
                self.name,
                states=states,
                metadata=_metadata(header, area),
                last=_stated_frequency(header, "ff"),
            )
            parts.append((electrode, with_stated_start(done, _stated_frequency(header, "fi"))))
        return joined(parts, notes)


def _table(text: TextFile, heading: int, options: ReadOptions) -> tuple[TextTable, list[Spectrum], tuple[str, ...]]:
    """Return the table below the headings, its spectra, and remarks.

    EC-Lab 11.5 writes more headings than cells where there is a reference electrode: an empty one, and trailing ones
    whose columns it never fills. Headings are then taken by position from the left up to the empty one. Whether that
    has a cell is decided by the impedances beyond it: |Z| and phase must agree with Re and Im.
    """
    table = table_below(text, heading, options=options)
    width = _common_width(table)
    if width is None or width >= len(table.headings):
        return table, *spectra_of(table, heading, _MISSING)
    headings = table.headings
    empty = next((i for i, name in enumerate(headings) if not name.strip()), width)
    filled = [name for name in headings if name.strip()]
    certain = [*headings[: min(empty, width)], *[""] * (width - empty)]
    best = replace(table, headings=tuple(certain))
    spectra, remarks = spectra_of(best, heading, _MISSING)
    _refuse_unchecked(text, heading, best.headings)
    for names in (headings[:width], filled[:width]):  # with a cell below the empty heading, and without
        other = replace(table, headings=(*names, *[""] * (width - len(names))))
        more, notes = spectra_of(other, heading, _MISSING)
        if len(more) > len(spectra) and all(f"|Z{of}|/Ohm" in other.headings for of in ("ce", "we-ce")):
            best, spectra, remarks = other, more, notes
    lost = [name for name in filled if name not in best.headings]
    at = f"the headings name {len(headings)} columns over rows of {width} cells: taken by position from the left"
    return best, spectra, (f"{at}{_left_out(lost)}", *remarks)


def _left_out(names: list[str]) -> str:
    if not names:
        return ""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"; left out: {', '.join(map(repr, names[:8]))}{more}"


def _common_width(table: TextTable) -> int | None:
    """Return how many cells all rows have, None if they differ or are too few to tell."""
    if len(table) < 3:
        return None
    widths = {len(split_cells(table.text.lines[int(line) - 1], table.delimiter)) for line in table.lines}
    return widths.pop() if len(widths) == 1 else None


def _refuse_unchecked(text: TextFile, heading: int, names: tuple[str, ...]) -> None:
    """Refuse headings that fit the cells by number only, if nothing says that the impedance is not shifted."""
    meanings = [meaning_of(name) for name in names]
    at = {m.quantity: i for i, m in enumerate(meanings) if isinstance(m, Meaning) and m.quantity in NEEDED}
    checked = {"re", "im"} <= at.keys() and ("modulus" in at or "phase" in at)
    if not checked and max(at.values()) >= len(at):
        raise text.error(
            heading,
            f"the headings name more columns than the rows have cells ({len(names)}), and no |Z| and phase say which "
            "belongs to which. Export the file with them.",
        )


def heading_line(text: TextFile) -> int:
    """Return the number of the line of headings, which is the last of as many as the second line says."""
    second = text.lines[1] if len(text.lines) > 1 else ""
    match = re.match(r"Nb header lines\s*:\s*(\d{1,9})\s*$", second)
    if not match:
        raise text.error(
            min(2, len(text.lines)),
            f"'Nb header lines : ' and a number were expected; got {second[:60]!r}. The file is cut or damaged.",
        )
    count = int(match[1])
    if count < 3 or count > len(text.lines):
        raise text.error(
            2,
            f"{count_of(count, 'header line is', 'header lines are')} announced in a file of "
            f"{count_of(len(text.lines), 'line')}: the file is cut or damaged.",
        )
    again = [n for n, line in enumerate(text.lines[2:], start=3) if _MAGIC.match(line + "\n")]
    if again:
        raise text.error(again[0], "a second header begins here: two files were joined. Give each a file of its own.")
    if "\t" not in text.lines[count - 1]:
        raise text.error(
            count,
            f"headings between tabs were expected on line {count}, as line 2 says; got {text.lines[count - 1][:60]!r}. "
            "The header is damaged.",
        )
    return count


def _metadata(header: tuple[str, ...], area: float | None) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, pattern in _FIELDS.items():
        for line in header[2:]:
            match = re.match(pattern, line)
            if match and match[1].strip():
                found.setdefault(name, match[1].rstrip())
    if area is not None:
        found["electrode area"] = area
    mass = next((m for line in header if (m := re.match(r"Mass.* : (\S+) (m?)g", line))), None)
    if mass and is_number(mass[1]):
        found["mass"] = float(mass[1].replace(",", ".")) * (1.0 if mass[2] else 1e3)
    return found


def _fields(header: tuple[str, ...]) -> dict[str, str]:
    """Return the lines ``Name : value`` of the header."""
    found: dict[str, str] = {}
    for line in header[2:]:
        name, colon, value = line.partition(" : ")
        if colon and name.strip():
            found.setdefault(name.strip(), value.strip())
    return found


def header_field(header: tuple[str, ...], name: str) -> str | None:
    """Return what follows ``name : `` in the header."""
    return _fields(header).get(name)


def _stated_frequency(header: tuple[str, ...], field: str) -> float | None:
    """Return the frequency that the settings have each sweep begin or end at, if there is one sequence only, Hz."""
    names, text = (field, f"unit {field}"), "\n".join(header)
    fields = {name: re.findall(rf"^{name} {{2,}}+(.*)$", text, re.MULTILINE) for name in names}
    if [len(values) for values in fields.values()] != [1, 1]:
        return None
    value, unit = fields[field][0].replace(",", "."), fields[f"unit {field}"][0].rstrip()
    if len(value.split()) != 1 or unit not in _HERTZ:
        return None
    try:
        return float(value) * _HERTZ[unit] or None
    except ValueError:
        return None


def _loop_starts(header: tuple[str, ...]) -> NDArray[np.int64] | None:
    starts = [int(m[1]) for line in header if (m := re.match(r"Loop \d+ from point number (\d{1,9}) to \d+", line))]
    return np.array(starts, dtype=np.int64) if starts else None


READER = BiologicText()
