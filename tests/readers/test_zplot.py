"""ZPlot and ZView files: both layouts, the stated number of points, and damage."""

import numpy as np
import pytest

from drt_engine.readers import find_reader, read_file

from .instrument_files import FREQUENCY, check_damaged, check_true, impedance, junk, outcome, refused

Z = impedance()
COLUMNS = ["Freq(Hz)", "Ampl", "Bias", "Time(Sec)", "Z'(a)", "Z''(b)", "GD", "Err", "Range"]


def rows(delimiter="\t", frequency=FREQUENCY, z=Z, columns=COLUMNS, err=None):
    lines = []
    for i, (f, value) in enumerate(zip(frequency, z, strict=True)):
        cells = {
            "Freq(Hz)": f"{f:.6E}",
            "Ampl": "1.0000E-02",
            "Bias": "5.0000E-02",
            "Time(Sec)": f"{2.5 + 0.7 * i:.6E}",
        }
        cells |= {"Z'(a)": f"{value.real:.6E}", "Z''(b)": f"{value.imag:.6E}", "GD": "0.0000E+00"}
        cells |= {"Err": str(int(i == err)), "Range": "4"}
        lines.append(delimiter.join(cells[name] for name in columns))
    return lines


def commented(points=26, final="0.1", columns=COLUMNS, **kwargs):
    head = ["ZPLOT2 ASCII", "  Measured Data, ZPlot:       3.2c", "  Experiment Type:            Sweep Frequency"]
    head += ["  Date:                       10-12-2018", "  Time:                       12:32:21"]
    head += [
        "  Open Circuit Potential (V): 3.6921",
        "  Begin User Comments:        0",
        "  End User Comments:          0",
    ]
    head += ["    vs Freq-Initial:          10000", f"    vs Freq-Final:            {final}"]
    head += ["    Surface Area:             0.785", "  Null Configuration:         0,3,0,1,10000,0.1"]
    head += [f"  Data Points:                {points}"] if points is not None else []
    return [*head, "  " + "\t".join(columns), "End Comments", *rows(columns=columns, **kwargs)]


def quoted(points="26", delimiter=", ", first='"ZPlotW Data File: Version 3.2c"', **kwargs):
    head = [first, '"Raw Data"', '"Sweep Frequency: Control Voltage"', "Date: 12-17-2019    Time: 16:24:35"]
    head += [
        "a comment, of 800 C",
        '"Open Circuit Potential (V):  3.6921 "',
        '"Frequency"',
        "0,3,0,1,10000,0.1",
        points,
    ]
    return [
        *head,
        "\"  Freq(Hz)    Ampl     Bias   Time(Sec)   Z'(a)    Z''(b)    GD   Err   Range\"",
        *rows(delimiter, **kwargs),
    ]


def content(lines, end="\n", encoding="latin-1"):
    return (end.join(lines) + end).encode(encoding)


def test_commented_layout(tmp_path):
    path = tmp_path / "cell.z"
    path.write_bytes(content(commented()))
    recording = read_file(path)
    sweep = check_true(recording, FREQUENCY, Z)
    assert recording.format == "zplot"
    assert sweep.finished
    assert not recording.remarks
    assert sweep.state["open_circuit_voltage"] == pytest.approx(3.6921)
    assert sweep.state["bias"] == pytest.approx(0.05)
    assert sweep.state["time"] == 2.5
    assert sweep.state["area"] == pytest.approx(0.785)
    assert "voltage" not in sweep.state
    assert recording.metadata["date"] == "10-12-2018"
    assert recording.metadata["software"] == "ZPlot 3.2c"


@pytest.mark.parametrize("delimiter", [", ", ",", "\t"])
def test_quoted_layout(tmp_path, delimiter):
    path = tmp_path / "cell.z"
    path.write_bytes(content(quoted(delimiter=delimiter)))
    recording = read_file(path)
    sweep = check_true(recording, FREQUENCY, Z)
    assert sweep.finished
    assert not recording.remarks
    assert sweep.state["open_circuit_voltage"] == pytest.approx(3.6921)
    assert recording.metadata["date"] == "12-17-2019"
    assert recording.metadata["clock"] == "16:24:35"
    assert recording.metadata["comment"] == "a comment, of 800 C"


