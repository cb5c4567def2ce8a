"""Spectra with a truth, their peaks, and a slow twin of what decides what a peak is."""

from types import SimpleNamespace

import numpy as np

import drt_engine as drt
from drt_engine.model.discretisation import discretise
from drt_engine.model.problem import Parameters, assemble
from drt_engine.peaks import find_peaks, without_edges
from drt_engine.simulate import ZARC, ProportionalNoise

FREQUENCY = np.logspace(6, -2, 61)


def spectra(circuit, count, noise=None, seed=0):
    """Spectra of R_inf = 10 ohm, L = 200 nH and some elements, with noise of 0.2 % unless told."""
    z = 10 + 2j * np.pi * FREQUENCY * 2e-7 + sum(element.impedance(FREQUENCY) for element in circuit)
    noise = ProportionalNoise(0.002) if noise is None else noise
    return drt.Spectra(FREQUENCY, noise.add(np.tile(z, (count, 1)), np.random.default_rng(seed)))


def one_zarc(count, phi=(0.65, 0.95), noise=0.002, seed=0):
    """One process each, anywhere in the window."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        part = ZARC(10 ** rng.uniform(0.3, 1.5), 10 ** rng.uniform(-5.2, 0.2), rng.uniform(*phi))
        rows.append(10 + 2j * np.pi * FREQUENCY * 2e-7 + part.impedance(FREQUENCY))
    return drt.Spectra(FREQUENCY, ProportionalNoise(noise).add(np.array(rows), rng))


def inverted(result):
    """What find_peaks takes of a result."""
    method = result.method
    matrices = discretise(result.frequency, result.expansion, method.order)
    problem = assemble(matrices, method.part, inductance=method.inductance, capacitance=method.capacitance)
    return problem, inverted_unknowns(result), result.regularisation, result.residual


def peaks_of(result, options=None, sigma=None):
    return without_edges(rows_of(result, options, sigma)).reset_index(drop=True)


def rows_of(result, options=None, sigma=None):
    """Peaks, and what lies beyond them."""
    return find_peaks(*inverted(result), options, sigma)


class SlowTwin:
    """What is significant, with dense matrices, inverses and no tables; for one spectrum and γ itself.

    κ = 0.15 and β = 2, 0 for the highest; a maximum goes if one of its drops is below the bound, the least first.
    """

    def __init__(self, result, row):
        problem = inverted(result)[0]
        a = problem.matrix
        h = a.T @ a + result.regularisation[row] * problem.penalty
        self.inverse = np.linalg.inv(h)
        self.solution = self.inverse @ a.T
        share = 1 - np.trace(a @ self.solution) / len(a)
        z = result.impedance_at(result.frequency)[row]
        sigma = result.residual[row] * np.abs(z) / np.sqrt(2 * share)
        self.sigma = np.concatenate([sigma, sigma])
        x = np.concatenate([result.coefficients[row], [result.r_inf[row], result.inductance[row]]]) * problem.scale
        self.lost = result.regularisation[row] * self.inverse @ problem.penalty @ x
        self.expansion, self.coefficients = result.expansion, result.coefficients[row]
        y = np.log(result.tau)
        h = np.median(np.diff(y))
        self.y = np.arange(y[0] - 3 * h, y[-1] + 3 * h, h / 6)
        self.gamma = self.value(self.y)

    def value(self, y):
        return self.expansion.values(np.exp(np.atleast_1d(y))) @ self.coefficients

    def drop(self, top, bottom, highest):
        phi = self.expansion.values(np.exp([top, bottom]))
        q = np.zeros(len(self.inverse))
        q[: phi.shape[1]] = phi[0] - phi[1]
        data = self.solution.T @ q
        noise = np.sum((data * self.sigma) ** 2)
        rest = np.mean(self.sigma**2) * (q @ self.inverse @ q - data @ data)
        bias = 0.0 if highest else 2.0 * q @ self.lost
        return q[: phi.shape[1]] @ self.coefficients / np.sqrt(noise + 0.15**2 * rest + bias**2)

    def significance(self, peak, low, high, highest):
        return min(self.drop(peak, low, highest), self.drop(peak, high, highest))

    def maxima(self, least):
        g, y = self.gamma, self.y
        inner = np.flatnonzero((g[1:-1] > g[:-2]) & (g[1:-1] >= g[2:]) & (g[1:-1] > 1e-9 * g.max())) + 1
        found = [SimpleNamespace(at=i) for i in inner]
        while found:
            edges = [0, *(one.at for one in found), g.size - 1]
            for one, left, right in zip(found, edges[:-2], edges[2:], strict=True):
                low = left + np.argmin(g[left : one.at + 1])
                high = one.at + np.argmin(g[one.at : right + 1])
                one.score = self.significance(y[one.at], y[low], y[high], one.at == np.argmax(g))
            worst = min(found, key=lambda one: one.score)
            if worst.score >= least:
                break
            found.remove(worst)
        return np.array([y[one.at] for one in found]), np.array([one.score for one in found])


def posterior_of(spectra, result):
    """What find_peaks takes as the posterior of a result of LogGaussian: of some of its rows."""
    parameters = inverted_unknowns(result)

    def posterior(rows):
        part = Parameters(*(values[rows] for values in vars(parameters).values()))
        solutions = part, result.regularisation[rows]
        return result.method.posterior(spectra.frequency, spectra.impedance[rows], result.expansion, solutions)

    return posterior


def inverted_unknowns(result):
    with np.errstate(divide="ignore"):
        return Parameters(result.coefficients, result.r_inf, result.inductance, 1 / result.capacitance)


def peaks_by_posterior(spectra, result, options=None):
    problem = result.method.problem(result.frequency, result.expansion)
    given = problem, inverted_unknowns(result), result.regularisation, result.residual
    return find_peaks(*given, options, posterior=posterior_of(spectra, result))
