"""The shim must run what a GPU runs, and must notice what a GPU would get wrong."""

import numpy as np
import pytest

from tests.runtime.kernels.shim import ORDERS, compiled_source

TOY = r"""
extern "C" __global__ void __launch_bounds__(256) reversed_blocks(const int *in, int *out, int count) {
    __shared__ int tile[128];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = i < count ? in[i] : 0;
    __syncthreads();
    const int from = blockDim.x - 1 - threadIdx.x;
    if (i < count) out[i] = tile[from];
}
extern "C" __global__ void no_barrier(int *out) {
    __shared__ int tile[64];
    tile[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = tile[63 - threadIdx.x];
}
extern "C" __global__ void leftover(int *out) {
    __shared__ int tile;
    out[blockIdx.x] = tile;
    tile = 5;
}
extern "C" __global__ void half_a_barrier() {
    if (threadIdx.x < 32) __syncthreads();
    else __syncwarp(1u);
}
extern "C" __global__ void two_barriers() {
    if (threadIdx.x & 1) __syncthreads();
    else __syncthreads();
}
extern "C" __global__ void writes_beyond(int *out, int at) { out[at] = 1; }
extern "C" __global__ void warps(int *sums, unsigned *ballots, int *votes, float *last, unsigned *halves) {
    const int t = threadIdx.y * blockDim.x + threadIdx.x, lane = t & 31;
    int sum = t;
    for (int delta = 1; delta < 32; delta *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, sum, delta);
        if (lane >= delta) sum += other;
    }
    sums[t] = sum;
    ballots[t] = __ballot_sync(0xffffffffu, t % 3 == 0);
    last[t] = __shfl_sync(0xffffffffu, float(t) / 4, 31);
    if (lane < 16) halves[t] = __ballot_sync(0x0000ffffu, lane & 1);
    else halves[t] = __ballot_sync(0xffff0000u, lane & 2);
    sum = t;
    for (int delta = 16; delta; delta /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, delta);
    if (sum != __shfl_down_sync(0xffffffffu, sum, 1)) sums[t] = -1;
    votes[t] = __syncthreads_count(t < 40) + 1000 * __syncthreads_or(t == 63) + 10000 * __syncthreads_and(t < 64);
}
extern "C" __global__ void tickets(unsigned *counter, unsigned *mine) {
    mine[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(counter, 1u);
}
extern "C" __global__ void four_at_once(const float4 *in, float *out) {
    *reinterpret_cast<float4 *>(out) = make_float4(in->w, in->z, in->y, in->x);
}
extern "C" __global__ void halves(const float *in, unsigned short *out, int count) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) out[i] = shim_half_bits(in[i]);
}
"""


@pytest.fixture(scope="module")
def toy():
    return compiled_source(TOY)


@pytest.mark.parametrize("order", ORDERS)
def test_a_barrier_lets_threads_see_each_other(toy, order):
    given, out = np.arange(300, dtype=np.int32), np.full(300, -1, np.int32)
    toy["reversed_blocks"]((3,), (128,), given, out, np.int32(300), order=order)
    expected = np.r_[given, np.zeros(84, np.int32)].reshape(3, 128)[:, ::-1].ravel()[:300]
    assert np.array_equal(out, expected)


def test_a_missing_barrier_shows(toy):
    results = []
    for order in ORDERS:
        out = np.zeros(64, np.int32)
        toy["no_barrier"]((1,), (64,), out, order=order)
        results.append(out.tolist())
    assert all(result != list(range(63, -1, -1)) for result in results)
    assert results[0] != results[1]


def test_shared_memory_is_poisoned_between_blocks(toy):
    out = np.zeros(4, np.int32)
    toy["leftover"]((4,), (1,), out)
    assert out.view(np.uint32).tolist() == [0xA5A5A5A5] * 4


@pytest.mark.parametrize("kernel", ["half_a_barrier", "two_barriers"])
def test_a_barrier_not_all_reach_is_an_error(toy, kernel):
    with pytest.raises(RuntimeError, match=rf"{kernel}: thread \d+ of block \(0, 0, 0\) waits for ever at line"):
        toy[kernel]((1,), (64,))


@pytest.mark.parametrize("at", [-1, 10, 40])
def test_a_write_out_of_bounds_is_an_error(toy, at):
    with pytest.raises(RuntimeError, match="argument 0 was written outside its bounds"):
        toy["writes_beyond"]((1,), (1,), np.zeros(10, np.int32), np.int32(at))


