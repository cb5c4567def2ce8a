"""Figures at print size: nothing covers anything, and nothing of their style stays behind."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from drt_engine import plotting
from drt_engine.errors import UnknownNameError
from drt_engine.plotting.canvas import PrintFigure

from .made import COMPOSITES, FIGURES, ONE, RESULT, SPECTRA, composite, curves


def drawn_at_print_size(figure, monkeypatch):
    """Draw it, and return the renderer and every text that was really drawn with its Axes."""
    texts = []
    draw = Text.draw

    def record(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text():
            texts.append(self)
        return draw(self, renderer, *args, **kwargs)

    canvas = FigureCanvasAgg(figure)
    with monkeypatch.context() as patched:
        patched.setattr(Text, "draw", record)
        canvas.draw()
    return canvas.get_renderer(), list(dict.fromkeys(texts))


def corners(boxes):
    """Left, right, lower and upper ends, shape (4, N)."""
    return np.array([(box.x0, box.x1, box.y0, box.y1) for box in boxes]).reshape(-1, 4).T


def overlapping(boxes, others, slack=0.5):
    """Which of them lie over which of the others, shape (N, M)."""
    a, b = corners(boxes)[:, :, None], corners(others)[:, None, :]
    across = np.minimum(a[1], b[1]) - np.maximum(a[0], b[0])
    return (across > slack) & (np.minimum(a[3], b[3]) - np.maximum(a[2], b[2]) > slack)


def check_layout(figure, monkeypatch):
    """No text is over another, over panels of others or cut off; no panel is over another."""
    renderer, texts = drawn_at_print_size(figure, monkeypatch)
    boxes = [text.get_window_extent(renderer) for text in texts]
    left, right, low, high = corners(boxes)
    inside = (np.minimum(left, low) >= -0.5) & (right <= figure.bbox.width + 0.5) & (high <= figure.bbox.height + 0.5)
    assert inside.all(), [texts[k] for k in np.flatnonzero(~inside)]
    assert all(6.0 <= text.get_fontsize() <= 9.0 for text in texts)
    over = np.triu(overlapping(boxes, boxes), 1)
    assert not over.any(), [(texts[k], texts[m]) for k, m in np.argwhere(over)]
    foreign = np.array([[axes is not text.axes for axes in figure.axes] for text in texts])
    over = overlapping(boxes, [axes.bbox for axes in figure.axes]) & foreign
    assert not over.any(), [texts[k] for k in np.flatnonzero(over.any(axis=1))]
    places = [axes.get_tightbbox(renderer) for axes in figure.axes]
    assert not np.triu(overlapping(places, places), 1).any()
    assert figure.get_figwidth() in (plotting.SINGLE_COLUMN, plotting.DOUBLE_COLUMN)


def an_ohm_is_as_long_on_both_axes_of_every_cell(figure):
    """In a figure that is drawn."""
    nyquist = [axes for axes in figure.axes if axes.get_xlabel() == "Re $Z$ / Ω"]
    lengths = [np.diff(axes.transData.transform([(0, 0), (1, 1)]), axis=0)[0] for axes in nyquist]
    np.testing.assert_allclose(lengths, lengths[0][0], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FIGURES, *COMPOSITES])
def test_nothing_covers_anything_or_is_cut_off(name, monkeypatch):
    figure = composite(name) if name in COMPOSITES else FIGURES[name]()
    check_layout(figure, monkeypatch)
    if name in COMPOSITES:
        an_ohm_is_as_long_on_both_axes_of_every_cell(figure)
    panels = 3 * (len(figure.axes) // 3) if name in COMPOSITES else 0
    for k, axes in enumerate(figure.axes[panels:]):
        assert axes.get_xlabel() or axes.get_ylabel(), k


USERS = {"font.size": 20.0, "ytick.labelsize": 20.0, "axes.labelsize": "large", "savefig.bbox": "tight"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_settings_of_the_user_stay_and_figures_show_themselves(name):
    with mpl.rc_context(USERS):
        before = dict(mpl.rcParams)
        # Of this kind are figures that show themselves.
        assert isinstance(FIGURES[name](), PrintFigure)
        assert dict(mpl.rcParams) == before


def test_the_style_is_that_of_a_paper_whatever_the_settings(tmp_path):
    with mpl.rc_context(USERS):
        axes = plotting.heat_map(RESULT, rows=ONE).axes[0]
        plotting.save(axes, tmp_path / "figure.png")
        with pytest.raises(UnknownNameError):
            plotting.waterfall(RESULT, "colour")
        assert mpl.rcParams["font.size"] == 20
    assert all(text.get_fontsize() == 7 for one in axes.figure.axes for text in one.get_yticklabels())
    assert all(one.yaxis.label.get_fontsize() == 8 for one in axes.figure.axes)


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "bode"])
def test_axes_that_are_given_are_drawn_into(name):
    figure = Figure(figsize=(5, 4))
    axes = figure.add_subplot()
    size = axes.yaxis.label.get_fontsize()
    assert FIGURES[name](ax=axes) is figure
    assert curves(axes) or axes.collections
    assert axes.yaxis.label.get_fontsize() == size


@pytest.mark.slow
def test_no_window_and_no_pyplot():
    code = (
        "import sys, numpy as np, drt_engine as drt\n"
        "f = np.geomspace(1e4, 1, 20)\n"
        "z = drt.Spectra(f, 1 + 2 / (1 + 2j * np.pi * f * 1e-3))\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from drt_engine import plotting\n"
        "plotting.nyquist(z).figure.canvas.draw()\n"
        "loud = {'matplotlib.pyplot', 'tkinter', 'PyQt5', 'PySide6', 'gi', 'wx'}\n"
        "assert not loud & set(sys.modules), loud & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("height", [2.0, 6.0])
@pytest.mark.parametrize("new", [True, False])
def test_an_ohm_is_as_long_on_both_axes(new, height):
    axes = None if new else Figure(figsize=(4, height), layout="constrained").add_subplot()
    axes = plotting.nyquist(SPECTRA, RESULT, rows=ONE, ax=axes).axes[0]
    if new:
        axes.figure.set_figheight(height)
    axes.figure.draw_without_rendering()
    origin, along_x, along_y = axes.transData.transform([(0, 0), (1, 0), (0, 1)])
    assert along_x[0] - origin[0] == pytest.approx(along_y[1] - origin[1], rel=1e-9)
    steps = np.concatenate([np.diff(axes.get_xticks()), np.diff(axes.get_yticks())])
    np.testing.assert_allclose(steps, steps[0])
    assert len(axes.get_yticks()) >= 2
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    for line in curves(axes):
        x, y = line.get_data()
        assert x0 < x.min() <= x.max() < x1
        assert y0 < y.min() <= y.max() < y1
