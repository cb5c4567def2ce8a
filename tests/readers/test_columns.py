"""Headings to quantities, units and signs; and what does not fit together is refused."""

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import read_file
from drt_engine.readers.columns import find_columns
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.rows import rows_of
from drt_engine.readers.text import read_text, table_below

DEGREE = np.pi / 180


@pytest.mark.parametrize(
    ("heading", "quantity", "factor"),
    [
        *[
            (h, "frequency", 1)
            for h in ("freq/Hz", "Frequency", "f", "Freq (Hz)", " Frequency [Hz]", "Freq. / Hz", "F")
        ],
        *[("Frequency (kHz)", "frequency", 1e3), ("f/MHz", "frequency", 1e6), ("f/mHz", "frequency", 1e-3)],
        ("frequency/rad/s", "frequency", 0.5 / np.pi),
        *[(h, "re", 1) for h in ("Re(Z)/Ohm", "Z'", "Z'/ohm", "Zre (ohms)", "Zreal", "Z' (Ω)", "Data: Z'", "Z Real")],
        *[(h, "re", 1) for h in ("Z'(a)", "Z′/Ω", "Real(Z)", "Z_re", "Zre_ohm")],
        *[(h, "im", 1) for h in ("Im(Z)/Ohm", "Z''", 'Z"/ohm', "Zim (ohms)", " Zimg", "Zimag", "Data: Z''", "Z''(b)")],
        *[(h, "im", -1) for h in ("-Im(Z)/Ohm", "-Z'' (Ω)", "−Z″/Ω", "- Zimag", "minus Im(Z)", '-Z"/ohm')],
        *[("-Im(Z)/mOhm", "im", -1e-3), ("Re(Z)/kOhm", "re", 1e3), ("Re(Z) [MΩ]", "re", 1e6)],
        *[(h, "modulus", 1) for h in ("|Z|/Ohm", "Z/ohm", "Zmod", "Data: |Z|", "|Z| (ohms)")],
        *[(h, "phase", DEGREE) for h in ("Phase(Z)/deg", "Phase/deg", "Zphz", "Data: Theta (Z)", "theta", "Phase (°)")],
        *[("-Phase (°)", "phase", -DEGREE), ("Phase(Z)/rad", "phase", 1)],
        *[(h, "time", 1) for h in ("time/s", "Elapsed Time (s)", "Time(Sec)", "t", "t/s")],
        *[("time/h", "time", 3600), ("Time (min)", "time", 60)],
        *[(h, "cycle", 1) for h in ("cycle number", "Cycle", "cycle_index")],
        *[("z cycle", "z_cycle", 1), ("Ns", "sequence", 1)],
        *[(h, "voltage", 1) for h in ("<Ewe>/V", "Ewe/V", "Potential (V)", "E(V)", "Vdc", "voltage")],
        *[("E/mV", "voltage", 1e-3), ("<I>/mA", "current", 1e-3), ("I(A)", "current", 1), ("I/µA", "current", 1e-6)],
        *[("(Q-Qo)/mA.h", "charge", 3.6), ("(Q-Qo)/C", "charge", 1), ("Capacity (mAh)", "charge", 3.6)],
        *[("T/°C", "temperature", 1), ("Temperature (C)", "temperature", 1)],
    ],
)
def test_spellings(heading, quantity, factor):
    meaning = meaning_of(heading)
    assert isinstance(meaning, Meaning)
    assert (meaning.quantity, meaning.offset) == (quantity, 0)
    assert meaning.factor == pytest.approx(factor, rel=1e-12)


def test_kelvin():
    meaning = meaning_of("T/K")
    assert meaning.quantity == "temperature"
    assert meaning.factor * 298.15 + meaning.offset == pytest.approx(25)


@pytest.mark.parametrize(
    "heading",
    [
        *("|Ewe|/V", "|I|/A", "Re(Y)/Ohm-1", "Phase(Y)/deg", "I Range", "Cs/µF", "Re(Zce)/Ohm", "|Vac| (V)", "E Real"),
        *("", "Pt", "Range", "Ampl", "T", "Ns changes", "Q charge/discharge/mA.h", "Ewe-Ece/V", "control/V", "Zsig"),
    ],
)
def test_headings_of_other_things_are_left_alone(heading):
    assert not isinstance(meaning_of(heading), Meaning)


@pytest.mark.parametrize("heading", ["freq/mhz", "freq/MHZ", "Im(Z)/furlong"])
def test_units_that_are_not_known_or_could_be_two_things(heading):
    assert meaning_of(heading) == heading.split("/")[1]


def fail(message):
    return FileFormatError(message)


def test_columns_are_found_by_name_in_any_order():
    found = find_columns(["<I>/mA", "-Im(Z)/Ohm", "note", "freq/Hz", "Ewe/V", "<Ewe>/V", "Re(Z)/Ohm"], fail)
    assert {name: column.index for name, column in found.items()} == {
        "current": 0,
        "im": 1,
        "frequency": 3,
        "voltage": 5,
        "re": 6,
    }


