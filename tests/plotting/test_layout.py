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


def overlap(a, b, slack=0.5):
    return min(a.x1, b.x1) - max(a.x0, b.x0) > slack and min(a.y1, b.y1) - max(a.y0, b.y0) > slack


@pytest.mark.parametrize("name", [*FIGURES, *COMPOSITES])
def test_nothing_covers_anything_or_is_cut_off(name, monkeypatch):
    figure = composite(name) if name in COMPOSITES else FIGURES[name]()
    renderer, texts = drawn_at_print_size(figure, monkeypatch)
    boxes = [text.get_window_extent(renderer) for text in texts]
    width, height = figure.bbox.width, figure.bbox.height
    for k, (text, box) in enumerate(zip(texts, boxes, strict=True)):
        assert box.x0 >= -0.5, text
        assert box.y0 >= -0.5, text
        assert box.x1 <= width + 0.5, text
        assert box.y1 <= height + 0.5, text
        assert 6.0 <= text.get_fontsize() <= 9.0
        for other, there in zip(texts[k + 1 :], boxes[k + 1 :], strict=True):
            assert not overlap(box, there), (text, other)
        for axes in figure.axes:
            assert axes is text.axes or not overlap(box, axes.bbox), text
    places = [axes.get_tightbbox(renderer) for axes in figure.axes]
    for k, place in enumerate(places):
        assert not any(overlap(place, other) for other in places[k + 1 :])
    panels = 3 * (len(figure.axes) // 3) if name in COMPOSITES else 0
    for k, axes in enumerate(figure.axes[panels:]):
        assert axes.get_xlabel() or axes.get_ylabel(), k
    assert figure.get_figwidth() in (plotting.SINGLE_COLUMN, plotting.DOUBLE_COLUMN)


USERS = {"font.size": 20.0, "ytick.labelsize": 20.0, "axes.labelsize": "large", "savefig.bbox": "tight"}


@pytest.mark.parametrize("name", FIGURES)
def test_settings_of_the_user_stay(name):
    with mpl.rc_context(USERS):
        before = dict(mpl.rcParams)
        FIGURES[name]()
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
