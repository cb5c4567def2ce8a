"""Compile the kernels that the engine calls, before several processes of the tests do so at the same time.

numba keeps what it has compiled beside the kernels, so that this takes a minute once and a second afterwards.
"""

import numpy as np

import drt_engine as drt


def main() -> None:
    """Do once what calls them."""
    campaign = drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=(1,), voltages=3))
    spectra = campaign.spectra[np.arange(6)]
    # One with a bad point, of which the faults are looked for one after the other.
    impedance = spectra.impedance.copy()
    impedance[0, 20] *= 1.2
    drt.validate(drt.Spectra(spectra.frequency, impedance))
    drt.track(drt.invert(spectra, drt.Tikhonov(), level=0.9).peaks(), "voltage", ["cell", "direction"])
    result = drt.invert(spectra, level=0.9)
    result.peaks()
    result.deconvolve()
    drt.invert(spectra, drt.LogGaussian(along="voltage"), level=0.9)


if __name__ == "__main__":
    main()
