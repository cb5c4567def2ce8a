"""The result: frozen, with one row a spectrum, its flags and its table."""

import numpy as np
import pytest

from drt_engine.errors import InputError
from drt_engine.validation import LinearKramersKronig, Validity, ZHit, validate

from .made import FREQUENCY, cells, spectra_of


@pytest.fixture(scope="module")
def found():
    z = cells(rows=5)
    z[1, 12] *= 1.05
    z[2] = np.nan
    return validate(spectra_of(z, {"cycle": [1, 2, 3, 4, 5], "score": list("abcde")}))


def test_it_is_frozen(found):
    with pytest.raises(ValueError, match="read-only"):
        found.residual[0, 0] = 0
    with pytest.raises(AttributeError):
        found.flag = found.flag


def test_chi_square_is_of_the_model_that_mu_chooses_and_the_root_mean_square_of_the_one_that_is_judged(found):
    square, full = (np.sum(np.abs(one[0]) ** 2) for one in (found.residual, found.full_residual.astype(complex)))
    assert found.chi_square[0] == pytest.approx(square)
    assert found.rms[0] == pytest.approx(100 * np.sqrt(full / FREQUENCY.size))
    # Both parts have the noise; some of it goes into the elements.
    assert 0.8 < found.rms[0] / (100 * np.sqrt(2) * found.noise[0]) < 1.2
    assert found.rms[1] > found.rms[0]
    assert np.isnan(found.rms[2])


def test_the_table_has_a_row_for_each_spectrum(found):
    table = found.to_frame()
    assert len(table) == len(found) == 5
    assert list(table.columns) == [
        "cycle", "score", "valid", "flag", "score_kk", "rms", "chi_square", "elements", "mu", "noise",
        "noise_constant", "noise_proportional", "drift", "drift_error", "outliers",
            "prediction", "prediction_error",
    ]  # fmt: skip
    assert table["flag"].tolist() == ["valid", "outlier", "not_finite", "valid", "valid"]
    assert table["outliers"].tolist() == [0, 1, 0, 0, 0]
    assert table["noise"][0] == pytest.approx(100 * found.noise[0])
    assert table["score"].tolist() == list("abcde")


def test_counts_and_words(found):
    assert found.counts() == {"valid": 3, "outlier": 1, "not finite": 1}
    assert repr(found).startswith("Validation(5 spectra, 43 frequencies: 3 valid, 1 outlier, 1 not finite)\n")
    assert "Clean them" in repr(found)
    assert Validity.VALID.message == "Valid."
    for flag in Validity:
        assert len(flag.message) > 5


def test_rows_can_be_chosen(found):
    some = found[found.states["cycle"] > 3]
    assert some.states["cycle"].tolist() == [4, 5]
    np.testing.assert_array_equal(some.residual, found.residual[3:])
    assert len(found[1]) == 1
    assert found[1].outlier.sum() == 1


def test_shapes_are_checked(found):
    from dataclasses import replace

    with pytest.raises(InputError, match=r"mu must have shape \(5,\); got \(4,\)"):
        replace(found, mu=found.mu[1:])
    with pytest.raises(InputError, match="one row for each of the 5"):
        replace(found, states=found.states[1:])


@pytest.mark.parametrize("method", [LinearKramersKronig(), ZHit()])
def test_settings_hold_every_field(method):
    import json
    from dataclasses import fields

    settings = json.loads(json.dumps(method.settings()))
    assert set(settings) == {"name", *(field.name for field in fields(method))}
