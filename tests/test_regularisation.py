"""What the choice of λ is for: its unit, its edges, its noise. That each score is its formula is for test_criteria."""

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.model.gsvd import factorise
from drt_engine.regularisation import CRITERIA, GRID, Observed, choose, criterion_for

from .conftest import zarc
from .small_problems import (
    FREQUENCY,
    data_of,
    observed_of,
    one_thread,
    over_cases,
    problem_of,
    scores_of,
    spectra_of,
)

__all__ = ["one_thread"]

Status = drt.Status


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_lambda_does_not_depend_on_the_unit(name, factor):
    problem = problem_of()
    rng = np.random.default_rng(1)
    noise = np.repeat([0.003, 0.1], 6)[:, None] * (rng.standard_normal((12, 16)) + 1j * rng.standard_normal((12, 16)))
    z = (5 + zarc(FREQUENCY, 20, 1e-2, 0.9)) * (1 + noise)
    chosen = choose(name, factorise(problem), *_seen(problem, z))
    scaled = choose(name, factorise(problem), *_seen(problem, factor * z))
    assert np.array_equal(chosen.regularisation, scaled.regularisation)
    assert len(set(chosen.regularisation)) > 1


def _seen(problem, z):
    observed = observed_of(problem, z)
    return observed.b, observed.noise_square


@pytest.mark.parametrize("name", CRITERIA)
def test_no_bit_depends_on_the_neighbours(name):
    problem = problem_of()
    observed = observed_of(problem, spectra_of(rows=37))
    criterion = criterion_for(name, factorise(problem))
    together = criterion(observed)
    for rows in (slice(36, 37), slice(3, 20)):
        assert np.array_equal(criterion(Observed(observed.b[rows], observed.noise_square[rows])), together[rows])


@pytest.mark.parametrize("name", CRITERIA)
def test_a_spectrum_of_zeros_has_scores(name):
    problem = problem_of()
    scores = scores_of(name, problem, Observed(np.zeros((1, len(problem.matrix))), np.zeros(1)))
    assert not np.isnan(scores).any()


def test_finds_the_global_minimum_where_a_local_search_would_not():
    problem = problem_of()
    choice = choose("gcv", factorise(problem), data_of(problem, rows=200))
    minima = [np.flatnonzero((s[1:-1] < s[:-2]) & (s[1:-1] < s[2:])).size for s in choice.scores]
    assert max(minima) > 1
    assert np.array_equal(choice.regularisation, GRID[choice.scores.argmin(axis=1)])


# At the upper edge γ is flat, so that the fit misses the arcs as well.
@pytest.mark.parametrize(
    ("noise", "edge", "also"), [(1e-12, GRID[0], Status.OK), (3.0, GRID[-1], Status.MISFIT)], ids=["low", "high"]
)
def test_a_minimum_at_an_edge_is_reported(noisy, noise, edge, also):
    result = drt.invert(noisy, drt.Tikhonov(regularisation="discrepancy", noise=noise))
    assert np.all(result.regularisation == edge)
    assert np.all(result.status == Status.LAMBDA_AT_EDGE | also)


@pytest.mark.parametrize("name", CRITERIA)
def test_edges_are_reported_and_nothing_else_is(name):
    problem = problem_of()
    rng = np.random.default_rng(4)
    b = np.vstack([data_of(problem, noise, 8) for noise in (0.0, 0.01, 0.3)] + [rng.standard_normal((8, 32))])
    choice = choose(name, factorise(problem), b, np.sum(b**2, axis=1) * np.repeat([1e-20, 1e-4, 0.1, 1.0], 8))
    assert np.array_equal(choice.at_edge, np.isin(choice.regularisation, GRID[[0, -1]]))
    assert 0 < np.count_nonzero(choice.at_edge) < len(b)


@pytest.fixture(scope="module")
def by_noise():
    """Fifteen spectra of two arcs for each of three noise levels."""
    frequency = np.logspace(5, -2, 36)
    z = 10 + zarc(frequency, 50, 1e-3, 0.85) + zarc(frequency, 30, 0.2, 0.8)
    found = {}
    for noise in (0.0005, 0.003, 0.015):
        rng = np.random.default_rng(2)
        e = rng.standard_normal((15, 36)) + 1j * rng.standard_normal((15, 36))
        found[noise] = drt.Spectra(frequency, z + noise * np.abs(z) * e)
    return found


@pytest.mark.parametrize("name", CRITERIA)
def test_lambda_rises_with_the_noise(name, by_noise):
    chosen = []
    for noise, spectra in by_noise.items():
        method = drt.Tikhonov(regularisation=name, noise=noise if name == "discrepancy" else None)
        chosen.append(np.median(drt.invert(spectra, method).regularisation))
    assert 1e-6 < chosen[0] < chosen[1] < chosen[2] < 1
    assert chosen[2] > 30 * chosen[0]


def test_the_discrepancy_is_met(by_noise):
    for noise, spectra in by_noise.items():
        result = drt.invert(spectra, drt.Tikhonov(regularisation="discrepancy", noise=noise))
        z = spectra.impedance
        misfit = np.sum(np.abs(result.impedance_at(spectra.frequency) - z) ** 2, axis=1)
        # λ is on a grid, and x ≥ 0 adds a little to what the unconstrained solution leaves.
        assert 0.9 < np.median(misfit / (2 * noise**2 * np.sum(np.abs(z) ** 2, axis=1))) < 1.15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regularisation": "discrepancy"}, r"'discrepancy' needs the noise; got None. State.*noise=0.01 for 1 %"),
        ({"noise": 0.01}, r"noise=0.01 has no effect with regularisation='gcv'"),
        ({"noise": 0.01, "regularisation": 1e-3}, r"noise=0.01 has no effect with regularisation=0.001"),
        ({"noise": 0.0, "regularisation": "discrepancy"}, r"noise must be a positive number.*got 0.0"),
        ({"noise": "small", "regularisation": "discrepancy"}, r"got 'small'"),
    ],
)
def test_the_noise_is_stated_where_it_is_used_and_nowhere_else(settings, message):
    with pytest.raises(InputError, match=message):
        drt.Tikhonov(**settings)


def test_the_discrepancy_cannot_be_scored_without_the_noise():
    problem = problem_of()
    with pytest.raises(InputError, match=r"needs the noise; got None"):
        choose("discrepancy", factorise(problem), data_of(problem))


@over_cases
def test_the_factors_make_both_matrices_diagonal(case):
    problem = problem_of(**case)
    factors = factorise(problem)
    a, m, x, u = problem.matrix, problem.penalty, factors.modes, factors.data_modes
    np.testing.assert_allclose(a @ x, u * np.sqrt(factors.data_part), atol=1e-12)
    np.testing.assert_allclose(x.T @ m @ x, np.diag(factors.penalty_part), atol=1e-10 * factors.penalty_part.max())
    some = u[:, factors.data_part > 0]
    np.testing.assert_allclose(some.T @ some, np.eye(some.shape[1]), atol=1e-12)
    b = data_of(problem)
    lam = np.array([1e-3, 1e-1, 1.0])
    expected = [np.linalg.solve(a.T @ a + lam[k] * m, a.T @ b[k]) for k in range(3)]
    np.testing.assert_allclose(factors.unconstrained(b, factors.filters(lam)), expected, rtol=1e-6, atol=1e-8)
