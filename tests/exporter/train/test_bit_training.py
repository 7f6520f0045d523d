"""Bit convolutions in the training loop: latent weights in FP32 are what is trained, averaged, frozen and resumed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.exporter.train.batches import batch_of
from y12.errors import OptionsError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.model.blocks.bit import BitConv2d, bit_layers, ternary
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.detector import Detector
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.precision.qat.prepare import QatOptions, initial_ranges, prepare
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.exporter.precision.ranges import Ranges
from y12.exporter.train.batch import Batch
from y12.exporter.train.loop import Course, StepLog, fabric_for, train
from y12.exporter.train.options import OptimizerOptions, TuneOptions

ROWS = {
    "nc": 3,
    "bit": True,
    "scales": {"n": [1.0, 1.0, 64]},
    "backbone": [
        [-1, 1, "Conv", [16, 3, 4], {"bit": False}],
        [-1, 1, "RELAN", [32, 2]],
        [-1, 1, "AreaAttn", [64, 4]],
        [-1, 1, "SepConv7x7", [64, 2]],
    ],
    "head": [[[2, 3], 1, "BitDetect", ["nc"]]],
}
OPTIONS = TuneOptions(
    epochs=6, batch=2, accelerator="cpu", validate_every=0, optimizer=OptimizerOptions(lr=1e-2, warmup=1)
)


class Keeper:
    """Keeps losses and the averaged detector, and stops the run as a signal would."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after, self.losses, self.kept = stop_after, list[dict[str, float]](), list[Detector]()

    def started(self, step: int, steps: int) -> None:
        self.begun = step

    def stepped(self, log: StepLog) -> None:
        self.losses.append(log.losses)
        if log.step == self.stop_after:
            raise KeyboardInterrupt

    def measured(self, step: int, figures: dict[str, float], best: Detector | None) -> None:
        assert best is not None
        self.kept.append(best)


class Same:
    """The same batch again and again."""

    def __getitem__(self, index: int) -> Batch:
        return batch_of()


def new_detector() -> Detector:
    torch.manual_seed(1)
    return detector_from_spec(spec_from_yaml(ROWS, "tiny.yaml", "tiny bit"))


def run(folder: Path, options: TuneOptions = OPTIONS, stop_after: int | None = None) -> tuple[Detector, Keeper]:
    folder.mkdir(exist_ok=True)
    detector, keeper = new_detector(), Keeper(stop_after)
    train(fabric_for(options), detector, Course(Same(), 1, lambda _: {"AP": 0.0}), options, folder, keeper)
    return detector, keeper


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Keeper]:
    return run(tmp_path_factory.mktemp("whole"))


def codes_of(detector: Detector) -> list[torch.Tensor]:
    return [ternary(layer.weight)[0] for layer in bit_layers(detector)]


def test_training_moves_latent_weights_and_turns_codes_over(trained: tuple[Detector, Keeper]) -> None:
    before, (after, keeper) = new_detector(), trained
    assert len(bit_layers(after)) == len(bit_layers(before)) > 10
    for old, new in zip(bit_layers(before), bit_layers(after), strict=True):
        assert new.weight.dtype == torch.float32
        assert not torch.equal(old.weight, new.weight)
    turned = [not torch.equal(a, b) for a, b in zip(codes_of(before), codes_of(after), strict=True)]
    assert sum(turned) > len(turned) / 2
    totals = [sum(losses.values()) for losses in keeper.losses]
    assert totals[-1] < totals[0]


def test_the_average_is_of_latent_weights(trained: tuple[Detector, Keeper]) -> None:
    detector, keeper = trained
    (averaged,) = keeper.kept
    assert {type(layer) for layer in bit_layers(averaged)} == {BitConv2d}
    weights = [torch.cat([layer.weight.flatten() for layer in bit_layers(d)]) for d in (averaged, detector)]
    assert not torch.equal(*weights)
    assert len(weights[0].unique()) > 0.9 * len(weights[0])  # neither is rounded
    assert len(weights[1].unique()) > 0.9 * len(weights[1])


def test_a_checkpoint_brings_latent_weights_and_bit_layers_back(
    trained: tuple[Detector, Keeper], tmp_path: Path
) -> None:
    detector = trained[0].eval()
    write_checkpoint(tmp_path / "bit.safetensors", detector)
    again = detector_from_checkpoint(read_checkpoint(tmp_path / "bit.safetensors"))
    assert [type(layer) for layer in bit_layers(again)] == [type(layer) for layer in bit_layers(detector)]
    state = detector.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    assert again.state_dict().keys() == state.keys()


def test_a_killed_run_resumes_where_it_was(
    trained: tuple[Detector, Keeper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("y12.exporter.train.loop._SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=3)
    resumed, keeper = run(tmp_path)
    assert keeper.begun == 2
    whole = trained[0]
    for old, new in zip(bit_layers(whole), bit_layers(resumed), strict=True):
        assert torch.equal(old.weight, new.weight)


def test_frozen_rows_keep_their_latent_weights(tmp_path: Path) -> None:
    before, (after, _) = new_detector(), run(tmp_path, replace(OPTIONS, epochs=2, freeze=2))
    frozen = [torch.equal(a.weight, b.weight) for a, b in zip(bit_layers(before), bit_layers(after), strict=True)]
    assert len(bit_layers(before.model[1])) > 0
    assert frozen == [i < len(bit_layers(before.model[1])) for i in range(len(frozen))]


def test_training_for_int8_is_refused(tmp_path: Path) -> None:
    detector = new_detector()
    message = r"--qat: expected a network in full precision, found \d+ Bit layers in tiny bit.*; drop --qat"
    with pytest.raises(OptionsError, match=message):
        initial_ranges(detector, [], (64, 64), QuantizeOptions(), CalibrationOptions())
    with pytest.raises(OptionsError, match=message):
        prepare(detector, Ranges({}, "", 0), QatOptions())
