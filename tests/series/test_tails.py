"""Series of spectra with a tail at low frequencies: its kind, its exponents, and what is said of R_pol."""

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.methods.log_candidates import may_be_slow_arcs
from drt_engine.methods.log_gaussian import _smoothed

from ..conftest import zarc
from .conftest import VOLTAGE, arcs, r_pol

FREQUENCY = np.logspace(5, -2, 36)
OMEGA = 2j * np.pi * FREQUENCY
AMPLITUDE = 3.0 * np.exp(VOLTAGE - 3.0)
R_POL = np.array([r_pol(each) for each in VOLTAGE])


def with_tail(exponent, share=0.003):
    """Two arcs of which one grows, and a tail that grows; no tail for None."""
    rng = np.random.default_rng(5)
    z = np.array([10 + sum(zarc(FREQUENCY, *arc) for arc in arcs(each)) for each in VOLTAGE])
    if exponent is not None:
        z += AMPLITUDE[:, None] * OMEGA ** -np.broadcast_to(exponent, VOLTAGE.shape)[:, None]
    z += share * np.abs(z) * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    return drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE})


@pytest.fixture(scope="module")
def spectra():
    return with_tail(0.65)


@pytest.fixture(scope="module")
def result(spectra):
    return drt.invert(spectra, drt.LogGaussian(along="voltage", tail="cpe"), level=0.95)


def test_r_pol_is_that_of_the_arcs(result):
    assert result.solved.all()
    assert (result.optimality < 1e-9).all()
    np.testing.assert_allclose(result.r_pol, R_POL, rtol=0.03)
    low, high = result.r_pol_interval(0.95)
    assert ((low < R_POL) & (high > R_POL)).all()
    assert (high - low < 0.2 * R_POL).all()


def test_exponents_that_agree_within_their_errors_are_one(result):
    assert np.ptp(result.tail_exponent) < 1e-12
    assert result.tail_exponent[0] == pytest.approx(0.65, abs=0.03)
    found = result.intervals
    assert (found.tail_exponent_low < 0.65).all()
    assert (found.tail_exponent_high > 0.65).all()
    assert ((found.tail_q_low < 1 / AMPLITUDE) & (found.tail_q_high > 1 / AMPLITUDE)).all()


def test_the_fit_is_that_of_the_parameters(result, spectra):
    off = np.abs(result.impedance_at(FREQUENCY) / spectra.impedance - 1.0)
    np.testing.assert_allclose(np.sqrt((off**2).mean(axis=1)), result.residual, rtol=1e-6)
    assert (result.residual < 0.006).all()


def test_exponents_that_change_follow_a_line():
    truth = np.linspace(0.6, 0.8, VOLTAGE.size)
    result = drt.invert(with_tail(truth, share=0.001), drt.LogGaussian(along="voltage", tail="cpe"))
    np.testing.assert_allclose(result.tail_exponent, truth, atol=0.03)
    np.testing.assert_allclose(np.diff(result.tail_exponent, 2), 0.0, atol=1e-3)
    np.testing.assert_allclose(result.r_pol, R_POL, rtol=0.03)


def test_changes_and_predictions_have_the_tail(result, spectra):
    change = result.change(0, 7)
    assert change.r_pol_low < R_POL[7] - R_POL[0] < change.r_pol_high
    assert change.r_pol_high - change.r_pol_low < 0.25 * R_POL[0]
    assert (result.predictions().score < 1.0).all()
    assert np.isfinite(result.gamma_at([1e-3], voltage=3.33)).all()


def test_series_of_one_campaign_may_have_different_tails():
    cells = [with_tail(exponent) for exponent in (0.65, None)]
    states = pd.concat([one.states.assign(cell=cell) for one, cell in zip(cells, "AB", strict=True)], ignore_index=True)
    both = drt.Spectra(FREQUENCY, np.concatenate([one.impedance for one in cells]), states)
    result = drt.invert(both, drt.LogGaussian(along="voltage", tail="auto"))
    assert [set(result.tail[:8]), set(result.tail[8:])] == [{"cpe"}, {"none"}]
    found = result.peaks()
    for cell in (slice(8), slice(8, 16)):
        rows = np.arange(16)[cell]
        alone = result[cell].peaks()
        own = found[found["spectrum"].isin(rows)]
        for name in ("r", "tau", "r_error"):
            np.testing.assert_allclose(own[name], alone[name], rtol=1e-9, err_msg=name)
    change = result.change(0, 8)
    assert change.r_pol_low < 0.0 < change.r_pol_high


@pytest.mark.slow
@pytest.mark.parametrize(("exponent", "kind"), [(0.5, "warburg"), (1.0, "capacitor"), (None, "none")])
def test_auto_takes_one_kind_for_all(exponent, kind):
    result = drt.invert(with_tail(exponent), drt.LogGaussian(along="voltage", tail="auto"))
    assert set(result.tail) == {kind}
    np.testing.assert_allclose(result.r_pol, R_POL, rtol=0.03)


