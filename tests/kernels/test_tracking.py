"""Assignments against every one written out and against scipy's, lines against least squares, densities against scipy's
t distribution."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import multivariate_t

from drt_kernels.tracking import ALONE, assign, density_at, mean_density, predicted_density, trends

FREEDOM = 2.0


def assigned(weight):
    """Partners by the kernel for a dense matrix of gains, minus infinity for no edge."""
    rows, columns = weight.shape
    row, column = np.nonzero(np.isfinite(weight))
    start = np.searchsorted(row, np.arange(rows + 1))
    partner = np.empty(rows, dtype=np.int64)
    assign(start, column.astype(np.int64), weight[row, column], columns, partner)
    return partner


def total(weight, partner):
    with_one = [(row, column) for row, column in enumerate(partner) if column != ALONE]
    assert len({column for _, column in with_one}) == len(with_one)
    return sum(weight[pair] for pair in with_one)


def best_of_all(weight):
    """Largest sum of gains over every partial assignment."""
    rows, columns = weight.shape
    sums = []
    for partner in itertools.product(range(-1, columns), repeat=rows):
        taken = [column for column in partner if column >= 0]
        if len(set(taken)) == len(taken):
            sums.append(sum(weight[row, column] for row, column in enumerate(partner) if column >= 0))
    return max(sums)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_no_assignment_is_better(share):
    rng = np.random.default_rng(3)
    for _ in range(25):
        shape = rng.integers(1, 5, 2)
        weight = np.where(rng.random(shape) < share, rng.normal(0.5, 2.0, shape), -np.inf)
        assert total(weight, assigned(weight)) == pytest.approx(best_of_all(weight), abs=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(20, 20), (25, 9), (9, 25)])
def test_large_ones_are_those_of_scipy(rows, columns):
    rng = np.random.default_rng(4)
    for share in (0.15, 0.6, 1.0):
        weight = np.where(rng.random((rows, columns)) < share, rng.normal(1.0, 2.0, (rows, columns)), -np.inf)
        cost = np.hstack([-np.maximum(weight, -1e6), np.zeros((rows, rows))])
        best = -cost[linear_sum_assignment(cost)].sum()
        assert total(weight, assigned(weight)) == pytest.approx(best, abs=1e-9)


HAND_MADE = {
    "both want one": ([[5.0, 1.0], [4.5, -np.inf]], [1, 0]),
    "one gives way to nobody": ([[5.0, -np.inf], [4.0, -np.inf]], [0, ALONE]),
    "better left alone": ([[-1.0, -2.0]], [ALONE]),
    "the first has to leave": ([[1.0], [5.0]], [ALONE, 0]),
    "a long way round": ([[3.0, 2.0, -np.inf], [3.0, -np.inf, 2.5], [-np.inf, 2.9, 2.9]], [0, 2, 1]),
    "no edges": (np.full((2, 2), -np.inf), [ALONE, ALONE]),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made(name):
    weight, partner = HAND_MADE[name]
    assert assigned(np.array(weight)).tolist() == partner


class Line:
    """Two chains of three and four peaks with uneven places, weights by peak and coordinate, and their trends."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.x = rng.normal(size=(7, 2))
        self.where = np.array([0.0, 1.0, 3.0, 0.5, 1.0, 2.5, 4.0])
        self.chain = np.array([-1, 0, 1, -1, 3, 4, 5])
        self.fading = 0.75 ** np.arange(3)
        self.trust = rng.uniform(0.1, 1.0, (7, 2))
        self.line = tuple(np.full((7, 2), np.nan) for _ in range(5))
        trends(self.x, self.where, self.chain, (self.fading, self.trust), self.line)

    def peaks(self, n):
        """Those that the line of a peak is made of."""
        found = []
        while n >= 0 and len(found) < self.fading.size:
            found.append(n)
            n = self.chain[n]
        return found

    def predicted(self, n, d, where, steadiness):
        """Value at a place, and its variance, by least squares with the slope held back."""
        peaks = self.peaks(n)
        weight = self.fading[: len(peaks)] * self.trust[peaks, d]
        design = np.column_stack([np.ones(len(peaks)), self.where[peaks]])
        inverse = np.linalg.inv(design.T @ (weight[:, None] * design) + np.diag([0.0, steadiness]))
        at = np.array([1.0, where])
        return at @ inverse @ design.T @ (weight * self.x[peaks, d]), at @ inverse @ at


