"""A prior on ln γ instead of γ: tails that are straight lines in ln γ against ln τ, and positive by itself."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from threading import Lock
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import scipy
from numpy.typing import NDArray

from drt_engine.elements import EXPONENTS, SIGNS, Representation, Sign, Tail, TailName
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods.base import Solution, misfits, noisier_than, slow_flank
from drt_engine.methods.drift import posterior_with_drift, with_drift
from drt_engine.methods.joint import Across, JointSolution, SeparateSolutions, solve_across, solve_series
from drt_engine.methods.log_candidates import LogModels, likeliest, may_be_slow_arcs
from drt_engine.methods.log_gaussian_prepared import (
    END,
    FREEDOM,
    Noise,
    NoiseModel,
    PreparedLogGaussian,
    held_down,
    table_of,
)
from drt_engine.methods.placing import Placed, Sweeps, solve_placed
from drt_engine.model.basis import Expansion, checked_tau, is_positive
from drt_engine.model.discretisation import default_tau, discretise
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Parameters, Problem, assemble
from drt_engine.model.responses import KERNELS, ResponseName
from drt_engine.model.weighting import checked_deviations, deviations_at
from drt_engine.steps import Steps
from drt_engine.threads import thread_count
from drt_engine.uncertainty.intervals import tiles
from drt_engine.uncertainty.posterior import LogPosterior
from drt_kernels import ahead

__all__ = ["LogGaussian"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_DECADES_BEYOND = 1.0
"""Decades of τ beyond the window of the data at either end: twice those of Tikhonov, as this γ falls off smoothly
there."""

_BETTER = 0.7
"""Share of the residual of the impedance that that of the admittance is below, for it to be taken."""

_OF_TWO: tuple[Tail, ...] = ("none", "capacitor")
_OF_ONE_COLUMN: tuple[Tail, ...] = (*_OF_TWO, "cpe", "warburg", "auto")
"""Tails that spectra of a series may have along two columns and along one."""

_BY_CHANCE, _STIFFEST = 0.01, 2
"""Exponents of a series are no polynomial if what they miss it by is less probable by chance; its highest degree."""

_Found = TypeVar("_Found", bound=Solution)


@dataclass(frozen=True)
class LogGaussian:
    r"""Most probable :math:`u = \ln γ`, with straight lines against ln τ as what is expected.

    .. math:: \min_{u, x \ge 0} \; \sum_f \frac{ν + 2}{2} \ln\Bigl(1 + \frac{|z_f|^2}{ν s_f^2}\Bigr)
        + \frac{λ}{2} \int \Bigl(\frac{du}{d \ln τ}\Bigr)^2 d \ln τ
        + ρ \sum_i d_i \Bigl(\sqrt{1 + λ c_i^2 / d_i^2} - 1\Bigr)

    with z the residuals of the model with piecewise linear γ, R_inf, L and 1/C, c_i the changes of the slope of u at
    the relaxation times, ν = 4, ρ = 0.7, and d_i a quarter of the spacing of ln τ. The slopes of ln γ against ln τ have
    the same scale in every process, and they change in few places: λ is close to 1 for every spectrum. Where the data
    do not reach, a slope of 0.8 upward before the window and downward after it is expected, so that R_pol is finite.
    λ and the noise are those of the largest marginal likelihood in the approximation of Laplace [1]_, with ln √λ normal
    around 0 with a standard deviation of 0.3 before the data are seen. Distributions of diffusion
    times, which are those of sizes, are bent everywhere instead: the second term is 0.03 times that, ρ = 5.6, d_i is
    16 times the spacing, and the standard deviation 0.6.

    Parameters
    ----------
    inductance : bool or "cpe"
        Whether the model has jωL; with ``"cpe"`` it has L (jω)^m, m from 0.4 to 1, as lossy cables and coils do.
    capacitance : bool
        Whether the model has 1/(jωC): the same as ``tail="capacitor"``.
    regularisation : float or "evidence"
        λ, or the one of the largest marginal likelihood.
    noise : {"auto", "constant", "proportional"}, pair of float, or sequence of pairs
        Standard deviation of the real and of the imaginary part. ``"auto"``: √(a² + b²|Z|²), with a and b found from
        each spectrum; ``"constant"``: the same at all points of a spectrum, ``"proportional"``: the same share of |Z|,
        how large it is being found from the data; ``(a, b)``: √(a² + b²|Z|²) with a in ohm and b as a share, both
        known; pairs of frequency (Hz) and standard deviation (ohm): known, and interpolated on logarithmic axes.
    robust : bool
        Whether outliers count less, by Student's distribution [2]_; normal noise if not.
    along : str or (str, str), optional
        State column along which spectra are inverted together, such as ``"voltage"`` or ``"cycle"``: ln γ changes from
        one to the next as little and as smoothly as the data allow, and the noise and λ are those of the series.
        Of two columns, such as ``("voltage", "cycle")``, series run along the first, and those that are neighbours in
        the second are coupled at each place. By default each spectrum is inverted alone.
    series : sequence of str, optional
        State columns that are equal within a series; by default cell, cycle, direction, temperature and every other one
        that holds text or whole numbers.
    tau : sequence of float, optional
        Relaxation times, s, in any order. By default ten a decade, from a decade below 1/ω_max to a decade above
        1/ω_min.
    tail : {"none", "capacitor", "cpe", "warburg", "warburg-open", "auto"}
        What is in series with γ at low frequencies: nothing; 1/(jωC); a constant-phase element 1/(Q(jω)^n), n from 0.4
        to 1; one of n = ½, semi-infinite diffusion; R coth √(jωT) / √(jωT), diffusion in a finite space. R_pol is that
        of γ, without the tail. ``"auto"`` takes the most probable of the first four for each spectrum, or with `along`
        for each series. There, the exponent is a constant, a line or a parabola along the series if the errors admit
        it.
    exponent : float, optional
        n of ``tail="cpe"``, if it is known; found for each spectrum by default.
    sign : {"positive", "both"}
        Whether γ may be negative in a range of relaxation times, as for inductive loops and negative differential
        resistances. It is only where that is more probable.
    kernel : str
        What γ is a distribution of, as of :class:`Tikhonov`: ``"relaxation"``, or diffusion with τ = l²/D,
        ``"transmissive-planar"``, ``"transmissive-spherical"``, ``"blocking-planar"``, ``"blocking-spherical"``.
    representation : {"impedance", "admittance", "auto"}
        What γ is in. ``"admittance"``: Y = 1/R_inf + jωC − ∫ γ/(1 + jωτ) d ln τ with γ in S, for cells that are stable
        at a held voltage and not at a held current, as with a negative resistance; `inductance` says whether there is
        C. The noise is that of the impedance. ``"auto"``: where the impedance leaves a structure in the residuals and
        the admittance describes the spectrum better. Such spectra have the remark ``ADMITTANCE``.
    drift : {"none", "auto", "always"}
        Whether ln γ may change while a spectrum is measured, in proportion to the time of each point, by an amount that
        is linear in ln τ; that needs the ``point_time`` of the spectra. ``"auto"``: where that is 20 times more
        probable; ``"always"``, or True: in any case. γ is then that in the middle of the sweep, with the remark
        ``DRIFT``. With `along`, each point is placed at its own time between the states of the series instead; that
        needs the state ``time`` as well, when each sweep began.

    Raises
    ------
    UnknownNameError
        For a name that is not known, with those that are.
    InputError
        For numbers out of range.

    References
    ----------
    .. [1] D. J. C. MacKay, Neural Comput. 4 (1992) 415.
    .. [2] K. L. Lange, R. J. A. Little, J. M. G. Taylor, J. Am. Stat. Assoc. 84 (1989) 881.
    """

    inductance: bool | Literal["cpe"] = True
    capacitance: bool = False
    regularisation: float | Literal["evidence"] = "evidence"
    noise: Noise = "auto"
    robust: bool = True
    tau: Sequence[float] | None = None
    along: str | tuple[str, str] | None = None
    series: Sequence[str] | None = None
    tail: Tail = "none"
    exponent: float | None = None
    sign: Sign = "positive"
    kernel: ResponseName = "relaxation"
    representation: Representation = "impedance"
    drift: bool | Literal["none", "auto", "always"] = "none"

    def __post_init__(self) -> None:
        """Check every field, so that a mistake shows before the work begins."""
        for name in ("inductance", "capacitance", "robust"):
            value = getattr(self, name)
            if not isinstance(value, bool) and (name, value) != ("inductance", "cpe"):
                raise InputError(f"{name} must be True or False; got {value!r}.")
        self._check_terms()
        if isinstance(self.regularisation, str):
            if self.regularisation != "evidence":
                raise UnknownNameError("regularisation", self.regularisation, ("evidence",))
        elif not is_positive(self.regularisation):
            raise InputError(f"regularisation must be a positive number or 'evidence'; got {self.regularisation!r}.")
        object.__setattr__(self, "noise", _checked_noise(self.noise))
        self._check_series()
        object.__setattr__(self, "tau", None if self.tau is None else tuple(checked_tau(self.tau).tolist()))

    def _check_terms(self) -> None:
        """Check what is in series with γ."""
        if self.tail not in get_args(Tail):
            raise UnknownNameError("tail", self.tail, get_args(Tail))
        if self.sign not in SIGNS:
            raise UnknownNameError("sign", self.sign, SIGNS)
        if self.kernel not in KERNELS:
            raise UnknownNameError("kernel", self.kernel, KERNELS)
        self._check_representation()
        if isinstance(self.drift, bool):  # True is short for "always"
            object.__setattr__(self, "drift", "always" if self.drift else "none")
        if self.drift not in ("none", "auto", "always"):
            raise UnknownNameError("drift", self.drift, ("none", "auto", "always"))
        two = not isinstance(self.along, str | None) and len(self.along) > 1
        if self.drift != "none" and (self.several or two or self.representation != "impedance"):
            raise InputError(
                f"drift={self.drift!r} goes with single spectra or one column along which series run, positive γ in "
                f"the impedance, no tail or a capacitor, and a plain inductance; got along={self.along!r}, "
                f"tail={self.tail!r}, sign={self.sign!r}, inductance={self.inductance!r}, "
                f"representation={self.representation!r}. Leave out drift or these."
            )
        if self.kernel != "relaxation" and self.several:
            raise InputError(
                f"tails, negative γ and lossy inductances go with kernel='relaxation'; got kernel={self.kernel!r} with "
                f"tail={self.tail!r}, sign={self.sign!r}, inductance={self.inductance!r}. Leave out one or the other."
            )
        self._check_tail(linear=self.sign == "positive" and self.inductance != "cpe", two=two)

    def _check_tail(self, *, linear: bool, two: bool) -> None:
        """Check the tail beside the others."""
        if self.capacitance and self.tail not in ("none", "capacitor"):
            raise InputError(
                f"capacitance=True is tail='capacitor', and a model has one tail; got tail={self.tail!r} as well. "
                "Leave out capacitance."
            )
        if self.exponent is not None and not (
            self.tail == "cpe" and is_positive(self.exponent) and EXPONENTS[0] <= self.exponent <= EXPONENTS[1]
        ):
            raise InputError(
                f"exponent is that of tail='cpe', from {EXPONENTS[0]} to {EXPONENTS[1]}; got {self.exponent!r} with "
                f"tail={self.tail!r}. Leave it out, and it is found."
            )
        tails = _OF_ONE_COLUMN if not two or self.exponent is not None else _OF_TWO
        if self.along is not None and not (linear and self.tail in tails):
            raise InputError(
                "spectra of a series are inverted together with positive γ, a plain inductance, and as a tail none, a "
                "capacitor or, along one column, a constant-phase or Warburg element; got "
                f"along={self.along!r}, tail={self.tail!r}, sign={self.sign!r}, inductance={self.inductance!r}. "
                "Leave out along, or choose these."
            )

    def _check_representation(self) -> None:
        if self.representation not in get_args(Representation):
            raise UnknownNameError("representation", self.representation, get_args(Representation))
        if self.representation == "impedance":
            return
        others = {
            "along": self.along,
            "tail": None if self.tail == "none" else self.tail,
            "kernel": None if self.kernel == "relaxation" else self.kernel,
            "capacitance": self.capacitance or None,
            "inductance": self.inductance if self.inductance == "cpe" else None,
        }
        for name, value in others.items():
            if value is not None:
                raise InputError(
                    f"representation={self.representation!r} does not go with {name}={value!r}. Leave out one of them."
                )

    @property
    def several(self) -> bool:
        """Whether each spectrum is solved with several models, or with one that is not linear in what it has."""
        linear = self.tail in ("none", "capacitor") or self.exponent is not None
        return not linear or self.inductance == "cpe" or self.sign == "both"

    @property
    def capacitive(self) -> bool:
        """Whether the model has 1/(jωC)."""
        return self.capacitance or self.tail == "capacitor"

    def _check_series(self) -> None:
        if self.along is None:
            if self.series is not None:
                raise InputError(f"series={self.series!r} needs along, the state column along which the series runs.")
            return
        columns: tuple[object, ...] = (self.along,) if isinstance(self.along, str) else tuple(self.along)
        if not all(isinstance(name, str) and name for name in columns) or len(set(columns)) != len(columns):
            raise InputError(f"along must be the name of one state column, or of two; got {self.along!r}.")
        if len(columns) not in (1, 2):
            raise InputError(f"along must name one state column or two; got {len(columns)}: {self.along!r}.")
        object.__setattr__(self, "along", columns[0] if len(columns) == 1 else columns)
        if self.series is not None:
            series = (self.series,) if isinstance(self.series, str) else tuple(self.series)
            if set(columns) & set(series) or not all(isinstance(name, str) for name in series):
                raise InputError(
                    f"series must be names of state columns other than {self.along!r}; got {self.series!r}."
                )
            object.__setattr__(self, "series", series)

    @property
    def columns(self) -> tuple[str, ...]:
        """State columns along which spectra are inverted together: none, one or two."""
        if self.along is None:
            return ()
        return (self.along,) if isinstance(self.along, str) else self.along

    def settings(self) -> dict[str, Any]:
        """Return its name and fields, in types that JSON has."""
        return {"name": type(self).__name__} | asdict(self)

    def expansion(self, frequency: Array) -> Expansion:
        """Basis functions for a frequency grid.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz.
        """
        return _expansion(frequency.tobytes(), None if self.tau is None else tuple(self.tau), self.kernel)

    @property
    def linear(self) -> bool:
        """Whether solutions respond to noise as those of `problem` do: not where the prior is one of ln γ."""
        return False

    def problem(self, frequency: Array, expansion: Expansion) -> Problem:
        """State the matrices of a grid, and the roughness of γ; it is not what λ is the factor of here.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        expansion : Expansion
            Basis functions.
        """
        found = discretise(frequency, expansion, 1)
        coil = bool(self.inductance)
        return assemble(found, "complex", inductance=coil, capacitance=self.capacitive, exponent=self.exponent)

    def solve(self, frequency: Array, impedance: ComplexArray, expansion: Expansion) -> Solution:
        """Invert spectra that are known to be finite; called from several threads at once.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        expansion : Expansion
            Basis functions; made for a grid that `frequency` may be a part of.
        """
        ahead.compile_first(thread_count)
        if self.representation == "admittance":
            return self._compared(frequency, impedance, self._solve_admittance(frequency, impedance, expansion))
        found = self._compared(frequency, impedance, self._solve(frequency, impedance, expansion))
        if self.representation == "impedance":
            return found
        wrong = misfits(found, impedance, frequency, expansion) | ~(found.optimality <= OPTIMALITY_TOLERANCE)
        rows = np.flatnonzero(wrong)
        if not rows.size:
            return found
        other = self._solve_admittance(frequency, impedance[rows], expansion)
        other = self._compared(frequency, impedance[rows], other)
        place = np.arange(len(impedance))
        better = (other.optimality <= OPTIMALITY_TOLERANCE) & (
            (_misfit(other, impedance[rows]) < _BETTER * _misfit(found, impedance)[rows])
            | ~(found.optimality[rows] <= OPTIMALITY_TOLERANCE)
        )
        place[rows[better]] = len(impedance) + np.flatnonzero(better)
        return Solution.joined([found, other]).part(place, np.arange(frequency.size))

    def solve_drifting(
        self, frequency: Array, impedance: ComplexArray, expansion: Expansion, point_time: Array
    ) -> Solution:
        """Invert spectra whose cell may have changed while they were measured; called from several threads at once.

        Parameters
        ----------
        frequency, impedance, expansion
            As :meth:`solve` takes them.
        point_time : ndarray, shape (K, F)
            When each point was measured, s.
        """
        given = np.nan if isinstance(self.regularisation, str) else float(self.regularisation)
        found = self.solve(frequency, impedance, expansion)
        lam = np.full(len(impedance), given)
        measured, surely = (impedance, point_time), self.drift == "always"
        found = with_drift(self.prepared(frequency, expansion), found, lam, measured, surely=surely)
        return self._compared(frequency, impedance, found)

    def posterior_drifting(
        self,
        frequency: Array,
        impedance: ComplexArray,
        expansion: Expansion,
        solutions: tuple[Parameters, Array],
        times: tuple[tuple[Array, Array] | None, Array],
    ) -> LogPosterior:
        """Estimate the uncertainty of solutions with drift; as :meth:`posterior`.

        Parameters
        ----------
        frequency, impedance, expansion, solutions
            As :meth:`posterior` takes them.
        times : tuple
            The noise, and when each point was measured, s, shape (K, F).
        """
        return posterior_with_drift(self.prepared(frequency, expansion), impedance, solutions, *times)

    def _solve(self, frequency: Array, impedance: ComplexArray, expansion: Expansion) -> Solution:
        given = None if isinstance(self.regularisation, str) else float(self.regularisation)
        prepared = self.models(frequency, expansion) if self.several else self.prepared(frequency, expansion)
        return prepared.solve(impedance, given)

    def _solve_admittance(self, frequency: Array, impedance: ComplexArray, expansion: Expansion) -> Solution:
        shorted = (impedance == 0.0).any(axis=1)
        admittance = np.reciprocal(np.where(shorted[:, None], 1.0, impedance)).astype(complex)
        found = self._solve(frequency, admittance, replace(expansion, kernel="admittance"))
        optimality = np.where(shorted, np.nan, found.optimality)
        return replace(found, parameters=found.parameters.reciprocal(), fit=1.0 / found.fit, optimality=optimality)

    def solve_series(
        self,
        frequency: Array,
        impedance: ComplexArray,
        expansion: Expansion,
        position: Array,
        start: SeparateSolutions,
        steps: Steps | None = None,
    ) -> tuple[JointSolution, NDArray[np.bool_]]:
        """Invert a series together; called from several threads at once.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm, in order; NaN where there is none.
        expansion : Expansion
            Basis functions.
        position : ndarray, shape (K,)
            Where each spectrum stands along the series.
        start : SeparateSolutions
            What was found for the spectra alone.
        steps : Steps, optional
            Where it is kept how far the work is.

        Returns
        -------
        solution : JointSolution
            That of the series.
        breaks : ndarray of bool, shape (K,)
            Before which spectra the series breaks.
        """
        given = None if isinstance(self.regularisation, str) else float(self.regularisation)
        tail_uncertain = False
        if self.several:
            start, tail_uncertain = self._with_one_tail((frequency, impedance, expansion), start, given, position)
        method, found = self.of_series(start.parameters)
        exponents = None if found is None else (found, np.zeros(found.size))
        prepared = method.prepared(frequency, expansion)
        solution, breaks = solve_series(prepared, impedance, position, start, given, steps, exponents)
        solution = replace(solution, tail_uncertain=np.full(len(impedance), tail_uncertain))
        return self._compared(frequency, impedance, solution), breaks

    def of_series(self, parameters: Parameters) -> tuple["LogGaussian", Array | None]:
        """Return the method with the kind of tail that the spectra of a series have, and exponents, shape (K,).

        Parameters
        ----------
        parameters : Parameters
            Of the spectra; those that have a tail have one of one kind.

        Returns
        -------
        method : LogGaussian
            Its tail has a fixed exponent near those of the series, so that the impedance is linear in its size.
        exponents : ndarray, shape (K,), or None
            n of each spectrum, where the tail has one.
        """
        if not self.several:
            return self, None
        there = parameters.tail > 0.0
        if not there.any():
            kind: Tail = "capacitor" if (parameters.elastance > 0.0).any() else "none"
            return replace(self, tail=kind), None
        middle = float(np.clip(np.median(parameters.tail_exponent[there]).round(2), *EXPONENTS))
        return replace(self, tail="cpe", exponent=middle), np.where(there, parameters.tail_exponent, middle)

    def _with_one_tail(
        self,
        data: tuple[Array, ComplexArray, Expansion],
        start: SeparateSolutions,
        given: float | None,
        position: Array,
    ) -> tuple[SeparateSolutions, bool]:
        """Let all spectra of a series have the tail that is most probable for it, with exponents that go together.

        The second says whether it may as well be processes beyond the window.
        """
        (frequency, impedance, expansion), found, tail_uncertain = data, start, False
        kinds = np.array(start.parameters.tail_kinds)
        if self.tail == "auto":
            sums: dict[TailName, float] = {}
            there = np.isfinite(impedance)
            for rows, points in tiles(there, np.arange(len(there)), len(there)):
                models = self.models(frequency[points], expansion)
                for kind, some in models.evidence(impedance[np.ix_(rows, points)], given).items():
                    sums[kind] = sums.get(kind, 0.0) + some
            kind = likeliest(sums)
            tail_uncertain = may_be_slow_arcs(sums, kind, len(there))
            alone = replace(self, tail=kind, along=None, series=None)
            other = kinds != kind
            for rows, points in tiles(there, np.flatnonzero(other), len(there)):
                solved = alone.solve(frequency[points], impedance[np.ix_(rows, points)], expansion)
                found = found.with_rows(rows, solved)
        tailed = found.parameters.tail > 0.0
        if not tailed.any() or self.tail == "warburg":
            return found, tail_uncertain
        deviation = self.exponent_deviations(frequency, impedance, expansion, found)
        exponent = found.parameters.tail_exponent
        exponent[tailed] = _smoothed(exponent[tailed], deviation[tailed], position[tailed])
        return found, tail_uncertain

    def exponent_deviations(
        self, frequency: Array, impedance: ComplexArray, expansion: Expansion, found: SeparateSolutions
    ) -> Array:
        """Estimate the standard deviation of n for each spectrum inverted alone, shape (K,); NaN without a tail.

        Parameters
        ----------
        frequency, impedance, expansion
            As :meth:`solve_series` takes them.
        found : SeparateSolutions
            What was found for them.
        """
        out, there = np.full(len(impedance), np.nan), np.isfinite(impedance)
        for rows, points in tiles(there, np.arange(len(there)), len(there)):
            some = found.parameters.rows(rows)
            noise = found.noise_floor[rows], found.noise_relative[rows]
            last = self.models(frequency[points], expansion).posterior(
                impedance[np.ix_(rows, points)], some, found.regularisation[rows], noise
            )
            if "exponent" in last.series_elements:
                at = expansion.tau.size + last.series_elements.index("exponent")
                out[rows] = np.sqrt(last.covariance[:, at, at])
        return out

    def solve_placed(
        self,
        frequency: Array,
        impedance: ComplexArray,
        expansion: Expansion,
        placed: tuple[Array, Sweeps],
        start: SeparateSolutions,
        steps: Callable[[int], Steps],
    ) -> Placed:
        """Invert a series together, each point at its own time; called from several threads at once.

        Parameters
        ----------
        frequency, impedance, expansion, start
            As :meth:`solve_series` takes them.
        placed : tuple
            Where each spectrum stands along the series, and when its points were measured.
        steps : callable
            Where it is kept how far the work is, for each round.
        """
        position, sweeps = placed

        def solve(z: ComplexArray, number: int) -> tuple[JointSolution, NDArray[np.bool_]]:
            return self.solve_series(frequency, z, expansion, position, start, steps(number))

        def likelihood(found: JointSolution) -> tuple[Array, float]:
            sigma = self.deviations(frequency, impedance, (found.noise_floor, found.noise_relative))
            size = np.abs(impedance - found.fit) ** 2 / sigma**2
            if not self.robust:
                return sigma, float(-0.5 * np.nansum(size) - 2.0 * np.nansum(np.log(sigma)))
            square = size / self.prepared(frequency, expansion).normal
            return sigma, float(-np.nansum(0.5 * (FREEDOM + 2.0) * np.log1p(square / FREEDOM) + 2.0 * np.log(sigma)))

        model = frequency, expansion
        return solve_placed(solve, impedance, sweeps, model, likelihood, surely=self.drift == "always")

    def deviations(self, frequency: Array, impedance: ComplexArray, noise: tuple[Array, Array]) -> Array:
        """Return the standard deviation of the real and of the imaginary part, ohm, shape (K, F); NaN without a point.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz.
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        noise : pair of ndarray, shape (K,) each
            a, ohm, and b that were found; NaN where the noise is given by frequency.
        """
        floor, share = noise
        table = table_of(self.noise)
        if table is not None:
            return np.where(np.isfinite(impedance), deviations_at(frequency, table), np.nan)
        return np.asarray(np.hypot(floor[:, None], share[:, None] * np.abs(impedance)))

    def _compared(self, frequency: Array, impedance: ComplexArray, found: _Found) -> _Found:
        """Compare residuals with the noise, if it is given."""
        if isinstance(self.noise, str):
            return found
        sigma = self.deviations(frequency, impedance, (found.noise_floor, found.noise_relative))
        return replace(found, noisier=noisier_than(impedance - found.fit, sigma))

    def solve_across(
        self,
        frequency: Array,
        impedance: ComplexArray,
        expansion: Expansion,
        across: Across,
        start: SeparateSolutions,
        steps: Steps | None = None,
    ) -> JointSolution:
        """Invert series together that are neighbours in a second state; called from several threads at once.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        impedance : ndarray of complex, shape (K, F)
            Impedances of all series, one after the other, ohm; NaN where there is none.
        expansion : Expansion
            Basis functions.
        across : Across
            How the series are coupled.
        start : SeparateSolutions
            What was found for each series.
        steps : Steps, optional
            Where it is kept how far the work is.
        """
        solution = solve_across(self.prepared(frequency, expansion), impedance, across, start, steps)
        return self._compared(frequency, impedance, solution)

    def posterior(
        self,
        frequency: Array,
        impedance: ComplexArray,
        expansion: Expansion,
        solutions: tuple[Parameters, Array],
        noise: tuple[Array, Array] | None = None,
    ) -> LogPosterior:
        """Estimate the uncertainty of solutions; called from several threads at once.

        Parameters
        ----------
        frequency, impedance, expansion
            As :meth:`solve` takes them.
        solutions : tuple
            What it found: the unknowns, and λ of each, shape (K,).
        noise : pair of ndarray, shape (K,) each, optional
            The noise that it found, a in ohm and b as a share of |Z|; where it is not given or NaN, it is found again
            from what the solutions leave.

        Returns
        -------
        LogPosterior
            NaN where there is no solution, and for a γ of zeros.
        """
        parameters, lam = solutions
        if parameters.admittance.any():
            # Of a tile all are, or none.
            expansion, impedance = replace(expansion, kernel="admittance"), 1.0 / impedance
            parameters = parameters.reciprocal()
        prepared = self.models(frequency, expansion) if self.several else self.prepared(frequency, expansion)
        found = prepared.posterior(impedance, parameters, lam, noise)
        if expansion.kernel != "relaxation":
            return found
        no = np.zeros(lam.size, dtype=bool)
        fit = parameters.impedance(frequency, discretise(frequency, expansion, 1).impedance)
        solution = Solution(parameters, fit, lam, np.zeros(lam.size), no, no, *found.noise.T)
        return replace(found, slower=np.stack(slow_flank(solution, impedance, frequency, expansion), axis=1))

    def models(self, frequency: Array, expansion: Expansion) -> LogModels:
        """Collect what the spectra of a grid share, for several models."""
        with _PREPARING:
            return _models(self, frequency.tobytes(), expansion.tau.tobytes(), expansion.kernel)

    def prepared(self, frequency: Array, expansion: Expansion) -> PreparedLogGaussian:
        """Collect what the spectra of a grid share."""
        with _PREPARING:
            return _prepared(self, frequency.tobytes(), expansion.tau.tobytes(), expansion.kernel)


_PREPARING = Lock()


def _smoothed(exponent: Array, deviation: Array, position: Array) -> Array:
    """Smooth exponents along a series, by a constant, a line or a parabola: the most probable one.

    By G. Schwarz, Ann. Stat. 6 (1978) 461. If their errors admit none, they are brought as near to it as the errors
    explain how far they are from it, as estimates of a random effect are (R. DerSimonian, N. Laird, Control. Clin.
    Trials 7 (1986) 177).
    """
    known = deviation > 0.0
    # An error that is small by chance has an exponent that is too large.
    least = 0.5 * float(np.median(deviation[known])) if known.any() else 1.0
    weight: Array = np.where(known, 1.0 / np.maximum(np.where(known, deviation, least), least) ** 2, 0.0)
    number = int(np.count_nonzero(weight))
    if number == 0:
        # They are known, or nothing is known of them.
        return exponent
    tried = []
    for degree in range(min(_STIFFEST, number - 1) + 1):
        fit = np.polynomial.Polynomial.fit(position, exponent, degree, w=np.sqrt(weight))(position).clip(*EXPONENTS)
        square = float((weight * (exponent - fit) ** 2).sum())
        tried.append((square + (degree + 1) * np.log(number), degree, square, fit))
    _, degree, square, fit = min(tried, key=lambda one: one[:2])
    freedom = number - degree - 1
    if freedom == 0 or square < np.asarray(scipy.special.chdtri(freedom, _BY_CHANCE)):
        return np.asarray(fit)
    between = (square - freedom) / (weight.sum() - (weight**2).sum() / weight.sum())
    return np.asarray(fit + (exponent - fit) * between * weight / (1.0 + between * weight))


def _misfit(solution: Solution, impedance: ComplexArray) -> Array:
    """Root mean square of the relative residual, shape (K,); NaN or infinite for spectra with zeros."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(np.mean(np.abs((solution.fit - impedance) / impedance) ** 2, axis=1)))


