"""From files to a campaign: grids, states from everywhere, duplicates, and a report of every file."""

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.errors import FileFormatError, InputError, UnknownNameError
from drt_engine.readers import ReadOptions
from drt_engine.readers.collect import CollectOptions, collect
from drt_engine.readers.file_states import (
    NamePattern,
    as_numbers,
    number_of,
    read_profile,
    read_side_table,
    suggested_pattern,
    temperature_in,
)

from .made import DOWN, mpt, points, text_table, z_of

HEADINGS = ("time/s", "cycle number", "freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "|Z|/Ohm", "Phase(Z)/deg")


def put(folder, name, rows, **how):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text_table(rows, HEADINGS, **how))


@pytest.fixture
def folder(tmp_path):
    """Two states of two cells, two cycles each; the last sweep of one file unfinished; and what is no measurement."""
    place = tmp_path / "data"
    put(place, "EIS_I_A1.txt", points(2))
    put(place, "EIS_II_A1.txt", points(2, cycles=[3, 4])[:-1])
    put(place, "EIS_I_B1.txt", points(2, cycles=[5, 6]), heading_line=False)
    (place / "readme.txt").write_text("Nothing to see.\n")
    return place


def options(**more):
    return CollectOptions(**{"reading": ReadOptions(columns="time,cycle,frequency,re,-im")} | more)


def test_a_folder_becomes_one_campaign(folder):
    got = collect(folder, options(name="EIS_{state}_{cell}.txt", constants={"area": 0.5}))
    assert list(got.spectra) == ["grid-0"]
    spectra = got.spectra["grid-0"]
    np.testing.assert_allclose(spectra.frequency, DOWN)
    states = spectra.states
    assert states["source"].tolist() == ["EIS_II_A1.txt", *["EIS_I_A1.txt"] * 2, *["EIS_I_B1.txt"] * 2]
    assert states["cell"].tolist() == ["A1", "A1", "A1", "B1", "B1"]
    assert states["state"].tolist() == ["II", "I", "I", "I", "I"]
    assert states["cycle"].tolist() == [3, 1, 2, 5, 6]
    assert states["time"].tolist() == [0, 0, 100, 0, 100]
    assert states["area"].tolist() == [0.5] * 5
    np.testing.assert_allclose(spectra.impedance[2], z_of(DOWN, 60), rtol=1e-5)
    report = got.report().set_index("source")
    assert report["status"].to_dict() == {
        "EIS_II_A1.txt": "read",
        "EIS_I_A1.txt": "read",
        "EIS_I_B1.txt": "read",
        "readme.txt": "left out",
    }
    assert report["taken"].tolist() == [1, 2, 2, 0]
    assert "1 unfinished sweep left out" in report["remarks"]["EIS_II_A1.txt"]
    assert report["remarks"]["readme.txt"] == "its name does not fit 'EIS_{state}_{cell}.txt'"
    remark = collect(folder, options(name="EIS_II_{cell}1")).files[0].remarks[0]
    assert remark == "its name does not fit 'EIS_II_{cell}1'; 'EIS_II_{cell}1.txt' would"


def test_folders_are_a_state_unless_a_pattern_or_a_table_says_what_they_are(tmp_path):
    for number, place in enumerate(("B", "C/old", ".")):
        put(tmp_path / "lab", f"{place}/EIS_{number}V.txt", points(1, cycles=[number]))
    states = collect(tmp_path / "lab", options()).spectra["grid-0"].states
    of_files = dict(zip(states["source"], states["folder"].fillna("nothing"), strict=True))
    assert of_files == {"B/EIS_0V.txt": "B", "C/old/EIS_1V.txt": "C/old", "EIS_2V.txt": "nothing"}
    given = pd.DataFrame({"file": ["EIS_0V", "EIS_1V", "EIS_2V"], "cell": ["B", "C", "D"]})
    for how in (options(name="EIS_{voltage}V.txt"), options(states=given)):
        assert "folder" not in collect(tmp_path / "lab", how).spectra["grid-0"].states
    # Named one by one, files with one name are told apart by their folders; then all have one.
    put(tmp_path / "lab", "B/EIS_2V.txt", points(1, cycles=[9]))
    named = [tmp_path / "lab" / name for name in ("B/EIS_0V.txt", "B/EIS_2V.txt", "EIS_2V.txt")]
    states = collect(named, options()).spectra["grid-0"].states
    lab = (tmp_path / "lab").as_posix()
    assert list(states["folder"]) == [f"{lab}/B", f"{lab}/B", lab]


