"""The page's own arithmetic against the runtime's: letterbox, each form of output of each task, masks, run lengths."""

import json

import numpy as np
import pytest

from tests.bundle.web.driven import mask_of
from tests.bundle.web.host import hosted
from tests.runtime.conftest import colour_manifest, constant_model
from y12.bundle.web.write import facts_of
from y12.runtime.artefact.manifest import ONNX_KEY
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.letterbox import Letterbox, blob_from, letterbox
from y12.runtime.results.style import class_colour
from y12.runtime.session import Runtime
from y12.serve.page.contents import page_files

MOST, FOUND, PROTOS = 9, 6, (5, 16, 16)
# By task: mask coefficients, keypoints as (K, D), whether boxes have an angle.
TASKS = {
    "detect": (0, None, False),
    "segment": (5, None, False),
    "pose": (0, (17, 3), False),
    "two": (0, (4, 2), False),  # keypoints without a visibility
    "obb": (0, None, True),
    "multitask": (5, (3, 3), False),
}
FORMS = ("packed", "split", "rows")
SIZES = [(64, 64), (61, 97), (128, 30), (1, 1), (3, 200), (480, 640), (853, 1280)]  # height, width


@pytest.fixture(scope="module")
def modules(chromium, tmp_path_factory):
    """Open a page whose own modules can be called."""
    folder = tmp_path_factory.mktemp("page")
    for name, content in page_files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    with hosted(folder) as host:
        chromium.open(host.url)
        chromium.until("document.readyState === 'complete'")
        yield chromium


def called(modules, name, function, *values):
    """Call a function of a module."""
    arguments = ", ".join(json.dumps(value) for value in values)
    return modules.evaluate(f"import('./page/{name}.mjs').then((it) => it.{function}({arguments}))")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("input_hw", [(64, 64), (96, 160), (33, 65)], ids=str)
def test_a_picture_lies_where_the_runtime_lays_it(modules, size, input_hw):
    want = Letterbox.fit(size, input_hw)
    frame = called(modules, "letterbox", "fit", size[1], size[0], input_hw)
    assert (frame["left"], frame["top"], (frame["h"], frame["w"])) == (want.left, want.top, want.resized_hw)


@pytest.mark.parametrize("size", SIZES[:5], ids=str)
def test_a_picture_is_resized_as_the_runtime_does(modules, size):
    pixels = np.random.default_rng(size).integers(0, 256, (*size, 3), dtype=np.uint8)
    want = blob_from([letterbox(pixels[..., ::-1], (64, 64))[0]])[0]
    rgba = np.concatenate([pixels, np.full((*size, 1), 255, np.uint8)], axis=2)
    code = f"""import("./page/letterbox.mjs").then((it) => Array.from(
        it.blobFrom({rgba.ravel().tolist()}, it.fit({size[1]}, {size[0]}, [64, 64]))))"""
    found = np.array(modules.evaluate(code)).reshape(want.shape)
    assert np.abs(found - want).max() < 1.01 / 255


@pytest.mark.parametrize("number", [0.5, 1.5, 2.5, -0.5, -1.5, 0.4, -0.1, 7.6, 3.0, 1e6 + 0.5])
def test_a_half_goes_to_the_even_number(modules, number):
    assert called(modules, "letterbox", "evenly", number) == round(number)


def outputs_of(form, task):
    """Return what a graph of this form might say, and its manifest."""
    random = np.random.default_rng([FORMS.index(form), list(TASKS).index(task)])
    coefficients, kpt_shape, is_oriented = TASKS[task]
    corners = np.sort(random.uniform(-4, 68, (FOUND, 2, 2)), axis=1).reshape(FOUND, 4)
    scores, classes = np.sort(random.uniform(0.3, 1, FOUND))[::-1], random.integers(0, 3, FOUND)
    added = {
        "coefficients": random.normal(size=(FOUND, coefficients)),
        "keypoints": random.uniform(0, 64, (FOUND, np.prod(kpt_shape, dtype=int) if kpt_shape else 0)),
        "angles": random.uniform(-1.5, 1.5, (FOUND, int(is_oriented))),
    }
    if is_oriented:
        corners[:, 2:] = random.uniform(3, 30, (FOUND, 2))
    if kpt_shape and kpt_shape[1] == 3:
        added["keypoints"][:, 2::3] = random.uniform(0, 1, (FOUND, kpt_shape[0]))
    table = np.zeros((MOST, 6 + sum(part.shape[1] for part in added.values())), np.float32)
    table[:FOUND] = np.concatenate([corners, scores[:, None], classes[:, None], *added.values()], axis=1)
    outputs = OUTPUTS[form](table, {name: part.shape[1] for name, part in added.items() if part.shape[1]})
    if coefficients:
        outputs["protos"] = random.normal(size=(1, *PROTOS)).astype(np.float32)
    nms = NmsSettings(form, MOST, DetectOptions(conf=0.25, max_det=MOST))
    return outputs, colour_manifest(task="pose" if task == "two" else task, kpt_shape=kpt_shape, nms=nms)


