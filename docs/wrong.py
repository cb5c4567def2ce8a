"""Make the pictures of the page "My DRT looks wrong": each usual cause beside what the same cell gives without it.

Run it in the repository: ``python docs/wrong.py``.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import drt_engine as drt
from drt_engine import plotting

FOLDER = Path(__file__).resolve().parent / "wrong"
FREQUENCY = np.logspace(5, -2, 57)
CELL = drt.simulate.Resistor(8.0) + drt.simulate.ZARC(12.0, 2e-5, 0.9) + drt.simulate.ZARC(20.0, 5e-3, 0.85)
CELL = CELL + drt.simulate.ZARC(9.0, 0.8, 0.9)
ROUGH = drt.Tikhonov(regularisation=1e-9)
FLAT = drt.Tikhonov(regularisation=10.0)


def measured(noise: float = 0.002, frequency: np.ndarray = FREQUENCY) -> np.ndarray:
    """Impedance of the cell with noise, ohm, as a share of |Z|."""
    rng = np.random.default_rng(7)
    z = CELL.impedance(frequency)
    return z + noise * np.abs(z) * (rng.standard_normal(z.size) + 1j * rng.standard_normal(z.size))


def causes() -> dict[str, tuple[drt.Spectra, object]]:
    """Spectra with one thing wrong each, and the method that they are inverted with."""
    omega, z, usual = 2 * np.pi * FREQUENCY, measured(), drt.LogGaussian()
    drifting = z * (1 + 0.15 * np.linspace(0, 1, z.size))
    outlier = z.copy()
    outlier[22] *= 1.25
    short = FREQUENCY > 0.3
    return {
        "angular": (drt.Spectra(omega, z), usual),
        "blocking": (drt.Spectra(FREQUENCY, z + 1 / (1j * omega * 0.3)), usual),
        "inductance": (drt.Spectra(FREQUENCY, z + 1j * omega * 2e-5), drt.LogGaussian(inductance=False)),
        "drift": (drt.Spectra(FREQUENCY, drifting), usual),
        "outlier": (drt.Spectra(FREQUENCY, outlier), drt.Tikhonov()),
        "too-rough": (drt.Spectra(FREQUENCY, z), ROUGH),
        "too-smooth": (drt.Spectra(FREQUENCY, z), FLAT),
        "short-window": (drt.Spectra(FREQUENCY[short], z[short]), usual),
        "noise": (drt.Spectra(FREQUENCY, measured(0.03)), usual),
        "real-part": (drt.Spectra(FREQUENCY, z.real * 1.0 + 1j * 0.9 * z.imag), usual),
    }


def picture(name: str, spectra: drt.Spectra, method: object) -> Path:
    """Draw spectrum and γ of one cause, with the γ that the cell has dashed."""
    result = drt.invert(spectra, method)
    figure = Figure(figsize=(6.4, 2.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    plotting.nyquist(spectra, result, ax=left, font_size=7.0)
    tau = np.logspace(-6.5, 2, 400)
    plotting.gamma(result, truth=(tau, CELL.gamma(tau)), ax=right, tau_range=(1e-6, 1e2), font_size=7.0)
    return plotting.save(figure, FOLDER / f"{name}.png", dpi=110, overwrite=True)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, (spectra, method) in causes().items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            sys.stdout.write(f"{picture(name, spectra, method)}\n")
