"""A bundle is written whole or not at all, and never over what somebody else has put there."""

import json
import os
from pathlib import Path

import pytest

from y12.bundle.folder import CONTENTS, write_folder
from y12.errors import OutputError

FILES = {"README.md": b"one", "python/m/1/model.py": b"two"}


def listed(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_made_with_those_above_it(tmp_path):
    write_folder(tmp_path / "a" / "b", "triton", "m", FILES)
    assert listed(tmp_path) == {f"a/b/{name}" for name in (*FILES, CONTENTS)}
    assert json.loads((tmp_path / "a" / "b" / CONTENTS).read_text())["model"] == "m"


def test_an_earlier_bundle_is_replaced_where_that_is_asked_for(tmp_path):
    folder = tmp_path / "b"
    write_folder(folder, "triton", "m", FILES)
    with pytest.raises(OutputError, match=r"expected an empty folder or nothing .* --exist-ok"):
        write_folder(folder, "triton", "m", FILES)
    (folder / "python" / "m" / "1" / "__pycache__").mkdir()
    (folder / "python" / "m" / "1" / "__pycache__" / "model.pyc").touch()  # where Triton has run it
    write_folder(folder, "triton", "m", {"README.md": b"new"}, exist_ok=True)
    assert listed(tmp_path) == {"b/README.md", f"b/{CONTENTS}"}


def test_an_empty_folder_is_filled(tmp_path):
    write_folder(tmp_path, "triton", "m", FILES)
    assert listed(tmp_path) == {*FILES, CONTENTS}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"letters/mine.txt": "x"}, f"found no {CONTENTS}, so none of y12-bundle"),
        ({CONTENTS: "{"}, f"found no {CONTENTS}, so none of y12-bundle"),
        ({CONTENTS: json.dumps({"kind": "web", "model": "m"})}, "a bundle of the kind 'triton' .* found 'web'"),
        ({CONTENTS: json.dumps({"kind": "triton", "model": "n"})}, "a bundle of the model 'm' .* found 'n'"),
        (
            {CONTENTS: json.dumps({"kind": "triton", "model": "m", "files": []}), "notes.txt": "x"},
            "found notes.txt too",
        ),
        ({CONTENTS: json.dumps({"kind": "triton", "model": "m", "files": 3}), "notes.txt": "x"}, "found notes.txt too"),
    ],
)
def test_what_is_somebody_else_s_stays(files, message, tmp_path):
    folder = tmp_path / "b"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    with pytest.raises(OutputError, match=message) as refused:
        write_folder(folder, "triton", "m", FILES, exist_ok=True)
    assert len(str(refused.value).splitlines()) == 1
    assert listed(folder) == set(files)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_file_or_a_link_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(OutputError, match="found a file or a link"):
            write_folder(tmp_path / name, "triton", "m", FILES, exist_ok=True)
    with pytest.raises(OutputError, match="cannot write to"):
        write_folder(tmp_path / "file" / "below", "triton", "m", FILES)
    assert (tmp_path / "file").read_text() == "x"


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    folder = tmp_path / "b"
    write_folder(folder, "triton", "m", FILES)
    with pytest.raises(OutputError, match="cannot write to"):
        write_folder(folder, "triton", "m", {"README.md": b"new", "model": tmp_path / "none.onnx"}, exist_ok=True)
    assert (folder / "README.md").read_bytes() == b"one"
    with pytest.raises(OutputError, match="cannot write to"):
        write_folder(tmp_path / "c", "triton", "m", {"README.md": b"new", "model": tmp_path / "none.onnx"})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_where_the_new_one_cannot_be_moved_in_the_earlier_one_is_back(tmp_path, monkeypatch):
    folder = tmp_path / "b"
    write_folder(folder, "triton", "m", FILES)
    rename = os.rename

    def fails(source, target):
        if Path(source).name == "new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OutputError, match="Input/output error"):
        write_folder(folder, "triton", "m", {"README.md": b"new"}, exist_ok=True)
    assert listed(tmp_path) == {f"b/{name}" for name in (*FILES, CONTENTS)}
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
