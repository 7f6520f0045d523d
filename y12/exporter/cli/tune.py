"""y12-tune: train a network on labelled images, or go on training one."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from y12.exporter.cli import options as ask
from y12.exporter.cli.before import check_there
from y12.exporter.cli.choices import ClassLoss, Device, IouLoss, TrainPrecision
from y12.remote.address import is_address
from y12.runtime.cli.addresses import ByAddress
from y12.runtime.cli.app import Command, main_of
from y12.runtime.cli.common import TORCH_MIB, put, require_packages, say
from y12.runtime.cli.options import OUTPUT, Bits, choice, number, option, whole
from y12.runtime.cli.progress import Progress

if TYPE_CHECKING:
    from y12.exporter.train.tune import Tune


_TRAINING = (
    "torch",
    "lightning_fabric",
    "kornia",
    "safetensors",
    "pycocotools",
    "yaml",
    "matplotlib",
    "jinja2",
)
_PACKAGES = (*_TRAINING, "onnx", "onnxruntime", "onnxsim")  # for --qat, which is placed by the network's graph
DRAWN = "shapes"  # y12.exporter.train.datasets.SHAPES
_DATA, _NETWORK, _STEPS, _MACHINE = "Data", "Network", "Training", "Machine"


@dataclass(frozen=True, kw_only=True)
class TuneOrder(ByAddress):
    """What can be asked of y12-tune."""

    least_mib: ClassVar[int] = TORCH_MIB
    data: Annotated[Path, typer.Argument(metavar="DATA", show_default=False, help="what to train on")]
    val: Annotated[
        Path | None, option(metavar="FILE", panel=_DATA, help="data to measure on; needed beside a COCO .json")
    ] = None
    images: ask.CocoImages = None
    strict: ask.Strict = False
    bits: Bits = None
    model: Annotated[
        str | None,
        option(
            metavar="MODEL",
            panel=_NETWORK,
            help="a shipped model's name, such as yolov12n or yolov12n-seg, or a model YAML",
        ),
    ] = None
    scale: ask.ModelScale = None
    depth: ask.ModelDepth = None
    width: ask.ModelWidth = None
    max_channels: ask.ModelMaxChannels = None
    weights: Annotated[
        str | None,
        option(metavar="FILE", panel=_NETWORK, help="begin with these: a .pt or .safetensors, or its https:// address"),
    ] = None
    imgsz: Annotated[int, option(parser=whole, metavar="PX", panel=_NETWORK, help="side of the network's input")] = 640
    freeze: Annotated[
        int, option(parser=whole, metavar="N", panel=_NETWORK, help="leave the first N rows of the network as they are")
    ] = 0
    qat: Annotated[
        bool,
        option(
            "--qat", panel=_NETWORK, help="train for INT8: what is written is exported with --int8, without --calib"
        ),
    ] = False
    epochs: Annotated[int, option(parser=whole, metavar="N", panel=_STEPS, help="passes over the images")] = 100
    batch: Annotated[
        int, option(parser=whole, metavar="N", panel=_STEPS, help="images a step, of all devices together")
    ] = 16
    lr: Annotated[float, option(parser=number, metavar="RATE", panel=_STEPS, help="highest learning rate")] = 1e-3
    weight_decay: Annotated[float, option(parser=number, metavar="W", panel=_STEPS, help="of AdamW")] = 0.02
    warmup: Annotated[int, option(parser=whole, metavar="STEPS", panel=_STEPS, help="steps until the highest rate")] = (
        100
    )
    iou_loss: Annotated[
        IouLoss | None,
        choice(
            IouLoss,
            "--iou-loss",
            panel=_STEPS,
            help="loss of boxes (default: the network's own, ciou where it has none)",
        ),
    ] = None
    class_loss: Annotated[ClassLoss, choice(ClassLoss, "--class-loss", panel=_STEPS, help="loss of classes")] = (
        ClassLoss.BCE
    )
    mosaic: Annotated[
        float, option(parser=number, metavar="P", panel=_STEPS, help="how often to show four images in one")
    ] = 1.0
    no_augment: Annotated[
        bool,
        option("--no-augment", panel=_STEPS, help="show each image as it is: no mosaic, mirroring, scaling or colours"),
    ] = False
    seed: Annotated[
        int, option(parser=whole, metavar="N", panel=_STEPS, help="of new weights, order and augmentation")
    ] = 0
    validate_every: Annotated[
        int, option(parser=whole, metavar="N", panel=_STEPS, help="epochs between measurements; 0: at the end only")
    ] = 1
    patience: Annotated[
        int,
        option(parser=whole, metavar="N", panel=_STEPS, help="stop after N epochs without a better accuracy; 0: never"),
    ] = 0
    precision: Annotated[
        TrainPrecision, choice(TrainPrecision, "--precision", panel=_MACHINE, help="auto: bf16 on a GPU, 32 on a CPU")
    ] = TrainPrecision.AUTO
    device: Annotated[Device, choice(Device, "--device", panel=_MACHINE, help="auto: cuda where there is one")] = (
        Device.AUTO
    )
    devices: Annotated[
        int, option(parser=whole, metavar="N", panel=_MACHINE, help="how many; 0: all GPUs, one CPU process")
    ] = 0
    workers: Annotated[int, option(parser=whole, metavar="N", panel=_MACHINE, help="processes that prepare images")] = 0
    half: Annotated[bool, option("--half", panel=OUTPUT, help="write the weights in FP16")] = False
    output: Annotated[Path, option(metavar="DIR", panel=OUTPUT, help="the run's folder")] = Path("tuned")
    resume: Annotated[bool, option("--resume", panel=OUTPUT, help="go on with the run in --output")] = False

    plots: Annotated[
        bool,
        option(
            "--plots",
            panel=OUTPUT,
            help="draw at the end what y12-val --plots draws, of the weights that are written, into plots/",
        ),
    ] = False
    tensorboard: Annotated[
        bool, option("--tensorboard", panel=OUTPUT, help="write TensorBoard's events into tensorboard/")
    ] = False
    mlflow: Annotated[
        bool, option("--mlflow", panel=OUTPUT, help="tell MLflow the figures, where $MLFLOW_TRACKING_URI says")
    ] = False

    @property
    def trackers(self) -> tuple[str, ...]:
        """Who else is told the figures."""
        return tuple(name for name in ("tensorboard", "mlflow") if getattr(self, name))

    def run(self) -> int:
        """Train, and print where the weights are."""
        for name in self.trackers:
            require_packages((name,), name, f"y12-tune --{name}")
        require_packages(_PACKAGES, "train", "y12-tune")
        _check_files(self)
        job = _job(self)
        from y12.exporter.train.tune import tune

        with Progress("train", "steps") as progress:
            weights = tune(job, say, progress)
        if weights is not None:
            put(f"weights      {weights}")
            put(f"log          {weights.parent}/steps.csv, accuracy.csv, curves.png")
            if self.plots:
                put(f"plots        {weights.parent}/plots/report.html")
        return 0


COMMAND = Command(
    "y12-tune",
    "Train a network on labelled images. DATA is a data.yaml (its train and val), a COCO .json, for a classifier a "
    "folder with a folder of images for each class, or 'shapes': scenes made by code, which need no files. A run that "
    "was stopped goes on with --resume, step by step as if it had not been stopped.",
    TuneOrder,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train, give the exit code."""
    return main_of(COMMAND, argv)


