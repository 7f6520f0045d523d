"""Typed ONNX to a TensorRT plan, and what the build log says of it."""
