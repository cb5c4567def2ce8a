"""Campaigns and their inversions in HDF5 files."""

from drt_engine.hdf5.campaigns import add_spectra, growing, known_files, mask_points
from drt_engine.hdf5.conductivities import read_conductivity, write_conductivity
from drt_engine.hdf5.files import digest
from drt_engine.hdf5.inversions import write_inversion
from drt_engine.hdf5.reader import read_inversion, read_spectra
from drt_engine.hdf5.scan import Contents, InversionInfo, ProcessesInfo, SpectraInfo, scan
from drt_engine.hdf5.tracks import read_tracks, write_tracks
from drt_engine.hdf5.writer import SpectraWriter, write_spectra

__all__ = [
    "Contents",
    "InversionInfo",
    "ProcessesInfo",
    "SpectraInfo",
    "SpectraWriter",
    "add_spectra",
    "digest",
    "growing",
    "known_files",
    "mask_points",
    "read_conductivity",
    "read_inversion",
    "read_spectra",
    "read_tracks",
    "scan",
    "write_conductivity",
    "write_inversion",
    "write_spectra",
    "write_tracks",
]
