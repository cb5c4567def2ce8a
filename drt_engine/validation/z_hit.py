"""The Z-HIT: the modulus of an impedance made from its phase."""

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.checks import is_real
from drt_engine.errors import InputError
from drt_engine.model.problem import row_by_row
from drt_engine.validation.base import Findings
from drt_engine.validation.result import Validity
from drt_engine.validation.significance import Trials

__all__ = ["ZHit"]

Array = NDArray[np.float64]
_DEGREE = 2
"""Degree of the local polynomials that smooth the phase: they leave a bend, and average noise."""


@dataclass(frozen=True)
class ZHit:
    r"""Z-HIT: the modulus reconstructed from the phase at the same and all higher frequencies [1]_.

    .. math:: \ln|Z(ω_0)| ≈ \mathrm{const} + \frac{2}{π} \int_{ω_s}^{ω_0} φ \, d\ln ω
              - \frac{π}{6} \left. \frac{dφ}{d\ln ω} \right|_{ω_0}

    The phase is measured at one time and does not add up errors as the modulus does, so where a drift changes the
    impedance during the sweep, the measured modulus leaves the reconstructed one at low frequencies. The constant is
    the mean difference in the window. Higher derivatives of the phase are left out of the formula, which is therefore
    off by up to some per cent where the phase bends strongly; a small drift is for
    :class:`~drt_engine.validation.LinearKramersKronig` to find.

    Parameters
    ----------
    window : pair of float
        Frequencies between which the constant is fixed, Hz; all where no point lies between.
    smoothing : int
        Points of the quadratic polynomial that smooths the phase around each frequency, odd; 1 for none.
    limit : float
        Drift, as a share of |Z|, above which a spectrum is flagged, if it is also beyond four standard errors.

    Raises
    ------
    InputError
        For numbers out of range.

    References
    ----------
    .. [1] W. Ehm, H. Göhr, R. Kaus, B. Röseler, C. A. Schiller, ACH Models Chem. 137 (2000) 145.
    """

    window: tuple[float, float] = (1.0, 1000.0)
    smoothing: int = 5
    limit: float = 0.01

    def __post_init__(self) -> None:
        """Check every field, so that a mistake shows before the work begins."""
        try:
            low, high = (float(value) for value in self.window)
        except (TypeError, ValueError) as error:
            raise InputError(f"window must be two frequencies in Hz; got {self.window!r}.") from error
        if not 0.0 < low < high < math.inf:
            raise InputError(f"window must be two frequencies in Hz, positive, ascending; got {self.window!r}.")
        object.__setattr__(self, "window", (low, high))
        if not is_real(self.smoothing) or self.smoothing < 1 or self.smoothing % 2 != 1:
            raise InputError(f"smoothing must be an odd number of points from 1; got {self.smoothing!r}.")
        if not is_real(self.limit) or not 0.0 < self.limit < math.inf:
            raise InputError(f"limit must be a positive number, a share of |Z|; got {self.limit!r}.")

    def settings(self) -> dict[str, Any]:
        """Return its name and fields, in types that JSON has."""
        return {"name": "z-hit"} | asdict(self) | {"window": list(self.window)}

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
            `drift` is that of the modulus at a constant number of periods a point; `noise` is the standard deviation of
            what neither this nor a constant explain.
        """
        phase = np.unwrap(np.angle(impedance), axis=1)
        log_modulus = np.log(np.abs(impedance))
        off = log_modulus - row_by_row(phase, _operator(frequency.tobytes(), self.smoothing).T)
        inside = (frequency >= self.window[0]) & (frequency <= self.window[1])
        if not inside.any():
            inside[:] = True
        off -= off[:, inside].mean(axis=1, keepdims=True)
        course = Trials(frequency).times[1]
        course = course - course[inside].mean()
        square = float(course @ course)
        out = Findings.blank(*impedance.shape)
        out.drift[:] = (off * course).sum(axis=1) / square
        rest = off - out.drift[:, None] * course
        out.noise[:] = np.sqrt(np.sum(rest**2, axis=1) / (frequency.size - 2))
        out.drift_error[:] = out.noise / math.sqrt(square)
        with np.errstate(divide="ignore", invalid="ignore"):
            certain = np.nan_to_num(np.abs(out.drift) / (4.0 * out.drift_error), nan=0.0, posinf=np.inf)
        out.score[:] = np.minimum(np.abs(out.drift) / self.limit, certain)
        out.flag[out.score > 1.0] = np.uint16(Validity.DRIFT)
        out.residual[:] = -np.expm1(-off) * np.exp(1j * phase)
        out.full_residual[:], out.deviation[:] = out.residual, out.noise[:, None]
        return out


@lru_cache(maxsize=16)
def _operator(frequency: bytes, smoothing: int) -> Array:
    """Return what a row of phases is multiplied by to give ln |Z| but for a constant, shape (F, F).

    The phase is smoothed, then a cubic spline through it is integrated and differentiated; all of it is linear.
    """
    from scipy.interpolate import make_interp_spline

    x = np.log(np.frombuffer(frequency))[::-1]
    unit = np.eye(x.size)
    smooth = unit if smoothing == 1 else _smoother(x, smoothing)
    spline = make_interp_spline(x, smooth, k=3)
    whole = spline.antiderivative()(x)
    made = 2.0 / math.pi * (whole - whole[-1]) - math.pi / 6.0 * spline.derivative()(x)
    return np.ascontiguousarray(made[::-1, ::-1])


def _smoother(x: Array, window: int) -> Array:
    """Values of local quadratic polynomials, as a matrix, shape (F, F)."""
    count = min(window, x.size if x.size % 2 else x.size - 1)
    matrix = np.zeros((x.size, x.size))
    for i in range(x.size):
        first = min(max(i - count // 2, 0), x.size - count)
        near = slice(first, first + count)
        powers = np.vander(x[near] - x[i], min(_DEGREE, count - 1) + 1, increasing=True)
        matrix[i, near] = np.linalg.pinv(powers)[0]
    return matrix
