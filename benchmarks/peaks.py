"""How long peaks, parts and their errors take, how often there is a peak too many, and how honest the errors are.

The first part times simulated campaigns of two ageing cells. The second counts, in spectra of no, one or three
processes, those that show a peak too many, and the third in the scenarios of the accuracy benchmark. The fourth
compares the standard errors of a two-process spectrum with the spread over draws of noise. The last says, by process,
how many of those more than a factor of five in τ apart from the others are found in a campaign, by peaks and by parts,
and how well. All is done for both methods.

    python benchmarks/peaks.py
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from campaigns import spectra as many_spectra
from numpy.typing import NDArray
from scenarios import DEVELOPMENT, TASK

import drt_engine as drt
from drt_engine.methods import Method
from drt_engine.methods.log_gaussian import LogGaussian
from drt_engine.model.problem import Parameters
from drt_engine.peaks import DeconvolutionOptions, deconvolve, find_peaks, without_edges
from drt_engine.simulate import ZARC, ConstantNoise, Noise, ProportionalNoise, campaign

FREQUENCY = np.logspace(6, -2, 61)
FACTOR = 5.0
WHERE: dict[int, tuple[tuple[float, float], ...]] = {
    0: (),
    1: ((-5.5, 0.2),),
    3: ((-5.8, -5.2), (-3.5, -2.5), (-1.0, 0.2)),
}
"""Decades of τ that processes are in, by their number."""


METHODS: dict[str, Method] = {"Tikhonov": drt.Tikhonov(), "LogGaussian": LogGaussian()}
"""Methods that peaks are found in the solutions of."""


def peaks_of(result: drt.Inversion, some: drt.Spectra) -> pd.DataFrame:
    """Peaks of the solutions for spectra."""
    method = result.method
    with np.errstate(divide="ignore"):
        columns = (result.coefficients, result.r_inf, result.inductance, 1.0 / result.capacitance)
    problem = method.problem(result.frequency, result.expansion)
    given = problem, Parameters(*columns), result.regularisation, result.residual
    if not isinstance(method, LogGaussian):
        return without_edges(find_peaks(*given))

    def posterior(rows: NDArray[np.intp]) -> object:
        solutions = Parameters(*(column[rows] for column in columns)), result.regularisation[rows]
        return method.posterior(some.frequency, some.impedance[rows], result.expansion, solutions)

    return without_edges(find_peaks(*given, posterior=posterior))


def simulated(count: int, processes: int, noise: Noise, phi: tuple[float, float], seed: int) -> drt.Spectra:
    """Spectra of some processes with random parameters, R_inf 10 ohm, L 200 nH."""
    rng = np.random.default_rng(seed)
    z = np.tile(10 + 2j * np.pi * FREQUENCY * 2e-7, (count, 1))
    for k in range(count):
        for low, high in WHERE[processes]:
            part = ZARC(10 ** rng.uniform(0.3, 1.7), 10 ** rng.uniform(low, high), rng.uniform(*phi))
            z[k] += part.impedance(FREQUENCY)
    return drt.Spectra(FREQUENCY, noise.add(z, rng))


def timed(work: Callable[[], object], rounds: int) -> float:
    """Median wall time of a call, s, after one that is not counted."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def speed(count: int, rounds: int) -> None:
    """Time peaks and parts."""
    some = many_spectra(count)
    print(f"{count} spectra of {some.frequency.size} frequencies; median of {rounds} rounds")
    print(f"{'':<28}{'s':>9}{'us/spectrum':>13}")
    for name, method in METHODS.items():
        result = drt.invert(some, method)
        peaks = peaks_of(result, some)
        seconds = timed(lambda r=result: peaks_of(r, some), rounds)
        print(f"{f'peaks, {name}':<28}{seconds:>9.2f}{seconds / count * 1e6:>13.1f}")
        few = min(count, 2000)
        own = peaks[peaks["spectrum"] < few]
        for shape in ("zarc", "havriliak-negami", "gaussian"):
            options = DeconvolutionOptions(shape)
            given = some.frequency, some.impedance[:few], own, options
            seconds = timed(lambda g=given: deconvolve(*g).elements, rounds)
            print(f"{f'{few} by {shape}':<28}{seconds:>9.2f}{seconds / few * 1e6:>13.1f}")
    print()


def false_peaks(count: int, seed: int) -> None:
    """Count spectra with a peak too many."""
    cases = [("no process, 0.2 %", 0, ProportionalNoise(0.002), (0.6, 0.9))]
    for name, phi in (("broad", (0.6, 0.9)), ("sharp", (0.9, 1.0))):
        cases += [(f"one {name}, {s:.2%}", 1, ProportionalNoise(s), phi) for s in (0.0003, 0.002, 0.01)]
    cases += [("one broad, 20 mohm", 1, ConstantNoise(0.02), (0.6, 0.9))]
    cases += [(f"three, {s:.2%}", 3, ProportionalNoise(s), (0.8, 0.95)) for s in (0.0003, 0.002, 0.01)]
    print(f"per cent of {count} spectra with a peak too many, and with too few")
    print(f"{'':<28}" + "".join(f"{name:>18}" for name in METHODS))
    for name, processes, noise, phi in cases:
        some = simulated(count, processes, noise, phi, seed)
        text = ""
        for method in METHODS.values():
            number = np.bincount(peaks_of(drt.invert(some, method), some)["spectrum"], minlength=count)
            text += f"{100 * np.mean(number > processes):>9.2f}{100 * np.mean(number < processes):>9.2f}"
        print(f"{name:<28}{text}")
    print()


