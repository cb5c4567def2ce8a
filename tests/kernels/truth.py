"""Textbook formulas and quadrature that the kernels are held against; nothing here uses the kernels."""

import itertools
import math
from functools import cache

import numpy as np
from scipy.integrate import quad

RADIAL = {
    "GAUSSIAN": lambda x: np.exp(-(x**2)),
    "C0_MATERN": lambda x: np.exp(-x),
    "C2_MATERN": lambda x: np.exp(-x) * (1 + x),
    "C4_MATERN": lambda x: np.exp(-x) * (3 + 3 * x + x**2) / 3,
    "C6_MATERN": lambda x: np.exp(-x) * (15 + 15 * x + 6 * x**2 + x**3) / 15,
    "INVERSE_QUADRATIC": lambda x: 1 / (1 + x**2),
    "INVERSE_QUADRIC": lambda x: (1 - (x / 20) ** 2) ** 2 / np.sqrt(1 + x**2),
    "CAUCHY": lambda x: (1 - (x / 10) ** 2) ** 2 / (1 + x),
}
"""φ at x ≥ 0."""

SUPPORT = {"INVERSE_QUADRIC": 20.0, "CAUCHY": 10.0}
NO_ORDER_2 = ("C0_MATERN", "CAUCHY")


def phi(name, x):
    x = np.abs(x)
    return np.where(x < SUPPORT.get(name, np.inf), RADIAL[name](x), 0.0)


def derivative(name, order, x):
    """d-th derivative by x of φ, by Cauchy's integral formula on a circle that no pole of the formulas is in."""
    x = np.asarray(x, dtype=float)
    if order == 0:
        return phi(name, x)
    turn = np.exp(2j * np.pi * np.arange(24) / 24)
    radius = 0.3
    values = RADIAL[name](np.abs(x)[..., None] + radius * turn)
    result = math.factorial(order) / radius**order * np.mean(values * turn ** (-order), axis=-1).real
    inside = np.abs(x) < SUPPORT.get(name, np.inf)
    return np.where(inside, result * np.sign(x) ** order if order == 1 else result, 0.0)


def debye_re(v):
    """Real part of 1/(1 + j e^v)."""
    return 0.5 * (1.0 - math.tanh(v))


def debye_im(v):
    return -0.5 / math.cosh(v) if abs(v) < 700 else 0.0


def over_pieces(function, edges):
    """Adaptive quadrature at tight tolerance, piece by piece; the edges may be infinite."""
    return sum(quad(function, a, b, epsabs=1e-14, epsrel=1e-12, limit=400)[0] for a, b in itertools.pairwise(edges))


@cache
def radial_impedance(name, mu, omega, tau):
    """∫ φ(μ|u|) / (1 + j e^(u + s)) du, s = ln ωτ."""
    s = math.log(omega * tau)
    end = SUPPORT.get(name, math.inf) / mu
    scale = 1.0 / mu
    inner = {0.0, -s, 5.0 - s, -5.0 - s, 20.0 - s, -20.0 - s}
    inner |= {sign * k * scale for sign in (-1, 1) for k in (1, 3, 10, 30, 100)}
    edges = [-end, *sorted(p for p in inner if abs(p) < end), end]

    def value(u):
        return float(RADIAL[name](mu * abs(u))) if mu * abs(u) < 700 or name.startswith("INVERSE") else 0.0

    re = over_pieces(lambda u: value(u) * debye_re(u + s), edges)
    im = over_pieces(lambda u: value(u) * debye_im(u + s), edges)
    return complex(re, im)


def radial_gram(name, order, mu, distance):
    """∫ φ^(d) φ^(d) dy for two centres a distance apart in y, by composite Gauss quadrature in x = μy."""
    t = mu * distance
    reach = SUPPORT.get(name, 60.0)
    lows, highs = (-reach, t - reach), (reach, t + reach)
    edges = np.unique(np.concatenate([np.arange(min(lows), max(highs) + 0.5, 0.5), lows, highs, [0.0, t]]))
    edges = edges[np.concatenate([[True], np.diff(edges) > 1e-12])]

    def product(x):
        return derivative(name, order, x) * derivative(name, order, x - t)

    node, weight = np.polynomial.legendre.leggauss(12)
    half = 0.5 * np.diff(edges)[:, None]
    total = np.sum(half * weight * product(edges[:-1, None] + half * (1.0 + node)))
    if name == "INVERSE_QUADRATIC":
        total += sum(quad(product, a, b, epsabs=1e-13)[0] for a, b in ((-np.inf, edges[0]), (edges[-1], np.inf)))
    return mu ** (2 * order - 1) * total


def hat(tau, m, y):
    """Piecewise linear basis function m at y = ln τ; zero outside the grid."""
    return np.interp(y, np.log(tau), np.eye(tau.size)[m], left=0.0, right=0.0)


def piecewise_impedance(tau, m, omega):
    nodes = np.log(tau)
    low, high = nodes[max(m - 1, 0)], nodes[min(m + 1, tau.size - 1)]
    inner = {nodes[m], -math.log(omega), 5.0 - math.log(omega), -5.0 - math.log(omega)}
    edges = sorted({low, high} | {p for p in inner if low < p < high})
    # The hat is linear between edges, so its value there and not np.interp's rounding at a node's far side is wanted.
    re = over_pieces(lambda y: float(hat(tau, m, y)) * debye_re(y + math.log(omega)), edges)
    im = over_pieces(lambda y: float(hat(tau, m, y)) * debye_im(y + math.log(omega)), edges)
    return complex(re, im)
