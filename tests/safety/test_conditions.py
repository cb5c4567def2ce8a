"""Conditions on states: those that are meant choose what pandas chose, and those that are not can do nothing."""

import json
import time

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import drt_engine as drt
from drt_engine.cli.contents import as_taken
from drt_engine.jobs.job_file import read_job
from drt_engine.selection import MAX_LENGTH, MAX_OPERATIONS, Condition, rows_where
from tests.safety.hostile import CONDITIONS, WATCH

FRAME = pd.DataFrame(
    {
        "cell": ["A", None, "C", "b c", "A", ""],
        "note": pd.Series(["x", None, "y", "x", "y", None], dtype=object),
        "cycle": [1, 2, 3, 500, -4, 0],
        "small": np.array([1, 100, 200, 255, 0, 7], dtype=np.uint8),
        "voltage": [3.5, np.nan, 4.2, -np.inf, 0.1, 3.5],
        "single": np.array([0.1, 0.2, np.nan, 0.4, 3.5, 0.0], dtype=np.float32),
        "ok": [True, False, True, True, False, False],
        "upper limit": [1, 2, 3, 4, 5, 6],
        "start": pd.to_datetime(["2024-01-01", "2024-02-01", None, "2024-03-01", "2023-12-31", "2024-01-01"]),
    }
)
NUMBERS = ("cycle", "voltage", "single", "`upper limit`")
TEXTS = ("cell", "note")
SIGNS = ("==", "!=", "<", "<=", ">", ">=")


def joined(*parts):
    return st.tuples(*(part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts)).map(" ".join)


number = st.sampled_from(["0", "1", "2", "3.5", "0.1", "-4", "1e3", "500", "0.2"])
quantity = st.one_of(
    st.sampled_from(NUMBERS),
    joined(st.sampled_from(NUMBERS), st.sampled_from("+-*/"), number),
    joined("(", st.sampled_from(NUMBERS), st.sampled_from("+-*"), st.sampled_from(NUMBERS), ")"),
    joined("-", st.sampled_from(NUMBERS)),
)
text = st.sampled_from(["'A'", '"C"', "'b c'", "''", "'x'", "'no such'"])
instant = st.sampled_from(["'2024-01-01'", "'2024-02'", "'2024-02-01 00:00:00'", "'2020'"])
sign, equal, within = st.sampled_from(SIGNS), st.sampled_from(("==", "!=")), st.sampled_from(("in", "not in", "=="))
some_numbers = st.lists(number, max_size=4).map(lambda values: f"[{', '.join(values)}]")
some_texts = st.lists(text, min_size=1, max_size=4).map(lambda values: f"({', '.join(values)},)")
comparison = st.one_of(
    joined(quantity, sign, number),
    joined(number, sign, quantity),
    joined(quantity, sign, quantity),
    joined(number, st.sampled_from(("<", "<=")), quantity, st.sampled_from(("<", "<=")), number),
    joined(st.sampled_from(TEXTS), sign, text),
    joined(st.sampled_from(TEXTS), within, some_texts),
    joined(st.sampled_from(("cycle", "`upper limit`")), within, some_numbers),
    joined("start", st.sampled_from(("<", "<=", ">", ">=")), instant),  # equal to text is none, to pandas
    joined("ok", equal, st.sampled_from(("True", "False"))),
    st.just("ok"),
)
condition = st.recursive(
    comparison,
    lambda inner: st.one_of(
        joined("(", inner, st.sampled_from(("and", "or")), inner, ")"),
        joined("not (", inner, ")"),
        joined("(", inner, ")", st.sampled_from("&|"), "(", inner, ")"),
    ),
    max_leaves=4,
)


@pytest.mark.slow
@given(condition)
@settings(max_examples=80, derandomize=True, deadline=None, database=None)
def test_it_chooses_what_pandas_chose(text):
    holds = FRAME.eval(text, engine="python", local_dict={}, global_dict={})
    np.testing.assert_array_equal(rows_where(FRAME, text), np.flatnonzero(holds), err_msg=text)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("cell == 'A' # or cell == 'C'", [0, 4]),
        ("  cycle > 1\n", [1, 2, 3]),
        ("small * 3 > 500", [2, 3]),
        ("small - 200 < 0", [0, 1, 4, 5]),
        ("-small < -200", [3]),
        ("small > 300 or small == -1", []),
        ("voltage / 0 > 1", [0, 2, 4, 5]),
        ("not voltage > 0", [1, 3]),
        ("single == 0.1", [0]),
        ("start in ['2024-01-01']", [0, 5]),
        ("start >= '2024-02-01T00:00:00'", [1, 3]),
        ("'2024-01' <= start < '2024-02-15'", [0, 1, 5]),
        ("cell in ['A', \"b c\"] and not ok", [4]),
        ("cell == 'b`c'", []),
        ("cell == 'it\\'s'", []),
        ("cycle in {1, 2, 1 + 2}", [0, 1, 2]),
        ("start == '2024-01-01'", [0, 5]),
        ("start != '2024-01-01 00:00'", [1, 2, 3, 4]),
    ],
)
def test_what_it_chooses(text, rows):
    assert rows_where(FRAME, text).tolist() == rows


