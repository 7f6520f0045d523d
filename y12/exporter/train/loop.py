"""The training loop: batches in, a detector with averaged weights out; a killed run can go on where it was."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset

from y12.errors import OptionsError, Y12Error
from y12.exporter.model.detector import Detector
from y12.exporter.train.batch import Batch
from y12.exporter.train.network import TrainingNetwork
from y12.exporter.train.optimizer import Ema, learning_rate, optimizer_for
from y12.exporter.train.options import PRECISIONS, TuneOptions
from y12.exporter.train.state import STATE_FILE, RunState, load_state, save_state

__all__ = ["Batches", "Course", "Observer", "StepLog", "TrainingError", "Validate", "fabric_for", "train"]

_SAVE_SECONDS = 120.0  # between two saved states: what a kill costs at most


class TrainingError(Y12Error):
    """The losses grew beyond all numbers."""


class Batches(Protocol):
    """Batches by number; the same number gives the same batch, so that a resumed run sees what it would have seen."""

    def __getitem__(self, index: int) -> Batch:
        """Make the batch of that number, 0 and up without end."""


class Validate(Protocol):
    """Measures a detector in evaluation mode."""

    def __call__(self, detector: Detector) -> dict[str, float]:
        """Return figures by name, 0-1; the first one decides which weights are best."""


@dataclass(frozen=True)
class StepLog:
    """What one step did.

    Attributes:
        step: counted from 1.
        losses: weighted, by name.
        lr: the learning rate.
        seconds: of the step, its batch included.
    """

    step: int
    losses: dict[str, float]
    lr: float
    seconds: float


class Observer(Protocol):
    """Is told how a run goes on; it writes the log and shows progress."""

    def started(self, step: int, steps: int) -> None:
        """Take note that `step` of `steps` steps are done; what was logged of later ones is void."""

    def stepped(self, log: StepLog) -> None:
        """Take note of a step."""

    def measured(self, step: int, figures: dict[str, float], best: Detector | None) -> None:
        """Take note of an accuracy of the averaged weights; of the best so far it is given the detector, to keep."""

    def stopped(self, step: int, best_step: int) -> None:
        """Take note that the run ends early, as the accuracy has not been better since `best_step`."""


@dataclass(frozen=True)
class _Run:
    """What the loop works with."""

    fabric: Fabric
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema
    state: RunState
    steps: int


@dataclass(frozen=True)
class Course:
    """What a run goes through.

    Attributes:
        batches: each of as many images as a process takes in a step.
        steps_per_epoch: how many steps make an epoch.
        validate: measures the averaged weights.
        identity: what else the losses depend on, as JSON values; a run that goes on must have the same.
        measure_first: measure the weights that are begun with, as step 0.
    """

    batches: Batches
    steps_per_epoch: int
    validate: Validate
    identity: Mapping[str, Any] = field(default_factory=dict)
    measure_first: bool = False


def train(
    fabric: Fabric, detector: Detector, course: Course, options: TuneOptions, folder: Path, observer: Observer
) -> None:
    """Train a detector; if `folder` holds the state of such a run, go on from there.

    Args:
        fabric: of `fabric_for`.
        detector: what to begin with; it is trained in place.
        course: what it is shown.
        options: how.
        folder: where the run's state is kept.
        observer: is told of every step, in the first process only.

    Raises:
        CheckpointError: the folder's state is damaged or of another run.
        TrainingError: a loss is not finite.
    """
    run = _begun(fabric, detector, options, course.steps_per_epoch * options.epochs)
    if (folder / STATE_FILE).is_file():
        load_state(folder, run.state, {**options.decides_losses, **course.identity})
    if fabric.global_rank == 0:
        observer.started(run.state.step, run.steps)
    _loop(run, course, options, folder, observer)


def _loop(run: _Run, course: Course, options: TuneOptions, folder: Path, observer: Observer) -> None:
    chief = run.fabric.global_rank == 0
    identity = {**options.decides_losses, **course.identity}
    if chief and course.measure_first and run.state.step == 0:
        _measure(run, course.validate, observer)
    if _has_to_stop(run, course, options, observer):
        return  # it had stopped before, and goes on with more patience only
    saved = started = perf_counter()
    for batch in _loaded(run, course.batches, options):
        log = _step(run, batch, options, started)
        if chief:
            observer.stepped(log)  # before the state is saved: what the log has too much is dropped on resuming
        done = run.state.step == run.steps
        epoch, rest = divmod(run.state.step, course.steps_per_epoch)
        due = rest == 0 and options.validate_every > 0 and epoch % options.validate_every == 0
        if chief and (done or due):
            _measure(run, course.validate, observer)
        stop = due and _has_to_stop(run, course, options, observer)
        if chief and (done or stop or perf_counter() - saved > _SAVE_SECONDS):
            save_state(folder, run.state, identity)
            saved = perf_counter()
        if stop:
            return
        started = perf_counter()


def _has_to_stop(run: _Run, course: Course, options: TuneOptions, observer: Observer) -> bool:
    """Return, in all processes alike, whether the accuracy has not been better for as long as there is patience."""
    if not options.patience:
        return False
    state = run.state
    worse = state.step - state.best_step >= options.patience * course.steps_per_epoch and state.step < run.steps
    stop: bool = run.fabric.broadcast(worse)  # the first process alone measures
    if stop and run.fabric.global_rank == 0:
        observer.stopped(state.step, state.best_step)
    return stop


def fabric_for(options: TuneOptions) -> Fabric:
    """Return what runs the network on the devices asked for; with several, this process becomes the first of them.

    Raises:
        OptionsError: the machine has not what the options ask for, or the batch cannot be divided.
    """
    accelerator = options.accelerator
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise OptionsError("--device: expected a CUDA device, found none; use --device cpu")
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    available = torch.cuda.device_count() if accelerator == "cuda" else None
    devices = options.devices or available or 1
    if available is not None and devices > available:
        raise OptionsError(f"--devices: expected at most the {available} GPUs there are, found {devices}")
    precision = PRECISIONS[options.precision] or ("bf16-mixed" if accelerator == "cuda" else "32-true")
    fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    if options.batch % fabric.world_size:
        raise OptionsError(f"--batch: expected a multiple of the {fabric.world_size} devices, found {options.batch}")
    return fabric


def _begun(fabric: Fabric, detector: Detector, options: TuneOptions, steps: int) -> _Run:
    network = TrainingNetwork(detector, options.losses, options.freeze)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # left out of torch's annotation
    optimizer = optimizer_for(network, options.optimizer)
    wrapped, wrapped_optimizer = fabric.setup(network, optimizer)
    ema = Ema(detector, options.optimizer.ema)
    state = RunState(detector, ema.network, optimizer)
    return _Run(fabric, wrapped, wrapped_optimizer, ema, state, steps)


class _Numbered(Dataset[Batch]):
    """Batches as a torch data set, whose workers make them ahead."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, index: int) -> Batch:
        return self._batches[index]


