"""What tests share that throw made-up input at something: for how long, and in which order.

``DRT_ENGINE_FUZZ_SECONDS`` is the time for all of them together, a few seconds unless it is set. Each takes its share.
It is time of the processor, so that other work on the machine takes nothing of it. The examples are the same in every
run, as far as it gets: a failure comes again.
"""

import os
from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

__all__ = ["DONE", "SHARES", "fuzz", "mutated"]

SECONDS = float(os.environ.get("DRT_ENGINE_FUZZ_SECONDS", "4"))
EXAMPLES_AT_ONCE = 40

SHARES = {"readers": 0.35, "HDF5 files": 0.35, "conditions": 0.15, "job files": 0.15}
"""What is fuzzed, and its share of the time."""

DONE: dict[str, tuple[int, float]] = {}
"""How many examples each has had, and for how many seconds of the processor; the report of the tests ends with it."""


def _processor_time() -> float:
    """Seconds of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def fuzz(examples: st.SearchStrategy[Any], check: Callable[[Any], None], *, what: str) -> int:
    """Call a check with examples until its share of the time is over; at least one batch of them.

    Parameters
    ----------
    examples : strategy
        Of hypothesis; what fails is made as small as it can be.
    check : callable
        Raises if something is wrong.
    what : str
        One of `SHARES`.

    Returns
    -------
    int
        How many examples there were.
    """
    begin = _processor_time()
    done = 0

    def counted(example: Any) -> None:
        nonlocal done
        done += 1
        check(example)

    for number in count():
        batch = given(examples)(counted)
        batch = settings(
            max_examples=EXAMPLES_AT_ONCE,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(batch)
        seed(number)(batch)()
        spent = _processor_time() - begin
        DONE[what] = (done, spent)
        if spent >= SHARES[what] * SECONDS:
            return done
    raise AssertionError


def mutated(originals: st.SearchStrategy[Any], pieces: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return text or bytes in which some slices are replaced by pieces.

    Parameters
    ----------
    originals, pieces : strategy
        Both of text, or both of bytes.
    """

    @st.composite
    def spoilt(draw: Callable[..., Any]) -> Any:
        content = draw(originals)
        for _ in range(draw(st.integers(0, 4))):
            first = draw(st.integers(0, len(content)))
            last = min(len(content), first + draw(st.integers(0, 8)))
            content = content[:first] + draw(pieces) + content[last:]
        return content

    return spoilt()
