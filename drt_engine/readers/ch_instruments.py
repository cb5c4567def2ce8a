"""CH Instruments text (.txt) of the technique A.C. Impedance.

A header of the date, the technique and lines of ``Key = value``, headings between commas, an empty line, rows. Z" is
Im Z, negative for a capacitor, as the phase confirms; every row is checked against its |Z| and phase within the four
digits that are printed. Init E is the potential of the measurement (``voltage``). A sweep that does not reach the Low
Frequency of the header is unfinished.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.header import header_number, positive_number, refuse_second, sweep_recording, unit_in_name
from drt_engine.readers.point_checks import points_of
from drt_engine.readers.states import State, stated, untaken_fields
from drt_engine.readers.text import TextFile, head_text, read_text, table_below

__all__ = ["READER", "CHInstruments"]

_TECHNIQUE = re.compile(r"(?:A\.?C\.? Impedance|Impedance - \w+|IMP\w*)\s*$")
_MODEL = re.compile(r"Instrument Model:\s*CHI")
_HEADINGS = re.compile(r"(?=.*\bFreq\w*/Hz\s*(?:[,\t]|$))[A-Z].*[,\t]")


@dataclass(frozen=True)
class CHInstruments:
    """Reader of CH Instruments text files."""

    name: str = "ch-instruments"
    title: str = "CH Instruments text (.txt)"
    suffixes: tuple[str, ...] = (".txt", ".csv")
    states: tuple[State, ...] = (State("voltage", "Init E", "name of the field"),)

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (part of the protocol)
        """Say whether the header is of CH Instruments."""
        lines = head_text(head).splitlines()[:80]
        known = any(_MODEL.match(line) for line in lines) or any(_TECHNIQUE.match(line) for line in lines[:4])
        return known and any(_HEADINGS.match(line) or " = " in line for line in lines)

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read the sweep.

        Raises
        ------
        FileFormatError
            For another technique, a header that is cut or doubled, and damage.
        """
        text = read_text(path, options)
        refuse_second(text, _MODEL)
        refuse_second(text, _HEADINGS)
        heading = next((n for n, line in enumerate(text.lines, start=1) if _HEADINGS.match(line)), None)
        if heading is None:
            raise text.error(len(text.lines), _no_frequencies(text))
        headings = [cell.strip() for cell in re.split(r"[,\t]", text.lines[heading - 1])]
        table = table_below(text, heading, headings=headings, options=options)
        rows = points_of(table, heading)
        values = _values(text, heading)
        ends = [positive_number(values.get(f"{which} Frequency (Hz)")) for which in ("High", "Low")]
        up = rows.frequency[-1] > rows.frequency[0]
        first, last = ends[::-1] if up else ends
        voltage, notes = stated("voltage", *unit_in_name(values, "Init E"))
        taken = {name for name in values if re.match(r"Init E|Cycles|Amplitude|Header|Note|File", name)}
        remarks = [*notes, *untaken_fields(values, taken, {*rows.states, "voltage"})]
        if first and abs(np.log(rows.frequency[0] / first)) > 0.05:
            remarks.append(f"the data begin at {rows.frequency[0]:.6g} Hz, where the header says {first:.6g} Hz")
        return sweep_recording(
            rows,
            self.name,
            states={"voltage": voltage},
            metadata={
                "instrument": values.get("Instrument Model"),
                "technique": next((line.strip() for line in text.lines[:4] if _TECHNIQUE.match(line)), None),
                "date": next((line.strip() for line in text.lines[:heading] if re.search(r"\d:\d\d:\d\d", line)), None),
                "amplitude_V": header_number(values.get("Amplitude (V)")),
                "quiet_time_s": header_number(values.get("Quiet Time (sec)")),
                "first_frequency": first,
                "last_frequency": last,
            },
            remarks=remarks,
            last=last,
        )


READER = CHInstruments()


def _values(text: TextFile, heading: int) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in text.lines[: heading - 1]:
        key, sign, value = line.partition(" = ")
        if not sign:
            key, sign, value = line.partition(":")
        if sign:
            values.setdefault(key.strip(), value.strip())
    return values


def _no_frequencies(text: TextFile) -> str:
    technique = next((line.strip() for line in text.lines[1:3] if line.strip()), "an unknown technique")
    return (
        f"no line of headings with Freq/Hz: the file is of {technique!r} and holds no frequencies, or is cut in its "
        "header. Export a measurement of A.C. Impedance as text."
    )
