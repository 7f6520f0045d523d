"""A worker: it holds a network, and does one part after the other, from the list of its images to its files.

It reads the images itself, those of a store some ahead of the network, and not by Ray's readers: of those one file
that cannot be read ends the run, and where the workers hold all processors they never begin
(docs/decisions/0047-ray-data.md).
"""

import json
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from y12.batch.attempts import Attempts
from y12.batch.coco import coco_lines
from y12.batch.job import Job, part_file
from y12.batch.listing import FOLDER, Listing
from y12.batch.rows import Done, parquet_of, records_of, tally_of
from y12.batch.storage import Store, fetched, is_remote
from y12.errors import ArtefactError, ExecutorError, Y12Error
from y12.runtime.cli.infer_files import masks_ms
from y12.runtime.preprocess.images import MAX_FILE_BYTES, Reading
from y12.runtime.preprocess.reduced import Image
from y12.text import one_line, printable_json

if TYPE_CHECKING:
    from y12.runtime.session import Runtime
    from y12.runtime.stream import Outcome

__all__ = ["FAILED", "Worker", "kind_of"]

FAILED = "failed"  # of a tally: why the part could not be done
FETCHERS = 16  # files of a store on their way at a time: each takes as long as the store takes to answer
_GRAY = np.full((480, 640, 3), 114, np.uint8)


@dataclass(frozen=True)
class Item:
    """One image: its number among the run's inputs, where it is, and, of a store's, what is on its way."""

    index: int
    source: str
    content: Future[bytes] | None = None

    def load(self, reading: Reading) -> Image:
        """Return the image.

        Raises:
            InputError: it cannot be read.
        """
        if self.content is None:
            return reading.image(self.source)
        return reading.image_from_bytes(self.content.result(), self.source)


