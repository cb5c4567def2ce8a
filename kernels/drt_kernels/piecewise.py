"""Piecewise linear γ(ln τ): impedance, roughness and values of hat functions on any ascending grid.

Axes in the comments: k = spectra, f = frequencies, m, n = relaxation times of the basis, t = those to evaluate at.

The first and the last hat are halves: γ is zero outside the grid. :func:`piecewise_curve` draws a smooth curve through
the values of a γ that is close to an exponential function between them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner

Array = NDArray[np.float64]

# Beyond ln ωτ = ±40 the Debye kernel is 0 or 1 in double precision.
_WINDOW = 40.0
# 20 Gauss-Legendre nodes leave 1e-15 on panels of length 2, which are π/2 from the kernel's nearest poles.
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(20)
_LONGEST_PANEL = 2.0  # of length 4 they would leave 4e-13


@inner(inline="never", _nrt=False)
def _segment(s0: float, s1: float) -> tuple[float, float, float, float]:
    """∫ (1 − p) K and ∫ p K over one segment, p rising from 0 at s0 = ln ωτ_m to 1 at s1, K = 1/(1 + j e^s).

    Left of the window K is 1 and the integrand a polynomial; right of it K is 0.
    """
    length = s1 - s0
    edge = min(max(-_WINDOW - s0, 0.0), length)
    rising_re = 0.5 * edge * edge / length
    falling_re = edge - rising_re
    rising_im = 0.0
    falling_im = 0.0
    stop = min(length, _WINDOW - s0)
    panels = math.ceil(max(stop - edge, 0.0) / _LONGEST_PANEL)
    for k in range(panels):
        half = 0.5 * (stop - edge) / panels
        for q in range(_NODE.size):
            u = edge + half * (2 * k + 1.0 + _NODE[q])
            v = s0 + u
            e = math.exp(-abs(v))
            d = half * _WEIGHT[q] / (1.0 + e * e)
            re = d * e * e if v > 0.0 else d
            im = -d * e
            p = u / length
            falling_re += (1.0 - p) * re
            falling_im += (1.0 - p) * im
            rising_re += p * re
            rising_im += p * im
    return falling_re, falling_im, rising_re, rising_im


@entry()
def piecewise_impedance(omega: Array, tau: Array, out_re: Array, out_im: Array) -> None:
    """Impedance of unit hat functions, ∫ φ_m(y) / (1 + jω e^y) dy.

    `omega` is 2π times the API's frequency, `tau` its tau, ascending; out: ohm per ohm.
    """
    # (f),(m)->(f,m),(f,m)
    for f in range(omega.size):
        for m in range(tau.size):
            out_re[f, m] = out_im[f, m] = 0.0
        for m in range(tau.size - 1):
            falling_re, falling_im, rising_re, rising_im = _segment(
                math.log(omega[f] * tau[m]), math.log(omega[f] * tau[m + 1])
            )
            out_re[f, m] += falling_re
            out_im[f, m] += falling_im
            out_re[f, m + 1] += rising_re
            out_im[f, m + 1] += rising_im


def piecewise_gram(order: int, tau: Array, out: Array) -> None:
    """Roughness matrix of hat functions of y = ln τ, `tau` ascending.

    Orders 0 and 1 are ∫ φ_m^(d) φ_n^(d) dy over the grid. A hat has no square-integrable second derivative; order 2 is
    the sum over inner points of h (Δslope / h)², h the mean of the two spacings beside the point: the integral of the
    squared second difference.
    """
    # (m)->(m,n)
    # Once for a grid: it would take longer to compile.
    out[:] = 0.0
    for m in range(tau.size - 1):
        h = math.log(tau[m + 1] / tau[m])
        diagonal = h / 3.0 if order == 0 else 1.0 / h
        beside = h / 6.0 if order == 0 else -1.0 / h
        if order < 2:
            out[m, m] += diagonal
            out[m + 1, m + 1] += diagonal
            out[m, m + 1] += beside
            out[m + 1, m] += beside
        elif m > 0:
            before = math.log(tau[m] / tau[m - 1])
            mean = 0.5 * (before + h)
            stencil = (1.0 / before, -1.0 / before - 1.0 / h, 1.0 / h)
            for i in range(3):
                for j in range(3):
                    out[m - 1 + i, m - 1 + j] += stencil[i] * stencil[j] / mean


@inner(_nrt=False)
def _interval(tau: Array, at: float) -> int:
    """Between which relaxation times one is: the number of the first; numpy's search takes longer to compile."""
    low, high = 0, tau.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if tau[middle] <= at:
            low = middle
        else:
            high = middle
    return low


