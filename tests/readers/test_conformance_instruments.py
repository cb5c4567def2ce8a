"""Every real file of these instruments, against what was read off the raw text by eye and by awk.

Skipped unless DRT_ENGINE_DATA names the folder of measured spectra. impedance.py reads the same files by column
positions; it is asked as an independent reader.
"""

import re
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest

from drt_engine.readers import find_reader, read_file

from .instrument_files import damaged, deviations, outcome

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Case:
    """One sweep: points, ends, one impedance in the middle, states, and whether and why it is unfinished."""

    file: str
    reader: str
    points: int
    first: float
    last: float
    at: float
    z: complex
    states: dict = field(default_factory=dict)
    unfinished: str | None = None
    remark: str | None = None


ZPLOT = {"bias": 0.0, "area": 1.0}
CASES = [
    Case("instruments/Circuit1_EIS_1.z", "zplot", 48, 5e4, 1.0, 2.505936e3, 2.9928e1 - 5.9758j,
         ZPLOT | {"open_circuit_voltage": 0.0033, "time": 2.59}),
    Case("instruments/Circuit1_EIS_2.z", "zplot", 48, 5e4, 1.0, 1.0, 7.5820e1 - 1.7374e-1j,
         ZPLOT | {"open_circuit_voltage": 0.0033, "time": 2.58}),
    Case("instruments/Circuit2_EIS_1.z", "zplot", 56, 3e5, 1.0, 2.38298, 6.5233e2 + 5.4773e-1j,
         ZPLOT | {"open_circuit_voltage": 0.0033, "time": 2.67}),
    Case("instruments/Circuit2_EIS_2.z", "zplot", 56, 3e5, 1.0, 1.0, 6.5244e2 - 2.1180j,
         ZPLOT | {"open_circuit_voltage": 0.0033, "time": 2.58}),
    Case("instruments/Circuit3_EIS_1.z", "zplot", 53, 1.5e5, 1.0, 1.19149, 6.1416e3 - 1.0798e1j,
         ZPLOT | {"open_circuit_voltage": 0.0034, "time": 2.64}),
    Case("instruments/Circuit3_EIS_2.z", "zplot", 53, 1.5e5, 1.0, 1.5, 6.1316e3 - 1.2256e1j,
         ZPLOT | {"open_circuit_voltage": 0.0034, "time": 2.67}),
    Case("instruments/exampleDataZPlot.z", "zplot", 21, 3e5, 3e3, 3e4, 2.0310e2 - 1.5276e2j,
         ZPLOT | {"open_circuit_voltage": 0.0033, "time": 2.67}, "ends at 3000 Hz and the header says 1 Hz"),
    Case("instruments/exampleDataZPlot_noComments.z", "zplot", 31, 3e5, 3e2, 3e3, 1.1242e3 - 1.3718e2j,
         {"open_circuit_voltage": 0.0, "time": 2.58, "bias": 0.0}, "ends at 300 Hz and the header says 0.005 Hz"),
    Case("instruments/exampleDataAutolab.txt", "autolab", 41, 1e4, 0.1, 1e3,
         0.0145645743933383 - 0.00136828404533815j),
    Case("instruments/exampleDataCHInstruments.txt", "ch-instruments", 73, 9.961e4, 0.1, 1.0, 1.628e3 - 2.894e3j,
         {"voltage": 0.0}, remark="begin at 99610 Hz, where the header says 2e\\+06 Hz"),
    Case("instruments/exampleDataGamry.DTA", "gamry", 72, 200015.6, 0.0158898, 998.264, 4077.349 - 146.0875j,
         {"area": 1.0, "open_circuit_voltage": -0.2919803, "time": 1.0, "voltage": -0.3411103778,
          "current": -2.631300639e-06, "voltage_drift": 0.0001411, "current_drift": 3.658966e-06}),
    Case("instruments/exampleDataGamryABORT.DTA", "gamry", 72, 200015.6, 0.0158898, 998.264, 4077.349 - 146.0875j,
         {"area": 1.0, "open_circuit_voltage": 0.0592141, "time": 1.0, "voltage": -0.3411103778},
         "the run was aborted at 0.0158898 Hz", "FREQINIT says 5e\\+06 Hz"),
    Case("solid_state/EISGALV_EISTest3.DTA", "gamry", 71, 1000078.0, 0.1001603, 1.998082, 0.06069338 - 0.01021079j,
         {"time": 1.541807, "voltage": 1.462543789, "current": 0.4975426676, "voltage_drift": 0.003489,
          "current_drift": -0.0328944}),
    Case("instruments/exampleDataParstat.txt", "parstat", 31, 1e4, 10.0, 100.0,
         0.0210385601921103 - 0.00331775800477785j,
         {"voltage": 3.50029397010803, "current": 0.0245747901499271, "time": 7639.602},
         remark="781 DC rows \\(f = 0\\) left out"),
    Case("instruments/exampleDataPowersuite.txt", "powersuite", 30, 0.1, 2e6, 18.443226, 293257.73 - 43531.868j),
    Case("instruments/exampleDataVersaStudio.par", "versastudio", 61, 1e5, 0.02154435, 1.0, 558.9164 - 429.04j,
         {"area": 1.0, "open_circuit_voltage": 0.006404, "time": 1.812, "voltage": 0.0, "current": -3.282372e-06},
         "ends at 0.02154 Hz and the header says 0.001 Hz"),
    Case("solid_state/PEIS_LPSCl_IonBlocking_-25C_RelaxIS.txt", "relaxis", 79, 0.10002180933952332, 7000018.5,
         1.0128990411758423, 188480.8125 - 1060613.875j,
         {"voltage": -0.080042, "time": 33.741076, "J": -5e-6, "FV2": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file.rpartition("/")[2])
def test_file(real_data, case):
    path = real_data / case.file
    assert find_reader(path).name == case.reader
    recording = read_file(path)
    (sweep,) = recording.sweeps
    assert len(sweep) == case.points
    assert (sweep.frequency[0], sweep.frequency[-1]) == (case.first, case.last)
    (row,) = np.flatnonzero(sweep.frequency == case.at)
    assert sweep.impedance[row] == case.z
    for name, value in case.states.items():
        assert sweep.state[name] == pytest.approx(value, rel=1e-6, abs=1e-12), name
    remarks = "\n".join(recording.remarks)
    assert sweep.finished == (case.unfinished is None)
    if case.unfinished:
        assert f"unfinished: it {case.unfinished}" in remarks or f"unfinished: {case.unfinished}" in remarks
    elif case.remark is None:
        assert not remarks
    if case.remark:
        assert any(re.search(case.remark, remark) for remark in recording.remarks)


IMPEDANCE_PY = {"ch-instruments": "chinstruments"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file.rpartition("/")[2])
def test_agrees_with_impedance_py(real_data, case):
    if case.reader == "relaxis":
        pytest.skip("impedance.py does not read RelaxIS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        preprocessing = pytest.importorskip("impedance.preprocessing")
        path = real_data / case.file
        f, z = preprocessing.readFile(str(path), instrument=IMPEDANCE_PY.get(case.reader, case.reader))
    (sweep,) = read_file(path).sweeps
    np.testing.assert_array_equal(sweep.frequency, f)
    np.testing.assert_array_equal(sweep.impedance, z)


CONFIRMED = {"gamry", "versastudio", "relaxis"}  # a second printing of every impedance in the file, to all digits


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file.rpartition("/")[2])
def test_damaged_copies(real_data, tmp_path, case):
    """Refused with a place, or the points of the whole file, of which only the damaged one may differ."""
    content = (real_data / case.file).read_bytes()
    (whole,) = read_file(real_data / case.file).sweeps
    for what, copy in damaged(content, 21, seed=7):
        recording = outcome(tmp_path / "x", copy, case.reader)
        if recording is None:
            continue
        steps, off = deviations(recording, whole.frequency, whole.impedance)
        assert np.count_nonzero((off > 2e-5) | (steps > 1e-4)) <= 1, what
        if case.reader in CONFIRMED:
            assert np.all(off <= 2e-5), what
        if (
            any(sweep.finished for sweep in recording.sweeps)
            and "cut" in what
            and "last_frequency" in recording.metadata
        ):
            assert steps.size == len(whole), what


def test_relaxis_agrees_with_the_original(real_data):
    """RelaxIS keeps the points of the EC-Lab file, sorted by frequency; its DC and TM are means of the original."""
    folder = real_data / "solid_state"
    lines = (folder / "PEIS_LPSCl_IonBlocking_-25C.txt").read_text("latin-1").splitlines()
    names = lines[64].split("\t")
    table = np.loadtxt(lines[65:])
    column = {name: table[:, i] for i, name in enumerate(names) if name}
    (sweep,) = read_file(folder / "PEIS_LPSCl_IonBlocking_-25C_RelaxIS.txt").sweeps
    original = column["Re(Z)/Ohm"] - 1j * column["-Im(Z)/Ohm"]
    np.testing.assert_allclose(sweep.frequency, column["freq/Hz"][::-1], rtol=1e-6)
    np.testing.assert_allclose(sweep.impedance, original[::-1], rtol=1e-6)
    assert sweep.state["voltage"] == pytest.approx(column["<Ewe>/V"].mean(), abs=5e-7)
    assert sweep.state["time"] == pytest.approx(column["time/s"].mean(), abs=5e-7)
    assert sweep.state["J"] == pytest.approx(column["<I>/mA"].mean(), abs=5e-9)


OTHERS = {"sample_info.txt", "PEIS_LPSCl_IonBlocking_-25C.txt"}  # no measurement, of another reader


def test_every_file_of_these_instruments_is_in_the_table(real_data):
    readers = {case.reader for case in CASES}
    known = {case.file for case in CASES}
    for folder in ("instruments", "solid_state"):
        for path in sorted((real_data / folder).iterdir()):
            if path.suffix in (".mpr", ".mpt", ".csv") or path.name in OTHERS:
                continue
            assert find_reader(path).name in readers
            assert f"{folder}/{path.name}" in known
