"""Processes of a result: its peaks, the elements that its spectra are sums of, and equivalent circuits."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.checks import checked_row
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods import LogGaussian
from drt_engine.peaks import (
    Deconvolution,
    DeconvolutionOptions,
    EquivalentCircuit,
    PeakOptions,
    SeriesTerms,
    admittance_circuit,
    deconvolve,
    diffusion_circuit,
    equivalent_circuit,
    find_peaks,
)
from drt_engine.peaks.loops import with_fitted_loops
from drt_engine.peaks.noise import deviations_around, noise_of_inversion, weighted_as
from drt_engine.series import OrderedSeries, series_along
from drt_engine.spectra import Spectra, series_of, with_states
from drt_engine.status import Status
from drt_engine.uncertainty.intervals import posterior_of

if TYPE_CHECKING:
    from drt_engine.model.weighting import Weighting
    from drt_engine.result.inversion import Inversion
    from drt_engine.uncertainty.posterior import LogPosterior

__all__ = ["circuit_of", "deconvolved", "peaks_of"]

Array = NDArray[np.float64]


def peaks_of(result: "Inversion", options: PeakOptions | None) -> pd.DataFrame:
    """Find maxima and shoulders of γ; see :meth:`Inversion.peaks`."""
    found = _peaks_of_gamma(result, options)
    looped = found["r"] < 0.0
    looped &= ~(result.representation == "admittance")[found["spectrum"].to_numpy(dtype=int)]
    if looped.any() and result.impedance is not None and result.expansion.kernel == "relaxation":
        rows = np.unique(found.loc[looped, "spectrum"])
        own = found["spectrum"].isin(rows)
        part, peaks = result[rows], found[own].assign(spectrum=np.searchsorted(rows, found.loc[own, "spectrum"]))
        each = [np.array([row]) for row in range(rows.size)]
        fitted = _fit_elements(part, peaks, DeconvolutionOptions(), each)
        significance = (PeakOptions() if options is None else options).significance
        peaks = with_fitted_loops(peaks, fitted, part.residual, significance)
        peaks = peaks.assign(spectrum=rows[peaks["spectrum"].to_numpy(dtype=int)])
        found = pd.concat([found[~own], peaks]).sort_values(["spectrum", "lower"], ignore_index=True)
    # Of what does not describe the data, errors would be those of another spectrum.
    misfit = (result.status[found["spectrum"].to_numpy(dtype=int)] & Status.MISFIT) != 0
    found.loc[misfit, ["tau_error", "r_error"]] = np.nan
    return with_states(found, result.states)


def _peaks_of_gamma(result: "Inversion", options: PeakOptions | None) -> pd.DataFrame:
    """Find maxima and shoulders of γ, without the states."""
    measured = _stand_in(result) if result.impedance is None else result.impedance
    if result.method.linear:
        return _peaks_by_response(result, measured, options)
    given = result._fitted_spectra(measured)

    joined = result._joined

    def posterior(rows: NDArray[np.intp]) -> "LogPosterior":
        return posterior_of(result.method, given, rows, joined)

    problem = result.method.problem(result.frequency, result.expansion)
    found = find_peaks(
        problem, result._parameters, result.regularisation, result.residual, options, posterior=posterior
    )
    return _branches(found, result.representation == "admittance")


def _peaks_by_response(
    result: "Inversion", measured: NDArray[np.complex128], options: PeakOptions | None
) -> pd.DataFrame:
    """Find peaks of solutions that respond linearly to noise, by their problem with its weights."""
    model = result.impedance_at(result.frequency)
    problem = result.method.problem(result.frequency, result.expansion)
    problem, weights = weighted_as(problem, getattr(result.method, "weighting", "unit"), measured, model)
    sigma = None if result.impedance is None else deviations_around(result.frequency, measured, model)
    given = problem, result._parameters, result.regularisation, result.residual, options, sigma
    return find_peaks(*given, weights=weights)


def _stand_in(result: "Inversion") -> NDArray[np.complex128]:
    """Make up spectra that differ from the model by the residual, in proportion to |Z|, shape (K, F)."""
    sign = 1.0 - 2.0 * (np.arange(result.frequency.size) % 2)
    return result.impedance_at(result.frequency) * (1.0 + np.outer(result.residual, sign))


def _branches(peaks: pd.DataFrame, admittance: NDArray[np.bool_]) -> pd.DataFrame:
    """Peaks of an admittance as a resistance and a capacitance in series, whose conductance is the area of the peak."""
    own = admittance[peaks["spectrum"].to_numpy(dtype=int)]
    if own.any():
        conductance = peaks.loc[own, "r"].to_numpy(copy=True)
        peaks.loc[own, "r_error"] /= conductance**2
        peaks.loc[own, "shared"] /= conductance**2
        peaks.loc[own, "r"] = 1.0 / conductance
        peaks.loc[own, "c"] = peaks.loc[own, "tau"] * conductance
    return peaks


def deconvolved(
    result: "Inversion",
    spectra: Spectra | None,
    options: DeconvolutionOptions | None,
    series: tuple[str, ...],
    along: str | None,
    together: bool | None,
) -> Deconvolution:
    """Fit elements to the spectra of a result; see :meth:`Inversion.deconvolve`."""
    if (result.representation == "admittance").any():
        raise InputError(
            "deconvolution needs γ of impedances; got spectra whose γ is that of the admittance. Leave them out: "
            "result[result.representation == 'impedance']."
        )
    if result.expansion.kernel != "relaxation":
        raise InputError(
            f"deconvolution fits elements with relaxation times; got a distribution with kernel="
            f"{result.expansion.kernel!r}. Take the rows of peaks(), or invert with kernel='relaxation'."
        )

    whole = result if spectra is None else result.with_spectra(spectra)
    chains = _fitted_along(result, series, along, together)
    chosen = DeconvolutionOptions() if options is None else options
    return _fit_elements(whole, _peaks_of_gamma(result, None), chosen, chains)


def _fit_elements(
    result: "Inversion",
    peaks: pd.DataFrame,
    options: DeconvolutionOptions,
    chains: Sequence[NDArray[np.intp] | OrderedSeries],
) -> Deconvolution:
    """Fit elements to the spectra, or to the impedance of the model without them, starting from peaks."""
    measured = result.impedance if result.point_time is None else result.at_one_time().impedance
    model = result.impedance_at(result.frequency)
    known = measured is None
    if measured is None:
        measured, sigma = model, result.residual[:, None] * np.abs(model) / np.sqrt(2.0)
    else:
        sigma = _deviations(result, measured, model)
    method = result.method
    # What a deconvolution has no parts for is left to the inversion.
    given = _not_fitted(result, model)
    measured, model = measured - given, model - given
    coil = bool(getattr(method, "inductance", True)) and not (result.inductance_exponent != 1.0).all()
    capacitive = bool(getattr(method, "capacitance", False)) or bool(np.isfinite(result.capacitance).any())
    terms = coil, capacitive
    chosen = options.inheriting(*terms)
    found = deconvolve(result.frequency, measured, peaks, chosen, sigma, chains, known=known, model=model)
    return replace(found, states=result.states)


def _fitted_along(
    result: "Inversion", series: tuple[str, ...], along: str | None, together: bool | None
) -> Sequence[NDArray[np.intp] | OrderedSeries]:
    """Series whose spectra start from each other, in parts where they break; ordered ones are fitted together."""
    method = result.method
    joint = isinstance(method, LogGaussian) and method.along is not None and not np.isnan(result.coupling).all()
    if together is None:
        together = joint and along in (None, method.columns[0])  # type: ignore[attr-defined]
    if not together:
        return _chains(result.states, series, along)
    if joint and along in (None, method.columns[0]):  # type: ignore[attr-defined]
        one, *two = method.columns  # type: ignore[attr-defined]
        lines = series_along(result.states, one, series or (*(method.series or ()), *two) or None)  # type: ignore[attr-defined]
    elif along is not None:
        lines = series_along(result.states, along, series or None)
    else:
        raise InputError("spectra are fitted together along a state; got along=None. Name one: along='voltage'.")
    broken = (result.status & Status.BREAK) != 0
    parts = [
        OrderedSeries(line.rows[part], line.value[part], line.position[part])
        for line in lines
        for part in np.split(np.arange(line.rows.size), np.flatnonzero(broken[line.rows]))
        if part.size
    ]
    named = np.concatenate([part.rows for part in parts]) if parts else np.empty(0, dtype=np.intp)
    return [*parts, *(np.array([row]) for row in np.setdiff1d(np.arange(len(result)), named))]


def _not_fitted(result: "Inversion", model: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Impedance that no element of a deconvolution describes: tails and lossy inductances, ohm, shape (K, F)."""
    known, lossy = result._parameters, result.inductance_exponent != 1.0
    plain = replace(
        known,
        inductance=np.where(lossy, 0.0, known.inductance),
        tail=np.zeros(len(result)),
    )
    if not (lossy.any() or (known.tail > 0.0).any()):
        return np.zeros_like(model)
    return model - plain.impedance(result.frequency, result.expansion.impedance(result.frequency))


