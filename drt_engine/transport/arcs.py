r"""The circuit of a pellet between blocking electrodes: R, L, arcs and a constant-phase tail, for many spectra at once.

.. math:: Z = j\omega L + R + \sum_k \frac{R_k}{1 + (j\omega\tau_k)^{\varphi_k}} + \frac{1}{Q (j\omega)^n}

Residuals are divided by |Z|, as noise in proportion to the modulus has it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drt_engine.transport.fitting import Array, Fits, Slopes, fit_best

__all__ = ["FIXED", "Complex", "PelletFits", "filled", "fit_arcs", "pellet_impedance", "tail_at", "there"]

Complex = NDArray[np.complex128]

FIXED = 4
"""Parameters before those of arcs: L, R, ln 1/Q, n; each arc has ln R, ln τ, φ."""

_CERTAIN = 3.0
"""Factor from a limit within which it is not certain on which side an arc is."""
_BOUNDARY = 1e-8
"""C·L/A, F/cm, up to which an arc is one of bulk or grain boundary."""
_INTERFACE = 1e-7
"""C·L/A, F/cm, from which arcs are mostly those of an interface with an electrode, as in the classes of pellets."""

_LEAST_N, _LEAST_PHI = 0.3, 0.4
"""Smallest exponent of the tail and of an arc: a flatter tail or arc cannot be told from a resistance."""


@dataclass(frozen=True)
class PelletFits:
    """Solutions with a number of arcs, which are sorted by relaxation time.

    Attributes
    ----------
    fits : Fits
        Parameters and covariance for noise of unit variance.
    arcs : int
        How many arcs.
    """

    fits: Fits
    arcs: int

    def part(self, name: str) -> Array:
        """Return ln R, ln τ or φ of the arcs, shape (K, m); by ``"r"``, ``"tau"``, ``"phi"``."""
        return np.asarray(self.fits.x[:, FIXED + ("r", "tau", "phi").index(name) :: 3])

    def share_of_tail(self) -> Array:
        """C of each arc over that of the tail at its frequency, shape (K, m)."""
        elastance, n = self.fits.x[:, 2:3], self.fits.x[:, 3:4]
        log = self.part("tau") - self.part("r") + elastance - (1 - n) * self.part("tau")
        return np.asarray(np.exp(np.clip(log, -600, 600)))

    def counted(self, factor: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which arcs are the pellet's, shape (K, m), and of which that is not certain; others are the electrode's.

        An arc is the pellet's if it is larger than the tail at its frequency, so that there is a valley between them;
        or, where the geometry is known, if it has a capacitance that grain boundaries have. With one that electrodes
        have it is not certain.

        Parameters
        ----------
        factor : ndarray, shape (K,)
            Thickness over area, 1/cm; NaN where it is not known.
        """
        share = self.share_of_tail()
        with np.errstate(invalid="ignore"):
            normalised = np.exp(self.part("tau") - self.part("r")) * factor[:, None]
            near = (share > 1 / _CERTAIN) & (share < _CERTAIN) & ~(normalised < _BOUNDARY / _CERTAIN)
            near |= (share < 1) & (normalised > _INTERFACE)
            return (share < 1) | (normalised < _BOUNDARY), near

    def total(self, counted: NDArray[np.bool_]) -> tuple[Array, Array]:
        """R and the arcs that count, together, ohm, shape (K,), and the gradient, shape (K, N)."""
        r = np.where(counted, np.exp(self.part("r")), 0.0)
        gradient = np.zeros_like(self.fits.x)
        gradient[:, 1] = 1.0
        gradient[:, FIXED::3] = r
        return self.fits.x[:, 1] + r.sum(axis=1), gradient


def fit_arcs(omega: Array, impedance: Complex, arcs: int, before: PelletFits | None) -> PelletFits:
    """Fit the circuit with a number of arcs.

    Parameters
    ----------
    omega : ndarray, shape (F,)
        Angular frequencies, 1/s, descending.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm.
    arcs : int
        How many arcs.
    before : PelletFits, optional
        Solutions with one arc less, from which the fit begins; needed for one arc or more.

    Returns
    -------
    PelletFits
        The best of several beginnings.
    """
    missing = np.sum(~there(impedance), axis=1)
    given, impedance = impedance, filled(omega, impedance)
    starts = [_first(omega, impedance)] if before is None else _more(omega, impedance, before)
    lower, upper = _bounds(omega, impedance, arcs)
    model = _Model(omega, given)
    best = fit_best(model, starts, lower, upper)
    return PelletFits(_sorted(replace(best, freedom=best.freedom - 2 * missing)), arcs)


