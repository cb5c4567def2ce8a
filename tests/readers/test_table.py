"""Plain tables and workbooks: columns that headings or the user name."""

from pathlib import Path

import numpy as np
import pytest

from drt_engine.errors import FileFormatError, InputError, UnknownNameError
from drt_engine.readers import READERS, ReadOptions, read_file
from drt_engine.readers.base import NoMeasurementError
from drt_engine.readers.named import parse_columns

from .made import DOWN, LAYOUTS, points, text_table, z_of

ZHANG = ("time/s", "cycle number", "freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "|Z|/Ohm", "Phase(Z)/deg")
COLUMNS = "time,cycle,frequency,re,-im"


def put(tmp_path, text, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(tmp_path, text, **options):
    return read_file(put(tmp_path, text), options=ReadOptions(**options))


def same(recording, sweeps=2, **states):
    assert len(recording.finished) == sweeps
    for k, sweep in enumerate(recording.sweeps):
        np.testing.assert_allclose(sweep.frequency, DOWN, rtol=1e-6)
        np.testing.assert_allclose(sweep.impedance, z_of(DOWN, 50 + 10 * k), rtol=1e-5)
        assert sweep.state == {"time": 100 * k, "cycle": k + 1, **states}


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "  ", " \t "])
@pytest.mark.parametrize(("heading_line", "columns"), [(True, None), (True, COLUMNS), (False, COLUMNS)])
def test_headings_or_names_or_both(tmp_path, delimiter, heading_line, columns):
    headings = ZHANG if delimiter != "  " else tuple(h.replace(" ", "_") for h in ZHANG)
    text = text_table(points(2), ZHANG, delimiter, "{:.6f}", heading_line).replace("cycle number", headings[1])
    same(read(tmp_path, text, columns=columns))
    same(read(tmp_path, "A measurement\nof yesterday\n\n" + text, columns=columns))


@pytest.mark.parametrize(
    "columns",
    [
        "time,cycle,frequency,re,-im,|z|,phase",
        "time,cycle,frequency,re,-im,_,_",
        "time=1,cycle=2,-im=5,re=4,frequency=3",
        "time/s,cycle,frequency/Hz,_,_,|z|,phase/deg",
    ],
)
def test_ways_to_name_columns(tmp_path, columns):
    for heading_line in (True, False):
        same(read(tmp_path, text_table(points(2), ZHANG, "\t", "{:.8f}", heading_line), columns=columns))


def test_odd_headings_by_name(tmp_path):
    odd = dict(zip(ZHANG, ("when", "run", "nu", "A", "B", "C", "D"), strict=True))
    text = text_table(points(2), ZHANG, ";")
    for heading, name in odd.items():
        text = text.replace(heading, name, 1)
    same(read(tmp_path, text, columns="time=when,cycle=run,frequency=nu,re=A,-im=B"))
    same(read(tmp_path, text, columns=COLUMNS))
    with pytest.raises(FileFormatError, match="the heading 'mu', which no column has"):
        read(tmp_path, text, columns="frequency=mu,re=A,-im=B")


def test_a_row_of_units_below_the_headings(tmp_path):
    text = text_table(points(2), ZHANG, ";", heading_line=False)
    same(read(tmp_path, "time;cycle;freq;Zre;-Zim;Zmod;Phase\ns;;Hz;Ohm;Ohm;Ohm;deg\n" + text))


def test_units_that_the_user_states(tmp_path):
    rows = points(1)
    lines = "".join(f"{row['f'] / 1e3:.6e} {row['z'].real * 1e3:.6e} {-row['z'].imag * 1e3:.6e}\n" for row in rows)
    got = read(tmp_path, lines, columns="frequency/kHz,re/mohm,-im/mohm").sweeps[0]
    np.testing.assert_allclose(got.impedance, z_of(DOWN), rtol=1e-5)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("time,cycle,frequency,re,im", "column 5 'im', and its heading is '-Im"),
        ("cycle,time,frequency,re,-im", "column 1 'cycle', and its heading is 'time/s'"),
        ("time,cycle,frequency,-im,re", "column 4 '-im', and its heading is 'Re"),
        ("time,cycle,frequency/kHz,re,-im", "column 3 'frequency/kHz', and its heading is 'freq/Hz'"),
        ("frequency=3,re=4,-im=9", "column 9, and the table has 7 columns"),
    ],
)
def test_names_that_contradict_the_headings_are_refused(tmp_path, columns, reason):
    with pytest.raises(FileFormatError, match=f"line 1: columns names .*{reason}"):
        read(tmp_path, text_table(points(2), ZHANG), columns=columns)


