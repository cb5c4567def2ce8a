"""BioLogic EC-Lab and BT-Lab text exports, .mpt or .txt."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.biologic import (
    check_measured_order,
    check_series_capacitance,
    stated_area,
    with_loops,
    with_stated_start,
)
from drt_engine.readers.columns import find_columns, rows_of
from drt_engine.readers.sweeps import recording
from drt_engine.readers.text import TextFile, head_text, read_text, table_below

__all__ = ["READER"]

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
        heading = _heading_line(text)
        header = text.lines[: heading - 1]
        table = table_below(text, heading, options=options)
        columns = find_columns(table.headings, lambda message: text.error(heading, message))
        rows = rows_of(table, columns, missing=_MISSING)
        check_series_capacitance(table, rows)
        check_measured_order(rows)
        metadata = _metadata(header)
        area, remarks = stated_area(_number_in(header, r"^Electrode surface area : (\S+) cm"))
        recorded = recording(
            with_loops(table, rows, _loop_starts(header)),
            self.name,
            states=area,
            metadata=metadata,
            remarks=remarks,
            last=_stated_frequency(header, "ff"),
        )
        return with_stated_start(recorded, _stated_frequency(header, "fi"))


def _heading_line(text: TextFile) -> int:
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
            2, f"{count} header lines are announced in a file of {len(text.lines)} lines: the file is cut or damaged."
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


def _metadata(header: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, pattern in _FIELDS.items():
        for line in header[2:]:
            match = re.match(pattern, line)
            if match and match[1].strip():
                found.setdefault(name, match[1].rstrip())
    for name, pattern in (("electrode area", r"^Electrode surface area : (\S+) cm"), ("mass", r"^Mass.* : (\S+) mg")):
        value = _number_in(header, pattern)
        if value is not None:
            found[name] = value
    return found


def _number_in(header: tuple[str, ...], pattern: str) -> float | None:
    for line in header:
        match = re.match(pattern, line)
        if match:
            try:
                return float(match[1].replace(",", "."))
            except ValueError:
                return None
    return None


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
