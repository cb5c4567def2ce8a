"""Damaged and made-up HDF5 files: read as they were, or refused in one line; no crash, no hang, no other numbers."""

import h5py
import numpy as np
import pytest
from hypothesis import strategies as st

import drt_engine as drt
from drt_engine.hdf5 import read_tracks, scan, write_tracks

from .forking import outcome
from .fuzzing import fuzz

HANGS = 20
READERS = {"scan": scan, "spectra": drt.read_spectra, "inversion": drt.read_inversion, "tracks": read_tracks}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A small file with spectra, an inversion and processes, and what is read of it."""
    folder = tmp_path_factory.mktemp("original")
    path = folder / "whole.h5"
    frequency = np.logspace(4, 0, 8)
    z = 5 + 20 / (1 + (2j * np.pi * frequency * 1e-2) ** 0.9) * np.linspace(1.0, 2.0, 3)[:, None]
    states = {"cell": ["A", None, "µ"], "cycle": [1, 2, 3], "voltage": [2.2, 3.0, 4.7]}
    spectra = drt.Spectra(frequency, z, states)
    result = drt.invert(spectra, drt.Tikhonov(regularisation=1e-3))
    drt.write_spectra(path, spectra)
    drt.write_inversion(folder / "i.h5", result)
    write_tracks(folder / "t.h5", drt.track(result.peaks(), "voltage", []))
    with h5py.File(path, "r+") as file:
        for other, name in (("i.h5", "inversions"), ("t.h5", "processes")):
            with h5py.File(folder / other) as source:
                source.copy(name, file)
    return path.read_bytes(), read(path)


def read(path):
    """Read all that there is to read; None where it is refused."""
    found = {}
    for name, reader in READERS.items():
        found[name] = None
        try:
            found[name] = reader(path)
        except drt.DRTError as error:
            told = str(error)
            if "\n" in told:
                raise ValueError(f"more than one line: {told!r}") from error
    return found


def numbers(name, result):
    """What must not become something else: the measured values and the results."""
    if name == "spectra":
        return result.frequency, result.impedance
    if name == "inversion":
        return result.frequency, result.tau, result.coefficients, result.r_inf, result.status
    return result.table["tau"].to_numpy(), result.table["r"].to_numpy()


def changes(size):
    """Ways to damage a file of so many bytes."""
    place = st.integers(0, size - 1)
    length = st.integers(1, 64)
    return st.lists(
        st.one_of(
            st.tuples(st.just("flip"), place, st.integers(0, 7)),
            st.tuples(st.just("write"), place, st.binary(min_size=1, max_size=16)),
            st.tuples(st.just("fill"), place, length, st.sampled_from([0, 1, 127, 128, 255])),
            st.tuples(st.just("drop"), place, length),
            st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=16)),
            st.tuples(st.just("cut"), place),
        ),
        min_size=1,
        max_size=4,
    )


def changed(content, some):
    """Damage a file."""
    data = bytearray(content)
    for kind, at, *what in some:
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << what[0]
        elif kind == "write":
            data[at : at + len(what[0])] = what[0]
        elif kind == "fill":
            data[at : at + what[0]] = bytes([what[1]]) * what[0]
        elif kind == "drop":
            del data[at : at + what[0]]
        elif kind == "insert":
            data[at:at] = what[0]
        elif kind == "cut":
            del data[at:]
    return bytes(data)


@pytest.mark.slow
def test_whatever_is_damaged_is_refused_or_as_it_was(original, tmp_path):
    content, expected = original
    path = tmp_path / "damaged.h5"

    def work():
        for name, result in read(path).items():
            if result is not None and name != "scan":
                for got, known in zip(numbers(name, result), numbers(name, expected[name]), strict=True):
                    np.testing.assert_array_equal(got, known)

    def check(some):
        path.write_bytes(changed(content, some))
        assert outcome(work, HANGS) == "done"

    assert fuzz(changes(len(content)), check, what="HDF5 files") > 0
