"""``drt-engine export``: the numbers in a file, to plot or to go on with elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import Grid, InversionName, Overwrite, Where, app, input_error, say
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine.hdf5 import Contents
    from drt_engine.result import Inversion
    from drt_engine.spectra import Spectra

__all__ = ["export"]


@app.command(
    epilog="Example: drt-engine export campaign.drt.h5 --spectra campaign.h5 -o campaign.xlsx"
    "\n\nFor plotting programs: drt-engine export campaign.drt.h5 --tables gamma --form columns -o gamma.csv"
)
def export(
    file: Annotated[Path, typer.Argument(help="File of inversions, of spectra or of processes.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Tables; the ending is their kind: .csv, .xlsx, .parquet.")
    ] = Path("export.xlsx"),
    tables: Annotated[
        str | None,
        typer.Option(help="Which, of results, gamma, impedance, peaks, processes, validation. [all but validation]"),
    ] = None,
    form: Annotated[
        str,
        typer.Option(help="Of gamma and impedance: long, one row a point; rows or columns, one a spectrum."),
    ] = "long",
    per_area: Annotated[bool, typer.Option("--per-area", help="In Ω cm², by the state area.")] = False,
    area: Annotated[float | None, typer.Option(help="In Ω cm², by this area of all, cm².")] = None,
    spectra: Annotated[Path | None, typer.Option(help="File of the spectra: measured impedance, validation.")] = None,
    tracks: Annotated[Path | None, typer.Option(help="File of processes (peaks --store).")] = None,
    table: Annotated[str | None, typer.Option(help="Table of processes, if that file has several.")] = None,
    where: Where = None,
    name: InversionName = None,
    grid: Grid = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the numbers in a file as tables with units in the headings."""
    from drt_engine.hdf5 import scan
    from drt_engine.outputs import check_outputs
    from drt_engine.tables import gather, put_together, write_tables

    inputs = (file, spectra, tracks)
    check_outputs(output, overwrite=True, inputs=inputs)
    contents = scan(file)
    options: dict[str, Any] = {"form": form, "area": per_area if area is None else area}
    options["which"] = None if tables is None else [part.strip() for part in tables.split(",")]
    if not contents.inversions and not contents.spectra:
        made = gather(tracks=_processes(file, table, where), **options)
    else:
        parts = {}
        for one in _grids(contents, name, grid):
            read = _read(file, (spectra, tracks), (name, one, table, grid), where)
            if read is not None:
                parts[one] = gather(*read, **options)
        if not parts:
            raise input_error(f"no spectrum in {file} is chosen by {where!r}. See drt-engine info {file}.")
        made = put_together(parts, form)
    written = write_tables(output, made, overwrite=overwrite, inputs=inputs)
    for one, frame in made.items():
        say(f"{one}: {count_of(len(frame), 'row')}, {count_of(len(frame.columns), 'column')}")
    say(*(f"  {path}" for path in written))


def _grids(contents: "Contents", name: str | None, grid: str | None) -> list[str]:
    if grid is not None:
        return [grid]
    if contents.inversions:
        return list(dict.fromkeys(found.grid for found in contents.inversions if name in (None, found.name)))
    return [found.grid for found in contents.spectra]


def _read(
    file: Path,
    others: tuple[Path | None, Path | None],
    names: tuple[str | None, str, str | None, str | None],
    where: str | None,
) -> "tuple[Inversion | None, Spectra | None, Any] | None":
    """Read what the tables of a grid are made of; None where no spectrum of it is chosen."""
    import numpy as np

    from drt_engine.cli.contents import chosen_parts, of_parts, other_contents, tracks_of
    from drt_engine.hdf5 import read_spectra, scan
    from drt_engine.selection import rows_where

    path, followed = others
    name, grid, table, wanted = names
    if not scan(file).inversions:
        own = read_spectra(file, grid)
        chosen = np.arange(len(own)) if where is None else rows_where(own.states, where)
        return (None, own[chosen], None) if chosen.size else None
    if path is not None and (older := other_contents(path, file, name)) is not None:
        raise input_error(older)
    parts = chosen_parts(file, (name, grid), where, path)
    if not parts[0].rows.size:
        return None
    tracks = None if followed is None else of_parts(tracks_of(followed, table, file), parts, file, wanted)
    return parts[0].result, parts[0].spectra, tracks


def _processes(file: Path, table: str | None, where: str | None) -> Any:
    from drt_engine.cli.contents import chosen_tracks

    return chosen_tracks(file, table, where)
