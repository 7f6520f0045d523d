"""Which network a weights file fits, and a strict load: nothing missing, nothing left over, nothing contradicted."""

import pytest
import torch
from checkpoint_checks import assert_equal_states, halved, loaded, refusal
from tiny_networks import published_yaml, rows, tiny_detector, write_published
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from y12.errors import CheckpointError
from y12.exporter.checkpoint.load import Checkpoint, detector_from_checkpoint, read_checkpoint
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.model.spec import spec_from_name

IMAGE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def detector():
    return tiny_detector()


def in_memory(path, state, **attributes):
    return Checkpoint(path, "", state, **({"yaml": published_yaml()} | attributes))


@pytest.mark.parametrize("channels", [1, 4])
def test_networks_for_other_than_rgb_images_are_refused_by_that_name(tmp_path, channels):
    state = seeded_detector(spec_from_name("yolo11n")).state_dict()
    state["model.0.conv.weight"] = state["model.0.conv.weight"][:, :1].repeat(1, channels, 1, 1)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=f"images of 3 channels, found one of {channels}: y12 runs RGB images"):
        detector_from_checkpoint(read_checkpoint(tmp_path / "other.pt"))


def test_a_file_saved_after_fuse_is_the_network_it_was(tmp_path):
    """As the published code saves it: folded weights, no BatchNorm, `forward` a bound method in the pickle."""
    detector = seeded_detector(spec_from_name("yolo11n"))
    folded = {}
    for name, conv in detector.named_modules():
        if isinstance(conv, Conv):
            fused = fuse_conv_bn_eval(conv.conv, conv.bn)
            folded |= {f"{name}.conv.weight": fused.weight.detach(), f"{name}.conv.bias": fused.bias.detach()}
    rest = {k: v for k, v in detector.state_dict().items() if ".bn." not in k and k not in folded}
    torch.save({**rest, **folded}, tmp_path / "fused.pt")
    loaded = detector_from_checkpoint(read_checkpoint(tmp_path / "fused.pt"))
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, actual = detector(images)["output0"], loaded(images)["output0"]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-3)


def test_published_format(tmp_path, detector):
    checkpoint = read_checkpoint(write_published(tmp_path / "tiny.pt", detector))
    assert checkpoint.architecture == "ultralytics.nn.tasks.Detector"
    assert checkpoint.batch_norm_eps == 1e-3
    copy = detector_from_checkpoint(checkpoint)
    assert copy.names == ("kind 0", "kind 1")
    assert not copy.training
    assert_equal_states(copy.state_dict(), halved(detector))
    same = tiny_detector()
    same.load_state_dict(halved(detector))
    assert torch.equal(copy(IMAGE)["output0"], same(IMAGE)["output0"])


def test_ema_comes_before_model(tmp_path, detector):
    other = tiny_detector(seed=1)
    write_published(tmp_path / "both.pt", detector, key="ema")
    assert_equal_states(loaded(tmp_path / "both.pt").state_dict(), halved(detector))
    # The tree under "model" is another: an unused name beside it must not change what is read.
    trees = {"model": other.state_dict(), "ema": detector.state_dict()}
    torch.save(trees, tmp_path / "states.pt")
    assert_equal_states(dict(read_checkpoint(tmp_path / "states.pt").state), detector.state_dict())
    torch.save(trees | {"ema": None}, tmp_path / "states.pt")
    assert_equal_states(dict(read_checkpoint(tmp_path / "states.pt").state), other.state_dict())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("model.0.conv.weight"), "missing: model.0.conv.weight"),
        (lambda s: [s.pop(k) for k in list(s) if ".bn." in k], "and 158 more"),
        (lambda s: s.update({"model.0.lora.weight": torch.zeros(1)}), "unexpected: 'model.0.lora.weight'"),
        (lambda s: s.update({"model.0.conv.weight": torch.zeros(8, 3, 5, 5)}), "is (8, 3, 5, 5), expected (8, 3, 3"),
        (lambda s: s.update({"model.0.conv.weight": s["model.0.conv.weight"].char()}), "holds torch.int8"),
        (lambda s: s.update({"model.3.m.0.0.attn.pe.conv.bias": torch.zeros(3)}), "no matching 'bn.running_mean'"),
        (lambda s: s.update({"model.8.dfl.conv.weight": torch.zeros(1, 8, 1, 1)}), "is (1, 8, 1, 1)"),
        (lambda s: s.update({"a\nb": torch.zeros(1)}), "unexpected: 'a\\nb'"),
    ],
)  # fmt: skip
def test_weights_that_contradict_the_network(tmp_path, detector, change, reason):
    state = dict(detector.state_dict())
    change(state)
    with pytest.raises(CheckpointError) as caught:
        detector_from_checkpoint(in_memory(tmp_path / "tiny.pt", state))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["num_batches_tracked", "dfl.conv.weight"])
