"""The batch job: same numbers for any block and workers, bounded memory, whole output or none, input untouched."""

import gc
import hashlib
import io
import json
import os
import signal
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.errors import UnknownNameError
from drt_engine.hdf5 import SpectraWriter, scan
from drt_engine.hdf5.disk import uninterrupted
from drt_engine.jobs import JobSummary
from drt_engine.methods import Solution
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters

RESULTS = (
    "coefficients",
    "gamma",
    "r_inf",
    "inductance",
    "capacitance",
    "r_pol",
    "regularisation",
    "residual",
    "optimality",
)
METHOD = drt.Tikhonov(regularisation=1e-3, tau=np.logspace(-5, 1, 20))


@dataclass(frozen=True)
class Copying:
    """A method that costs nothing: the first real parts are the coefficients, the last is R_inf."""

    def settings(self):
        return {"name": "Tikhonov", "basis": "piecewise-linear"}

    def expansion(self, frequency):
        return Expansion(np.logspace(-3, 0, 10), "piecewise-linear", np.nan)

    linear = True

    def solve(self, frequency, impedance, expansion):
        zero = np.zeros(len(impedance))
        never = np.zeros(len(impedance), dtype=bool)
        parameters = Parameters(impedance.real[:, :10].copy(), impedance.real[:, -1].copy(), zero, zero)
        return Solution(
            parameters=parameters,
            fit=impedance,
            regularisation=zero + 1,
            optimality=zero,
            at_edge=never,
            by_cvxpy=never,
        )


def numbered(rows, frequencies=12, first=0):
    """Spectra whose real parts tell row and column."""
    row = np.arange(first, first + rows)
    z = row[:, None] + np.arange(frequencies) / 100 - 1j
    return drt.Spectra(np.logspace(3, 0, frequencies), z, {"row": row, "cell": [f"c{k % 3}" for k in row]})


@pytest.fixture
def campaign(tmp_path, noisy):
    """Two grids with real spectra, some of them bad."""
    path = tmp_path / "campaign.h5"
    z = np.tile(noisy.impedance, (3, 1)) * np.linspace(1, 2, 18)[:, None]
    z[4] = np.nan
    z[7, 3:5] = np.inf
    states = {"cycle": np.arange(18), "cell": ["B", None, "C"] * 6, "date": pd.date_range("2024", periods=18)}
    short = drt.Spectra(noisy.frequency[::2], z[8:11, ::2], {"voltage": [2.5, 3, 3.5]})
    drt.write_spectra(path, {"long": drt.Spectra(noisy.frequency, z, states), "short": short})
    return path


@pytest.fixture(params=[METHOD, drt.LogGaussian()], ids=["tikhonov", "log-gaussian"])
def method(request):
    return request.param


def test_same_as_invert(campaign, method, tmp_path):
    summary = drt.invert_file(campaign, tmp_path / "out.h5", method=method, name="fixed")
    assert isinstance(summary, JobSummary)
    assert (summary.path, summary.spectra) == (tmp_path / "out.h5", 21)
    assert summary.counts == {"ok": 19, "points missing": 1, "not finite": 1}
    assert summary.seconds > 0
    for grid in ("long", "short"):
        expected = drt.invert(drt.read_spectra(campaign, grid), method)
        found = drt.read_inversion(tmp_path / "out.h5", "fixed", grid)
        for name in ("frequency", "tau", "status", *RESULTS):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12, err_msg=name)
        pd.testing.assert_frame_equal(found.states, expected.states)
        assert found.method == method


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"block": 1}, {"block": 7}, {"block": 4096}, {"compression": "gzip"}], ids=str)
def test_same_arrays_for_any_block(campaign, method, tmp_path, options):
    drt.invert_file(campaign, tmp_path / "a.h5", method=method)
    drt.invert_file(campaign, tmp_path / "b.h5", method=method, **options)
    assert_same_results(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("lent_processes")
def test_same_arrays_with_workers(campaign, tmp_path):
    # That those of other methods are the same to the bit is tested beside the schedulers.
    method = drt.LogGaussian()
    drt.invert_file(campaign, tmp_path / "a.h5", method=method)
    calls = []
    drt.invert_file(
        campaign, tmp_path / "b.h5", method=method, workers=2, block=4, progress=lambda *args: calls.append(args[:2])
    )
    # Of a kernel with reordered sums, the process that compiles it may have another last digit than those that load it.
    assert_same_results(tmp_path, 1e-9)
    assert [calls[0], calls[-1]] == [(0, 21), (21, 21)]
    assert sorted(np.diff([done for done, _ in calls])) == [2, 3, 4, 4, 4, 4]  # in any order


@pytest.mark.parametrize("shared", [True, "cell", ("cell", "half")])
def test_a_shared_lambda_is_that_of_all_blocks(tmp_path, noisy, shared):
    states = {"cell": ["B", "C"] * 3, "half": [0, 0, 0, 1, 1, 1], "cycle": np.arange(6)}
    spectra = drt.Spectra(noisy.frequency, noisy.impedance, states)
    drt.write_spectra(tmp_path / "a.h5", spectra)
    method = drt.Tikhonov(shared=shared)
    expected = drt.invert(spectra, method)
    drt.invert_file(tmp_path / "a.h5", tmp_path / "out.h5", method=method, block=1)
    found = drt.read_inversion(tmp_path / "out.h5")
    np.testing.assert_array_equal(found.regularisation, expected.regularisation)
    np.testing.assert_allclose(found.gamma, expected.gamma, rtol=1e-12)
    assert found.method == method


def test_a_shared_lambda_needs_its_state(campaign, tmp_path):
    with pytest.raises(UnknownNameError, match=r"'cell'.*'voltage'"):
        drt.invert_file(campaign, tmp_path / "out.h5", method=drt.Tikhonov(shared="cell"))
    assert [item.name for item in tmp_path.iterdir()] == ["campaign.h5"]


def assert_same_results(tmp_path, tolerance=0.0):
    for grid in ("long", "short"):
        a, b = (drt.read_inversion(tmp_path / name, grid=grid) for name in ("a.h5", "b.h5"))
        for name in ("status", *RESULTS):
            # How far a solution is from the optimum is nothing but rounding.
            least = 1e-8 if name == "optimality" and tolerance else 0.0
            np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=tolerance, atol=least, err_msg=name)
        pd.testing.assert_frame_equal(a.states, b.states)


