"""Tracked processes drawn into figures of γ, and what they look like everywhere."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.plotting.colours import NAMED
from drt_engine.result import Inversion
from drt_engine.text import drawn
from drt_engine.tracking import Tracks

__all__ = ["MARKERS", "checked_tracks", "draw_traces", "keys_below", "look", "trace_keys"]

MARKERS = "osD^v<>pP*Xh"
_SIZE = 3.2  # points, of a marker that still shows which of the shapes it is
# States from which on markers of that size would cover each other on a column of 3.5 inches.
_MANY = 60


def look(tracks: Tracks, process: str) -> dict[str, Any]:
    """Colour and marker of a process, the same in all figures of these tracks."""
    k = tracks.names.index(process)
    return {"color": NAMED[k % len(NAMED)], "marker": MARKERS[k % len(MARKERS)]}


def checked_tracks(tracks: Tracks) -> Tracks:
    """Return tracks, or raise for anything else."""
    if not isinstance(tracks, Tracks):
        raise InputError(f"tracks must be of type Tracks; got {type(tracks).__name__}. Track the peaks first.")
    return tracks


def draw_traces(
    axes: Axes,
    tracks: Tracks,
    rows: NDArray[np.intp],
    places: NDArray[np.float64],
    raised: tuple[Inversion, NDArray[np.float64]] | None = None,
) -> list[str]:
    """Draw each process as markers joined by a line, open where its peak holds other processes too.

    Parameters
    ----------
    axes : Axes
        With τ on the abscissa and a state on the ordinate.
    tracks : Tracks
        The processes.
    rows : ndarray of int, shape (K,)
        Spectra that are drawn, by their numbers in the tracks.
    places : ndarray, shape (K,)
        Where they stand on the ordinate.
    raised : tuple of Inversion and ndarray, optional
        Result of these spectra, K rows, and height of an ohm of each, shape (K,): markers stand on the curves of a
        waterfall.

    Returns
    -------
    list of str
        Names of the processes that were drawn.
    """
    order = np.argsort(places, kind="stable")
    rank = {int(row): k for k, row in enumerate(rows[order])}
    table = tracks.table[tracks.table["spectrum"].isin(rank)]
    drawn = []
    for name in tracks.names:
        part = table[table["process"] == name]
        if part.empty:
            continue
        drawn.append(name)
        at = part["spectrum"].map(rank).to_numpy()
        sequence = np.argsort(at, kind="stable")
        at, part = at[sequence], part.iloc[sequence]
        tau = part["tau"].to_numpy()
        y = places[order[at]].astype(float)
        if raised is not None:
            result, scale = raised
            y = y + scale[order[at]] * result.gamma_at(tau)[order[at], np.arange(tau.size)]
        breaks = np.flatnonzero(np.diff(at) > 1) + 1
        looks = look(tracks, name)
        few = rows.size <= _MANY
        # where there are many, big marks would cover each other, and lines between them what lies beneath
        size, edge, width = (_SIZE, 0.6, 0.7) if few else (0.4 * _SIZE, 0.3, 0.3)
        halo = [withStroke(linewidth=width + 1.1 if few else 2.0 * width, foreground="white")]
        ring = halo if few else []
        axes.plot(
            np.insert(tau, breaks, np.nan),
            np.insert(y, breaks, np.nan),
            color=looks["color"],
            lw=width,
            zorder=4.0,
            path_effects=halo,
        )
        held = (part["merged_with"] != "").to_numpy()
        # filled markers have a white ring; open ones are larger instead, for a ring would hide that they are open
        filled = {"ms": size, "mfc": looks["color"], "mew": edge, "path_effects": ring}
        open_ = {"ms": 1.5 * size, "mfc": "white", "mew": 1.4 * edge}
        for which, style in ((~held, filled), (held, open_)):
            axes.plot(tau[which], y[which], ls="none", marker=looks["marker"], mec=looks["color"], zorder=4.1, **style)
    return drawn


def trace_keys(tracks: Tracks, names: Iterable[str], held: bool = False) -> list[Line2D]:
    """Keys for a legend of processes, and of open markers if there are any."""
    keys = [Line2D([], [], lw=0.7, ms=_SIZE, mew=0.6, label=drawn(name), **look(tracks, name)) for name in names]
    if held:
        grey: dict[str, Any] = {"color": "0.35", "marker": "o", "mfc": "white", "mew": 0.6, "ms": _SIZE}
        keys.append(Line2D([], [], ls="none", label="holds another", **grey))
    return keys


def any_held(tracks: Tracks, names: Sequence[str], rows: NDArray[np.intp]) -> bool:
    """Whether a peak of these processes in these spectra holds another process."""
    table = tracks.table
    chosen = table["process"].isin(list(names)) & table["spectrum"].isin(rows.tolist())
    return bool((table.loc[chosen, "merged_with"] != "").any())


def keys_below(figure: Figure, keys: Sequence[Artist]) -> None:
    """Put a legend below all panels of a figure, in as many rows as its width needs."""
    if not keys:
        return
    width = float(figure.get_figwidth())
    longest = max(len(str(key.get_label())) for key in keys)
    columns = max(1, min(len(keys), int(width / (0.36 + 0.058 * longest))))
    figure.legend(
        handles=list(keys),
        loc="outside lower center",
        ncols=-(-len(keys) // -(-len(keys) // columns)),
        columnspacing=1.0,
        handletextpad=0.4,
        borderpad=0.2,
    )
