#!/bin/sh
# Build the engine that config_infer_primary.txt names, each operation in the type that the graph says: built by nvinfer
# itself, TensorRT may choose others, and INT8 is not built at all from a graph that carries its own ranges.
set -eu
cd "$(dirname "$0")"

value_of() {
    sed -n "s/^$1=//p" config_infer_primary.txt
}

trtexec=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)
[ -x "${trtexec}" ] || { echo "error: expected trtexec, found none; run this in DeepStream's container" >&2 && exit 1; }
set -- --onnx="$(value_of onnx-file)" --saveEngine="$(value_of model-engine-file)" --stronglyTyped --skipInference
while read -r shape; do # of free axes
    set -- "$@" "${shape}"
done < shapes.txt
exec "${trtexec}" "$@"
