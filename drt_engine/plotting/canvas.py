"""Figures at print size, their style, and how they are saved."""

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import get_ident
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.outputs import new_file
from drt_engine.plotting.look import current, ohms, styled

__all__ = [
    "DOUBLE_COLUMN",
    "SINGLE_COLUMN",
    "axes_for",
    "figure_of",
    "fit_height",
    "nothing",
    "save",
    "style_axes",
]

SINGLE_COLUMN = 3.5
"""Width of one column of a journal, inches."""

DOUBLE_COLUMN = 7.2
"""Width of two columns of a journal, inches."""

_NARROW = 2.4
"""Inches of an axis beside which words take two lines."""

_PAD = 0.03  # inches between panels: labels do not touch, and little room is lost
# Ticks are made when a figure is drawn, after the style is gone, so they have to carry theirs.
_TICKS: tuple[dict[str, Any], ...] = (
    {"which": "major", "length": 3.0, "width": 0.6, "pad": 2.5},
    {"which": "minor", "length": 1.6, "width": 0.4},
)
_OUTPUT: Any = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "drt-engine",
    "savefig.bbox": None,
}
_UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


class PrintFigure(Figure):
    """A figure that notebooks show without pyplot."""

    saving = False
    """Whether it is being written to a file, for which matplotlib draws it twice: at first for its layout alone."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, or find its layout where nothing else is asked for."""
        engine = self.get_layout_engine()
        if self.saving and self.axes and isinstance(engine, ConstrainedLayoutEngine):
            engine.execute(self)
        else:
            super().draw(renderer)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=220)
        width, height = (round(110 * float(inches)) for inches in self.get_size_inches())
        return stream.getvalue(), {"width": width, "height": height}


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure, in inches, whose contents find their places when it is drawn.

    Where the look asks for a width it has that, and is as high in proportion unless the look asks for a height as well.
    """
    size = current().size
    if size is not None:
        width, height = size if isinstance(size, tuple) else (size, height * size / width)
    figure = PrintFigure(figsize=(width, height), layout="constrained")
    # Its type is that of any engine; that of a constrained layout takes these.
    figure.get_layout_engine().set(w_pad=_PAD, h_pad=_PAD, wspace=0.0, hspace=0.0)  # type: ignore[union-attr,call-arg]
    return figure


def axes_for(ax: Axes | None, height: float) -> tuple[Axes, bool]:
    """Return the Axes to draw into, and whether it is a new one, in a figure of one column."""
    if ax is not None:
        if not isinstance(ax, Axes):
            raise InputError(f"ax must be a matplotlib Axes; got {type(ax).__name__}. Leave it out for a new figure.")
        return ax, False
    return style_axes(new_figure(SINGLE_COLUMN, height).add_subplot()), True


@styled
def nothing(what: str) -> Figure:
    """Make a figure that says what is missing, for programs that expect a figure in any case."""
    figure = new_figure(SINGLE_COLUMN, 1.0)
    figure.text(0.5, 0.5, what, ha="center", va="center", color="0.4")
    return figure


def style_axes(axes: Axes, *, labelled: bool = False) -> Axes:
    """Give the ticks of new Axes the style of a paper; `labelled` are those with labels at all ticks of both axes."""
    for ticks in _TICKS:
        axes.tick_params(**ticks)
    axes.tick_params(which="major", labelsize=current().font_size - 1.0)
    # A layout would find all ticks anew for each side. There are none at two, and labels reach further than ticks do.
    for side in ("top", "right", *(("left", "bottom") if labelled else ())):
        axes.spines[side].set_in_layout(False)
    return axes


def figure_of(axes: Axes) -> Figure:
    """Return the figure that Axes belong to."""
    figure = axes.figure
    return figure.figure if isinstance(figure, SubFigure) else figure


def legend_above(axes: Axes, handles: Sequence[Artist]) -> None:
    """Put a legend above Axes, where it cannot hide data, on the right: the ordinate has its exponent on the left."""
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        width = float(figure_of(axes).get_figwidth()) * float(axes.get_position(original=True).width)
        columns = max(1, min(len(handles), int(width / (0.35 + 0.0062 * current().font_size * longest))))
        axes.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1.02, 0.99),
            borderaxespad=0.0,
            borderpad=0.2,
            columnspacing=1.0,
            handletextpad=0.4,
            ncols=-(-len(handles) // -(-len(handles) // columns)),
        )


def decades(axes: Axes, label: str) -> None:
    """Make the abscissa logarithmic, with a tick at each decade and labels as far as there is room."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter(LogFormatterSciNotation())
    axes.xaxis.set_minor_locator(LogLocator(subs=(1.0,), numticks=99))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def plain_logarithm(axes: Axes) -> None:
    """Make the ordinate logarithmic, with plain numbers and more of them where it spans little."""
    if not axes.dataLim.y1 > 0.0:
        return  # of zeros there is no logarithm
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_minor_formatter(NullFormatter())
    if 0 < high < 300 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high > 10 * low else (1.0, 2.0, 3.0, 5.0, 7.0)))
        factor, _ = ohms(high)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * factor:g}"))


