"""Work in a copy of this process, which may be killed, crash or hang."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable

__all__ = ["fork", "outcome"]

_HANGS = (signal.SIGALRM, signal.SIGPROF)


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
    """Do work in a copy of this process: ``"done"``, ``"error"``, ``"hangs"``, or the signal that killed it.

    It hangs after so many seconds of the processor, or if it waits for ten times as long.
    """

    def limited() -> None:
        for number in _HANGS:
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(10 * seconds)
        work()

    _, status = os.waitpid(fork(limited), 0)
    if not os.WIFSIGNALED(status):
        return "error" if os.WEXITSTATUS(status) else "done"
    number = os.WTERMSIG(status)
    return "hangs" if number in _HANGS else signal.Signals(number).name
