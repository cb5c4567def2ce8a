"""The linear Kramers-Kronig test."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from threading import Lock
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.model.problem import Part
from drt_engine.text import count_of
from drt_engine.validation.base import Findings
from drt_engine.validation.batches import Fit, Weighted, choose_elements, fit, noise_of, residuals
from drt_engine.validation.noise import Noise, Shapes, checked_noise, given_shape
from drt_engine.validation.rc_model import ModelTerms, RCModel
from drt_engine.validation.result import Validity
from drt_engine.validation.significance import Trials, critical_values
from drt_engine.validation.single import SingleSpectrumTest

__all__ = ["LinearKramersKronig", "Representation"]

Array = NDArray[np.float64]
Representation = Literal["impedance", "admittance"]


_TOGETHER = 1024
"""Spectra that are looked at together; their matrices take 10 MB."""

_FAR = 14.0
"""How many times the median square of the residual a point may have without a closer look."""

_AROUND, _ALONE = 4, 5.0
"""A point has a closer look, too, if the square of its residual over |Z| is so many times the fourth largest one."""

_CLOSE = 5.0
"""Elements a decade that follow any arc within the range to 1e-4, for spectra in which something is found."""

_LEAST_FOR_NOISE, _ELEMENTS_A_DECADE = 10, 2.5
"""Points, and elements a decade where there are as many as points allow, from which on the residual tells the noise.
With fewer, 0.3 % of noise on two depressed arcs were called more than the limit of a per cent in up to all spectra."""


@dataclass(frozen=True)
class LinearKramersKronig:
    r"""Linear Kramers-Kronig test: whether a sum of RC elements, which obeys these relations, can have the spectrum.

    .. math:: Z = R + \sum_{k=1}^{M} \frac{R_k}{1 + jωτ_k} + jωL + \frac{1}{jωC}

    with τ_k evenly spaced in their logarithm from 1/ω_max to 1/ω_min and any sign of R_k, is fitted by linear least
    squares to data divided by |Z| [1]_. M is the smallest number from `elements` for which
    μ = 1 − Σ|R_k < 0| / Σ|R_k ≥ 0| is not above `threshold` [2]_: fewer elements do not follow the spectrum, more of
    them follow its noise. All of them are tried in turn, since μ(M) may cross the threshold more than once.

    What is wrong is then looked for in the residuals of a complex fit, whatever part chose M, with M elements or three
    a decade if that is more, weighted by the noise that the spectrum itself shows, σ² = a² + b²|Z|². Three kinds of
    violation are tried as further columns of the model: a modulus that drifts in proportion to time, at a constant time
    a point, a constant number of periods, or as much of both; each point left out; and smooth misfit of modulus and
    phase, cosines of ln f up to one and a half waves. By the F test each violation is held against the noise that
    remains once it is taken out, and the freedom that the model takes from the residuals is accounted for.

    Where something is found, the spectrum is looked at again, with five elements a decade if F says that it needs them,
    from the fit to all points and from a robust one that leaves out what is far from it, and for every noise that is
    plausible, also such as depends on each part by itself or grows as |Z|². The violation that exceeds chance most
    joins the model and the others are looked for once more, so that a bad point is not taken for drift. Of these
    explanations the one is taken that costs least, by its likelihood and what has joined.

    A relaxation slower or faster than the range of frequencies, or a capacitance, is no violation. Like drift it shows
    at the lowest frequencies, but real and imaginary part of it belong together. It joins first, and drift is called
    only if it explains clearly more than all such terms do together. They have to have positive resistances, so that a
    modulus that grows is hardly taken for one; one that falls by little may be.

    With the opposite sign of Im Z, the same is done for spectra with such violations: if they then obey the relations
    far better, the sign is wrong.

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
        times as much as any violation, each in units of its critical F.
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
        Noise, as a share of |Z|, above which a spectrum is flagged as noisy; not where there are less than ten points,
        or too few for 2.5 elements a decade.
    noise : {"auto", "constant", "proportional"}, pair of float, or sequence of float, shape (F,)
        How the standard deviation of the real and of the imaginary part depends on |Z|. ``"auto"``: estimated for each
        spectrum as σ² = a² + b²|Z|², with b no less than `resolution`. A pair is (a, b) in ohm and as a share; more
        numbers are σ of each point, ohm, in the order of the frequencies of the spectra, descending. The scale of what
        is given is estimated still, so only ratios count.

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
    noise: Noise = "auto"

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
        object.__setattr__(self, "noise", checked_noise(self.noise))

    def settings(self) -> dict[str, Any]:
        """Return its name and fields, in types that JSON has."""
        noise = self.noise if isinstance(self.noise, str) else list(self.noise)
        return {"name": "linear-kramers-kronig"} | asdict(self) | {"elements": list(self.elements), "noise": noise}

    def at(self, points: NDArray[np.intp], count: int) -> "LinearKramersKronig":
        """Return the test for some of `count` points: σ of each point is that of these.

        Raises
        ------
        InputError
            If σ is given for another number of points.
        """
        if isinstance(self.noise, str) or len(self.noise) == 2:
            return self
        if len(self.noise) != count:
            raise InputError(
                f"noise has {count_of(len(self.noise), 'value')}; expected one for each of the {count} frequencies."
            )
        return replace(self, noise=tuple(self.noise[k] for k in points.tolist()))

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
        modulus = np.abs(impedance)
        out = self._examine(frequency, spectra, modulus, capacitance=self.capacitance is True)
        rows = np.flatnonzero(out.flag & np.uint16(Validity.CAPACITANCE_ADDED))
        if rows.size:
            again = self._examine(frequency, spectra[rows], modulus[rows], capacitance=True)
            again.flag[:] |= np.uint16(Validity.CAPACITANCE_ADDED)
            for field in fields(Findings):
                getattr(out, field.name)[rows] = getattr(again, field.name)
        return out

    def _examine(self, frequency: Array, spectra: Weighted, modulus: Array, *, capacitance: bool) -> Findings:
        rows, points = spectra.weights.shape
        fitted = spectra if self.weighting == "modulus" else spectra.unweighted
        model = ModelTerms(self.part, self.representation == "admittance", self.inductance, capacitance)
        grid = _grid(frequency.tobytes(), model)
        most = min(self.elements[1], points - 2)
        out = Findings.blank(rows, points)
        out.elements[:], out.mu[:] = choose_elements(
            fitted, grid.rc_model, self.threshold, min(self.elements[0], most), most
        )
        for count in np.unique(out.elements):
            members = np.flatnonzero(out.elements == count)
            for part in range(0, members.size, _TOGETHER):
                some = members[part : part + _TOGETHER]
                residual = self._look(grid, int(count), _Some(some, spectra[some], modulus[some]), out)
                if residual is None:
                    residual = spectra[some].relative(residuals(fitted[some], grid.rc_model(int(count))))
                out.residual[some] = residual[:, :points] + 1j * residual[:, points:]
        limited = (out.elements == most) & (out.mu > self.threshold) & (self.elements[0] < self.elements[1])
        out.flag[limited] |= np.uint16(Validity.ELEMENTS_AT_LIMIT)
        # What is left over then is what the elements do not follow.
        decades = np.log10(frequency.max() / frequency.min())
        sparse = (points < _LEAST_FOR_NOISE) | (limited & (out.elements < _ELEMENTS_A_DECADE * decades))
        out.flag[(out.noise > self.noise_limit) & ~sparse] |= np.uint16(Validity.NOISY)
        return out

    def _look(self, grid: "_Grid", count: int, some: "_Some", out: Findings) -> Array | None:
        """Look for violations in spectra with the same number of elements; their residual if it was asked for."""
        rc_model, trials = grid.rc_model_for_violations(count), grid.trials
        points = rc_model.omega.size
        modulus, least = some.modulus, some.modulus.min(axis=1)
        residual = None
        if self.noise == "auto":
            near = (least[:, None] / modulus) ** 2
            alpha_beta, residual = noise_of(some.spectra, rc_model, near, self.resolution**2)
            variance = alpha_beta[:, :1] + alpha_beta[:, 1:] * near
        else:
            variance, alpha_beta = given_shape(self.noise, modulus)
        shapes = Shapes.of(variance, alpha_beta)
        shape = np.sqrt(shapes.variance)
        found = fit(some.spectra.over(shape), rc_model, trials)
        left = 2 * points - len(rc_model.rows)
        critical = critical_values(points, trials.smooth, self.false_alarms)
        rows = some.rows
        out.score[rows], kind, out.drift_error[rows] = _scores(found, critical, left, self.resolution**2)
        out.noise[rows] = np.sqrt(found.squares / left)
        own = found.residual * np.tile(shape, 2)
        out.full_residual[rows] = own[:, :points] + 1j * own[:, points:]
        out.deviation[rows] = np.hypot(out.noise[rows, None], self.resolution) * shape
        out.noise_proportional[rows] = out.noise[rows] * np.sqrt(shapes.alpha_beta[:, 0])
        out.noise_constant[rows] = out.noise[rows] * np.sqrt(shapes.alpha_beta[:, 1]) * least
        out.drift[rows] = np.take_along_axis(found.drift, kind[:, None], axis=1)[:, 0]
        close = SingleSpectrumTest(
            (rc_model, grid.rc_model_for_violations(count, _CLOSE)),
            trials,
            add_capacitance=self.capacitance == "auto" and not rc_model.model.capacitance,
            false_alarms=self.false_alarms,
            resolution=self.resolution,
        )
        twice = Shapes(np.tile(shapes.variance, 2), shapes.alpha_beta, shapes.rare)
        # Several bad points hide each other from the score; beside the median they still stand out.
        squares = found.residual[:, :points] ** 2 + found.residual[:, points:] ** 2
        far = squares.max(axis=1) > _FAR * (np.median(squares, axis=1) + self.resolution**2)
        if residual is not None:
            # A bad point where |Z| is small may have been taken for constant noise; those around it do not show that.
            squares = residual[:, :points] ** 2 + residual[:, points:] ** 2
            largest = np.sort(squares, axis=1)[:, -min(_AROUND, points) :]
            alone = largest[:, -1] > _ALONE * largest[:, 0]
            far |= alone & (largest[:, -1] > _FAR * np.median(squares, axis=1))
        out.score[rows[~found.trusted]] = math.inf
        for k in np.flatnonzero(~found.trusted | far | (out.score[rows] > 1.0)):
            one = some.spectra[np.array([k])]
            close.look(one, modulus[k], twice[k : k + 1], known=self.noise != "auto", row=rows[k], out=out)
        if rc_model is not grid.rc_model(count) or self.weighting != "modulus" or not found.trusted.all():
            return None
        return residual


