"""The page's files, and what it has to know of its model."""

from pathlib import Path
from typing import Any

from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.output_layout import output_layout
from y12.runtime.options import DetectOptions
from y12.runtime.results.style import SKELETONS

__all__ = ["FACTS", "INDEX", "model_facts", "page_files"]

INDEX = "index.html"
FACTS = "page/model.json"  # what `model_facts` gives
_HERE = Path(__file__).parent
_LEAST_CONF = 0.01  # of the slider: below lie thousands of boxes that mean nothing
_TASKS = {
    "detect": "finds objects",
    "segment": "finds objects and their masks",
    "pose": "finds objects and their keypoints",
    "obb": "finds objects at any angle",
    "classify": "says of what class a picture is",
    "multitask": "finds objects, their masks and keypoints",
}


def page_files() -> dict[str, bytes]:
    """Return the page's files by their paths beside its address."""
    static = sorted((_HERE / "static").iterdir())
    return {INDEX: (_HERE / INDEX).read_bytes()} | {f"page/{path.name}": path.read_bytes() for path in static}


def model_facts(
    name: str, manifest: Manifest, options: DetectOptions, runs: str, webgpu: bool = False
) -> dict[str, Any]:
    """Return what the page has to know of its model, JSON-able.

    Args:
        name: of the model.
        manifest: the artefact's.
        options: its own thresholds.
        runs: where its network runs, "server" or "browser".
        webgpu: in the browser, what runs it on the GPU is there too.
    """
    layout, nms, (height, width) = output_layout(manifest), manifest.nms, manifest.profile.opt_hw
    size = f"{width}x{height} pixels, {manifest.precision}"
    return {
        "runs": runs,
        "webgpu": webgpu,
        "name": name,
        "words": f"{manifest.model or 'A network'} {_TASKS[manifest.task]}; it sees {size}",
        "licence": manifest.licence,
        "task": manifest.task,
        "names": list(manifest.names),
        "input_hw": [height, width],
        "form": None if nms is None else nms.form,
        "has_masks": layout is not None and layout.has_masks,
        "is_oriented": layout is not None and layout.is_oriented,
        "kpt_shape": manifest.kpt_shape,
        "skeleton": [] if manifest.kpt_shape is None else SKELETONS.get(manifest.kpt_shape[0], ()),
        "conf": options.conf,
        "conf_least": 0 if layout is None else max(_LEAST_CONF, 0 if nms is None else nms.options.conf),
        "iou": options.iou,
        "iou_choice": layout is not None and nms is None,
        "decided": _decided(manifest),
    }


def _decided(manifest: Manifest) -> str:
    """Return what the graph has decided, in words; empty where it leaves all to whoever runs it."""
    nms = manifest.nms
    if nms is None:
        return ""
    if nms.is_end_to_end:
        return f"Decided in the model: the {nms.options.max_det} best scores; nothing is suppressed"
    conf, iou, most = nms.options.conf, nms.options.iou, nms.options.max_det
    return f"Decided in the model: scores above {conf:g}, overlap up to {iou:g}, at most {most} objects"
