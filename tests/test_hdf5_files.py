"""Files of spectra and of inversions: round trips, other readers, and the page that describes the format."""

import dataclasses
import hashlib
import json
import re
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import drt_engine as drt
from drt_engine.errors import UnknownNameError
from drt_engine.hdf5 import SpectraWriter, add_spectra, digest, scan, schema
from drt_engine.hdf5.inversion_rows import Solutions, put_solutions
from drt_engine.spectra import STATE_UNITS

METHODS = {
    "default": drt.Tikhonov(),
    "piecewise": drt.Tikhonov(basis="piecewise-linear", capacitance=True, regularisation=1e-3),
    "custom tau": drt.Tikhonov(basis="c2-matern", tau=np.logspace(-6, 2, 30) * np.linspace(1, 2, 30), part="im"),
}
LATER = ("noise_floor", "noise_relative", "r_pol_beyond", "coupling", "shift", "coupling_across", "shift_across")
SCALARS = ("r_inf", "inductance", "capacitance", "r_pol", "regularisation", "residual", "optimality", "status", *LATER)
PAGE = Path(__file__).parent.parent / "docs" / "format.md"


@pytest.fixture(scope="module")
def spectra(noisy):
    """Seven spectra, one of them without a finite point and one with a point missing, and states of every kind."""
    z = np.concatenate([noisy.impedance, noisy.impedance[:1]])
    z[2] = np.nan
    z[3, 4] = np.nan
    states = {
        "cell": list("BBBCCCC"),
        "cycle": np.arange(7),
        "voltage": np.linspace(2.2, 4.7, 7),
        "note": ["", None, "µ", "a b", "c", "d", "e"],
        "rest": [True, False] * 3 + [True],
        "date": pd.date_range("2024-02-28", periods=7, freq="h"),
    }
    return drt.Spectra(noisy.frequency, z, states)


@pytest.fixture(scope="module", params=METHODS.values(), ids=METHODS)
def inversion(request, spectra):
    return drt.invert(spectra, request.param)


@pytest.fixture
def campaign(tmp_path, spectra):
    """A file with two grids."""
    path = tmp_path / "campaign.h5"
    other = drt.Spectra(np.logspace(4, 0, 9), np.ones((3, 9)) * (2 - 1j), {"cell": ["X", "Y", "Z"]})
    drt.write_spectra(path, {"long": spectra, "short": other})
    return path


def assert_same_spectra(found, expected):
    np.testing.assert_array_equal(found.frequency, expected.frequency)
    np.testing.assert_array_equal(found.impedance, expected.impedance)
    pd.testing.assert_frame_equal(found.states, expected.states)


def groups(path):
    """Paths of every group of a file."""
    found = ["/"]
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(f"/{name}") if isinstance(item, h5py.Group) else None)
    return found


# Round trips


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_spectra_come_back(tmp_path, spectra, compression):
    drt.write_spectra(tmp_path / "a.h5", spectra, compression=compression)
    assert_same_spectra(drt.read_spectra(tmp_path / "a.h5"), spectra)
    with h5py.File(tmp_path / "a.h5") as file:
        dataset = file["spectra/default/impedance_real"]
        assert dataset.compression == compression
        assert dataset.dtype == np.float64


def test_spectra_without_states_and_without_rows_come_back(tmp_path, spectra):
    for some in (drt.Spectra(spectra.frequency, spectra.impedance), drt.Spectra(spectra.frequency, np.ones((0, 36)))):
        drt.write_spectra(tmp_path / "a.h5", some, overwrite=True)
        assert_same_spectra(drt.read_spectra(tmp_path / "a.h5"), some)


def test_several_grids_have_names(campaign, spectra):
    assert_same_spectra(drt.read_spectra(campaign, "long"), spectra)
    assert drt.read_spectra(campaign, grid="short").frequency.size == 9
    with pytest.raises(drt.InputError, match="'long', 'short'"):
        drt.read_spectra(campaign)
    with pytest.raises(UnknownNameError, match="'long', 'short'"):
        drt.read_spectra(campaign, "lang")


