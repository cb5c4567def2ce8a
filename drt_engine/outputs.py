"""Where results go: no file is replaced that was not meant to be, and each appears whole or not at all.

A file is written beside its place under a name of its own, brought to the disk and moved. The name says that it is one
of these, and the file is locked as long as its writer lives; so what a killed writer left can be told from all else and
is removed by the next one.
"""

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from drt_engine.errors import DRTError, FileFormatError, FileWriteError, InputError, OutputExistsError

__all__ = [
    "PathLike",
    "check_outputs",
    "check_target",
    "hold",
    "new_file",
    "provisional_path",
    "publish",
    "remove_left_over",
    "require_file",
    "sync_folder",
]

PathLike = str | os.PathLike[str]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_PARTIAL = re.compile(r"\.(?P<stem>.*)\.(?P<random>[0-9a-f]{8})(?P<check>[0-9a-f]{8})\.drt-engine\.partial", re.DOTALL)
_STEM_BYTES = 100  # a name has at most 255 on usual disks, and the rest of a provisional one takes 40
_TRIALS = 100
"""Names of provisional files that are tried; another program that cleans up may remove one between making and
locking."""


def check_target(
    path: PathLike, *, overwrite: bool, inputs: Iterable[PathLike | None] = (), hdf5: bool = False
) -> Path:
    """Refuse a path that nothing may be written to.

    Parameters
    ----------
    path : path
        Where a file is to appear.
    overwrite : bool
        Whether a file that is there is replaced.
    inputs : iterable of path or None
        What the same run reads. None of it is ever replaced, whichever of its names is given.
    hdf5 : bool
        Whether what is to be written is HDF5. An HDF5 file is replaced by nothing else.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    InputError
        If it is one of the inputs.
    OutputExistsError
        If something is there and is not to be overwritten, is no file, or is HDF5 and the new file would not be.
    FileWriteError
        If there is no such folder.
    """
    target = Path(path)
    for given in inputs:
        if given is not None and _is_same(target, given):
            raise InputError(f"{target}: is an input of this run, and inputs are never written to. Give another name.")
    # These say no where a path cannot be looked up, as in a folder that is closed; writing tells why.
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputExistsError(f"{target}: exists and is not a file. Give another name.")
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(f"{target}: exists already. Give another name, or say overwrite.")
    if not hdf5 and _is_hdf5(target):
        raise OutputExistsError(
            f"{target}: is an HDF5 file, and what is to be written is not; it may hold measurements. Give another "
            "name, or remove it yourself."
        )
    if not os.path.isdir(target.parent):
        raise FileWriteError(f"{target}: the folder {target.parent} does not exist. Make it first.")
    return target


def check_outputs(
    *paths: PathLike | None,
    overwrite: bool,
    inputs: Iterable[PathLike | None] = (),
    hdf5: Iterable[PathLike | None] = (),
) -> None:
    """Refuse outputs of one run, before it begins; of two under the same name one would replace the other.

    Parameters
    ----------
    *paths : path or None
        Where files are to appear that are not HDF5.
    overwrite, inputs
        As :func:`check_target` takes them.
    hdf5 : iterable of path or None
        Where HDF5 files are to appear.

    Raises
    ------
    InputError
        For two under one name; and as :func:`check_target` does.
    """
    inputs = tuple(inputs)
    before: list[PathLike] = []
    for path, is_hdf5 in (*((path, False) for path in paths), *((path, True) for path in hdf5)):
        if path is None:
            continue
        if any(_is_same(path, other) for other in before):
            raise InputError(f"{path}: is named for two outputs of this run. Give each a name of its own.")
        check_target(path, overwrite=overwrite, inputs=inputs, hdf5=is_hdf5)
        before.append(path)


