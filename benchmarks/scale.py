"""How time and memory of a job grow with the number of spectra, file to file.

For each size a new process simulates a campaign into a file, block by block, and another one inverts that file with
``invert_file``. Time is that of the call, from opening the input to the renamed and synchronised output; imports and
the loading of compiled code come before it and are shown as "start". Beside it stands what a
spectrum takes of processors, by which runs on a machine with other work can be compared. Peak memory is the largest
resident set of the process (`ru_maxrss`), with workers plus theirs, each taken as large as the largest.

Shares of the stages are measured in the same run, by wrapped functions that are called once a block or tile. With
workers they come from a second run without, since nothing can be wrapped in the other processes.

    python benchmarks/scale.py
    python benchmarks/scale.py --spectra 1e4 1e5 --workers 2
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from processes import json_of

SIZES = ("1e3", "1e4", "1e5", "1e6")
COLUMNS = (
    *(("spectra", 9), ("seconds", 9), ("us/spectrum", 12), ("cpu us", 9)),
    *(("peak MB", 9), ("start s", 8), ("optimality", 11)),
)
FLAT_FROM = 10_000


def whole(text: str) -> int:
    """Turn text such as 1e5 into a whole number."""
    value = float(text)
    if value < 1 or value != int(value):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1; got {text}")
    return int(value)


def measure(count: int, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Make a campaign, invert it, and remove the files."""
    path, out = folder / f"spectra-{count}.h5", folder / f"inversions-{count}.h5"
    threads = {"DRT_ENGINE_THREADS": str(given.threads)}
    try:
        json_of("scale_job.py", "simulate", str(path), f"--spectra={count}", f"--frequencies={given.frequencies}")
        task = ("scale_job.py", "invert", str(path), f"--out={out}", f"--method={given.method}")
        if given.workers == 1:
            return json_of(*task, "--stages", environment=threads)
        found = json_of(*task, f"--workers={given.workers}", environment=threads)
        out.unlink()
        return found | {"shares": json_of(*task, "--stages", environment=threads)["shares"]}
    finally:
        path.unlink(missing_ok=True)
        out.unlink(missing_ok=True)


def line(count: int, found: dict[str, Any], workers: int) -> str:
    """Row of the table for one size."""
    memory = found["own_bytes"] + (workers * found["child_bytes"] if workers > 1 else 0)
    cells = (
        f"{count}",
        f"{found['seconds']:.2f}",
        f"{found['seconds'] / count * 1e6:.1f}",
        f"{found['processor'] / count * 1e6:.1f}",
        f"{memory / 1e6:.0f}",
        f"{found['start']:.2f}",
        f"{found['largest_kkt']:.0e}",
    )
    counts = ", ".join(f"{number} {name}" for name, number in found["counts"].items())
    return "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)) + f"  {counts}"


def main() -> None:
    """Measure every size and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=whole, nargs="+", default=[whole(size) for size in SIZES])
    parser.add_argument("--frequencies", type=whole, default=61, help="frequencies of a spectrum [61]")
    parser.add_argument("--method", choices=("Tikhonov", "LogGaussian"), default="Tikhonov", help="how [Tikhonov]")
    parser.add_argument("--workers", type=whole, default=1, help="processes that invert; 1 starts none [1]")
    parser.add_argument("--threads", type=whole, default=os.cpu_count() or 1, help="threads in all [all processors]")
    parser.add_argument("--folder", type=Path, help="where the files go meanwhile [a temporary folder]")
    given = parser.parse_args()
    print(f"{given.method}, {given.frequencies} frequencies, 0.2 % noise", end=", ")
    print(f"workers {given.workers}, threads {given.threads}")
    print("".join(f"{name:>{width}}" for name, width in COLUMNS) + "  status", flush=True)
    results = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for count in given.spectra:
            results[count] = measure(count, Path(folder), given)
            print(line(count, results[count], given.workers), flush=True)
    print("\nshare of each stage, %" + (" (of a run with one worker)" if given.workers > 1 else ""))
    print(f"{'':<16}" + "".join(f"{count:>9}" for count in results))
    for stage in next(iter(results.values()))["shares"]:
        print(f"{stage:<16}" + "".join(f"{100 * found['shares'][stage]:>9.1f}" for found in results.values()))
    each = [found["seconds"] / count for count, found in results.items() if count >= FLAT_FROM]
    if len(each) > 1:
        print(f"\ntime per spectrum from {FLAT_FROM} on: slowest {max(each) / min(each):.2f} times the quickest")


if __name__ == "__main__":
    main()
