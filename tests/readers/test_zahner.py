"""Zahner .ism files, written here as the package of the maker lays them out, and read through it."""

import struct
import sys

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import find_reader, read_file

from .instrument_files import FREQUENCY, impedance

Z = impedance()


def text(value):
    raw = value.swapcase().encode("ascii")
    return struct.pack(">h", len(raw)) + raw


def ism(frequency=FREQUENCY, z=Z, *, voltage="3.7V", current="-2mA", temperature="25C", area="0.785cm2", tracks=None):
    n = len(frequency)
    raw = b"\x00\x00\xff\xff\xff\xfe" + (n - 1).to_bytes(6, "big")
    for values in (frequency, np.abs(z), np.angle(z), 1e9 + np.arange(n)):
        raw += np.asarray(values, dtype=">f8").tobytes()
    raw += np.full(n, 1000, dtype=">i2").tobytes()
    for value in ("281126", "a cell", voltage, current, temperature, "0s/60s", "one", "", "", "", area, ""):
        raw += text(value)
    flags = np.zeros(32)
    flags[27] = 32768 if tracks is not None else 0
    raw += struct.pack(">h", 512 if tracks is not None else 0) + flags.astype(">f8").tobytes()
    return raw + (np.asarray(tracks, dtype=">f8").tobytes() if tracks is not None else b"")


@pytest.fixture
def file(tmp_path):
    pytest.importorskip("zahner_analysis.file_import.ism_import")

    def put(content, name="a.ism"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return put


@pytest.mark.parametrize("name", ["a.ism", "a.dat"])
def test_spectrum_with_its_states(file, name):
    path = file(ism(), name)
    assert find_reader(path).name == "zahner"
    read = read_file(path)
    (sweep,) = read.sweeps
    np.testing.assert_allclose(sweep.frequency, FREQUENCY)
    np.testing.assert_allclose(sweep.impedance, Z, rtol=1e-12)
    assert sweep.state == pytest.approx({"voltage": 3.7, "current": -2e-3, "temperature": 25.0, "area": 0.785})
    assert read.remarks == ()
    assert read.metadata["system"] == "a cell"


def test_potential_and_current_of_each_point(file):
    tracks = np.column_stack([3.6 + 0.01 * np.arange(26), np.full(26, 1e-3)])
    (sweep,) = read_file(file(ism(tracks=tracks))).sweeps
    assert sweep.state["voltage"] == pytest.approx(3.725)
    assert sweep.state["current"] == pytest.approx(1e-3)


@pytest.mark.parametrize("turn", [3, 8])
def test_the_way_to_the_first_end_is_left_out(file, turn):
    way = FREQUENCY[turn:0:-1]
    f = np.concatenate([way, FREQUENCY])
    read = read_file(file(ism(f, impedance(f))))
    (sweep,) = read.sweeps
    np.testing.assert_allclose(sweep.frequency, FREQUENCY)
    np.testing.assert_allclose(sweep.impedance, Z)
    assert f"{turn} points of the overlap before or after the long branch left out" in read.remarks


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        ({"area": "0.785"}, "area", "area not taken: '0.785' has no number with a unit"),
        ({"area": "1 furlong"}, "area", "area not taken: the unit 'furlong'"),
        ({"voltage": "off"}, "voltage", "voltage not taken: 'off' has no number with a unit"),
        ({"voltage": "9E9V"}, "voltage", "voltage of 9e+09 V is beyond"),
        ({"current": "2 V"}, "current", "current not taken: the unit 'V'"),
        ({"temperature": "0"}, "temperature", "temperature not taken: '0' has no number with a unit"),
        ({"temperature": "-300C"}, "temperature", "temperature of -300 °C is beyond"),
    ],
)
def test_damaged_texts_refuse_nothing(file, change, state, words):
    read = read_file(file(ism(**change)))
    np.testing.assert_allclose(read.sweeps[0].impedance, Z)
    assert state not in read.sweeps[0].state
    assert any(words in remark for remark in read.remarks)


def test_a_track_that_is_no_number_leaves_that_of_the_header(file):
    tracks = np.full((len(FREQUENCY), 2), np.nan)
    tracks[3:, 1] = 0.5
    read = read_file(file(ism(tracks=tracks)))
    assert (read.sweeps[0].state["voltage"], read.sweeps[0].state["current"]) == (3.7, 0.5)
    assert sum("is not a number at" in remark for remark in read.remarks) == 2


def test_area_in_its_unit(file):
    (sweep,) = read_file(file(ism(area="78.5mm2"))).sweeps
    assert sweep.state["area"] == pytest.approx(0.785)


def test_a_header_of_another_version_keeps_the_spectrum(file):
    read = read_file(file(ism()[:1200]))
    np.testing.assert_allclose(read.sweeps[0].impedance, Z)
    assert any("of another version of the format" in remark for remark in read.remarks)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ism()[:700], "zahner_analysis cannot read it"),
        (ism(z=np.r_[np.nan, Z[1:]]), "point 1: got 10000 Hz and nan"),
        (ism(np.r_[FREQUENCY[:5], -1.0, FREQUENCY[6:]]), "got -1 Hz|positive and finite"),
    ],
)
def test_damage(file, content, reason):
    path = file(content)
    with pytest.raises(FileFormatError, match=reason):
        read_file(path)


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zahner_analysis.file_import.ism_import", None)
    monkeypatch.setitem(sys.modules, "zahner_analysis", None)
    path = tmp_path / "a.ism"
    path.write_bytes(ism())
    with pytest.raises(FileFormatError, match=r'zahner_analysis, which is not installed: pip install "zahner-analysis'):
        read_file(path)
