"""Intervals of γ, R_pol and R_inf: what results, files and jobs do with them; their statistics are tested by method."""

import dataclasses

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.hdf5 import scan
from drt_engine.result_fields import INTERVAL_UNITS
from drt_engine.threads import limited_threads

LOG = drt.LogGaussian()
METHODS = {
    "log-gaussian": LOG,
    "fixed": drt.LogGaussian(regularisation=2.0, robust=False, capacitance=True),
    "tikhonov": drt.Tikhonov(),
    "imaginary": drt.Tikhonov(part="im", regularisation=1e-3),
    "own weights": drt.Tikhonov(weighting="modulus", regularisation=1e-3, basis="piecewise-linear"),
}


@pytest.fixture(scope="module")
def spoiled(noisy):
    """Six spectra, of which one is of NaN, one lacks points and one is of the wrong sign."""
    z = noisy.impedance.copy()
    z[1] = np.nan
    z[2, [3, 17]] = np.nan
    z[4] = z[4].conj()
    return drt.Spectra(noisy.frequency, z, noisy.states)


@pytest.fixture(scope="module")
def result(spoiled):
    return drt.invert(spoiled, LOG, level=0.95)


@pytest.fixture(scope="module", params=METHODS.values(), ids=METHODS)
def by_method(request, spoiled):
    return drt.invert(spoiled, request.param, level=0.95)


def ends(intervals):
    return {name: getattr(intervals, name) for name in INTERVAL_UNITS}


def assert_same(one, other):
    assert one.level == other.level
    for name, array in ends(one).items():
        np.testing.assert_array_equal(array, getattr(other, name), err_msg=name)


def test_answers_lie_within_and_the_others_have_none(by_method):
    result = by_method
    assert list(result.solved) == [True, False, True, True, False, True]
    for low, value, high in (
        (result.intervals.gamma_low, result.gamma, result.intervals.gamma_high),
        (result.intervals.r_pol_low, result.r_pol, result.intervals.r_pol_high),
        (result.intervals.r_inf_low, result.r_inf, result.intervals.r_inf_high),
    ):
        assert np.isnan(low[~result.solved]).all()
        assert np.isnan(high[~result.solved]).all()
        if value is result.r_inf and result.method == METHODS["imaginary"]:
            # It is fitted afterwards, to the part that γ is not fitted to.
            assert np.isnan(low).all()
            continue
        assert ((low <= value) & (value <= high) & (low < high))[result.solved].all()
        assert (low[result.solved] >= 0.0).all()


def test_bands_of_ln_gamma_are_positive(result):
    assert (result.intervals.gamma_low[result.solved] > 0.0).all()


@pytest.mark.parametrize("factor", [1e-6, 8.0, 1e5])
def test_intervals_are_equivariant(by_method, spoiled, factor):
    scaled = drt.invert(drt.Spectra(spoiled.frequency, factor * spoiled.impedance), by_method.method, level=0.95)
    for name, array in ends(by_method.intervals).items():
        size = np.nanmax(array, initial=0.0)
        other = getattr(scaled.intervals, name)
        np.testing.assert_allclose(other, factor * array, rtol=1e-5, atol=1e-5 * factor * size, err_msg=name)


def test_a_higher_level_is_wider(by_method):
    result = by_method
    narrow, wide = result.gamma_interval(0.5), result.gamma_interval(0.99)
    solved = result.solved
    assert (narrow[0] >= wide[0])[solved].all()
    # Where the solution is outside, both end with it.
    assert (narrow[1] <= wide[1])[solved].all()
    assert (narrow[1] < wide[1])[solved].mean() > 0.8


def test_methods_of_the_result_are_what_it_keeps(result):
    for name, method in (
        ("gamma", result.gamma_interval),
        ("r_pol", result.r_pol_interval),
        ("r_inf", result.r_inf_interval),
    ):
        computed = getattr(dataclasses.replace(result, intervals=None), method.__name__)()
        for side, kept, again in zip(("low", "high"), method(), computed, strict=True):
            np.testing.assert_array_equal(kept, getattr(result.intervals, f"{name}_{side}"))
            np.testing.assert_array_equal(again, kept)


