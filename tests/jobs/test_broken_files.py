"""Files that a job cannot read or write: one line that says which and why, and nothing under the final name."""

import hashlib
import os
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

import drt_engine as drt
from drt_engine.hdf5.inversions import versions

from .killing import arrays

METHOD = ("--method", "tikhonov", "--regularisation", "1e-3", "--basis", "piecewise-linear")
IN_TURN = ("--scheduler", "inline", "--block", "4")


pytestmark = pytest.mark.usefixtures("quick")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def files_up_to(size, others=()):
    """A disk that is full, for all that files know; for other processes by their numbers as well."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    if others and not hasattr(resource, "prlimit"):
        pytest.skip("this system limits no files of other processes")

    def limit(most):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        for process in others:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (most, hard))

    limit(size)
    try:
        yield
    finally:
        limit(soft)


@contextmanager
def nobody():
    """Files as somebody sees them who may not do everything."""
    if os.geteuid():
        yield
        return
    # Python and compiled code may be in folders of the one who began.
    _load()
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@cache
def _load():
    assert versions()
    spectra = drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=(1,), voltages=2)).spectra
    assert drt.invert(spectra, drt.Tikhonov(regularisation=1e-3, basis="piecewise-linear")).gamma.any()
    assert drt.invert(spectra).gamma.any()


@pytest.fixture
def open_folder():
    """A folder that anybody may go into; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def expected(campaign, out, cli):
    assert cli("invert", campaign, "-o", out, *METHOD).code == 0
    found = arrays(out)
    out.unlink()
    return found


# Damage


@pytest.mark.slow
def test_damage_is_refused_or_does_not_matter(campaign, out, expected, cli):
    whole = campaign.read_bytes()
    rng = np.random.default_rng(3)
    # Ten of each through the whole command; the reader itself is tried with far more by test_fuzz_hdf5.py.
    cases = [(whole[:size], True) for size in rng.choice(len(whole), 10, replace=False)]
    for at in rng.choice(len(whole), 10, replace=False):
        damaged = bytearray(whole)
        damaged[at] ^= rng.integers(1, 256)
        cases.append((bytes(damaged), False))
    harmless = 0
    for content, truncated in cases:
        campaign.write_bytes(content)
        ran = cli("invert", campaign, "-o", out, *METHOD, "--scheduler", "inline", "--restart")
        if ran.code == 0:
            assert not truncated, len(content)
            assert arrays(out) == expected
            harmless += 1
            out.unlink()
        else:
            assert ran.refused("campaign.h5: "), ran
            assert not out.exists()
        assert campaign.read_bytes() == content
    assert 0 < harmless < 10


def changed(change):
    def damage(path):
        with h5py.File(path, "a") as file:
            change(file)

    return damage


def replaced(name, values, units="ohm"):
    def change(file):
        del file[f"spectra/long/{name}"]
        file[f"spectra/long/{name}"] = values
        file[f"spectra/long/{name}"].attrs["units"] = units

    return changed(change)


def other_file(write):
    def damage(path):
        path.unlink()
        write(path)

    return damage


REFUSED = {
    "no dataset": (changed(lambda file: file.pop("spectra/long/impedance_imag")), "impedance_imag is missing"),
    "no state": (changed(lambda file: file.pop("spectra/long/cycle")), "cycle is missing"),
    "no spectra": (changed(lambda file: file.pop("spectra")), "holds no spectra"),
    "rows": (replaced("impedance_imag", np.ones((5, 36))), "has shape (5, 36); expected (18, 36)"),
    "columns": (replaced("impedance_real", np.ones((18, 35))), "has shape (18, 35); expected (18, 36)"),
    "dimensions": (replaced("impedance_real", np.ones(18)), "has shape (18,); expected (any, 36)"),
    "type": (replaced("impedance_real", np.ones((18, 36), dtype=int)), "int64; expected real numbers"),
    "unit": (replaced("impedance_real", np.ones((18, 36)), "mohm"), "unit 'mohm'; expected 'ohm'"),
    "unit of a state": (replaced("voltage", np.ones(18), "mV"), "unit 'mV'; expected 'V'"),
    "frequency": (replaced("frequency", np.arange(36.0), "Hz"), "got 0 Hz at index 0"),
    "newer": (changed(lambda file: file.attrs.modify("format_version", 99)), "format version 99"),
    "other format": (changed(lambda file: file.attrs.modify("format", "mine")), "not of this format"),
    "text": (other_file(lambda path: path.write_text("frequency,real,imag\n" * 99)), "is not an HDF5 file"),
    "empty": (other_file(Path.touch), "is not an HDF5 file"),
    "folder": (other_file(Path.mkdir), "is a directory"),
    "pipe": (other_file(os.mkfifo), "is not a regular file"),
    "dangling link": (other_file(lambda path: path.symlink_to("nowhere.h5")), "does not exist"),
    "nothing": (Path.unlink, "does not exist"),
}


