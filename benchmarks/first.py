"""One spectrum in a new process: what it costs to import the engine and to invert for the first time.

``python benchmarks/first.py`` prints one line of JSON: seconds for the import, for making the spectrum, for the first
and for the second inversion, and which of the heavy packages the import alone brought in. Whether the first inversion
compiles depends on numba's cache: point NUMBA_CACHE_DIR to an empty folder to see it.
"""

import json
import sys
import time

HEAVY = ("cvxpy", "h5py", "matplotlib", "numba", "pandas", "scipy")


def main() -> None:
    """Import, invert twice, print."""
    begin = time.perf_counter()
    import drt_engine as drt

    imported = time.perf_counter()
    heavy = [name for name in HEAVY if name in sys.modules]

    import numpy as np

    frequency = np.logspace(6, -2, 61)
    omega = 2j * np.pi * frequency
    impedance = 10.0 + 1e-7 * omega + 50.0 / (1.0 + (omega * 1e-3) ** 0.85) + 20.0 / (1.0 + (omega * 0.3) ** 0.8)
    rng = np.random.default_rng(0)
    noise = 0.002 * np.abs(impedance) * (rng.standard_normal(61) + 1j * rng.standard_normal(61))
    spectra = drt.Spectra(frequency, impedance + noise)
    made = time.perf_counter()
    first = drt.invert(spectra, drt.Tikhonov())
    inverted = time.perf_counter()
    drt.invert(spectra, drt.Tikhonov())
    again = time.perf_counter()
    found = {
        "import": imported - begin,
        "spectrum": made - imported,
        "first": inverted - made,
        "second": again - inverted,
        "optimality": float(first.optimality.max()),
        "heavy": heavy,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
