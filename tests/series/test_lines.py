"""Which spectra make up a series along a state, and in which order."""

import logging

import numpy as np
import pandas as pd
import pytest

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.series import series_along, series_columns


@pytest.fixture
def campaign():
    """Two cells, two cycles, two directions, three voltages each, in an order of no meaning."""
    levels = [["B", "C"], [1, 250], ["charge", "discharge"], [25.0], [3.0, 3.3, 3.6]]
    names = ["cell", "cycle", "direction", "temperature", "voltage"]
    table = pd.MultiIndex.from_product(levels, names=names).to_frame(index=False)
    table["source"] = [f"file {k // 6}" for k in range(len(table))]
    table["sweep"] = range(len(table))
    return table.sample(frac=1.0, random_state=3).reset_index(drop=True)


def as_sets(lines):
    return sorted(sorted(line.rows.tolist()) for line in lines)


def test_spectra_of_a_campaign_are_told_apart_by_the_usual_states(campaign):
    assert series_columns(campaign, "voltage") == ("cell", "cycle", "direction", "temperature")
    lines = series_along(campaign, "voltage")
    assert len(lines) == 8
    for line in lines:
        here = campaign.iloc[line.rows]
        assert all(len(set(here[name])) == 1 for name in ("cell", "cycle", "direction", "temperature"))
        np.testing.assert_array_equal(line.value, [3.0, 3.3, 3.6])
        np.testing.assert_array_equal(here["voltage"], line.value)
        np.testing.assert_allclose(line.position, [0.0, 1.0, 2.0])


def test_along_another_state_voltages_that_are_not_whole_numbers_tell_nothing_by_themselves(campaign):
    assert series_columns(campaign, "cycle") == ("cell", "direction", "temperature")
    assert series_columns(campaign, "cycle", ["cell", "direction", "voltage"]) == ("cell", "direction", "voltage")
    lines = series_along(campaign, "cycle", ["cell", "direction", "voltage"])
    assert len(lines) == 12
    assert all(line.value.tolist() == [1, 250] for line in lines)


def test_other_columns_of_text_or_whole_numbers_tell_series_apart(campaign):
    campaign["electrolyte"] = np.where(campaign["voltage"] > 0, "LPS", "")
    campaign["channel"] = campaign["cycle"] // 250
    campaign["pressure"] = 1.5
    assert series_columns(campaign, "voltage")[4:] == ("electrolyte", "channel")


def test_source_sweep_and_time_never_tell_series_apart(campaign):
    campaign["time"] = pd.Timestamp("2026-01-01")
    assert not {"source", "sweep", "time"} & set(series_columns(campaign, "voltage"))


def test_a_column_that_differs_in_every_row_is_left_out_and_named_in_the_log(campaign, caplog):
    campaign["file"] = [f"{k}.mpr" for k in range(len(campaign))]
    with caplog.at_level(logging.INFO, logger="drt_engine.series"):
        columns = series_columns(campaign, "voltage")
    assert "file" not in columns
    assert "not separated by 'file'" in caplog.text
    assert "equal cell, cycle, direction, temperature" in caplog.text


def test_named_columns_are_taken_as_they_are(campaign):
    campaign["file"] = [f"{k}.mpr" for k in range(len(campaign))]
    assert series_columns(campaign, "voltage", ["file"]) == ("file",)
    assert series_along(campaign, "voltage", ["file"]) == []
    assert len(series_along(campaign, "voltage", ["cell"])) == 2


def test_no_columns_make_one_series():
    states = pd.DataFrame({"voltage": [3.2, 3.0, 3.1]})
    (line,) = series_along(states, "voltage")
    assert line.rows.tolist() == [1, 2, 0]


def test_a_spectrum_without_the_state_belongs_to_none(campaign):
    campaign.loc[2, "voltage"] = np.nan
    rows = np.concatenate([line.rows for line in series_along(campaign, "voltage")])
    assert sorted(rows) == sorted(set(range(len(campaign))) - {2})


def test_a_spectrum_that_is_alone_is_no_series():
    states = pd.DataFrame({"cell": ["B", "B", "C"], "voltage": [3.0, 3.1, 3.0]})
    assert as_sets(series_along(states, "voltage")) == [[0, 1]]


def test_single_spectra_of_other_cells_do_not_make_all_cells_one_series():
    states = pd.DataFrame({"cell": ["B"] * 6 + ["C", "D", "E"], "voltage": np.arange(9.0)})
    assert as_sets(series_along(states, "voltage")) == [[0, 1, 2, 3, 4, 5]]


def test_missing_values_of_the_others_are_equal_to_each_other(campaign):
    campaign["temperature"] = np.nan
    assert len(series_along(campaign, "voltage")) == 8


def test_equal_values_stay_in_the_order_of_rows_and_a_little_apart():
    states = pd.DataFrame({"voltage": [3.1, 3.0, 3.1, 3.2, 3.0]})
    (line,) = series_along(states, "voltage")
    assert line.rows.tolist() == [1, 4, 0, 2, 3]
    np.testing.assert_allclose(line.position, np.cumsum([0.0, 0.2, 1.0, 0.2, 1.0]))


