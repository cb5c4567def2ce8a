"""How well changes along a series of spectra are found: error, change error, coverage and time, series by method.

The error is the median over states of ∫|γ̂ − γ| d ln τ / ∫γ d ln τ, on 801 points of τ from 1/ω_max to 1/ω_min. The
change error is the median over neighbouring states of ∫|(γ̂[k+1] − γ̂[k]) − (γ[k+1] − γ[k])| d ln τ divided by
∫|γ[k+1] − γ[k]| d ln τ: at 1, what is seen between two neighbours is noise. Along two states, both are given. Where
nothing changes, the mean of ∫|γ̂[k+1] − γ̂[k]| d ln τ / ∫γ d ln τ stands in its place, marked "=". Beside breaks, the
error is also that of the two states next to each. Coverage is that of 95 % intervals: of γ where it exceeds 2 % of
its maximum, of R_pol, and of the change of R_pol between neighbours and between states half a series apart. Times are
of one call, compiled before.

    python benchmarks/series.py
    python benchmarks/series.py --only jump --only crossing --seeds 10
    python benchmarks/series.py --set held-out --peers --csv held-out.csv
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evolutions import DEVELOPMENT, Case, Series
from evolutions_held_out import HELD_OUT, HELD_OUT_SEED
from evolutions_unusual import UNUSUAL
from peers import Peer, missing_peers, peers

import drt_engine as drt
from drt_engine.errors import InputError

SETS = {"development": (DEVELOPMENT, 0), "held-out": (HELD_OUT, HELD_OUT_SEED), "unusual": (UNUSUAL, 0)}
"""Series and the first seed of each set."""

_FLOOR, _LEVEL = 0.02, 0.95
_COLUMNS = {
    "error": ("error", 8, ".3f"),
    "change": ("change", 8, ".3f"),
    "second": ("second", 8, ".3f"),
    "beside": ("beside", 8, ".3f"),
    "covered_gamma": ("γ in", 7, ".2f"),
    "covered_r_pol": ("R in", 7, ".2f"),
    "covered_change": ("ΔR in", 7, ".2f"),
    "covered_far": ("far in", 8, ".2f"),
    "solved": ("solved", 8, ".2f"),
    "milliseconds": ("ms each", 9, ".2f"),
}
Array = np.ndarray
Methods = dict[str, Callable[[Series], Any]]


def methods() -> Methods:
    """Return what a series is inverted with, by name: the joint inversion too, once there is one."""
    found: Methods = {"Tikhonov": lambda _: drt.Tikhonov(), "LogGaussian": lambda _: drt.LogGaussian()}
    if "along" in {each.name for each in fields(drt.LogGaussian)}:
        found["joint"] = joint
    return found


def joint(one: Series) -> Any:
    """Return the joint method for a series."""
    along: Any = one.along[0] if len(one.along) == 1 else one.along
    return drt.LogGaussian(along=along, series=one.series)


def state_errors(gamma: Array, truth: Array, log_tau: Array) -> Array:
    """∫|γ̂ − γ| d ln τ / ∫γ d ln τ of each state, shape (K,).

    Parameters
    ----------
    gamma, truth : ndarray, shape (K, T)
        Solutions and what they should be, ohm.
    log_tau : ndarray, shape (T,)
        Where.
    """
    return np.trapezoid(np.abs(gamma - truth), log_tau) / np.trapezoid(truth, log_tau)


def change_errors(gamma: Array, truth: Array, log_tau: Array, pairs: Array) -> Array:
    """∫|Δγ̂ − Δγ| d ln τ / ∫|Δγ| d ln τ of each pair, shape (P,); see :func:`state_errors`.

    Parameters
    ----------
    gamma, truth : ndarray, shape (K, T)
        Solutions and what they should be, ohm.
    log_tau : ndarray, shape (T,)
        Where.
    pairs : ndarray of int, shape (P, 2)
        Rows that are compared.
    """
    found, exact = (each[pairs[:, 1]] - each[pairs[:, 0]] for each in (gamma, truth))
    return np.trapezoid(np.abs(found - exact), log_tau) / np.trapezoid(np.abs(exact), log_tau)


def apparent_changes(gamma: Array, truth: Array, log_tau: Array, pairs: Array) -> Array:
    """∫|Δγ̂| d ln τ / ∫γ d ln τ of each pair, where γ does not change; see :func:`change_errors`."""
    found = gamma[pairs[:, 1]] - gamma[pairs[:, 0]]
    return np.trapezoid(np.abs(found), log_tau) / np.trapezoid(truth[pairs[:, 0]], log_tau)


class Figures:
    """What one method did with one series, over seeds: values are collected, then summed up."""

    def __init__(self) -> None:
        self.values: dict[str, list[Array]] = {}

    def add(self, name: str, values: Any) -> None:
        """Note some values of a quantity."""
        self.values.setdefault(name, []).append(np.ravel(values).astype(float))

    def compare(self, one: Series, gamma: Array) -> None:
        """Note errors.

        Parameters
        ----------
        one : Series
            The truth.
        gamma : ndarray, shape (K, 801)
            Solutions at ``one.tau``, ohm; NaN where there is none.
        """
        truth, y = one.truth(one.tau), np.log(one.tau)
        errors, pairs = state_errors(gamma, truth, y), one.pairs(one.along[0])
        self.add("error", errors)
        if one.still:
            self.add("still", apparent_changes(gamma, truth, y, pairs))
        else:
            self.add("change", change_errors(gamma, truth, y, pairs))
        for column in one.along[1:]:
            self.add("second", change_errors(gamma, truth, y, one.pairs(column)))
        for row in one.breaks:
            self.add("beside", errors[[row - 1, row]])

    def cover(self, one: Series, result: drt.Inversion) -> None:
        """Note which intervals cover; nothing for a method that has none."""
        truth = one.truth(one.tau)
        try:
            low, high = result.gamma_interval(_LEVEL, one.tau)
        except InputError:
            return
        there = result.solved
        above = truth > _FLOOR * truth.max(axis=1, keepdims=True)
        self.add("covered_gamma", ((low <= truth) & (truth <= high))[above & there[:, None]])
        low, high = result.r_pol_interval(_LEVEL)
        self.add("covered_r_pol", ((low <= one.r_pol) & (one.r_pol <= high))[there])
        if not result.method.linear:
            pairs = one.pairs(one.along[0])
            self.add("covered_change", _change_covered(one, result, pairs[there[pairs].all(axis=1)]))
            far = one.far_pairs(one.along[0])
            self.add("covered_far", _change_covered(one, result, far[there[far].all(axis=1)]))

    def row(self) -> dict[str, Any]:
        """Sum up: medians of errors, means of everything else, and whether nothing changed."""
        medians = ("error", "change", "second", "beside")
        out: dict[str, Any] = {
            name: float((np.nanmedian if name in medians else np.nanmean)(np.concatenate(values)))
            for name, values in self.values.items()
        }
        if "still" in out:
            out["change"] = out.pop("still")
            out["still"] = True
        return out


def _change_covered(one: Series, result: drt.Inversion, pairs: Array) -> list[bool]:
    exact = one.r_pol[pairs[:, 1]] - one.r_pol[pairs[:, 0]]
    covered = []
    for (i, j), change in zip(pairs, exact, strict=True):
        found = result.change(int(i), int(j), _LEVEL)
        covered.append(bool(found.r_pol_low <= change <= found.r_pol_high))
    return covered


def measured(choose: Callable[[Series], Any], case: Case, seeds: Sequence[int]) -> dict[str, Any]:
    """Invert a series for each seed and compare.

    Parameters
    ----------
    choose : callable
        The method for a series.
    case : Case
        What.
    seeds : sequence of int
        Of the noise.

    Returns
    -------
    dict
        Figures by name; what a method does not give is not there.
    """
    figures = Figures()
    for seed in seeds:
        one = case.make(seed)
        method = choose(one)
        if seed == seeds[0]:
            drt.invert(one.spectra, method)
        begin = time.perf_counter()
        result = drt.invert(one.spectra, method)
        figures.add("milliseconds", (time.perf_counter() - begin) * 1e3 / len(result))
        figures.add("solved", result.solved)
        figures.compare(one, result.gamma_at(one.tau))
        figures.cover(one, result)
    return figures.row()


def measured_peer(peer: Peer, case: Case, seed: int) -> dict[str, Any]:
    """Invert a series with another tool, one spectrum after another, and compare.

    Parameters
    ----------
    peer : callable
        The tool.
    case : Case
        What.
    seed : int
        Of the noise.
    """
    figures, one = Figures(), case.make(seed)
    gamma = np.full((len(one.spectra), one.tau.size), np.nan)
    usable = np.flatnonzero(np.isfinite(one.spectra.impedance).all(axis=1))
    peer(one.spectra.frequency, one.spectra.impedance[usable[0]])
    begin = time.perf_counter()
    for k in usable:
        tau, found = peer(one.spectra.frequency, one.spectra.impedance[k])
        gamma[k] = np.interp(np.log(one.tau), np.log(tau), found, left=0.0, right=0.0)
    figures.add("milliseconds", (time.perf_counter() - begin) * 1e3 / usable.size)
    figures.compare(one, gamma)
    return figures.row()


def measure(chosen: Sequence[Case], seeds: Sequence[int], others: dict[str, Peer]) -> pd.DataFrame:
    """Measure all methods on all series, and print each row as it is found.

    Parameters
    ----------
    chosen : sequence of Case
        The series.
    seeds : sequence of int
        Of the noise; other tools get the first.
    others : dict
        Other tools.
    """
    print(f"{'series':<18}{'method':<16}" + "".join(f"{title:>{width}}" for title, width, _ in _COLUMNS.values()))
    rows = []
    for case in chosen:
        for name, job in _jobs(case, seeds, others).items():
            rows.append({"series": case.name, "method": name} | job())
            print(_line(rows[-1]), flush=True)
    return pd.DataFrame(rows)


def _jobs(case: Case, seeds: Sequence[int], others: dict[str, Peer]) -> dict[str, Callable[[], dict[str, Any]]]:
    own = {name: partial(measured, choose, case, seeds) for name, choose in methods().items()}
    return own | {name: partial(measured_peer, peer, case, seeds[0]) for name, peer in others.items()}


def _line(row: dict[str, Any]) -> str:
    cells = []
    for name, (_, width, form) in _COLUMNS.items():
        text = format(row[name], form) if name in row else "-"
        cells.append(f"{'=' * (name == 'change' and row.get('still', False)) + text:>{width}}")
    return f"{row['series']:<18}{row['method']:<16}" + "".join(cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=list(SETS), default="development", help="series [development]")
    parser.add_argument("--only", action="append", default=[], metavar="SERIES", help="one of them; may be repeated")
    parser.add_argument("--seeds", type=int, default=3, help="draws of noise for each series [3]")
    parser.add_argument("--first", type=int, help="first seed [0, and 9000 for held-out]")
    parser.add_argument("--peers", action="store_true", help="other tools that are installed as well, one seed each")
    parser.add_argument("--csv", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    available, first = SETS[options.set]
    unknown = set(options.only) - {each.name for each in available}
    if unknown:
        parser.error(f"no such series: {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in available)}")
    first = first if options.first is None else options.first
    if options.peers:
        for name, lacking in missing_peers().items():
            print(f"{name} is not run: {', '.join(lacking)} not installed")
    chosen = [each for each in available if not options.only or each.name in options.only]
    found = measure(chosen, range(first, first + options.seeds), peers() if options.peers else {})
    if options.csv is not None:
        found.to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
