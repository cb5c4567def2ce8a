"""The figures of the accuracy section of the documentation.

python benchmarks/accuracy.py --set task --peers --csv task.csv
python benchmarks/accuracy.py --set fresh --peers --csv fresh.csv
python benchmarks/accuracy_figures.py task.csv fresh.csv --folder docs
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from accuracy import FIRST_SEED, SETS
from bands import bands_of
from matplotlib import pyplot as plt

import drt_engine as drt
from drt_engine.methods.log_gaussian import LogGaussian

_MARKS = {
    "LogGaussian": ("o", "#b2182b", "full"),
    "Tikhonov": ("s", "#2166ac", "full"),
    "pyDRTtools": ("^", "#666666", "none"),
    "pyimpspec rbf": ("v", "#666666", "none"),
    "pyimpspec nnls": ("x", "#666666", "full"),
    "hybrid-drt": ("D", "#1b7837", "none"),
}
_EXAMPLES = ("zarc2_over", "battery", "hn", "pwc")
_NAMES = {"task": "the ten", "fresh": "fresh"}
_TITLES = {
    "zarc2_over": "two ZARC, 0.2 % noise",
    "battery": "four processes and L, 0.2 %",
    "hn": "Havriliak-Negami, 0.3 %",
    "pwc": "γ with edges, 0.3 %",
}


def errors(found: pd.DataFrame, path: Path) -> None:
    """Draw the error of each method in each scenario.

    Parameters
    ----------
    found : DataFrame
        What ``accuracy.py --csv`` wrote.
    path : Path
        File to write.
    """
    sets = list(found["set"].unique())
    counts = [found.loc[found["set"] == name, "scenario"].nunique() for name in sets]
    figure, axes = plt.subplots(
        len(sets), 1, figsize=(7.0, 0.23 * sum(counts) + 1.4), height_ratios=counts, sharex=True, layout="constrained"
    )
    for axis, name in zip(np.atleast_1d(axes), sets, strict=True):
        part = found[found["set"] == name]
        order = list(part["scenario"].unique())[::-1]
        for method, (mark, colour, fill) in _MARKS.items():
            own = part[part["method"] == method]
            places = [order.index(each) for each in own["scenario"]]
            axis.plot(own["error"], places, mark, color=colour, fillstyle=fill, markersize=5, label=method)
        axis.set_yticks(range(len(order)), order, fontsize=8)
        axis.set_xscale("log")
        axis.grid(axis="both", color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_title(_NAMES.get(name, name), fontsize=9, loc="left")
    handles: dict[str, object] = {}
    for axis in np.atleast_1d(axes):
        lines, labels = axis.get_legend_handles_labels()
        handles |= dict(zip(labels, lines, strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    np.atleast_1d(axes)[-1].set_xlabel("error of γ: ∫|γ̂ − γ| d ln τ / ∫γ d ln τ")
    figure.savefig(path)


def examples(path: Path) -> None:
    """Draw γ of four spectra beside the truth, the first seed of each.

    Parameters
    ----------
    path : Path
        File to write.
    """
    figure, axes = plt.subplots(2, 2, figsize=(7.6, 5.0), layout="constrained")
    for axis, name in zip(axes.flat, _EXAMPLES, strict=True):
        one = next(each for each in SETS["task"] if each.name == name)
        spectra = one.spectra([FIRST_SEED])
        method = LogGaussian()
        result = drt.invert(spectra, method)
        tau = one.tau
        bands = bands_of(method, spectra, result)
        if bands is not None:
            low, high = bands.gamma_interval(0.95, tau)
            axis.fill_between(tau, low[0], high[0], color="#b2182b", alpha=0.25, linewidth=0)
        axis.plot(tau, drt.invert(spectra).gamma_at(tau)[0], color="#2166ac", linewidth=1.0, label="Tikhonov, GCV")
        axis.plot(tau, result.gamma_at(tau)[0], color="#b2182b", linewidth=1.4, label="LogGaussian, 95 %")
        axis.plot(tau, one.gamma, color="black", linewidth=1.0, linestyle="--", label="truth")
        axis.set_xscale("log")
        axis.set_title(_TITLES[name], fontsize=9, loc="left")
        axis.set_ylim(0, None)
        axis.set_xlim(tau[0], tau[-1])
        axis.tick_params(labelsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("τ / s", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("γ / Ω", fontsize=9)
    axes[0, 0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="what accuracy.py --csv wrote")
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="where the figures go [docs]")
    options = parser.parse_args()
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "drt-engine"
    errors(pd.concat([pd.read_csv(table) for table in options.tables]), options.folder / "accuracy.svg")
    examples(options.folder / "accuracy-examples.png")


if __name__ == "__main__":
    main()