def test_columns_of_other_kinds():
    frame = FRAME.assign(
        zone=FRAME["start"].dt.tz_localize("Europe/Berlin"),
        kind=pd.Categorical(["p", "q", "p", None, "q", "p"]),
        masked=pd.array([1, None, 3, 4, 5, 6], dtype="Int64"),
        flag=pd.array([True, None, False, True, None, False], dtype="boolean"),
        nothing=[None] * 6,
        **{"µ": range(6), "class": range(6)},
    )
    for text, rows in {
        "zone >= '2024-02-01'": [1, 3],
        "zone >= '2024-02-01T00:00Z'": [3],
        "kind == 'p'": [0, 2, 5],
        "kind > 'p'": [1, 4],
        "masked * 2 > 6": [3, 4, 5],
        "masked != 1": [2, 3, 4, 5],
        "flag": [0, 3],
        "not flag": [2, 5],
        "nothing == 'x' or nothing == 3": [],
        "µ > 3": [4, 5],
        "`class` == 2": [2],
    }.items():
        assert rows_where(frame, text).tolist() == rows, text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cel == 'A'", "there is no column 'cel'"),
        ("cell == 3", "the column 'cell' holds text and is compared with 3; text stands in quotes, '3'"),
        ("cycle == '3'", "the column 'cycle' holds numbers and is compared with '3'"),
        ("cycle in [1, '3']", "is compared with '3'"),
        ("cell == cycle", "is compared with the numbers of 'cycle'"),
        ("start > 3", "the column 'start' holds instants and is compared with 3"),
        ("start > 'today'", "instants, written like '2024-05-31 12:00'; got 'today'"),
        ("start > '2024-13'", "is no instant"),
        ("start > '2024-01-01T00:00Z'", "cannot be compared"),
        ("cycle * 9000000000000000000 > 0", "too large for an integer"),
        ("9000000000000000000 * 9 > cycle", "too large for an integer"),
        ("1 / 0 > cycle", "cannot be computed (division by zero)"),
        ("cycle > 9223372036854775808", "a number that is too large"),
        ("ok + 1 > 1", "one side is true or false"),
        ("cycle = 3", "equal is written =="),
        ("cycle >", "not complete"),
        ("cell == 'A' & cycle < 3", "comparisons between & and | stand in parentheses"),
        ("cycle == 1 or cell", "the column 'cell' is not true or false for each spectrum"),
        ("cell < ['A']", "only in, not in, == and !="),
        ("['A'] == cell", "a list stands to its right"),
        ("cycle.mean() > 2", "a call"),
        (5, "it is of type int"),
        ("a" * (MAX_LENGTH + 1), f"{MAX_LENGTH} are read"),
        (" or ".join(["ok"] * (MAX_OPERATIONS + 2)), f"{MAX_OPERATIONS} are done"),
    ],
)
def test_what_it_refuses_and_why(text, said):
    with pytest.raises(drt.InputError) as caught:
        rows_where(FRAME, text)
    message = str(caught.value)
    assert said in message
    assert "cell == 'C' and cycle <= 100" in message
    assert len(message) < 700


def test_two_columns_of_one_name():
    with pytest.raises(drt.InputError, match="several columns 'a'"):
        rows_where(pd.DataFrame([[1, 2]], columns=["a", "a"]), "a > 1")


def test_what_can_be_read_is_read_before_the_states(tmp_path, campaign_of_two):
    for text in ("cycle >", "f(cycle)", "cycle < 9**9**9"):
        with pytest.raises(drt.InputError, match="is not a condition"):
            Condition(text)
        with pytest.raises(drt.InputError, match="is not a condition"):
            drt.invert_file(tmp_path / "nowhere.h5", tmp_path / "out.h5", where=text)


