"""Figures for papers: one function each, which returns the figure.

Every function draws into the Axes it is given, whose style it leaves alone, or makes a figure of its own at print size.
Such a figure does not belong to pyplot, so no window opens and none has to be closed: a notebook shows it where it is
the last line of a cell, and :func:`save` writes it. Its first Axes, ``figure.axes[0]``, is the panel, or the first one.
For a window, make the Axes with pyplot and hand it over as `ax`.

All of them take the keywords of :class:`Look`: ``per_area=True`` draws in Ω cm², ``tau_range=(1e-6, 1)`` and
``gamma_range``, ``log_gamma``, ``size``, ``font_size`` and others are as a journal asks for them. Numbers of ohms are
written in a unit from µΩ to GΩ in which they are short.

Common to all of them:

- `rows` chooses spectra as numpy would, by number or by a boolean column of the states. A row without a solution is
  left out where a result is drawn.
- A state is the name of a column of the states, or ``"spectrum"``, the number of the row. Time is drawn in hours and
  charge, as capacity, in mAh; the others in the unit of their column.
- Numbers get a perceptually uniform colour map that can be read with colour-blind eyes, and a colour bar; names get the
  colours of M. Okabe and K. Ito (Color Universal Design, 2008) and a legend.
"""

from drt_engine.plotting.canvas import DOUBLE_COLUMN, SINGLE_COLUMN, nothing, save
from drt_engine.plotting.colours import ColourScale
from drt_engine.plotting.distributions import gamma, heat_map, waterfall
from drt_engine.plotting.gamma_scales import waterfall_scale
from drt_engine.plotting.impedance import bode, nyquist, residuals
from drt_engine.plotting.in_situ import CompositeView, composite
from drt_engine.plotting.look import Look
from drt_engine.plotting.processes import ageing, processes
from drt_engine.plotting.transport import arrhenius, conductivities, polarisation, total_resistance
from drt_engine.plotting.validity import validity_map, validity_residuals

__all__ = [
    "DOUBLE_COLUMN",
    "SINGLE_COLUMN",
    "ColourScale",
    "CompositeView",
    "Look",
    "ageing",
    "arrhenius",
    "bode",
    "composite",
    "conductivities",
    "gamma",
    "heat_map",
    "nothing",
    "nyquist",
    "polarisation",
    "processes",
    "residuals",
    "save",
    "total_resistance",
    "validity_map",
    "validity_residuals",
    "waterfall",
    "waterfall_scale",
]
