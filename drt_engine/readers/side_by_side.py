"""Several spectra beside each other in one table, as spreadsheets are kept: f, Z' and Z'', and again f, Z' and Z''."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import Recording, Sweep
from drt_engine.readers.columns import HeadedTable
from drt_engine.readers.file_states import number_of
from drt_engine.readers.headings import Meaning, meaning_of, without_number
from drt_engine.readers.states import untaken

__all__ = ["Part", "apart", "put_together", "state_in"]

_MEASURED = ("voltage", "temperature")


@dataclass(frozen=True)
class Part:
    """The columns of one spectrum in a table of several.

    Parameters
    ----------
    table : HeadedTable
        The whole.
    at : tuple of int
        Its columns, from 0.
    headings : tuple of str
        Their headings, without the numbers that tell spectra apart.
    label : str, optional
        What stands above them.
    """

    table: Any
    at: tuple[int, ...]
    headings: tuple[str, ...]
    label: str = ""

    @property
    def source(self) -> Path | str:
        """The file."""
        source: Path | str = self.table.source
        return source

    @property
    def lines(self) -> NDArray[np.int64]:
        """Where each row stands in the file, shape (N,)."""
        return np.asarray(self.table.lines)

    @property
    def unit(self) -> str:
        """What `lines` counts."""
        return str(self.table.unit)

    @property
    def flip_im(self) -> bool:
        """Whether the user says that the imaginary part has the other sign."""
        return bool(getattr(self.table, "flip_im", False))

    def numbers(self, indices: Sequence[int], missing: frozenset[str] = frozenset()) -> NDArray[np.float64]:
        """Return columns as numbers, shape (N, len(indices)), NaN for missing cells."""
        return np.asarray(self.table.numbers([self.at[index] for index in indices], missing))

    def cells(self, row: int) -> list[str]:
        """Return the cells of a row as text."""
        cells = self.table.cells(row)
        return [cells[index] if index < len(cells) else "" for index in self.at]

    def resolution(self, row: int, index: int) -> float:
        """Return half a unit of the last digit that a cell holds."""
        return float(self.table.resolution(row, self.at[index]))


def apart(table: HeadedTable, above: Sequence[str] = ()) -> list[Part]:
    """Return the spectra of a table that holds several beside each other; none for any other.

    Either each has a column of frequencies, or the first column of all is that of all and pairs of real and imaginary
    part follow.

    Parameters
    ----------
    table : HeadedTable
        With the headings of the file.
    above : sequence of str, optional
        Cells of the line above the headings, which may name each spectrum.
    """
    headings = tuple(without_number(heading) for heading in table.headings)
    meanings = [meaning_of(heading) for heading in headings]
    names = [meaning.quantity if isinstance(meaning, Meaning) else "" for meaning in meanings]
    starts = [i for i, name in enumerate(names) if name == "frequency"]
    if len(starts) > 1:
        groups = [tuple(range(a, b)) for a, b in zip(starts, [*starts[1:], len(names)], strict=True)]
    elif len(starts) == 1:
        parts = [i for i, name in enumerate(names) if name in ("re", "im")]
        groups = [(starts[0], *parts[k : k + 2]) for k in range(0, len(parts), 2)]
    else:
        return []
    if len(groups) < 2 or not all(_is_spectrum([names[i] for i in group]) for group in groups):
        return []
    labels = [next((above[i] for i in group[-3:] if i < len(above) and above[i]), "") for group in groups]
    if len({*labels}) != len(labels):
        labels = [""] * len(groups)
    return [
        Part(table, group, tuple(headings[i] for i in group), label)
        for group, label in zip(groups, labels, strict=True)
    ]


def _is_spectrum(names: Sequence[str]) -> bool:
    cartesian, polar = (sorted(names.count(name) for name in pair) for pair in (("re", "im"), ("modulus", "phase")))
    return names.count("frequency") == 1 and (cartesian == [1, 1] or (cartesian == [0, 0] and polar == [1, 1]))


def state_in(labels: Sequence[str]) -> tuple[str, list[Any]]:
    """Return the state that labels hold, voltage or temperature with their unit in all of them, else ``label``.

    Parameters
    ----------
    labels : sequence of str
        What stands above spectra, or names of sheets.
    """
    for name in _MEASURED:
        numbers = [number_of(name, label) if re.search(r"\d\s*[^\d\s.,]", label) else None for label in labels]
        if all(number is not None for number in numbers):
            return name, [float(number) for number in numbers if number is not None]
    return "label", list(labels)


def put_together(parts: Sequence[Part], found: Sequence[Recording]) -> Recording:
    """Return the recordings of the spectra of a table as one, each with its label.

    Labels that are voltages or temperatures with their unit, as ``3,8 V``, become that state.

    Parameters
    ----------
    parts : sequence of Part
        From `apart`.
    found : sequence of Recording
        One for each.
    """
    state, values = state_in([part.label for part in parts])
    sweeps: list[Sweep] = []
    for recorded, value in zip(found, values, strict=True):
        given = {state: value} if value != "" else {}
        sweeps += [replace(sweep, state={**sweep.state, **given}) for sweep in recorded.sweeps]
    headings, taken = parts[0].table.headings, {index for part in parts for index in part.at}
    notes = [*untaken(headings, taken), *(remark for recorded in found for remark in recorded.remarks)]
    remarks = dict.fromkeys(notes)
    beside = f"{len(parts)} spectra stand beside each other"
    return replace(found[0], sweeps=tuple(sweeps), remarks=(beside, *remarks))
