"""The parsers themselves, unmodified, on what real networks give: every box is y12's own."""

import configparser

import numpy as np
import pytest
from PIL import Image

from y12.bundle.deepstream.make import DeepStreamOptions, make_bundle
from y12.exporter.cli.export import main
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.preprocess.letterbox import blob_from, letterbox
from y12.runtime.session import Runtime

pytestmark = pytest.mark.slow

SIDE = 320
IMAGES = 128


@pytest.fixture(scope="module")
def images(shared):
    """Real photographs as nvinfer would hand them to the network; (SIDE, SIDE, 3) BGR each."""
    paths = sorted((shared / "datasets/coco128/images/val2017").glob("*.jpg"))[:IMAGES]
    assert len(paths) >= 100
    pictures = (np.asarray(Image.open(path).convert("RGB"))[..., ::-1] for path in paths)
    return [letterbox(np.ascontiguousarray(picture), (SIDE, SIDE))[0] for picture in pictures]


def exported(shared, folder, form):
    weights = str(shared / "checkpoints/trained/yolo11n.pt")
    options = ["--imgsz", str(SIDE), "--nms", "--nms-outputs", form, "--conf", "0.1", "--no-verify"]
    assert main([weights, *options, "--output", str(folder)]) == 0
    return folder / "yolo11n.onnx"


def configured(onnx, folder):
    """What the bundle of an artefact tells nvinfer."""
    make_bundle(onnx, folder, DeepStreamOptions())
    config = configparser.ConfigParser()
    config.read(folder / "config_infer_primary.txt")
    return config


def parsed(parser, config, onnx, executor, image):
    """What nvinfer's postprocessor has of an image, and the graph's outputs, in its order and types."""
    given = executor.run(blob_from([image]))
    outputs = {tensor.name: given[tensor.name][0].astype(tensor.dtype) for tensor in open_artefact(onnx).outputs}
    _, height, width = map(int, config["property"]["infer-dims"].split(";"))
    classes = config.getint("property", "num-detected-classes")
    threshold = config.getfloat("class-attrs-all", "pre-cluster-threshold")
    return parser(outputs, (height, width), classes, threshold), outputs


def as_objects(xyxy, scores, class_ids):
    sizes = xyxy[:, 2:] - xyxy[:, :2]
    return np.concatenate([xyxy[:, :2], sizes, scores[:, None], class_ids[:, None]], axis=1).astype(np.float32)


def test_deepstream_yolo_finds_what_the_runtime_finds(shared, images, compiled, tmp_path):
    onnx = exported(shared, tmp_path, "packed")
    config = configured(onnx, tmp_path / "bundle")
    parser = compiled(config["property"]["parse-bbox-func-name"], "nvdsparsebbox_Yolo.cpp", "utils.cpp")
    executor, boxes = OrtExecutor(onnx), 0
    with Runtime(onnx) as runtime:
        for image in images:
            found, _ = parsed(parser, config, onnx, executor, image)
            wanted = runtime(image)
            wanted = wanted[(wanted.xyxy[:, 2:] - wanted.xyxy[:, :2] >= 1).all(axis=1)]  # smaller ones it passes over
            np.testing.assert_array_equal(found, as_objects(wanted.xyxy, wanted.confidence, wanted.class_id))
            boxes += len(found)
    assert boxes > 500


def test_efficient_nms_finds_what_the_graph_gives_as_it_clips(shared, images, compiled, tmp_path):
    """It clips a corner and the size, each to the input less one pixel: boxes inside are equal to the runtime's."""
    onnx = exported(shared, tmp_path, "split")
    config = configured(onnx, tmp_path / "bundle")
    parser = compiled(config["property"]["parse-bbox-func-name"], "nvdsinfer_custombboxparser.cpp")
    executor, boxes, inside = OrtExecutor(onnx), 0, 0
    with Runtime(onnx) as runtime:
        for image in images:
            found, outputs = parsed(parser, config, onnx, executor, image)
            count = int(outputs["num_dets"][0])
            scores, class_ids = outputs["det_scores"][:count], outputs["det_classes"][:count]
            wanted = as_objects(outputs["det_boxes"][:count], scores, class_ids)
            wanted[:, :4] = np.clip(wanted[:, :4], 0, SIDE - 1)
            np.testing.assert_array_equal(found, wanted)
            own = runtime(image)
            whole = ((own.xyxy > 0) & (own.xyxy < SIDE - 1)).all(axis=1)
            np.testing.assert_array_equal(found[whole], as_objects(own.xyxy, own.confidence, own.class_id)[whole])
            boxes, inside = boxes + count, inside + int(whole.sum())
    assert boxes > 500
    assert inside > boxes / 2
