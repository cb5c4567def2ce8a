"""Elements on smooth paths along a series, and spectra predicted from the others of it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.methods.joint.posterior import JointSeries
from drt_engine.methods.joint.predictions import compare
from drt_engine.series import differences
from drt_engine.simulate import ProportionalNoise

from ..conftest import zarc
from .conftest import FREQUENCY, measured

LONG = np.linspace(3.0, 3.7, 24)


def faint(voltage):
    """R, τ and φ of an arc, and of a larger one beside it that moves away."""
    x = voltage - 3.0
    return (12.0, 2e-3, 0.88), (60.0 * np.exp(-x), 1.2e-2 * np.exp(0.6 * x), 0.86)


def error_of(found):
    """Median error of ln R and ln τ of the faint arc, and how many of their errors hold the truth."""
    table = found.elements
    off, inside = [], []
    for k, voltage in enumerate(LONG):
        r, tau, _ = faint(voltage)[0]
        own = table[table["spectrum"] == k]
        row = own.iloc[int(np.abs(np.log(own["tau"] / tau)).argmin())]
        off.append([np.log(row["r"] / r), np.log(row["tau"] / tau)])
        inside += [abs(row["r"] - r) < 3 * row["r_error"], abs(row["tau"] - tau) < 3 * row["tau_error"]]
    return np.median(np.abs(off), axis=0), np.mean(inside)


@pytest.fixture(scope="module")
def together(joint):
    return joint.deconvolve()


def test_a_faint_process_is_determined_by_its_neighbours():
    frequency = np.logspace(4, -1, 41)
    z = np.array([10 + sum(zarc(frequency, *arc) for arc in faint(voltage)) for voltage in LONG])
    z = ProportionalNoise(0.002).add(z, np.random.default_rng(1))
    result = drt.invert(drt.Spectra(frequency, z, {"voltage": LONG}), drt.Tikhonov(shared=True))
    alone, _ = error_of(result.deconvolve(along="voltage"))
    together = result.deconvolve(along="voltage", together=True)
    paths, inside = error_of(together)
    assert together.joint.all()
    assert together.elements["joint"].all()
    assert (paths < 0.5 * alone).all()
    assert inside >= 0.9


CROSSINGS = {
    "symmetric": (
        lambda x: [(30.0, 2e-3 * 40.0**x, 0.9), (15.0, 8e-2 * 40.0**-x, 0.88)],
        10.0 ** np.linspace(4, -1, 41),
        3,
    ),
    # Here parts that are linked from spectrum to spectrum bounce off each other, and only exchanged ones cross.
    "skew": (
        lambda x: [(20.0 + 5 * x, 2e-4 * 31.6**x, 0.85), (12.0, 3e-3 * 0.158**x, 0.9)],
        10.0 ** np.linspace(5, 0, 41),
        3,
    ),
}


@pytest.mark.parametrize(("arcs", "frequency", "seed"), CROSSINGS.values(), ids=CROSSINGS)
def test_processes_that_cross_keep_their_resistances(arcs, frequency, seed):
    """The time constants of two arcs pass each other; in between, single spectra show one peak."""
    x = np.linspace(0.0, 1.0, 16)
    true = np.array([arcs(at) for at in x])
    z = np.array([10 + sum(zarc(frequency, *arc) for arc in each) for each in true])
    z = ProportionalNoise(0.003).add(z, np.random.default_rng(seed))
    result = drt.invert(drt.Spectra(frequency, z, {"voltage": x}), drt.Tikhonov(shared=True))
    found = result.deconvolve(along="voltage", together=True).elements
    assert (found.groupby("spectrum").size() == 2).all()
    for k, each in enumerate(true):
        own = found[found["spectrum"] == k].sort_values("tau")
        exact = each[np.argsort(each[:, 1])]
        np.testing.assert_array_less(np.abs(own["r"] - exact[:, 0]), np.maximum(4 * own["r_error"], 0.02))
        np.testing.assert_allclose(own["r"], exact[:, 0], rtol=0.1)


def test_a_process_that_has_gone_is_not_drawn_on_by_its_neighbours():
    """Where paths describe nothing of two spectra of five, all of them is an outlier, which must not excuse it."""
    x, r = np.linspace(0.0, 1.0, 5), np.array([21.5, 17.0, 13.4, 0.0, 0.0])
    frequency = np.geomspace(1e5, 1e-2, 61)
    z = 10.0 + r[:, None] * zarc(frequency, 1.0, 0.42, 0.93)
    z = ProportionalNoise(9e-4).add(z, np.random.default_rng(3))
    for method in (drt.LogGaussian(along="voltage"), drt.Tikhonov(shared=True)):
        result = drt.invert(drt.Spectra(frequency, z, {"voltage": x}), method)
        found = result.deconvolve(along="voltage", together=True)
        assert (found.misfit < 5e-3).all()
        total = found.elements.groupby("spectrum")["r"].sum().reindex(range(5), fill_value=0.0)
        np.testing.assert_allclose(total, r, atol=0.1)


def test_paths_do_not_depend_on_units_or_the_order_of_rows(joint, spectra, together):
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    turned = joint[order].deconvolve()
    np.testing.assert_allclose(turned.parameters, together.parameters[order], rtol=1e-6)
    larger = drt.Spectra(FREQUENCY, 1e3 * spectra.impedance, spectra.states)
    scaled = drt.invert(larger, drt.LogGaussian(along="voltage")).deconvolve()
    np.testing.assert_allclose(scaled.elements["r"], 1e3 * together.elements["r"], rtol=1e-3)


def test_a_state_that_does_not_go_with_its_neighbours_keeps_its_own_fit(spectra):
    z = spectra.impedance.copy()
    z[4] += 15.0 / (1.0 + (2j * np.pi * FREQUENCY * 1.5e-3) ** 0.9)
    result = drt.invert(drt.Spectra(FREQUENCY, z, spectra.states), drt.Tikhonov(shared=True))
    found = result.deconvolve(along="voltage", together=True)
    assert not found.joint[4]
    alone = result.deconvolve(along="voltage")
    np.testing.assert_array_equal(found.parameters[4, : alone.parameters.shape[1]], alone.parameters[4])


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_eight_decades_apart_is_no_series_and_ends_no_fit(seed):
    frequency = np.logspace(5, -2, 71)
    cell = 10 + zarc(frequency, 20, 2e-4, 0.9) + zarc(frequency, 50, 0.05, 0.85)
    z = np.array([cell, cell + zarc(frequency, 200, 1600, 0.9), 1e-4 * cell, 1e4 * cell, cell])
    rng = np.random.default_rng(seed)
    z *= 1 + 2e-3 * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    voltage = np.linspace(3.0, 3.2, len(z))
    result = drt.invert(drt.Spectra(frequency, z, {"voltage": voltage}), drt.LogGaussian(along="voltage"))
    assert result.counts()["unrelated"] == len(z)
    found = result.deconvolve()
    assert not found.joint.any()
    assert found.elements.equals(result.deconvolve(together=False).elements)
    largest = found.elements.groupby("spectrum")["r"].max()
    np.testing.assert_allclose(largest[[0, 4]], 50.0, rtol=0.02)


def test_fitted_together_needs_a_state(single):
    with pytest.raises(drt.InputError, match="Name one: along='voltage'"):
        single.deconvolve(together=True)


def test_a_prediction_is_that_of_a_refit_without_the_spectrum(joint):
    found = joint.predictions()
    series = joint._joined
    (line,) = series.lines
    sigma = series.deviations(0)
    for k in (2, 5):
        # By itself, and to the last digit; predictions leave every fourth one out.
        z = joint.impedance.copy()
        z[k] = np.nan
        start = joint.coefficients.copy()
        start[k] = np.sqrt(start[k - 1] * start[k + 1])
        problem, hyper = series.problem_of(line, line.position, z, series.breaks)
        gamma = problem.refine(hyper, replace(series.parameters, coefficients=start))
        own = drt_prediction(series, k, gamma[k], sigma[k])
        off = np.abs(found.impedance[k] - own.impedance[k]) / sigma[k]
        assert off.max() < 1.5
        assert found.error[k] == pytest.approx(own.error[k], rel=0.15)


def drt_prediction(series, k, gamma, sigma):
    """What is predicted for a spectrum by γ."""
    blank = np.full(series.impedance.shape, complex(np.nan, np.nan))
    out = type(series.predictions())(blank, *np.full((2, len(blank)), np.nan))
    compare(series, k, gamma, sigma, out)
    return out


def test_only_what_its_neighbours_do_not_predict_is_flagged(spectra, joint):
    assert drt.validate(joint).counts()["valid"] == len(spectra)
    z = measured(LONG)
    z[12] += 0.1 * zarc(FREQUENCY, 30.0, 1e-4, 0.9)
    bad = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": LONG}), drt.LogGaussian(along="voltage"))
    found = drt.validate(bad)
    assert np.flatnonzero(found.flag & drt.Validity.UNPREDICTED).tolist() == [12]
    # Kramers and Kronig see nothing in it.
    assert drt.validate(bad.spectra).valid.all()
    assert np.isnan(drt.validate(bad.spectra).prediction).all()


def test_predictions_need_a_series(single):
    with pytest.raises(drt.InputError, match="along='voltage'"):
        drt.validate(single)


def test_of_two_spectra_none_is_predicted(spectra):
    found = drt.invert(spectra[:2], drt.LogGaussian(along="voltage")).predictions()
    assert np.isnan(found.error).all()
    assert np.isnan(found.score).all()


def test_differences_of_a_parabola_are_its_bend():
    position = np.array([0.0, 1.0, 2.5, 3.0])
    state, factor = differences(position)
    distance = position[state[:, 2]] - position[state[:, 0]]
    np.testing.assert_allclose((factor * position[state] ** 2).sum(axis=1), distance / np.sqrt(0.5 * distance))
    np.testing.assert_allclose((factor * position[state]).sum(axis=1), 0.0, atol=1e-12)


def test_threads_do_not_work_on_one_series_at_once(joint, monkeypatch):
    inside, most = [], []
    found = JointSeries._posterior

    def noted(series, number):
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.02)
        out = found(series, number)
        inside.pop()
        return out

    monkeypatch.setattr(JointSeries, "_posterior", noted)
    series = joint[:]._joined
    with ThreadPoolExecutor(4) as pool:
        assert len({id(each) for each in pool.map(lambda _: series.posterior(0), range(4))}) == 1
    assert most == [1]
