"""Inversion with λ chosen for each spectrum against the least that linear algebra could take; and how soon it starts.

In one process, turn about: ``drt.invert`` on one thread, on two, and the bare solution, which is that of one shared λ
without the sign constraint: ``b @ A``, one Cholesky factor, two triangular solves for all right-hand sides, with BLAS
on as many threads as it takes by itself. It is timed as one would write it, and once more in place and without looking
for NaN. Ratios are medians over the rounds of the ratio within a round, so that what else the machine does meanwhile
meets both.

    python benchmarks/ratio.py
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from campaigns import gamma_error, spectra
from processes import command_line, json_of, seconds
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_info

import drt_engine as drt
from drt_engine.model.discretisation import discretise
from drt_engine.model.problem import assemble

THREADS = (1, 2)


def bare(some: drt.Spectra, method: drt.Tikhonov, regularisation: float, *, lean: bool) -> Callable[[], np.ndarray]:
    """Return the bare solution as a function; scaling and the choice of λ are done before.

    Parameters
    ----------
    some : Spectra
        The spectra.
    method : Tikhonov
        What basis and unknowns there are.
    regularisation : float
        λ.
    lean : bool
        Whether the solves overwrite their input and look for no NaN in it.
    """
    expansion = method.expansion(some.frequency)
    found = discretise(some.frequency, expansion, method.order)
    problem = assemble(found, method.part, inductance=method.inductance, capacitance=method.capacitance)
    b, _ = problem.data(some.impedance)
    matrix, penalty = problem.matrix, problem.penalty

    def solve() -> np.ndarray:
        right = b @ matrix
        factor = cho_factor(matrix.T @ matrix + regularisation * penalty, check_finite=not lean)
        return cho_solve(factor, right.T, overwrite_b=lean, check_finite=not lean).T

    return solve


def timed(work: Callable[[], object]) -> float:
    """Wall time of a call, s."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def on_threads(threads: int, some: drt.Spectra, method: drt.Tikhonov) -> Callable[[], object]:
    """Return an inversion on a number of threads as a function."""

    def work() -> object:
        os.environ["DRT_ENGINE_THREADS"] = str(threads)
        return drt.invert(some, method)

    return work


def bulk(count: int, frequencies: int, rounds: int) -> None:
    """Time many spectra, and compare."""
    some, method = spectra(count, frequencies), drt.Tikhonov()
    result = drt.invert(some, method)
    works: dict[str, Callable[[], object]] = {
        f"invert, {threads} thread{'s' if threads > 1 else ''}": on_threads(threads, some, method)
        for threads in THREADS
    }
    works["bare"] = bare(some, method, float(np.median(result.regularisation)), lean=False)
    works["bare, in place"] = bare(some, method, float(np.median(result.regularisation)), lean=True)
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(timed(work))
    print(f"{count} spectra of {frequencies} frequencies, 0.2 % noise, λ by GCV for each, {rounds} rounds")
    print(f"{'us/spectrum':<24}{'median':>9}{'least':>9}")
    for name, found in times.items():
        print(f"{name:<24}{statistics.median(found) / count * 1e6:>9.1f}{min(found) / count * 1e6:>9.1f}")
    one, two = (f"invert, {threads} thread{'s' if threads > 1 else ''}" for threads in THREADS)
    print(f"two threads are faster by       {_ratio(times[one], times[two])}")
    print(f"two threads over bare           {_ratio(times[two], times['bare'])}")
    print(f"two threads over bare, in place {_ratio(times[two], times['bare, in place'])}")
    counts = ", ".join(f"{number} {name}" for name, number in result.counts().items())
    print(
        f"largest optimality residual {result.optimality.max():.0e}; "
        f"median error of γ {gamma_error(count, frequencies):.3f}; {counts}"
    )
    print(f"BLAS threads of the bare solution: {max(pool['num_threads'] for pool in threadpool_info())}")


def _ratio(above: list[float], below: list[float]) -> str:
    each = [a / b for a, b in zip(above, below, strict=True)]
    return f"{statistics.median(each):.2f} (of the least times {min(above) / min(below):.2f})"


def latency(frequencies: int, rounds: int) -> None:
    """Time one spectrum, everything warm."""
    some = spectra(1, frequencies)
    os.environ["DRT_ENGINE_THREADS"] = str(max(THREADS))
    drt.invert(some, drt.Tikhonov())
    found = [timed(lambda: drt.invert(some, drt.Tikhonov())) for _ in range(rounds)]
    print(f"one spectrum, warm            {statistics.median(found) * 1e3:.2f} ms (least {min(found) * 1e3:.2f})")


def starts(rounds: int) -> None:
    """Time what happens in new processes."""
    found = [json_of("first.py") for _ in range(rounds + 1)][1:]
    whole = seconds([sys.executable, os.path.join(os.path.dirname(__file__), "first.py")], rounds)
    helps = seconds([*command_line(), "--help"], rounds)
    imports = [one["import"] for one in found]
    firsts = [one["spectrum"] + one["first"] for one in found]
    for name, times in (
        ("import drt_engine", imports),
        ("drt-engine --help, process", helps),
        ("first Spectra and invert", firsts),
        ("new process, import to solution", whole),
    ):
        print(f"{name:<30}{statistics.median(times):.2f} s (least {min(times):.2f})")
    print(f"import drt_engine brings in   {', '.join(found[0]['heavy']) or 'nothing heavy'}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=20_000, help="how many [20000]")
    parser.add_argument("--frequencies", type=int, default=61, help="frequencies of a spectrum [61]")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the comparison [7]")
    given = parser.parse_args()
    bulk(given.spectra, given.frequencies, given.rounds)
    print()
    latency(given.frequencies, 200)
    starts(5)
    if hasattr(os, "getloadavg"):
        print(f"load of the machine           {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
