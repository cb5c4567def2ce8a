"""The folder of a job: blocks whole or not at all, never those of another plan, and one job at a time."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import FileWriteError
from drt_engine.jobs.blocks import Block
from drt_engine.jobs.journal import Journal, load_part, save_part

PLAN = {"input": "sha256:1", "method": {"name": "Tikhonov", "order": 1}, "where": None, "versions": {"numpy": "2"}}
EMPTY = ["lock", "plan.json", "what-is-this.txt"]
ARRAYS = {"values": np.arange(12.0).reshape(3, 4), "status": np.array([0, 1, 16], dtype=np.uint8)}


@pytest.fixture
def journal(out):
    journal = Journal(out)
    with journal.held():
        journal.begin(PLAN, restart=False)
        yield journal


def keep(journal, *blocks, kind="results"):
    for block in blocks:
        save_part(journal.path(kind, block), ARRAYS)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_block_comes_back_as_it_was(tmp_path):
    path = tmp_path / "a.part"
    save_part(path, ARRAYS)
    found = load_part(path)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert set(load_part(path, ("status",))) == {"status"}
    assert load_part(path, ()) == {}
    assert load_part(tmp_path / "b.part") is None
    assert names(tmp_path) == ["a.part"]


def test_any_damage_to_a_block_is_noticed(tmp_path, quick):
    path = tmp_path / "a.part"
    save_part(path, ARRAYS)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        assert load_part(path) is None, at
        assert load_part(path, ("status",)) is None, at
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert load_part(path) is None, size
    path.write_bytes(whole + b"\0")
    assert load_part(path) is None


def test_a_block_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(
        FileWriteError, match=r"^[^\n]*nowhere.a\.part: cannot be written: No such file or directory\.$"
    ):
        save_part(tmp_path / "nowhere" / "a.part", ARRAYS)
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(FileWriteError, match=r"a\.part: cannot be written: File too large\.$"):
            save_part(tmp_path / "a.part", ARRAYS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_a_plan_is_taken_up_again(out):
    first = Journal(out)
    with first.held():
        identity = first.begin(PLAN, restart=False)
        keep(first, Block(0, 0, 3), Block(1, 5, 8))
        keep(first, Block(0, 0, 3), kind="scores")
    again = Journal(out)
    with again.held():
        assert again.begin(json.loads(json.dumps(PLAN)), restart=False) == identity
        assert again.plan["started"] == first.plan["started"]
        assert again.done("results") == [Block(0, 0, 3), Block(1, 5, 8)]
        assert again.done("scores") == [Block(0, 0, 3)]


def test_a_folder_without_blocks_goes_away(out):
    journal = Journal(out)
    with journal.held():
        journal.begin(PLAN, restart=False)
        assert names(journal.folder) == EMPTY
    assert names(out.parent) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input": "sha256:2"}, "input was 'sha256:1' and is 'sha256:2'"),
        ({"method": {"name": "Tikhonov", "order": 2}}, "method: order was 1 and is 2"),
        ({"method": {"name": "Tikhonov", "order": 1, "part": "re"}}, "method: part was None and is 're'"),
        ({"where": "cycle < 3"}, "where was None and is 'cycle < 3'"),
        ({"versions": {"numpy": "3"}}, "versions: numpy was '2' and is '3'"),
    ],
)
def test_another_plan_does_not_take_the_blocks(out, changes, said):
    journal = Journal(out)
    with journal.held():
        before = journal.begin(PLAN, restart=False)
        keep(journal, Block(0, 0, 3))
    with journal.held():
        with pytest.raises(drt.JobMismatchError) as caught:
            journal.begin(PLAN | changes, restart=False)
        assert str(out) in str(caught.value)
        assert said in str(caught.value)
        assert "Say restart" in str(caught.value)
    assert journal.folder.is_dir()
    with journal.held():
        assert journal.begin(PLAN | changes, restart=True) != before
        assert journal.done("results") == []
        assert names(journal.folder) == EMPTY


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text("[]")])
def test_blocks_whose_plan_is_lost_are_not_taken(out, damage):
    journal = Journal(out)
    with journal.held():
        journal.begin(PLAN, restart=False)
        keep(journal, Block(0, 0, 3))
    damage(journal.folder / "plan.json")
    with journal.held(), pytest.raises(drt.JobMismatchError, match="its plan is lost"):
        journal.begin(PLAN, restart=False)
    with journal.held():
        journal.begin(PLAN, restart=True)
        assert journal.done("results") == []


def test_what_a_worker_writes_after_its_job_is_over_is_not_taken(out):
    journal = Journal(out)
    with journal.held():
        journal.begin(PLAN, restart=False)
        late = journal.path("results", Block(0, 0, 3))
        keep(journal, Block(0, 3, 5))
    with journal.held():
        journal.begin(PLAN | {"where": "cycle < 3"}, restart=True)
        save_part(late, ARRAYS)
        assert journal.done("results") == []
        keep(journal, Block(0, 1, 2))
        assert journal.done("results") == [Block(0, 1, 2)]


def test_blocks_that_overlap_are_not_both_taken(journal):
    keep(journal, Block(0, 0, 4), Block(0, 0, 8), Block(0, 4, 6), Block(0, 8, 9))
    assert journal.done("results") == [Block(0, 0, 8), Block(0, 8, 9)]


def test_what_was_half_written_is_removed_and_what_is_not_the_jobs_is_left_out(journal):
    keep(journal, Block(0, 0, 4))
    for name in ("results-0-4-8-00.part.12.partial", "output.partial", "plan.json.partial"):
        (journal.folder / name).write_bytes(b"half")
    for name in ("notes.txt", "results-0-4.part", "results-0-4-x-00.part"):
        (journal.folder / name).write_bytes(b"what is this")
    journal.begin(PLAN, restart=False)
    assert journal.done("results") == [Block(0, 0, 4)]
    assert not list(journal.folder.glob("*.partial"))
    journal.remove()
    # What came in while the job ran is not the job's to remove.
    assert names(journal.folder) == ["notes.txt", "results-0-4-x-00.part", "results-0-4.part"]


def test_a_second_job_is_refused(journal, out):
    second = Journal(out)
    with pytest.raises(drt.OutputBusyError, match=r"out\.h5: another job is making it\. Wait"), second.held():
        raise AssertionError
    # Refusing it changed nothing for the first.
    keep(journal, Block(0, 0, 4))
    assert journal.done("results") == [Block(0, 0, 4)]
    with Journal(out.with_name("other.h5")).held():
        pass


def test_a_lock_that_was_removed_meanwhile_is_none(out, monkeypatch):
    journal = Journal(out)
    acquire = journal._lock.acquire
    times = []

    def late(**options):
        # The job before ends between the opening of the lock and its locking.
        times.append(acquire(**options))
        if len(times) == 1:
            shutil.rmtree(journal.folder)
        return times[-1]

    monkeypatch.setattr(journal._lock, "acquire", late)
    with journal.held():
        assert len(times) == 2
        with pytest.raises(drt.OutputBusyError), Journal(out).held():
            raise AssertionError


def test_what_the_system_refuses_is_one_line(tmp_path, out, monkeypatch):
    (tmp_path / ".out.h5.job").write_text("a file")
    with (
        pytest.raises(FileWriteError, match=r"out\.h5: cannot be written: \.out\.h5\.job is no folder"),
        Journal(out).held(),
    ):
        raise AssertionError
    with (
        pytest.raises(FileWriteError, match=r"out\.h5: cannot be written: .*No such file"),
        Journal(tmp_path / "nowhere" / "out.h5").held(),
    ):
        raise AssertionError
    (tmp_path / ".out.h5.job").unlink()
    journal = Journal(out)
    with journal.held():
        (journal.folder / "x.partial").mkdir()
        with pytest.raises(FileWriteError, match=r"^[^\n]*out\.h5: cannot be written: \.out\.h5\.job: [^\n]+\.$"):
            journal.begin(PLAN, restart=False)
