"""PalmSens PSTrace sessions (.pssession).

JSON, usually in UTF-16, whose keys are written in small letters by some versions. A measurement of impedance holds in
``EISDataList`` an entry for each channel, and that in ``SubScans`` one for each potential or repetition; each has
arrays of values with a description and a unit. ``ZIm`` is -Im Z: positive for a capacitor, as the phase confirms where
it was stored. Every spectrum is read, with its channel, its mean potential and its mean direct current.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import ReadOptions, Recording, Sweep, format_error
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import State, untaken
from drt_engine.readers.sweeps import recording
from drt_engine.text import count_of

__all__ = ["READER", "PalmSens"]

MAX_BYTES = 128 * 2**20
"""Largest session that is read, bytes."""

_MARKS = ("PalmSens.DataFiles.SessionFile", "PalmSens.Data")
_ARRAYS = {
    "frequency": "frequency",
    "zre": "re",
    "zim": "minus_im",
    "z": "modulus",
    "phase": "minus_phase",
    "potential": "voltage",
    "idc": "current",
    "time": "time",
}
_UNITS = {
    "volt": ("voltage", "V"),
    "ampere": ("current", "A"),
    "second": ("time", "s"),
    "time": ("time", "s"),
    "hertz": ("frequency", "Hz"),
}
_PREFIXES = {"": "", "nano": "n", "micro": "µ", "milli": "m", "kilo": "k", "mega": "M", "pico": "p"}
_CHANNEL = re.compile(r"\s*CH(?:ANNEL)?\s*(\d{1,4})\b", re.IGNORECASE)
_TOLERANCE = 1e-2
"""Relative difference of |Z| from Re and Im from which a row is damaged; the file has four digits or more of each."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PalmSens:
    """Reader of PSTrace sessions: all channels, potentials and repetitions."""

    name: str = "palmsens"
    title: str = "PalmSens PSTrace session (.pssession)"
    suffixes: tuple[str, ...] = (".pssession",)
    states: tuple[State, ...] = (
        State("channel", "title of the channel", ""),
        State("voltage", "array potential, mean of the spectrum", "unit of the array"),
        State("current", "array Idc, mean of the spectrum", "unit of the array"),
        State("time", "array time, at the first point", "unit of the array"),
        State("label", "titles of the measurement and the spectrum", ""),
    )

    def scan(self, head: bytes, path: Path) -> bool:
        """Say whether the file begins as sessions do, or has their ending: a damaged one is refused as a session."""
        text = head.decode("utf-16-le" if b"\0" in head[:64] else "utf-8", errors="ignore").lstrip("\ufeff \r\n\t")
        return path.suffix.lower() in self.suffixes or (text.startswith("{") and any(mark in text for mark in _MARKS))

    def read(self, path: Path, options: ReadOptions) -> Recording:  # noqa: ARG002 (the file says all of itself)
        """Read every spectrum of every measurement.

        Raises
        ------
        FileFormatError
            For a file that is no session, one without impedance, and values that no spectrum has.
        """
        session = _session(path)
        sweeps, remarks, skipped, empty = list[Sweep](), list[str](), 0, 0
        for number, measurement in enumerate(_list(session, "measurements"), start=1):
            found = list(_spectra(measurement))
            skipped += not found
            empty += _count(measurement) - len(found) if found else 0
            for channel, titles, arrays in found:
                where = f"measurement {number}{f', channel {channel}' if channel else ''}, {titles[-1]!r}"
                rows, notes = _rows(path, where, {name: arrays[name] for name in arrays if name in _ARRAYS.values()})
                notes += untaken([name for name in arrays if name not in _ARRAYS.values()], ())
                label = " / ".join(dict.fromkeys(title for title in titles if title))
                states: dict[str, object] = {"channel": channel} if channel else {}
                done = recording(rows, self.name, states=states | ({"label": label} if label else {}))
                sweeps += done.sweeps
                remarks += [f"{where}: {remark}" for remark in (*notes, *done.remarks)]
        if not sweeps:
            raise format_error(path, "byte 0", "the session holds no impedance: measurements of other techniques only.")
        if skipped:
            remarks.append(f"{count_of(skipped, 'measurement')} without impedance left out")
        if empty:
            remarks.append(f"{count_of(empty, 'measurement')} of impedance without frequency, ZRe and ZIm left out")
        return Recording(path.name, self.name, tuple(sweeps), tuple(remarks), {"instrument": "PalmSens"}, True)


READER = PalmSens()


