"""Gamry .DTA files: tables found by name, DC columns, aborted runs, several sweeps, and damage."""

import numpy as np
import pytest

from drt_engine.readers import find_reader, read_file

from .instrument_files import FREQUENCY, check_damaged, check_true, impedance, junk, outcome, refused

Z = impedance()
CURVE = ["Pt", "Time", "Freq", "Zreal", "Zimag", "Zsig", "Zmod", "Zphz", "Idc", "Vdc", "IERange"]
UNITS = ["#", "s", "Hz", "ohm", "ohm", "V", "ohm", "°", "A", "V", "#"]


def table(frequency=FREQUENCY, z=Z, name="ZCURVE", columns=CURVE, vdc=3.7, start=1.0, units=True):
    rows = [f"{name}\tTABLE", "\t" + "\t".join(columns)]
    rows += ["\t" + "\t".join(UNITS[CURVE.index(c)] for c in columns)] if units else []
    for i, (f, value) in enumerate(zip(frequency, z, strict=True)):
        cells = {"Pt": i, "Time": start + 2 * i, "Zsig": 1, "IERange": 9, "Idc": 2e-3 - 1e-5 * i, "Vdc": vdc + 1e-3 * i}
        cells |= {"Freq": f, "Zreal": value.real, "Zimag": value.imag, "Zmod": abs(value)}
        cells["Zphz"] = np.degrees(np.angle(value))
        rows.append("\t" + "\t".join(f"{cells[c]:.7G}" for c in columns))
    return rows


def header(tag="EISPOT", first=1e4, final=0.1, more=()):
    lines = ["EXPLAIN", f"TAG\t{tag}", "TITLE\tLABEL\tPotentiostatic EIS\tTest &Identifier"]
    lines += ["DATE\tLABEL\t4/23/2018\tDate", "TIME\tLABEL\t16:43:15\tTime", "NOTES\tNOTES\t1\t&Notes...", "\t"]
    lines += ["PSTAT\tPSTAT\tREF3000\tPotentiostat"]
    if first:
        lines += [f"FREQINIT\tQUANT\t{first:.5E}\tInitial Fre&q. (Hz)", f"FREQFINAL\tQUANT\t{final:.5E}\tFinal (Hz)"]
    lines += ["AREA\tQUANT\t7.85400E-001\t&Area (cm^2)", *more]
    ocv = ["OCVCURVE\tTABLE\t3", "\tPt\tT\tVf\tVm", "\t#\ts\tV vs. Ref.\tV"]
    ocv += [f"\t{i}\t{0.25 * i:.3f}\t3.69{i}\t3.69{i}" for i in range(3)]
    return [*lines, *ocv, "EOC\tQUANT\t3.6921\tOpen Circuit (V)", "CTRLMODE\tIQUANT\t1\tControl Mode"]


def content(lines, end="\n", encoding="latin-1"):
    return (end.join(lines) + end).encode(encoding)


WHOLE = content([*header(), *table()])


def test_spectrum_with_its_states(tmp_path):
    path = tmp_path / "cell.DTA"
    path.write_bytes(WHOLE)
    recording = read_file(path)
    sweep = check_true(recording, FREQUENCY, Z)
    assert recording.format == "gamry"
    assert sweep.finished
    assert not recording.remarks
    i = np.arange(26)
    assert sweep.state["voltage"] == pytest.approx(np.mean(3.7 + 1e-3 * i))
    assert sweep.state["current"] == pytest.approx(np.mean(2e-3 - 1e-5 * i))
    assert sweep.state["voltage_drift"] == pytest.approx(0.025)
    assert sweep.state["current_drift"] == pytest.approx(-2.5e-4)
    assert sweep.state["time"] == 1
    assert sweep.state["area"] == pytest.approx(0.7854)
    assert sweep.state["open_circuit_voltage"] == pytest.approx(3.6921)
    assert recording.metadata["technique"] == "EISPOT"
    assert recording.metadata["instrument"] == "REF3000"
    assert recording.metadata["first_frequency"] == 1e4


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("comma", [False, True])
def test_line_ends_encodings_and_comma_decimals(tmp_path, end, encoding, comma):
    lines = [line.replace(".", ",") if comma else line for line in [*header(), *table()]]
    path = tmp_path / "x.DTA"
    path.write_bytes(content(lines, end, encoding))
    sweep = check_true(read_file(path), FREQUENCY, Z)
    assert sweep.state["area"] == pytest.approx(0.7854)


