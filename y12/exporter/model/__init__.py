"""The network: spec, blocks, building, checkpoints."""
