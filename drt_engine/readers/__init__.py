"""Readers of instrument files: one format a file, found by content.

A reader returns a `Recording`: every sweep of the file with the potential, cycle, current, charge and time that it was
measured at.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import cast

from drt_engine.errors import FileFormatError, UnknownNameError
from drt_engine.outputs import require_file
from drt_engine.readers.base import NoMeasurementError, Reader, ReadOptions, Recording, Sweep, format_error, head_of
from drt_engine.readers.file_states import read_profile
from drt_engine.readers.named import parse_columns
from drt_engine.readers.states import keepable

__all__ = ["READERS", "ReadOptions", "Reader", "Recording", "Sweep", "find_reader", "read_file", "read_profile"]

_INSTRUMENTS = {
    "biologic-mpt": "biologic_mpt",
    "biologic-mpr": "biologic_mpr",
    "gamry": "gamry",
    "zplot": "zplot",
    "autolab": "autolab",
    "ch-instruments": "ch_instruments",
    "parstat": "parstat",
    "powersuite": "powersuite",
    "versastudio": "versastudio",
    "relaxis": "relaxis",
    "palmsens": "palmsens",
    "zahner": "zahner",
}
_GENERAL = {  # asked in this order if no instrument claims a file
    "excel": "excel",
    "pyimpspec": "pyimpspec_",
    "table": "table",
}


_WITHOUT_COLUMNS = frozenset({"pyimpspec", "palmsens", "zahner"})
_WITHOUT_HEADINGS = _WITHOUT_COLUMNS | {"biologic-mpr"}


class _Readers(Mapping[str, Reader]):
    """Readers by name, each imported when it is first asked for."""

    def __getitem__(self, name: str) -> Reader:
        module = {**_INSTRUMENTS, **_GENERAL}[name]
        return cast(Reader, importlib.import_module(f"drt_engine.readers.{module}").READER)

    def __iter__(self) -> Iterator[str]:
        return iter({**_INSTRUMENTS, **_GENERAL})

    def __len__(self) -> int:
        return len(_INSTRUMENTS) + len(_GENERAL)


READERS: Mapping[str, Reader] = _Readers()
"""All readers by name."""


def find_reader(path: str | PathLike[str]) -> Reader:
    """Return the reader of a file, found by its content.

    Parameters
    ----------
    path : str or path
        Path of the file.

    Raises
    ------
    FileFormatError
        If the file cannot be opened, is empty, if two instrument formats claim it, or none.
    """
    path = Path(path)
    head = head_of(path)
    if not head:
        raise format_error(path, "byte 0", "the file is empty. Export it again.")
    claims = [reader for reader in map(READERS.__getitem__, _INSTRUMENTS) if reader.scan(head, path)]
    if len(claims) > 1:
        names = " and ".join(repr(reader.name) for reader in claims)
        raise format_error(path, None, f"its content looks like {names}. Say which with reader.")
    for reader in claims or map(READERS.__getitem__, _GENERAL):
        if claims or reader.scan(head, path):
            return reader
    raise NoMeasurementError(str(format_error(path, "byte 0", _no_reader(head))))


def _no_reader(head: bytes) -> str:
    known = ", ".join(repr(name) for name in READERS)
    what = "binary content of no known instrument" if b"\0" in head else "no table of numbers and no known instrument"
    return (
        f"{what}. Known are {known}: name one with reader, or export the measurement as text with columns of "
        "frequency, re and im, named by headings or by columns='frequency,re,im'."
    )


def read_file(path: str | PathLike[str], *, reader: str | None = None, options: ReadOptions | None = None) -> Recording:
    """Read an instrument file.

    Parameters
    ----------
    path : str or path
        Path of the file.
    reader : str, optional
        Name of the reader, one of `READERS`; found by content if not given.
    options : ReadOptions, optional
        What the file does not say of itself.

    Returns
    -------
    Recording
        Every sweep with its states, and remarks on what was left out.

    Raises
    ------
    FileFormatError
        For a file that no reader knows, or that is damaged, with file and line or byte offset.
    UnknownNameError
        For a reader that is not known.
    InputError
        For columns that make no sense.
    """
    options = options or ReadOptions()
    name = reader or options.reader
    if name is not None and name not in READERS:
        raise UnknownNameError("reader", name, READERS)
    if options.columns:
        parse_columns(options.columns)  # a mistake in it is not one of the file
    path = Path(path)
    require_file(path, "a file of an instrument")
    chosen = READERS[name] if name is not None else find_reader(path)
    try:
        done = _with_states_to_keep(chosen.read(path, options))
        if options.columns and chosen.name in _WITHOUT_COLUMNS:
            remark = f"columns is of no use to the {chosen.name} reader: the format says what each number is"
            done = replace(done, remarks=(*done.remarks, remark))
        if options.flip_im and chosen.name in _WITHOUT_HEADINGS:
            remark = f"flip_im is of no use to the {chosen.name} reader: the format says which sign the numbers have"
            done = replace(done, remarks=(*done.remarks, remark))
        return done
    except FileFormatError:
        raise
    except (ArithmeticError, LookupError, MemoryError, OSError, ValueError) as error:
        raise format_error(
            path, None, f"the {chosen.name} reader could not make sense of it ({type(error).__name__}: {error})."
        ) from error


def _with_states_to_keep(done: Recording) -> Recording:
    """Return a recording without states that no campaign can keep, with a remark for each."""
    found = [keepable(sweep.state) for sweep in done.sweeps]
    remarks = dict.fromkeys(remark for _, some in found for remark in some)
    sweeps = tuple(replace(sweep, state=state) for sweep, (state, _) in zip(done.sweeps, found, strict=True))
    return replace(done, sweeps=sweeps, remarks=(*done.remarks, *remarks))
