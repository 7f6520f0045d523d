"""The service without its addresses: the networks, the queue before them, and a request's way through both."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request

from y12.runtime.artefact.manifest import Manifest
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.images import Reading, image_from_bytes
from y12.runtime.preprocess.reduced import Image
from y12.runtime.session import Runtime
from y12.serve.asked import options_from
from y12.serve.batching import Batcher
from y12.serve.bodies import Bodies
from y12.serve.metrics import Metrics
from y12.serve.options import ServeOptions
from y12.serve.queue import Finish, Job, JobQueue
from y12.serve.refusals import bad

__all__ = ["Service"]

Source = bytes | NDArray[np.uint8]

_PIXEL = b"P6 1 1 255 \0\0\0"  # the smallest image that there is: of PPM


@dataclass(frozen=True)
class _Load:
    """One image of a request: encoded, or pixels."""

    source: Source
    name: str
    reading: Reading

    def __call__(self) -> Image:
        if isinstance(self.source, bytes):
            return self.reading.image_from_bytes(self.source, self.name)
        return self.reading.image(self.source)


class Service:
    """What answers requests.

    Args:
        name: of the model, in addresses.
        runtimes: one for each device; closed by whoever opened them.
        options: what is taken, and how much of it.
    """

    def __init__(self, name: str, runtimes: Sequence[Runtime], options: ServeOptions) -> None:
        self.name, self.options = name, options
        self._runtime = runtimes[0]
        self.own_options = self._runtime.resolved_options(self._runtime.options)
        self._queue = JobQueue(options.queue)
        self.metrics = Metrics(lambda: len(self._queue), lambda: self.problem is None)
        self._batcher = Batcher(runtimes, options, self._queue, self.metrics)
        self.bodies = Bodies(options.max_upload, options.max_buffered, options.upload_timeout_s)
        self.close = self._batcher.close

    def start(self) -> None:
        """Start what runs batches; the libraries that decode are loaded before the first request."""
        image_from_bytes(_PIXEL, "a pixel")
        self._batcher.start()

    @property
    def manifest(self) -> Manifest:
        """What the artefact says of itself."""
        return self._runtime.manifest

    @property
    def problem(self) -> str | None:
        """Why the network does not run; None where it does."""
        return self._batcher.problem

    def check_room(self) -> None:
        """Refuse what has no place, before its body is read.

        Raises:
            Refusal: the queue is full, nothing runs, or the service stops.
        """
        self._batcher.check_running()
        self._queue.check_room(1)

    def options_of(self, asked: dict[str, Any]) -> DetectOptions:
        """Return what to keep of the results.

        Raises:
            Refusal: something that cannot be asked for.
        """
        return options_from(asked, self._runtime) if asked else self.own_options

    async def answers(
        self,
        request: Request,
        sources: Sequence[Source],
        options: DetectOptions,
        finish: Finish,
        in_full: bool = False,
    ) -> list[Any]:
        """Return what `finish` makes of each image's results, in their order; `in_full`, it needs whole images.

        Raises:
            Refusal: there is no room for them, an image cannot be used, or the network failed.
            ClientDisconnect: the client left; what was not begun of its work is dropped.
        """
        if len(sources) > self.options.queue:
            raise bad(f"expected at most {self.options.queue} images in a request, found {len(sources)}")
        self._batcher.check_running()
        names = [f"image {i}" if len(sources) > 1 else "the image" for i in range(len(sources))]
        reading = self._runtime.reading
        reading = Reading(reading.bits) if in_full else reading
        loads = [_Load(*one, reading) for one in zip(sources, names, strict=True)]
        jobs = [Job(load, options, finish) for load in loads]
        self._queue.put(jobs)
        results = asyncio.gather(*(asyncio.wrap_future(job.answer) for job in jobs))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait((results, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not results.done():
                raise ClientDisconnect
            return await results
        finally:
            leaving.cancel()
            if not results.done() or results.exception() is not None:
                results.cancel()
                if dropped := self._queue.drop(jobs):
                    self.metrics.dropped(dropped)


async def _left(request: Request) -> None:
    """Wait until the client leaves; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
