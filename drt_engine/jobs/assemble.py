"""From the blocks of a job to the file of inversions."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.hdf5.files import NewFile
from drt_engine.hdf5.grid_reader import GridReader
from drt_engine.hdf5.grid_writer import GridWriter, Layout, put_root
from drt_engine.hdf5.inversions import gamma_units, inversion_attributes, inversion_group, per_spectrum, spectra_kept
from drt_engine.hdf5.reader import opened_grid, spectra_of
from drt_engine.hdf5.scan import SpectraInfo
from drt_engine.jobs.blocks import Block, Extent
from drt_engine.jobs.journal import DamagedBlock, load_part
from drt_engine.jobs.options import Plan
from drt_engine.jobs.source import Source
from drt_engine.jobs.work import PART
from drt_engine.methods import Method
from drt_engine.model.basis import Expansion
from drt_engine.result import Inversion
from drt_engine.result_fields import INTERVAL_UNITS
from drt_engine.status import count_status, in_order
from drt_engine.uncertainty.intervals import Intervals

__all__ = ["assemble"]

Array = NDArray[Any]

_OVER_TAU = ("coefficients", "gamma_low", "gamma_high")

_AT_ONCE = 16384
"""Rows that are put in order at once: some ten megabytes, and whole chunks of the file."""


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
        How many have no solution.

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
    for number, (info, extent, method) in enumerate(zip(source.grids, source.extents, source.methods, strict=True)):
        expansion = method.expansion(np.sort(info.frequency)[::-1])
        writer = _begin(output, info, extent, plan, expansion, spectra_kept(method))
        writer.put_units(gamma_units(method))
        writer.put_attributes(inversion_attributes(method, expansion) | dict(provenance))
        of_grid = {block: parts[block] for block in sorted(parts) if block.grid == number}
        with opened_grid(source.path, info.grid) as reader:
            for first, rows, result in _results(reader, extent, of_grid, method, plan.level):
                raw = {name: reader.read(name, rows) for name in writer.columns}
                writer.write(first, per_spectrum(result) | raw)
                counts.update(count_status(result.status))
                failed += int(np.count_nonzero(~result.solved))
    return in_order(counts), failed


def _results(
    reader: GridReader, extent: Extent, parts: Mapping[Block, Path], method: Method, level: float | None
) -> Iterator[tuple[int, Array, Inversion]]:
    """Results of a grid in the order of the file: where the first goes, row numbers, and what was found for them."""
    frequency = np.sort(reader.read("frequency"))[::-1]
    expansion, kept = method.expansion(frequency), spectra_kept(method)
    sizes = {"tau": expansion.tau.size} | ({"moved": frequency.size} if "moved_real" in kept else {})
    for first, rows, arrays in _as_in_file(extent, parts, sizes, level):
        if level is not None:
            ends = {name: arrays.pop(name) for name in INTERVAL_UNITS}
            arrays["intervals"] = Intervals(level, **ends)
        spectra = spectra_of(reader, rows, reader.states(rows, ()))
        result = Inversion(
            frequency,
            expansion,
            **arrays,
            states=spectra.states,
            method=method,
            impedance=spectra.impedance,
            point_time=spectra.point_time if "point_time" in kept else None,
        )
        yield first, rows, result


def _begin(
    output: NewFile, info: SpectraInfo, extent: Extent, plan: Plan, expansion: Expansion, kept: tuple[str, ...]
) -> GridWriter:
    frequency = np.sort(info.frequency)[::-1]
    layout = Layout(extent.spectra, plan.compression, plan.dtype)
    return inversion_group(
        output,
        (plan.name, info.grid),
        frequency,
        expansion,
        info.columns,
        layout,
        plan.level,
        measured=kept,
    )


def _as_in_file(
    extent: Extent, parts: Mapping[Block, Path], sizes: Mapping[str, int], level: float | None
) -> Iterator[tuple[int, Array, dict[str, Any]]]:
    """Results in the order of the file: where the first goes, row numbers and arrays, some thousand at a time."""
    if extent.ascending:
        for block, path in parts.items():
            yield block.first, extent.rows_of(block), _read(path, len(block), sizes, level)
        return
    # Series are scattered over the file. From block to block as few rows are looked up as the scatter asks for: all of
    # a block where series lie together, all blocks for each piece where they do not.
    rows, blocks = extent.rows_of(Block(0, 0, extent.spectra)), list(parts)
    order, starts = np.argsort(rows), [block.first for block in blocks]
    for first in range(0, extent.spectra, _AT_ONCE):
        places = order[first : first + _AT_ONCE]
        which = np.searchsorted(starts, places, side="right") - 1
        piece: dict[str, Any] = {}
        for number in np.unique(which):
            block, here = blocks[number], which == number
            for name, values in _read(parts[block], len(block), sizes, level).items():
                into = piece.setdefault(name, np.empty((places.size, *values.shape[1:]), values.dtype))
                into[here] = values[places[here] - block.first]
        yield first, rows[places], piece


def _read(path: Path, rows: int, sizes: Mapping[str, int], level: float | None) -> dict[str, Array]:
    """Arrays of a block; `sizes` has the number of relaxation times, and of points if results have values at points.

    Raises
    ------
    DamagedBlock
        If they are not those of the block.
    """
    arrays = load_part(path)
    names = {*PART, *(() if level is None else INTERVAL_UNITS), *({"moved"} & {*sizes})}
    columns = {**dict.fromkeys(_OVER_TAU, sizes["tau"]), **sizes}
    if arrays is None or set(arrays) != names:
        raise DamagedBlock(path)
    if any(arrays[name].shape != ((rows, columns[name]) if name in columns else (rows,)) for name in names):
        raise DamagedBlock(path)
    # A job that an earlier version began has blocks with fewer flags.
    return arrays | {"status": arrays["status"].astype(np.uint32)}
