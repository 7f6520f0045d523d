"""The commands y12-infer, y12-bench and y12-inspect."""
