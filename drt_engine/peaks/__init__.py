"""Peaks of γ(ln τ), its parts, and the equivalent circuit that they stand for."""

from drt_engine.peaks.circuit import EquivalentCircuit, SeriesTerms, equivalent_circuit
from drt_engine.peaks.deconvolution import DeconvolutionOptions, deconvolve
from drt_engine.peaks.finding import EDGE, PEAK_UNITS, find_peaks, without_edges
from drt_engine.peaks.options import PeakOptions
from drt_engine.peaks.parts import PART_UNITS, Deconvolution

__all__ = [
    "EDGE",
    "PART_UNITS",
    "PEAK_UNITS",
    "Deconvolution",
    "DeconvolutionOptions",
    "EquivalentCircuit",
    "PeakOptions",
    "SeriesTerms",
    "deconvolve",
    "equivalent_circuit",
    "find_peaks",
    "without_edges",
]
