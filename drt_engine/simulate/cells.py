"""How a simulated all-solid-state cell with a Li-rich cathode behaves: processes, capacity and voltage curves.

The numbers are chosen, not measured: each follows the trend that is reported for such cells, at a magnitude that
a laboratory cell of about 1 cm² shows. The age of a cell is √(cycle / 500), as a layer that slows its own growth by
diffusion grows with the square root of time (E. Peled, J. Electrochem. Soc. 126 (1979) 2047).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drt_engine.checks import is_real
from drt_engine.errors import InputError

__all__ = [
    "BARE",
    "COATED",
    "LAST_CYCLE",
    "PROCESSES",
    "WINDOW",
    "Cell",
    "HalfCycles",
    "process_parameters",
    "series_parameters",
]

PROCESSES = ("grain boundary", "interphase", "anode", "charge transfer", "diffusion")
"""The processes, in the order of their relaxation times."""

WINDOW = (2.0, 4.8)
"""Voltages (V) that the model is made for."""

LAST_CYCLE = 5000
"""Last cycle that the model is made for."""

_FULL_LIFE = 500
"""Cycle at which a cell has aged by all that its parameters say."""
_COULOMBIC_EFFICIENCY = 0.998
"""Discharge over charge of a cycle, as of an ordinary lithium-ion cell."""
_FIRST_CHARGE_EXCESS = 1.25
"""First charge over first discharge: Li-rich cathodes lose about a fifth of their first charge for good."""
# centre (V), width (V) and share of the steps of a voltage curve; a step with a small width is a plateau
_FIRST_CHARGE = ((3.90, 0.11, 0.36), (4.25, 0.12, 0.10), (4.52, 0.025, 0.54))
# Of later cycles: a sloping curve whose upper step lies higher on charge than on discharge, as those of Li-rich
# cathodes do.
_CHARGE = ((3.45, 0.16, 0.27), (3.90, 0.16, 0.46), (4.38, 0.10, 0.27))
_DISCHARGE = ((3.22, 0.14, 0.27), (3.66, 0.17, 0.48), (4.25, 0.16, 0.25))  # likewise


@dataclass(frozen=True)
class Cell:
    """What sets one simulated cell apart from another.

    Parameters
    ----------
    name : str
        What the state column ``cell`` says.
    r_inf : float
        Resistance at infinite frequency when new, ohm.
    inductance : float
        Inductance of the leads, H.
    interphase : float
        Resistance of the cathode/electrolyte interphase at cycle 0, ohm.
    interphase_growth : float
        What the interphase gains per square root of cycle, ohm.
    ageing : float
        Relative gain of the charge-transfer resistance within 500 cycles.
    capacity : float
        Discharge capacity of cycle 1, mAh.
    fade : float
        Decay of the capacity within 500 cycles, as the exponent of exp(-fade).
    voltage_fade : float
        How far the discharge curve sinks within 500 cycles, V.

    Raises
    ------
    InputError
        For an empty name, a number that is negative or not finite, or a capacity of zero.
    """

    name: str
    r_inf: float = 13.0
    inductance: float = 4e-7
    interphase: float = 5.0
    interphase_growth: float = 2.0
    ageing: float = 0.8
    capacity: float = 2.0
    fade: float = 0.5
    voltage_fade: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what no cell can be."""
        if not self.name or str(self.name) != self.name:
            raise InputError(
                f"name of a Cell must be a string that is not empty; got {self.name!r}. Give one, such as name='A'."
            )
        for field, value in vars(self).items():
            if field == "name":
                continue
            if not (is_real(value) and value >= 0):
                raise InputError(f"{field} of cell {self.name!r} must be finite and not negative; got {value!r}.")
        if self.capacity == 0:
            raise InputError(f"capacity of cell {self.name!r} must be positive; got 0 mAh.")


BARE = Cell("B")
"""Cell with a bare cathode."""

