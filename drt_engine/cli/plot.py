"""``drt-engine plot``: figures of the distributions in a file, and of the processes in them."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import InversionName, Overwrite, Where, app, input_error, say
from drt_engine.text import count_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from matplotlib.figure import Figure

    from drt_engine.result import Inversion
    from drt_engine.spectra import Spectra
    from drt_engine.tracking import Tracks

__all__ = ["Kind", "View", "plot"]


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


_BESIDE = {Kind.COMPOSITE: ("cell",), Kind.AGEING: ("cell", "cycle")}
"""States whose values stand side by side in a figure."""
_TELLING = ("cell", "channel", "electrode", "cycle", "direction", "temperature")
_OF_FILES = ("source", "digest", "sweep", "sheet", "spectrum")
_RECORDED = (".mpt", ".mpr", ".dta")
_APART = 20.0
"""How many times as large some spectra are as others that have nothing in common with them."""
_TRACED = (Kind.COMPOSITE, Kind.AGEING, Kind.PROCESSES, Kind.WATERFALL, Kind.HEAT_MAP)


@dataclass(frozen=True)
class _Shown:
    """What a figure may show: results and spectra, one for each frequency grid."""

    results: "list[Inversion]"
    spectra: "list[Spectra] | None"
    tracks: "Tracks | None"
    profile: "pd.DataFrame | None"
    state: str
    view: View
    cycles: tuple[int, int] | None
    cells: list[str] | None
    look: dict[str, Any]


_Kind = Annotated[
    list[Kind] | None,
    typer.Option(help="What to draw; given several times, OUTPUT gets the kind into its name. [waterfall]"),
]
_Spectra = Annotated[
    Path | None, typer.Option(help="File of the spectra, if the file of inversions is an older one without them.")
]
_Tracks = Annotated[
    Path | None,
    typer.Option(
        help="File of processes (peaks --store), drawn into γ or by themselves; ageing follows some if none are given."
    ),
]
_State = Annotated[
    str | None,
    typer.Option(
        help="State that is drawn over or coloured by. [the one processes were followed along, or else voltage, "
        "or another one of numbers]"
    ),
]
_Profile = Annotated[
    Path | None, typer.Option(help="Voltage profile for composite and ageing: csv, or a file of the potentiostat.")
]
_TauRange = Annotated[
    str | None, typer.Option("--tau", help="Lowest and highest τ, s: '1e-6,10'; one may be left out.")
]
_OwnScales = Annotated[
    bool | None,
    typer.Option(
        "--own-scales/--one-scale",
        help="A scale of γ for each cell, or each spectrum of one cell. [for cells that differ 20-fold]",
        show_default=False,
    ),
]
_WholeTails = Annotated[
    bool, typer.Option("--whole-tails", help="Nyquist plots show blocking and inductive tails to their ends.")
]
_Undetermined = Annotated[
    Undetermined, typer.Option(help="Observations of processes whose R is less than twice its error.")
]
_Grid = Annotated[
    str | None, typer.Option(help="Frequency grid, if the file has several; all are drawn together otherwise.")
]


@app.command(
    epilog="Example: drt-engine plot campaign.drt.h5 --where \"cell == 'C' and cycle == 1 and direction == 'charge'\""
    "\n\nFor a journal: drt-engine plot campaign.drt.h5 --kind composite --per-area --size 7.2,6 "
    "--font-size 7 --cells C,B --cell-names 'C=coated,B=bare' -o figure.pdf"
    "\n\nWith processes: drt-engine plot campaign.drt.h5 --kind ageing --tracks processes.h5 "
    "-o ageing.pdf"
)
def plot(
    file: Annotated[Path, typer.Argument(help="File of inversions; for the kind processes one of processes will do.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure; its ending is its format.")] = Path("drt.pdf"),
    kind: _Kind = None,
    spectra: _Spectra = None,
    tracks: _Tracks = None,
    table: Annotated[str | None, typer.Option(help="Table of processes, if that file has several.")] = None,
    state: _State = None,
    where: Where = None,
    profile: _Profile = None,
    view: Annotated[View, typer.Option(help="How composite and ageing show γ.")] = View.WATERFALL,
    cycles: Annotated[str | None, typer.Option(help="Cycles that ageing compares: '1,500'. [first and last]")] = None,
    cells: Annotated[str | None, typer.Option(help="Cells of composite and ageing, in this order: 'C,B'.")] = None,
    cell_names: Annotated[str | None, typer.Option(help="What cells are called: 'B=bare,C=coated'.")] = None,
    per_area: Annotated[bool, typer.Option("--per-area", help="In Ω cm², by the state area.")] = False,
    area: Annotated[float | None, typer.Option(help="In Ω cm², by this area of all, cm².")] = None,
    tau_range: _TauRange = None,
    gamma_range: Annotated[str | None, typer.Option("--gamma", help="Lowest and highest γ, Ω: '0,50'.")] = None,
    z_range: Annotated[str | None, typer.Option("--z", help="Lowest and highest Re Z of Nyquist plots, Ω.")] = None,
    log_gamma: Annotated[bool, typer.Option("--log-gamma", help="γ by its logarithm.")] = False,
    own_scales: _OwnScales = None,
    whole_tails: _WholeTails = False,
    undetermined: _Undetermined = Undetermined.GREY,
    size: Annotated[str | None, typer.Option(help="Width, or width and height, inches: '3.5' or '7.2,5'.")] = None,
    font_size: Annotated[float, typer.Option(help="Size of labels, points.")] = 8.0,
    dpi: Annotated[float, typer.Option(help="Dots per inch of a png, and of heat maps.", min=30, max=2400)] = 300.0,
    name: InversionName = None,
    grid: _Grid = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a figure of the distributions in a file, or of the processes in them."""
    from drt_engine.hdf5 import scan
    from drt_engine.outputs import check_outputs
    from drt_engine.plotting import save

    kinds = list(dict.fromkeys(kind or [Kind.WATERFALL]))
    outputs = [output] if len(kinds) == 1 else [output.with_stem(f"{output.stem}-{one.value}") for one in kinds]
    check_outputs(*outputs, overwrite=overwrite, inputs=(file, spectra, tracks, profile))
    for one in kinds:
        if tracks is not None and one not in _TRACED:
            raise input_error(f"a figure of kind {one.value} shows no processes. Leave --tracks out.")
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
    if kinds == [Kind.PROCESSES] and (tracks is not None or not scan(file).inversions):
        figures, done = _figures_of_processes(file if tracks is None else tracks, table, where, state, look)
    else:
        shown = _read(file, (spectra, tracks, profile), (name, grid, table), where)
        shown = replace(shown, view=view, cycles=_cycles(cycles), look=look)
        figures, done = _figures(kinds, shown, state, cells)
    for figure, path in zip(figures, outputs, strict=True):
        save(figure, path, dpi=dpi, overwrite=overwrite)
    say(done, *(f"  {path}" for path in outputs))