def test_what_makes_cells_of_folders_is_told(tmp_path):
    for number, name in enumerate(("B/old/a.txt", "C/old/a.txt", "C/new/b.txt")):
        put(tmp_path / "lab", name, points(1, cycles=[number]))
    (said,) = collect(tmp_path / "lab", options()).remarks
    assert said == "2 folders are the state 'folder'; if each is of one cell, name='{cell}/{_}/{_}' says so"
    states = collect(tmp_path / "lab", options(name="{cell}/{_}/{_}")).spectra["grid-0"].states
    assert sorted(states["cell"]) == ["B", "C", "C"]
    assert not collect(tmp_path / "lab", options(constants={"cell": "B"})).remarks
    for one in (tmp_path, tmp_path / "lab" / "B"):  # a folder of folders, and no second one
        assert not collect(one, options()).remarks
    put(tmp_path / "lab", "d.txt", points(1, cycles=[7]))
    assert not collect(tmp_path / "lab", options()).remarks  # not all are in one


def test_it_can_be_written_and_read_again(folder, tmp_path):
    got = collect(folder, options())
    drt.write_spectra(tmp_path / "c.h5", dict(got.spectra))
    back = drt.read_spectra(tmp_path / "c.h5")
    np.testing.assert_array_equal(back.impedance, got.spectra["grid-0"].impedance)
    assert back.states["cycle"].tolist() == got.spectra["grid-0"].states["cycle"].tolist()


def test_a_file_that_cannot_be_read_is_refused_and_the_others_are_read(folder):
    got = collect(folder)
    refused = {one.source: one.error for one in got.files if one.status == "refused"}
    assert set(refused) == {"EIS_I_B1.txt"}
    assert [one.source for one in got.files if one.status == "no measurement"] == ["readme.txt"]
    assert "line 1: rows of numbers begin here" in refused["EIS_I_B1.txt"]
    assert len(got) == 3


@pytest.mark.parametrize("name", ["old.zip", "OLD.7Z", "old.tar.gz"])
def test_an_archive_is_named_as_one_and_not_opened(folder, name):
    (folder / name).write_bytes(b"PK\x03\x04 and more")
    report = collect(folder, options()).report().set_index("source")
    assert report["status"][name] == "refused"
    assert report["remarks"][name] == "archives are not opened. Unpack it, if there are measurements in it."
    assert report["taken"].sum() == 5


def test_unfinished_sweeps_are_taken_if_wanted(folder):
    put(folder, "EIS_II_A1.txt", points(2, cycles=[3, 4])[:-1])
    got = collect(folder / "EIS_II_A1.txt", options(unfinished=True))
    assert list(got.spectra) == ["grid-0", "grid-1"]
    assert [s.states["finished"].tolist() for s in got.spectra.values()] == [[True], [False]]
    np.testing.assert_allclose(got.spectra["grid-1"].frequency, DOWN[:-1])


def test_grids_are_one_within_a_millionth_and_order_does_not_matter(tmp_path):
    f = np.array([1e4, 1e3, 1e2, 1e1, 1.0, 0.1])
    put(tmp_path, "a.txt", points(1, f), form="{:.12E}")
    put(tmp_path, "b.txt", points(1, f[::-1] * (1 + 5e-7)), form="{:.12E}")
    put(tmp_path, "c.txt", points(1, f * (1 + 5e-6)), form="{:.12E}")
    put(tmp_path, "d.txt", points(1, f[1:]), form="{:.12E}")
    got = collect(tmp_path)
    assert {name: s.states["source"].tolist() for name, s in got.spectra.items()} == {
        "grid-0": ["a.txt", "b.txt"],
        "grid-1": ["c.txt"],
        "grid-2": ["d.txt"],
    }
    np.testing.assert_array_equal(got.spectra["grid-0"].frequency, f)
    np.testing.assert_allclose(got.spectra["grid-0"].impedance[1], z_of(f * (1 + 5e-7)), rtol=1e-12)
    again = collect(tmp_path, CollectOptions(grids={"default": f, "grid-0": f[:3]}))
    assert list(again.spectra) == ["default", "grid-1", "grid-2"]


