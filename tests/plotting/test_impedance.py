"""Figures of impedance: what the artists hold against the data and the quadrature behind it."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import drt_engine as drt
from drt_engine import plotting
from drt_engine.errors import InputError

from .made import FREQUENCY, ONE, RESULT, SPECTRA, STATES, curves, fits, points, without_answer


def test_nyquist_shows_the_data_and_the_fit():
    axes = plotting.nyquist(SPECTRA, RESULT, rows=ONE, state="voltage").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Re $Z$ / Ω", "−Im $Z$ / Ω")
    assert len(points(axes)) == len(fits(axes)) == ONE.size
    for row, dots, line in zip(ONE, points(axes), fits(axes), strict=True):
        z = SPECTRA.impedance[row]
        np.testing.assert_array_equal(dots.get_xdata(), z.real)
        np.testing.assert_array_equal(dots.get_ydata(), -z.imag)
        fit = line.get_xdata() - 1j * line.get_ydata()
        assert fit.size > 4 * z.size
        # The data are exact, so the line passes through them; between its points it is a chord.
        gap = np.abs(fit[:, None] - z).min(axis=0)
        assert np.all(gap <= 0.5 * np.abs(np.diff(fit)).max() + 1e-6)
        np.testing.assert_allclose(fit[[0, -1]], z[[0, -1]], rtol=1e-6)
        assert tuple(dots.get_color()) == tuple(line.get_color())


def test_marks_stand_at_whole_decades():
    axes = plotting.nyquist(SPECTRA, RESULT, rows=9, marks=True).axes[0]
    marks = next(line for line in points(axes) if not isinstance(line.get_markerfacecolor(), str))
    decades = 10.0 ** np.arange(5, -3, -1)
    z = RESULT.impedance_at(decades)[9]
    np.testing.assert_allclose(marks.get_xdata() - 1j * marks.get_ydata(), z, rtol=1e-12)
    names = {"100 kHz", "10 kHz", "1 kHz", "100 Hz", "10 Hz", "1 Hz", "100 mHz", "10 mHz"}
    labels = {text.get_text(): text.xy for text in axes.texts}
    assert {"1 kHz", "10 Hz"} <= set(labels) <= names
    k = list(decades).index(10.0)
    np.testing.assert_allclose(labels["10 Hz"], (z[k].real, -z[k].imag), rtol=1e-9)
    measured = plotting.nyquist(SPECTRA, rows=9, marks=True).axes[0]
    marks = next(line for line in points(measured) if not isinstance(line.get_markerfacecolor(), str))
    assert np.abs(marks.get_xdata() - 1j * marks.get_ydata() - z).max() < 0.02 * np.abs(z).max()


def test_bode_shows_modulus_and_phase():
    upper, lower = plotting.bode(SPECTRA, rows=ONE[:2]).axes[:2]
    assert (upper.get_xscale(), upper.get_yscale(), lower.get_yscale()) == ("log", "log", "linear")
    assert (upper.get_ylabel(), lower.get_ylabel(), lower.get_xlabel()) == ("|$Z$| / Ω", "−arg $Z$ / °", "$f$ / Hz")
    z = SPECTRA.impedance[ONE[:2]]
    for row, modulus, phase in zip(z, upper.get_lines(), lower.get_lines(), strict=True):
        np.testing.assert_array_equal(modulus.get_xdata(), SPECTRA.frequency)
        np.testing.assert_allclose(modulus.get_ydata(), np.hypot(row.real, row.imag))
        np.testing.assert_allclose(phase.get_ydata(), np.degrees(np.arctan2(-row.imag, row.real)))
    drawn = plotting.bode(SPECTRA, RESULT, rows=ONE[:1])
    (modulus,), (phase,) = (fits(axes) for axes in drawn.axes[:2])
    at = [int(np.argmin(np.abs(np.log(modulus.get_xdata() / f)))) for f in SPECTRA.frequency]
    assert len(modulus.get_xdata()) > 4 * FREQUENCY.size
    np.testing.assert_allclose(modulus.get_ydata()[[0, -1]], np.abs(z[0])[[0, -1]], rtol=1e-6)
    fit = modulus.get_ydata() * np.exp(-1j * np.radians(phase.get_ydata()))
    assert np.abs(fit[at] - z[0]).max() < np.abs(np.diff(fit)).max()
    pair = Figure().subplots(2)
    assert plotting.bode(SPECTRA, axes=pair) is pair[0].figure
    with pytest.raises(InputError, match="two Axes"):
        plotting.bode(SPECTRA, axes=pair[0])


def test_residuals_are_those_of_the_fit():
    factor = 1 + 0.02 * np.exp(1j * np.linspace(0, 3, FREQUENCY.size))
    measured = drt.Spectra(SPECTRA.frequency, SPECTRA.impedance / factor, STATES)
    axes = plotting.residuals(measured, RESULT, rows=4).axes[0]
    re, im = points(axes)
    expected = 100 * (factor - 1) * np.exp(1j * np.angle(measured.impedance[4]))
    np.testing.assert_allclose(re.get_ydata(), expected.real, atol=1e-5)
    np.testing.assert_allclose(im.get_ydata(), expected.imag, atol=1e-5)
    both = np.hypot(re.get_ydata(), im.get_ydata()) / 100
    assert np.sqrt(np.mean(both**2)) == pytest.approx(0.02, rel=1e-5)
    low, high = axes.get_ylim()
    assert -low == high > np.abs(expected.view(float)).max()
    assert axes.get_xlim()[0] < axes.get_xlim()[1]
    assert "%" in axes.get_ylabel()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Re", "Im"]


@pytest.mark.parametrize("draw", [plotting.nyquist, plotting.bode, plotting.residuals])
def test_rows_without_answer_are_left_out(draw):
    result = without_answer(RESULT, ONE[[1, 3]])
    drawn = draw(SPECTRA, result, rows=np.isin(np.arange(len(RESULT)), ONE))
    axes = drawn.axes[0]
    assert len(points(axes)) == (ONE.size - 2) * (2 if draw is plotting.residuals else 1)
    assert all(np.isfinite(line.get_ydata()).all() for line in curves(axes))
    with pytest.raises(InputError, match="Every impedance is NaN or infinite"):
        draw(SPECTRA, result, rows=ONE[[1, 3]])


def test_missing_points_are_gaps():
    z = SPECTRA.impedance[:2].copy()
    z[0, 3], z[1] = np.nan, np.nan
    axes = plotting.nyquist(drt.Spectra(FREQUENCY, z)).axes[0]
    assert len(points(axes)) == 1
    assert np.count_nonzero(np.isnan(points(axes)[0].get_xdata())) == 1
    assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
    with pytest.raises(InputError, match="no finite impedance"):
        plotting.nyquist(drt.Spectra(FREQUENCY, z), rows=1)


def test_zeros_have_no_logarithm_and_no_residual():
    zeros = drt.invert(drt.Spectra(np.logspace(4, 0, 21), np.zeros((2, 21))), drt.Tikhonov())
    modulus = plotting.bode(zeros.spectra, zeros).axes[0]
    assert modulus.get_yscale() == "linear"
    with pytest.raises(InputError, match="no residual to draw"):
        plotting.residuals(zeros.spectra, zeros)
