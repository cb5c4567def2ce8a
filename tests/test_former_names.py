"""What the version before wrote, with the names of that time, opens, resumes and plots."""

import h5py
import matplotlib.figure
import numpy as np
import pytest

import drt_engine as drt
from drt_engine.jobs.journal import load_part, save_part

DESIGN = drt.simulate.CampaignDesign(cells=(drt.simulate.BARE,), cycles=(1, 2), voltages=3, frequencies=25)


@pytest.fixture(scope="module")
def spectra():
    return drt.simulate.campaign(DESIGN).spectra[:6]


def made_older(path):
    """Give what was renamed its name in files of the version before."""
    with h5py.File(path, "r+") as file:
        found = []
        file.visit(lambda name: found.append(name) if name.endswith("/optimality") else None)
        for name in found:
            file.move(name, name.replace("optimality", "kkt"))  # its former name
    assert found


def test_an_older_file_opens_and_plots(spectra, tmp_path):
    result = drt.invert(spectra, drt.Tikhonov()).with_intervals()
    drt.write_inversion(tmp_path / "older.h5", result)
    made_older(tmp_path / "older.h5")
    older = drt.read_inversion(tmp_path / "older.h5")
    np.testing.assert_array_equal(older.optimality, result.optimality)
    np.testing.assert_array_equal(older.kkt, result.optimality)  # its former name
    np.testing.assert_array_equal(older.intervals.gamma_low, result.intervals.gamma_low)
    assert isinstance(drt.plotting.gamma(older, rows=[0]).figure, matplotlib.figure.Figure)


def test_blocks_of_an_older_job_are_taken_up(tmp_path):
    stored = np.array([1e-12, 2e-12])
    save_part(tmp_path / "block", {"kkt": stored, "status": np.zeros(2)})  # its former name
    assert set(load_part(tmp_path / "block")) == {"optimality", "status"}
    np.testing.assert_array_equal(load_part(tmp_path / "block", ("optimality",))["optimality"], stored)


def test_the_package_says_its_version():
    assert drt.__version__[0].isdigit()
