"""Writing files whole or not at all."""

import pytest

from y12.errors import InputError
from y12.files import write_atomically


def test_creates_folders_and_replaces(tmp_path):
    path = tmp_path / "a/b/x.bin"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["x.bin"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("")
    with pytest.raises(InputError, match="taken: cannot be written"):
        write_atomically(tmp_path / "taken", b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_long_names_are_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / ("x" * 300), b"content")
    assert list(tmp_path.iterdir()) == []
