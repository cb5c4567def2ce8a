"""Four double numbers at once: a type whose values live in a vector register, and what is done with them.

LLVM finds such operations by itself in simple loops. In a product of matrices it does not keep a tile of the result in
registers, which is what makes it fast; with this type a kernel says so. Where a processor has shorter registers, or
none, LLVM takes several instructions in place of one, with the same result.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core import cgutils as _cgutils
from numba.extending import models, register_model

from drt_kernels.compiling import NOT_COMPILED, parts_of_array

__all__ = ["WIDTH", "fma", "load", "load_at", "same", "store", "store_at", "total"]

# Double numbers in a register of 256 bits, which nearly all processors have.
WIDTH = 4

cgutils: Any = _cgutils


def intrinsic(code: Callable[..., Any]) -> Any:
    """Make an operation of compiled code; where nothing is compiled, the one of the same name in `_AS_PYTHON`."""
    return _AS_PYTHON[code.__name__] if NOT_COMPILED else extending.intrinsic(code)


def _put(array: Any, *at_and_value: Any) -> None:
    *rows, column, value = at_and_value
    array[(*rows, slice(column, column + WIDTH))] = value


# By which it is seen which lines of kernels are tested.
_AS_PYTHON: dict[str, Callable[..., Any]] = {
    "load": lambda array, row, column: array[row, column : column + WIDTH].copy(),
    "load_at": lambda array, index: array[index : index + WIDTH].copy(),
    "store": _put,
    "store_at": _put,
    "same": lambda value: np.full(WIDTH, value),
    "fma": lambda one, other, added: one * other + added,
    "total": lambda value: (value[0] + value[2]) + (value[1] + value[3]),
}

_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
_INDEX = ir.IntType(32)  # which LLVM takes


class _Vector(types.Type):
    """Type of four double numbers."""

    def __init__(self) -> None:
        super().__init__(name="Vector")


_vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    """They are a vector of LLVM."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: list[Any]) -> Any:
    """Address of an element of a contiguous array, as one of a vector."""
    data, shape, strides = parts_of_array(context, builder, kind, array)
    at = cgutils.get_item_pointer2(context, builder, data, shape, strides, kind.layout, index, wraparound=False)
    return builder.bitcast(at, ir.PointerType(_VECTOR))


def _shuffled(builder: Any, value: Any, order: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(_INDEX, len(order)), order)
    return builder.shuffle_vector(value, value, mask)


def _contiguous(kind: Any, dimensions: int) -> bool:
    return bool(isinstance(kind, types.Array) and kind.layout == "C" and kind.ndim == dimensions)


@intrinsic
def load(typing: Any, array: Any, row: Any, column: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Four elements of a row of a contiguous matrix, from a column on."""
    if not _contiguous(array, 2):
        raise TypeError("load needs a contiguous matrix")

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], given[0], list(given[1:])), align=8)

    return _vector(array, types.intp, types.intp), code


@intrinsic
def load_at(typing: Any, array: Any, index: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Four elements of a contiguous array of one dimension, from an index on."""
    if not _contiguous(array, 1):
        raise TypeError("load_at needs a contiguous array of one dimension")

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], given[0], [given[1]]), align=8)

    return _vector(array, types.intp), code


@intrinsic
def store_at(typing: Any, array: Any, index: Any, value: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Put four numbers into a contiguous array of one dimension, from an index on."""
    if not _contiguous(array, 1):
        raise TypeError("store_at needs a contiguous array of one dimension")

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(given[2], _address(context, builder, signature.args[0], given[0], [given[1]]), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, _vector), code


@intrinsic
def store(typing: Any, array: Any, row: Any, column: Any, value: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Put four numbers into a row of a contiguous matrix, from a column on."""
    if not _contiguous(array, 2):
        raise TypeError("store needs a contiguous matrix")

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        at = _address(context, builder, signature.args[0], given[0], list(given[1:3]))
        builder.store(given[3], at, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, _vector), code


@intrinsic
def same(typing: Any, value: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """One number in all four places."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        blank = ir.Constant(_VECTOR, ir.Undefined)
        return _shuffled(builder, builder.insert_element(blank, given[0], ir.Constant(_INDEX, 0)), [0] * WIDTH)

    return _vector(types.float64), code


@intrinsic
def fma(typing: Any, one: Any, other: Any, added: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Products of two, and a third added."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f64")
        return builder.call(function, given)

    return _vector(_vector, _vector, _vector), code


@intrinsic
def total(typing: Any, value: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Sum of the four."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        half = builder.fadd(_shuffled(builder, given[0], [0, 1]), _shuffled(builder, given[0], [2, 3]))
        first, last = (builder.extract_element(half, ir.Constant(_INDEX, n)) for n in range(2))
        return builder.fadd(first, last)

    return types.float64(_vector), code
