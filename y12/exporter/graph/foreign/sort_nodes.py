"""Put nodes into topological order, which ONNX demands, and ONNX Runtime and TensorRT do not.

each node after those whose outputs it reads; among those that could come next, the one that came first before
"""

import heapq

import onnx

from y12.errors import GraphError
from y12.exporter.graph.index import names_read
from y12.exporter.graph.passes import PassReport, label

__all__ = ["sort_nodes"]


def sort_nodes(model: onnx.ModelProto) -> PassReport:
    """Sort the nodes of a graph; a sorted one keeps its order.

    Raises:
        GraphError: nodes wait for each other in a circle.
    """
    nodes = list(model.graph.node)
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    waits = [{maker[name] for name in names_read(node) if name in maker} for node in nodes]
    if all(j < i for i, before in enumerate(waits) for j in before):
        return PassReport("sort_nodes", 0)
    readers: list[list[int]] = [[] for _ in nodes]
    for i, before in enumerate(waits):
        for j in before:
            readers[j].append(i)
    missing = [len(before) for before in waits]
    ready = [i for i, count in enumerate(missing) if not count]
    order: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for j in readers[i]:
            missing[j] -= 1
            if not missing[j]:
                heapq.heappush(ready, j)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, missing, strict=True) if count)
        raise GraphError(f"expected nodes without circles, found one around {label(stuck):.80}; export the model anew")
    del model.graph.node[:]
    model.graph.node.extend(nodes[i] for i in order)
    return PassReport("sort_nodes", sum(i != j for i, j in enumerate(order)))
