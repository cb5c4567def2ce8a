"""Noise of impedance, σ² = a² + b²|Z|²: how it is given, and how it may depend on frequency."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.spectra import MIN_POINTS

__all__ = ["Noise", "Shapes", "checked_noise", "given_shape"]

Array = NDArray[np.float64]
Noise = Literal["auto", "constant", "proportional"] | Sequence[float]

# Ratios of the two parts of the noise that are tried, between none and all. With half as many the variance of a point
# may be wrong by a half at moduli that span 300, and faultless points stand out.
_VALUES = 16
# By how much σ²/|Z|² is larger at the last frequency of either end, from where it falls as f or 1/f does. Without this,
# points where the noise is larger stand out: of faultless spectra with σ ∝ √(1 + 1 Hz/f) |Z| down to 0.01 Hz, 66 % were
# flagged.
_ENDS = (3.0, 10.0, 30.0, 100.0)
# Below which multiples of the lowest frequency it is larger, by how much: integration times and ranges are switched.
_BELOW, _LARGER = (10.0, 100.0), (10.0, 30.0)
_FLOORS = (0.01, 0.1)  # least variance of the other shapes beside |Z|², so that none is zero where a part of Z is
_PLAUSIBLE = 3.0  # logarithm of the likelihood that a candidate may lack
# As a logarithm, how much rarer than noise in proportion to |Z| are a² + b²|Z|² or more at one end, and the others.
_RARE = (2.0, 6.0)
_MOST = 4  # candidates that are fitted in full
_HEAVY = 4.0  # degrees of freedom of Student's distribution
_ROUNDS = 10  # of its weights and its scale


def checked_noise(noise: Any) -> Any:
    """Return a name, or a tuple of numbers: a and b, or σ of each point.

    Raises
    ------
    UnknownNameError
        For a name that is not known.
    InputError
        For anything that is neither a name nor numbers, and numbers out of range.
    """
    known = get_args(get_args(Noise)[0])
    if isinstance(noise, str):
        if noise not in known:
            raise UnknownNameError("noise", noise, known)
        return noise
    try:
        values = tuple(float(value) for value in noise)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"noise must be 'auto', 'constant', 'proportional', (a, b) or σ of each point; got {noise!r}."
        ) from error
    if len(values) != 2 and len(values) < MIN_POINTS:
        raise InputError(f"noise must be two numbers, a and b, or σ of each point; got {len(values)} numbers.")
    low = 0.0 if len(values) == 2 else math.nextafter(0.0, 1.0)
    if not all(low <= value < math.inf for value in values) or not any(values):
        raise InputError(f"noise must be finite and positive, one of a and b may be zero; got {noise!r}.")
    return values


def given_shape(noise: Any, modulus: Array) -> tuple[Array, Array]:
    """Return σ²/|Z|² of a choice other than "auto", but for its scale, shape (K, F), and its α and β, (K, 2).

    Parameters
    ----------
    noise : str or tuple of float
        As :func:`checked_noise` returns it.
    modulus : ndarray, shape (K, F)
        |Z|, ohm.
    """
    least = modulus.min(axis=1, keepdims=True)
    if len(noise) != 2 and not isinstance(noise, str):
        return (np.asarray(noise) / modulus) ** 2, np.full((len(modulus), 2), np.nan)
    a, b = {"constant": (1.0, 0.0), "proportional": (0.0, 1.0)}.get(noise, noise)
    alpha_beta = np.hstack([np.full_like(least, b**2), (a / least) ** 2])
    return alpha_beta[:, :1] + alpha_beta[:, 1:] * (least / modulus) ** 2, alpha_beta


@dataclass(frozen=True, eq=False)
class Shapes:
    """Ways in which the noise of one spectrum may depend on frequency.

    Attributes
    ----------
    variance : ndarray, shape (S, 2F)
        σ²/|Z|² of real, then imaginary parts, with a median of one.
    alpha_beta : ndarray, shape (S, 2)
        α and β of α + β min|Z|²/|Z|²; NaN where the noise is no such function.
    rare : ndarray, shape (S,)
        By how much it is less likely before there are data, as a logarithm.
    """

    variance: Array
    alpha_beta: Array
    rare: Array

    @classmethod
    def of(cls, variance: Array, alpha_beta: Array, rare: Array | None = None) -> "Shapes":
        """Scale variances to a median of one."""
        middle = np.median(variance, axis=1, keepdims=True)
        return cls(variance / middle, alpha_beta / middle, np.zeros(len(variance)) if rare is None else rare)

    @classmethod
    def every(cls, fitted: NDArray[np.complex128]) -> "Shapes":
        """Return all that are tried, for Z/|Z| of the fit times |Z|, shape (F,).

        They are σ² = a² + b²|Z|² [1]_; noise of each part in proportion to that part [2]_; and of both in proportion
        to the imaginary part or to |Z|² [3]_, each with some in proportion to |Z| beside it.

        References
        ----------
        .. [1] J. R. Macdonald (ed.), Impedance Spectroscopy, Wiley 1987, ch. 3.2.
        .. [2] J. R. Macdonald, L. D. Potter, J. Electroanal. Chem. 222 (1987) 1.
        .. [3] P. Agarwal, O. D. Crisalle, M. E. Orazem, L. H. Garcia-Rubio, J. Electrochem. Soc. 142 (1995) 4149.
        """
        square = np.abs(fitted) ** 2
        near = square.min() / square
        ratios = (1.0 / near.min()) ** (np.arange(_VALUES) / (_VALUES - 1.0))
        alpha_beta = np.array([(1.0, 0.0), *((1.0, ratio) for ratio in ratios), (0.0, 1.0)])
        modulus = alpha_beta[:, :1] + alpha_beta[:, 1:] * near
        others = []
        for floor in _FLOORS:
            imaginary = fitted.imag**2 / square + floor
            steep = square / np.median(square) + 10.0 * floor
            others += [np.concatenate([fitted.real**2 / square + floor, imaginary]), np.tile(imaginary, 2)]
            others.append(np.tile(steep, 2))
        unknown = np.full((len(others), 2), np.nan)
        rare = np.repeat([0.0, *_RARE], [1, len(alpha_beta) - 1, len(others)])
        return cls.of(np.vstack([np.tile(modulus, 2), *others]), np.vstack([alpha_beta, unknown]), rare)

    @classmethod
    def larger_at_ends(cls, frequency: Array) -> "Shapes":
        """Return noise in proportion to |Z| with more at low or at high frequencies, shape (F,).

        It is tried where points are off, and not where a drift may be: that has its largest residuals at an end, too.
        """
        low, high = frequency.min() / frequency, frequency / frequency.max()
        variance = [1.0 + rise * end for end in (low, high) for rise in _ENDS]
        variance += [1.0 + more / (1.0 + (below * low) ** -2) for below in _BELOW for more in _LARGER]
        unknown = np.full((len(variance), 2), np.nan)
        return cls.of(np.tile(variance, 2), unknown, np.full(len(variance), _RARE[0]))

    def __getitem__(self, chosen: Any) -> "Shapes":
        """Return the chosen ones."""
        return Shapes(self.variance[chosen], self.alpha_beta[chosen], self.rare[chosen])

    def plausible(self, squares: Array, floor: float) -> "Shapes":
        """Return the most likely noise, then what is hardly less likely; the first of all is always among them.

        The two parts of a point have Student's distribution of four degrees of freedom, so that single points hardly
        matter, and a scale that is solved for by fixed-point iteration.

        Parameters
        ----------
        squares : ndarray, shape (2F,)
            Squares of a residual over |Z|, over the share of its freedom that a fit leaves to each.
        floor : float
            The least of σ²/|Z|²; what is below it is rounding.
        """
        points = squares.size // 2
        ratio = (squares / self.variance).reshape(-1, 2, points).sum(axis=1)
        scale = np.median(ratio, axis=1, keepdims=True) / (2.0 * math.log(2.0)) + np.finfo(float).tiny
        for _ in range(_ROUNDS):
            weighted = ratio * (_HEAVY + 2.0) / (_HEAVY + ratio / scale)
            scale = weighted.mean(axis=1, keepdims=True) / 2.0 + np.finfo(float).tiny
        likelihood = -self.rare - points * np.log(scale[:, 0]) - 0.5 * np.log(self.variance).sum(axis=1)
        likelihood -= 0.5 * (_HEAVY + 2.0) * np.log1p(ratio / (_HEAVY * scale)).sum(axis=1)
        order = np.argsort(-likelihood, kind="stable")
        chosen = order[likelihood[order] > likelihood[order[0]] - _PLAUSIBLE][:_MOST]
        if 0 not in chosen:  # a drift that is not yet in the model looks like another noise
            chosen = np.append(chosen, 0)
        least = floor / scale[chosen]
        raised = self.alpha_beta[chosen] + least * np.array([1.0, 0.0])
        return Shapes.of(self.variance[chosen] + least, raised, self.rare[chosen])
