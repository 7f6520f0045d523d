"""What the outputs of another exporter's graph hold: told by the operators that make them, never by their sizes.

They are walked back from the output, as far as the last convolutions or matrix products:

    raw             a Concat along the channels, of boxes, a Sigmoid of scores, and what the task adds
    end to end      rows of objects, whose class is Cast(Mod(index of a TopK)): the best scores, without NMS
    NMS             rows of objects behind a NonMaxSuppression, or behind an ArgMax and a NonZero
    probabilities   a Softmax

A row is x1 y1 x2 y2 score class, then what the task adds; of oriented boxes x y width height score class angle.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from y12.errors import ArtefactError
from y12.runtime.artefact.fields import MAX_CLASSES
from y12.runtime.artefact.nms_settings import NmsSettings, end_to_end
from y12.runtime.artefact.onnx_graph import OnnxGraph, OnnxNode
from y12.runtime.artefact.onnx_header import TensorHeader
from y12.runtime.options import MAX_DETECTIONS, DetectOptions

__all__ = ["BOXES", "GraphOutputs", "graph_outputs", "precision_of"]

BOXES = "output0"  # the one output, but for the prototypes of masks
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Operators that move the elements of one input: which one that is.
_MOVES = {
    **dict.fromkeys(("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice"), 0),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), 0),  # but for rounding
    **dict.fromkeys(("Split", "Gather", "GatherND", "GatherElements", "Expand", "Pad"), 0),
    "ScatterND": 2,
}
_SHOWS = {  # what the last operator may tell of a graph
    "Softmax": ", probabilities of a classifier",
    "Transpose": ", predictions turned round",
}
_UNMOVED = dict.fromkeys(("Cast", "Identity", "QuantizeLinear", "DequantizeLinear"), 0)  # every element in its place
_MOVED_AT_MOST = 100  # operators in a row; some ten are usual
_NESTED = 4  # joins of joins that are looked into
_INT8 = ("QuantizeLinear", "DequantizeLinear", "ConvInteger", "QLinearConv")
_TO_DO = "give y12 the checkpoint, or an .onnx with raw outputs (nms=False)"


@dataclass(frozen=True)
class GraphOutputs:
    """What was found.

    Attributes:
        nms: how rows of objects came about; None of raw predictions and probabilities.
        raw: the tensor (B, 4 + classes + what the task adds, A) that the rows were picked from; of raw predictions
            the output, of probabilities "".
        corners: where the boxes in `raw` are x1 y1 x2 y2, the tensor in which those points were joined; "" where they
            are centre and size.
        classes: how many there are, where rows of objects tell; None elsewhere.
    """

    nms: NmsSettings | None = None
    raw: str = ""
    corners: str = ""
    classes: int | None = None


def graph_outputs(graph: OnnxGraph, outputs: tuple[TensorHeader, ...], task: str) -> GraphOutputs:
    """Return what the outputs of a graph hold that is said to be for a task.

    Raises:
        ArtefactError: they hold something else, or in a form that is not known.
    """
    found = {tensor.name: tensor for tensor in outputs}
    beside = [t for t in outputs if t.name != BOXES and not (task == "segment" and len(t.shape) == 4)]
    if BOXES not in found or beside or len(found) > 2:
        raise ArtefactError(
            f"expected an output {BOXES}{', and the prototypes of masks' * (task == 'segment')}, found "
            f"{', '.join(found) or 'none':.120}; {_TO_DO}"
        )
    walk = _Walk(graph)
    if task == "classify":
        if walk.source(BOXES).op_type != "Softmax":
            raise _other(walk, found[BOXES], "a Softmax of a classifier")
        return GraphOutputs()
    if (nms := walk.nms_of_rows(found[BOXES])) is not None:
        raw = next(filter(walk.is_raw, (name for node in walk.tail(BOXES) for name in node.outputs)), None)
        if raw is None:
            raise _other(walk, found[BOXES], "rows of objects picked from boxes and scores")
        return GraphOutputs(nms, raw, walk.corners(raw), walk.classes_of_rows(found[BOXES]))
    raw = walk.back(BOXES, _UNMOVED)
    if not walk.is_raw(raw) or walk.corners(raw):
        raise _other(walk, found[BOXES], "boxes (centre and size) and a Sigmoid of scores joined, or rows of objects")
    return GraphOutputs(raw=raw)


def precision_of(graph: OnnxGraph) -> str:
    """Return what a graph computes in, one of `y12.runtime.artefact.manifest.PRECISIONS`, by its weights.

    Raises:
        ArtefactError: most are of a type that y12 does not know.
    """
    counts: dict[str, int] = {}
    for weight in graph.weights.values():
        counts[weight.dtype] = counts.get(weight.dtype, 0) + weight.count
    if any(node.op_type in _INT8 for node in graph.nodes):
        return "int8"
    floats = {dtype: count for dtype, count in counts.items() if dtype.startswith(("float", "bfloat"))}
    most = max(floats, key=lambda dtype: floats[dtype], default="float32")
    if most not in ("float32", "float16"):
        raise ArtefactError(f"expected weights of float32 or float16, found {most}: export the model in FP32")
    return "fp16" if most == "float16" else "fp32"


class _Walk:
    """Goes from tensors to what makes them."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._weights = graph.weights
        self._maker = {name: node for node in graph.nodes for name in node.outputs if name}

    def back(self, tensor: str, through: dict[str, int]) -> str:
        """Return the tensor whose elements a tensor holds, moved by operators."""
        for _ in range(_MOVED_AT_MOST):
            node = self._maker.get(tensor)
            moved = () if node is None or node.op_type not in through else node.inputs[through[node.op_type] :]
            if not moved:
                break
            tensor = moved[0]
        return tensor

    def source(self, tensor: str) -> OnnxNode:
        """Return the operator that computed a tensor's elements; one without a type where they are no result."""
        return self._maker.get(self.back(tensor, _MOVES), OnnxNode("", (), ()))

    def tail(self, tensor: str) -> Iterator[OnnxNode]:
        """Yield the operators behind the last layers that a tensor hangs on, the nearest ones first."""
        names, seen = [tensor], set()
        for name in names:  # which grows
            node = self._maker.get(name)
            if node is None or node.op_type in _LAYERS or id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            names += node.inputs

    def is_raw(self, tensor: str) -> bool:
        """Return whether a tensor is raw predictions: boxes, then scores, then what the task adds, by channels."""
        parts = self._parts(tensor)
        return len(parts) > 1 and self.source(parts[1]).op_type == "Sigmoid"

    def corners(self, raw: str) -> str:
        """Return where boxes are joined of (cell - distances, cell + distances); "" where of middle and difference."""
        boxes = self.back(self._parts(raw)[0], _MOVES)
        source = self.source(boxes)
        candidates = [boxes, *(self.back(name, _MOVES) for name in source.inputs if source.op_type == "Mul")]  # strides
        for name in candidates:
            node = self.source(name)
            if node.op_type == "Concat" and [self.source(part).op_type for part in node.inputs] == ["Sub", "Add"]:
                return name
        return ""

    def nms_of_rows(self, output: TensorHeader) -> NmsSettings | None:
        """Return how the rows of an output were picked; None where it holds no rows of objects.

        Raises:
            ArtefactError: there is an NMS, but no rows that begin with box, score and class; or too many rows.
        """
        joined = self.source(output.name)
        if joined.op_type == "Concat" and joined.axis == 0 and joined.inputs:
            joined = self.source(joined.inputs[0])  # of a batch, one image after the other
        # A box is one part or several, then come score and class.
        labels = [self.source(name) for name in joined.inputs[2:6]] if joined.op_type == "Concat" else []
        tail = list(self.tail(output.name))
        operators = {node.op_type for node in tail}
        suppresses = "NonMaxSuppression" in operators
        rows = (output.shape[1] if len(output.shape) == 3 else None) or self._most(tail)
        if any(self._is_index_of_topk(*label.inputs[:1]) for label in labels if label.op_type in ("Mod", "Sub")):
            return end_to_end(_checked(rows))
        if labels and (suppresses or ("NonZero" in operators and any(label.op_type == "ArgMax" for label in labels))):
            return NmsSettings("rows", _checked(rows), self._options(tail, rows))
        if suppresses:
            raise _other(self, output, "rows of objects: x1 y1 x2 y2 score class")
        return None

    def classes_of_rows(self, output: TensorHeader) -> int | None:
        """Return how many classes a row's can be: a pair's index modulo them, or the best of so many channels."""
        for node in self.tail(output.name):
            count = -1.0
            if node.op_type == "Mod" and self._is_index_of_topk(*node.inputs[:1]):
                count = self._number(node.inputs[1])
            elif node.op_type == "ArgMax" and (cut := self._maker.get(node.inputs[0])) and cut.op_type == "Slice":
                first, end = (self._number(name) for name in cut.inputs[1:3])
                count = end - first if first >= 0 else -1.0
            if 1 <= count < MAX_CLASSES:
                return int(count)
        return None

    def _parts(self, tensor: str, deeper: int = _NESTED) -> list[str]:
        """Return what a Concat along the channels joins, those inside of it included."""
        node = self._maker.get(tensor)
        if node is None or node.op_type != "Concat" or node.axis not in (1, -2):
            return []
        first = self._parts(node.inputs[0], deeper - 1) if node.inputs and deeper else []
        # Boxes are a Concat themselves, of two points; it holds no scores.
        nested = first if len(first) > 1 and self.source(first[1]).op_type == "Sigmoid" else list(node.inputs[:1])
        return [*nested, *node.inputs[1:]]

    def _is_index_of_topk(self, tensor: str = "") -> bool:
        tensor = self.back(tensor, _MOVES)
        node = self._maker.get(tensor)
        return node is not None and node.op_type == "TopK" and node.outputs[1:] == (tensor,)

    def _most(self, tail: list[OnnxNode]) -> int:
        """Return how many rows there may be where their number is free: what is left of a TopK, if that is told."""
        counts: list[str] = []
        for node in tail:
            if node.op_type == "TopK" and len(node.inputs) > 1:
                least = self.source(node.inputs[1])
                counts += least.inputs if least.op_type == "Min" else node.inputs[1:2]
        numbers = [int(number) for number in map(self._number, counts) if number >= 1]
        return min(numbers, default=MAX_DETECTIONS)

    def _options(self, tail: list[OnnxNode], rows: int) -> DetectOptions:
        """Return the thresholds of an NMS; what cannot be seen is taken to be as usual."""
        least = [self._number(name) for node in tail if node.op_type == "Greater" for name in node.inputs[1:]]
        overlap: list[float] = []
        for node in tail:
            if node.op_type == "NonMaxSuppression":
                overlap += [self._number(name) for name in node.inputs[3:4]]
                least += [self._number(name) for name in node.inputs[4:5]]
        shares = [value for value in least if 0 <= value <= 1]
        iou = next((value for value in overlap if 0 <= value <= 1), DetectOptions().iou)
        return DetectOptions(max(shares, default=0.0), iou, rows)

    def _number(self, name: str) -> float:
        """Return a constant, as it was before it was rounded; -1 where there is none."""
        weight = self._weights.get(self.back(name, _MOVES))
        if weight is None or weight.value is None:
            return -1.0
        return round(weight.value, 3 if weight.dtype == "float16" else 6)


def _checked(rows: int) -> int:
    if not 1 <= rows <= MAX_DETECTIONS:
        raise ArtefactError(f"expected 1 to {MAX_DETECTIONS} rows, found {rows}; export with another max_det")
    return rows


def _other(walk: _Walk, output: TensorHeader, expected: str) -> ArtefactError:
    sizes = ", ".join("any" if size is None else str(size) for size in output.shape)
    tail = list(dict.fromkeys(node.op_type for node in walk.tail(output.name)))
    made = ", ".join(tail[:4]) or "no operator"
    shows = _SHOWS.get(tail[0] if tail else "", "")
    return ArtefactError(
        f"{BOXES}: expected {expected}, found ({sizes}){shows} (the last operators are {made}); {_TO_DO}"
    )
