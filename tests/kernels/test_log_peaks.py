"""Held against dense linear algebra, finite differences and roots of the curves themselves."""

import itertools

import numpy as np
import pytest
from scipy.optimize import brentq

from drt_kernels import log_peaks

Y = np.log(10) / 10 * np.arange(-40, 41.0)
UNEVEN = np.sort(Y + 0.08 * np.sin(5 * np.arange(Y.size)))


def zarc(y, r, at, phi):
    t = phi * (y - at)
    return r / (2 * np.pi) * np.sin(np.pi * (1 - phi)) / (np.cosh(t) - np.cos(np.pi * (1 - phi)))


def sums(*elements, y=Y):
    return sum(zarc(y, *one) for one in elements)


TWO = (20, -4.0, 0.85), (30, 2.0, 0.8)
CLOSE = (40, -2.0, 0.75), (3, 0.5, 0.85)
THREE = (20, -6.2, 0.9), (15, -1.0, 0.8), (8, 4.2, 0.85)
RIPPLES = sums((40, 0.0, 0.6)) * np.exp(0.25 * np.cos(4 * Y))


def covariance(size, y=Y, length=1.0):
    """Like that of a random walk, with more doubt where γ is small."""
    doubt = size * (1 + 0.3 * np.abs(y))
    return np.outer(doubt, doubt) * np.exp(-np.abs(y[:, None] - y) / length)


def found(gamma, cov, least=(3.0, 2.5), y=Y, most=20, window=None, edges=False):
    gamma = np.ascontiguousarray(np.atleast_2d(gamma))  # as the engine has it, or all is compiled once more
    wide = np.zeros((len(gamma), y.size + 2, y.size + 2))
    wide[:, : y.size, : y.size] = cov
    out, count = np.zeros((len(gamma), most + 2, log_peaks.COLUMNS)), np.zeros(len(gamma), np.int64)
    log_peaks.find(y, gamma, wide, least, window or (0, y.size - 1), out, count)
    rows = [out[k, : count[k]] for k in range(len(gamma))]
    return rows if edges else [own[own[:, 10] != log_peaks.EDGE] for own in rows]


def deviations(weights, values, cov):
    q = np.zeros(values.size)
    for place, weight in weights.items():
        q[place] += weight
    return q @ values / np.sqrt(q @ cov @ q)


def contrast(gamma, cov, top, valley):
    """Of ln γ, and of γ by its derivative."""
    logs = deviations({top: 1.0, valley: -1.0}, np.log(gamma), cov)
    return max(logs, deviations({top: 1.0, valley: -1.0}, gamma, cov * np.outer(gamma, gamma)))


def inner_tops(curve):
    m = np.arange(1, curve.size - 1)
    return list(m[(curve[m - 1] < curve[m]) & (curve[m] >= curve[m + 1])])


def maxima(gamma, cov, least):
    """Greedy, from the definition: places and significance."""
    places = inner_tops(gamma)
    while places:
        ends = [0, *places, gamma.size - 1]
        valleys = [a + int(np.argmin(gamma[a : b + 1])) for a, b in itertools.pairwise(ends)]
        score = [min(contrast(gamma, cov, m, v) for v in valleys[c : c + 2]) for c, m in enumerate(places)]
        if min(score) >= least:
            return dict(zip(places, score, strict=True))
        del places[int(np.argmin(score))]
    return {}


def above(u, cov, left, middle, right, y=Y):
    share = (y[right] - y[middle]) / (y[right] - y[left])
    return deviations({middle: 1.0, left: -share, right: share - 1.0}, u, cov)


def shoulders(gamma, cov, tops, least):
    u = np.log(gamma)
    slope = np.diff(u) / np.diff(Y)
    bend = np.zeros(u.size)
    bend[1:-1] = -np.diff(slope) / (0.5 * (Y[2:] - Y[:-2]))
    places = [m for m in inner_tops(bend) if bend[m] > 0]
    own = {min(places, key=lambda m: abs(m - top)) for top in tops}
    places = sorted([m for m in places if m not in own] + list(tops))
    last = u.size - 1
    # What no line lies below goes at once, however far the line reaches.
    for m in list(places):
        if m not in tops:
            lines = itertools.product(range(m), range(m + 1, last + 1))
            if max(above(u, cov, a, m, b) for a, b in lines) < least:
                places.remove(m)
    while True:
        ends = zip([0, *places[:-1]], places, [*places[1:], last], strict=True)
        across = {m: itertools.product(range(a, m), range(m + 1, b + 1)) for a, m, b in ends if m not in tops}
        humps = {m: most(above(u, cov, i, m, j) for i, j in lines) for m, lines in across.items()}
        dips = {}
        for a, b in itertools.pairwise(places):
            pairs = list(itertools.combinations(range(a + 1, b + 1), 2)) if a not in tops else []
            lines = [(a, j, i) for j, i in pairs]
            lines += [(i, j, b) for i, j in itertools.combinations(range(a, b), 2)] if b not in tops else []
            if {a, b} - set(tops):
                dips[a, b] = max(0.0, most(-above(u, cov, *line) for line in lines))
        score = {m: min([humps[m]] + [z for pair, z in dips.items() if m in pair]) for m in humps}
        if not score or min(score.values()) >= least:
            return score
        gap = min(dips, key=dips.get)
        if dips[gap] <= min(humps.values()):
            places.remove(min(set(gap) - set(tops), key=lambda m: bend[m]))
        else:
            places.remove(min(humps, key=humps.get))


