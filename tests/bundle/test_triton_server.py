"""Both repositories on a real tritonserver, asked over HTTP and gRPC; the tensorrt backend is a stand-in's.

The environment is made for these tests, from PyPI, and is 0.6 GB.
"""

import json
import os
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from tests.bundle.tritonserver import UnavailableError, make_environment, said, triton
from tests.runtime.conftest import colour_manifest, constant_model
from y12 import Runtime
from y12.bundle.cli import main
from y12.exporter.cli.export import main as export
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import letterbox

http = pytest.importorskip("tritonclient.http", reason="pip install 'tritonclient[http]'")
grpc = pytest.importorskip("tritonclient.grpc", reason="pip install '.[triton]'")
pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]

IMAGES = 40
IN_A_BATCH = 2e-3  # pixels and scores


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Where tritonserver is."""
    try:
        yield make_environment(tmp_path_factory.mktemp("triton") / "venv")
    except UnavailableError as error:
        pytest.skip(f"no tritonserver: {error}")


@pytest.fixture(scope="module")
def artefact(shared, tmp_path_factory):
    """A trained detector at 160 pixels, for batches of 1 to 8."""
    folder = tmp_path_factory.mktemp("model")
    words = [str(shared / "checkpoints/trained/yolo11n.pt"), "--imgsz", "160", "--batch", "1:4:8", "--no-verify"]
    assert export([*words, "--output", str(folder)]) == 0
    return folder / "yolo11n.onnx"


def bundled(artefact, folder):
    """Write both, as they are served here: the .onnx takes the place of the plan that trtexec would build."""
    for backend in ("tensorrt", "python"):
        words = ["--backend", backend, "--instances", "1", "--output", str(folder / backend)]
        assert main(["triton", str(artefact), *words]) == 0
    model = folder / "tensorrt" / "tensorrt" / artefact.stem
    shutil.copy(model / "model.onnx", model / "1" / "model.plan")
    config = model / "config.pbtxt"
    config.write_text(config.read_text().replace("KIND_GPU", "KIND_CPU"))  # there is none
    return [folder / backend / backend for backend in ("tensorrt", "python")]


@pytest.fixture(scope="module")
def bundles(artefact, tmp_path_factory):
    """The two repositories."""
    folder = tmp_path_factory.mktemp("bundles")
    bundled(artefact, folder)
    return folder


@pytest.fixture(scope="module")
def server(environment, bundles, tmp_path_factory):
    """A tritonserver with both."""
    repositories = [bundles / backend / backend for backend in ("tensorrt", "python")]
    with triton(environment, repositories, tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def photos(shared):
    """Photographs that people take."""
    found = sorted((shared / "datasets/coco128/images/val2017").glob("*.jpg"))[:IMAGES]
    assert len(found) == IMAGES
    return found


@pytest.fixture(scope="module")
def expected(artefact, photos):
    """What Runtime finds in them."""
    with Runtime(artefact) as runtime:
        found = [runtime.infer(photo) for photo in photos]
    assert sum(map(len, found)) > IMAGES  # or nothing would be compared
    return found


CLIENTS = {"http": http, "grpc": grpc}


@pytest.fixture(params=list(CLIENTS))
def client(request, server):
    """A client of each protocol."""
    protocol = CLIENTS[request.param]
    with protocol.InferenceServerClient(getattr(server, request.param)) as one:
        one.protocol = protocol
        yield one


def asked(client, *contents, model="yolo11n_images", outputs=None):
    """Ask for encoded images in one request."""
    image = client.protocol.InferInput("image", [len(contents), 1], "BYTES")
    image.set_data_from_numpy(np.array(contents, object).reshape(-1, 1))
    wanted = None if outputs is None else [client.protocol.InferRequestedOutput(name) for name in outputs]
    return client.infer(model, [image], outputs=wanted)


def assert_same(answer, row, found, tolerance=0.0):
    """Equal to the last bit; in batches of other sizes ONNX Runtime adds in another order."""
    assert int(answer.as_numpy("count")[row, 0]) == len(found)
    for name, values in (("boxes", found.xyxy), ("scores", found.confidence), ("classes", found.class_id)):
        assert np.abs(answer.as_numpy(name)[row, : len(found)] - values).max(initial=0) <= tolerance


def test_images_are_answered_as_runtime_answers_them(client, photos, expected):
    for photo, found in zip(photos, expected, strict=True):
        assert_same(asked(client, photo.read_bytes()), 0, found)


def test_images_of_one_request_are_answered_together(client, photos, expected):
    answer = asked(client, *(photo.read_bytes() for photo in photos[:8]))
    for row, found in enumerate(expected[:8]):
        assert_same(answer, row, found, IN_A_BATCH)
        assert not answer.as_numpy("boxes")[row, len(found) :].any()
    with pytest.raises(Exception, match="batch-size must be <= 8"):
        asked(client, *[photos[0].read_bytes()] * 9)


def test_only_what_is_asked_for_is_answered(client, photos, expected):
    answer = asked(client, photos[0].read_bytes(), outputs=["count"])
    assert int(answer.as_numpy("count")[0, 0]) == len(expected[0])
    assert answer.as_numpy("boxes") is None


def test_the_network_s_repository_gives_the_network_s_outputs(client, artefact, photos):
    import onnxruntime as ort  # noqa: TID251

    own = ort.InferenceSession(artefact, providers=["CPUExecutionProvider"])
    for photo in photos[:5]:
        pixels, _ = letterbox(image_from(photo), (160, 160))
        batch = np.ascontiguousarray(np.moveaxis(pixels[..., ::-1], -1, 0)[None], np.float32) / 255
        images = client.protocol.InferInput("images", list(batch.shape), "FP32")
        images.set_data_from_numpy(batch)
        found = client.infer("yolo11n", [images]).as_numpy("output0")
        assert np.abs(found - own.run(None, {"images": batch})[0]).max() < 1e-3  # threads add in another order
    wrong = client.protocol.InferInput("images", [1, 3, 128, 160], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 3, 128, 160), np.float32))
    with pytest.raises(Exception, match=r"unexpected shape for input 'images'|\[-1,3,160,160\]"):
        client.infer("yolo11n", [wrong])


BAD = {
    "text": b"no image",
    "empty": b"",
    "cut": None,
    "bomb": None,
}


@pytest.fixture(params=list(BAD))
def bad(request, shared, photos):
    """What is no image, or none that is to be decoded."""
    if request.param == "cut":
        content = photos[0].read_bytes()
        return content[: len(content) // 2]
    if request.param == "bomb":
        return (shared / "images/awkward/pillow/decompression_bomb.gif").read_bytes()
    return BAD[request.param]


def test_a_bad_image_fails_alone(bad, client, server, photos, expected):
    """It comes while others do, so that it is in a batch with them."""
    before = batches(server)
    outcomes = {}

    def ask(i, content):
        with client.protocol.InferenceServerClient(server.http if client.protocol is http else server.grpc) as own:
            own.protocol = client.protocol
            try:
                outcomes[i] = asked(own, content)
            except Exception as error:
                outcomes[i] = error

    contents = [photo.read_bytes() for photo in photos[:12]]
    contents[5] = bad
    threads = [threading.Thread(target=ask, args=one) for one in enumerate(contents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "the image: " in str(outcomes[5])
    assert "0x" not in str(outcomes[5])
    assert str(getattr(outcomes[5], "status", lambda: "")()) in ("400", "StatusCode.INVALID_ARGUMENT")
    for i in set(range(12)) - {5}:
        assert_same(outcomes[i], 0, expected[i], IN_A_BATCH)
    assert batches(server) - before < 12  # some ran together


def batches(server, model="yolo11n_images"):
    """How many batches a model has run."""
    (stats,) = json.loads(server.get(f"/v2/models/{model}/stats"))["model_stats"]
    return sum(int(batch["compute_infer"]["count"]) for batch in stats["batch_stats"])


def flood(server, content, clients, each):
    """Ask with many clients at a time, and note status and seconds."""
    found = []

    def work():
        with http.InferenceServerClient(server.http, connection_timeout=30, network_timeout=60) as own:
            own.protocol = http
            for _ in range(each):
                began = time.perf_counter()
                try:
                    asked(own, content)
                    status = "200"
                except http.InferenceServerException as error:
                    status = f"{error.status()} {error.message()}"
                found.append((status, time.perf_counter() - began))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_requests_that_come_together_run_together(server, photos):
    before, count = batches(server), 80
    assert {status for status, _ in flood(server, photos[0].read_bytes(), 8, count // 8)} == {"200"}
    assert batches(server) - before <= count / 2
    (stats,) = json.loads(server.get("/v2/models/yolo11n_images/stats"))["model_stats"]
    assert {int(batch["batch_size"]) for batch in stats["batch_stats"]} & {4, 5, 6, 7, 8}


def test_what_the_queue_does_not_hold_is_unavailable_by_grpc(server, photos):
    image = grpc.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[photos[0].read_bytes()]], object))
    answers, done = [], threading.Event()

    def note(result, error):
        answers.append("ok" if error is None else str(error))
        if len(answers) == 300:
            done.set()

    with grpc.InferenceServerClient(server.grpc) as client:
        for _ in range(300):
            client.async_infer("yolo11n_images", [image], note)
        assert done.wait(120)
    refused = [answer for answer in answers if answer != "ok"]
    assert 0 < len(refused) < 300
    assert all("StatusCode.UNAVAILABLE" in answer and "Exceeds maximum queue size" in answer for answer in refused)


def test_what_the_queue_does_not_hold_is_refused_at_once(server, photos):
    """Ten times what the queue holds at a time."""
    found = flood(server, photos[0].read_bytes(), 640, 2)
    refused = [seconds for status, seconds in found if status != "200"]
    assert {status.partition(" ")[0] for status, _ in found} == {"200", "503"}
    assert any("Exceeds maximum queue size" in status for status, _ in found)
    assert len(refused) > len(found) / 2
    assert json.loads(server.get("/v2"))["name"]


@pytest.fixture
def killed(server):
    """The model whose process is killed."""
    (stub,) = server.stubs("yolo11n_images")
    os.kill(stub, signal.SIGKILL)
    time.sleep(1)
    server.get("/v2/health/ready")  # it says so
    server.get("/v2/models/yolo11n_images/ready")
    return stub


def test_the_bundle_s_client_brings_a_killed_model_back(killed, server, environment, bundles, photos, expected):
    client = [environment.python, bundles / "python" / "client.py", "--url", server.http]
    done = subprocess.run([*client, photos[0], photos[1]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{said(server)}"
    assert [line for line in done.stdout.splitlines() if not line.startswith("  ")] == [
        f"{photo}: {len(found)}" for photo, found in zip(photos[:2], expected[:2], strict=True)
    ]
    for name, confidence in zip(expected[0].class_name, expected[0].confidence, strict=True):
        assert f"  {name} {confidence:.3f} at " in done.stdout
    (stub,) = server.stubs("yolo11n_images")
    assert stub != killed


def test_the_commands_of_the_readme_bring_a_killed_model_back(killed, server, bundles, photos, expected):
    readme = (bundles / "python" / "README.md").read_text()
    commands = [line for line in readme.splitlines() if line.startswith("curl -X POST")]
    assert len(commands) == 2
    with http.InferenceServerClient(server.http) as client:
        client.protocol = http
        with pytest.raises(http.InferenceServerException, match="is not healthy"):
            asked(client, photos[0].read_bytes())
        for command in commands:
            words = command.replace("127.0.0.1:8000", server.http).split()
            assert subprocess.run([*words, "--fail", "--silent"], check=False).returncode == 0
            time.sleep(1)
        assert_same(asked(client, photos[0].read_bytes()), 0, expected[0])


def test_the_client_names_what_is_no_image(server, environment, bundles, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    client = [environment.python, bundles / "python" / "client.py", "--url", server.http, tmp_path / "text.jpg"]
    done = subprocess.run(client, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "text.jpg: [400] the image: expected an image" in done.stderr
    assert done.stderr.count("\n") == 1


def test_every_task_and_shape_is_served(environment, shared, make_colours, tmp_path, photos):
    """A graph with a fixed batch, one with free sizes, masks, keypoints and a classifier, all on one server."""
    models = {
        "fixed": make_colours(AxisRange(4, 4, 4), name="fixed.onnx"),
        "one": make_colours(AxisRange(1, 1, 1), name="one.onnx"),
        "free": make_colours(size=AxisRange(64, 64, 96), name="free.onnx"),
    }
    classes = np.array([[0.2, 0.7, 0.1]], np.float32)
    models["classes"] = tmp_path / "classes.onnx"
    said = {ONNX_KEY: colour_manifest(task="classify").to_json()}
    models["classes"].write_bytes(constant_model({"output0": classes}, said))
    for name, weights in (("masks", "yolo11n-seg"), ("keypoints", "yolov8n-pose")):
        words = [str(shared / f"checkpoints/trained/{weights}.pt"), "--imgsz", "160", "--no-verify"]
        assert export([*words, "--output", str(tmp_path / name)]) == 0
        models[name] = (tmp_path / name / f"{weights}.onnx").rename(tmp_path / f"{name}.onnx")
    repositories = [path for name, model in models.items() for path in bundled(model, tmp_path / "b" / name)]
    with triton(environment, repositories, tmp_path) as running, http.InferenceServerClient(running.http) as client:
        client.protocol = http
        for name, path in models.items():
            with Runtime(path) as runtime:
                for photo in photos[:3]:
                    answer, found = asked(client, photo.read_bytes(), model=f"{name}_images"), runtime.infer(photo)
                    assert_same(answer, 0, found)
                    if found.masks is not None:
                        runs = [json.loads(text) for text in answer.as_numpy("masks")[0]]
                        assert runs == found.masks.coco_rle()
                    if found.keypoints is not None:
                        assert (answer.as_numpy("keypoints")[0] == found.keypoints).all()
        for name, shape in (("fixed", (4, 3, 64, 64)), ("one", (1, 3, 64, 64)), ("free", (2, 3, 64, 96))):
            images = http.InferInput("images", list(shape), "FP32")
            images.set_data_from_numpy(np.full(shape, 0.5, np.float32))
            assert client.infer(name, [images]).as_numpy("output0").shape == (shape[0], 7, 1)


# What is changed, what --check says of it, and Triton's log.
WRONG = [
    ("tensorrt", "dims: [ 84, 525 ]", "dims: [ 84, 524 ]", "expected dims [84, 525]", "dims [84, 524], the graph has"),
    ("tensorrt", "TYPE_FP32 dims: [ 3", "TYPE_FP16 dims: [ 3", "expected TYPE_FP32", "TYPE_FP16, the graph has"),
    (
        "tensorrt",
        "size: [ 4, 8 ]",
        "size: [ 16 ]",
        "preferred_batch_size: expected 1 to",
        "dynamic batching preferred size",
    ),
    ("tensorrt", "max_batch_size: 8", "max_batch_size: -1", "max_batch_size: expected 1 to 8", "max_batch_size"),
    ("tensorrt", "tensorrt_plan", "tensorrt_plam", "platform and backend: expected", "platform"),
    ("tensorrt", "KIND_CPU", "KIND_GPU", "note: instance_group: Triton refuses KIND_GPU", "GPU"),
    ("tensorrt", "TYPE_FP32", "TYPE_FP31", "no value named TYPE_FP31", "failed to read text proto"),
    ("python", '"model.onnx"', '"other.onnx"', "1/other.onnx: expected a file", "other.onnx"),
]


@pytest.mark.parametrize(("backend", "right", "wrong", "told", "logged"), WRONG)
def test_what_triton_refuses_is_found_by_check(
    backend, right, wrong, told, logged, environment, bundles, artefact, tmp_path, capsys
):
    repository = tmp_path / "models"
    shutil.copytree(bundles / backend / backend, repository)
    (config,) = repository.glob("*/config.pbtxt")
    text = config.read_text()
    assert right in text
    main(["triton", str(artefact), "--check", str(repository)])
    assert told not in capsys.readouterr().out
    config.write_text(text.replace(right, wrong))
    main(["triton", str(artefact), "--check", str(repository)])
    assert told in capsys.readouterr().out
    with pytest.raises(AssertionError, match="tritonserver ended"), triton(environment, [repository], tmp_path):
        pass
    log = (tmp_path / "tritonserver.log").read_text()
    assert logged in "\n".join(line for line in log.splitlines() if "fail" in line or "rror" in line)


def test_a_batch_beyond_the_profile_is_found_by_check_alone(environment, bundles, artefact, tmp_path, capsys):
    repository = tmp_path / "models"
    shutil.copytree(bundles / "tensorrt" / "tensorrt", repository)
    (config,) = repository.glob("*/config.pbtxt")
    config.write_text(config.read_text().replace("max_batch_size: 8", "max_batch_size: 64"))
    main(["triton", str(artefact), "--check", str(repository)])
    assert "max_batch_size: expected 1 to 8, as the artefact takes 1 to 8 images" in capsys.readouterr().out
    with triton(environment, [repository], tmp_path) as running:
        assert json.loads(running.get("/v2/models/yolo11n/config"))["max_batch_size"] == 64
