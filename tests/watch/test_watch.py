"""A folder that is followed: when a sweep is taken, that it is taken once, and what is said of the others."""

import os
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.hdf5 import mask_points, scan
from drt_engine.readers.collect import CollectOptions
from drt_engine.watch import Alarm, Options, Problem, Taken, Watch, follow, results
from tests.readers import made

from . import instrument

QUICK = drt.Tikhonov(regularisation=1e-3)
OPTIONS = Options(method=QUICK, settle=0.0)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "measured"
    path.mkdir()
    return path


def start(folder, **changed):
    place = folder.parent
    return Watch(folder, place / "campaign.h5", place / "campaign.drt.h5", replace(OPTIONS, **changed))


def look(watch):
    """What happens now."""
    watch.look()
    watch._not_before = 0.0
    return watch.step()


def all_of(watch):
    """What happens until no file is left; a step reads for a second at most."""
    events = []
    while watch.wait() == 0.0:
        watch._not_before = 0.0
        events += watch.step()
    return events


def taken(events):
    return [(one.row["source"], one.row["sweep"]) for one in events if isinstance(one, Taken)]


def campaign(folder):
    path = folder.parent / "campaign.h5"
    found = []
    for info in scan(path).spectra if path.is_file() else ():
        states = drt.read_spectra(path, info.grid).states
        found += zip(states["source"], states["sweep"], strict=True)
    return found


