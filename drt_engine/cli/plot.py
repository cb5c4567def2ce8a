"""``drt-engine plot``: figures of the distributions in a file, and of the processes in them."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import Overwrite, app, input_error, say

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from drt_engine.result import Inversion
    from drt_engine.spectra import Spectra
    from drt_engine.tracking import Tracks

__all__ = ["Kind", "View", "as_taken", "chosen_tracks", "of_rows", "other_contents", "plot", "tracks_of"]


class Kind(StrEnum):
    """Figures that ``plot`` draws."""

    COMPOSITE = "composite"
    AGEING = "ageing"
    PROCESSES = "processes"
    NYQUIST = "nyquist"
    BODE = "bode"
    RESIDUALS = "residuals"
    GAMMA = "gamma"
    WATERFALL = "waterfall"
    HEAT_MAP = "heat-map"


class View(StrEnum):
    """How composite figures show the distributions."""

    WATERFALL = "waterfall"
    HEAT_MAP = "heat-map"


class Undetermined(StrEnum):
    """How observations of processes are drawn that may be none."""

    GREY = "grey"
    HIDE = "hide"
    SHOW = "show"


_TRACED = (Kind.COMPOSITE, Kind.AGEING, Kind.PROCESSES, Kind.WATERFALL, Kind.HEAT_MAP)


@dataclass(frozen=True)
class _Shown:
    """What a figure may show."""

    result: "Inversion"
    spectra: "Spectra | None"
    tracks: "Tracks | None"
    profile: "pd.DataFrame | None"
    state: str
    view: View
    cycles: tuple[int, int] | None
    cells: list[str] | None
    look: dict[str, Any]


@app.command(
    epilog="Example: drt-engine plot campaign.drt.h5 --where \"cell == 'C' and cycle == 1 and direction == 'charge'\""
    "\n\nFor a journal: drt-engine plot campaign.drt.h5 --kind composite --spectra campaign.h5 --per-area --size 7.2,6 "
    "--font-size 7 --cells C,B --cell-names 'C=coated,B=bare' -o figure.pdf"
    "\n\nWith processes: drt-engine plot campaign.drt.h5 --kind ageing --spectra campaign.h5 --tracks processes.h5 "
    "-o ageing.pdf"
)
def plot(
    file: Annotated[Path, typer.Argument(help="File of inversions; for the kind processes one of processes will do.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure; its ending is its format.")] = Path("drt.pdf"),
    kind: Annotated[Kind, typer.Option(help="What to draw.")] = Kind.WATERFALL,
    spectra: Annotated[Path | None, typer.Option(help="File of the spectra, for the kinds that show them.")] = None,
    tracks: Annotated[
        Path | None, typer.Option(help="File of processes (peaks --store), drawn into γ or by themselves.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="Table of processes, if that file has several.")] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="State that is drawn over or coloured by. [the one processes were followed along, or else voltage, "
            "or another one of numbers]"
        ),
    ] = None,
    where: Annotated[str | None, typer.Option(help="Which spectra: a condition on the states.")] = None,
    profile: Annotated[Path | None, typer.Option(help="Voltage profile, csv, for composite and ageing.")] = None,
    view: Annotated[View, typer.Option(help="How composite and ageing show γ.")] = View.WATERFALL,
    cycles: Annotated[str | None, typer.Option(help="Cycles that ageing compares: '1,500'. [first and last]")] = None,
    cells: Annotated[str | None, typer.Option(help="Cells of composite and ageing, in this order: 'C,B'.")] = None,
    cell_names: Annotated[str | None, typer.Option(help="What cells are called: 'B=bare,C=coated'.")] = None,
    per_area: Annotated[bool, typer.Option("--per-area", help="In Ω cm², by the state area.")] = False,
    area: Annotated[float | None, typer.Option(help="In Ω cm², by this area of all, cm².")] = None,
    tau_range: Annotated[
        str | None, typer.Option("--tau", help="Lowest and highest τ, s: '1e-6,10'; one may be left out.")
    ] = None,
    gamma_range: Annotated[str | None, typer.Option("--gamma", help="Lowest and highest γ, Ω: '0,50'.")] = None,
    z_range: Annotated[str | None, typer.Option("--z", help="Lowest and highest Re Z of Nyquist plots, Ω.")] = None,
    log_gamma: Annotated[bool, typer.Option("--log-gamma", help="γ by its logarithm.")] = False,
    own_scales: Annotated[
        bool, typer.Option("--own-scales", help="A scale of γ for each cell, or each spectrum of one cell.")
    ] = False,
    whole_tails: Annotated[
        bool, typer.Option("--whole-tails", help="Nyquist plots show blocking and inductive tails to their ends.")
    ] = False,
    undetermined: Annotated[
        Undetermined, typer.Option(help="Observations of processes whose R is less than twice its error.")
    ] = Undetermined.GREY,
    size: Annotated[str | None, typer.Option(help="Width, or width and height, inches: '3.5' or '7.2,5'.")] = None,
    font_size: Annotated[float, typer.Option(help="Size of labels, points.")] = 8.0,
    dpi: Annotated[float, typer.Option(help="Dots per inch of a png, and of heat maps.", min=30, max=2400)] = 300.0,
    name: Annotated[str | None, typer.Option(help="Inversion, if the file has several.")] = None,
    grid: Annotated[str | None, typer.Option(help="Grid, if the file has several.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a figure of the distributions in a file, or of the processes in them."""
    from drt_engine.outputs import check_outputs
    from drt_engine.plotting import save

    check_outputs(output, overwrite=overwrite, inputs=(file, spectra, tracks, profile))
    if tracks is not None and kind not in _TRACED:
        raise input_error(f"a figure of kind {kind.value} shows no processes. Leave --tracks out.")
    look: dict[str, Any] = {
        "per_area": per_area if area is None else area,
        "tau_range": _range("--tau", tau_range),
        "gamma_range": _range("--gamma", gamma_range),
        "z_range": _range("--z", z_range),
        "log_gamma": log_gamma,
        "own_scales": own_scales,
        "whole_tails": whole_tails,
        "undetermined": undetermined.value,
        "size": _size(size),
        "font_size": font_size,
        "cell_names": _names(cell_names),
    }
    if kind is Kind.PROCESSES:
        followed = chosen_tracks(file if tracks is None else tracks, table, where)
        save(_of_processes(followed, state, look), output, dpi=dpi, overwrite=overwrite)
        say(f"{len(followed.table)} observations drawn.", f"  {output}")
        return
    shown = _read(file, (spectra, tracks, profile), (name, grid, table), where)
    known = None if shown.tracks is None else shown.tracks.along
    shown = replace(
        shown,
        state=state or known or _likely_state(shown.result.states),
        view=view,
        cycles=_cycles(cycles),
        cells=None if cells is None else _cells(cells, shown.result.states),
        look=look,
    )
    save(_figure(kind, shown), output, dpi=dpi, overwrite=overwrite)
    say(f"{len(shown.result)} spectra drawn.", f"  {output}")


