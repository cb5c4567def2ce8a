"""Figures of validity: what the artists hold against the residuals."""

from dataclasses import replace

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.plotting.validity import validity_map, validity_residuals
from drt_engine.validation import validate

from .made import FREQUENCY, NOISY, ONE, STATES


@pytest.fixture(scope="module")
def found():
    z = NOISY.impedance.copy()
    z[ONE[2], 10] *= 1.1
    z[ONE[4]] = np.nan
    z[ONE[3], 20] = np.nan
    return validate(drt.Spectra(FREQUENCY, z, STATES))


def lines(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


def test_residuals_of_one_spectrum(found):
    row = int(ONE[2])
    axes = validity_residuals(found, row).axes[0]
    percent = 100 * found.full_residual[row]
    re, ring, other = lines(axes, "o")
    np.testing.assert_array_equal(re.get_xdata(), FREQUENCY)
    np.testing.assert_array_equal(re.get_ydata(), percent.real)
    np.testing.assert_array_equal(lines(axes, "^")[0].get_ydata(), percent.imag)
    np.testing.assert_array_equal(ring.get_xdata(), FREQUENCY[[10]])
    np.testing.assert_array_equal(other.get_ydata(), percent.imag[[10]])
    assert axes.get_title(loc="left") == "outlier"
    low, high = axes.get_ylim()
    assert low == -high < -np.abs([percent.real, percent.imag]).max()
    assert axes.get_xlabel() == "$f$ / Hz"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Re", "Im"]
    band = axes.collections[0].get_paths()[0].vertices
    top = {f: max(band[band[:, 0] == f, 1]) for f in FREQUENCY}
    np.testing.assert_allclose([*top.values()], 200 * found.deviation[row], rtol=1e-6)
    assert validity_residuals(found, 0).axes[0].get_title(loc="left") == "valid"


@pytest.mark.parametrize("part", ["noise", "modulus", "re", "im"])
def test_the_map_holds_every_residual(found, part):
    axes = validity_map(found, "voltage", rows=ONE, **({} if part == "noise" else {"part": part})).axes[0]
    mesh = axes.collections[0]
    tested = ONE[found.tested[ONE]]
    assert tested.size == ONE.size - 1
    order = tested[np.argsort(STATES["voltage"][tested].to_numpy())]
    residual = 100 * found.full_residual[order]
    in_noise = np.abs(found.full_residual[order]) / found.deviation[order] / np.sqrt(2)
    expected = {"noise": in_noise, "modulus": np.abs(residual), "re": residual.real, "im": residual.imag}[part]
    held = mesh.get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(held), np.isnan(expected))
    np.testing.assert_allclose(held.compressed(), expected[~np.isnan(expected)], rtol=1e-5)
    [dots] = lines(axes, ".")
    assert dots.get_xdata().tolist() == [FREQUENCY[10]]
    assert dots.get_ydata().tolist() == [STATES["voltage"][ONE[2]]]
    marks = axes.lines[-1]
    assert marks.get_ydata().tolist() == sorted(STATES["voltage"][order[~found.valid[order]]])
    low, high = mesh.norm.vmin, mesh.norm.vmax
    assert high == (5.0 if part == "noise" else pytest.approx(np.nanmax(np.abs(expected))))
    assert low == pytest.approx({"noise": 0.0, "modulus": high / 100}.get(part, -high))
    assert axes.get_ylabel() == "Voltage / V"
    assert axes.get_xlim() == pytest.approx((FREQUENCY.min(), FREQUENCY.max()))


def test_the_row_number_is_the_state_unless_told(found):
    axes = validity_map(found, rows=[1, 2, 5]).axes[0]
    assert axes.get_ylabel() == "Spectrum"
    edges = axes.collections[0].get_coordinates()[:, 0, 1]
    np.testing.assert_allclose(edges, [0.5, 1.5, 3.5, 6.5])


def test_mistakes_are_explained(found):
    with pytest.raises(InputError, match="of type Validation; got Spectra"):
        validity_map(NOISY)
    with pytest.raises(InputError, match="one row number"):
        validity_residuals(found, [0, 1])
    with pytest.raises(InputError, match=r"no result in the 1 chosen rows\. Every impedance is NaN"):
        validity_residuals(found, int(ONE[4]))
    with pytest.raises(InputError, match="each value of 'voltage' once"):
        validity_map(found, "voltage")
    with pytest.raises(InputError, match="part 'phase' is not known"):
        validity_map(found, part="phase")
    with pytest.raises(InputError, match="state 'volt' is not known"):
        validity_map(found, "volt")


def test_grids_are_in_one_map(found):
    other = validate(drt.Spectra(FREQUENCY[5:30:2], NOISY.impedance[:3, 5:30:2]))
    one = replace(found, states=found.states[[]])
    axes = validity_map([one, other]).axes[0]
    mesh = axes.collections[0]
    shown = mesh.get_array().reshape(mesh.get_coordinates().shape[0] - 1, -1)
    kept = int(found.tested.sum())
    assert len(shown) == kept + 3
    middle = np.sqrt(mesh.get_coordinates()[0, 1:, 0] * mesh.get_coordinates()[0, :-1, 0])
    for rows, part, residual in (
        (slice(0, kept), found, found.in_noise[found.tested]),
        (slice(kept, None), other, other.in_noise),
    ):
        at = [int(np.argmin(np.abs(np.log(middle / frequency)))) for frequency in part.frequency]
        expected = np.ma.masked_invalid(residual)
        np.testing.assert_allclose(shown[rows][:, at].filled(0), expected.filled(0), rtol=1e-6)
    beyond = shown[kept:][:, (middle > 2 * other.frequency[0]) | (middle < 0.5 * other.frequency[-1])]
    assert beyond.mask.all()
