"""Damaged copies: an error that names file and place, or nothing that differs from what was measured."""

import random
import re

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import ReadOptions, read_file

from .made import mpt, points, text_table

F = np.logspace(5, -2, 29)
SEVEN = ("time/s", "cycle number", "freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "|Z|/Ohm", "Phase(Z)/deg")
COPIES = 300


def cut(raw, rng):
    return raw[: rng.randrange(len(raw))]


def flip(raw, rng):
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]


def junk(raw, rng):
    at = rng.randrange(len(raw))
    many = rng.randrange(1, 60)
    return raw[:at] + rng.randbytes(many) + raw[at + many :]


def drop(raw, rng):
    lines = raw.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return b"".join(lines[:at] + lines[at + 1 :])


def double(raw, rng):
    lines = raw.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return b"".join([*lines[:at], lines[at], *lines[at:]])


PLACE = re.compile(r", (?:line|byte|row|record|column types)\b")
DAMAGE = (cut, flip, junk, drop, double)


def outcome(path, original, options):
    """Return "error", or what became of the sweeps."""
    try:
        read = read_file(path, options=options)
    except FileFormatError as error:
        return "error" if str(path) in str(error) and PLACE.search(str(error)) else f"unnamed: {error}"
    truth = {(s.frequency.tobytes(), s.impedance.tobytes()) for s in original.sweeps}
    wrong = [s for s in read.finished if (s.frequency.tobytes(), s.impedance.tobytes()) not in truth]
    return "wrong" if any(not close(sweep, original) for sweep in wrong) else "right"


def close(sweep, original):
    """Say whether a sweep is an original one, or its beginning, within what its redundant columns can tell."""
    n = len(sweep)
    return any(
        n <= len(true)
        and np.allclose(sweep.frequency, true.frequency[:n], rtol=4e-3)
        and np.all(np.abs(sweep.impedance - true.impedance[:n]) <= 4e-3 * np.abs(true.impedance[:n]))
        for true in original.sweeps
    )


def damaged(path, raw, options, kinds=DAMAGE, copies=COPIES):
    path.write_bytes(raw)
    original = read_file(path, options=options)
    assert len(original.finished) == len(original.sweeps) > 0
    rng = random.Random(7)
    counts = {}
    for number in range(copies):
        kind = kinds[number % len(kinds)]
        path.write_bytes(kind(raw, rng))
        what = kind.__name__, outcome(path, original, options)
        counts[what] = counts.get(what, 0) + 1
    return counts


@pytest.mark.slow
def test_text_of_ec_lab(tmp_path):
    raw = mpt(points(2, F), fi=100, ff=10).encode("cp1252")
    counts = damaged(tmp_path / "a.mpt", raw, ReadOptions())
    assert not [what for what in counts if what[1] not in ("right", "error")]
    assert counts["cut", "error"] >= 50
    assert counts["junk", "error"] >= 50


@pytest.mark.slow
@pytest.mark.parametrize("heading", [True, False])
def test_tables_with_modulus_and_phase(tmp_path, heading):
    raw = text_table(points(3, F), SEVEN, heading_line=heading).encode()
    options = ReadOptions() if heading else ReadOptions(columns="time,cycle,frequency,re,-im,|z|,phase")
    counts = damaged(tmp_path / "a.txt", raw, options, kinds=(cut, junk, drop, double))
    assert not [what for what in counts if what[1] not in ("right", "error")]
    assert counts["cut", "error"] >= 60


@pytest.mark.slow
def test_impedances_with_modulus_and_phase_survive_no_flipped_bit(tmp_path):
    """A flipped digit of a frequency alone shows nowhere; those of the impedance do."""
    lines = text_table(points(1, F), SEVEN).splitlines(keepends=True)
    path = tmp_path / "a.txt"
    path.write_text("".join(lines))
    original = read_file(path)
    rng = random.Random(3)
    for _ in range(COPIES):
        at = rng.randrange(1, len(lines))
        cells = lines[at].rstrip("\n").encode().split(b"\t")
        column = rng.choice([3, 4, 5, 6])
        cells[column] = flip(cells[column], rng)
        path.write_bytes("".join(lines[:at]).encode() + b"\t".join(cells) + b"\n" + "".join(lines[at + 1 :]).encode())
        assert outcome(path, original, ReadOptions()) != "wrong"


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", ["PEIS_SSB.mpr", "PEIS_LPSCl_IonBlocking_-25C.mpr"])
def test_binaries_of_ec_lab(real_data, tmp_path, name):
    pytest.importorskip("galvani")
    raw = (real_data / "solid_state" / name).read_bytes()
    counts = damaged(tmp_path / "a.mpr", raw, ReadOptions(), kinds=(cut, flip, junk))
    assert not [what for what in counts if what[1] not in ("right", "error")]
    assert counts["cut", "error"] == 100