def check_results(folder, method=QUICK):
    """Results are those of a batch on the same campaign, to the bit."""
    place = folder.parent
    drt.invert_file(place / "campaign.h5", place / "batch.h5", method=method, overwrite=True)
    for info in scan(place / "batch.h5").inversions:
        one, other = (drt.read_inversion(place / name, grid=info.grid) for name in ("campaign.drt.h5", "batch.h5"))
        for name in ("gamma", "r_pol", "r_inf", "status", "residual"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.states.equals(other.states)


@pytest.mark.slow
def test_what_is_there_is_taken_once_in_four_formats(folder):
    _, good, broken = instrument.campaign(12, 1.0)
    instrument.run(folder, [replace(one, at=0.0) for one in instrument.campaign(12, 1.0)[0]])
    watch = start(folder, once=True)
    events = [*watch.begin(), *all_of(watch), *watch.finish()]
    assert set(taken(events)) == set(good)
    assert {one.source for one in events if isinstance(one, Problem)} == broken
    assert sorted(campaign(folder)) == sorted(good)
    assert watch.wait() == np.inf
    check_results(folder)
    again = start(folder, once=True)
    assert taken([*again.begin(), *again.step()]) == []
    assert again.spectra == len(good)


@pytest.mark.slow
def test_a_growing_file_gives_its_finished_sweeps_and_none_twice(folder):
    path, lines = folder / "a.mpt", instrument.mpt(0, 3).splitlines(keepends=True)
    head = len(lines) - 3 * instrument.FREQUENCY.size
    watch = start(folder)
    watch.begin()
    seen = []
    for stop in [head, head + 5, head + 20, head + 25, head + 26, head + 40, head + 60, len(lines) - 1, len(lines)]:
        path.write_bytes(b"".join(lines[:stop]))
        seen.append(taken(look(watch)))
    one, two, three = ([("a.mpt", number)] for number in (1, 2, 3))
    assert seen == [[], [], [], [], one, [], two, [], three]
    assert campaign(folder) == [*one, *two, *three]
    for row, z in enumerate(drt.read_spectra(folder.parent / "campaign.h5").impedance):
        np.testing.assert_allclose(z, instrument.impedance(row), rtol=1e-6)
    # What comes later is new; what was there is not.
    path.write_bytes(instrument.mpt(0, 4))
    assert taken(look(watch)) == [("a.mpt", 4)]
    check_results(folder)


def test_a_sweep_waits_where_the_file_does_not_say_how_far_it_goes(folder):
    path, lines = folder / "a.csv", instrument.csv(0).splitlines(keepends=True)
    watch = start(folder)
    watch.begin()
    path.write_bytes(b"".join(lines[:20]))
    assert taken(look(watch)) == []
    # A point at 1 Hz takes some seconds, and only then is it sure that none comes.
    assert 1.0 < watch.wait() < 60.0
    path.write_bytes(b"".join(lines))
    assert taken(look(watch)) == []
    assert watch.wait() > 5.0 / 0.1
    os.utime(path, (time.time() - 100.0,) * 2)
    restarted = start(folder)
    assert taken([*restarted.begin(), *restarted.step()]) == [("a.csv", 1)]
    # The campaign says how far others go.
    (folder / "b.csv").write_bytes(b"".join(lines[:20]))
    assert taken(look(restarted)) == []
    (folder / "b.csv").write_bytes(instrument.csv(1))
    assert taken(look(restarted)) == [("b.csv", 1)]


def test_a_last_line_that_is_not_at_its_end_may_be_half_of_it(folder):
    whole = instrument.mpt(0)
    watch = start(folder)
    watch.begin()
    (folder / "a.mpt").write_bytes(whole[:-1])
    assert taken(look(watch)) == []
    assert watch.wait() > 5.0 / 0.1
    (folder / "a.mpt").write_bytes(whole)
    assert taken(look(watch)) == [("a.mpt", 1)]
    np.testing.assert_allclose(
        drt.read_spectra(folder.parent / "campaign.h5").impedance[0], instrument.impedance(0), rtol=1e-6
    )


def test_it_says_which_files_wait_and_for_how_long(folder, monkeypatch):
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines = instrument.mpt(0, 2).splitlines(keepends=True)
    head = len(lines) - 2 * instrument.FREQUENCY.size
    watch = start(folder, settle=1.0)
    watch.begin()

    def after(seconds):
        watch.look()  # what was written before
        now[0] += seconds
        look(watch)
        return {one.source: one for one in watch.waiting()}

    assert after(0.0) == {}
    (folder / "a.mpt").write_bytes(b"".join(lines[: head + 20]))
    (folder / "b.csv").write_bytes(instrument.csv(0))
    (folder / "c.mpr").write_bytes(instrument.mpr(0)[:-100])
    assert {name: one.kind for name, one in after(0.0).items()} == dict.fromkeys(["a.mpt", "b.csv", "c.mpr"], "growing")
    found = after(4.0)
    kinds = {"a.mpt": "growing", "b.csv": "perhaps unfinished", "c.mpr": "partly written"}
    assert {name: one.kind for name, one in found.items()} == kinds
    assert found["a.mpt"].left == np.inf
    assert found["c.mpr"].left == pytest.approx(6.0, abs=0.5)
    assert found["b.csv"].left > 1.0
    # What goes on growing has waited since its first point, and stands still since its last one.
    (folder / "a.mpt").write_bytes(b"".join(lines[: head + 25]))
    found = after(3.0)
    assert next(iter(found)) == "a.mpt"
    assert (found["a.mpt"].seconds, found["a.mpt"].still) == pytest.approx((7.0, 3.0), abs=0.5)
    assert (found["b.csv"].seconds, found["b.csv"].still) == pytest.approx((7.0, 7.0), abs=0.5)
    # The first sweep is taken: what waits is the second. What is damaged waits no longer.
    (folder / "a.mpt").write_bytes(b"".join(lines[:-5]))
    found = after(4.0)
    assert campaign(folder) == [("a.mpt", 1)]
    assert found["a.mpt"].seconds == pytest.approx(4.0, abs=0.5)
    assert "c.mpr" not in found
    (folder / "a.mpt").write_bytes(b"".join(lines))
    assert "a.mpt" not in after(2.0)


def test_a_damaged_file_is_reported_once_and_the_watch_goes_on(folder, monkeypatch):
    watch = start(folder)
    watch.begin()
    (folder / "a.mpr").write_bytes(instrument.mpr(0)[:-100])
    (folder / "notes.txt").write_text("nothing\n")
    assert look(watch) == []
    # Half a file is no damaged file until it has stood still for a while.
    assert 5.0 < watch.wait() <= 10.0
    old = time.time() - 60.0
    os.utime(folder / "a.mpr", (old, old))
    watch = start(folder)
    (problem,) = [*watch.begin(), *watch.step()]
    assert problem.source == "a.mpr"
    assert problem.refused
    assert str(folder) not in problem.text
    assert (watch.refused, watch.without) == (1, 1)
    (folder / "b.mpr").write_bytes(instrument.mpr(1))
    os.utime(folder / "a.mpr", (old + 1.0, old + 1.0))
    assert taken(events := look(watch)) == [("b.mpr", 1)]
    assert len(events) == 1
    (folder / "a.mpr").write_bytes(instrument.mpr(0))
    assert taken(look(watch)) == [("a.mpr", 1)]
    assert watch.refused == 0


@pytest.mark.slow
@pytest.mark.parametrize("where", ["put_solutions", "add_spectra"])
def test_what_was_not_written_any_more_is_made_up_for(folder, monkeypatch, where):
    (folder / "a.mpt").write_bytes(instrument.mpt(0))
    watch = start(folder)
    watch.begin()
    watch.step()
    (folder / "b.mpt").write_bytes(instrument.mpt(7, 2))

    def die(*_, **__):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(follow if where == "add_spectra" else results, where, die)
        with pytest.raises(SystemExit):
            look(watch)
    assert len(scan(folder.parent / "campaign.drt.h5").inversions) == 1
    again = start(folder, alerts=["r_pol > first"])
    events = [*again.begin(), *again.step()]
    assert taken(events) == [("b.mpt", 1), ("b.mpt", 2)]
    # Its alarms are raised as well, since nobody may have seen them.
    assert sum(isinstance(one, Alarm) and one.kind == "alert" for one in events) == 2
    assert campaign(folder) == [("a.mpt", 1), ("b.mpt", 1), ("b.mpt", 2)]
    check_results(folder)


@pytest.mark.slow
def test_series_are_inverted_together_whenever_one_of_them_comes(folder):
    method = drt.LogGaussian(along="voltage", series=("cell",))
    options = {"method": method, "reading": CollectOptions(name="{cell}_{voltage}.mpt")}
    for name in ("A_3.1", "A_3.2", "B_3.1"):
        (folder / f"{name}.mpt").write_bytes(instrument.mpt(0))
    watch = start(folder, **options)
    watch.begin()
    watch.step()
    for number, name in enumerate(("A_3.3", "B_3.2")):
        (folder / f"{name}.mpt").write_bytes(instrument.mpt(number + 1))
        assert len(taken(look(watch))) == 1
    check_results(folder, method)


@pytest.mark.slow
def test_others_may_add_to_the_campaign_and_mask_points(folder):
    (folder / "a.mpt").write_bytes(instrument.mpt(0))
    watch, other = start(folder), start(folder)
    watch.begin()
    watch.step()
    other.begin()
    (folder / "b.mpt").write_bytes(instrument.mpt(1))
    # Both see it, and it is there once.
    assert taken(look(other)) == [("b.mpt", 1)]
    assert taken(look(watch)) == []
    path = folder.parent / "campaign.h5"
    mask = np.zeros((2, instrument.FREQUENCY.size), dtype=np.uint8)
    mask[0, 3] = 1
    mask_points(path, {"grid-0": mask})
    (folder / "c.mpt").write_bytes(instrument.mpt(2))
    assert taken(look(watch)) == [("c.mpt", 1)]
    assert campaign(folder) == [("a.mpt", 1), ("b.mpt", 1), ("c.mpt", 1)]
    check_results(folder)


@pytest.mark.slow
def test_a_file_that_gets_another_name_or_is_copied_is_not_taken_again(folder):
    (folder / "a.tmp.mpt").write_bytes(instrument.mpt(0))
    watch = start(folder)
    watch.begin()
    assert taken(watch.step()) == [("a.tmp.mpt", 1)]
    (folder / "a.tmp.mpt").rename(folder / "a.mpt")
    assert look(watch) == []
    # Renamed and written to: another file with the sweep that is known, and one more.
    (folder / "a.mpt").write_bytes(instrument.mpt(0) + b"\n")
    (problem,) = look(watch)
    assert "when it was called a.tmp.mpt" in problem.text
    (folder / "b.mpt").write_bytes(instrument.mpt(1))
    look(watch)
    (folder / "copy of b.mpt").write_bytes(instrument.mpt(1))
    (problem,) = look(watch)
    assert problem.text == "the same content as b.mpt, which is in the campaign"
    # A name that is used again is another measurement.
    (folder / "b.mpt").write_bytes(instrument.mpt(5))
    problem, event = look(watch)
    assert "sweep 1 has other values" in problem.text
    assert event.row["source"] == "b.mpt"
    assert campaign(folder) == [("a.tmp.mpt", 1), ("b.mpt", 1), ("b.mpt", 1)]


def test_a_file_that_does_not_fit_to_the_campaign_keeps_none_out(folder):
    options = CollectOptions(name="{cell}_{state}.mpt")
    watch = start(folder, reading=options)
    watch.begin()
    (folder / "A_1.mpt").write_bytes(instrument.mpt(0))
    assert len(taken(look(watch))) == 1
    (folder / "A_x.mpt").write_bytes(instrument.mpt(1))
    (folder / "A_2.mpt").write_bytes(instrument.mpt(2))
    events = look(watch)
    assert taken(events) == [("A_2.mpt", 1)]
    (problem,) = (one for one in events if isinstance(one, Problem))
    assert problem.source == "A_x.mpt"
    assert "state" in problem.text


def test_a_campaign_that_cannot_be_written_is_written_later(folder, monkeypatch):
    watch = start(folder)
    watch.begin()
    (folder / "a.mpt").write_bytes(instrument.mpt(0))

    def full(*_, **__):
        raise drt.errors.FileWriteError("campaign.h5: cannot be written: no space left.")

    with monkeypatch.context() as patch:
        patch.setattr(follow, "add_spectra", full)
        (problem,) = look(watch)
        assert look(watch) == []
    assert "no space left" in problem.text
    assert 0.0 < watch.wait() <= 10.0
    assert taken(look(watch)) == [("a.mpt", 1)]


def test_a_watch_refuses_what_it_cannot_go_on_with(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        start(tmp_path / "nowhere")
    with pytest.raises(InputError, match="two outputs"):
        Watch(folder, tmp_path / "a.h5", tmp_path / "a.h5", OPTIONS)
    with pytest.raises(InputError, match="shared"):
        start(folder, method=drt.Tikhonov(shared=True))
    (folder / "a.mpt").write_bytes(instrument.mpt(0))
    watch = start(folder)
    watch.begin()
    watch.step()
    with pytest.raises(InputError, match="something else than an inversion of the whole campaign"):
        start(folder, method=drt.Tikhonov(regularisation=1e-2))
    text = tmp_path / "text.h5"
    text.write_text("no campaign")
    with pytest.raises(drt.errors.FileFormatError, match="HDF5"):
        Watch(folder, text, tmp_path / "b.h5", OPTIONS)
    assert text.read_text() == "no campaign"


@pytest.mark.slow
def test_results_of_another_version_are_made_again(folder):
    (folder / "a.mpt").write_bytes(instrument.mpt(0))
    watch = start(folder)
    watch.begin()
    watch.step()
    with h5py.File(folder.parent / "campaign.drt.h5", "r+") as file:
        file["inversions/default/grid-0"].attrs["versions"] = '{"drt-engine": "0"}'
        file["inversions/default/grid-0/gamma"][:] = 0.0
    start(folder).begin()
    check_results(folder)


def test_files_of_the_watch_itself_and_hidden_ones_are_no_measurements(folder):
    watch = Watch(folder, folder / "campaign.h5", folder / "campaign.drt.h5", OPTIONS)
    watch.begin()
    (folder / "a.mpt").write_bytes(instrument.mpt(0))
    (folder / ".hidden.mpt").write_bytes(instrument.mpt(1))
    (folder / "~$open.xlsx").write_bytes(b"x")
    assert taken(look(watch)) == [("a.mpt", 1)]
    look(watch)
    assert (watch.refused, watch.without, watch.spectra) == (0, 0, 1)


def test_unfinished_sweeps_are_never_taken(folder):
    (folder / "a.mpt").write_text(made.mpt(instrument.rows(0)[:-1], fi=10, ff=100), encoding="latin-1")
    watch = start(folder, once=True)
    assert [*watch.begin(), *watch.step()] == []
    assert campaign(folder) == []
