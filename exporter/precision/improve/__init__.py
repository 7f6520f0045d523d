"""Better than rounding to nearest: what calibration images tell of weights and biases, one pass a file."""
