#!/usr/bin/env bash
# Compile examples/cpp, which runs an engine with TensorRT alone.
#   OUTPUT            folder for the program, `detect` (default: build-cpp)
#   CUDA_ROOT         the CUDA toolkit (default: /usr/local/cuda)
#   TENSORRT_ROOT     where TensorRT was unpacked (default: where the system has it)
#   TENSORRT_LIBRARY  nvinfer, or tensorrt_rtx for TensorRT-RTX (default: nvinfer)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
output=${OUTPUT:-build-cpp}

cmake -S "$root/examples/cpp" -B "$output" -DCUDA_ROOT="${CUDA_ROOT:-/usr/local/cuda}" \
  -DTENSORRT_ROOT="${TENSORRT_ROOT:-}" -DTENSORRT_LIBRARY="${TENSORRT_LIBRARY:-nvinfer}"
cmake --build "$output"
