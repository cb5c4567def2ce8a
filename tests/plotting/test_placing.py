"""Where spectra stand on the voltage profile of which only the voltage is known."""

import logging

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.plotting import CompositeView, composite
from drt_engine.plotting.cells import choose_cells, with_curves

F = np.logspace(4, -1, 21)


def measured(**states):
    z = 5 + 20 / (1 + (2j * np.pi * F * 1e-2) ** 0.9)
    spectra = drt.Spectra(F, np.outer(np.arange(1, 1 + len(next(iter(states.values())))), z), states)
    return spectra, drt.invert(spectra, drt.Tikhonov())


def placed(spectra, result, profile):
    (column,) = with_curves(choose_cells(spectra, result, None, None, {"voltage"}), profile)
    return column.chosen.states


@pytest.mark.slow
@pytest.mark.parametrize("name", ["charge", "specific_capacity", "time"])
def test_a_voltage_is_found_between_the_points_of_the_curve(name):
    spectra, result = measured(voltage=[4.0, 3.75, 3.0])
    profile = pd.DataFrame({name: [0.0, 10.0, 30.0], "voltage": [4.0, 3.5, 3.0]})
    assert placed(spectra, result, profile)[name].tolist() == [0.0, 5.0, 30.0]
    (axes, *_) = composite(spectra, result, profile).axes
    factor = {"charge": 1 / 3.6, "specific_capacity": 1.0, "time": 1 / 3600}[name]
    np.testing.assert_allclose(sorted(axes.collections[0].get_offsets()[:, 0]), np.array([0, 5, 30]) * factor)


def test_each_cycle_and_direction_has_its_own_curve():
    states = {"cycle": [1, 1], "direction": ["charge", "discharge"], "voltage": [3.5, 3.5]}
    spectra, result = measured(**states)
    profile = pd.DataFrame(
        {
            "cycle": [1] * 4,
            "direction": ["charge"] * 2 + ["discharge"] * 2,
            "time": [0.0, 10.0, 20.0, 40.0],
            "voltage": [3.0, 4.0, 4.0, 3.0],
        }
    )
    (column,) = with_curves(choose_cells(spectra, result, None, states, {"voltage"}), profile)
    assert column.chosen.states["time"].tolist() == [5.0, 30.0]


def test_a_voltage_beyond_the_curve_stands_at_its_end_and_is_said(caplog):
    spectra, result = measured(voltage=[4.2, 3.5])
    profile = pd.DataFrame({"charge": [0.0, 10.0], "voltage": [4.0, 3.0]})
    with caplog.at_level(logging.WARNING):
        assert placed(spectra, result, profile)["charge"].tolist() == [0.0, 5.0]
    assert "1 spectrum has a voltage that the profile never comes to (3 to 4 V), first 4.2 V" in caplog.text


def test_what_is_known_is_not_placed_anew():
    spectra, result = measured(voltage=[4.0, 3.5], charge=[1.0, 7.0])
    profile = pd.DataFrame({"charge": [0.0, 10.0], "voltage": [4.0, 3.0]})
    assert placed(spectra, result, profile)["charge"].tolist() == [1.0, 7.0]


@pytest.mark.slow
def test_voltages_alone_show_the_resistance_over_them():
    spectra, result = measured(voltage=[4.0, 3.5, 3.0])
    (axes, *_) = composite(spectra, result).axes
    assert axes.get_ylabel().startswith(r"$R_\mathrm{pol}$")
    with pytest.raises(InputError, match="the profile has 'voltage', 'when'"):
        composite(spectra, result, pd.DataFrame({"voltage": [4.0, 3.0], "when": [0.0, 1.0]}), view=CompositeView())


def test_what_a_potentiostat_recorded_is_the_curve():
    spectra, result = measured(voltage=[4.0, 3.75, 3.0])
    trace = drt.Trace([5.0, 15.0, 35.0], [4.0, 3.5, 3.0], [1e-3] * 3)
    assert placed(spectra, result, [trace])["time"].tolist() == [0.0, 5.0, 30.0]
    (axes, *_) = composite(spectra, result, trace).axes
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), [4.0, 3.5, 3.0])


def test_cells_are_shown_over_one_unit_of_resistance():
    z = np.outer([1.0, 1.1, 200.0, 210.0], 0.05 + 0.4 / (1 + (2j * np.pi * F * 1e-2) ** 0.9))
    spectra = drt.Spectra(F, z, {"cell": ["A", "A", "B", "B"], "cycle": [1, 2, 1, 2]})
    figure = composite(spectra, drt.invert(spectra, drt.Tikhonov()), state="cycle", own_scales=False)
    figure.draw_without_rendering()
    first, second = ([label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes[:2])
    assert first == second
