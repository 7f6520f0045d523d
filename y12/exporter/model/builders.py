"""y12's own networks by their parameters, without a file: lite, bitfalcon, and the hybrid with any stages."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

from y12.errors import ModelSpecError
from y12.exporter.model.blocks.aggregate import AggregateMethod
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.detector import Detector
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.model.scaling import Ratios
from y12.exporter.model.spec import shipped_yaml, spec_from_name
from y12.exporter.model.values import is_value
from y12.text import shown

__all__ = ["bitfalcon", "hybrid", "hybrid_yaml", "lite"]

_LITE, _HYBRID = "yolov12-lite", "yolov12-hybrid"
_CHANNELS = {2: 64, 4: 128, 8: 256, 16: 512, 32: 1024}  # of the hybrid's maps by stride, before scaling
_COARSEST, _FINEST_READ = 32, 8  # strides that the head reads
_USUAL_STAGES, _USUAL_PATCH = (2, 2, 4, 2), 4
_MAX_STAGES = 16


def bitfalcon(
    scale: str = "n",
    *,
    num_classes: int = 2,
    depth: float | None = None,
    width: float | None = None,
    max_channels: int | None = None,
    seed: int = 0,
) -> Detector:
    """Build bitfalcon with seeded weights, in evaluation mode; `depth`, `width`, `max_channels` change the scale's.

    Raises:
        ModelSpecError: there is no such scale, or a number is out of range.
    """
    ratios = Ratios(depth, width, max_channels)
    return seeded_detector(spec_from_name("bitfalcon", scale=scale, ratios=ratios, nc=num_classes), seed)


def lite(
    num_classes: int = 80,
    depth: float = 0.33,
    width: float = 0.50,
    *,
    max_channels: int | None = None,
    anchor_free: bool = True,
    seed: int = 0,
) -> Detector:
    """Build yolov12-lite at two ratios with seeded weights, in evaluation mode.

    Args:
        num_classes: which the head tells apart.
        depth: what repeats are multiplied by.
        width: what channels are multiplied by; (depth, width) of n is (0.33, 0.25), of s (0.33, 0.5), of m
            (0.67, 0.75), of l (1, 1).
        max_channels: what they are cut to; None leaves the file's.
        anchor_free: distances to the box's sides, or three anchors a cell.
        seed: of the weights.

    Raises:
        ModelSpecError: a number is out of range.
    """
    name = _LITE if anchor_free else f"{_LITE}-anchors"
    return seeded_detector(spec_from_name(name, ratios=Ratios(depth, width, max_channels), nc=num_classes), seed)


def hybrid(
    stages: Sequence[int] = _USUAL_STAGES,
    patch_size: int = _USUAL_PATCH,
    num_heads: int | None = None,
    agg_method: AggregateMethod = "attention",
    anchor_free: bool | Literal["heatmap"] = True,
    iou_loss: Literal["giou", "diou", "ciou"] = "ciou",
    num_classes: int = 80,
    *,
    scale: str = "n",
    task: Literal["detect", "segment"] = "detect",
    seed: int = 0,
) -> Detector:
    """Build yolov12-hybrid with seeded weights, in evaluation mode.

    Args:
        stages: transformer blocks of each stage of the backbone. The first stage's map is `patch_size` times smaller
            than the image; the last ones halve it, to stride 32.
        patch_size: pixels a side: 2, 4, 8, 16 or 32. Maps finer than the patches are made by transposed convolutions,
            so that the head has its three strides (simple feature pyramid, arXiv 2203.16527, section 3).
        num_heads: of every attention; None: heads of 32 channels.
        agg_method: how the neck joins two maps: "attention", "concat" or "sum".
        anchor_free: True: distances to the box's sides; "heatmap": of centres; False: three anchors a cell.
        iou_loss: the overlap that boxes learn by.
        num_classes: which the head tells apart.
        scale: n, s, m, l or x.
        task: "segment" adds masks; not with anchors or heatmaps.
        seed: of the weights.

    Raises:
        ModelSpecError: an argument is not possible; the message says which are.
    """
    data = hybrid_yaml(stages, patch_size, num_heads, agg_method, iou_loss)
    form = {True: task, False: "anchors", "heatmap": "heatmap"}.get(anchor_free)
    if form is None or (task != "detect" and anchor_free is not True):
        raise ModelSpecError(
            "hybrid: anchor_free must be True, False or 'heatmap', and True for task 'segment'; found "
            f"{shown(anchor_free)} for {shown(task)}"
        )
    usual = (tuple(stages), patch_size) == (_USUAL_STAGES, _USUAL_PATCH)
    suffix = {"detect": "", "segment": "-seg"}.get(form, f"-{form}") + ("" if usual else f"-p{patch_size}")
    name = f"yolov12{scale}-hybrid{suffix}"
    return seeded_detector(spec_from_yaml(data, "hybrid", name, scale=scale, nc=num_classes, task=form), seed)


def hybrid_yaml(
    stages: Sequence[int],
    patch_size: int,
    num_heads: int | None,
    agg_method: AggregateMethod = "attention",
    iou_loss: str = "ciou",
) -> dict[str, Any]:
    """Return the model YAML of a hybrid as a mapping: the shipped one's, with a backbone of these stages.

    Raises:
        ModelSpecError: the stages or the patches are not possible.
    """
    data = shipped_yaml(_HYBRID)
    values = {"num_heads": num_heads, "agg_method": agg_method, "iou_loss": iou_loss, "patch_size": patch_size}
    backbone, maps = _backbone(stages, patch_size)
    neck, read = _neck(len(backbone), maps)
    tasks = {name: [read, *row[1:]] for name, row in data["tasks"].items()}
    return {**data, "values": {**data["values"], **values}, "backbone": backbone, "neck": neck, "tasks": tasks}


def _backbone(stages: Sequence[int], patch_size: int) -> tuple[list[Any], dict[int, int]]:
    """Return the backbone's rows, and which row has the map of each stride."""
    if patch_size not in _CHANNELS or not is_value(patch_size, int):
        raise ModelSpecError(f"hybrid: patch_size must be {', '.join(map(str, _CHANNELS))}; found {shown(patch_size)}")
    halvings = (_COARSEST // patch_size).bit_length() - 1
    whole = all(is_value(n, int) and n >= 1 for n in stages)
    if not halvings + 1 <= len(stages) <= _MAX_STAGES or not whole:
        raise ModelSpecError(
            f"hybrid: stages must be {halvings + 1} to {_MAX_STAGES} depths of 1 or more for a patch_size of "
            f"{patch_size} (strides {patch_size} to {_COARSEST}); found {shown(list(stages))}"
        )
    rows: list[Any] = [[-1, 1, "PatchEmbed", [_CHANNELS[patch_size], "patch_size"]]]
    maps: dict[int, int] = {}
    stride = patch_size
    for i, depth in enumerate(stages):
        step = 2 if i >= len(stages) - halvings else 1
        stride *= step
        maps[stride] = len(rows)
        rows.append([-1, depth, "TransformerStage", [_CHANNELS[stride], "num_heads", _areas(stride), 2.0, step]])
    finest = min(maps)
    while finest > _FINEST_READ:  # the simple feature pyramid
        rows.append([maps[finest], 1, "UpConv", [_CHANNELS[finest // 2]]])
        finest //= 2
        maps[finest] = len(rows) - 1
    return rows, maps


def _areas(stride: int) -> Any:
    """Return the grid in which an area has 20x20 cells of a 640x640 image at every stride."""
    count = _COARSEST // stride
    return [count, count] if count > 1 else 1


def _neck(first: int, maps: dict[int, int]) -> tuple[list[Any], list[int]]:
    """Return the neck's rows, the first of which has that number, and which rows the head reads."""
    rows: list[Any] = []
    attended = {}

    def add(source: Any, module: str, *args: Any, repeats: int = 1) -> int:
        rows.append([source, repeats, module, list(args)])
        return first + len(rows) - 1

    strides = (32, 16, 8)
    attended[32] = add(maps[32], "SpatialAttn", _CHANNELS[32], "num_heads", _areas(32))
    for coarse, fine in itertools.pairwise(strides):  # top-down (FPN)
        add(attended[coarse], "nn.Upsample", None, 2, "nearest")
        add([-1, maps[fine]], "Aggregate", _CHANNELS[fine], "agg_method", "num_heads")
        add(-1, "RELAN", _CHANNELS[fine], repeats=2)
        attended[fine] = add(-1, "SpatialAttn", _CHANNELS[fine], "num_heads", _areas(fine))
    read = [add(-1, "ChannelAttn", 16)]
    for fine, coarse in itertools.pairwise(reversed(strides)):  # bottom-up (PAN)
        add(-1, "Conv", _CHANNELS[fine], 3, 2)
        add([-1, attended[coarse]], "Aggregate", _CHANNELS[coarse], "agg_method", "num_heads")
        add(-1, "RELAN", _CHANNELS[coarse], repeats=2)
        read.append(add(-1, "ChannelAttn", 16))
    return rows, read
