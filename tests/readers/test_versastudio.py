"""VersaStudio .par files: sections, segments, E/I as a check, and damage."""

import numpy as np
import pytest

from drt_engine.readers import read_file

from .instrument_files import FREQUENCY, check_damaged, check_true, impedance, junk, outcome, refused

Z = impedance()
NAMES = ["Segment #", "Point #", "E(V)", "I(A)", "Elapsed Time(s)", "ADC Sync Input(V)", "Current Range", "Status"]
NAMES += ["E Applied(V)", "Frequency(Hz)", "E Real", "E Imag", "I Real", "I Imag", "Z Real", "Z Imag", "E2 Status"]
NAMES += ["E2(V)", "E2 Real", "E2 Imag", "Z2 Real", "Z2 Imag", "ActionId", "AC Amplitude"]


def segment(number=1, frequency=FREQUENCY, z=Z, start=1.8, names=NAMES, closed=True):
    lines = [f"<Segment{number}>", "Type=2", "Version=3", "Definition=" + ", ".join([*names, "0"])]
    rng = np.random.default_rng(4)
    for i, (f, v) in enumerate(zip(frequency, z, strict=True)):
        e = 0.02 * np.exp(2j * np.pi * rng.random())
        current = e / v if v else 0j
        cells = dict.fromkeys(NAMES, "0") | {"Point #": str(i), "E(V)": f"{3.7 + 1e-3 * i:.7g}", "I(A)": "-3.2E-06"}
        cells |= {"Elapsed Time(s)": f"{start + i:.7g}", "Frequency(Hz)": f"{f:.7G}", "ActionId": "21"}
        for name, value in {"E": e, "I": current, "Z": v}.items():
            cells |= {f"{name} Real": f"{value.real:.7G}", f"{name} Imag": f"{value.imag:.7G}"}
        lines.append(",".join(cells[name] for name in names))
    return [*lines, *([f"</Segment{number}>"] if closed else []), ""]


def head(end="0.1"):
    lines = ["<Application>", "Name=VersaStudio", "Version=2.52.3.0", "</Application>", ""]
    lines += ["<Action0>", "Measured Open Circuit=3692.1 mV", "Working Electrode Area (cm2)=0.785", "Segments=0"]
    lines += ["Name=Common", "Comment=セル", "</Action0>", "", "<Instrument>", "Type=VersaSTAT4", "Model=-400"]
    lines += [
        "</Instrument>",
        "",
        "<Experiment>",
        "TimeAcquired=9:40:30 AM",
        "DateAcquired=Thursday",
        "</Experiment>",
        "",
    ]
    lines += ["<Action1>", "Amplitude (mV RMS)=20", f"End Frequency (Hz)={end}", "Start Frequency (Hz)=10000"]
    return [*lines, "Segments=1", "Name=Potentiostatic EIS", "</Action1>", ""]


TAIL = ["<Graph1>", "XAxisName=Frequency (Hz)", "YAxisName=Zim (ohms)", "</Graph1>", "", "<DockingLayout>"]
TAIL += ['<?xml version="1.0"?>', '<DockPanel FormatVersion="1.0">', "</DockPanel>", "</DockingLayout>"]


def content(lines, end="\n", encoding="utf-8"):
    return (end.join(lines) + end).encode(encoding)


WHOLE = content([*head(), *segment(), *TAIL])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_spectrum_with_its_states(tmp_path, end, encoding):
    path = tmp_path / "x.par"
    path.write_bytes(content([*head(), *segment(), *TAIL], end, encoding))
    recording = read_file(path)
    sweep = check_true(recording, FREQUENCY, Z)
    assert recording.format == "versastudio"
    assert sweep.finished
    assert ["uncalibrated" in remark for remark in recording.remarks] == [True, False]
    assert "'ADC Sync Input(V)', 'E Applied(V)', 'E2(V)'" in recording.remarks[1]
    assert sweep.state["open_circuit_voltage"] == pytest.approx(3.6921)
    assert sweep.state["area"] == 0.785
    assert sweep.state["voltage"] == pytest.approx(3.7125)
    assert sweep.state["voltage_drift"] == pytest.approx(0.025)
    assert sweep.state["current"] == pytest.approx(-3.2e-6)
    assert sweep.state["time"] == 1.8
    assert recording.metadata["instrument"] == "VersaSTAT4-400"
    assert recording.metadata["technique"] == "Potentiostatic EIS"


