"""The composite figure: which spectra and curves are in it, on which scales; and files of figures."""

import io
import struct

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from drt_engine import plotting
from drt_engine.plotting import CompositeView

from .made import ONE, PROFILE, RESULT, SPECTRA, STATES, VOLTAGES, composite, curves, fits, made, points


def panels(figure, columns):
    return np.array(figure.axes[: 3 * columns]).reshape(3, columns)


def rows_of(cell, cycle=1, direction="discharge"):
    return np.flatnonzero((STATES["cell"] == cell) & (STATES["cycle"] == cycle) & (STATES["direction"] == direction))


def scattered(axes):
    return np.asarray(axes.collections[-1].get_offsets())


@pytest.mark.slow
def test_two_cells_side_by_side():
    figure = composite("two cells")
    top, middle, bottom = panels(figure, 2)
    assert [axes.get_title() for axes in top] == [f"Cell {cell}\ncycle 1, discharge" for cell in "BC"]
    assert [axes.get_title(loc="left") for axes in (*top, *middle, *bottom)] == list("abcdef")
    assert [row[0].get_ylabel() for row in (top, middle, bottom)] == ["Voltage / V", "−Im $Z$ / Ω", "Voltage / V"]
    assert [row[0].get_xlabel() for row in (top, middle, bottom)] == ["Capacity / mAh", "Re $Z$ / Ω", r"$\tau$ / s"]
    for column, cell in enumerate("BC"):
        rows = rows_of(cell)
        np.testing.assert_allclose(
            scattered(top[column]), np.column_stack([STATES["charge"][rows] / 3.6, VOLTAGES[::-1]])
        )
        (curve,) = curves(top[column])
        own = PROFILE[(PROFILE["cell"] == cell) & (PROFILE["cycle"] == 1) & (PROFILE["direction"] == "discharge")]
        np.testing.assert_allclose(curve.get_xdata(), own["charge"] / 3.6)
        np.testing.assert_allclose(curve.get_ydata(), own["voltage"])
        for row, dots in zip(rows, points(middle[column]), strict=True):
            np.testing.assert_array_equal(dots.get_xdata(), SPECTRA.impedance[row].real)
        colours = [to_rgba(dots.get_color()) for dots in points(middle[column])]
        np.testing.assert_allclose(colours, top[column].collections[-1].get_facecolors())
        np.testing.assert_allclose(colours, [to_rgba(line.get_color()) for line in fits(bottom[column])])
        (low, high), (first, last) = top[column].get_ylim(), (VOLTAGES[0], VOLTAGES[-1])
        assert low < first - 0.05 < last + 0.05 < high
        assert top[column].get_xlim()[0] < -0.05 < 2.05 < top[column].get_xlim()[1]
    for left, right in (top, middle, bottom):
        assert left.get_xlim() == pytest.approx(right.get_xlim())
        assert left.get_ylim() == pytest.approx(right.get_ylim())
    assert figure.axes[6].get_ylabel() == "Voltage / V"
    assert figure.axes[6].get_ylim() == pytest.approx((2.2, 4.7))


@pytest.mark.slow
def test_the_layout_stays_when_the_figure_is_drawn_again():
    figure = composite("two cells")
    places = []
    for _ in range(2):
        figure.draw_without_rendering()
        places.append([axes.get_position().bounds for axes in figure.axes])
    np.testing.assert_allclose(places[1], places[0], atol=1e-9)
    for column in panels(figure, 2).T:
        sides = np.array([[axes.get_position().x0, axes.get_position().x1] for axes in column])
        np.testing.assert_allclose(sides, sides[:1].repeat(3, axis=0), atol=1e-6)


@pytest.mark.slow
def test_cells_are_shown_in_the_order_asked_for():
    at = {"cycle": 50, "direction": "charge"}
    figure = plotting.composite(SPECTRA, RESULT, cells=["C", "B"], at=at, cell_names={"C": "coated"})
    top, middle, _ = panels(figure, 2)
    assert [axes.get_title() for axes in top] == ["coated", "Cell B"]
    for column, cell in enumerate("CB"):
        shown = [dots.get_xdata() for dots in points(middle[column])]
        np.testing.assert_array_equal(shown, SPECTRA.impedance[rows_of(cell, 50, "charge")].real)


@pytest.mark.slow
def test_charge_and_discharge_follow_each_other_in_time():
    figure = composite("charge and discharge")
    top, _, bottom = panels(figure, 2)
    both = np.concatenate([rows_of("B", 1, "charge"), rows_of("B", 1, "discharge")])
    hours = (STATES["time"][both] - STATES["time"][both].min()) / 3600
    np.testing.assert_allclose(scattered(top[0])[:, 0], hours, atol=1e-9)
    assert len(curves(top[0])) == 2
    assert (top[0].get_xlabel(), bottom[0].get_ylabel()) == ("Time / h", "Time / h")
    meshes = [axes.collections[0] for axes in bottom]
    assert meshes[0].norm.vmax == meshes[1].norm.vmax == max(mesh.get_array().max() for mesh in meshes)
    assert [axes.get_ylabel() for axes in figure.axes[6:]] == ["Voltage / V", r"$\gamma$ / Ω"]


