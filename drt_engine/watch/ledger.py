"""Which sweeps a campaign has. What it holds says that itself; nothing is kept beside it that could say otherwise."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.hdf5 import scan
from drt_engine.hdf5.reader import opened_grid, spectra_of
from drt_engine.spectra import Spectra

__all__ = ["Ledger", "marks"]

_ROWS_AT_ONCE = 8192
"""Rows whose states are read at once, so that a long campaign needs little memory."""
_NAMES = ("source", "digest", "sweep")


def marks(spectra: Spectra) -> list[bytes]:
    """Digest the finite impedances of each spectrum, which tells it from others."""
    return [hashlib.blake2b(row[np.isfinite(row)].tobytes(), digest_size=16).digest() for row in spectra.impedance]


class Ledger:
    """The sweeps of a campaign by file, number in the file, and measured values.

    Attributes
    ----------
    files : dict of str to str
        Name by digest of the files that sweeps were taken from, as they were then.
    grids : dict of str to ndarray, shape (F,)
        Frequencies by grid name, Hz.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.grids: dict[str, NDArray[np.float64]] = {}
        self._taken: dict[tuple[str, int], set[bytes]] = {}
        self._values: dict[bytes, str] = {}

    @classmethod
    def of(cls, campaign: Path) -> "Ledger":
        """Read it from a file of spectra; points that were masked since count as they were measured."""
        found = cls()
        for info in scan(campaign).spectra:
            found.grids[info.grid] = np.asarray(info.frequency)
            if not set(_NAMES) <= set(info.columns):
                continue
            with opened_grid(campaign, info.grid, _NAMES) as reader:
                for start in range(0, info.spectra, _ROWS_AT_ONCE):
                    rows = np.arange(start, min(start + _ROWS_AT_ONCE, info.spectra))
                    found.add(spectra_of(reader, rows, reader.states(rows, _NAMES), masked=False))
        return found

    def add(self, spectra: Spectra) -> None:
        """Enter spectra that are in the campaign."""
        for source, digest, number, mark in self._lines(spectra):
            self._taken.setdefault((source, number), set()).add(mark)
            self._values.setdefault(mark, source)
            self.files[digest] = source

    def new(self, spectra: Spectra) -> NDArray[np.bool_]:
        """Which spectra are not in the campaign, shape (K,)."""
        out = np.ones(len(spectra), dtype=bool)
        for row, (source, _, number, mark) in enumerate(self._lines(spectra)):
            out[row] = mark not in self._taken.get((source, number), ())
        return out

    def changed(self, spectra: Spectra) -> list[int]:
        """Numbers of the sweeps that the campaign has from the same file with other values."""
        return [
            number
            for source, _, number, mark in self._lines(spectra)
            if mark not in (known := self._taken.get((source, number), set())) and known
        ]

    def former_names(self, spectra: Spectra) -> set[str]:
        """Names of the other files that the campaign has all of these spectra from; none unless it has all."""
        names = {self._values.get(mark) for _, _, _, mark in self._lines(spectra)}
        return set() if None in names else {name for name in names if name is not None}

    @staticmethod
    def _lines(spectra: Spectra) -> list[tuple[str, str, int, bytes]]:
        states: Any = spectra.states
        if not set(_NAMES) <= set(states.columns):
            return []
        known = states[[*_NAMES]].notna().all(axis=1)
        return [
            (source, digest, int(number), mark)
            for (source, digest, number), mark, there in zip(
                states[[*_NAMES]].itertuples(index=False, name=None), marks(spectra), known, strict=True
            )
            if there
        ]
