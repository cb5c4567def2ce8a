"""Values of headers, and checks that several formats share, by the smallest file that shows them."""

import numpy as np
import pytest

from drt_engine.readers import read_file
from drt_engine.readers.header import header_number, positive_number

from . import test_gamry as gamry
from . import test_powersuite as powersuite
from . import test_relaxis as relaxis
from . import test_versastudio as versastudio
from .instrument_files import refused


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.00000E+005", 2e5),
        ("2,00000E+005", 2e5),
        ("6.404 mV", 6.404e-3),
        ("-12.5", -12.5),
        ("3 kHz", 3e3),
        ("1.5 µA", 1.5e-6),
        (".5", 0.5),
        ("0 ", 0.0),
        ("", None),
        (None, None),
        ("F", None),
        ("1.2.3", None),
        ("9e999", None),
    ],
)
def test_header_number(text, value):
    assert header_number(text) == (None if value is None else pytest.approx(value))
    assert positive_number(text) == (pytest.approx(value) if value and value > 0 else None)


def test_a_minus_sign_in_a_heading_of_a_format_without(tmp_path):
    content = powersuite.WHOLE.replace(b" Zimg", b"-Zimg", 1)
    path = tmp_path / "x.txt"
    refused(path, content, "powersuite", "no headings of PowerSuite")
    names = versastudio.segment()
    names[3] = names[3].replace(" Z Imag", "-Z Imag")
    copy = versastudio.content([*versastudio.head(), *names])
    assert refused(path, copy, "versastudio", "minus sign") == len(versastudio.head()) + 4


@pytest.mark.parametrize(("cell", "words"), [("1.5E999", "beyond any"), ("1E40", "beyond any"), ("0E999", "exponent")])
def test_numbers_beyond_any_measurement(tmp_path, cell, words):
    lines = [*gamry.header(), *gamry.table()]
    row = len(gamry.header()) + 3 + 8
    cells = lines[row].split("\t")
    cells[gamry.CURVE.index("Zimag") + 1] = cell
    lines[row] = "\t".join(cells)
    assert refused(tmp_path / "x.DTA", gamry.content(lines), "gamry", f"{words}|gives?") == row + 1


def test_a_short_number_with_an_exponent_is_not_excused_by_its_rounding(tmp_path):
    """Half a unit of the last digit of 0E9 is 5e8, and would cover any impedance."""
    lines = [*gamry.header(), *gamry.table()]
    row = len(gamry.header()) + 3 + 8
    cells = lines[row].split("\t")
    cells[gamry.CURVE.index("Zmod") + 1] = "0E9"
    lines[row] = "\t".join(cells)
    assert refused(tmp_path / "x.DTA", gamry.content(lines), "gamry", "Zmod") == row + 1


def test_a_table_without_headings(tmp_path):
    lines = [*gamry.header(), "ZCURVE\tTABLE"]
    assert refused(tmp_path / "x.DTA", gamry.content(lines), "gamry", "without headings") == len(lines)


def test_damaged_first_heading(tmp_path):
    content = relaxis.WHOLE.replace(b"Data: Frequency\t", b"Data: Frequencyt")
    assert refused(tmp_path / "x.txt", content, "relaxis", "without 'Data: Frequency'") == 3


def test_segments_without_signals_are_not_held_against_them(tmp_path):
    order = [name for name in versastudio.NAMES if name not in ("I Real", "I Imag")]
    path = tmp_path / "x.par"
    path.write_bytes(versastudio.content([*versastudio.head(), *versastudio.segment(names=order)]))
    np.testing.assert_allclose(read_file(path).sweeps[0].impedance, versastudio.Z, rtol=1e-6)


def test_up_and_down_again_is_two_sweeps_that_share_the_turn(tmp_path):
    rows = list(powersuite.rows())
    path = tmp_path / "x.txt"
    path.write_bytes(powersuite.content([powersuite.HEAD, *rows, *rows[-2::-1]]))
    up, down = read_file(path).sweeps
    np.testing.assert_allclose(up.frequency, powersuite.UP, rtol=1e-7)
    np.testing.assert_allclose(down.frequency, powersuite.UP[::-1], rtol=1e-7)


def test_a_users_own_list_of_frequencies_makes_one_remark(tmp_path):
    f = np.array([0.1, 0.2, 1, 1.1, 7, 7.5, 60, 90, 100, 1000, 1200, 9000])
    lines = [f"{x:g}\t {10 + 1 / x:.6g}\t {-1 - 1 / x:.6g}" for x in f]
    path = tmp_path / "x.txt"
    path.write_bytes(powersuite.content([powersuite.HEAD, *lines]))
    (sweep,) = read_file(path).sweeps
    np.testing.assert_array_equal(sweep.frequency, f)
    assert len(read_file(path).remarks) == 1
