import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_job_that_is_killed_at_any_moment_ends_with_the_same_file():
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("killing.py"), "--kills=20", "--spectra=5000"],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    kills, done, kept, again = map(int, re.findall(r"\d+", ran.stdout))
    assert kills >= 20
    assert done > 0
    assert kept > 1
    assert again == 0
