"""invert(): from spectra to a result, one status for each."""

from drt_engine.inversion.blocks import invert, invert_block, series_totals
from drt_engine.inversion.together import series_in, states_needed, with_series

__all__ = ["invert", "invert_block", "series_in", "series_totals", "states_needed", "with_series"]
