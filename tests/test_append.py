"""Campaigns that grow: nothing that a file holds is lost, however many write and whenever they are killed."""

import json
import os
import random
import shutil
import signal
import threading
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.hdf5 import (
    SpectraWriter,
    add_spectra,
    campaigns,
    digest,
    growing,
    known_files,
    read_tracks,
    scan,
    write_tracks,
)

from .forking import fork

FREQUENCY = np.logspace(4, -1, 26)


def some(rows, size=1.0, **states):
    z = size * (5 + 20 / (1 + (2j * np.pi * FREQUENCY * 1e-2) ** 0.9)) * np.linspace(1.0, 2.0, rows)[:, None]
    states = {"cell": ["A"] * rows, "cycle": np.arange(rows), "voltage": np.linspace(2.2, 4.7, rows)} | states
    return drt.Spectra(FREQUENCY, z, states)


def instrument_file(path, size=1.0):
    z = some(1, size).impedance[0]
    np.savetxt(path, np.c_[FREQUENCY, z.real, -z.imag], header="freq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm", comments="")
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def everything(path, but=()):
    """All groups, datasets and attributes of a file, but what is below some places."""
    found = {}

    def take(name, item):
        if any(name == place or name.startswith(f"{place}/") for place in but):
            return
        attributes = {key: item.attrs[key] for key in item.attrs if key not in ("DIMENSION_LIST", "REFERENCE_LIST")}
        values = item[()] if isinstance(item, h5py.Dataset) and item.dtype != h5py.ref_dtype else None
        found[name] = repr((attributes, values.tobytes() if isinstance(values, np.ndarray) else values))

    with h5py.File(path) as file:
        file.visititems(take)
        found["/"] = repr(dict(file.attrs))
    return found


@pytest.fixture
def campaign(tmp_path):
    """A file of spectra on two grids, an inversion of each, processes, and what others put beside them."""
    path = tmp_path / "campaign.h5"
    short = drt.Spectra(FREQUENCY[::2], some(3).impedance[:, ::2], {"cell": ["X", "Y", "Z"]})
    drt.write_spectra(path, {"grid-0": some(6), "short": short})
    method = drt.Tikhonov(regularisation=1e-3)
    results = {"grid-0": drt.invert(some(6), method), "short": drt.invert(short, method)}
    drt.write_inversion(tmp_path / "i.h5", results, source=path)
    write_tracks(tmp_path / "t.h5", drt.track(results["grid-0"].peaks(), "voltage", ["cell"]))
    with h5py.File(path, "r+") as file:
        for other, name in (("i.h5", "inversions"), ("t.h5", "processes")):
            with h5py.File(tmp_path / other) as source:
                source.copy(name, file)
            (tmp_path / other).unlink()
        file.attrs["comment"] = "mine"
        file["mine/notes"] = np.arange(3.0)
        file["mine"].attrs["by"] = "hand"
        file["spectra/grid-0"].attrs["comment"] = "of this grid"
        file["spectra/grid-0/cycle"].attrs["comment"] = "of this column"
    xr.Dataset({"pressure": ("time", [1.0, 2.0])}, {"time": [0.0, 1.0]}).to_netcdf(
        path, mode="a", group="gas", engine="h5netcdf"
    )
    return path


