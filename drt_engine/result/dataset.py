"""A result as an xarray dataset."""

from typing import TYPE_CHECKING, Any

import xarray as xr

from drt_engine.result_fields import INTERVAL_UNITS, OF_GAMMA, RESULT_FIELDS, RESULT_UNITS
from drt_engine.spectra import STATE_UNITS
from drt_engine.status import status_attributes

if TYPE_CHECKING:
    from drt_engine.result.inversion import Inversion

__all__ = ["dataset_of"]


def dataset_of(result: "Inversion") -> xr.Dataset:
    """Return a result as a dataset; see :meth:`Inversion.to_xarray`."""
    data: dict[str, Any] = {
        told.name: (("spectrum", "tau") if told.by_tau else "spectrum", getattr(result, told.name))
        for told in RESULT_FIELDS
    }
    if result.intervals is not None:
        for name in INTERVAL_UNITS:
            array = getattr(result.intervals, name)
            data[name] = (("spectrum", "tau")[: array.ndim], array)
    dataset = xr.Dataset(
        data,
        coords={"tau": result.tau} | {str(name): ("spectrum", column) for name, column in result.states.items()},
        attrs={"basis": result.expansion.basis, "mu": result.expansion.mu} | _flat(result.method.settings()),
    )
    if result.intervals is not None:
        dataset.attrs["level"] = result.intervals.level
    of_gamma = dict.fromkeys(OF_GAMMA, result.gamma_units)
    for name, unit in (RESULT_UNITS | INTERVAL_UNITS | of_gamma | dict(STATE_UNITS)).items():
        if name in dataset.variables:
            dataset[name].attrs["units"] = unit
    dataset["status"].attrs |= status_attributes()
    return dataset


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        f"method_{name}": str(value) if value is None or isinstance(value, bool) else value
        for name, value in settings.items()
    }
