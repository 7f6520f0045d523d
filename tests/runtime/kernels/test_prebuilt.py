"""The folder of compiled kernels that is read before the cache: found, not found, damaged, not there."""

import pytest

from y12.errors import ExecutorError
from y12.runtime.kernels.cache import PREBUILT_VARIABLE, keep_prebuilt, prebuilt, prebuilt_dir

PARTS = ("source", "options")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "kernels"
    keep_prebuilt(PARTS, b"code", folder)
    monkeypatch.setenv(PREBUILT_VARIABLE, str(folder))
    return folder


def test_what_is_kept_is_found(folder, caplog):
    assert prebuilt(PARTS) == b"code"
    assert prebuilt_dir() == folder
    assert caplog.text == ""


@pytest.mark.parametrize("parts", [("source", "option"), ("sourceoptions",), ("source", "options", "")])
def test_what_is_not_there_is_told(folder, parts, caplog):
    assert prebuilt(parts) is None
    assert f"{folder} has no code of a kernel" in caplog.text
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("unset", [True, False])
def test_without_the_variable_there_is_none(folder, unset, monkeypatch, caplog):
    if unset:
        monkeypatch.delenv(PREBUILT_VARIABLE)
    else:
        monkeypatch.setenv(PREBUILT_VARIABLE, "")
    assert prebuilt_dir() is None
    assert prebuilt(PARTS) is None
    assert caplog.text == ""


def test_a_folder_that_is_not_there_is_refused(folder, monkeypatch):
    monkeypatch.setenv(PREBUILT_VARIABLE, str(folder / "none"))
    with pytest.raises(
        ExecutorError, match=r"^Y12_KERNELS: expected a folder .*python -m y12.runtime.cli.prebuild --output"
    ):
        prebuilt(PARTS)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: b"x" + data[1:]])
def test_a_damaged_file_is_refused(folder, damage):
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ExecutorError, match=r"found a damaged file: fill the folder again"):
        prebuilt(PARTS)


def test_files_are_for_everybody_to_read(folder):
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o055 == 0o055


def test_kept_twice_the_last_one_stays(folder):
    keep_prebuilt(PARTS, b"newer", folder)
    assert prebuilt(PARTS) == b"newer"
