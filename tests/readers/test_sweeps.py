"""Where a sweep ends, and whether it is finished."""

import numpy as np
import pytest

from drt_engine.errors import FileFormatError, InputError
from drt_engine.readers import Recording, Sweep
from drt_engine.readers.rows import Rows
from drt_engine.readers.sweeps import recording

DOWN = [1000.0, 100.0, 10.0, 1.0]
UP = DOWN[::-1]


def rows(frequency, **states):
    f = np.array(frequency)
    z = np.arange(1, f.size + 1) * (1 - 1j)
    return Rows("a.txt", f, z, {k: np.array(v, float) for k, v in states.items()}, np.arange(2, f.size + 2))


def lengths(read):
    return [len(sweep) for sweep in read.sweeps], [sweep.finished for sweep in read.sweeps]


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        (DOWN, [4]),
        (UP, [4]),
        (DOWN * 3, [4, 4, 4]),
        (UP * 3, [4, 4, 4]),
        (DOWN + UP, [4, 4]),
        (DOWN + UP + DOWN + UP, [4, 4, 4, 4]),
    ],
)
def test_sweeps_end_where_the_frequency_turns_back(frequency, expected):
    assert lengths(recording(rows(frequency), "x")) == (expected, [True] * len(expected))


def test_a_counter_splits_where_the_frequency_does_not_go_on_in_step():
    read = recording(rows([100, 50, 10, 2, 1, 0.5, 1000, 90, 50], cycle=[1, 1, 1, 2, 2, 2, 3, 3, 3]), "x")
    assert [list(sweep.frequency) for sweep in read.sweeps] == [[100, 50, 10, 2, 1, 0.5], [1000, 90, 50]]
    assert any("a counter changes 1 time while the frequency goes on in step" in one for one in read.remarks)
    read = recording(rows([100, 50, 10, 0.02, 0.01, 1e-3], cycle=[1, 1, 1, 2, 2, 2]), "x")
    assert [len(sweep) for sweep in read.sweeps] == [3, 3]


@pytest.mark.parametrize("counter", ["cycle", "z_cycle", "sequence"])
@pytest.mark.parametrize("late", [-2, -1, 0, 1, 2])
def test_a_counter_that_changes_early_or_late_divides_no_sweep(counter, late):
    f = np.logspace(5, 0, 11)
    count = np.roll(np.repeat([0, 1, 2], 11), late)
    count[: max(late, 0)], count[33 + min(late, 0) :] = 0, 2
    read = recording(rows(np.tile(f, 3), **{counter: count}), "x")
    assert [len(sweep) for sweep in read.finished] == [11, 11, 11]
    assert [sweep.state[counter] for sweep in read.sweeps] == [0, 1, 2]


@pytest.mark.parametrize("counter", ["cycle", "z_cycle", "sequence"])
def test_a_counter_of_every_point_divides_no_sweep(counter):
    f = np.logspace(5, 0, 11)
    read = recording(rows(np.tile(f, 2), **{counter: np.arange(22)}), "x")
    assert [len(sweep) for sweep in read.finished] == [11, 11]


def test_a_frequency_that_comes_out_a_little_different_is_measured_again():
    read = recording(rows([1e5, 3e4, 1e4, 1.0001e4, 3e3, 1e3, 300.0]), "x")
    assert lengths(read) == ([6], [True])
    assert any("1 point measured again" in one for one in read.remarks)
    # Of a fine grid each point is another one.
    assert lengths(recording(rows(1e4 * (1 + 1e-5 * np.arange(40))), "x")) == ([40], [True])


def test_the_extreme_point_of_a_turn_belongs_to_both_branches():
    read = recording(rows([*DOWN, *UP[1:]]), "x")
    assert [list(sweep.frequency) for sweep in read.finished] == [DOWN, UP]


def test_a_short_branch_that_a_longer_one_measures_again_is_left_out():
    read = recording(rows([1e3, 1e4, 1e5, 5e4, 5e3, 500, 50, 5]), "x")
    assert [list(sweep.frequency) for sweep in read.finished] == [[1e5, 5e4, 5e3, 500, 50, 5]]
    assert any("2 points before the turn at 100000 Hz left out (line 2)" in one for one in read.remarks)


def test_branches_without_overlap_are_one_sweep():
    read = recording(rows([1e3, 1e4, 1e5, 500, 50, 5], time=range(6)), "x")
    assert [list(sweep.frequency) for sweep in read.finished] == [[1e5, 1e4, 1e3, 500, 50, 5]]
    assert list(read.sweeps[0].point_time) == [2, 1, 0, 3, 4, 5]
    assert any("taken as one sweep of 6 points" in one for one in read.remarks)


def test_ranges_that_overlap_are_not_both_unfinished():
    read = recording(rows([1e5, 1e4, 1e3, 1e2, 1e4, 1e3, 1e2, 1e1]), "x")
    assert [sweep.finished for sweep in read.sweeps] == [True, True]


