"""Autolab text: files for ZView and the export of Nova, and damage."""

import numpy as np
import pytest

from drt_engine.readers import read_file

from .instrument_files import FREQUENCY, check_damaged, check_true, impedance, junk, refused

Z = impedance()
NOVA = ["Index", "Frequency (Hz)", "Z' (Ω)", "-Z'' (Ω)", "Z (Ω)", "-Phase (°)", "Time (s)"]


def z60w(points=26, frequency=FREQUENCY, z=Z):
    head = ['"Z60W Data File: Version 1.1"', *['""'] * 6, "0,2,0,1,0.1,10000", str(points)]
    head += ["\"  Freq (Hz)    Ampl     Bias   Time(Sec)   Z'(a)    Z''(b)    GD   Err   Range\""]
    return head + [f"{f:.8g},0,0,0,{v.real:.15g},{v.imag:.15g},0,0,0" for f, v in zip(frequency, z, strict=True)]


def nova(delimiter=";", comma=False, sweeps=1, columns=NOVA):
    lines = [delimiter.join(columns)]
    for k in range(sweeps):
        for i, (f, v) in enumerate(zip(FREQUENCY, Z, strict=True), start=1):
            numbers = [i, f, v.real, -v.imag, abs(v), -np.degrees(np.angle(v)), 10.5 + 1000 * k + i]
            cells = dict(zip(NOVA, (f"{x:.8G}" for x in numbers), strict=True))
            lines.append(delimiter.join(cells[name].replace(".", ",") if comma else cells[name] for name in columns))
    return lines


def content(lines, end="\n", encoding="utf-8-sig"):
    return (end.join(lines) + end).encode(encoding)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_z60w(tmp_path, end, encoding):
    path = tmp_path / "x.txt"
    path.write_bytes(content(z60w(), end, encoding))
    recording = read_file(path)
    sweep = check_true(recording, FREQUENCY, Z)
    assert recording.format == "autolab"
    assert sweep.finished
    assert not recording.remarks
    assert dict(sweep.state) == {}  # columns of zeros are no states


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_nova(tmp_path, delimiter, comma, encoding):
    path = tmp_path / "x.txt"
    path.write_bytes(content(nova(delimiter, comma), "\r\n", encoding))
    recording = read_file(path)
    sweep = check_true(recording, FREQUENCY, Z)
    assert recording.format == "autolab"
    assert sweep.state["time"] == 11.5


def test_nova_sweeps_and_order_of_columns(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(content(nova(sweeps=3, columns=[NOVA[i] for i in (0, 3, 6, 1, 5, 2, 4)])))
    recording = read_file(path)
    assert len(recording.finished) == 3
    for k, sweep in enumerate(recording.sweeps):
        np.testing.assert_allclose(sweep.impedance, Z, rtol=1e-6)
        assert sweep.state["time"] == 11.5 + 1000 * k


def test_fewer_points_than_stated(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(content(z60w()[:-6]))
    assert not check_true(read_file(path), FREQUENCY[:20], Z[:20]).finished


def test_refusals(tmp_path):
    path = tmp_path / "x.txt"
    assert refused(path, content(z60w(20)), "autolab", "26 rows of points") == 31
    refused(path, content([*z60w()[:10], *z60w()]), "autolab", "second header")
    refused(path, content(nova() + nova()), "autolab", "second header")
    refused(path, content(z60w()[:10]), "autolab", "no rows")
    lines = nova()
    refused(path, content([*lines[:9], lines[9], *lines[9:]]), "autolab", "Index is 9 after 9")
    sign = [lines[0].replace("-Z''", "Z''"), *lines[1:]]
    refused(path, content(sign), "autolab", "other sign, by the phase")


@pytest.mark.parametrize("seed", range(2))
def test_damage(tmp_path, seed):
    check_damaged(
        tmp_path / "x.txt", content(z60w()), "autolab", FREQUENCY, Z, confirmed=False, counted=True, seed=seed
    )
    check_damaged(
        tmp_path / "x.txt", content(nova()), "autolab", FREQUENCY, Z, confirmed=True, counted=False, seed=seed
    )


def test_junk(tmp_path):
    junk(tmp_path / "x.txt", "autolab")
