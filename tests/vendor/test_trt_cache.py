"""What TensorRT-RTX compiled, on disk; its cache itself needs a GPU and is faked."""

import logging
from pathlib import Path

import pytest
from fake_gpu import Behaviour, Cache, Config, Engine

from y12.disk_cache import DiskCache
from y12.runtime.backends.tensorrt.cache import cache_key, compiled_kernels

KEY = "k"


def engine_of(**how: object) -> Engine:
    return Engine(Behaviour(**how))


@pytest.fixture
def disk(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "rtx", 100)


def test_the_next_process_reads_what_the_last_one_kept(disk: DiskCache, caplog: pytest.LogCaptureFixture) -> None:
    first = compiled_kernels(engine_of(cache=b"compiled"), disk, KEY)
    assert first is not None
    first.keep()
    second = compiled_kernels(engine_of(cache=b"compiled"), disk, KEY)
    assert second is not None
    assert isinstance(second._cache, Cache)
    assert second._cache.loaded == b"compiled"
    assert caplog.text == ""


def test_what_did_not_change_is_not_written_again(disk: DiskCache, tmp_path: Path) -> None:
    engine = engine_of(cache=b"compiled")
    kernels = compiled_kernels(engine, disk, KEY)
    assert kernels is not None
    kernels.keep()
    (file,) = (tmp_path / "rtx").iterdir()
    file.unlink()
    kernels.keep()
    assert not file.exists()
    engine.behaviour.cache = b"compiled, and more"
    kernels.keep()
    assert disk.get(KEY) == b"compiled, and more"


@pytest.mark.parametrize(
    ("how", "message"),
    [({"accepts_cache": False}, "of another driver or TensorRT-RTX"), ({"refuses": {"serialize"}}, "did not give out")],
)
def test_a_cache_that_rtx_refuses_costs_a_warning(
    disk: DiskCache, caplog: pytest.LogCaptureFixture, how: dict[str, object], message: str
) -> None:
    disk.put(KEY, b"kept")
    with caplog.at_level(logging.WARNING):
        kernels = compiled_kernels(engine_of(cache=b"new", **how), disk, KEY)
        assert kernels is not None
        kernels.keep()
    assert message in caplog.text


def test_an_empty_cache_is_not_kept(disk: DiskCache) -> None:
    kernels = compiled_kernels(engine_of(cache=b""), disk, KEY)
    assert kernels is not None
    kernels.keep()
    assert disk.get(KEY) is None


def test_full_tensorrt_has_no_such_cache(disk: DiskCache) -> None:
    assert compiled_kernels(engine_of(), disk, KEY) is None


def test_the_names_are_those_of_the_real_library() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    for name in ("create_runtime_cache", "set_runtime_cache", "dynamic_shapes_kernel_specialization_strategy"):
        assert hasattr(rtx.IRuntimeConfig, name)
    config = Config(Behaviour(cache=b""))
    assert all(hasattr(rtx.IRuntimeConfig, name) for name in vars(config) if name.endswith("runtime_cache"))


def test_plan_version_and_gpu_each_have_a_cache_of_their_own() -> None:
    keys = {cache_key(*parts) for parts in ((b"a", "1", "L4"), (b"b", "1", "L4"), (b"a", "2", "L4"), (b"a", "1", "T4"))}
    assert len(keys) == 4
    assert all(len(key) == 64 and key.isalnum() for key in keys)
