"""A folder is there whole, or as it was before."""

import os
import stat
from pathlib import Path

import pytest

from y12.bundle.folder import new_folder
from y12.errors import OutputError


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def write(folder, files, exist_ok=False, fails=None):
    with new_folder(folder, exist_ok) as staging:
        for name, text in files.items():
            (staging / name).write_text(text)
        if fails:
            raise fails


def test_all_files_are_there_and_nothing_else(tmp_path):
    write(tmp_path / "new/er/out", {"a": "1", "b": "2"})
    assert texts(tmp_path / "new/er/out") == {"a": "1", "b": "2"}
    assert os.listdir(tmp_path / "new/er") == ["out"]
    assert stat.S_IMODE((tmp_path / "new/er/out").stat().st_mode) & 0o055 == 0o055 & ~os.umask(os.umask(0o022))


@pytest.mark.parametrize("error", [OutputError("no"), KeyboardInterrupt()])
def test_what_failed_leaves_nothing(error, tmp_path):
    with pytest.raises(type(error)):
        write(tmp_path / "new/out", {"a": "1"}, fails=error)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("old")
    with pytest.raises(OutputError, match="cannot be written \\(No space left on device\\)"):
        write(tmp_path / "out", {"a": "new"}, exist_ok=True, fails=OSError(28, "No space left on device"))
    assert texts(tmp_path / "out") == {"a": "old"}
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", {"a": "1"})
    assert texts(tmp_path / "out") == {"a": "1"}


def test_files_are_replaced_where_that_is_asked_for_and_only_those(tmp_path):
    write(tmp_path / "out", {"a": "1", "mine": "2"})
    with pytest.raises(OutputError, match="expected a folder without files, found some"):
        write(tmp_path / "out", {"a": "3"})
    write(tmp_path / "out", {"a": "3", "b": "4"}, exist_ok=True)
    assert texts(tmp_path / "out") == {"a": "3", "mine": "2", "b": "4"}
    assert os.listdir(tmp_path) == ["out"]


def test_where_one_cannot_be_moved_all_are_as_before(tmp_path, monkeypatch):
    write(tmp_path / "out", {"a": "1", "b": "2"})
    replace = os.replace

    def fails_at_new_b(source, target):
        if os.fspath(target).endswith("out/b") and Path(source).read_text() == "new":
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails_at_new_b)
    with pytest.raises(OutputError, match="Input/output error"):
        write(tmp_path / "out", {"a": "new", "b": "new", "c": "new"}, exist_ok=True)
    assert texts(tmp_path / "out") == {"a": "1", "b": "2"}


def test_a_folder_in_a_file_s_place_is_found_before_anything_is_moved(tmp_path):
    (tmp_path / "out/b").mkdir(parents=True)
    (tmp_path / "out/a").write_text("old")
    with pytest.raises(OutputError, match="expected a file or nothing, found a folder"):
        write(tmp_path / "out", {"a": "new", "b": "new"}, exist_ok=True)
    assert (tmp_path / "out/a").read_text() == "old"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_what_cannot_be_a_folder_is_refused(place, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="expected a folder"):
        write(tmp_path / place, {"a": "1"})
    assert texts(tmp_path) == {"file": "mine"}
