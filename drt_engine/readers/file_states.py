"""States that measured files do not hold: from their paths, from a table beside them, and from the user."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from drt_engine.errors import InputError
from drt_engine.readers.base import ReadOptions, format_error
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.states import BOUNDS, stated
from drt_engine.readers.text import Delimiter, read_text, split_cells
from drt_engine.spectra import STATE_UNITS
from drt_engine.text import count_of

__all__ = [
    "NamePattern",
    "SideTable",
    "as_numbers",
    "number_of",
    "numbers_in_path",
    "read_profile",
    "read_side_table",
    "state_value",
    "suggested_pattern",
    "temperature_in",
]

SOURCES = ("source", "file", "filename")
"""Headings of a table of states under which the file is named."""

TEXTS = frozenset({"source", "cell", "direction"})
"""States that stay text even where all are digits."""

_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})")  # what 64 bits hold
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9]\d*)?[.,]\d+")
_ORDINAL = re.compile(r"(\d{1,9})(?:st|nd|rd|th)", re.IGNORECASE)
_COUNT = re.compile(r"\d{1,9}")
_UNIT_FOR_POINT = re.compile(r"([+-]?\d{1,9})[VvPp](\d{1,9})[Vv]?")
_DEGREES = re.compile(
    r"(?P<sign>[-−–+]?)(?<!\d)(?<!\d[.,])(?P<number>\d{1,4}(?:[.,]\d{1,2})?)[ _]?"
    r"(?P<unit>[°º˚] ?C|℃|(?:deg(?:ree)?s?|grad)(?:[ _]?C)?|C)(?![^\W_]|[.,]\d)",
    re.IGNORECASE,
)
"""A temperature as it stands in names; ``C`` alone may as well be the rate of a current, 1C for an hour."""
_CALLED_TEMPERATURE = re.compile(r"(?<![^\W_])t(?:emp(?:erature?)?)?[ _=]?$", re.IGNORECASE)
_T = re.compile(r"(?<![^\W_])[Tt]$")
_WORD_AND_NUMBER = re.compile(r"[^\W\d_]-\d")
_VOLTS = re.compile(r"(?<![^\W_])\d{1,2}(?:[.,p]\d{1,4})?[ _]?V(?![^\W_])|(?<![^\W_])\d{1,2}V\d{1,4}(?![^\W_])")
_CYCLE = re.compile(r"(?<=cycle|zyklu)(s?[ _-]?)\d{1,9}(?!\d)|(?<=cyc)([ _-]?)\d{1,9}(?!\d)", re.IGNORECASE)
"""A voltage and the number of a cycle as they stand in names; ``mV`` is mostly that of an amplitude."""
_MOST_OPTIONAL = 5
"""Parts of a pattern that may be missing: each doubles the number of patterns, 32 with five."""


class NamePattern:
    """States in the paths of files, as ``"{cell}/cycle {cycle}/EIS_{voltage}[_{repeat}].txt"``.

    A pattern without a stroke is that of the name of a file; one with strokes is that of the last folders and the name.
    A state never reaches over a stroke.

    Parameters
    ----------
    pattern : str
        Name, or end of the path, with ``{column}`` where a state stands; ``{_}`` for a part that is none. What stands
        in square brackets may be missing; it is taken where it fits. A state that stands twice has to be the same in
        both places. Brackets that belong to a name are doubled.

    Raises
    ------
    InputError
        For a pattern without columns, with two side by side, and with brackets that do not pair.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._variants = tuple(
            tuple(_Part(part, pattern) for part in variant.split("/")) for variant in _variants(pattern)
        )
        names = [name for variant in self._variants for part in variant for name in part.names]
        if not names:
            raise _no_pattern(pattern)
        self.columns = tuple(name for name in dict.fromkeys(names) if name != "_")

    def states_of(self, path: str) -> dict[str, str] | None:
        """Return the states in a path, with ``/`` between folders, or None if it does not fit the pattern.

        Raises
        ------
        InputError
            If it fits in two ways, or holds two values of one state.
        """
        folders = path.split("/")
        for variant in self._variants:
            if len(variant) > len(folders):
                continue
            found = [part.states_of(name) for part, name in zip(variant, folders[-len(variant) :], strict=True)]
            if all(one is not None for one in found):
                return self._agreed(path, [pair for one in found for pair in one or ()])
        return None

    def _agreed(self, path: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
        states: dict[str, str] = {}
        for name, value in pairs:
            if name == "_":
                continue
            before = states.setdefault(name, value)
            if before.casefold() != value.casefold():
                raise InputError(
                    f"the path {path!r} holds two values of {name!r} by the pattern {self.pattern!r}, {before!r} and "
                    f"{value!r}. Rename the file, or give one of the two another name in the pattern."
                )
        return states


class _Part:
    """A folder or a name in a pattern."""

    def __init__(self, part: str, pattern: str) -> None:
        parts = re.split(r"\{(\w+)\}", part.replace("\1", "[").replace("\2", "]"))
        self.names = parts[1::2]
        if any(not between for between in parts[2:-1:2]):
            raise _no_pattern(pattern)
        self._pattern, self._literal = pattern, parts[0]
        self._forward = _expression(parts[::2]) if self.names else None
        self._backward = _expression([part[::-1] for part in parts[::-2]]) if self.names else None

    def states_of(self, name: str) -> list[tuple[str, str]] | None:
        if self._forward is None or self._backward is None:
            return [] if name == self._literal else None
        forward, backward = self._forward.fullmatch(name), self._backward.fullmatch(name[::-1])
        if forward is None or backward is None:
            return None
        few, many = forward.groups(), tuple(value[::-1] for value in backward.groups()[::-1])
        if few != many:
            raise InputError(
                f"the name {name!r} fits the pattern {self._pattern!r} in two ways, {few} and {many}. "
                "Make the pattern longer, or give the states in a table."
            )
        return list(zip(self.names, few, strict=True))


def _no_pattern(pattern: str) -> InputError:
    return InputError(
        f"a pattern of file names needs each state in braces, with something between two of them, and what may be "
        f"missing in square brackets; got {pattern!r}. For example 'EIS_{{state}}_{{cell}}.txt' or "
        "'{cell}/cycle {cycle}/EIS_{voltage}[_{repeat}].txt'."
    )


def _variants(pattern: str) -> list[str]:
    """Return the pattern with all that may be missing, then with less and less of it; literal brackets as controls."""
    pieces = re.split(r"(\[[^\[\]]*\])", pattern.replace("[[", "\1").replace("]]", "\2"))
    if any(sign in piece for piece in pieces[::2] for sign in "[]") or any("/" in piece for piece in pieces[1::2]):
        raise _no_pattern(pattern)
    optional = range(1, len(pieces), 2)
    if len(optional) > _MOST_OPTIONAL:
        raise InputError(f"a pattern may have {_MOST_OPTIONAL} parts in square brackets; got {len(optional)}.")
    kept = [some for size in range(len(optional), -1, -1) for some in combinations(optional, size)]
    return [
        "".join(piece[1:-1] if i in some else "" if i % 2 else piece for i, piece in enumerate(pieces)) for some in kept
    ]


def _expression(between: Sequence[str]) -> re.Pattern[str]:
    """Return what takes each of some literals at the first place where it stands, and tries no other.

    If a name fits at all, it fits so; and any number of fields takes no longer than one.
    """
    first, *inner, last = map(re.escape, between)
    return re.compile(first + "".join(rf"(?>(.+?){text})" for text in inner) + f"(.+){last}", re.DOTALL)


def number_of(name: str, text: str) -> float | int | None:
    """Return the number that the text of a state means, in the unit of the state; None if it is not one.

    Understood are ``3.8`` and ``3,8``, ``1st``; of states with a unit also ``3,8 V``, ``3V80``, ``3p8``, ``-25C``,
    ``298 K``, ``10 min``; of cycles ``007``.

    Parameters
    ----------
    name : str
        The state; :data:`drt_engine.spectra.STATE_UNITS` says which have a unit.
    text : str
        For example a part of the name of a file.
    """
    text = text.strip()
    if ordinal := _ORDINAL.fullmatch(text):
        return int(ordinal[1])
    if name == "cycle" and _COUNT.fullmatch(text):
        return int(text)
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text.replace(",", "."))
    if name not in STATE_UNITS:
        return None
    if name == "temperature":
        text = re.sub(r"(?i)(?<=[\d ])deg(?:ree)?s?$", "C", text)
    elif name == "voltage" and (split := _UNIT_FOR_POINT.fullmatch(text)):
        return float(f"{split[1]}.{split[2]}")
    return stated(name, text)[0] if name in BOUNDS else None


