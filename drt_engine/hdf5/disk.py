"""The file under HDF5: where the disk is full or the user interrupts, HDF5 must not be the one to find out.

A write that fails, also one of those that HDF5 does on closing, leaves the library with objects that it can neither
write nor let go, and the process crashes later on. So HDF5 writes through a file whose writes succeed in any case. It
remembers the first error, which is then raised where Python can deal with it.
"""

import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Disk", "uninterrupted"]


class Disk(io.FileIO):
    """A new file to hand to h5py.

    After the first error nothing more goes to the disk: the rest is kept in memory, so that HDF5 reads what it wrote
    and can close its objects in order. That is little when one looks at `error` often.

    Parameters
    ----------
    path : path
        The file; it must not exist.

    Attributes
    ----------
    error : BaseException or None
        What went wrong first.

    Raises
    ------
    OSError
        If the file cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.error: BaseException | None = None
        self._kept: list[tuple[int, bytes]] = []
        super().__init__(path, "x+")

    def write(self, data: Any, /) -> int:
        """Write all of it, to memory if the disk does not take it."""
        view = memoryview(data).cast("B")
        first = self.tell()
        if self.error is None:
            try:
                written = 0
                while written < len(view):
                    written += super().write(view[written:]) or 0
                return len(view)
            except BaseException as error:  # whatever it is, HDF5 must not see it
                self.error = error
        self._kept.append((first, bytes(view)))
        return len(view)

    def readinto(self, buffer: Any, /) -> int:
        """Read what was written; zeros beyond."""
        view = memoryview(buffer).cast("B")
        first = self.tell()
        found = super().readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        for at, data in self._kept:
            start, stop = max(at, first), min(at + len(data), first + len(view))
            if start < stop:
                view[start - first : stop - first] = data[start - at : stop - at]
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size, unless something went wrong before."""
        if self.error is None:
            try:
                return super().truncate(size)
            except BaseException as error:
                self.error = error
        return size or 0

    def sync(self) -> None:
        """Bring to the disk what was written.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        os.fsync(self.fileno())


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    caught: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(*caught[0])
