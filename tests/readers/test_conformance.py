"""Every real file of the formats of BioLogic and of plain tables: what it gives, or why it is refused."""

import numpy as np
import pytest

from drt_engine.readers import ReadOptions, read_file

from .conformance import Read, Refused, check, names_of

pytestmark = pytest.mark.real

THREE = ReadOptions(columns="frequency,re,im")
FIVE = ReadOptions(columns="time,cycle,frequency,re,-im")
SEVEN = ReadOptions(columns="time,cycle,frequency,re,-im,|z|,phase")
LPSCL = "solid_state/PEIS_LPSCl_IonBlocking_-25C"
ZHANG = "zhang2020/EIS_state_"
ELECTROLYTE = (  # °C, points, last frequency, first impedance
    (140, 42, 0.03, 2.21423e4 - 5.43115e4j),
    (170, 41, 0.0457730, 2.07915e4 - 3.33040e4j),
    (200, 40, 0.0698380, 1.58596e4 - 1.83471e4j),
)
AT_LPSCL = {"time": 4.709477316966513, "cycle": 1, "sequence": 0}

CASES = [
    Read(
        "instruments/exampleDataBioLogic.mpt",
        *("biologic-mpt", 1, 43, 1000.3201, 0.01689554, 2, 63.786083 + 0.49220982j),
        {"time": 0.7836904905780102, "cycle": 1, "voltage": -2.660402816744186e-4, "current": -4.5123717976744194e-5},
        unfinished=1,
        remark="it ends at 0.0169 Hz and the header says 0.01 Hz",
    ),
    Refused("instruments/exampleDataBioLogic_MissingFreq.mpt", r"line 61: no column of frequencies .*'Re\(Z\)/Ohm'"),
    Read(
        f"{LPSCL}.txt",
        *("biologic-mpt", 1, 79, 7.0000185e6, 0.10002181, 78, 1.7994276e6 - 8.0937855e6j),
        AT_LPSCL | {"voltage": -0.0800416104936709, "current": -5.000250125799999e-9},
        remark="0.001 cm2 is what EC-Lab writes if none was entered",
    ),
    Read(
        f"{LPSCL}.mpr",
        *("biologic-mpr", 1, 79, 7.0000185e6, 0.10002181, 78, 1.7994276e6 - 8.0937855e6j),
        AT_LPSCL | {"voltage": -0.0800416104936709, "current": -5.000250125799999e-9, "charge": -7.36873572e-8 * 3.6},
        remark="0.001 cm2 is what EC-Lab writes if none was entered",
    ),
    Read(
        "solid_state/PEIS_SSB.mpr",
        *("biologic-mpr", 1, 89, 7.0000185e6, 0.00999726355, 88, 2416.7048 - 454.96017j),
        {
            "time": 6.47749601,
            "cycle": 1,
            "sequence": 0,
            "voltage": 2.9668757888708224,
            "current": 1.2508913831869687e-7,
            "charge": 6.03633186e-8 * 3.6,
        },
        remark="0.001 cm2 is what EC-Lab writes if none was entered",
    ),
    Refused("solid_state/sample_info.txt", "no table of numbers and no known instrument"),
    Read(
        "instruments/exampleData.csv",
        *("table", 1, 66, 3.1623e-3, 1e4, 65, 0.01577148266048593 + 0.01015747456493824j),
        options=THREE,
    ),
    Read(
        "instruments/exampleData.csv",
        *("table", 1, 66, 3.1623e-3, 1e4, 65, 0.01577148266048593 + 0.01015747456493824j),
        remark="the columns were taken as 'frequency,re,im'",
    ),
    *(
        Read(f"drttools/{name}", *("table", 1, *values), remark="the columns were taken as 'frequency,re,im'")
        for name, *values in (
            ("LIB_data.txt", 107, 999.040405, 0.00500083202, 0, 0.112362966 + 0.00318273902j),
            ("LIB_data_2.txt", 100, 999.040405, 0.0100057628, 0, 0.109553248 + 0.00347053236j),
            ("data_1.csv", 107, 999.040405, 0.0050008320, 8, 0.111203611 - 0.00017138j),
            ("negami_data.txt", 81, 1e6, 1e-2, 2, 10.021906 - 0.102429j),
            ("zarc_data.txt", 81, 1e6, 1e-2, 2, 10.096618 - 0.105269j),
        )
    ),
    *(
        Read(f"electrolyte/s04147-{celsius}deg.txt", *("table", 1, points, 1e6, last, 0, z))
        for celsius, points, last, z in ELECTROLYTE
    ),
    Read(
        "drttools/LIB_data.txt",
        "table",
        1,
        107,
        999.040405,
        0.00500083202,
        0,
        0.112362966 + 0.00318273902j,
        options=THREE,
    ),
    Read(
        "drttools/LIB_data_2.txt",
        "table",
        1,
        100,
        999.040405,
        0.0100057628,
        0,
        0.109553248 + 0.00347053236j,
        options=THREE,
    ),
    Read("drttools/data_1.csv", "table", 1, 107, 999.040405, 0.0050008320, 8, 0.111203611 - 0.00017138j, options=THREE),
    Read("drttools/negami_data.txt", "table", 1, 81, 1e6, 1e-2, 2, 10.021906 - 0.102429j, options=THREE),
    Read("drttools/zarc_data.txt", "table", 1, 81, 1e6, 1e-2, 2, 10.096618 - 0.105269j, options=THREE),
    Read(
        f"{ZHANG}III_25C07.txt",
        *("table", 140, 60, 20004.453, 0.01999, 0, 0.30021 + 0.01002j),
        {"time": 9058.60032, "cycle": 1},
    ),
    Read(
        f"{ZHANG}III_25C07.txt",
        *("table", 140, 60, 20004.453, 0.01999, 0, 0.30357 + 0.01057j),
        {"time": 24853.19404, "cycle": 2},
        sweep=1,
        options=FIVE,
    ),
    Read(
        f"{ZHANG}V_35C02.txt",
        *("table", 318, 60, 20004.453, 0.01999, 1, 0.47585 + 0.01516j),
        {"time": 13084.48396, "cycle": 1},
        options=SEVEN,
    ),
    Refused(f"{ZHANG}V_35C02.txt", "line 1: rows of numbers begin here without headings"),
    Refused(
        f"{ZHANG}III_25C07.txt",
        "line 1: columns names column 5 'im', and its heading is '-Im",
        ReadOptions(columns="time,cycle,frequency,re,im"),
    ),
    Refused(
        f"{ZHANG}V_35C02.txt",
        "line 1: .*imaginary part has the other sign",
        ReadOptions(columns="time,cycle,frequency,re,im,|z|,phase"),
    ),
    Refused("zhang2020/ref.txt", "no table of numbers"),
    Refused("zhang2020/capacity35C02.txt", "no table of numbers"),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=names_of(CASES))
def test_every_file_gives_what_it_holds_or_is_refused_with_the_reason(real_data, case):
    check(real_data, case)


def test_binary_and_text_of_one_measurement_agree(real_data):
    binary, text = (read_file(real_data / f"{LPSCL}{suffix}").sweeps[0] for suffix in (".mpr", ".txt"))
    np.testing.assert_allclose(binary.frequency, text.frequency, rtol=1e-6)
    assert np.all(np.abs(binary.impedance - text.impedance) <= 1e-6 * np.abs(text.impedance))
    for name in ("time", "cycle", "voltage", "current"):
        assert binary.state[name] == pytest.approx(text.state[name], rel=1e-6)
