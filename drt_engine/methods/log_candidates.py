"""Which model of several a spectrum is solved with: each is tried, and the most probable one taken."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_engine.elements import EXPONENTS, Sign, Tail, TailName, Terms, tail_kinds
from drt_engine.methods.base import Solution
from drt_engine.methods.hidden_loops import NO_SIGN, hidden_loops, loop_score, loop_scores
from drt_engine.methods.log_gaussian_prepared import EARLY_END, END, Noise, PreparedLogGaussian, held_down
from drt_engine.methods.log_models import Fit, LogModel, signed_grid, signed_problem
from drt_engine.model.discretisation import Discretisation
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Parameters, assemble_with
from drt_engine.uncertainty.ceilings import Ceilings, JoinedCeilings
from drt_engine.uncertainty.cut_off import cut_at_zero
from drt_engine.uncertainty.posterior import LogPosterior
from drt_kernels import log_gaussian

__all__ = ["LogModels", "likeliest", "may_be_slow_arcs"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
_Problem = tuple[Array, Array, Array]
_Solved = tuple["Candidate", Fit]
_Placed = tuple[_Solved, tuple[int, int]]

_AUTO: tuple[TailName, ...] = ("none", "capacitor", "cpe", "warburg")
"""What ``"auto"`` chooses from. A finite space is a capacitor with relaxations beside it, which γ has."""

_LIKELY = float(np.log(20.0))
"""Difference of logarithms of evidence below which a model is not ruled out."""

_CLEAR = 20.0
"""The same from which on a range whose ends have yet to be moved to where γ goes through zero is looked at."""

_TAIL_LIKELY, _RARE = float(np.log(4.0)), float(np.log(2.0))
"""Difference of logarithms of evidence from which on a tail is taken to be there; and what a capacitor, or a Warburg
element, is behind a constant-phase element before the data: electrodes that block are rarely ideal. With it, n = 0.5
and 0.6 are told apart about equally well at 1 % noise."""

_HOPELESS = float(np.log(1e4))
"""Difference from which on a tail is not tried again with γ that ends in a straight line: that adds 3 at most."""

_NOISY = 0.005
"""Noise, as a share of |Z|, from which on γ may end in a straight line of ln γ before a tail. Arcs do not end in an
exact one: with it R_pol is 0.1 to 0.3 % low, which at 0.1 and 0.3 % noise is half of its error or more, and at 1 % a
fifth at most."""

_TOLD = float(np.log(100.0))
"""The same, in the mean of the spectra of a series, below which a tail may be arcs beyond the window: 4.1 at most for
arcs of 50 ohm at 160 times the slowest time constant beside 70 ohm, 6 and more for tails of a few ohm at
the lowest frequency and 0.3 % noise."""

_SAME = 0.02
"""Share of R_pol by which two models may differ that are taken as equivalent."""

_ALIKE = 0.05
"""By how much exponents of their tails may differ: R_pol may be the same, and what electrodes do is not."""

_EXPONENTS = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
"""1 − n that are tried at the start."""

_DIFFUSION = (-3.5, -2.0, -0.5, 1.0)
"""ln(T ω_min) that are tried at the start."""

_LOSSES = (0.05, 0.15, 0.25, 0.35, 0.5)
"""1 − m that are tried at the start. From 0.05 alone, one spectrum of twenty has R_inf = 0, fast relaxations stand for
it, and R_pol is up to 40 % too large."""

_LOST, _STEPS = 1.0, (0.03, 0.015, 0.007, 0.0035)
"""By how much the logarithm of the evidence may fall when a shape is let go of; and steps of looking for it else."""

_NEARBY, _MOVES = 0.02, 5
"""How far apart exponents are whose evidence tells where it is largest, half of what an exponent is known to at 1 %
noise; and how often they are moved."""

_COARSE, _TRIED, _NODE_STEPS, _MOST, _KEPT = 8, 4, (3, 1), 24, 256
"""Spacing of the ends of negative ranges that are tried at first, how many of them are solved, by how much their ends
are then moved, all in relaxation times; how many places of an end are weighed, and how many models are kept."""

_NODES_MISS = 3e-3
"""What piecewise linear γ misses of the impedance of an ideal element between two relaxation times, as a share of its
resistance: a variance of 5/12 of the squared spacing, times half of the second derivative by ln τ."""

_NARROWEST, _NARROWEST_BRANCH = 9, 2
"""Relaxation times of a negative range, at least: the least that holds a narrow peak with its flanks. A jump to a
positive γ beside a negative peak would be made up for by the neighbours. A branch of a resistor and an inductor has one
time in the admittance, which may be beside those of capacitors: with nine, three times the noise was left."""

_BESIDE, _MADE_UP = 3, 0.3
"""How many relaxation times a branch is away at most whose misfit is made up for, and below which share of its
conductance. Of 194 ideal branches, three had another one beside them without it, of 0.15 to 0.22 of the conductance."""

_ENDING: tuple[TailName, ...] = ("capacitor", "cpe", "warburg")
"""Tails before which processes are expected to end. A finite space has relaxations of its own."""


def likeliest(evidence: dict[TailName, float]) -> TailName:
    """Return the tail with the largest evidence; none where the data do not decide. Capacitors are rarer beforehand.

    Parameters
    ----------
    evidence : dict of str to float
        Logarithms of the evidence of some tails, of one spectrum or of several.
    """
    best = max(evidence, key=lambda tail: evidence[tail] - _RARE * (tail == "capacitor"))
    return "none" if evidence.get("none", -np.inf) > evidence[best] - _TAIL_LIKELY else best


def may_be_slow_arcs(evidence: dict[TailName, float], tail: TailName, number: int) -> bool:
    """Whether a tail of a series may be processes beyond the window that γ goes on to.

    One spectrum tells little of that, and many that are alike tell the same again: the evidence of each says what is
    expected beyond the window, which adds up where the data say nothing. So it is that of one spectrum that counts.

    Parameters
    ----------
    evidence : dict of str to float
        Sums of the logarithms of the evidence of tails over the spectra.
    tail : str
        The tail that they have.
    number : int
        How many they are.
    """
    return tail != "none" and evidence[tail] - evidence["none"] < number * _TOLD


class LogModels:
    """The models of a grid that spectra are solved with.

    Parameters
    ----------
    discretisation : Discretisation
        The matrices of γ.
    tail : str
        Name of a tail, or ``"auto"``.
    inductance : bool or "cpe"
        None, a coil, or one with losses.
    sign : str
        Which signs γ may have.
    noise : tuple
        Noise, and whether it is robust, as :class:`PreparedLogGaussian` takes them.
    """

    def __init__(
        self,
        discretisation: Discretisation,
        tail: Tail,
        inductance: bool | str,
        sign: Sign,
        noise: tuple[Noise, bool],
    ) -> None:
        self.discretisation, self._tail, self._sign, self._noise = discretisation, tail, sign, noise
        coil: Any = "cpe" if inductance == "cpe" else "coil" if inductance else "none"
        # That there is no tail is tried as well: what cannot be told apart is said.
        names = _AUTO if tail == "auto" else tuple(dict.fromkeys(("none", tail)))
        # A lossy inductance that is nothing is a coil that is nothing.
        coils = dict.fromkeys((coil, "coil" if coil == "cpe" else coil))
        self._terms = [Terms(name, one) for name in names for one in coils]
        self._coil = coil
        self._known: OrderedDict[tuple[Terms, bytes, float, bool], Candidate] = OrderedDict()
        self._turn = Lock()
        self._reciprocal = discretisation.expansion.kernel == "admittance"
        self._plus = np.ones(discretisation.expansion.tau.size)
        self._prepared = self.candidate(self._terms[0], self._plus).model.prepared

    def candidate(self, terms: Terms, signs: Array, end: float = END, *, straight: bool = False) -> "Candidate":
        """Return the model with some terms and signs of γ; those used last are kept."""
        key = terms, signs.tobytes(), end, straight
        with self._turn:
            if key not in self._known:
                self._known[key] = Candidate(self.discretisation, terms, signs, self._noise, end, straight=straight)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]

    def solve(self, impedance: ComplexArray, regularisation: float | None) -> Solution:
        """Invert finite spectra.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        regularisation : float or None
            λ, or None where it is to be found.
        """
        if not self._looks_for_loops or len(self._terms) > 1:
            return self._searched(impedance, regularisation)
        # Most spectra of this one model have no sign of a loop, and are solved all together.
        found = self._prepared.solve(impedance, regularisation)
        rows = np.flatnonzero(~(loop_scores(self._prepared, impedance, found) < NO_SIGN))
        if not rows.size:
            return found
        other = self._searched(impedance[rows], regularisation)
        place = np.arange(len(impedance))
        place[rows] = len(impedance) + np.arange(rows.size)
        return Solution.joined([found, other]).part(place, np.arange(impedance.shape[1]))

    def _searched(self, impedance: ComplexArray, regularisation: float | None) -> Solution:
        """Choose one of the models for each spectrum."""
        b, size = self._prepared.data(impedance)
        rows = _Rows(len(b), self.discretisation.expansion.tau.size)
        asked = self._sign == "both" and len(self._terms) == 1 and bool(self._ranges())
        costs = self._costs(b) if asked else None
        for k, fits in self._fits(impedance, regularisation):
            chosen, fit, rows.tail_uncertain[k] = self._chosen(fits, None if costs is None else costs[k])
            rows.put(k, chosen, fit, float(size[k]))
        z = rows.parameters.impedance(self.discretisation.frequency, self.discretisation.impedance)
        no = np.zeros(len(b), dtype=bool)
        noise = self._prepared.deviations(rows.hyper, size)
        return Solution(
            rows.parameters, z, rows.hyper[:, 2].copy(), rows.residual, no, no.copy(), *noise, rows.tail_uncertain
        )

    def _fits(self, impedance: ComplexArray, regularisation: float | None) -> Iterator[tuple[int, "_Fits"]]:
        """Fit all models to each spectrum that is not zero."""
        b, size = self._prepared.data(impedance)
        parts, given = self._prepared.variance(b, size)
        given[:, 2] = np.nan if regularisation is None else regularisation
        candidates = {terms: self.candidate(terms, self._plus) for terms in self._terms}
        starts = {terms: candidate.starts(b) for terms, candidate in candidates.items()}
        for k in map(int, np.flatnonzero(b.any(axis=1))):
            problem, found = (b[k], parts[k], given[k]), {}
            for terms, candidate in candidates.items():
                one = candidate.fit(*problem, [some[k] for some in starts[terms]])
                if one is not None:
                    found[terms] = one
            yield k, _Fits(problem, candidates, found)

    def _costs(self, b: Array) -> Array:
        """Return what spectra leave at the start with each range that is tried at first, shape (K, J).

        Without a tail, which γ stands for well enough here.
        """
        ranges = [self.candidate(self._terms[0], self._negative(pair)) for pair in self._ranges()]
        return np.stack([candidate.cost(b) for candidate in ranges], axis=1)

    def _chosen(self, fits: "_Fits", costs: Array | None) -> tuple["Candidate", Fit, bool]:
        """Choose tail and signs for a spectrum; the last says whether another tail is not ruled out.

        `costs` are those of :meth:`_costs`, if they are known.
        """
        best, tail_uncertain = self._choose(fits.found)
        if self._sign == "both" and self._may_have_loops(fits, best):
            costs = self._costs(fits.problem[0][None])[0] if costs is None else costs
            chosen, fit, beside = self._signed(fits.problem, fits.candidates[best], fits.found[best], costs)
            if (chosen.signs < 0.0).any():
                return chosen, fit, beside
        if best.tail in _ENDING:
            fits = self._ended(fits, best)
            best, tail_uncertain = self._choose(fits.found)
            if self._noisy(fits.problem[1], fits.found[best].hyper):
                fits.found[best] = fits.candidates[best].marginal(fits.problem, fits.found[best])
        return fits.candidates[best], fits.found[best], tail_uncertain

    def _may_have_loops(self, fits: "_Fits", terms: Terms) -> bool:
        """Whether the data have any sign of a loop beside γ > 0; the one model there is has been asked before."""
        if not self._ranges():
            return False  # of a range and what is beside it there are not enough relaxation times
        if self._reciprocal or len(self._terms) == 1:
            return True
        (b, parts, _), fit = fits.problem, fits.found[terms]
        known = fits.candidates[terms].certainty((b, parts, fit.hyper), (fit.values, fit.shape), 1.0, loops=True)
        return not known.score < NO_SIGN

    def _ended(self, fits: "_Fits", best: Terms) -> "_Fits":
        """Let processes end earlier before the tail, where γ falls from there on without being expected to.

        Where the noise is large, ln γ is a straight line there, for each tail, and also where that is more probable
        than what else it is.
        """
        problem, candidates, found = fits.problem, dict(fits.candidates), dict(fits.found)
        straight = self._noisy(problem[1], found[best].hyper)
        least = max(fit.evidence for fit in found.values()) - _HOPELESS
        for terms in [one for one in found if one.tail in _ENDING] if straight else [best]:
            late, falls = found[terms], self._end(terms, found[terms].values) == EARLY_END
            if late.evidence < least or not (falls or straight):
                continue
            earlier = self.candidate(terms, self._plus, EARLY_END, straight=straight)
            one = earlier.refit(problem)
            if one is None or one.residual > OPTIMALITY_TOLERANCE or self._end(terms, one.values) == END:
                continue
            if falls or one.evidence > late.evidence:
                candidates[terms] = earlier
                # An earlier end alone says nothing about which tail it is.
                found[terms] = one if straight else replace(one, evidence=late.evidence)
        return _Fits(problem, candidates, found)

    def _noisy(self, parts: Array, hyper: Array) -> bool:
        """Whether the noise is so large that the curvature of the end of an arc is not seen."""
        variance = (hyper[0] * parts[0] + hyper[1] * parts[1]) / parts[1]
        return bool(np.median(variance) > self._prepared.normal * _NOISY**2)

    def _end(self, terms: Terms, values: Array) -> float:
        """Share of the longest relaxation time from which on a γ > 0 is expected to fall before a tail, if it does."""
        expansion = self.discretisation.expansion
        end = expansion.window(self.discretisation.frequency)[1]
        gamma = values[: expansion.tau.size][(expansion.tau > EARLY_END * end) & (expansion.tau < end)]
        return EARLY_END if terms.tail in _ENDING and bool((np.diff(gamma) <= 0.0).all()) else END

    def evidence(self, impedance: ComplexArray, regularisation: float | None) -> dict[TailName, float]:
        """Sum the logarithms of the evidence of each tail over spectra; without a tail where one vanishes.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        regularisation : float or None
            λ, or None where it is to be found.
        """
        out: dict[TailName, float] = dict.fromkeys((terms.tail for terms in self._terms), 0.0)
        for _, (_, _, found) in self._fits(impedance, regularisation):
            solved = {terms.tail: fit.evidence for terms, fit in found.items() if fit.residual <= OPTIMALITY_TOLERANCE}
            for tail in out if "none" in solved else ():
                out[tail] += solved.get(tail, solved["none"])
        return out

    def _signed(self, problem: _Problem, chosen: "Candidate", fit: Fit, costs: Array) -> tuple["Candidate", Fit, bool]:
        """Look for a range of relaxation times where γ is negative, and whether it is more probable than none.

        The last that is returned is whether another tail beside such a range is not ruled out.
        """
        first = self._likeliest_range(problem, chosen, fit, costs)
        if first is None:
            return chosen, fit, False
        search = _Search(self, self._as_nodes_are(problem, first[0][1]))
        again = self._one(search.problem, first[0][0].terms, first[1])
        plain = fit if search.problem is problem else chosen.refit(search.problem)
        if again is None or plain is None:
            return chosen, fit, False
        found, ends = self._with_fewer_changes(search, search.move(again, first[1], _likelier))
        if _makes_up(found):
            return chosen, fit, False
        margin = _CLEAR if _jumps(found) else _LIKELY
        if found[1].evidence < plain.evidence + chosen.model.excused(*search.problem, plain) + margin:
            return chosen, fit, False
        placed, tail_uncertain = self._tail_beside(search, (found, ends))
        return *self._as_data_are(problem, search.problem, search.expected(*placed)), tail_uncertain

    def _tail_beside(self, search: "_Search", placed: _Placed) -> tuple[_Placed, bool]:
        """Choose the tail again: without negative γ, another one stood for some of the loop."""
        (candidate, _), ends = placed
        every = [self._one(search.problem, terms, ends) for terms in self._terms if len(self._terms) > 1]
        found = {one[0].terms: one for one in every if one is not None}
        if not found:
            return placed, False
        best, tail_uncertain = self._choose({terms: one[1] for terms, one in found.items()}, candidate.signs)
        return (placed if best == candidate.terms else search.move(found[best], ends, _likelier)), tail_uncertain

    def _likeliest_range(self, problem: _Problem, chosen: "Candidate", fit: Fit, costs: Array) -> _Placed | None:
        """Find the most probable of some ranges, with its ends; None where none is more probable than γ > 0."""
        ranges = self._ranges()
        best, least = None, fit.evidence
        for which in np.argsort(costs)[:_TRIED]:
            for terms in dict.fromkeys((chosen.terms, self._terms[0])):
                one = self._one(problem, terms, ranges[which])
                if one is None or (_jumps(one) and one[1].evidence < fit.evidence + _CLEAR):
                    continue
                if one[1].evidence > least:
                    best, least = (one, ranges[which]), one[1].evidence
        return best

    def _with_fewer_changes(self, search: "_Search", best: _Placed) -> _Placed:
        """Extend a range to an end of the grid where that is about as probable."""
        (found, ends), whole = best, self._plus.size
        for pair in ((ends[0], whole), (0, ends[1])):
            one = self._one(search.problem, found[0].terms, pair)
            if one is not None and ends != pair:
                simple, at = search.move(one, pair, _likelier)
                if 0 < at[0] < at[1] < whole:
                    continue
                margin = _LIKELY if _jumps(simple) or not _jumps(found) else _CLEAR
                least = found[1].evidence - margin
                if _as_likely(simple, found, least):
                    found, ends = simple, at
        return found, ends

    def _as_nodes_are(self, problem: _Problem, fit: Fit) -> _Problem:
        """Return the problem with a noise that is known, where what is found is below what relaxation times miss.

        What they miss of a narrow peak would be made up for by a peak of the other sign beside it.
        """
        b, parts, given = problem
        area = fit.values[: self._plus.size] * self.discretisation.expansion.areas
        least = (_NODES_MISS * float((area[1:] + area[:-1]).max())) ** 2
        found = float(np.median(fit.hyper[0] * parts[0] + fit.hyper[1] * parts[1]))
        if self._reciprocal or found >= least or not np.isnan(given[:2]).all():
            return problem
        return b, parts, np.array([least, fit.hyper[1], given[2]])

    def _as_data_are(self, problem: _Problem, raised: _Problem, found: _Solved) -> _Solved:
        """Solve again with the noise of the data, where it has been raised, unless that has other peaks."""
        again = None if raised is problem else found[0].refit(problem)
        if again is None or again.residual > OPTIMALITY_TOLERANCE:
            return found
        sharper = found[0], again
        same = _extrema(sharper) == _extrema(found) and _jumps(sharper) <= _jumps(found)
        return sharper if same else found

    def _one(self, problem: _Problem, terms: Terms, ends: tuple[int, int]) -> _Solved | None:
        """Solve with γ negative in one range; None where that cannot be."""
        whole = self._plus.size
        least = _NARROWEST_BRANCH if self._reciprocal else _NARROWEST
        if not 0 <= ends[0] <= ends[1] - least <= whole - least or ends == (0, whole):
            return None
        candidate = self.candidate(terms, self._negative(ends))
        fit = candidate.refit(problem)
        if fit is None or fit.residual > OPTIMALITY_TOLERANCE:
            return None
        return candidate, fit

    def _ranges(self) -> list[tuple[int, int]]:
        """Ranges of relaxation times that are tried at first."""
        whole = self._plus.size
        nodes = [*range(0, whole - _COARSE // 2, _COARSE), whole]
        return [(i, j) for i in nodes for j in nodes if i < j and (i, j) != (0, whole)]

    def _negative(self, ends: tuple[int, int]) -> Array:
        signs = self._plus.copy()
        signs[ends[0] : ends[1]] = -1.0
        return signs

    def _choose(self, found: dict[Terms, Fit], signs: Array | float = 1.0) -> tuple[Terms, bool]:
        """Return which model is taken, and whether one with another result is not ruled out."""
        solved = {terms: fit for terms, fit in found.items() if fit.residual <= OPTIMALITY_TOLERANCE} or found
        asked = [terms for terms in solved if self._tail in (terms.tail, "auto")] or list(solved)
        asked = [terms for terms in asked if terms.inductance == self._coil] or asked
        asked.sort(key=lambda terms: -solved[terms].evidence)
        by_tail = {terms.tail: terms for terms in reversed(asked)}
        best = by_tail[likeliest({tail: solved[terms].evidence for tail, terms in by_tail.items()})]
        least = solved[asked[0]].evidence - _LIKELY
        # A Warburg element has no doubt of its exponent: it is taken where that of another one has been ruled out.
        free = by_tail.get("cpe", best) if best.tail == "warburg" else best
        apart = abs(self._exponent(free, solved[free]) - 0.5) > _ALIKE
        if apart and solved[free].evidence > solved[best].evidence - _RARE:
            best = free
        r_pol = self._r_pol(solved[best], signs)
        exponent = self._exponent(best, solved[best])
        others = [(terms, fit) for terms, fit in solved.items() if fit.evidence > least]
        return best, any(
            abs(self._r_pol(fit, signs) - r_pol) > _SAME * abs(r_pol)
            or abs(self._exponent(terms, fit) - exponent) > _ALIKE
            for terms, fit in others
        )

    def _exponent(self, terms: Terms, fit: Fit) -> float:
        """Exponent of a tail; NaN without one."""
        omega = 2.0 * np.pi * self.discretisation.frequency
        return terms.tail_numbers(omega, fit.shape)[0]

    def _r_pol(self, fit: Fit, signs: Array | float) -> float:
        areas = self.discretisation.expansion.areas
        return float((signs * fit.values[: areas.size]) @ areas)

    def posterior(
        self, impedance: ComplexArray, parameters: Parameters, regularisation: Array, noise: tuple[Array, Array] | None
    ) -> LogPosterior:
        """Estimate the uncertainty of solutions; see :meth:`PreparedLogGaussian.posterior`."""
        b, size = self._prepared.data(impedance)
        parts, given = self._prepared.variance(b, size, noise)
        given[:, 2] = regularisation
        louder = 1.0 if noise is None else self._prepared.loudness(impedance, parameters, noise)[:, None] ** 2
        variance, expansion = parts * louder, self.discretisation.expansion
        logs, rows = expansion.tau.size, len(b)
        names = self.series_elements
        number = logs + len(names)
        covariance, shift = np.full((rows, number, number), np.nan), np.full((rows, number), np.nan)
        uncut, hyper = np.full((rows, 2, len(names)), np.nan), np.full((rows, 3), np.nan)
        pull, hidden = np.zeros((rows, 2, number)), np.zeros((rows, 3, logs if self._looks_for_loops else 0))
        strain = np.zeros(rows)
        allowed = JoinedCeilings(rows, [])
        terms = self._terms_of(parameters)
        for k in range(rows):
            signs = np.where(parameters.coefficients[k] < 0.0, -1.0, 1.0)
            end = self._end(terms[k], parameters.coefficients[k]) if (signs > 0.0).all() else END
            straight = end == EARLY_END and self._noisy(parts[k], given[k])
            candidate = self.candidate(terms[k], signs, end, straight=straight)
            values, shape = candidate.inverse(parameters, k, float(size[k]))
            if not np.isfinite(values).all() or not (values[:logs] > 0.0).all() or not regularisation[k] > 0.0:
                continue
            problem = b[k], variance[k], given[k]
            sure = candidate.certainty(problem, (values, shape), float(size[k]), loops=self._looks_for_loops)
            if self._tail == "auto" and terms[k].tail == "warburg":
                # Other exponents were tried as well.
                free = self.candidate(Terms("cpe", terms[k].inductance), signs, end, straight=straight)
                sure = sure.widened(free.doubt(problem, (values, np.insert(shape, 0, 0.5)), float(size[k])))
            own = [logs + names.index(name) for name in (*candidate.terms.series_elements, *candidate.terms.shapes)]
            place = np.array([*range(logs), *own])
            pull[k][:, place], shift[k, place], hyper[k] = sure.pull, sure.shift, sure.hyper
            strain[k] = sure.strain
            covariance[k][np.ix_(place, place)] = sure.covariance
            uncut[k][:, place[logs:] - logs] = sure.uncut
            allowed.parts.append((np.array([k]), sure.allowed))
            hidden[k] = sure.hidden
        known_noise = np.stack(self._prepared.deviations(hyper, size), axis=1)
        begin, end = expansion.window(self.discretisation.frequency)
        window_end = end if expansion.tau[-1] > end else None
        window_begin = begin if expansion.tau[0] < begin else None
        found = LogPosterior(
            expansion, parameters, names, covariance, known_noise, shift, uncut, window_end, reciprocal=self._reciprocal
        )
        return replace(found, pull=pull, allowed=allowed, hidden=hidden, window_begin=window_begin, strain=strain)

    @property
    def _looks_for_loops(self) -> bool:
        return self._sign == "both" and not self._reciprocal

    @property
    def series_elements(self) -> tuple[str, ...]:
        """Parameters beside γ that any of the models has."""
        linear = [name for terms in self._terms for name in terms.series_elements]
        shapes = [name for terms in self._terms for name in terms.shapes]
        return tuple(dict.fromkeys((*linear, *shapes)))

    def _terms_of(self, parameters: Parameters) -> list[Terms]:
        """Which model each solution is of."""
        tails = {one.tail for one in self._terms}
        terms: list[Terms] = []
        for k, kind in enumerate(tail_kinds(parameters.tail, parameters.tail_exponent, parameters.tail_tau)):
            name: TailName = kind
            if self._tail == "capacitor" or (kind == "none" and parameters.elastance[k] > 0.0):
                name = "capacitor"
            elif kind not in tails:
                # One of an exponent that has another name as well.
                name = "cpe"
            coil: Any = self._coil if parameters.inductance[k] > 0.0 or self._coil != "cpe" else "coil"
            terms.append(Terms(name, coil))
        return terms


class _Search:
    """Moves the ends of the range where γ is negative, for one spectrum."""

    def __init__(self, models: LogModels, problem: _Problem) -> None:
        self._models, self.problem = models, problem

    def move(self, found: _Solved, ends: tuple[int, int], better: Callable[[_Solved, _Solved], bool]) -> _Placed:
        """Move the ends while that is better; one at an end of the grid stays there."""
        whole = found[0].signs.size
        for step in _NODE_STEPS:
            for which, move in ((0, step), (0, -step), (1, step), (1, -step)):
                while 0 < ends[which] < whole:
                    pair = (ends[0] + move, ends[1]) if which == 0 else (ends[0], ends[1] + move)
                    one = self._models._one(self.problem, found[0].terms, pair)
                    if one is None or not better(one, found):
                        break
                    found, ends = one, pair
        return found, ends

    def expected(self, found: _Solved, ends: tuple[int, int]) -> _Solved:
        """Move each end to where the negative part of γ is nearest to what is expected of it, weighed by the evidence.

        Moving an end from a peak of one sign towards that of the other takes from the one what it gives to the other.
        The evidence hardly changes, so that where it is largest says little.
        """
        for which in (0, 1):
            places = [(found, ends)]
            for move in (1, -1) if 0 < ends[which] < found[0].signs.size else ():
                least, pair = found[1].evidence - _LIKELY, ends
                while len(places) < _MOST:
                    pair = (pair[0] + move, pair[1]) if which == 0 else (pair[0], pair[1] + move)
                    one = self._models._one(self.problem, found[0].terms, pair)
                    if one is None or not _as_likely(one, found, least):
                        break
                    places.append((one, pair))
            weight = np.exp([one[1].evidence - found[1].evidence for one, _ in places])
            parts = np.array([_negative_part(one) for one, _ in places])
            found, ends = places[int(np.abs(parts - parts @ weight / weight.sum()).argmin())]
        return found


def _jumps(one: _Solved) -> bool:
    """Whether |γ| is largest where its sign changes: from one peak to the other, without going through zero."""
    candidate, fit = one
    whole = candidate.signs.size
    bounds = [0, *(np.flatnonzero(np.diff(candidate.signs)) + 1).tolist(), whole]
    for first, last in pairwise(bounds if not candidate.reciprocal else []):
        largest = first + int(fit.values[first:last].argmax())
        if largest in (first - (first == 0), last - 1 + (last == whole)):
            return True
    return False


def _makes_up(one: _Solved) -> bool:
    """Whether γ < 0 of an admittance only makes up for what relaxation times miss of a larger branch beside it."""
    candidate, fit = one
    area = fit.values[: candidate.signs.size] * candidate.areas
    negative = np.where(candidate.signs < 0.0, area, 0.0)
    at = int(negative.argmax())
    beside = np.where(candidate.signs > 0.0, area, 0.0)[max(at - _BESIDE, 0) : at + _BESIDE + 1]
    return candidate.reciprocal and float(negative.sum()) < _MADE_UP * float(beside.sum())


def _extrema(one: _Solved) -> int:
    """How many maxima and minima γ has."""
    gamma = one[0].signs * one[1].values[: one[0].signs.size]
    return int(np.count_nonzero(np.diff(np.sign(np.diff(gamma)))))


def _likelier(one: _Solved, best: _Solved) -> bool:
    """Whether one is more probable than the other, or goes through zero where that does not."""
    return (not _jumps(one), one[1].evidence) > (not _jumps(best), best[1].evidence)


def _as_likely(one: _Solved, best: _Solved, least: float) -> bool:
    """Whether one may take the place of the best: by its evidence, and going through zero if that does."""
    return one[1].evidence > least and _jumps(one) <= _jumps(best)


def _negative_part(one: _Solved) -> float:
    """∫ |γ| d ln τ where γ < 0, but for a factor."""
    candidate, fit = one
    return float((fit.values[: candidate.signs.size] * candidate.areas)[candidate.signs < 0.0].sum())


class _Fits(NamedTuple):
    """Data of a spectrum with parts of the variance and what is given; models; and their fits."""

    problem: tuple[Array, Array, Array]
    candidates: dict[Terms, "Candidate"]
    found: dict[Terms, Fit]


class _Certainty(NamedTuple):
    """How sure the solution of a spectrum is, with N unknowns; as :class:`LogPosterior` has it."""

    pull: Array
    shift: Array
    hyper: Array
    covariance: Array
    uncut: Array
    allowed: Ceilings
    hidden: Array
    score: float
    """Sign of a loop that was not found, in standard deviations; infinite where γ is negative."""
    strain: float

    def widened(self, doubt: Array) -> "_Certainty":
        """Return the same with unknowns that move as one more moves by its standard deviation, shape (N,)."""
        uncut = self.uncut.copy()
        uncut[1] = np.hypot(uncut[1], doubt[doubt.size - uncut.shape[1] :])
        return self._replace(covariance=self.covariance + doubt[:, None] * doubt, uncut=uncut)


class _Rows:
    """Solutions of spectra, put in one by one."""

    def __init__(self, rows: int, size: int) -> None:
        blank = np.zeros(rows)
        self.parameters = Parameters(np.zeros((rows, size)), blank, blank.copy(), blank.copy(), tail=blank.copy())
        self.hyper, self.residual = np.tile([0.0, 0.0, 1.0], (rows, 1)), np.zeros(rows)
        self.tail_uncertain = np.zeros(rows, dtype=bool)

    def put(self, k: int, candidate: "Candidate", fit: Fit, size: float) -> None:
        """Put in what was found for a spectrum."""
        known, terms = self.parameters, candidate.terms
        logs = known.coefficients.shape[1]
        known.coefficients[k] = candidate.signs * fit.values[:logs] * size
        for name, value in zip(terms.series_elements, fit.values[candidate.model.logs :], strict=True):
            getattr(known, name)[k] = value * size
        if known.tail[k] > 0.0:
            known.tail_exponent[k], known.tail_tau[k] = terms.tail_numbers(candidate.omega, fit.shape)
        if "loss" in terms.shapes:
            known.inductance_exponent[k] = 1.0 - fit.shape[terms.shapes.index("loss")]
        self.hyper[k], self.residual[k] = fit.hyper, fit.residual


class Candidate:
    """One model of a grid with the problems that it is started from.

    Parameters
    ----------
    discretisation : Discretisation
        The matrices of γ.
    terms : Terms
        What is in series with γ.
    signs : ndarray, shape (M,)
        Of γ.
    noise : tuple
        Noise, and whether it is robust, as :class:`PreparedLogGaussian` takes them.
    end : float
        Share of the longest relaxation time from which on processes are expected to end before a tail, if there is one.
    straight : bool
        Whether γ is expected to end in a straight line of ln γ there.
    """

    def __init__(
        self,
        discretisation: Discretisation,
        terms: Terms,
        signs: Array,
        noise: tuple[Noise, bool],
        end: float,
        *,
        straight: bool,
    ) -> None:
        self.terms, self.signs, self._expansion = terms, signs, discretisation.expansion
        self.areas, self.reciprocal = self._expansion.areas, self._expansion.kernel == "admittance"
        self.omega = omega = 2.0 * np.pi * discretisation.frequency
        self._starts = [np.array(shape) for shape in _starting_shapes(terms, omega)]
        self._prepared = []
        for shape in self._starts:
            columns = np.array([terms.column(name, omega, shape) for name in terms.series_elements]).T
            problem = assemble_with(discretisation, "complex", terms.series_elements, columns)
            if terms.tail != "none":
                problem = held_down(problem)
            ending: Any = {"ends": end if terms.tail in _ENDING else 0.0, "straight": straight}
            lossy = terms.inductance == "cpe"
            prepared = PreparedLogGaussian(signed_problem(problem, signs), *noise, **ending, begins=lossy)
            prepared.grid = signed_grid(prepared.grid, signs)
            self._prepared.append(prepared)
        self.model = LogModel(self._prepared[0], terms, signs)

    def inverse(self, parameters: Parameters, k: int, size: float) -> tuple[Array, Array]:
        """Values and shapes of a solution, as a :class:`Fit` has them."""
        linear = [getattr(parameters, name)[k] for name in self.terms.series_elements]
        shapes = {
            "exponent": 1.0 - parameters.tail_exponent[k],
            "diffusion": np.log(parameters.tail_tau[k] * self.omega.max()),
            "loss": 1.0 - parameters.inductance_exponent[k],
        }
        values = np.concatenate([np.abs(parameters.coefficients[k]), linear]) / size
        return values, np.array([shapes[name] for name in self.terms.shapes])

    def certainty(self, problem: _Problem, found: tuple[Array, Array], size: float, *, loops: bool) -> "_Certainty":
        """Say how sure a solution is.

        Parameters
        ----------
        problem : tuple
            Data, parts of the variance and what is given, as :meth:`fit` takes them.
        found : tuple
            Values and shapes, as a :class:`Fit` has them.
        size : float
            What the spectrum was divided by, ohm.
        loops : bool
            Whether there may be loops that were not found, if none was.
        """
        (b, parts, given), model, prepared = problem, self.model, self.model.prepared
        y, scale, shifted, grid = model.linearised(b, *found)
        mean, spread, used = np.empty((1, y.size)), np.empty((1, y.size, y.size)), np.empty((1, 3))
        with model.work(grid) as work:
            log_gaussian.posteriors(shifted[None], parts[None], y[None], given[None], work, mean, spread, used)
        factors = 1.0 / scale
        factors[model.logs : model.linear] *= size
        factors[: model.logs] = 1.0
        mean, spread = mean * factors, spread * factors[:, None] * factors
        mean, spread, loose = cut_at_zero(mean, spread, model.logs)
        weights = np.tile(np.sqrt(prepared.normal / (used[0, :2] @ parts)), 2)
        columns = grid.columns[: y.size]
        of_data = columns, weights[None]
        (pull,), (strain,) = prepared.pull(grid, (y[None], given[None, 2]), (spread, factors[None]), of_data)
        mean[:, : model.logs] -= y[: model.logs]
        value = np.concatenate([np.exp(y[: model.logs]), y[model.logs :]])
        unit = size / scale[: model.logs]
        allowed = Ceilings(columns.T, weights[None], value[None], unit[None])
        hidden, score = np.zeros((3, model.logs if loops else 0)), np.inf
        if loops and (self.signs > 0.0).all():
            own = columns * np.concatenate([value[: model.logs], 1.0 / factors[model.logs :]])[:, None]
            left = shifted - value @ columns
            weights = prepared.root_weights(left, used[0, :2] @ parts)
            left = left * weights
            gamma = unit * value[: model.logs]
            data, known = (own * weights, left, weights / size), (spread[0], pull[1])
            hidden = hidden_loops(self._expansion, self.omega, data, known, gamma)
            score = loop_score(self.omega, self._expansion.tau, data, known)
        return _Certainty(pull, mean[0], used[0], spread[0], loose[0], allowed, hidden, score, float(strain))

    def doubt(self, problem: _Problem, found: tuple[Array, Array], size: float) -> Array:
        """How far all else moves as n moves by what it is uncertain, beside a Warburg element, shape (N - 1,).

        n is ½, or that of a constant-phase element, normal around n̂ with a variance v. With ½ of the probability p,
        (n − ½)² is (1 − p) (v + (n̂ − ½)²) in the mean. p is that of the ratio of the densities of n at ½ after and
        before the data (J. M. Dickey, Ann. Math. Stat. 42 (1971) 204), if both elements are as probable beforehand.

        Parameters
        ----------
        problem, found, size
            As :meth:`certainty` takes them, for n = ½. Zeros where nothing is known of n.
        """
        sure, (b, parts, _), model = self.certainty(problem, found, size, loops=False), problem, self.model
        y, scale, shifted, grid = model.linearised(b, *found)
        at = model.linear + self.terms.shapes.index("exponent")
        columns, value = grid.columns[: y.size], np.concatenate([np.exp(y[: model.logs]), y[model.logs :]])
        left = shifted - value @ columns
        weights = model.prepared.root_weights(left, sure.hyper[:2] @ parts)
        along = np.delete(sure.covariance[at], at)
        v = float(sure.covariance[at, at])
        if not (v > 0.0 and np.isfinite(along).all()):
            return np.zeros(along.size)
        off = v * float(scale[at] * (columns[at] * weights) @ (left * weights))
        most = (1.0 - EXPONENTS[0]) / np.sqrt(2.0 * np.pi * v)
        # Farther from ½, another exponent would have been taken.
        square = min(off**2 / v, 2.0 * max(float(np.log(most)) - _RARE, 0.0))
        return np.asarray(along * np.sqrt((1.0 + square) / (1.0 + most * np.exp(-0.5 * square)) / v))

    def starts(self, b: Array) -> list[Array]:
        """Where the search begins for spectra, one for each shape that is tried: ln γ and linear unknowns, (K, N) each.

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Scaled data.
        """
        return [prepared.beginning(b) for prepared in self._prepared]

    def cost(self, b: Array) -> Array:
        """Return what spectra leave at the start, shape (K,)."""
        return self._prepared[0].cost(b)

    def fit(self, b: Array, parts: Array, given: Array, starts: list[Array]) -> Fit | None:
        """Find the solution for one spectrum: the best of those with a shape held, and from there on with it free.

        Parameters
        ----------
        b, parts, given
            As :meth:`LogModel.fit` takes them.
        starts : list of ndarray, shape (N,)
            Rows of :meth:`starts`.
        """
        if not self.terms.shapes:
            return self.model.fit(b, parts, given, starts[0], self._starts[0])
        held = [self.model.fit_held(b, parts, given, *pair) for pair in zip(starts, self._starts, strict=True)]
        found = [(fit.evidence, fit, y) for y, fit in held if fit is not None]
        losses = [fit.shape[-1] if "loss" in self.terms.shapes else 0.0 for _, fit, _ in found]
        ends: list[Fit] = []
        for loss in dict.fromkeys(losses):
            # Each leads to a solution of its own: with another R_inf, which fast relaxations stand for.
            own = [one for one, other in zip(found, losses, strict=True) if other == loss]
            evidence, best, y = max(own, key=lambda one: one[0])
            free = self.model.fit(b, parts, given, y, best.shape)
            lost = free is None or free.evidence < evidence - _LOST
            ends.append(self._profiled(b, parts, given, y, best) if free is None or lost else free)
        return max(ends, key=lambda fit: fit.evidence, default=None)

    def refit(self, problem: _Problem) -> Fit | None:
        """Find the solution for one spectrum from the start.

        Parameters
        ----------
        problem : tuple
            Data, parts of the variance and what is given, as :meth:`fit` takes them.
        """
        return self.fit(*problem, [some[0] for some in self.starts(problem[0][None])])

    def marginal(self, problem: _Problem, found: Fit) -> Fit:
        """Move the exponent of a tail to where the evidence is largest, with γ integrated over.

        The most probable γ and n together have an n that is too high where the noise is large: there is more room for γ
        beside it. Beside other shapes, and at its bound, n stays.

        Parameters
        ----------
        problem : tuple
            Data, parts of the variance and what is given, as :meth:`fit` takes them.
        found : Fit
            The solution with n free.
        """
        if self.terms.shapes != ("exponent",) or not found.shape[0] > 0.0:
            return found
        b, parts, given = problem
        y = self.model.linearised(b, found.values, found.shape)[0][: self.model.linear]
        most = float(self.model.bounds[0])

        def held(at: float) -> Fit | None:
            return self.model.fit_held(b, parts, given, y, np.array([at]))[1]

        centre = at = float(found.shape[0])
        for _ in range(_MOVES):
            centre = min(max(at, _NEARBY), most - _NEARBY)
            fits = [held(centre + step) for step in (-_NEARBY, 0.0, _NEARBY)]
            low, middle, high = (-np.inf if fit is None else fit.evidence for fit in fits)
            bend = low - 2.0 * middle + high
            if not np.isfinite(bend):
                return found
            slope = 0.5 * (high - low)
            step = -slope / bend if bend < 0.0 else 2.0 * np.sign(slope)
            at = min(max(centre + _NEARBY * min(max(step, -2.0), 2.0), 0.0), most)
            if abs(at - centre) <= _NEARBY:
                break
        best = held(at)
        return found if best is None or best.residual > OPTIMALITY_TOLERANCE else best

    def _profiled(self, b: Array, parts: Array, given: Array, y: Array, best: Fit) -> Fit:
        """Look for the largest evidence with the shapes held, where letting go of them leads to a worse solution."""
        for step in _STEPS:
            for at in range(best.shape.size):
                for sign in (1.0, -1.0):
                    shape = best.shape.copy()
                    shape[at] = min(max(shape[at] + sign * step, 0.0), self.model.bounds[at])
                    other, fit = self.model.fit_held(b, parts, given, y, shape)
                    if fit is not None and fit.evidence > best.evidence:
                        best, y = fit, other
                        break
        return best


def _starting_shapes(terms: Terms, omega: Array) -> list[list[float]]:
    shapes: list[list[float]] = [[]]
    if terms.tail == "cpe":
        shapes = [[p] for p in _EXPONENTS]
    elif terms.tail == "warburg-open":
        span = float(np.log(omega.max() / omega.min()))
        shapes = [[max(span + at, 1.0)] for at in _DIFFUSION]
    losses = [[loss] for loss in _LOSSES] if terms.inductance == "cpe" else [[]]
    return [[*shape, *loss] for shape in shapes for loss in losses]
