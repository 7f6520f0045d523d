"""Ranges that were learned together with the weights, as a weights file carries them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import onnx

from y12.errors import CalibrationError
from y12.exporter.precision.qdq.qdq import tensors_to_calibrate
from y12.exporter.precision.quantization_options import QuantizeOptions
from y12.exporter.precision.ranges import Ranges

__all__ = ["LearnedRanges"]

_SCHEMA = 1
_MAX_CHARACTERS = 1 << 22
_MAX_KEPT = 4096


@dataclass(frozen=True)
class LearnedRanges:
    """Ranges for TensorRT's grids, and what was not quantised while they were learned.

    Attributes:
        ranges: of the simplified graph's tensors, whatever its input shapes are.
        keep: names of convolutions that stay in floating point, besides those that always do.
    """

    ranges: Ranges
    keep: frozenset[str] = frozenset()

    def to_json(self) -> str:
        """Return them as JSON text."""
        data = {"schema": _SCHEMA, "keep": sorted(self.keep), "ranges": json.loads(self.ranges.to_json())}
        return json.dumps(data, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            CalibrationError: the text is too long or something else.
        """
        if len(text) > _MAX_CHARACTERS:
            raise CalibrationError(f"learned ranges: expected at most {_MAX_CHARACTERS} characters, found {len(text)}")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CalibrationError(f"learned ranges: not readable as JSON ({error!s:.120})") from error
        if not isinstance(data, dict) or set(data) != {"schema", "keep", "ranges"} or data["schema"] != _SCHEMA:
            raise CalibrationError(f"learned ranges: expected keep, ranges and schema {_SCHEMA}")
        keep = data["keep"]
        if not isinstance(keep, list) or len(keep) > _MAX_KEPT or not all(isinstance(name, str) for name in keep):
            raise CalibrationError(f"learned ranges: expected up to {_MAX_KEPT} names under keep")
        return cls(Ranges.from_json(json.dumps(data["ranges"])), frozenset(keep))

    def options_for(self, graph: onnx.ModelProto, requested: QuantizeOptions) -> QuantizeOptions:
        """Return the options to quantise a graph with: what is asked for, and what was kept in training.

        Raises:
            CalibrationError: the options or the graph are not those the ranges were learned for.
        """
        if requested.target != "trt" or requested.attention:
            option = "--int8-attention" if requested.attention else f"--target {requested.target}"
            raise CalibrationError(
                f"learned ranges are for TensorRT's convolutions, found {option}: drop it, or add --calib"
            )
        learned = QuantizeOptions(keep=self.keep)
        expected, actual = set(tensors_to_calibrate(graph, learned)), set(self.ranges.by_tensor)
        if expected != actual:
            raise CalibrationError(
                f"learned ranges: expected those of the graph's {len(expected)} tensors, found {len(actual)} of "
                f"another ({_first(expected ^ actual)}); drop --no-simplify, or calibrate with --calib"
            )
        return replace(requested, keep=self.keep | requested.keep)


def _first(names: Iterable[str]) -> str:
    return f"first: {min(names)!r:.120}"
