// Images in and out of the network's frame: reading, letterbox, and boxes back to the photograph. No CUDA, no TensorRT.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace y12 {

constexpr int kMaxSide = 32768;
constexpr float kPadGray = 114.0F / 255.0F;

struct Image {  // rows of R, G, B bytes
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> rgb;

    const std::uint8_t* at(int x, int y) const { return &rgb[3 * (static_cast<std::size_t>(y) * width + x)]; }
};

// Read a number of a PPM's header, over blanks and comments.
inline int headerNumber(std::istream& file, const std::string& path) {
    while (file >> std::ws && file.peek() == '#') {
        std::string comment;
        std::getline(file, comment);
    }
    int number = 0;
    if (!(file >> number) || number < 1 || number > kMaxSide) {
        throw std::runtime_error(path + ": expected numbers of 1 to 32768 in a PPM's header");
    }
    return number;
}

// Read a binary PPM (P6, 8 bits), which any image tool writes: `ffmpeg -i photo.jpg photo.ppm`.
inline Image imageFromPpm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw std::runtime_error(path + ": cannot be opened");
    }
    std::array<char, 2> magic{};
    file.read(magic.data(), 2);
    if (magic != std::array<char, 2>{'P', '6'}) {
        throw std::runtime_error(path + ": expected a binary PPM (P6)");
    }
    Image image;
    image.width = headerNumber(file, path);
    image.height = headerNumber(file, path);
    if (headerNumber(file, path) != 255 || file.get() == std::char_traits<char>::eof()) {
        throw std::runtime_error(path + ": expected a PPM of 8 bits");
    }
    image.rgb.resize(std::size_t{3} * image.width * image.height);
    if (!file.read(reinterpret_cast<char*>(image.rgb.data()), static_cast<std::streamsize>(image.rgb.size()))) {
        throw std::runtime_error(path + ": expected more pixels, found the end of the file");
    }
    return image;
}

// Where an image lies in the network's input, in pixels; as y12/runtime/preprocess/letterbox.py places it.
struct Letterbox {
    int inputWidth, inputHeight;
    int width, height;  // of the resized image
    int left, top;
    float scaleX, scaleY;  // each axis' true factor, resized / original

    Letterbox(const Image& image, int inputWidth_, int inputHeight_)
        : inputWidth(inputWidth_), inputHeight(inputHeight_) {
        const double scale =
            std::min(static_cast<double>(inputHeight) / image.height, static_cast<double>(inputWidth) / image.width);
        width = std::max(1, static_cast<int>(std::nearbyint(image.width * scale)));
        height = std::max(1, static_cast<int>(std::nearbyint(image.height * scale)));
        left = static_cast<int>(std::nearbyint((inputWidth - width) / 2.0 - 0.1));  // a half goes to the right
        top = static_cast<int>(std::nearbyint((inputHeight - height) / 2.0 - 0.1));
        scaleX = static_cast<float>(static_cast<double>(width) / image.width);
        scaleY = static_cast<float>(static_cast<double>(height) / image.height);
    }
};

// Two neighbours of a sample along one axis, and the second's share.
struct Blend {
    int low, high;
    float share;

    // Sample i of n lies at (i + 0.5) size / n - 0.5, clamped to the edge pixels.
    Blend(int i, int n, int size) {
        const double place = std::clamp((i + 0.5) * size / n - 0.5, 0.0, size - 1.0);
        low = static_cast<int>(place);
        high = std::min(low + 1, size - 1);
        share = static_cast<float>(place - low);
    }
};

// Give the network's input, (3, H, W) floats, R G B in 0-1: resized bilinearly, centred on gray.
inline std::vector<float> blobFromImage(const Image& image, const Letterbox& frame) {
    const std::size_t plane = static_cast<std::size_t>(frame.inputWidth) * frame.inputHeight;
    std::vector<float> blob(3 * plane, kPadGray);
    std::vector<Blend> across;
    for (int x = 0; x < frame.width; ++x) {
        across.emplace_back(x, frame.width, image.width);
    }
    for (int y = 0; y < frame.height; ++y) {
        const Blend down(y, frame.height, image.height);
        for (int x = 0; x < frame.width; ++x) {
            const Blend& side = across[x];
            const std::size_t target =
                static_cast<std::size_t>(frame.top + y) * frame.inputWidth + frame.left + x;
            for (int channel = 0; channel < 3; ++channel) {
                const auto row = [&](int line) {
                    const float a = image.at(side.low, line)[channel];
                    const float b = image.at(side.high, line)[channel];
                    return a + (b - a) * side.share;
                };
                const float upper = row(down.low);
                const float value = upper + (row(down.high) - upper) * down.share;
                blob[channel * plane + target] = std::nearbyint(value) / 255.0F;
            }
        }
    }
    return blob;
}

}  // namespace y12
