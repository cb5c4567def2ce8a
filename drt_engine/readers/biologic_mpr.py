"""BioLogic EC-Lab binary files, .mpr, through galvani.

galvani refuses a file with a column that it does not know. Such columns are cut out of the records before it gets the
file: their sizes follow from the size of a record, and |Z| and phase confirm what stands where.
"""

import importlib
import io
import itertools
import math
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import ReadOptions, Recording, format_error
from drt_engine.readers.biologic import STATES, joined, spectra_of, stated_area, with_loops
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import State, stated
from drt_engine.readers.sweeps import recording

__all__ = ["READER", "RecordTable", "area_of", "checked_modules", "parsed"]

MAX_BYTES = 256 * 2**20
"""Largest file that is read, bytes."""

_MOST_WAYS = 20000
"""Ways to divide a record among columns of unknown types that are tried, at most."""

_MAGIC = b"BIO-LOGIC MODULAR FILE\x1a"

# Offsets in the settings, found by comparing binary files with the text that EC-Lab exported from them.
_AREA, _REFERENCE = 0x211, 0x215
_AREA_UNIT = 0x250  # of the code for the unit of the area
_AREA_UNITS = {2: "cm²", 3: "mm²"}
_FIRST_FREQUENCY, _LAST_FREQUENCY = 0x1862, 0x1867  # each four bytes of a number and one of its unit
_UNITS = (1e6, 1e3, 1.0, 1e-3, 1e-6)  # Hz, by that code: MHz, kHz, Hz, mHz, µHz


@dataclass(frozen=True)
class RecordTable:
    """Binary records as a table.

    Parameters
    ----------
    source : Path
        The file.
    records : ndarray, structured, shape (N,)
        One record a point; the names of its fields are the headings.
    columns : str, optional
        How the user names the columns, as in `ReadOptions`.
    """

    source: Path
    records: NDArray[np.void]
    columns: str | None = None

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

    def cells(self, row: int) -> list[str]:
        """Return the fields of a record as text."""
        return [str(value) for value in self.records[row]]

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
    states: tuple[State, ...] = STATES

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (the content says all)
        """Say whether the file begins as EC-Lab begins its binary files."""
        return head.startswith(_MAGIC)

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read every sweep, with the state that EC-Lab wrote in each record.

        Raises
        ------
        FileFormatError
            If galvani is not installed, for a damaged file and for a technique without impedances.
        """
        modules, remarks = checked_modules(path)
        file, more = parsed(path, modules)
        table = RecordTable(path, file.data, options.columns)
        if not table.records.size:
            raise format_error(path, "record 1", "no records: the measurement was stopped before its first point.")
        try:
            spectra, notes = spectra_of(table)
        except FileFormatError as error:
            if "no column of" not in str(error):
                raise
            raise format_error(path, "column types of the data", str(error).partition(": ")[2]) from error
        settings = modules[b"VMP Set   "].data
        area, odd = _area(settings)
        states, placeholder = stated_area(area)
        metadata: dict[str, object] = {"instrument": "BioLogic", "columns": table.headings}
        metadata |= {"started": str(file.timestamp)} if hasattr(file, "timestamp") else {}
        metadata |= {} if area is None else {"electrode area": area}
        loops = None if file.loop_index is None else np.unique(np.append(0, np.asarray(file.loop_index, np.int64)))
        parts = [
            (
                electrode,
                recording(
                    with_loops(table, rows, loops),
                    self.name,
                    states=states,
                    metadata=metadata,
                    last=_last_frequency(settings, rows),
                ),
            )
            for electrode, rows in spectra
        ]
        return joined(parts, [*remarks, *more, *odd, *placeholder, *notes])


@dataclass(frozen=True)
class _Module:
    """One module of the file: where its header begins, how long that is, its version, and its content."""

    start: int
    header: int
    version: int
    data: bytes


def checked_modules(path: Path) -> tuple[dict[bytes, _Module], tuple[str, ...]]:
    """Return the modules of the file by short name, having checked that each is as long as it says, and remarks."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise format_error(
                path, f"byte {MAX_BYTES}", f"the file has {size / 2**20:.0f} MiB; up to 256 MiB are read."
            )
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise format_error(path, None, "there is no such file.") from error
    modules: dict[bytes, _Module] = {}
    remarks: list[str] = []
    position = 52
    while position < len(raw):
        name = raw[position + 6 : position + 16]
        if not raw.startswith(b"MODULE", position) or len(raw) < position + 57:
            raise format_error(
                path,
                f"byte {position}",
                f"a module was expected to begin; got {raw[position : position + 6]!r}. The file is cut or damaged.",
            )
        wide = raw[position + 41 : position + 45] == b"\xff\xff\xff\xff"  # since EC-Lab 11.50
        length = struct.unpack_from("<I", raw, position + (45 if wide else 41))[0]
        start = position + (65 if wide else 57)
        if start + length > len(raw):
            what = name.decode("latin-1").strip()
            raise format_error(
                path,
                f"byte {start}",
                f"the module {what!r} says it has {length} bytes, and {len(raw) - start} are left. "
                "The file is cut or damaged.",
            )
        if name in modules:
            remarks.append(f"a second module {name.decode('latin-1').strip()!r} begins at byte {position}: not read")
        version = struct.unpack_from("<I", raw, position + (49 if wide else 45))[0]
        modules.setdefault(name, _Module(position, start - position, version, raw[start : start + length]))
        position = start + length
    for needed in (b"VMP Set   ", b"VMP data  "):
        if needed not in modules:
            raise format_error(
                path,
                f"byte {len(raw)}",
                f"the module {needed.decode().strip()!r} is missing: the file is cut or damaged.",
            )
    return modules, tuple(remarks)


