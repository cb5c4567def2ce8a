"""Maxima and shoulders of γ(ln τ) that noise and the penalty do not make by themselves, for many spectra.

Axes in the comments: k = spectra, s = samples of y = ln τ, j = unknowns (coefficients of γ, then R_inf, L, 1/C), n =
data, c = features of a spectrum.

A feature is judged by how far γ at a sample lies above the straight line between two others. That is a linear
functional qᵀx of the unknowns. Without the sign constraint x = E b, E = H⁻¹AᵀW, H = AᵀW²A + λM, and for data of
standard deviations σ it deviates by

    d² = Σ_n (Eᵀq)_n² σ_n² + κ² s² (qᵀH⁻¹q − |Eᵀq|²) + β² (qᵀ(x − EWAx))²,    s² = mean σ²,

the first term what noise does, the second what the penalty leaves open: with κ = 1 and equal σ, d² is the variance of
the posterior that has the penalty as its prior. That takes every wrinkle for possible that the penalty allows, and
would hide small peaks beside large ones; a smaller κ is enough to silence the ripples beside sharp peaks, where noise
is small. The third term is what the penalty would take away if the solution were the truth, and stands for the ripples
that too large a λ makes; it does not count for the highest maximum, which no penalty makes. The unconstrained solution
is used on purpose: where x ≥ 0 has pinned an unknown, its linear response says that noise does nothing, and single
spikes would pass.

The first and the last feature end in the valley towards the end of the samples, if γ rises again behind it: what lies
beyond is a row of its own, as is the whole of a γ without any feature. Features outside of the window of the data count
as what lies beyond. The areas of all rows add up to that of γ.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Tables = tuple[Array, Array, Ints, Array, Array]
Row = tuple[Array, Array, Array]
Work = tuple[Array, Array]
Places = tuple[Ints, Ints, Ints, Ints]

MAXIMUM, SHOULDER, EDGE = 1, 2, 3
"""Kinds of features; an edge is what lies beyond the valleys of the first and the last one."""

COLUMNS = 11
"""y, r, height, width, prominence, significance, error of y, error of r, lower and upper y, kind: what a feature is."""

_JOINED = {"contract", "reassoc"}

SIDE = 3
"""Samples on either side of a maximum that a polynomial of degree six goes through."""

# Taylor coefficients of that polynomial at its middle, first to sixth power of the distance in samples.
_TAYLOR = np.array(
    [
        [-1 / 60, 3 / 20, -3 / 4, 0.0, 3 / 4, -3 / 20, 1 / 60],
        [1 / 180, -3 / 40, 3 / 4, -49 / 36, 3 / 4, -3 / 40, 1 / 180],
        [1 / 48, -1 / 6, 13 / 48, 0.0, -13 / 48, 1 / 6, -1 / 48],
        [-1 / 144, 1 / 12, -13 / 48, 7 / 18, -13 / 48, 1 / 12, -1 / 144],
        [-1 / 240, 1 / 60, -1 / 48, 0.0, 1 / 48, -1 / 60, 1 / 240],
        [1 / 720, -1 / 120, 1 / 48, -1 / 36, 1 / 48, -1 / 120, 1 / 720],
    ]
)

# Steps of Newton from the highest sample, which is less than one away: six reach rounding for all peaks of a campaign.
_STEPS = 12

_OPEN_MAXIMUM, _OPEN_SHOULDER = 0.15, 0.5
"""κ of maxima and of shoulders, by the rate of false ones in simulated spectra of one to three processes."""

_RIPPLE_MAXIMUM, _RIPPLE_SHOULDER = 2.0, 1.3
"""β of both, by the same rate at given λ from 1e-5 to 1e-2."""

LEAST_RISE = 1e-6
"""How far γ must rise behind a valley at an end, as a share of the peak's height: less is rounding."""

# Full width at half maximum of a normal distribution of standard deviation one.
_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


