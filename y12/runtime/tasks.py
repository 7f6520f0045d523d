"""What each task needs: how an image is made to fit the network, how its outputs are decoded, and the defaults."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import ArtefactError, InputError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.boxes import decode_boxes
from y12.runtime.postprocess.classify import TOP, decode_classes
from y12.runtime.postprocess.in_graph import check_against_graph
from y12.runtime.postprocess.predictions import Layout, Outputs
from y12.runtime.preprocess.crop import centre_crop
from y12.runtime.preprocess.letterbox import letterbox
from y12.runtime.results.detections import Detections

# An (h, w, 3) image and (H, W) to an (H, W, 3) image, and where the one lies in the other: what `Decode` gets.
Fit = Callable[[NDArray[np.uint8], tuple[int, int]], tuple[NDArray[np.uint8], Any]]
Decode = Callable[[Outputs, Any, Manifest, DetectOptions], Detections]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        decode: outputs of one image, the frame that `fit` gave, manifest and options to Detections.
        fit: makes an image fit the network's input.
        options: the defaults, where the artefact does not bring its own.
        layout: what the outputs hold, for the tasks that find boxes; None for a classifier.
    """

    decode: Decode
    fit: Fit = letterbox
    options: DetectOptions = field(default_factory=DetectOptions)
    layout: Layout | None = None


def _finds_boxes(layout: Layout) -> Task:
    return Task(partial(decode_boxes, layout), layout=layout)


TASKS = {
    "detect": _finds_boxes(Layout()),
    "segment": _finds_boxes(Layout(masks=True)),
    "pose": _finds_boxes(Layout(keypoints=True)),
    "obb": _finds_boxes(Layout(angle=True)),
    "multitask": _finds_boxes(Layout(masks=True, keypoints=True, separate=True)),
    "classify": Task(decode_classes, centre_crop, DetectOptions(conf=0.0, max_det=TOP)),
}


def task_for(manifest: Manifest) -> Task:
    """Return what the artefact's task needs.

    Raises:
        ArtefactError: a classifier with NMS, which contradicts itself.
    """
    if manifest.task == "classify" and manifest.nms is not None:
        raise ArtefactError("expected a classifier without NMS, found a manifest with both: export again")
    return TASKS[manifest.task]


def default_options(manifest: Manifest) -> DetectOptions:
    """Return the artefact's own options: those of the NMS in its graph, else its task's defaults."""
    return manifest.nms.options if manifest.nms else TASKS[manifest.task].options


def resolved_options(options: DetectOptions, manifest: Manifest) -> DetectOptions:
    """Return the options as the decoders need them: with the artefact's own conf, where `keep` asks for it.

    Raises:
        InputError: the artefact cannot follow one of them.
    """
    options.check_classes(len(manifest.names))
    resolved = options if options.keep is None else replace(options, conf=_own_conf(options, manifest), keep=None)
    if manifest.nms is not None:
        check_against_graph(resolved, manifest.nms)
    return resolved


def _own_conf(options: DetectOptions, manifest: Manifest) -> float:
    """Return the confidence that keeps what the model the artefact was made of has at `options.conf`."""
    assert options.keep is not None
    if manifest.task == "classify":
        raise InputError("keep: expected a model that finds objects, found a classifier: leave it out")
    if manifest.thresholds is None:
        raise InputError(
            f"keep: expected a table of confidences in the artefact, found none: to keep the {options.keep} of the "
            "model it was made of, export it with --val DATA; or leave keep out"
        )
    conf = manifest.thresholds.conf_for(options.conf, options.keep)
    if manifest.nms is not None and conf < manifest.nms.options.conf:
        raise InputError(
            f"keep: conf {options.conf:g} of {manifest.thresholds.against} is {conf:.3g} here, and the NMS in the "
            f"artefact's graph has left out all below {manifest.nms.options.conf:g}: export again with a lower --conf"
        )
    return conf
