"""Drop the nodes that nothing reads, and the weights that were theirs."""

import onnx

from y12.exporter.graph.index import names_read
from y12.exporter.graph.passes import replace_nodes

__all__ = ["drop_dead_nodes"]


def drop_dead_nodes(graph: onnx.GraphProto) -> int:
    """Remove, in place, the nodes from which no output of the graph can be reached; return how many there were."""
    read = {output.name for output in graph.output}
    dead: dict[int, list[onnx.NodeProto]] = {}
    for i in range(len(graph.node) - 1, -1, -1):  # nodes are in topological order
        node = graph.node[i]
        if read.isdisjoint(node.output):
            dead[i] = []
        else:
            read |= names_read(node)
    if dead:
        replace_nodes(graph, dead, [])
    return len(dead)
