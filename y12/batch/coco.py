"""COCO's JSON of a run: a line an image from each part, put together at the end, a line at a time.

An image's id is its number among the inputs, from 1. Images that could not be read are in Parquet, and not here.
"""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from y12.batch.job import part_file
from y12.batch.listing import FOLDER, Listing
from y12.batch.rows import Done
from y12.batch.storage import Store

if TYPE_CHECKING:
    from y12.runtime.artefact.manifest import Manifest

__all__ = ["COCO", "coco_lines", "write_coco"]

COCO = "coco.json"


def coco_lines(done: Sequence[Done]) -> str:
    """Return a line for each image that could be read: it, and its annotations, whose ids are given at the end."""
    from y12.runtime.results.coco import annotations_from

    lines = []
    for each in done:
        if each.found is None:
            continue
        height, width = each.found.image_hw
        number = each.index + 1
        image = {"id": number, "file_name": each.source, "height": height, "width": width}
        annotations = annotations_from(each.found, number, range(1, len(each.found.names) + 1), 1)
        lines.append(json.dumps({"image": image, "annotations": annotations}) + "\n")
    return "".join(lines)


def write_coco(store: Store, listing: Listing, manifest: "Manifest") -> None:
    """Put the parts' lines together.

    Raises:
        InputError: a part's lines cannot be read.
        OutputError: the file cannot be written.
    """
    from y12.runtime.results.coco import categories_from

    points = None if manifest.kpt_shape is None else manifest.kpt_shape[0]
    head = {
        "info": {"description": f"found by {manifest.model or 'a model'}, run by y12"},
        "categories": categories_from(manifest.names, range(1, len(manifest.names) + 1), points),
    }
    with store.written(COCO) as stream:
        stream.write(json.dumps(head).encode()[:-1])
        for key, texts in (("images", _images(store, listing)), ("annotations", _annotations(store, listing))):
            stream.write(f', "{key}": ['.encode())
            for number, text in enumerate(texts):
                stream.write((f",\n{text}" if number else text).encode())
            stream.write(b"]")
        stream.write(b"}\n")


def _lines(store: Store, listing: Listing) -> Iterator[dict[str, Any]]:
    for part in range(listing.parts):
        for line in store.read(part_file(f"{FOLDER}/coco", part, "jsonl")).splitlines():
            yield json.loads(line)


def _images(store: Store, listing: Listing) -> Iterator[str]:
    return (json.dumps(line["image"]) for line in _lines(store, listing))


def _annotations(store: Store, listing: Listing) -> Iterator[str]:
    annotations = (annotation for line in _lines(store, listing) for annotation in line["annotations"])
    return (json.dumps(annotation | {"id": number}) for number, annotation in enumerate(annotations, 1))
