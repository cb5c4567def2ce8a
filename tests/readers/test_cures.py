"""What a message names as cure is done, and gives the spectrum."""

import re

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import READERS, ReadOptions, read_file
from drt_engine.readers.collect import CollectOptions, collect

from . import test_ch_instruments, test_gamry, test_parstat, test_powersuite
from .made import mpt, points

F = np.logspace(5, 0, 11)
Z = 12 + 30 / (1 + 2j * np.pi * F * 2e-3) + 15 / (1 + 2j * np.pi * F * 0.3)


def text(headings, *columns, delimiter=","):
    rows = (delimiter.join(f"{cell:.7g}" for cell in row) for row in zip(*columns, strict=True))
    return "\n".join([*([delimiter.join(headings)] if headings else []), *rows]) + "\n"


POLAR = (abs(Z), np.degrees(np.angle(Z)))
REFUSED = {
    "two columns of Re": text(("f", "Re(Z)", "Z'", "Im(Z)"), F, Z.real, Z.real, Z.imag),
    "two columns of -Im": text(("f", "Re", "-Im", "-Z''"), F, Z.real, -Z.imag, -Z.imag),
    "two columns of frequencies": text(("f", "freq", "re", "im"), F, F, Z.real, Z.imag),
    "a phase without unit": text(("f", "|Z|", "phase"), F, abs(Z), np.angle(Z)),
    "-Im called Im": text(("f", "re", "im"), F, Z.real, -Z.imag),
    "-Im called Im, beside a phase": text(("f", "re", "im", "|Z|", "phase/deg"), F, Z.real, -Z.imag, *POLAR),
    "-phase called phase": text(("f", "|Z|", "phase/deg"), F, abs(Z), -np.degrees(np.angle(Z))),
    "-phase called phase, in radians": text(("f", "|Z|", "phase/rad"), F, abs(Z), -np.angle(Z)),
    "a phase beyond right angles": text(("f", "|Z|", "phase"), F, abs(Z), -np.degrees(np.angle(Z))),
    "Im called -Im, beside a phase": text(("f", "re", "-im", "|Z|", "phase/deg"), F, Z.real, Z.imag, *POLAR),
    "Re and Im exchanged": text(("f", "re", "im", "|Z|", "phase/deg"), F, Z.imag, Z.real, *POLAR),
    "a phase of something else": text(("f", "re", "im", "phase/deg"), F, Z.real, Z.imag, np.linspace(3, 60, 11)),
    "|Z| of something else": text(("f", "re", "im", "|Z|"), F, Z.real, Z.imag, 3 * abs(Z)),
    "units that are not known": text(("f/Hz", "re/furlong", "im/furlong"), F, Z.real, Z.imag),
    "one part in ohm cm2": text(("f", "Re/Ω cm^2", "-Im/Ω"), F, Z.real, -Z.imag),
    "no headings that are known": text(("nu", "A", "B"), F, Z.real, Z.imag),
    "a coil throughout": text(("f", "re", "im"), F, Z.real, 1e-3 * F),
    "headings in another language": text(("Taajuus", "Reaaliosa", "Imag."), F, Z.real, Z.imag),
}
NAMED = {
    "by position against the sign": (text(("f", "re", "-im"), F, Z.real, Z.imag), "frequency,re,im"),
    "by number against the sign": (text(("f", "re", "-im"), F, Z.real, Z.imag), "frequency=1,re=2,im=3"),
    "by position against the order": (text(("f", "im", "re"), F, Z.real, Z.imag), "frequency,re,im"),
    "by position against the unit": (text(("f/Hz", "re", "im"), F / 1e3, Z.real, Z.imag), "frequency/kHz,re,im"),
    "by position in odd units": (text(("f", "re/furlong", "im/furlong"), F, Z.real, Z.imag), "frequency,re,im"),
}
CURE = re.compile(r"columns='((?:[^']|'(?=[^ ,.;)=]*=))*)'")


