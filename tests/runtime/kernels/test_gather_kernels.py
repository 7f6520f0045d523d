"""keypoints.cu equals its twin, and widen.cu equals numpy."""

import numpy as np
import pytest

from tests.runtime.kernels.gather_cases import GATHER_CASES, GatherCase, check_widen, halves
from tests.runtime.kernels.shim import ORDERS, compiled
from y12.runtime.kernels.layout import gather_grid, widen_grid


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", GATHER_CASES, ids=str)
def test_gather_equals_twin(case, order):
    headers = case.check(compiled("keypoints"), order=order)
    broken = {image for image, row, _ in case.broken if row < case.counts[image]}
    assert headers["nonfinite"].tolist() == [int(image in broken) for image in range(len(case.counts))]


def test_gather_by_hand():
    case = GatherCase("by hand", (2, 1), values=2, room=3, before=1, anchors=4)
    outputs = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    result, out = case.result(), np.empty((2, 3, 2), np.float32)
    result["rows"]["anchor"][:, :2] = [[3, 0], [1, 2]]
    rows = outputs.reshape(-1)[4:]
    sizes = (np.int32(4), np.int64(12), np.int32(2), np.int32(4), np.int32(3))
    compiled("keypoints")["gather"]((1, 2), (256,), rows, result, out, *sizes)
    assert out.tolist() == [[[7, 11], [4, 8], [0, 0]], [[17, 21], [0, 0], [0, 0]]]


@pytest.mark.parametrize("anchor", [-1, 70, 2**31 - 1, -(2**31)])
def test_an_anchor_out_of_range_is_not_followed(anchor):
    case = GATHER_CASES[0]
    outputs, result = np.zeros((3, 56, 70), np.float32), case.result()
    outputs[:, 5:] = 1
    result["rows"]["anchor"], result["header"]["count"] = anchor, 2**31 - 1
    out = np.full((3, 20, 51), -1, np.float32)
    sizes = (np.int32(70), np.int64(56 * 70), np.int32(51), np.int32(4), np.int32(20))
    compiled("keypoints")["gather"]((4, 3), (256,), outputs.reshape(-1)[5 * 70 :], result, out, *sizes)
    assert (out == 1).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("blocks", [None, 3])
def test_every_half_is_widened(order, blocks):
    check_widen(compiled("widen"), halves(), blocks, order=order)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 2047, 2048, 2049, 4101])
def test_any_count_is_widened(count):
    check_widen(compiled("widen"), halves()[15_000 : 15_000 + count])  # the shim sees writes beyond the end


@pytest.mark.parametrize(("skip_in", "skip_out"), [(1, 0), (0, 1), (3, 2), (8, 4)])
def test_any_alignment_is_widened(skip_in, skip_out):
    given, out = halves()[10_000:10_100].copy(), np.full(100, -1, np.float32)
    count = 80
    addresses = given[skip_in:].ctypes.data, out[skip_out:].ctypes.data
    compiled("widen")["widen"]((1,), (256,), *addresses, np.int64(count))
    assert np.array_equal(out[skip_out : skip_out + count], given[skip_in : skip_in + count].astype(np.float32))
    assert (np.delete(out, np.s_[skip_out : skip_out + count]) == -1).all()


def test_grids():
    assert [gather_grid(51, 300, 4), gather_grid(51, 5, 1), gather_grid(64, 8, 2)] == [(60, 4), (1, 1), (2, 2)]
    assert [widen_grid(count) for count in (1, 2048, 2049, 10**9)] == [(1,), (1,), (2,), (2048,)]
