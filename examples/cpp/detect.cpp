// Find objects in a photograph with an engine of y12, in C++ and TensorRT alone:
//
//   detect model.engine photo.ppm [confidence [classes]]
//
// prints one line an object: class id, score, x1 y1 x2 y2 in pixels of the photograph. For models without NMS in the
// graph; of one that also gives masks or keypoints, say how many classes it has. Their names are in model.engine.json.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

#include "decode.hpp"
#include "engine.hpp"
#include "image.hpp"

namespace {

double numberFrom(const char* text, const char* what, double least, double most) {
    char* end = nullptr;
    const double value = std::strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most)) {
        throw std::runtime_error(std::string("expected ") + what + ", found '" + text + "'");
    }
    return value;
}

void detect(const char* plan, const char* photo, const y12::Options& options) {
    const y12::Image image = y12::imageFromPpm(photo);
    y12::Engine engine(plan);
    const auto [width, height] = engine.inputSize();
    const y12::Letterbox frame(image, width, height);

    const y12::Tensor tensor = engine.run(y12::blobFromImage(image, frame), width, height);
    if (tensor.shape.size() != 3) {
        throw std::runtime_error("output0: expected (B, 4 + classes, places); is this a detector?");
    }
    const y12::Output output{tensor.values.data(), tensor.shape[1], tensor.shape[2]};
    for (const y12::Box& found : y12::suppressed(y12::candidatesFrom(output, options), options)) {
        const y12::Box box = y12::toPhotograph(found, frame, image);
        std::printf("%d %.6f %.3f %.3f %.3f %.3f\n", box.classId, box.score, box.x1, box.y1, box.x2, box.y2);
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 3 || count > 5) {
        std::cerr << "usage: detect ENGINE PHOTO.ppm [CONFIDENCE [CLASSES]]\n";
        return 2;
    }
    try {
        y12::Options options;
        if (count > 3) {
            options.conf = static_cast<float>(numberFrom(arguments[3], "a confidence of 0 to 1", 0, 1));
        }
        if (count > 4) {
            options.classes = static_cast<std::int64_t>(numberFrom(arguments[4], "1 to 65536 classes", 1, 65536));
        }
        detect(arguments[1], arguments[2], options);
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
