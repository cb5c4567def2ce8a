"""Jobs written down in a TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drt_engine.errors import FileFormatError, InputError, UnknownNameError
from drt_engine.outputs import PathLike, require_file

__all__ = ["JobFile", "read_job"]

_JOB: Mapping[str, type] = {
    "workers": int,
    "scheduler": str,
    "level": float,
    "where": str,
    "name": str,
    "block": int,
    "compression": str,
    "dtype": str,
    "overwrite": bool,
    "restart": bool,
    "strict": bool,
}
_ROOT: Mapping[str, type] = {"input": str, "output": str, "method": dict, "job": dict}
_WORDS = {str: "text", int: "a whole number", float: "a real number", bool: "true or false", dict: "a table"}


@dataclass(frozen=True)
class JobFile:
    """What a job file says.

    Attributes
    ----------
    input : Path
        File of spectra.
    output : Path or None
        File of inversions.
    method : dict
        Settings of the method, as :meth:`Method.settings` has them; what is not there is as by default.
    job : dict
        Options of the job: ``workers``, ``overwrite``, ``strict`` and those of :class:`JobOptions`.
    """

    input: Path
    output: Path | None
    method: dict[str, Any]
    job: dict[str, Any]


def read_job(path: PathLike) -> JobFile:
    """Read a job file.

    ``input`` and ``output`` are relative to the folder of the file. The tables ``method`` and ``job`` may be missing.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    FileFormatError
        If it is no regular file, cannot be read or is not TOML.
    UnknownNameError
        For a key that there is none of.
    InputError
        For a value of another type, and without ``input``.
    """
    where = Path(path)
    require_file(where, "a job file")
    try:
        found = tomllib.loads(where.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise FileFormatError(f"{path}: is not TOML: {error}.") from error
    _check(f"{path}: the key", found, _ROOT)
    method, job = {"name": "LogGaussian"} | found.get("method", {}), found.get("job", {})
    _check(f"{path}: the key of [method]", {"name": method["name"]}, {"name": str})
    _check(f"{path}: the key of [job]", job, _JOB)
    if "input" not in found:
        raise InputError(f'{path}: names no input. Write input = "campaign.h5" in its first line.')
    output = where.parent / found["output"] if "output" in found else None
    return JobFile(where.parent / found["input"], output, method, job)


def _check(what: str, found: Mapping[str, Any], known: Mapping[str, type]) -> None:
    for key, value in found.items():
        if key not in known:
            raise UnknownNameError(what, key, known)
        if not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is not bool):
            raise InputError(f"{what} {key!r} must be {_WORDS[known[key]]}; got {value!r}.")
