"""Passes that write a graph as ONNX Runtime computes it fastest on a CPU, which TensorRT would not fuse."""
