"""Spectra that no cell ever gave, among good ones: each gets a status, and the good ones do not notice."""

import numpy as np
import pytest

import drt_engine as drt

RESULTS = ("coefficients", "r_inf", "inductance", "capacitance", "regularisation", "residual", "optimality", "status")
ROWS, GOOD = 480, 120


pytestmark = pytest.mark.usefixtures("quick")


def good_rows(frequency, rng):
    omega = 2j * np.pi * frequency
    size = rng.uniform(0.5, 2.0, (GOOD, 1))
    z = 5 + 1e-7 * omega + 20 * size / (1 + (omega * 1e-3) ** 0.85) + 30 / size / (1 + (omega * 0.3) ** 0.8)
    return z * (1 + 0.003 * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape)))


def one_point(z, rng):
    kept = rng.integers(z.size)
    out = np.full_like(z, np.nan)
    out[kept] = z[kept]
    return out


def sprinkled(*values):
    def spoil(z, rng):
        out = z.copy()
        out[rng.random(z.size) < rng.uniform(0.0, 1.0)] = rng.choice(values)
        return out

    return spoil


HOSTILE = {
    "nan": lambda z, rng: np.full_like(z, np.nan),
    "inf": lambda z, rng: np.full_like(z, complex(np.inf, -np.inf)),
    "nan in one part": lambda z, rng: np.column_stack([z.real, np.full(z.size, np.nan)]).view(complex)[:, 0],
    "some nan": sprinkled(np.nan),
    "some inf": sprinkled(np.inf, -np.inf, 1j * np.inf),
    "some huge": sprinkled(1e30, -1e30, 1e30j, 1e300),
    "one point": one_point,
    "zeros": lambda z, rng: np.zeros_like(z),
    "one zero": sprinkled(0.0),
    "constant": lambda z, rng: np.full_like(z, complex(*rng.standard_normal(2))),
    "real constant": lambda z, rng: np.full_like(z, 7.0),
    "imaginary": lambda z, rng: 1j * z.imag,
    "negative real": lambda z, rng: -z.real + 1j * z.imag,
    "sign turned": lambda z, rng: z.conj(),
    "turned round": lambda z, rng: z[::-1].copy(),
    "tiny": lambda z, rng: z * 1e-30,
    "huge": lambda z, rng: z * 1e30,
    "near underflow": lambda z, rng: z * 1e-305,
    "near overflow": lambda z, rng: z * 1e306,
    "any scale": lambda z, rng: z * 10.0 ** rng.uniform(-300, 300),
    "outlier": lambda z, rng: np.where(np.arange(z.size) == rng.integers(z.size), z * 1e12, z),
    "alternating": lambda z, rng: z * (-1.0) ** np.arange(z.size),
    "noise": lambda z, rng: rng.standard_normal(z.size) + 1j * rng.standard_normal(z.size),
    "scattered scales": lambda z, rng: z * 10.0 ** rng.uniform(-30, 30, z.size),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Good spectra alone, the same among hostile ones, which rows they are there, and what the others are."""
    rng = np.random.default_rng(20)
    frequency = np.logspace(4, -2, 25)
    good = good_rows(frequency, rng)
    kinds = rng.permutation([list(HOSTILE)[k % len(HOSTILE)] for k in range(ROWS)])
    order = rng.permutation(GOOD + ROWS)
    z = np.empty((GOOD + ROWS, frequency.size), dtype=complex)
    z[order[:GOOD]] = good
    z[order[GOOD:]] = [HOSTILE[kind](good[rng.integers(GOOD)], rng) for kind in kinds]
    names = np.empty(GOOD + ROWS, dtype=object)
    names[order[:GOOD]], names[order[GOOD:]] = "good", kinds
    folder = tmp_path_factory.mktemp("hostile")
    drt.write_spectra(folder / "good.h5", drt.Spectra(frequency, good))
    drt.write_spectra(folder / "mixed.h5", drt.Spectra(frequency, z, {"kind": names}))
    return folder, order[:GOOD]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tikhonov", "log-gaussian"])
def test_every_row_has_a_status_and_the_good_ones_do_not_notice(files, method, cli):
    folder, good = files
    options = ("--method", method, "--overwrite")
    assert cli("invert", folder / "good.h5", "--strict", *options).code == 0
    ran = cli("invert", folder / "mixed.h5", *options)
    assert ran.code == 0
    # What takes long says how far it is.
    assert ran.err == "" or method == "log-gaussian"
    assert f"{GOOD + ROWS} spectra" in ran.out
    alone = drt.read_inversion(folder / "good.drt.h5")
    among = drt.read_inversion(folder / "mixed.drt.h5")
    for name in RESULTS:
        np.testing.assert_array_equal(getattr(among, name)[good], getattr(alone, name), err_msg=name)
    assert alone.solved.all()
    rows = np.column_stack([among.coefficients, among.r_inf, among.inductance, among.residual])
    np.testing.assert_array_equal(np.isfinite(rows).all(axis=1), among.solved)
    assert np.isnan(rows[~among.solved]).all()
    assert (among.optimality[among.solved] <= 1e-8).all()
    assert (among.coefficients[among.solved] >= 0).all()
    kinds = among.states["kind"].to_numpy()
    # What is only scaled is a good spectrum; of what has no points, or another sign, there is no solution.
    for kind in ("tiny", "huge", "near underflow", "near overflow", "any scale"):
        assert among.solved[kinds == kind].all()
    for kind in ("nan", "inf", "nan in one part", "one point", "sign turned"):
        assert not among.solved[kinds == kind].any()


@pytest.mark.slow
def test_strict_says_by_its_exit_code_that_some_have_no_answer(files, cli):
    folder, _ = files
    options = (folder / "mixed.h5", "-o", folder / "strict.h5", "--overwrite", "--where")
    without = "kind in ['nan', 'one point', 'tiny']"
    ran = cli("invert", *options, without, "--strict")
    counts = drt.read_inversion(folder / "strict.h5").counts()
    failed = counts["not finite"] + counts["too few points"]
    assert (ran.code, ran.err) == (1, f"drt-engine: {failed} spectra have no solution.\n")
    assert f"{counts['not finite']} not finite, {counts['too few points']} too few points" in ran.out
    assert cli("invert", *options, without).code == 0
    assert cli("invert", *options, "kind == 'tiny'", "--strict").code == 0


def test_a_shared_lambda_of_the_good_ones_is_not_touched_by_what_has_no_answer(tmp_path, cli, files):
    folder, good = files
    spectra = drt.read_spectra(folder / "mixed.h5", rows=np.sort(good))
    cells = {"cell": ["a"] * GOOD}
    drt.write_spectra(tmp_path / "good.h5", drt.Spectra(spectra.frequency, spectra.impedance, cells))
    worse = np.concatenate([spectra.impedance, np.full((50, 25), np.nan), spectra.impedance[:50].conj()])
    drt.write_spectra(
        tmp_path / "mixed.h5", drt.Spectra(spectra.frequency, worse, {"cell": ["a"] * (GOOD + 50) + ["b"] * 50})
    )
    for name in ("good", "mixed"):
        assert cli("invert", tmp_path / f"{name}.h5", "--method", "tikhonov", "--shared", "cell").code == 0
    alone, among = (drt.read_inversion(tmp_path / f"{name}.drt.h5") for name in ("good", "mixed"))
    np.testing.assert_array_equal(among.coefficients[:GOOD], alone.coefficients)
    assert not among.solved[GOOD:].any()
