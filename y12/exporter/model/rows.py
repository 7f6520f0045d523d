"""The rows of a model YAML, `[from, repeats, module, args]` and options, resolved to values. No torch here."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from y12.errors import ModelSpecError
from y12.exporter.model.signature import MAX_CHANNELS, Arg, Signature
from y12.exporter.model.signatures import SIGNATURES
from y12.text import shown

_MAX_REPEATS = 64
_MAX_BLOCKS = 1024  # repeats of all rows together; the largest published network has 41


@dataclass(frozen=True)
class LayerSpec:
    """One resolved row.

    Attributes:
        index: its number, counted through backbone and head.
        sources: the rows whose outputs it takes; -1 is the image.
        repeats: scaled by depth.
        module: a key of `y12.exporter.model.signatures.SIGNATURES`.
        args: every argument by name, defaults filled in, `c2` scaled by width.
        channels: of its output map; 0 for a head.
        stride: pixels per cell of its output map; 0 for a head.
        bit: whether its convolutions have their Bit form (`y12.exporter.model.blocks.bit`).
    """

    index: int
    sources: tuple[int, ...]
    repeats: int
    module: str
    args: Mapping[str, Any]
    channels: int
    stride: float
    bit: bool = False


@dataclass(frozen=True)
class ModelSpec:
    """A network at one scale.

    Attributes:
        name: such as "yolov12n".
        task: the task of its head.
        nc: number of classes.
        layers: all rows, the head last.
        strides: pixels per cell of the maps the head reads, finest first.
        kpt_shape: (K, D) of the keypoints it predicts; None where it predicts none.
        names: of the classes; empty where the YAML does not tell.
    """

    name: str
    task: str
    nc: int
    layers: tuple[LayerSpec, ...]
    strides: tuple[int, ...]
    kpt_shape: tuple[int, int] | None = None
    names: tuple[str, ...] = ()


def is_value(value: object, types: type | tuple[type, ...]) -> bool:
    """Return whether a YAML value has a type; a bool is no number here."""
    allowed = types if isinstance(types, tuple) else (types,)
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, allowed) and not (isinstance(value, float) and not math.isfinite(value))


def nearest(word: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name nearest to a word; empty where none is near."""
    close = difflib.get_close_matches(word[:80], list(known), n=1, cutoff=0.5) if isinstance(word, str) else []
    return f"; did you mean '{close[0]}'?" if close else ""


_MAX_NESTING = 3  # of an argument: levels of anchors of width and height


def _fixed(value: Any, depth: int = _MAX_NESTING) -> Any:
    """Return a list, and the lists in it, as tuples; what is nested deeper is no argument of ours, and left alone."""
    nested = isinstance(value, list | tuple) and depth
    return tuple(_fixed(entry, depth - 1) for entry in value) if nested else value


