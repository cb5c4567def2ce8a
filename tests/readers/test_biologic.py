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
from drt_engine.readers.rows import rows_of

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
        (lambda t: t + t, "line 26: 1 cell,|line 26: a second header"),
        (lambda t: t.replace("Nb header lines : 13", "Nb header lines : 1x"), "line 2: 'Nb header lines"),
        (lambda t: t.replace("Nb header lines : 13", "Nb header lines : 999"), "line 2: 999 header lines"),
        (lambda t: t.replace("Nb header lines : 13", "Nb header lines : 12"), "line 12: headings between tabs"),
        (lambda t: t.replace("1.0000507E+01", "1.005x", 1), r"line 14: column 2 \(Re\(Z\)/Ohm\) has '1.005x"),
        (lambda t: t[: t.rindex("\t")] + "\n", "line 25: 10 cells, where the headings name 11"),
        (lambda t: t[:-2], "line 25: the last cell of the file"),
        (lambda t: "\n".join(t.splitlines()[:13]) + "\n", "no rows below the headings"),
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


def module(name, data, version=0):
    return b"MODULE" + name.ljust(10) + name.ljust(25) + struct.pack("<II", len(data), version) + b"01/01/24" + data


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
    with pytest.raises(FileFormatError, match=r'pip install "galvani>=0'):
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
    112: ("f8", lambda p: 1e300 / p["f"]),  # types that galvani does not know
    215: ("f4", lambda p: p["v"] - 1),
    248: ("u1", lambda p: 7),
    182: ("f8", lambda p: 0.0),
    185: ("f4", lambda p: 0.0),
    17: ("f4", lambda p: 0.25),
    475: ("f8", lambda p: np.nan),
    505: ("f4", lambda p: p["f"]),
    509: ("u1", lambda p: 1),
}
UNKNOWN = tuple(FIELDS)[11:]
KNOWN = tuple(FIELDS)[:11]


def mpr(rows, *, fields=KNOWN, area=0.785, unit=2, reference=b"(unspecified)", fi=10.0, ff=100.0, loops=None):
    settings = bytearray(0x1900)
    struct.pack_into(f"<fB{len(reference)}s", settings, 0x211, area, len(reference), reference)
    settings[0x250] = unit
    struct.pack_into("<fB", settings, 0x1862, fi, 1)
    struct.pack_into("<fB", settings, 0x1867, ff, 3)
    records = np.zeros(len(rows), [(str(number), f"<{FIELDS[number][0]}") for number in fields])
    for number in fields:
        records[str(number)] = [FIELDS[number][1](row) for row in rows]
    head, begin = struct.pack("<IB", len(rows), len(fields)), 405 if max(fields) > 255 else 100
    head += struct.pack(f"<{len(fields)}H", *fields) if max(fields) > 255 else bytes(fields)
    data = head.ljust(begin, b"\0") + records.tobytes()
    raw = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4)
    raw += module(b"VMP Set   ", bytes(settings)) + module(b"VMP data  ", data, version=2 if max(fields) > 255 else 0)
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


@pytest.mark.parametrize(
    ("name", "channel"),
    [("PEIS_C01.mpr", 1), ("a_C12.mpr", 12), ("PEIS_C01_x.mpr", None), ("LPSC01.mpr", None), ("_-25C.mpr", None)],
)
def test_binary_channel_from_the_name_as_ec_lab_writes_it(tmp_path, name, channel):
    path = binary(tmp_path, points(1)).rename(tmp_path / name)
    assert read_file(path).sweeps[0].state.get("channel") == channel


def test_binary_area_needs_the_name_behind_it(tmp_path):
    assert "area" not in read_file(binary(tmp_path, points(1), area=0.001)).sweeps[0].state
    assert "area" not in read_file(binary(tmp_path, points(1), reference=b"\x01\x02")).sweeps[0].state


def test_binary_loops_stand_in_for_a_cycle_column(tmp_path):
    without = tuple(number for number in KNOWN if number != 24)
    read = read_file(binary(tmp_path, points(2), fields=without, loops=[0, 6]))
    assert [sweep.state["cycle"] for sweep in read.sweeps] == [1, 2]


