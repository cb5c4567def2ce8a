"""How well processes are followed over simulated campaigns, and how long that takes.

The campaign of the goal is two ageing cells, charge and discharge, 24 voltages, eleven cycles: 1056 spectra with noise
of 0.2 % of the modulus and five processes. Others have other cells, cycles, frequencies and noise. They are inverted,
peaks are found, or the spectra are taken apart, and that is tracked, with default settings and nothing known.

A true process counts as found where it has a peak of its own, within a factor 2.5 in τ and 2 in R, each peak for one
process only; as linked where that peak is in the tracked process that stands for the true one, each for one; as vague
where the tracked process has a peak there that is further off, yet within three of its standard errors; as merged where
it has none and the peak of another process says that it holds it. All are shares of all true observations. The table is
by process and by the ratio of its τ to the nearest other; errors are medians of those linked, beside
the medians that no unbiased estimate from one spectrum can go below (the bound of H. Cramér and C. R. Rao, with the
number and form of the processes known). Invented are tracked peaks that are neither linked nor vague. Sources of peaks
tell the tracking apart from what it is given: the true processes with scatter and dropouts, plain maxima of γ, the
peaks of the engine, and the ZARC parts that it takes spectra apart into, each starting from its neighbour in voltage,
or fitted together along it.

    python benchmarks/tracking.py
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

import drt_engine as drt
from drt_engine.simulate import BARE, Campaign, CampaignDesign, Cell, ProportionalNoise, campaign
from drt_engine.tracking import Known, Tracks, track

FACTOR_TAU, FACTOR_R, DEVIATIONS = 2.5, 2.0, 3.0
BINS = ((1.0, 3.0), (3.0, 5.0), (5.0, np.inf))
SERIES = ("cell", "cycle", "direction")
Peaks = Callable[[Campaign, drt.Inversion], pd.DataFrame]

DESIGNS = {
    "goal": CampaignDesign(),
    "other cells": CampaignDesign(
        cells=(
            Cell("X", r_inf=8.0, interphase=3.0, interphase_growth=1.0, ageing=1.5),
            Cell("Y", r_inf=20.0, interphase=9.0, interphase_growth=3.0, ageing=0.5),
        ),
        cycles=(1, 2, 5, 10, 20, 50, 100, 200, 400, 800),
        voltages=18,
        frequencies=71,
        frequency_range=(2e6, 5e-3),
    ),
    "twice the noise": CampaignDesign(
        cells=(BARE,), cycles=tuple(range(1, 500, 25)), voltages=30, frequencies=50, noise=ProportionalNoise(0.004)
    ),
    "two cycles": CampaignDesign(cycles=(1, 500), voltages=40, window=(2.0, 4.8)),
}
"""Campaigns by name."""


def true_peaks(made: Campaign, result: drt.Inversion) -> pd.DataFrame:
    """Return true processes with scatter of 5 % in τ and R; 3 % are missing, those closer than a factor 5 are one."""
    del result
    rng = np.random.default_rng(1)
    parts = []
    for spectrum, (r, tau) in enumerate(zip(made.r, made.tau, strict=True)):
        group = np.concatenate([[0], np.cumsum(np.diff(np.log(tau)) > np.log(5.0))])
        for k in np.unique(group):
            inside = group == k
            mean = np.exp(np.average(np.log(tau[inside]), weights=r[inside]))
            if rng.random() > 0.03:
                parts.append((spectrum, mean, r[inside].sum()))
    peaks = pd.DataFrame(parts, columns=["spectrum", "tau", "r"])
    peaks[["tau", "r"]] *= np.exp(0.05 * rng.standard_normal((len(peaks), 2)))
    return peaks.join(made.spectra.states, on="spectrum")


def plain_maxima(made: Campaign, result: drt.Inversion) -> pd.DataFrame:
    """Maxima of γ with a prominence of 1 % of the highest, and the area between the valleys."""
    tau = np.geomspace(result.tau[0], result.tau[-1], 900)
    step = np.log(tau[1] / tau[0])
    parts = []
    for spectrum, gamma in enumerate(result.gamma_at(tau)):
        at, _ = find_peaks(gamma, prominence=0.01 * gamma.max())
        valleys = [0, *(a + int(np.argmin(gamma[a:b])) for a, b in pairwise(at)), gamma.size]
        areas = np.add.reduceat(gamma, valleys[:-1]) * step
        parts += [(spectrum, t, r) for t, r in zip(tau[at], areas, strict=True)]
    return pd.DataFrame(parts, columns=["spectrum", "tau", "r"]).join(made.spectra.states, on="spectrum")


def engine_peaks(_: Campaign, result: drt.Inversion) -> pd.DataFrame:
    """Return what ``result.peaks()`` finds, which has the states."""
    return result.peaks()


def engine_parts(spectra: drt.Spectra, result: drt.Inversion) -> pd.DataFrame:
    """Return the ZARC parts of the spectra, but for those without a resistance."""
    parts = result.deconvolve(spectra, series=SERIES, along="voltage").elements
    return parts[parts["r"] > 0.0]


def parts_together(made: Campaign, result: drt.Inversion) -> pd.DataFrame:
    """Return the ZARC parts of spectra that were fitted together along the voltage."""
    return result.deconvolve(made.spectra, series=SERIES, along="voltage", together=True).elements


SOURCES: dict[str, Peaks] = {
    "true": true_peaks,
    "plain": plain_maxima,
    "engine": engine_peaks,
    "parts": lambda made, result: engine_parts(made.spectra, result),
    "together": parts_together,
}


def own_peaks(made: Campaign, peaks: pd.DataFrame) -> np.ndarray:
    """Row of the peak of each true process, or -1, shape (K, 5): the nearest, each peak once."""
    own = np.full(made.tau.shape, -1)
    values, where = peaks[["tau", "r"]].to_numpy(), peaks["spectrum"].to_numpy()
    for spectrum in np.unique(where):
        rows = np.flatnonzero(where == spectrum)
        x = values[rows]
        off = np.abs(np.log(x[:, None] / np.stack([made.tau[spectrum], made.r[spectrum]], axis=1)))
        cost = off[..., 0] + 0.5 * off[..., 1]
        allowed = (off[..., 0] < np.log(FACTOR_TAU)) & (off[..., 1] < np.log(FACTOR_R))
        for peak, process in zip(*linear_sum_assignment(np.where(allowed, cost, 1e3)), strict=True):
            if allowed[peak, process]:
                own[spectrum, process] = rows[peak]
    return own


def judged(made: Campaign, tracks: Tracks) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row a true observation, and the tracked peaks that are neither true nor within their errors.

    The columns are separation, found, linked, vague, merged, and errors of ln R and ln τ.
    """
    table = tracks.table.reset_index(drop=True)
    own = own_peaks(made, table)
    code = np.append(table["process"].cat.codes.to_numpy(), -1)
    main = stand_ins(code[own], len(tracks.names))
    number = np.full((len(own), len(tracks.names) + 1), -1)
    number[table["spectrum"], code[:-1]] = np.arange(len(table))
    in_track = number[:, main]
    truth = np.stack([np.log(made.r), np.log(made.tau)])
    off, error = (np.full((2, *own.shape), np.nan) for _ in range(2))
    for k, name in enumerate(("r", "tau")):
        value = table[name].to_numpy()
        off[k] = np.where(in_track >= 0, np.log(value)[in_track], np.nan) - truth[k]
        if f"{name}_error" in table:
            error[k] = (table[f"{name}_error"].to_numpy() / value)[in_track]
    linked = (own >= 0) & (own == in_track)
    vague = ~linked & (in_track >= 0) & (np.abs(off) < DEVIATIONS * np.nan_to_num(error, nan=1.0)).all(axis=0)
    vague &= np.isfinite(error).any(axis=0)
    known = [tracks.names[m] if m >= 0 else name for m, name in zip(main, made.process_names, strict=True)]
    holds = {(s, g) for s, text in zip(table["spectrum"], table["merged_with"], strict=True) for g in text.split(" + ")}
    merged = np.array([[(s, name) in holds for name in known] for s in range(len(own))]) & (in_track < 0)
    apart = np.abs(truth[1][:, :, None] - truth[1][:, None, :]) + np.where(np.eye(own.shape[1]) > 0, np.inf, 0.0)
    least = least_errors(made)
    columns = {
        "process": np.broadcast_to(made.process_names, own.shape),
        "separation": np.exp(apart.min(axis=2)),
        "found": own >= 0,
        "linked": linked,
        "vague": vague,
        "merged": merged,
        "r": np.where(linked, off[0], np.nan),
        "tau": np.where(linked, off[1], np.nan),
        "least r": least[0],
        "least tau": least[1],
    }
    right = np.union1d(own[own >= 0], in_track[vague])
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}), table[
        ~np.isin(np.arange(len(table)), right)
    ]


