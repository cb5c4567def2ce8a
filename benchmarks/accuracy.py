"""How far solutions are from distributions that are known, and how often intervals cover them: scenario by method.

Errors are medians over noise seeds of ∫|γ̂ − γ| d ln τ / ∫γ d ln τ on 801 points of τ from 1/ω_max to 1/ω_min. Peaks
are right where there are as many as γ has maxima in that window, or up to as many as there are processes, since a
process may be a shoulder: once by ``result.peaks()``, once by counting maxima above 2 % of the largest that rise by a
tenth above the valleys beside them. Coverage is that of 95 % intervals: of γ where the true one exceeds 2 % of its
maximum, of R_pol, and of the resistance of each peak, between the valleys of the truth, where there are several. Times
are of all seeds in one call, which is one thread.

    python benchmarks/accuracy.py --set task --seeds 20
    python benchmarks/accuracy.py --set all --peers --csv accuracy.csv
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bands import Bands, bands_of
from fresh import FRESH, FRESH_2, FRESH_3
from peers import Peer, missing_peers, peers
from scenarios import DEVELOPMENT, HELD_OUT, LIMITS, TASK, Scenario, distance, summits

import drt_engine as drt
from drt_engine.methods.log_gaussian import LogGaussian
from drt_engine.peaks import without_edges

SETS = {
    "task": TASK,
    "development": DEVELOPMENT,
    "held-out": HELD_OUT,
    "fresh": FRESH,
    "fresh-2": FRESH_2,
    "fresh-3": FRESH_3,
}
METHODS: dict[str, Any] = {
    "LogGaussian": LogGaussian(),
    "Tikhonov": drt.Tikhonov(),
    "evidence": drt.Tikhonov(regularisation="evidence"),
    "shared": drt.Tikhonov(shared=True),
}
FIRST_SEED = 7000
"""Seeds below were used while the method was made."""

PEER_SEEDS = 5

HYBRID = dict(
    zip(
        (each.name for each in TASK),
        (0.034, 0.079, 0.138, 0.086, 0.100, 0.117, 0.274, 0.573, 0.180, 0.221),
        strict=True,
    )
)
"""hybrid-drt's hierarchical Bayes on the ten, medians of three seeds, as quoted with them; ``--peers`` runs it."""

_FLOOR, _LEVEL = 0.02, 0.95
_TITLES = {
    "error": "error of γ",
    "counted": "share of spectra with peaks right, result.peaks()",
    "peaks": "share of spectra with peaks right, maxima counted",
    "covered_gamma": "coverage of γ",
    "covered_r_pol": "coverage of R_pol",
    "covered_peaks": "coverage of R of peaks",
    "covered_width": "median half-width of the interval of γ as a share of γ",
    "milliseconds": "ms a spectrum",
}
Array = np.ndarray


@dataclass(frozen=True)
class Row:
    """What one method did in one scenario; NaN for what it does not give."""

    error: float
    peaks: float
    milliseconds: float
    counted: float = np.nan
    solved: float = 1.0


@dataclass(frozen=True)
class Coverage:
    """Shares of 95 % intervals that cover what they should; NaN where there is nothing to cover."""

    gamma: float
    r_pol: float
    peaks: float
    width: float


def count_peaks(gamma: Array) -> int:
    """Count what :func:`scenarios.summits` finds."""
    return len(summits(gamma))


def allowed(scenario: Scenario) -> tuple[int, int]:
    """Return the smallest and the largest number of peaks that is right."""
    least = count_peaks(scenario.gamma)
    return least, max(least, sum(each.r_pol > 0.0 for each in scenario.elements))


def measured(method: Any, scenario: Scenario, seeds: Sequence[int]) -> Row:
    """Invert a scenario's spectra and compare.

    Parameters
    ----------
    method : Method
        How.
    scenario : Scenario
        What.
    seeds : sequence of int
        Of the noise.
    """
    spectra = scenario.spectra(seeds)
    drt.invert(spectra[:2], method)
    begin = time.perf_counter()
    result = drt.invert(spectra, method)
    spent = (time.perf_counter() - begin) / len(seeds) * 1e3
    error, maxima = _compared(scenario, result.gamma_at(scenario.tau))
    return Row(error, maxima, spent, _counted(scenario, result), float(result.solved.mean()))


def _compared(scenario: Scenario, gamma: Array) -> tuple[float, float]:
    least, most = allowed(scenario)
    right = [least <= count_peaks(each) <= most for each in gamma]
    return float(np.median(distance(gamma, scenario.gamma, scenario.tau))), float(np.mean(right))


def _counted(scenario: Scenario, result: drt.Inversion) -> float:
    found = without_edges(result.peaks())
    inside = found[(found["tau"] >= scenario.tau[0]) & (found["tau"] <= scenario.tau[-1])]
    number = np.bincount(inside["spectrum"], minlength=len(result))
    least, most = allowed(scenario)
    return float(np.mean((number >= least) & (number <= most)))


def covered(method: Any, scenario: Scenario, seeds: Sequence[int]) -> Coverage | None:
    """Count how often 95 % intervals cover the truth; None for a method without intervals.

    Parameters
    ----------
    method : Method
        How.
    scenario : Scenario
        What.
    seeds : sequence of int
        Of the noise.
    """
    spectra = scenario.spectra(seeds)
    bands = bands_of(method, spectra, drt.invert(spectra, method))
    if bands is None:
        return None
    truth, tau = scenario.gamma, scenario.tau
    there = truth > _FLOOR * truth.max()
    # At a singularity there is nothing to cover.
    there &= np.isfinite(truth)
    low, high = bands.gamma_interval(_LEVEL, tau[there])
    exact = truth[there]
    lowest, highest = bands.r_pol_interval(_LEVEL)
    r_pol = scenario.circuit.r_pol
    return Coverage(
        gamma=float(np.mean((low <= exact) & (exact <= high))),
        r_pol=float(np.mean((lowest <= r_pol) & (r_pol <= highest))),
        peaks=_peaks_covered(scenario, bands),
        width=float(np.median(0.5 * (high - low) / exact)),
    )


