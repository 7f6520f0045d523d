"""What y12 does not take in a stranger's graph, told by name before a library that runs graphs has seen it.

Parsing the file's bytes is all that happens before. Where tensors lie in other files, those must be inside the model's
folder: a graph could otherwise have any file of this machine read, and find it in what is made.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from y12.errors import GraphError
from y12.exporter.graph.index import GraphIndex, inner_graphs
from y12.exporter.graph.passes import label
from y12.runtime.artefact.external_data import external_data_problem

__all__ = ["MAX_ROUNDS", "check_external_data", "check_kinds"]

MAX_ROUNDS = 3840  # of a loop: those that y12's own NMS has, one for each candidate
_DOMAINS = ("", "ai.onnx")


def check_kinds(model: onnx.ModelProto) -> None:
    """Refuse functions, custom operators and loops that are not like the one of y12's own NMS.

    Raises:
        GraphError: there is one; it is named.
    """
    if model.functions:
        raise GraphError(
            f"expected plain operators, found the function '{model.functions[0].name:.60}'; export without functions, "
            "or inline them with onnx.inliner"
        )
    index = GraphIndex(model.graph)
    for node in _all_nodes(model.graph):
        if node.domain not in _DOMAINS:
            raise GraphError(
                f"expected operators of ONNX, found the custom operator '{node.domain:.60}::{node.op_type:.60}' (node "
                f"{label(node):.80}); export without it"
            )
        if node.op_type in ("Loop", "Scan", "SequenceMap"):
            _check_loop(index, node)


def check_external_data(model: onnx.ModelProto, folder: Path) -> None:
    """Refuse tensors in files that are not there, too short, or not of the model's own folder.

    Raises:
        GraphError: there is one; it is named.
    """
    for tensor in filter(uses_external_data, _all_tensors(model.graph)):
        place = {entry.key: entry.value for entry in tensor.external_data}
        if problem := external_data_problem(folder, place):
            raise GraphError(f"'{tensor.name:.60}': {problem}")


def _check_loop(index: GraphIndex, node: onnx.NodeProto) -> None:
    rounds = index.constant(node.input[0]) if node.op_type == "Loop" and node.input and node.input[0] else None
    nested = any(True for body in inner_graphs(node) for inner in body.node for _ in inner_graphs(inner))
    if rounds is None or rounds.size != 1 or not 0 <= int(rounds.item()) <= MAX_ROUNDS or nested:
        raise GraphError(
            f"expected no loops but those of y12's own NMS (at most {MAX_ROUNDS} rounds, without graphs inside), found "
            f"a {node.op_type} (node {label(node):.80}); export without it"
        )


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in inner_graphs(node):
            yield from _all_nodes(inner)


def _all_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for inner in inner_graphs(node):
            yield from _all_tensors(inner)