def test_constants_are_not_taken_from_the_file(tmp_path, detector, key):
    zeros = {k: torch.zeros_like(v) if k.endswith(key) else v for k, v in detector.state_dict().items()}
    copy = detector_from_checkpoint(in_memory(tmp_path / "tiny.pt", zeros))
    assert torch.equal(copy(IMAGE)["output0"], detector(IMAGE)["output0"])


def test_batch_counts_may_be_missing(tmp_path, detector):
    state = {k: v for k, v in detector.state_dict().items() if not k.endswith("num_batches_tracked")}
    copy = detector_from_checkpoint(in_memory(tmp_path / "tiny.pt", state))
    assert torch.equal(copy(IMAGE)["output0"], detector(IMAGE)["output0"])


YAML_REFUSED = {
    "shapes": (published_yaml(row0=[-1, 1, "Conv", [16, 3, 2]]), "of another shape: model.0.conv.weight"),
    "module": (published_yaml(row0=[-1, 1, "Focus", [8, 3]]), "y12 knows (ultralytics.nn.tasks.Detector)"),
    "scale": (published_yaml() | {"scale": ["n"]}, "its scale as a letter, found ['n']"),
    "another scale": (published_yaml() | {"scale": "x"}, "unknown scale 'x'"),
    "no rows": ({"nc": 2}, "no rows under 'backbone' and 'head'"),
    "rows no list": ({"backbone": {1}, "head": 3}, "no rows under 'backbone' and 'head'"),
    "nc": (published_yaml(nc="80"), "nc must be a whole number"),
    "terabytes": (published_yaml(row1=[-1, 60, "C3k2", [16384]], scales={"n": [8.0, 1.0, 16384]}), "contradict its"),
    "tensor for a scale": (published_yaml() | {"scale": torch.zeros(3)}, "its scale as a letter, found tensor"),
    "tensor for a row": (published_yaml() | {"backbone": [torch.zeros(4)]}, "row 0: expected [from"),
}  # fmt: skip


@pytest.mark.parametrize(("yaml", "reason"), YAML_REFUSED.values(), ids=YAML_REFUSED.keys())
def test_yaml_that_contradicts_the_weights(tmp_path, detector, yaml, reason):
    assert reason in refusal(write_published(tmp_path / "tiny.pt", detector, yaml=yaml))


def test_yaml_without_scales(tmp_path, detector):
    yaml = published_yaml(scales=None) | {"depth_multiple": 1.0, "width_multiple": 1.0}
    assert loaded(write_published(tmp_path / "tiny.pt", detector, yaml=yaml)).spec.strides == (8, 16, 32)


