"""What a job has done so far, in a folder beside its output: each block is there whole or not at all.

The folder ``.NAME.job`` holds ``plan.json``, a lock, a file that says what the folder is, one file for each block that
is done, and one for each that takes long and of which a part is done. A block is written under a provisional name,
brought to the disk and renamed; so whatever kills the job, and whenever, the next one finds every finished block and
nothing else. A file of another tool could not be used for this: HDF5 files that were open when their
process died may be unreadable.

A folder of that name may have come with files of unknown origin. So it is only taken up, and emptied in the end, if a
job of the same user made it: it is no link, has the mark, and holds nothing but ordinary files of those names.

The name of a block has part of the plan's identity in it. A worker may outlive its job, as on a cluster, and write a
block when the next job has begun, which must not take it if its plan is another one.
"""

import io
import json
import logging
import os
import re
import secrets
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from drt_engine.errors import DRTError, FileWriteError, JobMismatchError, OutputBusyError
from drt_engine.hdf5.files import sync_folder
from drt_engine.jobs.blocks import Block, apart

__all__ = ["DamagedBlock", "Journal", "load_part", "save_part"]

Array = NDArray[Any]

_PART = re.compile(r"(results|scores|unfinished)-(\d+)-(\d+)-(\d+)-(\w+)\.part")
_PLAN = "plan.json"
_LOCK = "lock"
_MARK = "what-is-this.txt"
_MARKED = b"The finished blocks of a drt-engine job that is running or was stopped.\n"
_WHOLE = rf"{re.escape(_PLAN)}|{re.escape(_MARK)}|{_PART.pattern}"
_OWN = re.compile(rf"{_LOCK}|output\.partial|(?:{_WHOLE})(?:\.\w+\.partial)?")
_BEFORE_MARK = re.compile(rf"{_LOCK}|{re.escape(_MARK)}\.\w+\.partial")
# What a network file system makes of a file that is removed while it is open.
_REMOVED_WHILE_OPEN = ".nfs"
# Bytes. A plan lists settings and the frequencies of a grid: some kilobytes.
_LONGEST_PLAN = 2**20
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_INSTANT = re.compile(r"[0-9T:+-]{1,40}")
# Characters of a setting in a message, which is read as one line or a few.
_LONGEST_VALUE = 300
_CHECKSUM_BYTES = 4  # CRC-32
# Each time that it is tried, another job may just have ended and removed the folder; that happens once or twice.
_LOCK_TRIALS = 10
_FORMER = {"kkt": "optimality"}  # its former name, in blocks of a job that an older version began


logger = logging.getLogger(__name__)


