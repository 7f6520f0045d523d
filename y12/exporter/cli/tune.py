"""y12-tune: train a network on labelled images, or go on training one."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from y12.runtime.cli.common import put, require_packages, run_command, say

if TYPE_CHECKING:
    from y12.exporter.train.tune import Progress, Tune


_TRAINING = ("torch", "lightning_fabric", "kornia", "safetensors", "pycocotools", "yaml", "rich")
_PACKAGES = (*_TRAINING, "onnx", "onnxruntime", "onnxsim")  # for --qat, which is placed by the network's graph


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train, give the exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _tune(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="y12-tune",
        description="Train a network on labelled images. DATA is a data.yaml (its train and val), a COCO .json, for a "
        "classifier a folder with a folder of images for each class, or 'shapes': "
        "scenes made by code, which need no files. A run that was stopped goes on with --resume, step by step as if it "
        "had not been stopped.",
    )
    add: Any = parser.add_argument
    add("data", type=Path, metavar="DATA", help="what to train on")
    add("--val", type=Path, metavar="FILE", help="data to measure on; needed beside a COCO .json")
    add("--images", type=Path, metavar="DIR", help="where a COCO JSON's images are; default: looked for beside it")
    add("--model", help="a shipped model's name, such as yolov12n or yolov12n-seg, or a model YAML")
    add("--weights", type=Path, metavar="FILE", help="begin with these: a .pt or .safetensors")
    add("--imgsz", type=int, default=640, metavar="PX", help="side of the network's input (default: 640)")
    add("--epochs", type=int, default=100, metavar="N", help="passes over the images (default: 100)")
    add("--batch", type=int, default=16, metavar="N", help="images a step, of all devices together (default: 16)")
    add("--lr", type=float, default=1e-3, help="highest learning rate (default: 0.001)")
    add("--weight-decay", type=float, default=0.02, help="of AdamW (default: 0.02)")
    add("--warmup", type=int, default=100, metavar="STEPS", help="steps until the highest rate (default: 100)")
    add("--freeze", type=int, default=0, metavar="N", help="leave the first N rows of the network as they are")
    add("--qat", action="store_true", help="train for INT8: what is written is exported with --int8, without --calib")
    add("--iou-loss", help="iou, giou, diou or ciou (default: the network's own, ciou where it has none)")
    add("--class-loss", default="bce", help="bce, focal or varifocal (default: bce)")
    add("--mosaic", type=float, default=1.0, metavar="P", help="how often to show four images in one (default: 1)")
    add("--no-augment", action="store_true", help="show each image as it is: no mosaic, mirroring, scaling or colours")
    add("--seed", type=int, default=0, metavar="N", help="of new weights, order and augmentation (default: 0)")
    add("--precision", default="auto", help="32 or bf16 (default: bf16 on a GPU, 32 on a CPU)")
    add("--device", default="auto", help="cpu or cuda (default: cuda where there is one)")
    add("--devices", type=int, default=0, metavar="N", help="how many (default: all GPUs, one CPU process)")
    add("--workers", type=int, default=0, metavar="N", help="processes that prepare images (default: none)")
    add("--validate-every", type=int, default=1, metavar="N", help="epochs between measurements; 0: at the end only")
    add("--half", action="store_true", help="write the weights in FP16")
    add("--output", type=Path, default=Path("tuned"), metavar="DIR", help="the run's folder (default: tuned)")
    add("--resume", action="store_true", help="go on with the run in --output")
    return parser


def _tune(arguments: argparse.Namespace) -> int:
    require_packages(_PACKAGES, "train", "y12-tune")
    job = _job(arguments)
    from y12.exporter.train.tune import tune

    with _progress() as progress:
        weights = tune(job, say, progress)
    if weights is not None:
        put(f"weights      {weights}")
        put(f"log          {weights.parent}/steps.csv, accuracy.csv, curves.svg")
    return 0


def _job(arguments: argparse.Namespace) -> "Tune":
    from y12.exporter.precision.qat.prepare import QatOptions
    from y12.exporter.train.datasets import DataChoice
    from y12.exporter.train.examples.options import UNCHANGED, AugmentOptions
    from y12.exporter.train.losses.build import LossOptions
    from y12.exporter.train.options import OptimizerOptions, TuneOptions
    from y12.exporter.train.tune import Tune

    optimizer = OptimizerOptions(lr=arguments.lr, weight_decay=arguments.weight_decay, warmup=arguments.warmup)
    losses = LossOptions(iou=arguments.iou_loss, class_loss=arguments.class_loss)
    options = TuneOptions(
        epochs=arguments.epochs,
        batch=arguments.batch,
        freeze=arguments.freeze,
        seed=arguments.seed,
        precision=arguments.precision,
        accelerator=arguments.device,
        devices=arguments.devices,
        workers=arguments.workers,
        validate_every=arguments.validate_every,
        optimizer=optimizer,
        losses=losses,
    )
    augment = UNCHANGED if arguments.no_augment else AugmentOptions(mosaic=arguments.mosaic)
    return Tune(
        DataChoice(arguments.data, arguments.val, arguments.images, augment),
        arguments.output,
        arguments.model,
        arguments.weights,
        arguments.imgsz,
        arguments.resume,
        arguments.half,
        QatOptions() if arguments.qat else None,
        options,
    )


@contextmanager
def _progress() -> "Iterator[Progress]":
    """Return what shows how a run goes on: a bar on a terminal, every hundredth step elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total, losses: say(f"step {done} of {total}: {losses}") if done % 100 == 0 else None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("train", total=None)
        yield lambda done, total, losses: bar.update(task, completed=done, total=total, description=losses)


if __name__ == "__main__":
    sys.exit(main())
