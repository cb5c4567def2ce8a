"""Series whose cells change while their sweeps are measured: each point at its own time between the states."""

import numpy as np
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.errors import InputError
from drt_engine.methods.placing import sweeps_of

from ..conftest import zarc

FREQUENCY = np.logspace(4, -2, 31)
OMEGA = 2 * np.pi * FREQUENCY
PERIODS = np.maximum(3 / FREQUENCY, 0.2)
TIME = np.cumsum(PERIODS) - PERIODS[0]
START = 1.2 * TIME[-1] * np.arange(8)
PROCESSES = ((20, 2e-3, 0.9), (50, 0.3, 0.85))
TAU = np.geomspace(1 / OMEGA[0], 1 / OMEGA[-1], 201)
PLACED = drt.LogGaussian(along="cycle", drift="auto")


def campaign(rates, noise=3e-3):
    """Spectra of resistances that grow by a factor exp(rate) in the time of a sweep."""
    time = (START[:, None] + TIME - START[4]) / TIME[-1] - 0.5
    z = 10 + sum(
        zarc(FREQUENCY, *process) * np.exp(rate * time) for process, rate in zip(PROCESSES, rates, strict=True)
    )
    parts = np.random.default_rng(0).normal(size=(2, *z.shape))
    z = z + noise * np.abs(z) * (parts[0] + 1j * parts[1])
    states = {"cell": ["A"] * 8, "cycle": np.arange(8), "time": START}
    return drt.Spectra(FREQUENCY, z, states, np.tile(TIME, (8, 1)))


def resistances(rates):
    factors = np.exp(np.outer((START - START[4]) / TIME[-1], rates))
    return factors * [r for r, _, _ in PROCESSES]


def errors(result, rates):
    shapes = [
        np.sin((1 - n) * np.pi) / (2 * np.pi * (np.cosh(n * np.log(TAU / t)) - np.cos((1 - n) * np.pi)))
        for _, t, n in PROCESSES
    ]
    truth = resistances(rates) @ shapes
    wrong = np.trapezoid(np.abs(result.gamma_at(TAU) - truth), np.log(TAU), axis=1)
    return np.median(wrong / np.trapezoid(truth, np.log(TAU), axis=1))


@pytest.fixture(scope="module")
def drifting():
    return drt.invert(campaign((0.15, 0.1)), PLACED, level=0.95)


def test_what_the_drift_adds_to_the_error_falls_to_less_than_a_third(drifting):
    joint = drt.LogGaussian(along="cycle")
    plain, still = (drt.invert(campaign(rates), joint) for rates in ((0.15, 0.1), (0, 0)))
    base = errors(still, (0, 0))
    assert errors(drifting, (0.15, 0.1)) - base < (errors(plain, (0.15, 0.1)) - base) / 3
    assert (drifting.status == drt.Status.DRIFT).all()
    assert (plain.status & drt.Status.MISFIT).any()
    np.testing.assert_allclose(drifting.r_pol, resistances((0.15, 0.1)).sum(axis=1), rtol=0.01)
    # A straight line in ln τ, at the time constants of the processes.
    late = np.interp(np.log([2e-3, 0.3]), np.log([TAU[0], TAU[-1]]), [0, 1])
    drifts = np.stack([drifting.drift_fast, drifting.drift_slow], axis=1) @ np.stack([1 - late, late])
    np.testing.assert_allclose(np.median(drifts, axis=0), [0.15, 0.1], atol=0.01)
    assert (drifting.optimality <= 1e-8).all()


def test_intervals_hold_what_the_cell_was_in_the_middle(drifting):
    given, truth = drifting.intervals, resistances((0.15, 0.1)).sum(axis=1)
    assert ((given.r_pol_low <= truth) & (given.r_pol_high >= truth)).mean() > 0.8
    # The course is extrapolated in the first and the last sweep.
    assert ((given.r_pol_high - given.r_pol_low) < 0.1 * truth)[1:-1].all()


def test_a_series_that_stands_still_is_inverted_as_without():
    spectra = campaign((0, 0))
    found, plain = (drt.invert(spectra, one) for one in (PLACED, drt.LogGaussian(along="cycle")))
    np.testing.assert_array_equal(found.gamma, plain.gamma)
    assert not (found.status & (drt.Status.DRIFT | drt.Status.NOT_PLACED)).any()
    assert not found.moved.any()


def test_the_spectra_of_the_middle_and_parts_of_a_result(drifting):
    still = drifting.at_one_time().impedance
    here = drifting.impedance_at(FREQUENCY)
    assert np.sqrt(np.mean(np.abs(still / here - 1) ** 2)) < 0.006
    assert np.sqrt(np.mean(np.abs(drifting.impedance / here - 1) ** 2)) > 0.01
    np.testing.assert_array_equal(drifting[2:4].at_one_time().impedance, still[2:4])
    one = drifting[3].with_intervals(0.9).intervals
    assert one.r_pol_low[0] < drifting.r_pol[3] < one.r_pol_high[0]


