"""Relaxation: a resistance beside a capacitor, 1 / (1 + s)."""

from drt_engine.model.responses.base import ComplexArray, Response

__all__ = ["RELAXATION"]


def _value(s: ComplexArray) -> ComplexArray:
    return 1.0 / (1.0 + s)


RELAXATION = Response("relaxation", _value, 1.0, blocking=False, time="relaxation time")
