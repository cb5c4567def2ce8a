"""Voltage and current over time, from the files of each format."""

import struct

import numpy as np
import pytest

import drt_engine as drt

TIME = np.arange(1, 13) * 0.5
VOLTAGE = np.repeat([0.01, -0.01], 6)
CURRENT = VOLTAGE / 100 * (1 + 0.2 * np.exp(-np.tile(np.arange(6), 2)))
TABLE = list(zip(TIME, VOLTAGE, CURRENT, strict=True))

MPT = """EC-Lab ASCII FILE
Nb header lines : {n}

{technique}

Run on channel : 3
Electrode surface area : 0.785 cm²
{heading}
"""


def mpt(technique, heading, rows):
    header = MPT.format(n=8, technique=technique, heading=heading)
    return header + "".join("\t".join(f"{value:.9e}" for value in row) + "\t\n" for row in rows)


def check(found, current=CURRENT):
    assert len(found) == 1
    np.testing.assert_allclose(found[0].time, TIME)
    np.testing.assert_allclose(found[0].voltage, VOLTAGE, rtol=1e-6)
    np.testing.assert_allclose(found[0].current, current, rtol=1e-6)
    return found[0]


def test_biologic_text(tmp_path):
    path = tmp_path / "ca.mpt"
    rows = [(1, 0, t, v, 1e3 * i) for t, v, i in TABLE]
    path.write_text(mpt("Chronoamperometry", "mode\tox/red\ttime/s\tEwe/V\t<I>/mA\t", rows), encoding="latin-1")
    trace = check(drt.read_traces(path))
    assert trace.states["area"] == pytest.approx(0.785)
    assert trace.states["source"] == "ca.mpt"
    assert [len(step) for step in trace.steps()] == [6, 6]
    assert trace.to_frame()[["voltage", "source"]].iloc[-1].tolist() == [pytest.approx(-0.01), "ca.mpt"]
    assert trace.controlled == "voltage"


def test_biologic_rest_has_no_current(tmp_path):
    path = tmp_path / "ocv.mpt"
    path.write_text(
        mpt("Open Circuit Voltage", "mode\ttime/s\tEwe/V\t", [(3, t, v) for t, v, _ in TABLE]), encoding="latin-1"
    )
    check(drt.read_traces([path]), current=np.zeros(12))


def test_points_of_impedance_are_left_out(tmp_path):
    path = tmp_path / "mixed.mpt"
    rows = [(0, t, v, 1e3 * i) for t, v, i in TABLE] + [(1e3, 20, 0.01, 0.0)]
    path.write_text(mpt("Chronoamperometry", "freq/Hz\ttime/s\tEwe/V\t<I>/mA\t", rows), encoding="latin-1")
    check(drt.read_traces(path))


def module(name, data):
    return b"MODULE" + name.ljust(10) + name.ljust(25) + struct.pack("<II", len(data), 0) + b"01/01/24" + data


def test_biologic_binary(tmp_path):
    pytest.importorskip("galvani")
    settings = bytearray(0x1900)
    reference = b"(unspecified)"
    struct.pack_into(f"<fB{len(reference)}s", settings, 0x211, 0.785, len(reference), reference)
    settings[0x250] = 2
    fields = {4: "<f8", 6: "<f4", 8: "<f4"}  # time/s, Ewe/V, I/mA
    records = np.zeros(12, [(str(number), kind) for number, kind in fields.items()])
    records["4"], records["6"], records["8"] = TIME, VOLTAGE, 1e3 * CURRENT
    data = (struct.pack("<IB", 12, len(fields)) + bytes(fields)).ljust(100, b"\0") + records.tobytes()
    path = tmp_path / "ca.mpr"
    modules = module(b"VMP Set   ", bytes(settings)) + module(b"VMP data  ", data)
    path.write_bytes(b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4) + modules)
    assert check(drt.read_traces(path)).states["area"] == pytest.approx(0.785)


def test_gamry(tmp_path):
    rows = "".join(f"\t{k}\t{t:.6e}\t{v:.6e}\t{i:.9e}\t0\n" for k, (t, v, i) in enumerate(TABLE))
    head = "EXPLAIN\nTAG\tCHRONOA\nTITLE\tLABEL\ta\tTest\nAREA\tQUANT\t7.85E-01\tSample &Area (cm^2)\n"
    curve = f"CURVE\tTABLE\t12\n\tPt\tT\tVf\tIm\tVu\n\t#\ts\tV vs. Ref.\tA\tV\n{rows}"
    rest = "OCVCURVE\tTABLE\t2\n\tPt\tT\tVf\n\t#\ts\tV\n\t0\t0\t1.5\n\t1\t1\t1.6\nEOC\tQUANT\t1.6\tOpen Circuit (V)\n"
    path = tmp_path / "ca.DTA"
    path.write_text(head + rest + curve)
    first, second = drt.read_traces(path)
    assert first.current.tolist() == [0, 0]
    assert first.voltage.tolist() == [1.5, 1.6]
    assert check([second]).states["area"] == pytest.approx(0.785)


def test_plain_table_in_other_units(tmp_path):
    path = tmp_path / "ca.csv"
    lines = [f"{t / 60:.15g};{v:g};{1e6 * i:.15g};a" for t, v, i in TABLE]
    path.write_text("time/min;voltage/V;current/uA;sample\n" + "\n".join(lines) + "\n")
    assert check(drt.read_traces(path)).states["sample"] == "a"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "frequency,re\n1,2\n3,4\n", "columns of time and voltage were expected"),
        ("a.csv", "time/s,voltage/V\n1,2\n0,2\n", "times of a trace must ascend"),
        ("a.DTA", "EXPLAIN\nTAG\tX\n", "without a table CURVE"),
        ("a.mpt", mpt("X", "mode\ttime/s\t", [(1, 2.0), (1, 3.0)]), "no column of voltage"),
    ],
)
def test_files_without_a_trace_are_refused(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content, encoding="latin-1")
    with pytest.raises(drt.FileFormatError, match=words):
        drt.read_traces(path)


def test_files_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(drt.FileFormatError, match="does not exist"):
        drt.read_traces(tmp_path / "none.mpt")
    with pytest.raises(drt.InputError, match="at least one file"):
        drt.read_traces([])
