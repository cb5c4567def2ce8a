"""Text as netCDF has always stored it: arrays of single characters, each row filled up with null characters.

Text of variable length, which is h5py's own way, lies in a heap that has no checksum: damaged, it is read altered, or
the HDF5 library never returns. Characters lie in chunks with checksums.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError

__all__ = ["LONGEST_TEXT", "MISSING_TEXT", "Texts", "characters", "check_length", "longest", "rows_at_once"]

Array = NDArray[Any]

MISSING_TEXT = "\N{SYMBOL FOR NULL}"
"""What stands for missing text, since an empty text is a text."""
LONGEST_TEXT = 65535
"""Bytes of the longest text that can be stored; every row of its column takes as many."""

_PIECE_BYTES = 4 * 2**20  # which bounds the memory of long texts
_MOST_ROWS = 8192  # and that of short ones, whose objects in Python are larger than they


def longest(raw: Array) -> int:
    """Bytes of the longest of some texts in UTF-8; 0 without any.

    Parameters
    ----------
    raw : ndarray, shape (K,) or (K, N)
        As :func:`characters` takes it.

    Raises
    ------
    UnicodeEncodeError
        For text that is not Unicode.
    """
    if raw.dtype.kind == "O":
        return max((len(_bytes(text)) for text in set(raw.tolist())), default=0)
    used = np.flatnonzero(_cells(raw).view(np.uint8).any(axis=0))
    return int(used[-1]) + 1 if used.size else 0


def check_length(name: str, width: int) -> None:
    """Refuse text that is too long for a file.

    Raises
    ------
    InputError
        Naming its column.
    """
    if width > LONGEST_TEXT:
        raise InputError(
            f"state column {name!r} holds a text of {width} bytes; a file takes up to {LONGEST_TEXT}, and every row of "
            "the column takes as many as the longest. Shorten it."
        )


def rows_at_once(width: int) -> int:
    """Rows of so many bytes that are worked on at once, so that memory stays bounded.

    A power of two, so that pieces end where chunks do.
    """
    return min(_MOST_ROWS, 1 << max(0, (_PIECE_BYTES // max(1, width)).bit_length() - 1))


def characters(raw: Array, width: int) -> Array:
    """Bring text to rows of characters.

    Parameters
    ----------
    raw : ndarray, shape (K,) or (K, N)
        Objects that are str or bytes, byte strings of fixed length, or rows of characters.
    width : int
        W, at least the length of the longest text, and 1.

    Returns
    -------
    ndarray of S1, shape (K, W)
        Bytes in UTF-8, filled up with null characters.
    """
    if raw.dtype.kind == "O":
        texts = raw.tolist()
        known = {text: _bytes(text) for text in set(texts)}
        return np.array([known[text] for text in texts], dtype=f"S{width}").view("S1").reshape(raw.size, width)
    cells = _cells(raw)[:, :width]
    out = np.zeros((len(cells), width), dtype="S1")
    out[:, : cells.shape[1]] = cells
    return out


class Texts:
    """Text that comes piece by piece out of a file; texts that repeat are decoded once and kept once.

    Parameters
    ----------
    missing : str or None
        What stands for missing text.

    Attributes
    ----------
    known : list of str
        The texts that there are, each once, in the order in which they came.
    """

    def __init__(self, missing: str | None) -> None:
        self.known: list[str] = []
        self._number: dict[str | bytes, int] = {}
        self._codes: list[Array] = []
        self._missing = missing

    def add(self, raw: Array) -> None:
        """Decode a further piece.

        Parameters
        ----------
        raw : ndarray, shape (K,) or (K, N)
            As :func:`characters` takes it.

        Raises
        ------
        UnicodeDecodeError
            For what is not UTF-8.
        """
        if raw.ndim > 1:
            width = raw.shape[1]
            raw = np.ascontiguousarray(raw).view(f"S{width}")[:, 0] if width else np.zeros(len(raw), dtype="S1")
        if not raw.size:
            return
        # The same text stands in many rows after one another, as states have it: each run is looked up once.
        starts = np.flatnonzero(np.concatenate([[True], raw[1:] != raw[:-1]]))
        firsts = raw[starts].tolist()
        for piece in set(firsts):
            if piece not in self._number:
                text = piece.decode("utf-8") if isinstance(piece, bytes) else str(piece)
                self._number[piece] = -1 if text == self._missing else self._number_of(text)
        codes = np.array([self._number[piece] for piece in firsts], dtype=np.int32)
        self._codes.append(np.repeat(codes, np.diff(starts, append=raw.size)))

    def _number_of(self, text: str) -> int:
        if text not in self._number:
            self._number[text] = len(self.known)
            self.known.append(text)
        return self._number[text]

    @property
    def codes(self) -> Array:
        """For each row the position of its text in `known`, shape (K,); -1 where it is missing."""
        return np.concatenate([np.empty(0, dtype=np.int32), *self._codes])


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else bytes(text)


def _cells(raw: Array) -> Array:
    """Characters of text that has one length."""
    if raw.ndim == 1:
        raw = np.ascontiguousarray(raw).view("S1").reshape(raw.size, raw.dtype.itemsize)
    return np.ascontiguousarray(raw, dtype="S1")
