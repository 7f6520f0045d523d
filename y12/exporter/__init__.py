"""Turn a trained detector into a verified ONNX graph and TensorRT engine."""