def state_value(name: str, text: str) -> Any:
    """Return what the user says of a state of all spectra, as a number if it is one.

    Raises
    ------
    InputError
        For a state with a unit whose value is not a number.
    """
    if name in TEXTS:
        return text
    value = number_of(name, text)
    if value is None and name in STATE_UNITS:
        raise _no_number(name, text, "--set has")
    return text if value is None else value


def _no_number(name: str, text: str, who: str) -> InputError:
    return InputError(
        f"{who} {name} {text!r}; expected a number in {STATE_UNITS[name]}, with or without its unit. Correct it, or "
        f"call the state otherwise than {name!r}."
    )


def numbers_in_path(states: Mapping[str, str]) -> dict[str, Any]:
    """Return the states that stand in a path, those with a unit as numbers.

    Raises
    ------
    InputError
        For a state with a unit whose value is not a number.
    """
    found: dict[str, Any] = dict(states)
    for name in found.keys() & STATE_UNITS.keys():
        value = number_of(name, states[name])
        if value is None:
            raise _no_number(name, states[name], "the path gives")
        found[name] = value
    return found


def temperature_in(path: str) -> tuple[float | None, str]:
    """Return the temperature that stands in a path with its unit, °C, and what is to be said of it.

    Taken are ``25°C``, ``25 degC``, ``140deg`` and alike; of those with ``C`` alone, which may be the rate of a
    current, what has a sign, as ``_-25C``, or is called a temperature, as ``T25C``. Not taken are ``25C``,
    ``LLZO-25C``, where the stroke may be a minus sign or not, and two temperatures that differ.

    Parameters
    ----------
    path : str
        Name of a file, with ``/`` between the folders that it stands in.

    Returns
    -------
    float or None, str
        None if there is none that is taken; nothing is said where nothing looks like one.
    """
    every = [_degrees(one) for one in _DEGREES.finditer(path)]
    found = [(text, value, sure) for text, value, sure in every if value is not None]
    certain = {value for _, value, sure in found if sure}
    if len(certain) == 1 and all(sure or value in certain for _, value, sure in found):
        (value,) = certain
        text = next(text for text, _, sure in found if sure)
        return value, (
            f"{value:g} °C taken from the name, which has {text!r}; if the cell had another temperature, say so by "
            "name, states or constants"
        )
    if not found:
        return None, ""
    words = " and ".join(dict.fromkeys(repr(text) for text, _, _ in found))
    return None, (
        f"no temperature taken from the name, where {words} may be something else; if it is one, say so by name, "
        "states or constants"
    )


