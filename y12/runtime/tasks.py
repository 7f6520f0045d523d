"""What each task needs: how an image is made to fit the network, how its outputs are decoded, and the defaults."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import ArtefactError, InputError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.output_layout import OutputLayout, output_layout
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.boxes import decode_boxes
from y12.runtime.postprocess.classify import TOP, decode_classes
from y12.runtime.postprocess.in_graph import check_against_graph, notes_on_rows
from y12.runtime.postprocess.predictions import Outputs
from y12.runtime.preprocess.crop import centre_crop
from y12.runtime.preprocess.letterbox import letterbox
from y12.runtime.preprocess.reduced import Image
from y12.runtime.results.detections import Detections

# An image and (H, W) to an (H, W, 3) image, and where the one lies in the other: what `Decode` gets.
Fit = Callable[[Image, tuple[int, int]], tuple[NDArray[np.uint8], Any]]
Decode = Callable[[Outputs, Any, DetectOptions], Detections]


@dataclass(frozen=True)
class Task:
    """What stands before and after one network.

    Attributes:
        names: the class names.
        fit: makes an image fit the network's input.
        decode: outputs of one image, the frame that `fit` gave and options to Detections.
        layout: what the outputs hold, before any NMS; None for a classifier.
        ends_in_nms: the graph picks the objects.
        has_loop: it does so in a loop, as y12's own NMS does, whose every round waits for the one before.
    """

    names: tuple[str, ...]
    fit: Fit
    decode: Decode
    layout: OutputLayout | None = None
    ends_in_nms: bool = False
    has_loop: bool = False


def task_for(manifest: Manifest) -> Task:
    """Return what the artefact's task needs.

    Raises:
        ArtefactError: a classifier with NMS, which contradicts itself.
    """
    names, nms, fit, layout = manifest.names, manifest.nms, fit_for(manifest.task), output_layout(manifest)
    if layout is not None:
        decode = partial(decode_boxes, layout=layout, names=names, nms_in_graph=nms)
        return Task(names, fit, decode, layout, nms is not None, nms is not None and not nms.is_rows)
    if nms is not None:
        raise ArtefactError("expected a classifier without NMS, found a manifest with both: export again")
    return Task(names, fit, partial(decode_classes, names=names))


def fit_for(task: str) -> Fit:
    """Return what makes an image fit the input of a network of a task."""
    return centre_crop if task == "classify" else letterbox


def default_options(manifest: Manifest) -> DetectOptions:
    """Return the artefact's own options: those of the NMS in its graph, else its task's defaults."""
    usual = DetectOptions()
    if manifest.nms is not None and manifest.nms.is_rows:
        own = manifest.nms.options
        return replace(own, conf=max(own.conf, usual.conf), max_det=min(own.max_det, usual.max_det))
    if manifest.nms is not None:
        return manifest.nms.options
    return DetectOptions(conf=0.0, max_det=TOP) if manifest.task == "classify" else usual


def notes_on_options(options: DetectOptions, manifest: Manifest) -> tuple[str, ...]:
    """Return which options have no effect on an artefact, as texts for the user."""
    return () if manifest.nms is None or not manifest.nms.is_rows else notes_on_rows(options, manifest.nms)


def resolved_options(options: DetectOptions, manifest: Manifest) -> DetectOptions:
    """Return the options as the decoders need them: with the artefact's own conf, where `keep` asks for it.

    Raises:
        InputError: the artefact cannot follow one of them.
    """
    options.check_classes(len(manifest.names))
    resolved = options if options.keep is None else replace(options, conf=_own_conf(options, manifest), keep=None)
    if manifest.nms is not None and not manifest.nms.is_rows:
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
