"""What the text and the binary files of BioLogic's EC-Lab have in common.

A cell with a reference electrode gives three impedances, each in columns of its own: ``Re(Z)/Ohm`` of the working
electrode, ``Re(Zce)/Ohm`` of the counter electrode and ``Re(Zwe-ce)/Ohm`` of both. Each is a spectrum of its own, with
the state ``electrode``: working, counter, both.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import Recording, format_error
from drt_engine.readers.columns import HeadedTable, side_column
from drt_engine.readers.header import steady_time
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.named import columns_of
from drt_engine.readers.rows import Rows, rows_of
from drt_engine.readers.states import State
from drt_engine.text import count_of

__all__ = [
    "DEFAULT_AREA",
    "STATES",
    "Spectrum",
    "check_measured_order",
    "check_series_capacitance",
    "joined",
    "spectra_of",
    "stated_area",
    "with_blocks",
    "with_loops",
    "with_stated_start",
]

STATES = (
    State("cycle", "cycle number, or the number of the loop"),
    State("z_cycle", "z cycle"),
    State("sequence", "Ns"),
    State("voltage", "<Ewe>, else Ewe, or Ecell of cyclers", "heading"),
    State("current", "<I>, else I", "heading"),
    State("charge", "(Q-Qo), else Capacity", "heading"),
    State("time", "time", "heading"),
    State("temperature", "Temperature", "heading"),
    State("area", "Electrode surface area", "field"),
    State("direction", "sign of I in the block before, in looped files", ""),
    State("capacity", "Capacity, in looped files", "heading"),
    State("electrode", "columns Z, Zce, Zwe-ce: working, counter, both", ""),
    State("channel", "end of the name, which EC-Lab writes: _C01", ""),
)
"""The states that files of EC-Lab give."""

_CHANNEL = re.compile(r"_C(\d{2})\.mp[rt]$", re.IGNORECASE)

DEFAULT_AREA = 0.001
"""The electrode area that EC-Lab writes if none was entered, cm²."""


def stated_area(area: float | None) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the electrode area as a state, and a remark if EC-Lab's placeholder stands in its place.

    Parameters
    ----------
    area : float or None
        As the file has it, cm².
    """
    if area is None or area == 0:
        return {}, ()
    if abs(area / DEFAULT_AREA - 1) < 1e-6:
        return {}, (
            f"the electrode area of {DEFAULT_AREA} cm2 is what EC-Lab writes if none was entered, and was not taken as "
            "one",
        )
    return {"area": float(area)}, ()


class Spectrum(NamedTuple):
    """The points of one electrode."""

    electrode: str | None
    rows: Rows


_ELECTRODES = {"": "working", "ce": "counter", "we-ce": "both"}
_PART = re.compile(
    r"(?P<minus>\(?-?\)?)(?:(?P<part>Re|Im|Phase)\(Z(?P<of>ce|we-ce)?\)|\|Z(?P<modulus>ce|we-ce)?\|)(?P<unit>/.*)?"
)
_OTHER = re.compile(r"Re\(Z\S+\)")


def spectra_of(
    table: HeadedTable, heading_line: int | None = None, missing: frozenset[str] = frozenset()
) -> tuple[list[Spectrum], tuple[str, ...]]:
    """Return the points of each electrode that the table has an impedance of, and remarks on other impedances.

    Parameters
    ----------
    table : HeadedTable
        Rows with the headings of EC-Lab.
    heading_line : int, optional
        Line of the headings, for errors.
    missing : frozenset of str, optional
        Cells that the format knows as missing.

    Raises
    ------
    FileFormatError
        If there is no impedance, and for what `rows_of` refuses.
    """
    parts = [_PART.fullmatch(heading.strip()) for heading in table.headings]
    owner = [None if m is None else m["of"] or m["modulus"] or "" for m in parts]
    others = [h for h in table.headings if _OTHER.match(h) and not _PART.fullmatch(h.strip())]
    remarks = [f"impedances of other electrodes are not read: {', '.join(map(repr, others))}"] if others else []
    found: list[Spectrum] = []
    one = getattr(table, "columns", None) is not None  # then the user says which electrode
    for suffix, electrode in list(_ELECTRODES.items())[: 1 if one else None]:
        has = {(m["part"] or "modulus") for m, of in zip(parts, owner, strict=True) if m is not None and of == suffix}
        if suffix and not (has >= {"Re", "Im"} or has >= {"modulus", "Phase"}):
            continue
        if not suffix and not has and any(owner):  # the working electrode was not exported
            continue
        try:
            columns = columns_of(
                table,
                lambda message: format_error(table.source, heading_line, message),
                rename=_names_for(table.headings, parts, suffix),
            )
            rows = rows_of(table, columns, missing=missing)
        except FileFormatError as error:
            if not found:
                raise
            remarks.append(f"the impedance of the electrode {electrode!r} is left out: {error}")
            continue
        if not np.any(rows.impedance):
            remarks.append(f"the impedance of the {electrode} electrode is 0 throughout: it was not measured")
            continue
        found.append(Spectrum(electrode, with_blocks(table, check_measured_order(rows))))
    if not found:
        raise format_error(table.source, heading_line, "every impedance is 0: none was measured.")
    if found[0].electrode == "working":
        remarks += check_series_capacitance(table, found[0].rows)
    if len(found) == 1 and found[0].electrode == "working":
        found = [Spectrum(None, found[0].rows)]
    return found, tuple(remarks)


