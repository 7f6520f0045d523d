// From the network's output to each image's best candidates, in two launches.
// Reference: tests/runtime/kernels/references/select.py.
//
// A candidate is a key of 64 bits: the bits of its score above the complement of anchor * classes + class. Scores of
// candidates are positive, so that keys order as scores do; keys differ from each other, and of equal scores the one
// of the lower anchor, then of the lower class, is larger. The largest `limit` keys in falling order are therefore
// one list, whatever order the atomics ran in.
//
// A number that is not finite is no score, and a box with one is no box: neither becomes a candidate, and the image's
// `nonfinite` says that there was one.
//
// Boxes, scores, objectness and angles have a pointer each, to the rows of the first image: they may be rows of one
// output or outputs of their own. `objectness` and `angles` are null where there are none.
#include "common.cuh"

constexpr int MOST_LEVELS = 8;

struct SelectPlan {  // in device memory, so that a captured graph obeys a change: y12.runtime.kernels.layout.SELECT_PLAN
    float conf;      // candidates score more
    int multi_label; // 1: each class of an anchor may be a candidate; 0: its best class only, the first of equals
    int anchors, classes;
    int box_stride;   // floats from the boxes of an image to those of the next; objectness and angles go with them
    int score_stride; // the same, of scores
    int limit;        // places an image has in the results, 1 to 4096
    int capacity;     // places an image has in `keys`: anchors, or anchors * classes if multi_label
    int levels;       // of heatmaps, in which only peaks are scores; 0: every score is one
    int heights[MOST_LEVELS], widths[MOST_LEVELS], starts[MOST_LEVELS];  // in cells; `starts`: a level's first anchor
};

struct SelectCounters {  // zero before the first launch; select_best leaves them zero
    unsigned candidates, nonfinite;
};

typedef unsigned long long Key;
const int GROUPS = 8;        // threads that share an anchor's classes
const int LIMIT = 4096;      // 32 KiB of keys in shared memory

// `boxes` and `angles` are those of an image; the latter may be null.
__device__ __forceinline__ bool box_is_finite(const float *boxes, const float *angles, int anchor, int anchors) {
    const long long size = anchors;
    bool finite = true;
    for (int row = 0; row < 4; ++row) finite &= is_finite(boxes[row * size + anchor]);
    if (angles) finite &= is_finite(angles[anchor]);
    return finite;
}

struct Cell {  // where an anchor lies in the map of its level
    int x, y, width, height;
};

// `plan` by pointer: a copy of its arrays, indexed by a variable, would lie in local memory.
__device__ __forceinline__ Cell cell_of(int anchor, const SelectPlan *plan) {
    int level = 0;
    while (level + 1 < plan->levels && anchor >= plan->starts[level + 1]) ++level;
    const int cell = anchor - plan->starts[level], width = plan->widths[level];
    return {cell % width, cell / width, width, plan->heights[level]};
}

// Whether no neighbour in the 3x3 cells round it has a larger score (CenterNet, arXiv 1904.07850, 4). `at` points to
// the anchor's value of the class, `objectness_at` to its objectness or nowhere. Not inlined: few scores come here, and
// the loop over all of them would hold twice the registers.
__device__ __noinline__ bool is_peak(const float *at, const float *objectness_at, int anchor, float score,
                                     const SelectPlan *plan) {
    const Cell cell = cell_of(anchor, plan);
    for (int down = -1; down <= 1; ++down) {
        for (int right = -1; right <= 1; ++right) {
            const int x = cell.x + right, y = cell.y + down;
            if (x < 0 || x >= cell.width || y < 0 || y >= cell.height) continue;
            const int there = down * cell.width + right;
            const float neighbour = at[there] * (objectness_at ? objectness_at[there] : 1.0f);
            if (is_finite(neighbour) && neighbour > score) return false;
        }
    }
    return true;
}

__device__ __forceinline__ bool is_wanted(const unsigned *wanted, int class_id) {
    return wanted[class_id / 32] >> (class_id % 32) & 1;
}

// Puts the candidates of a whole warp behind those that are there; one atomic for all of them.
__device__ __forceinline__ void append(bool is_candidate, float score, int anchor, int class_id, const SelectPlan &plan,
                                       Key *keys, SelectCounters *counters) {
    const unsigned candidates = __ballot_sync(0xffffffffu, is_candidate);
    if (candidates == 0) return;
    const int lane = threadIdx.x;
    unsigned base = 0;
    if (lane == 0) base = atomicAdd(&counters->candidates, static_cast<unsigned>(__popc(candidates)));
    base = __shfl_sync(0xffffffffu, base, 0);
    const unsigned place = base + static_cast<unsigned>(__popc(candidates & ((1u << lane) - 1)));
    const unsigned index = static_cast<unsigned>(anchor) * plan.classes + class_id;
    if (is_candidate && place < static_cast<unsigned>(plan.capacity))
        keys[place] = static_cast<Key>(__float_as_uint(score)) << 32 | ~index;
}