def parsed(path: Path, modules: dict[bytes, _Module]) -> tuple[Any, tuple[str, ...]]:
    """Return what galvani makes of the file, whatever it raises on damaged ones turned into our error, and remarks."""
    try:
        parser = importlib.import_module("galvani.BioLogic")
    except ImportError as error:
        raise format_error(
            path,
            None,
            'BioLogic .mpr files are read with galvani, which is not installed: pip install "galvani>=0.5". '
            "A text export from EC-Lab needs nothing.",
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            content, remarks = _known_to(parser, path.read_bytes(), modules[b"VMP data  "])
            return parser.MPRfile(io.BytesIO(content)), remarks
    except Exception as error:  # whatever a damaged file provokes
        what = f"{type(error).__name__}: {error}".strip(": ").replace("\n", " ")
        raise format_error(
            path,
            "byte 52",
            f"galvani cannot read the modules that begin here ({what}). The file is damaged or of a version that "
            "galvani does not know: export it as text from EC-Lab.",
        ) from error


def _known_to(parser: Any, raw: bytes, module: _Module) -> tuple[bytes, tuple[str, ...]]:
    """Return the content of the file without the columns that galvani does not know, and a remark if there are any."""
    points, ids, start = _layout(module)
    known = {*parser.VMPdata_colID_dtype_map, *parser.VMPdata_colID_flag_map}
    unknown = [number for number in ids if number not in known]
    wide = module.version == 0 and any(number > 255 for number in ids)  # galvani reads their low byte only
    records = module.data[start:]
    if not (unknown or wide) or not points or len(records) % points:
        return raw, ()
    cut, kept, unsure = _without(parser, records, points, ids, known)
    data = struct.pack(f"<IB{len(kept)}H", points, len(kept), *kept).ljust(405, b"\0") + cut
    name = raw[module.start : module.start + 41]
    header = name + struct.pack("<II", len(data), 2) + raw[module.start + module.header - 8 :][:8]
    after = module.start + module.header + len(module.data)
    numbers = ", ".join(map(str, unknown))
    remarks = [f"columns of the types {numbers} are not known and left out"] if unknown else []
    if unsure:
        remarks.append(f"{', '.join(map(repr, unsure))} left out: columns beside them have types that are not known")
    return raw[: module.start] + header + data + raw[after:], tuple(remarks)


def _layout(module: _Module) -> tuple[int, list[int], int]:
    """Return the number of points, the types of the columns, and where the records begin in the module."""
    points, count = struct.unpack_from("<IB", module.data)
    if module.version == 0 and module.data[5]:
        return points, list(module.data[5 : 5 + count]), 100
    order, start = (">", 1007) if module.version == 0 else ("<", 406 if module.version == 3 else 405)
    return points, list(struct.unpack_from(f"{order}{count}H", module.data, 5)), start


def _without(
    parser: Any, records: bytes, points: int, ids: Sequence[int], known: set[int]
) -> tuple[bytes, list[int], list[str]]:
    """Return the records without columns of unknown types, the types that stay, and those that are lost with them.

    The sizes of unknown columns add up to the size of a record less that of the known ones. Of several ways to divide a
    record, that one is taken by which frequencies are plausible, the impedance agrees with |Z|, and fewest numbers are
    beyond any measurement. Of several such ways, columns in which all agree are taken; if the impedance is not among
    them, the file is refused.
    """
    size = len(records) // points
    runs = _runs(parser, ids, known)
    free = size - sum(width for width, count in runs if not count)
    raw = np.frombuffer(records, dtype=np.uint8).reshape(points, size)
    dtype, _ = parser.VMPdata_dtype_from_colIDs([number for number in ids if number in known])
    found: dict[bytes, int] = {}
    # Of columns beside each other it matters only how long they are together; each has 1, 2, 4 or 8 bytes.
    lengths = [
        {sum(some) for some in itertools.combinations_with_replacement((1, 2, 4, 8), count)}
        for _, count in runs
        if count
    ]
    if math.prod(map(len, lengths)) > _MOST_WAYS:
        raise ValueError(f"columns of unknown types at {len(lengths)} places")
    for sizes in itertools.product(*lengths):
        if sum(sizes) != free:
            continue
        rest = iter(sizes)
        keep = np.concatenate([np.full(next(rest), False) if n else np.full(width, True) for width, n in runs])
        cut = np.ascontiguousarray(raw[:, keep]).tobytes()
        odd = _odd_numbers(np.frombuffer(cut, dtype=dtype))
        if odd is not None:
            found[cut] = odd
    best = [np.frombuffer(cut, dtype=dtype) for cut, odd in found.items() if odd == min(found.values())]
    names = dtype.names or ()
    sure = [name for name in names if len({one[name].tobytes() for one in best}) == 1]
    if not {"freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"} <= {*sure}:
        how = f"{len(best)} ways agree with |Z| equally well" if found else "no way agrees with |Z|"
        raise ValueError(f"columns of unknown types: to divide records of {size} bytes into columns, {how}")
    flags, fields = parser.VMPdata_colID_flag_map, parser.VMPdata_colID_dtype_map
    kept = [number for number in ids if number in known and ("flags" if number in flags else fields[number][0]) in sure]
    return repack_fields(best[0][sure]).tobytes(), kept, [name for name in names if name not in sure]


def _runs(parser: Any, ids: Sequence[int], known: set[int]) -> list[tuple[int, int]]:
    """Return the bytes of each known column, and 0 and how many there are for unknown ones beside each other."""
    runs: list[tuple[int, int]] = []
    flagged = False
    for number in ids:
        if number not in known:
            last = runs.pop()[1] if runs and runs[-1][1] else 0
            runs.append((0, last + 1))
        elif number in parser.VMPdata_colID_flag_map:  # all flags share the byte of the first
            runs.append((0 if flagged else 1, 0))
            flagged = True
        else:
            runs.append((np.dtype(parser.VMPdata_colID_dtype_map[number][1]).itemsize, 0))
    return runs


def _odd_numbers(records: NDArray[np.void]) -> int | None:
    """Return how many numbers are beyond any measurement, None if the records are no points of a spectrum."""
    names = records.dtype.names or ()
    values = {name: records[name].astype(float) for name in names if records.dtype[name].kind == "f"}
    with np.errstate(over="ignore", invalid="ignore"):
        if {"freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"} <= values.keys():
            f, z = values["freq/Hz"], np.hypot(values["Re(Z)/Ohm"], values["-Im(Z)/Ohm"])
            if not np.all((f == 0) | ((f > 1e-9) & (f < 1e12))) or not np.all(z < 1e20):
                return None
            if "|Z|/Ohm" in values and not np.all(np.abs(values["|Z|/Ohm"] - z) <= 1e-3 * z):
                return None
        return sum(int(np.sum(~((v == 0) | ((np.abs(v) > 1e-15) & (np.abs(v) < 1e15))))) for v in values.values())


def area_of(modules: dict[bytes, _Module]) -> float | None:
    """Return the electrode area of a file, cm², if it has one."""
    return _area(modules[b"VMP Set   "].data)[0]


def _area(settings: bytes) -> tuple[float | None, tuple[str, ...]]:
    """Return the electrode area, cm², if the name of the reference electrode follows where it is expected; a remark."""
    if len(settings) < _REFERENCE + 1:
        return None, ()
    name = settings[_REFERENCE + 1 : _REFERENCE + 1 + settings[_REFERENCE]]
    if len(name) < 4 or not all(32 <= byte < 127 for byte in name):
        return None, ()
    area = struct.unpack_from("<f", settings, _AREA)[0]
    if not np.isfinite(area) or area <= 0:
        return None, ()
    code = settings[_AREA_UNIT] if len(settings) > _AREA_UNIT else 0
    if code not in _AREA_UNITS:
        return None, (f"area not taken: the code {code} of its unit is not known (2 is cm², 3 is mm²)",)
    return stated("area", f"{area:.7g}", _AREA_UNITS[code])


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
