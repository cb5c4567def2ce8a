"""Any bytes at all: a file ends in spectra or in an error of ours, through every reader, and never in a warning.

Valid files of each reader are changed in the ways that break parsers; some are bytes of nothing.
"""

import io
import json
import time

import numpy as np
import pytest
from hypothesis import strategies as st

from drt_engine.errors import DRTError, FileFormatError
from drt_engine.readers import READERS, ReadOptions, Recording, read_file
from drt_engine.readers.collect import CollectOptions, collect
from drt_engine.spectra import MIN_POINTS
from tests.fuzzing import fuzz

from . import (
    test_autolab,
    test_biologic,
    test_ch_instruments,
    test_gamry,
    test_palmsens,
    test_parstat,
    test_powersuite,
    test_relaxis,
    test_versastudio,
    test_zahner,
    test_zplot,
)
from .made import mpt, points, text_table

FIVE = ("time/s", "cycle number", "freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm")
POLAR = ("freq/Hz", "|Z|/Ohm", "Phase(Z)/deg")
ROWS = points(2, np.logspace(4, -1, 8))


def workbook():
    openpyxl = pytest.importorskip("openpyxl")
    book, out = openpyxl.Workbook(), io.BytesIO()
    for line in text_table(ROWS, FIVE).splitlines():
        book.active.append([cell if "/" in cell or " " in cell else float(cell) for cell in line.split("\t")])
    book.save(out)
    return out.getvalue()


def files():
    """One valid file or more for each reader."""
    table = text_table(ROWS, FIVE, ",")
    lone = text_table(ROWS[:8], FIVE[2:], " ", heading_line=False)
    return {
        "biologic-mpt": mpt(ROWS).encode("latin-1"),
        "biologic-mpr": test_biologic.mpr(ROWS),
        "gamry": test_gamry.WHOLE,
        "zplot": test_zplot.content(test_zplot.commented()),
        "zview": test_zplot.content(test_zplot.quoted()),
        "autolab": test_autolab.content(test_autolab.z60w()),
        "nova": test_autolab.content(test_autolab.nova(sweeps=2)),
        "ch-instruments": test_ch_instruments.WHOLE,
        "parstat": test_parstat.content([test_parstat.HEAD, *test_parstat.rows()]),
        "powersuite": test_powersuite.WHOLE,
        "versastudio": test_versastudio.WHOLE,
        "relaxis": test_relaxis.WHOLE,
        "palmsens": json.dumps(test_palmsens.FOUR).encode("utf-16"),
        "zahner": test_zahner.ism(),
        "excel": workbook(),
        "pyimpspec": b"Eco Chemie\n" + text_table(ROWS[:8], FIVE[2:], ",").encode(),
        "table": table.encode(),
        "polar": text_table(ROWS[:8], POLAR, ";", "{:.5f}").replace(".", ",").encode(),
        "three columns": b"% a comment\n" + lone.encode(),
        "two channels": (f"CH 1: a\n{table}CH 2: b\n{table}").encode("utf-16"),
    }


FILES = files()
TOKENS = [
    *(b"nan", b"inf", b"-", b"1e999", b"-1e999", b"1e-320", b"0", b"-0", b"9" * 400, b"1,5", b"1.5.2", b"", b"OVLD"),
    *(b"\n", b"\r", b"\t", b",", b";", b'"', b"'", b"\0", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"#", b"%", b"//", b"\x1a", b"\x1b[2J"),
    *(b"freq/Hz", b"Re(Z)/Ohm", b"-Im(Z)/Ohm", b"|Z|", b"Phase", b"f,re,im", b"Z'(Ohm.cm2)", b"time/s", b"cycle"),
    *("Ω°µ".encode(), "Ω°µ".encode("utf-16-le"), b"(" * 300, b"[/x]", b"A" * 5000, b"\xff" * 9, b"\x80", b"{", b"]"),
]  # fmt: skip
COLUMNS = [None, None, None, "frequency,re,im", "time,cycle,frequency,re,-im", "frequency=1,|z|=2,phase/rad=3",
           "re/ohm.cm2=2,-im/ohm.cm2=3,frequency=1", "frequency=freq/Hz,re=Re(Z)/Ohm,im=-Im(Z)/Ohm"]  # fmt: skip
