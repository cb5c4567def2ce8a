"""Equivalent circuits in the notation of impedance.py."""

from dataclasses import dataclass

import numpy as np

from drt_engine.errors import InputError
from drt_engine.peaks.elements import Deconvolution

__all__ = ["EquivalentCircuit", "equivalent_circuit"]

_LEAST = 1e-12


@dataclass(frozen=True)
class EquivalentCircuit:
    """A circuit and values to start a fit from.

    ``CustomCircuit(circuit.string, initial_guess=list(circuit.initial))`` of impedance.py [1]_ takes it.

    Attributes
    ----------
    string : str
        Elements in series by ``-``, in parallel by ``p(…,…)``: R0 is R_inf, L0 and C0 are the series terms L and C, and
        each process is a resistor beside a constant phase element.
    initial : tuple of float
        Values in the order of the string.
    names : tuple of str
        What they belong to.
    units : tuple of str
        Their units; those of a constant phase element are S s^φ and 1.

    References
    ----------
    .. [1] M. D. Murbach, B. Gerwe, N. Dawson-Elli, L. Tsui, J. Open Source Softw. 5 (2020) 2349.
    """

    string: str
    initial: tuple[float, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]


def equivalent_circuit(deconvolution: Deconvolution, row: int) -> EquivalentCircuit:
    """Return the circuit that one spectrum was taken apart into.

    A ZARC is a resistor R beside a constant phase element 1/(Q (jω)^φ) with Q = τ^φ / R.

    Parameters
    ----------
    deconvolution : Deconvolution
        Of ZARC elements.
    row : int
        Which spectrum.

    Returns
    -------
    EquivalentCircuit
        String and values. R_inf and L are slightly above zero, where a fit could not start.

    Raises
    ------
    InputError
        For elements of another shape, a row that does not exist, and a spectrum without a solution.
    """
    if deconvolution.shape != "zarc":
        raise InputError(
            f"an equivalent circuit is made of ZARC elements; got shape {deconvolution.shape!r}. Deconvolve with "
            "shape='zarc': the notation has no element for the others."
        )
    if not 0 <= row < len(deconvolution):
        raise InputError(f"row must be a whole number from 0 to {len(deconvolution) - 1}; got {row!r}.")
    if not np.isfinite(deconvolution.misfit[row]):
        raise InputError(f"spectrum {row} has no solution, and so no circuit. Look at its status.")
    parts = deconvolution.elements
    parts = parts[parts["spectrum"] == row]
    size = float(deconvolution.r_inf[row] + parts["r"].sum())
    elements = [("R0", "R0", max(float(deconvolution.r_inf[row]), _LEAST * size), "ohm")]
    if "inductance" in deconvolution.series:
        slowest = _LEAST * size / (2.0 * np.pi * float(deconvolution.frequency.max()))
        elements.append(("L0", "L0", max(float(deconvolution.inductance[row]), slowest), "H"))
    if np.isfinite(deconvolution.capacitance[row]):
        elements.append(("C0", "C0", float(deconvolution.capacitance[row]), "F"))
    text = [element[0] for element in elements]
    for number, (r, tau, phi) in enumerate(parts[["r", "tau", "phi"]].itertuples(index=False), start=1):
        text.append(f"p(R{number},CPE{number})")
        elements.append(("", f"R{number}", float(r), "ohm"))
        elements.append(("", f"CPE{number}_0", float(tau**phi / r), "S s^φ"))
        elements.append(("", f"CPE{number}_1", float(phi), "1"))
    names, initial, units = zip(*((name, value, unit) for _, name, value, unit in elements), strict=True)
    return EquivalentCircuit("-".join(text), initial, names, units)