def _peaks_covered(scenario: Scenario, bands: Bands) -> float:
    """Share of the intervals of separated peaks' resistances that cover them."""
    truth, tau = scenario.gamma, scenario.tau
    tops = summits(truth)
    if len(tops) < 2:
        return float("nan")
    edges = [0, *(a + int(truth[a : b + 1].argmin()) for a, b in pairwise(tops)), tau.size - 1]
    hits = []
    for a, b in pairwise(edges):
        exact = np.trapezoid(truth[a : b + 1], np.log(tau[a : b + 1]))
        low, high = bands.resistance_interval(float(tau[a]), float(tau[b]), _LEVEL)
        hits.append(np.mean((low <= exact) & (exact <= high)))
    return float(np.mean(hits))


def measured_peer(peer: Peer, scenario: Scenario, seeds: Sequence[int]) -> Row:
    """Invert a scenario's spectra with another tool, one by one, and compare.

    Parameters
    ----------
    peer : callable
        The tool.
    scenario : Scenario
        What.
    seeds : sequence of int
        Of the noise.
    """
    spectra = scenario.spectra(seeds)
    peer(spectra.frequency, spectra.impedance[0])
    gammas = []
    begin = time.perf_counter()
    for z in spectra.impedance:
        tau, gamma = peer(spectra.frequency, z)
        gammas.append(np.interp(np.log(scenario.tau), np.log(tau), gamma, left=0.0, right=0.0))
    spent = (time.perf_counter() - begin) / len(gammas) * 1e3
    return Row(*_compared(scenario, np.array(gammas)), spent)


def measure(name: str, seeds: Sequence[int], others: dict[str, Peer]) -> pd.DataFrame:
    """Measure all methods in all scenarios of a set: one row each.

    Parameters
    ----------
    name : str
        Of the set.
    seeds : sequence of int
        Of the noise; other tools get the first few.
    others : dict
        Other tools.
    """
    rows = []
    for scenario in SETS[name]:
        found = {each: asdict(measured(method, scenario, seeds)) for each, method in METHODS.items()}
        for each, method in METHODS.items():
            coverage = covered(method, scenario, seeds)
            if coverage is not None:
                found[each] |= {f"covered_{key}": value for key, value in asdict(coverage).items()}
        found |= {each: asdict(measured_peer(peer, scenario, seeds[:PEER_SEEDS])) for each, peer in others.items()}
        if others and name == "task":
            found["hybrid quoted"] = asdict(Row(HYBRID[scenario.name], np.nan, np.nan))
        rows += [{"set": name, "scenario": scenario.name, "method": each} | row for each, row in found.items()]
    return pd.DataFrame(rows)


def show(found: pd.DataFrame) -> None:
    """Print a table for each quantity: scenarios down, methods across."""
    for field, title in _TITLES.items():
        if field not in found:
            continue
        table = found.pivot_table(field, "scenario", "method", sort=False, dropna=False).dropna(axis=1, how="all")
        print(f"\n{title}")
        print(f"{'':<14}" + "".join(f"{name:>15}" for name in table))
        for name, row in table.iterrows():
            print(f"{name:<14}" + "".join(f"{value:>15.3f}" for value in row))
        geometric = field in ("error", "milliseconds")
        means = np.exp(np.log(table).mean()) if geometric else table.mean()
        print(f"{'geo. mean' if geometric else 'mean':<14}" + "".join(f"{value:>15.3f}" for value in means))
    unsolved = found[found["solved"] < 1.0]
    for _, row in unsolved.iterrows():
        print(f"{row['method']} left {1.0 - row['solved']:.0%} of {row['scenario']} without a solution")


def show_limits(seeds: Sequence[int]) -> None:
    """Print what becomes of one ideal RC element, whose γ is no function, and of data without noise."""
    print(f"\n{'limits':<14}{'method':<14}{'solved':>8}{'optimality':>10}{'residual':>11}{'error of R_pol':>16}")
    for scenario in LIMITS:
        spectra = scenario.spectra(seeds)
        for name, method in METHODS.items():
            result = drt.invert(spectra, method)
            off = float(np.nanmedian(np.abs(result.r_pol / scenario.circuit.r_pol - 1.0)))
            residual, optimality = np.nanmedian(result.residual), np.nanmax(result.optimality)
            figures = f"{result.solved.mean():>8.2f}{optimality:>10.0e}{residual:>11.1e}"
            print(f"{scenario.name:<14}{name:<14}{figures}{off:>16.1e}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=[*SETS, "all"], default="task", help="scenarios [task]")
    parser.add_argument("--seeds", type=int, default=20, help="draws of noise in each scenario [20]")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help=f"first seed [{FIRST_SEED}]")
    parser.add_argument("--peers", action="store_true", help=f"other tools as well, {PEER_SEEDS} seeds each")
    parser.add_argument("--csv", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    others = peers() if options.peers else {}
    if options.peers:
        for name, lacking in missing_peers().items():
            print(f"{name} is not run: {', '.join(lacking)} not installed")
    tables = []
    # fresh-3 is kept for the next change of the method, so "all" leaves it alone.
    for name in [each for each in SETS if each != "fresh-3"] if options.set == "all" else [options.set]:
        print(f"\n== {name}, {options.seeds} seeds from {options.first}")
        tables.append(measure(name, seeds, others))
        show(tables[-1])
    if options.set == "all":
        show_limits(seeds)
    if options.csv is not None:
        pd.concat(tables).to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
