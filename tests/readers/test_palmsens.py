"""PalmSens sessions: every channel and potential, keys in small letters, units, and damage."""

import json

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import find_reader, read_file

F = np.array([2e4, 2e3, 2e2, 2e1, 2e0, 2e-1])


def z_of(k):
    return 15 + (40 + 5 * k) / (1 + 2j * np.pi * F * 3e-3)


def array(description, unit, values, **more):
    cells = [{"V": float(value)} for value in values]
    return {"Description": description, "Unit": {"Type": f"PalmSens.Units.{unit}"}, "DataValues": cells, **more}


def scan(k, potential=0.1, drop=(), extra=(), title=None):
    z = z_of(k)
    arrays = {
        "Idc": array("Idc", "MicroAmpere", np.full(F.size, 12.5 + k)),
        "potential": array("potential", "Volt", np.full(F.size, potential)),
        "time": array("time", "Time", np.zeros(F.size)),
        "Frequency": array("Frequency", "Hertz", F),
        "ZRe": array("ZRe", "ZRe", z.real),
        "ZIm": array("ZIm", "ZIm", -z.imag),
        "Z": array("Z", "Z", abs(z)),
        "Phase": array("Phase", "Phase", -np.degrees(np.angle(z))),
    }
    kept = [value for name, value in arrays.items() if name not in drop]
    data = {"Type": "PalmSens.Data.DataSetEIS", "Values": [*kept, *extra]}
    return {"Title": title or f"E={potential:.3f} V", "DataSet": data}


def session(channels, *others):
    lists = [{"Title": f"CH {number}: E dc scan at {F.size} freqs", "SubScans": scans} for number, scans in channels]
    measured = {**scan(9), "Title": "Impedance Spectroscopy", "EISDataList": lists}
    return {"Type": "PalmSens.DataFiles.SessionFile", "Measurements": [measured, *others]}


def lower(value):
    if isinstance(value, dict):
        return {key.lower(): lower(item) for key, item in value.items()}
    return [lower(item) for item in value] if isinstance(value, list) else value


def put(tmp_path, content, encoding="utf-16", name="a.pssession", end="\ufeff"):
    path = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes((text + end).encode(encoding))
    return path


FOUR = session([(2, [scan(0, 0.1), scan(1, 0.3)]), (7, [scan(2, 0.1), scan(3, 0.3)])])


@pytest.mark.parametrize("make", [lambda s: s, lower], ids=["Keys", "keys"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8", "utf-8-sig"])
def test_every_channel_and_potential_is_a_spectrum(tmp_path, make, encoding):
    path = put(tmp_path, make(FOUR), encoding)
    assert find_reader(path).name == "palmsens"
    read = read_file(path)
    assert [(s.state["channel"], s.state["voltage"]) for s in read.sweeps] == [(2, 0.1), (2, 0.3), (7, 0.1), (7, 0.3)]
    for k, sweep in enumerate(read.sweeps):
        np.testing.assert_allclose(sweep.frequency, F)
        np.testing.assert_allclose(sweep.impedance, z_of(k), rtol=1e-12)
        assert sweep.state["current"] == pytest.approx((12.5 + k) * 1e-6)
        assert "time" not in sweep.state
    assert read.remarks == ()
    assert read.sweeps[1].state["label"] == "Impedance Spectroscopy / CH 2: E dc scan at 6 freqs / E=0.300 V"


def test_one_spectrum_without_channels(tmp_path):
    plain = {"Type": "PalmSens.DataFiles.SessionFile", "Measurements": [{**scan(1, 0.2), "Title": "Impedance"}]}
    (sweep,) = read_file(put(tmp_path, plain)).sweeps
    np.testing.assert_allclose(sweep.impedance, z_of(1))
    assert sweep.state == pytest.approx({"voltage": 0.2, "current": 13.5e-6, "label": "Impedance"})


def test_what_is_not_taken_is_said(tmp_path):
    other = {"Title": "Cyclic Voltammetry", "DataSet": {"Values": [array("current", "MicroAmpere", [1, 2])]}}
    read = read_file(put(tmp_path, session([(1, [scan(0), scan(1, drop=("ZRe",))])], other)))
    assert len(read.sweeps) == 1
    assert "1 measurement without impedance left out" in read.remarks
    assert "1 measurement of impedance without frequency, ZRe and ZIm left out" in read.remarks


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"drop": ("potential",), "extra": [array("potential", "Furlong", F)]},
            "voltage not taken: its unit 'Furlong'",
        ),
        ({"drop": ("potential",), "extra": [array("potential", "MilliAmpere", F)]}, "voltage not taken: its unit"),
        ({"drop": ("potential",), "extra": [array("potential", "Volt", F[:4])]}, "voltage not taken: 4 values for 6"),
        ({"drop": ("potential",), "extra": [array("potential", "Volt", 1e9 * F)]}, "voltage of 2e+13 V is beyond"),
        ({"drop": ("potential",), "extra": [array("potential", "Volt", [np.nan, *F[1:]])]}, "1 value of the voltage"),
        ({"drop": ("Idc",), "extra": [array("Idc", "", F)]}, "current not taken: its unit '' is not known"),
        ({"extra": [array("Edc", "Volt", F), array("Eac", "Volt", F)]}, "were not taken: 'Edc/V'"),
    ],
)
def test_damaged_side_arrays_refuse_nothing(tmp_path, change, words):
    read = read_file(put(tmp_path, session([(1, [scan(0, **change)])])))
    np.testing.assert_allclose(read.sweeps[0].impedance, z_of(0))
    assert any(words in remark for remark in read.remarks)


@pytest.mark.parametrize(("unit", "volts"), [("MilliVolt", 1e-3), ("MicroVolt", 1e-6), ("Volt", 1.0)])
def test_units_of_arrays(tmp_path, unit, volts):
    change = {"drop": ("potential",), "extra": [array("potential", unit, np.full(F.size, 250.0))]}
    (sweep,) = read_file(put(tmp_path, session([(1, [scan(0, **change)])]))).sweeps
    assert sweep.state["voltage"] == pytest.approx(250 * volts)


def changed(**cells):
    """A session in which the first value of some arrays is another."""
    one = scan(0)
    for item in one["DataSet"]["Values"]:
        if item["Description"] in cells:
            item["DataValues"][0] = {"V": cells[item["Description"]]}
    return session([(1, [one])])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps(FOUR)[:2000], "byte 0: no session that can be read"),
        ('{"Type": "PalmSens.DataFiles.SessionFile", "Measurements": ' + "[" * 100_000, "nested too deeply|cannot? be"),
        ("[1, 2]", "an object with measurements was expected"),
        ({"Type": "PalmSens.DataFiles.SessionFile", "Measurements": 3}, "holds no impedance"),
        ({"Type": "PalmSens.DataFiles.SessionFile"}, "holds no impedance"),
        (changed(Frequency=0), "point 1: got 0 Hz"),
        (changed(ZRe=None), "point 1: got 20000 Hz and nan"),
        (changed(ZRe=18.0), "point 1: ZRe and ZIm give 18.* which Z contradicts"),
        (changed(Phase=80.0), "which Phase contradicts"),
        (session([(1, [scan(0, drop=("ZIm",), extra=[array("ZIm", "ZIm", F[:3])])])]), "6 real and 3 imaginary"),
        ("", "no session that can be read"),
    ],
)
def test_damage(tmp_path, content, reason):
    path = put(tmp_path, content)
    with pytest.raises(FileFormatError, match=reason) as caught:
        read_file(path)
    assert str(path) in str(caught.value)