// The block is (32, GROUPS): a warp reads 128 bytes in a row of one class; its 32 anchors' other classes lie with the
// other warps. Grid (anchors / 32 rounded up, B). Reads every score once, 4 * classes * anchors bytes an image, and a
// box for each candidate, of heatmaps the 8 neighbours of each score above `conf`; writes 8 bytes for each candidate.
// The bound keeps the call of is_peak from taking registers that the other loop does not need.
extern "C" __global__ void __launch_bounds__(256, 5)
    select_scan(const float *all_boxes, const float *all_scores, const float *all_objectness, const float *all_angles,
                const SelectPlan *the_plan, const unsigned *wanted, Key *all_keys, SelectCounters *all_counters) {
    __shared__ float best_scores[GROUPS][32];
    __shared__ int best_classes[GROUPS][32];
    const SelectPlan plan = *the_plan;
    const int lane = threadIdx.x, group = threadIdx.y;
    const int anchor = blockIdx.x * 32 + lane;
    const bool inside = anchor < plan.anchors;
    const long long image = blockIdx.y, to_boxes = image * plan.box_stride;
    const float *boxes = all_boxes + to_boxes;
    const float *angles = all_angles ? all_angles + to_boxes : nullptr;
    const float *objectness_at = all_objectness ? all_objectness + to_boxes + anchor : nullptr;
    const float *scores = all_scores + image * plan.score_stride + anchor;
    Key *keys = all_keys + image * plan.capacity;
    SelectCounters *counters = all_counters + image;
    const float objectness = objectness_at && inside ? *objectness_at : 1.0f;

    bool nonfinite = false;
    if (plan.multi_label) {
        for (int class_id = group; class_id < plan.classes; class_id += GROUPS) {
            const float *at = scores + static_cast<long long>(class_id) * plan.anchors;
            const float score = inside ? *at * objectness : 0.0f;
            nonfinite |= !is_finite(score);
            bool is_candidate = is_finite(score) && score > plan.conf && is_wanted(wanted, class_id);
            if (is_candidate && plan.levels) is_candidate = is_peak(at, objectness_at, anchor, score, the_plan);
            if (is_candidate && !box_is_finite(boxes, angles, anchor, plan.anchors)) {
                is_candidate = false, nonfinite = true;
            }
            append(is_candidate, score, anchor, class_id, plan, keys, counters);
        }
    } else {
        float best = -1.0f;
        int best_class = 0;
#pragma unroll 4
        for (int class_id = group; class_id < plan.classes; class_id += GROUPS) {
            const float *at = scores + static_cast<long long>(class_id) * plan.anchors;
            const float score = inside ? *at * objectness : 0.0f;
            nonfinite |= !is_finite(score);
            bool is_better = is_finite(score) && score > best;
            if (is_better && plan.levels && score > plan.conf)
                is_better = is_peak(at, objectness_at, anchor, score, the_plan);
            if (is_better) best = score, best_class = class_id;
        }
        best_scores[group][lane] = best;
        best_classes[group][lane] = best_class;
        __syncthreads();
        if (group == 0) {
            for (int other = 1; other < GROUPS; ++other) {
                const float score = best_scores[other][lane];
                const int class_id = best_classes[other][lane];
                if (score > best || (score == best && class_id < best_class)) best = score, best_class = class_id;
            }
            bool is_candidate = inside && best > plan.conf && is_wanted(wanted, best_class);
            if (is_candidate && !box_is_finite(boxes, angles, anchor, plan.anchors)) {
                is_candidate = false, nonfinite = true;
            }
            append(is_candidate, best, anchor, best_class, plan, keys, counters);
        }
    }
    if (nonfinite) atomicOr(&counters->nonfinite, 1u);
}

