"""From the blocks of a job to the file of inversions."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.basis import Expansion
from drt_engine.hdf5.files import NewFile
from drt_engine.hdf5.grid import GridWriter, Layout, put_root
from drt_engine.hdf5.inversions import inversion_attributes, inversion_group, per_spectrum
from drt_engine.hdf5.reader import opened_grid
from drt_engine.hdf5.scan import SpectraInfo
from drt_engine.intervals import INTERVAL_UNITS, Intervals
from drt_engine.jobs.blocks import Block, Extent
from drt_engine.jobs.journal import DamagedBlock, load_part
from drt_engine.jobs.options import Plan
from drt_engine.jobs.source import Source
from drt_engine.jobs.work import PART
from drt_engine.result import Inversion
from drt_engine.status import count_status, in_order

__all__ = ["assemble"]

Array = NDArray[Any]

_OVER_TAU = ("coefficients", "gamma_low", "gamma_high")


def assemble(
    output: NewFile,
    source: Source,
    plan: Plan,
    parts: Mapping[Block, Path],
    provenance: Mapping[str, Any],
) -> tuple[dict[str, int], int]:
    """Write the file of inversions.

    Parameters
    ----------
    output : NewFile
        The file.
    source : Source
        The input, which the states are copied from as they are stored.
    plan : Plan
        What was asked for.
    parts : mapping of Block to Path
        Where the blocks are; they cover every spectrum that is taken, once.
    provenance : mapping
        Attributes of every group.

    Returns
    -------
    counts : dict of str to int
        Spectra by status.
    failed : int
        How many have no answer.

    Raises
    ------
    DamagedBlock
        If a block cannot be read.
    FileWriteError
        If the output cannot be written.
    """
    with output.writing():
        put_root(output.file)
    counts: Counter[str] = Counter(ok=0)
    failed = 0
    for number, (info, extent) in enumerate(zip(source.grids, source.extents, strict=True)):
        frequency = np.sort(info.frequency)[::-1]
        expansion = plan.method.expansion(frequency)
        writer = _begin(output, info, extent, plan, frequency, expansion)
        writer.put_attributes(inversion_attributes(plan.method, expansion) | dict(provenance))
        with opened_grid(source.path, info.grid) as reader:
            for block in sorted(block for block in parts if block.grid == number):
                arrays = _read(parts[block], len(block), expansion.tau.size, plan.level)
                if arrays is None:
                    raise DamagedBlock(parts[block])
                rows = extent.rows_of(block)
                states = reader.states(rows, ())
                result = Inversion(frequency, expansion, **arrays, states=states, method=plan.method)
                raw = {name: reader.read(name, rows) for name in writer.columns}
                writer.write(block.first, per_spectrum(result) | raw)
                counts.update(count_status(result.status))
                failed += int(np.count_nonzero(~result.solved))
    return in_order(counts), failed


def _begin(
    output: NewFile, info: SpectraInfo, extent: Extent, plan: Plan, frequency: Array, expansion: Expansion
) -> GridWriter:
    layout = Layout(extent.spectra, plan.compression, plan.dtype)
    return inversion_group(output, (plan.name, info.grid), frequency, expansion, info.columns, layout, plan.level)


def _read(path: Path, rows: int, size: int, level: float | None) -> dict[str, Any] | None:
    """Arguments of an inversion; None if they are not those of the block."""
    arrays = load_part(path)
    names = {*PART, *(() if level is None else INTERVAL_UNITS)}
    if arrays is None or set(arrays) != names:
        return None
    if any(arrays[name].shape != ((rows, size) if name in _OVER_TAU else (rows,)) for name in names):
        return None
    if level is None:
        return arrays
    ends = {name: arrays.pop(name) for name in INTERVAL_UNITS}
    return arrays | {"intervals": Intervals(level, **ends)}
