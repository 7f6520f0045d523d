"""Precision is a property of the graph: the passes that write it."""
