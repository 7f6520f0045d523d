"""Writing files whole or not at all."""

import os
import threading
from pathlib import Path

import pytest

from y12.errors import InputError, OutputError
from y12.files import is_device, write_atomically


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


def test_a_pipe_is_written_to(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_atomically(pipe, b"content")
    reader.join(10)
    assert got == [b"content"]
    assert pipe.is_fifo()
    assert [is_device(path) for path in (pipe, Path("/dev/stdout"), tmp_path, tmp_path / "x")] == [
        True,
        True,
        False,
        False,
    ]
    (tmp_path / "full").symlink_to("/dev/full")  # were it replaced, the device itself would not be
    with pytest.raises(OutputError, match=r"full: cannot be written \(No space left on device\)"):
        write_atomically(tmp_path / "full", b"content", OutputError)
