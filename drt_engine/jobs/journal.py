"""What a job has done so far, in a folder beside its output: each block is there whole or not at all.

The folder ``.NAME.job`` holds ``plan.json``, a lock, and one file for each block that is done. A block is written under
a provisional name, brought to the disk and renamed; so whatever kills the job, and whenever, the next one finds every
finished block and nothing else. A file of another tool could not be used for this: HDF5 files that were open when their
process died may be unreadable.
"""

import io
import json
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from drt_engine.errors import FileWriteError, JobMismatchError, OutputBusyError
from drt_engine.hdf5.files import sync_folder
from drt_engine.jobs.blocks import Block

__all__ = ["Journal", "load_part", "save_part"]

Array = NDArray[Any]

_PART = re.compile(r"(\w+)-(\d+)-(\d+)-(\d+)\.npz")
_PLAN = "plan.json"


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
        self._lock = FileLock(self.folder / "lock")
        self.plan: dict[str, Any] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the output for this job alone; the folder goes away if it holds no block in the end.

        Raises
        ------
        OutputBusyError
            If another job holds it.
        FileWriteError
            If the folder cannot be made.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputBusyError(
                f"{self.out}: another job is making it. Wait until it is done, or give another name."
            ) from error
        except (OSError, NotImplementedError) as error:
            raise FileWriteError(
                f"{self.out}: cannot be written: {getattr(error, 'strerror', None) or error}."
            ) from error
        try:
            yield
        finally:
            if not any(self._parts()):
                self.remove()
            self._lock.release()

    def finished(self) -> bool:
        """Whether the output may have been made by the job of this folder, so that only the folder is left over."""
        return self.out.is_file() and (self.folder / _PLAN).is_file()

    def begin(self, identity: Mapping[str, Any], *, restart: bool) -> str:
        """Take up what is there, if it belongs to the same plan, or begin anew.

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
        """
        for left in self.folder.glob("*.partial"):
            left.unlink(missing_ok=True)
        plan: dict[str, Any] = json.loads(json.dumps(identity))
        before = self._read_plan()
        same = {key: before.get(key) for key in plan} == plan
        if any(self._parts()) and not same and not restart:
            raise JobMismatchError(
                f"{self.out}: a job that was not finished left blocks in {self.folder.name}, and this one cannot go on "
                f"from them: {_difference(before, plan)}. Say restart to throw them away, or repeat that job as it was."
            )
        if not same or restart:
            for part, _ in self._parts():
                part.unlink(missing_ok=True)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            before = plan | {"id": secrets.token_hex(16), "started": started}
            provisional = self.folder / f"{_PLAN}.partial"
            provisional.write_text(json.dumps(before, indent=2), encoding="utf-8")
            provisional.replace(self.folder / _PLAN)
        self.plan = before
        return str(before["id"])

    def done(self, kind: str) -> dict[Block, Path]:
        """Blocks that are there.

        Parameters
        ----------
        kind : str
            Which kind of results.
        """
        found = {}
        for path, match in self._parts():
            if match[1] == kind:
                found[Block(*(int(text) for text in match.groups()[1:]))] = path
        return found

    def path(self, kind: str, block: Block) -> Path:
        """Where the results of a block go."""
        return self.folder / f"{kind}-{block.grid}-{block.first}-{block.last}.npz"

    def remove(self) -> None:
        """Remove the folder; the plan after the blocks, so that a job killed here is known, and the lock last."""
        with suppress(OSError):
            for item in self.folder.iterdir():
                if item.name not in (_PLAN, "lock"):
                    item.unlink(missing_ok=True)
            (self.folder / _PLAN).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

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
        return found if isinstance(found, dict) else {}


def save_part(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write the results of a block; the file is there whole or not at all.

    Raises
    ------
    FileWriteError
        If it cannot be written.
    """
    # Two workers may come to write the same block, after one was believed dead.
    provisional = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        # In memory first: what a zip file does after a failed write is not worth finding out.
        content = io.BytesIO()
        np.savez(content, **arrays)
        with open(provisional, "xb", buffering=0) as file:
            rest = content.getbuffer()
            while rest:
                rest = rest[file.write(rest) or 0 :]
            os.fsync(file.fileno())
        provisional.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            provisional.unlink(missing_ok=True)
        raise FileWriteError(f"{path}: cannot be written: {error.strerror or error}.") from error


def load_part(path: Path, names: tuple[str, ...] | None = None) -> dict[str, Array] | None:
    """Read the results of a block; None if they are damaged.

    Parameters
    ----------
    path : Path
        Where they are.
    names : tuple of str, optional
        Which; all unless told.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say the first thing that differs."""
    for key, value in now.items():
        was = before.get(key)
        if was == value:
            continue
        if isinstance(was, dict) and isinstance(value, dict):
            inner = next(name for name in {**was, **value} if was.get(name) != value.get(name))
            return f"{key}: {inner} was {was.get(inner)!r} and is {value.get(inner)!r}"
        return f"{key} was {was!r} and is {value!r}"
    return "its plan cannot be read"