@pytest.mark.slow
def test_appending_keeps_all_that_it_does_not_change(campaign):
    kept = everything(campaign, but=("spectra/grid-0", "inversions/default/grid-0", "processes/default"))
    results = {grid: drt.read_inversion(campaign, grid=grid) for grid in ("grid-0", "short")}
    tracks, older = read_tracks(campaign), digest(campaign)
    added = some(2, size=3.0)
    assert add_spectra(campaign, {"grid-0": added}, keep=True) == 11
    assert everything(campaign, but=("spectra/grid-0", "inversions/default/grid-0", "processes/default")) == kept
    found = drt.read_spectra(campaign, "grid-0")
    np.testing.assert_array_equal(found.impedance, np.concatenate([some(6).impedance, added.impedance]))
    expected = pd.concat([some(6).states, added.states], ignore_index=True)
    pd.testing.assert_frame_equal(found.states, expected)
    for grid, result in results.items():
        again = drt.read_inversion(campaign, grid=grid)
        np.testing.assert_array_equal(again.gamma, result.gamma)
        pd.testing.assert_frame_equal(again.states, result.states)
    pd.testing.assert_frame_equal(read_tracks(campaign).table, tracks.table)
    marked = {info.grid: info.older_campaign for info in scan(campaign).inversions}
    assert marked == {"grid-0": older, "short": None}
    assert scan(campaign).processes[0].older_campaign == older
    with h5py.File(campaign) as file:
        assert file["spectra/grid-0"].attrs["comment"] == "of this grid"
        assert file["spectra/grid-0/cycle"].attrs["comment"] == "of this column"
    with xr.open_dataset(campaign, engine="h5netcdf", group="gas") as gas:
        assert gas.pressure.dims == ("time",)
    with xr.open_dataset(campaign, engine="h5netcdf", group="/spectra/grid-0") as spectra:
        assert spectra.impedance_real.dims == ("spectrum", "frequency")
    assert [item.name for item in campaign.parent.iterdir()] == ["campaign.h5"]
    # The mark is that of the campaign which the inversion knows, however often it grows.
    add_spectra(campaign, {"grid-0": added, "new": added}, keep=True)
    assert next(info for info in scan(campaign).inversions if info.grid == "grid-0").older_campaign == older


@pytest.mark.slow
def test_results_of_an_older_campaign_say_so_wherever_they_are_shown(campaign, tmp_path, caplog):
    older = digest(campaign)
    with h5py.File(campaign, "r+") as file:
        del file["inversions/default/short"]
    older = digest(campaign)
    assert "older campaign" not in run("info", campaign).output
    drt.read_inversion(campaign)
    assert not caplog.records
    done = run("import", instrument_file(tmp_path / "new.txt", 5.0), "-o", campaign, "--append")
    assert done.exit_code == 0, done.exception
    assert (
        f"of an older campaign, {older}"
        in run("info", campaign).output.replace("\n", "").replace("│", "").replace("    ", "").replace("   ", " ")
        or older in run("info", campaign, "--json").output
    )
    told = json.loads(run("info", campaign, "--json").output)
    assert [one["older_campaign"] for one in (*told["inversions"], *told["processes"])] == [older, older]
    for show in (
        lambda: drt.read_inversion(campaign),
        lambda: run("plot", campaign, "--kind", "gamma", "-o", tmp_path / "a.png"),
        lambda: run("peaks", campaign, "-o", tmp_path / "a.csv"),
    ):
        caplog.clear()
        show()
        assert f"is of an older campaign, {older}" in caplog.text
    assert (tmp_path / "a.png").exists()
    assert (tmp_path / "a.csv").exists()


@pytest.mark.slow
def test_an_inversion_beside_an_older_campaign_says_so(tmp_path):
    path, out = tmp_path / "campaign.h5", tmp_path / "campaign.drt.h5"
    drt.write_spectra(path, some(6))
    drt.invert_file(path, out, method=drt.Tikhonov(regularisation=1e-3))
    drawn = ("plot", out, "--kind", "nyquist", "--spectra", path, "--overwrite", "-o", tmp_path / "a.png")
    assert "older" not in run(*drawn).stderr
    drt.write_spectra(path, some(6, size=2.0), overwrite=True)
    for arguments in (drawn, ("peaks", out, "--spectra", path, "-o", tmp_path / "a.csv")):
        done = run(*arguments)
        assert done.exit_code == 0, done.exception
        assert "was made from other contents of" in done.stderr
        assert digest(path)[:15] in done.stderr
    add_spectra(path, {"default": some(1)}, keep=True)
    with pytest.raises(drt.InputError, match=r"has 7 spectra and .* has 6 inversions.*Invert again"):
        raise run(*drawn).exception


