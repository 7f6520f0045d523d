// Instance masks over the original image, within each box, one bit a pixel: two launches, and no host between them.
//
//   mask_place   one block an image: which pixels each box has, and where their bits lie in the image's arena
//   mask_draw    the bits, by a grid of fixed size whose blocks take tile after tile
//
// Equation: y12/runtime/results/masks.py. A pixel's bit is set where the logit, the sum over m of coefficient[m] x prototype[m]
// interpolated bilinearly at the pixel's centre, is above 0. Its centre lies in the prototypes, of `size` pixels over
// an input of `input`, at
//
//   (((2 i + 1) resized + 2 image offset) size - image input) / (2 image input)
//
// with `resized` pixels of the input, from `offset` on, for the image's `image`: a whole number over a whole number.
// Quotient and remainder are exact in 64 bits for sides up to 32767 pixels, so that no tap depends on how a float64 was
// rounded, and no GPU is slow at it; one division a row and column of a tile. float32 rounds the sums: a bit differs
// from that of y12/runtime/results/masks.py only where the logit is within that rounding of 0.
//
// Logits are computed once for each prototype pixel of a tile and kept in shared memory; where prototypes are denser
// than pixels, and the patch does not fit, four for each pixel. Either way in one order: the bits are the same.
// Bytes of memory: the prototypes under the boxes, 4 M each, which meet in the L2 cache; 1/8 a pixel is written.
// Reference: tests/runtime/kernels/references/masks.py.
#include "common.cuh"

struct MaskPlan {  // y12.runtime.kernels.masks_layout.MASK_PLAN
    long long coefficient_stride;  // floats from the coefficients of an image to those of the next
    long long arena_words;         // an image has
    int anchors, coefficients;     // floats from one coefficient to the next; how many, 1 to MOST_COEFFICIENTS
    int proto_height, proto_width, input_height, input_width;
    int room;                      // rows an image has in the result of NMS
    int unused;
};

struct MaskPlace {  // y12.runtime.kernels.masks_layout.MASK_PLACE: pixels, words, tiles
    int left, top, width, height;
    long long offset;  // of the first word in the image's arena; a row of pixels begins a word
    int first_tile;    // how many tiles the masks before it have
    int anchor;        // which coefficients are its own
};

struct MaskHeader {   // y12.runtime.kernels.masks_layout.MASK_HEADER
    long long words;  // of all masks of the image
    int tiles;        // of those that fit into the arena
    int overflow;     // 1: `words` is more than the arena has; the masks behind its end are not drawn
};

constexpr int PLACE_THREADS = 256;
constexpr int DRAW_THREADS = 256;
constexpr int WARPS = DRAW_THREADS / 32;
constexpr int TILE_WORDS = 4;  // a tile is 128 pixels wide
constexpr int TILE_ROWS = 32;
constexpr int TILE_COLUMNS = 32 * TILE_WORDS;
constexpr int MOST_COEFFICIENTS = 128;
constexpr int PATCH = 4608;  // logits: enough for a tile where prototypes are as dense as pixels, (128 + 2) x (32 + 2)
constexpr int BOX_VALUES = 4;
constexpr int ROW_VALUES = BOX_VALUES + 3;  // of the result of nms_keep: box, score, class, anchor
constexpr int HEADER_VALUES = 4;

template <class T>
__device__ __forceinline__ T *result_of(T *results, int image, int room) {
    return results + static_cast<long long>(image) * (HEADER_VALUES + static_cast<long long>(room) * ROW_VALUES);
}

__device__ __forceinline__ int count_of(const unsigned *result, int room) {
    return min(max(static_cast<int>(result[0]), 0), room);
}

__device__ __forceinline__ int words_across(int width) { return (width + 31) / 32; }
__device__ __forceinline__ int tiles_across(int width) { return (width + TILE_COLUMNS - 1) / TILE_COLUMNS; }

// The first pixel whose centre is not before an edge of a box, which is at `x` in the input. As
// y12.runtime.preprocess.letterbox.boxes_to_original and y12.runtime.results.masks place it: the factor is the nearest float32 to a quotient of
// whole numbers, and x - 0.5 is exact wherever its ceiling depends on it.
__device__ __forceinline__ int pixel_edge(float x, int offset, int resized, int size) {
    const float place = (x - float(offset)) / (float(resized) / float(size));
    return static_cast<int>(ceilf(fminf(fmaxf(place, 0.0f), float(size)) - 0.5f));
}

__device__ __forceinline__ MaskPlace box_place(const unsigned *row, const LetterboxImage &image, int anchors) {
    const float *box = reinterpret_cast<const float *>(row);
    const int anchor = min(max(static_cast<int>(row[BOX_VALUES + 2]), 0), anchors - 1);
    const int left = pixel_edge(box[0], image.left, image.resized_width, image.width);
    const int top = pixel_edge(box[1], image.top, image.resized_height, image.height);
    const int right = pixel_edge(box[2], image.left, image.resized_width, image.width);
    const int bottom = pixel_edge(box[3], image.top, image.resized_height, image.height);
    return {left, top, max(right - left, 0), max(bottom - top, 0), 0, 0, anchor};
}

