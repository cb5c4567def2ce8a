"""RelaxIS text export: several spectra side by side or one below the other, their values, and damage."""

import numpy as np
import pytest

from drt_engine import collect, read_spectra, write_spectra
from drt_engine.readers import read_file

from .instrument_files import FREQUENCY, check_damaged, check_true, impedance, junk, refused

UP, Z = FREQUENCY[::-1], impedance(FREQUENCY[::-1])
NAMES = ["Data: Frequency", "Data: Z'", "Data: Z''", "Data: |Z|", "Data: Theta (Z)"]
TOP = ["RelaxIS 3.0 Spectrum export", "Date: 12/16/2025 2:29:15 PM"]


def info(voltage=-0.08, time=33.7, name="cell_1"):
    return [f"DC={voltage}, TM={time}, J=-5E-6, FV2=1, Cell=A 7", "Model: Unassigned Spectra", name, "", ""]


def rows(frequency=UP, z=Z, order=range(5)):
    for f, v in zip(frequency, z, strict=True):
        cells = [f"{x:.10G}" for x in (f, v.real, v.imag, abs(v), np.degrees(np.angle(v)))]
        yield [cells[i] for i in order]


def join(*blocks):
    """Lines of cells, blocks side by side, short ones filled up."""
    height = max(map(len, blocks))
    filled = [[*block, *[[""] * len(block[0])] * (height - len(block))] for block in blocks]
    return ["\t".join(cell for part in parts for cell in part) for parts in zip(*filled, strict=True)]


def block(said=None, frequency=UP, z=Z, order=range(5)):
    return [[NAMES[i] for i in order], said or info(), *rows(frequency, z, order)]


def content(lines, end="\r\n", encoding="utf-8"):
    return (end.join(lines) + end).encode(encoding)


WHOLE = content([*TOP, *join(block())])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_spectrum_with_its_values(tmp_path, end, encoding):
    path = tmp_path / "x.txt"
    path.write_bytes(content([*TOP, *join(block())], end, encoding))
    recording = read_file(path)
    sweep = check_true(recording, UP, Z, 1e-8)
    assert recording.format == "relaxis"
    assert sweep.finished
    assert not recording.remarks
    assert dict(sweep.state) == {
        "voltage": -0.08, "time": 33.7, "J": -5e-6, "FV2": 1.0, "Cell": "A 7", "name": "cell_1",
    }  # fmt: skip
    assert recording.metadata["software"] == "RelaxIS 3.0"


def test_names_and_texts_that_no_campaign_can_keep_refuse_nothing(tmp_path):
    odd = "A/B=3, digest=x, gamma=1, temperature=warm, area=-1, D=" + "d" * 3000 + ", E=\u2400, [2J=1, 2=3, __=4"
    said = [f"DC=-0.08, TM=33.7, {odd}", "Model: Unassigned Spectra", "cell", "", ""]
    (tmp_path / "x.txt").write_bytes(content([*TOP, *join(block(said))]))
    (tmp_path / "y.txt").write_bytes(content([*TOP, *join(block(["DC=1, D=5", *said[1:]], z=2 * Z))]))
    found = collect(tmp_path)
    write_spectra(tmp_path / "c.h5", found.spectra)
    spectra = read_spectra(tmp_path / "c.h5")
    first, second = spectra.states.to_dict("records")
    assert first["source"] == "x.txt"
    assert (first["A_B"], first["given gamma"], first["given digest"]) == (3, 1, "x")
    assert (first["E"], first["2"], len(first["D"]), second["D"]) == ("\\u2400", 3, 2000, "5.0")
    assert not {"temperature", "area", "__"} & set(spectra.states.columns)
    remarks = "\n".join(found.files[0].remarks)
    for part in (
        "'A/B' is called 'A_B'",
        "temperature not taken: 'warm'",
        "area of -1",
        "'__' is no name",
        "2000 are kept",
    ):
        assert part in remarks


def test_comma_decimals(tmp_path):
    path = tmp_path / "x.txt"
    lines = join(block(["DC=-0,08, TM=33,7", "", "", "", ""]))
    path.write_bytes(content([*TOP, *lines[:2], *(line.replace(".", ",") for line in lines[2:])]))
    sweep = check_true(read_file(path), UP, Z, 1e-8)
    assert dict(sweep.state) == {"voltage": -0.08, "time": 33.7}


def test_columns_are_found_by_name(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(content([*TOP, *join(block(order=[0, 4, 2, 1, 3]))]))
    check_true(read_file(path), UP, Z, 1e-8)
    fits = [[*line, *extra] for line, extra in zip(block(), [["Fit: Z'"], [""], *[["1.5"]] * 26], strict=True)]
    path.write_bytes(content([*TOP, *join(fits)]))
    check_true(read_file(path), UP, Z, 1e-8)


@pytest.mark.parametrize("layout", ["side by side", "below, with headings", "below, without headings"])
def test_several_spectra(tmp_path, layout):
    path = tmp_path / "x.txt"
    one, two = block(info(3.7, 10, "a")), block(info(3.6, 20, "b"), UP[4:-2], 2 * Z[4:-2])
    below = [*join(one), *join(two if "with headings" in layout else two[1:])]
    lines = join(one, two) if layout == "side by side" else below
    path.write_bytes(content([*TOP, *lines]))
    recording = read_file(path)
    assert len(recording.finished) == 2
    np.testing.assert_allclose(recording.sweeps[0].impedance, Z, rtol=1e-8)
    np.testing.assert_allclose(recording.sweeps[1].impedance, 2 * Z[4:-2], rtol=1e-8)
    np.testing.assert_allclose(recording.sweeps[1].frequency, UP[4:-2], rtol=1e-8)
    assert [sweep.state["voltage"] for sweep in recording.sweeps] == [3.7, 3.6]
    assert [sweep.state["name"] for sweep in recording.sweeps] == ["a", "b"]


def test_refusals(tmp_path):
    path = tmp_path / "x.txt"
    refused(path, content(TOP), "relaxis", "no line of headings")
    refused(path, content([*TOP, *join(block())[:2]]), "relaxis", "no rows")
    refused(path, WHOLE + WHOLE, "relaxis", "second header")
    holes = block()
    holes[9] = [*holes[9][:2], "", *holes[9][3:]]
    refused(path, content([*TOP, *join(holes)]), "relaxis", "column 3")
    refused(path, content([*TOP, *join(holes, block())]), "relaxis", "line 12")


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (2, 3), (3, 4)])
def test_exchanged_columns_are_refused(tmp_path, one, other):
    order = list(range(5))
    order[one], order[other] = other, one
    lines = join([NAMES, info(), *rows(order=order)])
    assert refused(tmp_path / "x.txt", content([*TOP, *lines]), "relaxis", ".") >= 5


@pytest.mark.parametrize("seed", range(2))
def test_damage(tmp_path, seed):
    check_damaged(tmp_path / "x.txt", WHOLE, "relaxis", UP, Z, confirmed=True, counted=False, seed=seed)


def test_junk(tmp_path):
    junk(tmp_path / "x.txt", "relaxis")
