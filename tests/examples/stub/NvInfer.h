// TensorRT that answers from a file, for the tests of examples/cpp: the signatures that engine.hpp calls, as documented
// for TensorRT 10. A plan is ten int64 (the input's type, height and width; output0's number of axes, its type and four
// sizes; whether a second output comes before it), then output0. What comes in is written to $STUB_INPUT.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

namespace nvinfer1 {

enum class DataType : std::int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3 };
enum class TensorIOMode : std::int32_t { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };
enum class OptProfileSelector : std::int32_t { kMIN = 0, kOPT = 1, kMAX = 2 };

struct Dims64 {
    std::int32_t nbDims;
    std::int64_t d[8];
};
using Dims = Dims64;

class ILogger {
public:
    enum class Severity : std::int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
    virtual void log(Severity severity, const char* message) noexcept = 0;
    virtual ~ILogger() = default;
};

struct StubPlan {
    std::int64_t inputType, height, width, axes, type, sizes[4], second;
};

class IExecutionContext {
public:
    IExecutionContext(const StubPlan& plan, std::vector<char> output) : plan_(plan), output_(std::move(output)) {
        ++stub::living.count;
    }
    ~IExecutionContext() { --stub::living.count; }
    bool setInputShape(const char* name, const Dims& shape) noexcept {
        shapeSet_ = std::string(name) == "images" && shape.nbDims == 4 && shape.d[0] == 1 && shape.d[1] == 3 &&
                    shape.d[2] == plan_.height && shape.d[3] == plan_.width;
        return shapeSet_ && !stub::fails("setInputShape");
    }
    Dims getTensorShape(const char* name) const noexcept {
        if (!shapeSet_) return Dims{3, {-1, -1, -1}};
        if (std::string(name) == "protos") return Dims{2, {1, 32}};
        Dims shape{static_cast<std::int32_t>(plan_.axes), {}};
        std::memcpy(shape.d, plan_.sizes, sizeof plan_.sizes);
        return shape;
    }
    bool setTensorAddress(const char* name, void* data) noexcept {
        addresses_[name] = data;
        return !stub::fails("setTensorAddress");
    }
    bool enqueueV3(cudaStream_t stream) noexcept {
        const std::size_t outputs = plan_.second != 0 ? 2 : 1;
        if (stub::fails("enqueueV3") || stream == nullptr || !shapeSet_ || addresses_.size() != 1 + outputs) return false;
        if (const char* path = std::getenv("STUB_INPUT")) {
            std::FILE* file = std::fopen(path, "wb");
            std::fwrite(addresses_["images"], 4, 3 * plan_.height * plan_.width, file);
            std::fclose(file);
        }
        std::memcpy(addresses_["output0"], output_.data(), output_.size());
        return true;
    }

private:
    StubPlan plan_;
    std::vector<char> output_;
    bool shapeSet_ = false;
    std::map<std::string, void*> addresses_;
};

class ICudaEngine {
public:
    ICudaEngine(const StubPlan& plan, std::vector<char> output) : plan_(plan), output_(std::move(output)) {
        ++stub::living.count;
    }
    ~ICudaEngine() { --stub::living.count; }
    IExecutionContext* createExecutionContext() noexcept {
        return stub::fails("createExecutionContext") ? nullptr : new IExecutionContext(plan_, output_);
    }
    Dims getProfileShape(const char* name, std::int32_t profile, OptProfileSelector select) const noexcept {
        if (std::string(name) != "images" || profile != 0 || select != OptProfileSelector::kOPT) return Dims{-1, {}};
        return Dims{4, {1, 3, plan_.height, plan_.width}};
    }
    DataType getTensorDataType(const char* name) const noexcept {
        if (std::string(name) == "protos") return DataType::kFLOAT;
        return static_cast<DataType>(std::string(name) == "images" ? plan_.inputType : plan_.type);
    }
    std::int32_t getNbIOTensors() const noexcept { return plan_.second != 0 ? 3 : 2; }
    const char* getIOTensorName(std::int32_t index) const noexcept {
        return index == 0 ? "images" : index == getNbIOTensors() - 1 ? "output0" : "protos";
    }
    TensorIOMode getTensorIOMode(const char* name) const noexcept {
        return std::string(name) == "images" ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }

private:
    StubPlan plan_;
    std::vector<char> output_;
};

class IRuntime {
public:
    IRuntime(ILogger& logger) : logger_(logger) { ++stub::living.count; }
    ~IRuntime() { --stub::living.count; }
    ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept {
        StubPlan plan{};
        if (size < sizeof plan) {
            logger_.log(ILogger::Severity::kERROR, "stub: the plan is cut short");
            logger_.log(ILogger::Severity::kINFO, "stub: not for the user");
            return nullptr;
        }
        std::memcpy(&plan, blob, sizeof plan);
        const char* bytes = static_cast<const char*>(blob);
        return new ICudaEngine(plan, {bytes + sizeof plan, bytes + size});
    }

private:
    ILogger& logger_;
};

inline IRuntime* createInferRuntime(ILogger& logger) noexcept {
    return stub::fails("createInferRuntime") ? nullptr : new IRuntime(logger);
}

}  // namespace nvinfer1
