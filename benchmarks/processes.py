"""New processes, started and timed."""

import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "ROOT", "command_line", "json_of", "run", "seconds"]

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent


def run(command: Sequence[str | os.PathLike[str]], environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed.

    The packages of this repository are on its path, and it may write the bytecode that it needs the next time.

    Parameters
    ----------
    command : sequence of str
        The command and its arguments.
    environment : mapping, optional
        What is added to the environment.

    Raises
    ------
    RuntimeError
        If it fails, with what it wrote about that.
    """
    surroundings = os.environ | {"PYTHONPATH": _path()} | dict(environment or {})
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return done.stdout


def json_of(script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a script of this folder and return the JSON object on the last line that it prints."""
    printed = run([sys.executable, FOLDER / script, *arguments], environment)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def seconds(command: Sequence[str | os.PathLike[str]], repeats: int) -> list[float]:
    """Wall times of a command, after one run that is not counted."""
    run(command)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run(command)
        times.append(time.perf_counter() - begin)
    return times


def command_line() -> list[str]:
    """Return the command that starts ``drt-engine`` as it is installed beside this Python."""
    script = Path(sysconfig.get_path("scripts")) / "drt-engine"
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from drt_engine.cli import main; main()"]


def _path() -> str:
    own = (str(ROOT), str(ROOT / "kernels"))
    return os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])
