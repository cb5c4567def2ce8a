"""How well faults of a measurement are found, and how long that takes.

Spectra of a simulated campaign, two ageing cells at many voltages, with noise of 0.2 % of the modulus, get one fault
each. For each fault and strength a line says in how many of a hundred spectra any fault is found, in how many the right
kind, and in how many each flag is raised. Then comes how often a drift could be found at best. The last part times the
test of all spectra, on one thread and on two, turn about with the inversion of the same spectra, and with one spectrum
at a time.

    python benchmarks/validity.py
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from campaigns import spectra as many_spectra
from scipy.optimize import nnls
from scipy.stats import norm

import drt_engine as drt
from drt_engine.simulate import Campaign, CampaignDesign, ProportionalNoise, campaign
from drt_engine.validation import LinearKramersKronig, Validity, ZHit, validate

NOISE = 0.002
KINDS = (Validity.DRIFT, Validity.OUTLIER, Validity.INCONSISTENT, Validity.NOISY)
Complex = np.ndarray
Fault = Callable[[Campaign, Complex, float, np.random.Generator], Complex]


def times(frequency: np.ndarray, overhead: float) -> np.ndarray:
    """Time at the end of each point as a share of the sweep; one period a point and an overhead, s."""
    spent = np.cumsum(1.0 / frequency + overhead)
    return spent / spent[-1]


def drift(overhead: float, *, polarisation: bool = False) -> Fault:
    """Return a fault: the impedance, or only its polarisation, changes in proportion to time."""

    def apply(made: Campaign, z: Complex, strength: float, rng: np.random.Generator) -> Complex:
        del rng
        course = strength * times(made.spectra.frequency, overhead)
        fixed = made.r_inf[:, None] + 2j * np.pi * made.spectra.frequency * made.inductance[:, None]
        return z + course * (z - fixed if polarisation else z)

    return apply


def outlier(made: Campaign, z: Complex, strength: float, rng: np.random.Generator) -> Complex:
    """Displace one point of each spectrum, any of them, in any direction."""
    del made
    rows, points = np.arange(len(z)), rng.integers(z.shape[1], size=len(z))
    moved = z.copy()
    moved[rows, points] *= 1.0 + strength * np.exp(2j * np.pi * rng.random(len(z)))
    return moved


def non_linearity(made: Campaign, z: Complex, strength: float, rng: np.random.Generator) -> Complex:
    """Let the slowest charge transfer conduct better where more of the voltage falls across it.

    Its resistance is R (1 − s |h|²), h the share of the alternating voltage across it, so that the amplitude is too
    large at low frequencies only. Its constant phase element stays what it is.
    """
    del rng
    omega = 2.0 * np.pi * made.spectra.frequency
    slowest = np.argmax(made.tau * (made.r > 0.05 * made.r_pol[:, None]), axis=1)
    rows = np.arange(len(z))
    r, tau, phi = (values[rows, slowest][:, None] for values in (made.r, made.tau, made.phi))
    admittance = (1j * omega * tau) ** phi / r
    linear = 1.0 / (1.0 / r + admittance)
    share = np.abs(linear / z) ** 2
    return z - linear + 1.0 / (1.0 / (r * (1.0 - strength * share)) + admittance)


FAULTS: tuple[tuple[str, Fault, tuple[float, ...], Validity], ...] = (
    ("drift, 1 period a point", drift(0.0), (0.01, 0.02, 0.05), Validity.DRIFT),
    ("drift, 1 period + 3 s", drift(3.0), (0.01, 0.02, 0.05), Validity.DRIFT),
    ("drift, constant time", drift(1e9), (0.01, 0.02, 0.05), Validity.DRIFT),
    ("drift of polarisation", drift(3.0, polarisation=True), (0.01, 0.02, 0.05), Validity.DRIFT),
    ("falling, 1 period a point", drift(0.0), (-0.01, -0.02, -0.05), Validity.DRIFT),
    ("falling, 1 period + 3 s", drift(3.0), (-0.01, -0.02, -0.05), Validity.DRIFT),
    ("falling, constant time", drift(1e9), (-0.01, -0.02, -0.05), Validity.DRIFT),
    ("falling polarisation", drift(3.0, polarisation=True), (-0.01, -0.02, -0.05), Validity.DRIFT),
    ("one point off", outlier, (0.01, 0.03, 0.10), Validity.OUTLIER),
    ("non-linear at low f", non_linearity, (0.10, 0.30, 0.60), Validity.INCONSISTENT),
)


def same_campaign(count: int) -> Campaign:
    """Simulate about so many spectra without noise, of two cells at ten cycles."""
    cycles = tuple(int(cycle) for cycle in np.unique(np.linspace(1, 500, 10).round()))
    voltages = max(2, -(-count // (4 * len(cycles))))
    return campaign(CampaignDesign(cycles=cycles, voltages=voltages, noise=None))


def scenarios(count: int, seed: int) -> Iterator[tuple[str, str, drt.Spectra, Validity]]:
    """Yield name, strength, spectra and the flag that belongs to it; first without a fault."""
    made = same_campaign(count)
    rng = np.random.default_rng(seed)
    noise = ProportionalNoise(NOISE)
    frequency, exact = made.spectra.frequency, made.spectra.impedance
    several = np.concatenate([exact] * 5)
    yield "none", "", drt.Spectra(frequency, noise.add(several, rng)), Validity.VALID
    for name, fault, strengths, flag in FAULTS:
        for strength in strengths:
            faulty = fault(made, exact, strength, rng)
            yield name, f"{strength:.0%}", drt.Spectra(frequency, noise.add(faulty, rng)), flag


def table(method: LinearKramersKronig | ZHit, count: int, seed: int) -> None:
    """Print what a test finds."""
    print(f"{type(method).__name__}, per cent of spectra; noise {NOISE:.1%} of |Z|")
    print(f"{'fault':<26}{'size':>6}{'spectra':>9}{'found':>8}{'right':>8}", *(f"{k.name.lower():>13}" for k in KINDS))
    for name, strength, some, flag in scenarios(count, seed):
        result = validate(some, method)
        shares = [100.0 * np.mean((result.flag & np.uint16(kind)) > 0) for kind in KINDS]
        found = 100.0 * np.mean(~result.valid)
        right = 100.0 * np.mean((result.flag & np.uint16(flag)) > 0) if flag else 100.0 * np.mean(result.valid)
        print(f"{name:<26}{strength:>6}{len(some):>9}{found:>8.2f}{right:>8.2f}", *(f"{s:>13.2f}" for s in shares))
    print()


def found_at_best(spectra: int, false_alarms: float = 0.005) -> None:
    """Print how often a drift could be found by a test that takes nothing of what is passive for one.

    That is from the least that R, L, C and positive relaxations, twelve a decade, to a hundredth of the fastest and a
    hundred times the slowest time constant measured, leave of a drifting spectrum without noise, d in units of the
    noise. A test of a course in time that is known, with known noise, finds it with the probability Φ(d − z) where z is
    the quantile of its false alarms. A test that does not know the course finds less.
    """
    made = same_campaign(200)
    omega, exact = 2.0 * np.pi * made.spectra.frequency, made.spectra.impedance
    some = np.linspace(0, len(exact) - 1, spectra).astype(int)
    decades = np.log10(1e4 * omega.max() / omega.min())
    tau = np.geomspace(0.01 / omega.max(), 100.0 / omega.min(), int(12 * decades))
    passive = np.hstack([np.ones((omega.size, 1)), 1j * omega[:, None], -1j / omega[:, None],
                         1.0 / (1.0 + 1j * omega[:, None] * tau)])  # fmt: skip
    print(f"drift that could be found at best in {spectra} spectra, per cent, false alarms {false_alarms:.1%}")
    for name, fault, strengths, flag in FAULTS:
        if flag is not Validity.DRIFT:
            continue
        line = []
        for strength in strengths:
            left = []
            drifting = fault(made, exact, strength, np.random.default_rng(0))
            for z, faulty in zip(exact[some], drifting[some], strict=True):
                scaled = np.vstack([(part / (NOISE * np.abs(z)[:, None])) for part in (passive.real, passive.imag)])
                data = np.concatenate([part / (NOISE * np.abs(z)) for part in (faulty.real, faulty.imag)])
                left.append(nnls(scaled / np.linalg.norm(scaled, axis=0), data, maxiter=20_000)[1])
            line.append(100.0 * np.mean(norm.cdf(np.array(left) - norm.isf(false_alarms))))
        print(
            f"{name:<26}", *(f"{strength:>+8.0%}{share:>6.0f}" for strength, share in zip(strengths, line, strict=True))
        )
    print()


def timed(work: Callable[[], object]) -> float:
    """Wall time of a call, s."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def on_threads(threads: int, work: Callable[[], object]) -> Callable[[], object]:
    """Return work on a number of threads."""

    def limited() -> object:
        os.environ["DRT_ENGINE_THREADS"] = str(threads)
        return work()

    return limited


