"""Kinds of tables that people exchange, one of each made by hand: read as they are meant, or refused with the cure."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from drt_engine import read_spectra, write_spectra
from drt_engine.errors import FileFormatError
from drt_engine.readers import ReadOptions, read_file
from drt_engine.readers.collect import CollectOptions, collect

F = np.logspace(5, -1, 25)


def circuit(r=1.0, f=F):
    w = 2j * np.pi * f
    return r * (8 + 20 / (1 + (w * 1e-4) ** 0.9) + 40 / (1 + (w * 0.05) ** 0.8))


Z = circuit()
TWO = np.r_[Z, circuit(2)]
DEGREES = np.degrees(np.angle(Z))


def rows(*columns, delimiter="\t", comma=False, form="{:.8g}"):
    lines = [delimiter.join(form.format(cell) for cell in row) for row in zip(*columns, strict=True)]
    return [line.replace(".", ",") if comma else line for line in lines]


def table(*lines):
    return "\n".join(lines) + "\n"


def replaced(lines, at, cells, delimiter="\t"):
    """The lines with a cell of one row put in the place of what is there."""
    row = lines[at].split(delimiter)
    for index, cell in cells.items():
        row[index] = cell
    return [*lines[:at], delimiter.join(row), *lines[at + 1 :]]


WHAT = "were not taken: "
CARTESIAN = rows(F, Z.real, Z.imag)
NEGATIVE = rows(F, Z.real, -Z.imag)
CHECKED = rows(F, Z.real, Z.imag, abs(Z), DEGREES)
FIVE = "f\tre\tim\t|Z|\tphase/deg"


@dataclass(frozen=True)
class Kind:
    """A file, and what of it is read: the impedance of each sweep, without points that are lost, and its states."""

    content: str
    z: tuple = (Z,)
    lost: tuple = ()
    states: tuple = ({},)
    remark: str = ""
    name: str = "a.txt"
    options: ReadOptions = field(default_factory=ReadOptions)


KINDS = {
    **{
        f"headings below a comment with {mark}, {'comma' if comma else 'point'}": Kind(
            table(f"{mark} measured", f"{mark} Units: frequency [Hz], impedance [Ohm]", "f\tre\tim",
                  *rows(F, Z.real, Z.imag, comma=comma)))
        for mark in ("#", "%", "//") for comma in (False, True)
    },
    **{
        f"headings in a comment with {mark}": Kind(table(f"{mark} of March", f"{mark}f/Hz\tRe/Ohm\t-Im/Ohm", *NEGATIVE))
        for mark in ("#", "%", "//")
    },
    "headings under a sentence that resembles them": Kind(
        table("Frequency, impedance", "f;re;im", *rows(F, Z.real, Z.imag, delimiter=";"))),
    "comments between the rows": Kind(table("f\tre\tim", *CARTESIAN[:9], "# a pause", *CARTESIAN[9:], "% the end")),
    **{
        f"three columns, {word}, {delimiter!r}, {order}": Kind(
            table(*rows(F, Z.real, sign * Z.imag, delimiter=delimiter)[:: 1 if order == "down" else -1]),
            remark=f"'frequency,re,{'-' * (sign < 0)}im'")
        for word, sign in (("Im", 1), ("-Im", -1)) for delimiter in ("\t", " ", ",", ";") for order in ("down", "up")
    },
    "three columns with a comment and decimal commas": Kind(
        table("% COMSOL", *rows(F, Z.real, Z.imag, delimiter=";", comma=True)), remark="'frequency,re,im'"),
    "three columns of milliohm": Kind(table(*rows(F, 1e-3 * Z.real, -1e-3 * Z.imag)), z=(1e-3 * Z,), remark="re,-im"),
    "three columns of a capacitor": Kind(table(*rows(F, 50 + 0 * F, 1e3 / F)), z=(50 - 1e3j / F,), remark="re,-im"),
    "three columns with an inductive end": Kind(
        table(*rows(F, Z.real, Z.imag + 2e-4 * F)), z=(Z + 2e-4j * F,), remark="'frequency,re,im'"),
    "five columns": Kind(
        table(*rows(10.0 + np.arange(50), np.repeat([3, 4], 25), np.tile(F, 2), TWO.real, -TWO.imag)),
        z=(Z, circuit(2)), states=({"cycle": 3, "time": 10}, {"cycle": 4, "time": 35}),
        remark="'time,cycle,frequency,re,-im'"),
    "|Z| that was not exported": Kind(
        table(FIVE, *rows(F, Z.real, Z.imag, 0 * F, 0 * F)), remark="'|Z|' is 0 at every point"),
    "|Z| rounded apart": Kind(
        table(FIVE, *rows(F, Z.real, Z.imag, 1.003 * abs(Z), DEGREES)), remark="by up to 0.3 % of |Z| at 25 points"),
    "a phase apart": Kind(
        table(FIVE, *rows(F, Z.real, Z.imag, abs(Z), DEGREES + 0.2)), remark="'phase/deg' differs"),
    "|Z| and phase that are not numbers": Kind(
        table(FIVE, *replaced(CHECKED, 4, {3: "?", 4: "n.d."})), remark="1 cell of the column '|Z|' is not a number"),
    **{
        f"a row of {word}": Kind(
            table("f\tre\tim", *replaced(replaced(CARTESIAN, 24, {1: word}), 7, {1: word, 2: word})),
            lost=(7, 24), remark=f"2 rows without frequency or impedance left out (first at line 9: {word!r})")
        for word in ("nan", "NaN", "OVLD", "---", "inf", "N/A", "#N/A")
    },
    "a row of empty cells": Kind(
        table("f\tre\tim\tnote", *rows(F, Z.real, Z.imag, F), "\t\t\t9"), remark="left out (first at line 27: '')"),
    "a column of the potential twice": Kind(
        table("E/V\tf\tre\tim\tE/mV", *rows(F * 0 + 5, F, Z.real, Z.imag, F * 0)), states=({"voltage": 5},),
        remark="'E/mV'"),
    "Novocontrol": Kind(
        table("Fixed value(s) : Temp. [°C]=2.5000e+01", " Freq. [Hz]\tZs' [Ohms]\tZs'' [Ohms]", *CARTESIAN)),
    "Solartron": Kind(
        table("Frequency (Hz),Impedance Magnitude (Ohms),Impedance Phase (deg),Temperature ('C)",
              *rows(F, abs(Z), DEGREES, 0 * F + 31, delimiter=",")), states=({"temperature": 31},)),
    "Zurich Instruments": Kind(
        table("frequency;absz;phasez", *rows(F, abs(Z), np.angle(Z), delimiter=";")), remark="in radians"),
    "channels": Kind(
        table("Date: 1 March", "CH 4: a cell", "freq / Hz,neg. Phase / °,Z / Ohm,Z' / Ohm,-Z'' / Ohm",
              *rows(F, -DEGREES, abs(Z), Z.real, -Z.imag, delimiter=","),
              "", "CH 6: another", "freq / Hz,neg. Phase / °,Z / Ohm,Z' / Ohm,-Z'' / Ohm",
              *rows(F, -DEGREES, 3 * abs(Z), 3 * Z.real, -3 * Z.imag, delimiter=",")),
        z=(Z, 3 * Z), states=({"channel": 4, "sequence": 0}, {"channel": 6, "sequence": 1}),
        remark="2 tables, each below its own headings (lines 3, 31)"),
    "headings repeated": Kind(
        table("f,re,im", *rows(F, Z.real, Z.imag, delimiter=","), "f,re,im",
              *rows(F, 2 * Z.real, 2 * Z.imag, delimiter=",")),
        z=(Z, 2 * Z), states=({"sequence": 0}, {"sequence": 1})),
    **{
        f"a temperature of {value} without a unit": Kind(
            table("f\tre\tim\tTemp", *rows(F, Z.real, Z.imag, F * 0 + value)),
            states=({} if value > 173 else {"temperature": value},),
            remark=f"{value:g} may be in K or in °C" if value > 173 else "")
        for value in (25, -40, 173, 298, 1073)
    },
    "temperatures without a unit, one of them in °C alone": Kind(
        table("f\tre\tim\tTemp", *rows(np.r_[F, F], TWO.real, TWO.imag, np.repeat([60.0, 300.0], 25))),
        z=(Z, circuit(2)), states=({"temperature": 60}, {"temperature": 300})),
    **{
        f"{line!r} above": Kind(
            table(line, "f\tre\tim", *CARTESIAN),
            remark=f"lines above the table that look like states and {WHAT}{name!r}")
        for line, name in {
            "Temp: 25": "Temp", "# Temperature = 298 K": "Temperature", "Area (mm2);113.1": "Area (mm2)",
            "// E = 3.5 V": "E", "OCP,0.5": "OCP", '"Cell voltage (V)"\t3.6': "Cell voltage (V)",
        }.items()
    },
    **{
        f"the heading {heading!r}": Kind(
            table(f"f\tre\tim\t{heading}", *rows(F, Z.real, Z.imag, F * 0 + 4)), remark=f"{WHAT}{heading!r}")
        for heading in ("E vs Ref", "E vs. Li/Li+", "SoC / %", "V_cell", "OCV", "DC bias (V)", "mAh", "T_cell", "cyc")
    },
    **{
        f"an impedance in {unit}": Kind(
            table(f"f/Hz\tZ' ({unit})\tZ'' ({unit})", *CARTESIAN), z=(area * Z,), states=({"area": 1},))
        for unit, area in {"Ohm.m²": 1e4, "ohm mm^2": 1e-2, "kΩ·cm²": 1e3}.items()
    },
    "a point at a low frequency, then down": Kind(
        table("f,re,im", "1000,9,-1", *rows(F, Z.real, Z.imag, delimiter=",")), remark="1 point before the turn"),
    "a column beside several spectra": Kind(
        table("f,re1,im1,re2,im2,Temp", *rows(F, Z.real, Z.imag, 2 * Z.real, 2 * Z.imag, F * 0 + 25, delimiter=",")),
        z=(Z, 2 * Z), states=({}, {}), remark=f"{WHAT}'Temp'"),
    "up from the middle, then down": Kind(
        table("f,re,im", *rows(F[10:0:-1], 9 + 0 * F[:10], F[:10] * 0 - 1, delimiter=","),
              *rows(F, Z.real, Z.imag, delimiter=",")),
        remark="10 points before the turn"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_kind_gives_what_it_holds(tmp_path, kind):
    path = tmp_path / kind.name
    path.write_text(kind.content, encoding="utf-8")
    read = read_file(path, options=kind.options)
    assert len(read.finished) == len(read.sweeps) == len(kind.z)
    for sweep, z, states in zip(read.sweeps, kind.z, kind.states, strict=True):
        order = np.argsort(-sweep.frequency)
        np.testing.assert_allclose(sweep.frequency[order], np.delete(F, kind.lost), rtol=1e-6)
        np.testing.assert_allclose(sweep.impedance[order], np.delete(z, kind.lost), rtol=1e-6)
        assert dict(sweep.state) == states
    assert any(kind.remark in remark for remark in read.remarks) or not kind.remark


REFUSED = {
    "|Z| and phase in degrees": (table(*rows(F, abs(Z), DEGREES)), "Re and Im as well as .Z. and phase"),
    "|Z| and phase in radians": (table(*rows(F, abs(Z), np.angle(Z))), "Re and Im as well as|no column is"),
    "less than a decade": (table(*rows(F[:4], Z.real[:4], Z.imag[:4])), "too few|no column is"),
    "Re, Im and noise": (table(*rows(Z.imag, Z.real[::-1], np.cos(F))), "no column is"),
    "four columns": (table(*rows(F, Z.real, Z.imag, F)), "4 columns may be anything"),
    "both signs as often": (table(*rows(F, Z.real, Z.imag * np.cos(np.arange(25) * 3))), "no column is|Re and Im"),
    "five other columns": (table(*rows(F, Z.real, Z.imag, F, F)), "time, cycle, frequency, Re and Im"),
    "a phase that may be both": (table("f\t|Z|\tphase", *rows(F, abs(Z), np.angle(Z))), "phase/rad=3.*phase/deg=3"),
    "|Z| that is another": (table("f\tre\tim\t|Z|", *rows(F, Z.real, Z.imag, 1.02 * abs(Z))), "'|Z|' says"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_may_be_two_things_is_refused_with_a_cure(tmp_path, what):
    path = tmp_path / "a.txt"
    content, reason = REFUSED[what]
    path.write_text(content)
    with pytest.raises(FileFormatError, match=f"line [12]: .*{reason}") as caught:
        read_file(path)
    assert "columns='" in str(caught.value)


@pytest.mark.parametrize("last", [[None, None, None, None], ["", " ", None], [None, None, None, "mean of all"]])
@pytest.mark.parametrize("headings", [["f/Hz", "Re/Ohm", "-Im/Ohm"], None])
def test_workbooks_with_an_empty_last_row_or_without_headings(tmp_path, last, headings):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [
        ["Temp", 25],
        *([headings] if headings else []),
        *zip(F.tolist(), Z.real.tolist(), (-Z.imag).tolist(), strict=True),
        last,
    ]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    read = read_file(tmp_path / "a.xlsx")
    np.testing.assert_allclose(read.sweeps[0].impedance, Z, rtol=1e-9)
    assert any(f"{WHAT}'Temp'" in remark for remark in read.remarks)


def test_times_of_points_reach_the_campaign_and_its_file(tmp_path):
    drift = np.r_[np.arange(25.0), 100 + 2 * np.arange(25.0)]
    timed = rows(drift, np.tile(F, 2), np.tile(Z.real, 2), np.tile(Z.imag, 2))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(table("time/s\tf\tre\tim", *timed))
    (tmp_path / "in" / "b.txt").write_text(table("f\tre\tim", *CARTESIAN))
    found = collect(tmp_path / "in", CollectOptions())
    write_spectra(tmp_path / "c.h5", found.spectra)
    times = read_spectra(tmp_path / "c.h5").point_time
    np.testing.assert_array_equal(times, [np.arange(25), 2 * np.arange(25), np.full(25, np.nan)])
    assert found.spectra["grid-0"].states["time"].tolist()[:2] == [0, 100]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_phase_of_half_a_radian_beside_absz(tmp_path, order):
    modulus, phase = abs(Z), np.angle(Z)
    at = int(np.argmin(abs(F - 1000)))
    modulus[at], phase[at] = 10.0, -0.5
    columns = [("frequency", F), ("absz", modulus), ("phasez", phase)]
    names, values = zip(*(columns[k] for k in order), strict=True)
    path = tmp_path / "a.csv"
    path.write_text(table(",".join(names), *rows(*values, delimiter=",")))
    (sweep,) = read_file(path).sweeps
    assert sweep.frequency[at] == 1000
    assert sweep.impedance[at] == pytest.approx(8.776 - 4.794j, abs=5e-4)


@pytest.mark.parametrize(("unit", "value"), [("mA.h", 0.5), ("C", 1.8), ("A.h", 5e-4)])
@pytest.mark.parametrize("twice", [False, True])
def test_a_charge_of_half_a_milliampere_hour(tmp_path, unit, value, twice):
    charge = np.full(F.size, value)
    named = {"time/s": np.arange(F.size), f"(Q-Qo)/{unit}": charge, "freq/Hz": F, "Re(Z)/Ohm": Z.real}
    named |= {"-Im(Z)/Ohm": -Z.imag, f"{'Q charge/discharge' if twice else 'Capacity'}/{unit}": charge}
    path = tmp_path / "a.mpt"
    path.write_text(table("EC-Lab ASCII FILE", "Nb header lines : 3", "\t".join(named), *rows(*named.values())))
    (sweep,) = read_file(path).finished
    assert sweep.state["charge"] == pytest.approx(1.8)
    np.testing.assert_allclose(sweep.impedance, Z, rtol=1e-6)
