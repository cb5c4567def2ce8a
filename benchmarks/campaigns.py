"""Spectra of the benchmarks: simulated campaigns of any length, and how far solutions are from their truth."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

import drt_engine as drt
from drt_engine.simulate import Campaign, CampaignDesign, ProportionalNoise, campaign

__all__ = ["BLOCK", "blocks", "gamma_error", "spectra", "spread"]

BLOCK = 1000
"""Spectra in a block: two cells, five cycles, charge and discharge, 50 voltages."""

_NOISE = 0.002
_VOLTAGES = 50
_LIFE, _CYCLES = 500, 5
_POINTS = 801


def blocks(count: int, frequencies: int = 61) -> Iterator[Campaign]:
    """Simulate a campaign block by block, in the memory of one block.

    Every block has both cells at cycles from the whole of their life, so that long campaigns are as difficult as short
    ones. After 100 blocks the states begin again, with other noise.

    Parameters
    ----------
    count : int
        How many spectra; the last block has more where it is not a multiple of 1000.
    frequencies : int
        How many frequencies, from 1 MHz to 10 mHz.

    Yields
    ------
    Campaign
        1000 spectra with noise of 0.2 % of the modulus. The seed of a block is its number.
    """
    step = _LIFE // _CYCLES
    design = CampaignDesign(voltages=_VOLTAGES, frequencies=frequencies, noise=ProportionalNoise(_NOISE))
    for k in range(-(-count // BLOCK)):
        cycles = tuple(range(1 + k % step, 1 + _LIFE, step))
        yield campaign(replace(design, cycles=cycles, seed=k))


def spectra(count: int, frequencies: int = 61) -> drt.Spectra:
    """Simulate a campaign of `count` spectra in memory; see :func:`blocks`."""
    if count <= BLOCK:
        return spread(count, frequencies)[0]
    impedance = np.concatenate([block.spectra.impedance for block in blocks(count, frequencies)])
    return drt.Spectra(CampaignDesign(frequencies=frequencies).frequency, impedance[:count])


def spread(count: int, frequencies: int = 61) -> tuple[drt.Spectra, Campaign, np.ndarray]:
    """Choose up to 1000 spectra that stand for a campaign.

    Parameters
    ----------
    count : int
        How many, at most 1000.
    frequencies : int
        How many frequencies.

    Returns
    -------
    spectra : Spectra
        Evenly spread over the first block.
    block : Campaign
        The block.
    rows : ndarray of int, shape (count,)
        Which of its spectra they are.
    """
    block = next(blocks(1, frequencies))
    rows = np.arange(count) * BLOCK // count
    return block.spectra[rows], block, rows


def gamma_error(count: int, frequencies: int, method: drt.Tikhonov | None = None) -> float:
    """Median over spectra of ∫|γ̂ − γ| d ln τ / ∫γ d ln τ, on 801 points of τ from 1/ω_max to 1/ω_min.

    Parameters
    ----------
    count : int
        How many spectra; at most 1000 of them are looked at.
    frequencies : int
        How many frequencies.
    method : Tikhonov, optional
        How they are inverted.
    """
    chosen, block, rows = spread(min(count, BLOCK), frequencies)
    omega = 2.0 * np.pi * chosen.frequency
    tau = np.geomspace(1.0 / omega.max(), 1.0 / omega.min(), _POINTS)
    truth = block.gamma(tau, rows)
    wrong = np.abs(drt.invert(chosen, method).gamma_at(tau) - truth)
    log_tau = np.log(tau)
    return float(np.median(np.trapezoid(wrong, log_tau) / np.trapezoid(truth, log_tau)))
