"""Turn a trained detector into a verified ONNX graph and TensorRT engine: `from y12 import export`."""

if __name__ != "y12.exporter":  # every class would exist twice
    raise ImportError(f"expected `import y12.exporter`, found `import {__name__}`: use `from y12 import export`")
