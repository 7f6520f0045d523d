// CUDA's runtime in host memory, for the tests of examples/cpp: the signatures that engine.hpp calls, as documented.
// What $STUB_FAIL names fails.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2 };
using cudaStream_t = struct StubStream*;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };

namespace stub {

inline bool fails(const char* name) {
    const char* wanted = std::getenv("STUB_FAIL");
    return wanted != nullptr && std::strcmp(wanted, name) == 0;
}

struct Living {  // whatever was made and not freed
    int count = 0;
    ~Living() {
        if (count != 0) {
            std::fprintf(stderr, "stub: %d objects were never freed\n", count);
            std::_Exit(70);
        }
    }
};
inline Living living;

}  // namespace stub

inline const char* cudaGetErrorString(cudaError_t) { return "the stub was told to fail"; }
inline cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    if (stub::fails("cudaMalloc")) return cudaErrorMemoryAllocation;
    *memory = std::malloc(bytes);
    std::memset(*memory, 0xFF, bytes);
    ++stub::living.count;
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
    stub::living.count -= memory != nullptr;
    std::free(memory);
    return cudaSuccess;
}
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
    if (stub::fails("cudaStreamCreate")) return cudaErrorInvalidValue;
    *stream = reinterpret_cast<cudaStream_t>(std::malloc(1));
    ++stub::living.count;
    return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    --stub::living.count;
    std::free(stream);
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return stub::fails("cudaStreamSynchronize") ? cudaErrorInvalidValue : cudaSuccess; }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    if (stub::fails(kind == cudaMemcpyHostToDevice ? "upload" : "download")) return cudaErrorInvalidValue;
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
