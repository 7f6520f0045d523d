"""The engine of a typed graph, and what its layers say of it."""

from dataclasses import dataclass, replace

import onnx

from y12.exporter.engine.build_engine import (
    RTX_DEFAULT_SMS,
    BuildOptions,
    BuiltEngine,
    bindings_for_build,
    engine_from_onnx,
)
from y12.exporter.engine.engine_options import EngineOptions
from y12.exporter.engine.inspect import EngineFacts, facts_of
from y12.exporter.trace.to_onnx import INPUT_NAME
from y12.runtime.artefact.manifest import Manifest

__all__ = ["Engine", "engine_for"]


@dataclass(frozen=True)
class Engine:
    """An engine of a typed graph.

    Attributes:
        built: the plan and its final layers.
        manifest: the artefact's, which now says what built the engine and where it runs.
        facts: what the final layers verify; None where they could not be read.
        flavour: of TensorRT, "full" or "rtx".
        builder: what built it, with its version.
        gpus: where it runs.
        half: what FP16's engine of the same network would be, where that is asked.
    """

    built: BuiltEngine
    manifest: Manifest
    facts: EngineFacts | None
    flavour: str
    builder: str
    gpus: str
    half: EngineFacts | None = None


def engine_for(target: EngineOptions, graph: onnx.ModelProto, manifest: Manifest) -> Engine:
    """Return the engine of a typed graph."""
    bindings = bindings_for_build(target.tensorrt)
    sms = target.sms or RTX_DEFAULT_SMS
    gpus = (
        f"SM {', '.join(map(str, sms))} (not Hopper, not Jetson)"
        if bindings.flavour == "rtx"
        else "the kind of GPU it was built on"
    )
    manifest = replace(manifest, engine={"builder": bindings.product, "gpus": gpus})
    options = BuildOptions(
        manifest.profile,
        INPUT_NAME,
        target.workspace_gib,
        target.sms,
        manifest.to_network_name(),
    )
    built = engine_from_onnx(graph.SerializeToString(), options, bindings)
    facts = None if built.unread else facts_of(built.layers, graph)
    return Engine(built, manifest, facts, bindings.flavour, bindings.product, gpus)
