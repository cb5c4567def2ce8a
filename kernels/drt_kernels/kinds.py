"""Numbers by which kernels are told which function is meant; nothing is compiled here."""

import enum

__all__ = ["GAUSSIAN", "HAVRILIAK_NEGAMI", "ZARC", "Radial"]


class Radial(enum.IntEnum):
    """The radial basis functions."""

    GAUSSIAN = 0
    C0_MATERN = 1
    C2_MATERN = 2
    C4_MATERN = 3
    C6_MATERN = 4
    INVERSE_QUADRATIC = 5
    INVERSE_QUADRIC = 6
    CAUCHY = 7


ZARC, HAVRILIAK_NEGAMI, GAUSSIAN = 0, 1, 2
"""Elements that spectra are decomposed into."""
