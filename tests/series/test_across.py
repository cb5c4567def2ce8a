"""Series that are neighbours in a second state: how they are arranged, and that they gain from each other."""

import logging

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

import drt_engine as drt
from drt_engine.series import sheets_of
from drt_engine.solvers.blocks import BlockMatrix
from drt_engine.status import Status

from .conftest import FREQUENCY, measured, truth

ALONG = ("voltage", "cycle")
TAU = np.geomspace(1e-5, 10.0, 241)


def states(*rows):
    return pd.DataFrame(rows, columns=["cell", "cycle", "voltage"])


def test_places_that_are_the_same_but_for_an_instruments_digits_stand_together():
    frame = states(
        *(("A", 1, 3.0), ("A", 1, 3.1), ("A", 1, 3.2), ("A", 1, 3.3)),
        *(("A", 50, 3.3004), ("A", 50, 3.2001), ("A", 50, 2.9998)),
        *(("A", 100, 3.1), ("A", 100, 3.0), ("A", 100, 3.2), ("A", 100, 3.3)),
        *(("B", 1, 3.0), ("B", 1, 3.1)),
    )
    (sheet,) = sheets_of(frame, ALONG)
    np.testing.assert_array_equal(sheet.rows, [[0, 1, 2, 3], [6, -1, 5, 4], [8, 7, 9, 10]])
    np.testing.assert_allclose(sheet.position[0], [0, 1, 2, 3], atol=0.01)
    np.testing.assert_allclose(sheet.position[1], [0, 1, 1 + 50 / 49], atol=0.03)


def test_what_was_measured_twice_at_a_place_has_two_places():
    frame = states(("A", 1, 3.0), ("A", 1, 3.0), ("A", 1, 3.1), ("A", 2, 3.0), ("A", 2, 3.1))
    (sheet,) = sheets_of(frame, ALONG)
    np.testing.assert_array_equal(sheet.rows, [[0, 1, 2], [3, -1, 4]])


def test_series_that_have_few_places_in_common_are_left_alone_and_the_log_says_so(caplog):
    frame = states(*(("A", cycle, 3.0 + 0.1 * k + 0.04 * cycle) for cycle in range(6) for k in range(4)))
    with caplog.at_level(logging.WARNING):
        assert sheets_of(frame, ALONG) == []
    assert "without their neighbours along cycle" in caplog.text


def drawn(seed):
    """The same at 8 voltages in 4 cycles; one spectrum is missing."""
    voltage, cycles = np.linspace(3.0, 3.7, 8), np.array([1, 50, 100, 150])
    impedance = np.vstack([measured(voltage, seed=seed + n) for n in range(cycles.size)])
    frame = pd.DataFrame({"cell": "A", "cycle": np.repeat(cycles, 8), "voltage": np.tile(voltage, 4)})
    impedance[13] = np.nan
    return drt.Spectra(FREQUENCY, impedance, frame)


@pytest.fixture(scope="module")
def ageing():
    return drawn(10)


@pytest.fixture(scope="module")
def along(ageing):
    return drt.invert(ageing, drt.LogGaussian(along="voltage"))


@pytest.fixture(scope="module")
def across(ageing):
    return drt.invert(ageing, drt.LogGaussian(along=ALONG))


def errors(result, spectra):
    exact = np.array([truth(TAU, voltage) for voltage in spectra.states["voltage"]])
    good = result.solved
    wrong = np.abs(result.gamma_at(TAU) - exact)[good]
    return np.median(np.trapezoid(wrong, np.log(TAU)) / np.trapezoid(exact[good], np.log(TAU)))


@pytest.mark.slow
@pytest.mark.recorded
def test_what_is_alike_in_every_cycle_is_found_better(ageing, along, across):
    assert errors(across, ageing) < 0.9 * errors(along, ageing)


@pytest.mark.slow
@pytest.mark.recorded
def test_every_answer_is_certified_for_all_series_together(across):
    good = across.solved
    assert good.sum() == len(across) - 1
    assert np.ptp(across.optimality[good]) == 0.0
    assert across.optimality[good][0] <= 1e-8
    assert np.ptp(across.coupling_across[good]) == np.ptp(across.shift_across[good]) == 0.0
    assert np.isnan(across.coupling_across[~good]).all()