@lru_cache(maxsize=16)
def _expansion(frequency: bytes, tau: tuple[float, ...] | None, kernel: ResponseName) -> Expansion:
    times = default_tau(np.frombuffer(frequency), _DECADES_BEYOND, kernel) if tau is None else np.array(tau)
    return Expansion(times, "piecewise-linear", np.nan, kernel)


@lru_cache(maxsize=8)
def _prepared(method: LogGaussian, frequency: bytes, tau: bytes, kernel: ResponseName) -> PreparedLogGaussian:
    expansion = Expansion(np.frombuffer(tau), "piecewise-linear", np.nan, kernel)
    problem = method.problem(np.frombuffer(frequency), expansion)
    if "tail" not in problem.series_elements:
        return PreparedLogGaussian(problem, method.noise, method.robust)
    return PreparedLogGaussian(held_down(problem), method.noise, method.robust, ends=END)


@lru_cache(maxsize=8)
def _models(method: LogGaussian, frequency: bytes, tau: bytes, kernel: ResponseName) -> LogModels:
    expansion = Expansion(np.frombuffer(tau), "piecewise-linear", np.nan, kernel)
    found = discretise(np.frombuffer(frequency), expansion, 1)
    tail = "capacitor" if method.capacitance else method.tail
    return LogModels(found, tail, method.inductance, method.sign, (method.noise, method.robust))


def _checked_noise(noise: object) -> Noise:
    if noise is None or isinstance(noise, str):
        if noise not in get_args(NoiseModel):
            raise UnknownNameError("noise", noise, get_args(NoiseModel))
        return noise  # type: ignore[return-value]  # one of the names, as just checked
    some = tuple(noise) if isinstance(noise, Sequence) else ()
    if len(some) == 2 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in some):
        floor, share = map(float, some)
        if 0.0 <= floor < np.inf and 0.0 <= share < np.inf and floor + share > 0.0:
            return floor, share
    elif some and not any(isinstance(one, int | float) for one in some):
        return checked_deviations("noise", some)
    raise InputError(
        f"noise must be one of {', '.join(get_args(NoiseModel))}; or (a, b) for a standard deviation √(a² + b²|Z|²), a "
        f"in ohm and b as a share, not negative and not both 0; or pairs of frequency and standard deviation; "
        f"got {noise!r}."
    )
