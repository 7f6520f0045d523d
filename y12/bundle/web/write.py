"""What is in the folder: the page, the model as it is, and what runs it."""

import json
from importlib import resources
from pathlib import Path

from y12.bundle.folder import Content, write_folder
from y12.bundle.web.onnxruntime_web import VERSION, WASM, WEBGPU, onnxruntime_web
from y12.errors import InputError
from y12.runtime.artefact.opened import Artefact, onnx_beside, open_artefact
from y12.runtime.artefact.output_layout import output_layout
from y12.runtime.tasks import default_options
from y12.serve.page.contents import FACTS, model_facts, page_files
from y12.text import visible

__all__ = ["facts_of", "write_web"]

MODEL = "model.onnx"
_NAME = 120  # characters of a model's name


def write_web(
    artefact: str | Path, output: Path, package: Path | None = None, *, webgpu: bool = False, exist_ok: bool = False
) -> list[str]:
    """Write an artefact as a page that runs it; give the files' names.

    Args:
        artefact: an .onnx that ends in NMS.
        output: the folder.
        package: npm's .tgz of ONNX Runtime Web; None takes the user's cache, or fetches it.
        webgpu: what runs it on a GPU is added.
        exist_ok: put it in the place of an earlier bundle of this model.

    Raises:
        ArtefactError: the file is no artefact.
        InputError: a browser cannot run it, or ONNX Runtime Web cannot be had.
        OutputError: the folder cannot be written.
    """
    opened = open_artefact(artefact)
    _check(opened)
    name = visible(opened.path.stem, _NAME)
    runtime = onnxruntime_web((*WASM, *WEBGPU) if webgpu else WASM, package)
    files: dict[str, Content] = {
        **page_files(),
        FACTS: json.dumps(facts_of(opened, name, webgpu), ensure_ascii=False).encode(),
        MODEL: opened.path,
        **{f"ort/{file}": content for file, content in runtime.items()},
        "ort/LICENSE": _own("onnxruntime_license.txt").encode(),
        "README.md": _own("readme.md").replace("{name}", name).replace("{version}", VERSION).encode(),
    }
    write_folder(output, "web", name, files, exist_ok)
    return sorted(files)


def facts_of(opened: Artefact, name: str, webgpu: bool) -> dict[str, object]:
    """Return what the page has to know of an artefact that it runs itself, JSON-able."""
    facts = model_facts(name, opened.manifest, default_options(opened.manifest), runs="browser", webgpu=webgpu)
    layout = output_layout(opened.manifest)
    shapes = {one.name: tuple(side or 1 for side in one.shape[1:]) for one in opened.outputs}
    return facts | {"protos": None if layout is None else layout.protos_in(shapes)}


def _check(opened: Artefact) -> None:
    """Refuse what the page cannot run.

    Raises:
        InputError: an engine, a graph without NMS, a classifier, or an input that the page does not fill.
    """
    path, manifest = opened.path, opened.manifest
    if opened.kind != "onnx":
        beside = onnx_beside(path).name
        raise InputError(
            f"{path}: expected an .onnx, which a browser can run, found an engine: give {beside}, exported with --nms; "
            "or y12-serve shows the page for the engine"
        )
    if manifest.task == "classify":
        raise InputError(
            f"{path}: expected a model that finds objects, found a classifier, which the page runs on a server only: "
            f"y12-serve {path}"
        )
    if manifest.nms is None:
        raise InputError(
            f"{path}: expected a graph that picks objects itself, found raw predictions: y12-export "
            f"{visible(manifest.source or 'MODEL', 100)} --nms"
        )
    (images,) = opened.inputs
    if images.dtype != "float32":
        raise InputError(f"{path}: expected an input of float32, found {images.dtype}: export it with y12-export --nms")
    if manifest.profile.batch.min > 1:
        raise InputError(
            f"{path}: expected a graph that takes one image, found batches of {manifest.profile.batch.min} or more: "
            "export it with --batch 1"
        )


def _own(name: str) -> str:
    return resources.files("y12.bundle.web").joinpath(name).read_text(encoding="utf-8")