def least_errors(made: Campaign) -> np.ndarray:
    """Median absolute errors of ln R and ln τ at the bound of Cramér and Rao, for normal errors, shape (2, K, P)."""
    omega = 2.0 * np.pi * made.spectra.frequency
    log = np.log(1j * omega * made.tau[:, :, None])
    w = np.exp(made.phi[:, :, None] * log)
    unit = 1.0 / (1.0 + w)
    slope = -made.r[:, :, None] * w * unit**2
    derivatives = [made.r[:, :, None] * unit, slope * made.phi[:, :, None], slope * log]
    one = np.ones((len(made.tau), 1, 1))
    z = made.spectra.impedance[:, None]
    noise = made.design.noise
    if not isinstance(noise, ProportionalNoise):
        raise TypeError(f"the bound is worked out for noise in proportion to the modulus; got {noise!r}.")
    jac = np.concatenate([*derivatives, one + 0j * omega, 1j * one * omega * 1e-6], axis=1) / (noise.fraction * abs(z))
    jac = np.concatenate([jac.real, jac.imag], axis=2)
    deviation = np.sqrt(np.linalg.inv(jac @ jac.transpose(0, 2, 1)).diagonal(axis1=1, axis2=2))
    count = made.tau.shape[1]
    return statistics.NormalDist().inv_cdf(0.75) * np.stack([deviation[:, :count], deviation[:, count : 2 * count]])


