"""What figures have in common and a journal asks for: units, limits, sizes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, Literal, ParamSpec, TypedDict, TypeVar, get_args

import matplotlib as mpl
import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.frames import areas, spectra_per_area
from drt_engine.plotting.together import results_per_area
from drt_engine.result import Inversion
from drt_engine.spectra import Spectra

__all__ = ["Look", "LookOptions", "areas_applied", "current", "in_ohms", "ohms", "styled", "with_areas"]

P = ParamSpec("P")
T = TypeVar("T")

Range = tuple[float | None, float | None]

_PREFIXES = ((1e-3, 1e6, "µ"), (1.0, 1e3, "m"), (1e4, 1.0, ""), (1e7, 1e-3, "k"), (1e10, 1e-6, "M"))


class LookOptions(TypedDict, total=False):
    """Keywords of every figure; see :class:`Look`."""

    per_area: bool | float
    tau_range: Range | None
    gamma_range: Range | None
    z_range: Range | None
    log_gamma: bool
    own_scales: bool | None
    whole_tails: bool
    undetermined: Literal["grey", "hide", "show"]
    size: float | tuple[float, float] | None
    font_size: float
    cell_names: Mapping[Any, str]


@dataclass(frozen=True)
class Look:
    """What every figure takes as keywords, beside its own.

    Parameters
    ----------
    per_area : bool or float
        Whether impedances are times the area of the electrode, in Ω cm², by the state ``area``; or an area for all,
        cm². Limits are in Ω cm² then.
    tau_range : pair of float or None, optional
        Lowest and highest τ shown, s. What is outside does not count for the scale of γ either.
    gamma_range : pair of float or None, optional
        Lowest and highest γ shown, ohm. A waterfall is interrupted where γ is higher.
    z_range : pair of float or None, optional
        Lowest and highest Re Z of Nyquist plots, ohm; as much of −Im Z is shown as that leaves room for.
    log_gamma : bool
        Whether γ is drawn by its logarithm: over four decades, unless `gamma_range` says otherwise.
    own_scales : bool, optional
        Whether each cell of a composite figure has a scale of γ of its own, and each spectrum of a waterfall or heat
        map is drawn in parts of its largest γ. By default that is done, and said in the figure, where one scale would
        press much flat: cells side by side of which one is more than 20 times as large as another, in γ or Z; spectra
        that have only their number in common, if they differ as much; and series of which a third is below a fiftieth
        of the largest.
    whole_tails : bool
        Whether figures show all of a blocking or inductive tail. By default one that would press the arcs into less
        than a third of a Nyquist plot leaves it, and so does γ that rises, beyond the relaxation times that the data
        reach, to more than all that is within; the figure says so.
    undetermined : {"grey", "hide", "show"}
        How observations of processes are drawn whose R is less than twice its standard error.
    size : float or pair of float, optional
        Width of a new figure, inches, or width and height.
    font_size : float
        Size of labels, points; numbers are smaller by one.
    cell_names : mapping of cell to str
        What cells are called.

    Raises
    ------
    InputError
        For limits that are not a lower and a higher value, and for sizes that are not positive.
    UnknownNameError
        For another way to draw what is not determined.
    """

    per_area: bool | float = False
    tau_range: Range | None = None
    gamma_range: Range | None = None
    z_range: Range | None = None
    log_gamma: bool = False
    own_scales: bool | None = None
    whole_tails: bool = False
    undetermined: Literal["grey", "hide", "show"] = "grey"
    size: float | tuple[float, float] | None = None
    font_size: float = 8.0
    cell_names: Mapping[Any, str] = field(default_factory=dict)
    areas_applied: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        for name in ("tau_range", "gamma_range", "z_range"):
            given = getattr(self, name)
            if given is not None and not _is_range(given, positive=name == "tau_range"):
                raise InputError(f"{name} must be its lowest and highest value, the lower first; got {given!r}.")
        sizes = self.size if isinstance(self.size, tuple) else (self.size,)
        for value in (*sizes, self.font_size):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"size and font_size must be positive; got {self.size!r} and {self.font_size!r}.")
        kinds = get_args(LookOptions.__annotations__["undetermined"])
        if self.undetermined not in kinds:
            raise UnknownNameError("undetermined", self.undetermined, kinds)


def _is_range(given: Any, *, positive: bool) -> bool:
    try:
        low, high = (None if end is None else float(end) for end in given)
    except (TypeError, ValueError):
        return False
    ends = [end for end in (low, high) if end is not None]
    if not all(math.isfinite(end) for end in ends) or (positive and any(end <= 0 for end in ends)):
        return False
    return len(ends) < 2 or ends[0] < ends[1]


_LOOK: ContextVar[Look] = ContextVar("look", default=Look())  # noqa: B039 - frozen
_NAMES = frozenset(one.name for one in fields(Look) if one.init and one.name != "areas_applied")


def current() -> Look:
    """Options of the figure that is being drawn."""
    return _LOOK.get()


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function that draws take the keywords of :class:`Look`, and draw in the style of a paper.

    The user's settings of matplotlib come back afterwards.
    """

    @wraps(function)
    def drawn(*arguments: P.args, **keywords: P.kwargs) -> T:
        given: dict[str, Any] = {name: keywords.pop(name) for name in _NAMES & set(keywords)}
        with _looking(replace(current(), **given)), mpl.rc_context(_style(given.get("font_size", current().font_size))):
            return function(*arguments, **keywords)

    return drawn


