// CUDA C++ as host C++: a kernel's source, unchanged, run by one processor thread.
//
// The threads of a block are fibres; one runs until it meets a barrier, so that a run is deterministic and an atomic
// needs no lock. `order` says in which order fibres and blocks run: 0 first to last, 1 last to first, others shuffled.
// A result that depends on it is a race. Between blocks shared memory is filled with 0xA5, as its content is undefined
// on a GPU. A barrier that part of a block never reaches is an error, not a hang; so is a touch of memory that is not
// mapped, or of a value at an address that is no multiple of its alignment.
//
// Not modelled: memory that is written without a barrier and read by another thread at the same time, and speed.
#pragma once

#include <cmath>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ucontext.h>
#include <utility>
#include <vector>

#define Y12_SHIM 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static
#define __shared__ static __attribute__((section("y12_shared")))

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
#define SHIM_VECTOR(scalar, name, alignment)                                                                    \
    struct __attribute__((aligned(alignment / 2))) name##2 { scalar x, y; };                                    \
    struct __attribute__((aligned(alignment))) name##4 { scalar x, y, z, w; };                                  \
    inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }                                        \
    inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }
SHIM_VECTOR(float, float, 16)
SHIM_VECTOR(int, int, 16)
SHIM_VECTOR(unsigned, uint, 16)
SHIM_VECTOR(unsigned char, uchar, 4)
SHIM_VECTOR(unsigned short, ushort, 8)

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

// Filled between blocks. The linker names the borders of a section after it; the anchor makes sure there is one.
extern "C" char __start_y12_shared[], __stop_y12_shared[];
static __attribute__((section("y12_shared"), used)) char shim_anchor[16];

namespace shim {

enum class State { ready, at_block, at_warp, done };

struct Fibre {
    ucontext_t context;  // of its start only: swapcontext asks the kernel for the signal mask, twice a switch
    jmp_buf place;       // where it waits
    bool started = false;
    std::vector<char> stack = std::vector<char>(64 << 10);
    State state = State::done;
    int line = 0;            // of the barrier it waits at
    unsigned mask = 0;       // of the lanes it waits for
    uint64_t given = 0;      // what it brought to the barrier
    uint64_t seen[32] = {};  // what the lanes of its warp brought, taken when all were there
    int votes = 0;           // how many threads of the block brought something other than 0
};

static std::vector<Fibre> fibres;
static jmp_buf scheduler;
static sigjmp_buf crash;
static unsigned current, thread_count;
static void (*body)(void *);
static void *body_data;
static char fault[200];

static void leave(State state) {
    fibres[current].state = state;
    if (!_setjmp(fibres[current].place)) _longjmp(scheduler, 1);
}

// A fibre outlives its thread and is the same thread of the next block.
static void live() {
    while (true) {
        body(body_data);
        leave(State::done);
    }
}

// Runs the current fibre until it waits. A function of its own: nothing it keeps changes between setjmp and return.
static __attribute__((noinline)) void resume() {
    if (_setjmp(scheduler)) return;
    Fibre &fibre = fibres[current];
    if (fibre.started) _longjmp(fibre.place, 1);
    fibre.started = true;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = fibre.stack.size();
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, live, 0);
    setcontext(&fibre.context);
}

static void wait(State state, int line) {
    fibres[current].line = line;
    leave(state);
}

inline int block_barrier(int line, int vote) {
    fibres[current].given = vote != 0;
    wait(State::at_block, line);
    return fibres[current].votes;
}

inline const uint64_t *warp_barrier(int line, unsigned mask, uint64_t given) {
    fibres[current].given = given;
    fibres[current].mask = mask;
    wait(State::at_warp, line);
    return fibres[current].seen;
}

template <class T> T shuffled(int line, unsigned mask, T value, int source, bool in_range) {
    uint64_t bits = 0;
    static_assert(sizeof(T) <= 8);
    memcpy(&bits, &value, sizeof(T));
    const uint64_t *seen = warp_barrier(line, mask, bits);
    if (!in_range) return value;
    T result;
    memcpy(&result, &seen[source & 31], sizeof(T));
    return result;
}

inline unsigned ballot(int line, unsigned mask, int vote) {
    const uint64_t *seen = warp_barrier(line, mask, vote != 0);
    unsigned bits = 0;
    for (int lane = 0; lane < 32; ++lane) bits |= (mask >> lane & 1 && seen[lane]) ? 1u << lane : 0;
    return bits;
}

// Lets the lanes go on that all wait for each other at one barrier.
static bool release_warp(unsigned first) {
    bool released = false;
    for (unsigned lane = 0; lane < 32 && first + lane < thread_count; ++lane) {
        Fibre &asking = fibres[first + lane];
        if (asking.state != State::at_warp) continue;
        bool all = asking.mask >> lane & 1;
        for (unsigned other = 0; other < 32 && all; ++other) {
            if (!(asking.mask >> other & 1)) continue;
            all = first + other < thread_count && fibres[first + other].state == State::at_warp &&
                  fibres[first + other].mask == asking.mask && fibres[first + other].line == asking.line;
        }
        if (!all) continue;
        const unsigned mask = asking.mask;
        uint64_t brought[32] = {};
        for (unsigned other = 0; other < 32; ++other)
            if (mask >> other & 1) brought[other] = fibres[first + other].given;
        for (unsigned other = 0; other < 32; ++other) {
            if (!(mask >> other & 1)) continue;
            memcpy(fibres[first + other].seen, brought, sizeof brought);
            fibres[first + other].state = State::ready;
        }
        released = true;
    }
    return released;
}

