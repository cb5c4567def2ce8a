"""BioLogic EC-Lab binary files, .mpr, through galvani."""

import importlib
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import ReadOptions, Recording, problem
from drt_engine.readers.biologic import check_measured_order, check_series_capacitance, stated_area, with_loops
from drt_engine.readers.columns import Rows, find_columns, rows_of
from drt_engine.readers.sweeps import recording

__all__ = ["READER"]

MAX_BYTES = 256 * 2**20
"""Largest file that is read, bytes."""

_MAGIC = b"BIO-LOGIC MODULAR FILE\x1a"

# Offsets in the settings, found by comparing binary files with the text that EC-Lab exported from them.
_AREA, _REFERENCE = 0x211, 0x215
_FIRST_FREQUENCY, _LAST_FREQUENCY = 0x1862, 0x1867
_UNITS = (1e6, 1e3, 1.0, 1e-3, 1e-6)


@dataclass(frozen=True)
class RecordTable:
    """Binary records as a table.

    Parameters
    ----------
    source : Path
        The file.
    records : ndarray, structured, shape (N,)
        One record a point; the names of its fields are the headings.
    """

    source: Path
    records: NDArray[np.void]

    unit = "record"
    """What `lines` counts."""

    @property
    def headings(self) -> tuple[str, ...]:
        """Names of the fields."""
        return tuple(self.records.dtype.names or ())

    @property
    def lines(self) -> NDArray[np.int64]:
        """Number of each record, from 1."""
        return np.arange(1, self.records.size + 1)

    # Part of what a table is to others; records have no words for missing values.
    def numbers(self, indices: Sequence[int], missing: frozenset[str] = frozenset()) -> NDArray[np.float64]:  # noqa: ARG002
        """Return fields as numbers, shape (N, len(indices))."""
        names = self.headings
        return np.column_stack([self.records[names[index]].astype(float) for index in indices])

    def resolution(self, row: int, index: int) -> float:
        """Return half the distance to the next number that the field can hold."""
        value = self.records[self.headings[index]][row]
        return 0.5 * float(np.spacing(np.abs(value))) if isinstance(value, np.floating) else 0.5


@dataclass(frozen=True)
class BiologicBinary:
    """Reader of EC-Lab's binary files: PEIS, GEIS and staircase techniques, looped or not."""

    name: str = "biologic-mpr"
    title: str = "BioLogic EC-Lab binary (.mpr), with galvani"
    suffixes: tuple[str, ...] = (".mpr",)

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (the content says all)
        """Say whether the file begins as EC-Lab begins its binary files."""
        return head.startswith(_MAGIC)

    def read(self, path: Path, options: ReadOptions) -> Recording:  # noqa: ARG002 (the file says all of itself)
        """Read every sweep, with the state that EC-Lab wrote in each record.

        Raises
        ------
        FileFormatError
            If galvani is not installed, for a damaged file and for a technique without impedances.
        """
        raw = _checked_modules(path)
        file = _parsed(path)
        table = RecordTable(path, file.data)
        if not table.records.size:
            raise problem(path, "record 1", "no records: the measurement was stopped before its first point.")
        columns = find_columns(table.headings, lambda message: problem(path, "column types of the data", message))
        rows = rows_of(table, columns)
        check_series_capacitance(table, rows)
        check_measured_order(rows)
        settings = raw[b"VMP Set   "]
        area = _area(settings)
        states, remarks = stated_area(area)
        metadata: dict[str, object] = {"instrument": "BioLogic", "columns": table.headings}
        metadata |= {"started": str(file.timestamp)} if hasattr(file, "timestamp") else {}
        metadata |= {} if area is None else {"electrode area": area}
        loops = None if file.loop_index is None else np.append(0, np.asarray(file.loop_index, dtype=np.int64))
        return recording(
            with_loops(table, rows, None if loops is None else np.unique(loops)),
            self.name,
            states=states,
            metadata=metadata,
            remarks=remarks,
            last=_last_frequency(settings, rows),
        )


def _checked_modules(path: Path) -> dict[bytes, bytes]:
    """Return the modules of the file by short name, having checked that each is as long as it says."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise problem(path, f"byte {MAX_BYTES}", f"the file has {size / 2**20:.0f} MiB; up to 256 MiB are read.")
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise problem(path, None, "there is no such file.") from error
    modules: dict[bytes, bytes] = {}
    position = 52
    while position < len(raw):
        name = raw[position + 6 : position + 16]
        if not raw.startswith(b"MODULE", position) or len(raw) < position + 57:
            raise problem(
                path,
                f"byte {position}",
                f"a module was expected to begin; got {raw[position : position + 6]!r}. The file is cut or damaged.",
            )
        wide = raw[position + 41 : position + 45] == b"\xff\xff\xff\xff"  # since EC-Lab 11.50
        length = struct.unpack_from("<I", raw, position + (45 if wide else 41))[0]
        start = position + (65 if wide else 57)
        if start + length > len(raw):
            what = name.decode("latin-1").strip()
            raise problem(
                path,
                f"byte {start}",
                f"the module {what!r} says it has {length} bytes, and {len(raw) - start} are left. "
                "The file is cut or damaged.",
            )
        modules[name] = raw[start : start + length]
        position = start + length
    for needed in (b"VMP Set   ", b"VMP data  "):
        if needed not in modules:
            raise problem(
                path,
                f"byte {len(raw)}",
                f"the module {needed.decode().strip()!r} is missing: the file is cut or damaged.",
            )
    return modules


def _parsed(path: Path) -> Any:
    """Return what galvani makes of the file, whatever it raises on damaged ones turned into our error."""
    try:
        parser = importlib.import_module("galvani.BioLogic")
    except ImportError as error:
        raise problem(
            path,
            None,
            'BioLogic .mpr files are read with galvani, which is not installed: pip install "drt-engine[biologic]". '
            "A text export from EC-Lab needs nothing.",
        ) from error
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("error")
            return parser.MPRfile(file)
    except Exception as error:  # whatever a damaged file provokes
        what = f"{type(error).__name__}: {error}".strip(": ").replace("\n", " ")
        raise problem(
            path,
            "byte 52",
            f"galvani cannot read the modules that begin here ({what}). The file is damaged or of a version that "
            "galvani does not know: export it as text from EC-Lab.",
        ) from error


def _area(settings: bytes) -> float | None:
    """Return the electrode area, cm², if the name of the reference electrode follows where it is expected."""
    if len(settings) < _REFERENCE + 1:
        return None
    name = settings[_REFERENCE + 1 : _REFERENCE + 1 + settings[_REFERENCE]]
    if len(name) < 4 or not all(32 <= byte < 127 for byte in name):
        return None
    area = struct.unpack_from("<f", settings, _AREA)[0]
    return float(f"{area:.7g}") if 1e-7 < area < 1e5 else None


def _last_frequency(settings: bytes, rows: Rows) -> float | None:
    """Return the last frequency by the settings, Hz, if they have the first one where it is expected."""
    if len(settings) < _LAST_FREQUENCY + 5 or np.any(rows.states.get("sequence", np.zeros(1)) > 0):
        return None
    ends = []
    for offset in (_FIRST_FREQUENCY, _LAST_FREQUENCY):
        value, unit = struct.unpack_from("<fB", settings, offset)
        ends.append(value * _UNITS[unit] if unit < len(_UNITS) else 0.0)
    first, last = ends
    return last if last > 0 and abs(first / rows.frequency[0] - 1) < 0.01 else None


READER = BiologicBinary()
