"""Columns as the user names them, and lines of headings in a table of no known format."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from drt_engine.errors import FileFormatError, InputError
from drt_engine.readers.columns import NEEDED, HeadedTable, TableColumn, find_columns
from drt_engine.readers.headings import (
    AREA_UNIT,
    QUANTITIES,
    SQUARE_CENTIMETRES,
    Meaning,
    meaning_of,
    without_number,
)
from drt_engine.text import count_of

__all__ = ["Named", "chosen_columns", "columns_of", "flipped", "holds_impedance", "parse_columns", "with_units"]

IGNORED = frozenset({"_", "-", "ignore", "skip", ""})
"""Names for a column that is not to be read."""


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
    per_area : bool
        Whether the unit is one of resistance times area, ohm cm².
    overrules : bool
        Whether it is named by number or heading, which overrules what the heading says.
    """

    name: str
    meaning: Meaning
    where: int | str
    per_area: bool = False
    overrules: bool = False


def parse_columns(spec: str) -> list[Named]:
    """Return what ``columns`` says.

    Parameters
    ----------
    spec : str
        Names in order, as ``"time,cycle,frequency,re,-im"``, ``_`` for a column to be ignored; or with number or
        heading, as ``"frequency=3,re=4,-im=Zimag (ohm)"``; a heading with a comma stands in quotation marks. Values of
        an area-specific impedance are named with their unit, as ``"re/ohm.cm2"``.

    Raises
    ------
    InputError
        For names that are not known, twice the same quantity, and columns that make no impedance.
    """
    named: list[Named] = []
    parts = [part.strip() for part in re.findall(r'(?:^|,)((?:[^,"]|"[^"]*"|"(?=[^"]*$))*)', spec)]
    for position, part in enumerate(parts):
        name, equals, where = (text.strip() for text in part.partition("="))
        if not equals and name.lower() in IGNORED:
            continue
        where = where.strip('"')
        area = AREA_UNIT.fullmatch(name)
        meaning = meaning_of((area[1] if area else name).removeprefix("+"))
        if not isinstance(meaning, Meaning):
            signed = ", ".join([*QUANTITIES, "-im"])
            raise InputError(
                f"columns has {part!r}, which is not known; expected names among {signed}, with a unit after a slash "
                "if it is not the SI one, or _ for a column to be ignored."
            )
        if area:
            meaning = replace(meaning, factor=meaning.factor * SQUARE_CENTIMETRES[area[2].lower()])
        if equals and not where:
            raise InputError(f"columns has {part!r}; a number or a heading was expected after the equals sign.")
        if equals and re.fullmatch(r"\d{1,9}", where) and int(where) < 1:
            raise InputError(f"columns has {part!r}; columns are numbered from 1.")
        place: int | str = position if not equals else int(where) - 1 if re.fullmatch(r"\d{1,9}", where) else where
        named.append(Named(name, meaning, place, area is not None, bool(equals)))
    quantities = [one.meaning.quantity for one in named]
    twice = [quantity for quantity in quantities if quantities.count(quantity) > 1]
    if twice:
        raise InputError(f"columns names the {twice[0]} twice: {spec!r}. Name it once and ignore the other with _.")
    if "frequency" not in quantities or not ({"re", "im"} <= {*quantities} or {"modulus", "phase"} <= {*quantities}):
        raise InputError(
            f"columns must name the frequency and either re and im or |z| and phase; got {spec!r}. For example "
            "columns='time,cycle,frequency,re,-im'."
        )
    if len({one.per_area for one in named if one.meaning.quantity in ("re", "im", "modulus")}) > 1:
        raise InputError(f"columns has one part of the impedance in ohm and another in ohm cm2: {spec!r}.")
    return named