def is_narrow(axes: Axes) -> bool:
    """Whether a line of words does not fit beside an axis."""
    return bool(axes.get_window_extent().width < _NARROW * figure_of(axes).dpi)


def scale_by_logarithm(axes: Axes, low: float, high: float) -> None:
    """Make an ordinate logarithmic around what is drawn from `low` to `high`."""
    margin = (high / low) ** 0.08
    axes.set_yscale("log")
    axes.set_ylim(low / margin, high * margin)
    axes.yaxis.set_minor_formatter(NullFormatter())


def label_modulus(axes: Axes) -> None:
    """Label a logarithmic ordinate of |Z|, in the unit that its numbers are in."""
    low, high = axes.get_ylim()
    axes.set_ylabel(f"|$Z$| / {ohms(high if high < 300 * low else 1.0)[1]}")


def arrange(figure: Figure) -> None:
    """Let the layout of a figure find the places of its Axes."""
    engine, canvas = figure.get_layout_engine(), figure.canvas
    if engine is not None:
        _Measuring(figure)
        try:
            engine.execute(figure)
        finally:
            figure.set_canvas(canvas)


class _Measuring(FigureCanvasAgg):
    """A canvas on which texts are measured and nothing is drawn.

    A figure without one gets a new renderer for each layout, which parses and measures all texts anew.
    """

    def get_renderer(self) -> RendererAgg:
        """Return a renderer that knows the sizes of texts of earlier layouts."""
        return _renderer(float(self.figure.dpi), get_ident())


@lru_cache(4)
def _renderer(dpi: float, _thread: int) -> RendererAgg:
    return RendererAgg(1, 1, dpi)  # type: ignore[no-untyped-call]


def fit_height(figure: Figure, rows: Sequence[Sequence[Axes]], shapes: Sequence[float]) -> None:
    """Change the height of a figure until its panels have the shapes they should have at its width.

    A height that the look asks for stays.

    Parameters
    ----------
    figure : Figure
        The figure.
    rows : sequence of sequences of Axes
        Its panels, of one width and of automatic aspect.
    shapes : sequence of float
        Height over width of the panels of each row.
    """
    if isinstance(current().size, tuple):
        return
    arrange(figure)
    places = [row[0].get_position(original=True) for row in rows]
    width, height = figure.get_size_inches()
    missing = sum(shapes) * width * places[0].width - height * sum(place.height for place in places)
    figure.set_figheight(height + missing)


def save(figure: Figure | Axes, path: str | Path, *, dpi: float = 300.0, overwrite: bool = False) -> Path:
    """Write a figure as it is printed: in its own size, text as text, without a date.

    Parameters
    ----------
    figure : Figure or Axes
        The figure, or any Axes in it.
    path : str or Path
        Where to; the suffix chooses the format: ``.pdf`` and ``.svg`` keep lines and text, ``.png`` does not.
    dpi : float
        Dots per inch of what is not lines.
    overwrite : bool
        Whether a file of that name is replaced; an HDF5 file never is.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    UnknownNameError
        For a suffix that matplotlib has no format for.
    InputError
        If `figure` is neither a figure nor Axes.
    OutputExistsError
        If the file exists and is not to be replaced.
    FileWriteError
        If the file cannot be written.
    """
    if not isinstance(figure, Figure | Axes):
        raise InputError(f"figure must be a matplotlib Figure or Axes; got {type(figure).__name__}.")
    whole = figure_of(figure) if isinstance(figure, Axes) else figure
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    formats = whole.canvas.get_supported_filetypes()
    if suffix not in formats:
        raise UnknownNameError("suffix", path.suffix, (f".{name}" for name in sorted(formats)))
    with mpl.rc_context(_OUTPUT), new_file(path, overwrite=overwrite) as partial:
        if isinstance(whole, PrintFigure):
            whole.saving = True
        try:
            whole.savefig(partial, format=suffix, dpi=dpi, metadata=_UNDATED.get(suffix))
        finally:
            if isinstance(whole, PrintFigure):
                whole.saving = False
    return path