def test_no_condition_takes_long():
    many = pd.concat([FRAME] * 2000, ignore_index=True)
    worst = " or ".join(["cell == 'A' and `upper limit` * 2 > voltage"] * 40)
    long = "cycle in [" + ", ".join(map(str, range(1500))) + "]"
    for text in (worst, long):
        begin = time.perf_counter()
        rows_where(many, text)
        assert time.perf_counter() - begin < 10.0
    begin = time.perf_counter()
    for text in CONDITIONS:
        with pytest.raises(drt.InputError):
            rows_where(FRAME, text)
    assert time.perf_counter() - begin < 20.0


@pytest.fixture(scope="module")
def campaign_of_two(tmp_path_factory, noisy):
    """Two spectra, and their result."""
    folder = tmp_path_factory.mktemp("conditions")
    spectra = drt.Spectra(noisy.frequency, noisy.impedance[:2], {"cell": ["A", "B"], "cycle": [1, 2]})
    drt.write_spectra(folder / "c.h5", spectra)
    drt.invert_file(folder / "c.h5", folder / "c.drt.h5", method=drt.Tikhonov(), where="cycle > 0")
    return folder


FEW = CONDITIONS[::9]


def refused(ran):
    """Whether a command ended with one line that no terminal obeys."""
    one_line = ran.err.startswith("drt-engine: ") and ran.err.count("\n") == 1 and ran.err.strip().isprintable()
    return (ran.code, one_line, ran.out) == (2, True, "")


@pytest.mark.slow
def test_none_runs_from_the_command_line(campaign_of_two, tmp_path, cli):
    canary, spectra = tmp_path / "canary", drt.read_spectra(campaign_of_two / "c.h5")
    assert cli("validate", campaign_of_two / "c.h5", "--where", "cycle > 0").code == 0
    with WATCH as seen:
        for text in CONDITIONS:
            with pytest.raises(drt.InputError):
                rows_where(spectra.states, text.replace("{canary}", str(canary)))
        for text in FEW:
            ran = cli("validate", campaign_of_two / "c.h5", "--where", text.replace("{canary}", str(canary)))
            assert refused(ran), text[:80]
    assert seen == []
    assert not canary.exists()


def run_job(path):
    job = read_job(path)
    drt.invert_file(job.input, job.output, **job.job)


@pytest.mark.slow
def test_none_runs_from_a_job_file(campaign_of_two, tmp_path, cli):
    canary, path, source = tmp_path / "canary", tmp_path / "job.toml", campaign_of_two / "c.h5"

    def write(text):
        # TOML takes the escapes of JSON, but for one character that JSON leaves alone.
        where = json.dumps(text.replace("{canary}", str(canary))).replace("\x7f", "\\u007f")
        path.write_text(f'input = "{source}"\noutput = "out.h5"\n[job]\nwhere = {where}\n')

    write("cycle > 9")
    assert cli("invert", path).out.startswith("0 spectra in ")
    (tmp_path / "out.h5").unlink()
    for text in CONDITIONS:
        write(text)
        with WATCH as seen, pytest.raises(drt.DRTError):
            run_job(path)
        assert seen == []
    for text in FEW:
        write(text)
        with WATCH as seen:
            assert refused(cli("invert", path)), text[:80]
        assert seen == []
    assert {item.name for item in tmp_path.iterdir()} == {"job.toml"}


@pytest.mark.slow
def test_none_runs_from_the_provenance_of_a_result(campaign_of_two, tmp_path, cli):
    canary, path, source = tmp_path / "canary", tmp_path / "r.h5", campaign_of_two / "c.h5"
    path.write_bytes((campaign_of_two / "c.drt.h5").read_bytes())
    drawn = ("plot", path, "--kind", "nyquist", "--spectra", source, "--state", "cycle", "-o", tmp_path / "f.png")
    fitted = ("peaks", path, "--spectra", source, "-o", tmp_path / "p.csv")
    spectra = drt.read_spectra(source)
    assert len(as_taken(spectra, path, None)) == 2
    assert cli(*drawn).code == 0
    (tmp_path / "f.png").unlink()
    # What an attribute of a file can hold.
    short = [text for text in CONDITIONS if 0 < len(text) < 10**4 and "\0" not in text]
    assert len(short) > 60
    for text in short:
        with h5py.File(path, "r+") as file:
            file["inversions/default/default"].attrs["where"] = text.replace("{canary}", str(canary))
        with WATCH as seen, pytest.raises(drt.InputError, match=r"cannot be applied: .* is not a condition"):
            as_taken(spectra, path, None)
        assert seen == []
        if text in FEW:
            with WATCH as seen:
                assert refused(cli(*(fitted if len(text) % 2 else drawn))), text
            assert seen == []
    assert {item.name for item in tmp_path.iterdir()} == {"r.h5"}