def test_steps_are_in_medians_and_a_gap_is_five_at_most():
    states = pd.DataFrame({"voltage": [0.0, 0.1, 0.2, 0.4, 9.0, 9.1]})
    (line,) = series_along(states, "voltage")
    np.testing.assert_allclose(np.diff(line.position), [1.0, 1.0, 2.0, 5.0, 1.0])


def test_a_series_may_run_along_a_time():
    when = pd.to_datetime(["2026-01-01 02:00", "2026-01-01 00:00", None, "2026-01-01 01:00"])
    states = pd.DataFrame({"time": when, "cell": "B"})
    (line,) = series_along(states, "time")
    assert line.rows.tolist() == [1, 3, 0]
    np.testing.assert_allclose(np.diff(line.value), 3600.0)
    np.testing.assert_allclose(line.position, [0.0, 1.0, 2.0])


def test_a_time_does_not_tell_series_apart():
    states = pd.DataFrame({"began": pd.to_datetime(["2026-01-01", "2026-01-02"] * 2), "voltage": [1.0, 2.0, 3.0, 4.0]})
    assert series_columns(states, "voltage") == ()


@pytest.mark.parametrize(("along", "series"), [("colour", None), ("voltage", ["colour"])])
def test_an_unknown_column_is_refused_with_those_there_are(campaign, along, series):
    with pytest.raises(UnknownNameError, match=r"colour.*cell"):
        series_along(campaign, along, series)


@pytest.mark.parametrize("column", ["direction", "on"])
def test_a_series_runs_along_numbers_only(campaign, column):
    campaign["on"] = True
    with pytest.raises(InputError, match=f"along='{column}' must be a state of numbers or times"):
        series_along(campaign, column)


def test_workbooks_among_other_files_divide_no_series_but_sheets_of_several_names_do():
    states = pd.DataFrame({"voltage": [3.2, 3.6, 3.8, 4.4], "sheet": [None, "EIS", "EIS", None]})
    assert series_columns(states, "voltage") == ()
    states["sheet"] = ["A", "A", "B", "B"]
    assert series_columns(states, "voltage") == ("sheet",)
    # A workbook with a sheet for each voltage, beside files of another cell.
    states = pd.DataFrame({"cell": ["A"] * 3 + ["B"] * 3, "voltage": [3.0, 3.2, 3.4] * 2})
    states["sheet"] = ["3.0 V", "3.2 V", "3.4 V", None, None, None]
    assert series_columns(states, "voltage") == ("cell",)


@pytest.mark.parametrize(
    ("folders", "columns"),
    [
        (["B", "B", "B", "C", "C", "C"], ("folder",)),  # of each cell
        (["new", "new", "new", None, None, None], ("folder",)),
        (["lab"] * 6, ()),
        (["3.0 V", "3.2 V", "3.4 V"] * 2, ()),  # of each voltage, for which nothing tells cells apart
    ],
)
def test_folders_tell_series_apart_unless_each_is_of_one_value(folders, columns):
    states = pd.DataFrame({"voltage": [3.0, 3.2, 3.4] * 2, "folder": folders})
    assert series_columns(states, "voltage") == columns


@pytest.mark.parametrize(
    ("files", "apart"),
    [
        ({"a": [3.0, 3.2, 3.4, 3.6], "b": [3.0, 3.2, 3.4, 3.6]}, True),  # a file for each cell
        ({"charge": [3.01, 3.22, 3.43, 3.61], "discharge": [3.0, 3.2, 3.4]}, True),
        ({"a": [3.0, 3.2, 3.4, 3.6], "b": [3.6, 3.8, 4.0]}, False),  # one goes on where the other ends
        ({"a": [3.0, 3.2, 3.4, 3.6], "b": [3.0, 3.0, 3.0, 3.2]}, False),  # repeated spectra
        ({"a": [3.0], "b": [3.1], "c": [3.2], "d": [3.1], "e": [3.3]}, False),
        ({"a": [], "b": []}, False),
    ],
)
def test_files_that_run_over_the_same_values_are_series_of_their_own(files, apart):
    rows = [(name, value) for name, values in files.items() for value in values]
    states = pd.DataFrame(rows, columns=["source", "voltage"]).astype({"voltage": float}).sample(frac=1, random_state=1)
    assert series_columns(states, "voltage") == (("source",) if apart else ())
    assert len(series_along(states, "voltage")) == (2 if apart else bool(rows))
    # Cells that are told apart by a name need nothing else; along two columns, files may be those of the second.
    states["cell"] = states["source"]
    assert "source" not in series_columns(states, "voltage")
    states["cycle"] = 1.0
    assert "source" not in series_columns(states, ("voltage", "cycle"))


def test_different_cells_are_never_one_series():
    states = pd.DataFrame({"cell": list("ABCD"), "voltage": [3.0, 3.1, 3.2, 3.3]})
    assert series_columns(states, "voltage") == ("cell",)
    assert series_along(states, "voltage") == []
