"""What a training step costs: seconds and memory, the parts of a step beside each other in one run.

python benchmarks/train_step.py [--model yolov12n] [--imgsz 320] [--batch 8] [--threads 2] [--steps 12]
"""

import argparse
import resource
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import torch

from y12.exporter.model.detector import Detector
from y12.exporter.train.batch import Batch
from y12.exporter.train.examples.batches import Batches
from y12.exporter.train.examples.sources import ShapesSource
from y12.exporter.train.initial import NetworkChoice, network_from, starting_detector
from y12.exporter.train.loop import Course, StepLog, fabric_for, train
from y12.exporter.train.options import TuneOptions


class Times:
    """Keeps each step's seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def started(self, step: int, steps: int) -> None:
        """Return how many there will be."""
        print(f"{steps} steps", flush=True)

    def stepped(self, log: StepLog) -> None:
        """Keep a step's seconds."""
        self.seconds.append(log.seconds)

    def measured(self, step: int, figures: dict[str, float], best: Detector | None) -> None:
        """Nothing to do."""


class Timed(Batches):
    """Keeps how long each batch took to make."""

    def __init__(self, source: ShapesSource, batch: int) -> None:
        super().__init__(source, batch, 0)
        self.seconds: list[float] = []

    def __getitem__(self, step: int) -> Batch:
        """Make a batch."""
        started = perf_counter()
        batch = super().__getitem__(step)
        self.seconds.append(perf_counter() - started)
        return batch


def main() -> None:
    """Train some steps, and print what they cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="yolov12n")
    for name, default in (("imgsz", 320), ("batch", 8), ("threads", 2), ("steps", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    options = TuneOptions(epochs=chosen.steps, batch=chosen.batch, accelerator="cpu", validate_every=0)
    batches, times = Timed(ShapesSource(chosen.batch, chosen.imgsz), chosen.batch), Times()
    detector, _ = starting_detector(network_from(NetworkChoice(chosen.model)), batches.names, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        course = Course(batches, 1, lambda _: {"AP": 0.0})
        train(fabric_for(options), detector, course, options, Path(folder), times)
    step, batch = (statistics.median(values[2:]) for values in (times.seconds, batches.seconds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    shown = f"{chosen.model}, {chosen.imgsz} px, batch {chosen.batch}, {chosen.threads} threads"
    print(
        f"{shown}: {step:.2f} s a step (goal 2.5), of which the batch {batch:.2f}; peak memory {peak:.2f} GiB (goal 6)"
    )


if __name__ == "__main__":
    main()
