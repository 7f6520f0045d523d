"""From a model's name, or the path of its YAML, to the network: `configs/models/`, or a file of the user's."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from y12.errors import ModelSpecError
from y12.exporter.model.network_yaml import REQUIRED, spec_from_yaml
from y12.exporter.model.rows import ModelSpec
from y12.exporter.model.scaling import Ratios
from y12.exporter.model.values import nearest
from y12.exporter.safe_yaml import mapping_from_yaml
from y12.text import is_text, shown

__all__ = ["TASK_SUFFIXES", "models_dir", "shipped_yaml", "spec_from_name", "specs_at_scale"]

_MAX_YAML_BYTES = 1 << 16
_MAX_YAML_DEPTH = 16

# A published name → our file: the scale letter follows the family, the rest is the variant.
_NAME = re.compile(r"(?P<family>yolov?\d+|[a-z]+(?=-))(?:-?(?P<scale>[nsmlx]))?(?P<variant>(-[a-z0-9]+)*)")
_PARENT = re.compile(r"(?P<family>.+?)-?(?P<scale>[nsmlx])")
_FAMILY_ALIASES = {"yolo12": "yolov12-v1"}
# "yolov12n-seg": what an ending of a name is called under `tasks`, which lists last rows by task or by form of head.
TASK_SUFFIXES = {
    "seg": "segment",
    "pose": "pose",
    "obb": "obb",
    "cls": "classify",
    "anchors": "anchors",
    "heatmap": "heatmap",
}


def models_dir() -> Path:
    """Return the folder with the shipped model YAMLs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs" / "models"
    return installed if installed.is_dir() else package.parents[1] / "configs" / "models"


def spec_from_name(
    name: str,
    *,
    nc: int | None = None,
    scale: str | None = None,
    ratios: Ratios = Ratios(),  # noqa: B008
) -> ModelSpec:
    """Resolve a shipped model's name ("yolov12l", "yolo12n") or the path of a model YAML ("my/yolov12s.yaml").

    A file's name may carry the scale too where there is no file of that name: "my/net-l.yaml" and "my/netl.yaml" are
    "my/net.yaml" at scale l.

    Args:
        name: of the model, or of its YAML.
        nc: replaces the YAML's number of classes.
        scale: of a YAML whose name tells none.
        ratios: what to take in place of the scale's numbers.

    Raises:
        ModelSpecError: no such model, no scale given, or the YAML is wrong.
    """
    if not is_text(name):
        raise ModelSpecError(f"expected a model's name or path in UTF-8, found {shown(name)}: rename it")
    path = Path(name)
    is_path = path.suffix in (".yaml", ".yml")
    stem = path.stem if is_path else name
    meant = (*_parents(stem, shipped=True), _split_name(stem), *_parents(stem))
    file, task, (family, named_scale, variant) = _file_at(path, meant) if is_path else _shipped_file(name, meant)
    if scale and named_scale and scale != named_scale:
        raise ModelSpecError(f"'{name}' names the scale '{named_scale}', --scale says '{scale}': drop one of them")
    scale = scale or named_scale
    full_name = f"{_full_name(family, scale, variant) if scale else stem}{ratios.suffix()}"
    return spec_from_yaml(_read_yaml(file), str(file.name), full_name, scale=scale, ratios=ratios, nc=nc, task=task)


def _full_name(family: str, scale: str, variant: str) -> str:
    """Return "yolov12n-seg" or, where the family does not end in a number, "bitfalcon-n" and "my-net-n"."""
    return f"{family}{scale}{variant}" if family[-1:].isdigit() else f"{family}{variant}-{scale}"


def specs_at_scale(scale: str, nc: int | None) -> Iterator[ModelSpec]:
    """Yield every shipped network that has a scale, each file for all of its tasks."""
    for file, data in _shipped():
        for named_scale, task, name in _names_in(file.stem, data):
            if named_scale == scale:
                yield spec_from_yaml(data, file.name, name, scale=scale, nc=nc, task=task)


