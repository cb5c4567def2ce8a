"""The linear Kramers-Kronig test against dense least squares, impedance.py and pyimpspec."""

import contextlib
import io
import itertools

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.validation import LinearKramersKronig, Validity, validate
from drt_engine.validation.single import _beside

from .made import FREQUENCY, OMEGA, blocking, cells, dense, spectra_of

OPTIONS = list(
    itertools.product(("complex", "re", "im"), (False, True), (True, False), (False, True), ("modulus", "unit"))
)


def method_of(part, admittance, inductance, capacitance, weighting="modulus", **others):
    return LinearKramersKronig(
        part=part,
        representation="admittance" if admittance else "impedance",
        inductance=inductance,
        capacitance=capacitance,
        weighting=weighting,
        **others,
    )


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("elements", [1, 7, 15])
def test_residuals_and_mu_are_those_of_dense_least_squares(option, elements):
    z = cells()
    found = validate(spectra_of(z), method_of(*option, elements=(elements, elements)))
    assert (found.elements == elements).all()
    for k in range(len(z)):
        residual, mu = dense(z[k], elements, *option)
        np.testing.assert_allclose(found.residual[k], residual, rtol=0, atol=1e-8)
        if np.isfinite(mu):
            assert found.mu[k] == pytest.approx(mu, abs=1e-6 * (1 + abs(mu)))
        else:
            assert found.mu[k] == mu


@pytest.mark.parametrize("make", [cells, blocking])
@pytest.mark.parametrize("part", ["complex", "re", "im"])
@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_elements_are_the_first_below_the_threshold(make, part, noise):
    z = make(noise=noise)
    method = LinearKramersKronig(part=part, capacitance=make is blocking)
    found = validate(spectra_of(z), method)
    for k in range(len(z)):
        for count in range(3, FREQUENCY.size - 1):
            residual, mu = dense(z[k], count, part, capacitance=make is blocking)
            if mu <= 0.85:
                break
        assert found.elements[k] == count
        assert found.mu[k] == pytest.approx(mu, abs=1e-4)
        np.testing.assert_allclose(found.residual[k], residual, rtol=0, atol=1e-7)


def test_exact_data_go_the_careful_way_and_end():
    z = cells(noise=0.0)
    found = validate(spectra_of(z))
    assert found.valid.all()
    assert (found.noise < 1e-5).all()
    for k in range(len(z)):
        np.testing.assert_allclose(found.residual[k], dense(z[k], int(found.elements[k]))[0], rtol=0, atol=1e-8)


NARROW = np.logspace(3, 1, 41)


@pytest.mark.parametrize("part", ["complex", "re", "im"])
@pytest.mark.parametrize("elements", [(20, 20), (30, 30), (3, 39)])
def test_ill_conditioned_models_are_solved_by_orthogonalisation(part, elements):
    # Twenty elements in two decades are nearly dependent; what they leave is rounding, as it is in numpy.
    omega = 2 * np.pi * NARROW
    z = np.array([5 + 20 / (1 + 1e-3j * omega) + (30 + k) / (1 + 4e-3j * omega) for k in range(3)])
    found = validate(spectra_of(z, frequency=NARROW), LinearKramersKronig(part, elements=elements, capacitance=False))
    shown = {"complex": np.abs, "re": np.real, "im": np.imag}[part]
    for k in range(len(z)):
        residual, _ = dense(z[k], int(found.elements[k]), part, omega=omega)
        np.testing.assert_allclose(shown(found.residual[k]), shown(residual), rtol=0, atol=1e-8)
    assert found.valid.all()
    assert ((found.mu <= 0.85) | (found.elements == elements[1])).all()


@pytest.fixture(scope="module")
def lin_kk():
    """LinKK of impedance.py, silent; it evaluates text in a namespace that lacks numpy 2's own names."""
    validation = pytest.importorskip("impedance.validation")
    from impedance.models.circuits.elements import circuit_elements

    circuit_elements["np"] = np

    def run(frequency, z, **options):
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            return validation.linKK(frequency, z, **options)

    yield run
    del circuit_elements["np"]


