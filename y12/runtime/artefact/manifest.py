"""The manifest: what an artefact says of itself, so that `Runtime(path)` needs no other argument."""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from dataclasses import fields as dataclass_fields
from typing import Any, Self

from y12.errors import ArtefactError, InputError
from y12.runtime.artefact import fields
from y12.runtime.artefact.nms_settings import NmsSettings, nms_settings_from
from y12.runtime.artefact.recipe import Recipe
from y12.runtime.thresholds import ConfidenceTable
from y12.text import one_line

SCHEMA = 1
INPUT_NAME = "images"  # of the graph's one input
ONNX_KEY = "y12"  # the metadata_props entry of an .onnx that holds the manifest as JSON
NAME_LIMIT = 4096  # TensorRT refuses longer network names
NAME_PREFIX = "y12:"  # a network's name that carries a manifest: this, then base64 of zlib of JSON
MAX_JSON_BYTES = 4 << 20  # bounds what a stranger's file can make us inflate

TASKS = ("detect", "segment", "pose", "obb", "classify", "multitask")
LOCALISATIONS = ("distances", "heatmap", "anchors")
PRECISIONS = ("fp32", "fp16", "int8")
TARGETS = ("trt", "cpu")  # the form that TensorRT fuses, or the one that ONNX Runtime computes fastest on a CPU
MAX_KEYPOINTS = 1024
MAX_SIDE = 65536  # of any axis of the input
_MAX_LEVELS = 8
_REQUIRED = ("task", "names", "strides", "profile")
_TEXTS = ("task", "precision", "producer", "model", "source", "source_sha256", "licence", "localisation", "target")


@dataclass(frozen=True)
class AxisRange:
    """The sizes one input axis accepts; `opt` is what the engine is tuned for."""

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max <= MAX_SIDE:
            raise ArtefactError(
                f"an axis must satisfy 1 <= min <= opt <= max <= {MAX_SIDE}, found {self.min}, {self.opt}, {self.max}"
            )

    @property
    def is_fixed(self) -> bool:
        """True where the axis has one size only."""
        return self.min == self.max


@dataclass(frozen=True)
class InputProfile:
    """The shapes the graph input `images` (B, 3, H, W) accepts."""

    batch: AxisRange
    height: AxisRange
    width: AxisRange

    def __post_init__(self) -> None:
        fields.check_input_size(self.batch.min, *self.opt_hw)

    @property
    def opt_hw(self) -> tuple[int, int]:
        """The (height, width) the artefact was made for."""
        return self.height.opt, self.width.opt

    @property
    def is_fixed(self) -> bool:
        """True where the input has one shape only."""
        return self.batch.is_fixed and self.height.is_fixed and self.width.is_fixed


