"""State columns: what goes into a file comes out of it, and what cannot is refused."""

import datetime as dt
import json
import tracemalloc
import zoneinfo

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import drt_engine as drt
from drt_engine.hdf5 import SpectraWriter, scan
from drt_engine.hdf5.reader import opened_grid

FREQUENCY = np.logspace(3, 0, 6)
TEXT = pd.Series(["text"]).dtype
METHOD = drt.Tikhonov(basis="piecewise-linear", regularisation=1e-3)

KEPT = {
    "int": np.array([1, -2, 3]),
    "int8": np.array([1, -2, 3], dtype=np.int8),
    "uint64": np.array([1, 2, 2**64 - 1], dtype=np.uint64),
    "int in foreign byte order": np.array([1, 2, 3], dtype=">i4"),
    "float": np.array([0.1, np.nan, -np.inf]),
    "float32": np.array([0.1, np.nan, 3], dtype=np.float32),
    "bool": np.array([True, False, True]),
    "text": np.array(["a", "", "Zähler µ🜨"], dtype=object),
    "letters": np.array(["B", "C", "B"], dtype=object),
    "empty text": np.array(["", "", ""], dtype=object),
    "long text": np.array(["a", "", "🔋" * 500], dtype=object),
    "longest text": np.array(["a", "", "x" * 65535], dtype=object),
    "missing int": pd.array([2**62 + 1, None, 3], dtype="Int64"),
    "missing small": pd.array([1, None, 3], dtype="UInt8"),
    "missing bool": pd.array([True, None, False], dtype="boolean"),
    "missing text": pd.Series(["a", None, ""], dtype=TEXT),
    "instants": pd.Series(np.array(["2024-02-29T01:02:03.004005", "NaT", "1969-12-31"], dtype="datetime64[us]")),
    "nanoseconds": np.array([1, 2, 3], dtype="datetime64[ns]"),
    "seconds": np.array(["2262-04-12", "1600-01-01", "NaT"], dtype="datetime64[s]"),
    "UTC": pd.Series(pd.to_datetime(["2024-02-29T01:02:03Z", None, "1969-12-31T00:00:00Z"])),
    "zone": pd.Series(pd.date_range("2024-03-30T23:00", periods=3, freq="h", tz="Europe/Rome")),
    "missing in a zone": pd.Series(pd.to_datetime(["2024-07-01", None, "2024-12-01"]).tz_localize("Asia/Kathmandu")),
    "offset": pd.Series(
        pd.date_range("2024-03-31", periods=3, freq="h", tz=dt.timezone(dt.timedelta(hours=-3, minutes=-30)))
    ),
    "odd offset": pd.Series(pd.date_range("1900", periods=3, freq="h", tz=dt.timezone(dt.timedelta(seconds=2205)))),
}
"""Columns that come back as they are."""

CHANGED = {
    "objects, int": (np.array([1, 2, 3], dtype=object), np.array([1, 2, 3])),
    "objects, missing int": (np.array([1, None, 3], dtype=object), pd.array([1, None, 3], dtype="Int64")),
    "objects, float": (np.array([1, None, 2.5], dtype=object), np.array([1, np.nan, 2.5])),
    "objects, bool": (np.array([True, False, True], dtype=object), np.array([True, False, True])),
    "objects, none": ([None, None, None], pd.Series([None, None, None], dtype=TEXT)),
    "objects, dates": ([dt.date(2024, 1, 2)] * 3, pd.to_datetime(pd.Series([dt.date(2024, 1, 2)] * 3))),
    "float16": (np.array([0.5, 1, 2], dtype=np.float16), np.array([0.5, 1, 2], dtype=np.float32)),
    "missing float": (pd.array([0.5, None, 2], dtype="Float64"), np.array([0.5, np.nan, 2])),
    "categories": (pd.Categorical(["a", "b", "a"]), np.array(["a", "b", "a"], dtype=object)),
}
"""Columns that come back in the nearest type that a file has."""