@pytest.mark.slow
@pytest.mark.recorded
def test_changes_across_are_found_better(along, across):
    # The same voltage in two cycles that follow each other: nothing changes.
    pairs = [(k, k + 8) for k in range(24) if 13 not in (k, k + 8)]
    before = np.diff(along.gamma_at(TAU)[pairs], axis=1)
    after = np.diff(across.gamma_at(TAU)[pairs], axis=1)
    # The slope of a line through four noisy values, against the difference of two: √(σ²/5) to √(2σ²), 0.32.
    assert np.median(np.abs(after).max(axis=2)) < 0.5 * np.median(np.abs(before).max(axis=2))


@pytest.mark.slow
@pytest.mark.recorded
def test_intervals_of_changes_across_hold_them_as_often_as_they_say(ageing, across):
    results = [across, *(drt.invert(drawn(seed), drt.LogGaussian(along=ALONG)) for seed in (110, 210))]
    # Pairs that have no spectrum in common, in three draws of the noise.
    pairs = [(k, k + 8) for k in (*range(8), *range(16, 24)) if k != 5]
    changes = [result.change(*pair, level=0.95) for result in results for pair in pairs]
    missed = sum(not change.r_pol_low < 0.0 < change.r_pol_high for change in changes)
    assert missed <= binom.ppf(0.999, len(changes), 0.05)
    alone = [drt.invert(ageing).change(*pair, level=0.95) for pair in pairs]
    narrower = [(one.r_pol_high - one.r_pol) / (two.r_pol_high - two.r_pol) for one, two in zip(changes, alone)]  # noqa: B905
    assert np.median(narrower) < 0.8


@pytest.mark.slow
@pytest.mark.recorded
def test_states_between_are_found_along_either_column(across):
    between = across.gamma_at(TAU, cycle=75)
    assert between.shape == (8, TAU.size)
    assert np.all(between[0] >= np.minimum(*across.gamma_at(TAU)[[8, 16]]) * 0.8)
    assert across.gamma_at(TAU, voltage=3.33).shape == (4, TAU.size)
    with pytest.raises(drt.InputError, match="one of its states"):
        across.gamma_at(TAU, voltage=3.33, cycle=75)


@pytest.mark.slow
def test_the_order_of_rows_does_not_matter(ageing):
    some = ageing[(ageing.states["voltage"] < 3.35) & (ageing.states["cycle"] < 120)]
    order = np.random.default_rng(3).permutation(len(some))
    result, again = (drt.invert(one, drt.LogGaussian(along=ALONG)) for one in (some, some[order]))
    np.testing.assert_array_equal(again.coefficients, result.coefficients[order])
    np.testing.assert_array_equal(again.status, result.status[order])


@pytest.mark.slow
def test_what_was_left_in_memory_does_not_matter(ageing, across, monkeypatch):
    """Blocks in single precision share the memory of those in double precision, whose upper halves are not cleared."""
    whole = BlockMatrix.in_single_precision

    def unclear(matrix):
        found = whole(matrix)
        found.own.view(np.uint32)[:] = 0x7F800001  # no number, and said to be none when it is converted
        return found

    monkeypatch.setattr(BlockMatrix, "in_single_precision", unclear)
    again = drt.invert(ageing, drt.LogGaussian(along=ALONG))
    np.testing.assert_array_equal(again.coefficients, across.coefficients)


def test_a_cell_that_jumps_between_two_cycles_is_flagged_across():
    voltage, cycles = np.array([3.0, 3.4]), np.arange(12)
    impedance = np.vstack([measured(voltage, seed=40 + n) for n in cycles])
    impedance[6 * 2 :] += 40.0 / (1.0 + (2j * np.pi * FREQUENCY * 0.1) ** 0.9)
    frame = pd.DataFrame({"cell": "A", "cycle": np.repeat(cycles, 2), "voltage": np.tile(voltage, 12)})
    result = drt.invert(drt.Spectra(FREQUENCY, impedance, frame), drt.LogGaussian(along=ALONG))
    flagged = np.flatnonzero(result.status & np.uint32(Status.BREAK_ACROSS))
    np.testing.assert_array_equal(flagged, [12, 13])
    # What was before and after is not made alike.
    resistance = result.r_pol.reshape(12, 2)
    np.testing.assert_allclose(resistance[6] - resistance[5], 40.0, rtol=0.05)
