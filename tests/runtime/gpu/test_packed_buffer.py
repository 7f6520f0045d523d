"""Several arrays in one copy."""

import numpy as np
import pytest

from y12.runtime.gpu.packed_buffer import ALIGNMENT, PackedBuffer, Scratch, aligned

PARTS = {"one": ((1,), np.uint8), "odd": ((3, 7), np.float32), "none": ((0, 4), np.int32), "last": ((2,), np.uint64)}


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 256), (256, 256), (257, 512)])
def test_aligned(size, expected):
    assert aligned(size) == expected


@pytest.mark.parametrize("kind", [PackedBuffer, Scratch])
def test_every_part_begins_where_vectors_can_be_loaded(world, kind):
    device = world.device()
    device.make_current()
    block = kind(device, PARTS)
    addresses = [block.address(name) for name in PARTS]
    assert not any(address % ALIGNMENT for address in addresses)
    ends = [
        a + int(np.prod(shape)) * np.dtype(dtype).itemsize
        for a, (shape, dtype) in zip(addresses, PARTS.values(), strict=True)
    ]
    assert all(end <= begin for end, begin in zip(ends, addresses[1:], strict=False))
    block.close()
    device.close()
    world.check_clean()


def test_parts_travel_together(world):
    device = world.device()
    device.make_current()
    block = PackedBuffer(device, PARTS)
    block.host("odd")[...] = np.arange(21).reshape(3, 7)
    block.host("last")[...] = 5, 6
    block.upload()
    device.synchronize()
    block.host("odd").fill(0)
    block.host("last").fill(0)
    block.download()
    assert not block.host("odd").any()  # nothing has happened yet
    device.synchronize()
    np.testing.assert_array_equal(block.host("odd"), np.arange(21).reshape(3, 7))
    np.testing.assert_array_equal(block.host("last"), [5, 6])
    assert block.host("none").shape == (0, 4)
    block.close()
    device.close()
    world.check_clean()
