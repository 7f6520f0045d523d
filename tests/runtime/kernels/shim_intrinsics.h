// The device functions that kernels may use, for shim.h: barriers, votes, shuffles, atomics, bits, rounding.
#pragma once

#define __syncthreads() ((void)shim::block_barrier(__LINE__, 0))
#define __syncthreads_count(vote) (shim::block_barrier(__LINE__, (vote)))
#define __syncthreads_or(vote) (shim::block_barrier(__LINE__, (vote)) != 0)
#define __syncthreads_and(vote) (shim::block_barrier(__LINE__, !(vote)) == 0)

#define SHIM_LANE int(shim::current & 31)
#define SHIM_FIRST(width) (SHIM_LANE & ~((width) - 1))  // first lane of the segment a lane is in
#define __ballot_sync(mask, vote) shim::ballot(__LINE__, mask, vote)
#define __any_sync(mask, vote) (shim::ballot(__LINE__, mask, vote) != 0)
#define __all_sync(mask, vote) (shim::ballot(__LINE__, mask, !(vote)) == 0)

inline unsigned shim_default(unsigned mask = 0xffffffffu) { return mask; }
#define __syncwarp(...) ((void)shim::warp_barrier(__LINE__, shim_default(__VA_ARGS__), 0))

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    return shim::shuffled(-1, mask, value, SHIM_FIRST(width) + (source & (width - 1)), true);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const int source = SHIM_LANE - int(delta);
    return shim::shuffled(-2, mask, value, source, source >= SHIM_FIRST(width));
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const int source = SHIM_LANE + int(delta);
    return shim::shuffled(-3, mask, value, source, source < SHIM_FIRST(width) + width);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    const int source = SHIM_LANE ^ bits;
    return shim::shuffled(-4, mask, value, source, source < SHIM_FIRST(width) + width);
}

template <class T> T atomicExch(T *at, T value) { return std::exchange(*at, value); }
template <class T> T atomicAdd(T *at, T value) { return std::exchange(*at, T(*at + value)); }
template <class T> T atomicSub(T *at, T value) { return std::exchange(*at, T(*at - value)); }
template <class T> T atomicMax(T *at, T value) { return std::exchange(*at, *at > value ? *at : value); }
template <class T> T atomicMin(T *at, T value) { return std::exchange(*at, *at < value ? *at : value); }
template <class T> T atomicOr(T *at, T value) { return std::exchange(*at, *at | value); }
template <class T> T atomicAnd(T *at, T value) { return std::exchange(*at, *at & value); }
template <class T> T atomicCAS(T *at, T expected, T value) {
    return std::exchange(*at, *at == expected ? value : *at);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
template <class T> T __ldg(const T *at) { return *at; }

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
inline int __clz(int bits) { return bits ? __builtin_clz(unsigned(bits)) : 32; }
inline int __clzll(long long bits) { return bits ? __builtin_clzll((unsigned long long)(bits)) : 64; }

inline unsigned __float_as_uint(float value) { return shim::bits_as<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return shim::bits_as<float>(bits); }
inline int __float_as_int(float value) { return shim::bits_as<int>(value); }
inline float __int_as_float(int bits) { return shim::bits_as<float>(bits); }
inline long long __double_as_longlong(double value) { return shim::bits_as<long long>(value); }
inline double __longlong_as_double(long long bits) { return shim::bits_as<double>(bits); }

inline int __float2int_rn(float value) { return int(rintf(value)); }
inline int __float2int_rd(float value) { return int(floorf(value)); }
inline unsigned __float2uint_rn(float value) { return unsigned(rintf(value)); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }
using std::isfinite;
using std::isinf;
using std::isnan;
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

// The bits of an IEEE half nearest to `value`, ties to even.
inline unsigned short shim_half_bits(float value) {
    const unsigned bits = __float_as_uint(value), sign = bits >> 16 & 0x8000;
    const unsigned magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (unsigned short)(0x7fff);                // NaN, as cvt.rn.f16.f32 gives it
    if (magnitude >= 0x477ff000) return (unsigned short)(sign | 0x7c00);        // rounds to 65536 or more: infinity
    if (magnitude < 0x38800000)                                                 // below 2^-14: steps of 2^-24
        return (unsigned short)(sign | unsigned(rint(double(__uint_as_float(magnitude)) * 0x1p24)));
    const unsigned rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (unsigned short)(sign | ((rounded >> 13) - (112u << 10)));
}

// The value of an IEEE half.
inline float shim_from_half(unsigned short bits) {
    const unsigned sign = unsigned(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
    if (magnitude > 0x7c00) return __uint_as_float(0x7fffffff);  // NaN, as cvt.f32.f16 gives it
    if (magnitude == 0x7c00) return __uint_as_float(sign | 0x7f800000);
    if (magnitude >= 0x400) return __uint_as_float(sign | ((magnitude << 13) + (112u << 23)));
    const float small = float(magnitude) * 0x1p-24f;  // exact
    return sign ? -small : small;
}