@pytest.mark.parametrize(("damage", "cause"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_campaign_is_refused(campaign, out, cli, damage, cause):
    damage(campaign)
    there, before = names(campaign.parent), digest(campaign) if campaign.is_file() else None
    for options in ((), ("--where", "cycle > 2")):
        ran = cli("invert", campaign, "-o", out, "--scheduler", "inline", *options)
        assert ran.refused("campaign.h5: ", cause), ran
    assert names(campaign.parent) == there
    assert before is None or digest(campaign) == before


@pytest.mark.parametrize("name", [".", "/", "..", ""])
def test_what_has_no_name_is_refused(name, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("invert", name).refused("is a directory")
    (tmp_path / "a.h5").touch()
    assert cli("invert", "a.h5", "-o", name).refused("is not a file")
    assert names(tmp_path) == ["a.h5"]


# Permissions


def test_an_input_that_may_not_be_read(open_folder, two_grids, cli):
    path, out = open_folder / "campaign.h5", open_folder / "out.h5"
    drt.write_spectra(path, two_grids)
    open_folder.chmod(0o777)
    path.chmod(0)
    with nobody():
        assert cli("invert", path, "-o", out).refused("campaign.h5: may not be read: permission denied")
        assert names(open_folder) == ["campaign.h5"]
        assert cli("info", path).refused("campaign.h5: may not be read: permission denied")


def test_a_folder_that_may_not_be_written(open_folder, two_grids, cli):
    path, out = open_folder / "campaign.h5", open_folder / "out.h5"
    drt.write_spectra(path, two_grids)
    path.chmod(0o444)
    before = digest(path)
    open_folder.chmod(0o555)
    with nobody():
        assert cli("invert", path, "-o", out).refused("out.h5: cannot be written: ", "Permission denied")
        assert names(open_folder) == ["campaign.h5"]
    (open_folder / "closed").mkdir(mode=0o700)
    with nobody():
        closed = open_folder / "closed" / "out.h5"
        assert cli("invert", path, "-o", closed).refused("out.h5: cannot be written: ", "Permission denied")
    assert digest(path) == before


def test_a_folder_that_may_not_be_written_any_more(open_folder, two_grids, cli, monkeypatch):
    path, out = open_folder / "campaign.h5", open_folder / "out.h5"
    drt.write_spectra(path, two_grids)
    path.chmod(0o444)
    open_folder.chmod(0o777)

    def close(*_):
        open_folder.chmod(0o555)
        next(open_folder.glob(".*.job")).chmod(0o555)

    monkeypatch.setattr("drt_engine.cli.running._Lines.__call__", lambda *_: run_as_root(close))
    with nobody():
        ran = cli("invert", path, "-o", out, *METHOD, "--scheduler", "inline", "--block", "18")
        assert ran.refused("results-0-0-18", "cannot be written: Permission denied")
    assert not out.exists()


def run_as_root(function):
    """What somebody else does meanwhile."""
    before = os.geteuid()
    os.seteuid(os.getuid())
    try:
        function()
    finally:
        os.seteuid(before)


def test_folders_that_are_not_there(campaign, tmp_path, cli):
    ran = cli("invert", campaign, "-o", tmp_path / "nowhere" / "out.h5")
    assert ran.refused("out.h5: the folder", "nowhere does not exist. Make it first.")
    assert cli("invert", campaign, "-o", tmp_path / ("a" * 300)).refused("cannot be written", "File name too long")
    assert cli("invert", tmp_path / ("a" * 300), "-o", tmp_path / "out.h5").refused("cannot be read", "too long")
    assert names(tmp_path) == ["campaign.h5"]


def test_an_output_that_is_there_is_left_alone(campaign, out, cli):
    out.write_bytes(b"mine")
    assert cli("invert", campaign, "-o", out).refused("out.h5: exists already. Give another name, or say --overwrite.")
    assert out.read_bytes() == b"mine"
    assert cli("invert", campaign, "-o", campaign, "--overwrite").refused("campaign.h5: is an input of this run")
    assert names(out.parent) == ["campaign.h5", "out.h5"]


# A full disk


@pytest.mark.slow
def test_a_full_disk(campaign, out, expected, cli):
    before = digest(campaign)
    job = ("invert", campaign, "-o", out, *METHOD, *IN_TURN)
    assert cli(*job).code == 0
    size = out.stat().st_size
    out.unlink()
    stages = {
        100: ".out.h5.job: File too large",
        2_000: "results-0-0-4",
        size // 2: "out.h5: cannot be written: File too large",
        size - 1: "out.h5: cannot be written: File too large",
    }
    for room, cause in stages.items():
        with files_up_to(room):
            ran = cli(*job)
        assert ran.refused("cannot be written", "File too large", cause), (room, ran)
        assert not list(out.parent.glob("**/*.partial"))
        assert not out.exists()
    # What fitted on the disk was kept.
    ran = cli(*job)
    assert "23 of them done before" in ran.out
    assert arrays(out) == expected
    assert names(out.parent) == ["campaign.h5", "out.h5"]
    assert digest(campaign) == before


@pytest.mark.slow
def test_a_full_disk_under_processes(campaign, out, expected, cli, lent_processes, monkeypatch):
    # Processes that begin under the limit would leave compiled modules that are cut off, for all tests that follow.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    job = ("invert", campaign, "-o", out, *METHOD, "--block", "4")
    # One at least has begun; another may do so meanwhile.
    lent_processes.submit(os.getpid).result()
    with files_up_to(2_000, lent_processes._processes):
        assert cli(*job, "--workers", "2").refused("results-", "cannot be written: File too large")
    assert names(out.parent) == ["campaign.h5"]
    assert cli(*job).code == 0
    assert arrays(out) == expected


# Inputs that do not stay


@pytest.fixture
def meanwhile(monkeypatch):
    """Let something happen when so many spectra are done."""

    def at(count, happen):
        def progress(_, done, *__):
            if done == count:
                happen()
            # It is noticed at once, before a job that is killed next could leave blocks of something else.
            assert done <= count or count < 0

        monkeypatch.setattr("drt_engine.cli.running._Lines.__call__", progress)

    return at


@pytest.mark.slow
def test_an_input_that_vanishes_and_comes_back(campaign, out, expected, cli, meanwhile):
    away = campaign.with_name("away.h5")
    for count in (8, 23):
        meanwhile(count, lambda: campaign.rename(away))
        ran = cli("invert", campaign, "-o", out, *METHOD, *IN_TURN)
        assert ran.refused("campaign.h5: ", "o such file") or ran.refused("campaign.h5: does not exist")
        assert not out.exists()
        away.rename(campaign)
    meanwhile(-1, None)
    ran = cli("invert", campaign, "-o", out, *METHOD)
    assert "23 of them done before" in ran.out
    assert arrays(out) == expected


@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 23])
def test_blocks_of_an_input_that_changed_are_never_taken(campaign, out, expected, two_grids, cli, meanwhile, count):
    original, stamp = campaign.read_bytes(), campaign.stat()
    other = two_grids | {"long": two_grids["long"][::-1]}

    def change():
        drt.write_spectra(campaign, other, overwrite=True)

    job = ("invert", campaign, "-o", out, *METHOD, *IN_TURN)
    meanwhile(count, change)
    assert cli(*job).refused("campaign.h5: was changed while it was read. Run the job again.")
    assert names(out.parent) == ["campaign.h5"]
    # As it was, to the time: what was made of the other content in between must be gone.
    campaign.write_bytes(original)
    os.utime(campaign, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    meanwhile(-1, None)
    ran = cli(*job)
    assert "done before" not in ran.out
    assert arrays(out) == expected
