"""Colours by a state: a colour bar for numbers, a legend for names."""

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.plotting.canvas import figure_of, style_axes
from drt_engine.plotting.look import current
from drt_engine.plotting.selection import Selection, display_factor
from drt_engine.text import drawn

__all__ = ["BESIDE", "NAMED", "ColourScale", "Paint", "colour_map", "finish_bar", "paint"]

NAMED = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours for names that colour-blind eyes tell apart; M. Okabe, K. Ito, Color Universal Design, 2008; less yellow."""

UNIFORM = ("viridis", "cividis", "plasma", "inferno", "magma")
# Share of a colour map that is used: the end of viridis is a yellow that is hard to see on white.
_LIGHTEST = 0.9
# Values that a legend names one by one; with more, it would be larger than a colour bar.
_FEW = 5

BESIDE: Any = {"pad": 0.02, "fraction": 0.06, "aspect": 25}
"""How a slim colour bar stands on the right of Axes."""


@dataclass(frozen=True)
class ColourScale:
    """How spectra are coloured; wherever a figure takes the name of a state to colour by, it takes this as well.

    Parameters
    ----------
    state : str
        Column of the states.
    colour_map : str
        Name of a colour map of matplotlib. Its lightest tenth is left out, for thin lines on white paper.
    low, high : float, optional
        Values at the ends of the map, in the unit of the column; by default the smallest and largest of the spectra
        drawn. Give them to let several figures share a scale.
    bar : bool
        Whether the colour bar, or the legend, is drawn.
    """

    state: str
    colour_map: str = "viridis"
    low: float | None = None
    high: float | None = None
    bar: bool = True


@dataclass(frozen=True, eq=False)
class Paint:
    """Colours of the chosen spectra, and what explains them.

    Attributes
    ----------
    rgba : ndarray, shape (K, 4)
        One colour a spectrum.
    label : str
        Of the colour bar.
    mappable : ScalarMappable or None
        For the colour bar; None if there is nothing to explain.
    handles : tuple of Artist
        For the legend.
    whole : bool
        Whether the values are integers.
    """

    rgba: NDArray[np.float64]
    label: str = ""
    mappable: ScalarMappable | None = None
    handles: tuple[Artist, ...] = ()
    whole: bool = False

    def explain(self, axes: Axes | list[Axes]) -> None:
        """Add the colour bar, if there is to be one."""
        if self.mappable is not None:
            first = axes[0] if isinstance(axes, list) else axes
            bar = figure_of(first).colorbar(self.mappable, ax=axes, **BESIDE)
            finish_bar(bar, self.label, whole=self.whole)


def finish_bar(bar: Colorbar, label: str, *, whole: bool = False) -> None:
    """Give a colour bar its label, its style and few ticks."""
    bar.set_label(label)
    bar.outline.set_linewidth(0.6)
    style_axes(bar.ax)
    norm = bar.mappable.norm
    if norm.scaled() and type(norm) is Normalize:
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=whole))


def colour_map(name: str) -> Colormap:
    """Return a colour map by its name.

    Raises
    ------
    UnknownNameError
        If matplotlib has none of that name; the message lists those that suit a paper.
    """
    if name not in mpl.colormaps:
        raise UnknownNameError("colour_map", name, UNIFORM)
    return mpl.colormaps[name]


def paint(chosen: Selection, colour: str | ColourScale | None) -> Paint:
    """Choose a colour for each spectrum.

    Parameters
    ----------
    chosen : Selection
        The spectra.
    colour : str, ColourScale or None
        The state to colour by; None colours by row number, and a single spectrum not at all. Up to five values get a
        legend, more a colour bar; and a colour bar has a scale whose ends are given.

    Raises
    ------
    UnknownNameError
        For a state or a colour map that does not exist.
    InputError
        For more names than there are distinguishable colours.
    """
    if colour is None:
        if len(chosen) == 1:
            return Paint(_one(1))
        colour = "spectrum"
    scale = colour if isinstance(colour, ColourScale) else ColourScale(colour)
    quantity = chosen.quantity(scale.state)
    if not quantity.numeric:
        return _named(quantity.array, scale)
    low, high = (
        end(quantity.array) if given is None else given * display_factor(scale.state)
        for end, given in ((np.min, scale.low), (np.max, scale.high))
    )
    if not low <= high:
        raise InputError(f"low must not exceed high in a ColourScale; got {scale.low} and {scale.high}.")
    colours = colour_map(scale.colour_map)
    if low == high:
        return Paint(_one(len(chosen)))
    light = ListedColormap(colours(np.linspace(0.0, _LIGHTEST, 256)), name=colours.name)
    mappable = ScalarMappable(Normalize(low, high), light)
    rgba = np.asarray(mappable.to_rgba(quantity.array))
    few = np.unique(quantity.array)
    names = dict(zip(quantity.array.tolist(), quantity.names, strict=False))
    # Values that are written alike have one key.
    named = {names.get(value) or drawn(_valued(quantity.label, value)): value for value in few.tolist()}
    if len(named) <= _FEW and scale.low is None and scale.high is None:
        shades = [tuple(np.asarray(mappable.to_rgba(value)).tolist()) for value in named.values()]
        keys = [Line2D([], [], color=shade, label=name) for shade, name in zip(shades, named, strict=True)]
        return Paint(rgba, quantity.label, handles=tuple(keys) if scale.bar else (), whole=quantity.whole)
    return Paint(rgba, quantity.label, mappable if scale.bar else None, whole=quantity.whole)


def _named_cell(state: str, name: str) -> str:
    return drawn(str(current().cell_names.get(name, name) if state == "cell" else name))


def _valued(label: str, value: float) -> str:
    """Name one of few values of a state: 3.8 V, Cycle 500."""
    name, _, unit = label.rpartition(" / ")
    return f"{value:.4g} {unit}" if name else f"{label} {value:.6g}"


def _one(count: int) -> NDArray[np.float64]:
    return np.tile(mpl.colors.to_rgba(NAMED[0]), (count, 1))


def _named(values: NDArray[Any], scale: ColourScale) -> Paint:
    names = sorted(set(values.tolist()))
    if len(names) > len(NAMED):
        raise InputError(
            f"state {scale.state!r} must have at most {len(NAMED)} names for a colour each; got {len(names)}. "
            "Choose among the spectra with rows."
        )
    colours = dict(zip(names, NAMED, strict=False))
    handles = tuple(Line2D([], [], color=colours[name], label=_named_cell(scale.state, name)) for name in names)
    rgba = np.array([mpl.colors.to_rgba(colours[name]) for name in values])
    return Paint(rgba, handles=handles if scale.bar else ())