class RowReader:
    """Reads rows one after the other; holds what the earlier ones gave.

    Args:
        origin: what to call the YAML in messages.
        scale: depth, width and max_channels.
        values: what a bare word in a row's args can stand for.
        bit: whether convolutions have their Bit form in rows that do not say; None leaves it to the module.
    """

    def __init__(
        self, origin: str, scale: tuple[float, float, int], values: Mapping[str, Any], bit: bool | None = None
    ) -> None:
        self._origin = origin
        self._depth, self._width, self._max_channels = scale
        self._values = values
        self._bit = bit
        self._layers: list[LayerSpec] = []

    def read(self, row: object) -> None:
        """Resolve the next row.

        Raises:
            ModelSpecError: naming the row, and the nearest known name where one is unknown.
        """
        index = len(self._layers)
        if not isinstance(row, list | tuple) or len(row) not in (4, 5):
            raise self._error(f"expected [from, repeats, module, args], found {shown(row, 80)}")
        source, repeats, module, args, *options = row
        signature = SIGNATURES.get(module) if isinstance(module, str) else None
        if signature is None:
            raise self._error(
                f"unknown module {shown(module)}{nearest(module, SIGNATURES)}; known: {', '.join(SIGNATURES)}"
            )
        if self._layers and SIGNATURES[self._layers[-1].module].head:
            raise self._error(f"'{module}' follows the head, which must be the last row")
        sources = self._sources(source, signature, module)
        if not is_value(repeats, int) or not 1 <= repeats <= _MAX_REPEATS:
            raise self._error(f"repeats must be a whole number from 1 to {_MAX_REPEATS}, found {shown(repeats)}")
        if repeats > 1 and (signature.repeats == "once" or not signature.gives_c2):
            raise self._error(f"'{module}' cannot be repeated: expected 1, found {repeats}")
        scaled = max(round(repeats * self._depth), 1) if repeats > 1 else 1
        bound = self._bound_args(args, signature, module)
        channels, stride = self._output(signature, bound, sources)
        if channels > MAX_CHANNELS:
            raise self._error(f"expected at most {MAX_CHANNELS} output channels, found {channels}")
        if scaled + sum(layer.repeats for layer in self._layers) > _MAX_BLOCKS:
            raise self._error(f"expected at most {_MAX_BLOCKS} repeats of all rows together")
        bit = self._option_bit(options, signature)
        self._layers.append(LayerSpec(index, sources, scaled, module, bound, channels, stride, bit))

    def finish(self, name: str, nc: int, names: tuple[str, ...] = ()) -> ModelSpec:
        """Return the network; the last row is its head.

        Raises:
            ModelSpecError: there is no head, or a row's output is never used.
        """
        head = self._layers[-1]
        task = SIGNATURES[head.module].head
        if not task:
            known = [module for module, signature in SIGNATURES.items() if signature.head]
            raise ModelSpecError(
                f"{self._origin}: the last row must be a head ({', '.join(known)}), found {head.module}"
            )
        if head.args["nc"] != nc:
            raise ModelSpecError(
                f"{self._origin}: row {head.index}: the head has {head.args['nc']} classes, but nc is {nc}; write [nc]"
            )
        used = {source for layer in self._layers for source in layer.sources}
        for layer in self._layers[:-1]:
            if layer.index not in used:
                raise ModelSpecError(
                    f"{self._origin}: row {layer.index} ({layer.module}): no other row uses its output"
                )
        strides = tuple(self._layers[s].stride for s in head.sources)
        if any(s != int(s) or s < 1 for s in strides) or list(strides) != sorted(strides):
            raise ModelSpecError(
                f"{self._origin}: row {head.index}: the head must read maps from fine to coarse, "
                f"found strides {strides}"
            )
        self._check_coarsest(max(strides))
        self._check_areas(max(strides))
        whole_strides = tuple(int(s) for s in strides)
        return ModelSpec(name, task, nc, tuple(self._layers), whole_strides, head.args.get("kpt_shape"), names)

    def _check_coarsest(self, max_stride: float) -> None:
        """Refuse maps coarser than the head's: inputs are multiples of its largest stride, which they need not fit."""
        for layer in self._layers[:-1]:
            if max_stride % layer.stride:
                raise ModelSpecError(
                    f"{self._origin}: row {layer.index}: {layer.module} makes a map of stride {layer.stride:g}, "
                    f"expected one that divides the head's largest, {max_stride:g}: inputs are multiples of that"
                )

    def _check_areas(self, max_stride: float) -> None:
        """Refuse areas that cannot be cut at every input size, a multiple of `max_stride` pixels a side."""
        for layer in self._layers[:-1]:
            area, side = layer.args.get("area", 1), max_stride / layer.stride
            uneven = any(side % n for n in area) if isinstance(area, tuple) else side**2 % area
            if uneven:
                raise ModelSpecError(
                    f"{self._origin}: row {layer.index}: {layer.module} 'area' must divide the {side:g}x{side:g} cells "
                    f"that its map has in the smallest input, found {shown(area)}"
                )

    def _option_bit(self, options: list[Any], signature: Signature) -> bool:
        """Read a row's own options, which are those of the whole YAML where it has none."""
        given = options[0] if options else {}
        if not isinstance(given, dict) or not given.keys() <= {"bit"} or not isinstance(given.get("bit", True), bool):
            raise self._error(f"expected the row's options as {{bit: true}} or {{bit: false}}, found {shown(given)}")
        default = signature.bit if self._bit is None else self._bit
        return bool(given.get("bit", default))

    def _error(self, problem: str) -> ModelSpecError:
        return ModelSpecError(f"{self._origin}: row {len(self._layers)}: {problem}")

    def _sources(self, source: Any, signature: Signature, module: str) -> tuple[int, ...]:
        index = len(self._layers)
        wanted = "a list of rows" if signature.many else "one row"
        if isinstance(source, list | tuple) != signature.many or (signature.many and not source):
            raise self._error(f"'from' of {module} must be {wanted}, found {shown(source)}")
        entries = list(source) if isinstance(source, list | tuple) else [source]
        for entry in entries:
            if not isinstance(entry, int) or not self._is_earlier(entry):
                raise self._error(
                    f"'from' {shown(entry)} names no earlier row; "
                    f"there are rows 0 to {index - 1}, and -1 is the one before"
                )
        return tuple(-1 if index == 0 else entry % index if entry < 0 else entry for entry in entries)

    def _is_earlier(self, entry: int) -> bool:
        index = len(self._layers)
        return is_value(entry, int) and (0 <= entry < index or -max(index, 1) <= entry < 0)

    def _bound_args(self, args: object, signature: Signature, module: str) -> dict[str, Any]:
        if not isinstance(args, list | tuple):
            raise self._error(f"args of {module} must be a list, found {shown(args)}")
        if len(args) > len(signature.args):
            names = ", ".join(arg.name for arg in signature.args)
            raise self._error(f"{module} takes at most {len(signature.args)} args ({names}), found {len(args)}")
        bound = {arg.name: self._value(arg, args[i : i + 1], module) for i, arg in enumerate(signature.args)}
        for name in signature.widths:
            bound[name] = self._scaled_channels(bound[name])
        return bound

    def _value(self, arg: Arg, given: list[Any] | tuple[Any, ...], module: str) -> Any:
        if not given:
            if arg.default is ...:
                raise self._error(f"{module} needs the argument '{arg.name}'")
            return arg.default
        value = given[0]
        if isinstance(value, str) and value in self._values:
            value = self._values[value]
        elif isinstance(value, str) and value not in arg.choices:
            # The field writes None as a bare word, which YAML reads as a string.
            if value == "None" and is_value(None, arg.types):
                return None
            known = [*self._values, *map(str, arg.choices)]
            raise self._error(
                f"{module} '{arg.name}': unknown name {shown(value)}{nearest(value, known)}; known: {', '.join(known)}"
            )
        if not is_value(value, arg.types) or (arg.choices and value not in arg.choices):
            types = arg.types if isinstance(arg.types, tuple) else (arg.types,)
            wanted = " or ".join(map(str, arg.choices) if arg.choices else (t.__name__ for t in types))
            raise self._error(f"{module} '{arg.name}' must be {wanted}, found {shown(value)}")
        if is_value(value, (int, float)) and not arg.minimum <= value <= arg.maximum:
            raise self._error(
                f"{module} '{arg.name}' must be from {arg.minimum} to {arg.maximum}, found {shown(value)}"
            )
        return _fixed(value)

    def _scaled_channels(self, channels: int) -> int:
        return 8 * math.ceil(min(channels, self._max_channels) * self._width / 8)

    def _output(self, signature: Signature, args: Mapping[str, Any], sources: tuple[int, ...]) -> tuple[int, float]:
        """Return the channels and the stride of the row's output map."""
        inputs = [(3, 1.0) if s == -1 else (self._layers[s].channels, self._layers[s].stride) for s in sources]
        problem = signature.problem(tuple(c for c, _ in inputs), args)
        if problem:
            raise self._error(problem)
        if signature.head:
            return 0, 0.0
        strides = {stride for _, stride in inputs}
        if len(strides) > 1:
            raise self._error(f"its inputs differ in size: rows {list(sources)} have strides {sorted(strides)}")
        channels = args["c2"] if signature.gives_c2 else sum(c for c, _ in inputs)
        return channels, strides.pop() * signature.stride(args)
