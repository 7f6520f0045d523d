"""What correcting biases and choosing how weights are rounded bring to INT8: figures for docs/benchmarks.md.

    python benchmarks/int8_rounding.py yolo11n.pt --calib coco128/images/train2017 --val instances_val2017_128.json

Weights that were rounded to 8 bits before, as some published files' are, show nothing: seeded noise of half a step of
their channel's int8 grid to either side makes them ones that were not. Progress goes to stderr, the table to stdout.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from exporter.accuracy.coco_json import coco_dataset, coco_ground_truth
from exporter.accuracy.evaluate import evaluate
from exporter.accuracy.options import ValOptions
from exporter.accuracy.run import validate
from exporter.graph.index import GraphIndex
from exporter.pipeline import export
from exporter.precision.calibrate import CalibrationOptions, calibrate, calibration_images
from exporter.precision.improve.improve import improved_from
from exporter.precision.improve.layers import layers_of
from exporter.precision.improve.moments import moments_of
from exporter.precision.options import CLIPPINGS, TARGETS, ImproveOptions, QuantizeOptions
from exporter.precision.qdq import quantize, tensors_to_calibrate
from exporter.precision.qdq_plan import CONVOLUTIONS, is_last
from exporter.recipe import Recipe
from runtime.artefact import open_artefact
from runtime.images import image_from
from runtime.letterbox import blob_from
from runtime.manifest import ONNX_KEY, Manifest
from runtime.ort import OrtExecutor

PASSES = {
    "rounded to nearest": ImproveOptions(correct_bias=False, rounding="nearest"),
    "biases corrected": ImproveOptions(correct_bias=True, rounding="nearest"),
    "adaptive rounding": ImproveOptions(correct_bias=False, rounding="adaptive"),
    "both": ImproveOptions(correct_bias=True, rounding="adaptive"),
}
SURE = 0.25  # the FP32 model's detections above this are labels for the INT8 ones
ERROR_IMAGES = 32

Row = dict[str, float]  # figure → value


def noisy(graph: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Move each weight by up to half a step of its channel's int8 grid; seed 0 moves none."""
    moved = onnx.ModelProto()
    moved.CopyFrom(graph)
    random = np.random.Generator(np.random.PCG64(seed))
    names = {node.input[1] for node in graph.graph.node if node.op_type in CONVOLUTIONS}
    for weight in moved.graph.initializer:
        if seed and weight.name in names:
            values = np.asarray(numpy_helper.to_array(weight), np.float32)
            step = np.abs(values).reshape(len(values), -1).max(axis=1) / 127
            shift = random.random(values.shape, np.float32) - np.float32(0.5)
            values = values + shift * step.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return moved


class Judge:
    """Measures one noisy model's typed graphs: COCO's AP, AP against its own detections, error of its outputs."""

    def __init__(self, graph: onnx.ModelProto, manifest: Manifest, val: Path, folder: Path) -> None:
        self._graph, self._manifest, self._val, self._folder = graph, manifest, val, folder
        self._truth = coco_ground_truth(val)
        self.fp32, results = self._accuracy(graph, manifest)
        self._own = {**self._truth, "annotations": [_as_label(r) for r in results if r["score"] >= SURE]}

    def row(self, typed: onnx.ModelProto) -> Row:
        """Give a typed graph's figures."""
        values, results = self._accuracy(typed, replace(self._manifest, precision="int8"))
        own = {f"{kind} of its own": 100 * _ap(self._own, results, kind) for kind in values}
        return values | own | {"error of the outputs, %": 100 * self._error(typed)}

    def _accuracy(self, graph: onnx.ModelProto, manifest: Manifest) -> tuple[Row, list[dict[str, Any]]]:
        shown = onnx.ModelProto()
        shown.CopyFrom(graph)
        del shown.metadata_props[:]
        shown.metadata_props.add(key=ONNX_KEY, value=manifest.to_json())
        path = self._folder / "judged.onnx"
        onnx.save(shown, path)
        done = validate(path, self._val, ValOptions(provider="cpu"))
        return {f.kind: 100 * (f.values["AP"] or 0.0) for f in done.report.figures}, done.results

    def _error(self, typed: onnx.ModelProto) -> float:
        """Give the squared error of the last convolutions' outputs, of their variance; the mean of all of them."""
        index = GraphIndex(self._graph.graph)
        nodes = enumerate(self._graph.graph.node)
        names = [n.output[0] for i, n in nodes if n.op_type in CONVOLUTIONS and is_last(index, i)]
        exact, found = (_opened(graph, names) for graph in (self._graph, typed))
        errors, spreads = np.zeros(len(names)), np.zeros(len(names))
        for blob in self._blobs():
            for i, (right, given) in enumerate(zip(exact.run(blob).values(), found.run(blob).values(), strict=True)):
                errors[i] += float(((given - right) ** 2).mean())
                spreads[i] += float(right.var())
        return float((errors / spreads).mean())

    def _blobs(self) -> Iterator[NDArray[np.float32]]:
        """Give images stretched to the network's size: a letterbox's even grey errs evenly, and would outweigh them."""
        height, width = self._manifest.profile.opt_hw
        for sample in coco_dataset(self._val, None).samples[:ERROR_IMAGES]:
            yield blob_from([cv2.resize(image_from(sample.path), (width, height))])


