"""Spectra of a series inverted together: ln γ changes along it as little and as smoothly as the data allow."""

from drt_engine.methods.joint.solutions import Across, JointSolution, SeparateSolutions, SeriesHyperparameters
from drt_engine.methods.joint.solve import solve_across, solve_series

__all__ = [
    "Across",
    "JointSolution",
    "SeparateSolutions",
    "SeriesHyperparameters",
    "solve_across",
    "solve_series",
]