@pytest.mark.slow
def test_without_voltage_the_resistance_is_shown_over_the_state():
    states = pd.DataFrame({"cell": "35C02", "state": "V", "cycle": [1, 4, 9, 3], "time": [0.0, 3e5, 8e5, 2e5]})
    spectra, result = made(states)
    top, middle, bottom = panels(plotting.composite(spectra, result, state="cycle", at={"state": "V"}), 1)[:, 0]
    np.testing.assert_allclose(scattered(top), np.column_stack([states["cycle"], result.r_pol]))
    assert (top.get_xlabel(), top.get_ylabel()) == ("Cycle", r"$R_\mathrm{pol}$ / Ω")
    assert len(points(middle)) == 4
    assert bottom.get_ylabel() == "Cycle"
    np.testing.assert_array_equal(bottom.get_yticks(), [1, 3, 4, 9])


@pytest.mark.slow
def test_waterfalls_of_one_scale_have_one_bar():
    figure = composite("two cells")
    texts = [[text.get_text() for text in axes.texts] for axes in panels(figure, 2)[2]]
    assert [len(some) for some in texts] == [0, 1]
    ohm = float(texts[1][0].split("=")[1].removesuffix("Ω"))
    for axes in panels(figure, 2)[2]:
        places = [line.get_data() for line in axes.get_lines() if len(line.get_xdata()) > 2]
        low, high = axes.get_ylim()
        assert all(low <= y.min() <= y.max() <= high for _, y in places)
    (bar,) = (line for line in panels(figure, 2)[2, 1].get_lines() if len(line.get_xdata()) == 2)
    left = panels(figure, 2)[2, 0]
    tallest = max(left.get_lines(), key=lambda line: np.ptp(line.get_ydata()))
    row = int(np.argmax([RESULT.gamma[k].max() for k in ONE]))
    assert np.ptp(tallest.get_ydata()) / np.ptp(bar.get_ydata()) == pytest.approx(
        RESULT.gamma[ONE[row]].max() / ohm, rel=0.02
    )


@pytest.mark.slow
def test_states_without_a_cell_make_one_column():
    spectra, result = made(pd.DataFrame({"voltage": [3.0, 3.5, 4.0], "time": [10.0, 20.0, 30.0]}))
    figure = plotting.composite(spectra, result, view=CompositeView(along="spectrum"))
    top, _, bottom = panels(figure, 1)[:, 0]
    np.testing.assert_allclose(scattered(top)[:, 0], np.array([0.0, 10.0, 20.0]) / 3600)
    assert top.get_title() == ""
    np.testing.assert_array_equal(bottom.get_yticks(), [0, 1, 2])
    assert figure.get_figwidth() == plotting.SINGLE_COLUMN


@pytest.mark.slow
def test_files_keep_text_as_text(tmp_path):
    axes, again = (plotting.waterfall(RESULT, rows=ONE) for _ in range(2))
    pdf, svg = (plotting.save(axes, tmp_path / f"figure.{kind}") for kind in ("pdf", "svg"))
    assert b"/CIDFontType2" in pdf.read_bytes()
    assert b"/Type3" not in pdf.read_bytes()
    assert "Voltage / V</text>" in svg.read_text()
    for path in (pdf, svg):
        copy = plotting.save(again.figure, path.with_stem("again"))
        assert copy.read_bytes() == path.read_bytes()
    png = plotting.save(axes, str(tmp_path / "figure.png"), dpi=100)
    assert struct.unpack(">II", png.read_bytes()[16:24]) == (350, 320)


def test_a_notebook_shows_the_figure():
    image, size = plotting.gamma(RESULT, rows=0)._repr_png_()
    assert io.BytesIO(image).read(8) == b"\x89PNG\r\n\x1a\n"
    assert size == {"width": 385, "height": 253}


def test_voltages_stand_over_what_all_cells_know_and_else_resistances_do():
    states = STATES.loc[(STATES["cycle"] == 1) & (STATES["direction"] == "discharge")].reset_index(drop=True)
    states["charge"] = states["charge"].where(states["cell"] == "B")
    spectra, result = made(states.drop(columns="time"))
    top = panels(plotting.composite(spectra, result), 2)[0]
    assert [axes.get_xlabel() for axes in top] == ["Voltage / V"] * 2
    assert top[0].get_ylabel() == r"$R_\mathrm{pol}$ / Ω"
    for axes, cell in zip(top, ("B", "C"), strict=True):
        drawn = axes.collections[0].get_offsets()
        np.testing.assert_allclose(np.sort(drawn[:, 1]), np.sort(result.r_pol[(states["cell"] == cell).to_numpy()]))
