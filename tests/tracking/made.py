"""Peaks of made-up processes, with noise, whose links are known."""

import numpy as np
import pandas as pd

VOLTAGE = np.linspace(2.2, 4.7, 26)


def made(courses, along=VOLTAGE, seed=0, noise=0.03, **states):
    """Peaks of processes given by (τ, R), each a function of the state or a number; NaN for no peak.

    `true` names the process of each peak. Rows are shuffled.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for name, (tau, r) in courses.items():
        values = [np.broadcast_to(f(along) if callable(f) else f, along.shape) for f in (tau, r)]
        off = np.exp(noise * rng.standard_normal((2, along.size)))
        columns = {"tau": values[0] * off[0], "r": values[1] * off[1], "voltage": along, "true": name}
        parts.append(pd.DataFrame({"spectrum": np.arange(along.size)} | columns))
    peaks = pd.concat(parts).dropna()
    return peaks.sample(frac=1.0, random_state=seed).assign(**states).reset_index(drop=True)


def steady(name="a", tau=1e-3, r=10.0):
    return {name: (tau, r)}


def linked(tracks):
    """The true processes that each tracked process is made of."""
    return {name: set(part["true"]) for name, part in tracks.table.groupby("process", observed=True)}


def each_is_one(tracks, peaks):
    """Every peak is in a track, and tracks and true processes are the same thing."""
    assert len(tracks.unassigned) == 0
    assert len(tracks.table) == len(peaks)
    found = linked(tracks)
    assert all(len(true) == 1 for true in found.values()), found
    assert len(found) == peaks["true"].nunique()


def happened(tracks, kind):
    return tracks.events[tracks.events["event"] == kind]
