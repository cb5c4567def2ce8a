"""Elements against quadrature of their γ, against each other, and against their limits."""

from dataclasses import FrozenInstanceError
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from drt_engine.errors import DRTError, InputError, UnknownNameError
from drt_engine.simulate import (
    RC,
    ZARC,
    Capacitor,
    Circuit,
    FiniteWarburg,
    Gerischer,
    HavriliakNegami,
    Inductor,
    NoDensityError,
    PiecewiseConstant,
    Resistor,
    SemiInfiniteWarburg,
)

TAU = 3e-3
PEAK = 1 / (2 * np.pi * TAU)
FREQUENCY = PEAK * np.array([1e-6, 1e-3, 0.1, 0.7, 1.0, 3.0, 1e2, 1e4, 1e7])

# element, and how fast the integrand decays on either side of the peak, per unit of ln τ
SMOOTH = [
    (ZARC(50, TAU, 0.3), 0.3),
    (ZARC(50, TAU, 0.7), 0.7),
    (ZARC(50, TAU, 0.95), 0.95),
    (ZARC(50, TAU, 0.999), 0.999),
    (HavriliakNegami(50, TAU, 0.8, 0.5), 0.4),
    (HavriliakNegami(50, TAU, 0.6, 1.0), 0.6),
    (HavriliakNegami(50, TAU, 0.5, 2.0), 0.5),
    (HavriliakNegami(50, TAU, 0.7, 1.3), 0.7),
    (HavriliakNegami(50, TAU, 0.98, 0.9), 0.88),
]
# element, and the exponent of its singularity at TAU, where its γ ends
ENDING = [
    (Gerischer(50, TAU), 0.5),
    (HavriliakNegami(50, TAU, 1.0, 0.3), 0.3),
    (HavriliakNegami(50, TAU, 1.0, 0.6), 0.6),
]
BLOCKS = PiecewiseConstant([1e-5, 1e-4, 2e-3, 0.1, 0.3], [20.0, 0.0, 7.5, 40.0])
DIRAC = [
    RC(50, TAU),
    ZARC(50, TAU, 1.0),
    HavriliakNegami(50, TAU, 1.0, 1.0),
    FiniteWarburg(50, TAU),
    FiniteWarburg(50, TAU, "reflective"),
]
CAPACITIVE = [e for e, _ in SMOOTH + ENDING] + [BLOCKS, *DIRAC, SemiInfiniteWarburg(5), Capacitor(1e-3)]


def integrate(function, breaks, epsabs=1e-12):
    """Integral over the pieces between the breaks, to quadrature's best."""
    return sum(quad(function, a, b, epsabs=epsabs, epsrel=1e-13, limit=400)[0] for a, b in pairwise(breaks))


def impedance_of_gamma(density, frequency, breaks, epsabs=1e-12):
    """∫ γ / (1 + jωτ) d ln τ by quadrature; density(y) with y = ln τ, or with any substitution in it."""
    omega = 2 * np.pi * frequency

    def real(y):
        tau, weight = density(y)
        return weight / (1 + (omega * tau) ** 2)

    def imaginary(y):
        tau, weight = density(y)
        return -weight * omega * tau / (1 + (omega * tau) ** 2)

    return integrate(real, breaks, epsabs) + 1j * integrate(imaginary, breaks, epsabs)


def plain(element):
    return lambda y: (np.exp(y), element.gamma(np.exp(y))[0])


def ending(element, exponent):
    """With ln τ = ln TAU - w^k, of which the derivative cancels the singularity at TAU.

    Close to TAU the rounding of τ is not small beside TAU - τ; quadrature must not be driven to dig there.
    """
    k = 1 / (1 - exponent)

    def density(w):
        tau = TAU * np.exp(-(w**k))
        return tau, element.gamma(tau)[0] * k * w ** (k - 1)

    return density


