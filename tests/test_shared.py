"""One λ for a series: from the summed scores, whatever the order, the blocks and the threads."""

import json

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.inversion import blocks, series_totals
from drt_engine.methods import method_from_settings
from drt_engine.regularisation import CRITERIA, GRID, add_totals, best_of_series, choose, tally
from drt_engine.spectra import series_of

from .conftest import zarc

FREQUENCY = np.logspace(5, -2, 31)
Status = drt.Status


@pytest.fixture(scope="module")
def campaign():
    """Two cells of two cycles with ten spectra each; the noise of cell B is ten times that of cell A."""
    rng = np.random.default_rng(11)
    z, states = [], {"cell": [], "cycle": [], "voltage": []}
    for cell, noise in (("A", 0.002), ("B", 0.02)):
        for cycle in (1, 500):
            for voltage in np.linspace(3.0, 4.2, 10):
                arcs = zarc(FREQUENCY, 50, 1e-3, 0.85) + zarc(FREQUENCY, 10 * voltage, 0.3, 0.8)
                e = rng.standard_normal(31) + 1j * rng.standard_normal(31)
                z.append((10 + arcs) * (1 + noise * e))
                for name, value in zip(states, (cell, cycle, voltage), strict=True):
                    states[name].append(value)
    return drt.Spectra(FREQUENCY, np.array(z), states)


def method_of(name="gcv", **settings):
    return drt.Tikhonov(regularisation=name, noise=0.01 if name == "discrepancy" else None, **settings)


def each_has_one(result, columns):
    """λ by series, having checked that it is one."""
    found = {}
    for series, rows in result.states.groupby(list(columns)).indices.items():
        (found[series],) = set(result.regularisation[rows])
    return found


@pytest.mark.parametrize(("shared", "series"), [("cell", 2), (("cell", "cycle"), 4), (["cycle"], 2)])
def test_a_series_has_one_lambda_and_another_series_its_own(campaign, shared, series):
    result = drt.invert(campaign, drt.Tikhonov(shared=shared))
    chosen = each_has_one(result, (shared,) if isinstance(shared, str) else shared)
    assert len(chosen) == series
    assert result.solved.all()
    if "cell" in shared:
        cell_a, cell_b = ([lam for one, lam in chosen.items() if cell in one] for cell in "AB")
        assert min(cell_b) > 5 * max(cell_a)


def test_true_makes_everything_one_series(campaign):
    alone = drt.invert(campaign, drt.Tikhonov()).regularisation
    assert len(set(alone)) > 3
    assert len(set(drt.invert(campaign, drt.Tikhonov(shared=True)).regularisation)) == 1


@pytest.mark.parametrize("name", CRITERIA)
def test_lambda_is_that_of_the_summed_scores(campaign, name):
    spectra = campaign[::2]
    method = method_of(name, shared="cell")
    result = drt.invert(spectra, method)
    _, problem, factors = parts_of(method, spectra)
    b, size = problem.data(spectra.impedance)
    noise_square = 2 * 0.01**2 * np.sum(np.abs(spectra.impedance) ** 2, axis=1) / size**2
    scores = choose(name, factors, b, noise_square).scores
    # Scores that are squares of the data are multiplied, that is, their logarithms are summed.
    addends = scores if name in ("l-curve", "evidence", "discrepancy") else np.log(scores)
    for (cell,), chosen in each_has_one(result, ("cell",)).items():
        rows = (spectra.states["cell"] == cell).to_numpy()
        assert chosen == GRID[addends[rows].sum(axis=0).argmin()]


def parts_of(method, spectra):
    from drt_engine.model.discretisation import discretise
    from drt_engine.model.gsvd import factorise
    from drt_engine.model.problem import assemble

    expansion = method.expansion(spectra.frequency)
    problem = assemble(
        discretise(spectra.frequency, expansion, method.order), method.part, inductance=True, capacitance=False
    )
    return expansion, problem, factorise(problem)


def test_the_answers_are_those_of_the_shared_number(campaign):
    cell = campaign[campaign.states["cell"] == "A"]
    result = drt.invert(cell, drt.Tikhonov(shared="cell"))
    number = drt.invert(cell, drt.Tikhonov(regularisation=float(result.regularisation[0])))
    np.testing.assert_allclose(result.gamma, number.gamma, rtol=0, atol=1e-9 * number.gamma.max())


@pytest.mark.parametrize("threads", ["1", "3"])
def test_order_tiles_and_threads_change_no_bit(campaign, threads, monkeypatch):
    method = drt.Tikhonov(shared=("cell", "cycle"))
    expected = drt.invert(campaign, method)
    monkeypatch.setenv("DRT_ENGINE_THREADS", threads)
    monkeypatch.setattr(blocks, "_TILE", 7)
    rows = np.random.default_rng(0).permutation(len(campaign))
    result = drt.invert(campaign[rows], method)
    for name in ("gamma", "r_inf", "regularisation", "optimality", "status"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name)[rows], err_msg=name)


