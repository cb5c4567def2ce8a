"""How far solutions are from 1,761 circuits that others made: spectra of a public challenge for battery impedance.

The file is ``autoecm/spectra.csv`` in the folder that ``DRT_ENGINE_DATA`` names: data of QuantumScape and BatteryDEV
(AutoECM, CC-BY 4.0). Nine circuits, frequency grids of many sizes, no noise to speak of. Their frequencies are angular.
Parameters are told with three digits or fewer, which is too few for data without noise, so they are refined by least
squares from what is told; a spectrum whose circuit then leaves more than 10⁻⁵ of |Z|, or whose
exponents come out above 1, is counted and left out.

    python benchmarks/third_party.py
    python benchmarks/third_party.py --noise 0.005 --csv third-party.csv
    python benchmarks/third_party.py --peers --every 20
"""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fresh import FractalWarburg
from peers import missing_peers, peers
from scenarios import distance, summits
from scipy.optimize import least_squares

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.methods.log_gaussian import LogGaussian
from drt_engine.peaks import without_edges
from drt_engine.simulate import RC, ZARC, Circuit, Element, Gerischer, Inductor, Resistor

__all__ = ["Known", "measure", "read", "show"]

METHODS: dict[str, Any] = {"LogGaussian": LogGaussian(), "Tikhonov": drt.Tikhonov()}
Array = np.ndarray

_LEFT = 1e-5
"""Root mean square, as a share of |Z|, that a refined circuit may leave."""

_HELD = 1e-8
"""What holds a parameter that the data do not show near what is told: residuals for a factor of e."""

_SEEN = 0.02
"""Share of the resistance in the window that an element has at least, to be one that should be found."""

