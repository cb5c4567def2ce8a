"""What a real file must give when it is read: one table row a file, checked in one place."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from drt_engine.errors import FileFormatError
from drt_engine.readers import ReadOptions, find_reader, read_file

PLAIN = ReadOptions()


@dataclass(frozen=True)
class Read:
    """A file that is read: `impedance` is that of point `at` of sweep `sweep`, `states` are those of that sweep."""

    file: str
    format: str
    sweeps: int
    points: int
    first: float
    last: float
    at: int
    impedance: complex
    states: dict = field(default_factory=dict)
    sweep: int = 0
    unfinished: int = 0
    remark: str = ""
    options: ReadOptions = PLAIN


@dataclass(frozen=True)
class Refused:
    """A file that is refused, with what the error says."""

    file: str
    reason: str
    options: ReadOptions = PLAIN


def names_of(cases):
    return [f"{case.file}{' ' + case.options.columns if case.options.columns else ''}" for case in cases]


def check(folder, case):
    path = folder / case.file
    if isinstance(case, Refused):
        with pytest.raises(FileFormatError, match=case.reason) as caught:
            read_file(path, options=case.options)
        assert path.name in str(caught.value)
        return None
    assert find_reader(path).name == case.format
    read = read_file(path, options=case.options)
    assert (read.source, read.format, len(read.sweeps)) == (path.name, case.format, case.sweeps)
    assert sum(not sweep.finished for sweep in read.sweeps) == case.unfinished
    if case.remark:
        assert any(case.remark in remark for remark in read.remarks), read.remarks
    else:
        assert not read.remarks
    sweep = read.sweeps[case.sweep]
    assert len(sweep) == case.points
    np.testing.assert_allclose(sweep.frequency[[0, -1]], [case.first, case.last], rtol=1e-7)
    np.testing.assert_allclose(sweep.impedance[case.at], case.impedance, rtol=1e-6)
    assert set(sweep.state) == set(case.states)
    for name, expected in case.states.items():
        assert sweep.state[name] == (pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else expected)
    return read