def test_trends_are_weighted_least_squares():
    made = Line()
    centre, level, product, weight, along = made.line
    for n in range(7):
        for d in range(2):
            steadiness = 0.4
            far = 9.0 - centre[n, d]
            value = level[n, d] + product[n, d] * far / (along[n, d] + steadiness)
            variance = 1.0 / weight[n, d] + far**2 / (along[n, d] + steadiness)
            np.testing.assert_allclose((value, variance), made.predicted(n, d, 9.0, steadiness), rtol=1e-9)


def test_predicted_density_is_a_mixture_of_t_distributions():
    made = Line()
    rng = np.random.default_rng(6)
    begin, end = np.array([2, 6, 0, 5]), np.array([5, 0, 6, 2])
    steadiness, scale, known = np.array([0.3, 2.0]), rng.uniform(0.1, 0.5, (7, 2)), rng.uniform(0.0, 0.3, (7, 2))
    width, probability = np.array([0.3, 0.5]), 0.05
    density = np.full(4, 7.0)
    spread = (steadiness, scale, known)
    predicted_density((begin, end), made.x, made.where, made.line, spread, (width, probability, FREEDOM), density)
    for k, (a, b) in enumerate(zip(begin, end, strict=True)):
        value, own = zip(*(made.predicted(a, d, made.where[b], steadiness[d]) for d in range(2)), strict=True)
        variance = scale[a] ** 2 * (1.0 + np.array(own)) + known[b]
        usual, jumped = (
            multivariate_t(value, np.diag(shape), df=FREEDOM).pdf(made.x[b])
            for shape in (variance, variance + width**2)
        )
        expected = 7.0 + 0.5 * np.log((1 - probability) * usual + probability * jumped)
        assert density[k] == pytest.approx(expected, rel=1e-9)


def test_mean_density_is_over_the_points_that_both_have():
    rng = np.random.default_rng(7)
    trajectory, expected = rng.normal(size=(2, 4, 2)), rng.normal(size=(3, 4, 2))
    known, variance = rng.uniform(0.0, 0.4, (2, 4, 2)), rng.uniform(0.1, 0.6, (3, 4, 2))
    trajectory[0, 2] = expected[1, 0] = expected[2] = np.nan
    density = np.empty((2, 3))
    mean_density(trajectory, known, expected, variance, FREEDOM, density)
    for n, p in itertools.product(range(2), range(3)):
        points = [g for g in range(4) if not np.isnan(trajectory[n, g, 0] + expected[p, g, 0])]
        logs = [
            multivariate_t(expected[p, g], np.diag(known[n, g] + variance[p, g]), df=FREEDOM).logpdf(trajectory[n, g])
            for g in points
        ]
        assert density[n, p] == pytest.approx(np.mean(logs) if logs else -np.inf, rel=1e-9)


def test_density_at_is_that_of_the_frame_of_each_peak():
    rng = np.random.default_rng(8)
    x, known, frame = rng.normal(size=(5, 2)), rng.uniform(0.0, 0.4, (5, 2)), np.array([0, 0, 1, 2, 2])
    value, variance = rng.normal(size=(3, 2, 2)), rng.uniform(0.1, 0.6, (3, 2, 2))
    value[1, 0] = np.nan
    density = np.empty((5, 2))
    density_at(x, known, frame, (value, variance), FREEDOM, density)
    for n, p in itertools.product(range(5), range(2)):
        f = frame[n]
        shape = np.diag(known[n] + variance[f, p])
        nothing = np.isnan(value[f, p, 0])
        expected = -np.inf if nothing else multivariate_t(value[f, p], shape, df=FREEDOM).logpdf(x[n])
        assert density[n, p] == pytest.approx(expected, rel=1e-9)