// Lets the block go on when every thread that has not returned waits at the same __syncthreads.
static bool release_block() {
    int line = -1, votes = 0;
    for (unsigned i = 0; i < thread_count; ++i) {
        const Fibre &fibre = fibres[i];
        if (fibre.state == State::done) continue;
        if (fibre.state != State::at_block || (line >= 0 && fibre.line != line)) return false;
        line = fibre.line;
        votes += int(fibre.given);
    }
    for (unsigned i = 0; i < thread_count; ++i) {
        if (fibres[i].state == State::done) continue;
        fibres[i].votes = votes;
        fibres[i].state = State::ready;
    }
    return line >= 0;
}

static std::vector<unsigned> turns(unsigned count, unsigned order) {
    std::vector<unsigned> result(count);
    for (unsigned i = 0; i < count; ++i) result[i] = order == 1 ? count - 1 - i : i;
    uint64_t state = order;
    for (unsigned i = count; order > 1 && i > 1; --i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        std::swap(result[i - 1], result[(state >> 33) % i]);
    }
    return result;
}

static bool run_block(const std::vector<unsigned> &order) {
    memset(__start_y12_shared, 0xA5, size_t(__stop_y12_shared - __start_y12_shared));
    for (unsigned i = 0; i < thread_count; ++i) fibres[i].state = State::ready;
    while (true) {
        bool moved = false, left = false;
        for (unsigned i : order) {
            if (fibres[i].state != State::ready) continue;
            current = i;
            threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
            resume();
            moved = true;
        }
        for (unsigned first = 0; first < thread_count; first += 32) moved |= release_warp(first);
        moved |= release_block();
        for (unsigned i = 0; i < thread_count && !left; ++i) left = fibres[i].state != State::done;
        if (!left) return true;
        if (moved) continue;
        for (unsigned i = 0; i < thread_count; ++i)
            if (fibres[i].state != State::done) {
                snprintf(fault, sizeof fault, "thread %u of block (%u, %u, %u) waits for ever at line %d", i,
                         blockIdx.x, blockIdx.y, blockIdx.z, fibres[i].line);
                break;
            }
        for (Fibre &fibre : fibres) fibre.started = false;  // those that wait are never resumed
        return false;
    }
}

static const char *run_blocks(const unsigned *geometry, unsigned order) {
    gridDim = {geometry[0], geometry[1], geometry[2]};
    blockDim = {geometry[3], geometry[4], geometry[5]};
    thread_count = blockDim.x * blockDim.y * blockDim.z;
    if (thread_count == 0 || thread_count > 1024) return "a block has 1 to 1024 threads";
    if (fibres.size() < thread_count) fibres = std::vector<Fibre>(thread_count);
    const std::vector<unsigned> threads = turns(thread_count, order);
    for (unsigned block : turns(gridDim.x * gridDim.y * gridDim.z, order)) {
        blockIdx = {block % gridDim.x, block / gridDim.x % gridDim.y, block / (gridDim.x * gridDim.y)};
        if (!run_block(threads)) return fault;
    }
    return nullptr;
}

// A thread that touches memory that is not mapped ends the launch, not the process.
static const char *run_grid(const unsigned *geometry, unsigned order) {
    static struct sigaction before[3];
    static const int signals[3] = {SIGSEGV, SIGBUS, SIGILL};  // the last: what -fsanitize=alignment does
    struct sigaction caught = {};
    caught.sa_handler = [](int signal) { siglongjmp(crash, signal); };
    for (int i = 0; i < 3; ++i) sigaction(signals[i], &caught, &before[i]);
    const char *result = nullptr;
    const int signal = sigsetjmp(crash, 1);
    if (signal == 0) {
        result = run_blocks(geometry, order);
    } else {
        for (Fibre &fibre : fibres) fibre.started = false;
        snprintf(fault, sizeof fault, "thread %u of block (%u, %u, %u) touched memory that is not %s", current,
                 blockIdx.x, blockIdx.y, blockIdx.z, signal == SIGILL ? "aligned" : "there");
        result = fault;
    }
    for (int i = 0; i < 3; ++i) sigaction(signals[i], &before[i], nullptr);
    return result;
}

template <class... A, size_t... I>
const char *launch(void (*kernel)(A...), const unsigned *geometry, unsigned order, void **values, const unsigned *sizes,
                   unsigned count, std::index_sequence<I...>) {
    const size_t expected[] = {sizeof(A)..., 0};
    if (count != sizeof...(A)) return "the number of arguments is wrong";
    for (unsigned i = 0; i < count; ++i)
        if (sizes[i] != expected[i]) {
            snprintf(fault, sizeof fault, "argument %u has %u bytes, the kernel wants %zu", i, sizes[i], expected[i]);
            return fault;
        }
    auto run = [&] { kernel(*static_cast<std::remove_cv_t<A> *>(values[I])...); };
    body = [](void *data) { (*static_cast<decltype(run) *>(data))(); };
    body_data = &run;
    return run_grid(geometry, order);
}

// The entry point that shim.py adds for each kernel; gives what went wrong, or null.
template <class... A>
const char *launch(void (*kernel)(A...), const unsigned *geometry, unsigned order, void **values, const unsigned *sizes,
                   unsigned count) {
    return launch(kernel, geometry, order, values, sizes, count, std::index_sequence_for<A...>());
}

template <class To, class From> To bits_as(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}

}  // namespace shim

#include "shim_intrinsics.h"