@entry()
def _maxima(curve: Array, least: float, out: Ints) -> int:
    """Find samples that are higher than their neighbours and than a bound; how many."""
    # (s)->(c)
    count = 0
    for s in range(SIDE, curve.size - SIDE):
        if curve[s - 1] < curve[s] >= curve[s + 1] and curve[s] > least and count < out.size:
            out[count] = s
            count += 1
    return count


@entry()
def lowest(curve: Array, first: int, last: int) -> int:
    """Sample between two, both included, where a curve is lowest."""
    best = first
    for s in range(first + 1, last + 1):
        if curve[s] < curve[best]:
            best = s
    return best


@entry(fastmath=_JOINED)
def _deviations(band: tuple[int, int], tables: Tables, row: Row, work: Work) -> tuple[float, float, float, float]:
    """Value of the functional in the first work array, and the two terms of its variance, with κ = 1."""
    # (j),(n)->(),(),()
    inverse, solution = tables[3], tables[4]
    x, sigma, lost = row
    q, data = work
    first, last = band
    data[:] = 0.0
    own = 0.0
    value = 0.0
    bias = 0.0
    for j in range(first, last):
        value += q[j] * x[j]
        bias += q[j] * lost[j]
        for n in range(data.size):
            data[n] += q[j] * solution[j, n]
        inner = 0.0
        for i in range(first, last):
            inner += inverse[j, i] * q[i]
        own += q[j] * inner
    noise = 0.0
    square = 0.0
    mean = 0.0
    for n in range(data.size):
        noise += (data[n] * sigma[n]) ** 2
        square += data[n] ** 2
        mean += sigma[n] ** 2
    return value, noise, mean / data.size * max(own - square, 0.0), bias


@inner()
def _above(
    s: int, line: tuple[int, int, float, float, float], tables: Tables, row: Row, work: Work
) -> tuple[float, float]:
    """How far γ at a sample is above share · γ(left) + (1 − share) · γ(right); and that over its deviation.

    `line` is left, right, share, κ and β.
    """
    values, bounds = tables[0], tables[2]
    left, right, share, openness, ripple = line
    first = min(bounds[left, 0], bounds[s, 0], bounds[right, 0])
    last = max(bounds[left, 1], bounds[s, 1], bounds[right, 1])
    for j in range(first, last):
        work[0][j] = values[s, j] - share * values[left, j] - (1.0 - share) * values[right, j]
    value, noise, rest, bias = _deviations((first, last), tables, row, work)
    deviation = math.sqrt(noise + openness**2 * rest + (ripple * bias) ** 2)
    return value, value / deviation if deviation > 0.0 else math.inf


@inner()
def _drop(s: int, valleys: tuple[int, int], ripple: float, tables: Tables, row: Row, work: Work) -> tuple[float, float]:
    """Smaller one of the drops from a maximum to its valleys, and the smaller significance of the two."""
    left, z_left = _above(s, (valleys[0], valleys[0], 1.0, _OPEN_MAXIMUM, ripple), tables, row, work)
    right, z_right = _above(s, (valleys[1], valleys[1], 1.0, _OPEN_MAXIMUM, ripple), tables, row, work)
    return min(left, right), min(z_left, z_right)


@inner()
def _chord(s: int, ends: tuple[int, int], tables: Tables, row: Row, work: Work) -> tuple[float, float]:
    """How far γ is above the straight line between two samples on either side, and the significance of that."""
    share = (ends[1] - s) / (ends[1] - ends[0])
    return _above(s, (ends[0], ends[1], share, _OPEN_SHOULDER, _RIPPLE_SHOULDER), tables, row, work)