def _loaded(run: _Run, batches: Batches, options: TuneOptions) -> Iterator[Batch]:
    """Yield the batches that are left to do, those of this process: with N of them, every Nth."""
    world, rank = run.fabric.world_size, run.fabric.global_rank
    numbers: Sequence[int] = range(run.state.step * world + rank, run.steps * world, world)
    loader: DataLoader[Batch] = DataLoader(
        _Numbered(batches), batch_size=None, sampler=numbers, num_workers=options.workers
    )
    for batch in loader:
        yield batch.to(run.fabric.device)


def _step(run: _Run, batch: Batch, options: TuneOptions, started: float) -> StepLog:
    state = run.state
    lr = learning_rate(state.step, run.steps, options.optimizer)
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    losses = run.network(batch)
    total = torch.stack(list(losses.values())).sum()
    run.fabric.backward(total)
    norm = run.fabric.clip_gradients(
        run.network, run.optimizer, max_norm=options.optimizer.clip, error_if_nonfinite=False
    )
    assert norm is not None
    values = {name: float(value.detach()) for name, value in losses.items()}
    if not (math.isfinite(sum(values.values())) and math.isfinite(float(norm))):
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise TrainingError(
            f"training: expected finite losses and gradients, found {shown} at step {state.step + 1}; lower --lr"
        )
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.ema.update(state.network, state.step)
    state.step += 1
    return StepLog(state.step, values, lr, perf_counter() - started)


def _measure(run: _Run, validate: Validate, observer: Observer) -> None:
    assert isinstance(run.ema.network, Detector)
    figures = validate(run.ema.network)
    first = next(iter(figures.values()))
    # Equal ones are not better: the earlier trained less. Weights that find nothing before any training are not kept.
    known = run.state.best if run.state.best is not None else -1.0 if run.state.step else 0.0
    best = first > known
    if best:
        run.state.best, run.state.best_step = first, run.state.step
    observer.measured(run.state.step, figures, run.ema.network if best else None)
