"""How many kernels the FP16 engine launches per inference, and what each step of the export gained.

`python benchmarks/kernels.py` builds yolov12n at 640x640 once per step, then every scale of both layouts and other
networks as exported, and prints two Markdown tables. Kernels are the final layers in TensorRT-RTX's build log without
synchronisation.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest.mock import patch

import onnx
from torch import Tensor, nn

from y12.exporter.engine.build_engine import BuildOptions, bindings_for_build, engine_from_onnx
from y12.exporter.engine.inspect import EngineFacts, facts_of
from y12.exporter.graph.expectation import sum_expectations
from y12.exporter.graph.passes import Pass, run_passes
from y12.exporter.graph.rtx.write_for_rtx import RTX_PASSES
from y12.exporter.graph.simplify import OWN_PASSES, simplify
from y12.exporter.model.blocks.attention import MapAttention, map_of, tokens_of
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.detector import Detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.precision.cast import cast_to_fp16
from y12.exporter.trace import deploy
from y12.exporter.trace.to_onnx import TraceOptions, onnx_from_deploy
from y12.runtime.artefact.manifest import AxisRange, InputProfile

COLUMNS = ("kernels", "of which move data", "MB read and written", "attention fused")
OTHERS = ("yolov12n-seg", "yolov12n-pose", "yolo11n", "yolo11n-seg", "yolov8n", "yolov8n-pose")
ONE, SIDE = AxisRange(1, 1, 1), AxisRange(640, 640, 640)
PROFILE = InputProfile(ONE, SIDE, SIDE)


class PublishedOrder(nn.Module):
    """The published computation: v @ softmax(q^T k)^T on (d, L) maps."""

    def __init__(self, attention: MapAttention, _tokens: bool = True) -> None:
        super().__init__()
        self.held = [attention]  # in a list: as a submodule it would be replaced again

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        (a,) = self.held
        B, C, H, W = x.shape
        q, k, v = (self._channels_first(t, a) for t in a.qkv_maps(x))
        attention = ((q.transpose(-2, -1) @ k) * a.key_dim**-0.5).softmax(-1)
        out = v @ attention.transpose(-2, -1)  # (B*area, heads, d, L)
        out = out.reshape(B, a.area, C, -1).permute(0, 2, 1, 3).reshape(B, C, H, W)
        return a.proj(out + a.pe(a.qkv_maps(x)[2]))

    @staticmethod
    def _channels_first(t: Tensor, a: MapAttention) -> Tensor:
        # (B, C, H, W) -> (B, C, area, L) -> (B*area, heads, d, L)
        t = t.flatten(2).unflatten(2, (a.area, -1)).transpose(1, 2)
        return t.reshape(-1, a.num_heads, a.head_dim, t.shape[-1])


class FusingOrder(nn.Module):
    """softmax(q k^T) v on (L, d) tokens, q, k and v from their own convolutions."""

    def __init__(self, attention: MapAttention, _tokens: bool = True) -> None:
        super().__init__()
        self.held = [attention]  # in a list: as a submodule it would be replaced again

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        (a,) = self.held
        q_map, k_map, v_map = a.qkv_maps(x)
        q, k, v = (tokens_of(t, 1, a.num_heads, a.area)[0] for t in (q_map, k_map, v_map))
        out = ((q * a.key_dim**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return a.proj(map_of(out, x, a.area) + a.pe(v_map))


class OneConvolution(deploy.DeployAttention):
    """One convolution and one permutation for q, k and v; pe reads a slice of the convolution's output."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        B, C = x.shape[:2]
        qkv = self.qkv(x)
        tokens = qkv.reshape(B, 3, self.num_heads, self.head_dim, self.area, -1).permute(1, 0, 4, 2, 5, 3).flatten(1, 2)
        attended = (tokens[0] @ tokens[1].transpose(-2, -1)).softmax(-1) @ tokens[2]
        return self.proj(map_of(attended, x, self.area) + self.pe(qkv[:, 2 * C :]))


@dataclass(frozen=True)
class Step:
    """How attention is written, and which passes run on the FP32 graph and on the FP16 one."""

    name: str
    attention: Callable[[MapAttention], nn.Module]
    passes: tuple[Pass, ...]
    rtx_passes: tuple[Pass, ...] = ()


EXPORTED = Step("last convolutions of a level made one (as exported)", deploy.DeployAttention, OWN_PASSES, RTX_PASSES)
STEPS: tuple[Step, ...] = (
    Step("published operand order", PublishedOrder, (sum_expectations,)),
    Step("fusing operand order, own convolutions", FusingOrder, (sum_expectations,)),
    Step("one convolution for q, k and v", OneConvolution, (sum_expectations,)),
    Step("v as a map from the tokens", deploy.DeployAttention, (sum_expectations,)),
    Step("split convolutions made two", deploy.DeployAttention, OWN_PASSES),
    Step("wide 1x1 convolutions kept convolutions", deploy.DeployAttention, OWN_PASSES, RTX_PASSES[:1]),
    Step("residual sums read and written in place", deploy.DeployAttention, OWN_PASSES, RTX_PASSES[:2]),
    EXPORTED,
)


def facts(detector: Detector, step: Step) -> EngineFacts:
    """Export and build one variant in memory."""
    with patch.object(deploy, "DeployAttention", step.attention):
        graph = onnx_from_deploy(deploy.deploy_from_detector(detector), TraceOptions(PROFILE))
    simplified, _ = simplify(graph, PROFILE, step.passes)
    typed: onnx.ModelProto
    typed, _ = cast_to_fp16(simplified)
    run_passes(typed, step.rtx_passes)
    built = engine_from_onnx(typed.SerializeToString(), BuildOptions(PROFILE), bindings_for_build("rtx"))
    return facts_of(built.layers, typed)


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def columns(facts: EngineFacts) -> tuple[object, ...]:
    """Return what both tables tell of an engine."""
    fused = f"{facts.attentions_fused} of {facts.attentions_expected}"
    return facts.kernels, facts.moving_kernels, f"{facts.bytes_moved / 1e6:.1f}", fused


def main() -> None:
    """Print both tables."""
    detector = seeded_detector(spec_from_name("yolov12n"))
    row("step", *COLUMNS)
    row(*["---"] * 5)
    for step in STEPS:
        row(step.name, *columns(facts(detector, step)))
    print()
    row("model", *COLUMNS, "before RTX's own passes: kernels, MB", "convolutions FP32")
    row(*["---"] * 7)
    for name in (*(f"yolov12{scale}{variant}" for variant in ("", "-v1") for scale in "nsmlx"), *OTHERS):
        detector = seeded_detector(spec_from_name(name))
        before, after = facts(detector, replace(EXPORTED, rtx_passes=())), facts(detector, EXPORTED)
        earlier = f"{before.kernels}, {before.bytes_moved / 1e6:.1f}"
        row(name, *columns(after), earlier, len(after.fp32_convolutions))


if __name__ == "__main__":
    sys.exit(main())