// Gives the largest number that `rank` of the keys are not below, byte by byte from the highest (radix select): count
// the keys that begin as the bytes known so far, by their next byte; take the byte in which the count, from the
// largest, reaches what is left of `rank`; stop when all keys with it are wanted.
__device__ Key least_of_best(const Key *keys, int count, int rank, unsigned *bins, Key *prefix, unsigned *left) {
    if (threadIdx.x == 0) *prefix = 0, *left = rank;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (threadIdx.x < 256) bins[threadIdx.x] = 0;
        __syncthreads();
        if (*left == 0) break;
        const unsigned wanted = *left;  // read before the barrier after which one lane writes it
        const Key above = shift == 56 ? 0 : *prefix >> (shift + 8);
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            const Key key = keys[i];
            if (shift == 56 || key >> (shift + 8) == above) atomicAdd(&bins[key >> shift & 255], 1u);
        }
        __syncthreads();
        if (threadIdx.x < 32) {  // a lane has 8 bytes, lane 0 the largest
            const int largest = 255 - 8 * static_cast<int>(threadIdx.x);
            unsigned own = 0;
            for (int i = 0; i < 8; ++i) own += bins[largest - i];
            unsigned reached = own;
            for (int delta = 1; delta < 32; delta *= 2) {
                const unsigned other = __shfl_up_sync(0xffffffffu, reached, delta);
                if (static_cast<int>(threadIdx.x) >= delta) reached += other;
            }
            unsigned before = reached - own;
            if (before < wanted && wanted <= reached) {
                int byte = largest;
                while (before + bins[byte] < wanted) before += bins[byte--];
                *prefix |= static_cast<Key>(byte) << shift;
                *left = before + bins[byte] == wanted ? 0 : wanted - before;
            }
        }
        __syncthreads();
    }
    return *prefix;
}

// Bitonic sort (Batcher, 1968), falling; `size` is a power of two.
__device__ void sort_falling(Key *keys, int size) {
    for (int run = 2; run <= size; run *= 2) {
        for (int distance = run / 2; distance > 0; distance /= 2) {
            __syncthreads();
            for (int pair = threadIdx.x; pair < size / 2; pair += blockDim.x) {
                const int low = 2 * distance * (pair / distance) + pair % distance, high = low + distance;
                const Key a = keys[low], b = keys[high];
                if ((a < b) == ((low & run) == 0)) keys[low] = b, keys[high] = a;
            }
        }
    }
    __syncthreads();
}

// One block an image: its best candidates in falling order. Results beyond `count` are left as they are.
// boxes (B, limit, 4) x1 y1 x2 y2; or, with angles, (B, limit, 5) centre, w, h, angle; the others (B, limit).
extern "C" __global__ void __launch_bounds__(1024)
    select_best(const float *all_boxes, const float *all_angles, const SelectPlan *the_plan, const Key *all_keys,
                SelectCounters *all_counters, float *boxes, float *scores, int *class_ids, int *anchors,
                SelectHeader *headers) {
    __shared__ Key best[LIMIT];
    __shared__ unsigned bins[256];
    __shared__ Key prefix;
    __shared__ unsigned left;
    __shared__ int filled;
    const SelectPlan plan = *the_plan;
    const int limit = min(max(plan.limit, 1), LIMIT);
    const SelectCounters counters = all_counters[blockIdx.x];
    const int stored = static_cast<int>(min(counters.candidates, static_cast<unsigned>(max(plan.capacity, 0))));
    const int count = min(stored, limit);
    const Key *keys = all_keys + static_cast<long long>(blockIdx.x) * plan.capacity;

    int size = 2;
    while (size < count) size *= 2;
    const Key least = stored > limit ? least_of_best(keys, stored, limit, bins, &prefix, &left) : 0;
    for (int i = threadIdx.x; i < size; i += blockDim.x) best[i] = 0;  // less than any key
    if (threadIdx.x == 0) filled = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < stored; i += blockDim.x) {
        const Key key = keys[i];
        if (key < least) continue;
        const int place = atomicAdd(&filled, 1);
        if (place < LIMIT) best[place] = key;
    }
    sort_falling(best, size);

    const long long to_boxes = static_cast<long long>(blockIdx.x) * plan.box_stride;
    const float *given = all_boxes + to_boxes;
    const long long row = plan.anchors, first = static_cast<long long>(blockIdx.x) * limit;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const unsigned index = ~static_cast<unsigned>(best[i]);
        const int anchor = static_cast<int>(min(index / plan.classes, static_cast<unsigned>(plan.anchors - 1)));
        const float x = given[anchor], y = given[row + anchor];
        const float w = given[2 * row + anchor], h = given[3 * row + anchor];
        if (!all_angles) {
            float *box = boxes + (first + i) * 4;
            box[0] = x - w * 0.5f, box[1] = y - h * 0.5f, box[2] = x + w * 0.5f, box[3] = y + h * 0.5f;
        } else {
            float *box = boxes + (first + i) * 5;
            box[0] = x, box[1] = y, box[2] = w, box[3] = h, box[4] = all_angles[to_boxes + anchor];
        }
        scores[first + i] = __uint_as_float(static_cast<unsigned>(best[i] >> 32));
        class_ids[first + i] = static_cast<int>(index % plan.classes);
        anchors[first + i] = anchor;
    }
    if (threadIdx.x == 0) {
        const int truncated = counters.candidates > static_cast<unsigned>(stored) ? 2 : stored > limit;
        headers[blockIdx.x] = {count, static_cast<int>(counters.candidates), truncated, counters.nonfinite != 0};
        all_counters[blockIdx.x] = {0, 0};
    }
}
