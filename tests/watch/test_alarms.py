"""Alarms: what is compared with what, and what a program of the user's is told."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from drt_engine.errors import InputError
from drt_engine.selection import Condition
from drt_engine.watch.alarms import Alarm, Alert, Hook, Records


def enter(records, *rows, grid="g"):
    records.enter(grid, range(len(rows)), pd.DataFrame(list(rows)))


def test_first_and_previous_are_of_the_same_cell_and_the_same_column():
    records = Records(["cell"])
    enter(records, {"cell": "A", "r_pol": 1.0}, {"cell": "B", "r_pol": 5.0}, {"cell": "A", "r_pol": 3.0})
    first, previous = Alert("r_pol > 1.2 * first"), Alert("r_pol > 1.2 * previous and cell == 'A'")
    assert first.holds("g", {"cell": "A", "r_pol": 1.3}, records)
    assert not first.holds("g", {"cell": "B", "r_pol": 1.3}, records)
    assert not previous.holds("g", {"cell": "A", "r_pol": 3.1}, records)
    assert previous.holds("g", {"cell": "A", "r_pol": 3.7}, records)
    # Nothing comes before the first one, and it equals itself; results on other frequencies are others.
    for alert in (first, previous):
        assert not alert.holds("g", {"cell": "new", "r_pol": 9.0}, records)
        assert not alert.holds("other", {"cell": "A", "r_pol": 9.0}, records)
    assert Alert("r_pol >= first").holds("g", {"cell": "new", "r_pol": 9.0}, records)


def test_results_that_are_missing_raise_no_alarm():
    records = Records(["cell"])
    enter(records, {"r_pol": np.nan})
    assert not Alert("r_pol > first").holds("g", {"r_pol": 2.0}, records)
    assert not Alert("r_pol > first").holds("g", {"r_pol": np.nan}, records)
    assert Alert("r_pol > 1 or valid == False").holds("g", {"r_pol": np.nan, "valid": False}, records)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("r_pol > 1.2 * first + r_inf", "the one column"),
        ("first > 2", "the one column"),
        ("not first", "compared with nothing"),
        ("r_pol.max() > 2", "a call"),
        ("__import__('os')", "a call"),
        ("r_pol >", "not complete"),
    ],
)
def test_what_is_no_condition_is_refused(text, why):
    with pytest.raises(InputError, match=why):
        Alert(text)


def test_a_column_that_does_not_exist_is_named():
    for text in ("r_poll > 2", "r_poll > first"):
        with pytest.raises(InputError, match="r_poll"):
            Alert(text).holds("g", {"r_pol": 2.0}, Records(["cell"]))


def test_names_in_backticks_refer_too():
    condition, columns = Condition("`R in %` > 2 * previous").referring({"previous"})
    assert [*columns.values()] == [("previous", "R in %")]
    (name,) = columns
    assert condition.rows(pd.DataFrame({"R in %": [5.0, 3.0], name: [2.0, 2.0]})).tolist() == [0]


def test_the_program_is_told_in_its_environment_and_no_shell_reads_it(tmp_path):
    out, evil = tmp_path / "told", tmp_path / "evil"
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, sys\n"
        "values = {key: value for key, value in os.environ.items() if key.startswith('DRT_')}\n"
        "with open(sys.argv.pop(1), 'a') as file:\n"
        "    file.write(json.dumps([sys.argv[1:], values]) + '\\n')\n"
    )
    hook = Hook(f"{sys.executable} {program} {out} 'one argument' $HOME ;")
    name = f"$(touch {evil})`touch {evil}`\x1b[2J\0\n.mpt"
    ours = {"alarm": "none", "alarm_kind": "none", "engine_threads": 99, "note": "\u202e" * 10**6}
    hook.start(Alarm("alert", "r_pol > 1", {"source": name, "r_pol": 1.5, "cell": None, "R in %": 1} | ours))
    hook.start(Alarm("kramers-kronig", "drift", {}))
    hook.finish()
    told = [json.loads(line) for line in out.read_text().splitlines()]
    arguments, values = told[0]
    assert arguments == ["one argument", "$HOME", ";"]
    assert values["DRT_ALARM"] == "r_pol > 1"
    assert values["DRT_ALARM_KIND"] == "alert"
    assert values.get("DRT_ENGINE_THREADS") != "99"
    assert values["DRT_R_POL"] == "1.5"
    assert values["DRT_NOTE"] == "\\u202e" * 4000
    assert values["DRT_SOURCE"].startswith("$(touch")
    assert "\x1b" not in values["DRT_SOURCE"]
    assert "DRT_CELL" not in values
    assert told[1][1]["DRT_ALARM_KIND"] == "kramers-kronig"
    assert not evil.exists()
    assert hook.problems.empty()


def test_a_program_that_fails_is_said_and_stops_nothing(tmp_path):
    hook = Hook(f"{sys.executable} -c 'raise SystemExit(3)'")
    hook.start(Alarm("alert", "r_pol > 1"))
    hook.finish()
    assert "exit code 3" in hook.problems.get_nowait()
    missing = Hook(str(tmp_path / "nothing"))
    missing.start(Alarm("alert", "r_pol > 1"))
    missing.finish()
    assert "cannot be started" in missing.problems.get_nowait()
    for command in ("", "'"):
        with pytest.raises(InputError):
            Hook(command)