class DamagedBlock(Exception):  # noqa: N818 - not an error to anybody but the job, which makes the block again
    """A block that cannot be read.

    Parameters
    ----------
    path : Path
        Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(str(path))


class Journal:
    """The folder of a job.

    Parameters
    ----------
    out : Path
        Output of the job.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f".{out.name}.job")
        self._lock = FileLock(self.folder / _LOCK)
        self.plan: dict[str, Any] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the output for this job alone; the folder goes away if it holds no block in the end.

        Raises
        ------
        OutputBusyError
            If another job holds it.
        FileWriteError
            If the folder cannot be made, or one that no job of this user made has its name.
        """
        with self.errors_with_path():
            self._acquire()
            if not (self.folder / _MARK).exists():
                _write(self.folder / _MARK, _MARKED)
        try:
            yield
        finally:
            with suppress(OSError):
                if not any(self._parts()):
                    self.remove()
            self._lock.release()

    def _acquire(self) -> None:
        lock = self.folder / _LOCK
        busy = OutputBusyError(f"{self.out}: another job is making it. Wait until it is done, or give another name.")
        cause: OSError = busy
        for _ in range(_LOCK_TRIALS):
            try:
                self._refuse_foreign()
                self.folder.mkdir(mode=0o700, exist_ok=True)
                os.close(os.open(lock, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o600))
                before = lock.lstat().st_ino
                self._lock.acquire(timeout=0)
                if lock.lstat().st_ino == before:
                    self._refuse_foreign()
                    return
            except Timeout as error:
                raise busy from error
            except FileNotFoundError as error:
                cause = error
            # The job that held it has just ended and removed it: what is held now keeps nobody out.
            self._lock.release()
        raise cause

    def _refuse_foreign(self) -> None:
        """Refuse a folder that no job of this user made, before anything in it is opened or removed."""
        with suppress(FileNotFoundError):
            if why := _not_ours(self.folder.lstat(), folder=True):
                raise self._foreign(why)
            names = []
            for item in list(os.scandir(self.folder)):
                if item.name.startswith(_REMOVED_WHILE_OPEN):
                    continue
                if not _OWN.fullmatch(item.name):
                    raise self._foreign(f"holds {item.name!r}, which no job puts there")
                if why := _not_ours(item.stat(follow_symlinks=False), partial=item.name.endswith(".partial")):
                    raise self._foreign(f"holds {item.name!r}, which {why}")
                names.append(item.name)
            if _PLAN in names and (self.folder / _PLAN).lstat().st_size > _LONGEST_PLAN:
                raise self._foreign(f"holds {_PLAN!r}, which is larger than any that a job writes")
            if _MARK not in names and not all(map(_BEFORE_MARK.fullmatch, names)):
                raise self._foreign(f"holds no {_MARK!r}, by which a job knows its folder")
            self._read_plan()

    def _foreign(self, why: str) -> FileWriteError:
        return FileWriteError(
            f"{self.out}: cannot be written: {self.folder.name} {why}. A job keeps what it has done in a folder of "
            f"that name: look what it is, and remove or rename {self.folder}."
        )

    def finished(self) -> bool:
        """Whether the output may have been made by the job of this folder, so that only the folder is left over."""
        return self.out.is_file() and (self.folder / _PLAN).is_file()

    def begin(self, identity: Mapping[str, Any], *, restart: bool) -> str:
        """Take up what is there, if it belongs to the same plan, or start again.

        Parameters
        ----------
        identity : mapping
            All that the numbers of the result depend on, in types that JSON has.
        restart : bool
            Whether blocks of another plan are thrown away.

        Returns
        -------
        str
            What tells this job from all others.

        Raises
        ------
        JobMismatchError
            If there are blocks of another plan and they are not to be thrown away.
        FileWriteError
            If the plan cannot be written.
        """
        with self.errors_with_path():
            for left in self.folder.glob("*.partial"):
                left.unlink(missing_ok=True)
            plan: dict[str, Any] = json.loads(json.dumps(identity, default=float))
            before = self._read_plan()
            same = _is_begun(before) and {key: before.get(key) for key in plan} == plan
            if any(self._parts()) and not same and not restart:
                raise JobMismatchError(
                    f"{self.out}: a job that was not finished left blocks in {self.folder.name}, and this one cannot "
                    f"go on from them: {_difference(before, plan)}. Say restart to throw them away, or repeat that job "
                    "as it was."
                )
            if not same or restart:
                self.discard_all()
                started = datetime.now(UTC).isoformat(timespec="seconds")
                before = plan | {"id": secrets.token_hex(16), "started": started}
                _write(self.folder / _PLAN, json.dumps(before, indent=2).encode("utf-8"))
                sync_folder(self.folder.parent)
        self.plan = before
        return str(before["id"])

    def discard(self, path: Path) -> None:
        """Remove a block that is damaged.

        Raises
        ------
        FileWriteError
            If that cannot be done.
        """
        logger.warning("%s is damaged and is made again", path.name)
        with self.errors_with_path():
            path.unlink(missing_ok=True)

    def discard_all(self) -> None:
        """Remove all blocks.

        Raises
        ------
        FileWriteError
            If that cannot be done.
        """
        with self.errors_with_path():
            for part, _ in self._parts():
                part.unlink(missing_ok=True)

    def done(self, kind: str) -> list[Block]:
        """Blocks of this plan that are there, of which no two overlap.

        Two may, where workers went on after their job was killed and the next one chose other blocks.

        Parameters
        ----------
        kind : str
            Which kind of results.

        Raises
        ------
        FileWriteError
            If the folder cannot be read.
        """
        mine = (kind, self._mark())
        with self.errors_with_path():
            found = [match.groups() for _, match in self._parts() if (match[1], match[5]) == mine]
        return apart(Block(*map(int, numbers)) for _, *numbers, _ in found)

    def path(self, kind: str, block: Block) -> Path:
        """Where the results of a block go."""
        return self.folder / f"{kind}-{block.grid}-{block.first}-{block.last}-{self._mark()}.part"

    def _mark(self) -> str:
        return str(self.plan["id"])[:8]

    def remove(self) -> None:
        """Remove the folder; the plan after the blocks, so that a job killed here is known, and the lock last."""
        with suppress(OSError):
            if self.folder.is_symlink():
                return
            for item in self.folder.iterdir():
                if _OWN.fullmatch(item.name) and item.name not in (_PLAN, _MARK, _LOCK):
                    item.unlink(missing_ok=True)
            for name in (_PLAN, _MARK, _LOCK):
                (self.folder / name).unlink(missing_ok=True)
            # Not if another program has put something there meanwhile.
            self.folder.rmdir()

    @contextmanager
    def errors_with_path(self) -> Iterator[None]:
        """Turn errors of the system into one line that names the output.

        Raises
        ------
        FileWriteError
            With the cause.
        """
        try:
            yield
        except DRTError:
            raise
        except (
            OSError,
            NotImplementedError,
            ValueError,
        ) as error:  # no locks in the file system; a name that it refuses
            cause = getattr(error, "strerror", None) or error
            raise FileWriteError(f"{self.out}: cannot be written: {self.folder.name}: {cause}.") from error

    def _parts(self) -> Iterator[tuple[Path, re.Match[str]]]:
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                if match := _PART.fullmatch(path.name):
                    yield path, match

    def _read_plan(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / _PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        except RecursionError:
            raise self._foreign(f"holds {_PLAN!r}, which is nested as none that a job writes is") from None
        return found if isinstance(found, dict) else {}


def save_part(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write the results of a block; the file is there whole or not at all.

    Raises
    ------
    FileWriteError
        If it cannot be written.
    """
    try:
        content = io.BytesIO()
        # Names and arrays one after the other; a zip file of them takes three times as long, for a second checksum.
        for array in (np.array(list(arrays)), *arrays.values()):
            np.save(content, array, allow_pickle=False)
        content.write(zlib.crc32(content.getbuffer()).to_bytes(_CHECKSUM_BYTES, "big"))
        _write(path, content.getbuffer())
    except OSError as error:
        raise FileWriteError(f"{path}: cannot be written: {error.strerror or error}.") from error