@pytest.mark.slow
@pytest.mark.parametrize(("element", "decay"), SMOOTH, ids=str)
def test_smooth_gamma_makes_the_impedance(element, decay):
    y0, width = np.log(TAU), 45 / decay
    near = 30 * (1 - element.phi)
    for frequency, z in zip(FREQUENCY, element.impedance(FREQUENCY), strict=True):
        corner = -np.log(2 * np.pi * frequency)
        breaks = np.unique([y0 - width, y0 - near, y0, y0 + near, y0 + width, corner])
        assert abs(impedance_of_gamma(plain(element), frequency, breaks) - z) <= 1e-11 * element.r


@pytest.mark.parametrize(("element", "exponent"), ENDING, ids=str)
def test_ending_gamma_makes_the_impedance(element, exponent):
    far = (90 / exponent) ** (1 - exponent)
    breaks = [0, 0.3, 1, *np.linspace(1.5, far, 6)]
    for frequency, z in zip(FREQUENCY, element.impedance(FREQUENCY), strict=True):
        assert abs(impedance_of_gamma(ending(element, exponent), frequency, breaks, 1e-9) - z) <= 1e-10 * element.r


@pytest.mark.parametrize("frequency", [1e-3, 0.5, 30.0, 2e4, 1e8])
def test_piecewise_constant_gamma_makes_the_impedance(frequency):
    # each part to its own size: at 100 MHz the real part is 13 decades below r_pol, and must not be lost
    z, expected = BLOCKS.impedance([frequency])[0], impedance_of_gamma(plain(BLOCKS), frequency, np.log(BLOCKS.edges))
    assert z.real == pytest.approx(expected.real, rel=1e-10, abs=1e-15)
    assert z.imag == pytest.approx(expected.imag, rel=1e-10)


@pytest.mark.parametrize("frequency", [1e-3, 1.0, 1e5])
def test_semi_infinite_warburg_gamma_makes_the_impedance(frequency):
    element = SemiInfiniteWarburg(5)
    corner = -np.log(2 * np.pi * frequency)
    breaks = [corner - 80, corner - 10, corner, corner + 10, corner + 80]
    z = element.impedance([frequency])[0]
    assert abs(impedance_of_gamma(plain(element), frequency, breaks) - z) <= 1e-11 * abs(z)


@pytest.mark.parametrize(("element", "decay"), SMOOTH, ids=str)
def test_area_of_smooth_gamma_is_r_pol(element, decay):
    y0, width, near = np.log(TAU), 45 / decay, 30 * (1 - element.phi)
    breaks = np.unique([y0 - width, y0 - near, y0, y0 + near, y0 + width])
    area = integrate(lambda y: element.gamma(np.exp(y))[0], breaks)
    assert area == pytest.approx(50, rel=1e-11)
    assert element.r_pol == 50


@pytest.mark.parametrize(("element", "exponent"), ENDING, ids=str)
def test_area_of_ending_gamma_is_r_pol(element, exponent):
    density = ending(element, exponent)
    breaks = [0, 0.3, 1, *np.linspace(1.5, (90 / exponent) ** (1 - exponent), 6)]
    assert integrate(lambda w: density(w)[1], breaks, 1e-9) == pytest.approx(50, rel=1e-10)
    assert element.r_pol == 50


def test_area_of_piecewise_constant_gamma_is_r_pol():
    assert BLOCKS.r_pol == pytest.approx(20 * np.log(10) + 7.5 * np.log(50) + 40 * np.log(3), rel=1e-14)
    total = integrate(lambda y: BLOCKS.gamma(np.exp(y))[0], np.log(BLOCKS.edges))
    assert total == pytest.approx(BLOCKS.r_pol, rel=1e-12)


def test_ending_gamma_is_zero_beyond_and_infinite_at_the_end():
    for element, _ in ENDING:
        inside, end, beyond = element.gamma([TAU * (1 - 1e-9), TAU, TAU * (1 + 1e-9)])
        assert 50 < inside < np.inf
        assert end == np.inf
        assert beyond == 0


def test_piecewise_constant_gamma_holds_from_the_lower_edge_to_before_the_upper_one():
    at = [9.9e-6, 1e-5, 9.9e-5, 1e-4, 2e-3, 0.1, 0.29, 0.3, 1.0]
    np.testing.assert_array_equal(BLOCKS.gamma(at), [0, 20, 20, 0, 7.5, 40, 40, 0, 0])