_POINTS = 801
_NUMBER = re.compile(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?")
_COMPLEX = re.compile(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([-+]\s*[\d.]+(?:[eE][-+]?\d+)?)\s*j")


@dataclass(frozen=True)
class Known:
    """A spectrum and the circuit that it was made with.

    Parameters
    ----------
    kind : str
        Name of the circuit.
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    impedance : ndarray of complex, shape (F,)
        Ohm.
    elements : tuple of Element
        What is in series.
    left : float
        Root mean square of what the circuit leaves, as a share of |Z|.
    """

    kind: str
    frequency: Array
    impedance: Array
    elements: tuple[Element, ...]
    left: float

    @property
    def circuit(self) -> Circuit:
        """All elements in series."""
        return Circuit(self.elements)

    @property
    def tau(self) -> Array:
        """Relaxation times that solutions are compared at, s: from 1/ω_max to 1/ω_min."""
        low, high = self.frequency.max(), self.frequency.min()
        return np.geomspace(0.5 / np.pi / low, 0.5 / np.pi / high, _POINTS)

    @property
    def dense(self) -> bool:
        """Whether its γ is a function: no ideal RC elements, and no Warburg element with an exponent from ½ on."""
        return all(
            not isinstance(each, RC) and not (isinstance(each, FractalWarburg) and each.p >= 0.5)
            for each in self.elements
        )

    def cumulative(self, tau: Array) -> Array:
        """Resistance with relaxation times from the first to each of some, ohm."""
        y = np.linspace(np.log(tau[0]), np.log(tau[-1]), 20 * _POINTS)
        gamma = self.circuit.gamma(np.exp(y), dirac="skip")
        # The singularity of a Gerischer element is integrable; a point that falls on it is not.
        gamma = np.where(np.isfinite(gamma), gamma, 0.0)
        steps = 0.5 * (gamma[1:] + gamma[:-1]) * np.diff(y)
        out = np.interp(np.log(tau), y, np.concatenate([[0.0], np.cumsum(steps)]))
        return out + sum(
            each.r_pol * ((each.tau >= tau[0]) & (tau >= each.tau)) for each in self.elements if isinstance(each, RC)
        )

    def in_window(self) -> int:
        """How many elements have their relaxation time in the window, and a part of the resistance in it."""
        tau = self.tau
        inside = [each.r_pol for each in self.elements if tau[0] <= getattr(each, "tau", 0.0) <= tau[-1]]
        return sum(r > _SEEN * sum(inside) for r in inside)


def _built(kind: str, p: dict[str, float]) -> tuple[Element, ...]:
    """Make a circuit from parameters as they are told."""

    def zarc(r: float, k: int) -> Element:
        phi = p[f"CPE{k}_t"]
        return ZARC(r, (r * p[f"CPE{k}_C"]) ** (1.0 / phi), phi)

    if kind == "Rs_Ws":
        return Resistor(p["R1"]), FractalWarburg(p["W1_R"], p["W1_T"], p["W1_p"])
    if kind == "RC-G-G":
        return RC(p["R1"], p["R1"] * p["C1"]), *(Gerischer(p[f"R_g{k}"], p[f"t_g{k}"]) for k in (1, 2))
    names = kind.split("-")
    if names[:2] == ["L", "R"]:
        arcs = (zarc(p[f"R{k + 1}"], k) for k in range(1, len(names) - 1))
        return Inductor(p["L1"]), Resistor(p["R1"]), *arcs
    return tuple(
        RC(p[f"R{k}"], p[f"R{k}"] * p[f"C{k}"]) if name == "RC" else zarc(p[f"R{k}"], k)
        for k, name in enumerate(names, 1)
    )


def _refined(kind: str, told: dict[str, float], frequency: Array, z: Array) -> tuple[tuple[Element, ...], float]:
    """Find the parameters to more digits than they are told with, and what is left."""
    if kind == "Rs_Ws":
        # What they call W1_p is about six times the exponent.
        told = told | {"W1_p": told["W1_p"] / 6.3}
    names = list(told)
    size = np.abs(z)

    def rest(logs: Array) -> Array:
        # Trial steps may leave the range of numbers.
        with np.errstate(all="ignore"):
            p = dict(zip(names, np.exp(logs), strict=True))
            off = (_impedance(kind, p, frequency) - z) / size
        near = _HELD * (logs - start)
        return np.nan_to_num(np.concatenate([off.real, off.imag, near]), nan=1e3, posinf=1e3, neginf=-1e3)

    start = np.log([told[name] for name in names])
    found = least_squares(rest, start, method="lm", ftol=1e-9, xtol=1e-10, gtol=1e-15, max_nfev=400)
    p = dict(zip(names, map(float, np.exp(found.x)), strict=True))
    left = float(np.sqrt(np.sum(found.fun[: 2 * size.size] ** 2) / size.size))
    try:
        return _built(kind, p), left
    except (InputError, ZeroDivisionError, OverflowError):
        return (), np.inf


def _impedance(kind: str, p: dict[str, float], frequency: Array) -> Array:
    """As the elements have it, but for parameters that they would refuse on the way to a solution."""
    s = 2j * np.pi * frequency
    if kind == "Rs_Ws":
        w = (s * p["W1_T"]) ** p["W1_p"]
        return p["R1"] + p["W1_R"] * np.tanh(w) / w
    if kind == "RC-G-G":
        slow = sum(p[f"R_g{k}"] / np.sqrt(1.0 + s * p[f"t_g{k}"]) for k in (1, 2))
        return p["R1"] / (1.0 + s * p["R1"] * p["C1"]) + slow
    names = kind.split("-")
    first = 2 if names[:2] == ["L", "R"] else 0
    z = s * p["L1"] + p["R1"] if first else 0.0 * s
    for k, name in enumerate(names[first:], 1):
        r = p[f"R{k + first // 2}"]
        admittance = s * p[f"C{k}"] if name == "RC" else p[f"CPE{k}_C"] * s ** p[f"CPE{k}_t"]
        z = z + r / (1.0 + r * admittance)
    return z


def read(every: int = 1) -> list[Known]:
    """Read the spectra, or every so many of them.

    Parameters
    ----------
    every : int
        1 for all.
    """
    table = pd.read_csv(Path(os.environ["DRT_ENGINE_DATA"]) / "autoecm" / "spectra.csv").iloc[::every]
    out = []
    for _, row in table.iterrows():
        frequency = np.array(_NUMBER.findall(row["freq"]), dtype=float) / (2.0 * np.pi)
        z = np.array([complex(float(a), float(b.replace(" ", ""))) for a, b in _COMPLEX.findall(row["Z"])])
        told = {key.strip(): float(value) for key, value in (each.split(":") for each in row["Parameters"].split(","))}
        order = np.argsort(-frequency)
        frequency, z = frequency[order], z[order]
        out.append(Known(row["Circuit"], frequency, z, *_refined(row["Circuit"], told, frequency, z)))
    return out


def measure(known: Sequence[Known], noise: float, methods: dict[str, Any], *, counted: bool = True) -> pd.DataFrame:
    """Invert all spectra with each method and compare: one row for each of both.

    Parameters
    ----------
    known : sequence of Known
        Spectra and their circuits.
    noise : float
        Standard deviation of the real and of the imaginary part that is added, as a share of |Z|.
    methods : dict
        Methods by name.
    counted : bool
        Whether peaks and elements are counted, which takes as long as all else.
    """
    rng = np.random.default_rng(1)
    data = [k.impedance + noise * np.abs(k.impedance) * _deviates(rng, k.impedance.size) for k in known]
    grids: dict[bytes, list[int]] = {}
    for place, each in enumerate(known):
        grids.setdefault(each.frequency.tobytes(), []).append(place)
    rows = []
    for places in grids.values():
        spectra = drt.Spectra(known[places[0]].frequency, np.array([data[k] for k in places]))
        for name, method in methods.items():
            result = drt.invert(spectra, method, level=0.95)
            tau = known[places[0]].tau
            window = float(tau[0]), float(tau[-1])
            counts = {}
            if counted:
                counts["peaks"] = _counted(without_edges(result.peaks()), window, len(places))
                counts["elements"] = _counted(result.deconvolve().elements, window, len(places))
            gamma, below = result.gamma_at(tau), _below(result, tau)
            for at, place in enumerate(places):
                row = _compared(known[place], gamma[at], below[at]) | _numbers(result, at)
                rows.append(
                    {"place": place, "kind": known[place].kind, "method": name}
                    | row
                    | {what: count[at] for what, count in counts.items()}
                    | {"true_elements": known[place].in_window()}
                )
    return pd.DataFrame(rows)


def _counted(rows: pd.DataFrame, window: tuple[float, float], number: int) -> Array:
    inside = rows[(rows["tau"] >= window[0]) & (rows["tau"] <= window[1])]
    return np.bincount(inside["spectrum"], minlength=number)


def _deviates(rng: np.random.Generator, size: int) -> Array:
    return rng.standard_normal(size) + 1j * rng.standard_normal(size)


def _below(result: drt.Inversion, tau: Array) -> Array:
    """Resistance with relaxation times from the first to each of some, ohm, shape (K, T)."""
    return result.coefficients @ (result.expansion.cumulative(tau) - result.expansion.cumulative(tau[:1])).T


def _numbers(result: drt.Inversion, at: int) -> dict[str, Any]:
    return {
        "solved": bool(result.solved[at]),
        "status": int(result.status[at]),
        "residual": float(result.residual[at]),
        "low": float(result.intervals.r_pol_low[at]),
        "high": float(result.intervals.r_pol_high[at]),
        "beyond": float(result.r_pol_beyond[at]),
    }


def _compared(known: Known, gamma: Array, below: Array) -> dict[str, Any]:
    """Compare one γ with its truth within the window."""
    tau = known.tau
    exact = known.cumulative(tau)
    whole = exact[-1]
    truth = known.circuit.gamma(tau, dirac="skip")
    finite = np.isfinite(truth)
    error = distance(gamma[finite], truth[finite], tau[finite]) if known.dense else np.nan
    moved = np.trapezoid(np.abs(below - exact), np.log10(tau)) / whole
    return {
        "error": float(error),
        "moved": float(moved),
        "r_window": float(below[-1] / whole - 1.0),
        "r_true": float(whole),
        "true_peaks": len(summits(np.where(finite, truth, 0.0)))
        + sum(isinstance(each, RC) and tau[0] < each.tau < tau[-1] for each in known.elements),
    }


def show(found: pd.DataFrame) -> None:
    """Print a table for each method: circuits down."""
    for name, own in found.groupby("method", sort=False):
        print(f"\n{name}")
        titles = ("spectra", "solved", "error", "tenth", "moved", "R off", "tenth", "peaks", "elements", "flagged")
        print(f"{'':<22}" + "".join(f"{title:>10}" for title in titles))
        for kind, rows in [*own.groupby("kind"), ("all", own)]:
            off = rows["r_window"].abs()
            figures = (
                rows["solved"].mean(),
                rows["error"].median(),
                rows["error"].quantile(0.9),
                rows["moved"].median(),
                off.median(),
                off.quantile(0.9),
                (rows["peaks"] == rows["true_peaks"]).mean(),
                (rows["elements"] == rows["true_elements"]).mean(),
                (rows["status"] != 0).mean(),
            )
            print(f"{kind:<22}{len(rows):>10}" + "".join(f"{figure:>10.3f}" for figure in figures))


def measured_peers(known: Sequence[Known], noise: float) -> pd.DataFrame:
    """Invert with other tools that are installed; only the error of γ."""
    rng = np.random.default_rng(1)
    rows = []
    for place, each in enumerate(known):
        z = each.impedance + noise * np.abs(each.impedance) * _deviates(rng, each.impedance.size)
        if not each.dense:
            continue
        truth = each.circuit.gamma(each.tau, dirac="skip")
        for name, peer in peers().items():
            tau, gamma = peer(each.frequency, z)
            own = np.interp(np.log(each.tau), np.log(tau), gamma, left=0.0, right=0.0)
            fine = np.isfinite(truth)
            error = float(distance(own[fine], truth[fine], each.tau[fine]))
            rows.append({"place": place, "kind": each.kind, "method": name, "error": error})
    return pd.DataFrame(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", type=float, default=0.0, help="noise that is added, as a share of |Z| [0]")
    parser.add_argument("--every", type=int, default=1, help="take every so many of the spectra [1]")
    parser.add_argument("--peers", action="store_true", help="other tools that are installed as well")
    parser.add_argument("--csv", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    whole = read(options.every)
    known = [each for each in whole if each.left <= _LEFT]
    print(f"{len(whole)} spectra; {len(whole) - len(known)} are left out, whose circuit leaves more than {_LEFT:g}")
    found = measure(known, options.noise, METHODS)
    show(found)
    if options.peers:
        for name, lacking in missing_peers().items():
            print(f"{name} is not run: {', '.join(lacking)} not installed")
        others = measured_peers(known, options.noise)
        if len(others):
            print(others.groupby(["method", "kind"])["error"].describe(percentiles=[0.5, 0.9]))
    if options.csv is not None:
        found.to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
