"""Whether what is to be read of a dataset is there.

Every chunk has a checksum; the index that says where the chunks are has none in files that HDF5 1.8 reads. Where the
index is damaged HDF5 takes chunks for missing and gives zeros for them, or leaves the checksum out.
"""

from collections.abc import Iterable
from itertools import product
from math import prod
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["chunks_missing"]

_CHECKSUM_BYTES = 4  # of Fletcher's sum, behind each chunk


def chunks_missing(dataset: Any, rows: NDArray[np.int64] | slice | None) -> tuple[int, int] | None:
    """Find the first chunk that holds some of the rows and is missing or would be read unchecked.

    Parameters
    ----------
    dataset : h5py.Dataset
        The dataset. One without checksums is passed: others may leave out chunks on purpose.
    rows : ndarray of int, slice from one row to another, or None
        The rows; None is all.

    Returns
    -------
    tuple of int, or None
        First and last row of the chunk; None if all chunks are there.
    """
    # h5py asks the file each time.
    chunks, shape = dataset.chunks, dataset.shape
    if not chunks or not dataset.fletcher32 or 0 in shape:
        return None
    long = chunks[0]
    firsts: Iterable[int]
    if isinstance(rows, np.ndarray):
        firsts = _firsts(rows, long)
    else:
        start, stop, _ = (slice(None) if rows is None else rows).indices(shape[0])
        firsts = range(start - start % long, stop, long)
    others = [range(0, size, step) for size, step in zip(shape[1:], chunks[1:], strict=True)]
    checksum = 1 << _place_of_checksum(dataset)
    plain = prod(chunks) * dataset.dtype.itemsize + _CHECKSUM_BYTES
    for first, *rest in product(firsts, *others):
        try:
            # Of all that h5py offers this alone looks the chunk up as reading does.
            mask, stored = dataset.id.read_direct_chunk((first, *rest))
        except (OSError, RuntimeError, ValueError):
            return first, min(first + long, shape[0]) - 1
        # Compression leaves out, and marks, what it would make larger.
        if mask & checksum or (mask and len(stored) != plain):
            return first, min(first + long, shape[0]) - 1
    return None


def _firsts(rows: NDArray[np.int64], long: int) -> list[int]:
    """First rows of the chunks that some rows are in; rows in order, as they mostly are, need not be sorted."""
    chunk = rows // long
    changes = np.diff(chunk)
    ascending = chunk.size > 0 and bool((changes >= 0).all())
    chunk = chunk[np.concatenate([[True], changes > 0])] if ascending else np.unique(chunk)
    return (chunk * long).tolist()  # type: ignore[no-any-return]  # numpy's stubs


def _place_of_checksum(dataset: Any) -> int:
    filters = dataset.id.get_create_plist()
    return next(k for k in range(filters.get_nfilters()) if filters.get_filter(k)[0] == h5py.h5z.FILTER_FLETCHER32)
