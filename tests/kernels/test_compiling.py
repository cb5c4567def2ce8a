"""Compiled copies on disk: kept from one run to the next, and made anew when a file has changed that they need."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from drt_kernels import compiling

USES = """
import copied_compiling
import copied_inner

@copied_compiling.entry()
def doubled(x):
    return 2 * copied_inner.value(x)
"""
INNER = """
import copied_compiling

@copied_compiling.inner()
def value(x):
    return x + {}
"""


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Write kernels in a folder of their own, and load them as a new process would."""
    # Also where the other tests of kernels run uncompiled.
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("copied_compiling", "copied_inner", "copied_uses")
    texts = (Path(compiling.__file__).read_text(encoding="utf-8"), INNER.format(1), USES)
    for name, text in zip(names, texts, strict=True):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")

    def load():
        for name in names:
            spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, name, module)
            # Python's own copies are told apart by whole seconds and sizes only.
            exec(compile((tmp_path / f"{name}.py").read_text(encoding="utf-8"), module.__file__, "exec"), vars(module))
        return module.doubled

    return load


def test_a_copy_is_kept_until_any_file_changes(loaded, tmp_path):
    first = loaded()
    assert first(5) == 12
    assert sum(first.stats.cache_misses.values()) == 1
    again = loaded()
    assert again(5) == 12
    assert sum(again.stats.cache_hits.values()) == 1
    assert not again.stats.cache_misses
    # The file of the function that is called stays as it is.
    (tmp_path / "copied_inner.py").write_text(INNER.format(100), encoding="utf-8")
    edited = loaded()
    assert edited(5) == 210
    assert sum(edited.stats.cache_misses.values()) == 1
    # What it calls stays, and is taken from its copy.
    (tmp_path / "copied_uses.py").write_text(USES.replace("2 *", "3 *"), encoding="utf-8")
    once_more = loaded()
    assert once_more(5) == 315
    assert sum(once_more.stats.cache_misses.values()) == 1
    assert sum(sys.modules["copied_inner"].value.stats.cache_hits.values()) == 1


def test_the_stamp_is_of_all_files_that_are_called():
    folder = Path(compiling.__file__).parent
    there = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    for name, text in there.items():
        needed = dict(compiling.stamp(name))
        assert needed[name] == hashlib.sha256(text.encode()).hexdigest()
        for other in there:
            if f"from drt_kernels.{other} import" in text or f"from drt_kernels import {other}" in text:
                assert dict(compiling.stamp(other)).items() <= needed.items()
    assert {"compiling", "curvature", "dense", "simd"} <= dict(compiling.stamp("log_gaussian")).keys()
    assert "peaks" not in dict(compiling.stamp("log_gaussian"))


def test_what_is_compiled_for_kernels_alone_refuses_a_call_from_python(loaded):
    assert loaded()(5) == 12
    with pytest.raises(TypeError, match="value is compiled for other kernels alone"):
        sys.modules["copied_inner"].value(5)


ELEMENTS = """
import copied_compiling

@copied_compiling.inner(_nrt=False)
def moved(x, n, i, yes, out):
    out[0, -1] = x[i, n[0]] + x[-1, 0]
    out[1, 2] = x[i][-2] + n[-1]
    yes[i] = not yes[i + 1]
    n[1] = yes[i] + 3

@copied_compiling.entry()
def moves(x, n, i, yes, out):
    moved(x, n, i, yes, out)
    out[i, 0] += n[(1,)]
    return x[i, 1], yes[-1]
"""


@pytest.mark.parametrize("order", ["C", "F"])
def test_elements_of_arrays_are_those_of_numpy(loaded, tmp_path, order):
    loaded()
    (tmp_path / "copied_elements.py").write_text(ELEMENTS, encoding="utf-8")
    moves = importlib.import_module("copied_elements").moves
    x = np.asarray(np.arange(12.0).reshape(3, 4), order=order)
    out, n, yes = np.zeros((2, 3), order=order), np.array([3, 7, 5], dtype=np.int32), np.array([False, False, True])
    assert moves(x, n, 1, yes, out) == (5.0, True)
    np.testing.assert_array_equal(out, [[0.0, 0.0, 7.0 + 8.0], [3.0, 0.0, 6.0 + 5.0]])
    np.testing.assert_array_equal(n, [3, 3, 5])
    np.testing.assert_array_equal(yes, [False, False, True])
    del sys.modules["copied_elements"]


SLICES = """
import copied_compiling

@copied_compiling.inner()
def put(x, out):
    out[1:] = x

@copied_compiling.entry()
def puts(x, out):
    put(x, out)
    out[:2] = out[1:]
"""


def test_slices_are_assigned_as_numpy_does_and_text_is_not_compiled_for_it(loaded, tmp_path):
    loaded()
    (tmp_path / "copied_slices.py").write_text(SLICES, encoding="utf-8")
    puts = importlib.import_module("copied_slices").puts
    for x, expected in (([5.0, 6.0], [5.0, 6.0, 6.0]), ([7.0], [7.0, 7.0, 7.0])):
        out = np.zeros(3)
        puts(np.array(x), out)
        np.testing.assert_array_equal(out, expected)
    out = np.zeros(3)
    with pytest.raises(ValueError, match="cannot assign slice"):
        puts(np.arange(3.0), out)
    assert not out.any()
    # What compiles less of them is for the numba that it was written for.
    assert not compiling.KNOWN or "unicode" not in puts.inspect_llvm(puts.signatures[0])
    del sys.modules["copied_slices"]
