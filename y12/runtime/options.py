"""What a user may choose of an inference, refused at construction: thresholds, and where an engine runs."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from y12.errors import InputError
from y12.runtime.thresholds import check_keep
from y12.text import NAME, shown, visible

MAX_DETECTIONS = 30_000
MAX_CONTEXTS = 64


@dataclass(frozen=True)
class GpuOptions:
    """Where and how an engine runs.

    Attributes:
        device: which GPU, as CUDA counts those that CUDA_VISIBLE_DEVICES leaves.
        contexts: workers, each with a stream, memory and network contexts of its own: as many threads can infer at
            the same time. With two, the copies of one batch overlap with the network's work on another.
        cuda_graph: replay captured graphs; False launches each kernel by itself, for profilers and for engines that
            cannot be captured.

    Raises:
        InputError: a value is out of range.
    """

    device: int = 0
    contexts: int = 2
    cuda_graph: bool = True

    def __post_init__(self) -> None:
        if self.device < 0:
            raise InputError(f"device: expected 0 or more, found {self.device}")
        if not 1 <= self.contexts <= MAX_CONTEXTS:
            raise InputError(f"contexts: expected 1 to {MAX_CONTEXTS}, found {self.contexts}")


@dataclass(frozen=True)
class DetectOptions:
    """What to keep of a network's output.

    Attributes:
        conf: keep boxes whose score is above this, 0-1.
        iou: of two boxes of one class whose intersection over union is above this, 0-1, keep the better.
        max_det: keep at most this many boxes per image.
        classes: keep these class ids only; None keeps all.
        agnostic: let boxes suppress each other across classes.
        multi_label: a box may carry several labels: each class above `conf` makes a candidate of its own, as
            COCO's evaluation counts; otherwise a box has its best class only.
        keep: "precision" or "recall": `conf` is meant as for the model that the artefact was made of; take the
            confidence that keeps its precision or its recall, by the table in the artefact. None takes `conf` as
            it is.

    Raises:
        InputError: a value is out of range.
    """

    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    classes: tuple[int, ...] | None = None
    agnostic: bool = False
    multi_label: bool = False
    keep: str | None = None

    def __post_init__(self) -> None:
        for name in ("conf", "iou"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(f"{name}: expected a number from 0 to 1, found {value!r}")
        if not is_whole(self.max_det) or not 1 <= self.max_det <= MAX_DETECTIONS:
            raise InputError(f"max_det: expected a whole number from 1 to {MAX_DETECTIONS}, found {self.max_det!r}")
        if self.keep is not None:
            check_keep(self.keep)
        if self.classes is None:
            return
        if not isinstance(self.classes, tuple) or not self.classes or not all(map(is_whole, self.classes)):
            raise InputError(f"classes: expected None or a tuple of one or more class ids, found {self.classes!r}")
        if min(self.classes) < 0:
            raise InputError(f"classes: expected ids of 0 or more, found {min(self.classes)}")

    def check_classes(self, count: int) -> None:
        """Refuse class ids that a model with `count` classes does not have.

        Raises:
            InputError: there is one.
        """
        if self.classes is not None and max(self.classes) >= count:
            raise InputError(f"classes: expected ids of 0 to {count - 1}, found {max(self.classes)}")


class Changes(TypedDict, total=False):
    """Some of the options, for one call; classes also by name."""

    conf: float
    iou: float
    max_det: int
    classes: str | Iterable[str | int] | None
    agnostic: bool
    multi_label: bool
    keep: str | None


def changed(options: DetectOptions, names: Sequence[str], changes: Changes) -> DetectOptions:
    """Return `options` with what a call says itself; `names` are the model's classes.

    Raises:
        InputError: a value is out of range, or there is no such option or class; the nearest is told.
    """
    if not changes:
        return options
    known = Changes.__annotations__
    for name in changes:
        if name not in known:
            raise InputError(f"expected options of {', '.join(known)}, found {shown(name)}{_near(name, known)}")
    values = dict(changes)
    if changes.get("classes") is not None:
        values["classes"] = class_ids_from(changes["classes"], names)
    return replace(options, **values)  # type: ignore[arg-type]  # checked when it is made


def class_words(text: str) -> list[int | str]:
    """Return what a list in a text names, such as "0,person": ids as numbers, names as they are."""
    words = [word.strip() for word in text.split(",")]
    return [int(word) if word.removeprefix("-").isdecimal() else word for word in words]


def class_ids_from(classes: str | Iterable[str | int] | None, names: Sequence[str]) -> tuple[int, ...]:
    """Return the ids of classes that are given by name or id; a name that several have gives all of theirs.

    Raises:
        InputError: no class has a name or id; the nearest names are told.
    """
    if isinstance(classes, str):
        classes = (classes,)
    if not isinstance(classes, Iterable):
        raise InputError(f"classes: expected names or ids, as in ['person', 2], found {shown(classes)}")
    ids: dict[int, None] = {}
    unknown: list[str] = []
    for wanted in classes:
        if isinstance(wanted, str):
            same = [i for i, name in enumerate(names) if name == wanted]
            ids |= dict.fromkeys(same)
            unknown += [] if same else [shown(wanted) + _near(wanted, names)]
        else:
            ids[_class_id(wanted, len(names))] = None
    if unknown:
        has = ", ".join(visible(name, NAME) for name in names[:5]) + (", …" if len(names) > 5 else "")
        raise InputError(f"classes: expected names of the model's {len(names)} ({has}), found {', '.join(unknown)}")
    return tuple(ids)


def _class_id(wanted: object, count: int) -> int:
    """Return a class id, of numpy too, as an int."""
    try:
        found = -1 if isinstance(wanted, bool) else operator.index(wanted)  # type: ignore[arg-type]  # it asks
    except TypeError:
        found = -1
    if not 0 <= found < count:
        raise InputError(f"classes: expected names, or ids of 0 to {count - 1}, found {shown(wanted)}")
    return found


def _near(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the nearest of the known names, whatever its case; "" where none is near."""
    from difflib import get_close_matches  # takes a while to load: only where there is something to say

    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word[:NAME].lower(), by_lower, n=1)
    return f" (did you mean {shown(by_lower[close[0]])}?)" if close else ""


def is_whole(value: object) -> bool:
    """Return whether a value is an int and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)
