"""The options of the commands that make artefacts, each declared once, and the values that they read from text."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NewType

import typer

from y12.exporter.cli.choices import Bits, Flavour, Format, Method, NmsForm, Target
from y12.runtime.cli.options import NMS, OUTPUT, Numbers, Task, choice, number, option, whole
from y12.runtime.cli.values import reader

INPUT, ENGINE, PROOF, INT8 = "Model and input", "Engine", "Verification and accuracy", "INT8"

Sizes = NewType("Sizes", tuple[tuple[int, int], ...])  # (height, width) of each


def _numbers(separator: str) -> Callable[[str], Numbers]:
    def read(text: str) -> Numbers:
        parts = text.split(separator)
        if not all(part.isascii() and part.isdigit() and len(part) < 7 for part in parts):
            raise ValueError
        return Numbers(tuple(int(part) for part in parts))

    return read


def _sizes(text: str) -> Sizes:
    """Read parts by ":", each one number or height,width."""
    sides = [_numbers(",")(part) for part in text.replace("x", ",").split(":")]
    if max(map(len, sides)) > 2:
        raise ValueError
    return Sizes(tuple((numbers[0], numbers[-1]) for numbers in sides))


Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="a .pt or .safetensors checkpoint, an .onnx, or a model YAML or its name (yolov12n, yolov12l-v1, "
        "yolov12s-seg; with --random-weights), or a file's https://, s3://, gs:// or hf:// address; left out: y12's "
        "demo model, which finds shapes in drawn scenes",
    ),
]
ModelTask = Annotated[Task | None, choice(Task, "--task", panel=INPUT, help="refuse a model that is for another task")]
ModelScale = Annotated[
    str | None,
    option("--scale", metavar="n|s|m|l|x", panel=INPUT, help="scale of a model YAML whose name tells none"),
]
RandomWeights = Annotated[
    bool, option("--random-weights", panel=INPUT, help="a name brings no weights: take random ones, which find nothing")
]
ModelDepth = Annotated[
    float | None,
    option(
        "--depth",
        parser=number,
        metavar="RATIO",
        panel=INPUT,
        help="what a model YAML's repeats are multiplied by, in place of its scale's; with --width too, none is needed",
    ),
]
ModelWidth = Annotated[
    float | None,
    option("--width", parser=number, metavar="RATIO", panel=INPUT, help="what channels are multiplied by"),
]
ModelMaxChannels = Annotated[
    int | None,
    option("--max-channels", parser=whole, metavar="N", panel=INPUT, help="what channels are cut to"),
]
InputSizes = Annotated[
    Sizes | None,
    option(
        "--imgsz",
        parser=reader(_sizes, "something like 640, 480,640 or 320:640:960"),
        metavar="SIZES",
        panel=INPUT,
        help="640, or 480,640 as height,width; least:best:largest makes it dynamic (default: the model's own, or 640, "
        "and 224 of a classifier)",
    ),
]
Batch = Annotated[
    Numbers | None,
    option(
        "--batch",
        parser=reader(_numbers(":"), "something like 1 or 1:4:8"),
        metavar="SIZES",
        panel=INPUT,
        help="1, or least:best:largest (default: 1; an .onnx: its own)",
    ),
]
Dynamic = Annotated[
    bool,
    option("--dynamic", panel=INPUT, help="free batch and size: batch 1 to 8, sides from half to double of --imgsz"),
]

MadeFormat = Annotated[
    Format,
    choice(
        Format,
        "--format",
        aliases={"tensorrt": Format.ENGINE, "trt": Format.ENGINE},
        panel=OUTPUT,
        help="what to make; tensorrt and trt mean engine",
    ),
]
GraphFor = Annotated[
    Target,
    choice(
        Target,
        "--target",
        panel=OUTPUT,
        help="trt: a graph that TensorRT fuses; cpu: one for ONNX Runtime on a CPU, in FP32, or with --int8 in uint8 "
        "activations with an FP32 remainder",
    ),
]
Half = Annotated[bool, option("--half", "--fp16", panel=OUTPUT, help="FP16, with the decode in FP32")]
Quantize = Annotated[Bits | None, choice(Bits, "--quantize", panel=OUTPUT, help="16 is --half, 8 is --int8")]
Opset = Annotated[
    int | None,
    option(
        "--opset", parser=whole, metavar="N", panel=OUTPUT, help="ONNX opset, 17 to 20 (default: 20; an .onnx: its own)"
    ),
]
NoSimplify = Annotated[bool, option("--no-simplify", panel=OUTPUT, help="leave the graph as it was traced")]
Folder = Annotated[
    Path,
    typer.Option(metavar="DIR", rich_help_panel=OUTPUT, show_default=False, help="folder to write to (default: here)"),
]
Overwrite = Annotated[
    bool, option("--overwrite", panel=OUTPUT, help="let --no-verify take the place of an export that was verified")
]
ReportJson = Annotated[bool, option("--json", panel=OUTPUT, help="print the report as JSON")]

TensorRT = Annotated[
    Flavour,
    choice(Flavour, "--tensorrt", panel=ENGINE, help="auto: full TensorRT where it and a GPU are, else TensorRT-RTX"),
]
Workspace = Annotated[
    float | None,
    option("--workspace", parser=number, metavar="GiB", panel=ENGINE, help="scratch memory of a layer at most"),
]
Sms = Annotated[
    Numbers | None,
    option(
        "--sm",
        parser=reader(_numbers(","), "something like 80,89"),
        metavar="SM,SM",
        panel=ENGINE,
        help="compute capabilities to build for, such as 80,89 (TensorRT-RTX)",
    ),
]

VerifyImages = Annotated[
    Path | None,
    option(
        "--images",
        metavar="DIR",
        panel=PROOF,
        help="images to verify on, which show what the model finds (default: photographs of y12's own; for the demo "
        "model drawn scenes; for --int8 the images of --calib)",
    ),
]
NoVerify = Annotated[bool, option("--no-verify", panel=PROOF, help="do not compare the result with the model")]
AllowInconclusive = Annotated[
    bool, option("--allow-inconclusive", panel=PROOF, help="accept fewer than five matched detections")
]
Val = Annotated[
    Path | None,
    option(
        "--val",
        metavar="DATA",
        panel=PROOF,
        help="measure accuracy beside FP32 on these images: a data.yaml (its val), a COCO .json, or a folder; without "
        "labels, agreement with FP32. Also gives the confidences that keep FP32's precision and recall",
    ),
]

Strict = Annotated[
    bool,
    option(
        "--strict",
        panel="Data",
        help="refuse labels without width, height or area, which are otherwise left out and told",
    ),
]
CocoImages = Annotated[
    Path | None,
    option(
        "--images", metavar="DIR", panel="Data", help="where a COCO JSON's images are; default: looked for beside it"
    ),
]

Int8 = Annotated[
    bool, option("--int8", panel=INT8, help="INT8 with an FP16 remainder; needs --calib, or a file of y12-tune --qat")
]
Calib = Annotated[
    Path | None,
    option(
        "--calib",
        metavar="DIR|data.yaml",
        panel=INT8,
        help="images to calibrate on, like those the model will see: a folder, or the training images of a data.yaml",
    ),
]
CalibMethod = Annotated[
    Method | None,
    choice(
        Method,
        "--calib-method",
        panel=INT8,
        help="how the range of a tensor is chosen; auto tries them all and takes the one that keeps the scores best "
        "(default: auto)",
    ),
]
CalibLimit = Annotated[
    int | None,
    option(
        "--calib-limit", parser=whole, metavar="N", panel=INT8, help="calibrate on N of the images, evenly out of them"
    ),
]
MaxDrop = Annotated[
    float | None,
    option(
        "--max-drop",
        parser=number,
        metavar="POINTS",
        panel=INT8,
        help="keep the fewest blocks in FP16 with which at most so many points of AP are lost (where the images "
        "cannot tell so few, or have no labels: of agreement with FP32); refuse INT8 where FP16 is the better choice",
    ),
]
MaxDropData = Annotated[
    Path | None,
    option(
        "--max-drop-data",
        metavar="DATA",
        panel=INT8,
        help="images to measure that on: a data.yaml (its val), a COCO .json, or a folder (default: every second "
        "image of --calib, which is then not calibrated on)",
    ),
]
Int8Attention = Annotated[
    bool | None, option("--int8-attention", panel=INT8, help="attention in INT8 too; needs one fixed --imgsz")
]

NmsInGraph = Annotated[bool, option("--nms", panel=NMS, help="put NMS, with the thresholds below, into the graph")]
End2end = Annotated[
    bool | None,
    option(
        "--end2end/--no-end2end",
        panel=NMS,
        help="detections from the graph: by the branches of YOLO26 and YOLOv10 that predict each object once (their "
        "default), of other networks by --nms; --no-end2end takes their other branches, raw",
    ),
]
NmsOutputs = Annotated[
    NmsForm | None,
    choice(
        NmsForm,
        "--nms-outputs",
        panel=NMS,
        help="packed: detections, num, truncated; split: num_dets, det_boxes, det_scores, det_classes, as Triton and "
        "DeepStream expect (default: packed)",
    ),
]
NmsConf = Annotated[
    float | None,
    option(
        "--conf",
        "--conf-thres",
        parser=number,
        metavar="SCORE",
        panel=NMS,
        help="keep boxes scored above this (default: 0.25)",
    ),
]
NmsIou = Annotated[
    float | None,
    option(
        "--iou", "--iou-thres", parser=number, metavar="IOU", panel=NMS, help="overlap that suppresses (default: 0.7)"
    ),
]
NmsMaxDet = Annotated[
    int | None,
    option("--max-det", parser=whole, metavar="N", panel=NMS, help="boxes per image at most (default: 300)"),
]
NmsCandidates = Annotated[
    int | None,
    option(
        "--nms-candidates",
        parser=whole,
        metavar="P",
        panel=NMS,
        help="boxes that NMS sees, the best of each image; at most 3840 (default: 1024)",
    ),
]
