"""Compiled functions whose copies on disk are made anew when any file of the kernels has changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

_STAMP = tuple(
    sorted((path.name, path.stat().st_mtime, path.stat().st_size) for path in Path(__file__).parent.glob("*.py"))
)


def compiled(**options: Any) -> Callable[[F], F]:
    """Compile a function as numba's `njit` does, and keep it on disk as long as no kernel file changes.

    numba looks at the file that a function is in, but not at those of the functions that it calls.
    """

    def wrap(function: F) -> F:
        found: F = njit(**options)(function)
        kept = getattr(getattr(found, "_cache", None), "_cache_file", None)
        if kept is not None:
            kept._source_stamp = _STAMP
        return found

    return wrap
