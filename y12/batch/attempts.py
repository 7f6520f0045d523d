"""Notes of a part that is under way, for the worker that has it again: an image that ends its worker is found and told.

A worker that is killed leaves its note behind. Who finds notes of two deaths does the part image by image, and notes
each before it begins; the image at which a worker has then died twice is not tried again. A worker may be killed for
other reasons, but hardly so often at one image.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self, TypeVar

from y12.batch.job import part_file
from y12.batch.listing import FOLDER
from y12.batch.rows import Done
from y12.batch.storage import Store
from y12.errors import InputError

__all__ = ["Attempts"]

DEATHS = 2  # after which a part is done with care; and at one image, after which it is left
KILLED = "killed"


class _Image(Protocol):
    @property
    def index(self) -> int: ...
    @property
    def source(self) -> str: ...


Image = TypeVar("Image", bound=_Image)


@dataclass(frozen=True)
class _Note:
    """What is noted: workers that died in the part, the image that is under way, and the deaths at each."""

    deaths: int = 0
    at: int | None = None
    died_at: dict[str, int] = field(default_factory=dict)

    def after_death(self) -> "_Note":
        if self.at is None:
            return replace(self, deaths=self.deaths + 1)
        died_at = {**self.died_at, str(self.at): self.died_at.get(str(self.at), 0) + 1}
        return _Note(self.deaths + 1, None, died_at)


class Attempts:
    """The note of one part, which is removed when the part is left alive.

    Args:
        store: the run's folder.
        part: which part.
    """

    def __init__(self, store: Store, part: int) -> None:
        self._store, self._name = store, part_file(f"{FOLDER}/under-way", part, "json")
        self._note = _Note()

    def __enter__(self) -> Self:
        left = self._left()
        self._note = _Note() if left is None else left.after_death()
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.remove(self._name)

    @property
    def is_careful(self) -> bool:
        """Whether the part is to be done image by image."""
        return self._note.deaths >= DEATHS

    def careful(self, images: Sequence[Image], do: Callable[[Image], Done]) -> list[Done]:
        """Do images one by one, each noted before; one that has ended its worker twice is told to have done so."""
        done = []
        for image in images:
            deaths = self._note.died_at.get(str(image.index), 0)
            if deaths >= DEATHS:
                words = f"{image.source}: its worker was killed {deaths} times while it had this image: out of memory?"
                done.append(Done(image.index, image.source, error=words, kind=KILLED))
                continue
            self._note = replace(self._note, at=image.index)
            self._write()
            done.append(do(image))
        return done

    def _write(self) -> None:
        self._store.write(self._name, json.dumps(asdict(self._note)).encode())

    def _left(self) -> _Note | None:
        try:
            return _Note(**json.loads(self._store.read(self._name)))
        except (InputError, ValueError, TypeError):  # there is none
            return None
