"""PowerSuite text: three columns and nothing that confirms them."""

import pytest

from drt_engine.readers import read_file

from .instrument_files import FREQUENCY, check_damaged, check_true, impedance, junk, refused

UP, Z = FREQUENCY[::-1], impedance(FREQUENCY[::-1])
HEAD = "Frequency\t Zre\t Zimg"


def rows(order=(0, 1, 2)):
    for f, v in zip(UP, Z, strict=True):
        cells = [f"{x:.8g}" for x in (f, v.real, v.imag)]
        yield "\t ".join(cells[i] for i in order)


def content(lines, end="\r\r\n", encoding="latin-1"):
    return (end.join(lines) + end).encode(encoding)


WHOLE = content([HEAD, *rows()])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_spectrum(tmp_path, end, comma, encoding):
    path = tmp_path / "x.txt"
    path.write_bytes(content([HEAD, *(line.replace(".", ",") if comma else line for line in rows())], end, encoding))
    recording = read_file(path)
    check_true(recording, UP, Z)
    assert recording.format == "powersuite"
    assert recording.finished
    assert not recording.remarks


def test_several_sweeps(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(content([HEAD, *rows(), *rows(), *list(rows())[:7]]))
    assert [sweep.finished for sweep in read_file(path).sweeps] == [True, True, False]


def test_a_last_line_without_end_is_left_out(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(WHOLE[: -len("75358\r\r\n")])
    recording = read_file(path)
    check_true(recording, UP[:-1], Z[:-1])
    assert "line 27 left out" in recording.remarks[0]


def test_refusals(tmp_path):
    path = tmp_path / "x.txt"
    refused(path, content([HEAD, HEAD, *rows()]), "powersuite", "second header")
    refused(path, content([HEAD]), "powersuite", "no rows")
    refused(path, content(list(rows())), "powersuite", "no headings of PowerSuite")
    lines = list(rows())
    refused(path, content([HEAD, *lines[8:10], *lines]), "powersuite", "turns back")
    refused(
        path, content([HEAD, *lines[:9], lines[9].replace("\t", " ", 1), *lines[10:]]), "powersuite", "2 cells|number"
    )


def test_a_frequency_out_of_step_is_remarked_on(tmp_path):
    lines = list(rows())
    lines[9] = lines[9].replace(f"{UP[9]:.8g}", f"{1.4 * UP[9]:.8g}")
    path = tmp_path / "x.txt"
    path.write_bytes(content([HEAD, *lines]))
    (remark,) = read_file(path).remarks
    assert "line 11" in remark
    assert "out of step" in remark


def test_exchanged_columns_are_refused_or_remarked_on(tmp_path):
    path = tmp_path / "x.txt"
    refused(path, content([HEAD, *rows((2, 1, 0))]), "powersuite", "frequency must be positive")
    path.write_bytes(content([HEAD, *rows((1, 0, 2))]))
    assert "not evenly spaced" in read_file(path).remarks[0]


@pytest.mark.parametrize("seed", range(2))
def test_damage(tmp_path, seed):
    check_damaged(tmp_path / "x.txt", WHOLE, "powersuite", UP, Z, confirmed=False, counted=False, seed=seed)


def test_junk(tmp_path):
    junk(tmp_path / "x.txt", "powersuite")
