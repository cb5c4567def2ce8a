"""Cells that change while a sweep is measured: γ in the middle of the sweep."""

import numpy as np
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods.drift import DriftModel, sweep_time

from ..conftest import zarc

FREQUENCY = np.logspace(4, -2, 49)
OMEGA = 2 * np.pi * FREQUENCY
PERIODS = np.maximum(3 / FREQUENCY, 0.2)
TIME = np.cumsum(PERIODS) - PERIODS[0]
WITHIN = sweep_time(TIME)
PROCESSES = ((20, 2e-3, 0.9), (50, 0.3, 0.85))
TAU = np.geomspace(1 / OMEGA[0], 1 / OMEGA[-1], 401)
DRIFT = drt.LogGaussian(drift="auto")


def swept(rates, noise=1e-3, seeds=3):
    """Spectra whose resistances change in proportion to time."""
    z = 10 + sum(
        zarc(FREQUENCY, *process) * (1 + rate * WITHIN) for process, rate in zip(PROCESSES, rates, strict=True)
    )
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(2, seeds, z.size))
    z = z + noise * np.abs(z) * (parts[0] + 1j * parts[1])
    return drt.Spectra(FREQUENCY, z, {"cycle": np.arange(seeds)}, np.tile(TIME, (seeds, 1)))


def distribution(tau):
    return sum(
        r / (2 * np.pi) * np.sin((1 - n) * np.pi) / (np.cosh(n * np.log(tau / t)) - np.cos((1 - n) * np.pi))
        for r, t, n in PROCESSES
    )


def errors(result):
    truth = distribution(TAU)
    return np.trapezoid(np.abs(result.gamma_at(TAU) - truth), np.log(TAU), axis=1) / 70


@pytest.fixture(scope="module")
def drifting():
    return drt.invert(swept((0.1, 0.1)), DRIFT, level=0.95)


def test_the_drift_is_found_and_taken_off(drifting):
    spectra = drifting.spectra
    plain, still = (drt.invert(one, drt.LogGaussian()) for one in (spectra, swept((0, 0))))
    assert (drifting.status & drt.Status.DRIFT).all()
    assert not (drifting.status & drt.Status.MISFIT).any()
    base = np.median(errors(still))
    assert np.median(errors(drifting)) - base < (np.median(errors(plain)) - base) / 3
    np.testing.assert_allclose(drifting.r_pol, 70, rtol=0.01)
    np.testing.assert_allclose(0.5 * (drifting.drift_fast + drifting.drift_slow), 0.1, atol=0.03)
    assert (drifting.optimality <= 1e-8).all()
    np.testing.assert_allclose(drifting.residual, 1e-3 * np.sqrt(2), rtol=0.25)


def test_the_interval_of_r_pol_allows_for_a_drift_of_r_inf(drifting):
    # It is read as R_pol: the lowest frequencies alone are measured late. 0.3 ohm are 3 % of R_inf.
    given = swept((0.1, 0.1), seeds=6)
    moved = drt.Spectra(FREQUENCY, given.impedance + 0.6 * WITHIN, given.states, given.point_time)
    result = drt.invert(moved, DRIFT, level=0.95)
    assert (result.status & drt.Status.DRIFT).all()
    np.testing.assert_allclose(np.median(result.r_pol + result.r_inf), 80, rtol=2e-3)
    found = result.intervals
    assert np.median(result.r_pol) > 70.15
    assert ((found.r_pol_low <= 70) & (found.r_pol_high >= 70)).all()
    # By no more than a twentieth of R_inf makes of it.
    assert np.median(drifting.intervals.r_pol_high - drifting.intervals.r_pol_low) < 2.2


def test_what_a_drift_of_r_inf_moves_is_that_of_least_squares():
    method = drt.LogGaussian(noise=(0.05, 0.0), robust=False)
    prepared = method.prepared(FREQUENCY, method.expansion(FREQUENCY))
    model, rng = DriftModel(prepared, WITHIN), np.random.default_rng(4)
    columns, count = model.columns(rng.normal(size=model.linear), np.array([0.1, -0.05])), model.linear + 2
    columns, value = columns / 0.05, np.abs(rng.normal(size=count)) + 0.5
    own = columns.copy()
    own[: model.logs] *= value[: model.logs, None]
    before = np.diag(rng.uniform(1.0, 4.0, count))
    left = rng.normal(size=columns.shape[1])
    moves, middle, deviation = model._with_series(left, columns, value, np.linalg.inv(own @ own.T + before))
    # R_inf times the time as one more unknown, with what is expected of it.
    time = np.concatenate([WITHIN, [0.0], WITHIN, [0.0]])
    whole = np.vstack([own, value[model.logs] * columns[model.logs] * time])
    precision = whole @ whole.T
    precision[:count, :count] += before
    precision[-1, -1] += 1 / 0.05**2
    covariance = np.linalg.inv(precision)
    assert deviation == pytest.approx(np.sqrt(covariance[-1, -1]), rel=1e-6)
    assert middle == pytest.approx(covariance[-1, -1] * (whole[-1] @ left), rel=1e-6)
    np.testing.assert_allclose(moves, covariance[:-1, -1] / covariance[-1, -1], rtol=1e-5, atol=1e-9)


