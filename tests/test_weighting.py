import json

import numpy as np
import pytest
from scipy.optimize import nnls

import drt_engine as drt
from drt_engine.methods import method_from_settings
from drt_engine.model.basis import BASES, Expansion, shape_factor
from drt_engine.model.discretisation import discretise
from drt_engine.model.problem import assemble
from drt_engine.model.weighting import weights_by_modulus, weights_by_residual, weights_by_sigma

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
    # The average is over a decade of frequency, in which this deviation changes itself; near the ends that is bias.
    inner = found[10:-10] / np.median(found[10:-10])
    assert np.all((inner > 0.75) & (inner < 1.3))
    assert np.all(np.isfinite(weights_by_residual(frequency, np.zeros((1, 71)))))


@pytest.mark.parametrize("part", ["complex", "im"])
@pytest.mark.parametrize("weighting", ["modulus", ((1e-2, 0.5), (1e2, 0.02), (1e5, 0.1)), "iterated"])
def test_weighted_answers_are_weighted_least_squares(noisy, weighting, part):
    method = drt.Tikhonov(weighting=weighting, regularisation=1e-3, part=part)
    result = drt.invert(noisy, method)
    assert result.solved.all()
    for k, z in enumerate(noisy.impedance):
        if weighting == "modulus":
            deviation = np.abs(z)
        elif weighting == "iterated":
            # Weights that have settled reproduce themselves.
            deviation = 1 / weights_by_residual(noisy.frequency, (z - result.impedance_at(noisy.frequency)[k])[None])[0]
        else:
            deviation = np.exp(np.interp(np.log(noisy.frequency), *np.log(np.array(weighting)).T))
        weights = 1 / deviation / np.sqrt(np.mean(deviation**-2.0))
        plain = assemble(discretise(noisy.frequency, result.expansion, 1), part, inductance=True, capacitance=False)
        size = np.abs(np.concatenate([z.real, z.imag])).max()
        rows = np.tile(weights, 2 if part == "complex" else 1)[:, None]
        stacked = np.vstack([rows * plain.matrix, np.sqrt(1e-3) * plain.penalty_factor])
        data = np.concatenate([rows[:, 0] * plain.data(z[None])[0][0], np.zeros(len(plain.penalty_factor))])
        expected = size * nnls(stacked, data)[0][: plain.penalised]
        tolerance = 1e-7 if weighting != "iterated" else 0.03
        np.testing.assert_allclose(result.coefficients[k], expected, rtol=0, atol=tolerance * expected.max())


def test_weights_help_where_the_noise_is_uneven(frequency):
    # 3 % below 1 Hz and 0.1 % above: unit weights give the bad points the say, since they are the largest.
    rng = np.random.default_rng(6)
    clean = 10 + zarc(frequency, 50, 1e-3, 0.85) + zarc(frequency, 20, 0.05, 0.8)
    share = np.where(frequency < 1, 0.03, 0.001)
    draw = rng.standard_normal((2, 12, frequency.size))
    spectra = drt.Spectra(frequency, clean + share * np.abs(clean) * (draw[0] + 1j * draw[1]))
    table = tuple(zip(frequency.tolist(), (share * np.abs(clean)).tolist(), strict=True))
    off = {}
    for name, weighting in (("unit", "unit"), ("given", table), ("iterated", "iterated")):
        fit = drt.invert(spectra, drt.Tikhonov(weighting=weighting)).impedance_at(frequency)
        off[name] = np.median(np.abs(fit - clean)[:, frequency >= 1])
    assert off["given"] < 0.8 * off["unit"]
    assert off["iterated"] < 0.9 * off["unit"]


def test_weighting_survives_settings():
    method = drt.Tikhonov(weighting=[[10.0, 0.2], [1.0, 0.1]])
    assert method.weighting == ((1.0, 0.1), (10.0, 0.2))
    assert method_from_settings(json.loads(json.dumps(method.settings()))) == method


@pytest.mark.parametrize("weighting", [3, [[1.0, 2.0, 3.0]], [[1.0, -2.0]], [], [[1.0, 1.0], [1.0, 2.0]], [["a", "b"]]])
def test_refuses_tables_that_are_none(weighting):
    with pytest.raises(drt.InputError, match="weighting must be one of unit, modulus, iterated, or pairs"):
        drt.Tikhonov(weighting=weighting)


def test_refuses_unknown_names():
    with pytest.raises(drt.UnknownNameError, match="weighting 'proportional' is not known; expected one of 'unit'"):
        drt.Tikhonov(weighting="proportional")


def test_one_lambda_is_shared_under_own_weights(noisy):
    result = drt.invert(noisy, drt.Tikhonov(weighting="modulus", shared=True))
    assert len(set(result.regularisation)) == 1
