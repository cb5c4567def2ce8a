"""Small synthetic instrument files with known spectra, damage done to them, and what may come of it."""

import re

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import read_file

FREQUENCY = np.logspace(4, -1, 26)  # five points a decade
STEP = np.log(10) / 5


def impedance(frequency=FREQUENCY, scale=1.0):
    """Inductive at the top, two arcs below: the imaginary part has both signs."""
    s = 2j * np.pi * frequency
    z = 12 + 4e-4 * s + 80 / (1 + (s * 2e-3) ** 0.9) + 40 / (1 + s * 0.4)
    return scale * z


def spaced(*cells, digits=7):
    return [f"{cell:.{digits - 1}E}" if isinstance(cell, float) else str(cell) for cell in cells]


def check_true(recording, frequency, z, tolerance=1e-6):
    """The one sweep of the file is the true one, in the order of the file."""
    (sweep,) = recording.sweeps
    np.testing.assert_allclose(sweep.frequency, frequency, rtol=1e-6)
    assert np.max(np.abs(sweep.impedance - z) / np.abs(z)) < tolerance
    return sweep


def damaged(content, count=40, seed=0):
    """Yield what was done, and copies with it: cut, bytes flipped or lost, lines lost, doubled or exchanged."""
    rng = np.random.default_rng(seed)
    lines = content.splitlines(keepends=True)
    for number in range(count):
        kind = ("cut", "flip", "flip", "lose byte", "lose line", "double line", "exchange lines")[number % 7]
        at, line = int(rng.integers(1, len(content))), int(rng.integers(0, len(lines) - 1))
        if number % 2:  # the header is often the longer part
            at = int(rng.integers(len(content) // 3, len(content)))
            line = int(rng.integers(len(lines) // 3, len(lines) - 1))
        if kind == "cut":
            yield f"cut at {at}", content[:at]
        elif kind == "flip":
            byte = int(rng.choice([*b"0123456789.,-+eE \t\n\r;xyz\xb0\x00", int(rng.integers(256))]))
            yield (
                f"byte {at} {content[at : at + 1]!r} -> {bytes([byte])!r}",
                content[:at] + bytes([byte]) + content[at + 1 :],
            )
        elif kind == "lose byte":
            yield f"byte {at} {content[at : at + 1]!r} lost", content[:at] + content[at + 1 :]
        else:
            some = list(lines)
            if kind == "lose line":
                some.pop(line)
            elif kind == "double line":
                some.insert(line, some[line])
            else:
                some[line], some[line + 1] = some[line + 1], some[line]
            yield f"{kind} {line + 1}", b"".join(some)


def outcome(path, content, reader):
    """The recording, or None for a refusal that names the file and a place in it."""
    path.write_bytes(content)
    try:
        return read_file(path, reader=reader)
    except FileFormatError as error:
        message = str(error)
    assert str(path) in message
    assert re.search(r"(?:line|byte) \d+", message), message
    return None


def refused(path, content, reader, words):
    """The file is refused for this reason; return the line or byte that the message names."""
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=words) as error:
        read_file(path, reader=reader)
    message = str(error.value)
    assert str(path) in message
    place = re.search(r"(?:line|byte) (\d+)", message)
    assert place, message
    return int(place[1])


def deviations(recording, frequency, z):
    """How far each point that was read is from the true ones: steps in ln f, and |dZ|/|Z| of the nearest one."""
    f = np.concatenate([sweep.frequency for sweep in recording.sweeps])
    got = np.concatenate([sweep.impedance for sweep in recording.sweeps])
    by_f = np.abs(np.log(f[:, None] / frequency)) / STEP
    by_z = np.abs(got[:, None] - z) / np.abs(z)  # tells which point it is, unless the impedance was damaged
    nearest = np.where(by_z.min(axis=1) < 5e-3, by_z.argmin(axis=1), by_f.argmin(axis=1))
    return np.abs(np.log(f / frequency[nearest])) / STEP, np.abs(got - z[nearest]) / np.abs(z[nearest])


def check_damaged(path, content, reader, frequency, z, *, confirmed, counted, tolerance=2e-5, count=40, seed=0):
    """Every damaged copy is refused with a place, or gives true points; what nothing in the file confirms may differ.

    Where a second printing confirms the impedances (`confirmed`), each is true to the digits. Otherwise one point may
    differ, the damaged one. A frequency that is out by half a step is remarked on, and so is the loss of points where
    the file says how many or how far (`counted`).
    """
    refusals = 0
    for what, copy in damaged(content, count, seed):
        recording = outcome(path, copy, reader)
        if recording is None:
            refusals += 1
            continue
        steps, off = deviations(recording, frequency, z)
        assert np.count_nonzero((off > tolerance) | (steps > 1e-4)) <= 1, (what, off, steps)
        assert steps.size <= frequency.size + 1, what
        if confirmed:
            assert np.all(off <= tolerance), (what, off.max())
        if np.any(steps > 0.6):
            assert recording.remarks, (what, steps.max())
        if counted and steps.size < frequency.size - 1:
            assert recording.remarks, (what, steps.size)
    assert 3 <= refusals < count


def junk(path, reader):
    """Empty, binary, one long line, other text: all refused with a place."""
    rng = np.random.default_rng(1)
    refused(path, b"", reader, "empty")
    refused(path, rng.integers(0, 256, 3000, dtype=np.uint8).tobytes(), reader, ".")
    refused(path, bytes(3 * 2**20), reader, "line of more than|NUL")
    refused(path, b"A line of words.\nAnother one.\n" * 20, reader, ".")
