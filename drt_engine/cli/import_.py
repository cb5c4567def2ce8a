"""``drt-engine import``: instrument files into one campaign."""

import os
import re
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import Overwrite, app, console, for_spreadsheets, input_error, say, spelled
from drt_engine.cli.summary import state_lines
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine.readers.collect import Collected, FileReport

__all__ = ["import_"]

_MOST_NAMES, _MOST_GRIDS = 3, 9
"""Most files that a remark names, and most grids that are listed one by one: a line or two on a terminal."""
_CAMPAIGNS = (".h5", ".hdf5", ".nc")


_Name = Annotated[
    str | None,
    typer.Option(
        help="States in names of files and folders: 'EIS_{voltage}.txt', '{cell}/cycle {cycle}/EIS_{voltage}.csv'; "
        "what is in [square brackets] may be missing, {_} is no state."
    ),
]
_States = Annotated[
    Path | None,
    typer.Option(help="Table of further states, csv: by its column file, or else by cell, cycle or sweep."),
]
_Given = Annotated[
    list[str] | None,
    typer.Option("--set", help="State of all spectra, like cycle=500; may be given several times."),
]
_Columns = Annotated[
    str | None, typer.Option(help="Columns of plain tables: 'time,cycle,frequency,re,-im'; _ for none.")
]
_FlipIm = Annotated[
    bool, typer.Option("--flip-im", help="The imaginary part has the other sign than its heading says.")
]


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
    name: _Name = None,
    states: _States = None,
    given: _Given = None,
    columns: _Columns = None,
    flip_im: _FlipIm = False,
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
    from drt_engine.outputs import new_file
    from drt_engine.readers import ReadOptions
    from drt_engine.readers.collect import CollectOptions, collect

    adding = append and os.path.exists(output)
    inputs = _checked_inputs(files, states, (output, report), adding=adding, overwrite=overwrite)
    fixed = {"cell": cell, "area": area, "thickness": thickness, "temperature": temperature}
    constants = {key: value for key, value in fixed.items() if value is not None} | dict(map(_set, given or ()))
    sign: Any = decimal
    with growing(output) if adding else nullcontext():
        known, grids = known_files(output) if adding else ({}, {})
        found = collect(
            files,
            CollectOptions(
                reading=ReadOptions(columns, reader, encoding, sign, sheet, flip_im),
                name=name,
                states=states,
                constants=constants,
                unfinished=unfinished,
                known=known,
                grids=grids,
            ),
        )
        _print_report(found)
        if report is not None:
            with new_file(report, overwrite=overwrite, inputs=inputs) as partial:
                for_spreadsheets(found.report()).to_csv(partial, index=False)
        if not len(found) and not adding:
            raise input_error(_nothing(files, found))
        total = add_spectra(output, dict(found.spectra), keep=adding, overwrite=overwrite)
    _say_what_was_imported(found, total, output)
    refused = sum(one.status == "refused" for one in found.files)
    if strict and refused:
        say(f"drt-engine: {count_of(refused, 'file was', 'files were')} refused.", err=True)
        raise typer.Exit(1)


def _checked_inputs(
    files: list[Path], states: Path | None, outputs: tuple[Path, Path | None], *, adding: bool, overwrite: bool
) -> list[Path]:
    """Return all that is read, after checking that the campaign and the report can be written beside it."""
    from drt_engine.errors import OutputExistsError
    from drt_engine.outputs import check_outputs

    if not any(path.exists() for path in files):
        raise input_error(f"{files[0]}: there is no such file or folder in {os.getcwd()}. Check its name.")
    output, report = outputs
    inputs = _inputs(files, states)
    try:
        check_outputs(report, overwrite=overwrite, inputs=inputs, hdf5=(None if adding else output,))
    except OutputExistsError as error:
        raise OutputExistsError(f"{error} With --append, import adds to it.") from error
    check_outputs(overwrite=True, inputs=inputs, hdf5=(output,))
    return inputs


