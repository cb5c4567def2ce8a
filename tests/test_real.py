"""The main job on measured spectra: 3939 sweeps of three LiCoO2 cells over up to 318 cycles, in one campaign file.

Data: Y. Zhang et al., Nat. Commun. 11, 1706 (2020). Skipped unless DRT_ENGINE_DATA names the folder.
"""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.hdf5 import scan
from drt_engine.plotting import heat_map, save

pytestmark = pytest.mark.real


def sweeps_of(file):
    """Finished sweeps of a file of this data set: frequencies, impedances, cycles and times."""
    lines = file.read_text().splitlines()
    table = np.loadtxt(lines[1 if lines[0].startswith("time") else 0 :])
    time, cycle, frequency, re_z, minus_im_z = table.T[:5]
    starts = np.flatnonzero(np.diff(frequency, prepend=-np.inf) > 0)
    whole = [rows for rows in np.split(np.arange(len(table)), starts[1:]) if rows.size == 60]
    rows = np.array(whole)
    return frequency[rows], (re_z - 1j * minus_im_z)[rows], cycle[rows[:, 0]].astype(int), time[rows[:, 0]]


@pytest.fixture(scope="session")
def campaign(real_data):
    impedance, states = [], []
    for file in sorted((real_data / "zhang2020").glob("EIS_state_*.txt")):
        state, cell = re.fullmatch(r"EIS_state_(\w+)_(\w+)\.txt", file.name).groups()
        frequency, z, cycle, time = sweeps_of(file)
        assert np.all(frequency == frequency[0])
        impedance.append(z)
        states.append(pd.DataFrame({"cell": cell, "state": state, "cycle": cycle, "time": time, "source": file.name}))
    return drt.Spectra(frequency[0], np.concatenate(impedance), pd.concat(states))


@pytest.mark.slow
def test_every_sweep_of_the_campaign_is_inverted(campaign, tmp_path):
    path, out = tmp_path / "zhang.h5", tmp_path / "zhang.drt.h5"
    drt.write_spectra(path, campaign)
    done = CliRunner().invoke(app, ["invert", str(path), "-o", str(out), "--method", "tikhonov"])
    assert done.exit_code == 0, done.output
    result = drt.read_inversion(out)
    assert len(result) == len(campaign) == 3939
    assert result.solved.all()
    assert np.all(result.optimality <= 1e-8)
    states = result.states
    assert states["cell"].value_counts().to_dict() == {"35C02": 1908, "25C07": 1260, "25C08": 771}
    at_rest = states["state"].isin(["I", "V", "IX"]).to_numpy()
    assert np.median(result.residual[at_rest]) < 0.004
    # Under current the cells drift while they are measured, and no distribution at all fits what they say then: the
    # residual is held against the smallest that a non-negative one can have.
    chosen = np.random.default_rng(0).choice(len(result), 150, replace=False)
    smallest = [smallest_residual(campaign.frequency, z) for z in campaign.impedance[chosen]]
    assert np.median(result.residual[chosen]) < 1.06 * np.median(smallest)
    axes = heat_map(result, state="cycle", rows=((states["cell"] == "35C02") & (states["state"] == "V")).to_numpy())
    save(axes.figure, tmp_path / "35C02.png")
    assert (tmp_path / "35C02.png").stat().st_size > 10_000


def test_the_arc_that_ages_follows_the_capacity(campaign, real_data):
    capacity = np.loadtxt(real_data / "zhang2020" / "capacity35C02.txt")
    states = campaign.states
    for state, low, high in (("V", 4e-3, 12e-3), ("IX", 11e-3, 26e-3)):
        some = campaign[((states["cell"] == "35C02") & (states["state"] == state)).to_numpy()]
        result = drt.invert(some, drt.Tikhonov(shared="cell"))
        options = drt.DeconvolutionOptions(elements=4, capacitance=True)
        parts = result.deconvolve(some, options, series=["cell"], along="cycle").elements
        tracks = drt.track(parts[parts["r"] > 0], "cycle", ["cell"], states=result.states)
        found = [name for name in tracks.names if (tracks.table["process"] == name).sum() == len(some)]
        tau = {name: tracks.table.query("process == @name").set_index("cycle")["tau"] for name in found}
        (arc,) = (name for name in found if low < tau[name].min() and tau[name].max() < high)
        # one arc in every cycle, whose time constant nearly doubles, and with it goes the capacity
        assert tau[arc].tail(20).median() > 1.6 * tau[arc].head(20).median()
        assert tau[arc].iloc[: capacity.size].corr(pd.Series(capacity, index=tau[arc].index[: capacity.size])) < -0.97