def piecewise_values(at: Array, tau: Array, out: Array) -> None:
    """Values of the hat functions on ascending `tau`, at the relaxation times `at`; zero outside the grid."""
    # (t),(m)->(t,m)
    out[:] = 0.0
    t = np.flatnonzero((at >= tau[0]) & (at <= tau[-1]))
    m = np.minimum(tau.searchsorted(at[t], side="right") - 1, tau.size - 2)
    p = np.log(at[t] / tau[m]) / np.log(tau[m + 1] / tau[m])
    out[t, m] = 1.0 - p
    out[t, m + 1] = p


@entry()
def piecewise_curve(values: Array, at: Array, tau: Array, out: Array) -> None:
    """Smooth curve through `values` at ascending `tau`, evaluated at the relaxation times `at`; zero outside the grid.

    Between values of one sign, ln |γ| is a cubic of ln τ with the slopes of :func:`_slopes`; between others γ is a
    straight line. At `tau` itself `values` come back as they are. A row with a NaN is NaN throughout.
    """
    # (k,m),(t),(m)->(k,t)
    size = tau.size
    step = np.empty(size - 1)
    for m in range(size - 1):
        step[m] = math.log(tau[m + 1] / tau[m])
    first = np.empty(at.size, dtype=np.int64)
    part = np.empty(at.size)
    for t in range(at.size):
        m = _interval(tau, at[t])
        first[t] = m if tau[0] <= at[t] <= tau[-1] else -1
        part[t] = 1.0 if at[t] == tau[-1] else math.log(at[t] / tau[m]) / step[m]
    logs, slope, secant = np.empty(size), np.empty(size), np.empty(size - 1)
    for k in range(values.shape[0]):
        unknown = False
        for m in range(size):
            unknown = unknown or math.isnan(values[k, m])
            logs[m] = math.log(abs(values[k, m])) if values[k, m] != 0.0 else 0.0
        _slopes(values[k], logs, step, secant, slope)
        for t in range(at.size):
            m, p = first[t], part[t]
            if unknown:
                out[k, t] = math.nan
            elif m < 0:
                out[k, t] = 0.0
            elif p == 0.0 or p == 1.0:  # noqa: PLR1714 - as numba compiles it
                out[k, t] = values[k, m + int(p)]
            elif math.isnan(secant[m]):
                out[k, t] = (1.0 - p) * values[k, m] + p * values[k, m + 1]
            else:
                q = 1.0 - p
                beyond_chord = step[m] * p * q * (q * (slope[m] - secant[m]) - p * (slope[m + 1] - secant[m]))
                size_at = math.exp(q * logs[m] + p * logs[m + 1] + beyond_chord)
                out[k, t] = size_at if values[k, m] > 0.0 else -size_at


@inner(_nrt=False)
def _slopes(values: Array, logs: Array, step: Array, secant: Array, slope: Array) -> None:
    """Slopes of ln |γ| at the values, so that cubics between them have no maximum or minimum of their own.

    They are those of the parabola through three neighbours, by which a maximum may lie beside its value. Where the
    curve has to rise or to fall from one value to the next, slopes are at most three times that of the straight line,
    which suffices [F. N. Fritsch, R. E. Carlson, SIAM J. Numer. Anal. 17 (1980) 238]. `secant` is NaN where the ends of
    an interval have not one sign.
    """
    # (m),(m),(m-1),(m-1),(m)
    size = values.size
    for m in range(size - 1):
        one_sign = (values[m] > 0.0 and values[m + 1] > 0.0) or (values[m] < 0.0 and values[m + 1] < 0.0)
        secant[m] = (logs[m + 1] - logs[m]) / step[m] if one_sign else math.nan
    for m in range(size):
        before = secant[m - 1] if m > 0 else math.nan
        after = secant[m] if m < size - 1 else math.nan
        if math.isnan(before):
            slope[m] = after
        elif math.isnan(after):
            slope[m] = before
        else:
            slope[m] = (before * step[m] + after * step[m - 1]) / (step[m - 1] + step[m])
    # Whether the maximum or minimum of an interval is inside; looked up before slopes change.
    turned = slope[0] * slope[1] < 0.0
    for m in range(1, size - 1):
        turns = slope[m] * slope[m + 1] < 0.0
        if secant[m - 1] * secant[m] >= 0.0:
            most = math.inf
            if not turned:
                most = 3.0 * abs(secant[m - 1])
            if not turns:
                most = min(most, 3.0 * abs(secant[m]))
            slope[m] = min(max(slope[m], -most), most)
        turned = turns
