"""What is in view for a paper, for another program, and as the Python lines that make it again."""

import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.explore.session import LEVEL, Rows, Scope, Session
from drt_engine.spectra import Spectra
from drt_engine.tables import TABLES, gather, write_tables

if TYPE_CHECKING:
    from drt_engine.result import Inversion

__all__ = ["FIGURES", "FORMATS", "View", "drawn", "numbers", "python_lines"]

FIGURES = (
    *("gamma", "nyquist", "bode", "residuals", "heat_map", "waterfall", "composite", "processes", "validity_map"),
)
"""Functions of :mod:`drt_engine.plotting` that draw what is in view."""

FORMATS = ("svg", "pdf", "png")

_OF_STATE = ("heat_map", "waterfall")
_OF_SPECTRA = ("nyquist", "bode", "residuals")


@dataclass(frozen=True)
class View:
    """What is exported.

    Parameters
    ----------
    figure : str
        One of `FIGURES`.
    scope : {"selection", "selections and pins", "series"}
        Of which spectra.
    again : bool
        Whether the solutions are those that were found again, of all spectra that were inverted then.
    per_area : bool
        Whether the figure is in Ω cm², by the state ``area``.

    Raises
    ------
    UnknownNameError
        For a figure or a scope that does not exist.
    """

    figure: str = "gamma"
    scope: Scope = "selection"
    again: bool = False
    per_area: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if self.figure not in FIGURES:
            raise UnknownNameError("figure", self.figure, FIGURES)
        if self.scope not in get_args(Scope):
            raise UnknownNameError("scope", self.scope, get_args(Scope))


def _rows(session: Session, view: View) -> tuple[Rows, Rows]:
    """Rows that are read, and which of them are shown: intervals depend on all that were inverted together."""
    if view.again:
        if session.again is None:
            raise InputError("nothing was inverted again so far.")
        return session.again.rows, np.arange(session.again.rows.size)
    rows = session.rows(view.scope)
    groups = [session.joined(int(row)) for row in rows] if view.figure == "gamma" else []
    read = np.unique(np.concatenate([rows, *(group for group in groups if group is not None)]))
    if read.size == rows.size:
        return rows, np.arange(rows.size)
    return read, np.searchsorted(read, rows)


def _read(session: Session, view: View) -> "tuple[Spectra, Inversion | None]":
    rows, shown = _rows(session, view)
    spectra, result = session.read(rows)
    if view.again:
        assert session.again is not None
        return spectra, session.again.new
    if result is None:
        return spectra, None
    if view.figure == "gamma" and result.intervals is None:
        result = result.with_intervals(LEVEL)
    return spectra[shown], result[shown]


def python_lines(session: Session, view: View) -> str:
    """Write the lines that make a figure, and the tables of its numbers, without the explorer.

    Parameters
    ----------
    session : Session
        What is looked at.
    view : View
        What is exported.
    """
    rows, shown = _rows(session, view)
    files, source = session.source.files, session.source
    lines = ["import drt_engine as drt", "", f"rows = {rows.tolist()}"]
    inverted = source.name is not None
    if inverted:
        lines.append(
            f"result = drt.read_inversion({str(files.results)!r}, {source.name!r}, {source.grid!r}, rows=rows)"
        )
    if inverted and session.has_own_spectra:
        lines.append("spectra = drt.Spectra(result.frequency, result.impedance, result.states)")
    else:
        lines.append(f"spectra = drt.read_spectra({str(files.spectra)!r}, {source.grid!r}, rows=rows)")
        if inverted:
            lines.append("result = result.with_spectra(spectra)")
    if view.again:
        assert session.again is not None
        lines.append(f"result = drt.invert(spectra, drt.{session.again.new.method!r})")
        if session.again.new.intervals is not None:
            lines.append(f"result = result.with_intervals({LEVEL})")
    elif inverted and view.figure == "gamma" and not session.has_own_intervals:
        lines.append(f"result = result.with_intervals({LEVEL})")
    if shown.size != rows.size:
        lines += [f"shown = {shown.tolist()}", "result, spectra = result[shown], spectra[shown]"]
    known = inverted or view.again
    lines += [
        "",
        *_figure_lines(session, view, known),
        f'drt.plotting.save(figure, "{view.figure}.pdf", overwrite=True)',
    ]
    if known:
        lines += ["", "print(result.to_frame())", "gamma = result.gamma_frame()"]
    lines.append(f"impedance = {'result.impedance_frame(spectra)' if known else 'spectra.impedance'}")
    return "\n".join(lines) + "\n"