def test_between_relaxation_times_it_lies_beside_the_curve(result):
    tau = np.sqrt(result.tau[1:] * result.tau[:-1])
    for between, at in zip(result.gamma_interval(0.9, tau), result.gamma_interval(0.9), strict=True):
        ratio, ends = between / result.gamma_at(tau), at / result.gamma
        # Widths of ln γ are straight lines between those at the relaxation times.
        np.testing.assert_allclose(np.log(ratio), 0.5 * np.log(ends[:, 1:] * ends[:, :-1]), rtol=1e-6, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_neighbours_change_no_bit(spoiled, by_method, threads):
    with limited_threads(threads):
        for rows in ([5], [2, 0], [5, 3, 2, 0] * 17):
            found = drt.invert(spoiled[rows], by_method.method, level=0.95)
            assert_same(found.intervals, by_method[rows].intervals)


@pytest.mark.parametrize("method", [LOG, drt.Tikhonov()], ids=["log-gaussian", "tikhonov"])
def test_neighbours_change_no_bit_anywhere(noisy, method):
    many = drt.invert(drt.Spectra(noisy.frequency, np.tile(noisy.impedance, (12, 1))), method)
    tau = np.geomspace(1e-6, 10.0, 77)
    together = many.gamma_interval(0.9, tau)
    for row in range(6):
        for one, other in zip(together, many[row].gamma_interval(0.9, tau), strict=True):
            np.testing.assert_array_equal(one[row::6], np.repeat(other, 12, axis=0))


def test_a_slice_keeps_its_spectra_and_intervals(result, spoiled):
    some = result[[3, 0]]
    np.testing.assert_array_equal(some.impedance, spoiled.impedance[[3, 0]])
    assert_same(some.intervals, result.intervals[[3, 0]])


def test_the_dataset_has_them(result):
    found = result.to_xarray()
    assert found.attrs["level"] == 0.95
    assert found["gamma_low"].dims == ("spectrum", "tau")
    assert found["r_pol_high"].attrs["units"] == "ohm"
    np.testing.assert_array_equal(found["gamma_high"], result.intervals.gamma_high)


def test_files_keep_them(result, spoiled, tmp_path):
    path = tmp_path / "a.h5"
    drt.write_inversion(path, result)
    found = drt.read_inversion(path)
    assert_same(found.intervals, result.intervals)
    np.testing.assert_array_equal(found.impedance, result.impedance)
    np.testing.assert_array_equal(found.gamma_interval(0.95)[0], result.intervals.gamma_low)
    with pytest.raises(drt.InputError, match=r"with_spectra"):
        dataclasses.replace(found, impedance=None).gamma_interval(0.9)
    np.testing.assert_array_equal(found.gamma_interval(0.9)[1], result.gamma_interval(0.9)[1])
    again = found.with_spectra(spoiled)
    np.testing.assert_array_equal(again.gamma_interval(0.9)[1], result.gamma_interval(0.9)[1])
    assert_same(drt.read_inversion(path, rows=[2, 5]).intervals, result[[2, 5]].intervals)


def test_files_without_have_none(result, tmp_path):
    drt.write_inversion(tmp_path / "a.h5", dataclasses.replace(result, intervals=None))
    assert drt.read_inversion(tmp_path / "a.h5").intervals is None
    assert scan(tmp_path / "a.h5").inversions[0].spectra == 6


@pytest.mark.parametrize("block", [1, 4, None])
def test_a_job_stores_them(result, spoiled, tmp_path, block):
    drt.write_spectra(tmp_path / "a.h5", spoiled)
    drt.invert_file(tmp_path / "a.h5", tmp_path / "out.h5", method=LOG, level=0.95, block=block)
    assert_same(drt.read_inversion(tmp_path / "out.h5").intervals, result.intervals)


def test_a_job_with_another_level_does_not_take_up_its_blocks(spoiled, tmp_path, monkeypatch):
    drt.write_spectra(tmp_path / "a.h5", spoiled)
    arguments = {"method": LOG, "block": 2}

    def stop(done, *_):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drt.invert_file(tmp_path / "a.h5", tmp_path / "out.h5", level=0.95, progress=stop, **arguments)
    with pytest.raises(drt.JobMismatchError, match=r"level was 0\.95 and is None"):
        drt.invert_file(tmp_path / "a.h5", tmp_path / "out.h5", **arguments)


@pytest.mark.parametrize("method", [LOG, drt.Tikhonov(), drt.Tikhonov(regularisation=1e-3)])
def test_r_pol_is_covered(method):
    frequency = np.logspace(5, -2, 50)
    circuit = drt.simulate.Resistor(10.0) + drt.simulate.ZARC(50.0, 1e-3, 0.85) + drt.simulate.ZARC(30.0, 0.3, 0.8)
    z = np.tile(circuit.impedance(frequency), (80, 1))
    rng = np.random.default_rng(11)
    z = z + 0.003 * 80 * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    result = drt.invert(drt.Spectra(frequency, z), method, level=0.9)
    low, high = result.r_pol_interval(0.9)
    # Noise alone would give 0.9; what the prior displaces comes on top.
    assert np.mean((low < 80.0) & (high > 80.0)) > 0.7
    assert np.median(high - low) < 0.1 * 80.0


@pytest.mark.parametrize("level", [0, 1, 95, True, "0.95", np.nan])
def test_what_is_no_probability_is_refused(result, spoiled, tmp_path, level):
    expected = pytest.raises(drt.InputError, match=r"level must be a probability between 0 and 1; got .*0\.95 is")
    with expected:
        result.gamma_interval(level)
    with expected:
        drt.invert(spoiled, LOG, level=level)
    drt.write_spectra(tmp_path / "a.h5", spoiled)
    with expected:
        drt.invert_file(tmp_path / "a.h5", tmp_path / "out.h5", method=LOG, level=level)


def test_spectra_that_do_not_fit_are_refused(result, spoiled):
    with pytest.raises(drt.InputError, match=r"must be the 6 that were inverted, on their 36 frequencies; got 5 on 36"):
        result.with_spectra(spoiled[:5])


def test_convex_says_who_has_them(noisy):
    with pytest.raises(drt.InputError, match=r"LogGaussian"):
        drt.invert(noisy[:1], drt.Convex(), level=0.95)


def test_peaks_hardly_depend_on_whether_the_spectra_are_there(result):
    kept, lost = result.peaks(), dataclasses.replace(result, impedance=None).peaks()
    assert list(kept["spectrum"].unique()) == [0, 2, 3, 5]
    for spectrum in (0, 2, 3, 5):
        tau = [found.loc[found["spectrum"] == spectrum, "tau"].to_numpy() for found in (kept, lost)]
        assert tau[0].size == tau[1].size == 2
        np.testing.assert_allclose(*tau, rtol=1e-12)


def test_deconvolution_fits_the_spectra_that_the_result_has(result, spoiled):
    without = dataclasses.replace(result, impedance=None)
    own, given, model = (
        result.deconvolve().elements,
        without.deconvolve(spoiled).elements,
        without.deconvolve().elements,
    )
    assert own.equals(given)
    assert not own.equals(model)
