"""Formats that pyimpspec reads and no reader here does: Ivium, Eco Chemie and others."""

import importlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import ReadOptions, Recording, Sweep, format_error
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import State
from drt_engine.readers.sweeps import recording

__all__ = ["READER"]

MAX_BYTES = 64 * 2**20
"""Largest file that is handed to pyimpspec, bytes."""

_FORMATS = {
    ".dfr": "Eco Chemie",
    ".i2b": "Elchemea Analytical",
    ".idf": "Ivium",
    ".ids": "Ivium",
    ".p00": "P00",
}


@dataclass(frozen=True)
class Pyimpspec:
    """Reader that hands a file to pyimpspec. No state but the label comes with it."""

    name: str = "pyimpspec"
    title: str = "Ivium, Eco Chemie, Elchemea and others, with pyimpspec"
    suffixes: tuple[str, ...] = tuple(_FORMATS)
    states: tuple[State, ...] = (State("label", "label of the spectrum", ""),)

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (pyimpspec goes by the suffix)
        """Say whether pyimpspec has a reader for the suffix; these formats have no common mark."""
        return path.suffix.lower() in _FORMATS

    def read(self, path: Path, options: ReadOptions) -> Recording:  # noqa: ARG002 (the file says all of itself)
        """Read every spectrum.

        Raises
        ------
        FileFormatError
            If pyimpspec is not installed or cannot read the file, and for values that no spectrum has.
        """
        sweeps: list[Sweep] = []
        remarks: list[str] = []
        for number, data in enumerate(_parsed(path), start=1):
            one = recording(_rows(path, data, number), self.name)
            label = str(data.get_label()).strip()
            sweeps += [replace(sweep, state={"label": label} if label else {}) for sweep in one.sweeps]
            remarks += [f"spectrum {number}: {remark}" for remark in one.remarks]
        if not sweeps:
            raise format_error(path, None, "pyimpspec found no spectrum in it. Export it as text from the instrument.")
        maker = _FORMATS.get(path.suffix.lower(), "")
        remarks.append("read by pyimpspec, which passes on no potential, current, cycle or time")
        return Recording(path.name, self.name, tuple(sweeps), tuple(remarks), {"instrument": maker} if maker else {})


def _parsed(path: Path) -> list[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it imports in its turn
            parse = importlib.import_module("pyimpspec").parse_data
    except ImportError as error:
        raise format_error(
            path,
            None,
            'this format is read with pyimpspec, which is not installed: pip install "pyimpspec>=5.1". '
            "A text export with columns of frequency, re and im needs nothing.",
        ) from error
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise format_error(
                path, f"byte {MAX_BYTES}", f"the file has {size / 2**20:.0f} MiB; pyimpspec gets up to 64 MiB."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            return list(parse(str(path)))
    except FileFormatError:
        raise
    except Exception as error:  # whatever a damaged file provokes
        what = f"{type(error).__name__}: {error}".strip(": ").replace("\n", " ")[:300]
        raise format_error(
            path,
            "byte 0",
            f"pyimpspec cannot read it ({what}). The file is damaged or of another version: export it as text.",
        ) from error


def _rows(path: Path, data: Any, number: int) -> Rows:
    """Return a spectrum of pyimpspec as points; refuse values that are not points of a spectrum."""
    f = np.asarray(data.get_frequencies(masked=None), dtype=float)
    z = np.asarray(data.get_impedances(masked=None), dtype=complex)
    rows = Rows(path, f, z, {}, np.arange(1, f.size + 1), f"spectrum {number}, point")
    if f.shape != z.shape or not f.size:
        raise format_error(
            path, f"spectrum {number}", f"{f.size} frequencies and {z.size} impedances, which do not belong together."
        )
    wrong = np.flatnonzero(~(np.isfinite(f) & (f > 0) & np.isfinite(z)))
    if wrong.size:
        i = int(wrong[0])
        raise rows.error(i, f"got {f[i]:g} Hz and {z[i]:g} ohm; positive and finite ones were expected. It is damaged.")
    return rows


READER = Pyimpspec()