def _figures_of_processes(
    file: Path, table: str | None, where: str | None, state: str | None, look: dict[str, Any]
) -> "tuple[list[Figure], str]":
    """Draw the processes of a file that has no distributions, and say how many observations that are."""
    from drt_engine.cli.contents import chosen_tracks

    course = chosen_tracks(file, table, where)
    return [_of_processes(course, state, look)], f"{count_of(len(course.table), 'observation')} drawn."


def _figures(kinds: list[Kind], shown: _Shown, state: str | None, cells: str | None) -> "tuple[list[Figure], str]":
    """Draw distributions, over the state that was named or the likely one, and say how many spectra that are."""
    import pandas as pd

    states = pd.concat([result.states for result in shown.results], ignore_index=True)
    known = None if shown.tracks is None else shown.tracks.along
    shown = replace(
        shown,
        state=state or known or _likely_state(states, unlike=_unlike(shown.results)),
        cells=None if cells is None else _cells(cells, states),
    )
    if Kind.AGEING in kinds and shown.state == "cycle":
        raise input_error(
            "ageing compares two cycles of spectra along another state, such as voltage, and no other state of "
            "numbers distinguishes them. Name one: --state; or draw processes over the cycles: --kind processes."
        )
    if shown.tracks is None and {Kind.AGEING, Kind.PROCESSES} & {*kinds} and len(states):
        shown = replace(shown, tracks=_follow(shown, states))
    made = [_figure(one, shown) for one in kinds]
    return [figure for figure, _ in made], f"{count_of(max(count for _, count in made), 'spectrum')} drawn."


