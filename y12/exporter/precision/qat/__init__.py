"""Training for INT8, and ranges that weights bring along."""