def test_states_are_stored_as_they_were(campaign, tmp_path):
    with h5py.File(campaign, "a") as file:
        file["spectra/long/cycle"].attrs["units"] = "1"
        file["spectra/long/cycle"].attrs["remark"] = "counted from 1"
    drt.invert_file(campaign, tmp_path / "out.h5", method=Copying())
    with h5py.File(campaign) as file, h5py.File(tmp_path / "out.h5") as out:
        for name in ("cycle", "cell", "date"):
            before, after = file[f"spectra/long/{name}"], out[f"inversions/default/long/{name}"]
            assert after.dtype == before.dtype
            assert attributes(after) == attributes(before)
        assert attributes(out["inversions/default/long/cycle"])["remark"] == ("counted from 1", "str")


def attributes(dataset):
    """Values and types of what is not HDF5's own."""
    found = {name: value for name, value in dataset.attrs.items() if name.islower() or name == "_FillValue"}
    text = {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
    return {name: (value, "str" if isinstance(value, str) else value.dtype) for name, value in text.items()}


def test_provenance(campaign, tmp_path):
    drt.invert_file(campaign, tmp_path / "out.h5", method=METHOD)
    for info in scan(tmp_path / "out.h5").inversions:
        assert info.source == "campaign.h5"
        assert info.input_digest == "sha256:" + hashlib.sha256(campaign.read_bytes()).hexdigest()
        assert info.settings == json.loads(json.dumps(METHOD.settings()))
    assert str(tmp_path).encode() not in (tmp_path / "out.h5").read_bytes()


def test_progress(campaign, tmp_path):
    calls = []
    summary = drt.invert_file(
        campaign, tmp_path / "out.h5", method=Copying(), block=5, progress=lambda *args: calls.append(args)
    )
    assert [(done, total) for done, total, _ in calls] == [(done, 21) for done in (0, 5, 10, 15, 18, 21)]
    assert calls[0][2] == {"ok": 0}
    assert calls[1][2] == {"ok": 4, "not finite": 1}
    assert calls[-1][2] == summary.counts


def test_rows_stay_in_place_over_many_chunks(tmp_path):
    with SpectraWriter(tmp_path / "a.h5") as writer:
        for first in range(0, 20_000, 5_000):
            writer.append(numbered(5_000, first=first))
    drt.invert_file(tmp_path / "a.h5", tmp_path / "out.h5", method=Copying())
    found = drt.read_inversion(tmp_path / "out.h5")
    np.testing.assert_array_equal(found.states["row"], np.arange(20_000))
    np.testing.assert_array_equal(found.coefficients, np.arange(20_000)[:, None] + np.arange(10) / 100)
    np.testing.assert_array_equal(found.r_inf, np.arange(20_000) + 0.11)
    with h5py.File(tmp_path / "out.h5") as file:
        gamma = file["inversions/default/default/gamma"]
        rows = gamma.chunks[0]
        assert rows & (rows - 1) == 0
        assert 256 * 1024 <= rows * 10 * 8 <= 1024 * 1024


@pytest.fixture
def little_garbage():
    """Let garbage be collected soon, and not be looked for among what others have left."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50, 5, 5)
    yield
    gc.set_threshold(*before)


@pytest.mark.slow
@pytest.mark.usefixtures("little_garbage")
def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = {}
    # The longer ones have chunks of the largest size, of which the writer holds one. What a process loads and makes
    # once is there after the first.
    for rows in (2_000, 20_000, 40_000):
        path = tmp_path / f"{rows}.h5"
        with SpectraWriter(path) as writer:
            for first in range(0, rows, 2_000):
                writer.append(numbered(2_000, first=first))
        tracemalloc.start()
        # On one thread: with several, what is held at a time depends on chance.
        drt.invert_file(path, tmp_path / f"{rows}.drt.h5", method=Copying(), block=2048, scheduler="inline")
        peaks[rows] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # One more column of the longer file would be 160,000 bytes.
    assert peaks[40_000] < peaks[20_000] + 80_000


@pytest.mark.slow
def test_memory_of_writing_does_not_grow(tmp_path):
    peaks = {}
    for blocks in (8, 40):
        tracemalloc.start()
        with SpectraWriter(tmp_path / f"{blocks}.h5") as writer:
            for k in range(blocks):
                writer.append(numbered(1024, first=1024 * k))
        peaks[blocks] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[40] < peaks[8] + 100_000


@pytest.mark.slow
def test_blocks_end_where_chunks_do(tmp_path):
    drt.write_spectra(tmp_path / "a.h5", numbered(20_000))
    chunk = scan(tmp_path / "a.h5").spectra[0].chunk
    for block, first in ((None, 4), (chunk + 1, chunk), (3 * chunk - 1, 2 * chunk), (1000, 1000)):
        seen = []
        drt.invert_file(
            tmp_path / "a.h5",
            tmp_path / "out.h5",
            method=Copying(),
            block=block,
            overwrite=True,
            progress=lambda done, *_, seen=seen: seen.append(done),
        )
        assert seen[1] == first
        assert seen[-1] == 20_000
        assert chunk % first == 0 or first % chunk == 0 or block == 1000


def test_no_spectra_at_all(tmp_path):
    drt.write_spectra(tmp_path / "a.h5", {"empty": numbered(0), "full": numbered(3)})
    summary = drt.invert_file(tmp_path / "a.h5", tmp_path / "out.h5", method=Copying())
    assert (summary.spectra, summary.failed) == (3, 0)
    assert summary.counts == {"ok": 0, "extrapolated": 3}  # most of the γ that it returns lies beyond the data
    assert len(drt.read_inversion(tmp_path / "out.h5", grid="empty")) == 0
    drt.invert_file(tmp_path / "a.h5", tmp_path / "out.h5", method=Copying(), overwrite=True)
    with pytest.raises(drt.FileFormatError, match=r"out\.h5: holds no spectra"):
        drt.invert_file(tmp_path / "out.h5", tmp_path / "out2.h5")


# Whole output or none, input untouched


FAILURES = {
    "error": (RuntimeError("in the middle"), 1, None),
    "error, overwrite": (RuntimeError("in the middle"), 1, b"what was there"),
    "interrupt": (KeyboardInterrupt(), 1, None),
    "interrupt, overwrite, workers": (KeyboardInterrupt(), 2, b"what was there"),
}


@pytest.mark.parametrize(
    ("error", "workers", "before"),
    [pytest.param(*values, id=name, marks=[pytest.mark.slow] * (values[1] > 1)) for name, values in FAILURES.items()],
)
@pytest.mark.usefixtures("lent_processes")
def test_a_job_that_fails_leaves_blocks_and_nothing_under_its_name(campaign, tmp_path, error, workers, before):
    out = tmp_path / "out.h5"
    if before is not None:
        out.write_bytes(before)

    def stop(done, *_):
        if done >= 8:
            raise error

    content = campaign.read_bytes()
    job = {"method": METHOD, "block": 4, "workers": workers, "overwrite": before is not None}
    with pytest.raises(type(error)) as caught:
        drt.invert_file(campaign, out, progress=stop, **job)
    if isinstance(error, KeyboardInterrupt):
        assert (caught.value.done, caught.value.total) == (8, 21)
        assert "8 of 21" in str(caught.value)
    assert {item.name for item in tmp_path.iterdir()} == {"campaign.h5", ".out.h5.job"} | (
        set() if before is None else {"out.h5"}
    )
    assert campaign.read_bytes() == content
    assert before is None or out.read_bytes() == before
    summary = drt.invert_file(campaign, out, **job | {"workers": 1})
    assert summary.kept >= 8
    assert summary.counts == {"ok": 19, "points missing": 1, "not finite": 1}
    out.rename(tmp_path / "b.h5")
    drt.invert_file(campaign, tmp_path / "a.h5", method=METHOD)
    assert_same_results(tmp_path)
    assert {item.name for item in tmp_path.iterdir()} == {"campaign.h5", "a.h5", "b.h5"}


def test_ctrl_c_before_the_first_block_leaves_nothing(campaign, tmp_path):
    def press(*_):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(drt.JobInterrupted, match="0 of 21"):
        drt.invert_file(campaign, tmp_path / "out.h5", method=Copying(), block=4, progress=press)
    assert [item.name for item in tmp_path.iterdir()] == ["campaign.h5"]


def test_ctrl_c_waits_for_the_end_of_a_write():
    steps = []

    def write():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            steps.append("written")
        steps.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert steps == ["written"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_input_is_only_read(campaign, tmp_path, monkeypatch):
    opened = []
    original = h5py.File.__init__

    def watch(self, name, mode="r", **options):
        if isinstance(name, str | Path | io.IOBase):  # not h5py's own handles of what is open
            opened.append((str(name), mode))
        original(self, name, mode, **options)

    monkeypatch.setattr(h5py.File, "__init__", watch)
    campaign.chmod(0o444)
    before, stamp = campaign.read_bytes(), campaign.stat().st_mtime_ns
    drt.invert_file(campaign, tmp_path / "out.h5", method=Copying(), block=4)
    assert {mode for name, mode in opened if name == str(campaign)} == {"r"}
    assert [mode for name, mode in opened if name != str(campaign)] == ["w"]
    assert (campaign.read_bytes(), campaign.stat().st_mtime_ns) == (before, stamp)


def test_refuses_to_write_over_the_input(campaign, tmp_path, monkeypatch):
    before = campaign.read_bytes()
    (tmp_path / "link.h5").symlink_to(campaign)
    monkeypatch.chdir(tmp_path)
    for out in (campaign, "campaign.h5", "./link.h5"):
        with pytest.raises(drt.InputError, match="is an input of this run"):
            drt.invert_file(campaign, out, method=Copying(), overwrite=True)
    assert campaign.read_bytes() == before


def test_refuses_before_it_begins(campaign, tmp_path):
    (tmp_path / "out.h5").write_bytes(b"mine")

    def never(*_):
        raise AssertionError

    with pytest.raises(drt.OutputExistsError, match=r"out\.h5: exists already"):
        drt.invert_file(campaign, tmp_path / "out.h5", progress=never)
    for options in ({"workers": 0}, {"workers": 1.5}, {"block": 0}, {"name": "a/b"}, {"compression": "zip"}):
        with pytest.raises(drt.InputError, match=next(iter(options))):
            drt.invert_file(campaign, tmp_path / "new.h5", progress=never, **options)
    with pytest.raises(TypeError, match="blocks"):
        drt.invert_file(campaign, tmp_path / "new.h5", progress=never, blocks=3)
    assert (tmp_path / "out.h5").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_input_that_changes_is_noticed(campaign, tmp_path):
    def touch(done, *_):
        if done == 8:
            with campaign.open("ab") as file:
                file.write(b"\0")

    with pytest.raises(drt.FileFormatError, match="changed while it was read"):
        drt.invert_file(campaign, tmp_path / "out.h5", method=Copying(), block=4, progress=touch)
    assert not (tmp_path / "out.h5").exists()


@dataclass(frozen=True)
class Dying(drt.Tikhonov):
    """A method that ends the process that solves with it."""

    def solve(self, *args):
        os._exit(7)


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line(campaign, tmp_path, capfd):
    job = {"method": Dying(), "scheduler": "processes", "workers": 1, "block": 4}
    with pytest.raises(drt.DRTError, match=r"^[^\n]*worker processes died 3 times[^\n]*$"):
        drt.invert_file(campaign, tmp_path / "out.h5", **job)
    # Processes write to the same place as this one.
    assert capfd.readouterr() == ("", "")
    assert {item.name for item in tmp_path.iterdir()} == {"campaign.h5"}


def test_one_place_imports_h5py():
    package = Path(drt.__file__).parent
    found = {
        path.parent.name
        for path in package.rglob("*.py")
        if any(line.strip().startswith(("import h5py", "from h5py")) for line in path.read_text().splitlines())
    }
    assert found == {"hdf5"}
