"""All of an export's files or none."""

import os
from pathlib import Path

import pytest

from y12.errors import OutputError
from y12.exporter.output import output_folder


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_files_appear_together_at_the_end(tmp_path):
    with output_folder(tmp_path) as outputs:
        outputs.add("b.onnx", b"graph")
        outputs.add("a.engine", b"plan")
        assert not (tmp_path / "b.onnx").exists()
        assert outputs.paths == [str(tmp_path / "b.onnx"), str(tmp_path / "a.engine")]
        outputs.commit()
    assert names(tmp_path) == ["a.engine", "b.onnx"]
    assert (tmp_path / "a.engine").read_bytes() == b"plan"


def test_older_files_are_replaced(tmp_path):
    (tmp_path / "a.engine").write_bytes(b"old")
    with output_folder(tmp_path) as outputs:
        outputs.add("a.engine", b"new")
        assert (tmp_path / "a.engine").read_bytes() == b"old"
        outputs.commit()
    assert (tmp_path / "a.engine").read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_a_failure(tmp_path, error):
    def export():
        with output_folder(tmp_path / "new" / "deep") as outputs:
            outputs.add("a.engine", b"plan")
            raise error

    with pytest.raises(error):
        export()
    assert names(tmp_path) == []


def test_folders_that_were_there_stay(tmp_path):
    with output_folder(tmp_path):
        pass
    assert tmp_path.is_dir()
    (tmp_path / "old").mkdir()
    with pytest.raises(KeyError), output_folder(tmp_path / "old" / "new"):
        raise KeyError
    assert names(tmp_path) == ["old"]


def test_what_was_not_committed_is_gone(tmp_path):
    with output_folder(tmp_path / "new") as outputs:
        outputs.add("a.engine", b"plan")
    assert names(tmp_path) == []


def test_one_file_that_cannot_be_replaced_leaves_all_as_it_was(tmp_path):
    """A folder stands where the second file shall go."""
    (tmp_path / "b.onnx").mkdir()
    (tmp_path / "a.engine").write_bytes(b"old")
    with output_folder(tmp_path) as outputs:
        for name in ("a.engine", "c.json", "b.onnx"):
            outputs.add(name, b"new")
        with pytest.raises(OutputError, match=r"expected a file or nothing at .*b\.onnx"):
            outputs.commit()
    assert names(tmp_path) == ["a.engine", "b.onnx"]
    assert (tmp_path / "a.engine").read_bytes() == b"old"


def test_files_can_be_read_by_others(tmp_path):
    """The hidden folder is private; what comes out of it is as the user's umask wants it."""
    (tmp_path / "usual").write_bytes(b"")
    with output_folder(tmp_path) as outputs:
        outputs.add("a.engine", b"plan")
        outputs.commit()
    assert os.stat(tmp_path / "a.engine").st_mode == os.stat(tmp_path / "usual").st_mode


UNUSABLE = [
    "file/below",  # below a file
    "file",
    "x" * 300,  # a name that is too long
    "new/" + "x" * 300,
    "loop/below",
]


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    listing = names(tmp_path)
    refusal = pytest.raises(OutputError, match=r"--output: cannot write to .*; name another folder")
    with refusal as caught, output_folder(tmp_path / name):
        pytest.fail("the folder was accepted")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == listing


@pytest.mark.parametrize("folder", ["/proc", "/proc/y12-no-such-folder"])
def test_a_file_system_that_is_read_only_is_refused(folder):
    with pytest.raises(OutputError, match="cannot write to"), output_folder(Path(folder)):
        pytest.fail("the folder was accepted")
