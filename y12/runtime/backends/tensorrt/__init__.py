"""TensorRT 10, 11 and RTX; the only room that meets them."""
