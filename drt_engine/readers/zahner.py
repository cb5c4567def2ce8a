"""Zahner Thales files (.ism), through zahner_analysis, the package of the maker.

The file holds |Z| and phase, the time of each point, free text on the system, and for some measurements potential and
current of each point. Thales begins a sweep in the middle of the range, goes to one end, and measures the whole range
from there; as in the package, only that last branch is the spectrum.
"""

import importlib
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import ReadOptions, Recording, format_error
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import State, stated
from drt_engine.readers.sweeps import recording
from drt_engine.text import count_of

__all__ = ["READER", "Zahner"]

MAX_BYTES = 64 * 2**20
"""Largest file that is read, bytes."""

_MAGIC = b"\x00\x00\xff\xff\xff\xfe"
_TRACKS = {"Voltage/V": "voltage", "Current/A": "current"}
_FIRST_VALUE = re.compile(r"\s*([+-]?[\d.,]+(?:[eE][+-]?\d+)?)\s*([^\d\s,;/+-][^\s,;/]*)?")


@dataclass(frozen=True)
class Zahner:
    """Reader of .ism files."""

    name: str = "zahner"
    title: str = "Zahner Thales (.ism), with zahner_analysis"
    suffixes: tuple[str, ...] = (".ism",)
    states: tuple[State, ...] = (
        State("voltage", "potential of each point, mean of the sweep; else that of the header", "format, field"),
        State("current", "current of each point, mean of the sweep; else that of the header", "format, field"),
        State("temperature", "temperature of the header, if it has a unit", "field"),
        State("area", "electrode area, if it has a unit", "field"),
    )

    def scan(self, head: bytes, path: Path) -> bool:
        """Say whether the file begins as those of Thales do, or has their ending and a plausible beginning."""
        if len(head) < 20:
            return False
        points = int.from_bytes(head[6:12], "big", signed=True) + 1
        first = struct.unpack(">d", head[12:20])[0]
        plausible = 1 <= points < 10**6 and 1e-7 < first < 1e9
        return plausible and (head.startswith(_MAGIC) or path.suffix.lower() in self.suffixes)

    def read(self, path: Path, options: ReadOptions) -> Recording:  # noqa: ARG002 (the file says all of itself)
        """Read the spectrum.

        Raises
        ------
        FileFormatError
            If zahner_analysis is not installed or cannot read the file, and for values that no spectrum has.
        """
        file = _parsed(path)
        rows, remarks = _rows(path, file)
        texts = {
            "voltage": str(file.getStartVoltageString()),
            "current": str(file.getStartCurrentString()),
            "temperature": str(file.getStartTemperatureString()),
            "area": str(file.getElectrodeAreaString()),
        }
        states, notes = _header_states({n: text for n, text in texts.items() if n not in rows.states})
        if file.metaDataAcqParsingErrorOccurred:
            notes.append("what follows the impedance is of another version of the format and was not read in whole")
        metadata = {
            "instrument": "Zahner",
            "system": str(file.getSystemString()).strip(),
            "comments": str(file.getCommentStrings()).strip(),
            "started": str(file.getMeasurementStartDateTime()),
        }
        return recording(
            rows,
            self.name,
            states=states,
            metadata={name: value for name, value in metadata.items() if value},
            remarks=[*remarks, *notes],
        )


READER = Zahner()


def _parsed(path: Path) -> Any:
    try:
        importer = importlib.import_module("zahner_analysis.file_import.ism_import").IsmImport
    except ImportError as error:
        raise format_error(
            path,
            None,
            "Zahner .ism files are read with zahner_analysis, which is not installed: "
            'pip install "zahner-analysis>=26.42". '
            "A list as text or csv, exported from Thales or Zahner Analysis, needs nothing.",
        ) from error
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise format_error(
                path, f"byte {MAX_BYTES}", f"the file has {size / 2**20:.0f} MiB; up to 64 MiB are read."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            return importer(path.read_bytes())
    except FileFormatError:
        raise
    except Exception as error:  # whatever a damaged file provokes
        what = f"{type(error).__name__}: {error}".strip(": ").replace("\n", " ")[:300]
        raise format_error(
            path, "byte 0", f"zahner_analysis cannot read it ({what}). The file is cut or damaged: export it as text."
        ) from error


def _rows(path: Path, file: Any) -> tuple[Rows, list[str]]:
    """Return the points of the last branch in the order of measurement, and remarks."""
    f, modulus, phase = (np.asarray(a, dtype=np.float64) for a in (file.frequency, file.impedance, file.phase))
    size = f.size
    keep = slice(*sorted((int(np.argmin(f)), int(np.argmax(f)))))
    keep = slice(keep.start, keep.stop + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        z = modulus * np.exp(1j * phase)
    tracks, remarks = _tracks(file, size, keep)
    rows = Rows(path, f[keep], z[keep], tracks, np.arange(1, size + 1)[keep], "point")
    ok = np.isfinite(rows.frequency) & (rows.frequency > 0) & np.isfinite(rows.impedance) & (modulus[keep] > 0)
    if not np.all(ok):
        i = int(np.argmin(ok))
        raise rows.error(
            i,
            f"got {rows.frequency[i]:g} Hz and {rows.impedance[i]:g} ohm; positive and finite ones were expected. "
            "It is damaged.",
        )
    left = size - rows.frequency.size
    if left:
        remarks.append(f"{count_of(left, 'point')} of the overlap before or after the long branch left out")
    return rows, remarks


def _tracks(file: Any, size: int, keep: slice) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Return what was measured at each point, and remarks on what is not a number."""
    found, remarks = {}, list[str]()
    for track, name in _TRACKS.items():
        values = np.asarray(file.acqChannels.get(track, ()), dtype=np.float64)
        if values.size != size or file.metaDataAcqParsingErrorOccurred:
            continue
        missing = np.isnan(values)
        if missing.any():
            remarks.append(f"{name} is not a number at {missing.sum()} of {count_of(size, 'point')} and left out there")
        if np.any(values[~missing]):
            found[name] = values[keep]
    return found, remarks


def _header_states(texts: Mapping[str, str]) -> tuple[dict[str, object], list[str]]:
    """Return the states that the text fields hold, where they have a number and its unit, and remarks."""
    states, remarks = dict[str, object](), list[str]()
    for name, text in texts.items():
        match = _FIRST_VALUE.match(text)
        if not text.strip():
            continue
        if match is None or not match[2]:
            remarks.append(f"{name} not taken: {text.strip()[:40]!r} has no number with a unit")
            continue
        value, notes = stated(name, f"{match[1]} {match[2]}")
        remarks += notes
        if value is not None:
            states[name] = value
    return states, remarks
