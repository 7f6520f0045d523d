// The network's output to boxes in the photograph: threshold, NMS, and back through the letterbox. No CUDA, no TensorRT.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "image.hpp"

namespace y12 {

struct Options {
    float conf = 0.25F;  // boxes scored above this
    float iou = 0.7F;    // of two boxes of a class that overlap by more, the better stays
    std::size_t maxDetections = 300;
    std::int64_t classes = 0;  // rows of scores; 0: all rows behind the box. Mask coefficients and keypoints come after them
};

struct Box {
    float x1, y1, x2, y2;
    float score;
    int classId;
};

// A detector's output0 without its batch axis, (4 + classes, places): x, y, width, height, then the classes' scores.
struct Output {
    const float* values;
    std::int64_t rows, places;

    float at(std::int64_t row, std::int64_t place) const { return values[row * places + place]; }
};

// Give every place whose best class is scored above the threshold, in pixels of the input, best first.
inline std::vector<Box> candidatesFrom(const Output& output, const Options& options) {
    const std::int64_t end = options.classes > 0 ? 4 + options.classes : output.rows;
    if (end < 5 || end > output.rows) {
        throw std::runtime_error("output0: expected 4 rows of boxes and one of each class, found " +
                                 std::to_string(output.rows) + " rows");
    }
    std::vector<Box> found;
    for (std::int64_t place = 0; place < output.places; ++place) {
        std::int64_t best = 4;
        for (std::int64_t row = 4; row < end; ++row) {
            if (!std::isfinite(output.at(row, place))) {
                throw std::runtime_error("output0: expected finite scores, found NaN or infinity");
            }
            if (output.at(row, place) > output.at(best, place)) {
                best = row;
            }
        }
        if (output.at(best, place) > options.conf) {
            const float x = output.at(0, place), y = output.at(1, place);
            const float halfWidth = output.at(2, place) * 0.5F, halfHeight = output.at(3, place) * 0.5F;
            found.push_back({x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight, output.at(best, place),
                             static_cast<int>(best - 4)});
        }
    }
    std::stable_sort(found.begin(), found.end(), [](const Box& a, const Box& b) { return a.score > b.score; });
    return found;
}

inline bool overlap(const Box& a, const Box& b, double iou) {
    const auto area = [](const Box& box) {
        return std::max(0.0, static_cast<double>(box.x2) - box.x1) * std::max(0.0, static_cast<double>(box.y2) - box.y1);
    };
    const double width = static_cast<double>(std::min(a.x2, b.x2)) - std::max(a.x1, b.x1);
    const double height = static_cast<double>(std::min(a.y2, b.y2)) - std::max(a.y1, b.y1);
    const double both = std::max(0.0, width) * std::max(0.0, height);
    return both > iou * (area(a) + area(b) - both);
}

// Greedy NMS of boxes sorted by falling score: one stays unless one of its class that stayed overlaps it.
inline std::vector<Box> suppressed(const std::vector<Box>& boxes, const Options& options) {
    std::vector<Box> kept;
    for (const Box& box : boxes) {
        const bool covered = std::any_of(kept.begin(), kept.end(), [&](const Box& other) {
            return other.classId == box.classId && overlap(other, box, options.iou);
        });
        if (!covered) {
            kept.push_back(box);
        }
        if (kept.size() == options.maxDetections) {
            break;
        }
    }
    return kept;
}

// Take a box from pixels of the input to pixels of the photograph, clipped to it.
inline Box toPhotograph(Box box, const Letterbox& frame, const Image& image) {
    const auto back = [](float value, int offset, float scale, int limit) {
        return std::clamp((value - static_cast<float>(offset)) / scale, 0.0F, static_cast<float>(limit));
    };
    box.x1 = back(box.x1, frame.left, frame.scaleX, image.width);
    box.x2 = back(box.x2, frame.left, frame.scaleX, image.width);
    box.y1 = back(box.y1, frame.top, frame.scaleY, image.height);
    box.y2 = back(box.y2, frame.top, frame.scaleY, image.height);
    return box;
}

}  // namespace y12
