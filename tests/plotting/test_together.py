"""Results on several frequency grids in one figure, walls of γ beyond the data, and units of heat maps."""

from dataclasses import replace

import numpy as np
import pytest

import drt_engine as drt
from drt_engine import plotting
from drt_engine.errors import InputError
from drt_engine.plotting.together import gamma_bands, one_result, one_spectra, processes_in
from drt_engine.result_fields import INTERVAL_UNITS
from drt_engine.uncertainty.intervals import Intervals

from .made import ONE, RESULT, SPECTRA, TAU, points

COARSE = slice(4, 36, 2)


def on_two_grids():
    """Half of the spectra on fewer frequencies, and with fewer relaxation times."""
    first, second = RESULT[ONE[:3]], RESULT[ONE[3:]]
    z, f = SPECTRA.impedance[ONE[3:]][:, COARSE], SPECTRA.frequency[COARSE]
    short = drt.Spectra(f, z, second.states)
    kept = slice(20, 71)
    other = replace(
        second,
        frequency=f,
        impedance=z,
        expansion=replace(second.expansion, tau=TAU[kept]),
        coefficients=second.coefficients[:, kept],
    )
    return [SPECTRA[ONE[:3]], short], [first, other]


def test_rows_of_several_grids_are_evaluated_by_their_own_result():
    spectra, results = on_two_grids()
    whole, z = one_result(results), one_spectra(spectra)
    assert len(whole) == len(z) == len(ONE)
    tau = np.geomspace(1e-7, 1e2, 200)
    gamma = whole.gamma_at(tau)
    inside = (tau >= TAU[20]) & (tau <= TAU[70])
    np.testing.assert_array_equal(gamma[:3], results[0].gamma_at(tau))
    np.testing.assert_array_equal(gamma[3:][:, inside], results[1].gamma_at(tau)[:, inside])
    assert np.isnan(gamma[3:][:, ~inside]).all()
    np.testing.assert_array_equal(whole.r_pol, np.concatenate([one.r_pol for one in results]))
    mine = whole[[5, 0]]
    np.testing.assert_array_equal(mine.r_pol, whole.r_pol[[5, 0]])
    np.testing.assert_array_equal(mine.gamma_at(tau[inside])[0], results[1].gamma_at(tau[inside])[2])
    fit = whole.impedance_at(z.frequency)
    measured = np.isfinite(z.impedance[3])
    assert measured.sum() == spectra[1].frequency.size < z.frequency.size
    np.testing.assert_array_equal(fit[3:][:, measured], results[1].impedance_at(spectra[1].frequency))
    beyond = (z.frequency > spectra[1].frequency[0]) | (z.frequency < spectra[1].frequency[-1])
    assert np.isnan(fit[3:][:, beyond]).all()
    assert np.isfinite(fit[3:][:, ~beyond]).all()
    with pytest.raises(InputError, match="expected Inversion, or a list of them on different frequencies; got Spectra"):
        one_result([spectra[0]])


@pytest.mark.slow
@pytest.mark.recorded
def test_figures_of_several_grids_show_all_and_per_area_by_the_area_of_each():
    spectra, results = on_two_grids()
    areas = np.linspace(0.5, 2.0, len(ONE))
    for one, own in ((0, areas[:3]), (1, areas[3:])):
        spectra[one] = spectra[one].with_states(area=own)
        results[one] = replace(results[one], states=spectra[one].states)
    axes = plotting.nyquist(spectra, results, per_area=True).axes[0]
    drawn = points(axes)
    assert [np.isfinite(line.get_xdata()).sum() for line in drawn] == [43] * 3 + [16] * 3
    last = drawn[-1].get_xdata()
    np.testing.assert_allclose(last[np.isfinite(last)], areas[-1] * spectra[1].impedance[-1].real)
    for figure in (
        plotting.waterfall(results),
        plotting.heat_map(results),
        plotting.gamma(results, state="voltage"),
        plotting.bode(spectra, results),
        plotting.residuals(spectra, results),
        plotting.composite(spectra, results, per_area=True),
    ):
        figure.draw_without_rendering()
    one = plotting.composite(spectra, results, per_area=True).axes[0]
    assert sorted(np.concatenate([line.get_offsets()[:, 0] for line in one.collections])) == pytest.approx(
        sorted(np.concatenate([part.states["charge"] for part in spectra]) / 3.6)
    )


def test_bands_and_processes_of_several_grids():
    spectra, results = on_two_grids()
    for k, one in enumerate(results):
        ends = {name: np.zeros(len(one)) for name in INTERVAL_UNITS if not name.startswith("gamma")}
        found = Intervals(0.9, gamma_low=one.gamma, gamma_high=2.0 * one.gamma, **ends)
        results[k] = replace(one, intervals=found)
    whole = one_result(results)
    low, high, level = gamma_bands(whole[[4, 1]], TAU[20:71])
    assert level == 0.9
    np.testing.assert_allclose(high, 2.0 * low)
    np.testing.assert_allclose(low[0], results[1].gamma[1], rtol=1e-9)
    np.testing.assert_allclose(low[1], results[0].gamma[1][20:71], rtol=1e-9)
    tracks = processes_in(whole, "voltage")
    for row, tau in zip(tracks.table["spectrum"], tracks.table["tau"], strict=True):
        own = whole[[row]].gamma_at([tau / 1.5, tau, tau * 1.5])[0]
        assert own[1] > own[0]
        assert own[1] > own[2]
    assert set(tracks.table["spectrum"]) == set(range(len(ONE)))
    assert spectra


def walled():
    """A peak within the data, and a wall behind their longest relaxation time that is a hundred times as high."""
    result = RESULT[ONE]
    coefficients = result.coefficients.copy()
    coefficients[:, TAU * 2 * np.pi * result.frequency[-1] > 1.5] = 100.0 * result.coefficients.max()
    return replace(result, coefficients=coefficients)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1.0, 1e6])
def test_a_wall_of_gamma_beyond_the_data_sets_no_scale_and_units_are_right(times):
    result = replace(walled(), coefficients=times * walled().coefficients)
    within = times * RESULT[ONE].gamma.max()
    axes = plotting.gamma(result).axes[0]
    assert within < axes.get_ylim()[1] < 1.5 * within
    assert "not shown whole" in axes.texts[0].get_text()
    assert plotting.gamma(result, whole_tails=True).axes[0].get_ylim()[1] > 50.0 * within
    figure = plotting.heat_map(result)
    norm, bar = figure.axes[0].collections[0].norm, figure.axes[-1]
    assert within * 0.9 < norm.vmax < 1.5 * within
    figure.draw_without_rendering()
    factor, unit = plotting.look.ohms(norm.vmax)
    assert bar.get_ylabel() == rf"$\gamma$ / {unit}"
    for at, text in zip(bar.yaxis.get_ticklocs(), bar.yaxis.get_ticklabels(), strict=True):
        assert float(text.get_text()) == pytest.approx(at * factor, rel=0.01)
    assert bar.yaxis.get_offset_text().get_text() == ""
    assert "not shown whole" in plotting.composite(SPECTRA[ONE], result).axes[2].texts[0].get_text()


def test_legends_fit_above_their_axes_and_have_no_value_twice():
    states = RESULT.states.loc[ONE[:4]].reset_index(drop=True)
    close = replace(RESULT[ONE[:4]], states=states.assign(voltage=[3.0, 3.0 + 1e-9, 3.5, 4.0]))
    figure = plotting.gamma(close, state="voltage")
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["3 V", "3.5 V", "4 V"]
    assert figure.bbox.x0 <= legend.get_window_extent().x0
    assert figure.axes[0].get_position().width > 0.6
