"""Job files from somebody else: what they cannot decide, and what is no job file."""

import os

import pytest

from drt_engine.errors import InputError
from drt_engine.methods import method_from_settings


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ('scheduler = "tcp://evil.example:8786"', "give its address on the command line"),
        ('scheduler = ""', "cannot be named by a job file"),
        ("workers = 100000", "256 workers at most; got 100000"),
        ("where = 'cycle < 9**9**9'", "it has a power"),
    ],
)
def test_what_a_job_file_cannot_decide(job, said, tmp_path, cli):
    (tmp_path / "job.toml").write_text(f'input = "c.h5"\n[job]\n{job}\n')
    assert cli("invert", tmp_path / "job.toml").refused(said)


def test_what_is_no_job_file(tmp_path, cli):
    path = tmp_path / "job.toml"
    os.mkfifo(path)
    assert cli("invert", path).refused("job.toml: is not a regular file")
    path.unlink()
    for content in ("x = " + "[" * 50_000, "x = " + "{a=" * 20_000, "a." * 30_000 + "b = 1"):
        path.write_text(content)
        ran = cli("invert", path)
        assert ran.code == 2
        assert ran.err.count("\n") == 1
    with path.open("wb") as file:
        file.truncate(2**40)
    assert cli("invert", path).refused("job files are read up to 65536")


@pytest.mark.parametrize("name", [["Tikhonov"], {"a": 1}, None, 5, "__class__"])
def test_a_method_is_chosen_by_a_known_name_only(name):
    with pytest.raises(InputError, match=r"method .* is not known"):
        method_from_settings({"name": name})
