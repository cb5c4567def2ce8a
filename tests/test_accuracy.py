"""The accuracy benchmark measures what it says: on solutions whose error, peaks and coverage are known beforehand."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def accuracy():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("accuracy")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("accuracy", "accuracy_figures", "fresh", "bands", "peers", "scenarios"):
            sys.modules.pop(name, None)


def named(accuracy, name):
    return next(one for one in (*accuracy.TASK, *accuracy.FRESH) if one.name == name)


class Around:
    """Intervals that are the truth times factors, and so cover it or do not."""

    def __init__(self, one, low, high, rows):
        self.one, self.ends, self.rows = one, np.array([low, high]), rows

    def gamma_interval(self, level, tau):
        assert level == 0.95
        return tuple(factor[:, None] * self.one.circuit.gamma(tau) for factor in self.ends)

    def r_pol_interval(self, level):
        return tuple(factor * self.one.circuit.r_pol for factor in self.ends)

    def resistance_interval(self, low, high, level):
        y = np.linspace(np.log(low), np.log(high), 20001)
        exact = np.trapezoid(self.one.circuit.gamma(np.exp(y)), y)
        return tuple(factor * exact for factor in self.ends)


def test_maxima_of_the_ten(accuracy):
    assert [accuracy.count_peaks(one.gamma) for one in accuracy.TASK] == [1, 1, 2, 2, 2, 1, 1, 2, 4, 2]


def test_as_many_peaks_are_right_as_maxima_or_as_processes(accuracy):
    assert accuracy.allowed(named(accuracy, "battery")) == (4, 4)
    # Its second maximum is beyond the window.
    assert accuracy.allowed(named(accuracy, "beyond")) == (1, 2)


@pytest.mark.parametrize(("low", "high", "share"), [(0.9, 1.1, 1.0), (1.01, 1.2, 0.0), (0.5, 0.99, 0.0)])
def test_coverage_of_intervals_that_are_known(accuracy, monkeypatch, low, high, share):
    one = named(accuracy, "zarc2_sep")
    monkeypatch.setattr(accuracy, "bands_of", lambda *_: Around(one, [low] * 4, [high] * 4, 4))
    found = accuracy.covered(drt.Tikhonov(), one, range(4))
    assert (found.gamma, found.r_pol, found.peaks) == (share, share, share)
    assert found.width == pytest.approx(0.5 * (high - low), rel=1e-12)


def test_coverage_is_a_share_of_spectra(accuracy, monkeypatch):
    one = named(accuracy, "battery")
    monkeypatch.setattr(accuracy, "bands_of", lambda *_: Around(one, [0.9, 0.9, 0.9, 1.1], [1.2] * 4, 4))
    found = accuracy.covered(drt.Tikhonov(), one, range(4))
    assert (found.gamma, found.r_pol, found.peaks) == (0.75, 0.75, 0.75)


def test_a_method_without_intervals_has_no_coverage(accuracy, monkeypatch):
    monkeypatch.setattr(accuracy, "bands_of", lambda *_: None)
    assert accuracy.covered(drt.Tikhonov(), named(accuracy, "hn"), range(2)) is None


def test_a_tool_that_knows_the_truth_has_no_error(accuracy):
    one = named(accuracy, "zarc2_over")
    seen = []

    def perfect(frequency, impedance):
        seen.append((frequency, impedance))
        tau = np.geomspace(1e-8, 1e4, 20001)
        return tau, one.circuit.gamma(tau)

    row = accuracy.measured_peer(perfect, one, [3, 4])
    assert row.error < 1e-5
    assert row.peaks == 1.0
    np.testing.assert_array_equal(seen[-1][1], one.spectra([4]).impedance[0])

    half = accuracy.measured_peer(lambda f, z: (one.tau, 0.5 * one.gamma), one, [3])
    assert half.error == pytest.approx(0.5, rel=1e-9)
    none = accuracy.measured_peer(lambda f, z: (one.tau, 0.0 * one.gamma + 1e-9), one, [3])
    assert none.peaks == 0.0


def test_the_error_is_a_median_over_seeds(accuracy):
    one = named(accuracy, "hn")
    errors = []
    for seed in range(5):
        result = drt.invert(one.spectra([seed]), drt.Tikhonov())
        errors.append(accuracy.distance(result.gamma_at(one.tau), one.gamma, one.tau)[0])
    row = accuracy.measured(drt.Tikhonov(), one, range(5))
    assert row.error == pytest.approx(np.median(errors), rel=1e-12)
    assert row.solved == 1.0


def test_the_tables_and_the_figure_show_every_scenario(accuracy, monkeypatch, tmp_path, capsys):
    chosen = accuracy.TASK[:2]
    monkeypatch.setitem(accuracy.SETS, "task", chosen)
    monkeypatch.setattr(accuracy, "METHODS", {"Tikhonov": drt.Tikhonov()})
    monkeypatch.setattr(accuracy, "bands_of", lambda *_: None)
    monkeypatch.setattr(accuracy, "peers", lambda: {"flat": lambda f, z: (chosen[0].tau, np.full(801, 1.0))})
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "--seeds", "3", "--peers", "--csv", str(tmp_path / "task.csv")])
    accuracy.main()
    printed = capsys.readouterr().out
    for title in ("error of γ", "maxima counted", "ms a spectrum"):
        table = printed[printed.index(title) :]
        assert re.search(r"zarc1_lo +[\d.]+", table)
        assert re.search(r"zarc1_hi +[\d.]+", table)
    found = pd.read_csv(tmp_path / "task.csv").set_index(["scenario", "method"])
    assert set(found.index.get_level_values("method")) == {"Tikhonov", "flat", "hybrid quoted"}
    assert found.loc[("zarc1_hi", "hybrid quoted"), "error"] == 0.079
    assert 0.05 < found.loc[("zarc1_lo", "Tikhonov"), "error"] < 0.3
    figures = importlib.import_module("accuracy_figures")
    figures.errors(found.reset_index(), tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 5000


def test_tools_that_are_not_installed_are_named(accuracy):
    peers = sys.modules["peers"]
    lacking = peers.missing_peers()
    assert set(lacking).isdisjoint(peers.peers())
    assert set(lacking) | set(peers.peers()) == {"hybrid-drt", "pyDRTtools", "pyimpspec rbf", "pyimpspec nnls"}