def _names_for(headings: Sequence[str], parts: Sequence[re.Match[str] | None], suffix: str) -> dict[str, str]:
    """Return which columns stand for what in the spectrum of one electrode."""
    rename = {}
    if not any(re.match("<?Ewe>?/", heading) for heading in headings):  # a cycler has the potential of the cell alone
        rename = {name: name.replace("Ecell", "Ewe") for name in headings if re.match("<?Ecell>?/", name)}
    if any("Q-Qo" in heading for heading in headings):
        rename |= {heading: "_" for heading in headings if heading.startswith("Capacity")}
    for heading, match in zip(headings, parts, strict=True):
        if match is None:
            continue
        if (match["of"] or match["modulus"] or "") != suffix:
            rename[heading] = "_"
        elif suffix:
            sign, unit = "-" if "-" in match["minus"] else "", match["unit"] or ""
            rename[heading] = f"{sign}{match['part']}(Z){unit}" if match["part"] else f"|Z|{unit}"
    return rename


def joined(parts: Sequence[tuple[str | None, Recording]], remarks: Sequence[str] = ()) -> Recording:
    """Return the recordings of several electrodes as one; remarks that all of them have stand once.

    Parameters
    ----------
    parts : sequence of (str or None, Recording)
        The electrode and what was read of it.
    remarks : sequence of str, optional
        Further remarks.
    """
    first = parts[0][1]
    channel = _CHANNEL.search(first.source)
    shared = {"channel": int(channel[1])} if channel else {}
    notes = dict.fromkeys([*remarks, *(note for _, part in parts for note in part.remarks)])
    sweeps = [
        replace(sweep, state={**sweep.state, **({"electrode": electrode} if electrode else {}), **shared})
        for electrode, part in parts
        for sweep in part.sweeps
    ]
    return replace(first, sweeps=tuple(sweeps), remarks=tuple(notes))


