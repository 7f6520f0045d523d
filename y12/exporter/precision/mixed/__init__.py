"""Which blocks stay in FP16 under a budget of accuracy."""