def stand_ins(code: np.ndarray, tracked: int) -> np.ndarray:
    """Tracked process that stands for each true one, by the most peaks in common; -1 for none, each for one only."""
    common = np.stack([np.bincount(column[column >= 0], minlength=tracked) for column in code.T])
    main = np.full(len(common), -1)
    for process, name in zip(*linear_sum_assignment(-common), strict=True):
        main[process] = name if common[process, name] else -1
    return main


def report(judgement: pd.DataFrame, invented: pd.DataFrame, tracks: Tracks) -> None:
    """Print the table by process and separation."""
    shares, errors = ["found", "linked", "vague", "merged"], ["r", "tau", "least r", "least tau"]
    heads = (*shares, "|dR|", "|dtau|", "least R", "tau")
    print(f"{'process':<18}{'separation':>12}{'true':>7}", *(f"{name:>8}" for name in heads))
    every = [*judgement["process"].unique(), "all"]
    for process, (low, high) in ((p, b) for p in every for b in BINS):
        of = judgement if process == "all" else judgement[judgement["process"] == process]
        part = of[(of["separation"] > low) & (of["separation"] <= high)]
        if len(part):
            label = f"> {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"
            values = [*part[shares].mean(), *part[errors].abs().median()]
            print(
                f"{process:<18}{label:>12}{len(part):>7}",
                *(f"{v:>8.1%}" if np.isfinite(v) else f"{'':>8}" for v in values),
            )
    counts = tracks.table["process"].value_counts(sort=False)
    print(f"invented: {len(invented)} of {len(tracks.table)} tracked peaks", end="; ")
    if "merged" in invented:
        print(f"{int(invented['merged'].sum())} of these say that only the sum of R with a neighbour is determined")
    print("tracked: " + ", ".join(f"{n} ({c})" for n, c in counts.items()))
    print()


def timed(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and least wall time of a call, s; what it compiles must be compiled already."""
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), min(seconds)


def speed(copies: int, rounds: int) -> None:
    """Time peaks, parts and tracking of several copies of the campaign of the goal, each with noise of its own."""
    several = [campaign(CampaignDesign(seed=k)).spectra for k in range(copies)]
    cells = [s.states.assign(cell=s.states["cell"] + str(k)) for k, s in enumerate(several)]
    states = pd.concat(cells, ignore_index=True)
    spectra = drt.Spectra(several[0].frequency, np.concatenate([s.impedance for s in several]), states)
    result = drt.invert(spectra, drt.Tikhonov(shared="cell"))
    peaks, parts = result.peaks(), engine_parts(spectra, result)
    for table in (peaks, parts):
        track(table[table["cell"] == states["cell"].iloc[0]])
    work: dict[str, tuple[Callable[[], object], int]] = {
        "peaks": (result.peaks, rounds),
        "tracking of peaks": (lambda: track(peaks, states=states), rounds),
        "parts": (lambda: engine_parts(spectra, result), max(rounds // 3, 1)),
        "tracking of parts": (lambda: track(parts, states=states), rounds),
    }
    print(f"{len(states)} spectra of {spectra.frequency.size} frequencies, {len(peaks)} peaks, {len(parts)} parts")
    print(f"{'':<20}{'median s':>10}{'least s':>10}{'us/spectrum':>13}")
    for name, (call, times) in work.items():
        median, least = timed(call, times)
        print(f"{name:<20}{median:>10.2f}{least:>10.2f}{median / len(states) * 1e6:>13.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="of the noise [0]")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=["goal"], help="campaigns [goal]")
    parser.add_argument(
        "--sources", nargs="+", choices=SOURCES, default=["engine", "parts"], help="where peaks are from"
    )
    parser.add_argument("--pin", action="store_true", help="tell the tracking the range of the anode")
    parser.add_argument("--copies", type=int, default=10, help="copies of the campaign that are timed [10]")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timing; 0 for none [5]")
    given = parser.parse_args()
    known = [Known("anode", (1e-3, 3.2e-3))] if given.pin else []
    for name, seed in ((name, seed) for name in given.designs for seed in given.seed):
        made = campaign(replace(DESIGNS[name], seed=seed))
        result = drt.invert(made.spectra, drt.Tikhonov(shared="cell"))
        for source in given.sources:
            peaks = SOURCES[source](made, result)
            tracks = track(peaks, known=known, states=made.spectra.states)
            print(f"{name}, seed {seed}: {len(made.spectra)} spectra, {len(peaks)} {source}", end="")
            print(
                f"{'' if source in ('parts', 'together') else ' peaks'}; {len(tracks.unassigned)} of them in no process"
            )
            report(*judged(made, tracks), tracks)
    if given.rounds:
        speed(given.copies, given.rounds)


if __name__ == "__main__":
    main()