def _check_files(asked: TuneOrder) -> None:
    """Refuse data or weights that are not there, and a name that no network has, before torch is loaded."""
    check_there("a data.yaml, a COCO .json or a folder", {"--val": asked.val})
    if str(asked.data) != DRAWN:
        kinds = f"a data.yaml, a COCO .json, a folder of classes, or the word {DRAWN}"
        check_there(kinds, {"DATA": asked.data})
    check_there("a folder of images", {"--images": asked.images})
    if asked.weights is not None and not is_address(asked.weights):
        check_there("a weights file", {"--weights": asked.weights})
    if asked.model is not None:
        from y12.exporter.model.scaling import Ratios
        from y12.exporter.model.spec import spec_from_name

        spec_from_name(asked.model, scale=asked.scale, ratios=Ratios(asked.depth, asked.width, asked.max_channels))


def _job(asked: TuneOrder) -> "Tune":
    from y12.exporter.model.scaling import Ratios
    from y12.exporter.precision.qat.prepare import QatOptions
    from y12.exporter.train.datasets import DataChoice
    from y12.exporter.train.examples.options import UNCHANGED, AugmentOptions
    from y12.exporter.train.initial import NetworkChoice
    from y12.exporter.train.losses.build import LossOptions
    from y12.exporter.train.options import OptimizerOptions, TuneOptions
    from y12.exporter.train.tune import Tune

    optimizer = OptimizerOptions(lr=asked.lr, weight_decay=asked.weight_decay, warmup=asked.warmup)
    losses = LossOptions(iou=asked.iou_loss and asked.iou_loss.value, class_loss=asked.class_loss.value)
    options = TuneOptions(
        epochs=asked.epochs,
        batch=asked.batch,
        freeze=asked.freeze,
        seed=asked.seed,
        precision=asked.precision.value,
        accelerator=asked.device.value,
        devices=asked.devices,
        workers=asked.workers,
        validate_every=asked.validate_every,
        patience=asked.patience,
        optimizer=optimizer,
        losses=losses,
    )
    augment = UNCHANGED if asked.no_augment else AugmentOptions(mosaic=asked.mosaic)
    weights = asked.fetched(asked.weights)
    return Tune(
        DataChoice(asked.data, asked.val, asked.images, augment, asked.strict, asked.bits),
        asked.output,
        NetworkChoice(
            asked.model,
            None if weights is None else Path(weights),
            asked.scale,
            Ratios(asked.depth, asked.width, asked.max_channels),
        ),
        asked.imgsz,
        asked.resume,
        asked.half,
        QatOptions() if asked.qat else None,
        asked.plots,
        asked.trackers,
        options,
    )


if __name__ == "__main__":
    sys.exit(main())
