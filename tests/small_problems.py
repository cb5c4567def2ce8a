"""Problems small enough for dense formulas, and data for them."""

import numpy as np
import pytest

from drt_engine.model.basis import BASES, Expansion, shape_factor
from drt_engine.model.discretisation import discretise
from drt_engine.model.gsvd import factorise
from drt_engine.model.problem import assemble
from drt_engine.regularisation import Observed, criterion_for
from drt_engine.threads import single_threaded_blas

from .conftest import zarc

FREQUENCY = np.logspace(4, -1, 16)
TAU = np.logspace(-6, 2, 14)
MANY = np.logspace(-6, 2, 41)
NOISE = 0.01


def problem_of(basis="gaussian", order=1, part="complex", tau=TAU, frequency=FREQUENCY, **series_elements):
    expansion = Expansion(tau, basis, shape_factor(BASES[basis], tau, 0.5))
    return assemble(
        discretise(frequency, expansion, order), part, **({"inductance": True, "capacitance": False} | series_elements)
    )


def spectra_of(noise=NOISE, rows=3, frequency=FREQUENCY):
    rng = np.random.default_rng(8)
    z = 5 + zarc(frequency, 20, 1e-2, 0.9) + 1e-5j * frequency
    return z * (1 + noise * (rng.standard_normal((rows, z.size)) + 1j * rng.standard_normal((rows, z.size))))


def observed_of(problem, impedance):
    b, size = problem.data(impedance)
    parts = 2 if problem.part == "complex" else 1
    return Observed(b, parts * NOISE**2 * np.sum(np.abs(impedance) ** 2, axis=1) / size**2)


def data_of(problem, noise=NOISE, rows=3):
    return observed_of(problem, spectra_of(noise, rows)).b


def scores_of(name, problem, observed):
    return criterion_for(name, factorise(problem))(observed)


CASES = {
    "default": {},
    "re": {"part": "re"},
    "im": {"part": "im", "capacitance": True},
    "piecewise": {"basis": "piecewise-linear", "order": 1},
    "piecewise-2": {"basis": "piecewise-linear", "order": 2, "inductance": False},
    "c2-0": {"basis": "c2-matern", "order": 0, "capacitance": True},
    "cauchy": {"basis": "cauchy"},
    "c6-2": {"basis": "c6-matern", "order": 2},
    "many": {"tau": MANY},
    "many-re": {"tau": MANY, "part": "re"},
    "many-im": {"tau": MANY, "part": "im", "capacitance": True},
}
over_cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads inside products as small as these wait for each other longer than they work."""
    with single_threaded_blas():
        yield