def test_columns_are_found_by_name(tmp_path):
    order = [NAMES[i] for i in (15, 9, 1, 4, 14, 2, 12, 13, 10, 11)]
    path = tmp_path / "x.par"
    path.write_bytes(content([*head(), *segment(names=order)]))
    check_true(read_file(path), FREQUENCY, Z)


def test_ends_before_the_end_frequency(tmp_path):
    path = tmp_path / "x.par"
    path.write_bytes(content([*head("0.001"), *segment()]))
    recording = read_file(path)
    assert not recording.sweeps[0].finished
    assert any("header says 0.001 Hz" in remark for remark in recording.remarks)


def test_several_segments_and_dc_rows(tmp_path):
    path = tmp_path / "x.par"
    zero = np.zeros(4)
    dc_then_ac = segment(3, np.concatenate([zero, FREQUENCY]), np.concatenate([zero, 2 * Z]), 200)
    path.write_bytes(content([*head(), *segment(), *segment(2, zero, zero, 100), *dc_then_ac, *TAIL]))
    recording = read_file(path)
    assert len(recording.finished) == 2
    np.testing.assert_allclose(recording.sweeps[1].impedance, 2 * Z, rtol=1e-6)
    assert recording.sweeps[1].state["time"] == 204
    assert any("4 DC rows" in remark for remark in recording.remarks)


def test_actions_that_differ_say_nothing_of_the_end(tmp_path):
    path = tmp_path / "x.par"
    second = ["<Action2>", "End Frequency (Hz)=5", "Name=Other", "</Action2>", ""]
    path.write_bytes(content([*head(), *second, *segment()]))
    assert read_file(path).sweeps[0].finished


def test_a_segment_without_end_is_unfinished(tmp_path):
    path = tmp_path / "x.par"
    path.write_bytes(content([*head(), *segment(closed=False)]))
    recording = read_file(path)
    assert not check_true(recording, FREQUENCY, Z).finished
    assert "no end" in recording.remarks[-1]


def test_refusals(tmp_path):
    path = tmp_path / "x.par"
    refused(path, content([*head(), *TAIL]), "versastudio", "no section <Segment1>")
    refused(
        path, content([*head(), *segment(1, np.zeros(3), np.zeros(3)), *TAIL]), "versastudio", "DC measurements only"
    )
    refused(path, WHOLE + WHOLE, "versastudio", "second header")
    lines = segment()
    refused(path, content([*head(), *lines[:3], *lines[4:]]), "versastudio", "Definition")
    refused(path, content([*head(), *lines[:9], lines[8], *lines[9:]]), "versastudio", "Point # is 4 after 4")


@pytest.mark.parametrize(("one", "other"), [("Z Real", "Z Imag"), ("Frequency(Hz)", "Z Real"), ("E Real", "Z Imag")])
def test_exchanged_columns_are_refused(tmp_path, one, other):
    i, j = NAMES.index(one), NAMES.index(other)
    lines = [line.split(",") for line in segment()]
    for cells in lines[4:-2]:
        cells[i], cells[j] = cells[j], cells[i]
    lines[3] = [", ".join(lines[3])]
    fixed = [",".join(cells) for cells in lines]
    fixed[3] = segment()[3]
    assert refused(tmp_path / "x.par", content([*head(), *fixed]), "versastudio", ".") > len(head()) + 4


@pytest.mark.parametrize("seed", range(2))
def test_damage(tmp_path, seed):
    check_damaged(tmp_path / "x.par", WHOLE, "versastudio", FREQUENCY, Z, confirmed=True, counted=True, seed=seed)


def test_cut_anywhere(tmp_path):
    inside = WHOLE.index(b"</Segment1>")
    for at in range(1, len(WHOLE), 53):
        recording = outcome(tmp_path / "x.par", WHOLE[:at], "versastudio")
        if recording is not None:
            n = len(recording.sweeps[0])
            check_true(recording, FREQUENCY[:n], Z[:n])
            assert recording.sweeps[0].finished == (at >= inside + 11)


def test_junk(tmp_path):
    junk(tmp_path / "x.par", "versastudio")
