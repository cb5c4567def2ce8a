"""What counts as a peak."""

import math
from dataclasses import dataclass

from drt_engine.errors import InputError
from drt_engine.model.basis import is_positive

__all__ = ["PeakOptions"]

_SHOULDER_BY_RESPONSE, _SHOULDER_BY_POSTERIOR = 5.0, 2.2
"""Significance of shoulders with which fewer than one in a hundred simulated spectra of one process has one."""


@dataclass(frozen=True)
class PeakOptions:
    """What counts as a peak.

    Parameters
    ----------
    significance : float
        How many standard deviations a maximum must be above its valleys: of what noise does to the solution, what λ
        leaves open and what λ takes away. With the default, about one in a hundred spectra, or less, shows a peak too
        many.
    shoulder_significance : float, optional
        The same for a shoulder above the straight line through its boundaries; infinity for no shoulders. By default 5,
        and 2.2 where significance is computed from a posterior of ln γ.

    Raises
    ------
    InputError
        For numbers that are not positive.
    """

    significance: float = 3.0
    shoulder_significance: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is not a number of standard deviations."""
        for name in ("significance", "shoulder_significance"):
            value = getattr(self, name)
            if value is None and name == "shoulder_significance":
                continue
            if not (is_positive(value) or value == math.inf):
                raise InputError(f"{name} must be a positive number of standard deviations; got {value!r}.")

    def limits(self, by_posterior: bool) -> tuple[float, float]:
        """Significance that maxima and shoulders must have.

        Parameters
        ----------
        by_posterior : bool
            Whether it is computed from a posterior of ln γ.
        """
        usual = _SHOULDER_BY_POSTERIOR if by_posterior else _SHOULDER_BY_RESPONSE
        given = self.shoulder_significance
        return self.significance, usual if given is None else given
