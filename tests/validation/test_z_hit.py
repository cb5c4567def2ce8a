"""The Z-HIT against arcs whose modulus is known, and known drift."""

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.validation import Validity, ZHit, validate

from .made import FREQUENCY, OMEGA, cells, spectra_of, zarc

DENSE = np.logspace(6, -3, 181)


def test_a_constant_phase_element_is_reconstructed_exactly():
    # phase constant, so both the truncated series and the spline are exact
    z = 3 / (1j * OMEGA) ** 0.7
    found = validate(spectra_of(z), ZHit())
    np.testing.assert_allclose(found.residual[0], 0, atol=1e-12)
    assert found.valid[0]
    assert found.drift[0] == pytest.approx(0, abs=1e-12)


def test_an_arc_is_reconstructed_as_the_formula_says():
    omega = 2 * np.pi * DENSE
    z = 10 + zarc(omega, 50, 1e-2, 0.7)
    found = validate(drt.Spectra(DENSE, z), ZHit(smoothing=1))
    # the formula with exact phase derivative and quadrature by trapezes on a much finer grid
    fine = np.linspace(np.log(omega[-1]), np.log(omega[0]), 200001)
    phase = np.angle(10 + zarc(np.exp(fine), 50, 1e-2, 0.7))
    whole = np.concatenate([[0], np.cumsum(0.5 * (phase[1:] + phase[:-1]) * np.diff(fine))])
    made = 2 / np.pi * whole - np.pi / 6 * np.gradient(phase, fine)
    off = np.log(np.abs(z)) - np.interp(np.log(omega), fine, made)
    inside = (DENSE >= 1) & (DENSE <= 1000)
    off -= off[inside].mean()
    # (|Z| − |Z_made|) / |Z| along Z
    expected = (1 - np.exp(-off)) * z / np.abs(z)
    np.testing.assert_allclose(found.residual[0][2:-2], expected[2:-2], atol=2e-5)
    assert np.abs(found.residual[0]).max() < 0.01


@pytest.mark.parametrize("size", [-0.1, -0.04, 0.04, 0.1])
def test_a_known_drift_is_measured(size):
    spent = np.cumsum(1 / FREQUENCY)
    z = cells(noise=0.001)
    still = validate(spectra_of(z), ZHit())
    found = validate(spectra_of(z * np.exp(size * spent / spent[-1])), ZHit())
    assert still.valid.all()
    assert ((found.flag & Validity.DRIFT) > 0).all()
    np.testing.assert_allclose(found.drift - still.drift, size, rtol=0.02)


def test_only_the_phase_makes_the_modulus():
    z = cells()
    bumped = z.copy()
    bumped[:, 40] *= 1.3
    difference = validate(spectra_of(bumped), ZHit()).residual - validate(spectra_of(z), ZHit()).residual
    far = np.delete(np.arange(FREQUENCY.size), 40)
    np.testing.assert_allclose(difference[:, far], 0, atol=1e-12)
    assert (np.abs(difference[:, 40]) > 0.2).all()


def test_scale_and_bad_rows():
    z = cells(rows=5)
    whole = validate(spectra_of(z), ZHit())
    np.testing.assert_allclose(validate(spectra_of(1e-3 * z), ZHit()).residual, whole.residual, atol=1e-9)
    z[1] = np.nan
    z[2] = 0
    z[3, 5] = np.nan
    found = validate(spectra_of(z), ZHit())
    np.testing.assert_array_equal(found.residual[[0, 4]], whole.residual[[0, 4]])
    assert found.flag[[1, 2]].tolist() == [Validity.NOT_FINITE] * 2
    assert found.flag[3] & Validity.POINTS_MISSING
    assert np.isnan(found.residual[3]).sum() == 1
    assert (found.elements == 0).all()
    assert np.isnan(found.mu).all()


def test_a_window_without_points_is_all_of_them():
    z = cells()
    wide, none = (validate(spectra_of(z), ZHit(window=w)).residual for w in ((1e-6, 1e9), (1e8, 1e9)))
    np.testing.assert_array_equal(wide, none)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (10, 1)}, "positive, ascending"),
        ({"window": 3}, "two frequencies"),
        ({"smoothing": 4}, "odd number"),
        ({"smoothing": "5"}, "odd number"),
        ({"limit": 0}, "limit must be a positive number"),
    ],
)
def test_mistakes_are_explained(options, message):
    with pytest.raises(InputError, match=message):
        ZHit(**options)
