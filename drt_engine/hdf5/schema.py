"""The file format: one table that reader, writer and the page in the documentation follow."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from drt_engine.errors import InputError
from drt_engine.result_fields import (
    ELEMENT_UNITS,
    GAMMA_UNITS,
    INTERVAL_UNITS,
    LATER_INTERVALS,
    OF_GAMMA,
    PEAK_UNITS,
    RESULT_FIELDS,
    RESULT_UNITS,
    ResultField,
)
from drt_engine.spectra import MASK_REASONS, STATE_UNITS
from drt_engine.status import status_attributes

__all__ = [
    "COLUMN_UNITS",
    "CONDUCTIVITY",
    "CONDUCTIVITY_PATH",
    "EVENTS",
    "FORMAT",
    "FORMAT_VERSION",
    "GROUPS",
    "INVERSION",
    "INVERSIONS_PATH",
    "INVERSION_WITH_INTERVALS",
    "OLDER_CAMPAIGN",
    "PROCESSES",
    "PROCESSES_PATH",
    "ROOT",
    "SPECTRA",
    "SPECTRA_PATH",
    "SPECTRUM",
    "TEXT",
    "UNASSIGNED",
    "Attribute",
    "Group",
    "Variable",
    "check_column_name",
    "check_name",
    "check_state_name",
]

FORMAT = "drt-engine"
"""Attribute ``format`` of the root group."""
FORMAT_VERSION = 1
"""Attribute ``format_version`` of the root group; a reader refuses a higher one."""
SPECTRUM = "spectrum"
"""The dimension that grows."""
SPECTRA_PATH = "spectra"
INVERSIONS_PATH = "inversions"
PROCESSES_PATH = "processes"
CONDUCTIVITY_PATH = "conductivity"
TEXT = "text"
"""Type of a dataset of characters."""
OLDER_CAMPAIGN = "older_campaign"
"""Attribute of results in a file whose spectra have become more since."""

_OF_PEAKS = ELEMENT_UNITS | PEAK_UNITS
_OF_ERRORS = {f"{name}_error": unit for name, unit in _OF_PEAKS.items()}
_OF_CONDUCTIVITY = {
    **dict.fromkeys(("thickness", "diameter"), "cm"),
    **dict.fromkeys(("r_total", "r_contact", "r_ion", "r_e", "r_dc", "resistance"), "ohm"),
    **dict.fromkeys(("sigma", "sigma_bulk", "sigma_grain_boundary", "sigma_ion", "sigma_e", "sigma_dc"), "S/cm"),
    "ea": "eV",
}
COLUMN_UNITS = {**_OF_PEAKS, **_OF_ERRORS, **_OF_CONDUCTIVITY, **STATE_UNITS, "confidence": "1"}
"""Units of the columns of tables of processes that have one."""


@dataclass(frozen=True, eq=False)
class Variable:
    """A dataset of the format.

    Attributes
    ----------
    name : str
        Its name in the group.
    dimensions : tuple of str
        Its dimensions; a variable with itself as the only one is a coordinate.
    units : str or None
        Attribute ``units``; None for flags.
    long_name : str
        Attribute ``long_name``.
    dtype : str
        How it is stored, unless real results are to be float32; a reader takes any size of the same kind. ``"text"``
        is characters.
    attributes : mapping
        Further attributes.
    required : bool
        Whether a reader refuses a group without it; what was added later is not in older files.
    former : str or None
        Its name in files that were written before it was renamed.
    """

    name: str
    dimensions: tuple[str, ...]
    units: str | None
    long_name: str
    dtype: str = "float64"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True
    former: str | None = None

    @property
    def all_units(self) -> tuple[str | None, ...]:
        """Units that it may have: those of γ follow what it is a distribution in."""
        return tuple(GAMMA_UNITS.values()) if self.name in OF_GAMMA else (self.units,)


@dataclass(frozen=True)
class Attribute:
    """An attribute of a group of the format.

    Attributes
    ----------
    name : str
        Its name.
    kind : type
        ``str``, ``int`` or ``float``.
    meaning : str
        What it says.
    required : bool
        Whether a reader refuses a group without it.
    """

    name: str
    kind: type
    meaning: str
    required: bool = True


@dataclass(frozen=True, eq=False)
class Group:
    """A group of the format.

    Attributes
    ----------
    path : str
        Where it is, with what is free in angle brackets.
    attributes : tuple of Attribute
        Its attributes.
    variables : tuple of Variable
        Its datasets beside the state columns, coordinates first; of a table the columns that it always has.
    rows : str
        The dimension that counts its rows.
    listing : str
        The attribute that names its state columns, or all columns of a table.
    """

    path: str
    attributes: tuple[Attribute, ...]
    variables: tuple[Variable, ...] = ()
    rows: str = SPECTRUM
    listing: str = "states"

    @property
    def coordinates(self) -> tuple[Variable, ...]:
        """Variables that are dimensions."""
        return tuple(variable for variable in self.variables if variable.dimensions == (variable.name,))

    @property
    def per_spectrum(self) -> tuple[Variable, ...]:
        """Variables with one row for each spectrum."""
        return tuple(variable for variable in self.variables if SPECTRUM in variable.dimensions)


def _result(told: ResultField) -> Variable:
    """How an array of a result is stored."""
    dimensions = (SPECTRUM, "tau") if told.by_tau else (SPECTRUM,)
    flags: dict[str, Any] = {} if told.units is not None else {"dtype": "uint32", "attributes": status_attributes()}
    return Variable(
        told.name,
        dimensions,
        told.units,
        told.long_name,
        required=told.missing is None,
        former=told.former,
        **flags,
    )


_OLDER = Attribute(OLDER_CAMPAIGN, str, "digest of the campaign before spectra were added that are not in this", False)
_STATES = Attribute("states", str, "JSON list of the names of the state columns, in order")
_FREQUENCY = Variable("frequency", ("frequency",), "Hz", "frequency")

ROOT = Group(
    "/",
    attributes=(
        Attribute("format", str, f"`{FORMAT}`"),
        Attribute("format_version", int, f"{FORMAT_VERSION}"),
    ),
)
SPECTRA = Group(
    "/spectra/<grid>",
    attributes=(_STATES,),
    variables=(
        _FREQUENCY,
        Variable("impedance_real", (SPECTRUM, "frequency"), "ohm", "real part of the impedance"),
        Variable("impedance_imag", (SPECTRUM, "frequency"), "ohm", "imaginary part of the impedance"),
        Variable(
            "point_time",
            (SPECTRUM, "frequency"),
            "s",
            "time of the point since the first one of its spectrum",
            required=False,
        ),
        Variable(
            "point_mask",
            (SPECTRUM, "frequency"),
            None,
            "why a point is left out, 0 for one that is not",
            "uint8",
            {
                "flag_values": np.arange(1 + len(MASK_REASONS), dtype=np.uint8),
                "flag_meanings": " ".join(["kept", *(reason.replace(" ", "_") for reason in MASK_REASONS)]),
            },
            required=False,
        ),
    ),
)
INVERSION = Group(
    "/inversions/<name>/<grid>",
    attributes=(
        _STATES,
        Attribute("basis", str, "name of the basis functions"),
        Attribute("mu", float, "shape factor of the basis functions; NaN for piecewise linear"),
        Attribute("settings", str, "JSON object: the method and its settings"),
        Attribute("versions", str, "JSON object: versions of drt-engine and of what it computed with"),
        Attribute("created", str, "when, in UTC, ISO 8601"),
        Attribute("input_digest", str, "`sha256:` and the SHA-256 of the input file's bytes, hexadecimal", False),
        Attribute("source", str, "name of the input file, without its folder", False),
        Attribute("where", str, "condition on the states of the spectra that were taken; without it all were", False),
        Attribute("started", str, "when the job began, in UTC, ISO 8601", False),
        Attribute("job", str, "what tells the job from all others", False),
        _OLDER,
    ),
    variables=(
        Variable("tau", ("tau",), RESULT_UNITS["tau"], "relaxation time of the basis functions"),
        _FREQUENCY,
        *map(_result, RESULT_FIELDS),
        *(
            Variable(
                f"impedance_{part}", (SPECTRUM, "frequency"), "ohm", f"{name} part of the impedance", required=False
            )
            for part, name in (("real", "real"), ("imag", "imaginary"))
        ),
        Variable(
            "point_time",
            (SPECTRUM, "frequency"),
            "s",
            "when each point was measured, since the first of its spectrum",
            required=False,
        ),
        *(
            Variable(
                f"moved_{part}",
                (SPECTRUM, "frequency"),
                "ohm",
                f"{name} part of what the change of the cell during the sweep adds to the impedance",
                required=False,
            )
            for part, name in (("real", "real"), ("imag", "imaginary"))
        ),
    ),
)


def _interval(name: str) -> Variable:
    value, side = name.rsplit("_", 1)
    of = next(variable for variable in INVERSION.variables if variable.name == value)
    long_name, required = f"{side} end of the interval of {value}", name not in LATER_INTERVALS
    return Variable(name, of.dimensions, INTERVAL_UNITS[name], long_name, required=required)


INVERSION_WITH_INTERVALS = replace(
    INVERSION,
    attributes=(*INVERSION.attributes, Attribute("level", float, "probability that an interval covers its value")),
    variables=(*INVERSION.variables, *map(_interval, INTERVAL_UNITS)),
)
"""What a group of an inversion with the attribute ``level`` is."""


def _table(
    path: str, rows: str, text: dict[str, str], numbers: dict[str, str], attributes: tuple[Attribute, ...] = ()
) -> Group:
    """Table of one-dimensional columns, of which the given ones are required, with their long names."""
    listing = Attribute("columns", str, "JSON list of the names of all columns, in order")
    variables = [
        Variable("spectrum", (rows,), None, "row number of the spectrum in the inversion", "int64"),
        *(Variable(name, (rows,), None, long_name, TEXT) for name, long_name in text.items()),
        *(Variable(name, (rows,), COLUMN_UNITS.get(name), long_name) for name, long_name in numbers.items()),
    ]
    return Group(path, (listing, *attributes), tuple(variables), rows, "columns")


_OF_A_PEAK = {"tau": "relaxation time", "r": "resistance", "c": "capacitance, tau over r"}
PROCESSES = _table(
    "/processes/<name>",
    "observation",
    {"process": "name of the process", "merged_with": "processes that the peak holds besides, joined by ' + '"},
    _OF_A_PEAK | {"confidence": "probability of the link to the observation before"},
    (
        Attribute("along", str, "state that each series is ordered by"),
        Attribute("series", str, "JSON list of the states that distinguish series"),
        Attribute("processes", str, "JSON list of the names of the processes, in the order of tau"),
        Attribute("spectra", int, "how many spectra were looked at"),
        Attribute("motion", str, "JSON object: how processes move, as estimated"),
        Attribute("options", str, "JSON object: settings of the tracking"),
        Attribute("versions", str, "JSON object: versions of drt-engine and of what it computed with"),
        Attribute("created", str, "when, in UTC, ISO 8601"),
        Attribute("input_digest", str, "`sha256:` and the SHA-256 of the file of inversions, hexadecimal", False),
        Attribute("source", str, "name of the file of inversions, without its folder", False),
        _OLDER,
    ),
)
EVENTS = _table(
    "/processes/<name>/events",
    "occurrence",
    {
        "event": "birth, death, gap, merge, split or crossing",
        "process": "name of the process",
        "other": "process that it merged with, split from or crossed",
    },
    {"until": "value of the state along the series at which it ends"},
)
UNASSIGNED = _table("/processes/<name>/unassigned", "peak", {}, _OF_A_PEAK)

CONDUCTIVITY = _table(
    "/conductivity/<name>",
    "entry",
    {},
    {},
    (
        Attribute("versions", str, "JSON object: versions of drt-engine and of what it computed with"),
        Attribute("created", str, "when, in UTC, ISO 8601"),
    ),
)

GROUPS = (ROOT, SPECTRA, INVERSION, PROCESSES, EVENTS, UNASSIGNED, CONDUCTIVITY)
"""The whole format."""

_RESERVED = frozenset(
    {SPECTRUM, *(variable.name for group in (SPECTRA, INVERSION_WITH_INTERVALS) for variable in group.variables)}
)
_LEGAL = re.compile(r"[0-9A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff][^/\x00-\x1f\x7f\ud800-\udfff]*(?<!\s)")


def check_name(what: str, name: object) -> str:
    """Refuse a name that netCDF does not allow.

    Parameters
    ----------
    what : str
        What it is the name of, for the message.
    name : object
        The name.

    Raises
    ------
    InputError
        If it is no text, is empty, holds a slash or a control character, begins with a sign or ends with a space.
    """
    if not isinstance(name, str) or not _LEGAL.fullmatch(name):
        raise InputError(
            f"{what} {name!r} cannot be a name in a file; expected a letter, digit or underscore and then anything "
            "without a slash or a space at the end. Rename it."
        )
    return name


def check_state_name(name: object) -> str:
    """Refuse a name that a state column cannot have.

    Raises
    ------
    InputError
        As :func:`check_name` does, and for the name of a dataset that the format has already.
    """
    if name in _RESERVED:
        raise InputError(f"state column {name!r} has the name of a dataset of the file format. Rename the column.")
    return check_name("state column", name)


def check_column_name(name: object, rows: str) -> str:
    """Refuse a name that a column of a table cannot have.

    Parameters
    ----------
    name : object
        The name.
    rows : str
        The dimension that counts the rows of the table, which no column can be called.

    Raises
    ------
    InputError
        As :func:`check_name` does, and for that name.
    """
    if name == rows:
        raise InputError(f"column {name!r} has the name of a dimension of the file format. Rename the column.")
    return check_name("column", name)
