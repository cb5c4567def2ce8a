"""Files as such: opened with one-line errors, written whole or not at all, and their digests."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py

from drt_engine.errors import DRTError, FileFormatError, FileWriteError
from drt_engine.hdf5.disk import Disk, uninterrupted
from drt_engine.hdf5.inside import require_inside
from drt_engine.outputs import (
    PathLike,
    check_target,
    hold,
    provisional_path,
    publish,
    remove_left_over,
    require_file,
    sync_folder,
)

__all__ = ["NewFile", "PathLike", "check_target", "digest", "reading", "sync_folder"]

# What h5py raises for damaged files; all of it means that the file is at fault.
_DAMAGE = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)

# Of each dataset, bytes. Chunks are read and written once and in order, so more of it, as some versions of HDF5 have,
# is lost.
_CHUNK_CACHE = 2**20
# Bytes. Large enough that the number of calls does not matter, small beside the memory.
_COPIED_AT_ONCE = 2**22

_SECONDS_LOCKED = 3.0  # the writer lets go right after it has given the name


@contextmanager
def reading(path: PathLike) -> Iterator[Any]:
    """Open an HDF5 file for reading; whatever goes wrong becomes one line that names the file.

    Parameters
    ----------
    path : path
        The file.

    Yields
    ------
    h5py.File
        Opened with mode ``"r"``.

    Raises
    ------
    FileFormatError
        If the file does not exist, is not HDF5, may not be read, or is damaged.
    """
    try:
        _check_readable(path)
        # A file system without locks, as on many clusters, is no reason to refuse to read.
        with _opened(path) as file:
            require_inside(path, file)
            yield file
    except DRTError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(f"{path}: cannot be read; the file is damaged or incomplete: {_cause(error)}") from error


def _opened(path: PathLike) -> Any:
    """Open a file; one that has just got its name is locked until its writer has closed it."""
    end = time.monotonic() + _SECONDS_LOCKED
    while True:
        try:
            return h5py.File(path, "r", locking="best-effort", rdcc_nbytes=_CHUNK_CACHE)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def _check_readable(path: PathLike) -> None:
    require_file(path, "an HDF5 file")
    try:
        with open(path, "rb"):
            pass
    except PermissionError as error:
        raise FileFormatError(f"{path}: may not be read: permission denied.") from error
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be opened: {_cause(error)}") from error
    if not h5py.is_hdf5(path):
        raise FileFormatError(
            f"{path}: is not an HDF5 file. If it is a measurement, make a campaign of it first: drt-engine import."
        )


class NewFile:
    """An HDF5 file that appears under its name when it is whole, or not at all.

    It is written under another name, brought to the disk and moved; when the block ends with an
    exception, of whatever kind, it is removed.

    Parameters
    ----------
    path : path
        Its name in the end.
    overwrite : bool
        Whether a file of that name is replaced.
    inputs : iterable of path or None
        Files that go into it, which it never replaces.
    base : path, optional
        File that it begins as a copy of; by default it is empty.
    provisional : path, optional
        Where it is until it is whole, on the same file system; by default in the same folder, under a name that begins
        with a dot and ends with ``.partial``, and what killed writers left there under such names is removed.

    Raises
    ------
    InputError
        If the path is one of the inputs.
    OutputExistsError
        If there is one and it is not to be, on entering or, if it came meanwhile, on leaving.
    FileWriteError
        If it cannot be written.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        overwrite: bool = False,
        inputs: Iterable[PathLike | None] = (),
        base: PathLike | None = None,
        provisional: PathLike | None = None,
    ) -> None:
        self.path = check_target(path, overwrite=overwrite, inputs=inputs, hdf5=True)
        self._provisional = None if provisional is None else Path(provisional)
        self._partial: Path | None = None
        self._base, self._overwrite = base, overwrite
        self._disk: Disk | None = None
        self.file: Any = None

    def __enter__(self) -> "NewFile":
        """Create the file under its provisional name."""
        if self._provisional is None:
            remove_left_over(self.path.parent)
        try:
            with self.writing():
                self._disk = self._created()
            if self._base is not None:
                self._copy(self._disk, self._base)
            with self.writing():
                mode = "w" if self._base is None else "r+"
                self.file = h5py.File(self._disk, mode, libver="v108", rdcc_nbytes=_CHUNK_CACHE)
        except BaseException:
            self._remove()
            raise
        return self

    def _created(self) -> Disk:
        while True:
            partial = self._provisional or provisional_path(self.path)
            disk = Disk(partial)
            if self._provisional is not None or hold(disk.fileno(), partial):
                self._partial = partial
                return disk
            disk.close()

    def _copy(self, disk: Disk, base: PathLike) -> None:
        with open(base, "rb") as file:
            while piece := file.read(_COPIED_AT_ONCE):
                with self.writing():
                    disk.write(piece)
        disk.seek(0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Move the file to its name, or remove it."""
        try:
            if kind is None:
                with self.writing():
                    self.file.close()
                    self._sync()
                self._publish()
        finally:
            self._remove()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write within this block: Ctrl-C waits for its end, and what goes wrong becomes one line that names the file.

        Raises
        ------
        FileWriteError
            For example when the disk is full.
        """
        try:
            with uninterrupted():
                yield
            if self._disk is not None and self._disk.error is not None:
                raise self._disk.error
        except DRTError:
            raise
        except (OSError, RuntimeError) as error:
            first = (self._disk and self._disk.error) or error
            raise FileWriteError(f"{self.path}: cannot be written: {_cause(first)}") from first

    def _sync(self) -> None:
        if self._disk is not None and self._disk.error is None:
            self._disk.sync()
            if os.name == "nt":
                # Elsewhere it stays open, which keeps it locked, until it has its name.
                self._disk.close()

    def _publish(self) -> None:
        if self._partial is not None:
            with self.writing():
                publish(self._partial, self.path, overwrite=self._overwrite)

    def _remove(self) -> None:
        for opened in (self.file, self._disk):
            if opened is not None:
                with suppress(Exception), uninterrupted():
                    opened.close()
        if self._partial is not None:
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)


def digest(path: PathLike) -> str:
    """SHA-256 of a file's bytes, read piece by piece.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits.

    Raises
    ------
    FileFormatError
        If the file cannot be read.
    """
    require_file(path, "a file")
    try:
        with open(path, "rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """Say in one line what went wrong."""
    known = error.strerror if isinstance(error, OSError) else None
    text = " ".join((known or str(error)).split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
