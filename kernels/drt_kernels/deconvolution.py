"""Sums of peaks with a known impedance, fitted to many spectra by least squares within bounds.

How many elements there are is chosen by the Bayesian information criterion (G. Schwarz, Ann. Stat. 6 (1978) 461) for as
many data as are independent: residuals whose neighbours are correlated with ρ count as n (1 − ρ)/(1 + ρ).

Axes in the comments: f = frequencies, n = 2f data (real, then imaginary parts), p = parameters, e = series elements
(R_inf, L, 1/C, as far as the model has them), c = elements, k = spectra.

The parameters of a model are those of the series elements, then three or four for each part: R, y = ln τ, and one or
two of shape. With w = (jωτ)^φ:

    ZARC                R / (1 + w)                                   shape φ    (K. S. Cole, R. H. Cole 1941)
    Havriliak-Negami    R / (1 + w)^ψ                                 shape φ, ψ (S. Havriliak, S. Negami 1967)
    Gaussian            R ∫ N(u; 0, s²) / (1 + jωτ e^u) du            shape ln s

Elements whose resistance may not be above zero, inductive loops, come first after the series elements. They are as many
as are given; the others are looked for beside them.

The least-squares problem is solved by the method of Levenberg and Marquardt (D. W. Marquardt, SIAM J. Appl. Math. 11
(1963) 431) with the damping of H. B. Nielsen (IMM-REP-1999-05, Technical University of Denmark); a parameter at a bound
that the gradient holds there is left out of a step. Outliers count less by Student's distribution in two dimensions
with four degrees of freedom: a point whose residual is z gets the weight (ν + 2) / (ν + |z|²/s²), in rounds until they
settle (K. L. Lange, R. J. A. Little, J. M. G. Taylor, J. Am. Stat. Assoc. 84 (1989) 881).
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner
from drt_kernels.kinds import GAUSSIAN, HAVRILIAK_NEGAMI, ZARC

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Data = tuple[Array, Array, Array]
Model = tuple[int, Array]
Work = tuple[Array, Array, Array, Array, Array, Array, Array, Ints]
Bounds = tuple[Array, Array]
Options = tuple[int, int, int, bool]
Best = tuple[Array, Array, Array]

_JOINED = {"contract", "reassoc"}

# Largest step h of the trapezoidal rule for a Gaussian of deviation s times the Debye kernel, and largest share of s
# that it is: exp(−π²/h) = 2e-11 is left of the kernel's poles at ±iπ/2, exp(−2π²s²/h²) = 1e-12 of the Gaussian.
_STEP, _STEP_SHARE = 0.4, 0.85

_REACH = 6.4
"""Deviations up to which a Gaussian is summed; 2e-10 of it is beyond."""

_SIMD_WIDTH = 8
"""Nodes of the rule are a multiple of this."""

_EXACT = 1e-26
"""Share of the sum of squares of the data below which that of residuals is rounding, 1e-13 of each."""

_SETTLED, _NEARLY = 1e-6, 1e3
"""Decrease of the sum of squares, in variances of a datum, that a step has to promise; and how many times that may be
left where steps have run out: no parameter is then further than 3 % of its standard deviation from the minimum."""

_LEAST_PIVOT = 1e-14
"""Of a matrix with ones on its diagonal: a parameter with a smaller one is a combination of others, to rounding."""

_STRONG = 5.0
"""Deviations above zero of a resistance, from which on no information criterion would do without its part."""

_TRIAL_STEPS, _PROMISING = 10, 0.95
"""Steps that each of two ways to add a part is given before one of them is chosen, and the share of the sum of squares
that may be left after the others."""

_STRUCTURED = 0.3
"""Correlation of neighbouring residuals that tells of elements that are missing; of noise alone it is below 0.2."""


_FREEDOM = 4.0
"""ν, degrees of freedom of Student's distribution."""

_ROUNDS, _SEARCHES, _STEADY = 12, 3, 0.02
"""Most rounds of weights, most of them with a new search for elements, and the change of a weight that ends them."""

_OUTLYING = 0.15
"""Share of its weight below which a point is an outlier: at about six deviations."""

_REACH_KNOWN = 20.0
"""Weights of noise of known size are 20 / (4 + |z|²/σ²) but at most 1, which they are up to four deviations."""


@inner()
def parameters_of(kind: int) -> int:
    """How many parameters a part of a kind has."""
    return 4 if kind == HAVRILIAK_NEGAMI else 3


@inner()
def _first(model: Model, bounds: Bounds) -> int:
    """First parameter of the elements that are looked for, after the series elements and the loops."""
    each, first = parameters_of(model[0]), model[1].shape[0]
    while first < bounds[1].size and bounds[1][first] <= 0.0:
        first += each
    return int(first)