def spectrum(path, columns):
    read = read_file(path, options=ReadOptions(columns=columns))
    (sweep,) = read.finished
    np.testing.assert_allclose(sweep.frequency, F, rtol=1e-6)
    return sweep.impedance, read


def apply_cures(path, columns=None):
    """Do what the message says; at least one cure gives the impedance, all of them give a spectrum."""
    with pytest.raises(FileFormatError) as caught:
        read_file(path, options=ReadOptions(columns=columns))
    cures = CURE.findall(str(caught.value))
    assert cures, str(caught.value)
    return [spectrum(path, cure)[0] for cure in cures]


@pytest.mark.parametrize("what", REFUSED)
def test_each_cure_of_a_refusal_gives_a_spectrum_and_one_the_right_one(tmp_path, what):
    path = tmp_path / "a.csv"
    path.write_text(REFUSED[what], encoding="utf-8")
    true = Z.real + 1e-3j * F if "coil" in what else Z
    assert any(np.allclose(z, true, rtol=1e-5) for z in apply_cures(path))


@pytest.mark.parametrize("what", NAMED)
def test_each_cure_of_names_that_contradict_headings(tmp_path, what):
    path = tmp_path / "a.csv"
    content, columns = NAMED[what]
    path.write_text(content, encoding="utf-8")
    assert any(np.allclose(z, Z, rtol=1e-5) for z in apply_cures(path, columns))