@inner()
def _kept_maxima(g: Array, least: float, tables: Tables, row: Row, work: Work, found: Ints, score: Array) -> int:
    """Maxima that are significant: the least one goes, its valleys become one, until all are.

    `score` gets prominence and significance of each.
    """
    # (s)->(c),(c,2)
    count = _maxima(g, 1e-9 * g.max(), found)
    valley = np.zeros(found.size + 1, np.int64)
    for c in range(count + 1):
        valley[c] = lowest(g, 0 if c == 0 else found[c - 1], g.size - 1 if c == count else found[c])
    highest = int(np.argmax(g))
    for c in range(count):
        ripple = 0.0 if found[c] == highest else _RIPPLE_MAXIMUM
        score[c] = _drop(found[c], (valley[c], valley[c + 1]), ripple, tables, row, work)
    while count > 0:
        worst = int(np.argmin(score[:count, 1]))
        if score[worst, 1] >= least:
            break
        lower = worst if g[valley[worst]] < g[valley[worst + 1]] else worst + 1
        valley[worst] = valley[lower]
        count -= 1
        for c in range(worst, count):
            found[c] = found[c + 1]
            score[c] = score[c + 1]
            valley[c + 1] = valley[c + 2]
        for c in range(max(worst - 1, 0), min(worst + 1, count)):
            ripple = 0.0 if found[c] == highest else _RIPPLE_MAXIMUM
            score[c] = _drop(found[c], (valley[c], valley[c + 1]), ripple, tables, row, work)
    return count


@inner()
def _claim(found: Ints, count: int, maxima: Ints, kind: Ints) -> None:
    """Mark of all bends those that are the tops of maxima; the nearest one is."""
    # (c),(c)->(c)
    kind[:count] = SHOULDER
    for p in range(maxima.size):
        best = 0
        for c in range(1, count):
            if abs(found[c] - maxima[p]) < abs(found[best] - maxima[p]):
                best = c
        if count > 0:
            kind[best] = MAXIMUM


@inner()
def _kept_bends(bend: Array, least: float, tables: Tables, row: Row, work: Work, places: Places, score: Array) -> int:
    """Bends of γ, maxima of −γ″, that are significant shoulders or the tops of maxima; the least go one by one."""
    # (s),(c)->(c),(c),(c)
    maxima, found, kind, saddle = places
    count = _maxima(bend, 1e-9 * bend.max(), found)
    _claim(found, count, maxima, kind)
    for c in range(count + 1):
        saddle[c] = lowest(bend, 0 if c == 0 else found[c - 1], bend.size - 1 if c == count else found[c])
    for c in range(count):
        score[c] = _chord(found[c], (saddle[c], saddle[c + 1]), tables, row, work)
    while count > 0:
        worst = -1
        for c in range(count):
            if kind[c] == SHOULDER and score[c, 1] < least and (worst < 0 or score[c, 1] < score[worst, 1]):
                worst = c
        if worst < 0:
            break
        lower = worst if bend[saddle[worst]] < bend[saddle[worst + 1]] else worst + 1
        saddle[worst] = saddle[lower]
        count -= 1
        for c in range(worst, count):
            found[c] = found[c + 1]
            kind[c] = kind[c + 1]
            score[c] = score[c + 1]
            saddle[c + 1] = saddle[c + 2]
        for c in range(max(worst - 1, 0), min(worst + 1, count)):
            score[c] = _chord(found[c], (saddle[c], saddle[c + 1]), tables, row, work)
    return count


@entry()
def _refined(g: Array, s: int) -> tuple[float, float]:
    """Distance from a sample to the maximum of the polynomial around it, in samples, and its value there; by Newton."""
    taylor = np.zeros(7)
    taylor[0] = g[s]
    for i in range(6):
        for k in range(7):
            taylor[i + 1] += _TAYLOR[i, k] * g[s - SIDE + k]
    t = 0.0
    for _ in range(_STEPS):
        slope = 0.0
        curvature = 0.0
        for i in range(6, 0, -1):
            slope = slope * t + i * taylor[i]
            if i > 1:
                curvature = curvature * t + i * (i - 1) * taylor[i]
        if curvature >= 0.0:
            return 0.0, g[s]
        step = -slope / curvature
        t += step
        if abs(t) > 1.0:
            return 0.0, g[s]
        if abs(step) < 1e-12:
            break
    value = 0.0
    for i in range(6, -1, -1):
        value = value * t + taylor[i]
    return t, value


