"""Jobs whose spectra are inverted together in series: the same for any blocks, workers, threads and order of rows."""

import dataclasses
import json
import time

import numpy as np
import pandas as pd
import pytest

import drt_engine as drt
from drt_engine.errors import UnknownNameError
from drt_engine.jobs import assemble, work
from drt_engine.jobs.blocks import Extent, next_block
from drt_engine.jobs.journal import load_part
from drt_engine.jobs.source import Source
from drt_engine.result_fields import INTERVAL_UNITS, PER_SPECTRUM
from drt_engine.series import in_series_order, likely_series, series_along
from drt_engine.solvers.chain import Chain
from drt_engine.uncertainty.posterior import LogPosterior

pytestmark = pytest.mark.usefixtures("quick")

METHOD = drt.LogGaussian(along="voltage")
STATES = ["cell", "cycle", "voltage"]


@pytest.fixture(scope="session")
def three_series():
    """Three series of 4 to 6 spectra; one has no voltage, one no solution, one misses a point, one is alone."""
    frequency, rng = np.logspace(4, 0, 13), np.random.default_rng(1)
    omega, rows, states = 2j * np.pi * frequency, [], []
    for cell, cycle, count in (("B", 1, 6), ("B", 2, 4), ("C", 1, 6), ("C", 9, 1)):
        for k, voltage in enumerate(np.linspace(3.6, 3.1, count)):
            slow = (3.0 + 0.2 * k) / (1.0 + (omega * 0.02) ** 0.9)
            z = 1.0 + 0.1 * cycle + (2.0 + 0.3 * k) / (1.0 + (omega * 1e-3 * (1.0 + 0.1 * k)) ** 0.9) + slow
            noise = rng.standard_normal(frequency.size) + 1j * rng.standard_normal(frequency.size)
            rows.append(z + 0.004 * np.abs(z) * noise)
            states.append((cell, cycle, voltage))
    z, table = np.array(rows), pd.DataFrame(states, columns=STATES)
    z[7], z[2, 4], table.loc[11, "voltage"] = np.nan, np.nan, np.nan
    return drt.Spectra(frequency, z, table)


@pytest.fixture(scope="session")
def expected(three_series):
    return drt.invert(three_series, METHOD)


@pytest.fixture
def campaign(tmp_path, three_series):
    path = tmp_path / "campaign.h5"
    drt.write_spectra(path, three_series)
    return path


def assert_same(found, expected, tolerance=0.0):
    for name in (*PER_SPECTRUM, "gamma"):
        # How far a solution is from the optimum is nothing but rounding.
        least = 1e-8 if name == "optimality" and tolerance else 0.0
        one, other = (getattr(result, name) for result in (found, expected))
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=least, err_msg=name)
    pd.testing.assert_frame_equal(found.states, expected.states)
    assert found.method == expected.method


def test_the_data_have_what_the_tests_are_about(expected):
    counts = expected.counts()
    assert [counts[key] for key in ("points missing", "not finite", "alone")] == [1, 1, 2]
    assert np.isfinite(expected.coupling).sum() == 14
    assert expected.method.series == ("cell", "cycle")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"block": 1}, {"block": 7}, {"block": 4096}, {"scheduler": "inline"}], ids=str)
def test_same_as_in_memory_for_any_block_and_threads(campaign, out, expected, options):
    summary = drt.invert_file(campaign, out, method=METHOD, **options)
    assert_same(drt.read_inversion(out), expected)
    assert summary.counts == expected.counts()


@pytest.mark.slow
@pytest.mark.usefixtures("lent_processes")
def test_same_with_workers(campaign, out, expected):
    drt.invert_file(campaign, out, method=METHOD, workers=2, block=1)
    # Of a kernel with reordered sums, the process that compiles it may have another last digit than those that load it.
    assert_same(drt.read_inversion(out), expected, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [3, 16384])
def test_rows_in_any_order(out, tmp_path, three_series, expected, monkeypatch, at_once):
    monkeypatch.setattr(assemble, "_AT_ONCE", at_once)
    order = np.random.default_rng(0).permutation(len(three_series))
    drt.write_spectra(tmp_path / "shuffled.h5", three_series[order])
    drt.invert_file(tmp_path / "shuffled.h5", out, method=METHOD, block=5, level=0.9)
    found = drt.read_inversion(out)
    assert_same(found, expected[order])
    low, high = expected[order].gamma_interval(0.9)
    np.testing.assert_array_equal(found.intervals.gamma_low, low)
    np.testing.assert_array_equal(found.intervals.gamma_high, high)


