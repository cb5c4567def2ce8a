"""Whether spectra can be the linear and stationary response of anything, and how to take out what cannot.

- :func:`validate` tests spectra by :class:`LinearKramersKronig` or :class:`ZHit` and returns a :class:`Validation`
  with a :class:`Validity` for each spectrum.
- :func:`clean` takes points out of a copy of spectra, as a :class:`Cleaning` says, and records them in a
  :class:`Cleaned`.
"""

from drt_engine.validation.base import ValidityTest
from drt_engine.validation.bulk import validate
from drt_engine.validation.cleaning import Cleaned, Cleaning, clean
from drt_engine.validation.kramers_kronig import LinearKramersKronig
from drt_engine.validation.result import Validation, Validity
from drt_engine.validation.z_hit import ZHit

__all__ = [
    "Cleaned",
    "Cleaning",
    "LinearKramersKronig",
    "Validation",
    "Validity",
    "ValidityTest",
    "ZHit",
    "clean",
    "validate",
]