def _degrees(match: re.Match[str]) -> tuple[str, float | None, bool]:
    """Return what may be a temperature in a name, its value, °C, None if it looks like none, and whether it is sure."""
    before, digits, signed = match.string[: match.start()], match["number"], match["sign"] != ""
    value, stroke = float(digits.replace(",", ".")), _stroke(match)
    text = match[0] if stroke or match["sign"] == "+" else match[0].lstrip("-–")
    looks, sure = True, stroke != "either"
    if match["unit"] in ("C", "c") and not _CALLED_TEMPERATURE.search(before):
        # 1C, 0.5C and -5C are rates of a current; so may 25C be, which labs write of temperatures as well. Nobody
        # writes a rate as _-25C.
        known = stroke == "minus" or (match["sign"] == "+" and not before[-1:].isalnum())
        looks = value == int(value) and (len(digits) > 1 or known) and (signed or not before[-1:].isalnum())
        sure = known and len(digits) > 1
    return text, (-value if stroke else value) if looks else None, sure


def _stroke(match: re.Match[str]) -> str:
    """Say what stands before a temperature in a name: "minus", "either" that or what separates two words, or ""."""
    sign, before = match["sign"], match.string[: match.start()]
    if sign not in ("-", "−", "–"):
        return ""
    # It separates after a digit, as in s04147-140deg, and before what would be no temperature.
    if before[-1:].isdigit() or -float(match["number"].replace(",", ".")) < BOUNDS["temperature"][0]:
        return ""
    if sign == "−" or not before[-1:].isalpha():
        return "minus"
    # T-25C is −25 °C, unless strokes of the same name stand between other words and their numbers, as in soc-50_T-25C.
    elsewhere = f"{before[:-1]} {match.string[match.end() :]}"
    return "minus" if _T.search(before) and not _WORD_AND_NUMBER.search(elsewhere) else "either"


