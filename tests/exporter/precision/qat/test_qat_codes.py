"""What a prepared network computes and what its export does: integer by integer."""

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from qat_checks import as_if_trained, codes_beside, codes_of, with_fp32_remainder

from y12.exporter.model.build import seeded_detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.precision.calibration.calibrate import CalibrationOptions
from y12.exporter.precision.qat.convert import convert
from y12.exporter.precision.qat.fake_quant import quantize_weight, weight_steps
from y12.exporter.precision.qat.mapping import quantized_convs, simplified_graph
from y12.exporter.precision.qat.modules import QuantConv
from y12.exporter.precision.qat.prepare import QatOptions, initial_ranges, prepare
from y12.exporter.precision.qdq.qdq import QuantizeOptions, quantize
from y12.exporter.verify.verify_images import photos_dir
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import blob_from
from y12.runtime.tasks import fit_for

PHOTOS = sorted(photos_dir().glob("*.jpg"))[:2]


def trained(detector, side, images):
    """A prepared network after what could be training, its converted detector, and the detector's graphs."""
    options = QuantizeOptions()
    ranges = initial_ranges(detector, images, (side, side), options, CalibrationOptions("mse"))
    prepared = as_if_trained(prepare(detector, ranges, QatOptions()))
    converted, learned = convert(prepared)
    simplified = simplified_graph(converted, (side, side))
    typed, report = quantize(simplified, learned.ranges, options)
    return prepared, simplified, typed, report


def blob_of(path, side):
    return torch.from_numpy(blob_from([fit_for("detect")(image_from(path), (side, side))[0]]))


@torch.no_grad()
def weight_codes(network):
    """The integers (O, I, k, k) of each `QuantConv`."""
    for module in network.modules():
        if isinstance(module, QuantConv):
            weight, rows = module.folded()[0], module.rows
            wide = torch.ones(len(weight), 1, 1, 1) if rows is None else rows.view(-1, 1, 1, 1)
            steps = weight_steps(weight * wide).view(-1, 1, 1, 1)
            yield (quantize_weight(weight, rows) * wide / steps).round().numpy().astype(int)


def rows_of(weights):
    """What is not 0 of each output channel, sorted: the export splits, joins and fills up convolutions."""
    rows = [tuple(row[row != 0]) for weight in weights for row in weight.reshape(len(weight), -1).astype(int)]
    return sorted(row for row in rows if row)


def check_codes(detector, side, images, *, fp16):
    prepared, simplified, typed, report = trained(detector, side, images)
    blob = blob_of(images[0], side)
    codes = codes_of(with_fp32_remainder(typed, simplified), blob)
    assert codes.keys() == set(prepared.tensors)
    own_codes, _ = codes_beside(prepared, blob, codes)
    assert len(own_codes) == report.pairs
    differences = {
        name: np.abs(codes[name][:, : own_codes[name].shape[1]].astype(int) - own_codes[name]) for name in codes
    }
    assert max(d.max() for d in differences.values()) <= 1
    assert min((d == 0).mean() for d in differences.values()) >= 0.99  # of each tensor
    assert np.mean(np.concatenate([(d == 0).ravel() for d in differences.values()])) >= 0.999
    assert min(np.abs(c.astype(int)).max() for c in codes.values()) > 30  # they use their grids

    half = codes_of(typed, blob)  # the graph as it is exported: its FP16 remainder moves some codes to the next
    own_codes, _ = codes_beside(prepared, blob, half)
    differences = [
        np.abs(half[name][:, : own_codes[name].shape[1]].astype(int) - own_codes[name]).ravel() for name in half
    ]
    assert max(d.max() for d in differences) <= 1
    assert np.mean(np.concatenate(differences) == 0) >= fp16

    stored = [numpy_helper.to_array(w) for w in typed.graph.initializer if w.name.endswith("_int8")]
    assert rows_of(weight_codes(prepared)) == rows_of(stored)


def test_a_tiny_network_with_every_kind_of_attention(tiny):
    check_codes(tiny[0], 64, PHOTOS, fp16=0.98)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["yolov12n", "yolo11n"])
def test_published_networks(name):
    check_codes(seeded_detector(spec_from_name(name)), 160, PHOTOS, fp16=0.98)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_really_trained_network(armor, shared):
    check_codes(armor.detector, 160, [shared / "images" / "armor_blue5.png"], fp16=0.98)


def test_channels_that_the_export_fills_up_are_traced_back():
    """83 classes make branches of 83 channels in YOLOv8's head, which the export pads to 88."""
    detector = seeded_detector(spec_from_name("yolov8n", nc=83))
    graph = simplified_graph(detector, (64, 64))
    padded = [w.name for w in graph.graph.initializer if "_padded" in w.name]
    paths = {conv.path for conv in quantized_convs(detector, graph, QuantizeOptions())}
    assert len(padded) >= 6
    assert {"model.22.cv3.0.0", "model.22.cv3.0.1"} <= paths
