"""The inversion methods that :func:`drt_engine.invert` takes."""

from collections.abc import Mapping
from typing import Any

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods.base import Method, SharesRegularisation, Solution
from drt_engine.methods.convex import Convex
from drt_engine.methods.log_gaussian import LogGaussian
from drt_engine.methods.tikhonov import Tikhonov
from drt_engine.uncertainty.base import HasPosterior

__all__ = [
    "METHODS",
    "Convex",
    "HasPosterior",
    "LogGaussian",
    "Method",
    "SharesRegularisation",
    "Solution",
    "Tikhonov",
    "method_from_settings",
]

METHODS: Mapping[str, type[Tikhonov] | type[Convex] | type[LogGaussian]] = {
    method.__name__: method for method in (Tikhonov, Convex, LogGaussian)
}
"""All methods by name."""


def method_from_settings(settings: Mapping[str, Any]) -> Method:
    """Make a method from the settings that :meth:`Method.settings` returned.

    Raises
    ------
    UnknownNameError
        For an unknown method.
    InputError
        For settings that it does not take.
    """
    rest = dict(settings)
    name = rest.pop("name", None)
    if not isinstance(name, str) or name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    try:
        return METHODS[name](**rest)
    except TypeError as error:
        raise InputError(f"the settings of {name} do not fit it: {error}.") from error
