"""All of an export's files or none."""

import os
import signal
import warnings
from contextlib import ExitStack
from pathlib import Path

import pytest

from y12.errors import OutputError
from y12.exporter.output import files_of, left_behind, output_folder


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


def test_files_of_an_earlier_export_that_stay_are_told(tmp_path):
    written = files_of("net", engine=False, curve=False)
    assert left_behind(tmp_path, "net", written) == []
    for name in ("net.engine", "net.onnx", "net.curve.svg", "other.engine"):
        (tmp_path / name).write_bytes(b"old")
    (note,) = left_behind(tmp_path, "net", written)
    assert note.startswith("of an earlier export, and not what this report tells of: net.engine, net.curve.svg in ")
    assert left_behind(tmp_path, "net", files_of("net", engine=True, curve=True)) == []


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


NAMES = ["a.engine", "a.engine.json", "a.onnx"]
MOVES = (-1, 0, 1, 3, 5)  # before the export was killed; -1: it was still at work


def killed_export(folder, moves):
    """Export, and kill this process after so many files were moved."""
    replace, left = os.replace, moves

    def counted(source, target):
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        left -= 1

    os.replace = counted
    with output_folder(folder) as outputs:
        for name in NAMES:
            outputs.add(name, b"new")
        if moves < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        outputs.commit()


@pytest.fixture(params=MOVES)
def killed(request, tmp_path):
    """The folder of an export that was killed, and how many files it had moved."""
    for name in NAMES:
        (tmp_path / name).write_bytes(b"old")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child does not use
        child = os.fork()
    if not child:
        try:
            killed_export(tmp_path, request.param)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    return tmp_path, request.param


def export(folder):
    with output_folder(folder) as outputs:
        for name in NAMES:
            outputs.add(name, b"newer")
        outputs.commit()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_what_a_killed_export_left_is_finished_or_swept_by_the_next(killed):
    """Three older files are put aside, then three new ones into their places, the artefact last."""
    folder, moves = killed
    assert contents(folder).get("a.engine") == (None if moves > 0 else b"old")  # the set is absent, not a mixture
    assert len([path for path in folder.iterdir() if path.name.startswith(".y12-")]) == 1
    with output_folder(folder):
        assert contents(folder) == dict.fromkeys(NAMES, b"old" if moves < 0 else b"new")
    assert names(folder) == NAMES


def test_what_belongs_to_others_stays(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_bytes(b"")
    (tmp_path / ".y12-aaaaaaaa").symlink_to("target")
    (tmp_path / ".y12-cache").mkdir()
    (tmp_path / ".y12-file").write_bytes(b"")
    (tmp_path / ".y12-bbbbbbbb").write_bytes(b"a file")
    before = names(tmp_path)
    export(tmp_path)
    assert names(tmp_path) == sorted([*before, *NAMES])


def test_an_export_that_lives_is_not_swept(tmp_path):
    with ExitStack() as living:
        first = living.enter_context(output_folder(tmp_path))
        first.add("b.onnx", b"graph")
        export(tmp_path)
        first.commit()
    assert names(tmp_path) == [*NAMES, "b.onnx"]


@pytest.mark.parametrize("moves", range(6))
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_older_files(tmp_path, monkeypatch, moves, error):
    for name in NAMES:
        (tmp_path / name).write_bytes(b"old")
    replace, calls = os.replace, []

    def counted(source, target):
        calls.append(source)
        if len(calls) == moves + 1:
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", counted)
    with pytest.raises(OutputError if error is OSError else error):
        export(tmp_path)
    assert contents(tmp_path) == dict.fromkeys(NAMES, b"old")
    assert names(tmp_path) == NAMES
