"""What a journal asks for: units, limits, sizes, tails, and many spectra."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine import plotting
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.plotting.look import ohms
from drt_engine.plotting.together import processes_in

from .made import ONE, PROFILE, RESULT, SPECTRA, STATES, curves, fits, points

AREA = STATES.assign(area=np.linspace(0.5, 2.0, len(STATES)))
WITH_AREA = drt.Spectra(SPECTRA.frequency, SPECTRA.impedance, AREA), replace(RESULT, states=AREA)


@pytest.mark.parametrize(
    ("largest", "factor", "unit"),
    [(5e-4, 1e6, "µΩ"), (0.02, 1e3, "mΩ"), (900.0, 1.0, "Ω"), (2e4, 1e-3, "kΩ"), (3e7, 1e-6, "MΩ"), (0.0, 1.0, "Ω")],
)
def test_numbers_of_ohms_are_short(largest, factor, unit):
    assert ohms(largest) == (factor, unit)


@pytest.mark.parametrize(("times", "unit"), [(1e-3, "mΩ"), (1.0, "Ω"), (1e3, "kΩ"), (1e6, "MΩ")])
def test_labels_say_the_unit_that_the_numbers_are_in(times, unit):
    spectra = drt.Spectra(SPECTRA.frequency, times * SPECTRA.impedance[ONE])
    axes = plotting.nyquist(spectra).axes[0]
    axes.figure.draw_without_rendering()
    assert axes.get_xlabel() == f"Re $Z$ / {unit}"
    for axis in (axes.xaxis, axes.yaxis):
        for at, text in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True):
            written = float(text.get_text().replace("−", "-"))
            assert written * ohms(times * 100.0)[0] ** -1 == pytest.approx(at, rel=1e-6, abs=1e-9 * times)
            assert len(text.get_text()) <= 5
    # What is drawn stays in ohm.
    assert np.array_equal(points(axes)[0].get_xdata(), spectra.impedance[0].real)


@pytest.mark.slow
def test_per_area_everything_is_in_ohm_square_centimetres():
    spectra, result = WITH_AREA
    by = AREA["area"].to_numpy()[ONE]
    nyquist = plotting.nyquist(spectra, result, rows=ONE, per_area=True).axes[0]
    assert (nyquist.get_xlabel(), nyquist.get_ylabel()) == ("Re $Z$ / Ω cm²", "−Im $Z$ / Ω cm²")
    assert np.allclose(points(nyquist)[2].get_xdata(), by[2] * SPECTRA.impedance[ONE[2]].real)
    gamma = plotting.gamma(RESULT, rows=ONE, per_area=2.0).axes[0]
    assert gamma.get_ylabel() == r"$\gamma$ / Ω cm²"
    assert np.allclose(fits(gamma)[0].get_ydata()[::5], 2.0 * RESULT.gamma[ONE[0]])
    waterfall = plotting.waterfall(result, rows=ONE, per_area=True).axes[0]
    assert waterfall.texts[0].get_text().endswith("Ω cm²")
    modulus = plotting.bode(spectra, rows=ONE, per_area=True).axes[0]
    assert modulus.get_ylabel() == "|$Z$| / Ω cm²"
    figure = plotting.composite(spectra, result, PROFILE, per_area=True, view="heat map")
    assert np.allclose(
        points(figure.axes[2])[0].get_xdata(), AREA["area"][ONE[0]] * SPECTRA.impedance[ONE[0]].real, rtol=1e-12
    )
    assert figure.axes[2].get_xlabel() == "Re $Z$ / Ω cm²"
    assert figure.axes[-1].get_ylabel() == r"$\gamma$ / Ω cm²"
    with pytest.raises(InputError, match=r"need the state 'area'"):
        plotting.gamma(RESULT, rows=ONE, per_area=True)
    assert plotting.gamma(RESULT, rows=ONE).axes[0].get_ylabel() == r"$\gamma$ / Ω"


def test_limits_cut_and_rescale():
    whole = plotting.gamma(RESULT, rows=ONE, tau_range=(1e-4, 1e-2)).axes[0]
    assert whole.get_xlim() == pytest.approx((1e-4, 1e-2))
    assert max(line.get_ydata().max() for line in fits(whole)) == pytest.approx(
        RESULT.gamma_at(np.geomspace(1e-4, 1e-2, 3000))[ONE].max(), rel=1e-2
    )
    high = plotting.gamma(RESULT, rows=ONE, gamma_range=(None, 5.0)).axes[0]
    assert high.get_ylim()[1] == 5.0
    logarithmic = plotting.gamma(RESULT, rows=ONE, log_gamma=True).axes[0]
    assert logarithmic.get_yscale() == "log"
    cut = plotting.waterfall(RESULT, rows=ONE, gamma_range=(0.0, 5.0)).axes[0]
    assert all(np.isnan(line.get_ydata()).any() for line in curves(cut))
    mesh = plotting.heat_map(RESULT, rows=ONE, log_gamma=True, gamma_range=(0.1, 5.0)).axes[0].collections[0]
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0.1, 5.0)
    z = plotting.nyquist(SPECTRA, rows=ONE, z_range=(10.0, 20.0)).axes[0]
    assert z.get_xlim()[1] < 21.0
    with pytest.raises(InputError, match="tau_range must reach into"):
        plotting.gamma(RESULT, rows=ONE, tau_range=(1e3, 1e4))
    with pytest.raises(InputError, match="the lower first; got"):
        plotting.gamma(RESULT, rows=ONE, tau_range=(1.0, 1e-3))
    with pytest.raises(InputError, match="cannot have a logarithmic γ"):
        plotting.waterfall(RESULT, rows=ONE, log_gamma=True)
    with pytest.raises(UnknownNameError, match="'green' is not known"):
        plotting.gamma(RESULT, rows=ONE, undetermined="green")


@pytest.mark.parametrize("times", [1e-6, 1.0, 1e6])
def test_powers_of_ten_on_a_logarithmic_axis_are_in_the_unit_beside_them(times):
    result = replace(RESULT[ONE], coefficients=times * RESULT[ONE].coefficients)
    figure = plotting.heat_map(result, log_gamma=True)
    for axes in (plotting.gamma(result, log_gamma=True).axes[0], figure.axes[1]):
        axes.figure.draw_without_rendering()
        assert axes.get_ylabel() == r"$\gamma$ / Ω"
        written = {at: tick.get_text() for at, tick in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
        power = round(np.log10(times * RESULT[ONE].gamma.max()) - 0.5)
        assert f"10^{{{power}}}" in written[min(written, key=lambda at: abs(np.log(at / 10.0**power)))]


@pytest.mark.slow
def test_each_may_have_a_scale_of_its_own():
    axes = plotting.waterfall(RESULT, rows=ONE, own_scales=True).axes[0]
    rises = [np.ptp(line.get_ydata()) for line in curves(axes)]
    assert np.allclose(rises, rises[0], rtol=0.01)
    assert "of each" in axes.texts[0].get_text()
    figure = plotting.composite(SPECTRA, RESULT, PROFILE, own_scales=True)
    assert sum(text.get_text().startswith(r"$\gamma$ =") for axes in figure.axes[4:6] for text in axes.texts) == 2


@pytest.mark.slow
def test_cells_far_apart_have_scales_of_their_own_and_the_figure_says_so(caplog):
    rows = [np.flatnonzero(STATES["cell"] == cell)[:2] for cell in ("B", "C")]
    states, z = STATES.iloc[np.concatenate(rows)], SPECTRA.impedance[np.concatenate(rows)].copy()
    z[2:] *= 30.0
    spectra = drt.Spectra(SPECTRA.frequency, z, states.reset_index(drop=True))
    result = drt.invert(spectra, drt.Tikhonov())
    figure = plotting.composite(spectra, result, at={"direction": "charge"})
    middle, bottom = figure.axes[2:4], figure.axes[4:6]
    assert middle[1].get_xlim()[1] > 10.0 * middle[0].get_xlim()[1]
    assert [axes.get_title(loc="right") for axes in bottom] == ["own scales"] * 2
    assert sum(text.get_text().startswith(r"$\gamma$ =") for axes in bottom for text in axes.texts) == 2
    assert "differ more than 20-fold" in caplog.text
    one = plotting.composite(spectra, result, at={"direction": "charge"}, own_scales=False)
    assert one.axes[2].get_xlim() == pytest.approx(one.axes[3].get_xlim())
    assert one.axes[5].get_title(loc="right") == ""


def unlike(times=(1e-3, 1.0, 1e4)):
    """Spectra of files of their own that differ by powers of ten, of which one has a cycle."""
    rows, by = ONE[: len(times)], np.array(times)[:, None]
    states = pd.DataFrame({"source": [f"sample {k}/a long measurement.txt{k}" for k in range(len(times))]})
    states["cycle"] = [1.0, *[np.nan] * (len(times) - 1)]
    spectra = drt.Spectra(SPECTRA.frequency, SPECTRA.impedance[rows] * by, states)
    result = RESULT[rows]
    scaled = {name: getattr(result, name) * by[:, 0] for name in ("r_inf", "inductance")}
    return spectra, replace(result, coefficients=result.coefficients * by, states=states, **scaled)


def test_spectra_that_only_a_number_orders_are_drawn_in_parts_of_their_own_size(caplog):
    spectra, result = unlike()
    axes = plotting.nyquist(spectra, result, state="spectrum").axes[0]
    assert axes.get_xlabel() == r"Re $Z$ / $Z_\mathrm{max}$ of each"
    for row, line in zip(spectra.impedance, points(axes), strict=True):
        z = line.get_xdata() - 1j * line.get_ydata()
        assert max(z.real.max(), -z.imag.min()) == pytest.approx(1.0)
        np.testing.assert_allclose(z / z[0], row / row[0], rtol=1e-12)
    for k, line in enumerate(fits(axes)[: len(spectra)]):
        assert np.ptp(line.get_xdata()) == pytest.approx(np.ptp(points(axes)[k].get_xdata()), rel=0.02)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend[:3] == [f"{k}: a long me…ent.txt{k}" for k in range(3)]
    axes = plotting.gamma(result, state="spectrum").axes[0]
    assert axes.get_ylabel() == r"$\gamma$ / $\gamma_\mathrm{max}$ of each"
    assert [line.get_ydata().max() for line in fits(axes)] == pytest.approx([1.0] * 3)
    assert "each is drawn in parts of its own largest γ" in caplog.text
    for wish in ({"own_scales": False}, {"z_range": (0.0, 1.0)}):
        assert "Ω" in plotting.nyquist(spectra, state="spectrum", **wish).axes[0].get_xlabel()
    assert "Ω" in plotting.gamma(result, state="spectrum", own_scales=False).axes[0].get_ylabel()
    assert "Ω" in plotting.nyquist(SPECTRA, rows=ONE, state="spectrum").axes[0].get_xlabel()


@pytest.mark.slow
@pytest.mark.recorded
@pytest.mark.parametrize("view", ["waterfall", "heat map"])
def test_a_composite_of_unlike_spectra_shows_all_and_names_them(view):
    spectra, result = unlike()
    numbered = replace(RESULT[ONE[:3]], states=pd.DataFrame({"number": range(3)}))
    tracks = processes_in(numbered, "number")
    figure = plotting.composite(spectra, result, state="spectrum", view=view, tracks=tracks)
    figure.draw_without_rendering()
    top, middle, bottom = figure.axes[:3]
    assert top.get_yscale() == "log"
    np.testing.assert_allclose(top.get_lines()[0].get_ydata(), result.r_pol)
    assert top.get_ylabel() == r"$R_\mathrm{pol}$ / Ω"
    assert middle.get_xlabel() == r"Re $Z$ / $Z_\mathrm{max}$ of each"
    assert len(points(middle)) == 3
    assert [text.get_text() for text in bottom.get_yticklabels()] == [f"{k}: a long me…ent.txt{k}" for k in range(3)]
    if view == "waterfall":
        assert np.allclose(
            [np.ptp(line.get_ydata()) for line in curves(bottom) if len(line.get_xdata()) > 9], 0.6, rtol=0.02
        )
    else:
        assert r"$\gamma$ / $\gamma_\mathrm{max}$ of each" in {axes.get_ylabel() for axes in figure.axes[3:]}
    of_peaks = [
        line for line in bottom.get_lines() if line.get_marker() in ("o", "s", "^", "D") and line.get_ydata().size
    ]
    assert of_peaks
    if view == "waterfall":
        highest = max(np.nanmax(line.get_ydata()) for line in of_peaks)
        assert highest == pytest.approx(2.6, abs=0.02)


@pytest.mark.slow
def test_sizes_are_those_of_the_journal():
    figure = plotting.gamma(RESULT, rows=ONE, state="cell", size=(2.5, 1.5), font_size=6.0)
    assert tuple(figure.get_size_inches()) == (2.5, 1.5)
    assert figure.axes[0].xaxis.label.get_fontsize() == 6.0
    assert {text.get_fontsize() for text in figure.axes[0].get_xticklabels()} == {5.0}
    assert plotting.nyquist(SPECTRA, rows=ONE, size=5.0).get_figwidth() == 5.0


def test_few_values_get_a_legend_and_many_a_bar():
    few = plotting.gamma(RESULT, rows=ONE[:5], state="voltage")
    assert [text.get_text() for text in few.axes[0].get_legend().get_texts()] == [
        "2.9 V",
        "3.3 V",
        "3.6 V",
        "4.1 V",
        "4.7 V",
    ]
    assert len(few.axes) == 1
    assert len(plotting.gamma(RESULT, rows=ONE, state="voltage").axes) == 2
    twice = plotting.gamma(RESULT, rows=[0, 0, 12], state="cycle")
    assert [text.get_text() for text in twice.axes[0].get_legend().get_texts()] == ["Cycle 1", "Cycle 50"]


def test_more_spectra_than_a_waterfall_can_show_are_a_heat_map_and_it_says_so(caplog):
    many = drt.concat([RESULT[ONE]] * 7)
    figure = plotting.waterfall(many, "spectrum")
    assert figure.axes[0].collections
    assert "42 spectra are too many for a waterfall: drawn as a heat map." in caplog.text
    assert not plotting.waterfall(many, "spectrum", scale=0.1).axes[0].collections


def test_a_measurement_that_was_repeated_is_drawn_once_and_it_says_so(caplog):
    again = drt.concat([RESULT[ONE], RESULT[ONE[:2]]])
    axes = plotting.waterfall(again).axes[0]
    assert len(curves(axes)) == ONE.size
    assert "2 of 8 spectra repeat" in caplog.text
    assert logging.getLogger("drt_engine.plotting.selection").level == 0


def tailed(frequency, tail):
    omega = 2j * np.pi * frequency
    return 10 + 40 / (1 + omega * 1e-4) + tail(omega)


@pytest.mark.parametrize(
    ("tail", "words"),
    [(lambda w: 1 / (w * 1e-4), "blocking tail, to"), (lambda w: w * 1e-3, "inductive tail, to")],
    ids=["blocking", "inductive"],
)
def test_a_tail_leaves_the_arcs_their_room_and_the_plot_says_so(tail, words):
    frequency = np.geomspace(1e5, 1e-1, 61)
    spectra = drt.Spectra(frequency, tailed(frequency, tail))
    axes = plotting.nyquist(spectra).axes[0]
    assert np.ptp(axes.get_xlim()) < 3 * 40
    assert np.ptp(axes.get_ylim()) < 3 * 40
    assert words in axes.texts[0].get_text()
    whole = plotting.nyquist(spectra, whole_tails=True).axes[0]
    assert np.ptp(whole.get_ylim()) > 5 * 40
    assert not whole.texts


@pytest.mark.parametrize("tail", [lambda w: 0 * w, lambda w: 1 / (w * 0.05), lambda w: 15 / (1 + w) ** 0.5])
def test_what_is_no_long_tail_is_shown_whole(tail):
    frequency = np.geomspace(1e5, 1e-1, 61)
    z = tailed(frequency, tail)
    axes = plotting.nyquist(drt.Spectra(frequency, z)).axes[0]
    assert axes.get_xlim()[1] > z.real.max()
    assert axes.get_ylim()[1] > -z.imag.min()
    assert not axes.texts


def test_a_blocking_cell_without_arcs_is_shown_whole():
    frequency = np.geomspace(1e5, 1e-1, 61)
    z = 10 + 1 / (2j * np.pi * frequency * 1e-5)
    axes = plotting.nyquist(drt.Spectra(frequency, z)).axes[0]
    assert axes.get_ylim()[1] > -z.imag.min()


def test_unlike_spectra_with_only_a_number_have_a_panel_each(caplog):
    number = 45
    sizes = np.geomspace(1e-2, 1e4, number)
    some = replace(
        RESULT[np.resize(ONE, number)],
        states=pd.DataFrame({"spectrum": np.arange(number), "kind": np.resize(["RC", "RC-RC"], number)}),
    )
    some = replace(some, coefficients=some.coefficients * sizes[:, None])
    figure = plotting.waterfall(some, "spectrum")
    assert f"{number} spectra have no state in common to be ordered by" in caplog.text
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == 20
    assert panels[0].get_title() == "0: RC"
    assert panels[-1].get_title() == "44: RC"
    # Each is seen on its own scale.
    for axes in panels:
        top = np.nanmax(axes.lines[-1].get_ydata())
        assert 0.5 * axes.get_ylim()[1] < top <= axes.get_ylim()[1]
    assert plotting.waterfall(some, "spectrum", own_scales=True).axes[0].collections