def test_the_time_of_each_point_is_kept():
    read = recording(rows(DOWN * 2, time=[5, 6, 8, 20, 30, np.nan, 33, 41]), "x")
    np.testing.assert_array_equal(read.sweeps[0].point_time, [0, 1, 3, 15])
    np.testing.assert_array_equal(read.sweeps[1].point_time, [0, np.nan, 3, 11])
    assert recording(rows(DOWN), "x").sweeps[0].point_time is None


def test_within_a_cycle_the_frequency_splits():
    read = recording(rows(DOWN * 2 + DOWN, cycle=[1] * 8 + [2] * 4), "x")
    assert [sweep.state["cycle"] for sweep in read.sweeps] == [1, 1, 2]


@pytest.mark.parametrize(
    ("frequency", "finished", "reason"),
    [
        (
            DOWN * 2 + DOWN[:2],
            [True, True, False],
            r"sweep 3 \(line 10\) is unfinished: it ends at 100 Hz and others at 1 Hz",
        ),
        (DOWN[:3] + DOWN * 2, [False, True, True], "sweep 1 .* ends at 10 Hz"),
        ([*DOWN, DOWN[0], *DOWN[2:], *DOWN], [True, False, True], "sweep 2 .* has 3 points and others 4"),
        (DOWN[:2] + DOWN, [False, True], "sweep 1 .* ends at 100 Hz"),
        (DOWN + DOWN[:1], [True, False], "sweep 2 .* ends at 1000 Hz"),
        (UP + UP[:2], [True, False], "sweep 2 .* ends at 10 Hz and others at 1000 Hz"),
        ([*DOWN[:2], 500.0, 10.0, 5.0, 1.0], [False, False], "sweep 2 .* begins at 500 Hz and others at 1000 Hz"),
    ],
)
def test_unfinished_sweeps_are_kept_and_marked(frequency, finished, reason):
    read = recording(rows(frequency), "x")
    assert [sweep.finished for sweep in read.sweeps] == finished
    assert len(read.finished) == sum(finished)
    assert sum(len(sweep) for sweep in read.sweeps) == len(frequency)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError("\n".join(read.remarks))


def test_the_header_can_say_that_a_single_sweep_is_unfinished():
    assert not recording(rows(DOWN), "x", last=0.01).sweeps[0].finished
    assert recording(rows(DOWN), "x", last=1.01).sweeps[0].finished
    assert not recording(rows(DOWN), "x", points=5).sweeps[0].finished
    assert recording(rows(DOWN), "x", points=4).sweeps[0].finished


def test_a_frequency_measured_again_counts_once_and_the_later_point_is_kept():
    read = recording(rows([1000, 100, 100, 10, 1, 1000, 100, 10, 1, 1]), "x")
    assert lengths(read) == ([4, 4], [True, True])
    assert read.sweeps[0].impedance[1] == 3 - 3j
    assert read.sweeps[1].impedance[3] == 10 - 10j
    assert any(
        "2 points measured again at the same frequency; the later one kept (first at line 4)" in r for r in read.remarks
    )


def test_the_turning_point_measured_twice_belongs_to_both_sweeps():
    read = recording(rows([1000, 100, 10, 10, 100, 1000]), "x")
    assert [list(sweep.frequency) for sweep in read.sweeps] == [[1000, 100, 10], [10, 100, 1000]]


def test_frequencies_in_no_order_are_refused():
    with pytest.raises(FileFormatError, match="in no order: 8 points make"):
        recording(rows([1, 1000, 10, 500, 30, 700, 20, 90]), "x")


def test_one_frequency_that_no_other_sweep_has_is_damage():
    with pytest.raises(FileFormatError, match=r"line 7: the frequency is 200 Hz, where other sweeps .* have 100 Hz"):
        recording(rows([*DOWN, 1000.0, 200.0, 10.0, 1.0, *DOWN]), "x")
    assert len(recording(rows([*DOWN, 1000.0, 200.0, 20.0, 1.0, *DOWN]), "x").sweeps) == 3
    assert len(recording(rows([*DOWN, 1000.0, 200.0, 10.0, 1.0]), "x").sweeps) == 2


def test_states_are_means_and_starts():
    read = recording(
        rows(
            DOWN,
            voltage=[1, 2, 3, np.nan],
            current=[4, 4, 6, 6],
            time=[7, 8, 9, 10],
            charge=[3, 4, 5, 6],
            cycle=[2] * 4,
        ),
        "x",
        states={"area": 0.5},
    )
    assert read.sweeps[0].state == {"voltage": 2, "current": 5, "time": 7, "charge": 3, "cycle": 2, "area": 0.5}
    assert isinstance(read.sweeps[0].state["cycle"], int)


def test_a_sweep_is_frozen_and_checked():
    sweep = Sweep([10.0, 1.0], [1 - 1j, 2 - 2j], {"cycle": 1})
    with pytest.raises(ValueError, match="read-only"):
        sweep.frequency[0] = 5
    with pytest.raises(TypeError):
        sweep.state["cycle"] = 2
    with pytest.raises(InputError, match="shapes"):
        Sweep([1.0], [1j, 2j])
    with pytest.raises(InputError, match="positive, finite"):
        Sweep([0.0], [1j])
    assert Recording("a", "x", (sweep,)).finished == (sweep,)