def test_some_of_the_spectra(campaign, out, three_series):
    chosen = three_series.states.eval("cell == 'C' and not voltage == 3.1").to_numpy()
    expected = drt.invert(three_series[chosen], METHOD)
    drt.invert_file(campaign, out, method=METHOD, where="cell == 'C' and not voltage == 3.1", block=1)
    assert_same(drt.read_inversion(out), expected)


@pytest.mark.slow
def test_a_column_that_tells_series_apart_in_the_whole_file_alone(tmp_path, out, three_series):
    # In the block of a series alone every spectrum has another number, which would not tell series apart.
    states = three_series.states.assign(step=np.tile(np.arange(4), 5)[: len(three_series)])[["step", "voltage"]]
    spectra = drt.Spectra(three_series.frequency, three_series.impedance, states)
    drt.write_spectra(tmp_path / "a.h5", spectra)
    drt.invert_file(tmp_path / "a.h5", out, method=METHOD, block=1)
    expected = drt.invert(spectra, METHOD)
    assert expected.method.series == ("step",)
    assert_same(drt.read_inversion(out), expected)


@pytest.mark.slow
def test_killed_and_resumed(campaign, out, expected):
    class Enough(Exception):
        pass

    def stop(done, *_):
        if done:
            raise Enough

    with pytest.raises(Enough):
        drt.invert_file(campaign, out, method=METHOD, block=1, progress=stop)
    for other in (drt.LogGaussian(along="cycle"), dataclasses.replace(METHOD, series=("cell",))):
        with pytest.raises(drt.JobMismatchError, match=r"method: (along|series) was "):
            drt.invert_file(campaign, out, method=other)
    # A block that is lost is made again alone.
    summary = drt.invert_file(campaign, out, method=METHOD, block=7)
    assert summary.kept == 6
    assert_same(drt.read_inversion(out), expected)


@pytest.mark.slow
def test_a_block_that_is_lost_is_made_again(campaign, out, expected):
    folder, calls = out.with_name(f".{out.name}.job"), []

    def lose(done, total, _):
        calls.append(done)
        if done == total and calls.count(total) == 1:
            sorted(folder.glob("results-*.part"))[1].unlink()

    drt.invert_file(campaign, out, method=METHOD, block=1, progress=lose)
    assert calls.count(len(expected)) == 2
    assert_same(drt.read_inversion(out), expected)


@pytest.mark.parametrize(
    ("method", "error", "said"),
    [
        (drt.LogGaussian(along="potential"), UnknownNameError, r"'potential'.*'cell', 'cycle', 'voltage'"),
        (drt.LogGaussian(along="voltage", series=["cel"]), UnknownNameError, r"'cel'.*'cell'"),
        (drt.LogGaussian(along="cell"), drt.InputError, r"along='cell' must be a state of numbers or times"),
    ],
    ids=["unknown", "unknown series", "text"],
)
def test_refused_before_work_begins(campaign, tmp_path, out, method, error, said):
    with pytest.raises(error, match=said):
        drt.invert_file(campaign, out, method=method)
    assert [item.name for item in tmp_path.iterdir()] == ["campaign.h5"]


@pytest.mark.slow
def test_along_times(tmp_path, out, three_series):
    states = pd.DataFrame({"cell": three_series.states["cell"], "date": pd.date_range("2024", periods=17, freq="h")})
    spectra = drt.Spectra(three_series.frequency, three_series.impedance, states)
    drt.write_spectra(tmp_path / "a.h5", spectra)
    method = drt.LogGaussian(along="date")
    drt.invert_file(tmp_path / "a.h5", out, method=method, block=1)
    assert_same(drt.read_inversion(out), drt.invert(spectra, method))


def test_a_file_without_a_spectrum_that_is_taken(campaign, out):
    drt.invert_file(campaign, out, method=METHOD, where="cycle > 99")
    assert len(drt.read_inversion(out)) == 0