def test_the_same_file_twice_is_refused(folder):
    put(folder, "copy/EIS_I_A9.txt", points(2))
    got = collect(folder)
    (error,) = [one.error for one in got.files if "the same content" in one.error]
    assert "'EIS_I_A1.txt'" in error or "'copy/EIS_I_A9.txt'" in error
    known = {one.digest: one.source for one in got.files if one.digest}
    later = collect(folder, CollectOptions(known=known))
    assert len(later) == 0
    assert sum("the same content" in one.error for one in later.files) == len(known) + 1


def test_states_from_a_table_beside(folder, tmp_path):
    table = tmp_path / "states.csv"
    table.write_text(
        "file;cycle;voltage;direction\nEIS_I_A1.txt;1;3,5;charge\nEIS_I_A1;2;3,75;discharge\nx.txt;1;1;rest\n"
    )
    got = collect(folder, options(name="EIS_{state}_{cell}.txt", states=table))
    states = got.spectra["grid-0"].states.set_index(["source", "cycle"])
    assert states.loc[("EIS_I_A1.txt", 1), "voltage"] == 3.5
    assert states.loc[("EIS_I_A1.txt", 2), "voltage"] == 3.75
    assert states.loc[("EIS_I_A1.txt", 2), "direction"] == "discharge"
    assert np.isnan(states.loc[("EIS_I_B1.txt", 5), "voltage"])
    assert got.remarks == ("1 row of the table of states fits no sweep (first: source x.txt, cycle 1.0)",)
    (b1,) = [one for one in got.files if one.source == "EIS_I_B1.txt"]
    assert "2 sweeps without a row in the table of states" in b1.remarks


def test_a_table_joins_on_the_file_alone_where_that_tells_rows_apart(folder, tmp_path):
    table = tmp_path / "states.csv"
    table.write_text(
        "File;Cell;Cycle;Voltage / mV;capacity (mAh)\n"
        "EIS_I_A1.txt;A;500;3800;1,5\nEIS_II_A1.txt;A;500;3900;2\nEIS_I_B1.txt;B;500;4000;2,5\n"
    )
    got = collect(folder, options(states=table))
    states = got.spectra["grid-0"].states
    assert got.remarks == ()
    assert states["cycle"].tolist() == [500] * 5
    assert states["cell"].tolist() == ["A", "A", "A", "B", "B"]
    assert states["voltage"].tolist() == [3.9, 3.8, 3.8, 4.0, 4.0]
    assert states["charge"].tolist() == pytest.approx([7.2, 5.4, 5.4, 9.0, 9.0])
    table.write_text("file,voltage\nA.txt,3.8\nB.txt,3.9\n")
    with pytest.raises(
        InputError, match=r"no row of the table of states fits .* source A.txt, .* source EIS_II_A1.txt"
    ):
        collect(folder, options(states=table))


def test_a_profile_in_the_units_of_a_lab(tmp_path):
    path = tmp_path / "profile.csv"
    path.write_text("Time (h);Voltage/V;capacity/mAh/g\n0;4,2;0\n0,5;4,1;1e1\n")
    profile = read_profile(path)
    assert profile["time"].tolist() == [0.0, 1800.0]
    assert profile["voltage"].tolist() == [4.2, 4.1]
    assert profile["specific_capacity"].tolist() == [0.0, 10.0]


def test_a_point_that_is_missing_is_no_other_grid(tmp_path):
    f = np.logspace(4, 0, 21)
    put(tmp_path, "a.txt", points(1, f))
    put(tmp_path, "b.txt", points(1, np.delete(f, [0, 7])))
    put(tmp_path, "c.txt", points(1, f[:15]))
    got = collect(tmp_path).spectra
    assert {name: spectra.states["source"].tolist() for name, spectra in got.items()} == {
        "grid-0": ["a.txt", "b.txt"],
        "grid-1": ["c.txt"],
    }
    assert np.flatnonzero(np.isnan(got["grid-0"].impedance[1])).tolist() == [0, 7]
    later = collect(tmp_path / "b.txt", CollectOptions(grids={"old": f}))
    assert list(later.spectra) == ["old"]


def test_ohm_cm2_is_divided_by_the_area_that_the_user_says(tmp_path):
    f = np.logspace(4, 0, 21)
    rows = "\n".join(f"{a},{b.real},{b.imag}" for a, b in zip(f, z_of(f, 50), strict=True))
    (tmp_path / "a.csv").write_text(f"f/Hz,Z' (Ohm cm2),Z'' (Ohm cm2)\n{rows}\n")
    got = collect(tmp_path, CollectOptions(constants={"area": 0.5}))
    np.testing.assert_allclose(got.spectra["grid-0"].impedance[0], z_of(f, 50) / 0.5)
    assert got.spectra["grid-0"].states["area"].tolist() == [0.5]
    assert "ohm cm2 divided by the area of 0.5 cm2" in got.files[0].remarks


