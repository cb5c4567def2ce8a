"""The scaled optimality residual of answers, in one pass.

Axes in the comments: k = spectra, j = unknowns.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True, nogil=True)
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
