"""Other tools that are installed, as functions of frequency and one impedance to τ and γ.

They come from the package index and are called by their documented functions, at their defaults but for an inductance,
which our methods have as well. hybrid-drt is there as eisyfit-hybrid-drt, a copy of J. Huang's package that runs with
numpy 2. pyDRTtools imports its graphical interface with everything else, and matplotlib's Qt canvas with that: it needs
cvxopt, scikit-learn and PyQt5, which its metadata do not name. No window is opened.
"""

import contextlib
import importlib.util
import io
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Peer", "missing_peers", "peers"]

Array = np.ndarray
Peer = Callable[[Array, Array], tuple[Array, Array]]


def peers() -> dict[str, Peer]:
    """Return the tools that can be run here, by name."""
    return {name: run for name, (needs, run) in _PEERS.items() if not _lacking(needs)}


def missing_peers() -> dict[str, tuple[str, ...]]:
    """Return the tools that cannot be run here, and the modules that each lacks."""
    return {name: _lacking(needs) for name, (needs, _) in _PEERS.items() if _lacking(needs)}


def _lacking(needs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in needs if importlib.util.find_spec(name) is None)


def _pyimpspec_nnls(frequency: Array, impedance: Array) -> tuple[Array, Array]:
    from pyimpspec import DataSet
    from pyimpspec.analysis.drt.tr_nnls import calculate_drt_tr_nnls

    tau, gamma = calculate_drt_tr_nnls(DataSet(frequencies=frequency, impedances=impedance)).get_drt_data()
    return _ascending(tau, gamma)


def _pyimpspec_rbf(frequency: Array, impedance: Array) -> tuple[Array, Array]:
    from pyimpspec import DataSet
    from pyimpspec.analysis.drt.tr_rbf import calculate_drt_tr_rbf

    data = DataSet(frequencies=frequency, impedances=impedance)
    return _ascending(*calculate_drt_tr_rbf(data, inductance=True, num_procs=1).get_drt_data())


def _pydrttools(frequency: Array, impedance: Array) -> tuple[Array, Array]:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from PyQt5.QtWidgets import QApplication

        # Without one, matplotlib refuses the canvas that pyDRTtools asks for on import where there is no display.
        _APPLICATIONS.append(QApplication.instance() or QApplication([]))
        from pyDRTtools.runs import EIS_object, simple_run

        run = simple_run(EIS_object(frequency, impedance.real, impedance.imag), cv_type="GCV")
    return _ascending(run.out_tau_vec, run.gamma)


def _hybrid_drt(frequency: Array, impedance: Array) -> tuple[Array, Array]:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hybdrt.models import DRT

        # One model for all spectra: what it computes once for a grid would otherwise be most of the time.
        model = _MODELS.setdefault("DRT", DRT())
        model.fit_eis(frequency, impedance)
        tau = np.geomspace(0.05 / np.pi / frequency.max(), 5.0 / np.pi / frequency.min(), 2001)
        return tau, np.asarray(model.predict_distribution(tau), dtype=float).ravel()


def _ascending(tau: Array, gamma: Array) -> tuple[Array, Array]:
    order = np.argsort(tau)
    return np.asarray(tau)[order], np.asarray(gamma)[order]


_APPLICATIONS: list[object] = []
_MODELS: dict[str, Any] = {}
_PEERS: dict[str, tuple[tuple[str, ...], Peer]] = {
    "hybrid-drt": (("hybdrt",), _hybrid_drt),
    "pyDRTtools": (("pyDRTtools", "cvxopt", "sklearn", "PyQt5"), _pydrttools),
    "pyimpspec rbf": (("pyimpspec", "cvxopt"), _pyimpspec_rbf),
    "pyimpspec nnls": (("pyimpspec",), _pyimpspec_nnls),
}
