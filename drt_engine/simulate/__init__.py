"""Simulated impedance: circuit elements with their exact γ, noise, and an in situ campaign of two battery cells."""

from drt_engine.simulate.campaign import Campaign, CampaignDesign, campaign
from drt_engine.simulate.cells import BARE, COATED, PROCESSES, Cell
from drt_engine.simulate.diffusion import FiniteWarburg, SemiInfiniteWarburg
from drt_engine.simulate.distributed import ZARC, Gerischer, HavriliakNegami, PiecewiseConstant
from drt_engine.simulate.elements import RC, Capacitor, Circuit, Element, Inductor, NoDensityError, Resistor
from drt_engine.simulate.noise import ConstantNoise, Noise, Outliers, ProportionalNoise
from drt_engine.simulate.transmission_line import ConstantPhase, TransmissionLine

__all__ = [
    "BARE",
    "COATED",
    "PROCESSES",
    "RC",
    "ZARC",
    "Campaign",
    "CampaignDesign",
    "Capacitor",
    "Cell",
    "Circuit",
    "ConstantNoise",
    "ConstantPhase",
    "Element",
    "FiniteWarburg",
    "Gerischer",
    "HavriliakNegami",
    "Inductor",
    "NoDensityError",
    "Noise",
    "Outliers",
    "PiecewiseConstant",
    "ProportionalNoise",
    "Resistor",
    "SemiInfiniteWarburg",
    "TransmissionLine",
    "campaign",
]