def speed(count: int, frequencies: int, rounds: int) -> None:
    """Time the test of many spectra beside their inversion."""
    some = many_spectra(count, frequencies)
    one = some[0]
    works = {
        "linear Kramers-Kronig, 1 thread": on_threads(1, lambda: validate(some)),
        "linear Kramers-Kronig, 2 threads": on_threads(2, lambda: validate(some)),
        "Z-HIT, 2 threads": on_threads(2, lambda: validate(some, ZHit())),
        "invert, 2 threads": on_threads(2, lambda: drt.invert(some, drt.Tikhonov())),
    }
    for work in works.values():
        work()
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(timed(work))
    print(f"{count} spectra of {frequencies} frequencies, {rounds} rounds")
    print(f"{'us/spectrum':<34}{'median':>9}{'least':>9}")
    for name, seconds in found.items():
        print(f"{name:<34}{statistics.median(seconds) / count * 1e6:>9.1f}{min(seconds) / count * 1e6:>9.1f}")
    tests, inversions = found["linear Kramers-Kronig, 2 threads"], found["invert, 2 threads"]
    ratio = statistics.median(a / b for a, b in zip(tests, inversions, strict=True))
    print(f"{'test over inversion':<34}{ratio:>9.2f}")
    alone = statistics.median(timed(lambda: validate(one)) for _ in range(50))
    print(f"{'one spectrum alone, ms':<34}{alone * 1e3:>9.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faulty", type=int, default=2000, help="spectra of each fault [2000]")
    parser.add_argument("--best", type=int, default=24, help="spectra in which the best is computed; 0 for none [24]")
    parser.add_argument("--seed", type=int, default=1, help="of the noise [1]")
    parser.add_argument("--spectra", type=int, default=20_000, help="spectra that are timed [20000]")
    parser.add_argument("--frequencies", type=int, default=61, help="frequencies of a timed spectrum [61]")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of timing; 0 for none [7]")
    given = parser.parse_args()
    for method in (LinearKramersKronig(), LinearKramersKronig(capacitance=True), ZHit()):
        if method != LinearKramersKronig():
            print(f"{method}")
        table(method, given.faulty, given.seed)
    if given.best:
        found_at_best(given.best)
    if given.rounds:
        speed(given.spectra, given.frequencies, given.rounds)


if __name__ == "__main__":
    main()
