"""BioLogic files: loops, DC rows, states, damage that their redundant columns show."""

import importlib
import re
import struct
import sys

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import read_file
from drt_engine.readers.biologic_mpr import READER, RecordTable
from drt_engine.readers.columns import rows_of

from .made import DOWN, MPT_HEADINGS, mpt, points, z_of


def put(tmp_path, text, encoding="cp1252", name="a.mpt"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_one_sweep_a_cycle_with_its_states(tmp_path):
    read = read_file(put(tmp_path, mpt(points(3))))
    assert read.format == "biologic-mpt"
    assert len(read.sweeps) == len(read.finished) == 3
    for k, sweep in enumerate(read.sweeps):
        np.testing.assert_allclose(sweep.frequency, DOWN)
        np.testing.assert_allclose(sweep.impedance, z_of(DOWN, 50 + 10 * k), rtol=1e-6)
        assert sweep.state == pytest.approx(
            {"cycle": k + 1, "time": 100.0 * k, "voltage": 3.5025 + 0.1 * k, "current": 0.002, "charge": 7.2 * (k + 1)}
            | {"area": 0.785}
        )
    assert read.metadata["instrument"] == "SP-300 (SN 1)"
    assert read.metadata["started"] == "02/04/2024 10:02:46"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_comma_decimals(tmp_path, encoding):
    text = mpt(points(2))
    plain = read_file(put(tmp_path, text, encoding))
    comma = read_file(put(tmp_path, re.sub(r"\.(?=\d)", ",", text), encoding))
    assert plain.sweeps[1].state == comma.sweeps[1].state
    np.testing.assert_array_equal(plain.sweeps[1].impedance, comma.sweeps[1].impedance)


def test_dc_rows_are_left_out_and_said(tmp_path):
    rows = points(2)
    dc = dict(rows[0], f=0.0, z=0j)
    read = read_file(put(tmp_path, mpt([dc, dc, *rows[:6], dict(dc, t=50.0, n=2), *rows[6:]])))
    assert [len(sweep) for sweep in read.sweeps] == [6, 6]
    assert any("3 DC rows (f = 0) left out (first at line 14)" in remark for remark in read.remarks)


def test_sweep_that_stops_before_the_stated_end_is_unfinished(tmp_path):
    read = read_file(put(tmp_path, mpt(points(2)[:-2])))
    assert [sweep.finished for sweep in read.sweeps] == [True, False]
    assert "sweep 2 (line 20) is unfinished: it ends at 10 Hz and the header says 0.1 Hz" in read.remarks


def test_loops_of_the_header_stand_in_for_a_cycle_column(tmp_path):
    headings = tuple(h for h in MPT_HEADINGS if h != "cycle number")
    loops = ["Number of loops : 2", "Loop 0 from point number 0 to 5", "Loop 1 from point number 6 to 11"]
    read = read_file(put(tmp_path, mpt(points(2), extra=loops, headings=headings)))
    assert [sweep.state["cycle"] for sweep in read.sweeps] == [1, 2]


def test_placeholder_of_the_area_is_no_area(tmp_path):
    read = read_file(put(tmp_path, mpt(points(1), area="0.001")))
    assert "area" not in read.sweeps[0].state
    assert any("0.001 cm2 is what EC-Lab writes" in remark for remark in read.remarks)


def swapped(text, a, b):
    return text.replace(a, "\0").replace(b, a).replace("\0", b)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda t: t.replace("-Im(Z)", "Im(Z)"), r"line 14: .*imaginary part has the other sign"),
        (lambda t: swapped(t, "\tRe(Z)/Ohm", "\t-Im(Z)/Ohm"), "line 14: .*exchanged"),
        (lambda t: swapped(t, "freq/Hz", "time/s"), "line"),
        (lambda t: t.replace("1.0000000E+03", "1.0000000E+02", 1), "line 15: the series capacitance"),
        (lambda t: t.replace("E-01\t5.9", "E-01\t5.8", 1), r"line 19: .* give 58\.\d+ ohm, where"),
        (lambda t: t + t.splitlines()[12] + "\n", r"line 26: column 1 \(freq/Hz\) has 'freq/Hz'"),
        (lambda t: t + t, "line 26: 1 cells|line 26: a second header"),
        (lambda t: t.replace("Nb header lines : 13", "Nb header lines : 1x"), "line 2: 'Nb header lines"),
        (lambda t: t.replace("Nb header lines : 13", "Nb header lines : 999"), "line 2: 999 header lines"),
        (lambda t: t.replace("Nb header lines : 13", "Nb header lines : 12"), "line 12: headings between tabs"),
        (lambda t: t.replace("1.0000507E+01", "1.005x", 1), r"line 14: column 2 \(Re\(Z\)/Ohm\) has '1.005x"),
        (lambda t: t[: t.rindex("\t")] + "\n", "line 25: 10 cells, where the headings name 11"),
        (lambda t: t[:-2], "line 25: the last cell of the file"),
        (lambda t: "\n".join(t.splitlines()[:13]) + "\n", "no rows below the headings"),
        (
            lambda t: "\n".join(t.splitlines()[:13] + t.splitlines()[19:] + t.splitlines()[13:19]) + "\n",
            "time runs back",
        ),
    ],
)
def test_damage_is_an_error_at_its_place(tmp_path, damage, reason):
    text = mpt(points(2))
    broken = damage(text)
    assert broken != text
    path = put(tmp_path, broken)
    with pytest.raises(FileFormatError, match=reason) as caught:
        read_file(path)
    assert str(path) in str(caught.value)


