"""Equivalent circuits in the notation of impedance.py."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from drt_engine.errors import InputError
from drt_engine.peaks.elements import Deconvolution

__all__ = ["EquivalentCircuit", "SeriesTerms", "admittance_circuit", "diffusion_circuit", "equivalent_circuit"]

_LEAST = 1e-12
"""Smallest resistance, and smallest ωL at the highest frequency, as a share of R_inf + ΣR: fitting programs want
positive values, and this one is below anything that is measured."""


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


@dataclass(frozen=True)
class SeriesTerms:
    """What an inversion found in series that a deconvolution does not fit.

    Attributes
    ----------
    tail : tuple of float, or None
        Q, S s^n, n and T, s, of the tail; None without one.
    inductance : tuple of float, or None
        L and m of L (jω)^m; None for a coil, which the deconvolution fits.
    """

    tail: tuple[float, float, float] | None = None
    inductance: tuple[float, float] | None = None


def equivalent_circuit(deconvolution: Deconvolution, row: int, terms: SeriesTerms | None = None) -> EquivalentCircuit:
    """Return the circuit that one spectrum was taken apart into.

    A ZARC is a resistor R beside a constant phase element 1/(Q (jω)^φ) with Q = τ^φ / R. A loop −R/(1 + (jωτ)^φ) is R
    beside R (jωτ)^φ, an inductance if φ = 1, and R0 less by R.

    Parameters
    ----------
    deconvolution : Deconvolution
        Of ZARC elements.
    row : int
        Which spectrum.
    terms : SeriesTerms, optional
        What else is in series.

    Returns
    -------
    EquivalentCircuit
        String and values. R_inf and L are slightly above zero, where a fit could not start.

    Raises
    ------
    InputError
        For elements of another shape, a row that does not exist, a spectrum without a solution, and loops that are
        larger than R_inf.
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
    loops, parts = parts[parts["r"] < 0.0], parts[parts["r"] > 0.0]
    size = float(deconvolution.r_inf[row] + parts["r"].sum())
    known = SeriesTerms() if terms is None else terms
    r_0 = float(deconvolution.r_inf[row] + loops["r"].sum())
    if len(loops) and r_0 <= 0.0:
        raise InputError(
            f"the resistances of the loops of spectrum {row} exceed R_inf by {-r_0:.3g} ohm; expected less: a "
            "circuit of positive elements cannot describe them."
        )
    elements = [("R0", "R0", max(r_0, _LEAST * size), "ohm")]
    if known.inductance is not None:
        # L (jω)^m is (L' jω)^m there.
        factor, m = known.inductance
        elements += _lossy("La0", "La0", factor ** (1.0 / m), m)
    elif "inductance" in deconvolution.series:
        slowest = _LEAST * size / (2.0 * np.pi * float(deconvolution.frequency.max()))
        elements.append(("L0", "L0", max(float(deconvolution.inductance[row]), slowest), "H"))
    if np.isfinite(deconvolution.capacitance[row]):
        elements.append(("C0", "C0", float(deconvolution.capacitance[row]), "F"))
    elements += _tail(known)
    text = [element[0] for element in elements if element[0]]
    for number, (r, tau, phi) in enumerate(parts[["r", "tau", "phi"]].itertuples(index=False), start=1):
        text.append(f"p(R{number},CPE{number})")
        elements.append(("", f"R{number}", float(r), "ohm"))
        elements.append(("", f"CPE{number}_0", float(tau**phi / r), "S s^φ"))
        elements.append(("", f"CPE{number}_1", float(phi), "1"))
    for number, (r, tau, phi) in enumerate(loops[["r", "tau", "phi"]].itertuples(index=False), start=len(parts) + 1):
        coil = f"L{number}" if phi == 1.0 else f"La{number}"
        text.append(f"p(R{number},{coil})")
        elements.append(("", f"R{number}", -float(r), "ohm"))
        inductance = float((-r) ** (1.0 / phi) * tau)
        elements += [("", coil, inductance, "H")] if phi == 1.0 else _lossy("", coil, inductance, float(phi))
    names, initial, units = zip(*((name, value, unit) for _, name, value, unit in elements), strict=True)
    return EquivalentCircuit("-".join(text), initial, names, units)


