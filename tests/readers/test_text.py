"""Text within bounds: encodings, numbers, delimiters, and files that are none."""

import os
import re
import time
import tracemalloc
from itertools import product

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import ReadOptions, read_file
from drt_engine.readers.text import MAX_LINE, head_text, is_number, read_text, split_cells, table_below
from drt_engine.text import are_numbers, is_row_of_numbers


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"])
def test_encodings_are_found(tmp_path, encoding):
    path = tmp_path / "a.txt"
    text = "Fläche/cm², 25 °C\nZ'/Ohm; µF\n" + "1;2;3\n" * 100
    path.write_bytes(text.encode(encoding))
    read = read_text(path)
    assert "\n".join(read.lines).removeprefix("\ufeff") + "\n" == text
    assert read.ended
    assert "°C" in head_text(path.read_bytes()[:333])


def test_an_encoding_that_the_user_names(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("コメント\n1 2 3\n".encode("shift-jis"))
    assert read_text(path, ReadOptions(encoding="shift-jis")).lines[0] == "コメント"
    with pytest.raises(FileFormatError, match="byte 0: not ascii text"):
        read_text(path, ReadOptions(encoding="ascii"))
    with pytest.raises(FileFormatError, match="encoding 'klingon' is not known"):
        read_text(path, ReadOptions(encoding="klingon"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_line_ends(tmp_path, end):
    path = tmp_path / "a.txt"
    path.write_bytes(f"a b{end}1 2{end}3\x0b4{end}".encode())
    assert read_text(path).lines == ("a b", "1 2", "3\x0b4")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "byte 0: the file is empty"),
        (b"a\nb\x00c\n", "line 2: the control character"),
        (b"a\nb\x01c\n", "line 2: the control character"),
        (b"a\n" + b"1" * (MAX_LINE + 2), "byte 2: a line of more than"),
        (b"a\n" * 700_000 + b"1" * (3 * MAX_LINE) + b"\n", "byte 1400000: a line of more than"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, reason):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=reason):
        read_text(path)


@pytest.mark.parametrize(
    "head", [b"", b"EC-Lab ASCII FILE\nNb header lines : 5\n", b"freq/Hz,re,im\n1,2,3\n", b"PK\x03\x04xl/"]
)
@pytest.mark.parametrize("size", [2**30, 200 * 2**20])
def test_a_sparse_file_ends_in_an_error_soon_and_within_bounded_memory(tmp_path, head, size):
    path = tmp_path / "a.xlsx"
    with path.open("wb") as file:
        file.write(head)
        os.truncate(path, size)
    began = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(FileFormatError, match=r"byte|line|row"):
        read_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.perf_counter() - began < 2
    assert peak < 50 * 2**20


@pytest.mark.parametrize("cell", ["1", "-1.5", ".5", "5.", "1e5", "1.5E-003", "+2", "1.0D+02"])
def test_numbers(cell):
    assert is_number(cell, ".")
    assert is_number(cell)
    assert is_number(cell.replace(".", ","), ",")


@pytest.mark.parametrize(
    "cell", ["", "nan", "inf", "1_000", "0x1f", "1.2.3", "1,234.5", "1 000", "--1", "1e", "e5", "½"]
)
def test_what_is_no_number(cell):
    assert not is_number(cell)


def table(tmp_path, text, **options):
    path = tmp_path / "a.txt"
    path.write_text(text, newline="")
    return table_below(read_text(path), 1, options=ReadOptions(**options))


@pytest.mark.parametrize(
    "text",
    [
        "f\tre\tim\n1.5\t2.5\t-3\n4\t5.25\t-6\n",
        "f\tre\tim\t\n1,5\t2,5\t-3\t\n4\t5,25\t-6\t\n",
        "f;re;im\n1,5;2,5;-3\n4;5,25;-6\n",
        "f,re,im\n1.5,2.5,-3\n4, 5.25, -6\n",
        "f re im\n 1,5 2,5  -3\n\n4 5,25 -6",
        '"f","re","im"\n"1,5","2,5","-3"\n"4","5,25","-6"\n',
    ],
)
def test_delimiters_and_decimals(tmp_path, text):
    decimal = "," if '"' in text else None
    read = table(tmp_path, text, decimal=decimal)
    assert read.headings == ("f", "re", "im")
    np.testing.assert_array_equal(read.numbers([0, 1, 2]), [[1.5, 2.5, -3], [4, 5.25, -6]])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f;re;im\n1;2;3\n4;5\n", "line 3: 2 cells, where the headings name 3 columns .*: correct or remove it"),
        ("f,re,im\n1,2,3\n4,5,6,7\n", "line 3: 4 cells, where the headings name 3 columns .* have decimal commas"),
        ("f;re;im\n1;2;3\n4;5;6;7\n", "line 3: 4 cells"),
        ("f;re;im\n1;2;3\n\n4;x;6\n", r"line 4: column 2 \(re\) has 'x'"),
        ("f;re;im\n1;2;3\n4;;6\n", r"line 3: column 2 \(re\) has ''"),
        ("f;re;im\n1,5;2;3\n2,5;2,5;3\n3.5;5;6\n", "line 4: column 1 .*'3.5', with the decimal sign ','"),
        ("f;re;im\n1.5;2;3\n2.5;1,234.5;3\n", "line 3: column 2 .*without thousands separators"),
        ("f;re;im\n1.5;2;3\n2.5;1.234.567;3\n", "line 3: column 2 .*without thousands separators"),
        ("f;re;im\n1;2;nan\n4;5;6\n", r"line 2: column 3 \(im\) has 'nan'"),
        ("f;re;im\n1;2;3.00\n1;2;4.00\n1;2;5.0", "line 4: the last cell of the file"),
        ("f;re;im\n", "no rows below the headings"),
    ],
)
def test_rows_that_are_damaged_name_their_line(tmp_path, text, reason):
    with pytest.raises(FileFormatError, match=reason):
        table(tmp_path, text).numbers([0, 1, 2])


