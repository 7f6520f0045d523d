"""The recipe of an export: what decides its bytes, and is not told by its manifest otherwise."""

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from y12.errors import CalibrationError
from y12.exporter.export_config import NAMED, ExportConfig, Int8Options
from y12.exporter.precision.qat.learned import LearnedRanges
from y12.exporter.precision.quantization_options import QuantizeOptions
from y12.exporter.trace.to_onnx import DEFAULT_OPSET
from y12.files import file_sha256
from y12.runtime.artefact.manifest import TARGETS
from y12.runtime.artefact.recipe import Recipe, sha256_of

__all__ = ["PACKAGES", "engine_options", "graph_recipe", "images_digest", "versions"]

PACKAGES = ("y12", "torch", "onnx", "onnxsim", "onnxruntime", "numpy")


def graph_recipe(config: ExportConfig, ranges: LearnedRanges | None, images: Iterable[Path]) -> Recipe:
    """Return the recipe of an export's graph.

    Args:
        config: what was asked for.
        ranges: that its INT8 graph was made with; None of another precision.
        images: that these were found on; none where they were there before.
    """
    found = None if config.int8 is None else config.int8.found
    digest = images_digest(images) if found is None else found.images
    ranges_digest = "" if ranges is None else sha256_of(ranges.to_json())
    return Recipe(_options(config), versions(), digest, ranges_digest)


def versions() -> dict[str, str]:
    """Return the versions of what takes part in making a graph, without the label of a build, such as "+cpu"."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue  # ONNX Runtime has several names
    return found


def images_digest(images: Iterable[Path]) -> str:
    """Return the hash of the sorted hashes of images' bytes: their names and order are left out.

    Raises:
        CalibrationError: one cannot be read any more.
    """
    try:
        hashes = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in images)
    except OSError as error:
        raise CalibrationError(f"{error.filename}: cannot be read any more ({error.strerror})") from error
    return sha256_of("\n".join(hashes)) if hashes else ""


def engine_options(config: ExportConfig) -> dict[str, str]:
    """Return the options of the engine that decide its bytes."""
    target = config.target
    sms, gib = ",".join(map(str, target.sms)), target.workspace_gib
    return ({"sm": sms} if sms else {}) | ({} if gib is None else {"workspace": repr(gib)})


def _options(config: ExportConfig) -> dict[str, str]:
    options = _model(config)
    if config.opset not in (None, DEFAULT_OPSET):
        options["opset"] = str(config.opset)
    if not config.simplify:
        options["simplify"] = "no"
    if config.is_for_cpu:
        options["target"] = TARGETS[1]
    if config.end2end is not None:
        options["end2end"] = "yes" if config.end2end else "no"
    return options | ({} if config.int8 is None else _int8(config.int8))


def _model(config: ExportConfig) -> dict[str, str]:
    """Return what a model's name or YAML is; a file of weights is told by its hash."""
    if not isinstance(config.model, str) or config.suffix not in NAMED:
        return {}
    named = {"model": Path(config.model).name}
    if config.suffix:
        named["model_sha256"] = file_sha256(Path(config.model))
    ratios = config.ratios
    asked = {"scale": config.scale, "depth": ratios.depth, "width": ratios.width, "max_channels": ratios.max_channels}
    return named | {name: str(value) for name, value in asked.items() if value is not None}


def _int8(int8: Int8Options) -> dict[str, str]:
    """Return how a graph is quantised; what is kept out of INT8 goes with the ranges."""
    own, usual = int8.quantize, QuantizeOptions()
    switches = {name: getattr(own, name) for name in ("attention", "image", "depthwise")}
    words = {name: "yes" if on else "no" for name, on in switches.items() if on != getattr(usual, name)}
    return {"int8_target": own.target} | {f"int8_{name}": word for name, word in words.items()}
