"""Figures of γ: what the artists hold against Gaussians written out, and the colours of a state."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import Normalize

import drt_engine as drt
from drt_engine import plotting
from drt_engine.errors import InputError
from drt_engine.model.basis import Expansion
from drt_engine.plotting import ColourScale
from drt_engine.uncertainty.intervals import Intervals

from .made import ONE, RESULT, STATES, TAU, VOLTAGES, curves, fits, gaussians, made


def test_gamma_shows_all_of_it():
    truth = np.linspace(1, 99, STATES.shape[0])[:, None] * np.ones(TAU.size)
    axes = plotting.gamma(RESULT, rows=ONE, state="voltage", truth=(TAU, truth)).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (r"$\tau$ / s", r"$\gamma$ / Ω")
    lines = fits(axes)
    assert len(lines) == ONE.size
    for row, line in zip(ONE, lines, strict=True):
        tau, gamma = line.get_data()
        assert set(np.round(np.log(TAU), 9)) <= set(np.round(np.log(tau), 9))
        np.testing.assert_allclose(gamma, gaussians(tau, RESULT.coefficients[[row]])[0], atol=1e-9)
    dashed = [line for line in curves(axes) if line.get_linestyle() == "--"]
    np.testing.assert_array_equal([line.get_ydata() for line in dashed], truth[ONE])
    assert axes.get_ylim()[0] < 0 < truth[ONE].max() < axes.get_ylim()[1]
    assert axes.get_xlim() == pytest.approx((TAU[0], TAU[-1]))
    with pytest.raises(InputError, match="shape"):
        plotting.gamma(RESULT, truth=(TAU, truth[:3]))


def test_colours_follow_the_state():
    axes = plotting.gamma(RESULT, rows=ONE, state="voltage").axes[0]
    voltage = STATES["voltage"].to_numpy()[ONE]
    rgb = np.array([line.get_color() for line in fits(axes)])[:, :3]
    lightness = rgb[np.argsort(voltage)] @ [0.299, 0.587, 0.114]
    assert np.all(np.diff(lightness) > 0)
    assert lightness[-1] < 0.8
    bar = axes.figure.axes[1]
    assert bar.get_ylabel() == "Voltage / V"
    assert bar.get_ylim() == pytest.approx((2.2, 4.7))
    wide = plotting.gamma(
        RESULT, rows=ONE[:1], state=ColourScale("voltage", "cividis", low=0.0, high=4.7, bar=False)
    ).axes[0]
    assert len(wide.figure.axes) == 1
    assert tuple(fits(wide)[0].get_color()) == pytest.approx(mpl.colormaps["cividis"](0.9), abs=0.01)


def test_names_get_a_legend_and_colours_of_their_own():
    axes = plotting.gamma(RESULT, rows=[0, 24, 1], state="cell").axes[0]
    first, second, third = (tuple(line.get_color()) for line in fits(axes))
    assert first == third != second
    legend = axes.get_legend()
    keys = dict(zip([t.get_text() for t in legend.get_texts()], legend.get_lines(), strict=True))
    assert {name: mpl.colors.to_rgba(line.get_color()) for name, line in keys.items()} == {"B": first, "C": second}


def test_waterfall_stands_at_its_states():
    axes = plotting.waterfall(RESULT, rows=ONE).axes[0]
    gamma = gaussians(TAU, RESULT.coefficients[ONE])
    scale = plotting.waterfall_scale(gamma, VOLTAGES)  # on the nodes; the peak between them is as high within 0.1 %
    assert scale * gamma.max() == pytest.approx(0.3 * 2.5)
    for row, line in zip(ONE, fits(axes), strict=True):
        tau, height = line.get_data()
        expected = STATES["voltage"][row] + scale * gaussians(tau, RESULT.coefficients[[row]])[0]
        np.testing.assert_allclose(height, expected, rtol=1e-3)
    low, high = axes.get_ylim()
    assert low < 2.2 < 4.7 < max(line.get_ydata().max() for line in fits(axes)) < high
    fixed = plotting.waterfall(RESULT, "time", rows=ONE, scale=0.01).axes[0]
    hours = np.sort(STATES["time"].to_numpy()[ONE])[::-1] / 3600
    order = ONE[np.argsort(STATES["time"].to_numpy()[ONE])[::-1]]
    for hour, row, line in zip(hours, order, fits(fixed), strict=True):
        tau, height = line.get_data()
        expected = hour + 0.01 * gaussians(tau, RESULT.coefficients[[row]])[0]
        np.testing.assert_allclose(height, expected, atol=1e-9)
    assert fixed.get_ylabel() == "Time / h"
    bar = next(line for line in fixed.get_lines() if len(line.get_xdata()) == 2)
    ohm = float(fixed.texts[0].get_text().split("=")[1].removesuffix("Ω"))
    assert np.ptp(bar.get_ydata()) == pytest.approx(0.01 * ohm)


@pytest.mark.parametrize("rows", [ONE, [9]], ids=["some", "one"])
def test_intervals_are_bands_around_their_line(rows):
    ends = {"gamma_low": 0.8 * RESULT.gamma, "gamma_high": 1.3 * RESULT.gamma}
    others = {f"{name}_{end}": np.ones(len(RESULT)) for name in ("r_pol", "r_inf") for end in ("low", "high")}
    known = replace(RESULT, intervals=Intervals(level=0.9, **ends, **others))
    axes = plotting.gamma(known, rows=rows).axes[0]
    assert len(axes.collections) == len(rows)
    for row, line, band in zip(rows, fits(axes), axes.collections, strict=True):
        corners = band.get_paths()[0].vertices
        for k in (2, 9):
            at = np.isclose(corners[:, 0], TAU[k * 9], rtol=1e-9)
            expected = RESULT.gamma[row, k * 9] * np.array([0.8, 1.3])
            np.testing.assert_allclose([corners[at, 1].min(), corners[at, 1].max()], expected, atol=1e-9)
        assert band.get_facecolor()[0, :3] == pytest.approx(mpl.colors.to_rgb(line.get_color()))
    assert axes.get_ylim()[1] > 1.3 * RESULT.gamma[rows].max()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "90 %" in labels
    assert not plotting.gamma(RESULT, rows=rows).axes[0].collections


def test_a_misfit_without_intervals_has_no_band():
    ends = {"gamma_low": 0.8 * RESULT.gamma, "gamma_high": 1.3 * RESULT.gamma}
    others = {f"{name}_{end}": np.ones(len(RESULT)) for name in ("r_pol", "r_inf") for end in ("low", "high")}
    intervals = Intervals(level=0.9, **ends, **others).without(np.arange(len(RESULT)) == ONE[1])
    bands = plotting.gamma(replace(RESULT, intervals=intervals), rows=ONE).axes[0].collections
    there = [np.isfinite(band.get_paths()[0].vertices).all() if band.get_paths() else False for band in bands]
    assert sum(there) == len(ONE) - 1


def test_heat_map_gives_each_state_its_stripe():
    states = pd.DataFrame({"cycle": [10, 1, 5, 2]})
    _, result = made(states)
    axes = plotting.heat_map(result, "cycle").axes[0]
    mesh = axes.collections[0]
    corners = np.asarray(mesh.get_coordinates())
    np.testing.assert_allclose(corners[:, 0, 1], [0.5, 1.5, 3.5, 7.5, 12.5])
    np.testing.assert_allclose(axes.get_ylim(), (0.5, 12.5))
    shown = np.asarray(mesh.get_array()).reshape(corners.shape[0] - 1, corners.shape[1] - 1)
    middle = np.sqrt(corners[0, :-1, 0] * corners[0, 1:, 0])
    np.testing.assert_allclose(shown, gaussians(middle, result.coefficients[[1, 3, 2, 0]]), atol=1e-6)
    assert mesh.norm.vmin == 0
    assert mesh.norm.vmax == shown.max()
    assert axes.figure.axes[1].get_ylabel() == r"$\gamma$ / Ω"
    np.testing.assert_array_equal(axes.get_yticks(), [1, 2, 5, 10])
    linear = plotting.heat_map(result, "cycle", norm=Normalize(0, 500), bar=False).axes[0]
    assert linear.collections[0].norm.vmax == 500
    assert len(linear.figure.axes) == 1
    with pytest.raises(InputError, match="must reach the largest γ"):
        plotting.heat_map(result, "cycle", norm=Normalize(0, 1))


def test_a_line_stands_where_a_series_breaks():
    # The flag is that of the first spectrum after the break, along the voltage of one cell, cycle and direction.
    method = drt.LogGaussian(along="voltage", series=("cell", "cycle", "direction"))
    after = ONE[np.argsort(STATES["voltage"].to_numpy()[ONE])][[0, 3]]
    status = RESULT.status.astype(np.uint32)
    status[after] |= np.uint32(drt.Status.BREAK)
    result = replace(RESULT, status=status, method=method, expansion=Expansion(TAU, "piecewise-linear", np.nan))
    ordered = np.sort(STATES["voltage"].to_numpy()[ONE])
    for draw in (plotting.waterfall, plotting.heat_map):
        axes = draw(result, rows=ONE).axes[0]
        (line,) = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
        # None before the lowest voltage, which has nothing before it.
        assert line.get_ydata()[0] == pytest.approx(0.5 * (ordered[2] + ordered[3]))
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["series breaks"]
        assert draw(RESULT, rows=ONE).axes[0].get_legend() is None
    # Over cycles at one voltage each spectrum is of another series.
    same = np.flatnonzero((STATES["voltage"] == ordered[3]) & (STATES["direction"] == STATES["direction"][ONE[0]]))
    assert plotting.heat_map(result, "spectrum", rows=same).axes[0].get_legend() is None