@pytest.mark.parametrize(
    ("rows", "fields", "reason"),
    [
        (points(2), tuple(n for n in KNOWN if n != 32), "column types of the data: no column of frequencies"),
        ([], KNOWN, "record 1: no records"),
        ([*points(1), points(1)[3] | {"f": -1.0}], KNOWN, "record 7: frequency must be positive"),
        ([points(1)[0] | {"f": np.inf}, *points(1)], KNOWN, "record 1: frequency and impedance must be finite"),
    ],
)
def test_binary_data_that_cannot_be_true(tmp_path, rows, fields, reason):
    with pytest.raises(FileFormatError, match=reason):
        read_file(binary(tmp_path, rows, fields=fields))


def test_a_number_of_records_that_is_not_so(tmp_path):
    path = binary(tmp_path, points(2))
    raw = path.read_bytes()
    at = raw.index(struct.pack("<IB", 12, len(KNOWN)))
    path.write_bytes(raw[:at] + struct.pack("<I", 11) + raw[at + 4 :])
    with pytest.raises(FileFormatError, match="byte 52: galvani cannot read"):
        read_file(path)


@pytest.mark.parametrize("add", [(215,), (112, 248), (248, 112, 215), UNKNOWN, UNKNOWN[::-1]])
@pytest.mark.parametrize("at", [0, 2, 5, len(KNOWN)])
def test_binary_columns_that_are_not_known_are_cut_out(tmp_path, add, at):
    fields = (*KNOWN[:at], *add[:1], *KNOWN[at : at + 3], *add[1:], *KNOWN[at + 3 :])
    read = read_file(binary(tmp_path, points(2), fields=fields))
    whole = read_file(binary(tmp_path, points(2)))
    unknown = ", ".join(str(number) for number in add if number not in (17, 505, 509))  # which galvani knows
    assert f"columns of the types {unknown} are not known and left out" in read.remarks
    for sweep, true in zip(read.sweeps, whole.sweeps, strict=True):
        np.testing.assert_array_equal(sweep.impedance, true.impedance)
        assert sweep.state == true.state


def test_binary_columns_that_cannot_be_told_apart_are_refused(tmp_path):
    path = binary(tmp_path, points(2), fields=(215, *KNOWN))
    raw = path.read_bytes()
    at = raw.index(struct.pack("<IB", 12, len(KNOWN) + 1)) + 5
    path.write_bytes(raw[:at] + bytes([4]) + raw[at + 1 :])  # a known type of another size in its place
    with pytest.raises(FileFormatError, match="byte 52: galvani cannot read"):
        read_file(path)


@pytest.mark.parametrize(("unit", "area"), [(2, 78.5), (3, 0.785)])
def test_binary_area_in_its_unit(tmp_path, unit, area):
    assert read_file(binary(tmp_path, points(1), area=78.5, unit=unit)).sweeps[0].state["area"] == pytest.approx(area)


def test_binary_area_in_an_unknown_unit_is_no_state(tmp_path):
    read = read_file(binary(tmp_path, points(1), unit=9))
    assert "area" not in read.sweeps[0].state
    assert "area not taken: the code 9 of its unit is not known (2 is cm², 3 is mm²)" in read.remarks


def test_a_second_module_of_data_is_named(tmp_path):
    path = binary(tmp_path, points(1))
    path.write_bytes(path.read_bytes() + module(b"VMP data  ", b"x" * 200))
    with pytest.raises(FileFormatError, match="galvani cannot read"):
        read_file(path)


@pytest.mark.parametrize(
    ("written", "area"),
    [
        ("78.5 mm²", 0.785),
        ("0,785 cm²", 0.785),
        ("7.85E-5 m²", 0.785),
        ("78.5 mm2", 0.785),
        ("0.785 acres", None),
        ("many cm²", None),
        ("-0.785 cm²", None),
    ],
)
def test_area_in_its_unit(tmp_path, written, area):
    text = mpt(points(1)).replace("0.785 cm²", written)
    read = read_file(put(tmp_path, text))
    assert read.sweeps[0].state.get("area") == (area and pytest.approx(area))
    assert (area is None) == any(remark.startswith("area ") for remark in read.remarks)


