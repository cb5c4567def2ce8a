"""A person waits knowingly: bars, lines while kernels compile, and results that show themselves in a notebook."""

import io
import logging
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine import progress
from drt_engine.cli import running
from drt_engine.inversion import invert_block

EVIL = "<script>alert(1)</script>\x1b[31m"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_comes_after_two_seconds_where_somebody_looks(monkeypatch):
    told = Terminal()
    monkeypatch.setattr(sys, "stderr", told)
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    with progress.shown(40) as tick:
        tick(10)
        tick(30)
    assert "inverting" in told.getvalue()
    monkeypatch.setattr(progress, "_SECONDS", 60.0)
    told.truncate(0)
    with progress.shown(40) as tick:
        tick(40)
    assert "inverting" not in told.getvalue()


def test_nobody_is_told_where_nobody_looks(noisy, capsys):
    drt.invert(noisy, drt.Tikhonov(regularisation=1e-3))
    assert capsys.readouterr() == ("", "")


def test_every_spectrum_is_counted_once(noisy):
    counted = []
    invert_block(noisy, drt.Tikhonov(regularisation=1e-3), tick=counted.append)
    assert sum(counted) == len(noisy)


@pytest.mark.slow
def test_a_line_says_that_kernels_are_compiled(tmp_path):
    code = (
        "import numba, numpy as np\n"
        "from drt_engine.threads import run_tiles\n"
        "@numba.njit\ndef double(x):\n    return 2 * x\n"
        "run_tiles(lambda tile: double(tile), [1.0])\n"
        "run_tiles(lambda tile: double(tile), [2])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("Compiling the numerical kernels") == 1


def test_a_job_says_that_it_runs_before_the_first_block_is_done(monkeypatch):
    told = []
    monkeypatch.setattr(running, "say", lambda text, **_: told.append(text))
    monkeypatch.setattr(running, "_SECONDS_TO_FIRST_LINE", 1.0)
    with running._shown() as show:
        show(0, 3939, {"ok": 0})
        end = time.monotonic() + 10
        while not told and time.monotonic() < end:
            time.sleep(0.01)
    assert told == ["0 of 3939 spectra, 0/s, nothing done yet: inverting"]


def test_spectra_and_results_show_themselves_and_harm_nobody(noisy, caplog):
    caplog.set_level(logging.ERROR)
    z = noisy.impedance.copy()
    z[0] = np.nan
    spectra = drt.Spectra(noisy.frequency, np.concatenate([z, z]), {"cell": [EVIL] * 12, EVIL: range(12)})
    result = drt.invert(spectra, drt.Tikhonov(regularisation=1e-3))
    for shown in (spectra._repr_html_(), result._repr_html_()):
        assert "<script" not in shown
        assert "\x1b" not in shown
        assert "&lt;script&gt;" in shown
        assert "<table" in shown
        assert "8 of 12 spectra are shown" in shown
    assert "not finite" in result._repr_html_()
    assert "Measure again" in result._repr_html_()
    assert f"{result.r_pol[11]:.6f}" in result._repr_html_()
    assert "spectra are shown" not in spectra[:3]._repr_html_()
    peaks = result[1:3].peaks()
    assert isinstance(peaks, pd.DataFrame)
    assert "<script" not in peaks._repr_html_()
