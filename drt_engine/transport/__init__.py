"""Conductivity of pellets and of composite electrodes, from impedance and from direct current."""

from drt_engine.transport.arrhenius import Arrhenius
from drt_engine.transport.composite import Composite, composite
from drt_engine.transport.dc import Polarisation, polarisation
from drt_engine.transport.flags import Flag
from drt_engine.transport.pellet import Conductivity, conductivity

__all__ = [
    "Arrhenius",
    "Composite",
    "Conductivity",
    "Flag",
    "Polarisation",
    "composite",
    "conductivity",
    "polarisation",
]
