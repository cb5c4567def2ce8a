"""Maxima and shoulders of u = ln γ where its posterior is known, for many spectra.

Axes in the comments: k = spectra, m = relaxation times, c = features of a spectrum.

With C the covariance of u, a linear functional qᵀu is known to √(qᵀCq). A maximum p is judged by its drops to the
valleys v beside it, in the more favourable one of two ways:

    (u_p − u_v) / √(C_pp + C_vv − 2 C_pv)                     of ln γ, where r = e^(u_v − u_p)
    (1 − r) / √(C_pp + r² C_vv − 2 r C_pv)                    of γ itself

The first one is the natural contrast of a prior on ln γ. The second is right for a valley where γ vanishes: there u has
no lower end and C_vv is large, which says nothing about how far up γ may go. A shoulder s is judged by how far u lies
below straight lines to it on the side of the process that it sits on, and how far it is above straight lines across it:
single processes have tails that are straight lines in u, so any dip beside one is another process. Lines across it end
within the window of the data, since what bends at its edges does so by the prior.

The first and the last feature end in the valley towards the end of the relaxation times, if γ rises again behind it:
what lies beyond belongs to processes whose top the data do not show, and is a row of its own. So is the whole of a γ
without any feature. Features outside of the window of the data count as what lies beyond. Then the areas of all rows
add up to that of γ. A row between two valleys never has more than γ integrates to between its lowest values there.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner
from drt_kernels.peaks import COLUMNS, EDGE, LEAST_RISE, MAXIMUM, SHOULDER, lowest

__all__ = ["COLUMNS", "EDGE", "MAXIMUM", "SHOULDER", "find"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Features = tuple[Ints, Ints, Array]
Limits = tuple[float, tuple[int, int]]

# Of a difference of ln γ, whose covariances are of the order of one: what is less is their rounding.
_LEAST_VARIANCE = 1e-16

_LN2 = math.log(2.0)  # from the maximum of ln γ to half of that of γ
# Full width at half maximum of a normal distribution of standard deviation one.
_FWHM = 2.0 * math.sqrt(2.0 * _LN2)


@inner()
def _tops(curve: Array, least: float, out: Ints) -> int:
    """Find places that are higher than their neighbours and than a bound; how many."""
    # (m)->(c)
    count = 0
    for m in range(1, curve.size - 1):
        if curve[m - 1] < curve[m] >= curve[m + 1] and curve[m] > least and count < out.size:
            out[count] = m
            count += 1
    return count


@inner()
def _contrast(u: Array, cov: Array, top: int, valley: int) -> float:
    """How many deviations a place is above another, of ln γ or of γ."""
    # (m),(m,m)->()
    drop = u[top] - u[valley]
    if drop <= 0.0:
        return 0.0
    ratio = math.exp(-drop)
    own, other, both = cov[top, top], cov[valley, valley], cov[top, valley]
    logs = drop / math.sqrt(max(own + other - 2.0 * both, _LEAST_VARIANCE))
    plain = (1.0 - ratio) / math.sqrt(max(own + ratio * ratio * other - 2.0 * ratio * both, _LEAST_VARIANCE))
    return float(max(logs, plain))


@inner()
def _above_line(y: Array, u: Array, cov: Array, at: tuple[int, int, int]) -> float:
    """How many deviations u at the middle one of three places is above the straight line between the others."""
    # (m),(m),(m,m)->()
    left, middle, right = at
    share = (y[right] - y[middle]) / (y[right] - y[left])
    rest = 1.0 - share
    value = u[middle] - share * u[left] - rest * u[right]
    variance = cov[middle, middle] + share * share * cov[left, left] + rest * rest * cov[right, right]
    variance += 2.0 * (share * rest * cov[left, right] - share * cov[left, middle] - rest * cov[middle, right])
    return float(value / math.sqrt(max(variance, _LEAST_VARIANCE)))


@inner()
def _score_maximum(u: Array, cov: Array, top: int, valleys: tuple[int, int], out: Array) -> None:
    """Prominence in ohm and significance of a maximum."""
    out[0] = math.exp(u[top]) - math.exp(max(u[valleys[0]], u[valleys[1]]))
    out[1] = min(_contrast(u, cov, top, valleys[0]), _contrast(u, cov, top, valleys[1]))


@inner()
def _kept_maxima(u: Array, cov: Array, least: float, found: Ints, score: Array) -> int:
    """Maxima that are significant: the least one goes, its valleys become one, until all are."""
    # (m),(m,m)->(c),(c,2)
    count = _tops(u, -math.inf, found)
    valley = np.zeros(found.size + 1, np.int64)
    for c in range(count + 1):
        valley[c] = lowest(u, 0 if c == 0 else found[c - 1], u.size - 1 if c == count else found[c])
    for c in range(count):
        _score_maximum(u, cov, found[c], (valley[c], valley[c + 1]), score[c])
    while count > 0:
        worst = int(np.argmin(score[:count, 1]))
        if score[worst, 1] >= least:
            break
        lower = worst if u[valley[worst]] < u[valley[worst + 1]] else worst + 1
        valley[worst] = valley[lower]
        count -= 1
        for c in range(worst, count):
            found[c] = found[c + 1]
            score[c] = score[c + 1]
            valley[c + 1] = valley[c + 2]
        for c in range(max(worst - 1, 0), min(worst + 1, count)):
            _score_maximum(u, cov, found[c], (valley[c], valley[c + 1]), score[c])
    return count


@inner()
def _bends(y: Array, u: Array, out: Array) -> None:
    """−u″ by divided differences; zero at the ends."""
    # (m),(m)->(m)
    out[0] = out[-1] = 0.0
    for m in range(1, u.size - 1):
        after = (u[m + 1] - u[m]) / (y[m + 1] - y[m])
        before = (u[m] - u[m - 1]) / (y[m] - y[m - 1])
        out[m] = 2.0 * (before - after) / (y[m + 1] - y[m - 1])


@inner()
def _dip(y: Array, u: Array, cov: Array, shoulder: int, end: int) -> float:
    """Most deviations that u is below a line from a shoulder to anywhere on the way to another feature."""
    # (m),(m),(m,m)->()
    best = 0.0
    step = 1 if end > shoulder else -1
    for far in range(shoulder + 2 * step, end + step, step):
        for middle in range(shoulder + step, far, step):
            at = (shoulder, middle, far) if step > 0 else (far, middle, shoulder)
            best = max(best, -_above_line(y, u, cov, at))
    return best


@inner()
def _hump(y: Array, u: Array, cov: Array, shoulder: int, ends: tuple[int, int]) -> float:
    """Most deviations that u at a shoulder is above a line between places on both sides."""
    # (m),(m),(m,m)->()
    best = 0.0
    for left in range(ends[0], shoulder):
        for right in range(shoulder + 1, ends[1] + 1):
            best = max(best, _above_line(y, u, cov, (left, shoulder, right)))
    return best


@inner()
def _weigh(
    y: Array, u: Array, cov: Array, window: tuple[int, int], features: Features, count: int, some: tuple[int, int]
) -> None:
    """Significance of the humps of some shoulders, and of the dips before some features.

    They go to the last array of `features`, by places; infinity for what is no shoulder, and beside none.
    """
    # (m),(m),(m,m),(c),(c)->(m,2)
    found, kinds, strength = features
    for c in range(max(some[0], 0), min(some[1], count)):
        m = found[c]
        strength[m] = math.inf
        if kinds[c] == SHOULDER:
            left = max(window[0], found[c - 1] if c > 0 else 0)
            right = min(window[1], found[c + 1] if c + 1 < count else window[1])
            strength[m, 0] = _hump(y, u, cov, m, (left, right))
        if c > 0 and (kinds[c] == SHOULDER or kinds[c - 1] == SHOULDER):
            strength[m, 1] = 0.0
            if kinds[c] == SHOULDER:
                strength[m, 1] = _dip(y, u, cov, m, found[c - 1])
            if kinds[c - 1] == SHOULDER:
                strength[m, 1] = max(strength[m, 1], _dip(y, u, cov, found[c - 1], m))


@inner()
def _weakest(bend: Array, features: Features, count: int) -> tuple[int, float]:
    """Which shoulder should go first, −1 for none, and with what significance.

    Of two without a dip between them it is the one that bends less.
    """
    # (m),(c),(c),(m,2)->(),()
    found, kinds, strength = features
    which, least = -1, math.inf
    for c in range(count):
        m = found[c]
        if strength[m, 0] < least:
            which, least = c, strength[m, 0]
        if strength[m, 1] < least:
            least = strength[m, 1]
            own = kinds[c] == SHOULDER and (kinds[c - 1] == MAXIMUM or bend[m] <= bend[found[c - 1]])
            which = c if own else c - 1
    return which, least


@inner()
def _insert(place: int, kind: int, found: Ints, kinds: Ints, count: int) -> int:
    """Put a feature where it belongs in their order; their number."""
    c = count
    while c > 0 and found[c - 1] > place:
        found[c], kinds[c] = found[c - 1], kinds[c - 1]
        c -= 1
    found[c], kinds[c] = place, kind
    return count + 1


@inner()
def _with_bends(
    y: Array, curves: tuple[Array, Array], cov: Array, limits: Limits, features: Features, tops: int
) -> int:
    """Put bends that may be shoulders among the maxima; how many features there are.

    The bend nearest to a maximum is its top, and no shoulder.
    """
    # (m),(m),(m,m)->(c),(c)
    u, bend = curves
    found, kinds, _ = features
    least, window = limits
    places, own = np.zeros(u.size, np.int64), np.zeros(u.size, np.bool_)
    many = _tops(bend, 0.0, places)
    for c in range(tops):
        if many > 0:
            own[places[np.argmin(np.abs(places[:many] - found[c]))]] = True
    count = tops
    for i in range(many):
        m = places[i]
        if not own[m] and count < found.size and _hump(y, u, cov, m, window) >= least:
            count = _insert(m, SHOULDER, found, kinds, count)
    return count


@inner()
def _with_shoulders(
    y: Array, curves: tuple[Array, Array], cov: Array, limits: Limits, features: Features, tops: int
) -> int:
    """Put significant shoulders among the maxima: of all bends the least one goes until all are. How many there are."""
    # (m),(m),(m,m)->(c),(c),(m,2)
    u, bend = curves
    found, kinds, score = features
    least, window = limits
    count = _with_bends(y, curves, cov, limits, features, tops)
    judged = (found, kinds, np.full((u.size, 2), math.inf))
    strength = judged[2]
    _weigh(y, u, cov, window, judged, count, (0, count))
    while True:
        worst, value = _weakest(bend, judged, count)
        if value >= least:
            break
        count -= 1
        for c in range(worst, count):
            found[c], kinds[c] = found[c + 1], kinds[c + 1]
        _weigh(y, u, cov, window, judged, count, (worst - 1, worst + 1))
    for c in range(count):
        if kinds[c] == SHOULDER:
            after = strength[found[c + 1], 1] if c + 1 < count else math.inf
            score[found[c], 0] = 0.0
            score[found[c], 1] = min(strength[found[c], 0], strength[found[c], 1], after)
    return count


@entry()
def _vertex(y: Array, u: Array, m: int, rate: Array) -> tuple[float, float]:
    """Distance from a place to the vertex of the parabola through it and its neighbours, and u there.

    `rate` gets the derivatives of the distance by the three values. Zero where the vertex is not between the middles of
    the two intervals.
    """
    # (m)->(3)
    rate[:] = 0.0
    if m == 0 or m == u.size - 1:
        return 0.0, u[m]
    h, k = y[m] - y[m - 1], y[m + 1] - y[m]
    before, after = (u[m] - u[m - 1]) / h, (u[m + 1] - u[m]) / k
    slope, curve = (before * k + after * h) / (h + k), (after - before) / (h + k)
    if curve == 0.0:
        return 0.0, u[m]
    shift = -0.5 * slope / curve
    if shift < -h or shift > k:
        return 0.0, u[m]
    slopes = np.array([-k / h, k / h - h / k, h / k]) / (h + k)
    curves = np.array([1.0 / h, -1.0 / h - 1.0 / k, 1.0 / k]) / (h + k)
    rate[:] = -0.5 * (slopes - slope / curve * curves) / curve
    return shift, u[m] + 0.5 * slope * shift


@inner()
def _crossing(y: Array, u: Array, m: int, level: float, end: int) -> float:
    """Distance from a place to where u comes down to a level, by parabolas; NaN where a boundary comes first."""
    step = 1 if end > m else -1
    i = m
    while i != end and u[i] > level:
        i += step
    if i == m or u[i] > level:
        return math.nan
    inner = i - step
    # The parabola through the places beside the crossing and the one before them.
    third = inner - step
    if third < 0 or third >= u.size:
        third = i + step if 0 <= i + step < u.size else inner
    low, high = 0.0, 1.0
    for _ in range(40):
        t = 0.5 * (low + high)
        at = y[inner] + t * (y[i] - y[inner])
        value = u[inner] + t * (u[i] - u[inner])
        if third != inner:
            bend = (u[i] - u[inner]) / (y[i] - y[inner]) - (u[inner] - u[third]) / (y[inner] - y[third])
            value += bend / (y[i] - y[third]) * (at - y[inner]) * (at - y[i])
        if value > level:
            low = t
        else:
            high = t
    return float(abs(y[inner] + high * (y[i] - y[inner]) - y[m]))


@inner()
def _width(y: Array, u: Array, m: int, top: tuple[float, float], ends: tuple[int, int]) -> float:
    """Full width at half maximum; a side that another feature hides is as wide as the open one."""
    shift, height = top
    left = _crossing(y, u, m, height - _LN2, ends[0]) + shift
    right = _crossing(y, u, m, height - _LN2, ends[1]) - shift
    if not math.isnan(left) and not math.isnan(right):
        return left + right
    if not math.isnan(left):
        return 2.0 * left
    if not math.isnan(right):
        return 2.0 * right
    if m == 0 or m == u.size - 1:
        return math.nan
    slopes = (u[m + 1] - u[m]) / (y[m + 1] - y[m]), (u[m] - u[m - 1]) / (y[m] - y[m - 1])
    bend = 2.0 * (slopes[1] - slopes[0]) / (y[m + 1] - y[m - 1])
    return float(_FWHM / math.sqrt(bend)) if bend > 0.0 else math.nan


@inner()
def _boundary(u: Array, bend: Array, features: tuple[int, int]) -> int:
    """Find the valley between two features; where u has none, the place at which it bends up most."""
    valley = lowest(u, features[0], features[1])
    return valley if features[0] < valley < features[1] else lowest(bend, features[0], features[1])


@inner()
def _up_to(y: Array, gamma: Array, place: float, out: Array) -> None:
    """Area of piecewise linear γ up to a place, in parts by the values that it is made of."""
    # (m)->(m)
    out[:] = 0.0
    for m in range(y.size - 1):
        if place <= y[m]:
            return
        step = y[m + 1] - y[m]
        t = min(place - y[m], step) / step
        out[m] += gamma[m] * step * t * (1.0 - 0.5 * t)
        out[m + 1] += gamma[m + 1] * step * 0.5 * t * t


@inner()
def _line(y: Array, gamma: Array, m: int, shift: float) -> float:
    """γ at a distance from a relaxation time, by the straight line to the next one."""
    if shift == 0.0:
        return float(gamma[m])
    other = m + 1 if shift > 0.0 else m - 1
    return float(gamma[m] + (gamma[other] - gamma[m]) * shift / (y[other] - y[m]))


@inner()
def _spread(q: Array, cov: Array) -> float:
    """√(qᵀCq)."""
    total = 0.0
    for i in range(q.size):
        if q[i] != 0.0:
            inner = 0.0
            for j in range(q.size):
                inner += cov[i, j] * q[j]
            total += q[i] * inner
    return math.sqrt(max(total, 0.0))


@inner()
def _closing(u: Array, top: int, window: int, end: int) -> int:
    """Place of the valley between a feature and an end of the relaxation times; that end where u only falls to it.

    The valley is the lowest place within the window of the data, or where u begins to rise beyond it.
    """
    # (m)->()
    step = 1 if end > top else -1
    valley = top
    m = top
    while m != end:
        inside = (window - m) * step > 0
        m += step
        if u[m] < u[valley]:
            valley = m
        elif not inside:
            break
    least = math.exp(u[valley] - u[top]) + LEAST_RISE
    far = valley
    while far != end:
        far += step
        if math.exp(u[far] - u[top]) > least:
            return valley
    return end


@inner()
def _within(found: Ints, window: tuple[int, int]) -> tuple[int, int]:
    """First and one after the last of some places in order that are within a window."""
    # (c)->(),()
    return int(np.searchsorted(found, window[0])), int(np.searchsorted(found, window[1], "right"))


@inner()
def _moved(y: Array, gamma: Array, m: int, shift: float) -> float:
    """Area of piecewise linear γ from a relaxation time to a place beside it; negative before it."""
    return float(0.5 * shift * (gamma[m] + _line(y, gamma, m, shift)))


@inner()
def _shift_of(y: Array, gamma: Array, m: int, area: float) -> float:
    """Distance from a relaxation time to the place up to which there is some area; the inverse of `_moved`."""
    if area == 0.0:
        return 0.0
    other = m + 1 if area > 0.0 else m - 1
    rise = 2.0 * (gamma[other] - gamma[m]) * area / (y[other] - y[m])
    return float(2.0 * area / (gamma[m] + math.sqrt(gamma[m] * gamma[m] + rise)))


@entry()
def _falling(moved: Array) -> None:
    """Bring areas by which valleys are moved nearer to zero, as little as is needed, so that none is above the last."""
    # (b)
    least, most = np.maximum(moved, 0.0), np.minimum(moved, 0.0)
    for b in range(1, moved.size):
        least[b] = min(least[b], least[b - 1])
    for b in range(moved.size - 2, -1, -1):
        most[b] = max(most[b], most[b + 1])
    moved[:] = least + most


@inner()
def _boundaries(y: Array, curves: tuple[Array, Array, Array], at: Ints, out: tuple[Array, Array, Array]) -> None:
    """Positions of boundaries, the area up to each by relaxation times, and its derivatives by u, as valleys move.

    `at` are the places of relaxation times nearest to the boundaries, the ends among them. `out` are ln τ (b), areas
    (b,m) and derivatives (b,m). Valleys are at the vertices of parabolas, but for those that would give a row between
    two of them more than there is between the lowest relaxation times: they are as near to the vertices as they may.
    Errors are those of the vertices, since the lowest relaxation time is no better known.
    """
    # (m),(b)->(b),(b,m),(b,m)
    u, gamma, _ = curves
    place, area, slope = out
    rates, shifts, moved = np.zeros((at.size, 3)), np.zeros(at.size), np.zeros(at.size)
    for b in range(at.size):
        m = at[b]
        if 0 < m < u.size - 1 and u[m] < min(u[m - 1], u[m + 1]):
            shifts[b] = _vertex(y, u, m, rates[b])[0]
            moved[b] = _moved(y, gamma, m, shifts[b])
    allowed = moved.copy()
    _falling(allowed[1:-1])
    for b in range(at.size):
        m = at[b]
        shift = shifts[b] if allowed[b] == moved[b] else _shift_of(y, gamma, m, allowed[b])
        place[b] = y[m] + shift
        _up_to(y, gamma, place[b], area[b])
        slope[b] = area[b]
        if shifts[b] != 0.0:
            slope[b, m - 1 : m + 2] += _line(y, gamma, m, shift) * rates[b]


@inner()
def _describe_top(
    y: Array,
    curves: tuple[Array, Array, Array],
    cov: Array,
    feature: tuple[int, int],
    ends: tuple[float, float],
    out: Array,
) -> None:
    """Fill in position, height, width and error of position of a maximum or shoulder between its boundaries."""
    # (m),(m),(m,m)->(11)
    u, _, bend = curves
    m, kind = feature
    rate = np.zeros(3)
    shift, height = _vertex(y, u, m, rate)
    out[6] = math.nan
    if kind == MAXIMUM:
        along = np.zeros(u.size)
        along[m - 1 : m + 2] = rate
        out[6] = _spread(along, cov)
    else:
        shift, height = _vertex(y, bend, m, rate)[0], u[m]
    out[0], out[2] = y[m] + shift, math.exp(height)
    # The first and the last place within the boundaries of this feature.
    inner = (int(np.searchsorted(y, ends[0])), int(np.searchsorted(y, ends[1], "right")) - 1)
    out[3] = _width(y, u, m, (shift if kind == MAXIMUM else 0.0, height), inner)


@inner()
def _describe_edge(y: Array, gamma: Array, ends: tuple[int, int], out: Array) -> None:
    """Fill in where γ is largest between two places, and how large; what only features have is not known."""
    # (m)->(11)
    m = ends[0] + int(np.argmax(gamma[ends[0] : ends[1] + 1]))
    out[:] = math.nan
    out[0], out[2] = y[m], gamma[m]


@inner()
def _describe(
    y: Array,
    curves: tuple[Array, Array, Array],
    cov: Array,
    features: tuple[Ints, Ints, Array],
    window: tuple[int, int],
    out: Array,
) -> int:
    """Fill in the rows of a spectrum, in order of y: its features, and what lies beyond them; how many rows.

    `features` are places, kinds, and by places prominence and significance.
    """
    # (m),(m),(m,m),(c),(c),(m,2)->(c+2,11)
    u, gamma, bend = curves
    found, kinds, score = features
    last = u.size - 1
    at, which = np.zeros(found.size + 3, np.int64), np.full(found.size + 2, -1)
    rows = 0
    if found.size > 0:
        first = _closing(u, found[0], window[0], 0)
        if first > 0:
            at[1] = first
            rows = 1
        for c in range(found.size):
            which[rows] = c
            rows += 1
            at[rows] = _boundary(u, bend, (found[c], found[c + 1])) if c + 1 < found.size else last
        end = _closing(u, found[-1], window[1], last)
        if end < last:
            at[rows] = end
            rows += 1
    else:
        rows = 1
    at[rows] = last
    bounds = (np.zeros(rows + 1), np.zeros((rows + 1, u.size)), np.zeros((rows + 1, u.size)))
    _boundaries(y, curves, at[: rows + 1], bounds)
    place, area, slope = bounds
    for row in range(rows):
        c = which[row]
        if c < 0:
            _describe_edge(y, gamma, (at[row], at[row + 1]), out[row])
        else:
            _describe_top(y, curves, cov, (found[c], kinds[c]), (place[row], place[row + 1]), out[row])
            out[row, 4:6] = score[found[c]]
        out[row, 1] = np.sum(area[row + 1] - area[row])
        out[row, 7] = _spread(slope[row + 1] - slope[row], cov)
        out[row, 8], out[row, 9] = place[row], place[row + 1]
        out[row, 10] = kinds[c] if c >= 0 else EDGE
    return rows


@entry()
def find(
    y: Array,
    gamma: Array,
    covariance: Array,
    least: tuple[float, float],
    window: tuple[int, int],
    out: Array,
    count: Ints,
) -> None:
    """Features of spectra with piecewise linear γ, and what lies beyond them.

    `y` are ln τ, `gamma` the values there, all above zero, `covariance` that of their logarithms, which may have more
    rows and columns; `least` is the significance of maxima and of shoulders that is asked for; `window` the first and
    the last place that data tell of. `out` is described by `COLUMNS`, with room for two more rows than features; an
    edge has no width, prominence, significance and error of y. Where the covariance is not known nothing is a feature.
    """
    # (m),(k,m),(k,m,m)->(k,c,11),(k)
    most, size = out.shape[1] - 2, y.size
    found, kinds = np.zeros(most, np.int64), np.zeros(most, np.int64)
    peaks, score, bend = np.zeros((most, 2)), np.zeros((size, 2)), np.zeros(size)
    for k in range(gamma.shape[0]):
        u, cov = np.log(gamma[k]), covariance[k, :size, :size]
        total = 0
        if np.isfinite(cov).all():
            total = _kept_maxima(u, cov, least[0], found, peaks)
        kinds[:total] = MAXIMUM
        for c in range(total):
            score[found[c]] = peaks[c]
        _bends(y, u, bend)
        if total > 0 and least[1] < math.inf:
            total = _with_shoulders(y, (u, bend), cov, (least[1], window), (found, kinds, score), total)
        first, total = _within(found[:total], window)
        features = (found[first:total], kinds[first:total], score)
        count[k] = _describe(y, (u, gamma[k], bend), cov, features, window, out[k])
