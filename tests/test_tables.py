"""Tables of what was found: values, units in the headings, forms, areas, and files that harm nobody."""

from importlib.util import find_spec

import numpy as np
import openpyxl
import pandas as pd
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.tables import TABLES, gather, write_tables

from .plotting.made import ONE, SPECTRA
from .plotting.made import RESULT as WHOLE

RESULT, MEASURED = WHOLE[ONE], SPECTRA[ONE]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    drt.write_spectra(folder / "c.h5", MEASURED.with_states(area=2.0, note="=1+1"))
    drt.invert_file(folder / "c.h5", folder / "c.drt.h5", method=drt.Tikhonov(regularisation=1e-3))
    return folder


def test_a_result_is_one_row_a_spectrum():
    frame = RESULT.to_frame()
    assert list(frame["spectrum"]) == list(range(len(RESULT)))
    assert list(frame["voltage"]) == list(RESULT.states["voltage"])
    for name in ("r_inf", "r_pol", "inductance", "capacitance", "residual"):
        assert np.array_equal(frame[name], getattr(RESULT, name)), name
    bad = drt.invert(drt.Spectra(MEASURED.frequency, MEASURED.impedance[:1].conj()))
    assert bad.to_frame()["remarks"].tolist() == ["wrong sign"]


def test_intervals_are_in_the_tables():
    sure = drt.invert(MEASURED[:2], level=0.9)
    frame = sure.to_frame()
    assert np.array_equal(frame["r_pol_low"], sure.intervals.r_pol_low)
    long = sure.gamma_frame()
    assert np.array_equal(long["gamma_high"].to_numpy().reshape(2, -1), sure.intervals.gamma_high)


def test_the_three_forms_hold_the_same_numbers():
    tau = [1e-5, 1e-3]
    expected = RESULT.gamma_at(tau)
    long = RESULT.gamma_frame(tau)
    assert np.array_equal(long["gamma"].to_numpy().reshape(expected.shape), expected)
    assert np.array_equal(long["voltage"].to_numpy()[::2], RESULT.states["voltage"])
    rows = RESULT.gamma_frame(tau, form="rows")
    assert np.array_equal(rows[[("gamma", 1e-5), ("gamma", 1e-3)]].to_numpy(), expected)
    columns = RESULT.gamma_frame(tau, form="columns")
    assert list(columns["tau"]) == tau
    assert np.array_equal(columns.iloc[:, 1:].to_numpy().T, expected)
    assert columns.columns[1] == ("gamma", "4.7 V")
    with pytest.raises(drt.UnknownNameError, match=r"'wide'.*'long', 'rows', 'columns'"):
        RESULT.gamma_frame(form="wide")


def test_spectra_of_equal_states_get_their_numbers():
    twice = RESULT[[0, 0]]
    assert [name[1] for name in twice.gamma_frame(form="columns").columns[1:]] == ["#0", "#1"]


