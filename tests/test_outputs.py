"""Outputs: nothing is replaced that was not meant to be, never an input, and nothing half written is left."""

import csv
import os
import shutil
import signal
from inspect import signature
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine import outputs, plotting
from drt_engine.cli import app
from drt_engine.hdf5 import SpectraWriter, add_spectra, write_tracks
from drt_engine.hdf5.files import NewFile

from .forking import fork

INPUTS = {
    "demo": {},
    "import": {"files": "one.txt", "--states": "states.csv"},
    "info": {"file": "campaign.h5"},
    "clean": {"file": "campaign.h5"},
    "invert": {"file": "campaign.h5"},
    "validate": {"file": "campaign.h5", "--inversion": "campaign.drt.h5"},
    "peaks": {"file": "campaign.drt.h5", "--spectra": "campaign.h5"},
    "plot": {
        "file": "campaign.drt.h5",
        "--spectra": "campaign.h5",
        "--tracks": "tracks.h5",
        "--profile": "profile.csv",
    },
    "export": {"file": "campaign.drt.h5", "--spectra": "campaign.h5", "--tracks": "tracks.h5"},
    "report": {"file": "campaign.drt.h5"},
    "conductivity": {"file": "campaign.h5"},
    "polarisation": {"files": "profile.csv"},
    "composite": {"file": "campaign.h5"},
    # It writes nothing that was there before it.
    "explore": {
        "file": "campaign.drt.h5",
        "--spectra": "campaign.h5",
        "--tracks": "tracks.h5",
        "--profile": "profile.csv",
    },
    # It adds to its files, and has tests of its own of what it leaves alone.
    "watch": {
        "folder": ".",
        "--states": "states.csv",
        "--output": "campaign.h5",
        "--results": "campaign.drt.h5",
    },
}
OUTPUTS = {
    "demo": ("--output",),
    "import": ("--output", "--report"),
    "info": (),
    "clean": ("--output", "--record"),
    "invert": ("--output",),
    "validate": ("--output", "--figure"),
    "peaks": ("--output", "--store", "--tracks", "--tables", "--figure"),
    "plot": ("--output",),
    "export": ("--output",),
    "report": ("--output",),
    "conductivity": ("--output", "--arcs", "--arrhenius", "--figure"),
    "polarisation": ("--output", "--steps", "--figure"),
    "composite": ("--output", "--figure"),
    "explore": (),
    "watch": (),
}
MORE = {
    "clean": ("--drop", "50"),
    "peaks": ("--along", "voltage"),
    "plot": ("--kind", "composite"),
    "export": ("--tables", "results"),
    "composite": ("--connection", "ee"),
}
ENDINGS = {"export": ".csv", "report": ".html"}
FOLDERS = (("demo", "--output"), ("peaks", "--tables"))
HDF5 = (("import", "--output"), ("clean", "--output"), ("invert", "--output"), ("peaks", "--store"))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    simulated = drt.simulate.campaign(drt.simulate.CampaignDesign(cycles=(1,), voltages=2))
    result = drt.invert(simulated.spectra, drt.Tikhonov(regularisation=1e-3))
    drt.write_spectra(folder / "campaign.h5", simulated.spectra)
    drt.write_inversion(folder / "campaign.drt.h5", result)
    write_tracks(folder / "tracks.h5", drt.track(result.peaks(), "voltage", ["cell", "direction"]))
    simulated.profile.to_csv(folder / "profile.csv", index=False)
    (folder / "states.csv").write_text("cell,coating\nA,none\n")
    f = np.logspace(4, -1, 26)
    z = 5 + 20 / (1 + (2j * np.pi * f * 1e-2) ** 0.9)
    np.savetxt(folder / "one.txt", np.c_[f, z.real, -z.imag], header="freq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm", comments="")
    return folder


@pytest.fixture
def folder(originals, tmp_path):
    shutil.copytree(originals, tmp_path / "data")
    return tmp_path / "data"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(name, folder, **changed):
    """Arguments of a command that reads all that it can, with the outputs that are given."""
    first, *options = INPUTS[name].items()
    found = [name, folder / first[1], *MORE.get(name, ())]
    for option, file in options:
        found += [option, folder / file]
    for option, file in changed.items():
        found += [option, file]
    return found


def spelled(kind, path):
    """Another name of a file."""
    other = path.with_name(f"other{path.suffix}")
    if kind == "symbolic link":
        other.symlink_to(path.name)
    elif kind == "hard link":
        other.hardlink_to(path)
    elif kind == "other spelling":
        (path.parent / "sub").mkdir()
        other = path.parent / "sub" / ".." / path.name
    else:
        other = path
    return other


