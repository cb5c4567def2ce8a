"""Summary of a file: the values of its states, and the quality of its solutions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drt_engine.cli.app import spelled
from drt_engine.text import count_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["named_row", "quality", "state_lines", "values_of"]

_MOST_VALUES, _MOST_ROWS, _MOST_LETTERS = 6, 2000, 40
"""Most values of a state that are listed, most spectra whose fit is computed for a remark, and most characters of a
value."""
_MOST_READ, _MOST_GROUPS = 200, 60
"""Most spectra that are read to find where residuals are large, and most values of a state that spectra are grouped
by."""
_OWN = ("digest", "sweep")
_NAMING = ("cell", "cycle", "voltage", "direction", "temperature", "state", "source")


def state_lines(states: "pd.DataFrame") -> list[str]:
    """Write one line a state: which values it has, as ``--where`` takes them.

    Parameters
    ----------
    states : DataFrame
        What each spectrum was measured at.
    """
    return [f"{name}: {values_of(states[name])}" for name in states.columns if name not in _OWN]


def values_of(column: "pd.Series[Any]") -> str:
    """Write the values of a state: all of them if they are few, or else their range."""
    import pandas as pd

    known = column.dropna()
    distinct = known.drop_duplicates()
    number = pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known)
    values = [f"{value:.6g}" if number else str(value) for value in (distinct.sort_values() if number else distinct)]
    values = [_short(value) for value in dict.fromkeys(values)]
    text = ", ".join(values) or "none"
    if len(values) > _MOST_VALUES:
        some = f"{values[0]} to {values[-1]}" if number else f"{', '.join(values[:3])}, …"
        text = f"{some} ({len(values)} values)"
    missing = len(column) - len(known)
    return text + (f"; none in {missing} of {len(column)} spectra" if missing and len(known) else "")


def _short(value: str) -> str:
    """Shorten a text that would fill lines, such as a comment."""
    return value if len(value) <= _MOST_LETTERS else f"{value[: _MOST_LETTERS - 1]}…"


def named_row(row: int, states: "pd.DataFrame") -> str:
    """Name a spectrum by its row and its states."""
    import pandas as pd

    here = states.iloc[row]
    known = [name for name in _NAMING if name in states.columns and not pd.isna(here[name])]
    said = ", ".join(
        f"{name} {here[name]:.6g}" if isinstance(here[name], float) else f"{name} {here[name]}" for name in known
    )
    return f"row {row}" + (f": {said}" if said else "")


def quality(path: Path, name: str, grids: Sequence[str]) -> list[str]:
    """Describe the quality of the solutions of an inversion, and what to do about each remark.

    Parameters
    ----------
    path : Path
        File of inversions.
    name : str
        Name of the inversion.
    grids : sequence of str
        Names of the grids, which are looked at together.
    """
    import numpy as np

    from drt_engine.hdf5.reader import quality_of
    from drt_engine.status import Status

    each = [quality_of(path, name, grid) for grid in grids]
    residual, status = (np.concatenate([getattr(one, key) for one in each]) for key in ("residual", "status"))
    place = [(number, row) for number, one in enumerate(each) for row in range(len(one.states))]

    def named(row: int) -> str:
        number, own = place[row]
        within = f"{grids[number]} " if len(grids) > 1 else ""
        return within + named_row(own, each[number].states)

    lines = []
    known = np.flatnonzero(np.isfinite(residual))
    misfit = (status & np.uint32(Status.MISFIT)) != 0
    if known.size:
        worst = int(known[np.argmax(residual[known])])
        median, most = (100.0 * float(value) for value in (np.median(residual[known]), residual[worst]))
        lines.append(f"residual: median {median:.2g} %, worst {most:.2g} % ({named(worst)})")
    if misfit.any():
        lines.append(_graded(residual, misfit))
    for flag in Status:
        rows = np.flatnonzero(status & np.uint32(flag)) if flag else np.empty(0, dtype=int)
        if rows.size:
            word = str(flag.name).lower().replace("_", " ")
            where = _where([one.states for one in each], rows)
            if flag is Status.MISFIT:
                own = [place[row] for row in rows[:: 1 + rows.size // _MOST_READ]]
                where += _at_which_frequencies(path, name, grids, own)
            lines.append(f"{rows.size} {word}, first {named(int(rows[0]))}{where}. {spelled(flag.message)}")
    extrapolated = np.uint32(Status.EXTRAPOLATED)
    piled = sum(_unbounded(one.impedance_at, np.flatnonzero(one.status & extrapolated)) for one in each)
    if piled and not each[0].tail:
        lines.append(
            f"{count_of(piled, 'of them is', 'of them are')} unbounded at low frequency: -Im Z still rises at "
            "the lowest frequencies, and γ piles up at the edge. Try --capacitance, or --tail auto."
        )
    return lines


def _graded(residual: "NDArray[np.float64]", misfit: "NDArray[np.bool_]") -> str:
    """Say how many spectra γ describes and how well, and how far it is from the others."""
    import numpy as np

    solved = np.isfinite(residual)
    good, bad = 100.0 * residual[solved & ~misfit], 100.0 * residual[solved & misfit]
    describe = count_of(solved.sum(), "solution describes its spectrum", "solutions describe their spectra")
    text = f"{good.size} of {describe}"
    text += f", residual median {np.median(good):.2g} %" if good.size else ""
    grades = ((0.0, 1.0, "below 1 %"), (1.0, 5.0, "1 to 5 %"), (5.0, np.inf, "more"))
    counts = [f"{word} in {np.count_nonzero((bad >= low) & (bad < high))}" for low, high, word in grades]
    return f"{text}; {count_of(bad.size, 'does', 'do')} not (misfit): their residual is {', '.join(counts)}"


def _where(states: "Sequence[pd.DataFrame]", rows: "NDArray[np.intp]") -> str:
    """Say for which values of a state all spectra have a remark and for which none, if a state separates them so."""
    import numpy as np
    import pandas as pd

    every = pd.concat(states, ignore_index=True)
    found = np.zeros(len(every), dtype=bool)
    found[rows] = True
    most = 0.2 * min(rows.size, found.size - rows.size)
    for column in _NAMING:
        if column not in every.columns or not 2 <= every[column].nunique() <= min(_MOST_GROUPS, len(every) // 3):
            continue
        number, values = pd.factorize(every[column])
        size, count = (np.bincount(number[which & (number >= 0)], minlength=len(values)) for which in (True, found))
        if not most or np.minimum(count, size - count).sum() > most:
            continue
        of = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
        most_of = count > size / 2
        much, few = (", ".join(np.array(of)[which]) for which in (most_of, ~most_of))
        if int(most_of.sum()) <= max(int((~most_of).sum()), 3):
            return f"; nearly all of {column} {much}, and few of the others"
        return f"; few of {column} {few}, and nearly all of the others"
    return ""


def _at_which_frequencies(path: Path, name: str, grids: Sequence[str], place: Sequence[tuple[int, int]]) -> str:
    """Say between which frequencies nine tenths of the squares of residuals lie, if that is a part of them."""
    import numpy as np

    from drt_engine.hdf5 import read_inversion

    ends, whole = [], []
    for number, grid in enumerate(grids):
        rows = [row for own, row in place if own == number]
        result = read_inversion(path, name, grid or None, rows) if rows else None
        if result is None or result.impedance is None:
            continue
        with np.errstate(invalid="ignore", divide="ignore"):  # points may be missing
            off = np.abs(result.impedance_at(result.frequency) / result.impedance - 1.0) ** 2
        for one in np.where(np.isfinite(off), off, 0.0):
            share = np.cumsum(one) / max(one.sum(), 1e-300)
            ends.append(np.log(result.frequency[[np.searchsorted(share, 0.95), np.searchsorted(share, 0.05)]]))
            whole.append(np.log(result.frequency[0] / result.frequency[-1]))
    if not ends:
        return ""
    low, high = np.median(ends, axis=0)
    if high - low > 0.6 * np.median(whole):
        return ""
    low, high = np.exp([low, high])
    return f"; what they leave lies mostly at {low:.2g} to {high:.2g} Hz (drt-engine clean --frequency-range)"


def _unbounded(impedance_at: Any, rows: "NDArray[np.intp]") -> int:
    """Count the spectra whose −Im Z rises towards the lowest frequency, of some where there are many."""
    import numpy as np

    z = impedance_at(rows[:_MOST_ROWS]) if rows.size else None
    if z is None:
        return 0
    count = 0
    for one in z:
        tail = -one[np.isfinite(one)].imag[-3:]
        count += int(tail.size == 3 and tail[2] > tail[1] > tail[0] > 0.0)
    return count