def most(values):
    return max(values, default=0.0)


@pytest.mark.parametrize("size", [0.01, 0.04, 0.12])
def test_features_are_those_of_the_definition(size):
    cov = covariance(size)
    spectra = [sums(*TWO), sums(*CLOSE), sums(*THREE), RIPPLES]
    for gamma, own in zip(spectra, found(spectra, cov), strict=True):
        tops = maxima(gamma, cov, 3.0)
        expected = {m: (score, log_peaks.MAXIMUM) for m, score in tops.items()}
        if tops:
            expected |= {m: (z, log_peaks.SHOULDER) for m, z in shoulders(gamma, cov, tops, 2.5).items()}
        assert len(own) == len(expected)
        for row, m in zip(own, sorted(expected), strict=True):
            assert abs(row[0] - Y[m]) < Y[1] - Y[0]
            assert row[5] == pytest.approx(expected[m][0], rel=1e-9)
            assert row[10] == expected[m][1]


def test_more_doubt_leaves_fewer_features_and_a_single_process_is_one():
    counts = [len(found(RIPPLES, covariance(size))[0]) for size in (0.01, 0.04, 0.12, 5.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 3
    assert counts[-1] == 0
    for phi in (0.5, 0.8, 0.98):
        assert len(found(sums((10, 0.3, phi)), covariance(1e-4))[0]) == 1


def test_a_valley_where_gamma_vanishes_need_not_be_known():
    gamma = np.exp(-2.0 * (np.abs(np.abs(Y) - 4)) ** 1.5) + 1e-9
    cov = covariance(0.05)
    uncertain = gamma < 1e-3 * gamma.max()
    cov[np.ix_(uncertain, uncertain)] += 30.0 * np.eye(uncertain.sum())
    (own,) = found(gamma, cov)
    assert len(own) == 2
    assert (own[:, 5] > 8).all()


def test_a_shoulder_is_one_and_none_if_not_asked_for():
    (own,) = found(sums(*CLOSE), covariance(0.01))
    assert list(own[:, 10]) == [log_peaks.MAXIMUM, log_peaks.SHOULDER]
    assert own[1, 0] == pytest.approx(0.5, abs=0.1)
    assert own[1, 4] == 0.0
    assert np.isnan(own[1, 6])
    (mirrored,) = found(sums(*CLOSE)[::-1], covariance(0.01))
    np.testing.assert_allclose(mirrored[::-1, 0], -own[:, 0], atol=1e-9)
    np.testing.assert_allclose(mirrored[::-1, 5], own[:, 5], rtol=1e-9)
    (without,) = found(sums(*CLOSE), covariance(0.01), least=(3.0, np.inf))
    assert list(without[:, 10]) == [log_peaks.MAXIMUM]


def test_a_bend_where_the_data_end_is_none():
    u = np.minimum(0.5 * (Y + 3), -0.6 * (Y + 3))
    u -= 0.3 * np.maximum(Y - 1.0, 0) - 0.25 * np.maximum(Y - 0.2, 0)
    edge = int(np.argmin(np.abs(Y - 1.0)))
    assert len(found(np.exp(u), covariance(0.01))[0]) == 2
    assert len(found(np.exp(u), covariance(0.01), window=(0, edge + 10))[0]) == 2
    assert len(found(np.exp(u), covariance(0.01), window=(0, edge))[0]) == 1


@pytest.mark.parametrize("y", [Y, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("width", [0.3, 0.6, 1.2])
def test_a_normal_distribution_is_described_exactly(y, width):
    """ln γ is a parabola, so that nothing is lost between the relaxation times."""
    gamma = 7.0 * np.exp(-0.5 * ((y - 0.7) / width) ** 2) + 1e-300
    ((row,),) = found(gamma, covariance(0.01, y), y=y)
    assert row[0] == pytest.approx(0.7, abs=1e-9)
    assert row[2] == pytest.approx(7.0, rel=1e-9)
    assert row[3] == pytest.approx(2 * np.sqrt(2 * np.log(2)) * width, rel=1e-6)
    assert row[1] == pytest.approx(np.trapezoid(gamma, y), rel=1e-12)


@pytest.mark.parametrize("phi", [0.6, 0.8, 0.9])
def test_a_zarc_is_where_it_is_and_as_wide_as_it_is(phi):
    for shift in (0.0, 0.06, 0.11):
        ((row,),) = found(sums((10, shift, phi)), covariance(0.01))
        top = zarc(shift, 10, shift, phi)
        half = brentq(lambda t, top=top, s=shift: zarc(s + t, 10, s, phi) - top / 2, 0.01, 10)
        assert row[0] == pytest.approx(shift, abs=0.01)
        assert row[2] == pytest.approx(top, rel=0.03 if phi > 0.8 else 5e-3)
        assert row[3] == pytest.approx(2 * half, rel=0.05 if phi > 0.8 else 0.02)


def test_boundaries_are_the_valleys_and_areas_add_up():
    gamma = sums(*THREE)
    (own,) = found(gamma, covariance(0.01))
    np.testing.assert_array_equal(own[1:, 8], own[:-1, 9])
    assert (own[0, 8], own[-1, 9]) == (Y[0], Y[-1])
    assert own[:, 1].sum() == pytest.approx(np.trapezoid(gamma, Y), rel=1e-12)
    fine = np.linspace(Y[0], Y[-1], 400001)
    linear = np.interp(fine, Y, gamma)
    for row in own:
        inside = (fine >= row[8]) & (fine <= row[9])
        assert row[1] == pytest.approx(np.trapezoid(linear[inside], fine[inside]), rel=1e-4)
    for valley in own[1:, 8]:
        near = np.abs(fine - valley) < 0.8
        exact = fine[near][np.argmin(sums(*THREE, y=fine[near]))]
        assert valley == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("y", [Y, UNEVEN], ids=["even", "uneven"])
def test_errors_are_those_by_finite_differences(y):
    gamma, cov = sums(*THREE, y=y), covariance(0.02, y)
    (own,) = found(gamma, cov, y=y)
    step = 1e-5
    slopes = np.empty((y.size, 3, 2))
    for m in range(y.size):
        up, down = gamma.copy(), gamma.copy()
        up[m] *= np.exp(step)
        down[m] *= np.exp(-step)
        (after,), (before,) = found(up, cov, y=y), found(down, cov, y=y)
        slopes[m] = (after[:, :2] - before[:, :2]) / (2 * step)
    for c in range(3):
        assert own[c, 6] == pytest.approx(np.sqrt(slopes[:, c, 0] @ cov @ slopes[:, c, 0]), rel=1e-4)
        assert own[c, 7] == pytest.approx(np.sqrt(slopes[:, c, 1] @ cov @ slopes[:, c, 1]), rel=1e-3)


def test_what_lies_beyond_the_window_is_a_row_of_its_own_and_all_add_up():
    gamma = sums((20, -4.0, 0.85), (60, 7.5, 0.85))
    inside = int(np.searchsorted(Y, 5.0))
    (rows,) = found(gamma, covariance(0.01), window=(0, inside), edges=True)
    assert list(rows[:, 10]) == [log_peaks.MAXIMUM, log_peaks.EDGE]
    assert rows[:, 1].sum() == pytest.approx(np.trapezoid(gamma, Y), rel=1e-12)
    fine = np.linspace(-1, 5, 60001)
    valley = fine[np.argmin(sums((20, -4.0, 0.85), (60, 7.5, 0.85), y=fine))]
    assert rows[0, 9] == rows[1, 8] == pytest.approx(valley, abs=0.02)
    assert rows[0, 1] == pytest.approx(np.trapezoid(gamma[valley >= Y], Y[valley >= Y]), rel=0.01)
    assert rows[1, 0] == Y[np.argmax(gamma)]
    assert np.isnan(rows[1, [3, 4, 5, 6]]).all()
    (mirrored,) = found(gamma[::-1], covariance(0.01), window=(Y.size - 1 - inside, Y.size - 1), edges=True)
    np.testing.assert_allclose(mirrored[::-1, 1], rows[:, 1], rtol=1e-9)
    # A curve that only falls to the end has nothing beyond; one that nothing is known of is nothing but that.
    assert list(found(sums(*TWO), covariance(0.01), edges=True)[0][:, 10]) == [log_peaks.MAXIMUM] * 2
    for doubt in (50.0, np.nan):
        (none,) = found(gamma, covariance(doubt), edges=True)
        assert list(none[:, 10]) == [log_peaks.EDGE]
        assert none[0, 1] == pytest.approx(rows[:, 1].sum(), rel=1e-12)


def test_areas_by_which_valleys_move_fall_and_are_as_they_were_where_they_may_be():
    rng = np.random.default_rng(5)
    for size in (1, 2, 5, 12):
        for _ in range(50):
            before = rng.standard_normal(size) * (rng.random(size) > 0.2)
            after = before.copy()
            log_peaks._falling(after)
            assert (np.diff(after) <= 0).all()
            assert (np.abs(after) <= np.abs(before)).all()
            assert (after * before >= 0).all()
            # None of them can be nearer to what it was.
            for b in np.flatnonzero(after != before):
                closer = after.copy()
                closer[b] += 1e-9 * np.sign(before[b])
                others = before[:b] if before[b] > 0 else before[b + 1 :]
                assert (np.diff(closer) > 0).any() or after[b] in others
            falling = -np.sort(-before)
            again = falling.copy()
            log_peaks._falling(again)
            np.testing.assert_array_equal(again, falling)


def test_a_row_between_valleys_has_no_more_than_there_is_between_the_lowest_places():
    held = 0
    for first, last in itertools.product((-6.2, -6.0, -5.9), (3.9, 4.0, 4.1)):
        elements = (20, first, 0.9), (15, -1.0, 0.8), (8, last, 0.85)
        gamma = sums(*elements)
        (own,) = found(gamma, covariance(0.01))
        lowest = [int(np.argmin(np.where((a < Y) & (b > Y), gamma, np.inf))) for a, b in itertools.pairwise(own[:, 0])]
        most = np.trapezoid(gamma[lowest[0] : lowest[1] + 1], Y[lowest[0] : lowest[1] + 1])
        assert own[1, 1] <= most * (1 + 1e-12)
        assert own[:, 1].sum() == pytest.approx(np.trapezoid(gamma, Y), rel=1e-12)
        fine = np.linspace(own[1, 8], own[1, 9], 20001)
        assert own[1, 1] == pytest.approx(np.trapezoid(np.interp(fine, Y, gamma), fine), rel=1e-6)
        # A boundary is between the lowest relaxation time and where γ is least, on whichever side that is.
        for valley, m in zip(own[1:, 8], lowest, strict=True):
            near = np.linspace(Y[m - 1], Y[m + 1], 4001)
            least = near[np.argmin(sums(*elements, y=near))] - Y[m]
            assert min(least, 0) - 0.03 <= valley - Y[m] <= max(least, 0) + 0.03
        held += own[1, 1] > most * (1 - 1e-12)
    assert held >= 2


def test_a_place_between_relaxation_times_is_nearer_to_the_truth_than_either():
    shifts = np.linspace(-0.5, 0.5, 11) * (Y[1] - Y[0])
    for phi in (0.6, 0.8, 0.95):
        own = np.array([found(sums((10, shift, phi)), covariance(0.01))[0][0, 0] for shift in shifts])
        nodes = np.array([Y[np.argmax(sums((10, shift, phi)))] for shift in shifts])
        assert np.abs(own - shifts).max() < 0.25 * np.abs(nodes - shifts).max()


def test_a_side_that_a_neighbour_hides_is_as_wide_as_the_other():
    gamma = sums((20, -0.8, 0.8), (20, 1.2, 0.8))
    (own,) = found(gamma, covariance(1e-3))
    assert len(own) == 2
    top = own[0]
    left = brentq(lambda t: np.interp(t, Y, np.log(gamma)) - np.log(top[2] / 2), -6, top[0])
    assert top[3] == pytest.approx(2 * (top[0] - left), rel=0.02)
    (three,) = found(sums((20, -1.0, 0.85), (20, 0.0, 0.85), (20, 1.0, 0.85)), covariance(1e-4))
    # Hidden on both sides, it is as wide as a normal distribution of the same curvature.
    m = int(np.argmin(np.abs(Y - three[1, 0])))
    u = np.log(sums((20, -1.0, 0.85), (20, 0.0, 0.85), (20, 1.0, 0.85)))
    bend = -(u[m - 1] - 2 * u[m] + u[m + 1]) / (Y[1] - Y[0]) ** 2
    assert three[1, 3] == pytest.approx(2 * np.sqrt(2 * np.log(2) / bend), rel=1e-6)


def test_a_spectrum_changes_nothing_for_the_next_one_and_room_is_kept():
    spectra = [RIPPLES, sums(*TWO), sums(*CLOSE)]
    cov = covariance(0.01)
    for gamma, own in zip(spectra, found(spectra, cov), strict=True):
        np.testing.assert_array_equal(own, found(gamma, cov)[0])
    assert len(found(sums(*THREE), cov, most=2)[0]) == 2


def test_places_at_the_end_have_no_parabola():
    rate = np.ones(3)
    assert log_peaks._vertex(Y, Y, 0, rate) == (0.0, Y[0])
    assert not rate.any()
    straight = np.arange(5.0)
    assert log_peaks._vertex(straight, straight, 2, rate) == (0.0, 2.0)
    assert log_peaks._vertex(straight, np.array([0.0, 1.0, 2.0, 2.9, 3.5]), 2, rate) == (0.0, 2.0)
