"""Processes that were followed, into files and out of them.

A file of processes is one of its own, as one of inversions is: measured data and results are never opened for writing,
and a table that is made again replaces no more than itself. Rows are joined to spectra by their number, and the file
that they are numbered in by its digest.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from drt_engine.errors import InputError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.files import NewFile, PathLike, digest, reading
from drt_engine.hdf5.grid_reader import GridReader, check_root, choose, members
from drt_engine.hdf5.grid_writer import DEFAULT_NAME, Compression, Layout, put_root
from drt_engine.hdf5.inversions import versions
from drt_engine.hdf5.tables import TABLES, encoded_columns, opened_tables, read_table, write_table

if TYPE_CHECKING:
    from drt_engine.tracking import Motion, TrackingOptions, Tracks

__all__ = ["read_tracks", "write_tracks"]


def write_tracks(
    path: PathLike,
    tracks: "Tracks | Mapping[str, Tracks]",
    *,
    name: str = DEFAULT_NAME,
    source: PathLike | None = None,
    overwrite: bool = False,
    compression: Compression = None,
) -> None:
    """Write processes to a file of their own; it appears whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    tracks : Tracks or mapping of str to Tracks
        Processes that were followed, or several such tables by name.
    name : str
        What a single one is called.
    source : path, optional
        File of the inversion whose rows the column ``spectrum`` counts; its name and digest are written down.
    overwrite : bool
        Whether a file of that name is replaced.
    compression : {"gzip"}, optional
        What the columns are compressed with; by default nothing.

    Raises
    ------
    InputError
        If `path` is `source`, for something else than tracks, and for names and columns that cannot be stored.
    OutputExistsError
        If the file exists and is not to be replaced.
    FileFormatError
        If `source` cannot be read.
    FileWriteError
        If the file cannot be written.
    """
    from drt_engine.tracking import Tracks

    every = tracks if isinstance(tracks, Mapping) else {name: tracks}
    if not every:
        raise InputError(
            "tracks must hold at least one table of processes; got none. Follow some: drt.track(result.peaks(), …)."
        )
    for some in every.values():
        if not isinstance(some, Tracks):
            raise InputError(f"tracks must be of type Tracks; got {type(some).__name__}. Track the peaks first.")
    origin = {} if source is None else {"source": Path(source).name, "input_digest": digest(source)}
    stored = {
        schema.check_name("name", key): {
            part: encoded_columns(getattr(some, part), group) for part, group in TABLES.items()
        }
        for key, some in every.items()
    }
    with NewFile(path, overwrite=overwrite, inputs=(source,)) as output:
        with output.writing():
            put_root(output.file)
        for key, some in every.items():
            for part, columns in stored[key].items():
                layout = Layout(len(getattr(some, part)), compression)
                attributes = _attributes(some) | origin if part == "table" else {}
                write_table(output, TABLES[part], key, columns, attributes, layout)


def _attributes(tracks: "Tracks") -> dict[str, Any]:
    return {
        "along": tracks.along,
        "series": json.dumps(list(tracks.series), ensure_ascii=False),
        "processes": json.dumps(list(tracks.names), ensure_ascii=False),
        "spectra": int(tracks.spectra),
        "motion": json.dumps(asdict(tracks.motion), default=_plain),
        "options": json.dumps(asdict(tracks.options), default=_plain),
        "versions": json.dumps(versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise InputError(
        f"options of tracking must be numbers, text, True, False, None or lists of them; got {type(value).__name__}."
    )


def read_tracks(path: PathLike, name: str | None = None) -> "Tracks":
    """Read processes from a file.

    Parameters
    ----------
    path : path
        The file.
    name : str, optional
        Name of the table; not needed where there is one.

    Returns
    -------
    Tracks
        As :func:`drt_engine.track` returned them.

    Raises
    ------
    FileFormatError
        One line that names the file and the cause, if the file is not there or not as its format says.
    UnknownNameError
        For a name that does not exist.
    InputError
        If there are several and none is named.
    """
    with reading(path) as file:
        check_root(path, file)
        tables = members(path, file, schema.PROCESSES_PATH)
        chosen = choose("table of processes", name, tables)
        opened = opened_tables(path, tables[chosen])
        return _assembled(opened["table"], {part: read_table(reader) for part, reader in opened.items()})


def _assembled(reader: GridReader, frames: dict[str, pd.DataFrame]) -> "Tracks":
    from drt_engine.tracking import Tracks

    found, table = reader.attributes, frames["table"]
    names, series = reader.json_names("processes"), reader.json_names("series")
    for column in (found["along"], *series):
        if column not in table.columns:
            raise reader.error(
                "is missing, a state that the processes were followed along or that distinguishes their series.", column
            )
    known = pd.CategoricalDtype(names)
    strange = ~table["process"].isin(names)
    if strange.any():
        got = table["process"][strange].iloc[0]
        raise reader.error(f"holds {got!r}; expected one of {', '.join(names) or 'none'}.", "process")
    with reader.errors_with_path():
        return Tracks(
            table=table.assign(process=pd.Categorical(table["process"], dtype=known)),
            events=frames["events"],
            unassigned=frames["unassigned"],
            along=found["along"],
            series=tuple(series),
            spectra=found["spectra"],
            motion=_motion(reader),
            options=_options(reader),
        )


def _motion(reader: GridReader) -> "Motion":
    from drt_engine.tracking import Motion

    found = reader.json_object("motion")
    known: dict[str, Any] = {field.name: found.get(field.name) for field in fields(Motion)}
    try:
        # What is missing or of another type raises here, and is refused below.
        numbers: dict[str, Any] = {
            key: np.array(one, float) if isinstance(one, list) else float(one) for key, one in known.items()
        }
        return Motion(**numbers)
    except (TypeError, ValueError) as error:
        raise reader.error(f"has an attribute motion without {', '.join(known)} in numbers: {error}.") from error


def _options(reader: GridReader) -> "TrackingOptions":
    from drt_engine.tracking import TrackingOptions

    found = reader.json_object("options")
    try:
        return TrackingOptions(**found)
    except TypeError as error:
        raise reader.error(f"has an invalid attribute options: {error}.") from error
