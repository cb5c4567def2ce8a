import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drt_engine.cli.dashboard import sparkline

ROOT = Path(__file__).parents[2]


def killed(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.watch.killing", *arguments],
        env=os.environ | {"PYTHONPATH": ":".join([str(ROOT), *sys.path])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def check(ran, kills, sweeps):
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = re.search(r"(\d+) kills, (\d+) good sweeps each there once, (\d+) broken files reported", ran.stdout)
    found, good, broken = map(int, said.groups())
    assert (found, good) == (kills, sweeps)
    assert broken >= 2
    # As the page on watch says; frequencies of a batch may have the digits of another file.
    assert float(re.search(r"differ from a batch by ([\d.e+-]+);", ran.stdout).group(1)) < 0.005


@pytest.mark.long
@pytest.mark.slow
def test_a_watch_that_is_killed_often_has_every_sweep_once():
    check(killed("--sweeps=32", "--kills=10", "--seconds=20", "--seed=1"), 10, 32)


def test_bars_go_from_the_least_to_the_greatest():
    assert sparkline([1.0, 4.5, 8.0, float("nan"), 1.0]) == "▁▅█ ▁"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([]) == ""