# What a file tells in memory


@pytest.mark.slow
def test_changes_and_states_in_between_from_a_file(campaign, out, expected):
    drt.invert_file(campaign, out, method=METHOD)
    found = drt.read_inversion(out)
    # Files of the version before have no spectra.
    bare = dataclasses.replace(found, impedance=None)
    with pytest.raises(drt.InputError, match="with_spectra"):
        bare.change(0, 3)
    with pytest.raises(drt.InputError, match="with_spectra"):
        bare.gamma_at(found.tau, voltage=3.33)
    for one, other in ((0, 3), (0, 13)):
        a, b = (result.change(one, other, 0.9) for result in (found, expected))
        for name in ("gamma", "gamma_low", "gamma_high", "r_pol", "r_pol_low", "r_pol_high"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    tau = np.logspace(-4, -1, 7)
    np.testing.assert_array_equal(found.gamma_at(tau, voltage=3.33), expected.gamma_at(tau, voltage=3.33))


# The command line


@pytest.mark.slow
def test_what_along_would_do_and_what_was_done(campaign, out, cli, expected):
    alone = cli("invert", campaign, "-o", out)
    assert alone.out.splitlines()[-1] == "  --along voltage would invert 3 series of 4 to 6 spectra together"
    assert "along" not in json.loads(cli("info", out, "--json").out)["inversions"][0]
    for option in (("--along", "voltage", "--noise", "auto"), ("--method", "tikhonov", "--where", "cycle == 9")):
        assert "would invert" not in cli("invert", campaign, "-o", out, "--overwrite", *option).out
    cli("invert", campaign, "-o", out, "--overwrite", "--along", "voltage", "--series", "cell", "--series", "cycle")
    assert_same(drt.read_inversion(out), expected)
    (told,) = json.loads(cli("info", out, "--json").out)["inversions"]
    coupling = [np.nanmin(expected.coupling), np.nanmax(expected.coupling)]
    assert (told["along"], told["series"], told["coupling"]) == ("voltage", ["cell", "cycle"], coupling)
    assert told["breaks"] == np.count_nonzero(expected.status & drt.Status.BREAK)
    assert "along: voltage" in cli("info", out).out


@pytest.mark.slow
def test_series_that_were_inverted_together_are_told(campaign, three_series, tmp_path, out, cli):
    how = ("invert", campaign, "-o", out, "--overwrite", "--along", "voltage")
    assert "  along voltage: 3 series of 4 to 6 spectra with equal cell, cycle" in cli(*how).out
    assert "that another spectrum" not in cli(*how, "--series", "cell").out  # the first and the last voltage, twice
    drt.write_spectra(tmp_path / "mixed.h5", three_series.with_states(cell="A"))
    mixed = cli("invert", tmp_path / "mixed.h5", *how[2:], "--series", "cell").out
    assert "  along voltage: one series of 16 spectra with equal cell\n  8 of 16 have a voltage that another" in mixed
    drt.write_spectra(tmp_path / "apart.h5", three_series.with_states(number=range(len(three_series))))
    said = cli("invert", tmp_path / "apart.h5", *how[2:], "--series", "number").out
    assert "along voltage: no two spectra belong to one series; each was inverted alone" in said


@pytest.mark.slow
def test_a_job_file_with_series(campaign, out, cli, expected):
    path = campaign.with_name("job.toml")
    settings = 'along = "voltage"\nseries = ["cell", "cycle"]\nnoise = "auto"'
    path.write_text(f'input = "campaign.h5"\noutput = "out.h5"\n[method]\n{settings}\n')
    assert cli("invert", path).code == 0
    assert_same(drt.read_inversion(out), expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--along", "volts"), ("'volts'", "'cell', 'cycle', 'voltage'")),
        (("--along", "voltage", "--series", "cel"), ("'cel'", "'cell', 'cycle', 'voltage'")),
        (("--along", "cell"), ("along='cell' must be a state of numbers or times",)),
        (("--series", "cell"), ("needs along",)),
        (("--along", "voltage", "--method", "tikhonov"), ("along: no setting of tikhonov",)),
    ],
    ids=str,
)
def test_columns_that_cannot_be_are_refused(campaign, out, cli, options, said):
    assert cli("invert", campaign, "-o", out, *options).refused(*said)
    assert not out.exists()