def suggested_pattern(sources: Sequence[str]) -> tuple[str, int] | None:
    """Return the pattern that takes voltages and cycles from most of some paths, and of how many; None for none.

    Parameters
    ----------
    sources : sequence of str
        Names of files, with ``/`` between the folders that they stand in.
    """
    suffixes = {PurePath(source).suffix.lower() for source in sources}
    found = Counter(_pattern_of(source, one_suffix=len(suffixes) == 1) for source in dict.fromkeys(sources))
    found.pop("", None)
    if not found:
        return None
    pattern = found.most_common(1)[0][0]
    depth = pattern.count("/") + 1
    tops = {source.split("/")[-depth - 1] for source in sources if source.count("/") >= depth}
    if len(tops) > 1:  # folders that tell cells apart, as a rule
        pattern = f"{{cell}}/{pattern}"
    reads = NamePattern(pattern)
    return pattern, sum(reads.states_of(source) is not None for source in dict.fromkeys(sources))


def _pattern_of(source: str, *, one_suffix: bool) -> str:
    """Return a path with ``{voltage}`` and ``{cycle}`` where they stand, from the first folder that has one; or ""."""
    path = source.replace("[", "[[").replace("]", "]]").replace("{", "").replace("}", "")
    volts, cycles = _VOLTS.findall(path), _CYCLE.findall(path)
    path = _VOLTS.sub("{voltage}", path) if len(volts) == 1 else path  # two are the limits of a window
    path = _CYCLE.sub(lambda match: f"{match[1] or match[2] or ''}{{cycle}}", path) if len(cycles) == 1 else path
    *folders, name = path.split("/")
    stem, dot, _ = name.rpartition(".")
    parts = [*folders, name if one_suffix or not dot else f"{stem}.{{_}}"]
    first = next((i for i, part in enumerate(parts) if "{voltage}" in part or "{cycle}" in part), len(parts))
    return "/".join(parts[first:])


def as_numbers(values: Sequence[Any], name: str = "") -> list[Any]:
    """Return text as numbers if all of it is numbers as one writes them: no exponents, no zeros in front.

    Parameters
    ----------
    values : sequence of str
        For example what the names of all files have at one place; empty is missing.
    name : str, optional
        The state, as in :func:`number_of`.
    """
    numbers = [number_of(name, value) if isinstance(value, str) and value else value or None for value in values]
    if any(number is None and value for number, value in zip(numbers, values, strict=True)):
        return [value or None for value in values]
    whole = all(number is None or isinstance(number, int) for number in numbers)
    return [None if number is None else number if whole else float(number) for number in numbers]


