"""Compile the kernels that the engine calls, before several processes of the tests do so at the same time.

numba keeps what it has compiled beside the kernels, so that this takes a minute once and a second afterwards.
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd

import drt_engine as drt
from drt_engine.peaks import deconvolve

ELEMENTS = "elements"


def main() -> None:
    """Do once what calls them; elements in a process of their own, since they take a quarter of the time."""
    # The engine would begin another process for what a first inversion needs.
    os.environ["DRT_ENGINE_THREADS"] = "1"
    spectra = measured()
    with subprocess.Popen([sys.executable, __file__, ELEMENTS]) as other:
        # One with a bad point, of which the faults are looked for one after the other.
        impedance = spectra.impedance.copy()
        impedance[0, 20] *= 1.2
        drt.validate(drt.Spectra(spectra.frequency, impedance))
        drt.track(drt.invert(spectra, drt.Tikhonov(), level=0.9).peaks(), "voltage", ["cell", "direction"])
        drt.invert(spectra, level=0.9).peaks()
        drt.invert(spectra, drt.LogGaussian(along="voltage"), level=0.9)
    sys.exit(other.returncode)


def elements() -> None:
    """Fit elements that start from a peak nobody had to look for."""
    spectra = measured()
    peaks = pd.DataFrame(
        {"spectrum": range(len(spectra)), "tau": 1e-3, "r": spectra.impedance.real[:, -1], "width": 2.0}
    )
    deconvolve(spectra.frequency, spectra.impedance, peaks)


def measured() -> "drt.Spectra":
    """Six spectra of a campaign."""
    campaign = drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=(1,), voltages=3))
    return campaign.spectra[np.arange(6)]


if __name__ == "__main__":
    elements() if ELEMENTS in sys.argv else main()
