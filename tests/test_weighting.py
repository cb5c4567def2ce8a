import numpy as np
import pytest

import drt_engine as drt
from drt_engine.basis import BASES, Expansion, shape_factor
from drt_engine.discretisation import discretise
from drt_engine.problem import assemble
from drt_engine.weighting import weights_by_modulus, weights_by_residual, weights_by_sigma

from .conftest import zarc

FREQUENCY = np.logspace(5, -2, 36)


@pytest.mark.parametrize("part", ["complex", "re", "im"])
def test_a_weighted_problem_has_weighted_rows(part):
    tau = np.logspace(-6, 2, 30)
    discretisation = discretise(FREQUENCY, Expansion(tau, "gaussian", shape_factor(BASES["gaussian"], tau, 0.5)), 1)
    plain = assemble(discretisation, part, inductance=True, capacitance=True)
    weights = np.linspace(0.5, 2.0, FREQUENCY.size)
    problem = plain.weighted(weights)
    z = (10 + zarc(FREQUENCY, 5, 1e-2, 0.9))[None]
    b, _ = problem.data(z)
    rng = np.random.default_rng(0)
    physical = rng.random((1, plain.scale.size))
    both = 1 if part != "complex" else 2
    residual = np.tile(weights, both) * ((physical * plain.scale) @ plain.matrix.T - plain.data(z)[0])
    np.testing.assert_allclose((physical * problem.scale) @ problem.matrix.T - b, residual, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(problem.matrix[:, problem.penalised :], axis=0), 1.0)


def test_weights_are_the_inverse_deviation_with_mean_square_one():
    z = np.array([[1.0, 2.0j, -4.0], [10.0, 10.0, 10.0j]])
    np.testing.assert_allclose(weights_by_modulus(z), weights_by_sigma(np.abs(z)))
    np.testing.assert_allclose(
        weights_by_modulus(z)[0] * np.abs(z[0]), np.full(3, 1 / np.sqrt(np.mean([1, 0.25, 1 / 16])))
    )
    np.testing.assert_allclose(weights_by_modulus(z)[1], 1.0)
    np.testing.assert_allclose(np.mean(weights_by_modulus(1e6 * z) ** 2, axis=1), 1.0)
    assert np.all(np.isfinite(weights_by_modulus(np.zeros((1, 3)))))


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf])
def test_deviations_have_to_be_positive(sigma):
    with pytest.raises(drt.InputError, match="sigma must be positive and finite"):
        weights_by_sigma(np.array([[1.0, sigma]]))


def test_weights_by_residual_find_the_deviation():
    rng = np.random.default_rng(1)
    frequency = np.logspace(5, -2, 71)
    sigma = np.logspace(-3, 0, 71)
    residual = sigma * (rng.standard_normal((400, 71)) + 1j * rng.standard_normal((400, 71)))
    found = np.median(weights_by_residual(frequency, residual), axis=0) * sigma
    # The average is over half a decade of frequency, in which this deviation itself changes by half: so much is bias.
    inner = found[5:-5] / np.median(found[5:-5])
    assert np.all((inner > 0.75) & (inner < 1.3))
    assert np.all(np.isfinite(weights_by_residual(frequency, np.zeros((1, 71)))))