def as_taken(spectra: "Spectra", file: Path, name: str | None) -> "Spectra":
    """Those of the spectra that went into an inversion."""
    from drt_engine.errors import InputError
    from drt_engine.hdf5 import scan
    from drt_engine.selection import rows_where

    taken = {found.where for found in scan(file).inversions if name in (None, found.name)}
    where = taken.pop() if len(taken) == 1 else None
    try:
        return spectra if where is None else spectra[rows_where(spectra.states, where)]
    except InputError as error:
        raise input_error(f"{file}: what its spectra were chosen by is shown here, and not run: {error}") from error


def other_contents(spectra: Path, file: Path, name: str | None) -> str | None:
    """Say that an inversion is not of the spectra as they are now; None if it is, or nobody can tell."""
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


def _cycles(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        first, last = (int(part) for part in text.split(","))
    except ValueError:
        raise input_error(f"--cycles must be the earlier and the later one, like '1,500'; got {text!r}.") from None
    return first, last


def _range(option: str, text: str | None) -> tuple[float | None, float | None] | None:
    """Two limits, of which one may be left out: '1e-6,' or ',10'."""
    if text is None:
        return None
    try:
        low, high = (float(part) if part.strip() else None for part in text.split(","))
    except ValueError:
        raise input_error(f"{option} must be the lowest and the highest value, like '1e-6,10'; got {text!r}.") from None
    return low, high


def _size(text: str | None) -> float | tuple[float, float] | None:
    if text is None:
        return None
    try:
        width, *height = (float(part) for part in text.split(","))
        if len(height) > 1:
            raise ValueError
        return (width, height[0]) if height else width
    except ValueError:
        raise input_error(f"--size must be a width, or width and height, in inches; got {text!r}.") from None


def _cells(text: str, states: "pd.DataFrame") -> list[Any]:
    """Cells by their names, as the states have them: they may be numbers."""
    known = {str(cell): cell for cell in states.get("cell", ())}
    return [known.get(name.strip(), name.strip()) for name in text.split(",")]


def _names(text: str | None) -> dict[str, str]:
    pairs = [] if text is None else [part.partition("=") for part in text.split(",")]
    if any(not (name.strip() and called.strip()) for name, _, called in pairs):
        raise input_error(f"--cell-names must be CELL=NAME, several by commas: 'B=bare,C=coated'; got {text!r}.")
    return {name.strip(): called.strip() for name, _, called in pairs}


def _likely_state(states: "pd.DataFrame") -> str:
    """State that a figure is drawn over if nobody says which: one of numbers, each of which is there once."""
    import pandas as pd

    for name in dict.fromkeys(("voltage", "cycle", "temperature", "time", *map(str, states.columns))):
        if name not in states.columns:
            continue
        column = states[name]
        numbers = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        # The usual one is named where it repeats as well: the message says what to choose by.
        usual = name == "voltage" and bool({"cell", "cycle", "direction"} & set(states.columns))
        if numbers and column.notna().all() and (column.is_unique or usual):
            return name
    return "spectrum"


def _read(
    file: Path,
    others: tuple[Path | None, Path | None, Path | None],
    names: tuple[str | None, str | None, str | None],
    where: str | None,
) -> _Shown:
    """Read what is drawn: all of it, or the rows that are chosen."""
    import numpy as np

    from drt_engine.hdf5 import read_inversion, read_spectra
    from drt_engine.outputs import require_file
    from drt_engine.readers import read_profile
    from drt_engine.selection import rows_where

    spectra, tracks, profile = others
    name, grid, table = names
    if profile is not None:
        require_file(profile, "a table")
    result = read_inversion(file, name, grid)
    measured = None if spectra is None else as_taken(read_spectra(spectra, grid), file, name)
    older = None if spectra is None else other_contents(spectra, file, name)
    if measured is not None and len(measured) != len(result):
        cause = "" if older is None else f" {older}"
        raise input_error(f"{spectra} has {len(measured)} spectra and {file} has {len(result)} inversions.{cause}")
    if older is not None:
        say(f"drt-engine: {older}", err=True)
    rows = np.arange(len(result))
    if where is not None:
        rows = rows_where(result.states, where)
    followed = None if tracks is None else of_rows(tracks_of(tracks, table, file), rows)
    return _Shown(
        result[rows],
        None if measured is None else measured[rows],
        followed,
        None if profile is None else read_profile(profile),
        "voltage",
        View.WATERFALL,
        None,
        None,
        {},
    )


def tracks_of(path: Path, table: str | None, file: Path) -> "Tracks":
    """Read processes, and refuse those of another file."""
    from drt_engine.hdf5 import digest, read_tracks, scan

    followed = read_tracks(path, table)
    for info in scan(path).processes:
        if table in (None, info.name) and info.input_digest not in (None, digest(file)):
            raise input_error(
                f"the processes in {path} were followed in another file than {file}: it was {info.source}, with other "
                "contents. Follow them again: drt-engine peaks --store."
            )
    return followed


def of_rows(tracks: "Tracks", rows: "NDArray[np.intp]") -> "Tracks":
    """Take the observations in some rows of the inversion, and number them as these are."""
    import numpy as np
    import pandas as pd

    number = pd.Series(np.arange(rows.size), index=rows)

    def taken(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame[frame["spectrum"].isin(rows)].reset_index(drop=True)
        return frame.assign(spectrum=number.reindex(frame["spectrum"]).to_numpy())

    return replace(tracks, table=taken(tracks.table), events=taken(tracks.events), unassigned=taken(tracks.unassigned))


def chosen_tracks(path: Path, table: str | None, where: str | None) -> "Tracks":
    """Read processes, those observations of them that a condition chooses."""
    from drt_engine.hdf5 import read_tracks
    from drt_engine.selection import rows_where

    followed = read_tracks(path, table)
    if where is None:
        return followed
    rows = rows_where(followed.table, where)
    return replace(followed, table=followed.table.iloc[rows].reset_index(drop=True))


def _of_processes(tracks: "Tracks", state: str | None, look: dict[str, Any]) -> "Figure":
    from drt_engine.plotting import nothing, processes

    return processes(tracks, state, **look) if len(tracks.table) else nothing("no process")


def _figure(kind: Kind, shown: _Shown) -> "Figure":
    from drt_engine import plotting

    result, spectra, state = shown.result, shown.spectra, shown.state
    if not len(result):
        return plotting.nothing("no spectra")
    draw: Callable[..., Figure] = getattr(plotting, kind.value.replace("-", "_"))
    if kind is Kind.GAMMA:
        return draw(result, state=state, **shown.look)
    if kind in (Kind.WATERFALL, Kind.HEAT_MAP):
        return draw(result, state=state, tracks=shown.tracks, **shown.look)
    if spectra is None:
        raise input_error(f"a figure of kind {kind.value} shows measured spectra. Name their file: --spectra.")
    if kind is Kind.AGEING:
        return _ageing(spectra, shown)
    if kind is Kind.COMPOSITE:
        view = plotting.CompositeView(_drawn_as(shown.view))
        return draw(
            spectra,
            result,
            shown.profile,
            cells=shown.cells,
            state=state,
            view=view,
            tracks=shown.tracks,
            **shown.look,
        )
    return draw(spectra, result, state=state, **shown.look)


def _drawn_as(view: View) -> Any:
    return view.value.replace("-", " ")


def _ageing(spectra: "Spectra", shown: _Shown) -> "Figure":
    from drt_engine.plotting import ageing

    if shown.tracks is None:
        raise input_error("a figure of kind ageing shows processes. Store them with peaks --store, and name: --tracks.")
    at = None if shown.cells is None else {"cell": shown.cells}
    return ageing(
        spectra,
        shown.result,
        shown.tracks,
        shown.profile,
        at=at,
        cycles=shown.cycles,
        view=_drawn_as(shown.view),
        **shown.look,
    )
