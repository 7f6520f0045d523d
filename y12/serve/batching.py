"""The threads that run the network: each takes a batch from the queue, runs it, and answers image by image.

What is wrong with one image is that image's alone. A network that fails is tried on a gray image: where that fails too
it is the network, health says no, and it is tried again each second; where it does not, each image is run alone.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter

import numpy as np

from y12.errors import InputError, Y12Error
from y12.runtime.cli.common import say
from y12.runtime.preprocess.images import MAX_PIXELS
from y12.runtime.preprocess.reduced import Image
from y12.runtime.session import MAX_CHUNK, Runtime
from y12.runtime.stages import ms_since
from y12.serve.metrics import Metrics
from y12.serve.options import ServeOptions
from y12.serve.queue import Found, Job, JobQueue
from y12.serve.refusals import Reason, Refusal, bad, busy, failed

__all__ = ["Batcher", "check_network"]

Loaded = tuple[Job, Image, float]  # what is to be run, decoded, and the milliseconds that took

_GRAY = np.full((480, 640, 3), 114, np.uint8)
_TRIED_AGAIN_S = 1.0
_ENDING_S = 10.0


@dataclass
class _Worker:
    """One batching thread, and why its network does not run; None where it does."""

    runtime: Runtime
    thread: threading.Thread | None = None
    problem: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether it takes batches."""
        return self.problem is None and (self.thread is None or self.thread.is_alive())


class Batcher:
    """All batching threads.

    Args:
        runtimes: one for each device; closed by whoever opened them.
        options: how many threads each has, and how long a batch is waited for.
        queue: where the images come from.
        metrics: where it is told what they took.
    """

    def __init__(self, runtimes: Sequence[Runtime], options: ServeOptions, queue: JobQueue, metrics: Metrics) -> None:
        self._workers = [_Worker(runtime) for runtime in runtimes for _ in range(options.workers)]
        self._max_wait_s, self._queue, self._metrics = options.max_wait_s, queue, metrics
        batch = runtimes[0].manifest.profile.batch
        self._most = max(1, min(batch.max, MAX_CHUNK))
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the threads."""
        for number, worker in enumerate(self._workers):
            worker.thread = threading.Thread(target=self._work, args=(worker,), name=f"y12-serve-{number}", daemon=True)
            worker.thread.start()

    @property
    def problem(self) -> str | None:
        """Why the network of one of the threads does not run; None where all do."""
        if all(worker.is_sound for worker in self._workers):
            return None
        return next((worker.problem for worker in self._workers if worker.problem), "a thread of the service ended")

    def check_running(self) -> None:
        """Refuse what nothing would run.

        Raises:
            Refusal: no thread's network runs.
        """
        if not any(worker.is_sound for worker in self._workers):
            raise _not_running(self.problem)

    def close(self) -> None:
        """Take no more, answer what waits, and end the threads."""
        self._queue.close()
        self._stopping.set()
        until = monotonic() + _ENDING_S
        for worker in self._workers:
            if worker.thread is not None:
                worker.thread.join(max(0.0, until - monotonic()))

    def _work(self, worker: _Worker) -> None:
        while jobs := self._queue.take(self._most, self._max_wait_s):
            began = monotonic()
            for job in jobs:
                self._metrics.stage("queue", began - job.queued_at)
            count = len(jobs)
            for group in self._loaded(jobs):
                self._run(worker, group)
            jobs.clear()  # what they hold is not kept until the next ones come
            self._queue.learn((monotonic() - began) / count / len(self._workers))
            while worker.problem is not None and not self._stopping.wait(_TRIED_AGAIN_S):
                self._try_again(worker)

    def _loaded(self, jobs: Sequence[Job]) -> Iterator[list[Loaded]]:
        """Decode a batch, and give it in parts where its pixels are too many to be held at a time."""
        loaded: list[Loaded] = []
        pixels = 0
        for job in jobs:
            began = perf_counter()
            try:
                image = job.load()
            except Exception as error:  # whatever it is, it belongs to this image
                _fail(job, error)
                continue
            loaded.append((job, image, ms_since(began)))
            pixels += image.nbytes // 3
            if pixels > MAX_PIXELS // 2:
                yield loaded
                loaded, pixels = [], 0
        if loaded:
            yield loaded

    def _run(self, worker: _Worker, group: list[Loaded]) -> None:
        """Run the network on images that are decoded, and answer each."""
        if worker.problem is not None:  # since an earlier part of the batch
            for job, _, _ in group:
                _fail(job, _not_running(worker.problem))
            return
        try:
            found = worker.runtime.infer_batch([image for _, image, _ in group], group[0][0].options)
        except Exception as error:
            self._run_failed(worker, group, error)
            return
        ms = worker.runtime.timings.by_stage() | {"load": sum(load_ms for _, _, load_ms in group)}
        self._metrics.batch(len(group), ms)
        began = perf_counter()
        for (job, image, load_ms), detections in zip(group, found, strict=True):
            share = {stage: total / len(group) for stage, total in ms.items()} | {"load": load_ms}
            try:
                job.answer.set_result(job.finish(Found(detections, image, share)))
            except Exception as error:
                _fail(job, error)
        self._metrics.stage("answer", perf_counter() - began)

    def _run_failed(self, worker: _Worker, group: list[Loaded], error: Exception) -> None:
        """Find out whether it was the network or one image, and answer."""
        if not isinstance(error, InputError) and (problem := check_network(worker.runtime)):
            worker.problem = problem
            say(f"error: the network does not run any more, and health says so: {problem}")
            lost = [job for job, _, _ in group]
            if not any(other.is_sound for other in self._workers):
                lost += self._queue.clear()
            for job in lost:
                _fail(job, _not_running(problem))
        elif len(group) == 1:
            _fail(group[0][0], error if isinstance(error, InputError) else failed(_one_line(error)))
        else:
            for one in group:
                self._run(worker, [one])

    def _try_again(self, worker: _Worker) -> None:
        worker.problem = check_network(worker.runtime)
        if worker.problem is None:
            say("the network runs again")


def check_network(runtime: Runtime) -> str | None:
    """Run the network on a gray image, and say what is wrong with it; None where nothing is."""
    try:
        runtime.infer(_GRAY)
    except Exception as error:
        return _one_line(error)
    return None


def _one_line(error: Exception) -> str:
    return str(error) if isinstance(error, Y12Error) else f"{type(error).__name__} {error}"


def _not_running(problem: str | None) -> Refusal:
    return busy(Reason.NETWORK, f"expected a network that runs, found one that does not: {problem}", 5)


def _fail(job: Job, error: Exception) -> None:
    """Answer with an error: a client's own is told, what nobody expected goes to the log."""
    if isinstance(error, InputError):
        error = bad(str(error), Reason.BAD_IMAGE)
    elif isinstance(error, MemoryError):
        error = busy(Reason.MEMORY, "expected enough memory for this image, found too little: ask again, or send less")
    elif not isinstance(error, Refusal):
        say(f"error: an image could not be answered: {_one_line(error)}")
        error = Refusal(500, Reason.UNEXPECTED, f"y12 did not expect {type(error).__name__}: the log says more")
    job.answer.set_exception(error)
