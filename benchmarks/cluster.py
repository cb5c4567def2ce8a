"""What a Dask cluster of this machine's processors takes for a job, and what larger ones would.

A job of K spectra takes K·b/n for its blocks on n workers and K·a for putting the file together, which one process
does. The script times both parts with one worker and with as many as there are processors, and prints b, a and how many
spectra clusters of other sizes carry in an hour. Disks and networks of a real cluster are others.

    python benchmarks/cluster.py
    python benchmarks/cluster.py --spectra 20000 --weighting modulus
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import distributed
from campaigns import BLOCK, blocks

import drt_engine as drt
from drt_engine.hdf5 import SpectraWriter

SIZES = (1, 2, 8, 32, 128)
LEAST = 100_000


def timed(path: Path, out: Path, method: drt.Tikhonov, workers: int) -> tuple[float, float]:
    """Seconds for the blocks and for the rest of a job, on a cluster that is warm."""
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        for name in ("warm", "measured"):
            stamps = []
            target = out.with_name(f"{name}-{workers}.h5")
            begin = time.perf_counter()
            drt.invert_file(
                path,
                target,
                method=method,
                scheduler=cluster.scheduler_address,
                progress=lambda done, *_, stamps=stamps: stamps.append((time.perf_counter(), done)),
            )
            end = time.perf_counter()
            target.unlink()
    return stamps[-1][0] - stamps[0][0], end - begin - (stamps[-1][0] - stamps[0][0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=200_000, help="how many [200000]")
    parser.add_argument("--frequencies", type=int, default=61, help="frequencies of a spectrum [61]")
    parser.add_argument("--weighting", default="unit", help="weights of the data [unit]")
    given = parser.parse_args()
    method = drt.Tikhonov(weighting=given.weighting)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "campaign.h5"
        left = given.spectra
        with SpectraWriter(path) as writer:
            for block in blocks(given.spectra, given.frequencies):
                writer.append(block.spectra[: min(left, BLOCK)])
                left -= BLOCK
        most = os.cpu_count() or 1
        print(f"{given.spectra} spectra of {given.frequencies} frequencies, weighting {given.weighting}")
        print(f"{'workers':>8}{'blocks, s':>12}{'rest, s':>10}{'b, us':>8}{'a, us':>8}")
        found = {}
        for workers in sorted({1, most}):
            work, rest = timed(path, Path(folder) / "out.h5", method, workers)
            found[workers] = work * workers / given.spectra, rest / given.spectra
            b, a = (1e6 * value for value in found[workers])
            print(f"{workers:>8}{work:>12.2f}{rest:>10.2f}{b:>8.1f}{a:>8.1f}")
    if given.spectra < LEAST:
        print(f'\n"rest" is mostly the start of the job for fewer than {LEAST} spectra: a says nothing here')
        return
    b, a = found[most]
    print(f"\n{'workers':>8}{'a million spectra, s':>22}{'spectra in an hour':>20}")
    for workers in SIZES:
        each = b / workers + a
        print(f"{workers:>8}{1e6 * each:>22.0f}{3600 / each:>20.2g}")


if __name__ == "__main__":
    main()
