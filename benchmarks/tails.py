"""How well tails and inductive loops are found, beside the limits of Cramér and Rao of a circuit that is known.

The first part has two arcs with a capacitor, a constant-phase or a Warburg element, or no tail, and lets ``"auto"``
choose; the second an arc and a loop. Each line is one noise and one element; limits are of all parameters of the
circuit at once: R_inf, L, the arcs, and the tail or loop with its exponent.

    python benchmarks/tails.py
    python benchmarks/tails.py --first 1000 --spectra 100 --noise 0.01
"""

import argparse
from collections.abc import Callable
from math import erf, sqrt

import numpy as np

import drt_engine as drt

FREQUENCY = np.logspace(5, -2, 71)
S = 2j * np.pi * FREQUENCY
ARCS = (10.0, 1e-12, 20.0, np.log(2e-4), 0.9, 50.0, np.log(0.05), 0.85)
ELASTANCE = 1 / 0.3
EXPONENTS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, None)
LOOPS = ((0.2, 3.0, 1.0), (0.2, 1.0, 1.0), (0.2, 0.3, 1.0), (0.2, 3.0, 0.8))
Array = np.ndarray
Model = Callable[[Array], Array]


def circuit(p: Array) -> Array:
    """Impedance of R, L and arcs of R, ln τ and φ each."""
    z = p[0] + p[1] * S
    for r, log_tau, phi in np.asarray(p[2:]).reshape(-1, 3):
        z = z + r / (1 + (S * np.exp(log_tau)) ** phi)
    return z


def with_tail(p: Array) -> Array:
    """Impedance of the arcs with a constant-phase element after them."""
    return circuit(p[:-2]) + p[-2] / S ** p[-1]


def limit(model: Model, p: Array, noise: float, which: Array) -> float:
    """Smallest standard deviation that an unbiased estimate of a sum of parameters can have (Cramér and Rao)."""
    z, rows = model(p), []
    for at in range(p.size):
        step = np.zeros(p.size)
        step[at] = 1e-5 * max(abs(p[at]), 1e-6)
        rows.append((model(p + step) - model(p - step)) / (2 * step[at]) / (noise * np.abs(z)))
    columns = np.hstack([np.real(rows), np.imag(rows)]).T
    scale = np.linalg.norm(columns, axis=0)
    covariance = np.linalg.inv((columns / scale).T @ (columns / scale)) / np.outer(scale, scale)
    return float(np.sqrt(which @ covariance @ which))


def within(share: float, deviation: float) -> float:
    """Probability that a normal error is below a share."""
    return erf(share / deviation / sqrt(2))


def measured(z: Array, noise: float, seeds: range) -> drt.Spectra:
    """Add noise in proportion to |Z|, from one seed a spectrum."""
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows.append(z + noise * np.abs(z) * (rng.normal(size=z.size) + 1j * rng.normal(size=z.size)))
    return drt.Spectra(FREQUENCY, np.array(rows))


def tail(noise: float, n: float | None, seeds: range) -> str:
    """Return a line on spectra with a tail of the exponent n, or with none."""
    arcs, limits = np.array(ARCS), " |  | "
    r_pol = arcs[2] + arcs[5]
    if n is not None:
        p = np.append(arcs, (ELASTANCE, n))
        best = limit(with_tail, p, noise, np.isin(np.arange(p.size), (2, 5)).astype(float)) / r_pol
        exponent = limit(with_tail, p, noise, (np.arange(p.size) == p.size - 1).astype(float))
        limits = f" | {100 * best:.2f} | {exponent:.3f} | {within(0.02, best):.2f}"
    z = circuit(arcs) if n is None else with_tail(p)
    result = drt.invert(measured(z, noise, seeds), drt.LogGaussian(tail="auto"), level=0.95)
    error, given = np.abs(result.r_pol / r_pol - 1), result.intervals
    assert given is not None
    kind = {1.0: "capacitor", 0.5: "warburg", None: "none"}.get(n, "cpe")
    flagged = (result.status & drt.Status.TAIL_UNCERTAIN) > 0
    covered = (given.r_pol_low <= r_pol) & (given.r_pol_high >= r_pol)
    return (
        f"{100 * noise:g} | {'none' if n is None else n:<4} | {np.median(result.r_pol):.1f} | "
        f"{np.mean(error <= 0.02):.2f} | {100 * np.quantile(error, 0.9):.1f} | "
        f"{np.mean([one == kind for one in result.tail]):.2f} | {flagged.mean():.2f} | {covered.mean():.2f}{limits}"
    )


def loop(noise: float, element: tuple[float, float, float], seeds: range) -> str:
    """Return a line on spectra with a loop."""
    r, tau, phi = element
    p = np.array([1.0, 1e-12, 1.0, np.log(0.01), 0.9, -r, np.log(tau), phi])
    best = limit(circuit, p, noise, (np.arange(p.size) == 5).astype(float)) / r
    result = drt.invert(measured(circuit(p), noise, seeds), drt.LogGaussian(sign="both"), level=0.95)
    rows = result.peaks()
    rows = rows[rows["r"] < 0]
    # The largest of each spectrum; one that has none is not within.
    rows = rows.loc[rows.groupby("spectrum")["r"].idxmin()]
    off, error = -rows["r"].to_numpy() - r, rows["r_error"].to_numpy()
    low, middle, high = np.quantile(r + off, (0.1, 0.5, 0.9)) if len(rows) else (np.nan,) * 3
    given = result.intervals
    assert given is not None
    net = np.mean((given.r_pol_low <= 1 - r) & (given.r_pol_high >= 1 - r))
    return (
        f"{100 * noise:g} | {r:g} Ω, {tau:g} s, φ = {phi:g} | {middle:.3f}, {low:.3f} to {high:.3f} | "
        f"{np.sum(np.abs(off) <= 0.05 * r) / len(seeds):.2f} | {np.mean(np.abs(off) <= 1.96 * error):.2f} | "
        f"{net:.2f} | {len(rows) / len(seeds):.2f} | {100 * best:.1f} | {within(0.05, best):.2f}"
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--spectra", type=int, default=40, help="spectra a line")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.001, 0.003, 0.01])
    parser.add_argument("--only", choices=("tails", "loops"))
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.spectra)
    if asked.only != "loops":
        print(
            "noise, % | n | R_pol | within 2 % | nine tenths, % | right | flagged | covered | limit, % | of n | within"
        )
        for noise in asked.noise:
            for n in EXPONENTS:
                print(tail(noise, n, seeds), flush=True)
    if asked.only != "tails":
        print("noise, % | loop | R | within 5 % | covered | net covered | seen | limit, % | within")
        for noise in asked.noise:
            for element in LOOPS:
                print(loop(noise, element, seeds), flush=True)


if __name__ == "__main__":
    main()