def test_the_tables_name_every_path_of_every_command():
    found = {}
    for entry in app.registered_commands:
        name = entry.name or entry.callback.__name__
        paths = set()
        for key, parameter in signature(entry.callback, eval_str=True).parameters.items():
            kind, *_ = get_args(parameter.annotation) or (parameter.annotation,)
            if Path in (kind, *get_args(kind)):
                option = get_args(parameter.annotation)[1].param_decls
                paths.add(next((text for text in option or () if text[:2] == "--"), f"--{key}"))
        found[name] = paths
    told = {name: {*OUTPUTS[name], *(key if key[0] == "-" else f"--{key}" for key in INPUTS[name])} for name in INPUTS}
    assert found == told


CASES = [
    (name, option, file)
    for name in OUTPUTS
    for option in OUTPUTS[name]
    for file in INPUTS[name].values()
    if (name, option) not in FOLDERS
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["same", "symbolic link", "hard link", "other spelling"])
@pytest.mark.parametrize(("name", "option", "file"), CASES)
def test_no_command_replaces_what_it_reads(folder, name, option, file, kind):
    target = spelled(kind, folder / file)
    before = contents(folder)
    for extra in ((), ("--overwrite",), *((("--append",),) if name == "import" else ())):
        done = run(*command(name, folder, **{option: target}), *extra)
        with pytest.raises(drt.InputError, match="is an input of this run"):
            raise done.exception
        assert contents(folder) == before
    if kind == "symbolic link":
        assert target.is_symlink()


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in OUTPUTS for option in OUTPUTS[name]])
def test_no_command_replaces_a_file_unless_told(folder, name, option):
    if name == "demo":
        (folder / "profile.csv").write_text("mine")
        arguments, target = ["demo", "-o", folder, "--voltages", 2], folder / "profile.csv"
    elif option == "--tables":
        (folder / "tables").mkdir()
        target = folder / "tables" / "cell-B_cycle-1_direction-charge.csv"
        arguments = command(name, folder, **{option: target.parent, "-o": folder / "new.csv"})
    else:
        target = folder / f"target{ENDINGS.get(name, '.png')}"
        arguments = command(name, folder, **{option: target})
    target.write_text("mine")
    before = contents(folder)
    done = run(*arguments)
    with pytest.raises(drt.OutputExistsError, match="exists already"):
        raise done.exception
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("name", "option"),
    [(name, option) for name in OUTPUTS for option in OUTPUTS[name] if (name, option) not in (*FOLDERS, *HDF5)],
)
def test_hdf5_is_not_replaced_by_something_else(folder, name, option):
    target = folder / f"another campaign{ENDINGS.get(name, '.png')}"
    shutil.copy(folder / "campaign.h5", target)
    before = contents(folder)
    done = run(*command(name, folder, **{option: target}), "--overwrite")
    with pytest.raises(drt.OutputExistsError, match="is an HDF5 file"):
        raise done.exception
    assert contents(folder) == before


def test_two_outputs_have_two_names(folder):
    before = contents(folder)
    for name, first, second in (
        ("validate", "--output", "--figure"),
        ("peaks", "--output", "--tracks"),
        ("peaks", "--tracks", "--store"),
        ("import", "--output", "--report"),
        ("clean", "--output", "--record"),
    ):
        target = folder / "new.png"
        done = run(*command(name, folder, **{first: target, second: folder / "." / "new.png"}))
        with pytest.raises(drt.InputError, match="named for two outputs"):
            raise done.exception
    assert contents(folder) == before


def test_a_job_file_is_not_replaced_either(folder):
    job = folder / "job.toml"
    job.write_text('input = "campaign.h5"\noutput = "job.toml"\n[job]\noverwrite = true\n')
    before = contents(folder)
    with pytest.raises(drt.InputError, match="is an input of this run"):
        raise run("invert", job).exception
    assert contents(folder) == before


def test_a_campaign_among_the_measurements_is_made_anew(folder):
    for name in ("campaign.drt.h5", "tracks.h5", "profile.csv", "states.csv"):
        (folder / name).unlink()
    assert run("import", folder, "-o", folder / "campaign.h5", "--overwrite").exit_code == 0
    assert len(drt.read_spectra(folder / "campaign.h5")) == 1


def test_with_overwrite_outputs_are_replaced(folder):
    for name in ("table.csv", "figure.png"):
        (folder / name).write_text("mine")
    done = run("validate", folder / "campaign.h5", "-o", folder / "table.csv", "--overwrite")
    assert done.exit_code == 0
    with open(folder / "table.csv") as file:
        assert len(list(csv.reader(file))) == 9
    done = run("plot", folder / "campaign.drt.h5", "--kind", "gamma", "-o", folder / "figure.png", "--overwrite")
    assert done.exit_code == 0
    assert (folder / "figure.png").read_bytes()[:4] == b"\x89PNG"


# Functions

WRITERS = (
    *("write_spectra", "SpectraWriter", "add_spectra", "write_inversion", "write_tracks", "invert_file"),
    *("new_file", "save"),
)