@pytest.mark.parametrize("name", ["gcv", "mgcv", "evidence", "l-curve"])
def test_blocks_add_up_to_the_whole(campaign, name):
    method = method_of(name, shared=("cell", "cycle"))
    expected = drt.invert(campaign, method)
    totals = {}
    blocks = [campaign[k : k + 13] for k in range(0, len(campaign), 13)]
    for block in blocks:
        add_totals(totals, series_totals(block, method))
    whole = series_totals(campaign, method)
    assert totals.keys() == whole.keys() == {(cell, cycle) for cell in "AB" for cycle in (1, 500)}
    assert all(np.array_equal(totals[one], whole[one]) for one in whole)
    chosen = best_of_series(totals)
    gamma = np.concatenate([drt.invert(block, method, chosen=chosen).gamma for block in blocks])
    np.testing.assert_array_equal(gamma, expected.gamma)


def test_adding_leaves_what_was_added_alone(campaign):
    method = drt.Tikhonov(shared="cell")
    one = series_totals(campaign[:5], method)
    before = one["A",].copy()
    totals = {}
    add_totals(totals, one)
    add_totals(totals, one)
    assert np.array_equal(one["A",], before)
    assert np.array_equal(totals["A",], 2 * before)


def test_what_cannot_be_solved_takes_no_part(campaign):
    method = drt.Tikhonov(shared="cell")
    expected = drt.invert(campaign, method)
    z = np.concatenate([campaign.impedance, campaign.impedance[:3].conj(), np.full((2, 31), np.nan)])
    states = pd.concat([campaign.states, campaign.states[:5]])
    result = drt.invert(drt.Spectra(FREQUENCY, z, states), method)
    assert not result.solved[-5:].any()
    np.testing.assert_array_equal(result.gamma[:-5], expected.gamma)
    np.testing.assert_array_equal(result.regularisation[:-5], expected.regularisation)


def test_a_series_of_which_nothing_can_be_solved_harms_nobody(campaign):
    z = campaign.impedance.copy()
    z[20:] = np.nan
    result = drt.invert(drt.Spectra(FREQUENCY, z, campaign.states), drt.Tikhonov(shared="cell"))
    assert result.solved[:20].all()
    assert np.all(result.status[20:] == Status.NOT_FINITE)


def test_spectra_with_points_missing_are_of_the_series(campaign):
    z = campaign.impedance.copy()
    z[3, 5] = z[7, 20] = z[12, 5] = np.nan
    result = drt.invert(drt.Spectra(FREQUENCY, z, campaign.states), drt.Tikhonov(shared="cell"))
    assert len(each_has_one(result, ("cell",))) == 2
    assert np.count_nonzero(result.status & Status.POINTS_MISSING) == 3
    alone = drt.invert(drt.Spectra(FREQUENCY, z)).regularisation
    assert np.any(alone[[3, 7, 12]] != result.regularisation[[3, 7, 12]])


@pytest.mark.parametrize("name", CRITERIA)
def test_a_spectrum_of_another_size_decides_no_more_than_the_others(campaign, name):
    size = np.ones((20, 1))
    size[4] = 1e6
    spectra = campaign[10:30]
    method = method_of(name, shared=True)
    scaled = drt.Spectra(FREQUENCY, size * spectra.impedance)
    assert np.array_equal(drt.invert(scaled, method).regularisation, drt.invert(spectra, method).regularisation)


def test_one_spectrum_with_a_tenth_of_the_noise_does_not_decide_for_twenty(campaign):
    noisy, quiet = campaign[20:], campaign[:1]
    both = drt.Spectra(FREQUENCY, np.vstack([noisy.impedance, quiet.impedance]))
    of_noisy, of_quiet, of_both = (
        drt.invert(some, drt.Tikhonov(shared=True)).regularisation[0] for some in (noisy, quiet, both)
    )
    assert of_quiet < of_noisy / 20
    assert of_noisy / 6 < of_both <= of_noisy


def test_an_edge_is_reported_for_the_whole_series(campaign):
    result = drt.invert(campaign, drt.Tikhonov(regularisation="discrepancy", noise=2.0, shared="cell"))
    assert np.all(result.regularisation == GRID[-1])
    # γ is flat at that edge, so that the fit misses the arcs as well.
    assert np.all(result.status == Status.LAMBDA_AT_EDGE | Status.MISFIT)


