"""The whole story of a training run: data, network, loop, and what it leaves."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from y12.errors import OptionsError, OutputError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.metadata import LICENCE_KEY, RANGES_KEY, SIDE_KEY, yaml_of_spec
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.model.detector import Detector
from y12.exporter.plots.write import write_plots
from y12.exporter.precision.qat.convert import convert
from y12.exporter.precision.qat.prepare import PreparedDetector, QatOptions, initial_ranges, prepare
from y12.exporter.precision.quantization_options import CalibrationOptions
from y12.exporter.train.batch_norm import are_folded, unfold
from y12.exporter.train.curves import curves_png
from y12.exporter.train.datasets import DataChoice, Material, material_for
from y12.exporter.train.initial import NetworkChoice, network_from, starting_detector
from y12.exporter.train.log import RunLog
from y12.exporter.train.loop import StepLog, fabric_for, train
from y12.exporter.train.options import TuneOptions
from y12.exporter.train.state import STATE_FILE
from y12.exporter.train.trackers import Tracker, losses_of, opened_trackers
from y12.files import write_atomically

__all__ = ["Tune", "tune"]

CURVES_FILE, PLOTS_FOLDER = "curves.png", "plots"
_UNFOLD_BATCHES = 8

Progress = Callable[[int, int, str], None]  # steps done, steps altogether, the last losses in words
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Tune:
    """What to train, on what, and where to.

    Attributes:
        choice: the data.
        output: the run's folder.
        network: which network, and what it begins with.
        imgsz: side of the network's input, in pixels.
        resume: go on with the run in that folder.
        half: write the weights in FP16.
        qat: train for INT8: the weights are then written with the ranges to export them with.
        plots: draw at the end what the written weights find in the images that are measured on.
        trackers: who else is told the figures: of "tensorboard" and "mlflow".
        options: how to train.
    """

    choice: DataChoice
    output: Path
    network: NetworkChoice
    imgsz: int = 640
    resume: bool = False
    half: bool = False
    qat: QatOptions | None = None
    plots: bool = False
    trackers: tuple[str, ...] = ()
    options: TuneOptions = field(default_factory=TuneOptions)

    def __post_init__(self) -> None:
        if self.qat is not None and self.network.weights is None:
            raise OptionsError("--qat: goes on with trained weights: name them with --weights")
        if self.qat is not None and self.half:
            raise OptionsError("--qat: its weights are written in FP32, as FP16 would move integers: drop --half")


def tune(job: Tune, tell: Tell, progress: Progress) -> Path | None:
    """Train, and give the file with the weights that were most accurate; None in all processes but the first.

    Beside that file, NAME.safetensors, the run's folder holds NAME.yaml (the network), steps.csv and accuracy.csv
    (the log), curves.png (their picture) and the state that a killed run goes on from; with `plots` also a folder with
    the page of what is written, and with `trackers` their files.

    Args:
        job: what to do.
        tell: is told what there is to know, one line each.
        progress: is told of each step.

    Raises:
        Y12Error: a child of it that says what is wrong with the data, the network, the options or the folder.
    """
    _check_folder(job)
    network = network_from(job.network)
    fabric = fabric_for(job.options)
    with fabric.rank_zero_first():  # it may draw scenes into the folder, which the others then find
        material = material_for(network.spec, job.choice, job.imgsz, job.options, job.output, fabric.world_size)
    detector, weights_note = starting_detector(network, material.names, job.options.seed)
    detector.head.check_image_size((job.imgsz, job.imgsz))
    weights = job.output / f"{detector.spec.name}.safetensors"
    if fabric.is_global_zero:
        for note in (*network.spec.notes, *material.notes, weights_note):
            tell(note)
        write_atomically(weights.with_suffix(".yaml"), yaml_of_spec(detector.spec).encode())
    heard = tell if fabric.is_global_zero else _say_nothing
    detector = _made_ready(detector, job, material, heard)
    identity = {**material.course.identity, "qat": job.qat is not None}
    course = replace(material.course, identity=identity, measure_first=_has_start_to_measure(job))
    extra = {SIDE_KEY: str(job.imgsz), LICENCE_KEY: network.licence}
    observer = _Observer(job, weights, extra, tell, progress)
    with closing(observer):
        train(fabric, detector, course, job.options, job.output, observer)
    if not fabric.is_global_zero:
        return None
    if job.plots:
        _draw(job, weights, material, fabric.device, tell)
    return weights


def _made_ready(detector: Detector, job: Tune, material: Material, heard: Tell) -> Detector:
    """Return the detector as it is trained: prepared for INT8, or with statistics of BatchNorm that was folded."""
    if job.qat is not None:
        return _prepared(detector, job.qat, material, job, heard)
    if job.network.weights is not None and not job.resume and are_folded(detector):
        images = unfold(detector, (material.course.batches[i].images for i in range(_UNFOLD_BATCHES)))
        heard(f"BatchNorm was folded into the weights: its statistics were measured anew, on {images} images")
    return detector


def _has_start_to_measure(job: Tune) -> bool:
    """Return whether there are weights that may find something before the first step, and measurements on the way."""
    return job.network.weights is not None and job.options.validate_every > 0


def _draw(job: Tune, weights: Path, material: Material, device: torch.device, tell: Tell) -> None:
    """Draw what the weights that were written find, as `y12-val --plots` draws an artefact's."""
    detector = detector_from_checkpoint(read_checkpoint(weights)).eval().to(device)
    measured = material.validation.validated(detector, job.choice.val or job.choice.data, study=True)
    report = replace(measured.report, artefact=str(weights))
    page = write_plots(replace(measured, report=report), job.output / PLOTS_FOLDER)
    tell(f"drawn, of the weights as they are written: {page}")


