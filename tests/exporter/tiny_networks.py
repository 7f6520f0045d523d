"""The smallest networks that have every module, and files in the published format made of them."""

import copy
import pickle
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.detector import Detector
from y12.exporter.model.network_yaml import spec_from_yaml

# Strides 8, 16 and 32; row 3 is attention with 2 heads in 4 bands.
ROWS: dict[str, Any] = {
    "nc": 2,
    "scales": {"n": [1.0, 1.0, 64]},
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "C3k2", [16, False, 0.25]],
        [-1, 1, "Conv", [64, 3, 4]],
        [-1, 1, "A2C2f", [64, True, 4]],
        [-1, 1, "Conv", [16, 3, 2]],
    ],
    "head": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [[3, 7, 5], 1, "Detect", ["nc"]],
    ],
}


def rows(**changes: Any) -> dict[str, Any]:
    """A copy of ROWS; `row3=[…]` replaces a row, any other keyword a top-level key, None drops it."""
    data = copy.deepcopy(ROWS)
    every = data["backbone"] + data["head"]
    for key, value in changes.items():
        if key.startswith("row"):
            every[int(key[3:])][:] = value
        elif value is None:
            del data[key]
        else:
            data[key] = value
    return data


def tiny_detector(seed: int = 0, **changes: Any) -> Detector:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        detector = detector_from_spec(spec_from_yaml(rows(**changes), "tiny.yaml", "tiny"))
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm2d):  # as if trained: no two channels alike
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.uniform_(module.bias, -0.5, 0.5)
                nn.init.uniform_(module.running_mean, -0.2, 0.2)
                nn.init.uniform_(module.running_var, 0.2, 0.4)
    detector.names = tuple(f"kind {i}" for i in range(detector.spec.nc))
    return detector


def published_yaml(**changes: Any) -> dict[str, Any]:
    return rows(**changes) | {"scale": "n", "ch": 3}


@contextmanager
def _fake_framework() -> Iterator[types.ModuleType]:
    """A module to pickle classes from; gone afterwards, as on the reader's machine."""
    module = types.ModuleType("ultralytics.nn.tasks")
    packages = {"ultralytics": types.ModuleType("ultralytics"), "ultralytics.nn": types.ModuleType("ultralytics.nn")}
    sys.modules.update({**packages, module.__name__: module})
    try:
        yield module
    finally:
        for name in (*packages, module.__name__):
            del sys.modules[name]


def _published_tree(module: nn.Module, framework: types.ModuleType) -> Any:
    kind = type(module).__name__
    if not hasattr(framework, kind):
        setattr(framework, kind, type(kind, (), {"__module__": framework.__name__}))
    pickled = getattr(framework, kind)()
    state = {"training": False, "_parameters": {}, "_buffers": {}, "_modules": {}}
    for group in ("_parameters", "_buffers"):
        for name, tensor in getattr(module, group).items():
            state[group][name] = tensor.half() if tensor is not None and tensor.is_floating_point() else tensor
    state["_modules"] = {name: _published_tree(child, framework) for name, child in module.named_children()}
    if isinstance(module, nn.BatchNorm2d):
        state["eps"] = module.eps
    vars(pickled).update(state)
    return pickled


def write_published(path: Path, detector: Detector, key: str = "model", **attributes: Any) -> Path:
    """Write a detector as the training framework does: a pickled module tree in half precision under `key`."""
    with _fake_framework() as framework:
        tree = _published_tree(detector, framework)
        attributes = {"yaml": published_yaml(), "names": dict(enumerate(detector.names))} | attributes
        vars(tree).update({k: v for k, v in attributes.items() if v is not None})
        torch.save({"epoch": -1, "ema": None, key: tree}, path)
    return path


def write_zip(
    path: Path,
    pickled: bytes,
    data: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
    root: str = "archive/",
) -> Path:
    """Write a .pt by hand: `pickled` is its data.pkl, `data` its other entries."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}data.pkl", pickled)
        for name, content in (data or {}).items():
            archive.writestr(f"{root}{name}", content)
    return path


def text(value: str) -> bytes:
    """The opcode that pushes a string."""
    encoded = value.encode()
    return pickle.BINUNICODE + len(encoded).to_bytes(4, "little") + encoded


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """The opcodes that call `module.name` with what the arguments' opcodes push."""
    return b"c" + f"{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def storage(kind: str = "FloatStorage", key: str = "0", elements: bytes = b"K\x04", tag: str = "storage") -> bytes:
    """The opcodes that refer to tensor data; `elements` pushes their number."""
    return b"(" + text(tag) + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + elements + b"tQ"


def tensor(store: bytes, offset: bytes = b"K\x00", size: bytes = b"K\x04\x85", stride: bytes = b"K\x01\x85") -> bytes:
    """The opcodes that make a tensor of tensor data."""
    return call("torch._utils", "_rebuild_tensor_v2", store, offset, size, stride, b"\x89", b"}")


def pickled(*opcodes: bytes) -> bytes:
    return b"\x80\x02" + b"".join(opcodes) + b"."