@inner()
def _half_width(g: Array, s: int, height: float, end: int) -> float:
    """Distance in samples from a sample to where γ is half of a height; NaN where a boundary comes first."""
    step = 1 if end > s else -1
    i = s
    while i != end:
        i += step
        if g[i] <= 0.5 * height:
            before = g[i - step]
            return float(abs(i - s) - (0.5 * height - g[i]) / (before - g[i]))
    return math.nan


@entry()
def _width(g: Array, s: int, shift: float, height: float, ends: tuple[int, int]) -> float:
    """Full width at half maximum, in samples; a side that another feature hides is as wide as the open one."""
    left = _half_width(g, s, height, ends[0]) + shift
    right = _half_width(g, s, height, ends[1]) - shift
    if not math.isnan(left) and not math.isnan(right):
        return left + right
    if not math.isnan(left):
        return 2.0 * left
    if not math.isnan(right):
        return 2.0 * right
    bend = -(g[s - 1] - 2.0 * g[s] + g[s + 1])
    return _FWHM * math.sqrt(height / bend) if bend > 0.0 else math.nan


@entry()
def _vertex(g: Array, s: int, stride: int) -> float:
    """Distance from a sample to the vertex of the parabola through ln γ there and a stride before and after.

    Through γ where that is zero; γ between them is a straight line and has no maximum of its own.
    """
    if not stride <= s < g.size - stride:
        return 0.0
    left, middle, right = g[s - stride], g[s], g[s + stride]
    if min(left, right) > 0.0:
        left, middle, right = math.log(left), math.log(middle), math.log(right)
    bend = left - 2.0 * middle + right
    return stride * 0.5 * (left - right) / bend if bend < 0.0 and middle >= max(left, right) else 0.0


@inner()
def _position_error(g: Array, s: int, stride: int, tables: Tables, row: Row, work: Work) -> float:
    """Deviation, in samples, that noise gives to the zero of γ′, by differences over a stride."""
    values, bounds = tables[0], tables[2]
    if not stride <= s < g.size - stride:
        return math.nan
    before, after = s - stride, s + stride
    first = min(bounds[before, 0], bounds[s, 0])
    last = max(bounds[s, 1], bounds[after, 1])
    bend = -(g[before] - 2.0 * g[s] + g[after])
    for j in range(first, last):
        work[0][j] = 0.5 * (values[after, j] - values[before, j])
    noise = _deviations((first, last), tables, row, work)[1]
    return stride * math.sqrt(noise) / bend if bend > 0.0 else math.nan


@inner()
def _move(g: Array, s: int, sign: float, tables: Tables, q: Array) -> None:
    """Add to a functional what an area gains when the valley that bounds it moves: ±γ δy, δy = −δγ′ / γ″."""
    # (j)->(j)
    values = tables[0]
    bend = g[s - 1] - 2.0 * g[s] + g[s + 1]
    if bend > 0.0 and g[s] < g[s - 1] and g[s] < g[s + 1]:
        for j in range(q.size):
            q[j] -= sign * g[s] * 0.5 * (values[s + 1, j] - values[s - 1, j]) / bend


