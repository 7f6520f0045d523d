"""An artefact over many images, with bounded memory: one at a time, or as many as its network needs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from y12.exporter.data.dataset import Sample
from y12.runtime.options import DetectOptions
from y12.runtime.results.detections import Detections
from y12.runtime.session import Runtime

__all__ = ["Inference", "Progress"]

Progress = Callable[[int, int], None]  # images done, images altogether


@dataclass
class Inference:
    """The artefact at work.

    Attributes:
        runtime: the opened artefact.
        options: its thresholds.
        progress: is told how many images are done.
        stages_ms: the time of each stage, added up.
    """

    runtime: Runtime
    options: DetectOptions
    progress: Progress | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)

    def over(self, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Detections]]:
        """Yield each image with what is found in it."""
        size = self.runtime.manifest.profile.batch.min
        for start in range(0, len(samples), size):
            chunk = samples[start : start + size]
            results = self.runtime.infer_batch([sample.path for sample in chunk], self.options)
            for stage, ms in self.runtime.timings.by_stage().items():
                self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + ms
            yield from zip(chunk, results, strict=True)
            if self.progress is not None:
                self.progress(start + len(chunk), len(samples))