@dataclass(frozen=True)
class SideTable:
    """A table of states beside the measured files.

    Parameters
    ----------
    keys : tuple of str
        The columns that say which sweeps a row is for.
    columns : tuple of str
        The states that it gives.
    rows : mapping of tuple to mapping
        The states by the values of the keys.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Mapping[tuple[Any, ...], Mapping[str, Any]]

    def key_of(self, state: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Return the key of the row for a sweep, or None if there is none.

        A file may be named with some or none of its folders, or with more than the campaign knows, and without suffix.
        """
        own = tuple(_key(name, state.get(name)) for name in self.keys)
        if "source" not in self.keys:
            return own if own in self.rows else None
        at = self.keys.index("source")
        whole = (own[at], str(PurePath(own[at]).with_suffix(""))) if own[at] else ()
        keys = [(*own[:at], tail, *own[at + 1 :]) for path in whole for tail in _tails(path)]
        longer = [(*own[:at], path, *own[at + 1 :]) for path in whole]
        found = next((key for key in keys if key in self.rows), None)
        return found or next((key for one in longer if (key := self._by_tail.get(one))), None)

    @cached_property
    def _by_tail(self) -> dict[tuple[Any, ...], tuple[Any, ...] | None]:
        """Keys by the ends of their paths; None for an end that several have."""
        at, found = self.keys.index("source"), dict[tuple[Any, ...], tuple[Any, ...] | None]()
        for key in self.rows:
            for tail in _tails(key[at]):
                short = (*key[:at], tail, *key[at + 1 :])
                found[short] = key if short not in found else None
        return found


def read_side_table(table: Path | str | pd.DataFrame, extra: Sequence[str] = ()) -> SideTable:
    """Return a table of states, to be joined to sweeps.

    Parameters
    ----------
    table : path or DataFrame
        A csv file with headings (commas, semicolons or tabs), or the table itself. A column ``source`` (or ``file``)
        says which file a row is for, and all others are states; where several rows are of one file, ``sweep``,
        ``cycle``, ``cell`` and those of `extra` tell them apart. Without such a column these say which sweeps a row is
        for. Units in headings, as ``voltage/mV`` or ``capacity (mAh)``, are converted.
    extra : sequence of str, optional
        Further columns that say so: those of the pattern of file names.

    Raises
    ------
    InputError
        If no column says which sweeps a row is for, or two rows are for the same.
    FileFormatError
        For a file that cannot be read, or a row with another number of cells.
    """
    frame = table if isinstance(table, pd.DataFrame) else _read_csv(Path(table))
    named = {old: "source" for old in frame.columns if str(old).strip().lower() in SOURCES}
    if len(named) > 1:
        raise InputError(f"a table of states must name the file in one column; got {', '.join(map(repr, named))}.")
    frame = _in_units(frame.rename(columns={**{old: str(old).strip() for old in frame.columns}, **named}))
    keys = _keys_of(frame, extra)
    columns = tuple(name for name in frame.columns if name not in keys)
    if not keys or not columns:
        raise InputError(
            "a table of states must say in columns source (or file), cell, cycle or sweep which sweeps a row is for, "
            f"and hold states beside them; got the columns {', '.join(map(repr, frame.columns))}."
        )
    rows: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for record in frame.to_dict("records"):
        key = tuple(_key(name, record[name]) for name in keys)
        if key in rows:
            raise InputError(f"two rows of the table of states are for the same {dict(zip(keys, key, strict=True))}.")
        rows[key] = {name: record[name] for name in columns if not pd.isna(record[name])}
    return SideTable(keys, columns, rows)


