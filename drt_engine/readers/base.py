"""What every reader of an instrument file takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError, InputError
from drt_engine.outputs import require_file
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine.readers.states import State

__all__ = [
    "HEAD_BYTES",
    "NoMeasurementError",
    "ReadOptions",
    "Reader",
    "Recording",
    "Sweep",
    "format_error",
    "head_of",
]

HEAD_BYTES = 65536
"""How much of a file a reader may look at to recognise it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReadOptions:
    """What a file does not say of itself.

    Parameters
    ----------
    columns : str, optional
        Names of the columns of a plain table, for files without headings or with odd ones: either in order, as
        ``"time,cycle,frequency,re,-im"``, with ``_`` for a column to be ignored and the rest ignored; or by number or
        heading, as ``"frequency=3,re=4,-im=5"``. Units other than SI follow a stroke:
        ``"frequency/kHz,re/mohm,im/mohm"``. By position, names must not contradict headings that are known; by number
        or heading they overrule them, and ``+im`` says that a column whose heading has a minus sign holds Im Z.
        Instrument formats that have columns take it as well, by number or by heading.
    reader : str, optional
        Name of the reader to use, instead of finding it by content.
    encoding : str, optional
        Encoding of a text file, instead of finding it.
    decimal : {".", ","}, optional
        Decimal sign of a text file, instead of finding it.
    sheet : str, optional
        Which sheet of a workbook, instead of all that hold spectra.
    flip_im : bool, optional
        Whether the imaginary part has the other sign than the headings, or `columns`, say: for files whose heading is
        ``Im(Z)/Ohm`` and which hold −Im Z.
    """

    columns: str | None = None
    reader: str | None = None
    encoding: str | None = None
    decimal: Literal[".", ","] | None = None
    sheet: str | None = None
    flip_im: bool = False

    def __post_init__(self) -> None:
        """Refuse a decimal sign other than a point or a comma."""
        if self.decimal not in (None, ".", ","):
            raise InputError(f"decimal must be '.' or ','; got {self.decimal!r}.")


@dataclass(frozen=True)
class Sweep:
    """One sweep over the frequencies, in the order in which it was measured.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz, positive.
    impedance : ndarray of complex, shape (F,)
        Impedances, ohm; capacitive means a negative imaginary part.
    state : mapping of str to object, optional
        What it was measured at, under the names and in the units of `drt_engine.Spectra`: ``cycle``, ``voltage`` (mean
        over the sweep, V), ``current`` (mean, A), ``time`` (at its start, s), ...
    finished : bool, optional
        Whether it reached its last frequency.
    point_time : ndarray, shape (F,), optional
        When each point was measured, s since the first one; NaN where it is not known.

    Raises
    ------
    InputError
        For shapes that differ and for values that are not finite.
    """

    frequency: Floats
    impedance: NDArray[np.complex128]
    state: Mapping[str, object] = field(default_factory=dict)
    finished: bool = True
    point_time: Floats | None = None

    def __post_init__(self) -> None:
        """Check once and freeze."""
        f = np.array(self.frequency, dtype=np.float64)
        z = np.array(self.impedance, dtype=np.complex128)
        if f.ndim != 1 or f.shape != z.shape:
            raise InputError(f"a sweep needs one impedance a frequency; got shapes {f.shape} and {z.shape}.")
        if not (np.all(np.isfinite(f)) and np.all(f > 0) and np.all(np.isfinite(z))):
            raise InputError(
                "a sweep needs positive, finite frequencies and finite impedances. Drop other points first."
            )
        if self.point_time is not None:
            t = np.array(self.point_time, dtype=np.float64)
            if t.shape != f.shape or np.any(np.isinf(t)):
                raise InputError(
                    f"a sweep needs one finite time a point; got shape {t.shape} for {count_of(f.size, 'point')}."
                )
            t.flags.writeable = False
            object.__setattr__(self, "point_time", t)
        f.flags.writeable = z.flags.writeable = False
        object.__setattr__(self, "frequency", f)
        object.__setattr__(self, "impedance", z)
        object.__setattr__(self, "state", MappingProxyType(dict(self.state)))

    def __len__(self) -> int:
        """F, the number of points."""
        return int(self.frequency.size)


@dataclass(frozen=True)
class Recording:
    """What one file holds.

    Parameters
    ----------
    source : str
        Name of the file.
    format : str
        Name of the reader, for example ``"biologic-mpt"``.
    sweeps : tuple of Sweep
        All of them, unfinished ones marked.
    remarks : tuple of str, optional
        What was left out or decided, and why.
    metadata : mapping of str to object, optional
        What the header says: instrument, date, electrode area, ...
    tells_end : bool, optional
        Whether the file tells that its last sweep is finished: it says how far a sweep goes, or is written as a whole
        when the measurement is over. Otherwise a file that still grows may look finished.
    """

    source: str
    format: str
    sweeps: tuple[Sweep, ...]
    remarks: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    tells_end: bool = False

    def __post_init__(self) -> None:
        """Freeze the metadata."""
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @property
    def finished(self) -> tuple[Sweep, ...]:
        """The sweeps that reached their last frequency."""
        return tuple(sweep for sweep in self.sweeps if sweep.finished)


class Reader(Protocol):
    """One file format. A module of this folder holds one, under the name ``READER``."""

    @property
    def name(self) -> str:
        """Short name, for example ``"biologic-mpt"``."""

    @property
    def title(self) -> str:
        """What a reader of the documentation knows it as, for example ``"BioLogic EC-Lab text (.mpt)"``."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings that such files usually have, in small letters with the dot."""

    @property
    def states(self) -> "tuple[State, ...]":
        """The states that it takes, with where they and their units stand in the file, and their bounds."""

    def scan(self, head: bytes, path: Path) -> bool:
        """Say whether the first `HEAD_BYTES` of the file look like this format. Never raises."""

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read the whole file.

        Raises
        ------
        FileFormatError
            For anything that is not as the format has it, with file and line or byte offset.
        """


class NoMeasurementError(FileFormatError):
    """A file that can be read and holds no impedance, as notes and voltage profiles do."""


def format_error(source: Path | str, place: str | int | None, message: str) -> FileFormatError:
    """Return an error that names the file and the place in it.

    Parameters
    ----------
    source : Path or str
        The file.
    place : str, int or None
        A number stands for a line; other places are said in words, for example ``"byte 1040"``. None for the whole.
    message : str
        What is wrong, what was got, what was expected, and a cure.
    """
    where = f", line {place}" if isinstance(place, int) else f", {place}" if place else ""
    return FileFormatError(f"{source}{where}: {message}")


def head_of(path: Path) -> bytes:
    """Return the first `HEAD_BYTES` of a file; a pipe or a device, which may never answer, is refused.

    Raises
    ------
    FileFormatError
        If it is no regular file, or cannot be read.
    """
    require_file(path, "a file of an instrument")
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise format_error(path, None, f"it cannot be read ({error.strerror or error}).") from error
