"""ONNX-to-ONNX passes, one a file, each with its equation."""