@inner(fastmath=_JOINED, error_model="numpy")
def _zarc(theta: Array, x: Array, jac: Array, res: Array) -> None:
    """Add a ZARC to the residual and write its derivatives; x = ln ω."""
    # (3),(f)->(3,n),(n)
    r, y, phi = theta[0], theta[1], theta[2]
    points = x.size
    cosine, sine = math.cos(0.5 * math.pi * phi), math.sin(0.5 * math.pi * phi)
    for f in range(points):
        s = x[f] + y
        e = math.exp(phi * s)
        w_re, w_im = e * cosine, e * sine
        square = 1.0 / ((1.0 + w_re) ** 2 + w_im**2)
        d_re, d_im = (1.0 + w_re) * square, -w_im * square
        # v = w D, then −R D v is the derivative by φ ln(jωτ).
        v_re, v_im = w_re * d_re - w_im * d_im, w_re * d_im + w_im * d_re
        t_re, t_im = -r * (d_re * v_re - d_im * v_im), -r * (d_re * v_im + d_im * v_re)
        jac[0, f], jac[0, points + f] = d_re, d_im
        jac[1, f], jac[1, points + f] = phi * t_re, phi * t_im
        jac[2, f], jac[2, points + f] = s * t_re - 0.5 * math.pi * t_im, s * t_im + 0.5 * math.pi * t_re
        res[f] += r * d_re
        res[points + f] += r * d_im


@inner(fastmath=_JOINED, error_model="numpy")
def _havriliak_negami(theta: Array, x: Array, jac: Array, res: Array) -> None:
    """Add a Havriliak-Negami element to the residual and write its derivatives."""
    # (4),(f)->(4,n),(n)
    r, y, phi, psi = theta[0], theta[1], theta[2], theta[3]
    points = x.size
    cosine, sine = math.cos(0.5 * math.pi * phi), math.sin(0.5 * math.pi * phi)
    for f in range(points):
        s = x[f] + y
        e = math.exp(phi * s)
        w_re, w_im = e * cosine, e * sine
        size = (1.0 + w_re) ** 2 + w_im**2
        logarithm = 0.5 * math.log(size)
        angle = math.atan2(w_im, 1.0 + w_re)
        modulus = math.exp(-psi * logarithm)
        d_re, d_im = modulus * math.cos(psi * angle), -modulus * math.sin(psi * angle)
        v_re, v_im = (w_re * (1.0 + w_re) + w_im * w_im) / size, w_im / size
        t_re, t_im = -r * psi * (d_re * v_re - d_im * v_im), -r * psi * (d_re * v_im + d_im * v_re)
        jac[0, f], jac[0, points + f] = d_re, d_im
        jac[1, f], jac[1, points + f] = phi * t_re, phi * t_im
        jac[2, f], jac[2, points + f] = s * t_re - 0.5 * math.pi * t_im, s * t_im + 0.5 * math.pi * t_re
        jac[3, f] = -r * (d_re * logarithm - d_im * angle)
        jac[3, points + f] = -r * (d_re * angle + d_im * logarithm)
        res[f] += r * d_re
        res[points + f] += r * d_im


