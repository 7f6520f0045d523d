"""Batches from images to Detections, as a stream whose stages overlap.

A stream's batches pass three places, each in the order of the images:

    reading threads    an image is decoded and made to fit, a batch becomes the network's input
    running threads    the network: one batch at a time, or on a GPU as many as it has workers
    the caller's       takes images from the iterable; turns the network's outputs into Detections

OpenCV, Pillow, numpy's loops, ONNX Runtime and TensorRT let other Python threads run meanwhile. The iterable is
read in the caller's thread on purpose: one that blocks (a camera) or that must stay in its thread can then neither
keep a stream from closing nor be read after it is closed.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep
from typing import Any, Generic, TypeVar

from y12.errors import ExecutorError
from y12.runtime.results.detections import Detections
from y12.runtime.stages import Batch, Executed, Stages, Timings, execute, postprocess, prepare

__all__ = ["AHEAD", "BEGUN", "Outcome", "Streams", "outcomes_streamed"]

AHEAD = 2  # batches: one in the network, one ready for it
_TOLD_AGAIN_S = 0.005  # a run that had not begun when it was told to stop does not know of it
READERS = max(1, min(4, (os.cpu_count() or 1) // 2))  # more only matter where the network is faster than the decoding

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Outcome(Generic[Item]):
    """What became of one item, and what it took: Detections, or the error that kept it from being read."""

    item: Item
    result: Detections | Exception
    timings: Timings


BEGUN: Outcome[Any] = Outcome(None, ExecutorError("nothing was run yet"), Timings())  # no outcome, but their beginning
_Started = tuple[Future[Batch[Item]], Future[Executed]]  # a batch on its way through the threads


def outcomes_streamed(
    items: Iterable[Item],
    stages: Stages,
    streams: "Streams",
    batch: int,
    ahead: int,
    runners: int = 1,
    announced: bool = False,
) -> Generator[Outcome[Item], None, None]:
    """Take `items` through all stages, at most `ahead` batches of `batch` beyond the one whose outcomes are given.

    The network runs up to `runners` batches at a time. With `announced`, `BEGUN` comes first, as soon as the first
    batches are on their way. An item that cannot be read gives its error in its place, and the others follow. An
    exception of the iterable or of the network is raised after the outcomes of what came before it.

    Raises:
        ExecutorError: the runtime that `streams` belongs to was closed meanwhile; or what `stages.execute` raises.
    """
    source = _Source(items, batch)
    started: deque[_Started[Item]] = deque()
    with streams.threads(runners) as threads:
        while True:
            while len(started) <= ahead and (chunk := source.next_batch()):
                started.append(threads.start(chunk, stages))
            if announced:
                announced = False
                yield BEGUN
            if not started:
                break
            for outcome in _outcomes(started.popleft(), stages):
                yield outcome
                streams.check_open()
                threads.check_own()
    if source.error is not None:
        raise source.error


def _outcomes(started: _Started[Item], stages: Stages) -> Iterator[Outcome[Item]]:
    """Wait for a batch and give its outcomes one by one; the network's error comes where its first result would."""
    batch = _result(started[0])
    for read in batch.reads:
        if read.error is not None:
            yield Outcome(read.item, read.error, read.timings)
        else:
            yield Outcome(read.item, *postprocess(read, batch, _result(started[1]), stages))


class _Source(Generic[Item]):
    """Batches of an iterable; its exception is kept until what came before it is done."""

    def __init__(self, items: Iterable[Item], size: int) -> None:
        self._iterator = iter(items)
        self._size = size
        self._ended = False
        self.error: Exception | None = None

    def next_batch(self) -> list[Item]:
        """Take the next items; fewer at the end, and then none."""
        taken: list[Item] = []
        while not self._ended and len(taken) < self._size:
            try:
                taken.append(next(self._iterator))
            except StopIteration:
                self._ended = True
            except Exception as error:
                self._ended, self.error = True, error
        return taken


class _Threads:
    """The threads of one stream; they start with its first batches, and wait without turning."""

    def __init__(self, runners: int) -> None:
        self._readers = ThreadPoolExecutor(READERS, "y12-stream-read")
        self._runners = ThreadPoolExecutor(runners, "y12-stream-run")
        self._stopped = False
        self._running: set[int] = set()  # the threads in which the network runs
        self._interrupt: Callable[[int], None] = lambda thread: None
        self._is_inherited = False

    def check_own(self) -> None:
        """Refuse to wait for threads that are not in this process.

        Raises:
            ExecutorError: it was forked from the one that opened the stream.
        """
        if self._is_inherited:
            raise ExecutorError(
                "expected a stream of this process, found one that was opened before a fork: open another"
            )

    def after_fork(self) -> None:
        """Leave the threads to the process that this one was forked from."""
        self._is_inherited = True

    def start(self, items: Sequence[Item], stages: Stages) -> _Started[Item]:
        """Send a batch on its way."""
        try:
            self._interrupt = stages.interrupt
            prepared = self._readers.submit(prepare, items, stages)
            return prepared, self._runners.submit(self._run, prepared, stages)
        except RuntimeError as error:
            if self._stopped:  # by Runtime.close in another thread
                raise _closed() from error
            raise

    def _run(self, prepared: "Future[Batch[Item]]", stages: Stages) -> Executed:
        thread = threading.get_ident()
        self._running.add(thread)  # first: `stop` looks there after it has said that it stops
        try:
            batch = prepared.result()
            if self._stopped:
                raise _closed()
            return execute(batch, stages)
        finally:
            self._running.discard(thread)

    def stop(self) -> None:
        """Drop what has not begun, stop what has, and end the threads."""
        self._stopped = True
        if self._is_inherited:
            return
        for pool in (self._runners, self._readers):
            pool.shutdown(wait=False, cancel_futures=True)
        while running := tuple(self._running):
            for thread in running:
                self._interrupt(thread)
            sleep(_TOLD_AGAIN_S)
        for pool in (self._runners, self._readers):
            pool.shutdown()


class Streams:
    """The open streams of one runtime, so that closing it stops them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[_Threads] = set()
        self._closed = False

    @contextmanager
    def threads(self, runners: int) -> Iterator[_Threads]:
        """Return a stream its threads, and end them with the block, however it is left."""
        threads = _Threads(runners)
        with self._lock:
            self.check_open()
            self._open.add(threads)
        try:
            yield threads
        finally:
            with self._lock:
                self._open.discard(threads)
            threads.stop()

    def check_open(self) -> None:
        """Refuse to go on after `close`.

        Raises:
            ExecutorError: the runtime is closed.
        """
        if self._closed:
            raise _closed()

    def close(self) -> None:
        """Stop all streams; whoever reads one further meets an ExecutorError."""
        with self._lock:
            self._closed = True
            threads = list(self._open)
        for each in threads:
            each.stop()

    def after_fork(self) -> None:
        """Leave the open ones to the process that this one was forked from."""
        self._lock = threading.Lock()
        for each in self._open:
            each.after_fork()
        self._open = set()


def _result(future: "Future[Done]") -> Done:
    """Wait for what a thread does."""
    try:
        return future.result()
    except CancelledError as error:  # by Runtime.close: a stream that closes itself waits for nothing any more
        raise _closed() from error


def _closed() -> ExecutorError:
    return ExecutorError(
        "expected an open runtime, found one that was closed before its stream was read to the end: read, or close, "
        "the stream first"
    )