@pytest.mark.parametrize(
    ("headings", "reason"),
    [
        (["re", "im"], "no column of frequencies"),
        (["f", "re", "phase"], "no column of impedances"),
        (["f", "re/furlong", "im"], "The unit 'furlong' of 're/furlong' is not known"),
        (["f", "re", "im", "Re(Z)"], r"two columns hold the re: 're' \(column 2\) and 'Re\(Z\)' \(column 4\)"),
        (["f", "re", "im", "-im"], "two columns hold the im"),
    ],
)
def test_headings_that_are_not_enough_or_too_many(headings, reason):
    with pytest.raises(FileFormatError, match=reason):
        find_columns(headings, fail)


def rows(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text)
    return rows_of(table_below(read_text(path), 1))


def test_modulus_and_phase_alone_are_an_impedance(tmp_path):
    got = rows(tmp_path, "f,|Z|,phase\n100,2,-30\n10,4,-60\n")
    np.testing.assert_allclose(got.impedance, [2 * np.exp(-1j * np.pi / 6), 4 * np.exp(-1j * np.pi / 3)])


def test_rounded_digits_are_no_contradiction(tmp_path):
    rows(tmp_path, "f,re,im,z,phase\n100,0.52,-0.31,0.6,-31\n10,9.947e1,-1.521e0,9.948e1,-0.9\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f,re,im,z\n100,3,-4,5\n10,30.0,-40.0,50.9\n", "line 3: 're' and 'im' give 50 ohm, where 'z' says 50.9 ohm"),
        ("f,re,im,phase\n9,3.00,-4.00,53.130\n", "line 2: .*imaginary part has the other sign"),
        ("f,re,im,phase\n9,-4.00,3.00,-53.130\n", "line 2: .*Re and Im are exchanged"),
        ("f,re,im,phase\n9,3.00,-4.00,-50.130\n", "line 2: .*The row is damaged"),
        ("f,re,im\n9,3,-4\n-8,3,-4\n", "line 3: frequency must be positive; got -8 Hz"),
        ("f,re,im\n0,3,-4\n0,3,-4\n", "line 2: no point of a spectrum in 2 rows: 2 DC rows"),
        ("f,re,im\n9,3,4\n8,3,4\n7,3,5\n", "line 2: 'im' is positive at all 3 points"),
        ("f,re,im\n9,3,-1e999\n", "line 2: frequency and impedance must be finite"),
        ("f,|z|,phase/deg\n9,3,-1\n8,3,1e999\n", "line 3: frequency and impedance must be finite"),
        ("f,|z|,phase/deg\n9,1e999,0\n", "line 2: frequency and impedance must be finite"),
        ("f,re,im,phase\n9,3.00,-4.00,-1e999\n", "line 2: .* give -53.1301 deg, where 'phase' says -inf deg"),
    ],
)
def test_what_cannot_be_true_is_refused(tmp_path, text, reason):
    with pytest.raises(FileFormatError, match=reason):
        rows(tmp_path, text)


def test_states_come_in_si_units(tmp_path):
    got = rows(tmp_path, "freq/kHz,Re(Z)/mOhm,-Im(Z)/mOhm,time/h,<I>/mA,T/K\n1,2,3,0.5,4,300\n")
    assert got.frequency[0] == 1000
    assert got.impedance[0] == pytest.approx(0.002 - 0.003j)
    assert {name: float(v[0]) for name, v in got.states.items()} == pytest.approx(
        {"time": 1800, "current": 0.004, "temperature": 26.85}
    )


@pytest.mark.parametrize(
    ("stated", "unit", "factor"), [("phase/deg", "radians", 1.0), ("phase/rad", "degrees", 180 / np.pi)]
)
def test_a_phase_in_another_unit_than_its_heading_says_is_read_as_re_and_im_say(tmp_path, stated, unit, factor):
    z = np.array([10 - 1j, 12 - 4j, 15 - 6j, 20 - 5j])
    lines = [
        f"{f:g}\t{v.real:.8g}\t{v.imag:.8g}\t{factor * np.angle(v):.8g}"
        for f, v in zip((1e3, 1e2, 10, 1), z, strict=True)
    ]
    path = tmp_path / "a.txt"
    path.write_text("\n".join([f"f/Hz\tRe/Ohm\tIm/Ohm\t{stated}", *lines]) + "\n")
    read = read_file(path)
    np.testing.assert_allclose(read.sweeps[0].impedance, z, rtol=1e-7)
    assert f"{stated!r} is in {unit}, as Re and Im say" in read.remarks


def test_a_phase_that_contradicts_by_its_size_says_nothing_of_the_sign(tmp_path):
    path = tmp_path / "a.txt"
    rows = "1000\t10\t-0.08\t-0.01\n100\t11\t-1\t-0.05\n10\t12\t-3\t-3\n1\t15\t-4\t-9\n"
    path.write_text("f/Hz\tRe/Ohm\tIm/Ohm\tphase/deg\n" + rows)
    with pytest.raises(FileFormatError) as caught:
        read_file(path)
    assert "other sign" not in str(caught.value)
