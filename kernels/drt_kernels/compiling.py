"""Compiled functions whose copies on disk are made anew when a file has changed that they are made from."""

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from numba import njit
from numba.core import config as _config
from numba.core import sigutils
from numba.core.ccallback import CFunc

NOT_COMPILED = bool(getattr(_config, "DISABLE_JIT", False))
"""Whether kernels run as plain Python, by which it is seen which of their lines are tested."""

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = Path(__file__).parent
_IMPORTS = re.compile(r"^(?:from|import)\b[^(\n]*(?:\([^)]*\))?", re.MULTILINE)


@lru_cache(maxsize=256)
def _source(name: str) -> tuple[str, frozenset[str]]:
    """Digest of a file of the kernels, and which others it imports."""
    text = (_FOLDER / f"{name}.py").read_text(encoding="utf-8")
    words = {word for line in _IMPORTS.findall(text) for word in re.findall(r"\w+", line)}
    others = frozenset(word for word in words - {name} if (_FOLDER / f"{word}.py").exists())
    return hashlib.sha256(text.encode()).hexdigest(), others


def stamp(name: str) -> tuple[tuple[str, str], ...]:
    """Tell what a function of a file is made from: names and digests of the file and of those that it needs.

    Digests, unlike times, stay what they are when the package is copied or installed again.
    """
    found: dict[str, str] = {}
    left = {name}
    while left:
        one = left.pop()
        found[one], others = _source(one)
        left |= others - found.keys()
    return tuple(sorted(found.items()))


def compiled(**options: Any) -> Callable[[F], F]:
    """Compile a function as numba's `njit` does, and keep it on disk as long as what it is made from stays.

    numba looks at the time of the file that a function is in, and not at the files of the functions that it calls.
    """

    def wrap(function: F) -> F:
        found: F = njit(**options)(function)
        _put_stamp(found, function)
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
        """Return what a compiled function can be given as an argument; where nothing is compiled, the function."""
        if NOT_COMPILED:
            return self._function
        with _MAKING:
            if self._made is None:
                kinds = sigutils.normalize_signature(self._signature)  # type: ignore[no-untyped-call]
                made = CFunc(self._function, kinds, {}, {"nopython": True} | self._options)
                made.enable_caching()
                _put_stamp(made, self._function)
                made.compile()
                self._made = made
        return self._made


_MAKING = Lock()


def _put_stamp(found: Any, function: Callable[..., Any]) -> None:
    kept = getattr(getattr(found, "_cache", None), "_cache_file", None)
    if kept is not None:
        kept._source_stamp = stamp(Path(function.__code__.co_filename).stem)