def pellet_impedance(omega: Array, x: Array) -> Complex:
    """Impedance (K, F), ohm, at parameters (K, N)."""
    return _evaluate(omega, x)[0]


def tail_at(fits: Fits, omega: float) -> tuple[Array, Array]:
    """Modulus of the tail at an angular frequency, ohm, shape (K,), and the standard deviation of its logarithm."""
    log = np.log(omega)
    gradient = np.zeros_like(fits.x)
    gradient[:, 2], gradient[:, 3] = 1.0, -log
    variance = np.einsum("kn,knm,km->k", gradient, fits.covariance, gradient)
    return np.exp(fits.x[:, 2] - fits.x[:, 3] * log), np.sqrt(np.maximum(variance * fits.chi2 / fits.freedom, 0.0))


class _Model:
    """Weighted residuals and their derivatives, for :func:`drt_engine.transport.fitting.fit`."""

    def __init__(self, omega: Array, impedance: Complex) -> None:
        known = there(impedance)
        self.omega, self.impedance = omega, np.where(known, impedance, 1.0)
        self.weight = np.where(known, 1 / np.abs(self.impedance), 0.0)

    def __call__(self, x: Array, rows: NDArray[np.intp]) -> tuple[Array, Slopes]:
        z, derivative = _evaluate(self.omega, x)
        weight = self.weight[rows]
        off = (z - self.impedance[rows]) * weight

        def slopes(kept: NDArray[np.bool_]) -> Array:
            known = derivative[kept] * weight[kept][:, :, None]
            return np.concatenate([known.real, known.imag], axis=1)

        return np.concatenate([off.real, off.imag], axis=1), slopes


def _evaluate(omega: Array, x: Array) -> tuple[Complex, Complex]:
    """Z (K, F) and its derivatives (K, F, N)."""
    log_s = np.log(omega) + 0.5j * np.pi
    derivative = np.empty((len(x), omega.size, x.shape[1]), dtype=complex)
    derivative[:, :, 0], derivative[:, :, 1] = 1j * omega, 1.0
    tail = np.exp(x[:, 2:3] - x[:, 3:4] * log_s)
    derivative[:, :, 2], derivative[:, :, 3] = tail, -tail * log_s
    z = x[:, 0:1] * 1j * omega + x[:, 1:2] + tail
    for k in range(FIXED, x.shape[1], 3):
        phi, distance = x[:, k + 2 : k + 3], log_s + x[:, k + 1 : k + 2]
        power = np.exp(phi * distance)
        arc = np.exp(x[:, k : k + 1]) / (1 + power)
        fall = -arc * power / (1 + power)
        derivative[:, :, k], derivative[:, :, k + 1], derivative[:, :, k + 2] = arc, fall * phi, fall * distance
        z = z + arc
    return np.asarray(z), np.asarray(derivative)


def _bounds(omega: Array, impedance: Complex, arcs: int) -> tuple[Array, Array]:
    size = np.abs(impedance)
    small, large = np.log(size.min(axis=1)) - 14, np.log(size.max(axis=1)) + 7
    fast, slow = -np.log(omega[0]) - 7, -np.log(omega[-1]) + 5
    rows, none = len(impedance), np.full(len(impedance), np.inf)
    ends = np.log(omega[[0, -1]])
    weak = small + min(ends[1], _LEAST_N * ends[1])
    strong = large + max(ends[0], _LEAST_N * ends[0])
    lower = np.stack([np.zeros(rows), np.zeros(rows), weak, np.full(rows, _LEAST_N)], axis=1)
    upper = np.stack([none, none, strong, np.ones(rows)], axis=1)
    arc_low = np.stack([small, np.full(rows, fast), np.full(rows, _LEAST_PHI)], axis=1)
    arc_high = np.stack([large, np.full(rows, slow), np.ones(rows)], axis=1)
    return np.hstack([lower, *[arc_low] * arcs]), np.hstack([upper, *[arc_high] * arcs])


