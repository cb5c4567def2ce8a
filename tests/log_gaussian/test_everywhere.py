"""Tails, signs, representations, kernels and drift on spectra that have them: jobs, files, command line, properties."""

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.result_fields import INTERVAL_UNITS, PER_SPECTRUM

from ..conftest import zarc
from ..jobs.conftest import cli, quick  # noqa: F401 - fixtures

FREQUENCY = np.logspace(4, -2, 31)
S = 2j * np.pi * FREQUENCY
TIME = np.cumsum(np.maximum(3 / FREQUENCY, 0.2))
WITHIN = (TIME - TIME[0]) / np.ptp(TIME) - 0.5
ARCS = 10 + zarc(FREQUENCY, 20, 2e-3, 0.9) + zarc(FREQUENCY, 50, 0.3, 0.85)
NEGATIVE = 25 + 125 / (1 + 1.25e-4 * S**0.97) - 250 / (1 - 0.0125 * S**0.95)
SIZE = np.linspace(1.0, 1.4, 5)[:, None]


def signs(result):
    return (result.gamma[3] < 0).any() and (result.gamma[3] > 0).any() and (result.gamma[2] > 0).all()


# Impedances, shape (5, F), settings, and what the result must have so that the case is one.
LOOPS = 1 + SIZE * zarc(FREQUENCY, 1, 0.01, 0.9) - np.array([0.2, 0.3, 0, 0.2, 0.2])[:, None] / (1 + 3 * S)
# With a tail as well, such a spectrum takes two seconds.
LOOP = 1 + SIZE * zarc(FREQUENCY, 1, 0.01, 0.9) - np.array([0, 0, 0, 0.2, 0])[:, None] / (1 + 3 * S)
CASES = {
    "tail": (
        ARCS * SIZE + np.array([0, 3, 0, 5, 3])[:, None] / S**0.7,
        {"tail": "auto"},
        lambda result: {"none", "cpe"} <= set(result.tail),
    ),
    "lossy inductance": (
        5 + 2e-3 * S**0.8 + SIZE * zarc(FREQUENCY, 20, 1e-1, 0.9),
        {"inductance": "cpe"},
        lambda result: ((result.inductance_exponent > 0.7) & (result.inductance_exponent < 0.9))[[0, 1, 3]].all(),
    ),
    "sign": (LOOPS, {"sign": "both"}, signs),
    "sign, tail": (LOOP, {"sign": "both", "tail": "cpe"}, signs),
    "representation": (
        # A negative resistance beside a capacitor: a pole in the right half plane.
        SIZE * np.where(np.array([1, 1, 0, 1, 1])[:, None], NEGATIVE, ARCS),
        {"representation": "auto"},
        lambda result: {"admittance", "impedance"} <= set(result.representation),
    ),
    "kernel": (
        5 + SIZE * 30 * np.tanh(np.sqrt(0.5 * S)) / np.sqrt(0.5 * S),
        {"kernel": "transmissive-planar"},
        lambda result: np.isfinite(result.r_pol[:4]).all(),
    ),
    "drift": (
        SIZE * (ARCS + np.array([0.3, 0.3, 0, 0.3, 0])[:, None] * WITHIN * (ARCS - 10)),
        {"drift": "auto"},
        lambda result: len(set((result.status & drt.Status.DRIFT).tolist())) == 2,
    ),
    "tail along": (
        ARCS * SIZE + 3 / S**0.7,
        {"tail": "auto", "along": "voltage"},
        lambda r: set(r.tail[:2]) == {"cpe"},
    ),
}
FLAGS = {"inductance": ("--lossy-inductance",)}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    z, settings, has = CASES[request.param]
    rng = np.random.default_rng(11)
    z = z * (1 + 2e-3 * (rng.normal(size=z.shape) + 1j * rng.normal(size=z.shape)))
    # A point is missing, and a row has no solution.
    z[1, 7], z[4] = np.nan, np.nan
    states = {"voltage": np.linspace(3, 4, 5), "cell": ["B"] * 5}
    spectra = drt.Spectra(FREQUENCY, z, states, np.tile(TIME, (5, 1)) if "drift" in settings else None)
    method = drt.LogGaussian(**settings)
    result = drt.invert(spectra, method, level=0.9)
    assert has(result)
    flags = [text for name, value in settings.items() for text in FLAGS.get(name, (f"--{name}", value))]
    return spectra, result, (method, flags)