def test_states_joined_on_what_the_names_say(folder):
    frame = pd.DataFrame({"cell": ["A1", "A1", "B1"], "state": ["I", "II", "I"], "temperature": [25.0, 35.0, 45.0]})
    got = collect(folder, options(name="EIS_{state}_{cell}.txt", states=frame))
    assert got.spectra["grid-0"].states["temperature"].tolist() == [35, 25, 25, 45, 45]


def test_what_the_user_says_goes_before_what_the_file_says(tmp_path):
    path = tmp_path / "a.mpt"
    path.write_bytes(mpt(points(2)).encode("cp1252"))
    got = collect([path], CollectOptions(constants={"area": 1.5, "cell": "7"}))
    assert got.spectra["grid-0"].states["area"].tolist() == [1.5, 1.5]
    assert "area 0.785 replaced by 1.5" in got.files[0].remarks
    assert got.spectra["grid-0"].states["charge"].tolist() == pytest.approx([7.2, 14.4])


def test_numbers_in_names_become_numbers_if_all_are(tmp_path):
    for name in ("c_3.5V_10_x.txt", "c_4V_2_y.txt"):
        put(tmp_path, name, points(1))
    with open(tmp_path / "c_4V_2_y.txt", "a") as file:
        file.write("\n")
    got = collect(tmp_path, CollectOptions(name="c_{voltage}V_{number}_{label}.txt"))
    states = got.spectra["grid-0"].states
    assert states["voltage"].tolist() == [3.5, 4.0]
    assert states["number"].tolist() == [10, 2]
    assert states["label"].tolist() == ["x", "y"]
    same = collect(tmp_path, CollectOptions(name="c_{voltage}_{_}_{label}.txt")).spectra["grid-0"].states
    assert same["voltage"].tolist() == [3.5, 4.0]
    odd = collect(tmp_path, CollectOptions(name="c_{_}_{_}_{voltage}.txt"))
    assert all("the path gives voltage 'x'" in one.error or "voltage 'y'" in one.error for one in odd.files)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "20"], [1, 20]),
        (["1.5", "2"], [1.5, 2.0]),
        (["007", "1"], ["007", "1"]),
        (["35E02", "1"], ["35E02", "1"]),
        (["1", ""], [1, None]),
        (["-3", "x"], ["-3", "x"]),
    ],
)
def test_which_text_is_numbers(values, expected):
    assert as_numbers(values) == expected


def test_patterns():
    pattern = NamePattern("EIS_{state}_{cell}.txt")
    assert pattern.states_of("EIS_VIII_25C07.txt") == {"state": "VIII", "cell": "25C07"}
    assert pattern.states_of("EIS_VIII.txt") is None
    assert pattern.states_of("EIS_I_A.txt.bak") is None
    with pytest.raises(InputError, match="in two ways"):
        pattern.states_of("EIS_I_A_B.txt")
    for wrong in ("EIS.txt", "{a}{b}.txt", "{a}[_{b}", "{a}]", "[{a}/]b"):
        with pytest.raises(InputError, match="each state in braces"):
            NamePattern(wrong)


