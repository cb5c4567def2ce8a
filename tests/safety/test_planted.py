"""Folders that lie where a job would keep what it has done, and were put there by somebody else."""

import json
import os

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.jobs.journal import Journal, load_part

METHOD = drt.Tikhonov(regularisation=1e-3, basis="piecewise-linear")
MARK = "what-is-this.txt"


def plan(**changes):
    return {"id": "0" * 32, "started": "2026-01-01T00:00:00+00:00"} | changes


def marked(folder, **files):
    folder.mkdir()
    (folder / MARK).write_text("a mark")
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)


def a_link_to_a_folder(folder, others):
    marked(others / "marked", lock="", plan_json=json.dumps(plan()))
    folder.symlink_to(others / "marked", target_is_directory=True)


def a_link_to_nowhere(folder, others):
    folder.symlink_to(others / "nowhere", target_is_directory=True)


def a_file(folder, others):
    folder.write_text("thesis")


def a_folder_of_other_things(folder, others):
    folder.mkdir()
    (folder / "thesis.tex").write_text("thesis")


def other_things_beside_ours(folder, others):
    marked(folder, thesis_tex="thesis", lock="")


def blocks_without_a_mark(folder, others):
    folder.mkdir()
    (folder / "results-0-0-9-00000000.part").write_text("thesis")


def a_folder_in_it(folder, others):
    marked(folder)
    (folder / "output.partial").mkdir()
    (folder / "output.partial" / "thesis.tex").write_text("thesis")


def a_link_as_lock(folder, others):
    marked(folder)
    (folder / "lock").symlink_to(others / "made")


def a_hard_link_as_lock(folder, others):
    marked(folder)
    (folder / "lock").hardlink_to(others / "thesis.tex")


def a_link_as_plan(folder, others):
    marked(folder)
    (folder / "plan.json").symlink_to(others / "thesis.tex")


def a_pipe_as_plan(folder, others):
    marked(folder)
    os.mkfifo(folder / "plan.json")


def a_pipe_as_lock(folder, others):
    marked(folder)
    os.mkfifo(folder / "lock")


def a_pipe_as_block(folder, others):
    marked(folder, plan_json=json.dumps(plan()))
    os.mkfifo(folder / "results-0-0-9-00000000.part")


def a_link_as_mark(folder, others):
    folder.mkdir()
    (folder / MARK).symlink_to(others / "thesis.tex")


def a_nested_plan(folder, others):
    marked(folder, plan_json="[" * 10**5)


def a_deep_plan(folder, others):
    marked(folder, plan_json='{"a":' * 10**5 + "1" + "}" * 10**5)


def a_huge_plan(folder, others):
    marked(folder)
    with open(folder / "plan.json", "wb") as file:
        file.truncate(2**40)


PLANTED = (
    *(a_link_to_a_folder, a_link_to_nowhere, a_file, a_folder_of_other_things, other_things_beside_ours),
    *(blocks_without_a_mark, a_folder_in_it, a_link_as_lock, a_hard_link_as_lock, a_link_as_plan, a_pipe_as_plan),
    *(a_pipe_as_lock, a_pipe_as_block, a_link_as_mark, a_nested_plan, a_deep_plan, a_huge_plan),
)


def everything(folder):
    """What lies in a folder and below, links as links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        ordinary = path.is_file() and not path.is_symlink() and state.st_size < 10**6
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if ordinary else b""
        found[str(path.relative_to(folder))] = (state.st_mode, state.st_size, content)
    return found


@pytest.fixture
def small(tmp_path, noisy):
    path = tmp_path / "c.h5"
    drt.write_spectra(path, noisy[:2])
    return path


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("restart", [False, True])
def test_what_was_planted_is_refused_and_left_alone(plant, restart, small, tmp_path, quick, cli):
    others = tmp_path / "others"
    others.mkdir()
    (others / "thesis.tex").write_text("thesis")
    plant(tmp_path / ".out.h5.job", others)
    before = everything(tmp_path)
    options = ("--method", "tikhonov", "--regularisation", "1e-3", *(["--restart"] if restart else []))
    ran = cli("invert", small, "-o", tmp_path / "out.h5", *options)
    assert ran.refused("out.h5: cannot be written: .out.h5.job", "remove", str(tmp_path / ".out.h5.job"))
    assert everything(tmp_path) == before


def test_the_folder_of_another_user_is_refused(small, tmp_path, monkeypatch):
    marked(tmp_path / ".out.h5.job")
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(drt.FileWriteError, match=r"\.out\.h5\.job belongs to another user.*remove"):
        drt.invert_file(small, tmp_path / "out.h5", method=METHOD)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("files", [{}, {"lock": ""}, {MARK + ".ab12.partial": "The"}])
def test_what_a_killed_job_leaves_before_its_mark_is_taken_up(files, small, tmp_path, quick):
    folder = tmp_path / ".out.h5.job"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    drt.invert_file(small, tmp_path / "out.h5", method=METHOD)
    assert not folder.exists()


@pytest.mark.slow
def test_a_planted_identity_is_no_path(small, tmp_path, quick):
    folder = tmp_path / ".out.h5.job"
    (tmp_path / "else").mkdir()
    taken = []

    def look(done, *_):
        taken.append(json.loads((folder / "plan.json").read_text()))

    drt.invert_file(small, tmp_path / "out.h5", method=METHOD, progress=look)
    (tmp_path / "out.h5").unlink()
    marked(folder, plan_json=json.dumps(taken[0] | {"id": "/../../else/x"}))
    drt.invert_file(small, tmp_path / "out.h5", method=METHOD)
    assert list((tmp_path / "else").iterdir()) == []
    assert not folder.exists()
    for odd in ({"id": 5}, {"id": ["0" * 32]}, {"started": "\x1b[31m"}, {"started": None}):
        marked(folder, plan_json=json.dumps(taken[0] | odd))
        drt.invert_file(small, tmp_path / "out.h5", method=METHOD, overwrite=True)
        assert drt.read_inversion(tmp_path / "out.h5").solved.all()


@pytest.mark.parametrize("names", [(), ("values",)])
def test_blocks_whose_checksum_was_made_to_hold_are_damaged_all_the_same(names, tmp_path):
    import io
    import zlib

    huge = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
    huge = huge.ljust(127) + b"\n"
    listed = io.BytesIO()
    np.save(listed, np.array(["values"]))
    for content in (
        b"",
        b"x" * 50,
        huge,
        listed.getvalue(),
        listed.getvalue() + huge,
        listed.getvalue() + b"\x93NUMPY",
    ):
        path = tmp_path / "a.part"
        path.write_bytes(content + zlib.crc32(content).to_bytes(4, "big"))
        assert load_part(path, names or None) is None


def test_the_folder_is_for_its_user_alone(tmp_path):
    journal = Journal(tmp_path / "out.h5")
    with journal.held():
        assert journal.folder.stat().st_mode & 0o077 == 0
