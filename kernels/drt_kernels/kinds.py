"""Types that numba sees in the arrays of a search, found once for all tuples of arrays of the same kinds.

numba looks at each array of a tuple anew with every call where the tuple also holds functions, and that takes longer
than the search for one solution.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import typeof as _typeof_of
from numba.extending import typeof_impl

from drt_kernels.compiling import NOT_COMPILED
from drt_kernels.log_gaussian import Work

__all__ = ["code_for", "kind_of"]

_known: dict[Any, Any] = {}


def kind_of(value: Any) -> Any:
    """Tell apart what numba has different types for: of arrays, functions and numbers, and tuples of them."""
    if isinstance(value, tuple):
        return type(value), *(kind_of(one) for one in value)
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value.dtype, value.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned
    return type(value) if isinstance(value, bool | int | float) else id(value)


def code_for(function: Any, arguments: Sequence[Any]) -> Callable[..., Any]:
    """Return the code of a compiled function for arguments of some types, which takes no look at these types.

    Parameters
    ----------
    function : callable
        A compiled function that has been called with such arguments.
    arguments : sequence
        What it was called with. What the code is called with must be of the same types.
    """
    kinds: Any = _typeof_of
    found: Callable[..., Any] = function
    if not NOT_COMPILED:
        found = function.get_overload(tuple(kinds(argument) for argument in arguments))
    return found


@typeof_impl.register(Work)
def _typeof(value: Work, context: Any) -> Any:
    # Arrays beside the first four are made by the search itself, always alike.
    key = kind_of(tuple(value[:4]))
    if key not in _known:
        _known[key] = typeof_impl.dispatch(tuple)(value, context), value.leaves
    return _known[key][0]
