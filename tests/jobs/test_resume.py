"""A job that goes on from what another one left: what must be the same, what is damaged, and who is refused."""

import json
import threading
from functools import cache

import h5py
import numpy as np
import pytest

import drt_engine as drt
from drt_engine.jobs import JobSummary
from drt_engine.jobs.journal import save_part

from .killing import arrays

METHOD = ("--method", "tikhonov", "--regularisation", "1e-3", "--basis", "piecewise-linear")
FIXED = drt.Tikhonov(regularisation=1e-3, basis="piecewise-linear")
SHARED = drt.Tikhonov(shared="cell")


pytestmark = pytest.mark.usefixtures("quick")


class Enough(Exception):
    """Ends a job from outside."""


def unfinished(path, out, stop=8, **job):
    """Leave a job when so many spectra are done."""

    def progress(done, *_):
        if done >= stop:
            raise Enough

    with pytest.raises(Enough):
        drt.invert_file(path, out, progress=progress, **({"method": FIXED, "block": 4, "scheduler": "inline"} | job))
    return out.with_name(f".{out.name}.job")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=[FIXED, SHARED, drt.LogGaussian()], ids=["fixed", "shared", "log-gaussian"])
def method(request):
    return request.param


@pytest.fixture(scope="module")
def answers(two_grids, tmp_path_factory):
    """What each method has to find, made once."""
    folder = tmp_path_factory.mktemp("expected")
    drt.write_spectra(folder / "campaign.h5", two_grids)

    @cache
    def of(method):
        drt.invert_file(folder / "campaign.h5", folder / "out.h5", method=method, overwrite=True)
        return arrays(folder / "out.h5")

    return of


@pytest.fixture
def expected(answers, method):
    return answers(method)


# What may differ and what may not


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"block": 5},
        {"block": None},
        {"scheduler": "inline"},
        {"workers": 2},
        {"name": "other"},
        {"compression": "gzip"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("lent_processes")
def test_an_unfinished_job_goes_on_with_other_options(campaign, answers, out, options):
    expected = answers(FIXED)
    unfinished(campaign, out)
    summary = drt.invert_file(campaign, out, method=FIXED, **options)
    assert (summary.spectra, summary.kept) == (23, 8)
    name = options.get("name", "default")
    assert {key.replace(f"/{name}/", "/default/"): value for key, value in arrays(out).items()} == expected
    assert names(out.parent) == ["campaign.h5", "out.h5"]


def test_an_unfinished_job_goes_on_in_single_precision(campaign, out):
    unfinished(campaign, out)
    assert drt.invert_file(campaign, out, method=FIXED, dtype="float32").kept == 8
    with h5py.File(out) as file:
        assert file["inversions/default/long/gamma"].dtype == np.float32
    expected = drt.invert(drt.read_spectra(campaign, "long"), FIXED)
    found = drt.read_inversion(out, grid="long")
    np.testing.assert_array_equal(found.status, expected.status)
    for name in ("gamma", "coefficients", "r_inf", "r_pol", "residual"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--regularisation", "1e-2"), "method: regularisation was 0.001 and is 0.01"),
        (("--order", "2"), "method: order was 1 and is 2"),
        (("--shared", "cell", "--regularisation", "gcv"), "method: regularisation was 0.001 and is 'gcv'"),
        (("--where", "cycle > 2"), "where was None and is 'cycle > 2'"),
    ],
)
def test_other_settings_are_refused_until_restarted(campaign, out, cli, options, said):
    folder = unfinished(campaign, out)
    kept = names(folder)
    job = ("invert", campaign, "-o", out, *METHOD, *options)
    ran = cli(*job)
    assert ran.refused("out.h5: a job that was not finished left blocks in .out.h5.job", said, "Say restart")
    assert "repeat that job as it was" in ran.err
    assert names(folder) == kept
    assert not out.exists()
    ran = cli(*job, "--restart")
    assert (ran.code, "done before" in ran.out) == (0, False)
    assert names(out.parent) == ["campaign.h5", "out.h5"]
    # And it is what it would have been without the other job.
    found = arrays(out)
    assert cli(*job, "--overwrite").code == 0
    assert arrays(out) == found


def test_another_input_is_refused_until_restarted(campaign, two_grids, out, cli):
    unfinished(campaign, out)
    drt.write_spectra(campaign, two_grids | {"long": two_grids["long"][::-1]}, overwrite=True)
    ran = cli("invert", campaign, "-o", out, *METHOD)
    assert ran.refused("out.h5: a job that was not finished", "input was 'sha256:", "Say restart")
    ran = cli("invert", campaign, "-o", out, *METHOD, "--restart")
    assert (ran.code, "done before" in ran.out) == (0, False)
    found = drt.read_inversion(out, grid="long")
    expected = drt.invert(two_grids["long"][::-1], FIXED)
    np.testing.assert_allclose(found.gamma, expected.gamma, rtol=1e-12)
    np.testing.assert_array_equal(found.states["cycle"], np.arange(18)[::-1])


def test_other_versions_are_refused(campaign, out, cli, monkeypatch):
    unfinished(campaign, out)
    monkeypatch.setattr("drt_engine.jobs.job.versions", lambda: {"drt-engine": "99"})
    ran = cli("invert", campaign, "-o", out, *METHOD)
    assert ran.refused("out.h5: a job that was not finished", "versions: drt-engine was ", "and is '99'")