def test_patterns_of_paths():
    pattern = NamePattern("{cell}/cycle {cycle}/{cell}_EIS_{voltage}[_{repeat}].csv")
    assert pattern.columns == ("cell", "cycle", "voltage", "repeat")
    assert pattern.states_of("/lab/A1/cycle 500/A1_EIS_3,8 V_2.csv") == {
        "cell": "A1", "cycle": "500", "voltage": "3,8 V", "repeat": "2"
    }  # fmt: skip
    assert pattern.states_of("A1/cycle 1/a1_EIS_4V.csv") == {"cell": "A1", "cycle": "1", "voltage": "4V"}
    assert pattern.states_of("A1/4/A1_EIS_4V.csv") is None
    with pytest.raises(InputError, match="two values of 'cell'"):
        pattern.states_of("A1/cycle 1/B1_EIS_4V.csv")
    assert NamePattern("EIS[[{n}]].txt").states_of("EIS[3].txt") == {"n": "3"}


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("voltage", "3,8 V", 3.8),
        ("voltage", "3V80", 3.8),
        ("voltage", "3p85V", 3.85),
        ("voltage", "3800mV", 3.8),
        ("voltage", "OCV", None),
        ("temperature", "-25C", -25.0),
        ("temperature", "160deg", 160.0),
        ("temperature", "298.15 K", 25.0),
        ("time", "10 min", 600.0),
        ("cycle", "1st", 1),
        ("cycle", "007", 7),
        ("soc", "50", 50),
        ("soc", "0,5", 0.5),
        ("run", "007", None),
        ("cell", "x", None),
    ],
)
def test_numbers_as_labs_write_them(name, text, number):
    assert number_of(name, text) == pytest.approx(number) if number is not None else number_of(name, text) is None


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("s04147-140deg.txt", 140.0, "'140deg'"),
        ("cold/LLZO_-25°C.csv", -25.0, "'-25°C'"),
        ("25,5 °C/a.csv", 25.5, "'25,5 °C'"),
        ("电池25℃.txt", 25.0, "'25℃'"),
        ("60degC/a_60 deg C.txt", 60.0, "'60degC'"),
        ("a_25C/x.25degC.txt", 25.0, "'25degC'"),
        ("s-140degC.txt", None, "'-140degC' may be something else"),
        ("SOFC-700degC.txt", 700.0, "'700degC'"),
        ("LLZO-25degC.txt", None, "'-25degC' may be something else"),
        ("dried 120degC/25degC.txt", None, "'120degC' and '25degC' may be"),
        ("PEIS_-25C.mpr", -25.0, "'-25C'"),
        ("cellA_-25C_0.5C.csv", -25.0, "'-25C'"),
        ("-25C/1st/EIS (+3).csv", -25.0, "'-25C'"),
        ("T-25C.csv", -25.0, "'-25C'"),
        ("T25C/T-5C.csv", None, "'25C' and '-5C' may be"),
        ("cell_temp_5C.csv", 5.0, "'5C'"),
        ("a+b_+60C.csv", 60.0, "'+60C'"),
        ("LLZO−25C.csv", -25.0, "'−25C'"),
        ("a-25C.csv", None, "'-25C' may be something else"),
        ("temp-25C.csv", None, "'-25C' may be something else"),
        ("soc-50_T-25C.csv", None, "'-25C' may be something else"),
        ("s04147-25C.csv", None, "'25C' may be something else"),
        ("a_-5C.csv", None, "'-5C' may be something else"),
        ("a_-25C_10C.csv", None, "'-25C' and '10C' may be"),
        ("RT_25C.csv", None, "'25C' may be something else"),
        ("a_10C_.csv", None, "'10C' may be something else"),
        ("a_1C_0.5C_cell12C.csv", None, ""),
        ("EIS_state_III_25C07.txt", None, ""),
        ("7gradient_upgrade_3degs4_12345deg.txt", None, ""),
        ("2.5.25degC.txt", None, ""),
    ],
)
def test_temperatures_in_names(path, value, said):
    found, words = temperature_in(path)
    assert found == value
    assert said in words if said else words == ""


def test_a_temperature_in_the_name_is_taken_where_nothing_else_says_one(tmp_path, run):
    for name in ("s1-140deg.csv", "s1-160deg.csv", "s_25C.csv", "s.csv"):
        put(tmp_path / "lab", name, points(1))
        with open(tmp_path / "lab" / name, "a") as file:
            file.write("\n" * len(name) + "\n" * (name == "s1-160deg.csv"))
    got = collect(tmp_path / "lab")
    (states,) = (one.states for one in got.spectra.values())
    assert dict(zip(states["source"], states["temperature"].fillna(-1), strict=True)) == {
        "s1-140deg.csv": 140.0,
        "s1-160deg.csv": 160.0,
        "s_25C.csv": -1.0,
        "s.csv": -1.0,
    }
    remarks = {one.source: " ".join(one.remarks) for one in got.files}
    assert "140 °C taken from the name" in remarks["s1-140deg.csv"]
    assert "no temperature taken from the name, where '25C'" in remarks["s_25C.csv"]
    assert "temperature" not in remarks["s.csv"]
    for chosen in (
        CollectOptions(name="{_}.csv"),
        CollectOptions(constants={"temperature": 20.0}),
        CollectOptions(states=pd.DataFrame({"file": ["s1-140deg", "s1-160deg", "s_25C", "s"], "temperature": 20.0})),
    ):
        got = collect(tmp_path / "lab", chosen)
        (states,) = (one.states for one in got.spectra.values())
        assert set(states.get("temperature", [20.0])) == {20.0}
        assert not any("the name" in " ".join(one.remarks) for one in got.files)
    code, said = run("import", tmp_path / "lab", "-o", tmp_path / "c.h5")
    assert code == 0
    assert "say so by --name, --states or --temperature" in " ".join(said.split())