def test_columns_are_found_by_name_and_units(tmp_path):
    order = ["Pt", "Zimag", "Vdc", "Zreal", "Time", "Zphz", "Zmod", "Freq", "Idc"]
    path = tmp_path / "x.DTA"
    path.write_bytes(content([*header(), *table(columns=order)]))
    check_true(read_file(path), FREQUENCY, Z)
    lines = [
        line.replace("\tohm\t", "\tkohm\t")
        for line in [*header(), *table(columns=["Pt", "Freq", "Zreal", "Zimag", "Time"])]
    ]
    lines = [line.replace("\tohm\t", "\tkohm\t") for line in lines]
    path.write_bytes(content(lines))
    check_true(read_file(path), FREQUENCY, 1e3 * Z)


@pytest.mark.parametrize("lost", ["°", "\ufffd", "deg"])
def test_the_unit_of_the_phase_may_be_lost(tmp_path, lost):
    path = tmp_path / "x.DTA"
    path.write_bytes(content([line.replace("°", lost) for line in [*header(), *table()]], encoding="utf-8"))
    check_true(read_file(path), FREQUENCY, Z)


def test_without_units_and_without_frequencies_in_the_header(tmp_path):
    path = tmp_path / "x.DTA"
    path.write_bytes(content([*header("GALVEIS", first=None), *table(units=False)]))
    assert check_true(read_file(path), FREQUENCY, Z).finished


def test_the_last_point_may_pass_the_final_frequency_by_a_step(tmp_path):
    f = FREQUENCY.copy()
    path = tmp_path / "x.DTA"
    path.write_bytes(content([*header(final=0.13), *table()]))
    assert check_true(read_file(path), f, Z).finished
    path.write_bytes(content([*header(final=0.03), *table()]))
    recording = read_file(path)
    assert not check_true(recording, f, Z).finished
    assert "0.03" in recording.remarks[0]


def test_several_curves_are_several_sweeps(tmp_path):
    curves = [table(z=impedance(scale=k), name=f"ZCURVE{k}", vdc=3 + k, start=100.0 * k) for k in (1, 2, 3)]
    path = tmp_path / "x.DTA"
    path.write_bytes(content([*header("HYBRIDEIS"), *curves[0], *curves[1], *curves[2]]))
    recording = read_file(path)
    assert len(recording.finished) == 3
    for k, sweep in enumerate(recording.sweeps, start=1):
        np.testing.assert_allclose(sweep.impedance, k * Z, rtol=1e-6)
        assert sweep.state["time"] == 100 * k
        assert sweep.state["voltage"] == pytest.approx(3.0125 + k)
        assert sweep.state["voltage_drift"] == pytest.approx(0.025)
    path.write_bytes(content([*header("HYBRIDEIS"), *curves[0], *curves[1][:12], *curves[2]]))
    recording = read_file(path)
    assert [sweep.finished for sweep in recording.sweeps] == [True, False, True]


ABORT = "EXPERIMENTABORTED\tTOGGLE\tT\tExperiment Aborted"
FRA = ["FRACURVE\tTABLE\t2", "\tPt\tT\tV\tI", "\t#\tS\tV\tA", "\t0\t20.1\t2.9E-4\t6.7E-8", "\t1\t20.3\t2.0E-3\t6.9E-8"]


def test_an_aborted_run_is_an_unfinished_sweep(tmp_path):
    path = tmp_path / "x.DTA"
    path.write_bytes(content([*header(), *table(FREQUENCY[:9], Z[:9]), ABORT, *FRA]))
    recording = read_file(path)
    assert not check_true(recording, FREQUENCY[:9], Z[:9]).finished
    assert "aborted" in recording.remarks[-1]
    path.write_bytes(content([*header(first=None), *table(), ABORT]))
    assert not read_file(path).sweeps[0].finished
    path.write_bytes(content([*header(), *table(), *table(FREQUENCY[:4], Z[:4], "ZCURVE1"), ABORT]))
    assert [sweep.finished for sweep in read_file(path).sweeps] == [True, False]
    path.write_bytes(content([*header(), *table(), ABORT.replace("\tT\t", "\tF\t")]))
    assert read_file(path).sweeps[0].finished


