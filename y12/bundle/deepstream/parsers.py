"""The two functions that read y12's rows for nvinfer, and the artefacts that neither can read.

    packed  `detections` (B, R, 6): x1 y1 x2 y2 score class      NvDsInferParseYolo, of DeepStream-Yolo
    split   `num_dets, det_boxes, det_scores, det_classes`       NvDsInferParseCustomEfficientNMS

Both take an output by its place, not by its name: `detections` is the first of its graph's outputs, and the four are
all that there are, in this order.
"""

from dataclasses import dataclass

from y12.errors import ArtefactError
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.opened import Artefact

__all__ = ["Parser", "check", "parser_for"]

_ROWS = {  # an artefact's outputs by form, as they must be told by the graph
    "packed": ("detections", "num", "truncated"),
    "split": ("num_dets", "det_boxes", "det_scores", "det_classes"),
}
_MAKE = "y12-export MODEL --nms"


@dataclass(frozen=True)
class Parser:
    """A function that nvinfer calls to read the outputs.

    Attributes:
        function: its name in the library.
        library: where the library is looked for, unless another place is told; from the folder's own where relative.
    """

    function: str
    library: str


_PARSERS = {
    "packed": Parser("NvDsInferParseYolo", "libnvdsinfer_custom_impl_Yolo.so"),
    "split": Parser(
        "NvDsInferParseCustomEfficientNMS", "/opt/nvidia/deepstream/deepstream/lib/libnvds_infercustomparser.so"
    ),
}


def parser_for(nms: NmsSettings) -> Parser:
    """Return what reads the rows of a form that `check` let pass."""
    return _PARSERS[nms.form]


def check(artefact: Artefact) -> NmsSettings:
    """Return how an artefact's graph picks objects, having seen that nvinfer and a parser can take it.

    Raises:
        ArtefactError: it is an engine of TensorRT-RTX, for another task, or without y12's NMS.
    """
    manifest, header = artefact.manifest, artefact.plan_header
    if header is not None and header.flavour != "full":
        raise ArtefactError(
            f"{artefact.path}: expected an engine of full TensorRT, which DeepStream loads, found one of "
            f"{header.product}; pass the .onnx beside it, or {_MAKE} --format engine --tensorrt full"
        )
    if manifest.task != "detect":
        raise ArtefactError(
            f"{artefact.path}: expected a model of the task detect, whose boxes the parsers read, found "
            f"{manifest.task}; pass a detector"
        )
    if manifest.nms is None or manifest.nms.is_rows:
        found = "raw predictions" if manifest.nms is None else "rows of another form"
        raise ArtefactError(
            f"{artefact.path}: expected y12's NMS in the graph, found {found}; make it by {_MAKE} "
            "(of YOLO26 and YOLOv10 with --no-end2end too)"
        )
    expected = _ROWS[manifest.nms.form]
    outputs = tuple(tensor.name for tensor in artefact.outputs)
    if artefact.kind == "onnx" and outputs != expected:
        raise ArtefactError(
            f"{artefact.path}: expected the outputs {', '.join(expected)} in this order, found {', '.join(outputs)}; "
            "export again"
        )
    return manifest.nms