def functions(folder):
    spectra = drt.read_spectra(folder / "campaign.h5")
    result = drt.read_inversion(folder / "campaign.drt.h5")
    tracks = drt.read_tracks(folder / "tracks.h5")

    def job(path, overwrite):
        drt.invert_file(folder / "campaign.h5", path, method=drt.Tikhonov(regularisation=1e-3), overwrite=overwrite)

    def writer(path, overwrite):
        with SpectraWriter(path, overwrite=overwrite) as file:
            file.append(spectra)

    def text(path, overwrite):
        with outputs.new_file(path, overwrite=overwrite) as partial:
            partial.write_text("text")

    return {
        "write_spectra": lambda path, overwrite: drt.write_spectra(path, spectra, overwrite=overwrite),
        "SpectraWriter": writer,
        "add_spectra": lambda path, overwrite: add_spectra(path, {"a": spectra}, keep=False, overwrite=overwrite),
        "write_inversion": lambda path, overwrite: drt.write_inversion(path, result, overwrite=overwrite),
        "write_tracks": lambda path, overwrite: write_tracks(path, tracks, overwrite=overwrite),
        "invert_file": job,
        "new_file": text,
        "save": lambda path, overwrite: plotting.save(Figure(), path, overwrite=overwrite),
    }


@pytest.mark.parametrize("name", WRITERS)
def test_functions_replace_only_what_they_are_told(folder, name):
    write = functions(folder)[name]
    target = folder / "target.png"
    target.write_text("mine")
    with pytest.raises(drt.OutputExistsError, match="exists already"):
        write(target, False)
    assert target.read_text() == "mine"
    write(target, True)
    assert target.read_bytes() != b"mine"
    shutil.copy(folder / "campaign.h5", target)
    if name in ("new_file", "save"):
        with pytest.raises(drt.OutputExistsError, match="is an HDF5 file"):
            write(target, True)
        assert target.read_bytes() == (folder / "campaign.h5").read_bytes()
    for path in (folder, Path(os.devnull)):
        with pytest.raises((drt.OutputExistsError, drt.InputError), match=r"not a file|suffix"):
            write(path, True)


def test_functions_do_not_replace_their_source(folder):
    result, tracks = drt.read_inversion(folder / "campaign.drt.h5"), drt.read_tracks(folder / "tracks.h5")
    before = contents(folder)
    (folder / "link.h5").symlink_to("campaign.h5")
    for write in (
        lambda: drt.write_inversion(folder / "link.h5", result, source=folder / "campaign.h5", overwrite=True),
        lambda: drt.write_inversion(folder / "campaign.h5", result, source=folder / "link.h5", overwrite=True),
        lambda: write_tracks(folder / "campaign.h5", tracks, source=folder / "campaign.h5", overwrite=True),
        lambda: drt.invert_file(folder / "campaign.h5", folder / "link.h5", overwrite=True),
    ):
        with pytest.raises(drt.InputError, match="is an input of this run"):
            write()
    (folder / "link.h5").unlink()
    assert contents(folder) == before


# What killed writers leave


def killed_while_writing(path, write):
    """Let another process write, and kill it when it has begun; what it left."""
    before = set(path.parent.iterdir())
    os.waitpid(fork(write), 0)
    return set(path.parent.iterdir()) - before


def kill_me():
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_writer_left_is_removed_by_the_next(folder, noisy):
    def hdf5():
        with NewFile(folder / "new.h5"):
            kill_me()

    def text():
        with outputs.new_file(folder / f"{'long name ' * 24}.csv"):
            kill_me()

    (one,) = killed_while_writing(folder / "x", hdf5)
    (two,) = killed_while_writing(folder / "x", text)
    assert one.name.endswith(".partial")
    drt.write_spectra(folder / "another.h5", noisy)
    assert not one.exists()
    assert not two.exists()
    (three,) = killed_while_writing(folder / "x", hdf5)
    with outputs.new_file(folder / "another.csv"):
        assert not three.exists()


def test_what_is_alive_or_not_ours_is_left_alone(folder, noisy):
    strangers = [folder / ".a.h5.0123456789abcdef.drt-engine.partial", folder / ".a.h5.0123.partial"]
    for path in strangers:
        path.write_text("mine")
    link = outputs.provisional_path(folder / "b.h5")
    link.symlink_to(strangers[0].name)
    pipe = outputs.provisional_path(folder / "c.h5")
    os.mkfifo(pipe)
    with outputs.new_file(folder / "slow.csv") as partial:
        partial.write_text("slow")
        drt.write_spectra(folder / "quick.h5", noisy)
        assert partial.exists()
    assert (folder / "slow.csv").read_text() == "slow"
    assert all(path.read_text() == "mine" for path in strangers)
    assert link.is_symlink()
    assert pipe.exists()


def test_a_full_disk_is_one_line(folder):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = contents(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        for write in (
            lambda: plotting.save(Figure(), folder / "a.png"),
            lambda: run("validate", folder / "campaign.h5", "-o", folder / "a.csv"),
        ):
            with pytest.raises(drt.errors.FileWriteError, match=r"^[^\n]*a\.\w+: cannot be written: File too large\.$"):
                raise getattr(write(), "exception", None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(folder) == before
