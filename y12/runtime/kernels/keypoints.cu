// The keypoints of the objects that NMS kept, from the network's (B, rows, A) to (B, room, values): what is downloaded
// is then what they are. Reference: tests/runtime/kernels/references/keypoints.py.
//
// A value lies in a sector of its own, 32 bytes read for 4: of 300 objects with 51 values, half a megabyte an image.
#include "common.cuh"

// rows: the first keypoint row of the first image; `image_stride` floats to that of the next image, `anchors` to the
// next row. result: what nms_keep of nms.cu left, whose rows have box_values + 3 values; a kept value that is not finite
// sets its header's `nonfinite`. out: (B, room, values); rows beyond the count are 0.
// Grid and block: y12.runtime.kernels.layout.gather_grid.
extern "C" __global__ void __launch_bounds__(256)
    gather(const float *rows, unsigned *result, float *out, int anchors, long long image_stride, int values,
           int box_values, int room) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= room * values) return;
    const int row = i / values, value = i % values, row_values = box_values + 3;
    const long long image = blockIdx.y;
    unsigned *header = result + image * (4 + static_cast<long long>(room) * row_values);
    float gathered = 0.0f;
    if (row < static_cast<int>(header[0])) {
        const int anchor = min(max(static_cast<int>(header[4 + row * row_values + box_values + 2]), 0), anchors - 1);
        gathered = rows[image * image_stride + static_cast<long long>(value) * anchors + anchor];
        if (!is_finite(gathered)) atomicOr(&header[3], 1u);
    }
    out[image * room * values + i] = gathered;
}
