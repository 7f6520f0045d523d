// Calls a parser as nvinfer's postprocessor does, for Python: its argument types are C++'s.
#include "nvdsinfer_custom_impl.h"

#include <cstring>

extern "C" bool PARSER(
    std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&, NvDsInferParseDetectionParams const&,
    std::vector<NvDsInferObjectDetectionInfo>&);

// `sizes` holds each layer's number of axes and eight sizes. `objects` takes left, top, width, height, score and class.
// Returns how many objects there are; -1 where the parser refused.
extern "C" int call_parser(
    int layers, const char** names, const int* types, const unsigned int* sizes, void** buffers, unsigned int width,
    unsigned int height, unsigned int classes, float threshold, float* objects, int most) {
    std::vector<NvDsInferLayerInfo> outputs(layers);
    for (int i = 0; i < layers; ++i) {
        NvDsInferLayerInfo& output = outputs[i];
        output.dataType = static_cast<NvDsInferDataType>(types[i]);
        output.inferDims = {sizes[9 * i], {}, 1};
        std::memcpy(output.inferDims.d, sizes + 9 * i + 1, sizeof output.inferDims.d);
        for (unsigned int axis = 0; axis < output.inferDims.numDims; ++axis)
            output.inferDims.numElements *= output.inferDims.d[axis];
        output.bindingIndex = i + 1;
        output.layerName = names[i];
        output.buffer = buffers[i];
        output.isInput = 0;
    }
    NvDsInferParseDetectionParams params{
        classes, std::vector<float>(classes, threshold), std::vector<float>(classes, 0.0f)};
    std::vector<NvDsInferObjectDetectionInfo> found;
    if (!PARSER(outputs, {width, height, 3}, params, found)) return -1;
    for (int i = 0; i < static_cast<int>(found.size()) && i < most; ++i) {
        const NvDsInferObjectDetectionInfo& each = found[i];
        const float row[] = {
            each.left, each.top, each.width, each.height, each.detectionConfidence, static_cast<float>(each.classId)};
        std::memcpy(objects + 6 * i, row, sizeof row);
    }
    return static_cast<int>(found.size());
}
