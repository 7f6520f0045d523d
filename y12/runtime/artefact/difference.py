"""What two artefacts differ in: the first thing that explains it, from what decides to what follows.

versions → source → options → images → ranges → the rest of the manifest → nodes → weights → bytes of the plan
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.opened import Artefact, manifest_from_sidecar, onnx_beside, sidecar_of
from y12.runtime.artefact.plan_order import are_one_renamed, are_one_reordered
from y12.runtime.artefact.recipe import Recipe
from y12.runtime.artefact.wire import Model, children, fields, mapped_model, text

__all__ = [
    "CODES",
    "Difference",
    "difference",
    "difference_of_manifests",
    "other_than_versions",
    "with_whole_recipe",
]

# What is found, and the exit code that says so; the last two are of engines that only versions tell apart (upgrade.py).
CODES = {
    "identical": 0,
    "equivalent": 10,
    "version": 11,
    "source": 12,
    "option": 13,
    "images": 14,
    "ranges": 15,
    "manifest": 16,
    "node": 17,
    "weight": 18,
    "file": 19,
    "plan": 20,
    "worse": 21,
    "not worse": 22,
}
# Fields of a manifest that say no more than which releases made it.
_OF_VERSIONS = (("manifest", "engine"), ("manifest", "producer"))


@dataclass(frozen=True)
class Difference:
    """What two artefacts differ in.

    Attributes:
        kind: one of `CODES`.
        what: the first thing that differs, such as "onnx" or a node's name; empty where nothing does.
        first, second: what it is in each.
        bytes_differing: of two plans of one length; None where that is not what tells them apart.
    """

    kind: str
    what: str = ""
    first: str = ""
    second: str = ""
    bytes_differing: int | None = None

    @property
    def code(self) -> int:
        """The exit code that says it."""
        return CODES[self.kind]

    def __str__(self) -> str:
        """Return it in one line."""
        if self.kind == "identical":
            return "identical: the same bytes"
        if self.bytes_differing is not None:
            return f"{'equivalent' if self.kind == 'equivalent' else 'differs in the plan'}: {self.what}"
        return f"differs in the {self.kind}: {self.what}: {self.first or 'none'} and {self.second or 'none'}"


def with_whole_recipe(artefact: Artefact) -> Artefact:
    """Return an engine with the recipe that lies beside it, where its plan has but the hash of that very recipe.

    Raises:
        ArtefactError: the file beside it is damaged.
    """
    manifest, sidecar = artefact.manifest, sidecar_of(artefact.path)
    if manifest.recipe is None or not manifest.recipe.sha256 or not sidecar.is_file():
        return artefact
    beside = manifest_from_sidecar(sidecar).recipe
    if beside is None or beside.digest != manifest.recipe.sha256:
        return artefact
    return replace(artefact, manifest=replace(manifest, recipe=beside))


def difference(first: Artefact, second: Artefact) -> Difference:
    """Return what two artefacts of one kind differ in.

    Raises:
        ArtefactError: one is an .onnx and the other an engine, or one cannot be read.
    """
    if first.kind != second.kind:
        raise ArtefactError(
            f"expected two artefacts of one kind, found {first.path}, an {first.kind}, and {second.path}, an "
            f"{second.kind}: name two of a kind"
        )
    if first.sha256() == second.sha256():
        return Difference("identical")
    found = difference_of_manifests(first.manifest, second.manifest)
    if found is not None:
        return found
    graphs = [a.path if a.kind == "onnx" else onnx_beside(a.path) for a in (first, second)]
    if all(path.is_file() for path in graphs) and (found := _of_graphs(*graphs)) is not None:
        return found
    if first.kind == "onnx":
        return Difference("file", "the same graph and manifest, written in other bytes", "one", "other")
    return _of_plans(first, second)


def difference_of_manifests(first: Manifest, second: Manifest) -> Difference | None:
    """Return the first thing that two manifests differ in; None where nothing does."""
    for kind, name, one, other in _facts_of_both(first, second):
        if one != other:
            return Difference(kind, name, one, other)
    return None


def other_than_versions(first: Artefact, second: Artefact) -> Difference | None:
    """Return the first thing but versions that two manifests differ in; None where the same was asked for of each."""
    for kind, name, one, other in _facts_of_both(first.manifest, second.manifest):
        if one != other and kind != "version" and (kind, name) not in _OF_VERSIONS:
            return Difference(kind, name, one, other)
    return None


def _facts_of_both(first: Manifest, second: Manifest) -> Iterator[tuple[str, str, str, str]]:
    one, other = (manifest.recipe or Recipe() for manifest in (first, second))
    if one.sha256 or other.sha256:  # of one nothing is known but its hash
        yield "option", "the recipe", one.sha256 or one.digest, other.sha256 or other.digest
        one = other = Recipe()
    yield from _each("version", {**one.versions, **_builder(first)}, {**other.versions, **_builder(second)})
    yield "source", "sha256", first.source_sha256, second.source_sha256
    yield from _each("option", one.options, other.options)
    yield "images", "sha256 of those to calibrate on", one.images, other.images
    yield "ranges", "sha256", one.ranges, other.ranges
    for name in Manifest.__dataclass_fields__:
        if name != "recipe":
            yield "manifest", name, str(getattr(first, name)), str(getattr(second, name))


def _builder(manifest: Manifest) -> dict[str, str]:
    return {"engine": manifest.engine["builder"]} if "builder" in manifest.engine else {}


def _each(kind: str, first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    for name in sorted({*first, *second}):
        yield kind, name, first.get(name, ""), second.get(name, "")


def _of_graphs(first: Path, second: Path) -> Difference | None:
    ones, others = _parts(first), _parts(second)
    for kind in ("node", "weight"):
        one, other = ones[kind], others[kind]
        for name in [*one, *(name for name in other if name not in one)]:
            found = [f"sha256 {parts[name]:.12}" if name in parts else "" for parts in (one, other)]
            if one.get(name) != other.get(name):
                return Difference(kind, name, found[0], found[1])
    return None


def _parts(path: Path) -> dict[str, dict[str, str]]:
    """Return the hash of each node and each weight of a graph by its name; field numbers are onnx.proto's."""
    found: dict[str, dict[str, str]] = {"node": {}, "weight": {}}
    with mapped_model(path) as model:
        for graph in children(model, 0, len(model.view), 7):
            for number, start, end, _ in fields(model, *graph):
                if number in (1, 5):
                    kind, name = (
                        ("node", _name(model, start, end, 3))
                        if number == 1
                        else ("weight", _name(model, start, end, 8))
                    )
                    name = name or f"the {len(found[kind]) + 1}th"
                    found[kind][name] = hashlib.sha256(model.view[start:end]).hexdigest()
    return found


def _name(model: Model, start: int, end: int, wanted: int) -> str:
    return "".join(text(model, s, e) for s, e in children(model, start, end, wanted))


def _of_plans(first: Artefact, second: Artefact) -> Difference:
    one, other = first.read_model(), second.read_model()
    if len(one) != len(other):
        return Difference("plan", "length in bytes", str(len(one)), str(len(other)))
    count = int(np.count_nonzero(np.frombuffer(one, np.uint8) != np.frombuffer(other, np.uint8)))
    differ = f"{count} bytes of {len(one)} differ"
    if are_one_reordered(one, other):
        chosen = "the order of outputs, which TensorRT chooses anew at each build"
    elif are_one_renamed(one, other):
        chosen = "the numbers of sizes, exchanged one to one, which TensorRT chooses anew at each build"
    else:
        return Difference(
            "plan", f"{differ}, of plans of one manifest, one graph and one length", bytes_differing=count
        )
    return Difference("equivalent", f"{differ}: {chosen}", bytes_differing=count)
