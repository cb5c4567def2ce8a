"""What commands take of a file of inversions: its grids, the chosen rows, their spectra, and processes in them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drt_engine.cli.app import input_error, say
from drt_engine.text import count_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from drt_engine.result import Inversion
    from drt_engine.spectra import Spectra
    from drt_engine.tracking import Known, Tracks

__all__ = [
    "SERIES",
    "Part",
    "as_taken",
    "chosen_parts",
    "chosen_tracks",
    "followed",
    "grids_of",
    "of_parts",
    "other_contents",
    "placed",
    "states_of",
    "tracks_of",
]

SERIES = "cell,channel,electrode,cycle,direction"
"""State columns that distinguish series unless the user says which do."""


@dataclass(frozen=True)
class Part:
    """What is chosen of the spectra on one frequency grid.

    Parameters
    ----------
    grid : str
        Name of the grid.
    rows : ndarray of int, shape (K,)
        Rows of the grid in the file.
    result : Inversion
        Their result.
    spectra : Spectra or None
        The measured spectra; None where neither the file has them nor another one was named.
    """

    grid: str
    rows: "NDArray[np.intp]"
    result: "Inversion"
    spectra: "Spectra | None"


def grids_of(file: Path, name: str | None, grid: str | None) -> list[str]:
    """Return the grids of an inversion, or the one that is named."""
    from drt_engine.hdf5 import scan

    found = dict.fromkeys(one.grid for one in scan(file).inversions if name in (None, one.name))
    return [grid] if grid is not None else sorted(found, key=lambda one: (len(one), one)) or [""]


def chosen_parts(
    file: Path, names: tuple[str | None, str | None], where: str | None, spectra: Path | None = None
) -> list[Part]:
    """Read what is chosen of each grid of an inversion.

    Parameters
    ----------
    file : Path
        File of inversions.
    names : pair of str or None
        Name of the inversion, and of the grid; all grids unless it is named.
    where : str, optional
        Condition on the states.
    spectra : Path, optional
        File of the spectra; by default those that the file of inversions keeps.

    Returns
    -------
    list of Part
        Without grids of which nothing is chosen, unless that is so of all.
    """
    import numpy as np

    from drt_engine.hdf5 import read_inversion, read_spectra
    from drt_engine.selection import rows_where

    name, grid = names
    older = None if spectra is None else other_contents(spectra, file, name)
    if older is not None:
        say(f"drt-engine: {older}", err=True)
    parts = []
    for one in grids_of(file, name, grid):
        result = read_inversion(file, name, one or None)
        measured = None if spectra is None else as_taken(read_spectra(spectra, one or None), file, name)
        if measured is not None and len(measured) != len(result):
            cause = "" if older is None else f" {older}"
            raise input_error(
                f"{spectra} has {count_of(len(measured), 'spectrum')} and {file} has "
                f"{count_of(len(result), 'inversion')}.{cause}"
            )
        rows = np.arange(len(result)) if where is None else rows_where(result.states, where)
        chosen = result[rows]
        parts.append(Part(one, rows, chosen, chosen.spectra if measured is None else measured[rows]))
    return [part for part in parts if part.rows.size] or parts[:1]


def states_of(parts: Sequence[Part]) -> "pd.DataFrame":
    """Return the states of all parts, below each other."""
    import pandas as pd

    return pd.concat([part.result.states for part in parts], ignore_index=True)


def as_taken(spectra: "Spectra", file: Path, name: str | None) -> "Spectra":
    """Return the spectra that an inversion was made from, chosen by the condition that its file keeps."""
    from drt_engine.errors import InputError
    from drt_engine.hdf5 import scan
    from drt_engine.selection import rows_where

    taken = {found.where for found in scan(file).inversions if name in (None, found.name)}
    where = taken.pop() if len(taken) == 1 else None
    try:
        return spectra if where is None else spectra[rows_where(spectra.states, where)]
    except InputError as error:
        raise input_error(
            f"{file}: the condition by which its spectra were chosen cannot be applied: {error}"
        ) from error


def other_contents(spectra: Path, file: Path, name: str | None) -> str | None:
    """Say that spectra have changed since an inversion was made; None if they have not, or if that is not known."""
    from drt_engine.hdf5 import digest, scan

    made_from = {found.input_digest for found in scan(file).inversions if name in (None, found.name)}
    if None in made_from or not made_from or spectra.samefile(file):
        return None
    now = digest(spectra)
    if now in made_from:
        return None
    return (
        f"{file} was made from other contents of {spectra} than it has now, {min(filter(None, made_from))} and not "
        f"{now}: it is of an older campaign. Invert again."
    )


def tracks_of(path: Path, table: str | None, file: Path) -> "Tracks":
    """Read processes, and refuse those of another file."""
    from drt_engine.hdf5 import digest, read_tracks, scan

    found = read_tracks(path, table)
    for info in scan(path).processes:
        if table in (None, info.name) and info.input_digest not in (None, digest(file)):
            raise input_error(
                f"the processes in {path} were followed in another file than {file}: it was {info.source}, with other "
                "contents. Follow them again: drt-engine peaks --store."
            )
    return found


def chosen_tracks(path: Path, table: str | None, where: str | None) -> "Tracks":
    """Read processes, those observations of them that a condition chooses."""
    from drt_engine.hdf5 import read_tracks
    from drt_engine.selection import rows_where

    found = read_tracks(path, table)
    if where is None:
        return found
    rows = rows_where(found.table, where)
    return replace(found, table=found.table.iloc[rows].reset_index(drop=True))


def of_parts(tracks: "Tracks", parts: Sequence[Part], file: Path, grid: str | None) -> "Tracks":
    """Keep the observations in the chosen rows, with spectra numbered through all parts.

    Processes that were followed in several grids have a column ``grid``; others are of the grid that the user names.
    """
    import pandas as pd

    several = "grid" in tracks.table.columns
    if not several and grid is None and len(grids_of(file, None, None)) > 1:
        raise input_error(
            f"the processes are of one grid, and {file} has several. Name it: --grid, or follow them in all grids: "
            "drt-engine peaks --store."
        )
    number: dict[Any, int] = {}
    for part in parts:
        for row in part.rows.tolist():
            number[part.grid if several else "", row] = len(number)

    def taken(frame: "pd.DataFrame") -> "pd.DataFrame":
        grid = frame["grid"].astype(str) if several else [""] * len(frame)
        at = pd.Series([number.get(key) for key in zip(grid, frame["spectrum"], strict=True)], dtype="Int64")
        here = at.notna().to_numpy()
        return frame[here].reset_index(drop=True).assign(spectrum=at[here].to_numpy(dtype=int))

    return replace(tracks, table=taken(tracks.table), events=taken(tracks.events), unassigned=taken(tracks.unassigned))


def followed(
    found: "pd.DataFrame", states: "pd.DataFrame", course: tuple[str, Sequence[str]], known: "Sequence[Known]" = ()
) -> "Tracks":
    """Follow peaks or elements along a state.

    Parameters
    ----------
    found : DataFrame
        Peaks of all spectra; those with negative resistance and what lies beyond the first and last are left out.
    states : DataFrame
        States of all spectra.
    course : tuple of str and sequence of str
        The state along which, and the columns that distinguish series, as far as the table has them.
    known : sequence of Known
        Processes whose range of τ is known.
    """
    from drt_engine.peaks import without_edges
    from drt_engine.tracking import track
    from drt_engine.tracking.tracks import no_tracks

    along, series = course
    if along not in states.columns:
        names = ", ".join(map(str, states.columns)) or "none"
        raise input_error(f"--along {along!r} is not a state; there are {names}.")
    columns = [name for name in series if name in states.columns and name != along]
    peaks = without_edges(found[found["r"] > 0.0])
    if not len(peaks):
        return no_tracks(peaks, along, columns, len(states))
    return track(peaks, along, columns, states=states, known=list(known))


def placed(frame: "pd.DataFrame", parts: Sequence[Part], *, several: bool) -> "pd.DataFrame":
    """Give spectra that are numbered through all parts their rows in the file, and the names of their grids."""
    import numpy as np

    at = frame["spectrum"].to_numpy(dtype=int)
    rows = np.concatenate([part.rows for part in parts])
    frame = frame.assign(spectrum=rows[at])
    if not several:
        return frame
    names = np.repeat(np.array([part.grid for part in parts], dtype=object), [part.rows.size for part in parts])
    return frame.assign(grid=names[at])
