"""What the user asked for, as one frozen value; what contradicts itself is refused here, before any work."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from y12.errors import OptionsError
from y12.exporter.engine.engine_options import EngineOptions
from y12.exporter.model.scaling import Ratios
from y12.exporter.precision.mixed.budget_options import BudgetOptions
from y12.exporter.precision.quantization_options import LEAST_OPSET, TARGETS, CalibrationOptions, QuantizeOptions
from y12.exporter.shape_options import ShapeOptions
from y12.exporter.verify.verify_options import VerifyOptions
from y12.remote.address import file_name, is_address
from y12.remote.local import local_path
from y12.remote.options import FetchOptions
from y12.runtime.artefact.manifest import PRECISIONS, TASKS
from y12.runtime.artefact.nms_settings import NmsSettings

if TYPE_CHECKING:
    from torch import nn

    from y12.exporter.model.rows import ModelSpec
    from y12.exporter.precision.qat.learned import LearnedRanges
    from y12.runtime.thresholds import ConfidenceTable

__all__ = [
    "CHECKPOINTS",
    "FORMATS",
    "NAMED",
    "NEEDS_IMAGES",
    "OPSETS",
    "ExportConfig",
    "FoundRanges",
    "Int8Options",
    "ShapeOptions",
    "named_spec",
    "with_local_model",
]

FORMATS = ("onnx", "engine")
OPSETS = range(17, 21)  # of what is traced: TensorRT fuses the plain MatMul and Softmax these have

CHECKPOINTS = (".pt", ".pth", ".safetensors")
NAMED = ("", ".yaml", ".yml")  # how a model's name ends, or its YAML's
NEEDS_IMAGES = (
    "--int8 is calibrated on images like those the model will see: add --calib with a folder of some hundred of "
    "them, or a data.yaml"
)


@dataclass(frozen=True)
class FoundRanges:
    """What an earlier export found, so that it need not be found again.

    Attributes:
        ranges: of the graph's tensors, and what is kept out of INT8.
        images: the hash of the images that they were found on, as a `Recipe` has it.
    """

    ranges: "LearnedRanges"
    images: str


@dataclass(frozen=True)
class Int8Options:
    """How INT8 is made.

    Attributes:
        images: to calibrate on: a folder, or a data.yaml whose training images are meant. None takes the ranges that
            were learned with the weights and are in their file; `calibration` and `limit` then say nothing.
        calibration: how ranges are chosen.
        quantize: what is quantised, and for which target.
        budget: how much it may cost; None keeps all that can be in INT8 there.
        limit: calibrate on no more images than this, evenly out of them; None takes all.
        found: ranges of an earlier export to take in place of calibrating, with no images; None finds them.
    """

    images: Path | None
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    budget: BudgetOptions | None = None
    limit: int | None = None
    found: FoundRanges | None = None

    def __post_init__(self) -> None:
        if self.images is None and self.budget is not None and self.budget.data is None:
            raise OptionsError("--max-drop: without --calib there are no images to measure on: add --max-drop-data")


@dataclass(frozen=True)
class ExportConfig:
    """One export.

    Attributes:
        model: a checkpoint, a model YAML or its name, an .onnx, or the address of one of these files; or a network of
            `y12.models`; None for the demo model.
        fetch: how what is given by its address is fetched; its `sha256` is also that of a file.
        scale: of a model YAML whose name tells none.
        ratios: of a model YAML, in place of its scale's depth, width and max_channels.
        random_weights: let a model that is a name have seeded random ones, which detect nothing; a YAML always has.
        task: what the model must be for, one of `y12.runtime.artefact.manifest.TASKS`; any where None.
        format: "onnx" or "engine" (which writes the .onnx it was built from, too).
        precision: "fp32", "fp16" or "int8".
        form: what the graph is written for, "trt" or "cpu"; INT8 that is made for "cpu" has that form too.
        int8: how INT8 is made; None for the other precisions.
        shapes: of the input.
        target: of the engine.
        opset: of the ONNX graph, 17 to 20; the newest of them where None.
        simplify: run onnxsim and y12's own passes.
        nms: the NMS to put into the graph; None leaves the predictions raw.
        end2end: let the graph end in detections: of a network whose branches for that predict each object once, the
            best rows of these, of any other by NMS. False: raw predictions, of the other branches where there are two.
            None: as the network is made for, unless NMS is to be in the graph.
        verify: what to verify on; None leaves it out.
        val: images to measure the accuracy on, labelled or not; None measures none.
        bits: how many bits 16-bit images of `val` hold; `int8` and `verify` have their own. None goes by each file.
        output: the folder to write to.
        overwrite: let an export that is not verified take the place of one that was.
        thresholds: that an earlier export measured on `val`, to be written again where none is given.
        command: the command line that asks for it, for the report; empty from Python.
    """

    model: "str | nn.Module | None" = None
    scale: str | None = None
    ratios: Ratios = field(default_factory=Ratios)
    random_weights: bool = False
    task: str | None = None
    format: str = "onnx"
    precision: str = "fp32"
    form: str = TARGETS[0]
    int8: Int8Options | None = None
    shapes: ShapeOptions = field(default_factory=ShapeOptions)
    target: EngineOptions = field(default_factory=EngineOptions)
    opset: int | None = None
    simplify: bool = True
    nms: NmsSettings | None = None
    end2end: bool | None = None
    verify: VerifyOptions | None = field(default_factory=VerifyOptions)
    val: Path | None = None
    bits: int | None = None
    output: Path = Path()
    overwrite: bool = False
    thresholds: "ConfidenceTable | None" = None
    command: str = ""
    fetch: FetchOptions = field(default_factory=FetchOptions)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise OptionsError(f"--format: expected one of {', '.join(FORMATS)}, found '{self.format}'")
        if self.precision not in PRECISIONS:
            raise OptionsError(f"precision: expected one of {', '.join(PRECISIONS)}, found '{self.precision}'")
        self._check_kind()
        self._check_int8()
        self._check_form()
        if self.task is not None and self.task not in TASKS:
            raise OptionsError(f"--task: expected one of {', '.join(TASKS)}, found '{self.task:.60}'")
        self._check_opset()
        if self.end2end is False and self.suffix == ".onnx":
            raise OptionsError("--no-end2end is for a model that is traced; an .onnx has one set of outputs: drop it")
        if self.format != "engine" and self.target != EngineOptions():
            raise OptionsError("--tensorrt, --workspace and --sm are of engines: add --format engine, or drop them")
        self._check_size()
        if self.random_weights and self.suffix not in NAMED:
            raise OptionsError("--random-weights is for a model's name or YAML, which bring none: drop it")

    @property
    def suffix(self) -> str | None:
        """The ending of the model's name, None where it is no file and no name."""
        return Path(file_name(self.model)).suffix if isinstance(self.model, str) else None

    @property
    def is_for_cpu(self) -> bool:
        """Whether ONNX Runtime is to run the graph on a CPU."""
        return "cpu" in (self.form, "" if self.int8 is None else self.int8.quantize.target)

    @property
    def may_have_ranges(self) -> bool:
        """Whether the model is of a kind of file that can carry learned ranges."""
        return self.suffix == ".safetensors"

    def _check_kind(self) -> None:
        files = (*CHECKPOINTS, ".onnx")
        is_nameless = self.suffix == "" and is_address(str(self.model))
        if self.suffix is not None and (self.suffix not in (*files, *NAMED) or is_nameless):
            raise OptionsError(
                f"MODEL: expected a file ending in {', '.join((*files, '.yaml'))}, or a model's name such as yolov12n; "
                f"found '{self.model}'"
            )

    def _check_opset(self) -> None:
        if self.opset is None:
            return
        if self.suffix == ".onnx":
            raise OptionsError("--opset is for a model that is traced; an .onnx keeps its own: drop --opset")
        if self.opset not in OPSETS:
            raise OptionsError(
                f"--opset: expected {OPSETS[0]} to {OPSETS[-1]}, found {self.opset}: newer ones turn attention into an "
                "operator that TensorRT does not build in FP32, older ones lack operators y12 writes"
            )
        least = OPSETS[0] if self.int8 is None else LEAST_OPSET[self.int8.quantize.target]
        if self.opset < least:
            raise OptionsError(f"--opset: --int8 needs {least} or newer, found {self.opset}; drop --opset")

    def _check_size(self) -> None:
        if self.scale is None and not self.ratios:
            return
        options = "--scale" if self.scale is not None else "--depth, --width and --max-channels"
        are = "is" if self.scale is not None else "are"
        if self.model is None:
            raise OptionsError(
                f"{options} {are} for a model YAML, and none was named: name one, such as yolov12, or drop {options}"
            )
        if self.suffix not in NAMED:
            model = f"'{self.model}'" if isinstance(self.model, str) else "a network"
            raise OptionsError(f"{options} {are} for a model YAML; {model} tells its own scale: drop {options}")

    def _check_int8(self) -> None:
        if self.precision == "int8" and (
            self.int8 is None or (self.int8.images is None and self.int8.found is None and not self.may_have_ranges)
        ):
            raise OptionsError(NEEDS_IMAGES)
        if self.precision != "int8" and self.int8 is not None:
            raise OptionsError(
                f"--calib, --int8-… and --max-drop are of --int8, found precision {self.precision}: add --int8"
            )

    def _check_form(self) -> None:
        if self.form not in TARGETS:
            raise OptionsError(f"--target: expected one of {', '.join(TARGETS)}, found '{self.form:.60}'")
        if not self.is_for_cpu:
            return
        if self.format == "engine":
            raise OptionsError("--target cpu is for ONNX Runtime; TensorRT needs trt: drop it, or --format engine")
        if self.precision == "fp16":
            raise OptionsError("--target cpu is FP32, or INT8: a CPU computes FP16 in FP32, and casts: drop --half")
        if self.int8 is not None and self.int8.quantize.target != "cpu":
            raise OptionsError("--target cpu: expected INT8 for cpu, found INT8 for trt: name one target for both")
        if not self.simplify:
            raise OptionsError("--target cpu is written by passes that --no-simplify leaves out: drop one of the two")


