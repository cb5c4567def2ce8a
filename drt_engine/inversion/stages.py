"""Progress of the work on a block of spectra, so that it goes on from there after a stop."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.steps import WHOLE, Kept, Steps

__all__ = ["Stages"]


class Stages:
    """Stages of the work on a block: spectra inverted by themselves, 1, along their series, 2, or across series, 3.

    Parameters
    ----------
    out : dict of str to ndarray
        Arrays of the result; what was kept is put there.
    kept : Kept
        Where it is kept.
    stages : sequence of float
        Share of the work that is done after each.
    """

    def __init__(self, out: dict[str, Any], kept: Kept, stages: Sequence[float]) -> None:
        self.out, self._kept, self._stages = out, kept, np.array(stages)
        self._done = np.zeros(len(out["status"]), dtype=np.uint8)
        kept.restore(WHOLE, self._arrays())

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self.out | {"done": self._done}

    def is_past(self, stage: int, rows: NDArray[np.intp]) -> bool:
        """Whether some spectra have reached a stage."""
        return bool((self._done[rows] >= stage).all())

    def put(self, stage: int, rows: NDArray[np.intp], work: Callable[[], None] = lambda: None, name: str = "") -> None:
        """Do the last, short work of a stage, and note that spectra reached it; `name` is its part of the work."""
        # Without anything that is kept, threads need not wait for each other.
        with nullcontext() if type(self._kept) is Kept else self._kept.lock:
            work()
            self._done[rows] = stage
        self._kept.finish(name)
        if type(self._kept) is Kept:
            return
        share = float(self._stages[self._done].mean())
        self._kept.offer(WHOLE, share, lambda: {name: one.copy() for name, one in self._arrays().items()})

    def steps(self, stage: int, rows: NDArray[np.intp], turn: int | None = None) -> tuple[Steps, str]:
        """Return the steps that lead some spectra to a stage, in one or in several turns, and the name of these."""
        name = f"{stage}-{rows[0]}" if turn is None else f"{stage}-{rows[0]}-{turn}"
        weight = (self._stages[stage] - self._stages[stage - 1]) * rows.size / self._done.size
        return Steps(self._kept, name, float(weight) * (1.0 if turn is None else 0.5 ** (turn + 1))), name

    def finish(self, names: Sequence[str]) -> None:
        """Take note that parts are done whose results are in the arrays."""
        for name in names:
            self._kept.finish(name)