def _keys_of(frame: pd.DataFrame, extra: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that say which sweeps a row is for: the file alone, if it distinguishes the rows."""
    others = [name for name in dict.fromkeys(("sweep", "cycle", "cell", *extra)) if name in frame.columns]
    if "source" not in frame.columns:
        return tuple(name for name in dict.fromkeys(("cell", "cycle", "sweep", *extra)) if name in frame.columns)
    files = frame["source"].astype(str).str.strip()
    short = {name: stem for name in files if (stem := PurePath(name).stem) in set(files)}  # with and without suffix
    told = frame.astype(str).assign(source=files.replace(short))
    keys = ["source"]
    for name in others:
        if not told[keys].duplicated().any():
            break
        keys.append(name)
    return tuple(keys)


def _in_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns with units in their headings are states under their names, in their units."""
    found: dict[str, Any] = {}
    for heading in map(str, frame.columns):
        column, name = frame[heading], heading
        meaning = meaning_of(heading) if re.search(r"[/(\[_]", heading) else None
        if isinstance(meaning, Meaning) and meaning.quantity in {*STATE_UNITS, "specific_capacity", "cycle"}:
            if pd.api.types.is_numeric_dtype(column):
                values = meaning.factor * column + meaning.offset
                name, column = meaning.quantity, values.map(lambda value: float(f"{value:.12g}"))
        elif heading.lower() in {*STATE_UNITS, *TEXTS, "cycle", "sweep"}:
            name = heading.lower()
        if name in STATE_UNITS and not pd.api.types.is_numeric_dtype(column):
            column = pd.Series(as_numbers(column.tolist(), name), index=frame.index)
        if name != heading and (name in frame.columns or name in found):
            name, column = heading, frame[heading]
        found[name] = column
    return pd.DataFrame(found, index=frame.index)


def read_profile(table: Path | str) -> pd.DataFrame:
    """Return a voltage profile from a csv file, in the units of the states.

    Parameters
    ----------
    table : path
        A csv file with headings (commas, semicolons or tabs; decimal points or commas). Units in headings are
        converted: ``voltage`` becomes V, ``time`` s, ``capacity (mAh)`` the state ``charge`` in C, ``capacity/mAh/g``
        the state ``specific_capacity`` in mAh/g. ``cell``, ``cycle`` and ``direction`` tell curves apart.

    Raises
    ------
    FileFormatError
        For a file that cannot be read, or a row with another number of cells.
    """
    return _in_units(_read_csv(Path(table)))


def _tails(path: str) -> list[str]:
    """Return a path, and the same path without its first folder, its first two, and so on."""
    folders = path.split("/")
    return ["/".join(folders[k:]) for k in range(len(folders))]


def _key(name: str, value: Any) -> Any:
    if name == "source":
        return str(value).strip().replace("\\", "/").removeprefix("./")
    if name in TEXTS:
        return str(value).strip()
    if isinstance(value, (int, float)):
        return float(value)
    number = number_of(name, str(value))
    return str(value).strip() if number is None else float(number)


def _read_csv(path: Path) -> pd.DataFrame:
    text = read_text(path, ReadOptions())
    kept = [(n, line) for n, line in enumerate(text.lines, start=1) if line.strip()]
    if len(kept) < 2:
        raise format_error(path, 1, "a row of headings and rows of states below were expected.")
    first = kept[0][1]
    delimiter: Delimiter = "\t" if "\t" in first else ";" if ";" in first else ","
    rows = [(n, split_cells(line, delimiter)) for n, line in kept]
    headings = rows[0][1]
    if len({*headings}) != len(headings) or not all(headings):
        raise format_error(
            path, rows[0][0], f"headings must be distinct and not empty; got {', '.join(map(repr, headings))}."
        )
    for n, cells in rows[1:]:
        if len(cells) != len(headings):
            raise format_error(path, n, f"{count_of(len(cells), 'cell')} below {count_of(len(headings), 'heading')}.")
    return pd.DataFrame(
        {heading: _cells([row[i] for _, row in rows[1:]], heading) for i, heading in enumerate(headings)}
    )


def _cells(cells: list[str], heading: str) -> list[Any]:
    if heading.lower() in {*TEXTS, *SOURCES}:
        return cells
    found = as_numbers(cells, heading.lower())
    if any(isinstance(value, str) for value in found):  # exponents, which names never have
        try:
            return [float(cell.replace(",", ".")) if cell else None for cell in cells]
        except ValueError:
            pass
    return found
