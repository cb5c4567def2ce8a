"""What certifies solutions, each in one pass: the scaled optimality residual, and the misfit.

Axes in the comments: k = spectra, j = unknowns, f = frequencies.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@entry()
def optimality(
    x: Array, gradient: Array, lam: Array, data_squares: Array, penalty_squares: Array, norm: Array, out: Array
) -> None:
    """Largest |min(u, h)| or |u h| of scaled unknowns u and gradients h; NaN where one of them is.

    u_j = x_j d_j / norm and h_j = gradient_j / (d_j norm), d_j² = data_squares_j + λ penalty_squares_j.
    """
    # (k,j),(k,j),(k),(j),(j),(k)->(k)
    for k in range(x.shape[0]):
        worst = 0.0
        for j in range(x.shape[1]):
            d = math.sqrt(data_squares[j] + lam[k] * penalty_squares[j])
            u = x[k, j] * d / norm[k]
            h = gradient[k, j] / (d * norm[k])
            if math.isnan(u) or math.isnan(h):
                worst = math.nan
                break
            worst = max(worst, abs(min(u, h)), abs(u * h))
        out[k] = worst


@entry()
def misfit(fit: ComplexArray, z: ComplexArray, out: Array) -> None:
    """Root mean square of |fit − z| / |z|.

    |z| = 0 can only be fitted by 0; there it counts as none, not as 0/0.
    """
    # (k,f),(k,f)->(k)
    for k in range(z.shape[0]):
        largest = 0.0
        for f in range(z.shape[1]):
            largest = max(largest, abs(z[k, f].real), abs(z[k, f].imag))
        # Squares of what is not of the order of one may overflow.
        scale = 1.0 / max(largest, 1e-300)
        total = 0.0
        for f in range(z.shape[1]):
            size = (scale * z[k, f].real) ** 2 + (scale * z[k, f].imag) ** 2
            if size > 0.0:
                # Not as complex numbers, whose products take longer to compile than the rest.
                re, im = scale * (fit[k, f].real - z[k, f].real), scale * (fit[k, f].imag - z[k, f].imag)
                total += (re * re + im * im) / size
        out[k] = math.sqrt(total / z.shape[1])