class _Some(NamedTuple):
    """Spectra with the same number of elements: which, their data over the smallest modulus, and |Z| in ohm."""

    rows: NDArray[np.intp]
    spectra: Weighted
    modulus: Array


class _Grid:
    """Models of every number of elements on one grid, made when they are first needed."""

    def __init__(self, frequency: Array, model: ModelTerms) -> None:
        self.omega, self.model, self.trials = 2.0 * np.pi * frequency, model, Trials(frequency)
        self._rc_models: dict[tuple[int, ModelTerms], RCModel] = {}
        self._turn = Lock()

    def rc_model(self, count: int) -> RCModel:
        return self._of(count, self.model)

    def rc_model_for_violations(self, count: int, each: float = 3.0) -> RCModel:
        """Return the model of a complex fit with so many elements a decade, or more."""
        decades = math.log10(self.omega[0] / self.omega[-1])
        least = min(math.ceil(each * decades) + 1, self.omega.size - 2)
        return self._of(max(count, least), replace(self.model, part="complex"))

    def _of(self, count: int, model: ModelTerms) -> RCModel:
        with self._turn:
            return self._rc_models.setdefault((count, model), RCModel(self.omega, count, model))


@lru_cache(maxsize=4)
def _grid(frequency: bytes, model: ModelTerms) -> _Grid:
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