def test_a_wrong_sign_is_seen_by_the_phase(tmp_path):
    text = text_table(points(2), ZHANG, heading_line=False)
    with pytest.raises(FileFormatError, match=r"line 1: .*other sign"):
        read(tmp_path, text, columns="time,cycle,frequency,re,im,|z|,phase")


def test_a_wrong_sign_is_seen_if_nothing_is_capacitive(tmp_path):
    rows = points(1)
    text = "f,re,im\n" + "".join(f"{r['f']},{r['z'].real},{-r['z'].imag}\n" for r in rows)
    with pytest.raises(FileFormatError, match="line 2: 'im' is positive at all 6 points"):
        read(tmp_path, text)
    assert np.all(read(tmp_path, text.replace("im", "-im", 1)).sweeps[0].impedance.imag < 0)
    assert np.all(read(tmp_path, text, columns="frequency,re,im").sweeps[0].impedance.imag > 0)


def test_rows_without_names_say_how_to_name_them(tmp_path):
    with pytest.raises(FileFormatError, match=r"line 1: rows of numbers begin here .*columns='frequency,re,im'"):
        read(tmp_path, "1e3,5,-1\n1e2,6,-2\n1e1,7,-3\n")


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, b"hello\nworld\n", b"1 2\n3 4\n", b"\0" * 99]
)
def test_what_nothing_knows_lists_what_is_known(tmp_path, content):
    with pytest.raises(FileFormatError, match=r"byte 0: .*Known are 'biologic-mpt'.*columns='frequency,re,im'"):
        read(tmp_path, content)


def test_a_file_that_is_not_there_or_empty(tmp_path):
    with pytest.raises(FileFormatError, match="does not exist"):
        read_file(tmp_path / "none.txt")
    with pytest.raises(FileFormatError, match="is a directory"):
        read_file(tmp_path)
    with pytest.raises(FileFormatError, match="byte 0: the file is empty"):
        read(tmp_path, b"")


def test_a_reader_that_is_named(tmp_path):
    path = put(tmp_path, text_table(points(2), ZHANG))
    assert read_file(path, reader="table").format == "table"
    with pytest.raises(UnknownNameError, match="'biologic-mpt'"):
        read_file(path, reader="solartron")
    with pytest.raises(FileFormatError, match="Nb header lines"):
        read_file(path, reader="biologic-mpt")


def test_every_reader_of_the_list_is_there():
    for name, reader in READERS.items():
        assert (reader.name, bool(reader.title), bool(reader.suffixes)) == (name, True, True)
        assert not reader.scan(b"\x00\x01\x02", Path("x.dat"))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("time,foo,re", "'foo', which is not known; expected names among frequency"),
        ("frequency,re", "must name the frequency and either re and im"),
        ("frequency,re,im,-im", "names the im twice"),
        ("frequency=,re,im", "a number or a heading"),
        ("frequency=0,re=1,im=2", "numbered from 1"),
    ],
)
def test_names_that_make_no_sense(spec, reason):
    with pytest.raises(InputError, match=reason):
        parse_columns(spec)
    with pytest.raises(InputError, match=reason):
        read_file("nowhere.txt", options=ReadOptions(columns=spec))


def test_a_file_without_a_last_line_end_is_remarked(tmp_path):
    text = text_table(points(2), ZHANG)
    assert any("the last line has no end" in remark for remark in read(tmp_path, text[:-1]).remarks)


openpyxl = pytest.importorskip("openpyxl")


