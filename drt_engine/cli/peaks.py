"""``drt-engine peaks``: the processes in a file of inversions, as tables and figures."""

import re
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import Overwrite, app, for_spreadsheets, input_error, say

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from drt_engine.result import Inversion
    from drt_engine.tracking import Known, Tracks

__all__ = ["peaks"]

_LONGEST_STEM = 100
_EXPORTED = ("r", "r_error", "tau", "tau_error", "c", "c_error")


@app.command(
    epilog="Example: drt-engine peaks campaign.drt.h5 --spectra campaign.h5 -o parts.csv --along voltage "
    "--store processes.h5 --tracks processes.csv --tables by-series --figure processes.pdf"
)
def peaks(
    file: Annotated[Path, typer.Argument(help="File of inversions.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table of peaks or elements, csv.")] = Path(
        "peaks.csv"
    ),
    spectra: Annotated[
        Path | None, typer.Option(help="File of the spectra: elements with standard errors are fitted to them.")
    ] = None,
    shape: Annotated[str, typer.Option(help="Form of the elements: zarc, havriliak-negami, gaussian.")] = "zarc",
    elements: Annotated[
        int | None, typer.Option(help="Number of elements of every spectrum, instead of choosing it.")
    ] = None,
    capacitance: Annotated[
        bool | None,
        typer.Option(help="Whether elements stand in series with 1/(jωC); by default as they were inverted."),
    ] = None,
    along: Annotated[str | None, typer.Option(help="State along which processes are followed.")] = None,
    series: Annotated[
        str, typer.Option(help="State columns that tell series apart.")
    ] = "cell,channel,electrode,cycle,direction",
    known: Annotated[
        list[str] | None,
        typer.Option(help="Process that is known, by its range of τ in s: 'anode=0.01:1'; repeatable."),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="File of the processes (HDF5), which plot draws from.")] = None,
    tracks: Annotated[Path | None, typer.Option(help="Table of the processes, csv: one row an observation.")] = None,
    tables: Annotated[
        Path | None, typer.Option(help="Folder for a csv of each series: one row a state, processes side by side.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="R, τ and C of each process; its ending is its format.")] = None,
    where: Annotated[str | None, typer.Option(help="Which spectra: a condition on the states.")] = None,
    name: Annotated[str | None, typer.Option(help="Inversion, if the file has several.")] = None,
    grid: Annotated[str | None, typer.Option(help="Grid, if the file has several.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the peaks of γ, or fit its elements, and follow them as processes across the states.

    The column spectrum of all tables is the row of the inversion, from 0, whichever were chosen.
    """
    import numpy as np

    from drt_engine.cli.plot import as_taken, other_contents
    from drt_engine.hdf5 import read_inversion, read_spectra
    from drt_engine.outputs import check_outputs
    from drt_engine.peaks import DeconvolutionOptions, without_edges
    from drt_engine.selection import rows_where

    if along is None and any(option is not None for option in (store, tracks, tables, figure)):
        raise input_error(
            "--store, --tracks, --tables and --figure follow processes along a state. Name it: --along voltage."
        )
    inputs = (file, spectra)
    check_outputs(output, tracks, figure, overwrite=overwrite, inputs=inputs, hdf5=(store,))
    pins = [_known(text) for text in known or ()]
    result = read_inversion(file, name, grid)
    measured = None if spectra is None else as_taken(read_spectra(spectra, grid), file, name)
    if spectra is not None and (older := other_contents(spectra, file, name)) is not None:
        say(f"drt-engine: {older}", err=True)
    rows = np.arange(len(result)) if where is None else rows_where(result.states, where)
    result, measured = result[rows], None if measured is None else measured[rows]
    columns = [column for column in series.split(",") if column in result.states.columns]
    if measured is None:
        found = result.peaks()
    else:
        given: Any = shape  # DeconvolutionOptions checks it
        options = DeconvolutionOptions(shape=given, elements=elements, capacitance=capacitance)
        found = result.deconvolve(measured, options, series=columns, along=along).elements
    written = [(output, _numbered(found, rows))]
    what, beyond = "peaks" if measured is None else "elements", len(found) - len(without_edges(found))
    rest = f", {beyond} rows beyond the first or last peak" if beyond else ""
    say(f"{len(found) - beyond} {what} in {len(result)} spectra{rest}.")
    followed = None
    if along is not None:
        followed = _followed(without_edges(found[found["r"] > 0.0]), result, (along, columns), pins, rows)
        if tracks is not None:
            written.append((tracks, followed.table))
        if tables is not None:
            tables.mkdir(parents=True, exist_ok=True)
            written += [(tables / f"{stem}.csv", wide) for stem, wide in _by_series(followed)]
    # Again, now that all names are known: one that is refused must not leave half of the others.
    check_outputs(*(path for path, _ in written), figure, overwrite=overwrite, inputs=inputs, hdf5=(store,))
    _write(written, followed, (store, figure), inputs, overwrite)
    for path in filter(None, (output, store, tracks, tables, figure)):
        say(f"  {path}")


def _known(text: str) -> "Known":
    from drt_engine.tracking import Known

    name, _, ends = text.rpartition("=")
    try:
        low, high = (float(end) for end in ends.split(":"))
    except ValueError:
        raise input_error(f"--known must be NAME=LOW:HIGH with relaxation times in s; got {text!r}.") from None
    return Known(name, (low, high))


def _followed(
    found: "pd.DataFrame",
    result: "Inversion",
    course: tuple[str, list[str]],
    known: "list[Known]",
    rows: "NDArray[np.intp]",
) -> "Tracks":
    from drt_engine.tracking import track
    from drt_engine.tracking.tracks import no_tracks

    along, series = course
    if along not in result.states.columns:
        raise input_error(f"--along {along!r} is no state; there are {', '.join(result.states.columns) or 'none'}.")
    if len(found):
        followed = track(found, along, series, states=result.states, known=known)
    else:
        followed = no_tracks(found, along, series, len(result))
    names = ", ".join(map(str, followed.names)) or "none"
    say(f"{len(followed.names)} processes: {names}; {len(followed.unassigned)} peaks belong to none.")
    return replace(
        followed,
        table=_numbered(followed.table, rows),
        events=_numbered(followed.events, rows),
        unassigned=_numbered(followed.unassigned, rows),
    )


def _numbered(frame: "pd.DataFrame", rows: "NDArray[np.intp]") -> "pd.DataFrame":
    """Give spectra the numbers that they have in the file of inversions."""
    return frame.assign(spectrum=rows[frame["spectrum"].to_numpy(dtype=int)])


def _write(
    tables: "list[tuple[Path, pd.DataFrame]]",
    followed: "Tracks | None",
    others: tuple[Path | None, Path | None],
    inputs: tuple[Path | None, ...],
    overwrite: bool,
) -> None:
    from drt_engine.hdf5 import write_tracks
    from drt_engine.outputs import new_file
    from drt_engine.plotting import nothing, processes, save

    for path, table in tables:
        with new_file(path, overwrite=overwrite, inputs=inputs) as partial:
            for_spreadsheets(table).to_csv(partial, index=False)
    store, figure = others
    if followed is not None and store is not None:
        write_tracks(store, followed, source=inputs[0], overwrite=overwrite)
    if followed is not None and figure is not None:
        drawn = processes(followed) if len(followed.table) else nothing("no process")
        save(drawn, figure, overwrite=overwrite)


def _by_series(followed: "Tracks") -> "list[tuple[str, pd.DataFrame]]":
    """One table a series, with a name for its file: one row a state, the processes side by side."""
    table = followed.table
    values = [column for column in _EXPORTED if column in table.columns]
    series = list(followed.series)
    groups = table.groupby(series, sort=True, observed=True, dropna=False) if series else [((), table)]
    wide: list[tuple[str, pd.DataFrame]] = []
    taken: set[str] = set()
    for key, part in groups if len(table) else ():
        # Each pair is there once, so there is nothing to aggregate: pivot would raise, pivot_table would hide it.
        frame = part.pivot(index=[followed.along, "spectrum"], columns="process", values=values)  # noqa: PD010
        order = [(value, name) for name in followed.names for value in values if (value, name) in frame.columns]
        frame = frame[order].sort_index()
        frame.columns = [f"{name} {value}" for value, name in order]
        stem = " ".join(f"{column}-{value}" for column, value in zip(series, key, strict=True)) or "all"
        stem = short = re.sub(r"[^\w.+-]+", "_", stem)[:_LONGEST_STEM]
        # Names that differ in other signs, or in capitals where a file system knows none, are not one file.
        for number in count(2):
            if stem.casefold() not in taken:
                break
            stem = f"{short}-{number}"
        taken.add(stem.casefold())
        wide.append((stem, frame.reset_index()))
    return wide
