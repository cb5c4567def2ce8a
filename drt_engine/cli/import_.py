"""``drt-engine import``: instrument files into one campaign."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import Overwrite, app, console, input_error

if TYPE_CHECKING:
    from drt_engine.readers.collect import Collected

__all__ = ["import_"]

_MOST_ROWS = 40
_CAMPAIGNS = (".h5", ".hdf5", ".nc")


@app.command(
    name="import",
    epilog='Example: drt-engine import zhang2020 -o campaign.h5 --name "EIS_state_{state}_{cell}.txt" '
    "--columns time,cycle,frequency,re,-im\n\n"
    "Exit codes: 0 done, 1 done but with --strict and files that were refused, 2 wrong use or nothing to make a "
    "campaign of.",
)
def import_(
    files: Annotated[list[Path], typer.Argument(help="Files, or folders of files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of spectra.")] = Path("campaign.h5"),
    append: Annotated[bool, typer.Option("--append", help="Add to the output if it is there.")] = False,
    name: Annotated[str | None, typer.Option(help="States in the file names, like 'EIS_{state}_{cell}.txt'.")] = None,
    states: Annotated[
        Path | None, typer.Option(help="Table of further states (csv), by source, cell, cycle or sweep.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of plain tables: 'time,cycle,frequency,re,-im'; _ for none.")
    ] = None,
    cell: Annotated[str | None, typer.Option(help="Cell of all spectra.")] = None,
    area: Annotated[float | None, typer.Option(help="Electrode area of all spectra, cm².")] = None,
    thickness: Annotated[float | None, typer.Option(help="Thickness of all samples, cm.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of all spectra, °C.")] = None,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Take unfinished sweeps as well.")] = False,
    reader: Annotated[str | None, typer.Option(help="Reader, instead of finding it by content.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of text files, instead of finding it.")] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal sign of text files: '.' or ','.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of workbooks, instead of all.")] = None,
    report: Annotated[Path | None, typer.Option(help="File for the report on every file, csv.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a file was refused.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn instrument files into one campaign: spectra, with the states that they were measured at."""
    from contextlib import nullcontext

    from drt_engine.hdf5 import add_spectra, growing, known_files
    from drt_engine.outputs import check_outputs, new_file
    from drt_engine.readers import ReadOptions
    from drt_engine.readers.collect import CollectOptions, collect

    adding = append and output.exists()
    inputs = _inputs(files, states, output)
    check_outputs(report, overwrite=overwrite, inputs=inputs, hdf5=(None if adding else output,))
    check_outputs(overwrite=True, inputs=inputs, hdf5=(output,))
    constants = {"cell": cell, "area": area, "thickness": thickness, "temperature": temperature}
    given: Any = decimal
    with growing(output) if adding else nullcontext():
        known, grids = known_files(output) if adding else ({}, {})
        found = collect(
            files,
            CollectOptions(
                reading=ReadOptions(columns, reader, encoding, given, sheet),
                name=name,
                states=states,
                constants={key: value for key, value in constants.items() if value is not None},
                unfinished=unfinished,
                known=known,
                grids=grids,
            ),
        )
        _print_report(found)
        if report is not None:
            with new_file(report, overwrite=overwrite, inputs=inputs) as partial:
                found.report().to_csv(partial, index=False)
        if not len(found) and not adding:
            raise input_error("there is nothing to import. The report above says why.")
        total = add_spectra(output, dict(found.spectra), keep=adding, overwrite=overwrite)
    what = (
        ", ".join(f"{len(some)} on {some.frequency.size} frequencies" for some in found.spectra.values()) or "none new"
    )
    typer.echo(f"{len(found)} spectra imported ({what}); {total} in the campaign.\n  {output}")
    refused = sum(one.status == "refused" for one in found.files)
    if strict and refused:
        typer.echo(f"drt-engine: {refused} files were refused.", err=True)
        raise typer.Exit(1)


def _inputs(files: list[Path], states: Path | None, output: Path) -> list[Path]:
    """All that is read, but for campaigns that an earlier import left among the measurements."""
    inputs = [path for path in files if not path.is_dir()] + ([] if states is None else [states])
    for folder in filter(Path.is_dir, files):
        inputs += [path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() not in _CAMPAIGNS]
    return inputs


def _print_report(found: "Collected") -> None:
    from rich.table import Table

    table = Table(title="What was read")
    for heading in ("file", "status", "format", "sweeps", "taken", "remarks"):
        table.add_column(heading, justify="right" if heading in ("sweeps", "taken") else "left", overflow="fold")
    frame = found.report()
    # What went well needs no line where there are many; what did not always has one.
    plain = (frame["status"] == "read") & (frame["remarks"] == "")
    shown = frame if len(frame) <= _MOST_ROWS else frame[~plain]
    for row in shown.astype(str).itertuples(index=False):
        table.add_row(*row)
    if len(shown):
        console().print(table, markup=False)
    if len(shown) < len(frame):
        typer.echo(f"{len(frame) - len(shown)} more files, {frame['taken'][plain].sum()} spectra, without remarks.")
    for remark in found.remarks:
        typer.echo(remark)
