"""The Open Inference Protocol on a real server, spoken by NVIDIA's client: results equal Runtime's to the last bit."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.serve.conftest import encoded
from y12 import Runtime
from y12.exporter.cli.export import main as export
from y12.runtime.preprocess.images import image_from_bytes

http = pytest.importorskip("tritonclient.http", reason="no client: pip install 'tritonclient[http]'")
FIELDS = {"boxes": "xyxy", "scores": "confidence", "classes": "class_id"}
COUNT = 44


@pytest.fixture(scope="module")
def files():
    """Files of every kind of size and format, with two or three colours each: where the box lies differs by image."""
    rng = np.random.default_rng(12)
    kinds = ("JPEG", "PNG", "WEBP", "BMP")
    made = []
    for i in range(COUNT):
        coarse = rng.integers(0, 256, (2, 3, 3), dtype=np.uint8)
        coarse[..., i % 3] |= 0xA0
        size = (int(rng.integers(20, 300)), int(rng.integers(20, 300)))
        made.append(encoded(np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST)), kinds[i % 4]))
    return made


@pytest.fixture(scope="module")
def wanted(colours, files):
    with Runtime(colours) as runtime:
        found = [runtime.infer(image_from_bytes(file, "x")) for file in files]
    assert sum(map(len, found)) > 40
    assert len({box.xyxy.tobytes() for box in found}) > 30
    return found


@pytest.fixture
def client(server):
    with http.InferenceServerClient(f"127.0.0.1:{server.port}", connection_timeout=30, network_timeout=30) as client:
        yield client


def ask(client, name, array, kind, *, binary=True, out=True, outputs=FIELDS, model="colours", **options):
    tensor = http.InferInput(name, list(array.shape), kind)
    tensor.set_data_from_numpy(array, binary_data=binary)
    named = [http.InferRequestedOutput(name, binary_data=out) for name in outputs or ()]
    return client.infer(model, [tensor], outputs=named or None, **options)


def blobs(*files):
    return np.array(files, object)


def pixels(file):
    return np.ascontiguousarray(image_from_bytes(file, "x")[..., ::-1])[None]


def assert_equal(answer, found, row=0):
    for name, field in FIELDS.items():
        value = answer.as_numpy(name)[row][: len(found)]
        assert np.array_equal(value, getattr(found, field)), name


FORMS = {
    "BYTES in binary": lambda client, file: ask(client, "image", blobs(file), "BYTES"),
    "BYTES in binary, answer in JSON": lambda client, file: ask(client, "image", blobs(file), "BYTES", out=False),
    "BYTES, no outputs named": lambda client, file: ask(client, "image", blobs(file), "BYTES", outputs=None),
    "base64 in JSON": lambda client, file: ask(
        client, "image", blobs(base64.b64encode(file)), "BYTES", binary=False, out=False
    ),
    "UINT8 in binary": lambda client, file: ask(client, "pixels", pixels(file), "UINT8"),
    "UINT8 in JSON": lambda client, file: ask(client, "pixels", pixels(file), "UINT8", binary=False),
    "gzip": lambda client, file: ask(client, "image", blobs(file), "BYTES", request_compression_algorithm="gzip"),
    "deflate": lambda client, file: ask(client, "image", blobs(file), "BYTES", request_compression_algorithm="deflate"),
    "an answer in gzip is asked for": lambda client, file: ask(
        client, "image", blobs(file), "BYTES", response_compression_algorithm="gzip"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_image_gives_what_the_runtime_gives(form, client, files, wanted):
    count = COUNT if form in ("BYTES in binary", "UINT8 in binary") else 6
    for file, found in zip(files[:count], wanted[:count], strict=True):
        assert_equal(FORMS[form](client, file), found)


def test_the_address_for_people_gives_what_the_runtime_gives(server, files, wanted):
    for file, found in zip(files, wanted, strict=True):
        assert server.detect(file)[1]["detections"] == found.as_records()


def test_many_clients_at_a_time_get_their_own(server, files, wanted):
    before = server.metric("y12_batch_images_count")

    def work(number):
        with http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            for i in range(number, COUNT, 8):
                assert_equal(ask(client, "image", blobs(files[i]), "BYTES"), wanted[i])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert server.metric("y12_batch_images_count") - before < COUNT  # some of them ran together


def test_images_of_one_request_are_filled_up_to_the_longest(client, files, wanted):
    nothing = encoded(np.zeros((20, 20, 3), np.uint8))
    answer = ask(client, "image", blobs(nothing, *files[:3]), "BYTES", outputs=("count", *FIELDS))
    assert answer.as_numpy("count").ravel().tolist() == [0, *map(len, wanted[:3])]
    assert not answer.as_numpy("boxes")[0].any()
    for row, found in enumerate(wanted[:3], 1):
        assert_equal(answer, found, row)


def test_pixels_of_several_images(client, files, wanted):
    whole = np.concatenate([pixels(files[0])] * 3)
    answer = ask(client, "pixels", whole, "UINT8")
    for row in range(3):
        assert_equal(answer, wanted[0], row)


def test_what_the_server_and_the_model_say_of_themselves(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("colours")
    assert client.is_model_ready("colours", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    model = client.get_model_metadata("colours")
    assert [(given["name"], given["datatype"]) for given in model["inputs"]] == [
        ("image", "BYTES"),
        ("pixels", "UINT8"),
    ]
    assert [given["name"] for given in model["outputs"]] == ["count", "boxes", "scores", "classes"]
    assert model["parameters"]["class_names"] == ["red", "green", "blue"]


def test_thresholds_are_the_request_s_own(client, files, wanted):
    found = next(i for i, one in enumerate(wanted) if len(one) == 1 and one.confidence[0] < 0.9)
    asked = {"conf": 0.95}
    assert ask(client, "image", blobs(files[found]), "BYTES", parameters=asked).as_numpy("boxes").shape[1] == 0
    name = wanted[found].class_name[0]
    kept = ask(client, "image", blobs(files[found]), "BYTES", parameters={"classes": name})
    assert_equal(kept, wanted[found])
    with pytest.raises(http.InferenceServerException, match=r"conf: expected a number from 0 to 1, found 2"):
        ask(client, "image", blobs(files[0]), "BYTES", parameters={"conf": 2.0})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: ask(c, "image", blobs(b"no image"), "BYTES"), "expected an image"),
        (lambda c: ask(c, "image", blobs(b"ok?", b""), "BYTES"), "image 0: expected an image"),
        (lambda c: ask(c, "picture", blobs(b"x"), "BYTES"), "expected image of BYTES or pixels of UINT8"),
        (lambda c: ask(c, "pixels", np.zeros((1, 4, 4, 3), np.float32), "FP32"), "found 'pixels' of 'FP32'"),
        (lambda c: ask(c, "pixels", np.zeros((1, 3, 4, 4), np.uint8), "UINT8"), "RGB, found"),
        (lambda c: ask(c, "image", blobs(b"x"), "BYTES", outputs=("bowes",)), "expected some of count, boxes"),
        (lambda c: ask(c, "image", blobs(b"x"), "BYTES", model="other"), "expected the model 'colours'"),
        (lambda c: ask(c, "image", blobs(b"x"), "BYTES", model_version="2"), "expected the version 1"),
        (lambda c: ask(c, "image", blobs(b"x"), "BYTES", priority=1), "found 'priority'"),
        (lambda c: c.get_model_config("colours"), "expected /, /detect, /metrics or /v2/"),
        (lambda c: c.get_inference_statistics("colours"), "expected /, /detect, /metrics or /v2/"),
        (lambda c: c.get_system_shared_memory_status(), "expected /, /detect, /metrics or /v2/"),
    ],
)
def test_what_is_refused_the_client_can_read(call, message, client):
    with pytest.raises(http.InferenceServerException, match=message):
        call(client)


@pytest.fixture(scope="module")
def yolo(shared, tmp_path_factory):
    """A trained network and photographs."""
    folder = tmp_path_factory.mktemp("yolo")
    weights = shared / "checkpoints" / "trained" / "yolo11n-seg.pt"
    words = [str(weights), "--imgsz", "160", "--batch", "1:4:8", "--no-verify", "--output", str(folder)]
    assert export(words) == 0
    photos = sorted((shared / "datasets" / "coco128" / "images" / "val2017").glob("*.jpg"))[:COUNT]
    return next(folder.glob("*.onnx")), photos


@pytest.mark.exhaustive  # a real export; the others show the same of a network that takes no time
def test_a_trained_network_s_results_are_the_runtime_s_by_both_protocols(yolo, start):
    model, photos = yolo
    server = start(model, "--name", "seg")
    with Runtime(model) as runtime, http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        boxes = 0
        for photo in photos:
            found = runtime.infer(photo)
            answer = ask(client, "image", blobs(photo.read_bytes()), "BYTES", model="seg", outputs=(*FIELDS, "masks"))
            assert_equal(answer, found)
            masks = [json.loads(run) for run in answer.as_numpy("masks")[0]]
            assert masks == found.masks.coco_rle()
            status, record = server.detect(photo.read_bytes(), "?masks=rle")
            assert (status, record["detections"]) == (200, found.as_records("rle"))
            boxes += len(found)
        assert boxes > 80


def test_a_file_that_pillow_made_is_decoded_as_a_path_is(files):
    """The comparison above holds nothing if both sides decode alike and wrong."""
    with Image.open(BytesIO(files[1])) as image:
        assert np.array_equal(image_from_bytes(files[1], "x"), np.asarray(image.convert("RGB"))[..., ::-1])
