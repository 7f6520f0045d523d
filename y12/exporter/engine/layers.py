"""The final layers of an engine, as TensorRT reports them: read from the build log or from the engine inspector."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from y12.errors import EngineBuildError

__all__ = ["Layer", "Tensor", "UnreadLayersError", "layers_from_inspector", "layers_from_log"]

_KIND = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+)")
# TensorRT-RTX 1.4 lists no constants, and of a synchronisation its name and kind only.
_LAYER = re.compile(
    _KIND.pattern + r", Inputs: \[(?P<inputs>.*?)\](, Constants: \[(?P<constants>.*?)\])?, "
    r"Outputs: \[(?P<outputs>.*?)\], TacticName: .*?Metadata: (?P<metadata>.*)$"
)
_TENSOR = re.compile(r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<dims>[-\d,]*)\].*?Datatype: (?P<type>\w+)")
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
LIST = "Layers:"  # how the message begins that lists them
_SYNCHRONISES = {"signal", "wait"}
# A datatype is named differently by the build log ("Half") and the inspector ("Row major linear FP16 format").
_PRECISIONS = (
    ("int8", "int8"),
    ("bfloat16", "bf16"),  # before "float", which it holds
    ("bf16", "bf16"),
    ("fp16", "fp16"),
    ("half", "fp16"),
    ("fp32", "fp32"),
    ("float", "fp32"),
)


_BYTES = {"int8": 1, "bool": 1, "fp16": 2, "bf16": 2, "fp32": 4, "int32": 4, "int64": 8}


class UnreadLayersError(EngineBuildError):
    """What TensorRT says of an engine's final layers is in words that y12 does not know; the engine may be good."""


@dataclass(frozen=True)
class Tensor:
    """A layer's input, output or constant: its precision ("fp32", "fp16", "int8", or the vendor's word) and size."""

    precision: str
    elements: int

    @property
    def bytes(self) -> int:
        """Its size in memory; 4 bytes an element of a type that y12 does not know."""
        return self.elements * _BYTES.get(self.precision, 4)


@dataclass(frozen=True)
class Layer:
    """One final layer, which is one kernel launch.

    Attributes:
        name: the vendor's, such as "_gemm_mha_v2_myl0_22".
        kind: the vendor's, such as "kgen" or "correlation".
        origins: names of the ONNX nodes it computes.
        inputs, constants, outputs: what it reads and writes.
        lists_constants: whether the log tells constants at all; where it does not, the inputs alone tell a precision.
    """

    name: str
    kind: str
    origins: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    lists_constants: bool = True

    @property
    def precision(self) -> str:
        """The precision it computes in: that of its weights, or of its widest input where it has none.

        Constants of one element do not count: convolutions carry FP32 scale factors whatever their precision.
        """
        weights = [c for c in self.constants if c.elements > 1]
        if weights:
            return max(weights, key=lambda c: c.elements).precision
        known = {t.precision for t in (self.inputs or self.outputs)}
        return next((p for p in ("fp32", "bf16", "fp16", "int8") if p in known), "none")

    @property
    def bytes_moved(self) -> int:
        """What it reads and writes of the images' data, in bytes; weights are not counted."""
        return sum(tensor.bytes for tensor in (*self.inputs, *self.outputs))

    @property
    def moves_data_only(self) -> bool:
        """Return whether it computes nothing: its name, made of its steps, has only steps that move data."""
        steps = re.findall(r"[A-Z][a-z]+", self.name.split("_myl")[1] if self.name.startswith("__myl_") else "")
        return bool(steps) and all(step in _MOVING_STEPS for step in steps)


# The builder names a generated kernel after its steps, four letters each: "__myl_ReshTranResh…".
_MOVING_STEPS = {"Cast", "Conc", "Copy", "Move", "Resh", "Resi", "Slic", "Tran"}


def layers_from_log(messages: Iterable[tuple[str, str]]) -> tuple[Layer, ...]:
    """Read the message that starts "Layers:" from a VERBOSE build log; synchronisation entries are left out.

    Args:
        messages: (severity, text) of one build.

    Raises:
        UnreadLayersError: there is no such message, or a line of it is not understood.
    """
    lists = [text for _, text in messages if text.startswith(LIST)]
    if not lists:
        raise UnreadLayersError("TensorRT's build log lists no layers: it cannot be told what the engine is")
    lines = [line for line in lists[-1].splitlines()[1:] if line.startswith("Name:")]
    return tuple(layer for layer in map(_layer_from_line, lines) if layer is not None)


def _layer_from_line(line: str) -> Layer | None:
    """Read a line of the list; None where it is a synchronisation."""
    kind = _KIND.match(line)
    if kind is not None and kind["kind"] in _SYNCHRONISES:
        return None
    match = _LAYER.match(line)
    if match is None:
        raise UnreadLayersError(f"a layer in TensorRT's build log is not understood: {line:.160}")
    inputs, constants, outputs = (_tensors(match[group] or "") for group in ("inputs", "constants", "outputs"))
    origins, listed = tuple(_ORIGIN.findall(match["metadata"])), match["constants"] is not None
    return Layer(match["name"], match["kind"], origins, inputs, constants, outputs, listed)


def layers_from_inspector(text: str) -> tuple[Layer, ...]:
    """Read what full TensorRT's engine inspector says in its JSON format.

    Raises:
        UnreadLayersError: it is no such JSON.
    """
    try:
        entries = json.loads(text)["Layers"]
        return tuple(
            Layer(
                entry["Name"],
                entry["LayerType"],
                tuple(_ORIGIN.findall(entry.get("Metadata", ""))),
                _inspected(entry.get("Inputs", ())),
                _inspected(entry.get("Constants", ())),
                _inspected(entry.get("Outputs", ())),
            )
            for entry in entries
            if entry["LayerType"].lower() not in _SYNCHRONISES
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadLayersError(
            f"the engine inspector's answer is not understood ({type(error).__name__}: {error})"
        ) from error


def _tensors(text: str) -> tuple[Tensor, ...]:
    return tuple(Tensor(_precision(m["type"]), _elements(m["dims"].split(","))) for m in _TENSOR.finditer(text))


def _inspected(entries: Iterable[dict[str, object]]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            _precision(str(e.get("Format/Datatype", e.get("Datatype", "")))),
            _elements(e.get("Dimensions", ())),
        )
        for e in entries
    )


def _precision(datatype: str) -> str:
    return next((name for word, name in _PRECISIONS if word in datatype.lower()), datatype.lower())


def _elements(dims: object) -> int:
    product = 1
    for size in dims if isinstance(dims, list | tuple) else ():
        product *= abs(int(size or 1))
    return product
