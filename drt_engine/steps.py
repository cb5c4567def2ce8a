"""Progress of work that takes long, so that it goes on from there after a stop."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["WHOLE", "Kept", "Steps"]

Array = NDArray[Any]
T = TypeVar("T")

WHOLE = "whole"
"""The part of the work in which the outcomes of all others are put together."""

_OUTCOMES, _LENGTHS = "outcomes", "lengths"


class Kept:
    """Place where progress is kept; this one keeps nothing. Subclasses that do override :meth:`offer`.

    Parameters
    ----------
    found : mapping of str to ndarray, optional
        What was kept of the same work before it was stopped.
    """

    def __init__(self, found: Mapping[str, Array] | None = None) -> None:
        self._found = dict(found or {})
        self.lock = Lock()

    def offer(self, name: str, share: float, state: Callable[[], Mapping[str, Array]]) -> None:
        """Offer the state of a part of the work to be kept.

        Parameters
        ----------
        name : str
            Which part.
        share : float
            How much of the whole work is done in this part, from 0 to 1.
        state : callable
            Returns the arrays from which the part goes on; called with `lock` held.
        """

    def finish(self, name: str) -> None:
        """Note that a part is done: its outcome is in the part that puts all together, when that is offered next."""

    def found(self, name: str) -> dict[str, Array]:
        """Return what was kept of a part.

        Parameters
        ----------
        name : str
            Which part.
        """
        begin = f"{name}/"
        return {key[len(begin) :]: value for key, value in self._found.items() if key.startswith(begin)}

    def restore(self, name: str, arrays: Mapping[str, Array]) -> bool:
        """Put what was kept of a part into its arrays; return whether there was anything, whole and of their shapes."""
        if not self._found:
            return False
        found = self.found(name)
        if not _fit(found, arrays):
            return False
        for key, into in arrays.items():
            into[...] = found[key]
        return True


class Steps:
    """Work in steps, each of which begins from what the ones before it left.

    Parameters
    ----------
    kept : Kept, optional
        Where progress is kept; nowhere by default.
    name : str
        Which part of the work that is kept this is.
    weight : float
        How much of the whole work it is.
    """

    def __init__(self, kept: Kept | None = None, name: str = "", weight: float = 1.0) -> None:
        self._kept, self._name, self._weight = kept or Kept(), name, weight
        self._arrays: dict[str, Array] = {}
        self._outcomes: list[Array] = []
        self._before = self._kept.found(name)
        self._again: deque[Array] = deque()
        self._share, self._turns, self._turn = (0.0, 0.0), 0, 0
        self._last: dict[str, Array] = {}
        with suppress(KeyError, ValueError, TypeError):
            lengths = self._before.pop(_LENGTHS).astype(int)
            self._again.extend(np.split(self._before.pop(_OUTCOMES), np.cumsum(lengths)[:-1]))

    def on(self, **arrays: Array) -> None:
        """Name the arrays that further steps change, which steps before a stop are restored into."""
        self._arrays = arrays
        if self._before and not _fit(self._before, arrays):
            self._again.clear()

    def do(self, step: Callable[[], Array], share: float, turns: int = 0) -> Array:
        """Do a step, or return its outcome if it was done before the work was stopped.

        Parameters
        ----------
        step : callable
            Changes arrays of :meth:`on` and returns some numbers, shape (N,).
        share : float
            How much of this part is done then, from 0 to 1.
        turns : int
            How often :meth:`within` goes from 0 to 1 in a step that takes long; 0 for one that is short.
        """
        if self._again:
            outcome = self._again.popleft()
            if not self._again:
                for name, into in self._arrays.items():
                    into[...] = self._before[name]
        else:
            outcome = self._told_within(step, share, turns)
        self._share = share, share
        self._outcomes.append(outcome)
        if not self._again:
            self._kept.offer(self._name, share * self._weight, self._state)
        return outcome

    def end(self, step: Callable[[], T], turns: int) -> T:
        """Do the last step, whose outcome is too large to be kept; `turns` are as of :meth:`do`."""
        return self._told_within(step, 1.0, turns)

    def _told_within(self, step: Callable[[], T], share: float, turns: int) -> T:
        if turns == 0 or type(self._kept) is Kept:
            return step()
        self._turns, self._turn, self._share, self._last = turns, 0, (self._share[1], share), self._state()
        try:
            return step()
        finally:
            self._turns = 0

    def within(self, done: float) -> None:
        """Note how far a turn of a step is, from 0 on; what is kept is what there was before the step."""
        if not self._turns:
            return
        self._turn += done == 0.0
        (before, after), last = self._share, self._last
        share = before + (after - before) * min((self._turn - 1 + done) / self._turns, 1.0)
        self._kept.offer(self._name, share * self._weight, lambda: last)

    def finish(self) -> None:
        """Tell that this part is done."""
        self._kept.finish(self._name)

    def _state(self) -> dict[str, Array]:
        if not self._outcomes:
            return {}
        lengths = np.array([one.size for one in self._outcomes])
        told = {_OUTCOMES: np.concatenate(self._outcomes), _LENGTHS: lengths}
        return told | {name: values.copy() for name, values in self._arrays.items()}


def _fit(found: Mapping[str, Array], arrays: Mapping[str, Array]) -> bool:
    """Whether each array was kept, in its shape and type."""
    return set(found) == set(arrays) and all(
        found[name].shape == values.shape and found[name].dtype == values.dtype for name, values in arrays.items()
    )
