// Class-aware greedy NMS, exact: it keeps what y12/runtime/postprocess/nms.py and y12/runtime/results/oriented.py keep. Two launches, and no host
// between them:
//
//   nms_mask, rotated_mask   which candidate would suppress which later one: one bit a pair, 64 x 64 pairs a block
//   nms_keep                 one block an image: walks the bits in order, writes the kept rows and their count
//
// Candidates are what select.cu leaves: sorted by falling score, in `capacity` places an image, at most 4096; the
// headers say how many there are. Thresholds are read from device memory, so that a captured graph obeys a change.
//
// A candidate with a NaN or an infinity in its box or score neither stays nor suppresses; `nonfinite` tells.
// Reference: tests/runtime/kernels/references/nms.py.
#include "common.cuh"

typedef unsigned long long Word;

constexpr int TILE = 64;        // candidates a word
constexpr int MOST_TILES = 64;  // capacity / TILE at most
constexpr int SLICES = 8;       // of the rows of a tile, in nms_keep
constexpr int KEEP_THREADS = TILE * SLICES;
constexpr double MIN_SIDE = 1e-3;  // y12.runtime.results.oriented.MIN_SIDE
constexpr float SMALLEST_NORMAL = 1.175494351e-38f;

struct NmsOptions {   // y12.runtime.kernels.nms_layout.OPTIONS
    double iou;       // upright boxes: suppressed above it
    double distance;  // oriented boxes: suppressed below this Bhattacharyya distance
    int max_det;
    int agnostic;
};

struct Candidates {
    const float *boxes;           // (images, capacity, 4 or 5)
    const float *scores;          // (images, capacity)
    const int *classes;           // (images, capacity)
    const SelectHeader *headers;  // (images,)
    int capacity;
};

__device__ __forceinline__ int bounded_count(int count, int capacity) {
    return max(0, min(count, min(capacity, TILE * MOST_TILES)));
}

struct Upright {
    float x1, y1, x2, y2;

    __device__ __forceinline__ void load(const float *boxes, size_t index, const NmsOptions &) {
        const float4 box = reinterpret_cast<const float4 *>(boxes)[index];
        x1 = box.x, y1 = box.y, x2 = box.z, y2 = box.w;
    }

    __device__ __forceinline__ bool finite() const {
        return is_finite(x1) && is_finite(y1) && is_finite(x2) && is_finite(y2);
    }

    // Whether intersection > iou * union in float64, the reference's own operations in its own order.
    __device__ __forceinline__ bool overlaps_in_double(const Upright &other, double iou) const {
        const double width = fmin(double(x2), double(other.x2)) - fmax(double(x1), double(other.x1));
        const double height = fmin(double(y2), double(other.y2)) - fmax(double(y1), double(other.y1));
        const double intersection = fmax(width, 0.0) * fmax(height, 0.0);
        const double area = (double(x2) - double(x1)) * (double(y2) - double(y1));
        const double area2 = (double(other.x2) - double(other.x1)) * (double(other.y2) - double(other.y1));
        return intersection > iou * (area + area2 - intersection);
    }

    // The same, in float32 wherever that cannot be wrong: FP64 has 1/32 to 1/64 of the speed on consumer GPUs, and few
    // pairs in a million need it.
    //
    // A difference of two float32 has the sign of the exact one, so a pair that does not meet is told exactly, and
    // boxes that do meet are neither empty nor crossed. Then intersection <= union and both areas <= union, and with
    // u = 2^-24 the intersection is off by at most 3u of itself, iou * union by at most 14u of itself: 4u of the two
    // areas' sum (<= 2 union), 3u of the intersection, and 1u each for the difference, the threshold and the product.
    // 32u of their sum is more than twice that; 2^-100 covers what underflows; NaN and infinity fail the comparison.
    __device__ __forceinline__ bool overlaps(const Upright &other, const NmsOptions &options) const {
        const float width = fminf(x2, other.x2) - fmaxf(x1, other.x1);
        const float height = fminf(y2, other.y2) - fmaxf(y1, other.y1);
        if (!(width > 0 && height > 0)) return false;
        const float iou = float(options.iou);
        const float intersection = width * height;
        const float areas = (x2 - x1) * (y2 - y1) + (other.x2 - other.x1) * (other.y2 - other.y1);
        const float least = iou * (areas - intersection);
        const float excess = intersection - least;
        const bool rounds_well = iou >= SMALLEST_NORMAL || options.iou == 0;  // float(iou) is within 1u of it
        if (rounds_well && fabsf(excess) > 0x1p-19f * (intersection + least) + 0x1p-100f) return excess > 0;
        return overlaps_in_double(other, options.iou);
    }
};

// An oriented box as a Gaussian (arXiv 2106.06072), as y12.runtime.results.oriented writes it.
struct Rotated {
    float x, y, reach;  // reach: 4 * limit * larger variance, a little more; see overlaps
    bool all_finite;
    double a, b, cosine, sine, root;  // variances along and across; of the angle; area / 12

