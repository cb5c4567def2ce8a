"""Made-up conditions and job files: a solution or one line, nothing else, and never anything run."""

import json
import time
from contextlib import suppress

import numpy as np
from hypothesis import strategies as st

from drt_engine.cli.invert import _method
from drt_engine.errors import DRTError, InputError
from drt_engine.jobs.job_file import read_job
from drt_engine.jobs.options import Plan
from drt_engine.selection import rows_where
from tests.fuzzing import fuzz, mutated
from tests.safety.hostile import CONDITIONS, NAMES, WATCH
from tests.safety.test_conditions import FRAME, condition

MOST_SECONDS = 5.0  # of the processor: other work on the machine takes nothing of it
OF_PYTHON = "lambda : . ( ) [ ] { } , ** @ := if else for in await yield import f'{x}' b'' ... None is __import__ print"
OF_CONDITIONS = (
    "cell note cycle small voltage ok start `upper limit` `nope` 'A' \"x\" '2024-01-01' 1 -2 0.5 1e999 "
    "10000000000000000000 0x_1 1_000 \\ == != <= >= < > + - * / and or not & | ~ True False #  ' \" ` \n \t \0 \u202e µ"
)
token = st.sampled_from([*OF_PYTHON.split(" "), *OF_CONDITIONS.split(" ")])
soup = st.lists(token, max_size=25).map(" ".join)
long = st.tuples(token, st.integers(1, 3000)).map(lambda pair: (pair[0] + " ") * pair[1])
short_hostile = st.sampled_from([text for text in CONDITIONS if len(text) < 500])
conditions = st.one_of(
    soup,
    mutated(condition, token),
    mutated(short_hostile, token),
    mutated(condition, st.text(max_size=4)),
    st.text(max_size=60),
    long,
)


def test_conditions():
    def check(text):
        begin = time.process_time()
        rows = np.array([], dtype=int)
        with WATCH as seen, suppress(InputError):
            rows = rows_where(FRAME, text)
        assert seen == []
        assert time.process_time() - begin < MOST_SECONDS
        assert rows.dtype.kind == "i"
        assert np.all(np.diff(rows) > 0)
        assert not rows.size or (rows[0] >= 0 and rows[-1] < len(FRAME))

    rows_where(FRAME, "cell == 'A'")
    assert fuzz(conditions, check, what="conditions") > 0


KEYS = "input output method job name workers scheduler level where block compression dtype overwrite restart strict"
OF_METHODS = (
    "basis order part regularisation shared weighting noise inductance capacitance tau solver shape loss threshold"
)
WORDS = "Tikhonov LogGaussian Convex gcv gaussian complex all cell,cycle huber gzip float32 tcp://a:1 inline"
value = st.recursive(
    st.one_of(
        st.sampled_from(WORDS.split(" ")),
        st.sampled_from([*NAMES, *(text for text in CONDITIONS if len(text) < 200)]),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.integers(-2, 3),
        st.floats(),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=5,
)
table = st.dictionaries(st.sampled_from([*KEYS.split(" "), *OF_METHODS.split(" ")]), value, max_size=5)
jobs = st.fixed_dictionaries(
    {"input": st.just("c.h5")},
    optional={
        "output": value,
        "method": st.one_of(
            table,
            table.map(lambda found: {"name": "Tikhonov"} | found),
            table.map(lambda found: {"name": "Convex"} | found),
        ),
        "job": table,
    },
)


def toml(found):
    """Write a value as TOML does."""
    if isinstance(found, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(one)}" for key, one in found.items()) + "}"
    if isinstance(found, list):
        return "[" + ", ".join(map(toml, found)) + "]"
    if isinstance(found, str):
        return json.dumps(found).replace("\x7f", "\\u007f")
    return str(found).lower()


EXAMPLE = """# a job
input = "campaign.h5"
output = "campaign.drt.h5"
[method]
name = "Tikhonov"
regularisation = "gcv"
shared = ["cell", "cycle"]
[job]
where = "cycle <= 100 and cell == 'C'"
workers = 2
dtype = "float32"
started = 1979-05-27T07:32:00Z
"""
files = st.one_of(
    jobs.map(lambda job: "\n".join(f"{key} = {toml(found)}" for key, found in job.items()).encode("utf-8", "replace")),
    mutated(st.just(EXAMPLE.encode()), st.binary(max_size=4)),
    mutated(
        st.just(EXAMPLE.encode()), st.sampled_from([b"[", b"]", b"{", b'"', b"'''", b"=", b"\n", b".", b"1e", b"nan"])
    ),
    st.binary(max_size=80),
    st.tuples(st.sampled_from([b"[", b"{a=", b"a.", b"[[a]]\n", b'"', b"#"]), st.integers(1, 20_000)).map(
        lambda pair: b"x = " + pair[0] * pair[1]
    ),
    st.tuples(st.sampled_from([b"a.", b"[a.", b"[[a]]\n", b"[a]\n", b'"a".', b"x='"]), st.integers(1, 40_000)).map(
        lambda pair: pair[0] * pair[1]
    ),
)


def test_job_files(tmp_path):
    path = tmp_path / "job.toml"

    def check(content):
        path.write_bytes(content)
        begin = time.process_time()
        with WATCH as seen, suppress(DRTError):
            found = read_job(path)
            method = _method(found.method)
            Plan(method, **{key: one for key, one in found.job.items() if key not in ("overwrite", "strict")})
        assert seen == []
        assert time.process_time() - begin < MOST_SECONDS

    path.write_text(EXAMPLE.replace("started", "# started"))
    found = read_job(path)
    Plan(_method(found.method), **found.job)
    assert fuzz(files, check, what="job files") > 0
