"""Cleaning takes out what it says, says what it took out, and leaves the input alone."""

import json

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.validation import Cleaning, LinearKramersKronig, clean

from .made import FREQUENCY, cells, spectra_of

ONLY = {"outliers": False}


def taken(cleaned):
    return np.isnan(cleaned.spectra.impedance)


def test_outliers_are_taken_out_and_recorded():
    z = cells()
    z[1, 12] *= 1.05
    z[2, 20] = np.nan
    spectra = spectra_of(z, {"cycle": [1, 2, 3, 4]})
    before = spectra.impedance.copy()
    cleaned = clean(spectra)
    np.testing.assert_array_equal(spectra.impedance, before)
    gone = np.zeros(z.shape, dtype=bool)
    gone[1, 12] = True
    np.testing.assert_array_equal(taken(cleaned), gone | np.isnan(z))
    np.testing.assert_array_equal(cleaned.spectra.impedance[~taken(cleaned)], before[~taken(cleaned)])
    assert cleaned.spectra.states["cycle"].tolist() == [1, 2, 3, 4]
    [row] = cleaned.record.to_dict("records")
    assert row == {
        "spectrum": 1, "point": 12, "frequency": FREQUENCY[12], "reason": "outlier", "real": z[1, 12].real,
        "imag": z[1, 12].imag,
    }  # fmt: skip
    assert cleaned.counts()["outlier"] == 1
    assert "1 of them changed; points taken out: 1 outlier" in repr(cleaned)
    assert drt.invert(cleaned.spectra, drt.Tikhonov()).solved.all()


def test_every_step_has_its_reason_and_each_point_one():
    z = cells(rows=2)
    z[0, :3] = np.abs(z[0, :3].real) + 1j
    z[1, 1] += 1e3j
    mask = np.zeros(z.shape, dtype=bool)
    mask[1, [5, 6]] = True
    cleaning = Cleaning(frequency_range=(0.1, None), bands=[(40.0, 60.0), (FREQUENCY[5], FREQUENCY[5])],
                        inductive_tail=True, **ONLY)  # fmt: skip
    cleaned = clean(spectra_of(z), cleaning, mask=mask)
    assert not cleaned.record.duplicated(["spectrum", "point"]).any()
    assert len(cleaned.record) == taken(cleaned).sum()
    reasons = {(row.spectrum, row.point): row.reason for row in cleaned.record.itertuples()}
    low = np.flatnonzero(FREQUENCY < 0.1)
    mains = np.flatnonzero((FREQUENCY >= 40) & (FREQUENCY <= 60))
    expected = {(k, int(p)): "frequency range" for k in (0, 1) for p in low}
    expected |= {(k, int(p)): "band" for k in (0, 1) for p in (*mains, 5)}
    expected |= {(1, 6): "mask"}
    expected |= {(0, p): "inductive tail" for p in range(3)}
    assert z[1, 0].imag < 0  # so the tail of the second ends before it begins
    assert reasons == expected
    assert cleaned.counts() == {"frequency range": 2 * len(low), "band": 2 * len(mains) + 2, "mask": 1,
                                "inductive tail": 3, "outlier": 0}  # fmt: skip


def test_settings_are_json_and_tell_everything():
    cleaning = Cleaning((None, 1e4), [(1, 2)], True, True, LinearKramersKronig(part="im"))
    mask = np.arange(FREQUENCY.size) == 4
    settings = clean(spectra_of(cells()), cleaning, mask=mask).settings
    again = json.loads(json.dumps(settings))
    assert again["frequency_range"] == [None, 1e4]
    assert again["bands"] == [[1.0, 2.0]]
    assert again["inductive_tail"] is again["outliers"] is True
    assert again["method"]["name"] == "linear-kramers-kronig"
    assert again["method"]["part"] == "im"
    assert again["mask"] == len(cells())


def test_nothing_to_do_is_an_empty_record():
    z = cells()
    cleaned = clean(spectra_of(z), Cleaning(**ONLY))
    assert len(cleaned.record) == 0
    assert set(cleaned.record.columns) == {"spectrum", "point", "frequency", "reason", "real", "imag"}
    np.testing.assert_array_equal(cleaned.spectra.impedance, z)
    assert "taken out: none" in repr(cleaned)


def test_a_mask_of_the_grid_is_for_all_spectra():
    mask = FREQUENCY > 1e4
    np.testing.assert_array_equal(taken(clean(spectra_of(cells()), Cleaning(**ONLY), mask=mask)), np.tile(mask, (4, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frequency_range": (10, 1)}, "the lower one first"),
        ({"frequency_range": 5}, "frequency_range must be pairs"),
        ({"bands": 5}, "bands must be pairs"),
        ({"bands": [(1, 2, 3)]}, "bands must be pairs"),
        ({"bands": [(-1, 2)]}, "not negative"),
        ({"bands": [("a", "b")]}, "frequencies in Hz"),
        ({"outliers": 1}, "outliers must be True or False"),
        ({"method": "kk"}, "method must be a test"),
    ],
)
def test_mistakes_are_explained(options, message):
    with pytest.raises(InputError, match=message):
        Cleaning(**options)


def test_wrong_arguments_are_explained():
    spectra = spectra_of(cells())
    with pytest.raises(InputError, match="must be a Spectra"):
        clean([1])
    with pytest.raises(InputError, match="must be a Cleaning"):
        clean(spectra, {"outliers": True})
    with pytest.raises(InputError, match=r"booleans of shape \(4, 43\) or \(43,\)"):
        clean(spectra, mask=[1, 2])