    __device__ __forceinline__ void load(const float *boxes, size_t index, const NmsOptions &options) {
        const float *box = boxes + 5 * index;
        x = box[0], y = box[1];
        all_finite = is_finite(x) && is_finite(y) && is_finite(box[2]) && is_finite(box[3]) && is_finite(box[4]);
        const double width = fmax(double(box[2]), MIN_SIDE), height = fmax(double(box[3]), MIN_SIDE);
        a = width * width / 12, b = height * height / 12, root = width * height / 12;
        cosine = cos(double(box[4])), sine = sin(double(box[4]));
        reach = float(4 * options.distance * fmax(a, b) * (1 + 1e-5));
    }

    __device__ __forceinline__ bool finite() const { return all_finite; }

    // d' adj(S) d
    __device__ __forceinline__ double spread(double dx, double dy) const {
        const double along = dx * cosine + dy * sine, across = dy * cosine - dx * sine;
        return b * (along * along) + a * (across * across);
    }

    // Whether the Bhattacharyya distance of the two is below the limit.
    //
    // It is at least |d|^2 / (4 (v1 + v2)), v the larger variance of each: float32 tells from that, rounding by less
    // than 1e-6 of either side, which pairs are too far apart. The others, a few in a hundred, need float64: the
    // angles' difference and the log of a ratio near 1 cancel, and a thin box amplifies what is left by its aspect
    // ratio. What remains is the last bit or two of sin, cos and log, in which a GPU and numpy differ: the decisions
    // are the reference's unless the distance is within some 1e-15 times the aspect ratio of the limit.
    __device__ __forceinline__ bool overlaps(const Rotated &other, const NmsOptions &options) const {
        const float dx = x - other.x, dy = y - other.y;
        if (dx * dx + dy * dy > reach + other.reach) return false;
        return distance(other) < options.distance;
    }

    __device__ __forceinline__ double distance(const Rotated &other) const {
        const double dx = double(x) - double(other.x), dy = double(y) - double(other.y);
        const double cos_between = cosine * other.cosine + sine * other.sine;
        const double sin_between = sine * other.cosine - cosine * other.sine;
        const double determinant = root * root + other.root * other.root +
                                   cos_between * cos_between * (a * other.b + other.a * b) +
                                   sin_between * sin_between * (a * other.a + b * other.b);
        const double apart = (spread(dx, dy) + other.spread(dx, dy)) / (4 * determinant);
        return fmax(apart + 0.5 * log(determinant / (4 * root * other.root)), 0.0);
    }
};

// Writes the words of 64 rows against 64 columns, one row a thread; the block on the diagonal also says which of its
// rows are not finite. Blocks below the diagonal and beyond the count have nothing to say and write nothing.
//
// An image of N candidates reads N / 64 * 16 N bytes of boxes, from L2, and writes N^2 / 16 bytes: 1 MB of 4096, which
// stays in L2 until nms_keep reads the few rows that it keeps.
template <class Box>
__device__ __forceinline__ void mask_tile(const Candidates &given, const NmsOptions *device_options, Box *columns,
                                          int *column_classes, Word *not_finite, Word *mask, Word *dead) {
    const int column_tile = blockIdx.x, row_tile = blockIdx.y, image = blockIdx.z, thread = threadIdx.x;
    const int count = bounded_count(given.headers[image].count, given.capacity);
    if (column_tile < row_tile || column_tile * TILE >= count) return;
    const bool on_diagonal = column_tile == row_tile;
    const int column_count = min(TILE, count - column_tile * TILE), words = (given.capacity + TILE - 1) / TILE;
    const size_t first = size_t(image) * given.capacity, row = first + row_tile * TILE + thread;
    const NmsOptions options = *device_options;
    if (thread == 0) *not_finite = 0;
    if (thread < column_count) {
        const size_t column = first + column_tile * TILE + thread;
        columns[thread].load(given.boxes, column, options);
        column_classes[thread] = given.classes[column];
    }
    __syncthreads();
    if (on_diagonal) {
        if (thread < column_count && !(columns[thread].finite() && is_finite(given.scores[row])))
            atomicOr(not_finite, Word(1) << thread);
        __syncthreads();
        if (thread == 0) dead[size_t(image) * words + row_tile] = *not_finite;
        if (thread >= column_count) return;  // only the last tile is not full, and it meets itself alone
    }
    Box own;
    own.load(given.boxes, row, options);
    const int own_class = given.classes[row];
    Word word = 0;
    for (int j = on_diagonal ? thread + 1 : 0; j < column_count; ++j)
        if ((options.agnostic || own_class == column_classes[j]) && own.overlaps(columns[j], options))
            word |= Word(1) << j;
    mask[row * words + column_tile] = word;
}

// Grid (tiles, tiles, images), TILE threads. mask: (images, capacity, tiles) words; dead: (images, tiles) words.
extern "C" __global__ void __launch_bounds__(TILE) nms_mask(
    const float *boxes, const float *scores, const int *classes, const SelectHeader *headers,
    const NmsOptions *options, int capacity, Word *mask, Word *dead) {
    __shared__ Upright columns[TILE];
    __shared__ int column_classes[TILE];
    __shared__ Word not_finite;
    mask_tile({boxes, scores, classes, headers, capacity}, options, columns, column_classes, &not_finite, mask, dead);
}

