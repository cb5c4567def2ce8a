"""Blocks: they cover everything once, end where chunks do, and take about a second."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drt_engine.jobs.blocks import Block, BlockSize, Extent, apart, gaps, next_block

NUMBERS = st.integers(0, 60)


@st.composite
def covered(draw):
    """A total, and parts of it without overlap."""
    cuts = sorted(draw(st.sets(NUMBERS, max_size=12)))
    parts = {first: last for first, last in pairwise(cuts) if draw(st.booleans())}
    return draw(st.integers(cuts[-1] if cuts else 0, 70)), parts


@pytest.mark.slow
@given(covered())
def test_gaps_are_what_is_not_covered(case):
    total, done = case
    there = {row for first, last in done.items() for row in range(first, last)}
    found = list(gaps(total, done))
    assert sorted(row for first, last in found for row in range(first, last)) == sorted(set(range(total)) - there)
    assert all(first < last for first, last in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))


def test_gaps_by_example():
    assert list(gaps(0, {})) == []
    assert list(gaps(5, {})) == [(0, 5)]
    assert list(gaps(9, {4: 6, 0: 2})) == [(2, 4), (6, 9)]
    assert list(gaps(6, {0: 2, 2: 6})) == []


@given(first=NUMBERS, length=st.integers(1, 100), rows=st.integers(1, 40))
def test_blocks_fill_a_gap_and_end_at_multiples_of_their_size(first, length, rows):
    at, stop, ends = first, first + length, []
    while at < stop:
        block = next_block(3, at, stop, rows)
        assert (block.grid, block.first) == (3, at)
        assert 0 < len(block) <= rows
        at = block.last
        ends.append(at)
    assert ends[-1] == stop
    assert all(end % rows == 0 for end in ends[:-1])


@given(st.lists(st.builds(lambda grid, first, size: Block(grid, first, first + size), NUMBERS, NUMBERS, NUMBERS)))
def test_blocks_that_overlap_are_not_both_taken(blocks):
    blocks = [Block(block.grid % 2, block.first, block.last + 1) for block in blocks]
    chosen = apart(blocks)
    rows = [(block.grid, row) for block in chosen for row in range(block.first, block.last)]
    assert len(rows) == len(set(rows))
    assert set(chosen) <= set(blocks)
    # None is left out without a reason.
    for block in set(blocks) - set(chosen):
        assert any((block.grid, row) in set(rows) for row in range(block.first, block.last))


def test_of_blocks_that_begin_together_the_longest_is_taken():
    blocks = [Block(0, 128, 256), Block(0, 0, 128), Block(0, 0, 256), Block(1, 0, 10), Block(0, 256, 300)]
    assert apart(blocks) == [Block(0, 0, 256), Block(0, 256, 300), Block(1, 0, 10)]


def test_rows_of_a_block():
    np.testing.assert_array_equal(Extent("a", 9, 4).rows_of(Block(0, 2, 5)), [2, 3, 4])
    some = Extent("a", 4, 4, np.array([1, 5, 6, 30]))
    np.testing.assert_array_equal(some.rows_of(Block(0, 1, 3)), [5, 6])


@pytest.mark.parametrize(
    ("fixed", "chunk", "rows"), [(1, 64, 1), (64, 64, 64), (65, 64, 64), (100, 64, 64), (200, 64, 192), (50, 64, 50)]
)
def test_a_size_that_is_told_is_kept_to_whole_chunks(fixed, chunk, rows):
    size = BlockSize(fixed)
    size.learn(fixed, 1e-9)
    assert size.rows(chunk, left=10**6, workers=4) == rows


def test_the_size_goes_for_a_second():
    size = BlockSize(None)
    for _ in range(6):
        rows = size.rows(64, left=10**6, workers=1)
        size.learn(rows, rows * 1e-3)
    assert size.rows(64, left=10**6, workers=1) == 512  # of 1000, the power of two below
    for _ in range(9):
        size.learn(size.rows(64, 10**6, 1), 1e-9)
    assert size.rows(64, 10**6, 1) == 8192
    # The last block of a grid says nothing about the others, unless it was slow.
    size.learn(3, 0.1)
    assert size.rows(64, 10**6, 1) == 8192
    size.learn(3, 3.0)
    assert size.rows(64, 10**6, 1) == 1
    size.learn(1, 0.05)
    assert size.rows(64, 10**6, 1) == 8


@pytest.mark.parametrize("warm_up", [0.0, 10.0])
def test_work_that_each_block_takes_is_shared_by_many_spectra(warm_up):
    size, longest = BlockSize(None), 0.0
    size.learn(size.rows(64, 10**6, 1), warm_up + 0.604)
    for _ in range(12):
        rows = size.rows(64, 10**6, 1)
        size.learn(rows, 0.6 + rows * 1e-3)
        longest = max(longest, 0.6 + rows * 1e-3)
    assert size.rows(64, 10**6, 1) >= 512
    assert longest < 5.0


def test_the_size_grows_step_by_step_from_few():
    size = BlockSize(None)
    first = size.rows(64, 10**6, 1)
    assert first <= 8
    size.learn(first, 1e-9)
    assert size.rows(64, 10**6, 1) == 8 * first


@pytest.mark.parametrize("seconds", [1e-5, 1e-3, 7e-3, 0.1, 1.0])
def test_something_is_committed_every_five_seconds(seconds):
    size, left, longest, first = BlockSize(None), 20_000, 0.0, None
    while left > 0:
        rows = size.rows(64, left, 1)
        longest = max(longest, rows * seconds)
        first = first or rows * seconds
        size.learn(rows, rows * seconds)
        left -= rows
    assert longest < 5.0
    assert first <= 5.0


def test_blocks_become_small_towards_the_end_so_that_workers_end_together():
    size = BlockSize(None)
    for _ in range(5):
        size.learn(size.rows(64, 10**6, 1), 1e-9)
    assert size.rows(64, left=10**6, workers=4) == 8192
    last = [size.rows(64, left, 4) for left in (40_000, 4_000, 1_000, 10)]
    assert last == sorted(last, reverse=True)
    assert all(rows & (rows - 1) == 0 for rows in last)
    assert 4 * last[0] * 4 <= 40_000
    assert last[-1] == 32