def test_time_that_runs_back_is_no_state(tmp_path):
    lines = mpt(points(2)).splitlines()
    read = read_file(put(tmp_path, "\n".join([*lines[:13], *lines[19:], *lines[13:19]]) + "\n"))
    assert [sweep.state["cycle"] for sweep in read.sweeps] == [2, 1]
    assert not any("time" in sweep.state for sweep in read.sweeps)
    assert any("time runs back (line 20)" in remark for remark in read.remarks)


def test_a_damaged_capacitance_beside_a_frequency_in_step_is_remarked(tmp_path):
    frequency = np.logspace(4, -1, 26)
    text = mpt(points(1, frequency), headings=[h for h in MPT_HEADINGS if h != "cycle number"])
    row = text.splitlines()[20].split("\t")
    for odd in ("x", "1.0E+09", ""):
        changed = "\t".join([*row[:8], odd, *row[9:]])
        read = read_file(put(tmp_path, text.replace("\t".join(row), changed)))
        assert len(read.sweeps[0]) == 26
        assert any("capacit" in remark or "Cs/µF" in remark for remark in read.remarks) or odd == ""
    wrong = "\t".join([f"{float(row[0]) * 1.2:.7E}", *row[1:]])
    with pytest.raises(FileFormatError, match="line 21: the series capacitance"):
        read_file(put(tmp_path, text.replace("\t".join(row), wrong)))


OTHERS = {"ce": 0.5, "we-ce": 1.5}


def electrodes(*, blank=True, trailing=2, order=("ce", "we-ce")):
    """An export of three electrodes: an empty heading without a cell, headings at the end that are never filled."""
    lines = mpt(points(2)).splitlines()
    head = ["<Ece>/V"]
    for of in order:
        head += [f"Phase(Z{of})/deg", f"|Z{of}|/Ohm", f"Re(Z{of})/Ohm", f"-Im(Z{of})/Ohm"]
    table = [lines[12] + "\t" + "\t".join([*([""] if blank else []), *head, "P/W", *["Rwe-ce/Ohm"] * trailing])]
    for line in lines[13:]:
        cells = [float(cell) for cell in line.split("\t")]
        z = complex(cells[1], -cells[2])
        more = [1.25]
        for of in order:
            other = OTHERS[of] * z + 2
            more += [np.degrees(np.angle(other)), abs(other), other.real, -other.imag]
        table.append(line + "\t" + "\t".join(f"{value:.7E}" for value in [*more, 0.0]))
    return "\n".join([*lines[:12], *table]) + "\n"


@pytest.mark.parametrize("blank", [True, False])
@pytest.mark.parametrize("order", [("ce", "we-ce"), ("we-ce", "ce")])
@pytest.mark.parametrize("trailing", [0, 2])
def test_each_electrode_is_a_spectrum_of_its_own(tmp_path, blank, order, trailing):
    read = read_file(put(tmp_path, electrodes(blank=blank, trailing=trailing, order=order)))
    assert [sweep.state["electrode"] for sweep in read.sweeps] == ["working"] * 2 + ["counter"] * 2 + ["both"] * 2
    for k in range(2):
        z = z_of(DOWN, 50 + 10 * k)
        for sweep, true in zip(read.sweeps[k::2], (z, 0.5 * z + 2, 1.5 * z + 2), strict=True):
            np.testing.assert_allclose(sweep.impedance, true, rtol=1e-6)
            assert sweep.state["voltage"] == pytest.approx(3.5025 + 0.1 * k)
            assert sweep.state["cycle"] == k + 1
    assert any("'<Ece>/V'" in remark for remark in read.remarks)
    assert any("taken by position from the left" in remark for remark in read.remarks) == (blank or trailing > 0)


