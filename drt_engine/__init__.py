"""Distributions of relaxation times from electrochemical impedance spectra, for whole in situ campaigns.

The names below are imported when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

    from drt_engine import plotting, simulate
    from drt_engine.errors import (
        DRTError,
        FileFormatError,
        FileWriteError,
        InputError,
        JobInterrupted,
        JobMismatchError,
        OutputBusyError,
        OutputExistsError,
        SolverError,
        UnknownNameError,
    )
    from drt_engine.hdf5 import (
        read_conductivity,
        read_inversion,
        read_spectra,
        read_tracks,
        write_conductivity,
        write_inversion,
        write_spectra,
        write_tracks,
    )
    from drt_engine.inversion import invert
    from drt_engine.jobs import invert_file
    from drt_engine.methods import Convex, LogGaussian, Tikhonov
    from drt_engine.peaks import DeconvolutionOptions, PeakOptions
    from drt_engine.readers import ReadOptions, read_file
    from drt_engine.readers.collect import CollectOptions, collect
    from drt_engine.readers.traces import read_traces
    from drt_engine.result import Inversion
    from drt_engine.spectra import Spectra
    from drt_engine.status import Status
    from drt_engine.tables import concat
    from drt_engine.traces import Trace
    from drt_engine.tracking import Known, TrackingOptions, track
    from drt_engine.transport import (
        Arrhenius,
        Composite,
        Conductivity,
        Flag,
        Polarisation,
        composite,
        conductivity,
        polarisation,
    )
    from drt_engine.validation import Cleaning, LinearKramersKronig, Validation, Validity, ZHit, clean, validate

__all__ = [
    "Arrhenius",
    "Cleaning",
    "CollectOptions",
    "Composite",
    "Conductivity",
    "Convex",
    "DRTError",
    "DeconvolutionOptions",
    "FileFormatError",
    "FileWriteError",
    "Flag",
    "InputError",
    "Inversion",
    "JobInterrupted",
    "JobMismatchError",
    "Known",
    "LinearKramersKronig",
    "LogGaussian",
    "OutputBusyError",
    "OutputExistsError",
    "PeakOptions",
    "Polarisation",
    "ReadOptions",
    "SolverError",
    "Spectra",
    "Status",
    "Tikhonov",
    "Trace",
    "TrackingOptions",
    "UnknownNameError",
    "Validation",
    "Validity",
    "ZHit",
    "clean",
    "collect",
    "composite",
    "concat",
    "conductivity",
    "invert",
    "invert_file",
    "plotting",
    "polarisation",
    "read_conductivity",
    "read_file",
    "read_inversion",
    "read_spectra",
    "read_traces",
    "read_tracks",
    "simulate",
    "track",
    "validate",
    "write_conductivity",
    "write_inversion",
    "write_spectra",
    "write_tracks",
]

_HOME = {
    "errors": (
        *("DRTError", "FileFormatError", "FileWriteError", "InputError", "JobInterrupted", "JobMismatchError"),
        *("OutputBusyError", "OutputExistsError", "SolverError", "UnknownNameError"),
    ),
    "hdf5": (
        *("read_conductivity", "read_inversion", "read_spectra", "read_tracks"),
        *("write_conductivity", "write_inversion", "write_spectra", "write_tracks"),
    ),
    "inversion": ("invert",),
    "jobs": ("invert_file",),
    "methods": ("Convex", "LogGaussian", "Tikhonov"),
    "peaks": ("DeconvolutionOptions", "PeakOptions"),
    "readers": ("ReadOptions", "read_file"),
    "readers.collect": ("CollectOptions", "collect"),
    "readers.traces": ("read_traces",),
    "result": ("Inversion",),
    "spectra": ("Spectra",),
    "status": ("Status",),
    "tables": ("concat",),
    "traces": ("Trace",),
    "tracking": ("Known", "TrackingOptions", "track"),
    "transport": (
        *("Arrhenius", "Composite", "Conductivity", "Flag", "Polarisation"),
        *("composite", "conductivity", "polarisation"),
    ),
    "validation": ("Cleaning", "LinearKramersKronig", "Validation", "Validity", "ZHit", "clean", "validate"),
}
_SUBMODULES = ("plotting", "simulate")
_BEFORE_INVERSION = ("LogGaussian", "Spectra", "invert")
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("drt-engine")
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name in _BEFORE_INVERSION:
        from drt_kernels import early

        # What is asked for next takes a second to import.
        early.begin()
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # What completes after "drt." is what is public, and no more.
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
