"""Many arrays as one argument.

numba takes a tuple apart wherever it is an argument: one of forty arrays becomes four hundred numbers in each function
that it is given to, and most of the time of compiling goes there. A held tuple stays where it is, and what is given on
is its address.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import extending, types
from numba.core import cgutils as _cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, models, register_model

from drt_kernels.compiling import NOT_COMPILED

__all__ = ["Held", "held_type", "hold"]

T = TypeVar("T")

cgutils: Any = _cgutils


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


def _hold(typing: Any, held: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Put a named tuple into the memory of the calling function, as long as that runs."""
    if not isinstance(held, types.BaseNamedTuple):
        raise TypeError("hold needs a named tuple")

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        return cgutils.alloca_once_value(builder, given[0])

    return Held(held)(held), code


def _itself(value: T) -> T:
    return value


hold: Any = _itself if NOT_COMPILED else extending.intrinsic(_hold)