def smallest_residual(frequency, z):
    """Root mean square of the relative residual of the best sum of RC elements, R, L and C, all non-negative."""
    omega = 2 * np.pi * frequency
    tau = np.logspace(-7, 3, 101)
    columns = np.column_stack([1 / (1 + 1j * np.outer(omega, tau)), np.ones_like(omega), 1j * omega, -1j / omega])
    relative = columns / np.abs(z)[:, None]
    relative /= np.linalg.norm(relative, axis=0)
    target = z / np.abs(z)
    _, norm = nnls(np.vstack([relative.real, relative.imag]), np.concatenate([target.real, target.imag]), maxiter=9999)
    return norm / np.sqrt(frequency.size)


PUBLIC = {
    "electrolyte": (7, "Temperature / °C"),
    "solid_state": (5, ">4: PEIS_SSB.mpr</text>"),
    "drttools": (5, ">4: zarc_data.txt</text>"),
    "instruments": (12, ">0: Circuit1_EIS_1.z</text>"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_set_goes_from_the_folder_to_its_figure_without_options(real_data, tmp_path, run, name):
    count, label = PUBLIC[name]
    code, said = run("import", real_data / name, "-o", tmp_path / "c.h5")
    assert code == 0, said
    assert f"{count} spectra imported" in said
    code, said = run("invert", tmp_path / "c.h5", "--method", "tikhonov")
    assert code == 0, said
    kinds = ("--kind", "waterfall", "--kind", "composite")
    code, said = run("plot", tmp_path / "c.drt.h5", *kinds, "-o", tmp_path / "f.svg")
    assert code == 0, said
    assert f"{count} spectra drawn" in said
    for kind in ("waterfall", "composite"):
        drawn = (tmp_path / f"f-{kind}.svg").read_text(encoding="utf-8")
        assert label in drawn, kind
        assert (r"of each" in drawn) == (name != "electrolyte"), kind


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "count", "sweeps", "inverted", "grids"),
    [
        ("zhang2020", ("--columns", "time,cycle,frequency,re,-im"), 3939, 40, 960, 1),
        ("autoecm", ("--columns", "omega=1,re=2,im=3"), 1761, 300, 300, 48),
    ],
)
def test_the_large_public_sets_need_nothing_but_columns(
    real_data, tmp_path, run, name, options, count, sweeps, inverted, grids
):
    """All is imported; some of each file and of each frequency grid is inverted."""
    code, imported = run("import", real_data / name, "-o", tmp_path / "c.h5", *options)
    assert code == 0, imported
    some = ("--where", f"sweep <= {sweeps}")
    code, said = run("invert", tmp_path / "c.h5", "--method", "tikhonov", "--regularisation", 1e-3, *some)
    assert code == 0, said
    out = tmp_path / "c.drt.h5"
    rows = [one.spectra for one in scan(out).inversions]
    assert (sum(rows), len(rows)) == (inverted, grids)
    # All of them are read, and drawn; with fewer dots than in a journal, which take long.
    code, said = run("plot", tmp_path / "c.drt.h5", "--dpi", 50, "-o", tmp_path / "f.png")
    assert code == 0, said
    assert f"{count} in the campaign" in imported
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["LIB_data.txt", "LIB_data_2.txt", "data_1.csv", "negami_data.txt", "zarc_data.txt"])
def test_published_example_files(real_data, name):
    text = (real_data / "drttools" / name).read_text().replace(",", " ")
    frequency, re_z, im_z = np.loadtxt(text.splitlines()).T
    result = drt.invert(drt.Spectra(frequency, re_z + 1j * im_z))
    assert result.solved.all()
    assert result.residual[0] < 0.02
