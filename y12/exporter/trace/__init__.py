"""From a torch detector to an ONNX graph."""