// Gives the sum of the values of all threads before this one, plus `carry`; adds the sum of all to `carry`.
__device__ __forceinline__ long long sum_before(long long value, long long *sums, long long *carry) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    long long reached = value;
    for (int delta = 1; delta < 32; delta *= 2) {
        const long long other = __shfl_up_sync(0xffffffffu, reached, delta);
        if (lane >= delta) reached += other;
    }
    __syncthreads();  // `sums` has been read
    if (lane == 31) sums[warp] = reached;
    __syncthreads();
    long long before = *carry + reached - value;
    for (int other = 0; other < PLACE_THREADS / 32; ++other) {
        if (other < warp) before += sums[other];
        *carry += sums[other];
    }
    return before;
}

// Grid (images), PLACE_THREADS threads. results: what nms_keep left, boxes in pixels of the input. places: (images,
// room), 0 beyond the count.
extern "C" __global__ void __launch_bounds__(PLACE_THREADS)
    mask_place(const LetterboxImage *images, const unsigned *results, const MaskPlan *the_plan, MaskPlace *all_places,
               MaskHeader *headers) {
    __shared__ long long sums[PLACE_THREADS / 32];
    const MaskPlan plan = *the_plan;
    const LetterboxImage image = images[blockIdx.x];
    const unsigned *result = result_of(results, blockIdx.x, plan.room);
    MaskPlace *places = all_places + static_cast<long long>(blockIdx.x) * plan.room;
    const int count = count_of(result, plan.room);
    long long words = 0, tiles = 0;  // of the rows so far, the same in every thread
    for (int first = 0; first < plan.room; first += PLACE_THREADS) {
        const int row = first + threadIdx.x;
        MaskPlace place = {};
        if (row < count) place = box_place(result + HEADER_VALUES + row * ROW_VALUES, image, plan.anchors);
        const long long own = static_cast<long long>(place.height) * words_across(place.width);
        const long long offset = sum_before(own, sums, &words);
        const bool fits = offset + own <= plan.arena_words;
        const int own_tiles = tiles_across(place.width) * ((place.height + TILE_ROWS - 1) / TILE_ROWS);
        const long long first_tile = sum_before(fits ? own_tiles : 0, sums, &tiles);
        if (row < count) place.offset = offset, place.first_tile = static_cast<int>(first_tile);
        if (row < plan.room) places[row] = place;
    }
    if (threadIdx.x == 0) headers[blockIdx.x] = {words, static_cast<int>(tiles), words > plan.arena_words};
}

struct Axis {  // of the image and of the prototypes
    int image, offset, resized, input, protos;
};

struct Tap {
    int low;
    float weight;  // of the prototype pixel behind `low`; 0 for the last one
};

__device__ __forceinline__ Tap tap(int i, const Axis &axis) {
    const long long whole = 2LL * axis.image * axis.input, last = (axis.protos - 1) * whole;
    const long long place = ((2LL * i + 1) * axis.resized + 2LL * axis.image * axis.offset) * axis.protos;
    const long long position = min(max(place - static_cast<long long>(axis.image) * axis.input, 0LL), last);
    const long long low = position / whole;
    return {static_cast<int>(low), float(position - low * whole) / float(whole)};
}

__device__ __forceinline__ float between(float from, float to, float weight) { return from + (to - from) * weight; }

struct Protos {
    const float *values;        // (M, height, width) of the image
    const float *coefficients;  // (M,), in shared memory
    int count, height, width;

    __device__ __forceinline__ float logit(int y, int x) const {
        const long long plane = static_cast<long long>(height) * width;
        const float *at = values + static_cast<long long>(y) * width + x;
        float sum = coefficients[0] * at[0];
#pragma unroll 8
        for (int m = 1; m < count; ++m) sum += coefficients[m] * at[m * plane];
        return sum;
    }
};

struct Patch {  // of logits, in shared memory; `fits` says whether they are there
    float *logits;
    int y, x, width;
    bool fits;
};

// The logit at a pixel: first down the columns to either side, then across, as y12/runtime/results/masks.py does.
__device__ __forceinline__ float interpolated(const Protos &protos, const Patch &patch, const Tap &down,
                                              const Tap &across) {
    const int below = down.low + 1 < protos.height, right = across.low + 1 < protos.width;
    float upper_left, lower_left, upper_right, lower_right;
    if (patch.fits) {
        const float *at = patch.logits + (down.low - patch.y) * patch.width + across.low - patch.x;
        upper_left = at[0], upper_right = at[right];
        lower_left = at[below * patch.width], lower_right = at[below * patch.width + right];
    } else {
        upper_left = protos.logit(down.low, across.low), upper_right = protos.logit(down.low, across.low + right);
        lower_left = protos.logit(down.low + below, across.low);
        lower_right = protos.logit(down.low + below, across.low + right);
    }
    return between(between(upper_left, lower_left, down.weight), between(upper_right, lower_right, down.weight),
                   across.weight);
}

