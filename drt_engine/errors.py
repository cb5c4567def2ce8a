"""The errors that the engine raises on purpose.

Every message says what is wrong, what was got, what was expected and how to cure it, for example
``frequency must be positive; got 0 Hz at index 59. Drop the DC point first.``
"""

from collections.abc import Iterable

__all__ = [
    "DRTError",
    "FileFormatError",
    "FileWriteError",
    "InputError",
    "JobInterrupted",
    "JobMismatchError",
    "OutputBusyError",
    "OutputExistsError",
    "SolverError",
    "UnknownNameError",
]


class DRTError(Exception):
    """The family of all errors that the engine raises on purpose."""


class InputError(DRTError, ValueError):
    """An argument or a measurement that cannot be worked with."""


class UnknownNameError(InputError):
    """A name that is not among the known ones.

    Parameters
    ----------
    what : str
        What the name was to choose, for example ``"basis"``.
    got : object
        What was given.
    known : iterable of str
        The names that would have worked.
    """

    def __init__(self, what: str, got: object, known: Iterable[str]) -> None:
        self._arguments = what, got, tuple(known)
        super().__init__(f"{what} {got!r} is not known; expected one of {', '.join(map(repr, self._arguments[2]))}.")

    def __reduce__(self) -> tuple[type["UnknownNameError"], tuple[str, object, tuple[str, ...]]]:
        """Let it cross from a worker process: an exception is otherwise made again from its message alone."""
        return type(self), self._arguments


class FileFormatError(DRTError, OSError):
    """A file that is not what its reader expects."""


class FileWriteError(DRTError, OSError):
    """A file that cannot be written."""


class OutputExistsError(DRTError, FileExistsError):
    """A file that would be overwritten."""


class OutputBusyError(DRTError, OSError):
    """A file that another job is making at this time."""


class JobMismatchError(DRTError, ValueError):
    """Blocks of an unfinished job that was another one."""


class JobInterrupted(KeyboardInterrupt):
    """Ctrl-C in a job; what is done is kept.

    Parameters
    ----------
    done, total : int
        How many of how many spectra are done.
    """

    def __init__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        super().__init__(f"interrupted; {done} of {total} spectra are done and kept. The same job goes on from there.")


class SolverError(DRTError, RuntimeError):
    """A solver that could not be run at all; a solution that is not optimal is a status and not an error."""