def _say_what_was_imported(found: "Collected", total: int, output: Path) -> None:
    import pandas as pd

    what = _on_grids([(len(some), some.frequency.size) for some in found.spectra.values()])
    if len(found):
        every = pd.concat([spectra.states for spectra in found.spectra.values()], ignore_index=True)
        say(*(f"  {line}" for line in state_lines(every)))
    say(f"{count_of(len(found), 'spectrum')} imported ({what}); {total} in the campaign.", f"  {output}")


def _on_grids(sizes: list[tuple[int, int]]) -> str:
    """Say how many spectra are on how many frequencies, grid by grid if the grids are few."""
    if len(sizes) > _MOST_GRIDS:
        least, most = (end(count for _, count in sizes) for end in (min, max))
        return f"on {len(sizes)} grids of {least} to {most} frequencies"
    return ", ".join(f"{spectra} on {count} frequencies" for spectra, count in sizes) or "none new"


def _inputs(files: list[Path], states: Path | None) -> list[Path]:
    """All that is read, but for campaigns that an earlier import left among the measurements."""
    inputs = [path for path in files if not os.path.isdir(path)] + ([] if states is None else [states])
    for folder in filter(os.path.isdir, files):
        inputs += [path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() not in _CAMPAIGNS]
    return inputs


def _set(text: str) -> tuple[str, Any]:
    from drt_engine.readers.file_states import state_value

    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise input_error(f"--set must be a state and its value, like cycle=500; got {text!r}.")
    return name, state_value(name, value)


def _nothing(files: list[Path], found: "Collected") -> str:
    where = ", ".join(map(str, files[:_MOST_NAMES])) + (", …" if len(files) > _MOST_NAMES else "")
    if not found.files:
        return f"there is nothing to import: {where} has no files. Is it the right folder?"
    if all(one.status == "no measurement" for one in found.files):
        return (
            f"there is nothing to import: none of the files of {where} is a measurement; expected are files of a "
            "potentiostat, or tables of frequency and impedance. Is it the right folder? Import one of its files by "
            "name to see what is not understood."
        )
    return f"there is nothing to import from {where}. The report above says why."


def _print_report(found: "Collected") -> None:
    """Say how many files were read, and each remark once with the files that it is of."""
    counts = Counter(one.status for one in found.files)
    words = {"read": "read", "left out": "left out", "refused": "refused", "no measurement": "no measurement"}
    say(
        f"{count_of(len(found.files), 'file')}: "
        + ", ".join(f"{counts[key]} {words[key]}" for key in words if counts[key])
        + "."
    )
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one in found.files:
        for text in _texts(one):
            groups.setdefault((one.status, _without_numbers(text)), []).append((one.source, text))
    width = max(40, console().width - 4)
    order = list(words)
    for (status, _), some in sorted(groups.items(), key=lambda item: order.index(item[0][0])):
        names = list(dict.fromkeys(source for source, _ in some))
        shown = ", ".join(names[:_MOST_NAMES])
        if len(names) > _MOST_NAMES:
            shown += f" and {len(names) - _MOST_NAMES} more"
        say(f"{words[status]}: {shown}")
        if some[0][1]:
            say(*(f"    {line}" for line in textwrap.wrap(some[0][1], width)))
    say(*map(spelled, found.remarks))


def _without_numbers(text: str) -> str:
    """Return what remarks have in common that differ in a line or in a number, and so in "1 row" and "2 rows"."""
    return re.sub(r"\d[\d.]*(?:e[+-]?\d+)?", "#", re.sub(r"\b(?:is|are)\b|(?<=[a-z])s\b", "", text))


def _texts(one: "FileReport") -> list[str]:
    """Return what is said of a file, in the spelling of the command line; the name of the file stands beside it."""
    if one.status == "no measurement":
        return [""]
    if not one.error:
        return [spelled(remark) for remark in one.remarks]
    path = re.match(rf"[^']*?{re.escape(os.path.basename(one.source))}(?:[,:] | (?=\[))", one.error)
    return [spelled(one.error[path.end() :] if path else one.error)]
