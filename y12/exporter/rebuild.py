"""An artefact made again from its manifest and its source, in a scratch folder, and compared with what it was."""

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx

from y12.errors import ArtefactError, OptionsError
from y12.exporter.engine.build_engine import bindings_for_build
from y12.exporter.engine.engine import engine_for
from y12.exporter.engine.engine_options import EngineOptions
from y12.exporter.export_config import ExportConfig, FoundRanges, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.model.scaling import Ratios
from y12.exporter.precision.qat.learned import LearnedRanges
from y12.exporter.precision.quantization_options import QuantizeOptions
from y12.exporter.recipe import versions
from y12.exporter.source import demo_weights
from y12.exporter.stages import Progress, silent
from y12.files import file_sha256
from y12.runtime.artefact.difference import Difference, difference, with_whole_recipe
from y12.runtime.artefact.manifest import TARGETS, InputProfile, Manifest
from y12.runtime.artefact.nms_settings import OWN_NMS_FORMS
from y12.runtime.artefact.onnx_header import read_onnx_header
from y12.runtime.artefact.opened import Artefact, onnx_beside, open_artefact, sidecar_of
from y12.runtime.artefact.recipe import RANGES_KEY, Recipe, sha256_of
from y12.text import visible

__all__ = ["rebuilt"]

# With free sizes TensorRT-RTX writes one of a few programs, by chance: of yolov12n the same one in four builds of five.
_BUILDS = 15


def rebuilt(path: Path, source: Path | None, progress: Progress = silent) -> Difference:
    """Make an artefact again and return what the new one differs in; the first thing that forbids it goes before.

    Args:
        path: of the artefact.
        source: what it was made from; None for the demo model, and for what lies beside the artefact under its name.
        progress: a context manager that shows what is going on while a stage runs.

    Raises:
        ArtefactError: it does not say how it was made, or not all of it.
        OptionsError: its source is not at hand.
        Y12Error: a child says why it cannot be made again here.
    """
    artefact = open_artefact(path)
    recipe = _recipe(artefact)
    artefact = replace(artefact, manifest=replace(artefact.manifest, recipe=recipe))
    if (other := _other_version(artefact.manifest, recipe)) is not None:
        return other
    given = _source(artefact, recipe, source)
    if (other := _other_source(artefact.manifest, recipe, given)) is not None:
        return other
    with tempfile.TemporaryDirectory(prefix="y12-rebuild-") as scratch:
        config = _config(artefact, recipe, given, Path(scratch))
        made = open_artefact(export(config, progress).artefact)
        found = difference(artefact, made)
        for _ in range(_BUILDS):
            if not _may_be_chance(found, made.manifest):
                break
            with progress("build again"):
                graph = onnx.load(onnx_beside(made.path))
                made.path.write_bytes(engine_for(config.target, graph, made.manifest).built.plan)
            found = difference(artefact, made)
        return found


def _may_be_chance(found: Difference, manifest: Manifest) -> bool:
    """Return whether another build may be the one that fits; one of another length is of another graph."""
    is_of_plans = found.kind == "plan" and found.bytes_differing is not None
    return is_of_plans and not manifest.profile.is_fixed and _flavour(manifest) == "rtx"


def _recipe(artefact: Artefact) -> Recipe:
    """Return the whole recipe of an artefact; of a plan that has but its hash, from the files beside it."""
    recipe = with_whole_recipe(artefact).manifest.recipe
    if recipe is None:
        raise ArtefactError(
            f"{artefact.path}: expected a manifest that says what it was made with, found one of an older y12 or of "
            "another tool: export again to have one that can be rebuilt"
        )
    if recipe.sha256:
        name = sidecar_of(artefact.path).name
        raise ArtefactError(f"{artefact.path}: expected the recipe in {name} that the plan has the hash of, found none")
    return recipe


def _other_version(manifest: Manifest, recipe: Recipe) -> Difference | None:
    here = versions()
    for name, made_with in recipe.versions.items():
        if here.get(name) != made_with:
            return Difference("version", name, made_with, here.get(name, ""))
    if (builder := manifest.engine.get("builder")) is None:
        return None
    product = bindings_for_build(_flavour(manifest)).product
    return None if product == builder else Difference("version", "engine", builder, product)


def _flavour(manifest: Manifest) -> str:
    return "rtx" if manifest.engine["builder"].startswith("TensorRT-RTX ") else "full"


