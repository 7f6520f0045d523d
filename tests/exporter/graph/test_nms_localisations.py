"""Objectness and peaks in the graph: what NMS then sees is what a loop over the scores leaves."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from nms_graphs import MASKS, Raw, clustered, expected, packed, split
from text_models import model_of, run

from y12.errors import GraphError
from y12.exporter.graph.nms.nms import rows_of, with_nms
from y12.runtime.artefact.output_layout import OutputLayout

ANCHORS, HEATMAP = (OutputLayout("detect", 3, None, box_format, (1, 2)) for box_format in ("anchors", "heatmap"))
H, W = 10, 12
CELLS = H * W + H * W // 4


def heatmap_graph(rows, *, height=H, width=W, batch=1, protos=False, opset=20):
    """A graph of two levels: its images, and every second row and column of these, 0.9 times as large."""
    free = isinstance(height, str)
    cells = "A" if free else height * width * 5 // 4
    outputs = [f"float[{batch}, {rows}, {cells}] output0"]
    more = ""
    if protos:
        outputs.append(f"float[{batch}, {MASKS}, {height}, {width}] protos")
        more = "protos = Slice(images, zero, masks, one)"
    text = f"""(float[{batch}, {rows}, {height}, {width}] images) => ({", ".join(outputs)}) {{
        fine = Reshape(images, flat)
        half = Slice(images, corner, end, down_right, two_two)
        less = Mul(half, factor)
        coarse = Reshape(less, flat)
        output0 = Concat<axis=2>(fine, coarse)
        {more}
    }}"""
    constants = {"zero": [0], "masks": [MASKS], "one": [1]} if protos else {}
    constants |= {"flat": [0, 0, -1], "corner": [0, 0], "end": [999, 999], "down_right": [2, 3], "two_two": [2, 2]}
    arrays = {name: np.array(values) for name, values in constants.items()}
    model = model_of(text, factor=np.array(0.9, np.float32), **arrays)
    model.opset_import[0].version = opset
    return model


def with_peaks(images, classes):
    """What `heatmap_graph` gives, (B, rows, A), with the scores of all that are no peaks at 0."""
    levels = [images, images[:, :, ::2, ::2] * np.float32(0.9)]
    kept = []
    for level in levels:
        B, _, h, w = level.shape
        peaks = level.copy()
        for b, c, y, x in np.ndindex(B, classes, h, w):
            scores = level[b, 4 + c]
            if scores[y, x] < scores[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].max():
                peaks[b, 4 + c, y, x] = 0
        kept.append(peaks.reshape(B, len(level[0]), -1))
    return np.concatenate(kept, axis=2)


def images_of(raw, settings, batch, hw=(H, W), seed=0):
    rows = clustered(raw, settings, batch=batch, anchors=hw[0] * hw[1], seed=seed)
    rows[:, 4 : 4 + raw.classes] = np.round(rows[:, 4 : 4 + raw.classes] * 20) / 20  # some neighbours are equal
    return rows.reshape(batch, -1, *hw)


SETTINGS = {
    "plain": packed(max_det=60),
    "agnostic": packed(agnostic=True),
    "two classes": packed(classes=(0, 2)),
    "truncated": packed(candidates=22, conf=0.0),
    "more candidates than anchor points": packed(candidates=600),
    "nothing passes": packed(conf=1.0),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_only_peaks_of_heatmaps_count(settings):
    raw = Raw(batch=2, anchors=CELLS)
    graph = heatmap_graph(raw.rows, batch=2)
    model = with_nms(graph, settings, HEATMAP)
    for seed in range(4):
        images = images_of(raw, settings, 2, seed=seed)
        wanted = expected(raw, settings, with_peaks(images, 3))
        outputs = run(model, images)
        for name, values in wanted.items():
            np.testing.assert_array_equal(outputs[name], values, err_msg=name)
    if settings is SETTINGS["plain"]:
        assert 3 < wanted["num"].min() <= wanted["num"].max() < 60  # NMS decides, not the limit
        flat = np.concatenate([images.reshape(2, 7, -1), (images[..., ::2, ::2] * 0.9).reshape(2, 7, -1)], 2)
        assert (expected(raw, settings, flat)["num"] != wanted["num"]).all()  # that only peaks count matters


@pytest.mark.parametrize("hw", [(2, 2), (10, 12), (6, 30)])
def test_free_sizes_of_heatmaps(hw):
    raw, settings = Raw(), packed(candidates=50)
    graph = heatmap_graph(raw.rows, height="h", width="w", batch="B")
    model = with_nms(graph, settings, HEATMAP)
    for batch in (1, 3):
        images = images_of(raw, settings, batch, hw, seed=batch)
        outputs = run(model, images)
        for name, values in expected(raw, settings, with_peaks(images, 3)).items():
            np.testing.assert_array_equal(outputs[name], values, err_msg=name)


@pytest.mark.parametrize("opset", [17, 18, 20])
def test_masks_of_heatmaps(opset):
    raw, settings = Raw("segment", batch=2), packed()
    graph = heatmap_graph(raw.rows, batch=2, protos=True, opset=opset)
    model = with_nms(graph, settings, replace(HEATMAP, task="segment"))
    onnx.checker.check_model(model, full_check=True)
    images = images_of(raw, settings, 2)
    outputs = run(model, images)
    np.testing.assert_array_equal(outputs["detections"], expected(raw, settings, with_peaks(images, 3))["detections"])
    np.testing.assert_array_equal(outputs["protos"], images[:, :MASKS])


def anchor_graph(rows, batch="B", anchors="A", opset=20):
    text = f"(float[{batch}, {rows}, 1, {anchors}] images) => (float[{batch}, {rows}, {anchors}] output0) "
    model = model_of(text + "{ output0 = Squeeze(images, two) }", two=np.array([2]))
    model.opset_import[0].version = opset
    return model


@pytest.mark.parametrize("form", [packed, split])
@pytest.mark.parametrize("opset", [17, 20])
def test_anchors_score_objectness_times_class(form, opset):
    raw, settings = Raw(batch=2), form(conf=0.2)
    graph = anchor_graph(raw.rows + 1, opset=opset)
    model = with_nms(graph, settings, ANCHORS)
    for seed in range(4):
        rows = clustered(raw, settings, batch=2, seed=seed)
        objectness = np.random.Generator(np.random.PCG64(seed)).random((2, 1, 60), dtype=np.float32)
        outputs = run(model, np.concatenate([rows[:, :4], objectness, rows[:, 4:]], axis=1)[:, :, None])
        rows[:, 4:] *= objectness
        wanted = expected(raw, packed(conf=0.2), rows)
        if form is packed:
            np.testing.assert_array_equal(outputs["detections"], wanted["detections"])
        else:
            np.testing.assert_array_equal(outputs["num_dets"], wanted["num"])
            np.testing.assert_array_equal(outputs["det_scores"], wanted["detections"][:, :, 4])
        assert wanted["num"].min() > 3


@pytest.mark.parametrize("layout", [ANCHORS, HEATMAP])
def test_a_graph_of_another_number_of_rows(layout):
    graph = anchor_graph(9)
    with pytest.raises(GraphError, match=r"expected an output output0 \(B, [78], A\) for detect with 3 classes"):
        rows_of(graph, layout)


def test_the_engine_builds(rtx, make_profile):
    """Of heatmaps of a free size, whose levels' sizes TensorRT then computes from the image's."""
    from y12.exporter.engine.build_engine import BuildOptions, engine_from_onnx

    text = """(float[B, 3, h, w] images) => (float[B, 9, A] output0) {
        fine = Conv<strides=[8, 8]>(images, weight)
        coarse = Conv<strides=[16, 16]>(images, weight)
        fine_flat = Reshape(fine, flat)
        coarse_flat = Reshape(coarse, flat)
        output0 = Concat<axis=2>(fine_flat, coarse_flat)
    }"""
    weight = np.random.Generator(np.random.PCG64(0)).random((9, 3, 1, 1), dtype=np.float32)
    graph = model_of(text, weight=weight, flat=np.array([0, 0, -1]))
    model = with_nms(graph, packed(1024, max_det=300), OutputLayout("detect", 5, None, "heatmap", (8, 16)))
    profile = make_profile(320, 320, batch=(1, 4, 8), sides=2)
    built = engine_from_onnx(model.SerializeToString(), BuildOptions(profile), rtx)
    assert any(origin.startswith("nms/largest") for layer in built.layers for origin in layer.origins)