def _figure_lines(session: Session, view: View, known: bool) -> list[str]:
    along, more = session.series.along, ", per_area=True" if view.per_area else ""
    state = "" if along == "spectrum" else f", state={along!r}"
    call = f"figure = drt.plotting.{view.figure}"
    if view.figure == "validity_map":
        return [f"figure = drt.plotting.validity_map(drt.validate(spectra), {along!r}{more})"]
    if not known:
        return [f"{call}(spectra{state}{more})"]
    if view.figure == "processes":
        series = tuple(session.telling)
        return [
            f"tracks = drt.track(result.peaks(), {along!r}, {series!r}, states=result.states)",
            f"figure = drt.plotting.processes(tracks{more})",
        ]
    if view.figure in _OF_STATE:
        return [f"{call}(result, {along!r}{more})"]
    given = "spectra, result" if view.figure in (*_OF_SPECTRA, "composite") else "result"
    return [f"{call}({given}{state}{more})"]


def drawn(session: Session, view: View, suffix: str, dpi: float = 300.0) -> BytesIO:
    """Draw a figure by the functions of :mod:`drt_engine.plotting`.

    Parameters
    ----------
    session : Session
        What is looked at.
    view : View
        What is exported.
    suffix : {"svg", "pdf", "png"}
        Format.
    dpi : float
        Dots per inch of what is not lines.

    Raises
    ------
    DRTError
        Where the figure cannot be drawn of these spectra.
    """
    from drt_engine.plotting import save

    if suffix not in FORMATS:
        raise UnknownNameError("format", suffix, FORMATS)
    with tempfile.TemporaryDirectory() as folder:
        path = save(_figure(session, view), Path(folder) / f"figure.{suffix}", dpi=dpi)
        return BytesIO(path.read_bytes())


def _figure(session: Session, view: View) -> Any:
    from drt_engine import plotting

    spectra, result = _read(session, view)
    along = session.series.along
    look: dict[str, Any] = {"per_area": view.per_area}
    state: dict[str, Any] = {} if along == "spectrum" else {"state": along}
    draw: Any = getattr(plotting, view.figure)
    if view.figure == "validity_map":
        from drt_engine.validation import validate

        return draw(validate(spectra), along, **look)
    if result is None:
        if view.figure not in ("nyquist", "bode"):
            raise InputError(f"nothing was inverted so far, and {view.figure} shows solutions. Invert first.")
        return draw(spectra, **state, **look)
    if view.figure == "processes":
        from drt_engine.tracking import track

        tracks = track(result.peaks(), along, tuple(session.telling), states=result.states)
        return draw(tracks, **look)
    if view.figure in _OF_STATE:
        return draw(result, along, **look)
    if view.figure in (*_OF_SPECTRA, "composite"):
        return draw(spectra, result, **state, **look)
    return draw(result, **state, **look)


def numbers(session: Session, view: View, which: tuple[str, ...], suffix: str) -> BytesIO:
    """Write the numbers behind a figure as a table, or several as a workbook.

    Parameters
    ----------
    session : Session
        What is looked at.
    view : View
        What is exported.
    which : tuple of str
        Names of tables, as :func:`drt_engine.tables.gather` takes them; for csv a single one.
    suffix : {"csv", "xlsx"}
        Format.

    Raises
    ------
    DRTError
        For tables that there is nothing for.
    """
    for name in which:
        if name not in TABLES:
            raise UnknownNameError("table", name, TABLES)
    spectra, result = _read(session, view)
    tracks = None
    if "processes" in which and result is not None:
        from drt_engine.tracking import track

        tracks = track(result.peaks(), session.series.along, tuple(session.telling), states=result.states)
    made: dict[str, pd.DataFrame] = gather(result, spectra, tracks, which=which, area=view.per_area)
    with tempfile.TemporaryDirectory() as folder:
        written = write_tables(Path(folder) / f"numbers.{suffix}", made)
        if len(written) > 1:
            raise InputError(f"csv holds one table; got {', '.join(which)}. Choose one, or Excel.")
        return BytesIO(written[0].read_bytes())