def test_intervals_allow_for_the_drift(drifting):
    given = drifting.intervals
    assert ((given.r_pol_low <= 70) & (given.r_pol_high >= 70)).all()
    truth = distribution(drifting.tau)
    large = truth > 0.02 * truth.max()
    covered = (given.gamma_low <= truth) & (given.gamma_high >= truth)
    assert covered[:, large].mean() > 0.9


def test_without_drift_the_solution_is_the_plain_one():
    for spectra in (swept((0, 0), seeds=4), swept((0, 0), 1e-2, 4)):
        found, plain = drt.invert(spectra, DRIFT), drt.invert(spectra, drt.LogGaussian())
        assert not (found.status & drt.Status.DRIFT).any()
        np.testing.assert_array_equal(found.gamma, plain.gamma)


def test_the_spectrum_at_one_time_is_the_one_without_drift(drifting):
    z = drifting.at_one_time().impedance
    still = 10 + sum(zarc(FREQUENCY, *process) for process in PROCESSES)
    noise = drifting.impedance - (10 + sum(zarc(FREQUENCY, *process) * (1 + 0.1 * WITHIN) for process in PROCESSES))
    np.testing.assert_allclose(z - noise, np.tile(still, (3, 1)), rtol=0.01)
    np.testing.assert_allclose(drifting.impedance_at(FREQUENCY), np.tile(still, (3, 1)), rtol=0.01)


def test_columns_of_the_drift_are_derivatives():
    prepared = DRIFT.prepared(FREQUENCY, DRIFT.expansion(FREQUENCY))
    model, rng = DriftModel(prepared, WITHIN), np.random.default_rng(0)
    y = rng.normal(size=prepared.problem.scale.size)
    gamma, drift, step = np.exp(y[: model.logs]), np.array([0.1, -0.2]), 1e-6
    for at in range(2):
        more, less = drift.copy(), drift.copy()
        more[at] += step
        less[at] -= step
        numeric = gamma @ (model.columns(y, more)[: model.logs] - model.columns(y, less)[: model.logs]) / (2 * step)
        expected = model.columns(y, drift)[model.linear + at]
        inside = np.delete(np.arange(expected.size), [WITHIN.size, expected.size - 1])
        np.testing.assert_allclose(expected[inside], numeric[inside], rtol=1e-6, atol=1e-7 * np.abs(numeric).max())


def test_units_and_neighbours_change_nothing(drifting):
    spectra = drifting.spectra
    scaled = drt.Spectra(FREQUENCY, 1e-5 * spectra.impedance, None, spectra.point_time)
    np.testing.assert_allclose(drt.invert(scaled, DRIFT).r_pol, 1e-5 * drifting.r_pol, rtol=1e-8)
    np.testing.assert_array_equal(drt.invert(spectra[1], DRIFT).gamma, drifting.gamma[1:2])
    np.testing.assert_array_equal(drt.concat([drifting[:1], drifting[1:]]).point_time, drifting.point_time)


def test_points_that_are_missing_and_times_that_are(drifting):
    spectra = drifting.spectra
    z, times = spectra.impedance.copy(), spectra.point_time.copy()
    z[0, 10], times[1, 3] = np.nan, np.nan
    result = drt.invert(drt.Spectra(FREQUENCY, z, None, times), DRIFT)
    assert ((result.status & drt.Status.DRIFT) != 0).tolist() == [True, False, True]
    assert ((result.status & drt.Status.NOT_PLACED) != 0).tolist() == [False, True, False]
    at_once = drt.invert(drt.Spectra(FREQUENCY, spectra.impedance[0], None, np.zeros(FREQUENCY.size)), DRIFT)
    assert at_once.status[0] & drt.Status.NOT_PLACED
    assert np.isfinite(result.with_intervals(0.9).intervals.r_pol_low[[0, 2]]).all()
    np.testing.assert_array_equal(result.gamma[2], drifting.gamma[2])


def test_files_jobs_peaks_and_the_command_line(drifting, tmp_path):
    drt.write_spectra(tmp_path / "a.h5", drifting.spectra)
    given = ["invert", str(tmp_path / "a.h5"), "--drift", "auto", "--level", "0.95"]
    ran = CliRunner().invoke(app, given)
    assert ran.exit_code == 0, ran.output
    stored = drt.read_inversion(tmp_path / "a.drt.h5")
    for name in ("gamma", "drift_fast", "drift_slow", "status", "point_time"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(drifting, name))
    np.testing.assert_array_equal(stored.intervals.gamma_low, drifting.intervals.gamma_low)
    assert stored.peaks().equals(drifting.peaks())
    drt.write_inversion(tmp_path / "b.h5", drifting)
    np.testing.assert_array_equal(drt.read_inversion(tmp_path / "b.h5").point_time, drifting.point_time)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"drift": "yes"}, UnknownNameError, "auto"),
        ({"drift": "auto", "tail": "cpe"}, InputError, "Leave out drift"),
        ({"drift": "auto", "along": ("cycle", "voltage")}, InputError, "Leave out drift"),
    ],
)
def test_mistakes_are_told(settings, error, text):
    with pytest.raises(error, match=text):
        drt.LogGaussian(**settings)


def test_spectra_without_times_are_refused(drifting):
    with pytest.raises(InputError, match="needs the time of each point"):
        drt.invert(drt.Spectra(FREQUENCY, drifting.impedance), DRIFT)
