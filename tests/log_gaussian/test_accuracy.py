"""What the accuracy benchmark measures holds: errors, peak counts and coverage over scenarios whose γ is known."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import drt_engine as drt

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SEEDS = range(5000, 5008)


@pytest.fixture(scope="module")
def accuracy():
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("accuracy")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", None) == str(BENCHMARKS / f"{name}.py"):
                del sys.modules[name]


def geometric(values):
    return np.exp(np.mean(np.log(values)))


def test_better_than_any_other_tool_on_the_ten(accuracy):
    rows = {one.name: accuracy.measured(drt.LogGaussian(), one, SEEDS) for one in accuracy.TASK}
    assert geometric([row.error for row in rows.values()]) < 0.095
    assert all(row.error < accuracy.HYBRID[name] for name, row in rows.items())
    assert np.mean([row.counted for row in rows.values()]) > 0.95
    assert all(row.solved == 1.0 for row in rows.values())


def test_as_good_where_nothing_was_chosen(accuracy):
    errors = [
        [accuracy.measured(method, one, SEEDS).error for one in accuracy.HELD_OUT]
        for method in (drt.LogGaussian(), drt.Tikhonov())
    ]
    assert geometric(errors[0]) < 0.11
    assert geometric(errors[0]) < 0.65 * geometric(errors[1])


@pytest.mark.parametrize("name", ["task", "held-out"])
def test_intervals_cover(accuracy, name):
    rows = [accuracy.covered(drt.LogGaussian(), one, SEEDS) for one in accuracy.SETS[name]]
    assert 0.93 <= np.mean([row.gamma for row in rows]) <= 0.99
    assert min(row.gamma for row in rows) >= 0.85
    assert 0.85 <= np.mean([row.r_pol for row in rows]) <= 0.99
    assert 0.85 <= np.nanmean([row.peaks for row in rows]) <= 0.99


def test_intervals_of_tikhonov_cover_what_is_smooth_and_not_what_is_sharp(accuracy):
    rows = {one.name: accuracy.covered(drt.Tikhonov(), one, SEEDS) for one in accuracy.TASK}
    sharp = ("pwc", "near_rc")
    assert 0.9 <= np.mean([row.gamma for name, row in rows.items() if name not in sharp]) <= 0.99
    assert rows["near_rc"].gamma < 0.2
    assert 0.8 <= np.mean([row.r_pol for row in rows.values()]) <= 0.99


def test_circuits_that_others_made(accuracy, real_data, monkeypatch):
    monkeypatch.setenv("DRT_ENGINE_DATA", str(real_data))
    third_party = importlib.import_module("third_party")
    known = third_party.read(80)
    assert len(known) == 23
    # What is told with three digits is found to nine.
    assert np.mean([each.left <= 1e-6 for each in known]) > 0.9
    exact = [each for each in known if each.left <= 1e-6]
    found = third_party.measure(exact, 0.0, third_party.METHODS, counted=False)
    assert found["solved"].all()
    errors = found.groupby("method")["error"].median()
    assert errors["LogGaussian"] < 0.05
    assert errors["LogGaussian"] < 0.4 * errors["Tikhonov"]
    inside = found[(found["method"] == "LogGaussian") & (found["status"] == 0)]
    assert inside["r_window"].abs().max() < 0.02


def test_limits_do_not_break_it(accuracy):
    for one in sys.modules["scenarios"].LIMITS:
        result = drt.invert(one.spectra(SEEDS), drt.LogGaussian())
        assert result.solved.all()
        np.testing.assert_allclose(result.r_pol, one.circuit.r_pol, rtol=5e-3)
