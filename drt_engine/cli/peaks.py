"""``drt-engine peaks``: the processes in a file of inversions, as tables and figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import app, input_error

if TYPE_CHECKING:
    import pandas as pd

    from drt_engine.result import Inversion
    from drt_engine.spectra import Spectra

__all__ = ["peaks"]


@app.command(
    epilog="Example: drt-engine peaks campaign.drt.h5 --spectra campaign.h5 -o parts.csv --along voltage "
    "--tracks processes.csv --figure processes.pdf"
)
def peaks(
    file: Annotated[Path, typer.Argument(help="File of inversions.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table of peaks or parts, csv.")] = Path("peaks.csv"),
    spectra: Annotated[
        Path | None, typer.Option(help="File of the spectra: parts with standard errors are fitted to them.")
    ] = None,
    shape: Annotated[str, typer.Option(help="Form of the parts: zarc, havriliak-negami, gaussian.")] = "zarc",
    along: Annotated[str | None, typer.Option(help="State along which processes are followed.")] = None,
    series: Annotated[str, typer.Option(help="State columns that tell series apart.")] = "cell,cycle,direction",
    tracks: Annotated[Path | None, typer.Option(help="Table of the processes, csv.")] = None,
    figure: Annotated[Path | None, typer.Option(help="R, τ and C of each process; its ending is its format.")] = None,
    where: Annotated[str | None, typer.Option(help="Which spectra: a condition on the states.")] = None,
    name: Annotated[str | None, typer.Option(help="Inversion, if the file has several.")] = None,
    grid: Annotated[str | None, typer.Option(help="Grid, if the file has several.")] = None,
) -> None:
    """Find the peaks of γ, or fit its parts, and follow them as processes across the states."""
    from drt_engine.cli.plot import as_taken
    from drt_engine.hdf5 import read_inversion, read_spectra
    from drt_engine.spectra import rows_where

    if along is None and (tracks is not None or figure is not None):
        raise input_error("--tracks and --figure follow processes along a state. Name it: --along voltage.")
    result = read_inversion(file, name, grid)
    measured = None if spectra is None else as_taken(read_spectra(spectra, grid), file, name)
    if where is not None:
        rows = rows_where(result.states, where)
        result, measured = result[rows], None if measured is None else measured[rows]
    known = [column for column in series.split(",") if column in result.states.columns]
    found = _found(result, measured, shape, known, along)
    found.to_csv(output, index=False)
    what = "peaks" if measured is None else "parts"
    typer.echo(f"{len(found)} {what} in {len(result)} spectra.\n  {output}")
    if along is not None:
        _follow(found[found["r"] > 0.0], result, along, known, (tracks, figure))


def _found(
    result: "Inversion", measured: "Spectra | None", shape: str, series: list[str], along: str | None
) -> "pd.DataFrame":
    if measured is None:
        return result.peaks()
    from drt_engine.peaks import DeconvolutionOptions

    given: Any = shape  # DeconvolutionOptions checks it
    return result.deconvolve(measured, DeconvolutionOptions(shape=given), series=series, along=along).parts


def _follow(
    found: "pd.DataFrame", result: "Inversion", along: str, series: list[str], files: tuple[Path | None, Path | None]
) -> None:
    from drt_engine.plotting import processes, save
    from drt_engine.tracking import track

    followed = track(found, along, series, states=result.states)
    table, figure = files
    names = ", ".join(map(str, followed.names)) or "none"
    typer.echo(f"{len(followed.names)} processes: {names}; {len(followed.unassigned)} peaks belong to none.")
    if table is not None:
        followed.table.to_csv(table, index=False)
        typer.echo(f"  {table}")
    if figure is not None:
        save(processes(followed), figure)
        typer.echo(f"  {figure}")
