import shutil
from pathlib import Path

import pytest
import torch

from y12.errors import CheckpointError, ModelSpecError, OptionsError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.scaling import Ratios
from y12.exporter.model.spec import models_dir, spec_from_name
from y12.exporter.train.initial import NetworkChoice, network_from, starting_detector

NAMES = ("person", "face")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "five.safetensors"
    write_checkpoint(path, seeded_detector(spec_from_name("yolov12n", nc=5)))
    return path


def test_new_weights_are_seeded_and_score_low() -> None:
    detector, note = starting_detector(network_from(NetworkChoice("yolov12n")), NAMES, seed=3)
    again, _ = starting_detector(network_from(NetworkChoice("yolov12n")), NAMES, seed=3)
    other, _ = starting_detector(network_from(NetworkChoice("yolov12n")), NAMES, seed=4)
    assert note == "yolov12n: new weights, seed 3"
    assert (detector.spec.nc, detector.names) == (2, NAMES)
    own, same, different = (d.state_dict()["model.0.conv.weight"] for d in (detector, again, other))
    assert torch.equal(own, same)
    assert not torch.equal(own, different)
    with torch.no_grad():
        scores = detector.eval()(torch.rand(1, 3, 64, 64))["output0"][:, 4:]
    assert 0.003 < scores.mean() < 0.03


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    starting_detector(network_from(NetworkChoice("yolov12n")), NAMES, seed=3)
    assert torch.equal(torch.rand(1), expected)


def test_weights_are_taken_where_they_fit(weights: Path) -> None:
    detector, note = starting_detector(network_from(NetworkChoice(weights=weights)), NAMES, seed=0)
    source = detector_from_checkpoint(read_checkpoint(weights)).state_dict()
    own = detector.state_dict()
    fitting = [k for k in own if own[k].shape == source[k].shape]
    assert all(torch.equal(own[k], source[k]) for k in fitting)
    new = [k for k in own if k not in fitting]
    assert new == [f"model.21.cv3.{level}.2.{part}" for level in range(3) for part in ("weight", "bias")]
    assert note.startswith("yolov12n: ")
    assert note.endswith("; new: model.21.cv3.0.2.weight, model.21.cv3.0.2.bias, model.21.cv3.1.2.weight …")
    assert f"of {sum(not k.endswith('tracked') for k in own)} tensors from five.safetensors" in note


def test_weights_of_the_same_classes_are_taken_whole(weights: Path) -> None:
    detector, note = starting_detector(network_from(NetworkChoice(weights=weights)), tuple("abcde"), seed=0)
    source = detector_from_checkpoint(read_checkpoint(weights)).state_dict()
    assert all(torch.equal(value, source[key]) for key, value in detector.state_dict().items())
    assert "new:" not in note


def test_a_backbone_serves_another_head(weights: Path) -> None:
    _, note = starting_detector(network_from(NetworkChoice("yolov12n-seg", weights)), NAMES, seed=0)
    taken, own = (int(word) for word in note.split(": ")[1].split(" tensors")[0].split(" of "))
    assert 600 < taken < own
    assert "tensors from five.safetensors; new: model.6.gamma, model.8.gamma, model.21.cv3.0.2.weight …" in note


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (None, OptionsError, "expected a network to train: add --model yolov12n, or --weights FILE"),
        ("yolov99n", ModelSpecError, "unknown model"),
        ("yolov12", ModelSpecError, "which scale"),
    ],
)
def test_no_network_is_refused(model: str | None, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        network_from(NetworkChoice(model))


def test_weights_that_fit_nothing_are_refused(weights: Path) -> None:
    network = network_from(NetworkChoice("yolov12n", weights))
    assert network.source is not None
    for name in list(network.source.state_dict()):
        path, _, last = name.rpartition(".")
        module = network.source.get_submodule(path)
        other = torch.zeros(1, 1, 1, 1, 1)
        if last in module._buffers:
            module._buffers[last] = other
        else:
            module._parameters[last] = torch.nn.Parameter(other)
    with pytest.raises(OptionsError, match=r"--weights: expected weights for yolov12n, found .* nothing fits"):
        starting_detector(network, NAMES, seed=0)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match=r"not a sound \.safetensors file"):
        network_from(NetworkChoice(weights=path))


def test_a_parent_and_a_scale_begin_as_the_file_of_that_scale_bit_for_bit(tmp_path):
    shutil.copy(models_dir() / "bitfalcon.yaml", tmp_path)
    choices = [
        NetworkChoice(str(tmp_path / "bitfalcon.yaml"), scale="s"),
        NetworkChoice(str(tmp_path / "bitfalcon-s.yaml")),
        NetworkChoice(str(tmp_path / "bitfalcons.yaml")),
        NetworkChoice("bitfalcon", scale="s"),
    ]
    first, *others = (starting_detector(network_from(choice), NAMES, seed=3)[0] for choice in choices)
    for other in others:
        assert other.spec.name == "bitfalcon-s"
        states = zip(first.state_dict().items(), other.state_dict().items(), strict=True)
        assert all(key == other_key and torch.equal(value, same) for (key, value), (other_key, same) in states)


def test_ratios_make_a_network_to_train():
    network = network_from(NetworkChoice("yolov12-lite", ratios=Ratios(0.33, 0.25)))
    assert network.spec.layers == network_from(NetworkChoice("yolov12n-lite")).spec.layers


@pytest.mark.parametrize("choice", [{"scale": "l"}, {"ratios": Ratios(0.5)}])
def test_a_size_without_a_model_is_refused(choice, tmp_path):
    with pytest.raises(OptionsError, match="--max-channels are of --model, and none was named"):
        NetworkChoice(weights=tmp_path / "a.pt", **choice)