def test_columns_that_are_not_asked_for_may_hold_anything(tmp_path):
    read = table(tmp_path, "f;note;im\n1;ok;3\n4;1.2.2024;6\n")
    np.testing.assert_array_equal(read.numbers([2, 0]), [[3, 1], [6, 4]])


def test_missing_cells_are_those_that_the_format_knows(tmp_path):
    read = table(tmp_path, "f;im\n1;XXX\n4;6\n")
    np.testing.assert_array_equal(read.numbers([0, 1], frozenset({"XXX"})), [[1, np.nan], [4, 6]])


def test_half_a_unit_of_the_last_digit(tmp_path):
    read = table(tmp_path, "f;re\n1.50;2.5E-003\n40;-6,\n")
    cells = [read.resolution(row, column) for row in (0, 1) for column in (0, 1)]
    np.testing.assert_allclose(cells, [0.005, 5e-5, 0.5, 0.5])


def test_cells():
    assert split_cells("Freq/Hz, Z'/ohm, Z\"/ohm", ",") == ["Freq/Hz", "Z'/ohm", 'Z"/ohm']
    assert split_cells('"a, b", 2', ",") == ["a, b", "2"]
    assert split_cells("  1  2\t3 ", " ") == ["1", "2", "3"]


def test_many_cells_and_whole_rows_are_numbers_where_each_cell_is():
    cells = (
        "1",
        "-2.5",
        "+.5e3",
        "3.",
        "7d2",
        "1,5",
        "-,5",
        "x",
        "1x",
        "nan",
        "",
        "1.2.3",
        "1e1234567890",
        "5\n",
        "\u0665",
    )
    for decimal in ".,":
        for one, other in product(cells, repeat=2):
            each = is_number(one, decimal) and is_number(other, decimal)
            assert are_numbers([one, other], decimal) == each, (one, other)
    assert are_numbers([], ".")
    for one, other, between in product(cells, cells, ("\t", " ; ", ", ")):
        if is_row_of_numbers(f" {one}{between}{other}"):
            parts = [part for part in re.split(r"[\t;, ]+", f"{one}{between}{other}") if part]
            assert len(parts) > 1
            assert all(map(is_number, parts))
    assert is_row_of_numbers("1e3\t5.0;-2\t")
    assert not is_row_of_numbers("1e3")
    assert not is_row_of_numbers("1e3\t5.0\tOVLD")