@inner()
def _area(
    g: Array, ends: tuple[int, int], whole: tuple[bool, bool], step: float, tables: Tables, row: Row, work: Work
) -> tuple[float, float]:
    """∫γ dy between two samples and its deviation by noise; from and to infinity where it is told."""
    areas = tables[1]
    last = areas.shape[0] - 1
    q = work[0]
    band = (0, areas.shape[1])
    for j in range(areas.shape[1]):
        upper = areas[last, j] if whole[1] else areas[ends[1], j]
        q[j] = upper - (0.0 if whole[0] else areas[ends[0], j])
    value = _deviations(band, tables, row, work)[0]
    for j in range(areas.shape[1]):
        q[j] /= step
    if not whole[0]:
        _move(g, ends[0], -1.0, tables, q)
    if not whole[1]:
        _move(g, ends[1], 1.0, tables, q)
    return value, step * math.sqrt(_deviations(band, tables, row, work)[1])


@inner()
def _boundary(g: Array, bend: Array, features: tuple[int, int]) -> int:
    """Find the valley between two features; where γ has none, the sample at which it bends up most."""
    valley = lowest(g, features[0], features[1])
    return valley if features[0] < valley < features[1] else lowest(bend, features[0], features[1])


@entry()
def _merge(maxima: Ints, bends: Ints, kinds: Ints, out: Ints, which: Ints) -> int:
    """Maxima and shoulders in order of y; `which` is the number among the maxima, or −1 − that among the bends."""
    count = 0
    p = 0
    for c in range(bends.size):
        if kinds[c] == MAXIMUM:
            continue
        while p < maxima.size and maxima[p] < bends[c]:
            out[count], which[count] = maxima[p], p
            p += 1
            count += 1
        out[count], which[count] = bends[c], -1 - c
        count += 1
    while p < maxima.size:
        out[count], which[count] = maxima[p], p
        p += 1
        count += 1
    return count


@inner()
def _closing(g: Array, top: int, window: int, end: int) -> int:
    """Sample of the valley between a feature and an end of the samples; that end where γ only falls to it.

    The valley is the lowest sample within the window of the data, or where γ begins to rise beyond it.
    """
    # (s)->()
    step = 1 if end > top else -1
    valley = top
    s = top
    while s != end:
        inside = (window - s) * step > 0
        s += step
        if g[s] < g[valley]:
            valley = s
        elif not inside:
            break
    least = g[valley] + LEAST_RISE * g[top]
    far = valley
    while far != end:
        far += step
        if g[far] > least:
            return valley
    return end


@inner()
def _describe_top(
    curves: tuple[Array, Array],
    feature: tuple[int, int],
    ends: tuple[int, int],
    grain: int,
    tables: Tables,
    row: Row,
    work: Work,
    out: Array,
) -> None:
    """Fill in position, height, width and error of position of a maximum or shoulder between its boundaries."""
    # (s),(s)->(11)
    g, bend = curves
    s, kind = feature
    shift, height = 0.0, g[s]
    if grain > 1:
        shift = _vertex(g, s, grain)
    elif kind == MAXIMUM:
        shift, height = _refined(g, s)
    else:
        shift, _ = _refined(bend, s)
    out[0], out[2] = s + shift, height
    out[3] = _width(g, s, 0.0 if grain > 1 else shift, height, ends)
    out[6] = _position_error(g, s, grain, tables, row, work) if kind == MAXIMUM else math.nan


