"""Products and factors of matrices by the BLAS and LAPACK of scipy, called from compiled code without Python.

numba calls few of their routines by itself, none of them in place. Here the address of a routine is an argument of the
kernel, found when it runs, so that the kernel may be kept on disk.

Arrays are C's: rows are contiguous, and Fortran sees their transposes. What is lower here is upper there.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core import cgutils as _cgutils
from numpy.typing import NDArray

from drt_kernels.compiling import NOT_COMPILED, inner

__all__ = [
    "FIRST_TURNED",
    "PLAIN",
    "TURNED",
    "add_image",
    "add_product",
    "add_product_from",
    "add_square",
    "cholesky",
    "divide",
    "multiply_by_upper",
    "routines",
]

Array = NDArray[Any]

cgutils: Any = _cgutils

_NAMES = ("gemm", "syrk", "trsm", "gemv", "trmm"), ("potrf",)
# Places of the routines in what :func:`routines` returns.
_GEMM, _SYRK, _TRSM, _GEMV, _TRMM, _POTRF = range(6)

# Scalars of numpy: numba would compile a function again for each literal that it is called with.
PLAIN, TURNED, FIRST_TURNED = np.int64(0), np.int64(1), np.int64(2)

_U, _L, _N, _T = (np.uint8(ord(letter)) for letter in "ULNT")


@lru_cache(maxsize=2)
def routines(kind: str) -> NDArray[np.int64]:
    """Addresses of the routines of a precision, "d" or "s"."""
    blas, lapack = _NAMES
    if NOT_COMPILED:
        return np.zeros(len(blas) + len(lapack), dtype=np.int64)
    found = [extending.get_cython_function_address("scipy.linalg.cython_blas", kind + name) for name in blas]
    found += [extending.get_cython_function_address("scipy.linalg.cython_lapack", kind + name) for name in lapack]
    return np.array(found, dtype=np.int64)


def _call(typing: Any, address: Any, given: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Call a routine of Fortran: whole numbers of 64 bits are addresses, of all else the address is given."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        taken = []
        for at, kind in enumerate(signature.args[1]):
            value = builder.extract_value(values[1], at)
            if kind in (types.int64, types.uint64):
                taken.append(builder.inttoptr(value, pointer))
            else:
                taken.append(builder.bitcast(cgutils.alloca_once_value(builder, value), pointer))
        kind = ir.FunctionType(ir.VoidType(), [pointer] * len(taken))
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), taken)
        return context.get_dummy_value()

    return types.void(address, given), code


_fortran: Any = None if NOT_COMPILED else extending.intrinsic(_call)


def _inner(function: Any) -> Any:
    """Compile a function; where nothing is compiled, take numpy's in place of it, by the same name."""
    return _AS_PYTHON[function.__name__] if NOT_COMPILED else inner()(function)


def _add_product(_: Array, out: Array, one: Array, other: Array, how: Any, factor: Any, keep: Any) -> None:
    product = one @ other if how == PLAIN else one @ other.T if how == TURNED else one.T @ other
    out[:] = keep * out + factor * product


def _add_product_from(_: Array, out: Array, one: Array, other: Array, first: Any, factor: Any) -> None:
    out[:, : len(other)] += factor * one[:, first:] @ other[:, first:].T


def _add_square(_: Array, out: Array, one: Array, factor: Any, keep: Any) -> None:
    out[:] = keep * out + factor * one @ one.T


def _cholesky(_: Array, matrix: Array) -> bool:
    try:
        matrix[:] = np.linalg.cholesky(np.tril(matrix) + np.tril(matrix, -1).T)
    except np.linalg.LinAlgError:
        return False
    return True


def _divide(_: Array, factor: Array, rows: Array, how: Any) -> None:
    whole = np.tril(factor)
    rows[:] = np.linalg.solve(whole.T if how == TURNED else whole, rows.T).T


def _multiply_by_upper(_: Array, rows: Array, upper: Array, how: Any) -> None:
    whole = np.triu(upper)
    rows[:] = rows @ (whole.T if how == TURNED else whole)


def _add_image(_: Array, out: Array, matrix: Array, row: Array, how: Any, factor: Any) -> None:
    out += factor * ((matrix.T if how == TURNED else matrix) @ row)


