"""The page of a report: tables and charts in one file that asks nothing of any network."""

import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from drt_engine.frames import result_frame
from drt_engine.hdf5 import scan
from drt_engine.hdf5.inversions import versions
from drt_engine.report.contents import Contents, Part
from drt_engine.result_fields import INTERVAL_UNITS, RESULT_FIELDS, RESULT_UNITS
from drt_engine.status import Status
from drt_engine.text import count_of, visible
from drt_engine.tracking import Tracks
from drt_engine.validation import Validity

__all__ = ["Remarks", "written"]

_UNITS = {
    **{name: units for name, units in (RESULT_UNITS | INTERVAL_UNITS).items() if units != "1"},
    "voltage": "V",
    "time": "s",
    "current": "A",
    "charge": "C",
    "temperature": "°C",
    "area": "cm²",
    "rms": "%",
}
# What stands in a result for what a spectrum has not.
_WITHOUT = {"capacitance": np.inf} | {each.name: each.missing for each in RESULT_FIELDS if each.missing is not None}
_LEFT_OUT = ("spectrum", "digest", "status", "optimality", "noise_relative", "coupling", "shift")
# Spectra that fail the test are listed by name up to so many; the figure beside shows all.
_WORST = 10


@dataclass(frozen=True)
class Remarks:
    """Lines on a file that the command line prints too.

    Attributes
    ----------
    states : sequence of str
        Lines on the values of states.
    quality : sequence of str
        Lines on the quality of the solutions.
    """

    states: Sequence[str] = ()
    quality: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table of the page, whose rows can be sorted.

    Attributes
    ----------
    headings : sequence of str
        One a column.
    rows : sequence
        Cells, each with what is shown and what it is sorted by.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[tuple[str, str]]] = field(default_factory=tuple)


def written(contents: Contents, remarks: Remarks | None = None, title: str | None = None) -> str:
    """Write the page.

    Text from files is text everywhere: in tables it is escaped by the template, and what is drawn comes as data in
    which no character can end a script. Only scripts with the number of this page may run, and none may ask a network.

    Parameters
    ----------
    contents : Contents
        What is reported.
    remarks : Remarks, optional
        What else is said of the file.
    title : str, optional
        Heading; the name of the file by default.

    Returns
    -------
    str
        HTML.
    """
    from bokeh.embed import json_item
    from bokeh.resources import Resources
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from drt_engine.report.charts import charts

    parts = []
    drawn = []
    for number, part in enumerate(contents.parts):
        figures = []
        for at, (heading, about, figure) in enumerate(charts(part)):
            place = f"chart-{number}-{at}"
            drawn.append((place, as_data(json_item(figure, place))))
            figures.append({"place": place, "heading": heading, "about": about})
        parts.append(_described(part) | {"figures": figures})
    page = Environment(
        loader=PackageLoader("drt_engine", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page.filters |= {"visible": lambda value: visible(str(value)), "counted": count_of}
    return page.get_template("page.html").render(
        title=title or contents.path.name,
        file=contents.path.name,
        where=contents.where,
        count=len(contents),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=versions()["drt-engine"],
        remarks=remarks or Remarks(),
        parts=parts,
        several=len(parts) > 1,
        spectra=_spectra(contents),
        provenance=_provenance(contents),
        charts=drawn,
        nonce=secrets.token_urlsafe(16),
        scripts=Resources(mode="inline", components=["bokeh"], minified=True).js_raw,
    )


_ESCAPED = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}


def as_data(value: Any) -> str:
    """Write JSON that can stand in a script of a page: no character in it begins or ends anything there."""
    text = json.dumps(value, allow_nan=False, default=_plain_value)
    return text.translate(_ESCAPED)


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(type(value).__name__)


def _cell(value: Any) -> tuple[str, str]:
    """Write a value as it is shown, and as it is sorted: of a number all of its digits."""
    if isinstance(value, bool | np.bool_):
        return ("yes" if value else "no"), str(int(value))
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "", ""
    if isinstance(value, int | float | np.integer | np.floating):
        number = float(value)
        if isinstance(value, int | np.integer):
            return str(value), str(value)
        return (f"{number:.6g}" if math.isfinite(number) else "none"), repr(number)
    return visible(str(value)), ""


def _table(frame: pd.DataFrame) -> Table:
    columns = [[_cell(value) for value in frame[name].tolist()] for name in frame.columns]
    headings = [f"{visible(str(name))}{f' / {_UNITS[name]}' if name in _UNITS else ''}" for name in frame.columns]
    return Table(headings, list(zip(*columns, strict=True)))


def _spectra(contents: Contents) -> Table:
    """Every spectrum: states, results, and what the test of validity found."""
    frames = []
    for part in contents.parts:
        found = part.states.reset_index(drop=True) if part.result is None else result_frame(part.result)
        if part.validation is not None:
            tested = part.validation
            flags = [_flags(value) for value in tested.flag.tolist()]
            found = found.assign(valid=tested.valid, rms=tested.rms)
            found["found by the test"] = flags
        found = found.drop(columns=[name for name in _LEFT_OUT if name in found.columns])
        if len(contents.parts) > 1:
            found.insert(0, "grid", part.grid)
        found.insert(0, "row", part.rows)
        # A column that says nothing of any spectrum only takes room.
        frames.append(found.loc[:, [name == "row" or _says_something(found[name]) for name in found.columns]])
    return _table(pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0])


