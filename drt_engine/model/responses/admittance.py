"""A resistor and a capacitor in series, as an admittance less its value at infinite frequency: −1 / (1 + s).

Its unit is a conductance, and it is no choice of a user: `representation` of the methods is.
"""

from drt_engine.model.responses.base import ComplexArray, Response

__all__ = ["ADMITTANCE"]


def _value(s: ComplexArray) -> ComplexArray:
    return -1.0 / (1.0 + s)


ADMITTANCE = Response("admittance", _value, 1.0, blocking=False, time="relaxation time")