@pytest.mark.slow
def test_what_cannot_grow_is_refused_and_nothing_changes(campaign):
    content = campaign.read_bytes()
    other = drt.Spectra(FREQUENCY * 1.1, some(1).impedance, {})
    with pytest.raises(drt.InputError, match="has other frequencies"):
        add_spectra(campaign, {"grid-0": other}, keep=True)
    with pytest.raises(drt.InputError, match="'cycle'"):
        add_spectra(campaign, {"grid-0": some(2, cycle=["a", "b"])}, keep=True)
    assert campaign.read_bytes() == content
    with h5py.File(campaign, "r+") as file:
        file["spectra/grid-0/weights"] = np.ones(6)
    content = campaign.read_bytes()
    with pytest.raises(drt.FileFormatError, match=r"/spectra/grid-0/weights is not of this format.*Move it"):
        add_spectra(campaign, {"grid-0": some(1)}, keep=True)
    add_spectra(campaign, {"grid-0": some(0)}, keep=True)
    assert campaign.read_bytes() == content


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_does_not_swell(tmp_path, compression):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4000, 26)) + 1j
    path = tmp_path / "a.h5"
    drt.write_spectra(path, drt.Spectra(FREQUENCY, z[:1000], {"cell": ["A"] * 1000}), compression=compression)
    for k in range(1000, 4000, 500):
        add_spectra(path, {"default": drt.Spectra(FREQUENCY, z[k : k + 500], {"cell": ["B"] * 500})}, keep=True)
    drt.write_spectra(tmp_path / "b.h5", drt.read_spectra(path), compression=compression)
    np.testing.assert_array_equal(drt.read_spectra(path).impedance, z)
    assert path.stat().st_size < 1.6 * (tmp_path / "b.h5").stat().st_size
    with h5py.File(path) as file:
        assert file["spectra/default/impedance_real"].compression == compression
        assert file["spectra/default/impedance_real"].chunks == (2048, 26)


def test_states_that_only_one_has(tmp_path):
    path = tmp_path / "a.h5"
    rome = pd.Series(pd.date_range("2024-03-30", periods=2, freq="D", tz="Europe/Rome"))
    drt.write_spectra(path, some(2, begun=rome, rest=[True, False]))
    utc = pd.Series(pd.to_datetime(["2024-07-01T00:00Z"]))
    add_spectra(path, {"default": some(1, begun=utc, note=["x"])}, keep=True)
    states = drt.read_spectra(path).states
    assert states["begun"].dt.tz.key == "Europe/Rome"
    assert states["begun"].tolist() == [*rome, *utc]
    assert states["rest"].isna().tolist() == [False, False, True]
    assert states["note"].isna().tolist() == [True, True, False]
    assert states["cycle"].dtype == np.int64
    with pytest.raises(drt.InputError, match="has a time zone in the file or in what is added"):
        add_spectra(path, {"default": some(1, begun=utc.dt.tz_localize(None))}, keep=True)


# Several writers


def append_one(path, number):
    """Add a spectrum, as an import does that reads what is there first."""
    with growing(path):
        known, _ = known_files(path)
        time.sleep(0.05)
        name = f"file {number}"
        assert name not in known.values()
        add_spectra(path, {"default": some(1, source=[name], digest=[f"digest {number}"])}, keep=True)


@pytest.mark.slow
def test_several_who_append_at_once_all_get_in(tmp_path):
    path = tmp_path / "a.h5"
    drt.write_spectra(path, some(1, source=["first"], digest=["digest"]))
    writers = [fork(partial(append_one, path, k)) for k in range(5)]
    assert [os.waitpid(writer, 0)[1] for writer in writers] == [0] * 5
    assert sorted(drt.read_spectra(path).states["source"]) == [*(f"file {k}" for k in range(5)), "first"]
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]


