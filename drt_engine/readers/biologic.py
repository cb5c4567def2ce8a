"""What the text and the binary files of BioLogic's EC-Lab have in common."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import Recording
from drt_engine.readers.columns import Rows, Table

__all__ = [
    "DEFAULT_AREA",
    "check_measured_order",
    "check_series_capacitance",
    "stated_area",
    "with_loops",
    "with_stated_start",
]

DEFAULT_AREA = 0.001
"""The electrode area that EC-Lab writes if nobody entered one, cm²."""


def stated_area(area: float | None) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the electrode area as a state, and a remark if EC-Lab's placeholder stands in its place.

    Parameters
    ----------
    area : float or None
        As the file has it, cm².
    """
    if area is None or not np.isfinite(area) or area <= 0:
        return {}, ()
    if abs(area / DEFAULT_AREA - 1) < 1e-6:
        return {}, (
            f"the electrode area of {DEFAULT_AREA} cm2 is what EC-Lab writes if none was entered, and was not taken as "
            "one",
        )
    return {"area": float(area)}, ()


def check_series_capacitance(table: Table, rows: Rows) -> None:
    """Check frequencies by the series capacitance that EC-Lab writes beside them, Cs = −1/(ω Im Z).

    Raises
    ------
    FileFormatError
        At the first row where they contradict each other by more than 0.1 %.
    """
    if "Cs/µF" not in table.headings:
        return
    index = table.headings.index("Cs/µF")
    at = np.searchsorted(table.lines, rows.lines)
    capacitance = 1e-6 * table.numbers([index])[at, 0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = -capacitance * 2 * np.pi * rows.frequency * rows.impedance.imag
    wrong = np.flatnonzero(~(np.abs(ratio - 1) < 1e-3) & (capacitance != 0) & (rows.impedance.imag != 0))
    if wrong.size:
        i = int(wrong[0])
        raise rows.error(
            i,
            f"the series capacitance {capacitance[i]:g} F does not belong to {rows.frequency[i]:g} Hz and Im Z = "
            f"{rows.impedance[i].imag:g} ohm. The row is damaged: export or copy the file again.",
        )


def check_measured_order(rows: Rows) -> None:
    """Check that time goes on, as EC-Lab writes points in the order in which they were measured.

    Raises
    ------
    FileFormatError
        At the first row that was measured before the one above it.
    """
    if "time" not in rows.states:
        return
    time = rows.states["time"]
    back = np.flatnonzero(np.diff(time) < -1e-3)
    if back.size:
        i = int(back[0]) + 1
        raise rows.error(
            i,
            f"time runs back, from {time[i - 1]:g} s to {time[i]:g} s. The row is damaged, or two files were joined: "
            "give each a file of its own.",
        )


def with_loops(table: Table, rows: Rows, starts: NDArray[np.int64] | None) -> Rows:
    """Return the points with the number of the loop as cycle, if the file has loops and no column of the cycle.

    Parameters
    ----------
    table : Table
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
