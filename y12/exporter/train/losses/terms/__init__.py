"""The terms of the training losses, each a function of tensors that follows one equation of one paper.

They are differentiable, finite for empty and degenerate input, and compute in float32 at least, also in autocast.
"""
