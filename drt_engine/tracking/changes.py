"""How much processes change between two states, such as the first and the last cycle."""

import numpy as np
import pandas as pd

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.tracking.tracks import Tracks

__all__ = ["change"]

_QUANTITIES = ("r", "tau", "c")


def change(tracks: Tracks, state: str = "cycle", between: tuple[float, float] | None = None) -> pd.DataFrame:
    """Compare each process at two values of a state, at everything else equal.

    Observations are compared only where both hold the same processes: what has merged with another in the meantime is
    no change of either.

    Parameters
    ----------
    tracks : Tracks
        Processes that were followed.
    state : str
        State to compare at, one of the series columns.
    between : pair, optional
        Its earlier and later value; the smallest and the largest by default.

    Returns
    -------
    DataFrame
        One row a process and series but for `state`: ``process``; the other series columns; ``states``, how many pairs
        were compared; for ``r``, ``tau`` and ``c`` the median over these of the change in per cent, and its quartiles
        in columns with ``_low`` and ``_high``. A process without pairs has NaN.

    Raises
    ------
    UnknownNameError
        For a state that does not distinguish series.
    InputError
        If one of the values does not occur.
    """
    if state not in tracks.series:
        raise UnknownNameError("state", state, tracks.series)
    table = tracks.table
    known = table[state].drop_duplicates()
    first, last = (known.min(), known.max()) if between is None else between
    for value in (first, last):
        if not known.eq(value).any():
            raise InputError(f"between must give values of {state!r} that occur; got {value!r}.")
    others = [name for name in tracks.series if name != state]
    keys = ["process", *others, tracks.along]
    parts = [table.loc[table[state].eq(value), [*keys, *_QUANTITIES, "merged_with"]] for value in (first, last)]
    pairs = parts[0].merge(parts[1], on=keys, suffixes=("", "_later"))
    pairs = pairs[pairs["merged_with"].eq(pairs["merged_with_later"])]
    percent = pairs[["process", *others]].assign(
        **{name: 100.0 * (pairs[f"{name}_later"] / pairs[name] - 1.0) for name in _QUANTITIES}
    )
    groups = percent.groupby(["process", *others], observed=True)
    summary = groups.size().rename("states").to_frame()
    for name in _QUANTITIES:
        for suffix, share in (("", 0.5), ("_low", 0.25), ("_high", 0.75)):
            summary[name + suffix] = groups[name].quantile(share)
    every = table[others].drop_duplicates() if others else pd.DataFrame(index=[0])
    index = every.merge(pd.DataFrame({"process": list(tracks.names)}), how="cross")[["process", *others]]
    found = index.merge(summary.reset_index().astype({"process": object}), on=["process", *others], how="left")
    found["states"] = found["states"].fillna(0).astype(int)
    rank = np.array([tracks.names.index(name) for name in found["process"]], dtype=int)
    order = np.argsort(rank, kind="stable")
    return found.iloc[order].reset_index(drop=True)
