"""Changes of γ and R_pol from one spectrum to another, with intervals."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drt_engine.uncertainty.base import quantile
from drt_engine.uncertainty.posterior import LogPosterior, still_rises

__all__ = ["Change", "change_between"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Change:
    """How γ and R_pol change from one spectrum to another.

    Attributes
    ----------
    level : float
        Probability that an interval covers its value.
    tau : ndarray, shape (M,)
        Relaxation times, s.
    gamma, gamma_low, gamma_high : ndarray, shape (M,)
        Change of γ and its interval, ohm.
    r_pol, r_pol_low, r_pol_high : float
        Change of R_pol and its interval, ohm. A change is shown by the data where its interval does not hold zero.
        Intervals are NaN where one of the two spectra is a ``MISFIT``.
    """

    level: float
    tau: Array
    gamma: Array
    gamma_low: Array
    gamma_high: Array
    r_pol: float
    r_pol_low: float
    r_pol_high: float

    def without_intervals(self) -> "Change":
        """Return it with NaN for its intervals."""
        unknown = np.full_like(self.gamma, np.nan)
        return replace(self, gamma_low=unknown, gamma_high=unknown, r_pol_low=np.nan, r_pol_high=np.nan)


def change_between(
    level: float, posterior: LogPosterior, variance: Array, of_r_pol: float, *, in_common: bool
) -> Change:
    """Make a change of γ and R_pol from one spectrum to another.

    Parameters
    ----------
    level : float
        Probability that its intervals cover it.
    posterior : LogPosterior
        Of the two spectra, one after the other.
    variance : ndarray, shape (M,)
        That of the change of γ, ohm².
    of_r_pol : float
        That of the change of R_pol within the relaxation times, ohm².
    in_common : bool
        Whether what they have in common falls out.
    """
    expansion, gamma = posterior.expansion, posterior.parameters.coefficients
    step = gamma[1] - gamma[0]
    half = quantile(level) * np.sqrt(np.maximum(variance, 0.0))
    r_pol, wide = float(step @ expansion.areas), quantile(level) * float(np.sqrt(max(of_r_pol, 0.0)))
    less, more = _outside(posterior, level, in_common=in_common)
    return Change(
        *(level, expansion.tau, step, step - half, step + half),
        *(r_pol, r_pol - float(np.hypot(wide, less)), r_pol + float(np.hypot(wide, more))),
    )


def _outside(posterior: LogPosterior, level: float, *, in_common: bool) -> tuple[float, float]:
    """By how much a change of R_pol may be smaller or larger for what γ is beyond the window of the data, ohm.

    Where γ falls at the end of the window, it is expected to go on alike in states that have much in common: in
    proportion to where it ends. Where it still rises, a process lies beyond whose resistance the data do not show, and
    both may be anything: if diffusion takes a longer way, its resistance grows and what is seen of it stays the same.
    """
    less, more = posterior.outside(level)
    gamma, end = posterior.parameters.coefficients, posterior.window_end
    if not in_common or (end is not None and still_rises(posterior.expansion, gamma, end).any()):
        return float(np.hypot(less[1], more[0])), float(np.hypot(more[1], less[0]))
    # How far γ is known at its end, by the one that has more of it: that goes with the noise of each.
    last = np.abs(gamma[:, -1])
    most = int(last[1] >= last[0])
    share = 1.0 - last[1 - most] / last[most]
    parts = share * float(less[most]), share * float(more[most])
    return parts if most else parts[::-1]