COATED = Cell(
    "C",
    r_inf=14.0,
    inductance=3.5e-7,
    interphase=6.0,
    interphase_growth=0.3,
    ageing=0.25,
    capacity=1.95,
    fade=0.15,
    voltage_fade=0.10,
)
"""Cell with a coated cathode: its interphase hardly grows, and it ages more slowly."""


def _age(cycle: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(cycle / _FULL_LIFE)


def _column(cells: Sequence[Cell], name: str, index: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.array([float(getattr(cell, name)) for cell in cells])[index]


def series_parameters(
    cells: Sequence[Cell], index: NDArray[np.intp], cycle: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """R_inf and inductance of each spectrum.

    Parameters
    ----------
    cells : sequence of Cell
        The cells.
    index : ndarray of int, shape (K,)
        Which of them each spectrum belongs to.
    cycle : ndarray, shape (K,)
        Cycle number of each spectrum.

    Returns
    -------
    r_inf, inductance : ndarray, shape (K,)
        In ohm and H. R_inf gains 10 % within 500 cycles, as contact is lost; the leads do not age.
    """
    return _column(cells, "r_inf", index) * (1 + 0.1 * _age(cycle)), _column(cells, "inductance", index)


def process_parameters(
    cells: Sequence[Cell],
    index: NDArray[np.intp],
    cycle: NDArray[np.float64],
    voltage: NDArray[np.float64],
    charging: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Parameters of the ZARC elements, one for each of `PROCESSES`, of each spectrum.

    Grain boundary and anode do not depend on the voltage. The interphase grows only with age. The charge transfer has
    a U-shape over voltage, steep towards low voltage, and lies within a factor of about five of the anode in τ. The
    diffusion is large when the cathode is full of lithium and vanishes (2 %) at high voltage. Its relaxation time and
    that of the charge transfer follow their resistances. The charge branch lags by 0.1 V behind the discharge branch.

    Parameters
    ----------
    cells : sequence of Cell
        The cells.
    index : ndarray of int, shape (K,)
        Which of them each spectrum belongs to.
    cycle, voltage : ndarray, shape (K,)
        Cycle number, and voltage (V) of each spectrum.
    charging : ndarray of bool, shape (K,)
        Whether it belongs to a charge.

    Returns
    -------
    r, tau, phi : ndarray, shape (K, 5)
        Resistances (ohm), relaxation times of the peaks (s) and exponents.
    """
    age = _age(cycle)
    ageing = _column(cells, "ageing", index)
    filled = voltage + np.where(charging, -0.05, 0.05)
    low, high = np.exp((2.2 - filled) / 0.35), np.exp((filled - 4.7) / 0.15)

    interphase = _column(cells, "interphase", index) + _column(cells, "interphase_growth", index) * np.sqrt(cycle)
    u_shape = 1 + 6 * low + 1.2 * high
    blocked = 0.02 + 0.98 / (1 + np.exp((filled - 3.7) / 0.18))
    constant = np.ones_like(age)

    r = [
        14 * (1 + 0.08 * age),
        interphase,
        12 * (1 + 0.3 * age),
        18 * u_shape * (1 + ageing * age),
        70 * blocked * (1 + low),
    ]
    tau = [
        1.5e-6 * constant,
        3.5e-5 * (1 + interphase / 60),
        2e-3 * (1 + 0.2 * age),
        6e-3 * u_shape**0.4 * (1 + 0.2 * ageing * age),
        1.2 * (1 + blocked + 0.3 * low) * (1 + 0.2 * age),
    ]
    phi = [0.92 * constant, 0.90 - 0.04 * age, 0.88 * constant, 0.86 - 0.02 * ageing * age, 0.80 + 0.06 * blocked]
    return np.stack(r, axis=1), np.stack(tau, axis=1), np.stack(phi, axis=1).clip(0.5)


class HalfCycles:
    """Charges and discharges at constant current, in the order cell, cycle, charge before discharge.

    Parameters
    ----------
    cells : sequence of Cell
        The cells.
    cycles : sequence of int
        Cycle numbers that are looked at; those between them pass too, and take their time.
    current : float
        Current, A.
    window : tuple of float
        Lower and upper end of the voltage, V.

    Attributes
    ----------
    cell : ndarray of int, shape (H,)
        Index of the cell.
    cycle : ndarray of int, shape (H,)
        Cycle number.
    charging : ndarray of bool, shape (H,)
        Whether it is a charge.
    capacity : ndarray, shape (H,)
        Charge that passes from one end of the voltage window to the other, C.
    start : ndarray, shape (H,)
        Time at the beginning, s since the beginning of the cell's first charge; only time under current counts.
    """

    def __init__(
        self, cells: Sequence[Cell], cycles: Sequence[int], current: float, window: tuple[float, float]
    ) -> None:
        shape = (len(cells), len(cycles), 2)
        self.cell, place, half = (axis.ravel() for axis in np.indices(shape))
        self.cycle = np.asarray(cycles)[place]
        self.charging = half == 0
        every = np.arange(1, max(cycles) + 1)
        discharge = np.stack([_discharge_capacity(cell, every) for cell in cells])
        charge = np.where(every == 1, _FIRST_CHARGE_EXCESS, 1 / _COULOMBIC_EFFICIENCY) * discharge
        alternating = np.stack([charge, discharge], axis=2).reshape(len(cells), -1)
        # summed up half by half, so that each ends at exactly the time at which the next one begins
        end = np.cumsum(alternating / current, axis=1)
        at = self.cell, 2 * (self.cycle - 1) + half
        self.capacity = alternating[at]
        self.start = np.where(at[1] > 0, end[self.cell, at[1] - 1], 0.0)
        self._steps = self._curve_steps(cells)
        self._window = window

    def __len__(self) -> int:
        """H, how many there are."""
        return int(self.cell.size)

    def charge_at(self, voltage: NDArray[np.float64]) -> NDArray[np.float64]:
        """Charge that has passed since the beginning of each half cycle when a voltage is reached.

        Parameters
        ----------
        voltage : ndarray, shape (V,)
            Voltages, V, within the window.

        Returns
        -------
        ndarray, shape (H, V)
            Charge, C, from 0 to the capacity; it grows with the voltage on charge and falls with it on discharge.
        """
        bottom, top = (self._filling(np.array([end])) for end in self._window)
        share = (self._filling(voltage) - bottom) / (top - bottom)
        return np.asarray(self.capacity[:, None] * np.where(self.charging[:, None], share, 1 - share))

    def _curve_steps(self, cells: Sequence[Cell]) -> NDArray[np.float64]:
        """Centre, width and share of the three steps of each curve, shape (H, 3, 3)."""
        first = self.charging & (self.cycle == 1)
        steps = np.where(self.charging[:, None, None], _CHARGE, _DISCHARGE)
        steps[first] = _FIRST_CHARGE
        ageing = np.where(first, 0.0, _column(cells, "voltage_fade", self.cell) * _age(self.cycle))
        # a layered cathode turns spinel-like: its discharge sinks and loses its upper step, half of it at 0.25 V
        steps[:, :, 0] -= np.where(self.charging, 0.5, 1.0)[:, None] * ageing[:, None]
        moved = steps[:, 2, 2] * (2 * ageing).clip(max=1)
        steps[:, 2, 2] -= moved
        steps[:, 0, 2] += moved
        return steps

    def _filling(self, voltage: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the steps, up to an affine map the lithium that has left the cathode; shape (H, V)."""
        centre, width, share = np.moveaxis(self._steps, 2, 0)[:, :, :, None]
        slope = 0.02 * voltage  # keeps the curve strictly monotone between the steps
        return np.asarray((share / (1 + np.exp((centre - voltage) / width))).sum(axis=1) + slope)


def _discharge_capacity(cell: Cell, cycle: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(3.6 * cell.capacity * np.exp(-cell.fade * ((cycle - 1) / (_FULL_LIFE - 1)) ** 0.75))
