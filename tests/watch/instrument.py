"""A made-up instrument that writes sweeps in four formats into a folder, point by point, some of them broken."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.readers import made, test_biologic, test_gamry

FREQUENCY = np.logspace(4, -1, 26)


def impedance(number, seed=1):
    """One arc that grows from sweep to sweep, with 0.1 % noise."""
    rng = np.random.default_rng([seed, number])
    z = 10 + (50 + 0.1 * number) / (1 + (2j * np.pi * FREQUENCY * 3e-3) ** 0.85)
    return z * (1 + 1e-3 * (rng.standard_normal(z.size) + 1j * rng.standard_normal(z.size)) / np.sqrt(2))


def rows(number, cycle=1, sweeps=1):
    """Rows of an EC-Lab file with some sweeps."""
    return [
        {"f": f, "z": z, "t": 100.0 * k + j, "v": 3.5 + 0.001 * j, "i": 0.002, "q": 7.2, "n": cycle + k}
        for k in range(sweeps)
        for j, (f, z) in enumerate(zip(FREQUENCY.tolist(), impedance(number + k).tolist(), strict=True))
    ]


def csv(number):
    z = impedance(number)
    lines = [f"{f:.6E},{a:.6E},{b:.6E}" for f, a, b in zip(FREQUENCY, z.real, -z.imag, strict=True)]
    return ("\n".join(["freq/Hz,Re(Z)/Ohm,-Im(Z)/Ohm", *lines]) + "\n").encode()


def dta(number):
    lines = [*test_gamry.header(), *test_gamry.table(FREQUENCY, impedance(number))]
    return test_gamry.content(lines)


def mpt(number, sweeps=1):
    return made.mpt(rows(number, sweeps=sweeps), fi=10, ff=100).encode("latin-1")


def mpr(number):
    return test_biologic.mpr(rows(number))


@dataclass(frozen=True)
class Piece:
    """Bytes that are added to a file at a moment, s after the beginning."""

    at: float
    name: str
    content: bytes


def by_lines(name, content, begin, length, *, header):
    """A text that grows line by line, the last one in two halves."""
    lines = content.splitlines(keepends=True)
    head, rest = b"".join(lines[:header]), lines[header:]
    times = begin + length * np.arange(1, len(rest) + 1) / len(rest)
    pieces = [Piece(begin, name, head)]
    pieces += [Piece(at, name, line) for at, line in zip(times, rest[:-1], strict=False)]
    half = len(rest[-1]) // 2
    late = times[-1] - 0.2 * length / len(rest)
    return [*pieces, Piece(late, name, rest[-1][:half]), Piece(times[-1], name, rest[-1][half:])]


def in_thirds(name, content, begin, length):
    cut = [0, len(content) // 3, 2 * len(content) // 3, len(content)]
    return [Piece(begin + length * k / 2, name, content[cut[k] : cut[k + 1]]) for k in range(3)]


def campaign(sweeps, seconds):
    """What is written when, in four formats at the same time, and which sweeps are good: files by number of sweep.

    Returns
    -------
    pieces : list of Piece
        In order of time.
    good : dict of (str, int) to int
        Number of the impedance by file and sweep in the file.
    broken : set of str
        Files that can never be read.
    """
    each = sweeps // 4
    step = seconds / each
    pieces, good, broken = [], {}, set()
    together = 4
    for k in range(0, each, together):
        # One file for several sweeps, which grows all the time.
        count, name = min(together, each - k), f"bio/growing {k // together}.mpt"
        content = mpt(k, count)
        head = content.count(b"\n") - count * FREQUENCY.size
        pieces += by_lines(name, content, k * step, 0.95 * count * step, header=head)
        good |= {(name, number + 1): k + number for number in range(count)}
    for k in range(each):
        begin = k * step
        name = f"bio/{k}.mpr"
        pieces += in_thirds(name, mpr(1000 + k), begin, min(0.6, step / 2))
        good[name, 1] = 1000 + k
        name = f"{k}.DTA"
        content = dta(2000 + k)
        head = content.count(b"\n") - FREQUENCY.size
        pieces += by_lines(name, content, begin + 0.3 * step, 0.6 * step, header=head)
        good[name, 1] = 2000 + k
        name = f"plain {k}.csv"
        pieces += by_lines(name, csv(3000 + k), begin + 0.5 * step, 0.4 * step, header=1)
        good[name, 1] = 3000 + k
        if k % 5 == 2:
            name, content = (f"broken {k}.mpt", mpt(k).replace(b"E+01\t", b"E+0?\t", 3))
            pieces += by_lines(name, content, begin, step, header=5)
            broken.add(name)
            pieces.append(Piece(begin, f"broken {k}.mpr", mpr(k)[:-100]))
            broken.add(f"broken {k}.mpr")
    return sorted(pieces, key=lambda piece: piece.at), good, broken


def run(folder: Path, pieces):
    """Write it all, at its time."""
    (folder / "bio").mkdir(exist_ok=True)
    begin = time.monotonic()
    for piece in pieces:
        time.sleep(max(0.0, begin + piece.at - time.monotonic()))
        with open(folder / piece.name, "ab") as file:
            file.write(piece.content)
