"""The rows of a model YAML, `[from, repeats, module, args]` and options, resolved to values. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from y12.errors import ModelSpecError
from y12.exporter.model.arguments import bound_args
from y12.exporter.model.attention_heads import heads_note, unfused_note
from y12.exporter.model.problems import finest_grid
from y12.exporter.model.scaling import Scaling
from y12.exporter.model.signature import MAX_CHANNELS, Signature
from y12.exporter.model.signatures import SIGNATURES
from y12.exporter.model.values import is_value, nearest
from y12.text import shown

__all__ = ["LayerSpec", "ModelSpec", "RowReader"]

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
        notes: what whoever builds it must be told, such as rows that were left out.
        unread: the rows of the YAML that were left out, as it counts them.
    """

    name: str
    task: str
    nc: int
    layers: tuple[LayerSpec, ...]
    strides: tuple[int, ...]
    kpt_shape: tuple[int, int] | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    unread: tuple[int, ...] = field(default=(), compare=False)


class RowReader:
    """Reads rows one after the other; holds what the earlier ones gave.

    Args:
        origin: what to call the YAML in messages.
        scaling: of repeats and channels.
        values: what a bare word in a row's args can stand for.
        bit: whether convolutions have their Bit form in rows that do not say; None leaves it to the module.
    """

    def __init__(self, origin: str, scaling: Scaling, values: Mapping[str, Any], bit: bool | None = None) -> None:
        self._origin = origin
        self._scaling = scaling
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
        bit, named = self._options(options, signature)
        scaled = self._scaling.repeats(repeats)
        bound = self._bound_args(module, signature, args, named)
        channels, stride = self._output(signature, bound, sources)
        if channels > MAX_CHANNELS:
            raise self._error(f"expected at most {MAX_CHANNELS} output channels, found {channels}")
        if scaled + sum(layer.repeats for layer in self._layers) > _MAX_BLOCKS:
            raise self._error(f"expected at most {_MAX_BLOCKS} repeats of all rows together")
        self._layers.append(LayerSpec(index, sources, scaled, module, bound, channels, stride, bit))

    def finish(self, name: str, nc: int, names: tuple[str, ...] = ()) -> ModelSpec:
        """Return the network; the last row is its head, and rows that nothing reads are left out.

        Raises:
            ModelSpecError: there is no head, or its maps are not of one network.
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
        strides = tuple(self._layers[s].stride for s in head.sources)
        if any(s != int(s) or s < 1 for s in strides) or list(strides) != sorted(strides):
            raise ModelSpecError(
                f"{self._origin}: row {head.index}: the head must read maps from fine to coarse, "
                f"found strides {strides}"
            )
        rows = self._read_rows()
        self._check_coarsest(rows, max(strides))
        rows = [self._with_area(row, max(strides)) for row in rows]
        self._check_areas(rows, max(strides))
        unread = tuple(row.index for row in self._layers if row.index not in {row.index for row in rows})
        notes = (*self._unread_note(unread), *_attention_notes(rows))
        whole_strides = tuple(int(s) for s in strides)
        kpt_shape = head.args.get("kpt_shape")
        return ModelSpec(name, task, nc, _renumbered(rows), whole_strides, kpt_shape, names, notes, unread)

    def _read_rows(self) -> list[LayerSpec]:
        """Return the head and what it reads, directly or not."""
        read = {self._layers[-1].index}
        for layer in reversed(self._layers):
            if layer.index in read:
                read.update(layer.sources)
        return [layer for layer in self._layers if layer.index in read]

    def _unread_note(self, unread: tuple[int, ...]) -> tuple[str, ...]:
        """Say which rows were left out, and what the head was likely meant to read: the last map of each stride."""
        if not unread:
            return ()
        head = self._layers[-1]
        last = {layer.stride: layer.index for layer in self._layers[:-1]}
        meant = [last[self._layers[s].stride] for s in head.sources]
        which = ", ".join(f"{i} ({self._layers[i].module})" for i in unread)
        hint = f"; {head.module} reads {list(head.sources)}: was {meant} meant?" if meant != [*head.sources] else ""
        return (f"{self._origin}: nothing reads row{'s' * (len(unread) > 1)} {which}, left out{hint}",)

    def _with_area(self, row: LayerSpec, max_stride: float) -> LayerSpec:
        """Fill in an area that the row leaves to us: the finest grid that divides its map at every input size."""
        if row.args.get("area", 1) is not None:
            return row
        return replace(row, args={**row.args, "area": finest_grid(max_stride / row.stride)})

    def _check_coarsest(self, rows: list[LayerSpec], max_stride: float) -> None:
        """Refuse maps coarser than the head's: inputs are multiples of its largest stride, which they need not fit."""
        for layer in rows[:-1]:
            if max_stride % layer.stride:
                raise ModelSpecError(
                    f"{self._origin}: row {layer.index}: {layer.module} makes a map of stride {layer.stride:g}, "
                    f"expected one that divides the head's largest, {max_stride:g}: inputs are multiples of that"
                )

    def _check_areas(self, rows: list[LayerSpec], max_stride: float) -> None:
        """Refuse areas that cannot be cut at every input size, a multiple of `max_stride` pixels a side."""
        for layer in rows[:-1]:
            area, side = layer.args.get("area", 1), max_stride / layer.stride
            uneven = any(side % n for n in area) if isinstance(area, tuple) else side**2 % area
            if uneven:
                raise ModelSpecError(
                    f"{self._origin}: row {layer.index}: {layer.module} 'area' must divide the {side:g}x{side:g} cells "
                    f"that its map has in the smallest input, found {shown(area)}"
                )

    def _options(self, options: list[Any], signature: Signature) -> tuple[bool, dict[str, Any]]:
        """Read a row's own options: `bit`, which is the whole YAML's where it has none, and arguments by name."""
        named = dict(options[0]) if options and isinstance(options[0], dict) else {}
        default = signature.bit if self._bit is None else self._bit
        bit = named.pop("bit", default)
        if (options and not isinstance(options[0], dict)) or not isinstance(bit, bool):
            raise self._error(
                f"expected the row's options as {{bit: true}} or {{bit: false}}, found {shown(options[0])}"
            )
        return bit, named

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

    def _bound_args(self, module: str, signature: Signature, args: object, named: Mapping[str, Any]) -> dict[str, Any]:
        try:
            bound = bound_args(module, signature, args, named, self._values)
        except ModelSpecError as error:
            raise self._error(str(error)) from None
        return {
            k: self._scaling.channels(v) if k in signature.widths and v is not None else v for k, v in bound.items()
        }

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


def _renumbered(rows: list[LayerSpec]) -> tuple[LayerSpec, ...]:
    """Number rows anew, without gaps."""
    number = {-1: -1} | {row.index: i for i, row in enumerate(rows)}
    return tuple(replace(row, index=number[row.index], sources=tuple(number[s] for s in row.sources)) for row in rows)


def _attention_notes(rows: list[LayerSpec]) -> tuple[str, ...]:
    """Say which attentions TensorRT does not fuse, and how many heads those have that do not say."""
    notes = []
    for row in rows:
        if "area" in row.args and "num_heads" in row.args:
            note = unfused_note(row.args["c2"], row.args["num_heads"], row.args["area"])
            notes += [f"row {row.index} ({row.module}): {note}"] if note else []
    by_default = [
        (row.index, row.args["c2"]) for row in rows if row.module == "AreaAttn" and row.args["num_heads"] is None
    ]
    note = heads_note(by_default)
    return (*notes, *((note,) if note else ()))
