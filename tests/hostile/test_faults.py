"""Faults of the machine, and of y12 itself: one line that begins with "error: ", and a code that is not 0."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from graphs import manifest, write_model

from y12.errors import InputError, MissingPackageError
from y12.runtime.cli import bench, infer, inspect
from y12.runtime.cli.common import run_command
from y12.text import LINE

BIN = Path(sys.executable).parent


class Unprintable(Exception):
    def __str__(self):
        return "\x1b[2J\n" * 1000


RAISED = {
    "refused": (InputError("a\nb"), "error: a\\nb"),
    "not installed": (MissingPackageError("x", "ort", "this"), "error: this needs the package 'x'"),
    "no memory": (MemoryError(), "error: not enough memory or threads (MemoryError)"),
    "no memory for an array": (MemoryError("Unable to allocate 12.0 GiB"), "error: not enough memory"),
    "no thread": (RuntimeError("can't start new thread"), "error: not enough memory or threads"),
    "no library": (ImportError("x.so: failed to map segment from shared object"), "error: not enough memory"),
    "no memory in torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), "error: not enough memory"),
    "no memory in C++": (RuntimeError("std::bad_alloc"), "error: not enough memory"),
    "no memory in the kernel": (OSError(errno.ENOMEM, "Cannot allocate memory"), "error: not enough memory"),
    "a full disk": (OSError(errno.ENOSPC, "No space left", "a\nb"), "error: a\\nb: cannot be used (No space left)"),
    "a long name": (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000), "error: xxx"),
    "a name in bytes": (OSError(errno.EACCES, "Permission denied", b"\xe9"), "error: b'\\xe9': cannot be used"),
    "an error of the system without words": (OSError(), "error: y12 did not expect OSError: it says nothing more"),
    "a bug": (KeyError("\x1b"), "error: y12 did not expect KeyError: '\\x1b'; Y12_TRACEBACK=1 shows where"),
    "a bug that cannot be printed": (Unprintable(), "error: y12 did not expect Unprintable: \\x1b[2J"),
    "a name of half a character": ("\ud800".encode, "error: y12 did not expect UnicodeEncodeError"),
    "no end": (lambda: run(lambda: run(None)), "error: y12 did not expect"),
}


def run(body):
    return body()


@pytest.mark.parametrize("name", RAISED)
def test_whatever_is_raised_is_one_line(name, capsys):
    error, begin = RAISED[name]

    def body():
        if isinstance(error, Exception):
            raise error
        return error()

    assert run_command(body) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(begin)
    assert len(err) <= LINE + 1
    assert err[:-1].isprintable()


def test_a_bug_can_be_found(capsys, monkeypatch):
    monkeypatch.setenv("Y12_TRACEBACK", "1")
    assert run_command(lambda: {}["a"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("error: y12 did not expect KeyError")


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "a.onnx", manifest())
    (tmp_path / "a.ppm").write_bytes(b"P6 8 8 255\n" + bytes(192))
    return tmp_path


def shell(folder, line):
    """Run a line of bash; give its exit code and what it wrote to both streams."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def one_error(folder, line):
    """Run a line of bash, which must fail; give the one line that says why, without what ran before."""
    code, out, err = shell(folder, line)
    assert 0 < code < 128, err
    errors = [one for one in err.splitlines() if one.startswith("error: ") and "files could not be used" not in one]
    assert len(errors) == 1, err
    assert all(one.isprintable() and len(one) <= LINE for one in (out + err).splitlines())
    assert len(err.splitlines()) <= 3, err
    return errors[0]


INFER, INSPECT = "y12-infer a.onnx a.ppm", "y12-inspect a.onnx"


@pytest.mark.parametrize("command", [INFER, f"{INSPECT} --json", "y12 --version", "y12-bench --help"])
def test_standard_output_is_full(command, folder):
    assert "No space left" in one_error(folder, f"{command} > /dev/full")


@pytest.mark.parametrize("command", [INSPECT, "y12 --help"])
def test_standard_output_is_closed(command, folder):
    assert one_error(folder, f"{command} >&-") == (
        "error: standard output is closed: lead it somewhere, such as to /dev/null"
    )


@pytest.mark.parametrize("streams", ["2> /dev/full", "<&- 2>&-"])
def test_other_streams_are_not_needed(streams, folder):
    code, out, _ = shell(folder, f"{INFER} {streams}")
    assert code == 0
    assert out.startswith("a.ppm: 8x8: 1 a (")
    assert out.count("\n") == 1  # a message went nowhere, not among the data


def test_an_encoding_that_knows_little(tmp_path, folder):
    write_model(folder / "b.onnx", manifest(names=("깃발", "b")))
    code, out, _ = shell(folder, "PYTHONIOENCODING=ascii y12-infer b.onnx a.ppm --json")
    assert code == 0
    assert '"class_name": "\\uae43\\ubc1c"' in out


@pytest.mark.parametrize("kib", [70_000, 110_000, 210_000])
def test_little_memory(kib, folder):
    assert "memory" in one_error(folder, f"ulimit -v {kib}; {INFER}")


NO_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".jpg", "x" * 300, "a\x1b7\nb.jpg", f"{NO_UTF8}.jpg", "x/" * 3000, "a\0b"]
)
def test_names_that_no_file_has(name, folder, capsys):
    assert infer.main([str(folder / "a.onnx"), name, str(folder / "a.ppm"), "--json"]) == 1
    out, err = capsys.readouterr()
    bad, good = map(json.loads, out.splitlines())
    assert bad["source"] == str(Path(name))  # whoever reads the JSON gets the name as it is
    assert good["counts"] == {"a": 1}  # the others are done
    assert err.splitlines()[-1] == "error: 1 of 2 files could not be used"
    assert err.count("\n") == 3
    assert all(line.isprintable() and len(line) <= LINE for line in err.splitlines())


@pytest.mark.parametrize("command", [infer, inspect, bench])
@pytest.mark.parametrize("name", ["x" * 300 + ".onnx", f"{NO_UTF8}\n.engine", "x" * 300 + ".plan", "a\0.onnx", ""])
def test_names_that_no_artefact_has(command, name, folder, capsys):
    assert command.main([name, *([str(folder / "a.ppm")] if command is infer else [])]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err[:-1].isprintable()
    assert len(err) <= LINE + 1


def test_files_whose_names_are_not_utf8_can_be_used(folder, capsys):
    names = [folder / f"{NO_UTF8}{suffix}" for suffix in (".onnx", ".ppm", ".csv")]
    (folder / "a.onnx").rename(names[0])
    (folder / "a.ppm").rename(names[1])
    asked = [*map(str, names[:2]), "--save", str(folder / NO_UTF8), "--csv", str(names[2])]
    assert infer.main(asked) == 0
    out, err = capsys.readouterr()
    assert "caf\\udce9.ppm: 8x8: 1 a (" in out
    assert (out + err).replace("\n", "").isprintable()
    assert (folder / NO_UTF8 / f"{NO_UTF8}_annotated.jpg").is_file()
    assert "caf\\udce9.ppm,,1,0\n" in names[2].read_text()