def workbook(path, sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    book.close()
    return path


def cells(rows, headings=ZHANG):
    return [[float(LAYOUTS[heading](row)) for heading in headings] for row in rows]


@pytest.mark.parametrize(
    ("top", "columns"), [([list(ZHANG)], None), ([["note"], [], list(ZHANG)], COLUMNS), ([], COLUMNS)]
)
def test_workbooks(tmp_path, top, columns):
    path = workbook(tmp_path / "a.xlsx", {"data": [*top, *cells(points(2))], "notes": [["nothing", "here"]]})
    got = read_file(path, options=ReadOptions(columns=columns))
    assert got.format == "excel"
    same(got, sheet="data")


def test_sheets_are_all_read_or_one_is_named(tmp_path):
    table = [list(ZHANG), *cells(points(2))]
    path = workbook(tmp_path / "a.xlsx", {"one": table, "two": table})
    assert len(read_file(path).sweeps) == 4
    assert [sweep.state["sheet"] for sweep in read_file(path).sweeps] == ["one", "one", "two", "two"]
    same(read_file(path, options=ReadOptions(sheet="two")), sheet="two")
    with pytest.raises(FileFormatError, match=r"no sheet 'three'\. The sheets are 'one', 'two'"):
        read_file(path, options=ReadOptions(sheet="three"))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([["a", "b"], [1, 2]], "sheets 'data': no headings"),
        ([list(ZHANG)], r"\[data\], row 1: no rows below"),
        ([list(ZHANG), *cells(points(1)), [1, 1, "x", 3, 4, 5, 6]], r"\[data\], row 8: column 3 .* has 'x'"),
        (
            [list(ZHANG), *cells(points(1)), [1, 1, 2, None, 4, 5, 6]],
            r"\[data\], row 8: column 4 \(Re\(Z\)/Ohm\) has ''",
        ),
        ([list(ZHANG), [0, 1, 10, 3, 4, 5, 53.13]], r"\[data\], row 2: .*other sign|\[data\], row 2: .*exchanged"),
    ],
)
def test_workbooks_that_are_damaged_name_the_row(tmp_path, rows, reason):
    with pytest.raises(FileFormatError, match=reason):
        read_file(workbook(tmp_path / "a.xlsx", {"data": rows}))


def beside(*sizes, above=""):
    """Spectra beside each other: f, Z' and -Z'' of each, so many points long."""
    rows = [above] if above else []
    rows.append(";".join(["f/Hz;Z';-Z''"] * len(sizes)))
    for k in range(max(sizes)):
        z = [z_of(DOWN, 50 + 10 * n)[k] for n in range(len(sizes))]
        rows.append(
            ";".join(f"{DOWN[k]};{z[n].real};{-z[n].imag}" if k < sizes[n] else ";;" for n in range(len(sizes)))
        )
    return "\n".join(rows).replace(".", ",") + "\n"


def test_spectra_that_stand_beside_each_other(tmp_path):
    got = read(tmp_path, beside(6, 6, above="3,8 V;;;3,9 V;;"))
    assert [sweep.state for sweep in got.finished] == [{"voltage": 3.8}, {"voltage": 3.9}]
    for k, sweep in enumerate(got.sweeps):
        np.testing.assert_allclose(sweep.impedance, z_of(DOWN, 50 + 10 * k), rtol=1e-6)
    assert got.remarks == ("2 spectra stand beside each other",)
    labelled = read(tmp_path, beside(6, 5, above="fresh;;;aged;;"))
    assert [(len(sweep), sweep.state) for sweep in labelled.finished] == [
        (6, {"label": "fresh"}),
        (5, {"label": "aged"}),
    ]
    rows = [line.replace(",", ".").split(";") for line in beside(6, 6).splitlines()]
    book = [rows[0], *([float(cell) for cell in row] for row in rows[1:])]
    sweeps = read_file(workbook(tmp_path / "b.xlsx", {"A": [["", "", "25 °C", "", "", "40 °C"], *book]})).finished
    assert [sweep.state for sweep in sweeps] == [{"temperature": t, "sheet": "A"} for t in (25.0, 40.0)]


def test_pairs_that_share_a_column_of_frequencies(tmp_path):
    z = [z_of(DOWN, 50), z_of(DOWN, 60)]
    rows = "\n".join(f"{f},{a.real},{a.imag},{b.real},{b.imag}" for f, a, b in zip(DOWN, *z, strict=True))
    got = read(tmp_path, f"freq/Hz,Re1,Im1,Re2,Im2\n{rows}\n")
    np.testing.assert_allclose([sweep.impedance for sweep in got.finished], z, rtol=1e-6)