@pytest.mark.parametrize("capacitance", [False, True])
@pytest.mark.parametrize(("part", "name"), [("complex", "complex"), ("re", "real")])
def test_impedance_py_agrees(lin_kk, part, name, capacitance):
    z = cells(rows=3)
    found = validate(spectra_of(z), LinearKramersKronig(part=part, capacitance=capacitance))
    for k in range(len(z)):
        count, mu, _, re, im = lin_kk(FREQUENCY, z[k], c=0.85, max_M=41, fit_type=name, add_cap=capacitance)
        assert abs(count - found.elements[k]) <= 1
        same = validate(spectra_of(z[k]), LinearKramersKronig(part, capacitance=capacitance, elements=(count, count)))
        assert same.mu[0] == pytest.approx(mu, abs=1e-5)
        np.testing.assert_allclose(same.residual[0], re + 1j * im, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("admittance", [False, True])
@pytest.mark.parametrize(("part", "name"), [("complex", "complex"), ("re", "real"), ("im", "imaginary")])
@pytest.mark.parametrize("weighting", ["modulus", "unit"])
def test_pyimpspec_agrees(part, name, admittance, weighting):
    pyimpspec = pytest.importorskip("pyimpspec")
    from pyimpspec.analysis.kramers_kronig import evaluate_log_F_ext
    from pyimpspec.analysis.kramers_kronig.algorithms import suggest_num_RC_method_1

    # Its matrix inversion weights by the modulus and its least squares do not; with a capacitance in both.
    z = cells(rows=1)[0]
    kind = name + ("-inv" if weighting == "modulus" else "")
    [(_, tests, _)] = evaluate_log_F_ext(
        pyimpspec.DataSet(FREQUENCY, z), test=kind, num_RCs=list(range(3, 31)), add_capacitance=True,
        add_inductance=True, admittance=admittance, num_F_ext_evaluations=0, log_F_ext=0.0, num_procs=1,
    )  # fmt: skip
    scores = suggest_num_RC_method_1(tests, mu_criterion=0.85, beta=0.0)
    count = max(scores, key=scores.get)
    method = method_of(part, admittance, True, True, weighting, elements=(3, 30))
    assert abs(count - validate(spectra_of(z), method).elements[0]) <= 1
    if name != "complex" and weighting == "unit":
        return  # how it fits the other part then is not said
    theirs = next(test for test in tests if test.num_RC == count).get_impedances()
    residual = (1 / z - 1 / theirs) * np.abs(z) if admittance else (z - theirs) / np.abs(z)
    same = validate(spectra_of(z), method_of(part, admittance, True, True, weighting, elements=(count, count)))
    shown = {"complex": complex, "re": np.real, "im": np.imag}[part]
    mine = same.residual[0]
    if part == "complex":
        np.testing.assert_allclose(mine, residual, rtol=0, atol=1e-6)
    else:
        np.testing.assert_allclose(shown(mine), shown(residual), rtol=0, atol=1e-6)


def test_scale_does_not_matter():
    z = cells()
    whole = validate(spectra_of(z))
    for factor in (1e-6, 3.7, 1e6):
        scaled = validate(spectra_of(factor * z))
        np.testing.assert_array_equal(scaled.elements, whole.elements)
        np.testing.assert_array_equal(scaled.flag, whole.flag)
        for name in ("residual", "mu", "noise", "score", "drift"):
            np.testing.assert_allclose(getattr(scaled, name), getattr(whole, name), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_neighbours_and_threads_change_no_bit(threads, monkeypatch):
    monkeypatch.setenv("DRT_ENGINE_THREADS", threads)
    monkeypatch.setattr("drt_engine.validation.bulk._TILES", (70, 100))
    z = np.concatenate([cells(150), blocking(30)])
    z[5, 3] *= 1.1
    z[70, 20:30] = np.nan
    z[100] *= 1 + 0.1 * np.linspace(0, 1, FREQUENCY.size)
    order = np.random.default_rng(0).permutation(len(z))
    whole, mixed = validate(spectra_of(z)), validate(spectra_of(z[order]))
    for name in ("residual", "elements", "mu", "noise", "drift", "drift_error", "score", "flag", "outlier"):
        np.testing.assert_array_equal(getattr(whole, name)[order], getattr(mixed, name))
        for row in (0, 5, 70, 100, 160):
            np.testing.assert_array_equal(getattr(validate(spectra_of(z[row])), name)[0], getattr(whole, name)[row])


def test_missing_points_are_left_out():
    z = cells(rows=6)
    kept = np.delete(np.arange(FREQUENCY.size), [0, 7, 30])
    gap = z.copy()
    gap[2, [0, 7, 30]] = [np.nan, np.inf, 0.0]
    found, whole = validate(spectra_of(gap)), validate(spectra_of(z))
    alone = validate(drt.Spectra(FREQUENCY[kept], z[2][kept]))
    np.testing.assert_array_equal(found.residual[2][kept], alone.residual[0])
    assert np.isnan(found.residual[2][[0, 7, 30]]).all()
    assert found.flag[2] == Validity.POINTS_MISSING
    assert found.valid[2]
    assert found.rms[2] == pytest.approx(100 * np.sqrt(np.mean(np.abs(alone.full_residual[0]) ** 2)))
    others = np.delete(np.arange(6), 2)
    np.testing.assert_array_equal(found.residual[others], whole.residual[others])


def test_rows_that_cannot_be_tested_get_a_flag():
    z = cells(rows=6)
    z[1] = np.nan
    z[2] = 0.0
    z[3, 4:] = np.nan
    z[4] = 7.0
    z[5] = 1e-310
    found = validate(spectra_of(z))
    assert found.flag[:4].tolist() == [0, Validity.NOT_FINITE, Validity.NOT_FINITE, Validity.TOO_FEW_POINTS]
    assert found.flag[5] == Validity.NOT_FINITE
    assert found.tested.tolist() == [True, False, False, False, True, False]
    assert np.isnan(found.residual[1:4]).all()
    assert np.isnan(found.score[1:4]).all()
    assert np.isnan(found.rms[1:4]).all()
    assert found.valid[4]
    np.testing.assert_allclose(found.residual[4], 0, atol=1e-12)
    assert "NaN" in Validity(int(found.flag[1])).message


def test_few_points_are_enough():
    f = np.logspace(3, 0, 5)
    found = validate(drt.Spectra(f, 1 + 1 / (1 + 1j * f)))
    assert found.tested.all()
    assert found.elements[0] == 3
    assert np.isfinite(found.score).all()
    # As many points as the model has unknowns leave nothing.
    f = np.array([36336.7705, 9095.9907, 2276.951, 569.977, 142.6793])
    z = np.array([3.00074 - 0.04332j, 3.00052 - 0.17402j, 3.00492 - 0.69876j, 3.07662 - 2.79013j, 4.22762 - 11.01783j])
    assert validate(drt.Spectra(f, z)).tested.all()


def test_what_takes_too_many_steps_explains_nothing(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("Maximum number of iterations reached.")

    rng = np.random.default_rng(6)
    columns, allowed, data = rng.standard_normal((3, 40)), rng.standard_normal((2, 40)), rng.standard_normal(40)
    monkeypatch.setattr("scipy.optimize.nnls", refuse)
    beside, rest = _beside(columns, allowed, data)
    assert not beside.any()
    np.testing.assert_allclose(rest, data - columns.T @ np.linalg.lstsq(columns.T, data)[0], atol=1e-12)


@pytest.mark.parametrize(("points", "decades"), [(5, 5), (8, 2), (8, 7), (10, 5), (15, 7), (31, 5)])
def test_few_points_are_not_called_noisy(points, decades):
    f = np.logspace(5, 5 - decades, points)
    w, rng = 2j * np.pi * f, np.random.default_rng(points)
    z = 10 + 20 / (1 + (w * 2e-4) ** 0.9) + 50 / (1 + (w * 0.05) ** 0.85)
    off = rng.standard_normal((100, points)) + 1j * rng.standard_normal((100, points))
    small, large = ((validate(drt.Spectra(f, z * (1 + by * off))).flag & Validity.NOISY) != 0 for by in (0.003, 0.05))
    assert not small.any()
    assert large.all() or points < 31


def test_a_capacitance_is_added_where_it_is_needed():
    assert validate(spectra_of(np.concatenate([cells(3), blocking(3)]))).valid.all()
    z = np.concatenate([cells(3), blocking(20)])
    found = validate(spectra_of(z))
    added = (found.flag & Validity.CAPACITANCE_ADDED) > 0
    assert added.tolist() == [False] * 3 + [True] * 20
    assert found.valid.sum() >= 22
    told = validate(spectra_of(z), LinearKramersKronig(capacitance=True))
    np.testing.assert_array_equal(found.residual[3:], told.residual[3:])
    without = validate(spectra_of(z), LinearKramersKronig(capacitance=False))
    np.testing.assert_array_equal(found.residual[:3], without.residual[:3])
    assert without.valid[:3].all()
    # Slow terms beyond the window pass for a capacitance now and then: 5 of 60.
    assert without.valid[3:].sum() <= 4


def test_a_negative_resistance_is_for_the_admittance():
    # a resistance of −50 ohm beside a capacitance, behind 20 ohm: stable at constant voltage, not at constant current
    z = 20 - 50 / (1 - 1j * OMEGA * 1e-2)
    rng = np.random.default_rng(4)
    z = z * (1 + 0.002 * (rng.standard_normal(z.size) + 1j * rng.standard_normal(z.size)))
    assert validate(spectra_of(z)).flag[0] & Validity.INCONSISTENT
    found = validate(spectra_of(z), LinearKramersKronig(representation="admittance"))
    assert found.valid[0]
    assert found.noise[0] == pytest.approx(0.002, rel=0.3)


MISTAKES = {
    "part": ({"part": "real"}, "part 'real' is not known; expected one of 'complex', 're', 'im'"),
    "representation": ({"representation": "Y"}, "representation 'Y' is not known"),
    "weighting": ({"weighting": "boukamp"}, "weighting 'boukamp' is not known"),
    "inductance": ({"inductance": 1}, "inductance must be True or False; got 1"),
    "capacitance": ({"capacitance": "yes"}, "capacitance must be True, False or 'auto'; got 'yes'"),
    "threshold": ({"threshold": 1.5}, "threshold must be a number from 0 to 1; got 1.5"),
    "alarms": ({"false_alarms": True}, "false_alarms must be a number"),
    "elements": ({"elements": (5, 3)}, "from 1 that ascend"),
    "one": ({"elements": 5}, "two whole numbers; got 5"),
    "halves": ({"elements": (3.5, 9)}, "two whole numbers"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    options, message = MISTAKES[name]
    with pytest.raises(InputError, match=message):
        LinearKramersKronig(**options)


def test_wrong_types_are_explained():
    with pytest.raises(InputError, match="must be a Spectra; got list"):
        validate([1, 2])
    with pytest.raises(InputError, match="LinearKramersKronig"):
        validate(spectra_of(cells()), LinearKramersKronig)