def test_who_waits_too_long_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    drt.write_spectra(path, some(1))
    content = path.read_bytes()

    def hold():
        with growing(path):
            (tmp_path / "held").touch()
            signal.pause()

    child = fork(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    monkeypatch.setattr(campaigns, "_SECONDS_TO_WAIT", 0.2)
    done = run("import", instrument_file(tmp_path / "one.txt"), "-o", path, "--append")
    with pytest.raises(drt.errors.OutputBusyError, match="another import has been adding to it"):
        raise done.exception
    assert path.read_bytes() == content
    # Who was killed holds nothing.
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert run("import", tmp_path / "one.txt", "-o", path, "--append").exit_code == 0
    assert {item.name for item in tmp_path.iterdir()} == {"a.h5", "held", "one.txt"}


def test_a_file_that_is_replaced_meanwhile_is_left_alone(tmp_path, monkeypatch):
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    drt.write_spectra(path, some(2))
    drt.write_spectra(other, some(3))
    mark = campaigns._mark_older

    def late(*arguments):
        mark(*arguments)
        shutil.copy(other, path)

    monkeypatch.setattr(campaigns, "_mark_older", late)
    with pytest.raises(drt.errors.FileWriteError, match="was changed by another program"):
        add_spectra(path, {"default": some(1)}, keep=True)
    assert path.read_bytes() == other.read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_the_campaign_behind_a_link_grows(tmp_path):
    (tmp_path / "there").mkdir()
    drt.write_spectra(tmp_path / "there" / "a.h5", some(2))
    (tmp_path / "link.h5").symlink_to("there/a.h5")
    add_spectra(tmp_path / "link.h5", {"default": some(1)}, keep=True)
    assert (tmp_path / "link.h5").is_symlink()
    assert len(drt.read_spectra(tmp_path / "there" / "a.h5")) == 3


# Kills and limits


def killed_append(path, delay):
    """Append in another process and kill it after a while; whether it was done before."""
    child = fork(lambda: add_spectra(path, {"default": some(50, size=7.0)}, keep=True))
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.WIFEXITED(os.waitpid(child, 0)[1])


def kill_at_random(folder, kills, seed=0):
    """Kill appends at random moments; how many of the files were the new one."""
    path, whole = folder / "a.h5", folder / "whole.h5"
    drt.write_spectra(path, some(3000))
    shutil.copy(path, whole)
    begin = time.monotonic()
    add_spectra(whole, {"default": some(50, size=7.0)}, keep=True)
    length = time.monotonic() - begin
    old, new = path.read_bytes(), whole.read_bytes()
    chance, became_new, left_over = random.Random(seed), 0, 0
    for _ in range(kills):
        path.write_bytes(old)
        killed_append(path, chance.uniform(0.0, 3.5 * length))
        content = path.read_bytes()
        assert content in (old, new)
        became_new += content == new
        left_over += len(list(folder.iterdir())) > 2
        # The next run finds the file as it was or as it should be, and leaves nothing else.
        path.write_bytes(old)
        assert add_spectra(path, {"default": some(50, size=7.0)}, keep=True) == 3050
        assert path.read_bytes() == new
        assert {item.name for item in folder.iterdir()} == {"a.h5", "whole.h5"}
    return became_new, left_over


@pytest.mark.slow
def test_kills_leave_the_old_file_or_the_new(tmp_path):
    kill_at_random(tmp_path, 4)


@pytest.mark.parametrize("room", [1_000, 30_000, 200_000])
def test_a_full_disk_leaves_the_old_file(tmp_path, room):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.h5"
    drt.write_spectra(path, some(300))
    content = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(drt.errors.FileWriteError, match=r"^[^\n]*a\.h5: cannot be written: File too large\.$"):
            add_spectra(path, {"default": some(300)}, keep=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    resource = pytest.importorskip("resource")
    frequency, rows = np.logspace(5, -2, 400), 16_000
    path = tmp_path / "a.h5"
    block = drt.Spectra(frequency, np.full((1000, 400), 10.0 - 5.0j), {"cycle": np.arange(1000)})
    with SpectraWriter(path) as writer:
        for _ in range(rows // 1000):
            writer.append(block)
    assert path.stat().st_size > 100e6

    def append_in_little():
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 80_000_000, resource.RLIM_INFINITY))
        add_spectra(path, {"default": block[:10]}, keep=True)

    child = fork(append_in_little)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(drt.read_spectra(path)) == rows + 10


def test_a_file_that_has_just_got_its_name_is_read_when_its_writer_lets_go(campaign):
    fcntl = pytest.importorskip("fcntl")
    opened = os.open(campaign, os.O_RDWR)
    fcntl.flock(opened, fcntl.LOCK_EX)
    timer = threading.Timer(0.2, os.close, [opened])
    timer.start()
    assert len(drt.read_spectra(campaign, "grid-0")) == 6
    timer.join()
