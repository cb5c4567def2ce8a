"""Tables of conductivity in HDF5 files."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.simulate import ZARC, ConstantPhase, ProportionalNoise

FREQUENCY = np.logspace(6, -1, 40)


@pytest.fixture(scope="module")
def spectra():
    z = (ZARC(500, 5e-7, 0.95) + ConstantPhase(2e-6, 0.9)).impedance(FREQUENCY)
    states = {"temperature": [25.0, 40.0], "thickness": [0.05] * 2, "area": [0.785] * 2, "sample": ["a", "b"]}
    return drt.Spectra(FREQUENCY, ProportionalNoise(0.002).add([z, 0.5 * z], 0), states)


def test_tables_come_back_as_they_were(spectra, tmp_path):
    result = drt.conductivity(spectra)
    path = tmp_path / "sigma.h5"
    drt.write_conductivity(path, {"pellets": result, "arcs": result.arcs, "lines": result.arrhenius()})
    pd.testing.assert_frame_equal(drt.read_conductivity(path, "pellets"), result.table, check_dtype=False)
    assert drt.read_conductivity(path, "lines")["ea"].tolist() == pytest.approx(
        result.arrhenius().table["ea"], nan_ok=True
    )
    with xr.open_dataset(path, engine="h5netcdf", group="/conductivity/pellets") as found:
        assert found["sigma"].attrs["units"] == "S/cm"
    with pytest.raises(drt.UnknownNameError, match="pellets"):
        drt.read_conductivity(path, "other")
    with pytest.raises(drt.OutputExistsError):
        drt.write_conductivity(path, result)
    with pytest.raises(drt.InputError, match="must be of conductivity"):
        drt.write_conductivity(tmp_path / "b.h5", 3)


@pytest.mark.slow
@pytest.mark.recorded
def test_the_command_stores_by_the_ending(spectra, tmp_path):
    path, out = tmp_path / "in.h5", tmp_path / "out.h5"
    drt.write_spectra(path, spectra)
    done = CliRunner().invoke(app, ["conductivity", str(path), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert drt.read_conductivity(out)["r_total"].tolist() == pytest.approx([500, 250], rel=0.01)
