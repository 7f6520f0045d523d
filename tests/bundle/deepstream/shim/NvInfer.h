// Of TensorRT, what a parser's helpers mention and no parser calls.
#pragma once

#include <cstdint>

namespace nvinfer1 {

struct Dims {
    std::int32_t nbDims;
    std::int64_t d[8];
};

struct ITensor {
    Dims getDimensions() const { return {}; }
};

}  // namespace nvinfer1
