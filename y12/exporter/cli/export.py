"""y12-export: a model in, a verified ONNX graph or TensorRT engine out."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from y12.exporter.cli import options as ask
from y12.exporter.cli.before import check_there
from y12.exporter.cli.choices import Bits, Flavour, Format, Target
from y12.runtime.cli import options as shared
from y12.runtime.cli.addresses import ByAddress
from y12.runtime.cli.app import Command, command_line, main_of
from y12.runtime.cli.common import TORCH_MIB, put, put_json, require_packages, say
from y12.runtime.cli.options import THRESHOLDS, given
from y12.runtime.cli.progress import stage

if TYPE_CHECKING:
    from y12.exporter.export_config import ExportConfig
    from y12.exporter.export_pipeline import ExportResult

_PACKAGES = ("torch", "onnx", "onnxruntime", "onnxsim", "jinja2", "pycocotools", "safetensors", "yaml")


@dataclass(frozen=True, kw_only=True)
class Export(ByAddress):
    """What can be asked of y12-export."""

    least_mib: ClassVar[int] = TORCH_MIB
    model: ask.Model = None
    task: ask.ModelTask = None
    scale: ask.ModelScale = None
    random_weights: ask.RandomWeights = False
    depth: ask.ModelDepth = None
    width: ask.ModelWidth = None
    max_channels: ask.ModelMaxChannels = None
    imgsz: ask.InputSizes = None
    batch: ask.Batch = None
    dynamic: ask.Dynamic = False
    format: ask.MadeFormat = Format.ONNX
    target: ask.GraphFor = Target.TRT
    half: ask.Half = False
    quantize: ask.Quantize = None
    opset: ask.Opset = None
    no_simplify: ask.NoSimplify = False
    output: ask.Folder = Path()
    overwrite: ask.Overwrite = False
    json: ask.ReportJson = False
    tensorrt: ask.TensorRT = Flavour.AUTO
    workspace: ask.Workspace = None
    sm: ask.Sms = None
    images: ask.VerifyImages = None
    no_verify: ask.NoVerify = False
    allow_inconclusive: ask.AllowInconclusive = False
    val: ask.Val = None
    bits: shared.Bits = None
    int8: ask.Int8 = False
    calib: ask.Calib = None
    calib_method: ask.CalibMethod = None
    calib_limit: ask.CalibLimit = None
    max_drop: ask.MaxDrop = None
    max_drop_data: ask.MaxDropData = None
    int8_attention: ask.Int8Attention = None
    nms: ask.NmsInGraph = False
    end2end: ask.End2end = None
    nms_outputs: ask.NmsOutputs = None
    nms_candidates: ask.NmsCandidates = None
    conf: ask.NmsConf = None
    iou: ask.NmsIou = None
    max_det: ask.NmsMaxDet = None
    classes: shared.Classes = None
    agnostic_nms: shared.AgnosticNms = None

    def run(self) -> int:
        """Export, and print the report."""
        report = _exported(self, config_of(self)).report
        if self.json:
            put_json(report.to_json())
        else:
            put(*report.summary())
        for note in report.notes:
            say(f"note: {note}")
        return 0


COMMAND = Command(
    "y12-export",
    "Export a YOLOv12-family model to a verified ONNX graph or TensorRT engine, with or without a GPU.",
    Export,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    return main_of(COMMAND, argv)


def config_of(asked: Export) -> "ExportConfig":
    """Turn the command line into an `ExportConfig`.

    Raises:
        OptionsError: options contradict each other, or ask for what this version does not do.
    """
    from y12.exporter.config_parts import int8_of, nms_of, precision_of, verify_of
    from y12.exporter.engine.engine_options import EngineOptions
    from y12.exporter.export_config import ExportConfig, ShapeOptions
    from y12.exporter.model.scaling import Ratios

    half, int8 = asked.half or asked.quantize == Bits.FP16, asked.int8 or asked.quantize == Bits.INT8
    precision, target = precision_of(half=half, int8=int8), asked.target.value
    names = ("calib_method", "calib_limit", "max_drop", "max_drop_data", "int8_attention")
    kept = {name: name for name in (*names, "bits")} if precision == "int8" else {name: name for name in names}
    thresholds = given(asked, THRESHOLDS)
    shape = given(asked, {"form": "nms_outputs", "candidates": "nms_candidates"})
    wanted = asked.nms or (asked.end2end is True and bool(thresholds or shape))
    return ExportConfig(
        model=asked.model,
        scale=asked.scale,
        random_weights=asked.random_weights,
        ratios=Ratios(asked.depth, asked.width, asked.max_channels),
        task=asked.task and asked.task.value,
        format=asked.format.value,
        precision=precision,
        form=target,
        int8=int8_of(asked.model, precision, asked.calib, given(asked, kept), target),
        shapes=ShapeOptions(asked.imgsz, asked.batch, asked.dynamic),
        target=EngineOptions(asked.tensorrt.value, asked.workspace, asked.sm or ()),
        opset=asked.opset,
        simplify=not asked.no_simplify,
        nms=nms_of(thresholds, shape, wanted=wanted),
        end2end=asked.end2end,
        verify=verify_of(
            asked.images,
            wanted=not asked.no_verify,
            allow_inconclusive=asked.allow_inconclusive,
            bits=asked.bits,
        ),
        val=asked.val,
        bits=asked.bits,
        output=asked.output,
        overwrite=asked.overwrite,
        command=command_line(),
        fetch=asked.fetch,
    )


def _exported(asked: Export, config: "ExportConfig") -> "ExportResult":
    """Do the export; what it needs is looked for before anything is loaded that takes long."""
    require_packages(_PACKAGES, "export", "y12-export")
    config = replace(config, model=asked.fetched(asked.model))
    _check_files(config)
    if config.format == "engine":
        from y12.exporter.engine.build_engine import bindings_for_build

        bindings_for_build(config.target.tensorrt)  # refused now, not when the graph is done
    if config.suffix == ".onnx":
        from y12.runtime.artefact.opened import open_artefact

        open_artefact(str(config.model))  # what is no detector, too
    with stage("start"):  # torch takes seconds to load
        from y12.exporter.export_pipeline import export
    return export(config, stage)


def _check_files(config: "ExportConfig") -> None:
    """Refuse a model or data that is not there, and a name that no network has."""
    from y12.exporter.export_config import NAMED, named_spec

    if config.suffix in NAMED:
        named_spec(config)
    elif isinstance(config.model, str):
        check_there("a model's file", {"MODEL": config.model})
    if config.verify is not None and isinstance(config.verify.images, Path):
        check_there("photographs", {"--images": config.verify.images})
    if config.int8 is not None:
        check_there("a folder of images or a data.yaml", {"--calib": config.int8.images})
        if config.int8.budget is not None:
            check_there("a data.yaml, a COCO .json or a folder", {"--max-drop-data": config.int8.budget.data})
    check_there("a data.yaml, a COCO .json or a folder", {"--val": config.val})


if __name__ == "__main__":
    sys.exit(main())
