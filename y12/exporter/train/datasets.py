"""Data for a network: what it is trained on and what it is measured on, checked before the first step."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from y12.errors import DatasetError, OptionsError
from y12.exporter.data.dataset import Dataset
from y12.exporter.data.image_lists import evenly
from y12.exporter.data.open import labelled_dataset
from y12.exporter.evaluate.classification import ClassTree, class_tree
from y12.exporter.model.rows import ModelSpec
from y12.exporter.train.examples.batches import Batches
from y12.exporter.train.examples.class_folders import ClassSource, class_folders
from y12.exporter.train.examples.options import AugmentOptions, DataOptions
from y12.exporter.train.examples.sources import ShapesSource, Source, UserSource
from y12.exporter.train.examples.user import training_data
from y12.exporter.train.loop import Course
from y12.exporter.train.options import TuneOptions
from y12.exporter.train.scenes.write import INSTANCES, write_shapes
from y12.exporter.train.validate import Validation

__all__ = ["SHAPES", "DataChoice", "Material", "material_for"]

SHAPES = "shapes"  # in the place of a file: scenes made by code
SCENES_PER_EPOCH = 1600
_DRAWN = 128  # scenes to measure on, and to calibrate on; training cannot have their seeds
_DRAWN_SEEDS = {"held-out": 2**31 - 1, "calibration": 2**31 + 1}
_CALIBRATION_IMAGES = 128
_PLAIN_SHARE = 0.1  # of the epochs, the last ones, show whole images, as inference does (YOLOX, arXiv 2107.08430)


@dataclass(frozen=True)
class DataChoice:
    """The data that were asked for.

    Attributes:
        data: a data.yaml, whose train and val are taken; a COCO JSON; a classifier's folder with train/ and val/, each
            with a folder for each class; or `SHAPES`.
        val: a file or folder of the same kinds to measure on; needed beside a COCO JSON.
        images: where a COCO JSON's file names start; None looks beside it.
        augment: how images are varied.
        strict: refuse labels of nothing, which are otherwise left out and told.
        bits: how many bits 16-bit images hold; None goes by each file, else takes all.
    """

    data: Path
    val: Path | None = None
    images: Path | None = None
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    strict: bool = False
    bits: int | None = None


@dataclass(frozen=True)
class Material:
    """What a run works on.

    Attributes:
        names: the classes, by id.
        course: the batches, and what measures.
        validation: what measures, to be asked for more than figures.
        calibration: images that stand for those trained on.
        notes: what the user has to know of the data.
    """

    names: tuple[str, ...]
    course: Course
    validation: Validation
    calibration: tuple[Path, ...]
    notes: tuple[str, ...]


def material_for(
    spec: ModelSpec, choice: DataChoice, imgsz: int, options: TuneOptions, folder: Path, processes: int
) -> Material:
    """Read the data, or draw what is measured on.

    Args:
        spec: the network, whose task says which labels are needed.
        choice: which data.
        imgsz: side of the network's input, in pixels.
        options: the batch, the epochs and the seed count.
        folder: the run's; drawn scenes are kept in it.
        processes: among which a batch is divided.

    Raises:
        DatasetError: labels or images are wrong, or do not tell what the network predicts.
        OptionsError: an option does not fit the data.
    """
    if imgsz % max(spec.strides, default=32):
        raise OptionsError(f"--imgsz: expected a multiple of {max(spec.strides)}, found {imgsz}")
    if str(choice.data) == SHAPES:
        made = _drawn(spec, choice, imgsz, folder)
    else:
        read = _read_classes if spec.task == "classify" else _read
        made = read(spec, choice, imgsz, options)
    _check_fit(spec, made.source, choice.data)
    batches = Batches(made.source, options.batch // processes, options.seed)
    steps = -(-len(made.source) // options.batch)
    measured = f"trained on {len(made.source)} images an epoch, measured on {len(made.labels.samples)}"
    identity = {"model": spec.name, "data": str(choice.data), "imgsz": imgsz, "augment": asdict(choice.augment)}
    if choice.bits is not None:
        identity["bits"] = choice.bits
    validation = Validation(made.labels, imgsz, choice.bits)
    course = Course(batches, steps, validation, identity)
    return Material(made.source.names, course, validation, made.calibration, (*made.source.notes, measured))


@dataclass(frozen=True)
class _Made:
    source: Source
    labels: Dataset | ClassTree
    calibration: tuple[Path, ...]


def _drawn(spec: ModelSpec, choice: DataChoice, imgsz: int, folder: Path) -> _Made:
    if spec.task not in ("detect", "segment", "multitask"):
        raise OptionsError(f"'{SHAPES}': expected a network that finds boxes or masks, found one for {spec.task}")
    if choice.val is not None or choice.images is not None:
        raise OptionsError("--val and --images: are for a user's data; 'shapes' draws its own")
    source = ShapesSource(SCENES_PER_EPOCH, imgsz)
    for name, seed in _DRAWN_SEEDS.items():
        if not (folder / name / INSTANCES).is_file():
            write_shapes(folder / name, seed, _DRAWN, imgsz)
    calibration = tuple(sorted((folder / "calibration" / "images").iterdir()))
    return _Made(source, labelled_dataset(folder / "held-out" / INSTANCES), calibration)


def _read(spec: ModelSpec, choice: DataChoice, imgsz: int, options: TuneOptions) -> _Made:
    if choice.data.suffix.lower() == ".json" and choice.val is None:
        raise OptionsError(f"--val: {choice.data} is one set of images: name another to measure on, or the same")
    read = DataOptions(images=choice.images, strict=choice.strict, bits=choice.bits)
    data = training_data(choice.data, spec.task, read)
    plain_from = options.epochs - int(options.epochs * _PLAIN_SHARE)
    source = UserSource(data, imgsz, choice.augment, mosaic_epochs=plain_from)
    val = choice.val or choice.data
    images = choice.images if val.suffix.lower() == ".json" else None
    labels = labelled_dataset(val, images=images, oriented=spec.task == "obb", strict=choice.strict)
    return _Made(source, labels, tuple(evenly(data.paths, _CALIBRATION_IMAGES)))


def _read_classes(_spec: ModelSpec, choice: DataChoice, imgsz: int, _options: TuneOptions) -> _Made:
    if choice.images is not None:
        raise OptionsError("--images: is for a COCO JSON; a classifier's data are a folder of images for each class")
    data = class_folders(choice.data, DataOptions(bits=choice.bits))
    source = ClassSource(data, imgsz, choice.augment)
    labels = class_tree(choice.val or choice.data, None, data.names)
    return _Made(source, labels, tuple(evenly(data.paths, _CALIBRATION_IMAGES)))


def _check_fit(spec: ModelSpec, source: Source, data: Path) -> None:
    """Refuse labels that lack what the network predicts: there would be nothing to learn it from.

    Raises:
        DatasetError: they do.
    """
    if spec.task in ("segment", "multitask") and not source.masks:
        raise DatasetError(f"{data}: expected an outline for every object, as {spec.name} predicts masks, found none")
    if spec.kpt_shape is not None and source.points != spec.kpt_shape[0]:
        raise DatasetError(
            f"{data}: expected {spec.kpt_shape[0]} keypoints for each object, as {spec.name} predicts, found "
            f"{source.points or 'none'}; write the kpt_shape you need into a model YAML of your own"
        )
