"""What is found in an image, as rows of Parquet: of images, or of objects. Each column's type is said, none inferred.

Rows of objects have one for an image that shows none, or could not be read, with nothing in the object's columns, so
that no image is without a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from y12.runtime.cli.infer_files import failure_of, record_of

if TYPE_CHECKING:
    from y12.runtime.results.detections import Detections

__all__ = ["FORMS", "Done", "parquet_of", "records_of", "schema_of", "tally_in", "tally_of"]

FORMS = ("images", "detections")
TALLY = b"y12.tally"


@dataclass(frozen=True)
class Done:
    """What became of one image.

    Attributes:
        index: its number among the run's inputs, from 0.
        source: its path or address.
        found: what it shows; None of one that could not be used.
        error: why it could not be.
        kind: of the error, in a word or two.
        runs: each object's mask as COCO's run lengths; None where there are none.
        ms: the milliseconds of each stage.
    """

    index: int
    source: str
    found: "Detections | None" = None
    error: str | None = None
    kind: str | None = None
    runs: list[dict[str, Any]] | None = None
    ms: Mapping[str, float] | None = None


def schema_of(form: str) -> Any:
    """Return the Arrow schema of a form: the same for every model, so that files of several runs go together."""
    import pyarrow as pa

    def all_of(kind: Any) -> Any:
        return pa.list_(kind) if form == "images" else kind

    box, oriented, point = (pa.list_(pa.float32(), size) for size in (4, 5, 3))
    mask = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.string())])
    own = ("boxes", "scores", "class_ids", "names", "masks", "keypoints", "xywhr")
    one = ("box", "score", "class_id", "name", "mask", "keypoints", "xywhr")
    kinds = (box, pa.float32(), pa.int32(), pa.string(), mask, pa.list_(point), oriented)
    objects = zip(own if form == "images" else one, map(all_of, kinds), strict=True)
    number = [] if form == "images" else [("object", pa.int32())]
    return pa.schema(
        [
            ("index", pa.int64()),
            ("path", pa.string()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("error", pa.string()),
            ("error_kind", pa.string()),
            ("truncated", pa.bool_()),
            *number,
            *objects,
        ]
    )


def parquet_of(done: Sequence[Done], form: str, about: Mapping[str, str]) -> bytes:
    """Return a Parquet file of these images.

    Args:
        done: what became of them.
        form: one of `FORMS`.
        about: what the file says of the run.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for each in done for row in (_image_rows if form == "images" else _object_rows)(each)]
    metadata = {**{f"y12.{key}": value for key, value in about.items()}, TALLY.decode(): _dumped(tally_of(done))}
    table = pa.Table.from_pylist(rows, schema=schema_of(form).with_metadata(metadata))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def tally_of(done: Sequence[Done]) -> dict[str, Any]:
    """Return how many images and objects there are, and errors by kind."""
    kinds = [each.kind for each in done if each.kind is not None]
    return {
        "images": len(done),
        "objects": sum(len(each.found) for each in done if each.found is not None and not each.found.whole_image),
        "errors": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
    }


def tally_in(file: Any) -> dict[str, Any]:
    """Return the tally that a file of Parquet holds; of an open file, only its end is read.

    Raises:
        ValueError: it holds none.
    """
    import json

    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file).metadata or {}
    if TALLY not in metadata:
        raise ValueError("it was not written by y12-batch")
    tally: dict[str, Any] = json.loads(metadata[TALLY])
    return tally


def records_of(done: Sequence[Done], masks: bool) -> list[dict[str, Any]]:
    """Return what y12-infer --json says of these images, with --masks rle where masks are asked for."""
    return [
        failure_of(each.source, each.error or "")
        if each.found is None
        else record_of(each.source, each.found, dict(each.ms or {}), "rle" if masks else None)
        for each in done
    ]


def _dumped(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _shared_columns(done: Done) -> dict[str, Any]:
    height, width = (None, None) if done.found is None else done.found.image_hw
    truncated = None if done.found is None else done.found.truncated
    path = done.source.encode(errors="backslashreplace").decode()  # a name on a disk need not be text
    row = {"index": done.index, "path": path, "height": height, "width": width, "truncated": truncated}
    return row | {"error": done.error, "error_kind": done.kind}


def _image_rows(done: Done) -> list[dict[str, Any]]:
    found = done.found
    if found is None:
        return [_shared_columns(done)]
    return [
        _shared_columns(done)
        | {
            "boxes": found.xyxy.tolist(),
            "scores": found.confidence.tolist(),
            "class_ids": found.class_id.tolist(),
            "names": found.class_name,
            "masks": done.runs,
            "keypoints": None if found.keypoints is None else found.keypoints.tolist(),
            "xywhr": None if found.xywhr is None else found.xywhr.tolist(),
        }
    ]


def _object_rows(done: Done) -> list[dict[str, Any]]:
    (image,) = _image_rows(done)
    shared = _shared_columns(done)
    columns = [(one, image[many]) for many, one in _ONE_OF.items() if image.get(many) is not None]
    count = 0 if done.found is None else len(done.found)
    return [shared | {"object": i, **{name: values[i] for name, values in columns}} for i in range(count)] or [shared]


_ONE_OF = {
    "boxes": "box",
    "scores": "score",
    "class_ids": "class_id",
    "names": "name",
    "masks": "mask",
    "keypoints": "keypoints",
    "xywhr": "xywhr",
}
