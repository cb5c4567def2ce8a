"""The benchmark of the whole job runs, and finds every stage where it looks for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCALE = ROOT / "benchmarks" / "scale.py"


def scale(*options):
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, SCALE, *options],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_scale_accounts_for_every_spectrum_and_all_of_the_time(tmp_path):
    done = scale("--spectra", "200", "--frequencies", "31", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    head, row = done.stdout.splitlines()[1:3]
    assert head.split()[:5] == ["spectra", "seconds", "us/spectrum", "cpu", "us"]
    assert head.split()[5:] == ["peak", "MB", "start", "s", "optimality", "status"]
    spectra, seconds, each, busy, megabytes, _, optimality = row.split()[:7]
    assert int(spectra) == 200
    assert float(seconds) * 1e6 / 200 == pytest.approx(float(each), abs=1e6 * 0.005 / 200)
    # As many times as there are processors at most, but for the hundredth of a second that they may count wrong.
    assert 0.0 < float(busy) < (os.cpu_count() or 1) * (float(each) + 1e4 / 200)
    assert 50 < float(megabytes) < 1500
    assert float(optimality) <= 1e-8
    counts = {name: int(count) for count, name in re.findall(r"(\d+) ([a-z][a-z ]+)", row)}
    assert 180 <= counts["ok"] <= 200
    assert counts["ok"] + counts.get("lambda at edge", 0) == 200
    shares = dict(re.findall(r"^([a-z][\w ]+?) +([\d.]+)$", done.stdout, re.MULTILINE))
    assert sum(map(float, shares.values())) == pytest.approx(100, abs=0.05 * len(shares))
    for stage in ("read", "choice of λ", "solve", "certificate", "rest of invert", "evaluate", "write"):
        assert float(shares[stage]) > 0, stage


def test_scale_refuses_what_is_no_number_of_spectra():
    done = scale("--spectra", "0.5")
    assert done.returncode == 2
    assert "whole number" in done.stderr
