"""What a job can be told, on the command line and in a job file, and what it says to what it cannot be told."""

import re

import h5py
import numpy as np
import pytest

import drt_engine as drt
from drt_engine.hdf5 import scan

from .killing import arrays

METHOD = ("--method", "tikhonov", "--regularisation", "1e-3", "--basis", "piecewise-linear")
FIXED = drt.Tikhonov(regularisation=1e-3, basis="piecewise-linear")
SHARED = drt.Tikhonov(shared="cell")

pytestmark = pytest.mark.usefixtures("quick")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# Which spectra


@pytest.mark.slow
def test_where_takes_the_spectra_for_which_it_holds(campaign, out, cli):
    where = "cell == 'C' and cycle >= 3"
    ran = cli("invert", campaign, "-o", out, *METHOD, "--where", where)
    assert ran.code == 0
    for grid in ("long", "short"):
        spectra = drt.read_spectra(campaign, grid)
        chosen = (spectra.states["cell"] == "C") & (spectra.states["cycle"] >= 3)
        found = drt.read_inversion(out, grid=grid)
        assert found.states["cycle"].tolist() == spectra.states["cycle"][chosen].tolist()
        expected = drt.invert(spectra[np.flatnonzero(chosen)], FIXED) if chosen.any() else None
        if expected is not None:
            np.testing.assert_array_equal(found.status, expected.status)
            np.testing.assert_allclose(found.gamma, expected.gamma, rtol=1e-12)
    assert {info.where for info in scan(out).inversions} == {where}
    assert f"where: {where}" in cli("info", out).out


def test_where_that_cannot_be_is_refused(campaign, out, cli):
    job = ("invert", campaign, "-o", out)
    assert cli(*job, "--where", "cel == 'C'").refused("is not a condition on the states (cell, ", "cel")
    assert cli(*job, "--where", "cycle >").refused("'cycle >' is not a condition")
    assert cli(*job, "--where", "cycle").refused("not true or false for each spectrum")
    assert cli(*job, "--where", " ").refused("where must be text")
    assert names(out.parent) == ["campaign.h5"]


def test_where_and_a_shared_lambda_of_what_is_taken(campaign, out):
    drt.invert_file(campaign, out, method=SHARED, where="cycle in (0, 1, 2, 3, 8)", block=2)
    spectra = drt.read_spectra(campaign, "long")
    expected = drt.invert(spectra[np.array([0, 1, 2, 3, 8])], SHARED)
    np.testing.assert_array_equal(drt.read_inversion(out, grid="long").regularisation, expected.regularisation)


# Precision and compression