def _shipped() -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in sorted(models_dir().glob("*.yaml"), key=lambda file: file.stem):
        yield file, _read_yaml(file)


def _names_in(stem: str, data: dict[str, Any]) -> Iterator[tuple[str, str | None, str]]:
    """Yield each network of a shipped file: its scale, its task and its whole name."""
    family, _, variant = stem.partition("-")
    for scale in data["scales"]:
        for task in data.get("tasks", [None]):
            suffix = next((f"-{short}" for short, long in TASK_SUFFIXES.items() if long == task), "")
            yield scale, task, _full_name(family, scale, f"{'-' * bool(variant)}{variant}{suffix}")


_Meaning = tuple[str, str | None, str]  # of a name: family, scale, variant


def _file_at(path: Path, meant: Iterable[_Meaning]) -> tuple[Path, str | None, _Meaning]:
    """Find the YAML a path means, "my/yolov12s-pose.yaml", with the task where the file found names several."""
    for meaning in meant:
        for stem, task in ((path.stem, None), *_stems(f"{meaning[0]}{meaning[2]}")):
            file = path.with_name(f"{stem}{path.suffix}")
            if os.path.isfile(file):  # unlike Path.is_file, it takes a name that is too long
                return file, task, meaning
    raise ModelSpecError(f"expected a model YAML, found no file {path}")


def _shipped_file(name: str, meant: Iterable[_Meaning]) -> tuple[Path, str | None, _Meaning]:
    shipped = {file.stem: file for file in sorted(models_dir().glob("*.yaml"), key=lambda file: file.stem)}
    bases = [(_FAMILY_ALIASES.get(meaning[0], meaning[0]) + meaning[2], meaning) for meaning in meant]
    for base, meaning in bases:
        for stem, task in _stems(base):
            if stem in shipped:
                return shipped[stem], task, meaning
    known = [full_name for file, data in _shipped() for _, _, full_name in _names_in(file.stem, data)]
    raise ModelSpecError(
        f"unknown model {shown(name)}{nearest(name, known)}; shipped: {', '.join(shipped)}, each with a scale "
        f"letter, such as yolov12n or yolov12n-v1, and for other tasks or heads -{', -'.join(TASK_SUFFIXES)}"
    )


def _stems(base: str) -> list[tuple[str, str | None]]:
    """Return the files that can hold a model: its own, and for "yolov12-pose" the one of several tasks, "yolov12"."""
    stem, _, suffix = base.rpartition("-")
    return [(base, None), *([(stem, TASK_SUFFIXES[suffix])] if suffix in TASK_SUFFIXES else [])]


def _split_name(stem: str) -> _Meaning:
    """Split "yolov12l-v1" into the family "yolov12", the scale "l" and the variant "-v1"; the scale may be missing."""
    match = _NAME.fullmatch(stem)
    return (match["family"], match["scale"], match["variant"]) if match else (stem, None, "")


def _parents(stem: str, *, shipped: bool = False) -> tuple[_Meaning, ...]:
    """Return "my_net" at scale "l" for "my_netl" and "my_net-l", which have no file of their own.

    With `shipped`, only where the parent is a shipped network's name: "bitfalconl" is never a name of its own, while
    "model" is no "mode" at scale l.
    """
    match = _PARENT.fullmatch(stem)
    if match is None or (shipped and match["family"] not in {file.stem for file in models_dir().glob("*.yaml")}):
        return ()
    return ((match["family"], match["scale"], ""),)


def shipped_yaml(stem: str) -> dict[str, Any]:
    """Return a shipped model YAML as a mapping."""
    return _read_yaml(models_dir() / f"{stem}.yaml")


def _read_yaml(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_YAML_BYTES:
        raise ModelSpecError(f"{path}: expected a YAML of at most {_MAX_YAML_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelSpecError(f"{path}: not readable as YAML: {error!s:.200}") from error
    return mapping_from_yaml(text, path, ModelSpecError, keys=", ".join(REQUIRED), max_depth=_MAX_YAML_DEPTH)