REFUSED = {
    "complex": ([1j, 2, 3], "complex"),
    "mixed": ([1, "a", None], "mixed"),
    "lists": ([[1], [2], [3]], "mixed"),
    "bytes": ([b"a", b"b", b"c"], "bytes"),
    "durations": (pd.to_timedelta([1, 2, 3], unit="s"), "timedelta"),
    "null character": (["a\0b", "", ""], "null character"),
    "null character at the end": (["a\0", "", ""], "null character"),
    "too long": (["a", "", "🔋" * 16384], "65536 bytes"),
    "marker": (["\N{SYMBOL FOR NULL}", None, ""], "null character"),
    "no Unicode": (["\udcff", "", ""], "not Unicode"),
    "fill value": (pd.array([255, None, 3], dtype="UInt8"), "255"),
}

NAMES = ("", ".", "..", "a/b", " a", "a ", "a\n", "(V)", "spectrum", "frequency", "impedance_real", "gamma", "status")


def spectra(rows, **states):
    return drt.Spectra(FREQUENCY, np.arange(rows)[:, None] + FREQUENCY * (1 - 1j), states)


def returned(tmp_path, values):
    drt.write_spectra(tmp_path / "a.h5", spectra(len(values), x=values), overwrite=True)
    return drt.read_spectra(tmp_path / "a.h5").states["x"]


@pytest.mark.parametrize("values", KEPT.values(), ids=KEPT)
def test_comes_back_as_it_was(tmp_path, values):
    expected = pd.Series(values)
    if isinstance(expected.dtype, np.dtype) and expected.dtype.byteorder == ">":
        expected = expected.astype(expected.dtype.newbyteorder("="))
    if "/" in str(getattr(expected.dtype, "tz", "")):  # pandas 2 makes zones with another library
        expected = expected.dt.tz_convert(zoneinfo.ZoneInfo(str(expected.dt.tz)))
    pd.testing.assert_series_equal(returned(tmp_path, values), expected, check_names=False)


@pytest.mark.parametrize(("values", "expected"), CHANGED.values(), ids=CHANGED)
def test_comes_back_in_the_nearest_type(tmp_path, values, expected):
    expected = pd.Series(expected)
    if expected.dtype == object:
        expected = expected.astype(TEXT)
    pd.testing.assert_series_equal(returned(tmp_path, values), expected, check_names=False)