@pytest.mark.parametrize(
    ("states", "along"),
    [
        ({"cell": list("AABB"), "voltage": [1.0, 2, 1, 2], "cycle": [1, 1, 1, 1]}, "voltage"),
        ({"cell": list("AABB"), "voltage": [3.0] * 4, "cycle": [1, 2, 1, 2]}, "cycle"),
        ({"cell": list("AABB"), "temperature": [1.5, 2, 1, 2], "time": [1.0, 2, 3, 4]}, "temperature"),
        ({"voltage": list("abcd"), "time": [1.0, 2, 3, 4]}, "time"),
        ({"cell": list("AABB")}, None),
    ],
    ids=str,
)
def test_the_likeliest_state_to_run_along(states, along):
    found = likely_series(pd.DataFrame(states))
    assert along == (found and found[0])


# Where blocks end


def test_series_follow_each_other_and_blocks_end_between_them():
    states = pd.DataFrame({"cell": list("ABABCBA"), "voltage": [3.0, 1.0, 2.0, 2.0, 1.0, np.nan, 1.0]})
    order, ends = in_series_order(series_along(states, "voltage"), 7)
    assert order.tolist() == [6, 2, 0, 1, 3, 4, 5]
    assert ends.tolist() == [3, 5, 6, 7]
    assert not Extent("a", 7, 1, order, ends).ascending
    assert Extent("a", 7, 1, np.array([1, 5, 6])).ascending
    for rows in (1, 2, 3, 4, 5, 6, 9):
        at, found = 0, []
        while at < 7:
            block = next_block(0, at, 7, rows, ends)
            assert block.last in ends
            at = block.last
            found.append(at)
        assert found[-1] == 7
        assert len(found) == 4 or rows > 1


def test_series_that_lie_together_are_read_as_they_lie(tmp_path):
    states = pd.DataFrame({"cell": np.repeat(np.arange(300), 4), "voltage": np.tile(np.arange(4.0), 300)})
    z = np.ones((1200, 5)) - 1j
    drt.write_spectra(tmp_path / "a.h5", drt.Spectra(np.logspace(3, 0, 5), z, states))
    (extent,) = Source(tmp_path / "a.h5", METHOD).extents
    assert extent.ascending
    assert extent.ends.tolist() == list(range(4, 1201, 4))


# Series that take long


class _Stopped(Exception):
    pass


@pytest.fixture
def in_small_steps(monkeypatch):
    """Few steps at once, as of long series, and all of them kept."""
    monkeypatch.setattr("drt_engine.methods.joint.problem._AT_ONCE", 12)
    for wait in ("_SECONDS_TO_FIRST", "_SECONDS_BETWEEN", "_TIMES_LONGER"):
        monkeypatch.setattr(f"drt_engine.jobs.work.{wait}", 0.0)


@pytest.fixture
def sheet(tmp_path, three_series):
    """Two series that are neighbours in a second state, and one of another cell."""
    states = three_series.states.iloc[[*range(10), *range(10, 16)]].reset_index(drop=True)
    spectra = drt.Spectra(three_series.frequency, three_series.impedance[:16], states)
    drt.write_spectra(tmp_path / "sheet.h5", spectra)
    return tmp_path / "sheet.h5", spectra


