"""Compiled numerics of drt-engine: arrays in, arrays out; no options, no strings, no files.

A file of them is imported, and numba with it, which takes half a second, when something of it is first used: to list
files, to draw axes or to read results nothing of it is needed.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

_FOLDER = Path(__file__).parent
_WITHOUT_NUMBA = ("early", "kinds")


class _UnreadFile(ModuleType):
    """Stands for a file of kernels until it is imported, and hands on what it has."""

    _file: ModuleType | None = None

    def __getattr__(self, name: str) -> Any:
        # To ask for what has been imported takes as long as some kernels do. It waits for a thread that imports it.
        if self._file is None:
            self._file = import_module(self.__name__)
        return getattr(self._file, name)


def __getattr__(name: str) -> ModuleType:
    if not (_FOLDER / f"{name}.py").exists():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    whole = f"{__name__}.{name}"
    return import_module(whole) if name in _WITHOUT_NUMBA else _UnreadFile(whole)
