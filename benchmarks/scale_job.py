"""One process of ``scale.py``: it makes a file of spectra, or inverts one and tells what that took."""

import argparse
import json
import resource
import sys
import time
from contextlib import nullcontext
from pathlib import Path

FIRST = 31


def simulate(path: Path, count: int, frequencies: int) -> dict[str, float]:
    """Write a campaign of `count` spectra, block by block."""
    from campaigns import BLOCK, blocks

    from drt_engine.hdf5 import SpectraWriter

    left = count
    with SpectraWriter(path) as writer:
        for block in blocks(count, frequencies):
            writer.append(block.spectra[: min(left, BLOCK)])
            left -= BLOCK
    return {"bytes": path.stat().st_size}


def invert(path: Path, out: Path, name: str, workers: int, *, stages: bool) -> dict[str, object]:
    """Invert a file; seconds, those of processors, memory, counts by status, and if wanted the share of each stage."""
    begin = time.perf_counter()
    from campaigns import spectra
    from stopwatch import watched

    import drt_engine as drt
    from drt_engine import jobs

    method = getattr(drt, name)()
    # On another grid: loads the compiled code, all of it, and leaves what belongs to the grid of the file to the job.
    _ = drt.invert(spectra(64, FIRST), method).gamma
    started = time.perf_counter()
    before = _processor()
    with watched() if stages else nullcontext() as watch:
        summary = jobs.invert_file(path, out, method=method, workers=workers)
    seconds = time.perf_counter() - started
    return {
        "start": started - begin,
        "seconds": seconds,
        "processor": _processor() - before,
        "own_bytes": _bytes(resource.RUSAGE_SELF),
        "child_bytes": _bytes(resource.RUSAGE_CHILDREN),
        "counts": dict(summary.counts),
        "largest_kkt": _largest_kkt(out),
        "shares": watch.shares(seconds) if watch is not None else {},
    }


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _bytes(who: int) -> int:
    peak = resource.getrusage(who).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _largest_kkt(out: Path) -> float:
    import h5py
    import numpy as np

    with h5py.File(out) as file:
        return float(np.nanmax(file["/inversions/default/default/optimality"][()]))


def main() -> None:
    """Do what the command line says and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("simulate", "invert"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--spectra", type=int)
    parser.add_argument("--frequencies", type=int, default=61)
    parser.add_argument("--method", default="Tikhonov")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--stages", action="store_true")
    given = parser.parse_args()
    if given.task == "simulate":
        print(json.dumps(simulate(given.path, given.spectra, given.frequencies)))
    else:
        print(json.dumps(invert(given.path, given.out, given.method, given.workers, stages=given.stages)))


if __name__ == "__main__":
    main()
