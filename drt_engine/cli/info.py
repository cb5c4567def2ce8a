"""``drt-engine info``: what is in a file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import app, say, show_tree
from drt_engine.cli.summary import quality, state_lines

if TYPE_CHECKING:
    from drt_engine.hdf5 import Contents
    from drt_engine.hdf5.scan import InversionInfo, ProcessesInfo, SpectraInfo

__all__ = ["info"]


@app.command(epilog="Example: drt-engine info campaign.h5")
def info(
    file: Annotated[Path, typer.Argument(help="File of spectra, of inversions or of processes.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Say what is in a file: grids, states, statuses and where it comes from."""
    from drt_engine.hdf5 import scan
    from drt_engine.hdf5.reader import opened_grid, quality_of

    contents = _described(scan(file))
    if as_json:
        # JSON escapes all characters of control but one.
        say(*json.dumps({"file": file.name} | contents, indent=2).replace("\x7f", "\\u007f").split("\n"))
        return
    branches = {
        f"{kind}/{'/'.join(group[key] for key in ('name', 'grid') if key in group)}": _lines(group)
        for kind in ("spectra", "inversions", "processes")
        for group in contents[kind]
    }
    for key, lines in branches.items():
        kind, _, rest = key.partition("/")
        if kind == "spectra":
            with opened_grid(file, rest) as reader:
                states = reader.states(reader.rows(None))
            lines.extend(f"  {line}" for line in state_lines(states))
        elif kind == "inversions":
            name, grid = rest.split("/", maxsplit=1)
            if not contents["spectra"]:
                lines.extend(f"  {line}" for line in state_lines(quality_of(file, name, grid).states))
            lines.extend(quality(file, name, [grid]))
    show_tree(f"{file.name}, format version {contents['format_version']}", branches)


def _lines(group: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in group.items():
        if key == "older_campaign" and value is not None:
            lines.append(f"of an older campaign, {value}: spectra were added or masked since. Invert again.")
        elif key == "masked":
            if value:
                lines.append(f"points left out: {_plain_counts(value)}. drt-engine clean --undo takes them in again.")
        elif value is not None and key not in ("name", "grid", "older_campaign"):
            lines.append(f"{key.replace('_', ' ')}: {_plain(value)}")
    return lines


def _plain_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _described(contents: "Contents") -> dict[str, Any]:
    return {
        "format_version": contents.format_version,
        "spectra": [_of_spectra(found) for found in contents.spectra],
        "inversions": [_of_inversion(found) for found in contents.inversions],
        "processes": [_of_tracks(found) for found in contents.processes],
    }


def _of_spectra(found: "SpectraInfo") -> dict[str, Any]:
    return {
        "grid": found.grid,
        "spectra": found.spectra,
        "frequencies": int(found.frequency.size),
        "frequency_range_hz": [float(found.frequency.min()), float(found.frequency.max())],
        "masked": dict(found.masked),
        "states": list(found.states),
    }


def _of_inversion(found: "InversionInfo") -> dict[str, Any]:
    return {
        "name": found.name,
        "grid": found.grid,
        "spectra": found.spectra,
        "relaxation_times": int(found.tau.size),
        "tau_range_s": [float(found.tau[0]), float(found.tau[-1])],
        "states": list(found.states),
        "counts": dict(found.counts),
        **_of_series(found),
        "settings": dict(found.settings),
        "versions": dict(found.versions),
        "created": found.created,
        "source": found.source,
        "input_digest": found.input_digest,
        "where": found.where,
        "started": found.started,
        "older_campaign": found.older_campaign,
    }


def _of_tracks(found: "ProcessesInfo") -> dict[str, Any]:
    return {
        "name": found.name,
        "spectra": found.spectra,
        "observations": found.observations,
        "events": found.events,
        "unassigned": found.unassigned,
        "processes": list(found.processes),
        "along": found.along,
        "series": list(found.series),
        "columns": list(found.columns),
        "options": dict(found.options),
        "versions": dict(found.versions),
        "created": found.created,
        "source": found.source,
        "input_digest": found.input_digest,
        "older_campaign": found.older_campaign,
    }


def _of_series(found: "InversionInfo") -> dict[str, Any]:
    """Describe series that were inverted together; nothing if each spectrum was alone."""
    along = found.settings.get("along")
    if along is None:
        return {}
    return {
        "along": along if isinstance(along, str) else " and ".join(along),
        "series": list(found.settings.get("series") or ()),
        "coupling": None if found.coupling is None else list(found.coupling),
        "breaks": found.counts.get("break", 0),
    }


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
