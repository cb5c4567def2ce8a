"""The parts of the search that can be told by hand; what is significant is held against a slow twin in tests/peaks."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erf

from drt_kernels import peaks


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.3])
def test_the_refined_maximum_of_a_polynomial_of_degree_six_is_exact(shift):
    s = np.arange(-8.0, 9.0) - shift
    curve = 2.0 - s**2 / 10 + s**4 / 5000 - s**6 / 1e7
    at, value = peaks._refined(curve, 8)
    assert at == pytest.approx(shift, abs=1e-12)
    assert value == pytest.approx(2.0, rel=1e-14)


def test_the_taylor_coefficients_are_those_of_monomials():
    s = np.arange(-3.0, 4.0)
    powers = np.array([peaks._TAYLOR @ s**n for n in range(7)])
    np.testing.assert_allclose(powers[1:], np.eye(6), atol=1e-10)
    np.testing.assert_allclose(powers[0], 0.0, atol=1e-12)


def test_maxima_and_lowest():
    curve = np.array([0.0, 0, 0, 1, 3, 2, 2, 1, 4, 1, 0, 5, 0, 0, 0, 0])
    found = np.zeros(10, np.int64)
    count = peaks._maxima(curve, 3.5, found)
    assert list(found[:count]) == [8, 11]
    assert peaks.lowest(curve, 4, 8) == 7


def test_half_width_by_interpolation_and_where_a_neighbour_hides_it():
    curve = np.array([0.0, 0, 0, 0, 2, 4, 3, 1, 0, 0, 0, 0])
    assert peaks._width(curve, 5, 0.0, 4.0, (0, 11)) == pytest.approx(1.0 + 1.5)
    assert peaks._width(curve, 5, 0.0, 4.0, (0, 6)) == pytest.approx(2.0)
    hidden = 2 * np.sqrt(2 * np.log(2)) * np.sqrt(4.0 / 3.0)
    assert peaks._width(curve, 5, 0.0, 4.0, (5, 6)) == pytest.approx(hidden)


def test_features_are_merged_in_order():
    order, which = np.zeros((2, 6), np.int64)
    kinds = np.array([peaks.SHOULDER, peaks.MAXIMUM, peaks.SHOULDER])
    count = peaks._merge(np.array([5, 20]), np.array([2, 6, 9]), kinds, order, which)
    assert list(order[:count]) == [2, 5, 9, 20]
    assert list(which[:count]) == [-1, 0, -3, 1]


def test_a_functional_has_the_value_and_variance_of_its_definition():
    rng = np.random.default_rng(4)
    inverse = rng.standard_normal((6, 6))
    inverse = inverse @ inverse.T
    solution, x, sigma, lost = rng.standard_normal((6, 9)), rng.random(6), rng.random(9), rng.random(6)
    q = np.zeros(6)
    q[1:5] = rng.standard_normal(4)
    tables = (np.zeros((1, 6)), np.zeros((1, 6)), np.zeros((1, 2), np.int64), 10 * inverse, solution)
    value, noise, rest, bias = peaks._deviations((1, 5), tables, (x, sigma, lost), (q, np.zeros(9)))
    assert value == pytest.approx(q @ x)
    assert noise == pytest.approx(q @ solution @ np.diag(sigma**2) @ solution.T @ q)
    assert rest == pytest.approx(max(np.mean(sigma**2) * (10 * q @ inverse @ q - np.sum((solution.T @ q) ** 2)), 0.0))
    assert bias == pytest.approx(q @ lost)


STEP = 0.1
Y = STEP * np.arange(-90, 91)
CENTRES = np.linspace(-8.0, 8.0, 33)
WIDTH = 0.45


def functions(y, order=0):
    t = (np.asarray(y)[..., None] - CENTRES) / WIDTH
    value = np.exp(-0.5 * t**2)
    return value if order == 0 else (t**2 - 1) / WIDTH**2 * value


def normals(*parts):
    """Coefficients of sums of normal distributions of ln τ, as good as the functions can do it."""
    y = np.linspace(-8, 8, 400)
    gamma = sum(r / s * np.exp(-0.5 * ((y - at) / s) ** 2) for r, at, s in parts)
    return np.linalg.lstsq(functions(y), gamma, rcond=1e-8)[0]


class Brute:
    """Spectra with a random response to noise, and what is a feature of them, dense and from the definition."""

    def __init__(self, *spectra, size=0.002, seed=5):
        rng = np.random.default_rng(seed)
        matrix = rng.standard_normal((24, CENTRES.size)) / 3.0
        self.inverse = np.linalg.inv(matrix.T @ matrix + 0.5 * np.eye(CENTRES.size))
        self.solution = np.ascontiguousarray(self.inverse @ matrix.T)
        self.x = np.array(spectra)
        self.sigma = size * (0.5 + rng.random((len(spectra), 24)))
        self.lost = 1e-4 * rng.standard_normal(self.x.shape)
        self.values = functions(Y)

    def found(self, least=(3.0, 5.0), grain=1, most=20, before=-1, edges=False, window=(0, Y.size - 1)):
        values = self.values
        seen = values > 1e-9
        bounds = np.stack([seen.argmax(axis=1), values.shape[1] - seen[:, ::-1].argmax(axis=1)], axis=1)
        bounds[~seen.any(axis=1)] = 0
        half = WIDTH * np.sqrt(np.pi / 2)
        areas = half * (1 + erf((Y[:, None] - CENTRES) / WIDTH / np.sqrt(2)))
        tables = (values, np.vstack([areas, np.full(CENTRES.size, 2 * half)]), bounds, self.inverse, self.solution)
        rows = len(self.x)
        out, count = np.zeros((rows, most + 2, peaks.COLUMNS)), np.full((rows, 2), before)
        curves = self.x @ values.T, -self.x @ functions(Y, 2).T
        peaks.find(*curves, tables, (self.x, self.sigma, self.lost), least, (grain, STEP, *window), out, count)
        if before >= 0:
            return out, count
        found = [out[k, : count[k, 0]] for k in range(rows)]
        return found if edges else [own[own[:, 10] != peaks.EDGE] for own in found]

    def above(self, k, weights, openness, ripple):
        q = sum(weight * self.values[s] for s, weight in weights.items())
        data = self.solution.T @ q
        noise = np.sum((data * self.sigma[k]) ** 2)
        rest = np.mean(self.sigma[k] ** 2) * max(q @ self.inverse @ q - data @ data, 0.0)
        return q @ self.x[k] / np.sqrt(noise + openness**2 * rest + (ripple * q @ self.lost[k]) ** 2)

    def tops(self, curve):
        inner = np.arange(3, curve.size - 3)
        inner = inner[(curve[inner - 1] < curve[inner]) & (curve[inner] >= curve[inner + 1])]
        return list(inner[curve[inner] > 1e-9 * curve.max()])

    def between(self, curve, places):
        ends = [0, *places, curve.size - 1]
        return [a + int(np.argmin(curve[a : b + 1])) for a, b in itertools.pairwise(ends)]

    def maxima(self, k, least):
        g = self.values @ self.x[k]
        found = self.tops(g)
        while found:
            valleys = self.between(g, found)
            score = []
            for c, s in enumerate(found):
                ripple = 0.0 if s == np.argmax(g) else 2.0
                score.append(min(self.above(k, {s: 1.0, v: -1.0}, 0.15, ripple) for v in valleys[c : c + 2]))
            if min(score) >= least:
                return dict(zip(found, score, strict=True))
            del found[int(np.argmin(score))]
        return {}

    def shoulders(self, k, maxima, least):
        bend = -functions(Y, 2) @ self.x[k]
        places = self.tops(bend)
        own = {min(places, key=lambda s: abs(s - top)) for top in maxima}
        while True:
            saddles = self.between(bend, places)
            score = {}
            for c, s in enumerate(places):
                a, b = saddles[c], saddles[c + 1]
                if s not in own:
                    share = (b - s) / (b - a)
                    score[s] = self.above(k, {s: 1.0, a: -share, b: share - 1.0}, 0.5, 1.3)
            if not score or min(score.values()) >= least:
                return score
            places.remove(min(score, key=score.get))


TWO = normals((10, -3, 0.9), (6, 3, 1.1))
SHOULDER = normals((10, -1, 1.2), (2.5, 1.5, 0.7), (4, 6, 0.7))
FOUR = normals((4, -6, 0.7), (5, -2, 0.7), (6, 2, 0.7), (7, 6, 0.7))
RIPPLED = TWO + 0.8 * np.cos(3 * CENTRES) * (np.abs(CENTRES) < 6)


@pytest.mark.parametrize("size", [0.003, 0.02, 0.08])
def test_features_are_those_of_the_definition(size):
    brute = Brute(TWO, SHOULDER, RIPPLED, size=size)
    for k, found in enumerate(brute.found((3.0, 3.5))):
        maxima = brute.maxima(k, 3.0)
        expected = {s: (score, peaks.MAXIMUM) for s, score in maxima.items()}
        if maxima:
            shoulders = brute.shoulders(k, maxima, 3.5)
            expected |= {s: (score, peaks.SHOULDER) for s, score in shoulders.items()}
        assert len(found) == len(expected)
        for row, s in zip(found, sorted(expected), strict=True):
            assert abs(row[0] - s) < 1.0
            assert row[5] == pytest.approx(expected[s][0], rel=1e-6)
            assert row[10] == expected[s][1]


def test_the_three_spectra_have_all_kinds_of_features():
    two, shoulder, rippled = Brute(TWO, SHOULDER, RIPPLED, size=0.003).found((3.0, 3.5))
    assert list(two[:, 10]) == [peaks.MAXIMUM, peaks.MAXIMUM]
    assert list(shoulder[:, 10]) == [peaks.MAXIMUM, peaks.SHOULDER, peaks.MAXIMUM]
    assert len(rippled) > 4
    assert len(Brute(RIPPLED, size=0.08).found((3.0, 3.5))[0]) < len(rippled)
    assert Brute(TWO, size=5.0).found()[0].shape == (0, peaks.COLUMNS)


def curve_of(x):
    return lambda y: float(functions(y) @ x)


def place_of(sample):
    return Y[0] + STEP * sample


def test_what_a_feature_is_described_by_is_that_of_its_curve():
    (found,) = Brute(TWO).found()
    gamma = curve_of(TWO)
    valley = minimize_scalar(gamma, bounds=(-1, 1), method="bounded", options={"xatol": 1e-10}).x
    for row, near, ends in zip(found, (-3.0, 3.0), ((-20.0, valley), (valley, 20.0)), strict=True):
        best = minimize_scalar(lambda y: -gamma(y), bounds=(near - 1, near + 1), method="bounded",
                               options={"xatol": 1e-10})  # fmt: skip
        assert place_of(row[0]) == pytest.approx(best.x, abs=2e-6)
        assert row[2] == pytest.approx(-best.fun, rel=1e-9)
        assert row[4] == pytest.approx(-best.fun - gamma(valley), rel=0.01)
        # γ is small at the valley, which is taken at the nearest sample.
        assert row[1] == pytest.approx(quad(gamma, *ends, epsabs=1e-11, limit=200)[0], rel=1e-3)
        sides = [brentq(lambda y, top=-best.fun: gamma(y) - top / 2, best.x, best.x + far) for far in (-2.5, 2.5)]
        assert STEP * row[3] == pytest.approx(sides[1] - sides[0], rel=2e-3)
    np.testing.assert_allclose([place_of(found[0, 9]), place_of(found[1, 8])], valley, atol=STEP / 2)
    assert (found[0, 8], found[1, 9]) == (0, Y.size - 1)


def test_errors_are_those_by_finite_differences_of_position_and_area():
    brute = Brute(TWO, size=0.02)
    (found,) = brute.found()

    def described(x):
        gamma = curve_of(x)
        options = {"xatol": 1e-12}
        valley = minimize_scalar(gamma, bounds=(-1, 1), method="bounded", options=options).x
        tops = [
            minimize_scalar(lambda y: -gamma(y), bounds=(at - 1, at + 1), method="bounded", options=options).x
            for at in (-3, 3)
        ]
        areas = [quad(gamma, *ends, epsabs=1e-12, limit=200)[0] for ends in ((-20, valley), (valley, 20))]
        return np.array([*tops, *areas])

    step = 1e-4
    slope = np.array([(described(TWO + step * e) - described(TWO - step * e)) / (2 * step) for e in np.eye(TWO.size)])
    errors = np.sqrt(np.sum((slope.T @ brute.solution * brute.sigma[0]) ** 2, axis=1))
    np.testing.assert_allclose(STEP * found[:, 6], errors[:2], rtol=0.02)
    np.testing.assert_allclose(found[:, 7], errors[2:], rtol=0.02)


def test_of_a_curve_with_kinks_there_are_maxima_only_and_they_are_where_a_parabola_through_its_logarithm_is():
    brute = Brute(SHOULDER)
    (found,) = brute.found(grain=5)
    assert (found[:, 10] == peaks.MAXIMUM).all()
    g = brute.values @ SHOULDER
    tops = [s for s in brute.tops(g) if np.abs(found[:, 0] - s).min() < 5]
    assert len(tops) == len(found) == 2
    for row, s in zip(found, tops, strict=True):
        a, b, _ = np.polyfit([-5, 0, 5], np.log(g[[s - 5, s, s + 5]]), 2)
        assert row[0] == pytest.approx(s - b / (2 * a), abs=1e-9)
        assert row[2] == g[s]


def test_a_parabola_is_through_the_values_where_they_have_no_logarithm_and_not_at_the_ends():
    g = np.array([0.0, 0.0, 3.0, 2.0, 1.0])
    assert peaks._vertex(g, 2, 1) == pytest.approx(0.25)
    assert peaks._vertex(g, 0, 1) == 0.0
    assert peaks._vertex(np.ones(5), 2, 1) == 0.0


WALL = normals((10, -3, 0.9), (30, 6, 0.8))


def test_what_lies_beyond_the_window_is_a_row_of_its_own_and_all_add_up():
    inside = int(np.searchsorted(Y, 5.0))
    (found,) = Brute(WALL).found(edges=True, window=(0, inside))
    assert list(found[:, 10]) == [peaks.MAXIMUM, peaks.EDGE]
    gamma = curve_of(WALL)
    valley = minimize_scalar(gamma, bounds=(-1, 4), method="bounded", options={"xatol": 1e-10}).x
    assert abs(place_of(found[0, 9]) - valley) <= STEP / 2 + 1e-9
    assert found[0, 9] == found[1, 8]
    assert found[0, 1] == pytest.approx(quad(gamma, -20, valley, limit=200)[0], rel=1e-3)
    assert found[:, 1].sum() == pytest.approx(quad(gamma, -20, 20, limit=400, points=[0, 6])[0], rel=1e-7)
    assert place_of(found[1, 0]) == pytest.approx(6.0, abs=STEP)
    assert np.isnan(found[1, [3, 4, 5, 6]]).all()
    assert found[1, 7] > 0
    (mirrored,) = Brute(WALL[::-1]).found(edges=True, window=(Y.size - 1 - inside, Y.size - 1))
    assert list(mirrored[:, 10]) == [peaks.EDGE, peaks.MAXIMUM]
    np.testing.assert_allclose(mirrored[::-1, 1], found[:, 1], rtol=1e-9)
    # With the whole of it in the window there are two peaks, and without any all of it is one row.
    assert list(Brute(WALL).found(edges=True)[0][:, 10]) == [peaks.MAXIMUM, peaks.MAXIMUM]
    (none,) = Brute(WALL, size=50.0).found(edges=True)
    assert list(none[:, 10]) == [peaks.EDGE]
    assert none[0, 1] == pytest.approx(found[:, 1].sum(), rel=1e-12)
    assert len(Brute(0.0 * WALL).found(edges=True)[0]) == 0


def test_a_spectrum_that_has_as_many_features_already_is_left_as_it_is():
    brute = Brute(TWO, SHOULDER)
    out, count = brute.found(before=2)
    assert list(count[:, 1]) == [2, 3]
    assert not out[0].any()
    assert out[1, :3, 2].all()


def test_as_many_features_are_kept_as_there_is_room_for():
    assert len(Brute(FOUR).found()[0]) == 4
    assert len(Brute(FOUR).found(most=3)[0]) == 3


@pytest.mark.parametrize("curve", [[100, 1, 0.99, 1, 0.99, 1, 100], [100, 1, 0.5, 1, 0.9, 1, 200]])
def test_a_maximum_that_the_polynomial_does_not_have_is_left_at_its_sample(curve):
    assert peaks._refined(np.array(curve, dtype=float), 3) == (0.0, 1.0)


def test_a_bend_that_turns_up_has_no_width_and_no_position_error():
    valley = (np.arange(11.0) - 5) ** 2
    assert np.isnan(peaks._width(valley + 1, 5, 0.0, 1.0, (5, 5)))
