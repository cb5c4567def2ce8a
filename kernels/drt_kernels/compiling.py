"""Compiled functions whose copies on disk are made anew when a file has changed that they are made from."""

import gc
import hashlib
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, TypeVar, cast

import numba
from llvmlite.binding import ffi as _ffi  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils as _cgutils
from numba.core import config as _config
from numba.core import ir as _ir
from numba.core import sigutils
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags
from numba.core.compiler_machinery import register_pass
from numba.core.extending import _Intrinsic
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering
from numba.core.types.functions import BaseFunction as _BaseFunction
from numba.core.typing.templates import signature as _signature
from numba.extending import overload as _overload
from numba.np import arrayobj as _arrayobj
from numba.np.arrayobj import fix_integer_index

cgutils: Any = _cgutils
ir: Any = _ir
BaseFunction: Any = _BaseFunction
arrayobj: Any = _arrayobj
ffi: Any = _ffi

NOT_COMPILED = bool(getattr(_config, "DISABLE_JIT", False))
"""Whether kernels run as plain Python, by which it is seen which of their lines are tested."""

KNOWN = re.fullmatch(r"0\.68\.\d+", numba.__version__) is not None
"""Whether the parts of numba that are changed here are those that they were tried with; others compile as they do."""

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


class _Settings(Flags):
    """Settings of a compilation as numba has them, compared without asking for fifty properties of each.

    numba compares them each time that it looks up an operation: a tenth of all the time that compiling takes.
    """

    _defaults: ClassVar[dict[str, Any]] = {
        name: option.default for name, option in getattr(Flags, "options", {}).items()
    }
    _hash: ClassVar[int] = hash(tuple(sorted(_defaults)))

    def values(self) -> dict[str, Any]:
        return self._defaults | self._values

    def __eq__(self, other: object) -> bool:
        return bool(super().__eq__(other))

    def __hash__(self) -> int:
        return self._hash


class _Finished(JITCodeLibrary):
    """Code of a function that Python calls; what is only declared in it is not looked at, which takes as long."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout
        for function in ll_module.functions:
            if not function.is_declaration:
                passes, builder = self._codegen._function_pass_manager()
                passes.run(function, builder)


class _Unfinished(_Finished):
    """Code of a function that other kernels call and Python does not: what calls it has it optimised.

    numba optimises a function, then again as a part of each that calls it, and of each that calls that one, and makes
    machine code of it each time.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, _: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, *_: Any) -> None:
        """Leave it to what calls the function: there is no place for the constants of one that has no machine code."""

    def serialize_using_object_code(self) -> Any:
        return self.serialize_using_bitcode()

    @classmethod
    def _unserialize(cls, codegen: Any, state: Any) -> Any:
        if state[1] == "bitcode":
            return super()._unserialize(codegen, state)
        # Of a function that Python calls too.
        with _made_as(codegen, JITCodeLibrary):
            return JITCodeLibrary._unserialize(codegen, state)


@contextmanager
def _collecting_no_garbage() -> Iterator[None]:
    """Let Python not look for garbage while the context lasts: a fifth of all the time that compiling takes."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _keep_sizes(context: Any) -> None:
    """Let numba find the size of each type once: it has LLVM read a file of its own for each variable."""
    if "get_abi_sizeof" in vars(context):
        return
    find, known = context.get_abi_sizeof, dict[str, int]()

    def size(kind: Any) -> int:
        name = str(kind)
        # What is named may be something else elsewhere.
        if "%" in name:
            return int(find(kind))
        if name not in known:
            known[name] = find(kind)
        return known[name]

    context.get_abi_sizeof = size


_find_types = BaseFunction.get_call_type
_KNOWN_TYPES: dict[tuple[int, ...], Any] = {}


def _types_of_call(function: Any, context: Any, arguments: Any, named: Any) -> Any:
    """Find the types of an operation of plain values once: numba tries each way that there is to do it.

    Of functions that are written in Python it finds them anew, since they depend on the settings of what calls them.
    """
    key = function.typing_key
    operation = getattr(key, "__module__", None) == "_operator" or key in _CALLED
    known = all(map(_is_plain, arguments)) if operation else isinstance(key, _Intrinsic)
    if named or not known:
        return _find_types(function, context, arguments, named)
    # numba has one object for each type.
    place = (id(function), id(context), *map(id, arguments))
    if place not in _KNOWN_TYPES:
        made = _find_types(function, context, arguments, named)
        if made is None:
            return None
        # These stay as long as their numbers are of use.
        _KNOWN_TYPES[place] = made, function, context, tuple(arguments)
    return _KNOWN_TYPES[place][0]


_CALLED = (range, bool)


def _is_plain(kind: Any) -> bool:
    if isinstance(kind, types.BaseTuple):
        return all(_is_plain(one) for one in cast("Any", kind).types)
    return isinstance(kind, types.Number | types.Boolean | types.Literal | types.Array)


def _variables(_: Any, value: Any) -> list[Any]:
    """List the variables in a part of numba's intermediate code, in their order, as numba does, without long search."""
    kind = type(value)
    if kind is ir.Var:
        return [value]
    if kind in _OF_NONE:
        return []
    if isinstance(value, ir.Inst):
        return cast("list[Any]", value.list_vars())
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return [value] if isinstance(value, ir.Var) else []
    return [variable for one in value for variable in _variables(None, one)]