def with_local_model(config: ExportConfig) -> ExportConfig:
    """Return an export whose model is on this machine, where it was named by its address.

    Raises:
        AddressError: it cannot be had, or has another hash.
        OptionsError: a hash is given, and no file.
    """
    if isinstance(config.model, str):
        path = local_path(config.model, config.fetch)
        return replace(config, model=str(path)) if is_address(config.model) else config
    if config.fetch.sha256 is not None:
        raise OptionsError("--sha256: expected a file to hold against it, found none named; name it, or drop it")
    return config


def named_spec(config: ExportConfig) -> "ModelSpec":
    """Return the network that a model's name or YAML means.

    Raises:
        ModelSpecError: there is no such network, or the YAML is wrong.
        OptionsError: it is a name, which brings no weights, and random ones were not asked for.
    """
    from y12.exporter.model.spec import spec_from_name  # loads a reader of YAML

    assert isinstance(config.model, str)
    spec = spec_from_name(config.model, scale=config.scale, ratios=config.ratios)
    if not config.suffix and not config.random_weights:
        raise OptionsError(
            f"MODEL: expected weights, found '{config.model}', a network's name: give its checkpoint, such as "
            f"{config.model}.pt from its publisher (y12 ships none), or add --random-weights to see what it builds"
        )
    return spec