def there(impedance: Complex) -> NDArray[np.bool_]:
    """Which points can be fitted."""
    return np.isfinite(impedance) & (np.abs(impedance) > 0)


def filled(omega: Array, impedance: Complex) -> Complex:
    """Put values of neighbours in the place of missing points, for where a fit begins."""
    finite = there(impedance)
    out = impedance.copy()
    for row in np.flatnonzero(~finite.all(axis=1)):
        known = np.flatnonzero(finite[row])
        nearest = known[np.argmin(np.abs(np.arange(omega.size)[:, None] - known), axis=1)]
        out[row] = impedance[row, nearest]
    return out


def _first(omega: Array, impedance: Complex) -> Array:
    """Return the beginning without arcs: the tail of the lowest fifth of the points, or of the lowest five."""
    few = max(5, omega.size // 5)
    log = np.log(omega[-few:])
    height = np.log(np.maximum(-impedance[:, -few:].imag, 1e-3 * np.abs(impedance[:, -few:])))
    centred = log - log.mean()
    n = np.clip(-(height @ centred) / (centred @ centred), 0.45, 0.98)
    elastance = height[:, -1] - np.log(np.sin(n * np.pi / 2)) + n * log[-1]
    r = 0.5 * np.maximum(impedance[:, 0].real, 0.01 * np.abs(impedance[:, 0]))
    return np.stack([np.zeros(len(n)), r, elastance, n], axis=1)


def _more(omega: Array, impedance: Complex, before: PelletFits) -> list[Array]:
    """Return beginnings with one arc more: where there was none, over the window; else beside and within the arcs."""
    x = before.fits.x
    if before.arcs == 0:
        first = _first(omega, impedance)
        rest = impedance.real - np.exp(first[:, 2:3] - first[:, 3:4] * np.log(omega)) * np.cos(
            first[:, 3:4] * np.pi / 2
        )
        width = np.maximum(np.median(rest[:, -omega.size // 2 :], axis=1), np.abs(impedance).min(axis=1))
        starts = []
        for part in (0.0, 0.12, 0.3, 0.5):
            tau = np.full(len(x), -np.log(omega[int(part * (omega.size - 1))]))
            starts.append(_with_arc(first[:, 0], 0.1 * width, first[:, 2:], np.log(0.9 * width), tau))
        # an arc in the place of the tail
        peak = np.argmax(-impedance.imag, axis=1)
        weak = np.column_stack([first[:, 2] - 5, first[:, 3]])
        height = np.log(2 * np.abs(impedance).max(axis=1))
        starts.append(_with_arc(first[:, 0], first[:, 1], weak, height, -np.log(omega[peak])))
        return starts
    place = np.arange(len(x))
    largest = FIXED + 3 * np.argmax(before.part("r"), axis=1)
    r, tau = x[place, largest], x[place, largest + 1]
    starts = []
    for own, other in (((0.5, 0.4), (0.5, 2.5)), ((1.0, 1.0), (0.1, 0.03)), ((1.0, 1.0), (0.1, 30.0))):
        new = _with_arc(x, r + np.log(other[0]), tau + np.log(other[1]))
        new[place, largest], new[place, largest + 1] = r + np.log(own[0]), tau + np.log(own[1])
        starts.append(new)
    return starts


def _with_arc(*columns: Array) -> Array:
    """Parameters with an arc whose ln R and ln τ are the last two columns."""
    return np.column_stack([*columns, np.full(len(columns[0]), 0.85)])


def _sorted(fits: Fits) -> Fits:
    """Order the arcs by relaxation time."""
    rows, size = fits.x.shape
    if size <= FIXED + 3:
        return fits
    order = np.argsort(fits.x[:, FIXED + 1 :: 3], axis=1, kind="stable")
    places = FIXED + 3 * order[:, :, None] + np.arange(3)
    index = np.concatenate([np.tile(np.arange(FIXED), (rows, 1)), places.reshape(rows, -1)], axis=1)
    x = np.take_along_axis(fits.x, index, axis=1)
    covariance = np.take_along_axis(fits.covariance, index[:, :, None], axis=1)
    covariance = np.take_along_axis(covariance, index[:, None, :], axis=2)
    return Fits(x, fits.chi2, covariance, fits.optimality, fits.freedom)
