"""Files as such: opened with one-line errors, written whole or not at all, and their digests."""

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py

from drt_engine.errors import DRTError, FileFormatError, FileWriteError, OutputExistsError
from drt_engine.hdf5.disk import Disk, uninterrupted

__all__ = ["NewFile", "PathLike", "check_target", "digest", "reading", "sync_folder"]

PathLike = str | os.PathLike[str]

# What h5py raises for damaged files; all of it means that the file is at fault.
_DAMAGE = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)

# Of each dataset, bytes. Chunks are read and written once and in order, so more of it, as some versions of HDF5 have,
# is lost.
_CHUNK_CACHE = 2**20


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
        with h5py.File(path, "r", locking="best-effort", rdcc_nbytes=_CHUNK_CACHE) as file:
            yield file
    except DRTError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(f"{path}: cannot be read; the file is damaged or incomplete: {_cause(error)}") from error


def _check_readable(path: PathLike) -> None:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise FileFormatError(f"{path}: is a directory; expected an HDF5 file.")
        if not stat.S_ISREG(mode):
            raise FileFormatError(f"{path}: is not a regular file; expected an HDF5 file.")
        with open(path, "rb"):
            pass
    except FileFormatError:
        raise
    except FileNotFoundError as error:
        raise FileFormatError(f"{path}: does not exist. Check its name and folder.") from error
    except PermissionError as error:
        raise FileFormatError(f"{path}: may not be read: permission denied.") from error
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be opened: {_cause(error)}") from error
    if not h5py.is_hdf5(path):
        raise FileFormatError(f"{path}: is not an HDF5 file.")


def check_target(path: PathLike, *, overwrite: bool) -> Path:
    """Refuse a path that nothing can be written to.

    Raises
    ------
    OutputExistsError
        If something is there and is not to be overwritten, or is no file.
    FileWriteError
        If there is no such folder.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise OutputExistsError(f"{target}: exists and is not a file. Give another name.")
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(f"{target}: exists already. Give another name, or say overwrite.")
    if not target.parent.is_dir():
        raise FileWriteError(f"{target}: the folder {target.parent} does not exist. Make it first.")
    return target


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
    provisional : path, optional
        Where it is until it is whole, on the same file system; by default in the same folder, under a name that begins
        with a dot and ends with ``.partial``.

    Raises
    ------
    OutputExistsError
        If there is one and it is not to be, on entering or, if it came meanwhile, on leaving.
    FileWriteError
        If it cannot be written.
    """

    def __init__(self, path: PathLike, *, overwrite: bool = False, provisional: PathLike | None = None) -> None:
        self.path = check_target(path, overwrite=overwrite)
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.partial")
        self._partial = beside if provisional is None else Path(provisional)
        self._overwrite = overwrite
        self._disk: Disk | None = None
        self.file: Any = None

    def __enter__(self) -> "NewFile":
        """Create the file under its provisional name."""
        try:
            with self.writing():
                self._disk = Disk(self._partial)
                self.file = h5py.File(self._disk, "w", libver="v108", rdcc_nbytes=_CHUNK_CACHE)
        except BaseException:
            self._remove()
            raise
        return self

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
            self._disk.close()

    def _publish(self) -> None:
        with self.writing():
            if self._overwrite:
                self._partial.replace(self.path)
            else:
                try:
                    # Unlike a rename, a link fails when the name was taken meanwhile.
                    self.path.hardlink_to(self._partial)
                except FileExistsError as error:
                    raise OutputExistsError(f"{self.path}: was made by somebody else meanwhile.") from error
                except OSError:
                    check_target(self.path, overwrite=False)
                    self._partial.replace(self.path)
            sync_folder(self.path.parent)

    def _remove(self) -> None:
        for opened in (self.file, self._disk):
            if opened is not None:
                with suppress(Exception), uninterrupted():
                    opened.close()
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
    try:
        with open(path, "rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {_cause(error)}") from error


def sync_folder(folder: Path) -> None:
    """Bring to the disk which files are in a folder, where the system can do that."""
    # Not every system opens folders; there the rename alone has to do.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _cause(error: BaseException) -> str:
    """Say in one line what went wrong."""
    known = error.strerror if isinstance(error, OSError) else None
    text = " ".join((known or str(error)).split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