def _check_folder(job: Tune) -> None:
    there = (job.output / STATE_FILE).is_file()
    if there and not job.resume:
        raise OutputError(f"--output: {job.output} holds a run: add --resume to go on with it, or name another folder")
    if job.resume and not there:
        raise OutputError(f"--resume: expected a run in {job.output}, found none; drop --resume, or name its folder")


def _prepared(detector: Detector, options: QatOptions, material: Material, job: Tune, tell: Tell) -> Detector:
    """Return the detector as it will compute in INT8, with ranges calibrated on images that it is trained on."""
    hw, calibration = (job.imgsz, job.imgsz), CalibrationOptions(bits=job.choice.bits)
    ranges = initial_ranges(detector.eval(), material.calibration, hw, options.quantize, calibration)
    prepared = prepare(detector, ranges, options)
    tell(f"INT8: {len(prepared.tensors)} ranges to learn, begun with {ranges.method} on {ranges.images} images")
    return prepared


def _say_nothing(_line: str) -> None:
    """Leave it to the first process."""


class _Observer:
    """Writes the log and the best weights of a run, and shows how it goes on."""

    def __init__(self, job: Tune, weights: Path, extra: dict[str, str], tell: Tell, progress: Progress) -> None:
        self._job, self._weights, self._extra = job, weights, extra
        self._tell, self._progress = tell, progress
        self._log = RunLog(job.output)
        self._steps = 0
        self._trackers: list[Tracker] = []

    def started(self, step: int, steps: int) -> None:
        self._steps = steps
        self._log.started(step)
        asked = {"data": self._job.choice.data, "imgsz": self._job.imgsz, **self._job.options.decides_losses}
        self._trackers = opened_trackers(self._job.trackers, self._job.output, step, asked)
        if step:
            self._tell(f"resumed after step {step} of {steps}")

    def stepped(self, log: StepLog) -> None:
        self._log.stepped(log)
        losses = ", ".join(f"{name} {value:.3f}" for name, value in log.losses.items())
        self._progress(log.step, self._steps, losses)
        for tracker in self._trackers:
            tracker.add(log.step, losses_of(log))

    def measured(self, step: int, figures: dict[str, float], best: Detector | None) -> None:
        self._log.measured(step, figures)
        words = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self._tell(f"step {step}: {words}{'' if best is None else '; best so far'}")
        if isinstance(best, PreparedDetector):
            plain, ranges = convert(best)
            write_checkpoint(self._weights, plain, extra={**self._extra, RANGES_KEY: ranges.to_json()})
        elif best is not None:
            write_checkpoint(self._weights, best, half=self._job.half, extra=self._extra)
        write_atomically(self._job.output / CURVES_FILE, curves_png(self._job.output))
        for tracker in self._trackers:
            tracker.add(step, {f"accuracy/{name}": value for name, value in figures.items()})

    def stopped(self, step: int, best_step: int) -> None:
        patience = self._job.options.patience
        self._tell(f"stopped after step {step}: no better for {patience} epochs, since step {best_step}")

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()