ROWS = {
    "number": 3,
    "negative": -1,
    "slice": slice(1, 5),
    "backwards": slice(None, None, -2),
    "list": [5, 0, 0, 2],
    "far apart": np.array([0, 29_999, 20_000, 20_001]),
    "none": np.array([], dtype=int),
    "mask": np.arange(30_000) % 7000 == 3,
}


def test_times_of_points_are_kept_and_need_not_be_there(tmp_path, spectra):
    path, more, timed = tmp_path / "a.h5", tmp_path / "b.h5", tmp_path / "c.h5"
    times = np.arange(spectra.impedance.size, dtype=float).reshape(spectra.impedance.shape)
    times[1, 2] = np.nan
    with_times = drt.Spectra(spectra.frequency, spectra.impedance, spectra.states, times)
    drt.write_spectra(timed, with_times)
    np.testing.assert_array_equal(drt.read_spectra(timed, rows=[4, 1]).point_time, times[[4, 1]])
    drt.write_spectra(path, spectra)
    assert drt.read_spectra(path).point_time is None
    add_spectra(path, {"default": with_times}, keep=True)
    joined = drt.read_spectra(path).point_time
    assert np.isnan(joined[: len(spectra)]).all()
    np.testing.assert_array_equal(joined[len(spectra) :], times)
    with SpectraWriter(more) as writer:
        writer.append(with_times)
        with pytest.raises(drt.InputError, match="began with point_time"):
            writer.append(spectra)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "a.h5"
    z = np.arange(30_000)[:, None] + np.arange(5) * 1j
    drt.write_spectra(path, drt.Spectra(np.logspace(2, 0, 5), z, {"row": np.arange(30_000)}))
    return path


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_reads_only_the_rows_that_are_asked_for(long_file, rows):
    found = drt.read_spectra(long_file, rows=rows)
    expected = np.atleast_1d(np.arange(30_000)[rows])
    np.testing.assert_array_equal(found.impedance.real[:, 0], expected)
    np.testing.assert_array_equal(found.states["row"], expected)


@pytest.mark.parametrize("rows", [30_000, [0, 40_000], "a", 0.5, [[0, 1]], np.ones(3, dtype=bool)], ids=repr)
def test_refuses_rows_that_there_are_none_of(long_file, rows):
    with pytest.raises(drt.InputError, match="rows must"):
        drt.read_spectra(long_file, rows=rows)


