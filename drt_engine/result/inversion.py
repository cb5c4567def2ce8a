"""The result of an inversion: frozen arrays, their intervals, and the model evaluated anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from drt_engine.elements import tail_kinds
from drt_engine.errors import InputError
from drt_engine.frames import gamma_frame, impedance_frame, result_frame, result_html
from drt_engine.methods import Method
from drt_engine.methods.drift import drifting_impedance
from drt_engine.methods.joint.changes import Change
from drt_engine.methods.joint.posterior import JointSeries
from drt_engine.methods.joint.predictions import Prediction
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters, row_by_row
from drt_engine.result.joined import change_of, gamma_between, series_along_first, series_along_second
from drt_engine.result_fields import OF_POINTS, PER_SPECTRUM, ResultArrays
from drt_engine.spectra import Spectra, chosen_rows, freeze_arrays
from drt_engine.status import Status, count_status, failures
from drt_engine.steps import Kept
from drt_engine.text import count_of
from drt_engine.uncertainty.base import check_level
from drt_engine.uncertainty.intervals import (
    FittedSpectra,
    Intervals,
    frozen,
    intervals_of,
)

if TYPE_CHECKING:
    import xarray as xr

    from drt_engine.frames import Form
    from drt_engine.peaks import Deconvolution, DeconvolutionOptions, EquivalentCircuit, PeakOptions

__all__ = ["Inversion"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Inversion(ResultArrays):
    """Distributions of relaxation times of K spectra on one frequency grid.

    Attributes
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    expansion : Expansion
        Basis functions that the coefficients belong to.
    coefficients : ndarray, shape (K, M)
        Coefficients of γ, ohm. For piecewise linear γ they are its values.
    r_inf, inductance, capacitance : ndarray, shape (K,)
        R_inf, ohm; L, H; C, F, infinite where the model or the solution has no series capacitance.
    regularisation : ndarray, shape (K,)
        λ, the factor of the roughness penalty, for impedances divided by any common factor.
    residual : ndarray, shape (K,)
        Root mean square of |Z_fit − Z| / |Z| over the points used.
    optimality : ndarray, shape (K,)
        Scaled optimality residual, at most 1e-8 for a solution. :class:`Tikhonov` and :class:`Convex`: by how much the
        conditions of Karush, Kuhn and Tucker are violated; their problems are convex, so that zero is the optimum.
        :class:`LogGaussian`: distance from a stationary point in posterior standard deviations; its problem is not
        convex, so that zero is a stationary point and not proven to be the lowest one.
    status : ndarray of uint32, shape (K,)
        Flags of :class:`Status`.
    states : DataFrame
        What each spectrum was measured at, K rows.
    method : Method
        What it was inverted with.
    impedance : ndarray of complex, shape (K, F), or None
        The spectra, ohm; None where it was read from a file without them, see :meth:`with_spectra`.
    intervals : Intervals or None
        Intervals of γ, R_pol and R_inf, if they were requested.
    point_time : ndarray, shape (K, F), or None
        When each point was measured, s, where the method allows for drift.
    moved : ndarray of complex, shape (K, F), or None
        What the change of the cell adds at each point, ohm, where points were placed between the states of a series.
    drift_fast, drift_slow : ndarray, shape (K,)
        Change of ln γ from the first to the last point of the sweep at the shortest and at the longest relaxation time
        of the data; linear in ln τ between. 0 without drift. γ is that in the middle of the sweep.
    parallel_capacitance : ndarray, shape (K,)
        C of the admittance, F, where γ is in it; 0 elsewhere.
    noise_floor, noise_relative : ndarray, shape (K,)
        a, ohm, and b: the standard deviation of the real and of the imaginary part that was found is √(a² + b²|Z|²).
        NaN where the method finds none.
    r_pol_beyond : ndarray, shape (K,)
        Share of R_pol at relaxation times that the data do not reach, below 1/ω_max or above 1/ω_min: extrapolated.
    tail_q, tail_exponent, tail_tau : ndarray, shape (K,)
        Q, S s^n, n and T, s, of the tail coth √(jωT) / (Q(jω)^n) in series with γ. Q is infinite without one; T is
        infinite, and coth 1, but for diffusion in a finite space. A capacitor is in `capacitance`. See `tail`.
    inductance_exponent : ndarray, shape (K,)
        m of the inductance L (jω)^m, of which `inductance` is L; 1 without losses.
    coupling, shift : ndarray, shape (K,)
        Strength κ of the coupling between neighbouring spectra of a series, and s, how far processes move in ln τ from
        one to the next; NaN for spectra that were inverted alone.
    coupling_across, shift_across : ndarray, shape (K,)
        The same along the second state, where series that are neighbours in it were inverted together; NaN elsewhere.
    """

    frequency: Array
    expansion: Expansion
    states: pd.DataFrame
    method: Method
    impedance: NDArray[np.complex128] | None = None
    intervals: Intervals | None = None
    point_time: Array | None = None
    moved: NDArray[np.complex128] | None = None

    def __post_init__(self) -> None:
        """Check the shapes and freeze the arrays."""
        super().__post_init__()
        rows, points = self.status.size, self.frequency.shape
        shapes = dict.fromkeys(OF_POINTS, (rows, *points))
        shapes |= {"coefficients": (rows, *self.expansion.tau.shape), "frequency": points}
        one = (rows,)
        freeze_arrays(self, lambda name: shapes.get(name, one))
        if len(self.states) != rows:
            raise InputError(
                f"states must have one row for each of the {count_of(rows, 'spectrum')}; got {len(self.states)}."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed again when it is asked for, and holds functions, which cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "_joined"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Freeze the arrays of a pickled result again."""
        frozen(self, state)

    @property
    def kkt(self) -> Array:  # its former name
        """The same as `optimality`."""
        return self.optimality

    def __len__(self) -> int:
        """K, the number of spectra."""
        return int(self.status.size)

    def __getitem__(self, rows: Any) -> "Inversion":
        """Return the chosen spectra.

        Parameters
        ----------
        rows : int, slice, or array_like of int or bool
            Row numbers, a slice, or a boolean for each spectrum, such as a condition on `states`.
        """
        chosen = chosen_rows(len(self), rows)
        arrays = {name: getattr(self, name)[chosen] for name in PER_SPECTRUM}
        for name in ("intervals", *OF_POINTS):
            given = getattr(self, name)
            arrays[name] = None if given is None else given[chosen]
        return replace(self, **arrays, states=self.states.iloc[chosen].reset_index(drop=True))

    def __repr__(self) -> str:
        """Say what it holds, and what to do about what failed."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        failed = Status(int(np.bitwise_or.reduce(self.status[~self.solved], initial=0)))
        hint = f"\n{failed.message}" if failed else ""
        return f"Inversion({count_of(len(self), 'spectrum')}, {self.tau.size} relaxation times: {counts}){hint}"

    def _repr_html_(self) -> str:
        """Show it in a notebook: a line, and what was found in the first and in the last spectra."""
        return result_html(self)

    @property
    def tau(self) -> Array:
        """Relaxation times of the basis functions, s, ascending, shape (M,)."""
        return self.expansion.tau

    @cached_property
    def gamma(self) -> Array:
        """γ(ln τ) at `tau`, ohm per unit of natural logarithm, shape (K, M)."""
        # A curve through values has the values; to draw one is compiled when one is drawn.
        return self.gamma_at(self.tau) if self.method.linear else self.coefficients.copy()

    @cached_property
    def r_pol(self) -> Array:
        """Polarisation resistance, ohm, shape (K,): ∫ γ d ln τ; of an admittance 1/Y(0) − R_inf.

        It is that of the processes that the data show. One so slow that its impedance is within the noise at the lowest
        frequency is in neither this nor its interval.
        """
        whole = np.asarray((self.coefficients * self.expansion.areas).sum(axis=1))
        if (own := self.representation == "admittance").any():
            with np.errstate(divide="ignore"):
                whole[own] = 1.0 / (1.0 / self.r_inf[own] - whole[own]) - self.r_inf[own]
        return whole

    @property
    def representation(self) -> NDArray[np.str_]:
        """What γ of each spectrum is a distribution of: ``"impedance"``, ohm, or ``"admittance"``, S; shape (K,)."""
        return np.where((self.status & np.uint32(Status.ADMITTANCE)) != 0, "admittance", "impedance")

    @property
    def gamma_units(self) -> str:
        """Units of γ: ``"ohm"``, ``"S"``, or both where representations differ."""
        return (
            " or ".join({"impedance": "ohm", "admittance": "S"}[name] for name in np.unique(self.representation)[::-1])
            or "ohm"
        )

    @property
    def tau_name(self) -> str:
        """Name of τ: ``"τ"``, or such as ``"diffusion time τ"`` where γ is a distribution of other times."""
        response = self.expansion.response
        return "τ" if response.name == "relaxation" else f"{response.time} τ"

    @property
    def _parameters(self) -> Parameters:
        return Parameters(
            self.coefficients,
            self.r_inf,
            self.inductance,
            1.0 / self.capacitance,
            tail=1.0 / self.tail_q,
            tail_exponent=self.tail_exponent,
            tail_tau=self.tail_tau,
            inductance_exponent=self.inductance_exponent,
            parallel_capacitance=self.parallel_capacitance,
            admittance=self.representation == "admittance",
            # In a series, what the change of the cell adds is in `moved`.
            drift_fast=np.where(np.isfinite(self.coupling), 0.0, self.drift_fast),
            drift_slow=np.where(np.isfinite(self.coupling), 0.0, self.drift_slow),
        )

    @property
    def spectra(self) -> Spectra | None:
        """The spectra that were inverted, with their states; None where it was read from a file without them."""
        return None if self.impedance is None else Spectra(self.frequency, self.impedance, self.states, self.point_time)

    @property
    def tail(self) -> NDArray[np.str_]:
        """What each spectrum has in series with γ at low frequencies, shape (K,): a name that `LogGaussian` takes."""
        known = self._parameters
        amplitude, exponent = known.tail.copy(), known.tail_exponent.copy()
        capacitive = known.elastance > 0.0
        amplitude[capacitive], exponent[capacitive] = known.elastance[capacitive], 1.0
        return np.array(tail_kinds(amplitude, exponent, known.tail_tau), dtype=str)

    @property
    def solved(self) -> NDArray[np.bool_]:
        """Whether there is a solution, shape (K,)."""
        return ~failures(self.status)

    def counts(self) -> dict[str, int]:
        """Count the spectra by status.

        Returns
        -------
        dict
            ``ok`` first, then each flag that occurs; a spectrum with two flags counts under both.
        """
        return count_status(self.status)

    def gamma_at(self, tau: ArrayLike, **state: float) -> Array:
        """γ(ln τ) anywhere, also between the states of series that were inverted together.

        That of :class:`LogGaussian` is a smooth curve through its values at :attr:`tau`, along ln γ; see
        :meth:`~drt_engine.model.basis.Expansion.curve`. `r_pol` and :meth:`impedance_at` are of straight lines between
        them.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s.
        **state : float
            Value of a state along which series were inverted, such as ``voltage=3.33``.

        Returns
        -------
        ndarray, shape (K, T), or (S, T) with a state
            Ohm per unit of natural logarithm; with a state one row for each series, in the order in which they begin,
            NaN for one that does not reach that far.

        Raises
        ------
        InputError
            For relaxation times that are not positive and finite, and a state along which nothing was inverted.
        """
        at = _positive("tau", "s", tau)
        if state:
            return gamma_between(self, at, state, None)[0]
        if self.method.linear:
            return row_by_row(self.coefficients, self.expansion.values(at).T)
        return self.expansion.curve(self.coefficients, at)

    def impedance_at(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance of the fitted model anywhere.

        Parameters
        ----------
        frequency : array_like, shape (F',)
            Frequencies, Hz.

        Returns
        -------
        ndarray of complex, shape (K, F')
            Ohm.

        Raises
        ------
        InputError
            For frequencies that are not positive and finite.
        """
        f = _positive("frequency", "Hz", frequency)
        return self._parameters.impedance(f, self.expansion.impedance(f))

    def with_spectra(self, spectra: Spectra) -> "Inversion":
        """Attach the spectra that were inverted, for what depends on them, to a result from an older file.

        Parameters
        ----------
        spectra : Spectra
            The K spectra, in the order of the result.

        Raises
        ------
        InputError
            If there are not as many spectra on the same frequencies.
        """
        if len(spectra) != len(self) or not np.array_equal(spectra.frequency, self.frequency):
            raise InputError(
                f"spectra must be the {len(self)} that were inverted, on their {self.frequency.size} frequencies; "
                f"got {len(spectra)} on {spectra.frequency.size}. Choose the same rows of both."
            )
        times = self.point_time if spectra.point_time is None else spectra.point_time
        return replace(self, impedance=spectra.impedance, point_time=times)

    def at_one_time(self) -> Spectra:
        """Return the spectra that would have been measured in the middle of each sweep, had the cell not drifted.

        The drift by the model is subtracted from the measured spectra; noise stays as it is. Spectra without drift
        are returned as they are.

        Returns
        -------
        Spectra
            On the same frequencies, with the same states.

        Raises
        ------
        InputError
            If the result has no spectra, or drifts without the time of each point.
        """
        known = self._parameters
        drifts = (known.drift_fast != 0.0) | (known.drift_slow != 0.0)
        if self.impedance is None or (self.point_time is None and drifts.any()):
            raise InputError(
                "this needs the spectra with the time of each point. Attach them: result.with_spectra(spectra)."
            )
        z = self._at_middle(self.impedance).copy()
        if self.point_time is not None:
            own, times = known.rows(np.flatnonzero(drifts)), self.point_time[drifts]
            still = own.impedance(self.frequency, self.expansion.impedance(self.frequency))
            z[drifts] += still - drifting_impedance(own, self.frequency, self.expansion, times)
        return Spectra(self.frequency, z, self.states)

    def _at_middle(self, impedance: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Subtract what the change of the cell adds, where points were placed between the states of a series."""
        return impedance if self.moved is None else impedance - np.nan_to_num(self.moved)

    def with_intervals(self, level: float = 0.95) -> "Inversion":
        """Compute intervals of γ, R_pol and R_inf and keep them.

        Parameters
        ----------
        level : float
            Probability that an interval covers its value, between 0 and 1.

        Raises
        ------
        InputError
            For a level that is not between 0 and 1, if the result has no spectra, and if its method has no intervals.
        """
        return replace(self, intervals=self._intervals(level))

    def gamma_interval(self, level: float = 0.95, tau: ArrayLike | None = None, **state: float) -> tuple[Array, Array]:
        """Interval of γ(ln τ).

        Parameters
        ----------
        level : float
            Probability that it covers γ at a relaxation time, between 0 and 1.
        tau : array_like, shape (T,), optional
            Relaxation times, s; by default those of the result.
        **state : float
            As :meth:`gamma_at` takes it.

        Returns
        -------
        low, high : ndarray, shape (K, T), or (S, T) with a state
            Ohm per unit of natural logarithm; NaN where there is no solution, for a ``MISFIT``, and between two states
            of which one is a misfit.

        Raises
        ------
        InputError
            As :meth:`with_intervals` does, and for relaxation times that are not positive and finite.
        """
        if state:
            check_level(level)
            at = self.tau if tau is None else _positive("tau", "s", tau)
            return gamma_between(self, at, state, level)[1:]
        found = self._intervals(level, None if tau is None else _positive("tau", "s", tau))
        return found.gamma_low, found.gamma_high

    def r_pol_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of the polarisation resistance, ohm, shape (K,) each; see :meth:`gamma_interval`."""
        found = self._intervals(level)
        return found.r_pol_low, found.r_pol_high

    def r_inf_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of R_inf, ohm, shape (K,) each; NaN where the data do not show it; see :meth:`gamma_interval`."""
        found = self._intervals(level)
        return found.r_inf_low, found.r_inf_high

    def _intervals(self, level: float, tau: Array | None = None, kept: Kept | None = None) -> Intervals:
        if tau is None and self.intervals is not None and self.intervals.level == level:
            return self.intervals
        if self.impedance is None:
            raise InputError(
                "intervals need the measured spectra, and a result from an older file has none. Attach them: "
                "result.with_spectra(spectra); or ask for intervals when inverting: level=0.95."
            )
        found = intervals_of(self.method, self._fitted_spectra(self.impedance), level, tau, self._joined, kept)
        return found.without((self.status & Status.MISFIT) != 0)

    def _fitted_spectra(self, impedance: NDArray[np.complex128]) -> FittedSpectra:
        noise = np.stack([self.noise_floor, self.noise_relative], axis=1)
        z = self._at_middle(impedance)
        return FittedSpectra(
            self.frequency, z, self.expansion, self._parameters, self.regularisation, noise, self.point_time
        )

    @cached_property
    def _joined(self) -> JointSeries | None:
        """Series that were inverted together, if any were and their spectra are known."""
        return series_along_first(self)

    @cached_property
    def _joined_across(self) -> JointSeries | None:
        """The same along the second state, if there is one."""
        return series_along_second(self)

    def change(self, one: int, other: int, level: float = 0.95) -> Change:
        """Return how γ and R_pol change from one spectrum to another, with intervals.

        Of spectra that were inverted together, what is not known of both in the same way falls out of the difference,
        so that changes are known much better than values. Of others the uncertainties add up.

        Parameters
        ----------
        one, other : int
            Row numbers; the change is from `one` to `other`.
        level : float
            Probability that an interval covers the change, between 0 and 1.

        Returns
        -------
        Change
            With ``gamma``, ``gamma_low``, ``gamma_high`` at ``tau``, and ``r_pol``, ``r_pol_low``, ``r_pol_high``.

        Raises
        ------
        InputError
            For a row without a solution, a level that is not between 0 and 1, if the result has no spectra, and if its
            method has no posterior of ln γ.
        """
        return change_of(self, one, other, level)

    def predictions(self) -> Prediction:
        """Predict each spectrum from the others of its series, to see whether it agrees with them.

        Returns
        -------
        Prediction
            With ``impedance``, ``error`` and ``score``, NaN for what is no part of a series along the first state.

        Raises
        ------
        InputError
            If nothing was inverted together, or the result has no spectra.
        """
        if self._joined is None:
            raise InputError(
                "predictions need spectra that were inverted together, and their impedances. Invert with "
                "LogGaussian(along='voltage'), or attach the spectra: result.with_spectra(spectra)."
            )
        return self._joined.predictions()

    def peaks(self, options: "PeakOptions | None" = None) -> pd.DataFrame:
        """Maxima and shoulders of γ that noise and the method do not make by themselves, and what lies beyond them.

        The resistances of a spectrum's rows add up to R_pol. Of an admittance R and C are those of a resistor and a
        capacitor in series, in parallel to the others, 1/R is the area, and height and prominence are in S.

        Rows of kind ``"edge"`` are no peaks: they hold what lies
        beyond the valleys of the first and of the last peak, where γ rises again towards the end of the data.
        :func:`drt_engine.peaks.without_edges` leaves them out, and :func:`drt_engine.track` does. Where γ is negative,
        elements are fitted to the spectra, if the result has them, and correct the resistances of loops and of the
        arcs beside them.

        Parameters
        ----------
        options : PeakOptions, optional
            What counts as a peak.

        Returns
        -------
        DataFrame
            One row a peak or edge: ``spectrum`` (row number), the states, then ``tau`` (s), ``r`` (ohm), ``c`` (F),
            ``height``, ``width``, ``prominence`` and what else :func:`drt_engine.peaks.find_peaks` finds. Noise is told
            by the spectra; where the result has none it is taken from the residual, in proportion to |Z|. The errors of
            τ and R are NaN for a ``MISFIT``.
        """
        from drt_engine.result.processes import peaks_of

        return peaks_of(self, options)

    def deconvolve(
        self,
        spectra: Spectra | None = None,
        options: "DeconvolutionOptions | None" = None,
        *,
        series: Sequence[str] = (),
        along: str | None = None,
        together: bool | None = None,
    ) -> "Deconvolution":
        """Decompose spectra into ZARC, Havriliak-Negami or Gaussian elements, starting from the peaks of γ.

        The elements of spectra that were inverted together are fitted together as well: ln R, ln τ and the shape of
        each go on smoothly along the state, as far as the data allow, and a small process that no single spectrum
        determines is determined by its neighbours.

        Parameters
        ----------
        spectra : Spectra, optional
            The spectra that were inverted, which are fitted; by default those that the result has. If it has none, as
            one from an older file, the impedance of the model is fitted, with its residual for the noise; errors are
            then right for noise in proportion to |Z| only.
        options : DeconvolutionOptions, optional
            Form and number of the elements. Series elements are those of the inversion unless they are given, and so
            is how the noise changes with frequency, if the inversion knows that: from ``noise_floor`` and
            ``noise_relative``, from deviations that were given, or from its residuals if it was weighted by them. Else
            it is in proportion to |Z|. Negative γ is an element with a negative resistance. Tails other than a
            capacitor and lossy inductances are subtracted as the inversion found them; the errors of the elements do
            not include theirs.
        series : sequence of str
            State columns that distinguish series; each spectrum starts from the one before in its series.
        along : str, optional
            State column that orders a series; by default the rows are in order, or as the inversion has them.
        together : bool, optional
            Whether the spectra of a series are fitted together. By default those that were inverted together are, and
            others if asked for, along the state that is named. A series that breaks is fitted in parts.

        Returns
        -------
        Deconvolution
            The elements with their standard errors; its ``elements`` are a table that :func:`drt_engine.tracking.track`
            takes.

        Raises
        ------
        InputError
            If there are not as many spectra on the same frequencies, and for a distribution of diffusion times.
            For spectra that are to be fitted together without a state along which they are.
        UnknownNameError
            For a state column that does not exist.
        """
        from drt_engine.result.processes import deconvolved

        return deconvolved(self, spectra, options, tuple(series), along, together)

    def circuit(
        self, row: int = 0, spectra: Spectra | None = None, options: "DeconvolutionOptions | None" = None
    ) -> "EquivalentCircuit":
        """Equivalent circuit of a spectrum, as a string and initial values that impedance.py fits from.

        Parameters
        ----------
        row : int
            Row number of the spectrum.
        spectra : Spectra, optional
            The spectra that were inverted; see :meth:`deconvolve`.
        options : DeconvolutionOptions, optional
            What it is made of, as :meth:`deconvolve` takes them; of ZARC elements.

        Returns
        -------
        EquivalentCircuit
            Of ZARC elements; of finite-length Warburg elements for a distribution of diffusion times, and of branches
            in parallel for an admittance, both by the peaks of γ and without a fit. ``string``, ``initial``, ``names``
            and ``units``, for ``CustomCircuit(string, initial_guess=initial)``.
        """
        from drt_engine.result.processes import circuit_of

        return circuit_of(self, row, spectra, options)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a spectrum: its number, its states, then what was found.

        Returns
        -------
        DataFrame
            ``spectrum``, the states, ``r_inf`` and ``r_pol`` (ohm), ``inductance`` (H), ``capacitance`` (F), the ends
            of their intervals if the result has some, then the other arrays of the result, ``status`` as a number and
            ``remarks`` in words. :func:`drt_engine.tables.gather` writes units into the headings.
        """
        return result_frame(self)

    def gamma_frame(self, tau: ArrayLike | None = None, *, form: "Form" = "long") -> pd.DataFrame:
        """Return γ(ln τ) as a table.

        Parameters
        ----------
        tau : array_like, shape (T,), optional
            Relaxation times, s; by default those of the result, with its intervals if it has some.
        form : {"long", "rows", "columns"}
            One row a point, with the states; one row a spectrum, with the states and then a column ``("gamma", τ)`` for
            each τ; or one row for each τ and a column ``("gamma", name)`` for each spectrum, as plotting programs want
            it. Spectra are named by the states that distinguish them.

        Returns
        -------
        DataFrame
            τ in s, γ in ohm per unit of natural logarithm.

        Raises
        ------
        UnknownNameError
            For another form.
        """
        return gamma_frame(self, None if tau is None else _positive("tau", "s", tau), form)

    def impedance_frame(self, spectra: Spectra | None = None, *, form: "Form" = "long") -> pd.DataFrame:
        """Return measured and fitted impedance as a table.

        Parameters
        ----------
        spectra : Spectra, optional
            The spectra that were inverted; by default those that the result has. Without any there is the fit alone.
        form : {"long", "rows", "columns"}
            As :meth:`gamma_frame` takes it.

        Returns
        -------
        DataFrame
            ``frequency`` (Hz), ``z_real``, ``z_imag``, ``fit_real`` and ``fit_imag`` (ohm).
        """
        return impedance_frame(self, spectra, form)

    def to_xarray(self) -> "xr.Dataset":
        """Return the whole result as a dataset.

        Returns
        -------
        xarray.Dataset
            Dimensions ``spectrum`` and ``tau``; the states are coordinates along ``spectrum``; units and the method's
            settings as attributes.
        """
        from drt_engine.result.dataset import dataset_of

        return dataset_of(self)


def _positive(name: str, unit: str, values: ArrayLike) -> Array:
    try:
        array = np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers in {unit}; got {error}.") from error
    if array.ndim != 1 or not np.all(np.isfinite(array) & (array > 0)):
        raise InputError(f"{name} must be one-dimensional, positive and finite, in {unit}; got {values!r}.")
    return array