// The mask that a tile belongs to: the last whose first tile is not behind it. Every thread takes part; counting needs
// one load a thread, a search by halving would wait for nine in a row. As all threads meet here, none still draws the
// tile before when the taps and logits in shared memory are replaced.
__device__ __forceinline__ int mask_of(int tile, const MaskPlace *places, int count) {
    int row = -1;
    for (int first = 0; first < count; first += DRAW_THREADS) {
        const int other = first + threadIdx.x;
        row += __syncthreads_count(other < count && places[other].first_tile <= tile);
    }
    return row;
}

// Grid (blocks, images), DRAW_THREADS threads. coefficients: the first row of the first image; protos: (images, M,
// height, width); arena: (images, arena_words). A logit in a box that is not finite leaves its bit 0 and sets the
// `nonfinite` of the result's header.
extern "C" __global__ void __launch_bounds__(DRAW_THREADS)
    mask_draw(const LetterboxImage *images, unsigned *results, const float *all_coefficients, const float *all_protos,
              const MaskPlan *the_plan, const MaskPlace *all_places, const MaskHeader *headers, unsigned *arenas) {
    __shared__ float coefficients[MOST_COEFFICIENTS], logits[PATCH];
    __shared__ Tap across[TILE_COLUMNS], down[TILE_ROWS];
    const MaskPlan plan = *the_plan;
    const int image_index = blockIdx.y, thread = threadIdx.x, lane = thread % 32;
    const LetterboxImage image = images[image_index];
    const Axis x_axis = {image.width, image.left, image.resized_width, plan.input_width, plan.proto_width};
    const Axis y_axis = {image.height, image.top, image.resized_height, plan.input_height, plan.proto_height};
    unsigned *result = result_of(results, image_index, plan.room);
    const int count = count_of(result, plan.room), coefficient_count = min(plan.coefficients, MOST_COEFFICIENTS);
    const long long proto_values = static_cast<long long>(plan.coefficients) * plan.proto_height * plan.proto_width;
    const Protos protos = {all_protos + image_index * proto_values, coefficients, coefficient_count, plan.proto_height,
                           plan.proto_width};
    const float *first_coefficients = all_coefficients + image_index * plan.coefficient_stride;
    const MaskPlace *places = all_places + static_cast<long long>(image_index) * plan.room;
    unsigned *arena = arenas + image_index * plan.arena_words;
    const int tiles = headers[image_index].tiles;
    bool nonfinite = false;

    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int row = mask_of(tile, places, count);
        const MaskPlace place = places[row];
        const int local = tile - place.first_tile, tiles_wide = tiles_across(place.width);
        const int first_x = local % tiles_wide * TILE_COLUMNS, first_y = local / tiles_wide * TILE_ROWS;
        const int columns = min(place.width - first_x, TILE_COLUMNS), rows = min(place.height - first_y, TILE_ROWS);
        if (thread < coefficient_count)
            coefficients[thread] = first_coefficients[static_cast<long long>(thread) * plan.anchors + place.anchor];
        if (thread < columns) across[thread] = tap(place.left + first_x + thread, x_axis);
        const int own_row = thread - TILE_COLUMNS;
        if (own_row >= 0 && own_row < rows) down[own_row] = tap(place.top + first_y + own_row, y_axis);
        __syncthreads();

        const int x = across[0].low, right = min(across[columns - 1].low + 1, plan.proto_width - 1);
        const int y = down[0].low, bottom = min(down[rows - 1].low + 1, plan.proto_height - 1);
        const int width = right - x + 1, height = bottom - y + 1;
        const Patch patch = {logits, y, x, width, static_cast<long long>(width) * height <= PATCH};
        if (patch.fits)
            for (int i = thread; i < width * height; i += DRAW_THREADS)
                logits[i] = protos.logit(y + i / width, x + i % width);
        __syncthreads();

        const int words_in_row = words_across(place.width), words_here = words_across(columns);
        for (int r = thread / 32; r < rows; r += WARPS) {  // a warp has a row
            unsigned own = 0;                              // lane w has word w
            for (int word = 0; word < words_here; ++word) {
                const int column = 32 * word + lane;
                float logit = -1.0f;
                if (column < columns) logit = interpolated(protos, patch, down[r], across[column]);
                nonfinite |= !is_finite(logit);
                const unsigned bits = __ballot_sync(0xffffffffu, is_finite(logit) && logit > 0);
                if (lane == word) own = bits;
            }
            const long long at = static_cast<long long>(first_y + r) * words_in_row + first_x / 32 + lane;
            if (lane < words_here) arena[place.offset + at] = own;
        }
    }
    if (nonfinite) atomicOr(&result[3], 1u);
}
