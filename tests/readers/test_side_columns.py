"""A damaged side column or field of a header refuses no file, gives no wrong state, and is named in a remark.

One made file for each reader with a column that gives a state; each kind of damage is done to each of them.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from drt_engine.readers import READERS, read_file

from . import (
    test_autolab,
    test_biologic,
    test_ch_instruments,
    test_gamry,
    test_palmsens,
    test_parstat,
    test_relaxis,
    test_versastudio,
    test_zahner,
    test_zplot,
)
from .made import mpt, points, text_table

TABLE = ("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "time/s", "<Ewe>/V", "cycle number")


@dataclass(frozen=True)
class Made:
    """A file of lines: where its headings are, what stands between cells, the side column that gives a state."""

    reader: str
    suffix: str
    lines: Callable[[], list[str]]
    heading: str
    delimiter: str
    side: str
    state: str
    odd: str  # the heading in a unit that nobody knows
    time: str | None
    lead: str = ""  # before the first cell of the headings
    heading_delimiter: str = ""
    skip: int = 0  # lines between headings and rows

    def cells(self):
        """Number of the line of headings, the headings, and the cells of each row by number of its line."""
        lines = self.lines()
        at = next(n for n, line in enumerate(lines) if self.heading in line)
        between = self.heading_delimiter or self.delimiter
        headings = lines[at].removeprefix(self.lead).strip("\t ").split(between)
        rows = {}
        for n in range(at + 1 + self.skip, len(lines)):
            if len(lines[n].split(self.delimiter)) < 3:
                break
            rows[n] = lines[n].split(self.delimiter)
        return lines, at, [h.strip() for h in headings], rows

    def changed(self, headings=None, cell=None, also=None):
        """The lines with headings and cells of the side column (or of another) changed."""
        lines, at, names, rows = self.cells()
        shift = next(iter(rows.values()))[0] == ""  # rows of Gamry begin with a delimiter
        index = names.index(also or self.side)
        if headings:
            between = self.heading_delimiter or self.delimiter
            lines[at] = self.lead + between.join(headings(names, index))
        for k, (n, row) in enumerate(rows.items()):
            if cell:
                row[index + shift : index + shift + 1] = cell(k, len(rows), row[index + shift])
                lines[n] = self.delimiter.join(row)
        return lines


MADE = [
    Made("biologic-mpt", ".mpt", lambda: mpt(points(1, np.logspace(4, -1, 11))).splitlines(), "freq/Hz\t", "\t",
         "<Ewe>/V", "voltage", "<Ewe>/furlong", "time/s"),
    Made("gamry", ".DTA", lambda: [*test_gamry.header(), *test_gamry.table()], "\tPt\tTime\tFreq", "\t",
         "Vdc", "voltage", "Vdc", "Time", lead="\t", skip=1),
    Made("zplot", ".z", test_zplot.commented, "Freq(Hz)\t", "\t", "Time(Sec)", "time", "Time(furlong)", "Time(Sec)",
         lead="  ", skip=1),
    Made("autolab", ".txt", lambda: [
            line if k else "WE(1).Potential (V);" + line for k, line in enumerate(
                [line if not k else f"{0.1 + 1e-3 * k:.4f};{line}" for k, line in enumerate(test_autolab.nova())])],
         "Index;", ";", "WE(1).Potential (V)", "voltage", "WE(1).Potential (furlong)", "Time (s)"),
    Made("ch-instruments", ".txt", lambda: test_ch_instruments.file(
            headings=test_ch_instruments.HEADINGS + ", Potential/V",
            lines=[f"{row}, {3.7 + 1e-3 * k:.4f}" for k, row in enumerate(test_ch_instruments.rows())]),
         "Freq/Hz", ", ", "Potential/V", "voltage", "Potential/furlong", None, skip=1),
    Made("parstat", ".txt", lambda: [test_parstat.HEAD, *test_parstat.rows()], "Frequency (Hz)", "\t",
         "Current (A)", "current", "Current (furlong)", "Elapsed Time (s)"),
    Made("versastudio", ".par", lambda: [*test_versastudio.head(), *test_versastudio.segment()], "Definition=", ",",
         "E(V)", "voltage", "Potential(furlong)", "Elapsed Time(s)", lead="Definition=", heading_delimiter=", "),
    Made("relaxis", ".txt", lambda: [
            *test_relaxis.TOP, "\t".join([*test_relaxis.NAMES, "Data: Temperature"]),
            "\t".join(test_relaxis.info()),
            *("\t".join([*row, f"{25 + 0.1 * k:.3f}"]) for k, row in enumerate(test_relaxis.rows()))],
         "Data: Frequency", "\t", "Data: Temperature", "temperature", "Data: Temperature (furlong)", None, skip=1),
    Made("table", ".csv", lambda: text_table(points(1, np.logspace(4, -1, 11)), TABLE, ",").splitlines(),
         "freq/Hz", ",", "<Ewe>/V", "voltage", "<Ewe>/furlong", "time/s"),
]  # fmt: skip


def twice(names, index):
    return [*names[: index + 1], *names[index:]]


def furlong(made):
    if made.reader == "gamry":  # the unit stands in a row of its own
        lines = made.lines()
        at = next(n for n, line in enumerate(lines) if made.heading in line) + 1
        units = lines[at].split("\t")
        units[test_gamry.CURVE.index(made.side) + 1] = "furlong"
        return [*lines[:at], "\t".join(units), *lines[at + 1 :]]
    return made.changed(headings=lambda names, i: [*names[:i], made.odd, *names[i + 1 :]])


def later(made):
    lines = made.changed(headings=twice, cell=lambda k, n, cell: [cell, cell])
    if made.reader == "gamry":
        at = next(n for n, line in enumerate(lines) if made.heading in line) + 1
        units = lines[at].split("\t")
        lines[at] = "\t".join(twice(units, test_gamry.CURVE.index(made.side) + 1))
    return lines


KINDS = {
    "a word in one cell": lambda made: made.changed(cell=lambda k, n, c: ["x" if k == 3 else c]),
    "an empty cell": lambda made: made.changed(cell=lambda k, n, c: ["" if k == 3 else c]),
    "nan in one cell": lambda made: made.changed(cell=lambda k, n, c: ["nan" if k == 3 else c]),
    "dashes in all cells": lambda made: made.changed(cell=lambda k, n, c: ["---"]),
    "a number and a letter": lambda made: made.changed(cell=lambda k, n, c: [c + "x" if k == 3 else c]),
    "a number beyond any measurement": lambda made: made.changed(cell=lambda k, n, c: ["1E35" if k == 3 else c]),
    "infinity in one cell": lambda made: made.changed(cell=lambda k, n, c: ["inf" if k == 3 else c]),
    "an overflow in one cell": lambda made: made.changed(cell=lambda k, n, c: ["9E999" if k == 3 else c]),
    "beyond the bounds throughout": lambda made: made.changed(cell=lambda k, n, c: ["-1E12"]),
    "the column twice": later,
    "a unit that nobody knows": furlong,
    "time that runs back": lambda made: made.changed(also=made.time, cell=lambda k, n, c: ["0.5" if k == 5 else c]),
}


def recorded(tmp_path, made, lines):
    path = tmp_path / f"a{made.suffix}"
    path.write_bytes(("\n".join(lines) + "\n").encode("utf-8"))
    return read_file(path, reader=made.reader)


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """What each file gives as it was made."""
    folder, known = tmp_path_factory.mktemp("made"), {}

    def read(made):
        if made.reader not in known:
            known[made.reader] = recorded(folder, made, made.lines())
        return known[made.reader]

    return read


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", MADE, ids=lambda made: made.reader)
def test_a_damaged_side_column_is_named_and_refuses_nothing(tmp_path, undamaged, made, kind):
    if kind == "time that runs back" and made.time is None:
        assert made.reader in ("ch-instruments", "relaxis")  # they have no column of time
        return
    good = undamaged(made)
    (whole,) = good.sweeps
    assert made.state in whole.state
    lines = KINDS[kind](made)
    assert lines != made.lines()
    read = recorded(tmp_path, made, lines)
    (sweep,) = read.sweeps
    np.testing.assert_array_equal(sweep.frequency, whole.frequency)
    np.testing.assert_array_equal(sweep.impedance, whole.impedance)
    if not (kind == "time that runs back" and made.reader == "table"):  # a table says nothing of its order
        assert len(set(read.remarks) - set(good.remarks)) >= 1
    value = sweep.state.get(made.state)
    gone = kind in ("dashes in all cells", "beyond the bounds throughout", "a unit that nobody knows")
    header = made.reader == "ch-instruments"  # which has the potential in the header as well
    assert value is None or not gone or header
    assert value is None or value == pytest.approx(whole.state[made.state], rel=0.05, abs=1e-3) or made.state == "time"


FIELDS = {
    "biologic-mpt": ("Electrode surface area : 0.785 cm²", "Electrode surface area : {}", "area"),
    "gamry": ("AREA\tQUANT\t7.85400E-001\t&Area (cm^2)", "AREA\tQUANT\t{}\t&Area", "area"),
    "zplot": ("    Surface Area:             0.785", "    Surface Area:  {}", "area"),
    "versastudio": ("Measured Open Circuit=3692.1 mV", "Measured Open Circuit={}", "open_circuit_voltage"),
    "ch-instruments": ("Init E (V) = 3.7", "Init E = {}", "voltage"),
    "relaxis": (None, "{}", "voltage"),
}


@pytest.mark.parametrize("text", ["1 furlong", "many", "1e35", "-1e12", "1.2.3", "inf", "0x10", "1,000,000"])
@pytest.mark.parametrize("made", [made for made in MADE if made.reader in FIELDS], ids=lambda made: made.reader)
def test_a_damaged_field_of_the_header_is_named_and_gives_no_state(tmp_path, made, text):
    old, new, state = FIELDS[made.reader]
    lines = test_ch_instruments.file() if made.reader == "ch-instruments" else made.lines()
    (whole,) = recorded(tmp_path, made, lines).sweeps
    if old is None:
        at = next(n for n, line in enumerate(lines) if line.startswith("DC="))
        changed = [line.replace("DC=-0.08", f"DC={text}") if n == at else line for n, line in enumerate(lines)]
    else:
        changed = [new.format(text) if line == old else line for line in lines]
    assert changed != lines
    assert state in whole.state
    read = recorded(tmp_path, made, changed)
    (sweep,) = read.sweeps
    np.testing.assert_array_equal(sweep.impedance, whole.impedance)
    assert state not in sweep.state
    assert any(f"{state} not taken" in remark or f"{state} of " in remark for remark in read.remarks)


EXTRA = {  # a column more that looks like a state, under a heading that no reader takes
    "Ewe-Ece/V": "voltage",
    "Control/mA": "current",
    "Cell temperature 2/°C": "temperature",
    "Area/cm²": "area",
    "Half cycle": "cycle",
    "Channel": "channel",
    "Q charge/discharge/mA.h": "charge",
}


@pytest.mark.parametrize("name", EXTRA)
@pytest.mark.parametrize("made", [made for made in MADE if made.reader != "gamry"], ids=lambda made: made.reader)
def test_a_column_that_looks_like_a_state_and_is_not_taken_is_named(tmp_path, made, name):
    lines = made.changed(
        headings=lambda names, i: [*names[: i + 1], name, *names[i + 1 :]], cell=lambda k, n, c: [c, "1.5"]
    )
    read = recorded(tmp_path, made, lines)
    assert any("look like states and were not taken" in remark and name in remark for remark in read.remarks)


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.reader)
def test_readers_give_only_states_that_they_declare(undamaged, made):
    (sweep,) = undamaged(made).sweeps
    declared = {state.name for state in READERS[made.reader].states}
    free = {"J", "FV2", "Cell"} if made.reader == "relaxis" else set()
    assert set(sweep.state) <= declared | free


def values(reader, voltage):
    """A file of numbers, or of cells, with a potential at each point."""
    if reader == "biologic-mpr":
        pytest.importorskip("galvani")
        rows = points(1, np.logspace(4, -1, voltage.size))
        return test_biologic.mpr([{**row, "v": v} for row, v in zip(rows, voltage, strict=True)])
    if reader == "palmsens":
        arrays = {"drop": ("potential",), "extra": [test_palmsens.array("potential", "Volt", voltage)]}
        return json.dumps(test_palmsens.session([(1, [test_palmsens.scan(0, **arrays)])])).encode("utf-16")
    if reader == "zahner":
        pytest.importorskip("zahner_analysis.file_import.ism_import")
        return test_zahner.ism(tracks=np.column_stack([voltage, np.full(voltage.size, 1e-3)]), voltage="3.5V")
    openpyxl = pytest.importorskip("openpyxl")
    book, out = openpyxl.Workbook(), io.BytesIO()
    for k, line in enumerate(text_table(points(1, np.logspace(4, -1, voltage.size)), TABLE, ",").splitlines()):
        row = [float(cell) if k else cell for cell in line.split(",")]
        if k:  # a workbook has no cells of nan and infinity; text stands there
            row[4] = float(voltage[k - 1]) if np.isfinite(voltage[k - 1]) else str(voltage[k - 1])
        book.active.append(row)
    book.save(out)
    return out.getvalue()


POINTS = {"biologic-mpr": 11, "palmsens": test_palmsens.F.size, "zahner": len(test_zahner.FREQUENCY), "excel": 11}


def at(place, value):
    def change(voltage):
        voltage[place] = value
        return voltage

    return change


NUMBERS = {
    "nan at the first point": at(0, np.nan),
    "nan within": at(3, np.nan),
    "nan at the last point": at(-1, np.nan),
    "nan throughout": at(slice(None), np.nan),
    "infinity at a point": at(3, np.inf),
    "minus infinity at a point": at(0, -np.inf),
    "1e35 at a point": at(2, 1e35),
    "1e35 throughout": at(slice(None), 1e35),
    "-1e12 throughout": at(slice(None), -1e12),
    "every second one beyond": at(slice(None, None, 2), 1e9),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("reader", POINTS)
def test_a_damaged_potential_among_numbers_is_named_and_refuses_nothing(tmp_path, reader, kind):
    good = 3.5 + 1e-3 * np.arange(POINTS[reader])
    path = tmp_path / "a.x"
    path.write_bytes(values(reader, good.copy()))
    (whole,) = (undamaged := read_file(path, reader=reader)).sweeps
    path.write_bytes(values(reader, NUMBERS[kind](good.copy())))
    read = read_file(path, reader=reader)
    (sweep,) = read.sweeps
    np.testing.assert_array_equal(sweep.impedance, whole.impedance)
    assert sweep.state.get("voltage") in (None, pytest.approx(whole.state["voltage"], abs=0.02))
    assert set(read.remarks) - set(undamaged.remarks)


BARE = {"powersuite", "pyimpspec"}  # no side columns and no states: three columns, a label


def test_every_reader_has_its_made_file():
    assert {made.reader for made in MADE} | BARE | set(POINTS) == set(READERS)
