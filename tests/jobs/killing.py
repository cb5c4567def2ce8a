"""Kill a job at random moments, start it again until it is done, and compare with one that nobody disturbed.

    python tests/jobs/killing.py --kills 200

Each job is a fork of this process, which has loaded everything, so that a kill costs no second start.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

import drt_engine as drt


def make(path: Path, count: int) -> None:
    """Write a campaign of two overlapping processes that drift."""
    frequency = np.logspace(4, -2, 31)
    rng = np.random.default_rng(7)
    size = np.linspace(1.0, 3.0, count)[:, None]
    omega = 2.0j * np.pi * frequency
    z = 5.0 + 20.0 * size / (1.0 + (omega * 1e-3) ** 0.85) + 40.0 / size / (1.0 + (omega * 0.05 * size) ** 0.9)
    z += 0.02 * np.abs(z) * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    z[::97] = np.nan
    drt.write_spectra(path, drt.Spectra(frequency, z, {"cycle": np.arange(count), "cell": ["B", "C"] * (count // 2)}))


def invert(path: Path, out: Path) -> None:
    """Do the job, with a method that takes two passes."""
    drt.invert_file(path, out, method=drt.Tikhonov(shared="cell"))


def killed(path: Path, out: Path, delay: float) -> bool:
    """Start the job and kill it after a while; whether it was killed before it was done."""
    child = os.fork()
    if child == 0:
        try:
            invert(path, out)
            os._exit(0)
        except BaseException as error:  # a forked process must not go on with what its parent does
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(3)
    end = time.monotonic() + delay
    done, status = os.waitpid(child, os.WNOHANG)
    while not done and time.monotonic() < end:
        time.sleep(min(0.01, delay))
        done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("the job failed by itself")
    return os.WIFSIGNALED(status)


def blocks(out: Path) -> dict[str, tuple[int, int]]:
    """Blocks that are kept, by name; a block that is written again is another file."""
    found = {}
    for path in out.with_name(f".{out.name}.job").glob("*.part"):
        kept = path.stat()
        found[path.name] = (kept.st_ino, kept.st_mtime_ns)
    return found


def arrays(path: Path) -> dict[str, bytes]:
    """Every array of a file, to the bit."""
    found = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tolist() if item.dtype.kind == "O" else item[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def main() -> None:
    """Kill, compare, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--spectra", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    os.environ["DRT_ENGINE_THREADS"] = "1"  # no thread before a fork
    with tempfile.TemporaryDirectory() as name:
        path, out, undisturbed = (Path(name) / file for file in ("campaign.h5", "out.h5", "undisturbed.h5"))
        # What is loaded with the first job would make the others seem longer than they are.
        make(path, 100)
        invert(path, undisturbed)
        path.unlink()
        undisturbed.unlink()
        make(path, given.spectra)
        begin = time.monotonic()
        invert(path, undisturbed)
        length = time.monotonic() - begin
        expected = arrays(undisturbed)
        kills = finished = again = 0
        before: dict[str, tuple[int, int]] = {}
        most = 0
        while kills < given.kills or out.with_name(f".{out.name}.job").exists():
            # Mostly early, so that a job is killed often before it is done; sometimes any time.
            delay = chance.uniform(0.0, length * chance.choice((0.1, 0.3, 1.2)))
            if kills >= given.kills:
                delay = 60.0 * length
            if killed(path, out, delay):
                kills += 1
                now = blocks(out)
                if not out.exists():
                    again += sum(now.get(block) != kept for block, kept in before.items())
                before, most = now, max(most, len(now))
            # Whose plan is gone is done; a kill after that leaves an empty folder, which the next job takes.
            if out.exists() and not out.with_name(f".{out.name}.job").joinpath("plan.json").exists():
                assert arrays(out) == expected, "an array differs"
                out.unlink()
                before = {}
                finished += 1
        left = sorted(item.name for item in Path(name).iterdir())
        assert left == ["campaign.h5", "undisturbed.h5"], left
        print(
            f"{kills} kills, {finished} jobs done, each equal to the bit; up to {most} blocks kept, {again} made again"
        )
        assert again == 0
        assert most > 1


if __name__ == "__main__":
    main()