RECORD = np.dtype(
    [
        ("freq/Hz", "<f4"),
        ("Re(Z)/Ohm", "<f4"),
        ("-Im(Z)/Ohm", "<f4"),
        ("|Z|/Ohm", "<f4"),
        ("Ewe/V", "<f4"),
        ("flag", "u1"),
    ]
)


def module(name, data):
    return b"MODULE" + name.ljust(10) + name.ljust(25) + struct.pack("<II", len(data), 0) + b"01/01/24" + data


def test_records_keep_the_accuracy_of_their_fields(tmp_path):
    z = z_of(DOWN).astype(np.complex64)
    records = np.zeros(6, RECORD)
    records["freq/Hz"], records["Re(Z)/Ohm"], records["-Im(Z)/Ohm"], records["|Z|/Ohm"] = DOWN, z.real, -z.imag, abs(z)
    rows = rows_of(RecordTable(tmp_path / "a.mpr", records))
    np.testing.assert_allclose(rows.impedance, z, rtol=1e-7)
    records["|Z|/Ohm"][3] *= 1.01
    with pytest.raises(FileFormatError, match="record 4"):
        rows_of(RecordTable(tmp_path / "a.mpr", records))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "byte 52: the module 'VMP Set' is missing"),
        (b"JUNK" * 30, "byte 52: a module was expected to begin"),
        (module(b"VMP Set   ", b"x" * 10)[:-3], "byte 109: the module 'VMP Set' says it has 10 bytes, and 7 are left"),
        (module(b"VMP Set   ", b"x" * 10) + module(b"VMP data  ", b"x"), "byte 52: galvani cannot read"),
    ],
)
def test_damaged_binaries_name_the_offset(tmp_path, body, reason):
    pytest.importorskip("galvani")
    path = tmp_path / "a.mpr"
    path.write_bytes(b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4) + body)
    if not body:
        reason = "byte 52: the module 'VMP Set' is missing"
    with pytest.raises(FileFormatError, match=reason):
        read_file(path)


def test_missing_galvani_says_how_to_install_it(tmp_path, monkeypatch):
    path = tmp_path / "a.mpr"
    body = module(b"VMP Set   ", b"x") + module(b"VMP data  ", b"x")
    path.write_bytes(b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4) + body)
    monkeypatch.setitem(sys.modules, "galvani.BioLogic", None)
    monkeypatch.setitem(sys.modules, "galvani", None)
    with pytest.raises(FileFormatError, match=r'pip install "drt-engine\[biologic\]"'):
        read_file(path)
    assert importlib.import_module("drt_engine.readers.biologic_mpr").READER is READER


FIELDS = {  # EC-Lab's number of the column, its type, and what it holds
    32: ("f4", lambda p: p["f"]),
    37: ("f4", lambda p: p["z"].real),
    38: ("f4", lambda p: -p["z"].imag),
    36: ("f4", lambda p: abs(p["z"])),
    35: ("f4", lambda p: np.degrees(np.angle(p["z"]))),
    4: ("f8", lambda p: p["t"]),
    77: ("f4", lambda p: p["v"]),
    76: ("f4", lambda p: p["i"] * 1e3),
    131: ("u2", lambda p: 0),
    13: ("f8", lambda p: p["q"] / 3.6),
    24: ("f8", lambda p: p["n"]),
}


