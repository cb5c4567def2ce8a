"""The scenarios of the accuracy benchmark: their impedance is that of their γ, and the ten are those of the task."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def _lists():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("scenarios"), importlib.import_module("fresh")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("scenarios", "fresh"):
            sys.modules.pop(name, None)


SCENARIOS, NEW = _lists()
ALL = (*SCENARIOS.TASK, *SCENARIOS.DEVELOPMENT, *SCENARIOS.HELD_OUT, *NEW.FRESH, *NEW.FRESH_2, *NEW.FRESH_3)


def zarc(omega, r, tau, phi):
    return r / (1 + (1j * omega * tau) ** phi)


def plateau(omega, r, low, high):
    return r + r / np.log(high / low) * np.log((1 + 1j * omega * low) / (1 + 1j * omega * high))


def two_zarc(omega):
    return 10 + zarc(omega, 50, 1e-3, 0.85) + zarc(omega, 50, 1, 0.85)


# Written from the task's own list: impedance, R_pol, noise, highest and lowest frequency, frequencies a decade.
TEN = {
    "zarc1_lo": (lambda w: 10 + zarc(w, 50, 0.1, 0.8), 50, 0.001, 1e4, 1e-3, 10),
    "zarc1_hi": (lambda w: 10 + zarc(w, 50, 0.1, 0.8), 50, 0.01, 1e4, 1e-3, 10),
    "zarc2_sep": (two_zarc, 100, 0.005, 1e5, 1e-3, 10),
    "zarc2_over": (lambda w: 10 + zarc(w, 50, 1e-2, 0.85) + zarc(w, 50, 0.15, 0.85), 100, 0.002, 1e5, 1e-3, 10),
    "zarc2_small": (lambda w: 10 + zarc(w, 10, 1e-4, 0.9) + zarc(w, 90, 0.1, 0.8), 100, 0.002, 1e6, 1e-3, 10),
    "hn": (lambda w: 5 + 50 / (1 + (0.1j * w) ** 0.9) ** 0.6, 50, 0.003, 1e5, 1e-3, 10),
    "pwc": (lambda w: 10 + plateau(w, 50, 1e-2, 1.0), 50, 0.003, 1e4, 1e-3, 10),
    "near_rc": (lambda w: 10 + zarc(w, 30, 1e-4, 0.98) + zarc(w, 30, 0.1, 0.98), 60, 0.002, 1e6, 1e-2, 10),
    "battery": (
        lambda w: (
            5
            + 2e-8j * w
            + zarc(w, 8, 2e-6, 0.95)
            + zarc(w, 15, 2e-4, 0.85)
            + zarc(w, 30, 1e-2, 0.8)
            + zarc(w, 20, 2, 0.9)
        ),
        *(73, 0.002, 1e6, 1e-2, 8),
    ),
    "outliers": (two_zarc, 100, 0.002, 1e5, 1e-3, 10),
}


def test_there_are_ten():
    assert [one.name for one in SCENARIOS.TASK] == list(TEN)


def test_no_two_scenarios_have_one_name():
    assert len({one.name for one in ALL}) == len(ALL) == 10 + 13 + 12 + 16 + 24 + 24


@pytest.mark.parametrize("one", SCENARIOS.TASK, ids=lambda one: one.name)
def test_the_ten_are_those_of_the_task(one):
    exact, r_pol, noise, highest, lowest, per_decade = TEN[one.name]
    count = round(np.log10(highest / lowest)) * per_decade + 1
    np.testing.assert_allclose(one.frequency, np.logspace(np.log10(highest), np.log10(lowest), count), rtol=1e-12)
    z = exact(2 * np.pi * one.frequency)
    np.testing.assert_allclose(one.circuit.impedance(one.frequency), z, rtol=1e-10)
    assert one.circuit.r_pol == pytest.approx(r_pol, rel=1e-12)
    moved = (one.spectra(range(300)).impedance - z) / r_pol
    far = np.abs(moved) > 0.05
    np.testing.assert_array_equal(far.sum(axis=1), 3 if one.name == "outliers" else 0)
    near = moved[~far]
    # 300 draws of 61 points or more: the deviation is known to 0.5 %.
    assert np.std(near.real) == pytest.approx(noise, rel=0.02)
    assert np.std(near.imag) == pytest.approx(noise, rel=0.02)
    assert abs(np.mean(near)) < 5 * noise / np.sqrt(near.size)
    assert abs(np.mean(near.real * near.imag)) < 5 * noise**2 / np.sqrt(near.size)
    if far.any():
        assert np.mean(np.abs(moved[far])) == pytest.approx(0.1, rel=0.01)
        assert abs(np.mean(moved[far] / np.abs(moved[far]))) < 0.15


def features(one):
    """Values of ln τ around which γ has a narrow peak or an edge."""
    found = []
    for element in one.elements:
        found += [np.log(element.tau)] if hasattr(element, "tau") else []
        found += list(np.log(element.edges)) if hasattr(element, "edges") else []
        found += [element.low, 0.5 * (element.low + element.high), element.high] if hasattr(element, "low") else []
    return sorted(found)


def adaptive(function, edges, tolerance):
    """Integrals and a bound of their error: intervals are halved until both halves have as much as the whole.

    All intervals of a round are evaluated at once, which takes a tenth of the time of one value after the other.
    """
    node, weight = np.polynomial.legendre.leggauss(16)

    def gauss(low, high):
        half = 0.5 * (high - low)[:, None]
        values = function((low[:, None] + half * (1.0 + node)).ravel())
        return np.sum((half * weight)[..., None] * values.reshape(*half.shape[:1], node.size, -1), axis=1)

    edges = np.unique(edges)
    low, high = edges[:-1], edges[1:]
    whole, found, error = gauss(low, high), 0.0, 0.0
    while low.size:
        middle = 0.5 * (low + high)
        both = gauss(low, middle), gauss(middle, high)
        off = np.abs(sum(both) - whole).max(axis=1)
        found, error = found + sum(both)[off <= tolerance].sum(axis=0), error + off[off <= tolerance].sum()
        more = off > tolerance
        assert not (high - low)[more].min(initial=np.inf) < 1e-14
        low, high = np.concatenate([low[more], middle[more]]), np.concatenate([middle[more], high[more]])
        whole = np.concatenate([one[more] for one in both])
    return found, error


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_the_impedance_is_that_of_the_gamma(one):
    frequency = one.frequency[[0, one.frequency.size // 3, 2 * one.frequency.size // 3, -1]]
    omega = 2 * np.pi * frequency

    def integrand(y):
        # A maximum at an edge is infinite but integrable; the edge itself does not count.
        gamma = one.circuit.gamma(np.exp(y), dirac="raise")
        kernel = np.column_stack([1 / (1 + 1j * np.outer(np.exp(y), omega)), np.ones(y.size)])
        return np.nan_to_num(gamma, posinf=0.0)[:, None] * kernel

    edges = [-70.0, *(side + step for side in features(one) for step in (-0.3, 0.0, 0.3)), 60.0]
    found, error = adaptive(integrand, edges, 1e-7 * one.circuit.r_pol)
    assert error < 1e-5 * one.circuit.r_pol
    series = one.circuit.r_inf + 1j * omega * one.circuit.inductance
    z = one.circuit.impedance(frequency) - series
    np.testing.assert_allclose(found[:-1], z, atol=2e-6 * one.circuit.r_pol)
    assert found[-1].real == pytest.approx(one.circuit.r_pol, rel=2e-6)


def test_gamma_is_compared_from_one_end_of_the_data_to_the_other():
    for one in ALL:
        assert one.tau.size == 801
        np.testing.assert_allclose(one.tau[[0, -1]] * 2 * np.pi * one.frequency[[0, -1]], 1.0, rtol=1e-12)
        assert np.ptp(np.diff(np.log(one.tau))) < 1e-10
        np.testing.assert_array_equal(one.gamma, one.circuit.gamma(one.tau))


def test_the_distance_is_that_of_the_definition():
    # A triangle on y from 0 to 2 beside one moved by a: the areas that differ have closed forms.
    y = np.linspace(-3, 5, 80001)
    tau = np.exp(y)

    def tent(middle):
        return np.maximum(1 - np.abs(y - middle), 0.0)

    half = 0.5
    # Each side: what is under one triangle and not under the other; they share a smaller one of height 1 - a/2.
    shared = (1 - half / 2) ** 2
    found = SCENARIOS.distance(np.array([tent(1 + half), tent(1), np.zeros(y.size), 3 * tent(1)]), tent(1), tau)
    np.testing.assert_allclose(found, [2 * (1 - shared), 0.0, 1.0, 2.0], atol=1e-6)


def test_noise_in_proportion_is_in_proportion():
    one = next(one for one in NEW.FRESH if one.name == "share_high")
    exact = one.circuit.impedance(one.frequency)
    share = (one.spectra(range(600)).impedance - exact) / np.abs(exact)
    np.testing.assert_allclose(np.std(share.real, axis=0), 0.005, rtol=0.15)
    np.testing.assert_allclose(np.std(share.imag, axis=0), 0.005, rtol=0.15)


def test_scenarios_of_as_many_frequencies_have_noise_of_their_own():
    first, second = (one for one in SCENARIOS.TASK if one.name in ("zarc1_lo", "zarc1_hi"))
    noise = [
        (one.spectra([1]).impedance[0] - one.circuit.impedance(one.frequency)) / one.noise for one in (first, second)
    ]
    assert abs(np.corrcoef(noise[0].real, noise[1].real)[0, 1]) < 0.5


def test_drawn_scenarios_do_not_depend_on_how_many():
    assert [repr(one.elements[1:2]) for one in NEW.drawn(3, 1)] == [repr(one.elements[1:2]) for one in NEW.drawn(5, 1)][
        :3
    ]
    assert NEW.drawn(3, 1)[0].noise != NEW.drawn(3, 2)[0].noise


def test_what_is_drawn_is_within_the_population_that_is_described():
    for one in NEW.drawn(60, 3):
        assert 1e4 <= one.highest <= 1e7
        assert 4.99 < np.log10(one.highest / one.lowest) < 8.01
        assert 5e-4 <= one.noise <= 1e-2
        times = [element.tau for element in one.elements if hasattr(element, "tau")]
        assert all(one.tau[0] < tau < one.tau[-1] for tau in times)


def test_a_fractal_warburg_element_is_a_density():
    for p in (0.3, 0.45, 0.49):
        gamma = NEW.FractalWarburg(50, 5, p).gamma(np.geomspace(1e-12, 1e8, 4001))
        assert np.all(gamma > 0)


def test_numbers_of_maxima():
    assert [one.peaks for one in SCENARIOS.TASK] == [1, 1, 2, 2, 2, 1, None, 2, 4, 2]
    assert [one.peaks for one in SCENARIOS.DEVELOPMENT] == [1, 1, 3, 2, 1, None, 2, 2, 1, 3, 2, 3, 2]