def _split(table, added):
    outputs = {"num_dets": np.float32([[FOUND]]), "det_boxes": table[None, :, :4], "det_scores": table[None, :, 4]}
    outputs["det_classes"] = table[None, :, 5]
    place = 6
    for name, size in added.items():
        outputs[f"det_{name}"] = table[None, :, place : place + size]
        place += size
    return outputs


OUTPUTS = {
    "packed": lambda table, _: {
        "detections": table[None],
        "num": np.float32([[FOUND]]),
        "truncated": np.float32([[1]]),
    },
    "split": _split,
    "rows": lambda table, _: {"output0": table[None]},
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("form", FORMS)
def test_objects_are_the_runtime_s(modules, tmp_path, form, task):
    outputs, manifest = outputs_of(form, task)
    path = tmp_path / "constant.onnx"
    path.write_bytes(constant_model(outputs, {ONNX_KEY: manifest.to_json()}))
    height, width = 61, 97
    with Runtime(path) as runtime:
        want = runtime.infer(np.zeros((height, width, 3), np.uint8))
    said = {name: {"data": array.ravel().tolist(), "dims": array.shape} for name, array in outputs.items()}
    facts = facts_of(open_artefact(path), "constant", webgpu=False)
    found = modules.evaluate(f"""Promise.all([import("./page/letterbox.mjs"), import("./page/decode.mjs")]).then(
        ([{{ fit }}, {{ objectsFrom }}]) => {{
            const outputs = {json.dumps(said)};
            for (const one of Object.values(outputs)) one.data = Float32Array.from(one.data);
            const found = objectsFrom(outputs, fit({width}, {height}, [64, 64]), {json.dumps(facts)});
            for (const {{ mask }} of found.objects) if (mask) mask.bits = Array.from(mask.bits);
            return {{ ...found, width: {width}, height: {height} }};
        }})""")
    assert found["truncated"] == (form == "packed")
    assert [one["id"] for one in found["objects"]] == want.class_id.tolist()
    assert len(want) == FOUND
    np.testing.assert_allclose([one["score"] for one in found["objects"]], want.confidence, atol=1e-6)
    np.testing.assert_allclose([one["box"] for one in found["objects"]], want.xyxy, atol=1e-3)
    if want.keypoints is not None:
        np.testing.assert_allclose([one["keypoints"] for one in found["objects"]], want.keypoints, atol=1e-3)
    if want.xywhr is not None:
        corners = [record["corners"] for record in want.as_records()]
        np.testing.assert_allclose([one["corners"] for one in found["objects"]], corners, atol=2e-3)
    if want.masks is not None:
        masks = np.array([mask_of(found, i) for i in range(FOUND)])
        assert want.masks.bitmaps.any()
        assert (masks != want.masks.bitmaps).sum() <= 2  # a logit of about 0 may fall on either side
        runs = [called(modules, "masks", "runsFrom", rle["counts"]) for rle in want.masks.coco_rle()]
        assert [sum(run[1::2]) for run in runs] == want.masks.areas.tolist()
        assert {sum(run) for run in runs} == {height * width}


def test_classes_have_the_colours_that_y12_infer_draws(modules):
    code = 'import("./page/draw.mjs").then((it) => Array.from({ length: 400 }, (_, id) => it.colourOf(id)))'
    assert modules.evaluate(code) == [list(class_colour(id_)) for id_ in range(400)]


NUM, CUT = ([1, 1], 1), ([1, 1], 0)


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        ({"output0": ([1, 7, 8400], 0)}, "expected an output detections, found output0: the model is another one"),
        ({"detections": ([1, 2, 7], 0), "num": NUM}, "expected rows of 6 values, found 7: the model is another one"),
        ({"detections": ([1, 2, 6], None), "num": NUM, "truncated": CUT}, "expected finite numbers of the network"),
        ({"detections": ([1, 2, 6], 9), "num": NUM, "truncated": CUT}, "expected classes of 0 to 2, found 9: the"),
    ],
)
def test_another_model_is_told(modules, outputs, complaint):
    facts = {"form": "packed", "names": ["a", "b", "c"], "kpt_shape": None, "is_oriented": False, "protos": None}
    said = {name: {"dims": dims, "value": value} for name, (dims, value) in outputs.items()}
    code = f"""import("./page/decode.mjs").then(({{ objectsFrom }}) => {{
        const outputs = {json.dumps(said)};
        for (const one of Object.values(outputs))
            one.data = new Float32Array(one.dims.reduce((a, b) => a * b)).fill(one.value ?? NaN);
        try {{ objectsFrom(outputs, {{}}, {json.dumps(facts)}); return "nothing"; }}
        catch (error) {{ return error.message; }}
    }})"""
    assert modules.evaluate(code).startswith(complaint)