@pytest.mark.slow
def test_stored_smaller(campaign, tmp_path, cli):
    for name, options in {
        "a": (),
        "b": ("--dtype", "float32"),
        "c": ("--compression", "gzip"),
        "d": ("--dtype", "float32", "--compression", "gzip"),
    }.items():
        assert cli("invert", campaign, "-o", tmp_path / f"{name}.h5", *METHOD, *options).code == 0
    assert arrays(tmp_path / "a.h5") == arrays(tmp_path / "c.h5")
    assert arrays(tmp_path / "b.h5") == arrays(tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5") as file:
        gamma = file["inversions/default/long/gamma"]
        assert (gamma.dtype, gamma.compression) == (np.float32, "gzip")
        assert file["inversions/default/long/status"].dtype == np.uint32
        assert file["inversions/default/long/tau"].dtype == np.float64


def test_options_that_cannot_be_are_refused(campaign, out, cli):
    job = ("invert", campaign, "-o", out)
    assert cli(*job, "--dtype", "float16").refused("dtype 'float16' is not known; expected one of 'float64', 'float32'")
    assert cli(*job, "--compression", "lzma").refused("compression 'lzma' is not known; expected one of 'gzip'")
    assert cli(*job, "--name", "a/b").refused("name 'a/b' cannot be a name")
    assert cli(*job, "--method", "tikhonov", "--shared", "colour").refused(
        "the state column of shared 'colour' is not known", "'cell'"
    )
    assert cli(*job, "--scheduler", "inline", "--workers", "2").refused("workers=2", "Leave it out")
    for wrong in (("--block", "0"), ("--workers", "0"), ("--workers", "two"), ("--blocks", "3")):
        ran = cli(*job, *wrong)
        assert (ran.code, ran.out) == (2, "")
        assert wrong[0] in ran.err
    assert names(out.parent) == ["campaign.h5"]


# Job files

SPECTRA = 'input = "campaign.h5"\n'


@pytest.fixture
def job_file(campaign):
    path = campaign.with_name("job.toml")

    def write(text):
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.slow
def test_a_job_file_says_it_all(campaign, out, cli, job_file, monkeypatch, tmp_path_factory):
    path = job_file(
        """
        input = "campaign.h5"
        output = "out.h5"
        [method]
        name = "Tikhonov"
        basis = "piecewise-linear"
        regularisation = 1e-3
        [job]
        where = "cycle <= 9"
        name = "early"
        block = 3
        scheduler = "inline"
        dtype = "float32"
        compression = "gzip"
        strict = true
        """
    )
    # Relative to the file, wherever one is.
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    ran = cli("invert", path)
    assert ran.code == 1
    assert re.search(r"^\d+ spectr(um has|a have) no solution", ran.err.removeprefix("drt-engine: "))
    found = drt.read_inversion(out, "early", "long")
    assert (len(found), found.method) == (10, FIXED)
    with h5py.File(out) as file:
        assert file["inversions/early/long/gamma"].dtype == np.float32
    # The command line comes first, where it says something.
    again = out.with_name("again.h5")
    ran = cli(
        "invert", path, "-o", again, "--where", "cycle > 9", "--name", "late", "--order", "2", "--dtype", "float64"
    )
    assert ran.code == 0
    found = drt.read_inversion(again, "late", "long")
    assert len(found) == 8
    assert found.method == drt.Tikhonov(regularisation=1e-3, basis="piecewise-linear", order=2)
    with h5py.File(again) as file:
        assert file["inversions/late/long/gamma"].dtype == np.float64


def test_a_short_job_file(campaign, cli, job_file):
    assert cli("invert", job_file('input = "campaign.h5"')).code == 0
    found = drt.read_inversion(campaign.with_name("campaign.drt.h5"), grid="short")
    assert found.method == drt.LogGaussian()


def test_a_job_file_for_another_method(campaign, out, cli, job_file):
    path = job_file(
        'input = "campaign.h5"\noutput = "out.h5"\n[method]\nname = "Convex"\nregularisation = 1e-2\n'
        '[job]\nwhere = "cycle < 2"\n'
    )
    assert cli("invert", path).code == 0
    assert drt.read_inversion(out, grid="long").method == drt.Convex(regularisation=1e-2)


@pytest.mark.slow
def test_a_job_file_in_which_lambda_is_shared(campaign, out, cli, job_file):
    for shared, method in (
        ('["cell", "cycle"]', drt.Tikhonov(shared=("cell", "cycle"))),
        ('"cell"', SHARED),
        ('"cell,cycle"', drt.Tikhonov(shared=("cell", "cycle"))),
        ("true", drt.Tikhonov(shared=True)),
        ("false", drt.Tikhonov()),
    ):
        path = job_file(
            'input = "campaign.h5"\noutput = "out.h5"\n[job]\noverwrite = true\n'
            f'[method]\nname = "Tikhonov"\nshared = {shared}\n'
        )
        assert cli("invert", path).code == 0
        assert drt.read_inversion(out, grid="long").method == method


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("job.toml: names no input",)),
        ("input", ("job.toml: is not TOML",)),
        ("input = 5", ("job.toml: the key 'input' must be text; got 5",)),
        (SPECTRA + 'ouput = "a"', ("job.toml: the key 'ouput' is not known", "'output'")),
        (
            'input = "campaign.h5"\n[job]\nwrokers = 2',
            ("job.toml: the key of [job] 'wrokers' is not known", "'workers'"),
        ),
        (
            'input = "campaign.h5"\n[job]\nworkers = "2"',
            ("job.toml: the key of [job] 'workers' must be a whole number",),
        ),
        (SPECTRA + "[job]\nworkers = true", ("'workers' must be a whole number", "got True")),
        (SPECTRA + "[job]\nstrict = 1", ("'strict' must be true or false",)),
        (SPECTRA + "job = 1", ("job.toml: the key 'job' must be a table",)),
        (SPECTRA + "[job]\nworkers = 0", ("workers must be a whole number from 1; got 0",)),
        (SPECTRA + '[job]\ndtype = "half"', ("dtype 'half' is not known",)),
        (
            'input = "campaign.h5"\n[method]\nname = "Magic"',
            ("method 'Magic' is not known; expected one of 'Tikhonov'",),
        ),
        (
            'input = "campaign.h5"\n[method]\nname = ["Tikhonov"]',
            ("job.toml: the key of [method] 'name' must be text",),
        ),
        (SPECTRA + '[method]\nname = "Tikhonov"\nbasis = "cubic"', ("basis 'cubic' is not known",)),
        (SPECTRA + '[method]\nname = "Tikhonov"\norder = "1"', ("order",)),
        (SPECTRA + "[method]\nlambda = 1", ("settings of LogGaussian", "lambda")),
        ('input = "missing.h5"', ("missing.h5: does not exist",)),
        ('input = ""', ("is a directory",)),
        (SPECTRA + 'output = ""', ("is not a file",)),
        (SPECTRA + 'output = "a\\u0000"', ("cannot be written", "null")),
        ('input = "a\\u0000"', ("cannot be read", "null")),
    ],
)
def test_job_files_that_cannot_be(campaign, cli, job_file, text, words):
    assert cli("invert", job_file(text)).refused(*words)
    assert names(campaign.parent) == ["campaign.h5", "job.toml"]


def test_job_files_that_cannot_be_read(campaign, cli):
    path = campaign.with_name("job.toml")
    assert cli("invert", path).refused("job.toml: does not exist")
    path.write_bytes(b"\xff\xfe")
    assert cli("invert", path).refused("job.toml: is not TOML: ", "utf-8")
    path.unlink()
    path.mkdir()
    assert cli("invert", path).refused("job.toml: is a directory; expected a job file")
