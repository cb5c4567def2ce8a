"""validate(): from spectra to what is wrong with each."""

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.result import Inversion
from drt_engine.spectra import MIN_POINTS, Spectra
from drt_engine.threads import run_tiles, thread_count
from drt_engine.validation.base import Findings, ValidityTest
from drt_engine.validation.kramers_kronig import LinearKramersKronig
from drt_engine.validation.result import Validation, Validity

__all__ = ["validate"]

_TILES = (512, 5120)
"""Fewest and most spectra that are worked on at once.

Many: each number of elements in a tile fills up its last block, and threads wait for each other at every call.
"""

Tile = tuple[NDArray[np.intp], NDArray[np.intp]]


def validate(spectra: Spectra | Inversion, method: ValidityTest | None = None) -> Validation:
    """Test whether spectra can be the linear and stationary response of anything.

    A spectrum that cannot be tested gets a flag and NaN; the others get what they would have got alone. Points that are
    NaN, infinite or zero are left out.

    Parameters
    ----------
    spectra : Spectra or Inversion
        K spectra; or the result of inverting them together, which are then held against what the others of their series
        predict as well.
    method : LinearKramersKronig or ZHit, optional
        The test; ``LinearKramersKronig()`` by default.

    Returns
    -------
    Validation
        Residuals, scores and flags, frozen.

    Raises
    ------
    InputError
        If `spectra` is neither, `method` no test, and for a result whose spectra are not known or were not inverted
        together.

    Examples
    --------
    >>> import drt_engine as drt
    >>> from drt_engine.simulate import CampaignDesign, campaign
    >>> spectra = campaign(CampaignDesign(cycles=(1,), voltages=2)).spectra
    >>> validate(spectra).counts()
    {'valid': 8}
    """
    if isinstance(spectra, Inversion):
        found = spectra.predictions()
        tested = validate(Spectra(spectra.frequency, spectra.impedance, spectra.states), method)  # type: ignore[arg-type]
        flag = tested.flag | np.where(found.score > 1.0, np.uint16(Validity.UNPREDICTED), np.uint16(0))
        return replace(tested, flag=flag, prediction=found.score, prediction_error=found.error)
    if not isinstance(spectra, Spectra):
        raise InputError(
            f"spectra must be a Spectra; got {type(spectra).__name__}. Make one: Spectra(frequency, impedance)."
        )
    method = LinearKramersKronig() if method is None else method
    if isinstance(method, type) or not isinstance(method, ValidityTest):
        raise InputError(f"method must be LinearKramersKronig() or ZHit(); got {method!r}.")
    usable = _usable(spectra.impedance)
    flag = _flags_of_points(usable)
    out = Findings.blank(*usable.shape)

    def work(tile: Tile) -> None:
        rows, points = tile
        test = method.at(points, usable.shape[1]) if isinstance(method, LinearKramersKronig) else method
        found = test.examine(spectra.frequency[points], np.take(spectra.impedance[rows], points, axis=1))
        for field in fields(Findings):
            values, into = getattr(found, field.name), getattr(out, field.name)
            if values.ndim == 2:
                into[np.ix_(rows, points)] = values
            else:
                into[rows] = values

    run_tiles(work, _tiles(_alike(usable, flag)))
    arrays = {field.name: getattr(out, field.name) for field in fields(Findings)} | {"flag": out.flag | flag}
    return Validation(spectra.frequency, **arrays, states=spectra.states, method=method)


def _usable(impedance: NDArray[np.complex128]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = np.abs(impedance.real) + np.abs(impedance.imag)
        return np.asarray((size > 0.0) & (size < np.inf) & (1.0 / size < np.inf))


def _flags_of_points(usable: NDArray[np.bool_]) -> NDArray[np.uint16]:
    points = usable.sum(axis=1)
    flag = np.where(points < usable.shape[1], Validity.POINTS_MISSING, Validity.VALID)
    flag = np.where(points < MIN_POINTS, Validity.TOO_FEW_POINTS, flag)
    return np.where(points == 0, Validity.NOT_FINITE, flag).astype(np.uint16)


def _alike(usable: NDArray[np.bool_], flag: NDArray[np.uint16]) -> list[Tile]:
    """Group the rows that can be tested by which points they have: pairs of row numbers and point numbers."""
    rows = np.flatnonzero(flag < Validity.NOT_FINITE)
    if not rows.size:
        return []
    packed = np.packbits(usable[rows], axis=1)
    _, first, member = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_inverse=True)
    return [(rows[member == k], np.flatnonzero(usable[rows[at]])) for k, at in enumerate(first)]


def _tiles(groups: list[Tile]) -> list[Tile]:
    """Two tiles for each thread, where there are enough spectra for that and not too many."""
    rows = sum(group[0].size for group in groups)
    size = min(max(-(-rows // (2 * thread_count())), _TILES[0]), _TILES[1])
    return [(rows[k : k + size], points) for rows, points in groups for k in range(0, rows.size, size)]
