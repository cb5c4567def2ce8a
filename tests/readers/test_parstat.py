"""PARSTAT text: DC rows, states, the signals as a check of |Z|, and damage."""

import numpy as np
import pytest

from drt_engine.readers import read_file

from .instrument_files import FREQUENCY, check_damaged, check_true, impedance, junk, refused

Z = impedance()
NAMES = ["Potential (V)", "Current (A)", "Elapsed Time (s)", "Frequency (Hz)", "Zre (ohms)", "Zim (ohms)"]
NAMES += ["|Vac| (V)", "|Iac| (A)"]


def rows(start=50.0, scale=1.0, names=NAMES, potential=3.5):
    for i, (f, v) in enumerate(zip(FREQUENCY, scale * Z, strict=True)):
        numbers = [
            potential + 1e-3 * i,
            0.02,
            start + 2 * i,
            f,
            v.real,
            v.imag,
            1e-3 * abs(v) * (1.2 if i < 4 else 1),
            1e-3,
        ]
        cells = dict(zip(NAMES, (f"{x:.10g}" for x in numbers), strict=True))
        yield "".join(cells[name] + "\t" for name in names)


def dc(start=0.0, n=5):
    return [f"{3.5 - 1e-3 * i:.10g}\t-0.15\t{start + 10 * i:g}\t0\t0\t0\t0\t0\t" for i in range(n)]


def content(lines, end="\n", encoding="latin-1"):
    return (end.join(lines) + end).encode(encoding)


HEAD = "\t".join(NAMES) + "\t"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("comma", [False, True])
def test_spectrum_with_its_states(tmp_path, end, comma):
    path = tmp_path / "x.txt"
    lines = [HEAD, *(line.replace(".", ",") if comma else line for line in (*dc(), *rows()))]
    path.write_bytes(content(lines, end))
    recording = read_file(path)
    sweep = check_true(recording, FREQUENCY, Z)
    assert recording.format == "parstat"
    assert recording.remarks == ("5 DC rows (f = 0) left out (first at line 2)",)
    assert sweep.state["time"] == 50
    assert sweep.state["voltage"] == pytest.approx(3.5125)
    assert sweep.state["voltage_drift"] == pytest.approx(0.025)
    assert sweep.state["current"] == pytest.approx(0.02)


def test_columns_are_found_by_name(tmp_path):
    order = [NAMES[i] for i in (5, 7, 3, 0, 4, 2)]
    path = tmp_path / "x.txt"
    path.write_bytes(content(["\t".join(order) + "\t", *rows(names=order)]))
    sweep = check_true(read_file(path), FREQUENCY, Z)
    assert sweep.state["time"] == 50


def test_several_sweeps_between_dc_steps(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(
        content([HEAD, *dc(), *rows(), *dc(200), *rows(300, 2, potential=3.4), *dc(500), *list(rows(600))[:9]])
    )
    recording = read_file(path)
    assert [sweep.finished for sweep in recording.sweeps] == [True, True, False]
    np.testing.assert_allclose(recording.sweeps[1].impedance, 2 * Z, rtol=1e-8)
    assert [sweep.state["time"] for sweep in recording.sweeps] == [50, 300, 600]


def test_refusals(tmp_path):
    path = tmp_path / "x.txt"
    refused(path, content([HEAD, *dc()]), "parstat", "5 DC rows .* aborted before it")
    refused(path, content([HEAD, HEAD, *rows()]), "parstat", "second header")
    refused(path, content([HEAD]), "parstat", "no rows")
    refused(path, content(list(rows())), "parstat", "no headings of PARSTAT")
    lines = list(rows())
    off = lines[10].split("\t")
    off[4] = str(10 * float(off[4]))
    assert refused(path, content([HEAD, *lines[:10], "\t".join(off), *lines[11:]]), "parstat", "Vac") == 12


def test_exchanged_columns_are_refused(tmp_path):
    for i, j in ((3, 4), (3, 2), (2, 4), (5, 7)):
        cells = [line.split("\t") for line in rows()]
        for row in cells:
            row[i], row[j] = row[j], row[i]
        refused(tmp_path / "x.txt", content([HEAD, *("\t".join(row) for row in cells)]), "parstat", ".")


@pytest.mark.parametrize("seed", range(2))
def test_damage(tmp_path, seed):
    whole = content([HEAD, *dc(), *rows()])
    check_damaged(tmp_path / "x.txt", whole, "parstat", FREQUENCY, Z, confirmed=False, counted=False, seed=seed)


def test_junk(tmp_path):
    junk(tmp_path / "x.txt", "parstat")
