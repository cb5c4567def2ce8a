"""The status of each spectrum."""

import enum
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Status", "count_status", "failures", "in_order", "status_attributes"]


class Status(enum.IntFlag):
    """Status of a spectrum; 0 is OK, and several flags may be set together.

    ``LAMBDA_AT_EDGE``, ``POINTS_MISSING``, ``SOLVED_BY_CVXPY``, ``EXTRAPOLATED``, ``BREAK``, ``BREAK_ACROSS``,
    ``ALONE``, ``UNRELATED``, ``TAIL_UNCERTAIN``, ``ADMITTANCE``, ``DRIFT``, ``NOT_UNIQUE`` and ``NOT_PLACED`` are
    remarks on a good solution, and ``MISFIT`` is one on a solution that does not describe the data. With any other
    there is no solution and its row is NaN.
    """

    OK = 0
    LAMBDA_AT_EDGE = 1
    POINTS_MISSING = 2
    SOLVED_BY_CVXPY = 4
    MISFIT = 8
    NOT_FINITE = 16
    TOO_FEW_POINTS = 32
    WRONG_SIGN = 64
    NOT_SOLVED = 128
    EXTRAPOLATED = 256
    BREAK = 512
    ALONE = 1024
    TAIL_UNCERTAIN = 2048
    BREAK_ACROSS = 4096
    UNRELATED = 8192
    ADMITTANCE = 16384
    DRIFT = 32768
    NOT_UNIQUE = 65536
    NOT_PLACED = 131072

    @property
    def failed(self) -> bool:
        """Whether there is no solution."""
        return bool(self & _FAILURES)

    @property
    def message(self) -> str:
        """What was found, what was expected and what to do, in a sentence a flag."""
        return " ".join(text for flag, text in _MESSAGES.items() if flag in self) or "Solved."


_FAILURES = Status.NOT_FINITE | Status.TOO_FEW_POINTS | Status.WRONG_SIGN | Status.NOT_SOLVED
_MESSAGES = {
    Status.LAMBDA_AT_EDGE: "The criterion is smallest at an edge of the grid of λ: the data do not bound the "
    "regularisation. Compare with neighbouring spectra, or give a number.",
    Status.POINTS_MISSING: "Some impedances are NaN or infinite; expected finite ones. They were left out.",
    Status.SOLVED_BY_CVXPY: "The fast solver could not certify its solution; cvxpy could, which is slower and as good.",
    Status.MISFIT: "The residual has a structure that is not noise, or is larger than the noise that was given (with "
    "noise='auto' it is found); expected residuals of either sign. Either the "
    "spectrum is not one of the model: of relaxations alone (an inductive loop, a negative resistance, a wrong "
    "sign, or a cell that was not at rest), or with another kernel of such diffusion alone (another geometry or "
    "boundary, or a relaxation as well). Or the regularisation is too strong. Validate it; "
    "its intervals are withheld.",
    Status.EXTRAPOLATED: "More than a tenth of R_pol belongs to relaxation times outside the window of the data, from "
    "1/ω_max to 1/ω_min, or γ still rises at its slow end, or the data have the flank of a slower process, or at "
    "the highest frequency −Im Z of the relaxations is still more than a tenth of R_pol; expected less, and a γ that "
    "falls. R_pol is an extrapolation, and in the last case R_inf as well: see r_pol_beyond, and measure at lower "
    "frequencies, or in that case at higher ones.",
    Status.BREAK: "The series breaks before this spectrum: what changed is more than a smooth course allows. Nothing "
    "is wrong if something happened to the cell there; the spectra on either side were not made alike.",
    Status.ALONE: "Inverted without its series: the state along which it runs is missing, no other spectrum has its "
    "cell and cycle, or no joint solution could be certified as optimal. Compare with the others by their intervals.",
    Status.BREAK_ACROSS: "Series break before this spectrum along the second of their states: what changed is more "
    "than a smooth course allows. The spectra on either side were not made alike.",
    Status.UNRELATED: "Neighbours in this series are no more alike than spectra of different cells; expected what "
    "changes little from one to the next. The joint solution is close to that of each alone. Check that the column of "
    "along= orders spectra of one cell, and that series= distinguishes cells.",
    Status.TAIL_UNCERTAIN: "The data do not distinguish the tail from others or from slow processes beyond the window, "
    "and R_pol or the exponent depends on it; its interval is that of the tail that was taken, and does not hold what "
    "another would give. Measure at lower frequencies, say by tail= what is known of the cell, or invert spectra of a "
    "cell together by along=.",
    Status.ADMITTANCE: "γ is a distribution in the admittance, in siemens and not in ohm: 1/R_inf + jωC "
    "− ∫ γ/(1 + jωτ) d ln τ. R_inf and R_pol, the resistance at frequency zero less R_inf, are in ohm.",
    Status.DRIFT: "The cell changed during the sweep, and γ is that in the middle of its time. drift_fast and "
    "drift_slow say by how much ln γ changed from the first to the last point.",
    Status.NOT_UNIQUE: "Another distribution of diffusion times, with resistance at clearly other times, describes the "
    "data as well: how well this one fits says nothing. Do not read single peaks of it without another reason, or "
    "measure with less noise.",
    Status.NOT_PLACED: "The points of this sweep were not placed at their own times, which drift= asks for: points "
    "or the series have no times, sweeps overlap, or the series with it has no solution. If the cell changed during "
    "the sweep, γ is wrong by that, and its intervals do not hold it. Compare with the spectrum alone with drift=.",
    Status.NOT_FINITE: "Every impedance is NaN or infinite; expected finite ones. Measure again, or drop the row.",
    Status.TOO_FEW_POINTS: "Fewer than 5 finite impedances are left; expected 5 or more. Drop the row.",
    Status.WRONG_SIGN: "Im Z is positive throughout, or wherever the resistance rises; expected negative where the "
    "response is capacitive. If the file holds -Im Z, pass impedance.conj().",
    Status.NOT_SOLVED: "The optimality residual stayed above 1e-8; expected below. Try a larger regularisation, "
    "fewer relaxation times, or constraints that do not contradict each other.",
}


def count_status(status: NDArray[np.uint32]) -> dict[str, int]:
    """Count spectra by status; ``ok`` first, then each flag that occurs.

    Parameters
    ----------
    status : ndarray of uint32, shape (K,)
        Flags of :class:`Status`.
    """
    counts = {"ok": int(np.count_nonzero(status == 0))}
    for flag in Status:
        count = int(np.count_nonzero(status & np.uint32(flag)))
        if count:
            counts[_word(flag)] = count
    return counts


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Put counts by status into the order of :func:`count_status`."""
    return {name: counts[name] for name in map(_word, Status.__members__.values()) if name in counts}


def _word(flag: Status) -> str:
    return str(flag.name).lower().replace("_", " ")


def failures(status: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether a status says that there is no solution, shape (K,).

    Parameters
    ----------
    status : ndarray of uint32, shape (K,)
        Flags of :class:`Status`.
    """
    return np.asarray((status & np.uint32(_FAILURES)) != 0)


def status_attributes() -> dict[str, Any]:
    """Attributes that make the status readable by the netCDF climate and forecast conventions."""
    flags = [flag for flag in Status if flag]
    return {
        "flag_masks": np.array(flags, dtype=np.uint32),
        "flag_meanings": " ".join(str(flag.name).lower() for flag in flags),
    }
