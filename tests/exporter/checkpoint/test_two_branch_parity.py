"""YOLO26 and YOLOv10 compute, in both of their branches, what the published code computed from the same weights.

The answers are FP32's, and seeded networks amplify its rounding: at 320x320 the published outputs of yolo26n-seg are
0.017 px, 1.0e-4 in scores and 4.9e-4 in coefficients from float64. So float64 is held to them, which no processor
moves, and our FP32 to float64. A wrong network is pixels and tenths away.
"""

import numpy as np
import pytest
import torch
from published import exact_answers, noise_of
from text_models import model_of, run

from y12.errors import CheckpointError
from y12.exporter.checkpoint.load import Checkpoint, detector_from_checkpoint, read_checkpoint, spec_from_checkpoint
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.graph.best_rows import with_best_rows
from y12.exporter.model.spec import spec_from_name
from y12.runtime.artefact.output_layout import OutputLayout

NAMES = ("yolo26n", "yolo26n-seg", "yolov10n")
KINDS = ("boxes", "scores", "mask_coefficient")
BOX_PX, SCORE, LOGIT, COEFFICIENT = 2e-2, 1e-4, 1e-3, 1e-3
# `make test` sees the smaller size of the two detectors and of the masks; the rest is the same network.
SHAPES = [
    pytest.param(name, hw, marks=[pytest.mark.exhaustive] * (hw == (256, 416)))
    for name in NAMES
    for hw in ((320, 320), (256, 416))
]


@pytest.fixture(scope="module")
def networks(shared):
    folder = shared / "checkpoints" / "untrained"
    return {name: detector_from_checkpoint(read_checkpoint(folder / f"{name}.pt")) for name in NAMES}


@pytest.fixture(scope="module")
def answers(shared):
    def of(name, hw):
        data = np.load(shared / "checkpoints" / "untrained" / f"{name}.npz")
        prefix = "{}x{}.".format(*hw)
        return {key.removeprefix(prefix): data[key] for key in data if key.startswith(prefix)}

    return of


def outputs_of(detector, images, end2end):
    detector.head.end2end = end2end
    with torch.no_grad():
        ours = {name: value.numpy() for name, value in detector(images).items()}
    return exact_answers(detector, images.numpy()), ours


def assert_near(actual, expected, box_px, score):
    apart = np.abs(actual - expected)
    assert apart[:, :4].max() <= box_px
    assert apart[:, 4:84].max() <= score
    assert apart[:, 84:].max(initial=0) <= COEFFICIENT


@pytest.mark.parametrize(("name", "hw"), SHAPES)
def test_both_branches(networks, answers, name, hw):
    detector, published, images = networks[name], answers(name, hw), torch.from_numpy(noise_of(*hw))
    assert (detector.spec.name, detector.spec.layers) == (name, spec_from_name(name).layers)
    exact, ours = outputs_of(detector, images, end2end=False)
    assert_near(published["out.0"], exact["output0"], BOX_PX, SCORE)
    assert_near(ours["output0"], exact["output0"], 2 * BOX_PX, 2 * SCORE)
    if "proto" in published:
        cells = exact["protos"].reshape(1, 32, -1)[:, :, published["proto.cells"]]
        np.testing.assert_allclose(published["proto"], cells, rtol=0, atol=COEFFICIENT)
    with torch.no_grad():
        maps = detector.maps(images)
        for end2end, branch in ((False, "one2many"), (True, "one2one")):
            detector.head.end2end = end2end
            kinds = [f"{branch}.{kind}" for kind in KINDS if f"{branch}.{kind}" in published]
            assert len(kinds) == len(detector.head.branches())
            for logits, kind in zip(detector.head.logits(maps), kinds, strict=True):
                at = logits[:, :, published["anchors"]].numpy()
                np.testing.assert_allclose(at, published[kind], rtol=0, atol=LOGIT, err_msg=kind)


