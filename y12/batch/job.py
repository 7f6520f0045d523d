"""What a run is: the artefact, what is looked for and written; the same for all workers, and for who resumes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from y12.batch.listing import FOLDER, Listing
from y12.batch.storage import Store
from y12.errors import InputError
from y12.runtime.options import DetectOptions
from y12.text import shown

__all__ = ["RECORD", "Job", "Record", "part_file", "read_record", "write_record"]

RECORD = f"{FOLDER}/run.json"


@dataclass(frozen=True)
class Job:
    """What is done with each image.

    Attributes:
        artefact: the file, at the same place on each machine.
        sha256: of the file.
        options: what is kept of what is found.
        rows: one of `y12.batch.rows.FORMS`.
        as_json: write JSON lines too.
        as_coco: write COCO's JSON too.
        masks: write masks of a model that gives them.
        imgsz: the network's input; None takes the size it was made for.
        rect, bits, reduced_decode: as for `Runtime`.
        provider: as for `Runtime`.
        batch: images per run of the network; None takes the fewest that it takes.
        timeout: as for `Runtime`.
    """

    artefact: str
    sha256: str
    options: DetectOptions
    rows: str = "images"
    as_json: bool = False
    as_coco: bool = False
    masks: bool = False
    imgsz: tuple[int, int] | None = None
    rect: bool = False
    bits: int | None = None
    reduced_decode: bool = False
    provider: str = "auto"
    batch: int | None = None
    timeout: float | None = None

    @property
    def outcome(self) -> dict[str, Any]:
        """What decides what is written; where and how fast it is run does not."""
        values = json.loads(json.dumps(asdict(self)))
        return {name: value for name, value in values.items() if name not in ("artefact", "provider", "timeout")}


@dataclass(frozen=True)
class Record:
    """What an output folder says of its run.

    Attributes:
        sources: the arguments that the inputs came from.
        recursive: whether folders were searched to the bottom.
        listing: how the inputs are parted.
        outcome: `Job.outcome`.
    """

    sources: list[str]
    recursive: bool
    listing: Listing
    outcome: dict[str, Any]

    def check_same(self, job: Job, sources: list[str], recursive: bool, place: str) -> None:
        """Refuse to go on with another run than was begun.

        Raises:
            InputError: the artefact, an option or the sources are not those of the run.
        """
        if job.sha256 != self.outcome["sha256"]:
            was, now = self.outcome["sha256"][:12], job.sha256[:12]
            raise InputError(
                f"{job.artefact}: expected the artefact that {place} was begun with (SHA-256 {was}…), found another "
                f"({now}…): resume with that one, or begin anew in another --output"
            )
        wanted = {**self.outcome, "sources": self.sources, "recursive": self.recursive}
        found = {**job.outcome, "sources": sources, "recursive": recursive}
        for name in wanted:
            if wanted[name] != found[name]:
                raise InputError(
                    f"--resume: expected {name} as {place} was begun with ({shown(wanted[name], 100)}), found "
                    f"{shown(found[name], 100)}: give the same, or begin anew in another --output"
                )


def part_file(folder: str, part: int, suffix: str) -> str:
    """Return the name of a part's file."""
    return f"{folder}/part-{part:07d}.{suffix}"


def write_record(store: Store, record: Record) -> None:
    """Write down what is begun; from then on the run can be resumed.

    Raises:
        OutputError: it cannot be written.
    """
    store.write(RECORD, json.dumps({"schema": 1, "run": asdict(record)}, indent=1).encode())


def read_record(store: Store) -> Record | None:
    """Return what an output folder was begun with; None where no run has got so far.

    Raises:
        InputError: it cannot be read, or is another version's.
    """
    if Path(RECORD).name not in store.names(FOLDER):
        return None
    try:
        found = json.loads(store.read(RECORD))
        return Record(**{**found["run"], "listing": Listing(**found["run"]["listing"])})
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{store.path(RECORD)}: expected what a run of y12-batch has left, found another ({error})"
        ) from error
