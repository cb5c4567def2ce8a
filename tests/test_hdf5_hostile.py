"""Files of strangers: what lies elsewhere is never read, and what nobody stored is never waited for."""

import os
import shutil

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.explore.open import application
from drt_engine.hdf5 import add_spectra, inside, known_files, read_tracks, scan, write_tracks
from drt_engine.watch import Watch

SECRET = b"root:x:0:0:a secret of this machine"
GRID, INVERSION, TABLE = "spectra/default", "inversions/default/default", "processes/default"
LARGE = {GRID: "impedance_real", INVERSION: "coefficients", TABLE: "tau"}
ROWS = 8
ENDLESS = 10**13


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file with spectra, their inversion and the processes in it."""
    path = tmp_path_factory.mktemp("whole") / "whole.h5"
    simulated = drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=(1,), voltages=2)).spectra
    result = drt.invert(simulated, drt.Tikhonov(regularisation=1e-3))
    drt.write_spectra(path, simulated)
    drt.write_inversion(path.with_name("i.h5"), result)
    write_tracks(path.with_name("t.h5"), drt.track(result.peaks(), "voltage", ["cell", "direction"]))
    with h5py.File(path, "r+") as file:
        for other, name in (("i.h5", "inversions"), ("t.h5", "processes")):
            with h5py.File(path.with_name(other)) as source:
                source.copy(name, file, expand_refs=True)
    return path


@pytest.fixture
def folder(tmp_path):
    """What lies beside the file: a secret, a pipe, and a file of the format."""
    (tmp_path / "secret").write_bytes(SECRET)
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["cell"] = np.frombuffer(SECRET[:ROWS], dtype="S1")
        file["numbers"] = np.arange(ROWS * 61.0).reshape(ROWS, 61)
        file.create_group("group")
    return tmp_path


def replaced(file, place, make):
    group, _, name = place.rpartition("/")
    group = group or "/"
    if name in file[group]:
        del file[place]
    make(file[group], name)


def linked(place, link):
    return lambda file, folder: replaced(file, place, lambda group, name: group.__setitem__(name, link(folder)))


def at(place, make):
    return lambda file, folder: replaced(file, place, lambda group, name: make(group, name, folder))


def everywhere(make, column=None):
    """Change the largest dataset, or a column, of the spectra, of the inversion and of the processes."""

    def change(file, folder):
        for place, name in LARGE.items():
            where = f"{place}/{column or name}"
            shape, units = file[where].shape, dict(file[where].attrs).get("units")
            replaced(file, where, lambda group, name, shape=shape: make(group, name, shape))
            if units is not None and isinstance(file[where], h5py.Dataset):
                file[where].attrs["units"] = units

    return change


def endless(shape):
    return (ENDLESS, *shape[1:])


def stored_elsewhere(name):
    def make(group, key, folder):
        group.create_dataset(key, (ROWS,), "S1", external=[(str(folder / name), 0, ROWS)])

    return make


def virtual(source):
    def make(group, key, folder):
        layout = h5py.VirtualLayout(shape=(ROWS, 61), dtype="f8")
        layout[:] = h5py.VirtualSource(str(folder / source), "numbers", shape=(ROWS, 61))
        group.create_virtual_dataset(key, layout, fillvalue=1.0).attrs["units"] = "ohm"

    return make


def growing_virtual(group, key, folder):
    """One whose size is asked of a pipe."""
    layout = h5py.VirtualLayout(shape=(ROWS, 61), maxshape=(None, 61), dtype="f8")
    source = h5py.VirtualSource(str(folder / "pipe"), "numbers", shape=(ROWS, 61), maxshape=(None, 61))
    layout[0 : h5py.h5s.UNLIMITED] = source[0 : h5py.h5s.UNLIMITED]
    group.create_virtual_dataset(key, layout)


def bomb(group, name, shape):
    """One chunk of zeros that is compressed well, of very many."""
    options = {"chunks": (1024, *shape[1:]), "compression": "gzip", "compression_opts": 9}
    group.create_dataset(name, endless(shape), "f8", **options)[:1024] = 0.0


def large_chunk(group, name, shape):
    chunks = (2**26 // int(np.prod(shape[1:], dtype=int)), *shape[1:])
    options = {"maxshape": (None, *shape[1:]), "chunks": chunks, "compression": "gzip"}
    identifier = group.create_dataset(name, shape, "f8", **options).id
    identifier.write_direct_chunk((0,) * len(shape), bytes(4096))


def growing(shape):
    return {"chunks": (64,) * len(shape), "maxshape": (None,) * len(shape)}


def nested(file, folder):
    group = file.create_group("mine")
    for _ in range(100):
        group = group.create_group("a")


def circle(file, folder):
    file["spectra/default/again"] = file["spectra"]


def of_references(dtype):
    return lambda group, name, shape: group.create_dataset(name, (shape[0],), dtype)


def with_reference(file, folder):
    for place in LARGE:
        file[place]["cell"].attrs["origin"] = file["spectra"].ref


OUT = "Only what is in the file itself is read"
HOSTILE = {
    "state in another file": (linked(f"{GRID}/cell", lambda f: h5py.ExternalLink(f / "other.h5", "cell")), OUT),
    "grid in another file": (linked(GRID, lambda f: h5py.ExternalLink(f / "other.h5", "group")), OUT),
    "all spectra in another file": (linked("spectra", lambda f: h5py.ExternalLink(f / "other.h5", "group")), OUT),
    "something in another file": (linked("mine", lambda f: h5py.ExternalLink(f / "other.h5", "group")), OUT),
    "link into a pipe": (linked(f"{GRID}/cell", lambda f: h5py.ExternalLink(f / "pipe", "cell")), OUT),
    "link into a link": (
        lambda file, folder: [
            linked("mine", lambda f: h5py.ExternalLink(f / "other.h5", "cell"))(file, folder),
            linked(f"{GRID}/cell", lambda _: h5py.SoftLink("/mine"))(file, folder),
        ],
        "link",
    ),
    "state of another file": (at(f"{GRID}/cell", stored_elsewhere("secret")), OUT),
    "state of a pipe": (at(f"{GRID}/cell", stored_elsewhere("pipe")), OUT),
    "state of nothing": (at(f"{GRID}/cell", stored_elsewhere("nowhere")), OUT),
    "result of another file": (at(f"{INVERSION}/cell", stored_elsewhere("secret")), OUT),
    "column of another file": (at(f"{TABLE}/events/process", stored_elsewhere("secret")), OUT),
    "virtual": (at(f"{GRID}/impedance_real", virtual("other.h5")), OUT),
    "virtual without a source": (at(f"{GRID}/impedance_real", virtual("nowhere.h5")), OUT),
    "virtual from a pipe": (at(f"{GRID}/impedance_real", growing_virtual), OUT),
    "virtual result": (at(f"{INVERSION}/gamma", virtual("other.h5")), OUT),
    "virtual elsewhere": (at("mine", virtual("other.h5")), OUT),
    "link to nothing": (linked(f"{GRID}/cell", lambda _: h5py.SoftLink("/nothing")), "leads nowhere"),
    "link above the root": (linked("mine", lambda _: h5py.SoftLink("/../../etc/passwd")), "leads nowhere"),
    "link to itself": (linked(f"{GRID}/cell", lambda _: h5py.SoftLink(f"/{GRID}/cell")), "leads nowhere"),
    "link to above": (linked(f"{GRID}/cell", lambda _: h5py.SoftLink("/spectra")), "in a circle"),
    "circle": (circle, "in a circle"),
    "nested": (nested, "no such structure"),
    "endless, nothing stored": (everywhere(lambda g, n, s: g.create_dataset(n, endless(s), "f8")), "0 bytes are"),
    "endless, no chunk": (
        everywhere(lambda g, n, s: g.create_dataset(n, endless(s), "f8", chunks=(64, *s[1:]), fletcher32=True)),
        "0 bytes are",
    ),
    "endless, compressed": (everywhere(bomb), "bytes are stored"),
    "no chunk": (everywhere(lambda g, n, s: g.create_dataset(n, s, "f8", chunks=True)), "0 bytes are stored"),
    "chunk beyond memory": (everywhere(large_chunk), "has chunks of"),
    "rows without a value": (
        everywhere(lambda g, n, s: g.create_dataset(n, (ENDLESS, *(0,) * len(s[1:])), "f8", **growing(s))),
        "without a value|0 bytes are stored",
    ),
    "references": (everywhere(of_references(h5py.ref_dtype), "cell"), "are stored|expected numbers or text"),
    "regions": (everywhere(of_references(h5py.regionref_dtype), "cell"), "are stored|expected numbers or text"),
    "structures": (
        everywhere(lambda g, n, s: g.__setitem__(n, np.zeros(s[0], dtype=[("a", "i4")])), "cell"),
        "expected numbers or text",
    ),
    "a type": (everywhere(lambda g, n, s: g.__setitem__(n, np.dtype("f8"))), "is a type; expected a dataset"),
    "a group": (everywhere(lambda g, n, s: g.create_group(n), "cell"), "is a group; expected a dataset"),
    "attribute": (with_reference, "neither a number nor text"),
}


def damaged(path):
    """Give an external link a number of a kind of link that nobody has registered."""
    content = path.read_bytes()
    where = content.index(b"mylink")
    kind = content.rindex(b"\x40", 0, where)
    assert where - kind < 12
    path.write_bytes(content[:kind] + b"\x41" + content[kind + 1 :])


@pytest.fixture(params=[*HOSTILE, "unknown kind of link"])
def hostile(request, folder, whole):
    path = folder / "hostile.h5"
    if request.param == "unknown kind of link":
        with h5py.File(path, "w", libver="earliest") as file, h5py.File(whole) as source:
            file.attrs.update(source.attrs)
            for name in source:
                source.copy(name, file)
            file["mylink"] = h5py.ExternalLink("other.h5", "cell")
        damaged(path)
        return path, "of a kind that is not known, 65"
    shutil.copy(whole, path)
    change, message = HOSTILE[request.param]
    with h5py.File(path, "r+") as file:
        change(file, folder)
    return path, message


def commands(path):
    return {
        "info": (),
        "invert": ("-o", path.with_name("new.drt.h5")),
        "validate": ("-o", path.with_name("new.csv")),
        "peaks": ("-o", path.with_name("new.csv")),
        "plot": ("-o", path.with_name("new.png")),
        "plot processes": ("--kind", "processes", "-o", path.with_name("new.png")),
        "export": ("-o", path.with_name("new.csv")),
        "report": ("-o", path.with_name("new.html")),
        "clean": ("-o", path.with_name("new.h5"), "--drop", "50"),
        "conductivity": ("-o", path.with_name("new.csv")),
        "composite": ("-o", path.with_name("new.csv"), "--connection", "ee"),
    }


def test_at_least_25_files_are_tried():
    assert len(HOSTILE) >= 25


@pytest.mark.slow
def test_every_function_and_command_refuses(hostile, noisy):
    path, message = hostile
    before = {item.name for item in path.parent.iterdir()}
    content = path.read_bytes()
    functions = [
        scan,
        drt.read_spectra,
        drt.read_inversion,
        read_tracks,
        known_files,
        lambda path: add_spectra(path, {"other": noisy}, keep=True),
        lambda path: drt.invert_file(path, path.with_name("new.h5"), method=drt.Tikhonov()),
        application,
        lambda path: Watch(path.parent, path, path.with_name("new.h5")).begin(),
    ]
    for function in functions:
        with pytest.raises(drt.FileFormatError, match=message) as caught:
            function(path)
        assert "\n" not in str(caught.value)
        assert SECRET.decode() not in str(caught.value)
    for command, options in commands(path).items():
        done = CliRunner().invoke(app, [command.split()[0], str(path), *map(str, options)])
        with pytest.raises(drt.FileFormatError, match=message):
            raise done.exception
    assert {item.name for item in path.parent.iterdir()} == before
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a pipe"])
def test_what_is_no_file_is_refused_at_once(folder, noisy, kind):
    path = {"device": "/dev/zero", "folder": folder, "pipe": folder / "pipe", "link to a pipe": folder / "link"}[kind]
    (folder / "link").symlink_to("pipe")
    result = drt.invert(noisy, drt.Tikhonov(regularisation=1e-3))
    for function in (
        *(scan, drt.read_spectra, drt.read_inversion, read_tracks, known_files, drt.hdf5.digest),
        lambda path: drt.write_inversion(folder / "new.h5", result, source=path),
        lambda path: drt.invert_file(path, folder / "new.h5"),
        lambda path: add_spectra(path, {"default": noisy}, keep=True),
    ):
        with pytest.raises(drt.FileFormatError, match=r"is not a regular file|is a directory"):
            function(path)
    for command in ("info", "invert", "validate", "peaks", "plot"):
        with pytest.raises(drt.FileFormatError, match=r"is not a regular file|is a directory"):
            raise CliRunner().invoke(app, [command, str(path)]).exception
    os.mkfifo(folder / "job.toml")
    with pytest.raises(drt.FileFormatError, match="expected a job file"):
        raise CliRunner().invoke(app, ["invert", str(folder / "job.toml")]).exception


def test_rows_that_all_refer_to_one_long_text(whole, tmp_path):
    path = tmp_path / "made up.h5"
    shutil.copy(whole, path)

    def one_text(group, name, shape):
        texts = group.create_dataset(name, shape[:1], h5py.string_dtype(), chunks=shape[:1])
        texts[:] = ["x" * 2**20, *"B" * (shape[0] - 1)]
        group.file.flush()
        reference = texts.id.read_direct_chunk((0,))[1][:16]
        texts.id.write_direct_chunk((0,), reference * shape[0])

    with h5py.File(path, "r+") as file:
        everywhere(one_text, "cell")(file, tmp_path)
    for function in (
        drt.read_spectra,
        drt.read_inversion,
        read_tracks,
        lambda path: drt.read_spectra(path, rows=[7, 0, 5, 3, 6, 1]),
        lambda path: drt.invert_file(path, path.with_name("new.h5"), method=drt.Tikhonov()),
    ):
        with pytest.raises(drt.FileFormatError, match="/cell has more text than the file"):
            function(path)


@pytest.mark.parametrize("replaced_by_another", [False, True])
def test_a_file_that_was_found_harmless_is_looked_at_again_once_it_changes(whole, folder, replaced_by_another):
    path, changed = folder / "mine.h5", folder / "changed.h5"
    shutil.copy(whole, path)
    assert len(drt.read_spectra(path)) == ROWS
    shutil.copy(path, changed)
    with h5py.File(changed if replaced_by_another else path, "r+") as file:
        file["mine"] = h5py.ExternalLink("other.h5", "/group")
    if replaced_by_another:
        changed.replace(path)
    with pytest.raises(drt.FileFormatError, match="is a link into another file"):
        drt.read_spectra(path)


def test_a_file_of_many_grids_is_not_looked_through_for_each(whole, tmp_path, monkeypatch):
    path, looks = tmp_path / "mine.h5", []
    shutil.copy(whole, path)
    look_through = inside._look_through
    monkeypatch.setattr(inside, "_look_through", lambda *given: (looks.append(1), look_through(*given)))
    for _ in range(5):
        assert len(drt.read_spectra(path)) == ROWS
    assert len(looks) == 1
    monkeypatch.setattr(inside, "_version", lambda file: None)  # as where the system does not say which version it is
    for _ in range(2):
        assert len(drt.read_spectra(path)) == ROWS
    assert len(looks) == 3


def test_what_is_harmless_is_read(whole, tmp_path):
    path = tmp_path / "mine.h5"
    shutil.copy(whole, path)
    with h5py.File(path, "r+") as file:
        file["mine/notes"] = np.arange(3)
        file["mine/grid"] = h5py.SoftLink("/spectra/default")
        file["mine/again"] = file["mine/notes"]
        file["mine/reference"] = file["spectra"].ref
        file["mine"].create_dataset("empty", (10**9,), "f8")
    assert len(drt.read_spectra(path)) == ROWS
    assert len(drt.read_inversion(path)) == ROWS
    assert [info.name for info in scan(path).processes] == ["default"]