# By which it is seen which lines of kernels are tested.
_AS_PYTHON: dict[str, Callable[..., Any]] = {
    one.__name__[1:]: one
    for one in (
        *(_add_product, _add_product_from, _add_square, _cholesky),
        *(_divide, _multiply_by_upper, _add_image),
    )
}


@inner()
def _width(matrix: Array) -> Any:
    """How many elements rows are apart."""
    return np.int32(matrix.strides[0] // matrix.itemsize)


@_inner
def add_product(at: Array, out: Array, one: Array, other: Array, how: Any, factor: Any, keep: Any) -> None:
    """Make `out` of keep times itself and factor times A B, A Bᵀ for `TURNED`, or Aᵀ B for `FIRST_TURNED`.

    All may be parts of matrices.
    """
    rows, columns = np.int32(out.shape[0]), np.int32(out.shape[1])
    between = np.int32(one.shape[0] if how == FIRST_TURNED else one.shape[1])
    first, second = _T if how == TURNED else _N, _T if how == FIRST_TURNED else _N
    width, other_width, into = _width(one), _width(other), _width(out)
    a, b, c = one.ctypes.data, other.ctypes.data, out.ctypes.data
    _fortran(at[_GEMM], (first, second, columns, rows, between, factor, b, other_width, a, width, keep, c, into))


@_inner
def add_product_from(at: Array, out: Array, one: Array, other: Array, first: Any, factor: Any) -> None:
    """Add factor times A Bᵀ to as many columns of `out` as B has rows; columns of A before `first` are zero."""
    rows, columns, keep = np.int32(out.shape[0]), np.int32(other.shape[0]), one.dtype.type(1)
    width, between, into = np.int32(one.shape[1]), np.int32(one.shape[1] - first), np.int32(out.shape[1])
    a, b, c = one.ctypes.data + first * one.itemsize, other.ctypes.data + first * one.itemsize, out.ctypes.data
    _fortran(at[_GEMM], (_T, _N, columns, rows, between, factor, b, width, a, width, keep, c, into))


@_inner
def add_square(at: Array, out: Array, one: Array, factor: Any, keep: Any) -> None:
    """Make the lower half of `out` of keep times itself and factor times A Aᵀ; both may be parts of matrices."""
    rows, between, width, into = np.int32(one.shape[0]), np.int32(one.shape[1]), _width(one), _width(out)
    _fortran(at[_SYRK], (_U, _T, rows, between, factor, one.ctypes.data, width, keep, out.ctypes.data, into))


@_inner
def cholesky(at: Array, matrix: Array) -> bool:
    """Put L of H = L Lᵀ into the lower half of H, which may be a part; return whether H is positive definite."""
    size, failed = np.int32(matrix.shape[0]), np.zeros(1, dtype=np.int32)
    _fortran(at[_POTRF], (_U, size, matrix.ctypes.data, _width(matrix), failed.ctypes.data))
    return bool(failed[0] == 0)


@_inner
def divide(at: Array, factor: Array, rows: Array, how: Any) -> None:
    """Solve L x = r for each row r, or Lᵀ x = r for `TURNED`, in place."""
    size, number = np.int32(rows.shape[1]), np.int32(rows.shape[0])
    one = rows.dtype.type(1)
    _fortran(
        at[_TRSM],
        (_L, _U, _N if how == TURNED else _T, _N, size, number, one, factor.ctypes.data, size, rows.ctypes.data, size),
    )


@_inner
def multiply_by_upper(at: Array, rows: Array, upper: Array, how: Any) -> None:
    """Multiply rows by a matrix of which the upper half counts, or its transpose for `TURNED`, in place."""
    size, number, one = np.int32(rows.shape[1]), np.int32(rows.shape[0]), rows.dtype.type(1)
    flag = _T if how == TURNED else _N
    _fortran(at[_TRMM], (_L, _L, flag, _N, size, number, one, upper.ctypes.data, size, rows.ctypes.data, size))


@_inner
def add_image(at: Array, out: Array, matrix: Array, row: Array, how: Any, factor: Any) -> None:
    """Add factor times A x, or Aᵀ x for `TURNED`, of square A."""
    size, each, flag = np.int32(row.shape[0]), np.int32(1), _N if how == TURNED else _T
    _fortran(
        at[_GEMV],
        (flag, size, size, factor, matrix.ctypes.data, size, row.ctypes.data, each, abs(factor), out.ctypes.data, each),
    )
