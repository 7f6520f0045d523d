"""A run of y12-batch from the arguments to the summary: what is to be done is written down, done, and counted."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from y12.batch.cluster import Cluster
from y12.batch.coco import write_coco
from y12.batch.job import Job, Record, part_file, read_record, write_record
from y12.batch.listing import Listing, write_listing
from y12.batch.rounds import done_by_ray
from y12.batch.rows import tally_in
from y12.batch.sources import names_from
from y12.batch.storage import Store, file_system, is_remote
from y12.errors import InputError, OutputError
from y12.runtime.cli.common import put, say
from y12.runtime.cli.progress import Progress

if TYPE_CHECKING:
    from y12.runtime.artefact.manifest import Manifest

__all__ = ["EXIT_ALL_FAILED", "Asked", "run"]

EXIT_ALL_FAILED = 3
SUMMARY = "summary.json"
FEW = 2000  # images that one process has done by the time Ray has started, or little later
_READERS = 16


@dataclass
class Counts:
    """What is done so far."""

    images: int = 0
    objects: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, tally: dict[str, Any]) -> None:
        """Count a part."""
        self.images += tally["images"]
        self.objects += tally["objects"]
        self.errors.update(tally["errors"])


@dataclass(frozen=True)
class Asked:
    """Where the images are, and where what is found goes.

    Attributes:
        sources: the arguments.
        recursive: search folders to the bottom.
        output: the folder.
        resume: go on with the run that it holds.
    """

    sources: list[str]
    recursive: bool
    output: str
    resume: bool


@dataclass
class Took:
    """How long the run took, and what came after the first part: the rate, without the start of Ray.

    Attributes:
        begun: when it began, by `monotonic`.
        first: when its first part was done.
        last: when its last one was.
        images: that were done in this run.
        later: of those, the ones after the first part.
    """

    begun: float
    first: float | None = None
    last: float | None = None
    images: int = 0
    later: int = 0

    def note(self, images: int) -> None:
        """Take note of a part that is done."""
        self.last = monotonic()
        self.images += images
        if self.first is None:
            self.first = self.last
        else:
            self.later += images

    @property
    def seconds(self) -> float:
        """From the beginning to the last part."""
        return (self.last or monotonic()) - self.begun

    @property
    def start_s(self) -> float:
        """From the beginning to the first part."""
        return (self.first or self.begun) - self.begun

    @property
    def rate(self) -> float:
        """Images a second from the first part to the last."""
        seconds = self.seconds - self.start_s
        return self.later / seconds if seconds > 0 else 0.0


def run(asked: Asked, job: Job, manifest: "Manifest", cluster: Cluster) -> int:
    """Do what was asked, and give the exit code.

    Raises:
        Y12Error: it is refused, or could not be done to its end.
    """
    store, counts = Store(asked.output), Counts()
    listing = _listing(asked, job, store)
    done = _done(store, listing, counts)
    before = counts.images
    say(f"{listing.count} images in {listing.parts} parts" + (f", {len(done)} of them done" if done else ""))
    if cluster.address is None and 0 < listing.count - before < FEW:
        say(f"note: for {listing.count - before} images y12-infer is done sooner: Ray takes 15 to 30 s to start")
    parts, took = [part for part in range(listing.parts) if part not in done], Took(monotonic())
    if parts:
        with Progress("y12-batch", "images") as progress:

            def tell(part: int, tally: dict[str, Any]) -> None:
                counts.add(tally)
                progress(counts.images, listing.count)
                took.note(tally["images"])

            done_by_ray(cluster, job, listing, store, parts, tell)
    if counts.images != listing.count:
        raise OutputError(f"{store.address}: expected {listing.count} images to be done, found {counts.images}")
    if job.as_coco:
        write_coco(store, listing, manifest)
    _summary(store, listing, counts, took)
    return EXIT_ALL_FAILED if counts.errors.total() == listing.count else 0


def _listing(asked: Asked, job: Job, store: Store) -> Listing:
    """Return the inputs: written down now, or, of a run that is resumed, as they were.

    Raises:
        InputError: the output folder is in use, or holds another run; or there are no inputs.
    """
    record = read_record(store)
    if asked.resume and record is not None:
        record.check_same(job, asked.sources, asked.recursive, asked.output)
        return record.listing
    if record is not None:
        raise InputError(
            f"{asked.output}: expected a new or empty folder, found a run that was begun there: --resume goes on with "
            "it, another --output begins anew"
        )
    if store.names() - {"_y12"}:  # without a record that holds no more than a part of a list
        raise InputError(
            f"{asked.output}: expected a new or empty folder, found one that holds something: choose another"
        )
    listing = write_listing(store, names_from(asked.sources, asked.recursive, say))
    write_record(store, Record(asked.sources, asked.recursive, listing, job.outcome))
    return listing


def _done(store: Store, listing: Listing, counts: Counts) -> set[int]:
    """Return the parts that have their file, and count what is in them."""
    there = store.names("parquet")
    done = {part for part in range(listing.parts) if part_file("parquet", part, "parquet").partition("/")[2] in there}

    def tally(part: int) -> dict[str, Any]:
        place = store.path(part_file("parquet", part, "parquet"))
        system, path = file_system(place)
        try:
            with system.open_input_file(path) as file:
                return tally_in(file)
        except (OSError, ValueError) as error:
            raise InputError(f"{place}: expected a part of the run, found another file ({error}): remove it") from error

    with ThreadPoolExecutor(_READERS if is_remote(store.address) else 1) as pool:
        for found in pool.map(tally, sorted(done)):
            counts.add(found)
    return done


def _summary(store: Store, listing: Listing, counts: Counts, took: Took) -> None:
    seconds, start_s, rate = took.seconds, took.start_s, took.rate
    summary = {
        "images": listing.count,
        "objects": counts.objects,
        "errors": counts.errors.total(),
        "errors_by_kind": dict(counts.errors.most_common()),
        "images_now": took.images,
        "seconds": round(seconds, 3),
        "start_s": round(start_s, 3),
        "images_per_s": round(rate, 3),
    }
    store.write(SUMMARY, json.dumps(summary, indent=1).encode())
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.errors.most_common())
    put(
        f"images       {listing.count}" + (f", {took.images} of them now" if took.images != listing.count else ""),
        f"objects      {counts.objects}",
        f"errors       {counts.errors.total()}" + (f" ({kinds})" if kinds else ""),
        *(
            [f"took         {seconds:.1f} s; {start_s:.1f} s to the first part, then {rate:.1f} images a second"]
            * bool(took.images)
        ),
        f"wrote        {store.path('parquet')}, {listing.parts} files",
    )
