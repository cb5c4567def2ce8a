"""``drt-engine conductivity``, ``polarisation`` and ``composite``: conductivities of pellets and electrodes."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import Overwrite, Where, app, for_spreadsheets, input_error, say, show_table, spelled

if TYPE_CHECKING:
    import pandas as pd

    from drt_engine.spectra import Spectra

__all__ = ["Connection", "Convention", "composite", "conductivity", "polarisation"]

File = Annotated[Path, typer.Argument(help="File of spectra.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Table of all rows: csv, or HDF5 by the ending .h5.")
]
Figure = Annotated[Path | None, typer.Option(help="Figure; its ending is its format.")]
Thickness = Annotated[float | None, typer.Option(help="Thickness of all, cm, if it is no state.")]
Area = Annotated[float | None, typer.Option(help="Area of all, cm², if it is no state.")]
Level = Annotated[float, typer.Option(help="Probability of the intervals.")]


_MANY = 200
"""Spectra from which it is said beforehand how long a fit takes: a few seconds."""


class Convention(StrEnum):
    """What is linear in 1/T."""

    SIGMA_T = "ln(sigma T)"
    SIGMA = "ln(sigma)"


class Connection(StrEnum):
    """What is at the faces of a composite electrode."""

    EE = "ee"
    II = "ii"
    IE = "ie"


@app.command(
    epilog="Example: drt-engine conductivity pellets.h5 --thickness 0.05 --area 0.785 -o sigma.csv --arrhenius ea.csv"
)
def conductivity(
    file: File,
    output: Output = None,
    arcs: Annotated[Path | None, typer.Option(help="Table of arcs, csv.")] = None,
    arrhenius: Annotated[Path | None, typer.Option(help="Table of activation energies, csv.")] = None,
    figure: Figure = None,
    series: Annotated[str, typer.Option(help="States that distinguish series of temperatures.")] = "sample",
    convention: Annotated[Convention, typer.Option(help="What is linear in 1/T.")] = Convention.SIGMA_T,
    thickness: Thickness = None,
    area: Area = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of all, °C, if it is no state.")] = None,
    contact: Annotated[float, typer.Option(help="Resistance of contacts that is subtracted, ohm.")] = 0.0,
    where: Where = None,
    level: Level = 0.95,
    overwrite: Overwrite = False,
) -> None:
    """Find the conductivity of pellets between blocking electrodes, and activation energies.

    The figure is the Arrhenius plot where there are several temperatures, else the Nyquist plot.
    """
    from drt_engine import conductivity as find

    _check(output, arcs, arrhenius, figure, overwrite=overwrite, inputs=(file,))
    parts = _spectra(file, where, thickness=thickness, area=area, temperature=temperature)
    if (count := sum(map(len, parts))) > _MANY:
        say(f"Fitting {count} spectra, some ten milliseconds each.")
    result = find(parts, contact=contact, level=level)
    table = result.table
    _show(table, ("sample", "cell", "temperature"), ("r_total", "sigma", "sigma_low", "sigma_high"))
    _write(table, output, overwrite=overwrite, inputs=(file,))
    _write(result.arcs, arcs, overwrite=overwrite, inputs=(file,))
    known = "temperature" in table.columns and len(set(table["temperature"].tolist())) > 1
    lines = result.arrhenius(series.split(","), convention.value) if known or arrhenius else None
    if lines is not None:
        _show(lines.table, (*series.split(","), "quantity"), ("ea", "ea_low", "ea_high", "sigma_25"))
        _write(lines.table, arrhenius, overwrite=overwrite, inputs=(file,))
    if figure is not None:
        from drt_engine import plotting

        drawn: Any
        if lines is not None and known:
            drawn = plotting.arrhenius(lines)
        else:
            drawn = plotting.total_resistance(_only(parts), result)
        plotting.save(drawn, figure, overwrite=overwrite)
        say(f"  {figure}")


@app.command(
    epilog="Example: drt-engine polarisation steps.mpt --thickness 0.047 --area 0.785 -o dc.csv --figure dc.png"
)
def polarisation(
    files: Annotated[list[Path], typer.Argument(help="Files of potentiostats, or csv with time, voltage, current.")],
    output: Output = None,
    steps: Annotated[Path | None, typer.Option(help="Table of steps, csv.")] = None,
    figure: Figure = None,
    thickness: Thickness = None,
    area: Area = None,
    floor: Annotated[float, typer.Option(help="Smallest current that the instrument resolves, A.")] = 0.0,
    level: Level = 0.95,
    overwrite: Overwrite = False,
) -> None:
    """Find steady states of steps by extrapolation, and the resistance to direct current."""
    from drt_engine import polarisation as find
    from drt_engine import read_traces

    _check(output, steps, figure, overwrite=overwrite, inputs=files)
    states = {name: value for name, value in (("thickness", thickness), ("area", area)) if value is not None}
    result = find([one.with_states(**states) for one in read_traces(files)], floor=floor, level=level)
    _show(result.steps, ("sample", "controlled"), ("level", "steady", "steady_low", "steady_high", "ratio"))
    _show(result.table, ("sample", "cell"), ("resistance", "resistance_low", "resistance_high", "sigma"))
    _write(result.table, output, overwrite=overwrite, inputs=files)
    _write(result.steps, steps, overwrite=overwrite, inputs=files)
    if figure is not None:
        from drt_engine import plotting

        plotting.save(plotting.polarisation(result), figure, overwrite=overwrite)
        say(f"  {figure}")


@app.command(
    epilog="Example: drt-engine composite cathodes.h5 --connection ee --dc steps.mpt -o rails.csv --figure s.png"
)
def composite(
    file: File,
    connection: Annotated[Connection, typer.Option(help="Faces: ee metal, ii electrolyte, ie one of each.")],
    output: Output = None,
    figure: Figure = None,
    separator: Annotated[float, typer.Option(help="Resistance of separators that is subtracted, ohm.")] = 0.0,
    contact: Annotated[float, typer.Option(help="Resistance of contacts that is subtracted, ohm.")] = 0.0,
    dc: Annotated[list[Path] | None, typer.Option(help="Files of direct-current polarisation of the same.")] = None,
    thickness: Thickness = None,
    area: Area = None,
    where: Where = None,
    level: Level = 0.95,
    overwrite: Overwrite = False,
) -> None:
    """Find ionic and electronic conductivity of composite electrodes by a transmission line."""
    from drt_engine import composite as find
    from drt_engine import polarisation as polarise
    from drt_engine import read_traces

    _check(output, figure, overwrite=overwrite, inputs=(file, *(dc or ())))
    parts = _spectra(file, where, thickness=thickness, area=area, temperature=None)
    steps = polarise(read_traces(dc), level=level) if dc else None
    result = find(parts, connection.value, separator=separator, contact=contact, dc=steps, level=level)
    _show(result.table, ("sample", "cell"), ("r_ion", "r_e", "sigma_ion", "sigma_e", "sigma_dc"))
    _write(result.table, output, overwrite=overwrite, inputs=(file,))
    if figure is not None:
        from drt_engine import plotting

        plotting.save(plotting.conductivities(result), figure, overwrite=overwrite)
        say(f"  {figure}")


def _check(*outputs: Path | None, overwrite: bool, inputs: Any) -> None:
    from drt_engine.outputs import check_outputs

    hdf5 = [path for path in outputs if _is_hdf5(path)]
    check_outputs(*(path for path in outputs if path not in hdf5), overwrite=overwrite, inputs=tuple(inputs), hdf5=hdf5)


def _is_hdf5(path: Path | None) -> bool:
    return path is not None and path.suffix.lower() in (".h5", ".hdf5")


def _spectra(file: Path, where: str | None, **states: float | None) -> "list[Spectra]":
    """Read all grids, with states that the command line gives in the place of those of the file."""
    from drt_engine.hdf5 import read_spectra, scan
    from drt_engine.selection import rows_where

    given = {name: value for name, value in states.items() if value is not None}
    parts = []
    for info in scan(file).spectra:
        spectra = read_spectra(file, info.grid)
        if where is not None:
            spectra = spectra[rows_where(spectra.states, where)]
        if len(spectra):
            parts.append(spectra.with_states(**given))
    if not parts:
        raise input_error(f"there are no spectra in {file}.")
    return parts


def _only(parts: "list[Spectra]") -> "Spectra":
    if len(parts) > 1:
        raise input_error(f"--figure draws one grid; the file has {len(parts)}. Choose with --where.")
    return parts[0]


def _show(table: "pd.DataFrame", states: "tuple[str, ...]", numbers: "tuple[str, ...]") -> None:
    """Print the first rows of a table, and what each of its remarks means."""
    from drt_engine.transport.flags import Flag

    names = [name for name in dict.fromkeys(states) if name in table.columns]
    rows = [
        (*(row[name] for name in names), *(f"{row[name]:.4g}" for name in numbers), row["remarks"])
        for row in table.head(40).to_dict("records")
    ]
    show_table((*names, *numbers, "remarks"), rows, left=(*names, "remarks"))
    if len(table) > 40:
        say(f"  and {len(table) - 40} more")
    for flag in Flag:
        count = int(((table["status"] & int(flag)) != 0).sum()) if "status" in table.columns and flag else 0
        if count:
            word = str(flag.name).lower().replace("_", " ")
            say(f"  {count} of {len(table)} {word}: {spelled(flag.message)}")


def _write(table: "pd.DataFrame", output: Path | None, *, overwrite: bool, inputs: Any) -> None:
    from drt_engine.outputs import new_file

    if output is None:
        return
    if _is_hdf5(output):
        from drt_engine.hdf5 import write_conductivity

        write_conductivity(output, table, overwrite=overwrite)
    else:
        with new_file(output, overwrite=overwrite, inputs=tuple(inputs)) as partial:
            for_spreadsheets(table).to_csv(partial, index=False)
    say(f"  {output}")