def test_voltages_and_cycles_in_names_are_told_with_the_pattern_that_takes_them(tmp_path, run):
    lab = tmp_path / "lab"
    for k, name in enumerate(
        ("A/Zyklus 1/EIS_3,0V.csv", "A/Zyklus 50/EIS_3,2V.csv", "B/Zyklus 1/EIS_3,2V.txt", "B/x.csv")
    ):
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        put(lab / name.rpartition("/")[0], name.rpartition("/")[2], points(1))
        with open(lab / name, "a") as file:
            file.write("\n" * (k + 1))
    pattern = "{cell}/Zyklus {cycle}/EIS_{voltage}.{_}"
    (said,) = collect(lab).remarks
    assert said == (
        "names of files have what looks like cycle and voltage, and it is not taken; "
        f"name='{pattern}' would take cell, cycle, voltage from 3 of 4 files"
    )
    assert f"not taken; --name '{pattern}' would" in run("import", lab, "-o", tmp_path / "c.h5")[1]
    got = collect(lab, CollectOptions(name=pattern))
    (spectra,) = got.spectra.values()
    assert got.remarks == ()
    assert spectra.states[["cell", "cycle", "voltage"]].to_numpy().tolist() == [
        ["A", 1, 3.0], ["A", 50, 3.2], ["B", 1, 3.2]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["a_3.0V.csv", "a_3.2V.csv"], ("a_{voltage}.csv", 2)),
        (["C1_cycle5_3V80.txt", "C1_cycle6_3V80.txt"], ("C1_cycle{cycle}_{voltage}.txt", 2)),
        (["x/cyc12/a.mpr", "x/cyc13/a.mpr"], ("cyc{cycle}/a.mpr", 2)),
        (["EIS[1]_3p8V.csv"], ("EIS[[1]]_{voltage}.csv", 1)),
        (["EIS_10mV.csv", "x_2.5V-4.2V.csv", "V3.csv", "cyclohexane_2.csv"], None),
        ([], None),
    ],
)
def test_which_patterns_are_suggested(sources, found):
    assert suggested_pattern(sources) == found


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"voltage": [1]}, r"must say in columns source \(or file\), cell, cycle or sweep"),
        ({"cycle": [1]}, "hold states beside them"),
        ({"cycle": [1, 1], "voltage": [1, 2]}, "two rows .* for the same {'cycle': 1.0}"),
        ({"file": ["a"], "source": ["a"], "voltage": [1]}, "name the file in one column"),
    ],
)
def test_tables_of_states_that_cannot_be_joined(frame, reason):
    with pytest.raises(InputError, match=reason):
        read_side_table(pd.DataFrame(frame))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cycle,voltage\n", "line 1: a row of headings"),
        ("cycle,voltage\n1,2\n1,2,3\n", "line 3: 3 cells below 2"),
        ("cycle,cycle\n1,2\n", "line 1: headings must be distinct"),
    ],
)
def test_tables_of_states_that_are_damaged(tmp_path, text, reason):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(FileFormatError, match=reason):
        read_side_table(tmp_path / "s.csv")


def test_options_that_make_no_sense_are_refused_before_any_file(folder):
    with pytest.raises(InputError, match="is not known"):
        collect(folder, CollectOptions(ReadOptions(columns="foo,bar,baz")))
    with pytest.raises(UnknownNameError, match="solartron"):
        collect(folder, CollectOptions(ReadOptions(reader="solartron")))


@pytest.mark.slow
@pytest.mark.real
def test_the_long_term_cells_with_one_call(real_data):
    got = collect(real_data / "zhang2020", options(name="EIS_state_{state}_{cell}.txt"))
    (spectra,) = got.spectra.values()
    assert spectra.impedance.shape == (3939, 60)
    assert np.isfinite(spectra.impedance).all()
    for _, cycles in spectra.states.groupby("source")["cycle"]:
        assert cycles.tolist() == list(range(1, len(cycles) + 1))
    assert spectra.states["cell"].value_counts().to_dict() == {"35C02": 1908, "25C07": 1260, "25C08": 771}
    assert [one.source for one in got.files if one.status != "read"] == ["capacity35C02.txt", "ref.txt"]
