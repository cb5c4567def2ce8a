"""The transmission line against a ladder of cells, its limits, its γ, and time stepping."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import expm, solve

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.simulate import Capacitor, ConstantPhase, NoDensityError, SemiInfiniteWarburg, TransmissionLine

R_I, R_E, Q = 360.0, 107.0, 2e-3
CASES = [(c, phi, r_ct) for c in ("ee", "ii", "ie") for phi, r_ct in ((0.85, np.inf), (1.0, np.inf), (0.7, 80.0))]
CELLS = 150


def conductance(connection, coupling):
    """Nodal matrix of a ladder, and the nodes of the two terminals; `coupling` is the admittance of the electrode."""
    n = CELLS + 1
    g = np.zeros((2 * n, 2 * n), dtype=complex)

    def join(a, b, y):
        g[[a, b], [a, b]] += y
        g[[a, b], [b, a]] -= y

    for k in range(CELLS):
        join(k, k + 1, CELLS / R_I)
        join(n + k, n + k + 1, CELLS / R_E)
    for k in range(n):
        join(k, n + k, coupling / CELLS * (0.5 if k in (0, CELLS) else 1.0))
    return g, {"ee": (n, 2 * n - 1), "ii": (0, n - 1), "ie": (0, 2 * n - 1)}[connection]


def ladder(connection, coupling):
    g, (one, other) = conductance(connection, coupling)
    keep = np.delete(np.arange(len(g)), other)
    current = (keep == one).astype(complex)
    return solve(g[np.ix_(keep, keep)], current)[np.flatnonzero(keep == one)[0]]


@pytest.mark.parametrize(("connection", "phi", "r_ct"), CASES)
def test_impedance_is_that_of_a_ladder(connection, phi, r_ct):
    line = TransmissionLine(R_I, R_E, Q, phi, connection, r_ct)
    frequency = np.array([0.01, 0.3, 5.0])
    coupling = Q * (2j * np.pi * frequency) ** phi + 1 / r_ct
    expected = [ladder(connection, y) for y in coupling]
    np.testing.assert_allclose(line.impedance(frequency), expected, rtol=1e-4)


@pytest.mark.parametrize("phi", [0.7, 1.0])
def test_limits_are_those_of_the_table(phi):
    parallel, total, frequency = R_I * R_E / (R_I + R_E), R_I + R_E, np.array([1e-9, 1e12])
    for connection, low in (("ee", R_E), ("ii", R_I)):
        line = TransmissionLine(R_I, R_E, Q, phi, connection)
        assert line.impedance(frequency).real == pytest.approx([low, parallel], rel=1e-3)
        assert line.r_dc == pytest.approx(low, rel=1e-12)
        assert line.series_terms == (pytest.approx(parallel), 0.0, 0.0)
        assert line.tail is None
    line = TransmissionLine(R_I, R_E, Q, phi, "ie")
    z = line.impedance(frequency)
    assert z[1].real == pytest.approx(parallel, rel=1e-3)
    assert z[0] - line.tail.impedance(frequency)[0] == pytest.approx(total / 3, rel=1e-3)
    assert line.r_dc == np.inf
    z_s = ConstantPhase(Q, phi).impedance([1.0])
    thin = np.sqrt(R_I * z_s) / np.tanh(np.sqrt(R_I / z_s))
    assert TransmissionLine(R_I, 0.0, Q, phi, "ie").impedance([1.0]) == pytest.approx(thin, rel=1e-12)


@pytest.mark.parametrize(("connection", "phi", "r_ct"), CASES)
def test_gamma_gives_r_pol_and_impedance(connection, phi, r_ct):
    line = TransmissionLine(R_I, R_E, Q, phi, connection, r_ct)
    assert line.r_pol == pytest.approx(line.modes(100_000)[1].sum(), rel=1e-4)
    frequency = np.array([0.01, 1.0, 100.0])
    if phi == 1.0:
        tau, r = line.lines(20_000)
        with pytest.raises(NoDensityError, match="Dirac functions"):
            line.gamma(tau)
    else:
        y = np.linspace(-55.0, 35.0, 9001)
        tau, r = np.exp(y), line.gamma(np.exp(y)) * (y[1] - y[0])
        assert np.all(r >= 0)
        assert r.sum() == pytest.approx(line.r_pol, rel=1e-6)
    rest = line.series_terms[0] + (0 if line.tail is None else line.tail.impedance(frequency))
    z = (r / (1 + 2j * np.pi * frequency[:, None] * tau)).sum(axis=1) + rest
    np.testing.assert_allclose(z, line.impedance(frequency), rtol=1e-3 if phi == 1.0 else 1e-6)


def test_ie_does_not_know_which_conductor_is_which():
    for r_ct in (np.inf, 80.0):
        one, other = (TransmissionLine(a, b, Q, 0.8, "ie", r_ct) for a, b in ((R_I, R_E), (R_E, R_I)))
        frequency, tau = np.logspace(-3, 6, 20), np.logspace(-8, 4, 20)
        np.testing.assert_allclose(one.impedance(frequency), other.impedance(frequency), rtol=1e-13)
        np.testing.assert_allclose(one.gamma(tau), other.gamma(tau), rtol=1e-9)


@pytest.mark.parametrize("connection", ["ee", "ii", "ie"])
def test_current_after_a_step_is_that_of_time_stepping(connection):
    line = TransmissionLine(R_I, R_E, Q, 1.0, connection)
    g, (one, other) = conductance(connection, 0.0)
    n = CELLS + 1
    # unknowns: voltages v of the capacitors and potentials of the rail that carries the current at the terminal
    c = np.full(n, Q / CELLS)
    c[[0, -1]] /= 2
    to_capacitor = np.hstack([np.eye(n), -np.eye(n)])  # v = ionic - electronic
    fixed = np.array([one, other])
    free = np.setdiff1d(np.arange(2 * n), fixed)
    # g x + to_capacitorᵀ i = 0 at free nodes, to_capacitor x = v: solve for x and i, given v and the terminals at 1, 0
    system = np.block([[g.real, to_capacitor.T], [to_capacitor, np.zeros((n, n))]])
    keep = np.concatenate([free, 2 * n + np.arange(n)])
    # the capacitors beside a terminal are charged through it, so their currents are unknowns all the same
    inside = system[np.ix_(keep, keep)]
    drive = -system[np.ix_(keep, [one])]
    sources = np.zeros((keep.size, n))
    sources[free.size :] = np.eye(n)
    solution = np.linalg.solve(inside, np.hstack([sources, drive]))
    rate = solution[free.size :] / c[:, None]
    step = 0.002
    block = np.zeros((n + 1, n + 1))
    block[:n] = rate
    move = expm(block * step)
    state = np.append(np.zeros(n), 1.0)
    times, currents = [], []
    for k in range(1, 401):
        state = move @ state
        if k % 100 == 0 or k == 20:
            x = np.zeros(2 * n)
            x[one] = 1.0
            x[free] = (solution @ state)[: free.size]
            i = (solution @ state)[free.size :]
            at_terminal = g.real[one] @ x + to_capacitor[:, one] @ i
            times.append(k * step)
            currents.append(at_terminal)
    np.testing.assert_allclose(line.step_current(times), currents, rtol=3e-4)


def test_current_after_a_step_with_a_constant_phase_has_the_right_transform():
    line = TransmissionLine(R_I, R_E, Q, 0.75, "ee", 300.0)

    def transformed(y, s):
        return line.step_current([np.exp(y)])[0] * np.exp(y - s * np.exp(y))

    for s in (0.5, 20.0):
        whole = quad(transformed, -45, 6, args=(s,), limit=200)[0]
        z_s = 1 / (Q * s**0.75 + 1 / 300.0)
        half = np.sqrt((R_I + R_E) / z_s) / 2
        z = R_I * R_E / (R_I + R_E) + R_E**2 / (R_I + R_E) * np.tanh(half) / half
        assert whole == pytest.approx(1 / (s * z), rel=1e-6)
    assert line.step_current([1e6], voltage=0.1)[0] == pytest.approx(0.1 / line.r_dc, rel=1e-4)


def test_constant_phase_is_what_its_special_cases_are():
    frequency, tau = np.logspace(-2, 5, 8), np.logspace(-6, 1, 8)
    warburg, half = SemiInfiniteWarburg(5.0), ConstantPhase(1 / (5.0 * np.sqrt(2)), 0.5)
    np.testing.assert_allclose(half.impedance(frequency), warburg.impedance(frequency))
    np.testing.assert_allclose(half.gamma(tau), warburg.gamma(tau))
    whole = ConstantPhase(1e-4, 1.0)
    np.testing.assert_allclose(whole.impedance(frequency), Capacitor(1e-4).impedance(frequency), atol=1e-12)
    assert whole.series_terms == (0.0, 0.0, 1e4)
    assert not whole.gamma(tau).any()
    assert (half.r_pol, whole.r_pol) == (np.inf, 0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"r_ion": -1.0}, "r_ion of TransmissionLine must be a finite number in ohm, not negative"),
        ({"r_ion": 0.0, "r_e": 0.0}, "must not both be zero"),
        ({"q": 0.0}, "q of TransmissionLine must be a positive finite number"),
        ({"phi": 1.2}, r"phi of TransmissionLine must be in \(0, 1\]"),
        ({"r_ct": 0.0}, "r_ct of TransmissionLine must be positive"),
    ],
)
def test_impossible_lines_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        TransmissionLine(**({"r_ion": R_I, "r_e": R_E, "q": Q, "phi": 0.8, "connection": "ee"} | change))


def test_other_connections_are_refused():
    with pytest.raises(UnknownNameError, match="ee"):
        TransmissionLine(R_I, R_E, Q, 0.8, "ei")
