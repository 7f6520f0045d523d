// FP16 outputs of an engine as the FP32 that all other kernels read. Twin: numpy's `astype(np.float32)`; only the bits
// of a NaN may differ.
//
// Bytes of memory: 2 read and 4 written a value. A thread takes 8 neighbouring values, 16 bytes, at once.
#include "common.cuh"

constexpr int AT_ONCE = 8;

__device__ __forceinline__ float4 four(uint2 halves) {
    return make_float4(from_half(static_cast<unsigned short>(halves.x)), from_half(halves.x >> 16),
                       from_half(static_cast<unsigned short>(halves.y)), from_half(halves.y >> 16));
}

// in, out: `count` values each. Grid and block: y12.runtime.kernels.layout.widen_grid.
extern "C" __global__ void __launch_bounds__(256) widen(const unsigned short *in, float *out, long long count) {
    const long long first = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    const bool aligned = ((reinterpret_cast<size_t>(in) | reinterpret_cast<size_t>(out)) & 15) == 0;
    const long long whole = aligned ? count / AT_ONCE : 0;
    for (long long i = first; i < whole; i += step) {
        const uint4 halves = reinterpret_cast<const uint4 *>(in)[i];
        reinterpret_cast<float4 *>(out)[2 * i] = four({halves.x, halves.y});
        reinterpret_cast<float4 *>(out)[2 * i + 1] = four({halves.z, halves.w});
    }
    for (long long i = whole * AT_ONCE + first; i < count; i += step) out[i] = from_half(in[i]);
}
