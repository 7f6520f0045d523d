"""Passes on FP16 graphs that TensorRT-RTX is to build: what the operators compute stays, kernels that move data go."""
