"""Write every constant the same way: as an initialiser that is no input of the graph, read by nodes that have a name.

    c = Constant(value)   becomes   an initialiser c;   an input that an initialiser is the default of, no input

Nodes' names tie a graph to the layers of the engine that is built from it; one that has none gets its output's, one
that stands twice a number.
"""

import onnx

from y12.exporter.graph.index import lift_constant_nodes
from y12.exporter.graph.passes import PassReport, label

__all__ = ["lift_constants", "name_nodes"]


def lift_constants(model: onnx.ModelProto) -> PassReport:
    """Make initialisers of Constant nodes that hold numbers, and take initialisers off the list of inputs."""
    graph = model.graph
    changes = lift_constant_nodes(graph)
    held = {w.name for w in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    listed = len(graph.input) - len(inputs)
    if listed:
        del graph.input[:]
        graph.input.extend(inputs)
    return PassReport("lift_constants", changes + listed)


def name_nodes(model: onnx.ModelProto) -> PassReport:
    """Give every node a name of its own."""
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    changes = 0
    for node in model.graph.node:
        name, number = label(node) if node.output else node.op_type, 1
        while name in seen or (name != node.name and name in taken):
            number += 1
            name = f"{label(node)}_{number}"
        changes += name != node.name
        node.name = name
        seen.add(name)
    return PassReport("name_nodes", changes)
