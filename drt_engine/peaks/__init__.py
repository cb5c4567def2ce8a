"""Peaks of γ(ln τ), circuit elements fitted to spectra, and the equivalent circuit of these."""

from drt_engine.peaks.circuit import (
    EquivalentCircuit,
    SeriesTerms,
    admittance_circuit,
    diffusion_circuit,
    equivalent_circuit,
)
from drt_engine.peaks.deconvolution import DeconvolutionOptions, deconvolve
from drt_engine.peaks.elements import Deconvolution
from drt_engine.peaks.finding import EDGE, find_peaks, without_edges
from drt_engine.peaks.options import PeakOptions
from drt_engine.result_fields import ELEMENT_UNITS, PEAK_UNITS

__all__ = [
    "EDGE",
    "ELEMENT_UNITS",
    "PEAK_UNITS",
    "Deconvolution",
    "DeconvolutionOptions",
    "EquivalentCircuit",
    "PeakOptions",
    "SeriesTerms",
    "admittance_circuit",
    "deconvolve",
    "diffusion_circuit",
    "equivalent_circuit",
    "find_peaks",
    "without_edges",
]
