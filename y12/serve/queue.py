"""The images that wait: so many and no more, in their order, until a batch is taken."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from time import monotonic
from typing import Any

from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.reduced import Image
from y12.runtime.results.detections import Detections
from y12.serve.refusals import Reason, busy

__all__ = ["Finish", "Found", "Job", "JobQueue"]

_NEW_SHARE = 0.2  # of the last batch, in the rate that Retry-After is told by


@dataclass(frozen=True)
class Found:
    """What became of one image.

    Attributes:
        detections: what is in it.
        image: itself, (h, w, 3) BGR, or reduced.
        ms: what each stage took; of what its batch took as a whole, its share.
    """

    detections: Detections
    image: Image
    ms: dict[str, float]


Finish = Callable[[Found], Any]


@dataclass(eq=False)
class Job:
    """One image on its way.

    Attributes:
        load: gives it as (h, w, 3) BGR, or reduced; what it raises is the job's alone.
        options: what to keep of what is found; one batch has the same.
        finish: turns what was found into what is answered, in the thread that runs the network.
        answer: what `finish` gave; cancelled by a client that leaves.
    """

    load: Callable[[], Image]
    options: DetectOptions
    finish: Finish
    answer: "Future[Any]" = field(default_factory=Future)
    queued_at: float = field(default_factory=monotonic)


class JobQueue:
    """A bounded queue of jobs.

    Args:
        limit: how many may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._seconds_each = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def check_room(self, count: int) -> None:
        """Refuse what has no room now, before it is read.

        Raises:
            Refusal: there is no room for so many, or none are taken any more.
        """
        if self._is_closed:
            raise busy(Reason.STOPPING, "expected a server that runs, found one that stops: ask another, or again")
        if len(self._jobs) + count > self._limit:
            found = f"{len(self._jobs)} of {self._limit} places taken"
            raise busy(Reason.QUEUE, f"expected room for {count} in the queue, found {found}", self.retry_after_s())

    def put(self, jobs: Sequence[Job]) -> None:
        """Take the jobs of one request, all or none.

        Raises:
            Refusal: there is no room for them.
        """
        with self._changed:
            self.check_room(len(jobs))
            self._jobs.extend(jobs)
            self._changed.notify(len(jobs))

    def drop(self, jobs: Sequence[Job]) -> int:
        """Forget jobs that nobody waits for, but for those that are under way; give how many that are."""
        dropped = 0
        with self._changed:
            for job in jobs:
                dropped += job.answer.cancel()
                if job in self._jobs:
                    self._jobs.remove(job)
        return dropped

    def take(self, most: int, max_wait_s: float) -> list[Job]:
        """Wait for jobs and take up to `most` with the same options, none once the queue is closed and empty.

        A batch is taken as it is when its first job has waited for `max_wait_s`.
        """
        with self._changed:
            taken: list[Job] = []
            while not taken:
                self._changed.wait_for(lambda: self._jobs or self._is_closed)
                if not self._jobs:
                    return []
                self._pop_into(taken)
            until = taken[0].queued_at + max_wait_s
            while len(taken) < most:
                if self._jobs:
                    if self._jobs[0].options != taken[0].options:
                        break
                    self._pop_into(taken)
                elif self._is_closed or (left := until - monotonic()) <= 0 or not self._changed.wait(left):
                    break
            return taken

    def _pop_into(self, taken: list[Job]) -> None:
        job = self._jobs.popleft()
        if job.answer.set_running_or_notify_cancel():
            taken.append(job)

    def clear(self) -> list[Job]:
        """Take all that wait, as nothing will run them."""
        with self._changed:
            jobs = [job for job in self._jobs if job.answer.set_running_or_notify_cancel()]
            self._jobs.clear()
        return jobs

    def close(self) -> None:
        """Take no more; what is there can still be taken out."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def learn(self, seconds_each: float) -> None:
        """Note how long an image took, for Retry-After."""
        before = self._seconds_each or seconds_each
        self._seconds_each = before + _NEW_SHARE * (seconds_each - before)

    def retry_after_s(self) -> int:
        """Return the whole seconds after which what waits now will be done."""
        return max(1, ceil(len(self._jobs) * self._seconds_each))
