"""What a spectrum was measured at: units as the file states them, bounds of plausibility, and what was not taken.

Every reader declares the states that it takes. A value in a unit that cannot be read, or beyond the bounds, is left out
and named in a remark, because a state that is wrong is worse than none.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.text import is_number
from drt_engine.spectra import RESERVED
from drt_engine.text import storable, visible

if TYPE_CHECKING:
    from drt_engine.readers.columns import Floats
    from drt_engine.readers.rows import Rows

__all__ = [
    "BOUNDS",
    "TABLE_STATES",
    "State",
    "keepable",
    "kind_of",
    "maybe_kelvin",
    "plausible",
    "plausible_values",
    "stated",
    "states_table",
    "untaken",
    "untaken_above",
    "untaken_fields",
]

BOUNDS: Mapping[str, tuple[float, float, str]] = {
    "voltage": (-2e3, 2e3, "V"),
    "open_circuit_voltage": (-2e3, 2e3, "V"),
    "bias": (-2e3, 2e3, "V"),
    "current": (-1e5, 1e5, "A"),
    "charge": (-1e9, 1e9, "C"),
    "specific_capacity": (-1e9, 1e9, "mAh/g"),
    "temperature": (-273.15, 3000.0, "°C"),
    "area": (1e-9, 1e6, "cm²"),
    "time": (-1e11, 1e11, "s"),
    "cycle": (0.0, 1e9, ""),
    "z_cycle": (0.0, 1e9, ""),
    "sequence": (0.0, 1e9, ""),
    "channel": (0.0, 1e6, ""),
}
"""Least and largest plausible value of each state, and the unit that it is kept in."""

_AREAS = {"km": 1e10, "m": 1e4, "dm": 1e2, "cm": 1.0, "mm": 1e-2, "µm": 1e-8, "um": 1e-8, "nm": 1e-14}
_AREA_UNIT = re.compile(r"(?:sq\.? ?(?P<of>[a-zµ]{1,2})|(?P<side>[a-zµ]{1,2})(?:²|\^?2))")
_NUMBER_AND_UNIT = re.compile(r"([+-]?[\d.,]+(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)
_QUANTITY = {"open_circuit_voltage": "voltage", "bias": "voltage"}

_ABOVE = re.compile(r"\W{0,20}([^:=;,\t]*+)[:=;,\t]++[\s\"']*+([+-]?\d.*)", re.DOTALL)
"""A line that says something by name, as ``# Temp: 25`` or ``Area (cm2);0.5``."""

_COLDEST = -100.0
"""No temperature below this is taken to be meant where a value without a unit may be in K, °C."""

_LONGEST = 200
"""No heading and no field of a header is longer that holds a state, characters."""

_LONGEST_TEXT = 2000
"""Characters of a text that are kept: every row of its column takes as many in a file."""

_NAME = re.compile(r"[^\W_][\w .+()%°-]{0,59}(?<! )")
_NOT_IN_NAMES = re.compile(r"[^\w .+()%°-]")
_TAKEN = RESERVED | {"source", "digest", "sweep", "finished", "spectrum"}
"""Names that are of something else in a campaign."""

_KINDS = {  # what a heading or the name of a field may hold: its words, its units
    "voltage": (
        r"potential|voltage|spannung|\be(?:we|ce|cell|oc|dc)\b|\bv(?:dc|oc|bat)\b|\b[euv]\b(?=\s*[(/]|\s+vs\b)|^[euv]$"
        r"|\boc[vp]\b|\bdc bias\b|\bbias\b(?=\s*[(/])|\b[uv] (?:cell|bat)|\bcell [euv]\b",
        r"v",
    ),
    "current": (r"current|\bidc\b|\bi\b(?=\s*[(/])", r"a"),
    "temperature": (r"temp|^t$|^t (?:cell|sample)", r"°c|degc|deg\.? ?c|k"),
    "area": (r"\barea\b|surface", r"[cm]?m(?:²|\^?2)"),
    "cycle": (r"cycle|zyklus|\bcyc\b", None),
    "channel": (r"channel", None),
    "time": (r"\btime\b", None),
    "charge": (r"charge|capacity|\bd?q\b|q-qo|\bso[ch]\b|\bdod\b|^m?ah$", r"c|a[.·* ]?h|as"),
}
_LOOKS = {
    kind: re.compile(words + (rf"|[/(\[,]\s*[numµk]?(?:{units})\s*[)\]]?\s*$" if units else ""))
    for kind, (words, units) in _KINDS.items()
}
_OTHERS = re.compile(
    r"^\|.*\||\bzsig|\bac\b|\bimag|\breal\b|^[ei] (?:real|imag)|range|\bampl|\berr|error|\bthd|\bns[dr]\b|capacitance"
    r"|density|limit|method|definition|integration|compensat|status|\bmode\b"
)