@pytest.mark.parametrize(
    ("layout", "residual", "ratio"),
    [("turbo", False, 2.0), ("turbo", True, 1.5), ("v1", True, 1.2), ("v1", False, 1.0), ("turbo", True, 3.1)],
)
def test_what_the_rows_leave_out_is_read_off_the_weights(tmp_path, layout, residual, ratio):
    """A published YAML tells neither c3k, gamma, the MLP's ratio nor the layout."""
    said = {
        "row1": [-1, 1, "C3k2", [16, residual, 0.5]],
        "row3": [-1, 1, "A2C2f", [64, True, 4, residual, ratio, layout]],
    }
    detector = tiny_detector(**said)
    unsaid = published_yaml(row1=[-1, 1, "C3k2", [16, False, 0.5]])
    copy = loaded(write_published(tmp_path / "tiny.pt", detector, yaml=unsaid))
    assert_equal_states(copy.state_dict(), halved(detector))
    assert copy.spec.layers[3].args["layout"] == layout
    assert copy.spec.layers[3].args["area"] == 4


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({0: "a", 1: "b", 2: "c"}, "3 class names, but its network 2 classes"),
        (["a"], "1 class names, but its network 2 classes"),
        ({0: "a", 2: "b"}, "class names for the ids 0 to 1, found the ids [0, 2]"),
        ({1: "a", 2: "b"}, "found the ids [1, 2]"),
        ({"0": "a", "1": "b"}, "found the ids ['0', '1']"),
        ({False: "a", True: "b"}, "found the ids [False, True]"),
        ({0.0: "a", 1.0: "b"}, "small numbers as keys and in sets, found 0.0"),
        ([1, 2], "expected class names as strings, found [1, 2]"),
        ("ab", "expected class names as strings, found 'ab'"),
        ({0: "a", 1: None}, "expected class names as strings, found ['a', None]"),
        (torch.zeros(2), "expected class names as strings"),
    ],
)
def test_class_names_refused(tmp_path, detector, names, reason):
    assert reason in refusal(write_published(tmp_path / "tiny.pt", detector, names=names))


@pytest.mark.parametrize("names", [["cat", "dog"], {1: "dog", 0: "cat"}, ("cat", "dog")])
def test_class_names(tmp_path, detector, names):
    assert loaded(write_published(tmp_path / "tiny.pt", detector, names=names)).names == ("cat", "dog")


def test_without_class_names(tmp_path, detector):
    path = write_published(tmp_path / "tiny.pt", detector, names=None)
    assert loaded(path).names == ("class0", "class1")


@pytest.mark.parametrize("eps", [1e-5, 1e-2])
def test_batch_norm_eps_is_the_files(tmp_path, eps):
    detector = tiny_detector()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps
    copy = loaded(write_published(tmp_path / "tiny.pt", detector))
    assert {m.eps for m in copy.modules() if isinstance(m, nn.BatchNorm2d)} == {eps}


@pytest.mark.parametrize("eps", ["1e-3", -1.0, float("nan"), 2.0, 0.0, [1e-3]])
def test_batch_norm_eps_refused(tmp_path, eps):
    detector = tiny_detector()
    detector.model[0].bn.eps = eps
    assert "expected one BatchNorm eps" in refusal(write_published(tmp_path / "tiny.pt", detector))


def test_two_batch_norm_eps_refused(tmp_path):
    detector = tiny_detector()
    detector.model[0].bn.eps = 1e-5
    assert "expected one BatchNorm eps throughout" in refusal(write_published(tmp_path / "tiny.pt", detector))


@pytest.mark.parametrize("layout", ["turbo", "v1"])
def test_bias_of_the_positional_convolution(tmp_path, layout):
    detector = tiny_detector(row3=[-1, 1, "A2C2f", [64, True, 4, False, 2.0, layout]])
    state = dict(detector.state_dict())
    generator = torch.Generator().manual_seed(5)
    for name, module in list(detector.named_modules()):
        if name.endswith("attn.pe.conv"):
            module.bias = nn.Parameter(torch.randn(module.out_channels, generator=generator))
            state[f"{name}.bias"] = module.bias.detach()
    copy = detector_from_checkpoint(in_memory(tmp_path / "tiny.pt", state))
    assert not any(key.endswith("pe.conv.bias") for key in copy.state_dict())
    torch.testing.assert_close(copy(IMAGE)["output0"], detector(IMAGE)["output0"], rtol=1e-4, atol=1e-4)
    plain = detector_from_checkpoint(
        in_memory(tmp_path / "tiny.pt", {k: v for k, v in state.items() if "pe.conv.bias" not in k})
    )
    assert (plain(IMAGE)["output0"] - copy(IMAGE)["output0"]).abs().max() > 1e-2  # the bias counts


def test_spec_can_be_given(tmp_path, detector):
    spec = spec_from_yaml(rows(), "tiny.yaml", "tiny")
    copy = detector_from_checkpoint(Checkpoint(tmp_path / "tiny.pt", "", dict(detector.state_dict())), spec)
    assert torch.equal(copy(IMAGE)["output0"], detector(IMAGE)["output0"])
