"""Tables with a spectrum in each row, whose numbers are lists in cells, as pandas writes arrays."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import ReadOptions, Recording, Sweep, format_error
from drt_engine.readers.columns import TableColumn, without_unit
from drt_engine.readers.file_states import TEXTS, as_numbers, number_of
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.named import columns_of
from drt_engine.readers.rows import rows_of
from drt_engine.readers.states import maybe_kelvin
from drt_engine.readers.sweeps import recording
from drt_engine.readers.text import TextFile
from drt_engine.spectra import RESERVED, STATE_UNITS
from drt_engine.text import count_of

__all__ = ["has_lists", "read_lists"]

_MOST_CELL, _MOST_NUMBER = 131_072, 100
"""Characters of a cell, the most that the csv module takes, and of a number, beyond which it is damage: the longest
that Python writes of a complex number has about 50."""


@dataclass(frozen=True)
class _Lists:
    """The lists of a row as a table: a column each, two for one of complex numbers."""

    source: str
    headings: tuple[str, ...]
    values: NDArray[np.float64]
    flip_im: bool

    unit = "point"
    """What `lines` counts."""

    @property
    def lines(self) -> NDArray[np.int64]:
        return np.arange(1, len(self.values) + 1)

    def numbers(
        self,
        indices: Sequence[int],
        missing: frozenset[str] = frozenset(),  # noqa: ARG002 - there are none
    ) -> NDArray[np.float64]:
        return self.values[:, list(indices)]

    def cells(self, row: int) -> list[str]:
        return [f"{value:.12g}" for value in self.values[row]]

    def resolution(self, row: int, index: int) -> float:
        return 0.5e-8 * abs(float(self.values[row, index]))


def has_lists(lines: Sequence[str]) -> bool:
    """Say whether a file has headings, and a list of numbers in a cell of the first row below them.

    Parameters
    ----------
    lines : sequence of str
        The file, or its beginning.
    """
    first = next((line for line in lines[1:2] if "[" in line and "," in line), None)
    if first is None or "[" in lines[0]:
        return False
    headings, cells = (next(csv.reader([line[:_MOST_CELL]]), []) for line in (lines[0], first))
    return any(
        cell.lstrip().startswith("[") and isinstance(meaning := meaning_of(heading), Meaning) and _quantity(meaning)
        for heading, cell in zip(headings, cells, strict=False)
    )


def read_lists(text: TextFile, options: ReadOptions, name: str) -> Recording:
    """Read a spectrum from each row; cells that are no lists are its states, under their headings.

    Parameters
    ----------
    text : TextFile
        The file.
    options : ReadOptions
        What it does not say of itself.
    name : str
        Of the reader.

    Raises
    ------
    FileFormatError
        If no row can be read.
    """
    rows = csv.reader((f"{line}\n" for line in text.lines), strict=True)
    sweeps, plain, faults = list[Sweep](), list[dict[str, str]](), list[FileFormatError]()
    remarks = dict[str, None]()
    try:
        headings = next(rows)
        for cells in rows:
            if not any(cells):
                continue
            pairs = dict(zip(headings, cells, strict=False))
            lists = {key: cell for key, cell in pairs.items() if cell.lstrip().startswith("[")}
            try:
                found = _spectrum(text.path, rows.line_num, lists, options, name)
            except FileFormatError as fault:
                faults.append(fault)
                continue
            sweeps += found.sweeps
            remarks |= dict.fromkeys(found.remarks)
            plain += [{key: cell for key, cell in pairs.items() if key and key not in lists}] * len(found.sweeps)
    except csv.Error as error:
        raise text.error(rows.line_num, f"this is not a row of a csv file ({error}). Export it again.") from error
    if not sweeps:
        raise faults[0] if faults else text.error(1, "no row with a list of frequencies and of impedances.")
    said = [f"{count_of(len(faults), 'row')} left out, first: {faults[0]}"] if faults else []
    states = _states(plain)
    taken = (replace(sweep, state={**sweep.state, **state}) for sweep, state in zip(sweeps, states, strict=True))
    return Recording(text.path.name, name, tuple(taken), (*said, *remarks))


def _quantity(meaning: Meaning) -> bool:
    return meaning.quantity in ("frequency", "re", "im", "modulus", "phase")


def _spectrum(path: Path, line: int, lists: Mapping[str, str], options: ReadOptions, name: str) -> Recording:
    """Read the lists of one row."""

    def error(message: str) -> FileFormatError:
        return format_error(path, line, message)

    columns: dict[str, NDArray[np.float64]] = {}
    for heading, cell in lists.items():
        values = _numbers(cell, heading, error)
        if np.iscomplexobj(values):
            unit = next((heading[heading.index(sign) :] for sign in "/([" if sign in heading), "")
            columns |= {f"Re(Z){unit}": values.real, f"Im(Z){unit}": values.imag}
        else:
            columns[heading] = values
    sizes = {heading: values.size for heading, values in columns.items()}
    if len(set(sizes.values())) != 1:
        each = ", ".join(f"{size} of {heading}" for heading, size in sizes.items())
        raise error(f"the lists of a row must be equally long; got {each or 'none'}.")
    table = _Lists(f"{path}, line {line}", tuple(columns), np.stack([*columns.values()], axis=1), options.flip_im)
    found = columns_of(table, error, columns=options.columns)
    return recording(rows_of(table, found), name, remarks=_without_unit(found))


def _without_unit(columns: Mapping[str, TableColumn]) -> list[str]:
    """Say that frequencies were taken as Hz, and how to say that they are angular ones."""
    said = without_unit(columns)
    if not said:
        return []
    numbers = ",".join(
        f"{'-' * (column.meaning.factor < 0)}{name}={column.index + 1}"
        for name, column in columns.items()
        if name in ("re", "im")
    )
    named = f"omega={columns['frequency'].index + 1},{numbers}"
    taken, _, _ = said[0].partition(";")
    return [f"{taken}; if it is the angular frequency ω, say so: columns={named!r}"]


def _numbers(cell: str, heading: str, error: Any) -> NDArray[Any]:
    inside = cell.strip().removeprefix("[").removesuffix("]").replace("\n", " ")
    if "..." in inside:
        raise error(
            f"the list of {heading!r} was shortened by numpy, to '...'. Write the file again, after "
            "numpy.set_printoptions(threshold=sys.maxsize)."
        )
    if "," in inside:
        parts = inside.split(",")
    elif "j" in inside:
        parts = [f"{part}j" for part in inside.split("j")[:-1]]
    else:
        parts = inside.split()
    plain = ["".join(part.split()) for part in parts]
    try:
        if any(len(part) > _MOST_NUMBER for part in plain):
            raise ValueError("a number of more than 100 digits")
        return np.array([complex(part) for part in plain] if "j" in inside else [float(part) for part in plain])
    except ValueError as fault:
        raise error(f"the list of {heading!r} holds something that is not a number ({fault}). Correct it.") from fault


def _states(rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return what else stands in each row, with states that are known in their units."""
    out: list[dict[str, Any]] = [{} for _ in rows]
    for heading in dict.fromkeys(key for row in rows for key in row):
        name, factor, offset = heading.strip().lower(), 1.0, 0.0
        meaning = meaning_of(heading)
        if isinstance(meaning, Meaning) and meaning.quantity in {*STATE_UNITS, "specific_capacity", "cycle"}:
            name, factor, offset = meaning.quantity, meaning.factor, meaning.offset
        if name in RESERVED:
            name = f"given {name}"
        values: list[Any] = [row.get(heading, "").strip() for row in rows]
        no_unit = meaning is None or (isinstance(meaning, Meaning) and meaning.assumed)
        if name == "temperature" and no_unit and maybe_kelvin([number_of(name, one) for one in values]):
            name = "temperature in K or °C"
        if name in STATE_UNITS:
            numbers = [number_of(name, one) for one in values]
            values = [None if one is None else float(f"{factor * one + offset:.12g}") for one in numbers]
        elif name not in TEXTS:
            values = as_numbers(values, name)
        for state, value in zip(out, values, strict=True):
            if value not in (None, ""):
                state[name] = value
    return out
