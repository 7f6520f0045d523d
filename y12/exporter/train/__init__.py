"""Training: losses, data, the loop, and quantisation-aware training."""