def test_files_jobs_and_the_command_line(drifting, tmp_path):
    drt.write_spectra(tmp_path / "a.h5", drifting.spectra)
    given = ["invert", str(tmp_path / "a.h5"), "--along", "cycle", "--drift", "auto", "--level", "0.95"]
    ran = CliRunner().invoke(app, given)
    assert ran.exit_code == 0, ran.output
    drt.write_inversion(tmp_path / "b.h5", drifting)
    for path in (tmp_path / "a.drt.h5", tmp_path / "b.h5"):
        stored = drt.read_inversion(path)
        for name in ("gamma", "drift_fast", "drift_slow", "status", "moved"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(drifting, name))
        np.testing.assert_array_equal(stored.intervals.gamma_low, drifting.intervals.gamma_low)


def test_what_is_missing_is_told(drifting, tmp_path, caplog):
    spectra = drifting.spectra
    without = drt.Spectra(FREQUENCY, spectra.impedance, spectra.states.drop(columns="time"), spectra.point_time)
    drt.write_spectra(tmp_path / "a.h5", without)
    with pytest.raises(InputError, match="needs the state 'time'"):
        drt.invert(without, PLACED)
    with pytest.raises(InputError, match="needs the state 'time'"):
        drt.invert_file(tmp_path / "a.h5", tmp_path / "b.h5", method=PLACED)
    # Hours in place of seconds.
    hours = drt.Spectra(FREQUENCY, spectra.impedance, spectra.states.assign(time=START / 3600), spectra.point_time)
    result = drt.invert(hours, PLACED)
    assert "their sweeps overlap" in caplog.text
    assert not (result.status & drt.Status.DRIFT).any()
    assert ((result.status & drt.Status.NOT_PLACED) != 0).all()


def test_times_of_points_on_the_clock_of_the_sweeps_are_told(drifting, caplog):
    # Counted twice, each pause would seem twice as long, and the drift half as fast.
    spectra = drifting.spectra
    late = drt.Spectra(FREQUENCY, spectra.impedance, spectra.states, START[:, None] + TIME)
    result = drt.invert(late, PLACED)
    assert "both times are of one clock" in caplog.text
    assert ((result.status & drt.Status.NOT_PLACED) != 0).all()


def test_sweeps_with_hardly_a_pause_settle():
    # What one round leaves falls to about six tenths in the next: without mixing both, five of thirty do not settle.
    f = np.logspace(4, -2, 41)
    time = np.cumsum(np.maximum(3 / f, 0.2))
    start = np.arange(6) * (time[-1] + 60)
    resistance = 50 * (1 + 0.03 * (start[:, None] + time) / time[-1])
    for seed in (0, 4, 13, 17):
        rng = np.random.default_rng(seed)
        z = 10 + resistance / (1 + (2j * np.pi * f * 0.3) ** 0.85)
        z = z * (1 + 2e-3 * (rng.normal(size=z.shape) + 1j * rng.normal(size=z.shape)))
        spectra = drt.Spectra(f, z, {"cycle": np.arange(6), "time": start}, np.tile(time, (6, 1)))
        result = drt.invert(spectra, PLACED)
        assert (result.status == drt.Status.DRIFT).all()
        middle = 50 * (1 + 0.03 * (start + (time[0] + time[-1]) / 2) / time[-1])
        np.testing.assert_allclose(result.r_pol, middle, rtol=0.01)


def test_a_series_that_does_not_settle_says_so(drifting, monkeypatch):
    monkeypatch.setattr("drt_engine.methods.placing._ROUNDS", 1)
    result = drt.invert(drifting.spectra, PLACED)
    assert ((result.status & drt.Status.NOT_PLACED) != 0).all()
    assert result.counts()["not placed"] == len(result)


def test_shares_are_of_parabolas_and_stay_on_one_side_of_a_break():
    measured = np.ones((8, FREQUENCY.size), dtype=bool)
    measured[3, -1] = False
    times = np.tile(TIME, (8, 1))
    times[6, 2] = np.nan
    sweeps = sweeps_of(START, times, measured)
    breaks = np.arange(8) == 4
    beside, share = sweeps.shares(breaks)
    u = (sweeps.middle / 1000) ** 2
    at = (np.nan_to_num(sweeps.middle)[:, None] + sweeps.offset) / 1000
    found = np.einsum("knf,kn->kf", share, np.nan_to_num(u)[beside])
    expected = np.nan_to_num(at**2 - u[:, None])
    np.testing.assert_allclose(found[:4], expected[:4], rtol=1e-9, atol=1e-9)
    assert (beside[:4] < 4).all()
    assert not share[6].any()
    assert (beside[4] == [4, 5, 7]).all()
    assert sweeps_of(START, times, np.zeros_like(measured)) is None