@pytest.mark.parametrize("cell", ["nan", "OVLD", "overflow", "#DIV/0!"])
def test_one_cell_without_a_value_drops_a_point(tmp_path, cell):
    lines = text_table(points(1), ZHANG).splitlines()
    row = lines[3].split("\t") if "\t" in lines[3] else lines[3].split(",")
    sign = "\t" if "\t" in lines[3] else ","
    row[3] = cell
    got = read(tmp_path, "\n".join([*lines[:3], sign.join(row), *lines[4:]]) + "\n")
    assert len(got.sweeps[0]) == DOWN.size - 1
    assert any(
        f"1 row without frequency or impedance left out (first at line 4: {cell!r})" in one for one in got.remarks
    )


@pytest.mark.parametrize(
    ("encoding", "headings"),
    [
        ("cp1252", "Frequenz (Hz);Realteil Z' (Ohm);Imaginärteil (Ohm)"),
        ("utf-8", "Fréquence (Hz);Partie réelle (Ohm);Partie imaginaire (Ohm)"),
        ("gb18030", "频率(Hz);阻抗实部(Ω);阻抗虚部(Ω)"),
        ("utf-8", "频率（Hz）;实部（Ω）;虚部（Ω）"),
        ("shift_jis", "周波数[Hz];実部 Z'[ohm];虚部[ohm]"),
        ("utf-8", "Frequenz (Hz);Zs'[ohm];Zs''[ohm]"),
    ],
)
def test_headings_in_other_languages(tmp_path, encoding, headings):
    z = z_of(DOWN, 50)
    rows = "\n".join(f"{f};{v.real};{v.imag}" for f, v in zip(DOWN, z, strict=True)).replace(".", ",")
    got = read(tmp_path, f"{headings}\n{rows}\n".encode(encoding))
    np.testing.assert_allclose(got.sweeps[0].impedance, z, rtol=1e-6)


def test_omega_is_an_angular_frequency(tmp_path):
    z = z_of(DOWN, 50)
    rows = "\n".join(f"{2 * np.pi * f},{v.real},{v.imag}" for f, v in zip(DOWN, z, strict=True))
    np.testing.assert_allclose(read(tmp_path, f"omega,Z',Z''\n{rows}\n").sweeps[0].frequency, DOWN, rtol=1e-9)


def test_a_frequency_without_a_unit_is_said_to_be_taken_in_hz(tmp_path):
    rows = "\n".join(f"{f},{v.real},{v.imag}" for f, v in zip(DOWN, z_of(DOWN, 50), strict=True))
    assert read(tmp_path, f"freq,Z',Z''\n{rows}\n").remarks == (
        "the heading 'freq' has no unit: taken as Hz; if it is kHz, say so with columns='frequency/kHz=1,re=2,im=3'",
    )
    polar = "\n".join(f"{f},{abs(v)},{np.angle(v)}" for f, v in zip(DOWN, z_of(DOWN, 50), strict=True))
    assert read(tmp_path, f"freq,|Z|,phase/rad\n{polar}\n").remarks == ("the heading 'freq' has no unit: taken as Hz",)
    assert read(tmp_path, f"freq (Hz),Z',Z''\n{rows}\n").remarks == ()


def test_a_voltage_profile_is_no_measurement(tmp_path):
    with pytest.raises(NoMeasurementError, match="no impedance under the headings 'time/h', 'voltage/V'"):
        read(tmp_path, "time/h,voltage/V,capacity/mAh\n0,4,0\n1,3.9,1\n2,3.8,2\n")


def test_headings_that_are_not_known_are_quoted(tmp_path):
    with pytest.raises(FileFormatError, match="the headings above, 'nu', 'A', 'B', are not known"):
        read(tmp_path, "nu,A,B\n3,4,0\n2,3.9,1\n1,3.8,2\n")


def test_archives_that_are_damaged(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"data": [list(ZHANG), *cells(points(2))]})
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(FileFormatError, match="byte 0: no workbook that openpyxl can read"):
        read_file(path)
    old = put(tmp_path, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.xls")
    with pytest.raises(FileFormatError, match=r"Save an old workbook \(.xls\) as .xlsx"):
        read_file(old)