def test_zview_calculated(tmp_path):
    path = tmp_path / "x.z"
    path.write_bytes(content(quoted(first='"ZView Calculated Data File: Version 1.1"')))
    assert find_reader(path).name == "zplot"
    check_true(read_file(path), FREQUENCY, Z)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_line_ends_encodings_and_comma_decimals(tmp_path, end, encoding):
    path = tmp_path / "x.z"
    lines = commented()
    lines = [*lines[:-26], *(line.replace(".", ",") for line in lines[-26:])]
    lines.insert(6, "    Kommentar:   Zelle bei 25 °C")
    path.write_bytes(content(lines, end, encoding))
    check_true(read_file(path), FREQUENCY, Z)
    lines = quoted(delimiter=", ")
    path.write_bytes(content([*lines[:-26], *(line.replace(".", ",") for line in lines[-26:])], end, encoding))
    check_true(read_file(path), FREQUENCY, Z)


def test_columns_are_found_by_name(tmp_path):
    order = ["Z''(b)", "Time(Sec)", "Range", "Freq(Hz)", "Err", "Z'(a)"]
    path = tmp_path / "x.z"
    path.write_bytes(content(commented(columns=order)))
    check_true(read_file(path), FREQUENCY, Z)


def test_fewer_points_than_stated_are_an_unfinished_sweep(tmp_path):
    path = tmp_path / "x.z"
    for lines in (commented(), quoted(), commented(points=None)):
        path.write_bytes(content(lines[:-10]))
        recording = read_file(path)
        assert not check_true(recording, FREQUENCY[:16], Z[:16]).finished
        assert "unfinished" in recording.remarks[0]


def test_points_deleted_on_purpose_leave_the_sweep_finished(tmp_path):
    path = tmp_path / "x.z"
    path.write_bytes(content(commented(points=16)[:-10]))
    recording = read_file(path)
    assert check_true(recording, FREQUENCY[:16], Z[:16]).finished
    assert recording.remarks == ("the data end at 10 Hz, where the header says 0.1 Hz",)


def test_points_that_the_instrument_flagged_are_remarked_on(tmp_path):
    path = tmp_path / "x.z"
    path.write_bytes(content(commented(err=3)))
    recording = read_file(path)
    check_true(recording, FREQUENCY, Z)
    assert recording.remarks == ("1 point flagged by the instrument in Err (first at line 19)",)


def test_refusals(tmp_path):
    path = tmp_path / "x.z"
    lines = commented()
    assert refused(path, content(commented(points=20)), "zplot", "26 rows of points") == 36
    refused(path, content(commented(points="none")), "zplot", "number of data points is 'none'")
    refused(path, content(quoted(points="0")), "zplot", "number of data points is '0'")
    refused(path, content(lines[:12]), "zplot", "End Comments")
    refused(path, content(lines[:-26]), "zplot", "no rows")
    refused(path, content([*lines[:15], *lines]), "zplot", "second header")
    refused(path, content([*lines[:13], lines[13], *lines[13:]]), "zplot", "second line of headings")
    refused(path, content([*lines[:13], "  something", *lines[14:]]), "zplot", "no line of headings")
    refused(path, content([*quoted()[:10], *quoted()]), "zplot", "second header")
    refused(path, content(quoted()[:9]), "zplot", "no line of headings")
    row = [lines[20], lines[24]]
    refused(
        path, content([*lines[:20], row[1], *lines[21:24], row[0], *lines[25:]]), "zplot", "turns back|time goes back"
    )


def test_exchanged_columns_are_refused_or_remarked_on(tmp_path):
    lines = commented()
    for i, j in ((0, 4), (0, 3), (0, 5)):
        cells = [line.split("\t") for line in lines[-26:]]
        for row in cells:
            row[i], row[j] = row[j], row[i]
        copy = content([*lines[:-26], *("\t".join(row) for row in cells)])
        recording = outcome(tmp_path / "x.z", copy, "zplot")
        assert recording is None or "the header says 0.1 Hz" in " ".join(recording.remarks)


@pytest.mark.parametrize("layout", [commented, quoted])
@pytest.mark.parametrize("seed", range(2))
def test_damage(tmp_path, layout, seed):
    check_damaged(tmp_path / "x.z", content(layout()), "zplot", FREQUENCY, Z, confirmed=False, counted=True, seed=seed)


@pytest.mark.parametrize("layout", [commented, quoted])
def test_cut_anywhere(tmp_path, layout):
    whole = content(layout())
    for at in range(1, len(whole) - 1, 37):
        recording = outcome(tmp_path / "x.z", whole[:at], "zplot")
        if recording is not None:
            n = len(recording.sweeps[0])
            check_true(recording, FREQUENCY[:n], Z[:n])
            assert recording.sweeps[0].finished == (n == 26)


def test_junk(tmp_path):
    junk(tmp_path / "x.z", "zplot")


def test_imaginary_part_has_both_signs():
    assert np.any(Z.imag > 0)
    assert np.any(Z.imag < 0)