@pytest.mark.slow
@pytest.mark.parametrize(("along", "level", "after"), [("voltage", 0.9, 12), (("voltage", "cycle"), None, 10)])
def test_a_series_goes_on_where_it_was_stopped(sheet, out, in_small_steps, monkeypatch, along, level, after):
    path, spectra = sheet
    method = drt.LogGaussian(along=along, series=["cell"] if along != "voltage" else None)
    monkeypatch.setattr("drt_engine.uncertainty.intervals._PART", 2)
    expected, save, descents, found = drt.invert(spectra, method, level=level), work.save_part, [], []
    descend, interval = Chain.descend, LogPosterior.gamma_interval
    monkeypatch.setattr(Chain, "descend", lambda *given: (descents.append(1), descend(*given))[1])
    monkeypatch.setattr(LogPosterior, "gamma_interval", lambda *given: (found.append(1), interval(*given))[1])
    drt.invert_file(path, out.with_name("whole.h5"), method=method, block=16, scheduler="inline", level=level)
    whole, pieces, stops, most = len(descents), len(found), 0, 0
    assert pieces >= 8 or level is None
    descents.clear()
    found.clear()
    for _ in range(1000):
        saved = []

        def stop_later(target, arrays, saved=saved):
            save(target, arrays)
            saved.append(target)
            if len(saved) == after and "unfinished" in target.name:
                raise _Stopped

        monkeypatch.setattr(work, "save_part", stop_later)
        try:
            drt.invert_file(path, out, method=method, block=16, scheduler="inline", level=level)
            break
        except _Stopped:
            stops += 1
            most = max(most, len(descents))
    assert_same(drt.read_inversion(out), expected)
    assert stops > 4
    # Nothing but the step in which it was stopped is done again.
    assert whole <= len(descents) <= whole + stops
    assert pieces <= len(found) <= pieces + stops
    if level is not None:
        for name in INTERVAL_UNITS:
            np.testing.assert_array_equal(
                getattr(drt.read_inversion(out).intervals, name), getattr(expected.intervals, name), err_msg=name
            )
    assert [item.name for item in out.parent.iterdir() if ".job" in item.name] == []


@pytest.mark.slow
def test_a_damaged_or_foreign_file_of_what_was_begun_counts_as_nothing(sheet, out, in_small_steps, monkeypatch):
    path, spectra = sheet
    save, saved = work.save_part, []

    def stop(target, arrays):
        save(target, arrays)
        saved.append(target)
        if len(saved) == 12:
            raise _Stopped

    monkeypatch.setattr(work, "save_part", stop)
    with pytest.raises(_Stopped):
        drt.invert_file(path, out, method=METHOD, block=16)
    begun = saved[-1]
    content = begun.read_bytes()
    monkeypatch.setattr(work, "save_part", save)
    kept = load_part(begun)
    short = {name: values[..., :1] if values.ndim else values for name, values in kept.items()}
    for damaged in (b"", content[:-9], content[:99] + b"x" + content[100:], short):
        if isinstance(damaged, dict):
            save(begun, damaged)
        else:
            begun.write_bytes(damaged)
        monkeypatch.setattr(work, "save_part", lambda target, arrays: (_ for _ in ()).throw(_Stopped))
        with pytest.raises(_Stopped):
            drt.invert_file(path, out, method=METHOD, block=16)
        monkeypatch.setattr(work, "save_part", save)
    with pytest.raises(drt.JobMismatchError, match="method: along was 'voltage' and is 'cycle'"):
        drt.invert_file(path, out, method=drt.LogGaussian(along="cycle"))
    drt.invert_file(path, out, method=METHOD, block=16)
    assert_same(drt.read_inversion(out), drt.invert(spectra, METHOD))


@pytest.mark.recorded
@pytest.mark.slow
def test_progress_within_a_series(sheet, out, in_small_steps, monkeypatch):
    path, _ = sheet
    shown, save = [], work.save_part
    monkeypatch.setattr("drt_engine.jobs.job._SECONDS_A_LOOK", 0.002)

    def slowly(target, arrays):
        save(target, arrays)
        time.sleep(0.01)

    monkeypatch.setattr(work, "save_part", slowly)
    drt.invert_file(path, out, method=METHOD, block=16, progress=lambda *told: shown.append(told))
    done = [one for one, *_ in shown]
    assert done == sorted(done)
    assert len({one for one in done if 0 < one < 16}) >= 4
    assert (done[0], done[-1], sum(counts for counts in shown[-1][2].values()) >= 16) == (0, 16, True)


def test_what_progress_says_while_a_series_is_inverted_ends_the_job_at_the_next_block(
    sheet, out, in_small_steps, monkeypatch
):
    path, _ = sheet
    monkeypatch.setattr("drt_engine.jobs.job._SECONDS_A_LOOK", 0.002)

    def stop(done, *_):
        if 0 < done < 16:
            raise _Stopped

    with pytest.raises(_Stopped):
        drt.invert_file(path, out, method=METHOD, block=16, progress=stop)
    assert not out.exists()
