"""Compiled functions whose copies on disk are made anew when any file of the kernels has changed."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from numba import njit
from numba.core import sigutils
from numba.core.ccallback import CFunc

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
        _stamp(found)
        return found

    return wrap


class pointed:  # noqa: N801 - a decorator
    """Compile a function by itself, kept on disk as those of :func:`compiled`, when :meth:`found` is first called.

    What numba compiles it compiles again with each function that calls it, and with each that calls that one. A kernel
    takes what `found` returns as an argument, and calls it without knowing its code.

    Parameters
    ----------
    signature : str
        Types of what it returns and takes, as numba writes them.
    **options
        Of numba's `cfunc`.
    """

    def __init__(self, signature: str, **options: Any) -> None:
        self._signature, self._options = signature, options
        self._function: Any = None
        self._made: Any = None

    def __call__(self, function: Callable[..., Any]) -> "pointed":
        """Take the function."""
        self._function = function
        return self

    def found(self) -> Any:
        """Return what a compiled function can be given as an argument."""
        with _MAKING:
            if self._made is None:
                kinds = sigutils.normalize_signature(self._signature)  # type: ignore[no-untyped-call]
                made = CFunc(self._function, kinds, {}, {"nopython": True} | self._options)
                made.enable_caching()
                _stamp(made)
                made.compile()
                self._made = made
        return self._made


_MAKING = Lock()


def _stamp(found: Any) -> None:
    kept = getattr(getattr(found, "_cache", None), "_cache_file", None)
    if kept is not None:
        kept._source_stamp = _STAMP