class Worker:
    """What Ray makes once a GPU, or a share of the processors, and hands a part at a time.

    Args:
        job: what is to be done with each image.
        listing: which images there are.
        store: where the files go.
        threads: how many the network may use on the processors.
    """

    def __init__(self, job: Job, listing: Listing, store: Store, threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._job, self._listing, self._store = job, listing, store
        self._runtime: Runtime | None = None
        self._fetchers = ThreadPoolExecutor(FETCHERS, "y12-batch-fetch")

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, Any]:
        """Do a part, and say how it went, also where it could not be done: what is raised comes back in Ray's words."""
        (part,) = batch["part"].tolist()
        try:
            tally = self.do(part)
        except Y12Error as error:
            tally = {FAILED: str(error)}
        except Exception as error:  # nobody expected it: where it comes from is in Ray's logs no longer
            tally = {FAILED: one_line(f"y12 did not expect {type(error).__name__} {error}")}
        return {"part": [part], "tally": [json.dumps(tally)]}

    def do(self, part: int) -> dict[str, Any]:
        """Do a part, and give its tally.

        Raises:
            Y12Error: not of an image, but of the artefact, the network or the place that is written to.
        """
        if self._runtime is None:
            self._runtime = _opened(self._job)
        names = self._listing.names(self._store, part)
        first = part * self._listing.part
        with Attempts(self._store, part) as attempts:
            items = [Item(first + i, name) for i, name in enumerate(names)]
            done = attempts.careful(items, self._alone) if attempts.is_careful else self._streamed(items)
            self._write(part, done)
        return tally_of(done)

    def _write(self, part: int, done: Sequence[Done]) -> None:
        """Write the files of a part; the one that says that it is done comes last."""
        job = self._job
        if job.as_json:
            lines = (json.dumps(record, ensure_ascii=False) for record in records_of(done, job.masks))
            self._store.write(
                part_file("jsonl", part, "jsonl"), printable_json("".join(f"{x}\n" for x in lines)).encode()
            )
        if job.as_coco:
            self._store.write(part_file(f"{FOLDER}/coco", part, "jsonl"), coco_lines(done).encode())
        about = {"artefact": job.sha256, "version": _version()}
        self._store.write(part_file("parquet", part, "parquet"), parquet_of(done, job.rows, about))

    def _streamed(self, items: Sequence[Item]) -> list[Done]:
        """Do a part; where the network fails at an image, and not at others, that image has failed."""
        done: list[Done] = []
        while len(done) < len(items):
            rest = items[len(done) :]
            try:
                with closing(self._outcomes(rest)) as outcomes:
                    for outcome in outcomes:
                        done.append(self._done(outcome))
            except ExecutorError:
                done.append(self._alone(items[len(done)]))
        return done

    def _outcomes(self, items: Sequence[Item]) -> "Generator[Outcome[Item], None, None]":
        ahead = self._fetched(items) if any(is_remote(item.source) for item in items) else iter(items)
        return self._run(ahead, self._job.batch)

    def _run(self, items: Iterable[Item], batch: int | None = None) -> "Generator[Outcome[Item], None, None]":
        assert self._runtime is not None
        reading = self._runtime.reading
        return self._runtime.outcomes(items, lambda item: item.load(reading), self._job.options, batch=batch)

    def _fetched(self, items: Sequence[Item]) -> Iterator[Item]:
        """Yield the images, those of a store with what they hold on its way."""
        rest = (self._begun(item) for item in items)
        waiting = deque(islice(rest, FETCHERS))
        while waiting:
            yield waiting.popleft()
            waiting.extend(islice(rest, 1))

    def _begun(self, item: Item) -> Item:
        if not is_remote(item.source):
            return item
        return Item(item.index, item.source, self._fetchers.submit(fetched, item.source, MAX_FILE_BYTES))

    def _alone(self, item: Item) -> Done:
        """Do one image by itself.

        Raises:
            ExecutorError: the network does not run on any.
        """
        assert self._runtime is not None
        try:
            with closing(self._run([self._begun(item)])) as outcomes:
                return self._done(next(outcomes))
        except ExecutorError as error:
            self._runtime.infer(_GRAY)
            return Done(item.index, item.source, error=str(error), kind="network")

    def _done(self, outcome: "Outcome[Item]") -> Done:
        item, found = outcome.item, outcome.result
        if isinstance(found, Exception):
            words = (
                str(found)
                if isinstance(found, Y12Error)
                else one_line(f"{item.source}: {type(found).__name__} {found}")
            )
            return Done(item.index, item.source, error=words, kind=kind_of(found))
        ms = outcome.timings.by_stage()
        if found.masks is not None:
            ms["masks"] = masks_ms(found) if self._job.masks or self._job.as_coco else 0.0
        runs = found.masks.coco_rle() if self._job.masks and found.masks is not None else None
        return Done(item.index, item.source, found, runs=runs, ms=ms)


def kind_of(error: BaseException) -> str:
    """Return in a word or two why an image could not be used, by what the error was raised from."""
    from PIL import UnidentifiedImageError

    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    for cause in causes:
        match cause:
            case FileNotFoundError():
                return "missing"
            case PermissionError():
                return "denied"
            case UnidentifiedImageError():
                return "not an image"
            case OSError() if cause.errno is not None or "AWS Error" in str(cause):
                return "denied" if "ACCESS_DENIED" in str(cause) else "unreadable"
            case MemoryError():
                return "memory"
    return "not decoded"


def _opened(job: Job) -> "Runtime":
    """Open the artefact, which is to be the one that the run was begun with.

    Raises:
        ArtefactError: it is not there, or is another.
    """
    from y12.runtime.artefact.opened import open_artefact
    from y12.runtime.session import Runtime

    artefact = open_artefact(job.artefact)
    if artefact.sha256() != job.sha256:
        raise ArtefactError(
            f"{job.artefact}: expected on each machine the artefact that the run was begun with, found another "
            f"(SHA-256 {artefact.sha256()[:12]}…)"
        )
    return Runtime(
        artefact,
        imgsz=job.imgsz,
        rect=job.rect,
        bits=job.bits,
        reduced_decode=job.reduced_decode,
        provider=job.provider,
        throughput=True,
        timeout=job.timeout,
    )


def _version() -> str:
    from importlib.metadata import version

    return version("y12")
