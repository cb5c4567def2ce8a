"""``drt-engine plot``: figures of the distributions in a file."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import app, input_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from drt_engine.result import Inversion
    from drt_engine.spectra import Spectra

__all__ = ["Kind", "as_taken", "plot"]


class Kind(StrEnum):
    """Figures that ``plot`` draws."""

    COMPOSITE = "composite"
    NYQUIST = "nyquist"
    BODE = "bode"
    RESIDUALS = "residuals"
    GAMMA = "gamma"
    WATERFALL = "waterfall"
    HEAT_MAP = "heat-map"


@app.command(
    epilog="Example: drt-engine plot campaign.drt.h5 --where \"cell == 'C' and cycle == 1 and direction == 'charge'\""
)
def plot(
    file: Annotated[Path, typer.Argument(help="File of inversions.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure; its ending is its format.")] = Path("drt.pdf"),
    kind: Annotated[Kind, typer.Option(help="What to draw.")] = Kind.WATERFALL,
    spectra: Annotated[Path | None, typer.Option(help="File of the spectra, for the kinds that show them.")] = None,
    state: Annotated[str, typer.Option(help="State that the spectra are drawn over or coloured by.")] = "voltage",
    where: Annotated[str | None, typer.Option(help="Which spectra: a condition on the states.")] = None,
    profile: Annotated[Path | None, typer.Option(help="Voltage profile, csv, for the composite.")] = None,
    name: Annotated[str | None, typer.Option(help="Inversion, if the file has several.")] = None,
    grid: Annotated[str | None, typer.Option(help="Grid, if the file has several.")] = None,
) -> None:
    """Draw a figure of the distributions in a file."""
    from drt_engine.hdf5 import read_inversion, read_spectra
    from drt_engine.plotting import save
    from drt_engine.spectra import rows_where

    result = read_inversion(file, name, grid)
    measured = None if spectra is None else as_taken(read_spectra(spectra, grid), file, name)
    if measured is not None and len(measured) != len(result):
        raise input_error(f"{spectra} has {len(measured)} spectra and {file} has {len(result)} inversions.")
    if where is not None:
        rows = rows_where(result.states, where)
        if not rows.size:
            raise input_error(f"--where {where!r} holds for none of the {len(result)} spectra.")
        result, measured = result[rows], None if measured is None else measured[rows]
    save(_figure(kind, result, measured, state, profile), output)
    typer.echo(f"{len(result)} spectra drawn.\n  {output}")


def as_taken(spectra: "Spectra", file: Path, name: str | None) -> "Spectra":
    """Those of the spectra that went into an inversion."""
    from drt_engine.hdf5 import scan
    from drt_engine.spectra import rows_where

    taken = {found.where for found in scan(file).inversions if name in (None, found.name)}
    where = taken.pop() if len(taken) == 1 else None
    return spectra if where is None else spectra[rows_where(spectra.states, where)]


def _figure(kind: Kind, result: "Inversion", spectra: "Spectra | None", state: str, profile: Path | None) -> "Figure":
    from drt_engine import plotting

    if kind in (Kind.GAMMA, Kind.WATERFALL, Kind.HEAT_MAP):
        draw: Callable[..., Any] = getattr(plotting, kind.value.replace("-", "_"))
        axes = draw(result, state=state)
    elif spectra is None:
        raise input_error(f"a figure of kind {kind.value} shows measured spectra. Name their file: --spectra.")
    elif kind is Kind.COMPOSITE:
        curve = None
        if profile is not None:
            import pandas as pd

            curve = pd.read_csv(profile)
        return plotting.composite(spectra, result, curve, state=state)
    else:
        axes = getattr(plotting, kind.value)(spectra, result, state=state)
    figure: Figure = (axes[0] if isinstance(axes, tuple) else axes).figure
    return figure