def _deviations(result: "Inversion", measured: NDArray[np.complex128], model: NDArray[np.complex128]) -> Array | None:
    """Course of the noise over the frequencies as the inversion has it, ohm, shape (K, F); None where it has none.

    Its size is that of the residuals of what is fitted with it.
    """
    found = bool(np.isfinite(result.noise_floor + result.noise_relative).any())
    floor, share = (result.noise_floor, result.noise_relative) if found else (None, None)
    weighting: Weighting = getattr(result.method, "weighting", "unit")
    return noise_of_inversion(result.frequency, measured, model, (floor, share), weighting)


def _chains(states: pd.DataFrame, series: tuple[str, ...], along: str | None) -> list[NDArray[np.intp]]:
    """Row numbers of each series, in the order of a state."""
    member, _ = series_of(states, series)
    if along is not None and along not in states.columns:
        raise UnknownNameError("the state column along", along, map(str, states.columns))
    order = np.arange(len(states)) if along is None else states[along].reset_index(drop=True).argsort().to_numpy()
    return [order[member[order] == number] for number in range(int(member.max(initial=-1)) + 1)]


def circuit_of(
    result: "Inversion", row: int, spectra: Spectra | None, options: DeconvolutionOptions | None
) -> EquivalentCircuit:
    """Make the equivalent circuit of a spectrum; see :meth:`Inversion.circuit`."""
    chosen = np.array([checked_row(row, len(result))])
    one = result[chosen]
    if one.representation[0] == "admittance":
        conductance = 1.0 / float(one.r_inf[0])
        return admittance_circuit(conductance, float(one.parallel_capacitance[0]), one.peaks())
    if result.expansion.kernel != "relaxation":
        return diffusion_circuit(float(one.r_inf[0]), float(one.inductance[0]), one.peaks(), result.expansion.kernel)
    tail = (float(one.tail_q[0]), float(one.tail_exponent[0]), float(one.tail_tau[0]))
    coil = (float(one.inductance[0]), float(one.inductance_exponent[0]))
    terms = SeriesTerms(tail if np.isfinite(tail[0]) else None, coil if coil[1] != 1.0 else None)
    found = one.deconvolve(None if spectra is None else spectra[chosen], options)
    return equivalent_circuit(found, 0, terms)
