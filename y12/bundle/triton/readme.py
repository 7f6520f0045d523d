"""The README of a bundle: three commands, what is served, and what to do when it does not run."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from y12.bundle.triton.models import IMAGES, Model
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.opened import Artefact
from y12.text import NAME, visible

__all__ = ["readme_of"]

_PROSE = Path(__file__).parent / "files"
_EXTRAS = {"onnx": "ort", "rtx": "rtx,gpu", "full": "tensorrt,gpu"}


def readme_of(artefact: Artefact, models: Sequence[Model]) -> str:
    """Return the README of a bundle."""
    manifest, kinds = artefact.manifest, [model.repository for model in models]
    name = models[0].config.name.removesuffix(IMAGES if kinds == ["python"] else "")
    steps = [_SERVE.format(repositories=" ".join(f'--model-repository="$PWD/{kind}"' for kind in kinds))]
    if "python" in kinds:
        steps = [_install(artefact), *steps, _CLIENT]
    else:
        steps = [_first_step(models[0], manifest.profile), *steps, _CONFIG.format(name=name)]
    parts = [f"# {name} for Triton\n{_about(manifest)}", "```sh", *steps, "```"]
    prose = {name: (_PROSE / f"{name}.md").read_text(encoding="utf-8") for name in ("start", *reversed(kinds), "check")}
    start, *others = (text.replace("NAME", name) for text in prose.values())
    return "\n".join([*parts, "", start, _table(models), "", "\n".join(others)])


def _about(manifest: Manifest) -> str:
    names = ", ".join(visible(name, NAME) for name in manifest.names[:8])
    more = f" and {len(manifest.names) - 8} more" if len(manifest.names) > 8 else ""
    return (
        f"Written by y12-bundle for a model of the task {manifest.task}, {manifest.precision}; {len(manifest.names)} "
        f"classes: {names}{more}. Three commands, in this folder:\n"
    )


def _install(artefact: Artefact) -> str:
    flavour = artefact.plan_header.flavour if artefact.plan_header else artefact.kind
    return f"pip install '/path/to/y12[{_EXTRAS[flavour]}]' 'tritonclient[http]'    # y12's checkout"


def _first_step(model: Model, profile: InputProfile) -> str:
    """Return the command that makes sure of the network: it fits its configuration, it loads, or it is built."""
    place = f"{model.repository}/{model.config.name}"
    if model.repository == "onnxruntime":
        return f"y12-bundle triton {place}/1/{model.config.file} --check {model.repository}"
    if model.holds is not None:
        return f"trtexec --loadEngine={place}/1/{model.config.file}    # this TensorRT is the one that built it"
    shapes = ""
    if not profile.is_fixed:
        axes = (profile.batch, AxisRange(3, 3, 3), profile.height, profile.width)
        sizes = {kind: "x".join(str(getattr(axis, kind)) for axis in axes) for kind in ("min", "opt", "max")}
        shapes = "".join(
            " " + quote(f"--{kind}Shapes={model.config.inputs[0].name}:{size}") for kind, size in sizes.items()
        )
    return f"trtexec --onnx={place}/model.onnx --stronglyTyped{shapes} --saveEngine={place}/1/model.plan"


_SERVE = (
    "tritonserver {repositories} --model-control-mode=explicit --load-model='*' \\\n"
    "    --http-address=127.0.0.1 --grpc-address=127.0.0.1 --metrics-address=127.0.0.1"
)
_CLIENT = "python client.py photo.jpg"
_CONFIG = "curl http://127.0.0.1:8000/v2/models/{name}/config"


def _table(models: Sequence[Model]) -> str:
    rows = ["| folder | model | batch | inputs | outputs |", "|---|---|---|---|---|"]
    for model in models:
        config = model.config
        said = [
            "<br>".join(
                f"`{visible(t.name, NAME)}` {t.data_type.removeprefix('TYPE_')} {list(t.dims)}" for t in tensors
            )
            for tensors in (config.inputs, config.outputs)
        ]
        batch = f"up to {config.max_batch_size}" if config.max_batch_size else "in dims"
        rows.append(f"| `{model.repository}` | `{config.name}` | {batch} | {said[0]} | {said[1]} |")
    return "\n".join(rows)
