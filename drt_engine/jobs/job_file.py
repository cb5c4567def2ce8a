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
_SCHEDULERS = ("inline", "threads", "processes")
_MOST_BYTES = 2**16  # far more than all settings take; what is larger is some other file
# Of a line; the time that a key of so many parts takes to read grows with their square.
_MOST_DOTS = 2000
# More than one machine has processors, as a rule: a job file from somebody else must not start thousands.
_MOST_WORKERS = 256
_WORDS = {str: "text", int: "a whole number", float: "a real number", bool: "true or false", dict: "a table"}


@dataclass(frozen=True)
class JobFile:
    """Settings that a job file states.

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
        If it is no regular file, cannot be read, is too large or is not TOML.
    UnknownNameError
        For a key that does not exist.
    InputError
        For a value of another type, without ``input``, and for a cluster or a number of processes that only whoever
        runs the job can ask for.
    """
    where = Path(path)
    require_file(where, "a job file")
    try:
        if (size := where.stat().st_size) > _MOST_BYTES:
            raise FileFormatError(f"{path}: has {size} bytes; job files are read up to {_MOST_BYTES}.")
        text = where.read_text(encoding="utf-8")
        if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
            raise FileFormatError(f"{path}: has a line with more than {_MOST_DOTS} dots, which no job file has.")
        found = tomllib.loads(text)
    except FileFormatError:
        raise
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise FileFormatError(f"{path}: is not TOML: {error}.") from error
    except RecursionError as error:
        raise FileFormatError(f"{path}: is nested too deeply for a job file.") from error
    _check(f"{path}: the key", found, _ROOT)
    method, job = {"name": "LogGaussian"} | found.get("method", {}), found.get("job", {})
    _check(f"{path}: the key of [method]", {"name": method["name"]}, {"name": str})
    _check(f"{path}: the key of [job]", job, _JOB)
    _check_harmless(path, job)
    if "input" not in found:
        raise InputError(f'{path}: names no input. Write input = "campaign.h5" in its first line.')
    output = where.parent / found["output"] if "output" in found else None
    return JobFile(where.parent / found["input"], output, method, job)


def _check_harmless(path: PathLike, job: Mapping[str, Any]) -> None:
    """Refuse what a file from others should not decide: whom to connect to, and how many processes to start."""
    if (scheduler := job.get("scheduler")) not in (None, *_SCHEDULERS):
        raise InputError(
            f"{path}: scheduler {scheduler!r} cannot be named by a job file; it takes "
            f"{', '.join(map(repr, _SCHEDULERS))}. A cluster and whoever uses it run each other's programs: give its "
            "address on the command line, --scheduler tcp://node1:8786."
        )
    if job.get("workers", 1) > _MOST_WORKERS:
        raise InputError(
            f"{path}: a job file can ask for {_MOST_WORKERS} workers at most; got {job['workers']}. Give more of them "
            "on the command line: --workers."
        )


def _check(what: str, found: Mapping[str, Any], known: Mapping[str, type]) -> None:
    for key, value in found.items():
        if key not in known:
            raise UnknownNameError(what, key, known)
        if not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is not bool):
            raise InputError(f"{what} {key!r} must be {_WORDS[known[key]]}; got {value!r}.")
