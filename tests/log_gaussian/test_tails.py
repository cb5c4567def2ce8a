"""Tails, lossy inductances and γ of both signs: what is put in is found, and nothing where nothing was put in."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.elements import Terms, tail_column
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods import log_candidates
from drt_engine.methods.evidence import _integral, log_normaliser
from drt_engine.methods.hidden_loops import loop_scores
from drt_engine.methods.log_candidates import LogModels
from drt_engine.methods.log_gaussian_prepared import EARLY_END, END, PreparedLogGaussian
from drt_engine.methods.log_models import Fit
from drt_engine.model.basis import Expansion
from drt_engine.model.discretisation import discretise
from drt_engine.model.problem import assemble
from drt_engine.peaks.logarithmic import _hidden
from drt_engine.peaks.loops import with_fitted_loops
from drt_kernels.log_peaks import COLUMNS

from ..conftest import zarc

FREQUENCY = np.logspace(5, -2, 71)
S = 2j * np.pi * FREQUENCY
ARCS = 10 + zarc(FREQUENCY, 20, 2e-4, 0.9) + zarc(FREQUENCY, 50, 0.05, 0.85)
LOOP = 1 + zarc(FREQUENCY, 1, 0.01, 0.9) - 0.2 / (1 + 3 * S)
TAILS = {"none": 0 * S, "capacitor": 2 / S, "cpe": 1 / (0.3 * S**0.8), "warburg": 5 / S**0.5}
TAU = tuple(np.logspace(-6.5, 2, 60))
Status = drt.Status
ARC_BESIDE = {"R0", "L0", "R1", "CPE1_0", "CPE1_1", "R2"}


def spectra(z, noise=3e-3, seeds=1, first=0):
    rows = []
    for seed in range(first, first + seeds):
        rng = np.random.default_rng(seed)
        rows.append(z + noise * np.abs(z) * (rng.normal(size=z.size) + 1j * rng.normal(size=z.size)))
    return drt.Spectra(FREQUENCY, np.array(rows))


@pytest.fixture(scope="module")
def found():
    """One spectrum with each tail, chosen by the evidence, with intervals."""
    rows = np.concatenate([spectra(ARCS + tail, first=k).impedance for k, tail in enumerate(TAILS.values())])
    return drt.invert(drt.Spectra(FREQUENCY, rows), drt.LogGaussian(tail="auto"), level=0.95)


@pytest.fixture(scope="module")
def loop():
    return drt.invert(spectra(LOOP, seeds=2), drt.LogGaussian(sign="both"), level=0.95)


@pytest.mark.parametrize("exponent", [0.5, 0.83, 1.0])
@pytest.mark.parametrize("diffusion", [np.inf, 0.7])
def test_columns_are_those_of_the_elements(exponent, diffusion):
    expected = S**-exponent * (1 if np.isinf(diffusion) else 1 / np.tanh(np.sqrt(S * diffusion)))
    np.testing.assert_allclose(tail_column(S.imag, exponent, diffusion), expected, rtol=1e-12)


@pytest.mark.parametrize(("tail", "inductance"), [("cpe", "coil"), ("warburg-open", "coil"), ("none", "cpe")])
def test_derivatives_are_those_of_the_columns(tail, inductance):
    terms, shape, step = Terms(tail, inductance), np.array([0.3 if tail != "warburg-open" else 9.0]), 1e-6
    name, change = terms.derivative(terms.shapes[0], S.imag, shape)
    numeric = (terms.column(name, S.imag, shape + step) - terms.column(name, S.imag, shape - step)) / (2 * step)
    np.testing.assert_allclose(change, numeric, rtol=1e-6, atol=1e-7 * np.abs(numeric).max())


def test_the_evidence_is_bounded_from_below_and_closely():
    # The prior of three values of ln γ by quadrature over the two that are free.
    expansion = Expansion(np.array([1e-3, 2e-3, 4e-3]), "piecewise-linear", np.nan)
    prepared = PreparedLogGaussian(
        assemble(discretise(FREQUENCY, expansion, 1), "complex", inductance=False, capacitance=False), "auto", True
    )
    grid = prepared.grid

    one, two = np.meshgrid(*2 * [np.linspace(-9, 9, 901)], indexing="ij")
    slopes = grid.slope[0] * (one - grid.lean[0]) ** 2 + grid.slope[1] * (two - one - grid.lean[1]) ** 2
    bend = grid.bend[0, 1] * one + grid.bend[0, 2] * two
    density = np.exp(-slopes / 2 - grid.rate * grid.knee[0] * (np.sqrt(1 + (bend / grid.knee[0]) ** 2) - 1))
    exact = np.log(density.sum() * 0.02**2)
    # That of a bound by one parabola for the one bend: a fifth of a unit, in a difference of logarithms.
    assert exact - 0.2 < log_normaliser(grid) <= exact


def test_the_integral_over_gamma_is_that_of_whole_matrices(found):
    prepared = found.method.models(FREQUENCY, found.expansion).candidate(Terms("cpe", "coil"), np.ones(found.tau.size))
    grid, rng = prepared.model.prepared.grid, np.random.default_rng(3)
    logs, lam = grid.logs, 1.3
    root = rng.normal(size=(logs + 3, logs + 3))
    u, hessian = rng.normal(size=logs).cumsum(), root @ root.T / 50
    bends = np.zeros((logs - 2, logs + 3))
    for i in range(logs - 2):
        bends[i, i : i + 3] = grid.bend[i]
    slopes = np.diff(np.eye(logs + 3), axis=0)[: logs - 1]
    base = hessian + slopes.T @ np.diag(lam * grid.slope) @ slopes
    square = expected = (bends[:, :logs] @ u) ** 2
    for _ in range(5):
        curvature = grid.rate * lam / np.sqrt(grid.knee**2 + lam * expected)
        whole = base + bends.T @ np.diag(curvature) @ bends
        before, expected = expected, square + np.diag(bends @ np.linalg.inv(whole) @ bends.T)
    modulus = np.sqrt(1 + lam * before / grid.knee**2)
    cost = 0.5 * lam * grid.slope @ (np.diff(u) - grid.lean) ** 2
    cost += np.sum(grid.rate * grid.knee * (modulus - 1) - 0.5 * curvature * (before - square))
    size = 0.5 * (len(whole) * np.log(2 * np.pi) - np.linalg.slogdet(whole)[1] + (logs - 1) * np.log(lam))
    assert _integral(grid, u, lam, hessian) == pytest.approx(size - cost, abs=1e-7)


def test_each_tail_is_found_and_none_where_there_is_none(found):
    assert list(found.tail) == list(TAILS)
    np.testing.assert_allclose(found.r_pol, 70, rtol=0.02)
    np.testing.assert_allclose(found.capacitance[1], 0.5, rtol=0.02)
    np.testing.assert_allclose(found.tail_q[2:], [0.3, 0.2], rtol=0.1)
    assert (found.optimality <= 1e-8).all()
    assert not (found.status & Status.MISFIT).any()


def test_intervals_of_tails_hold_what_was_put_in(found):
    given = found.intervals
    assert ((given.r_pol_low <= 70) & (given.r_pol_high >= 70)).all()
    assert given.tail_q_low[2] < 0.3 < given.tail_q_high[2]
    assert given.tail_exponent_low[2] < 0.8 < given.tail_exponent_high[2] < 0.9
    assert np.isnan(given.tail_exponent_low[[0, 1, 3]]).all()


@pytest.mark.slow
def test_the_doubt_about_the_exponent_widens_the_interval_of_r_pol(found):
    known = drt.invert(spectra(ARCS + TAILS["warburg"], first=3), drt.LogGaussian(tail="warburg"), level=0.95)
    free = drt.invert(spectra(ARCS + TAILS["warburg"], first=3), drt.LogGaussian(tail="cpe"), level=0.95)
    width = [float(r.intervals.r_pol_high[0] - r.intervals.r_pol_low[0]) for r in (known, free)]
    assert width[1] > 1.5 * width[0]


def test_no_false_tail_and_no_false_sign():
    given = spectra(ARCS, seeds=3, first=20)
    plain = drt.invert(given, drt.LogGaussian(tau=TAU))
    for method in (drt.LogGaussian(tail="auto", tau=TAU), drt.LogGaussian(sign="both", tau=TAU)):
        result = drt.invert(given, method)
        assert (result.tail == "none").all()
        np.testing.assert_allclose(result.r_pol, plain.r_pol, rtol=1e-9)


def test_processes_end_earlier_before_a_tail_where_they_do_anyhow():
    method, given = drt.LogGaussian(tail="cpe", tau=TAU), spectra(ARCS + 1 / (0.3 * S**0.7), 1e-2, 4, 60)
    result = drt.invert(given, method, level=0.95)
    models = method.models(FREQUENCY, result.expansion)
    terms = Terms("cpe", "coil")
    assert {models._end(terms, gamma) for gamma in result.gamma} == {EARLY_END}
    # With the last decade alone slow relaxations stand for some of the tail.
    b, size = models._prepared.data(given.impedance)
    parts, held = models._prepared.variance(b, size)
    held[:, 2] = np.nan
    late = [models.candidate(terms, models._plus).refit((b[k], parts[k], held[k])) for k in range(4)]
    area = np.append(result.expansion.areas, np.zeros(3))
    r_late = np.array([area @ np.asarray(fit.values) for fit in late]) * size
    assert 0 < np.mean(result.r_pol) - 70 < 0.7 * (np.mean(r_late) - 70)
    assert np.mean((result.intervals.r_pol_low <= 70) & (result.intervals.r_pol_high >= 70)) > 0.9
    # An arc within the last two decades stays.
    slow = result.tau >= 0.5
    rising = np.where(slow, np.exp(-(np.log(result.tau / 2) ** 2)), 1.0)
    assert models._end(terms, rising) == END
    assert models._end(Terms("none", "coil"), result.gamma[0]) == END


@pytest.mark.parametrize(("seed", "exponent"), [(21, 0.8), (21, 0.7)])
def test_a_slow_process_and_another_tail_do_not_stand_for_an_arc_that_ends(seed, exponent):
    # Where bends of ln γ were as probable before a tail as elsewhere, R_pol was 22 and 15 % too large.
    result = drt.invert(spectra(ARCS + 1 / (0.3 * S**exponent), 1e-2, 1, seed), drt.LogGaussian(tail="auto"))
    assert result.tail[0] == "cpe"
    np.testing.assert_allclose(result.tail_exponent, exponent, atol=0.08)
    np.testing.assert_allclose(result.r_pol, 70, rtol=0.025)


def test_what_is_slow_is_given_to_a_tail_of_a_known_exponent():
    # From a start whose γ went on to the end of the window, R_pol was 20 to 100 % too large in a fifth of spectra.
    result = drt.invert(spectra(ARCS + 1 / (0.3 * S**0.6), 1e-2, 16), drt.LogGaussian(tail="cpe", exponent=0.6))
    np.testing.assert_allclose(result.r_pol, 70, rtol=0.02)


@pytest.mark.parametrize(
    ("evidence", "exponent", "tail", "tail_uncertain"),
    [
        ((0.0, 5.0, 4.5), 0.96, "cpe", False),
        ((0.0, 5.0, 4.2), 0.96, "capacitor", False),
        ((0.0, 5.0, 4.2), 0.9, "capacitor", True),
        ((0.0, 5.0, 1.9), 0.9, "capacitor", False),
        ((0.0, 1.0, 1.3), 0.96, "none", True),
        ((0.0, 1.0, 1.5), 0.96, "cpe", True),
    ],
)
def test_a_tail_is_taken_at_four_to_one_and_a_capacitor_at_two_to_one(evidence, exponent, tail, tail_uncertain):
    discretisation = discretise(FREQUENCY[::8], Expansion(np.logspace(-4, 0, 5), "piecewise-linear", np.nan), 1)
    models = LogModels(discretisation, "auto", False, "positive", ("auto", True))
    sizes = dict(zip(("none", "capacitor", "cpe"), (1.0, 0.5, 0.5), strict=True))
    fits = {
        Terms(name, "none"): Fit(
            np.full(8, size), np.array([1 - exponent] if name == "cpe" else []), np.ones(3), 0.0, one
        )
        for (name, size), one in zip(sizes.items(), evidence, strict=True)
    }
    best, unsure = models._choose(fits)
    assert (best.tail, unsure) == (tail, tail_uncertain)


@pytest.mark.parametrize(
    ("evidence", "exponent", "tail"), [(5.6, 0.6, "cpe"), (5.8, 0.6, "warburg"), (5.6, 0.53, "warburg")]
)
def test_a_warburg_element_is_taken_where_other_exponents_are_ruled_out(evidence, exponent, tail):
    discretisation = discretise(FREQUENCY[::8], Expansion(np.logspace(-4, 0, 5), "piecewise-linear", np.nan), 1)
    models = LogModels(discretisation, "auto", False, "positive", ("auto", True))
    shapes = {"none": ([], 0.0), "cpe": ([1 - exponent], 5.0), "warburg": ([], evidence)}
    fits = {
        Terms(name, "none"): Fit(np.ones(8), np.array(shape), np.ones(3), 0.0, one)
        for name, (shape, one) in shapes.items()
    }
    best, unsure = models._choose(fits)
    assert (best.tail, unsure) == (tail, exponent == 0.6)


def problems(models, given):
    """Data, parts of the variance and what is given, for each spectrum; and sizes."""
    b, size = models._prepared.data(given.impedance)
    parts, held = models._prepared.variance(b, size)
    held[:, 2] = np.nan
    return list(zip(b, parts, held, strict=True)), size


def test_arrays_that_are_lent_hold_what_was_given():
    method = drt.LogGaussian(tail="cpe", tau=TAU)
    models = method.models(FREQUENCY, method.expansion(FREQUENCY))
    model = models.candidate(Terms("cpe", "coil"), models._plus).model
    y = np.append(np.zeros(model.linear), 0.3)
    first, second = (model.grid(model.matrix(y, np.array([p]))[0]) for p in (0.3, 0.4))
    with model.work(first) as work, model.work(second) as other:
        for held, grid in ((work, first), (other, second)):
            np.testing.assert_array_equal(held.grid.columns, grid.columns)
            np.testing.assert_array_equal(held.grid.lean, grid.lean)
            np.testing.assert_array_equal(held.tables.across[:, : grid.size].T, grid.columns[: grid.size])
    with model.work(second) as again:
        assert again is other or again is work
        np.testing.assert_array_equal(again.grid.columns, second.columns)
    assert not np.shares_memory(again.grid.lean, model.prepared.grid.lean)


def test_the_exponent_beside_noise_is_that_of_the_largest_evidence():
    method, given = drt.LogGaussian(tail="cpe"), spectra(ARCS + 1 / (0.3 * S**0.5), 1e-2, 4, 1000)
    result = drt.invert(given, method)
    models = method.models(FREQUENCY, result.expansion)
    candidate = models.candidate(Terms("cpe", "coil"), models._plus, EARLY_END, straight=True)
    joint = []
    for problem, exponent in zip(problems(models, given)[0], result.tail_exponent, strict=True):
        free = candidate.refit(problem)
        start = candidate.model.linearised(problem[0], free.values, free.shape)[0][:-1]
        tried = exponent + np.array([-0.03, -0.01, 0.0, 0.01, 0.03])
        low, less, middle, more, high = (
            candidate.model.fit_held(*problem, start, np.array([1 - n]))[1].evidence for n in tried
        )
        assert middle > max(low, high)
        assert middle > max(less, more) - 0.01
        joint.append(1 - free.shape[0])
    # The most probable γ and n together have more of an exponent.
    assert np.mean(joint) - np.mean(result.tail_exponent) > 0.01
    np.testing.assert_allclose(result.optimality, 0, atol=1e-8)


def test_a_warburg_element_that_was_chosen_has_the_doubt_of_its_exponent():
    # It is taken for n = 0.55 in half of the spectra at 1 % noise.
    given = spectra(ARCS + 1 / (0.3 * S**0.55), 1e-2, 12, 1000)
    result = drt.invert(given, drt.LogGaussian(tail="auto"), level=0.95)
    taken = result.tail == "warburg"
    named = drt.invert(given[taken], drt.LogGaussian(tail="warburg"), level=0.95).intervals
    assert np.count_nonzero(taken) >= 4
    found = result.intervals
    assert ((found.r_pol_low <= 70) & (found.r_pol_high >= 70))[taken].all()
    assert np.mean(named.r_pol_high < 70) >= 0.3
    assert (found.r_pol_high - found.r_pol_low < 8)[taken].all()
    # The unknowns move as solutions with exponents around ½ do.
    models = result.method.models(FREQUENCY, result.expansion)
    k, terms = int(np.flatnonzero(taken)[0]), Terms("cpe", "coil")
    free = models.candidate(terms, models._plus, EARLY_END, straight=True)
    known, size = problems(models, given)
    least = models.candidate(Terms("warburg", "coil"), models._plus, EARLY_END, straight=True).refit(known[k])
    problem = known[k][0], known[k][1], least.hyper
    values, *_ = dataclasses.astuple(least)
    doubt = free.doubt(problem, (values, np.array([0.5])), size[k])
    start = free.model.linearised(known[k][0], values, np.array([0.5]))[0][:-1]
    both = [dataclasses.astuple(free.model.fit_held(*problem, start, np.array([p]))[1])[0] for p in (0.48, 0.52)]
    moved = (
        np.concatenate([np.log(both[1] / both[0])[: free.model.logs], (both[1] - both[0])[free.model.logs :]]) / 0.04
    )
    gamma = values[: free.model.logs] * result.expansion.areas
    doubt[free.model.logs :] /= size[k]
    by_r_pol = gamma @ doubt[: free.model.logs] / (gamma @ moved[: free.model.logs])
    assert 0.02 < abs(by_r_pol) < 0.1
    assert doubt[-1] / moved[-1] == pytest.approx(by_r_pol, rel=0.15)


def test_without_noise_the_residual_vanishes():
    result = drt.invert(drt.Spectra(FREQUENCY, ARCS + 1 / (0.3 * S**0.8)), drt.LogGaussian(tail="cpe"))
    assert result.residual[0] < 2e-4
    assert result.tail_exponent[0] == pytest.approx(0.8, abs=2e-3)


def test_slow_arcs_that_look_like_a_tail_are_said_to():
    slow = spectra(ARCS + zarc(FREQUENCY, 3000, 3000, 0.8))
    result = drt.invert(slow, drt.LogGaussian(tail="auto"))
    assert result.status[0] & (Status.TAIL_UNCERTAIN | Status.EXTRAPOLATED) or result.tail[0] == "cpe"
    assert result.r_pol[0] == pytest.approx(70, rel=0.05) or result.status[0] & Status.EXTRAPOLATED


def test_diffusion_in_a_finite_space():
    root = np.sqrt(2 * S)
    result = drt.invert(spectra(ARCS + 30 / (root * np.tanh(root)), 1e-3), drt.LogGaussian(tail="warburg-open"))
    assert result.tail[0] == "warburg-open"
    # T and R go together, and with what γ makes of the relaxations of the space; the capacitance T/R is known well.
    assert result.tail_tau[0] == pytest.approx(2, rel=0.15)
    assert result.tail_q[0] * np.sqrt(result.tail_tau[0]) == pytest.approx(2 / 30, rel=0.02)
    assert result.circuit(0).string.startswith("R0-L0-Wo0-")


def test_lossy_inductance():
    f = np.logspace(7, 0, 71)
    s = 2j * np.pi * f
    z = 5 + 2e-5 * s**0.8 + zarc(f, 20, 1e-3, 0.9)
    rng = np.random.default_rng(0)
    z = z * (1 + 2e-3 * (rng.normal(size=f.size) + 1j * rng.normal(size=f.size)))
    result = drt.invert(drt.Spectra(f, z), drt.LogGaussian(inductance="cpe"))
    assert result.inductance_exponent[0] == pytest.approx(0.8, abs=0.01)
    assert result.inductance[0] == pytest.approx(2e-5, rel=0.1)
    assert result.residual[0] < 4e-3
    assert result.circuit(0).string.startswith("R0-La0-")


@pytest.mark.parametrize(
    ("seed", "m", "size", "arcs"),
    [
        (2, 0.63, 0.24, ((2.15, 0.0353, 0.69), (0.98, 0.0137, 0.98))),
        (5, 0.64, 0.23, ((0.67, 0.0903, 0.92), (2.34, 7.4e-4, 0.75))),
        (7, 0.74, 0.36, ((1.68, 3.6e-5, 1.0), (1.68, 2.5e-3, 0.84))),
    ],
)
def test_fast_relaxations_do_not_stand_for_r_inf_beside_a_lossy_inductance(seed, m, size, arcs):
    # The search from m = 0.95 alone ends at R_inf = 0 and R_pol 30 to 40 % too large, with residuals of the noise.
    r_pol = sum(arc[0] for arc in arcs)
    z = 1 + sum(zarc(FREQUENCY, *arc) for arc in arcs) + size * r_pol * (S / S.imag.max()) ** m
    result = drt.invert(spectra(z, 3e-3, 2, seed), drt.LogGaussian(inductance="cpe"), level=0.95)
    np.testing.assert_allclose(result.r_pol, r_pol, rtol=0.05)
    np.testing.assert_allclose(result.r_inf, 1, rtol=0.15)
    np.testing.assert_allclose(result.inductance_exponent, m, atol=0.06)
    assert ((result.intervals.r_pol_low <= r_pol) & (result.intervals.r_pol_high >= r_pol)).all()


def test_a_loop_is_a_negative_peak(loop):
    assert (loop.residual < 5e-3).all()
    given = loop.intervals
    assert ((given.r_pol_low <= 0.8) & (given.r_pol_high >= 0.8)).all()
    peaks = loop.peaks()
    negative = peaks[peaks["r"] < 0]
    assert list(negative["spectrum"]) == [0, 1]
    np.testing.assert_allclose(negative["tau"], 3, rtol=0.15)
    np.testing.assert_allclose(negative["r"], -0.2, rtol=0.05)
    assert list(peaks.loc[peaks["r"] > 0, "spectrum"]) == [0, 1]
    np.testing.assert_allclose(peaks.groupby("spectrum")["r"].sum(), loop.r_pol, rtol=1e-9)
    assert (given.gamma_low <= loop.gamma).all()
    assert (given.gamma_high >= loop.gamma).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arcs", "resistance", "tau"),
    [([(1, 0.01, 0.9)], 0.2, 0.3), ([(1, 1e-3, 0.9), (0.6, 0.05, 0.8)], 0.3, 2.0)],
)
def test_loops_that_overlap_with_an_arc_lean_by_less_than_their_errors_say(arcs, resistance, tau):
    z = 1 + sum(zarc(FREQUENCY, *arc) for arc in arcs) - resistance / (1 + tau * S)
    peaks = drt.invert(spectra(z, 3e-3, 6, 7), drt.LogGaussian(sign="both")).peaks()
    negative = peaks[peaks["r"] < 0]
    assert list(negative["spectrum"]) == list(range(6))
    off = -negative["r"] - resistance
    assert abs(np.mean(off)) < 0.03 * resistance
    assert (abs(off) < 2.5 * negative["r_error"]).all()
    assert np.median(negative["r_error"]) < 0.05 * resistance
    assert (negative["kind"] == "maximum").all()
    np.testing.assert_allclose(negative["tau"], tau, rtol=0.1)


def test_without_its_spectra_a_loop_is_that_of_gamma(loop):
    # γ has one sign everywhere: what the arc has below the loop is taken off both.
    alone, known = dataclasses.replace(loop, impedance=None).peaks(), loop.peaks()
    assert list(alone["r"] < 0) == list(known["r"] < 0)
    np.testing.assert_allclose(alone.groupby("spectrum")["r"].sum(), loop.r_pol, rtol=1e-9)
    areas = loop.expansion.areas * loop.coefficients
    np.testing.assert_allclose(alone.loc[alone["r"] < 0, "r"], np.minimum(areas, 0).sum(axis=1), rtol=1e-9)
    assert not np.isclose(alone["r"], known["r"], rtol=1e-4).any()


def test_negative_rows_stay_where_elements_do_not_describe_the_spectrum(loop):
    peaks, fitted = (
        dataclasses.replace(loop, impedance=None).peaks().drop(columns=loop.states.columns),
        loop.deconvolve(),
    )
    for wrong in ({"converged": fitted.converged & False}, {"correlation": fitted.correlation + 0.3}):
        same = with_fitted_loops(peaks, dataclasses.replace(fitted, **wrong), loop.residual, 3.0)
        pd.testing.assert_frame_equal(same, peaks)
    same = with_fitted_loops(peaks, fitted, 0.8 * fitted.misfit, 3.0)
    pd.testing.assert_frame_equal(same, peaks)
    assert not with_fitted_loops(peaks, fitted, fitted.misfit, 3.0).equals(peaks)


def test_two_loops_are_two_elements_and_neither_is_surer_than_they_can_be_told_apart():
    z = 1 + zarc(FREQUENCY, 1, 1e-3, 0.9) - 0.1 / (1 + 0.05 * S) - 0.1 / (1 + 3 * S)
    result = drt.invert(spectra(z, 3e-3, 3, 30), drt.LogGaussian(sign="both"))
    peaks, elements = result.peaks(), result.deconvolve().elements
    rows = peaks[peaks["r"] < 0].groupby("spectrum")
    assert {1, 2} == set(rows.size())
    for k, own in rows:
        loops = elements[(elements["spectrum"] == k) & (elements["r"] < 0)]
        if len(own) == 2:
            np.testing.assert_allclose(loops["r"], -0.1, atol=3 * 0.01)
            np.testing.assert_allclose(loops["tau"], [0.05, 3], rtol=0.3)
        else:
            # One row of both, by an element that a positive one cancels.
            assert loops["merged"].all()
            assert own["r"].item() == pytest.approx(-0.2, abs=2 * own["r_error"].item())
            assert 0.05 < own["r_error"].item() < 0.2


@pytest.mark.slow
def test_the_tail_beside_a_loop_is_chosen_with_it():
    # Without a loop, a capacitor is taken.
    z = 1 + zarc(FREQUENCY, 1, 0.01, 0.9) - 0.2 / (1 + 0.5 * S) + 0.05 / S**0.5
    result = drt.invert(spectra(z, first=8000), drt.LogGaussian(sign="both", tail="auto"), level=0.95)
    assert result.tail[0] in ("cpe", "warburg")
    assert result.intervals.r_pol_low[0] <= 0.8 <= result.intervals.r_pol_high[0]
    assert (result.peaks()["r"] < 0).sum() == 1


@pytest.mark.slow
def test_a_loop_at_the_end_of_the_window_is_known_no_better_than_what_lies_beyond():
    rng, frequency = np.random.default_rng(8), np.logspace(5, -2, 71)
    for tau in (10.0, 30.0):
        z = 1 + zarc(frequency, 1, 0.01, 0.9) - zarc(frequency, 0.2, tau, 1)
        spectra = drt.Spectra(frequency, z * (1 + 3e-3 * (rng.normal(size=(6, 71)) + 1j * rng.normal(size=(6, 71)))))
        peaks = drt.invert(spectra, drt.LogGaussian(sign="both")).peaks()
        loops = peaks[peaks["r"] < 0].groupby("spectrum").first()
        assert len(loops) == 6
        assert (np.abs(loops["r"] + 0.2) < 1.96 * loops["r_error"]).all()
        assert np.median(loops["r_error"]) > np.std(loops["r"])


def test_loops_that_the_noise_hides_are_in_the_interval_of_r_pol(monkeypatch):
    # What one spectrum says of a slow process besides is left out.
    monkeypatch.setattr("drt_engine.uncertainty.posterior._SLOWER", 0.0)
    # 1 % noise leaves a loop of 0.02 ohm at two standard deviations, and γ > 0 is right in being taken.
    z = 1 + zarc(FREQUENCY, 1, 0.01, 0.9)
    hidden = drt.invert(spectra(z - 0.02 / (1 + 3 * S), 1e-2, 8, 400), drt.LogGaussian(sign="both"), level=0.95)
    assert (hidden.gamma > 0).all()
    given = hidden.intervals
    assert ((given.r_pol_low <= 0.98) & (given.r_pol_high >= 0.98)).all()
    plain = drt.invert(spectra(z - 0.02 / (1 + 3 * S), 1e-2, 8, 400), drt.LogGaussian(), level=0.95).intervals
    assert np.mean(plain.r_pol_low > 0.98) > 0.3
    # Upward nothing changes, and the price is no more than the noise makes of such a loop.
    np.testing.assert_allclose(given.r_pol_high, plain.r_pol_high, rtol=1e-3)
    assert (given.r_pol_high - given.r_pol_low < 0.1).all()


def test_how_large_a_hidden_loop_may_be_is_that_of_least_squares():
    given = spectra(1 + zarc(FREQUENCY, 1, 0.01, 0.9), 1e-2, 1, 3)
    result = drt.invert(given, drt.LogGaussian(sign="both", noise=(1e-2, 0.0), robust=False))
    models = result.method.models(FREQUENCY, result.expansion)
    prepared, candidate = models._prepared, models.candidate(models._terms[0], models._plus)
    b, size = prepared.data(given.impedance)
    parts, held = prepared.variance(b, size)
    held[:, 2] = result.regularisation
    values = np.append(result.gamma[0], [result.r_inf[0], result.inductance[0]]) / size[0]
    sure = candidate.certainty((b[0], parts[0], held[0]), (values, np.empty(0)), float(size[0]), loops=True)
    # One more unknown beside those that the covariance is of, which stands for what is known of these.
    at = int(np.argmin(np.abs(result.tau - 3)))
    columns = np.column_stack([result.expansion.impedance(FREQUENCY) * result.gamma[0], np.ones_like(S), S])
    columns = np.column_stack([columns, -1 / (1 + S * result.tau[at])])
    whole = np.vstack([columns.real, columns.imag]) / 1e-2
    precision = whole.T @ whole
    precision[:-1, :-1] = np.linalg.inv(sure.covariance - np.outer(sure.pull[1], sure.pull[1]))
    covariance = np.linalg.inv(precision)
    left = given.impedance[0] - result.impedance_at(FREQUENCY)[0]
    force = np.zeros(len(precision))
    force[-1] = whole[:, -1] @ np.concatenate([left.real, left.imag]) / 1e-2
    step = covariance @ force
    resistance, deviation, by = sure.hidden[:, at]
    assert deviation == pytest.approx(np.sqrt(covariance[-1, -1]), rel=1e-4)
    assert resistance == pytest.approx(step[-1], rel=1e-4)
    parts_of = result.expansion.areas * result.gamma[0]
    assert by == pytest.approx(parts_of @ step[: parts_of.size] / step[-1] - 1, rel=1e-4)


def test_the_score_of_a_loop_is_that_of_one_more_unknown():
    given, method = spectra(LOOP, 1e-2, 3, 5), drt.LogGaussian(sign="both")
    expansion = method.expansion(FREQUENCY)
    models = method.models(FREQUENCY, expansion)
    found = models._prepared.solve(given.impedance, None)
    scores = loop_scores(models._prepared, given.impedance, found)
    known = models._prepared.posterior(
        given.impedance, found.parameters, found.regularisation, (found.noise_floor, found.noise_relative)
    )
    for k, z in enumerate(given.impedance):
        left, sigma = z - found.fit[k], np.hypot(found.noise_floor[k], found.noise_relative[k] * np.abs(z))
        # Student's weights of residuals, by the scale that normal noise has.
        square = np.abs(left / sigma) ** 2 / models._prepared.normal
        weight = np.sqrt(1.5 / (1 + square / 4) / models._prepared.normal) / sigma
        own = expansion.impedance(FREQUENCY) * found.parameters.coefficients[k]
        best = -np.inf
        for phi in (0.6, 0.3):
            for tau in expansion.tau[::2]:
                columns = np.column_stack([own, np.ones_like(S), S, -1 / (1 + (S * tau) ** phi)]) * weight[:, None]
                whole, rest = np.vstack([columns.real, columns.imag]), np.concatenate([left.real, left.imag])
                precision = whole.T @ whole
                doubt = known.pull[k, 1]
                precision[:-1, :-1] = np.linalg.inv(known.covariance[k] - np.outer(doubt, doubt))
                force = whole[:, -1] @ (rest * np.tile(weight, 2))
                deviation = np.sqrt(np.linalg.inv(precision)[-1, -1])
                best = max(best, force * deviation)
        assert scores[k] == pytest.approx(best, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("tail", ["none", "auto"])
def test_a_loop_is_looked_for_wherever_the_search_would_find_one(tail, monkeypatch):
    z = [ARCS / 70 - size / (1 + tau * S) for size, tau in ((0, 1), (0.006, 3), (0.01, 0.3), (0.02, 30), (0.1, 3))]
    rows = np.concatenate([spectra(one, 3e-3, 1, 9).impedance for one in z])
    given, method = drt.Spectra(FREQUENCY, rows), drt.LogGaussian(sign="both", tail=tail)
    quick = drt.invert(given, method)
    monkeypatch.setattr(log_candidates, "NO_SIGN", -np.inf)
    slow = drt.invert(given, method)
    assert ((slow.gamma < 0).any(axis=1) == (quick.gamma < 0).any(axis=1)).all()
    assert 0 < np.count_nonzero((slow.gamma < 0).any(axis=1)) < len(rows)
    np.testing.assert_allclose(quick.gamma, slow.gamma, rtol=1e-9, atol=1e-12)
    assert list(quick.tail) == list(slow.tail)


def test_the_flank_of_a_broad_arc_goes_on_behind_a_loop():
    # 0.6 % of the arc is beyond the window, below a γ that is negative there.
    z = 1 + zarc(FREQUENCY, 1, 0.01, 0.6) - 0.2 / (1 + 3 * S)
    given = drt.invert(spectra(z, 1e-3, 8, 700), drt.LogGaussian(sign="both"), level=0.95).intervals
    assert ((given.r_pol_low <= 0.8) & (given.r_pol_high >= 0.8)).all()
    assert (given.r_pol_high - given.r_pol_low < 0.04).all()


def test_what_goes_on_after_a_loop_is_held_by_the_end_of_the_window():
    # Two decades before it: R_pol had an interval of half of it at least, at next to no noise.
    z = 1 + zarc(FREQUENCY, 1, 0.01, 0.9) - 0.2 / (1 + 0.3 * S)
    given = drt.invert(spectra(z, 1e-3, 4, 900), drt.LogGaussian(sign="both"), level=0.95).intervals
    assert ((given.r_pol_low <= 0.8) & (given.r_pol_high >= 0.8)).all()
    assert (given.r_pol_high - given.r_pol_low < 0.2).all()


def test_the_flank_below_a_negative_peak_is_that_of_a_zarc_element():
    n, r, tau = 0.8, 50.0, np.log(0.01)
    x = np.linspace(np.log(0.2), np.log(30.0), 20001)
    angle = (1 - n) * np.pi

    def gamma(x):
        return r * np.sin(angle) / (np.cosh(n * (x - tau)) - np.cos(angle)) / (2 * np.pi)

    rows = np.zeros((2, COLUMNS))
    rows[0, :3], rows[1, :3] = (tau, r, gamma(tau)), (np.log(2.0), -5.0, -8.0)
    rows[1, [8, 9]] = x[[0, -1]]
    np.testing.assert_allclose(_hidden(rows), np.trapezoid(gamma(x), x) / np.sqrt(3), rtol=1e-6)
    # Peaks of one sign hide nothing of each other.
    np.testing.assert_array_equal(_hidden(np.abs(rows)), 0)


@pytest.mark.parametrize(("noise", "most"), [(1e-3, 1.35), (3e-3, 1.2)])
def test_a_loop_between_ideal_elements_is_found_where_no_first_range_goes_through_zero(noise, most):
    # As mock circuit 13 of V. Yrjänä, J. Bobacka, Electrochim. Acta 504 (2024) 144951, with ideal elements.
    frequency = np.logspace(4, -2, 61)
    s = 2j * np.pi * frequency
    z = 70 + 200 / (1 + 0.5 * s) + 100 / (1 + 0.01 * s) + 1 / (1 / 50 + 1 / (300 * s))
    rng = np.random.default_rng(1)
    z = z * (1 + noise * (rng.normal(size=(6, s.size)) + 1j * rng.normal(size=(6, s.size))))
    result = drt.invert(drt.Spectra(frequency, z), drt.LogGaussian(sign="both"))
    assert not (result.status & Status.MISFIT).any()
    left = result.residual / (noise * np.sqrt(2))
    assert ((left > 0.8) & (left < most)).all(), left
    np.testing.assert_allclose(result.r_pol, 250, rtol=0.02)
    assert ((result.peaks()["r"] < 0).groupby(result.peaks()["spectrum"]).sum() == 1).all()


def test_a_loop_without_noise_has_no_positive_peak_beside_it():
    result = drt.invert(drt.Spectra(FREQUENCY, LOOP), drt.LogGaussian(sign="both"))
    peaks = result.peaks()
    np.testing.assert_allclose(peaks["r"], [1, -0.2], rtol=0.01)
    np.testing.assert_allclose(peaks["tau"], [0.01, 3], rtol=0.03)
    # No more exact than relaxation times that are 0.23 apart in ln τ are.
    assert result.residual[0] < 5e-4


@pytest.mark.parametrize("tau", [0.1, 0.112])
def test_ideal_elements_between_relaxation_times_get_no_negative_range(tau):
    for noise in (1e-3, 1e-2):
        given = spectra(10 + 50 / (1 + tau * S), noise, 3, 60)
        found, plain = drt.invert(given, drt.LogGaussian(sign="both")), drt.invert(given, drt.LogGaussian())
        assert (found.gamma > 0).all()
        np.testing.assert_allclose(found.gamma, plain.gamma, rtol=1e-6, atol=1e-9 * plain.gamma.max())


@pytest.mark.parametrize(("phi", "least", "most"), [(1.0, 30.0, 200.0), (0.8, 0.0, 10.0)])
def test_what_relaxation_times_miss_of_a_peak_is_excused(phi, least, most):
    method = drt.LogGaussian(sign="both")
    models = method.models(FREQUENCY, method.expansion(FREQUENCY))
    b, size = models._prepared.data(spectra(10 + zarc(FREQUENCY, 50, 0.112, phi), 1e-3).impedance)
    parts, given = models._prepared.variance(b, size)
    candidate = models.candidate(models._terms[0], models._plus)
    fit = candidate.refit((b[0], parts[0], given[0]))
    excused = candidate.model.excused(b[0], parts[0], given[0], fit)
    assert least < excused < most
    # As much as with the element itself, which leaves the noise.
    if phi == 1.0:
        left = candidate.model._left(b[0], parts[0], fit)[1] * size[0]
        noise = np.sqrt(2 * 1e-6 * np.sum(np.abs(10 + zarc(FREQUENCY, 50, 0.112, 1)) ** 2))
        assert excused == pytest.approx(left.size * np.log(np.linalg.norm(left) / noise), rel=0.5)


def test_a_loop_is_an_inductance_beside_a_resistance_in_circuits(loop):
    circuit = loop.circuit(0)
    known = dict(zip(circuit.names, circuit.initial, strict=True))
    assert known["R0"] == pytest.approx(0.8, rel=0.05)
    assert known["R2"] == pytest.approx(0.2, rel=0.05)
    assert set(known) in ({*ARC_BESIDE, "L2"}, {*ARC_BESIDE, "La2_0", "La2_1"})


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"tail": "cpl"}, UnknownNameError, "warburg-open"),
        ({"sign": "negative"}, UnknownNameError, "both"),
        ({"tail": "cpe", "capacitance": True}, InputError, "one tail"),
        ({"tail": "warburg-open", "along": "voltage"}, InputError, "Leave out along"),
        ({"inductance": "coil"}, InputError, "True or False"),
    ],
)
def test_mistakes_are_told(settings, error, text):
    with pytest.raises(error, match=text):
        drt.LogGaussian(**settings)


def test_a_capacitor_is_what_capacitance_is():
    given = spectra(ARCS + TAILS["capacitor"])
    one = drt.invert(given, drt.LogGaussian(tail="capacitor"))
    other = drt.invert(given, drt.LogGaussian(capacitance=True))
    np.testing.assert_array_equal(one.gamma, other.gamma)
    assert list(one.tail) == ["capacitor"]


@pytest.mark.slow
def test_files_jobs_and_the_command_line(found, tmp_path):
    given = drt.Spectra(FREQUENCY, found.impedance)
    drt.write_spectra(tmp_path / "a.h5", given)
    run = CliRunner().invoke(
        app, ["invert", str(tmp_path / "a.h5"), "-o", str(tmp_path / "b.h5"), "--tail", "auto", "--level", "0.95"]
    )
    assert run.exit_code == 0, run.output
    again = drt.read_inversion(tmp_path / "b.h5")
    assert again.method == found.method
    for name in ("coefficients", "tail_q", "tail_exponent", "tail_tau", "status"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    np.testing.assert_array_equal(again.intervals.tail_q_low, found.intervals.tail_q_low)
    np.testing.assert_allclose(again.with_spectra(given).r_pol_interval(0.9), found.r_pol_interval(0.9), rtol=1e-9)
