"""Options of tracking: how processes may behave, and which of them are known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drt_engine.checks import is_real
from drt_engine.errors import InputError

__all__ = ["Known", "TrackingOptions"]


@dataclass(frozen=True)
class TrackingOptions:
    """How processes may behave.

    How far a process moves from state to state, how steadily, how often it is missed and how often new ones appear is
    estimated from the peaks.

    Parameters
    ----------
    max_gap : int
        Largest number of successive states in which a process may be missing and still be linked within its series.
        Longer gaps are bridged only by what other series show.
    min_length : int
        A piece of a track that has fewer observations than this cannot found a process; it can only belong to one.
    min_presence : float
        Share of all states, from 0 to 1, in which a process has to be seen; what is seen more rarely belongs to none.
    persistence : float
        Share, from 0 to 1, of the neighbouring states, or else of the neighbouring series at the same state, in which a
        process has to be seen too where it is seen, on average. What comes and goes by chance, as artefacts of the
        inversion do, belongs to no process. It is looked at from four series on.
    resolution : float
        Largest ratio of two relaxation times at which one peak may hold two processes of the same resistance; with a
        ratio of resistances of ρ, the logarithm of this ratio is √(1 + ½ ln ρ) times as large, as for two Gaussians.

    Raises
    ------
    InputError
        For values outside these ranges.
    """

    max_gap: int = 4
    min_length: int = 3
    min_presence: float = 0.03
    persistence: float = 0.5
    resolution: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name, least in (("max_gap", 0), ("min_length", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} must be a whole number, at least {least}; got {value!r}.")
        for name in ("min_presence", "persistence"):
            share = getattr(self, name)
            if not is_real(share) or not 0.0 <= share <= 1.0:
                raise InputError(f"{name} must be a share between 0 and 1; got {share!r}.")
        if not is_real(self.resolution) or self.resolution < 1.0:
            raise InputError(f"resolution must be a ratio of relaxation times, at least 1; got {self.resolution!r}.")


@dataclass(frozen=True)
class Known:
    """A process that is known, by where its peak is.

    Parameters
    ----------
    name : str
        What it is called; several of the same name are one process.
    tau : float or pair of float
        A pair is the range, s, in which its relaxation time stays, in every series. A single number, s, is a seed: the
        peak nearest to it at the states `at` belongs to the process.
    at : mapping of str to value
        States of a seed, for example ``{"cell": "B", "voltage": 3.7}``; of numbers, the nearest that was measured
        counts. Without it, and for what it leaves open, every series and state has a seed there.

    Raises
    ------
    InputError
        For an empty name, for relaxation times that are not positive or do not ascend, and for a range with `at`.
    """

    name: str
    tau: float | tuple[float, float]
    at: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be found."""
        if not self.name or str(self.name) != self.name:
            raise InputError(f"name of a Known process must be a string that is not empty; got {self.name!r}.")
        ends = self.tau if isinstance(self.tau, tuple) else (self.tau,)
        good = len(ends) in (1, 2) and all(is_real(end) and end > 0 for end in ends) and ends[0] <= ends[-1]
        if not good or (len(ends) == 2 and ends[0] == ends[1]):
            raise InputError(
                f"tau of the Known process {self.name!r} must be a relaxation time in s or a range (low, high); "
                f"got {self.tau!r}."
            )
        if len(ends) == 2 and self.at:
            raise InputError(
                f"a range of tau holds for all states; got at={dict(self.at)!r} for {self.name!r}. Give a single tau."
            )

    @property
    def range(self) -> tuple[float, float] | None:
        """Lower and upper end of the range of τ, s, or None for a seed."""
        return self.tau if isinstance(self.tau, tuple) else None
