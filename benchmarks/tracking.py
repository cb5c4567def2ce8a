"""How well processes are followed over a simulated campaign, and how long that takes.

Two ageing cells, charge and discharge, 24 voltages, eleven cycles: 1056 spectra with noise of 0.2 % of the modulus and
five processes. They are inverted, peaks are found and tracked. A true process counts as found where it has a peak of
its own, within a factor 2.5 in τ and 2 in R, each peak for one process only; as linked where that peak is in the
tracked process that has most of the peaks of the true one; as merged where it has none and the peak of another process
says that it holds it. The table is by process and by the ratio of its τ to the nearest other. Three sources of peaks
tell the tracking apart from the peak finder: the true processes with scatter and dropouts, plain maxima of γ, and the
peaks of the engine.

    python benchmarks/tracking.py
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

import drt_engine as drt
from drt_engine.simulate import Campaign, CampaignDesign, campaign
from drt_engine.tracking import Known, Tracks, track

FACTOR_TAU, FACTOR_R = 2.5, 2.0
BINS = ((1.0, 3.0), (3.0, 5.0), (5.0, np.inf))
Peaks = Callable[[Campaign, drt.Inversion], pd.DataFrame]


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


SOURCES: dict[str, Peaks] = {"true": true_peaks, "plain": plain_maxima, "engine": engine_peaks}


def own_peaks(made: Campaign, peaks: pd.DataFrame) -> np.ndarray:
    """Row of the peak of each true process, or -1, shape (K, 5): the nearest, each peak once."""
    own = np.full(made.tau.shape, -1)
    for spectrum, rows in peaks.groupby("spectrum").indices.items():
        x = peaks[["tau", "r"]].to_numpy()[rows]
        off = np.abs(np.log(x[:, None] / np.stack([made.tau[spectrum], made.r[spectrum]], axis=1)))
        cost = off[..., 0] + 0.5 * off[..., 1]
        allowed = (off[..., 0] < np.log(FACTOR_TAU)) & (off[..., 1] < np.log(FACTOR_R))
        for peak, process in zip(*linear_sum_assignment(np.where(allowed, cost, 1e3)), strict=True):
            if allowed[peak, process]:
                own[spectrum, process] = rows[peak]
    return own


def judged(made: Campaign, tracks: Tracks) -> pd.DataFrame:
    """Return one row a true observation: separation, found, linked, merged, and errors."""
    table = tracks.table.reset_index(drop=True)
    own = own_peaks(made, table)
    name = np.append(table["process"].astype(str).to_numpy(dtype=object), "")[own]
    pinned = [process if process in tracks.names else "" for process in made.process_names]
    main = [pd.Series(column[column != ""]).mode().get(0, pin) for column, pin in zip(name.T, pinned, strict=True)]
    holds = {(s, g) for s, text in zip(table["spectrum"], table["merged_with"], strict=True) for g in text.split(" + ")}
    log_tau = np.log(made.tau)
    apart = np.abs(log_tau[:, :, None] - log_tau[:, None, :]) + np.where(np.eye(5) > 0, np.inf, 0.0)
    rows = []
    for (spectrum, p), row in np.ndenumerate(own):
        found = row >= 0
        linked = found and name[spectrum, p] == main[p]
        error = (np.log(table.loc[row, q] / v[spectrum, p]) for q, v in (("r", made.r), ("tau", made.tau)))
        e_r, e_tau = error if found else (np.nan, np.nan)
        merged = not found and main[p] != "" and (spectrum, main[p]) in holds
        rows.append((made.process_names[p], np.exp(apart[spectrum, p].min()), found, linked, merged, e_r, e_tau))
    columns = ["process", "separation", "found", "linked", "merged", "r", "tau"]
    return pd.DataFrame(rows, columns=columns)


def report(judgement: pd.DataFrame, tracks: Tracks) -> None:
    """Print the table by process and separation."""
    print(f"{'process':<18}{'separation':>12}{'true':>7}{'found':>9}{'linked':>9}{'merged':>9}{'|dR|':>8}{'|dtau|':>8}")
    every = [*judgement["process"].unique(), "all"]
    for process, (low, high) in ((p, b) for p in every for b in BINS):
        of = judgement if process == "all" else judgement[judgement["process"] == process]
        part = of[(of["separation"] > low) & (of["separation"] <= high)]
        if len(part):
            label = f"> {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"
            share = part[["found", "linked", "merged"]].mean()
            error = part.loc[part["linked"], ["r", "tau"]].abs().median()
            print(f"{process:<18}{label:>12}{len(part):>7}", *(f"{v:>8.1%}" for v in share), end="")
            print("", *(f"{v:>7.1%}" if np.isfinite(v) else f"{'':>7}" for v in error))
    print("tracked: " + ", ".join(f"{n} ({c})" for n, c in tracks.table["process"].value_counts(sort=False).items()))
    print()


def speed(peaks: pd.DataFrame, copies: int, rounds: int) -> None:
    """Time the tracking of several copies of a campaign, with cells of their own."""
    spectra = int(peaks["spectrum"].max()) + 1
    several = pd.concat(
        [peaks.assign(cell=peaks["cell"] + str(k), spectrum=peaks["spectrum"] + spectra * k) for k in range(copies)],
        ignore_index=True,
    )
    track(peaks)
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        track(several)
        seconds.append(time.perf_counter() - begin)
    print(f"{copies * spectra} spectra, {len(several)} peaks: median {statistics.median(seconds):.2f} s, ", end="")
    print(f"least {min(seconds):.2f} s of {rounds}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the noise [0]")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=["true", "plain"], help="where peaks are from")
    parser.add_argument("--pin", action="store_true", help="tell the tracking the range of the anode")
    parser.add_argument("--copies", type=int, default=10, help="copies of the campaign that are timed [10]")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timing; 0 for none [5]")
    given = parser.parse_args()
    made = campaign(CampaignDesign(seed=given.seed))
    result = drt.invert(made.spectra, drt.Tikhonov(shared="cell"))
    known = [Known("anode", (1e-3, 3.2e-3))] if given.pin else []
    for source in given.sources:
        peaks = SOURCES[source](made, result)
        tracks = track(peaks, known=known, states=made.spectra.states)
        print(f"peaks: {source}, {len(peaks)}; {len(tracks.unassigned)} of them in no process")
        report(judged(made, tracks), tracks)
        if given.rounds:
            speed(peaks, given.copies, given.rounds)


if __name__ == "__main__":
    main()