@pytest.mark.parametrize(("values", "cause"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_a_file_cannot_hold(tmp_path, values, cause):
    with pytest.raises(drt.InputError, match=f"'x'.*{cause}"):
        returned(tmp_path, values)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_refuses_names_that_a_file_cannot_have(tmp_path, name):
    with pytest.raises(drt.InputError, match=r"[Rr]ename"):
        drt.write_spectra(tmp_path / "a.h5", drt.Spectra(FREQUENCY, FREQUENCY * (1 - 1j), {name: [1]}))
    assert not list(tmp_path.iterdir())


def test_keeps_order_and_odd_names(tmp_path):
    names = ["z", "C rate (1|h)", "2nd", "Ω", "a.b", "_x", "cell"]
    drt.write_spectra(tmp_path / "a.h5", spectra(2, **{name: [1.5, 2.5] for name in names}))
    assert list(drt.read_spectra(tmp_path / "a.h5").states) == names


def test_refuses_the_same_name_twice(tmp_path):
    states = pd.DataFrame(np.ones((2, 2)), columns=["a", "a"])
    with pytest.raises(drt.InputError, match="distinct"):
        drt.write_spectra(tmp_path / "a.h5", drt.Spectra(FREQUENCY, np.ones((2, 6)), states))


def test_fixed_names_have_their_units(tmp_path):
    drt.write_spectra(tmp_path / "a.h5", spectra(2, voltage=[3, 4], temperature=[20.5, 21], cycle=[1, 2]))
    with h5py.File(tmp_path / "a.h5") as file:
        group = file["spectra/default"]
        assert group["voltage"].attrs["units"] == b"V"
        assert group["temperature"].attrs["units"] == b"degC"
        assert "units" not in group["cycle"].attrs


@pytest.mark.parametrize("values", [["2 V", "3 V"], pd.to_datetime(["2024-01-01", "2024-01-02"]), [True, False]])
def test_fixed_names_hold_numbers(tmp_path, values):
    with pytest.raises(drt.InputError, match="'time' must hold numbers in s"):
        drt.write_spectra(tmp_path / "a.h5", spectra(2, time=values))


def blocks(tmp_path, *columns):
    """Write blocks of whole chunks, so that the first is in the file when the second comes."""
    frequency = np.logspace(4, 0, 4096)
    with SpectraWriter(tmp_path / "a.h5") as writer:
        for values in columns:
            writer.append(drt.Spectra(frequency, np.ones((len(values), frequency.size)), {"x": values}))
    assert scan(tmp_path / "a.h5").spectra[0].chunk == 16
    return drt.read_spectra(tmp_path / "a.h5").states["x"]


JOINED = {
    "int after float": ([0.5] * 16, [1] * 16),
    "whole floats after int": ([1] * 16, [2.0] * 16),
    "small after large": (np.arange(16), np.arange(16, dtype=np.int8)),
    "missing after text": (["a"] * 16, ["b", None] * 8, ["c"] * 3),
    "nothing after text": (["a"] * 16, [None] * 16),
    "longer after short": (["a"] * 16, ["bcdefg"] * 16, ["🔋 µ"] * 16),
    "much longer after empty": ([""] * 16, ["x" * 17, "y" * 100, "", "z"] * 4, [None, "v" * 1000] * 8, ["end"] * 5),
    "short after longer": (["abcdef"] * 16, ["g"] * 16),
    "present after missing": (pd.array([1, None] * 8, dtype="Int64"), np.arange(16)),
    "coarse after fine instants": (
        np.full(16, "2024-01-01", dtype="datetime64[us]"),
        np.full(16, "2024-01-02", dtype="datetime64[us]"),
    ),
}


@pytest.mark.parametrize("columns", JOINED.values(), ids=JOINED)
def test_blocks_join_where_no_value_changes(tmp_path, columns):
    found = blocks(tmp_path, *columns)
    expected = pd.concat([pd.Series(values, dtype=object) for values in columns], ignore_index=True)
    present = expected.notna()
    np.testing.assert_array_equal(found.notna(), present)
    assert found[present].tolist() == expected[present].tolist()


TORN = {
    "float after int": ([1] * 16, [0.5] * 16),
    "missing after int": ([1] * 16, [np.nan] * 16),
    "large after small": (np.ones(16, dtype=np.int8), [1000] * 16),
    "too exact": ([0.5] * 16, [2**53 + 1] * 16),
    "text after int": ([1] * 16, ["a"] * 16),
    "missing after bool": ([True] * 16, pd.array([True, None] * 8, dtype="boolean")),
    "numbers after bool": ([True] * 16, [1] * 16),
    "time zone": (pd.date_range("2024", periods=16), pd.date_range("2024", periods=16, tz="UTC")),
}


@pytest.mark.parametrize("columns", TORN.values(), ids=TORN)
def test_blocks_do_not_join_where_a_value_would_change(tmp_path, columns):
    with pytest.raises(drt.InputError, match=r"'x' began as .* and goes on as"):
        blocks(tmp_path, *columns)
    assert not list(tmp_path.iterdir())


def test_single_rows_find_their_common_type(tmp_path):
    with SpectraWriter(tmp_path / "a.h5") as writer:
        for voltage, note in ((3, None), (3.5, "x"), (4, None)):
            writer.append(spectra(1, voltage=[voltage], note=[note]))
    states = drt.read_spectra(tmp_path / "a.h5").states
    assert states["voltage"].tolist() == [3, 3.5, 4]
    assert states["note"].isna().tolist() == [True, False, True]


# Text as characters


def stored(path, name="x"):
    """Characters of a text column, and the dimensions of its group that count characters."""
    with h5py.File(path) as file:
        group = file["spectra/default"]
        dimensions = {key: item.shape[0] for key, item in group.items() if key.startswith("string")}
        return group[name][:], dimensions


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_text_is_characters_with_a_checksum(tmp_path, compression):
    states = {"x": ["aµ", None, ""], "y": ["abc", "d", "e"], "z": ["f", "g", "h"]}
    drt.write_spectra(tmp_path / "a.h5", spectra(3, **states), compression=compression)
    with h5py.File(tmp_path / "a.h5") as file:
        group = file["spectra/default"]
        for name, width in (("x", 3), ("y", 3), ("z", 1)):
            dataset = group[name]
            assert (dataset.dtype, dataset.shape) == (np.dtype("S1"), (3, width))
            assert (dataset.fletcher32, dataset.compression) == (True, compression)
            assert dataset.attrs["_Encoding"] == b"utf-8"
            assert [dimension[0].name.split("/")[-1] for dimension in dataset.dims] == ["spectrum", f"string{width}"]
        assert b"".join(group["x"][0]) == "aµ".encode()
        assert group["x"].attrs["missing_value"].decode() == "\N{SYMBOL FOR NULL}"
        assert "missing_value" not in group["y"].attrs
    assert stored(tmp_path / "a.h5")[1] == {"string3": 3, "string1": 1}


def test_dimension_of_text_grows_with_it(tmp_path):
    with SpectraWriter(tmp_path / "a.h5") as writer:
        frequency = np.logspace(4, 0, 4096)  # 16 rows in a chunk
        for text in ("ab", "a" * 20, "abc", "🔋" * 10):
            states = {"x": [text] * 16, "y": ["ab"] * 16}
            writer.append(drt.Spectra(frequency, np.ones((16, 4096)), states))
    characters, dimensions = stored(tmp_path / "a.h5")
    assert dimensions == {"string2": 2, "string40": 40}
    assert characters.shape == (64, 40)
    with xr.open_dataset(tmp_path / "a.h5", engine="h5netcdf", group="/spectra/default") as dataset:
        assert dataset.x.dims == ("spectrum",)
        assert dataset.x.data[[0, 16, 32, 48]].tolist() == ["ab", "a" * 20, "abc", "🔋" * 10]
        assert dataset.encoding["unlimited_dims"] == {"spectrum"}


def test_dimension_of_text_keeps_clear_of_states(tmp_path):
    drt.write_spectra(tmp_path / "a.h5", spectra(2, x=["ab", "c"], string2=[1.5, 2.5]))
    assert set(stored(tmp_path / "a.h5")[1]) == {"string2", "string2_"}
    states = drt.read_spectra(tmp_path / "a.h5").states
    assert states["x"].tolist() == ["ab", "c"]
    assert states["string2"].tolist() == [1.5, 2.5]
    with xr.open_dataset(tmp_path / "a.h5", engine="h5netcdf", group="/spectra/default") as dataset:
        assert dataset.x.data.tolist() == ["ab", "c"]
        assert dataset.string2.data.tolist() == [1.5, 2.5]


TEXTS = ["a", "", "µ🔋", "a b "]
BYTES = [text.encode() for text in TEXTS]
FOREIGN = {
    "variable length": (TEXTS, h5py.string_dtype()),
    "variable length, ASCII": (["a", "", "b", "a b "], h5py.string_dtype("ascii")),
    "fixed length": (np.array(BYTES), np.dtype("S6")),
    "longer than needed": (np.array(BYTES, dtype="S40"), h5py.string_dtype("ascii", 40)),
    "characters": (np.array(BYTES).view("S1").reshape(4, 6), np.dtype("S1")),
    "more characters than needed": (np.array(BYTES, dtype="S9").view("S1").reshape(4, 9), np.dtype("S1")),
    "one letter each": (np.array([b"a", b"", b"b", b"c"]), np.dtype("S1")),
    "no characters": (np.zeros((4, 0), dtype="S1"), np.dtype("S1")),
}


def foreign(path, values, dtype, **attributes):
    """Write a campaign as others do, with one text column."""
    drt.write_spectra(path, spectra(4))
    with h5py.File(path, "a") as file:
        group = file["spectra/default"]
        group.create_dataset("x", data=values, dtype=dtype)
        group["x"].attrs.update(attributes)
        group.attrs["states"] = json.dumps(["x"])


@pytest.mark.parametrize(("values", "dtype"), FOREIGN.values(), ids=FOREIGN)
def test_reads_text_of_others_and_passes_it_on(tmp_path, values, dtype):
    foreign(tmp_path / "a.h5", values, dtype)
    found = drt.read_spectra(tmp_path / "a.h5").states["x"]
    assert found.dtype == TEXT
    plain = [b"".join(row) if np.ndim(row) else row for row in values]
    expected = [text.decode() if isinstance(text, bytes) else text for text in plain]
    assert found.tolist() == expected
    assert drt.read_spectra(tmp_path / "a.h5", rows=[2, 0, 0]).states["x"].tolist() == [expected[k] for k in (2, 0, 0)]
    drt.invert_file(tmp_path / "a.h5", tmp_path / "b.h5", method=METHOD)
    assert drt.read_inversion(tmp_path / "b.h5").states["x"].tolist() == expected
    with h5py.File(tmp_path / "b.h5") as file:
        copied = file["inversions/default/default/x"]
        assert copied.dtype == np.dtype("S1")
        assert copied.fletcher32
        assert copied.shape == (4, max(1, *(len(text.encode()) for text in expected)))


def test_rows_of_text_are_passed_on(tmp_path):
    notes = ["", None, "µ" * 30, "b"]
    drt.write_spectra(tmp_path / "a.h5", spectra(4, cycle=[1, 2, 3, 4], x=notes))
    drt.invert_file(tmp_path / "a.h5", tmp_path / "b.h5", method=METHOD, where="cycle in [1, 2, 4]")
    found = drt.read_inversion(tmp_path / "b.h5").states["x"]
    assert [None if pd.isna(text) else text for text in found] == ["", None, "b"]


def test_refuses_text_that_is_not_utf_8(tmp_path):
    cells = np.array(["µ".encode("latin-1")] * 4).view("S1").reshape(4, 1)
    foreign(tmp_path / "a.h5", cells, "S1", _Encoding="latin-1")
    with pytest.raises(drt.FileFormatError, match=r"/x has the encoding 'latin-1'; expected 'utf-8'"):
        drt.read_spectra(tmp_path / "a.h5")
    foreign(tmp_path / "b.h5", cells, "S1")
    with pytest.raises(drt.FileFormatError, match=r"b\.h5: cannot be read; .* 'utf-8' codec can't decode"):
        drt.read_spectra(tmp_path / "b.h5")


def test_text_that_others_write_too_long_is_refused_by_name(tmp_path):
    foreign(tmp_path / "a.h5", ["a", "b", "c", "x" * 65536], h5py.string_dtype())
    with pytest.raises(drt.InputError, match="'x' holds a text of 65536 bytes"):
        drt.invert_file(tmp_path / "a.h5", tmp_path / "b.h5", method=METHOD)


def test_reads_text_in_bounded_memory(tmp_path):
    rows = 12_000
    texts = np.array(["a"] * rows, dtype=object)
    texts[[17, 9000]] = "long " * 1000
    drt.write_spectra(tmp_path / "a.h5", spectra(rows, x=texts), compression="gzip")
    tracemalloc.start()
    try:
        found = drt.read_spectra(tmp_path / "a.h5").states["x"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found == texts).all()
    assert rows * 5000 > 50e6
    assert peak < 20e6


def test_all_rows_are_read_as_rows_that_are_named(tmp_path, monkeypatch):
    rows, rng = 50, np.random.default_rng(0)
    kept = {name: pd.Series(values) for name, values in KEPT.items() if not name.startswith(("long", "int in foreign"))}
    states = {name: one.iloc[rng.integers(0, 3, rows)].reset_index(drop=True) for name, one in kept.items()}
    drt.write_spectra(tmp_path / "a.h5", spectra(rows, **states))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        # As files of others have it.
        names = file["spectra/default"].attrs["states"]
        file["spectra/default"].attrs["states"] = json.dumps([*json.loads(names), "other"])
        text = h5py.string_dtype()
        file["spectra/default"].create_dataset("other", data=[f"ä{k % 7}" for k in range(rows)], dtype=text)
    monkeypatch.setattr("drt_engine.hdf5.text._MOST_ROWS", 8)
    with opened_grid(tmp_path / "a.h5", "default") as reader:
        for categories in (False, True):
            every = reader.states(None, categories=categories)
            pd.testing.assert_frame_equal(every, reader.states(np.arange(rows), categories=categories))
            assert list(every["other"]) == [f"ä{k % 7}" for k in range(rows)]
        for some in (slice(3, 20), slice(0, 0), slice(49, 50)):
            assert np.array_equal(reader.read("impedance_real", some), reader.read("impedance_real")[some])
