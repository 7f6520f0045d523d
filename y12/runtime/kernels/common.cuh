// What all kernels share. `y12.runtime.kernels.sources.kernel_source` puts this text in place of the include, so that one
// text is compiled: by NVRTC, or as host C++ behind tests/runtime/kernels/shim.h.
//
// Kernels are compiled without contraction (a * b + c is rounded twice), so that they equal their numpy twins.

#ifdef Y12_SHIM
__device__ __forceinline__ unsigned short half_bits(float value) { return shim_half_bits(value); }
__device__ __forceinline__ float from_half(unsigned short bits) { return shim_from_half(bits); }
#else
// The bits of the IEEE half nearest to `value`; spares the compiler cuda_fp16.h, and an install its package.
__device__ __forceinline__ unsigned short half_bits(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
__device__ __forceinline__ float from_half(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
#endif

__device__ __forceinline__ bool is_finite(float x) { return fabsf(x) <= 3.402823466e38f; }  // false for NaN

struct LetterboxImage {         // y12.runtime.kernels.layout.LETTERBOX_IMAGE
    const unsigned char *data;  // BGR, row by row
    int height, width, pitch;   // pixels, pixels, bytes from one row to the next
    int left, top, resized_height, resized_width;  // where it lies in the input
    int unused;
};

struct SelectHeader {  // y12.runtime.kernels.layout.SELECT_HEADER
    int count;         // candidates in the results
    int candidates;    // in all
    int truncated;     // 1: they are more than `limit`, these are the best; 2: `capacity` was too small for them
    int nonfinite;
};