def _follow(shown: _Shown, states: "pd.DataFrame") -> "Tracks":
    """Follow processes along the state that is drawn over, for figures that show some."""
    from drt_engine.cli.contents import SERIES
    from drt_engine.plotting.together import one_result, processes_in

    if shown.state == "spectrum":
        raise input_error(
            "ageing and processes need a state that processes are followed along, and no state of numbers orders these "
            f"spectra. Name one: --state; there are {', '.join(map(str, states.columns)) or 'none'}."
        )
    told = [name for name in _one_series(states, shown.state) or {} if name not in SERIES.split(",")]
    course = processes_in(one_result(shown.results), shown.state, (*SERIES.split(","), *told))
    say(f"{count_of(len(course.names), 'process')} followed along {shown.state}. drt-engine peaks --store keeps them.")
    return course


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


def _unlike(results: "list[Inversion]") -> bool:
    """Say whether spectra have nothing in common: no cell, other frequencies, and sizes far apart."""
    import numpy as np

    if len(results) < 2 or any("cell" in one.states.columns or one.impedance is None for one in results):
        return False
    measured = [np.abs(z[np.isfinite(z).any(axis=1)]) for one in results if (z := one.impedance) is not None]
    sizes = np.concatenate([np.nanmedian(size, axis=1) for size in measured])
    sizes = sizes[sizes > 0]
    return bool(sizes.size and sizes.max() > _APART * sizes.min())


def _likely_state(states: "pd.DataFrame", *, unlike: bool = False) -> str:
    """State that a figure is drawn over if none is named: one of numbers, each of which is there once a series.

    Unlike spectra stand along no state that an instrument recorded by itself, as the voltage.
    """
    import pandas as pd

    usual = ("soc", "cycle", "temperature") if unlike else ("voltage", "soc", "cycle", "temperature")
    others = () if unlike else ("time", *map(str, states.columns))
    for name in dict.fromkeys((*usual, *others)):
        if name not in states.columns:
            continue
        column = states[name]
        numbers = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if not numbers or not column.notna().all():
            continue
        if column.is_unique or (name in usual and len(set(column)) > 1 and _one_series(states, name) is not None):
            return str(name)
    return "spectrum"


def _one_series(states: "pd.DataFrame", state: str) -> dict[str, Any] | None:
    """States of the first series in which each value of a state occurs once; None if there is none.

    Empty where each occurs once in all.
    """
    import pandas as pd

    if state not in states.columns:
        return {}
    told = [name for name in (*_TELLING, *map(str, states.columns)) if name in states.columns and name != state]
    others = [name for name in dict.fromkeys(told) if name not in _OF_FILES and _names_series(name, states[name])]
    # Repeats of one measurement are drawn once; those of other files are none.
    keys = [state, *others, *(["source"] if "source" in states.columns else [])]
    rows, fixed = states.drop_duplicates(keys), dict[str, Any]()
    for name in others:
        values = rows[name]
        if not rows[state].duplicated().any() or values.nunique() < 2:
            continue
        first = values.min() if name == "cycle" else values.iloc[0]
        first = "discharge" if name == "direction" and (values == "discharge").any() else first
        if not pd.isna(first) and (values == first).sum() > 1:
            rows, fixed[name] = rows[values == first], first
    if "source" in rows.columns and rows[state].duplicated().any() and rows["source"].duplicated().any():
        # Nothing but the file tells the series apart, and it holds more than one spectrum.
        first = rows["source"].iloc[0]
        rows, fixed["source"] = rows[rows["source"] == first], first
    return None if rows[state].duplicated().any() else fixed


def _names_series(name: str, column: "pd.Series[Any]") -> bool:
    """Say whether a state can distinguish series: text, whole numbers, and what usually does."""
    import pandas as pd

    return name in _TELLING or not pd.api.types.is_float_dtype(column)


def _read(
    file: Path,
    others: tuple[Path | None, Path | None, Path | None],
    names: tuple[str | None, str | None, str | None],
    where: str | None,
) -> _Shown:
    """Read what is drawn: all of it, or the rows that are chosen, of all grids or of one."""
    from drt_engine.cli.contents import chosen_parts, of_parts, tracks_of
    from drt_engine.outputs import require_file

    spectra, tracks, profile = others
    name, grid, table = names
    if profile is not None:
        require_file(profile, "a table")
    parts = chosen_parts(file, (name, grid), where, spectra)
    measured = [part.spectra for part in parts if part.spectra is not None]
    return _Shown(
        [part.result for part in parts],
        measured if len(measured) == len(parts) else None,
        None if tracks is None else of_parts(tracks_of(tracks, table, file), parts, file, grid),
        None if profile is None else _profile(profile),
        "voltage",
        View.WATERFALL,
        None,
        None,
        {},
    )