_OF_NONE = frozenset((str, int, float, bool, type(None), ir.Loc, type(operator.add)))


def _refuse_size(source: Any, place: Any) -> None:
    """Say that an array does not fit into the slice that it is assigned to.

    numba says which shapes both have, and for that puts all it has for text into each function that assigns a slice.
    """
    raise NotImplementedError


@_overload(_refuse_size)
def _refusing_size(source: Any, place: Any) -> Callable[..., None]:  # noqa: ARG001
    def code(source: Any, place: Any) -> None:  # noqa: ARG001
        raise ValueError("cannot assign slice from input of different size")

    return code


@contextmanager
def _taking_own() -> Iterator[None]:
    """Let numba take :func:`_variables` and :func:`_types_of_call` while the context lasts: it asks for both often.

    And :func:`_refuse_size`; and it does not note when each of a hundred thousand calls of LLVM begins and ends.
    """
    lock = ffi.lib._lock
    before = ir.Inst._rec_list_vars, BaseFunction.get_call_type, arrayobj.raise_with_shape_context, lock._cblist
    ir.Inst._rec_list_vars, BaseFunction.get_call_type = _variables, _types_of_call
    arrayobj.raise_with_shape_context, lock._cblist = _refuse_size, []
    try:
        yield
    finally:
        ir.Inst._rec_list_vars, BaseFunction.get_call_type = before[:2]
        arrayobj.raise_with_shape_context, lock._cblist = before[2:]


@contextmanager
def _made_as(codegen: Any, kind: type[JITCodeLibrary]) -> Iterator[None]:
    """Let code that numba makes while the context lasts be of a kind; only one thread compiles at a time."""
    before, codegen._library_class = codegen._library_class, kind
    try:
        yield
    finally:
        codegen._library_class = before


def parts_of_array(context: Any, builder: Any, kind: Any, array: Any) -> tuple[Any, list[Any], list[Any]]:
    """Return where the elements of an array are, its shape and its strides, without a copy of all there is."""
    model = context.data_model_manager[kind]

    def part(name: str) -> Any:
        return builder.extract_value(array, model.get_field_position(name))

    shape, strides = ([builder.extract_value(part(name), k) for k in range(kind.ndim)] for name in ("shape", "strides"))
    return part("data"), shape, strides


class _Lower(Lower):
    """Makes LLVM's code of a function, and that of an element of an array in a few lines.

    numba has fifty for one, nearly all of which LLVM finds to be of no use: much of the time of compiling goes there.
    """

    def _element(self, array: Any, index: Any) -> Any:
        """Return the address of an element and the type of its array; None unless it is a number of a plain one."""
        kind, at = self.typeof(array.name), self.typeof(index.name)
        several = isinstance(at, types.BaseTuple)
        places = tuple(at.types) if several else (at,)
        plain = isinstance(kind, types.Array) and kind.layout == "C" and kind.aligned and len(places) == kind.ndim
        if not plain or not isinstance(kind.dtype, types.Number | types.Boolean):
            return None
        if not all(isinstance(place, types.Integer) for place in places):
            return None
        builder, value = self.builder, self.loadvar(index.name)
        data, shape, strides = parts_of_array(self.context, builder, kind, self.loadvar(array.name))
        numbers = [builder.extract_value(value, k) for k in range(len(places))] if several else [value]
        fixed = [
            self.context.cast(builder, number, place, types.intp)
            if isinstance(place, types.IntegerLiteral) and place.literal_value >= 0
            else fix_integer_index(self.context, builder, place, number, size)
            for number, place, size in zip(numbers, places, shape, strict=True)
        ]
        return cgutils.get_item_pointer2(self.context, builder, data, shape, strides, "C", fixed), kind

    def _lower_call_FunctionType(self, fnty: Any, expr: Any, _: Any) -> Any:  # noqa: N802 - as numba has it
        """Call a function that is an argument by its address.

        numba's own code is for functions as well whose address is not known, which Python is asked for.
        """
        values = self.fold_call_args(fnty, fnty.signature, expr.args, expr.vararg, expr.kws)
        address = self.builder.extract_value(self.loadvar(expr.func.name), 0)
        pointer = self.builder.bitcast(address, self.context.get_value_type(fnty.ftype))
        return self.builder.call(pointer, values)

    def lower_getitem(self, resty: Any, expr: Any, value: Any, index: Any, signature: Any) -> Any:
        found = self._element(value, index)
        if found is None:
            return super().lower_getitem(resty, expr, value, index, signature)
        number = self.context.unpack_value(self.builder, found[1].dtype, found[0])
        return self.context.cast(self.builder, number, found[1].dtype, resty)

    def lower_setitem(self, target_var: Any, index_var: Any, value_var: Any, signature: Any) -> Any:
        found = self._element(target_var, index_var)
        if found is None:
            return super().lower_setitem(target_var, index_var, value_var, signature)
        place, kind = found
        number = self.loadvar(value_var.name)
        number = self.context.cast(self.builder, number, self.typeof(value_var.name), kind.dtype)
        return self.context.pack_value(self.builder, kind.dtype, number, place)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):
    """Pass of numba's compiler that uses it."""

    _name = "lowering_of_kernels"

    @property
    def lowering_class(self) -> type[Lower]:
        return _Lower


