"""Readers that stand on other packages: what they pass on, what they refuse, and what they say when one is missing."""

import sys
import zipfile
from types import ModuleType

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import READERS, find_reader, read_file

from .made import DOWN, z_of


class Spectrum:
    """As pyimpspec gives one."""

    def __init__(self, frequency, impedance, label="run 1"):
        self.frequency, self.impedance, self.label = frequency, impedance, label

    def get_frequencies(self, masked):
        return np.array(self.frequency)

    def get_impedances(self, masked):
        return np.array(self.impedance)

    def get_label(self):
        return self.label


@pytest.fixture
def parser(monkeypatch, tmp_path):
    """A pyimpspec that returns what it is told to, and a file for it."""
    module = ModuleType("pyimpspec")
    monkeypatch.setitem(sys.modules, "pyimpspec", module)
    path = tmp_path / "a.ids"
    path.write_bytes(b"\x01\x02\x03")

    def give(*spectra):
        def parse_data(name):
            assert name == str(path)
            for spectrum in spectra:
                if isinstance(spectrum, Exception):
                    raise spectrum
            return list(spectra)

        module.parse_data = parse_data
        return path

    return give


def test_spectra_of_pyimpspec(parser):
    path = parser(Spectrum(DOWN, z_of(DOWN)), Spectrum(DOWN[::-1], z_of(DOWN[::-1]), "run 2"))
    assert find_reader(path).name == "pyimpspec"
    read = read_file(path)
    assert [sweep.state for sweep in read.sweeps] == [{"label": "run 1"}, {"label": "run 2"}]
    np.testing.assert_array_equal(read.sweeps[1].frequency, DOWN[::-1])
    np.testing.assert_array_equal(read.sweeps[0].impedance, z_of(DOWN))
    assert read.metadata == {"instrument": "Ivium"}
    assert "passes on no potential" in read.remarks[-1]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([KeyError("measurements")], r"byte 0: pyimpspec cannot read it \(KeyError: 'measurements'\)"),
        ([AssertionError()], r"byte 0: pyimpspec cannot read it \(AssertionError\)"),
        ([Spectrum([1, 0, 3], [1j, 2j, 3j])], "spectrum 1, point 2: got 0 Hz"),
        ([Spectrum([1, 2, 3], [1j, np.nan, 3j])], "spectrum 1, point 2: got 2 Hz"),
        ([Spectrum([1, 2, 3], [1j, 3j])], "spectrum 1: 3 frequencies and 2 impedances"),
        ([Spectrum([], [])], "spectrum 1: 0 frequencies"),
        ([], "pyimpspec found no spectrum in it"),
    ],
)
def test_what_pyimpspec_cannot_read_or_reads_wrong(parser, given, reason):
    with pytest.raises(FileFormatError, match=reason):
        read_file(parser(*given))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".dfr", ".i2b", ".idf", ".ids", ".p00"])
def test_damaged_files_end_in_our_error(tmp_path, suffix):
    pytest.importorskip("pyimpspec")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(FileFormatError, match=rf"a\{suffix}, byte 0: pyimpspec cannot read it"):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "content", "package"),
    [
        ("a.xlsx", b"PK\x03\x04 xl/", "openpyxl"),
        ("a.ids", b"anything", "pyimpspec"),
    ],
)
def test_a_missing_package_says_how_to_install_it(tmp_path, monkeypatch, name, content, package):
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=rf'{package}, which is not installed: pip install "{package}>='):
        read_file(path)


def test_an_error_that_a_reader_did_not_foresee_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("f,re,im\n1,2,-3\n")

    def read(self, path, options):
        raise IndexError("list index out of range")

    monkeypatch.setattr(type(READERS["table"]), "read", read)
    with pytest.raises(FileFormatError, match=r"a\.csv: the table reader could not make sense of it \(IndexError"):
        read_file(path)


# A TB in the end.
ENTITIES = b"".join(b'<!ENTITY %c "%s">' % (name, b"&%c;" % (name - 1) * 1000) for name in b"bcde")
ENTITIES = b'<!ENTITY a "1">' + ENTITIES
ROWS_THAT_ARE_NOT = {
    "a row beyond all": ((b'<row r="4"', b'<row r="99999999999"'), "more than 1048576 rows"),
    "rows that are far too wide": (
        (b"</sheetData>", b"".join(b'<row><c r="XFD%d"/></row>' % n for n in range(8, 1100)) + b"</sheetData>"),
        "16777216 cells in all",
    ),
    "a bomb": ((b"</sheetData>", b" " * 2**22 + b"</sheetData>"), "once unpacked; of this file 2 are read"),
    "entities in each other": (
        (b"<worksheet", b"<!DOCTYPE s [%s]><worksheet x='&e;'" % ENTITIES), "byte 0: no workbook that",
    ),
    "a size that is not so": ((b"A1:C7", b"A1:B2"), None),
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS_THAT_ARE_NOT)
def test_workbooks_that_say_more_or_less_than_they_hold(tmp_path, what):
    openpyxl = pytest.importorskip("openpyxl")
    (old, new), reason = ROWS_THAT_ARE_NOT[what]
    book = openpyxl.Workbook()
    for row in [("f/Hz", "re/Ohm", "im/Ohm"), *((10.0**k, 9.0 - k, -1.0) for k in range(6))]:
        book.active.append(row)
    book.save(tmp_path / "whole.xlsx")
    path = tmp_path / "a.xlsx"
    with (
        zipfile.ZipFile(tmp_path / "whole.xlsx") as whole,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as changed,
    ):
        for name in whole.namelist():
            changed.writestr(name, whole.read(name).replace(old, new) if "sheet1" in name else whole.read(name))
    assert path.read_bytes() != (tmp_path / "whole.xlsx").read_bytes()
    if reason is None:
        assert len(read_file(path).sweeps[0]) == 6
        return
    with pytest.raises(FileFormatError, match=reason) as caught:
        read_file(path)
    assert "\n" not in str(caught.value)
