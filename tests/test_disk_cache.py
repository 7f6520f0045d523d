"""Bytes that are kept on disk: sound, bounded, and the owner's alone."""

import hashlib
import logging
import os
import time
from pathlib import Path

import pytest

from y12.disk_cache import DiskCache

LIMIT = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a" / "cache"


def sealed(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


def test_what_is_kept_comes_back_and_is_replaced(folder, caplog):
    cache = DiskCache(folder, LIMIT)
    assert cache.get("k") is None
    for content in (b"one", b"", b"x" * LIMIT):
        cache.put("k", content)
        assert DiskCache(folder, LIMIT).get("k") == content
    assert cache.get("other") is None
    assert [path.name for path in folder.iterdir()] == ["k.bin"]  # nothing half written stays
    assert folder.stat().st_mode & 0o777 == 0o700
    assert caplog.text == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        sealed(b"kernels")[:-1],
        sealed(b"kernels") + b"\0",
        bytes([sealed(b"kernels")[0] ^ 1]) + sealed(b"kernels")[1:],
        sealed(b"x" * (LIMIT + 1)),
    ],
    ids=["empty", "short", "truncated", "appended", "flipped", "too large"],
)
def test_a_damaged_file_is_ignored_with_a_warning_and_replaced(folder, caplog, data):
    cache = DiskCache(folder, LIMIT)
    cache.put("k", b"kernels")
    (folder / "k.bin").write_bytes(data)
    assert cache.get("k") is None
    assert "k.bin is damaged or too large" in caplog.text
    cache.put("k", b"kernels")
    assert cache.get("k") == b"kernels"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_to_is_not_used(folder, caplog, mode):
    cache = DiskCache(folder, LIMIT)
    cache.put("k", b"kernels")
    folder.chmod(mode)
    assert cache.get("k") is None
    cache.put("new", b"kernels")
    assert not (folder / "new.bin").exists()
    assert caplog.text.count("others can write to it; chmod 700") == 2
    folder.chmod(0o700)
    assert cache.get("k") == b"kernels"


def test_what_a_killed_process_had_half_written_is_removed_when_it_is_old(folder):
    cache = DiskCache(folder, LIMIT)
    cache.put("k", b"kernels")
    for name, age_s in (("old.tmp", 7200), ("young.tmp", 60)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    cache.put("k", b"kernels")
    assert sorted(path.name for path in folder.iterdir()) == ["k.bin", "young.tmp"]


def test_what_was_not_used_for_longest_goes_first(folder):
    cache = DiskCache(folder, LIMIT)
    for second, key in enumerate("abc"):
        cache.put(key, b"x" * 300)
        os.utime(folder / f"{key}.bin", (second, second))
    assert cache.get("a") is not None  # used: now the youngest
    cache.put("d", b"x" * 300)
    assert sorted(path.stem for path in folder.iterdir()) == ["a", "c", "d"]
    cache.put("e", b"x" * LIMIT)
    assert [path.stem for path in folder.iterdir()] == ["e"]


def test_what_is_too_large_is_not_kept(folder, caplog):
    DiskCache(folder, LIMIT).put("k", b"x" * (LIMIT + 1))
    assert not folder.exists()
    assert "1001 bytes, expected at most 1000" in caplog.text


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = DiskCache(tmp_path / "file" / "cache", LIMIT)
    with caplog.at_level(logging.WARNING):
        cache.put("k", b"kernels")
        assert cache.get("k") is None
    assert "they are made at each start" in caplog.text
    assert "cannot read" in caplog.text
