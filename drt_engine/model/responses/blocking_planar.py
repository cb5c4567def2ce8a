"""Diffusion in a layer with a reflecting end: the finite-space Warburg element, coth √s / √s, about 1/s + 1/3.

T. Jacobsen, K. West, Electrochim. Acta 40 (1995) 255.
"""

import numpy as np

from drt_engine.model.responses.base import ComplexArray, Response

__all__ = ["BLOCKING_PLANAR"]


def _value(s: ComplexArray) -> ComplexArray:
    root = np.sqrt(s)
    return np.asarray(1.0 / (root * np.tanh(root)))


BLOCKING_PLANAR = Response("blocking-planar", _value, np.pi**2, blocking=True, time="diffusion time")
