// What a parser for nvinfer is compiled against, as NVIDIA's API reference documents it: the structures it reads and
// fills, and the macros that check its signature. Written for the tests; on a machine with DeepStream its own is taken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

enum NvDsInferDataType { FLOAT = 0, HALF = 1, INT8 = 2, INT32 = 3 };

struct NvDsInferDims {
    unsigned int numDims;
    unsigned int d[8];
    unsigned int numElements;
};

struct NvDsInferDimsCHW {
    unsigned int c, h, w;
};

#define getDimsCHWFromDims(chw, dims) ((chw).c = (dims).d[0], (chw).h = (dims).d[1], (chw).w = (dims).d[2])

struct NvDsInferLayerInfo {
    NvDsInferDataType dataType;
    union {
        NvDsInferDims inferDims;
        NvDsInferDims dims;
    };
    int bindingIndex;
    const char* layerName;
    void* buffer;
    int isInput;
};

struct NvDsInferNetworkInfo {
    unsigned int width, height, channels;
};

struct NvDsInferObjectDetectionInfo {
    unsigned int classId;
    float left, top, width, height, detectionConfidence;
};
using NvDsInferParseObjectInfo = NvDsInferObjectDetectionInfo;

struct NvDsInferInstanceMaskInfo {
    unsigned int classId;
    float left, top, width, height, detectionConfidence;
    float* mask;
    unsigned int mask_width, mask_height, mask_size;
};

struct NvDsInferParseDetectionParams {
    unsigned int numClassesConfigured;
    std::vector<float> perClassPreclusterThreshold;
    std::vector<float> perClassPostclusterThreshold;
    std::vector<float>& perClassThreshold = perClassPreclusterThreshold;
};

template <typename Object>
using NvDsInferParse = bool (*)(
    std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&, NvDsInferParseDetectionParams const&,
    std::vector<Object>&);

#define CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(function) \
    static_assert(sizeof(static_cast<NvDsInferParse<NvDsInferObjectDetectionInfo>>(function)) > 0, #function)
#define CHECK_CUSTOM_INSTANCE_MASK_PARSE_FUNC_PROTOTYPE(function) \
    static_assert(sizeof(static_cast<NvDsInferParse<NvDsInferInstanceMaskInfo>>(function)) > 0, #function)