@inner(fastmath=_JOINED, error_model="numpy")
def _gaussian(theta: Array, x: Array, jac: Array, res: Array) -> None:
    """Add a Gaussian of ln τ to the residual and write its derivatives; by the trapezoidal rule."""
    # (3),(f)->(3,n),(n)
    r, y = theta[0], theta[1]
    s = math.exp(theta[2])
    points = x.size
    h = min(_STEP, _STEP_SHARE * s)
    side = math.ceil(_REACH * s / h)
    factor = h / (s * math.sqrt(2.0 * math.pi))
    # Nodes without weight fill the last round of a loop that does many at once.
    u = h * np.arange(-side, -(-(2 * side + 1) // _SIMD_WIDTH) * _SIMD_WIDTH - side)
    weight = factor * np.exp(-0.5 * (u / s) ** 2)
    weight[2 * side + 1 :] = 0.0
    moment = u * weight
    shift = np.exp(u)
    for f in range(points):
        at = math.exp(x[f] + y)
        k_re, k_im, t_re, t_im, m_re, m_im = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(u.size):
            e = at * shift[i]
            # The Debye kernel a + jb, and its derivative by ln ωτ.
            a = 1.0 / (1.0 + e * e)
            b = -e * a
            d_re = 2.0 * a * (a - 1.0)
            d_im = b * (2.0 * a - 1.0)
            k_re += weight[i] * a
            k_im += weight[i] * b
            t_re += weight[i] * d_re
            t_im += weight[i] * d_im
            m_re += moment[i] * d_re
            m_im += moment[i] * d_im
        jac[0, f], jac[0, points + f] = k_re, k_im
        jac[1, f], jac[1, points + f] = r * t_re, r * t_im
        jac[2, f], jac[2, points + f] = r * m_re, r * m_im
        res[f] += r * k_re
        res[points + f] += r * k_im


@entry(fastmath=_JOINED)
def evaluate(theta: Array, model: Model, data: Data, jac: Array, res: Array) -> float:
    """Weighted residuals, model minus data, their derivatives, and the sum of their squares.

    `model` is the kind of the elements and the impedance of unit series elements (e,n); `data` are ln ω (f), the
    impedance
    (n) and the weights (n).
    """
    # (p)->(p,n),(n)
    kind, columns = model
    x, z, weights = data
    size = parameters_of(kind)
    series = columns.shape[0]
    for n in range(z.size):
        res[n] = -z[n]
    for e in range(series):
        for n in range(z.size):
            jac[e, n] = columns[e, n]
            res[n] += theta[e] * columns[e, n]
    for first in range(series, theta.size, size):
        own = slice(first, first + size)
        if kind == ZARC:
            _zarc(theta[own], x, jac[own], res)
        elif kind == HAVRILIAK_NEGAMI:
            _havriliak_negami(theta[own], x, jac[own], res)
        else:
            _gaussian(theta[own], x, jac[own], res)
    cost = 0.0
    for p in range(theta.size):
        for n in range(z.size):
            jac[p, n] *= weights[n]
    for n in range(z.size):
        res[n] *= weights[n]
        cost += res[n] ** 2
    return cost


@inner(fastmath=_JOINED)
def _products(jac: Array, res: Array, normal: Array, gradient: Array) -> None:
    """JᵀJ, lower triangle, and Jᵀr."""
    # (p,n),(n)->(p,p),(p)
    for p in range(gradient.size):
        total = 0.0
        for n in range(res.size):
            total += jac[p, n] * res[n]
        gradient[p] = total
        for q in range(p + 1):
            total = 0.0
            for n in range(res.size):
                total += jac[p, n] * jac[q, n]
            normal[p, q] = total


@inner(fastmath=_JOINED)
def _free(theta: Array, low: Array, high: Array, gradient: Array, out: Ints) -> int:
    """Numbers of the parameters that no bound holds."""
    count = 0
    for p in range(theta.size):
        held = (theta[p] <= low[p] and gradient[p] >= 0.0) or (theta[p] >= high[p] and gradient[p] <= 0.0)
        if not held:
            out[count] = p
            count += 1
    return count


@entry(fastmath=_JOINED)
def _cholesky(normal: Array, free: Ints, damping: float, factor: Array) -> bool:
    """Factor of JᵀJ on the free parameters, with its diagonal scaled to one and damped; reciprocals on the diagonal."""
    # (p,p),(p)->(p,p)
    for a in range(free.size):
        i = free[a]
        for b in range(a + 1):
            j = free[b]
            scale = math.sqrt(normal[i, i] * normal[j, j])
            total = (normal[i, j] / scale if scale > 0.0 else 0.0) if a != b else 1.0 + damping
            for c in range(b):
                total -= factor[a, c] * factor[b, c]
            if a != b:
                factor[a, b] = total * factor[b, b]
            elif total > _LEAST_PIVOT:
                factor[a, a] = 1.0 / math.sqrt(total)
            else:
                return False
    return True


@entry(fastmath=_JOINED)
def _back_solve(factor: Array, count: int, column: Array) -> None:
    """Solve L Lᵀ y = c, in place."""
    # (p,p),(p)->(p)
    for a in range(count):
        for c in range(a):
            column[a] -= factor[a, c] * column[c]
        column[a] *= factor[a, a]
    for a in range(count - 1, -1, -1):
        column[a] *= factor[a, a]
        for c in range(a):
            column[c] -= factor[a, c] * column[a]


@inner(fastmath=_JOINED)
def _predicted_decrease(normal: Array, gradient: Array, theta: Array, after: Array) -> float:
    """Decrease of the sum of squares by a step, by the linear model."""
    # (p,p),(p),(p),(p)->()
    promise = 0.0
    for p in range(theta.size):
        move = after[p] - theta[p]
        if move != 0.0:
            promise -= 2.0 * move * gradient[p] + move * move * normal[p, p]
            for q in range(p):
                promise -= 2.0 * move * (after[q] - theta[q]) * normal[p, q]
    return promise


@inner(fastmath=_JOINED)
def _right_side(normal: Array, gradient: Array, free: Ints, ends: tuple[Array, Array], out: Array) -> None:
    """Scaled right-hand side of the step of the free parameters, with what the others move already."""
    # (p,p),(p),(p)->(p)
    theta, after = ends
    for a in range(free.size):
        p = free[a]
        total = -gradient[p]
        for q in range(theta.size):
            if after[q] != theta[q]:
                total -= (normal[p, q] if q < p else normal[q, p]) * (after[q] - theta[q])
        out[a] = total / math.sqrt(normal[p, p]) if normal[p, p] > 0.0 else 0.0


@inner(fastmath=_JOINED)
def _step(work: Work, damping: float, theta: Array, bounds: Bounds, out: Array) -> float:
    """Parameters after a damped step, within their bounds, and the decrease that the linear model promises.

    A parameter that would leave its range goes to the end of it, and the step of the others is computed again with
    that. A negative promise says that there is no such step.
    """
    normal, gradient, factor, column, free = work[2], work[3], work[4], work[5], work[7]
    low, high = bounds
    out[:] = theta
    count = _free(theta, low, high, gradient[: theta.size], free)
    while count > 0:
        if not _cholesky(normal, free[:count], damping, factor):
            return -1.0
        _right_side(normal, gradient, free[:count], (theta, out), column)
        _back_solve(factor, count, column)
        kept = 0
        for a in range(count):
            p = free[a]
            move = column[a] / math.sqrt(normal[p, p]) if normal[p, p] > 0.0 else 0.0
            if low[p] <= theta[p] + move <= high[p]:
                column[kept], free[kept] = theta[p] + move, p
                kept += 1
            else:
                out[p] = high[p] if move > 0.0 else low[p]
        if kept == count:
            for a in range(count):
                out[free[a]] = column[a]
            break
        count = kept
    return _predicted_decrease(normal, gradient, theta, out)


@entry()
def fit(theta: Array, model: Model, data: Data, bounds: Bounds, work: Work, limit: int) -> tuple[float, bool]:
    """Minimise the sum of squares over the parameters, in place; the sum, and whether it is at its minimum.

    The minimum is reached when a step without damping promises less than 1e-6 of the variance of a datum, which moves
    no parameter by more than a thousandth of its standard deviation. `work` afterwards holds the derivatives, the
    residuals and JᵀJ at the solution.
    """
    # (p)->(p)
    jac, res, normal, gradient, trial = work[0], work[1], work[2], work[3], work[6]
    size = theta.size
    cost = evaluate(theta, model, data, jac, res)
    scale = 0.0
    for n in range(res.size):
        scale += (data[1][n] * data[2][n]) ** 2
    damping, growth = 1e-3, 2.0
    fresh = True
    for _ in range(limit):
        if fresh:
            _products(jac, res, normal, gradient[:size])
        promise = _step(work, damping, theta, bounds, trial[:size])
        least = max(_SETTLED * cost / res.size, _EXACT * scale)
        if 0.0 <= promise <= least and damping < 1e-2:
            if not fresh:
                evaluate(theta, model, data, jac, res)
            return cost, True
        after = math.inf
        if promise > 0.0:
            after = evaluate(trial[:size], model, data, jac, res)
        fresh = after < cost
        if fresh:
            ratio = (cost - after) / promise
            theta[:] = trial[:size]
            cost = after
            damping = max(damping * max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3), 1e-9)
            growth = 2.0
        else:
            damping *= growth
            growth *= 2.0
            if damping > 1e9:
                break
    evaluate(theta, model, data, jac, res)
    _products(jac, res, normal, gradient[:size])
    promise = _step(work, 1e-6, theta, bounds, trial[:size])
    return cost, 0.0 <= promise <= _NEARLY * max(_SETTLED * cost / res.size, _EXACT * scale)


@entry(fastmath=_JOINED)
def correlation(res: Array) -> float:
    """Correlation ρ of residuals at neighbouring frequencies; not below zero, and not above 0.9."""
    # (n)->()
    points = res.size // 2
    square = 0.0
    product = 0.0
    for n in range(res.size):
        square += res[n] ** 2
        if n % points > 0:
            product += res[n] * res[n - 1]
    return min(max(product / square, 0.0), 0.9) if square > 0.0 else 0.0


@inner()
def _gain(less: float, more: float, added: int, res: Array, state: Array, known: bool) -> float:
    """Return what a richer model gains in the information criterion over a poorer one, by their sums of squares."""
    # (n),(5)->()
    count = state[4]
    if known:
        return float(less - more - added * math.log(count))
    floor = _EXACT * state[3]
    rho = correlation(res)
    independent = max(count * (1.0 - rho) / (1.0 + rho), 2.0)
    gained = independent * math.log(max(less, floor) / max(more, floor))
    return float(gained - added * math.log(independent))


@inner()
def _better(size: int, cost: float, res: Array, best: Best, options: Options) -> bool:
    """Whether a model is better than the best one so far: nearer to the number that is wanted, or by the criterion."""
    wanted, _, _, known = options
    _, state, residual = best
    before = int(state[0])
    if before == 0:
        return True
    if size == before:
        return bool(cost < state[1] * (1.0 - 1e-9))
    if wanted > 0:
        return abs(size - wanted) < abs(before - wanted)
    if size > before:
        return _gain(state[1], cost, size - before, res, state, known) > 0.0
    return _gain(cost, state[1], before - size, residual, state, known) <= 0.0


@inner()
def _propose(
    candidate: Array,
    best: Best,
    model: Model,
    data: Data,
    bounds: Bounds,
    work: Work,
    options: Options,
) -> bool:
    """Fit a candidate and keep it if it is the better model.

    `best` holds the parameters; then how many they are (0 for none yet), the sum of squares of the residuals, a place
    that is not used, the sum of squares of the data and their number; then the residuals.
    """
    theta, state, residual = best
    size = candidate.size
    cost = fit(candidate, model, data, (bounds[0][:size], bounds[1][:size]), work, options[1])[0]
    better = _better(size, cost, work[1], best, options)
    if better:
        theta[:size] = candidate
        residual[:] = work[1]
        state[0], state[1] = size, cost
    return better


@entry(fastmath=_JOINED)
def _responses(size: int, theta: Array, bounds: Bounds, work: Work, out: Array) -> int:
    """Compute derivatives of parameters by the data, (JᵀJ)⁻¹Jᵀ, zeros for those at a bound; how many are free."""
    # (p)->(p,n)
    jac, normal, factor, column, free = work[0], work[2], work[4], work[5], work[7]
    count = 0
    for p in range(size):
        if bounds[0][p] < theta[p] < bounds[1][p] and normal[p, p] > 0.0:
            free[count] = p
            count += 1
    out[:size] = 0.0
    damping = 0.0
    while not _cholesky(normal, free[:count], damping, factor):
        damping = max(10.0 * damping, 1e-12)
    for n in range(jac.shape[1]):
        for a in range(count):
            column[a] = jac[free[a], n] / math.sqrt(normal[free[a], free[a]])
        _back_solve(factor, count, column)
        for a in range(count):
            out[free[a], n] = column[a] / math.sqrt(normal[free[a], free[a]])
    return count


@inner(fastmath=_JOINED)
def _weakest(size: int, series: int, each: int, theta: Array, response: Array, variance: float) -> tuple[int, float]:
    """First parameter of the part whose resistance is fewest deviations above zero, and how many."""
    # (p),(p,n)->(),()
    which, least = series, math.inf
    for p in range(series, size, each):
        total = 0.0
        for n in range(response.shape[1]):
            total += response[p, n] ** 2
        strength = theta[p] / math.sqrt(variance * total) if total > 0.0 else 0.0
        if strength < least:
            which, least = p, strength
    return which, least


@entry(fastmath=_JOINED)
def _lacking(
    size: int, best: Best, model: Model, data: Data, unit: Array, response: Array, work: Work
) -> tuple[float, float]:
    """Where one more part would lower the sum of squares most, and its resistance; a scan over ln τ.

    `work` holds the derivatives at the solution, `response` the solutions to the data, `unit` the shape of the part.
    """
    # (p)->(),()
    kind = model[0]
    x, _, weights = data
    jac, residual = work[0], best[2]
    trial = np.zeros((unit.size, weights.size))
    idle = np.zeros(weights.size)
    part = unit.copy()
    where, resistance, largest = -x[x.size // 2], 0.0, 0.0
    steps = 32
    low, high = -max(x[0], x[-1]), -min(x[0], x[-1])
    for i in range(steps):
        part[0], part[1] = 1.0, low + (high - low) * i / (steps - 1)
        if kind == ZARC:
            _zarc(part, x, trial, idle)
        elif kind == HAVRILIAK_NEGAMI:
            _havriliak_negami(part, x, trial, idle)
        else:
            _gaussian(part, x, trial, idle)
        column = trial[0]
        for n in range(weights.size):
            column[n] *= weights[n]
        slope, square = 0.0, 0.0
        for n in range(weights.size):
            slope -= column[n] * residual[n]
            square += column[n] ** 2
        whole = square
        for p in range(size):
            left, right = 0.0, 0.0
            for n in range(weights.size):
                left += column[n] * jac[p, n]
                right += response[p, n] * column[n]
            square -= left * right
        if slope > 0.0 and square > 1e-9 * whole and slope * slope / square > largest:
            largest = slope * slope / square
            where, resistance = part[1], slope / square
    return resistance, where


@entry()
def _halved(theta: Array, series: int, kind: int, out: Array) -> None:
    """Copy the elements, with the broadest of the large ones cut in two."""
    # (p)->(p)
    each = parameters_of(kind)
    size = theta.size
    which, largest = series, -1.0
    for p in range(series, size, each):
        breadth = theta[p] * (math.exp(theta[p + 2]) if kind == GAUSSIAN else 1.0 - theta[p + 2])
        if breadth > largest:
            which, largest = p, breadth
    out[:size] = theta
    out[size : size + each] = theta[which : which + each]
    apart = 0.7 * math.exp(theta[which + 2]) if kind == GAUSSIAN else 0.6 / theta[which + 2]
    narrower = -0.4 if kind == GAUSSIAN else 0.5 * (1.0 - theta[which + 2])
    for first, side in ((which, -1.0), (size, 1.0)):
        out[first] = 0.5 * theta[which] if first == size else 0.5 * out[first]
        out[first + 1] += side * apart
        out[first + 2] += narrower
    out[size] = out[which]


@inner()
def _clip(theta: Array, bounds: Bounds) -> None:
    for p in range(theta.size):
        theta[p] = min(max(theta[p], bounds[0][p]), bounds[1][p])


@inner()
def _at_best(best: Best, model: Model, data: Data, bounds: Bounds, work: Work, response: Array) -> None:
    """Compute derivatives and responses at the best model so far."""
    # (p,n)
    theta, size = best[0], int(best[1][0])
    evaluate(theta[:size], model, data, work[0], work[1])
    _products(work[0], work[1], work[2], work[3][:size])
    _responses(size, theta, bounds, work, response)


@inner()
def _shrink(
    best: Best, model: Model, data: Data, bounds: Bounds, work: Work, options: Options, scratch: tuple[Array, Array]
) -> None:
    """Take weak elements away, one by one, as long as the model becomes better."""
    wanted, _, most, _ = options
    series, each = _first(model, bounds), parameters_of(model[0])
    theta, state, _ = best
    candidate, response = scratch
    for _ in range(2 * most):
        size = int(state[0])
        if size <= max(wanted, series + each):
            break
        _at_best(best, model, data, bounds, work, response)
        variance = state[1] / max(state[4] - size, 1.0)
        which, strength = _weakest(size, series, each, theta, response, variance)
        if wanted <= 0 and strength > _STRONG:
            break
        candidate[:which] = theta[:which]
        candidate[which : size - each] = theta[which + each : size]
        if not _propose(candidate[: size - each], best, model, data, bounds, work, options):
            break


@inner()
def _grow(
    best: Best,
    model: Model,
    data: Data,
    bounds: Bounds,
    work: Work,
    options: Options,
    scratch: tuple[Array, Array, Array],
) -> None:
    """Add elements: where the data lack one most, or by halving one.

    Both ways are taken for some steps, and the better one to its end if it may still improve the model. It
    ends where one more makes the model no better, unless the residuals tell that more than one is missing.
    """
    wanted, limit, most, known = options
    series, each = _first(model, bounds), parameters_of(model[0])
    candidate, unit = scratch[0], scratch[2]
    now = (best[0].copy(), best[1].copy(), best[2].copy())
    for _ in range(most if wanted >= 0 else 0):
        size = int(now[1][0])
        if size >= series + each * most or (wanted > 0 and size >= wanted):
            break
        _at_best(now, model, data, bounds, work, scratch[1])
        resistance, where = _lacking(size, now, model, data, unit, scratch[1], work)
        before = now[0][:size].copy()
        candidate[:size] = before
        candidate[size : size + each] = unit
        candidate[size], candidate[size + 1] = resistance, where
        trial = (size + each, min(limit, _TRIAL_STEPS), most, known)
        _propose(candidate[: size + each], now, model, data, bounds, work, trial)
        if size > series:
            _halved(before, series, model[0], candidate)
            _clip(candidate[: size + each], bounds)
            _propose(candidate[: size + each], now, model, data, bounds, work, trial)
        missing = correlation(now[2]) >= _STRUCTURED
        if not missing and not _better(size + each, _PROMISING * now[1][1], now[2], best, options):
            break
        candidate[: size + each] = now[0][: size + each]
        _propose(candidate[: size + each], now, model, data, bounds, work, (size + each, limit, most, known))
        if _better(size + each, now[1][1], now[2], best, options):
            best[0][:] = now[0]
            best[1][:] = now[1]
            best[2][:] = now[2]
        elif not missing:
            break


@entry()
def _joined(theta: Array, p: int, symmetric: bool, out: Array) -> None:
    """Copy asymmetric elements, with one and the next merged into one of the same resistance."""
    # (p)->(p-4)
    each = parameters_of(HAVRILIAK_NEGAMI)
    q = p + each
    out[: p + each] = theta[: p + each]
    out[p + each : theta.size - each] = theta[q + each :]
    total = theta[p] + theta[q]
    share = theta[p] / total if total > 0.0 else 0.5
    out[p] = total
    if symmetric:
        out[p + 1] = share * theta[p + 1] + (1.0 - share) * theta[q + 1]
        out[p + 2], out[p + 3] = min(theta[p + 2], theta[q + 2]), 1.0
    else:
        out[p + 1] = max(theta[p + 1], theta[q + 1])
        out[p + 2], out[p + 3] = max(theta[p + 2], theta[q + 2]), 0.6


@inner()
def _fewer(best: Best, model: Model, data: Data, bounds: Bounds, work: Work, options: Options) -> None:
    """Merge neighbours, each time the pair whose merger costs least, down to one element; keep what is better.

    One asymmetric part is as good as several symmetric ones that the search began with.
    """
    series, each = _first(model, bounds), parameters_of(model[0])
    now = (best[0].copy(), best[1].copy(), best[2].copy())
    candidate, cheapest = np.zeros(now[0].size), np.zeros(now[0].size)
    # A number that is known when this is compiled would have `fit` compiled once more, for it alone.
    steps = min(options[1], _TRIAL_STEPS)
    while int(now[1][0]) > series + each:
        size = int(now[1][0])
        left = size - each
        own = (bounds[0][:left], bounds[1][:left])
        _order(now[0][:size], series, each)
        least = math.inf
        for p in range(series, left, each):
            for symmetric in (False, True):
                _joined(now[0][:size], p, symmetric, candidate[:left])
                _clip(candidate[:left], bounds)
                cost = fit(candidate[:left], model, data, own, work, steps)[0]
                if cost < least:
                    least = cost
                    cheapest[:left] = candidate[:left]
        now[0][:left] = cheapest[:left]
        now[1][1] = fit(now[0][:left], model, data, own, work, options[1])[0]
        now[1][0] = left
        now[2][:] = work[1]
        if _better(left, now[1][1], now[2], best, options):
            best[0][:] = now[0]
            best[1][:] = now[1]
            best[2][:] = now[2]


@inner()
def _search(
    starts: tuple[Array, Array],
    best: Best,
    model: Model,
    data: Data,
    bounds: Bounds,
    work: Work,
    options: Options,
    unit: Array,
) -> None:
    """Choose how many elements there are: from the better one of two starts elements are taken away, then added."""
    series, each = _first(model, bounds), parameters_of(model[0])
    candidate = np.empty(best[0].size + each)
    response = np.zeros((best[0].size, data[1].size))
    for start in starts:
        size = min(start.size, series + each * options[2])
        if size > 0:
            candidate[:size] = start[:size]
            _clip(candidate[:size], bounds)
            _propose(candidate[:size], best, model, data, bounds, work, options)
    _shrink(best, model, data, bounds, work, options, (candidate, response))
    if model[0] == HAVRILIAK_NEGAMI and options[0] <= 0:
        _fewer(best, model, data, bounds, work, options)
    _grow(best, model, data, bounds, work, options, (candidate, response, unit))


@entry()
def _allowed(options: Options, series: int, each: int, count: float) -> Options:
    """Options with no more elements than data have room for: as many parameters as data if their number is given.

    Where the criterion chooses, half as many; beyond that it is no guide.
    """
    wanted, limit, most, known = options
    room = int(count) if wanted > 0 else int(count) // 2
    most = min(most, max(room - series, 0) // each)
    if wanted > 0:
        wanted = min(wanted, series + each * most)
    return wanted, limit, most, known


@entry()
def _student(res: Array, weights: Array, spare: float, floor: float, known: bool, share: Array) -> tuple[float, bool]:
    """Write the weights of points by Student's distribution, from residuals that have those of before.

    Returns the largest change of one, and whether another point is an outlier now. The scale of the noise is the most
    likely one, and not below the root of `floor`.
    """
    # (n),(n)->(f)
    points = share.size
    square = np.zeros(points)
    for f in range(points):
        if weights[f] > 0.0:
            square[f] = (res[f] ** 2 + res[points + f] ** 2) / share[f]
    scale = 1.0
    if not known:
        scale = max(np.sum(square) / spare, floor)
        for _ in range(60):
            total = 0.0
            for f in range(points):
                if scale > 0.0:
                    total += (_FREEDOM + 2.0) * square[f] / (_FREEDOM + square[f] / scale)
            before, scale = scale, max(total / spare, floor)
            if abs(scale - before) <= 1e-6 * before:
                break
    moved, other = 0.0, False
    for f in range(points):
        if weights[f] > 0.0 and scale > 0.0:
            away = _FREEDOM + square[f] / scale
            weight = max(min(1.0, _REACH_KNOWN / away) if known else (_FREEDOM + 2.0) / away, 1e-9)
            moved = max(moved, abs(weight - share[f]))
            other = other or (weight < _OUTLYING) != (share[f] < _OUTLYING)
            share[f] = weight
    return moved, other


@inner()
def _reweighted(weights: Array, share: Array, data: Data, state: Array) -> None:
    """Write the weights times the roots of the shares to the data, and the sum of squares of the weighted data."""
    points = share.size
    state[3] = 0.0
    for n in range(weights.size):
        data[2][n] = weights[n] * math.sqrt(share[n % points])
        state[3] += (data[1][n] * data[2][n]) ** 2


@inner()
def _robust(
    weights: Array,
    share: Array,
    best: Best,
    model: Model,
    data: Data,
    bounds: Bounds,
    work: Work,
    given: tuple[Options, Array],
) -> None:
    """Fit with Student's weights until they settle; the elements are looked for again when the outliers are others."""
    options, unit = given
    nothing = np.zeros(0)
    searches = 0
    for _ in range(_ROUNDS):
        state = best[1]
        size = int(state[0])
        spare = max(state[4] - size, 1.0)
        moved, other = _student(best[2], weights, spare, _EXACT * state[3] / state[4], options[3], share)
        _reweighted(weights, share, data, state)
        now = best[0][:size].copy()
        state[0] = 0.0
        if other and searches < _SEARCHES:
            searches += 1
            _search((now, nothing), best, model, data, bounds, work, options, unit)
        else:
            _propose(now, best, model, data, bounds, work, options)
        if moved < _STEADY:
            break


@entry()
def _order(theta: Array, series: int, each: int) -> None:
    """Sort the elements by ln τ, in place."""
    # (p)->(p)
    for a in range(series + each, theta.size, each):
        b = a
        while b > series and theta[b + 1] < theta[b - each + 1]:
            for i in range(each):
                theta[b + i], theta[b - each + i] = theta[b - each + i], theta[b + i]
            b -= each


@entry()
def _occupied(theta: Array, size: int, series: int, each: int) -> int:
    """Leave out the elements without resistance, in place; how many parameters are left."""
    # (p)->(p)
    left = series
    for p in range(series, size, each):
        if theta[p] > 0.0:
            theta[left : left + each] = theta[p : p + each].copy()
            left += each
    return left


@inner(fastmath=_JOINED)
def _variances(res: Array, state: Array, near: Array, weights: Array, spare: float, out: Array) -> None:
    """Variance of each weighted residual: the mean square of those around it, more where neighbours are correlated."""
    # (n),(5),(f,f),(n)->(n)
    points = res.size // 2
    rho = correlation(res)
    factor = 0.5 * state[4] / spare * (1.0 + rho) / (1.0 - rho)
    for f in range(points):
        total, norm = 0.0, 0.0
        for g in range(points):
            total += near[f, g] * (res[g] ** 2 + res[points + g] ** 2)
            norm += near[f, g] if weights[g] > 0.0 else 0.0
        out[f] = factor * total / norm if norm > 0.0 else 0.0
        out[points + f] = out[f]


@inner()
def _next(theta: Array, p: int, series: int, each: int) -> int:
    """First parameter of the element with the next larger ln τ; −1 for the last one. Loops are not in order."""
    # (p)->()
    found = -1
    for q in range(series, theta.size, each):
        after = theta[q + 1] > theta[p + 1] or (theta[q + 1] == theta[p + 1] and q > p)
        if after and (found < 0 or theta[q + 1] < theta[found + 1]):
            found = q
    return found


@inner(fastmath=_JOINED)
def _errors(
    theta: Array,
    best: Best,
    around: tuple[Array, Array],
    model: Model,
    data: Data,
    bounds: Bounds,
    work: Work,
    known: bool,
) -> tuple[Array, Array]:
    """Return standard deviations, and correlations of each resistance with the next one and with its own ln τ.

    With variances from the residuals around each frequency the weights need not be right: (JᵀJ)⁻¹ Jᵀ V J (JᵀJ)⁻¹ (H.
    White, Econometrica 48 (1980) 817, with smoothed squares). Student's weights w fall where a residual grows, so that
    the curvature is not JᵀJ but smaller, on average by Σw² ν / (ν + 2) over Σw. NaN where as many parameters are free
    as there are data, and the noise is not known. `around` are nearness of frequencies (f,f) and w, or nothing.
    """
    # (p)->(p),(c,2)
    near, share = around
    res, state = work[1], best[1]
    size, series, each = theta.size, model[1].shape[0], parameters_of(model[0])
    response = np.zeros((size, res.size))
    spare = state[4] - _responses(size, theta, bounds, work, response)
    deviation = np.full(size, np.nan)
    together = np.full(((size - series) // each, 2), np.nan)
    if spare < 1.0 and not known:
        return deviation, together
    spare = max(spare, 1.0)
    variance = np.empty(res.size)
    if known:
        variance[:] = max(1.0, state[1] / spare)
    else:
        _variances(res, state, near, data[2], spare, variance)
    curvature = 1.0
    if share.size > 0:
        curvature = np.sum(share**2) * _FREEDOM / (_FREEDOM + 2.0) / np.sum(share)
    for p in range(size):
        total = np.sum(response[p] ** 2 * variance)
        if total > 0.0:
            deviation[p] = math.sqrt(total)
    for c in range(len(together)):
        p = series + c * each
        q = _next(theta, p, series, each)
        if q >= 0:
            together[c, 0] = np.sum(response[p] * response[q] * variance) / (deviation[p] * deviation[q])
        together[c, 1] = np.sum(response[p] * response[p + 1] * variance) / (deviation[p] * deviation[p + 1])
    return deviation / curvature, together


@entry()
def deconvolve(
    data: tuple[Array, Array, Array, Array, Array],
    starts: tuple[Array, Ints],
    model: Model,
    bounds: Bounds,
    unit: Array,
    options: Options,
    robust: bool,
    out: tuple[Array, Array, Array, Array],
) -> None:
    """Fit a chain of spectra, each also from what was found for the one before.

    `data` are ln ω (f), impedances (k,n), weights (k,n), `near` (f,f), and weighted residuals of another model, which
    tell the first weights of outliers, or zeros (k,n); `starts` parameters (k,p) and how many there are (k); `bounds`
    lowest and highest parameters (p); `unit` a part to try; `options` the number of parameters or 0 for the information
    criterion, −1 for that without adding elements, the most steps of a fit, the most elements, and whether the weights
    are one over the standard deviations; `robust` whether outliers count less. `out` are parameters (k,p), their
    deviations (k,p), correlations of resistances (k,c,2), all with loops first, and number of parameters, sum of
    squares, ρ and whether the fit has converged (k,4). Parts that end with no resistance are left out. There are never
    more parameters than data.
    """
    x, near = data[0], data[3]
    series, each = _first(model, bounds), parameters_of(model[0])
    rows, most = out[0].shape
    work = (
        np.zeros((most, data[1].shape[1])),
        np.zeros(data[1].shape[1]),
        np.zeros((most, most)),
        np.zeros(most),
        np.zeros((most, most)),
        np.zeros(most),
        np.zeros(most),
        np.zeros(most, np.int64),
    )
    best = (np.zeros(most), np.zeros(5), np.zeros(data[1].shape[1]))
    share = np.ones(x.size)
    before = np.zeros(0)
    for k in range(rows):
        weights = data[2][k]
        one = (x, data[1][k], weights.copy())
        best[1][:] = 0.0
        best[1][4] = np.count_nonzero(weights)
        own_options = _allowed(options, series, each, best[1][4])
        share[:] = 1.0
        if robust:
            _student(data[4][k], weights, best[1][4], 0.0, options[3], share)
        _reweighted(weights, share, one, best[1])
        _search((starts[0][k, : starts[1][k]], before), best, model, one, bounds, work, own_options, unit)
        if robust:
            _robust(weights, share, best, model, one, bounds, work, (own_options, unit))
        size = _occupied(best[0], int(best[1][0]), series, each)
        theta = out[0][k]
        theta[:size] = best[0][:size]
        while True:
            _order(theta[:size], series, each)
            own = (bounds[0][:size], bounds[1][:size])
            best[1][1], converged = fit(theta[:size], model, one, own, work, 3 * options[1])
            left = _occupied(theta, size, series, each)
            if left == size:
                break
            size = left
        theta[size:] = 0.0
        used = share[weights[: x.size] > 0.0] if robust and not options[3] else share[:0]
        deviation, together = _errors(theta[:size], best, (near, used), model, one, own, work, options[3])
        out[1][k, :size] = deviation
        out[2][k, : len(together)] = together
        out[3][k, 0], out[3][k, 1] = size, best[1][1]
        out[3][k, 2], out[3][k, 3] = correlation(work[1]), 1.0 if converged else 0.0
        before = theta[:size].copy()