def test_an_electrode_that_was_not_measured_or_is_damaged_is_left_out(tmp_path):
    lines = [line.split("\t") for line in electrodes(blank=False, trailing=0).splitlines()]
    for row in lines[13:]:
        row[12:16] = ["0"] * 4
        row[18] = "9" + row[18]
    read = read_file(put(tmp_path, "\n".join(map("\t".join, lines)) + "\n"))
    assert [dict(sweep.state).get("electrode") for sweep in read.sweeps] == [None, None]
    assert any("counter electrode is 0 throughout" in remark for remark in read.remarks)
    assert any("the electrode 'both' is left out" in remark for remark in read.remarks)


def test_shifted_cells_below_headings_are_refused(tmp_path):
    headings = ("freq/Hz", "time/s", "Re(Z)/Ohm", "-Im(Z)/Ohm", "<Ewe>/V")
    text = mpt(points(2), headings=headings)
    start = text.index("freq/Hz")
    rows = ["\t".join(line.split("\t")[:1] + line.split("\t")[2:]) for line in text[start:].splitlines()[1:]]
    with pytest.raises(FileFormatError, match="line 13: the headings name more columns than the rows have cells"):
        read_file(put(tmp_path, text[:start] + "\n".join(["\t".join(headings), *rows]) + "\n"))


def test_blocks_of_looped_files_give_direction_and_capacity(tmp_path):
    headings = ("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "time/s", "<I>/mA", "ox/red", "(Q-Qo)/mA.h", "Capacity/mA.h")
    rows, time = [], 0
    for current, capacity in ((2.0, 1.0), (-2.0, 0.5), (0.0, 0.5)):
        blocks = [(0.0, 0j, current)] * 4 + [(0.0, 0j, 1e-5)] * 2 + [(f, complex(z_of(f)), 1e-5) for f in DOWN]
        for f, z, i in blocks:
            rows.append((f, z.real, -z.imag, time, i, int(i > 0), 3.0, capacity))
            time += 1
    head = ["EC-Lab ASCII FILE", "Nb header lines : 3                          ", "\t".join(headings)]
    path = tmp_path / "a.mpt"
    path.write_text("\n".join([*head, *("\t".join(f"{cell:.7E}" for cell in row) for row in rows)]) + "\n")
    read = read_file(path)
    assert [sweep.state["direction"] for sweep in read.finished] == ["charge", "discharge", "rest"]
    assert [sweep.state["capacity"] for sweep in read.finished] == pytest.approx([3.6, 1.8, 1.8])
    assert [sweep.state["charge"] for sweep in read.finished] == pytest.approx([10.8] * 3)
    assert [list(sweep.point_time) for sweep in read.finished] == [list(range(6))] * 3


def test_an_area_without_a_unit_is_remarked_on(tmp_path):
    text = mpt(points(1), area="1.5")
    for said, noted in ((text, False), (text.replace("1.5 cm²", "1.5"), True)):
        read = read_file(put(tmp_path, said))
        assert read.sweeps[0].state["area"] == 1.5
        assert ("area of '1.5' has no unit: taken as cm²" in read.remarks) is noted
    assert said != text


@pytest.mark.parametrize(
    ("headings", "volts"),
    [(("Ecell/mV", "x"), 3e-3), (("Ecell/V", "Ewe/V"), 4), (("Ewe/V", "Ecell/V"), 3), (("<Ecell>/V", "I/mA"), 3)],
)
def test_the_potential_of_a_cell_is_taken_where_there_is_no_electrode(tmp_path, headings, volts):
    text = mpt(points(1)).splitlines()
    at = next(n for n, line in enumerate(text) if line.startswith("freq/Hz"))
    names = [name.replace("<Ewe>", "x<Ewe>") for name in text[at].split("\t")]
    text[at:] = ["\t".join([*names, *headings]), *(line + "\t3\t4" for line in text[at + 1 :])]
    read = read_file(put(tmp_path, "\n".join(text) + "\n"))
    assert read.sweeps[0].state["voltage"] == pytest.approx(volts)
