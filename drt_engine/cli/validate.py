"""``drt-engine validate``: which spectra can be trusted."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import Grid, Overwrite, Where, app, counted, for_spreadsheets, input_error, say, show_table
from drt_engine.cli.summary import named_row
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine import Inversion, Spectra
    from drt_engine.validation import Validation, ValidityTest

__all__ = ["Test", "validate"]


class Test(StrEnum):
    """Tests that ``validate`` knows."""

    __test__ = False  # for pytest, which takes it for one of its own

    KRAMERS_KRONIG = "kramers-kronig"
    Z_HIT = "z-hit"


@app.command(
    epilog="Example: drt-engine validate campaign.h5 -o validity.csv --figure validity.png --by cell,state\n\n"
    "Exit codes: 0 done, 1 done but with --strict and spectra that are not valid, 2 wrong use or input."
)
def validate(
    file: Annotated[Path, typer.Argument(help="File of spectra.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table of all spectra, csv.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Map of where data is bad; its ending is its format.")] = None,
    test: Annotated[Test, typer.Option(help="Which test.")] = Test.KRAMERS_KRONIG,
    inversion: Annotated[
        Path | None,
        typer.Option(help="Inversion of these spectra along a state: what their neighbours predict is tested, too."),
    ] = None,
    admittance: Annotated[bool, typer.Option("--admittance", help="Test the admittance.")] = False,
    where: Where = None,
    by: Annotated[str | None, typer.Option(help="State columns that the summary is divided by: 'cell,cycle'.")] = None,
    state: Annotated[str | None, typer.Option(help="State that the map is drawn over. [number of the row]")] = None,
    grid: Grid = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a spectrum is not valid.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Test whether spectra obey Kramers and Kronig: without that, their distribution means nothing."""
    import pandas as pd

    from drt_engine.hdf5 import read_spectra, scan
    from drt_engine.outputs import check_outputs, new_file
    from drt_engine.selection import rows_where
    from drt_engine.validation import validate as test_all

    inputs = (file,) if inversion is None else (file, inversion)
    check_outputs(output, figure, overwrite=overwrite, inputs=inputs)

    method = _method(test, admittance=admittance)
    names = [info.grid for info in scan(file).spectra] if grid is None else [grid]
    found: dict[str, Validation] = {}
    for name in names:
        spectra = read_spectra(file, name)
        tested: Spectra | Inversion = spectra if inversion is None else _together(inversion, name, spectra)
        if where is not None:
            tested = tested[rows_where(spectra.states, where)]
        found[name] = test_all(tested, method)
    # A grid without spectra is no more than a line of zeros, unless there is no other.
    found = {name: one for name, one in found.items() if len(one)} or dict([*found.items()][:1])
    if not found:
        raise input_error(f"{file} holds no spectra. Write them into it with drt-engine import.")
    frame = pd.concat([one.to_frame().assign(grid=name) for name, one in found.items()], ignore_index=True)
    _print_summary(found, frame, by.split(",") if by else [])
    if output is not None:
        with new_file(output, overwrite=overwrite, inputs=inputs) as partial:
            for_spreadsheets(frame).to_csv(partial, index=False)
        say(f"  {output}")
    if figure is not None:
        _draw(found, state, figure, overwrite=overwrite)
        say(f"  {figure}")
    bad = sum(int((~one.valid).sum()) for one in found.values())
    if strict and bad:
        say(f"drt-engine: {count_of(bad, 'spectrum is', 'spectra are')} not valid.", err=True)
        raise typer.Exit(1)


def _together(file: Path, grid: str, spectra: "Spectra") -> "Inversion":
    from drt_engine.hdf5 import read_inversion

    return read_inversion(file, grid=grid).with_spectra(spectra)


def _method(test: Test, *, admittance: bool) -> "ValidityTest":
    from drt_engine.validation import LinearKramersKronig, ZHit

    if test is Test.Z_HIT:
        if admittance:
            raise input_error("--admittance is for the Kramers-Kronig test; z-hit takes modulus and phase.")
        return ZHit()
    return LinearKramersKronig(representation="admittance" if admittance else "impedance")


def _say_residuals(name: str, one: "Validation") -> None:
    """Say how many spectra are valid, how noisy they are, and how large residuals are."""
    import numpy as np

    noise = 100.0 * one.noise
    known = np.isfinite(noise) & one.tested
    median = f"median noise {np.median(noise[known]):.3g} % of |Z|, " if known.any() else ""
    residual = float(np.nanmedian(one.rms)) if one.tested.any() else float("nan")
    say(
        f"{name}: {count_of(len(one), 'spectrum')}, {int(one.valid.sum())} valid, {median}median residual "
        f"{residual:.3g} %: {counted(one.counts())}"
    )
    if one.tested.any():
        worst = int(np.nanargmax(one.rms))
        say(f"  worst residual {one.rms[worst]:.3g} % ({named_row(worst, one.states)})")


def _print_summary(found: "dict[str, Validation]", frame: Any, by: list[str]) -> None:
    import numpy as np

    from drt_engine.validation import Validity

    _say_predicted(found)
    for name, one in found.items():
        _say_residuals(name, one)
        for flag in Validity:
            rows = np.flatnonzero(one.flag & np.uint16(flag)) if flag else np.empty(0, dtype=int)
            if rows.size:
                word = str(flag.name).lower().replace("_", " ")
                score = one.prediction if flag is Validity.UNPREDICTED else one.score
                worst = int(rows[np.argmax(np.nan_to_num(score[rows], nan=-np.inf))])
                size = f", score {score[worst]:.3g}" if np.isfinite(score[worst]) else ""
                say(f"  {rows.size} {word}, worst {named_row(worst, one.states)}{size}. {flag.message}")
        out = np.argwhere(one.outlier)
        if len(out):
            row, point = (int(i) for i in out[0])
            say(
                f"  {count_of(len(out), 'point is', 'points are')} off in "
                f"{count_of(len({*out[:, 0].tolist()}), 'spectrum')}, the first at {one.frequency[point]:.4g} Hz in "
                f"row {row}. drt-engine clean --outliers leaves them out."
            )
    if not by:
        return
    for column in by:
        if column not in frame.columns:
            raise input_error(f"--by {column!r} is not a state; there are {', '.join(map(str, frame.columns))}.")
    cells = []
    valid = np.concatenate([one.valid for one in found.values()])
    for key, rows in frame.assign(_valid=valid).groupby(by, sort=True, dropna=False):
        share, rms, score = 100 * rows["_valid"].mean(), rows["rms"].median(), rows["score"].median()
        cells.append((*key, len(rows), f"{share:.0f}", f"{rms:.3g}", f"{score:.3g}"))
    show_table((*by, "spectra", "valid / %", "median residual / %", "median score"), cells, left=by)


def _say_predicted(found: "dict[str, Validation]") -> None:
    import numpy as np

    error = np.concatenate([one.prediction_error for one in found.values()])
    if np.isfinite(error).any():
        missed = float(np.nanmedian(error))
        say(f"The others of its series predict a spectrum to {missed:.3g} times its noise, in the median.")


def _draw(found: "dict[str, Validation]", state: str | None, figure: Path, *, overwrite: bool) -> None:
    from drt_engine.plotting import nothing, save, validity_map, validity_residuals

    every = [one for one in found.values() if one.tested.any()]
    drawn: Any = nothing("no spectra")
    if len(every) == 1 and int(every[0].tested.sum()) == 1:
        drawn = validity_residuals(every[0][every[0].tested])
    elif every:
        drawn = validity_map(every) if state is None else validity_map(every, state)
    save(drawn, figure, overwrite=overwrite)
