"""The files of a bundle for Triton."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from y12.bundle.triton.config import CONFIG
from y12.bundle.triton.models import MODEL_PY, Model
from y12.bundle.triton.readme import readme_of
from y12.runtime.artefact.opened import Artefact, sidecar_of
from y12.text import visible

__all__ = ["LABELS", "files_of"]

LABELS = "labels.txt"
_FILES = Path(__file__).parent / "files"


def files_of(artefact: Artefact, models: Sequence[Model]) -> Mapping[str, bytes | Path]:
    """Return the files of a bundle by their paths in it: what they hold, or where that lies."""
    files: dict[str, bytes | Path] = {"README.md": readme_of(artefact, models).encode()}
    labels = "".join(f"{visible(name)}\n" for name in artefact.manifest.names).encode()
    for model in models:
        folder = f"{model.repository}/{model.config.name}"
        files[f"{folder}/{CONFIG}"] = model.config.text().encode()
        files[f"{folder}/{LABELS}"] = labels
        if model.repository == "python":
            files["client.py"] = _FILES / "client.py"
            files[f"{folder}/1/{MODEL_PY}"] = _FILES / MODEL_PY
            files[f"{folder}/1/{model.holds}"] = artefact.path
            if artefact.kind == "engine":  # what has no manifest of its own in it
                sidecar = sidecar_of(Path(f"{folder}/1/{model.holds}"))
                files[sidecar.as_posix()] = artefact.manifest.to_json(indent=2).encode()
        elif model.holds is None:
            files[f"{folder}/model.onnx"] = artefact.path
            files[f"{folder}/1/BUILD"] = b"trtexec puts model.plan here: README.md has the command.\n"
        else:
            files[f"{folder}/1/{model.holds}"] = artefact.read_model() if artefact.plan_offset else artefact.path
    return files
