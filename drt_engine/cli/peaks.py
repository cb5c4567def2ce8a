"""``drt-engine peaks``: the processes in a file of inversions, as tables and figures."""

import re
from dataclasses import replace
from itertools import accumulate, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import InversionName, Overwrite, Where, app, for_spreadsheets, input_error, say
from drt_engine.cli.contents import SERIES
from drt_engine.text import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from drt_engine.cli.contents import Part
    from drt_engine.tracking import Known, Tracks

__all__ = ["peaks"]

_LONGEST_STEM = 100  # a name has at most 255 bytes on usual disks
_FOLLOWED = ("table", "events", "unassigned")
_EXPORTED = ("r", "r_error", "tau", "tau_error", "c", "c_error")


_Spectra = Annotated[
    Path | None,
    typer.Option(
        help="File of the spectra, if the file of inversions has none: elements with standard errors are fitted. "
        "So they are with --elements, --shape or --capacitance."
    ),
]
_Shape = Annotated[str | None, typer.Option(help="Form of the elements: zarc, havriliak-negami, gaussian. [zarc]")]
_Elements = Annotated[int | None, typer.Option(help="Number of elements of every spectrum, instead of choosing it.")]
_Capacitance = Annotated[
    bool | None,
    typer.Option(help="Whether elements stand in series with 1/(jωC); by default as they were inverted."),
]
_Known = Annotated[
    list[str] | None,
    typer.Option(help="Process that is known, by its range of τ in s: 'anode=0.01:1'; repeatable."),
]
_Tables = Annotated[
    Path | None, typer.Option(help="Folder for a csv of each series: one row a state, processes side by side.")
]