def test_inversion_comes_back_whole(tmp_path, inversion):
    drt.write_inversion(tmp_path / "a.h5", inversion, name="first", grid="long")
    found = drt.read_inversion(tmp_path / "a.h5")
    for name in ("frequency", "tau", "coefficients", "gamma", *SCALARS):
        np.testing.assert_array_equal(getattr(found, name), getattr(inversion, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(inversion, name).dtype
    pd.testing.assert_frame_equal(found.states, inversion.states)
    assert found.method == inversion.method
    tau, frequency = np.logspace(-5, 1, 17), np.logspace(4, -1, 11)
    np.testing.assert_array_equal(found.gamma_at(tau), inversion.gamma_at(tau))
    np.testing.assert_array_equal(found.impedance_at(frequency), inversion.impedance_at(frequency))
    assert found.counts() == inversion.counts()
    xr.testing.assert_identical(found.to_xarray(), inversion.to_xarray())


def test_rows_of_an_inversion(tmp_path, inversion):
    drt.write_inversion(tmp_path / "a.h5", inversion)
    found = drt.read_inversion(tmp_path / "a.h5", rows=[4, 1])
    np.testing.assert_array_equal(found.coefficients, inversion.coefficients[[4, 1]])
    assert found.states["cycle"].tolist() == [4, 1]


def test_inversions_have_names_too(tmp_path, inversion):
    path = tmp_path / "a.h5"
    drt.write_inversion(path, {"one": inversion, "two": inversion})
    with pytest.raises(drt.InputError, match=r"grid.*'one', 'two'"):
        drt.read_inversion(path)
    with pytest.raises(UnknownNameError, match=r"inversion.*'default'"):
        drt.read_inversion(path, "other")
    assert len(drt.read_inversion(path, grid="two")) == 7


def test_provenance(tmp_path, inversion, campaign):
    drt.write_inversion(tmp_path / "a.h5", inversion, source=campaign)
    (info,) = scan(tmp_path / "a.h5").inversions
    assert info.source == "campaign.h5"
    assert info.input_digest == "sha256:" + hashlib.sha256(campaign.read_bytes()).hexdigest()
    assert {"drt-engine", "numpy", "scipy", "cvxpy", "numba", "h5py", "HDF5", "python"} == set(info.versions)
    assert info.versions["numpy"] == np.__version__
    assert abs(pd.Timestamp(info.created) - pd.Timestamp.now("UTC")) < pd.Timedelta(minutes=1)
    assert info.settings == json.loads(json.dumps(inversion.method.settings()))
    assert info.counts == inversion.counts()
    assert str(tmp_path).encode() not in (tmp_path / "a.h5").read_bytes()


def test_settings_are_plain(tmp_path, inversion):
    class Other:
        linear = True

        def __init__(self, value):
            self.value = value

        def settings(self):
            return inversion.method.settings() | {"order": self.value}

    order = np.int64(inversion.method.order)
    drt.write_inversion(tmp_path / "a.h5", replace(inversion, method=Other(order)))
    assert drt.read_inversion(tmp_path / "a.h5").method == inversion.method
    with pytest.raises(drt.InputError, match="numbers, text, True, False, None or lists of them; got set"):
        drt.write_inversion(tmp_path / "b.h5", replace(inversion, method=Other({1})))


def test_digest_of_a_large_file(tmp_path):
    content = bytes(range(256)) * 20_000
    (tmp_path / "a").write_bytes(content)
    assert digest(tmp_path / "a") == "sha256:" + hashlib.sha256(content).hexdigest()
    with pytest.raises(drt.FileFormatError, match="does not exist"):
        digest(tmp_path / "b")


def test_damaged_values_are_noticed(campaign, spectra):
    value = spectra.impedance.real[1, 0].tobytes()
    content = campaign.read_bytes()
    assert content.count(value) == 1
    campaign.write_bytes(content.replace(value, value[:3] + bytes([value[3] ^ 1]) + value[4:]))
    with pytest.raises(drt.FileFormatError, match=r"campaign\.h5: cannot be read; the file is damaged"):
        drt.read_spectra(campaign, "long")


def test_scan_tells_what_there_is(campaign, spectra):
    contents = scan(campaign)
    assert [(info.grid, info.spectra, info.frequency.size) for info in contents.spectra] == [
        ("long", 7, 36),
        ("short", 3, 9),
    ]
    assert contents.spectra[0].states == tuple(spectra.states)
    assert contents.format_version == 1
    assert contents.inversions == ()


# In single precision

TERMS = (
    *("tail_q", "tail_exponent", "tail_tau", "inductance_exponent"),
    *("parallel_capacitance", "drift_fast", "drift_slow"),
)
SINGLE = ("gamma", "coefficients", *TERMS, *(name for name in SCALARS if name != "status"))


def test_results_in_single_precision(tmp_path, inversion):
    drt.write_inversion(tmp_path / "a.h5", inversion, dtype="float32")
    drt.write_inversion(tmp_path / "b.h5", inversion)
    with h5py.File(tmp_path / "a.h5") as first, h5py.File(tmp_path / "b.h5") as second:
        single, double = (file["inversions/default/default"] for file in (first, second))
        assert set(single) == set(double)
        for name in double:
            expected = double[name][()]
            if name in (*SINGLE, "impedance_real", "impedance_imag"):
                assert single[name].dtype == np.float32
                with np.errstate(under="ignore"):
                    expected = expected.astype(np.float32)
            assert single[name].dtype == expected.dtype
            np.testing.assert_array_equal(single[name][()], expected, err_msg=name)
    found = drt.read_inversion(tmp_path / "a.h5")
    for name in ("tau", "frequency"):
        np.testing.assert_array_equal(getattr(found, name), getattr(inversion, name))
    for name in SINGLE:
        assert getattr(found, name).dtype == np.float64
        expected = getattr(inversion, name)
        # gamma and r_pol are computed again, from rounded coefficients.
        scale = np.nanmax(np.abs(expected[np.isfinite(expected)]), initial=0)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-6, atol=1e-6 * scale, err_msg=name)
    np.testing.assert_array_equal(found.status, inversion.status)
    pd.testing.assert_frame_equal(found.states, inversion.states)


def test_single_precision_takes_half_the_space(tmp_path, noisy):
    rows = 2000
    many = drt.Spectra(noisy.frequency, np.repeat(noisy.impedance[:1], rows, axis=0))
    result = drt.invert(many, METHODS["piecewise"])
    for name in ("float32", "float64"):
        drt.write_inversion(tmp_path / name, result, dtype=name)
    single, double = ((tmp_path / name).stat().st_size for name in ("float32", "float64"))
    assert single < 0.6 * double


def test_other_precisions_are_not_known(tmp_path, inversion):
    for name in ("float16", "single", None, np.float32):
        with pytest.raises(UnknownNameError, match=r"^dtype .* is not known; expected one of 'float64', 'float32'"):
            drt.write_inversion(tmp_path / "a.h5", inversion, dtype=name)
    assert not list(tmp_path.iterdir())


def test_what_single_precision_cannot_hold_is_refused(tmp_path, inversion):
    for name, value in (("coefficients", 1e39), ("regularisation", -4e38), ("r_inf", 3.5e38)):
        values = getattr(inversion, name).copy()
        values[5] = value
        large = replace(inversion, **{name: values})
        with pytest.raises(drt.InputError, match=rf"^(gamma|{name}) of spectrum 5 is .*e\+3.; .*Store float64"):
            drt.write_inversion(tmp_path / "a.h5", large, dtype="float32")
        assert not list(tmp_path.iterdir())
    largest = float(np.finfo(np.float32).max)
    drt.write_inversion(tmp_path / "a.h5", replace(inversion, r_inf=np.full(7, largest)), dtype="float32")
    assert (drt.read_inversion(tmp_path / "a.h5").r_inf == largest).all()


def test_what_is_as_good_as_infinite_becomes_so(tmp_path, inversion):
    large = {name: np.array([1.0, 1e39, np.inf, np.nan, 1e300, 2.0, 0.0]) for name in ("capacitance", "optimality")}
    drt.write_inversion(tmp_path / "a.h5", replace(inversion, **large), dtype="float32")
    found = drt.read_inversion(tmp_path / "a.h5")
    for name in large:
        np.testing.assert_array_equal(getattr(found, name), [1.0, np.inf, np.inf, np.nan, np.inf, 2.0, 0.0])


# Block by block


def test_writer_takes_blocks_of_any_size(tmp_path):
    frequency = np.logspace(3, 0, 1000)  # 64 rows in a chunk
    rng = np.random.default_rng(0)
    z = rng.standard_normal((333, 1000)) - 1j
    states = pd.DataFrame({"row": np.arange(333), "cell": [f"c{k}" for k in range(333)]})
    cuts = [0, 0, 1, 2, 63, 64, 65, 300, 333]
    with SpectraWriter(tmp_path / "a.h5") as writer:
        for first, last in pairwise(cuts):
            writer.append(drt.Spectra(frequency, z[first:last], states.iloc[first:last]))
            writer.append(drt.Spectra(frequency[:7], z[first:last, :7]), grid="short")
    found = drt.read_spectra(tmp_path / "a.h5", "default")
    assert_same_spectra(found, drt.Spectra(frequency, z, states))
    np.testing.assert_array_equal(drt.read_spectra(tmp_path / "a.h5", "short").impedance, z[:, :7])


def test_writer_refuses_what_does_not_belong_together(tmp_path, spectra):
    with SpectraWriter(tmp_path / "a.h5") as writer:
        writer.append(spectra)
        with pytest.raises(drt.InputError, match="other frequencies"):
            writer.append(drt.Spectra(spectra.frequency * 1.01, spectra.impedance, spectra.states))
        with pytest.raises(drt.InputError, match=r"state columns cell, cycle.*got none"):
            writer.append(drt.Spectra(spectra.frequency, spectra.impedance))
        with pytest.raises(drt.InputError, match="grid 'a/b'"):
            writer.append(spectra, grid="a/b")
        with pytest.raises(drt.InputError, match="must be a Spectra; got ndarray"):
            writer.append(spectra.impedance)
        writer.append(spectra[:1])
    assert len(drt.read_spectra(tmp_path / "a.h5")) == 8
    with pytest.raises(drt.InputError, match="with statement"):
        SpectraWriter(tmp_path / "b.h5").append(spectra)


def test_refuses_what_is_no_campaign(tmp_path, spectra, inversion):
    with pytest.raises(drt.InputError, match="at least one grid"):
        drt.write_spectra(tmp_path / "a.h5", {})
    with pytest.raises(drt.InputError, match="must be a Spectra; got Inversion"):
        drt.write_spectra(tmp_path / "a.h5", inversion)
    with pytest.raises(drt.InputError, match="must be a Inversion; got Spectra"):
        drt.write_inversion(tmp_path / "a.h5", spectra)
    with pytest.raises(UnknownNameError, match="'gzip'"):
        drt.write_spectra(tmp_path / "a.h5", spectra, compression="zip")
    assert not list(tmp_path.iterdir())


# Other readers


def opened_by_xarray(path):
    """What xarray has of every group, without a warning."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for group in groups(path):
            with xr.open_dataset(path, engine="h5netcdf", group=group) as dataset:
                found[group] = dataset.load()
    return found


@pytest.mark.slow
def test_xarray_opens_every_group_of_spectra(campaign, spectra):
    opened = opened_by_xarray(campaign)
    assert list(opened) == ["/", "/spectra", "/spectra/long", "/spectra/short"]
    dataset = opened["/spectra/long"]
    assert dict(dataset.sizes) == {"spectrum": 7, "frequency": 36}
    assert set(dataset.coords) == {"frequency"}
    found = dataset.impedance_real + 1j * dataset.impedance_imag
    np.testing.assert_array_equal(found, spectra.impedance)
    assert dataset.impedance_imag.units == "ohm"
    assert dataset.cell.data.tolist() == list("BBBCCCC")
    assert dataset.rest.dtype == bool
    assert dataset.cycle.dtype == np.int64
    np.testing.assert_array_equal(dataset.date, spectra.states["date"].to_numpy())
    assert [str(value) for value in dataset.note.data[:3]] == ["", "nan", "µ"]


@pytest.mark.slow
def test_xarray_opens_every_group_of_inversions(tmp_path, inversion):
    result = tmp_path / "result.h5"
    drt.write_inversion(result, inversion, name="first", grid="long")
    opened = opened_by_xarray(result)
    assert list(opened) == ["/", "/inversions", "/inversions/first", "/inversions/first/long"]
    dataset = opened["/inversions/first/long"]
    assert dict(dataset.sizes) == {"spectrum": 7, "tau": inversion.tau.size, "frequency": 36}
    assert set(dataset.coords) == {"frequency", "tau"}
    np.testing.assert_array_equal(dataset.gamma, inversion.gamma)
    masks = dict(zip(dataset.status.flag_meanings.split(), dataset.status.flag_masks, strict=True))
    assert masks["not_finite"] == drt.Status.NOT_FINITE
    assert dataset.status.data.tolist() == inversion.status.tolist()


def test_xarray_can_write_it_again(tmp_path, spectra):
    complete = drt.Spectra(spectra.frequency, spectra.impedance, spectra.states.drop(columns="note"))
    drt.write_spectra(tmp_path / "a.h5", complete)
    with xr.open_dataset(tmp_path / "a.h5", engine="h5netcdf", group="/spectra/default") as dataset:
        dataset.to_netcdf(tmp_path / "b.h5", engine="h5netcdf", group="/spectra/default")
    with h5py.File(tmp_path / "b.h5", "a") as file:
        file.attrs["format"], file.attrs["format_version"] = "drt-engine", 1
    found = drt.read_spectra(tmp_path / "b.h5")
    np.testing.assert_array_equal(found.impedance, complete.impedance)
    assert found.states["cell"].tolist() == list("BBBCCCC")
    assert found.states["date"].tolist() == complete.states["date"].tolist()
    assert found.states["rest"].tolist() == complete.states["rest"].tolist()


def test_scales_are_attached_and_labelled(campaign):
    with h5py.File(campaign) as file:
        dimensions = file["spectra/long/impedance_real"].dims
        assert [dimension.label for dimension in dimensions] == ["spectrum", "frequency"]
        assert [dimension[0].name.split("/")[-1] for dimension in dimensions] == ["spectrum", "frequency"]


def test_files_of_earlier_versions_open(tmp_path, spectra):
    path = tmp_path / "old.drt.h5"
    result = drt.invert(spectra, METHODS["piecewise"])
    drt.write_inversion(path, result)
    with h5py.File(path, "r+") as file:
        group = file["inversions/default/default"]
        for name in LATER:
            del group[name]
        status = group["status"][()].astype(np.uint8)
        del group["status"]
        group["status"] = status
    found = drt.read_inversion(path)
    np.testing.assert_array_equal(found.coefficients, result.coefficients)
    np.testing.assert_array_equal(found.status, result.status)
    assert found.status.dtype == np.uint32
    for name in LATER:
        assert np.isnan(getattr(found, name)).all()
    # Rows are put beside them with room for all flags.
    drt.write_spectra(tmp_path / "c.h5", spectra)
    (info,) = scan(tmp_path / "c.h5").spectra
    again = Solutions(result.method, np.array([0]), result[[0]], True)
    put_solutions(path, tmp_path / "c.h5", {info: again}, "default")
    with h5py.File(path) as file:
        assert file["inversions/default/default/status"].dtype == np.uint32
    np.testing.assert_array_equal(drt.read_inversion(path).status, result.status)


# The page about the format


INTERVALS = dataclasses.replace(
    schema.INVERSION_WITH_INTERVALS,
    path="Intervals",
    attributes=tuple(set(schema.INVERSION_WITH_INTERVALS.attributes) - set(schema.INVERSION.attributes)),
    variables=tuple(set(schema.INVERSION_WITH_INTERVALS.variables) - set(schema.INVERSION.variables)),
)


@pytest.mark.parametrize("group", [*schema.GROUPS, INTERVALS], ids=lambda group: group.path)
def test_page_has_the_table_of_the_format(group):
    page = PAGE.read_text(encoding="utf-8")
    heading = group.path if group is INTERVALS else f"`{group.path}`"
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"]
    found = {row[0].strip("`"): row[1:] for row in rows}
    for variable in group.variables:
        dimensions = ", ".join(variable.dimensions)
        assert found.pop(variable.name) == [
            dimensions,
            variable.dtype,
            variable.units or "",
            _named(variable.long_name, variable),
        ]
    for attribute in group.attributes:
        assert found.pop(attribute.name) == [attribute.kind.__name__, _named(attribute.meaning, attribute)]
    assert not found


def _named(meaning, item):
    return meaning if item.required else f"{meaning} (optional)"


def test_page_has_the_units_of_the_states():
    section = PAGE.read_text(encoding="utf-8").split("\n## State columns\n")[1].split("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (\w+) \|$", section, flags=re.MULTILINE)) == STATE_UNITS