def columns_of(
    table: HeadedTable,
    error: Callable[[str], FileFormatError],
    *,
    columns: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> dict[str, TableColumn]:
    """Return the columns of a table with headings: those that the user named, else those that the headings say.

    Parameters
    ----------
    table : HeadedTable
        With the headings of the file.
    error : callable
        Makes the error from a message.
    columns : str, optional
        As in `ReadOptions`; what the table was read with if not given.
    rename : mapping of str to str, optional
        As in `find_columns`.

    Raises
    ------
    FileFormatError
        As `chosen_columns` and `find_columns`.
    """
    columns = columns or getattr(table, "columns", None)
    if columns:
        found = chosen_columns(parse_columns(columns), table.headings, True, error)
    else:
        found = find_columns(table.headings, error, rename=rename)
    return flipped(found) if getattr(table, "flip_im", False) else found


def flipped(columns: Mapping[str, TableColumn]) -> dict[str, TableColumn]:
    """Return the columns with the other sign of the imaginary part or, where there is none, of the phase.

    The user says so: it is not compared with |Z| and phase.
    """
    found = dict(columns)
    if "im" in found:
        found.pop("phase", None)
    name = "im" if "im" in found else "phase"
    meaning = found[name].meaning
    turned = replace(meaning, factor=-meaning.factor, offset=-meaning.offset)
    found[name] = replace(found[name], meaning=turned, stated=True, flipped=True)
    return found


def chosen_columns(
    named: Sequence[Named], headings: Sequence[str], has_headings: bool, error: Callable[[str], FileFormatError]
) -> dict[str, TableColumn]:
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
    found: dict[str, TableColumn] = {}
    for one in named:
        index = one.where if isinstance(one.where, int) else _index_of(one, headings, has_headings, error)
        if index >= len(headings):
            raise error(
                f"columns names {one.name!r} as column {index + 1}, and the table has "
                f"{count_of(len(headings), 'column')}. "
                "Is the delimiter what was expected?"
            )
        meaning = _agreed(one, headings, index, named, error) if has_headings else one.meaning
        per_area = one.per_area or meaning.per_area
        found[meaning.quantity] = TableColumn(index, headings[index], meaning, True, per_area)
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


def _agreed(
    one: Named, headings: Sequence[str], index: int, named: Sequence[Named], error: Callable[[str], FileFormatError]
) -> Meaning:
    """Return the meaning of a column that user and file both name; the unit is the file's if the user gave none.

    By position, a name must not contradict what the heading states; what it leaves open, the user says: a minus sign,
    the unit of a phase. By number or heading, the user overrules it, a minus sign only by ``+`` or by the heading
    itself; the unit is that of the heading if none is named.
    """
    # ω is a name and a unit at once: rad/s.
    heading, unit_given = headings[index], "/" in one.name or _is_angular(one)
    said = meaning_of(heading)
    if isinstance(said, str) and one.meaning.quantity in NEEDED and not unit_given:
        raise error(
            f"columns names column {index + 1} {one.name!r}, and the unit {said!r} of its heading {heading!r} is "
            f"not known. Say the unit, for example columns='{_numbered(named, headings, units=_UNITS)}'."
        )
    if not isinstance(said, Meaning):
        return one.meaning
    same = said.quantity == one.meaning.quantity
    turned = _is_turned(one, heading)
    rescaled = same and unit_given and not said.assumed and not _same_scale(said, one.meaning)
    if turned or (not one.overrules and (not same or rescaled)):
        raise error(
            f"columns names column {index + 1} {one.name!r}, and its heading is {heading!r}. Correct columns, leave it "
            f"out and let the headings say it, or overrule the headings with columns='{_numbered(named, headings)}'."
        )
    if unit_given or not same:
        return one.meaning
    factor = float(np.copysign(said.factor, one.meaning.factor))
    return replace(one.meaning, factor=factor, offset=said.offset, assumed=said.assumed, per_area=said.per_area)


def _is_angular(one: Named) -> bool:
    return one.meaning.quantity == "frequency" and one.meaning.factor != 1.0


def _is_turned(one: Named, heading: str) -> bool:
    """Say whether a heading has a minus sign that the user leaves out without saying so, which is easily overlooked."""
    said = meaning_of(heading)
    minus = isinstance(said, Meaning) and said.factor < 0 < one.meaning.factor
    return minus and not (one.name.startswith("+") or isinstance(one.where, str))


def _same_scale(one: Meaning, other: Meaning) -> bool:
    return abs(abs(one.factor / other.factor) - 1) < 1e-9 and one.offset == other.offset


def _numbered(named: Sequence[Named], headings: Sequence[str], *, units: Mapping[str, str] | None = None) -> str:
    """Return the columns as a user would name them by number, with units where none are named."""
    parts = []
    for one in named:
        index = one.where if isinstance(one.where, int) else list(headings).index(one.where)
        unit = (units or {}).get(one.meaning.quantity, "") if "/" not in one.name else ""
        parts.append(f"{'+' * _is_turned(one, headings[index])}{one.name}{unit}={index + 1}")
    return ",".join(parts)


_UNITS = {"frequency": "/Hz", "re": "/ohm", "im": "/ohm", "modulus": "/ohm"}


def holds_impedance(headings: Sequence[str]) -> bool:
    """Say whether headings name a frequency and an impedance."""
    meanings = (meaning_of(without_number(heading)) for heading in headings)
    quantities = {meaning.quantity for meaning in meanings if isinstance(meaning, Meaning)}
    return "frequency" in quantities and bool(quantities & {"re", "im", "modulus", "phase"})


def with_units(headings: Sequence[str], units: Sequence[str]) -> tuple[str, ...] | None:
    """Return headings joined with a row of units below them, or None if that is not a row of units.

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
