"""Scenarios that were written down before anything was run on them, to see how far figures elsewhere were luck.

``FRESH`` was chosen by hand: one to five processes of several kinds, windows of five to eight decades, 5 to 20
frequencies a decade, noise from 0.05 to 1 %, constant or in proportion to |Z|, resistances from mΩ to kΩ. ``FRESH_2``
was drawn at random from the population that :func:`drawn` describes, so that nobody chose it. A set is fresh only
until something was changed because of it.
"""

from dataclasses import dataclass

import numpy as np
from scenarios import Scenario, normal

from drt_engine.simulate import ZARC, Element, HavriliakNegami, Inductor, Resistor

__all__ = ["FRESH", "FRESH_2", "FRESH_3", "FractalWarburg", "drawn"]

Array = np.ndarray


@dataclass(frozen=True)
class FractalWarburg(Element):
    r"""Finite-length Warburg element with an exponent below ½, whose γ is a density.

    .. math:: Z = R \frac{\tanh w}{w}, \; w = (j\omega\tau_0)^p, \quad
        \gamma = -\frac{R}{\pi} \operatorname{Im} \frac{\tanh v}{v}, \; v = (\tau_0/\tau)^p e^{j\pi p}

    γ is the jump of Z over its cut, ω = j/τ [1]_. With p = ½ the poles of tanh lie on the cut.

    Parameters
    ----------
    r : float
        Resistance, ohm.
    tau : float
        Diffusion time τ₀, s.
    p : float
        Exponent, between 0 and ½.

    References
    ----------
    .. [1] R. M. Fuoss, J. G. Kirkwood, J. Am. Chem. Soc. 63 (1941) 385.
    """

    r: float
    tau: float
    p: float

    def impedance(self, frequency: Array) -> Array:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given."""
        w = (2j * np.pi * np.asarray(frequency) * self.tau) ** self.p
        return self.r * np.tanh(w) / w

    def gamma(self, tau: Array) -> Array:
        """γ, ohm, shape (T,), at the relaxation times (s) given."""
        v = (self.tau / np.asarray(tau)) ** self.p * np.exp(1j * np.pi * self.p)
        return -self.r / np.pi * (np.tanh(v) / v).imag

    @property
    def r_pol(self) -> float:
        """Polarisation resistance, ohm."""
        return self.r


def _cell(r_inf: float, *elements: Element, inductance: float = 0.0) -> tuple[Element, ...]:
    return (Resistor(r_inf), *elements, *((Inductor(inductance),) if inductance else ()))


def _scenario(name: str, elements: tuple[Element, ...], noise: float, *window: float, **others: bool) -> Scenario:
    return Scenario(name, elements, noise, window[0], window[1], int(window[2]), **others)


FRESH = (
    _scenario("milliohm", _cell(0.015, ZARC(0.02, 5e-3, 0.82)), 0.002, 5e4, 5e-2, 8),
    _scenario("sparse", _cell(20, ZARC(120, 0.4, 0.7)), 0.005, 1e4, 1e-2, 5),
    _scenario("two_apart", _cell(50, ZARC(300, 2e-5, 0.88), ZARC(150, 0.03, 0.78)), 0.003, 2e6, 0.1, 7),
    _scenario("two_near", _cell(5, ZARC(25, 4e-3, 0.92), ZARC(25, 3.2e-2, 0.92)), 0.002, 1e4, 1e-2, 10),
    _scenario(
        "three_zarc", _cell(8, ZARC(12, 2e-5, 0.8), ZARC(20, 1.5e-3, 0.9), ZARC(6, 0.2, 0.9)), 0.001, 3e5, 3e-2, 10
    ),
    _scenario(
        "five_zarc",
        _cell(
            *(3, ZARC(5, 1e-6, 0.95), ZARC(10, 3e-5, 0.9), ZARC(15, 1e-3, 0.85), ZARC(20, 4e-2, 0.85), ZARC(10, 3, 0.9))
        ),
        *(0.001, 5e6, 2e-2, 12),
    ),
    _scenario("one_hn", _cell(2, HavriliakNegami(80, 0.01, 0.85, 0.55)), 0.002, 1e5, 1e-2, 10),
    _scenario("hn_zarc", _cell(10, HavriliakNegami(40, 1e-3, 0.92, 0.7), ZARC(30, 0.5, 0.8)), 0.005, 1e6, 1e-2, 6),
    _scenario("one_normal", _cell(10, normal(60, 0.02, 0.9)), 0.002, 1e4, 1e-2, 10),
    _scenario(
        "three_normal",
        _cell(10, normal(20, 1e-5, 0.7), normal(30, 1e-3, 1.0), normal(40, 0.2, 1.2)),
        0.003,
        1e6,
        1e-2,
        10,
    ),
    _scenario("warburg", _cell(10, ZARC(20, 1e-3, 0.85), FractalWarburg(50, 5, 0.45)), 0.002, 1e5, 1e-2, 10),
    _scenario("one_percent", _cell(15, ZARC(70, 2e-4, 0.85), ZARC(50, 0.08, 0.8)), 0.01, 1e5, 1e-2, 10),
    _scenario(
        "share_high",
        _cell(1, ZARC(4, 3e-5, 0.9), ZARC(7, 5e-3, 0.8), ZARC(10, 1.5, 0.85), inductance=3e-7),
        *(0.005, 1e6, 1e-2, 10),
        proportional=True,
    ),
    _scenario(
        "share_low",
        _cell(20, ZARC(8, 1e-5, 0.85), HavriliakNegami(60, 0.05, 0.9, 0.75), inductance=1e-6),
        *(0.001, 1e6, 1e-2, 8),
        proportional=True,
    ),
    _scenario("dense", _cell(10, ZARC(30, 1e-3, 0.8), ZARC(60, 0.3, 0.85)), 0.0005, 1e5, 1e-3, 20),
    _scenario("beyond", _cell(1000, ZARC(2000, 1e-3, 0.85), ZARC(5000, 30, 0.85)), 0.003, 1e5, 1e-2, 10),
)
"""Written down before anything was run on them. In ``beyond`` a maximum lies beyond the window."""


def drawn(number: int, seed: int, name: str = "drawn") -> tuple[Scenario, ...]:
    """Draw scenarios at random.

    Windows start at 10⁴ to 10⁷ Hz and are five to eight decades wide, with 6 to 15 frequencies a decade. One to four
    processes have relaxation times anywhere in the window but its outer thirds of a decade, and resistances within a
    factor of ten; three in five are ZARC with φ from 0.65 to 0.97, one in five Havriliak-Negami, one in five normal
    distributions of ln τ. Noise is 0.05 to 1 %, in proportion to |Z| in a third of cases. Two in five have an
    inductance, which makes up to half of the size of the spectrum at the highest frequency.

    Parameters
    ----------
    number : int
        How many.
    seed : int
        Of the random numbers.
    name : str
        What they are called, before a number.
    """
    return tuple(_one(f"{name}_{k:02d}", np.random.default_rng([seed, k])) for k in range(number))


def _one(name: str, rng: np.random.Generator) -> Scenario:
    highest = 10.0 ** rng.integers(4, 8)
    decades = int(rng.integers(5, 9))
    fastest, slowest = 10**0.333 / (2e0 * np.pi * highest), 10 ** (decades - 0.333) / (2.0 * np.pi * highest)
    elements: list[Element] = [Resistor(float(rng.uniform(2, 50)))]
    for _ in range(rng.integers(1, 5)):
        r, tau = 10 ** rng.uniform(0.7, 1.7), float(np.exp(rng.uniform(np.log(fastest), np.log(slowest))))
        kind = rng.choice(3, p=[0.6, 0.2, 0.2])
        if kind == 0:
            elements.append(ZARC(r, tau, rng.uniform(0.65, 0.97)))
        elif kind == 1:
            elements.append(HavriliakNegami(r, tau, rng.uniform(0.75, 0.95), rng.uniform(0.5, 1.0)))
        else:
            elements.append(normal(r, tau, rng.uniform(0.6, 1.6)))
    total = sum(one.r_pol for one in elements)
    if rng.random() < 0.4:
        elements.append(Inductor(total * rng.uniform(0.05, 0.5) / (2.0 * np.pi * highest)))
    noise, proportional = 10 ** rng.uniform(np.log10(5e-4), -2), bool(rng.random() < 1 / 3)
    per_decade = int(rng.integers(6, 16))
    return Scenario(
        name,
        tuple(elements),
        float(noise),
        highest,
        highest / 10.0**decades,
        per_decade,
        proportional=proportional,
    )


FRESH_2 = drawn(24, 20261123)
"""Drawn before the figures of ``FRESH`` were known."""

FRESH_3 = drawn(24, 20261128, "third")
"""Drawn from the same population after the width of bands had been settled with all others in view."""
