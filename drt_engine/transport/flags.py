"""Flags of a sample: why a number is missing or not to be trusted."""

import enum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Flag", "remarks"]


class Flag(enum.IntFlag):
    """Remarks on a sample; 0 means no remark, and several may come together.

    With ``ABOVE_WINDOW``, ``MODEL``, ``SHAPE``, ``MISFIT``, ``LOOSE_TAIL``, ``GEOMETRY``, ``EXCHANGE``, ``CURVED``,
    ``LACK_OF_FIT``, ``FEW`` and ``POWER_OF_TIME`` there is a result, which the remark says how to read. With the others
    the requested number is NaN.
    """

    OK = 0
    NO_DATA = 1
    GEOMETRY = 2
    ABOVE_WINDOW = 4
    BELOW_WINDOW = 8
    NO_TAIL = 16
    ONLY_TAIL = 32
    INDUCTANCE = 64
    MODEL = 128
    MISFIT = 256
    NOT_DETERMINED = 512
    LOOSE_TAIL = 1024
    NOT_STEADY = 2048
    EXCHANGE = 4096
    CURVED = 8192
    LACK_OF_FIT = 16384
    FEW = 32768
    BELOW_FLOOR = 65536
    SHAPE = 131072
    POWER_OF_TIME = 262144
    CONTACT = 524288

    @property
    def message(self) -> str:
        """What was found, and what to do, in a sentence a flag."""
        return " ".join(text for flag, text in _MESSAGES.items() if flag in self) or "All well."


_MESSAGES = {
    Flag.NO_DATA: "Too few finite points; expected more than parameters.",
    Flag.GEOMETRY: "Thickness, or area or diameter, is missing: give them as states, cm and cm². R is given, σ is not.",
    Flag.ABOVE_WINDOW: "The arc lies above the highest frequency: what is given is the intercept, which is the total "
    "resistance and not that of the bulk.",
    Flag.BELOW_WINDOW: "The slowest arc does not close within the window: measure at lower frequencies.",
    Flag.NO_TAIL: "No blocking tail is seen, or one with the capacitance of a grain boundary, so that slower arcs may "
    "follow: measure at lower frequencies.",
    Flag.ONLY_TAIL: "The blocking tail is larger than the resistance at all frequencies: measure at higher ones.",
    Flag.INDUCTANCE: "The inductance hides the resistance: subtract a short-circuit measurement, or use shorter leads.",
    Flag.MODEL: "Another number of arcs describes the data better and has another resistance; the interval reaches it.",
    Flag.SHAPE: "Two arcs overlap so far that they may be one of another shape than a depressed semicircle; the "
    "interval reaches the resistance that it would have.",
    Flag.MISFIT: "The residual has a structure that is not noise; intervals are widened by its correlation.",
    Flag.NOT_DETERMINED: "The data do not determine the value.",
    Flag.LOOSE_TAIL: "An arc has nearly the capacitance of the tail, or that of an interface with an electrode: it may "
    "be the electrolyte's or not.",
    Flag.NOT_STEADY: "The steady state was not reached: hold for longer. The value given is a bound.",
    Flag.EXCHANGE: "The spectrum does not change when R_ion and R_e are exchanged: which is which needs a measurement "
    "by direct current, or between electrodes of one kind.",
    Flag.CURVED: "The values do not lie on a straight line within their errors.",
    Flag.LACK_OF_FIT: "The points scatter by more than their errors; the interval follows the scatter.",
    Flag.FEW: "Too few points for an interval.",
    Flag.POWER_OF_TIME: "A constant-phase coupling, which relaxes as a power of time, is not excluded; the steady "
    "state would then lie outside the interval. Hold for longer, or with less noise.",
    Flag.CONTACT: "The resistance of contacts that was given is as large as all that was measured: give it in ohm.",
    Flag.BELOW_FLOOR: "The current is below the floor of the instrument that was stated.",
}


def remarks(status: NDArray[np.int64]) -> list[str]:
    """Write each status in words, ``ok`` where all is well."""
    return [
        ", ".join(str(flag.name).lower().replace("_", " ") for flag in Flag if flag & value) or "ok"
        for value in status.tolist()
    ]
