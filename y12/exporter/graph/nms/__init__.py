"""NMS inside the graph, in plain operators."""