def mpr(rows, *, fields=tuple(FIELDS), area=0.785, unit=2, reference=b"(unspecified)", fi=10.0, ff=100.0, loops=None):
    settings = bytearray(0x1900)
    struct.pack_into(f"<fB{len(reference)}s", settings, 0x211, area, len(reference), reference)
    settings[0x250] = unit
    struct.pack_into("<fB", settings, 0x1862, fi, 1)
    struct.pack_into("<fB", settings, 0x1867, ff, 3)
    records = np.zeros(len(rows), [(str(number), f"<{FIELDS[number][0]}") for number in fields])
    for number in fields:
        records[str(number)] = [FIELDS[number][1](row) for row in rows]
    head = struct.pack("<IB", len(rows), len(fields)) + bytes(fields)
    data = head.ljust(100, b"\0") + records.tobytes()
    raw = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4)
    raw += module(b"VMP Set   ", bytes(settings)) + module(b"VMP data  ", data)
    if loops:
        raw += module(b"VMP loop  ", struct.pack(f"<I{len(loops)}I", len(loops), *loops))
    return raw


def binary(tmp_path, *given, **how):
    pytest.importorskip("galvani")
    path = tmp_path / "a.mpr"
    path.write_bytes(mpr(*given, **how))
    return path


def test_binary_sweeps_with_their_states(tmp_path):
    read = read_file(binary(tmp_path, points(3)))
    assert (read.format, len(read.sweeps), len(read.finished)) == ("biologic-mpr", 3, 3)
    for k, sweep in enumerate(read.sweeps):
        np.testing.assert_allclose(sweep.frequency, DOWN, rtol=1e-6)
        np.testing.assert_allclose(sweep.impedance, z_of(DOWN, 50 + 10 * k), rtol=1e-6)
        assert sweep.state == pytest.approx(
            {"cycle": k + 1, "sequence": 0, "time": 100.0 * k, "voltage": 3.5025 + 0.1 * k, "current": 0.002}
            | {"charge": 7.2 * (k + 1), "area": 0.785}
        )


def test_binary_settings_say_how_far_a_sweep_should_go(tmp_path):
    read = read_file(binary(tmp_path, points(2)[:-1]))
    assert [sweep.finished for sweep in read.sweeps] == [True, False]
    assert read_file(binary(tmp_path, points(1))).sweeps[0].finished
    assert not read_file(binary(tmp_path, points(1), ff=10.0)).sweeps[0].finished
    assert read_file(binary(tmp_path, points(1), fi=3.0, ff=10.0)).sweeps[0].finished  # other settings stand there


def test_binary_area_needs_the_name_behind_it(tmp_path):
    assert "area" not in read_file(binary(tmp_path, points(1), area=0.001)).sweeps[0].state
    assert "area" not in read_file(binary(tmp_path, points(1), reference=b"\x01\x02")).sweeps[0].state


def test_binary_loops_stand_in_for_a_cycle_column(tmp_path):
    without = tuple(number for number in FIELDS if number != 24)
    read = read_file(binary(tmp_path, points(2), fields=without, loops=[0, 6]))
    assert [sweep.state["cycle"] for sweep in read.sweeps] == [1, 2]


@pytest.mark.parametrize(
    ("rows", "fields", "reason"),
    [
        (points(2), tuple(n for n in FIELDS if n != 32), "column types of the data: no column of frequencies"),
        ([], tuple(FIELDS), "record 1: no records"),
        ([*points(1), *points(1)], tuple(FIELDS), "record 7: time runs back"),
        ([*points(1), points(1)[3] | {"f": -1.0}], tuple(FIELDS), "record 7: frequency must be positive"),
        ([points(1)[0] | {"f": np.nan}, *points(1)], tuple(FIELDS), "record 1: frequency and impedance must be finite"),
    ],
)
def test_binary_data_that_cannot_be_true(tmp_path, rows, fields, reason):
    with pytest.raises(FileFormatError, match=reason):
        read_file(binary(tmp_path, rows, fields=fields))


def test_a_number_of_records_that_is_not_so(tmp_path):
    path = binary(tmp_path, points(2))
    raw = path.read_bytes()
    at = raw.index(struct.pack("<IB", 12, len(FIELDS)))
    path.write_bytes(raw[:at] + struct.pack("<I", 11) + raw[at + 4 :])
    with pytest.raises(FileFormatError, match="byte 52: galvani cannot read"):
        read_file(path)