@inner()
def _describe(
    curves: tuple[Array, Array],
    features: tuple[Ints, Ints, Array],
    shape: tuple[int, float, int, int],
    tables: Tables,
    row: Row,
    work: Work,
    out: Array,
) -> int:
    """Fill in the rows of a spectrum, in order of y: its features, and what lies beyond them; how many rows.

    `features` are samples, kinds, and prominence and significance; `shape` as `find` has it.
    """
    # (s),(s),(c),(c),(c,2)->(c+2,11)
    g, bend = curves
    at, kinds, score = features
    grain, step, window = shape[0], shape[1], shape[2:]
    last = g.size - 1
    ends, which = np.zeros(at.size + 3, np.int64), np.full(at.size + 2, -1)
    rows = 0
    if at.size > 0:
        first = _closing(g, at[0], window[0], 0)
        if first > 0:
            ends[1] = first
            rows = 1
        for c in range(at.size):
            which[rows] = c
            rows += 1
            ends[rows] = _boundary(g, bend, (at[c], at[c + 1])) if c + 1 < at.size else last
        end = _closing(g, at[-1], window[1], last)
        if end < last:
            ends[rows] = end
            rows += 1
    else:
        rows = 1 if g.max() > 0.0 else 0
    ends[rows] = last
    for k in range(rows):
        c, own = which[k], (ends[k], ends[k + 1])
        out[k] = math.nan
        if c < 0:
            out[k, 0] = own[0] + np.argmax(g[own[0] : own[1] + 1])
            out[k, 2] = g[int(out[k, 0])]
        else:
            _describe_top(curves, (at[c], kinds[c]), own, grain, tables, row, work, out[k])
            out[k, 4:6] = score[c]
        out[k, 1], out[k, 7] = _area(g, own, (k == 0, k + 1 == rows), step, tables, row, work)
        out[k, 8], out[k, 9] = own
        out[k, 10] = kinds[c] if c >= 0 else EDGE
    return rows


@entry()
def find(
    gamma: Array,
    bend: Array,
    tables: Tables,
    rows: Row,
    least: tuple[float, float],
    shape: tuple[int, float, int, int],
    out: Array,
    count: Ints,
) -> None:
    """Features of spectra that share a λ and, if any, their weights; and what lies beyond them.

    `gamma` and `bend` are γ and −γ″ at the samples, evenly spaced; `tables` the values (s,j) and cumulative areas
    (s+1,j) of the basis functions, the last row of which are the whole areas, the first and last entry that is not
    negligible of each row of the values (s,2), H⁻¹ (j,j) and E (j,n); `rows` the unknowns x (k,j), standard deviations
    of the data (k,n), and x − EWAx (k,j). `least` is the significance of maxima and of shoulders that is asked for.
    `shape` is how many samples there are from one kink of γ to the next, 1 where it has none and a polynomial does; the
    distance of samples in y; and the first and the last sample within the window of the data. `out` is described by
    `COLUMNS`, y and the boundaries counted in samples, with room for two more rows than features; an edge has no width,
    prominence, significance and error of y. `count` is how many rows there are, and how many of them are features; a
    spectrum without more features than it says is left as it is.
    """
    # (k,s),(k,s)->(k,c,11),(k,2)
    most = out.shape[1] - 2
    found, kinds, order, which = np.zeros((4, most), np.int64)
    maxima, merged, places = np.zeros((3, most), np.int64)
    saddle = np.zeros(most + 1, np.int64)
    peaks, bends, score = np.zeros((most, 2)), np.zeros((most, 2)), np.zeros((most, 2))
    work = (np.zeros(tables[3].shape[0]), np.zeros(tables[4].shape[1]))
    for k in range(gamma.shape[0]):
        row = (rows[0][k], rows[1][k], rows[2][k])
        g = gamma[k]
        tops = _kept_maxima(g, least[0], tables, row, work, maxima, peaks)
        turns = 0
        if tops > 0 and shape[0] == 1:
            given = (maxima[:tops], found, kinds, saddle)
            turns = _kept_bends(bend[k], least[1], tables, row, work, given, bends)
        total = min(_merge(maxima[:tops], found[:turns], kinds[:turns], order, which), most)
        some = 0
        for c in range(total):
            if shape[2] <= order[c] <= shape[3]:
                top = which[c] >= 0
                places[some] = order[c]
                score[some] = peaks[which[c]] if top else bends[-1 - which[c]]
                score[some, 0] = score[some, 0] if top else 0.0
                merged[some] = MAXIMUM if top else SHOULDER
                some += 1
        if some > count[k, 1]:
            features = (places[:some], merged[:some], score)
            count[k, 0] = _describe((g, bend[k]), features, shape, tables, row, work, out[k])
            count[k, 1] = some
