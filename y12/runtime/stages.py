"""The four stages of an inference, load, preprocess, execute and postprocess: one batch through them, and its times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, TypeVar

from y12.runtime.results.detections import Detections

__all__ = [
    "Batch",
    "BatchItem",
    "Executed",
    "Stages",
    "Timings",
    "detections_at_once",
    "execute",
    "ms_since",
    "postprocess",
    "prepare",
]

Item = TypeVar("Item")


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


@dataclass(frozen=True)
class BatchItem(Generic[Item]):
    """One item made to fit: its place in the batch and where the image lies in it; or the error that prevented that."""

    item: Item
    row: int
    frame: Any
    error: Exception | None
    timings: Timings


Executed = tuple[Sequence[Any], float]  # what the network gave for each image, and its milliseconds


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """A batch: its items, how many of them could be read, the network's input, and the milliseconds it took to join."""

    reads: list[BatchItem[Item]]
    count: int
    joined: Any
    join_ms: float


def detections_at_once(images: Sequence[Any], stages: Stages) -> tuple[list[Detections], Timings]:
    """Take one batch through all stages in the calling thread; give its Detections and what they took together.

    Raises:
        Exception: what an item, the network or its outputs raise; an item's before the network runs.
    """
    batch = prepare(images, stages)
    for read in batch.reads:
        if read.error is not None:
            raise read.error
    executed = execute(batch, stages)
    done = [postprocess(read, batch, executed, stages) for read in batch.reads]
    return [detections for detections, _ in done], sum((timings for _, timings in done), Timings())


def prepare(items: Sequence[Item], stages: Stages) -> Batch[Item]:
    """Read a batch's items and put their images together; what an item raises is kept with it."""
    reads: list[BatchItem[Item]] = []
    fitted: list[Any] = []
    for item in items:
        began = perf_counter()
        try:
            image = stages.load(item)
            load_ms = ms_since(began)
            image, frame = stages.preprocess(image)
        except Exception as error:  # whatever it is, it belongs to this item: it is raised where its result would be
            reads.append(BatchItem(item, -1, None, error, Timings(ms_since(began))))
        else:
            reads.append(BatchItem(item, len(fitted), frame, None, Timings(load_ms, ms_since(began) - load_ms)))
            fitted.append(image)
    began = perf_counter()
    joined = stages.join(fitted) if fitted else None
    return Batch(reads, len(fitted), joined, ms_since(began))


def execute(batch: Batch[Any], stages: Stages) -> Executed:
    """Run the network on what could be read of a batch."""
    began = perf_counter()
    results = stages.execute(batch.joined) if batch.count else ()
    return results, ms_since(began)


def postprocess(
    read: BatchItem[Any], batch: Batch[Any], executed: Executed, stages: Stages
) -> tuple[Detections, Timings]:
    """Turn the outputs of one image into Detections; of what its batch took as a whole, its share is added."""
    results, execute_ms = executed
    began = perf_counter()
    detections = stages.postprocess(results[read.row], read.frame)
    share = Timings(0.0, batch.join_ms / batch.count, execute_ms / batch.count, ms_since(began))
    return detections, read.timings + share