def _lossy(text: str, name: str, inductance: float, exponent: float) -> list[tuple[str, str, float, str]]:
    """(jωL)^m in the notation."""
    return [(text, f"{name}_0", inductance, "H ohm^((1-m)/m)"), ("", f"{name}_1", exponent, "1")]


_DIFFUSION = {"transmissive-planar": "Ws", "blocking-planar": "Wo"}
"""Elements of impedance.py by kernel: R tanh √(jωT) / √(jωT), and the same with coth."""


def diffusion_circuit(r_inf: float, inductance: float, peaks: pd.DataFrame, kernel: str) -> EquivalentCircuit:
    """Return the circuit of the peaks of a distribution of diffusion times, each a finite-length Warburg element.

    Parameters
    ----------
    r_inf, inductance : float
        R_inf, ohm, and L, H.
    peaks : DataFrame
        Rows of one spectrum, with ``r`` and ``tau``.
    kernel : str
        What it is a distribution of.

    Raises
    ------
    InputError
        For a kernel that impedance.py has no element for.
    """
    if kernel not in _DIFFUSION:
        raise InputError(
            f"impedance.py has no element for kernel={kernel!r}; it has for {' and '.join(_DIFFUSION)}. Take the rows "
            "of peaks()."
        )
    name = _DIFFUSION[kernel]
    elements = [("R0", r_inf, "ohm")] + ([("L0", inductance, "H")] if inductance > 0.0 else [])
    text = [element[0] for element in elements]
    for number, (r, tau) in enumerate(peaks[["r", "tau"]].itertuples(index=False), start=1):
        text.append(f"{name}{number}")
        elements += [(f"{name}{number}_0", float(r), "ohm"), (f"{name}{number}_1", float(tau), "s")]
    return _circuit("-".join(text), elements)


def admittance_circuit(conductance: float, capacitance: float, peaks: pd.DataFrame) -> EquivalentCircuit:
    """Return the circuit of the peaks of an admittance: in parallel, resistors with a capacitor or an inductor each.

    Parameters
    ----------
    conductance, capacitance : float
        1/R_inf, S, and C, F.
    peaks : DataFrame
        Rows of one spectrum, with ``r`` and ``tau``. A negative one is an inductor Rτ in series with R.
    """
    positive = peaks[peaks["r"] > 0.0]
    # −g / (1 + jωτ) is a resistor and a capacitor in series, less g.
    left = conductance - float((1.0 / positive["r"]).sum())
    elements, branches = [("R0", 1.0 / left, "ohm")], ["R0"]
    if capacitance > 0.0:
        elements.append(("C0", capacitance, "F"))
        branches.append("C0")
    for number, (r, tau) in enumerate(peaks[["r", "tau"]].itertuples(index=False), start=1):
        other = ("C", float(tau / r), "F") if r > 0.0 else ("L", float(-r * tau), "H")
        branches.append(f"R{number}-{other[0]}{number}")
        elements += [(f"R{number}", abs(float(r)), "ohm"), (f"{other[0]}{number}", *other[1:])]
    return _circuit(f"p({','.join(branches)})" if len(branches) > 1 else branches[0], elements)


def _circuit(text: str, elements: list[tuple[str, float, str]]) -> EquivalentCircuit:
    names, initial, units = zip(*elements, strict=True)
    return EquivalentCircuit(text, initial, names, units)


def _tail(terms: SeriesTerms) -> list[tuple[str, str, float, str]]:
    if terms.tail is None:
        return []
    q, n, tau = terms.tail
    if np.isfinite(tau):
        return [("Wo0", "Wo0_0", float(np.sqrt(tau)) / q, "ohm"), ("", "Wo0_1", tau, "s")]
    if n == 0.5:
        return [("W0", "W0", 1.0 / (q * float(np.sqrt(2.0))), "ohm s^-1/2")]
    return [("CPE0", "CPE0_0", q, "S s^n"), ("", "CPE0_1", n, "1")]