@dataclass(frozen=True)
class State:
    """A state that a reader takes.

    Parameters
    ----------
    name : str
        As in `drt_engine.Spectra`.
    where : str
        Column or field of the file, in the words of the format.
    unit : str
        Where its unit comes from: "heading", "field", "format" (the format has one unit), or the like.
    low, high : float, optional
        Bounds narrower than those of `BOUNDS`.
    """

    name: str
    where: str
    unit: str = "format"
    low: float | None = None
    high: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and largest value that is taken, None for text and for what has no bounds."""
        if self.name not in BOUNDS and self.low is None:
            return None
        low, high, _ = BOUNDS.get(self.name, (-np.inf, np.inf, ""))
        return (low if self.low is None else self.low, high if self.high is None else self.high)


TABLE_STATES = (
    *(
        State(name, "a column of that name", "heading" if BOUNDS[name][2] else "")
        for name in (
            *("cycle", "z_cycle", "sequence", "voltage", "current", "charge", "specific_capacity", "temperature"),
            "time",
        )
    ),
    State("channel", "a line 'CH 1' above the headings", ""),
    State("area", "1 cm² where the impedance is in ohm cm²", "heading"),
    State("label", "what stands above each of several spectra beside each other", ""),
)
"""The states that a table without a format of its own can give."""


def _bounds(name: str, declared: Iterable[State]) -> tuple[float, float, str] | None:
    own = next((state for state in declared if state.name == name), None)
    low_high = own.bounds if own else BOUNDS.get(name, (None,))[:2]
    unit = BOUNDS[name][2] if name in BOUNDS else ""
    return None if low_high is None or low_high[0] is None else (low_high[0], low_high[1], unit)


def plausible(rows: "Rows", declared: Iterable[State] = ()) -> "Rows":
    """Return the points with states beyond their bounds taken out, and a remark for each state.

    Parameters
    ----------
    rows : Rows
        The points.
    declared : iterable of State, optional
        What the reader takes, for bounds of its own.
    """
    states, remarks = dict(rows.states), list(rows.remarks)
    declared = tuple(declared)
    for name, column in rows.states.items():
        bounds = _bounds(name, declared)
        if bounds is None:
            continue
        low, high, unit = bounds
        odd = ~np.isnan(column) & ~((column >= low) & (column <= high))
        if odd.any():
            states[name] = np.where(odd, np.nan, column)
            remarks.append(
                f"{name} of {column[odd][0]:g} {unit} is beyond {low:g} to {high:g}".replace("  ", " ")
                + f" and left out at {odd.sum()} of {odd.size} points ({rows.unit} {rows.lines[int(np.argmax(odd))]})"
            )
    return replace(rows, states=states, remarks=tuple(remarks))


def plausible_values(
    states: Mapping[str, object], declared: Iterable[State] = ()
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the states of a header without those beyond their bounds, and a remark for each that was left out.

    Parameters
    ----------
    states : mapping of str to object
        By name; text has no bounds.
    declared : iterable of State, optional
        What the reader takes, for bounds of its own.
    """
    kept, remarks, declared = dict(states), list[str](), tuple(declared)
    for name, value in states.items():
        bounds = _bounds(name, declared)
        if bounds is None or not isinstance(value, (int, float, np.number)):
            continue
        low, high, unit = bounds
        if not low <= float(value) <= high:
            kept.pop(name)
            remarks.append(f"{name} of {float(value):g} {unit} is beyond {low:g} to {high:g} and left out")
    return kept, tuple(remarks)