@pytest.mark.parametrize("element", [e for e, _ in SMOOTH], ids=str)
def test_gamma_is_finite_and_not_negative_however_far_from_the_peak(element):
    gamma = element.gamma(np.geomspace(1e-300, 1e300, 601))
    assert np.all(np.isfinite(gamma))
    assert np.all(gamma >= 0)
    assert gamma[0] < 1e-20


@pytest.mark.parametrize("element", CAPACITIVE, ids=str)
def test_impedance_is_capacitive(element):
    z = element.impedance(FREQUENCY)
    assert z.shape == FREQUENCY.shape
    assert z.dtype == complex
    assert np.all(z.imag < 0)
    assert np.all(z.real >= 0)


@pytest.mark.parametrize("element", [e for e, _ in SMOOTH + ENDING] + [BLOCKS, *DIRAC[:4]], ids=str)
def test_impedance_goes_from_r_pol_to_zero(element):
    low, high = element.impedance([1e-180, 1e180 if not isinstance(element, PiecewiseConstant) else 1e100])
    assert low == pytest.approx(element.r_pol, rel=1e-12)
    assert abs(high) < 1e-12 * element.r_pol


def test_reflective_warburg_is_a_capacitor_and_a_third_of_r_at_low_frequency():
    element = FiniteWarburg(60, 2.0, "reflective")
    z = element.impedance([1e-6])[0]
    assert z.real == pytest.approx(20, rel=1e-9)
    assert z.imag == pytest.approx(-1 / (2 * np.pi * 1e-6 * (2.0 / 60)), rel=1e-9)
    assert element.r_pol == pytest.approx(20)


@pytest.mark.parametrize("boundary", ["transmissive", "reflective"])
def test_finite_warburg_is_semi_infinite_at_high_frequency(boundary):
    z = FiniteWarburg(60, 2.0, boundary).impedance([1e4, 1e7])
    # with σ = R / sqrt(2 τ), from 1/sqrt(j) = (1 - j) / sqrt(2)
    np.testing.assert_allclose(z, SemiInfiniteWarburg(60 / np.sqrt(4.0)).impedance([1e4, 1e7]), rtol=1e-12)


@pytest.mark.parametrize("boundary", ["transmissive", "reflective"])
def test_finite_warburg_is_the_sum_of_its_lines(boundary):
    element = FiniteWarburg(60, 2.0, boundary)
    frequency = np.array([1e-3, 0.03, 0.2, 1.0, 10.0])
    tau, r = element.lines(200_000)
    assert np.all(np.diff(tau) > 0)
    z = (r / (1 + 2j * np.pi * frequency[:, None] * tau)).sum(axis=1)
    if boundary == "reflective":
        z += Capacitor(Circuit([element]).capacitance).impedance(frequency)
    # what is left of the series after n terms is 2 R / (n π²), and real
    rest = 2 * 60 / (200_000 * np.pi**2)
    np.testing.assert_allclose(z + rest, element.impedance(frequency), rtol=0, atol=1e-9)
    assert r.sum() + rest == pytest.approx(element.r_pol, rel=1e-9)


def test_fewer_lines_are_those_of_the_largest_relaxation_times():
    element = FiniteWarburg(60, 2.0)
    for few, many in zip(element.lines(3), element.lines(10), strict=True):
        np.testing.assert_array_equal(few, many[-3:])