def _source(artefact: Artefact, recipe: Recipe, given: Path | None) -> Path | None:
    """Return the file an artefact is made from; None where it is a network's name.

    Raises:
        OptionsError: there is none at hand.
    """
    manifest = artefact.manifest
    name = recipe.options.get("model", manifest.source)
    if given is not None:
        if not given.is_file():
            raise OptionsError(f"--source: expected a file, found nothing at '{given}'; name what it was made from")
        return given
    if "model" in recipe.options and "model_sha256" not in recipe.options:
        return None
    if not name:
        raise ArtefactError(
            f"{artefact.path}: made of a network that Python handed over, which no file holds: it cannot be made again"
        )
    beside = artefact.path.with_name(Path(name).name)
    for path in (beside, demo_weights()):
        if path.is_file() and file_sha256(path) == recipe.options.get("model_sha256", manifest.source_sha256):
            return path
    raise OptionsError(f"--source: expected the file it was made from, {visible(name, 80)}, found none; name it")


def _other_source(manifest: Manifest, recipe: Recipe, given: Path | None) -> Difference | None:
    expected = recipe.options.get("model_sha256", manifest.source_sha256)
    found = "" if given is None else file_sha256(given)
    return None if found == expected else Difference("source", "sha256", expected, found)


def _config(artefact: Artefact, recipe: Recipe, given: Path | None, scratch: Path) -> ExportConfig:
    """Return what is to be asked for, so that the same is made."""
    manifest, options = artefact.manifest, recipe.options
    name = Path(options.get("model", manifest.source)).name
    model = name if given is None else str(scratch / "source" / name)
    if given is not None:  # its name is part of the manifest
        (scratch / "source").mkdir()
        Path(model).symlink_to(given.resolve())
    sms = tuple(int(sm) for sm in options.get("sm", "").split(",") if sm)
    workspace = float(options["workspace"]) if "workspace" in options else None
    ratios = {key: float(options[key]) for key in ("depth", "width") if key in options}
    is_engine = artefact.kind == "engine"
    return ExportConfig(
        model=model,
        scale=options.get("scale"),
        ratios=Ratios(**ratios, max_channels=int(options["max_channels"]) if "max_channels" in options else None),
        random_weights=given is None,
        format=artefact.kind,
        precision=manifest.precision,
        form=options.get("target", TARGETS[0]),
        int8=_int8(artefact, recipe) if manifest.precision == "int8" else None,
        shapes=_shapes(manifest.profile),
        target=EngineOptions(_flavour(manifest), workspace, sms) if is_engine else EngineOptions(),
        opset=int(options["opset"]) if "opset" in options else None,
        simplify=options.get("simplify") != "no",
        nms=manifest.nms if manifest.nms is not None and manifest.nms.form in OWN_NMS_FORMS else None,
        end2end={"yes": True, "no": False}.get(options.get("end2end", "")),
        verify=None,
        thresholds=manifest.thresholds,
        output=scratch / "made",
    )


def _shapes(profile: InputProfile) -> ShapeOptions:
    sides = [(getattr(profile.height, size), getattr(profile.width, size)) for size in ("min", "opt", "max")]
    return ShapeOptions(tuple(sides), (profile.batch.min, profile.batch.opt, profile.batch.max))


def _int8(artefact: Artefact, recipe: Recipe) -> Int8Options:
    """Return how the same INT8 graph is made, with the ranges that its .onnx holds.

    Raises:
        ArtefactError: they are not at hand, or others.
    """
    onnx = artefact.path if artefact.kind == "onnx" else onnx_beside(artefact.path)
    text = read_onnx_header(onnx).metadata.get(RANGES_KEY, "") if onnx.is_file() else ""
    if sha256_of(text) != recipe.ranges:
        found = "others" if text else "none"
        raise ArtefactError(
            f"{artefact.path}: expected its ranges in {onnx.name}, found {found}; bring that file beside it"
        )
    options, usual = recipe.options, QuantizeOptions()
    quantize = QuantizeOptions(
        options.get("int8_target", usual.target),
        attention=options.get("int8_attention", "no") == "yes",
        image=options.get("int8_image", "yes") == "yes",
        depthwise=options.get("int8_depthwise", "yes") == "yes",
    )
    ranges = FoundRanges(LearnedRanges.from_json(text), recipe.images)
    return Int8Options(None, quantize=quantize, found=ranges)