OPTIONS = st.builds(
    ReadOptions,
    columns=st.sampled_from(COLUMNS),
    reader=st.sampled_from([*[None] * 20, *READERS]),
    encoding=st.sampled_from([None] * 12 + ["utf-8", "latin-1", "utf-16", "ascii"]),
    decimal=st.sampled_from([None] * 6 + [".", ","]),
)
PLACE, SPAN = st.integers(0, 2**20), st.integers(1, 400)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), PLACE, st.sampled_from(TOKENS)),
        st.tuples(st.just("cell"), PLACE, st.sampled_from(TOKENS)),
        st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
        st.tuples(st.just("lose"), PLACE, SPAN),
        st.tuples(st.just("double"), PLACE, SPAN),
        st.tuples(st.just("cut"), PLACE, st.just(0)),
        st.tuples(st.just("junk"), PLACE, st.binary(min_size=1, max_size=60)),
        st.tuples(st.just("lines"), PLACE, PLACE),
    ),
    min_size=1,
    max_size=4,
)


def changed(raw, changes):
    for kind, place, what in changes:
        at = place % (len(raw) + 1)
        if kind == "put":
            raw = raw[:at] + what + raw[at:]
        elif kind == "cell":  # in the place of what stands between two delimiters
            ends = [
                i
                for i in range(at, min(len(raw), at + 60))
                if raw[i : i + 1] in (b"\t", b",", b";", b" ", b"\n", b"\r")
            ]
            if len(ends) > 1:
                raw = raw[: ends[0] + 1] + what + raw[ends[1] :]
        elif kind == "flip" and at < len(raw):
            raw = raw[:at] + bytes([raw[at] ^ 1 << what]) + raw[at + 1 :]
        elif kind == "lose":
            raw = raw[:at] + raw[at + what :]
        elif kind == "double":
            raw = raw[:at] + raw[at : at + what] + raw[at:]
        elif kind == "cut":
            raw = raw[:at]
        elif kind == "junk":
            raw = raw[:at] + what + raw[at + len(what) :]
        elif kind == "lines":
            lines = raw.splitlines(keepends=True)
            if lines:
                i, j = place % len(lines), what % len(lines)
                lines[i], lines[j] = lines[j], lines[i]
                raw = b"".join(lines)
    return raw


CONTENT = st.one_of(
    *[st.tuples(st.sampled_from(sorted(FILES)), CHANGES)] * 6,
    st.tuples(st.just(""), st.binary(max_size=300)),
    st.tuples(st.just(""), st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)),
)


def end_well(path, raw, options):
    """Read it, and put it into a campaign if it can be read."""
    path.write_bytes(raw)
    began = time.process_time()
    try:
        done = read_file(path, options=options)
    except FileFormatError as error:
        named = path.name in str(error)
        assert named, error  # noqa: PT017 (other errors are as well)
    except DRTError:
        pass
    else:
        assert isinstance(done, Recording)
        found = collect(path, CollectOptions(options, unfinished=True))
        assert [one.error for one in found.files] == [""]
        # A point that one sweep lacks is NaN on the grid of others; nothing else is.
        points = [np.isfinite(z).sum() for spectra in found.spectra.values() for z in spectra.impedance]
        assert sorted(points) == sorted(n for n in map(len, done.sweeps) if n >= MIN_POINTS)
        assert not any(np.isinf(spectra.impedance).any() for spectra in found.spectra.values())
    assert time.process_time() - began < 30, "a small file took half a minute of the processor"


@pytest.mark.slow
def test_any_file_ends_in_spectra_or_in_an_error_of_ours(tmp_path):
    path = tmp_path / "a.dat"

    def check(example):
        (name, what), options = example
        end_well(path, changed(FILES[name], what) if name else what, options)

    assert fuzz(st.tuples(CONTENT, OPTIONS), check, what="readers") > 0


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_files_that_are_changed_are_read(tmp_path, name):
    """Otherwise nothing but the first check of a reader would be tried."""
    path = tmp_path / "a.dat"
    path.write_bytes(FILES[name])
    end_well(path, FILES[name], ReadOptions())
    if name != "pyimpspec":
        assert read_file(path).sweeps