extern "C" __global__ void __launch_bounds__(TILE) rotated_mask(
    const float *boxes, const float *scores, const int *classes, const SelectHeader *headers,
    const NmsOptions *options, int capacity, Word *mask, Word *dead) {
    __shared__ Rotated columns[TILE];
    __shared__ int column_classes[TILE];
    __shared__ Word not_finite;
    mask_tile({boxes, scores, classes, headers, capacity}, options, columns, column_classes, &not_finite, mask, dead);
}

// Takes of one tile the candidates that nothing suppressed; gives their bits. `kept` gets their places.
__device__ __forceinline__ Word keep_in_tile(int tile, Word alive, const Word *diagonal, int wanted, int *total,
                                             unsigned short *kept) {
    Word keep = 0;
    int count = *total;
    while (alive && count < wanted) {
        const int best = __ffsll((long long)alive) - 1;
        keep |= Word(1) << best;
        alive &= ~(diagonal[best] | Word(1) << best);
        kept[count++] = (unsigned short)(tile * TILE + best);
    }
    *total = count;
    return keep;
}

// Gives the bits of one value of a row: box, score, class, anchor of the candidate at `from`.
__device__ __forceinline__ unsigned row_value(const Candidates &given, const int *anchors, int box_values, size_t from,
                                              int part) {
    if (part < box_values) return __float_as_uint(given.boxes[from * box_values + part]);
    if (part == box_values) return __float_as_uint(given.scores[from]);
    return unsigned(part == box_values + 1 ? given.classes[from] : anchors[from]);
}

// Grid (images), KEEP_THREADS threads. `result`, 4-byte values, of each image: the header, its count now of what is
// kept, and `room` rows of box_values + 3: box, score, class, anchor. Rows beyond the count are 0, so that equal inputs
// give equal bytes.
//
// Tile after tile, one thread settles the 64 candidates among themselves; then all threads clear what the kept ones
// suppress further on: a thread has one word column and every eighth row, so that a warp reads 256 neighbouring bytes
// and the loads of a thread do not wait for each other. Reads 8 N / 64 bytes a kept row, not the whole mask.
extern "C" __global__ void __launch_bounds__(KEEP_THREADS) nms_keep(
    const float *boxes, const float *scores, const int *classes, const int *anchors, const SelectHeader *headers,
    const NmsOptions *options, const Word *mask, const Word *dead, int capacity, int box_values, int room,
    unsigned *result) {
    __shared__ Word removed[MOST_TILES], diagonal[TILE], keep;
    __shared__ unsigned short kept[MOST_TILES * TILE];
    __shared__ int total;
    const int image = blockIdx.x, thread = threadIdx.x, column = thread % TILE, slice = thread / TILE;
    const SelectHeader header = headers[image];
    const int count = bounded_count(header.count, capacity);
    const int tiles = (count + TILE - 1) / TILE, words = (capacity + TILE - 1) / TILE;
    const int wanted = min(options->max_det, room);
    const size_t first = size_t(image) * capacity;
    if (thread < tiles) removed[thread] = dead[size_t(image) * words + thread];
    if (thread < TILE && thread < count) diagonal[thread] = mask[(first + thread) * words];
    if (thread == 0) total = 0;
    const bool not_finite = __syncthreads_or(thread < tiles && removed[thread] != 0);
    for (int tile = 0; tile < tiles; ++tile) {
        const int start = tile * TILE;
        if (thread == 0) {
            const Word present = count - start >= TILE ? ~Word(0) : (Word(1) << (count - start)) - 1;
            keep = keep_in_tile(tile, present & ~removed[tile], diagonal, wanted, &total, kept);
        }
        __syncthreads();
        if (total >= wanted) break;
        if (column > tile && column < tiles) {
            Word suppressed = 0;
#pragma unroll
            for (int row = slice; row < TILE; row += SLICES)
                if (keep >> row & 1) suppressed |= mask[(first + start + row) * words + column];
            if (suppressed) atomicOr(&removed[column], suppressed);
        }
        const int next = start + TILE + thread;
        if (thread < TILE && next < count) diagonal[thread] = mask[(first + next) * words + tile + 1];
        __syncthreads();
    }
    const int row_values = box_values + 3;
    unsigned *out = result + size_t(image) * (4 + size_t(room) * row_values);
    if (thread == 0) {
        out[0] = unsigned(total), out[1] = unsigned(header.candidates), out[2] = unsigned(header.truncated);
        out[3] = unsigned(header.nonfinite || not_finite);
    }
    const Candidates given = {boxes, scores, classes, headers, capacity};
    for (int i = thread; i < room * row_values; i += KEEP_THREADS) {
        const int row = i / row_values;
        out[4 + i] = row < total ? row_value(given, anchors, box_values, first + kept[row], i % row_values) : 0;
    }
}
