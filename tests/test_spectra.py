import numpy as np
import pandas as pd
import pytest

import drt_engine as drt

F = np.array([1.0, 100.0, 10.0, 0.1, 1000.0])
Z = np.array([3 - 1j, 1 - 0.1j, 2 - 0.5j, 4 - 2j, 0.5 - 0.01j])


def test_sorts_once_and_keeps_pairs():
    spectra = drt.Spectra(F, Z)
    assert spectra.frequency.tolist() == [1000.0, 100.0, 10.0, 1.0, 0.1]
    assert spectra.impedance.tolist() == [[0.5 - 0.01j, 1 - 0.1j, 2 - 0.5j, 3 - 1j, 4 - 2j]]
    assert len(spectra) == 1


def test_is_frozen_and_apart_from_its_input():
    f, z = F.copy(), np.stack([Z, 2 * Z])
    states = pd.DataFrame({"cycle": [1, 2]}, index=[7, 9])
    spectra = drt.Spectra(f, z, states)
    f[:] = z[:] = 5.0
    states.loc[:, "cycle"] = 0
    copy = spectra.states
    copy.loc[:, "cycle"] = 8
    assert spectra.frequency[0] == 1000.0
    assert spectra.impedance[1, 0] == 1 - 0.02j
    assert spectra.states["cycle"].tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        spectra.impedance[0, 0] = 1.0
    with pytest.raises(AttributeError):
        spectra.frequency = f


@pytest.mark.parametrize(
    ("frequency", "message"),
    [
        ([1000, 100, 10, 1, 0], r"frequency must be positive.*got 0 Hz at index 4. Drop the DC point"),
        ([1000, 100, 10, -1, 2], r"got -1 Hz at index 3"),
        ([1000, 100, 10, np.nan, 2], r"got nan Hz at index 3"),
        ([1000, 100, np.inf, 1, 2], r"got inf Hz at index 2"),
        ([1000, 100, 10, 10, 1], r"must not repeat; got 10 Hz"),
        ([1000, 100, 10, 1], r"at least 5 points; got 4"),
        ([[1000, 100, 10, 1, 0.1]], r"one dimension; got shape \(1, 5\)"),
        (["a", "b", "c", "d", "e"], r"numbers in Hz"),
        ([1000, 100, 10, 1, 1j], r"got complex numbers"),
    ],
)
def test_refuses_a_bad_frequency(frequency, message):
    with pytest.raises(drt.InputError, match=message):
        drt.Spectra(frequency, np.ones(np.size(frequency)))


@pytest.mark.parametrize(
    ("impedance", "states", "message"),
    [
        (np.ones(4), None, r"each of the 5 frequencies; got shape \(4,\)"),
        (np.ones((2, 3, 5)), None, r"got shape \(2, 3, 5\)"),
        (np.ones((5, 2)), None, r"got shape \(5, 2\)"),
        (["a"] * 5, None, r"complex numbers"),
        (np.ones((2, 5)), {"cycle": [1, 2, 3]}, r"one row for each of the 2 spectra; got 3"),
        (np.ones((2, 5)), {"gamma": [1, 2]}, r"cannot be called 'gamma'"),
        (np.ones((2, 5)), {"cycle": [1, 2], "cell": ["a"]}, r"mapping of column names to 2 values"),
    ],
)
def test_refuses_what_does_not_fit_together(impedance, states, message):
    with pytest.raises(drt.InputError, match=message):
        drt.Spectra(F, impedance, states)


def test_errors_are_also_the_usual_ones():
    with pytest.raises(ValueError, match="positive"):
        drt.Spectra(-F, Z)


@pytest.mark.parametrize(
    ("rows", "cycles"), [(1, [2]), (slice(1, None), [2, 3]), ([2, 0], [3, 1]), (np.array([True, False, True]), [1, 3])]
)
def test_chooses_rows(rows, cycles):
    spectra = drt.Spectra(F, np.stack([Z, 2 * Z, 3 * Z]), {"cycle": [1, 2, 3]})
    chosen = spectra[rows]
    assert chosen.states["cycle"].tolist() == cycles
    np.testing.assert_array_equal(chosen.impedance[:, 0], (0.5 - 0.01j) * np.array(cycles))


def test_chooses_rows_by_a_column():
    spectra = drt.Spectra(F, np.stack([Z, 2 * Z, 3 * Z]), {"cycle": [1, 2, 3]})
    assert len(spectra[spectra.states["cycle"] > 1]) == 2


def test_says_what_it_holds():
    text = repr(drt.Spectra(F, np.stack([Z, Z]), {"cycle": [1, 2]}))
    assert "2 spectra" in text
    assert "5 frequencies from 1e+03 to 0.1 Hz" in text
    assert "cycle" in text


def test_without_states_there_are_rows_but_no_columns():
    assert drt.Spectra(F, np.stack([Z, Z])).states.shape == (2, 0)
    assert drt.Spectra(F, np.stack([Z, Z]), {}).states.shape == (2, 0)


def test_times_of_points_stay_with_their_points():
    order = np.array([3, 1, 4, 0, 2])
    times = np.array([0.0, 1.0, 3.0, np.nan, 20.0])
    spectra = drt.Spectra(F[order], np.stack([Z, 2 * Z])[:, order], point_time=np.stack([times, 2 * times])[:, order])
    high = np.argsort(-F)
    np.testing.assert_array_equal(spectra.point_time, np.stack([times, 2 * times])[:, high])
    np.testing.assert_array_equal(spectra[1].point_time, 2 * times[None, high])
    assert not spectra.point_time.flags.writeable
    assert drt.Spectra(F, Z).point_time is None
    assert drt.Spectra(F, Z)[0].point_time is None


@pytest.mark.parametrize(
    ("times", "message"),
    [(np.zeros(4), "one time for each point"), (np.full(5, np.inf), "finite"), (["a"] * 5, "numbers in s")],
)
def test_refuses_times_that_are_none(times, message):
    with pytest.raises(drt.InputError, match=message):
        drt.Spectra(F, Z, point_time=times)
