"""Manifests from the metadata that Ultralytics' exports carry, so that existing artefacts run unchanged.

An .onnx has them as text entries in Python's notation (`names` = "{0: 'person', …}"), an engine as JSON in
front of the plan. Only literals are read; nothing is evaluated.
"""

from collections.abc import Mapping

from y12.errors import ArtefactError
from y12.runtime.artefact import fields
from y12.runtime.artefact.manifest import TASKS, AxisRange, InputProfile, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings, end_to_end
from y12.runtime.options import MAX_DETECTIONS, DetectOptions
from y12.text import shown

MAX_LITERAL = 1 << 20  # characters; bounds what a stranger's file can make us parse
MAX_FREE_SIDE = 8192  # a free height or width accepts up to this
MAX_FREE_BATCH = 1024

_LITERALS = ("names", "stride", "imgsz", "batch", "args", "kpt_shape")  # all other entries are texts
_BY_BITS = {8: "int8", 16: "fp16"}  # `quantize` of the exporter's arguments

Shape = tuple[int | None, ...]


def is_foreign_metadata(metadata: Mapping[str, object]) -> bool:
    """Return whether the entries that describe a detector are there."""
    return all(key in metadata for key in ("names", "stride", "task"))


def manifest_from_metadata(metadata: Mapping[str, object], input_shape: Shape | None = None) -> Manifest:
    """Build a manifest from foreign metadata.

    Args:
        metadata: `names`, `stride`, `task`, for keypoints `kpt_shape`, and usually `imgsz`, `batch`, `args`,
            `version`, `license`, `description`.
        input_shape: the network's input (B, 3, H, W) where known, None for a free axis; it overrules the
            metadata.

    Raises:
        ArtefactError: an entry is missing, too long, or not what it should be.
    """
    values = {key: _literal(key, metadata[key]) for key in _LITERALS if key in metadata}
    try:
        stride = _whole("stride", values["stride"])
        task = fields.text(metadata["task"], "task")
        if task not in TASKS:
            raise ArtefactError(f"metadata: expected a task of {', '.join(TASKS)}, found {task!r:.60}")
        arguments = values.get("args")
        arguments = arguments if isinstance(arguments, dict) else {}
        return Manifest(
            task=task,
            names=_names(values["names"]),
            strides=(stride,),
            profile=_profile(values, stride, input_shape),
            precision=_precision(arguments),
            producer=f"Ultralytics {fields.text(metadata.get('version', ''), 'version')}".strip(),
            model=fields.text(metadata.get("description", ""), "description"),
            licence=fields.text(metadata.get("license", ""), "license"),
            kpt_shape=_kpt_shape(values.get("kpt_shape")),
            nms=_nms(metadata.get("end2end"), arguments),
        )
    except KeyError as error:
        raise ArtefactError(f"metadata: expected an entry {error}, found none") from error


def _literal(key: str, value: object) -> object:
    """Read a text in Python's notation; one that is no literal stays a text."""
    if not isinstance(value, str):
        return value
    if len(value) > MAX_LITERAL:
        raise ArtefactError(f"metadata: expected at most {MAX_LITERAL} characters in {key!r:.60}, found {len(value)}")
    if not value.startswith(("{", "[", "(")) and not value.isdigit():
        return value
    import ast  # y12's own artefacts do without it

    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ArtefactError(f"metadata: the entry {key!r:.60} is not readable ({type(error).__name__})") from error


def _names(value: object) -> tuple[str, ...]:
    """Return the class names in order from a list or a dict by class id (whose keys JSON turns to text)."""
    if isinstance(value, list | tuple):
        return fields.class_names(list(value))
    if isinstance(value, dict) and len(value) <= fields.MAX_CLASSES and all(type(key) in (str, int) for key in value):
        by_id = {str(key): name for key, name in value.items() if isinstance(key, str) or 0 <= key < len(value)}
        if len(by_id) == len(value) and all(str(i) in by_id for i in range(len(by_id))):
            return fields.class_names([by_id[str(i)] for i in range(len(by_id))])
    raise ArtefactError(f"metadata: expected names as a list or as a dict with ids from 0, found {shown(value)}")


def _kpt_shape(value: object) -> tuple[int, int] | None:
    """Read kpt_shape: [points, values a point]; the manifest checks that it fits the task."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ArtefactError(f"metadata: expected kpt_shape as two numbers such as [17, 3], found {value!r:.60}")
    return _whole("kpt_shape", value[0]), _whole("kpt_shape", value[1])


def _profile(values: Mapping[str, object], stride: int, input_shape: Shape | None) -> InputProfile:
    batch = _whole("batch", values.get("batch", 1))
    height, width = _size(values.get("imgsz", 640))
    shape = input_shape or (batch, 3, height, width)
    if len(shape) != 4 or shape[1] not in (3, None):
        raise ArtefactError(f"expected a network input (B, 3, H, W), found {shape}")
    return InputProfile(
        batch=_axis(shape[0], AxisRange(1, batch, max(batch, MAX_FREE_BATCH))),
        height=_axis(shape[2], AxisRange(min(stride, height), height, max(height, MAX_FREE_SIDE))),
        width=_axis(shape[3], AxisRange(min(stride, width), width, max(width, MAX_FREE_SIDE))),
    )


def _axis(size: int | None, free: AxisRange) -> AxisRange:
    return free if size is None else AxisRange(size, size, size)


def _size(value: object) -> tuple[int, int]:
    """Read imgsz: a number, or [height, width]."""
    sizes = value if isinstance(value, list | tuple) else [value]
    if len(sizes) not in (1, 2):
        raise ArtefactError(f"metadata: expected imgsz as one or two numbers, found {value!r:.60}")
    return _whole("imgsz", sizes[0]), _whole("imgsz", sizes[-1])


def _precision(arguments: Mapping[object, object]) -> str:
    """Return the precision that was asked for: by bits, or by older exporters' flags."""
    bits = arguments.get("quantize")
    if type(bits) is int:
        return _BY_BITS.get(bits, "fp32")
    if arguments.get("int8") is True:
        return "int8"
    return "fp16" if arguments.get("half") is True else "fp32"


def _nms(ends: object, arguments: Mapping[object, object]) -> NmsSettings | None:
    """Return how rows of objects were asked for; None of raw predictions. How many there are is not said."""
    if ends is True or ends == "True":
        return end_to_end(MAX_DETECTIONS)
    if arguments.get("nms") is True:
        return NmsSettings("rows", MAX_DETECTIONS, DetectOptions(conf=0.0, max_det=MAX_DETECTIONS))
    return None


def _whole(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_FREE_SIDE:
        raise ArtefactError(
            f"metadata: expected {key} as a whole number from 1 to {MAX_FREE_SIDE}, found {value!r:.60}"
        )
    return value