@pytest.mark.parametrize(("name", "hw"), SHAPES)
def test_the_best_rows_are_the_published_ones(networks, answers, name, hw):
    """The same rows by score; those whose scores are equal but for rounding may have changed places."""
    rows = answers(name, hw)["end2end"][0]
    exact, _ = outputs_of(networks[name], torch.from_numpy(noise_of(*hw)), end2end=True)
    actual = chosen(exact, rows.shape[1] - 6)
    np.testing.assert_allclose(actual[:, 4], rows[:, 4], rtol=0, atol=SCORE)
    safe = rows[rows[:, 4] > rows[-1, 4] + 2 * SCORE]  # the others may have been left out, or let in, by rounding
    assert len(safe) > 250
    for row in safe:
        apart = np.abs(actual - row)
        apart[:, 5] *= 1e3  # another class is another row
        limits = np.array([BOX_PX] * 4 + [SCORE] * 2 + [COEFFICIENT] * (rows.shape[1] - 6))
        assert (apart <= limits).all(1).any(), row


def chosen(outputs, extras):
    """The rows that an exported graph chooses of raw outputs."""
    raw = outputs["output0"].astype(np.float32)
    _, rows, anchors = raw.shape
    more = (f", float[1, {extras}, 1, 1] protos", "protos = Identity(zeros)") if extras else ("", "")
    weights = {"zeros": np.zeros((1, extras, 1, 1), np.float32)} if extras else {}
    model = model_of(
        f"(float[1, {rows}, 1, {anchors}] images) => (float[1, {rows}, {anchors}] output0{more[0]}) "
        f"{{ output0 = Squeeze(images, two) {more[1]} }}",
        two=np.array([2]),
        **weights,
    )
    final = with_best_rows(model, OutputLayout("segment" if extras else "detect", 80), 300)
    return run(final, raw[:, :, None])["output0"][0]


@pytest.mark.exhaustive  # per commit: that the networks are known is in the tests above
@pytest.mark.parametrize("name", NAMES)
def test_the_network_is_known_by_its_yaml_and_can_be_written(shared, tmp_path, name):
    checkpoint = read_checkpoint(shared / "checkpoints" / "untrained" / f"{name}.pt")
    shipped = spec_from_name(name)
    assert spec_from_checkpoint(checkpoint).layers == shipped.layers
    assert spec_from_checkpoint(checkpoint).name == name
    detector = detector_from_checkpoint(checkpoint)
    assert detector.head.end2end
    write_checkpoint(tmp_path / "again.safetensors", detector)
    again = detector_from_checkpoint(read_checkpoint(tmp_path / "again.safetensors"))
    assert again.spec.layers == shipped.layers
    assert all(torch.equal(v, detector.state_dict()[k]) for k, v in again.state_dict().items())


@pytest.mark.parametrize("name", ["yolo26n-seg", *(pytest.param(n, marks=pytest.mark.exhaustive) for n in NAMES[::2])])
def test_a_bare_state_dict_is_known_by_its_shapes(shared, name):
    """Also where it holds what only training reads."""
    checkpoint = read_checkpoint(shared / "checkpoints" / "untrained" / f"{name}.pt")
    assert any(".semseg." in key for key in checkpoint.state) == (name == "yolo26n-seg")
    assert spec_from_checkpoint(Checkpoint(checkpoint.path, "", checkpoint.state)).layers == spec_from_name(name).layers


@pytest.mark.parametrize(
    ("name", "lost"), [("yolo26n", "one2one_cv3.1.2.bias"), ("yolo26n-seg", "feat_fuse"), ("yolov10n", "cv1.2.conv1")]
)
def test_a_file_that_lacks_a_part_is_refused(shared, name, lost):
    checkpoint = read_checkpoint(shared / "checkpoints" / "untrained" / f"{name}.pt")
    state = {key: value for key, value in checkpoint.state.items() if lost not in key}
    assert len(state) < len(checkpoint.state)
    with pytest.raises(CheckpointError, match="missing: model"):
        detector_from_checkpoint(Checkpoint(checkpoint.path, "", state, yaml=checkpoint.yaml))
