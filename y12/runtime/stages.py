"""The four stages of an inference, load, preprocess, execute and postprocess: what each does, and what it took."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from y12.runtime.results.detections import Detections

__all__ = ["Stages", "Timings", "ms_since"]


@dataclass(frozen=True)
class Stages:
    """What is done with one batch; each stage may run in a thread of its own.

    Attributes:
        load: an item to an image.
        preprocess: that to what the network takes, and where the one lies in the other.
        join: the end of preprocessing: one or more of these to the network's input.
        execute: the network; gives each image's outputs, for `postprocess`.
        postprocess: those of one image, and what `preprocess` said of it, to Detections.
        interrupt: ends what `execute` does in a thread, by its number, where that can be ended.
    """

    load: Callable[[Any], Any]
    preprocess: Callable[[Any], tuple[Any, Any]]
    join: Callable[[list[Any]], Any]
    execute: Callable[[Any], Sequence[Any]]
    postprocess: Callable[[Any, Any], Detections]
    interrupt: Callable[[int], None] = lambda thread: None


@dataclass(frozen=True)
class Timings:
    """What was spent per stage, in milliseconds of `time.perf_counter`: of the last call, over all of its images.

    Of a stream: on the last image; of what its batch spent as a whole, its share.
    """

    load_ms: float = 0.0
    preprocess_ms: float = 0.0
    execute_ms: float = 0.0
    postprocess_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """The sum of the stages; those of a stream overlap with other images' stages."""
        return sum(self.by_stage().values())

    def by_stage(self) -> dict[str, float]:
        """Return the milliseconds by the stage's name, in order."""
        return {
            "load": self.load_ms,
            "preprocess": self.preprocess_ms,
            "execute": self.execute_ms,
            "postprocess": self.postprocess_ms,
        }

    def __add__(self, other: "Timings") -> "Timings":
        return Timings(  # written out: `astuple` copies deeply, which takes longer than some stages
            self.load_ms + other.load_ms,
            self.preprocess_ms + other.preprocess_ms,
            self.execute_ms + other.execute_ms,
            self.postprocess_ms + other.postprocess_ms,
        )


def ms_since(began: float) -> float:
    """Return the milliseconds since a time of `perf_counter`."""
    return (perf_counter() - began) * 1e3
