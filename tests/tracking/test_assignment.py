"""Assignments against scipy's on the full matrix, and probabilities against every assignment written out."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from drt_engine.tracking.assignment import best_pairs, pair_probabilities


def random_pairs(rng, rows, columns, share):
    weight = np.where(rng.random((rows, columns)) < share, 3.0 * rng.standard_normal((rows, columns)), -np.inf)
    left, right = np.nonzero(np.isfinite(weight))
    order = rng.permutation(left.size)
    return weight, left[order], right[order]


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_best_assignment_is_found(share):
    rng = np.random.default_rng(1)
    for _ in range(300):
        rows, columns = rng.integers(1, 13, 2)
        weight, left, right = random_pairs(rng, rows, columns, share)
        chosen = best_pairs(left, right, weight[left, right], (rows, columns))
        assert len(set(left[chosen])) == len(set(right[chosen])) == chosen.size
        cost = np.hstack([-np.maximum(weight, -1e6), np.zeros((rows, rows))])
        best = -cost[linear_sum_assignment(cost)].sum()
        assert weight[left[chosen], right[chosen]].sum() == pytest.approx(best, abs=1e-9)


def test_ties_and_duplicates_are_no_trouble():
    left, right = (axis.ravel() for axis in np.indices((40, 40)))
    chosen = best_pairs(left, right, np.ones(left.size), (40, 40))
    assert chosen.size == 40
    assert best_pairs(left, right, -np.ones(left.size), (40, 40)).size == 0
    assert best_pairs(left[:0], right[:0], np.ones(0), (3, 2)).size == 0


def enumerated(weight):
    """Probability of each pair over all partial assignments."""
    rows, columns = weight.shape
    total, pairs = 0.0, np.zeros_like(weight)
    for partner in itertools.product(range(-1, columns), repeat=rows):
        taken = [p for p in partner if p >= 0]
        if len(set(taken)) < len(taken):
            continue
        chosen = [(row, p) for row, p in enumerate(partner) if p >= 0]
        probability = np.exp(sum(weight[pair] for pair in chosen))
        total += probability
        for pair in chosen:
            pairs[pair] += probability
    return pairs / total


def test_probabilities_are_exact_without_cycles():
    weight = np.full((3, 3), -np.inf)
    for row, column, gain in ((0, 0, 1.0), (0, 1, -0.5), (1, 1, 2.0), (1, 2, 0.3), (2, 2, -1.0)):
        weight[row, column] = gain
    left, right = np.nonzero(np.isfinite(weight))
    found = pair_probabilities(left, right, weight[left, right], (3, 3))
    np.testing.assert_allclose(found, enumerated(weight)[left, right], atol=1e-4)


def test_probabilities_are_close_with_cycles():
    rng = np.random.default_rng(2)
    for _ in range(40):
        weight, left, right = random_pairs(rng, 4, 4, 0.7)
        found = pair_probabilities(left, right, weight[left, right], (4, 4))
        exact = enumerated(weight)[left, right]
        np.testing.assert_allclose(found, exact, atol=0.15)
        assert np.abs(found - exact).mean() < 0.05


def test_a_long_chain_costs_as_much_as_its_length():
    """Successive links with the alternatives that gaps are: the exact solution is known, and a dense solver would take
    hours."""
    size = 200_000
    left = np.concatenate([np.arange(size - 1), np.arange(size - 2)])
    right = np.concatenate([np.arange(1, size), np.arange(2, size)])
    gain = np.concatenate([np.full(size - 1, 3.0), np.full(size - 2, 2.9)])
    chosen = best_pairs(left, right, gain, (size, size))
    assert np.array_equal(np.sort(chosen), np.arange(size - 1))
