"""What one person looks at: two selections, pins, and the selection inverted again. It knows of no browser."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event, RLock
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import DRTError, InputError
from drt_engine.explore.source import Series, Source
from drt_engine.spectra import Spectra
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine.methods import Method
    from drt_engine.result import Inversion
    from drt_engine.validation import Validation

__all__ = ["LEVEL", "Again", "Difference", "Line", "One", "Scope", "Session", "Side"]

Rows = NDArray[np.intp]
Array = NDArray[np.float64]
T = TypeVar("T")
Key = tuple[Any, ...]  # a kind, and of what

Side = Literal["a", "b"]
Scope = Literal["selection", "selections and pins", "series"]

LEVEL = 0.95
"""Probability of all intervals that are shown."""

MOST_OF_LINE = 300
"""Spectra of a series that are read, at most: a map has no more pixels."""

# Spectra inverted together of which intervals are computed on a click: a bound on its time and memory.
_MOST_JOINED = 2000
# Answers to clicks of each kind that are kept, so that going back is quick and memory has a bound.
_KEPT = 24


@dataclass(frozen=True, eq=False)
class One:
    """A spectrum with its solution.

    Attributes
    ----------
    row : int
        Number of the spectrum.
    spectra : Spectra
        The one spectrum.
    result : Inversion or None
        Its solution, with intervals where there are some; None where it was not inverted.
    remark : str
        Why there are no intervals, and what the status says.
    """

    row: int
    spectra: Spectra
    result: "Inversion | None"
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Line:
    """A series, or as many of its spectra as a map has pixels.

    Attributes
    ----------
    rows : ndarray of int, shape (R,)
        The spectra, in order.
    value : ndarray, shape (R,)
        Of the state that the series runs along.
    total : int
        How many spectra the series has.
    spectra : Spectra
        The spectra, in this order.
    result : Inversion or None
        Their solutions.
    """

    rows: Rows
    value: Array
    total: int
    spectra: Spectra
    result: "Inversion | None"


@dataclass(frozen=True, eq=False)
class Again:
    """Spectra that were inverted again.

    Attributes
    ----------
    rows : ndarray of int, shape (R,)
        Which.
    old, new : Inversion
        Their solutions in the file, or None, and the new ones.
    """

    rows: Rows
    old: "Inversion | None"
    new: "Inversion"

    def table(self) -> pd.DataFrame:
        """Return one row a spectrum: what was found before, and what is found now."""
        columns: dict[str, Any] = {"spectrum": self.rows}
        for word, result in (("old", self.old), ("new", self.new)):
            if result is None:
                continue
            for name in ("r_inf", "r_pol", "residual", "regularisation", "inductance"):
                columns[f"{name} {word}"] = getattr(result, name)
            columns[f"remarks {word}"] = result.to_frame()["remarks"].to_numpy()
        return pd.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class Difference:
    """How γ and R_pol change from selection A to selection B.

    Attributes
    ----------
    tau : ndarray, shape (M,)
        Relaxation times, s.
    gamma, gamma_low, gamma_high : ndarray, shape (M,)
        Change of γ and its interval, ohm; NaN where there is no interval.
    r_pol, r_pol_low, r_pol_high : float
        Change of R_pol and its interval, ohm.
    how : str
        What the interval stands for.
    """

    tau: Array
    gamma: Array
    gamma_low: Array
    gamma_high: Array
    r_pol: float
    r_pol_low: float
    r_pol_high: float
    how: str


@dataclass
class Session:
    """What is looked at.

    Parameters
    ----------
    source : Source
        The files.
    measured : bool
        Whether only what was measured is looked at, until :meth:`read_solutions`: to read it loads a tenth of what
        solutions need.

    Attributes
    ----------
    series : Series
        How the spectra are divided.
    a, b : int or None
        Rows that are selected; there is always an A.
    pins : list of int
        Rows that stay in view.
    again : Again or None
        What was inverted again last.
    """

    source: Source
    measured: bool = False
    series: Series = field(init=False)
    a: int = 0
    b: int | None = None
    pins: list[int] = field(default_factory=list)
    again: Again | None = None
    _known: "OrderedDict[Key, Any]" = field(default_factory=OrderedDict, repr=False)
    _making: dict[Key, Event] = field(default_factory=dict, repr=False)
    _names: dict[int, str] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=RLock, repr=False)

    def __post_init__(self) -> None:
        """Begin with the first series."""
        self.series = self.source.series()
        self.a = int(self.series.rows(0)[0])

    def read_solutions(self) -> None:
        """Look at solutions as well from now on, and read those of the selection."""
        with self._lock:
            self.measured = False
            self._known.clear()
        with suppress(DRTError):  # who shows them says what is wrong with them
            self.one(self.a)

    def along(self, name: str) -> None:
        """Let series run along another state."""
        if name not in self.source.along:
            raise InputError(f"series cannot run along {name!r}; choose one of {', '.join(self.source.along)}.")
        self.series = self.source.series(name)
        self._known.clear()
        self._names.clear()

    @property
    def telling(self) -> list[str]:
        """States that tell series apart and differ within the file."""
        names, varies = self.series.columns, self.source.varies
        return self._remembered(("telling",), lambda: [name for name in names if varies(name)])

    @property
    def has_own_spectra(self) -> bool:
        """Whether the file of inversions has the spectra that were inverted."""
        first = self._first()
        return first is not None and first.impedance is not None

    @property
    def has_own_intervals(self) -> bool:
        """Whether the file of inversions has intervals."""
        first = self._first()
        return first is not None and first.intervals is not None

    @property
    def method(self) -> "Method | None":
        """What the file was inverted with; None where nothing was."""
        first = self._first()
        return None if first is None else first.method

    def choose(self, row: int, side: Side = "a") -> None:
        """Select a spectrum."""
        if not 0 <= row < len(self.source):
            raise InputError(f"row must be one of {count_of(len(self.source), 'spectrum')}; got {row}.")
        if side == "a":
            self.a = row
        else:
            self.b = row

    def pin(self, row: int) -> None:
        """Keep a spectrum in view."""
        if row not in self.pins:
            self.pins.append(row)

    def nearest(self, row: int, name: str, value: Any) -> int:
        """Find the spectrum with a value of a state that is otherwise most like another one.

        Parameters
        ----------
        row : int
            That other one.
        name : str
            The state; of the one that series run along the nearest value within the series is taken.
        value : object
            The value.
        """
        states, series = self.source.states, self.series
        if name == series.along:
            mine = series.rows(row)
            return int(mine[np.nanargmin(np.abs(series.value[mine] - float(value)))])
        found = np.flatnonzero((states[name] == value).to_numpy(dtype=bool, na_value=False))
        if not found.size:
            raise InputError(f"no spectrum has {name} = {value!r}.")
        alike = np.zeros(found.size)
        for other in series.columns:
            if other != name:
                alike += (states[other].iloc[found] == states[other].iloc[row]).to_numpy(dtype=bool, na_value=False)
        best = found[alike == alike.max()]
        distance = np.abs(series.value[best] - series.value[row])
        return int(best[np.argmin(np.where(np.isfinite(distance), distance, np.inf))])

    def named(self, row: int) -> str:
        """Name a spectrum by the states that tell it apart, or by its number."""
        return self.names([row])[0]

    def names(self, rows: ArrayLike) -> list[str]:
        """Name spectra by the states that tell them apart, or by their numbers."""
        asked = np.asarray(rows, dtype=int).tolist()
        if new := [row for row in dict.fromkeys(asked) if row not in self._names]:
            names = [*self.telling, *([] if self.series.along == "spectrum" else [self.series.along])]
            said: list[list[str]] = [[] for _ in new]
            for name in names:
                values = self.source.states[name].iloc[new]
                for words, value, missing in zip(said, values, pd.isna(values), strict=True):
                    if not missing:
                        words.append(_spelled(name, value))
            self._names |= {row: ", ".join(words) or f"spectrum {row}" for row, words in zip(new, said, strict=True)}
        return [self._names[row] for row in asked]

    def one(self, row: int) -> One:
        """Read a spectrum with its solution and, where that is quick, its intervals."""
        return self._remembered(("one", row), lambda: self._one(row))

    def _one(self, row: int) -> One:
        line = self.line(row)
        if row in line.rows:
            place = np.flatnonzero(line.rows == row)
            spectra, result = line.spectra[place], None if line.result is None else line.result[place]
        else:
            spectra, result = self.read(np.array([row]))
        if result is None:
            return One(row, spectra, None)
        remark = str(result.to_frame()["remarks"].iloc[0])
        if not result.solved[0] or self.joined(row) is not None:
            return One(row, spectra, result, remark)
        try:
            found = result if result.intervals is not None else result.with_intervals(LEVEL)
        except DRTError as error:
            return One(row, spectra, result, f"{remark}; no intervals: {error}")
        return One(row, spectra, found, remark)

    def joined(self, row: int) -> Rows | None:
        """Rows that a spectrum was inverted together with, where its intervals depend on them and are not stored."""
        from drt_engine.methods import LogGaussian

        result = self._first()
        method = None if result is None else result.method
        if not isinstance(method, LogGaussian) or method.along is None or (result and result.intervals is not None):
            return None
        states = self.source.states
        same = np.ones(len(states), dtype=bool)
        for name in method.series or ():
            here = states[name].iloc[row]
            same &= (states[name].isna() if pd.isna(here) else states[name] == here).to_numpy(
                dtype=bool, na_value=False
            )
        return np.flatnonzero(same)

    def _first(self) -> "Inversion | None":
        return self._remembered(("first",), lambda: self.source.result(np.array([0])))

    def with_joined_intervals(self, row: int) -> One:
        """Compute the intervals of a spectrum that was inverted together with others; that takes a while."""
        rows = self.joined(row)
        if rows is None:
            return self.one(row)
        if rows.size > _MOST_JOINED:
            one = self.one(row)
            return replace(one, remark=f"{one.remark}; no intervals: {rows.size} spectra were inverted together")
        group = self._together(rows)
        own = group[[int(np.searchsorted(rows, row))]]
        found = replace(self.one(row), result=own)
        self._known["one", row] = found
        return found

    def _together(self, rows: Rows) -> "Inversion":
        def read() -> "Inversion":
            result = self.read(rows)[1]
            assert result is not None
            return result.with_intervals(LEVEL)

        return self._remembered(("joined", int(rows[0]), rows.size), read)

    def line(self, row: int) -> Line:
        """Read the series of a spectrum, or as much of it as a map can show."""
        return self._remembered(("line", int(self.series.member[row])), lambda: self._line(row))

    def _line(self, row: int) -> Line:
        rows = every = self.series.rows(row)
        if every.size > MOST_OF_LINE:
            rows = every[np.unique(np.linspace(0, every.size - 1, MOST_OF_LINE).round().astype(int))]
        spectra, result = self.read(rows)
        return Line(rows, self.series.value[rows], every.size, spectra, result)

    def read(self, rows: Rows) -> "tuple[Spectra, Inversion | None]":
        """Read spectra and their solutions, to which the spectra are attached."""
        if self.measured:
            return self.source.measured(rows), None
        result = self.source.result(rows)
        spectra = self.source.spectra(rows, result)
        if result is not None and result.impedance is None:
            result = result.with_spectra(spectra)
        return spectra, result

    def curve(self, row: int) -> pd.DataFrame | None:
        """Return the part of the voltage profile that belongs to a series, or about 1000 points of it."""
        return self._remembered(("curve", int(self.series.member[row])), lambda: self._curve(row))

    def _curve(self, row: int) -> pd.DataFrame | None:
        profile, states = self.source.profile, self.source.states
        if profile is None:
            return None
        same = np.ones(len(profile), dtype=bool)
        for name in ("cell", "cycle", "direction"):
            if name in profile.columns and name in states.columns and name != self.series.along:
                same &= (profile[name] == states[name].iloc[row]).to_numpy(dtype=bool)
        found = profile[same]
        return found.iloc[:: max(1, len(found) // 1000)] if len(found) else None

    def validity(self, row: int) -> "Validation":
        """Test the series of a spectrum by Kramers and Kronig."""
        from drt_engine.validation import validate

        line = self.line(row)
        return self._remembered(("validity", *_key(line)), lambda: validate(line.spectra))

    def processes(self, row: int) -> pd.DataFrame | None:
        """Return processes in the series of a spectrum: those of the file, or else they are found and followed now.

        Returns
        -------
        DataFrame or None
            One row an observation: ``process``, ``spectrum`` (number of the row), ``tau``, ``r``, ``c``, and their
            errors where they are known; None where nothing was inverted.
        """
        line = self.line(row)
        if line.result is None:
            return None
        return self._remembered(("processes", *_key(line)), lambda: self._observed(line))

    def _observed(self, line: Line) -> pd.DataFrame:
        tracks = self.source.tracks
        if tracks is None:
            return self._followed(line)
        table = tracks.table
        return table[table["spectrum"].isin(line.rows)].assign(process=lambda found: found["process"].astype(str))

    def _followed(self, line: Line) -> pd.DataFrame:
        from drt_engine.peaks import without_edges
        from drt_engine.tracking import track

        result = line.result
        assert result is not None
        peaks = without_edges(result.peaks())
        peaks = peaks[peaks["r"] > 0.0]
        # Along the place in the series, which no two spectra have in common, as they may have a voltage.
        place = np.arange(line.rows.size, dtype=float)
        states = pd.DataFrame({"place": place})
        peaks = peaks.assign(place=place[peaks["spectrum"].to_numpy()])
        if not len(peaks) or line.rows.size < 2:
            # Of one spectrum nothing is followed: each peak is a process, from fast to slow.
            table = peaks.sort_values("tau").assign(process=[f"P{number + 1}" for number in range(len(peaks))])
        else:
            table = track(peaks, "place", (), states=states).table
        return table.assign(process=table["process"].astype(str), spectrum=line.rows[table["spectrum"].to_numpy()])

    def difference(self) -> Difference | None:
        """How γ and R_pol change from A to B, with intervals; None without a B or without solutions."""
        if self.b is None or self.b == self.a or not self.source.solved[[self.a, self.b]].all():
            return None
        return self._remembered(("difference", self.a, self.b), self._difference)

    def _difference(self) -> Difference:
        assert self.b is not None
        one, other = self.one(self.a).result, self.one(self.b).result
        assert one is not None
        assert other is not None
        if not one.method.linear:
            rows, here, there = self._both(self.a, self.b)
            both = self.read(rows)[1]
            assert both is not None
            found = both.change(here, there, LEVEL)
            joined = self.joined(self.a) is not None
            how = "of spectra inverted together" if joined else "of spectra inverted each alone; uncertainties add up"
            kept = (found.tau, found.gamma, found.gamma_low, found.gamma_high)
            return Difference(*kept, found.r_pol, found.r_pol_low, found.r_pol_high, how)
        return _of_two(one, other)

    def _both(self, a: int, b: int) -> tuple[Rows, int, int]:
        groups = [self.joined(row) for row in (a, b)]
        rows = np.unique(np.concatenate([np.array([a, b]), *(group for group in groups if group is not None)]))
        if rows.size > _MOST_JOINED:
            raise InputError(f"{rows.size} spectra were inverted together, too many to compare on the spot.")
        return rows, int(np.searchsorted(rows, a)), int(np.searchsorted(rows, b))

    def rows(self, scope: Scope) -> Rows:
        """Rows that a scope means."""
        if scope not in get_args(Scope):
            raise InputError(f"scope must be one of {', '.join(get_args(Scope))}; got {scope!r}.")
        if scope == "series":
            return np.asarray(self.series.rows(self.a))
        chosen = [self.a] if self.b is None else [self.a, self.b]
        return np.array(list(dict.fromkeys(chosen if scope == "selection" else [*chosen, *self.pins])))

    def invert_again(self, method: "Method", scope: Scope) -> Again:
        """Invert the selection or its series with another method, and keep old and new beside each other.

        Raises
        ------
        DRTError
            As :func:`drt_engine.invert` does.
        """
        from drt_engine.inversion import invert

        rows = self.rows(scope)
        spectra, old = self.read(rows)
        new = invert(spectra, method)
        # What has no intervals is shown without.
        with suppress(DRTError):
            new = new.with_intervals(LEVEL)
        self.again = Again(rows, old, new)
        return self.again

    def reopened(self) -> bool:
        """Open the files again where they have changed; selections and pins stay on the same spectra.

        Returns
        -------
        bool
            Whether they had.
        """
        if not self.source.changed():
            return False
        self._turn_to(self.source.again())
        return True

    def of(self, name: str | None, grid: str) -> None:
        """Look at another inversion, or another frequency grid, of the same files.

        Selections and pins stay on spectra of the same states, where there are some.

        Parameters
        ----------
        name : str or None
            The inversion; None where nothing was inverted.
        grid : str
            The grid; the first that the inversion has if it has no such one.

        Raises
        ------
        DRTError
            As :class:`Source` does.
        """
        self._turn_to(Source(self.source.files, name, grid))

    def _turn_to(self, source: Source) -> None:
        before, kept = self.source.states, [self.a, self.b, *self.pins]
        self.source = source
        along = self.series.along
        self.series = self.source.series(along if along in self.source.along else None)
        self._known.clear()
        self._names.clear()
        self.again = None
        found = [None if row is None else _same_row(row, before, self.source.states) for row in kept]
        self.a, self.b = found[0] or 0, found[1]
        self.pins = [row for row in found[2:] if row is not None]

    def _remembered(self, key: Key, make: Callable[[], T]) -> T:
        # What takes long is made in another thread than what is clicked; neither makes again what the other is at.
        while True:
            with self._lock:
                if key in self._known:
                    self._known.move_to_end(key)
                    known: T = self._known[key]  # what the `make` of this key returned
                    return known
                of, made = (self.source, self.measured), self._making.get(key)
                if made is None:
                    made = self._making[key] = Event()
                    break
            made.wait()
        try:
            value = make()
            with self._lock:
                if of == (self.source, self.measured):
                    self._known[key] = value
                alike = [other for other in self._known if other[0] == key[0]]
                for other in alike[:-_KEPT]:
                    del self._known[other]
        finally:
            with self._lock:
                del self._making[key]
            made.set()
        return value


def _key(line: Line) -> tuple[int, ...]:
    return int(line.rows[0]), int(line.rows[-1]), line.rows.size, int(line.rows.sum())


def _spelled(name: str, value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{name} {float(value):.5g}"
    return str(value) if name == "direction" else f"{name} {value}"


def _of_two(one: "Inversion", other: "Inversion") -> Difference:
    """Difference of two solutions whose errors are independent: squares of the distances to the ends add up.

    For normal errors these are the intervals of the difference.
    """
    gamma, r_pol = other.gamma[0] - one.gamma[0], float(other.r_pol[0] - one.r_pol[0])
    first, second = one.intervals, other.intervals
    if first is None or second is None:
        empty = np.full(gamma.size, np.nan)
        return Difference(one.tau, gamma, empty, empty, r_pol, np.nan, np.nan, "without intervals")

    def ends(name: str, mine: Any, its: Any) -> tuple[Any, Any]:
        low, high = (np.asarray(getattr(first, f"{name}_{end}"))[0] for end in ("low", "high"))
        low_its, high_its = (np.asarray(getattr(second, f"{name}_{end}"))[0] for end in ("low", "high"))
        return np.hypot(its - low_its, high - mine), np.hypot(high_its - its, mine - low)

    down, up = ends("gamma", one.gamma[0], other.gamma[0])
    r_down, r_up = ends("r_pol", one.r_pol[0], other.r_pol[0])
    how = "of spectra inverted each alone; variances add up"
    return Difference(one.tau, gamma, gamma - down, gamma + up, r_pol, r_pol - float(r_down), r_pol + float(r_up), how)


def _same_row(row: int, before: pd.DataFrame, now: pd.DataFrame) -> int | None:
    """Row with the same states as one had; None if there is none or more than one."""
    names = [name for name in before.columns if name in now.columns]
    if row < len(now) and all(_equal(before[name].iloc[row], now[name].iloc[row]) for name in names):
        return row
    same = np.ones(len(now), dtype=bool)
    for name in names:
        value = before[name].iloc[row]
        same &= (now[name].isna() if pd.isna(value) else now[name] == value).to_numpy(dtype=bool, na_value=False)
    found = np.flatnonzero(same)
    return int(found[0]) if found.size == 1 else None


def _equal(one: Any, other: Any) -> bool:
    return bool(pd.isna(one) and pd.isna(other)) or bool(one == other)