class _Entry(Compiler):
    """Compiles a function that Python calls."""

    def define_pipelines(self) -> Any:
        found = super().define_pipelines()
        for manager in found:
            manager.passes = [(_Lowering if one is NativeLowering else one, text) for one, text in manager.passes]
            manager.finalize()
        return found

    def _compile_core(self) -> Any:
        state, codegen = self.state, self.state.targetctx.codegen()
        state.flags = _Settings(state.flags)
        _keep_sizes(state.targetctx)
        if state.library is None:
            state.library = _Finished(codegen, state.func_id.func_qualname)
        state.library.enable_object_caching()
        # What numba's own operations are made of is compiled on the way.
        with _made_as(codegen, _Unfinished), _collecting_no_garbage(), _taking_own():
            return super()._compile_core()


class _Inner(_Entry):
    """Compiles a function that only other kernels call."""

    def _compile_core(self) -> Any:
        self.state.library = _Unfinished(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super()._compile_core()


class _OfKernels(CPUDispatcher):
    """What only kernels call."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"{self.py_func.__name__} is compiled for other kernels alone. Compile it by entry().")


def compiled(**options: Any) -> Callable[[F], F]:
    """Compile a function as numba's `njit` does, and keep it on disk as long as what it is made from stays.

    numba looks at the time of the file that a function is in, and not at the files of the functions that it calls.
    """

    def wrap(function: F) -> F:
        pipeline = (_Inner if options.get("no_cpython_wrapper") else _Entry) if KNOWN else Compiler
        found: F = njit(pipeline_class=pipeline, **options)(function)
        _put_stamp(found, function)
        return found

    return wrap


def entry(**options: Any) -> Callable[[F], F]:
    """Compile a function that Python calls; without what lets C call it, which takes time too."""
    return compiled(cache=True, nogil=True, no_cfunc_wrapper=True, **options)


def inner(**options: Any) -> Callable[[F], F]:
    """Compile a function that only kernels call; a call from Python, for which it has no code, is refused."""
    make = entry(no_cpython_wrapper=True, **options)

    def wrap(function: F) -> F:
        found: Any = make(function)
        if isinstance(found, CPUDispatcher):
            found.__class__ = _OfKernels
        return cast("F", found)

    return wrap


class pointed:  # noqa: N801 - a decorator
    """Compile a function by itself, kept on disk as those of :func:`compiled`, when :meth:`found` is first called.

    What numba compiles it compiles again with each function that calls it, and with each that calls that one. A kernel
    takes what `found` returns as an argument, and calls it without knowing its code.

    Parameters
    ----------
    signature : str or numba signature
        Types of what it returns and takes, as numba writes them.
    **options
        Of numba's `cfunc`.
    """

    def __init__(self, signature: Any, **options: Any) -> None:
        self._signature, self._options = signature, options
        self._function: Any = None
        self._made: Any = None

    def __call__(self, function: Callable[..., Any]) -> "pointed":
        """Take the function."""
        self._function = function
        return self

    @property
    def kind(self) -> Any:
        """Type that numba has for what :meth:`found` returns."""
        arguments, result = sigutils.normalize_signature(self._signature)
        return types.FunctionType(signature(result, *arguments))

    @property
    def name(self) -> str:
        """What the function is called."""
        return str(self._function.__name__)

    def found(self) -> Any:
        """Return what a compiled function can be given as an argument; where nothing is compiled, the function."""
        if NOT_COMPILED:
            return self._function
        with _MAKING:
            if self._made is None:
                kinds = sigutils.normalize_signature(self._signature)
                made = CFunc(
                    self._function, kinds, {}, {"nopython": True} | self._options, _Entry if KNOWN else Compiler
                )
                made.enable_caching()
                _put_stamp(made, self._function)
                made.compile()
                self._made = made
        return self._made


_MAKING = Lock()

signature: Any = _signature


def _put_stamp(found: Any, function: Callable[..., Any]) -> None:
    kept = getattr(getattr(found, "_cache", None), "_cache_file", None)
    if kept is not None:
        kept._source_stamp = stamp(Path(function.__code__.co_filename).stem)
