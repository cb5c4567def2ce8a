"""The same arrays whoever does the work, and whoever dies meanwhile."""

import multiprocessing
import os
import signal

import h5py
import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import UnknownNameError

METHOD = drt.Tikhonov(shared="cell")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, noisy):
    """Two grids, 64 spectra, some of them bad."""
    path = tmp_path_factory.mktemp("workers") / "campaign.h5"
    z = np.tile(noisy.impedance, (8, 1)) * np.linspace(1.0, 2.0, 48)[:, None]
    z[4] = np.nan
    z[7, 3:5] = np.inf
    long = drt.Spectra(noisy.frequency, z, {"cell": ["B", "C", None] * 16, "cycle": np.arange(48)})
    short = drt.Spectra(noisy.frequency[::2], z[:16, ::2], {"cell": ["D"] * 16, "cycle": np.arange(16)})
    drt.write_spectra(path, {"long": long, "short": short})
    return path


def arrays(path):
    """Every array of a file, to the bit."""
    found = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tolist() if item.dtype.kind == "O" else item[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(take)
    return found


@pytest.fixture(scope="module")
def expected(campaign):
    out = campaign.with_name("expected.h5")
    drt.invert_file(campaign, out, method=METHOD)
    return arrays(out)


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as some:
        yield some


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"scheduler": "inline"},
        {"scheduler": "threads"},
        {"scheduler": "processes", "workers": 2, "block": 7},
        {"block": 1},
        {"block": 7},
        {"block": 4096},
    ],
    ids=str,
)
@pytest.mark.usefixtures("lent_processes")
def test_same_arrays_for_all_workers_and_blocks(campaign, expected, tmp_path, options):
    drt.invert_file(campaign, tmp_path / "out.h5", method=METHOD, **options)
    assert arrays(tmp_path / "out.h5") == expected


@pytest.mark.recorded
@pytest.mark.slow
def test_same_arrays_on_a_cluster_that_loses_a_worker(campaign, expected, cluster, tmp_path):
    killed = []

    def kill(done, *_):
        if done > 16 and not killed:
            killed.append(cluster.workers[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    summary = drt.invert_file(
        campaign, tmp_path / "out.h5", method=METHOD, scheduler=cluster.scheduler_address, block=8, progress=kill
    )
    assert killed
    assert summary.spectra == 64
    assert arrays(tmp_path / "out.h5") == expected


@pytest.mark.recorded
@pytest.mark.slow
def test_a_client_is_taken_and_stays_open(campaign, expected, tmp_path):
    distributed = pytest.importorskip("distributed")
    # Its worker is a thread of this process, which has loaded everything.
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.Client(processes=False, set_as_default=False, **options) as client:
        drt.invert_file(campaign, tmp_path / "out.h5", method=METHOD, scheduler=client)
        assert client.status == "running"
    assert arrays(tmp_path / "out.h5") == expected


@pytest.mark.recorded
@pytest.mark.slow
def test_processes_that_die_are_replaced(campaign, expected, tmp_path):
    killed, others = [], set(multiprocessing.active_children())

    def kill(done, *_):
        if done > 16 and not killed:
            killed.extend(set(multiprocessing.active_children()) - others)
            killed[0].kill()

    # One process: where one of several dies, the others are ended and begin anew as well.
    job = {"method": METHOD, "scheduler": "processes", "workers": 1, "block": 8}
    drt.invert_file(campaign, tmp_path / "out.h5", progress=kill, **job)
    assert killed
    assert arrays(tmp_path / "out.h5") == expected


@pytest.mark.recorded
@pytest.mark.slow
def test_schedulers_that_cannot_be(campaign, tmp_path, monkeypatch):
    out = tmp_path / "out.h5"
    with pytest.raises(UnknownNameError, match=r"'thread'.*'inline', 'threads', 'processes', 'tcp://HOST:PORT'"):
        drt.invert_file(campaign, out, scheduler="thread")
    with pytest.raises(drt.InputError, match=r"workers=2.*scheduler='inline'"):
        drt.invert_file(campaign, out, scheduler="inline", workers=2)
    pytest.importorskip("distributed")
    with pytest.raises(drt.InputError, match="got int"):
        drt.invert_file(campaign, out, scheduler=5)
    monkeypatch.setattr("drt_engine.jobs.dask_._SECONDS_TO_ANSWER", 0.5)
    with pytest.raises(drt.InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        drt.invert_file(campaign, out, scheduler="tcp://127.0.0.1:1")
    assert not list(tmp_path.iterdir())
