"""Diffusion through a layer to where the concentration is kept: the finite-length Warburg element, tanh √s / √s.

T. Jacobsen, K. West, Electrochim. Acta 40 (1995) 255.
"""

import numpy as np

from drt_engine.model.responses.base import ComplexArray, Response

__all__ = ["TRANSMISSIVE_PLANAR"]


def _value(s: ComplexArray) -> ComplexArray:
    root = np.sqrt(s)
    return np.asarray(np.tanh(root) / root)


TRANSMISSIVE_PLANAR = Response("transmissive-planar", _value, 0.25 * np.pi**2, blocking=False, time="diffusion time")
