"""CH Instruments text: header values, rounding of four digits, and damage."""

import numpy as np
import pytest

from drt_engine.readers import read_file

from .instrument_files import FREQUENCY, check_damaged, check_true, impedance, junk, refused

Z = impedance()
ROUNDING = 2e-3  # four digits of Re, Im and |Z|, a tenth of a degree
HEADINGS = "Freq/Hz, Z'/ohm, Z\"/ohm, Z/ohm, Phase/deg"


def rows(order=(0, 1, 2, 3, 4)):
    for f, v in zip(FREQUENCY, Z, strict=True):
        cells = [f"{x:.3e}" for x in (f, v.real, v.imag, abs(v))] + [f"{np.degrees(np.angle(v)):.1f}"]
        yield ", ".join(cells[i] for i in order)


def file(technique="A.C. Impedance", headings=HEADINGS, low="0.1", lines=None, gap=("",)):
    head = ["Feb. 20, 2020   15:55:08", technique, "File: c:\\x", "Data Source:  Experiment"]
    head += ["Instrument Model:  CHI660E", "Header: ", "Note: Zelle bei 25 °C", "", "Init E (V) = 3.7"]
    head += ["High Frequency (Hz) = 1e+4", f"Low Frequency (Hz) = {low}", "Imp SF", "Amplitude (V) = 0.005"]
    return [*head, "Quiet Time (sec) = 2", "", headings, *gap, *(rows() if lines is None else lines)]


def content(lines, end="\n", encoding="latin-1"):
    return (end.join(lines) + end).encode(encoding)


ROUNDED = np.array([float(f"{f:.3e}") for f in FREQUENCY])
WHOLE = content(file())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16"])
def test_spectrum_with_its_states(tmp_path, end, encoding):
    path = tmp_path / "x.txt"
    path.write_bytes(content(file(), end, encoding))
    recording = read_file(path)
    sweep = check_true(recording, ROUNDED, Z, ROUNDING)
    assert recording.format == "ch-instruments"
    assert sweep.finished
    assert not recording.remarks
    assert dict(sweep.state) == {"voltage": 3.7}
    assert recording.metadata["instrument"] == "CHI660E"
    assert recording.metadata["date"] == "Feb. 20, 2020   15:55:08"
    assert recording.metadata["amplitude_V"] == 0.005


def test_columns_are_found_by_name_and_the_empty_line_may_be_missing(tmp_path):
    path = tmp_path / "x.txt"
    names = HEADINGS.split(", ")
    order = (4, 2, 0, 1, 3)
    path.write_bytes(content(file(headings=", ".join(names[i] for i in order), lines=list(rows(order)), gap=())))
    check_true(read_file(path), ROUNDED, Z, ROUNDING)


def test_ends_before_the_low_frequency_of_the_header(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(content(file()[:-5]))
    recording = read_file(path)
    assert not recording.sweeps[0].finished
    assert "header says 0.1 Hz" in recording.remarks[0]
    path.write_bytes(content([*file()[:17], *file()[22:]]))
    recording = read_file(path)
    assert recording.sweeps[0].finished
    assert "header says 10000 Hz" in recording.remarks[0]


def test_refusals(tmp_path):
    path = tmp_path / "x.txt"
    other = file("Cyclic Voltammetry", headings="Potential/V, Current/A", lines=["0.1, 2e-3", "0.2, 3e-3"])
    refused(path, content(other), "ch-instruments", "'Cyclic Voltammetry' and holds no frequencies")
    refused(path, content(file()[:9]), "ch-instruments", "cut in its header")
    refused(path, content(file()[:17]), "ch-instruments", "no rows")
    refused(path, content([*file()[:16], *file()]), "ch-instruments", "second header")


@pytest.mark.parametrize(("one", "other"), [(1, 2), (0, 1), (2, 3), (3, 4)])
def test_exchanged_columns_are_refused(tmp_path, one, other):
    order = list(range(5))
    order[one], order[other] = other, one
    assert refused(tmp_path / "x.txt", content(file(lines=list(rows(order)))), "ch-instruments", ".") >= 18


@pytest.mark.parametrize("seed", range(2))
def test_damage(tmp_path, seed):
    check_damaged(
        tmp_path / "x.txt",
        WHOLE,
        "ch-instruments",
        ROUNDED,
        Z,
        confirmed=True,
        counted=True,
        tolerance=2 * ROUNDING,
        seed=seed,
    )


def test_junk(tmp_path):
    junk(tmp_path / "x.txt", "ch-instruments")