@dataclass(frozen=True)
class Manifest:
    """What an artefact is and how to feed it.

    Attributes:
        task: one of `TASKS`.
        names: the class names, by class id.
        strides: the strides of the detection levels, in pixels; H and W are multiples of the largest.
        profile: the input shapes.
        precision: one of `PRECISIONS`; what most of the network computes in.
        producer: the program that wrote the artefact, with its version.
        model: the architecture, such as "yolov12n".
        source: the checkpoint's file name, and `source_sha256` its hash; empty where the weights were seeded.
        engine: for an engine, what built it and where it runs: `builder`, `version`, `gpus`. Empty for ONNX.
        licence: what the user has to know about the weights' licence.
        kpt_shape: for keypoints, (K, D): K points of x, y and, where D is 3, visibility; None where there are none.
        nms: how the graph picks objects; None where it gives raw predictions.
        thresholds: which confidences keep the precision and the recall of the model it was made of; None where that
            was not measured.
        localisation: how the raw predictions tell objects, one of `LOCALISATIONS`: "distances", every anchor point has
            a box and its scores; "heatmap", the same, and only the peaks of each level's scores count; "anchors", with
            a row of objectness before the scores, by which they are to be multiplied.
        target: what the graph is written for, one of `TARGETS`.
        recipe: what it was made with; None of an artefact that y12 did not make, or an older one.
    """

    task: str
    names: tuple[str, ...]
    strides: tuple[int, ...]
    profile: InputProfile
    precision: str = "fp32"
    producer: str = ""
    model: str = ""
    source: str = ""
    source_sha256: str = ""
    engine: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    kpt_shape: tuple[int, int] | None = None
    nms: NmsSettings | None = None
    thresholds: ConfidenceTable | None = None
    localisation: str = LOCALISATIONS[0]
    target: str = TARGETS[0]
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ArtefactError(f"manifest: task must be one of {', '.join(TASKS)}, found {self.task!r}")
        if self.precision not in PRECISIONS:
            raise ArtefactError(f"manifest: precision must be one of {', '.join(PRECISIONS)}, found {self.precision!r}")
        if self.target not in TARGETS:
            raise ArtefactError(f"manifest: target must be one of {', '.join(TARGETS)}, found {self.target!r:.80}")
        if not self.names or not all(isinstance(name, str) for name in self.names):
            raise ArtefactError(f"manifest: names must be one or more strings, found {self.names!r:.80}")
        if self.task != "classify" and (not self.strides or any(s < 1 for s in self.strides)):
            raise ArtefactError(f"manifest: strides must be positive, found {self.strides}")
        if self.task == "classify" and self.thresholds is not None:
            raise ArtefactError("manifest: expected no thresholds for a classifier, found a table of them")
        if self.localisation not in LOCALISATIONS[: None if self.task in ("detect", "segment") else 1]:
            raise ArtefactError(
                f"manifest: localisation must be one of {', '.join(LOCALISATIONS)}, and the first for tasks other than "
                f"detect and segment, found {self.localisation!r:.80} for {self.task}"
            )
        self._check_keypoints()

    def _check_keypoints(self) -> None:
        if self.kpt_shape is None:
            if self.task == "pose":
                raise ArtefactError("manifest: expected kpt_shape for the task pose, found none")
            return
        points, values = self.kpt_shape
        if self.task not in ("pose", "multitask") or not 1 <= points <= MAX_KEYPOINTS or values not in (2, 3):
            raise ArtefactError(
                f"manifest: expected kpt_shape as 1 to {MAX_KEYPOINTS} points of 2 or 3 values for pose or multitask, "
                f"found {self.kpt_shape} for {self.task}"
            )

    @property
    def of_predictions(self) -> Self:
        """The manifest of the same network before anything chooses among its predictions."""
        return replace(self, nms=None)

    @property
    def output(self) -> str:
        """Be "end2end" where the graph gives the best rows, of which none has to be suppressed; else "raw"."""
        return "end2end" if self.nms is not None and self.nms.is_end_to_end else "raw"

    @property
    def is_for_cpu(self) -> bool:
        """Whether it is written for a CPU, where ONNX Runtime computes what is quantised in integers."""
        return self.target == "cpu"

    @property
    def max_stride(self) -> int:
        """The number that H and W must be multiples of."""
        return max(self.strides, default=1)

    def to_json(self, indent: int | None = None) -> str:
        """Return the manifest as JSON text."""
        data = asdict(self)
        if self.thresholds is None:
            del data["thresholds"]  # an older y12 reads the manifest too, unless it needs to know of this
        if self.localisation == LOCALISATIONS[0]:
            del data["localisation"]  # the same
        if self.target == TARGETS[0]:
            del data["target"]  # the same
        del data["recipe"]
        if self.recipe is not None:
            data["recipe"] = self.recipe.to_data()
        if self.nms is not None:
            del data["nms"]["options"]["keep"]  # always None
        return json.dumps({"schema": SCHEMA, **data}, indent=indent, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ArtefactError: the text is no manifest, is too large, or contradicts itself.
        """
        if len(text) > MAX_JSON_BYTES:
            raise ArtefactError(f"manifest: expected at most {MAX_JSON_BYTES} characters, found {len(text)}")
        try:
            data = json.loads(text)
            schema = data.pop("schema", None) if isinstance(data, dict) else None
            if type(schema) is not int or schema != SCHEMA:
                raise ArtefactError(f"manifest: expected schema {SCHEMA}; made by another version of y12? Export again")
            return cls(**_checked_fields(data))
        except (ValueError, RecursionError, InputError) as error:
            raise ArtefactError(f"manifest: not readable ({type(error).__name__}: {one_line(str(error))})") from error

    def to_network_name(self) -> str:
        """Pack the manifest into a TensorRT network's name, so that the plan describes itself.

        Of a recipe that does not fit, its hash is there; the file beside the plan and the .onnx have the whole.

        Raises:
            ArtefactError: it does not fit into the 4,096 characters TensorRT allows.
        """
        packed = self._packed()
        if len(packed) > NAME_LIMIT and self.recipe is not None:
            packed = replace(self, recipe=self.recipe.as_digest)._packed()
        if len(packed) > NAME_LIMIT:
            raise ArtefactError(
                f"manifest: expected at most {NAME_LIMIT} characters once packed, found {len(packed)}: "
                f"{len(self.names)} class names are too long for an engine's name"
            )
        return packed

    def _packed(self) -> str:
        return NAME_PREFIX + base64.b64encode(zlib.compress(self.to_json().encode(), level=9)).decode()

    @classmethod
    def from_network_name(cls, name: str) -> Self | None:
        """Read a network's name; None where it carries no y12 manifest.

        Raises:
            ArtefactError: it carries one that is damaged.
        """
        if not name.startswith(NAME_PREFIX):
            return None
        inflate = zlib.decompressobj()
        try:
            raw = inflate.decompress(base64.b64decode(name[len(NAME_PREFIX) :], validate=True), MAX_JSON_BYTES)
            return cls.from_json(raw.decode())
        except (ValueError, zlib.error) as error:
            raise ArtefactError(f"the manifest in the engine's name is damaged ({error}): export again") from error


def _checked_fields(data: dict[str, Any]) -> dict[str, Any]:
    """Turn parsed JSON into Manifest's arguments; each field's type and range is checked before anything is made of it.

    Raises:
        ArtefactError: a field is missing, unknown or of another type; it is named.
    """
    names = [one.name for one in dataclass_fields(Manifest)]
    fields.mapping(data, "its fields", _REQUIRED, names)
    texts = {key: fields.text(data[key], key) for key in _TEXTS if key in data}
    strides = fields.listed(data["strides"], "strides", 0, _MAX_LEVELS)
    profile = fields.mapping(data["profile"], "profile", ("batch", "height", "width"))
    return {
        **texts,
        "names": fields.class_names(data["names"]),
        "strides": tuple(fields.whole(stride, "each of strides", 1, MAX_SIDE) for stride in strides),
        "profile": InputProfile(**{axis: _axis(sizes, f"profile.{axis}") for axis, sizes in profile.items()}),
        "engine": fields.texts_by_text(data.get("engine", {}), "engine"),
        "kpt_shape": _kpt_shape(data.get("kpt_shape")),
        "nms": nms_settings_from(data.get("nms")),
        "thresholds": fields.confidence_table(data.get("thresholds")),
        "recipe": Recipe.from_data(data.get("recipe")),
    }


def _axis(value: object, field: str) -> AxisRange:
    sizes = fields.mapping(value, field, ("min", "opt", "max"))
    return AxisRange(**{key: fields.whole(size, f"{field}.{key}", 1, MAX_SIDE) for key, size in sizes.items()})


def _kpt_shape(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    points, values = fields.listed(value, "kpt_shape", 2, 2)
    return fields.whole(points, "kpt_shape", 1, MAX_KEYPOINTS), fields.whole(values, "kpt_shape", 2, 3)