def _profile(path: Path) -> "pd.DataFrame":
    """Read voltage curves: a table, or a file of a potentiostat."""
    import pandas as pd

    from drt_engine import read_traces
    from drt_engine.readers import read_profile

    if path.suffix.lower() not in _RECORDED:
        return read_profile(path)
    return pd.concat([one.to_frame() for one in read_traces(path)], ignore_index=True)


def _of_processes(tracks: "Tracks", state: str | None, look: dict[str, Any]) -> "Figure":
    from drt_engine.plotting import nothing, processes

    return processes(tracks, state, **look) if len(tracks.table) else nothing("no process")


def _figure(kind: Kind, shown: _Shown) -> "tuple[Figure, int]":
    """Draw a figure, and count the spectra in it."""
    import pandas as pd

    from drt_engine import plotting

    results, spectra, state = shown.results, shown.spectra, shown.state
    if not any(map(len, results)):
        return plotting.nothing("no spectra"), 0
    states = pd.concat([result.states for result in results], ignore_index=True)
    count = len(states)
    draw: Callable[..., Figure] = getattr(plotting, kind.value.replace("-", "_"))
    if kind is Kind.PROCESSES:
        return _of_processes(_there(shown.tracks), None, shown.look), count
    if kind is Kind.GAMMA:
        return draw(results, state=state, **shown.look), count
    fixed = _one_series(states, state) or {}
    if kind in (Kind.WATERFALL, Kind.HEAT_MAP):
        rows = _rows_with(states, fixed)
        _say_series(fixed, rows.size, count)
        figure = draw(results, state=state, rows=rows, tracks=shown.tracks, **shown.look)
        # Those that are drawn in a panel each may be some of many; others have two axes besides their own at most.
        return figure, rows.size if len(figure.axes) <= 3 else min(rows.size, len(figure.axes))
    if spectra is None:
        raise input_error(
            f"a figure of kind {kind.value} shows measured spectra, and a file of inversions from an older version has "
            "none. Name their file: --spectra."
        )
    view = _drawn_as(shown.view)
    # Cells stand side by side, and these figures take the first cycle and the discharge by themselves.
    at = {name: value for name, value in fixed.items() if name not in ("cell", "cycle", "direction")}
    at |= {} if fixed else _all_of(states, ("cycle", "direction"))
    if kind in (Kind.AGEING, Kind.COMPOSITE):
        taken = {name: value for name, value in fixed.items() if name not in _BESIDE[kind]}
        _say_series(taken, some := _rows_with(states, taken).size, count)
    if kind is Kind.AGEING:
        at |= {} if shown.cells is None else {"cell": shown.cells}
        options: dict[str, Any] = {"at": at, "cycles": shown.cycles, "view": view}
        return draw(spectra, results, _there(shown.tracks), shown.profile, **options, **shown.look), some
    if kind is Kind.COMPOSITE:
        options = {
            "at": at,
            "cells": shown.cells,
            "state": state,
            "view": plotting.CompositeView(view),
            "tracks": shown.tracks,
        }
        return draw(spectra, results, shown.profile, **options, **shown.look), some
    return draw(spectra, results, state=state, **shown.look), count


def _rows_with(states: "pd.DataFrame", fixed: dict[str, Any]) -> Any:
    """Rows that have some states."""
    import numpy as np

    found = np.ones(len(states), dtype=bool)
    for name, value in fixed.items():
        found &= (states[name] == value).to_numpy()
    return np.flatnonzero(found)


def _all_of(states: "pd.DataFrame", names: tuple[str, ...]) -> dict[str, Any]:
    """All values of states that do not distinguish series, since another state does: figures choose none of them."""
    return {name: states[name].unique().tolist() for name in names if name in states and states[name].notna().all()}


def _say_series(fixed: dict[str, Any], some: int, every: int) -> None:
    if fixed:
        chosen = ", ".join(f"{name} {value}" for name, value in fixed.items())
        say(f"drawn is the series of {chosen}, {some} of {every} spectra. --where chooses others.")


def _there(tracks: "Tracks | None") -> "Tracks":
    assert tracks is not None  # followed before, unless they were given
    return tracks


def _drawn_as(view: View) -> Any:
    return view.value.replace("-", " ")
