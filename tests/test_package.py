"""What a user meets before anything is computed."""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import drt_engine as drt


def modules_after(code):
    listing = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listing.stdout.split())


def test_importing_is_light():
    loaded = modules_after("import drt_engine")
    assert not loaded & {"cvxpy", "numba", "matplotlib", "scipy", "pandas", "h5py"}


def test_spectra_and_methods_need_no_solver():
    loaded = modules_after("import drt_engine as drt; drt.Spectra([1, 2, 3, 4, 5], [1] * 5); drt.Tikhonov()")
    assert not loaded & {"cvxpy", "matplotlib"}


@pytest.mark.parametrize("name", drt.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert len(getattr(drt, name).__doc__) > 20
    assert name in dir(drt)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'Tichonov'"):
        drt.Tichonov  # noqa: B018 - the access is what is tested


def test_errors_cross_process_boundaries():
    error = drt.UnknownNameError("basis", "gauss", ["gaussian", "cauchy"])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "basis 'gauss' is not known; expected one of 'gaussian', 'cauchy'."
    assert isinstance(again, drt.UnknownNameError)


def test_the_picture_of_the_layers_is_current(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs"))
    architecture = importlib.import_module("architecture")
    assert architecture.PAGE.read_text(encoding="utf-8") == architecture.page()
