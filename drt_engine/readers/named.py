"""Columns as the user names them, and lines of headings in a table of no known format."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from drt_engine.errors import FileFormatError, InputError
from drt_engine.readers.columns import Column
from drt_engine.readers.headings import QUANTITIES, Meaning, meaning_of

__all__ = ["Named", "chosen_columns", "holds_impedance", "parse_columns", "with_units"]

IGNORED = frozenset({"_", "-", "ignore", "skip", ""})
"""Names for a column that is not to be read."""

_CHECKS = ("modulus", "phase")


@dataclass(frozen=True)
class Named:
    """A column that the user named.

    Parameters
    ----------
    name : str
        As it was given, for example ``"-im"`` or ``"frequency/kHz"``.
    meaning : Meaning
        What it stands for.
    where : int or str
        Number of the column, from 0, or its heading.
    """

    name: str
    meaning: Meaning
    where: int | str


def parse_columns(spec: str) -> list[Named]:
    """Return what ``columns`` says.

    Parameters
    ----------
    spec : str
        Names in order, as ``"time,cycle,frequency,re,-im"``, ``_`` for a column to be ignored; or with number or
        heading, as ``"frequency=3,re=4,-im=Zimag (ohm)"``.

    Raises
    ------
    InputError
        For names that are not known, twice the same quantity, and columns that make no impedance.
    """
    named: list[Named] = []
    parts = [part.strip() for part in spec.split(",")]
    for position, part in enumerate(parts):
        name, equals, where = (text.strip() for text in part.partition("="))
        if not equals and name.lower() in IGNORED:
            continue
        meaning = meaning_of(name)
        if not isinstance(meaning, Meaning):
            signed = ", ".join([*QUANTITIES, "-im"])
            raise InputError(
                f"columns has {part!r}, which is not known; expected names among {signed}, with a unit after a stroke "
                "if it is not the SI one, or _ for a column to be ignored."
            )
        if equals and not where:
            raise InputError(f"columns has {part!r}; a number or a heading was expected after the equals sign.")
        if equals and re.fullmatch(r"\d{1,9}", where) and int(where) < 1:
            raise InputError(f"columns has {part!r}; columns are numbered from 1.")
        place: int | str = position if not equals else int(where) - 1 if re.fullmatch(r"\d{1,9}", where) else where
        named.append(Named(name, meaning, place))
    quantities = [one.meaning.quantity for one in named]
    twice = [quantity for quantity in quantities if quantities.count(quantity) > 1]
    if twice:
        raise InputError(f"columns names the {twice[0]} twice: {spec!r}. Name it once and ignore the other with _.")
    if "frequency" not in quantities or not ({"re", "im"} <= {*quantities} or {"modulus", "phase"} <= {*quantities}):
        raise InputError(
            f"columns must name the frequency and either re and im or |z| and phase; got {spec!r}. For example "
            "columns='time,cycle,frequency,re,-im'."
        )
    return named


def chosen_columns(
    named: Sequence[Named], headings: Sequence[str], has_headings: bool, error: Callable[[str], FileFormatError]
) -> dict[str, Column]:
    """Return the columns that the user named, checked against the headings where there are any.

    Parameters
    ----------
    named : sequence of Named
        From `parse_columns`.
    headings : sequence of str
        Of the file; any text if it has none.
    has_headings : bool
        Whether the headings are those of the file.
    error : callable
        Makes the error from a message.

    Raises
    ------
    FileFormatError
        If a column is not there, or its heading says that it is something else.
    """
    found: dict[str, Column] = {}
    for one in named:
        index = one.where if isinstance(one.where, int) else _index_of(one, headings, has_headings, error)
        if index >= len(headings):
            raise error(
                f"columns names {one.name!r} as column {index + 1}, and the table has {len(headings)} columns. "
                "Is the delimiter what was expected?"
            )
        meaning = _agreed(one, headings[index], index, error) if has_headings else one.meaning
        found[meaning.quantity] = Column(index, headings[index], meaning, stated=True)
    if has_headings and {"re", "im"} <= found.keys():
        _add_checks(found, headings)
    return found


def _index_of(one: Named, headings: Sequence[str], has_headings: bool, error: Callable[[str], FileFormatError]) -> int:
    if not has_headings:
        raise error(f"columns names a heading, {one.where!r}, and the table has none. Give the number of the column.")
    at = [i for i, heading in enumerate(headings) if heading == one.where]
    if len(at) != 1:
        how = "no column" if not at else f"{len(at)} columns"
        raise error(
            f"columns names the heading {one.where!r}, which {how} has. The headings are "
            f"{', '.join(map(repr, headings))}."
        )
    return at[0]


def _agreed(one: Named, heading: str, index: int, error: Callable[[str], FileFormatError]) -> Meaning:
    """Return the meaning of a column that user and file both name; the unit is the file's if the user gave none."""
    said = meaning_of(heading)
    if not isinstance(said, Meaning) or isinstance(one.where, str):
        return one.meaning
    unit_given = "/" in one.name
    same = said.quantity == one.meaning.quantity and (said.factor < 0) == (one.meaning.factor < 0)
    if same and unit_given:
        same = abs(said.factor / one.meaning.factor - 1) < 1e-9
    if not same:
        raise error(
            f"columns names column {index + 1} {one.name!r}, and its heading is {heading!r}. Correct columns, or leave "
            "it out and let the headings say it."
        )
    return replace(one.meaning, factor=said.factor, offset=said.offset) if not unit_given else one.meaning


def _add_checks(found: dict[str, Column], headings: Sequence[str]) -> None:
    """Add |Z| and phase by their headings, to check what the user said of the others."""
    taken = {column.index for column in found.values()}
    for index, heading in enumerate(headings):
        meaning = meaning_of(heading)
        if isinstance(meaning, Meaning) and meaning.quantity in _CHECKS and index not in taken:
            found.setdefault(meaning.quantity, Column(index, heading, meaning))


def holds_impedance(headings: Sequence[str]) -> bool:
    """Say whether headings name a frequency and an impedance."""
    quantities = {m.quantity for m in map(meaning_of, headings) if isinstance(m, Meaning)}
    return "frequency" in quantities and bool(quantities & {"re", "im", "modulus", "phase"})


def with_units(headings: Sequence[str], units: Sequence[str]) -> tuple[str, ...] | None:
    """Return headings joined with a row of units below them, or None if that row is none.

    Parameters
    ----------
    headings, units : sequence of str
        Two rows of cells.
    """
    if len(headings) != len(units) or not any(units):
        return None
    joined = tuple(
        f"{heading}/{unit.strip('()[]')}" if unit else heading for heading, unit in zip(headings, units, strict=True)
    )
    known = [
        isinstance(meaning_of(new), Meaning)
        for old, new in zip(headings, joined, strict=True)
        if isinstance(meaning_of(old), Meaning)
    ]
    return joined if known and all(known) else None
