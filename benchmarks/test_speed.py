"""Each stage of an inversion on its own, then all of them together, in memory and from file to file."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import drt_engine as drt
from drt_engine.model import discretisation
from drt_engine.model.discretisation import Discretisation, discretise
from drt_engine.model.gsvd import GSVD, factorise
from drt_engine.model.problem import Problem, assemble
from drt_engine.regularisation import GRID, Observed, criterion_for, smallest
from drt_engine.solvers import Solver, solver_for
from drt_engine.threads import run_tiles

from .campaigns import gamma_error, spectra
from .conftest import Report, counted
from .processes import json_of

FREQUENCIES = (31, 61, 121)
SPECTRA = (1, 100, 10_000)
METHOD = drt.Tikhonov()
TILE = 512

over_frequencies = pytest.mark.parametrize("frequencies", FREQUENCIES, ids="{}f".format)
over_spectra = pytest.mark.parametrize("count", SPECTRA, ids="{}s".format)


@cache
def measured(count: int, frequencies: int) -> drt.Spectra:
    """Spectra of a simulated campaign."""
    return spectra(count, frequencies)


@cache
def error(count: int, frequencies: int) -> float:
    """Median normalised distance of γ from the truth."""
    return gamma_error(count, frequencies, METHOD)


@cache
def factors_of(frequencies: int) -> GSVD:
    """Factorisation that the spectra share."""
    return factorise(_problem(_discretised(frequencies)))


@cache
def solver_of(frequencies: int) -> Solver:
    """Compiled solver for every λ of the grid."""
    return solver_for("pivoting", factors_of(frequencies), GRID)


@cache
def data_of(count: int, frequencies: int) -> NDArray[np.float64]:
    """Scaled data."""
    return factors_of(frequencies).problem.data(measured(count, frequencies).impedance)[0]


@cache
def chosen(count: int, frequencies: int) -> NDArray[np.intp]:
    """Which λ of the grid each spectrum has."""
    criterion = criterion_for("gcv", factors_of(frequencies))
    return smallest(criterion(Observed(data_of(count, frequencies)))).index


def tiles(count: int) -> list[slice]:
    """Rows that are worked on at once, as many as in an inversion."""
    return [slice(first, first + TILE) for first in range(0, count, TILE)]


def written(folder: Path, count: int, frequencies: int) -> Path:
    """File of the spectra, made when it is first asked for."""
    path = folder / f"{frequencies}-{count}.h5"
    if not path.exists():
        drt.write_spectra(path, measured(count, frequencies))
    return path


def _discretised(frequencies: int) -> Discretisation:
    f = measured(1, frequencies).frequency
    return discretise(f, METHOD.expansion(f), METHOD.order)


def _problem(found: Discretisation) -> Problem:
    return assemble(found, METHOD.part, inductance=METHOD.inductance, capacitance=METHOD.capacitance)


@pytest.mark.benchmark(group="0 compile: a new process inverts one spectrum")
@pytest.mark.parametrize("cache_on_disk", ["empty", "warm"])
def test_compile(cache_on_disk: str, benchmark: Any, report: Report, folder: Path) -> None:
    """With an empty cache on disk the process compiles, with a warm one it loads."""
    warm = cache_on_disk == "warm"
    environment = {"NUMBA_CACHE_DIR": str(folder / f"numba-{cache_on_disk}")}
    if warm:
        json_of("first.py", environment=environment)
    found = benchmark.pedantic(json_of, ("first.py",), {"environment": environment}, rounds=5 if warm else 1)
    report("new process", None, 61, optimality=found["optimality"], remark=f"{cache_on_disk} cache of compiled code")


@pytest.mark.benchmark(group="1 discretisation: A, M and its factor")
@over_frequencies
def test_discretisation(frequencies: int, benchmark: Any, report: Report) -> None:
    """The matrices of a grid of frequencies, which are computed once for it."""
    forget = discretisation._discretise.cache_clear

    def again() -> Discretisation:
        forget()
        return _discretised(frequencies)

    again()
    benchmark(again)
    report("discretisation", None, frequencies)


@pytest.mark.benchmark(group="2 factorisation: the GSVD, and the inverses for every λ")
@over_frequencies
def test_factorisation(frequencies: int, benchmark: Any, report: Report) -> None:
    """What else the spectra of a grid share."""
    problem = _problem(_discretised(frequencies))
    solver_of(frequencies)
    benchmark(lambda: solver_for("pivoting", factorise(problem), GRID))
    report("factorisation", None, frequencies)


@pytest.mark.benchmark(group="3 choice of λ by GCV")
@over_frequencies
@over_spectra
def test_choice(count: int, frequencies: int, benchmark: Any, report: Report) -> None:
    """Scores of 57 values of λ for each spectrum, and the least of them."""
    criterion, b = criterion_for("gcv", factors_of(frequencies)), data_of(count, frequencies)
    benchmark(run_tiles, lambda tile: smallest(criterion(Observed(b[tile]))), tiles(count))
    report("choice of λ", count, frequencies)


@pytest.mark.benchmark(group="4 solve: min ½|Ax − b|² + ½λ xᵀMx, x ≥ 0")
@over_frequencies
@over_spectra
def test_solve(count: int, frequencies: int, benchmark: Any, report: Report) -> None:
    """The non-negative solution at the chosen λ of each spectrum."""
    solve, b, which = solver_of(frequencies), data_of(count, frequencies), chosen(count, frequencies)
    problem = factors_of(frequencies).problem
    x = np.empty((count, problem.scale.size))

    def work(tile: slice) -> None:
        x[tile] = solve(b[tile], which[tile])

    benchmark(run_tiles, work, tiles(count))
    report("solve", count, frequencies, optimality=float(problem.optimality(x, b, GRID[which]).max()))


@pytest.mark.benchmark(group="5 certificate: the optimality residual")
@over_frequencies
@over_spectra
def test_certificate(count: int, frequencies: int, benchmark: Any, report: Report) -> None:
    """The optimality residual of every solution."""
    problem, b, which = factors_of(frequencies).problem, data_of(count, frequencies), chosen(count, frequencies)
    x = np.vstack([solver_of(frequencies)(b[tile], which[tile]) for tile in tiles(count)])
    benchmark(run_tiles, lambda tile: problem.optimality(x[tile], b[tile], GRID[which[tile]]), tiles(count))
    report("certificate", count, frequencies)


@pytest.mark.benchmark(group="6 invert: everything in memory")
@over_frequencies
@over_spectra
def test_invert(count: int, frequencies: int, benchmark: Any, report: Report) -> None:
    """Spectra in, result out; what the grid shares was computed before."""
    some = measured(count, frequencies)
    result = drt.invert(some, METHOD)
    benchmark(drt.invert, some, METHOD)
    quality = {"optimality": float(result.optimality.max()), "error": error(count, frequencies)}
    report("invert", count, frequencies, **quality, remark=counted(result.counts()))


@pytest.mark.benchmark(group="7 read: a file of spectra")
@over_frequencies
@over_spectra
def test_read(count: int, frequencies: int, benchmark: Any, report: Report, folder: Path) -> None:
    """All of a file that the operating system has in memory."""
    benchmark(drt.read_spectra, written(folder, count, frequencies))
    report("read", count, frequencies)


@pytest.mark.benchmark(group="8 write: a file of inversions")
@over_frequencies
@over_spectra
def test_write(count: int, frequencies: int, benchmark: Any, report: Report, tmp_path: Path) -> None:
    """With γ and R_pol computed, and synchronised with the disk."""
    result = drt.invert(measured(count, frequencies), METHOD)

    def fresh() -> tuple[tuple[Path, drt.Inversion], dict[str, bool]]:
        # A new result each time: one that was written before knows its γ already.
        return (tmp_path / "out.h5", result[:]), {"overwrite": True}

    benchmark.pedantic(drt.write_inversion, setup=fresh, rounds=5)
    report("write", count, frequencies)


@pytest.mark.benchmark(group="9 file to file: read, invert, write, block by block")
@over_frequencies
@over_spectra
def test_file_to_file(
    count: int, frequencies: int, benchmark: Any, report: Report, folder: Path, tmp_path: Path
) -> None:
    """The whole job."""
    path, out = written(folder, count, frequencies), tmp_path / "out.h5"
    summary = benchmark(drt.invert_file, path, out, method=METHOD, overwrite=True)
    quality = {"optimality": float(drt.read_inversion(out).optimality.max()), "error": error(count, frequencies)}
    report("file to file", count, frequencies, **quality, remark=counted(summary.counts))