@pytest.mark.slow
@pytest.mark.recorded
@pytest.mark.parametrize(
    ("slow", "expected"), [(zarc(FREQUENCY, 50, 160 / OMEGA[-1].imag, 0.8), True), (2 / OMEGA, False)]
)
def test_an_arc_far_beyond_the_window_that_is_read_as_a_tail_is_said_to_be_one_perhaps(slow, expected):
    spectra = with_tail(None, share=0.001)
    spectra = drt.Spectra(FREQUENCY, spectra.impedance + slow, spectra.states)
    result = drt.invert(spectra, drt.LogGaussian(along="voltage", tail="auto"))
    assert set(result.tail) != {"none"}
    assert ((result.status & drt.Status.TAIL_UNCERTAIN) != 0).all() == expected
    np.testing.assert_allclose(result.r_pol, R_POL, rtol=0.03)


@pytest.mark.parametrize(
    ("tail", "number", "expected"),
    [("none", 8, False), ("cpe", 6, False), ("cpe", 7, True), ("warburg", 5, True), ("warburg", 4, False)],
)
def test_evidence_of_what_is_beyond_the_window_does_not_add_up(tail, number, expected):
    assert may_be_slow_arcs({"none": 3.0, "cpe": 31.0, "warburg": 25.0}, tail, number) == expected


def test_a_known_exponent_is_held(spectra):
    for along in (None, "voltage"):
        result = drt.invert(spectra, drt.LogGaussian(along=along, tail="cpe", exponent=0.65))
        assert (result.tail_exponent == 0.65).all()
        np.testing.assert_allclose(result.r_pol, R_POL, rtol=0.03)
        np.testing.assert_allclose(1 / result.tail_q, AMPLITUDE, rtol=0.05)


def test_a_file_says_the_same(tmp_path, result, spectra):
    drt.write_inversion(tmp_path / "r.h5", result)
    again = drt.read_inversion(tmp_path / "r.h5").with_spectra(spectra)
    assert again.method == result.method
    np.testing.assert_array_equal(again.r_pol_interval(0.9), result.r_pol_interval(0.9))


def test_missing_points_and_order_change_nothing_for_others(spectra):
    z = spectra.impedance.copy()
    z[3, 10:12], z[5] = np.nan, np.nan
    method = drt.LogGaussian(along="voltage", tail="warburg")
    order = np.array([6, 1, 5, 0, 7, 3, 2, 4])
    one = drt.invert(drt.Spectra(FREQUENCY, z, {"voltage": VOLTAGE}), method)
    other = drt.invert(drt.Spectra(FREQUENCY, z[order], {"voltage": VOLTAGE[order]}), method)
    np.testing.assert_array_equal(other.coefficients, one.coefficients[order])
    assert one.solved.sum() == 7


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.6, 0.62, 0.59, 0.61, 0.6], [0.604] * 5),
        ([0.5, 0.55, 0.6, 0.65, 0.7], [0.5, 0.55, 0.6, 0.65, 0.7]),
        ([0.5, 0.59, 0.66, 0.71, 0.74], [0.5, 0.59, 0.66, 0.71, 0.74]),
    ],
)
def test_the_simplest_course_that_errors_admit_is_taken(values, expected):
    np.testing.assert_allclose(_smoothed(np.array(values), np.full(5, 0.015), np.arange(5.0)), expected, atol=2e-3)


def test_exponents_without_a_course_keep_most_of_what_is_their_own():
    jumping = np.array([0.5, 0.8, 0.5, 0.8, 0.5, 0.8, 0.5, 0.8])
    np.testing.assert_allclose(_smoothed(jumping, np.full(8, 0.01), np.arange(8.0)), jumping, atol=0.01)
    unknown = np.full(3, np.nan)
    assert _smoothed(np.array([0.5, 0.6, 0.5]), unknown, np.arange(3.0)).tolist() == [0.5, 0.6, 0.5]


@pytest.mark.parametrize(
    "options",
    [
        {"tail": "warburg-open"},
        {"tail": "auto", "sign": "both"},
        {"tail": "cpe", "along": ("voltage", "cycle")},
        {"inductance": "cpe"},
    ],
)
def test_what_is_not_inverted_together_is_refused(options):
    with pytest.raises(drt.InputError, match="constant-phase or Warburg"):
        drt.LogGaussian(**{"along": "voltage"} | options)


@pytest.mark.parametrize(
    "options", [{"exponent": 0.6}, {"tail": "cpe", "exponent": 1.4}, {"tail": "cpe", "exponent": "x"}]
)
def test_an_exponent_is_that_of_a_constant_phase_element(options):
    with pytest.raises(drt.InputError, match="exponent is that of tail='cpe'"):
        drt.LogGaussian(**options)