def test_special_cases_agree():
    rc = RC(50, TAU)
    for element in (ZARC(50, TAU, 1.0), HavriliakNegami(50, TAU, 1.0, 1.0)):
        np.testing.assert_allclose(element.impedance(FREQUENCY), rc.impedance(FREQUENCY), rtol=1e-13, atol=1e-13)
        np.testing.assert_array_equal(element.lines(), rc.lines())
    tau = np.geomspace(1e-9, 1e3, 301)
    zarc, symmetric = ZARC(50, TAU, 0.8), HavriliakNegami(50, TAU, 0.8, 1.0)
    np.testing.assert_allclose(symmetric.impedance(FREQUENCY), zarc.impedance(FREQUENCY), rtol=1e-13)
    np.testing.assert_allclose(symmetric.gamma(tau), zarc.gamma(tau), rtol=1e-11)
    gerischer, davidson = Gerischer(50, TAU), HavriliakNegami(50, TAU, 1.0, 0.5)
    np.testing.assert_allclose(davidson.impedance(FREQUENCY), gerischer.impedance(FREQUENCY), rtol=1e-13)
    inside = tau[tau < TAU]
    np.testing.assert_allclose(gerischer.gamma(inside), 50 / np.pi * np.sqrt(inside / (TAU - inside)), rtol=1e-13)


def test_zarc_peaks_at_its_relaxation_time():
    tau = np.geomspace(TAU / 100, TAU * 100, 2001)
    assert tau[ZARC(50, TAU, 0.85).gamma(tau).argmax()] == pytest.approx(TAU, rel=1e-9)
    # where sin and cos of (1 - φ)π are 1 and 0, γ at the peak is R / 2π
    assert ZARC(50, TAU, 0.5).gamma([TAU])[0] == pytest.approx(50 / (2 * np.pi), rel=1e-14)


def test_lumped_elements_are_what_they_say():
    frequency = np.array([0.1, 10.0])
    np.testing.assert_array_equal(Resistor(10).impedance(frequency), [10, 10])
    assert HavriliakNegami(1, 1, 0.8, 0.5).lines()[0].size == ZARC(1, 1, 0.8).lines()[0].size == 0
    np.testing.assert_allclose(Inductor(1e-6).impedance(frequency), [2e-7j * np.pi, 2e-5j * np.pi])
    np.testing.assert_allclose(Capacitor(0.5).impedance(frequency), [-1j / (0.1 * np.pi), -1j / (10 * np.pi)])
    assert [e.r_pol for e in (Resistor(10), Inductor(1e-6), Capacitor(0.5))] == [0, 0, 0]
    assert Resistor(10).lines()[0].size == 0


@pytest.mark.parametrize("element", [*DIRAC, Resistor(10), Inductor(1e-6), Capacitor(1.0)], ids=str)
def test_no_density_is_an_error_that_says_why(element):
    with pytest.raises(NoDensityError, match=r"Dirac functions\. Take .* lines\(\)|has no relaxation time"):
        element.gamma([1e-3])
    assert issubclass(NoDensityError, InputError)
    assert issubclass(NoDensityError, DRTError)


def test_circuit_adds_up():
    parts = [Resistor(10), Inductor(3e-7), ZARC(50, 1e-3, 0.85), Resistor(2), Gerischer(20, 0.5), Capacitor(4), BLOCKS]
    circuit = Circuit(parts)
    tau = np.geomspace(1e-6, 10, 50)
    np.testing.assert_allclose(circuit.impedance(FREQUENCY), sum(e.impedance(FREQUENCY) for e in parts), rtol=1e-14)
    np.testing.assert_allclose(circuit.gamma(tau), sum(parts[i].gamma(tau) for i in (2, 4, 6)), rtol=1e-14)
    assert circuit.r_pol == pytest.approx(70 + BLOCKS.r_pol)
    assert (circuit.r_inf, circuit.inductance, circuit.capacitance) == (12, 3e-7, 4)


def test_plus_makes_the_same_flat_circuit():
    a, b, c = Resistor(10), ZARC(50, 1e-3, 0.85), RC(5, 1e-5)
    assert a + b + c == a + (b + c) == Circuit([a, Circuit([b, c])]) == Circuit(e for e in (a, b, c))
    assert (a + b).capacitance == np.inf
    assert Circuit([Capacitor(2), Capacitor(2)]).capacitance == 1
    assert (a + SemiInfiniteWarburg(1)).r_pol == np.inf
    np.testing.assert_array_equal(Circuit([a]).gamma([1e-3, 1.0]), [0, 0])


