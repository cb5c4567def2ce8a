"""From a file that stands still to its new sweeps, or to why there are none yet."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import DRTError
from drt_engine.hdf5 import digest
from drt_engine.readers.collect import CollectOptions, FileReport, collect
from drt_engine.spectra import Spectra
from drt_engine.text import storable
from drt_engine.watch.ledger import Ledger

__all__ = ["Found", "read_new"]

_PERIODS = 5.0
"""A point takes a few periods of its frequency: one that does not come within so many is not being measured."""

_GAPS = 3.0
"""A file that was written to every few seconds is not finished before it stands still for so many times as long."""

_LONGEST_WAIT = 1800.0  # s: half an hour, so that a sweep down to the lowest frequencies is shown at all while it lasts
_DAMAGED = 10.0
"""A file that cannot be read is damaged if it stands still for so long, s; before, it may be half written."""

_DIGITS = 32  # of 64 that a digest has: 128 bits, as the campaign keeps of it


@dataclass(frozen=True)
class Found:
    """What a file holds.

    Attributes
    ----------
    spectra : mapping of str to Spectra
        New sweeps by name of their grid.
    wait : float
        How long the file has to stand still before it can be said what it holds, s; 0 if that is known.
    problem : str
        Why nothing can be taken from it, or what is odd; empty otherwise.
    refused : bool
        Whether the problem is that it cannot be read.
    measured : bool
        Whether it holds impedances.
    report : FileReport or None
        What became of it; None where it had been taken before.
    """

    spectra: Mapping[str, Spectra] = field(default_factory=dict)
    wait: float = 0.0
    problem: str = ""
    refused: bool = False
    measured: bool = True
    report: FileReport | None = None


def read_new(
    path: Path, ledger: Ledger, options: CollectOptions, quiet: tuple[float, float], present: Callable[[str], bool]
) -> Found:
    """Read the sweeps of a file that the campaign does not have.

    Parameters
    ----------
    path : Path
        The file.
    ledger : Ledger
        What the campaign has.
    options : CollectOptions
        How files become a campaign, the folder that files are named from, and what waits to be added to the campaign:
        files by digest, and grids.
    quiet : tuple of float
        How long the file has stood still, and its longest time from one change to the next, s.
    present : callable
        Says whether there is a file of a name.

    Returns
    -------
    Found
        New sweeps of a file are taken together or not at all: from a file whose digest the campaign has, there is
        nothing left to take.
    """
    grids = {**options.grids, **ledger.grids}
    source = storable(path.relative_to(options.root or path.parent).as_posix())
    still, gap = quiet
    try:
        content = digest(path).removeprefix("sha256:")[:_DIGITS]
        known = ledger.files.get(content) or options.known.get(content)
        if known is not None:
            other = known != source and present(known)
            return Found(problem=f"the same content as {known}, which is in the campaign" if other else "")
        collected = collect([path], replace(options, grids=grids, known={}))
    except DRTError as error:
        return Found(problem=_said_of(path, str(error)), refused=True, wait=max(_DAMAGED, _GAPS * gap))
    (report,) = collected.files
    if report.status == "refused":
        return Found(problem=_said_of(path, report.error), refused=True, wait=max(_DAMAGED, _GAPS * gap), report=report)
    if report.status == "no measurement":
        return Found(measured=False, report=report)
    wait = _wait(path, report, collected.spectra, grids, gap)
    if wait > still:
        return Found(wait=wait, report=report)
    fresh = {name: spectra[ledger.new(spectra)] for name, spectra in collected.spectra.items()}
    fresh = {name: spectra for name, spectra in fresh.items() if len(spectra)}
    return _judged(fresh, ledger, report, present)


def _said_of(path: Path, message: str) -> str:
    """Return the text of an error without the name of the file, which is shown beside it."""
    return message.removeprefix(str(path)).lstrip(",: ")


def _judged(fresh: dict[str, Spectra], ledger: Ledger, report: FileReport, present: Callable[[str], bool]) -> Found:
    """Leave out what was taken under a former name of the file, and say of sweeps that were taken with other values."""
    former = [ledger.former_names(spectra) for spectra in fresh.values()]
    if fresh and all(former) and not any(map(present, set().union(*former))):
        names = ", ".join(sorted(set().union(*former)))
        return Found(problem=f"its sweeps were taken when it was called {names}", report=report)
    changed = sorted({number for spectra in fresh.values() for number in ledger.changed(spectra)})
    problem = ""
    if changed:
        numbers = ", ".join(map(str, changed[:5])) + (", …" if len(changed) > 5 else "")
        problem = f"sweep {numbers} has other values than when it was taken before: both are in the campaign now"
    return Found(fresh, problem=problem, report=report)


def _wait(
    path: Path,
    report: FileReport,
    spectra: Mapping[str, Spectra],
    grids: Mapping[str, NDArray[np.float64]],
    gap: float,
) -> float:
    """How long a file has to stand still until its last sweep is finished for sure, s.

    That is told by the file, by other sweeps of it, or by a campaign on the same frequencies. Else, from a sweep that
    is being measured the next point would come within some periods of its frequency.
    """
    cut = _is_cut(path)
    if not report.taken or (not cut and (report.tells_end or report.sweeps > 1)):
        return 0.0
    ((name, some), *_) = spectra.items()
    frequency = some.frequency[np.isfinite(some.impedance[-1])]
    if not cut and name in grids and frequency.size == some.frequency.size:
        return 0.0
    lowest = float(frequency[-1])
    following = lowest * lowest / float(frequency[-2])
    return min(_LONGEST_WAIT, max(_PERIODS / following, _GAPS * gap))


def _is_cut(path: Path) -> bool:
    """Whether a text ends within a line, as where the instrument has not written all of its last point."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        end = file.read()
        return b"\0" not in end and not end.endswith((b"\n", b"\r")) and _is_text(end)
    return False


def _is_text(end: bytes) -> bool:
    # Of a binary or packed file, many bytes are none that a text has.
    return sum(byte < 32 and byte not in b"\t\n\r\f\x1a" for byte in end) == 0