def test_what_is_named_needs_no_check(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(REFUSED["a phase of something else"])
    np.testing.assert_allclose(spectrum(path, "frequency,re,im")[0], Z, rtol=1e-5)


@pytest.mark.parametrize("columns", [None, "frequency=1,re=2,im=3", "frequency,re,im"])
@pytest.mark.parametrize(
    ("headings", "unit"),
    [(("Z'(Ohm.cm²)", "Z''(Ohm.cm²)"), 1.0), (("Z' / mΩ cm²", "Z'' / mΩ cm²"), 1e-3), (("Re (Ohm cm2)", "Im"), 1.0)],
)
def test_ohm_cm2_is_an_electrode_of_1_cm2(tmp_path, columns, headings, unit):
    path = tmp_path / "a.csv"
    imag = Z.imag / (unit if "cm" in headings[1] else 1.0)
    path.write_text(text(("f/Hz", *headings), F, Z.real / unit, imag), encoding="utf-8")
    z, read = spectrum(path, columns)
    np.testing.assert_allclose(z, Z, rtol=1e-5)
    assert read.sweeps[0].state["area"] == 1
    assert any("ohm cm2 and was read as that of an electrode of 1 cm2" in remark for remark in read.remarks)


def test_the_user_flips_a_phase_that_the_heading_hides(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(REFUSED["-phase called phase"])
    (sweep,) = read_file(path, options=ReadOptions(flip_im=True)).finished
    np.testing.assert_allclose(sweep.impedance, Z, rtol=1e-5)
    path.write_text(text(("f", "|Z|", "phase/deg"), F, *POLAR))
    with pytest.raises(FileFormatError, match="the file has the right sign"):
        read_file(path, options=ReadOptions(flip_im=True))


@pytest.mark.parametrize("headings", [("f", "Im(Z)/Ohm"), ("f", "Z''(b)")])
def test_the_user_flips_a_sign_that_the_heading_hides(tmp_path, headings):
    path = tmp_path / "a.csv"
    path.write_text(text((headings[0], "Z'", headings[1]), F, Z.real, -Z.imag))
    with pytest.raises(FileFormatError, match="flip_im=True or columns="):
        read_file(path)
    (sweep,) = read_file(path, options=ReadOptions(flip_im=True)).finished
    np.testing.assert_allclose(sweep.impedance, Z, rtol=1e-6)
    path.write_text(text((headings[0], "Z'", headings[1]), F, Z.real, Z.imag))
    with pytest.raises(FileFormatError, match="the file has the right sign"):
        read_file(path, options=ReadOptions(flip_im=True))


@pytest.mark.parametrize(("columns", "unit"), [("re=Re(Z)/mOhm", 1e-3), ("re=2", 1e-3), ("re/ohm=2", 1.0)])
def test_a_column_keeps_the_unit_of_its_heading_unless_one_is_named(tmp_path, columns, unit):
    path = tmp_path / "a.csv"
    path.write_text(text(("f", "Re(Z)/mOhm", "im"), F, Z.real, Z.imag))
    read = read_file(path, options=ReadOptions(columns=f"frequency=1,{columns},im=3"))
    np.testing.assert_allclose(read.sweeps[0].impedance.real, unit * Z.real, rtol=1e-6)


@pytest.mark.parametrize("phase", ["phase", "phase/rad", "phase/deg"])
def test_a_phase_without_unit_beside_re_and_im_is_what_they_say(tmp_path, phase):
    path = tmp_path / "a.csv"
    angle = np.degrees(np.angle(Z)) if phase == "phase/deg" else np.angle(Z)
    path.write_text(text(("f", "re", "im", phase), F, Z.real, Z.imag, angle))
    np.testing.assert_allclose(spectrum(path, None)[0], Z, rtol=1e-5)


def test_the_names_of_zurich_instruments_are_in_radians(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text(("frequency", "absz", "phasez"), F, abs(Z), np.angle(Z)))
    z, read = spectrum(path, None)
    np.testing.assert_allclose(z, Z, rtol=1e-5)
    assert any("read in radians" in remark for remark in read.remarks)


def test_each_cure_of_a_temperature_without_a_unit(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text(("f", "|Z|", "phase/deg", "Temp"), F, *POLAR, F * 0 + 300))
    (remark,) = [remark for remark in read_file(path).remarks if "Temp" in remark]
    assert [spectrum(path, cure)[1].sweeps[0].state["temperature"] for cure in CURE.findall(remark)] == [
        pytest.approx(26.85), 300,
    ]  # fmt: skip


def remark_with_cure(path):
    """Read a file, and apply the cures of the one remark that has some."""
    read = read_file(path)
    (said,) = [remark for remark in read.remarks if CURE.search(remark)]
    return read, [read_file(path, options=ReadOptions(columns=cure)) for cure in CURE.findall(said)]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_cure_of_columns_that_were_inferred_turns_the_sign(tmp_path, sign):
    path = tmp_path / "a.txt"
    path.write_text(text((), F, Z.real, sign * Z.imag))
    inferred, (turned,) = remark_with_cure(path)
    np.testing.assert_allclose(inferred.sweeps[0].impedance, Z, rtol=1e-6)
    np.testing.assert_allclose(turned.sweeps[0].impedance, Z.conj(), rtol=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_the_cure_of_rows_without_headings(tmp_path, order):
    path, rows = tmp_path / "a.txt", (F[:4], Z.real[:4], Z.imag[:4])
    path.write_text(text((), *(rows[k] for k in order)))
    with pytest.raises(FileFormatError) as caught:
        read_file(path)
    (cure,) = CURE.findall(str(caught.value))
    names = [cure.split(",")[k] for k in order]
    (sweep,) = read_file(path, options=ReadOptions(columns=",".join(names))).sweeps
    np.testing.assert_allclose(sweep.impedance, Z[:4], rtol=1e-6)


@pytest.mark.parametrize("headings", [("nu", "A", "B"), None])
def test_the_cure_of_a_workbook(tmp_path, headings):
    openpyxl = pytest.importorskip("openpyxl")
    book, path = openpyxl.Workbook(), tmp_path / "a.xlsx"
    rows = list(zip(F, Z.real, Z.imag, strict=True))
    for row in [headings, *rows] if headings else rows[:4]:
        book.active.append(row)
    book.save(path)
    with pytest.raises(FileFormatError) as caught:
        read_file(path)
    (cure,) = CURE.findall(str(caught.value))
    (sweep,) = read_file(path, options=ReadOptions(columns=cure)).sweeps
    np.testing.assert_allclose(sweep.impedance, Z if headings else Z[:4], rtol=1e-6)


def test_the_cure_of_sweeps_that_are_not_finished(tmp_path):
    path = tmp_path / "a.mpt"
    path.write_bytes(mpt(points(2, np.logspace(4, -1, 11))[:-2], fi=10, ff=100).encode("latin-1"))
    found = collect(path, CollectOptions())
    (said,) = [remark for one in found.files for remark in one.remarks if "unfinished=True" in remark]
    assert said.startswith("1 unfinished sweep left out")
    everything = collect(path, CollectOptions(unfinished=True))
    assert [one.taken for one in (*found.files, *everything.files)] == [1, 2]


INSTRUMENTS = {
    "ch-instruments": (test_ch_instruments.WHOLE, "frequency=1,re=2,im=3"),
    "powersuite": (test_powersuite.WHOLE, "frequency=1,re=2,im=3"),
    "parstat": (
        test_parstat.content([test_parstat.HEAD, *test_parstat.rows()]),
        "frequency=Frequency (Hz),re=Zre (ohms),im=Zim (ohms)",
    ),
    "gamry": (test_gamry.WHOLE, "frequency=Freq/Hz,re=Zreal/ohm,im=Zimag/ohm"),
    "biologic-mpt": (mpt(points(1)).encode("latin-1"), "frequency=1,re=2,-im=3"),
}


@pytest.mark.parametrize("reader", INSTRUMENTS)
def test_columns_hold_for_instruments_too(tmp_path, reader):
    path = tmp_path / "a.txt"
    content, columns = INSTRUMENTS[reader]
    path.write_bytes(content)
    plain = read_file(path)
    assert plain.format == reader
    named = read_file(path, options=ReadOptions(columns=columns))
    np.testing.assert_array_equal(named.sweeps[0].impedance, plain.sweeps[0].impedance)
    with pytest.raises(FileFormatError, match="as column 99, and the table has"):
        read_file(path, options=ReadOptions(columns="frequency=1,re=99,im=2"))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_cure_of_frequencies_without_a_unit(tmp_path, sign):
    path = tmp_path / "a.csv"
    path.write_text(text(("Frequency", "Z'", "Z''" if sign > 0 else "-Z''"), F / 1e3, Z.real, sign * Z.imag))
    taken, (cured,) = remark_with_cure(path)
    np.testing.assert_allclose(taken.sweeps[0].frequency, F / 1e3, rtol=1e-6)
    np.testing.assert_allclose(cured.sweeps[0].frequency, F, rtol=1e-6)
    np.testing.assert_allclose(cured.sweeps[0].impedance, Z, rtol=1e-6)


def test_the_cure_of_angular_frequencies_in_lists(tmp_path):
    """One row a spectrum, of which frequencies have no unit."""
    path = tmp_path / "a.csv"
    lists = (", ".join(f"{x:.7g}" for x in column) for column in (2 * np.pi * F, Z.real, Z.imag))
    path.write_text("freq,Re(Z)/Ohm,Im(Z)/Ohm\n" + ",".join(f'"[{each}]"' for each in lists) + "\n", encoding="utf-8")
    (remark,) = (found for found in read_file(path).remarks if "columns=" in found)
    (cure,) = re.findall(r"columns='([^']*)'", remark)
    (sweep,) = read_file(path, options=ReadOptions(columns=cure)).sweeps
    np.testing.assert_allclose(sweep.frequency, F, rtol=1e-6)
    np.testing.assert_allclose(sweep.impedance, Z, rtol=1e-6)


def test_the_cure_of_two_formats_that_claim_a_file(tmp_path, monkeypatch):
    path = tmp_path / "a.mpt"
    path.write_text(mpt(points(1, F)), encoding="latin-1")
    (whole,) = read_file(path).sweeps
    monkeypatch.setattr(type(READERS["gamry"]), "scan", lambda *_: True)
    with pytest.raises(FileFormatError, match="Say which with reader") as told:
        read_file(path)
    names = re.findall(r"'([\w-]+)'", str(told.value))
    assert "gamry" in names
    (own,) = set(names) - {"gamry"}
    (sweep,) = read_file(path, reader=own).sweeps
    np.testing.assert_array_equal(sweep.impedance, whole.impedance)
