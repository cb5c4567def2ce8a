import dataclasses
import warnings

import numpy as np
import pytest
from scipy.integrate import quad

import drt_engine as drt
from drt_engine.methods import METHODS, method_from_settings

from .conftest import zarc


@pytest.fixture(scope="module")
def result(noisy):
    z = noisy.impedance.copy()
    z[3] = np.nan
    return drt.invert(drt.Spectra(noisy.frequency, z, noisy.states), drt.Tikhonov(regularisation=1e-3))


def test_is_frozen(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.r_inf = 0
    with pytest.raises(ValueError, match="read-only"):
        result.coefficients[0, 0] = 1.0


def test_gamma_is_evaluated_anywhere(result):
    np.testing.assert_allclose(result.gamma_at(result.tau), result.gamma, rtol=1e-12)
    far = result.gamma_at([1e-30, 1e30])
    assert np.all(far[result.solved] == 0)
    with pytest.raises(drt.InputError, match=r"tau must be one-dimensional, positive and finite, in s"):
        result.gamma_at([0.0])
    with pytest.raises(drt.InputError, match=r"tau must be numbers in s"):
        result.gamma_at("now")


def test_gamma_of_log_gaussian_is_its_curve_at_the_relaxation_times(result):
    own = drt.invert(result.spectra, drt.LogGaussian())
    np.testing.assert_array_equal(own.gamma, own.gamma_at(own.tau))


def test_r_pol_is_the_integral_of_gamma(result):
    area = quad(lambda y: result.gamma_at(np.exp(y))[0, 0], -25, 15, limit=500, epsrel=1e-10)[0]
    assert result.r_pol[0] == pytest.approx(area, rel=1e-8)


def test_impedance_is_the_transform_of_gamma(result):
    # Z = R_inf + jωL + ∫ γ / (1 + jωτ) d ln τ, by quadrature of the evaluated γ.
    frequency = 37.0
    omega = 2 * np.pi * frequency

    def integrand(y, part):
        return getattr(result.gamma_at(np.exp(y))[0, 0] / (1 + 1j * omega * np.exp(y)), part)

    z = [quad(integrand, -25, 15, args=(part,), limit=500, epsrel=1e-10)[0] for part in ("real", "imag")]
    expected = complex(*z) + result.r_inf[0] + 1j * omega * result.inductance[0]
    assert result.impedance_at([frequency])[0, 0] == pytest.approx(expected, rel=1e-8)


def test_residual_is_that_of_the_fit(noisy, result):
    relative = np.abs(result.impedance_at(noisy.frequency) / noisy.impedance - 1)
    np.testing.assert_allclose(
        result.residual[result.solved], np.sqrt(np.mean(relative**2, axis=1))[result.solved], rtol=1e-9
    )
    assert 0.001 < result.residual[0] < 0.01


def test_series_capacitance_is_in_the_impedance(frequency):
    z = 1 + 1 / (2j * np.pi * frequency * 0.5) + zarc(frequency, 5, 1e-2, 0.9)
    result = drt.invert(drt.Spectra(frequency, z), drt.Tikhonov(capacitance=True))
    assert result.capacitance[0] == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_allclose(result.impedance_at(frequency)[0], z, rtol=1e-3)


def test_counts_and_says_what_failed(result):
    assert result.counts() == {"ok": 5, "not finite": 1}
    assert "6 spectra" in repr(result)
    assert "1 not finite" in repr(result)
    assert "Measure again" in repr(result)


@pytest.mark.parametrize("status", drt.Status)
def test_every_status_explains_itself(status):
    assert len(status.message) > 5
    assert status.failed == (16 <= status < 256)


def test_counts_a_spectrum_under_each_of_its_flags(result):
    both = np.array([3, 0, 0, 16, 1, 0], dtype=np.uint8)
    counts = dataclasses.replace(result, status=both).counts()
    assert counts == {"ok": 3, "lambda at edge": 2, "points missing": 1, "not finite": 1}


def test_xarray_holds_everything_with_units(result):
    dataset = result.to_xarray()
    np.testing.assert_array_equal(dataset["gamma"], result.gamma)
    assert dataset["gamma"].dims == ("spectrum", "tau")
    assert dataset["gamma"].attrs["units"] == "ohm"
    assert dataset["tau"].attrs["units"] == "s"
    assert dataset["cycle"].to_numpy().tolist() == list(range(6))
    assert dataset.attrs["method_basis"] == "gaussian"
    np.testing.assert_array_equal(dataset["status"], result.status)
    assert dataset["status"].attrs["flag_meanings"].split()[0] == "lambda_at_edge"


def test_xarray_can_be_saved(result, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result.to_xarray().to_netcdf(tmp_path / "result.nc", engine="h5netcdf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r_inf": np.zeros(2)}, r"r_inf must have shape \(6,\); got \(2,\)"),
        ({"coefficients": np.zeros((6, 2))}, r"coefficients must have shape"),
    ],
)
def test_refuses_arrays_that_do_not_fit(result, change, message):
    with pytest.raises(drt.InputError, match=message):
        dataclasses.replace(result, **change)
    with pytest.raises(drt.InputError, match=r"one row for each of the 6 spectra; got 2"):
        dataclasses.replace(result, states=result.states.iloc[:2])


def test_methods_survive_their_settings():
    method = drt.Tikhonov(basis="cauchy", tau=[3.0, 1.0, 2.0], regularisation=0.1, part="im")
    assert method.tau == (1.0, 2.0, 3.0)
    assert method_from_settings(method.settings()) == method
    assert set(METHODS) == {type(METHODS[name]()).__name__ for name in METHODS}
    with pytest.raises(drt.UnknownNameError, match="method 'Ridge'"):
        method_from_settings({"name": "Ridge"})
    with pytest.raises(drt.InputError, match="colour"):
        method_from_settings(method.settings() | {"colour": "red"})


def test_chooses_rows(result):
    chosen = result[result.states["cycle"] > 3]
    assert chosen.states["cycle"].tolist() == [4, 5]
    np.testing.assert_array_equal(chosen.gamma, result.gamma[4:])
    assert len(result[0]) == 1


def test_a_state_called_as_the_rows_are_is_left_out_of_tables():
    frequency = np.logspace(4, -1, 31)
    z = np.array([5.0 + zarc(frequency, 20.0 + k, 1e-2, 0.9) for k in range(3)])
    result = drt.invert(drt.Spectra(frequency, z, {"spectrum": [7.0, 8.0, 9.0]}))
    for table in (result.peaks(), result.to_frame(), result.deconvolve().elements):
        assert list(table.columns).count("spectrum") == 1
        assert set(table["spectrum"]) <= {0, 1, 2}
    assert "<table" in result._repr_html_()
