"""The result of an inversion: frozen arrays, their intervals, and the model evaluated anywhere."""

from drt_engine.result.inversion import Inversion

__all__ = ["Inversion"]