@contextmanager
def _looking(wanted: Look) -> Iterator[None]:
    token = _LOOK.set(wanted)
    try:
        yield
    finally:
        _LOOK.reset(token)


@contextmanager
def areas_applied() -> Iterator[None]:
    """Draw, as part of a figure, spectra and results that are already multiplied by their areas."""
    with _looking(replace(current(), areas_applied=True)):
        yield


def with_areas(spectra: Spectra | None, result: Inversion | None) -> tuple[Spectra | None, Inversion | None]:
    """Multiply spectra and results by electrode areas, if figures per area are wanted and they are not per area yet."""
    wanted = current()
    if wanted.per_area is False or wanted.areas_applied:
        return spectra, result
    states = result.states if result is not None else spectra.states if spectra is not None else None
    by = None if states is None else areas(states, wanted.per_area)
    return (
        None if spectra is None else spectra_per_area(spectra, by),
        None if result is None else results_per_area(result, by),
    )


def ohms(largest: float, unit: str = "Ω") -> tuple[float, str]:
    """Return the unit in which numbers up to the largest are short, and its factor: 0.02 ohm is 20 mΩ.

    Parameters
    ----------
    largest : float
        The largest number, ohm or ohm cm².
    unit : str
        Ω, or S for what is in siemens.
    """
    found = next(((factor, prefix) for end, factor, prefix in _PREFIXES if largest < end), (1e-9, "G"))
    if not largest > 0 or not math.isfinite(largest):
        found = (1.0, "")
    area = "" if current().per_area is False else " cm⁻²" if unit == "S" else " cm²"
    return found[0], f"{found[1]}{unit}{area}"


def in_ohms(axes: Mapping[Axis, str] | Sequence[tuple[Axis, str]], largest: float, unit: str = "Ω") -> None:
    """Label axes that hold ohms, with numbers in a unit that keeps them short.

    Parameters
    ----------
    axes : mapping or sequence of pairs of Axis and str
        The axes, and the symbol of what is on each.
    largest : float
        The largest number on them, ohm.
    unit : str
        As :func:`ohms` takes it.
    """
    for axis, symbol in axes.items() if isinstance(axes, Mapping) else axes:
        # On a logarithmic axis powers of ten are short in any unit: their formatter writes them in ohm.
        logarithmic = axis.get_scale() == "log"
        factor, name = ohms(1.0 if logarithmic else largest, unit)
        axis.set_label_text(f"{symbol} / {name}")
        if not logarithmic:
            axis.set_major_formatter(Ohms(factor))


class Ohms(Formatter):
    """Numbers of ohms in another unit, with as many decimals as their steps need.

    Parameters
    ----------
    factor : float
        By what an ohm is multiplied.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._places = np.empty(0)

    def set_locs(self, locs: Any) -> None:
        """Learn which numbers are to be written."""
        self._places = np.unique(np.asarray(locs, dtype=float))

    def __call__(self, x: float, _pos: int | None = None) -> str:
        """Write one of the numbers."""
        value = x * self.factor
        steps = np.diff(self._places) * self.factor
        step = float(steps.min()) if steps.size else abs(value) or 1.0
        return self.fix_minus(f"{value:.{decimals(step)}f}")


def decimals(step: float) -> int:
    """How many decimals numbers need that are a step apart."""
    if not step > 0:
        return 0
    places = max(0, math.ceil(-math.log10(step) - 1e-9))
    # 2.5 needs one more than 2
    return places + (abs(round(step, places) - step) > 1e-6 * step)


def _style(size: float) -> Any:
    return {
        "font.size": size,
        "axes.labelsize": size,
        "axes.titlesize": size,
        "axes.titlepad": 4.0,
        "axes.labelpad": 2.5,
        "axes.linewidth": 0.6,
        "axes.grid": False,
        "legend.fontsize": size - 1.0,
        "legend.frameon": False,
        "legend.handlelength": 1.5,
        "lines.linewidth": 1.0,
        "lines.markersize": 3.0,
        "text.usetex": False,
        "xtick.labelsize": size - 1.0,
        "ytick.labelsize": size - 1.0,
    }