def test_measured_and_fitted_impedance_stand_side_by_side():
    frame = RESULT.impedance_frame(MEASURED)
    z = frame["z_real"].to_numpy() + 1j * frame["z_imag"].to_numpy()
    assert np.array_equal(z.reshape(MEASURED.impedance.shape), MEASURED.impedance)
    fit = (frame["fit_real"] + 1j * frame["fit_imag"]).to_numpy().reshape(z.size // 43, 43)
    assert np.allclose(fit, RESULT.impedance_at(MEASURED.frequency))
    assert "z_real" not in RESULT.impedance_frame()


def test_areas_multiply_ohms_and_divide_farads():
    plain, by = gather(RESULT, MEASURED), gather(RESULT, MEASURED, area=2.5)
    assert list(plain) == ["results", "gamma", "impedance", "peaks"]
    for table, name, unit, factor in (
        ("results", "r_pol", "ohm cm2", 2.5),
        ("results", "inductance", "H cm2", 2.5),
        ("gamma", "gamma", "ohm cm2", 2.5),
        ("impedance", "z_real", "ohm cm2", 2.5),
        ("peaks", "r", "ohm cm2", 2.5),
        ("peaks", "c", "F/cm2", 0.4),
        ("peaks", "tau", "s", 1.0),
    ):
        before = plain[table][f"{name} / {unit.replace(' cm2', '').replace('/cm2', '')}"]
        assert np.allclose(by[table][f"{name} / {unit}"], factor * before, rtol=1e-12, atol=0.0, equal_nan=True), name
    with pytest.raises(drt.InputError, match=r"state 'area'.*with_states\(area="):
        gather(RESULT, area=True)
    with pytest.raises(drt.InputError, match="positive, in cm²; got -1"):
        gather(RESULT, area=-1.0)


def test_spectra_get_states():
    more = MEASURED.with_states(cycle=500, place=[f"p{k}" for k in range(len(MEASURED))])
    assert set(more.states["cycle"]) == {500}
    assert more.states["place"].iloc[2] == "p2"
    assert "place" not in MEASURED.states
    with pytest.raises(drt.InputError, match=r"'cycle' must have one value.*got 2"):
        MEASURED.with_states(cycle=[1, 2])


def test_parts_are_put_together():
    for whole in (MEASURED, RESULT):
        again = drt.concat([whole[:2], whole[2:]])
        assert type(again) is type(whole)
        pd.testing.assert_frame_equal(again.states, whole.states)
    assert np.array_equal(drt.concat([RESULT[:2], RESULT[2:]]).gamma, RESULT.gamma)
    assert np.array_equal(drt.concat([MEASURED[:2], MEASURED[2:]]).impedance, MEASURED.impedance)
    with pytest.raises(drt.InputError, match="list of Spectra, or of Inversion; got Inversion, Spectra"):
        drt.concat([MEASURED, RESULT])
    other = drt.Spectra(MEASURED.frequency[1:], MEASURED.impedance[:, 1:])
    with pytest.raises(drt.InputError, match=r"same frequencies; part 0 has 43.*part 1 42"):
        drt.concat([MEASURED, other])
    with pytest.raises(drt.InputError, match="of one method"):
        drt.concat([RESULT, drt.invert(MEASURED[:1], drt.Tikhonov(order=2))])


def test_results_of_one_series_are_not_put_together_from_parts():
    along = drt.LogGaussian(along="voltage")
    one, other = drt.invert(MEASURED[:2], along), drt.invert(MEASURED[2:4], along)
    with pytest.raises(drt.InputError, match="inverted together, along 'voltage'"):
        drt.concat([one, other])


def test_a_workbook_has_a_sheet_for_each_table_and_no_formula(files):
    done = run("export", files / "c.drt.h5", "--spectra", files / "c.h5", "-o", files / "all.xlsx", "--per-area")
    assert done.exit_code == 0, done.output
    book = openpyxl.load_workbook(files / "all.xlsx")
    assert book.sheetnames == ["results", "gamma", "impedance", "peaks"]
    sheet = pd.read_excel(files / "all.xlsx", sheet_name="results")
    result = drt.read_inversion(files / "c.drt.h5")
    assert np.allclose(sheet["r_pol / ohm cm2"], 2.0 * result.r_pol)
    assert "voltage / V" in sheet
    assert {cell.data_type for cell in next(book["results"].iter_cols(min_row=2, max_row=4))} == {"n"}
    assert set(sheet["note"]) == {"'=1+1"}


def test_several_tables_become_several_files(files):
    done = run("export", files / "c.drt.h5", "--tables", "results,gamma", "--form", "columns", "-o", files / "t.csv")
    assert done.exit_code == 0, done.output
    gamma = pd.read_csv(files / "t-gamma.csv")
    assert gamma.columns[0] == "tau / s"
    assert gamma.columns[1] == "gamma / ohm, 4.7 V"
    again = run("export", files / "c.drt.h5", "--tables", "results,gamma", "-o", files / "t.csv")
    assert "exists already" in str(again.exception)
    one = run("export", files / "c.drt.h5", "--tables", "gamma", "--where", "voltage > 4", "-o", files / "one.csv")
    assert one.exit_code == 0
    assert set(pd.read_csv(files / "one.csv")["voltage / V"]) == {4.1, 4.7}


def test_validation_and_spectra_alone_are_exported(files):
    done = run("export", files / "c.h5", "--tables", "impedance,validation", "-o", files / "z.xlsx")
    assert done.exit_code == 0, done.output
    table = pd.read_excel(files / "z.xlsx", sheet_name="validation")
    assert "rms / %" in table
    z = pd.read_excel(files / "z.xlsx", sheet_name="impedance")
    assert np.allclose(z["z_imag / ohm"], MEASURED.impedance.imag.ravel())


def test_what_cannot_be_exported_is_said(files):
    for arguments, message in (
        (("--tables", "gama"), f"'gama'.*{TABLES[0]}"),
        (("--tables", "processes"), "'processes' needs processes that were followed"),
        (("-o", files / "t.docx"), r"'\.docx'.*'\.csv', '\.parquet', '\.xlsx'"),
        (("-o", files / "c.drt.h5"), "input of this run"),
        (("--where", "voltage > 9"), "no spectrum in"),
    ):
        done = run("export", files / "c.drt.h5", "-o", files / "new.csv", *arguments)
        assert done.exit_code != 0
        with pytest.raises(drt.DRTError, match=message):
            raise done.exception
    assert not list(files.glob("new*"))


def test_a_table_that_no_sheet_can_hold_is_refused(tmp_path):
    long = pd.DataFrame({"x": np.zeros(1_048_576)})
    with pytest.raises(drt.InputError, match=r"'gamma' has 1048577.*\.parquet"):
        write_tables(tmp_path / "t.xlsx", {"gamma": long})
    assert not list(tmp_path.iterdir())


def test_parquet_is_written_or_the_missing_package_named(tmp_path):
    if find_spec("pyarrow") is None:
        with pytest.raises(drt.InputError, match="pip install pyarrow"):
            write_tables(tmp_path / "t.parquet", gather(RESULT, which=["gamma"]))
        return
    write_tables(tmp_path / "t.parquet", gather(RESULT, which=["gamma"]))
    again = pd.read_parquet(tmp_path / "t.parquet")
    assert np.array_equal(again["gamma / ohm"], RESULT.gamma.ravel())


def test_only_public_names_complete():
    assert {name for name in dir(drt) if not name.startswith("_")} == set(drt.__all__)
