"""The result of an inversion: frozen arrays, how sure they are, and the model evaluated anywhere."""

from drt_engine.result.inversion import Inversion

__all__ = ["Inversion"]
