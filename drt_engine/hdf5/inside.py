"""Whether all of a file is in that file, and what it says is there is stored.

HDF5 can name data in other files, as external links, external storage and virtual datasets do. A file from a stranger
could so show what is on the reader's own disk, or hang on a pipe. None of it is followed: it is refused before anything
is read.
"""

import os
from collections import deque
from typing import Any

import h5py

from drt_engine.errors import FileFormatError
from drt_engine.outputs import PathLike

__all__ = ["require_inside", "unstored"]

# A campaign of many grids has some hundreds, three deep; a file made to exhaust a reader has more than these.
_MOST_OBJECTS = 100_000
# Groups within groups. Ours are three deep; a walk of this depth still needs little memory.
_DEEPEST = 64
# Deflate makes at best 1 byte of 1032; nothing else that comes with HDF5 makes less.
_MOST_COMPRESSION = 1100
_SAME_SIZE = {h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_SHUFFLE}
# What a dataset may declare beyond what is stored: 64 MiB do no harm, whatever the file is.
_FREE_BYTES = 2**26
# Files that were looked through last and have not changed since. A file of many grids is opened once for each of them,
# and looking through it takes time in proportion to their number. Two are open at once in a job, and its blocks.
_looked_through: deque[tuple[int, ...]] = deque(maxlen=16)


def require_inside(path: PathLike, file: Any) -> None:
    """Refuse a file with anything in it that lies elsewhere, or with links that lead nowhere or in a circle.

    Parameters
    ----------
    path : path
        The file, for messages.
    file : h5py.File
        The file, opened.

    Raises
    ------
    FileFormatError
        With the place and the cause.
    """
    version = _version(file)
    if version is None or version not in _looked_through:
        _look_through(path, file)
        if version is not None:
            _looked_through.append(version)


def _version(file: Any) -> tuple[int, ...] | None:
    """Identify the open file and the time of its last change; None where the system does not say."""
    try:
        found = os.fstat(file.id.get_vfd_handle())
    except (OSError, RuntimeError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _look_through(path: PathLike, file: Any) -> None:
    root = h5py.h5o.get_info(file.id).addr
    seen: set[int] = {root}
    waiting: list[tuple[Any, bytes, tuple[int, ...]]] = [(file["/"].id, b"", (root,))]
    while waiting:
        group, where, above = waiting.pop()
        for name in [*group]:
            place = where + b"/" + name
            _require_followed(path, group, name, place)
            found = h5py.h5o.get_info(group, name)
            if found.addr in above:
                raise _error(path, place, "is a link that leads in a circle")
            if found.addr in seen:
                continue
            seen.add(found.addr)
            if len(seen) > _MOST_OBJECTS or len(above) > _DEEPEST:
                raise _error(path, place, "is one object too many; a file of measurements has no such structure")
            item = h5py.h5o.open(group, name)
            if isinstance(item, h5py.h5g.GroupID):
                waiting.append((item, place, (*above, found.addr)))
            elif isinstance(item, h5py.h5d.DatasetID):
                _require_stored_here(path, item, place)


def _require_followed(path: PathLike, group: Any, name: bytes, place: bytes) -> None:
    """Refuse a link that must not be followed, before it is."""
    kind = group.links.get_info(name).type
    if kind == h5py.h5l.TYPE_EXTERNAL:
        raise _error(path, place, "is a link into another file")
    if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
        raise _error(path, place, f"is a link of a kind that is not known, {kind}")
    if kind == h5py.h5l.TYPE_SOFT and not _leads_somewhere(group, name):
        raise _error(path, place, "is a link that leads nowhere in the file")


def _leads_somewhere(group: Any, name: bytes) -> bool:
    try:
        return bool(group.links.exists(name)) and h5py.h5o.get_info(group, name) is not None
    except (KeyError, OSError, RuntimeError, ValueError):
        return False


def _require_stored_here(path: PathLike, dataset: Any, place: bytes) -> None:
    layout = dataset.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL:
        raise _error(path, place, "is a virtual dataset, whose values are in other datasets")
    if layout.get_external_count():
        raise _error(path, place, "has its values in another file")


def _error(path: PathLike, place: bytes, cause: str) -> FileFormatError:
    where = place.decode("utf-8", "replace")
    return FileFormatError(f"{path}: {where} {cause}. Only what is in the file itself is read: copy it into it.")


def unstored(dataset: Any, file_bytes: int) -> str | None:
    """Say what is wrong with a dataset that is larger than what is stored of it; None if nothing is.

    Memory is asked for by the size that a dataset says it has, and rows that nobody stored would be read as fill
    values.

    Parameters
    ----------
    dataset : h5py.Dataset
        The dataset; none of its values is read.
    file_bytes : int
        Size of the file.
    """
    item = dataset.id.get_type().get_size()
    declared = item * int(dataset.size)
    stored = min(int(dataset.id.get_storage_size()), file_bytes)
    # Others leave out chunks on purpose, where the fill value is what they mean; not all of them, and not without end.
    if declared > max(stored, _FREE_BYTES if stored else 0) and declared > stored * _most_compression(dataset):
        return f"says that it has shape {dataset.shape}, {declared} bytes, of which {stored} bytes are stored"
    chunks = dataset.chunks
    if chunks:
        chunk = item
        for size in chunks:
            chunk *= int(size)
        if chunk > max(_FREE_BYTES, declared):
            return f"has chunks of {chunk} bytes, more than all of its {declared} bytes"
    return None


def _most_compression(dataset: Any) -> int:
    """How many times larger values may be than what is stored of them, by the filters of a dataset."""
    layout = dataset.id.get_create_plist()
    filters = {layout.get_filter(k)[0] for k in range(layout.get_nfilters())}
    return _MOST_COMPRESSION if filters - _SAME_SIZE else 1
