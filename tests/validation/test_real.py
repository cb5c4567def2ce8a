"""The linear Kramers-Kronig test on measured spectra, against impedance.py and pyimpspec.

Skipped unless DRT_ENGINE_DATA names the folder of the data.
"""

import contextlib
import io

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.validation import LinearKramersKronig, clean, validate

from .made import dense

pytestmark = pytest.mark.real


def first_sweep(file):
    table = np.array([row.split()[:7] for row in file.read_text().splitlines() if row[0] in "0123456789"], float)
    end = np.flatnonzero(np.diff(table[:, 2], prepend=-np.inf) > 0)[1]
    return table[:end, 2], table[:end, 3] - 1j * table[:end, 4]


def zplot(file):
    lines = file.read_text(errors="replace").splitlines()
    start = next(k for k, line in enumerate(lines) if line.strip() == "End Comments")
    table = np.array([line.split()[:6] for line in lines[start + 1 :] if line.strip()], float)
    return table[:, 0], table[:, 4] + 1j * table[:, 5]


def ec_lab(file):
    lines = file.read_text(encoding="latin-1").splitlines()
    head = int(lines[1].split(":")[1])
    names = lines[head - 1].split("\t")
    table = np.array([line.split("\t") for line in lines[head:]])
    f, re, im = (table[:, names.index(name)].astype(float) for name in ("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"))
    return f[f > 0], (re - 1j * im)[f > 0]


def columns(file):
    f, re, im = np.loadtxt(file.read_text().replace(",", " ").splitlines()).T
    return f, re + 1j * im


FILES = (
    *((f"drttools/{name}", columns) for name in ("LIB_data.txt", "LIB_data_2.txt", "data_1.csv")),
    *((f"drttools/{name}", columns) for name in ("negami_data.txt", "zarc_data.txt")),
    ("instruments/exampleData.csv", columns),
    *((f"instruments/Circuit{k}_EIS_{n}.z", zplot) for k in (1, 2, 3) for n in (1, 2)),
    ("solid_state/PEIS_LPSCl_IonBlocking_-25C.txt", ec_lab),
    *((f"zhang2020/EIS_state_{name}.txt", first_sweep) for name in ("V_35C02", "I_25C07", "IX_25C08", "III_35C02")),
)


@pytest.fixture(params=FILES, ids=[name for name, _ in FILES])
def spectrum(request, real_data):
    name, read = request.param
    f, z = read(real_data / name)
    _, first = np.unique(f, return_index=True)
    return drt.Spectra(f[first], z[first])


@pytest.mark.slow
@pytest.mark.parametrize("capacitance", [False, True])
@pytest.mark.parametrize(("part", "name"), [("complex", "complex"), ("re", "real")])
def test_impedance_py_agrees(spectrum, part, name, capacitance):
    validation = pytest.importorskip("impedance.validation")
    from impedance.models.circuits.elements import circuit_elements

    circuit_elements["np"] = np  # the text that it evaluates has numpy 2's own names
    f, z = spectrum.frequency, spectrum.impedance[0]
    most = min(50, f.size - 2)
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        count, _, _, re, im = validation.linKK(f, z, c=0.85, max_M=most, fit_type=name, add_cap=capacitance)
    found = validate(spectrum, LinearKramersKronig(part, capacitance=capacitance, elements=(1, most)))
    assert abs(found.elements[0] - count) <= 1
    same = validate(spectrum, LinearKramersKronig(part, capacitance=capacitance, elements=(count, count)))
    np.testing.assert_allclose(same.residual[0], re + 1j * im, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("admittance", [False, True])
def test_pyimpspec_agrees(spectrum, admittance):
    pyimpspec = pytest.importorskip("pyimpspec")
    from pyimpspec.analysis.kramers_kronig import evaluate_log_F_ext
    from pyimpspec.analysis.kramers_kronig.algorithms import suggest_num_RC_method_1

    f, z = spectrum.frequency, spectrum.impedance[0]
    most = min(40, f.size - 2)
    [(_, tests, _)] = evaluate_log_F_ext(
        pyimpspec.DataSet(f, z), test="complex-inv", num_RCs=list(range(3, most + 1)), add_capacitance=True,
        add_inductance=True, admittance=admittance, num_F_ext_evaluations=0, log_F_ext=0.0, num_procs=1,
    )  # fmt: skip
    scores = suggest_num_RC_method_1(tests, mu_criterion=0.85, beta=0.0)
    representation = "admittance" if admittance else "impedance"
    found = validate(spectrum, LinearKramersKronig("complex", representation, capacitance=True, elements=(3, most)))
    count = int(found.elements[0])
    if max(scores.values()) > 0:
        assert abs(count - max(scores, key=scores.get)) <= 1
    theirs = next(test for test in tests if test.num_RC == count).get_impedances()
    residual = (1 / z - 1 / theirs) * np.abs(z) if admittance else (z - theirs) / np.abs(z)
    best, _ = dense(z, count, admittance=admittance, capacitance=True, omega=2 * np.pi * f)
    np.testing.assert_allclose(found.residual[0], best, rtol=0, atol=1e-9)
    if np.abs(found.residual[0] - residual).max() > 1e-6:
        # It inverts a matrix whose condition is squared; then its sum of squares is not the smallest.
        assert np.sum(np.abs(residual) ** 2) > np.sum(np.abs(best) ** 2)
        assert np.abs(found.residual[0] - residual).max() < 2e-6


def test_every_file_can_be_validated_and_cleaned(spectrum):
    found = validate(spectrum)
    assert found.tested.all()
    assert np.isfinite(found.residual).all()
    assert 0 < found.noise[0] < 0.2
    cleaned = clean(spectrum)
    assert len(cleaned.record) == found.outlier.sum() == np.isnan(cleaned.spectra.impedance).sum()


def test_cells_at_rest_pass_and_cells_under_current_do_not(real_data):
    rest, current = (
        validate(drt.Spectra(*first_sweep(real_data / f"zhang2020/EIS_state_{state}_35C02.txt")))
        for state in ("V", "III")
    )
    assert rest.score[0] < 2
    assert rest.rms[0] < 0.5
    assert current.score[0] > 4
    assert current.rms[0] > 4
    spirals = [first_sweep(real_data / f"zhang2020/EIS_state_{name}.txt") for name in ("VI_25C07", "II_35C02")]
    flags = [validate(drt.Spectra(*sweep)).flag[0] for sweep in spirals]
    assert all(flag & drt.Validity.INCONSISTENT and not flag & drt.Validity.WRONG_SIGN for flag in flags)
