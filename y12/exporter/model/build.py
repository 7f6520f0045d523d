"""From a ModelSpec to a torch network."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from y12.exporter.model.blocks.aggregate import Aggregate
from y12.exporter.model.blocks.bit import bit_form
from y12.exporter.model.blocks.compact import C2fCIB, SCDown
from y12.exporter.model.blocks.conv import Concat, Conv
from y12.exporter.model.blocks.csp import C2f, C3k2
from y12.exporter.model.blocks.fusion import ChannelAttn
from y12.exporter.model.blocks.patch_embed import PatchEmbed, UpConv
from y12.exporter.model.blocks.psa import C2PSA, PSA
from y12.exporter.model.blocks.relan import RELAN, A2C2f, AreaAttn
from y12.exporter.model.blocks.separable import SepConv7x7
from y12.exporter.model.blocks.sppf import SPPF
from y12.exporter.model.blocks.transformer import SpatialAttn, TransformerStage
from y12.exporter.model.detector import Detector
from y12.exporter.model.heads.anchors import AnchorDetect
from y12.exporter.model.heads.classify import Classify
from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.head import Head
from y12.exporter.model.heads.hybrid import HybridOptions, hybrid_head
from y12.exporter.model.heads.multitask import MultiTask
from y12.exporter.model.heads.obb import OBB
from y12.exporter.model.heads.pose import Pose
from y12.exporter.model.heads.segment import Segment
from y12.exporter.model.rows import LayerSpec, ModelSpec

__all__ = ["MODULES", "detector_from_spec", "seeded_detector"]

# Module name → a function of (input channels, the row) that gives the module. Its keys are those of SIGNATURES.
MODULES: dict[str, Callable[[tuple[int, ...], LayerSpec], nn.Module]] = {
    "Conv": lambda c, row: _chain(Conv, c[0], row),
    "C2f": lambda c, row: C2f(c[0], n=row.repeats, **row.args),
    "C3k2": lambda c, row: C3k2(c[0], n=row.repeats, **row.args),
    "A2C2f": lambda c, row: A2C2f(c[0], n=row.repeats, **row.args),
    "nn.Upsample": lambda _c, row: nn.Upsample(**row.args),
    "Concat": lambda _c, _row: Concat(),
    "SPPF": lambda c, row: _chain(SPPF, c[0], row),
    "C2PSA": lambda c, row: C2PSA(c[0], n=row.repeats, **row.args),
    "SCDown": lambda c, row: _chain(SCDown, c[0], row),
    "PSA": lambda c, row: _chain(PSA, c[0], row),
    "C2fCIB": lambda c, row: C2fCIB(c[0], n=row.repeats, **row.args),
    "RELAN": lambda c, row: RELAN(c[0], n=row.repeats, **_less_input(row.args)),
    "SepConv7x7": lambda c, row: _chain(SepConv7x7, c[0], row),
    "AreaAttn": lambda c, row: AreaAttn(c[0], n=row.repeats, **row.args),
    "PatchEmbed": lambda c, row: PatchEmbed(c[0], **row.args),
    "UpConv": lambda c, row: UpConv(c[0], **row.args),
    "TransformerStage": lambda c, row: TransformerStage(c[0], n=row.repeats, **row.args),
    "SpatialAttn": lambda c, row: _chain(SpatialAttn, c[0], row),
    "ChannelAttn": lambda c, row: ChannelAttn(c[0], **row.args),
    "Aggregate": lambda c, row: Aggregate(c, **row.args),
    "Detect": lambda c, row: Detect(channels=c, **row.args),
    "BitDetect": lambda c, row: Detect(channels=c, **row.args),
    "Segment": lambda c, row: Segment(channels=c, **row.args),
    "AnchorDetect": lambda c, row: AnchorDetect(channels=c, **row.args),
    "HybridDetect": lambda c, row: _hybrid(c, row),
    "HybridSegment": lambda c, row: _hybrid(c, row),
    "Pose": lambda c, row: Pose(channels=c, **row.args),
    "OBB": lambda c, row: OBB(row.args["nc"], c, row.args["depthwise"]),
    "Classify": lambda c, row: Classify(row.args["nc"], c[0]),
    "MultiTask": lambda c, row: MultiTask(channels=c, **row.args),
}


def detector_from_spec(spec: ModelSpec) -> Detector:
    """Build the network with torch's default initial weights, in evaluation mode."""
    layers = nn.ModuleList()
    for row in spec.layers:
        channels = tuple(3 if s == -1 else spec.layers[s].channels for s in row.sources)
        module = MODULES[row.module](channels, row)
        layers.append(bit_form(module, _kept_whole(module)) if row.bit else module)
    return Detector(spec, layers).eval()


