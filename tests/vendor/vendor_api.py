"""The recorded TensorRT interfaces, and the question whether a call fits them."""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

RECORDS = Path(__file__).parent / "tensorrt_api"
# Classes that only the runtime uses, beside the records.
RUNTIME_CLASSES = ("IRuntimeCache", "DynamicShapesKernelSpecializationStrategy")
RUNTIME_RECORDS = Path(__file__).parent / "tensorrt_runtime_api.json"


@dataclass(frozen=True)
class Api:
    """What one release of the bindings offers, as scripts/record_tensorrt_api.py wrote it down."""

    name: str
    record: dict[str, Any]

    def has_class(self, name: str) -> bool:
        return name in self.record["classes"]

    def has_function(self, name: str) -> bool:
        return name in self.record["functions"]

    def members(self, owner: str) -> list[str]:
        return list(self.record["classes"].get(owner, {}).get("members", ()))

    def property_of(self, owner: str, name: str) -> tuple[str, bool] | None:
        """The property's type and whether it can be set; None where the class has no such property."""
        found = self.record["classes"].get(owner, {}).get("properties", {}).get(name)
        return (found[0], found[1]) if found else None

    def overloads(self, owner: str, name: str) -> list[dict[str, Any]]:
        """The overloads of a method, or of a function where `owner` is empty; [] where there is none."""
        if not owner:
            return list(self.record["functions"].get(name, ()))
        return list(self.record["classes"].get(owner, {}).get("methods", {}).get(name, ()))

    def has(self, owner: str, name: str) -> bool:
        return bool(
            name in self.members(owner)
            or self.property_of(owner, name)
            or self.overloads(owner, name)
            or (not owner and self.has_class(name))
        )


def recorded_apis() -> list[Api]:
    """Every record that lies beside the tests, by file name."""
    more = json.loads(RUNTIME_RECORDS.read_text())
    records = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))}
    return [
        Api(name, {**record, "classes": {**record["classes"], **more[name]["classes"]}})
        for name, record in records.items()
    ]


def runtime_classes(module: ModuleType, recorder: ModuleType) -> dict[str, Any]:
    """Describe `RUNTIME_CLASSES` of the bindings, as scripts/record_tensorrt_api.py describes the others."""
    owners = (getattr(module, name) for name in RUNTIME_CLASSES if hasattr(module, name))
    classes = {owner.__name__: recorder._record_class(owner) for owner in owners}
    return {"version": module.__version__, "classes": classes}


def call_fits(call: ast.Call, overloads: list[dict[str, Any]]) -> bool:
    """True where one overload takes the call's positional and keyword arguments."""
    given = len(call.args)
    keywords = {keyword.arg for keyword in call.keywords}
    for overload in overloads:
        names: list[str] = overload["arguments"]
        needed = set(names[given : overload["required"]])
        if given <= len(names) and needed <= keywords <= set(names[given:]):
            return True
    return False


def describe(overloads: list[dict[str, Any]]) -> str:
    """The argument lists one can choose from, for a message."""
    return " or ".join(sorted({f"({', '.join(overload['arguments'])})" for overload in overloads}))