def test_memory_that_is_not_there_is_an_error(toy):
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"thread 0 of block \(0, 0, 0\) touched memory that is not there"):
            toy["writes_beyond"]((1,), (1,), np.zeros(10, np.int32), np.int32(2**30))
    out = np.zeros(10, np.int32)
    toy["writes_beyond"]((1,), (1,), out, np.int32(9))
    assert out[9] == 1


def test_a_write_to_a_read_only_array_is_an_error(toy):
    array = np.zeros(10, np.int32)
    array.flags.writeable = False
    with pytest.raises(RuntimeError, match="argument 0 is read-only"):
        toy["writes_beyond"]((1,), (1,), array, np.int32(3))


@pytest.mark.parametrize(("skip_in", "skip_out"), [(1, 0), (0, 2), (3, 3)])
def test_a_vector_that_is_not_aligned_is_an_error(toy, skip_in, skip_out):
    given, out = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    first = -given.ctypes.data // 4 % 4, -out.ctypes.data // 4 % 4  # aligned
    addresses = [array[n:].ctypes.data for array, n in zip((given, out), first, strict=True)]
    with pytest.raises(RuntimeError, match=r"thread 0 of block \(0, 0, 0\) touched memory that is not aligned"):
        toy["four_at_once"]((1,), (1,), addresses[0] + 4 * skip_in, addresses[1] + 4 * skip_out)
    toy["four_at_once"]((1,), (1,), *addresses)
    assert out[first[1] :][:4].tolist() == given[first[0] :][:4].tolist()[::-1]


def test_an_int_is_an_address(toy):
    given, out = np.arange(300, dtype=np.int32), np.full(301, -1, np.int32)
    toy["reversed_blocks"]((3,), (128,), given[20:].ctypes.data, out[1:].ctypes.data, np.int32(280))
    expected = np.r_[given[20:], np.zeros(104, np.int32)].reshape(3, 128)[:, ::-1].ravel()[:280]
    assert np.array_equal(out, np.r_[-1, expected, np.full(20, -1)])
    with pytest.raises(RuntimeError, match="touched memory that is not there"):
        toy["writes_beyond"]((1,), (1,), 0, np.int32(0))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [((np.zeros(1, np.int32), np.int64(0)), "argument 1 has 8 bytes"), ((np.zeros(1, np.int32),), "number of arg")],
)
def test_arguments_of_another_size_are_refused(toy, arguments, complaint):
    with pytest.raises(RuntimeError, match=complaint):
        toy["writes_beyond"]((1,), (1,), *arguments)


@pytest.mark.parametrize("order", ORDERS)
def test_warps_and_votes(toy, order):
    sums, votes = np.zeros((2, 64), np.int32)
    ballots, halves = np.zeros((2, 64), np.uint32)
    last = np.zeros(64, np.float32)
    toy["warps"]((1,), (16, 4), sums, ballots, votes, last, halves, order=order)
    t = np.arange(64)
    assert np.array_equal(sums.reshape(2, 32), np.cumsum(t.reshape(2, 32), axis=1))
    assert ballots.reshape(2, 32)[:, 0].tolist() == [
        sum(1 << n for n in range(32) if (n + w) % 3 == 0) for w in (0, 32)
    ]
    assert (np.ptp(ballots.reshape(2, 32), axis=1) == 0).all()
    assert last.reshape(2, 32)[:, 5].tolist() == [31 / 4, 63 / 4]
    assert set(halves.tolist()) == {0x0000AAAA, 0xCCCC0000}
    assert set(votes.tolist()) == {11040}


def test_every_ticket_is_given_once(toy):
    counter, mine = np.zeros(1, np.uint32), np.zeros(96, np.uint32)
    toy["tickets"]((3,), (32,), counter, mine, order=7)
    assert counter[0] == 96
    assert sorted(mine.tolist()) == list(range(96))
    assert mine.tolist() != list(range(96))


def test_halves_round_as_ieee():
    steps = np.arange(0, 0x7F80_0000, 104_729, dtype=np.uint32).view(np.float32)
    borders = np.arange(0, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    values = np.concatenate([steps, borders, np.nextafter(borders, 1e9), (borders[:-1] + borders[1:]) / 2, [np.inf]])
    values = np.concatenate([values, -values]).astype(np.float32)
    out = np.zeros(len(values), np.uint16)
    compiled_source(TOY)["halves"]((1,), (64,), values, out, np.int32(len(values)))
    with np.errstate(over="ignore"):
        assert np.array_equal(out, values.astype(np.float16).view(np.uint16))