def test_aborted_after_the_last_frequency(tmp_path):
    path = tmp_path / "x.DTA"
    path.write_bytes(content([*header(), *table(), ABORT]))
    recording = read_file(path)
    assert recording.sweeps[0].finished
    assert "after its last sweep" in recording.remarks[0]


def test_refusals(tmp_path):
    path = tmp_path / "x.DTA"
    refused(path, content([*header(), *table()[:3], ABORT]), "gamry", "aborted before its first point")
    refused(path, content([*header(), ABORT]), "gamry", "aborted before its impedance")
    refused(path, content(header("CORPOT")), "gamry", "'CORPOT' without a table ZCURVE: it holds no frequencies")
    refused(path, content([*header(), *table()[:3]]), "gamry", "no rows below the headings")
    assert refused(path, WHOLE + WHOLE, "gamry", "second header") == WHOLE.count(b"\n") + 1
    refused(path, content([*header(), "ZCURVE\tTABLE\t20", *table()[1:]]), "gamry", "26 rows of points")
    path.write_bytes(content([*header(first=None), "ZCURVE\tTABLE\t30", *table()[1:]]))
    assert not read_file(path).sweeps[0].finished


@pytest.mark.parametrize(("one", "other"), [("Zreal", "Zimag"), ("Freq", "Zreal"), ("Zimag", "Zmod"), ("Zmod", "Zphz")])
def test_exchanged_columns_are_refused(tmp_path, one, other):
    i, j = CURVE.index(one) + 1, CURVE.index(other) + 1
    lines = [line.split("\t") for line in table()]
    for cells in lines[3:]:
        cells[i], cells[j] = cells[j], cells[i]
    place = refused(tmp_path / "x.DTA", content([*header(), *("\t".join(c) for c in lines)]), "gamry", ".")
    assert place > len(header())


def test_every_digit_of_an_impedance_is_confirmed(tmp_path):
    lines = [*header(), *table()]
    row = len(header()) + 3 + 10
    for column in ("Zreal", "Zimag"):
        cell = lines[row].split("\t")[CURVE.index(column) + 1]
        for at in [i for i, char in enumerate(cell) if char.isdigit()][:5]:
            other = cell[:at] + str((int(cell[at]) + 1) % 10) + cell[at + 1 :]
            copy = [*lines[:row], lines[row].replace(f"\t{cell}\t", f"\t{other}\t"), *lines[row + 1 :]]
            assert refused(tmp_path / "x.DTA", content(copy), "gamry", "Zmod and Zphz|gives?") == row + 1


def test_counting_column(tmp_path):
    lines = [*header(first=None), *table()]
    row = len(header(first=None)) + 3 + 10
    path = tmp_path / "x.DTA"
    path.write_bytes(content([*lines[:row], *lines[row + 1 :]]))
    recording = read_file(path)
    assert len(recording.sweeps[0]) == 25
    assert "1 point is missing" in recording.remarks[0]
    refused(path, content([*lines[:row], lines[row], *lines[row:]]), "gamry", "Pt is 10 after 10")


@pytest.mark.parametrize("seed", range(3))
def test_damage(tmp_path, seed):
    check_damaged(tmp_path / "x.DTA", WHOLE, "gamry", FREQUENCY, Z, confirmed=True, counted=True, seed=seed)


def test_cut_anywhere(tmp_path):
    for at in range(1, len(WHOLE), 37):
        recording = outcome(tmp_path / "x.DTA", WHOLE[:at], "gamry")
        if recording is not None:
            n = len(recording.sweeps[0])
            check_true(recording, FREQUENCY[:n], Z[:n])
            assert recording.sweeps[0].finished == (n == 26)


def test_junk(tmp_path):
    junk(tmp_path / "x.DTA", "gamry")


def test_found_by_content(tmp_path):
    path = tmp_path / "no_suffix"
    path.write_bytes(WHOLE)
    assert find_reader(path).name == "gamry"
