"""The script that makes the folder of measured spectra from downloads."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from . import get_data

MADE = get_data.DataSet("made", "two made files", "https://example.org/made", "CC0", {
    "a.txt": get_data.digest(b"1 2\n3 4\n"), "b.txt": get_data.digest(b"5 6\n"),
})  # fmt: skip


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(get_data, "DATA_SETS", (MADE,))
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "other.txt").write_bytes(b"7 8\n")
    return folder


def plain(folder, name, content):
    (folder / name).write_bytes(content)


def in_zip(folder, name, content):
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        archive.writestr(f"deep/{name}", content)


def in_tar(folder, name, content):
    (folder / "deep").mkdir()
    (folder / "deep" / name).write_bytes(content)
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as archive:
        archive.add(folder / "deep", "deep")
    (folder / "deep" / name).unlink()


@pytest.mark.parametrize("packed", [plain, in_zip, in_tar])
def test_files_are_found_by_their_content_whatever_they_are_called(downloads, tmp_path, packed, capsys):
    packed(downloads, "renamed.dat", b"1 2\r\n3 4\r\n")
    assert get_data.main([str(downloads), str(tmp_path / "data")]) == 1
    assert (tmp_path / "data/made/a.txt").read_bytes() == b"1 2\r\n3 4\r\n"
    assert [path.name for path in (tmp_path / "data").rglob("*.*")] == ["a.txt"]
    told = capsys.readouterr().out
    assert "1 files put into" in told
    assert "made: 1 of 2 files missing: b.txt\n    two made files\n    https://example.org/made (CC0)" in told


def test_a_complete_folder_is_left_as_it_is(downloads, tmp_path, monkeypatch, capsys):
    made = tmp_path / "data" / "made"
    made.mkdir(parents=True)
    (made / "a.txt").write_text("mine")
    (made / "b.txt").write_text("mine")
    plain(downloads, "a.txt", b"1 2\n3 4\n")
    monkeypatch.setenv("DRT_ENGINE_DATA", str(tmp_path / "data"))
    assert get_data.main([str(downloads)]) == 0
    assert (made / "a.txt").read_text() == "mine"
    assert "made: complete" in capsys.readouterr().out


def test_mistakes_are_explained(downloads, monkeypatch, capsys):
    monkeypatch.delenv("DRT_ENGINE_DATA", raising=False)
    for arguments in ([str(downloads)], [str(downloads / "other.txt"), "data"]):
        with pytest.raises(SystemExit):
            get_data.main(arguments)
    told = capsys.readouterr().err
    assert "name a FOLDER, or set DRT_ENGINE_DATA" in told
    assert "is no folder" in told


@pytest.mark.real
def test_the_measured_spectra_are_those_of_the_table(real_data):
    assert not any(get_data.missing(real_data).values())
    for one in get_data.DATA_SETS:
        for name, mark in one.files.items():
            assert get_data.digest((real_data / one.folder / name).read_bytes()) == mark, name


def test_the_documentation_says_where_the_spectra_are():
    page = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "python tests/get_data.py" in page
