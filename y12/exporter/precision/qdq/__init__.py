"""From ranges to a graph with Q/DQ nodes, by target."""