@app.command(
    epilog="Example: drt-engine peaks campaign.drt.h5 --spectra campaign.h5 -o parts.csv --along voltage "
    "--store processes.h5 --tracks processes.csv --tables by-series --figure processes.pdf"
)
def peaks(
    file: Annotated[Path, typer.Argument(help="File of inversions.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table of peaks or elements, csv.")] = Path(
        "peaks.csv"
    ),
    spectra: _Spectra = None,
    shape: _Shape = None,
    elements: _Elements = None,
    capacitance: _Capacitance = None,
    along: Annotated[str | None, typer.Option(help="State along which processes are followed.")] = None,
    series: Annotated[str, typer.Option(help="State columns that distinguish series.")] = SERIES,
    known: _Known = None,
    store: Annotated[Path | None, typer.Option(help="File of the processes (HDF5), which plot draws from.")] = None,
    tracks: Annotated[Path | None, typer.Option(help="Table of the processes, csv: one row an observation.")] = None,
    tables: _Tables = None,
    figure: Annotated[Path | None, typer.Option(help="R, τ and C of each process; its ending is its format.")] = None,
    where: Where = None,
    name: InversionName = None,
    grid: Annotated[str | None, typer.Option(help="Grid, if the file has several.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the peaks of γ, or fit its elements, and follow them as processes across the states.

    The column spectrum of all tables is the row of the inversion, from 0, whichever were chosen. The peaks of several
    grids stand in one table, with the column grid, and are followed together.
    """
    from drt_engine.cli.contents import chosen_parts, followed, grids_of, placed, states_of
    from drt_engine.outputs import check_outputs

    if along is None and any(option is not None for option in (store, tracks, tables, figure)):
        raise input_error(
            "--store, --tracks, --tables and --figure follow processes along a state. Name it: --along voltage."
        )
    inputs = (file, spectra)
    check_outputs(output, tracks, figure, overwrite=overwrite, inputs=inputs, hdf5=(store,))
    pins = [_known(text) for text in known or ()]
    parts = chosen_parts(file, (name, grid), where, spectra)
    several = len(grids_of(file, name, None)) > 1
    fitted = spectra is not None or shape is not None or elements is not None or capacitance is not None
    how = (shape or "zarc", elements, capacitance), (series.split(","), along)
    every = _every_row(parts, [_elements(part, *how) if fitted else part.result.peaks() for part in parts])
    _say_how_many(every, parts, "element" if fitted else "peak")
    written, course = [(output, placed(every, parts, several=several))], None
    if along is not None:
        course = followed(every, states_of(parts), (along, series.split(",")), pins)
        names = ", ".join(map(str, course.names)) or "none"
        loose = count_of(len(course.unassigned), "peak belongs", "peaks belong")
        say(f"{count_of(len(course.names), 'process')}: {names}; {loose} to none.")
        own_rows: dict[str, Any] = {key: placed(getattr(course, key), parts, several=several) for key in _FOLLOWED}
        course = replace(course, **own_rows)
        written += _tables_of(course, tracks, tables)
    _write(written, course, (store, figure), inputs, overwrite)
    say(*(f"  {path}" for path in (output, store, tracks, tables, figure) if path is not None))


def _every_row(parts: "Sequence[Part]", found: "Sequence[pd.DataFrame]") -> "pd.DataFrame":
    """Rows of all grids in one table, with spectra numbered over all grids."""
    import pandas as pd

    first = accumulate((part.rows.size for part in parts[:-1]), initial=0)
    counted = [own.assign(spectrum=own["spectrum"] + start) for own, start in zip(found, first, strict=True)]
    # Those without a row as well may have states that others do not have.
    columns = dict.fromkeys(name for one in counted for name in one.columns)
    every = pd.concat([one for one in counted if len(one)] or counted[:1], ignore_index=True)
    return every.reindex(columns=[*columns])


def _say_how_many(every: "pd.DataFrame", parts: "Sequence[Part]", what: str) -> None:
    from drt_engine.peaks import without_edges

    beyond = len(every) - len(without_edges(every))
    rest = f", {count_of(beyond, 'row')} beyond the first or last peak" if beyond else ""
    grids = f" on {len(parts)} grids" if len(parts) > 1 else ""
    spectra = count_of(sum(part.rows.size for part in parts), "spectrum")
    say(f"{count_of(len(every) - beyond, what)} in {spectra}{grids}{rest}.")


def _elements(
    part: "Part", options: tuple[str, int | None, bool | None], course: tuple[list[str], str | None]
) -> "pd.DataFrame":
    """Fit elements with standard errors to the spectra of a grid."""
    from drt_engine.peaks import DeconvolutionOptions

    shape, elements, capacitance = options
    given: Any = shape  # DeconvolutionOptions checks it
    columns = [column for column in course[0] if column in part.result.states.columns]
    chosen = DeconvolutionOptions(shape=given, elements=elements, capacitance=capacitance)
    return part.result.deconvolve(part.spectra, chosen, series=columns, along=course[1]).elements


def _tables_of(followed: "Tracks", tracks: Path | None, tables: Path | None) -> "list[tuple[Path, pd.DataFrame]]":
    written = [] if tracks is None else [(tracks, followed.table)]
    if tables is not None:
        tables.mkdir(parents=True, exist_ok=True)
        written += [(tables / f"{stem}.csv", wide) for stem, wide in _by_series(followed)]
    return written


def _known(text: str) -> "Known":
    from drt_engine.tracking import Known

    name, _, ends = text.rpartition("=")
    try:
        low, high = (float(end) for end in ends.split(":"))
    except ValueError:
        raise input_error(f"--known must be NAME=LOW:HIGH with relaxation times in s; got {text!r}.") from None
    return Known(name, (low, high))


def _write(
    tables: "list[tuple[Path, pd.DataFrame]]",
    followed: "Tracks | None",
    others: tuple[Path | None, Path | None],
    inputs: tuple[Path | None, ...],
    overwrite: bool,
) -> None:
    from drt_engine.hdf5 import write_tracks
    from drt_engine.outputs import check_outputs, new_file
    from drt_engine.plotting import nothing, processes, save

    store, figure = others
    # Again, now that all names are known: one that is refused must not leave half of the others.
    check_outputs(*(path for path, _ in tables), figure, overwrite=overwrite, inputs=inputs, hdf5=(store,))
    for path, table in tables:
        with new_file(path, overwrite=overwrite, inputs=inputs) as partial:
            for_spreadsheets(table).to_csv(partial, index=False)
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
        index = [followed.along, *(["grid"] if "grid" in part.columns else []), "spectrum"]
        frame = part.pivot(index=index, columns="process", values=values)  # noqa: PD010 - each cell has one value
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
