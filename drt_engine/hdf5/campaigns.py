"""A campaign that grows: further spectra beside those that a file holds."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from drt_engine.errors import FileWriteError, InputError, OutputBusyError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.columns import StoredColumn, fit
from drt_engine.hdf5.files import NewFile, PathLike, digest
from drt_engine.hdf5.grid_reader import GridReader
from drt_engine.hdf5.grid_writer import GridWriter, Layout, encoded, put_attribute
from drt_engine.hdf5.reader import opened_grid, spectra_of
from drt_engine.hdf5.scan import Contents, scan
from drt_engine.hdf5.writer import write_spectra
from drt_engine.outputs import remove_left_over, require_file
from drt_engine.spectra import Spectra

__all__ = ["add_spectra", "growing", "known_files", "mask_points"]

Array = NDArray[Any]

# Another program that adds to the file is waited for so long: a copy of a large campaign takes some time.
_SECONDS_TO_WAIT = 60.0
# Whoever held the lock removes its file; only a program that does nothing else could be met so often.
_LOCK_TRIALS = 100
# Impedances that are copied at once.
_BYTES_AT_ONCE = 2**24
# What this package writes at a state column by itself.
_OWN = ("_FillValue", "missing_value", "dtype", "flag_values", "flag_meanings", "_Encoding", "calendar", "time_zone")

_held: ContextVar[frozenset[Path]] = ContextVar("_held", default=frozenset())


def known_files(path: PathLike) -> tuple[dict[str, str], dict[str, NDArray[np.float64]]]:
    """Which instrument files a campaign was made from, and its grids.

    Parameters
    ----------
    path : path
        File of spectra.

    Returns
    -------
    sources : dict of str to str
        Names by digest, from the state columns ``source`` and ``digest``.
    grids : dict of str to ndarray, shape (F,)
        Frequencies by grid name, Hz.

    Raises
    ------
    FileFormatError
        If the file cannot be read.
    """
    sources: dict[str, str] = {}
    grids = {}
    names = ("source", "digest")
    for info in scan(path).spectra:
        grids[info.grid] = np.asarray(info.frequency)
        if set(names) <= set(info.columns):
            with opened_grid(path, info.grid, names) as reader:
                states = reader.states(np.arange(reader.spectra), names)
            pairs = states[["digest", "source"]].dropna().drop_duplicates()
            sources |= dict(pairs.itertuples(index=False, name=None))
    return sources, grids


@contextmanager
def growing(path: PathLike) -> Iterator[None]:
    """Keep other programs from adding to a campaign within this block; reading and adding are one step.

    Parameters
    ----------
    path : path
        File of spectra.

    Raises
    ------
    FileFormatError
        If there is no such file.
    OutputBusyError
        If another program adds to it for more than a minute.
    FileWriteError
        If that cannot be known, as on a file system without locks.
    """
    require_file(path, "an HDF5 file")
    target = Path(path).resolve()
    if target in _held.get():
        yield
        return
    place = target.with_name(f".{target.name}.lock")
    lock = FileLock(place)
    try:
        _acquire(lock, place, _SECONDS_TO_WAIT)
    except Timeout as error:
        raise OutputBusyError(
            f"{path}: another import has been adding to it for {_SECONDS_TO_WAIT:g} s. Try again when it is done."
        ) from error
    except (OSError, NotImplementedError) as error:  # the latter where the file system has no locks
        raise FileWriteError(f"{path}: cannot be added to: {place.name}: {error}.") from error
    token = _held.set(_held.get() | {target})
    try:
        remove_left_over(target.parent)
        yield
    finally:
        _held.reset(token)
        with suppress(OSError):
            place.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, place: Path, seconds: float) -> None:
    for _ in range(_LOCK_TRIALS):
        with suppress(FileNotFoundError):
            place.touch()
            before = place.stat().st_ino
            lock.acquire(timeout=seconds, poll_interval=0.05)
            if place.stat().st_ino == before:
                return
        # Who held it has just removed it: what is held now keeps nobody out.
        lock.release()
    raise OSError("other programs remove it each time it is made")


def add_spectra(path: PathLike, grids: Mapping[str, Spectra], *, keep: bool, overwrite: bool = False) -> int:
    """Write spectra to a file, beside those that are in it or instead of them.

    The file that is there is only read: a copy of it is changed, and takes its place when it is whole. All that is in
    it and is not of a grid that grows stays as it is. Inversions of a grid that grows get the attribute
    ``older_campaign``, the digest that the file had, since they know nothing of the spectra that were added.

    Parameters
    ----------
    path : path
        File of spectra.
    grids : mapping of str to Spectra
        Spectra by grid name.
    keep : bool
        Whether what is in the file stays. The memory that this takes does not grow with its spectra, but for their
        states.
    overwrite : bool
        Whether a file of that name is replaced, if nothing is kept of it.

    Returns
    -------
    int
        How many spectra the file has then.

    Raises
    ------
    InputError
        For states that cannot be stored, or that are of different types in the two, and for frequencies other than
        those of the grid of that name.
    OutputExistsError
        If the file exists and is not to be replaced.
    OutputBusyError
        If another program is adding to it.
    FileFormatError
        If the file that is there cannot be read, or a grid that grows holds what this package knows nothing of.
    FileWriteError
        If the file cannot be written.
    """
    if not keep:
        write_spectra(Path(path), grids, overwrite=overwrite)
        return sum(map(len, grids.values()))
    with growing(path):
        contents = scan(path)
        before = {info.grid: info.spectra for info in contents.spectra}
        some = {name: spectra for name, spectra in grids.items() if len(spectra) or name not in before}
        if some:
            _add(Path(path), contents, some)
        return sum(before.values()) + sum(map(len, some.values()))


def mask_points(path: PathLike, masks: Mapping[str, Array | None], *, out: PathLike | None = None) -> None:
    """Write down which points of a campaign are left out, and why; the measured values stay as they are.

    The file that is there is only read: a copy of it is changed, and takes its place when it is whole, or gets a name
    of its own. Inversions of a grid whose mask changes get the attribute ``older_campaign``.

    Parameters
    ----------
    path : path
        File of spectra.
    masks : mapping of str to ndarray of uint8, shape (K, F), or None
        By grid name, in descending order of frequency: 0 for points that stay, and n for the n-th of
        :data:`drt_engine.spectra.MASK_REASONS`. None takes the mask of a grid away.
    out : path, optional
        Where the changed copy goes, instead of the place of the file; it must not exist.

    Raises
    ------
    InputError
        For a mask of another shape, and for a grid that does not exist.
    OutputBusyError, OutputExistsError, FileFormatError, FileWriteError
        As :func:`add_spectra` does.
    """
    with growing(path):
        contents, older = scan(path), digest(path)
        there = {info.grid: info for info in contents.spectra}
        for name, mask in masks.items():
            shape = None if name not in there else (there[name].spectra, there[name].frequency.size)
            if shape is None or (mask is not None and mask.shape != shape):
                raise InputError(f"a mask must have one value for each point of a grid, shape {shape}; got {name!r}.")
        target, overwrite = (Path(path).resolve(), True) if out is None else (Path(out), False)
        with NewFile(target, overwrite=overwrite, base=path) as output:
            for name, mask in masks.items():
                _rewrite(output, Path(path), name, None, mask if mask is not None and mask.any() else None)
            _mark_older(output, contents, set(masks), older)
            if digest(path) != older:
                raise FileWriteError(f"{path}: was changed by another program meanwhile. Try again.")


def _add(path: Path, contents: Contents, grids: Mapping[str, Spectra]) -> None:
    older = digest(path)
    there = {info.grid for info in contents.spectra}
    # The link itself is not replaced, if it is one: others may know the file by another.
    with NewFile(path.resolve(), overwrite=True, base=path) as output:
        for name, spectra in grids.items():
            if name in there and not _extended(output, path, name, spectra):
                _rewrite(output, path, name, spectra, _mask_with(path, name, len(spectra)))
            elif name in there:
                continue
            else:
                layout, timed = Layout(len(spectra)), spectra.point_time is not None
                _Grown(output, name, spectra.frequency, spectra.states, layout, timed=timed).write(spectra)
        _mark_older(output, contents, there & set(grids), older)
        if digest(path) != older:
            raise FileWriteError(f"{path}: was changed by another program meanwhile. Add to it again.")


def _extended(output: NewFile, path: Path, name: str, added: Spectra) -> bool:
    """Write further rows of a grid behind those in the copy, where they fit to how those are stored.

    That takes as long as the copy. Otherwise the grid is written again, which takes ten times as long.
    """
    with opened_grid(path, name) as reader:
        group = output.file[f"{schema.SPECTRA_PATH}/{name}"]
        _require_known(reader, group)
        timed = reader.has("point_time")
        if reader.has("point_mask") or (added.point_time is not None and not timed):
            return False
        if not np.array_equal(reader.read("frequency"), added.frequency):
            return False
        writer, values = GridWriter.onto(output, group, reader), _fitted(reader.columns, added.states)
        if writer is None or values is None:
            return False
    for column_name, (column, _) in values.items():
        if column.kind == "text" and writer.columns[column_name].missing is None and column.missing is not None:
            writer.mark_missing(column_name, column)
    z, times = added.impedance, added.point_time
    arrays = {column_name: raw for column_name, (_, raw) in values.items()}
    arrays |= {"impedance_real": z.real, "impedance_imag": z.imag}
    if timed:
        arrays["point_time"] = np.full(z.shape, np.nan) if times is None else times
    writer.write(writer.rows, arrays)
    return True


def _fitted(before: Mapping[str, StoredColumn], states: pd.DataFrame) -> dict[str, tuple[StoredColumn, Array]] | None:
    """Return states as they are stored beside those before, or None where a column would change for that."""
    if not {*map(str, states.columns)} <= {*before}:
        return None
    filled = states.copy()
    for name, column in before.items():
        kind = {"f": "float64", "i": "Int64"}.get(column.dtype.kind) if column.kind == "numbers" else None
        if name not in states.columns:
            nothing = np.nan if kind == "float64" else pd.NA
            filled[name] = pd.Series(nothing, index=states.index, dtype="object" if kind is None else kind)
    fitted = {}
    for name, (column, raw) in encoded(filled[[*before]]).items():
        known = before[name]
        if column.dtype.kind != known.dtype.kind:
            return None
        marked = known.missing if column.missing is None and column.kind != "text" else None
        if marked is not None and np.any(raw == marked):
            return None
        try:
            fitted[name] = column, fit(name, raw, column, known)
        except InputError:
            return None
    return fitted


def _mask_with(path: Path, name: str, added: int) -> Array | None:
    """Return the mask of a grid with rows for added spectra, masked at the frequencies where all others are."""
    with opened_grid(path, name, ()) as reader:
        if not reader.has("point_mask"):
            return None
        mask = reader.read("point_mask")[:, np.argsort(-reader.read("frequency"), kind="stable")]
    every = np.where((mask != 0).all(axis=0) & (len(mask) > 0), mask.max(axis=0, initial=0), 0)
    return np.concatenate([mask, np.tile(every, (added, 1)).astype(np.uint8)])


def _rewrite(output: NewFile, path: Path, name: str, added: Spectra | None, mask: Array | None) -> None:
    """Write the spectra of a grid again, with those that are added, and with a mask of all."""
    with opened_grid(path, name) as reader:
        _require_known(reader, output.file[f"{schema.SPECTRA_PATH}/{name}"])
        rows = np.arange(reader.spectra)
        first = spectra_of(reader, rows[:0], reader.states(rows[:0], ()))
        if added is not None and not np.array_equal(first.frequency, added.frequency):
            raise InputError(
                f"grid {name!r} of {path} has other frequencies than these spectra. Give them another grid."
            )
        states = reader.states(rows) if added is None else _joined(reader.states(rows), added.states)
        with output.writing():
            group = output.file[f"{schema.SPECTRA_PATH}/{name}"]
            for member in [*group]:
                del group[member]
        layout = Layout(len(states), reader.compression)
        timed = reader.has("point_time") or (added is not None and added.point_time is not None)
        grown = _Grown(output, name, first.frequency, states, layout, reader.columns, timed=timed, mask=mask)
        step = max(1, _BYTES_AT_ONCE // (16 * first.frequency.size))
        for start in range(0, rows.size, step):
            some = rows[start : start + step]
            grown.write(spectra_of(reader, some, reader.states(some, ()), masked=False))
    if added is not None:
        grown.write(added)


class _Grown:
    """A grid that is written again: its states are known, all else comes piece by piece."""

    def __init__(
        self,
        output: NewFile,
        name: str,
        frequency: Array,
        states: pd.DataFrame,
        layout: Layout,
        before: Mapping[str, StoredColumn] | None = None,
        *,
        timed: bool,
        mask: Array | None = None,
    ) -> None:
        schema.check_name("grid", name)
        stored = encoded(states)
        columns = {key: _with_attributes_of(column, (before or {}).get(key)) for key, (column, _) in stored.items()}
        self._raw = {key: raw for key, (_, raw) in stored.items()}
        coordinates = {"frequency": frequency}
        optional = ("point_time",) * timed + ("point_mask",) * (mask is not None)
        self._mask = mask
        self._writer = GridWriter(output, schema.SPECTRA, (name,), coordinates, columns, layout, optional)
        self._at, self._timed = 0, timed

    def write(self, spectra: Spectra) -> None:
        """Write further impedances and times of points, NaN where there are none, with the states known before."""
        last, z, times = self._at + len(spectra), spectra.impedance, spectra.point_time
        values = {key: raw[self._at : last] for key, raw in self._raw.items()}
        values |= {"impedance_real": z.real, "impedance_imag": z.imag}
        if self._timed:
            values["point_time"] = np.full(z.shape, np.nan) if times is None else times
        if self._mask is not None:
            values["point_mask"] = self._mask[self._at : last]
        self._writer.write(self._at, values)
        self._at = last


def _require_known(reader: GridReader, group: Any) -> None:
    """Refuse to add to a grid with datasets that the format does not have: they lack values for the new spectra."""
    known = {variable.name for variable in schema.SPECTRA.variables} | {schema.SPECTRUM, *reader.columns}
    for name in group:
        if name not in known and not name.startswith("string"):
            raise reader.error(
                "is not of this format, and has nothing for the spectra that are added. Move it into another group of "
                "the file, or name it among the states.",
                name,
            )


def _with_attributes_of(column: StoredColumn, before: StoredColumn | None) -> StoredColumn:
    """Keep attributes that others gave a state column."""
    if before is None or before.kind != column.kind:
        return column
    units = ("units",) if column.kind == "instants" else ()
    kept = {key: value for key, value in before.attributes.items() if key not in (*_OWN, *units)}
    return StoredColumn(column.dtype, kept | dict(column.attributes), column.width)


def _mark_older(output: NewFile, contents: Contents, grown: set[str], older: str) -> None:
    """Note with inversions, and processes in them, to which earlier state of the campaign they belong."""
    old = [info for info in contents.inversions if info.grid in grown]
    places = {f"{schema.INVERSIONS_PATH}/{info.name}/{info.grid}": info.older_campaign for info in old}
    if old:
        places |= {f"{schema.PROCESSES_PATH}/{info.name}": info.older_campaign for info in contents.processes}
    with output.writing():
        for place, before in places.items():
            if before is None:
                put_attribute(output.file[place], schema.OLDER_CAMPAIGN, older)


def _joined(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    states = [first, second]
    names = list(dict.fromkeys(name for frame in states for name in frame.columns))
    columns = {name: _one_column(name, [_column(frame, name) for frame in states]) for name in names}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(first) + len(second)))


def _one_column(name: str, parts: "list[pd.Series[Any]]") -> "pd.Series[Any]":
    zones = [getattr(part.dt, "tz", None) for part in parts if pd.api.types.is_datetime64_any_dtype(part.dtype)]
    if len(zones) == 2 and zones[0] is not None and zones[1] is not None:
        # The same instants; a column has one time zone.
        parts[1] = parts[1].dt.tz_convert(zones[0])
    elif len(zones) == 2 and zones[0] != zones[1]:
        raise InputError(f"state column {name!r} has a time zone in the file or in what is added, not in both.")
    column = pd.concat(parts, ignore_index=True)
    if column.dtype == "Int64" and not column.isna().any():
        return column.astype("int64")
    return column


def _column(frame: pd.DataFrame, name: str) -> Any:
    """Take a column, with whole numbers in a type that has missing values: concatenation would make them real."""
    if name not in frame.columns:
        return pd.Series([pd.NA] * len(frame), dtype="object")
    column = frame[name]
    return column.astype("Int64") if pd.api.types.is_integer_dtype(column.dtype) else column
