"""Grids that a Toeplitz shortcut, an ordering or a square matrix would get wrong; M differs from F throughout."""

import numpy as np
import pytest

_RNG = np.random.default_rng(20)


def _jittered(grid):
    return grid * (1.0 + 0.02 * _RNG.standard_normal(grid.size))


GRIDS = {
    "uniform": (np.logspace(6, -2, 5), np.logspace(-7, 2, 6)),
    "ascending": (np.logspace(-2, 6, 5), np.logspace(-7, 2, 6)),
    "jittered": (_jittered(np.logspace(5, -1, 5)), np.sort(_jittered(np.logspace(-6, 1, 7)))),
    "non-uniform": (np.array([7e6, 6.9e6, 3e2, 1.0, 0.011]), np.array([1e-9, 1e-6, 1.1e-6, 2e-3, 0.5, 0.6, 900.0])),
}


@pytest.fixture(params=GRIDS)
def grid(request):
    frequency, tau = GRIDS[request.param]
    return 2.0 * np.pi * frequency, tau
