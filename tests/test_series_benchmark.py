"""The benchmark of series: truths are those of the spectra, and figures are those of solutions that are known."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import drt_engine as drt

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("series", "evolutions", "evolutions_held_out", "evolutions_unusual", "fresh", "peers", "scenarios")


@pytest.fixture(scope="module")
def series():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("series")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def made(series):
    return {case.name: case.make(first) for chosen, first in series.SETS.values() for case in chosen}


def two_states(series):
    case = next(each for each in series.DEVELOPMENT if each.name == "five")

    def fewer(seed):
        one = case.make(seed)
        return replace(one, spectra=one.spectra[:2], truth=lambda tau: one.truth(tau)[:2], r_pol=one.r_pol[:2])

    return replace(case, make=fewer)


def test_names_are_those_of_one_series_each(series):
    names = [case.name for chosen, _ in series.SETS.values() for case in chosen]
    assert len(set(names)) == len(names) == 44


@pytest.mark.slow
def test_truths_are_those_of_the_spectra(made):
    y = np.linspace(np.log(1e-13), np.log(1e9), 4001)
    for name, one in made.items():
        gamma = one.truth(np.exp(y))
        assert gamma.min() >= 0.0, name
        assert np.trapezoid(gamma, y) == pytest.approx(one.r_pol, rel=0.01), name
        ends = one.spectra.frequency[[0, -1]]
        exact = np.array([np.trapezoid(gamma / (1.0 + (2.0 * np.pi * f * np.exp(y)) ** 2), y) for f in ends])
        seen = one.spectra.impedance.real[:, [0, -1]].T
        usable = np.isfinite(seen).all(axis=0)
        assert np.diff(seen, axis=0)[:, usable] == pytest.approx(np.diff(exact, axis=0)[:, usable], rel=0.1), name


def test_neighbours_are_of_one_series(made):
    for name, one in made.items():
        states = one.spectra.states
        for column in one.along:
            pairs = one.pairs(column)
            assert np.all(np.diff(states[column].to_numpy(dtype=float)[pairs], axis=1) > 0), name
            for other in ("cell", "cycle", "direction"):
                if other in states and other != column:
                    values = states[other].to_numpy()[pairs]
                    assert np.all(values[:, 0] == values[:, 1]), (name, other)
    assert len(made["campaign voltage"].pairs("voltage")) == 22 * 23
    assert len(made["campaign cycle"].pairs("cycle")) == len(made["campaign both"].pairs("cycle")) == 48 * 10
    assert [len(made[name].pairs("voltage")) for name in ("half missing", "refused", "five")] == [11, 20, 4]
    assert [2, 4] in made["refused"].pairs("voltage").tolist()
    assert made["five"].far_pairs("voltage").tolist() == [[0, 2], [1, 3], [2, 4]]
    assert [4, 16] in made["refused"].far_pairs("voltage").tolist()


def test_other_seeds_have_other_noise_and_the_same_truth(series):
    for name in ("skewed", "B cycle 1"):
        case = next(each for each in series.DEVELOPMENT if each.name == name)
        a, b, again = case.make(0), case.make(1), case.make(0)
        assert np.array_equal(a.spectra.impedance, again.spectra.impedance)
        assert np.abs(a.spectra.impedance / b.spectra.impedance - 1.0).max() < 0.02
        assert not np.any(a.spectra.impedance == b.spectra.impedance)
        assert np.array_equal(a.truth(a.tau), b.truth(b.tau))


def test_figures_of_answers_that_are_known(series, made):
    one = made["jump"]
    truth = one.truth(one.tau)
    factor = np.where(np.arange(len(truth)) < 12, 1.1, 1.3)[:, None]
    figures = series.Figures()
    figures.compare(one, truth * factor)
    row = figures.row()
    assert row["error"] == pytest.approx(0.2)
    assert row["beside"] == pytest.approx(0.2)
    assert row["change"] == pytest.approx(0.2, abs=0.1 + 1e-9)
    log_tau, pairs = np.log(one.tau), one.pairs("voltage")
    late = pairs[pairs[:, 0] >= 12]
    assert series.change_errors(1.3 * truth, truth, log_tau, late) == pytest.approx(0.3)
    still = made["still"]
    truth = still.truth(still.tau)
    figures = series.Figures()
    figures.compare(still, truth * (1.0 + 0.01 * (np.arange(len(truth)) % 2))[:, None])
    assert figures.row()["change"] == pytest.approx(0.01)
    assert figures.row()["still"]


def test_coverage_of_intervals_that_are_known(series, made):
    one = made["refused"]
    truth = one.truth(one.tau)
    solved = np.isfinite(one.spectra.impedance).all(axis=1)

    def change(i, j, level):
        exact = one.r_pol[j] - one.r_pol[i]
        return SimpleNamespace(r_pol_low=exact - 1.0, r_pol_high=exact + (1.0 if i % 2 else -0.5))

    result = SimpleNamespace(
        method=SimpleNamespace(linear=False),
        gamma_interval=lambda level, tau: (0.9 * truth, np.where(one.tau < 1e-3, 0.95, 1.1) * truth),
        r_pol_interval=lambda level: (0.9 * one.r_pol, 1.1 * one.r_pol),
        solved=solved,
        change=change,
    )
    figures = series.Figures()
    figures.cover(one, result)
    row = figures.row()
    above = truth > 0.02 * truth.max(axis=1, keepdims=True)
    assert row["covered_gamma"] == pytest.approx(np.mean((one.tau >= 1e-3)[above[solved].nonzero()[1]]))
    assert row["covered_r_pol"] == 1.0
    assert row["covered_change"] == pytest.approx(np.mean(one.pairs("voltage")[:, 0] % 2))
    assert row["covered_far"] == pytest.approx(np.mean(one.far_pairs("voltage")[:, 0] % 2))


@pytest.mark.slow
def test_it_runs_on_two_states(series, monkeypatch, capsys, tmp_path):
    case = two_states(series)
    monkeypatch.setattr(series, "SETS", {"development": ((case,), 0), "held-out": ((case,), 5)})
    monkeypatch.setattr(series, "peers", lambda: {"truth": lambda f, z: (np.array([1e-9, 1e3]), np.zeros(2))})
    monkeypatch.setattr(sys, "argv", ["series.py", "--seeds", "2", "--peers", "--csv", str(tmp_path / "found.csv")])
    series.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("five")]
    found = {line[1]: [float(value) for value in line[2:4]] for line in lines}
    assert found["truth"] == [1.0, 1.0]
    assert 0.0 < found["LogGaussian"][0] < found["Tikhonov"][0] < 0.6
    assert (tmp_path / "found.csv").read_text().startswith("series,method,")


def test_a_name_that_is_none_is_refused(series, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["series.py", "--only", "sideways"])
    with pytest.raises(SystemExit):
        series.main()
    assert "sideways; there are B cycle 1" in capsys.readouterr().err


def test_a_joint_method_is_given_the_columns(series, made, monkeypatch):
    given = []
    monkeypatch.setattr(drt, "LogGaussian", lambda **options: given.append(options))
    series.joint(made["campaign cycle"])
    series.joint(made["campaign both"])
    assert given == [
        {"along": "cycle", "series": ("cell", "direction", "voltage")},
        {"along": ("voltage", "cycle"), "series": None},
    ]
