// A batch of BGR images of any sizes to the network's input, in one launch. Equation: y12/runtime/preprocess/letterbox.py.
//
// Sample i of n lies at ((2 i + 1) m - n) / (2 n) in the m pixels of the source, clamped to the edge pixels. That is
// a whole number over a whole number: quotient and remainder are exact in 32 bits for sides up to 32767 pixels, so no
// double is needed. A level is rounded to a whole number before it is divided by 255, as an image in bytes is.
//
// A thread makes 4 neighbouring pixels of all 3 channels: a warp writes 512 bytes (FP32) or 256 bytes (FP16) in a row
// to each plane. Bytes of memory an image: height * width * 3 read at most (neighbouring threads meet in the cache),
// 3 * H * W * 4 or * 2 written, once each.
#include "common.cuh"

struct Tap {
    int low, high;  // pixels of the source
    float weight;   // of `high`
};

__device__ __forceinline__ Tap tap(int i, int size, int out_size) {
    const int last = (size - 1) * 2 * out_size;
    const int position = min(max((2 * i + 1) * size - out_size, 0), last);
    const int low = position / (2 * out_size);
    return {low, min(low + 1, size - 1), float(position - low * 2 * out_size) / float(2 * out_size)};
}

__device__ __forceinline__ float between(unsigned char from, unsigned char to, float weight) {
    return float(from) + (float(to) - float(from)) * weight;
}

__device__ __forceinline__ void store4(float *out, const float *v) {
    *reinterpret_cast<float4 *>(out) = make_float4(v[0], v[1], v[2], v[3]);
}
__device__ __forceinline__ void store4(unsigned short *out, const float *v) {
    const ushort4 bits = {half_bits(v[0]), half_bits(v[1]), half_bits(v[2]), half_bits(v[3])};
    *reinterpret_cast<ushort4 *>(out) = bits;
}
__device__ __forceinline__ void store(float *out, float v) { *out = v; }
__device__ __forceinline__ void store(unsigned short *out, float v) { *out = half_bits(v); }

template <class T>
__device__ __forceinline__ void letterbox(const LetterboxImage *images, T *out, int out_height, int out_width) {
    const int first_x = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (first_x >= out_width || y >= out_height) return;
    const LetterboxImage image = images[blockIdx.z];

    float rgb[3][4];
    const int inside_y = y - image.top;
    const bool row_inside = inside_y >= 0 && inside_y < image.resized_height;
    const Tap down = tap(row_inside ? inside_y : 0, image.height, image.resized_height);
    const unsigned char *upper = image.data + static_cast<long long>(down.low) * image.pitch;
    const unsigned char *lower = image.data + static_cast<long long>(down.high) * image.pitch;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int inside_x = first_x + i - image.left;
        if (!row_inside || inside_x < 0 || inside_x >= image.resized_width) {
            rgb[0][i] = rgb[1][i] = rgb[2][i] = 114.0f / 255.0f;
            continue;
        }
        const Tap across = tap(inside_x, image.width, image.resized_width);
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            const float above = between(upper[3 * across.low + c], upper[3 * across.high + c], across.weight);
            const float below = between(lower[3 * across.low + c], lower[3 * across.high + c], across.weight);
            rgb[2 - c][i] = rintf(above + (below - above) * down.weight) / 255.0f;  // BGR -> RGB
        }
    }

    const long long plane = static_cast<long long>(out_height) * out_width;
    T *place = out + blockIdx.z * 3 * plane + static_cast<long long>(y) * out_width + first_x;
#pragma unroll
    for (int c = 0; c < 3; ++c, place += plane) {
        if (out_width % 4 == 0) {
            store4(place, rgb[c]);  // aligned, as `out` is and every row then is
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                if (first_x + i < out_width) store(place + i, rgb[c][i]);
        }
    }
}

// images (B,); out (B, 3, H, W). Grid and block: y12.runtime.kernels.layout.letterbox_grid.
extern "C" __global__ void __launch_bounds__(256)
    letterbox_f32(const LetterboxImage *images, float *out, int out_height, int out_width) {
    letterbox(images, out, out_height, out_width);
}

extern "C" __global__ void __launch_bounds__(256)
    letterbox_f16(const LetterboxImage *images, unsigned short *out, int out_height, int out_width) {
    letterbox(images, out, out_height, out_width);
}