def load_part(path: Path, names: tuple[str, ...] | None = None) -> dict[str, Array] | None:
    """Read the results of a block; None if they are damaged.

    Parameters
    ----------
    path : Path
        Where they are.
    names : tuple of str, optional
        Names of the arrays; by default all.
    """
    try:
        raw = path.read_bytes()
    except (MemoryError, OSError):
        return None
    content, checksum = memoryview(raw)[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(raw) <= _CHECKSUM_BYTES or zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "big") != checksum:
        return None
    file = io.BytesIO(content)
    try:
        stored = [str(name) for name in np.load(file, allow_pickle=False)]
        found = {_FORMER.get(name, name): np.load(file, allow_pickle=False) for name in stored}
        return found if names is None else {name: found[name] for name in names}
    except (EOFError, LookupError, MemoryError, TypeError, ValueError):  # made so that its checksum holds
        return None


def _write(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is there whole or not at all, also after a power failure."""
    # Two workers may come to write the same block, after one was believed dead.
    provisional = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(provisional, "xb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) or 0 :]
            os.fsync(file.fileno())
        provisional.replace(path)
    except BaseException:
        with suppress(OSError):
            provisional.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _not_ours(found: os.stat_result, *, folder: bool = False, partial: bool = False) -> str:
    """Return why something was not made by a job of this user; empty if it was."""
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(found.st_mode):
        return f"is no {'folder' if folder else 'ordinary file'}"
    # Files that are only removed may have another name: that of the output, when a job was killed while it gave it one.
    if not folder and not partial and found.st_nlink > 1:
        return "is a file with another name elsewhere"
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        return "belongs to another user"
    return ""


def _is_begun(plan: Mapping[str, Any]) -> bool:
    """Whether a plan has what a job adds to it; its identity becomes part of the names of files."""
    return bool(_IDENTITY.fullmatch(str(plan.get("id"))) and _INSTANT.fullmatch(str(plan.get("started"))))


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the first difference."""
    if not before:
        return "its plan is lost"
    for key, value in now.items():
        was = before.get(key)
        if was == value:
            continue
        if isinstance(was, dict) and isinstance(value, dict):
            inner = next(name for name in {**was, **value} if was.get(name) != value.get(name))
            return f"{key}: {inner} was {_brief(was.get(inner))} and is {_brief(value.get(inner))}"
        return f"{key} was {_brief(was)} and is {_brief(value)}"
    return "its plan is damaged"