def assert_same(found, expected):
    for name in (*PER_SPECTRUM, "gamma"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name in INTERVAL_UNITS:
        one, other = getattr(found.intervals, name), getattr(expected.intervals, name)
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert found.peaks().equals(expected.peaks())


# First, so that what both compare with is made where no lines are recorded, in a third of the time.
@pytest.mark.slow
def test_units_order_and_neighbours_change_nothing(case):
    spectra, expected, (method, _) = case
    rows, columns = np.array([3, 0, 4, 2, 1]), np.random.default_rng(0).permutation(FREQUENCY.size)
    times = None if spectra.point_time is None else spectra.point_time[rows][:, columns]
    z = 1e-4 * spectra.impedance[rows][:, columns]
    changed = drt.invert(drt.Spectra(spectra.frequency[columns], z, spectra.states.iloc[rows], times), method)
    np.testing.assert_array_equal(changed.status, expected.status[rows])
    admittance = (expected.representation == "admittance")[rows]
    scale = np.where(admittance, 1e4, 1e-4)[:, None]
    largest = np.nanmax(np.abs(expected.gamma[rows]), axis=1, keepdims=True, initial=0.0)
    difference = np.abs(changed.gamma / scale - expected.gamma[rows])
    # What is known of γ in a series is spread over its states, and each step leaves a little more of it.
    tolerance = 1e-8 if method.along is None else 1e-6
    assert (np.nan_to_num(difference) <= tolerance * largest).all()
    np.testing.assert_allclose(changed.r_pol, 1e-4 * expected.r_pol[rows], rtol=tolerance)
    for name in ("tail_exponent", "inductance_exponent", "drift_fast", "drift_slow", "residual"):
        np.testing.assert_allclose(
            getattr(changed, name), getattr(expected, name)[rows], rtol=10 * tolerance, atol=1e-9, err_msg=name
        )
    if method.along is None:
        np.testing.assert_array_equal(drt.invert(spectra[3:4], method).gamma, expected.gamma[3:4])


class Enough(Exception):
    """Ends a job from outside."""


def _enough(done, *_):
    if done >= 2:
        raise Enough


@pytest.mark.slow
@pytest.mark.recorded
@pytest.mark.usefixtures("quick")
def test_an_interrupted_job_goes_on_at_the_command_line_and_says_the_same(
    case,
    lent_processes,
    tmp_path,
    cli,  # noqa: F811
):
    spectra, expected, (method, flags) = case
    campaign, out = tmp_path / "campaign.h5", tmp_path / "out.h5"
    drt.write_spectra(campaign, spectra)
    # Begun in another process, and ended in this one; in others for one case alone.
    begun = {"method": method, "level": 0.9, "block": 1, "scheduler": "inline", "progress": _enough}
    with pytest.raises(Enough):
        lent_processes.submit(drt.invert_file, campaign, out, **begun).result()
    workers = ("--workers", "2") if method.tail == "cpe" else ()
    assert not out.exists()
    ran = cli("invert", campaign, "-o", out, *flags, "--level", "0.9", "--block", "2", *workers)
    assert ran.code == 0, ran.err
    assert "done before" in ran.out
    assert_same(drt.read_inversion(out), expected)
    # And as it was in memory, in a file of its own.
    drt.write_inversion(tmp_path / "own.h5", expected)
    again = drt.read_inversion(tmp_path / "own.h5")
    assert_same(again, expected)
    low, high = again.with_spectra(spectra).r_pol_interval(0.9)
    np.testing.assert_allclose(low, expected.intervals.r_pol_low, rtol=1e-9)
    np.testing.assert_allclose(high, expected.intervals.r_pol_high, rtol=1e-9)
