"""What the version before wrote, with the names of that time, opens, resumes and plots."""

import h5py
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.hdf5.schema import INVERSION, INVERSION_WITH_INTERVALS
from drt_engine.jobs.journal import load_part, save_part

DESIGN = drt.simulate.CampaignDesign(cells=(drt.simulate.BARE,), cycles=(1, 2), voltages=3, frequencies=25)


@pytest.fixture(scope="module")
def spectra():
    return drt.simulate.campaign(DESIGN).spectra[:6]


def made_older(path):
    """Make a file what earlier versions wrote: former names, and nothing that later ones added."""
    later = {one.name for one in (*INVERSION_WITH_INTERVALS.variables, *INVERSION.attributes) if not one.required}
    with h5py.File(path, "r+") as file:
        found = []
        file.visit(found.append)
        for name in found:
            if name.endswith("/optimality"):
                file.move(name, name.replace("optimality", "kkt"))  # its former name
            elif name.rpartition("/")[2] in later:
                del file[name]
            elif isinstance(file[name], h5py.Group):
                for key in later & {*file[name].attrs}:
                    del file[name].attrs[key]
        left = []
        file.visit(left.append)
    assert any(name.endswith("/kkt") for name in left)
    assert len(left) < len(found) - 8


def test_an_older_file_opens_and_plots(spectra, tmp_path):
    result = drt.invert(spectra, drt.Tikhonov()).with_intervals()
    drt.write_inversion(tmp_path / "older.h5", result)
    made_older(tmp_path / "older.h5")
    older = drt.read_inversion(tmp_path / "older.h5")
    np.testing.assert_array_equal(older.gamma, result.gamma)
    np.testing.assert_array_equal(older.optimality, result.optimality)
    np.testing.assert_array_equal(older.kkt, result.optimality)  # its former name
    np.testing.assert_array_equal(older.intervals.gamma_low, result.intervals.gamma_low)
    assert older.spectra is None
    pd.testing.assert_frame_equal(older.with_spectra(spectra).peaks(), result.peaks())
    assert isinstance(drt.plotting.gamma(older, rows=[0]).figure, matplotlib.figure.Figure)


def test_a_job_that_the_version_before_began_goes_on(spectra, tmp_path):
    drt.write_spectra(tmp_path / "spectra.h5", spectra)
    job = {"method": drt.Tikhonov(), "block": 2, "scheduler": "inline"}

    def stop(done, *_):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(drt.JobInterrupted):
        drt.invert_file(tmp_path / "spectra.h5", tmp_path / "out.h5", progress=stop, **job)
    blocks = {path: load_part(path) for path in (tmp_path / ".out.h5.job").iterdir() if path.is_file()}
    blocks = {path: arrays for path, arrays in blocks.items() if arrays is not None}
    assert len(blocks) == 2
    for path, arrays in blocks.items():
        status = arrays.pop("status").astype(np.uint16)
        save_part(path, arrays | {"kkt": arrays.pop("optimality"), "status": status})  # its former name
    assert drt.invert_file(tmp_path / "spectra.h5", tmp_path / "out.h5", **job).kept == 4
    done, expected = drt.read_inversion(tmp_path / "out.h5"), drt.invert(spectra, drt.Tikhonov())
    np.testing.assert_array_equal(done.optimality, expected.optimality)
    np.testing.assert_array_equal(done.gamma, expected.gamma)


def test_the_package_says_its_version():
    assert drt.__version__[0].isdigit()
