"""A real plan of TensorRT-RTX, which builds it with no GPU; and a GPU with full TensorRT that is faked."""

import sys
from collections.abc import Iterator
from pathlib import Path

import fake_gpu
import pytest
from tiny_plans import NAME, build_rtx_plan


@pytest.fixture(scope="session")
def rtx_plan() -> bytes:
    """A plan with one convolution, named `NAME`."""
    return build_rtx_plan(NAME, channels=4)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fake_gpu.Behaviour]:
    """Put the fake where full TensorRT would be, and look afterwards that nothing is left."""
    behaviour = fake_gpu.Behaviour()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_gpu.tensorrt(behaviour))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fake_gpu.Device, "broken", False)
    monkeypatch.setattr(fake_gpu.Device, "memory_left", 1 << 30)
    monkeypatch.setattr(fake_gpu.Device, "pieces_left", 1 << 30)
    fake_gpu.Memory.live.clear()
    fake_gpu.Device.opened.clear()
    yield behaviour
    assert fake_gpu.Memory.live == set()
    assert [device for device in fake_gpu.Device.opened if not device.closed] == []
