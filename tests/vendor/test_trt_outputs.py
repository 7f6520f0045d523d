"""Outputs whose size is told in the run, and the allocator of the real TensorRT-RTX that asks for their memory."""

import fake_gpu
import numpy as np
import pytest
from fake_gpu import Device, Memory

from runtime.errors import ExecutorError
from runtime.trt_bindings import load_bindings
from runtime.trt_outputs import FIRST_BYTES, GrowingOutput, allocator_for

LIMIT = 1 << 20


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> GrowingOutput:
    monkeypatch.setattr(Device, "broken", False)
    monkeypatch.setattr(Device, "memory_left", 1 << 30)
    Memory.live.clear()
    return GrowingOutput(Device(), "boxes", np.dtype(np.float32), LIMIT)


def sizes() -> list[int]:
    return sorted(memory.size for memory in Memory.live)


def test_memory_grows_and_is_kept(output: GrowingOutput) -> None:
    first = output.address_for(0)
    assert first
    assert output.address_for(FIRST_BYTES) == first
    assert sizes() == [FIRST_BYTES] * 2
    output.address_for(FIRST_BYTES + 1)
    assert sizes() == [2 * FIRST_BYTES] * 2  # both sides, and the old ones are gone
    output.address_for(10)
    assert sizes() == [2 * FIRST_BYTES] * 2
    assert output.address_for(LIMIT)
    output.check()
    output.close()
    assert sizes() == []


def test_beyond_the_limit_tensorrt_gets_nothing_and_the_reason_is_kept(output: GrowingOutput) -> None:
    output.begin()
    assert output.address_for(LIMIT + 1) == 0
    with pytest.raises(ExecutorError, match=f"the output 'boxes': expected at most {LIMIT} bytes, found {LIMIT + 1}"):
        output.check()
    output.begin()
    output.check()
    assert sizes() == []


@pytest.mark.parametrize("shape", [None, (-1, 4), (FIRST_BYTES // 4 + 1,), (1 << 40, 1 << 40)])
def test_a_shape_that_the_memory_cannot_hold_is_refused(output: GrowingOutput, shape: tuple[int, ...] | None) -> None:
    output.begin()
    output.address_for(100)
    if shape is not None:
        output.note_shape(shape)
    with pytest.raises(ExecutorError, match="expected a shape within 65536 bytes"):
        output.download()
    output.close()


def test_the_real_allocator_asks_it(output: GrowingOutput) -> None:
    pytest.importorskip("tensorrt_rtx")
    bindings = load_bindings("rtx")
    allocator = allocator_for(bindings, output)
    assert isinstance(allocator, bindings.trt.IOutputAllocator)
    output.begin()
    address = allocator.reallocate_output_async("boxes", 0, 32, 256, 7)
    assert address == allocator.reallocate_output("boxes", address, 32, 256)
    fake_gpu.view(address, (2, 4), np.float32)[:] = 5
    allocator.notify_shape("boxes", bindings.trt.Dims([2, 4]))
    output.download()
    output._device.synchronize()
    assert output.host.tolist() == [[5.0] * 4] * 2
    output.close()
