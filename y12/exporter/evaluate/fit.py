"""What of a model's task the labels can judge, and with which thresholds."""

from dataclasses import replace

from y12.errors import DatasetError
from y12.exporter.data.classes import ClassMap
from y12.exporter.data.dataset import KINDS_OF_TASK, Dataset
from y12.exporter.evaluate.coco import KIND_NAMES, coco_sigmas_exist
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.options import DetectOptions

__all__ = ["detect_options", "kinds_for"]

_DEFAULTS = DetectOptions(conf=0.001, iou=0.7, max_det=300, multi_label=True)


def kinds_for(
    dataset: Dataset, task: str, kpt_shape: tuple[int, int] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the kinds to evaluate, and a note for each that has no labels.

    Args:
        dataset: the labels.
        task: of the model.
        kpt_shape: of its keypoints, as its manifest has it.

    Raises:
        DatasetError: the labels tell nothing that the model's task is about.
    """
    kinds_of_task = KINDS_OF_TASK[task]
    if kpt_shape is None:  # a multi-task model need not have keypoints
        kinds_of_task = tuple(kind for kind in kinds_of_task if kind != "keypoints")
    kinds = tuple(kind for kind in kinds_of_task if kind in dataset.kinds)
    if not kinds or (task == "pose" and "keypoints" not in kinds):
        expected = "keypoints" if task == "pose" else " or ".join(KIND_NAMES[kind] for kind in kinds_of_task)
        raise DatasetError(
            f"{dataset.origin}: expected labels of {expected} for a model of the task {task}, found labels of "
            f"{', '.join(KIND_NAMES[kind] for kind in dataset.kinds)} only{_hint(dataset, task)}"
        )
    notes = [
        f"{KIND_NAMES[kind]} were not evaluated: the labels have none" for kind in kinds_of_task if kind not in kinds
    ]
    if "keypoints" in kinds:
        notes += _keypoint_notes(dataset, kpt_shape)
    if "obb" in kinds:
        notes.append("oriented boxes are compared by ProbIoU")
    return kinds, tuple(notes)


def _hint(dataset: Dataset, task: str) -> str:
    is_yaml = dataset.origin.suffix.lower() != ".json"
    return "; is kpt_shape missing in the data.yaml?" if is_yaml and task == "pose" else ""


def _keypoint_notes(dataset: Dataset, kpt_shape: tuple[int, int] | None) -> list[str]:
    """Refuse another number of keypoints than the model's; OKS compares x and y only, so visibility may differ."""
    if kpt_shape is None or dataset.points is None:
        return []
    points = kpt_shape[0]
    if dataset.points != points:
        raise DatasetError(
            f"{dataset.origin}: expected {points} keypoints per object, as the model gives, found {dataset.points}"
        )
    if coco_sigmas_exist(points):
        return []
    return [f"OKS takes a sigma of 1/{points} for each of the {points} keypoints: COCO defines them for 17 only"]


def detect_options(options: ValOptions, nms_in_graph: NmsSettings | None, classes: ClassMap) -> DetectOptions:
    """Return the thresholds to run with: those chosen, else those of NMS in the graph, else those of this module.

    Classes that the data does not know are left out before NMS keeps the best boxes; NMS in the graph has decided.

    Raises:
        InputError: a threshold is out of range.
    """
    chosen = {name: getattr(options, name) for name in options.chosen_thresholds}
    if nms_in_graph is not None:
        return replace(nms_in_graph.options, **chosen)
    return replace(_DEFAULTS, classes=classes.classes, **chosen)
