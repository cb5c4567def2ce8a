"""Radial basis functions of ln τ: their impedance, roughness and values.

Axes in the comments: f = frequencies, m, n = relaxation times of the basis, t = relaxation times to evaluate at.

All functions are written in the scaled distance x = μ |y − y_m|, y = ln τ. They follow Wan, Saccoccio, Chen and Ciucci,
Electrochim. Acta 184 (2015) 483. Two of them, the inverse quadric and the Cauchy function, are not integrable over the
line; they are multiplied by (1 − (x/X)²)², which vanishes with its slope at x = X, and are zero beyond.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner
from drt_kernels.kinds import Radial

Array = NDArray[np.float64]

SUPPORT = (math.inf, math.inf, math.inf, math.inf, math.inf, math.inf, 20.0, 10.0)
"""X of each function: where it ends, in x."""

# Where a function has fallen below 1e-18 of its maximum, in x. The inverse quadratic never does: its impedance is cut
# by the window of the Debye kernel instead, and 1e6 leaves 1e-18 of its roughness.
_REACH = (6.5, 42.0, 47.0, 52.0, 56.0, 1e6, 20.0, 10.0)

# Beyond ln ωτ = ±40 the Debye kernel is 0 or 1 in double precision.
_WINDOW = 40.0

# Smaller values are set to zero: products with them may fall below 1e-308, where processors compute ten times slower.
_NEGLIGIBLE = 1e-200

# 20 Gauss-Legendre nodes leave 1e-16 on panels as long as their distance from the nearest pole: ±iπ/2 of the Debye
# kernel, ±i/μ of the inverse quadratic and quadric.
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(20)
# On panels of this length the Debye kernel is integrated to 1e-15, on those of 4 to 4e-13.
_LONGEST_PANEL = 2.0


@inner(inline="never")
def _tapered(kind: int, order: int, x: float) -> float:
    """d-th derivative of the inverse quadric or the Cauchy function times its taper."""
    if kind == Radial.CAUCHY:
        q0 = 1.0 / (1.0 + x)
        q1 = -q0 * q0
        q2 = 2.0 * q0 * q0 * q0
    else:
        q0 = 1.0 / math.sqrt(1.0 + x * x)
        q1 = -x * q0**3
        q2 = (2.0 * x * x - 1.0) * q0**5
    a = 1.0 / SUPPORT[kind] ** 2
    w = 1.0 - a * x * x
    if w <= 0.0:
        return 0.0
    if order == 0:
        return q0 * w * w
    if order == 1:
        return q1 * w * w - 4.0 * a * x * q0 * w
    return q2 * w * w - 8.0 * a * x * q1 * w + (8.0 * a * a * x * x - 4.0 * a * w) * q0


@inner(inline="never")
def _phi(kind: int, order: int, x: float) -> float:  # noqa: C901, PLR0911 - a table, one row a function
    """d-th derivative by x of the function, d = 0, 1, 2, at x ≥ 0."""
    if kind == Radial.GAUSSIAN:
        e = math.exp(-x * x)
        if order == 0:
            return e
        return -2.0 * x * e if order == 1 else (4.0 * x * x - 2.0) * e
    if kind == Radial.INVERSE_QUADRATIC:
        q = 1.0 / (1.0 + x * x)
        if order == 0:
            return q
        return -2.0 * x * q * q if order == 1 else (6.0 * x * x - 2.0) * q**3
    if kind >= Radial.INVERSE_QUADRIC:
        return _tapered(kind, order, x)
    e = math.exp(-x)
    if kind == Radial.C0_MATERN:
        return e if order == 0 else -e
    if kind == Radial.C2_MATERN:
        if order == 0:
            return (1.0 + x) * e
        return -x * e if order == 1 else (x - 1.0) * e
    if kind == Radial.C4_MATERN:
        if order == 0:
            return (3.0 + x * (3.0 + x)) / 3.0 * e
        return -x * (1.0 + x) / 3.0 * e if order == 1 else (x * (x - 1.0) - 1.0) / 3.0 * e
    if order == 0:
        return (15.0 + x * (15.0 + x * (6.0 + x))) / 15.0 * e
    return -x * (3.0 + x * (3.0 + x)) / 15.0 * e if order == 1 else (x * (x * x - 3.0) - 3.0) / 15.0 * e


@inner(inline="never")
def _tapered_antiderivative(kind: int, x: float) -> float:
    a = 1.0 / SUPPORT[kind] ** 2
    if kind == Radial.CAUCHY:
        square = x * (0.5 * x - 1.0)
        fourth = x * (x * (x * (0.25 * x - 1.0 / 3.0) + 0.5) - 1.0)
        return (1.0 - a) ** 2 * math.log1p(x) - 2.0 * a * square + a * a * fourth
    root = math.sqrt(1.0 + x * x)
    zeroth = math.asinh(x)
    square = 0.5 * (x * root - zeroth)
    fourth = 0.25 * x**3 * root - 0.75 * square
    return zeroth - 2.0 * a * square + a * a * fourth


@entry()
def tail(kind: int, x: float) -> float:
    """Integral of the function from x ≥ 0 to infinity, by x; twice that from 0 is its area."""
    if kind == Radial.GAUSSIAN:
        return 0.5 * math.sqrt(math.pi) * math.erfc(x)
    if kind == Radial.INVERSE_QUADRATIC:
        return math.atan2(1.0, x)
    if kind >= Radial.INVERSE_QUADRIC:
        if x >= SUPPORT[kind]:
            return 0.0
        return _tapered_antiderivative(kind, SUPPORT[kind]) - _tapered_antiderivative(kind, x)
    e = math.exp(-x)
    if kind == Radial.C0_MATERN:
        return e
    if kind == Radial.C2_MATERN:
        return (2.0 + x) * e
    if kind == Radial.C4_MATERN:
        return (8.0 + x * (5.0 + x)) / 3.0 * e
    return (48.0 + x * (33.0 + x * (9.0 + x))) / 15.0 * e


@inner(inline="never")
def _debye_entry(kind: int, mu: float, s: float) -> tuple[float, float]:
    """∫ φ(μ|u|) / (1 + j e^(u + s)) du, real and imaginary part; s = ln ωτ_m.

    Left of the window the kernel is 1 and the integral a tail in closed form; right of it, it is 0. In between, panels
    that double in length with the distance from the centre of the function, where it varies fastest.
    """
    low = -_WINDOW - s
    high = _WINDOW - s
    left = tail(kind, abs(low) * mu) / mu
    re = left if low <= 0.0 else 2.0 * tail(kind, 0.0) / mu - left
    im = 0.0
    reach = _REACH[kind] / mu
    for side in (-1.0, 1.0):
        start = max(0.0, low if side > 0 else -high)
        stop = min(reach, high if side > 0 else -low)
        r = start
        while r < stop:
            length = min(max(r, 1.0 / mu), _LONGEST_PANEL, stop - r)
            half = 0.5 * length
            for q in range(_NODE.size):
                u = r + half * (1.0 + _NODE[q])
                v = side * u + s
                e = math.exp(-abs(v))
                d = half * _WEIGHT[q] * _phi(kind, 0, mu * u) / (1.0 + e * e)
                re += d * e * e if v > 0.0 else d
                im -= d * e
            r += length
            if stop - r < 1e-12 * length:
                break
    return re, im


@entry()
def radial_impedance(kind: int, mu: float, omega: Array, tau: Array, out_re: Array, out_im: Array) -> None:
    """Impedance of unit basis functions, ∫ φ(μ|y − ln τ_m|) / (1 + jω e^y) dy.

    `omega` is 2π times the API's frequency, `tau` its tau; out: ohm per ohm.
    """
    # (f),(m)->(f,m),(f,m)
    for f in range(omega.size):
        for m in range(tau.size):
            out_re[f, m], out_im[f, m] = _debye_entry(kind, mu, math.log(omega[f] * tau[m]))


@inner(inline="never")
def _overlap(kind: int, order: int, t: float) -> float:
    """∫ φ^(d)(x) φ^(d)(x − t) dx over the line, for t ≥ 0.

    The integrand is symmetric about t/2, so it is twice the part right of it: from t/2 to the second centre at t, then
    beyond; both in panels that double with the distance from t.
    """
    reach = _REACH[kind]
    sign = -1.0 if order == 1 else 1.0
    total = 0.0
    for side in (-1.0, 1.0):
        r = max(0.0, t - reach) if side < 0 else 0.0
        stop = 0.5 * t if side < 0 else reach - (t if reach < 1e6 else 0.0)
        while r < stop:
            length = min(max(r, 1.0), stop - r)
            half = 0.5 * length
            for q in range(_NODE.size):
                w = r + half * (1.0 + _NODE[q])
                product = _phi(kind, order, w) * _phi(kind, order, t + side * w)
                total += half * _WEIGHT[q] * (product if side > 0 else sign * product)
            r += length
            if stop - r < 1e-12 * length:
                break
    return 2.0 * total


@entry()
def radial_gram(kind: int, order: int, mu: float, tau: Array, out: Array) -> None:
    """Roughness matrix ∫ φ_m^(d) φ_n^(d) dy, derivatives by y = ln τ, over the line."""
    # (m)->(m,n)
    scale = mu ** (2 * order - 1)
    for m in range(tau.size):
        for n in range(m + 1):
            out[m, n] = scale * _overlap(kind, order, mu * abs(math.log(tau[m] / tau[n])))
            out[n, m] = out[m, n]


@entry()
def radial_values(kind: int, mu: float, at: Array, tau: Array, out: Array) -> None:
    """Values of the functions centred at `tau`, at the relaxation times `at`."""
    # (t),(m)->(t,m)
    for t in range(at.size):
        for m in range(tau.size):
            value = _phi(kind, 0, mu * abs(math.log(at[t] / tau[m])))
            out[t, m] = value if value > _NEGLIGIBLE else 0.0