def _session(path: Path) -> dict[str, Any]:
    """Return the content with keys in small letters."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise format_error(path, f"byte {MAX_BYTES}", f"{size / 2**20:.0f} MiB; sessions are read up to 128 MiB.")
        raw = path.read_bytes()
    except OSError as error:
        raise format_error(path, None, f"it cannot be read ({error.strerror or error}).") from error
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le" if b"\0" in raw[:64] else "utf-8-sig"
    text = raw.decode(encoding, errors="replace").strip("\ufeff\ufffd \r\n\t\0")
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: {str(key).lower(): value for key, value in pairs})
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise format_error(path, "byte 0", f"no session that can be read ({what}). It is cut or damaged.") from error
    if not isinstance(content, dict):
        raise format_error(path, "byte 0", "no session: an object with measurements was expected. It is damaged.")
    return content


def _list(owner: Any, key: str) -> list[Any]:
    value = owner.get(key) if isinstance(owner, dict) else None
    return value if isinstance(value, list) else []


def _spectra(measurement: Any) -> Iterator[tuple[int | None, tuple[str, ...], dict[str, Mapping[str, Any]]]]:
    """Yield channel, titles and arrays of every spectrum of a measurement."""
    own = _title(measurement)
    entries = _list(measurement, "eisdatalist") or [measurement]
    for entry in entries:
        match = _CHANNEL.match(_title(entry))
        for scan in _list(entry, "subscans") or [entry]:
            arrays = _arrays(scan)
            if {"frequency", "re", "minus_im"} <= arrays.keys():
                yield int(match[1]) if match else None, (own, _title(entry), _title(scan)), arrays


def _count(measurement: Any) -> int:
    """Return how many spectra a measurement should have."""
    entries = _list(measurement, "eisdatalist") or [measurement]
    return sum(max(1, len(_list(entry, "subscans"))) for entry in entries)


def _title(owner: Any) -> str:
    return str(owner.get("title") or "").strip() if isinstance(owner, dict) else ""


def _arrays(owner: Any) -> dict[str, Mapping[str, Any]]:
    """Return the arrays of a data set by what they hold, or as a heading; of two with one description the first."""
    found: dict[str, Mapping[str, Any]] = {}
    for array in _list(owner.get("dataset") if isinstance(owner, dict) else None, "values"):
        if isinstance(array, dict):
            name = str(array.get("description") or "").strip()
            unit = _UNITS.get(_unit_of(array).lower(), ("", ""))[1]
            found.setdefault(_ARRAYS.get(name.lower(), f"{name}/{unit}" if unit else name), array)
    return found


def _values(array: Mapping[str, Any]) -> Floats:
    return np.array([_number(cell.get("v") if isinstance(cell, dict) else cell) for cell in _list(array, "datavalues")])


def _number(cell: Any) -> float:
    """Return a value as a number, NaN if it is not one."""
    try:
        return float(cell) if isinstance(cell, (int, float)) and not isinstance(cell, bool) else np.nan
    except OverflowError:
        return np.nan


def _unit_of(array: Mapping[str, Any]) -> str:
    unit = array.get("unit")
    return str(unit.get("type") or "").rpartition(".")[2] if isinstance(unit, dict) else ""


def _factor(name: str, unit: str) -> float | None:
    """Return what a unit as ``MicroAmpere`` is in SI, None if it is not one of the quantity."""
    match = re.fullmatch(r"(.*?)(volt|ampere|second|time|hertz)s?", unit.lower())
    if match is None or match[1] not in _PREFIXES:
        return None
    quantity, symbol = _UNITS[match[2]]
    meaning = meaning_of(f"{quantity}/{_PREFIXES[match[1]]}{symbol}")
    return meaning.factor if isinstance(meaning, Meaning) and quantity == name else None


def _rows(path: Path, where: str, arrays: Mapping[str, Mapping[str, Any]]) -> tuple[Rows, list[str]]:
    """Return the points of one spectrum, and remarks.

    Raises
    ------
    FileFormatError
        For values that no spectrum has, and |Z| and phase that contradict Re and Im.
    """
    values = {name: _values(array) for name, array in arrays.items()}
    f, re_, minus = (values[name] for name in ("frequency", "re", "minus_im"))
    if not f.size == re_.size == minus.size or not f.size:
        raise format_error(
            path, where, f"{f.size} frequencies, {re_.size} real and {minus.size} imaginary parts: damaged."
        )
    f = f * (_factor("frequency", _unit_of(arrays["frequency"])) or 1.0)
    z = re_ - 1j * minus
    rows = Rows(path, f, z, {}, np.arange(1, f.size + 1), f"{where}, point")
    wrong = np.flatnonzero(~(np.isfinite(f) & (f > 0) & np.isfinite(z)))
    if wrong.size:
        i = int(wrong[0])
        raise rows.error(i, f"got {f[i]:g} Hz and {z[i]:g} ohm; positive and finite ones were expected. It is damaged.")
    _refuse_contradiction(rows, values)
    states, remarks = dict[str, Floats](), list[str]()
    for name in ("voltage", "current", "time"):
        if name not in values:
            continue
        factor = _factor(name, _unit_of(arrays[name]))
        if factor is None:
            remarks.append(f"{name} not taken: its unit {_unit_of(arrays[name])!r} is not known")
        elif values[name].size != f.size:
            remarks.append(f"{name} not taken: {count_of(values[name].size, 'value')} for {count_of(f.size, 'point')}")
        else:
            states[name] = factor * values[name]
            if np.isnan(values[name]).any():
                lost = count_of(
                    np.isnan(values[name]).sum(),
                    f"value of the {name} is not a number",
                    f"values of the {name} are not numbers",
                )
                remarks.append(f"{lost} and left out")
    if "time" in states and not np.any(states["time"]):
        states.pop("time")
    return replace(rows, states=states), remarks


def _refuse_contradiction(rows: Rows, values: Mapping[str, Floats]) -> None:
    """Hold Re and Im against |Z| and the phase, which is stored with the sign of ZIm."""
    size = np.abs(rows.impedance)
    modulus, phase = (values.get(name) for name in ("modulus", "minus_phase"))
    if modulus is not None and modulus.size == size.size and np.any(modulus):
        _refuse_off(rows, np.abs(modulus - size) > _TOLERANCE * size, "Z")
    if phase is not None and phase.size == size.size and np.any(phase):
        angle = np.degrees(np.angle(rows.impedance))
        turned = [np.abs((angle - sign * phase + 180) % 360 - 180) > 1.0 for sign in (-1, 1)]
        _refuse_off(rows, min(turned, key=np.count_nonzero), "Phase")


def _refuse_off(rows: Rows, off: NDArray[np.bool_], what: str) -> None:
    if off.any():
        i = int(np.argmax(off))
        raise rows.error(i, f"ZRe and ZIm give {rows.impedance[i]:.6g} ohm, which {what} contradicts: it is damaged.")
