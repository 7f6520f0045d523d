"""What y12-infer writes besides pictures: labels, crops, COCO's JSON; each takes picture after picture."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from y12.errors import InputError, OutputError, Y12Error
from y12.files import write_atomically
from y12.runtime.cli.common import say
from y12.runtime.cli.places import RunFolders, Stems, checked_file
from y12.runtime.cli.saving import Saver, write_jpeg
from y12.runtime.cli.tables import CountTable, ObjectTable

if TYPE_CHECKING:
    from y12.runtime.artefact.manifest import Manifest
    from y12.runtime.cli.sources import Frame, Source
    from y12.runtime.results.detections import Detections

__all__ = ["CocoFile", "CropFolder", "LabelFolder", "Places", "Taker", "opened_outputs"]

_MAX_ID = 1 << 53  # of an image, by its name: what every reader of JSON can hold


class Taker(Protocol):
    """An output.

    Attributes:
        place: the folder or file.
        count: of what was taken; where it is 0, nothing is written.
        needs_image: it looks at the picture.
        needs_masks: it draws the masks.
    """

    place: Path
    count: int
    needs_image: bool
    needs_masks: bool

    def take(self, frame: "Frame", found: "Detections") -> dict[str, Any]:
        """Take what was found in a picture, and give what the JSON says of it.

        Raises:
            InputError: the picture cannot be read, or is of a kind that cannot be written.
            OutputError: nothing can be written.
        """

    def close(self) -> None:
        """Write what is not written yet.

        Raises:
            OutputError: it cannot be.
        """


@dataclass(frozen=True)
class Places:
    """What is to be written, and where; None writes none.

    Attributes:
        pictures: a folder of annotated pictures.
        labels: a folder of YOLO label files.
        crops: a folder of folders of crops.
        coco: a file of COCO's JSON.
        counts: a CSV file, a column for each class.
        objects: a CSV file, a row for each object.
        exist_ok: write into folders that hold something.
        with_conf: labels have confidences.
        tolerance: in pixels, of outlines.
        as_results: COCO's results in place of a data set.
    """

    pictures: Path | None = None
    labels: Path | None = None
    crops: Path | None = None
    coco: Path | None = None
    counts: Path | None = None
    objects: Path | None = None
    exist_ok: bool = False
    with_conf: bool = False
    tolerance: float = 0.0
    as_results: bool = False


@contextmanager
def opened_outputs(places: Places, inputs: "Sequence[Source]", manifest: "Manifest") -> "Iterator[tuple[Taker, ...]]":
    """Make what is to be written; at the end, also by Ctrl-C, finish it and say where it is.

    Raises:
        InputError: an output is not one of this model's, or is an input.
        OutputError: it cannot be written.
    """
    takers = tuple(_takers(places, inputs, manifest))
    try:
        yield takers
    finally:
        failures: list[Y12Error] = []
        for taker in takers:
            try:
                taker.close()
            except Y12Error as error:
                failures.append(error)
            else:
                if taker.count:
                    say(f"saved to {taker.place}")
        if failures:
            raise failures[0]


def _takers(places: Places, inputs: "Sequence[Source]", manifest: "Manifest") -> "Iterator[Taker]":
    asked = {"--save-crop": places.crops, "--save-coco": places.coco, "--csv": places.counts}
    for option in (name for name, place in asked.items() if place is not None and manifest.task == "classify"):
        raise InputError(f"{option}: expected a model that finds objects, found a classifier, which finds none")
    files = [place.resolve() for place in (places.coco, places.counts, places.objects) if place is not None]
    if len(set(files)) < len(files):
        raise InputError(f"{files[0]}: expected a file of its own for each of --save-coco, --csv and --csv-objects")
    if places.coco is not None:
        yield CocoFile(checked_file(places.coco, "--save-coco", inputs), inputs, manifest, places)
    if places.counts is not None:
        yield CountTable(checked_file(places.counts, "--csv", inputs), manifest.names)
    if places.objects is not None:
        yield ObjectTable(checked_file(places.objects, "--csv-objects", inputs))
    folders, stems = RunFolders(places.exist_ok), Stems()
    makers: list[tuple[Path | None, Any]] = [
        (places.pictures, lambda place: Saver(place, inputs, folders)),
        (places.labels, lambda place: LabelFolder(folders.make(place), stems, places.with_conf, places.tolerance)),
        (places.crops, lambda place: CropFolder(folders.make(place), stems, inputs, manifest.names)),
    ]
    for place, make in sorted(makers, key=lambda maker: len(maker[0].parts) if maker[0] else 0):  # the outer ones first
        if place is not None:
            yield make(place)


class LabelFolder:
    """A YOLO label file for each picture: NAME.txt of an image, NAME_FRAME.txt of a video; empty without objects."""

    needs_image, needs_masks = False, True

    def __init__(self, place: Path, stems: Stems, with_conf: bool, tolerance: float) -> None:
        self.place, self.count = place, 0
        self._stems, self._with_conf, self._tolerance = stems, with_conf, tolerance

    def take(self, frame: "Frame", found: "Detections") -> dict[str, Any]:
        """Write the file of a picture."""
        path = self.place / f"{self._stems.of(frame.path, frame.number)}.txt"
        text = found.to_yolo(conf=self._with_conf, tolerance=self._tolerance)
        write_atomically(path, text.encode(), OutputError)
        self.count += 1
        return {"labels": str(path)}

    def close(self) -> None:
        """Do nothing: all is written."""


class CropFolder:
    """A picture of each object, CLASS/NAME_OBJECT.jpg; objects are counted as the JSON lists them, from 0."""

    needs_image, needs_masks = True, False

    def __init__(self, place: Path, stems: Stems, inputs: "Sequence[Source]", names: Sequence[str]) -> None:
        from y12.runtime.results.crops import folder_names

        self.place, self.count = place, 0
        self._stems, self._folders = stems, folder_names(names)
        self._inputs = {path.resolve() for path in inputs if isinstance(path, Path)}

    def take(self, frame: "Frame", found: "Detections") -> dict[str, Any]:
        """Write the objects of a picture."""
        from y12.runtime.results.crops import crops_of

        stem, paths = self._stems.of(frame.path, frame.number), []
        for i, (name, crop) in enumerate(zip(found.class_name, crops_of(found, frame.load_and_keep()), strict=True)):
            path = self.place / self._folders[name] / f"{stem}_{i}.jpg"
            if path.resolve() in self._inputs:
                raise InputError(f"{path}: is an input, which is not written over: choose another --save-crop")
            write_jpeg(path, crop)
            paths.append(str(path))
        self.count += len(paths)
        return {"crops": paths}

    def close(self) -> None:
        """Do nothing: all is written."""


class CocoFile:
    """COCO's JSON of all pictures, written at the end: a data set, or results.

    An image's id is the number that its file's name is, else the next that no file has. Its name begins at the folder
    that all images share. Categories count from 1, as COCO's do.
    """

    needs_image, needs_masks = False, True

    def __init__(self, place: Path, inputs: "Sequence[Source]", manifest: "Manifest", places: Places) -> None:
        self.place, self.count = place, 0
        self._manifest, self._tolerance, self._as_results = manifest, places.tolerance, places.as_results
        paths = [path for path in inputs if isinstance(path, Path)]
        self._base = os.path.commonpath([path.absolute().parent for path in paths]) if paths else ""
        self._category_ids = range(1, len(manifest.names) + 1)
        self._reserved = {_id_in(path) for path in paths}
        self._used: set[int] = set()
        self._next = 1
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def take(self, frame: "Frame", found: "Detections") -> dict[str, Any]:
        """Keep what was found in a picture; give its id."""
        from y12.runtime.results.coco import annotations_from

        height, width = found.image_hw
        image = {"id": self._id_of(frame), **self._name_of(frame), "height": height, "width": width}
        if self._as_results:
            results = found.to_coco(image["id"], self._category_ids)
            self._annotations += [result | {"file_name": image["file_name"]} for result in results]
        else:
            first = len(self._annotations) + 1
            self._annotations += annotations_from(found, image["id"], self._category_ids, first, self._tolerance)
        self._images.append(image)
        self.count += 1
        return {"image_id": image["id"]}

    def _id_of(self, frame: "Frame") -> int:
        own = _id_in(frame.path) if frame.number is None else None
        if own is None or own in self._used:
            while self._next in self._reserved or self._next in self._used:
                self._next += 1
            own = self._next
        self._used.add(own)
        return own

    def _name_of(self, frame: "Frame") -> dict[str, Any]:
        name = os.path.relpath(frame.path, self._base) if isinstance(frame.path, Path) else str(frame.path)
        if frame.number is None:
            return {"file_name": name}
        return {
            "file_name": f"{os.path.splitext(name)[0]}_{frame.number}.jpg",
            "video": name,
            "frame": frame.number,
        }

    def close(self) -> None:
        """Write the file."""
        from y12.runtime.results.coco import categories_from

        if not self.count:
            return
        content: Any = self._annotations
        if not self._as_results:
            kpt_shape = self._manifest.kpt_shape
            content = {
                "info": {"description": f"found by {self._manifest.model or 'a model'}, run by y12"},
                "images": self._images,
                "categories": categories_from(
                    self._manifest.names, self._category_ids, None if kpt_shape is None else kpt_shape[0]
                ),
                "annotations": self._annotations,
            }
        write_atomically(self.place, json.dumps(content).encode(), OutputError)


def _id_in(source: "Source") -> int | None:
    """Return the number that a file's name is, "000000000139.jpg" being 139."""
    stem = source.stem
    known = stem.isascii() and stem.isdecimal() and len(stem) < 17
    return int(stem) if known and int(stem) < _MAX_ID else None
