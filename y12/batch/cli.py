"""y12-batch: what is in a great many images, by workers on Ray, as files of Parquet."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from y12.runtime.cli.app import Command, main_of
from y12.runtime.cli.common import require_packages, say
from y12.runtime.cli.options import (
    OUTPUT,
    THRESHOLDS,
    AgnosticNms,
    BatchSize,
    Conf,
    Iou,
    MaxDet,
    NamedClasses,
    Numbers,
    RuntimeOptions,
    choice,
    given,
    number,
    option,
    positive,
)

if TYPE_CHECKING:
    from y12.batch.job import Job
    from y12.runtime.artefact.opened import Artefact
    from y12.runtime.options import DetectOptions

PACKAGES = ("ray", "pyarrow", "pandas", "fsspec")
LEAST_RAY = (2, 60)
SOURCES, WORKERS = "Sources", "Workers"
Rows = StrEnum("Rows", ["IMAGES", "DETECTIONS"])  # y12.batch.rows.FORMS


@dataclass(frozen=True, kw_only=True)
class Batch(RuntimeOptions):
    """What can be asked of y12-batch."""

    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            show_default=False,
            help="what to look at: images, folders, patterns and lists (.txt), on this machine or in a store: s3://, "
            "gs://, or what fsspec has a package for",
        ),
    ]
    output: Annotated[
        str,
        option(
            "--output",
            metavar="DIR",
            panel=OUTPUT,
            help="write parquet/part-*.parquet there, a row an image: a new or empty folder, or s3://bucket/folder",
        ),
    ]
    recursive: Annotated[bool, option("--recursive", panel=SOURCES, help="search folders to the bottom")] = False
    rows: Annotated[
        Rows, choice(Rows, "--rows", panel=OUTPUT, help="a row for each image, or for each object (default: images)")
    ] = Rows.IMAGES
    json: Annotated[
        bool, option("--json", panel=OUTPUT, help="write jsonl/part-*.jsonl too: what y12-infer --json prints")
    ] = False
    coco: Annotated[bool, option("--coco", panel=OUTPUT, help="write coco.json too, a data set, at the end")] = False
    no_masks: Annotated[
        bool, option("--no-masks", panel=OUTPUT, help="leave out the masks that a segmentation model gives")
    ] = False
    resume: Annotated[
        bool, option("--resume", panel=OUTPUT, help="go on with the run that --output holds: what is done stays done")
    ] = False
    address: Annotated[
        str | None,
        option(
            metavar="HOST:PORT|auto",
            panel=WORKERS,
            help="join a Ray cluster that runs; default: start one on this machine, and end it with the run",
        ),
    ] = None
    workers: Annotated[
        int | None,
        option(parser=positive, metavar="N", panel=WORKERS, help="default: one a GPU, or as many as have room"),
    ] = None
    cpus_per_worker: Annotated[
        float | None,
        option(
            "--cpus-per-worker",
            parser=number,
            metavar="N",
            panel=WORKERS,
            help="processors of each; default: 1, on larger machines 2 or 4",
        ),
    ] = None
    num_cpus: Annotated[
        int | None,
        option(
            "--num-cpus",
            parser=positive,
            metavar="N",
            panel=WORKERS,
            help="processors of this machine to use; default: all that this process may use",
        ),
    ] = None
    stall: Annotated[
        float,
        option(
            "--stall",
            parser=number,
            metavar="S",
            panel=WORKERS,
            help="end the run where no part of the images is done for so many seconds (3600)",
        ),
    ] = 3600.0
    batch: BatchSize = None
    conf: Conf = None
    iou: Iou = None
    max_det: MaxDet = None
    classes: NamedClasses = None
    agnostic_nms: AgnosticNms = None

    def run(self) -> int:
        """Go through all sources; what cannot be read is a row with its error. 3 where all of them failed."""
        return _batch(self)


COMMAND = Command(
    "y12-batch",
    "Find objects in more images than one process takes: on all processors or GPUs of a machine or a Ray cluster.",
    Batch,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


def _batch(asked: Batch) -> int:
    require_packages(PACKAGES, "ray", "y12-batch")
    _check_ray()
    _check(asked)
    from y12.batch.cluster import Cluster
    from y12.batch.plan import Wanted
    from y12.batch.run import Asked, run
    from y12.runtime.artefact.opened import open_artefact

    artefact = open_artefact(asked.artefact)
    job, wanted = _job(asked, artefact), Wanted(_on_gpu(asked, artefact), asked.workers, asked.cpus_per_worker)
    cluster = Cluster(asked.address, asked.num_cpus or len(os.sched_getaffinity(0)), wanted, asked.stall)
    return run(Asked(asked.sources, asked.recursive, asked.output, asked.resume), job, artefact.manifest, cluster)


def _check_ray() -> None:
    """Refuse a release of Ray that this was not made for.

    Raises:
        ExecutorError: it is too old.
    """
    from importlib.metadata import version

    from y12.errors import ExecutorError
    from y12.installing import install_command

    found = version("ray")
    if tuple(int(part) for part in found.split(".")[:2] if part.isdecimal()) < LEAST_RAY:
        least = ".".join(map(str, LEAST_RAY))
        raise ExecutorError(f"expected Ray {least} or later, found {found}: {install_command('ray', upgrade=True)}")


def _check(asked: Batch) -> None:
    """Refuse what cannot be meant.

    Raises:
        InputError: there is something.
    """
    from y12.errors import InputError

    if asked.devices != Numbers((0,)):
        raise InputError(
            "--device: expected none, as Ray deals out the GPUs, found one; CUDA_VISIBLE_DEVICES hides some"
        )
    if asked.address is not None and not asked.address.strip():
        raise InputError("--address: expected HOST:PORT, or auto, found nothing; left out, Ray is started here")
    if asked.address is not None and asked.num_cpus is not None:
        raise InputError(
            "--num-cpus: expected a cluster of our own, found --address: --workers bounds what is used there"
        )
    for name, value, least in (("--cpus-per-worker", asked.cpus_per_worker, 0.1), ("--stall", asked.stall, 1.0)):
        if value is not None and not least <= value < float("inf"):
            raise InputError(f"{name}: expected {least:g} or more, found {value:g}")


def _on_gpu(asked: Batch, artefact: "Artefact") -> bool:
    """Return whether a worker needs a GPU of its own."""
    if artefact.kind == "engine" or asked.provider.value == "cuda":
        return True
    if asked.provider.value == "cpu":
        return False
    from y12.runtime.backends.onnx_runtime import import_onnxruntime

    return "CUDAExecutionProvider" in import_onnxruntime().get_available_providers()


def _job(asked: "Batch", artefact: "Artefact") -> "Job":
    from y12.batch.job import Job
    from y12.errors import InputError
    from y12.runtime.assemble import input_size_of, reduced_on_gpu
    from y12.runtime.cli.batch import check_batch
    from y12.runtime.tasks import notes_on_options

    manifest = artefact.manifest
    if asked.task is not None and asked.task.value != manifest.task:
        raise InputError(
            f"{asked.artefact}: expected a model for the task {asked.task.value!r}, found one for {manifest.task!r}"
        )
    if asked.coco and manifest.task == "classify":
        raise InputError("--coco: expected a model that finds objects, found a classifier, which finds none")
    check_batch(asked.batch, manifest.profile.batch)
    input_size_of(manifest, asked.input_hw, asked.rect)
    if asked.reduced_decode and artefact.kind == "engine":
        raise reduced_on_gpu()
    options = _detect_options(asked, artefact)
    for note in (*artefact.notes, *notes_on_options(options, manifest)):
        say(f"note: {note}")
    return Job(
        artefact=str(artefact.path.absolute()),
        sha256=artefact.sha256(),
        options=options,
        rows=asked.rows.value,
        as_json=asked.json,
        as_coco=asked.coco,
        masks=not asked.no_masks and manifest.task in ("segment", "multitask"),
        imgsz=asked.input_hw,
        rect=asked.rect,
        bits=asked.bits,
        reduced_decode=asked.reduced_decode,
        provider=asked.provider.value,
        batch=asked.batch,
        timeout=asked.timeout,
    )


def _detect_options(asked: Batch, artefact: "Artefact") -> "DetectOptions":
    """Return the artefact's own options with what was asked in their place.

    Raises:
        InputError: the artefact cannot follow one of them.
    """
    from dataclasses import replace

    from y12.runtime.options import class_ids_from, class_words
    from y12.runtime.tasks import default_options, resolved_options

    values = given(asked, THRESHOLDS)
    if asked.classes is not None:
        values["classes"] = class_ids_from(class_words(asked.classes), artefact.manifest.names)
    return resolved_options(replace(default_options(artefact.manifest), **values), artefact.manifest)


if __name__ == "__main__":
    sys.exit(main())
