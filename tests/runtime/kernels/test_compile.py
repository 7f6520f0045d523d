"""Every kernel compiles for every GPU generation, without a GPU; and compiled code is kept on disk, soundly."""

import importlib.util

import pytest

from y12.errors import ExecutorError, InputError
from y12.runtime.kernels.cache import cache_dir, cached
from y12.runtime.kernels.nvrtc import compile_cubin
from y12.runtime.kernels.sources import SMS, entry_points, kernel_names, kernel_source

needs_nvrtc = pytest.mark.skipif(
    importlib.util.find_spec("cuda") is None, reason="cuda-core and NVRTC are not installed: pip install -e '.[gpu]'"
)
SMALL = 'extern "C" __global__ void one(int *out) { *out = 1; }'


@needs_nvrtc
@pytest.mark.parametrize("name", kernel_names())
def test_compiles_for_every_generation(name, tmp_path):
    source = kernel_source(name)
    entries = entry_points(source)
    assert entries
    for sm in SMS:
        cubin = compile_cubin(source, sm, tmp_path)
        assert cubin[:4] == b"\x7fELF"
        assert all(entry.encode() in cubin for entry in entries)
    assert len(list(tmp_path.iterdir())) == len(SMS)


@needs_nvrtc
def test_compiled_once(tmp_path):
    first = compile_cubin(SMALL, 80, tmp_path)
    (path,) = tmp_path.iterdir()
    before = path.stat().st_mtime_ns
    assert compile_cubin(SMALL, 80, tmp_path) == first
    assert path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes()[:-1])
    assert compile_cubin(SMALL, 80, tmp_path) == first
    assert path.read_bytes()[32:] == first


@needs_nvrtc
def test_kept_in_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cubin = compile_cubin(SMALL, 86)
    (path,) = (tmp_path / "y12" / "kernels").iterdir()
    assert path.read_bytes()[32:] == cubin
    assert compile_cubin(SMALL, 80) != cubin


@needs_nvrtc
@pytest.mark.parametrize(
    ("source", "sm", "complaint"),
    [
        ('extern "C" __global__ void bad() { x = 1; }', 80, r'SM 80 .*identifier "x" is undefined'),
        (SMALL, 13, r"SM 13 "),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(source, sm, complaint, tmp_path):
    with pytest.raises(ExecutorError, match=complaint) as caught:
        compile_cubin(source, sm, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert "\0" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kernel_is_refused():
    with pytest.raises(InputError, match=r"expected one of .*letterbox.*, found '../common'"):
        kernel_source("../common")


def test_the_shared_header_is_put_in():
    for name in kernel_names():
        assert "#include" not in kernel_source(name)
        assert "half_bits" in kernel_source(name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:32],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: bytes([data[0] ^ 1]) + data[1:],
    ],
)
def test_a_damaged_file_is_built_again(damage, tmp_path):
    built = []

    def build():
        built.append(1)
        return b"code of a kernel"

    for expected in (1, 1, 2, 2):
        if expected == 2 and len(built) == 1:
            (path,) = tmp_path.iterdir()
            path.write_bytes(damage(path.read_bytes()))
        assert cached(("source", "80"), build, tmp_path) == b"code of a kernel"
        assert len(built) == expected


@pytest.mark.parametrize("other", [("source", "86"), ("sourc", "e80"), ("source2", "80"), ("source80",)])
def test_other_parts_are_another_file(other, tmp_path):
    assert cached(("source", "80"), lambda: b"one", tmp_path) == b"one"
    assert cached(other, lambda: b"two", tmp_path) == b"two"
    assert cached(("source", "80"), lambda: b"three", tmp_path) == b"one"


def test_a_folder_that_cannot_be_written_is_warned_of(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert cached(("a",), lambda: b"code", tmp_path / "file" / "kernels") == b"code"
    assert "they are compiled at each start" in caplog.text


def test_the_folder_is_for_its_owner_only(tmp_path):
    cached(("a",), lambda: b"code", tmp_path / "y12" / "kernels")
    assert (tmp_path / "y12" / "kernels").stat().st_mode & 0o777 == 0o700
    assert [path.suffix for path in (tmp_path / "y12" / "kernels").iterdir()] == [".cubin"]


@pytest.mark.parametrize(
    ("xdg", "expected"),
    [
        ("/var/cache/me", "/var/cache/me/y12/kernels"),
        ("", "/home/me/.cache/y12/kernels"),
        ("x", "/home/me/.cache/y12/kernels"),
    ],
)
def test_the_folder_is_the_users(xdg, expected, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setenv("HOME", "/home/me")
    assert str(cache_dir()) == expected


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, caplog):
    """What lies there is run."""
    folder = tmp_path / "kernels"
    assert cached(("a",), lambda: b"code", folder) == b"code"
    folder.chmod(0o777)
    assert cached(("a",), lambda: b"other", folder) == b"other"
    assert "others can write to it" in caplog.text
    folder.chmod(0o700)
    assert cached(("a",), lambda: b"third", folder) == b"code"
