"""Mistakes that a user can make with figures, and what the messages say."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from drt_engine import plotting
from drt_engine.errors import InputError
from drt_engine.plotting import ColourScale, CompositeView

from .made import ONE, PROFILE, RESULT, SPECTRA, STATES, made

GAPS = replace(RESULT, states=STATES.assign(voltage=STATES["voltage"].where(STATES.index != 6)))
MANY = pd.DataFrame({"source": [f"file {k}" for k in range(8)]})
MISTAKES = {
    "no such state": (lambda: plotting.waterfall(RESULT, "volt"), "'volt' is not known; expected one of 'cell'"),
    "no such colour": (lambda: plotting.gamma(RESULT, state="volt"), "'spectrum'"),
    "no such map": (lambda: plotting.gamma(RESULT, state=ColourScale("voltage", "rainbows")), "'viridis', 'cividis'"),
    "repeated": (lambda: plotting.heat_map(RESULT, "voltage"), "each value of 'voltage' once; 6 occur more often"),
    "a name": (lambda: plotting.heat_map(RESULT, "cell", rows=ONE), "numbers; 'cell' holds 'B'"),
    "one stripe": (lambda: plotting.heat_map(RESULT, rows=0), "at least 2 spectra; got 1"),
    "unknown voltage": (lambda: plotting.waterfall(GAPS, rows=ONE), "first in row 6"),
    "too many names": (lambda: plotting.gamma(made(MANY)[1], state="source"), "at most 7 names"),
    "upside down": (lambda: plotting.gamma(RESULT, state=ColourScale("voltage", low=5.0, high=1.0)), "low must not"),
    "row 48": (lambda: plotting.gamma(RESULT, rows=[48]), "below 48"),
    "no row": (lambda: plotting.gamma(RESULT, rows=[]), "at least one of the 48"),
    "short mask": (lambda: plotting.gamma(RESULT, rows=np.ones(3, dtype=bool)), "48 booleans"),
    "a table": (lambda: plotting.gamma(RESULT, rows=[[1]]), "one dimension"),
    "other result": (lambda: plotting.nyquist(SPECTRA[:3], RESULT), "each of the 3 spectra; got 48"),
    "swapped": (lambda: plotting.gamma(SPECTRA), "of type Inversion; got Spectra"),
    "no result": (lambda: plotting.residuals(SPECTRA, None), "result must be an Inversion"),
    "no Axes": (lambda: plotting.gamma(RESULT, ax="left"), "ax must be a matplotlib Axes; got str"),
    "scale": (lambda: plotting.waterfall(RESULT, rows=ONE, scale=0.0), "scale must be positive"),
    "cell D": (lambda: plotting.composite(SPECTRA, RESULT, cells=["D"]), "cell 'D' is not known; expected one of 'B'"),
    "no cells": (lambda: plotting.composite(SPECTRA, RESULT, cells=[]), "one to 3"),
    "at volt": (lambda: plotting.composite(SPECTRA, RESULT, at={"volt": 3}), "state 'volt' is not known"),
    "at cycle 2": (lambda: plotting.composite(SPECTRA, RESULT, at={"cycle": 2}), "cycle: 1, 50"),
    "at high": (lambda: plotting.composite(SPECTRA, RESULT, at={"voltage": "high"}), "numbers for the state 'voltage'"),
    "stripes": (lambda: plotting.composite(SPECTRA, RESULT, view="stripes"), "drt 'stripes' is not known"),
    "over mass": (lambda: CompositeView(abscissa="mass"), "abscissa 'mass' is not known"),
    "empty profile": (lambda: plotting.composite(SPECTRA, RESULT, PROFILE[:0]), "profile must have rows"),
    "bare profile": (lambda: plotting.composite(SPECTRA, RESULT, PROFILE[["time"]]), "column 'voltage'"),
    "no abscissa": (
        lambda: plotting.composite(SPECTRA, RESULT, PROFILE[["cell", "voltage"]]),
        "'charge', 'specific_capacity' or",
    ),
    "path": (lambda: plotting.save(plotting.gamma(RESULT), "figure.xyz"), "'.xyz' is not known"),
    "array": (lambda: plotting.save([1], "figure.pdf"), "Figure or Axes; got list"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    mistake, message = MISTAKES[name]
    with pytest.raises(InputError, match=re.escape(message)):
        mistake()