def test_spectra_of_zeros_change_nothing(campaign):
    method = drt.Tikhonov(shared=True)
    z = np.vstack([campaign.impedance, np.zeros((3, 31))])
    expected = drt.invert(campaign, method).regularisation[0]
    assert np.all(drt.invert(drt.Spectra(FREQUENCY, z), method).regularisation == expected)


def test_missing_values_of_a_column_are_one_series():
    states = pd.DataFrame({"cell": ["A", None, "A", np.nan], "cycle": [1.0, np.nan, np.nan, np.nan]})
    member, series = series_of(states, ("cell", "cycle"))
    assert member.tolist() == [0, 1, 2, 1]
    assert series == [("A", 1.0), (None, None), ("A", None)]
    assert series_of(states, ()) == (pytest.approx(np.zeros(4)), [()])
    assert series_of(states[:0], ("cell",))[1] == []


def test_categories_and_times_tell_series_apart(campaign):
    times = pd.to_datetime(["2024-01-01", "2024-01-02"]).repeat(20)
    states = campaign.states.assign(cell=campaign.states["cell"].astype("category"), day=times)
    spectra = drt.Spectra(FREQUENCY, campaign.impedance, states)
    by_cell = drt.invert(campaign, drt.Tikhonov(shared="cell"))
    for shared in ("cell", "day"):
        result = drt.invert(spectra, drt.Tikhonov(shared=shared))
        assert np.array_equal(result.regularisation, by_cell.regularisation)


class Positive:
    additive = False


def test_a_tally_is_bounded_and_its_smallest_is_zero():
    scores = np.array([[np.inf, 2.0, 1.0], [0.0, 1.0, np.inf], [np.inf, np.inf, np.inf]])
    found = tally(Positive(), scores) / 2.0**20
    np.testing.assert_allclose(found[0], [2.0**16, np.log(2), 0], atol=1e-6)
    assert found[1, 0] == 0
    assert found[1, 1] < found[1, 2]
    assert len(set(found[2])) == 1


def test_no_spectra_are_no_series(campaign):
    for shared in (True, "cell"):
        assert len(drt.invert(campaign[:0], drt.Tikhonov(shared=shared))) == 0
        assert series_totals(campaign[:0], drt.Tikhonov(shared=shared)) == {}


def test_refuses_a_column_that_is_not_there(campaign):
    with pytest.raises(UnknownNameError, match=r"state column of shared 'cel' is not known; expected one of 'cell', "):
        drt.invert(campaign, drt.Tikhonov(shared=("cycle", "cel")))
    with pytest.raises(InputError, match=r"shared='cell' needs a state column.*no states at all"):
        drt.invert(drt.Spectra(FREQUENCY, campaign.impedance), drt.Tikhonov(shared="cell"))


def test_refuses_values_that_cannot_be_compared(campaign):
    states = {"cell": [["A"]] * len(campaign)}
    with pytest.raises(InputError, match=r"shared=\('cell',\) cannot distinguish series"):
        drt.invert(drt.Spectra(FREQUENCY, campaign.impedance, states), drt.Tikhonov(shared="cell"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shared": True, "regularisation": 1e-3}, r"shared=True has no effect with a number as regularisation"),
        ({"shared": ()}, r"shared must be True, False, the name of a state column, or distinct names; got \(\)"),
        ({"shared": ("cell", "cell")}, r"got \('cell', 'cell'\)"),
        ({"shared": ("cell", 1)}, r"got \('cell', 1\)"),
        ({"shared": None}, r"got None"),
    ],
)
def test_refuses_unusable_settings(settings, message):
    with pytest.raises(InputError, match=message):
        drt.Tikhonov(**settings)


def test_refuses_a_choice_that_lacks_a_series(campaign):
    with pytest.raises(InputError, match=r"chosen has no λ for the series \('B',\)"):
        drt.invert(campaign, drt.Tikhonov(shared="cell"), chosen={("A",): 30})


def test_there_are_totals_only_of_what_is_shared(campaign):
    with pytest.raises(InputError, match=r"the method shares no λ"):
        series_totals(campaign, drt.Tikhonov())
    with pytest.raises(InputError, match="regularisation is a number: no λ is left to choose"):
        drt.Tikhonov(regularisation=1e-3).tallies(
            FREQUENCY, campaign.impedance, drt.Tikhonov().expansion(campaign.frequency)
        )


@pytest.mark.parametrize("shared", [False, True, "cell", ("cell", "cycle")])
def test_settings_survive_json(shared, campaign):
    method = drt.Tikhonov(shared=shared)
    assert method_from_settings(json.loads(json.dumps(method.settings()))) == method
    assert drt.invert(campaign[:2], method).to_xarray().attrs["method_shared"] in (str(shared), shared)
