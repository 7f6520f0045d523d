"""y12-export: a model in, a verified ONNX graph or TensorRT engine out."""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from y12.exporter.precision.quantization_options import METHODS, TARGETS
from y12.runtime.artefact.manifest import MAX_NMS_CANDIDATES, NMS_FORMS, TASKS, NmsSettings
from y12.runtime.cli.common import add_threshold_arguments, put, require_packages, run_command, say

if TYPE_CHECKING:
    from y12.exporter.export_config import ExportConfig, Int8Options

DEFAULT_NMS_CANDIDATES = 1024

_PACKAGES = ("torch", "onnx", "onnxruntime", "onnxsim", "jinja2", "pycocotools", "rich", "safetensors", "yaml")
_FORMATS = {"onnx": "onnx", "engine": "engine", "tensorrt": "engine", "trt": "engine"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _export(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="y12-export",
        description="Export a YOLOv12-family model to a verified ONNX graph or TensorRT engine, with or without a GPU.",
    )
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a .pt or .safetensors checkpoint, an .onnx, or a model YAML or its name (yolov12n, yolov12l-v1, "
        "yolov12s-seg); left out: yolov12n with seeded weights",
    )
    add("--task", choices=TASKS, help="refuse a model that is for another task")
    add(
        "--format",
        choices=sorted(_FORMATS),
        default="onnx",
        help="what to make; tensorrt and trt mean engine (default: %(default)s)",
    )
    add("--half", "--fp16", action="store_true", help="FP16, with the decode in FP32")
    add("--int8", action="store_true", help="INT8 with an FP16 remainder; needs --calib, or a file of y12-tune --qat")
    add("--quantize", choices=("8", "16"), help="16 is --half, 8 is --int8")
    add(
        "--imgsz",
        metavar="SIZES",
        help="640, or 480,640 as height,width; least:best:largest makes it dynamic (default: 640; classifiers: 224)",
    )
    add("--batch", metavar="SIZES", default="1", help="1, or least:best:largest (default: %(default)s)")
    add(
        "--dynamic",
        action="store_true",
        help="free batch and size: batch 1 to 8, sides from half to double of --imgsz",
    )
    add("--scale", choices=tuple("nsmlx"), help="scale of a model YAML whose name tells none")
    add("--opset", type=int, help="ONNX opset, 17 to 20 (default: 20)")
    add("--no-simplify", action="store_true", help="leave the graph as it was traced")
    add(
        "--tensorrt",
        choices=("auto", "full", "rtx"),
        default="auto",
        help="auto: full TensorRT where it and a GPU are, else TensorRT-RTX",
    )
    add("--workspace", type=float, metavar="GiB", help="scratch memory of a layer at most")
    add("--sm", metavar="SM,SM", help="compute capabilities to build for, such as 80,89 (TensorRT-RTX)")
    add("--images", type=Path, metavar="DIR", help="photographs to verify on; default: y12's own")
    add(
        "--val",
        type=Path,
        metavar="DATA",
        help="measure accuracy beside FP32 on these images: a data.yaml (its val), a COCO .json, or a folder; without "
        "labels, agreement with FP32. Also gives the confidences that keep FP32's precision and recall",
    )
    add("--no-verify", action="store_true", help="do not compare the result with the model")
    add("--allow-inconclusive", action="store_true", help="accept fewer than five matched detections")
    add("--output", type=Path, default=Path(), metavar="DIR", help="folder to write to (default: here)")
    add("--json", action="store_true", help="print the report as JSON")
    _add_int8_arguments(parser)
    _add_nms_arguments(parser)
    return parser


def _add_int8_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("INT8").add_argument
    add(
        "--calib",
        type=Path,
        metavar="DIR|data.yaml",
        help="images to calibrate on, like those the model will see: a folder, or the training images of a data.yaml",
    )
    add(
        "--calib-method",
        choices=METHODS,
        help="how the range of a tensor is chosen; auto tries them all and takes the one that keeps the scores best "
        "(default: auto)",
    )
    add("--calib-limit", type=int, metavar="N", help="calibrate on N of the images, evenly out of them")
    add(
        "--int8-target",
        choices=TARGETS,
        help="trt: TensorRT, symmetric; cpu: ONNX Runtime, uint8 activations, FP32 remainder (default: trt)",
    )
    add(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="keep the fewest blocks in FP16 with which at most so many points of AP are lost (without labels: of "
        "agreement with FP32), and refuse INT8 where FP16 is the better choice",
    )
    add(
        "--max-drop-data",
        type=Path,
        metavar="DATA",
        help="images to measure that on: a data.yaml (its val), a COCO .json, or a folder (default: every second "
        "image of --calib, which is then not calibrated on)",
    )
    add("--int8-attention", action="store_true", help="attention in INT8 too; needs one fixed --imgsz")


def _add_nms_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("NMS in the graph")
    group.add_argument(
        "--nms", "--end2end", action="store_true", help="put NMS, with the thresholds below, into the graph"
    )
    group.add_argument(
        "--nms-outputs",
        choices=NMS_FORMS,
        help="packed: detections, num, truncated; split: num_dets, det_boxes, det_scores, det_classes, as Triton and "
        "DeepStream expect (default: packed)",
    )
    group.add_argument(
        "--nms-candidates",
        type=int,
        metavar="P",
        help=f"boxes that NMS sees, the best of each image; at most {MAX_NMS_CANDIDATES} "
        f"(default: {DEFAULT_NMS_CANDIDATES})",
    )
    add_threshold_arguments(group)


def _export(arguments: argparse.Namespace) -> int:
    recipe = recipe_from_arguments(arguments)
    require_packages(_PACKAGES, "export", "y12-export")
    if recipe.format == "engine":
        from y12.exporter.engine.build_engine import bindings_for_build

        bindings_for_build(recipe.target.tensorrt)  # refused now, not when the graph is done
    from y12.exporter.export_pipeline import export

    with _terminated_like_interrupted():
        result = export(recipe, _progress())
    put(result.report.to_json() if arguments.json else "\n".join(result.report.summary()))
    for note in result.report.notes:
        say(f"note: {note}")
    return 0


def recipe_from_arguments(arguments: argparse.Namespace) -> "ExportConfig":
    """Turn the command line into an `ExportConfig`.

    Raises:
        RecipeError: options contradict each other, or ask for what this version does not do.
    """
    from y12.errors import RecipeError
    from y12.exporter.engine.engine_options import EngineOptions
    from y12.exporter.export_config import ExportConfig, ShapeOptions
    from y12.exporter.verify.verify_options import VerifyOptions

    if arguments.no_verify and (arguments.images or arguments.allow_inconclusive):
        raise RecipeError("--no-verify contradicts --images and --allow-inconclusive, which are of the verification")
    return ExportConfig(
        model=arguments.model,
        scale=arguments.scale,
        task=arguments.task,
        format=_FORMATS[arguments.format],
        precision=_precision(arguments),
        int8=_int8(arguments),
        shapes=ShapeOptions(
            _sizes(arguments.imgsz) if arguments.imgsz else None,
            _numbers("--batch", arguments.batch, ":"),
            arguments.dynamic,
        ),
        target=EngineOptions(
            arguments.tensorrt,
            arguments.workspace,
            _numbers("--sm", arguments.sm, ",") if arguments.sm else (),
        ),
        opset=arguments.opset,
        simplify=not arguments.no_simplify,
        nms=_nms(arguments),
        verify=None
        if arguments.no_verify
        else VerifyOptions(arguments.images, allow_inconclusive=arguments.allow_inconclusive),
        val=arguments.val,
        output=arguments.output,
    )


def _nms(arguments: argparse.Namespace) -> NmsSettings | None:
    from y12.errors import ArtefactError, RecipeError
    from y12.runtime.options import DetectOptions

    thresholds = {
        "conf": arguments.conf,
        "iou": arguments.iou,
        "max_det": arguments.max_det,
        "classes": arguments.classes,
        "agnostic": arguments.agnostic_nms or None,
    }
    given = {name: value for name, value in thresholds.items() if value is not None}
    if not arguments.nms:
        if given or arguments.nms_outputs or arguments.nms_candidates is not None:
            raise RecipeError("--conf, --iou, --max-det, --classes, --agnostic-nms and --nms-… are of --nms: add it")
        return None
    options = DetectOptions(**given)
    candidates = arguments.nms_candidates
    if candidates is None:
        candidates = max(DEFAULT_NMS_CANDIDATES, min(options.max_det, MAX_NMS_CANDIDATES))
    try:
        return NmsSettings(arguments.nms_outputs or "packed", candidates, options)
    except ArtefactError as error:
        raise RecipeError(f"--{error}") from error


def _precision(arguments: argparse.Namespace) -> str:
    from y12.errors import RecipeError

    half = arguments.half or arguments.quantize == "16"
    int8 = arguments.int8 or arguments.quantize == "8"
    if half and int8:
        raise RecipeError("precision: choose one of --half and --int8 (or --quantize 16 and 8); found both")
    return "int8" if int8 else "fp16" if half else "fp32"


def _int8(arguments: argparse.Namespace) -> "Int8Options | None":
    from y12.errors import RecipeError
    from y12.exporter.export_config import Int8Options
    from y12.exporter.precision.mixed.budget_options import BudgetOptions
    from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions

    names = ("calib_method", "calib_limit", "int8_target", "max_drop", "max_drop_data")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.calib is None and not _may_have_ranges(arguments, given):
        if given or arguments.int8_attention:
            raise RecipeError("--calib-…, --int8-… and --max-drop need --calib: add it")
        return None
    if "max_drop_data" in given and "max_drop" not in given:
        raise RecipeError("--max-drop-data is what --max-drop is measured on: add --max-drop, or drop it")
    target = given.get("int8_target", "trt")
    calibration = CalibrationOptions(symmetric=target == "trt", **_renamed(given, calib_method="method"))
    return Int8Options(
        arguments.calib,
        calibration,
        QuantizeOptions(target, attention=arguments.int8_attention),
        BudgetOptions(**_renamed(given, max_drop="max_drop", max_drop_data="data")) if "max_drop" in given else None,
        given.get("calib_limit"),
    )


def _may_have_ranges(arguments: argparse.Namespace, given: dict[str, Any]) -> bool:
    """Return whether INT8 is asked for with nothing but what ranges in the model's file suffice for."""
    needs_images = given.keys() & {"calib_method", "calib_limit"}
    is_file = arguments.model is not None and Path(arguments.model).suffix == ".safetensors"
    return is_file and _precision(arguments) == "int8" and not needs_images


def _renamed(given: dict[str, Any], **names: str) -> dict[str, Any]:
    """Return what was given of these options, under the names that the fields of an `ExportConfig` have."""
    return {name: given[option] for option, name in names.items() if option in given}


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Read --imgsz: parts by ":", each one number or height,width."""
    sizes = []
    for part in text.split(":"):
        numbers = _numbers("--imgsz", part.replace("x", ","), ",")
        if len(numbers) > 2:
            _refuse_number("--imgsz", text)
        sizes.append((numbers[0], numbers[-1]))
    return tuple(sizes)


def _numbers(option: str, text: str, separator: str) -> tuple[int, ...]:
    parts = text.split(separator)
    if not all(part.isascii() and part.isdigit() and len(part) < 7 for part in parts):
        _refuse_number(option, text)
    return tuple(int(part) for part in parts)


def _refuse_number(option: str, text: str) -> NoReturn:
    from y12.errors import RecipeError

    examples = {"--imgsz": "640, 480,640 or 320:640:960", "--batch": "1 or 1:4:8", "--sm": "80,89"}
    raise RecipeError(f"{option}: expected something like {examples[option]}, found '{text:.60}'")


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, so that what was begun is cleaned up."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _progress() -> Any:
    """Yield what shows a stage while it runs: a bar on a terminal, a line each elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)

    @contextmanager
    def stage(name: str) -> "Iterator[Callable[[int, int], None] | None]":
        if not console.is_terminal:
            say(f"{name} …")
            yield None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    return stage


if __name__ == "__main__":
    sys.exit(main())
