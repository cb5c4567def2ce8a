"""Threads pinned for all benchmarks, and one table at the end with the error of the solutions beside the time."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import scipy.linalg  # noqa: F401 - it has a BLAS of its own, which can be limited once it is loaded
from threadpoolctl import threadpool_limits

from drt_engine.threads import thread_count

THREADS = "2"

_ROWS = pytest.StashKey[list[dict[str, Any]]]()
Report = Callable[..., None]


def pytest_configure(config: pytest.Config) -> None:
    """Pin the threads of the engine, unless the user has."""
    os.environ.setdefault("DRT_ENGINE_THREADS", THREADS)
    config.stash[_ROWS] = []


def pytest_report_header() -> str:
    """Say what the figures depend on."""
    return (
        f"threads: engine {thread_count()} (DRT_ENGINE_THREADS), linear algebra 1; "
        f"processors: {os.cpu_count()}; load before: {_load()}"
    )


@pytest.fixture(autouse=True, scope="session")
def pinned() -> Iterator[None]:
    """Keep linear algebra to one thread, also outside of an inversion."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def report(benchmark: Any, request: pytest.FixtureRequest) -> Report:
    """Return a function to call after the benchmark: report(stage, spectra, frequencies, kkt=…, error=…, remark=…)."""

    def add(stage: str, spectra: int | None, frequencies: int | None, **quality: Any) -> None:
        row = {"stage": stage, "spectra": spectra, "frequencies": frequencies} | quality
        benchmark.extra_info.update(row)
        if benchmark.stats is not None:  # there is none where benchmarks only run, without being timed
            request.config.stash[_ROWS].append(row | {"seconds": benchmark.stats.stats.min})

    return add


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print time and error of every benchmark in one table."""
    rows = config.stash[_ROWS]
    if not rows:
        return
    terminalreporter.section("time and error (shortest of the rounds)")
    head = f"{'stage':<16}{'frequencies':>12}{'spectra':>9}{'ms':>12}{'us/spectrum':>13}{'optimality':>13}"
    terminalreporter.write_line(f"{head}{'error of γ':>12}  remark")
    before = None
    for row in rows:
        if before not in (None, row["stage"]):
            terminalreporter.write_line("")
        before = row["stage"]
        terminalreporter.write_line(_line(row))
    terminalreporter.write_line(f"load after: {_load()}")


def _line(row: dict[str, Any]) -> str:
    spectra = row["spectra"]
    each = "" if spectra is None else f"{row['seconds'] / spectra * 1e6:.1f}"
    optimality = "" if row.get("optimality") is None else f"{row['optimality']:.0e}"
    error = "" if row.get("error") is None else f"{row['error']:.3f}"
    return (
        f"{row['stage']:<16}{row['frequencies'] or '':>12}{spectra or '':>9}{row['seconds'] * 1e3:>12.2f}"
        f"{each:>13}{optimality:>13}{error:>12}  {row.get('remark', '')}".rstrip()
    )


def counted(counts: Mapping[str, int]) -> str:
    """Put counts by status into words."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _load() -> str:
    return " ".join(f"{load:.2f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for files that several benchmarks read."""
    return tmp_path_factory.mktemp("files")
