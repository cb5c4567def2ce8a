"""The report as a file: what it says, what it refuses, and how large it is."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.errors import InputError, OutputExistsError
from drt_engine.hdf5 import write_tracks
from drt_engine.report import contents as contents_
from drt_engine.report import gather
from drt_engine.report.charts import charts
from drt_engine.report.page import as_data
from drt_engine.simulate import CampaignDesign, campaign

METHOD = drt.Tikhonov(regularisation=1e-3)


def run(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    spectra = campaign(CampaignDesign(cycles=(1, 500), voltages=3)).spectra
    drt.write_spectra(folder / "demo.h5", spectra)
    drt.write_inversion(folder / "demo.drt.h5", drt.invert(spectra, METHOD), source=folder / "demo.h5")
    return folder / "demo.drt.h5"


@pytest.mark.slow
@pytest.mark.recorded
def test_a_report_says_what_there_is(demo, tmp_path):
    out = tmp_path / "report.html"
    done = run(demo, "-o", out, "--where", "cell == 'B'")
    assert done.exit_code == 0, done.output
    page = out.read_text(encoding="utf-8")
    text = re.sub(r"<script.*?</script>|<[^>]*>", " ", page, flags=re.DOTALL)
    for said in ("12 spectra of demo.drt.h5 for which cell == &#39;B&#39;", "pass the Kramers-Kronig test", "Tikhonov"):
        assert said in text
    assert "sha256:" in text
    # Neither a capacitance nor a tail was asked for.
    headings = re.findall(r"<th[^>]*><button[^>]*>([^<]*)", page.split('id="every"')[1])
    assert {"r_pol / ohm", "inductance / H", "regularisation", "remarks"} <= {*headings}
    absent = ("capacitance", "tail", "inductance_", "parallel", "drift")
    assert not [name for name in headings if name.startswith(absent)]
    # Nothing is loaded from anywhere, and the policy of the page forbids it.
    assert not re.search(r"<(?:link|img|iframe)\b|<script[^>]* src=|@import|url\(", page.split("<script")[0])
    assert "default-src 'none'" in page
    rows = [int(row) for row in re.findall(r"<tr><td data-v=\"(\d+)\">\d+</td>", page.split('id="every"')[1])]
    assert len(rows) == 12
    assert rows == np.flatnonzero(drt.read_inversion(demo).states["cell"] == "B").tolist()


def test_spectra_alone_are_reported_with_what_is_wrong(tmp_path, noisy):
    z = noisy.impedance.copy()
    z[2] *= np.exp(0.1 * np.sin(np.arange(z.shape[1])))
    drt.write_spectra(tmp_path / "a.h5", drt.Spectra(noisy.frequency, z, noisy.states))
    done = run(tmp_path / "a.h5", "-o", tmp_path / "a.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "5 of 6 spectra pass the Kramers-Kronig test" in page
    assert "The spectra are not inverted." in page
    assert 'id="worst-0"' in page
    drt.write_spectra(tmp_path / "one.h5", noisy[:1])
    assert run(tmp_path / "one.h5", "-o", tmp_path / "one.html").exit_code == 0
    page = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert f"1 spectrum on {noisy.frequency.size} frequencies" in page
    assert "1 of 1 spectrum passes the Kramers-Kronig test" in page


@pytest.mark.slow
@pytest.mark.recorded
def test_processes_of_the_file_are_taken_with_the_rows_that_are_chosen(demo, tmp_path):
    import h5py

    result = drt.read_inversion(demo)
    tracks = drt.track(result.peaks(), "voltage", ["cell", "cycle", "direction"])
    write_tracks(tmp_path / "t.h5", tracks)
    path = tmp_path / "with.h5"
    path.write_bytes(demo.read_bytes())
    with h5py.File(path, "r+") as file, h5py.File(tmp_path / "t.h5") as other:
        other.copy("processes", file)
    (part,) = gather(path, where="cell == 'C'").parts
    kept = tracks.table[tracks.table["cell"] == "C"]
    assert len(part.tracks.table) == len(kept)
    np.testing.assert_array_equal(part.rows[part.tracks.table["spectrum"]], kept["spectrum"])
    (again,) = gather(path, along="cycle", series=["cell", "direction", "voltage"]).parts
    assert again.tracks.along == "cycle"


@pytest.mark.slow
@pytest.mark.recorded
def test_several_grids_and_spectra_without_a_solution(tmp_path, noisy):
    z = noisy.impedance.copy()
    z[1] = np.nan
    first = drt.Spectra(noisy.frequency, z, {"cycle": np.arange(6), "cell": ["A"] * 5 + [None]})
    second = drt.Spectra(noisy.frequency[::2], noisy.impedance[:, ::2], {"voltage": np.linspace(2, 3, 6)})
    drt.write_inversion(tmp_path / "a.h5", {"one": drt.invert(first, METHOD), "two": drt.invert(second, METHOD)})
    done = run(tmp_path / "a.h5", "-o", tmp_path / "a.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "5 of 6 spectra have a solution" in page
    assert page.count("<td>one</td>") == page.count("<td>two</td>") == 6


@pytest.mark.slow
@pytest.mark.recorded
def test_what_cannot_be_reported_is_refused(demo, tmp_path, monkeypatch):
    out = tmp_path / "a.html"
    before = demo.read_bytes()
    assert "for which that holds" in str(run(demo, "-o", out, "--where", "cell == 'X'").exception)
    assert "--name" in str(run(demo, "-o", out, "--name", "other").exception)
    assert isinstance(run(demo, "-o", demo, "--overwrite").exception, InputError)
    assert demo.read_bytes() == before
    monkeypatch.setattr(contents_, "MOST_SPECTRA", 5)
    assert "--where" in str(run(demo, "-o", out).exception)
    assert not out.exists()
    out.write_text("mine")
    done = run(demo, "-o", out, "--where", "voltage > 4 and cell == 'B'")
    assert isinstance(done.exception, OutputExistsError)
    assert out.read_text() == "mine"
    assert run(demo, "-o", out, "--where", "voltage > 4 and cell == 'B'", "--overwrite").exit_code == 0


def test_a_legend_leaves_room_for_its_figure_and_tells_long_names_apart(tmp_path, noisy):
    long = "x" * 200
    spectra = noisy[[0, 0, 0, 0]].with_states(cell=["B", f"{long}1", f"{long}2", "C"])
    result = drt.invert(spectra, drt.Tikhonov(regularisation=1e-3))
    drt.write_inversion(tmp_path / "x.drt.h5", result)
    chart = next(iter(charts(gather(tmp_path / "x.drt.h5").parts[0])))[2]
    labels = [item.label.value for item in chart.legend[0].items]
    assert len(labels) == len({*labels}) == 2 * 4
    assert {"R_pol B", "R_inf C"} < {*labels}
    assert max(map(len, labels)) < 50
    assert [one for one in labels if "xxx" in one and one.endswith("… (2)")] != []


def test_data_of_figures_end_no_script():
    value = {"text": "</script><!-- & \u2028 '\"", "number": np.float64(1.5), "array": np.arange(2)}
    data = as_data(value)
    assert not set("<>&\u2028") & set(data)
    assert json.loads(data) == {"text": value["text"], "number": 1.5, "array": [0, 1]}
    with pytest.raises(ValueError, match="JSON"):
        as_data({"nan": float("nan")})


@pytest.mark.slow
@pytest.mark.recorded
def test_a_thousand_spectra_take_less_than_six_megabytes(tmp_path):
    spectra = campaign(CampaignDesign(cycles=tuple(range(1, 12)), voltages=24)).spectra
    assert len(spectra) == 1056
    drt.write_inversion(tmp_path / "a.h5", drt.invert(spectra, METHOD))
    done = run(tmp_path / "a.h5", "-o", tmp_path / "a.html")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.html").stat().st_size < 6e6
