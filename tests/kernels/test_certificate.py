import numpy as np
import pytest

from drt_kernels import certificate


def test_is_its_definition_and_keeps_nan():
    rng = np.random.default_rng(7)
    x, gradient = rng.standard_normal((2, 5, 8))
    lam, norm = rng.random((2, 5)) + 0.1
    data, penalty = rng.random((2, 8)) + 0.1
    x[3, 2] = np.nan
    gradient[4, 0] = np.nan
    out = np.empty(5)
    certificate.optimality(x, gradient, lam, data, penalty, norm, out)
    d = np.sqrt(data + lam[:, None] * penalty)
    u, h = x * d / norm[:, None], gradient / (d * norm[:, None])
    expected = np.maximum(np.abs(np.minimum(u, h)), np.abs(u * h)).max(axis=1)
    np.testing.assert_allclose(out[:3], expected[:3], rtol=1e-14)
    assert np.isnan(out[3:]).all()


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_misfit_is_the_relative_root_mean_square_in_any_unit(unit):
    rng = np.random.default_rng(8)
    z, fit = (rng.standard_normal((2, 4, 6)) + 1j * rng.standard_normal((2, 4, 6))) * unit
    z[1, 2] = fit[1, 2] = 0.0
    z[2] = fit[2] = 0.0
    fit[3, 1] = np.nan
    out = np.empty(4)
    certificate.misfit(fit, z, out)
    np.testing.assert_allclose(out[0], np.sqrt(np.mean((np.abs(fit[0] - z[0]) / np.abs(z[0])) ** 2)), rtol=1e-13)
    others = np.delete(np.arange(6), 2)
    ratio = np.abs(fit[1] - z[1])[others] / np.abs(z[1])[others]
    np.testing.assert_allclose(out[1], np.sqrt(np.sum(ratio**2) / 6), rtol=1e-13)
    assert out[2] == 0.0
    assert np.isnan(out[3])
