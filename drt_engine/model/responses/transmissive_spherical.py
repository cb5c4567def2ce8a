"""Diffusion from a sphere outward, to where the concentration is kept far away: 1 / (1 + √s), with τ = r²/D.

T. Jacobsen, K. West, Electrochim. Acta 40 (1995) 255.
"""

import numpy as np

from drt_engine.model.responses.base import ComplexArray, Response

__all__ = ["TRANSMISSIVE_SPHERICAL"]


def _value(s: ComplexArray) -> ComplexArray:
    return np.asarray(1.0 / (1.0 + np.sqrt(s)))


TRANSMISSIVE_SPHERICAL = Response("transmissive-spherical", _value, 1.0, blocking=False, time="diffusion time")