def require_file(path: PathLike, what: str) -> None:
    """Refuse what is no regular file before it is opened: a pipe or a device may never answer.

    Parameters
    ----------
    path : path
        The file.
    what : str
        What is expected, for the message.

    Raises
    ------
    FileFormatError
        If it does not exist or is something else.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise FileFormatError(f"{path}: does not exist. Check its name and folder.") from error
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if stat.S_ISDIR(mode):
        raise FileFormatError(f"{path}: is a directory; expected {what}.")
    if not stat.S_ISREG(mode):
        raise FileFormatError(f"{path}: is not a regular file; expected {what}.")


@contextmanager
def new_file(path: PathLike, *, overwrite: bool = False, inputs: Iterable[PathLike | None] = ()) -> Iterator[Path]:
    """Write a file that is not HDF5; it appears whole or not at all.

    Parameters
    ----------
    path, overwrite, inputs
        As :func:`check_target` takes them.

    Yields
    ------
    Path
        Where to write it: an empty file that is moved to `path` when the block ends, or removed if it ends with an
        exception.

    Raises
    ------
    InputError, OutputExistsError
        As :func:`check_target` does.
    FileWriteError
        If it cannot be written, for example when the disk is full.
    """
    inputs = tuple(inputs)
    target = check_target(path, overwrite=overwrite, inputs=inputs)
    try:
        remove_left_over(target.parent)
        with _created(target) as (partial, descriptor):
            yield partial
            os.fsync(descriptor)
            check_target(target, overwrite=overwrite, inputs=inputs)
            publish(partial, target, overwrite=overwrite)
    except DRTError:
        raise
    except OSError as error:
        raise FileWriteError(f"{target}: cannot be written: {error.strerror or error}.") from error


@contextmanager
def _created(target: Path) -> Iterator[tuple[Path, int]]:
    for _ in range(_TRIALS):
        partial = provisional_path(target)
        with open(partial, "x+b") as file:
            if not hold(file.fileno(), partial):
                continue
            try:
                yield partial, file.fileno()
            finally:
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
            return
    raise FileWriteError(f"{target}: cannot be written: other programs remove what is made beside it.")


def provisional_path(target: Path) -> Path:
    """Return a name beside a file for it to have until it is whole; :func:`remove_left_over` knows it again."""
    stem = os.fsdecode(os.fsencode(target.name)[:_STEM_BYTES])
    random = secrets.token_hex(4)
    return target.with_name(f".{stem}.{random}{_check_digits(stem, random)}.drt-engine.partial")


def hold(descriptor: int, path: Path) -> bool:
    """Lock a file that was just made as long as it is open; return whether it is still there under its name.

    On a file system without locks it is not locked, and nothing that is left over there is removed.
    """
    try:
        if not _locked(descriptor):
            return False
    except OSError:
        return True
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def remove_left_over(folder: Path) -> None:
    """Remove what killed writers left in a folder: files with names of this package that no program has locked."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            match = _PARTIAL.fullmatch(entry.name)
            if match and match["check"] == _check_digits(match["stem"], match["random"]):
                _remove_if_dead(entry)


def _remove_if_dead(entry: "os.DirEntry[str]") -> None:
    if os.name == "nt":
        # There a file that is open cannot be removed, which is as good as a lock.
        with suppress(OSError):
            os.unlink(entry.path)
        return
    with suppress(OSError):
        descriptor = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and _locked(descriptor):
                os.unlink(entry.path)
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock an open file; False if another program has.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    if os.name == "nt":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def publish(partial: Path, target: Path, *, overwrite: bool) -> None:
    """Give a file that has been written completely its final name.

    Raises
    ------
    OutputExistsError
        If it must not replace another file, and there is one of that name by now.
    OSError
        If the file system refuses.
    """
    if overwrite:
        partial.replace(target)
    else:
        try:
            # Unlike a rename, a link fails when the name was taken meanwhile.
            target.hardlink_to(partial)
        except FileExistsError as error:
            raise OutputExistsError(
                f"{target}: was made by another program meanwhile. Name another file, or allow it to be replaced."
            ) from error
        except OSError:
            check_target(target, overwrite=False)
            partial.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Bring to the disk which files are in a folder, where the system can do that."""
    # Not every system opens folders; there the rename alone has to do.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_digits(stem: str, random: str) -> str:
    """Digits that no other program would give a file of that name."""
    return hashlib.sha256(f"drt-engine {stem} {random}".encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _is_same(path: PathLike, other: PathLike) -> bool:
    """Whether two paths lead to one file, through links and other spellings, or would."""
    with suppress(OSError, ValueError):
        if os.path.samefile(path, other):
            return True
    with suppress(OSError, ValueError):
        return os.path.normcase(os.path.realpath(path)) == os.path.normcase(os.path.realpath(other))
    return False


def _is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does, at one of the places where that may be."""
    with suppress(OSError), open(path, "rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            file.seek(at)
            if file.read(len(_HDF5)) == _HDF5:
                return True
            at = max(512, 2 * at)
    return False
