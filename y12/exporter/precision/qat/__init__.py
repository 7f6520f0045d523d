"""Quantisation-aware training: prepare a detector, train it as any other, convert it back."""