def scenarios(count: int) -> None:
    """Count peaks of scenarios with a known number of maxima."""
    print(f"per cent of {count} seeds with as many peaks as the truth has, and with more")
    print(f"{'':<28}" + "".join(f"{name:>18}" for name in METHODS))
    for scenario in TASK + DEVELOPMENT:
        if scenario.peaks is None:
            continue
        some = scenario.spectra(range(count))
        text = ""
        for method in METHODS.values():
            number = np.bincount(peaks_of(drt.invert(some, method), some)["spectrum"], minlength=count)
            text += f"{100 * np.mean(number == scenario.peaks):>9.1f}{100 * np.mean(number > scenario.peaks):>9.1f}"
        print(f"{f'{scenario.name}, {scenario.peaks}':<28}{text}")
    print()


def honesty(count: int, seed: int) -> None:
    """Compare spread and stated errors."""
    print(f"spread over {count} draws of noise / median stated error, two ZARC with tau apart by a factor")
    print(f"{'':<34}" + "".join(f"{name:>9}" for name in ("R1", "R2", "tau1", "tau2", "phi1", "phi2")))
    for factor in (5.0, 10.0, 300.0):
        two = [ZARC(20, 1e-3, 0.85), ZARC(30, 1e-3 * factor, 0.8)]
        exact = 10 + 2j * np.pi * FREQUENCY * 2e-7 + sum(one.impedance(FREQUENCY) for one in two)
        for noise in (ProportionalNoise(0.002), ConstantNoise(0.05)):
            some = drt.Spectra(FREQUENCY, noise.add(np.tile(exact, (count, 1)), seed))
            found = deconvolve(FREQUENCY, some.impedance, peaks_of(drt.invert(some), some))
            parts = found.elements[np.isin(found.elements["spectrum"], np.flatnonzero(found.count == 2))]
            ratios = []
            for name in ("r", "tau", "phi"):
                values, errors = (parts[n].to_numpy().reshape(-1, 2) for n in (name, f"{name}_error"))
                ratios += list(values.std(axis=0) / np.median(errors, axis=0))
            what = f"{type(noise).__name__}, {factor:g}, {100 * np.mean(found.count == 2):.0f} % are two"
            print(f"{what:<34}" + "".join(f"{ratio:>9.2f}" for ratio in ratios))
    print()


def recovered() -> None:
    """Say what is found of the processes of a campaign that are apart."""
    made = campaign()
    chains = [g.index.to_numpy() for _, g in made.spectra.states.groupby(["cell", "cycle", "direction"], sort=False)]
    y = np.log(made.tau)
    apart = np.abs(y[:, :, None] - y[:, None, :]) + np.where(np.eye(y.shape[1]), np.inf, 0.0)
    print(f"processes more than a factor {FACTOR:g} in tau from the others: found %, median error % of R and of tau")
    for method_name, method in METHODS.items():
        result = drt.invert(made.spectra, method)
        peaks = peaks_of(result, made.spectra)
        parts = deconvolve(result.frequency, made.spectra.impedance, peaks, chains=chains).elements
        for name, table in (("peaks", peaks), ("parts", parts)):
            by = dict(list(table.groupby("spectrum")))
            for p, process in enumerate((*made.process_names, "all")):
                which = np.arange(y.shape[1]) if process == "all" else np.array([p])
                wanted = [(k, q) for k in range(len(y)) for q in which if apart[k, q].min() > np.log(FACTOR)]
                errors = [_error(by.get(k), y[k, q], made.r[k, q]) for k, q in wanted]
                hits = np.array([error for error in errors if error is not None]).reshape(-1, 2)
                r, tau = 100 * np.median(hits, axis=0) if len(hits) else (np.nan, np.nan)
                share = 100 * len(hits) / max(len(wanted), 1)
                print(f"{method_name:<13}{name:<8}{process:<20}{len(wanted):>6}{share:>9.1f}{r:>8.1f}{tau:>8.1f}")
    print()


def _error(own: pd.DataFrame | None, y: float, r: float) -> tuple[float, float] | None:
    """Relative errors of R and τ of the nearest peak, None where it is too far away."""
    if own is None:
        return None
    distance = np.abs(np.log(own["tau"].to_numpy()) - y)
    i = int(np.argmin(distance))
    if distance[i] >= 0.5 * np.log(FACTOR):
        return None
    return abs(own["r"].iloc[i] / r - 1), float(np.expm1(distance[i]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=10_000, help="spectra that are timed [10000]")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timing [5]")
    parser.add_argument("--draws", type=int, default=3000, help="spectra of each case of false peaks [3000]")
    parser.add_argument("--seeds", type=int, default=40, help="spectra of each scenario [40]")
    parser.add_argument("--seed", type=int, default=1, help="of the noise [1]")
    given = parser.parse_args()
    speed(given.spectra, given.rounds)
    false_peaks(given.draws, given.seed)
    scenarios(given.seeds)
    honesty(500, given.seed)
    recovered()


if __name__ == "__main__":
    main()
