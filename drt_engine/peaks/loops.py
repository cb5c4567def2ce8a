"""Negative peaks: the resistance of an inductive loop and of the arcs whose flanks go on below it."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.peaks.elements import Deconvolution
from drt_engine.peaks.finding import EDGE
from drt_engine.peaks.logarithmic import hidden_flanks
from drt_engine.uncertainty.posterior import FLANK

__all__ = ["with_fitted_loops"]

Array = NDArray[np.float64]

_APART = 0.5
"""Standard deviation of R and τ of a loop, as a share of what γ and the fitted element differ by. By how often 95 %
intervals cover on one or two ZARC, Havriliak-Negami, log-normal or Warburg elements and a loop, at 0.1 to 1 % noise:
0.87 by the errors of the elements alone, 0.94 with 0.4 and 0.96 with 0.5."""

_USED = ("r", "r_error", "tau", "tau_error", "width", "inside")

_VAGUE = 2.0
"""How many times as large as that of γ the deviation of R of an element may be, for its R and τ to be used: with more,
the element and the arcs beside it cancel each other. γ is no surer of the loop then than they differ by."""

_STRUCTURED = 0.3
"""Correlation of neighbouring residuals from which on elements are missing, as the fit of elements has it."""

_WORSE = 1.1
"""Residual of the fitted elements over that of γ up to which they describe the spectrum as well: of ZARC elements it is
up to 1.05, as they have fewer parameters."""


def with_fitted_loops(peaks: pd.DataFrame, fitted: Deconvolution, residual: Array, significance: float) -> pd.DataFrame:
    """Correct negative peaks, and the positive ones beside them, by elements that were fitted to the spectra.

    γ has one sign at each relaxation time. The part of the flank of an arc where γ is negative is missing in the arc
    and in the loop, and near the change of sign their tails are exchanged by the prior; R_pol hardly changes by either.
    Elements overlap, and have no such error if their form is right. So the resistance of a loop is the mean of the two,
    weighted by their variances, and what it gains is added to the arcs in proportion to their flanks: the rows still
    add up to R_pol.

    Parameters
    ----------
    peaks : DataFrame
        Rows of :func:`find_peaks`.
    fitted : Deconvolution
        Elements of the same spectra, started from these peaks.
    residual : ndarray, shape (K,)
        Root mean square of |Z_fit − Z| / |Z| of γ.
    significance : float
        Standard deviations from zero from which on a loop is a maximum though γ does not show one.

    Returns
    -------
    DataFrame
        The same columns. The negative rows of a spectrum are one row where one element describes them.
    """
    elements = fitted.elements
    loops = elements[elements["r"] < 0.0]
    trusted = fitted.converged & (fitted.correlation < _STRUCTURED) & (fitted.misfit < _WORSE * residual)
    kept = []
    for k in peaks["spectrum"].unique():
        rows, loop = peaks[peaks["spectrum"] == k].reset_index(drop=True), loops[loops["spectrum"] == k]
        one = {name: float(loop[name].iloc[0]) for name in _USED} if trusted[int(k)] and len(loop) == 1 else None
        kept.append(rows if one is None else _corrected(rows, one, significance))
    corrected: pd.DataFrame = pd.concat(kept, ignore_index=True)
    return corrected


def _corrected(rows: pd.DataFrame, loop: dict[str, float], significance: float) -> pd.DataFrame:
    """Correct the rows of one spectrum by its loop, if that is where γ is negative."""
    r, r_error, tau, tau_error = (np.asarray(rows[name], dtype=float) for name in _USED[:4])
    negative = np.asarray(r < 0.0)
    low, high = rows.loc[negative, "lower"].min(), rows.loc[negative, "upper"].max()
    found, own, error = float(r[negative].sum()), float(np.linalg.norm(r_error[negative])), loop["r_error"]
    if not (low <= loop["tau"] <= high and own > 0.0 and error > 0.0):
        return rows
    shares, hidden = _shares(rows)
    apart = loop["r"] - found
    # No more than all of it.
    total = float(np.hypot(min(own, error), _APART * min(abs(apart), abs(found))))
    main = np.arange(r.size) == int(r.argmin())
    # What is hidden of flanks was in their errors.
    known = np.sqrt(np.maximum(r_error**2 - hidden**2, 0.0))
    beside = np.hypot(known, shares * total)
    if error > _VAGUE * own:
        return rows.assign(r_error=np.where(main, total, np.where(negative, r_error, beside)))
    change = apart * own**2 / (own**2 + error**2)
    place_error = np.hypot(loop["tau_error"], _APART * np.where(np.isnan(tau_error), 0.0, tau - loop["tau"]))
    given: dict[str, Any] = {
        "r": np.where(main, found + change, r - change * shares),
        "r_error": np.where(main, total, beside),
        "tau": np.where(main, loop["tau"], tau),
        "tau_error": np.where(main, place_error, tau_error),
        "lower": rows["lower"].where(~main, low),
        "upper": rows["upper"].where(~main, high),
    }
    seen = main & (rows["kind"] == EDGE) & (abs(found + change) > significance * total)
    others = {
        "significance": abs(found + change) / total,
        "prominence": rows["height"],
        "width": loop["width"],
        "inside": bool(loop["inside"]),
        "kind": "maximum",
    }
    given |= {name: rows[name].where(~seen, value) for name, value in others.items()}
    given["c"] = given["tau"] / given["r"]
    kept: pd.DataFrame = rows.assign(**given).loc[main | ~negative]
    return kept


def _shares(rows: pd.DataFrame) -> tuple[Array, Array]:
    """Share that each positive row has of the flanks below the negative ones, and the deviation that it was given."""
    y, low, high = (np.log(rows[name].to_numpy()) for name in ("tau", "lower", "upper"))
    r, height = rows["r"].to_numpy(), rows["height"].to_numpy()
    flanks = hidden_flanks(y, r, height, np.stack([low, high], axis=1)).sum(axis=1)
    # Where no flank is seen, it is that of the largest.
    shares = flanks if flanks.sum() > 0.0 else (r == r.max()).astype(float)
    return shares / shares.sum(), FLANK * flanks