def _says_something(column: "pd.Series[Any]") -> bool:
    return bool((column.notna() & (column != _WITHOUT.get(str(column.name)))).any())


def _flags(value: int) -> str:
    return ", ".join(str(flag.name).lower().replace("_", " ") for flag in Validity if value & flag)


def _described(part: Part) -> dict[str, Any]:
    """Say in words and tables what there is of a grid."""
    frequency = part.frequency
    return {
        "grid": part.grid,
        "count": len(part),
        "frequencies": frequency.size,
        "low": f"{frequency.min():.4g}",
        "high": f"{frequency.max():.4g}",
        "validity": [] if part.validation is None else list(_validity(part)),
        "worst": None if part.validation is None else _worst(part),
        "valid": None if part.validation is None else int(part.validation.valid.sum()),
        "statuses": [] if part.result is None else list(_statuses(part)),
        "solved": None if part.result is None else int(part.result.solved.sum()),
        "processes": None if part.tracks is None else _processes(part.tracks),
        "along": None if part.tracks is None else part.tracks.along,
        "why_no_tracks": part.why_no_tracks,
        "trends": None if part.tracks is None else _trends(part.tracks),
    }


def _validity(part: Part) -> Iterable[tuple[str, int, str]]:
    tested = part.validation
    for flag in Validity if tested is not None else ():
        count = int(np.count_nonzero(tested.flag & np.uint16(flag))) if tested is not None else 0
        if count:
            yield _flags(int(flag)), count, flag.message


def _statuses(part: Part) -> Iterable[tuple[str, int, str]]:
    result = part.result
    for flag in Status if result is not None else ():
        count = int(np.count_nonzero(result.status & np.uint32(flag))) if result is not None else 0
        if count:
            yield str(flag.name).lower().replace("_", " "), count, flag.message


def _worst(part: Part) -> Table | None:
    """Take the spectra with the largest residuals of those that are not valid."""
    tested = part.validation
    if tested is None or tested.valid.all():
        return None
    bad = np.flatnonzero(~tested.valid)
    chosen = bad[np.argsort(-np.nan_to_num(tested.rms[bad], nan=np.inf), kind="stable")][:_WORST]
    frame = part.states.iloc[chosen].reset_index(drop=True).drop(columns="digest", errors="ignore")
    frame.insert(0, "row", part.rows[chosen])
    flags = [_flags(value) for value in tested.flag[chosen].tolist()]
    frame["found by the test"] = flags
    return _table(frame.assign(rms=tested.rms[chosen]))


def _processes(tracks: Tracks) -> Table:
    names = {
        "tau": "median τ / s",
        "r": "median R / ohm",
        "c": "median C / F",
        "tau_low": "least τ / s",
        "tau_high": "greatest τ / s",
        "r_low": "least R / ohm",
        "r_high": "greatest R / ohm",
        "confidence": "confidence",
        "merged": "merged with others",
    }
    frame = tracks.processes.rename(columns=names)
    return _table(frame.assign(process=frame["process"].astype(str)))


def _trends(tracks: Tracks) -> Table:
    """How each process changes along each series: first and last R and τ with errors, and the change."""
    series = list(tracks.series)
    rows: list[dict[str, Any]] = []
    groups: Any = tracks.table.groupby(["process", *series], observed=True, sort=True, dropna=False)
    for key, own in groups:
        ordered = own.sort_values(tracks.along, kind="stable")
        first, last = ordered.iloc[0], ordered.iloc[-1]
        row: dict[str, Any] = dict(zip(["process", *series], key, strict=True)) | {"observations": len(own)}
        row["process"] = str(row["process"])
        row |= {f"{tracks.along} from": first[tracks.along], "to": last[tracks.along]}
        for quantity, heading in (("r", "R / ohm"), ("tau", "τ / s")):
            row |= {f"first {heading}": first[quantity], f"± first {heading}": first.get(f"{quantity}_error", np.nan)}
            row |= {f"last {heading}": last[quantity], f"± last {heading}": last.get(f"{quantity}_error", np.nan)}
        change = last["r"] - first["r"]
        row |= {"change of R / ohm": change, "± change of R / ohm": math.hypot(*(_error(one) for one in (first, last)))}
        rows.append(row)
    return _table(pd.DataFrame(rows))


def _error(row: "pd.Series[Any]") -> float:
    return float(row.get("r_error", np.nan))


def _provenance(contents: Contents) -> list[tuple[str, Mapping[str, str]]]:
    """Where the results come from: method, settings, versions and digests."""
    found: list[tuple[str, Mapping[str, str]]] = []
    for info in scan(contents.path).inversions:
        if info.name != contents.name or info.grid not in {part.grid for part in contents.parts}:
            continue
        said: dict[str, Any] = {"source": info.source, "digest of the source": info.input_digest, "where": info.where}
        said |= {"started": info.started, "created": info.created}
        said |= {f"setting {key}": json.dumps(value, ensure_ascii=False) for key, value in info.settings.items()}
        said |= {f"version of {key}": value for key, value in info.versions.items()}
        if info.older_campaign is not None:
            said["older campaign"] = f"{info.older_campaign}: spectra were added or masked since. Invert again."
        shown = {key: str(value) for key, value in said.items() if value is not None}
        found.append((f"{info.name}, grid {info.grid}", shown))
    return found