def test_dirac_functions_in_a_circuit_are_refused_or_left_out():
    zarc, rc, warburg = ZARC(50, 1e-3, 0.85), RC(5, 1e-2), FiniteWarburg(30, 1.0)
    circuit = Resistor(1) + zarc + rc + warburg
    with pytest.raises(NoDensityError, match=r'dirac="skip"'):
        circuit.gamma([1e-3])
    np.testing.assert_array_equal(circuit.gamma([1e-3, 2e-3], dirac="skip"), zarc.gamma([1e-3, 2e-3]))
    tau, r = circuit.lines(4)
    np.testing.assert_allclose(tau, np.sort([1e-2, *warburg.lines(4)[0]]))
    assert r[np.flatnonzero(tau == 1e-2)] == [5]
    with pytest.raises(UnknownNameError, match="'raise', 'skip'"):
        circuit.gamma([1e-3], dirac="drop")


def test_elements_are_frozen_and_compare_by_value():
    element = ZARC(50, 1e-3, 0.85)
    with pytest.raises(FrozenInstanceError):
        element.r = 3
    assert element == ZARC(50, 1e-3, 0.85)
    assert len({BLOCKS, PiecewiseConstant(np.array(BLOCKS.edges), BLOCKS.values)}) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Resistor(-1), "r of Resistor must be a finite number in ohm, not negative; got -1"),
        (lambda: Resistor("10"), "r of Resistor"),
        (lambda: Inductor(np.inf), "inductance of Inductor"),
        (lambda: Capacitor(0), "capacitance of Capacitor must be a positive finite number in F; got 0"),
        (lambda: RC(np.nan, 1), "r of RC"),
        (lambda: RC(1, 0.0), "tau of RC must be a positive finite number in s"),
        (lambda: ZARC(1, 1, 0), r"phi of ZARC must be in \(0, 1\]; got 0"),
        (lambda: ZARC(1, 1, 1.01), "phi of ZARC"),
        (lambda: ZARC(1, 1, True), "phi of ZARC"),
        (lambda: HavriliakNegami(1, 1, 1.2, 0.5), "phi of HavriliakNegami"),
        (lambda: HavriliakNegami(1, 1, 0.5, 0), "psi of HavriliakNegami"),
        (lambda: HavriliakNegami(1, 1, 0.8, 1.3), "phi . psi of HavriliakNegami must not be more than 1"),
        (lambda: Gerischer(1, -1), "tau of Gerischer"),
        (lambda: FiniteWarburg(0, 1), "r of FiniteWarburg"),
        (
            lambda: FiniteWarburg(1, 1, "open"),
            "boundary 'open' is not known; expected one of 'transmissive', 'reflective'",
        ),
        (lambda: SemiInfiniteWarburg(0), "sigma of SemiInfiniteWarburg"),
        (lambda: PiecewiseConstant([1, 2], [1, 2]), "got 2 edges and 2 values"),
        (lambda: PiecewiseConstant([1], []), "got 1 edges and 0 values"),
        (lambda: PiecewiseConstant([1, 3, 2], [1, 2]), "edges must ascend"),
        (lambda: PiecewiseConstant([0, 1], [1]), "tau must be positive and finite; got 0 s at index 0"),
        (lambda: PiecewiseConstant([1, 2], [-1]), "values must be finite and not negative"),
        (lambda: Circuit([]), "at least one element"),
        (lambda: Circuit([Resistor(1), 5]), "got 5"),
        (lambda: Resistor(1) + 5, "got 5"),
        (lambda: RC(1, 1).impedance([1, 0]), "frequency must be positive and finite; got 0 Hz at index 1"),
        (lambda: RC(1, 1).impedance([[1, 2]]), r"frequency must have one dimension; got shape \(1, 2\)"),
        (lambda: RC(1, 1).impedance("fast"), "frequency must be numbers in Hz"),
        (lambda: ZARC(1, 1, 0.8).gamma([1, np.nan]), "tau must be positive and finite; got nan s at index 1"),
        (lambda: RC(1, 1).lines(0), "number of lines, must be a positive whole number; got 0"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