def _opened(graph: onnx.ModelProto, names: Sequence[str]) -> OrtExecutor:
    shown = onnx.ModelProto()
    shown.CopyFrom(graph)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return OrtExecutor(shown.SerializeToString(), provider="cpu")


def _as_label(result: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("image_id", "category_id", "bbox", "segmentation", "keypoints")
    return {key: result[key] for key in kept if key in result}


def _ap(truth: dict[str, Any], results: Sequence[Mapping[str, Any]], kind: str) -> float:
    return evaluate(truth, results, kind).values["AP"] or 0.0


def rows_of(
    graph: onnx.ModelProto, manifest: Manifest, arguments: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, Row]]:
    """Quantise a model with each pass, and give the figures of each."""
    images = calibration_images(arguments.calib)
    options = QuantizeOptions(arguments.target, image=arguments.target == "trt")
    calibration = CalibrationOptions(arguments.method, symmetric=arguments.target == "trt")
    judge = Judge(graph, manifest, arguments.val, folder)
    yield "FP32", judge.fp32
    (ranges,) = calibrate(graph, tensors_to_calibrate(graph, options), images, manifest, calibration)
    layers = layers_of(graph, ranges, options)
    moments = moments_of(graph, layers.found, images, manifest, squares=True)
    for name, choice in PASSES.items():
        better = improved_from(graph, layers, ((layer, moments[layer.name]) for layer in layers.found), choice)
        print(f"{name}: {better.report}", file=sys.stderr)
        yield name, judge.row(quantize(better.graph, ranges, options, better.weights)[0])


def table(model: str, rows: Mapping[str, list[Row]]) -> Iterator[str]:
    """Give the table's lines: the mean over the seeds, and each seed's figure behind it where there are several."""
    columns = list(dict.fromkeys(column for found in rows.values() for row in found for column in row))
    yield f"| {model} | {' | '.join(columns)} |"
    yield f"| --- |{' --- |' * len(columns)}"
    for name, found in rows.items():
        cells = []
        for column in columns:
            values = [row[column] for row in found if column in row]
            each = f" ({', '.join(f'{v:.2f}' for v in values)})" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.2f}{each}" if values else "")
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint, or an FP32 .onnx")
    parser.add_argument("--calib", type=Path, required=True, help="images to calibrate on, as y12-export takes them")
    parser.add_argument("--val", type=Path, required=True, help="a COCO JSON of other images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the noise; 0 adds none")
    parser.add_argument("--target", choices=TARGETS, default="trt")
    parser.add_argument("--method", choices=CLIPPINGS, default="mse")
    arguments = parser.parse_args()
    rows: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recipe = Recipe(str(arguments.model), verify=None, output=folder)
        artefact = Path(export(recipe, lambda _stage: contextlib.nullcontext()).artefact)
        graph, manifest = onnx.load(artefact), open_artefact(artefact).manifest
        for seed in arguments.seeds:
            for name, row in rows_of(noisy(graph, seed), manifest, arguments, folder):
                rows.setdefault(name, []).append(row)
                print(f"seed {seed}, {name}: {row}", file=sys.stderr, flush=True)
    print("\n".join(table(f"{arguments.model.stem}, {arguments.target}", rows)))


if __name__ == "__main__":
    main()
