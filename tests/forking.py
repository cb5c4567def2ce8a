"""Work in a copy of this process, which may be killed, crash or hang."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable

__all__ = ["fork", "outcome"]


def fork(work: Callable[[], object]) -> int:
    """Begin to do work in a copy of this process and return its number; it ends with 0, or with 1 after an error."""
    with warnings.catch_warnings():
        # Newer versions of Python warn where there are threads; the copy uses none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:  # it must not go on with what its parent does
        traceback.print_exc(file=sys.__stderr__)
        os._exit(1)


def outcome(work: Callable[[], object], seconds: int) -> str:
    """Do work in a copy of this process: ``"done"``, ``"error"``, ``"hangs"``, or the signal that killed it."""

    def limited() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        work()

    _, status = os.waitpid(fork(limited), 0)
    if not os.WIFSIGNALED(status):
        return "error" if os.WEXITSTATUS(status) else "done"
    number = os.WTERMSIG(status)
    return "hangs" if number == signal.SIGALRM else signal.Signals(number).name
