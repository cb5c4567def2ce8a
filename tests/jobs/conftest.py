"""The command line in this process, and a campaign for it."""

import logging
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command left behind: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def refused(self, *words):
        """Whether it ended with 2 and one line that has these words in it."""
        one_line = self.err.startswith("drt-engine: ") and self.err.count("\n") == 1
        return (self.code, one_line, self.out) == (2, True, "") and all(word in self.err for word in words)


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run ``drt-engine`` in this process, without lines on how far it is; what is no exit code is an exception."""
    for wait in ("_SECONDS_TO_FIRST_LINE", "_SECONDS_A_LINE"):
        monkeypatch.setattr(f"drt_engine.cli.running.{wait}", 1e9)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["drt-engine", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        return Ran(code, *capsys.readouterr())

    jobs = logging.getLogger("drt_engine.jobs.job")
    level = jobs.level
    yield run
    jobs.setLevel(level)


@pytest.fixture
def quick(monkeypatch):
    """Do not wait for the disk: nobody cuts the power during a test."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(scope="session")
def two_grids(noisy):
    """Spectra on two grids with text, numbers and missing values as states; row 4 of the first has no solution."""
    z = np.tile(noisy.impedance, (3, 1)) * np.linspace(1.0, 2.0, 18)[:, None]
    z[4] = np.nan
    z[7, 3:5] = np.inf
    states = {
        "cell": ["B", None, "C"] * 6,
        "direction": ["charge", "discharge"] * 9,
        "cycle": np.arange(18),
        "voltage": np.linspace(4.7, 2.2, 18),
    }
    short = drt.Spectra(noisy.frequency[::2], z[8:13, ::2], {"cell": list("XYZXY"), "cycle": np.arange(5)})
    return {"long": drt.Spectra(noisy.frequency, z, states), "short": short}


@pytest.fixture
def campaign(tmp_path, two_grids):
    """A file of 23 spectra on two grids."""
    path = tmp_path / "campaign.h5"
    drt.write_spectra(path, two_grids)
    return path


@pytest.fixture
def out(tmp_path):
    """Where the output goes."""
    return tmp_path / "out.h5"
