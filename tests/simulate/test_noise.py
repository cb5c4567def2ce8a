"""Noise against the standard deviation that it states."""

import numpy as np
import pytest

from drt_engine.errors import InputError
from drt_engine.simulate import ZARC, ConstantNoise, Outliers, ProportionalNoise

N = 100_000
Z = np.tile(ZARC(50, 1e-2, 0.8).impedance(np.geomspace(1e4, 1e-2, 5)) + 3, (N // 5, 1))


def check_two_normal_parts(standardised):
    """Mean 0, variance 1 and kurtosis 3 of each part, and no correlation, each within 4.5 standard errors."""
    real, imaginary = standardised.real.ravel(), standardised.imag.ravel()
    for part in (real, imaginary):
        assert abs(part.mean()) < 4.5 / np.sqrt(N)
        assert abs((part**2).mean() - 1) < 4.5 * np.sqrt(2 / N)
        assert abs((part**4).mean() - 3) < 4.5 * np.sqrt(96 / N)
    assert abs((real * imaginary).mean()) < 4.5 / np.sqrt(N)


def test_constant_noise_has_its_sigma_in_each_part():
    check_two_normal_parts((ConstantNoise(0.3).add(Z, 11) - Z) / 0.3)


def test_proportional_noise_has_its_fraction_of_the_modulus_in_each_part():
    error = ProportionalNoise(0.01).add(Z, 12) - Z
    check_two_normal_parts(error / (0.01 * np.abs(Z)))
    # at every frequency, not only on the average
    spread = np.sqrt((error.real**2).mean(axis=0)) / np.abs(Z[0])
    np.testing.assert_allclose(spread, 0.01, rtol=4.5 / np.sqrt(2 * N / 5))


def test_outliers_are_a_share_of_points_at_a_fixed_distance():
    error = Outliers(0.03, 0.2, ConstantNoise(0)).add(Z, 13) - Z
    hit = error != 0
    assert abs(hit.mean() - 0.03) < 4.5 * np.sqrt(0.03 * 0.97 / N)
    unit = (error / (0.2 * np.abs(Z)))[hit]
    np.testing.assert_allclose(np.abs(unit), 1, rtol=1e-12)
    # uniform over the circle: its first and second harmonics vanish
    for harmonic in (1, 2):
        assert abs((unit**harmonic).mean()) < 4.5 / np.sqrt(hit.sum())


def test_each_seed_has_its_own_outliers():
    first, second = (Outliers(0.3, 0.2, ConstantNoise(0)).add(Z, seed) != Z for seed in (15, 16))
    assert abs((first & second).mean() - 0.09) < 4.5 * np.sqrt(0.09 * 0.91 / N)


def test_outliers_come_on_top_of_the_base_noise():
    error = (Outliers(0.5, 10.0, ProportionalNoise(0.01)).add(Z, 14) - Z) / np.abs(Z)
    ordinary = error[np.abs(error) < 1]
    assert ordinary.size == pytest.approx(N / 2, rel=0.03)
    assert np.sqrt((ordinary.real**2).mean()) == pytest.approx(0.01, rel=4.5 / np.sqrt(N))
    assert np.std(np.abs(error[np.abs(error) >= 1])) == pytest.approx(0.01, rel=4.5 / np.sqrt(N))


@pytest.mark.parametrize("noise", [ConstantNoise(0.1), ProportionalNoise(), Outliers(0.1, 0.1)], ids=str)
def test_a_seed_makes_the_same_noise_and_leaves_the_input_alone(noise):
    z = Z[:4].copy()
    first = noise.add(z, 7)
    np.testing.assert_array_equal(first, noise.add(z, 7))
    np.testing.assert_array_equal(first, noise.add(z, np.random.default_rng(7)))
    np.testing.assert_array_equal(z, Z[:4])
    assert np.all(first != z)
    assert not np.any(first == noise.add(z, 8))
    generator = np.random.default_rng(7)
    assert not np.any(noise.add(z, generator) == noise.add(z, generator))
    assert noise.add(z[0], 7).shape == z[0].shape


@pytest.mark.parametrize("noise", [ConstantNoise(0.1), ProportionalNoise(), Outliers(1.0, 0.1)], ids=str)
def test_a_missing_point_stays_missing_and_changes_no_other(noise):
    z = Z[:2].copy()
    z[0, 2] = np.nan
    noisy, whole = noise.add(z, 3), noise.add(Z[:2], 3)
    assert np.isnan(noisy[0, 2])
    others = ~np.isnan(noisy)
    assert np.count_nonzero(others) == z.size - 1
    np.testing.assert_array_equal(noisy[others], whole[others])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantNoise(-1), "sigma of ConstantNoise must be a finite number of ohm, not negative; got -1"),
        (lambda: ConstantNoise("much"), "sigma of ConstantNoise"),
        (lambda: ProportionalNoise(np.nan), "fraction of ProportionalNoise"),
        (lambda: Outliers(1.5, 0.1), "share of Outliers must be a probability from 0 to 1; got 1.5"),
        (lambda: Outliers(0.5, np.inf), "size of Outliers"),
        (lambda: Outliers(0.5, 0.1, 0.002), "base of Outliers must be a noise model; got 0.002"),
        (lambda: ConstantNoise(1).add("ohm", 0), "impedance must be an array of complex numbers"),
        (lambda: ConstantNoise(1).add([1j], "seed"), "rng must be a numpy.random.Generator"),
        (lambda: ConstantNoise(1).add([1j], -1), "rng must be a numpy.random.Generator"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
