"""Files that cannot be read or written: one line that says why, and nothing half written."""

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import FileWriteError
from drt_engine.hdf5 import SpectraWriter, scan
from drt_engine.hdf5.disk import Disk
from drt_engine.hdf5.reader import opened_grid


@pytest.fixture(scope="module")
def spectra(noisy):
    states = {"cell": list("BBCCCC"), "cycle": np.arange(6), "voltage": np.linspace(2.2, 4.7, 6)}
    return drt.Spectra(noisy.frequency, noisy.impedance, states)


@pytest.fixture(scope="module")
def inversion(spectra):
    return drt.invert(spectra, drt.Tikhonov(basis="piecewise-linear", regularisation=1e-3))


@pytest.fixture
def campaign(tmp_path, spectra):
    """A file with two grids."""
    path = tmp_path / "campaign.h5"
    other = drt.Spectra(np.logspace(4, 0, 9), np.ones((3, 9)) * (2 - 1j), {"cell": ["X", "Y", "Z"]})
    drt.write_spectra(path, {"long": spectra, "short": other})
    return path


# Whole or not at all


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, drt.InputError])
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_nothing_half_written_appears(tmp_path, spectra, error, before):
    path = tmp_path / "a.h5"
    if before is not None:
        path.write_bytes(before)

    def half():
        with SpectraWriter(path, overwrite=True) as writer:
            writer.append(spectra)
            raise error

    with pytest.raises(error):
        half()
    assert [item.read_bytes() for item in tmp_path.iterdir()] == ([] if before is None else [before])


def test_does_not_appear_before_it_is_whole(tmp_path, spectra):
    with SpectraWriter(tmp_path / "a.h5") as writer:
        writer.append(spectra)
        assert not (tmp_path / "a.h5").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]


def test_existing_files_are_refused(tmp_path, spectra, inversion):
    path = tmp_path / "a.h5"
    path.write_bytes(b"mine")
    for write, what in ((drt.write_spectra, spectra), (drt.write_inversion, inversion)):
        with pytest.raises(drt.OutputExistsError, match=r"a\.h5: exists already"):
            write(path, what)
    with pytest.raises(drt.OutputExistsError, match="not a file"):
        drt.write_spectra(tmp_path, spectra, overwrite=True)
    assert path.read_bytes() == b"mine"
    drt.write_spectra(path, spectra, overwrite=True)
    assert len(drt.read_spectra(path)) == 6


def test_a_file_that_comes_meanwhile_is_left_alone(tmp_path, spectra):
    path = tmp_path / "a.h5"

    def late():
        with SpectraWriter(path) as writer:
            writer.append(spectra)
            path.write_bytes(b"mine")

    with pytest.raises(drt.OutputExistsError, match="meanwhile"):
        late()
    assert [item.read_bytes() for item in tmp_path.iterdir()] == [b"mine"]


