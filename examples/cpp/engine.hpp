// A TensorRT plan on the GPU: loaded, given one image, run, asked for output0. Everything of CUDA and TensorRT is here.
//
// Works with TensorRT 10 and 11 and with TensorRT-RTX, whose headers and names are the same.
#pragma once

#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace y12 {

inline void checkCuda(cudaError_t status, const char* doing) {
    if (status != cudaSuccess) {
        throw std::runtime_error(std::string("CUDA could not ") + doing + ": " + cudaGetErrorString(status));
    }
}

inline void checkTensorRt(bool done, const std::string& doing) {
    if (!done) {
        throw std::runtime_error("TensorRT could not " + doing + "; its log above says why");
    }
}

class Logger : public nvinfer1::ILogger {
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kWARNING) {
            std::cerr << message << '\n';
        }
    }
};

class Stream {
public:
    Stream() { checkCuda(cudaStreamCreate(&stream_), "make a stream"); }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    cudaStream_t get() const { return stream_; }

private:
    cudaStream_t stream_{};
};

class DeviceMemory {
public:
    explicit DeviceMemory(std::size_t bytes) { checkCuda(cudaMalloc(&memory_, bytes), "allocate memory"); }
    ~DeviceMemory() { cudaFree(memory_); }
    DeviceMemory(DeviceMemory&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
    DeviceMemory& operator=(DeviceMemory&&) = delete;
    void* get() const { return memory_; }

private:
    void* memory_{};
};

struct Tensor {  // on the host
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

inline std::vector<char> bytesOfFile(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) {
        throw std::runtime_error(path + ": cannot be opened");
    }
    std::vector<char> bytes(static_cast<std::size_t>(file.tellg()));
    file.seekg(0);
    if (bytes.empty() || !file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
        throw std::runtime_error(path + ": expected a plan, found nothing to read");
    }
    return bytes;
}

// IEEE 754 half to single: exact, subnormal numbers and infinities too.
inline float floatFromHalf(std::uint16_t half) {
    const std::uint32_t sign = (half & 0x8000U) << 16U;
    const std::uint32_t exponent = (half >> 10U) & 0x1FU;
    const std::uint32_t fraction = half & 0x3FFU;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) / 16777216.0F;  // 2^-24
        return sign != 0 ? -magnitude : magnitude;
    }
    const std::uint32_t wide = exponent == 31 ? 255U : exponent + 112U;
    const std::uint32_t bits = sign | (wide << 23U) | (fraction << 13U);
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

class Engine {
public:
    explicit Engine(const std::string& path) {
        const std::vector<char> plan = bytesOfFile(path);
        runtime_.reset(nvinfer1::createInferRuntime(logger_));
        checkTensorRt(runtime_ != nullptr, "start");
        engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
        checkTensorRt(engine_ != nullptr, "load " + path);
        context_.reset(engine_->createExecutionContext());
        checkTensorRt(context_ != nullptr, "prepare " + path);
    }

    // Width and height the plan was tuned for.
    std::pair<int, int> inputSize() const {
        const nvinfer1::Dims shape = engine_->getProfileShape(kInput, 0, nvinfer1::OptProfileSelector::kOPT);
        checkTensorRt(shape.nbDims == 4 && shape.d[1] == 3, "find the input 'images' (B, 3, H, W)");
        return {static_cast<int>(shape.d[3]), static_cast<int>(shape.d[2])};
    }

    // Run one image, (3, H, W) floats, and give output0.
    Tensor run(const std::vector<float>& image, int width, int height) {
        nvinfer1::Dims shape{};
        shape.nbDims = 4;
        shape.d[0] = 1;
        shape.d[1] = 3;
        shape.d[2] = height;
        shape.d[3] = width;
        checkTensorRt(engine_->getTensorDataType(kInput) == nvinfer1::DataType::kFLOAT, "take floats: the input is of another type");
        checkTensorRt(context_->setInputShape(kInput, shape), "take an image of this size");

        const DeviceMemory input(image.size() * sizeof(float));
        checkCuda(cudaMemcpyAsync(input.get(), image.data(), image.size() * sizeof(float), cudaMemcpyHostToDevice,
                              stream_.get()),
              "copy the image");
        checkTensorRt(context_->setTensorAddress(kInput, input.get()), "bind the input");
        std::vector<DeviceMemory> outputs;
        Raw wanted;
        for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
            const char* name = engine_->getIOTensorName(i);
            if (engine_->getTensorIOMode(name) != nvinfer1::TensorIOMode::kOUTPUT) {
                continue;
            }
            const Raw raw = describe(name);
            outputs.emplace_back(raw.bytes());
            checkTensorRt(context_->setTensorAddress(name, outputs.back().get()), std::string("bind ") + name);
            if (std::strcmp(name, kOutput) == 0) {
                wanted = raw;
                wanted.memory = outputs.back().get();
            }
        }
        checkTensorRt(wanted.memory != nullptr, "find the output 'output0': this example is for detectors without NMS in the graph");
        checkTensorRt(context_->enqueueV3(stream_.get()), "run");
        return download(wanted);
    }

private:
    static constexpr const char* kInput = "images";
    static constexpr const char* kOutput = "output0";

    struct Raw {  // an output on the device
        std::vector<std::int64_t> shape;
        bool half = false;
        void* memory = nullptr;

        std::size_t count() const {
            std::size_t product = 1;
            for (const std::int64_t size : shape) {
                product *= static_cast<std::size_t>(size);
            }
            return product;
        }
        std::size_t bytes() const { return count() * (half ? 2 : 4); }
    };

    Raw describe(const char* name) const {
        Raw raw;
        const nvinfer1::Dims shape = context_->getTensorShape(name);
        for (std::int32_t axis = 0; axis < shape.nbDims; ++axis) {
            checkTensorRt(shape.d[axis] > 0, std::string("tell the shape of ") + name);
            raw.shape.push_back(shape.d[axis]);
        }
        const nvinfer1::DataType type = engine_->getTensorDataType(name);
        raw.half = type == nvinfer1::DataType::kHALF;
        checkTensorRt(raw.half || type == nvinfer1::DataType::kFLOAT, std::string("give floats in ") + name);
        return raw;
    }

    Tensor download(const Raw& raw) const {
        std::vector<char> bytes(raw.bytes());
        checkCuda(cudaMemcpyAsync(bytes.data(), raw.memory, bytes.size(), cudaMemcpyDeviceToHost, stream_.get()),
              "copy the output");
        checkCuda(cudaStreamSynchronize(stream_.get()), "finish");
        Tensor tensor{raw.shape, std::vector<float>(raw.count())};
        if (!raw.half) {
            std::memcpy(tensor.values.data(), bytes.data(), bytes.size());
            return tensor;
        }
        for (std::size_t i = 0; i < tensor.values.size(); ++i) {
            std::uint16_t half = 0;
            std::memcpy(&half, &bytes[2 * i], sizeof half);
            tensor.values[i] = floatFromHalf(half);
        }
        return tensor;
    }

    // In this order: each needs those before it to be freed.
    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    Stream stream_;
};

}  // namespace y12
