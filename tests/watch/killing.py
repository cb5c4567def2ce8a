"""Kill a watch at random moments while an instrument writes, and compare what it has with all that was measured.

    python -m tests.watch.killing --sweeps 200 --kills 20 --seconds 150

The instrument and each watch are forks of this process, which has loaded everything, so that a kill costs no second
start.
"""

import argparse
import os
import random
import re
import signal
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.hdf5 import scan

from ..forking import fork
from . import instrument

QUIET = 30.0
"""After so many seconds without a new sweep the watch is taken to have all that it will."""


def watch(folder, campaign, log):
    """Follow the folder as the command does, with its lines in a file."""
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(opened, 1)
    app(["watch", str(folder), "-o", str(campaign)], standalone_mode=False)


def sweeps_of(campaign):
    """Impedance of each sweep by file and number, and how many rows there are."""
    found, rows = {}, 0
    for info in scan(campaign).spectra if campaign.is_file() else ():
        spectra = drt.read_spectra(campaign, info.grid)
        rows += len(spectra)
        keys = zip(spectra.states["source"], spectra.states["sweep"], strict=True)
        found |= {(source, int(sweep)): z for (source, sweep), z in zip(keys, spectra.impedance, strict=True)}
    return found, rows


def results_of(path):
    found = {}
    for info in scan(path).inversions:
        result = drt.read_inversion(path, info.name, info.grid)
        keys = zip(result.states["source"], result.states["sweep"], strict=True)
        found |= {(source, int(sweep)): gamma for (source, sweep), gamma in zip(keys, result.gamma, strict=True)}
    return found


def follow(folder, campaign, log, pieces, kills, chance):
    """Let the instrument write and the watch be killed; then let it finish. Return how often it was killed."""
    seconds, expected = pieces[-1].at, len({(piece.name) for piece in pieces})
    writing = fork(lambda: instrument.run(folder, pieces))
    moments = sorted(chance.uniform(0.0, seconds) for _ in range(kills))
    begin, killed = time.monotonic(), 0
    for moment in moments:
        child = fork(lambda: watch(folder, campaign, log))
        time.sleep(max(0.05, begin + moment - time.monotonic()))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"the watch ended by itself, having seen up to {expected} files"
        killed += 1
    child = fork(lambda: watch(folder, campaign, log))
    os.waitpid(writing, 0)
    before, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET and before < len(pieces):
        _, rows = sweeps_of(campaign)
        if rows != before:
            before, since = rows, time.monotonic()
        if rows >= follow.enough and _refused(log) >= follow.broken:
            break
        time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status), status
    assert os.WEXITSTATUS(status) == 0, status
    return killed


def _refused(log):
    return len(set(re.findall(r"^[\d:]+ (broken [^:]+): damaged", log.read_text(), re.MULTILINE)))


def batch(folder, place):
    """Import and invert the folder at once."""
    app(["import", str(folder), "-o", str(place / "batch.h5")], standalone_mode=False)
    drt.invert_file(place / "batch.h5", place / "batch.drt.h5")
    return place / "batch.h5", place / "batch.drt.h5"


def check(folder, place, good, broken, log):
    """Every good sweep once, as a batch has it; every broken file reported once by each watch. Return the figures."""
    found, rows = sweeps_of(place / "campaign.h5")
    lost, doubled = set(good) - set(found), rows - len(found)
    assert not lost, f"lost: {sorted(lost)}\n{log.read_text()}"
    assert rows == len(good), f"{doubled} rows twice, or too many: {sorted(set(found) - set(good))}"
    for key, number in good.items():
        np.testing.assert_allclose(found[key], instrument.impedance(number), rtol=1e-5)
    expected, _ = sweeps_of(batch(folder, place)[0])
    assert expected.keys() == found.keys()
    for key, z in expected.items():
        np.testing.assert_array_equal(found[key], z)
    gamma, batch_gamma = results_of(place / "campaign.drt.h5"), results_of(place / "batch.drt.h5")
    assert gamma.keys() == batch_gamma.keys()
    # From its own campaign a batch has the same to the bit; in its own, frequencies have the digits of another file.
    drt.invert_file(place / "campaign.h5", place / "again.drt.h5")
    for key, one in results_of(place / "again.drt.h5").items():
        np.testing.assert_array_equal(gamma[key], one)
    off = max(float(np.abs(gamma[key] - one).max() / np.abs(one).max()) for key, one in batch_gamma.items())
    lines = log.read_text()
    assert {name for name in broken if f"{name}: damaged" in lines} == broken
    late = [float(one) for one in re.findall(r"([\d.]+) s after its last byte", lines)]
    return off, late


def warm_up():
    """Load all that a watch needs."""
    pieces, _, _ = instrument.campaign(4, 0.01)
    with tempfile.TemporaryDirectory() as name:
        instrument.run(Path(name), pieces)
        app(["watch", name, "-o", f"{name}/campaign.h5", "--once", "--settle", "0"], standalone_mode=False)


def trial(sweeps, kills, seconds, seed=0):
    """Do all that, and return how often the watch was killed, how far results are off, and how late sweeps came."""
    pieces, good, broken = instrument.campaign(sweeps, seconds)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        folder, log = place / "measured", place / "log"
        folder.mkdir()
        log.touch()
        follow.enough, follow.broken = len(good), len(broken)
        killed = follow(folder, place / "campaign.h5", log, pieces, kills, random.Random(seed))
        return killed, len(good), len(broken), *check(folder, place, good, broken, log)


def main():
    """Say what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ["DRT_ENGINE_THREADS"] = "1"  # no thread before a fork
    warm_up()
    killed, good, broken, off, late = trial(given.sweeps, given.kills, given.seconds, given.seed)
    late.sort()
    print(
        f"{killed} kills, {good} good sweeps each there once, {broken} broken files reported; results differ from a "
        f"batch by {off:.1e}; after the last byte: median {statistics.median(late):.2f} s, 90 % within "
        f"{late[int(0.9 * len(late))]:.2f} s, at most {late[-1]:.2f} s ({len(late)} lines)"
    )


if __name__ == "__main__":
    main()
