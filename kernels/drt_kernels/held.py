"""Many arrays as one argument.

numba takes a tuple apart wherever it is an argument: one of forty arrays becomes four hundred numbers in each function
that it is given to, and most of the time of compiling goes there. A held tuple stays where it is, and what is given on
is its address. A :class:`Handle` holds one for calls from Python, which then do not take it apart either: that would
take a twentieth of the time of the search for one solution.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

import numpy as np
from numba import extending, types
from numba import typeof as _typeof_of
from numba.core import cgutils as _cgutils
from numba.core.ccallback import CFunc
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.numpy_support import from_dtype as _from_dtype

from drt_kernels.compiling import NOT_COMPILED, pointed

__all__ = ["Handle", "Held", "code_for", "handle", "held_type", "hold", "kind_of"]

T = TypeVar("T")

cgutils: Any = _cgutils
from_dtype: Any = _from_dtype


class Held(types.Type):
    """Type of the address of a named tuple."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        super().__init__(name=f"Held({kind})")


def held_type(kind: type, *fields: Any) -> Held:
    """Type of the address of a named tuple with fields of some types."""
    return Held(types.NamedTuple(fields, kind))


@register_model(Held)
class _HeldModel(models.PrimitiveModel):
    """It is a pointer of LLVM."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, manager.lookup(kind.kind).get_value_type().as_pointer())


@infer_getattr
class _HeldAttribute(AttributeTemplate):
    key = Held

    def generic_resolve(self, held: Any, name: str) -> Any:  # type: ignore[override]
        """Type of a field; a tuple within a held one is held by it."""
        kind = held.kind.types[held.kind.fields.index(name)]
        return Held(kind) if isinstance(kind, types.BaseNamedTuple) else kind


@lower_getattr_generic(Held)
def _field(context: Any, builder: Any, held: Any, address: Any, name: str) -> Any:
    at = held.kind.fields.index(name)
    kind = held.kind.types[at]
    place = cgutils.gep_inbounds(builder, address, 0, at)
    if isinstance(kind, types.BaseNamedTuple):
        return place
    value = builder.load(place)
    if isinstance(kind, types.Array):
        # The tuple keeps its arrays; nobody else has to count who uses them.
        model = context.data_model_manager[kind]
        nobody = cgutils.get_null_value(cgutils.voidptr_t)
        return builder.insert_value(value, nobody, model.get_field_position("meminfo"))
    if context.enable_nrt:
        context.nrt.incref(builder, kind, value)
    return value


@lru_cache(maxsize=64)
def _array_kind(dtype: Any, dimensions: int) -> Any:
    return types.Array(from_dtype(dtype), dimensions, "C")


def kind_of(value: Any) -> Any:
    """Type that numba has for what a held tuple may hold: arrays, numbers, functions, and tuples of them.

    Raises
    ------
    TypeError
        For something else, and for an array that is not contiguous.
    """
    if isinstance(value, np.ndarray):
        if not (value.flags.c_contiguous and value.flags.aligned):
            raise TypeError("a held array must be contiguous")
        return _array_kind(value.dtype, value.ndim)
    if isinstance(value, tuple):
        return types.BaseTuple.from_types([kind_of(one) for one in value], type(value))
    if isinstance(value, pointed):
        return value.kind
    if isinstance(value, CFunc):
        return _kind_of_function(value)
    if type(value) in _NUMBERS:
        return _NUMBERS[type(value)]
    raise TypeError(f"no held tuple holds a {type(value).__name__}")


_NUMBERS: dict[type, Any] = {int: types.intp, float: types.float64, np.float64: types.float64}


@lru_cache(maxsize=64)
def _kind_of_function(function: CFunc) -> Any:
    kinds: Any = _typeof_of
    return kinds(function)


def _put(value: Any, words: list[int], kinds: list[Any]) -> None:
    """Add a value as numba has it in memory, in words of eight bytes, and what tells its type from others."""
    if isinstance(value, np.ndarray):
        # Nobody counts who uses it; its size, size of an element, address, shape and strides.
        address: int = value.__array_interface__["data"][0]
        words += (0, 0, value.size, value.itemsize, address, *value.shape, *value.strides)
        # By its flags it has a type or none.
        kinds += (value.dtype, value.ndim, value.flags.num)
    elif isinstance(value, tuple):
        kinds += (type(value), len(value))
        for one in value:
            _put(one, words, kinds)
    elif isinstance(value, CFunc):
        words += (cast("int", value.address), id(value), 0)
        kinds.append(value)
    else:
        if type(value) not in _NUMBERS:
            kind_of(value)
        words.append(value if isinstance(value, int) else int(np.float64(value).view(np.int64)))
        kinds.append(type(value))


_KINDS: dict[tuple[Any, ...], Held] = {}
"""Types of held tuples by what tells them apart: numba takes half a millisecond to find the one of forty arrays."""


class Handle:
    """A named tuple in memory of its own, as compiled code has it; its fields are those of the tuple.

    Parameters
    ----------
    value : NamedTuple
        Of contiguous arrays, numbers, compiled functions, and named tuples of them.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        words: list[int] = []
        kinds: list[Any] = []
        _put(value, words, kinds)
        own: Any = type(value)
        self.kind = _KINDS.get(tuple(kinds)) or _KINDS.setdefault(
            tuple(kinds), held_type(own, *(kind_of(one) for one in value))
        )
        self._memory = np.array(words, dtype=np.int64)
        self.address: int = self._memory.ctypes.data

    def __getattr__(self, name: str) -> Any:
        """Return a field."""
        return getattr(self.__dict__["value"], name)


def _itself(value: T) -> T:
    return value


handle: Any = _itself if NOT_COMPILED else Handle
"""Holds a tuple for calls from Python."""


@typeof_impl.register(Handle)
def _typeof(value: Handle, context: Any) -> Held:  # noqa: ARG001
    return value.kind


@unbox(Held)
def _unbox(kind: Held, given: Any, code: Any) -> NativeValue:
    number = code.pyapi.object_getattr_string(given, "address")
    address = code.pyapi.long_as_voidptr(number)
    code.pyapi.decref(number)
    return NativeValue(code.builder.bitcast(address, code.context.get_value_type(kind)))


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


def _hold(typing: Any, held: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Put a named tuple into the memory of the calling function, as long as that runs; what is held stays."""
    if isinstance(held, Held):
        return held(held), lambda _context, _builder, _signature, given: given[0]
    if not isinstance(held, types.BaseNamedTuple):
        raise TypeError("hold needs a named tuple")

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        return cgutils.alloca_once_value(builder, given[0])

    return Held(held)(held), code


hold: Any = _itself if NOT_COMPILED else extending.intrinsic(_hold)