def check_series_capacitance(table: HeadedTable, rows: Rows) -> tuple[str, ...]:
    """Check frequencies by the series capacitance that EC-Lab writes beside them, Cs = −1/(ω Im Z).

    Returns
    -------
    tuple of str
        A remark where the capacitance is what is damaged, because the frequency is in step with those beside it.

    Raises
    ------
    FileFormatError
        At the first row where they contradict each other by more than 0.1 % and the frequency that the capacitance
        gives fits better between its neighbours.
    """
    if "Cs/µF" not in table.headings:
        return ()
    cells, remarks = side_column(table, table.headings.index("Cs/µF"))
    capacitance = 1e-6 * cells[np.searchsorted(table.lines, rows.lines)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = -capacitance * 2 * np.pi * rows.frequency * rows.impedance.imag
    known = ~np.isnan(capacitance) & (capacitance != 0) & (rows.impedance.imag != 0)
    wrong = np.flatnonzero(~(np.abs(ratio - 1) < 1e-3) & known)
    for i in map(int, wrong):
        if wrong.size > max(1, known.sum() // 10) or not _fits_as_it_is(rows.frequency, i, float(ratio[i])):
            raise rows.error(
                i,
                f"the series capacitance {capacitance[i]:g} F does not belong to {rows.frequency[i]:g} Hz and Im Z = "
                f"{rows.impedance[i].imag:g} ohm. The row is damaged: export or copy the file again.",
            )
    if wrong.size:
        at = f"first at {rows.unit} {rows.lines[wrong[0]]}"
        many = count_of(wrong.size, "series capacitance belongs", "series capacitances belong")
        remarks = (*remarks, f"{many} to no frequency beside them ({at})")
    return remarks


def _fits_as_it_is(frequency: NDArray[np.float64], i: int, ratio: float) -> bool:
    """Say whether a frequency fits between its neighbours better than the one that its capacitance gives."""
    if frequency.size < 3 or not ratio > 0:
        return False
    log = np.log(frequency)
    middle = 0.5 * (log[i - 1] + log[i + 1]) if 0 < i < frequency.size - 1 else None
    expected = middle if middle is not None else 2 * log[1] - log[2] if i == 0 else 2 * log[-2] - log[-3]
    return bool(abs(log[i] - expected) < abs(log[i] - np.log(ratio) - expected))


def check_measured_order(rows: Rows) -> Rows:
    """Return the points without their time if it does not go on: EC-Lab writes points in the order of measurement.

    Raises
    ------
    FileFormatError
        If time runs back at most points.
    """
    return steady_time(rows, [np.arange(rows.frequency.size)])


def with_blocks(table: HeadedTable, rows: Rows) -> Rows:
    """Return the points with the direction and the capacity of the block before each sweep, in files that hold blocks.

    Looped files hold rows of rest, charge and discharge between the sweeps, with the columns ``ox/red`` or ``half
    cycle``. In EC-Lab a positive current is an oxidation and called charge. The direction is that of the last current
    that flowed since the sweep before, and rest if none did.

    Parameters
    ----------
    table : HeadedTable
        All rows.
    rows : Rows
        Those that are points.
    """
    names = list(table.headings)
    current = next((i for i, name in enumerate(names) if re.match(r"<?I>?/[mµn]?A$", name)), None)
    if current is None or not {"ox/red", "half cycle"} & {*names}:
        return rows
    at = np.searchsorted(table.lines, rows.lines)
    between = np.ones(len(table.lines), dtype=bool)
    between[at] = False
    flow = np.where(between, np.nan_to_num(side_column(table, current)[0]), 0.0)
    flow[np.abs(flow) <= 1e-3 * np.max(np.abs(flow))] = 0.0  # what flows at rest is noise
    direction = np.full(at.size, np.nan)
    for k in np.flatnonzero(np.diff(at, prepend=-1) > 1):
        block = np.sign(flow[(at[k - 1] + 1 if k else 0) : at[k]])
        direction[k:] = block[block != 0][-1] if block.any() else 0.0
    states = {**rows.states, "direction": direction}
    capacity = next((i for i, name in enumerate(names) if name.startswith("Capacity")), None)
    meaning = None if capacity is None else meaning_of(names[capacity])
    if capacity is not None and isinstance(meaning, Meaning):
        states["capacity"] = meaning.factor * side_column(table, capacity)[0][at]
    return replace(rows, states=states)


def with_loops(table: HeadedTable, rows: Rows, starts: NDArray[np.int64] | None) -> Rows:
    """Return the points with the number of the loop as cycle, if the file has loops and no column of the cycle.

    Parameters
    ----------
    table : HeadedTable
        All rows.
    rows : Rows
        Those that are points.
    starts : ndarray of int, or None
        Index of the first row of each loop.
    """
    if starts is None or starts.size < 2 or "cycle" in rows.states or "z_cycle" in rows.states:
        return rows
    at = np.searchsorted(table.lines, rows.lines)
    loop = np.searchsorted(starts, at, side="right").astype(float)
    return Rows(
        rows.source, rows.frequency, rows.impedance, {**rows.states, "cycle": loop}, rows.lines, rows.unit, rows.remarks
    )


def with_stated_start(recorded: Recording, first: float | None) -> Recording:
    """Return the recording with sweeps marked as unfinished that do not begin where the settings say.

    Parameters
    ----------
    recorded : Recording
        What was read.
    first : float or None
        First frequency by the settings, Hz.
    """
    if first is None:
        return recorded
    remarks, sweeps = list(recorded.remarks), []
    for number, sweep in enumerate(recorded.sweeps, start=1):
        begins = float(sweep.frequency[0])
        late = sweep.finished and abs(np.log(begins / first)) > 0.05
        if late:
            remarks.append(
                f"sweep {number} is unfinished: it begins at {begins:.4g} Hz and the header says {first:.4g} Hz"
            )
        sweeps.append(replace(sweep, finished=sweep.finished and not late))
    return replace(recorded, sweeps=tuple(sweeps), remarks=tuple(remarks))
