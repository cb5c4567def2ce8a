import numpy as np

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
