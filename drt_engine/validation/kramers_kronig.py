"""The linear Kramers-Kronig test."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.problem import Part
from drt_engine.validation.base import Findings
from drt_engine.validation.ladder import Ladder, Model
from drt_engine.validation.lanes import Fit, Weighted, choose_elements, fit, residuals
from drt_engine.validation.result import Validity
from drt_engine.validation.significance import LEAST_LEFT, Trials, critical_values
from drt_kernels import faults

__all__ = ["LinearKramersKronig", "Representation"]

Array = NDArray[np.float64]
Representation = Literal["impedance", "admittance"]


_TOGETHER = 1024
"""Spectra that are looked at together; their matrices take 10 MB."""

_CLOSE = 5.0
"""Elements a decade that follow any arc within the range to 1e-4, for spectra in which something is found."""

_LACKING = 1e-3
"""Chance below which these elements are taken if fewer do."""


@dataclass(frozen=True)
class LinearKramersKronig:
    r"""Linear Kramers-Kronig test: whether a sum of RC elements, which obeys these relations, can have the spectrum.

    .. math:: Z = R + \sum_{k=1}^{M} \frac{R_k}{1 + jωτ_k} + jωL + \frac{1}{jωC}

    with τ_k evenly spaced in their logarithm from 1/ω_max to 1/ω_min and any sign of R_k, is fitted by linear least
    squares to data divided by |Z| [1]_. M is the smallest number from `elements` for which
    μ = 1 − Σ|R_k < 0| / Σ|R_k ≥ 0| is not above `threshold` [2]_: fewer elements do not follow the spectrum, more of
    them follow its noise. All of them are tried in turn, since μ(M) may cross the threshold more than once.

    What is wrong is then looked for in the residuals of a complex fit, whatever part chose M, with M elements or three
    a decade if that is more. Three kinds of fault are tried as further columns of the model: a modulus that drifts in
    proportion to time, at a constant time a point, a constant number of periods, or as much of both; each point left
    out; and smooth misfit of modulus and phase, cosines of ln f up to one and a half waves. By the F test each fault is
    held against the noise that remains once it is taken out, so the noise need not be known, and the freedom that the
    model takes from the residuals is accounted for, exactly for normal noise in proportion to |Z|.

    Where something is found, the spectrum is looked at again, with five elements a decade if F says that it needs them.
    The fault that exceeds chance most joins the model and the others are looked for once more, so that a bad point is
    not taken for drift; but a relaxation outside the range of frequencies, or a capacitance, joins first if it explains
    clearly more than any fault, so that what the model lacks is not taken for one.

    What changes the response as a whole, such as too large an amplitude, may leave another spectrum that obeys the
    relations; no test of this kind finds it.

    Parameters
    ----------
    part : {"complex", "re", "im"}
        Part that M and the residuals are fitted to. What it does not show, R or L and C, is fitted to the other one
        afterwards.
    representation : {"impedance", "admittance"}
        Whether Z is tested or Y = 1/Z, whose model has a resistor, resistors and capacitors in series, and C and L, all
        in parallel; μ is that of the capacitances. For spectra with a negative differential resistance.
    inductance : bool
        Whether the model has L, in series, or in parallel in admittance.
    capacitance : bool or "auto"
        The same of C. It is needed where the spectrum ends in one or in slow diffusion; where it does not, drift can
        hide behind it. ``"auto"``: a spectrum gets it if that improves the fit beyond chance, and by one and a half
        times as much as any fault, each in units of its critical F.
    weighting : {"modulus", "unit"}
        What the data are multiplied by to choose M and the residuals: 1/|Z|, or 1.
    threshold : float
        c, from 0 to 1.
    elements : pair of int
        First and last M that is tried, at least 1; the last is lowered to two less than there are points. Twice the
        same number for a fixed one.
    false_alarms : float
        Share of faultless spectra that may be flagged, above 0 and below 0.5.
    resolution : float
        Standard deviation, as a share of |Z|, below which no misfit counts, so that rounding is not taken for one.
    noise_limit : float
        Noise, as a share of |Z|, above which a spectrum is flagged as noisy.

    Raises
    ------
    UnknownNameError
        For a part or representation that is not known.
    InputError
        For numbers out of range.

    References
    ----------
    .. [1] B. A. Boukamp, J. Electrochem. Soc. 142 (1995) 1885.
    .. [2] M. Schönleber, D. Klotz, E. Ivers-Tiffée, Electrochim. Acta 131 (2014) 20.
    """

    part: Part = "complex"
    representation: Representation = "impedance"
    inductance: bool = True
    capacitance: bool | Literal["auto"] = "auto"
    weighting: Literal["modulus", "unit"] = "modulus"
    threshold: float = 0.85
    elements: Sequence[int] = (3, 50)
    false_alarms: float = 0.008
    resolution: float = 1e-4
    noise_limit: float = 0.01

    def __post_init__(self) -> None:
        """Check every field, so that a mistake shows before the work begins."""
        for what, got, known in (
            ("part", self.part, get_args(Part)),
            ("representation", self.representation, get_args(Representation)),
            ("weighting", self.weighting, ("modulus", "unit")),
        ):
            if got not in known:
                raise UnknownNameError(what, got, known)
        if not isinstance(self.inductance, bool):
            raise InputError(f"inductance must be True or False; got {self.inductance!r}.")
        if not isinstance(self.capacitance, bool) and self.capacitance != "auto":
            raise InputError(f"capacitance must be True, False or 'auto'; got {self.capacitance!r}.")
        for name, low, high in (
            ("threshold", 0.0, 1.0),
            ("false_alarms", 1e-9, 0.5),
            ("resolution", 0.0, 1.0),
            ("noise_limit", 0.0, math.inf),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(f"{name} must be a number from {low:g} to {high:g}; got {value!r}.")
        try:
            fewest, most = (int(value) for value in self.elements if value == int(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"elements must be two whole numbers; got {self.elements!r}.") from error
        if not 1 <= fewest <= most:
            raise InputError(f"elements must be two whole numbers from 1 that ascend; got {self.elements!r}.")
        object.__setattr__(self, "elements", (fewest, most))

    def settings(self) -> dict[str, Any]:
        """Return its name and fields, in types that JSON has."""
        return {"name": "linear-kramers-kronig"} | asdict(self) | {"elements": list(self.elements)}

    def examine(self, frequency: Array, impedance: NDArray[np.complex128]) -> Findings:
        """Test spectra that are known to be finite and not zero.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending, at least five.
        impedance : ndarray of complex, shape (K, F)
            Ohm.

        Returns
        -------
        Findings
        """
        spectra = Weighted.of(impedance if self.representation == "impedance" else 1.0 / impedance)
        out = self._examine(frequency, spectra, capacitance=self.capacitance is True)
        rows = np.flatnonzero(out.flag & np.uint16(Validity.CAPACITANCE_ADDED))
        if rows.size:
            again = self._examine(frequency, spectra[rows], capacitance=True)
            again.flag[:] |= np.uint16(Validity.CAPACITANCE_ADDED)
            for field in fields(Findings):
                getattr(out, field.name)[rows] = getattr(again, field.name)
        return out

    def _examine(self, frequency: Array, spectra: Weighted, *, capacitance: bool) -> Findings:
        rows, points = spectra.weights.shape
        fitted = spectra if self.weighting == "modulus" else spectra.unweighted
        model = Model(self.part, self.representation == "admittance", self.inductance, capacitance)
        grid = _grid(frequency.tobytes(), model)
        most = min(self.elements[1], points - 2)
        out = Findings.blank(rows, points)
        out.elements[:], out.mu[:] = choose_elements(
            fitted, grid.ladder, self.threshold, min(self.elements[0], most), most
        )
        for count in np.unique(out.elements):
            members = np.flatnonzero(out.elements == count)
            for part in range(0, members.size, _TOGETHER):
                some = members[part : part + _TOGETHER]
                residual = self._look(grid, int(count), some, spectra[some], out)
                if residual is None:
                    residual = spectra[some].relative(residuals(fitted[some], grid.ladder(int(count))))
                out.residual[some] = residual[:, :points] + 1j * residual[:, points:]
        limited = (out.elements == most) & (out.mu > self.threshold) & (self.elements[0] < self.elements[1])
        out.flag[limited] |= np.uint16(Validity.ELEMENTS_AT_LIMIT)
        out.flag[out.noise > self.noise_limit] |= np.uint16(Validity.NOISY)
        return out

    def _look(
        self, grid: "_Grid", count: int, rows: NDArray[np.intp], spectra: Weighted, out: Findings
    ) -> Array | None:
        """Look for faults in spectra with the same number of elements; their residual if it is the one asked for."""
        ladder, trials = grid.ladder_for_faults(count), grid.trials
        points = ladder.omega.size
        found = fit(spectra, ladder, trials)
        left = 2 * points - len(ladder.rows)
        critical = critical_values(points, trials.smooth, self.false_alarms)
        out.score[rows], kind, out.drift_error[rows] = _scores(found, critical, left, self.resolution**2)
        out.noise[rows] = np.sqrt(found.squares / left)
        out.drift[rows] = np.take_along_axis(found.drift, kind[:, None], axis=1)[:, 0]
        close = _CloseLook(
            (ladder, grid.ladder_for_faults(count, _CLOSE)),
            trials,
            add_capacitance=self.capacitance == "auto" and not ladder.model.capacitance,
            false_alarms=self.false_alarms,
            resolution=self.resolution,
        )
        for k in np.flatnonzero(~found.trusted | (out.score[rows] > 1.0)):
            close.look(spectra[np.array([k])], rows[k], out)
        same = ladder is grid.ladder(count) and self.weighting == "modulus" and found.trusted.all()
        return found.residual if same else None


class _Grid:
    """Models of every number of elements on one grid, made when they are first needed."""

    def __init__(self, frequency: Array, model: Model) -> None:
        self.omega, self.model, self.trials = 2.0 * np.pi * frequency, model, Trials(frequency)
        self._ladders: dict[tuple[int, Model], Ladder] = {}
        self._turn = Lock()

    def ladder(self, count: int) -> Ladder:
        return self._of(count, self.model)

    def ladder_for_faults(self, count: int, each: float = 3.0) -> Ladder:
        """Return the model of a complex fit with so many elements a decade, or more."""
        decades = math.log10(self.omega[0] / self.omega[-1])
        least = min(math.ceil(each * decades) + 1, self.omega.size - 2)
        return self._of(max(count, least), replace(self.model, part="complex"))

    def _of(self, count: int, model: Model) -> Ladder:
        with self._turn:
            return self._ladders.setdefault((count, model), Ladder(self.omega, count, model))


@lru_cache(maxsize=4)
def _grid(frequency: bytes, model: Model) -> _Grid:
    """Return what tiles of one grid share."""
    return _Grid(np.frombuffer(frequency), model)


def _scores(found: Fit, critical: Array, left: int, floor: float) -> tuple[Array, NDArray[np.intp], Array]:
    """Largest root of F over its critical value; which kind of drift is the likelier, and its standard error."""
    squares = found.squares
    gained = found.drift**2 * found.drift_square
    spread = np.maximum(squares[:, None] - gained, 0.0) / (left - 1) + floor
    drift = gained / spread / critical[0, left - 1]
    kind = drift.argmax(axis=1)
    with np.errstate(divide="ignore"):
        error = np.sqrt(spread / found.drift_square)
    point = found.point / 2.0 / (np.maximum(squares - found.point, 0.0) / (left - 2) + floor) / critical[1, left - 2]
    rank = np.maximum(found.rank, 1)
    after = left - rank
    smooth = found.smooth / rank / (np.maximum(squares - found.smooth, 0.0) / after + floor)
    best = np.maximum(np.maximum(drift.max(axis=1), point), smooth / critical[1 + rank, after])
    return np.sqrt(best), kind, np.take_along_axis(error, kind[:, None], axis=1)[:, 0]


@dataclass(frozen=True, eq=False)
class _CloseLook:
    """The search for the faults of one spectrum, one after the other; see :func:`drt_kernels.faults.examine`."""

    ladders: tuple[Ladder, Ladder]
    trials: Trials
    add_capacitance: bool
    false_alarms: float
    resolution: float

    def look(self, one: Weighted, row: int, out: Findings) -> None:
        data = one.relative(one.data)[0]
        few, many = (_Fitted.of(ladder, one, data) for ladder in self.ladders)
        gone, found = self._faults(few, one)
        if not found[7] and self._lacking(few, many):
            gone, found = self._faults(many, one)
        best, drift, error, drifts, inconsistent, squares, left, capacitive, extended = found
        out.score[row], out.drift[row], out.drift_error[row] = math.sqrt(best), drift, error
        out.noise[row] = math.sqrt(squares / left)
        out.outlier[row] = gone
        flag = Validity.DRIFT * bool(drifts) | Validity.INCONSISTENT * bool(inconsistent)
        flag |= Validity.OUTLIER * bool(gone.any()) | Validity.RANGE_EXTENDED * bool(extended)
        out.flag[row] = Validity.CAPACITANCE_ADDED if capacitive else flag

    def _faults(self, model: "_Fitted", one: Weighted) -> tuple[NDArray[np.bool_], Array]:
        points = model.ladder.omega.size
        direction = model.fit[:points] + 1j * model.fit[points:]
        trials = self.trials.columns(np.asarray(direction / np.abs(direction)))
        added = model.ladder.capacitive[: int(self.add_capacitance)]
        allowed = one.relative(np.vstack([added, model.ladder.beyond]))
        critical = critical_values(points, self.trials.smooth, self.false_alarms)
        limits = np.array([self.resolution**2, LEAST_LEFT, points // 5, len(added)])
        gone, found = np.zeros(points, dtype=bool), np.empty(9)
        faults.examine(model.columns, model.data, trials, allowed, critical, limits, gone, found)
        return gone, found

    def _lacking(self, few: "_Fitted", many: "_Fitted") -> bool:
        """Whether F says that the data need the larger model."""
        more = len(many.columns) - len(few.columns)
        left = many.data.size - len(many.columns)
        if more <= 0 or left <= 0:
            return False
        gained = (few.squares - many.squares) / more / (many.squares / left + self.resolution**2)
        return bool(gained > fdtri(float(more), float(left), 1.0 - _LACKING))


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Least squares of one spectrum by orthogonalisation: columns of norm one, data and fit, all over |Z|."""

    ladder: Ladder
    columns: Array
    data: Array
    fit: Array

    @classmethod
    def of(cls, ladder: Ladder, one: Weighted, data: Array) -> "_Fitted":
        columns = one.relative(ladder.rows)
        columns /= np.sqrt(np.sum(columns**2, axis=1))[:, None]
        x = np.empty(len(columns))
        faults.solve_dense(columns, data, x)
        return cls(ladder, columns, data, np.asarray(x @ columns))

    @property
    def squares(self) -> float:
        return float(np.sum((self.data - self.fit) ** 2))