@pytest.mark.slow
def test_the_command_line_goes_on_from_the_same_job_in_python(campaign, out, cli):
    unfinished(campaign, out, method=SHARED)
    assert "8 of them done before" in cli("invert", campaign, "-o", out, "--method", "tikhonov", "--shared", "cell").out


def test_the_same_content_in_another_file_goes_on(campaign, out, cli):
    unfinished(campaign, out)
    moved = campaign.rename(campaign.with_name("moved.h5"))
    assert "8 of them done before" in cli("invert", moved, "-o", out, *METHOD).out


# Blocks that are damaged or lost


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "flipped": flipped,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "empty": lambda path: path.write_bytes(b""),
    "lost": lambda path: path.unlink(),
    "of other shape": lambda path: save_part(path, {"status": np.zeros(4, np.uint8), "sums": np.zeros((1, 2), int)}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kind"), [(FIXED, "results"), (SHARED, "scores")], indirect=["method"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_before_a_job_goes_on(campaign, out, expected, method, kind, damage, caplog):
    folder = unfinished(campaign, out, method=method)
    path = sorted(folder.glob(f"{kind}-*.part"))[0]
    damage(path)
    drt.invert_file(campaign, out, method=method)
    assert arrays(out) == expected
    assert names(out.parent) == ["campaign.h5", "out.h5"]
    if damage is not DAMAGE["lost"]:
        assert f"{path.name} is damaged and is made again" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("method", [FIXED, SHARED], indirect=True, ids=["fixed", "shared"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_after_the_last_block(campaign, out, expected, method, damage):
    folder = out.with_name(f".{out.name}.job")
    calls = []

    def progress(done, total, counts):
        calls.append((done, dict(counts)))
        if done == total and len(calls) < 9:
            for kind in ("results", "scores"):
                for path in sorted(folder.glob(f"{kind}-*.part"))[:1]:
                    damage(path)

    summary = drt.invert_file(campaign, out, method=method, block=4, progress=progress)
    assert arrays(out) == expected
    # Counted again, not twice.
    assert calls[-1] == (23, summary.counts)
    assert 23 in [done for done, _ in calls[:-1]]
    assert names(out.parent) == ["campaign.h5", "out.h5"]


def test_scores_that_are_damaged_in_between(campaign, answers, out, monkeypatch):
    expected = answers(SHARED)
    from drt_engine.jobs.job import _Job

    totals, damaged = _Job._totals, []

    def late(self, block):
        if not damaged:
            damaged.append(block)
            flipped(self._journal.path("scores", block))
        return totals(self, block)

    monkeypatch.setattr(_Job, "_totals", late)
    drt.invert_file(campaign, out, method=SHARED)
    assert damaged
    assert arrays(out) == expected


def test_a_disk_that_damages_every_block_ends_the_job(campaign, out):
    folder = out.with_name(f".{out.name}.job")

    def progress(done, total, _):
        if done == total:
            flipped(next(folder.glob("results-*.part")))

    with pytest.raises(drt.FileWriteError, match=r"^[^\n]*out\.h5: cannot be written: .*damaged each time.*\.$"):
        drt.invert_file(campaign, out, method=FIXED, progress=progress)
    assert not out.exists()


@pytest.mark.slow
def test_blocks_of_workers_that_went_on_alone_are_counted_once(campaign, out, expected, method):
    # Their job was killed; the next one chose blocks of other sizes, and theirs come at any time.
    theirs = unfinished(campaign, out.with_name("other.h5"), stop=18, method=method, block=6)
    ours = unfinished(campaign, out, method=method)
    mark, their_mark = (json.loads((one / "plan.json").read_text())["id"][:8] for one in (ours, theirs))
    late = {path: ours / path.name.replace(their_mark, mark) for path in sorted(theirs.glob("*.part"))}
    calls = []

    def progress(done, _, counts):
        calls.append((done, sum(counts.values())))
        for path in list(late)[: len(late) // 2] if len(calls) == 2 else ():
            path.rename(late.pop(path))

    for path in list(late)[:2]:
        path.rename(late.pop(path))
    summary = drt.invert_file(campaign, out, method=method, block=5, progress=progress)
    assert arrays(out) == expected
    assert calls[-1] == (23, 23)
    assert summary.counts == {"ok": 21, "not finite": 1, "points missing": 1}


# Two jobs at once


@pytest.mark.slow
def test_a_second_job_is_refused_while_the_first_runs_on(campaign, answers, out, cli):
    expected = answers(FIXED)
    begun, go_on = threading.Event(), threading.Event()
    summaries = []

    def wait(done, *_):
        if done == 8:
            begun.set()
            go_on.wait(60)

    def first():
        summaries.append(drt.invert_file(campaign, out, method=FIXED, block=4, progress=wait))

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert begun.wait(60)
        for options in ((), ("--restart",), ("--overwrite",), ("--where", "cycle > 2", "--restart")):
            ran = cli("invert", campaign, "-o", out, *METHOD, *options)
            assert ran.refused("out.h5: another job is making it. Wait until it is done, or give another name.")
        assert cli("invert", campaign, "-o", out.with_name("other.h5"), *METHOD).code == 0
    finally:
        go_on.set()
        thread.join()
    assert [type(summary) for summary in summaries] == [JobSummary]
    assert summaries[0].kept == 0
    assert arrays(out) == expected
    assert names(out.parent) == ["campaign.h5", "other.h5", "out.h5"]