def keepable(state: Mapping[str, object]) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the states of a sweep that a campaign can keep, and a remark for each that it cannot.

    Some formats name states in the file itself, and titles are whatever was typed: neither may refuse a measurement.

    Parameters
    ----------
    state : mapping of str to object
        By name. Of a text as long as no title is, the first characters are kept.
    """
    kept, remarks = dict[str, object](), list[str]()
    for given, value in state.items():
        name, shown = _name_to_keep(given), visible(given[:60])
        if name is None or (name != given and name in state):
            remarks.append(f"{shown!r} is no name that a state can have: left out")
            continue
        if name != given:
            remarks.append(f"the state {shown!r} is called {name!r}, since files take no other name")
        if isinstance(value, str) and name in BOUNDS:
            remarks.append(f"{name} not taken: {visible(value[:40])!r} is not a number")
            continue
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            remarks.append(f"{name!r} is a text of {len(value)} characters, of which {_LONGEST_TEXT} are kept")
        kept[name] = storable(value[:_LONGEST_TEXT]) if isinstance(value, str) else value
    return kept, tuple(remarks)


def _name_to_keep(name: str) -> str | None:
    """Return a name as a file can have it, or None."""
    name = _NOT_IN_NAMES.sub("_", name).strip()
    name = f"given {name}" if name in _TAKEN else name
    return name if _NAME.fullmatch(name) else None


def stated(name: str, text: str | None, unit: str | None = None) -> tuple[float | None, tuple[str, ...]]:
    """Return a state that a field of a header holds, in the unit of `BOUNDS`, and a remark if it cannot be read.

    Parameters
    ----------
    name : str
        The state, one of `BOUNDS`.
    text : str or None
        What stands in the field, for example ``"113.100 mm²"``. None and empty text say nothing.
    unit : str, optional
        The unit, where it stands elsewhere. The unit of the format where neither has one.
    """
    text = (text or "").strip()[:_LONGEST]
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if not text:
        return None, ()
    if match is None or not is_number(match[1]):
        return None, (f"{name} not taken: {text[:40]!r} is not a number",)
    written = match[2].strip() or (unit or "").strip()
    scale = _scale(name, written)
    if scale is None:
        return None, (f"{name} not taken: the unit {written[:40]!r} of {text[:40]!r} is not known",)
    value = scale[0] * float(match[1].replace(",", ".")) + scale[1]
    return float(f"{value:.12g}"), ()


def _scale(name: str, unit: str) -> tuple[float, float] | None:
    if name == "area":
        if not unit:
            return 1.0, 0.0
        match = _AREA_UNIT.fullmatch(unit.replace("μ", "µ").lower())
        side = (match["of"] or match["side"]) if match else ""
        return (_AREAS[side], 0.0) if side in _AREAS else None
    quantity = _QUANTITY.get(name, name)
    meaning = meaning_of(f"{quantity}/{unit}" if unit else quantity)
    known = isinstance(meaning, Meaning) and meaning.quantity == quantity
    return (meaning.factor, meaning.offset) if known and isinstance(meaning, Meaning) else None


def kind_of(heading: str) -> str | None:
    """Return which state a heading or the name of a field looks like, by its words or its unit; None for none.

    Parameters
    ----------
    heading : str
        As the file has it, for example ``"Ewe-Ece/V"`` or ``"Sample temperature"``.
    """
    text = heading.strip()[:_LONGEST].strip().lower().replace("_", " ").replace("<", "").replace(">", "")
    if _OTHERS.search(text):
        return None
    return next((kind for kind, pattern in _LOOKS.items() if pattern.search(text)), None)


def untaken(headings: Sequence[str], taken: Collection[int]) -> tuple[str, ...]:
    """Return a remark that names the columns which look like states and were not taken, or nothing.

    Parameters
    ----------
    headings : sequence of str
        One for each column.
    taken : collection of int
        The columns that were taken, from 0.
    """
    return _named("columns", [h for i, h in enumerate(headings) if i not in taken and kind_of(h)])


def untaken_above(lines: Iterable[str], states: Collection[str]) -> tuple[str, ...]:
    """Return a remark that names what stands above a table, as ``Temp: 25``, and looks like a state, or nothing.

    Parameters
    ----------
    lines : iterable of str
        Lines above the headings.
    states : collection of str
        States that were taken from anywhere.
    """
    matches = (_ABOVE.match(line[:_LONGEST]) for line in lines)
    return untaken_fields(
        {match[1].strip(" \"'"): match[2] for match in matches if match}, (), states, "lines above the table"
    )


def maybe_kelvin(values: "Floats | Sequence[float | None]") -> bool:
    """Say whether temperatures without a unit may be in K as well as in °C.

    Parameters
    ----------
    values : sequence of float
        All of a column; NaN, None, 0 and what is no temperature say nothing.
    """
    known = [value for value in values if value is not None and value > -273.15 and value != 0]  # NaN is not above
    return bool(known) and min(known) >= _COLDEST + 273.15


def untaken_fields(
    fields: Mapping[str, str], taken: Collection[str], states: Collection[str], what: str = "fields of the header"
) -> tuple[str, ...]:
    """Return a remark that names the fields of a header which look like a state that nothing else gave, or nothing.

    Parameters
    ----------
    fields : mapping of str to str
        Names of the fields and what they say; nothing, 0 and no number say nothing.
    taken : collection of str
        Fields that became states or metadata.
    states : collection of str
        States that were taken from anywhere.
    what : str, optional
        Where they stand.
    """
    names = []
    for name, value in fields.items():
        kind, number = kind_of(name), _NUMBER_AND_UNIT.match(value.strip()[:_LONGEST])
        says = number is not None and is_number(number[1]) and float(number[1].replace(",", ".")) != 0
        if kind not in (None, "time") and says and name not in taken and kind not in states:
            names.append(name)
    return _named(what, names)


def _named(what: str, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    some = ", ".join(map(repr, dict.fromkeys(name[:60] for name in names[:12])))
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return (f"{what} that look like states and were not taken: {some}{more}",)


def states_table(readers: Mapping[str, Sequence[State]]) -> str:
    """Return the table of formats and states for the documentation, as Markdown.

    Parameters
    ----------
    readers : mapping of str to sequence of State
        What each reader declares, by its name.
    """
    lines = ["| reader | state | from | unit from | bounds |", "|---|---|---|---|---|"]
    for name, states in readers.items():
        for state in states:
            bounds = state.bounds
            unit = BOUNDS[state.name][2] if state.name in BOUNDS else ""
            span = f"{bounds[0]:g} to {bounds[1]:g} {unit}".strip() if bounds else ""
            where = state.where.replace("|", "\\|").replace("<", "&lt;")
            source = state.unit if unit or state.name not in BOUNDS else ""  # a count has no unit
            lines.append(f"| `{name}` | {state.name} | {where} | {source} | {span} |")
    return "\n".join(lines) + "\n"