def test_file_systems_without_links(tmp_path, spectra, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    drt.write_spectra(tmp_path / "a.h5", spectra)
    assert len(drt.read_spectra(tmp_path / "a.h5")) == 6
    assert len(list(tmp_path.iterdir())) == 1


def test_no_folder(tmp_path, spectra):
    with pytest.raises(FileWriteError, match=r"folder .*nowhere does not exist"):
        drt.write_spectra(tmp_path / "nowhere" / "a.h5", spectra)


@pytest.mark.parametrize("room", [100, 3_000, 50_000, 400_000, 1_500_000])
def test_full_disk_is_one_line(tmp_path, room):
    # A limit on the size of files fails where a full disk does: in the middle of a write, or when HDF5 closes.
    resource = pytest.importorskip("resource")
    some = drt.Spectra(np.logspace(5, 0, 50), np.ones((2_000, 50)), {"cell": ["a"] * 2_000})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(FileWriteError, match=r"^[^\n]*a\.h5: cannot be written: File too large\.$"):
            drt.write_spectra(tmp_path / "a.h5", some)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_disk_keeps_what_it_could_not_write(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    found = bytearray(b"-" * 16)
    with Disk(tmp_path / "a") as disk:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            assert (disk.write(b"12345678"), disk.error) == (8, None)
            assert disk.write(b"abcdef") == 6
            assert isinstance(disk.error, OSError)
            disk.seek(4)
            assert disk.write(b"XY") == 2
            disk.truncate(2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        disk.seek(0)
        assert disk.readinto(found) == 16
        assert found == b"1234XY78abcdef\0\0"
        disk.seek(5)
        disk.readinto(found)
        assert found == b"Y78abcdef" + bytes(7)
    with pytest.raises(FileExistsError):
        Disk(tmp_path / "a")


def test_writes_from_any_thread(tmp_path, spectra):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(drt.write_spectra, tmp_path / "a.h5", spectra).result()
    assert len(drt.read_spectra(tmp_path / "a.h5")) == 6


# Damage


def at(path, change):
    def damage(file):
        change(file["spectra/long"] if path is None else file[path])

    return damage


def replaced(name, values, **attributes):
    def change(group):
        if name in group:
            attributes.setdefault("units", group[name].attrs.get("units", "1"))
            del group[name]
        group[name] = values
        group[name].attrs.update(attributes)

    return at(None, change)


BROKEN = {
    "no format": (at("/", lambda root: root.attrs.pop("format")), "not of this format"),
    "other format": (at("/", lambda root: root.attrs.modify("format", "other")), "not of this format"),
    "newer": (at("/", lambda root: root.attrs.modify("format_version", 2)), "version 2; .*up to 1.*Update"),
    "no number": (at("/", lambda root: root.attrs.create("format_version", "1")), "whole number from 1; got '1'"),
    "no spectra": (at("/", lambda root: root.pop("spectra")), "holds no spectra"),
    "no grid": (at("/", lambda root: [root["spectra"].pop(name) for name in ("long", "short")]), "holds no spectra"),
    "no dataset": (at(None, lambda group: group.pop("impedance_imag")), "/spectra/long/impedance_imag is missing"),
    "no frequency": (at(None, lambda group: group.pop("frequency")), "/spectra/long/frequency is missing"),
    "a group": (at(None, lambda group: [group.pop("cell"), group.create_group("cell")]), "cell is a group"),
    "no states": (at(None, lambda group: group.attrs.pop("states")), "attribute states.*got none"),
    "states no JSON": (at(None, lambda group: group.attrs.modify("states", "cell")), "attribute states, a JSON list"),
    "states no list": (at(None, lambda group: group.attrs.modify("states", "{}")), "attribute states, a JSON list"),
    "states no names": (at(None, lambda group: group.attrs.modify("states", '["gamma"]')), "invalid attribute states"),
    "state missing": (at(None, lambda group: group.pop("cycle")), "/spectra/long/cycle is missing"),
    "rows": (replaced("impedance_imag", np.ones((5, 36))), r"shape \(5, 36\); expected \(6, 36\)"),
    "columns": (replaced("impedance_real", np.ones((6, 35))), r"shape \(6, 35\); expected \(6, 36\)"),
    "dimensions": (replaced("impedance_real", np.ones(6)), r"shape \(6,\); expected \(any, 36\)"),
    "scalar": (replaced("frequency", 1.0), r"shape \(\); expected \(any,\)"),
    "empty": (replaced("frequency", h5py.Empty("f8")), "frequency is empty"),
    "state shape": (replaced("cycle", np.ones(7)), r"cycle has shape \(7,\); expected \(6,\)"),
    "text": (replaced("frequency", ["a"] * 36), "expected real numbers"),
    "whole numbers": (replaced("impedance_real", np.ones((6, 36), dtype=int)), "int64; expected real numbers"),
    "complex state": (replaced("cycle", np.ones(6) * 1j), "expected numbers or text"),
    "wrong unit": (replaced("frequency", np.logspace(2, 0, 36), units="rad/s"), "unit 'rad/s'; expected 'Hz'"),
    "no unit": (at("spectra/long/impedance_real", lambda data: data.attrs.pop("units")), "no attribute units"),
    "state unit": (at("spectra/long/voltage", lambda data: data.attrs.create("units", "mV")), "'mV'; expected 'V'"),
    "bad values": (replaced("frequency", np.arange(36.0)), "got 0 Hz at index 0"),
    "repeated": (replaced("frequency", np.ones(36)), "must not repeat"),
}


@pytest.mark.parametrize(("damage", "cause"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_one_line(campaign, damage, cause):
    with h5py.File(campaign, "a") as file:
        damage(file)
    before = campaign.read_bytes()
    for read in (drt.read_spectra, lambda path, grid: drt.invert_file(path, path.with_name("out.h5"))):
        with pytest.raises(drt.FileFormatError, match=rf"^[^\n]*campaign\.h5: [^\n]*{cause}[^\n]*$"):
            read(campaign, "long")
    assert [item.name for item in campaign.parent.iterdir()] == ["campaign.h5"]
    assert campaign.read_bytes() == before


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-5000])


def _missing(path):
    path.unlink()


def _folder(path):
    path.unlink()
    path.mkdir()


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


NO_FILE = {
    "a pipe": (_pipe, "is not a regular file"),
    "missing": (_missing, "does not exist"),
    "a directory": (_folder, "is a directory"),
    "text": (lambda path: path.write_text("frequency,real,imag\n" * 100), "is not an HDF5 file"),
    "empty": (lambda path: path.write_bytes(b""), "is not an HDF5 file"),
    "truncated": (_truncated, "damaged or incomplete"),
}


@pytest.mark.parametrize(("damage", "cause"), NO_FILE.values(), ids=NO_FILE)
def test_what_is_no_file_is_one_line(campaign, damage, cause):
    damage(campaign)
    for read in (drt.read_spectra, drt.read_inversion, scan):
        with pytest.raises(drt.FileFormatError, match=rf"^[^\n]*campaign\.h5: [^\n]*{cause}[^\n]*$"):
            read(campaign)


def test_no_permission_is_one_line(campaign, monkeypatch):
    # A superuser may read everything, so the system's solution is given here.
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(drt.FileFormatError, match=r"campaign\.h5: may not be read: permission denied"):
        drt.read_spectra(campaign)


def test_other_kinds_of_broken_inversions(tmp_path, inversion):
    path = tmp_path / "a.h5"
    drt.write_inversion(path, inversion)
    group = "inversions/default/default"
    size = inversion.tau.size
    cases = {
        "tau must ascend": lambda file: file[f"{group}/tau"].write_direct(np.ones(size)),
        "basis 'cubic' is not known": lambda file: file[group].attrs.modify("basis", "cubic"),
        "method 'Magic' is not known": lambda file: file[group].attrs.modify("settings", '{"name": "Magic"}'),
        "settings that is not JSON": lambda file: file[group].attrs.modify("settings", "{"),
        "settings that is not a JSON object": lambda file: file[group].attrs.modify("settings", "[]"),
        "attribute mu": lambda file: file[group].attrs.pop("mu"),
        "status holds float64": lambda file: [
            file.pop(f"{group}/status"),
            file.create_dataset(f"{group}/status", data=np.ones(6)),
        ],
        "holds no inversions": lambda file: file.pop("inversions"),
    }
    whole = path.read_bytes()
    for cause, damage in cases.items():
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            damage(file)
        with pytest.raises(drt.FileFormatError, match=rf"^[^\n]*a\.h5: [^\n]*{cause}[^\n]*$"):
            drt.read_inversion(path)


# Damage anywhere: what is read is what was written, or an error

READER = """
import sys, warnings
warnings.simplefilter("error")
import drt_engine as drt

def read(path):
    return drt.read_inversion(path) if path.endswith(".drt.h5") else drt.read_spectra(path)

def arrays(found):
    kept = ("frequency", "impedance") if isinstance(found, drt.Spectra) else (
        "frequency", "tau", "coefficients", "r_inf", "inductance", "capacitance", "regularisation", "residual", "kkt",
        "status")
    return [getattr(found, name).tobytes() for name in kept]

whole = {}
for line in sys.stdin:
    path, original = line.rstrip("\\n").split("\\t")
    if original not in whole:
        whole[original] = read(original)
    expected = whole[original]
    try:
        found = read(path)
    except drt.FileFormatError as error:
        one_line = str(error).startswith(path + ": ") and len(str(error).splitlines()) == 1
        print("error" if one_line else repr(error), flush=True)
        continue
    same = arrays(found) == arrays(expected) and found.states.equals(expected.states)
    print("same" if same else "altered", flush=True)
"""


def outcomes(pairs):
    """What reading the first of each pair gives, in a process of its own: HDF5 may crash on damage, or never return."""
    lines = "".join(f"{damaged}\t{original}\n" for damaged, original in pairs)
    command = [sys.executable, "-c", READER]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
    found = done.stdout.splitlines()
    assert done.returncode == 0, f"{pairs[len(found)]}: {done.stderr}"
    return found


def _flip(data, rng):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _overwrite(data, rng):
    first = rng.randrange(len(data))
    data[first : first + 40] = rng.randbytes(len(data[first : first + 40]))
    return data


def _zero_sector(data, rng):
    first = 512 * rng.randrange(len(data) // 512)
    data[first : first + 512] = bytes(512)
    return data


def _cut(data, rng):
    return data[: rng.randrange(len(data))]


@pytest.fixture(scope="module")
def originals(tmp_path_factory, spectra):
    """Files with text of every kind: short, missing, long, repeated, and longer in a later block."""
    folder = tmp_path_factory.mktemp("whole")
    paths = [folder / name for name in ("plain.h5", "packed.h5", "grown.h5", "plain.drt.h5", "packed.drt.h5")]
    rows = 30
    states = {
        "cell": list("BC") * (rows // 2),
        "note": [None if k % 7 == 0 else f"spectrum µ {k}" for k in range(rows)],
        "protocol": ["C/10 until 4.7 V, then rest for one hour 🔋"] * rows,
        "cycle": range(rows),
    }
    some = drt.Spectra(spectra.frequency, np.tile(spectra.impedance, (5, 1)), states)
    result = drt.invert(some, drt.Tikhonov(basis="piecewise-linear", regularisation=1e-3))
    drt.write_spectra(paths[0], some)
    drt.write_spectra(paths[1], some, compression="gzip")
    frequency = np.logspace(4, 0, 2048)  # 32 rows in a chunk
    with SpectraWriter(paths[2], compression="gzip") as writer:
        for block in range(3):
            note = {"note": [f"{k:0{8 + 12 * block}d}" for k in range(32)]}
            writer.append(drt.Spectra(frequency, np.ones((32, frequency.size)) * (1 - 1j), note))
    drt.write_inversion(paths[3], result)
    drt.write_inversion(paths[4], result, compression="gzip", dtype="float32")
    return paths


@pytest.mark.slow
def test_damage_is_noticed_or_does_no_harm(tmp_path, originals):
    rng = random.Random(7)
    pairs = []
    for number in range(200):
        original = originals[number % len(originals)]
        change = (_flip, _zero_sector, _overwrite, _zero_sector, _flip, _cut)[number % 6]
        damaged = tmp_path / f"{number}{original.name[original.name.index('.') :]}"
        damaged.write_bytes(change(bytearray(original.read_bytes()), rng))
        pairs.append((damaged, original))
    found = outcomes(pairs)
    assert {pair: outcome for pair, outcome in zip(pairs, found, strict=True) if outcome not in ("same", "error")} == {}
    assert found.count("error") > 50
    assert found.count("same") > 20


@pytest.mark.slow
def test_chunks_that_the_index_lost_are_noticed(tmp_path, originals):
    # A node of the index: a signature, 20 bytes, then keys and addresses in turn. The key after the last address bounds
    # it, and is of no use but for finding it.
    pairs = []
    for original in originals:
        data = original.read_bytes()
        at = data.find(b"TREE\x01")
        while at >= 0:
            entries = int.from_bytes(data[at + 6 : at + 8], "little")
            for key in (32, 40):  # of one dimension and of two
                end = at + 24 + entries * (key + 8)
                damaged = (
                    tmp_path / f"{original.name.split('.')[0]}-{at}-{key}{original.name[original.name.index('.') :]}"
                )
                damaged.write_bytes(data[:end] + bytes(key) + data[end + key :])
                pairs.append((damaged, original))
            at = data.find(b"TREE\x01", at + 1)
    found = outcomes(pairs)
    assert set(found) <= {"same", "error"}
    assert found.count("error") > 20


def test_chunks_that_are_not_there_are_one_line(campaign):
    with h5py.File(campaign, "a") as file:
        group = file["spectra/long"]
        del group["cycle"]
        group.create_dataset("cycle", (6,), "i8", chunks=(4,), fletcher32=True)[:4] = 1
        group.create_dataset("free", (6,), "i8", chunks=(4,))[:4] = 1
        group.attrs["states"] = '["cycle"]'
    with pytest.raises(drt.FileFormatError, match="/spectra/long/cycle is damaged: rows 4 to 5 cannot be found"):
        drt.read_spectra(campaign, "long")
    assert drt.read_spectra(campaign, "long", rows=slice(0, 4)).states["cycle"].tolist() == [1] * 4
    with opened_grid(campaign, "long") as reader:
        assert reader.read("cycle", slice(1, 4)).tolist() == [1] * 3
        for rows in (None, slice(3, 5), slice(5, 6)):
            with pytest.raises(drt.FileFormatError, match="rows 4 to 5 cannot be found"):
                reader.read("cycle", rows)
        with pytest.raises(drt.FileFormatError, match="rows 4 to 5 cannot be found"):
            reader.states(None)
    with h5py.File(campaign, "a") as file:
        file["spectra/long"].attrs["states"] = '["free"]'
    # Without checksums what is not there is empty on purpose.
    assert drt.read_spectra(campaign, "long").states["free"].tolist() == [1] * 4 + [0] * 2


def test_a_chunk_without_its_checksum_is_refused(campaign):
    with h5py.File(campaign, "a") as file:
        group = file["spectra/long"]
        for name, mask, size in (("unchecked", 1, 48), ("whole", 0, 52)):
            dataset = group.create_dataset(name, (6,), "i8", chunks=(6,), fletcher32=True)
            dataset[:] = 1
            _, stored = dataset.id.read_direct_chunk((0,))
            dataset.id.write_direct_chunk((0,), stored[:size], filter_mask=mask)
        group.attrs["states"] = '["unchecked", "whole"]'
    with pytest.raises(drt.FileFormatError, match="/unchecked is damaged: rows 0 to 5 cannot be found"):
        drt.read_spectra(campaign, "long")
    with h5py.File(campaign, "a") as file:
        file["spectra/long"].attrs["states"] = '["whole"]'
    assert drt.read_spectra(campaign, "long").states["whole"].tolist() == [1] * 6


def test_what_gzip_would_make_larger_is_read(campaign):
    # HDF5 keeps such chunks as they are and marks that gzip was left out.
    with h5py.File(campaign, "a") as file:
        group = file["spectra/long"]
        options = {"shuffle": True, "fletcher32": True}
        for name, size in (("packed", 6), ("damaged", 4)):
            plain = group.create_dataset(f"plain {size}", data=np.arange(size), chunks=(size,), **options)
            packed = group.create_dataset(name, data=np.arange(6), chunks=(6,), compression="gzip", **options)
            packed.id.write_direct_chunk((0,), plain.id.read_direct_chunk((0,))[1], filter_mask=2)
        group.attrs["states"] = '["packed"]'
    assert drt.read_spectra(campaign, "long").states["packed"].tolist() == list(range(6))
    with h5py.File(campaign, "a") as file:
        file["spectra/long"].attrs["states"] = '["damaged"]'
    with pytest.raises(drt.FileFormatError, match="/damaged is damaged: rows 0 to 5 cannot be found"):
        drt.read_spectra(campaign, "long")


def test_a_campaign_without_inversions_says_what_to_do_first(tmp_path):
    f = np.logspace(3, 0, 7)
    drt.write_spectra(tmp_path / "a.h5", drt.Spectra(f, [10 + 5 / (1 + 1j * f)]))
    with pytest.raises(drt.FileFormatError, match=r"holds no inversions.*Invert it first"):
        drt.read_inversion(tmp_path / "a.h5")