def _kept_whole(module: nn.Module) -> set[nn.Module]:
    """Return what of a head stays in full precision: the layers without BatchNorm, which give what it predicts."""
    if not isinstance(module, Head):
        return set()
    within = {conv.conv for conv in module.modules() if isinstance(conv, Conv)}
    return {m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear) and m not in within}


def seeded_detector(spec: ModelSpec, seed: int = 0) -> Detector:
    """Build the network with seeded random weights under which signals keep their size through all layers.

    It detects nothing real, but what it predicts varies with the image, so that an export of it can be verified.
    BatchNorm statistics are measured on seeded images with the spectrum of photographs. BatchNorm's scale of 0.5
    and shift of 0.5 keep SiLU near its linear part; at 1 and 0 a random network of this depth amplifies rounding
    errors until nothing can be compared.
    """
    generator = torch.Generator().manual_seed(seed)
    detector = detector_from_spec(spec)
    for module in detector.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.weight.requires_grad:
            module.weight.data.normal_(0.0, _fan_in(module) ** -0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.zero_()
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.fill_(0.5)
            module.bias.data.fill_(0.5)
    detector.head.spread_predictions()
    _measure_batch_norms(detector, _photo_like_images(generator, 8 * max(spec.strides)))
    return detector


def _fan_in(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> int:
    """Return how many inputs each output sums: a transposed convolution of stride k and kernel k sums channels only."""
    return module.in_channels if isinstance(module, nn.ConvTranspose2d) else module.weight[0].numel()


def _photo_like_images(generator: torch.Generator, side: int) -> torch.Tensor:
    """Return (4, 3, side, side) of smooth noise in 0-1: as much variance in every octave, as photographs have."""
    octaves = (torch.rand(4, 3, 2**k, 2**k, generator=generator) - 0.5 for k in range(1, 8))
    noise = sum(nn.functional.interpolate(o, size=(side, side), mode="bilinear") for o in octaves)
    assert isinstance(noise, torch.Tensor)
    return (noise / noise.std() * 0.25 + 0.5).clamp(0, 1)


@torch.no_grad()
def _measure_batch_norms(detector: Detector, images: torch.Tensor) -> None:
    norms = [m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the statistics of this one batch
        norm.train()
    detector(images)
    if detector.head.has_one_to_one:  # the branches that were not used have statistics of their own
        detector.head.end2end = not detector.head.end2end
        detector(images)
        detector.head.end2end = not detector.head.end2end
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _hybrid(channels: tuple[int, ...], row: LayerSpec) -> nn.Module:
    chosen = {name: value for name, value in row.args.items() if name != "nc"}
    return hybrid_head(row.args["nc"], channels, HybridOptions(**chosen))


def _chain(module: Callable[..., nn.Module], c1: int, row: LayerSpec) -> nn.Module:
    args = _less_input(row.args)
    first = module(c1, **args)
    rest: list[nn.Module] = [module(row.channels, **_at_stride_1(args)) for _ in range(row.repeats - 1)]
    return nn.Sequential(first, *rest) if rest else first


def _at_stride_1(args: Mapping[str, Any]) -> dict[str, Any]:
    return {**args, "s": 1} if "s" in args else dict(args)


def _less_input(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the args without `c1`, which a row may repeat: it was compared with what the row reads."""
    return {name: value for name, value in args.items() if name != "c1"}
